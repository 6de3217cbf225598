"""Parameters and times as constant channels beside the fields."""

from __future__ import annotations

import torch
from torch import Tensor

from pdeml.errors import InvalidOption


def with_conditions(
    x: Tensor, params: Tensor | None, t: Tensor | None, in_channels: int, spatial_dims: int
) -> Tensor:
    """Fields with the channels that parameters and a time fill.

    Parameters
    ----------
    x : (B, C, n_1 … n_d).
    params : (B, P), or None.
    t : (B,), or None.
    in_channels : what C + P + 1 (with a time) must be.
    spatial_dims : d.

    Returns
    -------
    Tensor (B, in_channels, n_1 … n_d)

    Raises
    ------
    InvalidOption
        The channels or axes do not fit.
    """
    if x.dim() != spatial_dims + 2:
        raise InvalidOption(
            f"x of shape {tuple(x.shape)} is given; accepted is (batch, channels, "
            f"{spatial_dims} space axes)."
        )
    columns = [c if c.dim() == 2 else c[:, None] for c in (params, t) if c is not None]
    for column in columns:
        constant = column.to(x.dtype).reshape(*column.shape, *(1,) * spatial_dims)
        x = torch.cat([x, constant.expand(*column.shape, *x.shape[2:])], 1)
    if x.shape[1] != in_channels:
        given = f"{x.shape[1]} channels" + (" (parameters and time included)" if columns else "")
        raise InvalidOption(
            f"{given} are given; this model was built with in_channels={in_channels}, which counts "
            "fields, parameters and time."
        )
    return x
