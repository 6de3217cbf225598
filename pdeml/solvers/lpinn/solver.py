"""Lagrangian PINN: two networks, for where a label goes and for what it carries.

    X(ξ, t) = ξ + c̄ (t − t0) + τ N_X(ξ, t),      W(ξ, t) = w0(ξ) + τ N_W(ξ, t),      τ ∈ [0, 1]

Initial values and periodicity hold exactly, and with the mean speed c̄ taken out, training does not
depend on it: convection that defeats a network over (x, t) is no difficulty here.

References
----------
Mojgani, Balajewicz, Hassanzadeh (2023), Comput. Methods Appl. Mech. Eng. 404, 115810.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.errors import DivergedError, InvalidOption, UnsupportedProblem
from pdeml.operators.convective import ConvectiveForm, convective_form
from pdeml.operators.pde import PDE
from pdeml.solvers.collocation import Training
from pdeml.solvers.constraints import time_of
from pdeml.solvers.fit import joined_history
from pdeml.solvers.lpinn.crossing import inviscid_crossing
from pdeml.solvers.lpinn.flow import FourierSeries, LabelWindow, LagrangianField
from pdeml.solvers.lpinn.jacobian import crossed, smallest_jacobian, watching
from pdeml.solvers.lpinn.report import WindowRun, joined_report, violations
from pdeml.solvers.lpinn.system import LabelSystem
from pdeml.solvers.lpinn.windows import declared, entry_state, make_window
from pdeml.solvers.objective import Objective, Term
from pdeml.solvers.requirements import Requirement
from pdeml.solvers.run import check_counts, with_initial
from pdeml.solvers.schedule import Schedule, adapted_schedule
from pdeml.solvers.solution import Solution

SCHEDULE = Schedule(adam_steps=0, cycle=300, sampling="uniform")
"""Self-scaled Broyden in cycles on fresh uniform labels, from the first iteration on."""


def can_solve(problem: PDE) -> str | None:
    """None, or why the problem has no convective form, or has it no longer at its end."""
    try:
        _checked_form(problem)
    except UnsupportedProblem as reason:
        return str(reason)
    return None


def _checked_form(problem: PDE) -> ConvectiveForm:
    form = convective_form(problem)
    crossing = inviscid_crossing(form)
    if crossing is not None:
        raise UnsupportedProblem(
            f'"lpinn" cannot solve {problem.name!r} up to t = {time_of(problem).end:g}: without '
            f"diffusion its characteristics cross at {crossing}. End earlier, or add a diffusion "
            "term."
        )
    return form


def solve(
    problem: PDE,
    *,
    closure: str = "exact",
    mean_shift: bool = True,
    windows: int = 1,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    depth: int = 3,
    width: int = 20,
    activation: str = "tanh",
    harmonics: int = 1,
    points: int = 2000,
    optimizer: str | None = None,
    adam_steps: int | None = None,
    cycle: int | None = None,
    sampling: str | None = None,
    patience: int | None = None,
    initial: Callable[[Tensor], Tensor] | sp.Expr | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Solution:
    """Solve a periodic convection–diffusion problem along its characteristics.

        w_t + f·∇w = g Δw + s   →   X_t = f(X, t, W),   W_t = g Δ_x W + s(X, t, W)

    Parameters
    ----------
    problem : the ordinary Eulerian declaration; see `convective_form` for what is accepted.
    closure : "exact" writes Δ_x by labels with the chain rule, W_ξξ/J² − W_ξ J_ξ/J³ in one
        dimension; "label" takes W_ξξ, to reproduce published figures (it solves another equation
        where J is not constant, and warns).
    mean_shift : take the mean velocity c̄ out of the network, which makes training invariant
        under a moving frame.
    windows : parts of the time interval that are trained one after another; at their ends labels
        are drawn anew where J < 0.02. For waves that steepen by more than a factor 50.
    seed : of weights and labels.
    device, dtype : float64 on the CPU by default; ``"ssbroyden"`` needs float64.
    time_limit : seconds of training, shared by the windows.
    max_iterations : per window, 10 000; no limit where a time limit is given.
    depth, width, activation, harmonics : of each of the two networks; inputs per periodic axis.
    points : pairs of label and time per cycle.
    optimizer, adam_steps, cycle, sampling, patience : see `pdeml.solvers.schedule.Schedule`.
    initial : replaces the declared initial value: an expression, or a function (N, d) -> (N,
        fields) of points at the initial time.
    checkpoint : state file, written every 30 s and at the end; `resume` continues from it (one
        window only).
    progress : show a bar.

    Returns
    -------
    Solution
        In the Eulerian frame, as every other; `pdeml.solvers.lpinn.characteristics` gives the
        curves. ``report.min_jacobian`` is the smallest J on a fine grid.

    Raises
    ------
    InvalidOption
        For options out of range.
    UnsupportedProblem
        For another form, an open boundary, or characteristics that cross (no diffusion).
    DivergedError
        J ≤ 0 after a cycle of training: the message names time and label of the crossing; or the
        loss became NaN or infinite.

    References
    ----------
    Mojgani, Balajewicz, Hassanzadeh (2023), Comput. Methods Appl. Mech. Eng. 404, 115810, eq. 7–14.
    """
    given = initial
    problem = with_initial(problem, initial)
    initial = initial if callable(initial) else None
    form = _checked_form(problem)
    check_counts(windows=windows, points=points, depth=depth, width=width, harmonics=harmonics)
    if windows > 1 and (checkpoint is not None or resume):
        raise InvalidOption(
            f"checkpoint= keeps the state of one window, but windows={windows}; drop one of them."
        )
    place, precision = engine.resolve_device(device), engine.resolve_dtype(dtype)
    schedule = adapted_schedule(
        SCHEDULE,
        optimizer=optimizer,
        time_limit=time_limit,
        max_iterations=max_iterations,
        adam_steps=adam_steps,
        cycle=cycle,
        sampling=sampling,
        patience=patience,
    )
    if precision != torch.float64 and schedule.optimizer in ("ssbroyden", "levenberg_marquardt"):
        raise InvalidOption(
            f"optimizer {schedule.optimizer!r} needs float64, dtype={precision} was given; drop "
            "dtype, or use optimizer='adam' or 'lbfgs'."
        )
    begin = time.perf_counter()
    whole = time_of(problem)
    network = {"depth": depth, "width": width, "activation": activation, "harmonics": harmonics}
    generator = engine.generator(seed)
    done: list[LabelWindow] = []
    runs: list[WindowRun] = []
    config: list[dict[str, Any]] = []
    for number in range(windows):
        start = whole.start + whole.duration * number / windows
        end = whole.start + whole.duration * (number + 1) / windows
        state, labelled, drift = entry_state(form, done, start, mean_shift, initial)
        system = LabelSystem(form, closure, drift, labelled)
        if not number:
            system.warn()
        entry = {
            "drift": list(drift),
            "labelled": labelled,
            "start": start,
            "end": end,
            "modes": state.cosine.shape[0] if isinstance(state, FourierSeries) else None,
        }
        window = make_window(form, entry, network, state, generator).to(place, precision)
        limit = None
        if time_limit is not None:
            limit = max(time_limit - (time.perf_counter() - begin), 1.0) / (windows - number)
        identity = json.dumps([problem.to_json(), network, entry, closure, seed, points])
        training = Training(
            window.trial,
            [_requirement(system, window, points)],
            schedule,
            generator=generator,
            device=place,
            dtype=precision,
            time_limit=limit,
            checkpoint=checkpoint,
            identity=hashlib.sha256(identity.encode()).hexdigest(),
            progress=progress,
            title=f"{problem.name} · lpinn" + (f" {number + 1}/{windows}" if windows > 1 else ""),
            adapt=watching(window),
        )
        if resume:
            training.resume()
        try:
            outcome = training.run()
        except DivergedError as error:
            error.add_note(f"problem {problem.name!r}, method 'lpinn', seed {seed}")
            raise
        done.append(window)
        config.append(entry)
        runs.append(
            WindowRun(training, outcome, system.judge(training.terms[0], training.fresh_terms[0]))
        )
        if outcome.interrupted:
            break
    field = LagrangianField(done)
    smallest, where = smallest_jacobian(field)
    if not smallest > 0.0:
        raise crossed(where, smallest)
    report = joined_report(runs, smallest, where, len(done) < windows)
    report.wall_time = time.perf_counter() - begin
    report.violations = violations(form, field, initial)
    return Solution(
        problem,
        "lpinn",
        field,
        config={"windows": config, "network": network, "dtype": str(precision).split(".")[-1]},
        report=report,
        history=joined_history([run.outcome for run in runs]),
        options={
            "closure": closure,
            "mean_shift": mean_shift,
            "windows": windows,
            "seed": seed,
            "time_limit": time_limit,
            "points": points,
            "max_iterations": schedule.max_iterations,
            "optimizer": schedule.optimizer,
            "initial": given,
        },
    )


def field_from_config(problem: PDE, config: Mapping[str, Any]) -> nn.Module:
    """The field with untrained weights, to load a saved state into."""
    form = convective_form(problem)
    windows = []
    for entry in config["windows"]:
        state = declared(form)
        if entry["modes"] is not None:
            lower = [float(b) for b in problem.domain.bounds[0][:-1]]
            columns = len(lower) + len(problem.fields)
            state = FourierSeries(lower, entry["modes"], columns)
        windows.append(make_window(form, entry, config["network"], state, engine.generator(0)))
    return LagrangianField(windows).to(engine.resolve_dtype(config["dtype"]))


def characteristics(solution: Solution, labels: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Characteristic curves and the fields along them.

    Parameters
    ----------
    solution : of the method "lpinn".
    labels : (n, d), positions at the initial time.
    times : (k,).

    Returns
    -------
    positions X(ξ, t), (k, n, d), not wrapped into the period; fields W(ξ, t), (k, n, m).

    Raises
    ------
    InvalidOption
        For a solution of another method.
    """
    if not isinstance(solution.field, LagrangianField):
        raise InvalidOption(
            f'characteristics= of a solution by {solution.method!r}; only "lpinn" has them.'
        )
    like = torch.empty((), device=solution.device, dtype=solution.dtype)
    return solution.field.characteristics(
        torch.as_tensor(labels).to(like), torch.as_tensor(times).to(like)
    )


