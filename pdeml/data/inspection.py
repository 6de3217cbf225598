"""Description and picture of a stranger's data set, made by a process with limits."""

from __future__ import annotations

import importlib
import io
import os
from typing import Any

import numpy as np

from pdeml.data.limits import limits
from pdeml.data.opening import open as open_dataset
from pdeml.data.pictures import samples_figure
from pdeml.data.readers import READERS
from pdeml.isolation import Result, run_isolated

DOTS_PER_INCH = 110

# The other process imports all of this before its memory is limited.
for name in (*READERS, "h5py", "scipy.io", "xarray", "matplotlib.backends.backend_agg"):
    importlib.import_module(name)


def inspect(
    path: str | os.PathLike[str], *, picture: bool = True, **options: Any
) -> tuple[dict[str, Any], bytes | None]:
    """What `Dataset.info` says, and a PNG of some samples where there are any.

    Parameters
    ----------
    **options : of `pdeml.data.open`.

    Raises
    ------
    InvalidDataset
        The file is refused, or it made the process hang, crash or exceed its memory.
    """
    seconds, memory = limits(path)
    result = run_isolated(
        _inspected, str(path), picture, options, time_limit=seconds, memory_limit=memory
    )
    drawn = result.get("png")
    return result["details"], None if drawn is None else drawn.tobytes()


def _inspected(path: str, picture: bool, options: dict[str, Any]) -> Result:
    dataset = open_dataset(path, **options)
    result: Result = {"details": dataset.info()}
    if picture and len(dataset):
        buffer = io.BytesIO()
        samples_figure(dataset).savefig(buffer, format="png", dpi=DOTS_PER_INCH)
        result["png"] = np.frombuffer(buffer.getvalue(), np.uint8)
    return result
