"""Boxes, balls and polygons: exact distance, normals, measures and uniform samples."""

import math

import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pdeml.domains import Ball, Box, Disk, Interval, Polygon, Rectangle

x, y, z = sp.symbols("x y z", real=True)
UNLIKELY = 0.0027  # the p-value of three standard errors
quick = settings(max_examples=12, deadline=None, derandomize=True)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def symbols(count):
    return sp.symbols(f"x0:{count}", real=True)


coordinate = st.floats(-50, 50, allow_subnormal=False)
length = st.floats(0.01, 20)


@st.composite
def boxes(draw):
    d = draw(st.integers(1, 5))
    lower = draw(st.lists(coordinate, min_size=d, max_size=d))
    sides = draw(st.lists(length, min_size=d, max_size=d))
    return Box(symbols(d), lower, [low + side for low, side in zip(lower, sides, strict=True)])


@st.composite
def balls(draw):
    d = draw(st.integers(1, 6))
    return Ball(symbols(d), draw(st.lists(coordinate, min_size=d, max_size=d)), draw(length))


@st.composite
def polygons(draw):
    """Star-shaped about a centre, so simple whatever the radii, mostly not convex."""
    radii = draw(st.lists(st.floats(0.2, 3), min_size=3, max_size=12))
    cx, cy = draw(coordinate), draw(coordinate)
    way = draw(st.sampled_from((1, -1)))
    turn = [way * 2 * math.pi * i / len(radii) for i in range(len(radii))]
    return Polygon(
        (x, y),
        [(cx + r * math.cos(a), cy + r * math.sin(a)) for r, a in zip(radii, turn, strict=True)],
    )


primitives = st.one_of(boxes(), balls(), polygons())


def extent(domain):
    return max(high - low for low, high in zip(*domain.bounds, strict=True))


def magnitude(domain):
    return max(abs(value) for corner in domain.bounds for value in corner)


def around(domain, n, seed=0):
    """Points in and around the domain."""
    lower, upper = torch.tensor(domain.bounds, dtype=torch.float64)
    u = torch.rand(n, domain.dim, generator=seeded(seed), dtype=torch.float64)
    return lower + (upper - lower) * (1.6 * u - 0.3)


@quick
@given(primitives, st.integers(0, 2**31), st.sampled_from(("uniform", "sobol", "lhs")))
def test_samples_lie_inside_and_boundary_points_on_the_boundary(domain, seed, method):
    small = 1e-12 * magnitude(domain)
    points = domain.sample(40, seeded(seed), method)
    assert domain.contains(points, tolerance=1e-14 * magnitude(domain)).all()
    sample = domain.sample_boundary(40, seeded(seed), method=method)
    assert domain.signed_distance(sample.points).abs().max() < small
    assert (domain.part_of(sample.points) == sample.parts).float().mean() > 0.9


@quick
@given(primitives, st.integers(0, 2**31))
def test_normals_have_unit_length_and_point_outwards(domain, seed):
    points, normals, _ = domain.sample_boundary(40, seeded(seed))
    assert torch.allclose(normals.norm(dim=1), torch.ones(40, dtype=torch.float64), atol=1e-13)
    assert torch.allclose(domain.normals(points), normals, atol=1e-9)
    step = 1e-7 * extent(domain)
    assert (domain.signed_distance(points + step * normals) > 0.1 * step).all()
    assert (domain.signed_distance(points - step * normals) < -0.1 * step).all()


