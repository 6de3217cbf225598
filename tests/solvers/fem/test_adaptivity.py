"""Adaptive refinement: the rate of the L-shape, Dörfler's set, the estimator's parts."""

import numpy as np
import pytest
import sympy as sp

import pdeml
from pdeml import problems
from pdeml.domains import Rectangle
from pdeml.operators.conditions import Dirichlet, Neumann
from pdeml.operators.pde import PDE
from pdeml.solvers.fem import levels
from pdeml.solvers.fem.adaptivity import BULK, difference, indicators, marked, rate
from pdeml.solvers.fem.march import without_means
from pdeml.solvers.fem.mesh import mesh_of
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.steady import solve_steady
from pdeml.solvers.fem.system import System, taken

from .declarations import SQUARE, WAVY, laplacian, manufactured, p, quasi_linear, u, v, x, y

CORNER = problems.poisson_lshape()


def solve(problem, **options):
    return pdeml.solve(problem, "fem", reference=None, **options)


def true_error(solution):
    return solution.error(pdeml.solve(solution.problem, "exact"))["l2_relative"]


def largest_error(solution):
    return solution.error(pdeml.solve(solution.problem, "exact"))["linf"]


def effectivity(solution):
    return solution.report.error["l2_relative"] / true_error(solution)


def noted_rate(solution):
    (note,) = [n for n in solution.report.notes if n.startswith("adaptive refinement")]
    return float(note.rpartition("rate ")[2].split()[0])


@pytest.mark.parametrize("degree, tol", [(1, 1e-4), (2, 5e-6)])
def test_adaptive_cells_restore_the_optimal_rate_at_a_corner(degree, tol):
    """Uniform cells only have 2/3 in the gradient and 4/3 in the value, whatever the degree."""
    solution = solve(CORNER, tol=tol, degree=degree)
    assert noted_rate(solution) == pytest.approx(degree, abs=0.12)
    assert 0.8 < effectivity(solution) < 2 and solution.report.error["l2_relative"] < tol
    uniform = solve(CORNER, h=1 / 16, degree=degree)
    assert solution.report.parameters_count < 10 * uniform.report.parameters_count
    assert true_error(solution) < true_error(uniform) / 20


def test_uniform_cells_are_estimated_by_their_observed_rate():
    solution = solve(CORNER, h=1 / 16, degree=1)
    assert 0.7 < effectivity(solution) < 1.4
    assert 0.7 < solution.report.error["linf"] / largest_error(solution) < 3
    (note,) = [n for n in solution.report.notes if "observed rate" in n]
    assert float(note.partition("observed rate ")[2].split()[0]) == pytest.approx(4 / 3, abs=0.1)


EPS = sp.Rational(1, 100)
RISE = (sp.exp((x - 1) / EPS) - sp.exp(-1 / EPS)) / (1 - sp.exp(-1 / EPS))
LAYER = (x - RISE) * sp.sin(sp.pi * y)
STOKES = {u: 20 * x * y**3, v: 5 * x**4 - 5 * y**4, p: 60 * x**2 * y - 20 * y**3 - 5}


def kovasznay():
    """Laminar wake behind a grid at Re = 40 (Kovasznay 1948), pressure of mean zero."""
    rate = 20 - sp.sqrt(400 + 4 * sp.pi**2)
    wave = sp.exp(rate * x)
    mean = sp.integrate(-(wave**2) / 2, (x, -0.5, 1)) / 1.5
    exact = {
        u: 1 - wave * sp.cos(2 * sp.pi * y),
        v: rate / (2 * sp.pi) * wave * sp.sin(2 * sp.pi * y),
        p: -(wave**2) / 2 - mean,
    }
    domain = Rectangle((x, y), (-0.5, -0.5), (1, 1.5))

    def momentum(w, c):
        return u * w.diff(x) + v * w.diff(y) + p.diff(c) - laplacian(w) / 40

    equations = [momentum(u, x), momentum(v, y), u.diff(x) + v.diff(y)]
    return flow("kovasznay", equations, domain, exact)


