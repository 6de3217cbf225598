"""Integrals and fluxes of solutions, against closed forms."""

import math

import pytest
import sympy as sp
import torch

import pdeml
from pdeml import problems
from pdeml.domains import Disk, Interval, Rectangle
from pdeml.errors import InvalidOption
from pdeml.operators import jets
from pdeml.operators.conditions import Dirichlet, Flux, Neumann
from pdeml.operators.fields import Field, Parameter
from pdeml.operators.pde import PDE
from pdeml.operators.vector import div, grad

x, y, z, t = sp.symbols("x y z t", real=True)
u = Field("u", x, y)
SQUARE = Rectangle((x, y), (0, 0), (1, 1))


def solve(problem, method="fem", **options):
    return pdeml.solve(problem, method, reference=None, **options)


def manufactured(exact, conductivity=1, conditions=None, domain=SQUARE):
    """−div(k ∇u) = f with a known solution."""
    source = -sum((conductivity * exact.diff(c)).diff(c) for c in (x, y))
    conditions = conditions or [Dirichlet(u, exact)]
    equation = sp.Eq(-div(conductivity * grad(u)), source)
    return PDE("heated", equation, domain, conditions, exact={u: exact})


# -------------------------------------------------------------------------------- integrals


@pytest.mark.parametrize("method", ["exact", "chebyshev", "fem"])
def test_integrals_over_the_domain_and_its_boundary(method):
    """u = sin πx/2 + sin πy/2 on the unit square."""
    solution = solve(problems.poisson(2), method)
    (f,), (x, y) = solution.problem.fields, solution.problem.coordinates
    pi = math.pi
    for found, expected in (
        (solution.integral(f), 4 / pi),
        (solution.integral(x * f), 4 / pi**2 + 1 / pi),
        (solution.integral(f.diff(x) ** 2), pi**2 / 8),
        (solution.integral(f, on="right"), 1 + 2 / pi),
        (solution.integral(f, on=x > 0.999999), 1 + 2 / pi),
        (solution.integral(1, boundary=True), 4),
        (solution.integral(sp.Matrix([x, y])), 2),
    ):
        assert found == pytest.approx(expected, abs=2e-5)
    # the slope at a wall is the least that elements know
    slope = [f.diff(x), f.diff(y)]
    assert solution.integral(slope, on="left") == pytest.approx(-pi / 2, abs=1e-3)
    assert solution.integral(slope) == pytest.approx(-pi, abs=2e-3)


def test_integrals_at_an_instant_and_with_parameters():
    solution = solve(problems.heat(1, diffusivity=0.3), "exact")
    (f,), (x, t) = solution.problem.fields, solution.problem.coordinates
    D = solution.problem.find_parameter("D")
    start = solution.integral(f, time=0)
    assert start == pytest.approx(2 / math.pi, rel=1e-12)
    # what flows out is what is lost
    loss = solution.integral(f.diff(t), time=0.5)
    assert loss == pytest.approx(solution.integral([D * f.diff(x)], time=0.5), rel=1e-10)
    assert loss == pytest.approx(-solution.flux("u", time=0.5), rel=1e-10)


def test_a_mesh_may_be_given():
    coarse = pdeml.Mesh.structured(SQUARE, 1)
    solution = solve(problems.poisson(2), "exact")
    (f,) = solution.problem.fields
    exact = 4 / math.pi
    assert solution.integral(f, mesh=coarse, degree=20) == pytest.approx(exact, rel=1e-12)
    assert solution.integral(f, mesh=coarse, degree=2) != pytest.approx(exact, rel=1e-5)


def test_round_domains_have_their_own_mesh():
    plate = Rectangle((x, y), (-1, -1), (1, 1)) - Disk((x, y), (0.1, 0), 0.25)
    solution = solve(manufactured(x**2 + y, domain=plate), "exact")
    area = math.pi / 16
    inside = math.pi * 0.25**4 / 4 + area * 0.01
    assert solution.integral(u) == pytest.approx(4 / 3 - inside, rel=2e-4)
    assert solution.integral(1, on="boundary") == pytest.approx(math.pi / 2, rel=2e-3)


def test_expressions_at_points():
    solution = solve(problems.poisson(2), "exact")
    (f,), (x, y) = solution.problem.fields, solution.problem.coordinates
    points = torch.rand(7, 2, generator=torch.Generator().manual_seed(0)).double()
    found = solution.evaluate(f.diff(x) * f + y, points)
    a, b = (torch.pi / 2 * points).unbind(1)
    expected = torch.pi / 2 * a.cos() * (a.sin() + b.sin()) + points[:, 1]
    assert torch.allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda s: s.integral(sp.Symbol("q")), "the expression holds q"),
        (lambda s: s.integral(Field("w", x, y)), r"the expression holds w\(x, y\)"),
        (lambda s: s.integral([1]), "a vector of 1 components was given; 'poisson' has 2"),
        (lambda s: s.integral(1, time=0), "has no time; leave it out"),
        (lambda s: s.integral(1, on="lid"), "lid"),
        (lambda s: s.integral(1, on=x > 2), "no part of the boundary"),
        (lambda s: s.integral(1, on=t > 2), "give the name of a part"),
        (lambda s: s.flux("w"), "is not a field"),
        (lambda s: s.flux("u", on=x > 2), "is there"),
    ],
)
@pytest.mark.parametrize("method", ["exact", "fem"])
def test_wrong_arguments_are_named(method, call, words):
    options = {"h": 0.25} if method == "fem" else {}
    with pytest.raises(InvalidOption, match=words):
        call(solve(problems.poisson(2), method, **options))


