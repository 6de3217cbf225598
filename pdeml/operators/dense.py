"""Streams of a dense network with a hand-written reverse: the common case of collocation.

Automatic differentiation of the jet rules would repeat the work of nested derivatives (pinn.md §7).
Here the whole chain is one pass over stacked streams: one matrix product per layer and direction,
the elementwise rules in place, and chunks of points small enough that all the streams of a layer
stay
in the cache. From the same reverse come either the parameter gradient or the rows of the Jacobian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn

from pdeml.nn.activations import DERIVATIVES, fast_tanh, tanh_into
from pdeml.nn.networks import MLP
from pdeml.operators.jets import Coefficient, Monomial, Streams, scaled

CHUNK_BYTES = 800_000
"""All streams of one layer of a chunk: they fit the second-level cache of current CPUs."""


def chunk_size(streams: int, width: int, element_size: int, device: torch.device) -> int | None:
    """Points per chunk; None (all at once) on accelerators, where larger batches are faster."""
    if device.type != "cpu":
        return None
    return max(128, CHUNK_BYTES // (streams * width * element_size) // 64 * 64)


class Arena:
    """Reused buffers: fresh memory of this size costs more in page faults than its arithmetic.

    `empty` hands out a buffer per call; `reset` makes all of them available again.
    """

    def __init__(self) -> None:
        self._pools: dict[tuple[Any, ...], list[Tensor]] = {}
        self._used: dict[tuple[Any, ...], int] = {}

    def empty(self, like: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        size = tuple(like.shape if shape is None else shape)
        key = (size, like.dtype, like.device)
        pool, used = self._pools.setdefault(key, []), self._used.get(key, 0)
        if used == len(pool):
            pool.append(torch.empty(size, dtype=like.dtype, device=like.device))
        self._used[key] = used + 1
        return pool[used]

    def reset(self) -> None:
        self._used.clear()


class _Products:
    """Products of streams, each formed once: z_1 z_1 z_2 from z_1 z_1."""

    def __init__(self, streams: Sequence[Tensor], arena: Arena):
        self._known: dict[tuple[int, ...], Tensor] = {(i,): z for i, z in enumerate(streams)}
        self._arena = arena

    def __getitem__(self, factors: tuple[int, ...]) -> Tensor:
        if factors not in self._known:
            head, last = self[factors[:-1]], self._known[factors[-1:]]
            self._known[factors] = torch.mul(head, last, out=self._arena.empty(head))
        return self._known[factors]


class _Composition:
    """Reverse of ``out = f(z)`` on streams, for any activation and any set of streams.

    With Q_{s,k} the polynomials of `Streams.compositions` and g the adjoint of the output:

        out_s = f' z_s + Σ_k f^(k) Q_{s,k}
        adjoint of z_s gains f' g_s;  of each factor z_i of Q_{s,k}, f^(k) g_s ∂Q_{s,k}/∂z_i
        adjoint of z_0 is f' g_0 + f'' Σ_s g_s z_s + Σ_k f^(k+1) Σ_s g_s Q_{s,k}
    """

    def __init__(
        self,
        activation: str,
        streams: Streams,
        coefficients: Sequence[Coefficient],
        arena: Arena,
    ):
        self.activation = activation
        self.order = streams.highest + 1
        self.arena = arena
        self.rules = [
            (stream, k, [(m.factors, scaled(coefficients, m)) for m in monomials])
            for stream, rule in enumerate(streams.compositions)
            for k, monomials in rule.items()
        ]

    def _derivatives(self, z: Tensor, value: Tensor) -> list[Tensor]:
        if self.activation == "tanh":
            return tanh_into(z, self.order, self.arena.empty, value)
        d = DERIVATIVES[self.activation](z, self.order)
        value.copy_(d[0])
        return d

    def forward(self, z: Tensor) -> tuple[Tensor, Any]:
        out = self.arena.empty(z)
        z_s, out_s = z.unbind(), out.unbind()
        d = self._derivatives(z_s[0], out_s[0])
        _scale(z, d[1], out)
        products = _Products(z_s, self.arena)
        polynomials = []
        for stream, k, terms in self.rules:
            total: Any = None
            for factors, scale in terms:
                product = products[factors]
                if len(terms) == 1 and isinstance(scale, float):
                    # a single product stays as it is, its factor goes into the next operation
                    out_s[stream].addcmul_(d[k], product, value=scale)
                    polynomials.append((product, scale))
                elif total is None:
                    total = torch.mul(product, scale, out=self.arena.empty(product))
                elif isinstance(scale, float):
                    total.add_(product, alpha=scale)
                else:
                    total.addcmul_(product, scale)
            if total is not None:
                out_s[stream].addcmul_(d[k], total)
                polynomials.append((total, 1.0))
        return out, (z, d, products, polynomials)

    def backward(self, g: Tensor, saved: Any) -> Tensor:
        z, d, products, polynomials = saved
        empty = self.arena.empty
        out = torch.mul(g, d[1], out=empty(g))
        g_s, out_s = g.unbind(), out.unbind()
        if len(g_s) == 1:
            return out
        # collected[k] multiplies f^(k) in the adjoint of the value
        collected = {2: _contract(g[1:], z[1:], self.arena)}
        for (stream, k, _), (polynomial, scale) in zip(self.rules, polynomials, strict=True):
            if k + 1 in collected:
                collected[k + 1].addcmul_(g_s[stream], polynomial, value=scale)
            else:
                target = torch.mul(g_s[stream], polynomial, out=empty(polynomial))
                collected[k + 1] = target if scale == 1.0 else target.mul_(scale)
        for k, weight in collected.items():
            out_s[0].addcmul_(weight, d[k])
        for stream, k, terms in self.rules:
            weighted = torch.mul(g_s[stream], d[k], out=empty(g_s[0]))
            for factors, scale in terms:
                base, number = weighted, cast(float, scale)
                if not isinstance(scale, float):
                    base, number = torch.mul(weighted, scale, out=empty(weighted)), 1.0
                for factor in set(factors):
                    i = factors.index(factor)
                    rest = factors[:i] + factors[i + 1 :]
                    times = factors.count(factor) * number
                    out_s[factor].addcmul_(base, products[rest], value=times)
        return out


FEW = 4
"""Up to so many streams, one operation each is faster than one over a stack: all stay in cache."""


def _contract(left: Tensor, right: Tensor, arena: Arena) -> Tensor:
    """Σ_s left_s right_s."""
    if len(left) > FEW:
        products = torch.mul(left, right, out=arena.empty(left))
        return torch.sum(products, 0, out=arena.empty(left, left.shape[1:]))
    total = torch.mul(left[0], right[0], out=arena.empty(left[0]))
    for a, b in zip(left.unbind()[1:], right.unbind()[1:], strict=True):
        total.addcmul_(a, b)
    return total


def _scale(streams: Tensor, factor: Tensor, out: Tensor) -> None:
    """out_s = factor · streams_s on every stream but the value."""
    if len(streams) > FEW:
        torch.mul(streams[1:], factor, out=out[1:])
        return
    for a, b in zip(streams.unbind()[1:], out.unbind()[1:], strict=True):
        torch.mul(a, factor, out=b)


class _TanhSecondOrder:
    """The same for tanh and derivatives up to second order, with half as many passes over memory.

    With h = tanh z, s = 1 − h², Q the quadratic form of a second-order stream and q = z_s − 2 h Q
    (q = z_s on first-order streams):

        out = h,  s z_i,  s q
        adjoint of z_s is t = s g_s;  of z_i it gains −2 h t ∂Q/∂z_i
        adjoint of z_0 is s (g_0 − 2 Σ Q t − 2 h Σ_s g_s q_s)
    """

    def __init__(self, streams: Streams, coefficients: Sequence[Coefficient], arena: Arena):
        self.arena = arena
        self.forms = [
            _Form(stream, rule[2], coefficients)
            for stream, rule in enumerate(streams.compositions)
            if 2 in rule
        ]

    def forward(self, z: Tensor) -> tuple[Tensor, Any]:
        out = self.arena.empty(z)
        h = fast_tanh(z[0], out[0])
        s = torch.addcmul(h.new_ones(()), h, h, value=-1.0, out=self.arena.empty(h))
        forms = []
        # second-order streams are never factors here, so they may be overwritten by q
        for form in self.forms:
            quadratic = form.evaluate(z, self.arena)
            z[form.stream].addcmul_(h, quadratic, value=-2.0 * form.scale)
            forms.append(quadratic)
        _scale(z, s, out)
        return out, (z, h, s, forms)

    def backward(self, g: Tensor, saved: Any) -> Tensor:
        q, h, s, forms = saved
        t = self.arena.empty(g)
        if len(g) == 1:
            return torch.mul(g, s, out=t)
        _scale(g, s, t)
        inner = _contract(g[1:], q[1:], self.arena)
        value = torch.addcmul(g[0], h, inner, value=-2.0, out=t[0])
        for form, quadratic in zip(self.forms, forms, strict=True):
            adjoint = t[form.stream]
            value.addcmul_(quadratic, adjoint, value=-2.0 * form.scale)
            form.pull_back(torch.mul(h, adjoint, out=inner), q, t, self.arena)
        value.mul_(s)
        return t


class _Form:
    """``scale · Σ_m ratio_m z_i z_j``: the quadratic form of one second-order stream.

    The common factor is kept apart, so that a single term costs one product; squares with one ratio
    over consecutive streams (a Laplacian) are taken together.
    """

    def __init__(self, stream: int, monomials: list[Monomial], coefficients: Sequence[Coefficient]):
        self.stream = stream
        scales = [scaled(coefficients, monomial) for monomial in monomials]
        numbers = [c for c in scales if isinstance(c, float) and c != 0.0]
        self.scale = numbers[0] if numbers else 1.0
        self.terms: list[tuple[int, int, Any]] = sorted(
            (
                (m.factors[0], m.factors[1], c / self.scale)
                for m, c in zip(monomials, scales, strict=True)
            ),
            key=lambda term: term[:2],
        )
        squares = [i for i, j, _ in self.terms if i == j]
        self.block: slice | None = None
        uniform = all(isinstance(r, float) and r == 1.0 and i == j for i, j, r in self.terms)
        if uniform and len(squares) > 2 and squares == list(range(squares[0], squares[-1] + 1)):
            self.block = slice(squares[0], squares[-1] + 1)

    def evaluate(self, z: Tensor, arena: Arena) -> Tensor:
        if self.block is not None:
            return _contract(z[self.block], z[self.block], arena)
        total: Any = None
        for i, j, ratio in self.terms:
            left = z[i]
            if not isinstance(ratio, float):
                left, ratio = torch.mul(left, ratio, out=arena.empty(left)), 1.0
            if total is not None:
                total.addcmul_(left, z[j], value=ratio)
                continue
            total = torch.mul(left, z[j], out=arena.empty(left))
            if ratio != 1.0:
                total.mul_(ratio)
        return total

    def pull_back(self, weighted: Tensor, z: Tensor, t: Tensor, arena: Arena) -> None:
        """t_i ← t_i − 2 · weighted · ∂form/∂z_i."""
        if self.block is not None:
            t[self.block].addcmul_(weighted, z[self.block], value=-4.0 * self.scale)
            return
        for i, j, ratio in self.terms:
            base = weighted
            if not isinstance(ratio, float):
                base, ratio = torch.mul(weighted, ratio, out=arena.empty(weighted)), 1.0
            factor = -2.0 * self.scale * ratio
            if i == j:
                t[i].addcmul_(base, z[i], value=2.0 * factor)
            else:
                t[i].addcmul_(base, z[j], value=factor)
                t[j].addcmul_(base, z[i], value=factor)


def _composition(
    activation: str, streams: Streams, coefficients: Sequence[Coefficient], arena: Arena
) -> Any:
    factors = {
        factor
        for rule in streams.compositions
        for monomials in rule.values()
        for monomial in monomials
        for factor in monomial.factors
    }
    with_form = {stream for stream, rule in enumerate(streams.compositions) if rule}
    if activation == "tanh" and streams.highest <= 2 and not factors & with_form:
        return _TanhSecondOrder(streams, coefficients, arena)
    return _Composition(activation, streams, coefficients, arena)


@dataclass
class Tape:
    """What the reverse needs of one chunk: per layer the input and what the activation saved.

    `adjoint` is left by the reverse: that of the first layer's output, (streams, n, width).
    """

    inputs: list[Tensor]
    saved: list[Any]
    rule: Any
    arena: Arena
    adjoint: Tensor | None = None


class DensePass:
    """Forward and reverse of an `MLP` on streams.

    Parameters
    ----------
    network : the dense network; its parameters are read at every call.
    streams : what travels.
    """

    def __init__(self, network: MLP, streams: Streams):
        self.network = network
        self.streams = streams
        self.parameters = list(network.linears.parameters())

    @staticmethod
    def accepts(network: nn.Module) -> TypeGuard[MLP]:
        dense = isinstance(network, MLP) and not network.factorized
        return dense and network.activation in DERIVATIVES

    def forward(
        self, features: Tensor, coefficients: Sequence[Coefficient], arena: Arena
    ) -> tuple[Tensor, Tape]:
        """Streams of the output, (streams, n, m), of streams of the input, (streams, n, k).

        Output and tape live in the arena: they are valid until its reset.
        """
        rule = _composition(self.network.activation, self.streams, coefficients, arena)
        tape = Tape([], [], rule, arena)
        h = features
        last = len(self.parameters) // 2 - 1
        for i in range(last + 1):
            weight, bias = self.parameters[2 * i].detach(), self.parameters[2 * i + 1].detach()
            tape.inputs.append(h)
            z = arena.empty(h, (*h.shape[:2], weight.shape[0]))
            torch.mm(h.reshape(-1, h.shape[-1]), weight.T, out=z.view(-1, weight.shape[0]))
            z[0].add_(bias)
            if i == last:
                return z, tape
            h, saved = rule.forward(z)
            tape.saved.append(saved)
        raise AssertionError("a network has an output layer")

    def backward(self, adjoint: Tensor, tape: Tape, gradients: Sequence[Tensor]) -> None:
        """Add the gradient of Σ adjoint·output to `gradients` (one per parameter, in order)."""
        g = adjoint
        for i in reversed(range(len(tape.inputs))):
            h = tape.inputs[i]
            flat = g.reshape(-1, g.shape[-1])
            inputs = h.reshape(-1, h.shape[-1])
            if h.shape[-1] <= 4:
                # products this thin are slow in BLAS; one matrix-vector product per column is not
                for j in range(h.shape[-1]):
                    gradients[2 * i][:, j].addmv_(flat.T, inputs[:, j])
            else:
                gradients[2 * i].addmm_(flat.T, inputs)
            gradients[2 * i + 1].add_(g[0].sum(0))
            if i:
                weight = self.parameters[2 * i].detach()
                g = tape.arena.empty(h)
                torch.mm(flat, weight, out=g.view(-1, h.shape[-1]))
                g = tape.rule.backward(g, tape.saved[i - 1])
        tape.adjoint = g

    def jacobian(self, adjoint: Tensor, tape: Tape, rows: Tensor) -> None:
        """Write ∂(Σ_s adjoint_s·output_s)/∂parameters per point into `rows`, (n, parameters)."""
        g = adjoint
        end = rows.shape[1]
        for i in reversed(range(len(tape.inputs))):
            h = tape.inputs[i]
            n, outputs, inputs = h.shape[1], g.shape[-1], h.shape[-1]
            rows[:, end - outputs : end] = g[0]
            end -= outputs
            block = torch.einsum("sno,sni->noi", g, h)
            rows[:, end - outputs * inputs : end] = block.reshape(n, -1)
            end -= outputs * inputs
            if i:
                weight = self.parameters[2 * i].detach()
                flat, g = g.reshape(-1, outputs), tape.arena.empty(h)
                torch.mm(flat, weight, out=g.view(-1, inputs))
                g = tape.rule.backward(g, tape.saved[i - 1])
        tape.adjoint = g


class DenseStreams(torch.autograd.Function):
    """The same pass as a differentiable torch function of the parameters.

    ``DenseStreams.apply(dense_pass, features, coefficients, *parameters) -> (streams, n, m)``
    """

    @staticmethod
    def forward(ctx, dense_pass, features, coefficients, *parameters):
        out, ctx.tape = dense_pass.forward(features, coefficients, Arena())
        ctx.dense_pass = dense_pass
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, adjoint):
        gradients = [torch.zeros_like(p) for p in ctx.dense_pass.parameters]
        ctx.dense_pass.backward(adjoint.contiguous(), ctx.tape, gradients)
        return None, None, None, *gradients
