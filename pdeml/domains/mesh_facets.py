"""The facets of the cells of a mesh: its boundary, what is inside, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pdeml.domains.mesh_checks import array_of, at, check_count, check_name, listed
from pdeml.errors import InvalidMesh


class Facets(NamedTuple):
    """The facets of oriented cells.

    Attributes
    ----------
    outer : vertices of the boundary facets, outwards by the right-hand rule, shape (F, k).
    owners : cell of each of them, shape (F,).
    opposite : a vertex of that cell that the facet does not have, shape (F,).
    inner : vertices of the facets between two cells, shape (G, k); ascending, but around those
        with four, from the least on towards the lesser of its neighbours.
    neighbours : the two cells of each of them, shape (G, 2).
    """

    outer: np.ndarray
    owners: np.ndarray
    opposite: np.ndarray
    inner: np.ndarray
    neighbours: np.ndarray


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


QUADRILATERAL_SIDES = (((0, 1), 2), ((1, 2), 3), ((2, 3), 0), ((3, 0), 1))
HEXAHEDRON_SIDES = (
    ((0, 3, 2, 1), 4),
    ((4, 5, 6, 7), 0),
    ((0, 1, 5, 4), 3),
    ((1, 2, 6, 5), 0),
    ((2, 3, 7, 6), 1),
    ((3, 0, 4, 7), 2),
)
"""Corners of each facet of a cell, outwards by the right-hand rule, and one that is not on it."""


def _sides(cells: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Facets of all cells (S, k), outwards, first the first of each cell; corners off them (S,)."""
    corners = cells.shape[1]
    if corners == dim + 1:
        sides = []
        for left_out in range(corners):
            side = np.delete(cells, left_out, axis=1)
            if corners > 2 and left_out % 2:
                side[:, -2:] = side[:, :-3:-1]
            sides.append(side)
        return np.concatenate(sides), cells.T.ravel()
    table = QUADRILATERAL_SIDES if dim == 2 else HEXAHEDRON_SIDES
    sides = [cells[:, list(side)] for side, _ in table]
    return np.concatenate(sides), np.concatenate([cells[:, off] for _, off in table])


def _normal_form(sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Facets in an order that does not depend on the cell, and whether that turns them over."""
    if sides.shape[1] < 4:
        return np.sort(sides, axis=1), is_even(sides)
    start = sides.argmin(axis=1)[:, None]
    around = np.take_along_axis(sides, (start + np.arange(4)) % 4, axis=1)
    kept = around[:, 1] < around[:, 3]
    around[~kept, 1:] = around[~kept, :0:-1]
    return around, kept


def facets_of_cells(vertices: np.ndarray, cells: np.ndarray) -> Facets:
    """The boundary and the inner facets of oriented cells.

    Raises
    ------
    InvalidMesh
        If a facet belongs to three cells or more, two neighbours lie on the same side of it, or
        they go around it in different orders.
    """
    facets, opposite = _sides(cells, vertices.shape[1])
    owner = np.tile(np.arange(len(cells)), len(facets) // len(cells))
    common, outward = _normal_form(facets)
    if facets.shape[1] == 1:
        # A point has no order of its vertices: the end that it is counts.
        outward = np.repeat([True, False], len(cells))
    keys = np.sort(facets, axis=1)
    order, start = groups(keys)
    count = np.diff(start, append=len(keys))
    if (count > 2).any():
        where = start[count > 2][0]
        shared = order[where : where + count[count > 2][0]]
        raise InvalidMesh(
            f"the facet with the vertices {keys[shared[0]].tolist()} belongs to {len(shared)} cells"
            f" ({listed(owner[shared])}); at most two cells can share one."
        )
    single, pair = order[start[count == 1]], start[count == 2]
    one, two = order[pair], order[pair + 1]

    def refuse(wrong: np.ndarray, what: str) -> None:
        if len(wrong):
            first = wrong[0]
            raise InvalidMesh(
                f"the cells {owner[one[first]]} and {owner[two[first]]} {what} common facet near "
                f"{at(vertices[keys[one[first]]].mean(axis=0))}: the mesh is folded, cells overlap."
            )

    refuse(
        np.flatnonzero((common[one] != common[two]).any(axis=1)),
        "go around the corners in different orders on their",
    )
    refuse(np.flatnonzero(outward[one] == outward[two]), "lie on the same side of their")
    neighbours = np.stack([owner[one], owner[two]], axis=1)
    return Facets(facets[single], owner[single], opposite[single], common[one], neighbours)


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
    interfaces : the sets that lie inside, as `Facets.inner` has them.

    Raises
    ------
    InvalidMesh
        If a facet is none of the mesh or has two names, or a set is empty or lies partly inside.
    """
    keys = np.sort(np.concatenate([facets.outer, facets.inner]), axis=1)
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
            interfaces[name] = facets.inner[found - boundary]
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
