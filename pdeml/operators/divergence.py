"""A residual as divergence of a flux and remainder, R = div F + r, without second derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import sympy as sp
from sympy.core.function import AppliedUndef

from pdeml.errors import UnsupportedProblem
from pdeml.operators.printing import text
from pdeml.operators.residual import multi_index

if TYPE_CHECKING:
    from pdeml.operators.pde import PDE


def divergence_form(
    problem: PDE, fields: Sequence[AppliedUndef], residual: sp.Expr
) -> tuple[tuple[sp.Expr, ...], sp.Expr]:
    """Flux F, one expression per space coordinate, and remainder r of a residual.

        F_i = Σ_j ∫_0^1 c_ij(x, u, s∇u) u_j ds,   r = R − div F

    with c_ij = ∂R/∂u_ij (half of it for i ≠ j), over the second derivatives u_ij of all fields and
    of their derivatives in time. Divergences that stand in the residual are taken as they are.

    Parameters
    ----------
    problem : whose coordinates these are.
    fields : of the problem, and auxiliary ones.
    residual : up to second order in space.

    Raises
    ------
    UnsupportedProblem
        There is no such form; the message names the term.
    """
    x = problem.space_coordinates
    flux, rest = _declared_flux(problem, residual)
    symbols = _Symbols(problem, fields)
    plain = symbols.plain(rest)
    coefficients = _coefficients(symbols, plain)
    _check_integrable(symbols, coefficients)
    own = [sp.Integer(0) for _ in x]
    for (unknown, i, j), c in coefficients.items():
        own[i] += _integrated(symbols, c) * symbols.slopes[unknown, j]
    remainder = plain.xreplace({h: sp.Integer(0) for h in symbols.curvatures.values()})
    change = sp.Integer(0)
    for i, f in enumerate(own):
        change += f.diff(x[i])
        for unknown, w in symbols.values.items():
            if f.has(w):
                change += f.diff(w) * symbols.slopes[unknown, i]
    if change != 0:
        # sources are long when multiplied out: only what fields multiply can cancel
        names = (*symbols.values.values(), *symbols.slopes.values())
        terms = sp.Add.make_args(remainder)
        source = sp.Add(*(term for term in terms if not term.has(*names)))
        remainder = source + sp.expand(remainder - source - change)
    total = tuple(a + symbols.back(b) for a, b in zip(flux, own, strict=True))
    return total, symbols.back(remainder)


def order_in_space(problem: PDE, derivative: sp.Derivative) -> int:
    """Order in space of a derivative of a field."""
    return sum(int(n) for c, n in derivative.variable_count if c != problem.time)


def refused(what: sp.Basic, reason: str, problem: PDE) -> UnsupportedProblem:
    """The error that names a term without weak form."""
    other = "" if problem.exact is None else ' Use "exact" or "pinn".'
    return UnsupportedProblem(f"{text(what)} has no weak form: {reason}{other}")


class _Symbols:
    """Plain symbols for fields and derivatives, told apart by their order in space.

    Attributes
    ----------
    values, slopes, curvatures : symbols by what is differentiated (a field, or its derivative in
        time) and by the axes, none, one or two of them in ascending order.
    """

    def __init__(self, problem: PDE, fields: Sequence[AppliedUndef]):
        self.problem, self.x = problem, problem.space_coordinates
        self.values: dict[sp.Expr, sp.Symbol] = {}
        self.slopes: dict[tuple[sp.Expr, int], sp.Symbol] = {}
        self.curvatures: dict[tuple[sp.Expr, int, int], sp.Symbol] = {}
        for f in fields:
            self._value(f)

    def _value(self, unknown: sp.Expr) -> sp.Symbol:
        if unknown not in self.values:
            self.values[unknown] = sp.Dummy(real=True)
            for axis in range(len(self.x)):
                self.slopes[unknown, axis] = sp.Dummy(real=True)
        return self.values[unknown]

    def _symbol(self, d: sp.Derivative) -> sp.Symbol:
        *space, k = (*multi_index(d, self.problem.coordinates), 0)[: len(self.x) + 1]
        axes = [i for i, n in enumerate(space) for _ in range(n)]
        unknown = sp.Derivative(d.expr, (self.problem.time, k)) if k else d.expr
        value = self._value(unknown)
        if len(axes) > 2:
            raise refused(
                d,
                f"it is a derivative of order {len(axes)} in space, and of those above two only "
                "the Laplacian of the Laplacian is split.",
                self.problem,
            )
        if len(axes) == 2:
            return self.curvatures.setdefault((unknown, axes[0], axes[1]), sp.Dummy(real=True))
        return self.slopes[unknown, axes[0]] if axes else value

    def plain(self, expression: sp.Expr) -> sp.Expr:
        """The expression in symbols."""
        derivatives = sorted(expression.atoms(sp.Derivative), key=sp.default_sort_key)
        expression = expression.xreplace({d: self._symbol(d) for d in derivatives})
        return expression.xreplace(self.values)

    def back(self, expression: sp.Expr) -> sp.Expr:
        """The expression in fields and derivatives."""
        known: dict[sp.Symbol, sp.Expr] = {s: u for u, s in self.values.items()}
        known |= {s: u.diff(self.x[i]) for (u, i), s in self.slopes.items()}
        known |= {s: u.diff(self.x[i], self.x[j]) for (u, i, j), s in self.curvatures.items()}
        return expression.xreplace(known)


Coefficients = dict[tuple[sp.Expr, int, int], sp.Expr]


def _declared_flux(problem: PDE, residual: sp.Expr) -> tuple[list[sp.Expr], sp.Expr]:
    """The flux that stands in derivatives of expressions, and the rest with them carried out."""
    x = problem.space_coordinates
    flux, rest = [sp.Integer(0) for _ in x], []
    for term in sp.Add.make_args(residual):
        factor, inner = term.as_independent(sp.Derivative, as_Add=False)
        constant = not factor.atoms(AppliedUndef) and not factor.free_symbols & {*x}
        if (
            constant
            and isinstance(inner, sp.Derivative)
            and not isinstance(inner.expr, AppliedUndef)
            and inner.derivative_count == 1
            and inner.variables[0] in x
            and all(order_in_space(problem, d) < 2 for d in inner.expr.atoms(sp.Derivative))
        ):
            flux[x.index(inner.variables[0])] += factor * inner.expr
        else:
            rest.append(term.doit())
    return flux, sp.Add(*rest)


def _coefficients(symbols: _Symbols, plain: sp.Expr) -> Coefficients:
    """c_ij of every unknown, symmetric."""
    found: Coefficients = {}
    for (unknown, i, j), h in symbols.curvatures.items():
        c = plain.diff(h)
        if c.has(*symbols.curvatures.values()):
            raise refused(
                symbols.back(h),
                "second derivatives enter a product or a nonlinear function of each other.",
                symbols.problem,
            )
        found[unknown, i, j] = found[unknown, j, i] = c if i == j else c / 2
    return found


def _check_integrable(symbols: _Symbols, coefficients: Coefficients) -> None:
    """∂c_ij/∂p_k = ∂c_ik/∂p_j, for the slopes p of all fields: the coefficients are of a flux."""
    for (unknown, i, j), c in coefficients.items():
        for (other, k), p in symbols.slopes.items():
            mirrored = coefficients.get((other, i, k), sp.Integer(0))
            if sp.expand(c.diff(p) - mirrored.diff(symbols.slopes[unknown, j])) != 0:
                h = symbols.curvatures[unknown, min(i, j), max(i, j)]
                raise refused(
                    symbols.back(h),
                    "its coefficient depends on first derivatives but derives from no flux. "
                    "Declare the flux, pdeml.div(flux), where there is one.",
                    symbols.problem,
                )


def _integrated(symbols: _Symbols, c: sp.Expr) -> sp.Expr:
    """∫_0^1 c(x, u, s∇u) ds, for a polynomial of the slopes."""
    if not c.has(*symbols.slopes.values()):
        return c
    scale = sp.Dummy("s")
    scaled = sp.expand(c.xreplace({p: scale * p for p in symbols.slopes.values()}))
    if not scaled.is_polynomial(scale):
        raise refused(
            symbols.back(c),
            "this coefficient of a second derivative is no polynomial of the first derivatives. "
            "Declare the flux, pdeml.div(flux).",
            symbols.problem,
        )
    return sp.Add(*(value / (power + 1) for (power,), value in sp.Poly(scaled, scale).terms()))
