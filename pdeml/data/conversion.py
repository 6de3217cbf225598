"""From any layout to another."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pdeml.data.dataset import Dataset
from pdeml.errors import InvalidOption
from pdeml.hdf5 import MAX_OBJECTS

EXPORTS: Mapping[str, str] = MappingProxyType(
    {
        "pdeml": "pdeml.data.exports.native",
        "pdebench": "pdeml.data.exports.pdebench",
        "well": "pdeml.data.exports.well",
        "mat": "pdeml.data.exports.mat",
        "apebench": "pdeml.data.exports.apebench",
        "deepxde": "pdeml.data.exports.deepxde",
    }
)
"""Module of each layout that can be written: ``write(dataset, target, **options) -> list[str]``."""


def convert(
    source: str | os.PathLike[str] | Dataset,
    target: str | os.PathLike[str],
    to: str = "pdeml",
    *,
    map: Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
    max_objects: int = MAX_OBJECTS,
    **options: Any,
) -> list[str]:
    """Write a data set in another layout.

    Parameters
    ----------
    source : a path of any layout that `pdeml.data.open` knows, or a view of a data set.
    target : path of the file or folder to write; it must not be there.
    to : ``"pdeml"``, ``"pdebench"``, ``"well"``, ``"mat"``, ``"apebench"``, ``"deepxde"``.
    map, allow_pickle, max_objects : of the source, see `pdeml.data.open`.
    **options : of the layout: ``compression`` (pdeml), ``version`` (mat).

    Returns
    -------
    list of str
        What was lost, one sentence each.

    Raises
    ------
    InvalidOption
        An unknown layout, or a target that is there.
    InvalidDataset
        The source cannot be read, or the layout cannot hold it.
    """
    from pdeml.data.opening import open as open_dataset

    if to not in EXPORTS:
        raise InvalidOption(f"to={to!r}: give one of {', '.join(EXPORTS)}.")
    if Path(target).exists():
        raise InvalidOption(f"{str(target)!r} is there already; remove it or give another path.")
    write = importlib.import_module(EXPORTS[to]).write
    accepted = list(inspect.signature(write).parameters)[2:]
    unknown = [name for name in options if name not in accepted]
    if unknown:
        raise InvalidOption(
            f"{unknown[0]}={options[unknown[0]]!r}: to={to!r} takes "
            f"{', '.join(accepted) or 'no options'}."
        )
    if not isinstance(source, Dataset):
        source = open_dataset(source, map=map, allow_pickle=allow_pickle, max_objects=max_objects)
    return write(source, Path(target), **options)
