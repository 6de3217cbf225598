"""Loss terms, training loop, checkpoints and the honesty verdict."""

import dataclasses

import pytest
import sympy as sp
import torch

from pdeml import engine, problems
from pdeml.domains import Disk, Interval, Time
from pdeml.errors import DivergedError, InvalidDataset, InvalidFile, InvalidOption
from pdeml.nn.networks import MLP
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Neumann, Robin
from pdeml.solvers import pinn
from pdeml.solvers.checkpoint import pack, unpack
from pdeml.solvers.collocation import Schedule, Training
from pdeml.solvers.constraints import build_constraints
from pdeml.solvers.honesty import Honesty, examine
from pdeml.solvers.objective import Term, Trial
from pdeml.solvers.requirements import (
    condition_requirements,
    data_requirement,
    equation_requirement,
)

x, y, t = sp.symbols("x y t", real=True)


def training(problem, schedule, points=300, seed=0, **options):
    built = build_constraints(problem)
    generator = engine.generator(seed)
    network = MLP(built.embedding.out_features, 1, depth=2, width=8, generator=generator)
    trial = Trial(network, built.embedding, built.base, built.factor)
    return Training(
        trial,
        [equation_requirement(problem, points)],
        schedule,
        generator=generator,
        device=torch.device("cpu"),
        dtype=torch.float64,
        **options,
    )


