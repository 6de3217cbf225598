"""Numbers as SymPy sees them, and the vector calculus of the declarations."""

import math

import pytest
import sympy as sp

from pdeml.errors import InvalidOption
from pdeml.problems import torus


@pytest.mark.parametrize(
    "value, expected",
    [
        (32 * math.pi, 32 * sp.pi),
        (math.pi / 2, sp.pi / 2),
        (2 * math.pi / 3, 2 * sp.pi / 3),
        (sp.pi * 7, 7 * sp.pi),
        (22, sp.Integer(22)),
        (5.0, sp.Integer(5)),
        (3.14, sp.Float(3.14)),
        (3.1415926535, sp.Float(3.1415926535)),
        (0.1, sp.Float(0.1)),
    ],
)
def test_numbers_keep_their_value_and_multiples_of_pi_their_form(value, expected):
    found = torus.exact_number("length", value)
    assert found == expected and type(found) is type(expected)
    assert float(found) == pytest.approx(float(value), rel=1e-15)


def test_numbers_that_are_none_are_named():
    for value in (0, -2, math.nan, math.inf, True, "3", None, [1]):
        with pytest.raises(InvalidOption, match=r"duration is .*positive finite number"):
            torus.exact_number("duration", value)


def test_vector_calculus_on_a_polynomial():
    x, y, z = torus.axes(3)
    f = x**4 * y**3 + z**5 * y
    assert torus.laplacian(f, (x, y, z)) == sp.expand(
        12 * x**2 * y**3 + 6 * x**4 * y + 20 * z**3 * y
    )
    twice = 24 * y**3 + 2 * 72 * x**2 * y + 120 * z * y
    assert sp.expand(torus.laplacian(f, (x, y, z), 2) - twice) == 0
    assert torus.advected((1, 2, 3), f, (x, y, z)) == sp.expand(
        4 * x**3 * y**3 + 2 * (3 * x**4 * y**2 + z**5) + 15 * z**4 * y
    )
    assert torus.squared_gradient(x * y, (x, y)) == x**2 + y**2
    assert torus.divergence((x**2, x * y, z), (x, y, z)) == 3 * x + 1
    assert torus.mean_of([x, y, z]) == (x + y + z) / 3
    assert torus.periodic_box((x, y), 3, -1).bounds == ((-1, -1), (2, 2))
