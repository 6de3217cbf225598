"""Gaussian fields: covariance, law, resolution, batch; each against the series it samples."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch

from pdeml import probability
from pdeml.errors import InvalidOption
from pdeml.probability import (
    darcy_field,
    diffused_noise,
    fno_burgers,
    fno_darcy,
    fno_navier_stokes,
    gaussian_blobs,
    gaussian_random_field,
    mno_kuramoto_sivashinsky,
    power_law_field,
    sine_sums,
    truncated_fourier,
)
from pdeml.probability.philox import normal, sample_keys

EVERY = {
    "grf 1-D": lambda **k: gaussian_random_field(48, **k),
    "grf 2-D": lambda **k: gaussian_random_field((36, 20), **k),
    "grf 3-D": lambda **k: gaussian_random_field((8, 10, 9), gamma=2.5, lengths=(1, 2, 3), **k),
    "power law": lambda **k: power_law_field((12, 48), exponent=4.0, **k),
    "diffused": lambda **k: diffused_noise((16, 16), **k),
    "darcy": lambda **k: darcy_field((17, 33), values=None, **k),
    "truncated": lambda **k: truncated_fourier((24, 20), modes=3, max_one=True, **k),
    "sines": lambda **k: sine_sums(40, **k),
    "blobs": lambda **k: gaussian_blobs((12, 16), blobs=2, amplitude=(0.2, 1.0), **k),
}


def series_variance(gamma, tau, sigma, dim, size):
    """Σ_{0 < |k|_∞ < size} σ² (4π²|k|² + τ²)^(−γ)."""
    k = np.arange(-size + 1, size)
    squared = sum(np.meshgrid(*(k**2,) * dim, indexing="ij", sparse=True))
    terms = sigma**2 * (4 * np.pi**2 * squared + tau**2) ** -float(gamma)
    terms[(size - 1,) * dim] = 0.0
    return terms.sum()


# ------------------------------------------------------------------------------------- statistics


def test_burgers_starts_have_the_standard_deviation_of_the_series():
    field = fno_burgers(256, samples=10_000, seed=1)
    assert field.shape == (10_000, 1, 256)
    assert field.std() == pytest.approx(0.593574, rel=0.015)
    assert math.sqrt(series_variance(2, 5, 25, 1, 4096)) == pytest.approx(0.593574, rel=1e-6)
    assert torch.equal(mno_kuramoto_sivashinsky(256, samples=3, seed=1), field[:3])


def test_navier_stokes_starts_have_the_standard_deviation_of_the_series():
    field = fno_navier_stokes(64, samples=1000, seed=2)
    assert field.shape == (1000, 1, 64, 64)
    assert field.std() == pytest.approx(0.1852, rel=0.015)
    assert math.sqrt(series_variance(2.5, 7, 7**1.5, 2, 512)) == pytest.approx(0.185233, rel=1e-5)


def test_the_covariance_ratio_of_two_modes():
    field = gaussian_random_field((16, 16), samples=10_000, seed=3, gamma=2.5, tau=7.0)
    power = (torch.fft.fft2(field[:, 0], norm="forward").abs() ** 2).mean(0)

    def expected(i, j):
        return (4 * math.pi**2 * (i * i + j * j) + 49) ** -2.5

    ratio = (power[1, 0] + power[0, 1]) / (power[2, 1] + power[1, -2])
    assert float(ratio) == pytest.approx(expected(1, 0) / expected(2, 1), rel=0.03)


def test_the_covariance_at_several_lags():
    """E u(x) u(x + r) = Σ_k s_k² cos k·r, within five standard errors, along both axes."""
    gamma, tau, sigma, lengths, n = 1.8, 4.0, 3.0, (1.0, 2.0), (16, 24)
    field = gaussian_random_field(
        n, samples=4000, seed=4, gamma=gamma, tau=tau, sigma=sigma, lengths=lengths
    )[:, 0]
    k0, k1 = np.meshgrid(np.arange(-7, 8), np.arange(-11, 12), indexing="ij")
    squared = (2 * np.pi * k0 / lengths[0]) ** 2 + (2 * np.pi * k1 / lengths[1]) ** 2
    power = sigma**2 * (squared + tau**2) ** -gamma / (lengths[0] * lengths[1])
    power[7, 11] = 0.0
    for lag in ((0, 0), (1, 0), (0, 1), (3, 2), (8, 12), (5, 0)):
        angle = 2 * np.pi * (k0 * lag[0] / n[0] + k1 * lag[1] / n[1])
        per_sample = (field * field.roll(lag, (1, 2))).mean((1, 2))
        error = 5 * float(per_sample.std()) / math.sqrt(len(field))
        assert abs(float(per_sample.mean()) - (power * np.cos(angle)).sum()) < error


def test_modes_are_independent_and_gaussian():
    field = gaussian_random_field(16, samples=20_000, seed=5, gamma=1.0)[:, 0]
    value = field[:, 3] / field[:, 3].std()
    assert abs(float((value**4).mean()) - 3) < 5 * math.sqrt(96 / 20_000)
    assert abs(float((value**3).mean())) < 5 * math.sqrt(15 / 20_000)
    modes = torch.fft.rfft(field)[:, 1:8]
    parts = torch.cat([modes.real, modes.imag], 1)
    correlation = torch.corrcoef(parts.T) - torch.eye(14, dtype=torch.float64)
    assert correlation.abs().max() < 5 / math.sqrt(20_000)


def test_the_field_in_the_plane_is_isotropic():
    """Directions that differ by a quarter and by an eighth of a turn (a 3-4-5 triangle)."""
    field = gaussian_random_field((32, 32), samples=4000, seed=6, gamma=3.0, tau=6.0)[:, 0]

    def correlation(*lag):
        return float((field * field.roll(lag, (1, 2))).mean() / (field**2).mean())

    assert correlation(5, 0) == pytest.approx(correlation(0, 5), abs=0.02)
    assert correlation(5, 0) == pytest.approx(correlation(3, 4), abs=0.02)
    assert correlation(3, 4) == pytest.approx(correlation(3, -4), abs=0.02)
    assert abs(correlation(5, 0)) < 0.9  # else the test says nothing


def test_lengths_are_the_physical_laplacian_and_the_default_is_the_unit_box():
    same = {"samples": 2, "seed": 7, "gamma": 2.0, "sigma": 1.0}
    unit = gaussian_random_field((8, 8), tau=6.0, **same)
    assert torch.equal(gaussian_random_field((8, 8), tau=6.0, lengths=1.0, **same), unit)
    # (−Δ + τ²) scales with length^(−2), white noise with length^(−d/2)
    wide = gaussian_random_field((8, 8), tau=2.0, lengths=3.0, **same)
    assert (wide - unit * 3.0 ** (2 * 2.0 / 2 * 2 - 1) / 3.0**2).abs().max() < 1e-14


def test_the_default_scale_and_the_other_spectra():
    a = gaussian_random_field((8, 8), seed=8, gamma=2.5, tau=7.0)
    assert torch.equal(a, gaussian_random_field((8, 8), seed=8, gamma=2.5, tau=7.0, sigma=7**1.5))
    line = gaussian_random_field(8, seed=8, gamma=2.0, tau=4.0)
    assert torch.equal(line, gaussian_random_field(8, seed=8, gamma=2.0, tau=4.0, sigma=8.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is divided by the absent mean
        flat = gaussian_random_field((8, 8), seed=8, gamma=2.5, tau=0.0, sigma=(2 * math.pi) ** 2.5)
    assert (flat - power_law_field((8, 8), seed=8, exponent=5.0)).abs().max() < 1e-14
    k = np.arange(-15, 16)
    size = np.hypot(*np.meshgrid(k, k))
    size[15, 15] = np.inf
    field = power_law_field((32, 32), samples=3000, seed=9, exponent=4.5, sigma=2.0)
    assert float(field.var()) == pytest.approx(4 * (size**-4.5).sum(), rel=0.03)
    field = diffused_noise(64, samples=4000, seed=9, intensity=2e-3, sigma=0.5)
    m = np.arange(1, 32)
    expected = 0.25 * 2 * np.exp(-2 * 2e-3 * (2 * np.pi * m) ** 2).sum()
    assert float(field.var()) == pytest.approx(expected, rel=0.03)
    modes = (torch.fft.rfft(field[:, 0], norm="forward").abs() ** 2).mean(0)
    fall = math.exp(-2 * 2e-3 * 4 * math.pi**2 * (9 - 4))
    assert float(modes[3] / modes[2]) == pytest.approx(fall, rel=0.08)


# ----------------------------------------------------------------- samples, resolution, reality


@pytest.mark.parametrize("name", EVERY)
def test_a_sample_does_not_depend_on_the_batch(name):
    """Bit for bit: alone, among 10, among 1000, from another first index."""
    make = EVERY[name]
    ten, many = make(samples=10, seed=5), make(samples=1000, seed=5)
    assert torch.equal(ten[7], many[7])
    assert torch.equal(make(samples=1, seed=5, first=7)[0], many[7])
    assert torch.equal(make(samples=100, seed=5, first=100), many[100:200])
    assert not torch.equal(make(samples=10, seed=6), ten)
    flat = ten.flatten(1)
    assert torch.pdist(flat).min() > 1e-3 * flat.std()


@pytest.mark.parametrize("name", EVERY)
def test_dtypes_are_casts_of_the_same_values(name):
    full, half = EVERY[name](samples=3, seed=1), EVERY[name](samples=3, seed=1, dtype="float32")
    assert full.dtype == torch.float64 and half.dtype == torch.float32
    assert torch.equal(half, full.float())
    assert full.shape[:2] == (3, 1)


def test_seeds_keep_their_meaning():
    """Values of seed 1, sample 3: data sets are named by seed, so that these must never change."""
    one = {"seed": 1, "first": 3}
    for field, expected in (
        (gaussian_random_field((8, 6), **one), (0.0338717332976, -0.112218642114)),
        (darcy_field((5, 4), values=None, **one), (-0.181068460681, -0.201577053006)),
        (truncated_fourier((8, 8), modes=2, **one), (1.06022100459, 0.366829872127)),
        (sine_sums(8, **one), (-0.271266647673, 0.0200865779483)),
        (gaussian_blobs((4, 4), blobs=2, **one), (0.000226026342462, 0.0553391709729)),
    ):
        assert field.flatten()[[1, 6]].tolist() == pytest.approx(expected, rel=1e-10)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", EVERY)
def test_the_values_are_the_same_on_a_gpu(name):
    assert torch.equal(EVERY[name](seed=1, device="cuda").cpu(), EVERY[name](seed=1))


def common_modes(field, keep):
    """Fourier coefficients with |k_i| ≤ keep, of the last axes."""
    dim = field.dim() - 2
    spectrum = torch.fft.fftn(field, dim=tuple(range(2, field.dim())), norm="forward")
    for axis in range(2, 2 + dim):
        wanted = torch.tensor([*range(keep + 1), *range(-keep, 0)])
        spectrum = spectrum.index_select(axis, wanted % spectrum.shape[axis])
    return spectrum


@pytest.mark.parametrize(
    "coarse, fine",
    [((16,), (64,)), ((15,), (32,)), ((12, 16), (32, 20)), ((9, 8, 10), (16, 17, 12))],
)
def test_a_finer_grid_keeps_the_modes(coarse, fine):
    keep = (min(coarse) - 1) // 2
    for make in (
        lambda n: gaussian_random_field(n, samples=3, seed=2, gamma=2.0),
        lambda n: power_law_field(n, samples=3, seed=2, exponent=4.0),
        lambda n: diffused_noise(n, samples=3, seed=2),
    ):
        a, b = common_modes(make(coarse), keep), common_modes(make(fine), keep)
        assert (a - b).abs().max() < 1e-14 * b.abs().max()


def test_a_field_whose_modes_all_fit_is_the_same_function():
    a = truncated_fourier((12, 14), modes=3, seed=3, max_one=True)
    b = truncated_fourier((24, 56), modes=3, seed=3, max_one=True)
    assert (a - b[..., ::2, ::4]).abs().max() < 1e-14
    a, b = sine_sums(32, samples=5), sine_sums(96, samples=5)
    assert (a - b[..., ::3]).abs().max() < 1e-13
    a, b = gaussian_blobs((8, 8), samples=5), gaussian_blobs((16, 24), samples=5)
    assert (a - b[..., ::2, ::3]).abs().max() < 1e-14


@pytest.mark.parametrize("shape", [(16,), (15,), (8, 12), (9, 8, 10)])
def test_the_mean_and_the_last_even_mode_are_zero(shape):
    field = gaussian_random_field(shape, samples=4, seed=1, gamma=2.0)
    axes = tuple(range(2, field.dim()))
    assert field.mean(axes).abs().max() < 1e-15 * field.abs().max() * math.prod(shape) ** 0.5
    spectrum = torch.fft.fftn(field, dim=axes, norm="forward")
    for axis, n in enumerate(shape):
        if n % 2 == 0:
            assert spectrum.select(2 + axis, n // 2).abs().max() < 1e-15
    inner = spectrum.abs()
    assert (inner[(0, 0, *(1,) * len(shape))]) > 1e-6  # a mode inside is there


# -------------------------------------------------------------------------------- Darcy, series


def test_darcy_fields_are_cosine_series():
    """Against the sum written out with the same normal numbers, and variances of the series."""
    n = (6, 5)
    field = darcy_field(n, seed=4, values=None, alpha=2.0, tau=3.0)[0, 0].numpy()
    x, y = (np.arange(size) / (size - 1) for size in n)
    keys, total = sample_keys(4, 0, 1), np.zeros(n)
    for i, j in itertools.product(range(n[0]), range(n[1])):
        if i or j:
            xi = normal(keys, [np.array([i]), np.array([j])]).real.item()
            size = 3.0 * (np.pi**2 * (i * i + j * j) + 9.0) ** -1.0
            size *= math.sqrt(2) ** ((i > 0) + (j > 0))
            total += size * xi * np.outer(np.cos(np.pi * i * x), np.cos(np.pi * j * y))
    assert np.abs(field - total).max() < 1e-14
    many = darcy_field((9, 9), samples=8000, seed=4, values=None, alpha=2.0, tau=3.0)
    m = np.arange(9)
    size = (m[:, None] ** 2 + m**2) * np.pi**2
    power = 9.0 * (size + 9.0) ** -2.0
    power[0, 0] = 0.0
    weight = np.where(m > 0, 2.0, 1.0)
    at_corner = (power * np.outer(weight, weight)).sum()
    assert float(many[:, 0, 0, 0].var()) == pytest.approx(at_corner, rel=0.06)
    at_middle = (power * np.outer(weight, weight) * np.outer(m % 2 == 0, m % 2 == 0)).sum()
    assert float(many[:, 0, 4, 4].var()) == pytest.approx(at_middle, rel=0.06)
    product = many[:, 0, 0, 4] * many[:, 0, 8, 4]
    sign = np.outer((-1.0) ** m * weight, (m % 2 == 0) * weight)
    error = 5 * float(product.std()) / math.sqrt(8000)
    assert abs(float(product.mean()) - (power * sign).sum()) < error


def test_darcy_fields_have_no_slope_at_the_walls():
    """One-sided differences of a field that is smooth (α = 6) vanish like the spacing."""
    slopes = []
    for n in (65, 129):
        g = darcy_field((n, n), samples=4, seed=2, alpha=6.0, tau=3.0, sigma=1e3, values=None)
        h = 1 / (n - 1)
        walls = (g[..., 1, :] - g[..., 0, :], g[..., -1] - g[..., -2])
        inside = (g[..., n // 2 + 1, :] - g[..., n // 2, :]).abs().max() / h
        slopes.append(max(float(w.abs().max()) / h for w in walls) / float(inside))
    assert slopes[0] < 0.2 and slopes[1] < 0.6 * slopes[0]


def test_darcy_is_resolution_independent_and_two_valued():
    smooth = {"alpha": 8.0, "tau": 3.0, "sigma": 1.0, "values": None, "samples": 2}
    a, b = darcy_field((33, 33), **smooth), darcy_field((65, 97), **smooth)
    assert (a - b[..., ::2, ::3]).abs().max() < 1e-6 * a.abs().max()
    field = fno_darcy(61, samples=400, seed=3)
    assert set(field.unique().tolist()) == {3.0, 12.0}
    assert float((field == 12).double().mean()) == pytest.approx(0.5, abs=0.01)
    g = darcy_field((61, 61), samples=400, seed=3, values=None)
    assert torch.equal(field == 12, g >= 0)
    one, other = darcy_field(16, values=(-1.0, 5.0), seed=1).unique().tolist()
    assert (one, other) == (-1.0, 5.0)


def test_truncated_series_hold_the_modes_they_say():
    field = truncated_fourier((20, 24), samples=500, modes=4, amplitude=1.5, seed=1)
    spectrum = torch.fft.fft2(field[:, 0], norm="forward")
    k0, k1 = torch.fft.fftfreq(20) * 20, torch.fft.fftfreq(24) * 24
    outside = (k0.abs()[:, None] > 4.5) | (k1.abs()[None] > 4.5)
    outside[0, 0] = True
    assert spectrum[:, outside].abs().max() < 1e-15
    sizes = 2 * spectrum[:, ~outside].abs()
    assert sizes.max() < 1.5 and sizes.max() > 1.49
    assert float((sizes**2).mean()) == pytest.approx(1.5**2 / 3, rel=0.02)  # U[−A, A]
    turn = spectrum[:, 1, 2] / spectrum[:, 1, 2].abs()
    assert turn.mean().abs() < 5 / math.sqrt(500) and (turn**2).mean().abs() < 5 / math.sqrt(500)


def test_scaled_series_reach_one():
    for n in ((64,), (40, 44)):
        field = truncated_fourier(n, samples=50, max_one=True)
        largest = field.abs().flatten(1).amax(1)
        assert largest.max() < 1.011 and largest.min() > 0.9
    fine = truncated_fourier(80, samples=50, max_one=True).abs().flatten(1).amax(1)
    assert (fine - 1).abs().max() < 1e-12  # 80 points are the grid of the scaling


def test_sine_sums_hold_the_waves_they_say():
    field = sine_sums(32, samples=4000, seed=2)
    spectrum = torch.fft.rfft(field[:, 0], norm="forward")
    assert spectrum[:, [0, *range(4, 17)]].abs().max() < 1e-15
    # each of five sines has E A² = 1/12 and falls on one of three waves: E|û_l|² = 5/3 · 1/48
    power = (spectrum.abs() ** 2).mean(0)
    assert power[1:4].numpy() == pytest.approx(np.full(3, 5 / 144), rel=0.1)
    # all three waves are there in 150 of the 3⁵ ways
    complete = (spectrum[:, 1:4].abs() > 1e-12).all(1).double().mean()
    assert float(complete) == pytest.approx(150 / 243, abs=0.04)
    single = sine_sums(32, samples=300, terms=1, waves=6, amplitude=2.0)
    found = torch.fft.rfft(single[:, 0], norm="forward").abs()
    assert (found > 1e-12).sum(1).max() == 1
    assert set(found.argmax(1).tolist()) == {1, 2, 3, 4, 5, 6}
    assert 1.9 < 2 * found.max() < 2.0


def test_blobs_are_gaussian_bumps_within_their_ranges():
    n, v = 128, 0.004
    field = gaussian_blobs(
        (n, n), samples=20, position=(0.3, 0.6), variance=(v, v), amplitude=(2.0, 2.0), seed=1
    )[:, 0]
    x = torch.arange(n) / n
    for sample in field:
        mass = sample.sum()
        # first circular moments give the centre
        centre = []
        for axis in (0, 1):
            turn = (sample.sum(1 - axis) * torch.exp(2j * math.pi * x.double())).sum() / mass
            centre.append(float(turn.angle() / (2 * math.pi)) % 1)
        assert all(0.3 <= c <= 0.6 for c in centre) and abs(centre[0] - centre[1]) > 1e-4
        exact = 2 * torch.exp(
            -((x[:, None] - centre[0]) ** 2 + (x[None] - centre[1]) ** 2).double() / (2 * v)
        )
        near = exact > 1.0
        assert (sample - exact)[near].abs().max() < 0.02
        assert 1.9 < sample.max() <= 2.0
    widths = gaussian_blobs(64, samples=2000, variance=(0.005, 0.01), position=(0.5, 0.5))
    at = widths[:, 0, 32 + 6] / widths[:, 0, 32]
    found = (math.cos(2 * math.pi * 6 / 64) - 1) / (4 * math.pi**2 * torch.log(at))
    assert 0.005 <= found.min() < 0.0051 and 0.0099 < found.max() <= 0.01
    one, two = (gaussian_blobs((16, 16), samples=3, blobs=b) for b in (1, 2))
    assert (two > one).all() and (two - 2 * one).abs().amax((1, 2, 3)).min() > 0.05


# ------------------------------------------------------------------------------------- bad input

BAD = [
    (lambda: gaussian_random_field(3), r"shape=3 .*at least 4"),
    (lambda: gaussian_random_field((8, 8, 8, 8)), "one to three whole numbers"),
    (lambda: gaussian_random_field(()), "one to three whole numbers"),
    (lambda: gaussian_random_field(16.0), r"shape=16\.0"),
    (lambda: gaussian_random_field("16"), "shape='16'"),
    (lambda: gaussian_random_field((8, True)), "shape="),
    (lambda: gaussian_random_field(16, samples=0), "samples=0 .* between 1"),
    (lambda: gaussian_random_field(16, samples=2.0), r"samples=2\.0"),
    (lambda: gaussian_random_field(16, seed=0.5), r"seed=0\.5"),
    (lambda: gaussian_random_field(16, seed=-1), "seed=-1"),
    (lambda: gaussian_random_field(16, seed=2**63), "seed="),
    (lambda: gaussian_random_field(16, first=-2), "first=-2"),
    (lambda: gaussian_random_field(16, dtype="complex64"), "these fields are real"),
    (lambda: gaussian_random_field(16, dtype="int"), "dtype='int'"),
    (lambda: gaussian_random_field(16, device="toaster"), "toaster"),
    (lambda: gaussian_random_field(16, tau=-1.0), r"tau=-1\.0"),
    (lambda: gaussian_random_field(16, tau=math.nan), "tau=nan"),
    (lambda: gaussian_random_field(16, tau=0.0), "tau=0 needs sigma"),
    (lambda: gaussian_random_field(16, sigma=0.0), r"sigma=0\.0"),
    (lambda: gaussian_random_field(16, gamma=0.5), r"gamma=0\.5 .*infinite .*more than 0\.5"),
    (lambda: gaussian_random_field((8, 8), gamma=1.0), "more than 1"),
    (lambda: gaussian_random_field((8, 8, 8), gamma=1.5), r"more than 1\.5"),
    (lambda: gaussian_random_field((8, 8), lengths=(1.0,)), "1 entries for 2 axes"),
    (lambda: gaussian_random_field(8, lengths=-1.0), "lengths=-1"),
    (lambda: fno_navier_stokes((64, 2)), "shape="),
    (lambda: power_law_field((8, 8), exponent=2.0), "exponent=2 .*more than 2"),
    (lambda: power_law_field(8, sigma=-1), "sigma=-1"),
    (lambda: diffused_noise(8, intensity=0), "intensity=0"),
    (lambda: darcy_field((8, 8), alpha=1.0), "alpha=1 .*more than 1"),
    (lambda: darcy_field((8, 8), tau=0), "tau=0"),
    (lambda: darcy_field((8, 8), values=(1.0,)), "values="),
    (lambda: darcy_field((8, 8), values=(1.0, math.inf)), "values="),
    (lambda: truncated_fourier(10, modes=5), "more than 10 per axis"),
    (lambda: truncated_fourier(10, modes=0), "modes=0"),
    (lambda: truncated_fourier(32, amplitude=0), "amplitude=0"),
    (lambda: sine_sums((16, 16)), "does not fit"),
    (lambda: sine_sums(6), "above 6"),
    (lambda: sine_sums(16, terms=0), "terms=0"),
    (lambda: gaussian_blobs(16, blobs=0), "blobs=0"),
    (lambda: gaussian_blobs(16, position=(0.6, 0.4)), r"position=.*low ≤ high"),
    (lambda: gaussian_blobs(16, variance=(0.0, 0.1)), "variance=.*not positive"),
]


@pytest.mark.parametrize("call, message", BAD, ids=[m for _, m in BAD])
def test_bad_options_are_named(call, message):
    with pytest.raises(InvalidOption, match=message):
        call()


def test_every_public_name_is_there():
    assert all(hasattr(probability, name) for name in probability.__all__)
