"""The constant that a declaration leaves open: pressures and potentials are given mean zero.

    p(x, t)  →  p(x, t) − 1/|Ω| ∫_Ω p(y, t) dy

A loss does not see the constant. A term pins it at one point while a network is trained, so that
the weights are determined; afterwards the mean is taken out, as finite elements and spectral
methods do.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.domains import Box, SpaceTime
from pdeml.operators.pde import PDE
from pdeml.operators.posedness import free_constants
from pdeml.solvers.objective import Trial

TIMES = 33
"""Chebyshev points in time at which means are taken."""

NODES = {1: 64, 2: 32, 3: 16}
"""Gauss points per axis of a box."""

SAMPLE = 2**14
"""Sobol points in space elsewhere."""


class Level(nn.Module):
    """A function of time for every field, Σ_k c_k T_k(τ), −1 ≤ τ ≤ 1; zero until it is set.

    Parameters
    ----------
    problem : the declaration; fields that it determines keep the value zero.
    """

    def __init__(self, problem: PDE):
        super().__init__()
        free = free_constants(problem)
        self.columns = [k for k, f in enumerate(problem.fields) if f in free]
        steady = problem.time is None
        lower, upper = problem.domain.bounds
        self.start, self.end = (0.0, 0.0) if steady else (lower[-1], upper[-1])
        self.coefficients: Tensor
        shape = (1 if steady else TIMES, len(problem.fields))
        self.register_buffer("coefficients", torch.zeros(shape, dtype=torch.float64))

    def forward(self, x):
        one = x[..., -1:] * 0.0 + 1.0
        polynomials = [one]
        if len(self.coefficients) > 1:
            tau = (x[..., -1:] - 0.5 * (self.start + self.end)) * (2.0 / (self.end - self.start))
            polynomials.append(tau)
            while len(polynomials) < len(self.coefficients):
                polynomials.append(2.0 * tau * polynomials[-1] - polynomials[-2])
        return torch.cat(polynomials, -1) @ self.coefficients

    def set(self, field: nn.Module, problem: PDE) -> None:
        """Take the means out of `field`, of which this is a part."""
        self.coefficients.zero_()
        space, weights = _quadrature(problem)
        count = len(self.coefficients)
        angles = torch.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count
        times = 0.5 * (self.start + self.end) + 0.5 * (self.end - self.start) * torch.cos(angles)
        means = []
        for time in times.tolist():
            points = space
            if problem.time is not None:
                points = torch.cat([space, torch.full_like(space[:, :1], time)], -1)
            with torch.no_grad():
                values = field(points.to(self.coefficients))
            means.append(weights.to(values) @ values[:, self.columns])
        orders = torch.arange(count, dtype=torch.float64)
        transform = torch.cos(orders[:, None] * angles) * (2.0 / count)
        transform[0] *= 0.5
        found = torch.stack(means)
        self.coefficients[:, self.columns] = -transform.to(found) @ found


class Levelled(nn.Module):
    """A lift and a level: the g of u = g + B·N.

    Parameters
    ----------
    lift : of what is built in; None for nothing.
    """

    def __init__(self, lift: nn.Module | None, level: Level):
        super().__init__()
        self.lift, self.level = lift, level

    def forward(self, x):
        level = self.level(x)
        return level if self.lift is None else self.lift(x) + level


def take_means_out(trial: Trial, problem: PDE) -> None:
    """Set the level of a trained trial solution, where it has one."""
    if isinstance(trial.base, Levelled):
        trial.base.level.set(trial, problem)


def pinned_point(problem: PDE) -> Tensor:
    """Where constants that the declaration leaves open are pinned: a point of space, (1, d)."""
    return _space(problem).sample(1, engine.generator(0), "sobol")


def _space(problem: PDE) -> Any:
    return problem.domain.space if isinstance(problem.domain, SpaceTime) else problem.domain


def _quadrature(problem: PDE) -> tuple[Tensor, Tensor]:
    """Points (n, d) and weights (n,) of the mean over space."""
    space = _space(problem)
    if not (isinstance(space, Box) and space.dim in NODES):
        points = space.sample(SAMPLE, engine.generator(0), "sobol")
        return points, torch.full((SAMPLE,), 1.0 / SAMPLE, dtype=torch.float64)
    nodes, weights = (
        torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(NODES[space.dim])
    )
    axes = [0.5 * (a + b) + 0.5 * (b - a) * nodes for a, b in zip(*space.bounds, strict=True)]
    points = torch.cartesian_prod(*axes).reshape(-1, space.dim)
    products = torch.cartesian_prod(*([weights] * space.dim)).reshape(-1, space.dim)
    return points, products.prod(-1) / math.pow(2.0, space.dim)
