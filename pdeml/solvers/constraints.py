"""Conditions built into the trial solution, where a closed form exists: u = g + B·N.

    initial value                    u0(x) + τ N               τ = (t − t0)/(t1 − t0)
    initial value and velocity       u0(x) + (t − t0) v0(x) + τ² N
    Dirichlet on faces of a box      lift(g) + Π N,  Π vanishing on these faces
    Dirichlet on a disk or ball      g + (1 − |x − c|²/R²) N   for g constant in space
    periodic axes                    harmonics as network inputs

Whatever does not fit stays a loss term, and a note says why (pinn.md §2.4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy as sp
import torch
from sympy.core.function import AppliedUndef
from torch import Tensor, nn

from pdeml.domains import Ball, Box, SpaceTime, Time
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.nn.networks import CoordinateEmbedding
from pdeml.operators.expressions import Program, evaluate
from pdeml.operators.pde import PDE, Dirichlet, Initial, Periodic
from pdeml.operators.posedness import free_constants
from pdeml.solvers.level import Level, Levelled

CHECK_POINTS = 256
"""Random points per face at which a lift is compared with the declared values."""

NOT_SMOOTH = (*(sp.Piecewise, sp.Abs, sp.Max, sp.Min, sp.Heaviside, sp.sign, sp.floor, sp.ceiling),)
"""A lift with one of these would carry a kink or jump into the solution for ever."""

FLOW_MODES = 400
FLOW_SAMPLES = 1 << 14


class ExpressionField(nn.Module):
    """Expressions of the coordinates as a module on tensors and jets: (N, d) -> (N, len)."""

    def __init__(
        self,
        expressions: Sequence[sp.Expr],
        coordinates: Sequence[sp.Symbol],
        values: Mapping[sp.Symbol, float],
    ):
        super().__init__()
        self._program = Program(expressions, [*coordinates, *values])
        self._values = tuple(values.values())

    def forward(self, x):
        columns = [x[..., i : i + 1] for i in range(x.shape[-1])]
        out = self._program(*columns, *self._values)
        zero = columns[0] * 0.0
        return torch.cat([zero + column for column in out], -1)


class LinearFlow(nn.Module):
    """Exact linear flow of a periodic initial value, e^{tA} u0, by its Fourier series.

        u(x, t) = Σ_k e^{−λ_k (t − t0)} (a_k cos(κ_k (x − x0)) + b_k sin(κ_k (x − x0)))

    A kink of u0 across the seam is smoothed at once as the equation's own diffusion does it, so the
    network does not have to cancel a frozen kink.
    """

    def __init__(
        self, wave: Tensor, decay: Tensor, cosine: Tensor, sine: Tensor, origin: float, start: float
    ):
        super().__init__()
        self.origin, self.start = origin, start
        self.wave: Tensor
        self.decay: Tensor
        self.cosine: Tensor
        self.sine: Tensor
        for name, tensor in (("wave", wave), ("decay", decay), ("cosine", cosine), ("sine", sine)):
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, x):
        phase = (x[..., 0:1] - self.origin) * self.wave
        envelope = torch.exp((x[..., 1:2] - self.start) * -self.decay)
        return (torch.cos(phase) * envelope) @ self.cosine + (
            torch.sin(phase) * envelope
        ) @ self.sine


class Columns(nn.Module):
    """Several modules side by side, one column each."""

    def __init__(self, modules: Sequence[nn.Module]):
        super().__init__()
        self.parts = nn.ModuleList(modules)

    def forward(self, x):
        return torch.cat([part(x) for part in self.parts], -1)


@dataclass
class Constraints:
    """What is built in, and what is left as loss terms.

    Attributes
    ----------
    embedding : coordinates to network inputs.
    base, factor : g and B of u = g + B·N; None where nothing is built in.
    soft : conditions that remain loss terms.
    notes : reasons, one sentence each.
    """

    embedding: CoordinateEmbedding
    base: nn.Module | None = None
    factor: nn.Module | None = None
    soft: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Lift:
    """g and B of one field."""

    base: sp.Expr = sp.S.Zero
    factor: sp.Expr = sp.S.One
    flow: LinearFlow | None = None


def build_constraints(
    problem: PDE,
    mode: str = "auto",
    *,
    harmonics: int = 1,
    initial_is_hard: bool = True,
    level: bool = True,
) -> Constraints:
    """Decide for every condition whether it is built in.

    Parameters
    ----------
    mode : "auto" builds in what has a closed form; "soft" builds in periodicity alone.
    harmonics : per periodic axis.
    initial_is_hard : False where the declared initial value is replaced by data.
    level : whether fields that the declaration determines up to a constant get the mean 0; False
        where data tell the constant.

    Raises
    ------
    InvalidOption
        For another mode.
    UnsupportedProblem
        For an axis that is periodic for some fields only.
    """
    if mode not in ("auto", "soft"):
        raise InvalidOption(f"constraints={mode!r}; accepted are 'auto' and 'soft'.")
    box = problem.domain.space if isinstance(problem.domain, SpaceTime) else problem.domain
    lower, upper = problem.domain.bounds
    axes = _periodic_axes(problem)
    result = Constraints(
        CoordinateEmbedding(
            lower,
            upper,
            periodic=[problem.coordinates.index(axis) for axis in axes],
            harmonics=harmonics,
        )
    )
    lifts = []
    for unknown in problem.fields:
        conditions = [
            c for c in problem.conditions if c.field == unknown and not isinstance(c, Periodic)
        ]
        lift = _Lift()
        uncertain = [c for c in conditions if c.value.free_symbols & {*problem.unknowns}]
        if uncertain:
            result.notes.append(
                f"conditions of {unknown.func} stay loss terms: they hold an unknown parameter."
            )
        elif mode == "auto":
            conditions = _build_in(problem, box, unknown, conditions, lift, result, initial_is_hard)
        result.soft.extend(conditions)
        lifts.append(lift)
    values = problem.values
    if any(lift.factor != 1 for lift in lifts):
        coordinates = problem.coordinates
        result.factor = ExpressionField([lift.factor for lift in lifts], coordinates, values)
        result.base = Columns(
            [lift.flow or ExpressionField([lift.base], coordinates, values) for lift in lifts]
        )
    return _levelled(result, problem) if level else result


def _levelled(built: Constraints, problem: PDE) -> Constraints:
    """With a level on top of the lift, where the declaration leaves a constant open."""
    names = ", ".join(f.func.__name__ for f in free_constants(problem))
    if names:
        built.base = Levelled(built.base, Level(problem))
        built.notes.append(f"the declaration determines {names} up to a constant: the mean is 0.")
    return built


def time_of(problem: PDE) -> Time:
    """The time interval of an evolution problem."""
    assert isinstance(problem.domain, SpaceTime)
    return problem.domain.time


def _periodic_axes(problem: PDE) -> list[sp.Symbol]:
    declared = {axis for f in problem.fields for axis in problem.periodic_axes(f)}
    everywhere = {
        axis
        for axis in declared
        if all(axis in problem.periodic_axes(f) for f in problem.fields if axis in f.args)
    }
    partial = declared - everywhere
    if partial:
        raise UnsupportedProblem(
            f"axis {', '.join(map(str, partial))} is periodic for some fields only; a network "
            "method embeds an axis for all fields. Declare Periodic for every field, or use 'fem'."
        )
    return [c for c in problem.coordinates if c in everywhere]


def _build_in(
    problem: PDE,
    space: Any,
    unknown: AppliedUndef,
    conditions: list[Any],
    lift: _Lift,
    result: Constraints,
    initial_is_hard: bool,
) -> list[Any]:
    """Fill `lift`; returns the conditions that stay soft."""
    soft = list(conditions)
    initials = {c.order: c for c in conditions if isinstance(c, Initial)}
    time_order = problem.time_order(unknown)
    hard_time = initial_is_hard and time_order > 0 and set(initials) == set(range(time_order))
    dirichlet = [c for c in conditions if isinstance(c, Dirichlet)]
    values = problem.values

    evolution, tau = sp.Integer(0), sp.Integer(1)
    if hard_time:
        time = time_of(problem)
        elapsed = problem.time - _exact(time.start)
        tau = elapsed / _exact(time.end - time.start)
        evolution = initials[0].value
        if time_order > 1:
            evolution += elapsed * initials[1].value
            tau = tau**2
        rough = evolution.has(*NOT_SMOOTH)
        reason = "it is not smooth" if rough else _kink(problem, initials[0].value)
        if reason:
            lift.flow = _linear_flow(problem, unknown, initials[0].value)
            if lift.flow is None:
                hard_time, evolution, tau = False, sp.Integer(0), sp.Integer(1)
                result.notes.append(f"initial value of {unknown.func} stays a loss term: {reason}.")
            else:
                result.notes.append(
                    f"initial value of {unknown.func} is carried by its linear flow: {reason}."
                )
    if hard_time:
        soft = [c for c in soft if not isinstance(c, Initial)]

    base, vanishing, note = evolution, sp.Integer(1), None
    if dirichlet:
        if any(c.value.has(*NOT_SMOOTH) for c in dirichlet):
            note = "they are not smooth"
        elif isinstance(space, Box):
            base, vanishing, note = _box_lift(problem, space, dirichlet, evolution, hard_time)
        elif isinstance(space, Ball):
            base, vanishing, note = _ball_lift(problem, space, dirichlet, evolution, hard_time)
        else:
            note = f"no closed form for {type(space).__name__}"
        if note is None:
            soft = [c for c in soft if c not in dirichlet]
        else:
            result.notes.append(f"Dirichlet values of {unknown.func} stay loss terms: {note}.")
    lift.base, lift.factor = base, tau * vanishing
    if lift.factor == 1:
        lift.base = sp.Integer(0)
    elif note is None and dirichlet and _solves(problem, unknown, lift, values):
        result.notes.append(
            f"the declared boundary and initial values alone determine {unknown.func}: "
            "their lift already solves the equation."
        )
    return soft


def _exact(value: float) -> sp.Expr:
    return sp.Integer(int(value)) if value == int(value) else sp.Float(value, 17)


def _faces(
    problem: PDE, box: Box, conditions: Sequence[Dirichlet]
) -> dict[int, dict[int, sp.Expr]] | str:
    """{axis: {0 lower | 1 upper: value}}; a sentence where the conditions are not of this kind."""
    periodic = set(problem.periodic_axes(conditions[0].field))
    faces: dict[int, dict[int, sp.Expr]] = {}
    for condition in conditions:
        if condition.on is None:
            chosen = [
                (axis, side)
                for axis, c in enumerate(box.coordinates)
                if c not in periodic
                for side in (0, 1)
            ]
        elif isinstance(condition.on, str):
            chosen = [divmod(box.part_index(condition.on), 2)]
        else:
            return f"on={condition.on} selects a part of the boundary by a relation"
        for axis, side in chosen:
            if side in faces.setdefault(axis, {}):
                return f"two values are declared on {box.parts[2 * axis + side]}"
            faces[axis][side] = condition.value
    return faces


def _box_lift(
    problem: PDE, box: Box, conditions: Sequence[Dirichlet], evolution: sp.Expr, hard_time: bool
) -> tuple[sp.Expr, sp.Expr, str | None]:
    """Transfinite interpolation of the face values, axis after axis, on top of the evolution."""
    faces = _faces(problem, box, conditions)
    if isinstance(faces, str):
        return evolution, sp.Integer(1), faces
    values = {side for sides in faces.values() for side in sides.values()}
    constant = values == {sp.Integer(0)}
    if len(faces) > 2 and not constant:
        return (
            evolution,
            sp.Integer(1),
            f"an interpolant of values on {len(faces)} pairs of faces is longer than it helps",
        )
    lower, upper = box.bounds
    base, vanishing = evolution, sp.Integer(1)
    for axis, sides in faces.items():
        x, a, b = box.coordinates[axis], _exact(lower[axis]), _exact(upper[axis])
        xi = (x - a) / (b - a)
        defects = {
            side: value.subs(x, (a, b)[side]) - base.subs(x, (a, b)[side])
            for side, value in sides.items()
        }
        if set(sides) == {0, 1}:
            base = base + (1 - xi) * defects[0] + xi * defects[1]
            vanishing = vanishing * 4 * xi * (1 - xi)
        else:
            (side,) = sides
            base = base + defects[side]
            vanishing = vanishing * (xi if side == 0 else 1 - xi)
    mismatch = _mismatch(problem, box, faces, base, evolution, hard_time)
    return (base, vanishing, None) if mismatch is None else (evolution, sp.Integer(1), mismatch)


def _mismatch(
    problem: PDE,
    box: Box,
    faces: dict[int, dict[int, sp.Expr]],
    base: sp.Expr,
    evolution: sp.Expr,
    hard_time: bool,
) -> str | None:
    """Where the lift misses a declared value: conditions that contradict each other at an edge."""
    generator = torch.Generator().manual_seed(0)
    lower, upper = (torch.tensor(b, dtype=torch.float64) for b in problem.domain.bounds)
    draw = torch.rand((CHECK_POINTS, len(lower)), generator=generator, dtype=torch.float64)
    points = lower + (upper - lower) * draw
    scale = 1.0 + evaluate([base], problem.coordinates, points, problem.values).abs().max()

    def differs(expression: sp.Expr, where: Tensor) -> bool:
        defect = evaluate([expression], problem.coordinates, where, problem.values)
        return not bool(defect.abs().max() <= 1e-10 * scale)

    for axis, sides in faces.items():
        for side, value in sides.items():
            face = points.clone()
            face[:, axis] = (lower, upper)[side][axis]
            if differs(base - value, face):
                part = box.parts[2 * axis + side]
                return f"values on neighbouring faces differ at an edge of {part}"
    if hard_time:
        start = points.clone()
        start[:, -1] = lower[-1]
        if differs(base - evolution, start):
            return "boundary values contradict the initial value where they meet"
        time_orders = [problem.time_order(f) for f in problem.fields]
        if max(time_orders) > 1 and differs(sp.diff(base - evolution, problem.time), start):
            return "boundary values contradict the initial velocity where they meet"
    return None


def _ball_lift(
    problem: PDE, ball: Ball, conditions: Sequence[Dirichlet], evolution: sp.Expr, hard_time: bool
) -> tuple[sp.Expr, sp.Expr, str | None]:
    value = conditions[0].value
    if len(conditions) > 1 or value.free_symbols & {*ball.coordinates}:
        return (
            evolution,
            sp.Integer(1),
            "values that vary along the sphere have no closed extension",
        )
    if hard_time:
        return evolution, sp.Integer(1), "an initial value on a ball has no closed joint lift"
    radius = sum((x - _exact(c)) ** 2 for x, c in zip(ball.coordinates, ball.centre, strict=True))
    return value, 1 - radius / _exact(ball.radius) ** 2, None


def _kink(problem: PDE, value: sp.Expr) -> str | None:
    """Why u0 is not smooth across a periodic seam, None where it is."""
    lower, upper = problem.domain.bounds
    field_axes = problem.periodic_axes(problem.fields[0])
    generator = torch.Generator().manual_seed(0)
    for axis in field_axes:
        i = problem.coordinates.index(axis)
        points = torch.rand((64, len(lower)), generator=generator, dtype=torch.float64)
        points = torch.tensor(lower) + points * (torch.tensor(upper) - torch.tensor(lower))
        ends = []
        for end in (lower[i], upper[i]):
            seam = points.clone()
            seam[:, i] = end
            both = [value, sp.diff(value, axis)]
            ends.append(evaluate(both, problem.coordinates, seam, problem.values))
        inside = evaluate(
            [value, sp.diff(value, axis)], problem.coordinates, points, problem.values
        )
        jump = (ends[0] - ends[1]).abs().amax(0)
        scale = 1e-8 * (1.0 + inside.abs().amax(0))
        if jump[0] > scale[0]:
            return f"it jumps by {float(jump[0]):.3g} across the periodic seam in {axis}"
        if jump[1] > scale[1]:
            return (
                f"its derivative jumps by {float(jump[1]):.3g} across the periodic seam in {axis}"
            )
    return None


def _linear_flow(problem: PDE, unknown: AppliedUndef, value: sp.Expr) -> LinearFlow | None:
    """The flow of the dissipative constant-coefficient part of u_t = …, in one space dimension."""
    axes = problem.space_coordinates
    if len(axes) != 1 or len(problem.fields) != 1 or problem.time_order(unknown) != 1:
        return None
    if problem.periodic_axes(unknown) != axes:
        return None
    (x,) = axes
    residual = sp.expand(problem.residuals[0])
    slope = residual.coeff(sp.Derivative(unknown, problem.time))
    if slope == 0 or slope.free_symbols & {*problem.coordinates} or slope.has(unknown):
        return None
    lower, upper = problem.domain.bounds
    length = upper[0] - lower[0]
    wave = 2.0 * math.pi / length * torch.arange(FLOW_MODES + 1, dtype=torch.float64)
    decay = torch.zeros_like(wave)
    for derivative in residual.atoms(sp.Derivative):
        if derivative.variables != (x,) * len(derivative.variables) or derivative.expr != unknown:
            continue
        order = len(derivative.variables)
        coefficient = residual.coeff(derivative) / slope
        if coefficient.free_symbols & {*problem.coordinates} or coefficient.has(AppliedUndef):
            continue
        if order % 2 == 0:
            # u_t = −c ∂^order u decays at the rate c (iκ)^order, which is real
            rate = float(coefficient.subs(problem.values)) * (-1) ** (order // 2)
            decay += max(rate, 0.0) * wave**order
    if float(decay.max()) == 0.0:
        return None
    samples = lower[0] + length / FLOW_SAMPLES * torch.arange(FLOW_SAMPLES, dtype=torch.float64)
    points = torch.stack([samples, torch.full_like(samples, lower[1])], dim=-1)
    u0 = evaluate([value], problem.coordinates, points, problem.values)[:, 0]
    transform = torch.fft.rfft(u0)[: FLOW_MODES + 1] / FLOW_SAMPLES
    cosine, sine = 2.0 * transform.real, -2.0 * transform.imag
    cosine[0] *= 0.5
    return LinearFlow(wave, decay, cosine[:, None], sine[:, None], lower[0], lower[1])


def _solves(problem: PDE, unknown: AppliedUndef, lift: _Lift, values: Mapping[Any, float]) -> bool:
    """Whether the lift alone satisfies a scalar equation."""
    if len(problem.fields) > 1 or lift.flow is not None or problem.unknowns:
        return False
    residual = problem.residuals[0].subs(unknown, lift.base).doit()
    generator = torch.Generator().manual_seed(1)
    lower, upper = (torch.tensor(b, dtype=torch.float64) for b in problem.domain.bounds)
    draw = torch.rand((CHECK_POINTS, len(lower)), generator=generator, dtype=torch.float64)
    defect = evaluate([residual], problem.coordinates, lower + (upper - lower) * draw, values)
    return bool(defect.abs().max() < 1e-9)
