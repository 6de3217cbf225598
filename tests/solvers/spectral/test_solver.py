"""The automatic reference: exact solutions, options, what is reported, refusals."""

import math
import warnings

import pytest
import sympy as sp
import torch

from pdeml import problems
from pdeml.domains import Box, Disk, Interval, Rectangle, Time
from pdeml.errors import (
    DivergedError,
    InvalidDataset,
    InvalidOption,
    StiffExplicitTermWarning,
    UnsupportedProblem,
)
from pdeml.operators.jets import derivatives
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Parameter, Periodic
from pdeml.solvers import exact, spectral
from tests.solvers.spectral.declarations import (
    TURN,
    box,
    evolution,
    flow,
    grid_points,
    half,
    orders,
    periodic,
    t,
    u,
    vorticity,
    w,
    x,
    y,
)

z = Field("z", x, y, t)


def line(equation, lower, upper, end, initial, **more):
    domain = Interval(x, lower, upper) * Time(t, 0, end)
    return PDE("case", [equation], domain, [Initial(u, initial), Periodic(u, x)], **more)


# ---------------------------------------------------------------------------------- exact solutions


@pytest.fixture(scope="module")
def burgers():
    return spectral.solve(problems.burgers())


def test_the_burgers_reference_matches_cole_hopf(burgers):
    truth = exact.solve(burgers.problem)
    assert burgers.error(truth)["l2_relative"] < 1e-9
    scattered = burgers.problem.domain.sample(2000, torch.Generator().manual_seed(0))
    assert (burgers(scattered) - truth(scattered)).abs().max() < 1e-8
    assert burgers.report.converged and burgers.report.error["l2_relative"] < 1e-8


def test_a_broken_sign_is_seen():
    right = problems.burgers(nu=0.1)
    f = right.fields[0]
    xs, ts = right.coordinates
    wrong = PDE(
        "burgers",
        [sp.Eq(f.diff(ts), f * f.diff(xs) + sp.Rational(1, 10) * f.diff(xs, 2))],
        right.domain,
        right.conditions,
    )
    truth = exact.solve(right)
    assert spectral.solve(right).error(truth)["l2_relative"] < 1e-10
    assert spectral.solve(wrong).error(truth)["l2_relative"] > 0.1


def test_linear_equations_are_exact():
    for problem in (problems.convection(speed=50.0), problems.convection_diffusion()):
        solution = spectral.solve(problem)
        assert solution.error(exact.solve(problem))["linf"] < 1e-13
        assert solution.report.iterations == 0


def test_forcing_is_taken_at_the_right_times():
    """u = cos(3t) sin x + t² cos 2x solves u_t = ½ u_xx + f by construction."""
    truth = sp.cos(3 * t) * sp.sin(x) + t**2 * sp.cos(2 * x)
    forcing = truth.diff(t) - truth.diff(x, 2) / 2
    equation = sp.Eq(u.diff(t), u.diff(x, 2) / 2 + forcing)
    problem = line(equation, 0, 2 * math.pi, 2, sp.sin(x), exact={u: truth})
    reference = exact.solve(problem)
    assert spectral.solve(problem).error(reference)["l2_relative"] < 1e-10
    errors = [
        spectral.solve(problem, resolution=16, dt=2 / n).error(reference, (5, n + 1))["linf"]
        for n in (20, 40, 80)
    ]
    assert all(3.7 < order < 4.5 for order in orders(errors))


def test_allen_cahn_with_a_kink_agrees_between_resolutions():
    problem = problems.allen_cahn()
    first = spectral.solve(problem, resolution=3072, dt=1 / 512)
    second = spectral.solve(problem, resolution=6144, dt=1 / 768)
    difference = first.error(second, resolution=(129, 33))
    assert difference["l2_relative"] < 1e-8
    # the kink at x = ±1 is there at the start, and heat flow rounds it at once
    start = torch.tensor([[1.0, 0.0], [0.999, 0.0]], dtype=torch.float64)
    expected = torch.tensor([-1.0, 0.999**2 * math.cos(0.999 * math.pi)], dtype=torch.float64)
    assert (second(start)[:, 0] - expected).abs().max() < 3e-5
    early = torch.tensor([[1.0, 1e-3]], dtype=torch.float64)
    slope = 2 * math.sqrt(1e-4 * 1e-3 / math.pi)  # jump 4 of u_x, heat kernel
    assert second(early).item() == pytest.approx(-1 + 2 * slope, abs=2e-4)


