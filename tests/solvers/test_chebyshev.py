"""The method "chebyshev" against closed forms: steady, in time, its options and refusals."""

import itertools
import math

import numpy as np
import pytest
import sympy as sp
import torch

import pdeml
from pdeml import problems, solvers
from pdeml.domains import Box, Disk, Interval, Rectangle, Time
from pdeml.errors import DivergedError, InvalidDataset, InvalidOption, UnsupportedProblem
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Neumann, Parameter, Periodic, Robin
from pdeml.solvers import chebyshev, exact

x, y, t = sp.symbols("x y t", real=True)
U, W = Field("u", x), Field("w", x, y)
u, v = Field("u", x, t), Field("v", x, t)
w = Field("w", x, y, t)
LINE, SQUARE = Interval(x, 0, 1), Rectangle((x, y), (0, 0), (1, 1))
HOUR = Time(t, 0, 1)


def error(problem, **options):
    solution = chebyshev.solve(problem, **options)
    return solution.error(exact.solve(problem))["l2_relative"], solution.report


def accurate(problem, bound=1e-9):
    """The solution is within the bound, and its report says so without hiding more."""
    found, report = error(problem)
    assert found < bound and report.converged, (found, str(report))
    assert report.reference == "self-convergence" and report.error["l2_relative"] < 100 * 1e-10
    return report


# ------------------------------------------------------------------------------- steady


def test_the_steady_zoo():
    for problem in (
        problems.poisson(1),
        problems.poisson(2),
        problems.helmholtz(1, 4),
        problems.helmholtz(2, 3),
    ):
        accurate(problem, 1e-12)


def test_a_wrong_sign_of_the_source_is_seen():
    right = problems.poisson(2)
    (equation,) = right.equations
    flipped = PDE("poisson", [sp.Eq(-equation.lhs, equation.rhs)], right.domain, right.conditions)
    solution = chebyshev.solve(flipped)
    assert solution.report.converged
    assert solution.error(exact.solve(right))["l2_relative"] > 0.1


def layer(peclet):
    profile = (sp.exp((x - 1) * peclet) - sp.exp(-peclet)) / (1 - sp.exp(-peclet))
    ends = [Dirichlet(U, 0, on="left"), Dirichlet(U, 1, on=x > sp.Rational(1, 2))]
    equation = sp.Eq(U.diff(x), U.diff(x, 2) / peclet)
    return PDE("layer", [equation], LINE, ends, exact={U: profile})


def test_boundary_layers_of_convection_and_diffusion():
    accurate(layer(100), 1e-12)
    report = accurate(layer(10000), 1e-11)
    assert any("layer of width" in note for note in report.notes)


def test_errors_fall_geometrically_with_the_points():
    problem = problems.helmholtz(1, 4)
    errors = [error(problem, resolution=n)[0] for n in (18, 24, 30, 36)]
    assert all(a / b > 20 for a, b in itertools.pairwise(errors)) and errors[-1] < 1e-8
    errors = [error(layer(40), resolution=n)[0] for n in (12, 18, 24, 30)]
    assert all(a / b > 8 for a, b in itertools.pairwise(errors))


def test_a_nonlinear_equation_with_every_kind_of_condition():
    truth = sp.exp(sp.sin(x + 2 * y))

    def operator(f):
        return f.diff(x, 2) + f.diff(y, 2) + f.diff(x, y) - f**3 * f.diff(x)

    problem = PDE(
        "mixed",
        [sp.Eq(operator(W), operator(truth))],
        Rectangle((x, y), (0, 0), (1, 2)),
        [
            Dirichlet(W, truth, on="left"),
            Robin(W, 2, 3 + y, 2 * truth + (3 + y) * truth.diff(x), on="right"),
            Neumann(W, -truth.diff(y), on=sp.Eq(y, 0)),
            Neumann(W, truth.diff(y), on="top"),
        ],
        exact={W: truth},
    )
    accurate(problem, 1e-11)


def allen_cahn_wall(width, **more):
    profile = sp.tanh(x / (sp.sqrt(2) * width))
    equation = sp.Eq(sp.Float(width) ** 2 * U.diff(x, 2) + U - U**3, 0)
    return PDE("wall", [equation], LINE, [Dirichlet(U, profile)], exact={U: profile}, **more)


