"""Points of a periodic box, the Fourier modes that are kept on them, and the transforms between."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pdeml.operators.conservation import Index


class FourierGrid:
    """Equidistant points of a periodic box and Fourier modes û with u = Σ_k û_k e^{ikx}.

    Parameters
    ----------
    lower, lengths : left ends and lengths per axis.
    shape : points per axis (the left end is one, the right end is not).
    real : real states keep the half spectrum along the last axis.
    bounds : keep the modes with |index| < bound along each axis alone; the transforms skip the
        others. None keeps all.
    device, dtype : of the points, a real dtype.

    Attributes
    ----------
    numbers : kept mode numbers per axis, shaped to broadcast over the modes, in FFT order
        (0, 1, …, −2, −1); the last axis of a real state has 0, 1, … alone.
    """

    def __init__(
        self,
        lower: Sequence[float],
        lengths: Sequence[float],
        shape: Sequence[int],
        real: bool = True,
        bounds: Sequence[float] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ):
        self.lower, self.lengths, self.shape = tuple(lower), tuple(lengths), tuple(shape)
        self.real, self.device, self.dtype = real, torch.device(device), dtype
        self.dim = len(self.shape)
        self.axes = tuple(range(-self.dim, 0))
        # modes 0 … kept − 1 and −kept + 1 … −1; None where all are kept
        self.kept = None if bounds is None else tuple(math.ceil(b) for b in bounds)

        def along(axis: int, values: Tensor) -> Tensor:
            return values.reshape([-1 if i == axis else 1 for i in range(self.dim)])

        def numbers(axis: int, n: int) -> Tensor:
            half = real and axis == self.dim - 1
            frequency = torch.fft.rfftfreq if half else torch.fft.fftfreq
            all_numbers = frequency(n, d=1 / n, dtype=torch.float64, device=self.device).round()
            if self.kept is None:
                return all_numbers
            return all_numbers[all_numbers.abs() < self.kept[axis]]

        self.numbers = tuple(along(i, numbers(i, n)) for i, n in enumerate(self.shape))
        self.points = tuple(
            along(i, a + s / n * torch.arange(n, dtype=torch.float64, device=self.device)).to(dtype)
            for i, (a, s, n) in enumerate(zip(lower, lengths, shape, strict=True))
        )

    @property
    def modes(self) -> tuple[int, ...]:
        """Shape of the kept modes."""
        return tuple(torch.broadcast_shapes(*(k.shape for k in self.numbers)))

    def factor(self, index: Index) -> Tensor:
        """(ik)^α in complex128 on the kept modes; exactly real or imaginary.

        An odd derivative of the Nyquist mode of an even number of points is zero: the mode is
        cos(nx/2), whose derivative vanishes on every point.
        """
        factor = torch.ones(self.modes, dtype=torch.float64, device=self.device)
        for k, n, length, order in zip(self.numbers, self.shape, self.lengths, index, strict=True):
            along = (2 * math.pi / length * k) ** order
            if order % 2:
                along = torch.where(2 * k.abs() == n, 0.0, along)
            factor = factor * along
        return factor * (1, 1j, -1, -1j)[sum(index) % 4] + 0j

    def forward(self, values: Tensor, norm: str = "forward") -> Tensor:
        """Kept modes of values (…, *shape); the mean is the mode 0.

        With norm="backward" they are not divided by the number of points.
        """
        if self.kept is None:
            transform = torch.fft.rfftn if self.real else torch.fft.fftn
            return transform(values, dim=self.axes, norm=norm)
        last = torch.fft.rfft if self.real else torch.fft.fft
        modes = self._crop(last(values, dim=-1, norm=norm), self.dim - 1)
        for axis in range(self.dim - 2, -1, -1):
            modes = self._crop(torch.fft.fft(modes, dim=axis - self.dim, norm=norm), axis)
        return modes

    def inverse(self, modes: Tensor) -> Tensor:
        """Values (…, *shape) of kept modes.

        Only the lines that hold kept modes are transformed: two thirds of the work in two
        dimensions with the 2/3 rule.
        """
        if self.kept is None:
            if self.real:
                return torch.fft.irfftn(modes, s=self.shape, dim=self.axes, norm="forward")
            return torch.fft.ifftn(modes, dim=self.axes, norm="forward")
        for axis in range(self.dim - 1):
            # padding puts the axis last in memory, where the transform is fastest
            last = self._pad(modes.transpose(axis - self.dim, -1), axis)
            modes = torch.fft.ifft(last, norm="forward").transpose(axis - self.dim, -1)
        if self.real:
            return torch.fft.irfft(modes, n=self.shape[-1], norm="forward")
        return torch.fft.ifft(self._pad(modes, self.dim - 1), norm="forward")

    def _crop(self, modes: Tensor, axis: int) -> Tensor:
        """The kept modes along an axis."""
        assert self.kept is not None
        kept, dim = self.kept[axis], axis - self.dim
        low = modes.narrow(dim, 0, kept)
        if self.real and axis == self.dim - 1:
            return low
        high = modes.narrow(dim, modes.shape[dim] - kept + 1, kept - 1)
        return torch.cat([low, high], dim)

    def _pad(self, modes: Tensor, axis: int) -> Tensor:
        """Zeros for the modes of an axis that are not kept; the axis is the last one."""
        assert self.kept is not None
        kept, n = self.kept[axis], self.shape[axis]
        gap = modes.new_zeros((*modes.shape[:-1], n - 2 * kept + 1))
        return torch.cat([modes[..., :kept], gap, modes[..., kept:]], -1)

    def within(self, bounds: Sequence[float]) -> Tensor:
        """Kept modes with |index| < bound along every axis."""
        inside = torch.ones((), dtype=torch.bool, device=self.device)
        for k, bound in zip(self.numbers, bounds, strict=True):
            inside = inside & (k.abs() < bound)
        return inside

    def resample(self, modes: Tensor, source: FourierGrid) -> Tensor:
        """Modes (…, *modes) of another grid over this box: the common ones; the others are zero.

        A Nyquist mode, which only one of the grids can tell from its mirror image, is left out
        unless both grids are the same size.
        """
        for axis, (a, b) in enumerate(zip(source.shape, self.shape, strict=True)):
            numbers = self.numbers[axis].flatten().long().to(modes.device)
            places = {int(k): i for i, k in enumerate(source.numbers[axis].flatten().tolist())}
            found = [places.get(int(k), -1) for k in numbers.tolist()]
            where = torch.tensor(found, device=modes.device)
            kept = where >= 0
            if a != b:
                kept = kept & (2 * numbers.abs() < min(a, b))
            modes = modes.index_select(axis - self.dim, where.clamp(min=0))
            modes = modes * kept.reshape([-1 if i == axis else 1 for i in range(self.dim)])
        return modes

    def parseval(self) -> Tensor:
        """Weights w_k with mean |u|² = Σ w_k |û_k|², broadcasting over the modes."""
        last = self.numbers[-1]
        if not self.real:
            return torch.ones_like(last)
        nyquist = 2 * last == self.shape[-1]
        return torch.where((last > 0) & ~nyquist, 2.0, 1.0)
