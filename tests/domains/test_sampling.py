"""Point sets of the unit cube, their way into domains, and residual-adaptive selection."""

import itertools
import math

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pdeml.domains import (
    METHODS,
    Ball,
    Box,
    Disk,
    Interval,
    Polygon,
    Rectangle,
    Time,
    residual_adaptive,
    unit_points,
)
from pdeml.errors import InvalidOption

x, y, t = sp.symbols("x y t", real=True)
UNLIKELY = 0.0027  # the p-value of three standard errors


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def one_per_stratum(column, low=0.0, high=1.0):
    strata = ((column - low) / (high - low) * len(column)).floor().long()
    return strata.sort().values.tolist() == list(range(len(column)))


def is_net(points, bits):
    """Every elementary rectangle of area 2^−bits holds one of the 2^bits points."""
    for a in range(bits + 1):
        cells = (points * torch.tensor([2.0**a, 2.0 ** (bits - a)])).floor()
        if len(torch.unique(cells, dim=0)) < 2**bits:
            return False
    return True


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(1, 200), st.integers(1, 6), st.sampled_from(METHODS), st.integers(0, 2**31))
def test_unit_points_are_as_many_as_asked_and_inside(n, d, method, seed):
    if method == "grid" and 2**d > max(n, 16):
        return
    points = unit_points(n, d, method, seeded(seed))
    assert points.shape == (n, d) and points.dtype == torch.float64
    assert ((points >= 0) & (points <= 1)).all()
    assert len(torch.unique(points, dim=0)) == n


def test_latin_hypercube_has_one_point_per_stratum():
    points = unit_points(37, 12, "lhs", seeded())
    assert all(one_per_stratum(points[:, axis]) for axis in range(12))
    # … and its strata are independent between axes, not the same permutation.
    assert abs(np.corrcoef(points[:, 0], points[:, 1])[0, 1]) < 0.5
    inside = unit_points(20_000, 1, "lhs", seeded()) * 20_000 % 1
    assert stats.kstest(inside[:, 0].numpy(), "uniform").pvalue > UNLIKELY


def test_sobol_points_form_a_net():
    assert is_net(unit_points(256, 2, "sobol", seeded()), 8)
    assert not is_net(unit_points(256, 2, "lhs", seeded()), 8)


def test_grid_is_regular_and_thinned_only_where_it_must_be():
    points = unit_points(12, 2, "grid", seeded())
    expected = itertools.product([1 / 8, 3 / 8, 5 / 8, 7 / 8], [1 / 6, 1 / 2, 5 / 6])
    assert torch.allclose(points, torch.tensor(list(expected), dtype=torch.float64))
    thinned = unit_points(11, 2, "grid", seeded())
    assert all(((row - points).abs().sum(dim=1) < 1e-12).any() for row in thinned)
    with pytest.raises(InvalidOption, match=r"grid of 1000 points .* 100 axes"):
        unit_points(1000, 100, "grid", seeded())


