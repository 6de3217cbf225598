"""Why samples failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pdeml.data.dataset import Dataset
from pdeml.data.handles import opened
from pdeml.data.source import FAILED


def failures(dataset: Dataset) -> dict[int, str]:
    """Messages of the failed samples of a data set of the own layout, by their numbers."""
    out: dict[int, str] = {}
    for name in dataset.source.files():
        with opened(Path(name)) as file:
            if not {"status", "message", "sample"} <= file.keys():
                continue
            for row in np.flatnonzero(file["status"][()] == FAILED).tolist():
                text = b"".join(file["message"][row]).rstrip(b"\0")
                out[int(file["sample"][row])] = text.decode("utf-8", "replace")
    return dict(sorted(out.items()))
