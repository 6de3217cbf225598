"""Common grids over the bounding box of a domain, for comparison and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pdeml.domains import Box, SpaceTime
from pdeml.errors import InvalidOption


def is_box(domain: Any) -> bool:
    """Whether the domain, or its part in space, is a box."""
    return isinstance(domain.space if isinstance(domain, SpaceTime) else domain, Box)


def grid_axes(
    domain: Any, resolution: int | Sequence[int] | None, defaults: Mapping[int, int]
) -> list[Tensor]:
    """Grid points per coordinate over the bounding box, ends included; one point is the centre.

    Parameters
    ----------
    resolution : points per coordinate (an int, or one per coordinate).
    defaults : the same by number of coordinates, where `resolution` is None.

    Raises
    ------
    InvalidOption
        For anything else, or without a default.
    """
    if resolution is None:
        if domain.dim not in defaults:
            raise InvalidOption(
                f"A grid over {domain.dim} coordinates needs resolution=, points per coordinate."
            )
        resolution = defaults[domain.dim]
    if isinstance(resolution, Sequence):
        counts = list(resolution)
    else:
        counts = [resolution] * domain.dim
    if len(counts) != domain.dim or any(not isinstance(n, int) or n < 1 for n in counts):
        names = ", ".join(c.name for c in domain.coordinates)
        raise InvalidOption(
            f"resolution={resolution!r}: give a positive integer, or one per coordinate ({names})."
        )
    lower, upper = domain.bounds
    return [
        torch.linspace(a, b, n, dtype=torch.float64)
        if n > 1
        else torch.tensor([(a + b) / 2], dtype=torch.float64)
        for a, b, n in zip(lower, upper, counts, strict=True)
    ]


def grid_points(axes: Sequence[Tensor]) -> Tensor:
    """All combinations, (N, d), the last coordinate fastest."""
    return torch.stack([g.flatten() for g in torch.meshgrid(*axes, indexing="ij")], dim=1)


def trapezoid(axis: Tensor) -> Tensor:
    """Weights of the mean over an axis by the trapezoidal rule."""
    weights = torch.ones_like(axis)
    if len(axis) > 1:
        weights[0] = weights[-1] = 0.5
    return weights / weights.sum()
