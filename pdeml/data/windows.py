"""Input and target frames for training, read where they lie."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from pdeml import engine
from pdeml.data import resolution
from pdeml.data.memory import InMemory
from pdeml.errors import InvalidOption

if TYPE_CHECKING:
    from pdeml.data.dataset import Dataset

Batch = dict[str, Tensor]


class Windows(TorchDataset[Batch]):
    """Windows in time over all samples of a data set, for a torch ``DataLoader``.

        input  u(t_s), u(t_{s+k}), …  (t_in frames)      k = stride
        target (t_out frames), the first `horizon` strides after the last input

    Parameters
    ----------
    dataset : what is read.
    t_in, t_out : frames of input and target, t_in ≥ 1, t_out ≥ 0.
    stride : distance of neighbouring frames of a window.
    horizon : strides from the last input to the first target.
    hop : distance of the starts of neighbouring windows of a sample.

    Attributes
    ----------
    starts : first frames of the windows of a sample.

    Raises
    ------
    InvalidOption
        A number that is not accepted, or a window longer than the samples.

    Notes
    -----
    An item is a table of ``input`` (t_in, C, *space), ``target`` (t_out, C, *space), each parameter
    under its name, and the numbers ``sample`` and ``start``; a batch has one more axis in front.
    A batch is fetched as a whole (``__getitems__``): one tensor, filled in place in the order of
    the file from memory maps, of which input and target are views. Nothing is opened before the
    first read, and every process opens its own files, so that any start method of workers will do.
    """

    def __init__(
        self,
        dataset: Dataset,
        t_in: int = 1,
        t_out: int = 1,
        *,
        stride: int = 1,
        horizon: int = 1,
        hop: int = 1,
    ):
        for name, value, least in (
            *(("t_in", t_in, 1), ("t_out", t_out, 0), ("stride", stride, 1)),
            *(("horizon", horizon, 1), ("hop", hop, 1)),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidOption(f"{name}={value!r}: give an integer of at least {least}.")
        self.dataset, self.t_in, self.t_out = dataset, t_in, t_out
        first_target = t_in - 1 + horizon
        frames = [*range(t_in), *range(first_target, first_target + t_out)]
        self._frames = stride * np.array(frames)
        # runs of equally spaced frames, each one slice: (place in the window, how many)
        together = t_out == 0 or horizon == 1
        self._runs = [(0, t_in + t_out)] if together else [(0, t_in), (t_in, t_out)]
        self._stride = stride
        length, times = int(self._frames[-1]) + 1, dataset.shape[1]
        if length > times:
            raise InvalidOption(
                f"a window of t_in={t_in}, t_out={t_out}, stride={stride}, horizon={horizon} spans "
                f"{length} times, and there are {times}. Give fewer; samples without time are maps "
                "from one field to another: inputs= and targets= of training, or t_out=0."
            )
        self.starts = np.arange(0, times - length + 1, hop)
        self._parameters = dataset.parameters
        engine.keep_freed_memory()

    def __len__(self) -> int:
        return len(self.dataset) * len(self.starts)

    def __getitem__(self, index: int) -> Batch:
        return {name: value[0] for name, value in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A batch, in the order of the indices."""
        index = np.asarray(indices, dtype=np.int64)
        if len(index) and not (-len(self) <= index.min() and index.max() < len(self)):
            raise IndexError(f"index out of range of {len(self)} windows")
        samples, places = np.divmod(index % max(len(self), 1), len(self.starts))
        starts = self.starts[places]
        values = self._values(samples, starts)
        rows = torch.from_numpy(samples)
        numbers = torch.from_numpy(np.asarray(self.dataset.samples)[samples])
        return {
            "input": values[:, : self.t_in],
            "target": values[:, self.t_in :],
            **{name: value[rows] for name, value in self._parameters.items()},
            "sample": numbers,
            "start": torch.from_numpy(starts),
        }

    def _values(self, samples: np.ndarray, starts: np.ndarray) -> Tensor:
        """Frames (B, t_in + t_out, C, *space)."""
        source = self.dataset.source
        if isinstance(source, InMemory):
            return self._gathered(source.values, samples, starts)
        fields, coarse, rows, times = self.dataset.plan
        channels = sum(len(f.components) for f in fields)
        kind = np.result_type(*(f.dtype for f in fields))
        shape = (len(samples), len(self._frames), channels, *source.contents.space)
        out = torch.empty(shape, dtype=torch.from_numpy(np.empty(0, kind)).dtype)
        view = out.numpy()
        # in the order of the file: each page and each chunk is touched once
        order = np.lexsort((starts, rows[samples])).tolist()
        numbers, begins = rows[samples].tolist(), (times.start + times.step * starts).tolist()
        step = self._stride * times.step
        spans = []
        for place, count in self._runs:
            low = int(self._frames[place]) * times.step
            spans.append((low, low + (count - 1) * step + 1, place, place + count))
        first = 0
        for info in fields:
            last = first + len(info.components)
            window, name = source.window, info.name
            target = view[:, :, first:last]
            for k in order:
                begin, row = begins[k], target[k]
                for low, high, a, b in spans:
                    row[a:b] = window(name, numbers[k], slice(begin + low, begin + high, step))
            first = last
        return out if coarse is None else resolution.coarsened(out, *coarse)

    def _gathered(self, values: Tensor, samples: np.ndarray, starts: np.ndarray) -> Tensor:
        device = values.device
        rows = torch.from_numpy(samples).to(device)
        frames = torch.from_numpy(starts[:, None] + self._frames).to(device)
        return values[rows[:, None], frames]

    def loader(
        self,
        batch: int = 32,
        *,
        workers: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        block: int | None = None,
        drop_last: bool = False,
        start_method: str | None = None,
        pin_memory: bool = False,
        prefetch: int = 2,
    ) -> DataLoader[Batch]:
        """Batches for training; the order of an epoch is a function of the seed and its number.

        Parameters
        ----------
        batch : windows per batch.
        workers : processes that read ahead; memory maps need none on a warm page cache.
        shuffle : a new order in each epoch.
        seed : of the orders.
        block : shuffle samples, then windows among those of `block` samples: for compressed files
            and slow disks, where a random window costs a whole chunk.
        drop_last : leave out a last batch that is not full.
        start_method : of workers: ``"fork"``, ``"spawn"``, ``"forkserver"``.
        pin_memory, prefetch : of the ``DataLoader``.
        """
        context = None
        if workers and start_method is not None:
            if start_method not in multiprocessing.get_all_start_methods():
                raise InvalidOption(
                    f"start_method={start_method!r}: give one of "
                    f"{', '.join(multiprocessing.get_all_start_methods())}."
                )
            context = multiprocessing.get_context(start_method)
        return DataLoader(
            self,
            batch_size=batch,
            sampler=Order(len(self.dataset), len(self.starts), shuffle, seed, block),
            num_workers=workers,
            collate_fn=_same,
            drop_last=drop_last,
            pin_memory=pin_memory,
            multiprocessing_context=context,
            persistent_workers=workers > 0,
            prefetch_factor=prefetch if workers else None,
        )


