"""Fields given by Fourier modes in space, at any point: exact linear flows and stored frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pdeml.solvers.hermite import STENCIL, hermite_weights, stencil_start

CHUNK_ENTRIES = 2**22  # complex entries of the largest temporary


def powers(angle: Tensor, low: int, high: int) -> Tensor:
    """e^{ikθ} for k = low … high, shape (N, high − low + 1), by doubling (a product per entry)."""
    out = torch.polar(torch.ones_like(angle), low * angle)[:, None]
    while out.shape[1] < high - low + 1:
        size = out.shape[1]
        shift = torch.polar(torch.ones_like(angle), size * angle)[:, None]
        out = torch.cat([out, out[:, : high - low + 1 - size] * shift], dim=1)
    return out


class FourierBox(nn.Module):
    """What both kinds of field share: the box, the mode numbers, values from modes at points.

    Parameters
    ----------
    lower, lengths : of the periodic box.
    modes : (lowest, highest) mode number per axis; the last axis of a real field starts at 0.
    channels : number of fields m.
    real : whether the fields are real; the modes k > 0 of the last axis then count twice.
    """

    def __init__(
        self,
        lower: Sequence[float],
        lengths: Sequence[float],
        modes: Sequence[Sequence[int]],
        channels: int,
        real: bool,
    ):
        super().__init__()
        self.lower, self.lengths = tuple(lower), tuple(lengths)
        self.modes = tuple((int(low), int(high)) for low, high in modes)
        self.channels, self.real = channels, real

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(high - low + 1 for low, high in self.modes)

    def waves(self, points: Tensor) -> list[Tensor]:
        """e^{ikx} per axis, each (N, K_i); a real field's doubled modes are weighted here."""
        out = []
        for axis, (low, high) in enumerate(self.modes):
            angle = 2 * math.pi / self.lengths[axis] * (points[:, axis] - self.lower[axis])
            wave = powers(angle, low, high)
            if self.real and axis == len(self.modes) - 1:
                weight = torch.full((high - low + 1,), 2.0, dtype=angle.dtype, device=angle.device)
                weight[0] = 1.0
                wave = wave * weight
            out.append(wave)
        return out

    def contract(self, waves: Sequence[Tensor], modes: Tensor) -> Tensor:
        """Σ_k modes[c, k] e^{ikx_n}, shape (N, c), for modes common to all points, (c, *K)."""
        if self.real and len(waves) == 1:
            # one real matrix product: Re Σ c e = Σ (Re c Re e − Im c Im e)
            left = torch.view_as_real(waves[0]).flatten(1)
            return left @ torch.view_as_real(modes.conj().resolve_conj()).flatten(1).T
        partial = torch.tensordot(waves[0], modes, dims=([1], [1]))
        for wave in waves[1:]:
            partial = (
                partial
                * wave[:, None].reshape(wave.shape[0], 1, wave.shape[1], *[1] * (partial.dim() - 3))
            ).sum(2)
        return partial.real if self.real else partial