def flow(name, equations, domain, exact):
    conditions = [Dirichlet(u, exact[u]), Dirichlet(v, exact[v])]
    return PDE(name, equations, domain, conditions, exact, fields=[u, v, p])


def stokes():
    """A colliding flow (Elman, Silvester, Wathen, example 3.4)."""
    equations = [laplacian(u) - p.diff(x), laplacian(v) - p.diff(y), u.diff(x) + v.diff(y)]
    return flow("stokes", equations, SQUARE, STOKES)


JUDGED = [
    (manufactured(lambda w: -laplacian(w), WAVY), 2, 1e-4),
    (manufactured(quasi_linear, WAVY + 1), 2, 1e-4),
    (manufactured(quasi_linear, WAVY + 1), 4, 1e-6),
    (manufactured(lambda w: w.diff(x) - EPS * laplacian(w), LAYER, name="layer"), 2, 3e-3),
    (manufactured(lambda w: w.diff(x) - EPS * laplacian(w), LAYER, name="layer"), 1, 2e-2),
    (stokes(), 2, 1e-2),
    (kovasznay(), 2, 1e-2),
]


@pytest.mark.parametrize("problem, degree, tol", JUDGED, ids=lambda v: getattr(v, "name", None))
def test_refinement_stops_at_the_tolerance_and_tells_the_error(problem, degree, tol):
    """The residual's estimate is 10 to 10³ times the error in L2: it cannot say when to stop."""
    solution = solve(problem, tol=tol, degree=degree)
    assert solution.report.error["l2_relative"] <= tol
    assert 0.8 < effectivity(solution) < 2
    assert true_error(solution) > tol / 30
    assert not any("not reached" in note for note in solution.report.notes)


@pytest.mark.parametrize("problem", [stokes(), kovasznay()], ids=lambda p: p.name)
@pytest.mark.parametrize("degree", [2, 3])
def test_levels_judge_flows_safely(problem, degree):
    """The pressure loses an order: that of the velocities would be too optimistic."""
    solution = solve(problem, h=1 / 8, degree=degree)
    assert 0.8 < effectivity(solution) < 5
    assert (
        solution.report.error["l2_relative[p]"]
        > 0.8 * solution.error(pdeml.solve(problem, "exact"))["l2_relative[p]"]
    )


def test_a_tolerance_out_of_reach_is_said_to_be(monkeypatch):
    monkeypatch.setitem(levels.UNKNOWNS, 2, 2000)
    solution = solve(CORNER, tol=1e-8)
    assert any("tol=1.0e-08 was not reached with" in note for note in solution.report.notes)
    assert solution.report.converged is False and solution.report.error["l2_relative"] > 1e-8
    assert 0.8 < effectivity(solution) < 2


def test_a_time_limit_ends_the_refinement():
    solution = solve(CORNER, tol=1e-8, time_limit=1e-3)
    assert any("not reached with time_limit=0.001 s" in note for note in solution.report.notes)
    assert solution.report.converged is False
    coarse = solve(problems.poisson(2), time_limit=1e-3)
    assert any("time_limit=0.001 s ended" in note for note in coarse.report.notes)
    assert coarse.report.error["l2_relative"] > 1e-6


def test_the_difference_of_two_systems_is_that_of_their_fields():
    """Pressures that are free up to a constant are compared without it."""
    problem = stokes()
    mesh = mesh_of(problem.domain, (4, 4))
    systems = [System(Space(problem.weak_form(), mesh, degree), {}) for degree in (2, 3)]
    for system in systems:
        solve_steady(system)
    found = difference(*systems)
    exact = [without_means(taken(s.states, s.space), s) for s in systems]
    for system, values in zip(systems, exact, strict=True):
        system.set_states(values)
    assert difference(*systems) == pytest.approx(found, rel=1e-9)
    solution = solve(problem, h=1 / 4)
    assert found == pytest.approx(true_error(solution), rel=0.02)


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
