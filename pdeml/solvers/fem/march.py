"""Implicit steps in time: each stage solves the same equations with its own base and step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pdeml.errors import InvalidOption
from pdeml.operators.conditions import Initial
from pdeml.solvers.fem.system import System, put, taken

ORDERS = {"bdf2": 2, "theta": 2, "sdirk4": 4}
STORED = 2_000_000  # numbers of all stored states of a rank
START = 1e-4  # of a step: the backward difference that gives the rate at the start

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


@dataclass
class State:
    """Nodes of all fields, their rates, and the rates of rates, at a time."""

    value: np.ndarray
    rate: np.ndarray
    second: np.ndarray


@dataclass(frozen=True)
class Trajectory:
    """Stored states: times (F,), values and rates (F, nodes of all fields of this rank)."""

    times: np.ndarray
    values: np.ndarray
    rates: np.ndarray


class March:
    """Steps of one scheme.

    A stage at time s with the base B, the velocity base C and the step τ solves

        R(s, U, (U − B)/τ, ((U − B)/τ − C)/τ) = 0.

    Backward Euler has B = u_n, τ = dt; the θ scheme B = u_n + (1 − θ) dt u_n', τ = θ dt; BDF2
    B = (4 u_n − u_{n−1})/3, τ = 2dt/3, after a step of backward Euler; a diagonally implicit
    Runge–Kutta stage B = u_n + dt Σ_j a_ij k_j, τ = γ dt. C is made like B from the velocities. The
    trapezoidal rule (θ = 1/2) is Newmark's method with β = 1/4, γ = 1/2 for a second order.

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
            for k in range(len(problem.fields)):
                part = slice(space.offsets[k], space.offsets[k + 1])
                value[part] = given(space.nodes(k)[: space.owned[k]])[:, k]
        return State(value, rate, np.zeros_like(value))

    def stage(self, time: float, tau: float, base: State, guess: np.ndarray) -> State:
        """Solve one stage; `base` holds B as its value and C as its rate."""
        system = self.system
        put(system.bases, base.value, self.space)
        put(system.velocities, base.rate, self.space)
        system.set_states(guess)
        system.solve(time, tau)
        value = taken(system.states, self.space)
        rate = (value - base.value) / tau
        return State(value, rate, (rate - base.rate) / tau)

    def run(
        self,
        begin: float,
        end: float,
        steps: int,
        given: Callable[[np.ndarray], np.ndarray] | None = None,
        notify: Callable[[float], None] | None = None,
    ) -> Trajectory:
        """Equal steps from the start to the end."""
        dt = (end - begin) / steps
        state, before = self.start(given), None
        if self._constrained or (self.scheme == "theta" and self.theta < 1):
            state = self._completed(begin, START * dt, state)
        stride = max(1, -(-steps * len(state.value) // STORED))
        while steps % stride:
            stride += 1
        times, kept = [begin], [self.shown(state.value)]
        for n in range(steps):
            time = begin + n * dt
            state, before = self._step(time, dt, state, before), state
            if (n + 1) % stride == 0:
                times.append(begin + (n + 1) * dt)
                kept.append(self.shown(state.value))
            if notify is not None:
                notify(time + dt)
        values = np.stack(kept)
        return Trajectory(np.array(times), values, differentiated(values, dt * stride))

    @property
    def _constrained(self) -> list[int]:
        """Fields without a derivative in time, whose start no condition gives."""
        fields, problem = self.space.form.fields, self.system.problem
        return [
            k for k, f in enumerate(fields) if f not in problem.fields or problem.time_order(f) == 0
        ]

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

    def _step(self, time: float, dt: float, state: State, before: State | None) -> State:
        if self.scheme == "sdirk4":
            return self._stages(time, dt, state)
        if self.scheme == "theta":
            tau, rest = self.theta * dt, (1 - self.theta) * dt
            base = State(
                state.value + rest * state.rate, state.rate + rest * state.second, state.second
            )
            return self.stage(time + dt, tau, base, state.value)
        if before is None:
            return self.stage(time + dt, dt, state, state.value)
        base = State(
            (4 * state.value - before.value) / 3, (4 * state.rate - before.rate) / 3, state.second
        )
        return self.stage(time + dt, 2 * dt / 3, base, 2 * state.value - before.value)

    def _stages(self, time: float, dt: float, state: State) -> State:
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
        return made[-1]

    def shown(self, value: np.ndarray) -> np.ndarray:
        """A state as it is given out: fields that are free up to a constant have mean 0."""
        return without_means(value, self.system)


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


def differentiated(values: np.ndarray, dt: float, points: int = 7) -> np.ndarray:
    """Rates (F, …) of values at equidistant times, by differences over up to 7 of them."""
    count = len(values)
    points = min(points, count)
    rates = np.empty_like(values)
    table = [_difference_weights(at, points) / dt for at in range(points)]
    for n in range(count):
        first = min(max(n - points // 2, 0), count - points)
        rates[n] = np.tensordot(table[n - first], values[first : first + points], 1)
    return rates


def _difference_weights(at: int, points: int) -> np.ndarray:
    """Weights of the derivative at node `at` of the polynomial through 0, 1 … points − 1."""
    nodes = np.arange(points) - float(at)
    powers = np.vander(nodes, increasing=True).T
    target = np.zeros(points)
    target[1] = 1.0
    return np.linalg.solve(powers, target)
