"""How domains are declared, printed, compared and saved; space × time; what is refused."""

import json
import math

import pytest
import sympy as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeml.domains import (
    Ball,
    Box,
    Disk,
    Interval,
    Polygon,
    Rectangle,
    SpaceTime,
    Time,
    domain_from_dict,
)
from pdeml.errors import InvalidFile, InvalidProblem

x, y, z, t = sp.symbols("x y z t", real=True)
SYMBOLS = {symbol.name: symbol for symbol in (x, y, z, t)}
square = [(0, 0), (1, 0), (1, 1), (0, 1)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


DOMAINS = {
    "Interval(x, -1, 1)": Interval(x, -1, 1),
    "Rectangle((x, y), (0, 0), (1, 0.1))": Rectangle((x, y), (0, 0), (1, 0.1)),
    "Box((x, y, z), (0, 0, 0), (1, 2, 3))": Box((x, y, z), (0, 0, 0), (1, 2, 3)),
    "Disk((x, y), (0, 0), 0.3333333333333333)": Disk((x, y), (0, 0), sp.Rational(1, 3)),
    "Ball((x, y, z), (0, 0, 0), 1)": Ball((x, y, z), (0, 0, 0), 1),
    "Polygon((x, y), ((0, 0), (1, 0), (0, 1)))": Polygon((x, y), [(0, 0), (1, 0), (0, 1)]),
    "Interval(x, 0, 3.141592653589793) * Time(t, 0, 1)": Interval(x, 0, sp.pi) * Time(t, 0, 1),
    "(Disk((x, y), (0, 0), 1) - Disk((x, y), (0, 0), 0.5)) * Time(t, -1, 1)": (
        Disk((x, y), (0, 0), 1) - Disk((x, y), (0, 0), 0.5)
    )
    * Time(t, -1, 1),
    "(Interval(x, 0, 1) | Interval(x, 2, 3)) & Interval(x, 0.5, 2.5)": (
        Interval(x, 0, 1) | Interval(x, 2, 3)
    )
    & Interval(x, 0.5, 2.5),
}
each_domain = pytest.mark.parametrize("text, domain", DOMAINS.items(), ids=DOMAINS)


@each_domain
def test_repr(text, domain):
    assert repr(domain) == text


def test_repr_of_many_coordinates_is_short():
    box = Box(sp.symbols("x0:100"), [0] * 100, [1] * 100)
    assert repr(box) == "Box((x0, x1, …, x99), (0, 0, …, 0), (1, 1, …, 1))"


@each_domain
def test_round_trip_through_json_is_exact(text, domain):
    again = domain_from_dict(json.loads(json.dumps(domain.to_dict())), SYMBOLS)
    assert again == domain and hash(again) == hash(domain)
    assert type(again) is type(domain) and repr(again) == text
    assert again.parts == domain.parts and again.bounds == domain.bounds
    assert torch.equal(again.sample(20, seeded()), domain.sample(20, seeded()))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(-1e300, 1e300), st.floats(1e-12, 1e6))
def test_round_trip_keeps_every_bit(centre, ratio):
    radius = ratio * max(abs(centre), 1e-280)
    ball = Ball((x,), (centre,), radius)
    again = domain_from_dict(json.loads(json.dumps(ball.to_dict())), SYMBOLS)
    assert (again.centre, again.radius) == ((centre,), radius)


def test_equality():
    assert Interval(x, 0, 1) == Box((x,), (0,), (1,)) != Interval(y, 0, 1)
    assert Interval(x, 0, 1) != Interval(sp.Symbol("x"), 0, 1)
    assert Disk((x, y), (0, 0), 1) == Ball((x, y), (0, 0), 1)
    assert Interval(x, 0, 1) * Time(t, 0, 1) != Interval(x, 0, 1) * Time(t, 0, 2)
    assert Disk((x, y), (0, 0), 1) != Rectangle((x, y), (0, 0), (1, 1))
    assert Interval(x, 0, 1) != "Interval(x, 0, 1)"


