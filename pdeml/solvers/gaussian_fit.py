"""Outer weights of a Gaussian field by least squares: classical radial-basis collocation.

    minimise  Σ_k w_k mean r_k²   over w,   u = Σ_i w_i G_i,   centres and widths fixed

For a linear problem this is one linear system; a nonlinear one is linearised a few times (Newton).
It is the start of PIG, and the baseline that its training has to beat.

References
----------
Kansa (1990), Comput. Math. Appl. 19, 147–161; Golub, Pereyra (1973), SIAM J. Numer. Anal. 10, 413.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pdeml.errors import InvalidOption
from pdeml.nn.gaussians import GaussianField, spacing
from pdeml.solvers.objective import Objective, Term, Trial
from pdeml.solvers.requirements import Requirement

DAMPING = 1e-15
"""Of the matrix's norm: what less of the solution is seen than rounding is taken for zero."""

HALVINGS = 6

WIDTHS = (2.0, 3.0, 4.5)
"""Widths that are tried, in mean distances of the centres: narrow ones leave gaps, wide ones are
nearly dependent; which is best depends on the solution."""


def fit_linear(
    trial: Trial,
    requirements: Sequence[Requirement],
    generator: torch.Generator,
    *,
    linearisations: int | None = None,
    sampling: str = "sobol",
) -> float:
    """Set the weights of a Gaussian field to those of the smallest loss, centres and shapes fixed.

    Parameters
    ----------
    trial : its network is a `GaussianField` without MLP, in float64.
    requirements : loss terms; each draws its points.
    generator : of the points.
    linearisations : most Newton steps of a nonlinear problem, each with up to 6 halvings; a linear
        one takes one step.
    sampling : method of `Domain.sample`.

    Returns
    -------
    float
        The loss at the fitted points.

    Raises
    ------
    InvalidOption
        With an MLP, in float32, or for a nonlinear problem without `linearisations`.
    """
    field = trial.network
    if not isinstance(field, GaussianField) or field.mlp is not None:
        raise InvalidOption("fit_linear needs Gaussians without an MLP; give hidden=0.")
    if field.weights.dtype != torch.float64:
        raise InvalidOption(
            f"fit_linear needs float64, the field has {field.weights.dtype}: the matrix is nearly "
            "singular. Drop dtype, or start from init='random'."
        )
    linear = all(r.residual.is_linear for r in requirements)
    if not linear and linearisations is None:
        raise InvalidOption(
            "fit_linear was given a nonlinear problem; say how often to linearise it: "
            "linearisations=8."
        )
    frozen = [p for p in field.parameters() if p is not field.weights and p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        objective = Objective(trial, [_term(r, trial, generator, sampling) for r in requirements])
        with torch.no_grad():
            field.weights.zero_()
        return _newton(objective, 1 if linear or linearisations is None else linearisations)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def _term(
    requirement: Requirement, trial: Trial, generator: torch.Generator, sampling: str
) -> Term:
    weights = next(trial.network.parameters())
    points, extras = requirement.draw(requirement.count, generator, sampling)
    return Term(
        requirement.name,
        requirement.residual,
        trial,
        points.to(weights),
        [e.to(weights) for e in extras],
        requirement.weight,
    )


def _newton(objective: Objective, steps: int) -> float:
    """Gauss–Newton with halved steps; ends where a step gains less than a thousandth."""
    (weights,) = objective.parameters
    residual, jacobian = objective.residual_and_jacobian(True)
    loss = float(residual.square().sum())
    for step in range(steps):
        assert jacobian is not None
        start = weights.detach().clone()
        change = _solved(jacobian, -residual).reshape(weights.shape)
        before = loss
        for halving in range(HALVINGS):
            with torch.no_grad():
                weights.copy_(start + 0.5**halving * change)
            residual, jacobian = objective.residual_and_jacobian(step + 1 < steps)
            loss = float(residual.square().sum())
            if loss < before:
                break
        else:
            with torch.no_grad():
                weights.copy_(start)
            return before
        if loss > 0.999 * before:
            break
    return loss


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Least-squares solution by an orthogonal factorisation.

    Close Gaussians are nearly equal, so that the matrix is singular to rounding; a row of damping
    per unknown gives it full rank. It costs a third of a factorisation with pivots.
    """
    count = matrix.shape[1]
    damping = DAMPING * float(torch.linalg.matrix_norm(matrix))
    matrix = torch.cat([matrix, damping * torch.eye(count).to(matrix)])
    right = torch.cat([right, right.new_zeros(count)])
    return torch.linalg.lstsq(matrix, right[:, None], driver="gels").solution[:, 0]


def fit_with_width(
    trial: Trial,
    requirements: Sequence[Requirement],
    generator: torch.Generator,
    *,
    linearisations: int,
    sigma: float | None,
) -> float:
    """`fit_linear` with a width, or with the best of a few by the loss on fresh points.

    Returns
    -------
    float
        The width, in half-lengths of the box.
    """
    field = trial.network
    assert isinstance(field, GaussianField)
    mean = spacing(field.n, len(field.embedding.lower))
    candidates = [factor * mean for factor in WIDTHS] if sigma is None else [sigma]
    best, chosen, weights = math.inf, candidates[0], field.weights.detach().clone()
    for width in candidates:
        _set_width(field, width)
        fit_linear(trial, requirements, generator, linearisations=linearisations)
        if len(candidates) == 1:
            return width
        loss = sum(
            r.weight
            * float(_term(r, trial, generator, "uniform").residuals().square().mean(0).sum())
            for r in requirements
        )
        if loss < best:
            best, chosen, weights = loss, width, field.weights.detach().clone()
    _set_width(field, chosen)
    with torch.no_grad():
        field.weights.copy_(weights)
    return chosen


def _set_width(field: GaussianField, width: float) -> None:
    with torch.no_grad():
        field.widths.fill_(math.log(width) if field.sigma_param == "log" else width)
