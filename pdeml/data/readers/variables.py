"""The named arrays of a file, whatever kind of file it is: HDF5, MATLAB, npz, npy.

Readers of layouts ask for shapes and names here, and give the arrays' axes names of their own.
"""

from __future__ import annotations

import functools
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.handles import h5dataset, memory_map
from pdeml.data.readers import matlab5
from pdeml.data.source import is_number
from pdeml.errors import InvalidDataset, PdemlError
from pdeml.hdf5 import MAX_OBJECTS, MAX_RATIO, SMALL_BYTES

MAX_COORDINATES = 2**26  # numbers of an array that is read whole when a file is opened
MATLAB_NUMBERS = frozenset(
    "double single int8 int16 int32 int64 uint8 uint16 uint32 uint64 logical".split()
)
REAL_IMAGINARY = ("real", "imag")  # complex numbers of MATLAB 7.3

Fetch = Callable[[str, str], Any]
Stamp = tuple[int, int, int]  # a file that was replaced is another one


@dataclass(frozen=True)
class Variable:
    """An array of a file; it can be sent to other processes.

    Attributes
    ----------
    path, name : where it is.
    shape, dtype : as a user of the file's own program sees them, native byte order.
    fetch : gives something that takes an index, from path and name.
    flipped : it is stored with its axes in reverse order (MATLAB 7.3).
    reshaped : it is in memory and has another shape there, of as many entries.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fetch: Fetch
    flipped: bool = False
    reshaped: bool = False

    def read(self, index: tuple[Any, ...] = ()) -> np.ndarray:
        """Values at an index of integers and slices, the axes in the order of `shape`.

        Raises
        ------
        InvalidDataset
            The file is damaged there.
        """
        index = (*index, *(slice(None),) * (len(self.shape) - len(index)))
        with_damage = guarded(self._read, f"{self.name!r} of {self.path!r} cannot be read")
        return with_damage(index[::-1] if self.flipped else index)

    def _read(self, index: tuple[Any, ...]) -> np.ndarray:
        array = self.fetch(self.path, self.name)
        array = array.reshape(self.shape) if self.reshaped else array
        expected = self.shape[::-1] if self.flipped else self.shape
        if tuple(array.shape) != expected:
            raise InvalidDataset(f"{self.path!r} has changed since it was opened; open it again.")
        values = np.asarray(array[index])
        if values.dtype.names is not None:
            values = values["real"] + 1j * values["imag"]
        values = values.transpose() if self.flipped else values
        return values.astype(self.dtype, copy=False)

    def vector(self, what: str) -> np.ndarray:
        """Coordinates or the like as a flat float64 array; they must be finite."""
        if math.prod(self.shape) > MAX_COORDINATES:
            raise InvalidDataset(
                f"{self.name!r} of {self.path!r} has the shape {self.shape}, too large for {what}."
            )
        values = self.read()
        if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
            raise InvalidDataset(
                f"{self.name!r} of {self.path!r} ({what}) has NaN, infinite or complex entries; "
                "give finite real numbers."
            )
        return values.astype(np.float64).reshape(-1)


Variables = Mapping[str, Variable]


PARSING = (
    *(ArithmeticError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError),
    *(MemoryError, SyntaxError, tokenize.TokenError),  # a header of NumPy is Python text
    *(struct.error, zlib.error, zipfile.BadZipFile),
)
"""What parsers raise of broken input; faults of another kind are not the file's."""


