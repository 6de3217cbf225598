"""To the DeepONet data of DeepXDE: an npz of plain arrays, for ``dde.data.TripleCartesianProd``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pdeml.data.dataset import Dataset
from pdeml.data.description import KEY
from pdeml.data.exports.samples import described, fields, left_behind, whole_file
from pdeml.errors import InvalidDataset

TAKEN = ("X_train0", "X_train1", "y_train", KEY)


def write(dataset: Dataset, target: Path) -> list[str]:
    """Write X_train0 (samples, m), X_train1 (points, 1 + d), y_train (samples, points[, channels]).

    A function is the first frame of all channels (the sensors); a point is (t, *space), time
    slowest. No array holds Python objects, so that nobody needs ``allow_pickle``. The arrays are
    made in memory.

    Returns
    -------
    list of str
        What was lost.

    Raises
    ------
    InvalidDataset
        A parameter has a name that is taken.
    """
    exported, lost = fields(dataset, split_complex=False)
    samples, frames, channels, *space = dataset.shape
    dtype = np.result_type(*(e.dtype for e in exported))
    lost += [
        f"{e.name!r} is {e.dtype} and is written as {dtype}" for e in exported if e.dtype != dtype
    ]
    lost += [f"the static field {e.name!r} is written at every time" for e in exported if e.static]
    values = np.empty((samples, frames, *space, channels), dtype)
    for sample in range(samples):
        first = 0
        for field in exported:
            part = slice(first, first + len(field.components))
            values[sample, ..., part] = np.moveaxis(field.of(dataset, sample), 1, -1)
            first = part.stop
    times, mesh = dataset.times.numpy(), dataset.mesh
    if mesh is None:
        grid = np.meshgrid(times, *(a.points for a in dataset.axes), indexing="ij")
        points = np.stack([g.reshape(-1) for g in grid], 1)
    else:
        nodes = len(mesh.coords)
        points = np.column_stack([np.repeat(times, nodes), np.tile(mesh.coords, (frames, 1))])
        lost.append("the cells of the mesh are not written, its points are")
    arrays = {
        "X_train0": values[:, 0].reshape(samples, -1),
        "X_train1": points,
        "y_train": values.reshape(samples, len(points), *([channels] if channels > 1 else [])),
        KEY: np.array(described(dataset, exported)[0]),
    }
    for name, tensor in dataset.parameters.items():
        if name in TAKEN or name in ("X", "y", "file"):
            raise InvalidDataset(f"the parameter {name!r} has a name that the file needs itself.")
        arrays[name] = tensor.numpy()
    lost.append("all samples are in X_train and y_train; a stored split is in the description")
    with whole_file(target, dataset.nbytes) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return [*lost, *left_behind(dataset)]
