"""What all exports share: values of one sample, real parts of complex fields, whole files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pdeml.data.dataset import Dataset
from pdeml.data.description import describe
from pdeml.data.preallocated import sync_folder, write_error
from pdeml.data.source import FieldInfo
from pdeml.errors import OutputError


@dataclass(frozen=True)
class Exported:
    """A field as it is written: one of the data set, or the real or imaginary part of one."""

    name: str
    field: str
    components: tuple[str, ...]
    static: bool
    dtype: np.dtype
    take: str = ""

    def info(self, dataset: Dataset) -> FieldInfo:
        """What is said of it: its own name, the units of the field."""
        known = dataset.field(self.field)
        return FieldInfo(
            self.name, self.dtype, self.components, known.units, known.long_name, self.static
        )

    def of(self, dataset: Dataset, sample: int) -> np.ndarray:
        """Values (T, C, *space) of one sample; T = 1 if it is static."""
        values = dataset.read(sample, 0 if self.static else None, self.field)[0].numpy()
        return np.asarray(getattr(values, self.take) if self.take else values, self.dtype)


def fields(dataset: Dataset, split_complex: bool) -> tuple[list[Exported], list[str]]:
    """Fields to write, and what is lost in their types.

    Parameters
    ----------
    split_complex : the layout has no complex numbers.
    """
    out, lost = [], []
    for info in map(dataset.field, dataset.fields):
        dtype = info.dtype
        if dtype.kind in "biu" or dtype.itemsize < 4:
            dtype = np.dtype(np.float64 if dtype.itemsize > 2 else np.float32)
            lost.append(f"{info.name!r} is {info.dtype} and is written as {dtype}")
        if dtype.kind != "c" or not split_complex:
            out.append(Exported(info.name, info.name, info.components, info.static, dtype))
            continue
        real = np.dtype(f"f{dtype.itemsize // 2}")
        lost.append(f"the complex field {info.name!r} is written as {info.name}_re, {info.name}_im")
        for take in ("real", "imag"):
            end = "_re" if take == "real" else "_im"
            names = tuple(c + end for c in info.components)
            out.append(Exported(info.name + end, info.name, names, info.static, real, take))
    return out, lost


def described(
    dataset: Dataset, exported: Sequence[Exported], limit: int | None = None
) -> tuple[str, list[str]]:
    """The description of what is written, see `pdeml.data.description.describe`."""
    return describe(dataset, [field.info(dataset) for field in exported], limit)


def left_behind(dataset: Dataset) -> list[str]:
    """What no foreign layout holds of the data set."""
    contents, lost = dataset.contents, []
    if contents.checksums:
        lost.append("checksums, seeds, computing times and messages of samples are not written")
    if len(dataset) < contents.samples:
        lost.append(f"{len(dataset)} of {contents.samples} samples are written, numbered anew")
    return lost


def constant(values: np.ndarray) -> bool:
    """A parameter that is one number, the same for all samples."""
    return values.ndim == 1 and bool((values == values[:1]).all())


@contextlib.contextmanager
def whole_file(target: Path, needed: int) -> Iterator[Path]:
    """A temporary name beside the target, which it gets when the block ends without an error.

    Parameters
    ----------
    needed : bytes, for the message of a full disk.

    Raises
    ------
    OutputError
        The folder or disk refuses; nothing is left behind.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
        sync_folder(target.parent)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise write_error(target, error, needed) from error
    finally:
        partial.unlink(missing_ok=True)
