"""Trainings that have ended, and what they say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pdeml.optim import LevenbergMarquardt
from pdeml.solvers.collocation import Outcome, Training
from pdeml.solvers.honesty import RELATIVE_RESIDUAL, Honesty
from pdeml.solvers.report import Report


@dataclass(frozen=True)
class Fit:
    """A training that has ended, and its judgement."""

    training: Training
    outcome: Outcome
    honesty: Honesty
    notes: list[str]


def joined_report(method: str, fits: Sequence[Fit]) -> Report:
    """What the trainings of one solution say together; reasons and notes name their window."""
    reasons, notes = [], []
    for number, fit in enumerate(fits):
        where = f"window {number + 1}: " if len(fits) > 1 else ""
        notes += [f"{where}{note}" for note in _notes(fit)]
        reasons += [f"{where}{reason}" for reason in fit.honesty.verdict()]
    growth = [f.honesty.growth for f in fits if f.honesty.growth is not None]
    if not reasons and not sum(growth) <= RELATIVE_RESIDUAL:
        reasons.append(
            f"the residuals of all windows, integrated over time, are {sum(growth):.1e} of the "
            "solution"
        )
    interrupted = any(fit.outcome.interrupted for fit in fits)
    training = fits[-1].training
    gates = [g for g in (fit.training.least_gate() for fit in fits) if g is not None]
    violations: dict[str, float] = {}
    for fit in fits:
        for name, value in fit.honesty.violations.items():
            violations[name] = max(value, violations.get(name, 0.0))
    return Report(
        method=method,
        converged=not reasons and not interrupted,
        losses=fits[-1].outcome.losses,
        residual_train=_rms([fit.honesty.trained for fit in fits]),
        residual_fresh=_rms([fit.honesty.fresh for fit in fits]),
        fresh_points=sum(len(fit.training.fresh_terms[0].points) for fit in fits),
        violations=violations,
        dtype=str(training.dtype).removeprefix("torch."),
        device=str(training.device),
        engine=training.terms[0].engine,
        wall_time=sum(fit.outcome.wall_time for fit in fits),
        iterations=sum(fit.outcome.iterations for fit in fits),
        parameters_count=sum(fit.training.objective.count for fit in fits),
        min_causal_gate=min(gates, default=None),
        interrupted=interrupted,
        notes=[*dict.fromkeys(notes), *(f"not converged: {reason}." for reason in reasons)],
    )


def _rms(values: Sequence[float]) -> float:
    """Of parts of equal size; the value itself where there is one."""
    if len(values) == 1:
        return values[0]
    return math.sqrt(sum(v * v for v in values) / len(values))


def _notes(fit: Fit) -> list[str]:
    training, outcome = fit.training, fit.outcome
    notes = [*fit.notes, f"stopped: {outcome.reason}."]
    rows = sum(len(term.points) * term.residual.count for term in training.terms)
    second_order = isinstance(training.optimizer, LevenbergMarquardt)
    if second_order and outcome.iterations and rows < 3 * training.objective.count:
        notes.append(
            f"{rows} residuals for {training.objective.count} parameters: fewer than three each "
            "fit the points rather than the equation; raise points=."
        )
    return notes


def joined_history(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """Series of all trainings, one after another."""
    joined: dict[str, list[float]] = {}
    iterations = elapsed = 0.0
    for outcome in outcomes:
        for name, series in outcome.history.items():
            offset = {"iteration": iterations, "time": elapsed}.get(name, 0.0)
            joined.setdefault(name, []).extend(value + offset for value in series)
        iterations += outcome.iterations
        elapsed += outcome.wall_time
    return joined
