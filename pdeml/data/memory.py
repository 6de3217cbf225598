"""A data set whose values are in memory, of the host or of a GPU."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pdeml.data.source import Contents

if TYPE_CHECKING:
    from pdeml.data.dataset import Dataset


class InMemory:
    """All values of a view in one tensor (S, T, C, *space).

    Attributes
    ----------
    values : on the device that was asked.
    """

    def __init__(self, values: Tensor, contents: Contents, files: Mapping[str, int]):
        self.values, self.contents, self._files = values, contents, files
        first, self._channels = 0, {}
        for info in contents.fields:
            self._channels[info.name] = slice(first, first + len(info.components))
            first += len(info.components)

    def window(self, field: str, sample: int, times: slice) -> np.ndarray:
        return self.values[sample, times, self._channels[field]].cpu().numpy()

    def files(self) -> Mapping[str, int]:
        return self._files


def loaded(dataset: Dataset, device: torch.device) -> InMemory:
    """Read a view as a whole; checksums are left behind, as it may hold a part of each sample."""
    rows = dataset.samples
    kind = dataset.read(slice(0, 0)).numpy().dtype
    contents = dataclasses.replace(
        dataset.contents,
        samples=len(rows),
        fields=tuple(
            dataclasses.replace(dataset.field(name), dtype=kind, static=False)
            for name in dataset.fields
        ),
        axes=dataset.axes,
        times=dataset.times.numpy(),
        parameters={n: v[rows] for n, v in dataset.contents.parameters.items()},
        status=None,
        checksums={},
        splits={n: np.flatnonzero(np.isin(rows, i)) for n, i in dataset.contents.splits.items()},
    )
    return InMemory(dataset.read().to(device), contents, dataset.source.files())


def fits(nbytes: int, device: torch.device, part: float) -> bool:
    """Whether so many bytes are at most a part of what is free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = _available()
    return nbytes <= part * free


def _available() -> int:
    """Free memory of the host, what the kernel can take back from its caches included."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