def test_steady_allen_cahn():
    for width in (0.2, 0.05, 0.01):
        accurate(allen_cahn_wall(width), 1e-10)
    profile = sp.tanh(x / (sp.sqrt(2) * sp.Rational(1, 5)))
    equation = sp.Eq(U.diff(x, 2) / 25 + U - U**3, 0)
    both = PDE("ac", [equation], Interval(x, -1, 1), [Dirichlet(U, profile)], exact={U: profile})
    accurate(both)  # e^{−√2 / 0.2 …}: nearly free to move, which costs digits


def test_the_bratu_problem_has_its_published_value_and_two_solutions():
    problem = PDE("bratu", [sp.Eq(U.diff(x, 2) + sp.exp(U), 0)], LINE, [Dirichlet(U, 0)])
    middle = torch.tensor([[0.5]], dtype=torch.float64)
    low = chebyshev.solve(problem)
    assert low.report.converged
    assert low(middle).item() == pytest.approx(0.140539214400, abs=1e-11)
    high = chebyshev.solve(problem, initial=lambda p: 16 * p * (1 - p))
    assert high.report.converged
    assert high(middle).item() == pytest.approx(4.09146, abs=1e-5)


def test_a_steady_system():
    """Fields of different order, one a constraint of the other: κ = u'', κ'' = f."""
    k = Field("k", x)
    truth = sp.sin(sp.pi * x) ** 2
    problem = PDE(
        "plate",
        [sp.Eq(U.diff(x, 2), k), sp.Eq(k.diff(x, 2), truth.diff(x, 4))],
        LINE,
        [Dirichlet(U, 0), Dirichlet(k, truth.diff(x, 2))],
        exact={U: truth, k: truth.diff(x, 2)},
    )
    accurate(problem, 1e-12)


def test_a_clamped_beam_takes_two_conditions_at_each_end():
    truth = sp.sin(sp.pi * x) ** 2 * sp.exp(x)
    problem = PDE(
        "beam",
        [sp.Eq(U.diff(x, 4) + U, truth.diff(x, 4) + truth)],
        LINE,
        [Dirichlet(U, 0), Neumann(U, 0)],
        exact={U: truth},
    )
    accurate(problem)


def test_pure_neumann_fixes_the_mean():
    wave = sp.cos(2 * sp.pi * x) * sp.cos(sp.pi * y)
    equation = sp.Eq(W.diff(x, 2) + W.diff(y, 2), -5 * sp.pi**2 * wave)
    problem = PDE("free", [equation], SQUARE, [Neumann(W, 0)], exact={W: wave})
    report = accurate(problem, 1e-12)
    assert any("up to a constant" in note for note in report.notes)
    raised = chebyshev.solve(problem, initial=lambda p: 3 + 0 * p[:, :1])
    assert raised.report.converged
    points = torch.rand(20, 2, dtype=torch.float64)
    difference = raised(points) - exact.solve(problem)(points)
    torch.testing.assert_close(difference, 3 + 0 * difference, atol=1e-11, rtol=0)


@pytest.mark.parametrize("flux", [0, 1])
def test_incompatible_neumann_data_are_named(flux):
    equation = sp.Eq(W.diff(x, 2) + W.diff(y, 2), 1)
    problem = PDE("full", [equation], SQUARE, [Neumann(W, flux)])
    report = chebyshev.solve(problem).report
    assert not report.converged
    # ∫ Δw = 4 · flux, so the source 1 has 4 · flux − 1 too little
    assert any(f"{1 - 4 * flux} was added" in note for note in report.notes), report.notes


def test_a_singular_problem_is_named():
    """k² = π² (1 + 1)/4 is an eigenvalue."""
    problem = problems.helmholtz(wave_number=math.pi / math.sqrt(2))
    report = chebyshev.solve(problem, resolution=24).report
    assert not report.converged and any("singular" in note for note in report.notes)


def test_no_solution_is_no_success():
    problem = PDE("none", [sp.Eq(U.diff(x, 2) + 4 * sp.exp(U), 0)], LINE, [Dirichlet(U, 0)])
    report = chebyshev.solve(problem, resolution=32).report
    assert not report.converged and any("Newton" in note for note in report.notes)
    bad = PDE("log", [sp.Eq(U.diff(x, 2), sp.log(U))], LINE, [Dirichlet(U, -1)])
    with pytest.raises(DivergedError, match="initial="):
        chebyshev.solve(bad)


