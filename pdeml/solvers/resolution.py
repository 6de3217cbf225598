"""Whether points can see a solution: values against integrals of derivatives along lines.

    u(x, b) − u(x, a) = ∫_a^b ∂_s u(x, s) ds

Where the sum over samples misses the difference, the solution changes between the samples: a front
or layer that no residual on points can judge.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pdeml.domains import Box, SpaceTime
from pdeml.operators.pde import PDE
from pdeml.operators.residual import Residual
from pdeml.solvers.objective import Term, Trial

LINES, SAMPLES = 8, 512
AXES = 4
"""Beyond so many coordinates time alone is tried."""


def unseen_change(
    problem: PDE, trial: Trial, generator: torch.Generator, like: Tensor
) -> tuple[float, str | None]:
    """Largest |u(b) − u(a) − ∫ ∂u| over lines along each axis, relative to the range of the field.

    Parameters
    ----------
    generator : of the lines.
    like : a tensor of the dtype and device of the run.

    Returns
    -------
    The largest value, and the name of its coordinate (None where no line is in the domain).
    """
    names, worst, where = problem.coordinates, 0.0, None
    for axis in _axes(problem):
        bounds = [side[axis] for side in problem.domain.bounds]
        starts = problem.domain.sample(LINES, generator, "uniform").to(like)
        width = (bounds[1] - bounds[0]) / SAMPLES
        nodes = bounds[0] + width * (torch.arange(SAMPLES).to(like) + 0.5)
        points = starts[:, None].repeat(1, SAMPLES, 1)
        points[..., axis] = nodes
        ends = starts[:, None].repeat(1, 2, 1)
        ends[..., axis] = torch.tensor(bounds).to(like)
        slopes = Residual(
            [f.diff(names[axis]) for f in problem.fields], problem.fields, problem.coordinates
        )
        flat = points.reshape(-1, len(names))
        found = Term("slopes", slopes, trial, flat).residuals().reshape(LINES, SAMPLES, -1)
        with torch.no_grad():
            values = trial(ends.reshape(-1, len(names))).reshape(LINES, 2, -1)
            inside = trial(flat)
        change = (values[:, 1] - values[:, 0] - width * found.sum(1)).abs().amax(0)
        size = torch.maximum(inside.amax(0) - inside.amin(0), inside.abs().amax(0))
        missed = torch.where(change == 0, change, change / size).nan_to_num(torch.inf)
        if float(missed.max()) > worst:
            worst, where = float(missed.max()), names[axis].name
    return worst, where


def _axes(problem: PDE) -> list[int]:
    """Axes along which a line through a point stays in the domain."""
    space = problem.domain.space if isinstance(problem.domain, SpaceTime) else problem.domain
    axes = range(len(problem.space_coordinates))
    chosen = list(axes) if isinstance(space, Box) and len(problem.coordinates) <= AXES else []
    return [*chosen, len(axes)] if problem.time is not None else chosen
