"""Flags that `solve` and `compare` share, and the options of methods that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pdeml.cli.arguments import RESERVED, parse, split_assignment
from pdeml.errors import InvalidOption

Problem = Annotated[
    str, typer.Argument(metavar="PROBLEM|FILE.py", help="Name of a problem, or a file with a PDE.")
]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Value of a parameter; may be repeated."),
]
Out = Annotated[Path | None, typer.Option(help="Folder for the results.", show_default=False)]
Seed = Annotated[int | None, typer.Option(help="Of weights and points.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[str | None, typer.Option(help="float64 or float32.")]
TimeLimit = Annotated[float | None, typer.Option(help="Seconds of training.")]
MaxIterations = Annotated[int | None, typer.Option(help="Largest number of iterations.")]
Recipe = Annotated[str | None, typer.Option(help="Recipe of the method.")]
Resolution = Annotated[str | None, typer.Option(help="Points per axis: N, or N,N.")]
Step = Annotated[float | None, typer.Option("--dt", help="Time step.")]
Tolerance = Annotated[float | None, typer.Option("--tol", help="Relative error to aim at.")]
Times = Annotated[str | None, typer.Option(help="Output times: T,T,…")]
Extra = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Any other option; may be repeated."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue from the checkpoint in the folder.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no tables.")]


def gather(extra: Sequence[str] | None, **flags: Any) -> dict[str, Any]:
    """Options that were given, by the name that methods know them by.

    Raises
    ------
    InvalidOption
        For an option that is no assignment, is given twice, or belongs to the command.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for name in ("resolution", "times"):
        if name in given:
            given[name] = parse(given[name])
    for text in extra or ():
        name, word = split_assignment(text, "--option")
        if name in RESERVED:
            raise InvalidOption(
                f"--option {text!r}: the command itself sets {name!r}; use --resume or --quiet."
            )
        if name in given:
            raise InvalidOption(f"option {name!r} is given twice; give it once.")
        given[name] = parse(word)
    return given
