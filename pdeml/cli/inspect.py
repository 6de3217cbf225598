"""``pdeml inspect``: what is in a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pdeml.cli import flags
from pdeml.cli.output import clean_exit, console, print_json, save_figure, say, table


def inspect(
    file: Annotated[Path, typer.Argument(help="File or folder of any known layout.")],
    picture: Annotated[
        Path | None, typer.Option(help="PNG of some samples; default NAME.png here.")
    ] = None,
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Draw nothing.")] = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Show fields, axes, parameters, counts and provenance of a data set, and draw some samples.

    Exit code 0: readable; 2: not.
    """
    with clean_exit(json):
        from pdeml.data.contained import probe
        from pdeml.data.opening import open as open_dataset
        from pdeml.data.pictures import samples_figure

        if file.exists():
            probe(file)  # what hangs or crashes does so in another process
        dataset = open_dataset(file)
        details = dataset.info()
        if not quiet:
            _show(details, console(error=json))
        if len(dataset) and not no_picture:
            path = picture or Path(f"{file.stem}.png")
            save_figure(samples_figure(dataset), path)
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
        table(
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
    out.print(table(("axis", "points", "extent", "units", "kind"), rows))
    if details["parameters"]:
        out.print(
            table(
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
    out.print("\n".join(lines))


def _provenance(attributes: dict[str, Any]) -> list[str]:
    """Problem and origin where the file tells them, else its attributes."""
    made = attributes.get("provenance")
    if not isinstance(made, dict):
        return [f"{name}  {str(value)[:100]}" for name, value in list(attributes.items())[:20]]
    lines = []
    pde = attributes.get("pde") or {}
    if "name" in pde:
        lines.append(f"problem  {pde['name']}: {attributes.get('title', '')}")
    options = ", ".join(f"{k}={v}" for k, v in made.get("options", {}).items())
    lines.append(f"made     {attributes.get('created', '')}, seed {made.get('seed')}, {options}")
    versions = ", ".join(f"{k} {v}" for k, v in made.get("versions", {}).items())
    lines.append(f"with     {versions}, revision {made.get('revision')}")
    if "command" in made:
        lines.append(f"by       {made['command']}")
    return lines


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"
