"""Union, intersection, difference: sign, true boundary, orientation, uniformity, closed forms."""

import math
from dataclasses import dataclass

import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pdeml.domains import Ball, Box, Disk, Domain, Interval, Polygon, Rectangle
from pdeml.errors import InvalidOption, InvalidProblem

x, y, z = sp.symbols("x y z", real=True)
pi = math.pi
UNLIKELY = 0.0027  # the p-value of three standard errors


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def disk(cx, cy, radius):
    return Disk((x, y), (cx, cy), radius)


def rectangle(x0, y0, x1, y1):
    return Rectangle((x, y), (x0, y0), (x1, y1))


@dataclass
class Case:
    name: str
    region: Domain
    volume: float
    area: float
    parts: tuple[str, ...]


LENS = 2 * pi / 3 - math.sqrt(3) / 2
sides = ("left", "right", "bottom", "top")


def prefixed(ordinal, *names):
    return tuple(f"{ordinal}.{name}" for name in names)


CASES = [
    Case(
        "plate with a hole",
        rectangle(0, 0, 2, 2) - disk(1, 1, 0.5),
        4 - pi / 4,
        8 + pi,
        (*sides, "boundary"),
    ),
    Case(
        "quarter cut away",
        rectangle(0, 0, 1, 1) - disk(0, 0, 0.5),
        1 - pi / 16,
        3 + pi / 4,
        (*sides, "boundary"),
    ),
    Case(
        "lens",
        disk(0, 0, 1) & disk(1, 0, 1),
        LENS,
        4 * pi / 3,
        ("first.boundary", "second.boundary"),
    ),
    Case(
        "two disks",
        disk(0, 0, 1) | disk(1, 0, 1),
        2 * pi - LENS,
        8 * pi / 3,
        ("first.boundary", "second.boundary"),
    ),
    Case(
        "L of two rectangles that share a face",
        rectangle(0, 0, 2, 1) | rectangle(0, 1, 1, 2),
        3,
        8,
        prefixed("first", *sides) + prefixed("second", "left", "right", "top"),
    ),
    Case(
        "L as a difference with flush faces",
        rectangle(0, 0, 2, 2) - rectangle(1, 1, 2, 2),
        3,
        8,
        prefixed("first", *sides) + prefixed("second", "left", "bottom"),
    ),
    Case(
        "rectangles that overlap along the same lines",
        rectangle(0, 0, 1, 1) | rectangle(0.5, 0, 2, 1),
        2,
        6,
        prefixed("first", "left", "bottom", "top") + prefixed("second", "right", "bottom", "top"),
    ),
    Case(
        "hole with an island",
        (rectangle(0, 0, 4, 4) - disk(2, 2, 1.5)) | disk(2, 2, 0.5),
        16 - 2 * pi,
        16 + 4 * pi,
        (*sides, "first.boundary", "second.boundary"),
    ),
    Case(
        "ring taken away: twice reversed",
        rectangle(0, 0, 4, 4) - (disk(2, 2, 1.5) - disk(2, 2, 0.5)),
        16 - 2 * pi,
        16 + 4 * pi,
        (*sides, "first.boundary", "second.boundary"),
    ),
    Case(
        "three disks in a row taken away",
        rectangle(0, 0, 6, 2) - disk(1, 1, 0.5) - disk(3, 1, 0.25) - disk(5, 1, 0.5),
        12 - pi / 2 - pi / 16,
        16 + 2.5 * pi,
        (*sides, "second.boundary", "third.boundary", "fourth.boundary"),
    ),
    Case(
        "triangle and rectangle",
        Polygon((x, y), [(0, 0), (4, 0), (0, 4)]) & rectangle(0, 0, 2, 3),
        5.5,
        2 + 2 + math.sqrt(2) + 1 + 3,
        ("edge0", "edge1", "edge2", "right", "top"),
    ),
    Case(
        "spherical shell",
        Ball((x, y, z), (0, 0, 0), 1) - Ball((x, y, z), (0, 0, 0), 0.5),
        7 * pi / 6,
        5 * pi,
        ("first.boundary", "second.boundary"),
    ),
    Case(
        "cube without a corner",
        Box((x, y, z), (0, 0, 0), (1, 1, 1)) - Ball((x, y, z), (0, 0, 0), 0.5),
        1 - pi / 48,
        6 - 3 * pi / 16 + pi / 8,
        (*sides, "back", "front", "boundary"),
    ),
    Case(
        "two intervals apart",
        Interval(x, 0, 1) | Interval(x, 2, 4),
        3,
        4,
        ("first.left", "first.right", "second.left", "second.right"),
    ),
    Case(
        "two intervals that touch",
        Interval(x, 0, 1) | Interval(x, 1, 2),
        2,
        2,
        ("first.left", "second.right"),
    ),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
def test_volume_and_boundary_measure_against_closed_forms(case):
    """Volume by hits in the bounding box; area by ∮ x·n dS = d |Ω| and ∮ n dS = 0."""
    region, d, n = case.region, case.region.dim, 10_000
    lower, upper = torch.tensor(region.bounds, dtype=torch.float64)
    u = torch.rand(n, d, generator=seeded(1), dtype=torch.float64)
    hits = region.contains(lower + (upper - lower) * u).double()
    box = float((upper - lower).prod())
    assert abs(float(hits.mean()) * box - case.volume) <= 3 * box * float(hits.std()) / n**0.5

    points, normals, _ = region.sample_boundary(n, seeded(2))
    flux = case.area * ((points - lower) * normals).sum(dim=1)
    error = float(flux.mean()) - d * case.volume
    assert abs(error) <= 3 * float(flux.std()) / n**0.5
    total = case.area * normals
    assert (total.mean(dim=0).abs() <= 3 * total.std(dim=0) / n**0.5).all()


@each_case
@pytest.mark.parametrize("method", ["uniform", "sobol", "lhs", "grid"])
def test_interior_and_boundary_samples_agree_through_the_divergence_theorem(case, method):
    """∮ x_i² n_i dS = 2 ∫ x_i dV fails if either sample is not uniform."""
    region, n = case.region, 8000
    lower = torch.tensor(region.bounds[0], dtype=torch.float64)
    inside = 2 * case.volume * (region.sample(n, seeded(3), method) - lower)
    points, normals, _ = region.sample_boundary(n, seeded(4), method=method)
    across = case.area * (points - lower).square() * normals
    spread = ((inside.var(dim=0) + across.var(dim=0)) / n).sqrt()
    assert ((inside.mean(dim=0) - across.mean(dim=0)).abs() <= 3 * spread).all()


@each_case
@pytest.mark.parametrize("method", ["uniform", "sobol", "lhs", "grid"])
def test_samples_lie_where_they_should(case, method):
    region = case.region
    points = region.sample(300, seeded(), method)
    assert points.shape == (300, region.dim)
    assert (region.signed_distance(points) < 0).all()
    points, normals, parts = region.sample_boundary(300, seeded(), method=method)
    assert region.signed_distance(points).abs().max() < 1e-12
    step = 1e-7
    assert not region.contains(points + step * normals).any()
    assert region.contains(points - step * normals).all()
    assert torch.allclose(normals.norm(dim=1), torch.ones(300, dtype=torch.float64), atol=1e-13)
    assert torch.allclose(region.normals(points), normals, atol=1e-9)
    assert (region.part_of(points) == parts).all()


@each_case
def test_parts_are_those_of_the_true_boundary(case):
    region = case.region
    assert region.parts == case.parts
    for index, name in enumerate(region.parts):
        sample = region.sample_boundary(20, seeded(), on=name)
        assert (sample.parts == index).all()
        assert region.signed_distance(sample.points).abs().max() < 1e-12


def test_share_of_each_part_follows_its_length():
    plate = rectangle(0, 0, 1, 1) - disk(0, 0, 0.5)
    lengths = [0.5, 1, 0.5, 1, pi / 4]
    n = 6000
    points, _, parts = plate.sample_boundary(n, seeded(5))
    expected = [n * length / sum(lengths) for length in lengths]
    assert stats.chisquare(torch.bincount(parts, minlength=5), expected).pvalue > UNLIKELY
    arc = points[parts == plate.part_index("boundary")]
    angle = torch.atan2(arc[:, 1], arc[:, 0]) / (pi / 2)
    assert stats.kstest(angle.numpy(), "uniform").pvalue > UNLIKELY
    left = points[parts == plate.part_index("left"), 1]
    assert stats.kstest(2 * left.numpy() - 1, "uniform").pvalue > UNLIKELY


def test_faces_in_common_are_counted_once():
    """Both rectangles have the bottom from 0.5 to 1: its points must not be twice as dense."""
    both = rectangle(0, 0, 1, 1) | rectangle(0.5, 0, 2, 1)
    points, normals, _ = both.sample_boundary(6000, seeded(6))
    bottom = points[normals[:, 1] == -1, 0]
    assert stats.kstest(bottom.numpy() / 2, "uniform").pvalue > UNLIKELY


def test_faces_that_agree_up_to_rounding_are_one_face():
    """An L whose turned arms share an edge: no digit of the two edges need be equal."""

    def turned(*corners):
        c, s = math.cos(0.7), math.sin(0.7)
        return Polygon((x, y), [(c * a - s * b, s * a + c * b) for a, b in corners])

    foot = turned((0, 0), (2.1, 0), (2.1, 1 / 3), (0, 1 / 3))
    stem = turned((0.3, 1 / 3), (1.7, 1 / 3), (1.7, 2), (0.3, 2))
    corner = turned((1.9, -1 / 7), (3, -1 / 7), (3, 1 / 3), (1.9, 1 / 3))
    ell = foot | stem
    assert "second.edge0" not in ell.parts and len(ell.parts) == 7
    n, volume, area = 8000, 0.7 + 1.4 * 5 / 3, 2 * 2.1 + 2 / 3 + 10 / 3
    points, normals, _ = ell.sample_boundary(n, seeded(1))
    flux = area * (points * normals).sum(dim=1)
    assert abs(float(flux.mean()) - 2 * volume) < 3 * float(flux.std()) / n**0.5
    assert not ell.contains(points + 1e-7 * normals).any()
    # Flush with the top edge: from 1.9 to 2.1 it is taken away, not left as a slit.
    cut = foot - corner
    points, normals, _ = cut.sample_boundary(n, seeded(2))
    length, volume = 2 * 1.9 + 2 / 3, 1.9 / 3
    flux = length * (points * normals).sum(dim=1)
    assert abs(float(flux.mean()) - 2 * volume) < 3 * float(flux.std()) / n**0.5
    assert cut.contains(points - 1e-7 * normals).all()


def test_a_thin_lens_can_be_sampled():
    thin = disk(0, 0, 1) & disk(1.9999, 0, 1)
    for method in ("uniform", "sobol", "lhs", "grid"):
        assert (thin.signed_distance(thin.sample(500, seeded(), method)) < 0).all()


def test_normals_of_the_subtracted_child_are_reversed():
    plate = rectangle(0, 0, 2, 2) - disk(1, 1, 0.5)
    points, normals, _ = plate.sample_boundary(50, seeded(), on="boundary")
    assert torch.allclose(normals, -(points - 1) / 0.5, atol=1e-12)
    island = rectangle(0, 0, 4, 4) - (disk(2, 2, 1.5) - disk(2, 2, 0.5))
    points, normals, _ = island.sample_boundary(50, seeded(), on="second.boundary")
    assert torch.allclose(normals, (points - 2) / 0.5, atol=1e-12)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.3, 1.5)), min_size=3, max_size=3
    ),
    st.integers(0, 1000),
)
def test_membership_is_boolean_and_distance_is_a_bound(disks, seed):
    a, b, c = (disk(*values) for values in disks)
    points = 5 * torch.rand(200, 2, generator=seeded(seed), dtype=torch.float64) - 2.5
    in_a, in_b, in_c = (domain.contains(points) for domain in (a, b, c))
    assert ((a | b | c).contains(points) == (in_a | in_b | in_c)).all()
    square = rectangle(-3, -3, 3, 3)
    for region, expected in [
        (square - (a & square), ~in_a),
        (square - a - (b | c), ~(in_a | in_b | in_c)),
        (a | (square - b), in_a | ~in_b),
        ((a | b) & square, in_a | in_b),
    ]:
        assert (region.contains(points) == expected).all()
        distance = region.signed_distance(points)
        boundary = region.sample_boundary(400, seeded(seed)).points
        assert (torch.cdist(points, boundary).amin(dim=1) >= distance.abs() - 1e-12).all()


