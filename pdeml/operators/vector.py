"""Gradient and divergence: equations declared by their flux, −div(k(u) grad u) = f."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from pdeml.errors import InvalidProblem
from pdeml.operators.fields import is_field


def grad(field: Any, *coordinates: sp.Symbol) -> sp.ImmutableMatrix:
    """The gradient (∂u/∂x_1, …, ∂u/∂x_d) of a field, as a column that SymPy multiplies and adds.

    Parameters
    ----------
    field : the field u.
    *coordinates : along which to differentiate; all coordinates of the field by default, so name
        the space coordinates where the field depends on time: ``grad(u, x, y)``.

    Raises
    ------
    InvalidProblem
        The first argument is no field, or does not depend on a coordinate.
    """
    if not is_field(field):
        raise InvalidProblem(f"grad is given {field!r:.60}; its argument is a field of Field(...).")
    for c in coordinates:
        if c not in field.args:
            raise InvalidProblem(
                f"grad of {field} along {c!r:.60}: the coordinates of the field are "
                f"{', '.join(map(str, field.args))}."
            )
    return sp.ImmutableMatrix([field.diff(c) for c in coordinates or field.args])


def div(flux: Iterable[Any], *coordinates: sp.Symbol) -> sp.Expr:
    """The divergence Σ_i ∂F_i/∂x_i of a flux, not carried out.

    A weak form takes the flux as it stands; every other method sees the derivatives carried out.

    Parameters
    ----------
    flux : one expression per space coordinate, such as ``(1 + u**2) * grad(u)``.
    *coordinates : in the order of the flux; by default the first coordinates of the field that it
        holds (time is last).

    Raises
    ------
    InvalidProblem
        Flux and coordinates differ in number, or the flux holds no field to tell them by.

    Examples
    --------
    >>> import sympy as sp
    >>> from pdeml.operators.fields import Field
    >>> x, y = sp.symbols("x y", real=True)
    >>> u = Field("u", x, y)
    >>> div((1 + u**2) * grad(u)).doit() == sp.expand(
    ...     2 * u * (u.diff(x) ** 2 + u.diff(y) ** 2)
    ... ) + (1 + u**2) * (u.diff(x, 2) + u.diff(y, 2))
    True
    """
    parts = [part if isinstance(part, sp.Expr) else sp.Float(part) for part in flux]
    if not coordinates:
        fields = sorted({f for part in parts for f in part.atoms(AppliedUndef)}, key=str)
        if not fields:
            raise InvalidProblem("div is given a flux without a field; name the coordinates.")
        coordinates = fields[0].args[: len(parts)]
    if len(coordinates) != len(parts):
        raise InvalidProblem(
            f"div is given a flux of {len(parts)} components along "
            f"{', '.join(map(str, coordinates))}; give one component per coordinate."
        )
    terms = (
        sp.Derivative(part, c) if part.free_symbols or part.atoms(AppliedUndef) else sp.Integer(0)
        for part, c in zip(parts, coordinates, strict=True)
    )
    return sp.Add(*terms)
