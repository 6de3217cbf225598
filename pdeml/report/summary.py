"""Runs side by side: the table of a comparison, and how their training went."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pdeml.solvers.solution import Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = (
    "method",
    "relative L2 error",
    "maximum error",
    "wall time",
    "parameters",
    "converged",
    "remark",
)
"""Headings of `row`."""

DEPENDENT = "self-convergence"
"""The reference of an error that a method estimated by itself."""


@dataclass
class Entry:
    """One method in a comparison: its solution, or the reason why there is none.

    Attributes
    ----------
    method : its name.
    solution : None where there is none.
    reason : why.
    supported : False where the method cannot solve such a problem.
    figure : PNG of the solution (with reference and error where there is a reference).
    files : paths of what was written, by kind.
    """

    method: str
    solution: Solution | None = None
    reason: str = ""
    supported: bool = True
    figure: bytes | None = None
    files: dict[str, str] = field(default_factory=dict)


def row(entry: Entry) -> tuple[str, ...]:
    """One line of the comparison's table, in the order of `COLUMNS`."""
    if entry.solution is None:
        return (entry.method, *("–",) * (len(COLUMNS) - 2), entry.reason)
    report = entry.solution.report
    remark = ""
    if report.reference is None:
        errors = ("0", "0")
        remark = "closed form, the reference"
    elif report.error is None:
        errors = ("unknown", "unknown")
    else:
        errors = (f"{report.error['l2_relative']:.1e}", f"{report.error['linf']:.1e}")
        if report.reference == DEPENDENT:
            remark = "error: estimate of the method itself"
    return (
        entry.method,
        *errors,
        f"{report.wall_time:.1f} s",
        f"{report.parameters_count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
        {True: "yes", False: "NO", None: "not judged"}[report.converged],
        remark,
    )


def report_rows(solution: Solution) -> list[tuple[str, str]]:
    """Everything that a run says about itself; its error against an independent reference first."""
    report = solution.report
    first: list[tuple[str, str]] = []
    rest: list[tuple[str, str]] = []
    for label, text in report.rows():
        independent = label.startswith("error") and report.reference != DEPENDENT
        (first if independent else rest).append((label, text))
    if report.reference is None:
        first = [("error", "0: this is the closed form")]
    elif not first:
        first = [("error", "unknown: no independent reference for this problem")]
    estimates = [(f"parameter {n}", str(e)) for n, e in solution.parameters.items()]
    return first + estimates + rest


def history_figure(solutions: Sequence[Solution]) -> Figure | None:
    """Loss on training and on fresh points, and error over the time of training.

    Parameters
    ----------
    solutions : those without a history are left out.

    Returns
    -------
    Figure or None
        None where nothing was trained.
    """
    trained = [s for s in solutions if s.history.get("time")]
    if not trained:
        return None
    from matplotlib.figure import Figure

    panels = (
        ("training loss", "loss"),
        ("loss on fresh points", "validation"),
        ("relative L2 error while training", "error"),
    )
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    for axes, (title, name) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for solution in trained:
            times = np.asarray(solution.history["time"])
            values = np.asarray(solution.history.get(name, [math.nan] * len(times)))
            known = np.isfinite(values) & (values > 0)
            axes.semilogy(times[known], values[known], ".-", ms=3, label=solution.method)
        axes.set(title=title, xlabel="time [s]")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        if axes.lines and any(len(line.get_xdata()) for line in axes.lines):
            axes.legend()
        else:
            axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
    return figure
