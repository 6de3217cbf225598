"""SymPy expressions as JSON trees, exactly and safely.

A node is ``{"f": head, "a": [argument, …]}``. Heads come from a fixed table, numbers are written as
decimal text with their precision, and a tree is built bottom-up without evaluation: nothing is
parsed or run, and what was written comes back with the same structure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.core.operations import LatticeOp
from sympy.logic.boolalg import Boolean

from pdeml.errors import InvalidFile, InvalidProblem
from pdeml.operators.fields import MAX_NAME, Parameter
from pdeml.operators.special import BurgersSine

MAX_DEPTH = 200
"""Deepest accepted nesting of an expression."""
MAX_NODES = 100_000
"""Most nodes of one expression tree."""
MAX_EXPONENT = 1000
"""Largest accepted whole exponent: SymPy multiplies such powers out."""
MAX_DIGITS = 4000
"""Most decimal digits of a number."""
MAX_BITS = 2**15
"""Most bits that a number, once evaluated, may take (guards towers of powers and exponentials)."""
MAX_DERIVATIVES = 32
"""Highest total order of a derivative."""

Tree = dict[str, Any]


class _Refused(ValueError):
    """A node outside the table or beyond a limit; said as the public functions' own errors."""


@dataclass(frozen=True)
class _Head:
    """A class and how it is rebuilt from its arguments."""

    kind: type[sp.Basic]
    least: int
    most: int
    logical: bool = False

    def build(self, arguments: Sequence[sp.Basic]) -> sp.Basic:
        if issubclass(self.kind, LatticeOp):
            # the constructor would sort and simplify even without evaluation
            node = sp.Basic.__new__(self.kind, *arguments)
            node._argset = frozenset(arguments)
            return node
        return self.kind(*arguments, evaluate=False)  # type: ignore[call-arg]


_MANY = MAX_NODES
CONSTANTS: Mapping[str, sp.Basic] = MappingProxyType(
    {
        "pi": sp.pi,
        "E": sp.E,
        "I": sp.I,
        "EulerGamma": sp.EulerGamma,
        "GoldenRatio": sp.GoldenRatio,
        "true": sp.true,
        "false": sp.false,
    }
)
FUNCTIONS: Mapping[str, type[sp.Basic]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            *(sp.exp, sp.log, sp.sin, sp.cos, sp.tan, sp.asin, sp.acos, sp.atan),
            *(sp.sinh, sp.cosh, sp.tanh, sp.asinh, sp.acosh, sp.atanh, sp.erf, sp.erfc),
            *(sp.Abs, sp.sign, sp.re, sp.im, sp.conjugate, sp.floor, sp.ceiling),
        )
    }
)
"""Functions of one argument."""
RELATIONS: Mapping[str, type[sp.Basic]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            *(sp.Equality, sp.Unequality, sp.StrictLessThan, sp.LessThan),
            *(sp.StrictGreaterThan, sp.GreaterThan),
        )
    }
)
_HEADS: Mapping[str, _Head] = MappingProxyType(
    {
        **{kind.__name__: _Head(kind, 2, _MANY) for kind in (sp.Add, sp.Mul, sp.Max, sp.Min)},
        **{kind.__name__: _Head(kind, 2, 2) for kind in (sp.Pow, sp.atan2, sp.Heaviside)},
        **{name: _Head(kind, 1, 1) for name, kind in FUNCTIONS.items()},
        **{name: _Head(kind, 2, 2) for name, kind in RELATIONS.items()},
        "BurgersSine": _Head(BurgersSine, 3, 3),
        "And": _Head(sp.And, 2, _MANY, logical=True),
        "Or": _Head(sp.Or, 2, _MANY, logical=True),
        "Not": _Head(sp.Not, 1, 1, logical=True),
    }
)


def encode(expression: sp.Basic, where: str = "expression") -> Tree:
    """An expression as a JSON-able tree.

    Parameters
    ----------
    expression : built from numbers, constants, symbols, parameters, fields, their derivatives,
        ``+ * **``, the functions of this module's table, relations and booleans.
    where : what the expression is, for messages.

    Returns
    -------
    dict
        What `decode` takes.

    Raises
    ------
    InvalidProblem
        For anything else (the message names it and lists the functions), or beyond a limit of size.
    """
    try:
        return _Encoder().node(expression, 1)[0]
    except _Refused as error:
        raise InvalidProblem(f"{where}: {error}") from None


