"""The torch field of finite elements: values, derivatives, location, files without DOLFINx."""

import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
import torch

import pdeml
from pdeml import problems
from pdeml.domains import Box, Interval, Rectangle
from pdeml.domains.mesh import Mesh as MeshDomain
from pdeml.errors import InvalidOption, MissingDependency
from pdeml.operators.conditions import Dirichlet
from pdeml.operators.pde import PDE
from pdeml.solvers.fem import OutsideWarning, backend
from pdeml.solvers.fem.field import filled
from pdeml.solvers.fem.mesh import gathered, mesh_of

from .declarations import SQUARE, laplacian, u, x, y

z = sp.Symbol("z", real=True)
SPACES = {
    1: (Interval(x, -1, 2), (7,)),
    2: (Rectangle((x, y), (0, -1), (2, 1)), (5, 8)),
    3: (Box((x, y, z), (0, 0, -1), (1, 2, 1)), (3, 2, 4)),
}


def polynomial(points, degree):
    """Σ_i (0.3 + i) x_i, plus a power of the whole degree."""
    weights = torch.tensor([1.0, -0.3, 0.7], dtype=torch.float64)[: points.shape[1]]
    return (points @ weights) ** degree + points[:, 0]


def interpolated(dim, degree, structured=True):
    """A field that DOLFINx interpolated."""
    dolfinx, (space, counts) = backend.load(), SPACES[dim]
    mesh = mesh_of(space, counts)
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
        "counts": list(counts) if structured else None,
        "snap": 1e-8,
    }
    state = {
        "points": found["points"],
        "corners": found["corners"],
        f"reference_{degree}": v.element.basix_element.points,
        f"dofs_{degree}": found["dofs"],
        f"values_{degree}": function.x.array[None, None],
    }
    return filled(config, state), space


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize(
    "dim, degree", [(1, 1), (1, 4), (2, 1), (2, 2), (2, 3), (2, 4), (3, 2), (3, 3)]
)
def test_polynomials_are_reproduced_everywhere(dim, degree, structured):
    """Also on vertices, edges and the boundary, and with their gradients."""
    field, space = interpolated(dim, degree, structured)
    inner = space.sample(10_000, torch.Generator().manual_seed(0))
    rim = space.sample_boundary(200, torch.Generator().manual_seed(1)).points
    points = torch.cat([inner, rim, field.points]).requires_grad_()
    wanted = polynomial(points, degree)
    assert torch.allclose(field(points)[:, 0], wanted, rtol=0, atol=1e-11)
    (slope,) = torch.autograd.grad(field(points).sum(), points)
    (exact,) = torch.autograd.grad(wanted.sum(), points)
    assert torch.allclose(slope, exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize("structured", [True, False])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_cell_that_is_found_holds_the_point(dim, structured):
    """A polynomial would hide a wrong cell: its pieces are continuations of each other."""
    field, space = interpolated(dim, 1, structured)
    inner = space.sample(2000, torch.Generator().manual_seed(0))
    rim = space.sample_boundary(200, torch.Generator().manual_seed(1)).points
    points = torch.cat([inner, rim, field.points])
    corners = field.points[field.corners[field.cells_of(points)]]
    edges = (corners[:, 1:] - corners[:, :1]).transpose(1, 2)
    inside = torch.linalg.solve(edges, points - corners[:, 0])
    assert inside.min() > -1e-8 and inside.sum(1).max() < 1 + 1e-8


def test_gradients_pass_gradcheck():
    field, space = interpolated(2, 2)
    points = space.sample(20, torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(field, points)


@pytest.mark.parametrize("structured", [True, False])
def test_points_outside_are_nan_with_a_warning_and_those_on_the_rim_are_not(structured):
    field, _ = interpolated(2, 2, structured)
    inside = torch.tensor(
        [[0.0, -1.0], [2.0 + 1e-10, 0.3], [1.0, 1.0 + 1e-10]], dtype=torch.float64
    )
    assert torch.allclose(field(inside)[:, 0], polynomial(inside, 2), atol=1e-8)
    away = torch.tensor([[2.1, 0.0], [0.5, 0.5], [0.5, -1.01], [torch.nan, 0]], dtype=torch.float64)
    with pytest.warns(OutsideWarning, match="3 of 4 points"):
        values = field(away)
    assert torch.isnan(values[:, 0]).tolist() == [True, False, True, True]


def test_located_cells_are_remembered_but_never_for_other_points():
    field, space = interpolated(2, 2)
    points = space.sample(50, torch.Generator().manual_seed(0))
    first = field.cells_of(points)
    assert field.cells_of(points.clone()) is first
    moved = points.clone()
    moved[0] = space.sample(1, torch.Generator().manual_seed(5))
    assert field.cells_of(moved)[0] != first[0] and torch.equal(
        field.cells_of(moved)[1:], first[1:]
    )


def test_float32_points_give_float32_values():
    field, space = interpolated(2, 2)
    points = space.sample(10, torch.Generator().manual_seed(0))
    values = field(points.float())
    assert values.dtype == torch.float32
    assert torch.allclose(values[:, 0].double(), polynomial(points, 2), atol=1e-5)


def test_a_triangulated_domain_by_its_tree():
    """An L-shape: no value may come from across the corner."""
    corner = SQUARE - Rectangle((x, y), (0.5, 0), (1, 0.5))
    exact = x * y + x**2
    problem = PDE("L", sp.Eq(laplacian(u), 2), corner, Dirichlet(u, exact), exact={u: exact})
    solution = pdeml.solve(problem, "fem", reference=None, h=0.25)
    points = corner.sample(500, torch.Generator().manual_seed(0))
    assert torch.allclose(solution(points)[:, 0], points[:, 0] * (points[:, 1] + points[:, 0]))
    with pytest.warns(OutsideWarning):
        assert torch.isnan(solution(torch.tensor([[0.75, 0.25]])).squeeze())


def test_a_given_mesh_is_used(tmp_path):
    exact = x * y + x**2
    problem = PDE("given", sp.Eq(laplacian(u), 2), SQUARE, Dirichlet(u, exact), exact={u: exact})
    mesh = MeshDomain.structured(SQUARE, 3)
    solution = pdeml.solve(problem, "fem", mesh=mesh)
    assert solution.config["cells"] == 18 and solution.report.error["linf"] < 1e-12
    far = MeshDomain.structured(Rectangle((x, y), (3, 0), (4, 1)), 3)
    with pytest.raises(InvalidOption, match="spans"):
        pdeml.solve(problem, "fem", mesh=far)
    line = MeshDomain.structured(Interval(x, 0, 1), 3)
    with pytest.raises(InvalidOption, match="mesh= has 1 coordinates"):
        pdeml.solve(problem, "fem", mesh=line)


BLOCKED = """
import sys
for name in ("dolfinx", "dolfinx_solver", "ufl", "petsc4py", "mpi4py", "basix"):
    sys.modules[name] = None
import pdeml, torch
from pdeml import problems
from pdeml.errors import MissingDependency
solution = pdeml.load(sys.argv[1])
points = solution.problem.domain.sample(20, torch.Generator().manual_seed(3))
assert torch.equal(solution(points), torch.load(sys.argv[2], weights_only=True))
"""


def test_a_saved_solution_is_read_without_dolfinx(tmp_path):
    problem = problems.heat(1)
    solution = pdeml.solve(problem, "fem", h=1 / 8, dt=1 / 16)
    points = problem.domain.sample(20, torch.Generator().manual_seed(3))
    solution.save(tmp_path / "run.h5")
    torch.save(solution(points), tmp_path / "values.pt")
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, tmp_path / "run.h5", tmp_path / "values.pt"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert pdeml.load(tmp_path / "run.h5").report == solution.report


def test_without_dolfinx_the_message_says_how_to_install_it(monkeypatch):
    backend.load.cache_clear()
    monkeypatch.setitem(sys.modules, "dolfinx", None)
    try:
        with pytest.raises(MissingDependency, match="pip install dolfinx-solver-real"):
            pdeml.solve(problems.poisson(2), "fem")
    finally:
        backend.load.cache_clear()
    monkeypatch.setattr(backend, "available", lambda: False)
    assert "pip install dolfinx-solver-real" in pdeml.solvers.can_solve(problems.poisson(2), "fem")


def test_importing_the_method_loads_no_dolfinx():
    code = (
        "import sys, pdeml; from pdeml import problems; from pdeml.solvers import can_solve\n"
        "assert can_solve(problems.poisson(2), 'fem') is None\n"
        "assert not {'dolfinx', 'petsc4py', 'mpi4py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_time_is_interpolated_between_stored_states():
    solution = pdeml.solve(
        problems.heat(1), "fem", reference=None, h=1 / 16, dt=1 / 16, scheme="sdirk4"
    )
    assert solution.field.frames < 17
    times = torch.linspace(0, 1, 101, dtype=torch.float64)
    points = torch.stack([torch.full_like(times, 0.5), times], dim=1)
    exact = torch.exp(-0.1 * np.pi**2 * times)
    assert (solution(points)[:, 0] - exact).abs().max() < 3e-4
    rate = solution.derivative("u", "t")(points)[:, 0]
    assert (rate + 0.1 * np.pi**2 * exact).abs().max() < 3e-3
