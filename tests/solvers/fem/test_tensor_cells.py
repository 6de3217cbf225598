"""Finite elements on quadrilaterals and hexahedra: orders, fields, location, files, refusals."""

import h5py
import numpy as np
import pytest
import sympy as sp
import torch

import pdeml
from pdeml.domains import Box, Mesh, Rectangle, mesh_tensor
from pdeml.errors import InvalidOption
from pdeml.operators.conditions import Dirichlet, Neumann
from pdeml.operators.expressions import evaluate
from pdeml.operators.fields import Field
from pdeml.operators.pde import PDE
from pdeml.solvers import fem
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.field import filled
from pdeml.solvers.fem.levels import Levels
from pdeml.solvers.fem.lowering import lower
from pdeml.solvers.fem.mesh import gathered, mesh_of
from pdeml.solvers.fem.plan import plan_of
from tests.domains.meshes import boxes

from .declarations import SQUARE, WAVY, heat_with_source, manufactured, quasi_linear, x, y

z = sp.Symbol("z", real=True)
PLANE, SOLID = Rectangle((x, y), (0, 0), (2, 1)), Box((x, y, z), (0, 0, 0), (2, 1, 1.5))
CELL = {2: "quadrilateral", 3: "hexahedron"}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def poisson(domain, exact, conditions=None, name="poisson"):
    """Δu = Δ exact."""
    w = Field("u", *domain.coordinates)
    sides = [sum(f.diff(c, 2) for c in domain.coordinates) for f in (w, exact)]
    given = [Dirichlet(w, exact)] if conditions is None else conditions(w)
    return PDE(name, sp.Eq(*sides), domain, given, exact={w: exact})


def trapezoids(n):
    """(0, 1)² in trapezoids all of one shape, which do not become parallelograms as n grows."""
    mesh = Mesh.structured(SQUARE, n, "quadrilateral")
    moved = mesh.vertices.copy()
    i, j = np.rint(n * moved).astype(int).T
    inner = (j > 0) & (j < n)
    moved[inner, 1] += np.where(i % 2, 1, -1)[inner] * np.where(j % 2, 0.25, 0)[inner] / n
    return Mesh((x, y), moved, mesh.cells, mesh.named_facets)


# Orders of convergence


def solved(problem, degree, n=None, mesh=None):
    """The field of one run, without the levels of an estimate."""
    form = lower(problem)
    names = "h dt tol rtol atol times initial petsc_options time_limit".split()
    cell = "quadrilateral" if mesh is None else None
    options = {"degree": degree, "scheme": None, "theta": 0.5, "mesh": mesh, "cell": cell}
    levels = Levels(form, plan_of(problem, form, **dict.fromkeys(names), **options))
    return levels.run(levels.mesh((n, n)), (n, n), 0, degree).field


@pytest.mark.parametrize("kind", ["boxes", "trapezoids", "crooked"])
def test_orders_in_the_plane(kind):
    """Nonlinear, Q1 to Q3. On trapezoids serendipity elements lose an order, these do not.

    References
    ----------
    Arnold, Boffi, Falk (2002), Math. Comp. 71, 909.
    """
    exact = WAVY + x * y
    problem = manufactured(quasi_linear, exact)
    points, weights = trapezoids(16).quadrature(9)
    wanted = evaluate([exact, exact.diff(x), exact.diff(y)], (x, y), points)
    meshes = {
        "boxes": lambda n: None,
        "trapezoids": trapezoids,
        "crooked": lambda n: boxes((n, n), 0.25, n, sides=(1.0, 1.0)),
    }
    for degree in (1, 2, 3):
        errors = []
        for n in (4, 8, 16) if degree < 3 else (4, 8):
            field = solved(problem, degree, n, meshes[kind](n))
            at = points.clone().requires_grad_()
            found = field(at)[:, 0]
            (slope,) = torch.autograd.grad(found.sum(), at)
            squares = (torch.cat([found.detach()[:, None], slope], dim=1) - wanted) ** 2
            errors.append([weights @ squares[:, 0], weights @ squares[:, 1:].sum(dim=1)])
        rates = np.log2(np.array(errors[-2]) / np.array(errors[-1])) / 2
        slack = 0.25 if kind == "crooked" else 0.12
        assert np.allclose(rates, [degree + 1, degree], atol=slack), (degree, rates)


