"""Conditions built into the trial solution (pinn.md §2.4, §5.7)."""

import pytest
import sympy as sp
import torch

from pdeml import problems
from pdeml.domains import Ball, Interval, Polygon, Rectangle, Time
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.nn.networks import MLP
from pdeml.operators.expressions import evaluate
from pdeml.operators.jets import derivatives
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Neumann, Parameter, Periodic
from pdeml.solvers.constraints import build_constraints
from pdeml.solvers.objective import Trial

x, y, t = sp.symbols("x y t", real=True)


def trial_of(problem, **options):
    built = build_constraints(problem, **options)
    network = MLP(
        built.embedding.out_features,
        len(problem.fields),
        width=8,
        generator=torch.Generator().manual_seed(0),
    )
    return Trial(network, built.embedding, built.base, built.factor), built


def at(problem, n=100, **fixed):
    points = problem.domain.sample(n, torch.Generator().manual_seed(1))
    for name, value in fixed.items():
        points[:, [c.name for c in problem.coordinates].index(name)] = value
    return points


@pytest.mark.parametrize("name", ["burgers", "convection", "kdv", "heat", "wave", "klein_gordon"])
def test_initial_values_are_met_to_round_off(name):
    problem = problems.get(name)()
    trial, built = trial_of(problem)
    assert not built.soft
    points = at(problem, t=0.0)
    for condition in problem.conditions:
        if isinstance(condition, Initial):
            value = evaluate([condition.value], problem.coordinates, points, problem.values)
            index = (0,) * (points.shape[1] - 1) + (condition.order,)
            found = derivatives(trial, points, [index])[0]
            assert (found - value).abs().max() <= 1e-13 * (1 + value.abs().max())


@pytest.mark.parametrize("name, axes", [("wave", "x"), ("klein_gordon", "x"), ("helmholtz", "xy")])
def test_dirichlet_values_are_met_to_round_off(name, axes):
    problem = problems.get(name)()
    trial, built = trial_of(problem)
    assert not built.soft
    lower, upper = problem.domain.bounds
    for axis in axes:
        i = [c.name for c in problem.coordinates].index(axis)
        for end in (lower[i], upper[i]):
            points = at(problem, **{axis: end})
            exact = evaluate(
                list(problem.exact.values()), problem.coordinates, points, problem.values
            )
            assert (trial(points) - exact).abs().max() <= 1e-13


def test_interpolant_of_different_values_on_four_sides():
    u = Field("u", x, y)
    sides = {"left": y, "right": 1 + y**2, "bottom": x, "top": sp.Integer(1) + x}
    problem = PDE(
        "plate",
        [sp.Eq(u.diff(x, 2) + u.diff(y, 2), 0)],
        Rectangle((x, y), (0, 0), (1, 1)),
        [Dirichlet(u, value, on=side) for side, value in sides.items()],
    )
    trial, built = trial_of(problem)
    assert not built.soft
    for side, (axis, end) in {
        "left": ("x", 0.0),
        "right": ("x", 1.0),
        "bottom": ("y", 0.0),
        "top": ("y", 1.0),
    }.items():
        points = at(problem, **{axis: end})
        value = evaluate([sides[side]], (x, y), points)
        assert (trial(points) - value).abs().max() < 1e-14, side


def test_values_that_contradict_each_other_at_a_corner_stay_soft():
    u = Field("u", x, y)
    problem = PDE(
        "lid",
        [sp.Eq(u.diff(x, 2) + u.diff(y, 2), 0)],
        Rectangle((x, y), (0, 0), (1, 1)),
        [
            Dirichlet(u, 1, on="top"),
            *(Dirichlet(u, 0, on=side) for side in ("left", "right", "bottom")),
        ],
    )
    _, built = trial_of(problem)
    assert len(built.soft) == 4 and built.factor is None
    assert "edge" in built.notes[0]


def test_boundary_value_that_contradicts_the_initial_value_stays_soft():
    u = Field("u", x, t)
    problem = PDE(
        "step",
        [sp.Eq(u.diff(t), u.diff(x, 2))],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(u, 0), Dirichlet(u, 1)],
    )
    trial, built = trial_of(problem)
    assert [type(c) for c in built.soft] == [Dirichlet]
    assert "contradict" in built.notes[0]
    assert trial(at(problem, t=0.0)).abs().max() < 1e-15


def test_ball_with_a_constant_value():
    xs = sp.symbols("x y z", real=True)
    u = Field("u", *xs)
    problem = PDE(
        "ball",
        [sp.Eq(sum(u.diff(c, 2) for c in xs), 1)],
        Ball(xs, (1, 0, -1), 2),
        [Dirichlet(u, 3)],
    )
    trial, built = trial_of(problem)
    assert not built.soft
    sample = problem.domain.sample_boundary(200, torch.Generator().manual_seed(0))
    assert (trial(sample.points) - 3).abs().max() < 1e-12


