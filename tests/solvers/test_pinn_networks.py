"""Factorised weights, and the initial value in the last layer of a PirateNet."""

import pytest
import torch

import pdeml
from pdeml import engine, problems
from pdeml.nn.networks import FactorizedLinear, PirateNet
from pdeml.solvers import pinn
from pdeml.solvers.constraints import build_constraints
from pdeml.solvers.objective import Trial
from pdeml.solvers.warm_start import start_from_initial_value
from tests.solvers.test_pinn import relative_error


@pytest.mark.parametrize("given", [None, lambda p: 3 + torch.cos(2 * p[:, :1])])
def test_a_pirate_net_starts_from_the_initial_value_at_all_times(given):
    problem = problems.burgers()
    built = build_constraints(problem, "soft", initial_is_hard=given is None)
    generator = engine.generator(0)
    network = PirateNet(built.embedding.out_features, 1, width=64, generator=generator)
    trial = Trial(network, built.embedding)
    start_from_initial_value(trial, problem, built, given, generator)
    points = problem.domain.sample(500, engine.generator(7))
    wanted = -torch.sin(torch.pi * points[:, :1]) if given is None else given(points)
    with torch.no_grad():
        assert (trial(points) - wanted).norm() < 5e-3 * wanted.norm()


def test_a_built_in_initial_value_leaves_the_network_alone():
    problem = problems.burgers()
    built = build_constraints(problem)
    network = PirateNet(built.embedding.out_features, 1, width=8, generator=engine.generator(0))
    before = network.last.weight.clone()
    trial = Trial(network, built.embedding, built.base, built.factor)
    start_from_initial_value(trial, problem, built, None, engine.generator(0))
    assert torch.equal(network.last.weight, before)


@pytest.mark.parametrize("network", ["mlp", "modified_mlp", "pirate"])
def test_factorised_networks_train_and_are_stored(tmp_path, network):
    problem = problems.poisson(2)
    solution = pinn.solve(
        problem,
        network=network,
        factorized=True,
        depth=1,
        width=16,
        points=100,
        adam_steps=20,
        cycle=80,
        max_iterations=80,
    )
    assert any(isinstance(m, FactorizedLinear) for m in solution.field.modules())
    assert relative_error(solution) < 0.1
    solution.save(tmp_path / "f.h5")
    points = problem.domain.sample(50, engine.generator(0))
    assert torch.equal(pdeml.load(tmp_path / "f.h5")(points), solution(points))
