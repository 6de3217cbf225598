"""Windows of time and continuation in parameters."""

import pytest
import sympy as sp
import torch

import pdeml
from pdeml import engine, problems
from pdeml.domains import Interval, Time
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial
from pdeml.solvers import pinn
from tests.solvers.test_pinn import relative_error

x, t = sp.symbols("x t", real=True)
QUICK = {"recipe": "gauss_newton", "points": 400, "width": 16, "max_iterations": 40}


def warm_rod(**options):
    """u = e^{−t} cos x + t x/10 with moving ends, a source and known values at both."""
    u = Field("u", x, t)
    exact = sp.exp(-t) * sp.cos(x) + t * x / 10
    problem = PDE(
        "rod",
        [sp.Eq(u.diff(t), u.diff(x, 2) + x / 10)],
        Interval(x, 0, 2) * Time(t, 0, 1.5),
        [
            Initial(u, sp.cos(x)),
            Dirichlet(u, exact.subs(x, 0), on="left"),
            Dirichlet(u, exact.subs(x, 2), on="right"),
        ],
        exact={u: exact},
    )
    return pinn.solve(problem, **{**QUICK, **options})


@pytest.mark.parametrize("constraints", ["auto", "soft"])
@pytest.mark.parametrize("transfer", [False, True])
def test_windows_reach_the_solution(constraints, transfer):
    solution = warm_rod(windows=3, constraints=constraints, transfer=transfer, condition_points=60)
    assert relative_error(solution) < 1e-3
    assert solution.report.converged
    assert "window 3: stopped: 40 iterations." in solution.report.notes
    assert solution.report.iterations == 120


def test_windows_meet_to_the_last_digit_and_are_differentiated_through():
    solution = warm_rod(windows=3)
    places = torch.linspace(0, 2, 40, dtype=torch.float64)
    for meeting in solution.field.starts:
        after = torch.stack([places, torch.full_like(places, meeting)], -1)
        windows = list(solution.field.windows)
        number = solution.field.starts.index(meeting)
        assert (windows[number](after) - windows[number + 1](after)).abs().max() < 1e-13
    ends = torch.tensor([[0.0, 0.9], [2.0, 0.9], [0.0, 1.5], [2.0, 1.3]], dtype=torch.float64)
    wanted = torch.exp(-ends[:, 1]) * torch.cos(ends[:, 0]) + ends.prod(-1) / 10
    assert (solution(ends)[:, 0] - wanted).abs().max() < 1e-13
    points = solution.problem.domain.sample(300, engine.generator(1))
    slope = solution.derivative("u", t)(points)[:, 0]
    exact = -torch.exp(-points[:, 1]) * torch.cos(points[:, 0]) + points[:, 0] / 10
    assert (slope - exact).norm() < 1e-2 * exact.norm()
    moved = points.clone().requires_grad_()
    (by_autograd,) = torch.autograd.grad(solution(moved).sum(), moved)
    assert torch.allclose(by_autograd[:, 1], slope, rtol=1e-10, atol=1e-12)


def test_windows_are_saved_and_loaded_bit_for_bit(tmp_path):
    solution = warm_rod(windows=2, max_iterations=3)
    solution.save(tmp_path / "w.h5")
    loaded = pdeml.load(tmp_path / "w.h5")
    points = solution.problem.domain.sample(100, engine.generator(0))
    assert torch.equal(loaded(points), solution(points))
    assert loaded.options["windows"] == 2


@pytest.mark.slow
def test_a_kinked_periodic_start_is_carried_on():
    problem = problems.allen_cahn(diffusivity=0.01, reaction=1.0)
    solution = pinn.solve(problem, windows=2, **QUICK)
    reference = pdeml.solve(problem, "spectral", reference=None)
    assert solution.error(reference)["l2_relative"] < 2e-3


def test_a_function_as_start():
    given = pinn.solve(
        problems.convection(speed=1.0),
        windows=2,
        initial=lambda p: torch.cos(p[:, :1]),
        **QUICK,
    )
    points = given.problem.domain.sample(300, engine.generator(0))
    assert (given(points) - torch.cos(points[:, :1] - points[:, 1:])).abs().max() < 1e-2


def test_a_window_that_fails_is_named():
    report = warm_rod(windows=2, max_iterations=1).report
    assert report.converged is False
    assert any(note.startswith("not converged: window 2:") for note in report.notes)


def test_windows_defeat_convection_that_one_network_does_not_follow():
    options = {"points": 500, "width": 24, "max_iterations": 40, "recipe": "gauss_newton"}
    problem = problems.convection(12.0)
    whole = pinn.solve(problem, **options)
    parts = pinn.solve(problem, windows=4, **options)
    assert relative_error(parts) < 0.02 * relative_error(whole)


def test_continuation_starts_from_the_value_before():
    problem = problems.burgers(nu=0.05)
    options = {"points": 500, "width": 16, "depth": 1, "adam_steps": 0, "cycle": 50}
    stages = pinn.solve(
        problem, continuation={"nu": [0.2, 0.1, 0.05]}, max_iterations=100, **options
    )
    assert stages.problem == problem and stages.report.iterations == 300
    assert len(stages.history["iteration"]) and max(stages.history["iteration"]) == 300
    # the last stage alone, from the weights of the stage before, starts far below a new network
    fresh = pinn.solve(problem, max_iterations=1, **options)
    warm = pinn.solve(problem, continuation={"nu": [0.06, 0.05]}, max_iterations=100, **options)
    after = [
        e for i, e in zip(warm.history["iteration"], warm.history["loss"], strict=True) if i > 100
    ]
    assert after[0] < 0.2 * fresh.history["loss"][0]


@pytest.mark.parametrize(
    "options, word",
    [
        ({"windows": 0}, "positive integer"),
        ({"windows": 2, "checkpoint": "a.h5"}, "drop one"),
        ({"continuation": {"nu": [0.1]}, "resume": True}, "drop one"),
        ({"windows": 2, "continuation": {"nu": [0.1]}}, "cannot be combined"),
        ({"continuation": [1, 2]}, "'Re'"),
        ({"continuation": {"nu": 0.1}}, "'Re'"),
    ],
)
def test_stages_that_do_not_fit_are_named(options, word):
    with pytest.raises(InvalidOption, match=word):
        pinn.solve(problems.burgers(), max_iterations=2, points=50, **options)
    with pytest.raises(UnsupportedProblem, match="steady"):
        pinn.solve(problems.poisson(2), windows=2)
    with pytest.raises(UnsupportedProblem, match="order 2"):
        pinn.solve(problems.wave(), windows=2)
