"""``pdeml inspect``: what is in a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pdeml.cli import flags
from pdeml.cli.opening import AllowPickle, Map, MaxObjects, opening
from pdeml.cli.output import clean_exit, console, print_json, say, table
from pdeml.engine import write_bytes
from pdeml.errors import InvalidOption


def inspect(
    file: Annotated[Path, typer.Argument(help="File or folder of any known layout.")],
    picture: Annotated[
        Path | None, typer.Option(help="PNG of some samples; default NAME.png here.")
    ] = None,
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Draw nothing.")] = False,
    map: Map = None,
    allow_pickle: AllowPickle = False,
    max_objects: MaxObjects = None,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Show fields, axes, parameters, counts and provenance of a data set, and draw some samples.

    The file is read by a process with limits of time and memory. Exit code 0: readable; 2: not.
    """
    with clean_exit(json):
        from pdeml.data.inspection import inspect as run

        if not file.exists():
            raise InvalidOption(f"there is no file or folder {str(file)!r}.")
        options = opening(map, allow_pickle, max_objects)
        details, drawn = run(file, picture=not no_picture, **options)
        if not quiet:
            _show(details, console(error=json))
        if drawn is not None:
            path = picture or Path(f"{file.stem}.png")
            write_bytes(path, drawn)
            details["picture"] = str(path)
            say(f"picture  {path}", quiet)
        if json:
            print_json(details)


def _show(details: dict[str, Any], out: Any) -> None:
    size = sum(details["files"].values())
    names = list(details["files"])
    where = names[0] if len(names) == 1 else f"{len(names)} files from {names[0]}"
    out.print(f"{where}: {details['layout']}, {_bytes(size)}")
    out.print(
        _table(
            ("field", "samples × times × components × space", "dtype", "units", "size", "storage"),
            [
                (
                    f["name"]
                    + ("" if len(f["components"]) == 1 else f" ({', '.join(f['components'])})"),
                    " × ".join(map(str, f["shape"])),
                    f["dtype"],
                    f["units"],
                    _bytes(f["bytes"]),
                    f["storage"],
                )
                for f in details["fields"]
            ],
        )
    )
    clock = details["times"]
    rows = [
        ("time", str(clock["count"]), f"{clock['from']:g} … {clock['to']:g}", clock["units"], "")
    ]
    for a in details["axes"]:
        period = {True: "periodic", False: "with ends", None: "not known"}[a["periodic"]]
        length = "" if a["length"] is None else f", length {a['length']:g}"
        extent = f"{a['from']:g} … {a['to']:g}"
        rows.append((a["name"], str(a["points"]), extent, a["units"], period + length))
    out.print(_table(("axis", "points", "extent", "units", "kind"), rows))
    if details["parameters"]:
        out.print(
            _table(
                ("parameter", "shape", "min", "max", "units"),
                [
                    (
                        n,
                        "×".join(map(str, p["shape"])),
                        _number(p["min"]),
                        _number(p["max"]),
                        p["units"],
                    )
                    for n, p in details["parameters"].items()
                ],
            )
        )
    counts = details["samples"]
    lines = [
        f"samples  {counts['finished']} finished, {counts['failed']} failed, "
        f"{counts['empty']} empty of {counts['all']}"
    ]
    if details["splits"]:
        lines.append("splits   " + ", ".join(f"{n} {c}" for n, c in details["splits"].items()))
    lines += _provenance(details["attributes"])
    lines += [f"warning  {text}" for text in details["warnings"]]
    out.print("\n".join(map(_shown, lines)))


def _shown(text: str) -> str:
    """Text of a file in one line, without what would steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    return table(headers, [tuple(map(_shown, row)) for row in rows])


def _provenance(attributes: dict[str, Any]) -> list[str]:
    """Problem and origin where the file tells them, else its attributes."""
    made = attributes.get("provenance")
    if not isinstance(made, dict):
        return [f"{name}  {str(value)[:100]}" for name, value in list(attributes.items())[:20]]
    lines = []
    pde = _mapping(attributes.get("pde"))
    if "name" in pde:
        lines.append(f"problem  {pde['name']}: {attributes.get('title', '')}")
    given = _mapping(made.get("options"))
    if "converted_from" in given:
        source = ", ".join(f"{k}={v}" for k, v in _mapping(given.get("source")).items())
        lines.append(f"from     {given['converted_from']}{': ' * bool(source)}{source[:200]}")
    own = {k: v for k, v in given.items() if k not in ("converted_from", "source", "lost")}
    options = ", ".join(f"{k}={v}" for k, v in own.items())
    lines.append(f"made     {attributes.get('created', '')}, seed {made.get('seed')}, {options}")
    versions = ", ".join(f"{k} {v}" for k, v in _mapping(made.get("versions")).items())
    lines.append(f"with     {versions}, revision {made.get('revision')}")
    if "command" in made:
        lines.append(f"by       {made['command']}")
    return lines


def _mapping(value: Any) -> dict[str, Any]:
    """What a file says, where it is a table."""
    return value if isinstance(value, dict) else {}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
