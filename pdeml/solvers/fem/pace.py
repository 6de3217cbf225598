"""Steps in time whose size follows the local error."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pdeml.errors import DivergedError
from pdeml.solvers.fem.march import March, Notify, State
from pdeml.solvers.fem.trajectory import Record, Trajectory

FIRST = 1e-3  # of the interval: the first step that is tried
SMALLEST = 2.0**-40  # of the interval
SAFETY, SHRINK, GROWTH = 0.9, 0.2, 2.0  # bounds of the change from step to step
ORDER = 4  # of the local error of the embedded formula
PROPORTIONAL, INTEGRAL = 0.4 / ORDER, 0.7 / ORDER  # Gustafsson (1991), exponents of the controller
KEPT = 1.5  # a growth below this is not worth another factorisation


@dataclass(frozen=True)
class Pace:
    """What the steps must keep: a local error of atol + rtol |u| in the norm of each field.

    Attributes
    ----------
    rtol, atol : |u| is the largest RMS of the nodes so far.
    longest : size of a step, or None.
    """

    rtol: float
    atol: float = 0.0
    longest: float | None = None


@dataclass(frozen=True)
class Steps:
    """What became of the steps."""

    accepted: int
    rejected: int
    shortest: float
    longest: float

    def __str__(self) -> str:
        return (
            f"{self.accepted} steps of {self.shortest:.2g} to {self.longest:.2g} by sdirk4, "
            f"{self.rejected} rejected"
        )


class Ruler:
    """The size of local errors, relative to what is allowed; 1 is the limit.

    Values of fields with a derivative in time count, and velocities of those of second order; nodes
    with prescribed values do not.
    """

    def __init__(self, march: March, pace: Pace):
        space, problem = march.space, march.system.problem
        self.pace, self.comm = pace, space.mesh.handle.comm
        free = np.ones(space.offsets[-1], dtype=bool)
        for p in space.prescribed:
            free[space.offsets[p.field] + p.nodes] = False
        self.parts: list[tuple[np.ndarray, str]] = []
        for k, field in enumerate(problem.fields):
            own = np.arange(space.offsets[k], space.offsets[k + 1])
            own = own[free[own]]
            kinds = ("value", "rate")[: problem.time_order(field)]
            self.parts += [(own, kind) for kind in kinds]
        self.largest = np.zeros(len(self.parts))

    def _sizes(self, state: State) -> np.ndarray:
        """Root mean squares (parts,), over all ranks."""
        rows = [(np.sum(getattr(state, kind)[own] ** 2), len(own)) for own, kind in self.parts]
        sums = self.comm.allreduce(np.array(rows))
        sizes: np.ndarray = np.sqrt(sums[:, 0] / np.maximum(sums[:, 1], 1))
        return sizes

    def grow(self, state: State) -> None:
        self.largest = np.maximum(self.largest, self._sizes(state))

    def error(self, defect: State, state: State) -> float:
        scale = np.maximum(self.largest, self._sizes(state))
        allowed = self.pace.atol + self.pace.rtol * scale
        found = self._sizes(defect)
        if not np.isfinite(found).all():
            return np.inf
        return float(np.max(found / np.maximum(allowed, np.finfo(float).tiny)))


def paced(
    march: March,
    begin: float,
    end: float,
    pace: Pace,
    given: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    times: Sequence[float] = (),
    notify: Notify | None = None,
) -> tuple[Trajectory, Steps]:
    """Steps of the Runge–Kutta method of order 4 with an embedded one of order 3.

    The next step is dt · 0.9 e_n^(−0.7/4) e_{n−1}^(0.4/4), with the local errors e of the last two,
    at most doubled; all `times` and the end are hit. A step that Newton's iteration does not solve
    is rejected.

    Raises
    ------
    DivergedError
        Steps of 2⁻⁴⁰ of the interval were too large; the message says when.

    References
    ----------
    Gustafsson (1991), ACM Trans. Math. Softw. 17, 533; Hairer, Wanner (1996), §IV.2, §IV.6.
    """
    span = end - begin
    longest = span if pace.longest is None else pace.longest
    reusable = march.system.form.is_linear and march.system.form.is_autonomous
    dt = min(FIRST * span, longest)
    state, ruler = march.begun(begin, dt, given), Ruler(march, pace)
    known = march.evolving
    # the last stage gives the rates exactly; differences over uneven steps would not
    record = Record(size=march.space.size, known=known)
    ruler.grow(state)
    record.add(begin, march.shown(state.value), True)
    sizes: list[float] = []
    rejected, before, fresh = 0, 1.0, False
    for start, stop in itertools.pairwise(sorted({begin, end, *times})):
        time = start
        while time < stop:
            rest = stop - time
            step = dt
            if dt >= rest * (1 - 1e-9):
                step = rest
            elif dt > rest / 2:
                step = rest / 2
            try:
                new, defect = march.stages(time, step, state)
                error, failure = ruler.error(defect, new), None
            except DivergedError as reason:
                error, failure = np.inf, reason
            if error > 1:
                rejected += 1
                change = max(SHRINK, SAFETY * error ** (-1 / ORDER)) if error < np.inf else SHRINK
                dt, fresh = ruler.comm.bcast(step * change), True
                if dt < SMALLEST * span:
                    raise DivergedError(
                        f'"fem": steps of {dt:.1e} at {march.system.problem.time} = {time:.6g} are '
                        f"too large still for rtol={pace.rtol:g}: the solution jumps or becomes "
                        f"infinite there. {failure or 'Give a larger rtol= or an atol=.'}"
                    )
                continue
            time = stop if step == rest else time + step
            state = new
            ruler.grow(state)
            record.add(time, march.shown(state.value), time == stop, state.rate[known])
            sizes.append(step)
            error = max(error, 1e-10)
            change = SAFETY * error**-INTEGRAL * before**PROPORTIONAL
            change = min(max(change, SHRINK), 1.0 if fresh else GROWTH)
            before, fresh = error, False
            if not (reusable and 1 <= change < KEPT):
                # a step that was cut to hit an instant says nothing against the size before it
                # powers differ between processors
                dt = ruler.comm.bcast(min(max(step * change, dt if step < dt else 0.0), longest))
            if notify is not None:
                notify(time, step, len(sizes))
    return record.trajectory(), Steps(len(sizes), rejected, min(sizes), max(sizes))
