"""Checks of meshes: what is wrong with one, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pdeml.domains.validation import shown_all
from pdeml.errors import InvalidMesh

# Vertices nearer than this, relative to the extent, are one and the same.
COINCIDENT = 1e-12

# A simplex of less than this share of the cube over its longest edge has no measure that
# coordinates of 16 digits could tell.
FLAT = 1e-13

# A vertex nearer than this to a facet, relative to the extent, hangs on it.
HANGING = 1e-10

# How many of several offenders a message lists.
LISTED = 5

# Names of parts and of regions that a mesh can have.
MAX_NAMES = 1000

# How files call the cells that are in no region.
UNNAMED = "(none)"


class Facets(NamedTuple):
    """The facets of oriented cells.

    Attributes
    ----------
    outer : vertices of the boundary facets, outwards by the right-hand rule, shape (F, d), sorted.
    owners : cell of each of them, shape (F,).
    opposite : vertex of that cell that the facet does not have, shape (F,).
    inner : vertices of the facets between two cells, ascending, shape (G, d), sorted.
    neighbours : the two cells of each of them, shape (G, 2).
    """

    outer: np.ndarray
    owners: np.ndarray
    opposite: np.ndarray
    inner: np.ndarray
    neighbours: np.ndarray


def array_of(values: Any, columns: int, kind: str, what: str) -> np.ndarray:
    """A matrix of finite floats (``kind`` "f") or of integers ("i"), C-contiguous, read-only.

    Raises
    ------
    InvalidMesh
        If the values are anything else.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in ("fiu" if kind == "f" else "iu"):
            raise TypeError(f"its values are {array.dtype}")
        if array.ndim == 1 and columns == 1:
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] != columns:
            raise TypeError(f"its shape is {array.shape}")
        result = np.array(array, dtype=np.float64 if kind == "f" else np.int64, order="C")
    except (TypeError, ValueError, OverflowError) as error:
        numbers = "numbers" if kind == "f" else "integers"
        raise InvalidMesh(
            f"{what} must be an array of {numbers} of shape (…, {columns}), but {error}."
        ) from None
    result.setflags(write=False)
    return result


def listed(indices: Sequence[int] | np.ndarray) -> str:
    """The first few of several indices."""
    texts = [str(int(index)) for index in indices[:LISTED]]
    return ", ".join(texts) + (" …" if len(indices) > LISTED else "")


def at(point: np.ndarray) -> str:
    """A point as a message shows it."""
    return shown_all([float(value) for value in point])


def extent_of(vertices: np.ndarray) -> float:
    """Largest side of the bounding box."""
    return float(np.ptp(vertices, axis=0).max())


def check_vertices(vertices: np.ndarray, cells: np.ndarray) -> None:
    """Refuse what is wrong with vertices and with the cells' references to them.

    Raises
    ------
    InvalidMesh
        For vertices that are not finite, coincide or are unused, for cells with a vertex that does
        not exist or is repeated, and for meshes without cells.
    """
    if len(cells) == 0:
        raise InvalidMesh("the mesh has no cells.")
    broken = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
    if len(broken):
        raise InvalidMesh(
            f"vertex {broken[0]} is {at(vertices[broken[0]])}; coordinates must be finite."
        )
    outside = np.flatnonzero(((cells < 0) | (cells >= len(vertices))).any(axis=1))
    if len(outside):
        raise InvalidMesh(
            f"cell {outside[0]} has the vertices {cells[outside[0]].tolist()}; those of this mesh "
            f"are numbered from 0 to {len(vertices) - 1}."
        )
    ascending = np.sort(cells, axis=1)
    repeated = np.flatnonzero((ascending[:, 1:] == ascending[:, :-1]).any(axis=1))
    if len(repeated):
        raise InvalidMesh(
            f"cell {repeated[0]} has the vertices {cells[repeated[0]].tolist()}; a vertex is "
            "repeated."
        )
    used = np.zeros(len(vertices), dtype=bool)
    used[cells] = True
    if not used.all():
        unused = np.flatnonzero(~used)
        raise InvalidMesh(
            f"{len(unused)} vertices belong to no cell ({listed(unused)}); leave them out."
        )
    _check_distinct(vertices)


def _check_distinct(vertices: np.ndarray) -> None:
    from scipy.spatial import cKDTree

    gaps, others = cKDTree(vertices).query(vertices, k=2)
    first = int(gaps[:, 1].argmin())
    if gaps[first, 1] <= COINCIDENT * extent_of(vertices):
        pair = sorted((first, int(others[first][others[first] != first][0])))
        raise InvalidMesh(
            f"the vertices {pair[0]} and {pair[1]} are the same point {at(vertices[pair[0]])}; "
            "merge them, or the cells on both sides are not connected."
        )


