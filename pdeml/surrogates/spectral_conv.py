"""Convolution with a kernel whose lowest Fourier modes are learned, in 1, 2 and 3 dimensions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pdeml.errors import InvalidOption
from pdeml.surrogates.spectral_weights import CPWeight, DenseWeight, TuckerWeight
from pdeml.surrogates.truncated_fourier import from_low_modes, kept_modes, low_modes

FACTORIZATIONS = {"tucker": TuckerWeight, "cp": CPWeight}


class SpectralConv(nn.Module):
    """Multiplies the lowest Fourier modes of a periodic field by learned matrices.

        x̂ = F x,    ŷ_k = W_kᵀ x̂_k  for kept k, else 0,    y = F⁻¹ ŷ (+ b)

    F is normalised by 1/n, so that W does not depend on the grid: a band-limited field sampled on
    a finer grid gives the same field. Of the last axis the wave numbers 0 … ⌊m/2⌋ are kept, of the
    others −⌊m/2⌋ … ⌈m/2⌉ − 1, so that m counts both signs. A grid with fewer points than modes has
    only those that it resolves; a warning says so once.

    Parameters
    ----------
    in_channels, out_channels : of the field.
    n_modes : per axis; its length is the number of space dimensions, 1 to 3.
    bias : add a constant per output channel.
    separable : one complex factor per channel and mode instead of a matrix; needs as many channels
        out as in.
    factorization : None (every number of W), ``"tucker"`` or ``"cp"``.
    rank : fraction of the numbers of W that a factorization stores; of ``"tucker"`` also the ranks
        of (m_1 … m_d, C_in, C_out).
    init : of a whole weight, see `pdeml.surrogates.spectral_weights.DenseWeight`.

    Raises
    ------
    InvalidOption
        An argument is not accepted, or a field does not fit.

    Notes
    -----
    Computes in the precision of its weights, float32 or float64, under autocast too. Transforms of
    few modes are products with cosine and sine matrices, else fast transforms of the kept columns
    alone. The normalisation of the pair F, F⁻¹ cancels: weights that were learned with 1 on the way
    there and 1/n on the way back are used as they are.

    References
    ----------
    Li, Kovachki, Azizzadenesheli et al. (2021), Fourier neural operator, ICLR, eq. 4–5.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        n_modes: int | Sequence[int],
        *,
        bias: bool = False,
        separable: bool = False,
        factorization: str | None = None,
        rank: float | Sequence[int] = 0.1,
        init: str = "normal",
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.n_modes = (n_modes,) if isinstance(n_modes, int) else tuple(n_modes)
        if not 1 <= len(self.n_modes) <= 3 or min(self.n_modes) < 1:
            raise InvalidOption(
                f"n_modes={n_modes!r} is not accepted. Give 1 to 3 positive numbers, one per axis."
            )
        if separable and in_channels != out_channels:
            raise InvalidOption(
                f"separable=True needs out_channels = in_channels, not {in_channels} and "
                f"{out_channels}."
            )
        self.separable = separable
        channels = (in_channels,) if separable else (in_channels, out_channels)
        stored = (*self.n_modes[:-1], self.n_modes[-1] // 2 + 1)
        if factorization is None:
            self.weight: nn.Module = DenseWeight(stored, channels, init=init)
        elif factorization in FACTORIZATIONS:
            self.weight = FACTORIZATIONS[factorization](stored, channels, rank=rank)
        else:
            raise InvalidOption(
                f"factorization={factorization!r} is not accepted. Give None, "
                f"{' or '.join(map(repr, FACTORIZATIONS))}."
            )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self._warned = False

    def forward(self, x: Tensor) -> Tensor:
        """Field (B, C_in, n_1 … n_d) to field (B, C_out, n_1 … n_d)."""
        return self.channels_last(x.movedim(1, -1)).movedim(-1, 1)

    def channels_last(self, x: Tensor) -> Tensor:
        """The same for (B, n_1 … n_d, C_in), to (B, n_1 … n_d, C_out), contiguous."""
        points = x.shape[1:-1]
        if x.shape[-1] != self.in_channels or len(points) != len(self.n_modes):
            raise InvalidOption(
                f"a field with {x.shape[-1]} channels on {len(points)} axes is given; this layer "
                f"takes {self.in_channels} channels on {len(self.n_modes)} axes."
            )
        kept = kept_modes(points, self.n_modes)
        self._warn_of_small_grid(points)
        with torch.autocast(x.device.type, enabled=False):
            weight = self._weight_of(kept, points)
            real = weight.real.dtype
            if x.dtype == torch.float64 and real == torch.float32:
                raise InvalidOption("a float64 field meets float32 weights: use model.double().")
            modes = self._multiply(low_modes(x.to(real), kept), weight)
            if self.bias is not None:
                modes = modes + self._constant(kept)
            return from_low_modes(modes, kept, points)

    def _constant(self, kept: tuple[range, ...]) -> Tensor:
        """The bias as a coefficient of wave number 0, (m_1 … m_d, 1, C_out)."""
        assert self.bias is not None
        zero = [-ks.start for ks in kept]
        shape = (*map(len, kept), 1)
        place = torch.zeros(shape, device=self.bias.device, dtype=self.bias.dtype)
        place[tuple(zero)] = 1.0
        return place[..., None] * self.bias

    def _weight_of(self, kept: tuple[range, ...], points: Sequence[int]) -> Tensor:
        """Weights of the kept wave numbers, complex (m_1 … m_d, …)."""
        dtype = next(self.parameters()).dtype
        if dtype not in (torch.float32, torch.float64):
            raise InvalidOption(
                f"the weights of a Fourier layer are {dtype}: complex numbers need float32 or "
                "float64. Keep the model in float32 and use autocast."
            )
        weight = self.weight()
        if min(n - m for n, m in zip(points, self.n_modes, strict=True)) >= 0:
            return weight
        starts = [ks.start + m // 2 for ks, m in zip(kept[:-1], self.n_modes[:-1], strict=True)]
        index = [slice(s, s + len(ks)) for s, ks in zip([*starts, 0], kept, strict=True)]
        return weight[tuple(index)]

    def _multiply(self, modes: Tensor, weight: Tensor) -> Tensor:
        """One product of (B, C_in) with (C_in, C_out) per mode."""
        if self.separable:
            return modes * weight[..., None, :]
        batch = modes.shape[-2]
        product = torch.bmm(
            modes.reshape(-1, batch, self.in_channels),
            weight.reshape(-1, self.in_channels, self.out_channels),
        )
        return product.view(*modes.shape[:-1], self.out_channels)

    def _warn_of_small_grid(self, points: Sequence[int]) -> None:
        few = [n for n, m in zip(points, self.n_modes, strict=True) if n < m]
        if few and not self._warned:
            self._warned = True
            warnings.warn(
                f"a grid of {tuple(points)} points has fewer than the {self.n_modes} modes of this "
                "layer; those that it resolves are used.",
                stacklevel=2,
            )


class FactorizedSpectralConv(nn.Module):
    """A sum of convolutions along single axes (F-FNO): weights grow with Σ m_i instead of Π m_i.

        y = Σ_i F_i⁻¹ (W^i F_i x),    F_i the transform along axis i alone

    Parameters
    ----------
    in_channels, out_channels, n_modes, bias : as of `SpectralConv`; along each axis the wave
        numbers 0 … ⌊m/2⌋ have a matrix.

    References
    ----------
    Tran, Mathews, Xie, Ong (2023), Factorized Fourier neural operators, ICLR, eq. 8.
    """

    def __init__(
        self, in_channels: int, out_channels: int, n_modes: Sequence[int], *, bias: bool = False
    ):
        super().__init__()
        self.out_channels = out_channels
        self.axes = nn.ModuleList(
            SpectralConv(in_channels, out_channels, m, bias=bias and axis == 0)
            for axis, m in enumerate(n_modes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Field (B, C_in, n_1 … n_d) to field (B, C_out, n_1 … n_d)."""
        return self.channels_last(x.movedim(1, -1)).movedim(-1, 1)

    def channels_last(self, x: Tensor) -> Tensor:
        """The same for (B, n_1 … n_d, C_in), to (B, n_1 … n_d, C_out)."""
        if x.dim() != len(self.axes) + 2:
            raise InvalidOption(
                f"a field on {x.dim() - 2} axes is given; this layer takes {len(self.axes)}."
            )
        y = torch.zeros((), dtype=x.dtype, device=x.device)
        for axis, conv in enumerate(self.axes, 1):
            assert isinstance(conv, SpectralConv)
            line = x.movedim(axis, -2)
            part = conv.channels_last(line.flatten(0, -3)).view(*line.shape[:-1], self.out_channels)
            y = y + part.movedim(-2, axis)
        return y
