"""Options of the commands that open a data set."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pdeml.errors import InvalidOption

Map = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=PATH",
        help='Field of an unknown file; "axes=n t x" names the axes of all fields, axes.NAME '
        "those of one, parameters.NAME an array per sample.",
    ),
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read object arrays: these can run any code.")
]
MaxObjects = Annotated[
    int | None, typer.Option(help="Groups and data sets that an HDF5 file may have.")
]


def opening(map: list[str] | None, allow_pickle: bool, max_objects: int | None) -> dict[str, Any]:
    """Those that were given, as `pdeml.data.open` takes them.

    Raises
    ------
    InvalidOption
        A ``--map`` that is none, or a number of objects that is not positive.
    """
    out: dict[str, Any] = {"map": _map(map), "allow_pickle": allow_pickle}
    if max_objects is not None:
        if max_objects < 1:
            raise InvalidOption(f"--max-objects {max_objects}: give a positive number.")
        out["max_objects"] = max_objects
    return out


def _map(given: list[str] | None) -> dict[str, Any] | None:
    """``--map`` as the table of `pdeml.data.open`."""
    if not given:
        return None
    out: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise InvalidOption(f"--map {text!r}: give NAME=PATH, such as u=results/u.")
        table, dot, entry = name.partition(".")
        if not dot:
            out[name] = value
        elif table in ("axes", "parameters") and isinstance(out.setdefault(table, {}), dict):
            out[table][entry] = value
        else:
            raise InvalidOption(f"--map {text!r}: only axes.NAME and parameters.NAME have a dot.")
    return out
