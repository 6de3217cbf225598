"""Schemes in time: orders, conserved energy, boundary values at the right times, zoo problems."""

import itertools
import math

import numpy as np
import pytest
import sympy as sp
import torch

import pdeml
from pdeml import problems
from pdeml.domains import Interval, Time
from pdeml.domains.mesh import Mesh
from pdeml.errors import DivergedError, InvalidOption, UnsupportedProblem
from pdeml.operators.conditions import Dirichlet, Initial, Neumann, Periodic, Robin
from pdeml.operators.fields import Field
from pdeml.operators.pde import PDE
from pdeml.solvers.fem.march import March, stretches
from pdeml.solvers.fem.mesh import mesh_of
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.system import System, taken
from pdeml.solvers.fem.trajectory import Record, differentiated

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
    for times in (np.linspace(0, 1, 9), np.geomspace(1, 3, 9) - 1):
        values = np.stack([times**k for k in range(7)], axis=1)
        slopes = np.stack([k * times ** max(k - 1, 0) for k in range(7)], axis=1)
        assert np.allclose(differentiated(times, values), slopes, atol=1e-9)
        assert np.allclose(differentiated(times[:2], values[:2, :2]), [[0, 1], [0, 1]])


RELAXING = sp.exp(-400 * t) + sp.cos(2 * t)


def two_scales():
    """A transient of 1/400 beside a slow oscillation."""
    exact = RELAXING * sp.sin(sp.pi * x)
    equation = sp.Eq(w.diff(t) - w.diff(x, 2), exact.diff(t) - exact.diff(x, 2))
    conditions = [Initial(w, exact.subs(t, 0)), Dirichlet(w, 0)]
    return PDE("two_scales", equation, LINE, conditions, exact={w: exact})


def node_error(solution):
    """Largest error at the middle and the stored instants."""
    times = solution.field.times
    wanted = np.array([float(RELAXING.subs(t, s)) for s in times.tolist()])
    found = solution(torch.stack([torch.full_like(times, 0.5), times], dim=1))[:, 0].numpy()
    return np.abs(found - wanted).max()


def test_steps_follow_the_local_error():
    problem, times = two_scales(), [0.0123, 0.5, 0.77]
    errors, counts = [], []
    for rtol in (1e-3, 1e-4, 1e-5):
        solution = solve(problem, degree=4, h=1 / 16, rtol=rtol, times=times)
        stored = solution.field.times.tolist()
        assert {0.0, 1.0, *times} <= set(stored)
        errors.append(node_error(solution))
        counts.append(solution.report.iterations)
        steps = np.diff(stored)
        # the transient needs small steps, what follows does not
        assert steps[steps > 0].max() > 15 * steps[1:10].min()
        early = np.array(stored)[1:] < 0.02
        assert steps[early].max() < steps[~early].max() / 4
        assert 0.3 < solution.report.error["l2_relative"] / true_error(solution) < 20
    assert errors[0] > 3 * errors[1] > 9 * errors[2] and errors[2] < 2e-6
    assert counts[0] < counts[1] < counts[2] < 150
    # equal steps of the smallest size would be many more
    assert counts[2] < 1 / steps[1:].min() / 8


def test_steps_taken_and_rejected_are_reported():
    """A pulse within 1/50 arrives while steps are large: they are rejected there."""
    pulse = sp.exp(-((50 * (t - sp.Rational(1, 2))) ** 2) * 4)
    exact = pulse * sp.sin(sp.pi * x)
    problem = PDE(
        "pulse",
        sp.Eq(w.diff(t) - w.diff(x, 2), exact.diff(t) - exact.diff(x, 2)),
        LINE,
        [Initial(w, 0), Dirichlet(w, 0)],
        exact={w: exact},
    )
    solution = solve(problem, h=1 / 16, degree=4, atol=1e-4, dt=0.05)
    (note,) = [n for n in solution.report.notes if "rejected" in n]
    words = note.replace(",", "").split()
    assert int(words[0]) == solution.report.iterations == len(solution.field.times) - 1
    assert int(words[words.index("rejected") - 1]) > 0
    assert np.diff(solution.field.times.numpy()).max() <= 0.05 + 1e-12
    assert true_error(solution) < 3e-3