def _same(batch: Any) -> Any:
    """The batch is fetched whole: there is nothing to collate."""
    return batch


class Order(Sampler[int]):
    """Orders of windows, one for each epoch; `epoch` may be set to repeat or resume."""

    def __init__(self, samples: int, starts: int, shuffle: bool, seed: int, block: int | None):
        if block is not None and (not isinstance(block, int) or block < 1):
            raise InvalidOption(f"block={block!r}: give a positive integer, or None.")
        self._samples, self._starts, self._shuffle = samples, starts, shuffle
        self._seed, self._block = seed, block
        self.epoch = 0

    def __len__(self) -> int:
        return self._samples * self._starts

    def __iter__(self) -> Iterator[int]:
        if not self._shuffle:
            return iter(range(len(self)))
        generator = engine.generator((self._seed + self.epoch * 0x9E3779B97F4A7C15) % 2**63)
        self.epoch += 1
        if self._block is None:
            return iter(torch.randperm(len(self), generator=generator).tolist())
        return self._by_blocks(generator)

    def _by_blocks(self, generator: torch.Generator) -> Iterator[int]:
        samples = torch.randperm(self._samples, generator=generator)
        for block in samples.split(self._block or 1):
            windows = (block[:, None] * self._starts + torch.arange(self._starts)).flatten()
            yield from windows[torch.randperm(len(windows), generator=generator)].tolist()
