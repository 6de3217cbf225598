"""Checks of options that several solvers share: each names what was given and what is accepted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pdeml.errors import InvalidOption, UnsupportedProblem


def check_parameters(problem: Any, method: str) -> None:
    """UnsupportedProblem where a parameter has no value, or is unknown."""
    unknown = [p.name for p in problem.parameters if problem.values.get(p) is None]
    unknown += [p.name for p in problem.unknowns]
    if unknown:
        raise UnsupportedProblem(
            f'"{method}" needs a value for the parameter {unknown[0]!r} of {problem.name!r}. '
            f'Give one by with_parameters({unknown[0]}=…), or use "pinn".'
        )
    if problem.unknown_fields:
        raise UnsupportedProblem(
            f'"{method}" cannot identify the unknown field '
            f'{problem.unknown_fields[0].func.__name__} of {problem.name!r}; use "pinn".'
        )


def checked_resolution(resolution: Any, dim: int) -> tuple[int, ...]:
    """Points per space axis.

    Raises
    ------
    InvalidOption
        For anything but an integer of at least 4, or one per axis.
    """
    single = not isinstance(resolution, Sequence)
    shape = (resolution,) * dim if single else tuple(resolution)
    if len(shape) != dim or any(
        isinstance(n, bool) or not isinstance(n, int) or n < 4 for n in shape
    ):
        raise InvalidOption(
            f"resolution={resolution!r}: give points per space axis, an integer of at least "
            f"4 or {dim} of them."
        )
    return shape


def checked_step(dt: Any) -> float:
    """A step size; InvalidOption unless it is a positive finite number."""
    if isinstance(dt, bool) or not isinstance(dt, int | float) or not 0 < dt < math.inf:
        raise InvalidOption(f"dt={dt!r}: give a positive step size.")
    return float(dt)


def checked_times(problem: Any, times: Any) -> list[float]:
    """Instants in increasing order; InvalidOption for one outside of the declared interval."""
    start, end = problem.domain.time.start, problem.domain.time.end
    instants = [float(s) for s in times] if times is not None else []
    for s in instants:
        if not start <= s <= end:
            raise InvalidOption(f"times holds {s:g}, outside of [{start:g}, {end:g}].")
    return sorted(set(instants))


def checked_tolerance(name: str, value: Any, default: float) -> float:
    """A relative error, or the default for None; InvalidOption unless between 0 and 1."""
    if value is None:
        return default
    if not (isinstance(value, int | float) and 0 < value < 1):
        raise InvalidOption(f"{name}={value!r}: give a relative error between 0 and 1.")
    return float(value)


def checked_time_limit(seconds: Any) -> float:
    """Seconds; InvalidOption unless it is a positive number."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise InvalidOption(f"time_limit={seconds!r}: give a positive number of seconds.")
    return float(seconds)