class LinearFlow(FourierBox):
    """u(x, t) = Σ_k c_k e^{L(k)(t − t0)} e^{ikx}: a linear equation without forcing, exact in time.

    Buffers: ``start`` (), ``coefficients`` and ``symbol`` (m, *K).
    """

    start: Tensor
    coefficients: Tensor
    symbol: Tensor

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        zeros = torch.zeros((self.channels, *self.shape), dtype=torch.complex128)
        self.register_buffer("start", torch.zeros((), dtype=torch.float64))
        self.register_buffer("coefficients", zeros)
        self.register_buffer("symbol", zeros.clone())

    def forward(self, points: Tensor) -> Tensor:
        elapsed = points[:, -1] - self.start
        # what has decayed below round-off everywhere is not summed
        alive = self.coefficients.abs() > 0
        decay = -self.symbol.real[alive]
        horizon = 40.0 / decay.min() if alive.any() and (decay > 0).all() else math.inf
        rows = torch.nonzero(elapsed <= horizon)[:, 0]
        dtype = points.dtype if self.real else self.coefficients.dtype
        out = torch.zeros((points.shape[0], self.channels), dtype=dtype, device=points.device)
        size = max(1, CHUNK_ENTRIES // self.coefficients.numel())
        parts = [self._flow(points[r], elapsed[r]) for r in rows.split(size) if len(r)]
        return out.index_copy(0, rows, torch.cat(parts)) if parts else out

    def _flow(self, points: Tensor, elapsed: Tensor) -> Tensor:
        time = elapsed.reshape(-1, *[1] * self.symbol.dim())
        terms = self.coefficients * torch.exp(self.symbol * time)
        for axis, wave in enumerate(self.waves(points)):
            shape = [wave.shape[0], 1, *[1] * len(self.modes)]
            shape[2 + axis] = wave.shape[1]
            terms = terms * wave.reshape(shape)
        total = terms.flatten(2).sum(-1)
        return total.real if self.real else total


class Frames(FourierBox):
    """Modes and their rates at F times; in between, the polynomial of degree 7 through four frames.

    Buffers: ``times`` (F,), ``values`` and ``rates`` (F, m, *K).
    """

    times: Tensor
    values: Tensor
    rates: Tensor

    def __init__(self, *args: Any, frames: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        zeros = torch.zeros((frames, self.channels, *self.shape), dtype=torch.complex128)
        self.register_buffer("times", torch.zeros(frames, dtype=torch.float64))
        self.register_buffer("values", zeros)
        self.register_buffer("rates", zeros.clone())

    def forward(self, points: Tensor) -> Tensor:
        count = self.times.shape[0]
        time = points[:, -1].detach().contiguous()
        first = stencil_start(self.times.to(time.dtype), time)
        order = torch.argsort(first, stable=True)
        width = 2 * min(STENCIL, count) * self.channels
        entries = max(sum(self.shape), width * self.values[0, 0].numel() // self.shape[0])
        size = max(1, CHUNK_ENTRIES // entries)
        chunks = [rows for rows in order.split(size) if len(rows)]
        if not chunks:
            dtype = points.dtype if self.real else points.dtype.to_complex()
            return torch.zeros((0, self.channels), dtype=dtype, device=points.device)
        parts = [self._interpolate(points[rows], first[rows]) for rows in chunks]
        return torch.cat(parts)[torch.argsort(order)]

    def _interpolate(self, points: Tensor, first: Tensor) -> Tensor:
        """Points sorted by their stencil: one contraction per stencil."""
        q = min(STENCIL, self.times.shape[0])
        nodes = self.times[first[:, None] + torch.arange(q, device=first.device)].to(points.dtype)
        weights = torch.cat(hermite_weights(nodes, points[:, -1]), dim=1)
        waves = self.waves(points)
        stencils, counts = torch.unique_consecutive(first, return_counts=True)
        done, parts = 0, []
        for start, n in zip(stencils.tolist(), counts.tolist(), strict=True):
            data = torch.cat([self.values[start : start + q], self.rates[start : start + q]])
            columns = self.contract([w[done : done + n] for w in waves], data.flatten(0, 1))
            columns = columns.reshape(n, 2 * q, self.channels)
            parts.append((weights[done : done + n, :, None] * columns).sum(1))
            done += n
        return torch.cat(parts)


class SpectralField(nn.Module):
    """The sum of an exact linear flow and stepped frames, either of which may be absent.

    The arguments are JSON data: they rebuild an empty module of the same shape. Modes and sums are
    complex128 whatever the dtype of the points, which the result takes.
    """

    def __init__(
        self,
        *,
        lower: Sequence[float],
        lengths: Sequence[float],
        channels: int,
        real: bool,
        linear_modes: Sequence[Sequence[int]] | None = None,
        frame_modes: Sequence[Sequence[int]] | None = None,
        frames: int = 0,
    ):
        super().__init__()
        box = {"lower": lower, "lengths": lengths, "channels": channels, "real": real}
        self.linear = LinearFlow(**box, modes=linear_modes) if linear_modes else None
        self.frames = Frames(**box, modes=frame_modes, frames=frames) if frame_modes else None

    def forward(self, points: Tensor) -> Tensor:
        exact = points.to(torch.float64)
        total = sum(part(exact) for part in (self.frames, self.linear) if part is not None)
        return total.to(points.dtype.to_complex() if total.is_complex() else points.dtype)
