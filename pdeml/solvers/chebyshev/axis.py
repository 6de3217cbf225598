"""One axis of a collocation grid: points, differentiation matrices, quadrature, expansion.

A wall-bounded axis takes Chebyshev–Gauss–Lobatto points, if wanted through a map that crowds them
at thin layers; a periodic axis takes equidistant points and trigonometric interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

BISECTIONS = 60  # halvings of an interval until double precision is exhausted


def chebyshev_points(size: int) -> Tensor:
    """s_j = −cos(πj/n), j = 0 … n = size − 1, antisymmetric to the last bit."""
    n = size - 1
    return torch.sin(math.pi * torch.arange(-n, n + 1, 2, dtype=torch.float64) / (2 * n))


def chebyshev_matrices(size: int, order: int) -> list[Tensor]:
    """Differentiation matrices of order 0 … `order` at `chebyshev_points`, each (size, size).

        D_ij = C_ij / (s_i − s_j),    C_ij = (−1)^{i+j} c_i / c_j,    c = 2 at the ends, else 1
        D⁽ᵏ⁾_ij = k / (s_i − s_j) (C_ij D⁽ᵏ⁻¹⁾_ii − D⁽ᵏ⁻¹⁾_ij),    D⁽ᵏ⁾_ii = −Σ_{j≠i} D⁽ᵏ⁾_ij

    Notes
    -----
    Differences are products of sines and the lower half of the rows mirrors the upper, so that no
    digits cancel near either end; the diagonal is the negative sum of its row.

    References
    ----------
    Weideman, Reddy (2000), ACM Trans. Math. Softw. 26, 465; Baltensperger, Trummer (2003),
    SIAM J. Sci. Comput. 24, 1465.
    """
    n = size - 1
    j = torch.arange(size, dtype=torch.float64)
    half = math.pi / (2 * n)
    gap = 2 * torch.sin(half * (j[:, None] + j)) * torch.sin(half * (j[:, None] - j))
    upper = (j[:, None] < size / 2).expand(size, size)
    gap = torch.where(upper, gap, -gap.flip(0, 1))
    inverse = 1 / gap.fill_diagonal_(1.0)
    inverse.fill_diagonal_(0.0)
    end = torch.ones(size, dtype=torch.float64)
    end[0] = end[-1] = 2.0
    sign = 1 - 2 * (j % 2)
    ratio = (end * sign)[:, None] * (sign / end)
    found = [torch.eye(size, dtype=torch.float64)]
    for k in range(1, order + 1):
        matrix = k * inverse * (ratio * found[-1].diagonal()[:, None] - found[-1])
        matrix.fill_diagonal_(0.0)
        found.append(matrix - torch.diag(matrix.sum(1)))
    return found


def fourier_matrix(size: int, order: int) -> Tensor:
    """Derivative of the trigonometric interpolant at 2πj/size, (size, size)."""
    wave = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    modes = torch.fft.fft(torch.eye(size, dtype=torch.float64), dim=0)
    # the real part drops the odd derivatives of the highest mode of an even grid, as it must
    return torch.fft.ifft((1j * wave[:, None]) ** order * modes, dim=0).real.contiguous()


def clenshaw_curtis(size: int) -> Tensor:
    """Quadrature weights at `chebyshev_points`: exact for polynomials of degree size − 1."""
    n = size - 1
    k = torch.arange(0, size, 2, dtype=torch.float64)
    j = torch.arange(size, dtype=torch.float64)
    moment = 2 / (1 - k**2)
    moment[0] = 2.0
    weight = torch.where((k == 0) | (k == n), 1.0, 2.0) * moment / n
    total = (weight * torch.cos(math.pi * j[:, None] * k / n)).sum(1)
    total[0] /= 2
    total[-1] /= 2
    return total


def chebyshev_values(s: Tensor, size: int) -> Tensor:
    """T_0 … T_{size−1} at s, (N, size), by T_{m+j} = 2 T_m T_j − T_{m−j}: smooth at ±1 too."""
    out = torch.stack([torch.ones_like(s), s], dim=1)[:, :size]
    while out.shape[1] < size:
        m = out.shape[1] - 1
        count = min(m, size - 1 - m)
        more = 2 * out[:, m:] * out[:, 1 : count + 1] - out[:, m - count : m].flip(1)
        out = torch.cat([out, more], dim=1)
    return out


@dataclass(frozen=True)
class Axis:
    """A coordinate and its collocation points.

    Parameters
    ----------
    lower, upper : ends.
    size : number of points; a periodic axis leaves out the upper end.
    periodic : equidistant points and trigonometric interpolation.
    layers : (centre c, width ε) of thin layers at which the points crowd: T_k(S(x)) with

            S(x) = −1 + 2 (x̂ + Σ_j σ_j(x)) / (J + 1),    σ_j = asinh((x − c_j)/ε_j) on [0, 1]

    References
    ----------
    Tee, Trefethen (2006), SIAM J. Sci. Comput. 28, 1798 (the sinh map).
    """

    lower: float
    upper: float
    size: int
    periodic: bool = False
    layers: tuple[tuple[float, float], ...] = ()
    _matrices: dict[int, Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def length(self) -> float:
        return self.upper - self.lower

    def resized(self, size: int) -> Axis:
        """The same axis with another number of points."""
        return replace(self, size=size, _matrices={})

    def with_layers(self, layers: Sequence[tuple[float, float]]) -> Axis:
        """The same axis with points crowded at these layers."""
        return replace(self, layers=tuple(layers), _matrices={})

    def unit(self, x: Tensor) -> Tensor:
        """S(x) ∈ [−1, 1], or the angle of a periodic axis; smooth in x."""
        scaled = (x - self.lower) / self.length
        if self.periodic:
            return 2 * math.pi * scaled
        total = scaled
        for centre, width in self.layers:
            first, last = (math.asinh((e - centre) / width) for e in (self.lower, self.upper))
            total = total + (torch.asinh((x - centre) / width) - first) / (last - first)
        return 2 * total / (len(self.layers) + 1) - 1

    def _stretch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """S'(x) and S''(x)."""
        scale = 2 / (len(self.layers) + 1)
        slope = torch.full_like(x, scale / self.length)
        bend = torch.zeros_like(x)
        for centre, width in self.layers:
            first, last = (math.asinh((e - centre) / width) for e in (self.lower, self.upper))
            gap = (x - centre) / width
            root = torch.sqrt(1 + gap**2)
            slope = slope + scale / (last - first) / width / root
            bend = bend - scale / (last - first) / width**2 * gap / root**3
        return slope, bend

    @cached_property
    def nodes(self) -> Tensor:
        """Increasing points (size,)."""
        if self.periodic:
            step = torch.arange(self.size, dtype=torch.float64) / self.size
            return self.lower + self.length * step
        s = chebyshev_points(self.size)
        if not self.layers:
            x = (self.lower + self.upper) / 2 + self.length / 2 * s
        else:
            low, high = torch.full_like(s, self.lower), torch.full_like(s, self.upper)
            for _ in range(BISECTIONS):
                middle = (low + high) / 2
                below = self.unit(middle) < s
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            x = (low + high) / 2
        x[0], x[-1] = self.lower, self.upper
        return x

    def matrix(self, order: int) -> Tensor:
        """∂ᵏ/∂xᵏ of the interpolant at the nodes, (size, size)."""
        if order not in self._matrices:
            self._matrices[order] = self._differentiation(order)
        return self._matrices[order]

    def _differentiation(self, order: int) -> Tensor:
        if self.periodic:
            return fourier_matrix(self.size, order) * (2 * math.pi / self.length) ** order
        if not self.layers:
            return chebyshev_matrices(self.size, order)[order] * (2 / self.length) ** order
        if order > 2:
            return self.matrix(1) @ self.matrix(order - 1)
        plain = chebyshev_matrices(self.size, order)
        slope, bend = (v[:, None] for v in self._stretch(self.nodes))
        if order < 2:
            return slope**order * plain[order]
        return slope**2 * plain[2] + bend * plain[1]

    @cached_property
    def weights(self) -> Tensor:
        """Quadrature weights (size,); their sum is the length."""
        if self.periodic:
            return torch.full((self.size,), self.length / self.size, dtype=torch.float64)
        raw = clenshaw_curtis(self.size) / self._stretch(self.nodes)[0]
        return raw * self.length / raw.sum()

    @cached_property
    def transform(self) -> Tensor:
        """Values at the nodes → coefficients of `basis`, (size, size)."""
        k = torch.arange(self.size)
        if self.periodic:
            basis = self.basis(self.nodes)
            return (basis / (basis**2).sum(0)).T
        n = self.size - 1
        end = torch.ones(self.size, dtype=torch.float64)
        end[0] = end[-1] = 2.0
        # the reduced angle keeps the cosine exact for large k j
        cosine = torch.cos(math.pi / n * (k[:, None] * (n - k) % (2 * n)).double())
        return 2 / n * cosine / end[:, None] / end

    def basis(self, x: Tensor) -> Tensor:
        """Basis functions at x (N,), shape (N, size): T_k(S(x)), or 1, cos θ, sin θ, cos 2θ, …"""
        unit = self.unit(x)
        if not self.periodic:
            return chebyshev_values(unit, self.size)
        wave = torch.arange(1, self.size // 2 + 1, dtype=unit.dtype, device=unit.device)
        angle = unit[:, None] * wave
        pairs = torch.stack([torch.cos(angle), torch.sin(angle)], dim=2).flatten(1)
        return torch.cat([torch.ones_like(unit)[:, None], pairs], dim=1)[:, : self.size]

    def to_dict(self) -> dict[str, Any]:
        """JSON data; `from_dict` gives the axis back."""
        return {
            "lower": self.lower,
            "upper": self.upper,
            "size": self.size,
            "periodic": self.periodic,
            "layers": [list(layer) for layer in self.layers],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Axis:
        layers = tuple((centre, width) for centre, width in data["layers"])
        return cls(data["lower"], data["upper"], data["size"], data["periodic"], layers)
