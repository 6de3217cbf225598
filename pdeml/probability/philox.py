"""Counter-based random numbers: a function of (seed, sample, counter), not of what came before.

Ten rounds of Philox-4x32 map a counter of four 32-bit words, under a key of two, to four words. The
key of a sample is itself such a value, of the seed and the sample's index; the counter is, for
instance, a wave vector. So a number does not depend on how many others are drawn, in which order,
or on which grid.

References
----------
Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3, SC '11.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROUNDS = 10
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
WORD = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)

Words = tuple[np.ndarray, ...]
"""Arrays of uint64 that hold 32-bit words."""


def philox(counter: Sequence[np.ndarray], key: Sequence[np.ndarray]) -> Words:
    """Four words for each counter of four words and key of two; the arrays broadcast."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        even, odd = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (odd >> HALF) ^ c1 ^ k0, odd & WORD, (even >> HALF) ^ c3 ^ k1, even & WORD
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3


def sample_keys(seed: int, first: int, count: int) -> Words:
    """Two words (count, 1) for each of the samples first … first + count − 1 of a seed."""
    index = np.arange(count, dtype=np.uint64)[:, None] + np.uint64(first)
    zero, start = np.zeros_like(index), np.full_like(index, seed)
    key = start & WORD, start >> HALF
    return philox((index & WORD, index >> HALF, zero, zero), key)[:2]


def uniform(keys: Words, counter: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Two independent numbers in (0, 1), with 53 random bits, for each key and counter.

    Parameters
    ----------
    keys : what `sample_keys` gives, (samples, 1).
    counter : up to four arrays (m,) of integers in [−2³¹, 2³¹), absent ones zero.

    Returns
    -------
    tuple of two arrays (samples, m)
    """
    words = [np.asarray(c).astype(np.int64).view(np.uint64) & WORD for c in counter]
    words += [np.zeros_like(words[0])] * (4 - len(words))
    a, b, c, d = philox(words, keys)
    # half a step away from 0, whose logarithm is not finite
    first, second = (((high << HALF | low) >> np.uint64(11)) for high, low in ((a, b), (c, d)))
    return (first + 0.5) * 2.0**-53, (second + 0.5) * 2.0**-53


def normal(keys: Words, counter: Sequence[np.ndarray]) -> np.ndarray:
    """Complex numbers with independent standard normal real and imaginary parts (Box–Muller).

    Parameters, shape: as for `uniform`.
    """
    u, v = uniform(keys, counter)
    return np.sqrt(-2 * np.log(u)) * np.exp(2j * np.pi * v)
