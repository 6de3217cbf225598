"""Declarations as MathML, which browsers draw without scripts or fonts from elsewhere."""

from __future__ import annotations

import html
from typing import Any
from xml.dom import minidom

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.mathml import MathMLPresentationPrinter
from sympy.printing.precedence import PRECEDENCE

from pdeml.domains import Box, Domain, SpaceTime
from pdeml.operators.conditions import (
    Condition,
    Dirichlet,
    Flux,
    Initial,
    Neumann,
    Periodic,
    Robin,
)


class _Printer(MathMLPresentationPrinter):
    """Fields without their arguments, derivatives as ∂ⁿu/∂xⁿ, floats with six digits."""

    def _print_AppliedUndef(self, expr: AppliedUndef) -> Any:
        return self._print(sp.Symbol(expr.func.__name__))

    def _print_Function(self, expr: sp.Function, **options: Any) -> Any:
        if isinstance(expr, AppliedUndef):
            return self._print_AppliedUndef(expr)
        if expr.func.__module__.startswith("sympy."):
            return super()._print_Function(expr, **options)
        line = self.dom.createElement("mrow")
        for part in (self._leaf("mi", expr.func.__name__), self._leaf("mo", "(")):
            line.appendChild(part)
        for i, argument in enumerate(expr.args):
            if i:
                line.appendChild(self._leaf("mo", ","))
            line.appendChild(self._print(argument))
        line.appendChild(self._leaf("mo", ")"))
        return line

    def parenthesize(self, item: Any, level: int, strict: bool = False) -> Any:
        # a fraction needs no brackets in a product, but in a power
        if isinstance(item, sp.Derivative) and level <= PRECEDENCE["Mul"]:
            return self._print(item)
        return super().parenthesize(item, level, strict)

    def _print_Derivative(self, expr: sp.Derivative) -> Any:
        order = sum(count for _, count in expr.variable_count)
        top, bottom = self.dom.createElement("mrow"), self.dom.createElement("mrow")
        top.appendChild(self._power(self._partial(), order))
        inner = self._print(expr.expr)
        top.appendChild(inner if expr.expr.is_Function else self._bracketed(inner))
        for symbol, count in expr.variable_count:
            bottom.appendChild(self._partial())
            bottom.appendChild(self._power(self._print(symbol), count))
        fraction = self.dom.createElement("mfrac")
        fraction.appendChild(top)
        fraction.appendChild(bottom)
        return fraction

    def _print_Float(self, expr: sp.Float) -> Any:
        mantissa, _, exponent = f"{float(expr):.6g}".partition("e")
        number = self._leaf("mn", mantissa)
        if not exponent:
            return number
        ten = self._power(self._leaf("mn", "10"), int(exponent))
        line = self.dom.createElement("mrow")
        for part in (number, self._leaf("mo", "·"), ten):
            line.appendChild(part)
        return line

    def _leaf(self, tag: str, text: str) -> Any:
        leaf = self.dom.createElement(tag)
        leaf.appendChild(self.dom.createTextNode(text))
        return leaf

    def _partial(self) -> Any:
        return self._leaf("mo", "∂")

    def _power(self, base: Any, exponent: int) -> Any:
        if exponent == 1:
            return base
        power = self.dom.createElement("msup")
        power.appendChild(base)
        power.appendChild(self._leaf("mn", str(exponent)))
        return power

    def _bracketed(self, inner: Any) -> Any:
        line = self.dom.createElement("mrow")
        for part in (self._leaf("mo", "("), inner, self._leaf("mo", ")")):
            line.appendChild(part)
        return line

    def tree(self, expression: sp.Basic) -> str:
        """Markup of an expression, every character of a name escaped."""
        return _serialise(self._print(expression))


def _serialise(node: Any) -> str:
    # SymPy writes entities and names as raw text: undo the former, escape both
    if node.nodeType == minidom.Node.TEXT_NODE:
        return html.escape(html.unescape(node.data))
    attributes = "".join(
        f' {name}="{html.escape(value)}"' for name, value in (node.attributes or {}).items()
    )
    inside = "".join(_serialise(child) for child in node.childNodes)
    return f"<{node.tagName}{attributes}>{inside}</{node.tagName}>"


def mathml(expression: sp.Basic, display: bool = False) -> str:
    """An expression as a ``<math>`` element."""
    block = ' display="block"' if display else ""
    namespace = 'xmlns="http://www.w3.org/1998/Math/MathML"'
    return f"<math {namespace}{block}>{_Printer().tree(expression)}</math>"


def condition_markup(condition: Condition, domain: Domain) -> str:
    """A condition as one line of text and MathML."""
    unknown = mathml(condition.field)
    normal = sp.Derivative(condition.field, sp.Symbol("n"))
    match condition:
        case Initial():
            time = domain.time if isinstance(domain, SpaceTime) else None
            at = "" if time is None else f" at {mathml(sp.Eq(time.symbol, sp.Float(time.start)))}"
            return f"{_equation(condition.derivative, condition.value)}{at}"
        case Dirichlet():
            return _equation(condition.field, condition.value) + _place(condition)
        case Flux():
            outflow = sp.Symbol(f"F_{condition.field.func.__name__}") * sp.Symbol("n")
            return _equation(outflow, condition.value) + _place(condition)
        case Neumann():
            return _equation(normal, condition.value) + _place(condition)
        case Robin():
            left = sp.Add(condition.a * condition.field, condition.b * normal)
            return _equation(left, condition.value) + _place(condition)
        case Periodic():
            return f"{unknown} periodic in {mathml(condition.axis)}"
    raise TypeError(f"{condition!r} is no condition")


def _equation(left: sp.Expr, right: sp.Expr) -> str:
    return mathml(sp.Eq(left, right, evaluate=False))


def _place(condition: Any) -> str:
    if condition.on is None:
        return " on the boundary"
    if isinstance(condition.on, str):
        return f" on {html.escape(condition.on)}"
    return f" on the boundary where {mathml(condition.on)}"


def domain_markup(domain: Domain) -> str:
    """A domain as one line: intervals of the coordinates, or its constructor."""
    space = domain.space if isinstance(domain, SpaceTime) else domain
    parts = []
    if isinstance(space, Box):
        bounds = zip(space.coordinates, *space.bounds, strict=True)
        parts += [_interval(c, a, b) for c, a, b in bounds]
    else:
        parts.append(f"<code>{html.escape(repr(space))}</code>")
    if isinstance(domain, SpaceTime):
        parts.append(_interval(domain.time.symbol, domain.time.start, domain.time.end))
    return ", ".join(parts)


def _interval(coordinate: sp.Symbol, start: float, end: float) -> str:
    return f"{mathml(coordinate)} in [{start:.6g}, {end:.6g}]"
