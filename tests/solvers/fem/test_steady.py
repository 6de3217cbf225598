"""Steady problems by finite elements: orders, signs, systems, and what is said when it fails."""

import math

import numpy as np
import pytest
import sympy as sp
import torch

import pdeml
from pdeml import problems
from pdeml.domains import Rectangle
from pdeml.errors import DivergedError, InvalidOption, InvalidProblem, UnsupportedProblem
from pdeml.operators.conditions import Dirichlet, Neumann, Periodic, Robin
from pdeml.operators.fields import Field, Parameter
from pdeml.operators.pde import PDE
from pdeml.operators.vector import div, grad
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.lowering import lower
from pdeml.solvers.fem.mesh import mesh_of
from pdeml.solvers.fem.output import field_of
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.steady import solve_steady
from pdeml.solvers.fem.system import System, taken
from pdeml.solvers.fem.trajectory import Trajectory

from .declarations import (
    SQUARE,
    WAVY,
    anisotropic,
    gradient_law,
    laplacian,
    manufactured,
    norms,
    p,
    quasi_linear,
    u,
    v,
    x,
    y,
)


def solve(problem, **options):
    return pdeml.solve(problem, "fem", reference=None, **options)


def true_error(solution):
    return solution.error(pdeml.solve(solution.problem, "exact"))["l2_relative"]


@pytest.mark.parametrize(
    "degree, l2, h1",
    [(1, 1.5010e-4, 3.1964e-2), (2, 5.1188e-7, 2.3980e-4), (3, 1.7178e-9, 1.1446e-6)],
)
def test_quasi_linear_problem_has_the_optimal_orders(degree, l2, h1):
    """fem_reference.md §4.1: both norms on 64 × 64, and their rates from 32 × 32."""
    problem = manufactured(quasi_linear, WAVY + 1)
    fine = norms(solve(problem, degree=degree, h=1 / 64), u, WAVY + 1, 64)
    assert np.allclose(fine, (l2, h1), rtol=0.01)
    coarse = norms(solve(problem, degree=degree, h=1 / 32), u, WAVY + 1, 32)
    rates = np.log2(np.array(coarse) / np.array(fine))
    assert np.allclose(rates, (degree + 1, degree), atol=0.05)


@pytest.mark.parametrize(
    "operator, cells, expected",
    [(anisotropic, 64, 5.118e-7), (gradient_law, 32, 4.102e-6)],
)
def test_general_coefficients(operator, cells, expected):
    """fem_reference.md §4.2."""
    exact = WAVY + x * y
    solution = solve(manufactured(operator, exact), h=1 / cells)
    assert norms(solution, u, exact, cells)[0] == pytest.approx(expected, rel=0.01)


def by_hand(name, ufl, w, v, X):
    """The weak residual of §4.2 as a user of UFL writes it, without its load."""
    slope = ufl.grad(w)
    if name == "quasi_linear":
        return (1 + w**2) * ufl.inner(slope, ufl.grad(v)) + w**3 * v
    if name == "gradient_law":
        return (1 + ufl.inner(slope, slope)) * ufl.inner(slope, ufl.grad(v))
    tensor = ufl.as_matrix([[1, 0.3], [0.3, 2 + ufl.sin(X[0])]])
    return ufl.inner(tensor * slope, ufl.grad(v)) + w * w.dx(0) * v


@pytest.mark.parametrize("operator", [quasi_linear, gradient_law, anisotropic])
def test_the_lowered_residual_is_the_one_written_by_hand(operator):
    """fem_reference.md §5.2: for any state, not only for a solution."""
    problem = PDE("by_hand", operator(u), SQUARE, Dirichlet(u, 0))
    system = System(Space(problem.weak_form(), mesh_of(SQUARE, (6, 6)), 2))
    system.set_states(np.random.default_rng(0).standard_normal(system.space.offsets[-1]))
    dolfinx, space = backend.load(), system.space.spaces[0]
    ufl = dolfinx.ufl
    dx = ufl.Measure("dx", metadata={"quadrature_degree": system.forms.degree})
    X, v = ufl.SpatialCoordinate(space.mesh), ufl.TestFunction(space)
    form = by_hand(operator.__name__, ufl, system.states[0], v, X) * dx
    expected = dolfinx.fem.assemble_vector(dolfinx.fem.form(form)).array
    inner = np.ones(len(expected), dtype=bool)
    inner[system.space.prescribed[0].nodes] = False
    found = system.residual()[inner]
    assert np.abs(found - expected[inner]).max() < 1e-12 * np.abs(expected).max()