def test_problems_without_what_is_needed_are_refused():
    with pytest.raises(InvalidOption, match="give an instant of 'heat', from 0 to 1"):
        solve(problems.heat(1), "exact").integral(1)
    with pytest.raises(InvalidOption, match="the equation of p has no flux"):
        solve(problems.stokes(), "exact").flux("p")
    cube = problems.poisson(4)
    with pytest.raises(InvalidOption, match="give mesh="):
        solve(cube, "exact").integral(1)
    with pytest.raises(InvalidOption, match="complex fields"):
        solve(problems.schroedinger_soliton(), "exact").integral(1, time=0)


# -------------------------------------------------------------------------------- fluxes


WAVY = sp.sin(sp.pi * x) * sp.cos(sp.pi * y / 2) + x * y
CONDUCTIVITY = 1 + x * y


def outflow(exact, side):
    """∫ −k ∇u·n ds by SymPy."""
    axis, at = {"left": (x, 0), "right": (x, 1), "bottom": (y, 0), "top": (y, 1)}[side]
    along = y if axis == x else x
    density = -CONDUCTIVITY * exact.diff(axis) * (1 if at else -1)
    return float(sp.integrate(density.subs(axis, at), (along, 0, 1)))


def test_the_weak_flux_converges_twice_as_fast_as_the_gradient():
    """P2: the gradient gains two orders, the flux through a side three."""
    problem = manufactured(WAVY, CONDUCTIVITY)
    form = problem.weak_form().equations[0]
    gaps = []
    for n in (8, 16, 32):
        solution = solve(problem, h=1 / n)
        expected = [outflow(WAVY, side) for side in problem.domain.parts]
        weak = [solution.flux("u", on=side) for side in problem.domain.parts]
        plain = [solution.integral(form.flux, on=side) for side in problem.domain.parts]
        gaps.append(
            [max(abs(a - b) for a, b in zip(expected, f, strict=True)) for f in (weak, plain)]
        )
    rates = [math.log2(gaps[1][k] / gaps[2][k]) for k in (0, 1)]
    assert rates[0] > 2.7 and rates[0] > rates[1] + 0.7
    assert gaps[2][0] < 6e-5 and gaps[2][1] > 1e-3


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_what_flows_out_is_what_the_source_gives(degree):
    """Of any cells: all reactions balance the load."""
    problem = manufactured(WAVY, CONDUCTIVITY)
    solution = solve(problem, h=1 / 4, degree=degree)
    source = solution.integral(-problem.weak_form().equations[0].remainder, degree=10)
    assert solution.flux("u") == pytest.approx(source, rel=1e-8)


def test_a_given_slope_gives_its_flux():
    conditions = [
        Dirichlet(u, WAVY, on="left"),
        *(Neumann(u, WAVY.diff(c), on=side) for side, c in (("right", x), ("top", y))),
        Neumann(u, -WAVY.diff(y), on="bottom"),
    ]
    solution = solve(manufactured(WAVY, CONDUCTIVITY, conditions), h=1 / 8)
    # the shape functions at the corners reach over to the sides beside it
    assert solution.flux("u", on="right") == pytest.approx(outflow(WAVY, "right"), abs=2e-3)
    assert solution.flux("u", on="left") == pytest.approx(outflow(WAVY, "left"), abs=2e-3)


def test_fluxes_on_a_line_and_in_a_cube():
    w = Field("w", x)
    line = Interval(x, 0, 2)
    problem = PDE("line", sp.Eq(-div([(1 + x) * w.diff(x)], x), 1), line, Dirichlet(w, 0))
    solution = solve(problem, h=1 / 8)
    # w = (2 ln(1 + x)/ln 3 − x), so that (1 + x) w' = 2/ln 3 − 1 − x
    ends = {"left": 2 / math.log(3) - 1, "right": 3 - 2 / math.log(3)}
    for end, expected in ends.items():
        assert solution.flux("w", on=end) == pytest.approx(expected, rel=2e-6)
    cube = solve(problems.poisson(3), h=1 / 4)
    assert cube.flux("u", on="left") == pytest.approx(math.pi / 2, rel=2e-3)
    assert cube.flux("u", on="top") == pytest.approx(0, abs=4e-3)


def test_fluxes_in_time():
    """The rate is part of what is conserved: −D u_x at the ends of a cooling rod."""
    solution = solve(problems.heat(1), h=1 / 32, dt=1 / 64, scheme="sdirk4")
    exact = solve(solution.problem, "exact")
    for time in (0.25, 1.0):
        expected = exact.flux("u", on="left", time=time)
        assert solution.flux("u", on="left", time=time) == pytest.approx(expected, rel=1e-4)