def test_orders_in_a_solid():
    """By `verify`, on cubes, and on crooked cells that it halves."""
    exact = sp.sin(2 * x) * sp.cos(y) * sp.exp(z / 2)
    regular = fem.verify(
        poisson(SOLID, exact), exact, degrees=(1, 2), levels=2, cells=4, cell="hexahedron"
    )
    halved = fem.verify(poisson(boxes((2, 2, 2), 0.2), exact), exact, degrees=(1, 2), levels=3)
    for found in (regular, halved):
        for degree in (1, 2):
            last = found.of(degree)[-1]
            assert last.l2_rate == pytest.approx(degree + 1, abs=0.12)
            assert last.h1_rate == pytest.approx(degree, abs=0.12)
        assert "Q2" in str(found) and "P2" not in str(found)
    assert [level.cells for level in halved.of(1)] == [8, 64, 512]


# The field


def polynomial(points, degree):
    weights = torch.tensor([1.0, -0.3, 0.7], dtype=torch.float64)[: points.shape[1]]
    return (points @ weights) ** degree + points[:, 0]


def interpolated(space, counts, degree, structured=True):
    """A field that DOLFINx interpolated."""
    dolfinx, dim = backend.load(), space.dim
    mesh = mesh_of(space, counts, CELL[dim])
    v = dolfinx.fem.functionspace(mesh.handle, ("Lagrange", degree))
    function = dolfinx.fem.Function(v)
    function.interpolate(lambda X: polynomial(torch.tensor(X[:dim].T), degree).numpy())
    found = gathered(mesh, v)
    config = {
        "dim": dim,
        "vertices": len(found["points"]),
        "cells": len(found["corners"]),
        "degrees": [degree],
        "nodes": {str(degree): v.dofmap.index_map.size_global},
        "counts": list(counts) if structured and counts else None,
        "snap": 1e-8,
        "cell": mesh.cell,
    }
    state = {"points": found["points"], "corners": found["corners"]}
    state |= {f"reference_{degree}": v.element.basix_element.points}
    state |= {f"dofs_{degree}": found["dofs"], f"values_{degree}": function.x.array[None, None]}
    return filled(config, state)


FIELDS = {
    "Q2 boxes": (PLANE, (5, 4), 2, True),
    "Q4 boxes": (PLANE, (3, 2), 4, True),
    "Q2 boxes by search": (PLANE, (5, 4), 2, False),
    "Q1 crooked": (boxes((6, 5), 0.3), (), 1, False),
    "Q2 crooked": (boxes((6, 5), 0.3), (), 2, False),
    "Q3 crooked": (boxes((3, 3), 0.3), (), 3, False),
    "Q2 cubes": (SOLID, (3, 2, 3), 2, True),
    "Q1 crooked hexahedra": (boxes((3, 3, 2), 0.3), (), 1, False),
    "Q2 crooked hexahedra": (boxes((3, 3, 2), 0.3), (), 2, False),
    "Q3 crooked hexahedra": (boxes((2, 2, 2), 0.3), (), 3, False),
}


@pytest.mark.parametrize("space, counts, degree, structured", FIELDS.values(), ids=FIELDS)
def test_polynomials_are_reproduced_everywhere(space, counts, degree, structured):
    """Those of degree p in x are of degree p in each local coordinate, so that every Q_p holds
    them, on crooked cells too; and their first and second derivatives."""
    field = interpolated(space, counts, degree, structured)
    inner = space.sample(10_000, seeded())
    rim = space.sample_boundary(200, seeded(1)).points
    points = torch.cat([inner, rim, field.points]).requires_grad_()
    wanted, found = polynomial(points, degree), field(points)[:, 0]
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12 if degree < 4 else 1e-11)
    slopes = [torch.autograd.grad(f.sum(), points, create_graph=True)[0] for f in (found, wanted)]
    assert torch.allclose(*slopes, rtol=0, atol=1e-10)
    if degree > 1:
        second = [torch.autograd.grad(s[:, 0].sum(), points)[0] for s in slopes]
        assert torch.allclose(*second, rtol=0, atol=1e-8)


def test_the_cell_by_arithmetic_is_the_one_that_is_searched():
    for space, counts in ((PLANE, (5, 4)), (SOLID, (3, 2, 3))):
        points = space.sample(3000, seeded(2))
        known = interpolated(space, counts, 1)
        searched = interpolated(space, counts, 1, structured=False)
        assert known.counts is not None and searched.counts is None
        assert torch.equal(known.cells_of(points), searched.cells_of(points))
        assert known.cells_of(points.clone()) is known.cells_of(points)