def test_boundary_conditions_have_the_right_signs():
    """P3 holds u = x² y: any wrong sign or factor would be an error of order one."""
    exact = x**2 * y
    conditions = [
        Dirichlet(u, exact, on="left"),
        Neumann(u, 2 * x * y, on="right"),
        Robin(u, 2, -3, 2 * exact - 3 * x**2, on="top"),
        Robin(u, x, 1, x * exact - x**2, on=y < 1e-9),
    ]
    problem = manufactured(lambda w: -laplacian(w) + w * w.diff(x), exact, conditions)
    solution = solve(problem, degree=3, h=0.25)
    assert true_error(solution) < 1e-10 and solution.report.converged


def test_each_field_has_its_own_conditions_on_a_side():
    """P2 holds both: where one has a value the other has a slope; two sides have the same one."""
    exact = {u: x**2 + y**2, v: x**2 - y + x * y}
    problem = PDE(
        "sides",
        [
            sp.Eq(laplacian(u) + v, 4 + exact[v]),
            sp.Eq(laplacian(v) - u, 2 - exact[u]),
        ],
        SQUARE,
        [
            *(Dirichlet(u, exact[u], on=side) for side in ("left", "bottom")),
            *(Neumann(u, 2, on=side) for side in ("right", "top")),
            *(Dirichlet(v, exact[v], on=side) for side in ("right", "top")),
            *(Neumann(v, -y, on="left"), Neumann(v, 1 - x, on="bottom")),
        ],
        exact=exact,
    )
    assert true_error(solve(problem, h=1 / 4)) < 1e-11


@pytest.mark.parametrize("operator", [anisotropic, gradient_law])
def test_slopes_are_prescribed_for_any_flux(operator):
    """∂u/∂n is declared, not the flux: for these it is no multiple of it."""
    exact = WAVY + x * y
    conditions = [
        Dirichlet(u, exact, on="left"),
        Neumann(u, exact.diff(x), on="right"),
        Neumann(u, exact.diff(y), on="top"),
        Robin(u, 1, 1, exact - exact.diff(y), on="bottom"),
    ]
    solution = solve(manufactured(operator, exact, conditions), h=1 / 16)
    assert true_error(solution) < 3e-4


def test_a_declared_flux_is_solved():
    exact, law = WAVY + x * y, lambda g: g / sp.sqrt(1 + g.dot(g))
    slope = sp.Matrix([exact.diff(x), exact.diff(y)])
    source = sum(f.diff(c) for f, c in zip(law(slope), (x, y), strict=True))
    problem = PDE(
        "minimal", sp.Eq(div(law(grad(u))), source), SQUARE, Dirichlet(u, exact), exact={u: exact}
    )
    assert true_error(solve(problem, h=1 / 16)) < 6e-5


def test_incompressible_flow_by_taylor_hood_elements():
    """Velocities gain three orders, the pressure, of mean zero, two (Kovasznay's wake)."""
    nu, decay = sp.Rational(1, 40), 20 - sp.sqrt(400 + 4 * sp.pi**2)
    wave = sp.exp(decay * x)
    exact = {
        u: 1 - wave * sp.cos(2 * sp.pi * y),
        v: decay / (2 * sp.pi) * wave * sp.sin(2 * sp.pi * y),
        p: -(wave**2) / 2 + (sp.exp(2 * decay) - 1) / (4 * decay),
    }

    def momentum(w, c):
        return u * w.diff(x) + v * w.diff(y) + p.diff(c) - nu * laplacian(w)

    problem = PDE(
        "kovasznay",
        [momentum(u, x), momentum(v, y), u.diff(x) + v.diff(y)],
        SQUARE,
        [Dirichlet(u, exact[u]), Dirichlet(v, exact[v])],
        exact=exact,
        fields=[u, v, p],
    )
    solutions = [solve(problem, h=1 / n) for n in (16, 32)]
    assert solutions[1].config["degrees"] == [2, 2, 1]
    for field, order in ((u, 3), (v, 3), (p, 2)):
        coarse, fine = (
            norms(s, field, exact[field], n)[0] for s, n in zip(solutions, (16, 32), strict=True)
        )
        assert math.log2(coarse / fine) > order - 0.25
    mean = solutions[1](SQUARE.sample(4000, torch.Generator().manual_seed(0)))[:, 2].mean()
    assert abs(mean) < 0.02


