"""U-Net on grids of any size, in 1, 2 and 3 dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pdeml.errors import InvalidOption
from pdeml.surrogates.conditions import with_conditions

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
POOLS = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class UNet(nn.Module):
    """Convolutions on coarser and coarser grids and back, with copies across each level.

        e_0 = E_0 x,   e_i = E_i pool₂(e_{i−1}),   d_L = e_L,   d_{i−1} = D_i [up₂(d_i), e_{i−1}]
        y = W d_0 (+ x)

    E, D = (3ᵈ convolution, norm, activation) twice; level i has w·2ⁱ channels. The defaults are the
    U-Net of PDEBench. ``block="convnext"`` takes ConvNeXt blocks: x + γ · A GELU(B LN(dw₇ x)).

    Parameters
    ----------
    in_channels : fields, parameters and time together; see `forward`.
    out_channels : of the prediction.
    spatial_dims : 1, 2 or 3.
    width : w of the finest level. Good values: 32; 42 for ConvNeXt.
    levels : L, how often the grid is halved. Grids that 2ᴸ does not divide are continued
        (periodically, else by their last value) and cut again.
    periodic : pad circularly; else with zeros.
    block : ``"conv"`` or ``"convnext"``.
    norm : of ``"conv"``: ``"batch"``, ``"group"`` (8 groups) or ``"none"``. A batch norm differs
        between training and evaluation, which drifts in roll-outs.
    activation : of ``"conv"``: ``"tanh"``, ``"gelu"``, ``"relu"`` or ``"silu"``.
    residual : add the first out_channels channels of the input.

    Raises
    ------
    InvalidOption
        An argument is not accepted, or the input does not fit.

    Notes
    -----
    The stencil belongs to the grid that the model was trained on: another resolution is another
    map. With ``periodic=True`` it commutes with shifts by 2ᴸ points.

    References
    ----------
    Ronneberger, Fischer, Brox (2015), MICCAI. Takamoto et al. (2022), PDEBench, NeurIPS. Liu et al.
    (2022), A ConvNet for the 2020s, CVPR; Ohana et al. (2024), The Well, NeurIPS.
    """

    any_resolution = False

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        spatial_dims: int = 2,
        width: int = 32,
        levels: int = 4,
        periodic: bool = False,
        block: str = "conv",
        norm: str = "batch",
        activation: str = "tanh",
        residual: bool = False,
    ):
        super().__init__()
        if spatial_dims not in (1, 2, 3) or width < 1 or levels < 1:
            raise InvalidOption(
                f"spatial_dims={spatial_dims}, width={width}, levels={levels}: give 1 to 3 space "
                "dimensions, and at least one channel and one level."
            )
        for name, value, choices in (
            ("block", block, BLOCKS),
            ("norm", norm, NORMS),
            ("activation", activation, ACTIVATIONS),
        ):
            if value not in choices:
                raise InvalidOption(
                    f"{name}={value!r} is not accepted. Give {', '.join(map(repr, choices))}."
                )
        if residual and in_channels < out_channels:
            raise InvalidOption(
                f"residual=True needs in_channels ≥ out_channels, not {in_channels} and "
                f"{out_channels}."
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.spatial_dims, self.levels = spatial_dims, levels
        self.periodic, self.residual = periodic, residual
        self.config: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "spatial_dims": spatial_dims,
            "width": width,
            "levels": levels,
            "periodic": periodic,
            "block": block,
            "norm": norm,
            "activation": activation,
            "residual": residual,
        }

        def stage(before: int, after: int) -> nn.Module:
            return BLOCKS[block](
                before, after, spatial_dims, periodic=periodic, norm=norm, activation=activation
            )

        channels = [width * 2**i for i in range(levels + 1)]
        self.down = nn.ModuleList(
            stage(*pair) for pair in zip([in_channels, *channels[:-1]], channels, strict=True)
        )
        pairs = list(zip(channels[1:], channels[:-1], strict=True))
        up = TRANSPOSED[spatial_dims - 1]
        self.up = nn.ModuleList(up(coarse, fine, 2, stride=2) for coarse, fine in pairs)
        self.merge = nn.ModuleList(stage(2 * fine, fine) for _, fine in pairs)
        self.head = CONVOLUTIONS[spatial_dims - 1](width, out_channels, 1)

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
        x : (B, C, n_1 … n_d).
        coords : not used; the grid is uniform.
        params : (B, P), joined as constant channels.
        t : (B,), joined as a constant channel.

        Returns
        -------
        Tensor (B, out_channels, n_1 … n_d)
        """
        x = with_conditions(x, params, t, self.in_channels, self.spatial_dims)
        points, kept = x.shape[2:], []
        y = self._continued(x)
        for level, stage in enumerate(self.down):
            y = stage(POOLS[self.spatial_dims - 1](y, 2) if level else y)
            kept.append(y)
        for level in reversed(range(self.levels)):
            y = self.merge[level](torch.cat([self.up[level](y), kept[level]], 1))
        y = self.head(y)[(..., *(slice(n) for n in points))]
        return y + x[:, : self.out_channels] if self.residual else y

    def _continued(self, x: Tensor) -> Tensor:
        """The field on a grid that 2ᴸ divides."""
        unit = 2**self.levels
        for axis in range(2, x.dim()):
            n = x.shape[axis]
            if n % unit:
                places = torch.arange(n + -n % unit, device=x.device)
                places = places % n if self.periodic else places.clamp(max=n - 1)
                x = x.index_select(axis, places)
        return x


