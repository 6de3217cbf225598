"""What the readers of mesh files have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import sympy as sp

from pdeml.domains.mesh_checks import UNNAMED, at, check_count
from pdeml.errors import InvalidMesh


class MeshParts(NamedTuple):
    """Arguments of `Mesh`."""

    coordinates: Sequence[sp.Symbol]
    vertices: np.ndarray
    cells: np.ndarray
    parts: dict[str, np.ndarray]
    regions: dict[str, np.ndarray]


def named_by_tag(
    entities: np.ndarray, tags: np.ndarray, names: Mapping[int, str]
) -> dict[str, np.ndarray]:
    """Entities by the name of their tag, or by the tag where it has none; tag 0 is no tag.

    What the name `UNNAMED` says is left out.

    Raises
    ------
    InvalidMesh
        If two tags have one name, or there are too many.
    """
    named: dict[str, np.ndarray] = {}
    present = np.unique(tags)
    check_count(len(present))
    for tag in present.tolist():
        name = names.get(tag, str(tag))
        if tag == 0 or name == UNNAMED:
            continue
        if name in named:
            raise InvalidMesh(f"two tags are called {name!r}.")
        named[name] = entities[tags == tag]
    return named


def without_zeros(points: np.ndarray, dim: int) -> np.ndarray:
    """The first ``dim`` columns, where the others are zero.

    Raises
    ------
    InvalidMesh
        If they are not, or there are fewer columns.
    """
    if points.shape[1] < dim:
        raise InvalidMesh(f"its points have {points.shape[1]} coordinates, {dim} were given.")
    beyond = np.flatnonzero((points[:, dim:] != 0).any(axis=1))
    if len(beyond):
        raise InvalidMesh(
            f"vertex {beyond[0]} is {at(points[beyond[0]])}; with {dim} coordinates the others "
            "must be zero."
        )
    return points[:, :dim]


def dropped(
    vertices: np.ndarray, cells: np.ndarray, parts: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The mesh without vertices that belong to no cell."""
    used = np.zeros(len(vertices), dtype=bool)
    used[cells] = True
    number = np.where(used, np.cumsum(used) - 1, -1)
    return vertices[used], number[cells], {name: number[rows] for name, rows in parts.items()}
