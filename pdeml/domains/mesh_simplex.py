"""Simplices: uniform points, quadrature, the nearest point."""

from __future__ import annotations

import itertools
from functools import cache
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from pdeml.errors import InvalidOption

MAX_DEGREE = 40


def simplex_weights(u: Tensor) -> Tensor:
    """Barycentric coordinates, uniform over a simplex, of uniform points of the unit cube.

        r_k = u_k^{1/(d−k)},    λ = (1 − r_0, r_0 (1 − r_1), r_0 r_1 (1 − r_2), …, r_0 ⋯ r_{d−1})

    The share of the simplex within r_0 of its first corner is r_0^d, and so on for the next ones.

    Parameters
    ----------
    u : shape (N, d).

    Returns
    -------
    Tensor, shape (N, d + 1)
    """
    d = u.shape[1]
    left = u.new_ones(len(u))
    weights = []
    for axis in range(d):
        ratio = u[:, axis] ** (1 / (d - axis))
        weights.append(left * (1 - ratio))
        left = left * ratio
    return torch.stack([*weights, left], dim=1)


def simplex_rule(dim: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Conical product Gauss rule: barycentric points (Q, dim + 1) and weights (Q,) of sum one.

    Positive weights, points inside, exact for polynomials up to ``degree``.

    Raises
    ------
    InvalidOption
        If the degree is no integer from 0 to 40.

    References
    ----------
    Stroud (1971), Approximate Calculation of Multiple Integrals, §2.5 (Gauss–Jacobi per axis).
    """
    integer = isinstance(degree, Integral) and not isinstance(degree, bool)
    if not integer or not 0 <= degree <= MAX_DEGREE:
        raise InvalidOption(f"degree = {degree!r}; give an integer from 0 to {MAX_DEGREE}.")
    return _rule(dim, int(degree))


@cache
def _rule(dim: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import roots_jacobi

    axes = []
    for axis in range(dim):
        roots, weights = roots_jacobi(degree // 2 + 1, 0, dim - 1 - axis)
        axes.append(list(zip((1 + roots) / 2, weights / weights.sum(), strict=True)))
    points, shares = [], []
    for nodes in itertools.product(*axes):
        left, share, point = 1.0, 1.0, []
        for ratio, weight in nodes:
            point.append(left * (1 - ratio))
            left, share = left * ratio, share * weight
        points.append([*point, left])
        shares.append(share)
    total = np.array(shares)
    return np.array(points), total / total.sum()


def nearest_weights(points: Tensor, corners: Tensor) -> Tensor:
    """Barycentric coordinates of the point of each simplex that is nearest to each point.

    Parameters
    ----------
    points : shape (N, d).
    corners : of a point, segment or triangle each, shape (N, k, d) with k = 1, 2 or 3.

    Returns
    -------
    Tensor, shape (N, k), differentiable; exactly zero for the corners that do not take part.
    """
    count = corners.shape[1]
    if count == 1:
        return points.new_ones(len(points), 1)
    if count == 2:
        along = _along(points, corners[:, 0], corners[:, 1])
        return torch.stack([1 - along, along], dim=1)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    offset = points - corners[:, 0]
    aa, ab, bb = _dot(first, first), _dot(first, second), _dot(second, second)
    pa, pb = _dot(offset, first), _dot(offset, second)
    scale = 1 / (aa * bb - ab * ab)
    s, t = (bb * pa - ab * pb) * scale, (aa * pb - ab * pa) * scale
    inner = torch.stack([1 - s - t, s, t], dim=1)
    best, least = inner, torch.full_like(s, torch.inf)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        along = _along(points, corners[:, start], corners[:, end])
        foot = corners[:, start] + along[:, None] * (corners[:, end] - corners[:, start])
        gap = _dot(points - foot, points - foot)
        columns = [torch.zeros_like(along)] * 3
        columns[start], columns[end] = 1 - along, along
        nearer = gap < least
        best = torch.where(nearer[:, None], torch.stack(columns, dim=1), best)
        least = torch.where(nearer, gap, least)
    return torch.where((inner >= 0).all(dim=1, keepdim=True), inner, best)


def blend(weights: Tensor, corners: Tensor) -> Tensor:
    """Points of simplices by their barycentric coordinates.

        x = Σ_k λ_k v_k

    Parameters
    ----------
    weights : shape (N, k).
    corners : shape (N, k, d).

    Returns
    -------
    Tensor, shape (N, d)
    """
    shares = weights[..., None].unbind(1)
    return _added([w * v for w, v in zip(shares, corners.unbind(1), strict=True)])


def gaps(points: Tensor, corners: Tensor) -> Tensor:
    """Distance of each point to its simplex; arguments as in `nearest_weights`."""
    offset = points - blend(nearest_weights(points, corners), corners)
    return _dot(offset, offset).sqrt()


def _along(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    step = end - start
    return (_dot(points - start, step) / _dot(step, step)).clamp(0, 1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    # By columns: several times faster than a sum along an axis of two or three.
    return _added([x * y for x, y in zip(a.unbind(1), b.unbind(1), strict=True)])


def _added(terms: list[Tensor]) -> Tensor:
    first, *others = terms
    for other in others:
        first = first + other
    return first
