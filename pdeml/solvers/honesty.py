"""Whether a trained trial can be trusted: residuals and violations on points it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import sympy as sp
import torch
from torch import Tensor

from pdeml import engine
from pdeml.operators.jets import supports_jets
from pdeml.operators.pde import PDE
from pdeml.operators.residual import Residual
from pdeml.solvers.batch import affordable
from pdeml.solvers.collocation import Training
from pdeml.solvers.constraints import time_of
from pdeml.solvers.determinacy import POINTS, Determinacy, determinacy
from pdeml.solvers.exact import ExactField
from pdeml.solvers.objective import Term, Trial
from pdeml.solvers.requirements import Requirement, known_values
from pdeml.solvers.resolution import unseen_change

FRESH_TO_TRAINED = 10.0
"""A larger ratio of fresh to trained residual: the points were fitted, not the equation."""

VIOLATION = 1e-3
"""Largest accepted violation of a condition, relative to the size of its field."""

RELATIVE_RESIDUAL = 1e-2
"""Largest accepted residual relative to the terms of its equation, in mean square."""

UNSEEN = 0.05
"""Largest accepted change of the solution between samples, relative to its range."""

STEP = 0.05
"""Largest accepted change of the solution by one least-squares step on fresh points."""

SLACK = 1e-6
"""Smallest accepted change of the residuals per change of the solution, both relative."""

EXACT_DEFECT = 1e-6
"""Largest accepted residual of a declared closed form relative to its terms."""


@dataclass
class Honesty:
    """Residuals and violations of a trained trial on fresh points (pinn.md §2.9).

    Attributes
    ----------
    trained, fresh : RMS residual over all equations.
    ratio : fresh to trained residual, of the worst equation.
    relative : residual relative to the terms of its equation, of the worst equation.
    growth : ∫|r|dt (∬|r|dt² where the equation is of second order in time) relative to the field
        that the equation advances, of the worst equation; None where none advances a field.
    violations : largest violation of each condition, relative to the size of its field.
    unseen : change of the solution between samples, relative to its range, and along which axis.
    determinacy : what a least-squares step says; None where it is not taken.
    trivial : whether a steady nonlinear problem was answered by zero.
    exact : residual of the declared closed form relative to its terms or fields, and of what; None
        where there is none, or its derivatives are not known.
    """

    trained: float
    fresh: float
    ratio: float
    relative: float
    growth: float | None
    violations: dict[str, float] = field(default_factory=dict)
    unseen: tuple[float, str | None] = (0.0, None)
    determinacy: Determinacy | None = None
    trivial: bool = False
    exact: tuple[float, str] | None = None

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
        if self.unseen[0] > UNSEEN:
            reasons.append(
                f"along {self.unseen[1]} the solution changes by {self.unseen[0]:.1e} of its range "
                "between samples: a front that no residual on points can judge"
            )
        if self.determinacy is not None:
            if not self.determinacy.slack >= SLACK:
                reasons.append(
                    "equations and conditions do not determine the solution: another one has the "
                    f"same residuals (they differ by {self.determinacy.slack:.1e} of a change of "
                    "the solution); fix a value, or a mean"
                )
            elif not self.determinacy.step <= STEP:
                reasons.append(
                    "one least-squares step on fresh points changes the solution by "
                    f"{self.determinacy.step:.1e}: the residual is small, the error is not"
                )
        if self.trivial:
            reasons.append("the solution is zero, which solves a homogeneous problem trivially")
        if self.exact is not None and not self.exact[0] <= EXACT_DEFECT:
            reasons.append(
                f"the declared exact= misses {self.exact[1]} by {self.exact[0]:.1e}: an error "
                "against it means nothing"
            )
        return reasons


def examine(problem: PDE, training: Training, all_conditions: Sequence[Requirement]) -> Honesty:
    """Judge the trained trial on points that it has not seen, each equation and field by itself."""
    values = training.objective.unknown_values()
    interior = training.fresh_terms[0]
    trained, fresh = _rms(training.terms[0].residuals(values)), _rms(interior.residuals(values))
    scales, sizes = _scales(problem, interior, values)
    growth = [
        float(fresh[k]) * gain / max(float(sizes[f]), 1e-300) for k, f, gain in _evolutions(problem)
    ]
    generator = engine.generator(20_240_229)
    violations, terms, field_scales = {}, [], []
    for requirement in all_conditions:
        draw = training.to_run(*requirement.draw(4000, generator, "uniform"))
        term = Term(requirement.name, requirement.residual, training.trial, *draw)
        size = _size(requirement, sizes)
        worst = float(term.residuals(values).abs().max())
        violations[requirement.name] = worst / max(size, 1e-300)
        terms.append(_first(term))
        field_scales.append(scales.new_full((1,), size))
    for term, requirement in zip(training.fresh_terms, training.requirements, strict=True):
        if requirement.gauge or requirement.fixed:
            terms.append(_first(term))
            field_scales.append(torch.stack([sizes[f] for _, f in requirement.residual.entries]))
    steady = problem.time is None
    return Honesty(
        trained=float(trained.square().mean().sqrt()),
        fresh=float(fresh.square().mean().sqrt()),
        ratio=_worst(fresh, trained),
        relative=_worst(fresh, scales),
        growth=max(growth, default=None, key=lambda g: math.inf if math.isnan(g) else g),
        violations=violations,
        unseen=unseen_change(problem, training.trial, generator, interior.points),
        determinacy=determinacy(
            training.objective, [_first(interior), *terms], [scales, *field_scales], sizes
        ),
        trivial=steady and not bool(sizes.any()) and not interior.residual.is_linear,
        exact=_exact_defect(problem, all_conditions, interior),
    )


def _size(requirement: Requirement, sizes: Tensor) -> float:
    """Size of the largest field that a condition speaks of."""
    return max((float(sizes[f]) for f in {f for _, f in requirement.residual.entries}), default=0.0)


def _first(term: Term) -> Term:
    """The same residual on the first points."""
    extras = [e[:POINTS] for e in term.extras]
    return Term(term.name, term.residual, term.trial, term.points[:POINTS], extras)


def _exact_defect(
    problem: PDE, conditions: Sequence[Requirement], interior: Term
) -> tuple[float, str] | None:
    """The largest residual of the closed form, and of what it is one."""
    if problem.exact is None or problem.unknowns:
        return None
    points = interior.points[:POINTS].cpu().double()
    trial = Trial(ExactField(problem))
    if not supports_jets(trial, points, interior.residual.streams):
        return None
    term = Term("equation", interior.residual, trial, points)
    scales, sizes = _scales(problem, term, ())
    found = [(_worst(_rms(term.residuals()), scales), "the equation")]
    generator = engine.generator(1)
    for requirement in conditions:
        at, extras = requirement.draw(POINTS, generator, "uniform")
        if not supports_jets(trial, at, requirement.residual.streams):
            continue
        defect = Term(requirement.name, requirement.residual, trial, at, extras).residuals()
        size = max(_size(requirement, sizes), 1e-300)
        found.append((float(defect.abs().max()) / size, f"condition {requirement.name!r}"))
    return max(found, key=lambda f: math.inf if math.isnan(f[0]) else f[0])


def _rms(columns: Tensor) -> Tensor:
    return columns.square().mean(0).sqrt()


def _worst(part: Tensor, whole: Tensor) -> float:
    """Largest quotient; 0/0 is 0, so an equation that is met to the last digit does not count."""
    quotient = torch.where(part == 0, torch.zeros_like(part), part / whole)
    return math.nan if bool(torch.isnan(quotient).any()) else float(quotient.max())


def _evolutions(problem: PDE) -> list[tuple[int, int, float]]:
    """(equation, field, error per residual) where an equation advances a field in time.

    A residual r of  a ∂_t^m u = …  leaves an error of at most T^m/m! r/|a|, unless it grows.
    """
    found = []
    for k, residual in enumerate(problem.residuals):
        expanded = sp.expand(residual)
        for f, unknown in enumerate(problem.fields):
            order = problem.time_order(unknown)
            if problem.time is None or order not in (1, 2):
                continue
            derivative = sp.Derivative(unknown, (problem.time, order))
            slope = expanded.coeff(derivative).subs(problem.values)
            if slope != 0 and not slope.free_symbols:
                duration = time_of(problem).duration
                found.append((k, f, duration**order / order / abs(complex(slope))))
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
        expand=False,
    )
    some = interior.points[: affordable(parts, 4000)]
    columns = Term("terms", parts, interior.trial, some).residuals(unknowns)
    groups = columns.split([*map(len, terms), len(problem.fields)], dim=-1)
    return torch.stack([_rms(g.abs().sum(-1)) for g in groups[:-1]]), _rms(groups[-1])
