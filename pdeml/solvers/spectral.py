"""Fourier reference solver: semilinear equations on a periodic box, first order in time.

The declaration is split into ``u_t = L u + N(u, x, t)`` (`pdeml.operators.symbol`) and advanced by
ETDRK4 (`pdeml.solvers.etdrk4`). Resolution and step are doubled until the solution stops changing,
and the report says by how much it still changes. A linear equation without forcing is exact in
time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.domains import Box
from pdeml.errors import DivergedError, InvalidDataset, InvalidOption, UnsupportedProblem
from pdeml.operators.expressions import evaluate
from pdeml.operators.pde import Initial, Periodic
from pdeml.operators.symbol import Split, split
from pdeml.solvers.etdrk4 import FourierGrid
from pdeml.solvers.refinement import Refinement, Run, thinned
from pdeml.solvers.report import Report
from pdeml.solvers.solution import Solution
from pdeml.solvers.trigonometric import SpectralField

FINE_POINTS = {1: 2**16, 2: 2**10}  # for the spectrum of a declared initial value
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
NEGLIGIBLE = 1e-16  # modes below this fraction of the largest are not stored


# --------------------------------------------------------------------------------- what is accepted


def can_solve(problem: Any) -> str | None:
    """Why "spectral" cannot lower the problem, or None where it can."""
    try:
        _lowered(problem)
    except UnsupportedProblem as reason:
        return str(reason)
    return None


def _others(problem: Any) -> str:
    return '"exact" or "pinn"' if problem.exact is not None else '"pinn"'


def _lowered(problem: Any) -> Split:
    """The split right-hand side; UnsupportedProblem where a term or condition has no lowering."""
    if problem.time is None:
        raise UnsupportedProblem(
            f'"spectral" advances in time, but {problem.name!r} has no time. '
            f"Use {_others(problem)}."
        )
    space = problem.domain.space
    if not isinstance(space, Box) or space.dim > 2:
        raise UnsupportedProblem(
            f'"spectral" needs a periodic box of one or two space coordinates, but '
            f"{problem.name!r} is declared on {space!r}. Use {_others(problem)}."
        )
    coordinate = space.coordinates[0].name
    for condition in problem.conditions:
        if not isinstance(condition, Initial | Periodic):
            raise UnsupportedProblem(
                f'"spectral" needs every boundary periodic, but {condition} is declared. '
                f"Use {_others(problem)}, or declare Periodic(u, {coordinate})."
            )
    for field in problem.fields:
        for axis in problem.space_coordinates:
            if axis not in problem.periodic_axes(field):
                raise UnsupportedProblem(
                    f'"spectral" needs every boundary periodic, but {field} is not in {axis}. '
                    f"Use {_others(problem)}, or declare "
                    f"Periodic({field.func.__name__}, {axis})."
                )
    unknown = [p.name for p in problem.parameters if problem.values.get(p) is None]
    unknown += [p.name for p in problem.unknowns]
    if unknown:
        raise UnsupportedProblem(
            f'"spectral" needs a value for the parameter {unknown[0]!r} of {problem.name!r}. '
            f'Give one by with_parameters({unknown[0]}=…), or use "pinn".'
        )
    return split(problem)


# ---------------------------------------------------------------------------------- initial values


def _declared_initial(problem: Any) -> list[Any]:
    found = {c.field: c.value for c in problem.conditions if isinstance(c, Initial)}
    return [found[field] for field in problem.fields]


def _initial_modes(
    problem: Any, initial: Any, box: tuple[Sequence[float], Sequence[float]], real: bool
) -> tuple[Tensor, FourierGrid]:
    """Fourier modes (C, *modes) of the initial value on a fine grid (CPU, float64)."""
    lower, lengths = box
    dim, fields = len(lower), len(problem.fields)
    if initial is None or callable(initial):
        grid = FourierGrid(lower, lengths, [FINE_POINTS[dim]] * dim, real)
        points = torch.stack([p.expand(grid.shape).flatten() for p in grid.points], dim=1)
        if initial is None:
            expressions = _declared_initial(problem)
            values = evaluate(expressions, problem.space_coordinates, points, problem.values)
        else:
            values = torch.as_tensor(initial(points))
            values = values[:, None] if values.dim() == 1 else values
        if tuple(values.shape) != (len(points), fields):
            raise InvalidOption(
                f"initial= returned shape {tuple(values.shape)} for points {tuple(points.shape)}; "
                f"return (N, {fields}), one column per field."
            )
        values = values.T.reshape(fields, *grid.shape)
    else:
        values = torch.as_tensor(
            np.asarray(initial) if not isinstance(initial, Tensor) else initial
        )
        values = values.detach().cpu()
        if values.dim() == dim and fields == 1:
            values = values[None]
        if values.dim() != dim + 1 or values.shape[0] != fields or min(values.shape[1:]) < 4:
            raise InvalidOption(
                f"initial= has shape {tuple(values.shape)}; give ({fields}, "
                f"{', '.join('n' * dim)}): values on a periodic grid (right end left out) of at "
                "least 4 points per axis."
            )
        grid = FourierGrid(lower, lengths, values.shape[1:], real)
    if values.is_complex() and real:
        raise InvalidOption("initial= is complex, but the declared fields are real.")
    if not torch.isfinite(torch.view_as_real(values + 0j)).all():
        raise InvalidDataset("The initial value has NaN or infinite entries; give finite ones.")
    return grid.forward(values.to(torch.float64 if real else torch.complex128)), grid


# --------------------------------------------------------------------------------------- the field


def _bounds(grid: FourierGrid, arrays: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(lowest, highest) mode per axis that is not negligible in some array (…, *modes)."""
    dim = len(grid.shape)
    share = torch.zeros(arrays[0].shape[-dim:], dtype=torch.float64, device=arrays[0].device)
    for array in arrays:
        size = array.abs().reshape(-1, *share.shape).amax(0).to(torch.float64)
        share = torch.maximum(share, size / size.max().clamp(min=1e-300))
    bounds = []
    for axis in range(dim):
        numbers = grid.numbers[axis].to(share.device).expand(share.shape)[share > NEGLIGIBLE]
        high = int(numbers.abs().max()) if len(numbers) else 0
        bounds.append((0 if grid.real and axis == dim - 1 else -high, high))
    return bounds


