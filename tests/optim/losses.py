"""Losses with known minima and closures over them, shared by the tests of the optimizers."""

from collections.abc import Callable

import torch
from torch import Tensor


def rosenbrock(x: Tensor) -> Tensor:
    """Minimum 0 at x = 1, a bent narrow valley on the way."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def closure_of(f: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    def closure():
        x.grad = None
        loss = f(x)
        loss.backward()
        return loss

    return closure


def minimise(optimizer, closure, iterations: int) -> float:
    """Loss after so many iterations, or earlier where the optimizer is stalled."""
    loss = torch.inf
    for _ in range(iterations):
        loss = optimizer.step(closure).item()
        if optimizer.stalled:
            break
    return loss


def ill_conditioned(rows: int, columns: int, condition: float, seed: int) -> tuple[Tensor, Tensor]:
    """A (rows, columns) with the given condition number, and b = A 1."""
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    left = torch.linalg.qr(torch.randn(rows, columns, **draw)).Q
    right = torch.linalg.qr(torch.randn(columns, columns, **draw)).Q
    values = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), columns)
    A = left * values.double() @ right.T
    return A, A.sum(1)


def regression(seed: int = 0, points: int = 64) -> tuple[torch.nn.Module, Tensor, Tensor]:
    """A 1-8-8-1 tanh network in float64 with inputs and targets sin(πx) e^x."""
    generator = torch.Generator().manual_seed(seed)
    linear = [torch.nn.Linear(a, b, dtype=torch.float64) for a, b in ((1, 8), (8, 8), (8, 1))]
    for layer in linear:
        torch.nn.init.xavier_normal_(layer.weight, generator=generator)
        torch.nn.init.zeros_(layer.bias)
    tanh = torch.nn.Tanh()
    network = torch.nn.Sequential(linear[0], tanh, linear[1], tanh, linear[2])
    x = torch.linspace(-1, 1, points, dtype=torch.float64)[:, None]
    return network, x, torch.sin(torch.pi * x) * torch.exp(x)


def mean_square(network: torch.nn.Module, x: Tensor, target: Tensor) -> Callable[[], Tensor]:
    def closure():
        network.zero_grad()
        loss = (network(x) - target).square().mean()
        loss.backward()
        return loss

    return closure
