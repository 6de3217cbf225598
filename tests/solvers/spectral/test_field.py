"""Fields of Fourier modes at any point: sums in space, exact flows and frames in time."""

import itertools
import math

import pytest
import torch

from pdeml.solvers.spectral.field import Frames, LinearFlow, SpectralField, powers

LOWER, LENGTHS = (-1.0, 2.0, 0.5), (3.0, 2.0, 1.0)


def test_powers_are_exponentials():
    angle = torch.linspace(-3, 3, 7, dtype=torch.float64)
    k = torch.arange(-5, 78)
    expected = torch.exp(1j * k * angle[:, None])
    torch.testing.assert_close(powers(angle, -5, 77), expected, atol=1e-13, rtol=0)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.complex(*torch.randn(2, *shape, generator=generator, dtype=torch.float64))


def bounds(dim, real):
    low_high = [(-2, 3), (-1, 2), (-3, 1)][:dim]
    return [*low_high[:-1], (0, 3)] if real else low_high


def scattered(dim, count=40):
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(count, dim + 1, generator=generator, dtype=torch.float64)
    points[:, :dim] *= torch.tensor(LENGTHS[:dim])
    points[:, :dim] += torch.tensor(LOWER[:dim])
    return points


def summed(modes, ranges, points, real):
    """Σ_k û_k e^{ik·(x − a)} term by term; for a real field with the mirror images."""
    total = torch.zeros(len(points), modes.shape[-len(ranges) - 1], dtype=torch.complex128)
    spans = [range(low, high + 1) for low, high in ranges]
    for k in itertools.product(*spans):
        place = tuple(n - low for n, (low, _) in zip(k, ranges, strict=True))
        phase = sum(
            2 * math.pi * n / s * (points[:, i] - a)
            for i, (n, s, a) in enumerate(zip(k, LENGTHS, LOWER, strict=False))
        )
        wave = torch.polar(torch.ones_like(phase), phase)
        values = modes[(..., *place)]
        values = values if values.dim() == 2 else values.expand(len(points), -1)
        twice = 2 if real and k[-1] > 0 else 1
        total += twice * values * wave[:, None]
    return total.real if real else total


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_linear_flows_are_sums_of_exponentials(dim, real):
    ranges = bounds(dim, real)
    shape = [high - low + 1 for low, high in ranges]
    flow = LinearFlow(LOWER[:dim], LENGTHS[:dim], ranges, 2, real)
    symbol = -draw(2, *shape, seed=2).abs() + 1j * draw(2, *shape, seed=3).real
    start = torch.tensor(0.2, dtype=torch.float64)
    flow.load_state_dict({"start": start, "coefficients": draw(2, *shape), "symbol": symbol})
    points = scattered(dim)
    age = (points[:, -1] - 0.2).reshape(-1, 1, *[1] * dim)
    expected = summed(draw(2, *shape) * torch.exp(symbol * age), ranges, points, real)
    torch.testing.assert_close(flow(points), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_frames_interpolate_polynomials_of_degree_seven_exactly(dim, real):
    ranges = bounds(dim, real)
    shape = [high - low + 1 for low, high in ranges]
    times = torch.tensor([0.0, 0.2, 0.3, 0.6, 0.8, 1.0], dtype=torch.float64)
    factors = [draw(2, *shape, seed=5 + n) / 8 for n in range(8)]

    def modes(s):
        return sum(f * s**n for n, f in enumerate(factors))

    def rates(s):
        return sum(n * f * s ** (n - 1) for n, f in enumerate(factors) if n)

    frames = Frames(LOWER[:dim], LENGTHS[:dim], ranges, 2, real, frames=len(times))
    values = torch.stack([modes(s.item()) for s in times])
    slopes = torch.stack([rates(s.item()) for s in times])
    frames.load_state_dict({"times": times, "values": values, "rates": slopes})
    points = scattered(dim)
    at_points = torch.stack([modes(s.item()) for s in points[:, -1]])
    expected = summed(at_points, ranges, points, real)
    torch.testing.assert_close(frames(points), expected, atol=1e-10, rtol=0)
    assert frames(points[:0]).shape == (0, 2)


def test_parts_are_added_and_the_dtype_is_that_of_the_points():
    ranges = bounds(1, True)
    box = {"lower": LOWER[:1], "lengths": LENGTHS[:1], "channels": 1, "real": True}
    both = SpectralField(**box, linear_modes=ranges, frame_modes=ranges, frames=2)
    times = torch.tensor([0.0, 1.0], dtype=torch.float64)
    still = torch.zeros(2, 1, 4, dtype=torch.complex128)
    modes = draw(1, 4)
    state = {
        "linear.start": torch.zeros((), dtype=torch.float64),
        "linear.coefficients": modes,
        "linear.symbol": torch.zeros_like(modes),
        "frames.times": times,
        "frames.values": modes.expand(2, 1, 4),
        "frames.rates": still,
    }
    both.load_state_dict(state)
    points = scattered(1)
    expected = 2 * summed(modes, ranges, points, True)
    torch.testing.assert_close(both(points), expected, atol=1e-13, rtol=0)
    single = both(points.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, expected.float(), atol=1e-5, rtol=0)
