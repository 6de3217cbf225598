"""Fewer points: striding, block means, or truncation of the Fourier series."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from pdeml.data.source import Axis
from pdeml.errors import InvalidOption

WAYS = ("stride", "spectral", "mean")


def factors(factor: int | Sequence[int], axes: Sequence[Axis]) -> tuple[int, ...]:
    """One whole factor per axis, each a divisor of its points.

    Raises
    ------
    InvalidOption
    """
    given = [factor] * len(axes) if isinstance(factor, int) else list(factor)
    if len(given) != len(axes) or any(
        isinstance(f, bool) or not isinstance(f, int) or f < 1 or len(a.points) % f
        for f, a in zip(given, axes, strict=False)
    ):
        points = "×".join(str(len(a.points)) for a in axes)
        raise InvalidOption(
            f"factor={factor!r}: give a whole number that divides the points ({points}), or one "
            "per axis."
        )
    return tuple(given)


def way(how: str | None, axes: Sequence[Axis]) -> str:
    """The way asked; by default ``"spectral"`` where every axis is periodic, else ``"stride"``.

    Raises
    ------
    InvalidOption
        Unknown, or spectral on an axis that is not periodic.
    """
    periodic = all(axis.periodic for axis in axes)
    if how is None:
        return "spectral" if periodic else "stride"
    if how not in WAYS:
        raise InvalidOption(f"how={how!r}: give one of {', '.join(WAYS)}.")
    if how == "spectral" and not periodic:
        names = ", ".join(axis.name for axis in axes if not axis.periodic)
        raise InvalidOption(
            f"how='spectral' needs periodic axes, and {names} is not known to be; use 'stride' or "
            "'mean'."
        )
    return how


def coarse_axes(axes: Sequence[Axis], factor: Sequence[int], how: str) -> tuple[Axis, ...]:
    """The axes that are left."""
    return tuple(
        dataclasses.replace(
            axis,
            points=axis.points.reshape(-1, f).mean(1) if how == "mean" else axis.points[::f],
        )
        for axis, f in zip(axes, factor, strict=True)
    )


def coarsened(values: Tensor, factor: Sequence[int], how: str) -> Tensor:
    """Values (…, *n) on n_i / factor_i points per axis.

    ``"stride"`` takes every f-th point, so that waves shorter than two of its steps turn up as
    longer ones (aliases); ``"mean"`` takes the mean of each block, at its centre; ``"spectral"``
    keeps the Fourier modes |m| < n/(2f), exact for what the coarse grid can hold.
    """
    first = values.dim() - len(factor)
    for axis, f in enumerate(factor, first):
        if f == 1:
            continue
        if how == "stride":
            values = values[(slice(None),) * axis + (slice(None, None, f),)]
        elif how == "mean":
            values = values.unflatten(axis, (-1, f)).mean(axis + 1)
        else:
            values = _truncated(values, axis, values.shape[axis] // f)
    return values.contiguous()


def _truncated(values: Tensor, axis: int, points: int) -> Tensor:
    """The Fourier series along an axis without its modes |m| ≥ points/2, on so many points."""
    kept = (points - 1) // 2
    if not values.is_complex():
        modes = torch.fft.rfft(values, dim=axis, norm="forward").narrow(axis, 0, kept + 1)
        return torch.fft.irfft(modes, n=points, dim=axis, norm="forward")
    modes = torch.fft.fft(values, dim=axis, norm="forward")
    n = values.shape[axis]
    low, high = modes.narrow(axis, 0, kept + 1), modes.narrow(axis, n - kept, kept)
    gap = list(modes.shape)
    gap[axis] = points - 2 * kept - 1
    return torch.fft.ifft(
        torch.cat([low, modes.new_zeros(gap), high], axis), dim=axis, norm="forward"
    )
