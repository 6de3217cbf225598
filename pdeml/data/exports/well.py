"""To the HDF5 files of The Well: one file, or a folder of train, valid, test."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.dataset import Dataset
from pdeml.data.description import KEY, LONGEST
from pdeml.data.exports.samples import (
    Exported,
    constant,
    described,
    fields,
    left_behind,
    whole_file,
)
from pdeml.data.readers.well import ENDINGS, GROUPS, PARTS
from pdeml.errors import InvalidDataset


def write(dataset: Dataset, target: Path) -> list[str]:
    """Write one file (a name that ends with .h5 or .hdf5), or NAME/data/{train,valid,test}.

    The folder has ``stats.yaml`` with mean, std, mean_delta, std_delta of each field, computed of
    all samples.

    Returns
    -------
    list of str
        What was lost.

    Raises
    ------
    InvalidDataset
        The data are on a mesh or on no axis of space.
    """
    if dataset.mesh is not None or not 1 <= len(dataset.axes) <= 3:
        raise InvalidDataset(
            'The Well has grids of one to three axes; convert this data set to "pdeml", "mat" or '
            '"deepxde".'
        )
    if target.suffix in ENDINGS:
        return [*_file(dataset, target, target.stem), *left_behind(dataset)]
    lost = left_behind(dataset)
    stored = dataset.contents.splits
    rest = ~np.isin(dataset.samples, np.concatenate(list(stored.values()))) if stored else None
    parts = {p: np.isin(dataset.samples, stored[p]) for p in PARTS if p in stored}
    if rest is None:
        parts = {"train": np.ones(len(dataset), bool)}
    elif rest.any():
        lost.append(f"{int(rest.sum())} samples are in no part of the stored split: in train now")
        parts = {
            "train": parts.get("train", False) | rest,
            **{k: parts[k] for k in parts if k != "train"},
        }
    order = np.concatenate([np.flatnonzero(mask) for mask in parts.values()])
    if (order != np.arange(len(order))).any():
        lost.append("samples are in the order train, valid, test")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for part, mask in parts.items():
            if mask.any():
                name = partial / "data" / part / f"{target.name}.hdf5"
                lost += _file(dataset.select(np.flatnonzero(mask)), name, target.name)
        with whole_file(partial / "stats.yaml", 0) as text:
            text.write_text(_statistics(dataset), encoding="utf-8")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return list(dict.fromkeys(lost))


def _statistics(dataset: Dataset) -> str:
    """The YAML text (1.1: a number has a point, or it is a string)."""
    figures = dataset.statistics()
    keys = {"mean": "mean", "std": "std", "mean_delta": "delta_mean", "std_delta": "delta_std"}
    lines = []
    for key, ours in keys.items():
        lines.append(f"{key}:")
        for name in dataset.fields:
            numbers = [figures[c][ours] for c in dataset.field(name).components]
            values = [".nan" if math.isnan(v) else f"{v:.17e}" for v in numbers]
            lines.append(
                f"  {name}: " + (values[0] if len(values) == 1 else f"[{', '.join(values)}]")
            )
    return "\n".join(lines) + "\n"


def _file(dataset: Dataset, target: Path, name: str) -> list[str]:
    import h5py

    exported, lost = fields(dataset, split_complex=True)
    space = [a.name for a in dataset.axes]
    with whole_file(target, dataset.nbytes) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(
            dataset_name=name,
            grid_type="cartesian",
            n_spatial_dims=len(space),
            n_trajectories=len(dataset),
        )
        text, missing = described(dataset, exported, LONGEST)
        file.attrs[KEY] = text
        _dimensions(file, dataset)
        _boundaries(file, dataset, lost)
        _parameters(file, dataset, lost)
        groups: dict[str, list[str]] = {group: [] for group in GROUPS}
        for field in exported:
            rank = _rank(field, len(space))
            parts = [(field.name, slice(None))]
            if rank is None:
                rank = 0
                parts = [(c, slice(k, k + 1)) for k, c in enumerate(field.components)]
                lost.append(
                    f"{field.name!r} has {len(field.components)} components, no vector or tensor "
                    f"of {len(space)} dimensions: written as {', '.join(field.components)}"
                )
            for label, channels in parts:
                groups[GROUPS[rank]].append(label)
                _field(file.require_group(GROUPS[rank]), dataset, field, label, channels, rank)
        for group, names in groups.items():
            file.require_group(group).attrs.create("field_names", names, dtype=h5py.string_dtype())
    return [*lost, *missing]


def _rank(field: Exported, size: int) -> int | None:
    """0 scalar, 1 vector, 2 tensor; None for another number of components."""
    sizes = (1, size, size**2)
    count = len(field.components)
    return sizes.index(count) if count in sizes else None


def _field(
    group: Any, dataset: Dataset, field: Exported, label: str, channels: slice, rank: int
) -> None:
    samples, frames, _, *space = dataset.shape
    time = () if field.static else (frames,)
    size = (len(space),) * rank
    data = group.create_dataset(label, (samples, *time, *space, *size), field.dtype)
    for sample in range(samples):
        values = np.moveaxis(field.of(dataset, sample)[:, channels], 1, -1)
        values = values.reshape(*values.shape[:-1], *size)
        data[sample] = values if time else values[0]
    data.attrs["dim_varying"] = np.ones(len(space), bool)
    data.attrs["sample_varying"], data.attrs["time_varying"] = True, not field.static
    if rank == 2:
        data.attrs["symmetric"], data.attrs["antisymmetric"] = False, False


def _dimensions(file: Any, dataset: Dataset) -> None:
    import h5py

    group = file.create_group("dimensions")
    names = [a.name for a in dataset.axes]
    group.attrs.create("spatial_dims", names, dtype=h5py.string_dtype())
    for name, values in (
        ("time", dataset.times.numpy()),
        *((a.name, a.points) for a in dataset.axes),
    ):
        data = group.create_dataset(name, data=values)
        data.attrs["sample_varying"] = False
        if name != "time":
            data.attrs["time_varying"] = False


def _boundaries(file: Any, dataset: Dataset, lost: list[str]) -> None:
    import h5py

    group = file.create_group("boundary_conditions")
    for axis in dataset.axes:
        kind = "PERIODIC" if axis.periodic else "OPEN"
        if not axis.periodic:
            lost.append(f"the kind of the ends of {axis.name} is not known and written as OPEN")
        entry = group.create_group(f"{axis.name}_{kind.lower()}")
        entry.attrs.create("associated_dims", [axis.name], dtype=h5py.string_dtype())
        entry.attrs.create("associated_fields", [], (0,), dtype=h5py.string_dtype())
        entry.attrs["bc_type"] = kind
        entry.attrs["sample_varying"], entry.attrs["time_varying"] = False, False
        mask = np.zeros(len(axis.points), bool)
        mask[[0, -1]] = True
        entry["mask"] = mask
        entry["mask"].attrs["sample_varying"], entry["mask"].attrs["time_varying"] = False, False


def _parameters(file: Any, dataset: Dataset, lost: list[str]) -> None:
    """One number for all samples is an attribute, others are scalars that vary with the sample."""
    import h5py

    constants, varying = {}, {}
    for name, tensor in dataset.parameters.items():
        values = tensor.numpy()
        if constant(values):
            constants[name] = float(values[0])
        elif values.ndim == 1:
            varying[name] = values
        else:
            varying |= {f"{name}_{k}": column for k, column in enumerate(values.T)}
            lost.append(
                f"the parameter {name!r} of {values.shape[1]} numbers is written as {name}_0, …"
            )
    strings = h5py.string_dtype()
    file.attrs.create("simulation_parameters", list(constants), (len(constants),), dtype=strings)
    file.attrs.update(constants)
    group = file.create_group("scalars")
    group.attrs.create("field_names", list(varying), (len(varying),), dtype=strings)
    for name, values in varying.items():
        data = group.create_dataset(name, data=values)
        data.attrs["sample_varying"], data.attrs["time_varying"] = True, False
