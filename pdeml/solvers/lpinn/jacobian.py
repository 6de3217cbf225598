"""The smallest Jacobian of a trained map, which ends a training where characteristics cross."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from pdeml.errors import DivergedError
from pdeml.solvers.collocation import Training
from pdeml.solvers.lpinn.crossing import Crossing, label_grid
from pdeml.solvers.lpinn.flow import LabelWindow, LagrangianField

WATCHED = {1: (512, 65), 2: (48, 17)}
FINE = {1: (2048, 129), 2: (96, 33)}
"""Labels per axis and times on which J is taken, after each cycle and for the report."""


def smallest_jacobian(
    field: LagrangianField, grids: Mapping[int, tuple[int, int]] = FINE
) -> tuple[float, Crossing]:
    """Smallest J = det ∂X/∂ξ on a grid of labels and times, and where it is taken."""
    found = []
    for window in field.windows:
        count, times = grids.get(window.dim, (24, 17))
        lower, upper = window.lower.tolist(), (window.lower + window.period).tolist()
        labels = label_grid(lower, upper, count).to(window.lower)
        instants = torch.linspace(window.start, window.end, times).to(labels)
        at = torch.cat(
            [labels.repeat(times, 1), instants.repeat_interleave(len(labels))[:, None]], -1
        )
        J = torch.linalg.det(window.gradient(at)[1])
        worst = int(J.nan_to_num(nan=-math.inf).argmin())
        *label, t = at[worst].tolist()
        found.append((float(J[worst]), Crossing(t, tuple(label))))
    return min(found, key=lambda pair: -math.inf if math.isnan(pair[0]) else pair[0])


def crossed(where: Crossing, value: float) -> DivergedError:
    return DivergedError(
        f"characteristics cross at {where}: J = {value:.2e} there, and a label's position is no "
        "coordinate any more. Use windows= to draw new labels before, more diffusion, or an "
        "earlier end."
    )


def watching(window: LabelWindow) -> Callable[[Training], bool]:
    """Stops a training where characteristics have crossed; never asks for a new optimizer."""

    def watch(training: Training) -> bool:
        smallest, where = smallest_jacobian(LagrangianField([window]), WATCHED)
        if not smallest > 0.0:
            raise crossed(where, smallest)
        return False

    return watch
