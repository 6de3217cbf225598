"""Samples of random fields: what every generator takes, and real fields from Fourier modes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import scipy.fft
import torch
from torch import Tensor

from pdeml.engine import resolve_device, resolve_dtype
from pdeml.errors import InvalidOption
from pdeml.probability.philox import Words, normal, sample_keys, uniform

LEAST_POINTS = 4
CHUNK = 2**16  # numbers drawn at once: temporaries stay in the cache

Shape = int | Sequence[int]


class Sampling(TypedDict, total=False):
    """What every function here takes.

    Parameters
    ----------
    samples : how many (default 1).
    seed : an integer in [0, 2⁶³) (default 0).
    first : index of the first sample (default 0): ``first=100, samples=100`` gives samples 100 to
        199 of the seed, equal to those of a run that makes all.
    dtype : floating-point dtype or its name (default float64); the field is computed in float64.
    device : where the result is put (default CPU); it is the same on every device.
    """

    samples: int
    seed: int
    first: int
    dtype: str | torch.dtype | None
    device: str | torch.device


@dataclass(frozen=True)
class Samples:
    """`Sampling`, checked."""

    samples: int = 1
    seed: int = 0
    first: int = 0
    dtype: str | torch.dtype | None = None
    device: str | torch.device = "cpu"

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("seed", 0), ("first", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
                raise InvalidOption(
                    f"{name}={value!r} is not an integer between {least} and 2**63 - 1."
                )
        if resolve_dtype(self.dtype).is_complex:
            raise InvalidOption(f"dtype={self.dtype!r} is complex; these fields are real.")
        resolve_device(self.device)

    def fields(self, shape: tuple[int, ...], one: Callable[[Words], np.ndarray], m: int) -> Tensor:
        """Fields from what `one` computes, (b, *shape), for the keys of b samples by m numbers."""
        keys = sample_keys(self.seed, self.first, self.samples)
        step = max(1, CHUNK // m)
        out = torch.empty((self.samples, 1, *shape), dtype=resolve_dtype(self.dtype))
        for start in range(0, self.samples, step):
            part = one(tuple(k[start : start + step] for k in keys))
            out[start : start + step, 0] = torch.from_numpy(part)
        return self.placed(out)

    def placed(self, field: Tensor) -> Tensor:
        """A field with the dtype (first: not every device has float64) and on the device."""
        return field.to(resolve_dtype(self.dtype)).to(resolve_device(self.device))


# ------------------------------------------------------------------------------- periodic synthesis


def periodic_field(
    n: tuple[int, ...],
    amplitude: Callable[[np.ndarray], np.ndarray],
    coefficient: Callable[[Words, Sequence[np.ndarray]], np.ndarray],
    sampling: Sampling,
) -> Tensor:
    """Real fields Σ_k amplitude(k) c_k e^{2πik·x}, |k_i| < n_i/2, k ≠ 0, with c_{−k} the conjugate.

    `amplitude` takes whole wave vectors (d, m), without 0; `coefficient` keys and counters.
    """
    axes = [np.rint(np.fft.fftfreq(size) * size) for size in n[:-1]]
    axes.append(np.arange(n[-1] // 2 + 1, dtype=float))
    k = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.int64)
    modes = k.shape[1:]
    inside = np.all(2 * np.abs(k) < np.reshape(n, (-1, *[1] * len(n))), axis=0)
    inside.flat[0] = False
    kept = np.flatnonzero(inside)
    weight = amplitude(k.reshape(len(n), -1)[:, kept])
    kept, weight = kept[weight != 0], weight[weight != 0]
    k = k.reshape(len(n), -1)[:, kept]
    # of ±k the one whose last component that is not zero is positive is drawn
    mirrored = np.zeros(len(kept), dtype=bool)
    for component in k:
        mirrored = np.where(component == 0, mirrored, component < 0)
    counter = list(np.where(mirrored, -k, k))

    def one(keys: Words) -> np.ndarray:
        c = coefficient(keys, counter)
        spectrum = np.zeros((len(c), math.prod(modes)), dtype=complex)
        spectrum[:, kept] = weight * np.where(mirrored, c.conj(), c)
        # SciPy's transform of a row does not depend on the rows beside it, torch's does
        return scipy.fft.irfftn(
            spectrum.reshape(-1, *modes), s=n, axes=tuple(range(1, len(n) + 1)), norm="forward"
        )

    return Samples(**sampling).fields(n, one, len(kept))


def gaussian(keys: Words, counter: Sequence[np.ndarray]) -> np.ndarray:
    """c_k with E|c_k|² = 1: the term of ±k together is √2 (ξ cos + ζ sin)."""
    return normal(keys, counter).conj() / math.sqrt(2)


def phased(keys: Words, counter: Sequence[np.ndarray]) -> np.ndarray:
    """c_k = ½ a e^{iφ}, a ~ U[−1, 1]: the term of ±k together is a cos(k·x + φ)."""
    size, phase = uniform(keys, counter)
    return (size - 0.5) * np.exp(2j * np.pi * phase)


def within(span: tuple[float, float], u: np.ndarray) -> np.ndarray:
    return span[0] + (span[1] - span[0]) * u


# ------------------------------------------------------------------------------------------- checks


def checked_shape(shape: Shape) -> tuple[int, ...]:
    message = (
        f"shape={shape!r} is not accepted; give the points per axis, one to three whole numbers of "
        f"at least {LEAST_POINTS}."
    )
    try:
        sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
        if any(isinstance(size, bool | str) for size in sizes):
            raise InvalidOption(message)
        n = tuple(operator.index(size) for size in sizes)
    except TypeError:
        raise InvalidOption(message) from None
    if not 1 <= len(n) <= 3 or min(n) < LEAST_POINTS:
        raise InvalidOption(message)
    return n


def checked_lengths(lengths: float | Sequence[float], dim: int) -> np.ndarray:
    given = list(lengths) if isinstance(lengths, Sequence) else [lengths] * dim
    for length in given:
        check_positive("lengths", length)
    if len(given) != dim:
        raise InvalidOption(f"lengths={lengths!r} has {len(given)} entries for {dim} axes.")
    return np.array(given, dtype=float)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_positive(name: str, value: float, zero: bool = False) -> None:
    if not _is_number(value) or value < 0 or (value == 0 and not zero):
        least = "of at least 0" if zero else "above 0"
        raise InvalidOption(f"{name}={value!r} is not accepted; give a finite number {least}.")


def check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidOption(f"{name}={value!r} is not accepted; give a whole number of at least 1.")


def check_range(name: str, pair: tuple[float, float], ordered: bool = True) -> None:
    fits = isinstance(pair, Sequence) and len(pair) == 2 and all(map(_is_number, pair))
    if not fits or (ordered and pair[0] > pair[1]):
        kind = "low ≤ high" if ordered else "two numbers"
        raise InvalidOption(f"{name}={pair!r} is not accepted; give (…, …), {kind}.")
