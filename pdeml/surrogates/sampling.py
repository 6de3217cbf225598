"""Which windows are in which batch: a function of seed, epoch and batch number alone.

So the position of a run is two integers, and p processes that share a global batch see the windows
that one process sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Sampler

from pdeml import engine
from pdeml.data.windows import Order
from pdeml.errors import InvalidOption

if TYPE_CHECKING:
    from pdeml.data.windows import Windows


class BatchOrder(Sampler[list[int]]):
    """The share of one process in each global batch of one epoch.

    Parameters
    ----------
    windows : what is sampled.
    batch : windows of a global batch; the last one of an epoch may be smaller.
    shuffle, seed, block : of the order; see `pdeml.data.windows.Windows.loader`.
    rank, world : this process among how many.

    Attributes
    ----------
    epoch : whose order is given.
    start : first batch of it that is given.
    """

    def __init__(
        self,
        windows: Windows,
        batch: int,
        *,
        shuffle: bool,
        seed: int = 0,
        block: int | None = None,
        rank: int = 0,
        world: int = 1,
    ):
        if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= len(windows):
            raise InvalidOption(
                f"batch={batch!r}: the data give {len(windows)} windows ({len(windows.dataset)} "
                f"samples × {len(windows.starts)} starts); give an integer from 1 to that."
            )
        self._order = Order(len(windows.dataset), len(windows.starts), shuffle, seed, block)
        self._windows, self._batch = len(windows), batch
        self._rank, self._world = rank, world
        self.epoch = self.start = 0

    @property
    def batches(self) -> int:
        """Global batches of an epoch."""
        return -(-self._windows // self._batch)

    def __len__(self) -> int:
        return self.batches - self.start

    def size(self, number: int) -> int:
        """Windows of a global batch."""
        return min(self._batch, self._windows - number * self._batch)

    def share(self, number: int) -> int:
        """Windows of a global batch that are this process's own."""
        return len(range(self._rank, self.size(number), self._world))

    def __iter__(self) -> Iterator[list[int]]:
        """Window numbers; a process without a window in a batch is given one of weight zero."""
        self._order.epoch = self.epoch
        order = list(self._order)
        for number in range(self.start, self.batches):
            rows = order[number * self._batch : (number + 1) * self._batch]
            yield rows[self._rank :: self._world] or rows[:1]


def loader(windows: Windows, order: BatchOrder, workers: int, pin_memory: bool) -> DataLoader[Any]:
    """Whole batches in that order; set `order.epoch` and `order.start` before iterating."""
    return DataLoader(
        windows,
        batch_sampler=order,
        generator=engine.generator(0),  # else each epoch draws from the global one, unused
        num_workers=workers,
        collate_fn=_whole,
        pin_memory=pin_memory,
        persistent_workers=False,  # each epoch's workers must see its order
    )


def _whole(batch: Any) -> Any:
    """A batch is fetched whole: there is nothing to collate."""
    return batch
