"""Transolver: attention among learned slices of the domain, on meshes and grids."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pdeml.errors import InvalidOption
from pdeml.surrogates.conditions import with_conditions
from pdeml.surrogates.unet import CONVOLUTIONS, padding_mode
from pdeml.surrogates.unit_grid import unit_grid


class Transolver(nn.Module):
    """Transformer whose tokens are weighted means over the domain, not its points.

    Per head, for features x_n of N points and learned weights s of G slices:

        s_n = softmax(L X_n / τ),   z_g = Σ_n s_ng F_n / (Σ_n s_ng + 1e-5)
        z' = softmax(Q z (K z)ᵀ / √d_h) V z,   out_n = Σ_g s_ng z'_g

    with X, F projections of x: pointwise on meshes, 3ᵈ convolutions on grids. Blocks
    x ← x + Attn(LN x), x ← x + MLP(LN x); the cost grows with N G, not N².

    Parameters
    ----------
    in_channels : fields, parameters and time together; see `forward`.
    out_channels : of the prediction.
    spatial_dims : 1, 2 or 3.
    mesh : points in any order with coordinates, instead of a grid.
    width, heads, layers, slices : d, h, number of blocks, G. Good values: 128, 8, 8, 64.
    mlp_ratio : hidden width of the MLPs over d.
    reference : points per axis of the reference grid on [0, 1]ᵈ; the distances of a point to them
        are its position. 0 takes the coordinates themselves.
    periodic : pad the convolutions of grids circularly.
    orthogonal : keep an orthogonal start of the projection L to the slices.

    Raises
    ------
    InvalidOption
        An argument is not accepted, or the input does not fit.

    Notes
    -----
    On meshes the output is permuted as the points are, and any number of points is accepted; the
    stencil of a grid belongs to the resolution of the training.

    References
    ----------
    Wu, Luo, Wang, Wang, Long (2024), Transolver, ICML, eq. 1–4.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        spatial_dims: int = 2,
        mesh: bool = False,
        width: int = 128,
        heads: int = 8,
        layers: int = 8,
        slices: int = 64,
        mlp_ratio: float = 1.0,
        reference: int = 8,
        periodic: bool = False,
        orthogonal: bool = False,
    ):
        super().__init__()
        if spatial_dims not in (1, 2, 3) or min(width, heads, layers, slices) < 1 or reference < 0:
            raise InvalidOption(
                f"spatial_dims={spatial_dims}, width={width}, heads={heads}, layers={layers}, "
                f"slices={slices}, reference={reference}: give 1 to 3 space dimensions and "
                "positive numbers; reference may be 0."
            )
        if width % heads:
            raise InvalidOption(f"width={width} is no multiple of heads={heads}.")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.spatial_dims, self.any_resolution = spatial_dims, mesh
        self.mesh, self.reference = mesh, reference
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "spatial_dims": spatial_dims,
            "mesh": mesh,
            "width": width,
            "heads": heads,
            "layers": layers,
            "slices": slices,
            "mlp_ratio": mlp_ratio,
            "reference": reference,
            "periodic": periodic,
            "orthogonal": orthogonal,
        }
        position = reference**spatial_dims if reference else spatial_dims
        self.embedding = _mlp(in_channels + position, 2 * width, width)
        self.shift = nn.Parameter(torch.rand(width) / width)
        self.blocks = nn.ModuleList(
            TransolverBlock(
                width,
                PhysicsAttention(width, heads, slices, 0 if mesh else spatial_dims, periodic),
                round(mlp_ratio * width),
            )
            for _ in range(layers)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, out_channels)
        slices_of = []
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif orthogonal and isinstance(module, PhysicsAttention):
                slices_of.append(module.slice)
        for layer in slices_of:
            nn.init.orthogonal_(layer.weight)

    def forward(
        self,
        x: Tensor,
        *,
        coords: Tensor | None = None,
        params: Tensor | None = None,
        t: Tensor | None = None,
    ) -> Tensor:
        """Fields to fields.

        Parameters
        ----------
        x : (B, C, n_1 … n_d) on a grid, (B, N, C) on a mesh.
        coords : (B, N, d) or (N, d) in [0, 1]ᵈ, needed on a mesh; on a grid j/n by default.
        params : (B, P), joined as constant channels.
        t : (B,), joined as a constant channel.

        Returns
        -------
        Tensor
            (B, out_channels, n_1 … n_d) on a grid, (B, N, out_channels) on a mesh.
        """
        if self.mesh:
            if x.dim() != 3 or coords is None:
                raise InvalidOption(
                    "a Transolver on a mesh takes x of shape (B, N, C) and coords (B, N, d); given "
                    f"are x {tuple(x.shape)} and coords={None if coords is None else 'a tensor'}."
                )
            x = with_conditions(x.movedim(-1, 1), params, t, self.in_channels, 1)
        else:
            x = with_conditions(x, params, t, self.in_channels, self.spatial_dims)
        points = x.shape[2:]
        if coords is None:
            coords = unit_grid(points, x).flatten(0, -2)
        tokens = x.flatten(2).mT
        position = self._position(coords.to(x.dtype)).expand(len(x), -1, -1)
        if position.shape[1] != tokens.shape[1]:
            raise InvalidOption(
                f"coords hold {position.shape[1]} points, x holds {tokens.shape[1]}."
            )
        y = self.embedding(torch.cat([position, tokens], -1)) + self.shift
        for block in self.blocks:
            y = block(y, points)
        y = self.head(self.norm(y))
        return y if self.mesh else y.mT.unflatten(2, points)

    def _position(self, coords: Tensor) -> Tensor:
        """Distances to the points of the reference grid, (…, N, rᵈ), or the coordinates."""
        if coords.shape[-1] != self.spatial_dims:
            raise InvalidOption(
                f"coords of shape {tuple(coords.shape)} are given; the last axis must have "
                f"{self.spatial_dims} coordinates."
            )
        if not self.reference:
            return coords
        line = torch.linspace(0, 1, self.reference, device=coords.device, dtype=coords.dtype)
        grid = torch.cartesian_prod(*[line] * self.spatial_dims).reshape(-1, self.spatial_dims)
        return (coords[..., None, :] - grid).square().sum(-1).sqrt()


