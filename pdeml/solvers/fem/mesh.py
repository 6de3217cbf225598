"""DOLFINx meshes of domains, and what a serial field needs of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdeml.domains import Box, Domain, SpaceTime
from pdeml.domains import mesh as domains
from pdeml.domains.mesh_kinds import kind_of
from pdeml.domains.mesh_structured import checked_cell
from pdeml.domains.mesh_tensor import AROUND
from pdeml.errors import InvalidOption
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.processes import communicator, of_first


@dataclass(frozen=True)
class Mesh:
    """A mesh of cells of one kind.

    Attributes
    ----------
    handle : the DOLFINx mesh.
    counts : cells per axis where it is the structured mesh of a box, else None.
    source : the mesh with named parts that it is made of, cell by cell; None where there is none.
    """

    handle: Any
    counts: tuple[int, ...] | None = None
    source: domains.Mesh | None = None

    @property
    def dim(self) -> int:
        return int(self.handle.geometry.dim)

    @property
    def cell(self) -> str:
        """Kind of the cells, as `pdeml.Mesh` calls it."""
        return str(self.handle.topology.cell_name())

    @property
    def cells(self) -> int:
        """Number of cells of all ranks."""
        return int(self.handle.topology.index_map(self.dim).size_global)

    def parts_of(self, facets: np.ndarray) -> np.ndarray:
        """Numbers (n,) of the parts of the source that facets (n,) of the boundary belong to."""
        assert self.source is not None
        mesh, geometry = backend.load().mesh, self.handle.geometry
        corners = mesh.entities_to_geometry(self.handle, self.dim - 1, facets)
        given = np.sort(geometry.input_global_indices[corners], axis=1).reshape(len(facets), -1)
        rows = np.sort(self.source.facets, axis=1)
        known = {tuple(r): p for r, p in zip(rows.tolist(), self.source.facet_parts, strict=True)}
        return np.array([known[tuple(r)] for r in given.tolist()], dtype=np.int64)


def space_of(problem: Any) -> Domain:
    """The domain in space."""
    domain = problem.domain
    return domain.space if isinstance(domain, SpaceTime) else domain


def mesh_of(space: Domain, counts: Sequence[int], cell: str | None = None) -> Mesh:
    """A mesh whose boundary is that of the domain.

    Parameters
    ----------
    space : a box of one to three dimensions, a union of boxes that meets a grid (an L-shape), or a
        `pdeml.domains.mesh.Mesh`, which is taken as it is; gmsh meshes others.
    counts : boxes per axis of the bounding box; each is cut along its main diagonal.
    cell : ``"quadrilateral"`` or ``"hexahedron"``, where boxes are not cut; default simplices.

    Raises
    ------
    InvalidOption
        The grid does not meet the boundary, and gmsh is not installed or makes no such cells.
    """
    dolfinx, counts = backend.load(), tuple(int(n) for n in counts)
    comm, ghosts = communicator(), dolfinx.mesh.GhostMode.shared_facet
    lower, upper = ([float(c) for c in corner] for corner in space.bounds)
    if isinstance(space, Box):
        kind = dolfinx.mesh.CellType[checked_cell(len(counts), cell)]
        if len(counts) == 1:
            handle = dolfinx.mesh.create_interval(
                comm, counts[0], [lower[0], upper[0]], ghost_mode=ghosts
            )
        else:
            create = dolfinx.mesh.create_rectangle if len(counts) == 2 else dolfinx.mesh.create_box
            handle = create(comm, [lower, upper], list(counts), kind, ghost_mode=ghosts)
        return Mesh(handle, counts)
    # made by one process: meshers promise no bits
    divided = of_first(
        comm, lambda: space if isinstance(space, domains.Mesh) else _divided(space, counts, cell)
    )
    return Mesh(from_arrays(divided.vertices, divided.cells).handle, source=divided)


def _divided(space: Domain, counts: tuple[int, ...], cell: str | None) -> domains.Mesh:
    try:
        return domains.Mesh.structured(space, counts, cell)
    except InvalidOption:
        # no union of boxes, or not on this grid: gmsh meshes it, where it is installed
        simplices = checked_cell(space.dim, cell) == checked_cell(space.dim, None)
        if not simplices or importlib.util.find_spec("gmsh") is None:
            raise
    sizes = zip(*space.bounds, counts, strict=True)
    return domains.Mesh.generate(space, max((b - a) / n for a, b, n in sizes))


def from_arrays(vertices: np.ndarray, cells: np.ndarray, comm: Any = None) -> Mesh:
    """A mesh from the vertices (V, d) and cells (C, k) that rank 0 has, of all ranks."""
    dolfinx, dim = backend.load(), vertices.shape[1]
    comm = communicator() if comm is None else comm
    kind = kind_of(dim, cells.shape[1])
    element = dolfinx.basix.element("Lagrange", kind.name, 1, shape=(dim,))
    if kind.corners > dim + 1:
        cells = cells[:, AROUND[dim]]
    if comm.rank:
        vertices, cells = vertices[:0], cells[:0]
    partitioner = dolfinx.mesh.create_cell_partitioner(dolfinx.mesh.GhostMode.shared_facet, 2)
    handle = dolfinx.mesh.create_mesh(
        comm,
        np.ascontiguousarray(cells, dtype=np.int64),
        element,
        np.ascontiguousarray(vertices, dtype=np.float64),
        partitioner,
    )
    return Mesh(handle)


def gathered_cells(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, d) and cells (C, k) of all ranks on every rank, as `pdeml.Mesh` has them."""
    handle, dim = mesh.handle, mesh.dim
    owned = handle.topology.index_map(dim).size_local
    geometry = handle.geometry
    nodes, own = geometry.index_map(), geometry.index_map().size_local
    table = geometry.dofmaps[0][:owned]
    if table.shape[1] > dim + 1:
        table = table[:, AROUND[dim]]
    corners = nodes.local_to_global(table.ravel().astype(np.int32)).reshape(table.shape)
    everywhere = handle.comm.allgather
    points = np.concatenate(everywhere(geometry.x[:own, :dim]))
    return points, np.concatenate(everywhere(corners))


def gathered(mesh: Mesh, space: Any) -> dict[str, np.ndarray]:
    """Vertices, cells and node numbers of a function space, those of all ranks on every rank.

    Returns
    -------
    points (V, d), corners (C, k), dofs (C, n) in global numbers of the space's nodes.
    """
    points, corners = gathered_cells(mesh)
    local = space.dofmap.list[: mesh.handle.topology.index_map(mesh.dim).size_local]
    dofs = space.dofmap.index_map.local_to_global(local.ravel().astype(np.int32))
    dofs = np.concatenate(mesh.handle.comm.allgather(dofs.reshape(local.shape)))
    return {"points": points, "corners": corners, "dofs": dofs}
