"""From SymPy residuals to torch: which derivative streams they need, and a program over them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
import torch
from sympy.core.function import AppliedUndef
from torch import Tensor

from pdeml.errors import UnsupportedProblem
from pdeml.operators.expressions import Program
from pdeml.operators.jets import Coefficient, Index, Streams, order_of

Symbols = Sequence[sp.Symbol]


def multi_index(derivative: sp.Derivative, coordinates: Symbols) -> Index:
    counts = dict.fromkeys(coordinates, 0)
    for symbol, count in derivative.variable_count:
        counts[symbol] += int(count)
    return tuple(counts.values())


@dataclass(frozen=True)
class Merged:
    """A linear operator Σ c_α(x) ∂^α on one field inside one equation."""

    equation: int
    field: int
    terms: tuple[tuple[Index, sp.Expr], ...]

    def ratio(self, other: Merged) -> sp.Expr | None:
        """The constant factor between two operators of the same form, None if there is none."""
        if [index for index, _ in self.terms] != [index for index, _ in other.terms]:
            return None
        if self.terms == other.terms:
            return sp.Integer(1)
        first, *rest = (
            sp.cancel(c / d) for (_, c), (_, d) in zip(self.terms, other.terms, strict=True)
        )
        return first if not first.free_symbols and all(r == first for r in rest) else None


class Residual:
    """Expressions in fields and their derivatives, as a function of derivative streams.

    Every term that is linear in the derivatives of one field, with coefficients that do not depend
    on
    the fields or on unknown parameters, joins one merged operator per equation and field when that
    lowers the number of streams; the other derivatives are streams of their own.

    Parameters
    ----------
    expressions : each is to vanish.
    fields : applied functions, in the order of the output columns.
    coordinates : in the order of the point columns.
    unknowns : symbols that are trained; never part of a merged operator.
    extras : further symbols with one value per point (normals, data).
    values : known parameters.
    expand : False leaves the expressions as they are written and merges nothing: quotients that
        share a denominator grow by orders of magnitude when they are expanded.

    Attributes
    ----------
    streams : what must be propagated.
    rows : positions of the streams that the expressions read.
    is_linear : whether the expressions are affine in the fields.

    References
    ----------
    pinn.md §2.1.
    """

    def __init__(
        self,
        expressions: Sequence[sp.Expr],
        fields: Sequence[AppliedUndef],
        coordinates: Symbols,
        *,
        values: Mapping[sp.Symbol, float] | None = None,
        unknowns: Symbols = (),
        extras: Symbols = (),
        expand: bool = True,
    ):
        self.expressions = tuple(sp.expand(e.doit()) if expand else e for e in expressions)
        self.fields = tuple(fields)
        self.coordinates = tuple(coordinates)
        self.values = dict(values or {})
        self.unknowns = tuple(unknowns)
        self.extras = tuple(extras)
        splits = [self._split(k, e) for k, e in enumerate(self.expressions)] if expand else []
        candidates = [merged for _, operators in splits for merged in operators]
        self.merged = self._choose(candidates)
        self.operators = self._distinct(self.merged)
        self.streams = self._streams(self.merged)
        self._own = self._own_indices(self.merged)
        self._compile()

    @property
    def count(self) -> int:
        return len(self.expressions)

    def _split(self, number: int, expression: sp.Expr) -> tuple[set[sp.Basic], list[Merged]]:
        """Derivatives that need their own stream, and the linear rest by field."""
        linear: dict[tuple[int, Index], sp.Expr] = {}
        own: set[sp.Basic] = set()
        for term in sp.Add.make_args(expression):
            derivatives = sorted(term.atoms(sp.Derivative), key=sp.default_sort_key)
            remainder = term.xreplace({d: sp.Dummy() for d in derivatives})
            if len(derivatives) == 1 and not remainder.atoms(AppliedUndef):
                coefficient, rest = term.as_independent(derivatives[0], as_Add=False)
                free = coefficient.free_symbols
                if rest == derivatives[0] and not free & {*self.unknowns, *self.extras}:
                    field = self._field(derivatives[0].expr)
                    index = multi_index(derivatives[0], self.coordinates)
                    key = (field, index)
                    linear[key] = linear.get(key, sp.Integer(0)) + coefficient
                    continue
            own.update(derivatives)
        taken = {(self._field(d.expr), multi_index(d, self.coordinates)) for d in own}
        groups: dict[int, dict[Index, sp.Expr]] = {}
        for (field, index), coefficient in linear.items():
            if (field, index) not in taken:
                groups.setdefault(field, {})[index] = coefficient
        merged = [
            Merged(number, field, tuple(sorted(terms.items(), key=lambda t: t[0])))
            for field, terms in sorted(groups.items())
        ]
        return own, merged

    def _field(self, applied: sp.Basic) -> int:
        if applied not in self.fields:
            raise UnsupportedProblem(
                f"derivative of {applied}, which is not one of the fields "
                f"{', '.join(map(str, self.fields))}."
            )
        return self.fields.index(applied)

    def _own_indices(self, merged: Sequence[Merged]) -> set[Index]:
        """Partial derivatives that the expressions read once `merged` is taken out of them."""
        covered = {
            (m.equation, self.fields[m.field], index) for m in merged for index, _ in m.terms
        }
        return {
            multi_index(d, self.coordinates)
            for k, e in enumerate(self.expressions)
            for d in e.atoms(sp.Derivative)
            if (k, d.expr, multi_index(d, self.coordinates)) not in covered
        }

    def _distinct(self, merged: Sequence[Merged]) -> list[Merged]:
        distinct: list[Merged] = []
        for operator in merged:
            if all(operator.ratio(other) is None for other in distinct):
                distinct.append(operator)
        return distinct

    def _streams(self, merged: Sequence[Merged]) -> Streams:
        operators = [
            tuple(index for index, _ in operator.terms) for operator in self._distinct(merged)
        ]
        return Streams(len(self.coordinates), self._own_indices(merged), operators)

    def _choose(self, candidates: list[Merged]) -> list[Merged]:
        """Merge only where it saves a stream; on a tie plain derivatives are cheaper."""
        chosen = list(candidates)
        for operator in sorted(candidates, key=lambda m: len(m.terms)):
            without = [m for m in chosen if m is not operator]
            if len(self._streams(without)) <= len(self._streams(chosen)):
                chosen = without
        return chosen

    def _compile(self) -> None:
        entries: dict[tuple[int, int], sp.Symbol] = {}

        def entry(stream: int, field: int) -> sp.Symbol:
            if (stream, field) not in entries:
                entries[stream, field] = sp.Dummy(f"s{stream}_{field}")
            return entries[stream, field]

        compiled = []
        for number, expression in enumerate(self.expressions):
            for operator in (m for m in self.merged if m.equation == number):
                field = self.fields[operator.field]
                position, ratio = next(
                    (i, ratio)
                    for i, other in enumerate(self.operators)
                    if (ratio := operator.ratio(other)) is not None
                )
                stream = self.streams.operator_position(position)
                for index, coefficient in operator.terms:
                    expression -= coefficient * self._derivative(field, index)
                expression = sp.expand(expression)
                expression += ratio * entry(stream, operator.field)
            replacements: dict[sp.Basic, sp.Symbol] = {}
            for d in sorted(expression.atoms(sp.Derivative), key=sp.default_sort_key):
                index = multi_index(d, self.coordinates)
                replacements[d] = entry(self.streams.position(index), self._field(d.expr))
            expression = expression.xreplace(replacements)
            plain = {f: entry(0, i) for i, f in enumerate(self.fields) if expression.has(f)}
            compiled.append(expression.xreplace(plain))
        self.entries = list(entries)
        self._chosen: list[tuple[int, float]] = []
        symbols = list(entries.values())
        self.rows = sorted({stream for stream, _ in self.entries})
        arguments = [*symbols, *self.coordinates, *self.values, *self.unknowns, *self.extras]
        partials = [sp.diff(e, s) for e in compiled for s in symbols]
        sensitivities = [sp.diff(e, p) for e in compiled for p in self.unknowns]
        self.is_linear = not any(p.has(*symbols) for p in partials if symbols)
        self._values = Program(compiled, arguments)
        self._everything = Program([*compiled, *partials, *sensitivities], arguments)
        coefficients = [c for operator in self.operators for _, c in operator.terms]
        self._coefficients = Program(coefficients, [*self.coordinates, *self.values])

    def _derivative(self, field: AppliedUndef, index: Index) -> sp.Expr:
        return sp.Derivative(
            field, *((c, k) for c, k in zip(self.coordinates, index, strict=True) if k)
        )

    def coefficients(self, points: Tensor) -> list[Coefficient]:
        """Coefficients of the merged operators at points: numbers, or (n, 1) where they vary."""
        raw = self._coefficients(*points.unbind(-1), *self.values.values())
        found = [c.reshape(-1, 1) if isinstance(c, Tensor) and c.dim() else float(c) for c in raw]
        return [scale * found[slot] for slot, scale in self._chosen] if self._chosen else found

    def sampled(self, terms: int, generator: torch.Generator) -> Residual:
        """The same residual with a random part of every merged operator, without bias.

            Σ_{j=1}^{J} c_j ∂^{α_j}  →  J/k Σ_{j ∈ S} c_j ∂^{α_j},   S: k of the J terms

        In d ≥ 50 dimensions a Laplacian then costs k + 2 streams, not d + 2. The mean over S is
        the full residual; that of its square is not, so draw anew for every step.

        Parameters
        ----------
        terms : k, terms kept per operator; operators of at most k terms stay whole.
        generator : of the draw.

        References
        ----------
        Hu, Shi, Karniadakis, Kawaguchi (2024), Neural Netw. 176 (stochastic dimension descent).
        """
        operators, chosen, start = [], [], 0
        for operator in self.streams.operators:
            count = len(operator)
            order = torch.randperm(count, generator=generator, device=generator.device)
            kept = sorted(order[:terms].tolist())
            operators.append(tuple(operator[j] for j in kept))
            chosen += [(start + j, count / len(kept)) for j in kept]
            start += count
        part = copy.copy(self)
        part._chosen = chosen
        part.streams = Streams(len(self.coordinates), self._own, operators)
        whole = len(self.streams.indices)

        def moved(stream: int) -> int:
            if stream < whole:
                return part.streams.position(self.streams.indices[stream])
            return part.streams.operator_position(stream - whole)

        part.entries = [(moved(stream), field) for stream, field in self.entries]
        part.rows = sorted({stream for stream, _ in part.entries})
        return part

    def _arguments(
        self, u: Tensor, points: Tensor, unknowns: Sequence[Any], extras: Sequence[Tensor]
    ) -> list[Any]:
        row = {stream: i for i, stream in enumerate(self.rows)}
        read = [u[row[stream], :, field] for stream, field in self.entries]
        return [*read, *points.unbind(-1), *self.values.values(), *unknowns, *extras]

    def __call__(
        self,
        u: Tensor,
        points: Tensor,
        unknowns: Sequence[Any] = (),
        extras: Sequence[Tensor] = (),
    ) -> Tensor:
        """Residuals, (n, equations), of ``u`` = streams `rows` of the fields, (rows, n, fields)."""
        columns = self._values(*self._arguments(u, points, unknowns, extras))
        return torch.stack([_column(c, points) for c in columns], dim=-1)

    def with_partials(
        self,
        u: Tensor,
        points: Tensor,
        unknowns: Sequence[Any] = (),
        extras: Sequence[Tensor] = (),
    ) -> tuple[list[Any], list[list[Any]], list[list[Any]]]:
        """Residuals, and their exact derivatives by every entry and by every unknown.

        Returns
        -------
        residuals : per equation (n,).
        partials : [equation][entry], number or (n,), in the order of `entries`.
        sensitivities : [equation][unknown], number or (n,).
        """
        out = self._everything(*self._arguments(u, points, unknowns, extras))
        k, e, p = self.count, len(self.entries), len(self.unknowns)
        residuals = [_column(c, points) for c in out[:k]]
        partials = [list(out[k + i * e : k + (i + 1) * e]) for i in range(k)]
        start = k + k * e
        sensitivities = [list(out[start + i * p : start + (i + 1) * p]) for i in range(k)]
        return residuals, partials, sensitivities

    def describe(self) -> list[str]:
        """The streams in words: ``["u", "u_x", "u_t - nu*u_xx"]``."""
        names = [str(c) for c in self.coordinates]
        label = self.fields[0].func.__name__ if len(self.fields) == 1 else "D"

        def partial(index: Index) -> str:
            suffix = "".join(n * k for n, k in zip(names, index, strict=True))
            return f"{label}_{suffix}" if suffix else label

        words = [partial(index) for index in self.streams.indices]
        for operator in self.operators:
            total = sum((c * sp.Symbol(partial(i)) for i, c in operator.terms), sp.Integer(0))
            words.append(str(total))
        return words

    @property
    def highest_order(self) -> int:
        """Highest order of differentiation among all streams."""
        return max(
            order_of(index) for s in range(len(self.streams)) for index, _ in self.streams.terms(s)
        )


def _column(value: Any, points: Tensor) -> Tensor:
    if isinstance(value, Tensor) and value.shape == points.shape[:1]:
        return value
    return torch.as_tensor(value, dtype=points.dtype, device=points.device).expand(points.shape[0])
