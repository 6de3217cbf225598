"""Measured orders, and step sizes that a tolerance needs."""

import math

import pytest
import torch

import pdeml
from pdeml import problems
from pdeml.errors import InvalidOption
from pdeml.solvers.spectral import convergence, suggest_dt


def waves(n=96, batch=2):
    x = -1 + 2 * torch.arange(n, dtype=torch.float64) / n
    return torch.stack([torch.sin(math.pi * (x - 0.2 * i)) for i in range(batch)])[:, None]


@pytest.mark.parametrize("scheme, order", [("etdrk4", 4), ("etdrk2", 2), ("sbdf3", 3)])
def test_the_order_of_a_scheme_is_measured(scheme, order):
    found = convergence(problems.burgers(nu=0.1), waves(), [0.02, 0.01, 0.005], scheme=scheme)
    assert found.steps == (0.02, 0.01, 0.005)
    assert found.orders[-1] == pytest.approx(order, abs=0.2)
    assert f"{found.errors[0]:.3e}" in str(found) and scheme in str(found)
    lines = found.plot().axes[0].get_lines()
    assert list(lines[0].get_ydata()) == list(found.errors)


def test_a_step_too_long_for_the_problem_is_an_infinite_error():
    found = convergence(problems.burgers(nu=0.01), 10 * waves(192), [0.5, 1e-3], end=1.0)
    assert found.errors[0] == math.inf and found.errors[1] < 1


def test_no_steps_are_refused():
    with pytest.raises(InvalidOption, match="dts is empty"):
        convergence(problems.burgers(), waves(), [])


@pytest.mark.parametrize("tol", [1e-4, 1e-8])
@pytest.mark.parametrize("case", ["burgers", "kdv"])
def test_the_suggested_step_reaches_the_tolerance(case, tol):
    problem = {"burgers": problems.burgers(nu=0.1), "kdv": problems.kdv(0.1)}[case]
    start = waves()
    h = suggest_dt(problem, start, tol=tol)
    count = math.ceil(1 / h)
    coarse = pdeml.Stepper(problem, 96, 1 / count).rollout(start, count, every=count)
    fine = pdeml.Stepper(problem, 96, 1 / (8 * count)).rollout(start, 8 * count, every=8 * count)
    error = ((coarse - fine).norm() / fine.norm()).item()
    assert error < 10 * tol
    # and it is not absurdly short
    assert h > 1e-3 * tol**0.25
