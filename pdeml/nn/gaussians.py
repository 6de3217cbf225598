"""A field of trainable Gaussians, refined by a small network: a mesh that moves and can be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.nn.networks import MLP, CoordinateEmbedding

SMALLEST, LARGEST = 1e-3, 10.0
"""Range of log-parametrised widths, in half-lengths of the box."""

PAIRS_PER_BLOCK = 1 << 22
"""Pairs of points and Gaussians that are evaluated at once."""

MARGIN = 1.06
"""Half-length of the cube in which centres start: those outside carry the boundary values."""


def _diagonal(inverse: Tensor, shape: Tensor | None) -> Tensor:
    return torch.diag_embed(inverse)


def _from_angles(inverse: Tensor, shape: Tensor) -> Tensor:
    """diag(1/σ) Rᵀ with R of the direction (r1, r2) in the plane or of the quaternion in space."""
    unit = shape / torch.linalg.vector_norm(shape, dim=-1, keepdim=True)
    if unit.shape[-1] == 2:
        c, s = unit.unbind(-1)
        rows = torch.stack([c, s, -s, c], -1)
    else:
        w, x, y, z = unit.unbind(-1)
        transposed = [
            *(1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
            *(2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
            *(2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
        ]
        rows = torch.stack(transposed, -1)
    dim = inverse.shape[-1]
    return inverse[..., None] * rows.unflatten(-1, (dim, dim))


def _triangular(inverse: Tensor, shape: Tensor) -> Tensor:
    """Upper triangle with 1/σ on the diagonal: Lᵀ of the Cholesky factor of the precision."""
    dim = inverse.shape[-1]
    above = torch.ones(dim, dim, dtype=torch.bool, device=inverse.device).triu(1)
    # placed by a constant matrix, so that the map stays differentiable under vmap
    place = torch.zeros(int(above.sum()), dim * dim, dtype=inverse.dtype, device=inverse.device)
    place[torch.arange(len(place)), above.flatten().nonzero()[:, 0]] = 1.0
    return torch.diag_embed(inverse) + (shape @ place).unflatten(-1, (dim, dim))


@dataclass(frozen=True)
class _Covariance:
    """How a precision factor A, P = AᵀA, follows from widths and further numbers.

    Attributes
    ----------
    start : dimension -> the further numbers of an axis-parallel Gaussian.
    factor : (1/σ (..., d), further (..., s)) -> A (..., d, d).
    dimensions : for which it exists.
    """

    start: Callable[[int], list[float]]
    factor: Callable[[Tensor, Any], Tensor]
    dimensions: range


COVARIANCES: dict[str, _Covariance] = {
    "diagonal": _Covariance(lambda d: [], _diagonal, range(99)),
    "full": _Covariance(lambda d: [1.0] + [0.0] * (2 * d - 3), _from_angles, range(2, 4)),
    "cholesky": _Covariance(lambda d: [0.0] * (d * (d - 1) // 2), _triangular, range(2, 99)),
}


def low_discrepancy(n: int, dim: int, generator: torch.Generator) -> Tensor:
    """Points of the R sequence in [0, 1)^dim, shifted at random: k·(1/g, …, 1/g^d) mod 1.

    g is the root of g^(d+1) = g + 1, the golden ratio for d = 1.

    References
    ----------
    Roberts (2018), The unreasonable effectiveness of quasirandom sequences.
    """
    ratio = 2.0
    for _ in range(60):
        ratio = (1.0 + ratio) ** (1.0 / (dim + 1))
    steps = torch.tensor([ratio ** -(j + 1) for j in range(dim)], dtype=torch.float64)
    shift = torch.rand(dim, generator=generator, dtype=torch.float64)
    return (shift + torch.arange(n, dtype=torch.float64)[:, None] * steps).remainder(1.0)


@dataclass(frozen=True)
class Gaussians:
    """Trained Gaussians in the units of the coordinates.

    Attributes
    ----------
    means : (k, N, d).
    covariances : (k, N, d, d); of a periodic axis, where the circle is taken for its tangent.
    weights : (k, N, columns).
    """

    means: Tensor
    covariances: Tensor
    weights: Tensor


class GaussianField(nn.Module):
    """Sum of trainable anisotropic Gaussians, refined by a small MLP (PIG, eq. 4–6).

        φ_c(x) = Σ_i w_ci exp(−½ |A_ci (e(x) − μ_ci)|²),      u(x) = MLP(φ_1 … φ_k)

    e maps the box to [−1, 1]^d and a periodic axis to a circle. Without the MLP, u is the mean of
    the channels, each field with weights of its own: linear in w.

    Parameters
    ----------
    in_dim, out_dim : coordinates and fields.
    n, channels : Gaussians per channel, N, and channels, k; every channel has its own Gaussians.
    box : bounds (lower, upper) per coordinate.
    covariance : "diagonal"; "full" (rotated: an angle in the plane, a quaternion in space); or
        "cholesky" (any dimension).
    hidden : width of the MLP's one tanh layer; None for no MLP.
    sigma : widths at the start, in half-lengths of the box; default 2.5 mean distances.
    sigma_param : "log" trains log σ, clamped to [1e-3, 10]; "raw" trains σ itself, as published.
    periodic : numbers of the periodic coordinates.
    generator : of the start: low-discrepancy centres in the box and 6 % around it, w ~ N(0, 0.01).
    dtype : float64 by default.

    Raises
    ------
    InvalidOption
        For an argument out of its range; the message names it.

    References
    ----------
    Kang, Oh, Hong, Park (2025), PIG: Physics-Informed Gaussians as adaptive parametric mesh
    representations, ICLR.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        n: int,
        *,
        channels: int = 1,
        box: Sequence[tuple[float, float]] | None = None,
        covariance: str = "diagonal",
        hidden: int | None = 16,
        sigma: float | None = None,
        sigma_param: str = "log",
        periodic: Sequence[int] = (),
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        for name, count in (("n", n), ("channels", channels), ("hidden", hidden)):
            if name == "hidden" and count is None:
                continue
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise InvalidOption(f"{name}={count!r}; give a positive integer.")
        lower, upper = _checked_box(box, in_dim)
        self.embedding = CoordinateEmbedding(lower, upper, periodic=periodic)
        dim = self.embedding.out_features
        _check_covariance(covariance, dim)
        if sigma_param not in ("log", "raw"):
            raise InvalidOption(f"sigma_param={sigma_param!r}; accepted are 'log' and 'raw'.")
        if sigma is None:
            sigma = 2.5 * spacing(n, in_dim)
        if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not sigma > 0:
            raise InvalidOption(f"sigma={sigma!r}; give a positive width in half-lengths.")
        self.covariance, self.sigma_param = covariance, sigma_param
        self.channels, self.out_dim = channels, out_dim
        self.mlp = (
            MLP(channels, out_dim, depth=1, width=hidden, generator=generator, dtype=dtype)
            if hidden
            else None
        )
        centres = 2.0 * low_discrepancy(channels * n, in_dim, generator) - 1.0
        columns = 1 if hidden else out_dim
        draw = torch.randn((channels, n, columns), generator=generator, dtype=torch.float64)
        start = COVARIANCES[covariance].start(dim)
        width = math.log(sigma) if sigma_param == "log" else sigma
        self.means = nn.Parameter(
            self._embedded(centres).unflatten(0, (n, channels)).transpose(0, 1).contiguous()
        )
        self.widths = nn.Parameter(torch.full((channels, n, dim), width, dtype=torch.float64))
        further = torch.tensor(start, dtype=torch.float64).expand(channels, n, -1).clone()
        self.shape = nn.Parameter(further) if start else None
        self.weights = nn.Parameter(0.1 * draw)
        self.to(dtype)

    @property
    def n(self) -> int:
        """Gaussians per channel."""
        return self.means.shape[1]

    @property
    def dim(self) -> int:
        """Dimension of the embedded coordinates."""
        return self.means.shape[2]

    @property
    def axes(self) -> list[int]:
        """The coordinate that each embedded column depends on."""
        periodic = self.embedding.periodic
        pairs = [(a, a) if a in periodic else (a,) for a in range(len(self.embedding.lower))]
        return [axis for pair in pairs for axis in pair]

    def _embedded(self, unit: Tensor) -> Tensor:
        """Points of [−1, 1]^d as centres: a margin around the box, the circle where periodic."""
        columns = []
        for axis, column in enumerate(unit.unbind(-1)):
            if axis in self.embedding.periodic:
                columns += [torch.cos(math.pi * column), torch.sin(math.pi * column)]
            else:
                columns.append(MARGIN * column)
        return torch.stack(columns, -1)

    def inverse_widths(self) -> Tensor:
        """1/σ, (k, N, d)."""
        if self.sigma_param == "raw":
            return 1.0 / self.widths
        return torch.exp(-self.widths.clamp(math.log(SMALLEST), math.log(LARGEST)))

    def width_slopes(self) -> Tensor:
        """∂ log(1/σ) by the trained number of a width, (k, N, d)."""
        if self.sigma_param == "raw":
            return -1.0 / self.widths
        inside = (self.widths >= math.log(SMALLEST)) & (self.widths <= math.log(LARGEST))
        return torch.where(inside, -1.0, 0.0).to(self.widths)

    def factors(self) -> Tensor:
        """A of every Gaussian, (k, N, d, d)."""
        return COVARIANCES[self.covariance].factor(self.inverse_widths(), self.shape)

    def forward(self, x):
        """Values (n, out_dim) of points (n, in_dim); jets pass by their general rules."""
        if not isinstance(x, Tensor) or torch.is_grad_enabled():
            return self._whole(x)
        size = max(1, PAIRS_PER_BLOCK // (self.channels * self.n))
        return torch.cat([self._whole(part) for part in x.split(size)])

    def _whole(self, x):
        e = self.embedding(x)
        factors = self.factors().flatten(0, 1)
        offsets = (factors @ self.means.flatten(0, 1)[..., None])[..., 0]
        exponent: Any = 0.0
        for a in range(self.dim):
            z = nn.functional.linear(e, factors[:, a], -offsets[:, a])
            exponent = z * z + exponent
        bumps = torch.exp(exponent * -0.5)
        parts = [
            bumps[..., c * self.n : (c + 1) * self.n] @ self.weights[c]
            for c in range(self.channels)
        ]
        if self.mlp is not None:
            return self.mlp(torch.cat(parts, -1))
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total * (1.0 / self.channels)

    # ------------------------------------------------------------------------------- adaptivity

    @torch.no_grad()
    def prune(self, tolerance: float = 1e-6) -> int:
        """Remove Gaussians that contribute less than `tolerance` of the largest one.

        A contribution is |w| times the largest value of the Gaussian on the box. The channels stay
        of one length: as many go as every channel can spare.

        Returns
        -------
        int
            Gaussians removed per channel.
        """
        # a bound: the distance to the box over the largest standard deviation
        stiffness = torch.linalg.svdvals(self.factors())[..., -1]
        distance = self._excess().clamp_min(0.0).norm(dim=-1)
        largest = torch.exp(-0.5 * (stiffness * distance).square())
        size = self.weights.abs().amax(-1) * largest
        kept = int((size > tolerance * size.max()).sum(-1).max())
        removed = self.n - max(kept, 1)
        if removed:
            order = size.argsort(dim=-1, descending=True, stable=True)[:, : max(kept, 1)]
            self._select(order.sort(dim=-1).values)
        return removed

    def _own(self) -> list[nn.Parameter]:
        """The parameters of the Gaussians themselves, (k, N, …) each."""
        return list(self.parameters(recurse=False))

    def _select(self, chosen: Tensor) -> None:
        for parameter in self._own():
            index = chosen[..., None].expand(-1, -1, parameter.shape[-1])
            parameter.data = parameter.data.gather(1, index)
            parameter.grad = None

    @torch.no_grad()
    def split(self, points: Tensor, residual: Tensor, k: int) -> int:
        """Add `k` Gaussians of weight 0 where the residual is largest: the function stays.

        Each has half the width of the nearest Gaussian of its channel, and its rotation.

        Parameters
        ----------
        points : (n, in_dim) candidates.
        residual : (n,), its size there.
        k : Gaussians per channel.

        Returns
        -------
        int
            Gaussians added per channel.
        """
        k = min(k, len(points) // self.channels)
        top = residual.abs().topk(k * self.channels).indices
        centres = self.embedding(points[top]).unflatten(0, (k, self.channels)).transpose(0, 1)
        nearest = torch.cdist(centres, self.means).argmin(-1)[..., None]
        added = {
            name: parameter.gather(1, nearest.expand(-1, -1, parameter.shape[-1]))
            for name, parameter in self.named_parameters(recurse=False)
        }
        added["means"] = centres
        added["weights"] = torch.zeros_like(added["weights"])
        if self.sigma_param == "log":
            added["widths"] -= math.log(2.0)
        else:
            added["widths"] *= 0.5
        if self.covariance == "cholesky":
            added["shape"] *= 2.0
        for name, parameter in self.named_parameters(recurse=False):
            parameter.data = torch.cat([parameter.data, added[name]], 1)
            parameter.grad = None
        return k

    def _excess(self) -> Tensor:
        """How far each centre lies outside of [−1, 1], by column; 0 on the circles."""
        periodic = self.embedding.periodic
        kept = [0.0 if axis in periodic else 1.0 for axis in self.axes]
        return (self.means.abs() - 1.0) * self.means.new_tensor(kept)

    # ------------------------------------------------------------------------------- what it is

    @torch.no_grad()
    def gaussians(self) -> Gaussians:
        """Means, covariances and weights in the units of the coordinates."""
        inverse = torch.linalg.inv(self.factors())
        covariance = inverse @ inverse.mT
        lower, upper = self.embedding.lower, self.embedding.upper
        means, rows = [], []
        column = 0
        for axis, (a, b) in enumerate(zip(lower, upper, strict=True)):
            row = torch.zeros_like(self.means)
            if axis not in self.embedding.periodic:
                means.append(0.5 * (a + b) + 0.5 * (b - a) * self.means[..., column])
                row[..., column] = 0.5 * (b - a)
                column += 1
            else:
                c, s = self.means[..., column], self.means[..., column + 1]
                means.append(0.5 * (a + b) + torch.atan2(s, c) * (b - a) / (2 * math.pi))
                radius = torch.hypot(c, s).clamp_min(1e-12)
                row[..., column] = -s / radius * (b - a) / (2 * math.pi)
                row[..., column + 1] = c / radius * (b - a) / (2 * math.pi)
                column += 2
            rows.append(row)
        slopes = torch.stack(rows, -2)
        return Gaussians(
            torch.stack(means, -1), slopes @ covariance @ slopes.mT, self.weights.detach().clone()
        )

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """How well the Gaussians cover the box.

        Returns
        -------
        dict
            ``overlap``: mean number of Gaussians within √2 of the centre of one, in its own widths
            (0: isolated bumps); ``gram_condition``: of the matrix of values at the centres, the
            worst channel; ``smallest_width``, ``largest_width`` in half-lengths; ``outside``:
            centres that lie more than 3 widths outside of the box.
        """
        factors = self.factors()
        difference = self.means[:, :, None] - self.means[:, None]
        z = torch.einsum("knab,knmb->knma", factors, difference)
        gram = torch.exp(-0.5 * z.square().sum(-1))
        singular = torch.linalg.svdvals(gram)
        widths = 1.0 / self.inverse_widths().abs()
        beyond = self._excess()
        deviations = torch.linalg.inv(factors).square().sum(-1).sqrt()
        smallest = singular[:, -1].clamp_min(torch.finfo(gram.dtype).tiny)
        return {
            "overlap": float((gram > math.exp(-1.0)).sum(-1).double().mean()) - 1.0,
            "gram_condition": float((singular[:, 0] / smallest).max()),
            "smallest_width": float(widths.min()),
            "largest_width": float(widths.max()),
            "outside": float((beyond > 3.0 * deviations).any(-1).sum()),
        }

    @torch.no_grad()
    def offender(self) -> str:
        """The first Gaussian with a number that is not finite or a width of 0, in words."""
        bad = ~torch.isfinite(self.factors()).flatten(2).all(-1)
        for parameter in self._own():
            bad |= ~torch.isfinite(parameter).all(-1)
        if not bad.any():
            return ""
        c, i = bad.nonzero()[0].tolist()
        return (
            f"Gaussian {i} of channel {c} is not finite (centre {self.means[c, i].tolist()}, "
            f"{self.sigma_param} width {self.widths[c, i].tolist()}, weight "
            f"{self.weights[c, i].tolist()})."
        )


def spacing(n: int, dim: int) -> float:
    """Mean distance of n centres in the box [−1, 1]^dim."""
    return 2.0 / n ** (1.0 / dim)


def _checked_box(box: Sequence[tuple[float, float]] | None, dim: int) -> tuple[list[float], ...]:
    pairs = [] if box is None else [tuple(pair) for pair in box]
    good = len(pairs) == dim and all(
        len(p) == 2 and all(map(math.isfinite, p)) and p[0] < p[1] for p in pairs
    )
    if not good:
        raise InvalidOption(
            f"box={box!r}; give bounds (lower, upper) with lower < upper for each of the {dim} "
            "coordinates."
        )
    return [float(p[0]) for p in pairs], [float(p[1]) for p in pairs]


def _check_covariance(name: str, dim: int) -> None:
    if name not in COVARIANCES:
        raise InvalidOption(f"covariance={name!r}; accepted are {', '.join(COVARIANCES)}.")
    if dim not in COVARIANCES[name].dimensions:
        mend = "'diagonal'" if dim < 2 else "'cholesky'"
        raise UnsupportedProblem(
            f"covariance={name!r} does not exist for {dim} (embedded) coordinates; use {mend}."
        )
