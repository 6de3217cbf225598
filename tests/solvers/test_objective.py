"""Loss, gradient and Jacobian of the collocation objective against plain nested autograd."""

import pytest
import sympy as sp
import torch
from torch import nn

from pdeml.nn.networks import MLP, CoordinateEmbedding, ModifiedMLP
from pdeml.operators.residual import Residual
from pdeml.solvers.objective import Objective, Term, Trial

x, t = sp.symbols("x t", real=True)
u, v = sp.Function("u")(x, t), sp.Function("v")(x, t)
nu, a, b = sp.symbols("nu a b")


class Base(nn.Module):
    def forward(self, points):
        x, t = points[..., 0:1], points[..., 1:2]
        return torch.cat([torch.sin(3 * x) * torch.exp(-t) + x, x * t + 1.0], -1)


class Factor(nn.Module):
    def forward(self, points):
        x, t = points[..., 0:1], points[..., 1:2]
        return torch.cat([t * (1 - x * x), t * t * x + 0.3 * t], -1)


class Untraceable(nn.Module):
    """Looks inside its argument, so jets cannot pass."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2, dtype=torch.float64)

    def forward(self, x):
        assert x.dim() == 2
        return torch.tanh(self.layer(x))


def network(kind):
    generator = torch.Generator().manual_seed(0)
    if kind == "untraceable":
        torch.manual_seed(0)
        return Untraceable()
    return {"mlp": MLP, "modified": ModifiedMLP}[kind](3, 2, width=7, depth=2, generator=generator)


@pytest.mark.parametrize(
    "kind, engine",
    [
        ("mlp", "hand-written"),
        ("modified", "jets with autograd"),
        ("untraceable", "nested autograd"),
    ],
)
@pytest.mark.parametrize("constrained", [True, False])
def test_loss_gradient_and_jacobian(kind, engine, constrained):
    lifts = (Base(), Factor()) if constrained else (None, None)
    trial = Trial(network(kind), CoordinateEmbedding([-1, 0], [1, 2], periodic=[0]), *lifts)
    residual = Residual(
        [
            u.diff(t) + a * u * u.diff(x) - sp.exp(x) * nu * u.diff(x, 2) + sp.sin(v),
            v.diff(t) + v.diff(x, 3) + u * v - b * v.diff(x, 2),
        ],
        [u, v],
        [x, t],
        values={nu: 0.3},
        unknowns=[a, b],
    )
    points = torch.rand((300, 2), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    unknowns = [nn.Parameter(torch.tensor(c, dtype=torch.float64)) for c in (0.3, -0.7)]
    term = Term("equation", residual, trial, points, weight=0.7)
    assert engine in term.engine
    objective = Objective(trial, [term], unknowns, [False, True])
    loss = objective.loss_and_gradient()
    gradient = torch.cat([p.grad.flatten().clone() for p in objective.parameters])

    at = points.clone().requires_grad_(True)
    values = trial(at)

    def d(y, i):
        return torch.autograd.grad(y.sum(), at, create_graph=True)[0][:, i]

    U, V, A, B = values[:, 0], values[:, 1], unknowns[0], torch.exp(unknowns[1])
    r1 = d(U, 1) + A * U * d(U, 0) - torch.exp(at[:, 0]) * 0.3 * d(d(U, 0), 0) + torch.sin(V)
    r2 = d(V, 1) + d(d(d(V, 0), 0), 0) + U * V - B * d(d(V, 0), 0)
    expected = 0.7 * (r1.square().mean() + r2.square().mean())
    flat = torch.cat([g.flatten() for g in torch.autograd.grad(expected, objective.parameters)])
    assert abs(loss - expected) <= 1e-12 * expected
    assert (gradient - flat).abs().max() <= 1e-11 * flat.abs().max()
    losses = objective.term_losses()
    assert losses["equation[0]"] == pytest.approx(float(r1.detach().square().mean()), rel=1e-12)

    stacked, jacobian = objective.residual_and_jacobian(True)
    assert stacked.dot(stacked) == pytest.approx(float(expected.detach()), rel=1e-12)
    assert (2 * jacobian.T @ stacked - flat).abs().max() <= 1e-11 * flat.abs().max()
    both = torch.stack([r1, r2], -1).reshape(-1) * (0.7 / 300) ** 0.5
    assert (stacked - both).abs().max() <= 1e-12 * both.abs().max()


def test_binding_to_other_points_equals_a_new_term():
    trial = Trial(
        network("mlp"), CoordinateEmbedding([-1, 0], [1, 2], periodic=[0]), Base(), Factor()
    )
    residual = Residual([x * u.diff(x, 2) + u.diff(t), v - u], [u, v], [x, t])
    first, second = torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(2)).double()
    term = Term("equation", residual, trial, first)
    term.bind(second)
    assert torch.equal(term.residuals(), Term("equation", residual, trial, second).residuals())


def test_chunked_and_whole_evaluation_agree(monkeypatch):
    trial = Trial(
        network("mlp"), CoordinateEmbedding([-1, 0], [1, 2], periodic=[0]), Base(), Factor()
    )
    residual = Residual([x * u.diff(x, 2) + u * u.diff(t), v.diff(x) - u], [u, v], [x, t])
    points = torch.rand((1000, 2), generator=torch.Generator().manual_seed(2)).double()
    losses = []
    for size in (None, 130):
        monkeypatch.setattr("pdeml.solvers.objective.chunk_size", lambda *_, size=size: size)
        objective = Objective(trial, [Term("equation", residual, trial, points)])
        losses.append(
            (
                float(objective.loss_and_gradient()),
                torch.cat([p.grad.flatten().clone() for p in objective.parameters]),
            )
        )
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-13)
    assert (losses[0][1] - losses[1][1]).abs().max() <= 1e-12 * losses[0][1].abs().max()
