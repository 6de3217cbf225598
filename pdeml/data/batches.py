"""Batches of samples of a periodic problem by the spectral method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdeml.data import resolution as grids
from pdeml.data.drawing import RECIPE, RandomInitial, drawn_parameters
from pdeml.data.seeds import sample_seeds
from pdeml.data.source import Axis, FieldInfo, MeshArrays
from pdeml.data.writer import Writer
from pdeml.domains import SpaceTime
from pdeml.errors import DivergedError, InvalidOption
from pdeml.operators.pde import PDE
from pdeml.solvers.options import checked_resolution, checked_step
from pdeml.solvers.spectral import Stepper
from pdeml.solvers.spectral.accuracy import suggest_dt
from pdeml.solvers.spectral.lowering import real_fields

RESOLUTION = {1: 256, 2: 64, 3: 32}
BATCH_VALUES = 2**25  # of one batch, all frames: 256 MB in float64
LARGEST_BATCH = 64
DETERMINISTIC_BATCH = 16
PILOTS = 8  # samples that the step size is chosen by
STEP_TOLERANCE = 1e-6
SAME_GAP = 1e-9  # relative; times such as 0.1, 0.2, 0.3 are not exact


Start = Callable[[np.ndarray, Mapping[str, np.ndarray]], Tensor]
"""Initial values (B, C, *n) from seeds (B,) and parameters (B,) by name."""


class SpectralBatch:
    """Solve a batch from initial values and parameters; frames of the evolved variables.

    Parameters
    ----------
    problem : a `pdeml.PDE` on a periodic box.
    shape : points per axis.
    times : (T,); the first may be the start.
    dt : largest step; each interval between frames has a whole number of steps.
    device : of the run, in float64.
    options : ``scheme``, ``dealias``, ``mode`` of `pdeml.Stepper`.

    Attributes
    ----------
    channels : names of the variables.
    """

    def __init__(
        self,
        problem: PDE,
        shape: tuple[int, ...],
        times: np.ndarray,
        dt: float,
        device: str | torch.device,
        options: Mapping[str, Any],
    ):
        self._problem, self._shape = problem, shape
        self._dt, self._device, self._options = dt, device, dict(options)
        self._frames = len(times)
        start = _domain(problem).time.start
        later = times[times > start]
        self._from_start = len(later) < len(times)
        self._stretches = _stretches(np.diff([start, *later]))
        self._steppers: dict[float, Stepper] = {}
        self.channels = self._stepper(dt, {}).channels

    def _stepper(self, step: float, families: Mapping[str, Tensor]) -> Stepper:
        def build() -> Stepper:
            return Stepper(
                self._problem, self._shape, step, parameters=families, device=self._device,
                dtype="float64", **self._options,
            )  # fmt: skip

        if families:
            return build()
        if step not in self._steppers:
            self._steppers[step] = build()
        return self._steppers[step]

    def __call__(
        self, initial: Tensor, parameters: Mapping[str, np.ndarray]
    ) -> tuple[Tensor, dict[int, str]]:
        """Frames (B, T, C, *shape) on the CPU, and why samples were lost, by their row."""
        families = {name: torch.from_numpy(values) for name, values in parameters.items()}
        try:
            return self._run(initial, families), {}
        except DivergedError:
            pass  # one by one: a sample that blows up does not touch the others
        rows, lost = [], {}
        for row in range(len(initial)):
            one = {name: values[row : row + 1] for name, values in families.items()}
            try:
                rows.append(self._run(initial[row : row + 1], one))
            except DivergedError as error:
                lost[row] = str(error)
                shape = (1, self._frames, len(self.channels), *self._shape)
                rows.append(torch.full(shape, torch.nan, dtype=initial.dtype))
        return torch.cat(rows), lost

    @torch.no_grad()
    def _run(self, initial: Tensor, families: Mapping[str, Tensor]) -> Tensor:
        now = _domain(self._problem).time.start
        state = initial.to(self._device)
        parts = []
        if self._from_start:
            # what the modes of the run hold of it, as of every other frame
            stepper = self._stepper(self._dt, families)
            parts.append(stepper.inverse_transform(stepper.transform(state))[:, None])
        for gap, count in self._stretches:
            every = max(1, math.ceil(gap / self._dt * (1 - SAME_GAP)))
            stepper = self._stepper(gap / every, families)
            parts.append(stepper.rollout(state, count * every, every=every, time=now))
            state, now = parts[-1][:, -1], now + count * gap
        return torch.cat(parts, 1).cpu()


def _stretches(gaps: np.ndarray) -> list[tuple[float, int]]:
    """Equal gaps that follow each other: their length and number."""
    out: list[tuple[float, int]] = []
    for gap in gaps.tolist():
        if out and math.isclose(out[-1][0], gap, rel_tol=SAME_GAP):
            out[-1] = (out[-1][0], out[-1][1] + 1)
        else:
            out.append((gap, 1))
    return out


class Batched:
    """How a periodic problem is generated: batch by batch.

    Attributes
    ----------
    fields, axes, times, mesh : of the file.
    batch : samples that are solved together.
    identity : what a run that continues must have in common with this one.
    """

    mesh: MeshArrays | None = None

    def __init__(
        self,
        problem: PDE,
        ranges: Mapping[str, tuple[float, float, str]],
        *,
        seed: int,
        samples: int,
        times: np.ndarray,
        resolution: Any,
        initial: Any,
        keep: Any,
        dt: float | None,
        batch: int | None,
        device: torch.device,
        dtype: str,
        deterministic: bool,
        options: dict[str, Any],
        **_: Any,
    ):
        dim = len(problem.space_coordinates)
        shape = checked_resolution(RESOLUTION[dim] if resolution is None else resolution, dim)
        self._ranges, self._samples, self._deterministic = ranges, samples, deterministic
        self.times = times
        self._initial: Start = (
            (lambda seeds, _: initial(seeds))
            if callable(initial)
            else RandomInitial(problem, shape, initial)
        )
        step = checked_step(dt) if dt is not None else self._step(problem, seed, options)
        self._solver = SpectralBatch(problem, shape, times, step, device, options)
        channels = self._solver.channels
        self.batch = DETERMINISTIC_BATCH
        if not deterministic:
            values = len(times) * len(channels) * math.prod(shape)
            fitting = max(1, min(LARGEST_BATCH, BATCH_VALUES // values))
            self.batch = fitting if batch is None else batch
        kind = np.dtype(dtype)
        if not real_fields(problem):
            kind = np.dtype(f"c{2 * kind.itemsize}")
        self.fields = [FieldInfo(name, kind) for name in channels]
        axes = [
            Axis(c.name, a + (b - a) * np.arange(n) / n, periodic=True, length=b - a)
            for c, a, b, n in zip(
                problem.space_coordinates, *_domain(problem).space.bounds, shape, strict=True
            )
        ]
        self._factors = _factors(shape, keep, dim)
        self.axes = list(grids.coarse_axes(axes, self._factors, "spectral"))
        self.identity = {
            "method": "spectral",
            "recipe": RECIPE,
            "initial": _named(initial, sample_seeds(seed, [0])),
            "resolution": list(shape),
            "deterministic": deterministic,
            **options,
            "dt": step,
        }

    def _step(self, problem: PDE, seed: int, options: dict[str, Any]) -> float:
        """The smallest of the steps that the first samples of the seed ask for."""
        seeds = sample_seeds(seed, range(PILOTS))
        values = drawn_parameters(self._ranges, seeds)
        start = self._initial(seeds, values)
        steps = []
        for row in range(PILOTS):
            own = {name: float(v[row]) for name, v in values.items()}
            with torch.no_grad():
                steps.append(
                    suggest_dt(
                        problem.with_parameters(own),
                        start[row : row + 1],
                        tol=STEP_TOLERANCE,
                        **options,
                    )
                )
        return float(f"{min(steps):.2g}")

    def run(self, writer: Writer, retry_failed: bool) -> Iterator[None]:
        """Solve and commit batch by batch; a batch is solved whole, whatever of it is pending."""
        for pending in writer.pending(self.batch, retry_failed):
            begin = time.perf_counter()
            first = int(pending[0]) // self.batch * self.batch
            last = first + self.batch
            ids = np.arange(first, last if self._deterministic else min(last, self._samples))
            seeds = writer.seeds(ids)
            parameters = drawn_parameters(self._ranges, seeds)
            frames, lost = self._solver(self._initial(seeds, parameters), parameters)
            frames = grids.coarsened(frames, self._factors, "spectral")
            seconds = (time.perf_counter() - begin) * len(pending) / len(ids)
            rows = pending - first
            good = np.array([r for r in rows.tolist() if r not in lost], dtype=np.int64)
            if len(good):
                writer.commit(
                    ids[good],
                    wall_time=seconds,
                    **{f.name: frames[good, :, c] for c, f in enumerate(self.fields)},
                    **{name: v[good] for name, v in parameters.items()},
                )
            for row in rows.tolist():
                if row in lost:
                    writer.fail(int(ids[row]), lost[row])
            yield


def _factors(shape: tuple[int, ...], keep: Any, dim: int) -> tuple[int, ...]:
    """By how much the points of the run are more than those that are kept."""
    kept = shape if keep is None else checked_resolution(keep, dim)
    if any(n % k for n, k in zip(shape, kept, strict=True)):
        raise InvalidOption(
            f"keep={keep!r}: give divisors of the points of the run, resolution={shape}."
        )
    return tuple(n // k for n, k in zip(shape, kept, strict=True))


def _named(initial: Any, seeds: np.ndarray) -> Any:
    """What tells a start from another: of a function, its name and what it gives."""
    if not callable(initial):
        return initial
    name = getattr(initial, "__qualname__", type(initial).__qualname__)
    # six digits, which do not depend on the machine
    return {"function": name, "norms": [f"{c.norm().item():.6g}" for c in initial(seeds)[0]]}


def _domain(problem: PDE) -> SpaceTime:
    """The domain of a problem that the spectral method takes."""
    assert isinstance(problem.domain, SpaceTime)
    return problem.domain