def check_measures(measures: np.ndarray, corners: np.ndarray, what: str) -> None:
    """Refuse simplices without measure.

    Raises
    ------
    InvalidMesh
        If one is degenerate.
    """
    edges = corners[:, :, None] - corners[:, None]
    longest = np.sqrt((edges**2).sum(axis=-1).max(axis=(1, 2)))
    flat = np.flatnonzero(~(np.abs(measures) > FLAT * longest ** (corners.shape[1] - 1)))
    if len(flat):
        raise InvalidMesh(
            f"{what} {flat[0]} is degenerate: its corners {', '.join(map(at, corners[flat[0]]))} "
            f"enclose nothing ({len(flat)} of {len(corners)})."
        )


def oriented(vertices: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells with their last two vertices swapped where the volume was negative, and the volumes.

    Raises
    ------
    InvalidMesh
        If a cell is degenerate.
    """
    corners = vertices[cells]
    volumes = np.linalg.det(corners[:, 1:] - corners[:, :1])
    volumes = volumes / [1, 1, 2, 6][cells.shape[1] - 1]
    check_measures(volumes, corners, "cell")
    inverted = volumes < 0
    turned = cells.copy()
    turned[inverted, -2:] = cells[inverted, :-3:-1]
    turned.setflags(write=False)
    return turned, np.abs(volumes)


def groups(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal rows: the order that sorts them, and where each group of equal ones starts in it."""
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    fresh = np.ones(len(keys), dtype=bool)
    fresh[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, np.flatnonzero(fresh)


def is_even(rows: np.ndarray) -> np.ndarray:
    """Whether the order of each row is an even permutation of the ascending one."""
    count = np.zeros(len(rows), dtype=int)
    for i in range(rows.shape[1]):
        for j in range(i + 1, rows.shape[1]):
            count += rows[:, i] > rows[:, j]
    return count % 2 == 0


def facets_of_cells(vertices: np.ndarray, cells: np.ndarray) -> Facets:
    """The boundary and the inner facets of oriented cells.

    Raises
    ------
    InvalidMesh
        If a facet belongs to three cells or more, or two neighbours lie on the same side of it.
    """
    corners = cells.shape[1]
    sides, even = [], []
    for left_out in range(corners):
        side = np.delete(cells, left_out, axis=1)
        if corners > 2 and left_out % 2:
            side[:, -2:] = side[:, :-3:-1]
        sides.append(side)
        # A point has no order of its vertices: the end that it is counts.
        even.append(is_even(side) if corners > 2 else np.full(len(side), left_out == 0))
    facets, outward = np.concatenate(sides), np.concatenate(even)
    owner = np.tile(np.arange(len(cells)), corners)
    opposite = cells.T.ravel()
    keys = np.sort(facets, axis=1)
    order, start = groups(keys)
    count = np.diff(start, append=len(keys))
    if (count > 2).any():
        where = start[count > 2][0]
        common = order[where : where + count[count > 2][0]]
        raise InvalidMesh(
            f"the facet with the vertices {keys[common[0]].tolist()} belongs to {len(common)} cells"
            f" ({listed(owner[common])}); at most two cells can share one."
        )
    single, pair = order[start[count == 1]], start[count == 2]
    one, two = order[pair], order[pair + 1]
    folded = np.flatnonzero(outward[one] == outward[two])
    if len(folded):
        first = folded[0]
        raise InvalidMesh(
            f"the cells {owner[one[first]]} and {owner[two[first]]} lie on the same side of their "
            f"common facet near {at(vertices[keys[one[first]]].mean(axis=0))}: the mesh is folded, "
            "cells overlap."
        )
    neighbours = np.stack([owner[one], owner[two]], axis=1)
    return Facets(facets[single], owner[single], opposite[single], keys[one], neighbours)


def check_connected(cells: np.ndarray, facets: Facets, vertices: np.ndarray) -> None:
    """Refuse meshes of several pieces.

    Raises
    ------
    InvalidMesh
        If not all cells are connected through facets.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, two = facets.neighbours.T
    links = coo_array((np.ones(len(one)), (one, two)), shape=(len(cells), len(cells)))
    count, piece = connected_components(links, directed=False)
    if count > 1:
        sizes = np.bincount(piece)
        first = int(np.flatnonzero(piece == sizes.argmin())[0])
        raise InvalidMesh(
            f"the mesh falls into {count} pieces of {listed(np.sort(sizes)[::-1])} cells that "
            "share no facet; "
            f"the smallest one has cell {first} at {at(vertices[cells[first]].mean(axis=0))}. "
            "Join them, or make a Mesh of each."
        )


def labels_of_facets(
    named: Mapping[str, Any], facets: Facets, count: int
) -> tuple[tuple[str, ...], np.ndarray, dict[str, np.ndarray]]:
    """Parts of the boundary from named sets of facets.

    Parameters
    ----------
    named : vertices of the facets of each set, shape (F, d).
    count : number of vertices.

    Returns
    -------
    names : of the parts; facets without a name are ``"boundary"``, or ``"untagged"`` beside others.
    labels : part of each boundary facet.
    interfaces : the sets that lie inside, as ascending and sorted facets.

    Raises
    ------
    InvalidMesh
        If a facet is none of the mesh or has two names, or a set is empty or lies partly inside.
    """
    keys = np.concatenate([np.sort(facets.outer, axis=1), facets.inner])
    order, _ = groups(keys)
    place = {tuple(row): int(index) for row, index in zip(keys[order].tolist(), order, strict=True)}
    boundary = len(facets.outer)
    check_count(len(named))
    labels = np.full(boundary, -1)
    names: list[str] = []
    interfaces: dict[str, np.ndarray] = {}
    for name, given in named.items():
        check_name(name)
        rows = np.sort(array_of(given, keys.shape[1], "i", f"the facets of {name!r}"), axis=1)
        if not len(rows):
            raise InvalidMesh(f"the part {name!r} has no facets.")
        found = np.array([place.get(tuple(row), -1) for row in rows.tolist()])
        if (found < 0).any():
            row = rows[found < 0][0].tolist()
            raise InvalidMesh(
                f"the part {name!r} has a facet with the vertices {row}, which is no facet of a "
                f"cell ({int((found < 0).sum())} of {len(rows)}; vertices are numbered from 0 to "
                f"{count - 1})."
            )
        found = np.unique(found)
        inside = found >= boundary
        if inside.all():
            interfaces[name] = keys[found]
            continue
        if inside.any():
            raise InvalidMesh(
                f"the part {name!r} has {int((~inside).sum())} facets on the boundary and "
                f"{int(inside.sum())} inside, for instance {keys[found[inside][0]].tolist()}; give "
                "the two different names."
            )
        taken = found[labels[found] >= 0]
        if len(taken):
            raise InvalidMesh(
                f"the facet with the vertices {keys[taken[0]].tolist()} belongs to "
                f"{names[labels[taken[0]]]!r} and to {name!r}; a facet has one part."
            )
        labels[found] = len(names)
        names.append(name)
    if (labels < 0).any():
        rest = "untagged" if names else "boundary"
        if rest in named:
            raise InvalidMesh(
                f"facets have no name, for instance {keys[labels.argmin()].tolist()}, but there is "
                f"a part called {rest!r}; name all facets of the boundary."
            )
        labels[labels < 0] = len(names)
        names.append(rest)
    labels.setflags(write=False)
    return tuple(names), labels, interfaces


def labels_of_cells(named: Mapping[str, Any], count: int) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the regions, and the region of each of ``count`` cells (−1: none).

    Raises
    ------
    InvalidMesh
        If a region is empty, a cell does not exist or belongs to two.
    """
    check_count(len(named))
    labels = np.full(count, -1)
    names: list[str] = []
    for name, given in named.items():
        check_name(name)
        cells = array_of(given, 1, "i", f"the cells of {name!r}")[:, 0]
        if not len(cells):
            raise InvalidMesh(f"the region {name!r} has no cells.")
        if cells.min() < 0 or cells.max() >= count:
            wrong = cells[(cells < 0) | (cells >= count)][0]
            raise InvalidMesh(
                f"the region {name!r} has cell {wrong}; cells are numbered from 0 to {count - 1}."
            )
        taken = cells[labels[cells] >= 0]
        if len(taken):
            raise InvalidMesh(
                f"cell {taken[0]} belongs to {names[labels[taken[0]]]!r} and to {name!r}; "
                "a cell has one region."
            )
        labels[cells] = len(names)
        names.append(name)
    labels.setflags(write=False)
    return tuple(names), labels


def check_count(count: int) -> None:
    """Refuse more names than a person could have meant.

    Raises
    ------
    InvalidMesh
        If there are more than `MAX_NAMES`.
    """
    if count > MAX_NAMES:
        raise InvalidMesh(
            f"{count} parts or regions are named; a mesh can have {MAX_NAMES}. Are the tags the "
            "numbers of the facets or cells?"
        )


def check_name(name: Any) -> None:
    """Refuse names that no file could hold.

    Raises
    ------
    InvalidMesh
        If it is no printable text of 1 to 100 characters, or has quotation marks.
    """
    if not isinstance(name, str) or not 0 < len(name) <= 100 or not name.isprintable():
        raise InvalidMesh(f"{name!r} is no name; give a printable text of 1 to 100 characters.")
    if '"' in name or name != name.strip() or name == UNNAMED:
        raise InvalidMesh(
            f"the name {name!r} has a quotation mark, or space at an end, or is kept for no name."
        )
