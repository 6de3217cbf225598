"""Trainings one after another: windows of time, and parameters that are changed in steps."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from pdeml.domains import SpaceTime, Time
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.pde import PDE
from pdeml.solvers.constraints import time_of
from pdeml.solvers.fit import Fit, joined_history, joined_report
from pdeml.solvers.objective import Trial
from pdeml.solvers.piecewise import Before, PiecewiseField
from pdeml.solvers.run import Run
from pdeml.solvers.solution import Solution

MakeRun = Callable[[PDE, Before | None, float | None], Run]
MakeTrial = Callable[[Run], Trial]


def window_problems(problem: PDE, count: int) -> list[PDE]:
    """The problem in `count` equal parts of its time; each still declares the first start.

    Raises
    ------
    UnsupportedProblem
        For steady problems, and those of second order in time.
    """
    orders = {f: problem.time_order(f) for f in problem.fields}
    if problem.time is None or max(orders.values()) != 1:
        raise UnsupportedProblem(
            f"windows= splits the time of problems of first order in time, but {problem.name!r} "
            f"is {'steady' if problem.time is None else f'of order {max(orders.values())}'}; "
            "leave it out, or write the problem as a system of first order."
        )
    whole = time_of(problem)
    assert isinstance(problem.domain, SpaceTime)
    bounds = [whole.start + whole.duration * k / count for k in range(count)] + [whole.end]
    return [
        PDE(
            problem.name,
            problem.declared,
            problem.domain.space * Time(problem.time, start, end),
            problem.conditions,
            problem.exact,
            fields=problem.fields,
        )
        for start, end in itertools.pairwise(bounds)
    ]


def solve_in_windows(
    problem: PDE,
    count: int,
    make_run: MakeRun,
    make_trial: MakeTrial,
    *,
    transfer: bool,
    time_limit: float | None,
    config: Mapping[str, Any],
    options: Mapping[str, Any],
    progress: bool,
) -> Solution:
    """Train window after window; the end of one is built into the next as its start.

    Parameters
    ----------
    make_run : (problem of the window, the window before, seconds) -> run.
    make_trial : its trial solution with new weights.
    transfer : start from the weights of the window before.
    """
    parts = window_problems(problem, count)
    begin = time.perf_counter()
    trials: list[Trial] = []
    fits: list[Fit] = []
    for number, part in enumerate(parts):
        before = Before(problem, trials[-1]) if trials else None
        run = make_run(part, before, _share(time_limit, begin, count - number))
        trial = make_trial(run)
        if transfer and trials:
            trial.network.load_state_dict(trials[-1].network.state_dict())
        fits.append(run.fit(trial, config, progress=progress))
        trials.append(trial)
        if fits[-1].outcome.interrupted:
            break
    report = joined_report(run.method, fits)
    if len(fits) < count:
        report.converged = False
        report.notes.append("not converged: later windows were not trained.")
    starts = [time_of(part).start for part in parts[1 : len(trials)]]
    solution = run.solution(
        problem,
        PiecewiseField(trials, starts),
        {**config, "windows": count, "trained": len(trials)},
        options,
        report,
        fits[-1],
    )
    solution.history = joined_history([fit.outcome for fit in fits])
    return solution


def solve_by_continuation(
    stages: Sequence[PDE],
    make_run: MakeRun,
    make_trial: MakeTrial,
    *,
    time_limit: float | None,
    config: Mapping[str, Any],
    options: Mapping[str, Any],
    progress: bool,
) -> Solution:
    """Train the same network for one problem after another; the last one is solved and judged."""
    begin = time.perf_counter()
    state: Mapping[str, Any] | None = None
    fits: list[Fit] = []
    for number, stage in enumerate(stages):
        run = make_run(stage, None, _share(time_limit, begin, len(stages) - number))
        trial = make_trial(run)
        if state is not None:
            trial.network.load_state_dict(state)
        fits.append(run.fit(trial, config, progress=progress))
        state = trial.network.state_dict()
        if fits[-1].outcome.interrupted:
            break
    report = joined_report(run.method, fits[-1:])
    report.iterations = sum(fit.outcome.iterations for fit in fits)
    report.wall_time = sum(fit.outcome.wall_time for fit in fits)
    if len(fits) < len(stages):
        report.notes.append("not converged: later values of the continuation were not reached.")
    solution = run.solution(stage, trial, config, options, report, fits[-1])
    solution.history = joined_history([fit.outcome for fit in fits])
    return solution


def continuation_stages(problem: PDE, given: Mapping[str, Sequence[float]]) -> list[PDE]:
    """The problem with the values of each stage.

    Raises
    ------
    InvalidOption
        For anything but a mapping from parameters to equally many values.
    """
    accepted = "give a mapping from parameters to their values, as {'Re': [100, 400]}"
    if not isinstance(given, Mapping) or not given:
        raise InvalidOption(f"continuation={given!r:.80}; {accepted}.")
    lengths = set()
    for values in given.values():
        if not isinstance(values, list | tuple) or not values:
            raise InvalidOption(f"continuation={given!r:.80}; {accepted}.")
        lengths.add(len(values))
    if len(lengths) > 1:
        raise InvalidOption(
            f"continuation= has {' and '.join(map(str, sorted(lengths)))} values; give every "
            "parameter as many as there are stages."
        )
    return [
        problem.with_parameters(dict(zip(given, values, strict=True)))
        for values in zip(*given.values(), strict=True)
    ]


def empty_windows(
    problem: PDE, config: Mapping[str, Any], rebuilt: Callable[[PDE, Before | None], Trial]
) -> nn.Module:
    """The field of a saved solution in windows, with untrained weights."""
    parts = window_problems(problem, config["windows"])[: config["trained"]]
    trials: list[Trial] = []
    for part in parts:
        trials.append(rebuilt(part, Before(problem, trials[-1]) if trials else None))
    return PiecewiseField(trials, [time_of(part).start for part in parts[1:]])


def _share(limit: float | None, begin: float, remaining: int) -> float | None:
    """Seconds of the next stage: an equal part of what is left."""
    if limit is None:
        return None
    return max(limit - (time.perf_counter() - begin), 1e-3) / remaining