def objective_of(solution: Solution, points: int = 2000, seed: int = 0) -> Objective:
    """The loss of the last window of a solution on fresh points, for instance for its landscape."""
    options = solution.options
    entry = solution.config["windows"][-1]
    assert isinstance(solution.field, LagrangianField)
    window = solution.field.windows[-1]
    system = LabelSystem(
        convective_form(solution.problem),
        options["closure"],
        tuple(entry["drift"]),
        entry["labelled"],
    )
    requirement = _requirement(system, window, points)
    drawn, _ = requirement.draw(points, engine.generator(seed), "uniform")
    drawn = drawn.to(device=solution.device, dtype=solution.dtype)
    return Objective(window.trial, [Term("equation", requirement.residual, window.trial, drawn)])


def _requirement(system: LabelSystem, window: LabelWindow, points: int) -> Requirement:
    problem = system.form.problem
    whole = time_of(problem)

    def draw(n: int, generator: torch.Generator, method: str) -> tuple[Tensor, list[Tensor]]:
        sample = problem.domain.sample(n, generator, method)
        share = (sample[:, -1:] - whole.start) / whole.duration
        at = window.start + share * (window.end - window.start)
        return torch.cat([sample[:, :-1], at], -1), []

    return Requirement("equation", system.loss(), draw, points, 1.0, adaptive=True)
