"""Several sources on one grid, one after another, as one."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from pdeml.data.source import FINISHED, Contents, Source
from pdeml.errors import InvalidDataset


class Concatenated:
    """The samples of several sources, in their order.

    Raises
    ------
    InvalidDataset
        Fields, grids, times or parameters differ; the message names the file and what differs.
    """

    def __init__(self, sources: Sequence[Source], layout: str | None = None):
        if not sources:
            raise InvalidDataset("there is no file to read; give at least one.")
        first = sources[0].contents
        for source in sources[1:]:
            what = _difference(first, source.contents)
            if what:
                raise InvalidDataset(
                    f"{_name(source)} differs from {_name(sources[0])} in {what}; files that are "
                    "read as one data set must share it. Open them one by one."
                )
        self._sources = tuple(sources)
        parts = [source.contents for source in sources]
        self._ends = np.cumsum([p.samples for p in parts]).tolist()
        status = None
        if any(p.status is not None for p in parts):
            status = np.concatenate(
                [np.full(p.samples, FINISHED) if p.status is None else p.status for p in parts]
            )
        common = set.intersection(*(set(p.checksums) for p in parts))
        self.contents = dataclasses.replace(
            first,
            layout=layout or first.layout,
            samples=self._ends[-1],
            parameters={
                name: np.concatenate([p.parameters[name] for p in parts])
                for name in first.parameters
            },
            status=status,
            checksums={n: np.concatenate([p.checksums[n] for p in parts]) for n in sorted(common)},
            splits={},
            notes=list(dict.fromkeys(note for p in parts for note in p.notes)),
        )

    def window(self, field: str, sample: int, times: slice) -> np.ndarray:
        part = bisect.bisect_right(self._ends, sample)
        first = self._ends[part - 1] if part else 0
        return self._sources[part].window(field, sample - first, times)

    def files(self) -> Mapping[str, int]:
        return {path: size for source in self._sources for path, size in source.files().items()}


def concatenate(sources: Sequence[Source], layout: str | None = None) -> Source:
    """Several sources as one; a single one is itself."""
    return sources[0] if len(sources) == 1 and layout is None else Concatenated(sources, layout)


def _name(source: Source) -> str:
    return repr(next(iter(source.files()), source.contents.layout))


def _difference(one: Contents, other: Contents) -> str | None:
    if one.fields != other.fields:
        return f"its fields ({', '.join(f.name for f in other.fields)})"
    if one.space != other.space:
        return f"its points ({'×'.join(map(str, other.space))})"
    for a, b in zip(one.axes, other.axes, strict=True):
        if a.name != b.name or not np.allclose(a.points, b.points, rtol=1e-6, atol=1e-12):
            return f"the axis {b.name!r}"
    if len(one.times) != len(other.times) or not np.allclose(one.times, other.times, rtol=1e-6):
        return "its times"
    if set(one.parameters) != set(other.parameters):
        return f"its parameters ({', '.join(other.parameters) or 'none'})"
    return None
