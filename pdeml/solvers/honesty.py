"""Whether a trained trial can be trusted: residuals and violations on points it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import sympy as sp
import torch
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
"""Largest accepted violation of a condition, relative to the size of its field."""

RELATIVE_RESIDUAL = 1e-2
"""Largest accepted residual relative to the terms of its equation, in mean square."""


@dataclass
class Honesty:
    """Residuals and violations of a trained trial on fresh points (pinn.md §2.9).

    Attributes
    ----------
    trained, fresh : RMS residual over all equations.
    ratio : fresh to trained residual, of the worst equation.
    relative : residual relative to the terms of its equation, of the worst equation.
    growth : ∫|r|dt relative to the field that the equation advances, of the worst equation; None
        where no equation is of first order in time.
    violations : largest violation of each condition, relative to the size of its field.
    """

    trained: float
    fresh: float
    ratio: float
    relative: float
    growth: float | None
    violations: dict[str, float] = field(default_factory=dict)

    def verdict(self) -> list[str]:
        """Reasons why the result is not to be trusted; empty where there are none."""
        reasons = []
        if not self.ratio <= FRESH_TO_TRAINED:
            reasons.append(
                f"the residual on fresh points is {self.ratio:.0f} times that on the training "
                "points: the points were fitted, not the equation"
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
    """Judge the trained trial on points that it has not seen, each equation and field by itself."""
    values = training.objective.unknown_values()
    interior = training.fresh_terms[0]
    trained, fresh = _rms(training.terms[0].residuals(values)), _rms(interior.residuals(values))
    scales, sizes = _scales(problem, interior, values)
    growth = [
        float(fresh[k]) * time_of(problem).duration / slope / max(float(sizes[f]), 1e-300)
        for k, f, slope in _evolutions(problem)
    ]
    generator = engine.generator(20_240_229)
    violations = {}
    for requirement in all_conditions:
        draw = training.to_run(*requirement.draw(4000, generator, "uniform"))
        term = Term(requirement.name, requirement.residual, training.trial, *draw)
        fields = {f for _, f in requirement.residual.entries}
        size = max((float(sizes[f]) for f in fields), default=0.0)
        worst = float(term.residuals(values).abs().max())
        violations[requirement.name] = worst / max(size, 1e-300)
    return Honesty(
        trained=float(trained.square().mean().sqrt()),
        fresh=float(fresh.square().mean().sqrt()),
        ratio=_worst(fresh, trained),
        relative=_worst(fresh, scales),
        growth=max(growth, default=None, key=lambda g: math.inf if math.isnan(g) else g),
        violations=violations,
    )


def _rms(columns: Tensor) -> Tensor:
    return columns.square().mean(0).sqrt()


def _worst(part: Tensor, whole: Tensor) -> float:
    """Largest quotient; 0/0 is 0, so an equation that is met to the last digit does not count."""
    quotient = torch.where(part == 0, torch.zeros_like(part), part / whole)
    return math.nan if bool(torch.isnan(quotient).any()) else float(quotient.max())


def _evolutions(problem: PDE) -> list[tuple[int, int, float]]:
    """(equation, field, |coefficient of ∂_t field|) for equations of first order in time."""
    found = []
    for k, residual in enumerate(problem.residuals):
        expanded = sp.expand(residual)
        for f, unknown in enumerate(problem.fields):
            if problem.time is None or problem.time_order(unknown) != 1:
                continue
            slope = expanded.coeff(sp.Derivative(unknown, problem.time)).subs(problem.values)
            if slope != 0 and not slope.free_symbols:
                found.append((k, f, abs(complex(slope))))
    return found


def _scales(problem: PDE, interior: Term, unknowns: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """RMS of Σ|terms| per equation and of each field, on fresh points."""
    terms = [sp.Add.make_args(sp.expand(residual.doit())) for residual in problem.residuals]
    parts = Residual(
        [*(part for row in terms for part in row), *problem.fields],
        problem.fields,
        problem.coordinates,
        values=known_values(problem),
        unknowns=problem.unknowns,
    )
    some = interior.points[:4000]
    columns = Term("terms", parts, interior.trial, some).residuals(unknowns)
    groups = columns.split([*map(len, terms), len(problem.fields)], dim=-1)
    return torch.stack([_rms(g.abs().sum(-1)) for g in groups[:-1]]), _rms(groups[-1])
