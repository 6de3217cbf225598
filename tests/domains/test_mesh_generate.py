"""Meshes of declared domains: regular ones, and by gmsh where it is installed."""

import builtins
import math
import sys

import numpy as np
import pytest
import sympy as sp
import torch

from pdeml import errors
from pdeml.domains import Ball, Box, Disk, Interval, Mesh, Polygon, Rectangle, Time
from pdeml.errors import InvalidMesh, InvalidOption, MissingDependency
from tests.domains.meshes import disk, seeded, spiky, x, y, z


def rectangle(x0, y0, x1, y1):
    return Rectangle((x, y), (x0, y0), (x1, y1))


def circle(cx, cy, radius):
    return Disk((x, y), (cx, cy), radius)


def box(low, high):
    return Box((x, y, z), low, high)


L_SHAPE = rectangle(-1, -1, 1, 1) - rectangle(0, -1, 1, 0)
STAIRS = Polygon((x, y), [(0, 0), (3, 0), (3, 1), (2, 1), (2, 2), (1, 2), (1, 3), (0, 3)])


@pytest.mark.parametrize(
    "domain, n, cells, volume, area",
    [
        (Interval(x, -1, 2), 7, 7, 3, 2),
        (rectangle(0, 0, 2, 1), (4, 3), 24, 2, 6),
        (box((0, 0, 0), (1, 2, 3)), (1, 2, 3), 36, 6, 22),
        (L_SHAPE, 4, 24, 3, 8),
        (rectangle(0, 0, 2, 1) | rectangle(0, 1, 1, 2), 6, 54, 3, 8),
        (STAIRS, 3, 12, 6, 12),
        (rectangle(0, 0, 3, 3) - rectangle(1, 1, 2, 2), (3, 6), 32, 8, 16),
        (box((0, 0, 0), (2, 2, 2)) - box((1, 1, 1), (3, 3, 3)), 2, 42, 7, 24),
        (rectangle(0, 0, 2, 2) & rectangle(1, 0, 3, 3), 2, 8, 2, 6),
    ],
)
def test_regular_meshes(domain, n, cells, volume, area):
    mesh = Mesh.structured(domain, n)
    assert len(mesh.cells) == cells
    assert mesh.volume == pytest.approx(volume, rel=1e-14)
    assert mesh.area == pytest.approx(area, rel=1e-14)
    assert mesh.parts == domain.parts and mesh.bounds == domain.bounds
    points = domain.sample(300, seeded())
    assert mesh.contains(points).all()
    edge = domain.sample_boundary(300, seeded())
    assert torch.equal(mesh.part_of(edge.points), edge.parts)
    assert torch.allclose(mesh.normals(edge.points), edge.normals, atol=1e-14)
    assert np.allclose(mesh.cell_volumes, mesh.cell_volumes[0], rtol=1e-12)


def test_corners_are_on_grid_lines_exactly():
    corner = [float(np.nextafter(1 / 3, 1)), 0.3]
    mesh = Mesh.structured(rectangle(0, 0, 1, 1) - rectangle(0, 0, *corner), (3, 10))
    assert (mesh.vertices == corner).all(axis=1).any()


@pytest.mark.parametrize(
    "domain, n, message",
    [
        (circle(0, 0, 1), 4, "round or oblique"),
        (Polygon((x, y), [(0, 0), (1, 0), (0, 1)]), 4, "round or oblique"),
        (L_SHAPE, 3, r"3 cells along x have no grid line at 0"),
        (rectangle(0, 0, 1, 1), 0, "positive integer"),
        (rectangle(0, 0, 1, 1), 2.0, "positive integer"),
        (rectangle(0, 0, 1, 1), (2, 2, 2), "one for each of 2"),
        (rectangle(0, 0, 1, 1), 10**5, "more than"),
        (Interval(x, 0, 1) * Time(y, 0, 1), 3, "space of 1 to 3"),
        (Box(sp.symbols("x0:4"), (0,) * 4, (1,) * 4), 2, "1 to 3"),
    ],
)
def test_grids_that_do_not_fit(domain, n, message):
    with pytest.raises(InvalidOption, match=message):
        Mesh.structured(domain, n)


# gmsh


LENS = 2 * math.pi / 3 - math.sqrt(3) / 2
BALL = Ball((x, y, z), (0, 0, 0), 0.5)

CASES = [
    (rectangle(0, 0, 2, 2) - circle(1, 1, 0.5), 0.1, 4 - math.pi / 4, 8 + math.pi),
    (rectangle(0, 0, 1, 1) - circle(0, 0, 0.5), 0.05, 1 - math.pi / 16, 3 + math.pi / 4),
    (circle(0, 0, 1) & circle(1, 0, 1), 0.1, LENS, 4 * math.pi / 3),
    (circle(0, 0, 1) | circle(1, 0, 1), 0.1, 2 * math.pi - LENS, 8 * math.pi / 3),
    (rectangle(0, 0, 2, 1) | rectangle(0, 1, 1, 2), 0.2, 3, 8),
    (rectangle(0, 0, 2, 1) - rectangle(0.5, 0.5, 1, 1), 0.1, 1.75, 7),
    (STAIRS, 0.2, 6, 12),
    (STAIRS - circle(0.5, 0.5, 0.25) - circle(2, 0.5, 0.25), 0.1, 6 - math.pi / 8, 12 + math.pi),
    (box((0, 0, 0), (1, 1, 1)), 0.4, 1, 6),
    (box((0, 0, 0), (1, 1, 1)) - BALL, 0.12, 1 - math.pi / 48, 6 - math.pi / 16),
    (box((0, 0, 0), (1, 1, 1)) | box((1, 0, 0), (2, 1, 2)), 0.4, 3, 14),
    (BALL, 0.12, math.pi / 6, math.pi),
]


