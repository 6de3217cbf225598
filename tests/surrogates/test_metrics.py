"""Metrics and losses against values worked out by hand or in closed form."""

import math

import pytest
import torch

from pdeml.errors import InvalidOption
from pdeml.surrogates import metrics
from pdeml.surrogates.losses import LOSSES, RelativeLp, Sobolev, loss_named, mean_square
from pdeml.surrogates.spectra import isotropic, power, seminorms

N = 64
X = 2 * math.pi * torch.arange(N, dtype=torch.float64) / N


def four(*values):
    """One sample, one channel, four points."""
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 4)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


TRUTH, GUESS = four(1, 2, 3, 4), four(2, 2, 3, 2)  # e = 1, 0, 0, −2; ⟨e²⟩ = 5/4; ⟨y²⟩ = 30/4


@pytest.mark.parametrize(
    "metric, value",
    [
        (metrics.rmse, math.sqrt(5 / 4)),
        (metrics.nrmse, math.sqrt(5 / 30)),
        (metrics.vrmse, math.sqrt((5 / 4) / (5 / 3 + 1e-7))),  # deviations ∓3/2, ∓1/2: Σ = 5
        (metrics.maximum, 2.0),
        (metrics.conserved_error, 1 / 16),
        (metrics.boundary, math.sqrt((1 + 4) / 2)),
    ],
)
def test_four_points_by_hand(metric, value):
    assert metric(GUESS, TRUTH, 1).item() == pytest.approx(value, rel=1e-12)


def test_the_boundary_in_two_dimensions_counts_corners_once_per_face():
    error = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    error[..., 0, 0], error[..., 1, 1], error[..., 0, 2] = 2.0, 100.0, 1.0
    # faces: 2·(3 + 4) points; the corner twice (4 + 4), the edge point once (1)
    wanted = math.sqrt(9 / 14)
    assert metrics.boundary(error, 0 * error, 2).item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("shape", [(16,), (6, 5), (4, 3, 5)])
def test_predicting_the_mean_gives_the_root_of_n_minus_1_over_n(shape):
    y = 1e3 * noise(2, 3, *shape)
    dims, n = len(shape), math.prod(shape)
    mean = y.mean(tuple(range(-dims, 0)), keepdim=True).expand_as(y)
    expected = torch.full((2, 3), math.sqrt((n - 1) / n), dtype=torch.float64)
    torch.testing.assert_close(metrics.vrmse(mean, y, dims), expected, rtol=1e-10, atol=0)


def test_a_field_that_vanishes_has_no_relative_error():
    assert metrics.nrmse(four(1, 0, 0, 0), four(0, 0, 0, 0), 1).isnan().all()


def test_h1_of_a_wrong_amplitude_in_one_wave():
    """y = sin x + sin 3x, ŷ = sin x + 1.1 sin 3x: norms of sin kx are (1 + k²)/2."""
    y, guess = (torch.sin(X) + a * torch.sin(3 * X) for a in (1.0, 1.1))
    value = metrics.h1(guess[None, None], y[None, None], 1)
    assert value.item() == pytest.approx(0.1 * math.sqrt(10 / (10 + 2)), rel=1e-10)


def test_h1_by_differences_converges_to_the_spectral_one_at_second_order():
    def error(n):
        x = 2 * math.pi * torch.arange(n + 1, dtype=torch.float64) / n
        y = torch.sin(x)
        _, slope = seminorms(y[None], 1, 1, periodic=False)
        return abs(slope.item() - 0.5 - 0.5 / (n + 1))  # ⟨cos²⟩ with both ends

    assert 1.8 < math.log2(error(64) / error(128)) < 2.2


@pytest.mark.parametrize("shape", [(33,), (16, 12), (7, 8), (6, 5, 8)])
def test_power_and_bins_and_bands_obey_plancherel(shape):
    dims = len(shape)
    y, guess = noise(2, 3, *shape), noise(2, 3, *shape, seed=1)
    mean_square = (guess - y).square().mean(tuple(range(-dims, 0)))
    total = {"rtol": 1e-10, "atol": 0}
    torch.testing.assert_close(power(guess - y, dims).flatten(-dims).sum(-1), mean_square, **total)
    torch.testing.assert_close(metrics.spectral_bins(guess, y, dims).sum(-1), mean_square, **total)
    torch.testing.assert_close(isotropic(guess - y, dims).sum(-1), mean_square, **total)
    bands = torch.stack(list(metrics.fourier(guess, y, dims).values())).nan_to_num(0)
    torch.testing.assert_close(bands.square().sum(0), mean_square, **total)