def test_two_coupled_fields_in_the_plane_satisfy_their_equations():
    equations = [
        sp.Eq(w.diff(t), (w.diff(x, 2) + w.diff(y, 2)) / 50 - w * z**2 + z.diff(x)),
        sp.Eq(z.diff(t), (z.diff(x, 2) + z.diff(y, 2)) / 100 + w * z**2 - z),
    ]
    start = {w: 1 + sp.sin(2 * sp.pi * x) * sp.cos(sp.pi * y), z: (2 + sp.cos(2 * sp.pi * x)) / 4}
    problem = PDE(
        "pair",
        equations,
        Rectangle((x, y), (0, 0), (1, 2)) * Time(t, 0, 1),
        [Initial(f, g) for f, g in start.items()]
        + [Periodic(f, axis) for f in (w, z) for axis in (x, y)],
    )
    solution = spectral.solve(problem)
    points = problem.domain.sample(200, torch.Generator().manual_seed(0))
    wanted = [(0, 0, 0), (0, 0, 1), (2, 0, 0), (0, 2, 0), (1, 0, 0)]
    value, rate, xx, yy, dx = derivatives(solution.field, points, wanted)
    a, b = value.T
    first = rate[:, 0] - ((xx + yy)[:, 0] / 50 - a * b**2 + dx[:, 1])
    second = rate[:, 1] - ((xx + yy)[:, 1] / 100 + a * b**2 - b)
    assert max(first.abs().max(), second.abs().max()) < 1e-7
    points[:, 2] = 0
    begin = torch.stack(
        [
            1 + torch.sin(2 * math.pi * points[:, 0]) * torch.cos(math.pi * points[:, 1]),
            (2 + torch.cos(2 * math.pi * points[:, 0])) / 4,
        ],
        dim=1,
    )
    assert (solution(points) - begin).abs().max() < 1e-12


# ---------------------------------------------------------------------------- the field in between


def test_times_are_stored_and_the_field_is_smooth_between_them():
    instants = [0.1, 0.25, 0.7123]
    solution = spectral.solve(problems.burgers(nu=0.1), times=instants)
    stored = solution.field.frames.times.tolist()
    assert all(min(abs(s - i) for s in stored) == 0 for i in instants)
    assert solution.error(exact.solve(solution.problem))["linf"] < 1e-9


def test_the_field_is_periodic_and_differentiable(burgers):
    points = burgers.problem.domain.sample(50, torch.Generator().manual_seed(0))
    shifted = points + torch.tensor([2.0, 0.0])
    torch.testing.assert_close(burgers(shifted), burgers(points), atol=1e-12, rtol=0)
    points.requires_grad_()
    (gradient,) = torch.autograd.grad(burgers(points).sum(), points)
    step = torch.tensor([1e-6, 0.0])
    slope = (burgers(points + step) - burgers(points - step)) / 2e-6
    torch.testing.assert_close(gradient[:, :1], slope, atol=1e-4, rtol=1e-6)


# -------------------------------------------------------------------------------------- the options


def test_initial_values_replace_the_declaration():
    problem = problems.burgers(nu=0.1)
    grid = -1 + 2 * torch.arange(64, dtype=torch.float64) / 64
    by_values = spectral.solve(problem, initial=-torch.sin(math.pi * grid))
    by_function = spectral.solve(problem, initial=lambda p: -torch.sin(math.pi * p))
    truth = exact.solve(problem)
    assert by_values.error(truth)["linf"] < 1e-9
    assert by_function.error(truth)["linf"] < 1e-9
    other = spectral.solve(problem, initial=torch.sin(math.pi * grid))
    assert other.error(truth)["l2_relative"] > 1


def test_single_precision():
    solution = spectral.solve(problems.burgers(nu=0.05), dtype="float32")
    values = solution(torch.zeros(3, 2))
    assert values.dtype == torch.float32 and solution.report.converged
    assert solution.error(exact.solve(solution.problem))["l2_relative"] < 1e-4


def test_a_blow_up_says_when():
    problem = line(
        sp.Eq(u.diff(t), u.diff(x, 2) / 100 + u**2), 0, 1, 2, 1 + sp.cos(2 * sp.pi * x) / 9
    )
    with pytest.raises(DivergedError, match=r"t = (0\.9|1)"):
        spectral.solve(problem)


