"""``pdeml convert``: a data set in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pdeml.cli import flags
from pdeml.cli.opening import AllowPickle, Map, MaxObjects, opening
from pdeml.cli.output import clean_exit, print_json, say
from pdeml.errors import InvalidOption

ENDINGS = {
    "pdeml": ".h5",
    "pdebench": ".hdf5",
    "well": ".hdf5",
    "mat": ".mat",
    "apebench": ".json",
    "deepxde": ".npz",
}


def convert(
    file: Annotated[Path, typer.Argument(help="File or folder of any known layout.")],
    to: Annotated[str, typer.Option(help="Layout: " + ", ".join(ENDINGS) + ".")] = "pdeml",
    out: Annotated[
        Path | None, typer.Option(help="What to write; default NAME and the usual ending, here.")
    ] = None,
    map: Map = None,
    compression: Annotated[str | None, typer.Option(help="gzip or lzf (pdeml).")] = None,
    mat_version: Annotated[str | None, typer.Option(help="7.3 or 5 (mat).")] = None,
    allow_pickle: AllowPickle = False,
    max_objects: MaxObjects = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds; default by size.")] = None,
    memory: Annotated[float | None, typer.Option(help="GiB; default by size.")] = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Write a data set in another layout, and say what that one has no place for.

    The file is read by a process with limits of time and memory. Exit code 0: written; 2: not.
    """
    with clean_exit(json):
        from pdeml.data.contained import convert as run

        if to not in ENDINGS:
            raise InvalidOption(f"--to {to}: give one of {', '.join(ENDINGS)}.")
        if not file.exists():
            raise InvalidOption(f"there is no file or folder {str(file)!r}.")
        target = out or Path(f"{file.stem}{ENDINGS[to]}")
        if target.exists():
            raise InvalidOption(f"{str(target)!r} is there already; remove it or give --out.")
        options = {"compression": compression, "version": mat_version}
        lost = run(
            file,
            target,
            to,
            time_limit=time_limit,
            memory_limit=None if memory is None else int(memory * 2**30),
            **opening(map, allow_pickle, max_objects),
            **{k: v for k, v in options.items() if v is not None},
        )
        for text in lost:
            say(f"lost     {text}", quiet)
        say(f"written  {target}", quiet)
        if json:
            print_json({"source": str(file), "target": str(target), "to": to, "lost": lost})
