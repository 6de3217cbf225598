"""Round sides: vertices of a divided mesh are moved onto them, and facets that leave them found."""

from __future__ import annotations

import numpy as np
import torch

from pdeml.domains import Domain
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.mesh import Mesh

NEAR = 1e-12  # of the extent of the domain: a vertex that near is on its boundary
CURVE = 8.0  # δ = l²/(8R): the gap between an arc of radius R and its chord of length l


def _outer(mesh: Mesh) -> np.ndarray:
    """Facets of the boundary that this rank owns."""
    handle = mesh.handle
    handle.topology.create_connectivity(mesh.dim - 1, mesh.dim)
    found: np.ndarray = backend.load().mesh.exterior_facet_indices(handle.topology)
    return found


def _corners(mesh: Mesh, facets: np.ndarray) -> np.ndarray:
    """Geometry nodes (F, n) of facets."""
    found: np.ndarray = backend.load().mesh.entities_to_geometry(mesh.handle, mesh.dim - 1, facets)
    return found


def fit(mesh: Mesh, space: Domain) -> None:
    """Move the vertices on the boundary of a mesh onto that of the domain, in place.

    Halving a chord of a round side leaves its middle inside of the side or beyond it: without this
    the cells of every level would fill the first polygon, and the error of that one would stay.
    """
    la, geometry = backend.load().dolfinx.la, mesh.handle.geometry
    mark = la.vector(geometry.index_map())
    mark.array[:] = 0.0
    mark.array[_corners(mesh, _outer(mesh)).ravel()] = 1.0
    mark.scatter_reverse(la.InsertMode.add)
    mark.scatter_forward()
    chosen = np.flatnonzero(mark.array > 0)
    points = torch.from_numpy(geometry.x[chosen, : mesh.dim].copy())
    gaps = space.signed_distance(points)
    gaps[gaps.abs() <= NEAR * _extent(space)] = 0.0
    shift = (-gaps[:, None] * space.normals(points)).numpy()
    before, start = determinants(mesh), geometry.x[chosen, : mesh.dim].copy()
    factor = 1.0
    while True:
        geometry.x[chosen, : mesh.dim] = start + factor * shift
        turned = bool((before * determinants(mesh) <= 0).any())
        if not mesh.handle.comm.allreduce(int(turned)):
            return
        factor /= 2  # the rest of the way when the cells are smaller


def _extent(space: Domain) -> float:
    return max(b - a for a, b in zip(*space.bounds, strict=True))


def _middles(mesh: Mesh, space: Domain, facets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (F, n, d) of facets, and distances (F,) of their middles to the boundary."""
    corners = mesh.handle.geometry.x[_corners(mesh, facets), : mesh.dim]
    return corners, space.signed_distance(torch.from_numpy(corners.mean(1))).abs().numpy()


def gap_note(mesh: Mesh, space: Domain) -> list[str]:
    """A note where the boundary of a given mesh is not that of the domain."""
    _, gaps = _middles(mesh, space, _outer(mesh))
    largest = max(mesh.handle.comm.allgather(float(gaps.max(initial=0.0))))
    if largest <= NEAR * _extent(space):
        return []
    return [
        f"the boundary of the mesh is up to {largest:.1e} away from the declared one: the estimate "
        "is of the problem on the mesh"
    ]


def determinants(mesh: Mesh) -> np.ndarray:
    """d! times the signed volumes of the cells of this rank, ghosts last."""
    geometry = mesh.handle.geometry
    corners = geometry.x[geometry.dofmaps[0], : mesh.dim]
    found: np.ndarray = np.linalg.det(corners[:, 1:] - corners[:, :1])
    return found


def strays(mesh: Mesh, space: Domain, tolerance: float) -> np.ndarray:
    """Cells of this rank with a facet on the boundary that is too long for the curvature there.

    A chord of length l whose middle is δ away from an arc of radius R = l²/(8δ) changes the radius
    by the part δ/R = 8 δ²/l²; that is compared with the tolerance.
    """
    handle, dim = mesh.handle, mesh.dim
    facets = _outer(mesh)
    corners, gaps = _middles(mesh, space, facets)
    longest = np.linalg.norm(corners[:, :1] - corners[:, 1:], axis=2).max(1)
    facets = facets[CURVE * (gaps / longest) ** 2 > tolerance]
    cells = handle.topology.connectivity(dim - 1, dim)
    return np.array([cells.links(f)[0] for f in facets], dtype=np.int32)