def decode(tree: Any, names: Mapping[str, sp.Basic]) -> sp.Basic:
    """The expression that `encode` wrote, equal to it.

    Parameters
    ----------
    tree : what `encode` gave, also after a way through JSON.
    names : symbols, parameters and fields (applied functions) by name.

    Returns
    -------
    Basic

    Raises
    ------
    InvalidFile
        For a tree that `encode` cannot have written, or beyond a limit of size.
    """
    try:
        return _Decoder(names).node(tree, 1)[0]
    except _Refused as error:
        raise InvalidFile(f"a saved expression is refused: {error}") from None


def is_divergence(derivative: sp.Derivative) -> bool:
    """Whether it is a first derivative of an expression of fields and their derivatives.

    Others are carried out at once: nested ones grow without bound when they are.
    """
    flux = derivative.expr
    return (
        derivative.derivative_count == 1
        and isinstance(flux, sp.Expr)
        and bool(flux.atoms(AppliedUndef))
        and derivative.variables[0] in set().union(*(f.args for f in flux.atoms(AppliedUndef)))
        and all(isinstance(d.expr, AppliedUndef) for d in flux.atoms(sp.Derivative))
    )


class _Counter:
    """Depth and number of nodes."""

    def __init__(self) -> None:
        self.nodes = 0

    def enter(self, depth: int) -> None:
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise _Refused(f"it is nested more than {MAX_DEPTH} deep.")
        if self.nodes > MAX_NODES:
            raise _Refused(f"it has more than {MAX_NODES} nodes.")


class _Encoder(_Counter):
    """Expression → (tree, size)."""

    def node(self, e: sp.Basic, depth: int) -> tuple[Tree, _Size | None]:
        self.enter(depth)
        if e.is_Atom:
            return self._atom(e)
        if isinstance(e, AppliedUndef):
            if not all(isinstance(a, sp.Symbol) for a in e.args):
                raise _Refused(f"{e} is a field away from its own coordinates.")
            return {"f": "Field", "a": [e.func.__name__]}, None
        if isinstance(e, sp.Derivative):
            if not (isinstance(e.expr, AppliedUndef) or is_divergence(e)) or not all(
                isinstance(c, sp.Symbol) and n.is_Integer for c, n in e.variable_count
            ):
                raise _Refused(f"{e} is not the derivative of a field along coordinates.")
            counts = [(c, int(n)) for c, n in e.variable_count]
            _check_order(counts, e)
            inner, _ = self.node(e.expr, depth + 1)
            return {"f": "Derivative", "a": [inner, *([c.name, n] for c, n in counts)]}, None
        if isinstance(e, sp.Piecewise):
            parts = [part for pair in e.args for part in pair.args]
            for value, condition in e.args:
                _check_kind(value, False, "Piecewise")
                _check_kind(condition, True, "Piecewise")
            trees = [self.node(p, depth + 1)[0] for p in parts]
            return {"f": "Piecewise", "a": trees}, None
        name = type(e).__name__
        rule = _HEADS.get(name)
        if rule is None or rule.kind is not type(e):
            raise _Refused(_unknown(e))
        for a in e.args:
            _check_kind(a, rule.logical, name)
        children = [self.node(a, depth + 1) for a in e.args]
        size = _size(name, e.args, [size for _, size in children])
        return {"f": name, "a": [tree for tree, _ in children]}, size

    @staticmethod
    def _atom(e: sp.Basic) -> tuple[Tree, _Size | None]:
        for name, constant in CONSTANTS.items():
            if e is constant:
                return {"f": name}, _leaf_size(e)
        if isinstance(e, sp.Integer):
            return {"f": "Integer", "a": [_digits(e.p)]}, _leaf_size(e)
        if isinstance(e, sp.Rational):
            return {"f": "Rational", "a": [_digits(e.p), _digits(e.q)]}, _leaf_size(e)
        if isinstance(e, sp.Float):
            sign, mantissa, exponent, _ = e._mpf_
            digits = _digits(-int(mantissa) if sign else int(mantissa))
            return {"f": "Float", "a": [digits, int(exponent), int(e._prec)]}, _leaf_size(e)
        if type(e) is sp.Symbol or isinstance(e, Parameter):
            return {"f": type(e).__name__, "a": [e.name]}, None
        raise _Refused(_unknown(e))


