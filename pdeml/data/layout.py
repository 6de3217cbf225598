"""The own layout, "pdeml-dataset" version 1: one HDF5 file that xarray opens as it is.

    /  attributes: Conventions, title, pdeml_format, pdeml_version, pde, provenance, created,
                   complete, n_finished
       sample (S)  time (T)  x, y, z (n_i)          coordinates, dimension scales
       <field> (S, T[, C], *space)                  static ones without T, complex as _re, _im
       <parameter> (S[, P])                         values that differ between samples
       status (S)  seed (S)  wall_time (S)  message (S, 120)  crc32_<field> (S)
       split/train, valid, test                     index vectors, where a split is stored
       stats/mean, std, min, max, delta_mean, delta_std (channel)

Every field has dimension scales on all axes; no attribute is a bool, no type a compound. Irregular
meshes have the axis ``node`` with node_x, node_y, …, the connectivity ``cells`` and a topology
variable ``mesh`` after UGRID 1.0.

Data sets are contiguous and allocated when the file is made, so that writing a sample changes no
metadata of the file: what a crash can tear is a sample that is not marked as finished.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.source import Axis, FieldInfo, MeshArrays
from pdeml.errors import InvalidOption

FORMAT, VERSION = "pdeml-dataset", 1
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
MESSAGE_BYTES = 120
LONGEST_ATTRIBUTE = 20_000  # bytes of JSON text; longer ones are data sets of their own
CHUNK_BYTES = 2**20  # raw, of compressed data
ALIGNMENT = 4096  # of large data sets in the file
STATISTICS = ("mean", "std", "min", "max", "delta_mean", "delta_std")
COLUMNS = ("status", "seed", "wall_time", "message")
RESERVED = {*COLUMNS, "sample", "time", "split", "stats", "mesh", "node", "cells", "corner"}


@dataclass(frozen=True, eq=False)
class Header:
    """What identifies a data set; a run is continued where all of it is equal.

    Attributes
    ----------
    numbers : (S,) the samples of this file, by their number in the whole set.
    fields, axes, times, mesh : as in `pdeml.data.source.Contents`.
    parameters : numbers per sample of each, 0 for a scalar; `units` of any of them.
    pde : the declaration, ``{"declaration": JSON of PDE.to_json, "name", "latex"}``, or {}.
    provenance : seed root, options of the solver, versions, command.
    splits : index vectors by name.
    """

    numbers: np.ndarray
    fields: tuple[FieldInfo, ...]
    axes: tuple[Axis, ...]
    times: np.ndarray
    parameters: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    mesh: MeshArrays | None = None
    title: str = ""
    pde: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [f.name for f in self.fields]
        names += [a.name for a in self.axes if a.name != "node"]
        names += list(self.parameters)
        names += [part.name for f in self.fields for part in parts(f) if part.name != f.name]
        for name in names:
            if not NAME.match(name) or name in RESERVED or names.count(name) > 1:
                raise InvalidOption(
                    f"{name!r} cannot name a field, axis or parameter of a data set; give letters, "
                    "digits and _, each name once, and none of " + ", ".join(sorted(RESERVED)) + "."
                )

    @property
    def samples(self) -> int:
        return len(self.numbers)

    @property
    def space(self) -> tuple[int, ...]:
        return tuple(len(a.points) for a in self.axes)

    def window_shape(self, info: FieldInfo) -> tuple[int, ...]:
        """(T, C, *space) of a sample; T = 1 for static fields."""
        return (1 if info.static else len(self.times), len(info.components), *self.space)

    def stored_shape(self, info: FieldInfo) -> tuple[int, ...]:
        """Shape of a sample in the file: scalars have no component axis, static fields no time."""
        time = () if info.static else (len(self.times),)
        components = (len(info.components),) if len(info.components) > 1 else ()
        return (*time, *components, *self.space)


@dataclass(frozen=True)
class Part:
    """A stored array of a field: itself, or its real or imaginary part."""

    name: str
    dtype: np.dtype
    take: str = ""  # "real", "imag" or nothing

    def of(self, values: np.ndarray) -> np.ndarray:
        """What is stored of values: little-endian, in C order."""
        taken = getattr(values, self.take) if self.take else values
        return np.ascontiguousarray(taken, dtype=self.dtype)


def parts(info: FieldInfo) -> tuple[Part, ...]:
    """The stored arrays of a field; HDF5 readers disagree on complex numbers."""
    if info.dtype.kind != "c":
        return (Part(info.name, info.dtype.newbyteorder("<")),)
    real = np.dtype(f"<f{info.dtype.itemsize // 2}")
    return Part(f"{info.name}_re", real, "real"), Part(f"{info.name}_im", real, "imag")


def value_bytes(header: Header) -> int:
    """Bytes of all field values."""
    return header.samples * sum(
        p.dtype.itemsize * int(np.prod(header.stored_shape(f), dtype=object))
        for f in header.fields
        for p in parts(f)
    )


def create(path: Path, header: Header, compression: str | None = None) -> None:
    """Write a file with everything but the samples, which are empty; see `fill`.

    Parameters
    ----------
    path : replaced if it exists; the caller renames it when it is whole.
    """
    import h5py

    with h5py.File(
        path,
        "w",
        libver="earliest",  # later formats keep flags that a killed writer leaves set
        alignment_threshold=ALIGNMENT,
        alignment_interval=ALIGNMENT,
    ) as file:
        fill(file, header, compression)


def fill(file: Any, header: Header, compression: str | None) -> None:
    """Everything but the samples, into an empty open file.

    Parameters
    ----------
    compression : None (contiguous), or ``"gzip"``, ``"lzf"`` (chunks of one sample).
    """
    _root_attributes(file, header)
    scales = dict(_scales(file, header))
    for info in header.fields:
        dims = ["sample", *([] if info.static else ["time"])]
        dims += [f"component_{info.name}"] if len(info.components) > 1 else []
        dims += [a.name for a in header.axes]
        shape = (header.samples, *header.stored_shape(info))
        for part in parts(info):
            data = _values(file, part, shape, compression)
            _attach(data, [scales[d] for d in dims])
            data.attrs["units"] = info.units
            data.attrs["long_name"] = info.long_name or info.name
            data.attrs.create("_FillValue", np.nan, dtype=part.dtype)
            if part.take:
                data.attrs["complex_of"] = info.name
            if header.mesh is not None:
                data.attrs.update(mesh="mesh", location="node", coordinates=_node_names(header))
    for name, dtype, attributes in columns(header):
        shape = (header.samples,)
        dims = [scales["sample"]]
        if header.parameters.get(name):
            shape += (header.parameters[name],)
            dims.append(scales[f"entry_{name}"])
        if name == "message":
            shape += (MESSAGE_BYTES,)
            dims.append(scales["message_length"])
        column = _plain(file, name, shape, dtype)
        _attach(column, dims)
        column.attrs.update(attributes)
    _groups(file, header)


def columns(header: Header) -> Iterator[tuple[str, np.dtype, dict[str, Any]]]:
    """Name, dtype and attributes of what is stored once per sample, `status` last."""
    for name in header.parameters:
        units = header.units.get(name, "1")
        yield name, np.dtype("<f8"), {"units": units, "long_name": name, "role": "parameter"}
    for info in header.fields:
        for part in parts(info):
            yield (
                f"crc32_{part.name}",
                np.dtype("<u4"),
                {"long_name": f"CRC-32 of the little-endian bytes of {part.name}"},
            )
    yield "seed", np.dtype("<u8"), {"long_name": "seed of the sample"}
    yield "wall_time", np.dtype("<f8"), {"long_name": "computing time in seconds"}
    yield "message", np.dtype("S1"), {"long_name": "why a sample failed"}
    yield (
        "status",
        np.dtype("u1"),
        {
            "flag_values": np.array([0, 1, 2], np.uint8),
            "flag_meanings": "empty finished failed",
        },
    )


def _root_attributes(file: Any, header: Header) -> None:
    file.attrs.update(
        Conventions="CF-1.11" + (" UGRID-1.0" if header.mesh is not None else ""),
        title=header.title,
        pdeml_format=FORMAT,
        pdeml_version=np.int32(VERSION),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        complete=np.uint8(0),
        n_finished=np.int64(0),
    )
    texts = {"pde": header.pde, "provenance": header.provenance}
    channels = [c for f in header.fields for c in f.components]
    for name, content in {**texts, "channels": channels}.items():
        text = json.dumps(content, allow_nan=False)
        if len(text) <= LONGEST_ATTRIBUTE:
            file.attrs[name] = text
        else:  # attributes of an object are limited to 64 KiB
            file.create_dataset(name, data=np.bytes_(text.encode("ascii")))


def _scales(file: Any, header: Header) -> Iterator[tuple[str, Any]]:
    def scale(name: str, values: np.ndarray, **attributes: Any) -> tuple[str, Any]:
        data = file.create_dataset(name, data=values)
        data.make_scale(name)
        data.attrs.update(attributes)
        return name, data

    yield scale("sample", header.numbers.astype("<i8"), long_name="number of the sample")
    units = header.units.get("time", "1")
    yield scale("time", header.times.astype("<f8"), units=units, axis="T", long_name="time")
    for letter, axis in zip("XYZ", header.axes, strict=False):
        if axis.name == "node":
            yield _dimension(file, "node", len(axis.points))
            continue
        attributes: dict[str, Any] = {"units": axis.units, "axis": letter, "long_name": axis.name}
        if axis.periodic is not None:
            attributes |= {
                "periodic": np.uint8(axis.periodic),
                "endpoint": np.uint8(not axis.periodic),
            }
        if axis.length is not None:
            attributes["length"] = float(axis.length)
        yield scale(axis.name, axis.points.astype("<f8"), **attributes)
    for info in header.fields:
        if len(info.components) > 1:
            name = f"component_{info.name}"
            yield scale(name, np.arange(len(info.components), dtype="<i8"),
                        components=json.dumps(info.components))  # fmt: skip
    for name, count in header.parameters.items():
        if count:
            yield _dimension(file, f"entry_{name}", count)
    yield _dimension(file, "message_length", MESSAGE_BYTES)
    if header.mesh is not None:
        yield from _mesh(file, header)


def _dimension(file: Any, name: str, size: int) -> tuple[str, Any]:
    """A dimension without coordinates, as netCDF-4 writes it: a data set that stores nothing."""
    data = file.create_dataset(name, (size,), ">f4")
    data.make_scale(f"This is a netCDF dimension but not a netCDF variable.{size:10d}")
    return name, data


def _node_names(header: Header) -> str:
    assert header.mesh is not None
    return " ".join(f"node_{c}" for c in "xyz"[: header.mesh.coords.shape[1]])


def _mesh(file: Any, header: Header) -> Iterator[tuple[str, Any]]:
    assert header.mesh is not None
    coords, cells = header.mesh.coords, header.mesh.cells
    for letter, values in zip("xyz", coords.T, strict=False):
        data = file.create_dataset(f"node_{letter}", data=values.astype("<f8"))
        _attach(data, [file["node"]])
        data.attrs.update(units="1", long_name=letter)
    cell = _dimension(file, "cell", len(cells))
    corner = _dimension(file, "corner", cells.shape[1])
    data = file.create_dataset("cells", data=cells.astype("<i8"))
    _attach(data, [cell[1], corner[1]])
    # quadrilaterals have as many corners as tetrahedra
    dim = min(cells.shape[1] - 1, coords.shape[1])
    role = {1: "edge", 2: "face", 3: "volume"}.get(dim, "face")
    data.attrs.update(cf_role=f"{role}_node_connectivity", start_index=np.int64(0))
    topology = file.create_dataset("mesh", data=np.int64(0))
    topology.attrs.update(
        cf_role="mesh_topology",
        topology_dimension=np.int64(min(dim, 3)),
        node_coordinates=_node_names(header),
    )
    topology.attrs[f"{role}_node_connectivity"] = "cells"
    yield cell
    yield corner


def _attach(data: Any, scales: list[Any]) -> None:
    for dim, scale in zip(data.dims, scales, strict=True):
        dim.attach_scale(scale)


def _values(file: Any, part: Part, shape: tuple[int, ...], compression: str | None) -> Any:
    if compression is None:
        return _allocated(file, part.name, shape, part.dtype)
    row = int(np.prod(shape[2:], dtype=object)) * part.dtype.itemsize
    frames = max(1, min(shape[1], CHUNK_BYTES // max(row, 1))) if len(shape) > 1 else 1
    chunk = (1, frames, *shape[2:])[: len(shape)]
    return file.create_dataset(
        part.name, shape, part.dtype, chunks=chunk, compression=compression, shuffle=True
    )


def _allocated(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """A contiguous data set whose place is fixed now, without writing zeros to it."""
    import h5py

    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    kind = h5py.h5t.py_create(dtype, logical=True)
    return h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, space, properties))


def _plain(file: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    data = _allocated(file, name, shape, dtype)
    if data.size:
        data[...] = np.zeros(shape, dtype)
    return data


def _groups(file: Any, header: Header) -> None:
    if header.splits:
        group = file.create_group("split")
        for name, index in header.splits.items():
            group.create_dataset(name, data=np.asarray(index, dtype="<i8"))
    count = sum(len(f.components) for f in header.fields)
    group = file.create_group("stats")
    for name in STATISTICS:
        data = _allocated(group, name, (count,), np.dtype("<f8"))
        data[...] = np.full(count, np.nan)
