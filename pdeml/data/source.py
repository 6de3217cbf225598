"""What every file layout gives: a description of its content, and one window of one field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

EMPTY, FINISHED, FAILED = 0, 1, 2
"""Status of a sample: not written yet, whole and finite, given up (blow-up) with a message."""

SPLITS = ("train", "valid", "test")
"""Usual names of stored splits, in the order in which they are given."""


def is_number(dtype: np.dtype) -> bool:
    """Whether values of a dtype can be read: torch has no longer ones than float64, complex128."""
    longest = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}
    return dtype.itemsize <= longest.get(dtype.kind, 0)


@dataclass(frozen=True)
class FieldInfo:
    """One field of a data set.

    Attributes
    ----------
    name : as in the file.
    dtype : of the values that are read, native byte order; complex fields are complex.
    components : names of the channels it takes; one for a scalar, ``("u",)``.
    units, long_name : for labels; ``"1"`` where unknown.
    static : it has no time axis; reading repeats it at every time asked.
    """

    name: str
    dtype: np.dtype
    components: tuple[str, ...] = ()
    units: str = "1"
    long_name: str = ""
    static: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        object.__setattr__(self, "components", tuple(self.components) or (self.name,))


@dataclass(frozen=True, eq=False)
class Axis:
    """A space axis: points (n,) in float64.

    Attributes
    ----------
    name, points, units : coordinate.
    periodic : True, False, or None where the file does not say.
    length : of the period; None where it is not periodic or not known.
    """

    name: str
    points: np.ndarray
    units: str = "1"
    periodic: bool | None = None
    length: float | None = None


@dataclass(frozen=True, eq=False)
class MeshArrays:
    """An irregular mesh: vertices (P, d) and cells (E, k). Fields have one space axis ``node``."""

    coords: np.ndarray
    cells: np.ndarray


@dataclass
class Contents:
    """What a file holds, without its large arrays.

    Attributes
    ----------
    layout : name of the layout and its version, ``"pdeml-dataset 1"``, ``"PDEBench A"``, …
    samples : how many there are, the unfinished ones included.
    fields, axes : in the order of channels and of space axes; all fields share one grid.
    times : (T,) float64; ``[0.0]`` for data without time.
    parameters : values that differ between samples, (samples,) or (samples, P).
    units : of parameters and of ``"time"``, where known.
    status : (samples,) of EMPTY, FINISHED, FAILED; None where all are finished.
    checksums : CRC-32 of each sample by the name of the stored array, where the file has them.
    splits : stored index vectors: ``train``, ``valid``, ``test``.
    mesh : of irregular data.
    attributes : what the file says of itself, plain JSON data (``pde``, ``provenance``, constants).
    notes : one sentence for each thing a user should know: times not uniform, an axis that was cut.
    """

    layout: str
    samples: int
    fields: tuple[FieldInfo, ...]
    axes: tuple[Axis, ...]
    times: np.ndarray
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    status: np.ndarray | None = None
    checksums: dict[str, np.ndarray] = field(default_factory=dict)
    splits: dict[str, np.ndarray] = field(default_factory=dict)
    mesh: MeshArrays | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def space(self) -> tuple[int, ...]:
        """Points per space axis."""
        return tuple(len(axis.points) for axis in self.axes)


class Source(Protocol):
    """A file, or a folder of files, of one layout. It can be pickled: it holds paths, no handles.

    Attributes
    ----------
    contents : the description; made when the source is opened, without reading fields.
    """

    contents: Contents

    def window(self, field: str, sample: int, times: slice) -> np.ndarray:
        """One field of one sample, (T', C, *space).

        Parameters
        ----------
        field : a name of ``contents.fields``.
        sample : 0 … samples − 1.
        times : with start, stop and step ≥ 1 filled in and within range; ignored for static fields,
            for which T' = 1.

        Returns
        -------
        array of the field's dtype, in native byte order; a view of a memory map where there is one,
        so it may be read-only. Axes are those of ``contents``, whatever the order in the file.
        """

    def files(self) -> Mapping[str, int]:
        """Paths of the files that hold the data, with their sizes in bytes."""
