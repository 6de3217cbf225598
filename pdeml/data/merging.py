"""Parts and shards become one file."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.chunked import Batch, parts_folder, write_chunked
from pdeml.data.handles import h5dataset, memory_map, opened, release
from pdeml.data.layout import Header, columns, create, parts, value_bytes
from pdeml.data.lock import Lock
from pdeml.data.preallocated import HEADROOM, Preallocated, reserve, sync_folder, write_error
from pdeml.data.readers.native import Native, part_files
from pdeml.data.resuming import check_same
from pdeml.data.source import EMPTY, FAILED, FINISHED
from pdeml.data.statistics import stored_statistics
from pdeml.errors import InvalidDataset


def merge(
    path: str | os.PathLike[str], *, compression: str | None = None, keep: bool = False
) -> Path:
    """Write the parts of a data set to one file, and remove them.

    Parameters
    ----------
    path : of the file that is to be; its parts are in the folder ``NAME.parts``.
    compression : None, ``"gzip"`` or ``"lzf"``.
    keep : leave the parts.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    InvalidDataset
        There are no parts, samples are missing between them, a part is of another data set, or a
        checksum is wrong.
    OutputError
        No space; the parts are unchanged.

    Notes
    -----
    The file is built under a temporary name, synced and renamed; the parts are removed after that.
    A merge that was killed is started again.
    """
    target = Path(path)
    lock = Lock(target)
    try:
        folder = parts_folder(target)
        files = part_files(folder)
        if target.exists() and (not files or _is_whole(target, files)):
            _remove(folder, keep)
            return target
        _merged(target, files, compression)
        _remove(folder, keep)
        return target
    finally:
        lock.release()


def _is_whole(target: Path, files: list[Path]) -> bool:
    """Whether the file holds what the parts hold: a merge was killed after its rename."""
    release(target)
    have = set(Native.at(target).finished.tolist())
    return all(set(Native.at(p).finished.tolist()) <= have for p in files)


def _remove(folder: Path, keep: bool) -> None:
    for path in part_files(folder):
        release(path)
    if not keep and folder.is_dir():
        shutil.rmtree(folder)


def _merged(target: Path, files: list[Path], compression: str | None) -> None:
    import h5py

    if not files:
        raise InvalidDataset(f"there are no parts in {str(parts_folder(target))!r} to merge.")
    # a sample that failed and was done again is in two parts: the finished one counts
    found: dict[int, tuple[Native, int]] = {}
    rank = {EMPTY: 0, FAILED: 1, FINISHED: 2}
    sources = [Native.at(path) for path in files]
    for source in sources:
        check_same(sources[0].header, source.header, source.path, parts=True)
        status = source.contents.status
        assert status is not None
        for row, number in enumerate(source.header.numbers.tolist()):
            held = found.get(number)
            if held is None or rank[status[row]] > rank[_status(held)]:
                found[number] = (source, row)
    numbers = np.array(sorted(found))
    if (numbers != np.arange(len(numbers))).any():
        missing = int(np.flatnonzero(numbers != np.arange(len(numbers)))[0])
        raise InvalidDataset(
            f"sample {missing} is in none of the {len(files)} parts of {str(target)!r}; finish all "
            "shards, then merge."
        )
    header = dataclasses.replace(sources[0].header, numbers=numbers)
    entries = {source.path: _columns(source) for source in sources}
    batches = (_row(header, number, *found[number], entries) for number in numbers.tolist())
    partial = target.with_name(f".{target.name}.partial")
    needed = value_bytes(header) + HEADROOM
    try:
        if compression is not None:
            reserve(partial, sum(path.stat().st_size for path in files) + HEADROOM)
            write_chunked(partial, header, compression, batches)
        else:
            reserve(partial, needed)
            create(partial, header)
            storage = Preallocated(partial, "process")
            for rows, values, own in batches:
                columns_of = {name: column for name, column in own.items() if name != "status"}
                mark = int(own["status"][0])
                if mark != EMPTY:
                    storage.write(rows, values, functools.partial(dict, columns_of), mark)
            storage.close()
        figures = stored_statistics(partial)
        with h5py.File(partial, "r+") as file:
            for name, numbers_of in figures.items():
                file[name][...] = numbers_of
        with partial.open("rb+") as plain:
            os.fsync(plain.fileno())
        release(partial)
        os.replace(partial, target)
        sync_folder(target.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise write_error(target, error, needed) from error
    release(target)


def _columns(source: Native) -> dict[str, np.ndarray]:
    with opened(source.path) as file:
        return {name: file[name][()] for name, _, _ in columns(source.header)}


def _status(held: tuple[Native, int]) -> Any:
    source, row = held
    assert source.contents.status is not None
    return source.contents.status[row]


def _row(
    header: Header,
    number: int,
    source: Native,
    row: int,
    entries: dict[Path, dict[str, np.ndarray]],
) -> Batch:
    """One sample of a part, verified."""
    values = {}
    status = _status((source, row))
    for info in header.fields:
        for part in parts(info):
            stored = memory_map(source.path, part.name)
            stored = h5dataset(source.path, part.name) if stored is None else stored
            data = np.ascontiguousarray(stored[row])
            crc = int(source.contents.checksums[part.name][row])
            if status == FINISHED and zlib.crc32(data) != crc:
                raise InvalidDataset(
                    f"sample {number} of {part.name!r} in {str(source.path)!r} is damaged; remove "
                    "that part and generate it again."
                )
            values[part.name] = data[None]
    own = {name: column[row : row + 1] for name, column in entries[source.path].items()}
    return np.array([number]), values, own
