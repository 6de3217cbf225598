"""One run of a collocation method on one problem: checked options, training, judgement, solution.

A method file (PINN, PIG, …) chooses the trial solution; all that they share on the way from options
to a `Solution` stands here.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import sympy as sp
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.errors import DivergedError, InvalidOption, UnsupportedProblem
from pdeml.operators.expressions import evaluate
from pdeml.operators.pde import PDE, Initial, Periodic, field_dtype
from pdeml.operators.posedness import free_constants
from pdeml.solvers.collocation import Training
from pdeml.solvers.constraints import Constraints, build_constraints
from pdeml.solvers.fit import Fit, joined_report
from pdeml.solvers.honesty import examine
from pdeml.solvers.level import pinned_point, take_means_out
from pdeml.solvers.objective import Objective, Trial
from pdeml.solvers.piecewise import Before
from pdeml.solvers.requirements import (
    Requirement,
    condition_requirements,
    data_requirement,
    equation_requirement,
    gauge_requirements,
    initial_data_requirement,
)
from pdeml.solvers.schedule import Schedule, adapted_schedule
from pdeml.solvers.solution import Estimate, Report, Solution

MONITOR_POINTS = 4000


def can_solve(problem: PDE, *, unknown_fields: bool = False) -> str | None:
    """None, or the reason why a collocation method with real fields cannot solve the problem.

    Parameters
    ----------
    unknown_fields : whether the method identifies fields that have no equation.
    """
    for unknown in problem.fields:
        if field_dtype(unknown) is complex:
            return f"field {unknown.func} is complex; split it into real and imaginary part"
    if problem.unknown_fields and not unknown_fields:
        name = problem.unknown_fields[0].func.__name__
        return f'field {name} is unknown and has no equation; use "pinn", which identifies it'
    return None


class Run:
    """A problem with checked options, ready for a trial solution.

    Parameters
    ----------
    problem : the declaration.
    method : name, for reports.
    base : schedule that the options change.
    points : collocation points inside.
    condition_weight : of conditions and data in the loss, where `weights` does not name them.
    before : of a window of time, the one before, whose end is the initial value.
    other parameters : see `pdeml.solvers.pinn.solve`.

    Attributes
    ----------
    problem : with `initial` as its initial value, where that is an expression.
    schedule, generator, device, dtype, requirements : of the training.
    constraints : what is built into the trial solution, and what is not.

    Raises
    ------
    InvalidOption, UnsupportedProblem, InvalidDataset
        For options, problems and data that do not fit; the message names the mend.
    """

    def __init__(
        self,
        problem: PDE,
        method: str,
        base: Schedule,
        *,
        seed: int,
        device: str | torch.device,
        dtype: str | torch.dtype | None,
        time_limit: float | None,
        max_iterations: int | None,
        points: int,
        condition_points: int,
        condition_weight: float,
        constraints: str,
        harmonics: int = 1,
        weights: Mapping[str, float] | None,
        optimizer: str | None,
        adam_steps: int | None,
        cycle: int | None,
        sampling: str | None,
        patience: int | None,
        data: tuple[Tensor, Tensor] | None,
        initial: Callable[[Tensor], Tensor] | sp.Expr | None,
        weighting: str | None = None,
        attention: str | None = None,
        causal_tolerance: float | None = None,
        sampled: int | None = None,
        pseudo_time: bool | None = None,
        compiled: bool = False,
        before: Before | None = None,
    ):
        reason = can_solve(problem, unknown_fields=method == "pinn")
        if reason:
            raise UnsupportedProblem(f"{method!r} cannot solve {problem.name!r}: {reason}.")
        self.method, self.seed, self.time_limit = method, seed, time_limit
        self.device, self.dtype = engine.resolve_device(device), engine.resolve_dtype(dtype)
        self.schedule = adapted_schedule(
            base,
            optimizer=optimizer,
            time_limit=time_limit,
            max_iterations=max_iterations,
            adam_steps=adam_steps,
            cycle=cycle,
            sampling=sampling,
            patience=patience,
            weighting=weighting,
            attention=attention,
            causal_tolerance=causal_tolerance,
            sampled=sampled,
            pseudo_time=pseudo_time,
        )
        if self.schedule.attention == "causal" and problem.time is None:
            raise UnsupportedProblem(
                f"attention='causal' weights earlier times first, but {problem.name!r} is steady; "
                "leave it out, or use attention='rba'."
            )
        second = self.schedule.optimizer
        if self.dtype != torch.float64 and second in ("ssbroyden", "levenberg_marquardt"):
            raise InvalidOption(
                f"optimizer {second!r} needs float64, dtype={self.dtype} was given; drop "
                "dtype, or use optimizer='adam', 'soap' or 'lbfgs'."
            )
        sought = [f"parameter {p.name}" for p in problem.unknowns]
        sought += [f"field {f.func.__name__}" for f in problem.unknown_fields]
        if sought and data is None:
            raise InvalidOption(
                f"{', '.join(sought)} is unknown, but there are no data to identify it; give "
                "data=(points, values)."
            )
        if sampled is not None and problem.unknowns:
            raise InvalidOption(
                f"sampled= has no gradient by the unknown parameter {problem.unknowns[0].name}; "
                "leave it out."
            )
        check_counts(points=points, condition_points=condition_points)
        self.problem, self.initial = with_initial(problem, initial), initial
        initial_is_hard = not callable(initial)
        self.before = before
        built = build_constraints(
            before.whole if before else self.problem,
            constraints,
            harmonics=harmonics,
            initial_is_hard=initial_is_hard,
            level=data is None,
        )
        self.constraints = before.constraints(built, self.problem) if before else built
        self.generator = engine.generator(seed)
        self.requirements = _requirements(
            self.problem,
            self.constraints,
            points,
            condition_points,
            condition_weight,
            weights or {},
            data,
            None if before else initial,
        )
        self.weights = dict(weights or {})
        if compiled and sampled is not None:
            raise InvalidOption(
                "compiled=True takes every step by one graph, but sampled= draws another operator "
                "at each; drop one of them."
            )
        self.compiled = compiled
        self.config = {
            "harmonics": harmonics,
            "constraints": constraints,
            "initial_is_hard": initial_is_hard,
            "level": data is None,
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def train(
        self,
        trial: Trial,
        config: Mapping[str, Any],
        options: Mapping[str, Any],
        *,
        checkpoint: str | os.PathLike[str] | None,
        resume: bool,
        progress: bool,
        adapt: Callable[[Training], bool] | None = None,
        explain: Callable[[], str] | None = None,
    ) -> Solution:
        """Train the trial solution, judge it on fresh points, and make the solution.

        Parameters
        ----------
        config : what rebuilds the empty trial solution, beside `self.config`.
        options : shown with the solution, beside the shared ones.
        checkpoint, resume, progress : see `pdeml.solvers.pinn.solve`.
        adapt, explain : see `pdeml.solvers.collocation.Training`.
        """
        fit = self.fit(
            trial,
            config,
            checkpoint=checkpoint,
            resume=resume,
            progress=progress,
            adapt=adapt,
            explain=explain,
        )
        report = joined_report(self.method, [fit])
        return self.solution(self.problem, trial, config, options, report, fit)

    def fit(
        self,
        trial: Trial,
        config: Mapping[str, Any],
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: bool = False,
        adapt: Callable[[Training], bool] | None = None,
        explain: Callable[[], str] | None = None,
    ) -> Fit:
        """Train the trial solution and judge it on fresh points; parameters as for `train`."""
        problem = self.problem
        config = {**config, **self.config}
        unknowns, positive = unknown_parameters(problem, self.device, self.dtype)
        training = Training(
            trial,
            self.requirements,
            self.schedule,
            generator=self.generator,
            device=self.device,
            dtype=self.dtype,
            unknowns=unknowns,
            positive=positive,
            monitor=_monitor(problem, self.device, self.dtype),
            time_limit=self.time_limit,
            checkpoint=checkpoint,
            identity=_identity(problem, config, self.seed),
            progress=progress,
            title=f"{problem.name} · {self.method}",
            adapt=adapt,
            explain=explain,
            compiled=self.compiled,
        )
        if resume:
            training.resume()
        try:
            outcome = training.run()
        except DivergedError as error:
            error.add_note(f"problem {problem.name!r}, method {self.method!r}, seed {self.seed}")
            raise
        honesty = examine(problem, training, self._judged_conditions())
        take_means_out(trial, problem)
        return Fit(training, outcome, honesty, self.constraints.notes)

    def _judged_conditions(self) -> list[Requirement]:
        """Every condition but periodicity and the start of a later window, which are exact."""
        conditions = [c for c in self.problem.conditions if not isinstance(c, Periodic)]
        if self.before is not None:
            conditions = [c for c in conditions if not isinstance(c, Initial)]
        elif callable(self.initial):
            conditions = [c for c in conditions if not (isinstance(c, Initial) and c.order == 0)]
        found = condition_requirements(self.problem, conditions, 1, 1.0)
        if callable(self.initial) and self.before is None:
            found.append(initial_data_requirement(self.problem, self.initial, 1, 1.0))
        return found

    def solution(
        self,
        problem: PDE,
        field: nn.Module,
        config: Mapping[str, Any],
        options: Mapping[str, Any],
        report: Report,
        fit: Fit,
    ) -> Solution:
        """The solution of a problem by a trained field; `fit` is its last one."""
        return Solution(
            problem,
            self.method,
            field,
            config={**config, **self.config},
            report=report,
            history=fit.outcome.history,
            options={
                **options,
                "seed": self.seed,
                "time_limit": self.time_limit,
                "max_iterations": self.schedule.max_iterations,
                "optimizer": self.schedule.optimizer,
                "weights": self.weights,
            },
            parameters=_estimates(problem, fit.training.objective),
        )


def built_constraints(problem: PDE, config: Mapping[str, Any]) -> Constraints:
    """The constraints of a trial solution that is to be loaded."""
    return build_constraints(
        problem,
        config["constraints"],
        harmonics=config["harmonics"],
        initial_is_hard=config["initial_is_hard"],
        level=config.get("level", True),
    )


def check_counts(**counts: Any) -> None:
    """InvalidOption, by name, for anything but a positive integer or None."""
    for name, value in counts.items():
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidOption(f"{name}={value!r}; give a positive integer.")


def with_initial(problem: PDE, initial: Any) -> PDE:
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
        unknowns=[*problem.unknowns, *problem.unknown_fields],
    )


def _requirements(
    problem: PDE,
    built: Constraints,
    points: int,
    condition_points: int,
    condition_weight: float,
    weights: Mapping[str, float],
    data: tuple[Any, Any] | None,
    initial: Any,
) -> list[Requirement]:
    soft = built.soft
    if callable(initial):
        soft = [c for c in soft if not (isinstance(c, Initial) and c.order == 0)]
    found = [equation_requirement(problem, points)]
    found += condition_requirements(problem, soft, condition_points, condition_weight)
    if callable(initial):
        found.append(initial_data_requirement(problem, initial, condition_points, condition_weight))
    if data is None:
        found += gauge_requirements(problem, condition_points)
    else:
        found.append(data_requirement(problem, data, condition_weight))
    names = [r.name for r in found]
    if not isinstance(weights, Mapping):
        raise InvalidOption(f"weights={weights!r}; give a mapping from loss terms to numbers.")
    for name, weight in weights.items():
        if name not in names:
            raise InvalidOption(f"weights names {name!r}; the loss terms are {', '.join(names)}.")
        if not (isinstance(weight, int | float) and math.isfinite(weight) and weight > 0):
            raise InvalidOption(f"weight of {name!r} is {weight!r}; give a positive number.")
    return [replace(r, weight=weights.get(r.name, r.weight)) for r in found]


def unknown_parameters(
    problem: PDE, device: torch.device, dtype: torch.dtype
) -> tuple[list[nn.Parameter], list[bool]]:
    """Trained scalars of an inverse problem at their guesses; positive ones as logarithms."""
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
    exact = [problem.exact[f] for f in problem.fields]
    values = evaluate(exact, problem.coordinates, points, problem.values)
    free = free_constants(problem)
    if free:
        pinned = points.clone()
        pinned[:, : len(problem.space_coordinates)] = pinned_point(problem)
        pins = evaluate(exact, problem.coordinates, pinned, problem.values)
        values -= pins * torch.tensor([float(f in free) for f in problem.fields]).to(pins)
    return points.to(device=device, dtype=dtype), values.to(device=device, dtype=dtype)


def _identity(problem: PDE, config: Mapping[str, Any], seed: int) -> str:
    text = json.dumps([problem.to_json(), dict(config), seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