def test_grouping_does_not_matter():
    a, b, c = disk(0, 0, 1), disk(1, 0, 1), disk(0, 1, 1)
    assert (a | b) | c == a | (b | c)
    assert (a & b) & c == a & (b & c)
    assert (a | b | c).parts == ("first.boundary", "second.boundary", "third.boundary")
    assert a - b - c != a - (b - c)


def test_names_stay_unique_when_prefixes_meet():
    inner = (disk(0, 0, 2) | disk(1, 0, 2)) & disk(0, 1, 2.2)
    assert inner.parts == ("first.boundary", "second.boundary", "boundary")
    outer = inner - disk(0, 0.5, 0.25)
    assert outer.parts == (
        "first.first.boundary",
        "first.second.boundary",
        "first.boundary",
        "second.boundary",
    )
    sample = outer.sample_boundary(20, seeded(), on="second.boundary")
    assert torch.allclose(
        (sample.points - torch.tensor([0, 0.5])).norm(dim=1), torch.full((20,), 0.25).double()
    )


def test_other_names_of_a_side_work_in_regions():
    plate = rectangle(0, 0, 2, 2) - disk(1, 1, 0.5)
    assert plate.part_index("x_max") == plate.part_index("right") == 1
    ell = rectangle(0, 0, 2, 2) - rectangle(1, 1, 2, 2)
    assert ell.part_index("second.x_min") == ell.part_index("second.left")
    with pytest.raises(InvalidOption, match=r"'second.right' is no part.*'second.left'"):
        ell.sample_boundary(5, seeded(), on="second.right")