@pytest.mark.parametrize(
    "domain",
    [
        Interval(x, 2, 5),
        Disk((x, y), (1, 0), 2),
        Polygon((x, y), [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]),
        Rectangle((x, y), (0, 0), (2, 2)) - Disk((x, y), (1, 1), 0.5),
        Interval(x, 0, 1) * Time(t, 0, 2),
        (Disk((x, y), (0, 0), 1) | Disk((x, y), (1, 0), 1)) * Time(t, -1, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_points(domain, method):
    first = domain.sample(50, seeded(3), method)
    assert torch.equal(first, domain.sample(50, seeded(3), method))
    edge = domain.sample_boundary(50, seeded(3), method=method)
    again = domain.sample_boundary(50, seeded(3), method=method)
    assert all(torch.equal(a, b) for a, b in zip(edge, again, strict=True))
    if method != "grid":
        assert not torch.equal(first, domain.sample(50, seeded(4), method))
        # The generator moves on: two draws are two sets.
        generator = seeded(3)
        domain.sample(50, generator, method)
        assert not torch.equal(first, domain.sample(50, generator, method))
    assert first.shape == (50, domain.dim) and edge.points.shape == (50, domain.dim)


def test_global_random_state_is_neither_used_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    domain = Rectangle((x, y), (0, 0), (2, 2)) - Disk((x, y), (1, 1), 0.5)
    points = [domain.sample(20, seeded(), method) for method in METHODS]
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    for method, expected in zip(METHODS, points, strict=True):
        assert torch.equal(domain.sample(20, seeded(), method), expected)


def test_stratification_survives_the_maps_into_domains():
    box = Box((x, y), (-1, 0), (3, 2))
    points = box.sample(64, seeded(), "lhs")
    assert one_per_stratum(points[:, 0], -1, 3) and one_per_stratum(points[:, 1], 0, 2)
    disk = Disk((x, y), (0, 0), 2).sample(64, seeded(), "lhs")
    assert one_per_stratum((disk.norm(dim=1) / 2) ** 2)
    assert one_per_stratum(torch.atan2(disk[:, 1], disk[:, 0]) % (2 * math.pi) / (2 * math.pi))
    slab = Interval(x, 0, 2) * Time(t, 1, 5)
    net = (slab.sample(256, seeded(), "sobol") - torch.tensor([0.0, 1.0])) / torch.tensor(
        [2.0, 4.0]
    )
    assert is_net(net, 8)


@pytest.mark.parametrize("method", ["sobol", "lhs", "grid"])
def test_boundaries_are_evenly_covered_along_their_length(method):
    rectangle = Rectangle((x, y), (0, 0), (3, 1))
    points, _, parts = rectangle.sample_boundary(64, seeded(), method=method)
    assert torch.bincount(parts).tolist() == [8, 8, 24, 24]
    for part, axis in enumerate((1, 1, 0, 0)):
        assert one_per_stratum(points[parts == part, axis], 0, rectangle.upper[axis])
    circle = Disk((x, y), (0, 0), 1).sample_boundary(64, seeded(), method=method).points
    assert one_per_stratum(torch.atan2(circle[:, 1], circle[:, 0]) % (2 * math.pi) / (2 * math.pi))


def test_boundary_times_are_stratified_with_the_points():
    slab = Rectangle((x, y), (0, 0), (1, 1)) * Time(t, 0, 4)
    points, normals, parts = slab.sample_boundary(256, seeded(), method="sobol")
    along = torch.where(parts < 2, points[:, 1], points[:, 0])
    assert is_net(torch.stack([(parts + along) / 4, points[:, 2] / 4], dim=1), 8)
    assert normals.shape == (256, 2)
    ends = Interval(x, 0, 1) * Time(t, 0, 4)
    for method in ("sobol", "lhs", "grid"):
        left = ends.sample_boundary(32, seeded(), on="left", method=method).points
        assert (left[:, 0] == 0).all() and one_per_stratum(left[:, 1], 0, 4)


@pytest.mark.parametrize("method, ratio", [("sobol", 0.2), ("lhs", 0.4), ("grid", 0.6)])
def test_low_discrepancy_beats_random_points(method, ratio):
    """Root-mean-square error of a smooth integral over a disk with a hole, 30 seeds."""
    region = Disk((x, y), (0, 0), 2) - Disk((x, y), (0, 0), 1)

    def error(kind):
        values = [region.sample(512, seeded(s), kind).square().sum(1).mean() for s in range(30)]
        return float((torch.stack(values) - 2.5).square().mean().sqrt())

    assert error(method) < ratio * error("uniform")


def test_grid_in_a_disk_is_cartesian():
    points = Disk((x, y), (0, 0), 1).sample(400, seeded(), "grid")
    for axis in range(2):
        levels = points[:, axis].unique()
        steps = levels.round(decimals=12).unique().diff()
        assert torch.allclose(steps, steps[0].expand_as(steps))
    assert (points.norm(dim=1) < 1).all()


def test_dtype_and_device():
    domain = Interval(x, 0, 1) * Time(t, 0, 1)
    points = domain.sample(10, seeded(), dtype=torch.float32, device="cpu")
    assert points.dtype == torch.float32
    assert torch.allclose(points.double(), domain.sample(10, seeded()), atol=1e-7)
    sample = domain.sample_boundary(10, seeded(), dtype=torch.float32)
    assert (sample.points.dtype, sample.normals.dtype) == (torch.float32, torch.float32)
    assert sample.parts.dtype == torch.int64
    assert domain.signed_distance(points).dtype == torch.float32
    assert (domain.part_of(sample.points) == sample.parts).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("method", METHODS)
def test_cuda_generators_and_cpu_generators(method):
    domain = (Rectangle((x, y), (0, 0), (2, 2)) - Disk((x, y), (1, 1), 0.5)) * Time(t, 0, 1)
    moved = domain.sample(64, seeded(), method, device="cuda")
    assert torch.equal(moved.cpu(), domain.sample(64, seeded(), method))
    generator = torch.Generator("cuda").manual_seed(0)
    points = domain.sample(64, generator, method)
    assert points.is_cuda and domain.contains(points).all()
    edge = domain.sample_boundary(64, generator, method=method)
    assert edge.points.is_cuda and edge.parts.is_cuda
    assert domain.space.signed_distance(edge.points[:, :-1]).abs().max() < 1e-12
    chosen = residual_adaptive(points, points[:, 0], 10, generator)
    assert chosen.is_cuda and len(chosen.unique()) == 10


domain = Rectangle((x, y), (0, 0), (1, 1))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: domain.sample(0, seeded()), "0 points were asked for"),
        (lambda: domain.sample(-3, seeded()), "-3 points were asked for"),
        (lambda: domain.sample(2.5, seeded()), "2.5 is no number of points"),
        (lambda: domain.sample(True, seeded()), "True is no number of points"),
        (lambda: domain.sample(5, seeded(), "halton"), "'uniform', 'sobol', 'lhs', 'grid'"),
        (lambda: domain.sample(5, 0), "torch.Generator"),
        (lambda: domain.sample(5, seeded(), dtype=torch.int64), "torch.float64"),
        (lambda: domain.sample_boundary(5, seeded(), on="inlet"), "'left', 'right', 'bottom'"),
        (lambda: domain.sample_boundary(0, seeded()), "positive integer"),
        (lambda: domain.contains(torch.zeros(4, 3)), r"\(4, 3\).*\(N, 2\).*\(x, y\)"),
        (lambda: domain.signed_distance(torch.zeros(2)), r"\(N, 2\)"),
        (lambda: domain.normals(torch.zeros(2, 2, dtype=torch.int64)), "floating"),
        (lambda: unit_points(4, -1, "uniform", seeded()), "dimension"),
        (lambda: unit_points(4, 21202, "sobol", seeded()), "21201"),
        (
            lambda: Ball(sp.symbols("x0:20"), [0] * 20, 1).sample(2**20, seeded(), "grid"),
            'too few for "grid"',
        ),
    ],
)
def test_bad_requests(call, message):
    with pytest.raises(InvalidOption, match=message):
        call()


