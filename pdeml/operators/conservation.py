"""Products of fields in conservation form: the same terms with derivatives moved outside.

    Σ c D^a f D^b g …  =  Σ_p K_p(∂) G_p

A pseudo-spectral right-hand side costs one transform per distinct factor D^a f and one per product
G_p. ``u u_x = ½ (u²)_x`` costs two instead of three and keeps the mean to round-off; with
Δψ = −ω, ``ψ_y ω_x − ψ_x ω_y`` becomes ``(∂_xx − ∂_yy)(ψ_x ψ_y) + ∂_xy(ψ_y² − ψ_x²)`` up to sign,
which costs four instead of five. The rewriting is a linear system for the coefficients of all
candidates of one kind, and is exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

Index = tuple[int, ...]
"""How often each space coordinate is differentiated."""

Column = dict[tuple[int, Index], sp.Expr]
"""What is applied to one product: coefficients by (row, α)."""

CANDIDATES = 200  # more unknown coefficients than this are not worth the search


@dataclass(frozen=True)
class Unknown:
    """A variable, one of its space derivatives, or the complex conjugate of one."""

    variable: int
    index: Index
    conjugate: bool = False


class Unknowns:
    """Symbols that stand for unknowns, made when they are first asked for."""

    def __init__(self) -> None:
        self._symbols: dict[Unknown, sp.Symbol] = {}
        self._unknowns: dict[sp.Symbol, Unknown] = {}

    def symbol(self, unknown: Unknown) -> sp.Symbol:
        """The symbol of an unknown."""
        if unknown not in self._symbols:
            symbol = sp.Dummy(f"w{len(self._symbols)}")
            self._symbols[unknown], self._unknowns[symbol] = symbol, unknown
        return self._symbols[unknown]

    def within(self, expression: sp.Expr) -> dict[sp.Symbol, Unknown]:
        """The unknowns that an expression holds, in the order in which they were made."""
        free = expression.free_symbols
        return {s: u for s, u in self._unknowns.items() if s in free}

    def derivative(self, expression: sp.Expr, axis: int) -> sp.Expr:
        """Total derivative along an axis, of an expression in unknowns alone."""
        total = sp.Integer(0)
        for symbol, unknown in self.within(expression).items():
            index = tuple(n + (i == axis) for i, n in enumerate(unknown.index))
            raised = self.symbol(Unknown(unknown.variable, index, unknown.conjugate))
            total += sp.diff(expression, symbol) * raised
        return sp.expand(total)


@dataclass(frozen=True)
class Relations:
    """What holds between unknowns beside the equations.

    Attributes
    ----------
    zero : expressions that vanish and are linear in the unknowns (a divergence).
    replaced : variable -> the same as an expression in unknowns of another one (ω = −Δψ).
    """

    zero: tuple[sp.Expr, ...] = ()
    replaced: Mapping[int, sp.Expr] | None = None


def conservation_form(
    rows: Sequence[Sequence[sp.Expr]],
    unknowns: Unknowns,
    space: Sequence[sp.Symbol],
    time: sp.Symbol,
    relations: Relations,
) -> list[tuple[sp.Expr, Column]]:
    """Terms as products with operators outside.

    Parameters
    ----------
    rows : the terms of each equation, in the symbols of `unknowns`.
    space, time : the coordinates; what depends on them stays inside a product.

    Returns
    -------
    list of (G_p, K_p), with Σ_p K_p(∂) G_p equal to the sum of the terms of each row.
    """
    columns: dict[sp.Expr, Column] = {}
    for row, terms in enumerate(rows):
        groups: dict[tuple[int, int], list[sp.Expr]] = {}
        for term in terms:
            key = _kind(term, unknowns, space)
            if key is None:
                _add(columns, *_apart(term, unknowns, {*space, time}), row, (0,) * len(space))
            else:
                groups.setdefault(key, []).append(term)
        for (degree, order), members in groups.items():
            best = _direct(members, row, unknowns, space, time)
            for candidate in _families(members, degree, order, unknowns, space, relations):
                found = {g: {(row, a): c for a, c in k.items()} for g, k in candidate.items()}
                if _cost(found, unknowns) < _cost(best, unknowns):
                    best = found
            for product, column in best.items():
                for (_, index), coefficient in column.items():
                    _add(columns, coefficient, product, row, index)
    return _merged(columns, unknowns, time)


def _kind(term: sp.Expr, unknowns: Unknowns, space: Sequence[sp.Symbol]) -> tuple[int, int] | None:
    """(degree, total order of derivatives) of a monomial whose coefficient is constant in space."""
    held = unknowns.within(term)
    coefficient, factor = term.as_independent(*held, as_Add=False)
    if not held or coefficient.free_symbols & set(space):
        return None
    powers = factor.as_powers_dict()
    if not all(b in held and n.is_Integer and n > 0 for b, n in powers.items()):
        return None
    order = sum(int(n) * sum(held[b].index) for b, n in powers.items())
    return int(sum(powers.values())), order


def _apart(term: sp.Expr, unknowns: Unknowns, inside: set[sp.Symbol]) -> tuple[sp.Expr, sp.Expr]:
    """(constant coefficient, the rest), what depends on `inside` or unknowns being the rest."""
    constant, rest = term.as_independent(*inside, *unknowns.within(term), as_Add=False)
    return constant, rest


def _add(
    columns: dict[sp.Expr, Column], coefficient: sp.Expr, product: sp.Expr, row: int, index: Index
) -> None:
    column = columns.setdefault(product, {})
    total = sp.expand(column.get((row, index), sp.Integer(0)) + coefficient)
    if total == 0:
        column.pop((row, index), None)
    else:
        column[row, index] = total


def _direct(
    terms: Iterable[sp.Expr],
    row: int,
    unknowns: Unknowns,
    space: Sequence[sp.Symbol],
    time: sp.Symbol,
) -> dict[sp.Expr, Column]:
    """Terms as they stand, but c ∂^α u as ∂^α (c u) and u^n u_x as ∂_x u^(n+1)/(n+1)."""
    found: dict[sp.Expr, Column] = {}
    zero = (0,) * len(space)
    for term in terms:
        coefficient, product = _apart(term, unknowns, {*space, time})
        index = zero
        held = unknowns.within(term)
        derived = [s for s, u in held.items() if any(u.index)]
        if len(derived) == 1:
            (symbol,) = derived
            base = unknowns.symbol(Unknown(held[symbol].variable, zero, held[symbol].conjugate))
            rest = product / symbol
            free = set(unknowns.within(rest))
            if not free:
                index, product = held[symbol].index, rest * base
            elif free == {base} and sum(held[symbol].index) == 1:
                n = sp.degree(rest, base)
                index, product = held[symbol].index, rest * base / (n + 1)
                extra, product = _apart(product, unknowns, {*space, time})
                coefficient = coefficient * extra
        _add(found, coefficient, product, row, index)
    return found


def _cost(columns: Mapping[sp.Expr, Column], unknowns: Unknowns) -> int:
    """Transforms: one per distinct factor and one per product after merging."""
    factors = {
        (u.variable, u.index) for product in columns for u in unknowns.within(product).values()
    }
    return len(factors) + len({_signature(c) for c in columns.values() if c})


def _signature(column: Column) -> tuple[object, ...]:
    """Equal for products that one transform can serve: they have the same operator outside."""
    if len(column) == 1:
        return tuple(column)
    return tuple(sorted(column.items(), key=str))


def _families(
    terms: Sequence[sp.Expr],
    degree: int,
    order: int,
    unknowns: Unknowns,
    space: Sequence[sp.Symbol],
    relations: Relations,
) -> Iterable[dict[sp.Expr, dict[Index, sp.Expr]]]:
    """Exact rewritings Σ c ∂^α(D^a f D^b g) of a homogeneous group, by (|a|, |b|)."""
    total = sp.Add(*terms)
    variants = [(total, order)]
    if relations.replaced:
        changed = total.xreplace(
            {
                s: _differentiated(relations.replaced[u.variable], u.index, unknowns)
                for s, u in unknowns.within(total).items()
                if u.variable in relations.replaced and not u.conjugate
            }
        )
        if changed != total:
            changed = sp.expand(changed)
            orders = {_kind(t, unknowns, space) for t in sp.Add.make_args(changed)}
            if len(orders) == 1 and None not in orders:
                variants.append((changed, next(k[1] for k in orders if k)))
    for expression, height in variants:
        inner = [(0,) * degree]
        if degree == 2:
            inner = [(a, b) for s in range(height) for a in range(s // 2 + 1) for b in [s - a]]
        for orders_inside in inner:
            outside = height - sum(orders_inside)
            if outside > 0:
                found = _fitted(expression, orders_inside, outside, unknowns, space, relations)
                if found is not None:
                    yield found


def _differentiated(expression: sp.Expr, index: Index, unknowns: Unknowns) -> sp.Expr:
    for axis, count in enumerate(index):
        for _ in range(count):
            expression = unknowns.derivative(expression, axis)
    return expression


def _indices(dim: int, order: int) -> list[Index]:
    return [i for i in itertools.product(range(order + 1), repeat=dim) if sum(i) == order]


def _fitted(
    expression: sp.Expr,
    inside: tuple[int, ...],
    outside: int,
    unknowns: Unknowns,
    space: Sequence[sp.Symbol],
    relations: Relations,
) -> dict[sp.Expr, dict[Index, sp.Expr]] | None:
    """Coefficients c with expression = Σ c ∂^α G over products G of derivatives of orders `inside`.

    None where there are none (or too many candidates to look at).
    """
    dim = len(space)
    held = unknowns.within(expression)
    kinds = sorted({(u.variable, u.conjugate) for u in held.values()})
    factors = [
        [unknowns.symbol(Unknown(v, index, c)) for v, c in kinds for index in _indices(dim, order)]
        for order in inside
    ]
    products = list(dict.fromkeys(sp.Mul(*chosen) for chosen in itertools.product(*factors)))
    candidates = [(g, alpha) for g in products for alpha in _indices(dim, outside)]
    if len(candidates) > CANDIDATES:
        return None
    expanded = [_differentiated(g, alpha, unknowns) for g, alpha in candidates]
    # what vanishes by a relation may be added freely: D^a f times the relation
    free: list[sp.Expr] = []
    if len(inside) == 2:
        for relation in relations.zero:
            height = {sum(u.index) for u in unknowns.within(relation).values()}
            rest = sum(inside) + outside - max(height)
            if len(height) == 1 and rest >= 0:
                free += [
                    sp.expand(unknowns.symbol(Unknown(v, index, c)) * relation)
                    for v, c in kinds
                    for index in _indices(dim, rest)
                ]
    basis = sorted(
        set().union(*(e.free_symbols for e in [expression, *expanded, *free]))
        & set(unknowns.within(sp.Add(expression, *expanded, *free))),
        key=str,
    )
    tables = [sp.Poly(e, *basis).as_dict() for e in [*expanded, *free]]
    target = sp.Poly(expression, *basis).as_dict()
    monomials = sorted(set().union(target, *tables))
    if not set(target) <= set().union(*tables):
        return None
    matrix = sp.Matrix([[table.get(m, sp.Integer(0)) for table in tables] for m in monomials])
    right = sp.Matrix([target.get(m, sp.Integer(0)) for m in monomials])
    try:
        solution, parameters = matrix.gauss_jordan_solve(right)
    except ValueError:  # no solution
        return None
    solution = solution.subs(dict.fromkeys(parameters, sp.Integer(0)))
    found: dict[sp.Expr, dict[Index, sp.Expr]] = {}
    for (product, alpha), coefficient in zip(candidates, solution, strict=False):
        if coefficient != 0:
            found.setdefault(product, {})[alpha] = sp.expand(coefficient)
    return found


def _merged(
    columns: Mapping[sp.Expr, Column], unknowns: Unknowns, time: sp.Symbol
) -> list[tuple[sp.Expr, Column]]:
    """Products with the same operator outside as one; forcing stays apart, as it is cheaper."""
    merged: dict[tuple[object, ...], tuple[sp.Expr, Column]] = {}
    for product, column in columns.items():
        if not column:
            continue
        kind = (bool(unknowns.within(product)), time in product.free_symbols)
        key = (kind, *_signature(column))
        if len(column) == 1:
            ((place, coefficient),) = column.items()
            before = merged.get(key, (sp.Integer(0), column))[0]
            merged[key] = (before + coefficient * product, {place: sp.Integer(1)})
        else:
            before = merged.get(key, (sp.Integer(0), column))[0]
            merged[key] = (before + product, column)
    # a product with a number in front: the number goes outside
    result = []
    for product, column in merged.values():
        number, rest = product.as_coeff_Mul()
        if rest != 1 and number != 1:
            product, column = rest, {place: number * c for place, c in column.items()}
        result.append((product, column))
    return result