@quick
@given(primitives, st.integers(0, 100))
def test_signed_distance_is_the_distance_to_the_nearest_boundary_point(domain, seed):
    """p − d ∇d is on the boundary, |∇d| = 1, and no sampled boundary point is nearer."""
    points = around(domain, 50, seed).requires_grad_()
    distance = domain.signed_distance(points)
    (gradient,) = torch.autograd.grad(distance.sum(), points)
    # A ball's distance has no gradient at its centre only, which a random point does not meet.
    assert torch.allclose(gradient.norm(dim=1), torch.ones(50, dtype=torch.float64), atol=1e-9)
    foot = points - distance[:, None] * gradient
    tiny = 1e-11 * (magnitude(domain) + extent(domain))
    assert domain.signed_distance(foot).abs().max() < tiny
    boundary = domain.sample_boundary(500, seeded(seed)).points
    assert (torch.cdist(points, boundary).amin(dim=1) > distance.abs() - tiny).all()


def even_odd(point, vertices):
    """Winding number by summed angles: another way to decide what is inside."""
    turned = 0.0
    for (ax, ay), (bx, by) in zip(vertices, [*vertices[1:], vertices[0]], strict=True):
        a = math.atan2(ay - point[1], ax - point[0])
        b = math.atan2(by - point[1], bx - point[0])
        turned += math.remainder(b - a, 2 * math.pi)
    return abs(turned) > math.pi


@quick
@given(polygons(), st.integers(0, 100))
def test_polygon_membership_agrees_with_winding_numbers(polygon, seed):
    points = around(polygon, 60, seed)
    expected = [even_odd(point, polygon.vertices) for point in points.tolist()]
    assert polygon.contains(points).tolist() == expected


@quick
@given(polygons())
def test_polygon_triangulation_covers_its_area(polygon):
    a, b, c = polygon._triangles.swapaxes(0, 1)
    areas = 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    assert (areas >= -1e-12).all()
    assert areas.sum() == pytest.approx(polygon.volume, rel=1e-9)


PENTAGRAM = [
    (r * math.sin(math.pi * i / 5), r * math.cos(math.pi * i / 5))
    for i, r in enumerate([1.0, 0.4] * 5)
]
COMB = [(0, 0), (7, 0), (7, 3), (6, 3), (6, 1), (5, 1), (5, 3), (4, 3), (4, 1), (3, 1), (3, 3)]
COMB += [(2, 3), (2, 1), (1, 1), (1, 3), (0, 3)]

PRIMITIVES = [
    (Interval(x, -1, 2.5), 3.5, 2.0),
    (Rectangle((x, y), (-1, 0), (2, 0.5)), 1.5, 7.0),
    (Box((x, y, z), (0, 0, 0), (1, 2, 3)), 6.0, 22.0),
    (Disk((x, y), (1, -1), 0.5), math.pi / 4, math.pi),
    (Ball((x,), (3,), 2), 4.0, 2.0),
    (Ball((x, y, z), (1, 0, 0), 2), 32 * math.pi / 3, 16 * math.pi),
    (Ball(symbols(4), (0,) * 4, 1.5), math.pi**2 / 2 * 1.5**4, 2 * math.pi**2 * 1.5**3),
    (Ball(symbols(5), (0,) * 5, 1), 8 * math.pi**2 / 15, 8 * math.pi**2 / 3),
    (Polygon((x, y), [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]), 3.0, 8.0),
    (Polygon((x, y), COMB), 7 + 4 * 2, 14 + 6 + 6 * 2),
    (Polygon((x, y), PENTAGRAM[::-1]), 10 * 0.2 * math.sin(math.pi / 5), None),
]


@pytest.mark.parametrize("domain, volume, area", PRIMITIVES, ids=lambda value: str(value)[:24])
def test_measures_agree_with_monte_carlo(domain, volume, area):
    """Volume by hits in the bounding box; area by the divergence theorem ∮ x·n dS = d |Ω|."""
    assert domain.volume == pytest.approx(volume, rel=1e-12)
    if area is not None:
        assert domain.area == pytest.approx(area, rel=1e-12)
    n = 20_000
    lower, upper = torch.tensor(domain.bounds, dtype=torch.float64)
    u = torch.rand(n, domain.dim, generator=seeded(1), dtype=torch.float64)
    hits = domain.contains(lower + (upper - lower) * u).double()
    box = float((upper - lower).prod())
    assert abs(float(hits.mean()) * box - volume) <= 3 * box * float(hits.std()) / n**0.5 + 1e-12

    points, normals, _ = domain.sample_boundary(n, seeded(2))
    flux = domain.area * ((points - lower) * normals).sum(dim=1)
    error = float(flux.mean()) - domain.dim * volume
    assert abs(error) <= 3 * float(flux.std()) / n**0.5 + 1e-12
    total = domain.area * normals
    assert (total.mean(dim=0).abs() <= 3 * total.std(dim=0) / n**0.5 + 1e-12).all()


