"""Weights of neuraloperator 2.0 in the operators of pdeml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pdeml.errors import InvalidFile
from pdeml.surrogates.fno import FNO

KNOWN = re.compile(
    r"(lifting|projection)\.fcs\.[01]\.(weight|bias)"
    r"|fno_blocks\.convs\.\d+\.(bias|weight\.(tensor|core|factors\.factor_\d+))"
    r"|fno_blocks\.fno_skips\.\d+\.conv\.weight"
    r"|fno_blocks\.channel_mlp\.\d+\.fcs\.[01]\.(weight|bias)"
    r"|fno_blocks\.channel_mlp_skips\.\d+\.weight"
)
"""Names in the state of an FNO whose options are the defaults of that package."""


def fno_from(state: Mapping[str, Any], *, grid: bool = True, domain_padding: float = 0.0) -> FNO:
    """The same operator as ``neuralop.models.FNO`` of that package, by its weights.

    Parameters
    ----------
    state : ``model.state_dict()`` of that package; what is no tensor is not looked at. FNO and TFNO
        (Tucker), real data, its default options.
    grid : whether it has a positional embedding.
    domain_padding : its option of that name.

    Raises
    ------
    InvalidFile
        Weights of another model, or of options that pdeml does not have; they are named.

    Notes
    -----
    Both agree to rounding (1e-6 in float32) where every axis but the last has an even number of
    points; on others neuraloperator 2.0.0 shifts the modes by one place on the way back.

    References
    ----------
    Kossaifi et al. (2024), A library for learning neural operators.
    """
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    other = sorted(name for name in tensors if not KNOWN.fullmatch(name))
    if other or "fno_blocks.convs.0.bias" not in tensors:
        raise InvalidFile(
            "the state is none of a neuraloperator 2.0 FNO with its default options: "
            + (f"{', '.join(other[:4])} not expected." if other else "no spectral layers.")
            + " Norms, complex data, other skips and other factorizations are not supported."
        )
    layers = sum(1 for name in tensors if name.endswith("conv.weight"))
    width = len(tensors["fno_blocks.convs.0.bias"])
    dims = tensors["fno_blocks.convs.0.bias"].dim() - 1
    lifted, hidden = tensors["lifting.fcs.0.weight"].shape[1], tensors["projection.fcs.0.bias"]
    mlp = tensors["fno_blocks.channel_mlp.0.fcs.0.bias"]
    if len(hidden) != 2 * width or len(mlp) != round(width / 2):
        raise InvalidFile(
            f"the state has hidden widths {len(hidden)} and {len(mlp)}; supported are the default "
            f"ratios, {2 * width} and {round(width / 2)} for width {width}."
        )
    tucker = "fno_blocks.convs.0.weight.core" in tensors
    shape = _weight_shape(tensors, tucker)
    options: dict[str, Any] = {}
    if tucker:
        ranks = tensors["fno_blocks.convs.0.weight.core"].shape
        options = {"convolution": "tucker", "rank": [*ranks[2:], *ranks[:2]]}
    model = FNO(
        (*shape[2:-1], 2 * (shape[-1] - 1)),
        lifted - dims * grid,
        tensors["projection.fcs.1.weight"].shape[0],
        width=width,
        layers=layers,
        grid=grid,
        padding=2.0 * domain_padding,
        **options,
    )
    with torch.no_grad():
        model.load_state_dict(_renamed(tensors, layers, tucker))
    return model


def _weight_shape(tensors: Mapping[str, Tensor], tucker: bool) -> tuple[int, ...]:
    """(C_in, C_out, m_1 … m_d) of the spectral weights."""
    start = "fno_blocks.convs.0.weight."
    if not tucker:
        return tuple(tensors[start + "tensor"].shape)
    count = tensors[start + "core"].dim()
    return tuple(tensors[f"{start}factors.factor_{i}"].shape[0] for i in range(count))


def _renamed(tensors: Mapping[str, Tensor], layers: int, tucker: bool) -> dict[str, Tensor]:
    new = {}
    for part in ("lifting", "projection"):
        for old, name in enumerate(("first", "second")):
            new[f"{part}.{name}.weight"] = tensors[f"{part}.fcs.{old}.weight"][..., 0]
            new[f"{part}.{name}.bias"] = tensors[f"{part}.fcs.{old}.bias"]
    for i in range(layers):
        start, block = f"blocks.{i}", "fno_blocks"
        weight = f"{block}.convs.{i}.weight"
        if tucker:
            new |= _tucker(tensors, weight, f"{start}.convolution.weight")
        else:
            # channels come first there, last here
            dense = tensors[f"{weight}.tensor"].movedim((0, 1), (-2, -1))
            new[f"{start}.convolution.weight.value"] = torch.view_as_real(dense.contiguous())
        new[f"{start}.skip.weight"] = tensors[f"{block}.fno_skips.{i}.conv.weight"][..., 0]
        new[f"{start}.convolution.bias"] = tensors[f"{block}.convs.{i}.bias"].flatten()
        new[f"{start}.gate"] = tensors[f"{block}.channel_mlp_skips.{i}.weight"].flatten()
        for old, name in enumerate(("first", "second")):
            fcs = f"{block}.channel_mlp.{i}.fcs.{old}"
            new[f"{start}.mlp.{name}.weight"] = tensors[f"{fcs}.weight"][..., 0]
            new[f"{start}.mlp.{name}.bias"] = tensors[f"{fcs}.bias"]
    return new


def _tucker(tensors: Mapping[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    """Core and factors with the channels moved from the first two axes to the last two."""
    core = tensors[f"{old}.core"].movedim((0, 1), (-2, -1)).contiguous()
    found = {f"{new}.core": torch.view_as_real(core)}
    order = [*range(2, core.dim()), 0, 1]
    for place, axis in enumerate(order):
        factor = tensors[f"{old}.factors.factor_{axis}"].contiguous()
        found[f"{new}.factors.{place}"] = torch.view_as_real(factor)
    return found
