"""CRC-32 of samples, computed by other threads while the caller writes them."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

HELPERS = max(1, min(4, os.cpu_count() or 1) - 1)  # beside the thread that writes
PIECE_BYTES = 2**20  # that a thread takes at once


def checksums(array: np.ndarray) -> np.ndarray:
    """CRC-32 of each sample of an array (B, …), C-contiguous: (B,) uint32."""
    return np.array([zlib.crc32(sample) for sample in array], np.uint32)


@contextlib.contextmanager
def begun(arrays: Mapping[str, np.ndarray]) -> Iterator[Callable[[], dict[str, np.ndarray]]]:
    """Checksums of arrays (B, …), begun by helper threads.

    The block gets a function that gives them by name. It takes what no helper has begun to the
    calling thread, so that no core is idle, nor taken from the one that writes before.
    """
    with ThreadPoolExecutor(HELPERS) as pool:
        work = []
        for name, array in arrays.items():
            step = max(1, PIECE_BYTES * len(array) // max(array.nbytes, 1))
            pieces = (array[first : first + step] for first in range(0, len(array), step))
            work += [(name, piece, pool.submit(checksums, piece)) for piece in pieces]

        def finished() -> dict[str, np.ndarray]:
            out: dict[str, list[np.ndarray]] = {name: [] for name in arrays}
            # helpers go from the first piece on, this thread from the last
            for name, piece, task in reversed(work):
                out[name].append(checksums(piece) if task.cancel() else task.result())
            return {name: np.concatenate(found[::-1]) for name, found in out.items()}

        yield finished
