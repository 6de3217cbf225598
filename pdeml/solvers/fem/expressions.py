"""SymPy expressions as UFL: the tree is walked, nothing is printed and run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import sympy as sp

from pdeml.errors import UnsupportedProblem
from pdeml.operators.pde import PDE
from pdeml.operators.printing import text
from pdeml.solvers.fem import backend


class Translator:
    """UFL expressions of SymPy expressions.

    Parameters
    ----------
    leaves : UFL expression of each symbol, parameter, field and derivative; looked up before the
        inside of a node is visited.

    Raises
    ------
    UnsupportedProblem
        When called with an expression that has no UFL form; the message names the function.
    """

    def __init__(self, leaves: Mapping[sp.Basic, Any]):
        self._known = dict(leaves)
        self._functions = _functions(backend.load().ufl)

    def __call__(self, node: sp.Basic) -> Any:
        if node not in self._known:
            self._known[node] = self._visit(node)
        return self._known[node]

    def _visit(self, node: sp.Basic) -> Any:
        if node in (sp.true, sp.false):
            raise UnsupportedProblem(f'"fem": the condition {node} never changes; leave it out.')
        if node.is_number:
            return float(node)
        if isinstance(node, sp.Piecewise):
            return self._piecewise(node)
        operation = self._functions.get(type(node).__name__)
        if operation is None or not node.args:
            raise UnsupportedProblem(
                f'"fem": {text(node)} ({type(node).__name__}) has no UFL form. Use "pinn".'
            )
        return operation(*(self(a) for a in node.args))

    def _piecewise(self, node: sp.Piecewise) -> Any:
        ufl = backend.load().ufl
        # where no condition holds the value is undefined; UFL needs one, and NaN is not C
        pairs = list(node.args)
        result = self(pairs[-1][0])
        for value, condition in reversed(pairs[:-1]):
            result = ufl.conditional(self(condition), self(value), result)
        return result


def separated(expression: sp.Expr, problem: PDE) -> tuple[sp.Expr, sp.Expr]:
    """A product as two: what does not depend on time, and what depends on time alone.

    The latter is 1 where there is no such product.
    """
    if problem.time not in expression.free_symbols:
        return expression, sp.S.One
    still, factor = expression.as_independent(problem.time, as_Add=False)
    if factor.has(*problem.space_coordinates):
        return expression, sp.S.One
    return still, factor


def _functions(ufl: Any) -> dict[str, Callable[..., Any]]:
    """UFL form of each SymPy class, by class name."""

    def extremum(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        return lambda *values: reduce(function, values)

    def heaviside(value: Any, at_zero: Any = 0.5) -> Any:
        below = ufl.conditional(ufl.lt(value, 0.0), 0.0, at_zero)
        return ufl.conditional(ufl.gt(value, 0.0), 1.0, below)

    same = ("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "erf")
    return {
        **{name: getattr(ufl, name) for name in same},
        "Add": lambda *values: reduce(lambda a, b: a + b, values),
        "Mul": lambda *values: reduce(lambda a, b: a * b, values),
        "Pow": _power,
        "exp": ufl.exp,
        "log": ufl.ln,
        "asinh": lambda v: ufl.ln(v + ufl.sqrt(v * v + 1.0)),
        "acosh": lambda v: ufl.ln(v + ufl.sqrt(v * v - 1.0)),
        "atanh": lambda v: 0.5 * ufl.ln((1.0 + v) / (1.0 - v)),
        "erfc": lambda v: 1.0 - ufl.erf(v),
        "Abs": abs,
        "sign": ufl.sign,
        "re": lambda v: v,
        "conjugate": lambda v: v,
        "Heaviside": heaviside,
        "Max": extremum(ufl.max_value),
        "Min": extremum(ufl.min_value),
        "StrictLessThan": ufl.lt,
        "LessThan": ufl.le,
        "StrictGreaterThan": ufl.gt,
        "GreaterThan": ufl.ge,
        "Equality": ufl.eq,
        "Unequality": ufl.ne,
        "And": extremum(ufl.And),
        "Or": extremum(ufl.Or),
        "Not": ufl.Not,
    }


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, float) and exponent.is_integer() and 0 < exponent <= 4:
        # products have cheaper derivatives than pow, and exact ones at 0
        return math.prod([base] * int(exponent), start=1.0) if exponent > 1 else base
    if exponent == -1.0:
        return 1.0 / base
    if exponent == 0.5:
        return backend.load().ufl.sqrt(base)
    return base**exponent