@pytest.mark.parametrize("domain, volume, area", PRIMITIVES, ids=lambda value: str(value)[:24])
@pytest.mark.parametrize("method", ["uniform", "sobol", "lhs"])
def test_interior_samples_are_uniform(domain, volume, area, method):
    """Moments up to degree two equal those of points of the bounding box that are inside."""
    lower, upper = torch.tensor(domain.bounds, dtype=torch.float64)

    def moments(points):
        s = 2 * (points - lower) / (upper - lower) - 1
        return torch.cat([s, (s[:, :, None] * s[:, None]).flatten(1)], dim=1)

    n = 4000
    u = torch.rand(60_000, domain.dim, generator=seeded(3), dtype=torch.float64)
    inside = lower + (upper - lower) * u
    expected = moments(inside[domain.contains(inside)])
    found = moments(domain.sample(n, seeded(4), method))
    spread = (found.var(dim=0) / n + expected.var(dim=0) / len(expected)).sqrt()
    assert ((found.mean(dim=0) - expected.mean(dim=0)).abs() < 3.5 * spread).all()


def uniform_p_value(values):
    return stats.kstest(values.numpy(), "uniform").pvalue


def test_rectangle_boundary_is_uniform_in_arc_length():
    rectangle = Rectangle((x, y), (-1, 0), (3, 1))
    points, _, parts = rectangle.sample_boundary(5000, seeded(5))
    counts = torch.bincount(parts, minlength=4).numpy()
    assert stats.chisquare(counts, [500, 500, 2000, 2000]).pvalue > UNLIKELY
    for part, axis in enumerate((1, 1, 0, 0)):
        low, high = rectangle.lower[axis], rectangle.upper[axis]
        assert uniform_p_value((points[parts == part, axis] - low) / (high - low)) > UNLIKELY


