"""Fields given by coefficients on a box, at any point: an expansion in space, frames in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pdeml.solvers.chebyshev.axis import Axis
from pdeml.solvers.hermite import STENCIL, hermite_weights, stencil_start

CHUNK_ENTRIES = 2**22  # entries of the largest temporary


class ChebyshevField(nn.Module):
    """u_c(x, t) = Σ_kl a_ckl(t) φ_k(x) ψ_l(y), φ and ψ the basis functions of the axes.

    In time, the polynomial of degree 7 through values and rates at four frames. The arguments are
    JSON data: they rebuild an empty module of the same shape. Sums are in float64 whatever the
    dtype of the points, which the result takes.

    Parameters
    ----------
    axes : data of `Axis.to_dict`, one per space coordinate.
    channels : number of fields m.
    frames : number of stored states F; 0 for a steady field.

    Attributes
    ----------
    coefficients : (m, *K) of a steady field.
    times, values, rates : (F,) and (F, m, *K) of the others.
    """

    coefficients: Tensor
    times: Tensor
    values: Tensor
    rates: Tensor

    def __init__(self, *, axes: Sequence[Mapping[str, Any]], channels: int, frames: int = 0):
        super().__init__()
        self.axes = tuple(Axis.from_dict(a) for a in axes)
        self.channels, self.frames = channels, frames
        shape = (channels, *(a.size for a in self.axes))
        if frames:
            self.register_buffer("times", torch.zeros(frames, dtype=torch.float64))
            for name in ("values", "rates"):
                zeros = torch.zeros((frames, *shape), dtype=torch.float64)
                self.register_buffer(name, zeros)
        else:
            self.register_buffer("coefficients", torch.zeros(shape, dtype=torch.float64))

    def forward(self, points: Tensor) -> Tensor:
        """(N, d) → (N, m)."""
        exact = points.to(torch.float64)
        if not self.frames:
            size = max(1, CHUNK_ENTRIES // self.coefficients.numel())
            parts = [_contract(self._bases(p), self.coefficients) for p in exact.split(size)]
            return torch.cat(parts).to(points.dtype)
        q = min(STENCIL, self.frames)
        first = stencil_start(self.times, exact[:, -1].detach().contiguous())
        order = torch.argsort(first, stable=True)
        size = max(1, CHUNK_ENTRIES // (2 * q * self.values[0].numel()))
        parts = [self._interpolate(exact[rows], first[rows]) for rows in order.split(size)]
        return torch.cat(parts)[torch.argsort(order)].to(points.dtype)

    def _bases(self, points: Tensor) -> list[Tensor]:
        return [axis.basis(points[:, i]) for i, axis in enumerate(self.axes)]

    def _interpolate(self, points: Tensor, first: Tensor) -> Tensor:
        """Points sorted by their stencil: one contraction per stencil."""
        q = min(STENCIL, self.frames)
        nodes = self.times[first[:, None] + torch.arange(q, device=first.device)]
        weights = torch.cat(hermite_weights(nodes, points[:, -1]), dim=1)
        bases = self._bases(points)
        stencils, counts = torch.unique_consecutive(first, return_counts=True)
        done, parts = 0, [points.new_zeros((0, self.channels))]
        for start, n in zip(stencils.tolist(), counts.tolist(), strict=True):
            data = torch.cat([self.values[start : start + q], self.rates[start : start + q]])
            columns = _contract([b[done : done + n] for b in bases], data.flatten(0, 1))
            columns = columns.reshape(n, 2 * q, self.channels)
            parts.append((weights[done : done + n, :, None] * columns).sum(1))
            done += n
        return torch.cat(parts)


def _contract(bases: Sequence[Tensor], coefficients: Tensor) -> Tensor:
    """Σ_kl a[c, k, l] φ_k ψ_l at every point, (N, c), for bases (N, K_i)."""
    total = torch.tensordot(bases[0], coefficients, dims=([1], [1]))
    for basis in bases[1:]:
        total = (total * basis[:, None, :]).sum(-1)
    return total


def kept_sizes(arrays: Sequence[Tensor], negligible: float, periodic: Sequence[bool]) -> list[int]:
    """Coefficients per axis of arrays (…, *K) that are not negligible in one of them."""
    dim = len(periodic)
    sizes = []
    for axis in range(dim):
        count = 1
        for array in arrays:
            size = array.abs().reshape(-1, *array.shape[-dim:]).amax(0)
            line = size.amax([a for a in range(dim) if a != axis]) if dim > 1 else size
            large = torch.nonzero(line > negligible * line.max())[:, 0]
            count = max(count, int(large[-1]) + 1 if len(large) else 1)
        # a sine stands beside its cosine
        even = periodic[axis] and count % 2 == 0
        sizes.append(min(count + even, arrays[0].shape[axis - dim]))
    return sizes


def cut(array: Tensor, sizes: Sequence[int]) -> Tensor:
    """The leading coefficients (…, *sizes)."""
    for axis, n in enumerate(sizes):
        array = array.narrow(axis - len(sizes), 0, n)
    return array.contiguous()
