"""Fourier reference solver: semilinear evolution equations on a periodic box.

The declaration is split into ``U_t = L U + N(U, x, t)`` (`pdeml.operators.symbol`) and advanced by
an exponential or implicit–explicit scheme (`pdeml.solvers.spectral.schemes`). For one problem,
resolution and step are doubled until the solution stops changing, and the report says by how much
it still changes. A batch of initial values or parameters is advanced at one resolution, by a given
step or adaptively.
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
from pdeml.errors import DivergedError, InvalidDataset, InvalidOption
from pdeml.operators.expressions import Program, evaluate
from pdeml.operators.pde import Initial
from pdeml.operators.symbol import Split
from pdeml.progress import ProgressBar
from pdeml.solvers.hermite import thinned
from pdeml.solvers.options import (
    checked_resolution,
    checked_step,
    checked_time_limit,
    checked_times,
    checked_tolerance,
)
from pdeml.solvers.report import Report
from pdeml.solvers.solution import Solution
from pdeml.solvers.spectral.ensemble import Ensemble, EnsembleRun
from pdeml.solvers.spectral.field import SpectralField
from pdeml.solvers.spectral.grid import FourierGrid
from pdeml.solvers.spectral.lowering import (
    checked_dtype,
    checked_stretch,
    lowered,
    numbers,
    real_fields,
    warn_of_stiff_terms,
)
from pdeml.solvers.spectral.refinement import Refinement, Run
from pdeml.solvers.spectral.schemes import Scheme, find_scheme
from pdeml.solvers.spectral.system import SemilinearSystem

FINE_POINTS = {1: 2**16, 2: 2**10, 3: 96}  # for the spectrum of a declared initial value
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
NEGLIGIBLE = 1e-16  # modes below this fraction of the largest are not stored


# ---------------------------------------------------------------------------------- initial values


def _declared_initial(problem: Any, right: Split) -> list[Any]:
    """Expressions of the evolved variables at the start."""
    found = {c.derivative: c.value for c in problem.conditions if isinstance(c, Initial)}
    return [found[variable] for variable in right.state]


def _initial_modes(
    problem: Any, right: Split, initial: Any, lower: Sequence[float], lengths: Sequence[float]
) -> tuple[Tensor, FourierGrid]:
    """Fourier modes (C, *modes) of the initial state on a fine grid (CPU, float64)."""
    dim, count, real = len(lower), len(right.state), real_fields(problem)
    if initial is None or callable(initial):
        grid = FourierGrid(lower, lengths, [FINE_POINTS[dim]] * dim, real)
        points = torch.stack([p.expand(grid.shape).flatten() for p in grid.points], dim=1)
        if initial is None:
            expressions = _declared_initial(problem, right)
            values = evaluate(expressions, problem.space_coordinates, points, problem.values)
        else:
            values = torch.as_tensor(initial(points))
            values = values[:, None] if values.dim() == 1 else values
        if tuple(values.shape) != (len(points), count):
            raise InvalidOption(
                f"initial= returned shape {tuple(values.shape)} for points {tuple(points.shape)}; "
                f"return (N, {count}), a column for each of {', '.join(map(str, right.state))}."
            )
        values = values.T.reshape(count, *grid.shape)
    else:
        values = _as_tensor(initial).detach().cpu()
        if values.dim() == dim and count == 1:
            values = values[None]
        if values.dim() != dim + 1 or values.shape[0] != count or min(values.shape[1:]) < 4:
            axes = ", ".join("n" * dim)
            raise InvalidOption(
                f"initial= has shape {tuple(values.shape)}; give ({count}, {axes}), or (B, "
                f"{count}, {axes}) for a batch: values of {', '.join(map(str, right.state))} on "
                "a periodic grid (right end left out) of at least 4 points per axis."
            )
        grid = FourierGrid(lower, lengths, values.shape[1:], real)
    values = _checked_values(values, real)
    return grid.forward(values.to(torch.float64 if real else torch.complex128)), grid


def _as_tensor(initial: Any) -> Tensor:
    return initial if isinstance(initial, Tensor) else torch.as_tensor(np.asarray(initial))


def _checked_values(values: Tensor, real: bool) -> Tensor:
    if values.is_complex() and real:
        raise InvalidOption("initial= is complex, but the declared fields are real.")
    if not torch.isfinite(torch.view_as_real(values.detach() + 0j)).all():
        raise InvalidDataset("The initial value has NaN or infinite entries; give finite ones.")
    return values


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


def _cut(array: Tensor, bounds: Sequence[tuple[int, int]]) -> Tensor:
    """An array (…, *modes) at the mode numbers within the bounds, in increasing order."""
    for axis, (low, high) in enumerate(bounds):
        dim = axis - len(bounds)
        places = torch.arange(low, high + 1, device=array.device) % array.shape[dim]
        array = array.index_select(dim, places)
    return array


def _linear_state(
    refinement: Refinement, modes: Tensor
) -> tuple[list[tuple[int, int]], dict[str, Tensor]]:
    """Mode bounds and buffers of the exact flow of initial modes on the fine grid."""
    grid = refinement.fine
    modes = modes * grid.within([n / 2 for n in grid.shape])
    bounds = _bounds(grid, [modes])
    symbol = _cut(refinement.linear.linear.values, bounds)
    growth = symbol.real.max().item() * refinement.span
    if growth > 700:
        raise DivergedError(
            f"The linear terms grow by e^{growth:.3g} over the time interval, which overflows. "
            "Check their signs, or shorten the interval."
        )
    return bounds, {
        "linear.start": torch.tensor(refinement.start, dtype=torch.float64),
        "linear.coefficients": _cut(modes, bounds),
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
        "channels": len(refinement.right.fields),
        "real": grid.real,
    }
    state: dict[str, Tensor] = {}
    error = 0.0
    if run is None or refinement.has_tail:
        if run is not None:
            modes = modes * ~grid.within([n * refinement.keep for n in run.shape])
        config["linear_modes"], state = _linear_state(refinement, modes)
    if run is not None:
        times, values, rates = _all_fields(run)
        if not refinement.times:
            times, values, rates, error = thinned(times, values, rates, tol)
        bounds = _bounds(run.grid, [values, rates])
        values, rates = (_cut(a, bounds) for a in (values, rates))
        config |= {"frame_modes": bounds, "frames": len(times)}
        state |= {"frames.times": times, "frames.values": values, "frames.rates": rates}
    field = SpectralField(**config).to(refinement.device)
    field.load_state_dict(state, strict=True)
    return field, config, error


def _all_fields(run: Run) -> tuple[Tensor, Tensor, Tensor]:
    """Times (F,), and the modes of all declared fields and their rates, (F, m, *modes)."""
    path, system = run.trajectory, run.system
    if system.split.fields == system.split.state:
        values, rates = path.modes[:, 0], path.rates[:, 0]
    else:
        triples = zip(path.modes, path.rates, path.times.tolist(), strict=True)
        pairs = [(system.fields(m, t), system.field_rates(m, r, t)) for m, r, t in triples]
        values, rates = (torch.cat(part) for part in zip(*pairs, strict=True))
    # a Nyquist mode is a cosine on the grid only; it has no place in a sum over e^{ikx}
    inside = system.grid.within([n / 2 for n in run.shape])
    values, rates = (a.to(torch.complex128) * inside for a in (values, rates))
    return path.times, values, rates


def field_from_config(problem: Any, config: Mapping[str, Any]) -> nn.Module:
    """An empty field of the shape of a saved one."""
    return SpectralField(**config)


# --------------------------------------------------------------------------------------- the solver


def _absolute(atol: Any) -> float:
    if atol is None:
        return 0.0
    if not (isinstance(atol, int | float) and 0 <= atol < math.inf):
        raise InvalidOption(f"atol={atol!r}: give an absolute error of at least 0.")
    return float(atol)


def solve(
    problem: Any,
    *,
    resolution: int | Sequence[int] | None = None,
    dt: float | None = None,
    times: Sequence[float] | None = None,
    tol: float | None = None,
    scheme: str = "etdrk4",
    dealias: str | None = "auto",
    mode: str = "galerkin",
    initial: Tensor | Callable[[Tensor], Tensor] | None = None,
    parameters: Mapping[Any, float | Tensor] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    on_blowup: str = "raise",
    checkpoint_every: int | None = None,
    time_limit: float | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    progress: bool = False,
) -> Solution | Ensemble:
    """Solve a semilinear periodic evolution problem in Fourier space.

    Parameters
    ----------
    problem : a `pdeml.PDE` on a periodic box of one to three space coordinates.
    resolution : points per space axis; default: doubled until the spectrum has decayed to 1e-12
        (for a batch: that of `initial`).
    dt : largest step size; default: shortened until the estimated error is below `tol` (for a
        batch: adaptive steps).
    times : instants at which states are stored exactly. Between stored states of a single solution
        the field is a polynomial of degree 7 in time; of a batch they are all there is (default:
        101 from start to end).
    tol : relative error to aim at; default 1e-10 in float64, 1e-5 in float32.
    scheme : ``"etdrk4"``, ``"etdrk3"``, ``"etdrk2"``, ``"etd1"``, ``"ifrk4"``, ``"cnab2"``,
        ``"sbdf2"``, ``"sbdf3"``, ``"cn_euler"``; the adaptive choices take the fourth-order ones.
    dealias : ``"auto"`` (by the degree of the products), ``"2/3"``, ``"1/2"``, ``"3/2-pad"``, None.
    mode : ``"galerkin"`` drops the modes that are not de-aliased, ``"full"`` lets them evolve
        linearly.
    initial : replaces the declared initial state: values on a periodic grid (C, n, …) or (n, …),
        the right end left out, or a function of points (N, d) → (N, C). C counts the fields with a
        time derivative, then the ∂u/∂t of those of second order. Values (B, C, n, …) are a batch.
    parameters : values by name or `Parameter`; a tensor (B,) makes a batch, one value a trajectory.
    rtol, atol : local error of adaptive steps of a batch: atol + rtol |û|; default `tol` and 0.
    on_blowup : ``"raise"``, or ``"mask"``: a trajectory of a batch that becomes infinite is NaN
        from there on, and the others go on.
    checkpoint_every : recompute stretches of so many steps of a batch in the backward pass.
    time_limit : seconds after which a single solution is not refined further; the report says so.
    device, dtype : of the run (default float64 on the CPU).
    progress : show a bar.

    Returns
    -------
    Solution, or Ensemble for a batch
        The field of a `Solution` is a trigonometric sum: exact in space, differentiable, defined at
        any point; ``report.error`` is the difference to a run with 3/4 of the points and half the
        steps. An `Ensemble` holds values (B, T, m, n, …) and is differentiable in `initial` and
        `parameters` where these require gradients (with dt given).

    Raises
    ------
    UnsupportedProblem
        A term or condition cannot be lowered; the message names it and methods that can.
    DivergedError
        A state became NaN or infinite; the message says when, and which of a batch.
    InvalidOption, InvalidDataset
        An option is not accepted; the initial value has NaN.

    Notes
    -----
    Products of degree d keep the modes |k| < n/(d + 1) (no aliasing). An initial value with a kink
    (Allen–Cahn's x² cos πx) starts with steps of T/4096 that double, and, where the linear terms
    smooth, the modes beyond the grid follow their linear flow.

    References
    ----------
    Cox, Matthews (2002); Kassam, Trefethen (2005), see `pdeml.solvers.spectral.schemes`.
    """
    begin = time.perf_counter()
    lowered(problem)
    problem, values = numbers(problem, parameters)
    right = lowered(problem)
    warn_of_stiff_terms(right)
    chosen = find_scheme(scheme)
    dim = len(problem.space_coordinates)
    shape = None if resolution is None else checked_resolution(resolution, dim)
    step = None if dt is None else checked_step(dt)
    instants = checked_times(problem, times)
    target, kind = engine.resolve_device(device), checked_dtype(dtype)
    tol = checked_tolerance("tol", tol, TOLERANCE[kind])
    lower, upper = problem.domain.space.bounds
    lengths = [b - a for a, b in zip(lower, upper, strict=True)]
    system = {"dealias": dealias, "mode": mode, "device": target, "dtype": kind}
    options = {
        "resolution": resolution,
        "dt": dt,
        "times": times,
        "tol": tol,
        "scheme": scheme,
        "dealias": dealias,
        "mode": mode,
        "initial": initial,
        "device": str(target),
        "dtype": str(kind).removeprefix("torch."),
    }
    batched = any(isinstance(v, Tensor) and v.dim() for v in values.values())
    batched = batched or (
        initial is not None and not callable(initial) and _as_tensor(initial).dim() == dim + 2
    )
    if batched:
        return EnsembleRun(
            problem=problem,
            right=right,
            values=values,
            scheme=chosen,
            initial=_batch_of_initials(problem, right, values, initial, shape, (lower, lengths)),
            shape=shape,
            dt=step,
            times=instants,
            rtol=checked_tolerance("rtol", rtol, tol),
            atol=_absolute(atol),
            on_blowup=on_blowup,
            checkpoint_every=checked_stretch(checkpoint_every),
            system=system,
            progress=progress,
            options={**options, "rtol": rtol, "atol": atol, "on_blowup": on_blowup},
        )()
    for name, option, default in (
        ("rtol", rtol, None),
        ("atol", atol, None),
        ("on_blowup", on_blowup, "raise"),
        ("checkpoint_every", checkpoint_every, None),
    ):
        if option != default:
            raise InvalidOption(
                f"{name}={option!r} is for batches: give initial= of shape (B, C, n, …) or a "
                "tensor of parameters. A single solution is refined until its error is below tol=."
            )
    tensors = [v for v in (initial, *values.values()) if isinstance(v, Tensor)]
    if torch.is_grad_enabled() and any(v.requires_grad for v in tensors):
        raise InvalidOption(
            "A single solution is refined and not differentiable in initial= or parameters=. Give "
            "a batch, initial= of shape (1, C, n, …) with dt=, or call under torch.no_grad()."
        )
    values = {p: float(v) for p, v in values.items()}
    modes, grid = _initial_modes(problem, right, initial, lower, lengths)
    fine = SemilinearSystem(
        right, values, lower, lengths, grid.shape, real=grid.real, dealias=None, linear_only=True
    )
    with ProgressBar(f"spectral {problem.name}", progress) as bar:
        refinement = Refinement(
            problem,
            right,
            values,
            chosen,
            modes,
            fine,
            instants,
            bar.update,
            math.inf if time_limit is None else checked_time_limit(time_limit),
            **system,
        )
        field, config, report = _refined(refinement, chosen, shape, step, tol)
    report.wall_time = time.perf_counter() - begin
    solution = Solution(problem, "spectral", field, config=config, report=report, options=options)
    return solution


def _batch_of_initials(
    problem: Any,
    right: Split,
    values: Mapping[Any, float | Tensor],
    initial: Any,
    shape: tuple[int, ...] | None,
    box: tuple[Sequence[float], Sequence[float]],
) -> Tensor:
    """Initial values (B or 1, C, n, …) of a batch."""
    lower, lengths = box
    dim, count, real = len(lower), len(right.state), real_fields(problem)
    if initial is None or callable(initial):
        if shape is None:
            raise InvalidOption(
                "A batch of parameters runs at one resolution: give resolution=, points per space "
                "axis, or initial= on a grid."
            )
        grid = FourierGrid(lower, lengths, shape, real)
        if initial is None:
            program = Program(
                _declared_initial(problem, right), [*problem.space_coordinates, *values]
            )
            shaped = [
                v.reshape(-1, *[1] * dim) if isinstance(v, Tensor) else v for v in values.values()
            ]
            columns = [
                torch.as_tensor(c, dtype=None if isinstance(c, Tensor) else torch.float64)
                for c in program(*grid.points, *shaped)
            ]
            full = torch.broadcast_shapes((1, *shape), *(c.shape for c in columns))
            tensor = torch.stack([c.expand(full) for c in columns], 1)
        else:
            points = torch.stack([p.expand(shape).flatten() for p in grid.points], dim=1)
            tensor = torch.as_tensor(initial(points))
            tensor = tensor.reshape(len(points), -1).T.reshape(1, -1, *shape)
    else:
        tensor = _as_tensor(initial)
        if tensor.dim() == dim + 1:
            tensor = tensor[None]
        elif tensor.dim() == dim:
            tensor = tensor[None, None]
    sizes = {len(v) for v in values.values() if isinstance(v, Tensor) and v.dim()}
    points_text = ", ".join("n" * dim)
    if (
        tensor.dim() != dim + 2
        or tensor.shape[1] != count
        or min(tensor.shape[2:]) < 4
        or len({len(tensor), *sizes} - {1}) > 1
    ):
        raise InvalidOption(
            f"initial= has shape {tuple(tensor.shape)} and parameters= a batch of "
            f"{', '.join(map(str, sizes)) or 'none'}; give (B, {count}, {points_text}), the "
            f"channels being {', '.join(map(str, right.state))}, and tensors (B,)."
        )
    return _checked_values(tensor, real)


def _refined(
    refinement: Refinement,
    scheme: Scheme,
    shape: tuple[int, ...] | None,
    dt: float | None,
    tol: float,
) -> tuple[SpectralField, dict[str, Any], Report]:
    """Run until nothing changes; the field, its config and the report."""
    right = refinement.right
    notes = [
        f"the term {term} is stepped explicitly and may need small steps" for term in right.stiff
    ]
    if right.degree is None:
        notes.append("the nonlinearity is not a polynomial: de-aliased like a quadratic one")
    if right.projected:
        names = ", ".join(f.func.__name__ for f in right.auxiliary)
        notes.append(f"{names} by projection onto the constraint, with mean zero")
    linear = not right.products
    if linear and refinement.linear.flows:
        field, config, _ = _field(refinement, None, tol)
        estimate: dict[str, float] | None = refinement.truncation()
        steps, converged = 0, True
        notes.append("linear without forcing: exact in time")
        change = refinement.truncation()["l2_relative"]
        notes.append(f"self-convergence: {change:.1e} in the last quarter of the initial modes")
    else:
        steps = refinement.frames
        if dt is not None:
            # even, so that the run with half the steps meets the same times
            steps = 2 * math.ceil(refinement.span / dt / 2 * (1 - 1e-9))
        free = dt is None and not linear
        if shape is None:
            run = refinement.resolve(refinement.first_shape(), steps, free)
        else:
            run = refinement.first_finite(shape, steps, free)
        if free:
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
        converged = converged and not refinement.unaffordable
    report = Report(
        method="spectral",
        converged=converged,
        dtype=str(refinement.dtype).removeprefix("torch."),
        device=str(refinement.device),
        engine=scheme.name.upper() if steps else "exact linear flow",
        iterations=steps,
        parameters_count=sum(b.numel() for b in field.buffers()),
        error=estimate,
        reference="self-convergence" if estimate is not None else "unknown",
        notes=[*notes, *refinement.notes],
    )
    return field, config, report
