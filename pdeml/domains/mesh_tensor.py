"""Quadrilaterals and hexahedra: multilinear images of the unit square and the unit cube.

    x(ξ) = Σ_α c_α ξ^α,   α ∈ {0, 1}^d,   J = ∂x/∂ξ

det J is a polynomial of degree d − 1 at most in each ξ_i, so its values at {0, ½, 1}^d say all of
it: the volume by Simpson's rule, its sign by Bernstein coefficients, uniform points by its
integrals.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from pdeml.domains.mesh_checks import FLAT, at, check_measures
from pdeml.errors import InvalidMesh

AROUND = {1: (0, 1), 2: (0, 1, 3, 2), 3: (0, 1, 3, 2, 4, 5, 7, 6)}
"""Number of each corner of a cell where the first axis runs fastest, as in DOLFINx; the same
permutation leads back."""

MIRRORED = {2: (0, 3, 2, 1), 3: (4, 5, 6, 7, 0, 1, 2, 3)}
"""The corners of a cell as its mirror image has them."""

NEWTON_STEPS = 40
REACH = 0.25  # so far out of the unit cube Newton's iteration may go
NEAR = 1e-6  # a step as small as this is followed by two that reach rounding
SETTLED = 1e-14

DEPTH = 5  # halvings of a cell after which a Jacobian counts as not positive
BLOCK = 2**14  # cells in one pass, bounds memory

SIMPSON = torch.tensor([1 / 6, 4 / 6, 1 / 6], dtype=torch.float64)
# From values at 0, ½, 1: Bernstein coefficients, and values at 0, ¼, ½ and ½, ¾, 1.
BERNSTEIN = torch.tensor([[1, 0, 0], [-0.5, 2, -0.5], [0, 0, 1]], dtype=torch.float64)
HALVES = (
    torch.tensor([[8, 0, 0], [3, 6, -1], [0, 8, 0]], dtype=torch.float64) / 8,
    torch.tensor([[0, 8, 0], [-1, 6, 3], [0, 0, 8]], dtype=torch.float64) / 8,
)


# The map


def coefficients(corners: Tensor) -> Tensor:
    """c of cells, (K, 2^d, d), from their corners, (K, 2^d, d); the first axis runs fastest."""
    dim = corners.shape[2]
    found = corners[:, AROUND[dim]].reshape(-1, *[2] * dim, dim)
    for axis in range(1, dim + 1):
        low, high = found.unbind(axis)
        found = torch.stack([low, high - low], axis)
    return found.reshape(corners.shape)


def _monomials(local: Tensor, slope: int | None = None) -> Tensor:
    """ξ^α of points (N, d), or the derivative by one coordinate, (N, 2^d)."""
    found = torch.ones_like(local[:, :1])
    for axis, column in enumerate(local.unbind(1)):
        first = torch.ones_like(column)
        pair = (torch.zeros_like(column), first) if axis == slope else (first, column)
        found = (torch.stack(pair, 1)[:, :, None] * found[:, None]).flatten(1)
    return found


def placed(local: Tensor, c: Tensor) -> Tensor:
    """x (N, d) of local coordinates (N, d) in cells with the coefficients (N, 2^d, d)."""
    return _folded(local, c)


def slopes(local: Tensor, c: Tensor) -> Tensor:
    """∂x/∂ξ_i, (N, i, d), at local coordinates (N, d) in cells."""
    return torch.stack([_folded(local, c, i) for i in range(local.shape[1])], 1)


def _folded(local: Tensor, c: Tensor, slope: int | None = None) -> Tensor:
    """Σ_α c_α ξ^α or its derivative by one coordinate, (N, d), axis by axis from the slowest."""
    for axis in reversed(range(local.shape[1])):
        low, high = c.chunk(2, dim=1)
        c = high if axis == slope else low + local[:, axis, None, None] * high
    return c[:, 0]


def corner_weights(local: Tensor) -> Tensor:
    """Multilinear shape functions (N, 2^d) of the corners of a cell, in their order."""
    found = torch.ones_like(local[:, :1])
    for column in local.unbind(1):
        pair = torch.stack([1 - column, column], 1)
        found = (pair[:, :, None] * found[:, None]).flatten(1)
    return found[:, AROUND[local.shape[1]]]


def cofactors(j: Tensor) -> tuple[Tensor, Tensor]:
    """Rows det J ∂ξ_i/∂x, (…, i, d), and det J (…), of slopes ∂x/∂ξ_i, (…, i, d)."""
    if j.shape[-1] == 2:
        (a, b), (c, d) = (row.unbind(-1) for row in j.unbind(-2))
        rows = torch.stack([torch.stack([d, -c], -1), torch.stack([-b, a], -1)], -2)
    else:
        p, q, r = j.unbind(-2)
        crossed = [torch.linalg.cross(*pair) for pair in ((q, r), (r, p), (p, q))]
        rows = torch.stack(crossed, -2)
    return rows, (rows[..., 0, :] * j[..., 0, :]).sum(-1)


def _solved(j: Tensor, right: Tensor) -> Tensor:
    """δ with Σ_i δ_i ∂x/∂ξ_i = right (N, d)."""
    rows, determinant = cofactors(j)
    return (rows * right[:, None]).sum(2) / determinant[:, None]


def inverted(points: Tensor, c: Tensor) -> Tensor:
    """Local coordinates ξ (N, d) of points (N, d) in cells with the coefficients (N, 2^d, d).

    Newton's iteration from the middle of the cell, kept near the unit cube; NaN for points so far
    from their cell that it does not settle. Two more steps carry the derivatives: each doubles
    their number, so those up to the third are exact.
    """
    with torch.no_grad():
        local = torch.full_like(points, 0.5)
        rows = torch.arange(len(points), device=points.device)
        for _ in range(NEWTON_STEPS):
            every = len(rows) == len(points)
            here, own, wanted = (a if every else a[rows] for a in (local, c, points))
            step = _solved(slopes(here, own), wanted - placed(here, own))
            moved = (here + step.nan_to_num(0.0)).clamp(-REACH, 1 + REACH)
            left = rows[(moved - here).abs().amax(1) > NEAR]
            local[rows], rows = moved, left
            if not len(rows):
                break
    for _ in range(2):
        step = _solved(slopes(local, c), points - placed(local, c))
        local = local + step
    settled = step.detach().abs().amax(1, keepdim=True) <= NEAR
    return torch.where(settled, local, torch.nan)


# The determinant


def jacobians(local: Tensor, corners: Tensor) -> Tensor:
    """det J (K, Q) of all cells (K, 2^d, d) at the same local coordinates (Q, d)."""
    table = torch.stack([_monomials(local, i) for i in range(local.shape[1])], 1)
    blocks = coefficients(corners).split(BLOCK)
    return torch.cat([cofactors(torch.einsum("qia,kad->kqid", table, c))[1] for c in blocks])


def densities(corners: np.ndarray) -> Tensor:
    """det J of cells (K, 2^d, d) at {0, ½, 1}^d, (K, 3, …, 3), axes in the order of ξ."""
    dim = corners.shape[2]
    lattice = torch.cartesian_prod(*[torch.tensor([0, 0.5, 1], dtype=torch.float64)] * dim)
    return jacobians(lattice, torch.tensor(corners)).reshape(-1, *[3] * dim)


def oriented(vertices: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells (K, 2^d), mirrored where the volume was negative, and the volumes.

    Raises
    ------
    InvalidMesh
        If a cell is degenerate, or not the one-to-one image of the unit cube: a quadrilateral that
        is not convex or crosses itself, a hexahedron with a corner pushed in.
    """
    corners, dim = vertices[cells], vertices.shape[1]
    found = densities(corners)
    largest = found.flatten(1).abs().amax(1)
    check_measures(largest.numpy(), corners, "cell", dim)
    volumes = volumes_of(found).numpy()
    # Relative to its largest value: what rounding leaves of 0 is not positive.
    scale = torch.tensor(np.where(volumes < 0, -1.0, 1.0)) / largest
    sure = _positive(found * scale.reshape(-1, *[1] * dim) - FLAT, DEPTH)
    wrong = np.flatnonzero(~sure.numpy())
    if len(wrong):
        first = int(wrong[0])
        kind = "quadrilateral" if dim == 2 else "hexahedron"
        around = "it" if dim == 2 else "the bottom, then likewise around the top"
        mend = "it must be convex" if dim == 2 else "none of them may be pushed in"
        raise InvalidMesh(
            f"cell {first} is folded: the Jacobian of the {kind} with the corners "
            f"{', '.join(map(at, corners[first]))} is not positive in all of it ({len(wrong)} of "
            f"{len(cells)} cells). Corners go around {around}, and {mend}."
        )
    turned = cells.copy()
    turned[volumes < 0] = cells[volumes < 0][:, MIRRORED[dim]]
    turned.setflags(write=False)
    return turned, np.abs(volumes)