def test_steps_follow_the_error_of_velocities_and_nonlinear_terms():
    """Second order in time, and a solution that passes quickly through its steepest place."""
    solution = solve(problems.wave(), degree=4, h=1 / 16, rtol=1e-4)
    assert true_error(solution) < 2e-3
    loose = solve(problems.wave(), degree=4, h=1 / 16, rtol=1e-2)
    assert true_error(loose) > 5 * true_error(solution)
    problem = problems.burgers(nu=0.1)
    assert true_error(solve(problem, h=1 / 16, degree=3, rtol=1e-3)) < 2e-3


def test_the_embedded_formula_is_of_order_three():
    from pdeml.solvers.fem.march import DEFECT, GAMMA, NODES, WEIGHTS

    matrix = np.diag([GAMMA] * 5)
    for i, row in enumerate(WEIGHTS):
        matrix[i, : len(row)] = row
    nodes, order4 = matrix.sum(1), matrix[4]
    assert np.allclose(nodes, NODES)
    order3 = order4 - DEFECT
    conditions = [(np.ones(5), 1), (nodes, 1 / 2), (nodes**2, 1 / 3), (matrix @ nodes, 1 / 6)]
    for factor, value in conditions:
        assert order3 @ factor == pytest.approx(value) == order4 @ factor
    assert order4 @ nodes**3 == pytest.approx(1 / 4) != pytest.approx(order3 @ nodes**3)


def test_a_step_that_cannot_be_made_small_enough_says_when():
    problem = PDE(
        "blow_up",
        sp.Eq(w.diff(t), w.diff(x, 2) + 5 * w**2),
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(w, 3), Neumann(w, 0)],
    )
    # u = 1/(1/3 − 5t) is infinite at t = 1/15
    with pytest.raises(DivergedError, match=r"at t = 0.066\d+ are too large"):
        solve(problem, h=1 / 2, rtol=1e-3)


def test_loads_that_are_no_products_in_time():
    """Inside and at an end; none is a place times an instant, as those that are assembled once."""
    exact = sp.exp(-((x - t) ** 2))
    problem = PDE(
        "moved",
        sp.Eq(w.diff(t) - w.diff(x, 2), exact.diff(t) - exact.diff(x, 2)),
        LINE,
        [
            Initial(w, exact.subs(t, 0)),
            Dirichlet(w, exact, on="left"),
            Robin(w, 1, 1, sp.exp(-((1 - t) ** 2)) * (2 * t - 1), on="right"),
        ],
        exact={w: exact},
    )
    solution = solve(problem, h=1 / 16, degree=3, dt=1 / 16, scheme="sdirk4")
    assert true_error(solution) < 2e-5
    assert solution.report.iterations == 16


@pytest.mark.parametrize("scheme", ["bdf2", "theta", "sdirk4"])
def test_instants_are_hit_exactly(scheme):
    """Steps of other sizes keep the order: BDF2 takes their ratio into account."""
    problem, times = problems.heat(1), [0.1003, 0.377, 0.9]
    errors = []
    for n in (4, 8) if scheme == "sdirk4" else (32, 64):
        solution = solve(problem, h=1 / 16, degree=4, dt=1 / n, times=times, scheme=scheme)
        assert {0.0, *times, 1.0} <= set(solution.field.times.tolist())
        errors.append(true_error(solution))
        assert 0.4 < solution.report.error["l2_relative"] / errors[-1] < 10
    if scheme == "sdirk4":
        assert errors[1] < 6e-8
    else:
        assert math.log2(errors[0] / errors[1]) > 1.65