# ------------------------------------------------------------------------------- in time


def test_the_zoo_in_time():
    for problem in (
        problems.heat(1),
        problems.heat(2),
        problems.wave(),
    ):
        accurate(problem)
    # cubic in space: errors of the first, long steps are no reason for more points
    assert "16 points" in accurate(problems.klein_gordon()).notes[0]


def evolution(equation, domain, initial, conditions, truth, field=u):
    given = [Initial(field, initial), *conditions]
    return PDE("case", [equation], domain, given, exact={field: truth})


def test_heat_between_insulated_and_between_radiating_walls():
    rate = sp.Rational(1, 10)
    wave = sp.cos(2 * sp.pi * x)
    truth = 1 + wave * sp.exp(-rate * 4 * sp.pi**2 * t)
    equation = sp.Eq(u.diff(t), rate * u.diff(x, 2))
    accurate(evolution(equation, LINE * HOUR, 1 + wave, [Neumann(u, 0)], truth))
    # u + ∂u/∂n = 0 on ±1: cos kx with k tan k = 1
    k = sp.Float("0.86033358901937976248389342413766", 32)
    truth = sp.cos(k * x) * sp.exp(-(k**2) * t)
    equation = sp.Eq(u.diff(t), u.diff(x, 2))
    radiating = [Robin(u, 1, 1, 0)]
    box = Interval(x, -1, 1) * HOUR
    accurate(evolution(equation, box, sp.cos(k * x), radiating, truth))


def test_conditions_whose_coefficients_depend_on_time_in_the_plane():
    truth = sp.exp(-t) * sp.sin(x + 2 * y)

    def operator(f):
        return f.diff(t) - f.diff(x, 2) - f.diff(y, 2) + f * f.diff(x)

    right = 2 * truth + (1 + t) * truth.diff(x)
    conditions = [
        Dirichlet(w, truth, on="left"),
        Robin(w, 2, 1 + t, right, on="right"),
        Neumann(w, -truth.diff(y), on="bottom"),
        Neumann(w, truth.diff(y), on="top"),
    ]
    equation = sp.Eq(operator(w), operator(truth))
    box = Rectangle((x, y), (0, 0), (1, 1)) * Time(t, 0, sp.Rational(1, 2))
    accurate(evolution(equation, box, truth.subs(t, 0), conditions, truth, w))


def test_a_channel_is_periodic_along_one_axis():
    truth = sp.exp(-t) * sp.sin(sp.pi * x) * sp.cos(2 * y) + x**2 * t

    def operator(f):
        return f.diff(t) - f.diff(x, 2) - f.diff(y, 2) + f**2

    conditions = [
        Periodic(w, y),
        Dirichlet(w, truth, on="left"),
        Neumann(w, truth.diff(x), on="right"),
    ]
    box = Rectangle((x, y), (0, 0), (1, sp.pi)) * HOUR
    equation = sp.Eq(operator(w), operator(truth))
    accurate(evolution(equation, box, truth.subs(t, 0), conditions, truth, w))


@pytest.mark.parametrize("width", [0.2, 0.05, 0.01])
def test_travelling_waves_of_allen_cahn(width):
    """u = ½ (1 − tanh((x − st)/(2√2 ε))) solves u_t = ε² u_xx + u − u³ for s = 3ε/√2."""
    speed = 3 * sp.Float(width) / sp.sqrt(2)
    truth = (1 - sp.tanh((x - speed * t) / (2 * sp.sqrt(2) * width))) / 2
    equation = sp.Eq(u.diff(t), sp.Float(width) ** 2 * u.diff(x, 2) + u - u**3)
    box = Interval(x, -1, 2) * HOUR
    accurate(evolution(equation, box, truth.subs(t, 0), [Dirichlet(u, truth)], truth))


@pytest.fixture(scope="module")
def burgers():
    """Walls instead of periodicity: the same solution, by symmetry."""
    periodic = problems.burgers()
    field = periodic.fields[0]
    conditions = [c for c in periodic.conditions if isinstance(c, Initial)]
    conditions.append(Dirichlet(field, 0))
    equations, domain = periodic.equations, periodic.domain
    problem = PDE("burgers_walls", equations, domain, conditions, exact=periodic.exact)
    return chebyshev.solve(problem)


