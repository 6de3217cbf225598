"""Checkpoints of a run: everything that decides its next step, the newest few, whole or absent.

A folder holds ``checkpoint-STEP.h5`` (plain arrays and JSON under a digest, read without running
code), ``best.h5`` and ``model.h5`` (models for use), and ``log.jsonl``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from pdeml import engine
from pdeml.errors import InvalidFile, InvalidOption
from pdeml.solvers.checkpoint import load_checkpoint, save_checkpoint

KIND = "training of a surrogate"
NAME = re.compile(r"checkpoint-(\d{9})\.h5\Z")
LOG = "log.jsonl"


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a folder, the newest first."""
    found = [p for p in folder.glob("checkpoint-*.h5") if NAME.match(p.name)]
    return sorted(found, reverse=True)


def write(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint and then remove those beyond the newest `keep`."""
    path = folder / f"checkpoint-{step:09d}.h5"
    save_checkpoint(path, state, KIND)
    for old in checkpoints(folder)[keep:]:
        old.unlink(missing_ok=True)
    return path


def newest(folder: Path) -> tuple[Path, dict[str, Any], list[str]]:
    """The newest checkpoint that is whole, and what was wrong with newer ones.

    Raises
    ------
    InvalidOption
        There is none.
    InvalidFile
        All that there are are damaged.
    """
    faults: list[str] = []
    for path in checkpoints(folder):
        try:
            return path, load_checkpoint(path, KIND, torch.device("cpu")), faults
        except InvalidFile as error:
            faults.append(str(error))
    if faults:
        raise InvalidFile(f"no checkpoint in {str(folder)!r} can be read: {faults[0]}")
    raise InvalidOption(
        f"there is no checkpoint in {str(folder)!r} to resume from; start without resume, or name "
        "the folder of the run."
    )


class Log:
    """One JSON object per line: epochs, skipped batches, stops.

    Parameters
    ----------
    path : appended to; lines that a resumed run will write again are removed.
    step : of the checkpoint that the run starts from; 0 starts the file anew.
    """

    def __init__(self, path: Path, step: int):
        self._path = path
        lines = path.read_text("utf-8").splitlines() if step and path.is_file() else []
        kept = [line for line in lines if _step_of(line) <= step]
        engine.write_text(path, "".join(f"{line}\n" for line in kept))

    def add(self, record: dict[str, Any]) -> None:
        """Append a record; what is not finite becomes null."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(record), allow_nan=False) + "\n")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line that was cut off by a kill


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        bad = isinstance(value, float) and not torch.isfinite(torch.tensor(value))
        return None if bad else value

    return {name: plain(value) for name, value in record.items()}
