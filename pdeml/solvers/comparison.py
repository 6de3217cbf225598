"""Norms of the difference of two solutions of the same fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeml import engine
from pdeml.errors import InvalidOption
from pdeml.operators.posedness import free_constants
from pdeml.solvers.grids import grid_axes, grid_points, is_box, trapezoid

if TYPE_CHECKING:
    from pdeml.solvers.solution import Solution

GRID = {1: 1025, 2: 257, 3: 65}  # points per axis of the common grid, by number of coordinates
SAMPLE = 2**16  # scrambled Sobol points where there is no grid


def difference(
    solution: Solution, other: Solution, resolution: int | Sequence[int] | None = None
) -> dict[str, float]:
    """Relative L2 and maximum difference; see `pdeml.solvers.solution.Solution.error`."""
    problem = solution.problem
    if [str(f) for f in other.problem.fields] != [str(f) for f in problem.fields]:
        raise InvalidOption(
            f"Cannot compare fields {problem.fields} with {other.problem.fields}; both "
            "solutions need the same fields over the same coordinates."
        )
    domain = problem.domain
    if domain.bounds != other.problem.domain.bounds:
        raise InvalidOption(
            f"Cannot compare over {domain} with a solution over {other.problem.domain}: outside "
            "its domain a solution means nothing."
        )
    instants = 1
    if is_box(domain) and domain.dim in GRID:
        axes = grid_axes(domain, resolution, GRID)
        points = grid_points(axes)
        weights = grid_points([trapezoid(axis) for axis in axes]).prod(dim=1)
        if problem.time is not None:
            instants = len(axes[-1])
    elif resolution is not None:
        raise InvalidOption(
            "resolution= is accepted for boxes of at most three coordinates; this domain is "
            f"compared on {SAMPLE} Sobol points."
        )
    else:
        points = domain.sample(SAMPLE, engine.generator(0), method="sobol")
        weights = torch.full((SAMPLE,), 1.0 / SAMPLE, dtype=torch.float64)
    ours, theirs = solution.values_at(points), other.values_at(points)
    free = free_constants(problem)
    for column, field in enumerate(problem.fields):
        if field in free:
            for values in (ours, theirs):
                values[:, column] -= _means(values[:, column], weights, instants)
    return _norms(ours - theirs, theirs, weights, [f.func.__name__ for f in problem.fields])


def _means(values: Tensor, weights: Tensor, instants: int) -> Tensor:
    """The mean over space at the instant of each point, (N,); time is the fastest axis."""
    w, v = weights.reshape(-1, instants), values.reshape(-1, instants)
    return ((w * v).sum(0) / w.sum(0)).expand_as(v).reshape(-1)


def _norms(defect: Tensor, theirs: Tensor, weights: Tensor, names: list[Any]) -> dict[str, float]:
    defect = defect.abs()
    squares = (weights[:, None] * defect**2).sum(0)
    norms = (weights[:, None] * theirs.abs() ** 2).sum(0)
    result = {
        "l2_relative": _ratio(squares.sum().item(), norms.sum().item()),
        "linf": defect.max().item(),
    }
    if len(names) > 1:
        for i, name in enumerate(names):
            result[f"l2_relative[{name}]"] = _ratio(squares[i].item(), norms[i].item())
            result[f"linf[{name}]"] = defect[:, i].max().item()
    return result


def _ratio(square: float, norm: float) -> float:
    if norm == 0:
        return 0.0 if square == 0 else math.inf
    return math.sqrt(square / norm)
