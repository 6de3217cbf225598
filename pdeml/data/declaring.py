"""What a user says of a data set, as the header that is stored."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pdeml.data.chunked import parts_folder
from pdeml.data.source import Axis, FieldInfo
from pdeml.errors import InvalidOption
from pdeml.operators.pde import PDE

DTYPES = ("float32", "float64", "complex64", "complex128")


def fields_of(given: Mapping[str, Any] | Sequence[FieldInfo]) -> tuple[FieldInfo, ...]:
    """Fields from dtypes by name, or as they are.

    Raises
    ------
    InvalidOption
        There is none, or a dtype is not accepted.
    """
    infos = given.items() if isinstance(given, Mapping) else ((f.name, f) for f in given)
    out = []
    for name, value in infos:
        info = value if isinstance(value, FieldInfo) else _field(name, value)
        if info.dtype.name not in DTYPES:
            raise InvalidOption(
                f"field {name!r} has dtype {info.dtype}; give one of {', '.join(DTYPES)}."
            )
        out.append(info)
    if not out:
        raise InvalidOption('a data set needs a field: fields={"u": "f4"}.')
    channels = [c for f in out for c in f.components]
    twice = sorted({c for c in channels if channels.count(c) > 1})
    if twice:
        raise InvalidOption(
            f"two channels are named {twice[0]!r}; components need their own names."
        )
    return tuple(out)


def _field(name: str, dtype: Any) -> FieldInfo:
    try:
        return FieldInfo(name, np.dtype(str(dtype).removeprefix("torch.")))
    except TypeError:
        raise InvalidOption(
            f"field {name!r} is given the dtype {dtype!r}; give one of {', '.join(DTYPES)}."
        ) from None


def axes_of(given: Mapping[str, Any] | Sequence[Axis]) -> tuple[Axis, ...]:
    """Space axes from points by name, or as they are; points must increase."""
    items = given.items() if isinstance(given, Mapping) else ((a.name, a) for a in given)
    axes = []
    for name, value in items:
        axis = value if isinstance(value, Axis) else Axis(name, np.asarray(value, dtype=np.float64))
        points = axis.points
        if points.ndim != 1 or not len(points) or not np.isfinite(points).all():
            raise InvalidOption(f"axis {name!r} has shape {points.shape}; give its points (n,).")
        if (np.diff(points) <= 0).any():
            raise InvalidOption(f"the points of axis {name!r} do not increase.")
        axes.append(axis)
    if len(axes) > 3:
        raise InvalidOption(f"{len(axes)} space axes are given; at most 3 are accepted.")
    return tuple(axes)


def check_times(times: np.ndarray) -> None:
    """InvalidOption unless there is a time and they increase."""
    if not len(times) or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise InvalidOption(f"times={times!r:.80}: give one or more numbers that increase.")


def described(pde: PDE) -> dict[str, str]:
    """A declaration as data: JSON that `PDE.from_json` reads without running code, and LaTeX."""
    return {"name": pde.name, "declaration": pde.to_json(), "latex": pde.latex()}


def provenance(
    seed: int, options: Mapping[str, Any], parameters: Sequence[str], command: str | None
) -> dict[str, Any]:
    """Where data come from: seed root, options, versions, revision, command; no host name.

    Raises
    ------
    InvalidOption
        An option is no plain data.
    """
    import h5py

    from pdeml import __version__

    out: dict[str, Any] = {
        "seed": seed,
        "options": {str(k): _json(k, v) for k, v in options.items()},
        "parameters": list(parameters),
        "versions": {
            "pdeml": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "python": platform.python_version(),
        },
        "revision": _revision(),
    }
    return out if command is None else {**out, "command": command}


def _json(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _json(name, v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(name, v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InvalidOption(f"option {name!r} is {value!r:.60}; give numbers, words, lists or tables.")


@functools.cache
def _revision() -> str | None:
    """The commit of the source tree that is imported, None of an installed package."""
    folder = Path(__file__).parent
    try:
        run = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip() or None


def shard_numbers(samples: int | None, shard: tuple[int, int] | None, block: int) -> np.ndarray:
    """Numbers of the samples of one share: whole blocks, contiguous, shares as equal as can be."""
    if samples is None:
        return np.arange(0)
    if shard is None:
        return np.arange(samples)
    i, n = shard
    blocks = -(-samples // block)
    if not 0 <= i < n or n > blocks:
        raise InvalidOption(
            f"shard={i}/{n}: give i from 0 to n − 1, and at most {blocks} shards: there are "
            f"{samples} samples in blocks of {block}."
        )
    first, last = (blocks * k // n * block for k in (i, i + 1))
    return np.arange(first, min(last, samples))


def shard_path(target: Path, shard: tuple[int, int]) -> Path:
    """The file of a share, in the folder of parts of the whole."""
    return parts_folder(target) / f"shard-{shard[0]:04d}-of-{shard[1]:04d}.h5"