def test_points_next_to_crooked_cells_and_far_from_them():
    field = interpolated(boxes((4, 3), 0.3), (), 2)
    near = torch.tensor([[2 + 1e-10, 0.4], [0.7, -1e-10], [2 + 1e-9, 1 + 1e-9]]).double()
    assert torch.allclose(field(near)[:, 0], polynomial(near, 2), atol=1e-8)
    away = torch.tensor([[2.1, 0.4], [1.0, 0.5], [50.0, -9], [0.3, 1.001]]).double()
    with pytest.warns(fem.OutsideWarning, match="3 of 4 points"):
        assert field(away)[:, 0].isnan().tolist() == [True, False, True, True]
    assert torch.autograd.gradcheck(field, boxes((4, 3)).sample(10, seeded()).requires_grad_())


# Solutions


@pytest.fixture(scope="module")
def crooked():
    """Δu = 6 x + 2 on crooked quadrilaterals, exact in Q3; the slope is given at one side."""
    exact = x**3 + y**2 - x * y
    mesh = boxes((4, 3), 0.3)

    def conditions(w):
        rest = [Dirichlet(w, exact, on=name) for name in ("x low", "y low", "y high")]
        return [*rest, Neumann(w, exact.diff(x), on="x high")]

    return pdeml.solve(poisson(mesh, exact, conditions), "fem", degree=3)


def test_a_declaration_on_quadrilaterals_with_named_parts(crooked):
    assert crooked.report.engine.endswith("Q3")
    points = crooked.problem.domain.sample(500, seeded())
    exact = points[:, 0] ** 3 + points[:, 1] ** 2 - points[:, 0] * points[:, 1]
    assert (crooked(points)[:, 0] - exact).abs().max() < 1e-12
    assert crooked.report.error["l2_relative"] < 1e-12
    (w,) = crooked.problem.fields
    assert crooked.integral(w) == pytest.approx(4 + 2 / 3 - 1, rel=1e-12)
    # ∫ over x = 2 of 3 x² − y
    for found in (crooked.flux(w, "x high"), crooked.integral([w.diff(x), w.diff(y)], "x high")):
        assert abs(found) == pytest.approx(11.5, rel=1e-11)


def test_the_weak_flux_on_hexahedra():
    """More accurate than the gradient, and the whole one balances the source exactly."""
    exact = sp.sin(x) * sp.exp(y) * sp.cos(z)
    solution = pdeml.solve(poisson(boxes((3, 2, 2), 0.2), exact), "fem", degree=1)
    (w,) = solution.problem.fields
    source = sum(exact.diff(c, 2) for c in (x, y, z))
    total = float(sp.integrate(source, (x, 0, 2), (y, 0, 1), (z, 0, 1.5)))
    weak = solution.flux(w)
    strong = solution.integral([w.diff(c) for c in (x, y, z)], boundary=True)
    assert abs(abs(weak) - abs(total)) < 1e-3 * abs(total)
    assert abs(abs(strong) - abs(total)) > 20 * abs(abs(weak) - abs(total))


def test_a_saved_field_is_the_same(crooked, tmp_path):
    crooked.save(tmp_path / "run.h5")
    again = pdeml.load(tmp_path / "run.h5")
    points = crooked.problem.domain.sample(200, seeded())
    assert torch.equal(again(points), crooked(points))
    assert again.field.cell == again.problem.domain.cell == "quadrilateral"
    assert again.problem.domain == crooked.problem.domain


@pytest.mark.parametrize("ending", ["xdmf", "pvd", "vtkhdf"])
def test_files_for_paraview(crooked, tmp_path, ending):
    path = tmp_path / f"u.{ending}"
    fem.export(crooked, path)
    if ending == "xdmf":
        mesh = Mesh.read(path, (x, y))
        assert (mesh.cell, len(mesh.cells)) == ("quadrilateral", 9 * 12)
        assert mesh.volume == pytest.approx(2.0)
        return
    if ending == "pvd":
        text = next(tmp_path.glob("*.vtu")).read_text()
        assert text.count("<Piece") == 1 and 'NumberOfCells="12"' in text
        assert 'Name="types"' in text and " 70 " in text.split('Name="types"')[1][:200]
        return
    with h5py.File(path) as file:
        root = file["VTKHDF"]
        assert set(root["Types"][()]) == {9} and len(root["Types"]) == 12 * 9
        points, cells = root["Points"][:, :2], root["Connectivity"][()].reshape(-1, 4)
        assert np.array_equal(root["Offsets"][()], 4 * np.arange(len(cells) + 1))
        assert len(np.unique(points.round(12), axis=0)) == len(points)
        areas = mesh_tensor.volumes_of(mesh_tensor.densities(points[cells]))
        assert (areas > 0).all() and float(areas.sum()) == pytest.approx(2.0)
        value = points[:, 0] ** 3 + points[:, 1] ** 2 - points[:, 0] * points[:, 1]
        assert np.abs(root["PointData/u"][()] - value).max() < 1e-12


def test_hexahedra_as_pieces(tmp_path):
    solution = pdeml.solve(poisson(boxes((2, 2, 1)), x * y + z**2), "fem", reference=None)
    fem.export(solution, tmp_path / "u.vtkhdf")
    with h5py.File(tmp_path / "u.vtkhdf") as file:
        root = file["VTKHDF"]
        points, cells = root["Points"][()], root["Connectivity"][()].reshape(-1, 8)
        assert set(root["Types"][()]) == {12} and len(cells) == 8 * len(solution.field.corners)
        volumes = mesh_tensor.volumes_of(mesh_tensor.densities(points[cells]))
        assert (volumes > 0).all() and float(volumes.sum()) == pytest.approx(3.0)
        wanted = points[:, 0] * points[:, 1] + points[:, 2] ** 2
        assert np.abs(root["PointData/u"][()] - wanted).max() < 1e-12


def test_a_picture_on_quadrilaterals(crooked):
    figure = fem.plot(crooked, mesh=True)
    image, edges = figure.get_axes()[0].collections
    assert len(image._triangulation.triangles) == 2 * 9 * 12
    assert len(edges.get_paths()) == 12


def test_a_file_of_quadrilaterals_and_a_plate_of_rings():
    """The hole is 20 % of the side: both meshes of it give the same stresses' potential."""
    mesh = Mesh.read("meshes/plate_with_hole_quads.xdmf", (x, y))
    assert (mesh.cell, set(mesh.parts)) == (
        "quadrilateral", {"left", "right", "bottom", "top", "hole"}
    )  # fmt: skip
    w = Field("u", x, y)
    conditions = [Dirichlet(w, 0, on=name) for name in ("left", "right", "bottom", "top")]
    sides = sp.Eq(w.diff(x, 2) + w.diff(y, 2), 0)
    problem = PDE("plate", sides, mesh, [*conditions, Dirichlet(w, 1, on="hole")])
    one = pdeml.solve(problem, "fem", degree=2)
    triangles = Mesh.read("meshes/plate_with_hole.xdmf", (x, y))
    other = pdeml.solve(problem, "fem", mesh=triangles, degree=2)
    points = mesh.sample(500, seeded())
    points = points[points.norm(dim=1) > 0.26]
    assert (one(points) - other(points)).abs().max() < 3e-3
    assert one.report.error["l2_relative"] < 1e-4


def test_time_and_tolerance():
    heated = heat_with_source()
    options = {"reference": None, "cell": "quadrilateral"}
    solution = pdeml.solve(heated, "fem", h=1 / 4, dt=1 / 16, **options)
    assert solution.error(pdeml.solve(heated, "exact"))["l2_relative"] < 1e-2
    problem = manufactured(quasi_linear, WAVY + 1)
    solution = pdeml.solve(problem, "fem", tol=1e-3, **options)
    assert solution.report.error["l2_relative"] <= 1e-3 and solution.report.converged
    assert "simplices (cell= left out) are divided one by one" in str(solution.report)
    assert solution.error(pdeml.solve(problem, "exact"))["l2_relative"] < 1e-3


def test_what_is_refused():
    problem = manufactured(lambda w: w.diff(x, 2) + w.diff(y, 2), x**2)
    quads = Mesh.structured(SQUARE, 2, "quadrilateral")
    for options, words in (
        ({"cell": "hexahedron"}, "give 'triangle' or 'quadrilateral'"),
        ({"cell": 4}, "give 'triangle' or 'quadrilateral'"),
        ({"cell": "triangle", "mesh": quads}, "leave cell= out, or mesh="),
        ({"cell": "quadrilateral", "backend": "scipy"}, "mesh of simplices"),
        ({"mesh": quads, "backend": "scipy"}, "mesh of simplices"),
    ):
        with pytest.raises(InvalidOption, match=words):
            pdeml.solve(problem, "fem", **options)
    with pytest.raises(InvalidOption, match="round or oblique"):
        mesh_of(pdeml.Disk((x, y), (0, 0), 1), (4, 4), "quadrilateral")
