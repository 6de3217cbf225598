"""Files of strangers, checked and converted by another process with limits of time and memory."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from pdeml.data.checking import Verification
from pdeml.data.checking import verify as verify_here
from pdeml.data.conversion import EXPORTS
from pdeml.data.conversion import convert as convert_here
from pdeml.data.limits import limits
from pdeml.data.readers import READERS
from pdeml.isolation import Result, run_isolated

# The other process imports all of this before its memory is limited.
for name in (*READERS, *EXPORTS.values(), "h5py", "scipy.io"):
    importlib.import_module(name)


def verify(path: str | os.PathLike[str], **options: Any) -> Verification:
    """`pdeml.data.verify` in another process.

    Raises
    ------
    InvalidDataset
        The file is refused, or it made the process hang, crash or exceed its memory.
    """
    seconds, memory = limits(path)
    found = run_isolated(_verified, str(path), options, time_limit=seconds, memory_limit=memory)
    return Verification(**{**found, "bad": {int(k): why for k, why in found["bad"].items()}})


def _verified(path: str, options: dict[str, Any]) -> Result:
    return verify_here(path, **options).to_dict()


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    to: str,
    *,
    time_limit: float | None = None,
    memory_limit: int | None = None,
    **options: Any,
) -> list[str]:
    """`pdeml.data.convert` in another process; what it leaves behind if it dies is removed.

    Parameters
    ----------
    time_limit, memory_limit : seconds and bytes; by default those of `pdeml.data.limits.limits`.

    Raises
    ------
    InvalidDataset
        As `verify`.
    """
    seconds, memory = limits(source)
    place = Path(target)
    try:
        result = run_isolated(
            _converted, str(source), str(target), to, options,
            time_limit=time_limit or seconds, memory_limit=memory_limit or memory,
        )  # fmt: skip
    finally:
        place.with_name(f".{place.name}.partial").unlink(missing_ok=True)
    lost: list[str] = result["lost"]
    return lost


def _converted(source: str, target: str, to: str, options: dict[str, Any]) -> Result:
    return {"lost": convert_here(source, target, to, **options)}
