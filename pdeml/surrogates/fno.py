"""Fourier neural operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pdeml.errors import InvalidOption
from pdeml.surrogates.conditions import with_conditions
from pdeml.surrogates.spectral_conv import FactorizedSpectralConv, SpectralConv
from pdeml.surrogates.unit_grid import unit_grid

Convolution = SpectralConv | FactorizedSpectralConv


class FNO(nn.Module):
    """Fourier neural operator: convolutions over the whole domain between pointwise layers.

        x ← W₂ σ(W₁ [x, grid] + b₁) + b₂                          lifting, 2w → w
        y ← σ(K_l x + S_l x + c_l)                                K_l a spectral convolution
        x ← σ(M_l y + g_l x),    M_l y = A_l σ(B_l y + …) + …     w → w/2 → w, g_l per channel
        x ← P₂ σ(P₁ x + d₁) + d₂                                  projection, 2w → C_out

    σ = GELU, left out (both times) in the last of the L blocks. ``form="original"`` is that of
    2020: a linear lifting, blocks x ← σ(K_l x + S_l x + c_l) and a projection w → 128 → C_out.

    Parameters
    ----------
    n_modes : kept Fourier modes per axis, both signs counted; an int is the same for each axis. The
        last axis keeps 0 … ⌊m/2⌋. Good values: 16 to 32 in 1-D, 12 to 24 in 2-D, 8 in 3-D.
    in_channels : fields, parameters and time together; see `forward`.
    out_channels : of the prediction.
    spatial_dims : d; default: as many as n_modes has numbers, 1 for an int.
    width : w. Good values: 64 in 1-D, 32 in 2-D, 20 in 3-D.
    layers : L.
    form : ``"standard"`` or ``"original"``.
    grid : join the coordinates j/n of the axes to the input; False keeps the map equivariant to
        shifts.
    padding : zeros beside the lifted field where the domain is not periodic, removed before the
        projection: a number of points (int) or a fraction of the axis, half of it on each side
        (float); one for all axes or one per axis. Good value: 0.25.
    convolution : ``"dense"``, ``"tucker"`` or ``"cp"`` (weights as a small tensor of `rank`),
        ``"separable"`` (a factor per channel), ``"factorized"`` (F-FNO: axis by axis).
    rank : of ``"tucker"`` and ``"cp"``: the fraction of the numbers of the dense weights that is
        stored; for ``"tucker"`` also the ranks of (m_1 … m_d, C_in, C_out).
    init : of dense spectral weights: ``"normal"``, or ``"uniform"`` as in 2020.

    Raises
    ------
    InvalidOption
        An argument is not accepted, or the input does not fit.

    Notes
    -----
    Any grid is accepted, and a band-limited input sampled on another grid gives the same modes in
    each linear layer: a model may be trained on a coarse grid and used on a fine one.

    References
    ----------
    Li, Kovachki, Azizzadenesheli et al. (2021), Fourier neural operator, ICLR.
    Kossaifi et al. (2024), A library for learning neural operators (the standard form).
    Tran, Mathews, Xie, Ong (2023), Factorized Fourier neural operators, ICLR.
    """

    any_resolution = True

    def __init__(
        self,
        n_modes: int | Sequence[int] = 16,
        in_channels: int = 1,
        out_channels: int = 1,
        *,
        spatial_dims: int | None = None,
        width: int = 32,
        layers: int = 4,
        form: str = "standard",
        grid: bool = True,
        padding: int | float | Sequence[int | float] = 0,
        convolution: str = "dense",
        rank: float | Sequence[int] = 0.1,
        init: str = "normal",
    ):
        super().__init__()
        dims = spatial_dims or (1 if isinstance(n_modes, int) else len(n_modes))
        modes = (n_modes,) * dims if isinstance(n_modes, int) else tuple(n_modes)
        paddings = (padding,) * dims if isinstance(padding, int | float) else tuple(padding)
        if len(modes) != dims or len(paddings) != dims or not 1 <= dims <= 3:
            raise InvalidOption(
                f"n_modes={n_modes!r} and padding={padding!r} do not fit {dims} space dimensions. "
                "Give one number, or one per axis, of 1 to 3 axes."
            )
        if form not in FORMS:
            raise InvalidOption(f"form={form!r} is not accepted. Give {_choices(FORMS)}.")
        if convolution not in CONVOLUTIONS:
            raise InvalidOption(
                f"convolution={convolution!r} is not accepted. Give {_choices(CONVOLUTIONS)}."
            )
        if any(p < 0 for p in paddings) or width < 2 or layers < 1:
            raise InvalidOption(
                f"padding={padding!r}, width={width}, layers={layers}: padding must not be "
                "negative, width at least 2 and layers at least 1."
            )
        self.in_channels, self.out_channels, self.spatial_dims = in_channels, out_channels, dims
        self.grid, self.padding = grid, paddings
        self.config: dict[str, Any] = {
            "n_modes": list(modes),
            "in_channels": in_channels,
            "out_channels": out_channels,
            "spatial_dims": dims,
            "width": width,
            "layers": layers,
            "form": form,
            "grid": grid,
            "padding": list(paddings),
            "convolution": convolution,
            "rank": rank if isinstance(rank, int | float) else list(rank),
            "init": init,
        }
        lifted = in_channels + dims * grid
        self.lifting, block, hidden = FORMS[form](lifted, width)
        self.blocks = nn.ModuleList(
            block(
                width,
                _convolution(convolution, width, modes, rank=rank, init=init),
                last=layer == layers - 1,
            )
            for layer in range(layers)
        )
        self.projection = Pointwise(width, hidden, out_channels)

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
        points = x.shape[2:]
        x = x.movedim(1, -1)
        if self.grid:
            x = torch.cat([x, unit_grid(points, x).expand(*x.shape[:-1], -1)], -1)
        width = self.config["width"]
        x = in_rows(self.lifting, width, 2 * width, x)
        extra = [_extra(p, n) for p, n in zip(self.padding, points, strict=True)]
        if any(extra):
            # on a periodic domain only the sum of both sides matters
            x = F.pad(x, [0, 0, *(side for e in reversed(extra) for side in (0, e))])
        for block in self.blocks:
            x = block(x)
        if any(extra):
            x = x[(slice(None), *(slice(n) for n in points))]
        hidden = self.projection.first.out_features
        return in_rows(self.projection, self.out_channels, hidden, x).movedim(-1, 1)

    @classmethod
    def original(cls, modes: int, width: int, **options: Any) -> FNO:
        """The operator of 2020, in the terms of its paper.

        Parameters
        ----------
        modes : wave numbers per axis and sign: 0 … modes − 1 of the last axis, −modes … modes − 1
            of the others.
        width : w.
        **options : of `FNO`; spatial_dims is 1 by default.

        References
        ----------
        Li et al. (2021), §5: modes 16 and width 64 in 1-D, 12 and 32 in 2-D, 8 and 20 in 3-D.
        """
        dims = options.get("spatial_dims", 1)
        n_modes = (*(2 * modes,) * (dims - 1), 2 * modes - 1)
        return cls(n_modes, width=width, form="original", init="uniform", **options)

    @classmethod
    def from_neuraloperator(cls, state: Mapping[str, Any], **options: Any) -> FNO:
        """An operator with the weights of a neuraloperator 2.0 FNO or TFNO.

        See `pdeml.surrogates.neuraloperator.fno_from`.
        """
        from pdeml.surrogates.neuraloperator import fno_from

        return fno_from(state, **options)


FEW_CHANNELS = 16
"""Fewer inputs than this make products with them slow in one order of the factors."""

ROW_NUMBERS = 2**18
"""Hidden values that are worked on at a time in inference: a megabyte, which caches hold."""


def in_rows(pointwise: Callable[..., Tensor], width: int, hidden: int, *fields: Tensor) -> Tensor:
    """A function of the last axis of fields (B, n_1 … n_d, C), to `width` channels.

    Without gradients it goes over a few thousand points at a time: `hidden` channels of all points
    are never held, and what is held stays in the cache.
    """
    if torch.is_grad_enabled():
        return pointwise(*fields)
    flat = [field.flatten(0, -2) for field in fields]
    rows = max(1, ROW_NUMBERS // hidden)
    parts = zip(*(field.split(rows) for field in flat), strict=True)
    out: Tensor | None = None
    for number, part in enumerate(parts):
        y = pointwise(*part)
        if out is None:
            out = y.new_empty(len(flat[0]), width)
        out[number * rows : number * rows + len(y)] = y
    assert out is not None
    return out.view(*fields[0].shape[:-1], width)


class Pointwise(nn.Module):
    """x ← A σ(B x + b) + a on the last axis."""

    def __init__(self, width_in: int, hidden: int, width_out: int):
        super().__init__()
        self.first, self.second = nn.Linear(width_in, hidden), nn.Linear(hidden, width_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.gelu(self._hidden(x)))

    def _hidden(self, x: Tensor) -> Tensor:
        if self.first.in_features >= FEW_CHANNELS:
            return self.first(x)
        # Bᵀ in memory order: its gradient is then xᵀ g and not (gᵀ x)ᵀ, which is 8 times slower
        weight = self.first.weight.T.contiguous()
        y = torch.addmm(self.first.bias, x.flatten(0, -2), weight)
        return y.view(*x.shape[:-1], -1)


class Block(nn.Module):
    """y = σ(K x + S x + c),  x ← σ(M y + g x), on (B, n_1 … n_d, w)."""

    def __init__(self, width: int, convolution: Convolution, *, last: bool):
        super().__init__()
        self.convolution, self.skip = convolution, nn.Linear(width, width, bias=False)
        self.mlp = Pointwise(width, round(width / 2), width)
        self.gate = nn.Parameter(torch.ones(width))
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return in_rows(
            self._pointwise, x.shape[-1], x.shape[-1], self.convolution.channels_last(x), x
        )

    def _pointwise(self, y: Tensor, x: Tensor) -> Tensor:
        y = _plus_linear(y, x, self.skip.weight)
        y = self.mlp(y if self.last else F.gelu(y))
        y = torch.addcmul(y, x, self.gate)
        return y if self.last else F.gelu(y)


class OriginalBlock(nn.Module):
    """x ← σ(K x + S x + c), on (B, n_1 … n_d, w)."""

    def __init__(self, width: int, convolution: Convolution, *, last: bool):
        super().__init__()
        self.convolution, self.skip = convolution, nn.Linear(width, width, bias=False)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return in_rows(
            self._pointwise, x.shape[-1], x.shape[-1], self.convolution.channels_last(x), x
        )

    def _pointwise(self, y: Tensor, x: Tensor) -> Tensor:
        y = _plus_linear(y, x, self.skip.weight)
        return y if self.last else F.gelu(y)


def _plus_linear(y: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """y + x Wᵀ in one product, which starts from y instead of zero."""
    return torch.addmm(y.flatten(0, -2), x.flatten(0, -2), weight.T).view(y.shape)


def _standard(lifted: int, width: int) -> tuple[nn.Module, type[nn.Module], int]:
    return Pointwise(lifted, 2 * width, width), Block, 2 * width


def _original(lifted: int, width: int) -> tuple[nn.Module, type[nn.Module], int]:
    return nn.Linear(lifted, width), OriginalBlock, 128


FORMS = {"standard": _standard, "original": _original}
"""Lifting, block and hidden width of the projection, from channels and width."""

CONVOLUTIONS = ("dense", "tucker", "cp", "separable", "factorized")


def _convolution(
    kind: str, width: int, modes: Sequence[int], *, rank: float | Sequence[int], init: str
) -> Convolution:
    if kind == "factorized":
        return FactorizedSpectralConv(width, width, modes, bias=True)
    return SpectralConv(
        width,
        width,
        modes,
        bias=True,
        separable=kind == "separable",
        factorization=kind if kind in ("tucker", "cp") else None,
        rank=rank,
        init=init,
    )


def _extra(padding: int | float, points: int) -> int:
    """Points that are added to an axis."""
    return padding if isinstance(padding, int) else 2 * round(padding / 2 * points)


def _choices(names: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(map(repr, names))