def padding_mode(periodic: bool) -> Literal["circular", "zeros"]:
    """Of torch's convolutions."""
    return "circular" if periodic else "zeros"


NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "batch": lambda channels, dims: BATCH_NORMS[dims - 1](channels),
    "group": lambda channels, dims: nn.GroupNorm(8 if channels % 8 == 0 else 1, channels),
    "none": lambda channels, dims: nn.Identity(),
}


def conv_stage(
    before: int, after: int, dims: int, *, periodic: bool, norm: str, activation: str
) -> nn.Module:
    """(3ᵈ convolution, norm, activation) twice."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            CONVOLUTIONS[dims - 1](
                channels,
                after,
                3,
                padding=1,
                padding_mode=padding_mode(periodic),
                bias=norm == "none",  # a norm has its own
            ),
            NORMS[norm](after, dims),
            ACTIVATIONS[activation](),
        ]
    return nn.Sequential(*layers)


class ConvNeXtBlock(nn.Module):
    """x + γ · A GELU(B LN(dw₇ x)): a depthwise convolution, then pointwise layers 4 times as wide.

    γ, one factor per channel, starts at 1e-6: a new block is the identity.
    """

    def __init__(self, channels: int, dims: int, periodic: bool):
        super().__init__()
        self.depthwise = CONVOLUTIONS[dims - 1](
            channels, channels, 7, padding=3, groups=channels, padding_mode=padding_mode(periodic)
        )
        self.norm = nn.LayerNorm(channels)
        self.first, self.second = (
            nn.Linear(channels, 4 * channels),
            nn.Linear(4 * channels, channels),
        )
        self.scale = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self._convolved(x).movedim(1, -1))
        y = self.scale * self.second(F.gelu(self.first(y)))
        return x + y.movedim(-1, 1)

    def _convolved(self, x: Tensor) -> Tensor:
        """Grids of fewer than three points are repeated before they are padded circularly."""
        points = x.shape[2:]
        if self.depthwise.padding_mode == "zeros" or min(points) >= 3:
            return self.depthwise(x)
        y = self.depthwise(x.repeat(1, 1, *(-(-3 // n) for n in points)))
        return y[(..., *(slice(n) for n in points))]


def convnext_stage(
    before: int, after: int, dims: int, *, periodic: bool, norm: str, activation: str
) -> nn.Module:
    """A pointwise change of width, then two ConvNeXt blocks, which have their own norm."""
    return nn.Sequential(
        CONVOLUTIONS[dims - 1](before, after, 1),
        *(ConvNeXtBlock(after, dims, periodic) for _ in range(2)),
    )


BLOCKS: dict[str, Callable[..., nn.Module]] = {"conv": conv_stage, "convnext": convnext_stage}
