"""Are the data those that were written? Checksums of every finished sample, recomputed."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pdeml.data.layout import parts
from pdeml.data.source import EMPTY, FAILED, FINISHED, Source
from pdeml.errors import InvalidDataset


@dataclass
class Verification:
    """What `pdeml.data.verify` found.

    Attributes
    ----------
    ok : nothing is wrong.
    checked : how many finished samples were read.
    bad : their faults, by number of the sample: ``{17: "u: checksum"}``.
    empty, failed : samples that are not finished.
    checksums : False where the layout has none: then values are tested for NaN and infinity alone.
    """

    ok: bool
    checked: int
    bad: dict[int, str] = field(default_factory=dict)
    empty: int = 0
    failed: int = 0
    checksums: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "bad": {str(k): v for k, v in self.bad.items()}}

    def __str__(self) -> str:
        kind = "checksums" if self.checksums else "NaN and infinity (the layout has no checksums)"
        text = f"{self.checked} finished samples read, tested by {kind}: "
        text += "all good" if self.ok else f"{len(self.bad)} bad"
        listed = [f"\n  sample {number}: {why}" for number, why in sorted(self.bad.items())]
        rest = f"\n{self.empty} empty, {self.failed} failed" if self.empty or self.failed else ""
        return text + "".join(listed) + rest


def verify(path: str | os.PathLike[str], **options: Any) -> Verification:
    """Read every finished sample and recompute its checksums.

    Parameters
    ----------
    **options : of `pdeml.data.open`.

    Raises
    ------
    InvalidDataset
        The file cannot be read at all.
    """
    from pdeml.data.opening import open as open_dataset

    return verified(open_dataset(path, **options).source)


def verified(source: Source) -> Verification:
    """`verify` of an opened source."""
    contents = source.contents
    status = contents.status
    if status is None:
        status = np.full(contents.samples, FINISHED)
    rows = np.flatnonzero(status == FINISHED)
    bad: dict[int, str] = {}
    for row in rows.tolist():
        faults = list(_faults(source, row))
        if faults:
            bad[row] = "; ".join(faults)
    return Verification(
        not bad,
        len(rows),
        bad,
        int((status == EMPTY).sum()),
        int((status == FAILED).sum()),
        bool(contents.checksums),
    )


def wrong_rows(source: Source, rows: np.ndarray) -> np.ndarray:
    """Those of some finished samples whose data are not what was written."""
    return np.array([row for row in rows.tolist() if any(_faults(source, row))], dtype=np.int64)


def _faults(source: Source, row: int) -> Iterator[str]:
    contents = source.contents
    span = slice(0, len(contents.times), 1)
    for info in contents.fields:
        try:
            values = np.asarray(source.window(info.name, row, span))
        except (OSError, RuntimeError, InvalidDataset) as error:
            yield f"{info.name}: unreadable ({error})"
            continue
        for part in parts(info):
            if part.name in contents.checksums:
                if zlib.crc32(part.of(values)) != contents.checksums[part.name][row]:
                    yield f"{part.name}: checksum"
            elif not np.isfinite(values).all():
                yield f"{info.name}: NaN or infinite"
                break
