"""Files of DeepXDE's examples: DeepONet data (npz) and solutions of one problem (npz, mat)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.concatenated import concatenate
from pdeml.data.description import KEY, parsed, refined
from pdeml.data.readers.stored import Place, StoredArrays, assemble
from pdeml.data.readers.variables import (
    Variable,
    Variables,
    is_matlab,
    npz_member,
    text_of,
    variables,
)
from pdeml.data.source import MeshArrays, Source
from pdeml.errors import InvalidDataset

SPACE = ("x", "y", "z")
SOLUTIONS = ("usol", "u", "uu", "exact")
PICKLED = (
    "{path!r} holds {name!r} as Python objects (pickle), and reading these can run any code that "
    "whoever made the file put there. If you trust it, give allow_pickle=True; else have it saved "
    "as the arrays X_train0 (samples, sensors), X_train1 (points, dimensions), y_train (samples, "
    "points)."
)


def read(path: Path, file: Any, *, allow_pickle: bool = False, **_: Any) -> Source | None:
    """The source of a file of DeepXDE.

    Parameters
    ----------
    allow_pickle : read object arrays, which can run code.

    Raises
    ------
    InvalidDataset
        Arrays do not fit each other, or there are object arrays and they are not allowed.
    """
    if file is not None and not is_matlab(path):
        return None
    found = variables(path, file)
    if found is None or "array" in found[0] or (file is not None and KEY in found[0]):
        return None
    known, notes = found
    if {"X_star", "U_star"} <= set(known):
        return _scattered(path, known, notes)
    if "X_train0" in known:
        return _operator(path, known, notes)
    if "X" in known and "y" in known:
        return _aligned(path, known, notes, allow_pickle)
    name = next((n for n in SOLUTIONS if n in known and len(known[n].shape) == 2), None)
    if name is not None and {"x", "t"} <= set(known) and "a" not in known and KEY not in known:
        return _solution(path, known, name, notes)
    return None


def _solution(path: Path, known: Variables, name: str, notes: list[str]) -> StoredArrays:
    """One solution u(t, x), or usol(x, t), with its coordinates."""
    x, t = known["x"].vector("the coordinate of x"), known["t"].vector("the times")
    shape = known[name].shape
    orders = [("x", "t"), ("t", "x")] if name == "usol" else [("t", "x"), ("x", "t")]
    sizes = {"x": len(x), "t": len(t)}
    fits = [axes for axes in orders if tuple(sizes[a] for a in axes) == shape]
    if not fits:
        raise InvalidDataset(
            f"{name!r} of {str(path)!r} has the shape {shape}, but x has {len(x)} and t has "
            f"{len(t)} entries; one axis must be that of x, the other that of t."
        )
    places = {name: Place((known[name],), fits[0])}
    if len(x) == len(t):
        notes = [*notes, f"x and t have {len(x)} entries each: {name} is read as {fits[0]}"]
    return assemble("DeepXDE solution", places, ("x",), points={"x": x}, times=t, notes=notes)


def _scattered(path: Path, known: Variables, notes: list[str]) -> StoredArrays:
    """Velocity U_star (P, D, T) and pressure p_star (P, T) at the points X_star (P, D)."""
    points = known["X_star"].read().astype(np.float64)
    count, size = points.shape if points.ndim == 2 else (0, 0)
    axes = {"U_star": ("node", "c", "t"), "p_star": ("node", "t")}
    places = {name: Place((known[name],), a) for name, a in axes.items() if name in known}
    if not 1 <= size <= 3:
        raise InvalidDataset(
            f"'X_star' of {str(path)!r} has the shape {points.shape}; expected are points (P, D) "
            "with D from 1 to 3."
        )
    times = known["t"].vector("the times") if "t" in known else None
    return assemble(
        "DeepXDE scattered solution",
        places,
        ("node",),
        points={"node": np.arange(count, dtype=np.float64)},
        times=times,
        mesh=cloud(points),
        notes=notes,
    )


def cloud(points: np.ndarray) -> MeshArrays:
    """Points without connections: each is a cell."""
    return MeshArrays(points, np.arange(len(points))[:, None])


def _aligned(path: Path, known: Variables, notes: list[str], allow_pickle: bool) -> Source | None:
    """X = (branch (N, m), trunk (P, d)) as objects, y (N, P)."""
    if not known["X"].dtype.hasobject:
        return None
    if not allow_pickle:
        raise InvalidDataset(PICKLED.format(path=str(path), name="X"))
    pair = npz_member(str(path), "X", allow_pickle).reshape(-1)
    arrays = [np.asarray(a) for a in pair]
    if len(arrays) != 2 or any(a.ndim != 2 or a.dtype.kind not in "fiu" for a in arrays):
        raise InvalidDataset(
            f"'X' of {str(path)!r} is {len(arrays)} objects of the shapes "
            f"{[a.shape for a in arrays]}; expected are branch (N, m) and trunk (P, d)."
        )
    return _cartesian(path, arrays[0], arrays[1], known["y"], {}, notes)


def _operator(path: Path, known: Variables, notes: list[str]) -> Source:
    content = parsed(text_of(known.get(KEY)))
    sources, names = [], []
    for part in ("train", "test"):
        parts = (f"X_{part}0", f"X_{part}1", f"y_{part}")
        missing = [name for name in parts if name not in known]
        if len(missing) == 3:
            continue
        for name in (*missing, *(n for n in parts if n in known and known[n].dtype.hasobject)):
            raise InvalidDataset(
                f"{name!r} of {str(path)!r} is missing or no array of numbers; X_{part}0, "
                f"X_{part}1 and y_{part} belong together."
            )
        branch, trunk, y = (known[name] for name in parts)
        if len(branch.shape) != 2 or len(trunk.shape) != 2 or not 2 <= len(y.shape) <= 3:
            raise InvalidDataset(
                f"{', '.join(parts)} of {str(path)!r} have the shapes {branch.shape}, "
                f"{trunk.shape}, {y.shape}; expected are (N, m), (P, d), (N, P) or (N, m), (N, d), "
                "(N, 1)."
            )
        unaligned = y.shape[1] == 1 and branch.shape[0] == trunk.shape[0] != 1
        if unaligned:
            sources.append(_triples(branch, trunk, y, notes))
        else:
            sources.append(_cartesian(path, branch.read(), trunk.read(), y, content, notes, known))
        names.append(part)
    whole = concatenate(sources)
    if len(names) > 1:
        ends = np.cumsum([0, *(source.contents.samples for source in sources)])
        whole.contents.splits = {
            name: np.arange(a, b) for name, a, b in zip(names, ends, ends[1:], strict=False)
        }
    return whole


def _triples(branch: Variable, trunk: Variable, y: Variable, notes: list[str]) -> StoredArrays:
    """Unaligned data: every sample is one value at a point of its own."""
    return assemble(
        "DeepXDE unaligned",
        {"y": Place((y,), ("n", "node"))},
        ("node",),
        points={"node": np.zeros(1)},
        parameters={
            "branch": branch.read().astype(np.float64),
            "trunk": trunk.read().astype(np.float64),
        },
        notes=[*notes, "every sample is one value, at the point parameters['trunk']"],
    )


def _cartesian(
    path: Path,
    branch: np.ndarray,
    trunk: np.ndarray,
    y: Variable,
    content: dict[str, Any],
    notes: list[str],
    known: Variables | None = None,
) -> StoredArrays:
    """Values (N, P[, C]) of functions with the sensors' values (N, m), at the points (P, d)."""
    if y.shape[:2] != (len(branch), len(trunk)):
        raise InvalidDataset(
            f"{y.name!r} of {str(path)!r} has the shape {y.shape}, but there are {len(branch)} "
            f"functions and {len(trunk)} points; expected is ({len(branch)}, {len(trunk)})."
        )
    names = [str(a["name"]) for a in content.get("axes", ())]
    points = trunk.astype(np.float64)
    if content and known is not None:
        return _described(path, points, y, content, known, names)
    parameters = {"branch": branch.astype(np.float64)}
    last = ("c",) if len(y.shape) == 3 else ()
    if points.shape[1] == 1:
        return assemble(
            "DeepXDE aligned",
            {"y": Place((y,), ("n", "x", *last))},
            ("x",),
            points={"x": points[:, 0]},
            parameters=parameters,
            notes=notes,
        )
    if not 2 <= points.shape[1] <= 3:
        raise InvalidDataset(
            f"the points of {str(path)!r} have {points.shape[1]} dimensions; up to 3 are read."
        )
    return assemble(
        "DeepXDE aligned",
        {"y": Place((y,), ("n", "node", *last))},
        ("node",),
        points={"node": np.arange(len(points), dtype=np.float64)},
        parameters=parameters,
        mesh=cloud(points),
        notes=notes,
    )


