"""Balanced terms, residual-based attention and causal gates against their formulas."""

import dataclasses

import pytest
import sympy as sp
import torch

from pdeml import problems
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.nn.networks import MLP
from pdeml.operators.residual import Residual
from pdeml.solvers import pinn
from pdeml.solvers.balancing import (
    attention,
    balance,
    causal_gates,
    gradient_norms,
    kernel_diagonals,
    slice_losses,
    spread,
)
from pdeml.solvers.exact import solve as exact_solution
from pdeml.solvers.objective import Objective, Term, Trial
from pdeml.solvers.schedule import Schedule
from tests.solvers.test_collocation import training

x, t = sp.symbols("x t", real=True)
u = sp.Function("u")(x, t)


def objective(points=40, weights=(2.0, 0.5)):
    """Two terms of one network, the second a hundred times larger."""
    generator = torch.Generator().manual_seed(0)
    trial = Trial(MLP(2, 1, width=6, depth=2, generator=generator))
    at = torch.rand((points, 2), generator=generator, dtype=torch.float64)
    found = []
    for expression, weight in zip((u.diff(t) + u * u.diff(x), 100 * u - x), weights, strict=True):
        residual = Residual([expression], [u], [x, t])
        found.append(Term(str(expression), residual, trial, at, weight=weight))
    return Objective(trial, found)


def jacobian(objective, term):
    """∂r/∂θ without weights, (n, P)."""
    rows = torch.zeros((len(term.points), objective.count), dtype=torch.float64)
    weight, term.weight = term.weight, float(len(term.points))
    values = term.jacobian((), rows, objective.count)
    term.weight = weight
    return values, rows


def test_sizes_of_terms_are_those_of_the_jacobian():
    made = objective()
    norms = gradient_norms(made, torch.Generator())
    diagonals = [kernel_diagonals(made, torch.Generator().manual_seed(s)) for s in range(150)]
    for k, term in enumerate(made.terms):
        r, j = jacobian(made, term)
        assert norms[k] == pytest.approx(float((2 / len(r) * j.T @ r).norm()), rel=1e-12)
        exact = float(j.square().sum() / len(r))
        # 600 random signs: the estimate's own spread is about 2 % here
        assert sum(d[k] for d in diagonals) / 150 == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize("scheme", ["grad_norm", "ntk"])
def test_balancing_moves_weights_to_equal_sizes(scheme):
    made = objective()
    generator = torch.Generator().manual_seed(0)
    for _ in range(80):
        balance(made, scheme, generator)
    if scheme == "grad_norm":
        sizes = gradient_norms(made, generator)
    else:
        sizes = [float(jacobian(made, term)[1].square().sum()) for term in made.terms]
    balanced = [s * term.weight for s, term in zip(sizes, made.terms, strict=True)]
    assert balanced[0] == pytest.approx(balanced[1], rel=0.05 if scheme == "grad_norm" else 0.5)
    assert made.terms[0].weight > 50 * made.terms[1].weight


def test_one_update_keeps_nine_tenths():
    made = objective(weights=(2.0, 0.5))
    sizes = gradient_norms(made, torch.Generator())
    balance(made, "grad_norm", torch.Generator())
    mean = sum(sizes) / 2
    for term, before, size in zip(made.terms, (2.0, 0.5), sizes, strict=True):
        wanted = 0.9 * before + 0.1 * mean / (size + 1e-5 * mean)
        assert term.weight == pytest.approx(wanted, rel=1e-12)


def test_emphasis_weights_loss_gradient_and_jacobian_alike():
    made = objective()
    term = made.terms[0]
    term.emphasis = torch.linspace(0.1, 3.0, len(term.points), dtype=torch.float64)
    loss = made.loss_and_gradient()
    gradient = torch.cat([p.grad.reshape(-1) for p in made.parameters])
    residual, rows = made.residual_and_jacobian(True)
    assert float(loss) == pytest.approx(float(residual.square().sum()), rel=1e-13)
    assert torch.allclose(gradient, 2 * rows.T @ residual, rtol=1e-10, atol=1e-13)
    r, _ = jacobian(objective(), objective().terms[0])
    other = made.terms[1]
    plain = term.weight * (term.emphasis * r.square()).mean()
    rest = other.weight * other.squares.mean()
    assert float(loss) == pytest.approx(float(plain + rest), rel=1e-12)