def test_spectral_bins_have_logarithmic_edges():
    """n = 64: edges 0, (2π/64) 32^(1/3), (2π/64) 32^(2/3), π, that is k = 3.17 and 10.08."""
    for k, place in ((0, 0), (3, 0), (4, 1), (10, 1), (11, 2), (32, 2)):
        bins = metrics.spectral_bins(torch.cos(k * X)[None, None], torch.zeros(1, 1, N), 1)[0, 0]
        assert bins.argmax().item() == place
        assert bins.sum().item() == pytest.approx(1.0 if k in (0, 32) else 0.5)


def test_bands_of_known_waves_and_empty_ones():
    waves = {"low": 3, "middle": 4, "high": 12}
    for name, k in waves.items():
        bands = metrics.fourier((2 * torch.cos(k * X))[None, None], torch.zeros(1, 1, N), 1)
        for other, value in bands.items():
            expected = math.sqrt(2) if other == name else 0
            assert value.item() == pytest.approx(expected, abs=1e-12)
    small = metrics.fourier(four(1, 2, 3, 4), four(0, 0, 0, 0), 1)
    assert small["middle"].isnan().all() and small["high"].isnan().all()
    assert not small["low"].isnan().any()


def test_a_diagonal_wave_is_in_the_band_of_its_radius():
    x, y = X[:, None], X[None, :]
    diagonal = torch.cos(3 * x + 3 * y)[None, None]  # |k| = 4.24
    bands = metrics.fourier(diagonal, 0 * diagonal, 2)
    assert bands["middle"].item() == pytest.approx(math.sqrt(0.5), rel=1e-12)
    assert bands["low"].item() == pytest.approx(0, abs=1e-12)


