"""Stored states of a run: which are kept, and their rates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

STORED = 2_000_000  # numbers of all stored states, of all ranks
POINTS = 7  # of the differences that give the rates
UNEVEN = 4  # the same where steps change, beside rates that are known


@dataclass(frozen=True)
class Trajectory:
    """Stored states: times (F,), values and rates (F, nodes of all fields of this rank)."""

    times: np.ndarray
    values: np.ndarray
    rates: np.ndarray


@dataclass
class Record:
    """States as they come; where they are too many, every second one is dropped.

    Parameters
    ----------
    size : numbers of a state of all ranks, so that all ranks drop the same states.
    held : numbers that are kept at most; instants that must be stored are kept in any case.
    known : mask (nodes,) of those whose rates are given with the states, but for the first; others
        are found by differences.
    """

    size: int
    held: int = STORED
    known: np.ndarray | None = None
    times: list[float] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    rates: list[np.ndarray | None] = field(default_factory=list)
    wanted: list[bool] = field(default_factory=list)
    stride: int = 1
    seen: int = 0

    def add(
        self, time: float, value: np.ndarray, wanted: bool, rate: np.ndarray | None = None
    ) -> None:
        """A state, whether it must be stored, and the rates of the nodes with known ones."""
        if wanted or self.seen % self.stride == 0:
            self.times.append(time)
            self.values.append(value)
            self.rates.append(rate)
            self.wanted.append(wanted)
        self.seen += 1
        if len(self.values) * self.size > self.held and not all(self.wanted):
            self.stride *= 2
            kept = [i for i, w in enumerate(self.wanted) if w or i % 2 == 0]
            self.times = [self.times[i] for i in kept]
            self.values = [self.values[i] for i in kept]
            self.rates = [self.rates[i] for i in kept]
            self.wanted = [self.wanted[i] for i in kept]

    def trajectory(self) -> Trajectory:
        times, values = np.array(self.times), np.stack(self.values)
        rates = differentiated(times, values, POINTS if self.known is None else UNEVEN)
        for n, rate in enumerate(self.rates):
            if rate is not None:
                rates[n, self.known] = rate
        if self.known is not None:
            rates[0, self.known] = _rate_at_start(times[:4], values[:4], rates[:4])[self.known]
        return Trajectory(times, values, rates)


def _rate_at_start(times: np.ndarray, values: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """The slope, at the first of a few times, of the polynomial through all values and the later
    rates: the rate itself is infinite where initial and boundary values do not meet."""
    count = len(times)
    scale = times[-1] - times[0]
    nodes = (times - times[0]) / scale
    powers = np.arange(2 * count - 1)
    rows = nodes[:, None] ** powers
    slopes = powers * nodes[1:, None] ** np.maximum(powers - 1, 0)
    weights = np.linalg.solve(np.concatenate([rows, slopes]).T, np.eye(len(powers))[1]) / scale
    found: np.ndarray = np.tensordot(weights[:count], values, 1)
    return found + np.tensordot(scale * weights[count:], rates[1:], 1)


def differentiated(times: np.ndarray, values: np.ndarray, points: int = POINTS) -> np.ndarray:
    """Rates (F, …) of values (F, …) at increasing times (F,), by differences over up to 7 of them.

    The derivative of the polynomial through the values at the times around each one.
    """
    count = len(times)
    points = min(points, count)
    first = np.clip(np.arange(count) - points // 2, 0, count - points)
    windows = first[:, None] + np.arange(points)
    nodes = times[windows] - times[:, None]
    scale = np.abs(nodes).max(1)
    # weights w with Σ w_i s_i^k = δ_{k1}, for nodes s_i scaled to [−1, 1]
    powers = (nodes / scale[:, None])[:, None, :] ** np.arange(points)[None, :, None]
    target = np.zeros((count, points, 1))
    target[:, 1] = 1.0
    weights = np.linalg.solve(powers, target)[:, :, 0] / scale[:, None]
    rates = np.empty_like(values)
    for n, window in enumerate(windows):
        rates[n] = np.tensordot(weights[n], values[window], 1)
    return rates
