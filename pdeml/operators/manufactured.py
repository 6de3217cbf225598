"""The problem with the same operator and conditions that a chosen field solves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sympy as sp
import torch
from sympy.core.function import AppliedUndef

from pdeml.domains import Box, SpaceTime
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.conditions import Dirichlet, Flux, Initial, Neumann, Periodic, Robin
from pdeml.operators.expressions import evaluate
from pdeml.operators.fields import as_expression
from pdeml.operators.pde import PDE
from pdeml.operators.printing import text

PROBES = 64  # points of a face at which both ends of a periodic axis are compared
EQUAL = 1e-9  # relative difference that rounding explains


def manufactured(problem: PDE, exact: Any) -> PDE:
    """A problem with a known solution (method of manufactured solutions).

        L(u) = L(u*)  in the domain,   B(u) = B(u*)  on its boundary,   u = u*  at the start

    Parameters
    ----------
    problem : its equations give L, its conditions where what is prescribed.
    exact : u*, an expression of coordinates and parameters; for a system, ``{field: expression}``
        by field or name.

    Returns
    -------
    PDE
        With `exact` as its exact solution. Divergences that were declared as such stay so; Neumann,
        Robin and flux conditions become one per side of the box.

    Raises
    ------
    InvalidOption
        A field has no expression, or one that is not equal at both ends of a periodic axis.
    UnsupportedProblem
        A slope is prescribed on a domain that is no box, or on part of a side.

    References
    ----------
    Roache (2002), J. Fluids Eng. 124, 4; Salari, Knupp (2000), SAND2000-1444.
    """
    solution = _solution(problem, exact)
    equations = [
        sp.Eq(e.lhs - e.rhs, residual.subs(solution).doit(), evaluate=False)
        for e, residual in zip(problem.declared, problem.residuals, strict=True)
    ]
    conditions: list[Any] = []
    for c in problem.conditions:
        wanted = solution[c.field]
        if isinstance(c, Initial):
            start = problem.domain.time.start  # type: ignore[attr-defined]
            value = wanted.diff(problem.time, c.order) if c.order else wanted
            conditions.append(Initial(c.derivative, value.subs(problem.time, start)))
        elif isinstance(c, Dirichlet):
            conditions.append(Dirichlet(c.field, wanted, on=c.on))
        elif isinstance(c, Periodic):
            _check_periodic(problem, c, wanted)
            conditions.append(c)
        else:
            conditions += _outward(problem, c, solution)
    return PDE(
        f"{problem.name}_manufactured",
        equations,
        problem.domain,
        conditions,
        solution,
        problem.description,
        fields=problem.fields,
    )


def _solution(problem: PDE, exact: Any) -> dict[AppliedUndef, sp.Expr]:
    """The expression of every field."""
    if not isinstance(exact, Mapping):
        exact = {problem.fields[0]: exact} if len(problem.fields) == 1 else {}
    named = {f.func.__name__: f for f in problem.fields}
    given = {named.get(key, key): as_expression(value, "exact") for key, value in exact.items()}
    names = ", ".join(named)
    if set(given) != set(problem.fields):
        shown = ", ".join(text(k) for k in given) or "none"
        raise InvalidOption(
            f"exact= is given for {shown}; give an expression for each of {names}, as "
            "{field: expression}."
        )
    return given


def _sides(problem: PDE, condition: Any) -> Iterator[tuple[str, int, int]]:
    """Name, axis and sign of the normal of the sides of a box on which a condition holds."""
    domain = problem.domain
    space = domain.space if isinstance(domain, SpaceTime) else domain
    if not isinstance(space, Box) or not (condition.on is None or isinstance(condition.on, str)):
        raise UnsupportedProblem(
            f"{condition!r} prescribes a slope, whose direction is known for whole sides of a box "
            f"alone; on {'' if isinstance(space, Box) else 'this domain, or on '}a part of a side, "
            "declare Dirichlet instead."
        )
    periodic = problem.periodic_axes(condition.field)
    for number, name in enumerate(space.parts):
        axis, side = divmod(number, 2)
        if condition.on in (None, name) and space.coordinates[axis] not in periodic:
            yield name, axis, 2 * side - 1


def _outward(problem: PDE, c: Any, solution: Mapping[AppliedUndef, sp.Expr]) -> Iterator[Any]:
    """A condition on slopes, side by side, with the values that the solution gives it."""
    x = problem.space_coordinates
    for name, axis, sign in _sides(problem, c):
        wanted = solution[c.field]
        outward = sign * wanted.diff(x[axis])
        if isinstance(c, Flux):
            form = problem.weak_form()
            flux = form.equations[form.fields.index(c.field)].flux[axis]
            yield Flux(c.field, sign * flux.subs(dict(solution)).doit(), on=name)
        elif isinstance(c, Robin):
            yield Robin(c.field, c.a, c.b, c.a * wanted + c.b * outward, on=name)
        elif isinstance(c, Neumann):
            yield Neumann(c.field, outward, on=name)


def _check_periodic(problem: PDE, condition: Periodic, wanted: sp.Expr) -> None:
    """The solution and its slope are equal at both ends of a periodic axis."""
    axis = problem.coordinates.index(condition.axis)
    lower, upper = (torch.tensor(b, dtype=torch.float64) for b in problem.domain.bounds)
    draw = torch.rand(
        (PROBES, len(lower)), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    ends = []
    for end in (lower, upper):
        points = lower + (upper - lower) * draw
        points[:, axis] = end[axis]
        both = [wanted, wanted.diff(condition.axis)]
        ends.append(torch.as_tensor(evaluate(both, problem.coordinates, points, problem.values)))
    gap, scale = (ends[0] - ends[1]).abs().max(), torch.stack(ends).abs().max()
    if gap > EQUAL * max(float(scale), 1.0):
        raise InvalidOption(
            f"exact= is not periodic in {condition.axis}, as {condition!r} says; its ends differ "
            f"by {float(gap):.1e}."
        )