def test_residual_adaptive_frequencies_follow_the_probabilities():
    residual = torch.tensor([0.0, -1.0, 2.0, 5.0], dtype=torch.float64)
    pool = torch.zeros(4, 1)
    for power, constant in [(1.0, 1.0), (2.0, 0.5), (0.5, 2.0)]:
        weight = residual.abs() ** power / (residual.abs() ** power).mean() + constant
        generator, draws = seeded(1), 4000
        chosen = [
            int(residual_adaptive(pool, residual, 1, generator, power, constant))
            for _ in range(draws)
        ]
        expected = (draws * weight / weight.sum()).numpy()
        assert stats.chisquare(np.bincount(chosen, minlength=4), expected).pvalue > UNLIKELY


def test_residual_adaptive_draws_without_replacement_one_after_the_other():
    """The pair (i, j) has probability p_i p_j / (1 − p_i)."""
    residual = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)
    p = (residual / 3 + 1) / (residual / 3 + 1).sum()
    generator, draws = seeded(2), 4000
    counts = np.zeros((3, 3))
    for _ in range(draws):
        i, j = residual_adaptive(torch.zeros(3, 1), residual, 2, generator).tolist()
        counts[i, j] += 1
    pairs = list(itertools.permutations(range(3), 2))
    expected = [draws * float(p[i] * p[j] / (1 - p[i])) for i, j in pairs]
    assert counts.trace() == 0
    assert stats.chisquare([counts[pair] for pair in pairs], expected).pvalue > UNLIKELY