def test_elasticity_is_a_coupled_system():
    exact = {u: sp.sin(sp.pi * x) * sp.sin(sp.pi * y), v: x * y * (1 - x)}

    def force(a, b):
        dilation = a.diff(x) + b.diff(y)
        return [3 * dilation.diff(c) + laplacian(w) for w, c in ((a, x), (b, y))]

    left, right = force(u, v), force(exact[u], exact[v])
    problem = PDE(
        "elastic",
        [sp.Eq(a, b) for a, b in zip(left, right, strict=True)],
        SQUARE,
        [Dirichlet(u, exact[u]), Dirichlet(v, exact[v])],
        exact=exact,
    )
    errors = [norms(solve(problem, h=1 / n), u, exact[u], n)[0] for n in (8, 16)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.1)


def test_a_clamped_plate_is_split_into_two_fields():
    exact = sp.sin(sp.pi * x) ** 2 * sp.sin(sp.pi * y) ** 2
    problem = PDE(
        "plate",
        sp.Eq(u.diff(x, 4) + 2 * u.diff(x, 2, y, 2) + u.diff(y, 4), laplacian(laplacian(exact))),
        SQUARE,
        [Dirichlet(u, 0), Neumann(u, 0)],
        exact={u: exact},
    )
    errors = [norms(solve(problem, h=1 / n), u, exact, n)[0] for n in (8, 16)]
    assert errors[1] < 1e-3 and math.log2(errors[0] / errors[1]) > 2.7


def test_a_periodic_axis_joins_its_ends():
    exact = sp.sin(2 * sp.pi * x + 1) * sp.sin(sp.pi * y)
    conditions = [Periodic(u, x), Dirichlet(u, 0, on="bottom"), Dirichlet(u, 0, on="top")]
    problem = manufactured(lambda w: -laplacian(w) + w.diff(x), exact, conditions)
    solution = solve(problem, degree=3, h=1 / 16)
    # sin(2πx + 1) is not symmetric: a value or slope that does not go over shows
    assert true_error(solution) < 3e-5


def test_pure_neumann_problems_have_mean_zero_and_need_balance():
    exact = sp.cos(sp.pi * x) * sp.cos(sp.pi * y)
    balanced = manufactured(lambda w: -laplacian(w), exact, [Neumann(u, 0)])
    assert true_error(solve(balanced, h=1 / 16)) < 3e-4
    unbalanced = PDE("unbalanced", sp.Eq(-laplacian(u), 1), SQUARE, [Neumann(u, 0)])
    with pytest.raises(InvalidProblem, match="nothing fixes the constant of u"):
        solve(unbalanced, h=1 / 8)


def test_a_nonlinear_start_is_the_harmonic_extension():
    """A plane is harmonic and solves the gradient law: only this start is there at once."""
    problem = manufactured(gradient_law, 30 * x + 50 * y)
    solution = solve(problem, h=1 / 16)
    assert solution.report.iterations <= 2 and true_error(solution) < 1e-9


def test_a_steep_nonlinear_problem_is_solved_or_says_that_it_is_not():
    """fem_reference.md §5.3: a plain start from zero stalls at an error of 0.7 without a word."""
    exact = 3 * WAVY + 5 * x * y
    solution = solve(manufactured(gradient_law, exact), h=1 / 16)
    assert true_error(solution) < 2e-4 and solution.report.converged


def test_continuation_reaches_what_newton_does_not():
    exact = WAVY + x * y
    wild = {"initial": lambda points: 1e3 * (50 * points[:, :1]).sin()}
    few = {"snes_max_it": 8}
    solution = solve(manufactured(gradient_law, exact), h=1 / 8, petsc_options=few, **wild)
    assert true_error(solution) < 2e-3
    assert any("continuation in" in note for note in solution.report.notes)


