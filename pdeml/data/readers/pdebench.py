"""PDEBench (Takamoto et al. 2022, NeurIPS Datasets), its six families of HDF5 files A to F."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.description import KEY, parsed, refined
from pdeml.data.readers.stored import Place, StoredArrays, assemble
from pdeml.data.readers.variables import Variable, hdf5_variable, is_matlab
from pdeml.data.source import Source
from pdeml.errors import InvalidDataset

SPACE = ("x", "y", "z")
FLOW = ("density", "pressure", "Vx", "Vy", "Vz")
VORTICITY = ("omega_x", "omega_y", "omega_z")
TEST = 0.1  # part of the samples that PDEBench tests on
SEED = re.compile(r"\d+\Z")


def read(path: Path, file: Any, **_: Any) -> Source | None:
    """The source of a file of PDEBench.

    Raises
    ------
    InvalidDataset
        A family is recognised, but an array or a coordinate is missing or has another shape.
    """
    if file is None or is_matlab(path):  # which has all axes the other way round
        return None
    content = parsed(file.attrs.get(KEY))
    source = _source(path, file, [str(f["name"]) for f in content.get("fields", ())])
    if source is not None:
        source.contents = refined(source.contents, content)
    return source


def _source(path: Path, file: Any, labels: list[str]) -> StoredArrays | None:
    names = set(file)
    seeds = sorted(name for name in names if SEED.match(name))
    if seeds and "data" in file[seeds[0]] and "grid" in file[seeds[0]]:
        return _family_d(path, file, seeds)
    rank = len(getattr(file.get("tensor"), "shape", None) or ())  # a group or a type has none
    if rank == 4 and "nu" in names:
        return _family_b(path, file, labels if len(labels) == 2 else ["nu", "tensor"])
    if rank == 3:
        label = labels[0] if len(labels) == 1 else "tensor"
        return _stacked(path, file, "PDEBench A", {label: "tensor"})
    if len(names & {"density", "pressure", "Vx"}) > 1:
        _demand(path, file, "PDEBench C", ("density", "pressure", "Vx"))
        return _stacked(path, file, "PDEBench C", {name: name for name in FLOW if name in names})
    if "velocity" in names and names & {"particles", "force"}:
        return _family_e(path, file)
    if names & set(VORTICITY):
        found = {name: name for name in VORTICITY if name in names}
        return _stacked(path, file, "PDEBench F", found)
    return None


def _demand(path: Path, file: Any, layout: str, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in file:
            raise InvalidDataset(
                f"{str(path)!r} looks like {layout}, but the data set {name!r} is missing; it "
                f"holds {', '.join(sorted(file))}. Add it, or say what there is by map=."
            )


def _constants(attributes: Any, samples: int) -> dict[str, np.ndarray]:
    """Numbers among the attributes (beta, Nu, rho, eta, zeta, M) as parameters of every sample."""
    out = {}
    for name, value in attributes.items():
        number = np.asarray(value)
        if number.size == 1 and number.dtype.kind in "iuf" and np.isfinite(number).all():
            out[str(name)] = np.full(samples, float(number.reshape(-1)[0]))
    return out


def _parameters(path: Path, file: Any, samples: int) -> dict[str, np.ndarray]:
    """Constants, and what exports of pdeml keep per sample in the group ``parameters``."""
    out = _constants(file.attrs, samples)
    for name in file["parameters"] if "parameters" in file else ():
        variable = hdf5_variable(path, file["parameters"][name])
        if len(variable.shape) not in (1, 2) or variable.shape[0] != samples:
            raise InvalidDataset(
                f"'parameters/{name}' of {str(path)!r} has the shape {variable.shape}; it needs "
                f"one row for each of {samples} samples."
            )
        out[str(name)] = variable.read().astype(np.float64)
    return out


def _coordinates(path: Path, file: Any, axes: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {
        axis: hdf5_variable(path, file[f"{axis}-coordinate"]).vector(f"the coordinate of {axis}")
        for axis in axes
        if f"{axis}-coordinate" in file
    }


def _cut(times: np.ndarray | None, frames: int) -> tuple[np.ndarray | None, list[str]]:
    """PDEBench's times are often one more than its frames: those of the edges of steps."""
    if times is None or len(times) != frames + 1:
        return times, []
    return times[:-1], [f"t-coordinate has {frames + 1} entries for {frames} frames: cut"]


def _first_test(samples: int) -> dict[str, np.ndarray]:
    count = int(samples * TEST)
    return {"train": np.arange(count, samples), "test": np.arange(count)}


def _stacked(path: Path, file: Any, layout: str, names: dict[str, str]) -> StoredArrays:
    """Families A, C, F: arrays (sample, time, *space), by the names of their fields."""
    variables = {name: hdf5_variable(path, file[stored]) for name, stored in names.items()}
    first = next(iter(variables.values()))
    rank = len(first.shape) - 2
    if not 1 <= rank <= 3:
        raise InvalidDataset(
            f"{first.name!r} of {str(path)!r} has the shape {first.shape}; {layout} has samples, "
            "times and one to three axes of space."
        )
    space = SPACE[:rank]
    points = _coordinates(path, file, (*space, "t"))
    times, notes = _cut(points.pop("t", None), first.shape[1])
    samples = first.shape[0]
    return assemble(
        layout,
        {name: Place((v,), ("n", "t", *space)) for name, v in variables.items()},
        space,
        points=points,
        times=times,
        parameters=_parameters(path, file, samples),
        splits={} if layout == "PDEBench F" else _first_test(samples),
        notes=notes,
    )


