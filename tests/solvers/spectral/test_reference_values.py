"""Values of an independent ETDRK4 (two resolutions, two step sizes), from SymPy declarations.

Every case goes through the declaration, at a resolution and a step of its own choice.
"""

import math

import pytest
import sympy as sp
import torch

import pdeml
from pdeml.solvers.spectral import Stepper
from tests.solvers.spectral.declarations import (
    KDV,
    KS,
    TURN,
    box,
    declared_start,
    evolution,
    grid_points,
    h,
    half,
    periodic,
    relative,
    u,
    v,
    vorticity,
    x,
    y,
)

PI = sp.pi


def end_of(problem, n, steps, **options):
    """Values of the state at the declared end, (C, *n)."""
    shape = (n,) * len(problem.space_coordinates)
    start = declared_start(problem, shape)
    stepper = Stepper(problem, n, problem.domain.time.end / steps, **options)
    return stepper.rollout(start, steps, every=steps)[0, 0]


def l2(values, length):
    return (values.abs().square().mean() * length).sqrt().item()


def at(solution, *places):
    end = solution.problem.domain.time.end
    return solution(torch.tensor([[p, end] for p in places], dtype=torch.float64))


def norm_and_mean(solution):
    (a,), (b,) = solution.problem.domain.space.bounds
    points = torch.linspace(a, b, 2049, dtype=torch.float64)[:-1]
    values = at(solution, *points.tolist())[:, 0]
    return [((values**2).mean() * (b - a)).sqrt().item(), values.mean().item()]


# ------------------------------------------------------------- resolution and step chosen by solve


def test_viscous_burgers():
    problem = evolution(
        sp.Rational(3, 100) * u.diff(x, 2) - (u**2).diff(x) / 2,
        domain=box(2 * PI, lower=(-PI,)),
        initial={u: sp.exp(-10 * sp.sin(x / 2) ** 2)},
    )
    solution = pdeml.solve(problem, "spectral")
    assert norm_and_mean(solution) == pytest.approx([0.83079013666, 0.183540812609], rel=1e-10)
    assert at(solution, 0.0).item() == pytest.approx(0.52279455555, rel=1e-10)


def test_korteweg_de_vries():
    solution = pdeml.solve(KDV, "spectral")
    assert norm_and_mean(solution) == pytest.approx([3.866402842, 0.266065877752], rel=1e-9)
    expected = [1.461285768, 0.909876815, -0.0237221032]
    assert at(solution, 0.0, 5.0, 10.0)[:, 0].tolist() == pytest.approx(expected, rel=2e-9)
    mean = solution.field.frames.values[:, 0, 0].real
    assert (mean - mean[0]).abs().max() < 1e-13


def test_smooth_allen_cahn():
    start = sp.Rational(2, 5) * sp.sin(x) + sp.Rational(3, 10) * sp.cos(3 * x) + sp.Rational(1, 10)
    problem = evolution(
        u.diff(x, 2) / 100 + u - u**3, domain=box(2 * PI, end=5), initial={u: start}
    )
    solution = pdeml.solve(problem, "spectral")
    assert norm_and_mean(solution) == pytest.approx([2.3436269729, 0.08240642359], rel=1e-9)
    assert at(solution, 0.0).item() == pytest.approx(0.9953842, rel=1e-6)
    assert at(solution, math.pi).item() == pytest.approx(-0.9304122, rel=1e-6)


def test_gray_scott():
    bump = sp.exp(-((10 * x - sp.Rational(25, 2)) ** 2))
    feed, kill = sp.Rational(4, 100), sp.Rational(6, 100)
    problem = evolution(
        u.diff(x, 2) / 2000 - u * v**2 + feed * (1 - u),
        v.diff(x, 2) / 4000 + u * v**2 - (feed + kill) * v,
        fields=(u, v),
        domain=box(sp.Rational(5, 2), end=50),
        initial={u: 1 - bump / 2, v: bump / 4},
    )
    solution = pdeml.solve(problem, "spectral")
    points = torch.arange(2048, dtype=torch.float64) * 2.5 / 2048
    means = at(solution, *points.tolist()).mean(0).tolist()
    assert means == pytest.approx([0.894651066285, 0.056244895315], rel=1e-9)
    centre = at(solution, 1.25)[0].tolist()
    assert centre == pytest.approx([0.199113597, 0.525154673], rel=4e-9)


# ------------------------------------------------------------------------------- a Stepper's own


def test_kuramoto_sivashinsky_at_20():
    """On 256 points, as the values were taken: on 384 the last digits of u(0) differ by 5e-8."""
    values = end_of(KS, 256, 1600)[0]
    assert l2(values, 32 * math.pi) == pytest.approx(6.2876825975, rel=1e-9)
    assert values[0].item() == pytest.approx(0.41318040286, rel=1e-8)


