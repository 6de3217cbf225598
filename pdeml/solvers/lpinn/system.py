"""The equations along characteristics as a loss, and what judges them.

    R_X = X_t − f(X, t, W),      J R_W = J (W_t − g Δ_x W − s(X, t, W)),      X = ξ + c̄ (t − t0) + Y

R_W holds 1/J³; the factor J tames it and turns the mean over labels into one over space.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import sympy as sp
import torch
from torch import Tensor

from pdeml.errors import InvalidOption
from pdeml.operators.convective import ConvectiveForm, LabelFrame
from pdeml.operators.fields import Field
from pdeml.operators.residual import Residual
from pdeml.solvers.constraints import time_of
from pdeml.solvers.honesty import Honesty
from pdeml.solvers.objective import Term

CLOSURES = ("exact", "label")


class LabelClosureWarning(UserWarning):
    """closure="label" solves another equation than the declared one where J is not constant."""


@dataclass(frozen=True)
class LabelSystem:
    """Unknowns and equations of one window of time, over labels and time.

    Parameters
    ----------
    form : f, g, s.
    closure : "exact", or "label" (second derivatives in the labels, as published code has them).
    drift : c̄, mean velocity per axis.
    start : t0, when labels are positions.

    Notes
    -----
    Labels carry the symbols of the space coordinates, so that sampling stays that of the domain.
    """

    form: ConvectiveForm
    closure: str
    drift: tuple[float, ...]
    start: float

    def __post_init__(self) -> None:
        if self.closure not in CLOSURES:
            raise InvalidOption(f"closure={self.closure!r}; accepted are {', '.join(CLOSURES)}.")

    @property
    def frame(self) -> LabelFrame:
        problem = self.form.problem
        taken = {f.func.__name__ for f in problem.fields} | {p.name for p in problem.parameters}
        labels = problem.space_coordinates
        prefix = "Y_"
        while any(f"{prefix}{label}" in taken for label in labels):
            prefix += "_"
        displacement = (Field(f"{prefix}{label}", *problem.coordinates) for label in labels)
        return LabelFrame(labels, tuple(displacement))

    @property
    def unknowns(self) -> tuple:
        """Displacements Y, then the fields along characteristics."""
        return (*self.frame.displacement, *self.form.problem.fields)

    def along(self, expression: sp.Expr) -> sp.Expr:
        """A coefficient at x = X(ξ, t)."""
        frame, time = self.frame, self.form.problem.time
        elapsed = time - sp.Float(self.start, 17)
        # fields keep their labels as arguments: only bare coordinates move
        held = {f: sp.Dummy() for f in self.form.problem.fields}
        moved = {
            label: label + sp.Float(c, 17) * elapsed + y
            for label, y, c in zip(frame.labels, frame.displacement, self.drift, strict=True)
        }
        back = {dummy: field for field, dummy in held.items()}
        return expression.xreplace(held).xreplace(moved).xreplace(back)

    def laplacian(self, field: sp.Expr) -> sp.Expr:
        if self.closure == "exact":
            return self.frame.laplacian(field)
        return sp.Add(*(field.diff(label, 2) for label in self.frame.labels))

    @property
    def motion(self) -> list[sp.Expr]:
        """R_X per axis."""
        frame, time = self.frame, self.form.problem.time
        return [
            y.diff(time) + sp.Float(c, 17) - self.along(f)
            for y, c, f in zip(frame.displacement, self.drift, self.form.f, strict=True)
        ]

    @property
    def evolution(self) -> list[sp.Expr]:
        """J R_W per field."""
        form, J = self.form, self.frame.jacobian
        time = form.problem.time
        return [
            J * (w.diff(time) - self.along(g) * self.laplacian(w) - self.along(s))
            for w, g, s in zip(form.problem.fields, form.g, form.s, strict=True)
        ]

    def residual(self, expressions: list[sp.Expr]) -> Residual:
        """Expressions in the unknowns, over derivative streams."""
        problem = self.form.problem
        return Residual(
            expressions, self.unknowns, problem.coordinates, values=problem.values, expand=False
        )

    def loss(self) -> Residual:
        """R_X and J R_W."""
        return self.residual([*self.motion, *self.evolution])

    def warn(self) -> None:
        """LabelClosureWarning where the label closure is another equation."""
        diffusive = any(g != 0 for g in self.form.g)
        if self.closure == "label" and diffusive and not self.form.rigid:
            warnings.warn(
                'closure="label" takes second derivatives in the labels for those in space. Here '
                "the velocity varies, so that J is not constant and the solution is that of "
                'another equation (Burgers with ν = 0.01: 14 % off at t = 1). Use "exact".',
                LabelClosureWarning,
                stacklevel=4,
            )

    # ----------------------------------------------------------------------------- judgement

    def judge(self, trained: Term, fresh: Term) -> Honesty:
        """Residuals on fresh points in units of space: ∫ … J dξ is an integral over x.

        `growth` is what the residuals of both equations, integrated over time, may do to the
        fields: T (|R_W| + |R_X·∇w|) relative to their deviation from the mean.
        """
        before = trained.residuals().square().mean(0).sqrt()
        after = fresh.residuals().square().mean(0).sqrt()
        ratio = torch.where(after == 0, torch.zeros_like(after), after / before)
        form, frame, time = self.form, self.frame, self.form.problem.time
        axes = range(len(frame.labels))
        J = frame.jacobian
        velocity = [self.along(f) for f in form.f]
        columns: list[sp.Expr] = [J, *self.motion, *velocity]
        for w, residual, g, s in zip(
            form.problem.fields, self.evolution, form.g, form.s, strict=True
        ):
            slopes = [frame.derivative(w, i) for i in axes]
            carried = sp.Add(*(f * slope for f, slope in zip(velocity, slopes, strict=True)))
            drag = sp.Add(*(r * slope for r, slope in zip(self.motion, slopes, strict=True)))
            diffused = self.along(g) * self.laplacian(w)
            terms = [w.diff(time) - carried, carried, diffused, self.along(s)]
            columns += [w, residual / J, drag, *terms]
        term = Term("terms", self.residual(columns), fresh.trial, fresh.points)
        values = term.residuals().unbind(-1)
        volume = values[0]

        def rms(*parts: Tensor) -> float:
            total = torch.stack([p.abs() for p in parts]).sum(0)
            return math.sqrt(max(float((volume * total.square()).mean()), 0.0))

        d = len(frame.labels)
        motion, speed = values[1 : 1 + d], values[1 + d : 1 + 2 * d]
        duration, bounds = time_of(form.problem).duration, form.problem.domain.bounds
        turn = min(b - a for a, b in zip(*(side[:-1] for side in bounds), strict=True)) / duration
        # a parameter of value 0 may leave no speed to compare with: then a period in all the time
        pace = rms(*speed) if rms(*speed) > 1e-12 * turn else turn
        relative = [rms(*motion) / pace]
        growth, width = [], 7
        for k in range(len(form.problem.fields)):
            first = 1 + 2 * d + width * k
            w, residual, drag, *terms = values[first : first + width]
            mean = float((volume * w).mean() / volume.mean())
            size = rms(w - mean)
            size = size if size > 1e-12 * rms(w) else rms(w)
            relative.append(rms(residual) / max(rms(*terms), 1e-300) if rms(residual) else 0.0)
            growth.append(duration * (rms(residual) + rms(drag)) / max(size, 1e-300))
        return Honesty(
            trained=float(before.square().mean().sqrt()),
            fresh=float(after.square().mean().sqrt()),
            ratio=float(ratio.max()),
            relative=max(relative),
            growth=max(growth),
        )