def test_causal_gates_are_the_exponentials_of_what_comes_before():
    losses = torch.tensor([[0.5, 0.1], [1.0, 3.0], [0.2, 0.1], [9.0, 9.0]], dtype=torch.float64)
    gates = causal_gates(losses, 0.7)
    wanted = torch.exp(-0.7 * torch.tensor([0.0, 0.5, 3.1, 3.2]).double())
    assert torch.allclose(gates, wanted, rtol=1e-14)
    assert gates[0] == 1.0 and bool((gates.diff() <= 0).all())


def test_slices_follow_time_and_not_the_order_of_the_points():
    times = torch.tensor([0.9, 0.1, 0.5, 0.3, 0.7, 0.2])
    squares = times[:, None] * 10
    losses = slice_losses(times, squares, 3)
    assert torch.allclose(losses[:, 0], torch.tensor([1.5, 4.0, 8.0]))
    factors = spread(times, torch.tensor([1.0, 0.5, 0.25]))
    assert factors.tolist() == [0.25, 1.0, 0.5, 0.5, 0.25, 1.0]


def test_attention_decays_and_grows_where_the_residual_is():
    squares = torch.tensor([[4.0], [1.0], [0.0]])
    once = attention(squares, None)
    assert torch.allclose(once.sqrt(), torch.tensor([1.009, 1.004, 0.999]))
    twice = attention(squares, once)
    assert torch.allclose(twice.sqrt(), 0.999 * once.sqrt() + torch.tensor([0.01, 0.005, 0.0]))
    assert torch.equal(attention(torch.zeros(3, 1), once), once.sqrt().square())


@pytest.mark.parametrize("scheme", ["rba", "causal"])
@pytest.mark.parametrize("redraw", [None, 3])
def test_a_weighted_run_resumes_bit_for_bit(tmp_path, scheme, redraw):
    schedule = Schedule(
        first="soap",
        adam_steps=20,
        redraw=redraw,
        cycle=10,
        max_iterations=45,
        weighting="grad_norm",
        attention=scheme,
        time_slices=4,
        warmup=5,
        decay=0.9,
    )
    whole = training(problems.burgers(), schedule)
    whole.run()
    for stop in (7, 27):
        path = tmp_path / f"{stop}.h5"
        part = dataclasses.replace(schedule, max_iterations=stop)
        training(problems.burgers(), part, checkpoint=path, identity="a").run()
        second = training(problems.burgers(), schedule, checkpoint=path, identity="a")
        second.resume()
        second.run()
        assert all(map(torch.equal, whole._parameters(), second._parameters())), stop


def test_causal_training_starts_with_early_times():
    """Where late residuals are large, their points get almost no weight, and early ones all."""
    made = training(
        problems.burgers(), Schedule(attention="causal", causal_tolerance=50.0, time_slices=5)
    )
    term = made.terms[0]
    early, late = term.points[:, 1] < 0.1, term.points[:, 1] > 0.9
    assert bool((term.emphasis[early] == 1.0).all())
    assert float(term.emphasis[late].max()) < 0.1
    assert made.least_gate() == pytest.approx(float(term.emphasis.min()), rel=1e-6)


def test_rates_warm_up_and_decay():
    schedule = Schedule(adam_rate=1e-2, warmup=10, decay=0.5, decay_steps=100)
    assert schedule.rate(0) == pytest.approx(1e-3)
    assert schedule.rate(200) == pytest.approx(0.25e-2)


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(UnsupportedProblem, match="steady"):
        pinn.solve(problems.poisson(2), attention="causal")
    with pytest.raises(InvalidOption, match="grad_norm"):
        pinn.solve(problems.burgers(), weighting="gradnorm")
    with pytest.raises(InvalidOption, match="rba, causal"):
        pinn.solve(problems.burgers(), attention="self")
    with pytest.raises(InvalidOption, match="soap"):
        pinn.solve(problems.burgers(), optimizer="soup")


@pytest.mark.slow
def test_the_gpu_recipe_reaches_the_solution_in_float32_on_a_small_network():
    solution = pinn.solve(
        problems.diffusion(),
        recipe="sota_gpu",
        width=32,
        depth=1,
        points=512,
        max_iterations=1000,
        dtype="float32",
    )
    exact = exact_solution(problems.diffusion())
    assert solution.error(exact)["l2_relative"] < 5e-3
    assert solution.report.min_causal_gate > 0.9
