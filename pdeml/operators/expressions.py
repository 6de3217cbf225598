"""SymPy expressions as straight-line torch programs.

An expression becomes a list of instructions that share common sub-expressions. Nothing is printed
to
source text and executed, so a declaration read from a file can never run code, and the same program
works on tensors of any device and dtype and on jets (`pdeml.operators.jets`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from pdeml.errors import UnsupportedProblem
from pdeml.special.burgers import burgers_sine


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | complex)


def _function(name: str) -> Callable[[Any], Any]:
    scalar, tensor = getattr(math, name, None), getattr(torch, name)

    def apply(value: Any) -> Any:
        if _is_number(value):
            return scalar(value) if scalar else tensor(torch.tensor(value, dtype=torch.float64))
        return tensor(value)

    return apply


def _as_tensor(value: Any) -> Any:
    """Plain numbers in double precision, whatever torch's default dtype is."""
    if isinstance(value, complex):
        return torch.tensor(value, dtype=torch.complex128)
    return torch.tensor(value, dtype=torch.float64) if _is_number(value) else value


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    """A torch function whose arguments may also be plain numbers."""
    return lambda *values: function(*(_as_tensor(v) for v in values))


def _add(*values: Any) -> Any:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _multiply(*values: Any) -> Any:
    total = values[0]
    for value in values[1:]:
        total = total * value
    return total


def _square_root(base: Any) -> Any:
    return base**0.5 if _is_number(base) else torch.sqrt(base)


POWERS: dict[sp.Basic, Callable[[Any], Any]] = {
    sp.Integer(2): lambda base: base * base,
    sp.Integer(3): lambda base: base * base * base,
    sp.Integer(-1): lambda base: 1.0 / base,
    sp.Rational(1, 2): _square_root,
    sp.Float(0.5): _square_root,
}
"""Powers that are cheaper than ``base**exponent``."""


def _extremum(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(*values: Any) -> Any:
        total = _as_tensor(values[0])
        for value in values[1:]:
            total = function(*torch.broadcast_tensors(total, _as_tensor(value)))
        return total

    return apply


def _piecewise(*pairs: Any) -> Any:
    """``value, condition, value, …``: the first true condition decides, NaN where none is true."""
    result: Any = torch.tensor(math.nan, dtype=torch.float64)
    for value, condition in zip(reversed(pairs[::2]), reversed(pairs[1::2]), strict=True):
        if isinstance(condition, bool):
            result = value if condition else result
            continue
        value, result = _as_tensor(value), _as_tensor(result)
        if value.dtype != result.dtype:
            # a plain number takes the dtype of the tensor beside it
            value, result = (
                v.to(torch.promote_types(value.dtype, result.dtype))
                if v.dim()
                else v.to(result.dtype if result.dim() else value.dtype)
                for v in (value, result)
            )
        result = torch.where(condition, value, result)
    return result


def _heaviside(value: Any, at_zero: Any = 0.5) -> Any:
    value = _as_tensor(value)
    return torch.heaviside(value, torch.as_tensor(at_zero, dtype=value.dtype, device=value.device))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        name: _function(name)
        for name in ("sin", "cos", "tan", "exp", "log", "tanh", "sinh", "cosh", "erf")
    },
    "asin": _elementwise(torch.asin),
    "acos": _elementwise(torch.acos),
    "atan": _elementwise(torch.atan),
    "atan2": _elementwise(torch.atan2),
    "asinh": _elementwise(torch.asinh),
    "acosh": _elementwise(torch.acosh),
    "atanh": _elementwise(torch.atanh),
    "erfc": _elementwise(torch.erfc),
    "ceiling": _elementwise(torch.ceil),
    "Abs": lambda value: abs(value),
    "sign": _elementwise(torch.sign),
    "re": _elementwise(torch.real),
    "im": _elementwise(torch.imag),
    "conjugate": _elementwise(torch.conj),
    "floor": _elementwise(torch.floor),
    "Heaviside": _heaviside,
    "Max": _extremum(torch.maximum),
    "Min": _extremum(torch.minimum),
    "BurgersSine": _elementwise(burgers_sine),
    "StrictLessThan": lambda a, b: a < b,
    "LessThan": lambda a, b: a <= b,
    "StrictGreaterThan": lambda a, b: a > b,
    "GreaterThan": lambda a, b: a >= b,
    "Equality": lambda a, b: a == b,
    "Unequality": lambda a, b: a != b,
    "And": _extremum(torch.logical_and),
    "Or": _extremum(torch.logical_or),
    "Not": lambda a: ~a,
}
"""Torch implementation of each SymPy class that a program may contain, by class name."""


