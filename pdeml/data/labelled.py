"""Data sets with labels: xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray

    from pdeml.data.dataset import Dataset


def to_xarray(dataset: Dataset) -> xarray.Dataset:
    """A view in memory: dimensions sample, time, component_<field> where there are several, space.

    Parameters are coordinates of ``sample``, whose values are the numbers of the samples.
    """
    import xarray

    contents = dataset.contents
    unit = contents.units.get("time", "1")
    coordinates: dict[str, Any] = {
        "sample": ("sample", np.asarray(dataset.samples), {"long_name": "number of the sample"}),
        "time": ("time", dataset.times.numpy(), {"axis": "T", "units": unit, "long_name": "time"}),
    }
    for letter, axis in zip("XYZ", dataset.axes, strict=False):
        attributes: dict[str, Any] = {"axis": letter, "units": axis.units, "long_name": axis.name}
        if axis.periodic is not None:
            attributes["periodic"] = int(axis.periodic)
        if axis.length is not None:
            attributes["length"] = axis.length
        coordinates[axis.name] = (axis.name, axis.points, attributes)
    for name, values in dataset.parameters.items():
        own = ("sample", f"entry_{name}")[: values.dim()]
        coordinates[name] = (own, values.numpy(), {"units": contents.units.get(name, "1")})
    if dataset.mesh is not None:
        for letter, column in zip("xyz", dataset.mesh.coords.T, strict=False):
            coordinates[f"node_{letter}"] = ("node", column)
    variables = {}
    for name in dataset.fields:
        info = dataset.field(name)
        array = dataset.read(fields=name).numpy()
        dims = ["sample", "time", f"component_{name}", *(a.name for a in dataset.axes)]
        if len(info.components) == 1:
            array = array[:, :, 0]
            dims.pop(2)
        else:
            coordinates[dims[2]] = (dims[2], list(info.components))
        if info.static:
            array = array[:, 0]
            dims.remove("time")
        labels = {"units": info.units, "long_name": info.long_name or name}
        variables[name] = (dims, array, labels)
    attributes = {"layout": dataset.layout}
    title = contents.attributes.get("title")
    return xarray.Dataset(variables, coordinates, {**attributes, "title": title or ""})
