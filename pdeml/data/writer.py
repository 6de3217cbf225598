"""Samples that outlive a killed run."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from pdeml.data.checking import wrong_rows
from pdeml.data.checksums import begun, checksums
from pdeml.data.chunked import Parts, parts_folder
from pdeml.data.declaring import (
    axes_of,
    check_times,
    described,
    fields_of,
    provenance,
    shard_numbers,
    shard_path,
)
from pdeml.data.handles import release
from pdeml.data.layout import MESSAGE_BYTES, Header, columns, parts
from pdeml.data.lock import Lock
from pdeml.data.merging import merge
from pdeml.data.preallocated import DURABILITY, Preallocated
from pdeml.data.readers.native import Native, part_files
from pdeml.data.resuming import check_same
from pdeml.data.seeds import sample_seeds
from pdeml.data.signals import Deferred
from pdeml.data.source import EMPTY, FAILED, FINISHED, Axis, FieldInfo, MeshArrays
from pdeml.data.statistics import stored_statistics
from pdeml.data.values import parameter_array, stored_array, value_array
from pdeml.errors import InvalidDataset, InvalidOption
from pdeml.operators.pde import PDE

COMPRESSIONS = (None, "gzip", "lzf")
VERIFY = ("last", "all", "none")


class Writer:
    """Write a data set sample by sample; an interrupted run loses no finished sample and goes on.

    Parameters
    ----------
    path : of the HDF5 file, of the own layout (`pdeml.data.layout`).
    fields : dtypes by name (``{"u": "f4"}``), or `FieldInfo` for vectors, units, static fields.
    times : (T,) of the stored frames.
    axes : points by name (``{"x": points}``), or `Axis` each with units and period.
    samples : how many; None where that is not known (append).
    pde : the declaration, kept with the data.
    parameters : names of what differs between samples; a mapping gives numbers per sample, 0 for a
        scalar.
    units : of parameters and of ``"time"``.
    seed : root of the seeds, an integer in [0, 2⁶³); sample i has the seed BLAKE2b(seed, i).
    options : of the solver; a run that continues must have the same.
    splits : index vectors ``train``, ``valid``, ``test`` to store.
    mesh : of irregular data; the axis is ``node``.
    resume : ``"auto"`` continues a file that is there, True demands one, False refuses one.
    verify : of what is continued: recompute the checksum of the ``"last"`` finished sample, of
        ``"all"``, or of ``"none"``; samples that fail are computed again, with a warning.
    durability : ``"power"``: a commit that has returned is on the disk. ``"process"``: it outlives
        the process, not a loss of power; faster.
    compression : None, ``"gzip"``, ``"lzf"``. Compressed data and those of unknown number are kept
        as one part file per commit until `finalize`.
    shard : (i, n): write the i-th of n shares of the samples, 0 ≤ i < n, to a file of its own;
        `pdeml.data.merge` makes one file of all.
    block : shards hold whole blocks of so many samples.

    Attributes
    ----------
    header : the description that is stored.
    status : (S,) of EMPTY, FINISHED, FAILED, for the samples `numbers` of this writer.

    Raises
    ------
    DatasetMismatch
        The file that is there has another problem, grid, seed or option; it is named.
    DatasetLocked
        Another process writes this file.
    OutputError
        There is not enough space, or no permission.
    InvalidOption
        A description that cannot be stored.

    Notes
    -----
    A commit writes the values, then parameters, checksums and seeds, then (after fsync) that the
    samples are finished. Everything has its place in the file beforehand, so that no metadata
    changes. In a ``with`` block Ctrl-C and SIGTERM wait for the commit that is going on, and raise
    KeyboardInterrupt and SystemExit.

    Examples
    --------
    >>> with pdeml.data.Writer("ks.h5", fields={"u": "f4"}, times=t, axes={"x": x}, samples=1024,
    ...                        pde=problem, seed=0) as writer:
    ...     for ids in writer.pending(batch=64):
    ...         writer.commit(ids, u=solve(writer.seeds(ids)))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fields: Mapping[str, Any] | Sequence[FieldInfo],
        times: Any,
        axes: Mapping[str, Any] | Sequence[Axis],
        samples: int | None = None,
        pde: PDE | None = None,
        parameters: Sequence[str] | Mapping[str, int] = (),
        units: Mapping[str, str] | None = None,
        seed: int = 0,
        title: str = "",
        options: Mapping[str, Any] | None = None,
        command: str | None = None,
        splits: Mapping[str, Any] | None = None,
        mesh: MeshArrays | None = None,
        resume: bool | str = "auto",
        verify: str = "last",
        durability: str = "power",
        compression: str | None = None,
        shard: tuple[int, int] | None = None,
        block: int = 1,
    ):
        for name, given, accepted in (
            ("compression", compression, COMPRESSIONS),
            ("resume", resume, ("auto", True, False)),
            ("verify", verify, VERIFY),
            ("durability", durability, DURABILITY),
        ):
            if given not in accepted:
                listed = ", ".join(map(repr, accepted))
                raise InvalidOption(f"{name}={given!r}: give one of {listed}.")
        if samples is not None and (not isinstance(samples, int) or samples < 1):
            raise InvalidOption(f"samples={samples!r}: give a positive integer, or None to append.")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise InvalidOption(f"seed={seed!r}: give an integer between 0 and 2**63 - 1.")
        self._target = Path(path)
        self._compression = compression
        self._in_parts = samples is None or compression is not None
        if shard is not None and self._in_parts:
            raise InvalidOption("shards are not compressed, and their number of samples is known.")
        self.seed = seed
        self._total = samples
        sizes = parameters if isinstance(parameters, Mapping) else dict.fromkeys(parameters, 0)
        self.header = Header(
            numbers=shard_numbers(samples, shard, block),
            fields=fields_of(fields),
            axes=axes_of(axes),
            times=np.asarray(times, dtype=np.float64).reshape(-1),
            parameters=dict(sizes),
            units=dict(units or {}),
            mesh=mesh,
            title=title or (pde.description or pde.name if pde is not None else ""),
            pde={} if pde is None else described(pde),
            provenance=provenance(seed, options or {}, list(sizes), command),
            splits={n: np.asarray(i, dtype=np.int64) for n, i in (splits or {}).items()},
        )
        check_times(self.header.times)
        self._parts = {f.name: parts(f) for f in self.header.fields}
        self._infos = {f.name: f for f in self.header.fields}
        self._signals = Deferred()
        self.path = self._target if shard is None else shard_path(self._target, shard)
        self._lock: Lock | None = Lock(self.path)
        try:
            self._storage = self._opened(resume, durability)
            self._verify(verify)
        except BaseException:
            self._lock.release()
            raise

    # ------------------------------------------------------------------------- open and resume

    def _opened(self, resume: bool | str, durability: str) -> Preallocated | Parts:
        folder = parts_folder(self._target)
        there = self.path.exists() or (self._in_parts and bool(part_files(folder)))
        if there and resume is False:
            raise InvalidOption(
                f"{str(self.path)!r} is there already. Continue it (resume), remove it, or give "
                "another path."
            )
        if resume is True and not there:
            raise InvalidOption(f"there is no {str(self.path)!r} to continue.")
        if there:
            self._check_stored(folder)
        if self._in_parts and not self.path.exists():
            open_end = self._total is None
            return Parts(self._target, self.header, self._compression, open_end)
        if not there:
            Preallocated.make(self.path, self.header)
        storage = Preallocated(self.path, durability)
        return storage

    def _check_stored(self, folder: Path) -> None:
        """Refuse a file, or parts, of another data set."""
        whole = self.path.exists()
        path = self.path if whole else part_files(folder)[0]
        release(path)
        stored = Native.at(path).header
        if whole and self._total is None:
            raise InvalidOption(
                f"{str(path)!r} is finalized; its number of samples is fixed. Give another path."
            )
        check_same(stored, self.header, path, parts=not whole)

    def _verify(self, how: str) -> None:
        """Samples whose checksum is wrong are empty again."""
        finished = np.flatnonzero(self.status == FINISHED)
        rows = {"last": finished[-1:], "all": finished, "none": finished[:0]}[how]
        bad = np.array([], dtype=np.int64)
        if len(rows) and isinstance(self._storage, Preallocated):
            bad = wrong_rows(Native.at(self.path), rows)
        elif len(rows):
            for path in part_files(parts_folder(self._target)):
                part = Native.at(path)
                held = np.flatnonzero(np.isin(part.header.numbers, rows))
                bad = np.append(bad, part.header.numbers[wrong_rows(part, held)])
        if len(bad):
            warnings.warn(
                f"{len(bad)} finished samples of {str(self.path)!r} have wrong checksums (first: "
                f"{self.header.numbers[bad[0]]}) and are computed again.",
                stacklevel=4,
            )
            self._storage.reset(bad)

    # ------------------------------------------------------------------------- the work

    @property
    def status(self) -> np.ndarray:
        return self._storage.status

    @property
    def numbers(self) -> np.ndarray:
        """Numbers of the samples of this writer."""
        return self._storage.header.numbers

    @property
    def finished(self) -> int:
        """How many samples are finished."""
        return int((self.status == FINISHED).sum())

    @property
    def complete(self) -> bool:
        """Every sample is finished or has failed."""
        return self._total is not None and bool((self.status != EMPTY).all())

    def pending(self, batch: int = 1, retry_failed: bool = True) -> Iterator[np.ndarray]:
        """Numbers of the samples that are to be computed, in arrays of at most `batch`.

        Batches are aligned to multiples of `batch`, so that a run that continues has those of the
        first one. Where the number of samples is unknown there is always a next batch.

        Parameters
        ----------
        retry_failed : those that failed before come again, once.
        """
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise InvalidOption(f"batch={batch!r}: give a positive integer.")
        if self._total is None:
            while True:
                first = len(self.status)
                yield np.arange(first, first + batch)
        again = self.status == FAILED if retry_failed else np.zeros(len(self.status), bool)
        todo = self.numbers[(self.status == EMPTY) | again]
        for number in np.unique(todo // batch):
            yield todo[todo // batch == number]

    def seeds(self, ids: Any) -> np.ndarray:
        """Seeds (B,) uint64 of samples: functions of the root seed and their numbers alone."""
        return sample_seeds(self.seed, np.atleast_1d(ids))

    def commit(self, ids: Any, *, wall_time: float = 0.0, **values: Any) -> None:
        """Write finished samples.

        Parameters
        ----------
        ids : a number, or (B,).
        wall_time : seconds that these took together.
        **values : every field, (B, T, C, *space) or (B, T, *space) where it has one component
            (without T where it is static), tensors on any device or arrays; and every parameter,
            (B,), (B, P), or a number for all. For a single number the first axis may be left out.

        Raises
        ------
        InvalidDataset
            A value is missing or unknown, or has another shape or kind, NaN or infinite entries, or
            a sample does not belong to this writer or is finished already: nothing is written.
        OutputError
            The disk is full or refuses; finished samples are kept.
        """
        rows, order = self._rows(ids)
        known = {*self._infos, *self.header.parameters}
        if known != set(values):
            raise InvalidDataset(
                f"commit is given {', '.join(sorted(values)) or 'nothing'}; give exactly "
                f"{', '.join(sorted(known))}."
            )
        if (self.status[rows[rows < len(self.status)]] == FINISHED).any():
            raise InvalidDataset(f"a sample of {np.atleast_1d(ids)} is finished already.")
        arrays: dict[str, np.ndarray] = {}
        for name, info in self._infos.items():
            array = value_array(self.header, info, values[name], len(rows))[order]
            for part in self._parts[name]:
                arrays[part.name] = stored_array(info, part, array)
        own = {
            name: parameter_array(name, values[name], len(rows), count)[order]
            for name, count in self.header.parameters.items()
        }
        own["wall_time"] = np.full(len(rows), wall_time / len(rows))
        with self._signals, begun(arrays) as sums:
            self._storage.write(rows, arrays, lambda: {**self._columns(rows, sums()), **own})

    def fail(self, ids: Any, message: str) -> None:
        """Mark samples as failed, with the reason; their values are NaN."""
        rows, _ = self._rows(ids)
        arrays = {
            p.name: np.full((len(rows), *self.header.stored_shape(f)), np.nan, p.dtype)
            for f in self.header.fields
            for p in parts(f)
        }
        entries = self._columns(rows, {n: checksums(array) for n, array in arrays.items()})
        text = message.encode("utf-8", "replace")[:MESSAGE_BYTES]
        padded = np.frombuffer(text.ljust(MESSAGE_BYTES, b"\0"), "S1")
        entries["message"] = np.tile(padded, (len(rows), 1))
        for name, count in self.header.parameters.items():
            entries[name] = np.full((len(rows), count) if count else len(rows), np.nan)
        with self._signals:
            self._storage.write(rows, arrays, lambda: entries, FAILED)

    def _rows(self, ids: Any) -> tuple[np.ndarray, np.ndarray | slice]:
        """Rows of the file in increasing order, and the order that sorts the given ones."""
        given = np.atleast_1d(np.asarray(ids))
        fits = given.ndim == 1 and given.size > 0 and given.dtype.kind in "iu"
        order: np.ndarray | slice = slice(None)  # no copy where they are in order
        if fits:
            if (np.diff(given) < 0).any():
                order = np.argsort(given, kind="stable")
            numbers = given[order].astype(np.int64)
            fits = bool((np.diff(numbers) > 0).all())
        if fits and self._total is None:
            return numbers, order
        if fits:
            rows = np.searchsorted(self.numbers, numbers)
            inside = rows < len(self.numbers)
            if inside.all() and (self.numbers[rows] == numbers).all():
                return rows, order
        span = f"{self.numbers[0]} … {self.numbers[-1]}" if len(self.numbers) else "0, 1, …"
        raise InvalidDataset(
            f"ids={ids!r:.80}: give distinct numbers of samples of this writer ({span})."
        )

    def _columns(self, rows: np.ndarray, sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Checksums, seeds and an empty message; parameters are added by the caller."""
        numbers = rows if self._total is None else self.numbers[rows]
        out = {f"crc32_{name}": found for name, found in sums.items()}
        out["seed"] = self.seeds(numbers)
        out["wall_time"] = np.zeros(len(rows))
        out["message"] = np.zeros((len(rows), MESSAGE_BYTES), "S1")
        assert {n for n, _, _ in columns(self.header)} - {"status"} >= set(out)
        return out

    # ------------------------------------------------------------------------- end

    def close(self) -> None:
        """Close the file; where all samples are done, with their statistics."""
        if self._lock is None:
            return
        try:
            with self._signals:
                if self.complete and isinstance(self._storage, Preallocated):
                    for name, figures in stored_statistics(self.path).items():
                        self._storage.put(name, np.array(figures))
                self._storage.close()
        finally:
            self._lock.release()
            self._lock = None

    def finalize(self) -> Path:
        """Close, and make one file of the parts where there are any; gives its path."""
        parted = isinstance(self._storage, Parts)
        self.close()
        return merge(self._target, compression=self._compression) if parted else self.path

    def __enter__(self) -> Self:
        self._signals.install()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            done = error is None and self.complete and isinstance(self._storage, Parts)
            if done:
                self.finalize()
            else:
                self.close()
        finally:
            self._signals.remove()