class _Decoder(_Counter):
    """Tree → (expression, size)."""

    def __init__(self, names: Mapping[str, sp.Basic]):
        super().__init__()
        self.names = names

    def node(self, tree: Any, depth: int) -> tuple[sp.Basic, _Size | None]:
        self.enter(depth)
        if not isinstance(tree, dict) or not tree.keys() <= {"f", "a"}:
            raise _Refused(f'{_short(tree)} is no node {{"f": …, "a": […]}}.')
        head, arguments = tree.get("f"), tree.get("a", [])
        if not isinstance(head, str) or not isinstance(arguments, list):
            raise _Refused(f'{_short(tree)} is no node {{"f": …, "a": […]}}.')
        if head in CONSTANTS:
            self._arity(head, arguments, 0, 0)
            return CONSTANTS[head], _leaf_size(CONSTANTS[head])
        if head in ("Integer", "Rational", "Float"):
            number = self._number(head, arguments)
            return number, _leaf_size(number)
        if head in ("Symbol", "Parameter", "Field"):
            return self._named(head, arguments), None
        if head == "Derivative":
            return self._derivative(arguments, depth), None
        if head == "Piecewise":
            return self._piecewise(arguments, depth), None
        if head not in _HEADS:
            raise _Refused(f"its head {_short(head)} is unknown.")
        rule = _HEADS[head]
        self._arity(head, arguments, rule.least, rule.most)
        children = [self.node(a, depth + 1) for a in arguments]
        values = [value for value, _ in children]
        for value in values:
            _check_kind(value, rule.logical, head)
        size = _size(head, values, [size for _, size in children])
        return rule.build(values), size

    @staticmethod
    def _arity(head: str, arguments: list[Any], least: int, most: int) -> None:
        if not least <= len(arguments) <= most:
            raise _Refused(f"{head} has {len(arguments)} arguments.")

    def _number(self, head: str, arguments: list[Any]) -> sp.Number:
        count = {"Integer": 1, "Rational": 2, "Float": 3}[head]
        self._arity(head, arguments, count, count)
        if head == "Integer":
            return sp.Integer(_whole(arguments[0]))
        if head == "Rational":
            p, q = _whole(arguments[0]), _whole(arguments[1])
            if q < 2 or math.gcd(p, q) != 1:
                raise _Refused(f"Rational {p}/{q} is not in lowest terms.")
            return sp.Rational(p, q)
        mantissa, exponent, precision = _whole(arguments[0]), arguments[1], arguments[2]
        if type(exponent) is not int or type(precision) is not int:
            raise _Refused("Float has an exponent or a precision that is no integer.")
        if not 1 <= precision <= MAX_BITS or abs(exponent) > MAX_BITS:
            raise _Refused("Float has an exponent or a precision beyond what is accepted.")
        if mantissa.bit_length() > precision or (mantissa % 2 == 0 and (mantissa or exponent)):
            raise _Refused("Float has a mantissa that is not normalised.")
        if not mantissa:
            return sp.Float(0, precision=precision)
        return sp.Float((int(mantissa < 0), abs(mantissa), exponent), precision=precision)

    def _named(self, head: str, arguments: list[Any]) -> sp.Basic:
        self._arity(head, arguments, 1, 1)
        name = arguments[0]
        if not isinstance(name, str) or len(name) > MAX_NAME:
            raise _Refused(f"{head} has no name of at most {MAX_NAME} characters.")
        value = self.names.get(name)
        if isinstance(value, AppliedUndef):
            kind = "Field"
        else:
            kind = "Parameter" if isinstance(value, Parameter) else "Symbol"
        if value is None or kind != head:
            raise _Refused(f"{head} {_short(name)} is not declared.")
        return value

    def _derivative(self, arguments: list[Any], depth: int) -> sp.Basic:
        self._arity("Derivative", arguments, 2, MAX_DERIVATIVES + 1)
        field, _ = self.node(arguments[0], depth + 1)
        if not isinstance(field, AppliedUndef):
            return self._divergence(field, arguments[1:])
        counts: list[tuple[sp.Basic, int]] = []
        for pair in arguments[1:]:
            if not isinstance(pair, list) or len(pair) != 2 or type(pair[1]) is not int:
                raise _Refused("Derivative has a variable that is no [name, order].")
            variable = self._named("Symbol", [pair[0]])
            if variable not in field.args:
                raise _Refused(f"Derivative along {variable}, on which the field does not depend.")
            counts.append((variable, pair[1]))
        _check_order(counts, field)
        return sp.Derivative(field, *counts, evaluate=False)

    def _divergence(self, flux: sp.Basic, variables: list[Any]) -> sp.Basic:
        pair = variables[0]
        if len(variables) == 1 and isinstance(pair, list) and len(pair) == 2 and pair[1] == 1:
            divergence = sp.Derivative(flux, self._named("Symbol", [pair[0]]), evaluate=False)
            if is_divergence(divergence):
                return divergence
        raise _Refused(f"Derivative of {_short(flux)}, which is neither a field nor a flux.")

    def _piecewise(self, arguments: list[Any], depth: int) -> sp.Basic:
        self._arity("Piecewise", arguments, 2, _MANY)
        if len(arguments) % 2:
            raise _Refused("Piecewise has a value without condition.")
        parts = [self.node(a, depth + 1)[0] for a in arguments]
        values, conditions = parts[::2], parts[1::2]
        for value, condition in zip(values, conditions, strict=True):
            _check_kind(value, False, "Piecewise")
            _check_kind(condition, True, "Piecewise")
        if sp.false in conditions or sp.true in conditions[:-1] or conditions == [sp.true]:
            raise _Refused("Piecewise has a condition that never decides.")
        return sp.Piecewise(*zip(values, conditions, strict=True), evaluate=False)