def test_burgers_between_walls(burgers):
    assert burgers.error(exact.solve(burgers.problem))["l2_relative"] < 1e-10
    assert burgers.report.converged
    assert any("layer of width" in note for note in burgers.report.notes)
    scattered = burgers.problem.domain.sample(2000, torch.Generator().manual_seed(0))
    gap = burgers(scattered) - exact.solve(burgers.problem)(scattered)
    assert gap.abs().max() < 1e-8


def test_a_broken_sign_in_time_is_seen():
    right = problems.heat(1, diffusivity=0.1)
    reacting = [sp.Eq(right.equations[0].lhs, right.equations[0].rhs - right.fields[0] / 10)]
    wrong = PDE("heat", reacting, right.domain, right.conditions)
    assert chebyshev.solve(wrong).error(exact.solve(right))["l2_relative"] > 1e-2


def test_inflow_alone_bounds_convection():
    truth = sp.sin(3 * (x - 2 * t))
    equation = sp.Eq(u.diff(t) + 2 * u.diff(x), 0)
    inflow = [Dirichlet(u, truth, on="left")]
    accurate(evolution(equation, LINE * HOUR, sp.sin(3 * x), inflow, truth))


def test_systems_of_first_order_waves_and_with_a_constraint():
    """Whatever the order in which the equations are written."""
    sine, cosine = sp.sin(sp.pi * x), sp.cos(sp.pi * x)
    acoustics = PDE(
        "acoustics",
        [sp.Eq(v.diff(t), u.diff(x)), sp.Eq(u.diff(t), v.diff(x))],
        LINE * HOUR,
        [Initial(u, sine), Initial(v, 0), Dirichlet(u, 0)],
        exact={u: sine * sp.cos(sp.pi * t), v: cosine * sp.sin(sp.pi * t)},
    )
    accurate(acoustics)
    decay = sp.exp(-(sp.pi**2) * t / 10)
    flux = PDE(
        "flux",
        [sp.Eq(v, u.diff(x) / 10), sp.Eq(u.diff(t), v.diff(x))],
        LINE * HOUR,
        [Initial(u, sine), Dirichlet(u, 0)],
        exact={u: decay * sine, v: sp.pi / 10 * decay * cosine},
    )
    accurate(flux)


def test_a_clamped_vibrating_beam():
    k = sp.Float("4.7300407448627040260240481008338848198984", 40)
    ratio = (sp.cosh(k) - sp.cos(k)) / (sp.sinh(k) - sp.sin(k))
    growing, decaying = (1 - ratio) / 2 * sp.exp(k * x), (1 + ratio) / 2 * sp.exp(-k * x)
    mode = growing + decaying - sp.cos(k * x) + ratio * sp.sin(k * x)
    truth = mode * sp.cos(k**2 * t / 10)
    problem = PDE(
        "beam",
        [sp.Eq(u.diff(t, 2) + u.diff(x, 4) / 100, 0)],
        LINE * HOUR,
        [Initial(u, mode), Initial(u.diff(t), 0), Dirichlet(u, 0), Neumann(u, 0)],
        exact={u: truth},
    )
    accurate(problem)


def test_steps_end_where_round_off_of_a_badly_conditioned_matrix_begins():
    truth = sp.sin(sp.pi * x) ** 2 * sp.cos(t)

    def operator(f):
        return f.diff(t, 2) + f.diff(x, 4) / 100

    clamped = [Initial(u.diff(t), 0), Dirichlet(u, 0), Neumann(u, 0)]
    equation = sp.Eq(operator(u), operator(truth))
    problem = evolution(equation, LINE * HOUR, truth.subs(t, 0), clamped, truth)
    assert error(problem, resolution=96, dt=1 / 16)[0] < 1e-9


def test_moving_walls_of_second_order_in_time():
    """The velocity on a wall is the derivative of the declared value, which strong damping sees."""
    truth = sp.sin(x + 1) * sp.cos(t) + t**2 * x**2

    def operator(f):
        return f.diff(t, 2) + f.diff(t) / 3 - f.diff(x, 2) - f.diff(x, 2, t) / 5

    left = t * truth - (1 + t**2) * truth.diff(x)
    conditions = [
        *(Initial(u.diff(t), 0), Dirichlet(u, truth, on="right")),
        Robin(u, t, 1 + t**2, left, on="left"),
    ]
    equation = sp.Eq(operator(u), operator(truth))
    accurate(evolution(equation, LINE * HOUR, sp.sin(x + 1), conditions, truth))


