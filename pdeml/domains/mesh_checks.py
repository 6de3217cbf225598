"""Checks of meshes: what is wrong with one, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pdeml.domains.validation import shown_all
from pdeml.errors import InvalidMesh

# Vertices nearer than this, relative to the extent, are one and the same.
COINCIDENT = 1e-12

# A cell of less than this share of the cube over its longest edge has no measure that
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


def array_of(values: Any, columns: int | tuple[int, ...], kind: str, what: str) -> np.ndarray:
    """A matrix of finite floats (``kind`` "f") or of integers ("i"), C-contiguous, read-only.

    ``columns`` is their number, or those that it may be.

    Raises
    ------
    InvalidMesh
        If the values are anything else.
    """
    allowed = (columns,) if isinstance(columns, int) else columns
    try:
        array = np.asarray(values)
        if array.dtype.kind not in ("fiu" if kind == "f" else "iu"):
            raise TypeError(f"its values are {array.dtype}")
        if array.ndim == 1 and allowed == (1,):
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] not in allowed:
            raise TypeError(f"its shape is {array.shape}")
        result = np.array(array, dtype=np.float64 if kind == "f" else np.int64, order="C")
    except (TypeError, ValueError, OverflowError) as error:
        numbers = "numbers" if kind == "f" else "integers"
        shapes = " or ".join(f"(…, {count})" for count in allowed)
        raise InvalidMesh(
            f"{what} must be an array of {numbers} of shape {shapes}, but {error}."
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


def check_measures(measures: np.ndarray, corners: np.ndarray, what: str, dim: int) -> None:
    """Refuse cells or facets without measure.

    Parameters
    ----------
    measures, corners : of each, shapes (K,) and (K, k, d).
    what : they are, for the error.
    dim : of them.

    Raises
    ------
    InvalidMesh
        If one is degenerate.
    """
    edges = corners[:, :, None] - corners[:, None]
    longest = np.sqrt((edges**2).sum(axis=-1).max(axis=(1, 2)))
    flat = np.flatnonzero(~(np.abs(measures) > FLAT * longest**dim))
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
    check_measures(volumes, corners, "cell", vertices.shape[1])
    inverted = volumes < 0
    turned = cells.copy()
    turned[inverted, -2:] = cells[inverted, :-3:-1]
    turned.setflags(write=False)
    return turned, np.abs(volumes)


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
