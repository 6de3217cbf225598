"""Physics-informed neural network: a dense network as trial solution.

    minimise  Σ_k w_k mean r_k(x)²   over the weights of   u(x) = g(x) + B(x) N(e(x))

References
----------
Lagaris, Likas, Fotiadis (1998), IEEE Trans. Neural Netw. 9, 987–1000 (trial solutions);
Raissi, Perdikaris, Karniadakis (2019), J. Comput. Phys. 378, 686–707;
Urbán, Stefanou, Pons (2025), J. Comput. Phys. 523, 113656 (self-scaled quasi-Newton training).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sympy as sp
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.domains import METHODS
from pdeml.errors import DivergedError, InvalidOption, UnsupportedProblem
from pdeml.nn.networks import MLP, ModifiedMLP, PirateNet
from pdeml.operators.expressions import evaluate
from pdeml.operators.pde import PDE, Initial, Periodic, field_dtype
from pdeml.optim import LevenbergMarquardt
from pdeml.solvers.collocation import OPTIMIZERS, Outcome, Schedule, Training
from pdeml.solvers.constraints import Constraints, build_constraints
from pdeml.solvers.honesty import Honesty, examine
from pdeml.solvers.objective import Objective, Trial
from pdeml.solvers.requirements import (
    Requirement,
    condition_requirements,
    data_requirement,
    equation_requirement,
    initial_data_requirement,
)
from pdeml.solvers.solution import Estimate, Report, Solution

RECIPES: dict[str, dict[str, Any]] = {
    "compact": {"schedule": Schedule(), "depth": 3, "points": 5000},
    "gauss_newton": {
        "schedule": Schedule(
            optimizer="levenberg_marquardt",
            adam_steps=0,
            cycle=25,
            sampling="uniform",
            max_iterations=300,
            patience=10,
        ),
        "depth": 1,
        "points": 2000,
    },
}
"""Schedules and sizes by name (pinn.md §2.8)."""

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "modified_mlp": ModifiedMLP,
    "pirate": PirateNet,
}

MONITOR_POINTS = 4000

PATIENCE_WITHIN_TIME_LIMIT = 25
"""Cycles without progress that end a run which has a time limit."""


def can_solve(problem: PDE) -> str | None:
    """None, or the reason why a PINN cannot solve the problem."""
    for unknown in problem.fields:
        if field_dtype(unknown) is complex:
            return f"field {unknown.func} is complex; split it into real and imaginary part"
    return None


def solve(
    problem: PDE,
    *,
    recipe: str = "compact",
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    network: str | nn.Module = "mlp",
    depth: int | None = None,
    width: int | None = None,
    activation: str = "tanh",
    harmonics: int = 1,
    points: int | None = None,
    condition_points: int = 500,
    constraints: str = "auto",
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
    """Solve a declared problem, or identify its unknown parameters, by a PINN.

    Parameters
    ----------
    problem : the declaration.
    recipe : "compact" (Adam, then self-scaled Broyden in cycles with residual-adaptive points) or
        "gauss_newton" (Levenberg–Marquardt on a shallow network: linear and elliptic problems).
    seed : of weights and points.
    device, dtype : float64 on the CPU by default; the second-order methods need float64.
    time_limit : seconds of training.
    max_iterations : 10 000 (compact) or 300 (gauss_newton); no limit where a time limit is given.
        Without one, 3 (10) cycles without a 5 % smaller validation loss end the run, with one 25.
    network : "mlp", "modified_mlp", "pirate", or a module that maps embedded coordinates to fields.
    depth, width, activation : of the network: 3×20 (two coordinates) or 3×30 tanh, 1×64 for
        gauss_newton.
    harmonics : inputs per periodic axis.
    points, condition_points : collocation points inside (5000 / 2000) and per soft condition (500).
    constraints : "auto" builds conditions into the trial solution where a closed form exists,
        "soft" makes all but periodicity loss terms.
    weights : of loss terms by name ("equation" 1, conditions and data 100).
    optimizer : "ssbroyden", "lbfgs" or "levenberg_marquardt" instead of the recipe's; "adam" for
        Adam alone.
    adam_steps, cycle, sampling, patience : as in `pdeml.solvers.collocation.Schedule`.
    data : (points (n, d), values (n, fields)) to be met in mean square.
    initial : replaces the declared initial value: an expression or a function (N, d) -> (N,
        fields).
    checkpoint : state file, written every 30 s and at the end; `resume` continues from it.
    progress : show a bar.

    Returns
    -------
    Solution
        With the weights of smallest residual on fresh points, `report` and `history`; `parameters`
        holds the estimates of unknown parameters with Gauss–Newton standard errors.

    Raises
    ------
    InvalidOption, UnsupportedProblem, InvalidDataset
        For options, problems and data that do not fit; the message names the mend.
    DivergedError
        When the loss becomes NaN or infinite; `checkpoint` keeps the last finite state.
    """
    reason = can_solve(problem)
    if reason:
        raise UnsupportedProblem(f"'pinn' cannot solve {problem.name!r}: {reason}.")
    if recipe not in RECIPES:
        raise InvalidOption(f"recipe={recipe!r}; accepted are {', '.join(RECIPES)}.")
    place, precision = engine.resolve_device(device), engine.resolve_dtype(dtype)
    schedule = _schedule(
        RECIPES[recipe]["schedule"],
        optimizer=optimizer,
        time_limit=time_limit,
        max_iterations=max_iterations,
        adam_steps=adam_steps,
        cycle=cycle,
        sampling=sampling,
        patience=patience,
    )
    if precision != torch.float64 and schedule.optimizer in ("ssbroyden", "levenberg_marquardt"):
        raise InvalidOption(
            f"optimizer {schedule.optimizer!r} needs float64, dtype={precision} was given; drop "
            "dtype, or use optimizer='adam' or 'lbfgs'."
        )
    if problem.unknowns and data is None:
        raise InvalidOption(
            f"parameter {', '.join(p.name for p in problem.unknowns)} is unknown, but there are no "
            "data to identify it; give data=(points, values)."
        )
    for name, value in (("points", points), ("condition_points", condition_points)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InvalidOption(f"{name}={value!r}; give a positive integer.")
    _check_activation(problem, activation)
    problem = _with_initial(problem, initial)
    built = build_constraints(
        problem, constraints, harmonics=harmonics, initial_is_hard=not callable(initial)
    )
    generator = engine.generator(seed)
    config = {
        "network": network if isinstance(network, str) else "custom",
        "depth": RECIPES[recipe]["depth"] if depth is None else depth,
        "width": _default_width(recipe, problem) if width is None else width,
        "activation": activation,
        "harmonics": harmonics,
        "constraints": constraints,
        "initial_is_hard": not callable(initial),
        "dtype": str(precision).removeprefix("torch."),
    }
    model = _network(network, config, built, problem, generator).to(device=place, dtype=precision)
    trial = Trial(model, built.embedding, built.base, built.factor).to(
        device=place, dtype=precision
    )
    requirements = _requirements(
        problem,
        built,
        RECIPES[recipe]["points"] if points is None else points,
        condition_points,
        weights or {},
        data,
        initial,
    )
    unknowns, positive = _unknowns(problem, place, precision)
    training = Training(
        trial,
        requirements,
        schedule,
        generator=generator,
        device=place,
        dtype=precision,
        unknowns=unknowns,
        positive=positive,
        monitor=_monitor(problem, place, precision),
        time_limit=time_limit,
        checkpoint=checkpoint,
        identity=_identity(problem, config, seed),
        progress=progress,
        title=f"{problem.name} · pinn",
    )
    if resume:
        training.resume()
    try:
        outcome = training.run()
    except DivergedError as error:
        error.add_note(f"problem {problem.name!r}, method 'pinn', seed {seed}")
        raise
    honesty = examine(problem, training, _all_conditions(problem, built))
    return Solution(
        problem,
        "pinn",
        trial,
        config=config,
        report=_report(training, outcome, honesty, built),
        history=outcome.history,
        options={
            "recipe": recipe,
            "seed": seed,
            "time_limit": time_limit,
            "points": points,
            "max_iterations": schedule.max_iterations,
            "optimizer": schedule.optimizer,
            "weights": dict(weights or {}),
        },
        parameters=_estimates(problem, training.objective),
    )


def field_from_config(problem: PDE, config: Mapping[str, Any]) -> nn.Module:
    """The trial solution with untrained weights, to load a saved state into."""
    if config["network"] == "custom":
        raise InvalidOption(
            "this solution was trained with a network of your own, which a file cannot rebuild; "
            "keep its class and load the weights into it."
        )
    built = build_constraints(
        problem,
        config["constraints"],
        harmonics=config["harmonics"],
        initial_is_hard=config["initial_is_hard"],
    )
    precision = engine.resolve_dtype(config["dtype"])
    network = _network(config["network"], config, built, problem, engine.generator(0))
    return Trial(network, built.embedding, built.base, built.factor).to(precision)


def channels(problem: PDE) -> list[str]:
    """The derivative streams that the equations of a problem need, in words (pinn.md §2.1)."""
    return equation_requirement(problem, 1).residual.describe()


def _schedule(base: Schedule, **changes: Any) -> Schedule:
    optimizer, time_limit = changes.pop("optimizer"), changes.pop("time_limit")
    if time_limit is not None and not (isinstance(time_limit, int | float) and time_limit > 0):
        raise InvalidOption(f"time_limit={time_limit!r}; give a positive number of seconds.")
    for name, least in (("max_iterations", 1), ("cycle", 1), ("patience", 1), ("adam_steps", 0)):
        value = changes[name]
        if value is not None and (not isinstance(value, int) or value < least):
            raise InvalidOption(f"{name}={value!r}; give an integer of at least {least}.")
    if changes["sampling"] not in (None, "rad", *METHODS):
        raise InvalidOption(
            f"sampling={changes['sampling']!r}; accepted are rad, {', '.join(METHODS)}."
        )
    given = {name: value for name, value in changes.items() if value is not None}
    if time_limit is not None:
        # time that was granted is used: the error still falls in cycles that gain less than 5 %
        given = {"max_iterations": None, "patience": PATIENCE_WITHIN_TIME_LIMIT, **given}
    if optimizer == "adam":
        given["optimizer"] = None
    elif optimizer is not None:
        if optimizer not in OPTIMIZERS:
            raise InvalidOption(
                f"optimizer={optimizer!r}; accepted are adam, {', '.join(OPTIMIZERS)}."
            )
        given["optimizer"] = optimizer
    return replace(base, **given)


def _default_width(recipe: str, problem: PDE) -> int:
    if recipe == "gauss_newton":
        return 64
    return 20 if len(problem.coordinates) == 2 and len(problem.fields) == 1 else 30


def _check_activation(problem: PDE, activation: str) -> None:
    order = equation_requirement(problem, 1).residual.highest_order
    if activation == "relu" and order > 1:
        raise UnsupportedProblem(
            f"activation 'relu' has no second derivative, but {problem.name!r} has derivatives of "
            f"order {order}; use tanh, sin or swish."
        )


def _network(
    network: str | nn.Module,
    config: Mapping[str, Any],
    built: Constraints,
    problem: PDE,
    generator: torch.Generator,
) -> nn.Module:
    if isinstance(network, nn.Module):
        return network
    if network not in NETWORKS:
        raise InvalidOption(
            f"network={network!r}; accepted are {', '.join(NETWORKS)} or a torch module."
        )
    size = {"blocks" if network == "pirate" else "depth": config["depth"]}
    return NETWORKS[network](
        built.embedding.out_features,
        len(problem.fields),
        width=config["width"],
        activation=config["activation"],
        generator=generator,
        dtype=engine.resolve_dtype(config["dtype"]),
        **size,
    )


def _with_initial(problem: PDE, initial: Any) -> PDE:
    """The problem with another initial value, if that is an expression; functions are data."""
    if initial is None or callable(initial):
        return problem
    if isinstance(initial, int | float) and not isinstance(initial, bool):
        initial = sp.Float(initial)
    if not isinstance(initial, sp.Expr) or len(problem.fields) > 1:
        raise InvalidOption(
            f"initial={initial!r} for {len(problem.fields)} field(s); accepted are a number or a "
            "SymPy expression for a single field, or a function (n, d) -> (n, fields) on tensors."
        )
    conditions = [
        Initial(c.field, initial) if isinstance(c, Initial) and c.order == 0 else c
        for c in problem.conditions
    ]
    return PDE(
        problem.name,
        problem.equations,
        problem.domain,
        conditions,
        fields=problem.fields,
        unknowns=problem.unknowns,
    )


def _requirements(
    problem: PDE,
    built: Constraints,
    points: int,
    condition_points: int,
    weights: Mapping[str, float],
    data: tuple[Any, Any] | None,
    initial: Any,
) -> list[Requirement]:
    soft = built.soft
    if callable(initial):
        soft = [c for c in soft if not (isinstance(c, Initial) and c.order == 0)]
    found = [equation_requirement(problem, points)]
    found += condition_requirements(problem, soft, condition_points, 100.0)
    if callable(initial):
        found.append(initial_data_requirement(problem, initial, condition_points, 100.0))
    if data is not None:
        found.append(data_requirement(problem, data, 100.0))
    names = [r.name for r in found]
    if not isinstance(weights, Mapping):
        raise InvalidOption(f"weights={weights!r}; give a mapping from loss terms to numbers.")
    for name, weight in weights.items():
        if name not in names:
            raise InvalidOption(f"weights names {name!r}; the loss terms are {', '.join(names)}.")
        if not (isinstance(weight, int | float) and math.isfinite(weight) and weight > 0):
            raise InvalidOption(f"weight of {name!r} is {weight!r}; give a positive number.")
    return [replace(r, weight=weights.get(r.name, r.weight)) for r in found]


def _unknowns(
    problem: PDE, device: torch.device, dtype: torch.dtype
) -> tuple[list[nn.Parameter], list[bool]]:
    unknowns, positive = [], []
    for parameter in problem.unknowns:
        guess = problem.values.get(parameter, 1.0)
        positive.append(bool(parameter.is_positive))
        value = math.log(guess) if positive[-1] else guess
        unknowns.append(nn.Parameter(torch.tensor(value, device=device, dtype=dtype)))
    return unknowns, positive


def _estimates(problem: PDE, objective: Objective) -> dict[str, Estimate]:
    """Unknown parameters with Gauss–Newton standard errors: √diag(s² (JᵀJ)⁻¹)."""
    if not problem.unknowns:
        return {}
    residual, jacobian = objective.residual_and_jacobian(True)
    assert jacobian is not None
    count, inside = jacobian.shape[1], jacobian.shape[1] - len(problem.unknowns)
    variance = float(residual.dot(residual)) / max(len(residual) - count, 1)
    # network weights are redundant: a truncated pseudo-inverse keeps what the data determine
    covariance = variance * torch.linalg.pinv(jacobian.T @ jacobian, rtol=1e-12, hermitian=True)
    found = {}
    for j, (parameter, value) in enumerate(
        zip(problem.unknowns, objective.unknown_values(), strict=True)
    ):
        error = math.sqrt(max(float(covariance[inside + j, inside + j]), 0.0))
        if objective.positive[j]:
            error *= float(value)
        found[parameter.name] = Estimate(float(value), error)
    return found


def _monitor(
    problem: PDE, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor] | None:
    """Points and exact values for the error shown while training; never used by it."""
    if problem.exact is None or problem.unknowns:
        return None
    points = problem.domain.sample(MONITOR_POINTS, engine.generator(0))
    values = evaluate(
        [problem.exact[f] for f in problem.fields], problem.coordinates, points, problem.values
    )
    return points.to(device=device, dtype=dtype), values.to(device=device, dtype=dtype)


def _identity(problem: PDE, config: Mapping[str, Any], seed: int) -> str:
    text = json.dumps([problem.to_json(), dict(config), seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _all_conditions(problem: PDE, built: Constraints) -> Sequence[Requirement]:
    """Every declared condition but periodicity, which the embedding makes exact."""
    conditions = [c for c in problem.conditions if not isinstance(c, Periodic)]
    return condition_requirements(problem, conditions, 1, 1.0)


def _report(training: Training, outcome: Outcome, honesty: Honesty, built: Constraints) -> Report:
    reasons = honesty.verdict()
    notes = [*built.notes, f"stopped: {outcome.reason}."]
    rows = sum(len(term.points) * term.residual.count for term in training.terms)
    count = training.objective.count
    if isinstance(training.optimizer, LevenbergMarquardt) and rows < 3 * count:
        notes.append(
            f"{rows} residuals for {count} parameters: fewer than three each fit the points rather "
            "than the equation; raise points=."
        )
    notes += [f"not converged: {reason}." for reason in reasons]
    return Report(
        method="pinn",
        converged=not reasons and not outcome.interrupted,
        losses=outcome.losses,
        residual_train=honesty.trained,
        residual_fresh=honesty.fresh,
        fresh_points=len(training.fresh_terms[0].points),
        violations=honesty.violations,
        dtype=str(training.dtype).removeprefix("torch."),
        device=str(training.device),
        engine=training.terms[0].engine,
        wall_time=outcome.wall_time,
        iterations=outcome.iterations,
        parameters_count=training.objective.count,
        interrupted=outcome.interrupted,
        notes=notes,
    )
