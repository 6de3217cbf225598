"""Cells of higher degree as smaller straight ones, for programs that draw linear cells."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from pdeml.domains.mesh_tensor import AROUND, MIRRORED
from pdeml.solvers.fem.field import FiniteElementField


@functools.cache
def _division(dim: int, parts: int) -> np.ndarray:
    """Barycentric numerators (n^d, d + 1, d + 1) of the vertices of n^d equal parts of a simplex.

    In the coordinates a_i = Σ_{j≥i} w_j, which fall from n to 0, the lattice is that of a cube, and
    the parts are those simplices of its Kuhn triangulation that the order of the a_i lets in.
    """
    found = []
    for base in itertools.product(range(parts), repeat=dim):
        for order in itertools.permutations(range(dim)):
            corners = np.array(base) + np.cumsum(np.eye(dim + 1, dim, -1, int)[:, list(order)], 0)
            falling = np.pad(corners, ((0, 0), (1, 1)), constant_values=0)
            falling[:, 0] = parts
            weights = -np.diff(falling, axis=1)
            if (weights >= 0).all():
                found.append(weights)
    return np.array(found)


@functools.cache
def _boxes(dim: int, parts: int) -> np.ndarray:
    """Multilinear numerators (n^d, 2^d, 2^d) of the vertices of n^d equal parts of a cube."""
    corners = np.array(list(itertools.product((0, 1), repeat=dim)))[:, ::-1][list(AROUND[dim])]
    bases = np.array(list(itertools.product(range(parts), repeat=dim)))
    places = bases[:, None, None] + corners[None, :, None]
    found: np.ndarray = np.where(corners[None, None] == 1, places, parts - places).prod(-1)
    return found


def pieces(field: FiniteElementField, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """The mesh of a field, `subdivided`."""
    return subdivided(field.points.cpu().numpy(), field.corners.cpu().numpy(), parts)


def subdivided(
    vertices: np.ndarray, cells: np.ndarray, parts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every cell divided into n^d of its kind with common vertices.

    Parameters
    ----------
    vertices, cells : (V, d) and (C, k).
    parts : n, into how many an edge is divided.

    Returns
    -------
    points (P, d), corners (C n^d, k)
        With n = 1 the vertices and cells of the mesh itself. All cells turn the same way.
    """
    if parts == 1:
        return vertices, _turned(vertices, cells)
    dim, width = vertices.shape[1], cells.shape[1]
    weights = (_division if width == dim + 1 else _boxes)(dim, parts)
    lattice, which = np.unique(weights.reshape(-1, width), axis=0, return_inverse=True)
    # a point is known by the vertices that it lies between, and by their weights
    involved = np.where(lattice[None] > 0, cells[:, None], -1)
    order = np.argsort(involved, axis=2)
    key = np.concatenate(
        [
            np.take_along_axis(involved, order, 2),
            np.take_along_axis(np.broadcast_to(lattice, involved.shape), order, 2),
        ],
        axis=2,
    )
    _, first, number = np.unique(
        key.reshape(-1, key.shape[2]), axis=0, return_index=True, return_inverse=True
    )
    shares = lattice / lattice.sum(1, keepdims=True)
    places = np.einsum("lk,ckd->cld", shares, vertices[cells]).reshape(-1, dim)
    numbers = number.reshape(len(cells), len(lattice))
    points, corners = places[first], numbers[:, which.reshape(-1)].reshape(-1, width)
    return points, _turned(points, corners)


def _turned(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Cells with positive volumes, as normals of faces that point outwards need them."""
    dim, width = points.shape[1], corners.shape[1]
    mirrored = MIRRORED[dim] if width > dim + 1 else (*range(dim - 1), dim, dim - 1)
    along = [1, 3, 4][:dim] if width > dim + 1 else range(1, width)  # corners next to the first
    edges = points[corners[:, list(along)]] - points[corners[:, :1]]
    turned = corners.copy()
    wrong = np.linalg.det(edges) < 0
    turned[wrong] = corners[wrong][:, list(mirrored)]
    return turned


def triangles(corners: np.ndarray) -> np.ndarray:
    """Two triangles of each quadrilateral (C, 4); triangles (C, 3) as they are."""
    if corners.shape[1] == 3:
        return corners
    return np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