def pdebench(error):
    """The published formula of fRMSE, loop by loop, for (B, C, nx, ny)."""
    batch, channels, nx, ny = error.shape
    modes = torch.fft.fftn(error, dim=(2, 3)).abs() ** 2
    count = min(nx // 2, ny // 2)
    shells = torch.zeros(batch, channels, count, dtype=error.dtype)
    for i in range(nx // 2):
        for j in range(ny // 2):
            shell = math.floor(math.sqrt(i * i + j * j))
            if shell < count:
                shells[:, :, shell] += modes[:, :, i, j]
    roots = shells.mean(0).sqrt() / (nx * ny)
    return roots[:, :4].mean(1), roots[:, 4:12].mean(1), roots[:, 12:].mean(1)


@pytest.mark.parametrize("shape", [(32, 32), (30, 26)])
def test_compat_is_the_formula_of_pdebench_in_two_dimensions(shape):
    error = noise(3, 2, *shape)
    ours = metrics.fourier(error, 0 * error, 2, compat="pdebench")
    for name, value in zip(("low", "middle", "high"), pdebench(error), strict=True):
        torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=0)


def test_compat_in_one_dimension_is_the_mean_over_modes():
    wave = (4 * torch.cos(5 * X))[None, None]  # |ê_5| = 2 among the 8 modes 4 … 11
    bands = metrics.fourier(wave, 0 * wave, 1, compat="pdebench")
    assert bands["middle"].item() == pytest.approx(2 / 8, rel=1e-12)
    with pytest.raises(InvalidOption, match="pdebench"):
        metrics.fourier(wave, wave, 1, compat="other")


def test_the_spectrum_of_waves():
    shells = metrics.spectrum(3 * torch.sin(2 * X) + torch.cos(7 * X) + 5, 1)
    expected = torch.zeros(N // 2 + 1, dtype=torch.float64)
    expected[0], expected[2], expected[7] = 25, 4.5, 0.5
    torch.testing.assert_close(shells, expected, rtol=0, atol=1e-12)


def test_the_correlation_time_of_a_drifting_wave():
    """cos x against cos(x + t/10) correlates as cos(t/10), which is 0.8 at t = 6.4350."""
    t = torch.linspace(0, 10, 2001, dtype=torch.float64)
    truth = torch.cos(X).expand(len(t), N) + 2
    guess = torch.cos(X + 0.1 * t[:, None]) + 7
    r = metrics.correlation(guess, truth, 1)
    torch.testing.assert_close(r, torch.cos(0.1 * t), rtol=0, atol=1e-12)
    time, censored = metrics.correlation_time(r, t)
    assert time.item() == pytest.approx(math.acos(0.8) / 0.1, abs=1e-4)
    assert not censored
    coarse, _ = metrics.correlation_time(torch.tensor([1.0, 0.9, 0.5]), torch.tensor([0.0, 1, 3]))
    assert coarse.item() == pytest.approx(1.5)  # linear: 0.9 → 0.5 over two units


def test_a_correlation_that_never_falls_is_censored_and_a_lost_one_is_not():
    times = torch.arange(3.0)
    r = torch.tensor([[0.99, 0.9, 0.81], [0.5, 0.9, 0.9], [0.9, math.nan, 0.9]])
    time, censored = metrics.correlation_time(r, times)
    assert censored.tolist() == [True, False, False]
    assert time.tolist()[:2] == [2.0, 0.0]
    assert 0 < time[2] < 1


def test_cosine_similarity_is_not_centred():
    a, b = four(1, 2, 3, 4) + 100, four(4, 3, 2, 1) + 100
    assert metrics.correlation(a, b, 1).item() == pytest.approx(-1)
    assert metrics.correlation(a, b, 1, centred=False).item() > 0.99


def test_conserved_quantities_distance_and_geometric_mean():
    kept = metrics.conserved(four(1, 2, 3, 6), 1)
    assert kept["mean"].item() == 3 and kept["energy"].item() == 50 / 8
    assert metrics.wasserstein(torch.tensor([0.0, 5, 1]), torch.tensor([2.0, 6, 3])) == (
        pytest.approx((2 + 2 + 1) / 3)
    )
    errors = torch.tensor([1.0, 4.0, 1e9])
    assert metrics.geometric_mean(errors, 2).item() == pytest.approx(2.0)
    with pytest.raises(InvalidOption):
        metrics.wasserstein(torch.zeros(2), torch.zeros(3))


# -------------------------------------------------------------------------------- losses


def test_relative_losses_by_hand():
    two = torch.cat([GUESS, TRUTH]), torch.cat([TRUTH, TRUTH])
    torch.testing.assert_close(
        RelativeLp(2.0)(*two), torch.tensor([math.sqrt(5 / 30), 0.0], dtype=torch.float64)
    )
    assert RelativeLp(1.0)(GUESS, TRUTH).item() == pytest.approx(3 / 10)
    assert mean_square(GUESS, TRUTH).item() == pytest.approx(5 / 4)
    assert LOSSES["vrmse"](True)(GUESS, TRUTH).item() == pytest.approx(math.sqrt(3 / 4), rel=1e-6)


def test_relative_l2_is_over_all_channels_at_once():
    y = torch.cat([four(3, 0, 0, 0), four(0, 4, 0, 0)], 1)
    guess = torch.cat([four(3, 0, 0, 0), four(0, 3, 0, 0)], 1)
    assert RelativeLp(2.0)(guess, y).item() == pytest.approx(1 / 5)


@pytest.mark.parametrize("order, powers", [(1, 1 + 9), (2, 1 + 9 + 81)])
def test_sobolev_losses_of_a_single_wave_weigh_its_derivatives(order, powers):
    """y = sin x, e = 0.01 sin 3x: |e|_j² = 1e-4 · 9^j / 2, |y|_j² = 1/2."""
    y = torch.sin(X)[None, None]
    guess = y + 0.01 * torch.sin(3 * X)
    whole = Sobolev(order)(guess, y).item()
    assert whole == pytest.approx(0.01 * math.sqrt(powers / (order + 1)), rel=1e-9)
    grouped = Sobolev(order, grouped=True)(guess, y).item()
    parts = [0.01 * 3**j for j in range(order + 1)]
    assert grouped == pytest.approx(sum(parts) / (order + 1), rel=1e-9)


def test_second_seminorm_counts_mixed_derivatives():
    """u = sin x sin y: u_xx, u_yy, u_xy, u_yx each have mean square 1/4."""
    u = torch.sin(X)[:, None] * torch.sin(X)
    zeroth, first, second = seminorms(u[None], 2, 2, periodic=True)
    assert [zeroth.item(), first.item(), second.item()] == pytest.approx([0.25, 0.5, 1.0])
    x = torch.linspace(0, 2 * math.pi, 400, dtype=torch.float64)
    u = torch.sin(x)[:, None] * torch.sin(x)
    rough = seminorms(u[None], 2, 2, periodic=False)
    assert [v.item() for v in rough] == pytest.approx([0.25, 0.5, 1.0], rel=1e-2)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_zero_with_finite_gradient_at_the_target(name):
    y = noise(3, 2, 16)
    guess = y.clone().requires_grad_()
    value = loss_named(name, periodic=True)(guess, y)
    assert value.shape == (3,) and (value == 0).all()
    (gradient,) = torch.autograd.grad(value.sum(), guess)
    assert gradient.isfinite().all()


def test_an_unknown_loss_is_refused():
    with pytest.raises(InvalidOption, match="rel_l2"):
        loss_named("l2", periodic=True)
