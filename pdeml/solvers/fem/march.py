"""Implicit steps in time: each stage solves the same equations with its own base and step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pdeml.errors import InvalidOption
from pdeml.operators.conditions import Initial
from pdeml.solvers.fem.system import System, taken
from pdeml.solvers.fem.trajectory import Record, Trajectory

ORDERS = {"bdf2": 2, "theta": 2, "sdirk4": 4}
COARSEST = 16  # steps of the level from which others are made by halving
START = 1e-4  # of a step: the backward difference that gives the rate at the start

Notify = Callable[[float, float, int], None]
"""Called after every step with the time, the size of the step and the number of steps so far."""

# Hairer, Wanner (1996), Solving ODEs II, table IV.6.5: SDIRK of order 4, L-stable, γ = 1/4
GAMMA = 1 / 4
NODES = (1 / 4, 3 / 4, 11 / 20, 1 / 2, 1.0)
WEIGHTS = (
    (),
    (1 / 2,),
    (17 / 50, -1 / 25),
    (371 / 1360, -137 / 2720, 15 / 544),
    (25 / 24, -49 / 48, 125 / 16, -85 / 12),
)
DEFECT = (-3 / 16, -27 / 32, 25 / 32, 0.0, 1 / 4)  # weights minus those of the embedded order 3


@dataclass
class State:
    """Nodes of all fields, their rates, and the rates of rates, at a time."""

    value: np.ndarray
    rate: np.ndarray
    second: np.ndarray


class March:
    """Steps of one scheme.

    A stage at time s with the base B, the velocity base C and the step τ solves

        R(s, U, (U − B)/τ, ((U − B)/τ − C)/τ) = 0.

    Backward Euler has B = u_n, τ = dt; the θ scheme B = u_n + (1 − θ) dt u_n', τ = θ dt; BDF2
    B = ((1 + ω)² u_n − ω² u_{n−1})/(1 + 2ω), τ = (1 + ω)/(1 + 2ω) dt, ω the ratio of dt to the step
    before, after a step of backward Euler; a diagonally implicit Runge–Kutta stage
    B = u_n + dt Σ_j a_ij k_j, τ = γ dt. C is made like B from the velocities. The trapezoidal rule
    (θ = 1/2) is Newmark's method with β = 1/4, γ = 1/2 for a second order.

    Parameters
    ----------
    system : the discrete equations.
    scheme : ``"bdf2"``, ``"theta"`` or ``"sdirk4"``.
    theta : of the θ scheme, 1 is backward Euler.
    """

    def __init__(self, system: System, scheme: str, theta: float = 0.5):
        if not 0.5 <= theta <= 1:
            raise InvalidOption(f"theta={theta!r}: give a number from 1/2 to 1.")
        self.system, self.space, self.scheme, self.theta = system, system.space, scheme, theta

    def start(self, given: Callable[[np.ndarray], np.ndarray] | None) -> State:
        """The declared initial state (the values by `given`, where it is)."""
        problem, space = self.system.problem, self.space
        value, rate = np.zeros(space.offsets[-1]), np.zeros(space.offsets[-1])
        for c in problem.conditions:
            if isinstance(c, Initial):
                k = space.form.fields.index(c.field)
                nodes = space.nodes(k)[: space.owned[k]]
                part = slice(space.offsets[k], space.offsets[k + 1])
                (rate if c.order else value)[part] = space.evaluated(c.value, nodes, None)
        if given is not None:
            value = space.given(given)
        return State(value, rate, np.zeros_like(value))

    def stage(self, time: float, tau: float, base: State, guess: np.ndarray) -> State:
        """Solve one stage; `base` holds B as its value and C as its rate."""
        system = self.system
        system.set_states(guess)
        system.solve(time, tau, base.value, base.rate)
        value = taken(system.states, self.space)
        rate = (value - base.value) / tau
        return State(value, rate, (rate - base.rate) / tau)

    def run(
        self,
        begin: float,
        end: float,
        steps: int,
        given: Callable[[np.ndarray], np.ndarray] | None = None,
        *,
        times: Sequence[float] = (),
        notify: Notify | None = None,
    ) -> Trajectory:
        """Equal steps from the start to the end, shortened where instants are to be hit.

        Parameters
        ----------
        begin, end, steps : of the interval.
        given : initial values at points (n, d) in place of the declared ones.
        times : instants at which states are stored exactly.
        """
        state, before, last = self.begun(begin, (end - begin) / steps, given), None, 0.0
        record, done = Record(size=self.space.size), 0
        record.add(begin, self.shown(state.value), True)
        for start, stop, count in stretches(begin, end, steps, times):
            dt = (stop - start) / count
            for n in range(count):
                # steps of one size are one size, so that a factorisation is used again
                ratio = 1.0 if last == 0.0 or math.isclose(last, dt) else dt / last
                new = self._step(start + n * dt, dt, state, before, ratio)
                state, before, last = new, state, dt
                time = stop if n + 1 == count else start + (n + 1) * dt
                record.add(time, self.shown(state.value), n + 1 == count)
                done += 1
                if notify is not None:
                    notify(time, dt, done)
        return record.trajectory()

    def begun(
        self, begin: float, dt: float, given: Callable[[np.ndarray], np.ndarray] | None
    ) -> State:
        """The state at the start, with rates and constraint fields where the scheme takes them."""
        state = self.start(given)
        if self._constrained or (self.scheme == "theta" and self.theta < 1):
            state = self._completed(begin, START * dt, state)
        return state

    @property
    def _constrained(self) -> list[int]:
        """Fields without a derivative in time, whose start no condition gives."""
        fields, problem = self.space.form.fields, self.system.problem
        return [
            k for k, f in enumerate(fields) if f not in problem.fields or problem.time_order(f) == 0
        ]

    @property
    def evolving(self) -> np.ndarray:
        """Mask of the nodes of fields with a derivative in time."""
        space, found = self.space, np.ones(self.space.offsets[-1], dtype=bool)
        for k in self._constrained:
            found[space.offsets[k] : space.offsets[k + 1]] = False
        return found

    def _completed(self, begin: float, tau: float, state: State) -> State:
        """The start with what the equations say of it, by a short step of backward Euler: rates,
        and values of the fields that have no derivative in time."""
        first = self.stage(begin + tau, tau, state, state.value)
        value, rate = state.value.copy(), first.rate.copy()
        for k, field in enumerate(self.system.problem.fields):
            if self.system.problem.time_order(field) == 2:
                part = slice(self.space.offsets[k], self.space.offsets[k + 1])
                rate[part] = state.rate[part]
        for k in self._constrained:
            part = slice(self.space.offsets[k], self.space.offsets[k + 1])
            value[part] = first.value[part]
        return State(value, rate, first.second)

    def _step(
        self, time: float, dt: float, state: State, before: State | None, ratio: float = 1.0
    ) -> State:
        """The state a step later; `ratio` is that of dt to the step that led here."""
        if self.scheme == "sdirk4":
            return self.stages(time, dt, state)[0]
        if self.scheme == "theta":
            tau, rest = self.theta * dt, (1 - self.theta) * dt
            base = State(
                state.value + rest * state.rate, state.rate + rest * state.second, state.second
            )
            return self.stage(time + dt, tau, base, state.value)
        if before is None:
            return self.stage(time + dt, dt, state, state.value)
        new, old = (1 + ratio) ** 2 / (1 + 2 * ratio), ratio**2 / (1 + 2 * ratio)
        value, rate = (
            new * getattr(state, name) - old * getattr(before, name) for name in ("value", "rate")
        )
        base = State(value, rate, state.second)
        guess = state.value + ratio * (state.value - before.value)
        return self.stage(time + dt, (1 + ratio) / (1 + 2 * ratio) * dt, base, guess)

    def stages(self, time: float, dt: float, state: State) -> tuple[State, State]:
        """The state a step later, and its difference to the embedded formula of order 3."""
        made: list[State] = []
        guess = state.value
        for node, weights in zip(NODES, WEIGHTS, strict=True):
            pairs = list(zip(weights, made, strict=True))
            base = State(
                state.value + dt * sum((w * s.rate for w, s in pairs), np.zeros_like(guess)),
                state.rate + dt * sum((w * s.second for w, s in pairs), np.zeros_like(guess)),
                state.second,
            )
            made.append(self.stage(time + node * dt, GAMMA * dt, base, guess))
            guess = made[-1].value
        pairs = list(zip(DEFECT, made, strict=True))
        value, rate = (
            dt * sum((d * getattr(s, name) for d, s in pairs), np.zeros_like(guess))
            for name in ("rate", "second")
        )
        return made[-1], State(value, rate, np.zeros_like(guess))

    def shown(self, value: np.ndarray) -> np.ndarray:
        """A state as it is given out: fields that are free up to a constant have mean 0."""
        return without_means(value, self.system)


def stretches(
    begin: float, end: float, steps: int, times: Sequence[float]
) -> list[tuple[float, float, int]]:
    """Start, end and number of equal steps of each part between instants that are to be hit.

    Twice as many steps are twice as many in every part: runs that differ by that are comparable.
    """
    unit = max(1, steps // COARSEST)
    found = []
    for start, stop in itertools.pairwise(sorted({begin, end, *times})):
        share = steps * (stop - start) / (end - begin) / unit
        found.append((start, stop, unit * max(1, math.ceil(share * (1 - 1e-9)))))
    return found if times else [(begin, end, steps)]


def without_means(value: np.ndarray, system: System) -> np.ndarray:
    """Pinned fields shifted to mean 0."""
    space = system.space
    value = value.copy()
    for k in space.pinned:
        part = slice(space.offsets[k], space.offsets[k + 1])
        weights = system.weights(k)
        sums = space.mesh.handle.comm.allreduce(np.array([weights @ value[part], weights.sum()]))
        value[part] -= sums[0] / sums[1]
    return value