def test_polygon_and_disk_share_no_area():
    star = Polygon((x, y), [(0, 0), (3, 0), (3, 3), (2, 1), (0, 3)])
    region = star - disk(0, 0, 1)
    n = 20_000
    points = region.sample(n, seeded(7), "sobol")
    assert (points.norm(dim=1) > 1).all() and star.contains(points).all()
    box = torch.rand(n, 2, generator=seeded(8), dtype=torch.float64) * 3
    area = 9 * float(region.contains(box).double().mean())
    assert abs(area - (star.volume - pi / 4)) < 3 * 9 * 0.5 / n**0.5


def test_a_hundred_dimensions():
    coordinates = sp.symbols("x0:100", real=True)
    box, ball = Box(coordinates, [-1] * 100, [1] * 100), Ball(coordinates, [0] * 100, 1)
    holed = box - ball
    assert len(holed.parts) == 201
    assert (holed.sample(200, seeded()).norm(dim=1) > 1).all()
    hole = holed.sample_boundary(50, seeded(), on="boundary")
    assert torch.allclose(hole.normals, -hole.points, atol=1e-12)
    assert holed.signed_distance(holed.sample_boundary(200, seeded()).points).abs().max() < 1e-12


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Interval(x, 0, 1) & Interval(x, 1, 2), "do not overlap along x"),
        (lambda: disk(0, 0, 1) & disk(1.6, 1.6, 1), "is empty"),
        (lambda: disk(0, 0, 1) - disk(0, 0, 1), "is empty"),
        (lambda: disk(0, 0, 1) - rectangle(-2, -2, 2, 2), "is empty"),
        (lambda: disk(0, 0, 1) | Disk((y, x), (0, 0), 1), "coordinates x, y and y, x differ"),
        (lambda: disk(0, 0, 1) & Interval(x, 0, 1), "coordinates x, y and x differ"),
        (lambda: Interval(x, 0, 1) | Interval(sp.Symbol("x"), 2, 3), "different assumptions"),
    ],
)
def test_bad_combinations(make, message):
    with pytest.raises(InvalidProblem, match=message):
        make()


def test_combining_with_something_else_is_a_type_error():
    with pytest.raises(TypeError):
        disk(0, 0, 1) | 3
