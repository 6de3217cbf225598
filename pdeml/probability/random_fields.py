"""Gaussian random fields on boxes, periodic or with Neumann walls, and those of known data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Unpack

import numpy as np
import scipy.fft
from torch import Tensor

from pdeml.errors import InvalidOption
from pdeml.probability.philox import Words, normal
from pdeml.probability.samples import (
    Samples,
    Sampling,
    Shape,
    check_positive,
    check_range,
    checked_lengths,
    checked_shape,
    gaussian,
    periodic_field,
)

# ------------------------------------------------------------------------------- Gaussian, periodic


def gaussian_random_field(
    shape: Shape,
    *,
    gamma: float = 2.0,
    tau: float = 5.0,
    sigma: float | None = None,
    lengths: float | Sequence[float] | None = None,
    **sampling: Unpack[Sampling],
) -> Tensor:
    """Periodic Gaussian fields with mean 0 and covariance σ²(−Δ + τ²)^(−γ).

        u(x) = |Ω|^(−½) Σ_k √2 σ (|k|² + τ²)^(−γ/2) (ξ_k cos k·x + ζ_k sin k·x),   ξ, ζ ~ N(0, 1)

    with one k of each pair ±k of wave vectors k_i = 2πm_i/L_i, k ≠ 0. Samples are Hölder continuous
    of every order below γ − d/2.
    Good values: γ = 2 … 2.5, τ = 3 … 7 (correlation length 1/τ); see `fno_burgers`,
    `fno_navier_stokes`, `mno_kuramoto_sivashinsky`.

    Parameters
    ----------
    shape : points per axis, one to three axes of at least 4.
    gamma : γ > d/2, the smoothness (α in the Navier–Stokes data).
    tau : τ ≥ 0, inverse correlation length.
    sigma : σ > 0; by default τ^(γ − d/2), which keeps the variance of the order of one.
    lengths : of the box, for the Laplacian (a number or one per axis). By default the covariance is
        that of the unit box, whatever box the values are placed on.
    **sampling : `Sampling`: samples, seed, first, dtype, device.

    Returns
    -------
    Tensor (samples, 1, *shape)

    Raises
    ------
    InvalidOption
        For a wrong shape, γ ≤ d/2 (the variance would be infinite), τ < 0, σ ≤ 0, lengths ≤ 0, a
        seed that is no integer, fewer than one sample.

    Notes
    -----
    Modes |m_i| < n_i/2 are kept. The entry at n_i/2 is left out: a grid does not tell its sine, so
    that the field would not be the same function on a finer grid.

    References
    ----------
    Li et al. (2021), Fourier neural operator for parametric PDEs, ICLR, §5.
    """
    n = checked_shape(shape)
    dim = len(n)
    check_positive("tau", tau, zero=True)
    _check_variance("gamma", gamma, dim / 2, dim)
    scale = _scale(sigma, tau, gamma, dim)
    box = np.ones(dim) if lengths is None else checked_lengths(lengths, dim)
    if tau == 0 and sigma is None:
        raise InvalidOption("tau=0 needs sigma: its default, tau**(gamma - dim/2), is 0.")
    root = math.sqrt(box.prod())

    def amplitude(k: np.ndarray) -> np.ndarray:
        waves = 2 * np.pi * k / box[:, None]
        return scale / root * ((waves**2).sum(0) + tau**2) ** (-gamma / 2)

    return periodic_field(n, amplitude, gaussian, sampling)


def fno_burgers(points: int = 8192, **sampling: Unpack[Sampling]) -> Tensor:
    """Initial values of the Burgers data ("R10") of the Fourier neural operator, on (0, 1).

        u₀ ~ N(0, 625 (−Δ + 25 I)^(−2)):   γ = 2, τ = 5, σ = 25

    The pointwise standard deviation is 0.593574. The data's equation has ν = 0.1 (or 0.01, 0.001),
    t ∈ [0, 1]. Parameters: points, and those of `Sampling`.

    Returns
    -------
    Tensor (samples, 1, points)

    References
    ----------
    Li et al. (2021), Fourier neural operator for parametric PDEs, ICLR, §5.1.
    """
    return gaussian_random_field(points, gamma=2.0, tau=5.0, sigma=25.0, **sampling)


def mno_kuramoto_sivashinsky(points: int = 512, **sampling: Unpack[Sampling]) -> Tensor:
    """Initial values of the Kuramoto–Sivashinsky data of the Markov neural operator.

    The field of `fno_burgers` on the unit interval, placed on one of length 64π.

    Returns
    -------
    Tensor (samples, 1, points)

    References
    ----------
    Li et al. (2022), Learning dissipative dynamics in chaotic systems, NeurIPS 35.
    """
    return fno_burgers(points, **sampling)


def fno_navier_stokes(points: Shape = (256, 256), **sampling: Unpack[Sampling]) -> Tensor:
    """Initial vorticities of the Navier–Stokes data of the Fourier neural operator, on (0, 1)².

        ω₀ ~ N(0, 7³ (−Δ + 49 I)^(−2.5)):   γ = 2.5, τ = 7, σ = 7^(3/2)

    The pointwise standard deviation is 0.185233. The data were drawn with this variance; the paper
    prints 7^(3/2) in place of 7³. Parameters: points per axis, and those of `Sampling`.

    Returns
    -------
    Tensor (samples, 1, n₁, n₂)

    References
    ----------
    Li et al. (2021), Fourier neural operator for parametric PDEs, ICLR, §5.3.
    """
    n = checked_shape((points, points) if isinstance(points, int) else points)
    return gaussian_random_field(n, gamma=2.5, tau=7.0, sigma=7**1.5, **sampling)


def power_law_field(
    shape: Shape, *, exponent: float = 3.0, sigma: float = 1.0, **sampling: Unpack[Sampling]
) -> Tensor:
    """Periodic Gaussian fields whose power spectrum is σ²|m|^(−p), m whole wave numbers, mean 0.

    Good values: p = 3 in one dimension, 4 … 5 in two and three (rough to smooth).

    Parameters
    ----------
    shape : points per axis, one to three axes of at least 4.
    exponent : p > d, for a finite variance.
    sigma : σ > 0.
    **sampling : `Sampling`: samples, seed, first, dtype, device.

    Returns
    -------
    Tensor (samples, 1, *shape)

    Raises
    ------
    InvalidOption
        For p ≤ d, σ ≤ 0, and as for `gaussian_random_field`.
    """
    n = checked_shape(shape)
    check_positive("sigma", sigma)
    _check_variance("exponent", exponent, len(n), len(n))

    def amplitude(k: np.ndarray) -> np.ndarray:
        return sigma * (k**2).sum(0) ** (-exponent / 4)

    return periodic_field(n, amplitude, gaussian, sampling)


def diffused_noise(
    shape: Shape, *, intensity: float = 1e-3, sigma: float = 1.0, **sampling: Unpack[Sampling]
) -> Tensor:
    """White noise on the unit box after diffusion: u = σ e^{νΔ} W, mean 0.

    Smooth to all orders, with correlation length ~ 2√ν.
    Good values: ν = 1e-3.

    Parameters
    ----------
    shape : points per axis, one to three axes of at least 4.
    intensity : ν > 0, diffusivity times time.
    sigma : σ > 0. White noise W has covariance δ(x − y); noise of unit variance at each of N points
        is σ = N^(−1/2), and so depends on the grid.
    **sampling : `Sampling`: samples, seed, first, dtype, device.

    Returns
    -------
    Tensor (samples, 1, *shape)

    Raises
    ------
    InvalidOption
        For ν ≤ 0, σ ≤ 0, and as for `gaussian_random_field`.
    """
    n = checked_shape(shape)
    check_positive("intensity", intensity)
    check_positive("sigma", sigma)

    def amplitude(k: np.ndarray) -> np.ndarray:
        return sigma * np.exp(-intensity * ((2 * np.pi * k) ** 2).sum(0))

    return periodic_field(n, amplitude, gaussian, sampling)


# -------------------------------------------------------------------------------- Gaussian, Neumann


def darcy_field(
    shape: Shape,
    *,
    alpha: float = 2.0,
    tau: float = 3.0,
    sigma: float | None = None,
    values: tuple[float, float] | None = (12.0, 3.0),
    **sampling: Unpack[Sampling],
) -> Tensor:
    """Two-phase coefficients from a Gaussian field with zero normal derivative at the walls.

        g(x) = Σ_{m ≠ 0} σ (π²|m|² + τ²)^(−α/2) ξ_m Π_i a(m_i) cos πm_i x_i,   a(0) = 1, else √2
        coefficient = high where g ≥ 0, low elsewhere

    on [0, 1]^d at the points j/(n−1), both ends included; the covariance of g is σ²(−Δ + τ²)^(−α)
    with Neumann conditions.
    Good values: α = 2, τ = 3, values 12 and 3 (the Darcy data of the Fourier neural operator).

    Parameters
    ----------
    shape : points per axis, one to three axes of at least 4.
    alpha : α > d/2, the smoothness.
    tau : τ > 0, inverse correlation length.
    sigma : σ > 0; by default τ^(α − d/2).
    values : (high, low); None gives g itself.
    **sampling : `Sampling`: samples, seed, first, dtype, device.

    Returns
    -------
    Tensor (samples, 1, *shape)

    Raises
    ------
    InvalidOption
        For α ≤ d/2, τ ≤ 0, σ ≤ 0, values that are not two numbers, and as for
        `gaussian_random_field`.

    References
    ----------
    Li et al. (2021), Fourier neural operator for parametric PDEs, ICLR, §5.2.
    """
    n = checked_shape(shape)
    dim = len(n)
    check_positive("tau", tau)
    _check_variance("alpha", alpha, dim / 2, dim)
    if values is not None:
        check_range("values", values, ordered=False)
    m = np.stack(np.meshgrid(*(np.arange(size) for size in n), indexing="ij"))
    factor = _scale(sigma, tau, alpha, dim) * (np.pi**2 * (m**2).sum(0) + tau**2) ** (-alpha / 2)
    factor.flat[0] = 0.0
    for axis, size in enumerate(n):
        # a DCT-I counts each term twice but the first and the last
        weight = np.full(size, math.sqrt(2) / 2)
        weight[0], weight[-1] = 1.0, math.sqrt(2)
        factor = factor * weight.reshape(-1, *[1] * (dim - axis - 1))
    counter = [component.ravel() for component in m]
    axes = tuple(range(1, dim + 1))

    def one(keys: Words) -> np.ndarray:
        terms = normal(keys, counter).real.reshape(-1, *n) * factor
        field = scipy.fft.dctn(terms, type=1, axes=axes)
        return field if values is None else np.where(field >= 0, *values)

    return Samples(**sampling).fields(n, one, math.prod(n))


def fno_darcy(points: Shape = (421, 421), **sampling: Unpack[Sampling]) -> Tensor:
    """Coefficients of the Darcy-flow data of the Fourier neural operator, on [0, 1]².

        a = 12 where g ≥ 0, else 3;   g ~ N(0, 9 (−Δ + 9 I)^(−2)) with Neumann conditions

    Parameters: points per axis (421 in the data), and those of `Sampling`. The threshold does not
    see the factor 9, which is the default σ² = τ² of `darcy_field`.

    Returns
    -------
    Tensor (samples, 1, n₁, n₂)

    References
    ----------
    Li et al. (2021), Fourier neural operator for parametric PDEs, ICLR, §5.2.
    """
    n = checked_shape((points, points) if isinstance(points, int) else points)
    return darcy_field(n, alpha=2.0, tau=3.0, values=(12.0, 3.0), **sampling)


def _scale(sigma: float | None, tau: float, smoothness: float, dim: int) -> float:
    if sigma is None:
        return tau ** (smoothness - dim / 2)
    check_positive("sigma", sigma)
    return sigma


def _check_variance(name: str, smoothness: float, least: float, dim: int) -> None:
    check_positive(name, smoothness)
    if smoothness <= least:
        raise InvalidOption(
            f"{name}={smoothness:g} gives fields of infinite variance in {dim} dimension(s); give "
            f"more than {least:g}."
        )
