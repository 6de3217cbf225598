"""Data sets: one opener for all layouts, a writer that survives kills, generation, checks.

ds = pdeml.data.open("ks.h5")            # own layout, PDEBench, The Well, .mat, .npy, .npz
u = ds.read(samples=[0, 1])              # Tensor (batch, time, channel, *space)
loader = ds.windows(t_in=4, t_out=1).loader(batch=32, shuffle=True, seed=0)
pdeml.data.generate("kuramoto_sivashinsky", 1024, "ks.h5", seed=0)
pdeml.data.verify("ks.h5"), pdeml.data.info("ks.h5")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdeml.data.checking import Verification, verify
    from pdeml.data.conversion import convert
    from pdeml.data.dataset import Dataset
    from pdeml.data.generation import generate
    from pdeml.data.merging import merge
    from pdeml.data.opening import open
    from pdeml.data.single import Sample
    from pdeml.data.source import Axis, FieldInfo, MeshArrays
    from pdeml.data.summary import info
    from pdeml.data.windows import Windows
    from pdeml.data.writer import Writer

__all__ = [
    "Axis",
    "Dataset",
    "FieldInfo",
    "MeshArrays",
    "Sample",
    "Verification",
    "Windows",
    "Writer",
    "convert",
    "generate",
    "info",
    "merge",
    "open",
    "verify",
]

_HOMES = {
    "pdeml.data.checking": ("Verification", "verify"),
    "pdeml.data.conversion": ("convert",),
    "pdeml.data.dataset": ("Dataset",),
    "pdeml.data.generation": ("generate",),
    "pdeml.data.merging": ("merge",),
    "pdeml.data.opening": ("open",),
    "pdeml.data.single": ("Sample",),
    "pdeml.data.source": ("Axis", "FieldInfo", "MeshArrays"),
    "pdeml.data.summary": ("info",),
    "pdeml.data.windows": ("Windows",),
    "pdeml.data.writer": ("Writer",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'pdeml.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