def _family_b(path: Path, file: Any, labels: list[str]) -> StoredArrays:
    """Darcy flow: coefficient nu (sample, x, y) and solution (sample, 1, x, y), no time."""
    solution, coefficient = (hdf5_variable(path, file[name]) for name in ("tensor", "nu"))
    samples = solution.shape[0]
    return assemble(
        "PDEBench B",
        {
            labels[0]: Place((coefficient,), ("n", "x", "y")),
            labels[1]: Place((solution,), ("n", "c", "x", "y")),
        },
        ("x", "y"),
        points=_coordinates(path, file, ("x", "y")),
        parameters=_parameters(path, file, samples),
        splits=_first_test(samples),
    )


def _family_d(path: Path, file: Any, seeds: list[str]) -> StoredArrays:
    """One group per seed with data (time, *space, channel) and its grid."""
    arrays: list[Variable] = []
    for seed in seeds:
        for name in ("data", "grid"):
            if name not in file[seed]:
                raise InvalidDataset(
                    f"the group {seed!r} of {str(path)!r} has no {name!r}; PDEBench D has data and "
                    "grid in every group. Remove the group, or copy the file again."
                )
        arrays.append(hdf5_variable(path, file[seed]["data"]))
    first = arrays[0]
    rank = len(first.shape) - 2
    if not 1 <= rank <= 3:
        raise InvalidDataset(
            f"'{seeds[0]}/data' of {str(path)!r} has the shape {first.shape}; PDEBench D has time, "
            "one to three axes of space, and channels last."
        )
    space, grid = SPACE[:rank], file[seeds[0]]["grid"]
    points = {
        axis: hdf5_variable(path, grid[axis]).vector(f"the coordinate of {axis}")
        for axis in (*space, "t")
        if axis in grid
    }
    times, notes = _cut(points.pop("t", None), first.shape[0])
    config = file[seeds[0]].attrs.get("config")
    count = len(seeds) - int(len(seeds) * TEST)
    places, components = {}, {}
    stop = 0
    for name, names in _fields_of(file, first.shape[-1]).items():
        start, stop = stop, stop + len(names)
        places[name] = Place(tuple(arrays), ("t", *space, "c"), slice(start, stop))
        components[name] = names
    return assemble(
        "PDEBench D",
        places,
        space,
        points=points,
        times=times,
        components=components,
        samples=len(seeds),
        parameters=_constants(file.attrs, len(seeds)) | _of_seeds(path, file, seeds),
        splits={"train": np.arange(count), "test": np.arange(count, len(seeds))},
        attributes={"config": str(config)} if isinstance(config, str) else {},
        notes=notes,
    )


def _of_seeds(path: Path, file: Any, seeds: list[str]) -> dict[str, np.ndarray]:
    """Numbers among the attributes of the groups, one or several for each."""
    out = {}
    for name, value in file[seeds[0]].attrs.items():
        if np.asarray(value).dtype.kind not in "iuf" or np.ndim(value) > 1:
            continue
        rows = [np.asarray(file[seed].attrs.get(name, "")) for seed in seeds]
        if any(r.dtype.kind not in "iuf" or r.shape != rows[0].shape for r in rows):
            raise InvalidDataset(
                f"the attribute {name!r} of the groups of {str(path)!r} is missing in some, or has "
                "different shapes."
            )
        out[str(name)] = np.array(rows, dtype=np.float64)
    return out


def _fields_of(file: Any, channels: int) -> dict[str, list[str]]:
    """Components by field: those of an export of pdeml, else one field ``data``."""
    content = parsed(file.attrs.get(KEY))
    fields = {str(f["name"]): list(map(str, f["components"])) for f in content.get("fields", ())}
    if sum(map(len, fields.values())) == channels and all(fields.values()):
        return fields
    return {"data": ["data"] if channels == 1 else [f"data_{i}" for i in range(channels)]}


def _family_e(path: Path, file: Any) -> StoredArrays:
    """Incompressible flow: velocity and particles (sample, time, x, y, channel), static force."""
    axes = {"velocity": "n t x y c", "particles": "n t x y c", "force": "n x y c"}
    places = {
        name: Place((hdf5_variable(path, file[name]),), tuple(names.split()))
        for name, names in axes.items()
        if name in file
    }
    velocity = places["velocity"].variables[0]
    if len(velocity.shape) != 5:
        raise InvalidDataset(
            f"'velocity' of {str(path)!r} has the shape {velocity.shape}; PDEBench E has sample, "
            "time, x, y, component."
        )
    samples, frames = velocity.shape[:2]
    times, parameters, notes = None, _constants(file.attrs, samples), list[str]()
    parameters.pop("latestIndex", None)  # a state of the generator
    if "t" in file:
        t = hdf5_variable(path, file["t"])
        rows = t.vector("the times").reshape(-1, frames) if t.shape[-1:] == (frames,) else None
        if rows is None or len(rows) not in (1, samples):
            raise InvalidDataset(
                f"'t' of {str(path)!r} has the shape {t.shape}; expected is {(samples, frames)}."
            )
        times = rows[0]
        if (rows != times).any():
            parameters["t"] = rows
            notes.append("times differ between samples: those of the first are given, all are in "
                         "parameters['t']")  # fmt: skip
    config = file.attrs.get("config")
    components = {"velocity": ["velocity_x", "velocity_y"], "force": ["force_x", "force_y"]}
    return assemble(
        "PDEBench E",
        places,
        ("x", "y"),
        times=times,
        components=components,
        parameters=parameters,
        attributes={"config": str(config)} if isinstance(config, str) else {},
        notes=notes,
    )
