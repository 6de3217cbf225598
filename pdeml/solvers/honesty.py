"""Whether a trained trial can be trusted: residuals and violations on points it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import sympy as sp
from torch import Tensor

from pdeml import engine
from pdeml.operators.pde import PDE
from pdeml.operators.residual import Residual
from pdeml.solvers.collocation import Training
from pdeml.solvers.constraints import time_of
from pdeml.solvers.objective import Term
from pdeml.solvers.requirements import Requirement, known_values

FRESH_TO_TRAINED = 10.0
"""A larger ratio of fresh to trained residual: the points were fitted, not the equation."""

VIOLATION = 1e-3
"""Largest accepted violation of a condition, relative to the size of the solution."""

RELATIVE_RESIDUAL = 1e-2
"""Largest accepted residual relative to the terms of the equation, in mean square."""

VIOLATION = 1e-3
"""Largest accepted violation of a condition, relative to the size of the solution."""

RELATIVE_RESIDUAL = 1e-2
"""Largest accepted residual relative to the terms of the equation, in mean square."""

RELATIVE_RESIDUAL = 1e-2
"""Largest accepted residual relative to the terms of the equation, in mean square."""


@dataclass
class Honesty:
    """Residuals and violations of a trained trial on fresh points (pinn.md §2.9)."""

    trained: float
    fresh: float
    relative: float
    growth: float | None
    violations: dict[str, float] = field(default_factory=dict)

    def verdict(self) -> list[str]:
        """Reasons why the result is not to be trusted; empty where there are none."""
        reasons = []
        if self.trained > 0 and self.fresh / self.trained > FRESH_TO_TRAINED:
            reasons.append(
                f"the residual on fresh points is {self.fresh / self.trained:.0f} times that on "
                "the training points: the points were fitted, not the equation"
            )
        if not self.relative <= RELATIVE_RESIDUAL:
            reasons.append(
                f"the residual on fresh points is {self.relative:.1e} of the equation's terms "
                f"(more than {RELATIVE_RESIDUAL:g})"
            )
        if self.growth is not None and not self.growth <= RELATIVE_RESIDUAL:
            reasons.append(
                f"the residual integrated over time is {self.growth:.1e} of the solution: it may "
                "be wrong altogether"
            )
        for name, value in self.violations.items():
            if not value <= VIOLATION:
                reasons.append(f"condition {name!r} is violated by {value:.1e}")
        return reasons


def examine(problem: PDE, training: Training, all_conditions: Sequence[Requirement]) -> Honesty:
    """Judge the trained trial on points that it has not seen."""
    objective = training.objective
    values = objective.unknown_values()
    interior = training.fresh_terms[0]
    trained = float(training.terms[0].residuals(values).square().mean().sqrt())
    fresh = float(interior.residuals(values).square().mean().sqrt())
    scale, size = _scales(problem, interior, values)
    growth = None
    if problem.time is not None and all(problem.time_order(f) == 1 for f in problem.fields):
        duration = time_of(problem).duration
        slope = _time_coefficient(problem)
        if slope is not None and size > 0:
            growth = fresh * duration / slope / size
    generator = engine.generator(20_240_229)
    violations = {}
    for requirement in all_conditions:
        draw = training.to_run(*requirement.draw(4000, generator, "uniform"))
        term = Term(requirement.name, requirement.residual, training.trial, *draw)
        violations[requirement.name] = float(term.residuals(values).abs().max()) / max(size, 1e-300)
    return Honesty(trained, fresh, fresh / scale if scale else math.inf, growth, violations)


def _time_coefficient(problem: PDE) -> float | None:
    """|coefficient of u_t| where it is one number."""
    slopes = set()
    for residual in problem.residuals:
        for unknown in problem.fields:
            slope = sp.expand(residual).coeff(sp.Derivative(unknown, problem.time))
            if slope != 0:
                slopes.add(slope)
    numbers = {
        abs(complex(s.subs(problem.values)))
        for s in slopes
        if not s.free_symbols - set(problem.values)
    }
    return min(numbers) if len(numbers) == len(slopes) and numbers else None


def _scales(problem: PDE, interior: Term, unknowns: Sequence[Tensor]) -> tuple[float, float]:
    """RMS of the equation's terms, Σ|terms|, and of the fields, on fresh points."""
    terms = [
        part
        for residual in problem.residuals
        for part in sp.Add.make_args(sp.expand(residual.doit()))
    ]
    count = len(problem.residuals)
    parts = Residual(
        [*terms, *problem.fields],
        problem.fields,
        problem.coordinates,
        values=known_values(problem),
        unknowns=problem.unknowns,
    )
    some = interior.points[:4000]
    values = Term("terms", parts, interior.trial, some).residuals(unknowns)
    sizes = values[:, : len(terms)].abs().sum(-1) / count
    fields = values[:, len(terms) :]
    return float(sizes.square().mean().sqrt()), float(fields.square().mean().sqrt())
