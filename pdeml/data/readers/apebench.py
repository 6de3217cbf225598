"""APEBench (Koehler et al. 2024, NeurIPS Datasets): NAME.json, NAME_train.npy, NAME_test.npy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pdeml.data.concatenated import concatenate
from pdeml.data.description import KEY, parsed, refined
from pdeml.data.readers.stored import Place, StoredArrays, assemble
from pdeml.data.readers.variables import Variable, npy_array, variables
from pdeml.data.source import Source
from pdeml.errors import InvalidDataset

PARTS = ("train", "test")
SPACE = ("x", "y", "z")
LONGEST_JSON = 64 * 2**20  # bytes


def read(path: Path, file: Any, **_: Any) -> Source | None:
    """The source of the json file of a scenario, of one of its arrays, or of its folder.

    Raises
    ------
    InvalidDataset
        An array of the scenario is missing or has another shape, or a folder holds several.
    """
    if file is not None:
        return None
    if path.is_dir():
        return _folder(path)
    scenario = _scenario(path)
    if scenario is not None:
        arrays = {p: path.with_name(f"{path.stem}_{p}.npy") for p in PARTS}
        return _source(path, scenario, {p: a for p, a in arrays.items() if a.is_file()})
    for part in PARTS:  # an array beside its json file
        stem = path.stem.removesuffix(f"_{part}")
        beside = path.with_name(f"{stem}.json")
        if stem != path.stem and beside.is_file():
            scenario = _scenario(beside)
            return None if scenario is None else _source(beside, scenario, {part: path})
    return None


def _folder(path: Path) -> Source | None:
    scenarios = [p for p in sorted(path.glob("*.json")) if p.is_file() and _scenario(p)]
    if len(scenarios) > 1:
        raise InvalidDataset(
            f"{str(path)!r} holds {len(scenarios)} scenarios of APEBench; open one of them: "
            f"{', '.join(p.name for p in scenarios[:10])}."
        )
    return read(scenarios[0], None) if scenarios else None


def _scenario(path: Path) -> dict[str, Any] | None:
    """The description of a scenario; None where the file is none."""
    with path.open("rb") as stream:
        if not stream.read(64).lstrip().startswith(b"{"):
            return None
        stream.seek(0)
        text = stream.read(min(LONGEST_JSON, path.stat().st_size))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fits = "name" in content and isinstance(content.get("info"), Mapping)
    return content if fits else None


def _source(path: Path, scenario: dict[str, Any], arrays: dict[str, Path]) -> Source:
    if not arrays:
        raise InvalidDataset(
            f"{str(path)!r} describes a scenario of APEBench, but {path.stem}_train.npy and "
            f"{path.stem}_test.npy are not beside it; copy them there."
        )
    found = {part: _variable(name) for part, name in arrays.items()}
    frames = {v.shape[1] for v in found.values()}
    notes = []
    if len(frames) > 1:
        listed = ", ".join(f"{part} {v.shape[1]}" for part, v in found.items())
        notes.append(
            f"frames differ ({listed}): the first {min(frames)} of all are read; open one array "
            "alone for all of its frames"
        )
    content = parsed(json.dumps(scenario[KEY])) if KEY in scenario else {}
    sources = [_part(scenario["info"], content, v, min(frames), notes) for v in found.values()]
    ends = np.cumsum([0, *(source.contents.samples for source in sources)])
    whole = concatenate(sources)
    # an only part is no split
    bounds = zip(found, ends, ends[1:], strict=False)
    splits = {p: np.arange(a, b) for p, a, b in bounds} if len(found) > 1 else {}
    whole.contents.splits = splits
    whole.contents = refined(whole.contents, content)
    _add_parameters(whole, content)
    return whole


def _variable(path: Path) -> Variable:
    found = variables(path, None)
    array = found[0].get("array") if found else None
    if array is None or not 4 <= len(array.shape) <= 6:
        raise InvalidDataset(
            f"{str(path)!r} is no npy array (sample, time, channel, *space)"
            + (f": its shape is {array.shape}." if array is not None else ".")
        )
    return Variable(str(path), array.name, array.shape, array.dtype, npy_array)


def _part(
    info: Mapping[str, Any],
    content: dict[str, Any],
    variable: Variable,
    frames: int,
    notes: list[str],
) -> StoredArrays:
    _, stored, channels, *space = variable.shape
    names = [str(a["name"]) for a in content.get("axes", ())]
    axes = names if len(names) == len(space) else list(SPACE[: len(space)])
    points, times = _grid(info, axes, space), _times(info, stored)
    if content:
        points = {a: _floats(content["axes"][k], "points", points[a]) for k, a in enumerate(axes)}
        times = _floats(content, "times", times)
    fields = {str(f["name"]): list(map(str, f["components"])) for f in content.get("fields", ())}
    if sum(map(len, fields.values())) != channels:
        fields = {"u": ["u"] if channels == 1 else [f"u_{i}" for i in range(channels)]}
    places, stop = {}, 0
    for name, components in fields.items():
        start, stop = stop, stop + len(components)
        places[name] = Place((variable,), ("n", "t", "c", *axes), slice(start, stop))
    source = assemble(
        "APEBench",
        places,
        axes,
        points=points,
        times=times,
        components=fields,
        periodic=dict.fromkeys(axes, True) if not content else {},
        attributes={"info": dict(info)},
        notes=notes,
    )
    source.contents.times = source.contents.times[:frames]
    return source


def _number(info: Mapping[str, Any], name: str, default: float) -> float:
    value = info.get(name)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e300
    return float(value) if usable else default  # type: ignore[arg-type]


def _grid(info: Mapping[str, Any], axes: list[str], space: list[int]) -> dict[str, np.ndarray]:
    """Periodic axes of the scenario's extent, without the end point."""
    extent = _number(info, "domain_extent", 1.0)
    return {a: extent * np.arange(n) / n for a, n in zip(axes, space, strict=True)}


def _times(info: Mapping[str, Any], frames: int) -> np.ndarray:
    return _number(info, "dt", 1.0) * np.arange(frames)


def _floats(table: Mapping[str, Any], key: str, default: np.ndarray) -> np.ndarray:
    values = np.asarray(table.get(key, default), dtype=np.float64)
    if values.shape != default.shape or not np.isfinite(values).all():
        raise InvalidDataset(
            f"{KEY!r} has {key!r} of the shape {values.shape}; the data have {default.shape}."
        )
    return values


def _add_parameters(source: Source, content: dict[str, Any]) -> None:
    samples = source.contents.samples
    for name, values in content.get("parameter_values", {}).items():
        array = np.asarray(values, dtype=np.float64)
        if array.shape[:1] != (samples,) or array.ndim > 2:
            raise InvalidDataset(f"{KEY!r} has {len(array)} values of {name!r}, not {samples}.")
        source.contents.parameters[str(name)] = array
