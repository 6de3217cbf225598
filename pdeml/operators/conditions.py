"""Initial and boundary conditions of a declaration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any, Self

import sympy as sp
from sympy.logic.boolalg import Boolean, BooleanAtom

from pdeml.errors import InvalidProblem
from pdeml.operators.fields import as_expression, is_field
from pdeml.operators.printing import latex, latex_text, text

On = str | Boolean | None
"""Where a boundary condition holds: everywhere, on a named part, or where a relation is true."""


def _check_field(field: Any, kind: str) -> None:
    if not is_field(field):
        raise InvalidProblem(
            f"{kind} is given for {text(field)}; its first argument is a field made by Field(...)"
            + (", or its derivative in time." if kind == "Initial" else ".")
        )


@dataclass(frozen=True, repr=False)
class Initial:
    """Value of a field, or of its derivative in time, at the start time.

        ∂ᵏu/∂tᵏ (x, t₀) = value(x)

    Parameters
    ----------
    field : the field u (k = 0), or ``u.diff(t)`` (k = 1, the initial velocity).
    value : expression of the space coordinates and parameters, or a number.

    Attributes
    ----------
    field : the field itself.
    order : k.
    variable : the coordinate of the derivative; None for k = 0.

    Raises
    ------
    InvalidProblem
        If the first argument is neither, or the value is no finite number or expression.
    """

    field: Any
    value: Any
    order: int = dataclass_field(init=False, default=0)
    variable: sp.Symbol | None = dataclass_field(init=False, default=None)

    def __post_init__(self) -> None:
        given = self.field
        if isinstance(given, sp.Derivative) and len(given.variable_count) == 1:
            ((variable, order),) = given.variable_count
            object.__setattr__(self, "field", given.expr)
            object.__setattr__(self, "variable", variable)
            object.__setattr__(self, "order", int(order))
        _check_field(self.field, "Initial")
        object.__setattr__(self, "value", as_expression(self.value, f"the value of {self._head}"))

    @property
    def derivative(self) -> sp.Expr:
        """What the value is given for: the field, or its derivative in time."""
        return sp.Derivative(self.field, (self.variable, self.order)) if self.order else self.field

    @property
    def _head(self) -> str:
        return f"Initial({text(self.derivative)}, …)"

    @property
    def expressions(self) -> tuple[sp.Expr, ...]:
        """The expressions that the condition holds."""
        return (self.value,)

    def map(self, function: Callable[[Any], Any]) -> Initial:
        """The condition with a function applied to its expressions."""
        return Initial(self.derivative, function(self.value))

    def latex(self, start: str = "t_0", time: str = "t") -> str:
        """LaTeX in mathematics mode."""
        return rf"{latex(self.derivative)}\big|_{{{time} = {start}}} = {latex(self.value)}"

    def __repr__(self) -> str:
        return f"Initial({text(self.derivative)}, {text(self.value)})"


@dataclass(frozen=True, repr=False)
class _Boundary(ABC):
    """A condition on the boundary, or on a part of it."""

    field: Any
    value: Any
    on: Any = None

    def __post_init__(self) -> None:
        kind = type(self).__name__
        _check_field(self.field, kind)
        for name in self._coefficients():
            what = f"{name} of {kind}({text(self.field)}, …)"
            object.__setattr__(self, name, as_expression(getattr(self, name), what))
        if isinstance(self.on, bool | BooleanAtom):
            raise InvalidProblem(
                f"{kind}({text(self.field)}, …) is given on={self.on}: the relation is "
                f"{str(self.on).lower()} at every point. Give a part's name, a relation that "
                "depends on the coordinates, or nothing for the whole boundary."
            )
        if self.on is not None and not isinstance(self.on, str | Boolean):
            raise InvalidProblem(
                f"{kind}({text(self.field)}, …) is given on={self.on!r}; give a part's name, a "
                "SymPy relation such as x < 0, or nothing for the whole boundary."
            )

    @classmethod
    def _coefficients(cls) -> tuple[str, ...]:
        return ("value",)

    @property
    def expressions(self) -> tuple[sp.Expr, ...]:
        """The expressions that the condition holds (the place apart)."""
        return tuple(getattr(self, name) for name in self._coefficients())

    def map(self, function: Callable[[Any], Any]) -> Self:
        """The condition with a function applied to its expressions."""
        changes = {name: function(getattr(self, name)) for name in self._coefficients()}
        return replace(self, **changes)

    @abstractmethod
    def _left(self) -> str:
        """LaTeX of what is prescribed."""

    def latex(self) -> str:
        """LaTeX in mathematics mode."""
        if self.on is None:
            where = r"\partial\Omega"
        elif isinstance(self.on, str):
            where = latex_text(self.on)
        else:
            where = rf"\partial\Omega \cap \left\{{{latex(self.on)}\right\}}"
        return rf"{self._left()} = {latex(self.value)} \quad \text{{on }} {where}"

    def __repr__(self) -> str:
        values = ", ".join(text(e) for e in (self.field, *self.expressions))
        where = "" if self.on is None else f", on={text(self.on)}"
        return f"{type(self).__name__}({values}{where})"


@dataclass(frozen=True, repr=False)
class Dirichlet(_Boundary):
    """Value of a field on the boundary: u = value.

    Parameters
    ----------
    field : the field u.
    value : expression of the coordinates (time included) and parameters, or a number. Only its
        values on the boundary matter.
    on : name of a part of the boundary, or a SymPy relation such as ``x < 0`` (or ``&``, ``|``,
        ``~`` of such); the whole boundary by default.

    Raises
    ------
    InvalidProblem
        If an argument is something else; the rest is checked by `PDE`.
    """

    def _left(self) -> str:
        return latex(self.field)


@dataclass(frozen=True, repr=False)
class Neumann(_Boundary):
    """Outward normal derivative of a field on the boundary: ∂u/∂n = value.

    Parameters, errors: as for `Dirichlet`.
    """

    def _left(self) -> str:
        return rf"\partial_n {latex(self.field)}"


@dataclass(frozen=True, repr=False)
class Flux(_Boundary):
    """Outward normal component of the flux of a field's equation on the boundary: F·n = value.

    The natural condition of the equation div F + r = 0 of the field, with the F that
    ``problem.weak_form()`` prints: what `pdeml.div` was given, with its sign on the left-hand side.
    For div σ = 0 it is a component of the traction σ·n, for −div(k ∇u) = f the flow −k ∂u/∂n.

    Parameters, errors: as for `Dirichlet`.
    """

    def _left(self) -> str:
        return rf"F_{{{latex_text(self.field.func.__name__)}}} \cdot n"


@dataclass(frozen=True, repr=False, init=False)
class Robin(_Boundary):
    """Combination of value and outward normal derivative on the boundary: a u + b ∂u/∂n = value.

    Parameters
    ----------
    field : the field u.
    a, b, value : expressions of the coordinates (time included) and parameters, or numbers.
    on : as for `Dirichlet`.

    Raises
    ------
    InvalidProblem
        If an argument is something else, or a and b are both zero.
    """

    a: Any = 1
    b: Any = 1

    def __init__(self, field: Any, a: Any, b: Any, value: Any, on: Any = None) -> None:
        for name, given in (("field", field), ("a", a), ("b", b), ("value", value), ("on", on)):
            object.__setattr__(self, name, given)
        self.__post_init__()
        if self.a == 0 and self.b == 0:
            raise InvalidProblem(
                f"{self!r} says nothing about {text(field)}: a and b are both 0. Give one of them."
            )

    @classmethod
    def _coefficients(cls) -> tuple[str, ...]:
        return ("a", "b", "value")

    def _left(self) -> str:
        return (
            latex(self.a * self.field)
            + rf" + \left({latex(self.b)}\right) \partial_n "
            + latex(self.field)
        )


@dataclass(frozen=True, repr=False)
class Periodic:
    """A field with all its derivatives takes equal values at both ends of an axis of a box.

    Parameters
    ----------
    field : the field u.
    axis : the space coordinate.

    Raises
    ------
    InvalidProblem
        If the first argument is no field or the second no symbol; the rest is checked by `PDE`.
    """

    field: Any
    axis: Any

    def __post_init__(self) -> None:
        _check_field(self.field, "Periodic")
        if not isinstance(self.axis, sp.Symbol):
            raise InvalidProblem(
                f"Periodic({text(self.field)}, …) is given the axis {self.axis!r}; give a space "
                "coordinate."
            )

    @property
    def expressions(self) -> tuple[sp.Expr, ...]:
        """None: the condition holds no expression."""
        return ()

    def map(self, function: Callable[[Any], Any]) -> Periodic:
        """The condition itself: it holds no expression."""
        return self

    def latex(self) -> str:
        """LaTeX in mathematics mode."""
        return rf"{latex(self.field)} \text{{ periodic in }} {latex(self.axis)}"

    def __repr__(self) -> str:
        return f"Periodic({text(self.field)}, {self.axis})"


Condition = Initial | Dirichlet | Neumann | Flux | Robin | Periodic
BOUNDARY = (Dirichlet, Neumann, Flux, Robin)
"""The kinds that hold on a part of the boundary."""
