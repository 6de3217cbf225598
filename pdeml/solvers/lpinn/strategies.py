"""Ways to solve convection with networks, side by side on one problem.

pinn         one network over space and time
windows      sequence to sequence: a network per part of the time interval
curriculum   a network over space and time, warm from slower convection
lpinn        networks along characteristics
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdeml.domains import SpaceTime, Time
from pdeml.errors import InvalidOption
from pdeml.operators.convective import convective_form
from pdeml.operators.fields import Parameter
from pdeml.operators.pde import PDE
from pdeml.solvers import solve
from pdeml.solvers.constraints import time_of
from pdeml.solvers.lpinn.crossing import label_grid
from pdeml.solvers.solution import Solution

POINTS = {1: 256, 2: 48, 3: 16}
"""Points per space axis on which errors are measured."""

TIMES = 65


@dataclass(frozen=True)
class Attempt:
    """One strategy with one seed.

    Attributes
    ----------
    strategy, seed : what was run.
    error : relative L2 error against the reference, over space and time.
    converged : whether every part said so, before any comparison with a reference.
    wall_time, iterations, parameters : of all parts together.
    """

    strategy: str
    seed: int
    error: float
    converged: bool
    wall_time: float
    iterations: int
    parameters: int


@dataclass(frozen=True)
class Comparison:
    """Attempts of several strategies on one problem; printed as a table."""

    problem: str
    reference: str
    attempts: tuple[Attempt, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.problem}: relative L2 error against {self.reference}",
            f"{'strategy':<12}{'seed':>5}{'error':>11}{'converged':>11}{'iterations':>12}{'time':>9}",
        ]
        for attempt in self.attempts:
            verdict = "yes" if attempt.converged else "no"
            lines.append(
                f"{attempt.strategy:<12}{attempt.seed:>5}{attempt.error:>11.1e}{verdict:>11}"
                f"{attempt.iterations:>12}{attempt.wall_time:>7.1f} s"
            )
        return "\n".join(lines)


def compare_strategies(
    problem: PDE,
    strategies: Sequence[str] = ("pinn", "windows", "curriculum", "lpinn"),
    *,
    seeds: int = 3,
    time_limit: float | None = 60.0,
    max_iterations: int | None = None,
    windows: int = 5,
    stages: int = 5,
    parameter: str | None = None,
    reference: str | Solution = "auto",
) -> Comparison:
    """Solve a convection-dominated problem by several strategies with equal time.

    Parameters
    ----------
    problem : accepted by `convective_form`.
    strategies : among "pinn", "windows", "curriculum" and "lpinn".
    seeds : number of seeds, from 0 on.
    time_limit : seconds per strategy and seed, shared by windows or stages.
    max_iterations : per part.
    windows : parts of the time interval.
    stages, parameter : a curriculum raises this parameter to its value in equal steps; by default
        the parameter of the velocity.
    reference : "auto" (the closed form, else "spectral"), a method, or a `Solution`.

    Returns
    -------
    Comparison

    Raises
    ------
    InvalidOption, UnsupportedProblem
        For an unknown strategy, a curriculum without a parameter, or a problem of another form.

    References
    ----------
    Krishnapriyan et al. (2021), NeurIPS 34 (sequence to sequence, curriculum); Mojgani,
    Balajewicz, Hassanzadeh (2023), Comput. Methods Appl. Mech. Eng. 404, 115810.
    """
    form = convective_form(problem)
    for name in strategies:
        if name not in STRATEGIES:
            raise InvalidOption(f"strategy {name!r}; accepted are {', '.join(STRATEGIES)}.")
    if "curriculum" in strategies and parameter is None:
        held = {p for f in form.f for p in f.atoms(Parameter)}
        if len(held) != 1:
            raise InvalidOption(
                f"a curriculum raises one parameter, but the velocity of {problem.name!r} holds "
                f"{len(held)}; name one by parameter=."
            )
        parameter = held.pop().name
    points = _grid(problem)
    trusted = _reference(problem, reference)
    truth = trusted.values_at(points)
    run = {
        "time_limit": time_limit,
        "max_iterations": max_iterations,
        "parts": {"windows": windows, "curriculum": stages},
        "parameter": parameter,
    }
    attempts = []
    for name in strategies:
        for seed in range(seeds):
            begin = time.perf_counter()
            values, parts = STRATEGIES[name](problem, points, seed, run)
            attempts.append(
                Attempt(
                    name,
                    seed,
                    float((values - truth).norm() / truth.norm()),
                    all(bool(part.report.converged) for part in parts),
                    time.perf_counter() - begin,
                    sum(part.report.iterations for part in parts),
                    sum(part.report.parameters_count for part in parts),
                )
            )
    return Comparison(problem.name, trusted.method, tuple(attempts))


def _reference(problem: PDE, given: str | Solution) -> Solution:
    if isinstance(given, Solution):
        return given
    if given == "auto":
        given = "exact" if problem.exact is not None else "spectral"
    found = solve(problem, given, reference=None)
    assert isinstance(found, Solution)
    return found


def _grid(problem: PDE) -> Tensor:
    """Points in space and time, upper faces of the periodic box left out: (N, d + 1)."""
    lower, upper = problem.domain.bounds
    d = len(lower) - 1
    space = label_grid(lower[:-1], upper[:-1], POINTS.get(d, 8))
    times = torch.linspace(lower[-1], upper[-1], TIMES, dtype=torch.float64)
    return torch.cat([space.repeat(TIMES, 1), times.repeat_interleave(len(space))[:, None]], -1)


def _solve(problem: PDE, method: str, seed: int, run: dict, parts: int, **options: Any) -> Solution:
    limit = None if run["time_limit"] is None else run["time_limit"] / parts
    found = solve(
        problem,
        method,
        seed=seed,
        time_limit=limit,
        max_iterations=run["max_iterations"],
        reference=None,
        **options,
    )
    assert isinstance(found, Solution)
    return found


Found = tuple[Tensor, list[Solution]]


def _pinn(problem: PDE, points: Tensor, seed: int, run: dict) -> Found:
    solution = _solve(problem, "pinn", seed, run, 1)
    return solution.values_at(points), [solution]


def _lpinn(problem: PDE, points: Tensor, seed: int, run: dict) -> Found:
    solution = _solve(problem, "lpinn", seed, run, 1)
    return solution.values_at(points), [solution]


def _windows(problem: PDE, points: Tensor, seed: int, run: dict) -> Found:
    """Each window starts from the values that the one before ends with."""
    count, whole = run["parts"]["windows"], time_of(problem)
    assert isinstance(problem.domain, SpaceTime)
    ends = [whole.start + whole.duration * k / count for k in range(count + 1)]
    solutions: list[Solution] = []
    values = torch.empty(len(points), len(problem.fields), dtype=torch.float64)
    for number in range(count):
        part = PDE(
            problem.name,
            problem.declared,
            problem.domain.space * Time(problem.time, ends[number], ends[number + 1]),
            problem.conditions,
            fields=problem.fields,
        )
        options = {"initial": solutions[-1].values_at} if solutions else {}
        solutions.append(_solve(part, "pinn", seed, run, count, **options))
        chosen = (points[:, -1] >= ends[number]) & (points[:, -1] <= ends[number + 1])
        values[chosen] = solutions[-1].values_at(points[chosen])
    return values, solutions


def _curriculum(problem: PDE, points: Tensor, seed: int, run: dict) -> Found:
    """The network of each stage is the start of the next."""
    count = run["parts"]["curriculum"]
    parameter = problem.find_parameter(run["parameter"])
    assert parameter.value is not None
    network: dict[str, Any] = {}
    solution = None
    for stage in range(1, count + 1):
        part = problem.with_parameters({parameter: parameter.value * stage / count})
        solution = _solve(part, "pinn", seed, run, count, **network)
        network = {"network": solution.field.network}
    assert solution is not None
    return solution.values_at(points), [solution]


STRATEGIES: dict[str, Callable[[PDE, Tensor, int, dict], Found]] = {
    "pinn": _pinn,
    "windows": _windows,
    "curriculum": _curriculum,
    "lpinn": _lpinn,
}
