"""A contiguous file whose samples are written in place, past the HDF5 library.

The file is made whole at once, with all its storage; after that HDF5 has nothing to write, and the
places of samples are known. So they are written by pwrite(2): while a run goes on, the file on disk
is at every instant a closed, valid HDF5 file, whatever becomes of the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.handles import release
from pdeml.data.layout import Header, create, value_bytes
from pdeml.data.readers.native import header_of
from pdeml.data.source import EMPTY, FINISHED
from pdeml.errors import InvalidDataset, OutputError

DURABILITY = ("power", "process")
HEADROOM = 2**20  # for what stands beside the values
LARGEST_WRITE = 2**21  # per system call, after which the disk starts on these bytes

_started = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux alone
if _started is not None:
    _started.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
SYNC_FILE_RANGE_WRITE = 2


class Preallocated:
    """Rows of a contiguous file.

    Parameters
    ----------
    path : a file that `make` made.
    durability : ``"power"``: what `write` has returned from is on the disk (fsync), in the order
        data, then status. ``"process"``: it is in the hands of the kernel, which is enough where
        the process is killed, not where the machine loses power.

    Attributes
    ----------
    header : of the file.
    status : (S,) as written.
    """

    def __init__(self, path: Path, durability: str = "power"):
        import h5py

        self.path, self._sync = path, durability == "power"
        with h5py.File(path, "r") as file:
            self.header = header_of(file, path)
            self._places = {name: _place(file[name], path) for name in _stored(file)}
            self.status = file["status"][()]
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    @staticmethod
    def make(target: Path, header: Header) -> None:
        """Make the file of empty samples, whole or not at all, with its space reserved.

        Raises
        ------
        OutputError
            There is not enough space, or the folder refuses; nothing is left behind.
        """
        partial = target.with_name(f".{target.name}.partial")
        needed = value_bytes(header) + HEADROOM
        try:
            free = shutil.disk_usage(target.parent).free
            if free < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            reserve(partial, needed)
            create(partial, header)
            descriptor = os.open(partial, os.O_RDWR)
            try:
                # HDF5 leaves a hole; the blocks are taken now, not in mid-run
                os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(partial, target)
            sync_folder(target.parent)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise write_error(target, error, needed) from error
        release(target)

    def write(
        self,
        rows: np.ndarray,
        values: Mapping[str, np.ndarray],
        columns: Callable[[], Mapping[str, np.ndarray]],
        status: int = FINISHED,
    ) -> None:
        """Write samples, then what is said of them, then that they are finished (or failed).

        Parameters
        ----------
        rows : (B,) increasing.
        values : stored arrays (B, …) of fields, of the file's dtypes, C-contiguous.
        columns : gives one entry per sample; asked when the values are written.
        """
        try:
            for name, array in values.items():
                self._put(name, rows, array)
            for name, array in columns().items():
                self._put(name, rows, array)
            self._barrier()
            self._put("status", rows, np.full(len(rows), status, np.uint8))
            self._barrier()
        except OSError as error:
            raise write_error(self.path, error, sum(a.nbytes for a in values.values())) from error
        self.status[rows] = status

    def reset(self, rows: np.ndarray) -> None:
        """Mark samples as empty, because their data are not what was written."""
        self._put("status", rows, np.full(len(rows), EMPTY, np.uint8))
        self._barrier()
        self.status[rows] = EMPTY

    def put(self, name: str, values: np.ndarray) -> None:
        """Replace a whole data set, such as a statistic."""
        offset, dtype, _ = self._places[name]
        self._write(np.ascontiguousarray(values, dtype), offset)

    def _put(self, name: str, rows: np.ndarray, array: np.ndarray) -> None:
        offset, dtype, size = self._places[name]
        array = np.ascontiguousarray(array, dtype)
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        for part in np.split(np.arange(len(rows)), breaks):
            if len(part):
                first, last = int(part[0]), int(part[-1])
                self._write(array[first : last + 1], offset + int(rows[first]) * size)

    def _write(self, array: np.ndarray, offset: int) -> None:
        view = memoryview(array.reshape(-1).view(np.uint8))
        while len(view):
            done = os.pwrite(self._descriptor, view[:LARGEST_WRITE], offset)
            if self._sync and done == LARGEST_WRITE:
                _start_writing(self._descriptor, offset, done)
            view, offset = view[done:], offset + done

    def _barrier(self) -> None:
        if self._sync:
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Bring the counts in the attributes up to date and close."""
        if self._descriptor < 0:
            return
        self._count()
        if self._sync:
            os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        release(self.path)

    def _count(self) -> None:
        """The attributes n_finished and complete; readers go by the status of each sample."""
        import h5py

        release(self.path)
        finished = np.int64((self.status == FINISHED).sum())
        # readers may hold a lock on the file; in this process all handles must agree on locking
        for locking in (False, None):
            with contextlib.suppress(OSError), h5py.File(self.path, "r+", locking=locking) as file:
                # of the same size as before: written in place
                file.attrs.modify("n_finished", finished)
                file.attrs.modify("complete", np.uint8((self.status != EMPTY).all()))
                return


def _start_writing(descriptor: int, offset: int, size: int) -> None:
    """Let the disk write while the next bytes are copied and checksums computed; no promise.

    What makes data durable is fdatasync(2), which then finds less to do.
    """
    if _started is not None:
        _started(descriptor, offset, size, SYNC_FILE_RANGE_WRITE)


def _stored(file: Any) -> list[str]:
    import h5py

    names: list[str] = []
    file.visititems(lambda n, item: names.append(n) if isinstance(item, h5py.Dataset) else None)
    return [n for n in names if file[n].shape and file[n].id.get_offset() is not None]


def _place(data: Any, path: Path) -> tuple[int, np.dtype, int]:
    """Offset in the file, dtype, bytes per row."""
    offset = data.id.get_offset()
    size = os.stat(path).st_size
    if offset + data.nbytes > size:
        raise InvalidDataset(
            f"{str(path)!r} is cut off: {data.name!r} ends at byte {offset + data.nbytes}, the "
            f"file has {size}. Remove it and start again."
        )
    return offset, data.dtype, data.nbytes // max(data.shape[0], 1)


def reserve(path: Path, size: int) -> None:
    """Take the space that a file will need, so that it is refused here and not inside of HDF5.

    The library does not survive every refusal of the kernel when it closes a file.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error(path: Path, error: OSError, needed: int) -> OutputError:
    """What a refused write means."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        try:
            free = f"{shutil.disk_usage(path.parent).free} bytes are free"
        except OSError:
            free = "the free space is unknown"
        return OutputError(
            f"no space for {str(path)!r}: {needed} bytes are needed, {free} ({error.strerror}). "
            "Finished samples are kept; make room and continue with the same command (resume)."
        )
    return OutputError(
        f"cannot write {str(path)!r}: {error.strerror or error}. Give a path in a folder that "
        "exists and that you may write to."
    )