def volumes_of(found: Tensor) -> Tensor:
    """Volumes (K,) of cells from what `densities` gives."""
    while found.dim() > 1:
        found = found @ SIMPSON
    return found


def _applied(values: Tensor, matrices: tuple[Tensor, ...]) -> Tensor:
    """A matrix for each axis but the first of values (K, 3, …, 3)."""
    for axis, matrix in enumerate(matrices, 1):
        values = (values.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return values


def _positive(values: Tensor, depth: int) -> Tensor:
    """Which polynomials of degree 2 per axis are positive in all of the unit cube, (K,).

    Bernstein coefficients bound a polynomial from below; where they do not decide, the cube is
    halved along all axes.

    References
    ----------
    Johnen, Remacle, Geuzaine (2013), J. Comput. Phys. 233, 359, §3.
    """
    dim = values.dim() - 1
    sure = _applied(values, (BERNSTEIN,) * dim).flatten(1).amin(1) > 0
    undecided = (~sure & (values.flatten(1).amin(1) > 0)).nonzero()[:, 0]
    if len(undecided) and depth:
        inside = torch.ones_like(undecided, dtype=torch.bool)
        for halves in itertools.product(HALVES, repeat=dim):
            rows = inside.nonzero()[:, 0]
            inside[rows] = _positive(_applied(values[undecided[rows]], halves), depth - 1)
        sure[undecided] = inside
    return sure


# Points


def uniform(u: Tensor, densities: Tensor) -> Tensor:
    """Local coordinates, uniform over cells, of uniform points of the unit cube.

        ξ_1 from ∫ det J dξ_2 … dξ_d,   ξ_2 from ∫ det J dξ_3 … at that ξ_1,   and so on

    Parameters
    ----------
    u : shape (N, d).
    densities : det J of the cell of each point at {0, ½, 1}^d, shape (N, 3, …, 3).

    Returns
    -------
    Tensor, shape (N, d)

    References
    ----------
    Rosenblatt (1952), Ann. Math. Stat. 23, 470.
    """
    columns, left = [], densities
    simpson = SIMPSON.to(u.device)
    for column in u.unbind(1):
        marginal = left
        while marginal.dim() > 2:
            marginal = marginal @ simpson
        place = _quantile(column, marginal)
        columns.append(place)
        # the quadratic through the values at 0, ½, 1
        weights = ((1 - place) * (1 - 2 * place), 4 * place * (1 - place), place * (2 * place - 1))
        shape = (-1, *[1] * (left.dim() - 2))
        left = sum(  # type: ignore[assignment]
            w.reshape(shape) * part for w, part in zip(weights, left.unbind(1), strict=True)
        )
    return torch.stack(columns, dim=1)


def _quantile(u: Tensor, density: Tensor) -> Tensor:
    """s with ∫_0^s f = u ∫_0^1 f for positive quadratics f of values (N, 3) at 0, ½, 1."""
    first, middle, last = density.unbind(1)
    linear, square = 4 * middle - 3 * first - last, 2 * (first - 2 * middle + last)
    target = u * (first + linear / 2 + square / 3)
    low, high, place = torch.zeros_like(u), torch.ones_like(u), u
    for _ in range(NEWTON_STEPS):
        excess = place * (first + place * (linear / 2 + place * square / 3)) - target
        low, high = torch.where(excess < 0, place, low), torch.where(excess < 0, high, place)
        moved = place - excess / (first + place * (linear + place * square))
        moved = torch.where((moved >= low) & (moved <= high), moved, (low + high) / 2)
        settled = not len(u) or bool((moved - place).abs().max() <= SETTLED)
        place = moved
        if settled:
            break
    return place


def tensor_rule(dim: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's rule of the unit cube, points (Q, dim) and weights (Q,) of sum one.

    Exact for polynomials up to ``degree`` in each coordinate.
    """
    roots, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    nodes = np.stack(np.meshgrid(*[(1 + roots) / 2] * dim, indexing="ij"), -1).reshape(-1, dim)
    shares = np.prod(np.meshgrid(*[weights / 2] * dim, indexing="ij"), axis=0).ravel()
    return nodes, shares / shares.sum()


def quadrature(corners: np.ndarray, degree: int) -> tuple[Tensor, Tensor]:
    """Points (Q, d) and weights (Q,) over cells (K, 2^d, d), exact up to a degree in x."""
    dim = corners.shape[2]
    nodes, shares = map(torch.tensor, tensor_rule(dim, degree + dim - 1))
    points = torch.einsum("qk,ckd->cqd", corner_weights(nodes), torch.tensor(corners))
    weights = shares * jacobians(nodes, torch.tensor(corners))
    return points.reshape(-1, dim), weights.ravel()
