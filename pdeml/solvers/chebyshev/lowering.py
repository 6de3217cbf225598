"""From a declaration to rows: which equation or condition holds at which nodes of a box.

The state Z holds the values of every field and, for a field of second order in time, its velocity.
Everything is an expression in *entries* (a derivative in space of a component of Z, or of its rate
Z'), so that one program gives residuals and their exact partial derivatives:

    G(t, Z, Z') = 0:   the equation of a field at its nodes;   u' = v where the velocity v is kept;
                       conditions at the nodes of their faces, and their derivatives in t for v.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
import torch
from sympy.core.function import AppliedUndef

from pdeml.domains import Box, SpaceTime
from pdeml.errors import UnsupportedProblem
from pdeml.operators.expressions import Program
from pdeml.operators.matching import matched
from pdeml.operators.pde import PDE, Dirichlet, Flux, Initial, Neumann, Robin
from pdeml.operators.residual import multi_index
from pdeml.solvers.chebyshev.grid import Index
from pdeml.solvers.options import check_parameters

PROBES = 64  # points of a face at which a relation is tried
NEVER = -1e6  # conditions stand in place of the equation of their field, which must hold it


@dataclass(frozen=True)
class Component:
    """A part of the state: a field (its number), or its velocity."""

    field: int
    velocity: bool = False


@dataclass(frozen=True)
class Entry:
    """∂^index of a component of the state, or of its rate."""

    component: int
    index: Index
    rate: bool = False


@dataclass(frozen=True)
class FaceRow:
    """A condition as a row of a component at one face (axis, side) of the box."""

    axis: int
    side: int
    component: int
    expression: sp.Expr
    fixes_value: bool
    condition: Any


class Row:
    """An expression in entries, its partial derivatives, and its explicit derivative in time."""

    def __init__(
        self,
        expression: sp.Expr,
        symbols: Mapping[Entry, sp.Symbol],
        problem: PDE,
    ):
        self.entries = [e for e, s in symbols.items() if expression.has(s)]
        held = [symbols[e] for e in self.entries]
        partials = [sp.diff(expression, s) for s in held]
        explicit = sp.Integer(0) if problem.time is None else sp.diff(expression, problem.time)
        self.is_rate = any(e.rate for e in self.entries)
        varying = {*held, problem.time}
        self.constant = not any(p.free_symbols & varying for p in partials)
        self.values = tuple(problem.values.values())
        arguments = [*held, *problem.coordinates, *problem.values]
        self._value = Program([expression], arguments)
        self._partials = Program([*partials, explicit], arguments)

    def value(self, read: Sequence[Any], coordinates: Sequence[Any]) -> Any:
        """The expression, from values of the entries and coordinate columns."""
        return self._value(*read, *coordinates, *self.values)[0]

    def partials(
        self, read: Sequence[Any], coordinates: Sequence[Any]
    ) -> tuple[tuple[Any, ...], Any]:
        """Derivatives by the entries, in their order, and the explicit derivative in time."""
        *found, explicit = self._partials(*read, *coordinates, *self.values)
        return tuple(found), explicit


@dataclass(frozen=True)
class Lowered:
    """A problem as rows.

    Attributes
    ----------
    components : parts of the state; those of velocities follow those of fields.
    equations : one expression per component, in the symbols of `symbols`.
    faces : conditions.
    symbols : entry → symbol.
    """

    problem: PDE
    components: tuple[Component, ...]
    equations: tuple[sp.Expr, ...]
    faces: tuple[FaceRow, ...]
    symbols: dict[Entry, sp.Symbol]

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes are periodic."""
        axes = self.problem.periodic_axes(self.problem.fields[0])
        return tuple(c in axes for c in self.problem.space_coordinates)

    def row(self, expression: sp.Expr) -> Row:
        return Row(expression, self.symbols, self.problem)


def others(problem: PDE) -> str:
    """Methods to name in a refusal."""
    return '"exact" or "pinn"' if problem.exact is not None else '"pinn"'


