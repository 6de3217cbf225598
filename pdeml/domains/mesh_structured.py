"""Regular meshes of domains made of boxes, and of boxes with a round hole."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch

from pdeml.domains.domain import Domain
from pdeml.domains.geometry import Box
from pdeml.domains.mesh import Mesh
from pdeml.domains.mesh_hole import box_with_hole, has_round_hole
from pdeml.domains.mesh_kinds import cells_of
from pdeml.domains.mesh_tensor import AROUND
from pdeml.domains.polygon import Polygon
from pdeml.domains.space import Primitive, Space
from pdeml.errors import InvalidOption

# A corner of the domain this near a grid line, in units of its spacing, lies on it.
ALIGNED = 1e-9

MAX_BOXES = 10**7


def structured(domain: Domain, n: int | Sequence[int], cell: str | None = None) -> Mesh:
    """See `Mesh.structured`.

    References
    ----------
    Kuhn (1960), IBM J. Res. Dev. 4, 518: a box is the union of d! simplices, one for each order in
    which the path from its lowest to its highest corner goes along the axes.
    """
    if not isinstance(domain, Space) or domain.dim > 3:
        raise InvalidOption(f"{domain!r} cannot be divided: a space of 1 to 3 coordinates can.")
    counts = list(n) if isinstance(n, Sequence) else [n] * domain.dim
    if len(counts) != domain.dim or not all(
        isinstance(count, Integral) and not isinstance(count, bool) and count > 0
        for count in counts
    ):
        raise InvalidOption(
            f"n = {n!r}; give a positive integer, or one for each of {domain.dim} coordinates."
        )
    if np.prod(counts, dtype=object) > MAX_BOXES:
        raise InvalidOption(f"n = {n!r} asks for more than {MAX_BOXES} boxes; give fewer.")
    divided = checked_cell(domain.dim, cell) == cells_of(domain.dim)[0].name
    if has_round_hole(domain):
        return _named(domain, Mesh(domain.coordinates, *box_with_hole(domain, counts, divided)))
    lines = _grid_lines(domain, counts)
    middles = [(line[1:] + line[:-1]) / 2 for line in lines]
    centres = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, domain.dim)
    boxes = np.argwhere((domain._distance(torch.tensor(centres)) < 0).numpy().reshape(counts))
    shape = tuple(count + 1 for count in counts)
    if divided:
        orders = itertools.permutations(range(domain.dim))
        rows = [_numbers(boxes, order, shape) for order in orders]
        cells = np.concatenate(rows, axis=1).reshape(-1, domain.dim + 1)
    else:
        cells = _corners_of(boxes, shape)[:, AROUND[domain.dim]]
    used, numbered = np.unique(cells, return_inverse=True)
    places = np.unravel_index(used, shape)
    vertices = np.stack([line[at] for line, at in zip(lines, places, strict=True)], axis=1)
    return _named(domain, Mesh(domain.coordinates, vertices, numbered.reshape(cells.shape)))


def checked_cell(dim: int, cell: str | None) -> str:
    """The kind of cells of a dimension that is meant; None means simplices.

    Raises
    ------
    InvalidOption
        If there is no such kind.
    """
    known = [kind.name for kind in cells_of(dim)]
    if cell is not None and cell not in known:
        raise InvalidOption(
            f"cell = {cell!r}; with {dim} coordinates give {' or '.join(map(repr, known))}."
        )
    return known[0] if cell is None else cell


def _named(domain: Space, bare: Mesh) -> Mesh:
    """A mesh with the parts of the domain that it divides."""
    parts = domain.part_of(torch.tensor(bare.vertices[bare.facets].mean(axis=1))).numpy()
    named = {
        name: bare.facets[parts == index]
        for index, name in enumerate(domain.parts)
        if (parts == index).any()
    }
    return Mesh(domain.coordinates, bare.vertices, bare.cells, named)


def _numbers(boxes: np.ndarray, order: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """Vertices of one simplex of each box: along the axes in this order."""
    corner = boxes.copy()
    path = [np.ravel_multi_index(tuple(corner.T), shape)]
    for axis in order:
        corner[:, axis] += 1
        path.append(np.ravel_multi_index(tuple(corner.T), shape))
    return np.stack(path, axis=1)


def _corners_of(boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Vertices of each box, the first axis running fastest."""
    corners = [
        np.ravel_multi_index(tuple((boxes + np.array(upper[::-1])).T), shape)
        for upper in itertools.product((0, 1), repeat=boxes.shape[1])
    ]
    return np.stack(corners, axis=1)


def _grid_lines(domain: Space, counts: Sequence[int]) -> list[np.ndarray]:
    """Coordinates of the grid, those of the domain's corners exactly among them."""
    lower, upper = domain.bounds
    lines = [np.linspace(*ends) for ends in zip(lower, upper, (c + 1 for c in counts), strict=True)]
    for leaf, _ in domain._leaves:
        for corner in _corners(leaf):
            for axis, value in enumerate(corner):
                line = lines[axis]
                nearest = int(np.abs(line - value).argmin())
                if line[0] < value < line[-1]:
                    if abs(line[nearest] - value) > ALIGNED * (line[1] - line[0]):
                        raise InvalidOption(
                            f"{counts[axis]} cells along {domain.coordinates[axis]} have no grid "
                            f"line at {value:g}, where a side of {leaf!r} is; choose n so that "
                            "they have."
                        )
                    line[nearest] = value
    return lines


def _corners(leaf: Primitive) -> Sequence[Sequence[float]]:
    if isinstance(leaf, Box):
        return leaf.bounds
    if isinstance(leaf, Polygon):
        corners = np.array(leaf.vertices)
        steps = np.roll(corners, -1, axis=0) - corners
        if ((steps == 0).any(axis=1)).all():
            return leaf.vertices
    raise InvalidOption(
        f"{leaf!r} has round or oblique sides, which a regular grid does not follow; use "
        "Mesh.generate."
    )
