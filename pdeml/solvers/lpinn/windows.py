"""Windows of time: with which state, labels and mean velocity one begins, and its networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy as sp
import torch
from torch import Tensor, nn

from pdeml.errors import InvalidOption
from pdeml.nn.networks import MLP, CoordinateEmbedding
from pdeml.operators.branches import Branches
from pdeml.operators.convective import ConvectiveForm
from pdeml.operators.expressions import evaluate
from pdeml.solvers.constraints import ExpressionField
from pdeml.solvers.lpinn.crossing import label_grid
from pdeml.solvers.lpinn.flow import FourierSeries, LabelWindow
from pdeml.solvers.objective import Trial

RELABEL_BELOW = 0.02
"""Smallest J at the end of a window that does not call for new labels."""

SERIES_GRID = {1: 2048, 2: 128}
"""Points per axis that carry a state from one window to the next."""


def box(form: ConvectiveForm) -> tuple[list[float], list[float]]:
    lower, upper = form.problem.domain.bounds
    return [float(b) for b in lower[:-1]], [float(b) for b in upper[:-1]]


def declared(form: ConvectiveForm) -> nn.Module:
    """No displacement, and the declared initial values: (N, d + 1) -> (N, d + m)."""
    problem = form.problem
    still = [sp.Integer(0)] * len(problem.space_coordinates)
    return ExpressionField([*still, *form.initial], problem.coordinates, problem.values)


def entry_state(
    form: ConvectiveForm,
    done: Sequence[LabelWindow],
    start: float,
    mean_shift: bool,
    initial: Callable[[Tensor], Tensor] | None,
) -> tuple[nn.Module, float, tuple[float, ...]]:
    """State at the start of a window, when its labels are positions, and its mean velocity."""
    lower, upper = box(form)
    d, m = len(lower), len(form.problem.fields)
    count = SERIES_GRID.get(d, 32)
    labels = label_grid(lower, upper, count)
    at = torch.cat([labels, torch.full_like(labels[:, :1], start)], -1)
    if not done and initial is None:
        state = declared(form)
        values = state(at)[:, d:]
    elif not done:
        assert initial is not None
        values = torch.as_tensor(initial(at), dtype=torch.float64).reshape(len(at), -1)
        if values.shape[1] != m:
            raise InvalidOption(
                f"initial= returned {values.shape[1]} columns for {len(at)} points; return "
                f"({len(at)}, {m}), a column per field."
            )
    else:
        before = done[-1]
        own = at.to(before.lower)
        with torch.no_grad():
            if float(torch.linalg.det(before.gradient(own)[1]).min()) >= RELABEL_BELOW:
                columns = before.trial(own)
                series = FourierSeries.of(columns.reshape(*[count] * d, -1).cpu(), lower, upper)
                return series, before.labelled, tuple(before.drift.tolist())
            values = before.eulerian(own).to(device="cpu", dtype=torch.float64)
    if done or initial is not None:
        still = torch.zeros(len(at), d, dtype=torch.float64)
        columns = torch.cat([still, values], -1)
        state = FourierSeries.of(columns.reshape(*[count] * d, -1), lower, upper)
    drift = (0.0,) * d
    if mean_shift:
        names = (*form.problem.coordinates, *form.problem.fields)
        speed = evaluate(form.f, names, torch.cat([at, values], -1), form.problem.values)
        drift = tuple(speed.mean(0).tolist())
    return state, start, drift


def make_window(
    form: ConvectiveForm,
    entry: Mapping[str, Any],
    network: Mapping[str, Any],
    state: nn.Module,
    generator: torch.Generator,
) -> LabelWindow:
    """A window with untrained networks, which stand still at first: X = ξ + c̄ t, W = w0."""
    problem = form.problem
    lower, upper = box(form)
    start, end = entry["start"], entry["end"]
    d, m = len(lower), len(problem.fields)
    embedding = CoordinateEmbedding(
        [*lower, start], [*upper, end], periodic=range(d), harmonics=network["harmonics"]
    )
    branches = [
        MLP(
            embedding.out_features,
            columns,
            depth=network["depth"],
            width=network["width"],
            activation=network["activation"],
            generator=generator,
        )
        for columns in (d, m)
    ]
    with torch.no_grad():
        for branch in branches:
            list(branch.linears.parameters())[-2].zero_()
    time = problem.time
    progress = (time - sp.Float(start, 17)) / sp.Float(end - start, 17)
    factor = ExpressionField([progress] * (d + m), problem.coordinates, {})
    trial = Trial(Branches(branches), embedding, state, factor)
    return LabelWindow(trial, entry["drift"], lower, upper, entry["labelled"], start, end)