def _cut(grid: FourierGrid, array: Tensor, bounds: Sequence[tuple[int, int]]) -> Tensor:
    """An array (…, *modes) at the mode numbers within the bounds, in increasing order."""
    for axis, (low, high) in enumerate(bounds):
        places = torch.arange(low, high + 1, device=array.device) % grid.shape[axis]
        array = array.index_select(axis - len(bounds), places)
    return array


def _linear_state(
    refinement: Refinement, modes: Tensor
) -> tuple[list[tuple[int, int]], dict[str, Tensor]]:
    """Mode bounds and buffers of the exact flow of initial modes on the fine grid."""
    grid = refinement.fine
    modes = modes * grid.within([n / 2 for n in grid.shape])
    bounds = _bounds(grid, [modes])
    symbol = _cut(grid, refinement.symbol, bounds)
    growth = symbol.real.max().item() * refinement.span
    if growth > 700:
        raise DivergedError(
            f"The linear terms grow by e^{growth:.3g} over the time interval, which overflows. "
            "Check their signs, or shorten the interval."
        )
    return bounds, {
        "linear.start": torch.tensor(refinement.start, dtype=torch.float64),
        "linear.coefficients": _cut(grid, modes, bounds),
        "linear.symbol": symbol,
    }


def _field(
    refinement: Refinement, run: Run | None, tol: float
) -> tuple[SpectralField, dict[str, Any], float]:
    """The field of a run (None: the linear flow is all), its config, its error in time."""
    grid, modes = refinement.fine, refinement.modes
    config: dict[str, Any] = {
        "lower": list(grid.lower),
        "lengths": list(grid.lengths),
        "channels": modes.shape[0],
        "real": grid.real,
    }
    state: dict[str, Tensor] = {}
    error = 0.0
    if run is None or refinement.has_tail:
        if run is not None:
            modes = modes * ~grid.within([n / (refinement.degree + 1) for n in run.shape])
        config["linear_modes"], state = _linear_state(refinement, modes)
    if run is not None:
        kept = run.trajectory
        if not refinement.times:
            kept, error = thinned(kept, tol)
        arrays = [kept.modes[:, 0], kept.rates[:, 0]]
        bounds = _bounds(run.grid, arrays)
        values, rates = (_cut(run.grid, a, bounds).to(torch.complex128) for a in arrays)
        config |= {"frame_modes": bounds, "frames": len(kept.times)}
        state |= {"frames.times": kept.times, "frames.values": values, "frames.rates": rates}
    field = SpectralField(**config).to(refinement.device)
    field.load_state_dict(state, strict=True)
    return field, config, error


def field_from_config(problem: Any, config: Mapping[str, Any]) -> nn.Module:
    """An empty field of the shape of a saved one."""
    return SpectralField(**config)


# --------------------------------------------------------------------------------------- the solver