def test_residual_adaptive_on_a_large_pool():
    """Four classes of residual, 4000 of 80 000 points: class counts follow the summed p."""
    level = torch.arange(4).repeat_interleave(20_000)
    chosen = residual_adaptive(torch.zeros(80_000, 2), level.double(), 4000, seeded(3))
    assert len(chosen.unique()) == 4000
    weight = torch.arange(4) / 1.5 + 1
    # Without replacement from a finite pool flattens the law by less than this allows.
    share = torch.bincount(level[chosen], minlength=4) / 4000
    assert torch.allclose(share, weight / weight.sum(), atol=0.02)
    again = residual_adaptive(torch.zeros(80_000, 2), level.double(), 4000, seeded(3))
    assert torch.equal(chosen, again)


def test_residual_adaptive_extremes():
    pool = torch.zeros(6, 2)
    everything = residual_adaptive(pool, torch.rand(6), 6, seeded())
    assert everything.sort().values.tolist() == list(range(6))
    only = torch.tensor([0.0, 0, 1, 0, 3, 0])
    chosen = residual_adaptive(pool, only, 2, seeded(), constant=0.0)
    assert chosen.sort().values.tolist() == [2, 4]
    assert len(residual_adaptive(pool, torch.zeros(6), 4, seeded(), constant=0.0).unique()) == 4
    huge = torch.tensor([1e200, 0, 0, 0, 0, 0], dtype=torch.float64)
    assert residual_adaptive(pool, huge, 1, seeded(), power=3.0, constant=0.0).tolist() == [0]
    complex_residual = torch.tensor([0, 0, 0, 0, 0, 3 + 4j])
    assert residual_adaptive(pool, complex_residual, 1, seeded(), constant=0.0).tolist() == [5]


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda p, r: residual_adaptive(p, r[:3], 2, seeded()),
            r"\(4, 2\) and a residual .*\(3,\)",
        ),
        (lambda p, r: residual_adaptive(p, r[:, None], 2, seeded()), r"\(M,\)"),
        (lambda p, r: residual_adaptive(p, r, 5, seeded()), "5 points .* pool of 4"),
        (lambda p, r: residual_adaptive(p, r, 0, seeded()), "positive"),
        (lambda p, r: residual_adaptive(p, r * math.nan, 2, seeded()), "not finite at point 0"),
        (lambda p, r: residual_adaptive(p, r, 2, seeded(), power=-1), "power = -1"),
        (lambda p, r: residual_adaptive(p, r, 2, seeded(), constant=math.nan), "constant = nan"),
        (lambda p, r: residual_adaptive(p, r, 4, seeded(), constant=0), "only 3 points"),
        (lambda p, r: residual_adaptive(p, r, 2, None), "torch.Generator"),
    ],
)
def test_bad_residual_adaptive_arguments(call, message):
    with pytest.raises(InvalidOption, match=message):
        call(torch.zeros(4, 2), torch.tensor([0.0, 1, 2, 3]))