def lower(problem: PDE) -> Lowered:
    """The rows of a problem.

    Raises
    ------
    UnsupportedProblem
        Where a term or condition has no such form; the message names it.
    """
    _check_domain(problem)
    symbols: dict[Entry, sp.Symbol] = {}

    def symbol(component: int, index: Index, rate: bool = False) -> sp.Symbol:
        entry = Entry(component, index, rate)
        if entry not in symbols:
            symbols[entry] = sp.Dummy(f"z{len(symbols)}", real=True)
        return symbols[entry]

    fields = problem.fields
    second = [i for i, f in enumerate(fields) if problem.time_order(f) == 2]
    velocity = {f: len(fields) + k for k, f in enumerate(second)}
    components = (*map(Component, range(len(fields))), *(Component(f, True) for f in second))
    here = (0,) * len(problem.space_coordinates)

    def replaced(derivative: sp.Derivative) -> sp.Symbol:
        field = fields.index(derivative.expr)
        *space, order = (*multi_index(derivative, problem.coordinates), 0)[: len(here) + 1]
        component = velocity[field] if order and field in velocity else field
        return symbol(component, tuple(space), order > (field in velocity))

    rows = []
    for residual in problem.residuals:
        derivatives = sorted(residual.atoms(sp.Derivative), key=sp.default_sort_key)
        plain = residual.xreplace({d: replaced(d) for d in derivatives})
        rows.append(plain.xreplace({f: symbol(i, here) for i, f in enumerate(fields)}))
    _check_rates(problem, rows, symbols)

    equations: list[sp.Expr] = [sp.Integer(0)] * len(components)
    for field, equation in enumerate(matched(problem, absent=NEVER)):
        if field in velocity:
            equations[velocity[field]] = rows[equation]
            equations[field] = symbol(field, here, True) - symbol(velocity[field], here)
        else:
            equations[field] = rows[equation]

    faces: list[FaceRow] = []
    for condition in problem.conditions:
        if not isinstance(condition, Dirichlet | Neumann | Flux | Robin):
            continue
        if isinstance(condition, Flux):
            raise UnsupportedProblem(
                f'"chebyshev" takes no flux condition such as {condition!r}; declare the slope by '
                'Neumann, or use "fem" or "pinn".'
            )
        field = fields.index(condition.field)
        for axis, side in _sides(problem, condition):
            normal = tuple(int(a == axis) for a in range(len(here)))
            outward = 2 * side - 1

            def stated(
                component: int,
                condition: Any = condition,
                normal: Index = normal,
                outward: int = outward,
            ) -> sp.Expr:
                value, slope = symbol(component, here), outward * symbol(component, normal)
                if isinstance(condition, Robin):
                    return condition.a * value + condition.b * slope
                return slope if isinstance(condition, Neumann) else value

            row = stated(field) - condition.value
            fixes = isinstance(condition, Dirichlet)
            faces.append(FaceRow(axis, side, field, row, fixes, condition))
            if field in velocity:
                # the condition holds at all times, so its derivative in time does too
                rate = sp.diff(row, problem.time) + stated(velocity[field])
                faces.append(FaceRow(axis, side, velocity[field], rate, fixes, condition))
    _check_count(problem, faces)
    return Lowered(problem, components, tuple(equations), tuple(faces), symbols)


def _check_domain(problem: PDE) -> None:
    space = problem.domain.space if isinstance(problem.domain, SpaceTime) else problem.domain
    use = f"Use {others(problem)}."
    if not isinstance(space, Box) or space.dim > 2:
        raise UnsupportedProblem(
            f'"chebyshev" needs a box of one or two space coordinates, but {problem.name!r} is '
            f"declared on {space!r}. {use}"
        )
    for field in problem.fields:
        if not field.is_real:
            raise UnsupportedProblem(
                f'"chebyshev" solves for real fields, but {field} is complex. {use}'
            )
    axes = [problem.periodic_axes(f) for f in problem.fields]
    for field, own in zip(problem.fields, axes, strict=True):
        if own != axes[0]:
            raise UnsupportedProblem(
                f'"chebyshev" needs the same periodic axes for every field, but {field} and '
                f"{problem.fields[0]} differ. {use}"
            )
    if len(axes[0]) == space.dim:
        periodic = ", ".join(str(c) for c in axes[0])
        named = '"spectral"' if problem.time is not None else others(problem)
        raise UnsupportedProblem(
            f'"chebyshev" needs an axis with walls, but {problem.name!r} is periodic in '
            f"{periodic}. Use {named}."
        )
    check_parameters(problem, "chebyshev")


