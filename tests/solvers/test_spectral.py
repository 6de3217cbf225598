"""ETDRK4 and the automatic reference: orders, published values, exact solutions, refusals."""

import itertools
import math

import mpmath
import pytest
import sympy as sp
import torch

import pdeml.solvers.etdrk4 as scheme
from pdeml import problems
from pdeml.domains import Box, Disk, Interval, Rectangle, Time
from pdeml.errors import DivergedError, InvalidDataset, InvalidOption, UnsupportedProblem
from pdeml.operators.jets import derivatives
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Parameter, Periodic
from pdeml.operators.symbol import split
from pdeml.solvers import exact, spectral
from pdeml.solvers.etdrk4 import FourierGrid, Segment, Stepper, coefficients, integrate
from pdeml.solvers.trigonometric import hermite_weights, powers

x, y, t = sp.symbols("x y t", real=True)
u, v = Field("u", x, t), Field("v", x, t)
w, z = Field("w", x, y, t), Field("z", x, y, t)


def line(equation, lower, upper, end, initial, **more):
    domain = Interval(x, lower, upper) * Time(t, 0, end)
    return PDE("case", [equation], domain, [Initial(u, initial), Periodic(u, x)], **more)


KDV = line(
    sp.Eq(u.diff(t) - 6 * u * u.diff(x) + u.diff(x, 3), 0),
    0,
    20,
    0.5,
    sp.exp(sp.sin(sp.pi * x / 10)) - 1,
)


def kdv_after(steps):
    grid = FourierGrid([0], [20], [128])
    stepper = Stepper(split(KDV), {}, grid)
    begin = grid.forward(torch.exp(torch.sin(math.pi * grid.points[0] / 10)) - 1)[None, None]
    path = integrate(stepper, begin, [Segment(0, 0.5, steps, steps)])
    return grid.inverse(path.modes[-1])


@pytest.fixture(scope="module")
def kdv_fine():
    return kdv_after(8000)


# spectral_reference.md, acceptance 1
TABLE = {50: 1e-4, 100: 8e-6, 200: 3e-7, 400: 2e-8, 800: 1e-9}


def kdv_errors(fine):
    return [((kdv_after(n) - fine).norm() / fine.norm()).item() for n in TABLE]


def orders(errors):
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


def test_etdrk4_keeps_fourth_order_for_a_complex_symbol(kdv_fine):
    """KdV has an imaginary symbol: the real part of the contour mean would make it first order."""
    errors = kdv_errors(kdv_fine)
    for error, bound in zip(errors, TABLE.values(), strict=True):
        assert error < bound
    assert all(3.8 < order < 4.2 for order in orders(errors)[-2:])


def test_the_order_test_sees_a_real_contour_mean(kdv_fine, monkeypatch):
    def halved(symbol, step, dtype=torch.complex128):
        good = coefficients(symbol, step, dtype)
        bad = (c.real + 0j for c in (good.q, good.f1, good.f2, good.f3))
        return scheme.Coefficients(step, good.full, good.half, *bad)

    monkeypatch.setattr(scheme, "coefficients", halved)
    errors = kdv_errors(kdv_fine)
    assert errors[0] > 1e-2 and all(order < 1.5 for order in orders(errors))


@pytest.mark.parametrize("turn", [-1, 1j, complex(-0.6, 0.8)], ids=["decay", "wave", "mixed"])
def test_coefficients_against_forty_digits(turn):
    sizes = [10.0**p for p in range(-7, 4)]
    found = coefficients(torch.tensor([turn * s for s in sizes], dtype=torch.complex128), 1.0)
    with mpmath.workdps(40):
        for i, size in enumerate(sizes):
            r = mpmath.mpc(turn * size)
            e = mpmath.exp(r)
            expected = {
                "q": (mpmath.exp(r / 2) - 1) / r,
                "f1": (-4 - r + e * (4 - 3 * r + r**2)) / r**3,
                "f2": 2 * (2 + r + e * (r - 2)) / r**3,
                "f3": (-4 - 3 * r - r**2 + e * (4 - r)) / r**3,
            }
            for name, value in expected.items():
                assert abs(getattr(found, name)[i].item() - complex(value)) < 2e-12 * abs(value)


def test_products_are_not_aliased():
    grid = FourierGrid([0], [2 * math.pi], [48])
    kept = grid.mask(2)
    assert kept.sum() == 16 and not kept[16]  # |k| < 48/3 strictly: 16 + 16 folds onto −16
    problem = line(sp.Eq(u.diff(t), u.diff(x, 2) + u**2), 0, 2 * math.pi, 1, 0)
    stepper = Stepper(split(problem), {}, grid)
    modes = grid.forward(torch.cos(15 * grid.points[0]))[None, None]
    product = stepper.nonlinear(modes, 0.0)[0, 0]
    expected = torch.zeros_like(product)
    expected[0] = 0.5  # cos² 15x = ½ + ½ cos 30x, and 30 is not representable
    torch.testing.assert_close(product, expected, atol=1e-14, rtol=0)


def test_a_batch_is_its_members():
    problem = problems.burgers(nu=0.05)
    grid = FourierGrid([-1], [2], [64])
    stepper = Stepper(split(problem), problem.values, grid)
    starts = torch.stack([torch.sin(k * math.pi * grid.points[0]) for k in (1, 2, 3)])
    plan = [Segment(0, 0.5, 100, 50)]
    together = integrate(stepper, grid.forward(starts)[:, None], plan).modes
    for i, start in enumerate(starts):
        alone = integrate(stepper, grid.forward(start)[None, None], plan).modes
        torch.testing.assert_close(together[:, i : i + 1], alone, atol=1e-13, rtol=0)


