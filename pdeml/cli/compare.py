"""``pdeml compare``: one problem, several methods, one table and one HTML report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pdeml import engine, solvers
from pdeml.bench.machine import describe_machine
from pdeml.cli import flags
from pdeml.cli.arguments import find_problem, method_options, typed_options
from pdeml.cli.output import (
    NOT_CONVERGED,
    clean_exit,
    console,
    details,
    prepare_folder,
    print_json,
    save_figure,
    sentence,
    slug,
    table,
)
from pdeml.cli.parallel import refuse_processes
from pdeml.cli.reference import independent
from pdeml.cli.solve import CHECKPOINT, keep, run
from pdeml.errors import DivergedError, InvalidOption, UnsupportedProblem
from pdeml.operators.pde import PDE
from pdeml.report.html import comparison
from pdeml.report.summary import COLUMNS, Entry, history_figure, row
from pdeml.solvers import Solution

TRAINING_SECONDS = 180.0
"""Time limit of each trained method where none is given."""


def compare(
    problem: flags.Problem,
    methods: Annotated[str, typer.Option(help="Separated by commas.")] = "spectral,pinn",
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
    """Solve a problem by several methods; write one table, figures and one HTML report.

    An option goes to every method that has it; METHOD.NAME=VALUE goes to one. Trained methods get
    180 s each unless --time-limit or --max-iterations is given. Exit codes as those of solve.
    """
    with clean_exit(json):
        refuse_processes("compare", "leave mpiexec out, or use pdeml solve --method fem")
        declared = find_problem(problem, setting or ())
        names = list(dict.fromkeys(name.strip() for name in methods.split(",") if name.strip()))
        if not names:
            raise InvalidOption(f"--methods {methods!r} names no method; see `pdeml methods`.")
        given = flags.gather(
            option, seed=seed, device=device, dtype=dtype, time_limit=time_limit,
            max_iterations=max_iterations, recipe=recipe, resolution=resolution, dt=dt, tol=tol,
            times=times,
        )  # fmt: skip
        options = share(names, given)
        entries = [Entry(name, reason=solvers.can_solve(declared, name) or "") for name in names]
        for entry in entries:
            entry.supported = not entry.reason
        refuse_if_none_can(declared, entries)
        folder = prepare_folder(out or Path("runs") / slug(declared.name))
        reference = independent(declared, quiet=quiet)
        solve_all(declared, entries, options, reference, folder, resume=resume, quiet=quiet)
        refuse_if_none_can(declared, entries)
        history = history_figure([e.solution for e in entries if e.solution is not None])
        picture = save_figure(history, folder / "history.png") if history is not None else None
        against = None if reference is None else reference.method
        path = folder / "report.html"
        engine.write_text(
            path,
            comparison(declared, entries, against, machine=describe_machine(), history=picture),
        )
        if not quiet:
            title = f"{declared.name}: error against {against or 'no reference, unknown'}"
            console(error=json).print(table(COLUMNS, [row(e) for e in entries], title))
        if json:
            print_json(
                {
                    "problem": declared.name,
                    "reference": against,
                    "methods": [
                        {**details(e.solution), "files": e.files}
                        if e.solution is not None
                        else {"method": e.method, "reason": e.reason}
                        for e in entries
                    ],
                    "html": str(path),
                }
            )
        elif not quiet:
            typer.echo(f"report: {path}")
        if any(failed(entry) for entry in entries):
            raise typer.Exit(NOT_CONVERGED)


def share(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of each method: those that it has, and those that name it.

    Raises
    ------
    InvalidOption
        For an option that no method has.
    """
    accepted = {name: typed_options(name) for name in names}
    shared: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in given.items():
        owner, dot, name = key.partition(".")
        takers = [owner] if dot else [n for n in names if key in accepted[n]]
        if not takers or (dot and owner not in names):
            known = sorted({o for options in accepted.values() for o in options})
            raise InvalidOption(
                f"option {key!r} is of none of the methods {', '.join(names)}; their options are "
                f"{', '.join(known)}."
            )
        for taker in takers:
            shared[taker][name if dot else key] = value
    for name in names:
        limited = "time_limit" in shared[name] or "max_iterations" in shared[name]
        trained = {"time_limit", "max_iterations"} <= set(accepted[name])
        if trained and not limited:
            shared[name]["time_limit"] = TRAINING_SECONDS
    return {name: method_options(name, shared[name]) for name in names}


def solve_all(
    problem: PDE,
    entries: Sequence[Entry],
    options: Mapping[str, dict[str, Any]],
    reference: Solution | None,
    folder: Path,
    *,
    resume: bool,
    quiet: bool,
) -> None:
    """Fill the entries one after the other; Ctrl-C ends this one and leaves out the rest."""
    stopped = False
    for entry in entries:
        if entry.reason:
            continue
        if stopped:
            entry.reason = "not run: interrupted"
            continue
        own = prepare_folder(folder / entry.method)
        chosen = options[entry.method]
        is_reference = reference is not None and entry.method == reference.method
        try:
            if reference is not None and is_reference and not chosen:
                solution = reference
            else:
                again = resume and (own / CHECKPOINT).is_file()
                solution = run(problem, entry.method, chosen, own, resume=again, quiet=quiet)
        except UnsupportedProblem as error:
            entry.reason, entry.supported = sentence(error), False
            continue
        except DivergedError as error:
            entry.reason = f"diverged: {sentence(error)}"
            continue
        except KeyboardInterrupt:
            entry.reason, stopped = "interrupted before it had a state to keep", True
            continue
        stopped = solution.report.interrupted
        entry.solution = solution
        entry.figure, entry.files = keep(solution, own, None if is_reference else reference)


def refuse_if_none_can(problem: PDE, entries: Sequence[Entry]) -> None:
    """Raise `UnsupportedProblem` with the reasons where no method can solve the problem."""
    if not any(entry.supported for entry in entries):
        reasons = " ".join(f"{entry.method}: {entry.reason}" for entry in entries)
        raise UnsupportedProblem(f"no method that is asked can solve {problem.name!r}. {reasons}")


def failed(entry: Entry) -> bool:
    """Whether a method that can solve the problem did not."""
    if not entry.supported:
        return False
    return entry.solution is None or entry.solution.report.converged is False
