"""``pdeml bench``: against peers, in one run, as ratios."""

from __future__ import annotations

import importlib
import inspect
from typing import Annotated

import typer

from pdeml.bench import SUITES
from pdeml.cli import flags
from pdeml.cli.output import clean_exit, console, print_json
from pdeml.errors import InvalidOption


def bench(
    suite: Annotated[str, typer.Argument(help=", ".join(SUITES))],
    peer_python: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Interpreter that has the peer; default PDEML_BENCH_PYTHON."
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Cases to run, separated by commas (accuracy)."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Keep finished rows here; they are not run again."),
    ] = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Measure speed against other packages."""
    with clean_exit(json):
        if suite not in SUITES:
            raise InvalidOption(f"there is no suite {suite!r}; give one of {', '.join(SUITES)}.")
        module = importlib.import_module(SUITES[suite])
        accepted = inspect.signature(module.run).parameters
        given = {"peer_python": peer_python, "only": only, "out": out}
        options = {name: value for name, value in given.items() if value is not None}
        for name in options:
            if name not in accepted:
                raise InvalidOption(f"{suite!r} takes no --{name.replace('_', '-')}.")
        result = module.run(not quiet, **options)
        if json:
            print_json(result)
        if not quiet:
            console(error=json).print(module.table(result))