class Program:
    """Evaluate SymPy expressions with torch.

    Parameters
    ----------
    expressions : the outputs.
    arguments : what is given at run time, in this order: symbols, parameters, applied functions or
        derivatives; an argument is looked up before its inside is visited.

    Notes
    -----
    ``program(*values)`` returns one entry per expression: a tensor of the broadcast shape of the
    values that it depends on, or a plain number where it depends on none.

    Raises
    ------
    UnsupportedProblem
        For a function or symbol that has no torch form; the message names it.
    """

    def __init__(self, expressions: Sequence[sp.Basic], arguments: Sequence[sp.Basic]):
        self._slots: dict[sp.Basic, int] = {a: i for i, a in enumerate(arguments)}
        self._arity = len(arguments)
        self._constants: dict[int, Any] = {}
        self._instructions: list[tuple[int, Callable[..., Any], tuple[int, ...]]] = []
        self._size = self._arity
        self._outputs = [self._visit(e) for e in expressions]
        # memory after the arguments: the constants, and room for results
        self._blank = [self._constants.get(i) for i in range(self._arity, self._size)]

    def _new(self, node: sp.Basic) -> int:
        self._slots[node] = self._size
        self._size += 1
        return self._size - 1

    def _visit(self, node: sp.Basic) -> int:
        if node in self._slots:
            return self._slots[node]
        if node.is_number or node in (sp.true, sp.false):
            slot = self._new(node)
            self._constants[slot] = _number(node)
            return slot
        children: Sequence[sp.Basic] = node.args
        operation: Callable[..., Any] | None
        if isinstance(node, sp.Add):
            operation = _add
        elif isinstance(node, sp.Mul):
            operation = _multiply
        elif isinstance(node, sp.Pow) and node.exp in POWERS:
            operation, children = POWERS[node.exp], [node.base]
        elif isinstance(node, sp.Pow):
            operation = operator.pow
        elif isinstance(node, sp.exp):
            operation = FUNCTIONS["exp"]
        elif isinstance(node, sp.Piecewise):
            operation, children = _piecewise, [part for pair in node.args for part in pair.args]
        else:
            operation = FUNCTIONS.get(type(node).__name__)
        if operation is None or not children:
            accepted = ", ".join(sorted(name for name in FUNCTIONS if name[0].islower()))
            raise UnsupportedProblem(
                f"no torch form is known for {node} ({type(node).__name__}); it is neither an "
                f"argument nor one of +, *, **, Piecewise, {accepted}."
            )
        inputs = tuple(self._visit(child) for child in children)
        slot = self._new(node)
        self._instructions.append((slot, operation, inputs))
        return slot

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        if len(values) != self._arity:
            raise TypeError(f"the program takes {self._arity} values, {len(values)} were given")
        memory = [*values, *self._blank]
        for slot, operation, inputs in self._instructions:
            memory[slot] = operation(*[memory[i] for i in inputs])
        return tuple([memory[i] for i in self._outputs])


def _number(node: sp.Basic) -> Any:
    if node == sp.true or node == sp.false:
        return bool(node)
    value = complex(sp.N(node, 20))
    return value if value.imag else value.real


def evaluate(
    expressions: Sequence[sp.Expr],
    coordinates: Sequence[sp.Symbol],
    points: Tensor,
    values: Mapping[sp.Symbol, Any] | None = None,
) -> Tensor:
    """Expressions of the coordinates at points.

    Parameters
    ----------
    points : (N, d), columns in the order of `coordinates`.
    values : numbers or 0-d tensors for the remaining symbols.

    Returns
    -------
    (N, len(expressions)) on the device and in the dtype of the points (its complex partner where an
    expression is complex).
    """
    values = dict(values or {})
    program = Program(expressions, [*coordinates, *values])
    columns = program(*points.unbind(-1), *values.values())
    return as_columns(columns, points)


def as_columns(columns: Sequence[Any], points: Tensor) -> Tensor:
    """Stack program outputs, numbers included, to (N, len(columns))."""
    rows = []
    for column in columns:
        tensor = _as_tensor(column).to(points.device)
        dtype = points.dtype.to_complex() if tensor.is_complex() else points.dtype
        rows.append(tensor.to(dtype).expand(points.shape[0]))
    if any(row.is_complex() for row in rows):
        rows = [row.to(points.dtype.to_complex()) for row in rows]
    return torch.stack(rows, dim=-1) if rows else points.new_empty((points.shape[0], 0))