def cavity(reynolds):
    """Lid-driven cavity; at the upper corners the walls have the last word."""

    def momentum(w, c):
        return u * w.diff(x) + v * w.diff(y) + p.diff(c) - laplacian(w) / reynolds

    walls = [Dirichlet(u, 0, on=side) for side in ("left", "right", "bottom")]
    return PDE(
        "cavity",
        [momentum(u, x), momentum(v, y), u.diff(x) + v.diff(y)],
        SQUARE,
        [Dirichlet(u, 1, on="top"), *walls, Dirichlet(v, 0)],
        fields=[u, v, p],
    )


# Botella, Peyret (1998), Comput. Fluids 27, 421, table 9: u(1/2, y) at Re = 1000
CENTRE = {0.0547: -0.1812881, 0.1719: -0.3885691, 0.5: -0.0620561, 0.7344: 0.1886747}


def test_a_driven_cavity_at_1000_from_the_declaration_alone():
    form = lower(cavity(1000))
    system = System(Space(form, mesh_of(SQUARE, (24, 24)), 2))
    solve_steady(system)
    path = Trajectory(np.zeros(1), *2 * [taken(system.states, system.space)[None]])
    field = field_of(system.space, path, 1.0)[0]
    points = torch.tensor([[0.5, y] for y in CENTRE], dtype=torch.float64)
    assert np.allclose(field(points)[:, 0].numpy(), list(CENTRE.values()), atol=0.012)


def test_the_load_is_raised_by_steps_that_adapt():
    """Few iterations and coarse cells: increments are halved and grow again on the way."""
    system = System(Space(lower(cavity(2000)), mesh_of(SQUARE, (8, 8)), 2), {"snes_max_it": 10})
    (note,) = solve_steady(system)
    assert note.startswith("Newton's iteration needed continuation in")
    assert system.load.value == 1.0
    free = np.ones(system.space.offsets[-1], dtype=bool)
    for held in system.space.prescribed:
        free[system.space.offsets[held.field] + held.nodes] = False
    assert np.abs(system.residual()[free]).max() < 1e-7


def test_an_unsolvable_problem_says_so():
    """Bratu's problem has no solution beyond λ ≈ 6.8."""
    bratu = PDE("bratu", laplacian(u) + 30 * sp.exp(u), SQUARE, Dirichlet(u, 0))
    words = r"'bratu' failed after \d+ iterations .*DIVERGED.*Continuation reached 0%"
    with pytest.raises(DivergedError, match=words):
        solve(bratu, h=1 / 8)


def test_petsc_options_reach_the_solver():
    problem = problems.poisson(2)
    with pytest.raises(DivergedError, match="DIVERGED"):
        solve(
            problem, h=1 / 32, petsc_options={"ksp_type": "cg", "pc_type": "none", "ksp_max_it": 2}
        )
    iterative = solve(
        problem, h=1 / 32, petsc_options={"ksp_type": "cg", "pc_type": "gamg", "ksp_rtol": 1e-12}
    )
    points = SQUARE.sample(50, torch.Generator().manual_seed(0))
    assert torch.allclose(iterative(points), solve(problem, h=1 / 32)(points), atol=1e-10)


def test_values_of_parameters_are_not_compiled_in():
    k = Parameter("k", 2.0)
    problem = PDE("k", sp.Eq(-k * laplacian(u), 1), SQUARE, Dirichlet(u, 0))
    points = SQUARE.sample(20, torch.Generator().manual_seed(0))
    twice = solve(problem, h=1 / 8)(points)
    assert torch.allclose(solve(problem.with_parameters(k=4.0), h=1 / 8)(points), twice / 2)


@pytest.mark.parametrize(
    "solved, cells",
    [(problems.poisson(1), 32), (problems.poisson(2), 16), (problems.poisson(3), 8)],
)
def test_the_estimate_is_near_the_error(solved, cells):
    solution = solve(solved, h=1 / cells)
    assert solution.report.reference == "self-convergence"
    assert 0.3 < solution.report.error["l2_relative"] / true_error(solution) < 4


