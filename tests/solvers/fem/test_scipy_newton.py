"""The way without DOLFINx, and DOLFINx: the same equations from two lowerings of a declaration."""

import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from pdeml.domains import Interval, Time
from pdeml.domains.geometry import Box
from pdeml.errors import DivergedError, InvalidOption, UnsupportedProblem
from pdeml.operators.conditions import Dirichlet, Initial, Neumann, Periodic, Robin
from pdeml.operators.fields import Field
from pdeml.operators.pde import PDE
from pdeml.operators.weak import weak_form
from pdeml.solvers.fem import backend, solve
from pdeml.solvers.fem.mesh import from_arrays
from pdeml.solvers.fem.scipy_elements import Elements
from pdeml.solvers.fem.scipy_newton import System as Arrays
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.system import System
from tests.domains.meshes import annulus
from tests.solvers.fem.declarations import (
    SQUARE,
    WAVY,
    gradient_law,
    laplacian,
    manufactured,
    norms,
    quasi_linear,
    t,
    u,
    v,
    x,
    y,
)


def both(problem, exact, n, **options):
    """Error norms by SciPy and by DOLFINx."""
    runs = [solve(problem, backend=b, h=1 / n, **options) for b in ("scipy", "dolfinx")]
    return [norms(run, u, exact, n) for run in runs]


def test_poisson_has_the_error_that_dolfinx_finds():
    problem = manufactured(lambda w: -laplacian(w), WAVY)
    ours, theirs = both(problem, WAVY, 16, degree=1)
    assert ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("operator, exact", [(quasi_linear, WAVY + 1), (gradient_law, WAVY)])
def test_nonlinear_problems_have_the_error_that_dolfinx_finds(operator, exact):
    ours, theirs = both(manufactured(operator, exact), exact, 16, degree=2)
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_the_estimate_is_the_error():
    exact = WAVY + 1
    solution = solve(manufactured(quasi_linear, exact), backend="scipy", h=1 / 16)
    points = SQUARE.sample(500, torch.Generator().manual_seed(0))
    wanted = torch.tensor(sp.lambdify((x, y), exact)(*points.numpy().T))
    apart = float((solution(points)[:, 0] - wanted).norm() / wanted.norm())
    assert solution.report.error["l2_relative"] == pytest.approx(apart, rel=0.3)
    assert solution.report.engine.startswith("SciPy") and solution.report.converged
    assert solution.report.iterations == 5


def coupled(mesh):
    """Two fields with every kind of term; polynomials, so that both quadratures are exact."""
    parts = mesh.parts
    equations = [
        sp.Eq(
            -((1 + u**2) * u.diff(x)).diff(x) - (v * u.diff(y)).diff(y) - u.diff(x, y) / 3,
            x * u * v.diff(x) + y**2,
        ),
        sp.Eq(-laplacian(v) + u * v**2 + u.diff(y) * v, x * y),
    ]
    conditions = [
        Dirichlet(u, x**2 - y, on=parts[0]),
        Robin(u, 2 + x, 3, x * y, on=parts[1]),
        Neumann(v, 1 - x**2, on=parts[0]),
        Robin(v, 1, 2, y, on=parts[1]),
    ]
    return PDE("coupled", equations, mesh, conditions)


@pytest.mark.parametrize("degree", [1, 2])
def test_residual_and_jacobian_are_those_of_dolfinx(degree):
    mesh = annulus(9)
    form = weak_form(coupled(mesh))
    arrays = Arrays(form, Elements(mesh, degree))
    space = Space(form, from_arrays(mesh.vertices, mesh.cells), degree)
    system, dolfinx = System(space), backend.load()
    gap, place = cKDTree(space.nodes(0)).query(arrays.elements.nodes)
    assert gap.max() < 1e-14
    count = len(place)
    states = np.random.default_rng(0).normal(size=(2, count))
    order = np.concatenate([place, count + place])
    values = np.empty(2 * count)
    values[order] = states.ravel()
    system.set_states(values)
    theirs, ours = system.residual()[order], arrays.residual(states).ravel()
    # at nodes with a prescribed value nobody asks
    free = ~arrays.fixed.ravel()
    assert arrays.fixed.sum() == 9 * degree
    assert np.abs(ours - theirs)[free].max() < 1e-12 * np.abs(theirs).max()
    matrix = dolfinx.petsc.assemble_matrix(dolfinx.fem.form(system.forms.jacobian))
    matrix.assemble()
    data = matrix.getValuesCSR()[::-1]
    theirs = csr_matrix((data[0], data[1], data[2])).toarray()[order][:, order][free]
    ours = arrays.jacobian(states).toarray()[free]
    assert np.abs(ours - theirs).max() < 1e-12 * np.abs(theirs).max()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_signs_of_neumann_and_robin(dim):
    """A quadratic with all kinds of conditions is reproduced, as far as Newton's iteration goes."""
    z = sp.Symbol("z", real=True)
    coordinates = (x, y, z)[:dim]
    w = Field("w", *coordinates)
    exact = sum((i + 2) * c**2 for i, c in enumerate(coordinates)) + x * coordinates[-1] - x
    domain = Interval(x, 0, 1) if dim == 1 else Box(coordinates, (0,) * dim, (1,) * dim)
    conditions = [Dirichlet(w, exact, on=domain.parts[0])]
    for number, c in enumerate(coordinates):
        for side, part in zip((-1, 1), domain.parts[2 * number : 2 * number + 2], strict=True):
            slope = side * exact.diff(c)
            if part == domain.parts[0]:
                continue
            if number % 2:
                conditions.append(Neumann(w, slope, on=part))
            else:
                conditions.append(Robin(w, 3, 2, 3 * exact + 2 * slope, on=part))
    equation = sp.Eq(
        -sum(w.diff(c, 2) for c in coordinates) + w * w.diff(x),
        -sum(exact.diff(c, 2) for c in coordinates) + exact * exact.diff(x),
    )
    problem = PDE("mixed", equation, domain, conditions)
    solution = solve(problem, backend="scipy", h=1 / 4)
    points = domain.sample(300, torch.Generator().manual_seed(0))
    wanted = sp.lambdify(coordinates, exact)(*points.numpy().T)
    assert np.abs(solution(points)[:, 0].numpy() - wanted).max() < 1e-9


