"""Taylor-mode derivatives: all the partial derivatives that a PDE needs, in one forward pass.

A *jet* carries, for every point, the value of a quantity and a set of its derivatives with respect
to the coordinates (its *streams*). Each operation maps jets to jets by an exact rule:

    linear layer      every stream through the same matrix, the bias on the value only
    f(z)              ∂^α f(z) = Σ_π f^(|π|)(z) Π_{B ∈ π} ∂^B z     (Faà di Bruno, set partitions)
    p·q               ∂^α (p q) = Σ_β C(α, β) ∂^β p ∂^(α−β) q        (Leibniz)
    merged operator   L = Σ_α c_α ∂^α is carried as one stream: both rules are linear in ∂^α once
                      the lower derivatives are there, so only the sum travels through the network.

Mixed derivatives are streams of their own, closed under sub-indices: u_xxy needs {u, x, y, xx, xy,
xxy},
six streams, where polarisation by directional jets needs three directions of three orders, ten
streams.

`Jet` implements ``__torch_function__``: an ordinary ``nn.Module`` made of linear layers, known
elementwise functions, sums, products and concatenations works on jets as it is.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pdeml.errors import UnsupportedProblem
from pdeml.nn.activations import DERIVATIVES, DerivativeTable, power

logger = logging.getLogger(__name__)

Index = tuple[int, ...]
"""A multi-index: how often each coordinate is differentiated."""

Coefficient = float | Tensor
"""Coefficient of a merged operator: a number, or one value per point as (n, 1)."""


def order_of(index: Index) -> int:
    return sum(index)


def sub_indices(index: Index) -> list[Index]:
    """All β ≤ α, both ends included."""
    axes = [axis for axis, k in enumerate(index) if k]
    found = []
    for counts in itertools.product(*(range(index[axis] + 1) for axis in axes)):
        beta = [0] * len(index)
        for axis, k in zip(axes, counts, strict=True):
            beta[axis] = k
        found.append(tuple(beta))
    return found


@dataclass(frozen=True)
class Monomial:
    """``multiplicity · coefficients[slot] · Π_i z[factors_i]``; `slot` None means 1."""

    multiplicity: int
    slot: int | None
    factors: tuple[int, ...]


def set_partitions(items: list[int]) -> Iterable[list[list[int]]]:
    """All ways to cut a list into blocks, the order within and among them aside."""
    if not items:
        yield []
        return
    head, rest = items[0], items[1:]
    for partition in set_partitions(rest):
        yield [[head], *partition]
        for i in range(len(partition)):
            yield [*partition[:i], [head, *partition[i]], *partition[i + 1 :]]


class Streams:
    """Which derivatives travel together, and the exact rules to combine them.

    Parameters
    ----------
    dim : number of coordinates.
    partials : multi-indices that are wanted; sub-indices and the value are added.
    operators : merged operators, each a tuple of multi-indices of order ≥ 1; the coefficient of
        term j of all operators, counted on, is ``coefficients[j]`` at run time.

    Attributes
    ----------
    indices : partial derivatives in the order of the streams, the value first.
    operators : as given; their streams follow the partial derivatives.
    """

    def __init__(
        self, dim: int, partials: Iterable[Index], operators: Sequence[tuple[Index, ...]] = ()
    ):
        self.dim = dim
        self.operators = tuple(tuple(operator) for operator in operators)
        wanted: set[Index] = {(0,) * dim}
        for index in partials:
            wanted.update(sub_indices(index))
        for operator in self.operators:
            for index in operator:
                wanted.update(beta for beta in sub_indices(index) if beta != index)
        # by order, then lexicographically from the back: u, u_x, u_y, u_xx, u_xy, …
        self.indices = tuple(sorted(sorted(wanted, reverse=True), key=order_of))
        self._position = {index: i for i, index in enumerate(self.indices)}

    def __len__(self) -> int:
        return len(self.indices) + len(self.operators)

    def __repr__(self) -> str:
        return f"Streams({list(self.indices)}, operators={list(self.operators)})"

    def position(self, index: Index) -> int:
        return self._position[index]

    def operator_position(self, operator: int) -> int:
        return len(self.indices) + operator

    def terms(self, stream: int) -> list[tuple[Index, int | None]]:
        """The stream as Σ coefficient · partial derivative: (index, slot) pairs."""
        if stream < len(self.indices):
            return [(self.indices[stream], None)]
        number = stream - len(self.indices)
        first = sum(len(operator) for operator in self.operators[:number])
        return [(index, first + j) for j, index in enumerate(self.operators[number])]

    @cached_property
    def compositions(self) -> list[dict[int, list[Monomial]]]:
        """Per stream and derivative order k ≥ 2 of f, the polynomial that multiplies f^(k)."""
        rules: list[dict[int, list[Monomial]]] = []
        for stream in range(len(self)):
            rule: dict[int, list[Monomial]] = {}
            for index, slot in self.terms(stream):
                items = [axis for axis, k in enumerate(index) for _ in range(k)]
                counts: Counter[tuple[int, tuple[int, ...]]] = Counter()
                for partition in set_partitions(items):
                    if len(partition) < 2:
                        continue
                    blocks = (
                        self._position[tuple(block.count(axis) for axis in range(self.dim))]
                        for block in partition
                    )
                    counts[len(partition), tuple(sorted(blocks))] += 1
                for (k, factors), multiplicity in sorted(counts.items()):
                    rule.setdefault(k, []).append(Monomial(multiplicity, slot, factors))
            rules.append(rule)
        return rules

    @cached_property
    def products(self) -> list[list[Monomial]]:
        """Per stream, the terms of the product rule besides p·q_s and p_s·q."""
        rules = []
        for stream in range(len(self)):
            rule = []
            for index, slot in self.terms(stream):
                for beta in sub_indices(index):
                    rest = tuple(a - b for a, b in zip(index, beta, strict=True))
                    if order_of(beta) == 0 or order_of(rest) == 0:
                        continue
                    count = math.prod(math.comb(a, b) for a, b in zip(index, beta, strict=True))
                    factors = (self._position[beta], self._position[rest])
                    rule.append(Monomial(count, slot, factors))
            rules.append(rule)
        return rules

    @cached_property
    def highest(self) -> int:
        """Highest derivative of an elementwise function that the rules need."""
        orders = [k for rule in self.compositions for k in rule]
        return max(orders, default=min(1, len(self) - 1))


def scaled(coefficients: Sequence[Coefficient], monomial: Monomial) -> Coefficient:
    if monomial.slot is None:
        return float(monomial.multiplicity)
    return monomial.multiplicity * coefficients[monomial.slot]


class Jet:
    """A quantity with its derivative streams.

    Parameters
    ----------
    data : (streams, N, width); entry s is stream s of every component.
    streams : what the entries mean.
    coefficients : of the merged operators, one per operator term: numbers or (N, 1).
    """

    __slots__ = ("coefficients", "data", "streams")

    def __init__(self, data: Tensor, streams: Streams, coefficients: Sequence[Coefficient] = ()):
        self.data = data
        self.streams = streams
        self.coefficients = tuple(coefficients)

    @classmethod
    def coordinates(
        cls, points: Tensor, streams: Streams, coefficients: Sequence[Coefficient] = ()
    ) -> Jet:
        """The coordinates themselves as a jet of width d: ∂_i x_j = δ_ij, L x_j = c of ∂_j."""
        data = points.new_zeros((len(streams), *points.shape))
        data[0] = points
        for stream in range(1, len(streams)):
            for index, slot in streams.terms(stream):
                if order_of(index) == 1:
                    axis = index.index(1)
                    data[stream, :, axis : axis + 1] += 1.0 if slot is None else coefficients[slot]
        return cls(data, streams, coefficients)

    @property
    def value(self) -> Tensor:
        return self.data[0]

    @property
    def shape(self) -> torch.Size:
        return self.data.shape[1:]

    @property
    def dtype(self) -> torch.dtype:
        return self.data.dtype

    @property
    def device(self) -> torch.device:
        return self.data.device

    def new(self, data: Tensor) -> Jet:
        return Jet(data, self.streams, self.coefficients)

    def constant(self, value: Any) -> Tensor:
        """A quantity that does not depend on the coordinates, as jet data."""
        tensor = torch.as_tensor(value, dtype=self.dtype, device=self.device)
        tensor = tensor.expand(torch.broadcast_shapes(tensor.shape, (self.shape[0], 1)))
        data = tensor.new_zeros((len(self.streams), *tensor.shape))
        return torch.cat([tensor[None], data[1:]])

    def elementwise(self, table: DerivativeTable) -> Jet:
        """f(z) from the derivatives of f (Faà di Bruno)."""
        z, rules = self.data, self.streams.compositions
        d = table(z[0], self.streams.highest)
        out = [d[0]]
        for stream in range(1, len(self.streams)):
            total = d[1] * z[stream]
            for k, monomials in rules[stream].items():
                total = total + d[k] * _polynomial(z, monomials, self.coefficients)
            out.append(total)
        return self.new(torch.stack(out))

    def __getitem__(self, key: Any) -> Jet:
        """Select along the components: ``jet[..., i:i + 1]`` or ``jet[:, i:i + 1]``."""
        key = key if isinstance(key, tuple) else (key,)
        kept = key[0] is Ellipsis or key[0] == slice(None)
        if len(key) != 2 or not kept or isinstance(key[1], int):
            raise UnsupportedJet(f"indexing a jet with {key}; use jet[..., i:j]")
        return self.new(self.data[..., key[1]])

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", str(func))
        handler = _OPERATIONS.get(name.strip("_"))
        if handler is not None:
            return handler(*args, **(kwargs or {}))
        if name in DERIVATIVES and isinstance(args[0], Jet):
            return args[0].elementwise(DERIVATIVES[name])
        raise UnsupportedJet(f"torch function {name!r} has no jet rule")

    def __add__(self, other: Any) -> Jet:
        return _add(self, other)

    def __radd__(self, other: Any) -> Jet:
        return _add(self, other)

    def __sub__(self, other: Any) -> Jet:
        return _add(self, -other)

    def __rsub__(self, other: Any) -> Jet:
        return _add(-self, other)

    def __neg__(self) -> Jet:
        return self.new(-self.data)

    def __mul__(self, other: Any) -> Jet:
        return _multiply(self, other)

    def __rmul__(self, other: Any) -> Jet:
        return _multiply(self, other)

    def __truediv__(self, other: Any) -> Jet:
        return _divide(self, other)

    def __rtruediv__(self, other: Any) -> Jet:
        return _divide(other, self)

    def __pow__(self, exponent: Any) -> Jet:
        return _power(self, exponent)

    def __matmul__(self, matrix: Tensor) -> Jet:
        return self.new(self.data @ matrix)


class UnsupportedJet(UnsupportedProblem):
    """A torch operation without a jet rule; derivatives fall back to nested autograd."""


def _polynomial(z: Tensor, monomials: list[Monomial], coefficients: Sequence[Coefficient]) -> Any:
    total: Any = None
    for monomial in monomials:
        term: Any = z[monomial.factors[0]]
        for factor in monomial.factors[1:]:
            term = term * z[factor]
        scale = scaled(coefficients, monomial)
        term = term if isinstance(scale, float) and scale == 1.0 else term * scale
        total = term if total is None else total + term
    return total


def _add(left: Any, right: Any, *, alpha: float = 1) -> Jet:
    if not isinstance(left, Jet):
        return _add(right * alpha, left)
    data = right.data if isinstance(right, Jet) else left.constant(right)
    return left.new(left.data + (data if alpha == 1 else alpha * data))


def _subtract(left: Any, right: Any, *, alpha: float = 1) -> Jet:
    return _add(left, right, alpha=-alpha)


def _multiply(left: Any, right: Any) -> Jet:
    if not isinstance(left, Jet):
        left, right = right, left
    if not isinstance(right, Jet):
        return left.new(left.data * right)
    p, q = left.data, right.data
    out = [p[0] * q[0]]
    for stream, rule in enumerate(left.streams.products[1:], start=1):
        total = p[0] * q[stream] + p[stream] * q[0]
        for monomial in rule:
            i, j = monomial.factors
            total = total + scaled(left.coefficients, monomial) * (p[i] * q[j])
        out.append(total)
    return left.new(torch.stack(out))


def _power(base: Any, exponent: Any) -> Jet:
    if isinstance(exponent, Jet):
        return (exponent * torch.log(torch.as_tensor(base))).elementwise(DERIVATIVES["exp"])
    exponent = float(exponent)
    if exponent == 2.0:
        return _multiply(base, base)
    return base.elementwise(lambda z, order: power(z, order, exponent))


def _divide(left: Any, right: Any) -> Jet:
    if isinstance(right, Jet):
        return _multiply(_power(right, -1.0), left)
    return left.new(left.data / right)


def _linear(jet: Jet, weight: Tensor, bias: Tensor | None = None) -> Jet:
    data = jet.data @ weight.T
    if bias is not None:
        data = torch.cat([data[:1] + bias, data[1:]])
    return jet.new(data)


def _cat(jets: Sequence[Jet], dim: int = 0) -> Jet:
    if dim not in (-1, 1):
        raise UnsupportedJet("concatenation of jets along the points")
    like = next(jet for jet in jets if isinstance(jet, Jet))
    return like.new(
        torch.cat([j.data if isinstance(j, Jet) else like.constant(j) for j in jets], dim=-1)
    )


def _relu(jet: Jet, inplace: bool = False) -> Jet:
    if jet.streams.highest > 1:
        raise UnsupportedProblem(
            "activation 'relu' has no second derivative, which this problem needs; use tanh, "
            "sin or swish."
        )
    return jet.new(torch.cat([torch.relu(jet.data[:1]), (jet.value > 0) * jet.data[1:]]))


def _silu(jet: Jet, inplace: bool = False) -> Jet:
    return jet.elementwise(DERIVATIVES["swish"])


def _gelu(jet: Jet, approximate: str = "none") -> Jet:
    if approximate != "none":
        raise UnsupportedJet("gelu with the tanh approximation")
    return jet.elementwise(DERIVATIVES["gelu"])


def _softplus(jet: Jet, beta: float = 1, threshold: float = 20) -> Jet:
    if beta != 1:
        raise UnsupportedJet("softplus with beta other than 1")
    return jet.elementwise(DERIVATIVES["softplus"])


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "linear": _linear,
    "add": _add,
    "radd": _add,
    "sub": _subtract,
    "rsub": lambda left, right: _add(right, -left),
    "mul": _multiply,
    "rmul": _multiply,
    "div": _divide,
    "truediv": _divide,
    "rtruediv": lambda left, right: _divide(right, left),
    "neg": lambda jet: -jet,
    "pow": _power,
    "rpow": lambda exponent, base: _power(base, exponent),
    "square": lambda jet: _multiply(jet, jet),
    "sqrt": lambda jet: _power(jet, 0.5),
    "reciprocal": lambda jet: _power(jet, -1.0),
    "matmul": lambda jet, matrix: jet @ matrix,
    "cat": _cat,
    "concat": _cat,
    "relu": _relu,
    "silu": _silu,
    "gelu": _gelu,
    "softplus": _softplus,
}


def nested_autograd(
    function: Callable[[Tensor], Tensor],
    points: Tensor,
    streams: Streams,
    coefficients: Sequence[Coefficient] = (),
    create_graph: bool = True,
) -> Tensor:
    """The streams of any differentiable function by repeated reverse mode: (streams, N, m).

    The general, slower path. Derivatives of order |α| repeat the graph |α| times.
    """
    points = points if points.requires_grad else points.detach().requires_grad_(True)
    with torch.enable_grad():
        value = function(points)
        width = value.shape[-1]
        known: dict[Index, list[Tensor]] = {streams.indices[0]: list(value.unbind(-1))}
        orders = {index for s in range(len(streams)) for index, _ in streams.terms(s)}
        for index in sorted(orders, key=order_of):
            if index in known:
                continue
            axis = next(a for a, k in enumerate(index) if k)
            lower = tuple(k - (a == axis) for a, k in enumerate(index))
            columns = []
            for column in known[lower]:
                gradient = _gradient(column, points)
                columns.append(gradient[:, axis])
            known[index] = columns
        rows = []
        for stream in range(len(streams)):
            total: Any = 0.0
            for index, slot in streams.terms(stream):
                term = torch.stack(known[index], dim=-1)
                total = total + (term if slot is None else coefficients[slot] * term)
            rows.append(total.expand(points.shape[0], width))
        out = torch.stack(rows)
    return out if create_graph else out.detach()


def _gradient(column: Tensor, points: Tensor) -> Tensor:
    if not column.requires_grad:
        return torch.zeros_like(points)
    (gradient,) = torch.autograd.grad(
        column.sum(), points, create_graph=True, allow_unused=True, materialize_grads=True
    )
    return gradient


def supports_jets(module: Callable[[Any], Any], points: Tensor, streams: Streams) -> bool:
    """Whether `module` runs on jets; where not, the reason is logged."""
    coefficients = [1.0] * sum(len(operator) for operator in streams.operators)
    try:
        with torch.no_grad():
            result = module(Jet.coordinates(points[:1], streams, coefficients))
    except UnsupportedJet as reason:
        logger.info("Taylor mode not possible, nested autograd is used: %s", reason)
        return False
    except (TypeError, AttributeError) as reason:
        # an operation that looks inside its argument (dim(), size() …) instead of calling torch
        logger.info("Taylor mode not possible, nested autograd is used: %s", reason)
        return False
    return isinstance(result, Jet)


def streams_of(
    module: Callable[[Any], Any],
    points: Tensor,
    streams: Streams,
    coefficients: Sequence[Coefficient] = (),
) -> Tensor:
    """All streams of a module at points, differentiable in its parameters: (streams, N, m)."""
    if supports_jets(module, points, streams):
        return module(Jet.coordinates(points, streams, coefficients)).data
    return nested_autograd(module, points, streams, coefficients)


def derivatives(module: nn.Module, points: Tensor, indices: Sequence[Index]) -> Tensor:
    """Partial derivatives of a module with respect to its input.

    Parameters
    ----------
    module : maps (N, d) to (N, m).
    points : (N, d).
    indices : multi-indices, e.g. ``[(0, 1), (2, 0)]`` for u_t and u_xx over (x, t).

    Returns
    -------
    (len(indices), N, m), differentiable in the parameters of the module.
    """
    streams = Streams(points.shape[-1], indices)
    data = streams_of(module, points, streams)
    return torch.stack([data[streams.position(tuple(index))] for index in indices])