def test_space_and_time_errors_fall_as_they_should():
    problem = problems.heat(1)
    errors = [error(problem, resolution=n, dt=1 / 64)[0] for n in (6, 8, 10, 12)]
    assert all(a / b > 20 for a, b in itertools.pairwise(errors))
    # between stored states, degree 7: order 8
    problem = problems.klein_gordon()
    errors = [error(problem, resolution=12, dt=1 / n)[0] for n in (16, 24, 32)]
    orders = [
        math.log(a / b) / math.log(r)
        for (a, b), r in zip(itertools.pairwise(errors), (3 / 2, 4 / 3), strict=True)
    ]
    assert all(5.5 < order < 10 for order in orders), orders


# ------------------------------------------------------------------------------- honesty


def test_a_hot_bar_between_cold_walls_is_solved_and_says_what_is_wrong():
    problem = PDE(
        "hot", [sp.Eq(u.diff(t), u.diff(x, 2))], LINE * HOUR, [Initial(u, 1), Dirichlet(u, 0)]
    )
    solution = chebyshev.solve(problem)
    assert any("does not satisfy" in note for note in solution.report.notes)
    points = torch.tensor([[0.3, 0.01], [0.5, 0.1], [0.9, 0.5]], dtype=torch.float64)
    odd = 2 * torch.arange(200).double() + 1
    modes = 4 / (odd * math.pi) * torch.sin(odd * math.pi * points[:, :1])
    series = (modes * torch.exp(-((odd * math.pi) ** 2) * points[:, 1:])).sum(1)
    torch.testing.assert_close(solution(points)[:, 0], series, atol=0, rtol=2e-12)
    estimate = solution.report.error["l2_relative"]
    assert not solution.report.converged and 1e-5 < estimate < 1e-1


def test_corners_that_disagree_are_named():
    lid = [Dirichlet(W, 0, on=side) for side in ("left", "right", "bottom")]
    equation = sp.Eq(W.diff(x, 2) + W.diff(y, 2), 0)
    problem = PDE("lid", [equation], SQUARE, [*lid, Dirichlet(W, 1, on="top")])
    solution = chebyshev.solve(problem, resolution=24)
    assert any("corner" in note for note in solution.report.notes)
    middle = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    assert solution(middle).item() == pytest.approx(0.25, abs=1e-12)


def test_a_blow_up_says_when():
    problem = PDE(
        "blow",
        [sp.Eq(u.diff(t), u.diff(x, 2) / 100 + u**2)],
        LINE * Time(t, 0, 2),
        [Initial(u, 1 + sp.cos(2 * sp.pi * x) / 9), Neumann(u, 0)],
    )
    with pytest.raises(DivergedError, match=r"t = (0\.9|1)"):
        chebyshev.solve(problem)
    with pytest.raises(DivergedError, match="smaller dt"):
        chebyshev.solve(problem, resolution=16, dt=0.1)


# ------------------------------------------------------------------------------- the solution


def test_saved_solutions_are_the_same_bit_for_bit(burgers, tmp_path):
    steady = chebyshev.solve(problems.poisson(2))
    for solution in (burgers, steady):
        solution.save(tmp_path / "run.h5")
        loaded = pdeml.load(tmp_path / "run.h5")
        points = solution.problem.domain.sample(500, torch.Generator().manual_seed(1))
        assert torch.equal(loaded(points), solution(points))
        assert loaded.method == "chebyshev" and loaded.report == solution.report


def test_derivatives_up_to_the_fourth():
    problem = problems.helmholtz(1, 2)
    solution, truth = chebyshev.solve(problem), exact.solve(problem)
    a, b = problem.coordinates
    points = torch.tensor([[-1.0, 1.0], [1.0, 0.3], [0.0, 0.0], [0.2, -0.7]], dtype=torch.float64)
    nodes = torch.cos(math.pi * torch.arange(4, dtype=torch.float64) / 12)[:, None].expand(4, 2)
    points = torch.cat([points, nodes])
    for order in ((a,), (b, 2), (a, 2, b), (a, 4), (a, 2, b, 2)):
        found = solution.derivative("u", *order)(points)
        expected = truth.derivative("u", *order)(points)
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found, expected, atol=2e-5 * expected.abs().max(), rtol=0)
    moving = chebyshev.solve(problems.heat(1))
    points = moving.problem.domain.sample(30, torch.Generator().manual_seed(0))
    truth = exact.solve(moving.problem)
    for order in (("t",), ("x", 2, "t"), ("x", 4), ("t", 2)):
        expected = truth.derivative("u", *order)(points)
        found = moving.derivative("u", *order)(points)
        torch.testing.assert_close(found, expected, atol=1e-6 * expected.abs().max(), rtol=0)


