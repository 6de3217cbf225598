"""``pdeml bench``: against peers, in one run, as ratios."""

from __future__ import annotations

import importlib
import inspect
from typing import Annotated, Any

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
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Measure speed against other packages."""
    with clean_exit(json):
        if suite not in SUITES:
            raise InvalidOption(f"there is no suite {suite!r}; give one of {', '.join(SUITES)}.")
        module = importlib.import_module(SUITES[suite])
        options: dict[str, Any] = {}
        if peer_python is not None:
            if "peer_python" not in inspect.signature(module.run).parameters:
                raise InvalidOption(f"{suite!r} runs its peer here and takes no --peer-python.")
            options["peer_python"] = peer_python
        result = module.run(not quiet, **options)
        if json:
            print_json(result)
        if not quiet:
            console(error=json).print(module.table(result))
