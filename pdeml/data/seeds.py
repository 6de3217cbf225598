"""Seeds of samples: functions of the root seed and the sample's number alone."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np


def sample_seed(root: int, number: int) -> int:
    """The first 8 bytes of BLAKE2b(root, number), both as little-endian 64-bit integers."""
    return int.from_bytes(
        blake2b(struct.pack("<QQ", root, number), digest_size=8).digest(), "little"
    )


def sample_seeds(root: int, numbers: Iterable[int]) -> np.ndarray:
    """Seeds (B,) uint64 of several samples."""
    return np.array([sample_seed(root, int(i)) for i in numbers], dtype=np.uint64)