def test_box_faces_are_uniform():
    box = Box((x, y, z), (0, 0, 0), (1, 2, 3))
    points, normals, parts = box.sample_boundary(6000, seeded(6))
    areas = [6, 6, 3, 3, 2, 2]
    counts = torch.bincount(parts, minlength=6).numpy()
    assert stats.chisquare(counts, [6000 * area / 22 for area in areas]).pvalue > UNLIKELY
    for part, name in enumerate(("left", "right", "bottom", "top", "back", "front")):
        assert box.parts[part] == name
        here = points[parts == part] / torch.tensor(box.upper, dtype=torch.float64)
        assert (here[:, part // 2] == part % 2).all()
        assert (normals[parts == part][:, part // 2] == 2 * (part % 2) - 1).all()
        for axis in {0, 1, 2} - {part // 2}:
            assert uniform_p_value(here[:, axis]) > UNLIKELY


@pytest.mark.parametrize("d", [2, 3, 5, 100])
def test_ball_samples_are_uniform_in_direction_and_in_volume(d):
    """(n·e)² ~ Beta(1/2, (d−1)/2) on the sphere; (r/R)^d is uniform in the ball."""
    ball = Ball(symbols(d), [1.0] * d, 2.0)
    normals = ball.sample_boundary(3000, seeded(7)).normals
    law = stats.beta(0.5, (d - 1) / 2)
    assert stats.kstest(normals[:, d // 2].square().numpy(), law.cdf).pvalue > UNLIKELY
    assert abs(float(normals[:, d // 2].sign().mean())) < 3 / 3000**0.5
    offset = (ball.sample(3000, seeded(8)) - 1) / 2
    assert uniform_p_value(offset.norm(dim=1) ** d) > UNLIKELY
    direction = offset[:, 0] / offset.norm(dim=1)
    assert stats.kstest(direction.square().numpy(), law.cdf).pvalue > UNLIKELY


def test_polygon_edges_are_uniform_and_keep_the_given_order():
    polygon = Polygon((x, y), [(0, 0), (0, 2), (1, 2), (1, 1), (2, 1), (2, 0)])
    assert polygon.parts == tuple(f"edge{i}" for i in range(6))
    points, normals, parts = polygon.sample_boundary(6000, seeded(9))
    counts = torch.bincount(parts, minlength=6).numpy()
    assert stats.chisquare(counts, [1500, 750, 750, 750, 750, 1500]).pvalue > UNLIKELY
    assert uniform_p_value(points[parts == 0, 1] / 2) > UNLIKELY
    assert (normals[parts == 0] == torch.tensor([-1.0, 0.0], dtype=torch.float64)).all()
    assert (normals[parts == 3] == torch.tensor([0.0, 1.0], dtype=torch.float64)).all()


@pytest.mark.parametrize("method", ["uniform", "sobol", "lhs"])
def test_a_hundred_dimensions(method):
    coordinates = symbols(100)
    box = Box(coordinates, [-1.0] * 100, [1.0] * 99 + [3.0])
    ball = Ball(coordinates, [0.5] * 100, 2.0)
    assert box.parts[:6] == ("left", "right", "bottom", "top", "back", "front")
    assert box.parts[-2:] == ("x99_min", "x99_max")
    for domain in (box, ball):
        assert domain.contains(domain.sample(256, seeded(), method)).all()
        points, normals, parts = domain.sample_boundary(256, seeded(), method=method)
        assert domain.signed_distance(points).abs().max() < 1e-12
        assert (domain.signed_distance(points + 1e-6 * normals) > 0).all()
        assert (domain.signed_distance(points - 1e-6 * normals) < 0).all()
        assert (domain.part_of(points) == parts).all()
    assert ball.volume == pytest.approx(math.pi**50 / math.factorial(50) * 2.0**100, rel=1e-10)
    on_last = box.sample_boundary(10, seeded(), on="x99_max", method=method)
    assert (on_last.points[:, 99] == 3.0).all()


def test_measures_beyond_the_float_range_do_not_spoil_sampling():
    box = Box(symbols(200), [0.0] * 200, [1e-3] * 199 + [2e-3])
    assert box.volume == 0.0  # 1e-600 underflows, its ratios must not
    parts = box.sample_boundary(8000, seeded()).parts
    on_last = int((parts >= 398).sum())
    expected = 8000 * 0.5 / (199 + 0.5)
    assert abs(on_last - expected) < 3.5 * expected**0.5


def test_distances_by_hand():
    box = Rectangle((x, y), (0, 0), (2, 1))
    points = torch.tensor([[5.0, 5.0], [1.0, 0.4], [-1.0, 0.5], [0.1, 0.5]], dtype=torch.float64)
    expected = torch.tensor([5.0, -0.4, 1.0, -0.1], dtype=torch.float64)
    assert torch.allclose(box.signed_distance(points), expected, atol=1e-15)
    notch = Polygon((x, y), [(0, 0), (2, 0), (1, 0.5), (2, 1), (0, 1)])
    outside = torch.tensor([[2.0, 0.5], [0.5, 0.5]], dtype=torch.float64)
    expected = torch.tensor([1 / math.sqrt(1.25), -0.5], dtype=torch.float64)
    assert torch.allclose(
        notch.signed_distance(outside), torch.tensor([expected[0] / 2, -0.5]).double(), atol=1e-14
    )
