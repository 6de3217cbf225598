"""The values of a commit, checked before a byte is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pdeml.data.layout import Header, Part
from pdeml.data.source import FieldInfo
from pdeml.errors import InvalidDataset


def value_array(header: Header, info: FieldInfo, value: Any, count: int) -> np.ndarray:
    """Values of a field in the shape that is stored, (count, …), of any dtype.

    Raises
    ------
    InvalidDataset
        Another shape, or no numbers.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().resolve_conj().numpy()
    array = np.asarray(value)
    window, stored = header.window_shape(info), header.stored_shape(info)
    shapes = [(count, *window), (count, *stored)] + ([window, stored] if count == 1 else [])
    if array.shape not in shapes:
        raise InvalidDataset(
            f"{info.name!r} has shape {array.shape}; give {shapes[0]}: samples, times, components, "
            "space."
        )
    if array.dtype.kind not in ("cfiu" if info.dtype.kind == "c" else "fiu"):
        raise InvalidDataset(f"{info.name!r} has dtype {array.dtype}; the field is {info.dtype}.")
    return array.reshape(count, *stored)


def stored_array(info: FieldInfo, part: Part, array: np.ndarray) -> np.ndarray:
    """What is stored of values, in its dtype.

    Raises
    ------
    InvalidDataset
        NaN or infinite entries, those that overflow in the stored dtype included.
    """
    with np.errstate(over="ignore"):
        stored = part.of(array)
    if not is_finite(stored):
        bad = np.flatnonzero(~np.isfinite(stored.reshape(len(stored), -1)).all(1))
        raise InvalidDataset(
            f"{info.name!r} has NaN or infinite entries in sample {bad[0]} of the batch (as "
            f"{part.dtype}); mark a diverged sample by fail(id, reason)."
        )
    return stored


def parameter_array(name: str, value: Any, rows: int, count: int) -> np.ndarray:
    """Values (B,) or (B, P) of a parameter; one for all is repeated.

    Raises
    ------
    InvalidDataset
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    expected = (rows, count) if count else (rows,)
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise InvalidDataset(f"parameter {name!r} is {value!r:.60}; give finite real numbers.")
    try:
        return np.broadcast_to(array.astype(np.float64), expected)
    except ValueError:
        raise InvalidDataset(
            f"parameter {name!r} has shape {array.shape}; give {expected}, or one for all."
        ) from None


def is_finite(array: np.ndarray) -> bool:
    """No NaN and no infinity; one pass without a temporary unless the squares overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        flat = array.reshape(-1)
        if np.isfinite(np.dot(flat, flat)):
            return True
    return bool(np.isfinite(array).all())
