"""Meshes of combined domains by gmsh."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from pdeml.domains.csg import Difference, Intersection, Region
from pdeml.domains.domain import Domain
from pdeml.domains.geometry import Ball, Box
from pdeml.domains.mesh import Mesh
from pdeml.domains.mesh_tags import dropped, without_zeros
from pdeml.domains.polygon import Polygon
from pdeml.domains.space import Space
from pdeml.errors import InvalidMesh, InvalidOption, MissingDependency

MAX_CELLS = 10**7

# What the gmsh module of the package index links to beside the C and C++ libraries.
LIBRARIES = (
    "libglu1-mesa libgl1 libxrender1 libxcursor1 libxfixes3 libxext6 libxft2 libxinerama1 libx11-6"
)

OPTIONS = {
    "General.Terminal": 0,
    "General.NumThreads": 1,
    # Joining collinear edges would join parts of the boundary.
    "Geometry.OCCUnionUnify": 0,
    "Mesh.Algorithm": 6,
    "Mesh.Algorithm3D": 1,
    "Mesh.ElementOrder": 1,
    "Mesh.RandomSeed": 1,
    "Mesh.MeshSizeExtendFromBoundary": 0,
    "Mesh.MeshSizeFromPoints": 0,
    "Mesh.MeshSizeFromCurvature": 0,
    "Mesh.MeshSizeMin": 0,
    "Mesh.MeshSizeMax": 1e22,
}

Entities = list[tuple[int, int]]


def import_gmsh() -> Any:
    """The gmsh module.

    Raises
    ------
    MissingDependency
        If it is not installed, or the system lacks a library.
    """
    try:
        import gmsh
    except ImportError:
        raise MissingDependency(
            "Mesh.generate needs gmsh, which is not installed: pip install gmsh. Mesh.structured "
            "and Mesh.read do without."
        ) from None
    except OSError as error:
        raise MissingDependency(
            f"gmsh is installed, but the system lacks a library that it needs ({error}). On Debian "
            f"and Ubuntu: apt-get install {LIBRARIES}. Mesh.structured and Mesh.read do without."
        ) from error
    return gmsh


def generate(domain: Domain, h: float | Callable[..., float]) -> Mesh:
    """See `Mesh.generate`."""
    if not isinstance(domain, Space) or domain.dim not in (2, 3):
        raise InvalidOption(
            f"{domain!r} cannot be meshed by gmsh: a space of two or three coordinates can. "
            "Divide an Interval by Mesh.structured, and multiply the mesh by Time afterwards."
        )
    if not callable(h):
        sides = [high - low for low, high in zip(*domain.bounds, strict=True)]
        if not (math.isfinite(h) and h > 0) or math.prod(sides) / h**domain.dim > MAX_CELLS:
            raise InvalidOption(
                f"h = {h!r}; give a positive length of edges, large enough for {MAX_CELLS} cells."
            )
    gmsh = import_gmsh()
    with _model(gmsh):
        try:
            _shape(gmsh.model.occ, domain)
            gmsh.model.occ.synchronize()
            _divide(gmsh, domain.dim, h)
            return _mesh(gmsh.model, domain)
        except Exception as error:
            if type(error) is not Exception:  # gmsh raises nothing more specific
                raise
            raise InvalidMesh(f"gmsh cannot mesh {domain!r}: {error}") from error


@contextmanager
def _model(gmsh: Any) -> Iterator[None]:
    """An empty model; a session of the caller's is left as it was."""
    foreign = gmsh.isInitialized()
    if not foreign:
        gmsh.initialize(interruptible=False)
    before = {name: gmsh.option.getNumber(name) for name in OPTIONS}
    current = gmsh.model.getCurrent() if foreign else ""
    gmsh.model.add("pdeml")
    try:
        for name, value in OPTIONS.items():
            gmsh.option.setNumber(name, value)
        yield
    finally:
        gmsh.model.remove()
        if foreign:
            for name, value in before.items():
                gmsh.option.setNumber(name, value)
            gmsh.model.setCurrent(current)
        else:
            gmsh.finalize()