def test_neumann_and_polygon_conditions_stay_loss_terms():
    u = Field("u", x, y)
    triangle = Polygon((x, y), [(0, 0), (1, 0), (0, 1)])
    problem = PDE("p", [sp.Eq(u.diff(x, 2) + u.diff(y, 2), 1)], triangle, [Dirichlet(u, 0)])
    _, built = trial_of(problem)
    assert built.soft and "Polygon" in built.notes[0]
    v = Field("v", x)
    problem = PDE(
        "n",
        [sp.Eq(v.diff(x, 2), 1)],
        Interval(x, 0, 1),
        [Dirichlet(v, 0, on="left"), Neumann(v, 1, on="right")],
    )
    trial, built = trial_of(problem)
    assert [type(c) for c in built.soft] == [Neumann]
    assert trial(torch.zeros((1, 1), dtype=torch.float64)).abs().max() == 0.0


def test_kink_across_the_seam_is_carried_by_the_linear_flow():
    """Allen–Cahn: u0 = x² cos πx has slope ±2 at ±1; the lift solves u_t = D u_xx exactly."""
    problem = problems.allen_cahn()
    trial, built = trial_of(problem)
    assert not built.soft and "flow" in built.notes[0]
    points = at(problem, 400)
    u_t, u_xx = derivatives(built.base, points, [(0, 1), (2, 0)])
    assert (u_t - 1e-4 * u_xx).abs().max() <= 1e-10 * u_t.abs().max()
    start = at(problem, 400, t=0.0)
    value = evaluate([x**2 * sp.cos(sp.pi * x)], (x, t), start)
    # the truncated series misses the kink itself by the tail of 4/(π² k²)
    assert (trial(start) - value).square().mean().sqrt() < 2e-4
    inside = start[:, 0].abs() < 0.9
    assert (trial(start) - value)[inside].abs().max() < 5e-5


def test_linear_flow_is_exact_for_a_smooth_initial_value():
    u, d = Field("u", x, t), Parameter("D", 0.1)
    value = sp.Abs(sp.sin(sp.pi * x))
    problem = PDE(
        "heat",
        [sp.Eq(2 * u.diff(t), d * u.diff(x, 2))],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(u, value), Periodic(u, x)],
    )
    _, built = trial_of(problem)
    points = at(problem, 200)
    found = built.base(points)[:, 0]
    # |sin πx| = 2/π − 4/π Σ cos(2πnx)/(4n² − 1), each mode decays at D/2 (2πn)²
    expected = torch.full_like(found, 2 / torch.pi)
    for n in range(1, 60):
        wave = 2 * torch.pi * n
        expected -= (
            4
            / torch.pi
            / (4 * n * n - 1)
            * torch.cos(wave * points[:, 0])
            * torch.exp(-0.05 * wave**2 * points[:, 1])
        )
    late = points[:, 1] > 0.01
    assert (found - expected)[late].abs().max() < 1e-6


def test_linear_flow_keeps_the_sine_part():
    """The sawtooth x on [−1, 1) is all sines: x = −2/π Σ (−1)^n sin(nπx)/n."""
    u = Field("u", x, t)
    problem = PDE(
        "sawtooth",
        [sp.Eq(u.diff(t), sp.Rational(1, 10) * u.diff(x, 2))],
        Interval(x, -1, 1) * Time(t, 0, 1),
        [Initial(u, x), Periodic(u, x)],
    )
    _, built = trial_of(problem)
    points = at(problem, 200)
    points = points[points[:, 1] > 0.05]
    expected = sum(
        -2
        / torch.pi
        * (-1) ** n
        / n
        * torch.sin(n * torch.pi * points[:, 0])
        * torch.exp(-0.1 * (n * torch.pi) ** 2 * points[:, 1])
        for n in range(1, 60)
    )
    assert (built.base(points)[:, 0] - expected).abs().max() < 1e-3


def test_soft_mode_and_data_in_place_of_the_initial_value():
    problem = problems.burgers()
    _, soft = trial_of(problem, mode="soft")
    assert len(soft.soft) == 1 and soft.factor is None
    _, data = trial_of(problem, initial_is_hard=False)
    assert len(data.soft) == 1
    with pytest.raises(InvalidOption, match="soft"):
        build_constraints(problem, "hard")


def test_axis_that_is_periodic_for_some_fields_only_is_refused():
    u, v = Field("u", x, t), Field("v", x, t)
    problem = PDE(
        "half",
        [sp.Eq(u.diff(t), v.diff(x)), sp.Eq(v.diff(t), u.diff(x, 2))],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(u, 0), Initial(v, 0), Periodic(u, x), Dirichlet(v, 0)],
    )
    with pytest.raises(UnsupportedProblem, match="periodic for some fields"):
        build_constraints(problem)


def test_initial_value_with_a_kink_inside_stays_a_loss_term():
    """Built in, u0 + t·N would keep the kink for ever, where the equation smooths it at once."""
    u = Field("u", x, t)
    for value in (
        sp.Piecewise((2 * x, x < sp.Rational(1, 2)), (2 - 2 * x, True)),
        sp.Rational(1, 2) - sp.Abs(x - sp.Rational(1, 2)),
    ):
        problem = PDE(
            "tent",
            [sp.Eq(u.diff(t), u.diff(x, 2))],
            Interval(x, 0, 1) * Time(t, 0, 1),
            [Initial(u, value), Dirichlet(u, 0)],
        )
        _, built = trial_of(problem)
        assert [type(c) for c in built.soft] == [Initial]
        assert "not smooth" in built.notes[0]
