"""What all commands share: consoles, errors as one sentence, JSON, output folders and files."""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from pdeml import engine
from pdeml.bench.machine import describe_machine
from pdeml.errors import DivergedError, OutputError, PdemlError
from pdeml.solvers import Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_CONVERGED, BAD_INPUT = 1, 2
"""Exit codes beside 0, solved: ran but not converged, diverged or interrupted; bad input."""

PLAIN_WIDTH = 140  # columns where the output is no terminal
DOTS_PER_INCH = 110


def console(error: bool = False) -> Console:
    """Standard output (or error) for tables; brackets in names are text, not markup."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Console(file=stream, markup=False, highlight=False, width=width)


def say(text: str, quiet: bool = False) -> None:
    """One line on standard error, beside the progress bar."""
    if not quiet:
        typer.echo(text, err=True)


@contextmanager
def clean_exit(as_json: bool = False) -> Iterator[None]:
    """Turn the errors of pdeml and Ctrl-C into one sentence on standard error and an exit code.

    Parameters
    ----------
    as_json : the sentence is an object on standard output too, so that there always is one.
    """
    try:
        yield
    except KeyboardInterrupt:
        kind, text, code = "Interrupted", "stopped by Ctrl-C.", NOT_CONVERGED
    except DivergedError as error:
        kind, text, code = DivergedError.__name__, sentence(error), NOT_CONVERGED
    except PdemlError as error:
        kind, text, code = type(error).__name__, sentence(error), BAD_INPUT
    else:
        return
    say(f"{kind}: {text}")
    if as_json:
        print_json({"error": text, "kind": kind, "exit_code": code})
    raise typer.Exit(code)


def sentence(error: BaseException) -> str:
    """The message of an error and its notes on one line."""
    notes = getattr(error, "__notes__", [])
    text = " ".join(str(error).split())
    return f"{text} ({'; '.join(' '.join(note.split()) for note in notes)})" if notes else text


def plain(data: Any) -> Any:
    """Data as JSON types; what is not finite is null, other objects are their text."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if data is None or isinstance(data, bool | int | float | str):
        return data
    return str(data)


def json_text(data: Any) -> str:
    return json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)


def print_json(data: Any) -> None:
    """One object on standard output."""
    typer.echo(json_text(data))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    """A table whose cells wrap and never lose text."""
    out = Table(title=title or None, title_justify="left", show_lines=False)
    for header in headers:
        out.add_column(header, overflow="fold")
    for row in rows:
        out.add_row(*row)
    return out


def slug(name: str) -> str:
    """A name as part of a path."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "problem"


def prepare_folder(path: Path) -> Path:
    """Make a folder and try to write in it, so that no run ends in a refusal.

    Raises
    ------
    OutputError
        If it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".pdeml-"):
            pass
    except OSError as error:
        reason = "it is a file" if path.is_file() else error.strerror
        raise OutputError(
            f"cannot write to the folder {str(path)!r} ({reason}); give another one with --out."
        ) from error
    return path


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def details(solution: Solution) -> dict[str, Any]:
    """What a run says about itself, as plain data."""
    return {
        "problem": solution.problem.name,
        "method": solution.method,
        "interrupted": solution.report.interrupted,
        "report": solution.report.to_dict(),
        "parameters": {
            name: {"value": e.value, "standard_error": e.standard_error}
            for name, e in solution.parameters.items()
        },
        "options": {k: v for k, v in solution.options.items() if v is not None},
        "values": {p.name: v for p, v in solution.problem.values.items()},
        "machine": describe_machine(),
    }


def save(solution: Solution, folder: Path) -> dict[str, str]:
    """Write ``solution.h5`` and ``report.json``; returns their paths by kind."""
    solution_path, report_path = folder / "solution.h5", folder / "report.json"
    solution.save(solution_path)
    engine.write_text(report_path, json_text(details(solution)) + "\n")
    return {"solution": str(solution_path), "report": str(report_path)}


def save_figure(figure: Figure, path: Path) -> bytes:
    """Write a figure as PNG, whole or not at all; returns its bytes."""
    data = png(figure)
    engine.write_bytes(path, data)
    return data
