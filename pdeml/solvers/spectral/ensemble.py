"""Many trajectories of one declared problem: a batch of initial values or parameters."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pdeml.errors import InvalidOption
from pdeml.operators.symbol import Split, Values
from pdeml.progress import ProgressBar
from pdeml.solvers.report import Report
from pdeml.solvers.spectral.grid import FourierGrid
from pdeml.solvers.spectral.lowering import real_fields
from pdeml.solvers.spectral.march import (
    Guard,
    Snapshot,
    StepCache,
    march,
    march_adaptively,
    uniform_plan,
)
from pdeml.solvers.spectral.schemes import Scheme
from pdeml.solvers.spectral.system import SemilinearSystem

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray

OUTPUTS = 101  # stored times where none are given
CHUNK_ENTRIES = 2**24  # grid values of the trajectories that are advanced together


@dataclass
class Ensemble:
    """Trajectories on a periodic grid.

    Attributes
    ----------
    problem : the `pdeml.PDE`.
    times : (T,) in float64.
    values : (B, T, m, *n): trajectory, time, field in the order of ``problem.fields``, points (left
        end included, right end left out). NaN where a trajectory was lost or not computed.
    points : coordinates of the grid per axis, each (n_i,).
    parameters : values (B,) of the parameters that differ between trajectories.
    lost : time at which a trajectory became infinite, by its number.
    report, options : what happened, and the options of the run.
    """

    problem: Any
    times: Tensor
    values: Tensor
    points: tuple[Tensor, ...]
    report: Report
    parameters: dict[str, Tensor] = field(default_factory=dict)
    lost: dict[int, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    method = "spectral"

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.values.shape[3:]))
        lost = f", {len(self.lost)} lost" if self.lost else ""
        return (
            f"Ensemble({len(self)} trajectories of {self.problem.name!r}, {len(self.times)} times, "
            f"{shape} points{lost})"
        )

    def to_xarray(self) -> xarray.Dataset:
        """The values with their coordinates: dimensions sample, time, then space."""
        import xarray

        names = [c.name for c in self.problem.space_coordinates]
        clock = self.problem.time.name
        coordinates: dict[str, Any] = {
            "sample": np.arange(len(self)),
            clock: (clock, self.times.cpu().numpy(), {"units": "1", "axis": "T"}),
        }
        for name, axis in zip(names, self.points, strict=True):
            coordinates[name] = (name, axis.cpu().numpy(), {"units": "1", "axis": "X"})
        for name, value in self.parameters.items():
            coordinates[name] = ("sample", value.detach().cpu().numpy())
        values = self.values.detach().cpu().numpy()
        variables = {
            f.func.__name__: (
                ("sample", clock, *names),
                values[:, :, i],
                {"long_name": f.func.__name__, "units": "1"},
            )
            for i, f in enumerate(self.problem.fields)
        }
        attributes = {"problem": self.problem.name, "method": self.method}
        return xarray.Dataset(variables, coordinates, attributes)

    def plot(self, sample: int = 0) -> matplotlib.figure.Figure:
        """Draw one trajectory."""
        from pdeml import plots

        return plots.figure(self.to_xarray().isel(sample=sample).squeeze(drop=True), None)


@dataclass
class EnsembleRun:
    """Everything that one batch needs; calling it computes the `Ensemble`."""

    problem: Any
    right: Split
    values: Values
    scheme: Scheme
    initial: Tensor
    shape: tuple[int, ...] | None
    dt: float | None
    times: Sequence[float]
    rtol: float
    atol: float
    on_blowup: str
    checkpoint_every: int | None
    system: Mapping[str, Any]
    progress: bool
    options: dict[str, Any]

    def __call__(self) -> Ensemble:
        if self.on_blowup not in ("raise", "mask"):
            raise InvalidOption(f"on_blowup={self.on_blowup!r}: give 'raise' or 'mask'.")
        begin = time.perf_counter()
        clock = self.problem.domain.time
        if not self.times:
            self.times = np.linspace(clock.start, clock.end, OUTPUTS).tolist()
        lower, upper = self.problem.domain.space.bounds
        lengths = [b - a for a, b in zip(lower, upper, strict=True)]
        source = FourierGrid(lower, lengths, self.initial.shape[2:], real_fields(self.problem))
        shape = source.shape if self.shape is None else self.shape
        families = {p.name: v for p, v in self.values.items() if isinstance(v, Tensor) and v.dim()}
        batch = max(len(self.initial), *(len(v) for v in families.values()), 1)
        start = self.initial.expand(batch, *self.initial.shape[1:])
        tensors = [self.initial, *(v for v in self.values.values() if isinstance(v, Tensor))]
        grad = torch.is_grad_enabled() and any(v.requires_grad for v in tensors)
        if grad and self.dt is None:
            raise InvalidOption(
                "Gradients need a fixed step: give dt=, or call under torch.no_grad()."
            )

        size = batch
        if not grad:
            size = max(1, min(batch, CHUNK_ENTRIES // (start[0].numel())))
        parts: list[Tensor] = []
        lost: dict[int, float] = {}
        notes: list[str] = []
        steps, interrupted = 0, False
        with ProgressBar(f"spectral {self.problem.name}", self.progress) as bar:
            for first in range(0, batch, size):
                rows = slice(first, min(first + size, batch))
                built = self._built(lower, lengths, shape, rows)
                modes = self._modes(built, source, start[rows])
                guard = Guard(self.dt or 0.0, self.on_blowup, first)
                outputs: list[Tensor] = []
                try:
                    for number, snapshot in enumerate(self._march(built, modes, guard)):
                        if snapshot.time >= self.times[0] - 1e-12 * abs(self.times[-1]):
                            everything = built.fields(snapshot.modes, snapshot.time)
                            outputs.append(built.grid.inverse(everything))
                        share = (first + size * (number + 1) / (len(self.times) + 1)) / batch
                        bar.update(share, {"trajectories": batch, "t": snapshot.time})
                except KeyboardInterrupt:
                    interrupted = True
                steps = max(steps, guard.accepted or self._fixed_steps(clock.start))
                lost |= guard.broken
                if not outputs and interrupted:
                    break
                part = torch.stack(outputs, 1)
                missing = len(self.times) - part.shape[1]
                if missing:
                    gap = part.new_full((len(part), missing, *part.shape[2:]), float("nan"))
                    part = torch.cat([part, gap], 1)
                parts.append(part)
                if interrupted:
                    break
        if interrupted and not parts:
            raise KeyboardInterrupt
        result = torch.cat(parts)
        if interrupted:
            notes.append(f"interrupted: {len(result)} of {batch} trajectories, NaN after the stop")
        if lost:
            notes.append(
                f"{len(lost)} of {batch} trajectories became infinite and are NaN from then"
            )
        error = None
        if not grad and not interrupted and not lost:
            error = self._estimate(lower, lengths, shape, source, start, result, notes)
        points = FourierGrid(lower, lengths, shape).points
        report = Report(
            method="spectral",
            converged=None if error is None else error["l2_relative"] <= 1e-3,
            dtype=str(self.system["dtype"]).removeprefix("torch."),
            device=str(self.system["device"]),
            engine=self.scheme.name.upper(),
            wall_time=time.perf_counter() - begin,
            iterations=steps,
            error=error,
            reference="unknown" if error is None else "self-convergence",
            interrupted=interrupted,
            notes=notes,
        )
        return Ensemble(
            self.problem,
            torch.tensor(self.times, dtype=torch.float64),
            result,
            tuple(p.flatten() for p in points),
            report,
            families,
            lost,
            self.options,
        )

    def _fixed_steps(self, start: float) -> int:
        stops = [start, *(s for s in self.times if s > start)]
        return sum(s.steps for s in uniform_plan(stops, self.dt or math.inf))

    def _built(
        self,
        lower: Sequence[float],
        lengths: Sequence[float],
        shape: Sequence[int],
        rows: slice,
    ) -> SemilinearSystem:
        device = self.system["device"]
        values = {
            p: (v[rows] if v.dim() else v).to(device) if isinstance(v, Tensor) else v
            for p, v in self.values.items()
        }
        real = real_fields(self.problem)
        return SemilinearSystem(self.right, values, lower, lengths, shape, real=real, **self.system)

    def _modes(self, built: SemilinearSystem, source: FourierGrid, start: Tensor) -> Tensor:
        kind = torch.float64 if source.real else torch.complex128
        modes = built.grid.resample(source.forward(start.to(kind)), source)
        return built.admissible(modes.to(built.grid.device, built.complex_dtype))[0]

    def _march(
        self, built: SemilinearSystem, modes: Tensor, guard: Guard, halved: bool = False
    ) -> Iterator[Snapshot]:
        """States at the start (where it is not asked for, too) and at the times."""
        start = self.problem.domain.time.start
        stops = [start, *(s for s in self.times if s > start)]
        cache = StepCache(built)
        if len(stops) == 1:
            yield Snapshot(start, modes, modes)
            return
        if self.dt is None:
            rtol = self.rtol / 16 if halved else self.rtol
            yield from march_adaptively(
                cache, self.scheme, modes, stops, guard, rtol=rtol, atol=self.atol
            )
            return
        yield from march(
            cache,
            self.scheme,
            modes,
            uniform_plan(stops, self.dt / 2 if halved else self.dt),
            on_check=guard,
            checkpoint_every=self.checkpoint_every,
        )

    def _estimate(
        self,
        lower: Sequence[float],
        lengths: Sequence[float],
        shape: Sequence[int],
        source: FourierGrid,
        start: Tensor,
        result: Tensor,
        notes: list[str],
    ) -> dict[str, float] | None:
        """The first trajectory against one with half the step and 3/2 of the points."""
        finer = tuple(2 * -(-3 * n // 4) for n in shape)
        rows = slice(0, 1)
        built = self._built(lower, lengths, finer, rows)
        coarse = self._built(lower, lengths, shape, rows)
        guard = Guard(self.dt or 0.0, "mask")
        values = [
            coarse.grid.inverse(coarse.grid.resample(built.fields(s.modes, s.time), built.grid))
            for s in self._march(built, self._modes(built, source, start[rows]), guard, halved=True)
            if s.time >= self.times[0] - 1e-12 * abs(self.times[-1])
        ]
        gap = torch.stack(values, 1) - result[rows]
        norm = result[rows].abs().square().sum().clamp(min=1e-300)
        error = {
            "l2_relative": (gap.abs().square().sum() / norm).sqrt().item(),
            "linf": gap.abs().max().item(),
        }
        if not all(map(np.isfinite, error.values())):
            notes.append("no error estimate: the finer run diverged")
            return None
        notes.append(
            f"self-convergence: trajectory 0 against {'×'.join(map(str, finer))} points and "
            + ("half the step" if self.dt else "a sixteenth of rtol")
        )
        return error
