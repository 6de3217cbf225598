"""Solutions on finer and finer levels, and what their differences say of the error."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pdeml.domains import SpaceTime
from pdeml.errors import DivergedError, InvalidOption, InvalidProblem
from pdeml.operators.weak import WeakForm
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.adaptivity import adapted, can_adapt
from pdeml.solvers.fem.curved import gap_note
from pdeml.solvers.fem.field import FiniteElementField
from pdeml.solvers.fem.march import COARSEST, ORDERS, March, stretches, without_means
from pdeml.solvers.fem.mesh import Mesh, mesh_of, space_of
from pdeml.solvers.fem.output import field_of
from pdeml.solvers.fem.pace import Pace, paced
from pdeml.solvers.fem.plan import Plan
from pdeml.solvers.fem.processes import communicator, of_first
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.steady import solve_steady
from pdeml.solvers.fem.system import System, taken
from pdeml.solvers.fem.trajectory import Trajectory
from pdeml.solvers.fem.verdict import extrapolated, observed_rate
from pdeml.solvers.report import Report
from pdeml.solvers.solution import Solution

TOLERANCE = {False: 1e-6, True: 1e-4}  # steady, in time
FIRST = {1: 16, 2: 8, 3: 4}  # cells along the longest axis of the coarsest level
DEFAULT = {1: 128, 2: 32, 3: 8}  # the same where only dt is given
DEFAULT_STEPS = 128  # where only h is given
UNKNOWNS = {1: 40_000, 2: 70_000, 3: 30_000}  # most of a steady problem on its finest level
WORK = {1: 600_000, 2: 300_000, 3: 100_000}  # most unknowns times solves in time
KEPT_WORK = {1: 2_400_000, 2: 2_400_000, 3: 800_000}  # the same where a factor is kept
LOOSEST = 0.1  # of rtol on coarser levels
PACED_ORDER = 3  # of both, at most, where steps adapt: errors follow tolerances loosely


@dataclass
class Run:
    """One level: its field, and how it was made.

    `steps` are those of a plain interval, `taken` those with instants to be hit, or of a pace.
    """

    field: FiniteElementField
    config: dict[str, Any]
    counts: tuple[int, ...]
    steps: int
    taken: int
    pace: Pace | None
    unknowns: int
    iterations: int
    system: System
    notes: list[str]

    def solution(self, problem: Any) -> Solution:
        return Solution(problem, "fem", self.field, config=self.config, report=Report("fem"))


class Levels:
    """Runs of one problem.

    Parameters
    ----------
    form, plan : what is solved, and how.
    notify : called with the fraction of a run that is done, and figures.
    """

    def __init__(
        self,
        form: WeakForm,
        plan: Plan,
        notify: Callable[[float, dict[str, float | int | str]], None] = lambda *_: None,
    ):
        self.form, self.plan, self.problem = form, plan, form.problem
        self.space = space_of(self.problem)
        self.evolves = self.problem.time is not None
        domain = self.problem.domain
        self.interval = (0.0, 0.0)
        if isinstance(domain, SpaceTime):
            self.interval = (domain.time.start, domain.time.end)
        self.tol = TOLERANCE[self.evolves] if plan.tol is None else plan.tol
        if plan.pace is not None:
            self.tol = plan.pace.rtol
        self._notify, self._begun = notify, time.perf_counter()

    def late(self) -> bool:
        """Whether the time is up; all ranks say the same."""
        limit = self._begun + self.plan.time_limit
        return of_first(communicator(), lambda: time.perf_counter() > limit)

    # ------------------------------------------------------------------------------- one run

    def counts(self, h: float) -> tuple[int, ...]:
        """Cells per axis for cells of size h."""
        lower, upper = self.space.bounds
        return tuple(
            max(1, math.ceil((b - a) / h * (1 - 1e-9))) for a, b in zip(lower, upper, strict=True)
        )

    def mesh(self, counts: tuple[int, ...]) -> Mesh:
        if self.plan.mesh is not None:
            return mesh_of(self.plan.mesh, counts)
        return mesh_of(self.space, counts, self.plan.cell)

    def run(
        self,
        mesh: Mesh,
        counts: tuple[int, ...],
        steps: int,
        degree: int,
        pace: Pace | None = None,
    ) -> Run:
        """Solve on a mesh, with so many steps or those that a pace takes."""
        plan = self.plan
        space = Space(self.form, mesh, degree)
        system = System(space, plan.petsc_options)
        unknowns = sum(v.dofmap.index_map.size_global for v in space.spaces)
        notes: list[str] = []
        made = 0
        self._notify(0.0, {"unknowns": unknowns})
        if self.evolves:
            march = March(system, plan.scheme, plan.theta)
            begin, end = self.interval
            clock = str(self.problem.time)

            def stepped(time: float, dt: float, count: int) -> None:
                figures = {"unknowns": unknowns, clock: time, "dt": dt}
                figures |= {"steps": count, "Newton": system.iterations}
                self._notify((time - begin) / (end - begin), figures)

            hits: dict[str, Any] = {"times": plan.times, "notify": stepped}
            if pace is None:
                path = march.run(begin, end, steps, plan.initial, **hits)
                made = sum(n for *_, n in stretches(begin, end, steps, plan.times))
            else:
                path, pacing = paced(march, begin, end, pace, plan.initial, **hits)
                made, notes = pacing.accepted, [str(pacing)]
        else:
            notes = solve_steady(system, plan.initial)
            self._notify(1.0, {"unknowns": unknowns, "Newton": system.iterations})
            value = without_means(taken(system.states, space), system)[None]
            path = Trajectory(np.zeros(1), value, np.zeros_like(value))
        finite = bool(np.isfinite(path.values).all())
        if not communicator().allreduce(finite, op=backend.load().MPI.LAND):
            raise DivergedError(
                f'"fem": the solution of {self.problem.name!r} became infinite or NaN. Refine by '
                "h= or dt=."
            )
        # instants that were asked for are stored, whatever the interpolation could do without
        field, config, between = field_of(space, path, 0.0 if plan.times else self.tol)
        if between > self.tol:
            notes.append(f"interpolation between stored states errs by {between:.1e}")
        sizes = (counts, steps, made, pace, unknowns, system.iterations)
        return Run(field, config, *sizes, system, notes)

    # ------------------------------------------------------------------------------- all of them

    def solved(self) -> tuple[Run, dict[str, float] | None, list[str]]:
        """The run that is returned, its estimated error, and notes."""
        plan = self.plan
        if plan.mesh is not None:
            return self._on_given_mesh()
        if plan.tol is not None and not self.evolves and self.space.dim > 1 and plan.h is None:
            if can_adapt(self.form, plan.cell):
                return adapted(self)
        if plan.h is not None or plan.dt is not None or plan.pace is not None:
            return self._fixed()
        return self._refined()

    def _steps(self, dt: float | None, default: int) -> int:
        if not self.evolves:
            return 0
        span = self.interval[1] - self.interval[0]
        return default if dt is None else max(1, math.ceil(span / dt * (1 - 1e-9)))

    def size(self, cells: int) -> float:
        """Size of so many cells along the longest axis."""
        lower, upper = self.space.bounds
        return max(b - a for a, b in zip(lower, upper, strict=True)) / cells

    def _fixed(self) -> tuple[Run, dict[str, float] | None, list[str]]:
        """Given sizes: the run itself, and up to two coarser ones for the estimate."""
        plan = self.plan
        counts = self.counts(self.size(DEFAULT[self.space.dim]) if plan.h is None else plan.h)
        steps = self._steps(plan.dt, DEFAULT_STEPS)
        runs = [self.run(self.mesh(counts), counts, steps, plan.degree, plan.pace)]
        self._add_coarser(runs)
        return self._judged(runs)

    def _refined(self) -> tuple[Run, dict[str, float] | None, list[str]]:
        """Sizes are halved until the estimate is below the tolerance."""
        runs: list[Run] = []
        counts = self.counts(self.size(FIRST[self.space.dim]))
        steps = self._steps(None, COARSEST)
        failure: DivergedError | InvalidProblem | None = None
        late = False
        while True:
            try:
                runs.append(self.run(self.mesh(counts), counts, steps, self.plan.degree))
            except (DivergedError, InvalidProblem) as reason:
                # a level may be too coarse for Newton's iteration, or to balance sources
                failure = reason
                runs = []
            if len(runs) > 2 and self._judged(runs)[1]["l2_relative"] <= self.tol:  # type: ignore[index]
                break
            counts, steps = tuple(2 * n for n in counts), 2 * steps
            late = self.late()
            if late or not self._affordable(counts, steps):
                break
        if not runs:
            assert failure is not None
            raise failure
        self._add_coarser(runs)
        run, estimate, notes = self._judged(runs)
        if late:
            notes.append(f"time_limit={self.plan.time_limit:g} s ended the refinement")
        return run, estimate, notes

    def _add_coarser(self, runs: list[Run]) -> None:
        """Levels below the coarsest one, until there are the three that an estimate takes."""
        while len(runs) < 3:
            counts = tuple(max(1, n // 2) for n in runs[0].counts)
            steps, pace = runs[0].steps // 2, self._slower(runs[0].pace)
            if counts == runs[0].counts or (self.evolves and steps < 2 and pace is None):
                return
            try:
                runs.insert(0, self.run(self.mesh(counts), counts, steps, self.plan.degree, pace))
            except (DivergedError, InvalidOption, InvalidProblem):
                # too coarse for Newton's iteration, or for a grid that meets the boundary
                return

    def _slower(self, pace: Pace | None) -> Pace | None:
        """A pace whose error in time grows like that of cells twice as large."""
        if pace is None:
            return None
        factor = 2.0 ** min(self.plan.degree + 1, PACED_ORDER)
        return replace(pace, rtol=min(factor * pace.rtol, LOOSEST), atol=factor * pace.atol)

    def _affordable(self, counts: tuple[int, ...], steps: int) -> bool:
        dim = self.space.dim
        nodes = math.prod(self.plan.degree * n + 1 for n in counts) * len(self.form.fields)
        if not self.evolves:
            return nodes <= UNKNOWNS[dim]
        stages = 5 if self.plan.scheme == "sdirk4" else 1
        kept = self.form.is_linear and self.form.is_autonomous
        return nodes * steps * stages <= (KEPT_WORK if kept else WORK)[dim]

    def _judged(self, runs: list[Run]) -> tuple[Run, dict[str, float] | None, list[str]]:
        """The finest run and its error, from the differences between levels."""
        finest = runs[-1]
        notes = [self._described(finest), *finest.notes]
        if len(runs) < 2:
            return finest, None, [*notes, "no error estimate: there is no coarser level"]
        last = self._between(finest, runs[-2])
        change = last["l2_relative"]
        if len(runs) == 2:
            notes.append(f"self-convergence: l2_relative {change:.1e} against cells twice as large")
            return finest, last, notes
        before = self._between(runs[-2], runs[-3])
        rate = observed_rate(before["l2_relative"], last["l2_relative"])
        # a pressure has one degree less, and its error is often the larger one
        order = self.plan.degree + (not self.form.pressures)
        if self.plan.pace is not None:
            order = min(order, PACED_ORDER)
        elif self.evolves:
            backward = self.plan.scheme == "theta" and self.plan.theta > 0.5
            order = min(order, 1 if backward else ORDERS[self.plan.scheme])
        largest = float(np.abs(taken(finest.system.states, finest.system.space)).max(initial=0.0))
        scale = max(communicator().allgather(largest))
        estimate, found = extrapolated(before, last, order, scale)
        notes += found
        notes.append(
            f"self-convergence: l2_relative {estimate['l2_relative']:.1e} from three levels, "
            f"observed rate {rate:.2f} ({change:.1e} against the next coarser)"
        )
        return finest, estimate, notes

    def _described(self, run: Run) -> str:
        grid = " × ".join(map(str, run.counts))
        cells = f"grid of {grid}" if run.counts else f"{run.config['cells']} cells"
        text = f"{cells}, degree {self.plan.degree}, {run.unknowns} unknowns"
        if run.pace is not None:
            text += f", rtol {run.pace.rtol:.1e}"
        elif run.steps:
            span = self.interval[1] - self.interval[0]
            most = "at most " if run.taken > run.steps else ""
            text += f", {run.taken} steps of {most}{span / run.steps:.3g} by {self.plan.scheme}"
        return text

    def _on_given_mesh(self) -> tuple[Run, dict[str, float] | None, list[str]]:
        plan, mesh = self.plan, self.mesh(())
        steps = self._steps(plan.dt, DEFAULT_STEPS)
        run = self.run(mesh, (), steps, plan.degree, plan.pace)
        try:
            compared = self.enriched(run, mesh)
            slower = None
            if self.evolves and (steps > 1 or plan.pace is not None):
                pace = self._slower(plan.pace)
                slower = self.run(mesh, (), steps // 2, plan.degree, pace)
        except DivergedError as reason:
            notes = [self._described(run), *run.notes, f"no error estimate: {reason}"]
            return run, None, notes
        run, estimate, notes = self.against(run, compared, slower)
        return run, estimate, [*notes, *gap_note(mesh, self.space)]

    def enriched(self, run: Run, mesh: Mesh) -> Run:
        """The same run with one degree more."""
        return self.run(mesh, run.counts, run.steps, self.plan.degree + 1, run.pace)

    def against(
        self, run: Run, compared: Run, slower: Run | None = None
    ) -> tuple[Run, dict[str, float] | None, list[str]]:
        """A run, and its difference to one of higher degree on its mesh.

        In time, a third of the difference to half as many steps is added: all schemes but backward
        Euler gain more than that.
        """
        notes = [self._described(run), *run.notes]
        estimate = self._between(run, compared)
        change = estimate["l2_relative"]
        degree = self.plan.degree + 1
        notes.append(f"self-convergence: l2_relative {change:.1e} against degree {degree} there")
        if slower is not None:
            first = self.plan.scheme == "theta" and self.plan.theta > 0.5
            late = {k: v / (1 if first else 3) for k, v in self._between(run, slower).items()}
            notes.append(f"and {late['l2_relative']:.1e} for the steps, from longer ones")
            estimate = {name: value + late[name] for name, value in estimate.items()}
        return run, estimate, notes

    def _between(self, run: Run, other: Run) -> dict[str, float]:
        """Norms of the difference of two runs, the same on all ranks, which refine by them."""
        one, two = run.solution(self.problem), other.solution(self.problem)
        return of_first(communicator(), lambda: one.error(two))
