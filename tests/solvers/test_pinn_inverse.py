"""Unknown fields: coefficients and sources without an equation, found from data of the solution."""

import pytest
import sympy as sp
import torch

import pdeml
from pdeml import engine
from pdeml.domains import Interval, Rectangle, Time
from pdeml.errors import InvalidDataset, InvalidOption, InvalidProblem, UnsupportedProblem
from pdeml.operators.expressions import evaluate
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial
from pdeml.solvers import METHODS, can_solve

x, y, t = sp.symbols("x y t", real=True)
PINN = {
    "recipe": "gauss_newton",
    "width": 16,
    "points": 300,
    "condition_points": 40,
    "max_iterations": 70,
}


def darcy_1d():
    """−(a u')' = f; the data determine a because u' has a zero."""
    u, a = Field("u", x), Field("a", x)
    truth = {u: sp.sin(sp.pi * x) + x / 2, a: 1 + sp.sin(2 * sp.pi * x) / 2}
    source = -(truth[a] * truth[u].diff(x)).diff(x)
    return PDE(
        "darcy_1d",
        [sp.Eq(-(a * u.diff(x)).diff(x), source)],
        Interval(x, 0, 1),
        [Dirichlet(u, 0, on="left"), Dirichlet(u, sp.Rational(1, 2), on="right")],
        truth,
        unknowns=[a],
    )


def darcy_2d():
    """−∇·(a ∇u) = f with a known on the boundary."""
    u, a = Field("u", x, y), Field("a", x, y)
    truth = {
        u: x + sp.exp(x / 2) * sp.sin(sp.pi * y / 2),
        a: 1 + sp.sin(sp.pi * x) * sp.cos(sp.pi * y) / 2,
    }

    def flow(a, u):
        return -(a * u.diff(x)).diff(x) - (a * u.diff(y)).diff(y)

    return PDE(
        "darcy_2d",
        [sp.Eq(flow(a, u), flow(truth[a], truth[u]))],
        Rectangle((x, y), (0, 0), (1, 1)),
        [Dirichlet(a, truth[a])],
        truth,
        unknowns=[a],
    )


def heat_source():
    """A source that does not depend on time: its network does not see t."""
    u, f = Field("u", x, t), Field("f", x)
    rate = 4 * sp.pi**2 / 10
    truth = {f: sp.sin(2 * sp.pi * x)}
    truth[u] = truth[f] * (1 - sp.exp(-rate * t)) / rate
    return PDE(
        "heat_source",
        [sp.Eq(u.diff(t), u.diff(x, 2) / 10 + f)],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(u, 0), Dirichlet(u, 0)],
        truth,
        unknowns=[f],
    )


def measured(problem, count=200):
    points = problem.domain.sample(count, engine.generator(3))
    known = [problem.exact[f] for f in problem.fields if f not in problem.unknown_fields]
    return points, evaluate(known, problem.coordinates, points, problem.values)


@pytest.mark.parametrize("make", [darcy_1d, darcy_2d, heat_source])
def test_the_field_is_found_from_data_of_the_solution(make):
    problem = make()
    (sought,) = problem.unknown_fields
    solution = pdeml.solve(problem, "pinn", data=measured(problem), **PINN)
    assert solution.report.error[f"l2_relative[{sought.func.__name__}]"] < 0.02
    assert solution.report.converged
    assert solution.report.engine.startswith("Taylor mode")


def test_a_field_of_space_does_not_change_in_time_and_comes_back_from_a_file(tmp_path):
    problem = heat_source()
    solution = pdeml.solve(problem, "pinn", data=measured(problem), **{**PINN, "max_iterations": 2})
    points = torch.tensor([[0.3, 0.1], [0.3, 0.9]], dtype=torch.float64)
    f = problem.fields.index(problem.unknown_fields[0])
    values = solution(points).detach()
    assert values[0, f] == values[1, f] and values[0, 1 - f] != values[1, 1 - f]
    solution.save(tmp_path / "source.h5")
    again = pdeml.load(tmp_path / "source.h5")
    assert again.problem == problem
    assert torch.equal(again(points), values)


def test_data_that_leave_the_field_open_are_no_success():
    """(a u')' = 0 holds for every multiple of a."""
    u, a = Field("u", x), Field("a", x)
    problem = PDE(
        "scale",
        [sp.Eq((a * u.diff(x)).diff(x), 0)],
        Interval(x, 0, 1),
        [Dirichlet(u, 0, on="left"), Dirichlet(u, 1, on="right")],
        unknowns=[a],
    )
    points = problem.domain.sample(50, engine.generator(0))
    solution = pdeml.solve(problem, "pinn", data=(points, points), **PINN)
    assert solution.report.converged is False


def test_declarations_and_options_that_do_not_fit_are_named():
    u, a, b = Field("u", x), Field("a", x), Field("b", x)
    line, ends = Interval(x, 0, 1), [Dirichlet(u, 0)]
    with pytest.raises(InvalidProblem, match="under-determined"):
        PDE("p", [a * u.diff(x, 2) - 1], line, ends)
    with pytest.raises(InvalidProblem, match="in no equation"):
        PDE("p", [a * u.diff(x, 2) - 1], line, ends, unknowns=[a, b])
    with pytest.raises(InvalidProblem, match="not declared over"):
        wide = Field("u", x, t)
        PDE("p", [wide.diff(t) - Field("f", x)], line * Time(t, 0, 1), [Initial(wide, 0)])
    problem = darcy_1d()
    with pytest.raises(InvalidOption, match="field a is unknown"):
        pdeml.solve(problem, "pinn")
    with pytest.raises(InvalidDataset, match=r"\(n, 2\)|expected"):
        pdeml.solve(problem, "pinn", data=(torch.rand(5, 1), torch.rand(5, 3)))
    for method in METHODS:
        if method not in ("pinn", "exact"):
            assert can_solve(problem, method) is not None, method
    with pytest.raises(UnsupportedProblem, match='use "pinn"'):
        pdeml.solve(problem, "pig", data=measured(problem))
    assert problem.with_unknown().unknown_fields == problem.unknown_fields
    assert "unknown     a" in repr(problem)