def test_growth_that_overflows_is_named():
    backward = line(sp.Eq(u.diff(t), -u.diff(x, 2) + u**2), 0, 1, 2, 1 + sp.cos(2 * sp.pi * x))
    with pytest.raises(InvalidOption, match="overflows"):
        spectral.solve(backward, resolution=512, dt=0.1)
    linear = line(sp.Eq(u.diff(t), -u.diff(x, 2)), 0, 0.1, 2, sp.cos(20 * sp.pi * x))
    with pytest.raises(DivergedError, match="grow by"):
        spectral.solve(linear)


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 3},
        {"resolution": (64, 64)},
        {"resolution": 64.0},
        {"dt": 0},
        {"dt": math.nan},
        {"tol": 2},
        {"times": [0.5, 1.5]},
        {"dtype": "bfloat16"},
        {"initial": torch.zeros(2, 64)},
        {"initial": torch.zeros(64, dtype=torch.complex128)},
        {"initial": lambda p: torch.zeros(3)},
    ],
    ids=", ".join,
)
def test_bad_options_are_named(options):
    (name,) = options
    with pytest.raises(InvalidOption, match=name):
        spectral.solve(problems.burgers(nu=0.1), **options)


def test_nan_in_the_initial_value():
    with pytest.raises(InvalidDataset, match="NaN"):
        spectral.solve(problems.burgers(nu=0.1), initial=torch.full((64,), math.nan))


def heat_with(conditions, domain=None, field=u):
    domain = domain or Interval(x, 0, 1) * Time(t, 0, 1)
    second = sum(field.diff(c, 2) for c in domain.space.coordinates)
    return PDE("heat", [sp.Eq(field.diff(t), second)], domain, conditions)


def test_refusals_name_the_condition_and_other_methods():
    reason = spectral.can_solve(heat_with([Initial(u, 0), Dirichlet(u, 0)]))
    assert "Dirichlet(u, 0)" in reason and '"pinn"' in reason and "Periodic(u, x)" in reason
    assert '"exact"' in spectral.can_solve(problems.heat())
    assert "has no time" in spectral.can_solve(problems.poisson())
    disk = Disk((x, y), (0, 0), 1) * Time(t, 0, 1)
    assert "periodic box" in spectral.can_solve(
        heat_with([Initial(w, 0), Dirichlet(w, 0)], disk, w)
    )
    four = sp.symbols("a b c d", real=True)
    f = Field("f", *four, t)
    hyper = Box(four, (0,) * 4, (1,) * 4) * Time(t, 0, 1)
    everywhere = [Initial(f, 0), *(Periodic(f, c) for c in four)]
    assert "one to three" in spectral.can_solve(heat_with(everywhere, hyper, f))
    half_open = [Initial(w, 0), Periodic(w, x), Dirichlet(w, 0, on="bottom")]
    half_open.append(Dirichlet(w, 0, on="top"))
    assert "Dirichlet(w, 0" in spectral.can_solve(heat_with(half_open, box(1, 1), w))
    unknown = problems.burgers().with_unknown(nu=0.1)
    assert "'nu'" in spectral.can_solve(unknown)
    with pytest.raises(UnsupportedProblem):
        spectral.solve(unknown)
    assert spectral.can_solve(problems.kdv()) is None


def test_parameters_reach_the_symbol():
    c = Parameter("c", 2.0)
    problem = line(sp.Eq(u.diff(t) + c * u.diff(x), 0), 0, 1, 1, sp.sin(2 * sp.pi * x))
    point = torch.tensor([[0.3, 0.7]], dtype=torch.float64)
    for speed in (2.0, 3.5):
        found = spectral.solve(problem.with_parameters(c=speed))(point).item()
        assert found == pytest.approx(math.sin(2 * math.pi * (0.3 - speed * 0.7)), abs=1e-13)


# ----------------------------------------------------------------- constraints, second order, space


def test_exact_flows_between_the_stored_times():
    """Vorticity and stream function, velocity and pressure: all fields, at scattered points."""
    for problem in (
        problems.rossby_wave(),
        problems.taylor_green_vortex(),
        problems.navier_stokes(2),
    ):
        solution = spectral.solve(problem)
        truth = exact.solve(problem)
        points = problem.domain.sample(500, torch.Generator().manual_seed(0))
        assert (solution(points) - truth(points)).abs().max() < 1e-9
        assert solution.report.converged


def test_a_pressure_is_interpolated_with_its_own_rate():
    """A vortex in a moving frame: p moves too, and its time derivative is no part of the state."""
    nu = sp.Rational(1, 10)
    c, d = x - t, y - t / 2
    fade = sp.exp(-2 * nu * t)
    velocity = [1 + fade * sp.sin(c) * sp.cos(d), half - fade * sp.cos(c) * sp.sin(d)]
    pressure = fade**2 * (sp.cos(2 * c) + sp.cos(2 * d)) / 4
    start = [q.subs(t, 0) for q in velocity]
    problem = flow((x, y), nu, box(TURN, TURN), start)
    problem = PDE(
        "moving",
        problem.equations,
        problem.domain,
        problem.conditions,
        dict(zip(problem.fields, [*velocity, pressure], strict=True)),
        fields=problem.fields,
    )
    solution = spectral.solve(problem)
    points = problem.domain.sample(500, torch.Generator().manual_seed(1))
    assert (solution(points) - exact.solve(problem)(points)).abs().max() < 1e-8
    assert any("p by projection" in note for note in solution.report.notes)


