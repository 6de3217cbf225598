"""Schemes in time: orders, conserved energy, boundary values at the right times, zoo problems."""

import math

import numpy as np
import pytest
import sympy as sp
import torch

import pdeml
from pdeml import problems
from pdeml.domains import Interval, Time
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.conditions import Dirichlet, Initial, Neumann, Periodic
from pdeml.operators.fields import Field
from pdeml.operators.pde import PDE
from pdeml.solvers.fem.march import March, differentiated
from pdeml.solvers.fem.mesh import mesh_of
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.system import System, taken

from .declarations import heat_with_source, norms, t, x

w = Field("u", x, t)
LINE = Interval(x, 0, 1) * Time(t, 0, 1)


def solve(problem, **options):
    return pdeml.solve(problem, "fem", reference=None, **options)


def true_error(solution):
    return solution.error(pdeml.solve(solution.problem, "exact"))["l2_relative"]


@pytest.fixture(scope="module")
def heated():
    """The discrete equations of one problem, for many steps."""
    problem = heat_with_source()
    return System(Space(problem.weak_form(), mesh_of(problem.domain.space, (24, 24)), 3))


def final_error(system, scheme, theta, steps):
    """Euclidean norm of the nodal error at the end; it is smooth, so as good as the L2 norm."""
    March(system, scheme, theta).run(0.0, 0.5, steps)
    (exact,) = system.problem.exact.values()
    nodes = system.space.nodes(0)
    wanted = system.space.evaluated(exact, nodes, 0.5)
    return float(np.sqrt(np.mean((taken(system.states, system.space) - wanted) ** 2)))


