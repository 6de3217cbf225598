"""Solids that are given by their surface alone."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import sympy as sp
import torch
from torch import Tensor

from pdeml.domains import mesh_checks as checks
from pdeml.domains.domain import Bounds
from pdeml.domains.geometry import Box
from pdeml.domains.mesh_boundary import Faceted
from pdeml.domains.mesh_facets import groups
from pdeml.domains.mesh_simplex import blend
from pdeml.domains.mesh_text import digest_of, from_text, named_from_text, to_text
from pdeml.domains.space import Mapped
from pdeml.domains.validation import looked_up, shown_all, symbols_of
from pdeml.errors import InvalidMesh, InvalidOption


class Surface(Faceted):
    """The solid inside a closed surface of triangles, for instance of an STL file.

    It is sampled, measured and asked for distances like any domain; interior points are drawn in
    the bounding box and rejected outside. `Mesh` is for methods that need cells.

    Parameters
    ----------
    coordinates : three SymPy symbols.
    vertices : shape (V, 3).
    triangles :
        Their vertices, shape (F, 3); all turned the same way, outwards or inwards. Several closed
        surfaces may bound one solid, those of cavities turned the other way.
    parts : triangles of each part, shape (K,); the rest are ``"boundary"``, or ``"untagged"``.

    Raises
    ------
    InvalidMesh
        If vertices are not finite, coincide or are unused, a triangle is degenerate, an edge does
        not belong to exactly two triangles, neighbours are turned differently, or no volume is
        enclosed.

    Notes
    -----
    A point is inside if it is behind the nearest facet; where an edge or a corner is nearest, the
    sum of the facets' normals there decides, weighted by their angles.

    References
    ----------
    Bærentzen, Aanæs (2005), IEEE Trans. Vis. Comput. Graph. 11, 243.
    """

    def __init__(
        self,
        coordinates: Sequence[sp.Symbol],
        vertices: Any,
        triangles: Any,
        parts: Mapping[str, Any] | None = None,
    ) -> None:
        self.coordinates = symbols_of(coordinates, "Surface", count=3)
        self.vertices = checks.array_of(vertices, 3, "f", "the vertices of a Surface")
        facets = checks.array_of(triangles, 3, "i", "the triangles of a Surface")
        checks.check_vertices(self.vertices, facets)
        corners = self.vertices[facets]
        steps = corners[:, 1:] - corners[:, :1]
        areas = np.linalg.norm(np.cross(steps[:, 0], steps[:, 1]), axis=1) / 2
        checks.check_measures(areas, corners, "triangle", 2)
        self._neighbours = _neighbours(self.vertices, facets)
        volume = _volume(corners)
        if abs(volume) <= checks.FLAT * checks.extent_of(self.vertices) ** 3:
            raise InvalidMesh("the surface encloses no volume: it is flat, or folded onto itself.")
        if volume < 0:
            facets = facets[:, ::-1].copy()
            self._neighbours = self._neighbours[:, ::-1]
            facets.setflags(write=False)
        self.facets = facets
        names, labels = checks.labels_of_cells(parts or {}, len(facets))
        if (labels < 0).any():
            rest = "untagged" if names else "boundary"
            if rest in names:
                raise InvalidMesh(f"triangles have no name, but there is a part called {rest!r}.")
            labels, names = np.where(labels < 0, len(names), labels), (*names, rest)
        self.facet_parts, self._names = labels, names
        lower, upper = self.vertices.min(axis=0), self.vertices.max(axis=0)
        self.bounds: Bounds = (tuple(lower.tolist()), tuple(upper.tolist()))

    @classmethod
    def read(cls, path: str | os.PathLike[str], coordinates: Sequence[sp.Symbol]) -> Self:
        """Read an STL file, text or binary; each solid that a text names is a part.

        Raises
        ------
        InvalidMesh
            If the file is damaged, or holds no closed surface.
        InvalidOption
            If the ending is another one.
        """
        from pdeml.domains.mesh_stl import read_stl

        if Path(path).suffix.lower() != ".stl":
            raise InvalidOption(f"{str(path)!r}: a surface is read from .stl files.")
        try:
            return cls(coordinates, *read_stl(path))
        except InvalidMesh as error:
            raise InvalidMesh(f"{str(path)!r}: {error}") from error

    @cached_property
    def volume(self) -> float:
        return _volume(self.vertices[self.facets])

    @property
    def _log_volume(self) -> float:
        return math.log(self.volume)

    @cached_property
    def _pseudonormals(self) -> tuple[np.ndarray, np.ndarray]:
        """Normals at the vertices, and at the edge opposite to each corner of each facet."""
        corners = self.vertices[self.facets]
        normals = self._unit_normals
        at_vertices = np.zeros_like(self.vertices)
        for corner in range(3):
            legs = np.roll(corners, -corner, axis=1)
            one, two = legs[:, 1] - legs[:, 0], legs[:, 2] - legs[:, 0]
            angle = np.arctan2(np.linalg.norm(np.cross(one, two), axis=1), (one * two).sum(axis=1))
            np.add.at(at_vertices, self.facets[:, corner], angle[:, None] * normals)
        return at_vertices, normals[:, None] + normals[self._neighbours]

    def _encloses(self, points: Tensor, facet: Tensor, weights: Tensor) -> Tensor:
        device = points.device
        vertices, edges = (torch.tensor(each, device=device) for each in self._pseudonormals)
        corners = self._corners_of(facet)
        offset = points - blend(weights, corners)
        absent = weights == 0
        # One absent corner: the edge opposite to it; two: the vertex that is left.
        normals = self._normals_of(facet)
        rows = torch.arange(len(points), device=device)
        on_edge = edges[facet, absent.int().argmax(dim=1)]
        left = torch.tensor(self.facets, device=device)[facet][rows, weights.argmax(dim=1)]
        count = absent.sum(dim=1)[:, None]
        normals = torch.where(count == 1, on_edge, normals)
        normals = torch.where(count == 2, vertices[left], normals)
        return (offset * normals).sum(dim=1) <= 0

    # Sampling: points of the bounding box, rejected outside

    @property
    def _covers(self) -> tuple[Mapped, ...]:
        return (Box(self.coordinates, *self.bounds),)

    def _inside(self, points: Tensor, cover: Tensor) -> Tensor:
        return self._distance(points) < 0

    # Identity

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the arrays and names."""
        return digest_of((self.vertices, self.facets, self.facet_parts), self._names)

    @property
    def _key(self) -> tuple:
        return "surface", self.coordinates, self.digest

    def __repr__(self) -> str:
        return (
            f"Surface({shown_all(self.coordinates)}, <{len(self.vertices)} vertices>, "
            f"<{len(self.facets)} triangles>, parts {shown_all(self.parts)})"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "Surface",
            "coordinates": [symbol.name for symbol in self.coordinates],
            "sha256": self.digest,
            "vertices": to_text(self.vertices),
            "triangles": to_text(self.facets),
            "parts": [
                [name, to_text(np.flatnonzero(self.facet_parts == index))]
                for index, name in enumerate(self._names)
            ],
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        surface = cls(
            looked_up(data["coordinates"], symbols),
            from_text(data["vertices"], 3, "f"),
            from_text(data["triangles"], 3, "i"),
            named_from_text(data["parts"], 1),
        )
        if surface.digest != data["sha256"]:
            raise InvalidMesh("its digest does not match its content.")
        return surface


def _volume(corners: np.ndarray) -> float:
    """Volume inside closed triangles of shape (F, 3, 3), by the divergence theorem."""
    a, b, c = (corners - corners[0, 0]).swapaxes(0, 1)
    return math.fsum((a * np.cross(b, c)).sum(axis=1)) / 6


def _neighbours(vertices: np.ndarray, facets: np.ndarray) -> np.ndarray:
    """The triangle beyond the edge opposite to each corner, shape (F, 3)."""
    edges = np.concatenate([np.roll(facets, -corner - 1, axis=1)[:, :2] for corner in range(3)])
    owner = np.tile(np.arange(len(facets)), 3)
    keys = np.sort(edges, axis=1)
    order, start = groups(keys)
    count = np.diff(start, append=len(keys))

    def where(edge: int) -> str:
        ends = vertices[keys[edge]]
        return f"the edge from {checks.at(ends[0])} to {checks.at(ends[1])}"

    wrong = np.flatnonzero(count != 2)
    if len(wrong):
        edge = order[start[wrong[0]]]
        raise InvalidMesh(
            f"{where(edge)} belongs to {count[wrong[0]]} triangles, not to 2 ({len(wrong)} such "
            "edges): the surface is not closed, or touches itself."
        )
    one, two = order[start], order[start + 1]
    same = np.flatnonzero(edges[one, 0] == edges[two, 0])
    if len(same):
        edge = one[same[0]]
        raise InvalidMesh(
            f"the triangles {owner[edge]} and {owner[two[same[0]]]} at {where(edge)} are turned "
            "in different directions; turn all normals outwards."
        )
    across = np.empty(len(edges), dtype=int)
    across[one], across[two] = owner[two], owner[one]
    return across.reshape(3, -1).T
