"""What a surrogate keeps of the data that it was trained on, and what other data must share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pdeml.errors import DatasetMismatch, InvalidFile

if TYPE_CHECKING:
    from pdeml.data.dataset import Dataset

SAME = 1e-6  # relative, of lengths and time steps


def grid_of(dataset: Dataset) -> dict[str, Any]:
    """Axes as plain data: name, points, start, length, periodic, units; of a mesh, its digest."""
    axes = []
    for axis in dataset.axes:
        extent = float(axis.points[-1] - axis.points[0])
        axes.append(
            {
                "name": axis.name,
                "points": len(axis.points),
                "start": float(axis.points[0]),
                "length": float(axis.length) if axis.length is not None else extent,
                "periodic": bool(axis.periodic),
                "units": axis.units,
            }
        )
    mesh = dataset.mesh
    nodes = None if mesh is None else _digest(mesh.coords, mesh.cells)
    return {"axes": axes, "mesh": nodes}


def identity_of(dataset: Dataset) -> dict[str, Any]:
    """What tells one training set from another, as plain data.

    The digest is over the numbers of the samples, their parameters and the checksums of the file
    (or, in layouts without, the sizes of its files): data that were replaced have another one.
    """
    contents, times = dataset.contents, dataset.times.numpy()
    sums = [np.asarray(v)[dataset.samples] for v in contents.checksums.values()]
    parameters = [v.numpy() for v in dataset.parameters.values()]
    sizes = [] if sums else [np.array(sorted(dataset.source.files().values()))]
    pde = contents.attributes.get("pde")
    return {
        "layout": dataset.layout,
        "problem": pde.get("name") if isinstance(pde, dict) else None,
        "channels": list(dataset.channels),
        "units": [dataset.field(name).units for name in dataset.fields],
        "samples": len(dataset),
        "times": [float(times[0]), float(times[-1]), len(times)],
        "parameters": list(dataset.parameters),
        "grid": grid_of(dataset),
        "digest": _digest(np.asarray(dataset.samples), *sums, *parameters, *sizes),
    }


def _digest(*arrays: np.ndarray) -> str:
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def time_step(dataset: Dataset, stride: int) -> float | None:
    """Time that `stride` frames span; None where there is one frame."""
    times = dataset.times
    return None if len(times) <= stride else float(times[stride] - times[0])


def refuse_other_data(saved: dict[str, Any], dataset: Dataset, where: str) -> None:
    """A run continues on the very data that it was started with.

    Raises
    ------
    InvalidFile
        These are others; what differs is named.
    """
    here = identity_of(dataset)
    for name, value in here.items():
        if saved.get(name) != value:
            told = "" if name == "digest" else f" ({value} here, {saved.get(name)} there)"
            what = "content" if name == "digest" else name
            raise InvalidFile(
                f"the training data are not those of {where}: their {what} differs{told}. Give the "
                "same data and split to resume, or train anew in another folder."
            )


def refuse_mismatch(
    saved: dict[str, Any],
    dataset: Dataset,
    *,
    step: float | None,
    stride: int,
    any_resolution: bool,
    parameters: Sequence[str],
) -> None:
    """Data that a surrogate is applied to: the same channels, units, box and time step.

    Parameters
    ----------
    saved : `identity_of` its training set.
    step, stride : time and frames of one of its steps.
    any_resolution : the model accepts another number of points.
    parameters : those that it must be told.

    Raises
    ------
    DatasetMismatch
        Something differs; it is named with both values.
    """
    here = identity_of(dataset)

    def refuse(what: str, given: Any, expected: Any, mend: str) -> DatasetMismatch:
        return DatasetMismatch(
            f"the data do not fit the surrogate: {what} is {given} in the data and {expected} in "
            f"those that it was trained on. {mend}"
        )

    if None not in (here["problem"], saved["problem"]) and here["problem"] != saved["problem"]:
        raise refuse("the problem", here["problem"], saved["problem"], "Give data of that problem.")
    for name in ("channels", "units"):
        if here[name] != saved[name]:
            mend = "Choose and convert fields so that they agree."
            raise refuse(f"the list of {name}", here[name], saved[name], mend)
    if any(name not in here["parameters"] for name in parameters):
        raise refuse("the parameters", here["parameters"], list(parameters), "Add what lacks.")
    _refuse_grid(saved["grid"], here["grid"], any_resolution, refuse)
    given = time_step(dataset, stride)
    if step is not None and given is not None and not math.isclose(given, step, rel_tol=SAME):
        mend = "Select frames so that the steps agree: dataset.select(times=slice(None, None, k))."
        raise refuse(f"the time of {stride} frames", f"{given:.6g}", f"{step:.6g}", mend)


def _refuse_grid(saved: Any, here: Any, any_resolution: bool, refuse: Any) -> None:
    if saved["mesh"] != here["mesh"] and not any_resolution:
        raise refuse("the mesh", here["mesh"], saved["mesh"], "Give data on that mesh.")
    if len(saved["axes"]) != len(here["axes"]):
        mend = "Give data of that dimension."
        raise refuse("the number of axes", len(here["axes"]), len(saved["axes"]), mend)
    for given, expected in zip(here["axes"], saved["axes"], strict=True):
        for name in ("name", "units", "periodic"):
            if given[name] != expected[name]:
                mend = "Give data on the same box."
                raise refuse(f"{name!r} of an axis", given[name], expected[name], mend)
        if not any_resolution and given["points"] != expected["points"]:
            mend = "This model works on one grid: down-sample the data, or train one such as fno."
            raise refuse(f"points of {given['name']}", given["points"], expected["points"], mend)
        close = math.isclose(given["length"], expected["length"], rel_tol=SAME)
        if given["periodic"] and not close:
            mend = "Give data on the same box."
            raise refuse(
                f"the length of {given['name']}", given["length"], expected["length"], mend
            )
