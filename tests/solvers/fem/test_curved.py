"""Round sides: refinement follows them, so that the tolerance holds for the domain itself."""

import math

import numpy as np
import pytest
import sympy as sp

import pdeml
from pdeml.domains import Disk, Rectangle
from pdeml.operators.conditions import Dirichlet
from pdeml.operators.pde import PDE
from pdeml.solvers.fem import levels
from pdeml.solvers.fem.adaptivity import halved
from pdeml.solvers.fem.curved import determinants, fit, strays
from pdeml.solvers.fem.mesh import from_arrays, mesh_of

from .declarations import SQUARE, laplacian, u, x, y

RING = Disk((x, y), (0, 0), 1) - Disk((x, y), (0, 0), 0.5)


def ring(count):
    """Two rows of chords between two circles."""
    angles = 2 * np.pi * np.arange(count) / count
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    inner, outer = np.arange(count), np.arange(count) + count
    after = np.roll(inner, -1)
    cells = np.concatenate(
        [np.stack([inner, outer, after], 1), np.stack([after, outer, after + count], 1)]
    )
    return from_arrays(np.concatenate([0.5 * circle, circle]), cells)


def area(mesh):
    return np.abs(determinants(mesh)).sum() / 2


def test_halved_chords_are_moved_onto_their_circles():
    """Inner and outer circle: chords lie beyond the one and inside of the other."""
    mesh = ring(12)
    plain = area(mesh)
    for level in range(1, 4):
        mesh = halved(mesh)
        fit(mesh, RING)
        n = 12 * 2**level
        # regular polygons of n corners
        assert area(mesh) == pytest.approx(n / 2 * math.sin(2 * math.pi / n) * 0.75, rel=1e-12)
    assert plain == pytest.approx(12 / 2 * math.sin(math.pi / 6) * 0.75)


def test_straight_sides_and_inner_vertices_stay():
    mesh = mesh_of(SQUARE, (3, 3))
    before = mesh.handle.geometry.x.copy()
    fit(mesh, SQUARE)
    assert np.array_equal(mesh.handle.geometry.x, before)
    round_mesh = halved(ring(12))
    before = round_mesh.handle.geometry.x.copy()
    fit(round_mesh, RING)
    moved = np.abs(round_mesh.handle.geometry.x - before).max(1) > 0
    assert moved.sum() == 24  # the middles of 12 chords each


def test_cells_are_not_turned_over():
    """A chord of a third of the circle whose cell is flat: its middle goes as far as it can."""
    vertices = np.array([[0.0, 1.0], [-0.87, -0.49], [0.87, -0.49], [0.45, 0.27], [2.0, 1.5]])
    vertices[:2] = [[0, 1], [0.87, -0.49]]
    vertices[2] = [0.5, 0.3]
    cells = np.array([[0, 1, 2], [0, 2, 4], [2, 1, 4]])
    mesh = from_arrays(vertices, cells)
    outside = Rectangle((x, y), (-3, -3), (3, 3)) - Disk((x, y), (0, 0), 1)
    mesh = halved(mesh)
    before = determinants(mesh)
    fit(mesh, outside)
    assert (before * determinants(mesh) > 0).all()


def test_cells_too_long_for_the_curvature_are_found():
    """A chord over the angle 2α changes the radius by 8δ²/l² = ½ tan²(α/2), for small α."""
    for count in (12, 48):
        half = math.pi / count
        deviation = 8 * ((1 - math.cos(half)) / (2 * math.sin(half))) ** 2
        mesh = ring(count)
        assert len(strays(mesh, RING, 1.001 * deviation)) == 0
        assert len(set(strays(mesh, RING, 0.999 * deviation))) == 2 * count
    assert len(strays(mesh_of(SQUARE, (2, 2)), SQUARE, 1e-12)) == 0


HOLE = sp.log(x**2 + y**2)
AROUND = PDE(
    "around",
    laplacian(u),
    Rectangle((x, y), (-1, -1), (1, 1)) - Disk((x, y), (0, 0), 0.25),
    Dirichlet(u, HOLE),
    {u: HOLE},
)


def test_the_tolerance_holds_for_the_domain_and_not_for_a_polygon():
    """Both degrees agree on any polygon: the error of the first one would stay for ever."""
    solution = pdeml.solve(AROUND, "fem", tol=1e-4, reference=None)
    assert solution.report.converged
    assert solution.error(pdeml.solve(AROUND, "exact"))["l2_relative"] < 1e-4
    assert solution.flux("u", on="boundary") == pytest.approx(-4 * math.pi, rel=1e-4)


PLANE = PDE("plane", laplacian(u), AROUND.domain, Dirichlet(u, x), {u: x})


def test_a_solution_without_error_on_any_polygon_has_round_sides_too():
    solution = pdeml.solve(PLANE, "fem", tol=1e-4, reference=None)
    assert solution.report.converged
    hole = 4 - solution.integral(u - x + 1)
    # a chord changes the radius by 1e-4 at most, in its middle
    assert hole == pytest.approx(math.pi / 16, rel=2e-4)


def test_a_round_side_that_is_too_coarse_is_said_to_be(monkeypatch):
    monkeypatch.setitem(levels.UNKNOWNS, 2, 500)
    solution = pdeml.solve(PLANE, "fem", tol=1e-6, reference=None)
    assert "cells at round sides are too large for the tolerance" in solution.report.notes
    assert any("tol=1.0e-06 was not reached with" in n for n in solution.report.notes)
    assert solution.report.converged is False


def test_a_given_polygon_is_said_to_be_one():
    mesh = pdeml.Mesh.structured(AROUND.domain, (8, 8))
    notes = pdeml.solve(AROUND, "fem", mesh=mesh, reference=None).report.notes
    (note,) = [n for n in notes if "away from the declared" in n]
    facets = mesh.vertices[mesh.facets_of("boundary")]
    gap = 0.25 - np.linalg.norm(facets.mean(1), axis=1).min()
    assert f"up to {gap:.1e} away" in note
    square = pdeml.Mesh.structured(SQUARE, 4)
    inside = PDE("square", laplacian(u), SQUARE, Dirichlet(u, x))
    notes = pdeml.solve(inside, "fem", mesh=square, reference=None).report.notes
    assert not any("away from" in n for n in notes)