def test_twice_the_steps_are_twice_as_many_in_every_part():
    parts = [stretches(0.0, 1.0, n, [0.1, 0.25]) for n in (16, 32, 64)]
    for coarse, fine in itertools.pairwise(parts):
        assert [2 * n for *_, n in coarse] == [n for *_, n in fine]
    assert stretches(0.0, 1.0, 100, []) == [(0.0, 1.0, 100)]


def test_bdf2_keeps_its_order_where_steps_change(heated):
    """Every second step is half as long: with the weights of equal steps the order would be one."""
    march, errors = March(heated, "bdf2"), []
    for n in (8, 16):
        state, before, last, time = march.start(None), None, 1.0, 0.0
        for k in range(2 * n):
            dt = (1 + k % 2) / (6 * n)
            state, before = march._step(time, dt, state, before, dt / last), state
            last, time = dt, time + dt
        (exact,) = heated.problem.exact.values()
        wanted = heated.space.evaluated(exact, heated.space.nodes(0), 0.5)
        errors.append(np.sqrt(np.mean((state.value - wanted) ** 2)))
    assert math.log2(errors[0] / errors[1]) > 1.7


def test_a_record_thins_itself_but_keeps_what_is_wanted():
    record = Record(size=4, held=100)
    for n in range(1001):
        record.add(n / 10, np.full(4, n / 10), n in (0, 333, 1000))
    path = record.trajectory()
    assert len(path.times) * 4 <= 100 and {0.0, 33.3, 100.0} <= set(path.times)
    assert np.allclose(path.values[:, 0], path.times) and np.allclose(path.rates, 1)


def test_known_rates_are_kept_and_the_first_one_found():
    times = np.array([0.0, 0.1, 0.15, 0.5, 1.0])
    record = Record(size=2, known=np.array([True, False]))
    for n, s in enumerate(times):
        rate = None if n == 0 else np.array([6 * s**5])
        record.add(s, np.array([s**6 + s - s, s**3]), True, rate)
    rates = record.trajectory().rates
    assert np.allclose(rates[:, 0], 6 * times**5) and np.allclose(rates[:, 1], 3 * times**2)


def test_a_given_mesh_judges_the_steps_too():
    """The difference to another degree alone would not see the error of long steps."""
    problem = problems.heat(2)
    mesh = Mesh.structured(problem.domain.space, 8)
    solution = solve(problem, mesh=mesh, dt=1 / 16)
    assert 0.7 < solution.report.error["l2_relative"] / true_error(solution) < 5


def test_progress_tells_time_steps_and_newton_iterations(monkeypatch):
    seen = []
    bar = type(
        "Bar",
        (),
        {
            "__init__": lambda self, title, enabled: seen.append((title, enabled)),
            "__enter__": lambda self: self,
            "__exit__": lambda self, *_: None,
            "update": lambda self, fraction, figures: seen.append((fraction, figures)),
        },
    )
    monkeypatch.setattr("pdeml.solvers.fem.solver.ProgressBar", bar)
    solve(problems.heat(1), h=1 / 8, dt=1 / 8, progress=True)
    assert seen[0] == ("fem heat", True)
    fraction, figures = seen[8]
    assert fraction == pytest.approx(7 / 8) and figures["t"] == pytest.approx(7 / 8)
    assert (figures["steps"], figures["dt"], figures["Newton"]) == (7, 1 / 8, 7)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"scheme": "euler"}, "'bdf2', 'theta'"),
        ({"theta": 0.2, "scheme": "theta"}, "theta=0.2"),
        ({"dt": 0}, "dt=0"),
        ({"times": [0.5, 7]}, "times holds 7"),
        ({"times": [math.nan]}, "times holds nan"),
        ({"times": 0.5}, "times=0.5: give a sequence"),
        ({"times": ["early"]}, "give a sequence of instants"),
        ({"rtol": 2}, "rtol=2"),
        ({"atol": -1}, "atol=-1"),
        ({"rtol": 1e-3, "scheme": "bdf2"}, "'bdf2' has no embedded error estimate"),
        ({"rtol": 1e-3, "tol": 1e-3}, "give one of them"),
        ({"time_limit": 0}, "time_limit=0"),
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