def _whole(text: Any) -> int:
    """An integer from its decimal text."""
    if not isinstance(text, str) or len(text) > MAX_DIGITS + 1:
        raise _Refused(f"{_short(text)} is no integer of at most {MAX_DIGITS} digits, as text.")
    digits = text[1:] if text.startswith("-") else text
    if not digits.isascii() or not digits.isdigit():
        raise _Refused(f"{_short(text)} is no integer.")
    return int(text)


def _digits(value: Any) -> str:
    number = int(value)
    # 4 bits hold at least one digit: checked before Python writes the number out
    if number.bit_length() > 3 * MAX_DIGITS:
        raise _Refused(f"a number has more than about {MAX_DIGITS} digits.")
    return str(number)


def _check_order(counts: list[tuple[Any, int]], of: sp.Basic) -> None:
    if any(n < 1 for _, n in counts) or sum(n for _, n in counts) > MAX_DERIVATIVES:
        raise _Refused(f"a derivative of {_short(of)} has an order outside 1 … {MAX_DERIVATIVES}.")


def _check_kind(value: sp.Basic, logical: bool, head: str) -> None:
    # a Symbol is both a number and a boolean to SymPy; here it is a number
    if (isinstance(value, Boolean) and not isinstance(value, sp.Expr)) != logical:
        raise _Refused(f"{head} has an argument of the wrong kind, {_short(value)}.")


class _Size(NamedTuple):
    """Upper bounds for a symbol-free expression once evaluated.

    bits : to write the number out, exponent included; magnitude : log₂ of its absolute value;
    doubtful : a quotient by a sum, or a tangent, may exceed the magnitude by cancellation.
    """

    bits: float
    magnitude: float
    doubtful: bool = False