def _described(
    path: Path,
    points: np.ndarray,
    y: Variable,
    content: dict[str, Any],
    known: Variables,
    names: Sequence[str],
) -> StoredArrays:
    """An export of pdeml: the points are times, slowest, and nodes or a full grid, in C order."""
    scattered = names == ["node"]
    count = len(dict.fromkeys(points[:, 0]))
    space = points[: len(points) // count, 1:]
    columns = [points[:: len(space), 0]]
    columns += [space] if scattered else [np.array(list(dict.fromkeys(c))) for c in space.T]
    sizes = tuple(map(len, columns))
    again = [columns[0], np.arange(len(space))] if scattered else columns
    full = np.stack([g.reshape(-1) for g in np.meshgrid(*again, indexing="ij")], 1)
    if scattered:
        full = np.concatenate([full[:, :1], np.tile(space, (count, 1))], 1)
    if full.shape != points.shape or (full != points).any():
        raise InvalidDataset(
            f"the points of {str(path)!r} are no full grid of t and {', '.join(names)}, as "
            f"{KEY!r} says; copy the file again."
        )
    channels = y.shape[2] if len(y.shape) == 3 else 1
    variable = Variable(
        y.path, y.name, (y.shape[0], *sizes, channels), y.dtype, y.fetch, reshaped=True
    )
    places, components, stop = {}, {}, 0
    for entry in content["fields"]:
        start, stop = stop, stop + len(entry["components"])
        name = str(entry["name"])
        places[name] = Place((variable,), ("n", "t", *names, "c"), slice(start, stop))
        components[name] = list(map(str, entry["components"]))
    if stop != channels:
        raise InvalidDataset(f"{KEY!r} of {str(path)!r} names {stop} channels; y has {channels}.")
    parameters = {
        str(name): known[str(name)].read().astype(np.float64)
        for name in content.get("parameters", ())
        if str(name) in known
    }
    source = assemble(
        "DeepXDE aligned",
        places,
        names,
        points=dict(zip(names, again[1:], strict=True)),
        times=columns[0],
        components=components,
        parameters=parameters,
        mesh=cloud(space) if scattered else None,
    )
    source.contents = refined(source.contents, content)
    return source