def test_default_levels_reach_the_tolerance():
    solution = solve(problems.poisson(2))
    assert solution.report.error["l2_relative"] < 1e-6 and true_error(solution) < 1e-6


def test_the_estimate_takes_the_observed_rate():
    """A kink inside of cells drops P2 to second order: a rate of three would be too optimistic."""
    exact = sp.Abs(x - sp.Rational(1, 3)) * y * (1 - y) * 0 + sp.Abs(x - sp.Rational(1, 3)) ** 3
    problem = PDE(
        "kink",
        sp.Eq(laplacian(u), 6 * sp.Abs(x - sp.Rational(1, 3))),
        SQUARE,
        Dirichlet(u, exact),
        exact={u: exact},
    )
    solution = solve(problem, h=1 / 16, degree=4)
    assert solution.report.error["l2_relative"] > 0.2 * true_error(solution)


def test_the_exact_reference_is_used_where_there_is_one():
    solution = pdeml.solve(problems.poisson(2), "fem", h=1 / 8)
    assert solution.report.reference == "exact"
    assert solution.report.error["l2_relative"] == pytest.approx(true_error(solution))


WALL = Field("w", *sp.symbols("x1:5", real=True))


@pytest.mark.parametrize(
    "problem, words",
    [
        (problems.poisson(4), "one to three space coordinates"),
        (problems.kdv(), "u_xxx has no weak form"),
        (problems.schroedinger_soliton(), "complex"),
        (problems.burgers().with_unknown(nu=0.1), "value for the parameter 'nu'"),
        (
            PDE("transport", u.diff(x) + u.diff(y), SQUARE, Dirichlet(u, 0, on="left")),
            "only transports it along x",
        ),
    ],
)
def test_refusals_name_the_reason(problem, words):
    reason = pdeml.solvers.can_solve(problem, "fem")
    assert reason is not None and words in reason
    with pytest.raises(UnsupportedProblem, match=words):
        solve(problem)


def test_a_part_of_the_boundary_without_condition_is_named():
    free = PDE(
        "open",
        [laplacian(u) - v, laplacian(v) - u],
        SQUARE,
        [Dirichlet(u, 0), Dirichlet(v, 0, on=x < 0.5), Dirichlet(v, 0, on=x > 0.6)],
    )
    reason = pdeml.solvers.can_solve(free, "fem")
    assert "condition for v on the whole boundary" in reason
    assert "'bottom'" in reason or "'top'" in reason
    # a gap between drawn points is found when the facets are looked at
    slit = sp.Or(x < 0.5, x > 0.5 + 1e-7, y > 0.5)
    nearly = PDE("slit", laplacian(u), SQUARE, Dirichlet(u, 0, on=slit))
    assert pdeml.solvers.can_solve(nearly, "fem") is None
    middle = sp.Or(x < 0.5 - 1e-9, x > 0.5 + 1e-9, y > 0.5)
    one_facet = PDE("facet", laplacian(u), SQUARE, Dirichlet(u, 0, on=middle))
    with pytest.raises(UnsupportedProblem, match="condition for u on the whole boundary"):
        solve(one_facet, h=1 / 3)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"degree": 0}, "degree=0"),
        ({"degree": 5}, "degree=5"),
        ({"h": -1}, "h=-1"),
        ({"tol": 2}, "tol=2"),
        ({"dt": 0.1}, "has no time"),
        ({"scheme": "bdf2"}, "has no time"),
        ({"initial": torch.zeros(3)}, "give a function of points"),
        ({"resolution": 3}, "no option 'resolution'"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(InvalidOption, match=words):
        solve(problems.poisson(2), **options)


def test_taylor_hood_elements_need_degree_two():
    stokes = PDE(
        "stokes",
        [laplacian(u) - p.diff(x), laplacian(v) - p.diff(y), u.diff(x) + v.diff(y)],
        Rectangle((x, y), (0, 0), (1, 1)),
        [Dirichlet(u, 0), Dirichlet(v, 0)],
    )
    with pytest.raises(InvalidOption, match="p enforces a constraint"):
        solve(stokes, degree=1)
