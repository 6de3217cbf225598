"""Files of an unknown layout: the user says which arrays are fields and what their axes are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.readers.stored import (
    COLUMN,
    ONE,
    RESERVED,
    SAMPLE,
    TIME,
    Place,
    assemble,
)
from pdeml.data.readers.variables import Variable, Variables, listing, variables
from pdeml.data.source import Source
from pdeml.errors import InvalidDataset, InvalidOption

WORD = re.compile(r"[A-Za-z]\w*\Z")
EXAMPLE = 'map={"u": "results/u", "axes": "n t x"}'


def read(path: Path, file: Any, *, map: Mapping[str, Any] | None = None, **_: Any) -> Source | None:
    """The source of the arrays that are named.

    Parameters
    ----------
    map : names of arrays by field; ``"axes"``: names of their axes in the order of the file
        (for MATLAB files: the order that MATLAB shows), ``n`` sample, ``t`` time, ``c`` channel,
        ``1`` an axis of one entry, others space; a table by field where they differ. A key that is
        a name of an axis gives its coordinate, ``"parameters"`` a table of arrays (n) or (n, p).

    Raises
    ------
    InvalidDataset
        The file has no such array, or shapes do not fit; all arrays are listed.
    InvalidOption
        The map itself is not well-formed.
    """
    if map is None:
        return None
    found = variables(path, file)
    if found is None:
        raise InvalidDataset(
            f"{str(path)!r} is no HDF5, .mat, .npy or .npz file; map= is for these."
        )
    known, notes = found
    entries = {k: v for k, v in map.items() if k not in ("axes", "parameters")}
    axes = _axes(map)
    space = list(dict.fromkeys(a for names in axes.values() for a in names if a not in RESERVED))
    if len(space) > 3:
        raise InvalidOption(f"map= has the axes of space {', '.join(space)}; at most 3 are read.")
    points = {
        axis: _variable(path, known, entries.pop(axis)).vector(f"the coordinate of {axis}")
        for axis in (*space, TIME)
        if axis in entries
    }
    if not entries:
        raise InvalidOption(f"map={map!r:.200} names no field; write {EXAMPLE}.")
    missing = [name for name in entries if name not in axes]
    if missing:
        raise InvalidOption(f"map= gives no axes for {missing[0]!r}; write {EXAMPLE}.")
    places = {}
    for name, stored in entries.items():
        variable = _variable(path, known, stored)
        if len(variable.shape) != len(axes[name]):
            raise InvalidDataset(
                f"{variable.name!r} has the shape {variable.shape}, but map= names "
                f"{len(axes[name])} axes: {' '.join(axes[name])}. Give one name for each axis."
            )
        places[str(name)] = Place((variable,), axes[name])
    return assemble(
        "arrays by map=",
        places,
        space,
        times=points.pop(TIME, None),
        points=points,
        parameters=_parameters(path, known, map.get("parameters", {}), places),
        notes=notes,
    )


def _axes(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Names of axes by field; the same for all where one text is given."""
    texts = given.get("axes")
    fields = [k for k in given if k not in ("axes", "parameters")]
    if isinstance(texts, str):
        texts = dict.fromkeys(fields, texts)
    if not isinstance(texts, Mapping) or not all(isinstance(t, str) for t in texts.values()):
        raise InvalidOption(f"map= needs the names of axes, {EXAMPLE}; 'axes' is {texts!r:.80}.")
    out = {}
    for name, text in texts.items():
        names = tuple(text.split())
        plain = [n for n in names if n != ONE]
        bad = [n for n in plain if not WORD.match(n) or n == COLUMN]
        if bad or len(set(plain)) != len(plain) or not names:
            raise InvalidOption(
                f"map= has the axes {text!r}; give different names such as 'n t x y' or "
                "'n x y t c', and 1 for an axis of one entry."
            )
        out[str(name)] = names
    return out


def _variable(path: Path, known: Variables, name: Any) -> Variable:
    key = str(name).strip("/")
    if key not in known:
        raise InvalidDataset(f"{str(path)!r} has no array {name!r}. It holds: {listing(known)}.")
    return known[key]


def _parameters(
    path: Path, known: Variables, given: Any, places: Mapping[str, Place]
) -> dict[str, np.ndarray]:
    if not isinstance(given, Mapping):
        raise InvalidOption(f"map= has 'parameters': {given!r:.80}; give names of arrays by name.")
    first = next(iter(places.values()))
    samples = first.variables[0].shape[first.axes.index(SAMPLE)] if SAMPLE in first.axes else 1
    out = {}
    for name, stored in given.items():
        variable = _variable(path, known, stored)
        values = variable.read().astype(np.float64)
        if values.shape[:1] != (samples,) or values.ndim > 2:
            raise InvalidDataset(
                f"{variable.name!r} has the shape {variable.shape}; a parameter has one row for "
                f"each of {samples} samples."
            )
        out[str(name)] = values[:, 0] if values.shape[1:] == (1,) else values
    return out
