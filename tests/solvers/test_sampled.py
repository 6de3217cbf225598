"""Parts of an operator that are drawn at every step: no bias in loss and gradient, d = 100."""

import dataclasses
import itertools

import pytest
import sympy as sp
import torch

import pdeml
from pdeml import engine, problems
from pdeml.domains import Ball
from pdeml.errors import InvalidOption
from pdeml.nn.networks import MLP
from pdeml.operators.dense import Arena
from pdeml.operators.pde import PDE, Dirichlet, Field
from pdeml.solvers import pinn
from pdeml.solvers.objective import Term, Trial
from pdeml.solvers.requirements import equation_requirement
from pdeml.solvers.sampled import SampledTerm
from pdeml.solvers.schedule import Schedule
from tests.solvers.test_collocation import training


def allen_cahn(dim):
    """Δu + u − u³ = 0 in a ball: an interface u = tanh(n·x/√2) in an oblique direction n."""
    xs = sp.symbols(f"x1:{dim + 1}", real=True)
    u = Field("u", *xs)
    normal = torch.rand(dim, generator=engine.generator(0), dtype=torch.float64) + 0.2
    normal = normal / normal.norm()
    along = sum(sp.Float(float(n)) * x for n, x in zip(normal, xs, strict=True))
    exact = sp.tanh(along / sp.sqrt(2))
    return PDE(
        "allen_cahn_interface",
        [sp.Eq(sum(u.diff(x, 2) for x in xs) + u - u**3, 0)],
        Ball(xs, [0] * dim, 5.0),
        [Dirichlet(u, exact)],
        {u: exact},
    )


def terms(problem, directions, seed=0):
    generator = engine.generator(seed)
    trial = Trial(MLP(problem.domain.dim, 1, depth=2, width=6, generator=generator))
    residual = equation_requirement(problem, 1).residual
    points = problem.domain.sample(12, generator)
    sampled = SampledTerm(
        "s", residual, trial, points, weight=2.0, directions=directions, generator=generator
    )
    return Term("whole", residual, trial, points, weight=2.0), sampled


def loss_and_gradient(term):
    gradients = [torch.zeros_like(p) for p in term.network.parameters]
    loss = term.accumulate([], gradients, [], Arena())
    return torch.cat([loss, *(g.flatten() for g in gradients)])


def single_directions(term):
    """The term with each direction of its operator alone."""
    generator, found = engine.generator(2), {}
    while len(found) < term.points.shape[1]:
        part = term.residual.sampled(1, generator)
        found[part.streams.operators] = Term("p", part, term.trial, term.points)
    return list(found.values())


def test_the_mean_over_all_directions_is_the_laplacian():
    whole, _ = terms(problems.poisson(dim=4), 1)
    found = [part.residuals() for part in single_directions(whole)]
    mean = torch.stack(found).mean(0)
    assert (mean - whole.residuals()).abs().max() < 1e-12
    assert all((one - mean).abs().max() > 1e-2 for one in found)


def test_all_directions_give_the_whole_loss_and_gradient():
    whole, sampled = terms(allen_cahn(5), 5)
    assert (loss_and_gradient(whole) - loss_and_gradient(sampled)).abs().max() < 1e-12
    assert torch.equal(sampled.residuals(), whole.residuals())


def test_loss_and_gradient_have_no_bias():
    """Over all pairs of draws; the mean square of one draw is too large by its variance."""
    whole, sampled = terms(problems.poisson(dim=4), 1)
    wanted, parts = loss_and_gradient(whole), single_directions(whole)
    found = []
    for pair in itertools.product(parts, parts):
        sampled.halves = list(pair)
        found.append(loss_and_gradient(sampled))
    assert (torch.stack(found).mean(0) - wanted).abs().max() < 1e-11
    squares = torch.stack([part.residuals().square().mean() for part in parts])
    assert squares.mean() > wanted[0] + 5e-3


def test_a_resumed_run_draws_the_same_directions(tmp_path):
    schedule = Schedule(optimizer=None, sampling="uniform", cycle=10, redraw=1, sampled=1)
    schedule = dataclasses.replace(schedule, max_iterations=25)
    whole = training(problems.poisson(dim=3), schedule, 50)
    whole.run()
    path = tmp_path / "c.h5"
    training(
        problems.poisson(dim=3), dataclasses.replace(schedule, max_iterations=13), 50,
        checkpoint=path, identity="a",
    ).run()  # fmt: skip
    second = training(problems.poisson(dim=3), schedule, 50, checkpoint=path, identity="a")
    second.resume()
    second.run()
    for a, b in zip(whole._parameters(), second._parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"sampled": 0}, "positive number"),
        ({"optimizer": "ssbroyden"}, "optimizer='ssbroyden'"),
        ({"weighting": "ntk"}, "weighting='ntk'"),
        ({"attention": "rba"}, "attention='rba'"),
        ({"pseudo_time": True}, "pseudo_time=True"),
    ],
)
def test_what_does_not_go_with_drawn_directions_is_named(options, word):
    with pytest.raises(InvalidOption, match=word):
        pinn.solve(problems.poisson(dim=3), **{"sampled": 2, "max_iterations": 2, **options})


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem, bound", [(problems.poisson(dim=100), 0.1), (allen_cahn(100), 0.1)]
)
def test_a_hundred_dimensions(problem, bound):
    solution = pdeml.solve(
        problem,
        "pinn",
        sampled=10,
        depth=2,
        width=64,
        points=100,
        condition_points=100,
        max_iterations=1500,
        cycle=500,
        reference=None,
    )
    error = solution.error(pdeml.solve(problem, "exact"))["l2_relative"]
    print(f"{problem.name} in 100 dimensions: relative L2 error {error:.1e}")
    assert error < bound
