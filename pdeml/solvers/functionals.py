"""Numbers that are drawn from a solution: integrals over the domain, or over parts of its rim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy as sp
import torch
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import Boolean
from torch import Tensor

from pdeml.domains import SpaceTime
from pdeml.domains.mesh import Mesh
from pdeml.errors import InvalidOption, MissingDependency
from pdeml.operators.expressions import Program, as_columns
from pdeml.operators.fields import as_expression

if TYPE_CHECKING:
    from pdeml.solvers.solution import Solution

DEGREE = 8  # of the quadrature on each cell or facet
CELLS = {1: 128, 2: 32, 3: 8}  # per axis, where a method has no mesh of its own
BLOCK = 2**14  # points per evaluation of derivatives, bounds memory


def integral(
    solution: Solution,
    expression: Any,
    on: str | Boolean | None = None,
    *,
    boundary: bool = False,
    time: float | None = None,
    mesh: Mesh | None = None,
    degree: int = DEGREE,
) -> float:
    """Integral of an expression of the fields over the domain, or over the boundary.

        ∫_Ω e dx,     ∫_Γ e ds,     ∫_Γ F·n ds for d expressions F

    Parameters
    ----------
    solution : of any method.
    expression : SymPy expression of coordinates, parameters, fields and their derivatives; d of
        them, one per space coordinate, are a vector, whose outward normal component is integrated.
    on : part Γ of the boundary, by name or relation, as for `pdeml.Dirichlet`.
    boundary : integrate over the whole boundary, where `on` is not given; a vector always is.
    time : the instant, for a problem with time.
    mesh : on which to integrate; by default that of the solution, or a regular one of the domain.
    degree : of polynomials that the quadrature integrates exactly on each cell or facet.

    Returns
    -------
    float

    Raises
    ------
    InvalidOption
        An expression holds something else; `time` is missing or superfluous; no part is `on`; there
        is no regular mesh of the domain.

    Examples
    --------
    >>> import pdeml
    >>> solution = pdeml.solve(pdeml.problems.poisson(2), "exact")
    >>> (u,), (x, y) = solution.problem.fields, solution.problem.coordinates
    >>> round(solution.integral(u), 6)  # 4/π
    1.27324
    """
    problem = solution.problem
    instant = checked_time(problem, time)
    vector = isinstance(expression, Sequence | sp.MatrixBase)
    parts = list(expression) if vector else [expression]
    dim = len(problem.space_coordinates)
    if vector and len(parts) != dim:
        raise InvalidOption(
            f"a vector of {len(parts)} components was given; {problem.name!r} has {dim} dimensions."
        )
    mesh = mesh_of(solution) if mesh is None else mesh
    if on is None and not boundary and not vector:
        points, weights = mesh.quadrature(degree)
        return float((weights * evaluated(solution, parts, at_time(points, instant))[:, 0]).sum())
    rule = mesh.boundary_quadrature(None, degree)
    chosen = lies_on(problem, on, rule.points)
    if not bool(chosen.any()):
        raise InvalidOption(f"on={on}: no part of the boundary of {problem.name!r} is there.")
    values = evaluated(solution, parts, at_time(rule.points[chosen], instant))
    if vector:
        values = values * rule.normals[chosen]
    return float((rule.weights[chosen, None] * values).sum())


def flux(
    solution: Solution,
    field: Any,
    on: str | Boolean | None = None,
    *,
    time: float | None = None,
) -> float:
    """Flux through the boundary, or a part of it, of what the equation of a field conserves.

        ∫_Γ F·n ds,   F the flux of the equation div F + r = 0 as ``problem.weak_form()`` prints it

    The reaction force of a body, drag and lift, heat flow, discharge. n points outwards.

    Parameters
    ----------
    solution : of any method.
    field : whose equation it is: an entry of ``problem.fields``, or its name.
    on : part Γ of the boundary, by name or relation; the whole boundary by default.
    time : the instant, for a problem with time.

    Returns
    -------
    float

    Raises
    ------
    UnsupportedProblem
        The problem has no weak form.
    InvalidOption
        The equation has no flux, no part is `on`, or `time` is missing or superfluous.

    Notes
    -----
    For finite elements of degree p this is the residual of the weak form, tested with a function
    that is 1 on Γ. Its error is of order 2p where Γ is closed, and p + 1 where it ends at a corner;
    the integral of the computed gradient has order p. Through the whole boundary flows out what the
    sources in the domain give, up to the error of quadrature.

    References
    ----------
    Carey (1982), Comput. Methods Appl. Mech. Eng. 35, 1; John, Matthies (2001), Int. J. Numer.
    Methods Fluids 37, 885 (drag and lift).
    """
    from pdeml.solvers.fem.field import FiniteElementField
    from pdeml.solvers.fem.flux import consistent_flux

    problem = solution.problem
    column = solution._column(field)
    form = problem.weak_form()
    equation = form.equations[form.fields.index(problem.fields[column])]
    if all(f == 0 for f in equation.flux):
        raise InvalidOption(
            f"the equation of {problem.fields[column].func.__name__} has no flux; "
            "problem.weak_form() prints those of all equations."
        )
    if isinstance(solution.field, FiniteElementField):
        return consistent_flux(solution, equation, on, checked_time(problem, time))
    return integral(solution, equation.flux, on, time=time)


def checked_time(problem: Any, time: float | None) -> float | None:
    """The instant of an integral."""
    if problem.time is None and time is not None:
        raise InvalidOption(f"time={time!r}: {problem.name!r} has no time; leave it out.")
    if problem.time is not None:
        start, end = problem.domain.time.start, problem.domain.time.end
        if time is None or not start <= time <= end:
            raise InvalidOption(
                f"time={time!r}: give an instant of {problem.name!r}, from {float(start):g} to "
                f"{float(end):g}."
            )
    return None if time is None else float(time)


def mesh_of(solution: Solution) -> Mesh:
    """The mesh of a solution by finite elements; for others, a regular one of the domain."""
    from pdeml.solvers.fem.field import FiniteElementField

    problem, field = solution.problem, solution.field
    domain = problem.domain
    space = domain.space if isinstance(domain, SpaceTime) else domain
    if isinstance(field, FiniteElementField):
        return Mesh(space.coordinates, field.points.cpu().numpy(), field.corners.cpu().numpy())
    if isinstance(space, Mesh):
        return space
    try:
        cells = CELLS[space.dim]
        try:
            return Mesh.structured(space, cells)
        except InvalidOption:
            size = max(b - a for a, b in zip(*space.bounds, strict=True)) / cells
            return Mesh.generate(space, size)
    except (KeyError, InvalidOption, MissingDependency) as reason:
        raise InvalidOption(
            f"there is no regular mesh of {space!r} to integrate on; give mesh= ({reason})."
        ) from reason


def lies_on(problem: Any, on: str | Boolean | None, points: Tensor) -> Tensor:
    """Which points (n, d) of the boundary are on a part, (n,) of bool."""
    domain = problem.domain
    space = domain.space if isinstance(domain, SpaceTime) else domain
    if on is None:
        return torch.ones(len(points), dtype=torch.bool)
    if isinstance(on, str):
        found: Tensor = space.part_of(points) == space.part_index(on)
        return found
    if not isinstance(on, Boolean) or not on.free_symbols <= {*space.coordinates}:
        raise InvalidOption(
            f"on={on!r}: give the name of a part ({', '.join(map(repr, space.parts))}), or a "
            f"relation of {', '.join(map(str, space.coordinates))}."
        )
    (value,) = Program([on], space.coordinates)(*points.unbind(-1))
    return torch.as_tensor(value).expand(len(points))


def evaluated(solution: Solution, expressions: Any, points: Tensor) -> Tensor:
    """Expressions of coordinates, parameters, fields and derivatives of fields at points.

    Parameters
    ----------
    solution : of any method.
    expressions : SymPy expressions.
    points : (N, d), columns in the order of ``problem.coordinates``.

    Returns
    -------
    (N, len(expressions)) in float64 on the CPU.

    Raises
    ------
    InvalidOption
        An expression holds something else, or a field is complex.
    """
    problem = solution.problem
    parts = _checked(problem, expressions)
    held = {a for e in parts for a in e.atoms(AppliedUndef, sp.Derivative)}
    unknowns = sorted(held, key=sp.default_sort_key)
    program = Program(parts, [*problem.coordinates, *problem.values, *unknowns])
    rows = []
    for block in points.to(torch.float64).cpu().split(BLOCK):
        columns = []
        for unknown in unknowns:
            if isinstance(unknown, sp.Derivative):
                value = solution.derivative(unknown.expr, *unknown.variables)(block)[:, 0]
            else:
                value = solution(block)[:, problem.fields.index(unknown)]
            columns.append(value.detach().cpu().to(torch.float64))
        found = program(*block.unbind(-1), *problem.values.values(), *columns)
        rows.append(as_columns(found, block))
    return torch.cat(rows)


def at_time(points: Tensor, time: float | None) -> Tensor:
    """Points in space with the instant as their last column."""
    if time is None:
        return points
    return torch.cat([points, points.new_full((len(points), 1), time)], dim=1)


def _checked(problem: Any, given: Sequence[Any]) -> tuple[sp.Expr, ...]:
    parts = tuple(as_expression(e, "the expression") for e in given)
    for part in parts:
        held = {d.expr for d in part.atoms(sp.Derivative)} | part.atoms(AppliedUndef)
        unknown = held - {*problem.fields}
        unknown |= part.free_symbols - {*problem.coordinates, *problem.values}
        if unknown:
            names = ", ".join(sorted(map(str, unknown)))
            raise InvalidOption(
                f"the expression holds {names}; it may hold coordinates, parameters, fields and "
                f"derivatives of fields of {problem.name!r}."
            )
    if any(not f.is_real for f in problem.fields):
        raise InvalidOption(f"{problem.name!r} has complex fields; expressions take real ones.")
    return parts