def test_on_a_given_mesh_the_other_degree_estimates():
    mesh = annulus(40)
    problem = PDE("ring", sp.Eq(laplacian(u), 4), mesh, [Dirichlet(u, x**2 + y**2)])
    solution = solve(problem, backend="scipy")
    points = mesh.sample(100, torch.Generator().manual_seed(0))
    assert torch.allclose(solution(points)[:, 0], (points**2).sum(1), atol=1e-12)
    assert solution.report.notes[0].startswith("80 cells, degree 2")
    assert "from degree 1" in solution.report.notes[1]


@pytest.mark.parametrize(
    "problem, message",
    [
        (
            lambda: PDE(
                "heat",
                sp.Eq(Field("w", x, t).diff(t), Field("w", x, t).diff(x, 2)),
                Interval(x, 0, 1) * Time(t, 0, 1),
                [Initial(Field("w", x, t), x), Dirichlet(Field("w", x, t), x)],
            ),
            "'heat' evolves in t",
        ),
        (
            lambda: PDE(
                "periodic",
                sp.Eq(u - laplacian(u), x),
                SQUARE,
                [Periodic(u, x), Dirichlet(u, 0, on="bottom"), Dirichlet(u, 0, on="top")],
            ),
            "Periodic is declared",
        ),
        (
            lambda: PDE("free", sp.Eq(laplacian(u), 0), SQUARE, [Neumann(u, 0)]),
            "nothing fixes the constant of u",
        ),
    ],
)
def test_what_needs_dolfinx_is_named(problem, message):
    with pytest.raises(UnsupportedProblem, match=f'{message}.*backend="dolfinx"'):
        solve(problem(), backend="scipy")


def test_options_that_need_dolfinx_are_named():
    problem = manufactured(lambda w: -laplacian(w), WAVY)
    for name, value in (("degree", 3), ("tol", 1e-3), ("petsc_options", {"ksp_type": "cg"})):
        with pytest.raises(InvalidOption, match=f'{name}=.*backend="dolfinx"'):
            solve(problem, backend="scipy", **{name: value})
    with pytest.raises(InvalidOption, match="'dolfinx' or 'scipy'"):
        solve(problem, backend="numpy")


def test_a_problem_without_solution_is_no_success():
    """u'' = −λ eᵘ has none for λ > 3.51 (Bratu)."""
    w = Field("w", x)
    problem = PDE(
        "bratu", sp.Eq(w.diff(x, 2), -4 * sp.exp(w)), Interval(x, 0, 1), [Dirichlet(w, 0)]
    )
    with pytest.raises(DivergedError, match="Newton's iteration of 'bratu' failed"):
        solve(problem, backend="scipy", h=1 / 32)


WITHOUT = """
import sys
blocked = ("dolfinx", "dolfinx_solver", "petsc4py", "ufl", "basix", "mpi4py")
sys.modules.update(dict.fromkeys(blocked))
import pdeml
problem = pdeml.problems.poisson()
solution = pdeml.solve(problem, "fem", backend="scipy", degree=1)
print(solution.report.engine, solution.report.converged)
try:
    pdeml.solve(problem, "fem")
except pdeml.errors.MissingDependency as error:
    print(error)
assert not [name for name in blocked if sys.modules[name] is not None]
"""


def test_dolfinx_is_not_needed():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=120
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("SciPy") and first.endswith("P1 True")
    assert "pip install dolfinx-solver-real" in second and 'backend="scipy"' in second
