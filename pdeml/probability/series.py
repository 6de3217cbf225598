"""Finite random series: truncated Fourier, sums of sines, Gaussian bumps."""

from __future__ import annotations

import math
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from pdeml.errors import InvalidOption
from pdeml.probability.philox import Words, uniform
from pdeml.probability.samples import (
    Samples,
    Sampling,
    Shape,
    check_count,
    check_positive,
    check_range,
    checked_shape,
    periodic_field,
    phased,
    within,
)

POINTS_PER_WAVE = 16  # where the largest value of a truncated series is looked for


def truncated_fourier(
    shape: Shape,
    *,
    modes: int = 5,
    amplitude: float = 1.0,
    max_one: bool = False,
    **sampling: Unpack[Sampling],
) -> Tensor:
    """Truncated Fourier series with random amplitudes and phases, mean 0.

        u(x) = Σ_k a_k cos(2πk·x + φ_k),   |k_i| ≤ K, one of each pair ±k,
        a_k ~ U[−A, A],   φ_k ~ U[0, 2π)

    Good values: K = 5, with ``max_one=True`` (the initial values of APEBench are of this kind).

    Parameters
    ----------
    shape : points per axis, one to three axes of more than 2K.
    modes : K ≥ 1.
    amplitude : A > 0.
    max_one : divide each sample by its largest absolute value. That is looked for on a grid with 16
        points for each of the K waves, which does not depend on `shape`: on others the largest
        value may be up to 1 % off.
    **sampling : `Sampling`: samples, seed, first, dtype, device.

    Returns
    -------
    Tensor (samples, 1, *shape)

    Raises
    ------
    InvalidOption
        For K < 1, a grid too coarse for K, A ≤ 0, and as for `gaussian_random_field`.

    References
    ----------
    Koehler, Niedermayr, Westermann, Thuerey (2024), APEBench, NeurIPS 37.
    """
    n = checked_shape(shape)
    check_count("modes", modes)
    check_positive("amplitude", amplitude)
    if min(n) <= 2 * modes:
        raise InvalidOption(
            f"shape={n} has too few points for modes={modes}; give more than {2 * modes} per axis."
        )

    wanted = Samples(**sampling)
    exact: Sampling = {**sampling, "dtype": torch.float64, "device": "cpu"}

    def series(grid: tuple[int, ...]) -> Tensor:
        def inside(k: np.ndarray) -> np.ndarray:
            return amplitude * (np.abs(k).max(0) <= modes)

        return periodic_field(grid, inside, phased, exact)

    field = series(n)
    if max_one:
        axes = tuple(range(2, 2 + len(n)))
        field = field / series((POINTS_PER_WAVE * modes,) * len(n)).abs().amax(axes, keepdim=True)
    return wanted.placed(field)


def sine_sums(
    points: int,
    *,
    terms: int = 5,
    waves: int = 3,
    amplitude: float = 0.5,
    **sampling: Unpack[Sampling],
) -> Tensor:
    """Sums of a few sines with random amplitude, wave number and phase, in one dimension.

        u(x) = Σ_{j=1..J} A_j sin(2πl_j x + φ_j),
        A_j ~ U[−A, A],   l_j ~ U{1, …, l_max},   φ_j ~ U[0, 2π)

    Good values: J = 5, l_max = 3, A = ½ (the message-passing neural solvers, on length 16).

    Parameters
    ----------
    points : at least 4, and more than 2 l_max.
    terms : J ≥ 1.
    waves : l_max ≥ 1.
    amplitude : A > 0.
    **sampling : `Sampling`: samples, seed, first, dtype, device.

    Returns
    -------
    Tensor (samples, 1, points)

    Raises
    ------
    InvalidOption
        For counts below 1, more than one axis, a grid too coarse, A ≤ 0, a seed that is no integer.

    References
    ----------
    Brandstetter, Worrall, Welling (2022), Message passing neural PDE solvers, ICLR.
    """
    n = checked_shape(points)
    check_count("terms", terms)
    check_count("waves", waves)
    check_positive("amplitude", amplitude)
    if len(n) > 1 or n[0] <= 2 * waves:
        raise InvalidOption(
            f"points={points!r} does not fit waves={waves}; give one number above {2 * waves}."
        )
    x = np.arange(n[0]) / n[0]

    def one(keys: Words) -> np.ndarray:
        total = np.zeros((len(keys[0]), n[0]))
        for j in range(terms):
            size, phase = uniform(keys, [np.array([j])])
            wave, _ = uniform(keys, [np.array([j]), np.array([1])])
            wave = 1 + np.floor(waves * wave)
            total += amplitude * (2 * size - 1) * np.sin(2 * np.pi * (wave * x + phase))
        return total

    return Samples(**sampling).fields(n, one, n[0])


def gaussian_blobs(
    shape: Shape,
    *,
    blobs: int = 1,
    position: tuple[float, float] = (0.4, 0.6),
    variance: tuple[float, float] = (0.005, 0.01),
    amplitude: tuple[float, float] = (1.0, 1.0),
    **sampling: Unpack[Sampling],
) -> Tensor:
    """Sums of Gaussian bumps with random place, widths and height, made periodic.

        u(x) = Σ_b A_b exp(−Σ_i (1 − cos 2π(x_i − c_bi)) / (4π² v_bi))

    Near its centre c a bump is A exp(−Σ_i (x_i − c_i)²/(2v_i)), and it is smooth across the ends of
    the box. Each c, v, A is uniform in its range.
    Good values: the defaults (the starts of Gray–Scott in APEBench: v = u₀, u = 1 − u₀).

    Parameters
    ----------
    shape : points per axis, one to three axes of at least 4.
    blobs : number of bumps per sample.
    position, variance, amplitude : ranges (low, high) of c (unit box), v > 0 and A.
    **sampling : `Sampling`: samples, seed, first, dtype, device.

    Returns
    -------
    Tensor (samples, 1, *shape)

    Raises
    ------
    InvalidOption
        For fewer than one bump, a range that is not (low, high), v ≤ 0, and as for
        `gaussian_random_field`.

    References
    ----------
    Koehler, Niedermayr, Westermann, Thuerey (2024), APEBench, NeurIPS 37.
    """
    n = checked_shape(shape)
    check_count("blobs", blobs)
    for name, pair in (("position", position), ("variance", variance), ("amplitude", amplitude)):
        check_range(name, pair)
    if variance[0] <= 0:
        raise InvalidOption(f"variance={variance!r} is not positive; give 0 < low ≤ high.")
    axis_number = np.arange(len(n))

    def one(keys: Words) -> np.ndarray:
        total = np.zeros((len(keys[0]), *n))
        for b in range(blobs):
            which = np.full_like(axis_number, b)
            place, width = uniform(keys, [which, axis_number])
            height, _ = uniform(keys, [which[:1], np.array([-1])])
            bump = within(amplitude, height).reshape(-1, *[1] * len(n))
            for axis, size in enumerate(n):
                offset = np.arange(size) / size - within(position, place[:, axis, None])
                spread = 4 * np.pi**2 * within(variance, width[:, axis, None])
                factor = np.exp((np.cos(2 * np.pi * offset) - 1) / spread)
                across = [size if other == axis else 1 for other in range(len(n))]
                bump = bump * factor.reshape(-1, *across)
            total += bump
        return total

    return Samples(**sampling).fields(n, one, math.prod(n))
