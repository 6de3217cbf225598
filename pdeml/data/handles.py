"""Open files and memory maps of this process, at most 64, made when they are first needed.

A forked child starts with none: HDF5 handles that two processes share give wrong data. Objects that
are sent to other processes hold paths alone and find their handles here.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import mmap
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.errors import InvalidDataset

LARGEST = 64  # open files per process
CHUNK_CACHE = 16 * 2**20  # bytes per data set: several chunks of at most 1 MiB


class _Opened:
    """One file: its memory map with the arrays inside, and its HDF5 handle where one is needed.

    HDF5 refuses to open a file twice in different ways in one process, so that no handle is kept
    for a file that is read by its map.
    """

    def __init__(self, path: str):
        self.path = path
        self.map: mmap.mmap | None = None
        self.arrays: dict[str, np.ndarray | None] = {}
        self.datasets: dict[str, Any] = {}

    @functools.cached_property
    def file(self) -> Any:
        return opened(self.path)

    def array(self, name: str) -> np.ndarray | None:
        if name not in self.arrays:
            with opened(self.path) as file:
                self.arrays[name] = self._mapped(file[name], name)
        return self.arrays[name]

    def _mapped(self, dataset: Any, name: str) -> np.ndarray | None:
        plain = dataset.chunks is None and not dataset.is_virtual and dataset.external is None
        offset = dataset.id.get_offset() if plain else None
        if offset is None or not dataset.dtype.isnative or dataset.dtype.kind not in "iuf":
            return None
        size, end = os.stat(self.path).st_size, offset + dataset.nbytes
        if end > size:
            # touching a map beyond the end of its file would kill the process
            raise InvalidDataset(
                f"{self.path!r} is cut off: {name!r} ends at byte {end}, the file has {size}. "
                "Copy or generate it again."
            )
        if self.map is None:
            with open(self.path, "rb") as file:
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        array = np.ndarray(dataset.shape, dataset.dtype, buffer=self.map, offset=offset)
        array.flags.writeable = False
        return array


_opened: OrderedDict[str, _Opened] = OrderedDict()
_closed = itertools.count(1)

# Chunks of files that come and go leave holes in the heap, which the GNU allocator keeps: half a
# gigabyte after some epochs over 100 files. Given back now and then, they cost nothing.
_trim = getattr(ctypes.pythonapi, "malloc_trim", None)
_guard = threading.RLock()


def _forget() -> None:
    """In a forked child: the parent's handles are dropped, not used."""
    global _guard
    _guard = threading.RLock()
    _opened.clear()


os.register_at_fork(after_in_child=_forget)


def opened(path: str | os.PathLike[str]) -> Any:
    """The file, opened for reading by who closes it."""
    import h5py

    return h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE)


def _find(path: str | os.PathLike[str]) -> _Opened:
    key = str(path)
    with _guard:
        found = _opened.get(key)
        if found is None:
            found = _opened[key] = _Opened(key)
            while len(_opened) > LARGEST:
                _opened.popitem(last=False)
                if next(_closed) % LARGEST == 0 and _trim is not None:
                    _trim(0)
        else:
            _opened.move_to_end(key)
        return found


def h5file(path: str | os.PathLike[str]) -> Any:
    """The file, opened for reading; use it now, do not keep it."""
    return _find(path).file


def h5dataset(path: str | os.PathLike[str], name: str) -> Any:
    """A data set of the file; looked up once."""
    opened = _find(path)
    if name not in opened.datasets:
        opened.datasets[name] = opened.file[name]
    return opened.datasets[name]


def memory_map(path: str | os.PathLike[str], name: str) -> np.ndarray | None:
    """A data set as a read-only view of the file; None where it is not stored in one native piece.

    Raises
    ------
    InvalidDataset
        The file is shorter than its data set.
    """
    return _find(path).array(name)


def release(path: str | os.PathLike[str]) -> None:
    """Forget a file that was replaced or is to be removed."""
    with _guard:
        _opened.pop(str(Path(path)), None)
