"""Block-structured meshes of a plane box with a round hole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

from pdeml.domains.csg import Difference
from pdeml.domains.domain import Domain
from pdeml.domains.geometry import Box, Disk
from pdeml.errors import InvalidOption

LEAST = 2  # cells along each of the eight arcs of 45°, however coarse the grid


def has_round_hole(domain: Domain) -> TypeGuard[Difference]:
    """Whether a domain is a plane box without one disk that lies inside of it."""
    if not isinstance(domain, Difference) or len(domain.children) != 2:
        return False
    box, disk = domain.children
    return isinstance(box, Box) and isinstance(disk, Disk) and _gap(box, disk) > disk.radius


def _gap(box: Box, disk: Disk) -> float:
    """Distance of the centre from the nearest wall."""
    return min(
        min(c - low, high - c) for c, low, high in zip(disk.centre, *box.bounds, strict=True)
    )


def box_with_hole(
    domain: Difference, counts: Sequence[int], divided: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 2) and cells of a box with a round hole: triangles (K, 3) or quadrilaterals.

    A square about the hole, half-way to the nearest wall, is filled by rings from the circle, where
    the cells are as wide as they are long, to its sides; the rest of the box is divided by the
    lines that the square's sides begin.

    Parameters
    ----------
    domain : see `has_round_hole`.
    counts : cells of the box per axis; h is the largest cell of that size.
    divided : cut each quadrilateral into two triangles.

    Raises
    ------
    InvalidOption
        The hole all but touches a wall.
    """
    box, disk = domain.children
    assert isinstance(box, Box) and isinstance(disk, Disk)
    centre, radius = np.array(disk.centre, dtype=float), float(disk.radius)
    lower, upper = (np.array(b, dtype=float) for b in box.bounds)
    half = (radius + _gap(box, disk)) / 2
    if half - radius < 1e-3 * radius:
        raise InvalidOption(
            f"{domain!r}: the hole is {2 * (half - radius):g} away from a wall, too near for a "
            "regular grid; use Mesh.generate."
        )
    h = float(((upper - lower) / np.array(counts)).max())
    arc = max(LEAST, math.ceil(half / h * (1 - 1e-9)))  # cells along 45°
    angles = np.linspace(-math.pi / 4, math.pi / 4, 2 * arc + 1)
    before = [_divided(lower[k], centre[k] - half, h)[:-1] for k in (0, 1)]
    after = [_divided(centre[k] + half, upper[k], h)[1:] for k in (0, 1)]
    xs, ys = (
        np.concatenate([before[k], centre[k] + half * np.tan(angles), after[k]]) for k in (0, 1)
    )
    first = [len(b) for b in before]
    number = np.arange(len(xs) * len(ys)).reshape(len(xs), len(ys))
    grid = np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)
    i, j = np.meshgrid(np.arange(len(xs) - 1), np.arange(len(ys) - 1), indexing="ij")
    within = [(k >= f) & (k < f + 2 * arc) for k, f in zip((i, j), first, strict=True)]
    quads = [
        np.stack([number[i, j], number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]], axis=-1)[
            ~(within[0] & within[1])
        ]
    ]
    # rings: from the circle outwards; the last of them is the square, whose nodes are the grid's
    rim = _rim(number, first, 2 * arc)
    outer = grid[rim]
    around = outer - centre
    inner = centre + radius * around / np.linalg.norm(around, axis=1, keepdims=True)
    ratio = half / radius
    rings = max(2, math.ceil(math.log(ratio) * 4 * arc / math.pi))
    parts = (ratio ** (np.arange(rings) / rings) - 1) / (ratio - 1)
    nodes = inner + parts[:, None, None] * (outer - inner)
    numbers = np.concatenate(
        [len(grid) + np.arange(rings * len(rim)).reshape(rings, -1), rim[None]]
    )
    following = np.roll(numbers, -1, axis=1)
    quads.append(
        np.stack([numbers[:-1], numbers[1:], following[1:], following[:-1]], axis=-1).reshape(-1, 4)
    )
    vertices = np.concatenate([grid, nodes.reshape(-1, 2)])
    cells = np.concatenate(quads)
    return _used(vertices, _halved(vertices, cells) if divided else cells)


def _divided(start: float, end: float, h: float) -> np.ndarray:
    """Grid lines between a wall and the square, both ends included."""
    count = max(1, math.ceil(abs(end - start) / h * (1 - 1e-9)))
    return np.linspace(start, end, count + 1)


def _rim(number: np.ndarray, first: Sequence[int], count: int) -> np.ndarray:
    """Nodes of the square's sides, once around, counter-clockwise from its lower left corner."""
    block = number[first[0] : first[0] + count + 1, first[1] : first[1] + count + 1]
    return np.concatenate([block[:-1, 0], block[-1, :-1], block[:0:-1, -1], block[0, :0:-1]])


def _halved(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Two triangles of each quadrilateral, cut along its shorter diagonal."""
    corners = vertices[quads]
    lengths = [np.linalg.norm(corners[:, k + 2] - corners[:, k], axis=1) for k in (0, 1)]
    turned = np.where(lengths[1] < lengths[0] * (1 - 1e-9), 1, 0)
    order = (np.arange(4) + turned[:, None]) % 4
    quads = np.take_along_axis(quads, order, axis=1)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _used(vertices: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    used, numbered = np.unique(cells, return_inverse=True)
    return vertices[used], numbered.reshape(cells.shape)
