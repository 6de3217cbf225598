"""A periodic declaration as a Fourier symbol and a pseudo-spectral nonlinearity.

    U_t = L U + C q + Σ_p K_p(∂) G_p(U, q, x, t),      A q = B U

U holds the evolved fields (and u_t where an equation is of second order in time), q the fields
without a time derivative, such as a stream function (Δψ = −ω) or a pressure (A = 0: the
constraint B U = 0 determines it). Terms that are linear with constant coefficients go to the
operators L, C, A, B, which are matrices of Fourier multipliers Σ_α c_α (ik)^α; everything else is
in the products G_p, evaluated point by point. Nothing is approximated: the sum is the declared
right-hand side.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from pdeml.errors import UnsupportedProblem
from pdeml.operators.conservation import (
    Index,
    Relations,
    Unknown,
    Unknowns,
    conservation_form,
)
from pdeml.operators.expressions import Program

Operator = dict[tuple[int, int], dict[Index, sp.Expr]]
"""A matrix of differential operators: (row, column) -> coefficients c_α by index α."""

Values = Mapping[sp.Symbol, float | Tensor]
"""Numbers for the parameters, or tensors (B,) for a batch of them."""


@dataclass(frozen=True)
class Split:
    """U_t = L U + C q + Σ_p K_p(∂) G_p,  A q = B U.

    Attributes
    ----------
    fields, space, time : as in the declaration.
    state : the evolved variables U: the fields, then ∂u/∂t of those of second order in time.
    auxiliary : the fields q without a time derivative.
    linear, coupling, constraint, source : L (state × state), C (state × auxiliary), A (auxiliary ×
        auxiliary) and B (auxiliary × state).
    products, outer : G_p, and the operators K (state × products) that are applied to them.
    unknowns : the symbols that stand for variables (state first, then auxiliary) and derivatives
        inside G_p.
    degree : total degree of the products in the unknowns (a coefficient that varies in space
        counts as one more factor); ``None`` where one is not a polynomial, 0 without unknowns.
    stiff : terms with derivatives of order ≥ 2 that are stepped explicitly.
    variable : those of them that are linear, with a coefficient that varies.
    """

    fields: tuple[sp.Expr, ...]
    space: tuple[sp.Symbol, ...]
    time: sp.Symbol
    state: tuple[sp.Expr, ...]
    auxiliary: tuple[sp.Expr, ...]
    linear: Operator
    coupling: Operator
    constraint: Operator
    source: Operator
    products: tuple[sp.Expr, ...]
    outer: Operator
    unknowns: dict[sp.Symbol, Unknown]
    degree: int | None
    stiff: tuple[str, ...]
    variable: tuple[str, ...]

    @property
    def factors(self) -> int:
        """Factors of the products to de-alias: the degree, 2 where one is not a polynomial."""
        return 2 if self.degree is None else max(self.degree, 1)

    @property
    def projected(self) -> bool:
        """Whether q is determined by a constraint on U alone (incompressibility)."""
        return bool(self.auxiliary) and not self.constraint


def multiplier(
    operator: Operator,
    shape: tuple[int, int],
    factor: Callable[[Index], Tensor],
    dim: int,
    values: Values,
) -> Tensor:
    """A matrix of differential operators as multipliers Σ_α c_α (ik)^α.

    Parameters
    ----------
    shape : (rows, columns).
    factor : (ik)^α in complex128 on the modes of a grid, by α.
    dim : number of space coordinates.
    values : for the parameters; the result depends on tensors differentiably.

    Returns
    -------
    Tensor (rows, columns, *modes), or (B, rows, columns, *modes) where a value is a tensor (B,).
    """
    one = factor((0,) * dim)
    coefficients = {
        (i, j, index): _number(c, values)
        for (i, j), terms in operator.items()
        for index, c in terms.items()
    }
    batch = torch.broadcast_shapes(
        *(c.shape for c in coefficients.values() if isinstance(c, Tensor))
    )
    entries = {
        (i, j): torch.zeros((*batch, *one.shape), dtype=torch.complex128, device=one.device)
        for i in range(shape[0])
        for j in range(shape[1])
    }
    for (i, j, index), number in coefficients.items():
        if isinstance(number, Tensor):
            number = number.to(one.device).reshape(number.shape + (1,) * dim)
        entries[i, j] = entries[i, j] + number * factor(index)
    at = len(batch)
    return torch.stack(
        [torch.stack([entries[i, j] for j in range(shape[1])], at) for i in range(shape[0])], at
    )


def _number(expression: sp.Expr, values: Values) -> complex | Tensor:
    used = {s: v for s, v in values.items() if s in expression.free_symbols}
    if any(isinstance(v, Tensor) for v in used.values()):
        (result,) = Program([expression], list(used))(*used.values())
        return result.to(torch.complex128) if isinstance(result, Tensor) else complex(result)
    return complex(sp.N(expression.subs(used), 20))


# ------------------------------------------------------------------------------ from a declaration


@functools.lru_cache(maxsize=64)
def split(problem: Any) -> Split:
    """Split the right-hand side of a declared evolution.

    Parameters
    ----------
    problem : a `pdeml.PDE`; its conditions are not looked at.

    Returns
    -------
    Split

    Raises
    ------
    UnsupportedProblem
        No time; time derivatives that are mixed with space, that the equations do not determine or
        that have variable coefficients; a constraint that is not linear with constant coefficients;
        derivatives inside an unknown function. The message names the term.

    Notes
    -----
    Products are written in the form that takes the fewest transforms (`conservation_form`).

    Examples
    --------
    >>> split(pdeml.problems.kdv()).linear
    {(0, 0): {(3,): -delta**2}}
    """
    if problem.time is None:
        raise UnsupportedProblem(
            f'"spectral" advances in time, but {problem.name!r} has no time. Use "pinn".'
        )
    space, time = tuple(problem.space_coordinates), problem.time
    zero = (0,) * len(space)
    evolved = [f for f in problem.fields if problem.time_order(f) > 0]
    auxiliary = [f for f in problem.fields if problem.time_order(f) == 0]
    state = [(f, 0) for f in evolved]
    state += [(f, n) for f in evolved for n in range(1, problem.time_order(f))]
    variables = {key: i for i, key in enumerate([*state, *((f, 0) for f in auxiliary)])}
    rates, constraints = _solve_for_rates(problem, evolved, auxiliary)
    unknowns = Unknowns()
    symbols = _stand_ins([*rates.values(), *constraints], variables, unknowns, problem)

    linear: Operator = {}
    coupling: Operator = {}
    stiff: list[str] = []
    variable: list[str] = []
    rows: list[list[sp.Expr]] = []
    shown = {symbol: node for node, symbol in symbols.items()}
    for row, (field, order) in enumerate(state):
        rows.append([])
        if (field, order + 1) in variables:  # (u)_t = u_t, which is a variable itself
            linear[row, variables[field, order + 1]] = {zero: sp.Integer(1)}
            continue
        for term in _terms(rates[field], symbols):
            known = _linear_term(term, unknowns, {*space, time})
            if known:
                coefficient, unknown = known
                own = unknown.variable < len(state)
                column = unknown.variable - (0 if own else len(state))
                _accumulate(linear if own else coupling, row, column, unknown.index, coefficient)
                continue
            rows[row].append(term)
            if max((sum(u.index) for u in unknowns.within(term).values()), default=0) >= 2:
                stiff.append(str(term.xreplace(shown)))
                if _degree(term, unknowns, ()) == 1:
                    variable.append(stiff[-1])

    constraint: Operator = {}
    source: Operator = {}
    for row, expression in enumerate(constraints):
        for term in _terms(expression, symbols):
            known = _linear_term(term, unknowns, {*space, time})
            if not known:
                raise UnsupportedProblem(
                    f'"spectral" needs constraints that are linear with constant coefficients, '
                    f"but {term.xreplace(shown)} occurs in an equation of {problem.name!r} "
                    'without a time derivative. Use "pinn".'
                )
            coefficient, unknown = known
            if unknown.variable < len(state):
                _accumulate(source, row, unknown.variable, unknown.index, -coefficient)
            else:
                column = unknown.variable - len(state)
                _accumulate(constraint, row, column, unknown.index, coefficient)
    _check_constraints(problem, auxiliary, constraint, coupling, source)

    relations = _relations(constraint, source, len(state), len(auxiliary), unknowns)
    forms = conservation_form(rows, unknowns, space, time, relations)
    outer: Operator = {}
    for number, (_, outside) in enumerate(forms):
        for (row, index), coefficient in outside.items():
            outer.setdefault((row, number), {})[index] = coefficient
    products = tuple(product for product, _ in forms)
    if auxiliary and not constraint:
        for unknown in unknowns.within(sp.Tuple(*products)).values():
            if unknown.variable >= len(state):
                raise UnsupportedProblem(
                    f'"spectral" cannot take {auxiliary[unknown.variable - len(state)]} inside a '
                    f"product: it is a pressure, which {problem.name!r} determines by a "
                    'constraint on the other fields. Use "pinn".'
                )
    degrees = [_degree(product, unknowns, space) for product in products]
    return Split(
        fields=tuple(problem.fields),
        space=space,
        time=time,
        state=tuple(sp.Derivative(f, (time, n)) if n else f for f, n in state),
        auxiliary=tuple(auxiliary),
        linear=_cleaned(linear),
        coupling=_cleaned(coupling),
        constraint=_cleaned(constraint),
        source=_cleaned(source),
        products=products,
        outer=outer,
        unknowns=unknowns.within(sp.Tuple(*products)),
        degree=None if None in degrees else max((d for d in degrees if d is not None), default=0),
        stiff=tuple(stiff),
        variable=tuple(variable),
    )


def _solve_for_rates(
    problem: Any, evolved: Sequence[Any], auxiliary: Sequence[Any]
) -> tuple[dict[Any, sp.Expr], list[sp.Expr]]:
    """The highest time derivative of each evolved field, and the residuals without one.

    The residuals must be linear in these derivatives with constant coefficients.
    """
    time = problem.time
    rates = {
        sp.Derivative(f, (time, problem.time_order(f))): sp.Dummy(f"r{i}")
        for i, f in enumerate(evolved)
    }
    for derivative in set().union(*(r.atoms(sp.Derivative) for r in problem.residuals)):
        counts = dict(derivative.variable_count)
        highest = counts.get(time, 0) == problem.time_order(derivative.expr)
        if time in counts and highest and derivative not in rates:
            raise UnsupportedProblem(
                f'"spectral" needs equations solved for a time derivative, but {derivative} '
                'mixes the highest one with space. Use "pinn".'
            )
    residuals = [r.xreplace(rates) for r in problem.residuals]
    symbols = list(rates.values())
    dynamic = [r for r in residuals if r.free_symbols & set(symbols)]
    constraints = [r for r in residuals if not r.free_symbols & set(symbols)]
    if len(dynamic) != len(evolved) or len(constraints) != len(auxiliary):
        named = ", ".join(map(str, auxiliary)) or "none"
        raise UnsupportedProblem(
            f'"spectral" needs one evolution equation per field with a time derivative and one '
            f"constraint per field without ({named}), but {problem.name!r} has {len(dynamic)} and "
            f'{len(constraints)}. Use "pinn".'
        )
    mass = sp.Matrix([[sp.diff(r, s) for s in symbols] for r in dynamic])
    for entry in mass:
        if entry.free_symbols - set(problem.parameters) or entry.atoms(sp.Function):
            raise UnsupportedProblem(
                f'"spectral" needs time derivatives with constant coefficients, but one is '
                f'multiplied by {entry}. Divide the equation by it, or use "pinn".'
            )
    if sp.simplify(mass.det()) == 0:
        raise UnsupportedProblem(
            f'"spectral" needs an evolution equation for every field, but the time derivatives '
            f'of {problem.name!r} are not independent. Use "pinn".'
        )
    zero = dict.fromkeys(symbols, sp.Integer(0))
    right = mass.inv() * sp.Matrix([r.xreplace(zero) for r in dynamic])
    return {f: sp.expand_mul(-e) for f, e in zip(evolved, right, strict=True)}, constraints


def _stand_ins(
    expressions: Sequence[sp.Expr],
    variables: Mapping[tuple[Any, int], int],
    unknowns: Unknowns,
    problem: Any,
) -> dict[sp.Basic, sp.Symbol]:
    """A symbol for each field, derivative and conjugate in the expressions."""
    space, time = problem.space_coordinates, problem.time
    symbols: dict[sp.Basic, sp.Symbol] = {}

    def enter(node: sp.Expr, variable: int, index: Index) -> None:
        symbols[node] = unknowns.symbol(Unknown(variable, index))
        if sp.conjugate(node) != node:
            symbols[sp.conjugate(node)] = unknowns.symbol(Unknown(variable, index, True))

    # sorted: the numbering of symbols, and with it round-off, is the same in every process
    found = set().union(*(e.atoms(sp.Derivative) for e in expressions))
    for derivative in sorted(found, key=str):
        if derivative.expr not in problem.fields:
            raise UnsupportedProblem(
                f'"spectral" cannot expand the derivative {derivative}; '
                "write it with derivatives of the fields alone."
            )
        counts = dict(derivative.variable_count)
        variable = variables[derivative.expr, int(counts.get(time, 0))]
        enter(derivative, variable, tuple(int(counts.get(s, 0)) for s in space))
    for field in problem.fields:
        enter(field, variables[field, 0], (0,) * len(space))
    return symbols


def _terms(expression: sp.Expr, symbols: Mapping[sp.Basic, sp.Symbol]) -> list[sp.Expr]:
    """The expanded terms of an expression, in symbols."""
    # |w|, Re w … of a complex unknown in w and w̄, so that |w|² and its derivative are polynomials
    parts: dict[sp.Basic, sp.Expr] = {}
    for node in expression.atoms(sp.Abs, sp.sign, sp.re, sp.im):
        value, partner = node.args[0], sp.conjugate(node.args[0])
        if partner in symbols and partner != value:
            parts[node] = {
                sp.Abs: sp.sqrt(value * partner),
                sp.sign: value / sp.sqrt(value * partner),
                sp.re: (value + partner) / 2,
                sp.im: (value - partner) / (2 * sp.I),
            }[node.func]
    expanded = sp.expand(
        expression.xreplace(parts).xreplace(dict(symbols)),
        power_base=False,
        power_exp=False,
        log=False,
        trig=False,
    )
    return [term for term in sp.Add.make_args(expanded) if term != 0]


def _linear_term(
    term: sp.Expr, unknowns: Unknowns, coordinates: set[sp.Symbol]
) -> tuple[sp.Expr, Unknown] | None:
    """(c, unknown) of a term c · unknown with c constant; None for any other term."""
    held = unknowns.within(term)
    coefficient, factor = term.as_independent(*held, as_Add=False)
    if factor not in held or held[factor].conjugate or coefficient.free_symbols & coordinates:
        return None
    return coefficient, held[factor]


def _accumulate(
    operator: Operator, row: int, column: int, index: Index, coefficient: sp.Expr
) -> None:
    entry = operator.setdefault((row, column), {})
    entry[index] = sp.expand(entry.get(index, sp.Integer(0)) + coefficient)


def _cleaned(operator: Operator) -> Operator:
    """Without the coefficients and entries that cancelled."""
    kept = {p: {i: c for i, c in terms.items() if c != 0} for p, terms in operator.items()}
    return {place: terms for place, terms in kept.items() if terms}


def _check_constraints(
    problem: Any,
    auxiliary: Sequence[Any],
    constraint: Operator,
    coupling: Operator,
    source: Operator,
) -> None:
    """UnsupportedProblem where the constraints do not determine the fields without a rate."""
    if not auxiliary:
        return
    indices = range(len(auxiliary))
    if constraint:
        wave = sp.symbols(f"k:{len(problem.space_coordinates)}")
        matrix = sp.Matrix(
            [
                [
                    sp.Add(
                        *(
                            c * sp.Mul(*(k**n for k, n in zip(wave, index, strict=True)))
                            for index, c in constraint.get((i, j), {}).items()
                        )
                    )
                    for j in indices
                ]
                for i in indices
            ]
        )
        if sp.expand(matrix.det()) != 0:
            return
    else:
        columns = {j for _, j in coupling}
        if {i for i, _ in source} == set(indices) == columns:
            return
    raise UnsupportedProblem(
        f'"spectral" needs constraints that determine {", ".join(map(str, auxiliary))}, but those '
        f'of {problem.name!r} do not. Use "pinn".'
    )


def _relations(
    constraint: Operator, source: Operator, states: int, auxiliaries: int, unknowns: Unknowns
) -> Relations:
    """ω = −Δψ from A ψ = B ω with a number B; B U = 0 where there is no A."""

    def applied(terms: Mapping[Index, sp.Expr], variable: int) -> sp.Expr:
        return sp.Add(*(c * unknowns.symbol(Unknown(variable, i)) for i, c in terms.items()))

    if not constraint:
        rows = {i for i, _ in source}
        return Relations(
            zero=tuple(
                sp.Add(*(applied(terms, j) for (i, j), terms in source.items() if i == row))
                for row in sorted(rows)
            )
        )
    if auxiliaries != 1 or len(source) != 1:
        return Relations()
    (((_, variable), terms),) = source.items()
    (operator,) = constraint.values()
    if len(terms) != 1 or any(next(iter(terms))):
        return Relations()
    number = next(iter(terms.values()))
    return Relations(replaced={variable: sp.expand(applied(operator, states) / number)})


def _degree(product: sp.Expr, unknowns: Unknowns, space: Sequence[sp.Symbol]) -> int | None:
    present = list(unknowns.within(product))
    if not present:
        return 0
    if not product.is_polynomial(*present):
        return None
    varies = bool(product.free_symbols & set(space))
    return int(sp.Poly(product, *present).total_degree()) + varies
