"""Physics-informed Gaussians: an adaptive, readable mesh of trainable Gaussians as trial solution.

    minimise  Σ_k w_k mean r_k(x)²   over centres, widths, rotations and weights of
    u(x) = MLP(φ_1 … φ_k),   φ_c(x) = Σ_i w_ci exp(−½ |A_ci (x − μ_ci)|²)

Without the MLP u is linear in w, so that a linear problem starts from its exact least-squares
solution; training then moves the Gaussians.

References
----------
Kang, Oh, Hong, Park (2025), PIG: Physics-Informed Gaussians as adaptive parametric mesh
representations, ICLR; Kansa (1990), Comput. Math. Appl. 19, 147–161 (collocation with fixed ones).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from pdeml import engine
from pdeml.errors import InvalidOption
from pdeml.nn.gaussians import GaussianField, spacing
from pdeml.operators.gaussians import MAX_ORDER
from pdeml.operators.pde import PDE
from pdeml.solvers import run as runs
from pdeml.solvers.collocation import Training
from pdeml.solvers.constraints import Constraints
from pdeml.solvers.gaussian_fit import fit_with_width
from pdeml.solvers.objective import Trial
from pdeml.solvers.requirements import equation_requirement
from pdeml.solvers.run import Run, built_constraints, check_counts
from pdeml.solvers.schedule import Schedule
from pdeml.solvers.solution import Solution

GAUSS_NEWTON = Schedule(
    optimizer="levenberg_marquardt",
    adam_steps=0,
    cycle=25,
    sampling="uniform",
    max_iterations=300,
    patience=10,
)

RECIPES: dict[str, dict[str, Any]] = {
    "least_squares": {
        "schedule": replace(GAUSS_NEWTON, max_iterations=0),
        "n_gaussians": 800,
        "channels": 1,
        "hidden": 0,
        "init": "lstsq",
    },
    "trained": {
        "schedule": GAUSS_NEWTON,
        "n_gaussians": 50,
        "channels": 4,
        "hidden": 16,
        "init": "random",
    },
}
"""Schedules and sizes by name."""

INITS = ("lstsq", "random")

CONDITION_WEIGHT = 1e4
"""Conditions against the equation, as published for Helmholtz: the squared size of its operator."""

LINEARISATIONS = 8

LARGE = 2000
"""Parameters from which on a Levenberg–Marquardt step costs more than it gains."""

PRUNED = 1e-6
"""Part of the largest contribution below which a Gaussian goes."""


def can_solve(problem: PDE) -> str | None:
    """None, or the reason why Gaussians cannot solve the problem."""
    reason = runs.can_solve(problem)
    if reason is None:
        order = max(problem.order(f) for f in problem.fields)
        if order > MAX_ORDER:
            return f"it has derivatives of order {order}, and streams end at {MAX_ORDER}"
    return reason


def solve(
    problem: PDE,
    *,
    recipe: str | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    n_gaussians: int | None = None,
    channels: int | None = None,
    covariance: str = "diagonal",
    hidden: int | None = None,
    sigma: float | None = None,
    sigma_param: str = "log",
    init: str | None = None,
    refine_every: int | None = None,
    refine_by: int = 8,
    points: int | None = None,
    condition_points: int | None = None,
    constraints: str = "soft",
    weights: Mapping[str, float] | None = None,
    optimizer: str | None = None,
    adam_steps: int | None = None,
    cycle: int | None = None,
    sampling: str | None = None,
    patience: int | None = None,
    data: tuple[Tensor, Tensor] | None = None,
    initial: Callable[[Tensor], Tensor] | sp.Expr | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Solution:
    """Solve a declared problem by trainable Gaussians.

    Parameters
    ----------
    problem : the declaration.
    recipe : "least_squares" (800 fixed Gaussians without MLP; trained only where a time limit or a
        number of iterations is given) or "trained" (4 channels of 50, an MLP, Levenberg–Marquardt).
        Default: the first for linear problems, the second for others.
    seed, device, dtype, time_limit, max_iterations : as for "pinn".
    n_gaussians, channels : Gaussians per channel and channels.
    covariance : "diagonal", "full" (rotated, 2-D and 3-D) or "cholesky".
    hidden : width of the MLP; 0 for none: u is then the mean of the channels.
    sigma : widths at the start, in half-lengths of the box. Default: of 2, 3 and 4.5 mean distances
        of the centres the best (init="lstsq"), or 1.75.
    sigma_param : "log" or "raw".
    init : "lstsq" (weights by least squares, a nonlinear problem linearised up to 8 times) or
        "random".
    refine_every : cycles after which Gaussians without effect are removed and `refine_by` per
        channel added where the residual is largest; None for never.
    points, condition_points : collocation points inside and per condition; default 4 and 2 per
        Gaussian, 3500 and 1750 at least where they are trained.
    constraints : "soft", or "auto" as for "pinn".
    weights : of loss terms by name ("equation" 1, conditions and data 10⁴).
    optimizer : "levenberg_marquardt" (default up to 2000 parameters), "ssbroyden" (default beyond),
        "lbfgs" or "adam".
    adam_steps, cycle, sampling, patience, data, initial, checkpoint, resume, progress : as for
        "pinn".

    Returns
    -------
    Solution
        With `gaussians` and `plot_gaussians`.

    Raises
    ------
    InvalidOption, UnsupportedProblem, InvalidDataset
        For options, problems and data that do not fit; the message names the mend.
    DivergedError
        When the loss becomes NaN or infinite; the message names the Gaussian that is not finite.
    """
    if recipe is None:
        simple = not problem.unknowns and equation_requirement(problem, 1).residual.is_linear
        recipe = "least_squares" if simple else "trained"
    if recipe not in RECIPES:
        raise InvalidOption(f"recipe={recipe!r}; accepted are {', '.join(RECIPES)}.")
    chosen = RECIPES[recipe]
    init = chosen["init"] if init is None else init
    if init not in INITS:
        raise InvalidOption(f"init={init!r}; accepted are {', '.join(INITS)}.")
    check_counts(
        n_gaussians=n_gaussians, channels=channels, refine_every=refine_every, refine_by=refine_by
    )
    size: dict[str, Any] = {
        "n_gaussians": chosen["n_gaussians"] if n_gaussians is None else n_gaussians,
        "channels": chosen["channels"] if channels is None else channels,
        "hidden": chosen["hidden"] if hidden is None else hidden,
        "covariance": covariance,
        "sigma_param": sigma_param,
    }
    count = size["n_gaussians"] * size["channels"]
    if optimizer is None and count * (2 * len(problem.coordinates) + 1) > LARGE:
        optimizer = "ssbroyden"
    least = 0 if init == "lstsq" else 3500
    run = Run(
        problem,
        "pig",
        chosen["schedule"],
        seed=seed,
        device=device,
        dtype=dtype,
        time_limit=time_limit,
        max_iterations=max_iterations,
        points=max(4 * count, least) if points is None else points,
        condition_points=max(2 * count, least // 2)
        if condition_points is None
        else condition_points,
        condition_weight=CONDITION_WEIGHT,
        constraints=constraints,
        weights=weights,
        optimizer=optimizer,
        adam_steps=adam_steps,
        cycle=cycle,
        sampling=sampling,
        patience=patience,
        data=data,
        initial=initial,
    )
    start = 1.75 * spacing(count, len(problem.coordinates)) if sigma is None else sigma
    trial = _trial(problem, run.constraints, size, start, run.generator).to(run.device, run.dtype)
    begun = time.perf_counter()
    if init == "lstsq" and not resume:
        fit_with_width(
            trial, run.requirements, run.generator, linearisations=LINEARISATIONS, sigma=sigma
        )
    fitted = time.perf_counter() - begun
    field = trial.network
    assert isinstance(field, GaussianField)
    solution = run.train(
        trial,
        size,
        {"recipe": recipe, "init": init, "points": points, **size},
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        adapt=_refinement(field, refine_every, refine_by) if refine_every else None,
        explain=field.offender,
    )
    solution.config["n_gaussians"] = field.n
    solution.report.wall_time += fitted
    return solution


def field_from_config(problem: PDE, config: Mapping[str, Any]) -> Trial:
    """The trial solution with untrained Gaussians, to load a saved state into."""
    built = built_constraints(problem, config)
    trial = _trial(problem, built, config, 1.0, engine.generator(0))
    return trial.to(engine.resolve_dtype(config["dtype"]))


def _trial(
    problem: PDE,
    built: Constraints,
    size: Mapping[str, Any],
    sigma: float,
    generator: torch.Generator,
) -> Trial:
    field = GaussianField(
        len(problem.coordinates),
        len(problem.fields),
        size["n_gaussians"],
        channels=size["channels"],
        box=list(zip(*problem.domain.bounds, strict=True)),
        covariance=size["covariance"],
        hidden=size["hidden"] or None,
        sigma=sigma,
        sigma_param=size["sigma_param"],
        periodic=sorted(built.embedding.periodic),
        generator=generator,
    )
    return Trial(field, None, built.base, built.factor)


def _refinement(field: GaussianField, every: int, count: int) -> Callable[[Training], bool]:
    """Prune and split after so many cycles; at other times leave the field as it is."""

    def adapt(training: Training) -> bool:
        if training.iteration // training.schedule.cycle % every:
            return False
        interior = training.terms[0]
        residual = interior.residuals(training.objective.unknown_values()).norm(dim=-1)
        field.prune(PRUNED)
        field.split(interior.points, residual, count)
        return True

    return adapt
