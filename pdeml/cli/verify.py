"""``pdeml verify``: are the data those that were written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pdeml.cli import flags
from pdeml.cli.opening import AllowPickle, Map, MaxObjects, opening
from pdeml.cli.output import clean_exit, print_json, say

USAGE, BAD_SAMPLES = 1, 3
"""Exit codes beside 0, all good, and 2, unreadable."""


def verify(
    file: Annotated[Path, typer.Argument(help="File or folder of any known layout.")],
    map: Map = None,
    allow_pickle: AllowPickle = False,
    max_objects: MaxObjects = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Read every finished sample and recompute its checksum.

    The file is read by a process with limits of time and memory. Exit code 0: all good; 1: there is
    no such file; 2: the file cannot be read; 3: samples are bad, and named.
    """
    if not file.exists():
        say(f"there is no file or folder {str(file)!r}.")
        raise typer.Exit(USAGE)
    with clean_exit(json):
        from pdeml.data.contained import verify as run

        found = run(file, **opening(map, allow_pickle, max_objects))
        say(str(found), quiet)
        if json:
            print_json(found.to_dict())
        if not found.ok:
            raise typer.Exit(BAD_SAMPLES)
