"""Loss landscapes: Hessians against dense ones, and how they grow with the speed of convection."""

import math

import pytest
import torch

import pdeml
from pdeml import engine, problems
from pdeml.diagnostics import landscape
from pdeml.diagnostics.landscape import (
    differentiable_loss,
    extreme_eigenpairs,
    hessian_product,
    hutchinson,
)
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.nn.networks import MLP, CoordinateEmbedding
from pdeml.operators.pde import Initial
from pdeml.solvers import lpinn
from pdeml.solvers.lpinn import solver, windows
from pdeml.solvers.lpinn.system import LabelSystem
from pdeml.solvers.objective import Objective, Term, Trial
from pdeml.solvers.requirements import condition_requirements, equation_requirement


def eulerian(speed, seed=0):
    """The loss of a PINN for convection, 400 + 64 points, with fixed random weights."""
    problem = problems.convection(speed=speed)
    network = MLP(3, 1, depth=2, width=10, generator=engine.generator(seed))
    trial = Trial(network, CoordinateEmbedding([0, 0], [2 * math.pi, 1], periodic=[0]))
    initial = [c for c in problem.conditions if isinstance(c, Initial)]
    points = engine.generator(seed + 100)
    terms = [
        Term(r.name, r.residual, trial, *r.draw(r.count, points, "uniform"))
        for r in (
            equation_requirement(problem, 400),
            *condition_requirements(problem, initial, 64, 1.0),
        )
    ]
    return Objective(trial, terms)


def lagrangian(speed, mean_shift=True):
    """The loss of an LPINN with fixed random weights, which move labels and fields."""
    form = lpinn.convective_form(problems.convection_diffusion(speed=speed))
    state, labelled, drift = windows.entry_state(form, [], 0.0, mean_shift, None)
    entry = {"drift": drift, "labelled": labelled, "start": 0.0, "end": 1.0}
    network = {"depth": 2, "width": 8, "activation": "tanh", "harmonics": 1}
    window = windows.make_window(form, entry, network, state, engine.generator(0))
    generator = engine.generator(5)
    for branch in window.trial.network.networks:
        torch.nn.init.normal_(branch.linears[-1].weight, std=0.3, generator=generator)
    requirement = solver._requirement(LabelSystem(form, "exact", drift, 0.0), window, 300)
    points, _ = requirement.draw(300, engine.generator(6), "uniform")
    return Objective(window.trial, [Term("loss", requirement.residual, window.trial, points)])


def largest(objective):
    loss, theta = differentiable_loss(objective)
    values, _ = extreme_eigenpairs(hessian_product(loss, theta), theta, engine.generator(0))
    return float(values[0])


def test_lanczos_and_hutchinson_agree_with_the_dense_hessian():
    objective = eulerian(5)
    loss, theta = differentiable_loss(objective)
    assert float(loss(theta)) == pytest.approx(float(objective.loss_and_gradient()), rel=1e-12)
    product = hessian_product(loss, theta)
    dense = torch.stack([product(unit) for unit in torch.eye(len(theta), dtype=theta.dtype)])
    torch.testing.assert_close(dense, dense.T, rtol=1e-9, atol=1e-9)
    # the gradient that training takes, differentiated by central differences
    step = 1e-6
    direction = torch.randn(len(theta), generator=engine.generator(3), dtype=torch.float64)
    gradients = []
    for sign in (1, -1):
        with torch.no_grad():
            torch.nn.utils.vector_to_parameters(
                theta + sign * step * direction, objective.trial.network.parameters()
            )
        objective.loss_and_gradient()
        gradients.append(torch.cat([p.grad.reshape(-1).clone() for p in objective.parameters]))
    difference = (gradients[0] - gradients[1]) / (2 * step)
    torch.testing.assert_close(dense @ direction, difference, rtol=1e-5, atol=1e-4)
    exact, vectors = torch.linalg.eigh(dense)
    found, basis = extreme_eigenpairs(product, theta, engine.generator(0))
    wanted = exact[[-1, -2, 0]]
    assert float(((found - wanted) / wanted).abs().max()) < 1e-3
    assert float(basis[0].dot(vectors[:, -1]).abs()) == pytest.approx(1, abs=1e-4)
    # of a diagonal matrix the estimate is exact: only signs have squares of one
    diagonal = torch.linspace(-1, 3, len(theta), dtype=theta.dtype)
    trace, error = hutchinson(lambda v: diagonal * v, theta, engine.generator(0), 3)
    assert trace == pytest.approx(float(diagonal.sum()), rel=1e-12) and error < 1e-10
    trace, error = hutchinson(product, theta, engine.generator(0), 400)
    assert abs(trace - float(dense.trace())) < 4 * error
    assert error < 0.2 * float(dense.diagonal().abs().sum())


def test_curvature_grows_with_the_square_of_the_speed_over_x_and_t_alone():
    ratio = largest(eulerian(50)) / largest(eulerian(5))
    assert 80 <= ratio <= 105
    still, slow, fast = (largest(lagrangian(c)) for c in (0, 5, 50))
    assert slow == pytest.approx(still, rel=1e-9) and fast == pytest.approx(still, rel=1e-9)
    # without the shift the speed is in the residual
    assert largest(lagrangian(50, mean_shift=False)) > 1.5 * still


def test_the_plane_holds_the_loss_and_its_curvature():
    objective = eulerian(5)
    found = landscape(objective, n=5, span=1e-3, samples=4)
    loss = float(objective.loss_and_gradient())
    assert float(found.loss[2, 2]) == pytest.approx(loss, rel=1e-12)
    bend = (found.loss[3, 2] - 2 * found.loss[2, 2] + found.loss[1, 2]) / (0.5e-3) ** 2
    assert float(bend) == pytest.approx(found.largest, rel=1e-2)
    across = (found.loss[2, 3] - 2 * found.loss[2, 2] + found.loss[2, 1]) / (0.5e-3) ** 2
    assert float(across) == pytest.approx(float(found.eigenvalues[1]), rel=1e-2)
    assert found.plot().axes[0].get_xlabel().startswith(r"$\alpha$")


def test_random_directions_have_the_norms_of_the_weights():
    objective = eulerian(5)
    found = landscape(objective, "random", n=3, samples=2)
    start = 0
    for parameter in objective.trial.network.parameters():
        part = found.directions[0, start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
        if parameter.dim() > 1:
            torch.testing.assert_close(part.norm(dim=1), parameter.detach().norm(dim=1))
    assert float(found.alpha[-1]) == 1.0


def test_solutions_of_networks_alone_have_a_landscape():
    problem = problems.convection(speed=3)
    for method in ("pinn", "lpinn"):
        solution = pdeml.solve(
            problem, method, max_iterations=5, depth=1, width=6, points=100, reference=None
        )
        found = landscape(solution, n=3, points=60, samples=2)
        assert bool(torch.isfinite(found.loss).all()) and found.largest > found.smallest
    with pytest.raises(UnsupportedProblem, match="has no loss"):
        landscape(pdeml.solve(problem, "exact"))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"directions": "gradient"}, "accepted are hessian, random"),
        ({"n": 1}, "n=1"),
        ({"span": -1}, "span=-1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InvalidOption, match=message):
        landscape(eulerian(1), **options)