def test_times_are_stored():
    instants = [0.1, 0.25, 0.7123]
    solution = chebyshev.solve(problems.heat(1), times=instants)
    stored = solution.field.times.tolist()
    assert all(min(abs(s - i) for s in stored) == 0 for i in instants)
    assert solution.error(exact.solve(solution.problem))["linf"] < 1e-9


def test_it_is_the_automatic_reference_on_boxes_with_walls():
    problem = PDE("bratu", [sp.Eq(U.diff(x, 2) + sp.exp(U), 0)], LINE, [Dirichlet(U, 0)])
    run = solvers.solve(problem, "pinn", time_limit=2, seed=0)
    assert run.report.reference == "chebyshev" and run.report.error["l2_relative"] > 0
    own = solvers.solve(problem, "chebyshev")
    assert own.report.reference == "self-convergence"
    both = solvers.solve(problems.poisson(2), "chebyshev", reference="exact")
    assert both.report.reference == "exact" and both.report.error["l2_relative"] < 1e-13


# ------------------------------------------------------------------------------- options, refusals


def test_initial_values_replace_the_declaration():
    problem = problems.heat(1)
    nodes = 0.5 - 0.5 * torch.cos(math.pi * torch.arange(25, dtype=torch.float64) / 24)
    truth = exact.solve(problem)
    for initial in (
        torch.sin(math.pi * nodes),
        np.sin(math.pi * nodes.numpy())[None],
        lambda p: torch.sin(math.pi * p),
    ):
        found = chebyshev.solve(problem, initial=initial)
        assert found.error(truth)["l2_relative"] < 1e-10
    other = chebyshev.solve(problem, initial=2 * torch.sin(math.pi * nodes))
    assert other.error(truth)["l2_relative"] == pytest.approx(1, rel=1e-9)


def test_single_precision_is_that_of_points_and_values():
    solution = chebyshev.solve(problems.heat(1), dtype="float32")
    values = solution(torch.zeros(3, 2))
    assert values.dtype == torch.float32 and solution.report.converged
    assert solution.error(exact.solve(solution.problem))["l2_relative"] < 1e-6


def test_parameters_reach_the_equation_and_the_conditions():
    speed, height = Parameter("c", 2.0), Parameter("h", 1.0)
    truth = height * sp.sin(x - speed * t)
    equation = sp.Eq(u.diff(t) + speed * u.diff(x), 0)
    inflow = [Dirichlet(u, truth, on="left")]
    problem = evolution(equation, LINE * HOUR, truth.subs(t, 0), inflow, truth)
    accurate(problem)
    accurate(problem.with_parameters(c=3.5, h=0.2))


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 3},
        {"resolution": (16, 16)},
        {"resolution": 16.0},
        {"resolution": True},
        {"dt": 0},
        {"dt": -0.1},
        {"dt": math.nan},
        {"tol": 2},
        {"times": [0.5, 1.5]},
        {"dtype": "bfloat16"},
        {"initial": torch.zeros(2, 16)},
        {"initial": torch.zeros(3)},
        {"initial": torch.zeros(16, dtype=torch.complex128)},
        {"initial": lambda p: torch.zeros(3)},
        {"initial": lambda p: p + 1j},
    ],
    ids=", ".join,
)
def test_bad_options_are_named(options):
    (name,) = options
    with pytest.raises(InvalidOption, match=name):
        chebyshev.solve(problems.heat(1), **options)


@pytest.mark.parametrize("options", [{"dt": 0.1}, {"times": [0.0]}], ids=str)
def test_a_steady_problem_takes_no_times(options):
    with pytest.raises(InvalidOption, match="has no time"):
        chebyshev.solve(problems.poisson(1), **options)


def test_nan_in_the_initial_value():
    for initial in (torch.full((16,), math.nan), lambda p: p / 0):
        with pytest.raises(InvalidDataset, match="NaN"):
            chebyshev.solve(problems.heat(1), initial=initial)


