"""A source made of stored arrays whose axes have names: what most foreign layouts are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pdeml.data.readers.variables import Variable
from pdeml.data.source import Axis, Contents, FieldInfo
from pdeml.errors import InvalidDataset

SAMPLE, TIME, CHANNEL, COLUMN, ONE = "n", "t", "c", "c2", "1"
RESERVED = frozenset({SAMPLE, TIME, CHANNEL, COLUMN, ONE})


@dataclass(frozen=True)
class Place:
    """Where a field is.

    Attributes
    ----------
    variables : one with an axis ``"n"`` or for all samples, or one for each sample.
    axes : names of its axes: ``"n"`` sample, ``"t"`` time, ``"c"`` channel, ``"c2"`` the second
        axis of a tensor, ``"1"`` of one entry, others of space. Axes of the grid that it lacks are
        repeated.
    channels : those of the axis ``"c"`` that are the field's.
    """

    variables: tuple[Variable, ...]
    axes: tuple[str, ...]
    channels: slice = field(default_factory=lambda: slice(None))


class StoredArrays:
    """The source of named arrays; see `pdeml.data.source.Source`."""

    def __init__(self, contents: Contents, places: Mapping[str, Place]):
        self.contents = contents
        self._places = dict(places)
        self._points = {axis.name: len(axis.points) for axis in contents.axes}

    def window(self, field: str, sample: int, times: slice) -> np.ndarray:
        place = self._places[field]
        one = len(place.variables) == 1
        chosen = {SAMPLE: sample, TIME: times, CHANNEL: place.channels, ONE: 0}
        index = tuple(chosen.get(name, slice(None)) for name in place.axes)
        values = place.variables[0 if one else sample].read(index)
        left = [name for name in place.axes if name not in (SAMPLE, ONE)]
        order = [TIME, CHANNEL, COLUMN, *self._points]
        values = values.transpose([left.index(name) for name in order if name in left])
        for position, name in enumerate(order):
            if name not in left:
                values = np.expand_dims(values, position)
        frames, rows, columns, *space = values.shape
        values = values.reshape(frames, rows * columns, *space)
        shape = (frames, rows * columns, *self._points.values())
        return values if values.shape == shape else np.broadcast_to(values, shape)

    def files(self) -> Mapping[str, int]:
        paths = {v.path for place in self._places.values() for v in place.variables}
        return {path: os.stat(path).st_size for path in sorted(paths)}


def assemble(
    layout: str,
    places: Mapping[str, Place],
    space: Sequence[str],
    *,
    points: Mapping[str, np.ndarray] | None = None,
    times: np.ndarray | None = None,
    components: Mapping[str, Sequence[str]] | None = None,
    samples: int | None = None,
    periodic: Mapping[str, bool] | None = None,
    **more: Any,
) -> StoredArrays:
    """A source from arrays and coordinates, which must agree in their sizes.

    Parameters
    ----------
    layout : its name.
    places : of the fields, in the order of channels.
    space : names of the axes of space, in their order.
    points : coordinates by axis; an axis without is numbered 0, 1, …, with a note.
    times : of the frames; numbered where they are unknown.
    components : names of channels by field; others are NAME_0, NAME_1, ….
    samples : how many, where no array has an axis of samples.
    periodic : by axis, where the file says so.
    **more : further parts of `Contents`.

    Raises
    ------
    InvalidDataset
        Sizes differ; the message names the arrays and the axis.
    """
    sizes: dict[str, tuple[int, str]] = {}
    if samples is not None:
        sizes[SAMPLE] = (samples, "the number of samples")
    for axis, values in (points or {}).items():
        sizes[axis] = (len(values), f"the coordinate of {axis}")
    if times is not None:
        sizes[TIME] = (len(times), "the times")
    for name, place in places.items():
        _check(name, place, sizes)
    notes: list[str] = list(more.pop("notes", ()))
    empty = [axis for axis, (size, _) in sizes.items() if size == 0]
    if empty or not places:
        raise InvalidDataset(
            f"the {layout} data set holds no data: "
            + (f"the axis {empty[0]!r} has no entries." if empty else "there is no field.")
        )
    grid = {}
    for axis in space:
        if axis not in (points or {}):
            notes.append(f"no coordinate of {axis}: its points are numbered 0, 1, …")
        grid[axis] = (points or {}).get(axis, np.arange(sizes[axis][0], dtype=np.float64))
    if times is None:
        times = np.arange(sizes.get(TIME, (1, ""))[0], dtype=np.float64)
        if TIME in sizes:
            notes.append("no times: the frames are numbered 0, 1, …")
    infos = tuple(
        _info(name, place, (components or {}).get(name)) for name, place in places.items()
    )
    contents = Contents(
        layout=layout,
        samples=sizes.get(SAMPLE, (1, ""))[0],
        fields=infos,
        axes=tuple(_axis(axis, grid[axis], (periodic or {}).get(axis)) for axis in space),
        times=times,
        notes=notes,
        **more,
    )
    return StoredArrays(contents, places)


def _check(name: str, place: Place, sizes: dict[str, tuple[int, str]]) -> None:
    """The sizes of a field's axes are those of all others."""
    for variable in place.variables:
        if len(variable.shape) != len(place.axes):
            raise InvalidDataset(
                f"{variable.name!r} of {variable.path!r} has the shape {variable.shape}; expected "
                f"are {len(place.axes)} axes: {', '.join(place.axes) or 'none'}."
            )
        if variable.dtype != place.variables[0].dtype:
            raise InvalidDataset(
                f"{variable.name!r} of {variable.path!r} is {variable.dtype}, and "
                f"{place.variables[0].name!r} is {place.variables[0].dtype}."
            )
        for axis, size in zip(place.axes, variable.shape, strict=True):
            if axis in (CHANNEL, COLUMN):
                known, where = place.variables[0].shape[place.axes.index(axis)], "the first"
            elif axis == ONE:
                known, where = 1, "this axis of one entry"
            else:
                known, where = sizes.setdefault(axis, (size, repr(variable.name)))
            if known != size:
                raise InvalidDataset(
                    f"{variable.name!r} of {variable.path!r} has {size} entries on the axis "
                    f"{axis!r}, but {where} has {known}; its shape is {variable.shape}, its axes "
                    f"are {', '.join(place.axes)}."
                )
    if len(place.variables) > 1:
        known, where = sizes.setdefault(SAMPLE, (len(place.variables), repr(name)))
        if known != len(place.variables):
            raise InvalidDataset(f"{name!r} has {len(place.variables)} samples, {where} {known}.")


def _info(name: str, place: Place, components: Sequence[str] | None) -> FieldInfo:
    first = place.variables[0]
    count = 1
    if CHANNEL in place.axes:
        total = first.shape[place.axes.index(CHANNEL)]
        count = len(range(*place.channels.indices(total)))
        count *= first.shape[place.axes.index(COLUMN)] if COLUMN in place.axes else 1
    if components is None or len(components) != count or count == 1:
        components = (name,) if count == 1 else [f"{name}_{i}" for i in range(count)]
    return FieldInfo(name, first.dtype, tuple(components), static=TIME not in place.axes)


def _axis(name: str, points: np.ndarray, periodic: bool | None) -> Axis:
    if not periodic or len(points) < 2:
        return Axis(name, points, periodic=periodic)
    # one spacing lies between the last point and the first of the next period
    length = float((points[-1] - points[0]) * len(points) / (len(points) - 1))
    return Axis(name, points, periodic=True, length=length)
