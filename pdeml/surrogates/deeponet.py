"""DeepONet: an expansion whose coefficients come from the input, its functions from the point."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pdeml.errors import InvalidOption
from pdeml.surrogates.conditions import with_conditions
from pdeml.surrogates.unet import CONVOLUTIONS
from pdeml.surrogates.unit_grid import unit_grid

OUTPUTS = ("independent", "split_both", "split_branch", "split_trunk")
BRANCHES = ("mlp", "cnn")
FEATURES = ("plain", "periodic", "fourier")


class DeepONet(nn.Module):
    """Deep operator network.

        G(u)(y)_c = Σ_k b_ck(u) t_ck(y) + β_c,    k = 1 … p

    b, the branch, sees u at fixed sensors; t, the trunk, sees the point y. Aligned: all inputs of a
    batch are evaluated at the same points, and the trunk runs once. With a POD trunk the t_ck are
    the leading modes of the training outputs, and β their mean.

    Parameters
    ----------
    points : sensors: the points per axis of the grid, or the number of nodes of a mesh.
    in_channels : fields, parameters and time together; see `forward`.
    out_channels : number of components c.
    spatial_dims : of y; default: as many as points has numbers.
    mesh : the sensors are nodes of a mesh.
    basis : p.
    width, layers : of branch and trunk: hidden layers of so many units.
    branch : ``"mlp"`` on all sensor values, or ``"cnn"`` (strided convolutions; grids).
    features : what the trunk sees of y ∈ [0, 1]ᵈ: ``"plain"``, ``"periodic"`` (cos 2πk y_i,
        sin 2πk y_i, k ≤ harmonics: the output is periodic) or ``"fourier"`` (random frequencies of
        deviation scale).
    harmonics, scale : of the features; ``"fourier"`` draws `harmonics` frequencies per axis.
    outputs : how components share the networks: ``"independent"`` (networks of their own),
        ``"split_both"`` (p functions and coefficients each, of common networks), ``"split_branch"``
        (common functions) or ``"split_trunk"`` (common coefficients).
    pod : p POD modes of the training outputs in place of a trunk; call `fit_pod` before use.
        Needs the output on the sensors' grid.

    Raises
    ------
    InvalidOption
        An argument is not accepted, or the input does not fit.

    Notes
    -----
    ReLU and Glorot-normal start, the trunk with a last activation, as in DeepXDE's example of the
    antiderivative; `evaluate` takes the arrays of its ``TripleCartesianProd`` and ``Triple``.

    References
    ----------
    Lu, Jin, Pang, Zhang, Karniadakis (2021), Nature Machine Intelligence 3. Lu, Meng, Cai et al.
    (2022), Comput. Methods Appl. Mech. Eng. 393 (POD, multiple outputs, periodic features).
    """

    any_resolution = False
    frequencies: Tensor
    pod_modes: Tensor
    pod_mean: Tensor

    def __init__(
        self,
        points: int | Sequence[int],
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        spatial_dims: int | None = None,
        mesh: bool = False,
        basis: int = 40,
        width: int = 40,
        layers: int = 1,
        branch: str = "mlp",
        features: str = "plain",
        harmonics: int = 4,
        scale: float = 1.0,
        outputs: str = "split_branch",
        pod: bool = False,
    ):
        super().__init__()
        grid = (points,) if isinstance(points, int) else tuple(points)
        dims = spatial_dims or len(grid)
        for name, value, choices in (
            ("branch", branch, BRANCHES),
            ("features", features, FEATURES),
            ("outputs", outputs, OUTPUTS),
        ):
            if value not in choices:
                raise InvalidOption(
                    f"{name}={value!r} is not accepted. Give {', '.join(map(repr, choices))}."
                )
        if (len(grid) != 1 if mesh else len(grid) != dims) or min(grid) < 1:
            raise InvalidOption(
                f"points={points!r} do not fit spatial_dims={dims}, mesh={mesh}. Give the points "
                "of each axis of a grid, or the number of nodes of a mesh."
            )
        if mesh and branch == "cnn":
            raise InvalidOption("branch='cnn' needs a grid, not a mesh.")
        if min(basis, width, harmonics) < 1 or layers < 0:
            raise InvalidOption(
                f"basis={basis}, width={width}, harmonics={harmonics}, layers={layers}: give "
                "positive numbers; layers may be 0."
            )
        self.in_channels, self.out_channels, self.spatial_dims = in_channels, out_channels, dims
        self.points, self.mesh, self.features, self.harmonics = grid, mesh, features, harmonics
        self.pod, self.basis = pod, basis
        self.config: dict[str, Any] = {
            "points": list(grid),
            "in_channels": in_channels,
            "out_channels": out_channels,
            "spatial_dims": dims,
            "mesh": mesh,
            "basis": basis,
            "width": width,
            "layers": layers,
            "branch": branch,
            "features": features,
            "harmonics": harmonics,
            "scale": scale,
            "outputs": outputs,
            "pod": pod,
        }
        hidden = [width] * layers
        sensors = in_channels * math.prod(grid)
        coordinates = {"plain": dims}.get(features, 2 * dims * harmonics)

        def new_branch(size: int) -> nn.Module:
            if branch == "cnn":
                return _cnn(in_channels, grid, width, size)
            return nn.Sequential(nn.Flatten(), _mlp([sensors, *hidden, size]))

        def new_trunk(size: int) -> nn.Module:
            return nn.Sequential(_mlp([coordinates, *hidden, size]), nn.ReLU())

        if outputs == "independent":
            self.branch = nn.ModuleList(new_branch(basis) for _ in range(out_channels))
            trunks = [new_trunk(basis) for _ in range(out_channels)]
        else:
            split = pod or outputs != "split_trunk"
            self.branch = nn.ModuleList([new_branch(basis * (out_channels if split else 1))])
            trunks = [new_trunk(basis * (1 if outputs == "split_branch" else out_channels))]
        self.trunk = nn.ModuleList([] if pod else trunks)
        if pod:
            count = math.prod(grid)
            self.register_buffer("pod_modes", torch.zeros(count, out_channels, basis))
            self.register_buffer("pod_mean", torch.zeros(out_channels, count))
        else:
            self.bias = nn.Parameter(torch.zeros(out_channels))
        if features == "fourier":
            drawn = scale * torch.randn(dims, dims * harmonics)
            self.register_buffer("frequencies", drawn)

    def forward(
        self,
        x: Tensor,
        *,
        coords: Tensor | None = None,
        params: Tensor | None = None,
        t: Tensor | None = None,
    ) -> Tensor:
        """Fields at the sensors to fields at the points.

        Parameters
        ----------
        x : (B, C, n_1 … n_d) on a grid, (B, N, C) on a mesh.
        coords : (Q, d) common to the batch, or (B, Q, d), in [0, 1]ᵈ; by default the points j/n of
            the grid. Needed on a mesh, unless the trunk is POD.
        params : (B, P), joined as constant channels.
        t : (B,), joined as a constant channel.

        Returns
        -------
        Tensor
            (B, out_channels, n_1 … n_d) on the grid; (B, Q, out_channels) at given points.
        """
        x = x.movedim(-1, 1) if self.mesh else x
        x = with_conditions(x, params, t, self.in_channels, len(self.points))
        if tuple(x.shape[2:]) != self.points:
            raise InvalidOption(
                f"x has {tuple(x.shape[2:])} points; the branch was built for {self.points}."
            )
        on_sensors = coords is None or self.pod
        if self.pod:
            y = self._on_pod_modes(x)
        else:
            y = self.evaluate(x, self._places(x, coords))
        if on_sensors and not self.mesh:
            return y.unflatten(2, self.points)
        return y.mT

    def evaluate(self, sensors: Tensor, points: Tensor) -> Tensor:
        """Outputs of sensor values at points.

        Parameters
        ----------
        sensors : (B, m), or (B, C, n_1 … n_d).
        points : aligned (Q, d); unaligned (B, Q, d), points of its own for each input.

        Returns
        -------
        Tensor (B, out_channels, Q)
        """
        coefficients = self._coefficients(sensors)
        features = self._features(points)
        functions = torch.cat([trunk(features) for trunk in self.trunk], -1)
        functions = functions.unflatten(-1, (-1, self.basis))
        functions = functions.expand(*points.shape[:-1], self.out_channels, self.basis)
        pattern = "bcp,qcp->bcq" if points.dim() == 2 else "bcp,bqcp->bcq"
        return torch.einsum(pattern, coefficients, functions) + self.bias[:, None]

    @torch.no_grad()
    def fit_pod(self, outputs: Tensor) -> None:
        """Take mean and leading modes from training outputs.

        Parameters
        ----------
        outputs : (S, out_channels, n_1 … n_d), or (S, N, out_channels) on a mesh; as normalised as
            what the model is to predict. More samples than modes.
        """
        if not self.pod:
            raise InvalidOption("fit_pod is for pod=True; this model has a trunk.")
        y = (outputs.movedim(-1, 1) if self.mesh else outputs).flatten(2).double()
        expected = (self.out_channels, math.prod(self.points))
        if tuple(y.shape[1:]) != expected or min(len(y) - 1, expected[1]) < self.basis:
            raise InvalidOption(
                f"outputs of shape {tuple(outputs.shape)} are given; {self.basis} modes need more "
                f"samples than that, of {expected[0]} channels on {expected[1]} points."
            )
        mean = y.mean(0)
        modes = torch.linalg.svd((y - mean).movedim(0, 1), full_matrices=False).Vh[:, : self.basis]
        # of unit mean square, so that coefficients are as large as fields
        self.pod_modes.copy_(modes.permute(2, 0, 1) * math.sqrt(expected[1]))
        self.pod_mean.copy_(mean)

    def _on_pod_modes(self, x: Tensor) -> Tensor:
        if not self.pod_modes.any():
            raise InvalidOption("the POD modes are not there yet: call fit_pod(training outputs).")
        return torch.einsum("bcp,qcp->bcq", self._coefficients(x), self.pod_modes) + self.pod_mean

    def _coefficients(self, sensors: Tensor) -> Tensor:
        """(B, out_channels, p)."""
        parts = torch.cat([branch(sensors) for branch in self.branch], -1)
        parts = parts.unflatten(-1, (-1, self.basis))
        return parts.expand(len(sensors), self.out_channels, self.basis)

    def _places(self, x: Tensor, coords: Tensor | None) -> Tensor:
        if coords is None:
            if self.mesh:
                raise InvalidOption("a DeepONet on a mesh needs coords of shape (B, N, d).")
            coords = unit_grid(self.points, x).flatten(0, -2)
        if coords.shape[-1] != self.spatial_dims or coords.dim() not in (2, 3):
            raise InvalidOption(
                f"coords of shape {tuple(coords.shape)} are given; accepted are (Q, "
                f"{self.spatial_dims}) and (B, Q, {self.spatial_dims})."
            )
        if coords.dim() == 3 and coords.stride(0) == 0:
            coords = coords[0]  # one set of points, expanded
        return coords.to(x.dtype)

    def _features(self, points: Tensor) -> Tensor:
        if self.features == "plain":
            return points
        if self.features == "periodic":
            k = torch.arange(1, self.harmonics + 1, device=points.device, dtype=points.dtype)
            phases = 2 * math.pi * (points[..., None] * k).flatten(-2)
        else:
            phases = 2 * math.pi * (points @ self.frequencies)
        return torch.cat([torch.cos(phases), torch.sin(phases)], -1)


def _mlp(sizes: Sequence[int]) -> nn.Module:
    """ReLU between linear layers."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [_glorot(nn.Linear(before, after)), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _cnn(channels: int, grid: Sequence[int], width: int, size: int) -> nn.Module:
    """Convolutions of stride 2 until at most 4 points per axis are left, then a linear layer."""
    conv, points = CONVOLUTIONS[len(grid) - 1], list(grid)
    layers: list[nn.Module] = []
    while max(points) > 4:
        layers += [_glorot(conv(channels, width, 3, stride=2, padding=1)), nn.ReLU()]
        channels, points = width, [-(-n // 2) for n in points]
    linear = _glorot(nn.Linear(channels * math.prod(points), size))
    return nn.Sequential(*layers, nn.Flatten(), linear)


def _glorot(layer: Any) -> Any:
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
