"""To MATLAB files, version 7.3 (HDF5) or 5, in the order of axes of FNO: sample, space, time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.dataset import Dataset
from pdeml.data.description import KEY
from pdeml.data.exports.samples import Exported, described, fields, left_behind, whole_file
from pdeml.errors import InvalidDataset, InvalidOption

VERSIONS = ("7.3", "5")
LARGEST_V5 = 2**31 - 1  # bytes of a variable
LONGEST_NAME = 63
BLOCK_BYTES = 64 * 2**20
USER_BLOCK = 512
CLASSES = {"f4": "single", "f8": "double", "u2": "char", "c8": "single", "c16": "double"}


def write(dataset: Dataset, target: Path, *, version: str = "7.3") -> list[str]:
    """Write each field as (sample[, component], *space[, time]), coordinates and parameters.

    Parameters
    ----------
    version : ``"7.3"``, HDF5 with all axes reversed, or ``"5"``, at most 2 GiB per field.

    Returns
    -------
    list of str
        What was lost.

    Raises
    ------
    InvalidDataset
        A name that MATLAB does not take or that is there twice, or a field too large for version 5.
    InvalidOption
        Another version.
    """
    if version not in VERSIONS:
        raise InvalidOption(f"version={version!r}: give '7.3' or '5'.")
    exported, lost = fields(dataset, split_complex=False)
    small: dict[str, np.ndarray] = {"t": dataset.times.numpy()[None]}
    small |= {a.name: a.points[None] for a in dataset.axes}
    for name, tensor in dataset.parameters.items():
        values = tensor.numpy().astype(np.float64)
        small[name] = values[:, None] if values.ndim == 1 else values
    if dataset.mesh is not None:
        small |= {"coords": dataset.mesh.coords, "cells": dataset.mesh.cells.astype(np.float64)}
    _check_names([*small, *(e.name for e in exported), KEY])
    text, missing = described(dataset, exported)
    with whole_file(target, dataset.nbytes) as partial:
        if version == "5":
            _version_5(partial, dataset, exported, small, text)
        else:
            _version_73(partial, dataset, exported, small, text)
    return [*lost, *missing, *left_behind(dataset)]


def _check_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1 or not name.isidentifier() or len(name) > LONGEST_NAME:
            raise InvalidDataset(
                f"{name!r} cannot name a MATLAB variable here: names are letters, digits and _, at "
                f"most {LONGEST_NAME}, each once; t, coords, cells and {KEY} are taken. Rename the "
                'field, or convert to "pdeml".'
            )


def _shape(dataset: Dataset, field: Exported) -> tuple[int, ...]:
    samples, frames, _, *space = dataset.shape
    components = (len(field.components),) if len(field.components) > 1 else ()
    return (samples, *components, *space, *(() if field.static else (frames,)))


def _block(dataset: Dataset, field: Exported, samples: range) -> np.ndarray:
    """Some samples in MATLAB's order of axes."""
    parts = np.stack([field.of(dataset, sample) for sample in samples])
    values = np.moveaxis(parts, 1, -1)
    values = values[..., 0] if field.static else values
    return values if len(field.components) > 1 else values[:, 0]


def _version_5(
    target: Path,
    dataset: Dataset,
    exported: list[Exported],
    small: dict[str, np.ndarray],
    text: str,
) -> None:
    import scipy.io

    content: dict[str, Any] = dict(small)
    for field in exported:
        size = int(np.prod(_shape(dataset, field), dtype=object)) * field.dtype.itemsize
        if size > LARGEST_V5:
            raise InvalidDataset(
                f"{field.name!r} has {size} bytes, and a variable of MATLAB 5 at most "
                f"{LARGEST_V5}; write version '7.3'."
            )
        content[field.name] = _block(dataset, field, range(len(dataset)))
    content[KEY] = text
    with target.open("wb") as file:
        scipy.io.savemat(file, content, format="5", long_field_names=True)


def _version_73(
    target: Path,
    dataset: Dataset,
    exported: list[Exported],
    small: dict[str, np.ndarray],
    text: str,
) -> None:
    import h5py

    with h5py.File(target, "w", userblock_size=USER_BLOCK) as file:
        for field in exported:
            shape = _shape(dataset, field)
            data = _variable(file, field.name, shape, field.dtype)
            size = max(1, int(np.prod(shape[1:], dtype=object)) * field.dtype.itemsize)
            step = max(1, BLOCK_BYTES // size)
            for first in range(0, len(dataset), step):
                samples = range(first, min(first + step, len(dataset)))
                values = np.ascontiguousarray(_block(dataset, field, samples).T)
                data[..., first : samples.stop] = values.view(data.dtype)
        for name, values in small.items():
            _variable(file, name, values.shape, values.dtype)[...] = values.T
        letters = np.frombuffer(text.encode("utf-16-le"), "<u2")
        data = _variable(file, KEY, (1, len(letters)), letters.dtype)
        data[...] = letters[:, None]
        data.attrs["MATLAB_int_decode"] = np.int32(2)
    head = b"MATLAB 7.3 MAT-file, written by pdeml, HDF5 schema 1.00".ljust(124)
    with target.open("rb+") as plain:
        plain.write((head + b"\0\x02IM").ljust(USER_BLOCK, b"\0"))


def _variable(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """A data set with the axes reversed; complex numbers are pairs."""
    stored = dtype
    if dtype.kind == "c":
        part = np.dtype(f"f{dtype.itemsize // 2}")
        stored = np.dtype([("real", part), ("imag", part)])
    data = file.create_dataset(name, shape[::-1], stored)
    data.attrs["MATLAB_class"] = np.bytes_(CLASSES[dtype.str[1:]])
    return data