def guarded(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    """The function with all that parsers of foreign formats raise as `InvalidDataset`."""

    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except PdemlError:
            raise
        except PARSING as error:
            raise InvalidDataset(
                f"{what}: {type(error).__name__}: {error}. The file is damaged or of another kind; "
                "copy or generate it again."
            ) from error

    return call


def variables(path: Path, file: Any) -> tuple[dict[str, Variable], list[str]] | None:
    """Arrays of numbers by name, with a note on what is left out; None for other kinds of files.

    Parameters
    ----------
    path : of the file.
    file : its HDF5 handle, or None.
    """
    if file is not None:
        return _of_hdf5(path, file)
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        head = stream.read(128)
    if head.startswith(b"\x93NUMPY"):
        return _of_npy(path)
    if head.startswith(b"PK\x03\x04"):
        return _of_npz(path)
    if matlab5.is_matlab5(head):
        return _of_mat5(path)
    return None


def listing(found: Variables) -> str:
    """All arrays with shape and dtype, for messages."""
    lines = [f"{name} {v.shape} {v.dtype}" for name, v in sorted(found.items())]
    more = f"; … ({len(lines)} in all)" if len(lines) > 40 else ""
    return "; ".join(lines[:40]) + more if lines else "no arrays of numbers"


# ------------------------------------------------------------------------------------- HDF5


def is_matlab(path: Path) -> bool:
    """Whether an HDF5 file was written by MATLAB 7.3: its user block says so."""
    with path.open("rb") as stream:
        return stream.read(10) == b"MATLAB 7.3"


def _of_hdf5(path: Path, file: Any) -> tuple[dict[str, Variable], list[str]]:
    import h5py

    flipped = is_matlab(path)
    found: dict[str, Variable] = {}
    skipped: list[str] = []

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or name.startswith("#"):
            return
        dtype = _numbers(item.dtype)
        kind = item.attrs.get("MATLAB_class", "") if flipped else ""
        kind = kind.decode("latin-1") if isinstance(kind, bytes) else kind
        numeric = kind in {*MATLAB_NUMBERS, "char", ""}
        if dtype is None or not numeric or item.shape is None or "MATLAB_empty" in item.attrs:
            skipped.append(name)
            return
        shape = item.shape[::-1] if flipped else item.shape
        found[name] = Variable(str(path), name, shape, dtype, hdf5_array, flipped)

    file.visititems(visit)
    notes = [_left_out(skipped)] if skipped else []
    return found, notes


def _numbers(dtype: np.dtype) -> np.dtype | None:
    """The dtype of what is read; None where it is no number."""
    if dtype.names == REAL_IMAGINARY and dtype[0] == dtype[1] and dtype[0].kind == "f":
        dtype = np.dtype(f"c{2 * dtype[0].itemsize}")
    return dtype.newbyteorder("=") if is_number(dtype) else None


def _left_out(names: list[str]) -> str:
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"no arrays of numbers, left out: {shown}"


def hdf5_array(path: str, name: str) -> Any:
    """A data set of an HDF5 file, memory-mapped where that is possible."""
    array = memory_map(path, name)
    return h5dataset(path, name) if array is None else array


def hdf5_variable(path: Path, data: Any) -> Variable:
    """A data set as a variable.

    Raises
    ------
    InvalidDataset
        It holds no numbers.
    """
    import h5py

    where = getattr(data, "name", "").lstrip("/")
    dtype = _numbers(data.dtype) if isinstance(data, h5py.Dataset) else None
    if dtype is None or data.shape is None:
        raise InvalidDataset(f"{where!r} of {str(path)!r} is no data set of numbers.")
    return Variable(str(path), where, data.shape, dtype, hdf5_array)


# ------------------------------------------------------------------------------------- NumPy


def _of_npy(path: Path) -> tuple[dict[str, Variable], list[str]]:
    array = npy_array(str(path), "")
    name = "array"
    return {name: Variable(str(path), name, array.shape, _native(array.dtype), npy_array)}, []


def _native(dtype: np.dtype) -> np.dtype:
    return dtype.newbyteorder("=")


def npy_array(path: str, name: str) -> np.ndarray:
    """The array of an npy file as a memory map."""
    return _mapped(path, _stamp(path))


@functools.lru_cache(16)
def _mapped(path: str, stamp: Stamp) -> np.ndarray:
    with open(path, "rb") as stream:
        header = _npy_header(stream, path)
    if header[1].hasobject:
        raise InvalidDataset(
            f"{path!r} holds Python objects, which run code when they are read; save numbers."
        )
    if not is_number(header[1]):
        raise InvalidDataset(f"{path!r} holds {header[1]}, no numbers; save an array of numbers.")
    needed, there = math.prod(header[0]) * header[1].itemsize, stamp[1]
    if needed > there:
        raise InvalidDataset(
            f"{path!r} is cut off: an array {header[0]} of {header[1]} needs {needed} bytes, the "
            f"file has {there}. Copy or generate it again."
        )
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _npy_header(stream: Any, where: str) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise InvalidDataset(f"{where!r} has the npy version {version}; 1.0 and 2.0 are read.")
    shape, _, dtype = readers[version](stream)
    if any(n < 0 for n in shape):
        raise InvalidDataset(f"{where!r} has the shape {shape}.")
    return shape, dtype


def _stamp(path: str) -> Stamp:
    state = os.stat(path)
    return state.st_mtime_ns, state.st_size, state.st_ino


def _of_npz(path: Path) -> tuple[dict[str, Variable], list[str]]:
    found: dict[str, Variable] = {}
    skipped: list[str] = []
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MAX_OBJECTS:
            raise InvalidDataset(f"{str(path)!r} has more than {MAX_OBJECTS} members.")
        packed = path.stat().st_size
        if sum(m.file_size for m in members) > max(SMALL_BYTES, MAX_RATIO * packed):
            raise InvalidDataset(
                f"{str(path)!r} declares {sum(m.file_size for m in members)} bytes in a file of "
                f"{packed}."
            )
        for member in members:
            if not member.filename.endswith(".npy"):
                skipped.append(member.filename)
                continue
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                shape, dtype = _npy_header(stream, name)
                start = stream.tell()
            needed = start + math.prod(shape) * dtype.itemsize
            if not dtype.hasobject and needed > member.file_size:
                raise InvalidDataset(
                    f"{name!r} of {str(path)!r} is cut off: shape {shape} of {dtype} needs "
                    f"{needed} bytes, {member.file_size} are there. Copy or generate it again."
                )
            if is_number(dtype) or dtype.hasobject or dtype.kind == "U":
                found[name] = Variable(str(path), name, shape, _native(dtype), npz_array)
            else:
                skipped.append(name)
    return found, [_left_out(skipped)] if skipped else []


def npz_array(path: str, name: str) -> np.ndarray:
    """A member of an npz file, kept in memory; never one of Python objects."""
    return _member(path, name, _stamp(path))


@functools.lru_cache(16)
def _member(path: str, name: str, stamp: Stamp) -> np.ndarray:
    return npz_member(path, name, allow_pickle=False)


def npz_member(path: str, name: str, allow_pickle: bool) -> np.ndarray:
    """A member of an npz file, of Python objects only where the user allows it."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        array = np.lib.format.read_array(stream, allow_pickle=allow_pickle)
        if stream.read(1):  # reading to the end makes the checksum be compared
            raise InvalidDataset(f"{name!r} of {path!r} has bytes behind its values.")
        return array


# ------------------------------------------------------------------------------------- MATLAB 5


def _of_mat5(path: Path) -> tuple[dict[str, Variable], list[str]]:
    arrays, skipped = _loaded(str(path), _stamp(str(path)))
    found = {
        name: Variable(str(path), name, array.shape, _native(array.dtype), mat5_array)
        for name, array in arrays.items()
    }
    return found, [_left_out(list(skipped))] if skipped else []


def mat5_array(path: str, name: str) -> np.ndarray:
    """A variable of a MATLAB 5 file, kept in memory: the format has no other way."""
    return _loaded(path, _stamp(path))[0][name]


@functools.lru_cache(2)
def _loaded(path: str, stamp: Stamp) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    found, skipped = matlab5.arrays(Path(path), max(SMALL_BYTES, MAX_RATIO * stamp[1]))
    return found, tuple(skipped)


def text_of(variable: Variable | None) -> str | None:
    """The text of a variable: characters of MATLAB or a string of NumPy; None if it is none."""
    if variable is None or math.prod(variable.shape) > SMALL_BYTES:
        return None
    values = variable.read()
    if values.dtype.kind == "U":
        return "".join(values.reshape(-1).tolist())
    if values.dtype == np.uint16:
        return values.reshape(-1).astype("<u2").tobytes().decode("utf-16-le", "replace")
    return None