def test_waves_in_a_periodic_box():
    problem = problems.periodic_wave()
    solution = spectral.solve(problem)
    assert solution.error(exact.solve(problem))["linf"] < 1e-10
    plane = problems.periodic_wave(2)
    assert spectral.solve(plane).error(exact.solve(plane), 17)["linf"] < 1e-9


def test_a_second_order_equation_keeps_its_equation():
    problem = periodic(
        [u.diff(t, 2) + u.diff(t) / 5 - u.diff(x, 2) + u**3],
        (u,),
        box(TURN, end=2),
        {u: sp.sin(x), u.diff(t): sp.cos(2 * x)},
    )
    solution = spectral.solve(problem)
    points = problem.domain.sample(100, torch.Generator().manual_seed(0))
    value, rate, second, bend = derivatives(
        solution.field, points, [(0, 0), (0, 1), (0, 2), (2, 0)]
    )
    assert (second + rate / 5 - bend + value**3).abs().max() < 1e-5
    points[:, 1] = 0
    value, rate = derivatives(solution.field, points, [(0, 0), (0, 1)])
    torch.testing.assert_close(value, torch.sin(points[:, :1]), atol=1e-10, rtol=0)
    torch.testing.assert_close(rate, torch.cos(2 * points[:, :1]), atol=1e-7, rtol=0)
    (xs,) = grid_points(problem, (32,))
    given = torch.stack([torch.sin(xs), torch.cos(2 * xs)])
    other = spectral.solve(problem, initial=given)
    assert other.error(solution)["linf"] < 1e-8


def test_a_flow_in_space():
    problem = problems.abc_flow()
    solution = spectral.solve(problem, resolution=16, dt=0.1)
    points = problem.domain.sample(100, torch.Generator().manual_seed(0))
    assert (solution(points) - exact.solve(problem)(points)).abs().max() < 1e-7


def test_the_reported_error_is_about_the_true_one():
    """Too coarse on purpose: the report must not flatter, nor cry wolf."""
    problem = problems.burgers(nu=0.05)
    truth = exact.solve(problem)
    for resolution, dt in ((64, 0.01), (128, 0.02), (32, 0.002)):
        solution = spectral.solve(problem, resolution=resolution, dt=dt)
        true = solution.error(truth)["l2_relative"]
        said = solution.report.error["l2_relative"]
        assert true < 3 * said and said < 300 * true


def test_options_reach_the_run():
    problem = evolution(
        u.diff(x, 2) / 100 - u**3 + sp.sin(2 * x), domain=box(TURN), initial={u: sp.cos(x)}
    )
    common = {"resolution": 16, "dt": 0.05}
    ends = {
        name: spectral.solve(problem, **common, **options).field.frames.values.shape[-1]
        for name, options in {
            "auto": {},
            "2/3": {"dealias": "2/3"},
            "pad": {"dealias": "3/2-pad"},
            "none": {"dealias": None},
        }.items()
    }
    assert ends["auto"] == 4 and ends["2/3"] == 6 and ends["pad"] == 8 and ends["none"] >= 8
    first = spectral.solve(problem, **common, scheme="etdrk2")
    second = spectral.solve(problem, **common)
    assert first.report.engine == "ETDRK2" and second.report.engine == "ETDRK4"
    assert 1e-7 < first.error(second)["l2_relative"] < 1e-2


def test_a_mean_without_stream_function_is_refused():
    problem = vorticity(box(TURN, TURN), 1 + sp.sin(x), nu=half)
    with pytest.raises(InvalidOption, match=r"mean.*psi"):
        spectral.solve(problem)


def test_stiff_terms_that_are_stepped_explicitly_are_warned_of():
    """A variable coefficient of u_xx limits the step; a product is known to be explicit."""
    varying = evolution((2 + sp.cos(x)) * u.diff(x, 2), domain=box(TURN), initial={u: sp.sin(x)})
    with pytest.warns(StiffExplicitTermWarning, match=r"cos\(x\).*\(x, 2\).*explicitly"):
        spectral.Stepper(varying, 16, 1e-3)
    with pytest.warns(StiffExplicitTermWarning):
        solution = spectral.solve(varying, resolution=16, dt=1e-3)
    assert any("stepped explicitly" in note for note in solution.report.notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectral.Stepper(evolution(sp.cos(x) * u.diff(x), domain=box(TURN)), 16, 1e-3)
        spectral.Stepper(problems.burgers(), 16, 1e-3)
