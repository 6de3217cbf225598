"""Checks that a declaration is complete and free of contradictions; each error names the item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp
import torch
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import Boolean

from pdeml.domains import Box, Domain, SpaceTime
from pdeml.errors import InvalidOption, InvalidProblem, UnsupportedProblem
from pdeml.operators.conditions import (
    BOUNDARY,
    Condition,
    Dirichlet,
    Flux,
    Initial,
    Periodic,
    Robin,
)
from pdeml.operators.expressions import Program
from pdeml.operators.fields import Parameter, is_field
from pdeml.operators.printing import text

if TYPE_CHECKING:
    from pdeml.operators.pde import PDE

MAX_TIME_ORDER = 2
PROBES = 256
"""Points of a face at which a relation is tried."""

Orders = Mapping[AppliedUndef, Mapping[sp.Symbol, int]]
"""Highest derivative of each field along each coordinate."""


def check_symbols(
    expression: sp.Basic,
    where: str,
    coordinates: Sequence[sp.Symbol],
    allowed: Sequence[sp.Symbol] | None = None,
    partial: Sequence[AppliedUndef] = (),
) -> None:
    """Every symbol is a parameter or an allowed coordinate, every function a declared field.

    Those in `partial` may be fields of some of the coordinates, in their order.
    """
    allowed = coordinates if allowed is None else allowed
    for function in sorted(expression.atoms(AppliedUndef), key=str):
        own = tuple(c for c in coordinates if c in function.args)
        _check_function(function, where, own if own and function in partial else coordinates)
    for symbol in sorted(expression.free_symbols, key=str):
        if isinstance(symbol, Parameter) or symbol in allowed:
            continue
        if symbol in coordinates:
            raise InvalidProblem(
                f"{where} depends on {symbol}; it may depend on "
                f"{_names(allowed) or 'no coordinate'} and parameters."
            )
        if str(symbol) in [c.name for c in coordinates]:
            raise InvalidProblem(
                f"{where} holds a symbol {symbol} that is not the coordinate {symbol} of the "
                "domain: their assumptions differ. Use one symbol in both, for instance "
                f'sp.Symbol("{symbol}", real=True).'
            )
        raise InvalidProblem(
            f"{where} holds the unknown symbol {symbol}; the coordinates are "
            f"{_names(coordinates)}. "
            f'Declare a coefficient by Parameter("{symbol}", value).'
        )


def _check_function(f: AppliedUndef, where: str, coordinates: Sequence[sp.Symbol]) -> None:
    name = f.func.__name__
    mend = f'Field("{name}", {_names(coordinates)})'
    if not is_field(f):
        raise InvalidProblem(
            f"{where} holds the undeclared field {f}; declare it by {name} = {mend}."
        )
    if f.args != tuple(coordinates):
        same = [str(a) for a in f.args] == [c.name for c in coordinates]
        reason = ": their assumptions differ" if same else ""
        raise InvalidProblem(
            f"{where} holds the field {f}, which is not declared over the domain's coordinates "
            f"({_names(coordinates)}){reason}; declare it by {name} = {mend} with the domain's "
            "symbols."
        )


def check_names(
    coordinates: Sequence[sp.Symbol],
    fields: Sequence[AppliedUndef],
    parameters: Sequence[Parameter],
    problem: str,
) -> None:
    """Coordinates, fields and parameters have distinct names."""
    owners: dict[str, str] = {}
    for kind, names in (
        ("coordinate", [c.name for c in coordinates]),
        ("field", [f.func.__name__ for f in fields]),
        ("parameter", [p.name for p in parameters]),
    ):
        for name in names:
            if owners.get(name) == kind == "parameter":
                values = ", ".join(repr(p.value) for p in parameters if p.name == name)
                raise InvalidProblem(
                    f"problem {problem!r} holds two different parameters named {name} (values "
                    f"{values}); use one Parameter object, or two names."
                )
            if name in owners:
                raise InvalidProblem(
                    f"problem {problem!r} has a {owners[name]} and a {kind} named {name}; rename "
                    "one."
                )
            owners[name] = kind


def check_counts(
    residuals: Sequence[sp.Expr], fields: Sequence[AppliedUndef], problem: str
) -> None:
    """As many independent equations as fields, each field determined by an equation of its own."""
    count = f"{len(residuals)} equation{'s' * (len(residuals) != 1)}"
    names = ", ".join(f.func.__name__ for f in fields)
    unknowns = f"{len(fields)} field{'s' * (len(fields) != 1)} ({names})"
    if len(residuals) < len(fields):
        raise InvalidProblem(
            f"problem {problem!r} is under-determined: {count} for {unknowns}. Add equations, or "
            "make a given quantity a Parameter or an expression."
        )
    if len(residuals) > len(fields):
        raise InvalidProblem(f"problem {problem!r} is over-determined: {count} for {unknowns}.")
    for j, residual in enumerate(residuals):
        for i in range(j):
            if residual in (residuals[i], -residuals[i]):
                raise InvalidProblem(
                    f"problem {problem!r} is under-determined: equations {i + 1} and {j + 1} are "
                    "the same."
                )
    holds = [[bool(r.has(f)) for f in fields] for r in residuals]
    # imported here: it takes a third of the time that the rest of the declaration does
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    match = maximum_bipartite_matching(csr_array(np.array(holds, dtype=int)), perm_type="row")
    free = [f.func.__name__ for f, row in zip(fields, match, strict=True) if row < 0]
    if free:
        raise InvalidProblem(
            f"problem {problem!r} is under-determined: no choice of one equation per field leaves "
            "an "
            f"equation for {', '.join(free)}, because other equations repeat the remaining fields."
        )


def check_conditions(
    conditions: Sequence[Condition],
    fields: Sequence[AppliedUndef],
    domain: Domain,
    orders: Orders,
    problem: str,
    completed_by_data: bool,
) -> None:
    """Conditions fit the domain and the orders of the equations, and are enough."""
    time = domain.time.symbol if isinstance(domain, SpaceTime) else None
    space = domain.space if isinstance(domain, SpaceTime) else domain
    for condition in conditions:
        where = f"{condition!r} of problem {problem!r}"
        if condition.field not in fields:
            _check_function(condition.field, where, domain.coordinates)
            raise InvalidProblem(
                f"{where} is for the field {condition.field.func.__name__}, which is in no "
                f"equation; the fields are {', '.join(f.func.__name__ for f in fields)}."
            )
        if isinstance(condition, Initial):
            _check_initial(condition, where, time, space, orders[condition.field])
            allowed = space.coordinates
        else:
            allowed = domain.coordinates
        for expression in condition.expressions:
            if expression.atoms(AppliedUndef):
                raise InvalidProblem(
                    f"{where} holds a field in its value; values may hold coordinates and "
                    "parameters."
                )
            check_symbols(expression, where, domain.coordinates, allowed)
            check_real(expression, where, [condition.field])
        if isinstance(condition, BOUNDARY):
            _check_place(condition.on, where, domain, space)
        if isinstance(condition, Periodic) and (
            not isinstance(space, Box) or condition.axis not in space.coordinates
        ):
            axes = _names(space.coordinates) if isinstance(space, Box) else "none"
            raise InvalidProblem(
                f"{where} is not along an axis of a box; the axes of {space!r} that can be "
                f"periodic are: {axes}."
            )
    _check_repetition(conditions, space, problem)
    _check_periodic_faces(conditions, domain, space, problem)
    if not completed_by_data:
        _check_initials_complete(conditions, fields, time, orders, problem)
        _check_boundary_complete(conditions, fields, domain, space, orders, problem)


def check_real(expression: sp.Expr, where: str, fields: Sequence[AppliedUndef]) -> None:
    """The imaginary unit appears only beside complex fields."""
    if expression.has(sp.I) and all(f.is_real for f in fields):
        name = fields[0].func.__name__
        raise InvalidProblem(
            f"{where} holds the imaginary unit, but {name} is declared real; declare it with "
            "dtype=complex."
        )


def _check_initial(
    condition: Initial,
    where: str,
    time: sp.Symbol | None,
    space: Domain,
    orders: Mapping[sp.Symbol, int],
) -> None:
    if time is None:
        raise InvalidProblem(
            f"{where} is an initial condition of a steady problem; multiply the domain by "
            "Time(t, start, end), or remove it."
        )
    if condition.order and condition.variable != time:
        raise InvalidProblem(
            f"{where} is a derivative along {condition.variable}; initial conditions are along the "
            f"time {time}."
        )
    if condition.order >= orders[time]:
        name = condition.field.func.__name__
        accepted = {0: "none", 1: f"Initial({name}, …)"}.get(
            orders[time], f"Initial({name}, …) and Initial({name}.diff({time}), …)"
        )
        raise InvalidProblem(
            f"{where} is one too many: the equations hold {name} with {orders[time]} time "
            f"derivative{'s' * (orders[time] != 1)}. Initial conditions accepted for it: "
            f"{accepted}."
        )


def _check_place(on: str | Boolean | None, where: str, domain: Domain, space: Domain) -> None:
    if isinstance(on, str):
        try:
            space.part_index(on)
        except InvalidOption as error:
            raise InvalidProblem(f"{where} is on a part that does not exist: {error}") from None
    elif on is not None:
        for symbol in sorted(on.free_symbols, key=str):
            if isinstance(symbol, Parameter):
                raise InvalidProblem(
                    f"{where} is on {text(on)}, which depends on the parameter {symbol}; a part of "
                    "the boundary is described by coordinates and numbers."
                )
        if on.atoms(AppliedUndef):
            raise InvalidProblem(f"{where} is on {text(on)}, which depends on a field.")
        check_symbols(on, where, domain.coordinates)
        ends = dict(zip(domain.coordinates, zip(*domain.bounds, strict=True), strict=True))
        nowhere = _certainly_false(on, ends)
        if not nowhere and isinstance(space, Box) and space.dim == 1:
            nowhere = not any(_holds_on_face(on, domain, 0, side, where) for side in (0, 1))
        if nowhere:
            raise InvalidProblem(
                f"{where} is on a part that does not exist: {text(on)} holds nowhere on the "
                f"boundary of {space!r}."
            )


def _certainly_false(relation: Boolean, ends: Mapping[sp.Symbol, tuple[float, float]]) -> bool:
    """Whether a relation fails in the whole bounding box; False where that is not plain to see."""
    if isinstance(relation, sp.And):
        return any(_certainly_false(a, ends) for a in relation.args)
    if isinstance(relation, sp.Or):
        return all(_certainly_false(a, ends) for a in relation.args)
    if not isinstance(relation, sp.core.relational.Relational):
        return False
    if relation.lhs not in ends:
        relation = relation.reversed
    if relation.lhs not in ends or not relation.rhs.is_number or not relation.rhs.is_real:
        return False
    (low, high), bound = ends[relation.lhs], float(relation.rhs)
    if isinstance(relation, sp.Eq):
        return not low <= bound <= high
    return {
        sp.StrictLessThan: low >= bound,
        sp.LessThan: low > bound,
        sp.StrictGreaterThan: high <= bound,
        sp.GreaterThan: high < bound,
    }.get(type(relation), False)


def _holds_on_face(relation: Boolean, domain: Domain, axis: int, side: int, where: str) -> bool:
    """Whether a relation holds at one of many points spread over a face of a box (at all times)."""
    lower, upper = (torch.tensor(b, dtype=torch.float64) for b in domain.bounds)
    # additive recurrence with square roots of primes: spread out, on no simple plane
    roots = torch.tensor([float(sp.prime(i + 1)) for i in range(domain.dim)]).double().sqrt()
    index = torch.arange(1, PROBES + 1, dtype=torch.float64)
    points = lower + (upper - lower) * torch.frac(index[:, None] * roots)
    points[:, axis] = (lower, upper)[side][axis]
    try:
        (value,) = Program([relation], domain.coordinates)(*points.unbind(-1))
    except (UnsupportedProblem, TypeError) as error:
        raise InvalidProblem(
            f"{where} is on {text(relation)}, which cannot be evaluated: {error}"
        ) from error
    return bool(torch.as_tensor(value).any())


def _check_repetition(conditions: Sequence[Condition], space: Domain, problem: str) -> None:
    def place(condition: Condition) -> object:
        if isinstance(condition, Initial):
            return condition.order
        if isinstance(condition, Periodic):
            return condition.axis
        return space.part_index(condition.on) if isinstance(condition.on, str) else condition.on

    for j, second in enumerate(conditions):
        for first in conditions[:j]:
            if type(first) is not type(second) or first.field != second.field:
                continue
            places = place(first), place(second)
            if places[0] == places[1] or (isinstance(first, BOUNDARY) and None in places):
                raise InvalidProblem(
                    f"problem {problem!r} declares the same condition twice: {first!r} and "
                    f"{second!r}. Remove one, or name separate parts of the boundary."
                )


def _check_periodic_faces(
    conditions: Sequence[Condition], domain: Domain, space: Domain, problem: str
) -> None:
    for periodic in conditions:
        if not isinstance(periodic, Periodic):
            continue
        axis = space.coordinates.index(periodic.axis)
        for other in conditions:
            if not isinstance(other, BOUNDARY) or other.field != periodic.field:
                continue
            if other.on is None:
                clash = True
            elif isinstance(other.on, str):
                clash = space.part_index(other.on) // 2 == axis
            else:
                where = f"{other!r} of problem {problem!r}"
                clash = any(_holds_on_face(other.on, domain, axis, s, where) for s in (0, 1))
            if clash:
                free = [n for i, n in enumerate(space.parts) if i // 2 != axis]
                mend = f" Name other parts by on=: {', '.join(map(repr, free))}." if free else ""
                raise InvalidProblem(
                    f"problem {problem!r} declares {periodic!r} together with {other!r}, which "
                    "holds on "
                    f"the ends of {periodic.axis}; a periodic axis has none. Remove one.{mend}"
                )


def _check_initials_complete(
    conditions: Sequence[Condition],
    fields: Sequence[AppliedUndef],
    time: sp.Symbol | None,
    orders: Orders,
    problem: str,
) -> None:
    if time is None:
        return
    for field in fields:
        order = orders[field][time]
        if order > MAX_TIME_ORDER:
            raise InvalidProblem(
                f"problem {problem!r} holds {field.func.__name__} with {order} time derivatives; "
                "at "
                f"most {MAX_TIME_ORDER} are accepted. Make a time derivative a field of its own."
            )
        given = {c.order for c in conditions if isinstance(c, Initial) and c.field == field}
        for missing in sorted(set(range(order)) - given):
            name = field.func.__name__
            what = f"Initial({name}.diff({time}), …)" if missing else f"Initial({name}, …)"
            kind = "initial velocity" if missing else "initial value"
            raise InvalidProblem(
                f"problem {problem!r} has no {kind} for {name}, which has {order} time "
                f"derivative{'s' * (order != 1)}; add {what}."
            )


def _check_boundary_complete(
    conditions: Sequence[Condition],
    fields: Sequence[AppliedUndef],
    domain: Domain,
    space: Domain,
    orders: Orders,
    problem: str,
) -> None:
    """Enough boundary conditions for what can be told in general.

    A scalar equation of order k ≥ 2 along an axis of a box needs k conditions at its two ends
    together. How many a system needs at each end depends on its type: there, one at each end is
    required. On other domains one on the boundary is. First-order equations are left alone, as they
    need a condition at the inflow only.
    """
    boundary = [c for c in conditions if isinstance(c, BOUNDARY)]
    periodic = {(c.field, c.axis) for c in conditions if isinstance(c, Periodic)}
    for axis, coordinate in enumerate(space.coordinates):
        demanding = [
            f for f in fields if orders[f][coordinate] >= 2 and (f, coordinate) not in periodic
        ]
        if not demanding:
            continue
        field = demanding[0]
        order, name = orders[field][coordinate], field.func.__name__
        if not isinstance(space, Box):
            if not boundary:
                raise InvalidProblem(
                    f"problem {problem!r} is under-determined: it has no condition on the boundary "
                    "of "
                    f"{space!r}, but {name} has order {order} in {coordinate}. Add for instance "
                    f"{Dirichlet.__name__}({name}, 0)."
                )
            continue
        ends = [0, 0]
        for c in boundary:
            if isinstance(c.on, str):
                part = space.part_index(c.on)
                ends[part % 2] += part // 2 == axis
            elif c.on is None:
                ends = [n + 1 for n in ends]
            else:
                where = f"{c!r} of problem {problem!r}"
                held = (_holds_on_face(c.on, domain, axis, side, where) for side in (0, 1))
                ends = [n + h for n, h in zip(ends, held, strict=True)]
        scalar = len(fields) == 1
        if (sum(ends) < order) if scalar else (min(ends) < 1):
            needed = f"{order} conditions at the two ends" if scalar else "a condition at each end"
            names = " and ".join(map(repr, space.parts[2 * axis : 2 * axis + 2]))
            raise InvalidProblem(
                f"problem {problem!r} is under-determined: {name} has order {order} in "
                f"{coordinate}, "
                f"which needs {needed} of that axis ({names}); {ends[0]} and {ends[1]} are "
                "declared. Add "
                f"Dirichlet, Neumann or Robin there, or Periodic({name}, {coordinate})."
            )


def free_constants(problem: PDE) -> tuple[AppliedUndef, ...]:
    """Fields that the declaration determines up to a constant in space: pressures, potentials.

    No equation and no condition holds such a field but by its derivatives in space; where there is
    time, any function of time may be added. Solutions are shown with the mean 0, and compared
    without their means.
    """
    space = set(problem.space_coordinates)
    held: list[sp.Basic] = list(problem.residuals)
    for condition in problem.conditions:
        if isinstance(condition, Robin):
            held.append(condition.a * condition.field)
        elif isinstance(condition, Dirichlet | Initial):
            held.append(condition.field)
        elif isinstance(condition, Flux):
            form = problem.weak_form()
            held.extend(form.equations[form.fields.index(condition.field)].flux)
    hidden = {
        d: sp.Dummy()
        for expression in held
        for d in expression.atoms(sp.Derivative)
        if not space.isdisjoint(d.variables)
    }
    bare = set().union(*(e.xreplace(hidden).atoms(AppliedUndef) for e in held))
    return tuple(f for f in problem.fields if f not in bare)


def _names(symbols: Sequence[sp.Symbol]) -> str:
    return ", ".join(s.name for s in symbols)
