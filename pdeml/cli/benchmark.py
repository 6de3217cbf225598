"""``pdeml bench``: against peers, in one run, as ratios."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from pdeml.bench import SUITES
from pdeml.cli import flags
from pdeml.cli.output import clean_exit, console, print_json
from pdeml.errors import InvalidOption


def bench(
    suite: Annotated[str, typer.Argument(help=", ".join(SUITES))],
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Measure speed against other packages."""
    with clean_exit(json):
        if suite not in SUITES:
            raise InvalidOption(f"there is no suite {suite!r}; give one of {', '.join(SUITES)}.")
        module = importlib.import_module(SUITES[suite])
        result = module.run(not quiet)
        if json:
            print_json(result)
        if not quiet:
            console(error=json).print(module.table(result))
