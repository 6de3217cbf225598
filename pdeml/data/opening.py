"""One opener for all layouts, chosen by what is in the file."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from pdeml.data.dataset import Dataset
from pdeml.data.handles import h5file, release
from pdeml.data.readers import READERS
from pdeml.data.readers.variables import guarded, is_matlab, listing, variables
from pdeml.errors import InvalidDataset
from pdeml.hdf5 import MAX_OBJECTS

SIGNATURE = b"\x89HDF\r\n\x1a\n"
USER_BLOCKS = (0, 512, 1024, 2048)  # where the signature may stand; MATLAB 7.3 has 512


@overload
def open(
    path: str | os.PathLike[str],
    *,
    map: Mapping[str, Any] | None = None,
    split: None = None,
    allow_pickle: bool = False,
    max_objects: int = MAX_OBJECTS,
) -> Dataset: ...


@overload
def open(
    path: str | os.PathLike[str],
    *,
    map: Mapping[str, Any] | None = None,
    split: Sequence[float] | str,
    allow_pickle: bool = False,
    max_objects: int = MAX_OBJECTS,
) -> tuple[Dataset, ...]: ...


def open(
    path: str | os.PathLike[str],
    *,
    map: Mapping[str, Any] | None = None,
    split: Sequence[float] | str | None = None,
    allow_pickle: bool = False,
    max_objects: int = MAX_OBJECTS,
) -> Dataset | tuple[Dataset, ...]:
    """Open a data set of any known layout; nothing but its description is read.

    Parameters
    ----------
    path : a file, or a folder of files.
    map : where the fields of an unknown HDF5, .mat, .npy or .npz file are, and what their axes
        are: ``{"u": "results/u", "axes": "n t x"}`` (`pdeml.data.readers.mapped`).
    split : give the parts of `Dataset.split` instead: ``"stored"``, ``"pdebench"`` or fractions.
    max_objects : groups and data sets that an HDF5 file may have; one of PDEBench with a group for
        each of 10,000 samples needs 100,000.
    allow_pickle : admit object arrays of DeepXDE's files, which can run code when they are read.

    Returns
    -------
    Dataset
        Of the finished samples; with `split` a tuple of them.

    Raises
    ------
    InvalidDataset
        There is no such file, it is damaged or unsafe, or its layout is unknown: the message lists
        what it holds.
    """
    place = Path(path)
    try:
        if not place.exists():
            raise InvalidDataset(f"there is no file or folder {str(path)!r}.")
        if not place.is_file() and not place.is_dir():
            raise InvalidDataset(f"{str(path)!r} is a device or a pipe; give a file or a folder.")
        is_hdf5 = place.is_file() and _is_hdf5(place)
    except PermissionError as error:
        raise InvalidDataset(
            f"{str(path)!r} cannot be read ({error.strerror}); you need permission to read it."
        ) from error
    with _safe_file(place, max_objects) if is_hdf5 else contextlib.nullcontext() as file:
        for name in READERS:
            read = guarded(importlib.import_module(name).read, f"{str(path)!r} cannot be read")
            source = read(place, file, map=map, allow_pickle=allow_pickle)
            if source is not None:
                dataset = Dataset(source)
                return dataset if split is None else dataset.split(split)
        raise InvalidDataset(_unknown(place, file))


@contextlib.contextmanager
def _safe_file(path: Path, max_objects: int) -> Iterator[Any]:
    """The HDF5 file, refused by structure where it could read or run other things."""
    from pdeml.hdf5 import refuse_unsafe

    release(path)  # it may have been replaced since it was read last
    try:
        refuse_unsafe(
            path,
            error=InvalidDataset,
            references=is_matlab(path),
            max_objects=max_objects,
        )
        file = h5file(path)
    except InvalidDataset as error:
        raise _explained(path, error) from error
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise _explained(path, error) from error
    try:
        yield file
    finally:
        release(path)  # reading opens it again, if it must


def _explained(path: Path, error: Exception) -> InvalidDataset:
    """What a failure to open means, with byte counts where the file is cut off."""
    cut = re.search(r"eof = (\d+).*?stored_eof = (\d+)", str(error), re.DOTALL)
    if cut:
        counted, stored = map(int, cut.groups())
        has = path.stat().st_size  # with the user block, which HDF5 does not count
        return InvalidDataset(
            f"{str(path)!r} is cut off: it has {has} bytes and should have "
            f"{stored + has - counted}. Copy or "
            "generate it again."
        )
    if isinstance(error, InvalidDataset):
        return error
    return InvalidDataset(f"{str(path)!r} is a damaged HDF5 file: {error}")


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(max(USER_BLOCKS) + len(SIGNATURE))
    if not head:
        raise InvalidDataset(f"{str(path)!r} is empty (0 bytes).")
    if head.startswith(b"version https://git-lfs"):
        raise InvalidDataset(
            f"{str(path)!r} is a pointer of git-lfs, not the data: run `git lfs pull` there."
        )
    start = head[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")):
        raise InvalidDataset(
            f"{str(path)!r} is a web page, not data: a download ended in an error or login page. "
            "Download it again."
        )
    return any(head[block:].startswith(SIGNATURE) for block in USER_BLOCKS)


def _unknown(path: Path, file: Any) -> str:
    found = (
        None if path.is_dir() else guarded(variables, f"{str(path)!r} cannot be read")(path, file)
    )
    if found is None:
        kind = "folder" if path.is_dir() else "file"
        return (
            f"the {kind} {str(path)!r} is of no known layout. Known are pdeml's own, PDEBench, The "
            "Well (file or folder), MATLAB .mat, APEBench .json with .npy, DeepXDE .npz."
        )
    return (
        f"{str(path)!r} is of no known layout. It holds: {listing(found[0])}. Say which are fields "
        'and what their axes are: pdeml.data.open(path, map={"u": "NAME", "axes": "n t x"}), with '
        "n samples, t time, c channel, x y z space."
    )
