"""What the windows of a run say together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeml import engine
from pdeml.operators.convective import ConvectiveForm
from pdeml.operators.expressions import evaluate
from pdeml.solvers.collocation import Outcome, Training
from pdeml.solvers.constraints import time_of
from pdeml.solvers.honesty import Honesty
from pdeml.solvers.lpinn.crossing import Crossing
from pdeml.solvers.lpinn.flow import LagrangianField
from pdeml.solvers.report import Report

NEARLY_CROSSED = 1e-3


@dataclass
class WindowRun:
    """What the training of one window left."""

    training: Training
    outcome: Outcome
    honesty: Honesty


def joined_report(
    runs: Sequence[WindowRun], smallest: float, where: Crossing, incomplete: bool
) -> Report:
    training = runs[-1].training
    notes, reasons = [], []
    for number, run in enumerate(runs):
        label = f"window {number + 1}: " if len(runs) > 1 else ""
        notes.append(f"{label}stopped: {run.outcome.reason}.")
        reasons += [f"{label}{reason}" for reason in run.honesty.verdict()]
    notes.append(f"smallest J {smallest:.4g} at {where}.")
    if smallest < NEARLY_CROSSED:
        reasons.append(
            f"characteristics nearly cross (J = {smallest:.1e}): use windows= to draw new labels"
        )
    if incomplete:
        reasons.append("later windows were not trained")
    notes += [f"not converged: {reason}." for reason in reasons]
    interrupted = any(run.outcome.interrupted for run in runs)
    return Report(
        method="lpinn",
        converged=not reasons and not interrupted,
        losses=training.objective.term_losses(),
        residual_train=max(run.honesty.trained for run in runs),
        residual_fresh=max(run.honesty.fresh for run in runs),
        fresh_points=len(training.fresh_terms[0].points),
        min_jacobian=smallest,
        dtype=str(training.dtype).removeprefix("torch."),
        device=str(training.device),
        engine=training.terms[0].engine,
        iterations=sum(run.outcome.iterations for run in runs),
        parameters_count=sum(run.training.objective.count for run in runs),
        interrupted=interrupted,
        notes=notes,
    )


def violations(
    form: ConvectiveForm, field: LagrangianField, initial: Callable[[Tensor], Tensor] | None
) -> dict[str, float]:
    """Largest defect of the initial value, relative to the size of its field."""
    problem = form.problem
    points = problem.domain.sample(1000, engine.generator(1))
    points[:, -1] = time_of(problem).start
    if initial is None:
        wanted = evaluate(form.initial, problem.coordinates, points, problem.values)
    else:
        wanted = torch.as_tensor(initial(points), dtype=torch.float64).reshape(len(points), -1)
    with torch.no_grad():
        found = field(points.to(field.windows[0].lower)).to(device="cpu", dtype=torch.float64)
    defect = (found - wanted).abs().amax(0) / wanted.abs().amax(0).clamp(min=1e-300)
    return {
        f"initial {f.func.__name__}": value
        for f, value in zip(problem.fields, defect.tolist(), strict=True)
    }
