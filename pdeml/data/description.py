"""What foreign layouts have no place for, as one text beside the data that their readers ignore.

Names of components, units, periods, stored splits and the declaration come back from an export of
pdeml through it. It is JSON; what does not fit the data is not used.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from pdeml.data.dataset import Dataset
from pdeml.data.source import Axis, Contents, FieldInfo
from pdeml.errors import InvalidDataset

KEY = "pdeml_description"
"""Name of the attribute, variable or entry."""

LONGEST = 20_000  # characters, where it is an attribute of HDF5


def describe(
    dataset: Dataset, fields: Sequence[FieldInfo], limit: int | None = None
) -> tuple[str, list[str]]:
    """The text, and what was left out of it because it would be too long.

    Parameters
    ----------
    dataset : a view; stored splits are those of its samples.
    fields : as they are written.
    limit : in characters.
    """
    contents = dataset.contents
    keys = ("title", "pde", "provenance")
    content: dict[str, Any] = {
        "fields": [
            {
                "name": info.name,
                "components": list(info.components),
                "units": info.units,
                "long_name": info.long_name,
                "static": info.static,
            }
            for info in fields
        ],
        "axes": [
            {"name": a.name, "units": a.units, "periodic": a.periodic, "length": a.length}
            for a in dataset.axes
        ],
        "parameters": list(contents.parameters),
        "units": dict(contents.units),
        "splits": {
            name: np.flatnonzero(np.isin(dataset.samples, index)).tolist()
            for name, index in contents.splits.items()
        },
        "attributes": {k: contents.attributes[k] for k in keys if contents.attributes.get(k)},
    }
    lost = []
    for key, what in (("splits", "the stored split"), ("attributes", "the declaration (pde)")):
        if limit is not None and content[key] and len(json.dumps(content)) > limit:
            content[key] = {}
            lost.append(f"{what} is too long for an attribute and is left out.")
    return json.dumps(content), lost


def parsed(text: Any) -> dict[str, Any]:
    """The content of a text; empty where there is none.

    Raises
    ------
    InvalidDataset
        It is no description.
    """
    if text is None:
        return {}
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    try:
        content = json.loads(text)
        names = [str(f["name"]) for f in content["fields"]] + [
            str(a["name"]) for a in content["axes"]
        ]
        dicts = [content["units"], content["splits"], content["attributes"]]
        lists = [f["components"] for f in content["fields"]]
        fits = all(isinstance(d, dict) for d in dicts) and all(isinstance(c, list) for c in lists)
        fits = fits and isinstance(content["attributes"].get("title", ""), str)
    except (TypeError, ValueError, KeyError, RecursionError):
        fits, names = False, []
    if not fits or len(set(names)) != len(names):
        raise InvalidDataset(
            f"{KEY!r} is no description by pdeml: JSON with distinct fields and axes, units, "
            "splits and attributes. Remove it, or copy the file again."
        )
    return content


def refined(contents: Contents, content: dict[str, Any]) -> Contents:
    """The contents with what the description adds."""
    if not content:
        return contents
    fields = {str(f["name"]): f for f in content["fields"]}
    axes = {str(a["name"]): a for a in content["axes"]}
    splits = {}
    for name, index in content["splits"].items():
        vector = np.asarray(index)
        whole = vector.ndim == 1 and (vector.dtype.kind == "i" or not vector.size)
        if name in ("train", "valid", "test") and whole:
            inside = vector.astype(np.int64)
            if ((inside >= 0) & (inside < contents.samples)).all():
                splits[name] = inside
    return dataclasses.replace(
        contents,
        fields=tuple(_field(info, fields.get(info.name)) for info in contents.fields),
        axes=tuple(_axis(axis, axes.get(axis.name)) for axis in contents.axes),
        units={**contents.units, **{str(k): str(v) for k, v in content["units"].items()}},
        splits=splits or contents.splits,
        attributes={**contents.attributes, **content["attributes"]},
    )


def _field(info: FieldInfo, more: dict[str, Any] | None) -> FieldInfo:
    if more is None or len(more["components"]) != len(info.components):
        return info
    return dataclasses.replace(
        info,
        components=tuple(map(str, more["components"]))
        if len(info.components) > 1
        else (info.name,),
        units=str(more.get("units", "1")),
        long_name=str(more.get("long_name", "")),
    )


def _axis(axis: Axis, more: dict[str, Any] | None) -> Axis:
    if more is None:
        return axis
    periodic, length = more.get("periodic"), more.get("length")
    return dataclasses.replace(
        axis,
        units=str(more.get("units", "1")),
        periodic=periodic if isinstance(periodic, bool) else None,
        length=float(length) if isinstance(length, int | float) else None,
    )