class Exact(torch.nn.Module):
    """A known function in place of a network."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, points):
        return self.function(points)


def residual_of(requirement, function, n=200):
    points, extras = requirement.draw(n, engine.generator(1), "uniform")
    term = Term(requirement.name, requirement.residual, Trial(Exact(function)), points, extras)
    return points, term.residuals()[:, 0]


def test_robin_and_neumann_residuals_use_the_outward_normal():
    """On the disk r = 2, u = x² + y has ∂u/∂n = (2x² + y)/2."""
    u = Field("u", x, y)
    problem = PDE(
        "disk",
        [sp.Eq(u.diff(x, 2) + u.diff(y, 2), 2)],
        Disk((x, y), (0, 0), 2),
        [Neumann(u, 0, on=x > 0), Robin(u, 3, 5, x, on=x <= 0)],
    )
    neumann, robin = condition_requirements(problem, problem.conditions, 50, 1.0)

    def function(p):
        return p[..., 0:1] ** 2 + p[..., 1:2]

    points, found = residual_of(neumann, function)
    a, b = points.unbind(-1)
    assert (a > 0).all() and (a**2 + b**2 - 4).abs().max() < 1e-12
    assert (found - (2 * a**2 + b) / 2).abs().max() < 1e-12
    points, found = residual_of(robin, function)
    a, b = points.unbind(-1)
    assert (a <= 0).all()
    assert (found - (3 * (a**2 + b) + 5 * (2 * a**2 + b) / 2 - a)).abs().max() < 1e-12


def test_initial_and_velocity_residuals():
    problem = problems.wave()
    value, velocity, _ = condition_requirements(problem, problem.conditions, 50, 1.0)
    assert (value.name, velocity.name) == ("initial u", "velocity u")
    points, found = residual_of(velocity, lambda p: p[..., 0:1] * p[..., 1:2])
    assert (points[:, 1] == 0).all()
    assert (found - points[:, 0]).abs().max() < 1e-14


def test_a_relation_that_selects_almost_nothing_is_named():
    u = Field("u", x, y)
    problem = PDE(
        "disk",
        [sp.Eq(u.diff(x, 2) + u.diff(y, 2), 2)],
        Disk((x, y), (0, 0), 2),
        [Dirichlet(u, 0, on=x > sp.Rational(19995, 10000))],
    )
    (requirement,) = condition_requirements(problem, problem.conditions, 50, 1.0)
    with pytest.raises(InvalidOption, match="3999/2000"):
        requirement.draw(50, engine.generator(0), "uniform")


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda p, v: (p[:, :1], v), "expected"),
        (lambda p, v: (p, v[:3]), "expected"),
        (lambda p, v: (p, torch.where(v > 0.5, torch.nan, v)), "NaN"),
        (lambda p, v: (p * 10, v), "outside the domain"),
    ],
)
def test_data_that_do_not_fit_are_named(change, word):
    problem = problems.burgers()
    points = problem.domain.sample(20, engine.generator(0))
    with pytest.raises(InvalidDataset, match=word):
        data_requirement(problem, change(points, torch.rand(20)), 1.0)


def test_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path):
    """Through Adam, the change of optimizer, and a residual-adaptive resampling."""
    schedule = Schedule(adam_steps=15, cycle=20, max_iterations=75)
    whole = training(problems.burgers(), schedule)
    whole.run()
    for stop in (7, 33, 61):
        path = tmp_path / f"{stop}.h5"
        first = training(
            problems.burgers(),
            dataclasses.replace(schedule, max_iterations=stop),
            checkpoint=path,
            identity="a",
        )
        first.run()
        second = training(problems.burgers(), schedule, checkpoint=path, identity="a")
        second.resume()
        assert second.iteration == stop
        second.run()
        for a, b in zip(whole._parameters(), second._parameters(), strict=True):
            assert torch.equal(a, b), stop
    with pytest.raises(InvalidFile, match="other options"):
        other = training(problems.burgers(), schedule, checkpoint=path, identity="b")
        other.resume()


def test_packed_state_comes_back():
    tree = {
        "a": torch.arange(3),
        "b": [1, 2.5, None, "x", {"c": torch.ones(2, dtype=torch.uint8)}],
        3: True,
    }
    arrays = {}
    node = pack(tree, arrays)
    back = unpack(node, {k: v.numpy() for k, v in arrays.items()}, torch.device("cpu"))
    assert torch.equal(back["a"], tree["a"]) and back["b"][:4] == [1, 2.5, None, "x"]
    assert torch.equal(back["b"][4]["c"], tree["b"][4]["c"]) and back[3] is True


def test_best_weights_are_those_of_the_smallest_fresh_residual():
    run = training(problems.burgers(), Schedule(adam_steps=20, cycle=20, max_iterations=60))
    run.run()
    final = run.best_validation
    assert run.validate() == pytest.approx(final, rel=1e-12)
    assert final == pytest.approx(min(v for v in run.history["validation"] if v == v), rel=1e-12)
    kept = [p.clone() for p in run.best]
    with torch.no_grad():
        run.objective.parameters[0].mul_(1.5)
    assert run.validate() > final
    assert all(torch.equal(a, b) for a, b in zip(kept, run.best, strict=True))


def test_adaptive_points_go_where_the_residual_is():
    run = training(problems.burgers(), Schedule(adam_steps=0, cycle=200, max_iterations=100), 500)
    run.run()
    uniform = run.fresh_terms[0].residuals().abs()
    run._resample()
    adapted = run.terms[0].residuals().abs()
    assert adapted.mean() > 1.2 * uniform.mean()
    assert (
        run.terms[0].points[:, 0].abs() < 0.1
    ).double().mean() > 0.15  # 0.1 of the domain: the front


def test_diverging_run_keeps_the_best_finite_state(tmp_path):
    run = training(
        problems.burgers(),
        Schedule(optimizer=None, adam_steps=100, adam_rate=1e-3, cycle=10),
        checkpoint=tmp_path / "c.h5",
        identity="a",
    )
    step, count = run._step, [0]

    def poisoned():
        count[0] += 1
        return float("nan") if count[0] == 25 else step()

    run._step = poisoned
    with pytest.raises(DivergedError, match=r"iteration 24.*c\.h5"):
        run.run()
    assert all(torch.isfinite(p).all() for p in run._parameters())
    assert (tmp_path / "c.h5").exists()


def test_verdict_names_every_reason():
    good = Honesty(1e-4, 2e-4, 2.0, 1e-5, 1e-4, {"initial u": 1e-9})
    assert good.verdict() == []
    bad = Honesty(1e-6, 1e-4, 100.0, 0.5, 3.0, {"dirichlet u": 0.1})
    text = " ".join(bad.verdict())
    for word in ("100 times", "5.0e-01", "3.0e+00", "dirichlet u"):
        assert word in text
    nan = float("nan")
    assert Honesty(nan, nan, nan, nan, None).verdict()


def test_a_small_field_is_judged_beside_a_large_one():
    """u = 10⁴ is met at once; w decays and is not learned: the pooled residual hides it."""
    u, w = Field("u", x, t), Field("w", x, t)
    problem = PDE(
        "scales",
        [sp.Eq(u.diff(t), u.diff(x, 2) + 10_000 - u), sp.Eq(w.diff(t), w.diff(x, 2) / 10)],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [
            *(Initial(u, 10_000), Dirichlet(u, 10_000)),
            *(Initial(w, sp.sin(sp.pi * x)), Dirichlet(w, 0)),
        ],
    )
    report = pinn.solve(problem, max_iterations=1, points=300).report
    assert report.converged is False
    assert any("of the equation's terms" in note for note in report.notes)


def test_overfitted_points_are_reported_as_not_converged():
    """pinn.md §2.9: few points and a strong optimizer fit the points, not the equation."""
    solution = pinn.solve(
        problems.convection(),
        points=40,
        cycle=10_000,
        adam_steps=100,
        sampling="sobol",
        max_iterations=600,
    )
    # the weights that are kept are those before the points were fitted, and they are flagged too
    assert solution.report.converged is False
    assert min(solution.history["loss"]) < 1e-3 * solution.report.losses["equation"]
    assert any("fresh points" in note for note in solution.report.notes)


def test_soft_conditions_with_unequal_sides_reach_the_solution():
    """u'' = 6x on [0, 1] with u'(0) = −1 (outward: +1) and 2u + u' = 7 at 1: u = x³ − x + 2.5."""
    u = Field("u", x)
    problem = PDE(
        "bar",
        [sp.Eq(u.diff(x, 2), 6 * x)],
        Interval(x, 0, 1),
        [Neumann(u, 1, on="left"), Robin(u, 2, 1, 7, on="right")],
        exact={u: x**3 - x + sp.Rational(5, 2)},
    )
    solution = pinn.solve(
        problem, recipe="gauss_newton", width=10, points=200, condition_points=10, max_iterations=60
    )
    points = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
    assert (solution(points) - (points**3 - points + 2.5)).abs().max() < 1e-4
    assert solution.report.converged


def test_time_coefficient_scales_the_growth_of_the_error():
    """3 u_t = −3 u: the residual is three times that of u_t = −u."""
    u = Field("u", x, t)
    results = []
    for factor in (1, 3):
        problem = PDE(
            "decay",
            [sp.Eq(factor * u.diff(t), -factor * u)],
            Interval(x, 0, 1) * Time(t, 0, 2),
            [Initial(u, 1 + x)],
        )
        run = training(problem, Schedule(adam_steps=30, cycle=30, max_iterations=30))
        run.run()
        results.append(examine(problem, run, []))
    assert results[1].fresh / results[1].growth == pytest.approx(
        3 * results[0].fresh / results[0].growth, rel=0.2
    )
