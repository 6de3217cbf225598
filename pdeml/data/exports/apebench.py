"""To the files of APEBench: NAME.json, NAME_train.npy and NAME_test.npy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pdeml import engine
from pdeml.data.dataset import Dataset
from pdeml.data.description import KEY
from pdeml.data.exports.samples import Exported, described, fields, left_behind, whole_file
from pdeml.errors import InvalidDataset, InvalidOption

UNEVEN = 1e-9  # relative difference of steps that is no rounding


def write(dataset: Dataset, target: Path) -> list[str]:
    """Write the arrays (sample, time, channel, *space) beside the json file that describes them.

    Returns
    -------
    list of str
        What was lost.

    Raises
    ------
    InvalidDataset
        The data are on a mesh or on no axis of space.
    InvalidOption
        The target is no json file, or an array is there already.
    """
    if target.suffix != ".json":
        raise InvalidOption(f"{str(target)!r}: give the name of the json file, NAME.json.")
    if dataset.mesh is not None or not 1 <= len(dataset.axes) <= 3:
        raise InvalidDataset(
            'APEBench has grids of one to three axes; convert this data set to "pdeml", "mat" or '
            '"deepxde".'
        )
    exported, lost = fields(dataset, split_complex=False)
    dtype = np.result_type(*(e.dtype for e in exported))
    lost += [
        f"{e.name!r} is {e.dtype} and is written as {dtype}" for e in exported if e.dtype != dtype
    ]
    lost += [f"the static field {e.name!r} is written at every time" for e in exported if e.static]
    tested = np.isin(dataset.samples, dataset.contents.splits.get("test", []))
    parts = {"train": np.flatnonzero(~tested), "test": np.flatnonzero(tested)}
    order = np.concatenate(list(parts.values()))
    if (order != np.arange(len(order))).any():
        lost.append("samples are in the order train, test")
    if "valid" in dataset.contents.splits:
        lost.append("samples for validation are in train")
    paths = {part: target.with_name(f"{target.stem}_{part}.npy") for part in parts}
    for path in paths.values():
        if path.exists():
            raise InvalidOption(f"{str(path)!r} is there already; remove it or give another name.")
    for part, rows in parts.items():
        if not len(rows):
            continue
        with whole_file(paths[part], dataset.nbytes) as partial:
            shape = (len(rows), *dataset.shape[1:])
            array = np.lib.format.open_memmap(partial, "w+", dtype, shape)
            for place, row in enumerate(rows.tolist()):
                values = (field.of(dataset, row) for field in exported)
                frames = [np.broadcast_to(v, (shape[1], *v.shape[1:])) for v in values]
                array[place] = np.concatenate(frames, 1)
            array.flush()
            del array
    engine.write_text(
        target, json.dumps(_scenario(dataset, exported, target.stem, order), indent=1)
    )
    return [*lost, *left_behind(dataset)]


def _scenario(
    dataset: Dataset, exported: list[Exported], name: str, order: np.ndarray
) -> dict[str, Any]:
    _, frames, channels, *space = dataset.shape
    info: dict[str, Any] = {
        "num_spatial_dims": len(space),
        "num_points": space[0] if len(set(space)) == 1 else space,
        "num_channels": channels,
        "temporal_horizon": frames - 1,
    }
    first, times = dataset.axes[0], dataset.times.numpy()
    if first.length is not None:
        info["domain_extent"] = first.length
    steps = np.diff(times)
    if len(steps) and np.ptp(steps) <= UNEVEN * abs(steps).max():
        info["dt"] = float(steps.mean())
    content = json.loads(described(dataset, exported)[0])
    content["splits"] = {}  # that of the files
    for entry, axis in zip(content["axes"], dataset.axes, strict=True):
        entry["points"] = axis.points.tolist()
    content["times"] = times.tolist()
    content["parameter_values"] = {n: v[order].tolist() for n, v in dataset.parameters.items()}
    return {"name": name, "info": info, KEY: content}
