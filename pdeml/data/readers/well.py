"""The Well (Ohana et al. 2024, NeurIPS Datasets): a file, or a folder of train, valid, test."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.concatenated import concatenate
from pdeml.data.description import KEY, parsed, refined
from pdeml.data.handles import h5file, release
from pdeml.data.readers.stored import RESERVED, Place, StoredArrays, assemble
from pdeml.data.readers.variables import MAX_COORDINATES, guarded, hdf5_variable
from pdeml.data.source import Source
from pdeml.errors import InvalidDataset

GROUPS = ("t0_fields", "t1_fields", "t2_fields")
PARTS = ("train", "valid", "test")
ENDINGS = (".hdf5", ".h5")


def read(path: Path, file: Any, **_: Any) -> Source | None:
    """The source of a file or of the folder of a data set of The Well.

    Statistics are not needed beside the data (``stats.yaml``): `Dataset.statistics` computes them.

    Raises
    ------
    InvalidDataset
        The layout is recognised, but a group or attribute is missing or sizes differ.
    """
    if file is not None:
        return _file(path, file) if _is_well(file) else None
    return _folder(path) if path.is_dir() else None


def _is_well(file: Any) -> bool:
    return "grid_type" in file.attrs or ("dimensions" in file and any(g in file for g in GROUPS))


def _folder(path: Path) -> Source | None:
    from pdeml.hdf5 import refuse_unsafe

    base = path / "data" if (path / "data").is_dir() else path
    sources: list[Source] = []
    splits: dict[str, np.ndarray] = {}
    count = 0
    for part in PARTS:
        files = sorted(p for p in (base / part).glob("*") if p.suffix in ENDINGS and p.is_file())
        first = count
        for name in files:
            release(name)  # it may have been replaced since it was read last
            refuse_unsafe(name, error=InvalidDataset)
            opened = h5file(name)
            if not _is_well(opened):
                raise InvalidDataset(
                    f"{str(name)!r} is in a folder of The Well, but not of its layout: it has no "
                    "attribute 'grid_type'. Move it elsewhere."
                )
            source = guarded(_file, f"{str(name)!r} cannot be read")(name, opened)
            sources.append(source)
            count += source.contents.samples
        if files:
            splits[part] = np.arange(first, count)
    if not sources:
        return None
    whole = concatenate(sources, layout="The Well (folder)")
    whole.contents.splits = splits
    return whole


def _file(path: Path, file: Any) -> StoredArrays:
    where = str(path)
    for group in ("dimensions", "t0_fields"):
        if group not in file:
            raise InvalidDataset(
                f"{where!r} is of The Well's layout, but the group {group!r} is missing; it holds "
                f"{', '.join(sorted(file))}. Copy the file again."
            )
    dimensions = file["dimensions"]
    space = _names(path, dimensions, "spatial_dims")
    if not 1 <= len(space) <= 3 or len(set(space)) != len(space) or RESERVED & set(space):
        raise InvalidDataset(f"'dimensions' of {where!r} has the spatial_dims {space}.")
    samples = _integer(file, "n_trajectories", path)
    times, parameters, notes = _times(path, dimensions, samples)
    points = {}
    for axis in space:
        points[axis], more = _points(path, dimensions, axis)
        notes += more
    places: dict[str, Place] = {}
    components: dict[str, list[str]] = {}
    for rank, group in enumerate(GROUPS):
        for name in _names(path, file[group], "field_names") if group in file else ():
            if name in places:
                raise InvalidDataset(f"{where!r} has the field {name!r} twice.")
            places[name] = _field(path, file[group], name, space, rank)
            entries = map("".join, itertools.product(space, repeat=rank))
            components[name] = [f"{name}_{entry}" if entry else name for entry in entries]
    _check_samples(path, places, samples)
    parameters |= _parameters(path, file, samples, len(times))
    periodic, more = _boundaries(file, space)
    known = ("dataset_name", "grid_type")
    source = assemble(
        "The Well",
        places,
        space,
        points=points,
        times=times,
        components=components,
        samples=samples,
        periodic=periodic,
        parameters=parameters,
        attributes={k: str(file.attrs[k]) for k in known if k in file.attrs},
        notes=notes + more,
    )
    source.contents = refined(source.contents, parsed(file.attrs.get(KEY)))
    return source


def _names(path: Path, group: Any, name: str) -> list[str]:
    if name not in group.attrs:
        raise InvalidDataset(
            f"the group {group.name!r} of {str(path)!r} has no attribute {name!r}, a list of names."
        )
    values = np.atleast_1d(np.asarray(group.attrs[name]))
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]


def _integer(file: Any, name: str, path: Path) -> int:
    value = np.asarray(file.attrs.get(name, 0))
    if value.size != 1 or value.dtype.kind not in "iuf" or not float(value.reshape(-1)[0]) >= 1:
        raise InvalidDataset(
            f"{str(path)!r} needs the attribute {name!r}, a positive integer; it has {value}."
        )
    return int(value.reshape(-1)[0])


def _flag(data: Any, name: str, path: Path) -> bool:
    if name not in data.attrs:
        raise InvalidDataset(
            f"{data.name!r} of {str(path)!r} has no attribute {name!r} (true or false)."
        )
    return bool(np.asarray(data.attrs[name]).all())


def _dataset(path: Path, group: Any, name: str) -> Any:
    if name not in group or not hasattr(group[name], "shape"):
        raise InvalidDataset(
            f"the data set {name!r} is missing in {group.name!r} of {str(path)!r}; it holds "
            f"{', '.join(sorted(group)) or 'nothing'}."
        )
    return group[name]


def _times(
    path: Path, dimensions: Any, samples: int
) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    variable = hdf5_variable(path, _dataset(path, dimensions, "time"))
    values = variable.vector("the times")
    if len(variable.shape) == 1:
        return values, {}, []
    if len(variable.shape) != 2 or variable.shape[0] != samples:
        raise InvalidDataset(
            f"'dimensions/time' of {str(path)!r} has the shape {variable.shape}; expected is (T) "
            f"or ({samples}, T)."
        )
    rows = values.reshape(variable.shape)
    if (rows == rows[0]).all():
        return rows[0], {}, []
    note = "times differ between samples: those of the first are given, all are in "
    return rows[0], {"time_of_sample": rows}, [note + "parameters['time_of_sample']"]


def _points(path: Path, dimensions: Any, axis: str) -> tuple[np.ndarray, list[str]]:
    variable = hdf5_variable(path, _dataset(path, dimensions, axis))
    values = variable.vector(f"the coordinate of {axis}")
    if len(variable.shape) == 1:
        return values, []
    note = f"the coordinate of {axis} varies with samples, times or other axes: the first is given"
    return values.reshape(-1, variable.shape[-1])[0], [note]


def _field(path: Path, group: Any, name: str, space: list[str], rank: int) -> Place:
    """Scalars, vectors (…, D), tensors (…, D, D), without the axes on which they are constant."""
    data = _dataset(path, group, name)
    varying = np.asarray(data.attrs.get("dim_varying", np.ones(len(space)))).reshape(-1)
    if len(varying) != len(space):
        raise InvalidDataset(
            f"dim_varying of {data.name!r} of {str(path)!r} has {len(varying)} entries for "
            f"{len(space)} axes."
        )
    axes = ["n"] if _flag(data, "sample_varying", path) else []
    axes += ["t"] if _flag(data, "time_varying", path) else []
    axes += [axis for axis, varies in zip(space, varying, strict=True) if varies]
    variable = hdf5_variable(path, data)
    if len(variable.shape) != len(axes) + rank or set(variable.shape[len(axes) :]) - {len(space)}:
        raise InvalidDataset(
            f"{data.name!r} of {str(path)!r} has the shape {variable.shape}; its attributes say "
            f"the axes {', '.join(axes) or 'none'}, and {rank} more of {len(space)} entries."
        )
    return Place((variable,), (*axes, *("c", "c2")[:rank]))


def _check_samples(path: Path, places: Mapping[str, Place], samples: int) -> None:
    """The number of samples is that of the arrays, before anything of its size is made."""
    sizes = {name: p.variables[0].shape[0] for name, p in places.items() if p.axes[:1] == ("n",)}
    for name, size in sizes.items():
        if size != samples:
            raise InvalidDataset(
                f"{name!r} of {str(path)!r} has {size} samples, and the attribute 'n_trajectories' "
                f"says {samples}."
            )
    if not sizes and samples > MAX_COORDINATES:
        raise InvalidDataset(f"{str(path)!r} says n_trajectories={samples}, but no field varies.")


def _parameters(path: Path, file: Any, samples: int, frames: int) -> dict[str, np.ndarray]:
    out = {}
    named = (
        _names(path, file, "simulation_parameters") if "simulation_parameters" in file.attrs else []
    )
    for name in named:
        value = np.asarray(file.attrs.get(name, ""))
        if value.size == 1 and value.dtype.kind in "iuf":
            out[name] = np.full(samples, float(value.reshape(-1)[0]))
    group = file["scalars"] if "scalars" in file else {}
    for name in _names(path, group, "field_names") if len(group) else ():
        data = _dataset(path, group, name)
        by_sample, by_time = (_flag(data, f"{k}_varying", path) for k in ("sample", "time"))
        expected = (samples,) * by_sample + (frames,) * by_time
        if data.shape != expected:
            raise InvalidDataset(
                f"{data.name!r} of {str(path)!r} has the shape {data.shape}; its attributes say "
                f"{expected}."
            )
        values = hdf5_variable(path, data).read().astype(np.float64)
        out[name] = np.array(np.broadcast_to(values, (samples, *expected[by_sample:])))
    return out


def _boundaries(file: Any, space: list[str]) -> tuple[dict[str, bool], list[str]]:
    """Which axes are periodic, where the file says anything of them."""
    out: dict[str, bool] = {}
    notes = []
    groups = file["boundary_conditions"] if "boundary_conditions" in file else ()
    for name in groups:
        group = groups[name]
        kind = group.attrs.get("bc_type", "")
        kind = kind.decode("latin-1") if isinstance(kind, bytes) else str(kind)
        dims = np.atleast_1d(np.asarray(group.attrs.get("associated_dims", [])))
        for dim in (d.decode("latin-1") if isinstance(d, bytes) else str(d) for d in dims):
            if dim in space:
                out[dim] = kind.upper() == "PERIODIC"
        if "values" in group:
            notes.append(f"the values of the boundary condition {name!r} are not read")
    return out, notes
