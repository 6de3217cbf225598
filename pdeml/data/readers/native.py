"""The own layout: one file, or a folder of parts that a run is still writing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.concatenated import Concatenated
from pdeml.data.handles import h5dataset, memory_map, opened
from pdeml.data.layout import FORMAT, MESSAGE_BYTES, VERSION, Header, columns, parts
from pdeml.data.readers.variables import guarded
from pdeml.data.source import (
    FINISHED,
    SPLITS,
    Axis,
    Contents,
    FieldInfo,
    MeshArrays,
    Source,
    is_number,
)
from pdeml.errors import InvalidDataset


def read(path: Path, file: Any, **_: Any) -> Source | None:
    """The source of a file of pdeml, or of a folder of its parts."""
    if file is not None:
        return Native(path, file) if file.attrs.get("pdeml_format") == FORMAT else None
    if path.is_dir():
        files = part_files(path)
        return _folder(files) if files else None
    return None


def part_files(folder: Path) -> list[Path]:
    """The finished part files of a folder, by name; those in the making start with a dot."""
    if not folder.name.endswith(".parts"):
        return []
    return sorted(p for p in folder.glob("*.h5") if not p.name.startswith("."))


def _folder(files: list[Path]) -> Source:
    from pdeml.hdf5 import refuse_unsafe

    sources = []
    for path in files:
        refuse_unsafe(path, error=InvalidDataset)
        sources.append(Native.at(path))
    # the seed of a sample is known by its number, which is the order
    sources.sort(key=lambda source: int(source.header.numbers[0]))
    return Concatenated(sources, f"{FORMAT} {VERSION} (parts)")


class Native:
    """One file of the own layout."""

    def __init__(self, path: Path, file: Any):
        self.path = path
        self.header = header_of(file, path)
        header = self.header
        self._by_name = {info.name: info for info in header.fields}
        # before all else: what a run that goes on wrote of a finished sample is there by then
        status = file["status"][()]
        attributes = {k: _plain(v) for k, v in file.attrs.items() if k not in ("pde", "provenance")}
        self.contents = Contents(
            layout=f"{FORMAT} {VERSION}",
            samples=header.samples,
            fields=header.fields,
            axes=header.axes,
            times=header.times,
            parameters={name: file[name][()] for name in header.parameters},
            units=dict(header.units),
            status=status,
            checksums={
                p.name: file[f"crc32_{p.name}"][()] for f in header.fields for p in parts(f)
            },
            # of the whole set, of which this file may be a part
            splits={
                name: np.flatnonzero(np.isin(header.numbers, index))
                for name, index in header.splits.items()
            },
            mesh=header.mesh,
            attributes={**attributes, "pde": header.pde, "provenance": header.provenance},
            notes=[f"lost before: {text}" for text in _origin(header).get("lost", ())],
        )

    @classmethod
    def at(cls, path: Path) -> Native:
        """The source of a path.

        Raises
        ------
        InvalidDataset
            It is no file of this layout.
        """
        try:
            with opened(path) as file:
                if file.attrs.get("pdeml_format") == FORMAT:
                    return cls(path, file)
        except OSError as error:
            raise InvalidDataset(f"{str(path)!r} is no readable HDF5 file: {error}.") from error
        raise InvalidDataset(f"{str(path)!r} is no pdeml data set.")

    def window(self, field: str, sample: int, times: slice) -> np.ndarray:
        info = self._by_name[field]
        stored = parts(info)
        if len(stored) == 1:
            return self._window(info, stored[0].name, sample, times)
        real, imaginary = (self._window(info, p.name, sample, times) for p in stored)
        return (real + 1j * imaginary).astype(info.dtype, copy=False)

    def _window(self, info: FieldInfo, name: str, sample: int, times: slice) -> np.ndarray:
        index = sample if info.static else (sample, times)
        array = memory_map(self.path, name)
        if array is None:
            what = f"{name!r} of sample {sample} of {str(self.path)!r} cannot be read"
            values = guarded(_stored, what)(self.path, name, index)
        else:
            values = array[index]
        if info.static:
            values = values[None]
        return values if len(info.components) > 1 else values[:, None]

    def files(self) -> Mapping[str, int]:
        return {str(self.path): os.stat(self.path).st_size}

    @property
    def finished(self) -> np.ndarray:
        """Numbers of the finished samples."""
        return self.header.numbers[self.contents.status == FINISHED]


def _stored(path: Path, name: str, index: Any) -> np.ndarray:
    """What HDF5 reads of a data set that cannot be mapped."""
    values: np.ndarray = h5dataset(path, name)[index]
    return values


def header_of(file: Any, path: Path) -> Header:
    """The header of a file.

    Raises
    ------
    InvalidDataset
        A newer version, or something that the layout requires is missing or wrong.
    """
    version = int(file.attrs.get("pdeml_version", 0))
    if version > VERSION:
        raise InvalidDataset(
            f"{str(path)!r} has version {version} of the layout; this pdeml reads up to {VERSION}. "
            "Upgrade pdeml."
        )
    try:
        return _header(file)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InvalidDataset(
            f"{str(path)!r} is no complete {FORMAT} file: {type(error).__name__}: {error}."
        ) from error


def _header(file: Any) -> Header:
    axes: list[Axis] = []
    fields: list[FieldInfo] = []
    mesh = None
    # each is looked up once: a look-up costs more than a small read
    items = {name: file[name] for name in file if name not in ("split", "stats")}
    numbers, times = items["sample"][()], items["time"][()]
    provenance = _text(file, "provenance")
    values = [n for n, item in items.items() if "_FillValue" in item.attrs]
    order = _text(file, "channels")
    for name in values:
        data = items[name]
        dims = [dim.label or (dim[0].name.strip("/") if len(dim) else "") for dim in data.dims]
        owner = data.attrs.get("complex_of", name)
        if owner in [f.name for f in fields]:
            continue
        dtype = data.dtype.newbyteorder("=")
        if owner != name:
            dtype = np.dtype(f"c{2 * dtype.itemsize}")
        components: tuple[str, ...] = ()
        if f"component_{owner}" in items:
            components = tuple(json.loads(items[f"component_{owner}"].attrs["components"]))
        fields.append(
            FieldInfo(
                owner,
                dtype,
                components,
                str(data.attrs["units"]),
                str(data.attrs["long_name"]),
                static="time" not in dims,
            )
        )
        space = [d for d in dims if d not in ("sample", "time") and not d.startswith("component_")]
        if not axes:
            axes = [_axis(items[d], d) for d in space]
    fields.sort(key=lambda f: order.index(f.components[0]))
    if "mesh" in file:
        letters = "xyz"[: sum(f"node_{c}" in file for c in "xyz")]
        coords = np.stack([file[f"node_{c}"][()] for c in letters], 1)
        mesh = MeshArrays(coords, file["cells"][()])
    own = {n: d for n, d in items.items() if d.attrs.get("role") == "parameter"}
    splits = {}
    if "split" in file:
        usual = [n for n in SPLITS if n in file["split"]]
        others = [n for n in file["split"] if n not in usual]
        splits = {n: file["split"][n][()] for n in (*usual, *others)}
    parameter_order = provenance.get("parameters", [])
    listed = sorted(
        own, key=lambda n: parameter_order.index(n) if n in parameter_order else len(own)
    )
    header = Header(
        numbers,
        tuple(fields),
        tuple(axes),
        times,
        {n: own[n].shape[1] if own[n].ndim > 1 else 0 for n in listed},
        {
            "time": str(items["time"].attrs["units"]),
            **{n: str(own[n].attrs["units"]) for n in own},
        },
        mesh,
        str(file.attrs["title"]),
        _text(file, "pde"),
        provenance,
        splits,
    )
    _check(items, header)
    return header


def _check(items: Mapping[str, Any], header: Header) -> None:
    """ValueError unless all arrays have the sizes and kinds that the header gives them."""
    made = header.provenance
    tables = {"pde": header.pde, "provenance": made}
    if isinstance(made, dict):
        tables |= {name: made.get(name, {}) for name in ("options", "versions")}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"{name!r} is {table!r:.40}, no table")
    lines = {"sample": header.numbers, "time": header.times}
    lines |= {axis.name: axis.points for axis in header.axes}
    for name, line in lines.items():
        kind = "iu" if name == "sample" else "fiu"
        if line.ndim != 1 or line.dtype.kind not in kind or not np.isfinite(line).all():
            raise ValueError(
                f"{name!r} is no list of finite numbers, but {line.shape} {line.dtype}"
            )
    if not header.fields or not len(header.times):
        raise ValueError("it has no field or no time")
    expected: dict[str, tuple[int, ...]] = {}
    for info in header.fields:
        if not is_number(info.dtype) or info.dtype.kind not in "fc":
            raise ValueError(f"{info.name!r} has the dtype {info.dtype}")
        expected |= {p.name: header.stored_shape(info) for p in parts(info)}
    for name, _, _ in columns(header):
        expected[name] = (header.parameters[name],) if header.parameters.get(name) else ()
    expected["message"] = (MESSAGE_BYTES,)
    for name, row in expected.items():
        data = items[name]
        if data.shape != (header.samples, *row):
            raise ValueError(f"{name!r} has shape {data.shape}, not {(header.samples, *row)}")
        if name != "message" and not is_number(data.dtype):
            raise ValueError(f"{name!r} has the dtype {data.dtype}")
    mesh = header.mesh
    if mesh is not None:
        inside = mesh.cells.ndim == 2 and mesh.cells.dtype.kind in "iu"
        inside = inside and bool(((mesh.cells >= 0) & (mesh.cells < len(mesh.coords))).all())
        if not inside or header.space != (len(mesh.coords),) or not np.isfinite(mesh.coords).all():
            raise ValueError(f"cells {mesh.cells.shape} and nodes {mesh.coords.shape} do not fit")


def _axis(data: Any, name: str) -> Axis:
    if name == "node":
        return Axis("node", np.arange(len(data), dtype=float))
    attributes = data.attrs
    length = attributes.get("length")
    return Axis(
        name,
        data[()],
        str(attributes["units"]),
        bool(attributes["periodic"]) if "periodic" in attributes else None,
        None if length is None else float(length),
    )


def _origin(header: Header) -> Mapping[str, Any]:
    """What a converted file says of its source."""
    options = header.provenance.get("options", {})
    return options if "converted_from" in options else {}


def _text(file: Any, name: str) -> Any:
    text = file.attrs[name] if name in file.attrs else file[name][()]
    return json.loads(text)


def _plain(value: Any) -> Any:
    """An attribute as JSON data."""
    value = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
    try:
        json.dumps(value)
    except TypeError:
        return str(value)
    return value
