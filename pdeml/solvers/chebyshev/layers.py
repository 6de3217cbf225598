"""Thin internal layers of a solution on an interval, so that points can crowd there."""

from __future__ import annotations

from torch import Tensor

from pdeml.solvers.chebyshev.grid import Grid

NARROW = 0.1  # of the length: layers that are, or sweep, wider need no points of their own
STEEP = 0.5  # of the steepest slope: states at least so steep show where the layer is


def layer_of(grid: Grid, fields: Tensor) -> tuple[float, float] | None:
    """Centre and width of the steepest layer of states (F, m, size) on an interval.

    A profile tanh((x − c)/ε) has the slope 1/ε and the range 2: ε = range / (2 · steepest slope).
    A layer that moves is as wide as half of its way. None where it is wide.
    """
    (axis,) = grid.axes
    slope = grid.derivative(fields, (1,)).abs()
    size = fields.amax((0, 2)) - fields.amin((0, 2))
    size = size.clamp(min=max(1e-6 * fields.abs().max().item(), 1e-300))
    relative = (slope / size[:, None]).amax(1)
    steepest, place = relative.max(1)
    highest = steepest.max().item()
    centres = grid.points[place[steepest >= STEEP * highest], 0]
    low, high = centres.min().item(), centres.max().item()
    width = max(1 / (2 * highest), (high - low) / 2)
    if width > NARROW * axis.length:
        return None
    return (low + high) / 2, width
