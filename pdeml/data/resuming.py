"""Whether a file is what a run would make: every difference is named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.layout import Header
from pdeml.errors import DatasetMismatch, PdemlError
from pdeml.operators.pde import PDE


def check_same(stored: Header, asked: Header, path: Path, parts: bool = False) -> None:
    """Refuse to continue a file with other fields, grid, problem, seed or options.

    Parameters
    ----------
    parts : both are parts of one set, whose samples differ.

    Raises
    ------
    DatasetMismatch
        Names the first difference, with both values.
    """
    for what, old, new in _differences(stored, asked, parts):
        raise DatasetMismatch(
            f"{str(path)!r} cannot be continued: its {what} is {_short(old)}, asked is "
            f"{_short(new)}. Give the same options, or another path."
        )


def _differences(a: Header, b: Header, parts: bool) -> Iterator[tuple[str, Any, Any]]:
    if not parts and not np.array_equal(a.numbers, b.numbers):
        yield "number of samples", a.samples, b.samples
    if not _same_problem(a.pde.get("declaration"), b.pde.get("declaration")):
        yield "problem", a.pde.get("declaration"), b.pde.get("declaration")
    yield from _unequal("fields", _fields(a), _fields(b))
    yield from _unequal("parameters", dict(a.parameters), dict(b.parameters))
    if len(a.axes) != len(b.axes):
        yield "number of axes", len(a.axes), len(b.axes)
    for one, other in zip(a.axes, b.axes, strict=False):
        yield from _unequal("axis", one.name, other.name)
        if len(one.points) != len(other.points):
            yield f"axis {one.name!r} (points)", len(one.points), len(other.points)
        elif not np.array_equal(one.points, other.points):
            yield f"axis {one.name!r}", one.points, other.points
        yield from _unequal(f"axis {one.name!r} (periodic)", one.periodic, other.periodic)
    if not np.array_equal(a.times, b.times):
        yield "times", a.times, b.times
    old, new = _plain(a.provenance), _plain(b.provenance)
    yield from _unequal("seed", old.get("seed"), new.get("seed"))
    before, after = old.get("options", {}), new.get("options", {})
    for name in (*after, *(n for n in before if n not in after)):
        yield from _unequal(f"option {name!r}", before.get(name), after.get(name))
    if (a.mesh is None) != (b.mesh is None) or (
        a.mesh is not None
        and b.mesh is not None
        and not (
            np.array_equal(a.mesh.coords, b.mesh.coords)
            and np.array_equal(a.mesh.cells, b.mesh.cells)
        )
    ):
        yield "mesh", a.mesh and a.mesh.coords.shape, b.mesh and b.mesh.coords.shape


def _same_problem(one: str | None, other: str | None) -> bool:
    """Whether two declarations are equal; their text may be of different versions of pdeml."""
    if one == other or one is None or other is None:
        return one == other
    try:
        return PDE.from_json(one) == PDE.from_json(other)
    except PdemlError:
        return False


def _fields(header: Header) -> list[list[Any]]:
    return [[f.name, str(f.dtype), list(f.components), f.units, f.static] for f in header.fields]


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from JSON: tuples are lists."""
    return json.loads(json.dumps(dict(data)))


def _unequal(what: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if old != new:
        yield what, old, new


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        ends = f"{value[0]:g} … {value[-1]:g}" if len(value) else ""
        return f"{len(value)} values {ends}"
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "…"
