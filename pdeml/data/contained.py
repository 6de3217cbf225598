"""Files of strangers, opened by another process with limits of time and memory.

`pdeml.hdf5` refuses what a file may ask for; what damages the HDF5 library itself is contained
here. The command line opens every file so.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdeml.data.conversion import EXPORTS
from pdeml.data.conversion import convert as convert_here
from pdeml.data.opening import open as open_dataset
from pdeml.data.readers import READERS
from pdeml.isolation import Result, run_isolated

# The other process imports all of this before its memory is limited.
for name in (*READERS, *EXPORTS.values(), "h5py", "scipy.io"):
    importlib.import_module(name)

SECONDS, BYTES_PER_SECOND = 60.0, 5e6
MEMORY = 2**30
COPIES = 3  # of the size of the files: a memory map, what is read, what is written


def limits(path: str | os.PathLike[str]) -> tuple[float, int]:
    """Seconds and bytes for a file or folder of its size."""
    place = Path(path)
    files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files)
    return SECONDS + size / BYTES_PER_SECOND, MEMORY + COPIES * size


def probe(
    path: str | os.PathLike[str],
    *,
    map: Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
) -> Result:
    """Open a file and read the first and the last sample in another process.

    Returns
    -------
    dict
        ``{"layout", "samples"}``.

    Raises
    ------
    InvalidDataset
        The file is refused, or it made the process hang, crash or exceed its memory.
    """
    seconds, memory = limits(path)
    return run_isolated(
        _probed, str(path), map, allow_pickle, time_limit=seconds, memory_limit=memory
    )


def _probed(path: str, map: Mapping[str, Any] | None, allow_pickle: bool) -> Result:
    dataset = open_dataset(path, map=map, allow_pickle=allow_pickle)
    for sample in sorted({0, len(dataset) - 1}) if len(dataset) else ():
        dataset.read(sample)
    return {"layout": dataset.layout, "samples": len(dataset)}


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
    time_limit, memory_limit : seconds and bytes; by default those of `limits`.

    Raises
    ------
    InvalidDataset
        As `probe`.
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
