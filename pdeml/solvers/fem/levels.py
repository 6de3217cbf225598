"""Solutions on finer and finer levels, and what their differences say of the error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdeml.domains import SpaceTime
from pdeml.domains.mesh import Mesh as MeshDomain
from pdeml.errors import DivergedError, InvalidOption
from pdeml.operators.weak import WeakForm
from pdeml.solvers.fem.adaptivity import adapted, can_adapt
from pdeml.solvers.fem.field import FiniteElementField
from pdeml.solvers.fem.march import ORDERS, March, Trajectory, without_means
from pdeml.solvers.fem.mesh import Mesh, mesh_of, space_of
from pdeml.solvers.fem.output import field_of
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.steady import solve_steady
from pdeml.solvers.fem.system import System, taken
from pdeml.solvers.report import Report
from pdeml.solvers.solution import Solution

TOLERANCE = {False: 1e-6, True: 1e-4}  # steady, in time
FIRST = {1: 16, 2: 8, 3: 4}  # cells along the longest axis of the coarsest level
DEFAULT = {1: 128, 2: 32, 3: 8}  # the same where only dt is given
STEPS = 16  # of the coarsest level
DEFAULT_STEPS = 128  # where only h is given
UNKNOWNS = {1: 40_000, 2: 70_000, 3: 30_000}  # most of a steady problem on its finest level
WORK = {1: 600_000, 2: 300_000, 3: 100_000}  # most unknowns times solves in time
KEPT_WORK = {1: 2_400_000, 2: 2_400_000, 3: 800_000}  # the same where a factor is kept
LOWEST_RATE = 0.5  # of convergence, that is believed; the highest is that of scheme and degree


@dataclass(frozen=True)
class Plan:
    """The options of `solve`, checked."""

    degree: int
    h: float | None
    dt: float | None
    scheme: str
    theta: float
    tol: float | None
    mesh: MeshDomain | None
    initial: Callable[[np.ndarray], np.ndarray] | None
    petsc_options: dict[str, Any]


@dataclass
class Run:
    """One level: its field, and how it was made."""

    field: FiniteElementField
    config: dict[str, Any]
    counts: tuple[int, ...]
    steps: int
    unknowns: int
    iterations: int
    system: System
    notes: list[str]

    def solution(self, problem: Any) -> Solution:
        return Solution(problem, "fem", self.field, config=self.config, report=Report("fem"))


class Levels:
    """Runs of one problem."""

    def __init__(self, form: WeakForm, plan: Plan):
        self.form, self.plan, self.problem = form, plan, form.problem
        self.space = space_of(self.problem)
        self.evolves = self.problem.time is not None
        domain = self.problem.domain
        self.interval = (0.0, 0.0)
        if isinstance(domain, SpaceTime):
            self.interval = (domain.time.start, domain.time.end)
        self.tol = TOLERANCE[self.evolves] if plan.tol is None else plan.tol

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
        return mesh_of(self.space, counts)

    def run(self, mesh: Mesh, counts: tuple[int, ...], steps: int, degree: int) -> Run:
        """Solve on a mesh, with so many steps."""
        plan = self.plan
        space = Space(self.form, mesh, degree)
        system = System(space, plan.petsc_options)
        notes: list[str] = []
        if self.evolves:
            march = March(system, plan.scheme, plan.theta)
            path = march.run(*self.interval, steps, plan.initial)
        else:
            notes = solve_steady(system, plan.initial)
            value = without_means(taken(system.states, space), system)[None]
            path = Trajectory(np.zeros(1), value, np.zeros_like(value))
        if not np.isfinite(path.values).all():
            raise DivergedError(
                f'"fem": the solution of {self.problem.name!r} became infinite or NaN. Refine by '
                "h= or dt=."
            )
        field, config, between = field_of(space, path, self.tol)
        if between > self.tol:
            notes.append(f"interpolation between stored states errs by {between:.1e}")
        unknowns = sum(v.dofmap.index_map.size_global for v in space.spaces)
        return Run(field, config, counts, steps, unknowns, system.iterations, system, notes)

    # ------------------------------------------------------------------------------- all of them

    def solved(self) -> tuple[Run, dict[str, float] | None, list[str]]:
        """The run that is returned, its estimated error, and notes."""
        plan = self.plan
        if plan.mesh is not None:
            return self._on_given_mesh()
        if plan.tol is not None and not self.evolves and self.space.dim > 1 and plan.h is None:
            if can_adapt(self.form):
                return adapted(self)
        if plan.h is not None or plan.dt is not None:
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
        runs = [self.run(self.mesh(counts), counts, steps, plan.degree)]
        self._add_coarser(runs)
        return self._judged(runs)

    def _refined(self) -> tuple[Run, dict[str, float] | None, list[str]]:
        """Sizes are halved until the estimate is below the tolerance."""
        runs: list[Run] = []
        counts = self.counts(self.size(FIRST[self.space.dim]))
        steps = self._steps(None, STEPS)
        failure: DivergedError | None = None
        while True:
            try:
                runs.append(self.run(self.mesh(counts), counts, steps, self.plan.degree))
            except DivergedError as reason:
                # a coarse level may be too coarse for Newton's iteration
                failure = reason
                runs = []
            if len(runs) > 2 and self._judged(runs)[1]["l2_relative"] <= self.tol:  # type: ignore[index]
                break
            counts, steps = tuple(2 * n for n in counts), 2 * steps
            if not self._affordable(counts, steps):
                break
        if not runs:
            assert failure is not None
            raise failure
        self._add_coarser(runs)
        return self._judged(runs)

    def _add_coarser(self, runs: list[Run]) -> None:
        """Levels below the coarsest one, until there are the three that an estimate takes."""
        while len(runs) < 3:
            counts = tuple(max(1, n // 2) for n in runs[0].counts)
            steps = runs[0].steps // 2
            if counts == runs[0].counts or (self.evolves and steps < 2):
                return
            try:
                runs.insert(0, self.run(self.mesh(counts), counts, steps, self.plan.degree))
            except (DivergedError, InvalidOption):
                # too coarse for Newton's iteration, or for a grid that meets the boundary
                return

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
        finest, problem = runs[-1], self.problem
        notes = [self._described(finest), *finest.notes]
        if len(runs) < 2:
            return finest, None, [*notes, "no error estimate: there is no coarser level"]
        solutions = [r.solution(problem) for r in runs[-3:]]
        last = solutions[-1].error(solutions[-2])
        change = last["l2_relative"]
        if len(solutions) == 2:
            notes.append(f"self-convergence: l2_relative {change:.1e} against cells twice as large")
            return finest, last, notes
        before = solutions[-2].error(solutions[-3])
        rate = _rate(before["l2_relative"], last["l2_relative"])
        order = self.plan.degree + 1
        if self.evolves:
            backward = self.plan.scheme == "theta" and self.plan.theta > 0.5
            order = min(order, 1 if backward else ORDERS[self.plan.scheme])
        believed = min(max(rate, LOWEST_RATE), order)
        estimate = {name: value / (2**believed - 1) for name, value in last.items()}
        notes.append(
            f"self-convergence: l2_relative {estimate['l2_relative']:.1e} from three levels, "
            f"observed rate {rate:.2f} ({change:.1e} against the next coarser)"
        )
        return finest, estimate, notes

    def _described(self, run: Run) -> str:
        grid = " × ".join(map(str, run.counts))
        cells = f"grid of {grid}" if run.counts else f"{run.config['cells']} cells"
        text = f"{cells}, degree {self.plan.degree}, {run.unknowns} unknowns"
        if run.steps:
            span = self.interval[1] - self.interval[0]
            text += f", {run.steps} steps of {span / run.steps:.3g} by {self.plan.scheme}"
        return text

    def _on_given_mesh(self) -> tuple[Run, dict[str, float] | None, list[str]]:
        mesh, steps = self.mesh(()), self._steps(self.plan.dt, DEFAULT_STEPS)
        return self.against_other_degree(self.run(mesh, (), steps, self.plan.degree), mesh, steps)

    def against_other_degree(
        self, run: Run, mesh: Mesh, steps: int
    ) -> tuple[Run, dict[str, float] | None, list[str]]:
        """A run, and its difference to one degree more (less, for the highest) on its mesh."""
        degree = self.plan.degree
        other = degree + 1 if degree < 4 else degree - 1
        notes = [self._described(run), *run.notes]
        try:
            compared = self.run(mesh, (), steps, other)
        except DivergedError as reason:
            return run, None, [*notes, f"no error estimate: degree {other} failed: {reason}"]
        estimate = run.solution(self.problem).error(compared.solution(self.problem))
        change = estimate["l2_relative"]
        notes.append(f"self-convergence: l2_relative {change:.1e} against degree {other} there")
        return run, estimate, notes


def _rate(coarse: float, fine: float) -> float:
    if fine <= 0 or coarse <= 0:
        return math.inf
    return math.log2(coarse / fine)
