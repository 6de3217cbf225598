"""To the HDF5 files of PDEBench, of the family that the fields fit."""

from __future__ import annotations

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
from pdeml.data.readers.pdebench import FLOW, SPACE, VORTICITY
from pdeml.errors import InvalidDataset


def write(dataset: Dataset, target: Path) -> list[str]:
    """Write family A (one scalar in 1-D), B (two static scalars in 2-D), C (compressible flow),
    F (vorticity), or D for all others.

    Returns
    -------
    list of str
        What was lost.

    Raises
    ------
    InvalidDataset
        The data are on a mesh, or on no axis of space.
    """
    import h5py

    if dataset.mesh is not None or not 1 <= len(dataset.axes) <= 3:
        raise InvalidDataset(
            "PDEBench has grids of one to three axes, and this data set has "
            + ("a mesh" if dataset.mesh is not None else f"{len(dataset.axes)} axes")
            + '; convert it to "pdeml", "mat" or "deepxde".'
        )
    exported, lost = fields(dataset, split_complex=True)
    names = [a.name for a in dataset.axes]
    if names != list(SPACE[: len(names)]):
        lost.append(f"the axes {', '.join(names)} are called {', '.join(SPACE[: len(names)])}")
    with whole_file(target, dataset.nbytes) as partial, h5py.File(partial, "w") as file:
        stored = _stored_names(exported, len(names))
        if stored is None:
            _groups(file, dataset, exported, lost)
        else:
            _arrays(file, dataset, exported, stored)
        text, missing = described(dataset, exported, LONGEST)
        file.attrs[KEY] = text
    return [*lost, *missing, *left_behind(dataset)]


def _stored_names(exported: list[Exported], rank: int) -> dict[str, str] | None:
    """Names of data sets by field in families A, B, C, F; None for D."""
    names = [e.name for e in exported]
    scalar = all(len(e.components) == 1 for e in exported)
    static = [e.static for e in exported]
    if not scalar:
        return None
    if rank == 1 and static == [False]:
        return {names[0]: "tensor"}
    if rank == 2 and static == [True, True]:
        return {names[0]: "nu", names[1]: "tensor"}
    for known, least in ((FLOW, FLOW[:3]), (VORTICITY, ())):
        if not any(static) and set(least) <= set(names) <= set(known):
            return {name: name for name in names}
    return None


def _arrays(file: Any, dataset: Dataset, exported: list[Exported], stored: dict[str, str]) -> None:
    samples, frames, _, *space = dataset.shape
    for field in exported:
        name = stored[field.name]
        time = [1] if name == "tensor" and field.static else [] if field.static else [frames]
        data = file.create_dataset(name, (samples, *time, *space), field.dtype)
        for sample in range(samples):
            values = field.of(dataset, sample)[:, 0]
            data[sample] = values if time else values[0]
    for letter, axis in zip(SPACE, dataset.axes, strict=False):
        file[f"{letter}-coordinate"] = axis.points
    if not all(field.static for field in exported):
        file["t-coordinate"] = dataset.times.numpy()
    for name, tensor in dataset.parameters.items():
        values = tensor.numpy()
        if constant(values):
            file.attrs[name] = float(values[0])
        else:
            file[f"parameters/{name}"] = values


def _groups(file: Any, dataset: Dataset, exported: list[Exported], lost: list[str]) -> None:
    """Family D: a group for each sample, channels last; static fields are there at all times."""
    lost += [f"the static field {e.name!r} is written at every time" for e in exported if e.static]
    samples, frames = dataset.shape[:2]
    dtype = np.result_type(*(e.dtype for e in exported))
    lost += [
        f"{e.name!r} is {e.dtype} and is written as {dtype}" for e in exported if e.dtype != dtype
    ]
    digits = max(4, len(str(samples - 1)))
    for sample in range(samples):
        group = file.create_group(f"{sample:0{digits}d}")
        parts = [
            np.broadcast_to(v, (frames, *v.shape[1:]))
            for v in (e.of(dataset, sample) for e in exported)
        ]
        values = np.moveaxis(np.concatenate(parts, 1), 1, -1)
        group.create_dataset("data", data=values, dtype=dtype, compression="lzf")
        for letter, axis in zip(SPACE, dataset.axes, strict=False):
            group[f"grid/{letter}"] = axis.points
        group["grid/t"] = dataset.times.numpy()
        for name, tensor in dataset.parameters.items():
            group.attrs[name] = tensor[sample].numpy()
