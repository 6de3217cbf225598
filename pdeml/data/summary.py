"""What is in a data set, for people and for machines."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from pdeml.data.source import EMPTY, FAILED

if TYPE_CHECKING:
    from pdeml.data.dataset import Dataset

UNEVEN = 1e-6  # relative difference of time steps that is no rounding


def info(path: str | os.PathLike[str], **options: Any) -> dict[str, Any]:
    """Describe a data set of any layout; ``pdeml inspect`` prints it.

    Parameters
    ----------
    **options : of `pdeml.data.open`.

    Returns
    -------
    dict
        Plain data: layout, files, fields, axes, times, parameters, samples (finished, failed,
        empty), splits, attributes with the provenance, warnings.

    Raises
    ------
    InvalidDataset
        The file cannot be read.
    """
    from pdeml.data.opening import open as open_dataset

    return summary(open_dataset(path, **options))


def summary(dataset: Dataset) -> dict[str, Any]:
    """`info` of an opened data set."""
    contents = dataset.contents
    samples, times, _, *space = dataset.shape
    status = contents.status
    fields = []
    for name in dataset.fields:
        kind = dataset.field(name)
        shape = [samples, 1 if kind.static else times, len(kind.components), *space]
        fields.append(
            {
                "name": name,
                "components": list(kind.components),
                "shape": shape,
                "dtype": str(kind.dtype),
                "units": kind.units,
                "bytes": math.prod(shape) * kind.dtype.itemsize,
                "storage": _storage(dataset, name),
            }
        )
    return {
        "layout": dataset.layout,
        "files": dict(dataset.source.files()),
        "fields": fields,
        "axes": [
            {
                "name": a.name,
                "points": len(a.points),
                "from": float(a.points[0]),
                "to": float(a.points[-1]),
                "units": a.units,
                "periodic": a.periodic,
                "length": a.length,
            }
            for a in dataset.axes
        ],
        "times": {
            "count": times,
            "from": float(dataset.times[0]),
            "to": float(dataset.times[-1]),
            "units": contents.units.get("time", "1"),
        },
        "parameters": {
            name: {
                "shape": list(values.shape),
                "min": float(values.min()) if values.numel() else None,
                "max": float(values.max()) if values.numel() else None,
                "units": contents.units.get(name, "1"),
            }
            for name, values in dataset.parameters.items()
        },
        "samples": {
            "all": contents.samples,
            "finished": samples,
            "failed": 0 if status is None else int((status == FAILED).sum()),
            "empty": 0 if status is None else int((status == EMPTY).sum()),
        },
        "splits": {name: len(index) for name, index in contents.splits.items()},
        "attributes": contents.attributes,
        "warnings": [*contents.notes, *_warnings(dataset)],
    }


def _storage(dataset: Dataset, name: str) -> str:
    if not len(dataset):
        return "empty"
    window = dataset.source.window(name, int(dataset.samples[0]), slice(0, 1, 1))
    return "memory map" if not window.flags.writeable else "read by HDF5 or NumPy"


def _warnings(dataset: Dataset) -> list[str]:
    """What a reader should know; first and last sample are looked at, `verify` reads all."""
    out = []
    steps = np.diff(dataset.times.numpy())
    if len(steps) and np.ptp(steps) > UNEVEN * abs(steps).max():
        out.append(f"times are not uniform: steps from {steps.min():.6g} to {steps.max():.6g}")
    counts = dataset.contents.status
    if counts is not None and (counts == EMPTY).any():
        missing = int((counts == EMPTY).sum())
        out.append(f"{missing} samples are not written yet: continue the run that writes them")
    for place in sorted({0, len(dataset) - 1}) if len(dataset) else ():
        if not bool(dataset.read(place).isfinite().all()):
            out.append(f"sample {dataset.samples[place]} holds NaN or infinite values")
    return out
