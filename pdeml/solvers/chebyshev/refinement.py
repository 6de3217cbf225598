"""The choice of points and steps: both are refined until the solution stops changing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeml.domains import SpaceTime
from pdeml.errors import DivergedError
from pdeml.solvers.chebyshev.axis import Axis
from pdeml.solvers.chebyshev.grid import Grid
from pdeml.solvers.chebyshev.layers import layer_of
from pdeml.solvers.chebyshev.lowering import Lowered
from pdeml.solvers.chebyshev.radau import Integrator, StepFailure, Trajectory
from pdeml.solvers.chebyshev.steady import Steady, lifted, solve_steady
from pdeml.solvers.chebyshev.system import System
from pdeml.solvers.hermite import thinned

Start = Callable[[Grid], Tensor]
"""The initial state (C, size) on a grid."""

FIRST = 16  # points per axis of the first run
FINITE_BY = {1: 256, 2: 32}  # points per axis on which a run that blows up does so for good
UNSPOILT = 0.9  # part of the states until a failure that show where it came from
LAYER_FROM = 96  # points on an interval from which thin layers get points of their own
UNKNOWNS = 2304  # of a steady problem in the plane, automatic choice
UNKNOWNS_LINEAR, UNKNOWNS_NONLINEAR = 1600, 784  # the same in time, with one Jacobian or many
MAX_POINTS = 1024  # on an interval, automatic choice
SPECTRUM = 1e-12  # relative coefficients below which an expansion counts as resolved
ROUND_OFF = 1e-9  # coefficients that no longer fall below this are round-off
NOISE = 1e-5  # coefficients below this that more points do not reduce are round-off
IDLE = 0.9  # coefficients that fall by less have not fallen
STALLED = 0.3  # coefficients that fall by less gain nothing from more points
UNRESOLVED = 0.1  # error of the steps, relative to the last coefficients, that is good enough
STEPS = 32  # of the first run
MAX_STEPS = {1: 2**11, 2: 2**9}  # by dimension
ORDER = 6  # of the steps where time-dependent conditions meet a stiff equation; 9 elsewhere
DYADIC_LEVELS = 14  # where initial and boundary values disagree, steps start at T·2⁻¹⁴ and double
DYADIC_STEPS = 8  # at least, per doubling
EARLY = 0.05  # part of the time: errors that are largest there come from the start
SETTLED = 0.02  # part of the time after which a jump of the initial value must be resolved
FINE = {1: 128, 2: 40}  # points per axis on which initial and boundary values are compared
MISFIT = 1e-7  # relative difference of initial and boundary values that counts as a jump
STILL = 0.02  # of the time: failures that move by less do not move
STEADY_STEPS = 2**9  # from here on, a failure that does not move is the solution's own


@dataclass(frozen=True)
class Run:
    """One solution on one grid; `steps` is the span over the step size, 0 for a steady one."""

    rows: System
    trajectory: Trajectory
    steps: int = 0
    newton: Steady | None = None

    @property
    def grid(self) -> Grid:
        return self.rows.grid

    @property
    def fields(self) -> Tensor:
        """(F, m, size): values of the fields without velocities."""
        m = len(self.rows.lowered.problem.fields)
        return self.trajectory.states.reshape(-1, self.rows.count, self.grid.size)[:, :m]


class Refinement:
    """Runs of one problem at several resolutions, and how much they differ.

    Parameters
    ----------
    lowered : the rows.
    start : state at the start on a given grid.
    times : instants at which states must be stored.
    device : of the run.
    """

    def __init__(
        self, lowered: Lowered, start: Start | None, times: Sequence[float], device: torch.device
    ):
        self.lowered, self.start, self.times, self.device = lowered, start, times, device
        self.problem = lowered.problem
        domain = self.problem.domain
        self.dim = len(self.problem.space_coordinates)
        self.evolves = self.problem.time is not None
        self.begin, self.end = 0.0, 0.0
        if isinstance(domain, SpaceTime):
            self.begin, self.end = domain.time.start, domain.time.end
        self.span = self.end - self.begin
        lower, upper = (bound[: self.dim] for bound in domain.bounds)
        self.axes = tuple(
            Axis(float(a), float(b), FIRST, p)
            for a, b, p in zip(lower, upper, lowered.periodic, strict=True)
        )
        self.notes: list[str] = []
        self.rough, self.unknowns = False, UNKNOWNS
        if self.evolves:
            self._check_start()

    def _check_start(self) -> None:
        """Whether initial and boundary values agree, on a fine grid."""
        assert self.start is not None
        system = System(self.lowered, self.grid([a.resized(FINE[self.dim]) for a in self.axes]))
        self.unknowns = UNKNOWNS_LINEAR if system.constant else UNKNOWNS_NONLINEAR
        misfit = system.misfit(self.begin, self.start(system.grid).flatten())
        if misfit > MISFIT:
            self.rough = True
            self.notes.append(
                f"the initial value does not satisfy the conditions on the boundary (it is off by "
                f"{misfit:.1e} of its size): the error is largest near the start"
            )

    # ------------------------------------------------------------------------------------- one run

    def grid(self, axes: Sequence[Axis]) -> Grid:
        return Grid(axes, self.device)

    def plan(self, steps: int) -> list[tuple[float, float, int]]:
        """Segments between the times to hit, graded towards the start if that is rough."""
        breaks = {self.begin, self.end, *self.times}
        if self.rough:
            breaks |= {self.begin + self.span * 2.0**-j for j in range(1, DYADIC_LEVELS + 1)}
        plan = []
        for a, b in itertools.pairwise(sorted(breaks)):
            count = max(1, math.ceil(steps * (b - a) / self.span * (1 - 1e-9)))
            if self.rough:
                count = max(count, DYADIC_STEPS * steps // STEPS)
            plan.append((a, b, count))
        return plan

    def run(self, axes: Sequence[Axis], steps: int, near: Run | None = None) -> Run:
        """A solution on these axes; a steady one starts from `near`."""
        system = System(self.lowered, self.grid(axes))
        if not self.evolves:
            begin = self._first_guess(system, near)
            found = solve_steady(system, begin)
            states = found.state[None]
            trajectory = Trajectory(states.new_zeros(1), states, torch.zeros_like(states))
            return Run(system, trajectory, newton=found)
        assert self.start is not None
        begin = self.start(system.grid).flatten()
        return Run(system, Integrator(system).run(self.plan(steps), begin), steps)

    def _first_guess(self, system: System, near: Run | None) -> Tensor:
        if near is not None:
            return system.grid.resample(near.fields[0], near.grid).flatten()
        if self.start is not None:
            return self.start(system.grid).flatten()
        return lifted(system)

    # ----------------------------------------------------------------------------------- refinement

    def tails(self, run: Run) -> list[float]:
        """Relative size of the last coefficients along each axis, once a jump has been smoothed."""
        age = run.trajectory.times - self.begin
        kept = age >= (SETTLED * self.span if self.rough else 0.0)
        return run.grid.tails(run.fields[kept])

    def first_finite(self, axes: Sequence[Axis], steps: int, free: bool) -> Run:
        """A run at this resolution; free steps are halved until every step has a solution.

        Where shorter steps fail at the same time, it is the solution that blows up.
        """
        times: list[float] = []
        while True:
            try:
                return self.run(axes, steps)
            except StepFailure as failure:
                times.append(failure.time)
                settled = steps >= STEADY_STEPS and len(times) > 2
                settled = settled and max(times[-3:]) - min(times[-3:]) < STILL * self.span
                if free and not settled and 2 * steps <= MAX_STEPS[self.dim]:
                    steps *= 2
                    continue
                advice = "" if free else "; give a smaller dt"
                raise DivergedError(
                    f'{self.problem.name!r} has no solution by "chebyshev" beyond t = '
                    f"{failure.time:.6g}: it blows up there, or {self.span / steps:.3g} is too "
                    f"long a step{advice}."
                ) from None

    def resolve(self, steps: int, free: bool) -> Run:
        """Refine in space until the coefficients have decayed."""
        run = self._first(steps, free)
        before, probe_steps = [math.inf] * self.dim, self.evolves and free
        best, least, idle, layered = run, math.inf, 0, False
        while True:
            tails = self.tails(run)
            if self.dim == 1 and not layered and run.grid.size >= LAYER_FROM:
                layered, tails, run = True, *self._layered(run, tails, free)
            best, least, idle = (
                (run, max(tails), 0) if max(tails) < IDLE * least else (best, least, idle + 1)
            )
            if idle == 2 and least <= NOISE:
                self.notes.append(
                    f"round-off: more points than {shown(best.grid)} no longer reduce the last "
                    f"coefficients, {least:.1e}"
                )
                return best
            axes = run.grid.axes
            wanted = [
                axis.size
                if tail <= SPECTRUM or (tail <= ROUND_OFF and tail > STALLED * old)
                else self._grown(axis.size, tail)
                for axis, tail, old in zip(axes, tails, before, strict=True)
            ]
            larger = self._limited(wanted)
            if all(n <= axis.size for n, axis in zip(larger, axes, strict=True)):
                if wanted != [axis.size for axis in axes]:
                    self.notes.append(
                        f"not resolved: the coefficients have decayed to {max(tails):.1e} only at "
                        f"{shown(run.grid)} points; resolution= takes more"
                    )
                return run
            larger_axes = tuple(a.resized(n) for a, n in zip(axes, larger, strict=True))
            trial = self._next(larger_axes, run.steps or steps, free, run)
            if probe_steps and max(self.tails(trial)) > STALLED * max(tails):
                # no gain from more points: the last coefficients may be errors of the steps
                shorter = self._next(axes, 2 * trial.steps, free, None)
                if max(self.tails(shorter)) <= STALLED * max(tails):
                    run, before = shorter, [math.inf] * self.dim
                    continue
                probe_steps = False
            run, before = trial, tails

    def _first(self, steps: int, free: bool) -> Run:
        """A run on the smallest grid on which it stays finite: coarse ones may be unstable."""
        axes = self.axes
        while self.evolves and axes[0].size < FINITE_BY[self.dim]:
            for count in (steps, 2 * steps) if free else (steps,):
                try:
                    return self.run(axes, count)
                except StepFailure as failure:
                    seen = failure.states
            axes = tuple(a.resized(2 * a.size) for a in axes)
            if self.dim == 1 and seen is not None and axes[0].size > LAYER_FROM:
                # a thin layer may be what the grid did not hold
                axes = self._crowded(axes, seen[: math.ceil(UNSPOILT * len(seen))])
        return self._next(axes, steps, free, None)

    def _crowded(self, axes: Sequence[Axis], states: Tensor) -> tuple[Axis, ...]:
        """An axis, at half of its points, with points crowded at a layer of states (F, n)."""
        grid = self.grid([a.resized(a.size // 2) for a in axes])
        m = len(self.problem.fields)
        fields = states.reshape(len(states), -1, grid.size)[:, :m]
        layer = None if axes[0].periodic else layer_of(grid, fields)
        return tuple(axes) if layer is None else (axes[0].with_layers([layer]),)

    def fixed(self, axes: Sequence[Axis], steps: int, free: bool) -> Run:
        """A run on given axes."""
        return self._next(axes, steps, free, None)

    def _next(self, axes: Sequence[Axis], steps: int, free: bool, near: Run | None) -> Run:
        if self.evolves:
            return self.first_finite(axes, steps, free)
        good = near is not None and near.newton is not None and near.newton.converged
        return self.run(axes, 0, near if good else None)

    def _layered(self, run: Run, tails: list[float], free: bool) -> tuple[list[float], Run]:
        """A run with points crowded at a thin layer, if that resolves the solution better."""
        (axis,) = run.grid.axes
        layer = None if axis.periodic else layer_of(run.grid, run.fields)
        if layer is None or tails[0] <= SPECTRUM:
            return tails, run
        crowded = self._next((axis.with_layers([layer]),), run.steps, free, run)
        found = self.tails(crowded)
        return (found, crowded) if found[0] < tails[0] else (tails, run)

    def _grown(self, size: int, tail: float) -> int:
        """The next number of points, as the exponential decay of the coefficients predicts."""
        wanted = math.log(SPECTRUM) / math.log(min(tail, 0.5))
        return 2 * math.ceil(size * min(max(1.1 * wanted, 1.25), 2.0) / 2)

    def _limited(self, wanted: Sequence[int]) -> list[int]:
        """Numbers of points within what the automatic choice affords."""
        if self.dim == 1:
            return [min(wanted[0], MAX_POINTS)]
        afford = self.unknowns / len(self.lowered.components)
        shrink = min(1.0, math.sqrt(afford / math.prod(wanted)))
        return [max(FIRST, math.floor(n * shrink)) for n in wanted]

    def refine(self, run: Run, tol: float) -> Run:
        """Shorten the steps until the estimated error, at and between them, is below `tol`."""
        # where space is not resolved, shorter steps are no cure
        tol = max(tol, UNRESOLVED * max(self.tails(run)))
        ratio, before = 2, math.inf
        while True:
            steps = run.steps * ratio  # a whole ratio: the runs meet at all times of the coarser
            if steps > MAX_STEPS[self.dim]:
                self.notes.append(f"stopped at {run.steps} steps; tolerance {tol:g} is not reached")
                return run
            finer = self.first_finite(run.grid.axes, steps, True)
            change = self.difference(run, finer)["l2_relative"]
            path = finer.trajectory
            between = thinned(path.times, path.states, path.rates, 0.0)[-1]
            error = max(change / (ratio**ORDER - 1), between if between == between else 0.0)
            if error <= tol / 3:
                return finer
            if change > before / 8 and not self.rough and self._early(run, finer):
                # rates that jump at the start hold back the order of the steps
                self.rough = True
                run, before = self.first_finite(run.grid.axes, STEPS, True), math.inf
                continue
            if change > before / 2 and change < 1e-8:
                self.notes.append(
                    f"round-off: shorter steps no longer change less than {change:.1e}"
                )
                return finer
            run, before = finer, change
            ratio = min(max(math.ceil((3 * error / tol) ** (1 / ORDER)), 2), 4)

    def _early(self, coarse: Run, fine: Run) -> bool:
        """Whether two runs differ most near the start."""
        times, gap, _ = self._compared(coarse, fine)
        return times[gap.abs().amax((1, 2)).argmax()].item() - self.begin < EARLY * self.span

    def _compared(self, coarse: Run, fine: Run) -> tuple[Tensor, Tensor, Tensor]:
        """Common times (F,), and the difference and the finer of two runs there, (F, m, size)."""
        times = fine.trajectory.times
        gaps = (times[:, None] - coarse.trajectory.times).abs()
        common, partner = torch.nonzero(gaps <= 1e-9 * self.span, as_tuple=True)
        ours = fine.fields[common]
        gap = ours - fine.grid.resample(coarse.fields[partner], coarse.grid)
        return times[common], gap, ours

    def difference(self, coarse: Run, fine: Run) -> dict[str, float]:
        """Relative L2 over space and time, and the maximum, of the difference of two runs."""
        times, gap, ours = self._compared(coarse, fine)
        weights = fine.grid.weights
        square, norm = ((weights * a**2).sum((1, 2)) for a in (gap, ours))
        if self.evolves:
            square, norm = (torch.trapezoid(a, times.to(a)) for a in (square, norm))
        return {
            "l2_relative": math.sqrt(square.sum().item() / max(norm.sum().item(), 1e-300)),
            "linf": gap.abs().max().item(),
        }

    def verified(self, run: Run) -> tuple[dict[str, float] | None, str]:
        """The difference to a run with 3/4 of the points and half the steps."""
        axes = [a.resized(max(4, 2 * round(0.375 * a.size))) for a in run.grid.axes]
        points = shown(self.grid(axes))
        if not self.evolves:
            coarse = self.run(axes, 0, run)
            if coarse.newton is not None and not coarse.newton.converged:
                return None, ""
            return self.difference(coarse, run), f"{points} points"
        for steps in (run.steps // 2, run.steps):
            try:
                coarse = self.run(axes, max(1, steps))
            except StepFailure:
                continue
            text = f"{points} points, dt = {self.span / max(1, steps):.3g}"
            return self.difference(coarse, run), text
        return None, ""


def shown(grid: Grid) -> str:
    """Its shape in words."""
    return "×".join(map(str, grid.shape))