def _check_rates(problem: PDE, rows: Sequence[sp.Expr], symbols: Mapping[Entry, sp.Symbol]) -> None:
    """Rates enter linearly: what is solved for in each step is then unique."""
    rates = [s for e, s in symbols.items() if e.rate]
    for row, equation in zip(rows, problem.equations, strict=True):
        if any(sp.diff(row, s).has(*rates) for s in rates):
            raise UnsupportedProblem(
                f'"chebyshev" needs equations that are linear in the highest time derivative, but '
                f"{equation.lhs} = {equation.rhs} is not. Use {others(problem)}."
            )


def _sides(problem: PDE, condition: Any) -> list[tuple[int, int]]:
    """Faces (axis, side) on which a condition holds."""
    space = problem.domain.space if isinstance(problem.domain, SpaceTime) else problem.domain
    assert isinstance(space, Box)
    periodic = problem.periodic_axes(condition.field)
    if isinstance(condition.on, str):
        return [divmod(space.part_index(condition.on), 2)]
    faces = [
        (axis, side)
        for axis, c in enumerate(space.coordinates)
        if c not in periodic
        for side in (0, 1)
    ]
    if condition.on is None:
        return faces
    program = Program([condition.on], problem.coordinates)
    lower, upper = (torch.tensor(b, dtype=torch.float64) for b in problem.domain.bounds)
    draw = torch.rand(
        (PROBES, len(lower)), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    chosen = []
    for axis, side in faces:
        points = lower + (upper - lower) * draw
        points[:, axis] = (lower, upper)[side][axis]
        holds = torch.as_tensor(program(*points.unbind(-1))[0]).expand(PROBES)
        if holds.all():
            chosen.append((axis, side))
        elif holds.any():
            part = space.parts[2 * axis + side]
            raise UnsupportedProblem(
                f'"chebyshev" needs conditions on whole sides, but {condition} holds on a part of '
                f"{part!r} or of the time. Use {others(problem)}, or name sides by on=."
            )
    return chosen


def _check_count(problem: PDE, faces: Sequence[FaceRow]) -> None:
    """Along each axis no more conditions than the orders of the fields add up to."""
    named = [f for f in faces if f.component < len(problem.fields)]
    for axis, coordinate in enumerate(problem.space_coordinates):
        own = [f for f in named if f.axis == axis]
        order = sum(_order(problem, field, coordinate) for field in problem.fields)
        scalar = len(problem.fields) == 1
        if len(own) > order:
            raise UnsupportedProblem(
                f'"chebyshev" takes {order} conditions on the ends of {coordinate}, the order of '
                f"the equations, but {len(own)} are declared: {own[-1].condition} is one too many. "
                "Remove one, or name sides by on=."
            )
        if scalar and coordinate not in problem.periodic_axes(problem.fields[0]):
            if len(own) < order:
                raise UnsupportedProblem(
                    f'"chebyshev" takes {order} conditions on the ends of {coordinate}, the order '
                    f"of the equation, but {len(own)} are declared. Add one, or use "
                    f"{others(problem)}."
                )
        if len(problem.space_coordinates) > 1:
            places = [(f.component, f.axis, f.side) for f in own]
            for face in own:
                if places.count((face.component, face.axis, face.side)) > 1:
                    raise UnsupportedProblem(
                        f'"chebyshev" takes one condition per field and side in the plane, but '
                        f"{face.condition} is one of two. Use {others(problem)}."
                    )


def _order(problem: PDE, field: AppliedUndef, coordinate: sp.Symbol) -> int:
    place = problem.coordinates.index(coordinate)
    return max(
        (
            multi_index(d, problem.coordinates)[place]
            for r in problem.residuals
            for d in r.atoms(sp.Derivative)
            if d.expr == field
        ),
        default=0,
    )


def initial_expressions(lowered: Lowered) -> list[sp.Expr]:
    """The declared initial value of every component; 0 for constraint fields."""
    problem = lowered.problem
    given = {
        (problem.fields.index(c.field), c.order == 1): c.value
        for c in problem.conditions
        if isinstance(c, Initial)
    }
    return [given.get((c.field, c.velocity), sp.Integer(0)) for c in lowered.components]