# -------------------------------------------------------------------------------- Flux conditions


def test_a_flux_condition_is_the_natural_one():
    """A nonlinear anisotropic flux that is given on three sides; P3 holds the solution."""
    exact = x**2 * y + x

    def law(f):
        return [(1 + f**2) * f.diff(x) + f.diff(y), 2 * f.diff(y) - f.diff(x)]

    flux = law(exact)
    source = sum(f.diff(c) for f, c in zip(flux, (x, y), strict=True))
    conditions = [
        Dirichlet(u, exact, on="left"),
        Flux(u, -flux[0], on="right"),
        Flux(u, -flux[1], on="top"),
        Flux(u, flux[1], on=y < 1e-9),
    ]
    problem = PDE("natural", sp.Eq(-div(law(u)), -source), SQUARE, conditions, exact={u: exact})
    solution = solve(problem, degree=3, h=0.25)
    error = solution.error(solve(problem, "exact"))["l2_relative"]
    assert error < 1e-10
    expected = -float(sp.integrate(flux[0].subs(x, 1), (y, 0, 1)))
    assert solution.flux("u", on="right") == pytest.approx(expected, rel=1e-10)


def test_a_flux_of_one_field_goes_with_a_slope_of_another():
    """Traction along y and ∂u/∂n on one side of an elastic body; P2 holds the solution."""
    v = Field("v", x, y)
    exact = {u: x**2 + x * y, v: x * y - y**2}

    def stress(a, b):
        shear = a.diff(y) + b.diff(x)
        return [[3 * a.diff(x) + b.diff(y), shear], [shear, a.diff(x) + 3 * b.diff(y)]]

    rows, known = stress(u, v), stress(*exact.values())
    loads = [sum(s.diff(c) for s, c in zip(row, (x, y), strict=True)) for row in known]
    conditions = [
        *(Dirichlet(f, exact[f], on=p) for f in (u, v) for p in ("left", "bottom", "top")),
        Neumann(u, exact[u].diff(x), on="right"),
        Flux(v, known[1][0], on="right"),
    ]
    equations = [sp.Eq(div(row), load) for row, load in zip(rows, loads, strict=True)]
    problem = PDE("mixed", equations, SQUARE, conditions, exact=exact, fields=[u, v])
    solution = solve(problem, h=0.5)
    assert solution.error(solve(problem, "exact"))["l2_relative"] < 1e-12


def test_a_flux_condition_is_a_residual_of_collocation():
    """The same condition as a loss term of a network: its residual vanishes for the solution."""
    from pdeml.solvers.requirements import condition_requirements

    k = Parameter("k", 3.0)
    exact = x**2 + y
    equation = sp.Eq(-div([k * u.diff(x), k * u.diff(y)]), -2 * k)
    conditions = [Dirichlet(u, exact, on="left"), Flux(u, -2 * k, on="right")]
    conditions += [Flux(u, -k, on="top"), Flux(u, k, on="bottom")]
    problem = PDE("given", equation, SQUARE, conditions, exact={u: exact})
    field = solve(problem, "exact").field
    for requirement in condition_requirements(problem, conditions, 50, 1.0):
        points, extras = requirement.draw(50, torch.Generator().manual_seed(0), "uniform")
        residual = requirement.residual
        streams = jets.streams_of(field, points, residual.streams, residual.coefficients(points))
        found = residual(streams[residual.rows], points, extras=extras)
        assert found.abs().max() < 1e-12


def test_a_flux_condition_is_said_in_every_form():
    k = Parameter("k", 3.0)
    problem = PDE(
        "said",
        -div([k * u.diff(x), k * u.diff(y)]),
        SQUARE,
        [Dirichlet(u, 0, on="left"), *(Flux(u, k, on=p) for p in ("right", "bottom", "top"))],
    )
    assert PDE.from_json(problem.to_json()) == problem
    assert "Flux(u(x, y), k, on='right')" in repr(problem) or "Flux(u, k, on='right')" in repr(
        problem
    )
    assert r"F_{\text{u}} \cdot n = k" in problem.latex()
    assert "F·n = k on 'right', where v does not vanish" in str(problem.weak_form())
    assert problem.with_parameters(k=5.0).conditions[1].value.value == 5.0
    from pdeml.report.mathml import condition_markup

    assert "F" in condition_markup(problem.conditions[1], problem.domain)
    assert "flux condition" in pdeml.solvers.can_solve(problem, "chebyshev")


def test_a_flux_that_is_not_there_is_refused():
    v = Field("v", x, y)
    problem = PDE(
        "bare",
        [u.diff(x, 2) + u.diff(y, 2) - v, v - u],
        SQUARE,
        [Dirichlet(u, 0), Flux(v, 0, on="left")],
    )
    assert "holds none of its derivatives" in pdeml.solvers.can_solve(problem, "fem")
