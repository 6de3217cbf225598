"""The command ``pdeml``."""

from __future__ import annotations

from typing import Annotated

import typer

from pdeml import __version__
from pdeml.cli import (
    benchmark,
    compare,
    convert,
    doctor,
    evaluate,
    generate,
    inspect,
    listing,
    solve,
    train,
    verify,
)
from pdeml.cli.parallel import prepare_process

__all__ = ["app", "main"]

app = typer.Typer(
    help="Declare a partial differential equation once, solve it by every method.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    *(listing.problems, listing.methods, doctor.doctor),
    *(solve.solve, compare.compare, benchmark.bench),
    *(generate.generate, inspect.inspect, convert.convert, verify.verify),
    *(train.train, evaluate.evaluate),
):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    prepare_process()
    app(prog_name="pdeml")
