"""Points, modes and transforms: exact on trigonometric sums, for any numbers of points."""

import itertools
import math

import pytest
import torch

from pdeml.solvers.spectral.grid import FourierGrid

BOXES = {
    "line": ([-1.0], [3.0], [12]),
    "odd line": ([0.0], [2.0], [15]),
    "plane": ([0.0, 2.0], [1.0, 5.0], [8, 14]),
    "odd plane": ([0.0, 2.0], [1.0, 5.0], [9, 7]),
    "space": ([0.0, 1.0, -2.0], [1.0, 2.0, 3.0], [6, 5, 8]),
}


def draw(*shape, real=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return parts[0] if real else torch.complex(*parts)


def wave(grid, numbers):
    """e^{i k·(x − a)} on the points."""
    phase = sum(
        2 * math.pi * k / s * (p - a)
        for k, s, p, a in zip(numbers, grid.lengths, grid.points, grid.lower, strict=True)
    )
    return torch.polar(torch.ones_like(phase), phase)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("name", BOXES)
def test_each_mode_has_its_place(name, real):
    """Modes are coefficients of e^{ikx}: c at k, and its mirror where the field is complex."""
    lower, lengths, shape = BOXES[name]
    grid = FourierGrid(lower, lengths, shape, real)
    assert [len(p.flatten()) for p in grid.points] == shape
    for numbers in itertools.product(*[(-2, 0, 1)] * len(shape)):
        values = wave(grid, numbers)
        if real:
            values = 2 * values.real if any(numbers) else values.real
        modes = grid.forward(values)
        expected = torch.zeros(grid.modes, dtype=torch.complex128)
        mirrored = tuple(-k for k in numbers)
        for place in {numbers, mirrored} if real else {numbers}:
            if not real or place[-1] >= 0:
                expected[tuple(k % n for k, n in zip(place, shape, strict=True))] = 1
        torch.testing.assert_close(modes, expected, atol=1e-14, rtol=0)
        torch.testing.assert_close(grid.inverse(modes), values, atol=1e-14, rtol=0)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("name", BOXES)
def test_pruned_transforms_are_the_whole_ones_without_the_other_modes(name, real):
    lower, lengths, shape = BOXES[name]
    whole = FourierGrid(lower, lengths, shape, real)
    bounds = [n / 3 for n in shape]
    part = FourierGrid(lower, lengths, shape, real, bounds)
    values = draw(2, 3, *shape, real=real)
    modes = whole.forward(values)
    inside = whole.within(bounds)
    assert part.modes == tuple(
        math.ceil(b) if real and i == len(shape) - 1 else 2 * math.ceil(b) - 1
        for i, b in enumerate(bounds)
    )
    found = part.forward(values)
    torch.testing.assert_close(found.flatten(), modes[..., inside].flatten(), atol=1e-14, rtol=0)
    torch.testing.assert_close(
        part.inverse(found), whole.inverse(modes * inside), atol=1e-13, rtol=0
    )


def test_the_bound_itself_is_left_out():
    """With n divisible by 3, mode n/3 aliases onto −n/3."""
    for n, largest in ((12, 3), (13, 4), (14, 4), (15, 4), (16, 5)):
        kept = FourierGrid([0], [1], [n], bounds=[n / 3]).numbers[0]
        assert kept.max() == largest
        kept = FourierGrid([0], [1], [n], False, bounds=[n / 3]).numbers[0]
        assert kept.max() == largest and kept.min() == -largest


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("name", BOXES)
def test_derivatives_of_waves(name, real):
    lower, lengths, shape = BOXES[name]
    grid = FourierGrid(lower, lengths, shape, real)
    numbers = tuple(-1 if i == 0 else 2 for i in range(len(shape)))
    values = wave(grid, numbers)
    modes = grid.forward(values.real if real else values)
    for index in itertools.product(range(4), repeat=len(shape)):
        scale = 1.0
        for k, s, order in zip(numbers, lengths, index, strict=True):
            scale = scale * (2j * math.pi * k / s) ** order
        expected = scale * values
        found = grid.inverse(grid.factor(index) * modes)
        expected = expected.real if real else expected
        torch.testing.assert_close(found, expected, atol=1e-12 * max(1, abs(scale)), rtol=0)


def test_the_nyquist_mode_has_no_odd_derivative_and_keeps_even_ones():
    grid = FourierGrid([0], [2 * math.pi], [8])
    saw = torch.cos(4 * grid.points[0])
    modes = grid.forward(saw)
    assert not grid.inverse(grid.factor((1,)) * modes).abs().max() > 1e-14
    torch.testing.assert_close(grid.inverse(grid.factor((2,)) * modes), -16 * saw)
    for real in (True, False):
        plane = FourierGrid([0, 0], [1, 1], [6, 8], real)
        first = plane.factor((1, 0))
        assert not first[3].any() and first[2].abs().min() > 0
        assert not plane.factor((2, 1))[:, 4].any() and plane.factor((0, 2))[0, 4].abs() > 0
    odd = FourierGrid([0], [1], [7]).factor((1,))
    assert (odd[1:].abs() > 0).all()  # an odd number of points has no such mode


def test_factors_are_exactly_real_or_imaginary():
    """A real symbol with a stray imaginary part would cost twice, and break the symmetry."""
    grid = FourierGrid([0, 0], [3, 7], [8, 10])
    for index in itertools.product(range(5), repeat=2):
        factor = grid.factor(index)
        assert not (factor.imag if sum(index) % 2 == 0 else factor.real).any()


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("name", BOXES)
def test_parseval(name, real):
    lower, lengths, shape = BOXES[name]
    grid = FourierGrid(lower, lengths, shape, real)
    values = draw(*shape, real=real)
    found = (grid.parseval() * grid.forward(values).abs() ** 2).sum()
    assert found.item() == pytest.approx((values.abs() ** 2).mean().item(), rel=1e-13)


# ----------------------------------------------------------------------------------------- resample


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("shapes", [([8, 12], [20, 9]), ([20, 9], [8, 12]), ([9, 9], [9, 21])])
def test_resampling_keeps_what_both_grids_resolve(shapes, real):
    first, second = (FourierGrid([0, 0], [1, 2], s, real) for s in shapes)
    common = [min(a, b) for a, b in zip(*shapes, strict=True)]
    bounds = [n / 2 if n % 2 == 0 else (n + 1) / 2 for n in common]
    values = draw(3, *shapes[0], real=real)
    modes = first.forward(values) * first.within(bounds)
    found = second.resample(first.forward(values), first)
    back = first.resample(found, second)
    torch.testing.assert_close(back, modes, atol=1e-15, rtol=0)
    # the same trigonometric sum at the points that both grids have
    torch.testing.assert_close(
        second.inverse(found)[..., 0, 0], first.inverse(modes)[..., 0, 0], atol=1e-13, rtol=0
    )


def test_a_nyquist_mode_is_left_out_where_it_would_become_half_a_wave():
    """cos(4x) on 8 points may be any a e^{4ix} + (2 − a) e^{−4ix}: only equal grids keep it."""
    small, large = FourierGrid([0], [1], [8]), FourierGrid([0], [1], [12])
    modes = torch.zeros(5, dtype=torch.complex128)
    modes[4] = 1
    assert not large.resample(modes, small).any()
    assert small.resample(modes, small)[4] == 1
    high = torch.zeros(7, dtype=torch.complex128)
    high[4] = 1
    assert not small.resample(high, large).any()
    # the other axis of another size does not matter
    a, b = FourierGrid([0, 0], [1, 1], [8, 8]), FourierGrid([0, 0], [1, 1], [8, 16])
    modes = torch.zeros(a.modes, dtype=torch.complex128)
    modes[4, 1] = 1
    assert b.resample(modes, a)[4, 1] == 1


def test_resampling_from_and_to_pruned_grids():
    whole = FourierGrid([0, 0], [1, 1], [12, 12])
    pruned = FourierGrid([0, 0], [1, 1], [12, 12], bounds=[4, 4])
    modes = whole.forward(draw(2, 12, 12))
    torch.testing.assert_close(pruned.resample(modes, whole), pruned.forward(whole.inverse(modes)))
    torch.testing.assert_close(
        whole.resample(pruned.resample(modes, whole), pruned), modes * whole.within([4, 4])
    )


def test_float32_grids_hold_float32():
    grid = FourierGrid([0], [1], [8], dtype=torch.float32)
    assert grid.points[0].dtype == torch.float32
    assert grid.factor((1,)).dtype == torch.complex128  # multipliers are rounded last