@pytest.mark.gmsh
@pytest.mark.parametrize("domain, h, volume, area", CASES)
def test_generated_meshes_are_the_domain(domain, h, volume, area):
    mesh = Mesh.generate(domain, h)
    flat = volume in (3, 6, 1, 1.75)
    assert mesh.volume == pytest.approx(volume, rel=1e-12 if flat else 0.03)
    assert mesh.area == pytest.approx(area, rel=1e-12 if flat else 0.03)
    assert mesh.parts == domain.parts
    edges = mesh.vertices[mesh.cells]
    lengths = np.linalg.norm(edges - np.roll(edges, 1, axis=1), axis=2)
    assert 0.7 * h < lengths.mean() < 1.4 * h
    # Vertices of a part lie on that part of the domain, and its facets look the same way.
    for index, name in enumerate(domain.parts):
        facets = mesh.facets_of(name)
        corners = torch.tensor(mesh.vertices[np.unique(facets)])
        assert domain.signed_distance(corners).abs().max() < 1e-9
        middles = mesh.boundary_quadrature(name, 0)
        agree = (domain.normals(middles.points) * middles.normals).sum(dim=1)
        assert agree.mean() > 0.98
        share = (domain.part_of(middles.points) == index).double().mean()
        assert share > 0.9


@pytest.mark.gmsh
def test_the_same_domain_gives_the_same_mesh_and_a_foreign_session_is_kept():
    import gmsh

    domain = circle(0, 0, 1) - circle(0.2, 0, 0.3)
    first = Mesh.generate(domain, 0.2)
    gmsh.initialize(interruptible=False)
    try:
        gmsh.model.add("mine")
        gmsh.model.occ.addPoint(0, 0, 0)
        gmsh.model.occ.synchronize()
        gmsh.option.setNumber("Mesh.MeshSizeMax", 7)
        assert Mesh.generate(domain, 0.2) == first
        assert gmsh.model.getCurrent() == "mine"
        assert gmsh.model.getEntities() == [(0, 1)]
        assert gmsh.option.getNumber("Mesh.MeshSizeMax") == 7
    finally:
        gmsh.finalize()


@pytest.mark.gmsh
def test_edges_follow_a_function():
    mesh = Mesh.generate(rectangle(0, 0, 1, 1), lambda x, y: 0.02 + 0.1 * x)
    corners = mesh.vertices[mesh.cells]
    sizes = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).mean(axis=1)
    place = corners.mean(axis=1)[:, 0]
    assert np.corrcoef(sizes, place)[0, 1] > 0.9
    assert sizes[place < 0.1].mean() == pytest.approx(0.025, rel=0.2)
    assert sizes[place > 0.9].mean() == pytest.approx(0.115, rel=0.2)


@pytest.mark.gmsh
@pytest.mark.parametrize(
    "h, message",
    [
        (lambda x, y: -1, "positive lengths, but it is -1"),
        (lambda x, y: math.nan, "it is nan"),
        (lambda x: 1, "takes 1 positional argument"),
    ],
)
def test_functions_that_give_no_length(h, message):
    with pytest.raises(InvalidOption, match=message):
        Mesh.generate(circle(0, 0, 1), h)


@pytest.mark.parametrize(
    "domain, h, message",
    [
        (circle(0, 0, 1), 0, "positive length"),
        (circle(0, 0, 1), -0.1, "positive length"),
        (circle(0, 0, 1), math.nan, "positive length"),
        (circle(0, 0, 1), 1e-6, "large enough"),
        (Interval(x, 0, 1), 0.1, r"Mesh\.structured"),
        (circle(0, 0, 1) * Time(z, 0, 1), 0.1, "two or three"),
    ],
)
def test_requests_that_cannot_be_met(domain, h, message):
    with pytest.raises(InvalidOption, match=message):
        Mesh.generate(domain, h)


@pytest.mark.gmsh
def test_what_is_made_of_cells_is_not_meshed_again():
    for domain in (disk(2), disk(2) - rectangle(0, 0, 2, 2), spiky()):
        with pytest.raises(InvalidOption, match="made of cells already"):
            Mesh.generate(domain, 0.1)


@pytest.mark.parametrize(
    "error, message",
    [
        (ModuleNotFoundError("No module named 'gmsh'"), "pip install gmsh"),
        (OSError("libGLU.so.1: cannot open shared object file"), "apt-get install libglu1-mesa"),
    ],
)
def test_a_missing_gmsh_says_how_to_get_it(monkeypatch, error, message):
    usual = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "gmsh":
            raise error
        return usual(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "gmsh", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependency, match=message) as caught:
        Mesh.generate(circle(0, 0, 1), 0.1)
    if isinstance(error, OSError):
        assert "libGLU.so.1" in str(caught.value)
    assert isinstance(caught.value, errors.PdemlError)


@pytest.mark.gmsh
def test_a_failure_of_gmsh_is_an_invalid_mesh(monkeypatch):
    import gmsh

    def fail(dim):
        raise Exception("Unable to recover the edge 3")

    monkeypatch.setattr(gmsh.model.mesh, "generate", fail)
    with pytest.raises(InvalidMesh, match="Unable to recover the edge 3"):
        Mesh.generate(circle(0, 0, 1), 0.1)
    assert not gmsh.isInitialized()
