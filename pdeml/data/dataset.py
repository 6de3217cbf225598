"""A data set of any layout: named fields on one grid, read when asked.

`Dataset` needs two things of a layout: a description (`pdeml.data.source.Contents`) and the window
of one field of one sample (`pdeml.data.source.Source.window`). So a reader of a foreign layout is
one file in `pdeml.data.readers`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pdeml import engine
from pdeml.data import resolution
from pdeml.data.source import FINISHED, SPLITS, Axis, Contents, FieldInfo, MeshArrays, Source
from pdeml.errors import InvalidDataset, InvalidOption, PdemlError

if TYPE_CHECKING:
    import xarray

    from pdeml.data.checking import Verification
    from pdeml.data.windows import Windows
    from pdeml.operators.pde import PDE

Index = int | slice | Sequence[int] | np.ndarray | Tensor | None


class Dataset:
    """A lazy view of the finished samples of a source.

    Attributes
    ----------
    fields : names; `channels` names the channels that they take, vectors having several.
    axes : `pdeml.data.source.Axis` of each space axis: points, units, period.
    times : (T,) in float64.
    parameters : values (S,) or (S, P) of what differs between samples, by name.
    shape : (S, T, C, *space).
    source : where it reads from; `contents` is its description.

    Notes
    -----
    A `Dataset` holds paths and indices, no open file, and can be sent to other processes. Samples
    that are empty or failed are left out.

    Examples
    --------
    >>> ds = pdeml.data.open("ks.h5")
    >>> u = ds.read(samples=[0, 5], times=slice(0, 100, 10), fields="u")  # (2, 10, 1, 512)
    >>> train, valid, test = ds.split((0.8, 0.1, 0.1), seed=0)
    """

    def __init__(
        self,
        source: Source,
        samples: np.ndarray | None = None,
        times: slice | None = None,
        fields: Sequence[str] | None = None,
        coarse: tuple[tuple[int, ...], str] | None = None,
    ):
        self.source = source
        contents = source.contents
        if samples is None:
            status = contents.status
            samples = np.arange(contents.samples)
            samples = samples if status is None else samples[status == FINISHED]
        self.samples = samples
        self._times = slice(0, len(contents.times), 1) if times is None else times
        known = {f.name: f for f in contents.fields}
        self._fields = contents.fields if fields is None else tuple(known[n] for n in fields)
        self._coarse = coarse

    # ---------------------------------------------------------------------------- description

    @property
    def contents(self) -> Contents:
        """The description of the whole source."""
        return self.source.contents

    @property
    def layout(self) -> str:
        """Name of the file layout."""
        return self.contents.layout

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(f.name for f in self._fields)

    def field(self, name: str) -> FieldInfo:
        """Dtype, components, units of a field.

        Raises
        ------
        InvalidOption
            There is none of that name; those that there are are listed.
        """
        return self._chosen(name)[0]

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(c for f in self._fields for c in f.components)

    @property
    def axes(self) -> tuple[Axis, ...]:
        axes = self.contents.axes
        return axes if self._coarse is None else resolution.coarse_axes(axes, *self._coarse)

    @property
    def mesh(self) -> MeshArrays | None:
        """Vertices and cells of irregular data."""
        return self.contents.mesh

    @property
    def times(self) -> Tensor:
        return torch.as_tensor(self.contents.times[self._times], dtype=torch.float64)

    @property
    def coords(self) -> dict[str, Tensor]:
        """Times and the points of each space axis, by name."""
        return {"time": self.times, **{a.name: torch.from_numpy(a.points) for a in self.axes}}

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {
            name: torch.as_tensor(values[self.samples])
            for name, values in self.contents.parameters.items()
        }

    params = parameters

    @property
    def shape(self) -> tuple[int, ...]:
        space = tuple(len(axis.points) for axis in self.axes)
        times = len(range(*self._times.indices(len(self.contents.times))))
        return (len(self), times, len(self.channels), *space)

    @property
    def dtype(self) -> torch.dtype:
        """Of what `read` gives: the common one of the fields."""
        return torch.from_numpy(np.empty(0, np.result_type(*(f.dtype for f in self._fields)))).dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all values that `read` would give."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def problem(self) -> PDE | None:
        """The declaration that made the data, where the file holds it."""
        from pdeml.operators.pde import PDE  # SymPy takes a second, which workers do not need

        stored = self.contents.attributes.get("pde")
        text = stored.get("declaration") if isinstance(stored, Mapping) else None
        return None if text is None else PDE.from_json(text)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        samples, times, channels, *space = self.shape
        return (
            f"Dataset({self.layout}, {samples} samples, {times} times, {channels} channels "
            f"({', '.join(self.channels)}), {'×'.join(map(str, space))} points)"
        )

    # ---------------------------------------------------------------------------- reading

    def read(
        self, samples: Index = None, times: Index = None, fields: str | Sequence[str] | None = None
    ) -> Tensor:
        """Values as one tensor.

        Parameters
        ----------
        samples, times : an index, a slice or a sequence of indices; negative ones count from the
            end; all by default.
        fields : names; all by default.

        Returns
        -------
        Tensor (batch, time, channel, *space)

        Raises
        ------
        InvalidOption
            An index out of range, or an unknown field.
        """
        rows = _indices(samples, len(self), "samples")
        chosen = self._chosen(fields)
        span, pick = self._span(_indices(times, self.shape[1], "times"))
        count = len(range(span.start, span.stop, span.step))
        kind = np.result_type(*(f.dtype for f in chosen))
        channels = sum(len(f.components) for f in chosen)
        out = np.empty((len(rows), count, channels, *self.contents.space), kind)
        first = 0
        for info in chosen:
            part = out[:, :, first : first + len(info.components)]
            for row in np.argsort(rows, kind="stable"):
                part[row] = self._window(info.name, int(self.samples[rows[row]]), span)
            first += len(info.components)
        values = torch.from_numpy(out)
        if pick is not None:
            values = values[:, pick]
        if self._coarse is not None:
            values = resolution.coarsened(values, *self._coarse)
        return values

    def _window(self, name: str, sample: int, span: slice) -> np.ndarray:
        try:
            return self.source.window(name, sample, span)
        except engine.READ_ERRORS as error:
            if isinstance(error, PdemlError):
                raise
            raise InvalidDataset(
                f"{name!r} of sample {sample} cannot be read ({error}): the file is damaged there; "
                "`pdeml verify` names all samples that are."
            ) from error

    def _chosen(self, fields: str | Sequence[str] | None) -> tuple[FieldInfo, ...]:
        if fields is None:
            return self._fields
        names = [fields] if isinstance(fields, str) else list(fields)
        known = {f.name: f for f in self._fields}
        missing = [name for name in names if name not in known]
        if missing or not names:
            raise InvalidOption(
                f"there is no field {missing[0] if missing else ''!r}; the fields are "
                f"{', '.join(known)}."
            )
        return tuple(known[name] for name in names)

    def _span(self, picked: np.ndarray) -> tuple[slice, np.ndarray | None]:
        """A slice of the source's times that covers some of the view's, and their places in it."""
        places = np.arange(len(self.contents.times))[self._times][picked]
        if not len(places):
            return slice(0, 0, 1), None
        steps = np.diff(places)
        step = int(steps[0]) if len(steps) else 1
        if step >= 1 and (steps == step).all():
            return slice(int(places[0]), int(places[-1]) + 1, step), None
        low = int(places.min())
        return slice(low, int(places.max()) + 1, 1), places - low

    @property
    def plan(
        self,
    ) -> tuple[tuple[FieldInfo, ...], tuple[tuple[int, ...], str] | None, np.ndarray, slice]:
        """How this view reads: fields, down-sampling, rows of the source, slice of its times."""
        return self._fields, self._coarse, self.samples, self._times

    def cached(self, device: str | torch.device = "cpu", *, limit: float | None = None) -> Dataset:
        """The same view with its values in memory, of the host or of a GPU.

        Parameters
        ----------
        device : where; windows are gathered there.
        limit : leave it on disk where it takes more than this part of the free memory.
        """
        from pdeml.data.memory import fits, loaded

        target = engine.resolve_device(device)
        if limit is not None and not fits(self.nbytes, target, limit):
            return self
        return Dataset(loaded(self, target))

    # ---------------------------------------------------------------------------- views

    def select(
        self, samples: Index = None, times: slice | None = None, fields: Sequence[str] | None = None
    ) -> Dataset:
        """A view of some samples, times (a slice with a positive step) and fields."""
        rows = self.samples[_indices(samples, len(self), "samples")]
        places = range(*self._times.indices(len(self.contents.times)))
        if times is not None:
            if not isinstance(times, slice) or (times.step or 1) < 1:
                raise InvalidOption(f"times={times!r}: give a slice with a positive step.")
            places = places[times]
        if not len(places):
            raise InvalidOption(f"times={times!r} leaves none of {self.shape[1]} times.")
        names = [f.name for f in self._chosen(fields)]
        span = slice(places.start, places[-1] + 1, places.step)
        return Dataset(self.source, rows, span, names, self._coarse)

    def downsample(self, factor: int | Sequence[int], how: str | None = None) -> Dataset:
        """A view on n/factor points per axis.

        Parameters
        ----------
        factor : a divisor of the points, or one per axis.
        how : ``"spectral"`` (truncated Fourier modes, exact; default on periodic axes),
            ``"stride"`` (every f-th point, aliases; default elsewhere), ``"mean"`` (of blocks).
        """
        if self.mesh is not None or self._coarse is not None:
            raise InvalidOption("only a data set on a full grid is down-sampled, and once.")
        how = resolution.way(how, self.axes)
        coarse = (resolution.factors(factor, self.axes), how)
        return Dataset(self.source, self.samples, self._times, self.fields, coarse)

    def split(
        self, parts: Sequence[float] | str = (0.8, 0.1, 0.1), seed: int = 0
    ) -> tuple[Dataset, ...]:
        """Disjoint views: random ones of given fractions, or those that the file stores.

        Parameters
        ----------
        parts : fractions that add up to at most 1, or ``"stored"`` (``"pdebench"`` is the same for
            files of that layout): train, valid, test, those of them that there are.
        seed : of the permutation.

        Raises
        ------
        InvalidOption
            Fractions that do not fit, or a file that stores no split.
        """
        if isinstance(parts, str):
            return self._stored(parts)
        if not parts or min(parts) < 0 or sum(parts) > 1 + 1e-9:
            raise InvalidOption(f"parts={parts!r}: give fractions ≥ 0 with a sum of at most 1.")
        order = torch.randperm(len(self), generator=engine.generator(seed)).numpy()
        ends = [round(f * len(self)) for f in np.cumsum([0.0, *parts])]
        pieces = [np.sort(order[a:b]) for a, b in itertools.pairwise(ends)]
        return tuple(self.select(piece) for piece in pieces)

    def _stored(self, name: str) -> tuple[Dataset, ...]:
        stored = self.contents.splits
        if name not in ("stored", "pdebench") or not stored:
            raise InvalidOption(
                f"split={name!r}: this {self.layout} data set stores "
                f"{', '.join(stored) or 'no split'}; give fractions such as (0.8, 0.1, 0.1)"
                + (' or "stored".' if stored else ".")
            )
        if name == "pdebench" and not self.layout.startswith("PDEBench"):
            raise InvalidOption(f'"pdebench" is the split of that layout; this is {self.layout}.')
        kept = [np.isin(self.samples, stored[part]) for part in SPLITS if part in stored]
        return tuple(self.select(np.flatnonzero(mask)) for mask in kept)

    def windows(
        self, t_in: int = 1, t_out: int = 1, *, stride: int = 1, horizon: int = 1, hop: int = 1
    ) -> Windows:
        """Pairs of input and target frames for training; see `pdeml.data.windows.Windows`."""
        from pdeml.data.windows import Windows

        return Windows(self, t_in, t_out, stride=stride, horizon=horizon, hop=hop)

    # ---------------------------------------------------------------------------- other forms

    def to_torch(self) -> dict[str, Tensor]:
        """Everything in memory: ``values`` (S, T, C, *space), ``time``, axes, parameters."""
        return {"values": self.read(), **self.coords, **self.parameters}

    def to_xarray(self) -> xarray.Dataset:
        """Everything in memory with labels: dimensions sample, time, component, space."""
        from pdeml.data.labelled import to_xarray

        return to_xarray(self)

    def info(self) -> dict[str, Any]:
        """What is in it, as plain data; ``pdeml inspect`` prints it."""
        from pdeml.data.summary import summary

        return summary(self)

    def verify(self) -> Verification:
        """Recompute the checksums of all finished samples."""
        from pdeml.data.checking import verified

        return verified(self.source)

    def statistics(self) -> dict[str, dict[str, float]]:
        """Mean, standard deviation, extremes and those of one-frame differences, per channel."""
        from pdeml.data.statistics import statistics

        return statistics(self)


def _indices(index: Index, length: int, name: str) -> np.ndarray:
    if index is None:
        return np.arange(length)
    if isinstance(index, slice):
        return np.arange(length)[index]
    given = np.atleast_1d(np.asarray(index))
    if given.dtype == bool and len(given) == length:
        return np.flatnonzero(given)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise InvalidOption(f"{name}={index!r:.60}: give an index, a slice or a list of indices.")
    given = given.astype(np.int64)
    outside = (given < -length) | (given >= length)
    if outside.any():
        raise InvalidOption(f"{name} holds {given[outside][0]}; there are {length}.")
    return given % length if length else given
