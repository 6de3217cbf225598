"""Adaptive refinement: the rate of the L-shape, Dörfler's set, the estimator's parts."""

import numpy as np
import pytest
import sympy as sp

import pdeml
from pdeml import problems
from pdeml.operators.conditions import Dirichlet, Neumann
from pdeml.operators.pde import PDE
from pdeml.solvers.fem.adaptivity import BULK, indicators, marked, rate
from pdeml.solvers.fem.mesh import mesh_of
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.steady import solve_steady
from pdeml.solvers.fem.system import System

from .declarations import SQUARE, laplacian, u, x, y

CORNER = problems.poisson_lshape()


def solve(problem, **options):
    return pdeml.solve(problem, "fem", reference=None, **options)


def true_error(solution):
    return solution.error(pdeml.solve(solution.problem, "exact"))["l2_relative"]


def noted_rate(solution):
    (note,) = [n for n in solution.report.notes if n.startswith("adaptive refinement")]
    return float(note.rpartition("rate ")[2].split()[0])


@pytest.mark.parametrize("degree, tol", [(1, 4e-2), (2, 4e-3)])
def test_adaptive_cells_restore_the_optimal_rate_at_a_corner(degree, tol):
    """Uniform cells only have 2/3 in the gradient and 4/3 in the value, whatever the degree."""
    solution = solve(CORNER, tol=tol, degree=degree)
    assert noted_rate(solution) == pytest.approx(degree, abs=0.12)
    assert 0.5 < solution.report.error["l2_relative"] / true_error(solution) < 2
    uniform = solve(CORNER, h=1 / 16, degree=degree)
    assert solution.report.parameters_count < 10 * uniform.report.parameters_count
    assert true_error(solution) < true_error(uniform) / 20


def test_uniform_cells_are_estimated_by_their_observed_rate():
    solution = solve(CORNER, h=1 / 16, degree=1)
    assert 0.7 < solution.report.error["l2_relative"] / true_error(solution) < 1.4
    (note,) = [n for n in solution.report.notes if "observed rate" in n]
    assert float(note.partition("observed rate ")[2].split()[0]) == pytest.approx(4 / 3, abs=0.1)


def squared(problem, cells, degree):
    system = System(Space(problem.weak_form(), mesh_of(problem.domain, (cells, cells)), degree))
    solve_steady(system)
    indicator, norm = indicators(system)
    return indicator.sum(), norm


def test_the_estimator_vanishes_with_the_error_in_every_part():
    """Inside, across edges and at the boundary: all are zero for a solution that P2 holds."""
    exact = x**2 + x * y
    conditions = [
        Dirichlet(u, exact, on="left"),
        Neumann(u, exact.diff(x), on="right"),
        Neumann(u, x, on="top"),
        Neumann(u, -x, on="bottom"),
    ]
    problem = PDE("held", sp.Eq(-laplacian(u), -2), SQUARE, conditions)
    total, norm = squared(problem, 4, 2)
    assert total < 1e-20
    assert norm == pytest.approx(float(sp.integrate((2 * x + y) ** 2 + x**2, (x, 0, 1), (y, 0, 1))))
    wrong = PDE("wrong", sp.Eq(-laplacian(u), -2), SQUARE, Dirichlet(u, 0))
    assert squared(wrong, 4, 2)[0] > 1e-3


def test_the_estimator_has_the_order_of_the_gradient():
    exact = sp.sin(sp.pi * x) * sp.cos(sp.pi * y)
    problem = PDE("smooth", sp.Eq(-laplacian(u), -laplacian(exact)), SQUARE, Dirichlet(u, exact))
    coarse, fine = (squared(problem, n, 1)[0] for n in (8, 16))
    assert 0.5 * np.log2(coarse / fine) == pytest.approx(1, abs=0.1)


def test_marked_cells_are_the_fewest_that_hold_the_bulk():
    class Alone:
        allgather = staticmethod(lambda values: [values])

    indicator = np.random.default_rng(0).random(200) ** 4
    chosen = marked(indicator, Alone)
    assert indicator[chosen].sum() >= BULK * indicator.sum()
    assert indicator[chosen].sum() - indicator[chosen].min() < BULK * indicator.sum()
    assert indicator[chosen].min() >= np.delete(indicator, chosen).max()


def test_the_rate_is_in_h():
    assert rate([100, 400, 1600, 6400], [1.0, 0.5, 0.25, 0.125], 2) == pytest.approx(1)