@pytest.mark.parametrize(
    "data, message",
    [
        ({"type": "Sphere"}, "'Sphere'; known are Interval"),
        ({}, "type None"),
        ([1, 2], "type None"),
        ({"type": ["Box"]}, "known are"),
        ({"type": "Interval", "coordinates": ["x"], "lower": [0]}, "no entry 'upper'"),
        ({"type": "Interval", "coordinates": ["w"], "lower": [0], "upper": [1]}, "'w'; known are"),
        ({"type": "Interval", "coordinates": ["x"], "lower": [1], "upper": [0]}, "bounds of x"),
        ({"type": "Interval", "coordinates": ["x"], "lower": 0, "upper": 1}, "Interval"),
        ({"type": "Interval", "coordinates": ["x"], "lower": ["0"], "upper": [1]}, "finite"),
        ({"type": "Interval", "coordinates": "x", "lower": [0], "upper": [1]}, "list"),
        ({"type": "Disk", "coordinates": ["x", "y"], "centre": [0, 0], "radius": None}, "radius"),
        ({"type": "Polygon", "coordinates": ["x", "y"], "vertices": 3}, "vertices"),
        ({"type": "Union", "children": [{"type": "Time"}]}, "'Time'; known are"),
        ({"type": "Union", "children": []}, "at least two"),
        ({"type": "SpaceTime", "space": {"type": "Box"}}, "no entry 'coordinates'"),
    ],
)
def test_damaged_data(data, message):
    with pytest.raises(InvalidFile, match=message):
        domain_from_dict(data, SYMBOLS)


def test_data_nested_without_end():
    data = Interval(x, 0, 1).to_dict()
    for _ in range(5000):
        data = {"type": "SpaceTime", "space": data, "time": Time(t, 0, 1).to_dict()}
    with pytest.raises(InvalidFile):
        domain_from_dict(data, SYMBOLS)


def test_products():
    assert Interval(x, 0, 1) * Interval(y, 2, 3) == Rectangle((x, y), (0, 2), (1, 3))
    assert isinstance(Interval(x, 0, 1) * Interval(y, 2, 3), Rectangle)
    block = Interval(x, 0, 1) * Interval(y, 2, 3) * Interval(z, 4, 6)
    assert block == Box((x, y, z), (0, 2, 4), (1, 3, 6))
    assert Time(t, 0, 1) * Interval(x, 0, 1) == Interval(x, 0, 1) * Time(t, 0, 1)
    domain = block * Time(t, 0, 0.5)
    assert isinstance(domain, SpaceTime) and domain.coordinates == (x, y, z, t) and domain.dim == 4
    assert domain.bounds == ((0, 2, 4, 0), (1, 3, 6, 0.5))
    assert (domain.volume, domain.area) == (1.0, 5.0)
    assert domain.parts == ("left", "right", "bottom", "top", "back", "front")


def test_space_time():
    annulus = Disk((x, y), (0, 0), 1) - Disk((x, y), (0, 0), 0.5)
    domain = annulus * Time(t, 1, 3)
    assert domain.parts == ("first.boundary", "second.boundary")
    assert domain.volume is None and domain.area is None
    points = domain.sample(2000, seeded())
    assert domain.contains(points).all()
    assert torch.equal(
        domain.contains(torch.tensor([[0.7, 0, 0.5], [0.7, 0, 2.0], [0.1, 0, 2.0], [0.7, 0, 3.5]])),
        torch.tensor([False, True, False, False]),
    )
    assert abs(float(points[:, 2].mean()) - 2) < 3 * (1 / 3) ** 0.5 / 2000**0.5
    # Space and time are independent.
    radius, time = points[:, :2].square().sum(1), points[:, 2]
    correlation = float(torch.corrcoef(torch.stack([radius, time]))[0, 1])
    assert abs(correlation) < 3 / 2000**0.5

    inner = domain.sample_boundary(500, seeded(), on="second.boundary")
    assert inner.points.shape == (500, 3) and inner.normals.shape == (500, 2)
    assert torch.allclose(inner.normals, -2 * inner.points[:, :2], atol=1e-12)
    assert torch.equal(domain.normals(inner.points), domain.space.normals(inner.points[:, :2]))
    assert (domain.part_of(inner.points) == 1).all()
    assert inner.points[:, 2].min() < 1.1 and inner.points[:, 2].max() > 2.9
    for method in ("uniform", "sobol", "lhs", "grid"):
        start = domain.sample_initial(100, seeded(), method)
        assert (start[:, 2] == 1).all() and annulus.contains(start[:, :2]).all()