def _checked_options(
    problem: Any, resolution: Any, dt: Any, times: Any, tol: Any
) -> tuple[tuple[int, ...] | None, list[float]]:
    dim = len(problem.space_coordinates)
    shape = None
    if resolution is not None:
        single = not isinstance(resolution, Sequence)
        shape = (resolution,) * dim if single else tuple(resolution)
        if len(shape) != dim or any(not isinstance(n, int) or n < 4 for n in shape):
            raise InvalidOption(
                f"resolution={resolution!r}: give points per space axis, an integer of at least "
                f"4 or {dim} of them."
            )
    if dt is not None and not (isinstance(dt, int | float) and 0 < dt < math.inf):
        raise InvalidOption(f"dt={dt!r}: give a positive step size.")
    if tol is not None and not (isinstance(tol, int | float) and 0 < tol < 1):
        raise InvalidOption(f"tol={tol!r}: give a relative error between 0 and 1.")
    start, end = problem.domain.time.start, problem.domain.time.end
    instants = [float(s) for s in times] if times is not None else []
    for s in instants:
        if not start <= s <= end:
            raise InvalidOption(f"times holds {s:g}, outside of [{start:g}, {end:g}].")
    return shape, sorted(set(instants))


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
    """Solve a periodic problem of first order in time by ETDRK4 in Fourier space.

    Parameters
    ----------
    problem : a `pdeml.PDE` on a periodic box of one or two space coordinates.
    resolution : points per space axis; default: doubled until the spectrum has decayed to 1e-12.
    dt : largest step size (the number of steps is even); default: shortened until the estimated
        error is below `tol`.
    times : instants at which states are stored exactly (between stored states the field is a
        polynomial of degree 7 in time).
    tol : relative error to aim at; default 1e-10 in float64, 1e-5 in float32.
    initial : replaces the declared initial value: values on a periodic grid (C, n[, n]) or
        (n[, n]), the right end left out, or a function of points (N, d) → (N, C).
    device, dtype : of the run (default float64 on the CPU).

    Returns
    -------
    Solution
        Its field is a trigonometric sum: exact in space, differentiable, defined at any point.
        ``report.error`` is the difference to a run with 3/4 of the points and half the steps.

    Raises
    ------
    UnsupportedProblem
        A term or condition cannot be lowered; the message names it and methods that can.
    DivergedError
        The state became NaN or infinite; the message says when.
    InvalidOption, InvalidDataset
        An option is not accepted; the initial value has NaN.

    Notes
    -----
    Products of degree d keep the modes |k| < n/(d + 1) (no aliasing). An initial value with a kink
    (Allen–Cahn's x² cos πx) starts with steps of T/4096 that double, and, where the linear terms
    smooth, the modes beyond the grid follow their linear flow.

    References
    ----------
    Cox, Matthews (2002); Kassam, Trefethen (2005), see `pdeml.solvers.etdrk4`.
    """
    begin = time.perf_counter()
    right = _lowered(problem)
    shape, instants = _checked_options(problem, resolution, dt, times, tol)
    target, kind = engine.resolve_device(device), engine.resolve_dtype(dtype)
    if kind not in TOLERANCE:
        raise InvalidOption(f"dtype={dtype!r}: \"spectral\" runs in 'float64' or 'float32'.")
    tol = TOLERANCE[kind] if tol is None else float(tol)
    lower, upper = problem.domain.space.bounds
    lengths = [b - a for a, b in zip(lower, upper, strict=True)]
    real = all(f.is_real for f in problem.fields)
    modes, fine = _initial_modes(problem, initial, (lower, lengths), real)
    refinement = Refinement(problem, right, modes, fine, instants, target, kind)
    notes = [
        f"the term {term} is stepped explicitly and may need small steps" for term in right.stiff
    ]
    if right.degree is None:
        notes.append("the nonlinearity is not a polynomial: de-aliased like a quadratic one")

    estimate: dict[str, float] | None
    if right.linear:
        field, config, _ = _field(refinement, None, tol)
        steps, estimate, converged = 0, refinement.truncation(), True
        notes.append("linear without forcing: exact in time")
        change = estimate["l2_relative"]
        notes.append(f"self-convergence: {change:.1e} in the last quarter of the initial modes")
    else:
        steps = refinement.frames
        if dt is not None:
            # even, so that the run with half the steps meets the same times
            steps = 2 * math.ceil(refinement.span / dt / 2 * (1 - 1e-9))
        if shape is None:
            run = refinement.resolve(refinement.first_shape(), steps, dt is None)
        else:
            run = refinement.first_finite(shape, steps, dt is None)
        if dt is None:
            run = refinement.refine(run, tol)
        estimate, against = refinement.verified(run)
        field, config, time_error = _field(refinement, run, tol)
        steps = sum(segment.steps for segment in refinement.plan(run.steps))
        points = "×".join(map(str, run.shape))
        notes.append(f"{points} points, dt = {refinement.span / run.steps:.3g}, {steps} steps")
        if estimate is None:
            notes.append("no error estimate: every coarser run diverged")
        else:
            change = estimate["l2_relative"]
            notes.append(f"self-convergence: l2_relative {change:.1e} against {against}")
        if time_error > tol:
            notes.append(
                f"interpolation between stored states errs by {time_error:.1e} (use times=)"
            )
        goal = 100 * tol if shape is None and dt is None else 1e-3
        converged = estimate is not None and estimate["l2_relative"] <= goal
    report = Report(
        method="spectral",
        converged=converged,
        dtype=str(kind).removeprefix("torch."),
        device=str(target),
        engine="ETDRK4" if steps else "exact linear flow",
        wall_time=time.perf_counter() - begin,
        iterations=steps,
        parameters_count=sum(b.numel() for b in field.buffers()),
        error=estimate,
        reference="self-convergence" if estimate is not None else "unknown",
        notes=[*notes, *refinement.notes],
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
    return Solution(problem, "spectral", field, config=config, report=report, options=options)
