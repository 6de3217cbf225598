"""When characteristics cross: without diffusion from the equations, with it from a trained map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp
import torch
from torch import Tensor

from pdeml.operators.convective import ConvectiveForm
from pdeml.operators.expressions import Program, as_columns
from pdeml.solvers.constraints import time_of

STEPS = 1000
LABELS = {1: 2048, 2: 96}
"""Labels per axis on which J is followed."""


@dataclass(frozen=True)
class Crossing:
    """Where J = det ∂X/∂ξ falls to zero first."""

    time: float
    label: tuple[float, ...]

    def __str__(self) -> str:
        shown = ", ".join(f"{c:.4g}" for c in self.label)
        place = shown if len(self.label) == 1 else f"({shown})"
        return f"t ≈ {self.time:.4g} (label {place})"


def label_grid(lower: Sequence[float], upper: Sequence[float], count: int) -> Tensor:
    """Uniform labels over a periodic box, (count^d, d), upper faces left out."""
    axes = [
        a + (b - a) / count * torch.arange(count, dtype=torch.float64)
        for a, b in zip(lower, upper, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


def inviscid_crossing(form: ConvectiveForm) -> Crossing | None:
    """When the characteristics of a problem without diffusion cross, None where they do not.

    With g = 0 every label moves by itself: dX/dt = f, dW/dt = s, and the derivatives in the label

        dF/dt = f_x F + f_w G,      dG/dt = s_x F + s_w G,      F(0) = 1,  G(0) = ∇w0

    are integrated with it (Runge–Kutta of order 4). For f = f(w), s = 0 the first crossing is at
    t = 1/max(−f_ξ).
    """
    problem = form.problem
    if any(g != 0 for g in form.g) or not form.follows_state:
        return None
    space, fields, values = problem.space_coordinates, problem.fields, problem.values
    d, m = len(space), len(fields)
    names = (*problem.coordinates, *fields)
    arguments = (*names, *values)
    rates = Program([*form.f, *form.s], arguments)
    moved = (*space, *fields)
    # fields as symbols: a partial derivative in x must leave w(x, t) alone
    held = {field: sp.Dummy() for field in fields}
    back = {dummy: field for field, dummy in held.items()}
    slopes = Program(
        [
            e.xreplace(held).diff(held.get(z, z)).xreplace(back)
            for e in (*form.f, *form.s)
            for z in moved
        ],
        arguments,
    )
    initial = Program(
        [*form.initial, *(w.diff(x) for w in form.initial for x in space)],
        (*problem.coordinates, *values),
    )
    time = time_of(problem)
    lower, upper = (bound[:-1] for bound in problem.domain.bounds)
    labels = label_grid(lower, upper, LABELS.get(d, 24))
    start = torch.full_like(labels[:, :1], time.start)
    columns = torch.cat([labels, start], -1).unbind(-1)
    found = as_columns(initial(*columns, *values.values()), labels)
    state = torch.cat([labels, found[:, :m]], -1)
    tangent = torch.cat(
        [
            torch.eye(d, dtype=labels.dtype).expand(len(labels), d, d),
            found[:, m:].reshape(-1, m, d),
        ],
        1,
    )

    def rate(t: float, z: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
        columns = [*z[:, :d].unbind(-1), torch.full_like(z[:, 0], t), *z[:, d:].unbind(-1)]
        first = as_columns(rates(*columns, *values.values()), z)
        matrix = as_columns(slopes(*columns, *values.values()), z).reshape(-1, d + m, d + m)
        return first, matrix @ dz

    h = time.duration / STEPS
    before = torch.ones(len(labels), dtype=labels.dtype)
    for step in range(STEPS):
        t = time.start + step * h
        a = rate(t, state, tangent)
        b = rate(t + h / 2, state + h / 2 * a[0], tangent + h / 2 * a[1])
        c = rate(t + h / 2, state + h / 2 * b[0], tangent + h / 2 * b[1])
        e = rate(t + h, state + h * c[0], tangent + h * c[1])
        state = state + h / 6 * (a[0] + 2 * b[0] + 2 * c[0] + e[0])
        tangent = tangent + h / 6 * (a[1] + 2 * b[1] + 2 * c[1] + e[1])
        volume = torch.linalg.det(tangent[:, :d])
        if not bool(volume.min() > 0):
            worst = int(volume.nan_to_num(nan=-1.0).argmin())
            drop = float(before[worst] - volume[worst])
            share = float(before[worst]) / drop if drop > 0 else 1.0
            return Crossing(t + h * min(max(share, 0.0), 1.0), tuple(labels[worst].tolist()))
        before = volume
    return None
