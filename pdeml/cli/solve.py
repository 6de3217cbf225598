"""``pdeml solve``: one problem, one method, one folder of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pdeml import solvers
from pdeml.cli import flags
from pdeml.cli.arguments import find_problem, method_options
from pdeml.cli.output import (
    NOT_CONVERGED,
    clean_exit,
    console,
    details,
    prepare_folder,
    print_json,
    save,
    save_figure,
    say,
    slug,
    table,
)
from pdeml.cli.parallel import PARALLEL, refuse_processes
from pdeml.cli.reference import independent, measure
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.pde import PDE
from pdeml.report.summary import report_rows
from pdeml.solvers import Solution
from pdeml.solvers.fem.processes import first, together

CHECKPOINT = "checkpoint.h5"
FIGURE = "figure.png"


def solve(
    problem: flags.Problem,
    method: Annotated[str, typer.Option("--method", "-m", help="See `pdeml methods`.")] = "pinn",
    setting: flags.Setting = None,
    out: flags.Out = None,
    seed: flags.Seed = None,
    device: flags.Device = None,
    dtype: flags.Dtype = None,
    time_limit: flags.TimeLimit = None,
    max_iterations: flags.MaxIterations = None,
    recipe: flags.Recipe = None,
    resolution: flags.Resolution = None,
    dt: flags.Step = None,
    tol: flags.Tolerance = None,
    times: flags.Times = None,
    option: flags.Extra = None,
    resume: flags.Resume = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Solve a problem and say how large the error is.

    Writes solution.h5, report.json and figure.png to the folder, and checkpoint.h5 where the method
    can resume. Exit code 0: solved; 1: not converged, diverged or interrupted; 2: bad input.
    """
    with clean_exit(json):
        with together():
            if method not in PARALLEL:
                refuse_processes(f"{method!r}", "leave mpiexec out, or use --method fem")
            declared = find_problem(problem, setting or ())
            options = method_options(
                method,
                flags.gather(
                    option, seed=seed, device=device, dtype=dtype, time_limit=time_limit,
                    max_iterations=max_iterations, recipe=recipe, resolution=resolution, dt=dt,
                    tol=tol, times=times,
                ),
            )  # fmt: skip
            reason = solvers.can_solve(declared, method)
            if reason is not None:
                raise UnsupportedProblem(f"{method!r} cannot solve {declared.name!r}: {reason}")
            folder = out or Path("runs") / f"{slug(declared.name)}-{method}"
            if resume:
                check_resumable(method, folder)
            if first():
                prepare_folder(folder)
        with together():
            solution = run(declared, method, options, folder, resume=resume, quiet=quiet)
        with together():
            if first():
                finish(solution, folder, quiet=quiet, json=json)
        if solution.report.converged is False:
            raise typer.Exit(NOT_CONVERGED)


def finish(solution: Solution, folder: Path, *, quiet: bool, json: bool) -> None:
    """Write the files, measure the error, and print."""
    declared, method = solution.problem, solution.method
    files = save(solution, folder)
    # a reference takes its time: what was computed is already safe
    reference = independent(declared, besides=method, quiet=quiet)
    _, more = keep(solution, folder, reference)
    files |= more
    if (folder / CHECKPOINT).is_file():
        files["checkpoint"] = str(folder / CHECKPOINT)
    if not quiet:
        rows = report_rows(solution)
        console(error=json).print(table(("", f"{declared.name} by {method}"), rows))
        say("\n".join(f"{kind:<10}  {path}" for kind, path in files.items()))
    if json:
        print_json({**details(solution), "files": files})


def check_resumable(method: str, folder: Path) -> None:
    """Refuse to resume where the method cannot or there is nothing to resume.

    Raises
    ------
    InvalidOption
    """
    if "checkpoint" not in solvers.accepted_options(method):
        raise InvalidOption(f"method {method!r} keeps no state to resume from; leave --resume out.")
    if not (folder / CHECKPOINT).is_file():
        raise InvalidOption(
            f"there is no {str(folder / CHECKPOINT)!r} to resume from; start without --resume, or "
            "name the folder of the run with --out."
        )


def run(
    problem: PDE, method: str, options: dict[str, Any], folder: Path, *, resume: bool, quiet: bool
) -> Solution:
    """Solve without a reference; methods that can resume keep their state in the folder."""
    if "checkpoint" in solvers.accepted_options(method):
        checkpoint = folder / CHECKPOINT
        options = {**options, "checkpoint": checkpoint, "resume": resume}
        if not resume and checkpoint.is_file():
            say(f"the earlier run in {folder} is replaced (--resume continues it instead)", quiet)
    say(f"{problem.name}: solving by {method}", quiet)
    solution = solvers.solve(problem, method, reference=None, progress=not quiet, **options)
    assert isinstance(solution, Solution)  # the command line gives no batch
    return solution


def keep(
    solution: Solution, folder: Path, reference: Solution | None
) -> tuple[bytes, dict[str, str]]:
    """Measure the error, where there is a reference, and write all; returns PNG and paths."""
    if reference is not None:
        measure(solution, reference)
    files = save(solution, folder)
    files["figure"] = str(folder / FIGURE)
    return save_figure(solution.plot(reference), folder / FIGURE), files