def _mlp(before: int, hidden: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Linear(before, hidden), nn.GELU(), nn.Linear(hidden, after))


class TransolverBlock(nn.Module):
    """x ← x + Attn(LN x),  x ← x + MLP(LN x)."""

    def __init__(self, width: int, attention: nn.Module, hidden: int):
        super().__init__()
        self.attention, self.mlp = attention, _mlp(width, hidden, width)
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, points: tuple[int, ...]) -> Tensor:
        x = x + self.attention(self.before_attention(x), points)
        return x + self.mlp(self.before_mlp(x))


class PhysicsAttention(nn.Module):
    """Attention among G slices; the equations are in `Transolver`.

    Parameters
    ----------
    width, heads, slices : d, h, G.
    grid_dims : axes of the grid whose 3ᵈ convolutions project, 0 on a mesh.
    periodic : pad them circularly.
    """

    def __init__(self, width: int, heads: int, slices: int, grid_dims: int, periodic: bool):
        super().__init__()
        self.heads, self.grid_dims = heads, grid_dims
        if grid_dims:
            conv, mode = CONVOLUTIONS[grid_dims - 1], padding_mode(periodic)
            self.to_slices: nn.Module = conv(width, width, 3, padding=1, padding_mode=mode)
            self.to_values: nn.Module = conv(width, width, 3, padding=1, padding_mode=mode)
        else:
            self.to_slices, self.to_values = nn.Linear(width, width), nn.Linear(width, width)
        size = width // heads
        self.slice = nn.Linear(size, slices)
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), 0.5))
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.value = nn.Linear(size, size, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, points: tuple[int, ...]) -> Tensor:
        """(B, N, d) to (B, N, d)."""
        temperature: Tensor = self.temperature
        if self.grid_dims:
            x = x.mT.unflatten(2, points)
            temperature = temperature.clamp(0.1, 5.0)
        weight = torch.softmax(self.slice(self._per_head(self.to_slices(x))) / temperature, -1)
        tokens = weight.mT @ self._per_head(self.to_values(x))
        tokens = tokens / (weight.sum(-2)[..., None] + 1e-5)
        mixed = F.scaled_dot_product_attention(
            self.query(tokens), self.key(tokens), self.value(tokens),
            scale=1 / math.sqrt(tokens.shape[-1]),
        )  # fmt: skip
        return self.out((weight @ mixed).transpose(1, 2).flatten(2))

    def _per_head(self, x: Tensor) -> Tensor:
        """(B, N, d), or (B, d, n_1 … n_d) of a grid, to (B, h, N, d_h)."""
        tokens = x.flatten(2).mT if self.grid_dims else x
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)