def heat_with(conditions, domain=None, field=u):
    domain = domain or LINE * HOUR
    second = sum(field.diff(c, 2) for c in domain.space.coordinates)
    return PDE("heat", [sp.Eq(field.diff(t), second)], domain, [Initial(field, 0), *conditions])


z = sp.symbols("z", real=True)
CUBE = Field("f", x, y, z, t)
AMPLITUDE = Field("A", x, t, dtype=complex)
STREAM = [Field(name, x, y, t) for name in ("a", "b", "p")]
REFUSED = {
    "one or two space coordinates": heat_with(
        [Dirichlet(CUBE, 0)], Box((x, y, z), (0, 0, 0), (1, 1, 1)) * HOUR, CUBE
    ),
    "Disk": heat_with([Dirichlet(w, 0)], Disk((x, y), (0, 0), 1) * HOUR, w),
    'periodic in x. Use "spectral"': heat_with([Periodic(u, x)]),
    "A(x, t) is complex": heat_with([Dirichlet(AMPLITUDE, 0)], None, AMPLITUDE),
    "Dirichlet(w, 1, on=x < 1/2) holds on a part of 'bottom'": heat_with(
        [Dirichlet(w, 1, on=x < sp.Rational(1, 2)), Neumann(w, 0, on=x >= sp.Rational(1, 2))],
        SQUARE * HOUR,
        w,
    ),
    "or of the time": heat_with(
        [Dirichlet(u, 0, on=t < sp.Rational(1, 2)), Neumann(u, 0, on=t >= sp.Rational(1, 2))]
    ),
    "Neumann(u, 0, on='left') is one too many": heat_with(
        [Dirichlet(u, 0), Neumann(u, 0, on="left")]
    ),
    "takes 1 conditions on the ends of x": PDE(
        "free", [sp.Eq(u.diff(t), u.diff(x))], LINE * HOUR, [Initial(u, x)]
    ),
    "linear in the highest time derivative": PDE(
        "square",
        [sp.Eq(u.diff(t) ** 2, u.diff(x, 2))],
        LINE * HOUR,
        [Initial(u, 0), Dirichlet(u, 0)],
    ),
    "same periodic axes": PDE(
        "halves",
        [sp.Eq(u.diff(t), u.diff(x, 2) + v), sp.Eq(v.diff(t), v.diff(x, 2) - u)],
        LINE * HOUR,
        [Initial(u, 0), Initial(v, 0), Periodic(u, x), Dirichlet(v, 0)],
    ),
    "one condition per field and side in the plane": PDE(
        "plate",
        [sp.Eq(W.diff(x, 4) + W.diff(y, 4), 1)],
        SQUARE,
        [Dirichlet(W, 0), Neumann(W, 0)],
    ),
    "the parameter 'D'": problems.heat(1).with_unknown(D=0.1),
}


@pytest.mark.parametrize("words, problem", REFUSED.items(), ids=REFUSED)
def test_refusals_name_the_condition_and_other_methods(words, problem):
    reason = chebyshev.can_solve(problem)
    assert reason is not None and words in reason and '"' in reason
    with pytest.raises(UnsupportedProblem):
        chebyshev.solve(problem)


def test_constraints_of_higher_index_are_refused():
    a, b, p = STREAM
    momentum = [
        sp.Eq(f.diff(t) + p.diff(c), f.diff(x, 2) + f.diff(y, 2)) for f, c in ((a, x), (b, y))
    ]
    problem = PDE(
        "stokes",
        [*momentum, sp.Eq(a.diff(x) + b.diff(y), 0)],
        SQUARE * HOUR,
        [*(Initial(f, 0) for f in (a, b)), *(Dirichlet(f, 0) for f in (a, b))],
    )
    assert "higher index" in chebyshev.can_solve(problem)
    with pytest.raises(UnsupportedProblem, match="higher index"):
        chebyshev.solve(problem, resolution=8, dt=0.5)


def test_the_zoo_is_accepted_where_it_has_walls():
    accepted = {n for n in problems.names() if chebyshev.can_solve(problems.get(n)()) is None}
    assert {"heat", "wave", "klein_gordon", "helmholtz", "poisson"} <= accepted
    assert not accepted & {"burgers", "allen_cahn", "convection", "kdv"}
