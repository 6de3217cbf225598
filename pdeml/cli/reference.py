"""The independent solution that errors are measured against."""

from __future__ import annotations

from pdeml import solvers
from pdeml.cli.output import say
from pdeml.errors import DivergedError
from pdeml.operators.pde import PDE
from pdeml.solvers import REFERENCES, Solution


def independent(problem: PDE, besides: str | None = None, quiet: bool = False) -> Solution | None:
    """The most trusted solution that another method gives, or None where none can.

    Parameters
    ----------
    problem : what is solved.
    besides : method to be measured; the reference must be more trusted.
    quiet : do not say on standard error that it is being computed.
    """
    for name in REFERENCES:
        if name == besides:
            return None
        if solvers.can_solve(problem, name) is None:
            say(f"{problem.name}: reference by {name}", quiet)
            try:
                solution = solvers.solve(problem, name, reference=None)
            except DivergedError:
                continue
            assert isinstance(solution, Solution)  # the command line gives no batch
            return solution
    return None


def measure(solution: Solution, reference: Solution) -> None:
    """Put the error against a reference into the report."""
    solution.report.error = solution.error(reference)
    solution.report.reference = reference.method
