"""Difficulties: the definitions, what they are for, and the published scenarios."""

import math

import pytest
import sympy as sp

from pdeml import problems
from pdeml.errors import InvalidOption
from pdeml.operators.conditions import Initial


def values_of(problem):
    return {p.name: v for p, v in problem.values.items()}


@pytest.mark.parametrize("points, dim, maximum", [(160, 1, 1.0), (48, 2, 0.5), (30, 3, 4.0)])
def test_the_coefficients_follow_the_definitions(points, dim, maximum):
    """γ_j = α_j N^j 2^(j−1) d, δ₁ = β₁ M N d, δ₂ = β₂ M N² d, solved back for γ and δ."""
    gammas, deltas = (0.3, -4.0, 1.5, -14.0, -9.0), (-0.02, -1.5, -6.0)
    problem = problems.from_difficulty(gammas, deltas, points=points, dim=dim, maximum=maximum)
    v = values_of(problem)
    assert v["alpha_0"] == 0.3 and v["beta_0"] == -0.02
    for j in range(1, 5):
        back = v[f"alpha_{j}"] * points**j * 2 ** (j - 1) * dim
        assert back == pytest.approx(gammas[j], rel=1e-14)
    assert v["beta_1"] * maximum * points * dim == pytest.approx(-1.5, rel=1e-14)
    assert v["beta_2"] * maximum * points**2 * dim == pytest.approx(-6.0, rel=1e-14)
    assert problem.domain.bounds == ((0,) * (dim + 1), (*(1,) * dim, 50))


def test_the_terms_stand_where_the_equation_says():
    problem = problems.from_difficulty((1.0, 2.0, 3.0, 4.0, 5.0), (6.0, 7.0, 8.0), dim=2)
    (u,), (x, y, t) = problem.fields, problem.coordinates
    a = [problem.find_parameter(f"alpha_{j}") for j in range(5)]
    b = [problem.find_parameter(f"beta_{j}") for j in range(3)]
    right = a[0] * u + b[0] * u**2 + b[1] * u * (u.diff(x) + u.diff(y))
    right += b[2] * (u.diff(x) ** 2 + u.diff(y) ** 2) / 2
    right += sum(a[j] * (u.diff(x, j) + u.diff(y, j)) for j in range(1, 5))
    assert sp.expand(problem.residuals[0] - u.diff(t) + right) == 0


def test_units_do_not_matter():
    """KdV on length L with step Δt, scaled to the unit box, is what its difficulties declare."""
    length, dt, points, maximum = 20.0, 0.05, 128, 2.0
    a1, a3, a4 = -0.7, -1.1, -0.03  # u_t = a1 u u_x + a3 u_xxx + a4 u_xxxx
    gamma3 = a3 * dt / length**3 * points**3 * 4
    gamma4 = a4 * dt / length**4 * points**4 * 8
    delta1 = a1 * dt / length * maximum * points
    problem = problems.from_difficulty(
        (0, 0, 0, gamma3, gamma4), (0, delta1, 0), points=points, maximum=maximum
    )
    (u,), (x, t) = problem.fields, problem.coordinates
    wave = sp.sin(3 * x + 2 * t) + sp.cos(x) / 3  # in unit coordinates ξ = X/L, τ = T/Δt
    scaled = problem.residuals[0].subs(u, wave).doit().subs(problem.values)
    X, S = sp.symbols("X S", real=True)
    w = wave.subs({x: X / length, t: S / dt}, simultaneous=True)
    physical = w.diff(S) - a1 * w * w.diff(X) - a3 * w.diff(X, 3) - a4 * w.diff(X, 4)
    for at_x, at_t in ((0.13, 0.4), (0.77, 2.3)):
        ours = float(scaled.subs({x: at_x, t: at_t}))
        theirs = float(physical.subs({X: at_x * length, S: at_t * dt})) * dt
        assert ours == pytest.approx(theirs, rel=1e-12)


def test_the_first_difficulty_is_the_courant_number():
    """γ₁ = −1: the profile moves one grid cell to the right in a step."""
    problem = problems.from_difficulty((0, -1.0), points=64)
    (u,), (x, t) = problem.fields, problem.coordinates
    moved = sp.exp(sp.sin(2 * sp.pi * (x - t / 64)))
    assert sp.simplify(problem.residuals[0].subs(u, moved).doit().subs(problem.values)) == 0


@pytest.mark.parametrize(
    "name, expected",
    [
        ("apebench_burgers", {"alpha_2": 1.5 / (2 * 160**2), "beta_1": -1.5 / 160}),
        (
            "apebench_kdv",
            {"alpha_3": -14 / (4 * 160**3), "alpha_4": -9 / (8 * 160**4), "beta_1": -2 / 160},
        ),
        (
            "apebench_kuramoto_sivashinsky",
            {"alpha_2": -1.2 / (2 * 160**2), "alpha_4": -15 / (8 * 160**4), "beta_2": -6 / 160**2},
        ),
        ("apebench_fisher", {"alpha_0": 0.02, "alpha_2": 0.2 / (2 * 160**2), "beta_0": -0.02}),
    ],
)
def test_scenarios_have_the_published_numbers(name, expected):
    assert values_of(problems.get(name)()) == pytest.approx(expected, rel=1e-14)
    coarse = problems.get(name)(points=80, dim=2, steps=200)
    assert coarse.domain.bounds == ((0, 0, 0), (1, 1, 200))
    for key, value in values_of(coarse).items():
        order = int(key[-1])
        factor = 2**order / (2 if order else 1)  # half the points, twice the dimension
        assert value == pytest.approx(expected[key] * factor, rel=1e-14)


def test_starts_reach_the_largest_value():
    for maximum in (1.0, 2.5):
        problem = problems.from_difficulty((0, 1.0), dim=2, maximum=maximum)
        (start,) = (c.value for c in problem.conditions if isinstance(c, Initial))
        x, y = problem.space_coordinates
        assert float(start.subs({x: 0.25, y: 0.25})) == pytest.approx(maximum)
    x = sp.Symbol("x", real=True)
    own = problems.from_difficulty((0, 1.0), initial=sp.cos(2 * sp.pi * x), name="mine")
    assert own.name == "mine" and own.conditions[0].value == sp.cos(2 * sp.pi * x)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (((0, 0),), {}, "all zero"),
        (((),), {}, "all zero"),
        (((1.0, math.nan),), {}, "up to 9 finite numbers"),
        (((1.0,) * 10,), {}, "up to 9 finite numbers"),
        (("12",), {}, "up to 9 finite numbers"),
        ((1.0,), {}, "up to 9 finite numbers"),
        (((1.0,), (1, 2, 3, 4)), {}, "up to 3 finite numbers"),
        (((1.0,),), {"points": 3}, "points=3"),
        (((1.0,),), {"points": 16.0}, r"points=16\.0"),
        (((1.0,),), {"steps": 0}, "steps=0"),
        (((1.0,),), {"maximum": 0}, "maximum is 0"),
        (((1.0,),), {"dim": 4}, "dim is 4"),
    ],
)
def test_bad_arguments_are_named(arguments, options, message):
    with pytest.raises(InvalidOption, match=message):
        problems.from_difficulty(*arguments, **options)
