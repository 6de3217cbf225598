"""A periodic declaration as a Fourier symbol and a pseudo-spectral nonlinearity.

    u_t = L u + N(u, x, t)

Terms that are linear in their own field with constant coefficients go to L, which is then a
multiplier ``L(k) = Σ_α c_α (ik)^α`` per field; everything else goes to N. Nothing is approximated:
L u + N is the declared right-hand side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from pdeml.errors import UnsupportedProblem

Index = tuple[int, ...]
"""How often each space coordinate is differentiated."""


@dataclass(frozen=True)
class Unknown:
    """A field, one of its space derivatives, or the complex conjugate of one, as it occurs in N."""

    field: int
    index: Index
    conjugate: bool = False


@dataclass(frozen=True)
class Split:
    """The right-hand side of ``u_t = L u + N(u, x, t)`` over C fields.

    Attributes
    ----------
    fields, space, time : as in the declaration.
    symbol : per field, the coefficients c_α of the linear constant-coefficient terms by index α.
    fluxes : per field, expressions G_α with ``N = Σ_α ∂^α G_α``, evaluated point by point.
    unknowns : the symbols that stand for fields and derivatives inside G_α.
    degree : total degree of N as a polynomial in the unknowns (a coefficient that varies in space
        counts as one more factor); ``None`` where N is not a polynomial, 0 without unknowns.
    stiff : terms with derivatives of order ≥ 2 that N treats explicitly.
    """

    fields: tuple[sp.Expr, ...]
    space: tuple[sp.Symbol, ...]
    time: sp.Symbol
    symbol: tuple[dict[Index, sp.Expr], ...]
    fluxes: tuple[dict[Index, sp.Expr], ...]
    unknowns: dict[sp.Symbol, Unknown]
    degree: int | None
    stiff: tuple[str, ...]

    @property
    def linear(self) -> bool:
        """Whether N is zero."""
        return not any(self.fluxes)

    @property
    def factors(self) -> int:
        """Factors of the products to de-alias: the degree, 2 where N is not a polynomial."""
        return 2 if self.degree is None else max(self.degree, 1)

    def multiplier(self, wave: Sequence[Tensor], values: Mapping[sp.Symbol, float]) -> Tensor:
        """L(k) in complex128, shape (C, *broadcast shape of the wave numbers).

        Parameters
        ----------
        wave : wave numbers k_i per axis, shaped to broadcast against each other.
        values : numbers for the parameters.
        """
        shape = torch.broadcast_shapes(*(k.shape for k in wave))
        rows = []
        for terms in self.symbol:
            row = torch.zeros(shape, dtype=torch.complex128, device=wave[0].device)
            for index, coefficient in terms.items():
                number = complex(sp.N(coefficient.subs(dict(values)), 20))
                row = row + number * derivative_factor(wave, index)
            rows.append(row)
        return torch.stack(rows)


def derivative_factor(wave: Sequence[Tensor], index: Index) -> Tensor:
    """(ik)^α in complex128, broadcast over the axes; exactly real or imaginary."""
    factor = torch.ones((), dtype=torch.float64, device=wave[0].device)
    for k, order in zip(wave, index, strict=True):
        factor = factor * k**order
    return factor * (1, 1j, -1, -1j)[sum(index) % 4] + 0j


def split(problem: Any) -> Split:
    """Split the right-hand side of a declaration that is first order in time.

    Parameters
    ----------
    problem : a `pdeml.PDE`; its conditions are not looked at.

    Returns
    -------
    Split

    Raises
    ------
    UnsupportedProblem
        No time, a time derivative of another order or mixed with space, time derivatives that the
        equations do not determine or that have variable coefficients, derivatives inside an unknown
        function; the message names the term.

    Notes
    -----
    ``u^n u_x`` is written as ``∂_x u^(n+1)/(n+1)``: one transform less, and the mean is kept to
    round-off. Linear terms of another field go to N.

    Examples
    --------
    >>> split(pdeml.problems.kdv()).symbol
    ({(3,): -delta**2},)
    """
    if problem.time is None:
        raise UnsupportedProblem(
            f'"spectral" advances in time, but {problem.name!r} has no time. Use "pinn".'
        )
    fields, space, time = problem.fields, problem.space_coordinates, problem.time
    right = _solve_for_rates(problem)
    symbols: dict[sp.Basic, sp.Symbol] = {}
    unknowns: dict[sp.Symbol, Unknown] = {}

    def stand_in(node: sp.Expr, unknown: Unknown) -> None:
        symbols[node] = sp.Dummy(f"w{len(symbols)}")
        unknowns[symbols[node]] = unknown

    for derivative in set().union(*(e.atoms(sp.Derivative) for e in right)):
        if derivative.expr not in fields:
            raise UnsupportedProblem(
                f'"spectral" cannot expand the derivative {derivative}; '
                "write it with derivatives of the fields alone."
            )
        index = tuple(int(dict(derivative.variable_count).get(s, 0)) for s in space)
        stand_in(derivative, Unknown(fields.index(derivative.expr), index))
    for number, field in enumerate(fields):
        stand_in(field, Unknown(number, (0,) * len(space)))
    conjugates = {}
    for node, symbol in list(symbols.items()):
        unknown = unknowns[symbol]
        conjugate = sp.conjugate(node)
        if conjugate != node:
            stand_in(conjugate, Unknown(unknown.field, unknown.index, conjugate=True))
            conjugates[node] = conjugate

    def moduli(expression: sp.Expr) -> sp.Expr:
        """|w| of a complex unknown as √(w w̄), so that |w|² becomes a polynomial."""
        found = {
            a: sp.sqrt(a.args[0] * conjugates[a.args[0]])
            for a in expression.atoms(sp.Abs)
            if a.args[0] in conjugates
        }
        return expression.xreplace(found)

    linear: list[dict[Index, sp.Expr]] = []
    fluxes: list[dict[Index, sp.Expr]] = []
    stiff: list[str] = []
    degrees: list[int | None] = [0]
    shown = {symbol: node for node, symbol in symbols.items()}
    for number, expression in enumerate(right):
        expanded = sp.expand(
            moduli(expression).xreplace(symbols),
            power_base=False,
            power_exp=False,
            log=False,
            trig=False,
        )
        terms: dict[Index, sp.Expr] = {}
        parts: dict[Index, sp.Expr] = {}
        for term in sp.Add.make_args(expanded):
            coefficient, factor = term.as_independent(*unknowns, as_Add=False)
            constant = not coefficient.free_symbols & {*space, time}
            known = unknowns.get(factor)
            if known and constant and known.field == number and not known.conjugate:
                terms[known.index] = terms.get(known.index, sp.Integer(0)) + coefficient
                continue
            index, flux = _conservative(coefficient, factor, unknowns, space)
            parts[index] = parts.get(index, sp.Integer(0)) + flux
            degrees.append(_degree(flux, unknowns, space))
            orders = [sum(index)] + [
                sum(unknowns[s].index) for s in flux.free_symbols & {*unknowns}
            ]
            if max(orders) >= 2 and not term.is_zero:
                stiff.append(str(term.xreplace(shown)))
        linear.append({i: sp.expand(c) for i, c in terms.items() if sp.expand(c) != 0})
        fluxes.append({i: f for i, f in parts.items() if f != 0})
    used = set().union(*(f.free_symbols for parts in fluxes for f in parts.values()), set())
    return Split(
        fields=tuple(fields),
        space=tuple(space),
        time=time,
        symbol=tuple(linear),
        fluxes=tuple(fluxes),
        unknowns={s: u for s, u in unknowns.items() if s in used},
        degree=None if None in degrees else max(d for d in degrees if d is not None),
        stiff=tuple(stiff),
    )


def _solve_for_rates(problem: Any) -> list[sp.Expr]:
    """∂u_i/∂t = … from the residuals, which must be linear in them with constant coefficients."""
    fields, time = problem.fields, problem.time
    rates = {sp.Derivative(field, time): sp.Dummy(f"r{i}") for i, field in enumerate(fields)}
    residuals = list(problem.residuals)
    for derivative in set().union(*(r.atoms(sp.Derivative) for r in residuals)):
        if time in derivative.variables and derivative not in rates:
            raise UnsupportedProblem(
                f'"spectral" needs an evolution equation of first order in time, but {derivative} '
                'occurs. Declare the time derivative as a field of its own, or use "pinn".'
            )
    if len(residuals) != len(fields):
        raise UnsupportedProblem(
            f'"spectral" needs one evolution equation per field, but there are {len(residuals)} '
            f'equations for {len(fields)} fields. Use "pinn".'
        )
    residuals = [r.xreplace(rates) for r in residuals]
    symbols = list(rates.values())
    mass = sp.Matrix([[sp.diff(r, s) for s in symbols] for r in residuals])
    free = mass.free_symbols - set(problem.parameters)
    if free or mass.atoms(sp.Function):
        entry = next(
            e for e in mass if e.free_symbols - set(problem.parameters) or e.atoms(sp.Function)
        )
        raise UnsupportedProblem(
            f'"spectral" needs time derivatives with constant coefficients, but one is '
            f'multiplied by {entry}. Divide the equation by it, or use "pinn".'
        )
    if sp.simplify(mass.det()) == 0:
        bare = [
            f for f, s in zip(fields, symbols, strict=True) if not any(mass[:, symbols.index(s)])
        ]
        named = (
            f"{bare[0]} has no time derivative"
            if bare
            else "the time derivatives are not independent"
        )
        raise UnsupportedProblem(
            f'"spectral" needs an evolution equation for every field, but {named}. Use "pinn".'
        )
    zero = dict.fromkeys(symbols, sp.Integer(0))
    return [
        sp.expand_mul(-e) for e in mass.inv() * sp.Matrix([r.xreplace(zero) for r in residuals])
    ]


def _conservative(
    coefficient: sp.Expr,
    factor: sp.Expr,
    unknowns: Mapping[sp.Symbol, Unknown],
    space: Sequence[sp.Symbol],
) -> tuple[Index, sp.Expr]:
    """A term as ∂^α G: c u^n u_x = ∂_x (c u^(n+1)/(n+1)), and c ∂^α u with c constant in space."""
    zero = (0,) * len(space)
    if coefficient.free_symbols & set(space):
        return zero, coefficient * factor
    powers = factor.as_powers_dict()
    derived = [s for s in powers if s in unknowns and any(unknowns[s].index)]
    if len(derived) == 1 and powers[derived[0]] == 1:
        unknown = unknowns[derived[0]]
        base = next(
            (
                s
                for s, u in unknowns.items()
                if u == Unknown(unknown.field, zero, unknown.conjugate)
            ),
            None,
        )
        if len(powers) == 1 and base is not None:
            return unknown.index, coefficient * base
        n = powers.get(base, 0)
        if len(powers) == 2 and sum(unknown.index) == 1 and n.is_Integer and n > 0:
            return unknown.index, coefficient * base ** (n + 1) / (n + 1)
    return zero, coefficient * factor


def _degree(
    flux: sp.Expr, unknowns: Mapping[sp.Symbol, Unknown], space: Sequence[sp.Symbol]
) -> int | None:
    present = sorted(flux.free_symbols & set(unknowns), key=str)
    if not present:
        return 0
    if not flux.is_polynomial(*present):
        return None
    varies = bool(flux.free_symbols & set(space))
    return int(sp.Poly(flux, *present).total_degree()) + varies
