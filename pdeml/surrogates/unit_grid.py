"""Coordinates of the points of a uniform grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def unit_grid(points: Sequence[int], like: Tensor) -> Tensor:
    """j/n on every axis, (n_1 … n_d, d): the end point is the first one of the next period."""
    axes = [torch.arange(n, device=like.device, dtype=torch.float64) / n for n in points]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).to(like.dtype)