# fem_reference.md §4.3: L2 errors of backward Euler and of Crank–Nicolson
@pytest.mark.parametrize(
    "scheme, theta, steps, l2, order",
    [
        ("theta", 1.0, 64, 2.10e-5, 1),
        ("theta", 0.5, 8, 1.75e-6, 2),
        ("bdf2", 0.5, 16, 1.79e-6, 2),
        ("sdirk4", 0.5, 8, 7.7e-6, 2.5),
    ],
)
def test_orders_with_boundary_values_in_time(heated, scheme, theta, steps, l2, order):
    errors = [final_error(heated, scheme, theta, n) for n in (steps // 2, steps)]
    assert errors[1] == pytest.approx(l2, rel=0.08)
    # boundary values that change in time cost a Runge–Kutta method some of its order
    assert math.log2(errors[0] / errors[1]) > order - 0.2


def test_the_fourth_order_of_sdirk4_where_boundary_values_stand_still():
    problem = problems.heat(1)
    system = System(Space(problem.weak_form(), mesh_of(problem.domain.space, (64,)), 4))
    errors = [final_error_at_one(system, n) for n in (2, 4)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.35)


def final_error_at_one(system, steps):
    March(system, "sdirk4").run(0.0, 1.0, steps)
    (exact,) = system.problem.exact.values()
    wanted = system.space.evaluated(exact, system.space.nodes(0), 1.0)
    return float(np.abs(taken(system.states, system.space) - wanted).max())


@pytest.mark.parametrize(
    "scheme, rate, bound", [("theta", 2, 2e-2), ("bdf2", 1.6, 0.1), ("sdirk4", 3.7, 2e-4)]
)
def test_waves_by_both_schemes(scheme, rate, bound):
    """Two levels: space is resolved, so that the error is that of time."""
    errors = [
        true_error(solve(problems.wave(), scheme=scheme, degree=4, h=1 / 32, dt=1 / n))
        for n in (64, 128)
    ]
    assert math.log2(errors[0] / errors[1]) > rate - 0.1 and errors[1] < 2 * bound


def test_newmarks_method_keeps_the_energy():
    problem = problems.wave()
    system = System(Space(problem.weak_form(), mesh_of(problem.domain.space, (32,)), 2))
    march = March(system, "theta")
    state = march._completed(0.0, 1e-6, march.start(None))
    fem, ufl = system._dolfinx.fem, system._dolfinx.ufl
    speed, u = fem.Function(system.space.spaces[0]), system.states[0]
    energy = fem.form((speed**2 + 4 * u.dx(0) ** 2) * ufl.dx)

    def of(state):
        system.set_states(state.value)
        speed.x.array[:] = state.rate
        return fem.assemble_scalar(energy)

    start = of(state)
    for n in range(200):
        state = march._step(n / 40, 1 / 40, state, None)
    assert of(state) == pytest.approx(start, rel=1e-6)


def test_a_nonlinear_rate_and_a_mixed_derivative():
    """(1 + u) u_t = u_xx + (u_xt)_x/10 + f: the rate is an unknown like any other."""
    exact = sp.exp(-t) * sp.sin(sp.pi * x) + x * t

    def residual(f):
        return (1 + f) * f.diff(t) - f.diff(x, 2) - f.diff(x, 2, t) / 10

    problem = PDE(
        "viscous",
        sp.Eq(residual(w), residual(exact)),
        LINE,
        [
            Initial(w, exact.subs(t, 0)),
            Dirichlet(w, exact, on="left"),
            Neumann(w, exact.diff(x), on="right"),
        ],
        exact={w: exact},
    )
    # ∂(u_t)/∂n follows from ∂u/∂n; it is not declared, so it is taken from the elements
    assert true_error(solve(problem, degree=3, h=1 / 32, dt=1 / 128)) < 1e-4


def test_constraint_fields_have_a_start():
    """Stream function: no condition gives it at t = 0, the equations do."""
    problem = problems.taylor_green_vortex(nu=0.05)
    solution = solve(problem, h=2 * math.pi / 16, dt=1 / 8)
    exact = pdeml.solve(problem, "exact")
    points = problem.domain.space.sample(500, torch.Generator().manual_seed(0))
    start = torch.cat([points, torch.zeros(len(points), 1)], dim=1)
    assert (solution(start) - exact(start)).abs().max() < 0.02 * exact(start).abs().max()


# (problem, options, bound on the relative error against the exact solution)
ZOO = [
    (problems.heat(1), {}, 1e-4),
    (problems.heat(2), {"scheme": "sdirk4", "h": 1 / 16, "dt": 1 / 16}, 2e-4),
    (problems.heat(3), {"h": 1 / 6, "dt": 1 / 16, "scheme": "sdirk4"}, 6e-3),
    (problems.wave(), {"h": 1 / 32, "dt": 1 / 64}, 1e-3),
    (problems.klein_gordon(), {"h": 1 / 32, "dt": 1 / 32}, 1e-3),
    (problems.burgers(nu=0.1), {"h": 1 / 32, "dt": 1 / 64}, 2e-3),
    (problems.burgers(), {"h": 1 / 128, "dt": 1 / 128}, 1e-2),
    (problems.advection(), {"h": 1 / 64, "dt": 1 / 64, "scheme": "sdirk4"}, 3e-3),
    (problems.diffusion(), {"h": 1 / 32, "dt": 1 / 32, "scheme": "sdirk4"}, 2e-4),
    (problems.convection_diffusion(speed=1, diffusivity=0.1), {"h": 0.1, "dt": 0.02}, 1e-3),
]


@pytest.mark.parametrize("problem, options, bound", ZOO, ids=lambda v: getattr(v, "name", None))
def test_zoo_problems_against_their_exact_solutions(problem, options, bound):
    solution = solve(problem, **options)
    assert true_error(solution) < bound
    assert solution.report.error["l2_relative"] > 0.3 * true_error(solution)


# without closed form: (problem, options, bound), against "spectral"
OTHERS = [
    (problems.fisher_kpp(diffusivity=1e-2), {"h": 1 / 32, "dt": 1 / 64}, 5e-3),
]


@pytest.mark.parametrize("problem, options, bound", OTHERS, ids=lambda v: getattr(v, "name", None))
def test_zoo_problems_against_the_spectral_method(problem, options, bound):
    solution = solve(problem, **options)
    assert solution.error(pdeml.solve(problem, "spectral", reference=None))["l2_relative"] < bound


def test_a_fourth_order_in_time():
    """u_t = (u³ − u − u_xx/10)_xx + f (Cahn–Hilliard), split into two fields."""
    exact = sp.exp(-t) * sp.cos(2 * sp.pi * x + t) / 2

    def residual(f):
        return f.diff(t) - (f**3 - f - f.diff(x, 2) / 10).diff(x, 2)

    problem = PDE(
        "cahn_hilliard",
        sp.Eq(residual(w), residual(exact)),
        LINE,
        [Initial(w, exact.subs(t, 0)), Periodic(w, x)],
        exact={w: exact},
    )
    solution = solve(problem, h=1 / 32, dt=1 / 64)
    assert solution.config["degrees"] == [2] and true_error(solution) < 1e-3


def test_burgers_reaches_the_known_steepest_slope():
    """max |u_x| = 152.00516 at t = 1.6037/π (Basdevant et al. 1986), P3 on cells of 1/256."""
    solution = solve(problems.burgers(), degree=3, h=1 / 256, dt=1 / 128)
    near = torch.linspace(-2e-3, 2e-3, 81, dtype=torch.float64)[:, None]
    times = torch.full_like(near, 1.6037 / math.pi)
    slopes = solution.derivative("u", "x")(torch.cat([near, times], dim=1))
    assert slopes.abs().max().item() == pytest.approx(152.00516, rel=0.03)


def test_initial_replaces_the_declared_start():
    problem = problems.heat(1)
    twice = solve(problem, h=1 / 16, dt=1 / 16, initial=lambda p: 2 * torch.sin(math.pi * p))
    once = solve(problem, h=1 / 16, dt=1 / 16)
    points = problem.domain.sample(50, torch.Generator().manual_seed(0))
    assert torch.allclose(twice(points), 2 * once(points), atol=1e-12)


def test_differences_in_time_are_exact_for_polynomials():
    times = np.linspace(0, 1, 9)
    values = np.stack([times**k for k in range(7)], axis=1)
    slopes = np.stack([k * times ** max(k - 1, 0) for k in range(7)], axis=1)
    assert np.allclose(differentiated(values, 1 / 8), slopes, atol=1e-10)
    assert np.allclose(differentiated(values[:2, :2], 1 / 8), [[0, 1], [0, 1]])


@pytest.mark.parametrize(
    "options, words",
    [
        ({"scheme": "euler"}, "'bdf2', 'theta'"),
        ({"theta": 0.2, "scheme": "theta"}, "theta=0.2"),
        ({"dt": 0}, "dt=0"),
    ],
)
def test_wrong_options_in_time_are_named(options, words):
    with pytest.raises(InvalidOption, match=words):
        solve(problems.heat(1), **options)


def test_a_condition_on_a_moving_part_is_refused():
    problem = PDE(
        "moving",
        w.diff(t) - w.diff(x, 2),
        LINE,
        [Initial(w, 0), Dirichlet(w, 0, on=x < t + 2), Neumann(w, 0, on="right")],
    )
    with pytest.raises(UnsupportedProblem, match="fixed part of the boundary"):
        solve(problem, h=0.25, dt=0.25)


def test_a_periodic_nonlinear_flux_has_no_ends():
    """A travelling wave leaves at one end and comes in at the other."""
    exact = sp.sin(2 * sp.pi * (x - t))
    equation = sp.Eq(
        w.diff(t) + w * w.diff(x) - w.diff(x, 2) / 50,
        exact.diff(t) + exact * exact.diff(x) - exact.diff(x, 2) / 50,
    )
    problem = PDE(
        "travelling",
        equation,
        LINE,
        [Initial(w, exact.subs(t, 0)), Periodic(w, x)],
        exact={w: exact},
    )
    assert true_error(solve(problem, degree=3, h=1 / 32, dt=1 / 64, scheme="sdirk4")) < 1e-4


def test_norms_at_an_instant():
    problem = heat_with_source()
    (field,) = problem.fields
    solution = solve(problem, h=1 / 8, dt=1 / 32, degree=2)
    assert norms(solution, field, problem.exact[field], 8, 0.5)[0] < 5e-4
