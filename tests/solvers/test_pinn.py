"""The PINN solver: accuracy on short runs, inverse problems, options."""

import math

import pytest
import sympy as sp
import torch

from pdeml import engine, problems
from pdeml.domains import Interval, Time
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.nn.networks import ModifiedMLP
from pdeml.operators.expressions import evaluate
from pdeml.operators.pde import PDE, Field, Initial, Periodic
from pdeml.solvers import pinn
from pdeml.solvers.run import unknown_parameters

x, t = sp.symbols("x t", real=True)


def relative_error(solution, problem=None, n=4000):
    problem = problem or solution.problem
    points = problem.domain.sample(n, engine.generator(99))
    exact = evaluate(
        [problem.exact[f] for f in problem.fields], problem.coordinates, points, problem.values
    )
    with torch.no_grad():
        return float((solution(points) - exact).norm() / exact.norm())


@pytest.mark.parametrize("seed", [0, 5])
def test_viscous_burgers_by_the_compact_recipe(seed):
    problem = problems.burgers(nu=0.05)
    solution = pinn.solve(
        problem, max_iterations=900, adam_steps=200, cycle=350, points=1500, depth=2, seed=seed
    )
    assert relative_error(solution) < 2e-3
    assert solution.report.engine.startswith("Taylor mode")
    assert solution.report.violations["initial u"] < 1e-14


@pytest.mark.parametrize(
    "name, options, bound",
    [
        ("poisson", {"dim": 3}, 1e-4),
        ("helmholtz", {"a1": 1, "a2": 1}, 3e-4),
    ],
)
def test_elliptic_problems_by_gauss_newton(name, options, bound):
    problem = problems.get(name)(**options)
    solution = pinn.solve(
        problem,
        recipe="gauss_newton",
        max_iterations=60,
        width=24,
        points=800,
        condition_points=150,
    )
    assert relative_error(solution) < bound
    assert solution.report.converged


def test_second_order_in_time_by_gauss_newton():
    solution = pinn.solve(
        problems.klein_gordon(), recipe="gauss_newton", width=32, points=1000, max_iterations=60
    )
    assert relative_error(solution) < 2e-2


def test_unknown_viscosity_is_identified_with_an_error_bar():
    truth = problems.burgers(nu=0.05)
    points = truth.domain.sample(300, engine.generator(3))
    values = evaluate(list(truth.exact.values()), truth.coordinates, points, truth.values)
    problem = truth.with_unknown(nu=0.2)
    solution = pinn.solve(
        problem,
        data=(points, values),
        max_iterations=700,
        adam_steps=200,
        cycle=250,
        points=1000,
        depth=2,
    )
    estimate = solution.parameters["nu"]
    assert estimate.value == pytest.approx(0.05, rel=5e-3)
    assert 0 < estimate.standard_error < 5e-3
    assert relative_error(solution, truth) < 1e-2


def test_other_networks_and_optimizers_train():
    problem = problems.burgers(nu=0.1)
    for options in (
        {"network": "modified_mlp"},
        {"optimizer": "lbfgs"},
        {"optimizer": "adam", "dtype": "float32"},
        {"network": ModifiedMLP(3, 1, depth=2, width=10, generator=engine.generator(0))},
    ):
        solution = pinn.solve(
            problem,
            points=300,
            max_iterations=120,
            adam_steps=60,
            cycle=60,
            depth=2,
            width=10,
            **options,
        )
        assert solution.report.residual_fresh < 0.6, options


def test_same_seed_same_weights():
    runs = [
        pinn.solve(
            problems.burgers(), points=200, max_iterations=60, adam_steps=20, cycle=20, seed=s
        )
        for s in (4, 4, 5)
    ]
    a, b, c = (torch.cat([p.flatten() for p in r.field.parameters()]) for r in runs)
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_initial_value_as_expression_and_as_function():
    problem = problems.convection(speed=1.0)
    expression = pinn.solve(
        problem, initial=sp.cos(x), recipe="gauss_newton", width=12, points=400, max_iterations=40
    )
    function = pinn.solve(
        problem,
        initial=lambda p: torch.cos(p[:, :1]),
        recipe="gauss_newton",
        width=12,
        points=400,
        max_iterations=40,
    )
    points = problem.domain.sample(500, engine.generator(0))
    exact = torch.cos(points[:, :1] - points[:, 1:])
    assert (expression(points) - exact).abs().max() < 1e-3
    assert (function(points) - exact).abs().max() < 1e-2
    assert "initial" in function.report.losses


def test_channels_of_burgers():
    assert pinn.channels(problems.burgers()) == ["u", "u_x", "-nu*u_xx + u_t"]


@pytest.mark.parametrize(
    "options, word",
    [
        ({"recipe": "fast"}, "compact"),
        ({"dtype": "float32"}, "float64"),
        ({"dtype": "float32", "recipe": "gauss_newton"}, "levenberg_marquardt"),
        ({"activation": "relu"}, "tanh, sin or swish"),
        ({"activation": "step"}, "tanh"),
        ({"network": "transformer"}, "mlp"),
        ({"optimizer": "sgd"}, "ssbroyden"),
        ({"constraints": "hard"}, "soft"),
        ({"weights": {"boundary": 1.0}}, "equation"),
        ({"weights": {"equation": -1.0}}, "positive"),
        ({"time_limit": 0}, "positive"),
        ({"max_iterations": 0}, "at least 1"),
        ({"adam_steps": -1}, "at least 0"),
        ({"harmonics": 0}, "at least one"),
        ({"points": 0}, "positive integer"),
        ({"initial": "x*(1-x)"}, "SymPy expression"),
        ({"initial": lambda p: p}, "column per field"),
        ({"weights": 3}, "mapping"),
        ({"time_limit": "3"}, "positive number"),
        ({"sampling": "random"}, "rad"),
        ({"resume": True}, "checkpoint"),
    ],
)
def test_bad_options_are_named(options, word):
    with pytest.raises((InvalidOption, UnsupportedProblem), match=word):
        pinn.solve(problems.burgers(), **{"max_iterations": 5, "points": 50, **options})


def test_unknown_parameter_without_data_is_named():
    with pytest.raises(InvalidOption, match="nu"):
        pinn.solve(problems.burgers().with_unknown(nu=0.1), max_iterations=5)


def test_complex_field_is_refused_with_the_mend():
    a = Field("A", x, t, dtype=complex)
    problem = PDE(
        "nls",
        [sp.Eq(sp.I * a.diff(t), a.diff(x, 2))],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(a, sp.exp(2 * sp.pi * sp.I * x)), Periodic(a, x)],
    )
    with pytest.raises(UnsupportedProblem, match="real and imaginary"):
        pinn.solve(problem)


def test_positive_unknown_stays_positive_in_the_objective():
    problem = problems.burgers(nu=0.05).with_unknown(nu=1e-3)
    unknowns, positive = unknown_parameters(problem, torch.device("cpu"), torch.float64)
    assert positive == [True] and float(unknowns[0].detach()) == pytest.approx(math.log(1e-3))
