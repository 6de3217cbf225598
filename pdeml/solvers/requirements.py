"""Loss terms from a declaration: which residual is to vanish, and where it is sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from pdeml.domains import SpaceTime
from pdeml.errors import InvalidDataset, InvalidOption
from pdeml.operators.expressions import Program
from pdeml.operators.pde import PDE, Dirichlet, Flux, Initial, Neumann, Robin
from pdeml.operators.posedness import free_constants
from pdeml.operators.residual import Residual
from pdeml.solvers.level import pinned_point

Draw = Callable[[int, torch.Generator, str], tuple[Tensor, list[Tensor]]]


@dataclass
class Requirement:
    """A residual and where to sample it: the recipe for a `Term`.

    Attributes
    ----------
    name : as shown in losses.
    residual : what vanishes.
    draw : (count, generator, sampling method) -> points and extra values.
    count : points to train on.
    weight : in the loss.
    adaptive : whether points are drawn by residual (RAD).
    fixed : data; drawn once and never again.
    gauge : fixes a constant that the declaration leaves open; no condition to be judged by.
    problem : whose equations these are.
    """

    name: str
    residual: Residual
    draw: Draw
    count: int
    weight: float
    adaptive: bool = False
    fixed: bool = False
    gauge: bool = False
    problem: PDE | None = None


def equation_requirement(problem: PDE, count: int, weight: float = 1.0) -> Requirement:
    """The equations of a problem inside its domain."""
    residual = Residual(
        problem.residuals,
        problem.fields,
        problem.coordinates,
        values=known_values(problem),
        unknowns=problem.unknowns,
    )

    def draw(n: int, generator: torch.Generator, method: str) -> tuple[Tensor, list[Tensor]]:
        return problem.domain.sample(n, generator, method), []

    return Requirement("equation", residual, draw, count, weight, adaptive=True, problem=problem)


def gauge_requirements(problem: PDE, count: int) -> list[Requirement]:
    """Constants that the declaration leaves open are pinned to 0 at one point, at all times."""
    free = free_constants(problem)
    if not free:
        return []
    at, steady = pinned_point(problem), problem.time is None

    def draw(n: int, generator: torch.Generator, method: str) -> tuple[Tensor, list[Tensor]]:
        if steady:
            return at, []
        points = problem.domain.sample(n, generator, method)
        points[:, :-1] = at
        return points, []

    residual = Residual(free, problem.fields, problem.coordinates, unknowns=problem.unknowns)
    name = f"constant of {', '.join(f.func.__name__ for f in free)}"
    count = 1 if steady else count
    return [Requirement(name, residual, draw, count, 1.0, fixed=steady, gauge=True)]


def known_values(problem: PDE) -> dict[Any, float]:
    """Parameters that are not to be identified, with their values."""
    return {p: v for p, v in problem.values.items() if p not in problem.unknowns}


def condition_requirements(
    problem: PDE, conditions: Sequence[Any], count: int, weight: float
) -> list[Requirement]:
    """Conditions as loss terms: one requirement each, sampled where the condition holds."""
    space = problem.domain.space if isinstance(problem.domain, SpaceTime) else problem.domain
    normals = [sp.Dummy(f"n_{c}") for c in space.coordinates]
    found = []
    for condition in conditions:
        unknown = condition.field
        name = f"{type(condition).__name__.lower()} {unknown.func.__name__}"
        slope = sum(
            (n * unknown.diff(c) for n, c in zip(normals, space.coordinates, strict=True)),
            sp.Integer(0),
        )
        match condition:
            case Initial(order=0):
                expression = unknown - condition.value
            case Initial():
                expression, name = (
                    unknown.diff(problem.time) - condition.value,
                    f"velocity {unknown.func}",
                )
            case Dirichlet():
                expression = unknown - condition.value
            case Flux():
                form = problem.weak_form()
                flux = form.equations[form.fields.index(unknown)].flux
                outflow = (f * n for f, n in zip(flux, normals, strict=True))
                expression = sp.Add(*outflow) - condition.value
            case Neumann():
                expression = slope - condition.value
            case Robin():
                expression = condition.a * unknown + condition.b * slope - condition.value
            case _:
                raise TypeError(f"{condition} is not a condition")
        if isinstance(getattr(condition, "on", None), str):
            name = f"{name} on {condition.on}"
        residual = Residual(
            [expression],
            problem.fields,
            problem.coordinates,
            values=known_values(problem),
            unknowns=problem.unknowns,
            extras=normals if not isinstance(condition, Initial) else (),
        )
        draw = (
            draw_initial(problem)
            if isinstance(condition, Initial)
            else _draw_on(problem, condition)
        )
        found.append(Requirement(name, residual, draw, count, weight))
    return found


def draw_initial(problem: PDE) -> Draw:
    """Points at the initial time."""
    domain = problem.domain
    assert isinstance(domain, SpaceTime)

    def draw(n: int, generator: torch.Generator, method: str) -> tuple[Tensor, list[Tensor]]:
        return domain.sample_initial(n, generator, method), []

    return draw


def _draw_on(problem: PDE, condition: Any) -> Draw:
    """Boundary points of a named part, or of the part that a relation selects."""
    part = condition.on if isinstance(condition.on, str) else None
    relation = None
    if condition.on is not None and part is None:
        relation = Program([condition.on], [*problem.coordinates, *problem.values])

    def draw(n: int, generator: torch.Generator, method: str) -> tuple[Tensor, list[Tensor]]:
        points, normals = [], []
        missing = n
        for _ in range(50):
            sample = problem.domain.sample_boundary(max(missing, 64), generator, part, method)
            keep = torch.ones(len(sample.points), dtype=torch.bool)
            if relation is not None:
                (keep,) = relation(*sample.points.unbind(-1), *problem.values.values())
            points.append(sample.points[keep][:missing])
            normals.append(sample.normals[keep][:missing])
            missing = n - sum(map(len, points))
            if missing <= 0:
                return torch.cat(points), list(torch.cat(normals).unbind(-1))
        raise InvalidOption(
            f"on={condition.on} of {condition} selects less than 1 % of the boundary; name a part "
            f"({', '.join(problem.domain.parts)}) or give a relation that holds on one."
        )

    return draw


def data_requirement(problem: PDE, data: tuple[Any, Any], weight: float) -> Requirement:
    """Measurements: (points (n, d), values (n, fields)) to be met in mean square.

    Values of fields without an equation may be left out.

    Raises
    ------
    InvalidDataset
        For shapes that do not fit, NaN or infinity, points outside the domain.
    """
    try:
        points, values = (torch.as_tensor(part).to(torch.float64) for part in data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidDataset(
            f"data={data!r:.80} are no pair of arrays; give (points (n, d), values (n, fields))."
        ) from error
    if values.dim() == 1:
        values = values[:, None]
    measured = problem.fields
    if values.shape[-1] < len(measured):
        measured = tuple(f for f in measured if f not in problem.unknown_fields)
    d, m = len(problem.coordinates), len(measured)
    if points.dim() != 2 or points.shape[1] != d or values.shape != (len(points), m):
        raise InvalidDataset(
            f"data are points of shape {tuple(points.shape)} with values of shape "
            f"{tuple(values.shape)}; expected (n, {d}) in the order "
            f"({', '.join(map(str, problem.coordinates))}) and (n, {m})."
        )
    for what, tensor in (("points", points), ("values", values)):
        bad = ~torch.isfinite(tensor)
        if bad.any():
            row = int(bad.any(-1).nonzero()[0, 0])
            raise InvalidDataset(
                f"data {what} hold {int(bad.sum())} NaN or infinite entries, the first in row "
                f"{row}; remove these rows."
            )
    lower, upper = (torch.tensor(b, dtype=torch.float64) for b in problem.domain.bounds)
    margin = 1e-9 * (upper - lower)
    outside = ((points < lower - margin) | (points > upper + margin)).any(-1)
    if outside.any():
        raise InvalidDataset(
            f"{int(outside.sum())} data points lie outside the domain {problem.domain}; "
            f"the first is {points[outside][0].tolist()}."
        )
    return Requirement(
        "data",
        _given_values(problem, measured),
        lambda n, g, method: (points, list(values.unbind(-1))),
        len(points),
        weight,
        fixed=True,
    )


def initial_data_requirement(
    problem: PDE, initial: Callable[[Tensor], Tensor], count: int, weight: float
) -> Requirement:
    """A function as initial value: (n, d) points of the initial time -> (n, fields)."""
    start = draw_initial(problem)

    def draw(n: int, generator: torch.Generator, method: str) -> tuple[Tensor, list[Tensor]]:
        points, _ = start(n, generator, method)
        values = torch.as_tensor(initial(points))
        if values.shape not in ((n,), (n, len(problem.fields))):
            raise InvalidOption(
                f"initial= returned shape {tuple(values.shape)} for {n} points; return "
                f"({n}, {len(problem.fields)}), a column per field."
            )
        return points, list(values.reshape(n, -1).unbind(-1))

    return Requirement("initial", _given_values(problem, problem.fields), draw, count, weight)


def _given_values(problem: PDE, fields: Sequence[Any]) -> Residual:
    """Each of these fields minus a value given per point."""
    targets = [sp.Dummy(f"given_{f.func}") for f in fields]
    return Residual(
        [f - d for f, d in zip(fields, targets, strict=True)],
        problem.fields,
        problem.coordinates,
        unknowns=problem.unknowns,
        extras=targets,
    )
