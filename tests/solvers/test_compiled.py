"""One graph for loss and gradient: the values and gradients of the eager step."""

import pytest
import sympy as sp
import torch

from pdeml import engine, problems
from pdeml.domains import Interval, Time
from pdeml.errors import InvalidOption
from pdeml.nn.networks import MLP
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Parameter
from pdeml.solvers import compiled, pinn
from pdeml.solvers.collocation import Training
from pdeml.solvers.constraints import build_constraints
from pdeml.solvers.objective import Trial
from pdeml.solvers.requirements import condition_requirements, equation_requirement
from pdeml.solvers.run import unknown_parameters
from pdeml.solvers.schedule import Schedule


def heat():
    x, t = sp.symbols("x t", real=True)
    u, kappa = Field("u", x, t), Parameter("kappa", 0.3, positive=True)
    return PDE(
        "heat",
        [sp.Eq(u.diff(t), kappa * u.diff(x, 2) + sp.sin(x))],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(u, sp.sin(sp.pi * x)), Dirichlet(u, 0)],
        unknowns=["kappa"],
    )


def pair(problem, constraints="auto", device="cpu", activation="tanh"):
    """The same training, eager and as one graph."""
    found = []
    for one_graph in (False, True):
        built = build_constraints(problem, constraints)
        network = MLP(
            built.embedding.out_features,
            len(problem.fields),
            depth=2,
            width=8,
            activation=activation,
            generator=engine.generator(0),
        )
        trial = Trial(network, built.embedding, built.base, built.factor).to(device)
        unknowns, positive = unknown_parameters(problem, torch.device(device), torch.float64)
        found.append(
            Training(
                trial,
                [
                    equation_requirement(problem, 150),
                    *condition_requirements(problem, built.soft, 20, 10.0),
                ],
                Schedule(optimizer=None, sampling="uniform"),
                generator=engine.generator(1),
                device=torch.device(device),
                dtype=torch.float64,
                unknowns=unknowns,
                positive=positive,
                compiled=one_graph,
            )
        )
    return found


def assert_equal_steps(eager, graph):
    for step in range(3):
        loss, other = (run.objective.loss_and_gradient() for run in (eager, graph))
        assert abs(float(loss - other)) <= 1e-12 * max(1.0, float(loss))
        for p, q in zip(eager.objective.parameters, graph.objective.parameters, strict=True):
            assert (p.grad - q.grad).abs().max() <= 1e-12 * (1.0 + p.grad.abs().max())
        for term, same in zip(eager.terms, graph.terms, strict=True):
            assert torch.allclose(term.squares, same.squares, rtol=1e-12, atol=1e-12)
        if step == 0:
            for run in (eager, graph):
                run._resample()
        else:
            for run in (eager, graph):
                with torch.no_grad():
                    for p in run.objective.parameters:
                        p.add_(0.01)


def test_the_step_is_one_graph_that_equals_the_eager_step(monkeypatch):
    """With an unknown parameter and at new points; traced and lowered, not compiled to C++."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    assert_equal_steps(*pair(heat()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem, activation",
    [
        (heat(), "tanh"),
        (problems.burgers(), "tanh"),
        (problems.kuramoto_sivashinsky(), "sin"),
        (problems.lid_driven_cavity(), "tanh"),
        (problems.poisson(dim=5), "swish"),
    ],
)
def test_compiled_equals_eager(problem, activation):
    assert_equal_steps(*pair(problem, "soft", activation=activation))


@pytest.mark.gpu
@pytest.mark.parametrize("problem", [heat(), problems.burgers(), problems.lid_driven_cavity()])
def test_a_cuda_graph_equals_the_eager_step(problem):
    assert_equal_steps(*pair(problem, "soft", device="cuda"))


@pytest.mark.gpu
def test_a_cuda_graph_is_captured_anew_for_new_weights():
    eager, graph = pair(heat(), "soft", device="cuda")
    assert_equal_steps(eager, graph)
    for run in (eager, graph):
        run.terms[1].weight = 3.0
    assert_equal_steps(eager, graph)


def test_what_changes_at_every_step_is_not_compiled():
    with pytest.raises(InvalidOption, match="sampled="):
        pinn.solve(problems.poisson(dim=3), compiled=True, sampled=2, max_iterations=2)