def test_space_time_distance_is_that_of_the_product():
    domain = Interval(x, 0, 4) * Time(t, 0, 1)
    same = Rectangle((x, t), (0, 0), (4, 1))
    points = 6 * torch.rand(200, 2, generator=seeded(), dtype=torch.float64) - 1
    assert torch.allclose(domain.signed_distance(points), same.signed_distance(points), atol=1e-15)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Interval(x, 1, 0), "bounds of x are 1 and 0"),
        (lambda: Interval(x, 1, 1), "must be smaller"),
        (lambda: Interval(x, math.nan, 1), r"lower\[0\] is nan"),
        (lambda: Interval(x, 0, math.inf), r"upper\[0\] is inf"),
        (lambda: Interval(x, 0, "1"), "a finite number is needed"),
        (lambda: Interval(x, 0, True), "a finite number is needed"),
        (lambda: Interval(x, 0, y), "upper.* is y"),
        (lambda: Interval(x, 0, sp.I), "a finite number is needed"),
        (lambda: Interval(x, 0, 10**400), "a finite number is needed"),
        (lambda: Interval(x, -1.7e308, 1.7e308), "difference finite"),
        (lambda: Interval("x", 0, 1), "SymPy symbols"),
        (lambda: Interval((x, y), 0, 1), "needs 1 coordinates, 2"),
        (lambda: Rectangle((x, y), (0, 0), (1, -1)), "bounds of y are 0 and -1"),
        (lambda: Rectangle((x, y, z), (0, 0, 0), (1, 1, 1)), "Rectangle needs 2"),
        (lambda: Rectangle((x, y), (0, 0, 0), (1, 1)), "lower has 3 entries"),
        (lambda: Rectangle((x, x), (0, 0), (1, 1)), "repeat a name"),
        (lambda: Rectangle((x, sp.Symbol("x")), (0, 0), (1, 1)), "repeat a name"),
        (lambda: Rectangle((x, 2), (0, 0), (1, 1)), "the coordinate 2 is no SymPy symbol"),
        (lambda: Box((), (), ()), "no coordinates"),
        (lambda: Disk((x, y), (0, 0), 0), "radius is 0"),
        (lambda: Disk((x, y), (0, 0), -1), "radius is -1"),
        (lambda: Disk((x, y), (0, 0), math.nan), "radius is nan"),
        (lambda: Disk((x, y), (0, math.nan), 1), r"centre\[1\] is nan"),
        (lambda: Disk((x, y), (1e20, 0), 1), "lost in rounding"),
        (lambda: Disk((x, y), 0, 1), "centre has 1 entries"),
        (lambda: Disk((x, y, z), (0, 0, 0), 1), "Disk needs 2"),
        (lambda: Time(t, 1, 0), "from 1 to 0"),
        (lambda: Time(t, 0, math.nan), "end is nan"),
        (lambda: Time("t", 0, 1), "SymPy symbols"),
        (lambda: Interval(x, 0, 1) * Interval(x, 0, 1), "repeat a name"),
        (lambda: Interval(t, 0, 1) * Time(t, 0, 1), "repeat a name"),
        (lambda: Interval(x, 0, 1) * Time(t, 0, 1) * Time(z, 0, 1), "has time already"),
        (lambda: Disk((x, y), (0, 0), 1) * Interval(z, 0, 1), "only boxes"),
        (lambda: Interval(x, 0, 1) * Disk((y, z), (0, 0), 1), "only boxes"),
        (
            lambda: (Interval(x, 0, 1) * Time(t, 0, 1)) | (Interval(x, 2, 3) * Time(t, 0, 1)),
            "combine first",
        ),
        (lambda: Polygon((x, y), square[:2]), "2 vertices"),
        (lambda: Polygon((x, y), 5), "no vertices"),
        (lambda: Polygon((x, y), [(0, 0), (1, 0), (math.nan, 1)]), r"vertex 2\[0\] is nan"),
        (lambda: Polygon((x, y), [(0, 0), (1, 0), (1, 1, 1)]), "vertex 2 has 3 entries"),
        (lambda: Polygon((x, y), [*square, (0, 0)]), "vertices 4 and 0 are the same"),
        (lambda: Polygon((x, y), [(0, 0), (1, 1), (1, 0), (0, 1)]), "edges 0 and 2 meet"),
        (lambda: Polygon((x, y), [(0, 0), (2, 0), (2, 2), (1, 0), (0, 2)]), "edges 0 and 2 meet"),
        (lambda: Polygon((x, y), [(0, 0), (2, 0), (1, 0)]), "lie on each other"),
        (lambda: Polygon((x, y), [(0, 0), (2, 0), (2, 1), (2, -1)]), "lie on each other"),
        (lambda: Polygon((x, y), [(0, 0), (2, 0), (1, 1), (2, 2), (0, 2), (1, 1)]), "meet"),
    ],
)
def test_bad_geometry(make, message):
    with pytest.raises(InvalidProblem, match=message):
        make()


def test_vertices_on_a_straight_edge_are_accepted():
    polygon = Polygon((x, y), [(0, 0), (0.5, 0), (1, 0), (1, 0.5), (1, 1), (0.25, 1), (0, 1)])
    assert polygon.volume == pytest.approx(1)
    assert polygon.contains(polygon.sample(200, seeded())).all()
    assert float(polygon.sample(4000, seeded(), "sobol").mean()) == pytest.approx(0.5, abs=1e-3)
