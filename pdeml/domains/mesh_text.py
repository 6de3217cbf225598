"""Arrays of a mesh as JSON-able text and back, and their digest."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from pdeml.errors import InvalidFile, InvalidMesh

TYPES = {"f": "<f8", "i": "<i4"}

# A declaration is a text of 16 Mi characters at most, three quarters of which are bytes.
MAX_BYTES = 11 * 2**20


def to_text(array: np.ndarray) -> dict[str, Any]:
    """Shape and base64 of a float or integer array.

    Raises
    ------
    InvalidMesh
        If it is too large.
    """
    small = array.astype(TYPES["f" if array.dtype.kind == "f" else "i"])
    if small.nbytes > MAX_BYTES:
        raise InvalidMesh(
            f"an array of {small.nbytes} bytes is too large to be saved inside a declaration (at "
            f"most {MAX_BYTES}); take a coarser mesh."
        )
    shape = [len(small), array.size // max(len(small), 1)]
    return {"shape": shape, "data": base64.b64encode(small.tobytes()).decode("ascii")}


def from_text(data: Any, columns: int, kind: str) -> np.ndarray:
    """The matrix that `to_text` wrote.

    Raises
    ------
    InvalidFile
        If it is no such text, or has another number of columns.
    """
    shape, text = (data.get(key) if isinstance(data, dict) else None for key in ("shape", "data"))
    dtype = np.dtype(TYPES[kind])
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or not all(type(size) is int and 0 <= size <= MAX_BYTES for size in shape)
        or shape[1] != columns
        or not isinstance(text, str)
        or len(text) != 4 * math.ceil(math.prod(shape) * dtype.itemsize / 3)
    ):
        raise InvalidFile("a saved Mesh has an array whose shape does not fit its text.")
    try:
        content = base64.b64decode(text, validate=True)
        return np.frombuffer(content, dtype).reshape(shape)
    except (binascii.Error, ValueError) as error:
        raise InvalidFile(f"a saved Mesh has a damaged array: {error}") from None


def named_from_text(data: Any, columns: int) -> dict[str, np.ndarray]:
    """Named integer arrays, in their order.

    Raises
    ------
    InvalidFile
        If they are none, or a name is repeated.
    """
    if not isinstance(data, list) or not all(
        isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) for entry in data
    ):
        raise InvalidFile("a saved Mesh has names that are no list of pairs.")
    named = {name: from_text(array, columns, "i") for name, array in data}
    if len(named) < len(data):
        raise InvalidFile("a saved Mesh repeats a name.")
    return named


def digest_of(arrays: Iterable[np.ndarray], names: tuple) -> str:
    """SHA-256 of arrays and names, the same on every platform."""
    content = hashlib.sha256(repr(names).encode("utf-8"))
    for array in arrays:
        content.update(str(array.shape).encode("ascii"))
        content.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return content.hexdigest()