def _shape(occ: Any, domain: Space) -> Entities:
    """The domain as entities of the model."""
    dim = domain.dim
    if isinstance(domain, Box):
        corner, sides = (*domain.lower, 0.0)[:3], domain.lengths
        add = occ.addRectangle if dim == 2 else occ.addBox
        return [(dim, add(*corner, *sides))]
    if isinstance(domain, Ball):
        centre = (*domain.centre, 0.0)[:3]
        if dim == 2:
            return [(2, occ.addDisk(*centre, domain.radius, domain.radius))]
        return [(3, occ.addSphere(*centre, domain.radius))]
    if isinstance(domain, Polygon):
        points = [occ.addPoint(*corner, 0.0) for corner in domain.vertices]
        ends = [*points[1:], points[0]]
        lines = [occ.addLine(*pair) for pair in zip(points, ends, strict=True)]
        return [(2, occ.addPlaneSurface([occ.addCurveLoop(lines)]))]
    if not isinstance(domain, Region):
        raise InvalidOption(f"{domain!r} is made of cells already, and gmsh cannot mesh it.")
    first, *others = (_shape(occ, child) for child in domain.children)
    if isinstance(domain, Intersection):
        for other in others:
            first = occ.intersect(first, other)[0]
    else:
        combine = occ.cut if isinstance(domain, Difference) else occ.fuse
        first = combine(first, [entity for other in others for entity in other])[0]
    return first


def _divide(gmsh: Any, dim: int, h: float | Callable[..., float]) -> None:
    wrong: list[Any] = []

    def size(_dim: int, _tag: int, x: float, y: float, z: float, _size: float) -> float:
        try:
            value = float(h(*(x, y, z)[:dim])) if callable(h) else h
        except Exception as error:
            # An exception would be lost in gmsh.
            wrong.append(error)
            return 1.0
        if not (math.isfinite(value) and value > 0):
            wrong.append(f"it is {value} at {(x, y, z)[:dim]}")
            return 1.0
        return value

    if callable(h):
        gmsh.model.mesh.setSizeCallback(size)
    else:
        gmsh.option.setNumber("Mesh.MeshSizeMax", h)
    gmsh.model.mesh.generate(dim)
    if wrong:
        cause = wrong[0] if isinstance(wrong[0], Exception) else None
        raise InvalidOption(f"h must be a function to positive lengths, but {wrong[0]}.") from cause


def _mesh(model: Any, domain: Space) -> Mesh:
    dim = domain.dim
    tags, places, _ = model.mesh.getNodes()
    order = np.argsort(tags)
    vertices = without_zeros(np.asarray(places).reshape(-1, 3)[order], dim)
    tags = np.asarray(tags)[order]

    def simplices(of: int, entity: int) -> np.ndarray:
        _, _, nodes = model.mesh.getElements(of, entity)
        rows = np.asarray(nodes[0] if len(nodes) else [], dtype=np.int64)
        return np.searchsorted(tags, rows).reshape(-1, of + 1)

    bodies = model.getEntities(dim)
    cells = np.concatenate([simplices(*body) for body in bodies])
    named: dict[str, list[np.ndarray]] = {name: [] for name in domain.parts}
    for _, entity in model.getBoundary(bodies, combined=True, oriented=False):
        facets = simplices(dim - 1, entity)
        # Nodes between the ends lie on this piece of the boundary alone.
        _, inner, _ = model.mesh.getNodes(dim - 1, entity)
        points = np.asarray(inner).reshape(-1, 3)[:, :dim]
        if not len(points):
            points = vertices[facets].mean(axis=1)
        votes = domain.part_of(torch.tensor(points))
        part = int(votes[votes >= 0].mode().values) if bool((votes >= 0).any()) else -1
        if part < 0:
            raise InvalidMesh(
                f"a piece of the boundary of {domain!r} near {points[0].tolist()} is none of its "
                "parts."
            )
        named[domain.parts[part]].append(facets)
    parts = {name: np.concatenate(pieces) for name, pieces in named.items() if pieces}
    return Mesh(domain.coordinates, *dropped(vertices, cells, parts))
