"""To the own layout."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.chunked import parts_folder
from pdeml.data.dataset import Dataset
from pdeml.data.exports.samples import fields, whole_file
from pdeml.data.layout import NAME, RESERVED
from pdeml.data.source import FieldInfo
from pdeml.data.writer import Writer

BATCH_BYTES = 64 * 2**20
OWN_ATTRIBUTES = frozenset(
    "title pde Conventions pdeml_format pdeml_version complete n_finished channels".split()
)
"""Attributes that a file of the own layout has anew."""


def write(dataset: Dataset, target: Path, *, compression: str | None = None) -> list[str]:
    """Write the samples of a view, numbered from 0, and what is known of them.

    Parameters
    ----------
    compression : None, ``"gzip"``, ``"lzf"``.

    Returns
    -------
    list of str
        What was lost.
    """
    contents = dataset.contents
    exported, lost = fields(dataset, split_complex=False)
    infos = [field.info(dataset) for field in exported]
    names = _names(
        [*(i.name for i in infos), *(a.name for a in dataset.axes), *dataset.parameters], lost
    )
    kept = {n: np.flatnonzero(np.isin(dataset.samples, i)) for n, i in contents.splits.items()}
    parameters = {names[n]: v.numpy() for n, v in dataset.parameters.items()}
    with whole_file(target, dataset.nbytes) as partial:
        try:
            writer = Writer(
                partial,
                fields=[_renamed(i, names[i.name]) for i in infos],
                times=dataset.times.numpy(),
                axes=[dataclasses.replace(a, name=names[a.name]) for a in dataset.axes],
                mesh=dataset.mesh,
                samples=len(dataset),
                pde=dataset.problem,
                parameters={n: v.shape[1] if v.ndim > 1 else 0 for n, v in parameters.items()},
                units={names.get(n, n): unit for n, unit in contents.units.items()},
                title=str(contents.attributes.get("title", "")),
                options=_origin(dataset, lost),
                splits=kept,
                resume=False,
                compression=compression,
                durability="process",  # the file is synced as a whole
            )
            failed = 0
            size = max(1, BATCH_BYTES // max(dataset.nbytes // max(len(dataset), 1), 1))
            with writer:
                for ids in writer.pending(size):
                    values = {
                        names[field.name]: np.stack([field.of(dataset, row) for row in ids])
                        for field in exported
                    }
                    own = {n: v[ids] for n, v in parameters.items()}
                    finite = _finite([*values.values(), *own.values()])
                    if finite.any():
                        good = {n: v[finite] for n, v in (values | own).items()}
                        writer.commit(ids[finite], **good)
                    if not finite.all():
                        writer.fail(ids[~finite], "NaN or infinite values in the source")
                        failed += int((~finite).sum())
        finally:
            shutil.rmtree(parts_folder(partial), ignore_errors=True)
    if failed:
        lost.append(f"{failed} samples have NaN or infinite values and are marked as failed")
    if dataset.samples.tolist() != list(range(len(dataset))):
        lost.append("samples are numbered anew: unfinished or left-out ones are gone")
    if contents.notes:
        lost.append("notes on the source: " + "; ".join(contents.notes))
    return lost


def _origin(dataset: Dataset, lost: list[str]) -> dict[str, Any]:
    """What the file says of its source: layout, attributes, what that had and this one has not."""
    contents = dataset.contents
    kept = {k: v for k, v in contents.attributes.items() if v and k not in OWN_ATTRIBUTES}
    return {
        "converted_from": contents.layout,
        "source": kept,
        "lost": [*lost, *contents.notes],
    }


def _renamed(info: FieldInfo, name: str) -> FieldInfo:
    """A scalar's only component has its name."""
    components = info.components if len(info.components) > 1 else (name,)
    return dataclasses.replace(info, name=name, components=components)


def _finite(arrays: list[np.ndarray]) -> np.ndarray:
    """Which samples (B,) are finite in all arrays (B, …)."""
    return np.all([np.isfinite(a).reshape(len(a), -1).all(1) for a in arrays], axis=0)


def _names(given: list[str], lost: list[str]) -> dict[str, str]:
    """Names that the layout accepts, by the given ones; ``node`` is the axis of a mesh."""
    out: dict[str, str] = {}
    for name in given:
        safe = re.sub(r"\W", "_", name, flags=re.ASCII)
        safe = safe if NAME.match(safe) else f"v_{safe}"
        while (safe in RESERVED and name != "node") or safe in out.values():
            safe += "_"
        out[name] = safe
        if safe != name:
            lost.append(f"{name!r} is called {safe!r}")
    return out
