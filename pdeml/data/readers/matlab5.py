"""MATLAB files of version 5: arrays of numbers and texts, everything else is left out.

SciPy's reader crashes the process on damaged files, so that this one checks every length before it
is used. Structures, cells, sparse matrices and objects are not read.

References
----------
MathWorks, MAT-File Format (R2024a), Level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from pdeml.errors import InvalidDataset
from pdeml.hdf5 import MAX_OBJECTS

HEADER = 128  # bytes
MATRIX, COMPRESSED, UTF8 = 14, 15, 16
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8",
          13: "u8", 16: "u1", 17: "u2", 18: "u4"}  # fmt: skip
CHAR = 4
CLASSES = {CHAR: "u2", 6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4",
           14: "i8", 15: "u8"}  # fmt: skip
COMPLEX, LOGICAL = 0x800, 0x200
MAX_AXES = 32

Piece = tuple[int, memoryview]


def is_matlab5(head: bytes) -> bool:
    """Whether the first 128 bytes of a file are those of a MATLAB 5 file."""
    return len(head) == HEADER and head[124:] in (b"\0\x01IM", b"\x01\0MI")


def arrays(path: Path, largest: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Arrays by name, a text as an array of one string; and the names of what is left out.

    Parameters
    ----------
    largest : bytes that all variables together may unpack to.

    Raises
    ------
    InvalidDataset
        The file is cut off or damaged; the message says where.
    """
    data = memoryview(path.read_bytes())
    order = "<" if data[126:128] == b"IM" else ">"
    found: dict[str, np.ndarray] = {}
    skipped: list[str] = []
    place, left = HEADER, largest
    for _ in range(MAX_OBJECTS):
        if place == len(data):
            return found, skipped
        if len(data) - place < 8:
            raise InvalidDataset(f"{str(path)!r} is cut off at byte {len(data)}; copy it again.")
        kind, length = struct.unpack_from(f"{order}II", data, place)
        if kind not in (MATRIX, COMPRESSED):
            raise _damaged(path, f"an element of the unknown kind {kind} at byte {place}")
        end = place + 8 + length
        if end > len(data):
            raise InvalidDataset(
                f"{str(path)!r} is cut off: its last variable ends at byte {end}, the file has "
                f"{len(data)}. Copy it again."
            )
        body = data[place + 8 : end]
        if kind == COMPRESSED:
            body = _unpacked(path, body, order, left)
        left -= len(body)
        name, array = _matrix(path, body, order)
        if array is None:
            skipped.append(name)
        else:
            found[name] = array
        place = end
    raise InvalidDataset(f"{str(path)!r} has more than {MAX_OBJECTS} variables.")


def _damaged(path: Path, what: str) -> InvalidDataset:
    return InvalidDataset(f"{str(path)!r} is damaged: {what}. Copy or generate it again.")


def _unpacked(path: Path, packed: memoryview, order: str, largest: int) -> memoryview:
    """The matrix in a compressed element, whose checksum is compared."""
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(packed, largest + 8)
    except zlib.error as error:
        raise _damaged(path, f"a compressed variable ({error})") from error
    if not stream.eof:
        raise _damaged(path, f"a compressed variable has no end, or more than {largest} bytes")
    kind, length = struct.unpack_from(f"{order}II", data) if len(data) >= 8 else (0, 0)
    if kind != MATRIX or length != len(data) - 8:
        raise _damaged(path, "a compressed variable is no array of its length")
    return memoryview(data)[8:]


def _pieces(path: Path, body: memoryview, order: str, count: int) -> list[Piece]:
    """The first `count` sub-elements: kind and bytes."""
    pieces: list[Piece] = []
    place = 0
    for _ in range(count):
        if len(body) - place < 8:
            raise _damaged(path, "a variable ends too early")
        kind, length = struct.unpack_from(f"{order}II", body, place)
        start, step = place + 8, -(-length // 8) * 8
        if kind >> 16:  # at most 4 bytes stand in the tag itself
            kind, length, start, step = kind & 0xFFFF, kind >> 16, place + 4, 0
        if start + length > len(body) or (not step and length > 4):
            raise _damaged(path, "a part of a variable is longer than the variable")
        pieces.append((kind, body[start : start + length]))
        place += 8 + step
    return pieces


def _matrix(path: Path, body: memoryview, order: str) -> tuple[str, np.ndarray | None]:
    """Name and values of a variable; None for what is no array of numbers or text."""
    if not len(body):
        return "(empty)", None
    (kind, flags), (of_sizes, sizes), (_, label) = _pieces(path, body, order, 3)
    if kind != 6 or len(flags) != 8 or of_sizes != 5 or len(sizes) % 4:
        raise _damaged(path, "a variable without flags and sizes")
    name = bytes(label).decode("latin-1")
    word = struct.unpack_from(f"{order}I", flags)[0]
    if word & 0xFF not in CLASSES:
        return name or "(object)", None
    shape = tuple(np.frombuffer(sizes, f"{order}i4").tolist())
    if not 2 <= len(shape) <= MAX_AXES or min(shape) < 0:
        raise _damaged(path, f"{name!r} has the shape {shape[:MAX_AXES]}")
    parts = _pieces(path, body, order, 5 if word & COMPLEX else 4)[3:]
    if word & 0xFF == CHAR:
        kind, text = parts[0]
        encoding = "utf-8" if kind == UTF8 else {2: "utf-16-le", 4: "utf-32-le"}.get(
            np.dtype(STORED.get(kind, "u1")).itemsize, "latin-1"
        )  # fmt: skip
        encoding = encoding if order == "<" else encoding.replace("-le", "-be")
        return name, np.array([bytes(text).decode(encoding, "replace")])
    values = [_values(path, name, part, shape, word, order) for part in parts]
    whole = values[0] if len(values) == 1 else values[0] + 1j * values[1]
    return name, whole.reshape(shape, order="F")


def _values(
    path: Path, name: str, part: Piece, shape: tuple[int, ...], word: int, order: str
) -> np.ndarray:
    """Numbers in the type that MATLAB shows; smaller integers may stand for it in the file."""
    kind, data = part
    stored = np.dtype(order + STORED.get(kind, "V1"))
    if stored.kind == "V" or len(data) != math.prod(shape) * stored.itemsize:
        raise _damaged(
            path, f"{name!r} of the shape {shape} has {len(data)} bytes of the kind {kind}"
        )
    shown = np.dtype(bool if word & LOGICAL else CLASSES[word & 0xFF])
    return np.frombuffer(data, stored).astype(shown, copy=False)
