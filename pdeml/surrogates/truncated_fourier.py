"""The lowest Fourier modes of a periodic grid, and back, with channels last."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Kept = tuple[range, ...]
"""Wave numbers per axis, in rising order; of the last axis the non-negative ones."""

# A product with a matrix costs 4m operations per value on the last axis, a transform and its
# copies grow with log n: measured on one core, n = 32 … 8192, float32.
MATRIX_MODES, MATRIX_MODES_PER_DOUBLING = 9.0, 2.3


def kept_modes(points: Sequence[int], n_modes: Sequence[int]) -> Kept:
    """Wave numbers that a grid of so many points has among those asked for.

    Of an axis with n points and m modes: min(m, n) of them, −⌊m/2⌋ … ⌈m/2⌉ − 1; of the last axis
    0 … min(⌊m/2⌋, ⌊n/2⌋).
    """
    *leading, last = (min(m, n) for m, n in zip(n_modes, points, strict=True))
    halves = (range(-(m // 2), -(m // 2) + m) for m in leading)
    return (*halves, range(last // 2 + 1))


def matrices_pay(points: Sequence[int], kept: Kept) -> bool:
    """Whether products with matrices are faster than fast transforms for so few modes."""
    *leading, last = (
        len(k) / (MATRIX_MODES + MATRIX_MODES_PER_DOUBLING * math.log2(n))
        for n, k in zip(points, kept, strict=True)
    )
    return last <= 1 and all(m <= 2 for m in leading)


def low_modes(x: Tensor, kept: Kept) -> Tensor:
    """Fourier coefficients x̂_k = n⁻¹ Σ_j x_j exp(−2πi k·j/n) of the kept wave numbers.

    Parameters
    ----------
    x : real (B, n_1 … n_d, C), float32 or float64.
    kept : see `kept_modes`.

    Returns
    -------
    Tensor
        Complex, (m_1 … m_d, B, C).
    """
    points = x.shape[1:-1]
    if matrices_pay(points, kept) and _exact_products(x):
        return _low_modes_by_matrices(x, kept)
    axes = tuple(range(1, 1 + len(points)))
    z = torch.fft.rfft(x, dim=axes[-1], norm="forward").narrow(axes[-1], 0, len(kept[-1]))
    for axis, ks in zip(axes[:-1], kept[:-1], strict=True):
        z = torch.fft.fft(z, dim=axis, norm="forward")
        z = z.roll(-ks.start, axis).narrow(axis, 0, len(ks))
    return z.movedim(0, -2)


def from_low_modes(modes: Tensor, kept: Kept, points: Sequence[int]) -> Tensor:
    """Re Σ_k w_k ŷ_k exp(2πi k·j/n): the field of the coefficients.

    w = 2 for the wave numbers of the last axis that stand for both signs, 1 for 0 and n/2, whose
    imaginary parts are dropped.

    Parameters
    ----------
    modes : complex (m_1 … m_d, B, C).
    kept : see `kept_modes`.
    points : (n_1 … n_d).

    Returns
    -------
    Tensor
        Real, (B, n_1 … n_d, C), contiguous.
    """
    if matrices_pay(points, kept) and _exact_products(modes.real):
        return _from_low_modes_by_matrices(modes, kept, points)
    z = modes.movedim(-2, 0)
    axes = tuple(range(1, 1 + len(points)))
    for axis, ks, n in zip(axes[:-1], kept[:-1], points[:-1], strict=True):
        rest = list(z.shape)
        rest[axis] = n - len(ks)
        z = torch.cat([z, z.new_zeros(rest)], axis).roll(ks.start, axis)
        z = torch.fft.ifft(z, dim=axis, norm="forward")
    n = points[-1]
    real = torch.tensor([k == 0 or 2 * k == n for k in kept[-1]], device=z.device)
    # some libraries read these imaginary parts
    z = torch.complex(z.real, z.imag.masked_fill(real[:, None], 0.0))
    return torch.fft.irfft(z, n=n, dim=axes[-1], norm="forward").contiguous()


def _exact_products(x: Tensor) -> bool:
    """Whether matrix products keep float32: torch may be told to round their factors."""
    return x.dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest"


def _low_modes_by_matrices(x: Tensor, kept: Kept) -> Tensor:
    """As products with real matrices, axis by axis, the last one first.

    A pair (re, im) stands beside the axis that is transformed next, so that no product needs a
    permuted copy: (B, n_1, n_2, C) → (B, n_1, 2, m_2, C) → (B, 2, m_1, m_2, C).
    """
    batch, *points, channels = x.shape
    z, rest, pairs = x.contiguous(), channels, 1
    for axis in reversed(range(len(points))):
        n, ks = points[axis], kept[axis]
        matrix = _matrix(_analysis, n, ks, pairs, x)
        count = batch * math.prod(points[:axis])
        z = torch.bmm(matrix.expand(count, -1, -1), z.reshape(count, n * pairs, rest))
        rest, pairs = rest * len(ks), 2
    z = z.view(batch, 2, -1, channels).permute(2, 0, 3, 1)
    return torch.view_as_complex(z.contiguous()).view(*map(len, kept), batch, channels)


def _from_low_modes_by_matrices(modes: Tensor, kept: Kept, points: Sequence[int]) -> Tensor:
    batch, channels = modes.shape[-2:]
    z = torch.view_as_real(modes.reshape(-1, batch, channels)).permute(1, 3, 0, 2).contiguous()
    like = z
    for axis, (n, ks) in enumerate(zip(points, kept, strict=True)):
        pairs = 1 if axis == len(points) - 1 else 2
        matrix = _matrix(_synthesis, n, ks, pairs, like)
        count = batch * math.prod(points[:axis])
        rest = math.prod(map(len, kept[axis + 1 :])) * channels
        z = torch.bmm(matrix.expand(count, -1, -1), z.reshape(count, 2 * len(ks), rest))
    return z.view(batch, *points, channels)


Build = Callable[[int, range, int], Tensor]


def _matrix(build: Build, n: int, ks: range, pairs: int, like: Tensor) -> Tensor:
    """A matrix in the precision and on the device of a tensor; kept, but not while tracing."""
    if torch.compiler.is_compiling():
        return build(n, ks, pairs).to(like)
    return _stored(build, n, ks, pairs, like.dtype, like.device)


@functools.lru_cache(maxsize=256)
def _stored(
    build: Build, n: int, ks: range, pairs: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    with torch.inference_mode(False):  # it must serve training too
        return build(n, ks, pairs).to(device=device, dtype=dtype)


def _waves(n: int, ks: range) -> tuple[Tensor, Tensor]:
    """cos and sin of 2π k j/n, each (m, n), exact where they are 0."""
    turns = torch.outer(torch.tensor(ks), torch.arange(n)).remainder(n)
    angles = turns.double() * (2 * math.pi / n)
    return torch.cos(angles), torch.sin(angles).masked_fill(2 * turns % n == 0, 0.0)


def _analysis(n: int, ks: range, pairs: int) -> Tensor:
    """(2m, n · pairs): rows (re, im) × k; columns j, or j × (re, im) of complex values."""
    c, s = _waves(n, ks)
    if pairs == 1:
        return torch.cat([c, -s]) / n
    return torch.stack([torch.cat([c, -s]), torch.cat([s, c])], -1).flatten(1) / n


def _synthesis(n: int, ks: range, pairs: int) -> Tensor:
    """(n · pairs, 2m): columns (re, im) × k; rows j of real values, or j × (re, im)."""
    matrix = _analysis(n, ks, pairs).T * n
    if pairs == 1:
        weight = torch.tensor([1.0 if k == 0 or 2 * k == n else 2.0 for k in ks])
        matrix = matrix * torch.cat([weight, weight])
    return matrix.contiguous()