# ------------------------------------------------------------------------------- published values


def at(solution, *places):
    end = solution.problem.domain.time.end
    return solution(torch.tensor([[p, end] for p in places], dtype=torch.float64))


def norm_and_mean(solution):
    (a,), (b,) = solution.problem.domain.space.bounds
    points = torch.linspace(a, b, 2049, dtype=torch.float64)[:-1]
    values = at(solution, *points.tolist())[:, 0]
    return [((values**2).mean() * (b - a)).sqrt().item(), values.mean().item()]


def test_viscous_burgers_has_its_published_values():
    problem = line(
        sp.Eq(u.diff(t) + (u**2).diff(x) / 2, sp.Rational(3, 100) * u.diff(x, 2)),
        -math.pi,
        math.pi,
        1,
        sp.exp(-10 * sp.sin(x / 2) ** 2),
    )
    solution = spectral.solve(problem)
    assert norm_and_mean(solution) == pytest.approx([0.83079013666, 0.183540812609], rel=1e-10)
    assert at(solution, 0.0).item() == pytest.approx(0.52279455555, rel=1e-10)


def test_korteweg_de_vries_has_its_published_values_and_invariants():
    solution = spectral.solve(KDV)
    assert norm_and_mean(solution) == pytest.approx([3.866402842, 0.266065877752], rel=1e-9)
    expected = [1.461285768, 0.909876815, -0.0237221032]
    assert at(solution, 0.0, 5.0, 10.0)[:, 0].tolist() == pytest.approx(expected, rel=2e-9)
    mean = solution.field.frames.values[:, 0, 0].real
    assert (mean - mean[0]).abs().max() < 1e-13


def test_smooth_allen_cahn_has_its_published_values():
    start = sp.Rational(2, 5) * sp.sin(x) + sp.Rational(3, 10) * sp.cos(3 * x) + sp.Rational(1, 10)
    problem = line(sp.Eq(u.diff(t), u.diff(x, 2) / 100 + u - u**3), 0, 2 * math.pi, 5, start)
    solution = spectral.solve(problem)
    assert norm_and_mean(solution) == pytest.approx([2.3436269729, 0.08240642359], rel=1e-9)
    assert at(solution, 0.0).item() == pytest.approx(0.9953842, abs=1e-7)
    assert at(solution, math.pi).item() == pytest.approx(-0.9304122, abs=1e-7)


def test_gray_scott_has_its_published_values():
    bump = sp.exp(-((10 * x - sp.Rational(25, 2)) ** 2))
    feed, kill = sp.Rational(4, 100), sp.Rational(6, 100)
    problem = PDE(
        "gray_scott",
        [
            sp.Eq(u.diff(t), u.diff(x, 2) / 2000 - u * v**2 + feed * (1 - u)),
            sp.Eq(v.diff(t), v.diff(x, 2) / 4000 + u * v**2 - (feed + kill) * v),
        ],
        Interval(x, 0, 2.5) * Time(t, 0, 50),
        [Initial(u, 1 - bump / 2), Initial(v, bump / 4), Periodic(u, x), Periodic(v, x)],
    )
    solution = spectral.solve(problem)
    points = torch.arange(2048, dtype=torch.float64) * 2.5 / 2048
    means = at(solution, *points.tolist()).mean(0).tolist()
    assert means == pytest.approx([0.894651066285, 0.056244895315], rel=1e-9)
    centre = at(solution, 1.25)[0].tolist()
    assert centre == pytest.approx([0.199113597, 0.525154673], abs=6e-10)


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


def test_nonlinear_schroedinger_soliton():
    """h = sech(x) e^{it/2} solves i h_t + ½ h_xx + |h|² h = 0; the box is wide enough for 1e-8."""
    h = Field("h", x, t, dtype=complex)
    problem = PDE(
        "nls",
        [sp.Eq(sp.I * h.diff(t) + h.diff(x, 2) / 2 + sp.Abs(h) ** 2 * h, 0)],
        Interval(x, -20, 20) * Time(t, 0, 1),
        [Initial(h, 1 / sp.cosh(x)), Periodic(h, x)],
        exact={h: sp.exp(sp.I * t / 2) / sp.cosh(x)},
    )
    solution = spectral.solve(problem, resolution=512, dt=1 / 400)
    assert solution.error(exact.solve(problem))["linf"] < 2e-8


# ---------------------------------------------------------------------------- the field in between


def test_hermite_weights_reproduce_polynomials_of_degree_seven():
    nodes = torch.tensor([[0.0, 0.3, 1.0, 1.1]], dtype=torch.float64)
    time = torch.tensor([0.77], dtype=torch.float64)
    value, rate = hermite_weights(nodes, time)
    for degree in range(8):
        slopes = degree * nodes ** max(degree - 1, 0)
        found = (value * nodes**degree + rate * slopes).sum()
        assert found.item() == pytest.approx(0.77**degree, rel=1e-12)


def test_powers_are_exponentials():
    angle = torch.linspace(-3, 3, 7, dtype=torch.float64)
    k = torch.arange(-5, 78)
    expected = torch.exp(1j * k * angle[:, None])
    torch.testing.assert_close(powers(angle, -5, 77), expected, atol=1e-13, rtol=0)


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
    ids=str,
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
    zs = sp.symbols("z", real=True)
    f = Field("f", x, y, zs, t)
    cube = Box((x, y, zs), (0, 0, 0), (1, 1, 1)) * Time(t, 0, 1)
    periodic = [Initial(f, 0), *(Periodic(f, c) for c in (x, y, zs))]
    assert "one or two" in spectral.can_solve(heat_with(periodic, cube, f))
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
