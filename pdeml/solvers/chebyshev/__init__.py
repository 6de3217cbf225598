"""Chebyshev collocation: problems on intervals and rectangles with walls, steady or in time.

Equations hold at the Chebyshev–Gauss–Lobatto points (equidistant points on a periodic axis),
conditions take the rows of the points on their sides. Steady problems are solved by Newton's
iteration, the others by Radau IIA collocation in time. Points and steps are refined until the
solution stops changing, and the report says by how much it still changes.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.errors import InvalidDataset, InvalidOption, UnsupportedProblem
from pdeml.operators.expressions import evaluate
from pdeml.solvers.chebyshev.axis import Axis
from pdeml.solvers.chebyshev.field import ChebyshevField, cut, kept_sizes
from pdeml.solvers.chebyshev.grid import Grid
from pdeml.solvers.chebyshev.lowering import Lowered, initial_expressions, lower
from pdeml.solvers.chebyshev.radau import StepFailure
from pdeml.solvers.chebyshev.refinement import MISFIT, STEPS, Refinement, Run, Start, shown
from pdeml.solvers.hermite import thinned
from pdeml.solvers.options import (
    checked_resolution,
    checked_step,
    checked_times,
    checked_tolerance,
)
from pdeml.solvers.report import Report
from pdeml.solvers.solution import Solution

TOLERANCE = 1e-10
GOAL = 1e-6  # of the difference to the coarser run, beyond which a solution is no reference
FIXED_GOAL = 1e-3  # the same where the resolution is given
TRIAL = 7  # points per axis on which constraints are tried
NEGLIGIBLE = 1e-16  # coefficients below this fraction of the largest are not stored


def can_solve(problem: Any) -> str | None:
    """Why "chebyshev" cannot lower the problem, or None where it can."""
    try:
        _lowered(problem)
    except UnsupportedProblem as reason:
        return str(reason)
    return None


def _lowered(problem: Any) -> Lowered:
    """The rows; where fields have no rate of their own, tried on a small grid."""
    lowered = lower(problem)
    if problem.time is not None and any(problem.time_order(f) == 0 for f in problem.fields):
        refinement = Refinement(lowered, _start(lowered, None), [], torch.device("cpu"))
        with contextlib.suppress(StepFailure):
            refinement.run([axis.resized(TRIAL) for axis in refinement.axes], 1)
    return lowered


# ---------------------------------------------------------------------------------------- the start


def _start(lowered: Lowered, initial: Any) -> Start | None:
    """The state at the start on any grid; None where a steady problem is given none."""
    problem = lowered.problem
    if problem.time is None and initial is None:
        return None
    m, space = len(problem.fields), problem.space_coordinates
    expressions = initial_expressions(lowered)
    given = None if initial is None or callable(initial) else _given_values(lowered, initial)

    def start(grid: Grid) -> Tensor:
        values = evaluate(expressions, space, grid.points, problem.values).T.contiguous()
        if given is not None:
            values[:m] = grid.resample(given[0].to(grid.device), given[1])
        elif initial is not None:
            found = torch.as_tensor(initial(grid.points)).detach()
            found = found[:, None] if found.dim() == 1 else found
            if tuple(found.shape) != (grid.size, m):
                raise InvalidOption(
                    f"initial= returned shape {tuple(found.shape)} for points "
                    f"{tuple(grid.points.shape)}; return (N, {m}), one column per field."
                )
            if found.is_complex():
                raise InvalidOption("initial= is complex, but the declared fields are real.")
            values[:m] = found.T.to(values)
        if not torch.isfinite(values).all():
            raise InvalidDataset("The initial value has NaN or infinite entries; give finite ones.")
        return values

    return start


def _given_values(lowered: Lowered, initial: Any) -> tuple[Tensor, Grid]:
    """Values (m, size) on a collocation grid, and that grid."""
    problem = lowered.problem
    m, dim = len(problem.fields), len(problem.space_coordinates)
    values = torch.as_tensor(np.asarray(initial) if not isinstance(initial, Tensor) else initial)
    values = values.detach().cpu()
    if values.dim() == dim and m == 1:
        values = values[None]
    if values.dim() != dim + 1 or values.shape[0] != m or min(values.shape[1:]) < 4:
        raise InvalidOption(
            f"initial= has shape {tuple(values.shape)}; give ({m}, {', '.join('n' * dim)}): values "
            "on a grid of at least 4 Chebyshev–Gauss–Lobatto points per axis, from the lower end "
            "to the upper (equidistant along a periodic axis, upper end left out)."
        )
    if values.is_complex():
        raise InvalidOption("initial= is complex, but the declared fields are real.")
    if not torch.isfinite(values).all():
        raise InvalidDataset("The initial value has NaN or infinite entries; give finite ones.")
    lower_ends, upper_ends = (bound[:dim] for bound in problem.domain.bounds)
    ends = zip(lower_ends, upper_ends, values.shape[1:], lowered.periodic, strict=True)
    grid = Grid([Axis(float(a), float(b), n, p) for a, b, n, p in ends])
    return values.to(torch.float64).flatten(1), grid


# ---------------------------------------------------------------------------------------- the field


def _field(
    run: Run, instants: Sequence[float], tol: float
) -> tuple[nn.Module, dict[str, Any], float]:
    """The field of a run, its config, and the error of interpolation in time."""
    grid, m = run.grid, run.fields.shape[1]
    periodic = [axis.periodic for axis in grid.axes]
    path, error = run.trajectory, 0.0
    values = run.fields
    rates = path.rates.reshape(-1, run.rows.count, grid.size)[:, :m]
    times = path.times.to(grid.device)
    if run.steps and not instants:
        times, values, rates, error = thinned(times, values, rates, tol)
    arrays = [grid.coefficients(values)]
    if run.steps:
        arrays.append(grid.coefficients(rates))
    sizes = kept_sizes(arrays, NEGLIGIBLE, periodic)
    arrays = [cut(a, sizes) for a in arrays]
    axes = [a.resized(n).to_dict() for a, n in zip(grid.axes, sizes, strict=True)]
    config: dict[str, Any] = {"axes": axes, "channels": m, "frames": len(times) if run.steps else 0}
    field = ChebyshevField(**config).to(grid.device)
    if run.steps:
        state = {"times": times, "values": arrays[0], "rates": arrays[1]}
    else:
        state = {"coefficients": arrays[0][0]}
    field.load_state_dict(state, strict=True)
    return field, config, error


def field_from_config(problem: Any, config: Mapping[str, Any]) -> nn.Module:
    """An empty field of the shape of a saved one."""
    return ChebyshevField(**config)


# --------------------------------------------------------------------------------------- the solver


def _checked_options(
    problem: Any, resolution: Any, dt: Any, times: Any, tol: Any
) -> tuple[tuple[int, ...] | None, list[float]]:
    dim = len(problem.space_coordinates)
    shape = None if resolution is None else checked_resolution(resolution, dim)
    checked_tolerance("tol", tol, TOLERANCE)
    if problem.time is None:
        for name, value in (("dt", dt), ("times", times)):
            if value is not None:
                raise InvalidOption(
                    f"{name}={value!r}: {problem.name!r} has no time; leave {name} out."
                )
        return shape, []
    if dt is not None:
        checked_step(dt)
    return shape, checked_times(problem, times)


def solve(
    problem: Any,
    *,
    resolution: int | Sequence[int] | None = None,
    dt: float | None = None,
    times: Sequence[float] | None = None,
    tol: float | None = None,
    initial: Tensor | Callable[[Tensor], Tensor] | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
) -> Solution:
    """Solve a problem on an interval or rectangle with walls by Chebyshev collocation.

    Parameters
    ----------
    problem : a `pdeml.PDE` of real fields on a box of one or two space coordinates, of which one
        at least has walls; steady, or of first or second order in time.
    resolution : points per space axis; default: refined until the coefficients of the expansion
        have decayed to 1e-12, at most 1024 on an interval and 2304 unknowns in the plane (in
        time 1600, or 784 where the equations are not linear).
    dt : largest step size (the number of steps is even); default: shortened until the estimated
        error is below `tol`.
    times : instants at which states are stored exactly (between stored states the field is a
        polynomial of degree 7 in time).
    tol : relative error in time to aim at; default 1e-10.
    initial : replaces the declared initial value (for a steady problem: where Newton's iteration
        starts): values (C, n[, n]) or (n[, n]) on Chebyshev–Gauss–Lobatto points, lower end first
        (equidistant along a periodic axis, upper end left out), or a function of points
        (N, d) → (N, C). Velocities stay as they are declared.
    device : of the run.
    dtype : of points and values, ``"float64"`` (default) or ``"float32"``; the solver runs in
        float64 always.

    Returns
    -------
    Solution
        Its field is an expansion in Chebyshev polynomials (trigonometric along a periodic axis):
        differentiable, defined at any point of the box. ``report.error`` is the difference to a run
        with 3/4 of the points and half the steps.

    Raises
    ------
    UnsupportedProblem
        A term or condition cannot be lowered; the message names it and methods that can.
    DivergedError
        A step has no solution, or the state became NaN or infinite; the message says when.
    InvalidOption, InvalidDataset
        An option is not accepted; the initial value has NaN.

    Notes
    -----
    On an interval a thin internal layer that stays in place gets points of its own by an asinh map.
    Where initial and boundary values disagree, the steps start at T/16384 and double. A pure
    Neumann problem fixes the mean of its field.

    References
    ----------
    Weideman, Reddy (2000), ACM Trans. Math. Softw. 26, 465 (differentiation matrices); Trefethen
    (2000), Spectral Methods in MATLAB; Hairer, Wanner (1996), Solving ODEs II, §IV.8 (Radau IIA).
    """
    clock = time.perf_counter()
    lowered = _lowered(problem)
    shape, instants = _checked_options(problem, resolution, dt, times, tol)
    target, kind = engine.resolve_device(device), engine.resolve_dtype(dtype)
    if kind not in (torch.float64, torch.float32):
        raise InvalidOption(f"dtype={dtype!r}: \"chebyshev\" returns 'float64' or 'float32'.")
    tol = TOLERANCE if tol is None else float(tol)
    refinement = Refinement(lowered, _start(lowered, initial), instants, target)
    with torch.no_grad():
        run = _solved(refinement, shape, dt, tol)
        estimate, against = refinement.verified(run)
        field, config, between = _field(run, instants, tol)
    notes = _notes(refinement, run, estimate, against)
    if between > tol:
        notes.append(f"interpolation between stored states errs by {between:.1e} (use times=)")
    goal = max(100 * tol, GOAL) if shape is None and dt is None else FIXED_GOAL
    converged = estimate is not None and estimate["l2_relative"] <= goal
    if run.newton is not None:
        converged = converged and run.newton.converged
    steps = len(run.trajectory.times) - 1 if run.newton is None else len(run.newton.corrections)
    report = Report(
        method="chebyshev",
        converged=converged,
        dtype=str(kind).removeprefix("torch."),
        device=str(target),
        engine="Newton" if run.newton is not None else "Radau IIA, order 9",
        wall_time=time.perf_counter() - clock,
        iterations=steps,
        parameters_count=sum(b.numel() for b in field.buffers()),
        error=estimate,
        reference="self-convergence" if estimate is not None else "unknown",
        notes=notes,
    )
    options = {
        "resolution": resolution,
        "dt": dt,
        "times": times,
        "tol": tol,
        "initial": initial,
        "device": str(target),
        "dtype": report.dtype,
    }
    return Solution(problem, "chebyshev", field, config=config, report=report, options=options)


def _solved(
    refinement: Refinement, shape: tuple[int, ...] | None, dt: float | None, tol: float
) -> Run:
    """The run whose solution is returned."""
    steps = STEPS
    if dt is not None:
        # even, so that the run with half the steps meets the same times
        steps = 2 * math.ceil(refinement.span / dt / 2 * (1 - 1e-9))
    if shape is None:
        run = refinement.resolve(steps, dt is None)
    else:
        axes = [a.resized(n) for a, n in zip(refinement.axes, shape, strict=True)]
        run = refinement.fixed(axes, steps, dt is None)
    return refinement.refine(run, tol) if refinement.evolves and dt is None else run


def _notes(
    refinement: Refinement, run: Run, estimate: dict[str, float] | None, against: str
) -> list[str]:
    points, notes = shown(run.grid), []
    if refinement.evolves:
        count = len(run.trajectory.times) - 1
        step = refinement.span / run.steps
        notes.append(f"{points} points, dt = {step:.3g}, {count} steps")
    else:
        notes.append(f"{points} points")
    if estimate is None:
        notes.append("no error estimate: every coarser run failed")
    else:
        change = estimate["l2_relative"]
        notes.append(f"self-convergence: l2_relative {change:.1e} against {against}")
    for axis in run.grid.axes:
        for centre, width in axis.layers:
            notes.append(f"points crowd at a layer of width {width:.2g} at {centre:.3g}")
    corner = run.rows.corner_mismatch([refinement.begin, refinement.end])
    if corner > MISFIT:
        notes.append(
            f"values of neighbouring sides differ by {corner:.1e} at a corner, which takes their "
            "mean: the error falls slowly with resolution"
        )
    return [*notes, *refinement.notes, *(run.newton.notes if run.newton is not None else [])]
