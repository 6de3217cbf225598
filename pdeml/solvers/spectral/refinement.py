"""The choice of resolution and step: both are refined until the solution stops changing."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdeml.operators.symbol import Split, Values
from pdeml.solvers.spectral.grid import FourierGrid
from pdeml.solvers.spectral.march import BlowUp, Segment, StepCache, Trajectory, integrate
from pdeml.solvers.spectral.schemes import Scheme
from pdeml.solvers.spectral.system import SemilinearSystem

FRAMES = {1: 512, 2: 64, 3: 32}  # stored states of a smooth solution, by dimension
DYADIC_LEVELS = 12  # a rough initial value starts with steps of T·2⁻¹² and doubles them
DYADIC_FRAMES = 48  # stored states per doubling
SETTLED = 0.02  # part of the time after which a rough initial value must be resolved
MAX_POINTS = {1: 8192, 2: 512, 3: 128}  # per axis, automatic choice
MAX_STEPS = 2**18
DECAYED = 36.0  # e^-36 = 2e-16
KINK_TOLERANCE = 1e-6  # of the time steps, where a kink that stays limits the error anyway
STEADY_STEPS = 2**12  # from here on, a blow-up that does not move is the solution's own
SPECTRUM = {torch.float64: 1e-12, torch.float32: 1e-6}  # where a spectrum counts as decayed
ROUGH = 1e-9  # an initial spectrum that ends above this has a kink or a jump


@dataclass(frozen=True)
class Run:
    """One integration at one resolution; `steps` is T over the step size."""

    shape: tuple[int, ...]
    steps: int
    system: SemilinearSystem
    trajectory: Trajectory

    @property
    def grid(self) -> FourierGrid:
        return self.system.grid


class Refinement:
    """Runs of one problem at several resolutions, and how much they differ.

    Parameters
    ----------
    problem, right, values : the declaration, its split right-hand side, its parameters.
    scheme, options : of the runs (`SemilinearSystem`: dealias, mode, device, dtype).
    modes, fine : the initial state in Fourier space (C, *modes), and the linear system on its grid.
    times : instants at which states must be stored.
    progress : (fraction of the current run, figures) -> None.
    time_limit : seconds; no run is begun that would end later, as far as the last one tells.
    """

    def __init__(
        self,
        problem: Any,
        right: Split,
        values: Values,
        scheme: Scheme,
        modes: Tensor,
        fine: SemilinearSystem,
        times: Sequence[float],
        progress: Callable[[float, dict[str, float | int | str]], None],
        time_limit: float = math.inf,
        **options: Any,
    ):
        self.problem, self.right, self.values, self.scheme = problem, right, values, scheme
        self.modes, self.linear, self.fine = modes, fine, fine.grid
        self.device, self.dtype = options["device"], options["dtype"]
        self.options, self.progress = options, progress
        self.begin, self.time_limit, self.unaffordable = time.perf_counter(), time_limit, False
        self._seconds = 0.0  # per point and step of the last run
        self.start, self.end = problem.domain.time.start, problem.domain.time.end
        self.span = self.end - self.start
        self.dim = self.fine.dim
        self.frames = FRAMES[self.dim]
        self.times = times
        self.keep = fine.products_keep(options["dealias"])
        limit = MAX_POINTS[self.dim]
        self.notes: list[str] = []
        self.rough = self.kept_kink = False
        if self._share_beyond(limit) > ROUGH:
            outside = ~self.fine.within([limit * self.keep] * self.dim)
            decay = -fine.abscissa[outside]
            self.rough = bool(decay.numel()) and decay.min().item() * self.span > DECAYED
            self.kept_kink = not self.rough
        if self.kept_kink:
            self.notes.append(
                "the periodic extension of the initial value is not smooth and the linear terms do "
                "not smooth it: the error falls slowly with resolution"
            )

    def _share_beyond(self, points: int) -> float:
        """Largest initial mode that a grid of so many points does not retain, relative."""
        outside = ~self.fine.within([points * self.keep] * self.dim)
        size = self.modes.abs()
        if not outside.any():
            return 0.0
        return (size[:, outside].max() / size.max().clamp(min=1e-300)).item()

    def first_shape(self) -> tuple[int, ...]:
        """Smallest grid that resolves the initial value, or a middling one where none does."""
        low, high = {1: 64, 2: 32, 3: 16}[self.dim], MAX_POINTS[self.dim]
        if self.kept_kink:
            return (high // 8,) * self.dim
        n = low
        while n < high and self._share_beyond(n) > SPECTRUM[self.dtype] / 100:
            n *= 2
        return (high // 8 if n == high else n,) * self.dim

    def plan(self, steps: int) -> list[Segment]:
        """Segments between the times to hit, graded towards the start if that is rough."""
        breaks = {self.start, self.end, *self.times}
        if self.rough:
            breaks |= {self.start + self.span * 2.0**-j for j in range(1, DYADIC_LEVELS + 1)}
        ordered, segments = sorted(breaks), []
        for a, b in itertools.pairwise(ordered):
            frames, density = self.frames / self.span, steps / self.span
            if self.rough:
                age = max(a - self.start, self.span * 2.0**-DYADIC_LEVELS)
                frames, density = DYADIC_FRAMES / age, max(density, steps / 16 / age)
            kept = max(1, math.ceil(min(frames, density) * (b - a) * (1 - 1e-9)))
            every = max(1, math.ceil(density * (b - a) / kept * (1 - 1e-9)))
            segments.append(Segment(a, b, kept * every, every))
        return segments

    def run(self, shape: tuple[int, ...], steps: int) -> Run:
        system = SemilinearSystem(
            self.right,
            self.values,
            self.fine.lower,
            self.fine.lengths,
            shape,
            real=self.fine.real,
            **self.options,
        )
        begin = system.grid.resample(self.modes, self.fine).to(self.device, system.complex_dtype)
        begin, _ = system.admissible(begin[None])
        points = "×".join(map(str, shape))

        def show(now: float) -> None:
            self.progress((now - self.start) / self.span, {"points": points, "steps": steps})

        plan, start = self.plan(steps), time.perf_counter()
        path = integrate(StepCache(system), self.scheme, begin, plan, on_snapshot=show)
        self._seconds = (time.perf_counter() - start) / (steps * math.prod(shape))
        return Run(shape, steps, system, path)

    def affords(self, shape: tuple[int, ...], steps: int) -> bool:
        """Whether another run is likely to end within the time limit; a note where it is not."""
        left = self.time_limit - (time.perf_counter() - self.begin)
        if self._seconds * steps * math.prod(shape) <= left:
            return True
        if not self.unaffordable:
            self.notes.append(f"not refined further: time_limit={self.time_limit:g} s")
        self.unaffordable = True
        return False

    def tail(self, run: Run) -> float:
        """Largest of the outermost retained modes relative to the largest mode, over time."""
        bounds = [n * self.keep for n in run.grid.shape]
        shell = run.grid.within(bounds) & ~run.grid.within([0.85 * b for b in bounds])
        settled = run.trajectory.times - self.start >= SETTLED * self.span
        kept = settled if self.rough else torch.ones_like(settled)
        size = run.trajectory.modes[kept].abs().flatten(1, 2).amax(1)
        whole = size.flatten(1).amax(1).clamp(min=1e-300)
        return (size[:, shell].amax(1) / whole).max().item()

    def difference(self, coarse: Run, fine: Run) -> dict[str, float]:
        """Relative L2 over space and time, and the maximum, of the difference of two runs."""
        gaps = (fine.trajectory.times[:, None] - coarse.trajectory.times).abs()
        common, partner = torch.nonzero(gaps <= 1e-9 * self.span, as_tuple=True)
        times = fine.trajectory.times[common]
        modes = fine.trajectory.modes[common].to(torch.complex128)
        other = fine.grid.resample(coarse.trajectory.modes[partner], coarse.grid)
        other = other.to(torch.complex128)
        if self.has_tail:
            ones = torch.ones(coarse.grid.modes, dtype=torch.complex128, device=self.device)
            resolved = fine.grid.resample(ones, coarse.grid).real > 0
            begin = fine.grid.resample(self.modes, self.fine).to(self.device)
            age = (times - self.start).reshape(-1, 1, *[1] * begin.dim())
            flow = begin * torch.exp(fine.system.linear.values * age)
            other = torch.where(resolved, other, flow)
        weights = fine.grid.parseval()
        gap = modes - other
        square = (weights * gap.abs() ** 2).flatten(1).sum(1)
        norm = (weights * modes.abs() ** 2).flatten(1).sum(1)
        total = torch.trapezoid(norm, times).clamp(min=1e-300)
        largest = max(fine.grid.inverse(part).abs().max().item() for part in gap.split(32))
        return {
            "l2_relative": math.sqrt((torch.trapezoid(square, times) / total).item()),
            "linf": largest,
        }

    @property
    def has_tail(self) -> bool:
        """Whether unresolved initial modes decay, so that their linear flow is worth adding."""
        return self.rough and self.dim == 1 and self.linear.flows

    def grown(self, shape: tuple[int, ...], tail: float) -> tuple[int, ...] | None:
        """The next grid, as the exponential decay of the spectrum predicts; None at the limit."""
        limit = MAX_POINTS[self.dim]
        if max(shape) >= limit or self.kept_kink:
            return None
        wanted = math.log(SPECTRUM[self.dtype]) / math.log(min(tail, 0.5))
        factor = min(max(1.1 * wanted, 1.3), 4.0)
        return tuple(min(limit, _friendly(n * factor)) for n in shape)

    def first_finite(self, shape: tuple[int, ...], steps: int, free_steps: bool) -> Run:
        """A run at this resolution; free steps are halved until it does not diverge.

        Where shorter steps diverge at the same time, it is the solution that blows up.
        """
        times: list[float] = []
        while True:
            try:
                return self.run(shape, steps)
            except BlowUp as failure:
                times.append(failure.time)
                steady = len(times) > 2 and max(times[-3:]) - min(times[-3:]) < 0.05 * self.span
                if not free_steps or 2 * steps > MAX_STEPS or (steady and steps >= STEADY_STEPS):
                    raise
                steps *= 2

    def resolve(self, shape: tuple[int, ...], steps: int, free_steps: bool) -> Run:
        """Refine in space until the spectrum has decayed."""
        before = math.inf
        while True:
            run = self.first_finite(shape, steps, free_steps)
            steps, tail = run.steps, self.tail(run)
            larger = self.grown(shape, tail)
            if tail <= SPECTRUM[self.dtype] or (larger is None and self.kept_kink):
                return run
            if larger is not None and not self.affords(larger, steps):
                return run
            if larger is None:
                self.notes.append(
                    f"the spectrum has decayed to {tail:.1e} only at {shape[0]} points per axis"
                )
                return run
            if free_steps and tail > 0.5 * before and 2 * steps <= MAX_STEPS:
                steps *= 2  # no gain from more modes: the high ones may be noise of the time steps
            shape, before = larger, tail

    def refine(self, run: Run, tol: float) -> Run:
        """Shorten the steps until the estimated error is below the tolerance."""
        ratio, before, order = 2.0, math.inf, self.scheme.order
        tol = max(tol, KINK_TOLERANCE) if self.kept_kink else tol
        while True:
            steps = math.ceil(run.steps * ratio)
            if steps > MAX_STEPS:
                self.notes.append(f"stopped at {run.steps} steps; tolerance {tol:g} is not reached")
                return run
            if not self.affords(run.shape, steps):
                return run
            finer = self.run(run.shape, steps)
            change = self.difference(run, finer)["l2_relative"]
            error = change / (ratio**order - 1)
            if error <= tol / 3:
                return finer
            if change > before / 2 and change < 1e-8:
                self.notes.append(
                    f"round-off: shorter steps no longer change less than {change:.1e}"
                )
                return finer
            run, before = finer, change
            ratio = min(max(1.1 * (3 * error / tol) ** (1 / order), 1.5), 8.0)

    def truncation(self) -> dict[str, float]:
        """What the last quarter of the initial modes contributes at most, for a linear flow."""
        grid = self.fine
        outer = ~grid.within([0.375 * n for n in grid.shape])
        growth = math.exp(
            min(700.0, max(0.0, self.linear.abscissa[outer].max().item() * self.span))
        )
        size, weights = self.modes.abs(), grid.parseval()
        whole = (weights * size**2).sum().clamp(min=1e-300)
        return {
            "l2_relative": growth * ((weights * (size * outer) ** 2).sum() / whole).sqrt().item(),
            "linf": growth * (weights * size * outer).sum().item(),
        }

    def verified(self, run: Run) -> tuple[dict[str, float] | None, str]:
        """The difference to a run with 3/4 of the points and half the steps."""
        shape = tuple(max(4, 2 * round(0.375 * n)) for n in run.shape)
        for steps in (run.steps // 2, run.steps):
            try:
                coarse = self.run(shape, max(1, steps))
            except BlowUp:
                continue
            text = f"{'×'.join(map(str, shape))} points, dt = {self.span / max(1, steps):.3g}"
            return self.difference(coarse, run), text
        return None, ""


def _friendly(n: float) -> int:
    """The smallest 2^a or 3·2^a that is at least n: lengths that FFTs like."""
    power = 2 ** math.ceil(math.log2(n) - 1e-12)
    return power * 3 // 4 if power * 3 // 4 >= n and power >= 8 else power
