"""How long a file of a stranger may take, and how much memory, in the process that reads it.

`pdeml.hdf5` refuses what a file may ask for; what damages the HDF5 library itself is contained by
`pdeml.isolation`. The command line reads every file so.
"""

from __future__ import annotations

import os
from pathlib import Path

SECONDS, BYTES_PER_SECOND = 120.0, 5e6
MEMORY = 2**30
COPIES = 3  # of the size of the files: a memory map, what is read, what is written


def limits(path: str | os.PathLike[str]) -> tuple[float, int]:
    """Seconds and bytes for a file or folder of its size."""
    place = Path(path)
    files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files)
    return SECONDS + size / BYTES_PER_SECOND, MEMORY + COPIES * size