def test_kuramoto_sivashinsky_at_60():
    """Chaotic: what is left of the accuracy after several Lyapunov times."""
    longer = evolution(
        -((u**2).diff(x)) / 2 - u.diff(x, 2) - u.diff(x, 4),
        domain=box(32 * PI, end=60),
        initial={u: sp.cos(x / 16) * (1 + sp.sin(x / 16))},
    )
    values = end_of(longer, 256, 4000)[0]
    assert l2(values, 32 * math.pi) == pytest.approx(12.833245, rel=1e-6)
    assert values[0].item() == pytest.approx(0.7026659, rel=1e-6)


def test_two_solitons_overtake():
    def pulse(size, centre):
        return 3 * size**2 / sp.cosh(size * (x + centre) / 2) ** 2

    problem = evolution(
        -u * u.diff(x) - u.diff(x, 3),
        domain=box(2 * PI, lower=(-PI,), end=sp.Rational(6, 1000)),
        initial={u: pulse(25, 2) + pulse(16, 1)},
    )
    values = end_of(problem, 384, 9000)[0]
    assert values.mean().item() == pytest.approx(78.304232001, rel=1e-9)
    assert l2(values, TURN) == pytest.approx(687.97126379, rel=1e-8)


def test_nonlinear_schroedinger():
    equation = sp.Eq(
        sp.I * h.diff(sp.Symbol("t", real=True)) + h.diff(x, 2) / 2, -(sp.Abs(h) ** 2) * h
    )
    problem = periodic([equation], (h,), box(10, lower=(-5,)), {h: 2 / sp.cosh(x)})
    values = end_of(problem, 512, 4000, mode="full", dealias="1/2")[0]
    centre = values[256].item()
    assert centre.real == pytest.approx(0.321951888, rel=2e-8)
    assert centre.imag == pytest.approx(-3.229321918, rel=2e-9)
    assert abs(centre) == pytest.approx(3.245330964, rel=2e-9)
    assert l2(values, 10) ** 2 == pytest.approx(7.9992735418, rel=1e-9)


def navier_stokes():
    turn = 2 * PI
    start = (
        sp.sin(turn * (x + 2 * y)) + sp.cos(turn * (3 * x - y)) + sp.sin(turn * (2 * x + 3 * y)) / 2
    )
    force = (sp.sin(turn * (x + y)) + sp.cos(turn * (x + y))) / 10
    return vorticity(box(1, 1, end=5), start, nu=sp.Rational(1, 1000), force=force)


def test_forced_navier_stokes_vorticity():
    problem = navier_stokes()
    n = 64
    stepper = Stepper(problem, n, 5 / 500)
    path = stepper.rollout(declared_start(problem, (n, n)), 500, every=500)[:, 0]
    modes = stepper.transform(path)
    omega, stream = stepper.fields(modes)[0]
    assert (omega**2).mean().item() / 2 == pytest.approx(0.11703124048, rel=1e-8)
    assert (omega * stream).mean().item() / 2 == pytest.approx(0.00117343228324, rel=1e-8)
    assert omega[0, 0].item() == pytest.approx(0.421554864, rel=1e-8)
    assert omega[16, 32].item() == pytest.approx(0.0286256675, rel=1e-8)


def test_the_ready_problem_is_the_same_flow():
    """The zoo's declaration and the one above, at another resolution."""
    ready = pdeml.problems.navier_stokes_vorticity()
    mine = navier_stokes()
    start = declared_start(mine, (48, 48))
    first = Stepper(ready, 48, 0.05).rollout(start, 20, every=20)
    second = Stepper(mine, 48, 0.05).rollout(start, 20, every=20)
    torch.testing.assert_close(first, second, atol=1e-13, rtol=0)


@pytest.mark.parametrize("dt", [0.01, 0.5, 1.0])
def test_taylor_green_vorticity_is_exact_at_any_step(dt):
    problem = vorticity(box(2 * PI, 2 * PI), 2 * sp.sin(x) * sp.sin(y), nu=sp.Rational(1, 100))
    values = end_of(problem, 16, round(1 / dt))
    start = declared_start(problem, (16, 16))[0]
    torch.testing.assert_close(values, math.exp(-0.02) * start, atol=1e-12, rtol=0)


def test_schemes_agree_on_a_reference():
    """IFRK4 and SBDF3 know nothing of φ functions."""
    problem = navier_stokes()
    expected = end_of(problem, 32, 500)
    assert relative(end_of(problem, 32, 2000, scheme="ifrk4"), expected) < 1e-8
    assert relative(end_of(problem, 32, 2000, scheme="sbdf3"), expected) < 1e-5


def test_the_field_agrees_with_the_stepper():
    """The same case by `solve`, evaluated off the grid, and by a Stepper."""
    problem = vorticity(box(TURN, TURN), sp.sin(x + 2 * y) + sp.cos(2 * x), nu=half / 10, beta=2)
    solution = pdeml.solve(problem, "spectral")
    values = end_of(problem, 64, 200)
    points = torch.stack([p.expand(64, 64) for p in grid_points(problem, (64, 64))], -1)
    points = torch.cat([points, torch.ones(64, 64, 1, dtype=torch.float64)], -1).reshape(-1, 3)
    found = solution(points)[:, 0].reshape(1, 64, 64)
    assert relative(found, values) < 1e-8
    assert solution.report.error["l2_relative"] < 1e-8
