"""The symbols of a declaration: fields (what is solved for) and parameters (what is given)."""

from __future__ import annotations

import math
import numbers
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef

from pdeml.errors import InvalidProblem

MAX_NAME = 200
"""Longest accepted name of a problem, field, coordinate or parameter, in characters."""


def check_name(name: object, what: str) -> str:
    """The name itself; InvalidProblem unless it is a short non-empty printable string."""
    if not isinstance(name, str) or not name or len(name) > MAX_NAME or not name.isprintable():
        shown = repr(name)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise InvalidProblem(
            f"the name of a {what} is {shown}; give a non-empty printable string of at most "
            f"{MAX_NAME} characters."
        )
    return name


def as_expression(value: Any, what: str) -> sp.Expr:
    """A SymPy expression from an expression or a plain finite number; text is never parsed."""
    if isinstance(value, sp.Expr):
        return value
    if isinstance(value, numbers.Number) and not isinstance(value, bool):
        if isinstance(value, numbers.Integral):
            return sp.Integer(int(value))
        if isinstance(value, numbers.Real) and math.isfinite(value):
            return sp.Float(float(value))
        if isinstance(value, numbers.Complex):
            z = complex(value)
            if math.isfinite(z.real) and math.isfinite(z.imag):
                return sp.Float(z.real) + sp.I * sp.Float(z.imag)
        raise InvalidProblem(f"{what} is {value}; give a finite number or a SymPy expression.")
    raise InvalidProblem(
        f"{what} is {value!r} of type {type(value).__name__}; give a finite number or a SymPy "
        "expression (text is not parsed)."
    )


def Field(name: str, *coordinates: sp.Symbol, dtype: type = float) -> Any:
    """An unknown function of the coordinates, as an applied SymPy function.

    Parameters
    ----------
    name : its name, unique within a problem.
    *coordinates : SymPy symbols in the order of the domain's coordinates (time last).
    dtype : ``float`` (default, the field is real) or ``complex``.

    Returns
    -------
    AppliedUndef
        ``u.diff(x, 2)``, ``u**2``, ``sp.exp(u)`` … work as usual.

    Raises
    ------
    InvalidProblem
        For an empty name, no or repeated coordinates, or another dtype.

    Examples
    --------
    >>> x, t = sp.symbols("x t", real=True)
    >>> u = Field("u", x, t)
    >>> u.diff(x, 2)
    Derivative(u(x, t), (x, 2))
    """
    check_name(name, "field")
    if dtype not in (float, complex):
        raise InvalidProblem(f"field {name} has dtype {dtype!r}; give float or complex.")
    for c in coordinates:
        if not isinstance(c, sp.Symbol) or isinstance(c, Parameter):
            raise InvalidProblem(
                f"field {name} has the coordinate {c!r}; coordinates are plain SymPy symbols."
            )
    if not coordinates or len(set(coordinates)) < len(coordinates):
        given = ", ".join(c.name for c in coordinates) or "none"
        raise InvalidProblem(
            f"field {name} needs distinct coordinates, one or more; given: {given}."
        )
    # the assumption carries the dtype, so it survives every SymPy operation
    assumption = {"real": True} if dtype is float else {"complex": True}
    return sp.Function(name, **assumption)(*coordinates)


def is_field(expression: object) -> bool:
    """Whether an expression was made by `Field` (a bare ``sp.Function`` has no number type)."""
    return isinstance(expression, AppliedUndef) and bool(expression.is_complex)


def field_dtype(field: AppliedUndef) -> type:
    """``float`` or ``complex``, as given to `Field`."""
    return float if field.is_real else complex


class Parameter(sp.Symbol):
    """A named real coefficient with a value, used in expressions like any SymPy symbol.

    Parameters
    ----------
    name : its name, unique within a problem.
    value : a finite number, or None where it is unknown (inverse problems).
    range : (lowest, highest) value that makes sense, for families of problems; both included.
    positive : True if only positive values make sense.
    integer : True if only integral values make sense (wave numbers).

    Raises
    ------
    InvalidProblem
        For NaN or infinity, a non-positive value of a positive parameter, a value outside the
        range, a fractional value of an integer parameter, or an empty range.

    Notes
    -----
    Parameters are equal when name, assumptions, value and range are. SymPy caches expressions by
    equality: were the value left out, ``nu * u`` could return an older product with an older value.
    A problem looks its parameters up by name: ``problem.with_parameters(nu=0.1)`` needs no object.

    Examples
    --------
    >>> nu = Parameter("nu", 0.01 / sp.pi, positive=True)
    >>> round(nu.value, 6)
    0.003183
    """

    __slots__ = ("_range", "_value")

    _value: float | None
    _range: tuple[float, float] | None

    def __new__(
        cls,
        name: str,
        value: Any = None,
        range: tuple[Any, Any] | None = None,
        positive: bool | None = None,
        integer: bool | None = None,
    ) -> Parameter:
        check_name(name, "parameter")
        assumptions: dict[str, bool] = {"real": True}
        if positive:
            assumptions["positive"] = True
        if integer:
            assumptions["integer"] = True
        bounds: tuple[float, float] | None = None
        if range is not None:
            if not isinstance(range, tuple | list) or len(range) != 2:
                raise InvalidProblem(
                    f"the range of parameter {name} is {range!r}; give (low, high)."
                )
            low = _finite(range[0], f"the lower end of the range of parameter {name}")
            high = _finite(range[1], f"the upper end of the range of parameter {name}")
            if not low < high:
                raise InvalidProblem(
                    f"the range of parameter {name} is ({low:g}, {high:g}); the lower end must be "
                    "less than the upper."
                )
            if positive and low <= 0:
                raise InvalidProblem(
                    f"parameter {name} is positive, but its range starts at {low:g}; start above 0."
                )
            bounds = (low, high)
        number: float | None = None
        if value is not None:
            number = _finite(value, f"the value of parameter {name}")
            if positive and number <= 0:
                raise InvalidProblem(
                    f"parameter {name} is {number:g}; only positive values are accepted."
                )
            if integer and not number.is_integer():
                raise InvalidProblem(f"parameter {name} is {number:g}; only integers are accepted.")
            if bounds and not bounds[0] <= number <= bounds[1]:
                raise InvalidProblem(
                    f"parameter {name} is {number:g}; accepted are values from {bounds[0]:g} to "
                    f"{bounds[1]:g}."
                )
        # SymPy's symbol cache knows names and assumptions only: go past it
        parameter: Parameter = sp.Symbol.__xnew__(cls, name, **assumptions)
        parameter._value, parameter._range = number, bounds
        return parameter

    @property
    def value(self) -> float | None:
        """The value, or None where it is unknown."""
        return self._value

    @property
    def range(self) -> tuple[float, float] | None:
        """(lowest, highest) accepted value, or None where there is no such bound."""
        return self._range

    def with_value(self, value: Any) -> Parameter:
        """The same parameter with another value, checked against range, sign and integrality."""
        return Parameter(self.name, value, self._range, self.is_positive, self.is_integer)

    def _hashable_content(self) -> tuple[Any, ...]:
        # as text: SymPy compares these entries by <, which None does not support
        return (*super()._hashable_content(), repr(self._value), repr(self._range))

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        content = (self.name, self._value, self._range, self.is_positive, self.is_integer)
        return content, {}


def _finite(value: Any, what: str) -> float:
    """`value` as a finite float."""
    message = f"{what} is {value!r}; give a finite real number."
    if isinstance(value, bool | str):
        raise InvalidProblem(message)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidProblem(message) from error
    if not math.isfinite(number):
        raise InvalidProblem(message)
    return number