_SAME_MAGNITUDE = frozenset({"Abs", "re", "im", "conjugate", "floor", "ceiling", "Max", "Min"})
_GROWING = frozenset({"exp", "sinh", "cosh"})
_OF_MODERATE = frozenset({"erf", "erfc", "floor", "ceiling"})
"""Functions that SymPy evaluates by as many steps or digits as the argument is large."""
_OF_REAL = frozenset({"Max", "Min", "Heaviside", "floor", "ceiling", *RELATIONS}) - {
    "Equality",
    "Unequality",
}


def _leaf_size(e: sp.Basic) -> _Size | None:
    if isinstance(e, sp.Rational):
        p, q = int(e.p).bit_length(), int(e.q).bit_length()
        return _Size(float(max(p, q)), float(p - q + 1))
    if isinstance(e, sp.Float):
        _, _, exponent, length = e._mpf_
        magnitude = float(int(exponent) + int(length))
        return _Size(max(1.0, abs(magnitude)), magnitude)
    return _Size(2.0, 2.0) if isinstance(e, sp.Expr) else None


def _size(head: str, arguments: Sequence[sp.Basic], sizes: Sequence[_Size | None]) -> _Size | None:
    """Size of a node from those of its arguments; None where it holds symbols or is logical.

    Raises
    ------
    _Refused
        Beyond MAX_BITS (towers of powers or exponentials), or beyond MAX_EXPONENT.
    """
    if head in _OF_REAL and any(a.is_extended_real is False for a in arguments):
        raise _Refused(f"{head} of an expression that is not real.")
    power = 1.0
    if head == "Pow" and sizes[1] is not None:
        exponent = arguments[1]
        if isinstance(exponent, sp.Number):
            power = abs(float(exponent))
        else:
            power = 2.0 ** min(sizes[1].magnitude, 64.0)
        if power > MAX_EXPONENT:
            raise _Refused(f"a power has an exponent beyond {MAX_EXPONENT}.")
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes) or head in RELATIONS:
        return None
    bits = max(size.bits for size in known)
    magnitude = max(size.magnitude for size in known)
    doubtful = any(size.doubtful for size in known)
    if head == "Add":
        bits = math.fsum(size.bits for size in known)
        magnitude += math.log2(len(known))
    elif head == "Mul":
        bits = math.fsum(size.bits for size in known)
        magnitude = math.fsum(size.magnitude for size in known)
    elif head == "Pow":
        bits = known[0].bits * max(1.0, power)
        if known[1].doubtful:
            magnitude = math.inf
        elif arguments[1].is_extended_negative is False:
            magnitude = max(known[0].magnitude, 0.0) * power
        else:
            magnitude, doubtful = bits, doubtful or not arguments[0].is_Atom
    elif head in _GROWING:
        bits = 1.5 * 2.0 ** min(magnitude, 64.0) + 1
        # one exponential of a doubtful number can be evaluated, not an exponential of that
        magnitude = math.inf if doubtful else bits
    elif head == "tan":
        magnitude, doubtful = 2.0, True
    elif head in _OF_MODERATE and magnitude > 64:
        raise _Refused(f"{head} of a number beyond 2**64.")
    elif head not in _SAME_MAGNITUDE:
        # bounded, or at most the logarithm of the argument
        magnitude = max(2.0, math.log2(bits) + 1)
    if bits > MAX_BITS:
        raise _Refused(f"{head} of numbers has a value of more than {MAX_BITS} bits.")
    return _Size(max(bits, 1.0), magnitude, doubtful)


def _unknown(e: sp.Basic) -> str:
    if e in (sp.nan, sp.oo, -sp.oo, sp.zoo):
        return f"{e} is not finite; numbers must be."
    accepted = ", ".join(name for name in _HEADS if name not in RELATIONS)
    return f"{_short(e)} ({type(e).__name__}) is not accepted; accepted are {accepted}, Piecewise."


def _short(value: Any) -> str:
    """At most 60 characters of a value, never walking a deep one."""
    if isinstance(value, dict | list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, sp.Basic):
        shown = str(value) if value.is_Atom or not value.args else type(value).__name__
        return shown if len(shown) <= 60 else shown[:57] + "..."
    return type(value).__name__ if not isinstance(value, int | float) else str(value)[:60]
