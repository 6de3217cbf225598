"""Interpolation in time: exact for polynomials of degree seven, frames dropped while it serves."""

import math

import pytest
import torch

from pdeml.solvers.hermite import hermite_weights, stencil_start, thinned


def test_hermite_weights_reproduce_polynomials_of_degree_seven():
    nodes = torch.tensor([[0.0, 0.3, 1.0, 1.1]], dtype=torch.float64)
    time = torch.tensor([0.77], dtype=torch.float64)
    value, rate = hermite_weights(nodes, time)
    for degree in range(8):
        slopes = degree * nodes ** max(degree - 1, 0)
        found = (value * nodes**degree + rate * slopes).sum()
        assert found.item() == pytest.approx(0.77**degree, rel=1e-12)


def test_stencils_surround_their_time_and_stay_inside():
    times = torch.arange(10, dtype=torch.float64)
    found = stencil_start(times, torch.tensor([0.0, 0.5, 4.5, 8.5, 9.0], dtype=torch.float64))
    assert found.tolist() == [0, 0, 3, 6, 6]


def frames(count, dtype=torch.float64):
    times = torch.linspace(0, 1, count, dtype=torch.float64)
    phase = torch.tensor([3.0, 7.0], dtype=torch.float64)
    wave = torch.exp(1j * phase * times[:, None])
    rate = 1j * phase * wave
    return times, *((a if dtype.is_complex else a.real) for a in (wave, rate))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def interpolation_error(times, values, rates):
    """Largest error of the interpolant between the frames, on a fine grid of times."""
    at = torch.linspace(0, 1, 301, dtype=torch.float64)
    place = stencil_start(times, at)[:, None] + torch.arange(4)
    weight, slope = (w[..., None] for w in hermite_weights(times[place], at))
    found = (weight * values[place] + slope * rates[place]).sum(1)
    exact = torch.exp(1j * torch.tensor([3.0, 7.0], dtype=torch.float64) * at[:, None])
    return (found - (exact if values.is_complex() else exact.real)).abs().max().item()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_frames_are_dropped_up_to_the_tolerance(dtype):
    times, values, rates = frames(65, dtype)
    counts = []
    for tol in (1e-4, 1e-8):
        kept, own, slopes, error = thinned(times, values, rates, tol)
        assert error <= tol / 3 and interpolation_error(kept, own, slopes) < 10 * error
        counts.append(len(kept))
    assert counts[0] < counts[1] < 65


def test_frames_are_kept_where_none_can_be_spared():
    times, values, rates = frames(9)
    kept, own, slopes, error = thinned(times, values, rates, 1e-14)
    assert len(kept) == 9
    assert error / 10 < interpolation_error(kept, own, slopes) < 10 * error
    assert math.isnan(thinned(times[:3], values[:3], rates[:3], 1.0)[-1])
