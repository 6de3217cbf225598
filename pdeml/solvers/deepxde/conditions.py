"""Conditions of a declaration as DeepXDE's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
import torch
from torch import Tensor

from pdeml.domains import Box, SpaceTime
from pdeml.operators.expressions import Program, evaluate
from pdeml.operators.pde import PDE, Dirichlet, Flux, Initial, Neumann, Periodic, Robin
from pdeml.operators.residual import Residual
from pdeml.solvers.deepxde.derivatives import Operator
from pdeml.solvers.deepxde.geometry import ON_BOUNDARY, on_boundary

if TYPE_CHECKING:
    from pdeml.solvers.deepxde.lowering import Bridge

Filter = Callable[[np.ndarray, np.ndarray], np.ndarray]


def condition_of(
    dde: Any, geometry: Any, bridge: Bridge, condition: Any, residual: Residual
) -> Any:
    """The condition in DeepXDE: its own kind where there is one, else OperatorBC."""
    problem = bridge.problem
    component = problem.fields.index(condition.field)
    uncertain = any(e.free_symbols & {*problem.unknowns} for e in condition.expressions)
    here = _filter(problem, condition)
    value = _values(problem, condition.value)
    known = None if uncertain else _own_kind(dde, condition)
    if known is None:
        operator = Operator(dde, residual)
        spatial = isinstance(condition, Initial)

        def function(inputs: Tensor, outputs: Tensor, points: np.ndarray) -> Tensor:
            extras = [] if spatial else _normals(problem, points, inputs)
            return operator(inputs, outputs, bridge.unknown_values(), extras)[0]

        made = dde.icbc.OperatorBC(geometry, function, _anywhere)
    elif isinstance(condition, Robin):
        factor = _values(problem, condition.a)

        def slope(points: np.ndarray, outputs: Tensor) -> Tensor:
            column = outputs[:, component : component + 1]
            a, target = (torch.as_tensor(f(points)).to(column) for f in (factor, value))
            return target - a * column

        made = known(geometry, slope, _anywhere, component=component)
    else:
        made = known(geometry, value, _anywhere, component=component)
    # one call for all points, exact to rounding: DeepXDE would ask point by point, within 1e-5
    setattr(made, "on_initial" if known is dde.icbc.IC else "on_boundary", here)
    return made


def _own_kind(dde: Any, condition: Any) -> Any:
    match condition:
        case Initial(order=0):
            return dde.icbc.IC
        case Dirichlet():
            return dde.icbc.DirichletBC
        case Flux():
            return None
        case Neumann():
            return dde.icbc.NeumannBC
        case Robin() if condition.b == 1:
            return dde.icbc.RobinBC
    return None


def periodic_conditions(
    dde: Any, geometry: Any, problem: PDE, condition: Periodic
) -> list[tuple[int, Any]]:
    """PeriodicBC of the value, and of the first derivative where the equations have a second."""
    space = problem.domain.space if isinstance(problem.domain, SpaceTime) else problem.domain
    assert isinstance(space, Box)
    axis = space.coordinates.index(condition.axis)
    low = space.lower[axis]
    reach = ON_BOUNDARY * space.lengths[axis]
    found = []
    for order in range(min(problem.order(condition.field), 2)):
        made = dde.icbc.PeriodicBC(
            geometry,
            axis,
            _anywhere,
            derivative_order=order,
            component=problem.fields.index(condition.field),
        )
        made.on_boundary = lambda x, on: np.abs(x[:, axis] - low) <= reach
        found.append((order, made))
    return found


def data_conditions(dde: Any, points: Tensor, values: Sequence[Tensor]) -> list[Any]:
    """PointSetBC, one per field."""
    return [
        dde.icbc.PointSetBC(points.cpu().numpy(), column[:, None].cpu().numpy(), component=k)
        for k, column in enumerate(values)
    ]


def _anywhere(x: np.ndarray, on: bool) -> bool:
    return on


def _values(problem: PDE, expression: sp.Expr) -> Callable[[np.ndarray], np.ndarray]:
    def values(points: np.ndarray) -> np.ndarray:
        where = torch.as_tensor(points, device="cpu")
        return evaluate([expression], problem.coordinates, where, problem.values).numpy()

    return values


def _normals(problem: PDE, points: np.ndarray, like: Tensor) -> list[Tensor]:
    where = torch.as_tensor(points, dtype=torch.float64, device="cpu")
    return [n[:, None].to(like) for n in problem.domain.normals(where).unbind(-1)]


def _filter(problem: PDE, condition: Any) -> Filter:
    """Which of all points belong to a condition."""
    domain = problem.domain
    if isinstance(condition, Initial):
        assert isinstance(domain, SpaceTime)
        start, reach = domain.time.start, ON_BOUNDARY * domain.time.duration
        return lambda x, on: np.abs(x[:, -1] - start) <= reach
    part = relation = None
    if isinstance(condition.on, str):
        part = domain.part_index(condition.on)
    elif condition.on is not None:
        relation = Program([condition.on], [*problem.coordinates, *problem.values])

    def here(x: np.ndarray, on: np.ndarray) -> np.ndarray:
        chosen = on_boundary(domain, x)
        points = torch.as_tensor(x, dtype=torch.float64, device="cpu")
        if part is not None:
            chosen &= (domain.part_of(points) == part).numpy()
        if relation is not None:
            (holds,) = relation(*points.unbind(-1), *problem.values.values())
            chosen &= holds.numpy()
        return chosen

    return here
