"""Compressed data sets: part files of one commit each, and the one file that they become."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pdeml import engine
from pdeml.data.handles import release
from pdeml.data.layout import Header, create, fill
from pdeml.data.preallocated import write_error
from pdeml.data.readers.native import Native, part_files
from pdeml.data.source import EMPTY, FINISHED
from pdeml.errors import OutputError


def parts_folder(target: Path) -> Path:
    """Where the parts of a file are: ``ks.parts`` for ``ks.h5``."""
    return target.with_name(f"{target.stem}.parts")


class Parts:
    """Rows of a data set whose size is not known, or that is compressed: a file for each commit.

    A part is written under a temporary name, synced and renamed, so that it is whole or not there;
    this is durable in any case.

    Attributes
    ----------
    header : of the parts; ``numbers`` holds all samples, as far as they are known.
    status : (S,), or of the samples that there are so far.
    """

    def __init__(self, target: Path, header: Header, compression: str | None, open_end: bool):
        self.folder, self.path = parts_folder(target), target
        self.header, self._compression = header, compression
        self._open_end = open_end
        self.status = np.zeros(header.samples, np.uint8)
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob(".*.tmp"):
            path.unlink()  # of a run that was killed
        for path in part_files(self.folder):
            part = Native.at(path)
            status = part.contents.status
            assert status is not None
            self._note(part.header.numbers, status)

    def _note(self, numbers: np.ndarray, status: np.ndarray | int) -> None:
        if self._open_end and len(numbers) and numbers[-1] >= len(self.status):
            more = np.zeros(int(numbers[-1]) + 1 - len(self.status), np.uint8)
            self.status = np.concatenate([self.status, more])
            self.header = dataclasses.replace(self.header, numbers=np.arange(len(self.status)))
        # a sample that failed and was done again is in two parts
        self.status[numbers] = np.where(self.status[numbers] == FINISHED, FINISHED, status)

    def write(
        self,
        rows: np.ndarray,
        values: Mapping[str, np.ndarray],
        columns: Callable[[], Mapping[str, np.ndarray]],
        status: int = FINISHED,
    ) -> None:
        """One part with these samples."""
        name = f"{int(rows[0]):09d}-{int(rows[-1]):09d}-{len(rows)}.h5"
        header = dataclasses.replace(self.header, numbers=rows.astype(np.int64))
        entries = {**columns(), "status": np.full(len(rows), status)}
        batch = (np.arange(len(rows)), values, entries)
        try:
            engine.write_bytes(self.folder / name, _image(header, self._compression, batch))
        except OutputError as error:
            if isinstance(error.__cause__, OSError):
                needed = sum(array.nbytes for array in values.values())
                raise write_error(self.folder / name, error.__cause__, needed) from error
            raise
        self._note(rows, status)

    def reset(self, rows: np.ndarray) -> None:
        """Forget the parts that hold these samples, because their data are not what was written."""
        for path in part_files(self.folder):
            numbers = Native.at(path).header.numbers
            if np.isin(numbers, rows).any():
                release(path)
                path.unlink()
                self.status[numbers] = EMPTY

    def close(self) -> None:
        """Nothing to do: every part is closed."""


Batch = tuple[np.ndarray, Mapping[str, np.ndarray], Mapping[str, np.ndarray]]
"""Rows of a file, values of fields and columns for them, the status among these."""


def _image(header: Header, compression: str | None, batch: Batch) -> bytes:
    """The bytes of a part, made in memory: HDF5 does not survive a full disk in all cases."""
    import h5py

    with h5py.File("part.h5", "w", driver="core", backing_store=False, libver="earliest") as file:
        fill(file, header, compression)
        _write_rows(file, header, [batch])
        file.flush()
        return file.id.get_file_image()


def write_chunked(
    path: Path, header: Header, compression: str | None, batches: Iterable[Batch]
) -> None:
    """A whole file of the own layout, compressed; the caller renames it."""
    import h5py

    create(path, header, compression)
    with h5py.File(path, "r+") as file:
        _write_rows(file, header, batches)


def _write_rows(file: Any, header: Header, batches: Iterable[Batch]) -> None:
    finished = 0
    for rows, values, columns in batches:
        for name, array in (*values.items(), *columns.items()):
            data = file[name]
            for row, entry in zip(rows.tolist(), array, strict=True):
                data[row] = entry.reshape(data.shape[1:]) if data.ndim > 1 else entry
        finished += int((columns["status"] == FINISHED).sum())
    file.attrs.modify("n_finished", np.int64(finished))
    file.attrs.modify("complete", np.uint8(finished == header.samples))
