"""Meshes of simplices, quadrilaterals or hexahedra that are domains like any other."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import sympy as sp
import torch
from torch import Tensor

from pdeml.domains import mesh_checks as checks
from pdeml.domains import mesh_tensor
from pdeml.domains.domain import Bounds, Domain
from pdeml.domains.mesh_boundary import Faceted
from pdeml.domains.mesh_facets import check_connected, facets_of_cells, labels_of_facets
from pdeml.domains.mesh_kinds import FACET, cells_of, kind_of
from pdeml.domains.mesh_location import Locator
from pdeml.domains.mesh_simplex import blend, gaps, simplex_rule, simplex_weights
from pdeml.domains.mesh_text import digest_of, from_text, named_from_text, to_text
from pdeml.domains.mesh_tree import spatial_order
from pdeml.domains.sampling import select
from pdeml.domains.space import Mapped
from pdeml.domains.validation import looked_up, shown_all, symbols_of
from pdeml.errors import InvalidMesh, InvalidOption

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Mesh(Mapped, Faceted):
    """A mesh of an interval, a plane region or a solid.

    The domain is the union of the cells. Its boundary parts are named sets of facets; a mesh with
    curved sides is the polyhedron that its vertices span, and so are its measures and normals.

    Parameters
    ----------
    coordinates : one, two or three SymPy symbols.
    vertices : shape (V, d).
    cells :
        Vertices of each cell, in either orientation: intervals, triangles or tetrahedra of shape
        (K, d + 1); quadrilaterals (K, 4), around each; hexahedra (K, 8), around the bottom, then
        likewise around the top, as in VTK and gmsh. All are of one kind.
    parts :
        Vertices of the facets of each part, shape (F, k), in any order. Facets that have no name
        are the part ``"boundary"``, or ``"untagged"`` beside others. A set of facets inside the
        mesh is kept in ``interfaces``.
    regions : cells of each region, shape (K,); cells may have none.

    Attributes
    ----------
    vertices, cells : as given, each cell turned to positive volume; read-only.
    cell : "interval", "triangle", "quadrilateral", "tetrahedron" or "hexahedron".
    facets : the boundary, outwards by the right-hand rule, shape (F, k).
    facet_parts : index of each facet's part in ``parts``, shape (F,).
    regions : names of the regions.
    cell_regions : index of each cell's region in ``regions``, −1 for none, shape (K,).
    interfaces : named sets of facets inside the mesh.
    cell_volumes : shape (K,).

    Raises
    ------
    InvalidMesh
        If vertices are not finite, coincide, are unused or hang on a facet of other cells; if cells
        are degenerate, folded (a quadrilateral that is not convex), overlap their neighbours, share
        a facet among three or fall into pieces; if a name fits no facet. The message names what and
        where.
    InvalidProblem
        If the coordinates are no symbols.

    Notes
    -----
    Interior points are uniform over the cells in proportion to their volumes, boundary points over
    the facets; cells and facets that follow each other are neighbours, which keeps points of
    ``"sobol"`` and ``"lhs"`` evenly spread. On the boundary of a solid ``"grid"`` is ``"sobol"``.

    Quadrilaterals and hexahedra are images of the unit square and cube, multilinear in each
    coordinate. Faces of hexahedra may be warped: cells meet in the bilinear surface, and
    ``locate``, ``contains``, ``sample``, ``volume`` and ``quadrature`` are those of the cells. On
    the boundary such a face is taken for the four triangles about its middle, which enclose the
    same volume; areas, normals and distances are theirs, exact where a face is plane.

    Examples
    --------
    >>> import sympy as sp
    >>> Mesh(sp.symbols("x y"), [[0, 0], [2, 0], [0, 1]], [[0, 1, 2]]).volume
    1.0
    """

    def __init__(
        self,
        coordinates: Sequence[sp.Symbol],
        vertices: Any,
        cells: Any,
        parts: Mapping[str, Any] | None = None,
        regions: Mapping[str, Any] | None = None,
    ) -> None:
        self.coordinates = symbols_of(coordinates, "Mesh")
        dim = len(self.coordinates)
        if dim > 3:
            raise InvalidMesh(f"a Mesh has one, two or three coordinates; {dim} were given.")
        self._unit_dim = dim
        self.vertices = checks.array_of(vertices, dim, "f", "the vertices of a Mesh")
        widths = tuple(kind.corners for kind in cells_of(dim))
        given = checks.array_of(cells, widths, "i", "the cells of a Mesh")
        checks.check_vertices(self.vertices, given)
        kind = kind_of(dim, given.shape[1])
        self.cell = kind.name
        self._tensor = kind.corners > dim + 1
        oriented = mesh_tensor.oriented if self._tensor else checks.oriented
        self.cells, self.cell_volumes = oriented(self.vertices, given)
        found = facets_of_cells(self.vertices, self.cells)
        self.facets, self._opposite = found.outer, found.opposite
        # Pieces that hang together without sharing facets are told by the vertex where they do.
        self._check_hanging()
        check_connected(self.cells, found, self.vertices)
        self._names, self.facet_parts, self.interfaces = labels_of_facets(
            parts or {}, found, len(self.vertices)
        )
        self.regions, self.cell_regions = checks.labels_of_cells(regions or {}, len(self.cells))
        lower, upper = self.vertices.min(axis=0), self.vertices.max(axis=0)
        self.bounds: Bounds = (tuple(lower.tolist()), tuple(upper.tolist()))

    def _check_hanging(self) -> None:
        """Refuse vertices of the boundary that lie on a facet which does not have them."""
        if self.dim == 1:
            return
        rim = np.unique(self.facets)
        points = torch.tensor(self.vertices[rim])
        margin = checks.HANGING * checks.extent_of(self.vertices)
        point, item = (column.numpy() for column in self._facet_tree.pairs(points, margin))
        corners, facet = self._skin
        apart = (self.facets[facet[item]] != rim[point][:, None]).all(axis=1)
        point, item = rim[point[apart]], item[apart]
        corners = corners[item]
        gap = gaps(torch.tensor(self.vertices[point]), torch.tensor(corners)).numpy()
        for hit in np.flatnonzero(gap <= margin):
            raise InvalidMesh(
                f"vertex {point[hit]} at {checks.at(self.vertices[point[hit]])} hangs on the facet "
                f"with the vertices {self.facets[facet[item[hit]]].tolist()}, which does not have "
                "it; divide the cell there."
            )

    @cached_property
    def _area_vectors(self) -> np.ndarray:
        if self.dim > 1:
            return super()._area_vectors
        return np.sign(self.vertices[self.facets[:, 0]] - self.vertices[self._opposite])

    @cached_property
    def volume(self) -> float:
        return math.fsum(self.cell_volumes)

    @property
    def _log_volume(self) -> float:
        return math.log(self.volume)

    # Where points are

    @cached_property
    def _locator(self) -> Locator:
        return Locator(self.vertices[self.cells])

    def locate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The cell that holds each point.

        Parameters
        ----------
        points : shape (N, d).

        Returns
        -------
        cell : LongTensor, shape (N,), −1 for points outside. On a common facet either cell.
        weights :
            Of the vertices of that cell, shape (N, k), so that x = Σ_k w_k v_k: barycentric
            coordinates, or multilinear shape functions. NaN for points outside.
        """
        return self._locator.locate(self._checked(points).detach())

    def contains(self, points: Tensor, tolerance: float = 0.0) -> Tensor:
        inside = self.locate(points)[0] >= 0
        if tolerance > 0 and not bool(inside.all()):
            rest = (~inside).nonzero()[:, 0]
            inside[rest] = super().contains(points[rest], tolerance)
        return inside

    def _encloses(self, points: Tensor, facet: Tensor, weights: Tensor) -> Tensor:
        return self.locate(points)[0] >= 0

    # Sampling and quadrature

    @cached_property
    def _cell_order(self) -> np.ndarray:
        return spatial_order(self.vertices[self.cells].mean(axis=1))

    def _from_unit(self, u: Tensor) -> Tensor:
        order = self._cell_order
        volumes = torch.tensor(self.cell_volumes[order], device=u.device)
        place, inner = select(u[:, 0], volumes / volumes.sum())
        corners = torch.tensor(self.vertices[self.cells[order]], device=u.device)[place]
        inside = torch.cat([inner[:, None], u[:, 1:]], dim=1)
        if self._tensor:
            densities = self._densities[torch.tensor(order)].to(u.device)[place]
            weights = mesh_tensor.corner_weights(mesh_tensor.uniform(inside, densities))
        else:
            weights = simplex_weights(inside)
        return blend(weights, corners)

    @cached_property
    def _densities(self) -> Tensor:
        """Jacobian determinants of quadrilaterals and hexahedra at {0, ½, 1}^d."""
        return mesh_tensor.densities(self.vertices[self.cells])

    def quadrature(self, degree: int = 2, region: str | None = None) -> tuple[Tensor, Tensor]:
        """Points and weights that integrate over the mesh or a region of it.

        Parameters
        ----------
        degree : polynomials up to this degree are integrated exactly on every cell.
        region : name of a region; default the whole mesh.

        Returns
        -------
        points : shape (Q, d), in float64.
        weights : shape (Q,), positive; their sum is the volume.

        Raises
        ------
        InvalidOption
            If there is no such region, or the degree is no integer from 0 to 40.
        """
        rule, shares = simplex_rule(self.dim, degree)  # checks the degree
        if region is not None and region not in self.regions:
            raise InvalidOption(
                f"{region!r} is no region of {self!r}; its regions are "
                f"{', '.join(map(repr, self.regions)) or 'none'}."
            )
        every = np.ones(len(self.cells), dtype=bool)
        chosen = every if region is None else self.cell_regions == self.regions.index(region)
        if self._tensor:
            return mesh_tensor.quadrature(self.vertices[self.cells[chosen]], degree)
        points = np.einsum("qk,ckd->cqd", rule, self.vertices[self.cells[chosen]])
        weights = np.outer(self.cell_volumes[chosen], shares)
        return torch.tensor(points.reshape(-1, self.dim)), torch.tensor(weights.ravel())

    # Ways to get a mesh

    @classmethod
    def structured(cls, domain: Domain, n: int | Sequence[int], cell: str | None = None) -> Mesh:
        """Divide a box, a union of boxes that meet along whole grid lines, or a box with a hole.

        Parameters
        ----------
        domain : an Interval, Rectangle or Box of up to three coordinates, or what ``|`` and ``-``
            make of several, for instance an L-shape; or a Rectangle without a Disk inside of it.
        n : cells per axis of the bounding box, one number or one for each axis.
        cell : ``"quadrilateral"`` or ``"hexahedron"``; default the simplex of the dimension.

        Returns
        -------
        Mesh
            Each box of the grid is one cell, or is divided into 2 or 6 simplices; parts are named
            as those of the domain. Around a round hole the cells form rings, finer towards it.

        Raises
        ------
        InvalidOption
            If the grid does not fit the domain, the domain has round or oblique sides, or there is
            no such cell in its dimension.
        """
        from pdeml.domains.mesh_structured import structured

        return structured(domain, n, cell)

    @classmethod
    def generate(cls, domain: Domain, h: float | Callable[..., float]) -> Mesh:
        """Mesh a domain of two or three coordinates by gmsh.

        Parameters
        ----------
        domain : boxes, disks, balls, polygons, and what ``|``, ``&`` and ``-`` make of them.
        h : length of the edges, or a function of the coordinates (x, y) or (x, y, z).

        Returns
        -------
        Mesh
            Of simplices. Vertices of the boundary lie on that of the domain; parts are named as its
            parts.

        Raises
        ------
        MissingDependency
            If gmsh is not installed, or a library of the system that it needs.
        InvalidOption
            If the domain is of another kind, or h is not positive or too small.
        InvalidMesh
            If gmsh fails.
        """
        from pdeml.domains.mesh_gmsh import generate

        return generate(domain, h)

    @classmethod
    def read(cls, path: str | os.PathLike[str], coordinates: Sequence[sp.Symbol]) -> Mesh:
        """Read an ``.xdmf`` file (with its ``.h5``), or a ``.msh`` file of version 2.2 or 4.1.

        Parameters
        ----------
        path : the file; by its ending.
        coordinates : SymPy symbols; a plane mesh may be stored with a third coordinate 0.

        Returns
        -------
        Mesh
            With names as stored; a tag without a name is called by its number.

        Raises
        ------
        InvalidMesh
            If the file is damaged, hostile, of another kind, or holds no valid mesh.
        InvalidOption
            If the ending is another one.
        """
        from pdeml.domains.mesh_msh import read_msh
        from pdeml.domains.mesh_xdmf import read_xdmf

        readers = {".xdmf": read_xdmf, ".msh": read_msh}
        reader = readers.get(Path(path).suffix.lower())
        if reader is None:
            raise InvalidOption(f"{str(path)!r}: a mesh is read from .xdmf or .msh files.")
        try:
            return cls(*reader(path, symbols_of(coordinates, "Mesh")))
        except InvalidMesh as error:
            raise InvalidMesh(f"{str(path)!r}: {error}") from error

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.xdmf`` file with its ``.h5`` beside it, or a ``.msh`` file (4.1, text).

        `Mesh.read` gives the same mesh back exactly; DOLFINx, ParaView and gmsh read them too.

        Raises
        ------
        OutputError
            If the file cannot be written, or the ``.h5`` file is not of that ``.xdmf`` file.
        InvalidOption
            If the ending is another one.
        """
        from pdeml.domains.mesh_msh import write_msh
        from pdeml.domains.mesh_xdmf import write_xdmf

        writers = {".xdmf": write_xdmf, ".msh": write_msh}
        writer = writers.get(Path(path).suffix.lower())
        if writer is None:
            raise InvalidOption(f"{str(path)!r}: a mesh is written as .xdmf or .msh.")
        writer(path, self)

    @property
    def named_facets(self) -> dict[str, np.ndarray]:
        """Vertices of the facets of each part and interface, shape (F, k)."""
        return {name: self.facets_of(name) for name in self.parts} | self.interfaces

    @property
    def named_cells(self) -> dict[str, np.ndarray]:
        """Indices of the cells of each region."""
        return {
            name: np.flatnonzero(self.cell_regions == index)
            for index, name in enumerate(self.regions)
        }

    def renamed(self, names: Mapping[str, str]) -> Mesh:
        """This mesh with other names of parts, interfaces and regions.

        Parameters
        ----------
        names : new name of each old one; several may become one. The others keep theirs.

        Raises
        ------
        InvalidOption
            If an old name does not exist.
        """
        named = [self.named_facets, self.named_cells]
        for name in names:
            if not any(name in group for group in named):
                known = ", ".join(repr(old) for group in named for old in group)
                raise InvalidOption(f"{name!r} is no name of this mesh; they are {known}.")
        merged: list[dict[str, np.ndarray]] = [{}, {}]
        for group, target in zip(named, merged, strict=True):
            for old, rows in group.items():
                new = names.get(old, old)
                target[new] = np.concatenate([target[new], rows]) if new in target else rows
        return Mesh(self.coordinates, self.vertices, self.cells, *merged)

    def plot(self) -> Figure:
        """A picture of the mesh: cells by region, boundary facets by part."""
        from pdeml import plots

        return plots.mesh_figure(
            self.vertices,
            self.cells,
            {name: self.facets_of(name) for name in self.parts},
            self.named_cells,
            [symbol.name for symbol in self.coordinates],
        )

    # Identity

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the arrays and names."""
        arrays = (self.vertices, self.cells, self.facet_parts, self.cell_regions)
        names = (self._names, self.regions, (*self.interfaces,))
        return digest_of((*arrays, *self.interfaces.values()), names)

    @property
    def _key(self) -> tuple:
        return "mesh", self.coordinates, self.digest

    def __repr__(self) -> str:
        return (
            f"Mesh({shown_all(self.coordinates)}, <{len(self.vertices)} vertices>, "
            f"<{len(self.cells)} cells>, parts {shown_all(self.parts)})"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "Mesh",
            "coordinates": [symbol.name for symbol in self.coordinates],
            "cell": self.cell,
            "sha256": self.digest,
            "vertices": to_text(self.vertices),
            "cells": to_text(self.cells),
            "facets": [[name, to_text(array)] for name, array in self.named_facets.items()],
            "regions": [[name, to_text(array)] for name, array in self.named_cells.items()],
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        coordinates = looked_up(data["coordinates"], symbols)
        dim = len(coordinates)
        # files of older versions hold simplices and do not say so
        named = {kind.name: kind for kind in cells_of(dim)}
        kind = named.get(data.get("cell", next(iter(named), None)))
        if kind is None:
            raise InvalidMesh(f"a mesh of {dim} coordinates has no cells {data.get('cell')!r}.")
        mesh = cls(
            coordinates,
            from_text(data["vertices"], dim, "f"),
            from_text(data["cells"], kind.corners, "i"),
            named_from_text(data["facets"], FACET[kind].corners),
            named_from_text(data["regions"], 1),
        )
        if mesh.digest != data["sha256"]:
            raise InvalidMesh("its digest does not match its content.")
        return mesh
