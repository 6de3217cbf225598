"""Declarations as text and as LaTeX: fields without their arguments, derivatives as ∂."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter


class _TextPrinter(StrPrinter):
    """``u_xx`` for a derivative, ``u`` for a field."""

    def _print_AppliedUndef(self, expr: AppliedUndef) -> str:
        return str(expr.func.__name__)

    def _print_Derivative(self, expr: sp.Derivative) -> str:
        names = [c.name for c in expr.variables]
        inner = self._print(expr.expr)
        if isinstance(expr.expr, AppliedUndef) and all(len(n) == 1 for n in names):
            return f"{inner}_{''.join(names)}"
        return f"diff({inner}, {', '.join(names)})"

    def _print_Float(self, expr: sp.Float) -> str:
        return f"{float(expr):.12g}"

    def _print_Equality(self, expr: sp.Eq) -> str:
        return f"Eq({self._print(expr.lhs)}, {self._print(expr.rhs)})"


class _LatexPrinter(LatexPrinter):
    r"""``\partial_{x}^{2} u`` for a derivative, ``u`` for a field."""

    def _print_AppliedUndef(self, expr: AppliedUndef, exp: str | None = None) -> str:
        name = self._deal_with_super_sub(expr.func.__name__)
        return name if exp is None else f"{{{name}}}^{{{exp}}}"

    def _print_Derivative(self, expr: sp.Derivative) -> str:
        operators = []
        for symbol, count in expr.variable_count:
            power = "" if count == 1 else f"^{{{count}}}"
            operators.append(rf"\partial_{{{self._print(symbol)}}}{power}")
        return " ".join(operators) + " " + self.parenthesize(expr.expr, PRECEDENCE["Pow"])

    def _print_Float(self, expr: sp.Float) -> str:
        return latex_number(float(expr))


def text(expression: sp.Basic | str | None) -> str:
    """One line of readable text; not meant to be read back."""
    if not isinstance(expression, sp.Basic):
        return repr(expression)
    return str(_TextPrinter().doprint(expression))


def latex(expression: sp.Basic) -> str:
    """LaTeX in mathematics mode."""
    return str(_LatexPrinter().doprint(expression))


def latex_text(value: str) -> str:
    r"""Plain text inside mathematics, every special character escaped."""
    special: dict[str, Any] = {c: f"\\{c}" for c in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return rf"\text{{{''.join(special.get(c, c) for c in value)}}}"


def latex_number(value: float) -> str:
    """A float in LaTeX: small fractions of π as such, else six significant digits."""
    ratio = Fraction(value / math.pi).limit_denominator(12)
    if ratio and abs(ratio) <= 100 and float(ratio) * math.pi == value:
        return str(sp.latex(sp.Rational(ratio.numerator, ratio.denominator) * sp.pi))
    mantissa, _, exponent = f"{value:.6g}".partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa
