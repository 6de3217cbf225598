"""Derivative streams of a `GaussianField` in closed form, with a hand-written reverse.

With z = A(e − μ), G = exp(−½|z|²) and h_γ = ∂_z^γ G = (−1)^|γ| He_γ(z) G, all that is needed is a
combination of a few h_γ, one operation each from the recurrence of the Hermite polynomials:

    ∂_e^β G      = Σ_γ C_βγ(A) h_γ             C from the product Π_j (Σ_a A_aj ∂_a)^β_j
    ∂_x^α φ      = Σ_β K_αβ(x) ∂_e^β φ         K: chain rule of the embedding, points alone
    ∂/∂μ_l       = −Σ_a A_al ∂_a
    δ∂_e^β G     = −Σ_ab B_ab (∂_a ∂_b + δ_ab) ∂_e^β G,   B = δA A⁻¹    (by every shape parameter)

so the exponential is taken once per pair, and the reverse only needs two orders more than the
forward. The MLP behind the features takes and returns streams as in `pdeml.operators.dense`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdeml.nn.gaussians import COVARIANCES, GaussianField
from pdeml.operators.dense import Arena, DensePass, Tape
from pdeml.operators.jets import Coefficient, Index, Jet, Streams, set_partitions

PAIRS, ACCELERATOR_PAIRS = 1 << 19, 1 << 25
"""Pairs of Gaussians and points per chunk: about fifteen arrays of this size are held at once."""

Coefficients = dict[Index, Tensor]

NEGLIGIBLE = {torch.float32: -60.0, torch.float64: -600.0}
"""Exponents below are taken for −∞: denormal numbers are a hundred times slower to multiply."""


def _raised(index: Index, *axes: int) -> Index:
    return tuple(k + axes.count(a) for a, k in enumerate(index))


@dataclass(frozen=True)
class _Link:
    """One term of K: ``scale · coefficients[slot] · Π_i d^order_i e_column_i``, in front of ∂^β."""

    beta: Index
    slot: int | None
    scale: float
    circle: tuple[tuple[int, int], ...]


def _chain_rule(field: GaussianField, streams: Streams) -> list[list[_Link]]:
    """K by stream. A column of the embedding depends on one coordinate, linearly or as a circle."""
    lower, upper = field.embedding.lower, field.embedding.upper
    columns: list[list[int]] = [[] for _ in lower]
    for column, axis in enumerate(field.axes):
        columns[axis].append(column)
    links = []
    for stream in range(len(streams)):
        row: list[_Link] = []
        for index, slot in streams.terms(stream):
            items = [axis for axis, k in enumerate(index) for _ in range(k)]
            for partition in set_partitions(items):
                row += _products(partition, slot, columns, field, lower, upper)
        links.append(row)
    return links


def _products(
    partition: list[list[int]],
    slot: int | None,
    columns: list[list[int]],
    field: GaussianField,
    lower: Sequence[float],
    upper: Sequence[float],
) -> list[_Link]:
    """Π over the blocks of Σ over the columns that depend on the block's coordinate."""
    found = [_Link((0,) * field.dim, slot, 1.0, ())]
    for block in partition:
        axis = block[0]
        if any(other != axis for other in block):
            return []
        if axis in field.embedding.periodic:
            found = [
                _Link(_raised(f.beta, c), slot, f.scale, (*f.circle, (c, len(block))))
                for f in found
                for c in columns[axis]
            ]
            continue
        if len(block) > 1:
            return []
        (column,) = columns[axis]
        slope = 2.0 / (upper[axis] - lower[axis])
        found = [_Link(_raised(f.beta, column), slot, f.scale * slope, f.circle) for f in found]
    return found


class _Hermite:
    """The functions h_γ(z) at pairs of Gaussians and points, each formed once.

    Kept is h_γ / sign_γ, so that a step of the recurrence h_{γ+a} = −z_a h_γ − γ_a h_{γ−a} is a
    single operation.
    """

    def __init__(self, z: Sequence[Tensor], arena: Arena):
        self.z, self.arena = z, arena
        g = torch.mul(z[0], z[0], out=arena.empty(z[0]))
        for other in z[1:]:
            g.addcmul_(other, other)
        torch.threshold_(g.mul_(-0.5), NEGLIGIBLE[g.dtype], -math.inf).exp_()
        self.known: dict[Index, Tensor] = {(0,) * len(z): g}

    def __getitem__(self, index: Index) -> Tensor:
        if index not in self.known:
            axis = next(a for a, k in enumerate(index) if k)
            below = tuple(k - (a == axis) for a, k in enumerate(index))
            n, base = below[axis], self[below]
            out = self.arena.empty(base)
            if n == 0:
                torch.mul(base, self.z[axis], out=out)
            else:
                last = tuple(k - (a == axis) for a, k in enumerate(below))
                # H_{n+1} = z H_n − n H_{n−1} over −n times the scale of H_{n−1}
                ratio = _SCALE[n] / (n * _SCALE[n - 1])
                torch.addcmul(self[last], base, self.z[axis], value=-ratio, out=out)
            self.known[index] = out
        return self.known[index]


MAX_ORDER = 12
"""Highest order of a derivative; the reverse needs two more."""

_SCALE = [1.0, 1.0]
for _n in range(1, MAX_ORDER + 2):
    _SCALE.append(-_n * _SCALE[_n - 1])


def _sign(index: Index) -> float:
    """h_γ over what `_Hermite` keeps of it."""
    return math.prod((-1.0) ** k * _SCALE[k] for k in index)


@dataclass
class _Work:
    """What the reverse needs of one chunk."""

    hermite: _Hermite
    factors: Tensor
    expansions: dict[Index, Coefficients]
    chain: list[list[tuple[Index, Any]]]
    head: Tape | None


class GaussianPass:
    """Streams of a Gaussian field on a chunk of points, and the way back.

    Parameters
    ----------
    field : its parameters are read at every call; those without ``requires_grad`` stay fixed.
    streams : what travels.
    """

    engine = "Gaussians in closed form, hand-written reverse"

    def __init__(self, field: GaussianField, streams: Streams):
        self.field, self.streams = field, streams
        self.parameters = [p for p in field.parameters() if p.requires_grad]
        own = field.named_parameters(recurse=False)
        self.names = [name for name, parameter in own if parameter.requires_grad]
        self.links = _chain_rule(field, streams)
        self.betas = sorted({link.beta for row in self.links for link in row})
        self.head = None if field.mlp is None else DensePass(field.mlp, streams)
        dim = field.dim
        diagonal = field.covariance == "diagonal"
        self.pairs = [(a, b) for a in range(dim) for b in range(a, dim) if a == b or not diagonal]

    def chunk(self, points: Tensor) -> int | None:
        """Points that are taken at once: many on accelerators, few where caches are small."""
        pairs = PAIRS if points.device.type == "cpu" else ACCELERATOR_PAIRS
        return max(64, pairs // (self.field.channels * self.field.n))

    def _chain(
        self, points: Tensor, coefficients: Sequence[Coefficient]
    ) -> list[list[tuple[Index, Any]]]:
        """K of every stream: pairs of β and a number or one value per point (n,)."""
        circles: dict[tuple[int, int], Tensor] = {}
        lower, upper = self.field.embedding.lower, self.field.embedding.upper
        axes = self.field.axes

        def derivative(column: int, order: int) -> Tensor:
            if (column, order) not in circles:
                a, b = lower[axes[column]], upper[axes[column]]
                rate = 2.0 * math.pi / (b - a)
                phase = (points[:, axes[column]] - 0.5 * (a + b)) * rate
                sine = column > 0 and axes[column - 1] == axes[column]
                quarter = (order - sine) % 4
                values = (torch.cos, lambda p: -torch.sin(p), lambda p: -torch.cos(p), torch.sin)
                circles[column, order] = rate**order * values[quarter](phase)
            return circles[column, order]

        chain = []
        for row in self.links:
            sums: dict[Index, Any] = {}
            for link in row:
                value: Any = link.scale
                if link.slot is not None:
                    slot = coefficients[link.slot]
                    value = value * (slot.reshape(-1) if isinstance(slot, Tensor) else slot)
                for column, order in link.circle:
                    value = value * derivative(column, order)
                sums[link.beta] = sums.get(link.beta, 0.0) + value
            chain.append(list(sums.items()))
        return chain

    def _expansions(self, factors: Tensor) -> dict[Index, Coefficients]:
        """C_βγ times the sign of h_γ apart: β -> {γ: (M,)}, from Π_j (Σ_a A_aj ∂_a)^β_j."""
        one = factors.new_ones(factors.shape[0])
        diagonal = self.field.covariance == "diagonal"
        found = {}
        for beta in self.betas:
            terms = {(0,) * self.field.dim: one}
            for j, power in enumerate(beta):
                for _ in range(power):
                    raised: Coefficients = {}
                    for index, value in terms.items():
                        for a in (j,) if diagonal else range(self.field.dim):
                            key = _raised(index, a)
                            product = value * factors[:, a, j]
                            raised[key] = raised[key] + product if key in raised else product
                    terms = raised
            found[beta] = terms
        return found

    @torch.no_grad()
    def forward(
        self, features: Tensor, coefficients: Sequence[Coefficient], arena: Arena
    ) -> tuple[Tensor, _Work]:
        """Streams of the field, (streams, n, m); the points are ``features[0]``.

        Output and tape live in the arena: they are valid until its reset.
        """
        field = self.field
        points = features[0]
        factors = field.factors().flatten(0, 1)
        hermite = _Hermite(self._offsets(points, factors, arena), arena)
        work = _Work(
            hermite, factors, self._expansions(factors), self._chain(points, coefficients), None
        )
        k, n = field.channels, len(points)
        weights = field.weights.flatten(0, 1)
        partials = {}
        for beta, expansion in work.expansions.items():
            total = points.new_zeros(k, weights.shape[1], n)
            for gamma, c in expansion.items():
                left = (weights * (_sign(gamma) * c)[:, None]).unflatten(0, (k, -1)).mT
                total.baddbmm_(left, hermite[gamma].unflatten(0, (k, -1)))
            partials[beta] = total
        out = points.new_zeros(len(self.streams), k, weights.shape[1], n)
        for stream, row in enumerate(work.chain):
            for beta, value in row:
                out[stream] += partials[beta] * value
        if self.head is None:
            return out.mean(1).mT, work
        result, work.head = self.head.forward(out[:, :, 0].mT.contiguous(), coefficients, arena)
        return result, work

    def _offsets(self, points: Tensor, factors: Tensor, arena: Arena) -> list[Tensor]:
        """z_a, (M, n) each."""
        e = self.field.embedding(points)
        means = self.field.means.flatten(0, 1)
        shift = (factors @ means[..., None])[..., 0]
        found = []
        for a in range(self.field.dim):
            out = arena.empty(factors, (factors.shape[0], len(points)))
            if self.field.covariance == "diagonal":
                torch.addcmul(-shift[:, a, None], factors[:, a, a, None], e[:, a], out=out)
            else:
                torch.addmm(-shift[:, a, None], factors[:, a], e.T, out=out)
            found.append(out)
        return found

    def _shape_generators(self, factors: Tensor) -> dict[str, Tensor]:
        """B = ∂A/∂θ A⁻¹ by the widths and by the further numbers of a shape, (M, d, d, numbers)."""
        field = self.field
        slopes = field.width_slopes().flatten(0, 1)
        if field.covariance == "diagonal":
            return {"widths": torch.diag_embed(torch.diag_embed(slopes))}
        factor = COVARIANCES[field.covariance].factor
        assert field.shape is not None
        inverse, shape = field.inverse_widths().flatten(0, 1), field.shape.flatten(0, 1)
        by_inverse, by_shape = torch.func.vmap(torch.func.jacfwd(factor, argnums=(0, 1)))(
            inverse, shape
        )
        by_widths = by_inverse * (inverse * slopes)[:, None, None]
        back = torch.linalg.inv(factors)
        return {
            name: torch.einsum("mact,mcb->mabt", slope, back)
            for name, slope in (("widths", by_widths), ("shape", by_shape))
        }

    def _pulled(self, adjoint: Tensor, work: _Work) -> Tensor:
        """Adjoint of every ∂_e^β φ, (betas, k, columns, n), from that of the output's streams."""
        field = self.field
        if self.head is None:
            pulled = (adjoint.mT / field.channels)[:, None].expand(-1, field.channels, -1, -1)
        else:
            assert work.head is not None and work.head.adjoint is not None
            first = self.head.parameters[0].detach()
            pulled = (work.head.adjoint @ first).mT[:, :, None]
        sums = adjoint.new_zeros(len(self.betas), *pulled.shape[1:])
        for stream, row in enumerate(work.chain):
            for beta, value in row:
                sums[self.betas.index(beta)] += pulled[stream] * value
        return sums

    def _by_parameters(
        self, work: _Work, derivative: Callable[..., Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        """Derivatives by the parameters that are trained, (M, numbers, …) each.

        ``derivative(*axes)`` is Σ_β adjoint_β ∂_axes ∂_e^β G, (M, columns, …).
        """
        value = derivative()
        shape = (*self.field.weights.shape[-1:], *([1] * (value.dim() - 2)))
        weights = self.field.weights.detach().reshape(-1, *shape)

        def weighted(part: Tensor) -> Tensor:
            return (part * weights).sum(1)

        if "means" in self.names:
            slopes = torch.stack([weighted(derivative(a)) for a in range(self.field.dim)], 1)
            yield "means", -torch.einsum("mal,ma...->ml...", work.factors, slopes)
        shapes = [name for name in ("widths", "shape") if name in self.names]
        if shapes:
            bends = torch.stack([weighted(derivative(a, b)) for a, b in self.pairs], 1)
            even = [p for p, (a, b) in enumerate(self.pairs) if a == b]
            bends[:, even] += weighted(value)[:, None]
            generators = self._shape_generators(work.factors)
            for name in shapes:
                both = generators[name] + generators[name].transpose(1, 2)
                parts = [both[:, a, b] * (0.5 if a == b else 1.0) for a, b in self.pairs]
                yield name, -torch.einsum("mpt,mp...->mt...", torch.stack(parts, 1), bends)
        if "weights" in self.names:
            yield "weights", value

    @torch.no_grad()
    def backward(self, adjoint: Tensor, work: _Work, gradients: Sequence[Tensor]) -> None:
        """Add the gradient of Σ adjoint·output to `gradients`, one per parameter."""
        field = self.field
        if self.head is not None:
            assert work.head is not None
            self.head.backward(adjoint, work.head, gradients[len(self.names) :])
        pulled = self._pulled(adjoint, work)
        k, columns = field.channels, pulled.shape[2]
        right = pulled.permute(1, 3, 0, 2).flatten(2).contiguous()
        products: dict[Index, Tensor] = {}

        def derivative(*axes: int) -> Tensor:
            total = right.new_zeros(k * field.n, columns)
            for number, beta in enumerate(self.betas):
                for gamma, c in work.expansions[beta].items():
                    index = _raised(gamma, *axes)
                    if index not in products:
                        h = work.hermite[index].unflatten(0, (k, -1))
                        products[index] = (h @ right).flatten(0, 1).mul_(_sign(index))
                    part = products[index][:, number * columns : (number + 1) * columns]
                    total.addcmul_(part, c[:, None])
            return total

        targets = dict(zip(self.names, gradients, strict=False))
        for name, found in self._by_parameters(work, derivative):
            targets[name].add_(found.reshape(targets[name].shape))

    @torch.no_grad()
    def jacobian(self, adjoint: Tensor, work: _Work, rows: Tensor) -> None:
        """Write ∂(Σ_s adjoint_s·output_s)/∂parameters per point into `rows`, (n, parameters)."""
        field = self.field
        sizes = [getattr(field, name).numel() for name in self.names]
        if self.head is not None:
            assert work.head is not None
            self.head.jacobian(adjoint, work.head, rows[:, sum(sizes) :])
        pulled = self._pulled(adjoint, work)
        k, columns, n = pulled.shape[1:]

        def derivative(*axes: int) -> Tensor:
            total = pulled.new_zeros(k, field.n, columns, n)
            for number, beta in enumerate(self.betas):
                for gamma, c in work.expansions[beta].items():
                    index = _raised(gamma, *axes)
                    scaled = (_sign(index) * c)[:, None] * work.hermite[index]
                    total.addcmul_(scaled.view(k, -1, 1, n), pulled[number][:, None])
            return total.flatten(0, 1)

        parts = dict(zip(self.names, rows[:, : sum(sizes)].split(sizes, 1), strict=True))
        for name, found in self._by_parameters(work, derivative):
            parts[name].copy_(found.permute(2, 0, 1).reshape(n, -1))


class _GaussianStreams(torch.autograd.Function):
    """The same pass as a differentiable torch function of the parameters."""

    @staticmethod
    def forward(ctx, gaussian_pass, features, coefficients, *parameters):
        out, ctx.work = gaussian_pass.forward(features, coefficients, Arena())
        ctx.gaussian_pass = gaussian_pass
        return out.contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, adjoint):
        gradients = [torch.zeros_like(p) for p in ctx.gaussian_pass.parameters]
        ctx.gaussian_pass.backward(adjoint.contiguous(), ctx.work, gradients)
        return None, None, None, *gradients


def gaussian_streams(
    field: GaussianField,
    points: Tensor,
    streams: Streams,
    coefficients: Sequence[Coefficient] = (),
) -> Tensor:
    """Value and derivatives of a Gaussian field in closed form.

    Parameters
    ----------
    field : the Gaussians.
    points : (n, d).
    streams : which derivatives, of any order.
    coefficients : of the merged operators, numbers or (n, 1).

    Returns
    -------
    (streams, n, m), once differentiable in the parameters of the field.
    """
    chosen = GaussianPass(field, streams)
    features = Jet.coordinates(points, streams, coefficients).data
    return _GaussianStreams.apply(chosen, features, coefficients, *chosen.parameters)
