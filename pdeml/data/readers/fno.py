"""Files of neural operators: FNO (Li et al. 2021, ICLR) and MNO (Li et al. 2022, NeurIPS).

They are MATLAB files of version 5 or 7.3, or one npy array. Both MATLAB versions give the axes that
MATLAB shows: version 7.3 is HDF5 with all axes reversed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.description import KEY, parsed, refined
from pdeml.data.readers.stored import SAMPLE, TIME, Place, StoredArrays, assemble
from pdeml.data.readers.variables import Variable, Variables, is_matlab, text_of, variables
from pdeml.data.source import MeshArrays, Source
from pdeml.errors import InvalidDataset

SPACE = ("x", "y", "z")
STATIC = ("a", "coeff", "sol", "Kcoeff", "Kcoeff_x", "Kcoeff_y", "a_smooth", "a_smooth_x", "a_x")
SOLUTION = "u"


def read(path: Path, file: Any, **_: Any) -> Source | None:
    """The source of a file of FNO or MNO, or of an export of pdeml to MATLAB.

    Raises
    ------
    InvalidDataset
        Which axis is time cannot be told, or shapes do not fit.
    """
    if file is not None and not is_matlab(path):
        return None
    found = variables(path, file)
    if found is None:
        return None
    known, notes = found
    content = parsed(text_of(known.get(KEY)))
    if content:
        return _described(path, known, content, notes)
    if set(known) == {"array"}:  # one npy array
        known = {SOLUTION: known["array"]} if len(known["array"].shape) == 4 else {}
    fields = {n: known[n] for n in (*STATIC, SOLUTION) if n in known and len(known[n].shape) > 1}
    return _operator(path, known, fields, notes) if fields else None


def _operator(path: Path, known: Variables, fields: Variables, notes: list[str]) -> StoredArrays:
    static = [name for name in fields if name != SOLUTION]
    for name in static:
        if fields[name].shape != fields[static[0]].shape:
            raise InvalidDataset(
                f"{name!r} of {str(path)!r} has the shape {fields[name].shape}, and {static[0]!r} "
                f"has {fields[static[0]].shape}: coefficients of one file share samples and grid."
            )
    grid = fields[static[0]].shape[1:] if static else None
    where = _time_axis(path, known, fields[SOLUTION], grid) if SOLUTION in fields else None
    shape = list(fields[SOLUTION].shape if SOLUTION in fields else fields[static[0]].shape)
    frames = None if where is None else shape.pop(where)
    space = SPACE[: len(shape) - 1]
    if not 1 <= len(shape) - 1 <= 3:
        raise InvalidDataset(
            f"the arrays of {str(path)!r} have the grid {tuple(shape[1:])}; one to three axes of "
            "space are read."
        )
    places = {}
    for name, variable in fields.items():
        axes = [SAMPLE, *space]
        if name == SOLUTION and where is not None:
            axes.insert(where, TIME)
        places[name] = Place((variable,), tuple(axes))
    sizes = dict(zip(space, shape[1:], strict=True))
    points = {
        axis: known[axis].vector(f"the coordinate of {axis}")
        for axis in space
        if axis in known and max(known[axis].shape, default=0) == sizes[axis]
    }
    times = None
    if frames is not None and "t" in known and max(known["t"].shape, default=0) == frames:
        times = known["t"].vector("the times")
    layout = "FNO" if where is None or where > 1 else "MNO"
    return assemble(layout, places, space, points=points, times=times, notes=notes)


def _time_axis(
    path: Path, known: Variables, solution: Variable, grid: tuple[int, ...] | None
) -> int | None:
    """Which axis of the solution is time: the last in files of FNO, the second in those of MNO."""
    shape, last = solution.shape, len(solution.shape) - 1
    frames = max(known["t"].shape, default=0) if "t" in known else None
    candidates = [last, 1] if last > 1 else []
    if grid is not None:
        if shape[1:] == grid:
            return None
        fits = [k for k in candidates if (*shape[1:k], *shape[k + 1 :]) == grid]
    elif last == 1:
        return None
    elif frames is not None:
        fits = [k for k in candidates if shape[k] == frames]
    else:  # the other axes of space are equal in these files
        fits = [k for k in candidates if last == 3 and len({*shape[1:k], *shape[k + 1 :]}) == 1]
        fits = fits if len(fits) == 1 else []
    if not fits:
        raise InvalidDataset(
            f"which axis of {solution.name!r} {shape} in {str(path)!r} is time cannot be told"
            + (f": the coefficient has the grid {grid}" if grid is not None else "")
            + f'. Say it: map={{"u": "{solution.name}", "axes": "n t x y"}} (or "n x y t").'
        )
    return fits[0]


def _described(
    path: Path, known: Variables, content: dict[str, Any], notes: list[str]
) -> StoredArrays:
    """An export: axes are sample, component, space, and time last."""
    space = [str(a["name"]) for a in content["axes"]]

    def variable(name: str) -> Variable:
        if name not in known:
            raise InvalidDataset(
                f"{str(path)!r} has lost the variable {name!r}, which {KEY!r} names."
            )
        return known[name]

    places = {}
    for entry in content["fields"]:
        axes = [SAMPLE, *(["c"] if len(entry["components"]) > 1 else []), *space]
        axes += [] if entry.get("static") is True else [TIME]
        places[str(entry["name"])] = Place((variable(str(entry["name"])),), tuple(axes))
    parameters = {}
    for name in content.get("parameters", ()):
        values = variable(str(name)).read().astype(np.float64)
        # MATLAB has no vectors: a list is a row or a column
        parameters[str(name)] = values.reshape(-1) if 1 in values.shape else values
    source = assemble(
        "MATLAB by pdeml",
        places,
        space,
        points={axis: variable(axis).vector(f"the coordinate of {axis}") for axis in space},
        times=variable("t").vector("the times"),
        parameters=parameters,
        mesh=_mesh(path, known) if space == ["node"] and {"coords", "cells"} & set(known) else None,
        notes=notes,
    )
    source.contents = refined(source.contents, content)
    return source


def _mesh(path: Path, known: Variables) -> MeshArrays:
    if not {"coords", "cells"} <= set(known):
        raise InvalidDataset(f"{str(path)!r} has coords or cells, but not both.")
    coords, cells = (known[name].read() for name in ("coords", "cells"))
    if coords.ndim != 2 or cells.ndim != 2 or not np.isfinite(cells).all():
        raise InvalidDataset(
            f"coords {coords.shape} and cells {cells.shape} of {str(path)!r} are no (P, d), (E, k)."
        )
    if cells.size and not 0 <= cells.min() <= cells.max() < len(coords):
        raise InvalidDataset(f"cells of {str(path)!r} names points beyond {len(coords)}.")
    return MeshArrays(coords.astype(np.float64), cells.astype(np.int64))
