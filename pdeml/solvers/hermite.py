"""Interpolation in time between stored states: values and rates at a few times."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STENCIL = 4  # frames per interpolant: values and rates at four times give degree 7


def hermite_weights(nodes: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of values and of rates of the polynomial of degree 2q − 1 through q times.

    Parameters
    ----------
    nodes : (N, q), distinct in each row.
    time : (N,).

    Returns
    -------
    Two tensors (N, q):  H_i = (1 − 2 (t − t_i) l_i'(t_i)) l_i(t)²  and  K_i = (t − t_i) l_i(t)²,
    with the Lagrange polynomials l_i.
    """
    gap = time[:, None] - nodes
    span = nodes[:, :, None] - nodes[:, None, :]
    identity = torch.eye(nodes.shape[1], dtype=torch.bool, device=nodes.device)
    ratio = gap[:, None, :] / span.masked_fill(identity, 1.0)
    lagrange = ratio.masked_fill(identity, 1.0).prod(dim=-1)
    slope = (1 / span.masked_fill(identity, math.inf)).sum(dim=-1)
    square = lagrange**2
    return (1 - 2 * gap * slope) * square, gap * square


def stencil_start(times: Tensor, time: Tensor) -> Tensor:
    """First frame of the stencil around each time (N,), for increasing `times` (F,)."""
    interval = torch.searchsorted(times.contiguous(), time, right=True) - 1
    return (interval - (STENCIL // 2 - 1)).clamp(0, max(len(times) - STENCIL, 0))


def _midway_error(times: Tensor, values: Tensor, rates: Tensor, stride: int) -> float:
    """Largest relative error midway between every `stride`-th frame, against the frames there."""
    kept = torch.arange(0, len(times), stride, device=times.device)
    middle = kept[:-1] + stride // 2
    first = stencil_start(times[kept], times[middle])
    nodes = kept[first[:, None] + torch.arange(min(STENCIL, len(kept)), device=times.device)]
    weights, slopes = (w.to(values.dtype) for w in hermite_weights(times[nodes], times[middle]))
    scale = values.abs().pow(2).flatten(1).sum(1).max().sqrt().item() or 1.0
    worst = 0.0
    for place, node, weight, slope in zip(middle, nodes, weights, slopes, strict=True):
        guess = torch.tensordot(weight, values[node], 1) + torch.tensordot(slope, rates[node], 1)
        worst = max(worst, (guess - values[place]).abs().pow(2).sum().sqrt().item() / scale)
    return worst


def thinned(
    times: Tensor, values: Tensor, rates: Tensor, tol: float
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Drop frames while interpolation in time stays within the tolerance.

    Parameters
    ----------
    times : (F,), increasing.
    values, rates : (F, …), real or complex.
    tol : largest error midway between kept frames, relative to the largest state (Euclidean norm).

    Returns
    -------
    times, values, rates of the kept frames, and the estimated error between them.
    """
    error = math.nan
    for stride in (32, 16, 8, 4, 2):
        if (len(times) - 1) % stride or (len(times) - 1) // stride < STENCIL - 1:
            continue
        error = _midway_error(times, values, rates, stride)
        if error <= tol / 3:
            return times[::stride], values[::stride], rates[::stride], error
    return times, values, rates, error / 2.0 ** (2 * STENCIL - 1)
