"""What differences between levels say of each field, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

LOWEST_RATE = 0.25  # of convergence, that is believed
NOISE = 1e-9  # of the largest value: differences below are those of rounding and of Newton's stop
DOMINANT = 5.0  # times the second largest error of a field: then the largest is that of all


def observed_rate(coarse: float, fine: float) -> float:
    """log₂ of the ratio of two errors, on cells of size 2h and h."""
    if fine <= 0 or coarse <= 0:
        return math.inf
    return math.log2(coarse / fine)


def extrapolated(
    before: Mapping[str, float], last: Mapping[str, float], order: float, scale: float
) -> tuple[dict[str, float], list[str]]:
    """Errors by norm and field, from ‖u_2h − u_4h‖ and ‖u_h − u_2h‖, and a note.

        ‖u − u_h‖ ≈ ‖u_h − u_2h‖/(2^q − 1),   q = log₂(‖u_2h − u_4h‖/‖u_h − u_2h‖)

    Rates q from 1/4 to `order` are believed. A field whose rate is below that is not approached,
    such as a pressure outside of L2; the note says so by name, beside the errors of the others.

    Parameters
    ----------
    before, last : norms of the differences, named as by `Solution.error`.
    order : of the elements and the scheme.
    scale : the largest absolute value of all fields.
    """
    rates = {name: observed_rate(before[name], value) for name, value in last.items()}
    errors = {
        name: value / (2 ** min(max(rates[name], LOWEST_RATE), order) - 1)
        for name, value in last.items()
    }
    fields = _fields(last)
    stalled = {
        field: name
        for field, name in fields.items()
        if rates[name] < LOWEST_RATE and last[name.replace("l2_relative", "linf")] > NOISE * scale
    }
    if not stalled:
        return errors, dominated(errors)
    changes = [f"{last[name]:.1e}, observed rate {rates[name]:.2f}" for name in stalled.values()]
    others = [
        f"{field} {errors[name]:.1e}, observed rate {rates[name]:.2f}"
        for field, name in fields.items()
        if field not in stalled
    ]
    note = (
        f"no convergence of {', '.join(stalled)}: its error is at least the change from the next "
        f"coarser level, {'; '.join(changes)}"
    )
    return errors, [note + (f". Errors of the others: {'; '.join(others)}" if others else "")]


def dominated(errors: Mapping[str, float]) -> list[str]:
    """A note where the error of all fields together is that of one of them."""
    ranked = sorted((errors[name], field) for field, name in _fields(errors).items())
    if len(ranked) < 2 or ranked[-1][0] < DOMINANT * ranked[-2][0]:
        return []
    others = ", ".join(f"of {field} {value:.1e}" for value, field in ranked[:-1])
    return [f"the error is that of {ranked[-1][1]}, {ranked[-1][0]:.1e}; {others}"]


def _fields(norms: Mapping[str, float]) -> dict[str, str]:
    """Names of the fields, and of their relative L2 norms."""
    found = {
        name[len("l2_relative[") : -1]: name for name in norms if name.startswith("l2_relative[")
    }
    return found or {"the solution": "l2_relative"}
