"""How far a small residual lets the solution be wrong: one least-squares step on fresh points.

    minimise over δ:  Σ_k ‖r_k + R_k δ‖² / s_k²,   R = ∂r/∂θ,  U = ∂u/∂θ,  s_k the size of the terms

A step that changes the solution is an error that the residual hides; a direction in which the
solution changes and no residual does is one that the declaration leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp
import torch
from torch import Tensor

from pdeml.operators.residual import Residual
from pdeml.solvers.objective import Objective, Term, Trial

DIRECTIONS = 128
"""The last parameters of a network, its output layer among them, are the directions that are tried:
they change the solution linearly or nearly so."""

POINTS = 256
LARGEST = 20_000
"""Parameters up to which the Jacobian of `POINTS` points is small."""

NEGLIGIBLE = 1e-8
"""Part of the largest squared change of the solution below which a direction changes nothing."""


@dataclass(frozen=True)
class Determinacy:
    """What one least-squares step says.

    Attributes
    ----------
    step : relative change of the solution.
    slack : smallest relative change of the residuals that goes with a relative change 1 of the
        solution.
    """

    step: float
    slack: float


def determinacy(
    objective: Objective,
    terms: Sequence[Term],
    scales: Sequence[Tensor],
    sizes: Tensor,
) -> Determinacy | None:
    """One least-squares step of the last parameters over equations and conditions.

    Parameters
    ----------
    objective : holds the parameters.
    terms : equations and conditions on fresh points.
    scales : size of every residual of each term, (equations,).
    sizes : RMS of the fields.

    Returns
    -------
    None for networks of more than 20 000 parameters, and where a scale is 0.
    """
    inside = sum(p.numel() for p in objective.network_parameters)
    size = float(sizes.norm())
    if not 0 < inside <= LARGEST or not size > 0 or any(not bool((s > 0).all()) for s in scales):
        return None
    values = objective.unknown_values()
    rows, defects = [], []
    for term, scale in zip(terms, scales, strict=True):
        r, matrix = _rows(term, values, inside, len(objective.unknowns))
        repeated = scale.repeat(len(term.points))
        defects.append(r / repeated)
        rows.append(matrix / repeated[:, None])
    R, r = torch.cat(rows).double(), torch.cat(defects).double()
    U = _changes(objective.trial, terms[0].points, inside) / size
    # whiten: coordinates in which the relative change of the solution is the Euclidean length
    change, basis = torch.linalg.eigh(U.T @ U)
    kept = change > NEGLIGIBLE * change[-1]
    if not bool(kept.any()):
        return None
    whitened = R @ (basis[:, kept] / change[kept].sqrt())
    step = torch.linalg.lstsq(whitened, -r[:, None], driver="gelsd").solution
    slack = torch.linalg.svdvals(whitened)[-1]
    return Determinacy(float(step.norm()), float(slack))


def _rows(
    term: Term, values: Sequence[Tensor], inside: int, unknowns: int
) -> tuple[Tensor, Tensor]:
    """Residuals and their derivatives by the last parameters, of unit weight: Σ rows² is a mean."""
    rows = term.points.new_zeros((len(term.points) * term.residual.count, inside + unknowns))
    weight, term.weight = term.weight, 1.0
    found = term.jacobian(values, rows, inside)
    term.weight = weight
    return found, rows[:, max(inside - DIRECTIONS, 0) : inside]


def _changes(trial: Trial, points: Tensor, inside: int) -> Tensor:
    """∂u/∂θ of the last parameters on the points, in the mean over points."""
    d = points.shape[1]
    coordinates = sp.symbols(f"x0:{d}", real=True)
    with torch.no_grad():
        count = trial(points[:1]).shape[-1]
    fields = [sp.Function(f"u{k}")(*coordinates) for k in range(count)]
    term = Term("change", Residual(fields, fields, coordinates), trial, points)
    return _rows(term, (), inside, 0)[1].double()
