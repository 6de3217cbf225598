"""`verify`: manufactured solutions for a problem's own operator, and the orders on them."""

import math

import pytest
import sympy as sp

from pdeml.domains import Interval, Time
from pdeml.domains.mesh import Mesh
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.conditions import Dirichlet, Initial, Neumann, Periodic, Robin
from pdeml.operators.fields import Field
from pdeml.operators.pde import PDE
from pdeml.solvers.fem import verify

from .declarations import SQUARE, WAVY, divergence, laplacian, p, quasi_linear, t, u, v, x, y

LAW = PDE("law", quasi_linear(u), SQUARE, Dirichlet(u, 0))
HEAT = Field("u", x, y, t)
HEATED = PDE(
    "heated",
    sp.Eq(HEAT.diff(t), laplacian(HEAT)),
    SQUARE * Time(t, 0, 0.5),
    [Initial(HEAT, 0), Dirichlet(HEAT, 0)],
)
DECAY = sp.exp(-t) * sp.sin(sp.pi * x) * sp.cos(sp.pi * y)


def test_orders_of_the_reference_problem():
    """fem_reference.md §4.1 at n = 8, 16, 32: P2 has 5.1188e-7 at n = 64, with rates of 3 and 2."""
    found = verify(LAW, WAVY + 1, levels=3)
    for degree, l2, h1 in (
        (1, 8 * 8 * 1.5010e-4 / 16, 2 * 3.1964e-2),
        (2, 8 * 5.1188e-7, 4 * 2.398e-4),
    ):
        finest = found.of(degree)[-1]
        assert finest.l2 == pytest.approx(l2, rel=0.05) and finest.h1 == pytest.approx(h1, rel=0.05)
        assert finest.l2_rate == pytest.approx(degree + 1, abs=0.05)
        assert finest.h1_rate == pytest.approx(degree, abs=0.05)


@pytest.mark.slow
def test_the_figures_of_the_reference():
    """fem_reference.md §4.1 at n = 64 and §4.3."""
    found = verify(LAW, WAVY + 1, degrees=(1, 2, 3))
    for degree, l2, h1 in (
        (1, 1.5010e-4, 3.1964e-2),
        (2, 5.1188e-7, 2.3980e-4),
        (3, 1.7178e-9, 1.1446e-6),
    ):
        finest = found.of(degree)[-1]
        assert finest.l2 == pytest.approx(l2, rel=0.05) and finest.h1 == pytest.approx(h1, rel=0.05)
        assert finest.l2_rate == pytest.approx(degree + 1, abs=0.05)
        assert finest.h1_rate == pytest.approx(degree, abs=0.05)
    euler = {"scheme": "theta", "theta": 1.0, "steps": 32}
    rows = verify(HEATED, DECAY, degrees=(3,), cells=24, halve=("dt",), **euler).of(3)
    assert rows[0].l2 == pytest.approx(4.21e-5, rel=0.05)
    for row in rows[1:]:
        assert row.l2_rate == pytest.approx(1, abs=0.05)
    rows = verify(
        HEATED, DECAY, degrees=(3,), cells=24, halve=("dt",), scheme="theta", steps=4, levels=3
    ).of(3)
    assert [r.l2 for r in rows] == pytest.approx([6.15e-6, 1.75e-6, 4.68e-7], rel=0.05)


def test_orders_in_time_alone():
    rows = verify(
        HEATED, DECAY, degrees=(3,), cells=8, halve=("dt",), scheme="theta", theta=1.0, levels=3
    ).of(3)
    assert [r.steps for r in rows] == [8, 16, 32] and {r.cells for r in rows} == {128}
    assert rows[-1].l2_rate == pytest.approx(1, abs=0.1)


def test_conditions_of_every_kind_and_velocities():
    """Any wrong sign in what is manufactured would be an error of order one."""
    w = Field("u", x, t)
    wave = PDE(
        "wave",
        sp.Eq(w.diff(t, 2), 4 * w.diff(x, 2)),
        Interval(x, 0, 1) * Time(t, 0, 1),
        [
            Initial(w, 0),
            Initial(w.diff(t), 0),
            Neumann(w, 0, on="left"),
            Robin(w, 1 + t, 2, 0, on="right"),
        ],
    )
    finest = verify(wave, sp.cos(3 * t) * sp.sin(2 * x + 1), degrees=(2,), levels=3).of(2)[-1]
    assert finest.l2 < 3e-6 and finest.l2_rate > 2.8
    periodic = PDE(
        "viscous",
        sp.Eq(w.diff(t) + w * w.diff(x), w.diff(x, 2) / 10),
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(w, 0), Periodic(w, x)],
    )
    assert verify(periodic, sp.cos(2 * sp.pi * x + t), degrees=(2,), levels=3).of(2)[-1].l2 < 1e-4
    with pytest.raises(InvalidOption, match="not periodic in x"):
        verify(periodic, sp.cos(3 * x))
    free = PDE("free", -laplacian(u), SQUARE, Neumann(u, 0))
    assert (
        verify(free, sp.sin(sp.pi * x) * sp.exp(y), degrees=(2,), levels=3).of(2)[-1].l2_rate > 2.9
    )


def test_systems_take_an_expression_per_field():
    """Taylor–Hood elements: a pressure that is free up to a constant is compared without it."""
    flow = PDE(
        "flow",
        [laplacian(u) - p.diff(x) - u * v, laplacian(v) - p.diff(y), u.diff(x) + v.diff(y)],
        SQUARE,
        [Dirichlet(u, 0), Dirichlet(v, 0)],
        fields=[u, v, p],
    )
    exact = {"u": 20 * x * y**3, "v": 5 * x**4 - 5 * y**4, p: 60 * x**2 * y - 20 * y**3 + 7}
    found = verify(flow, exact, degrees=(2,), levels=3)
    assert found.of(2, "u")[-1].l2_rate == pytest.approx(3, abs=0.15)
    assert found.of(2, p)[-1].l2_rate == pytest.approx(2, abs=0.15)
    table = str(found).splitlines()
    assert len(table) == 10 and table[0].split() == (
        "field degree cells steps unknowns L2 rate H1 rate".split()
    )
    assert (
        table[-1].split()[:3] == ["p", "P2", "2048"] and f"{found.levels[-1].l2:.4e}" in table[-1]
    )
    with pytest.raises(InvalidOption, match="an expression for each of u, v, p"):
        verify(flow, {"u": x})


def test_the_cells_of_a_declared_mesh_are_divided():
    mesh = Mesh.structured(SQUARE, 6)
    own = PDE("own", -divergence(1 + x, u), mesh, Dirichlet(u, 0))
    rows = verify(own, WAVY, degrees=(1,), levels=3).of(1)
    assert [r.cells for r in rows] == [72, 288, 1152]
    assert rows[-1].l2_rate == pytest.approx(2, abs=0.1)
    with pytest.raises(InvalidOption, match="has its own mesh"):
        verify(own, WAVY, cells=4)
    slopes = PDE("slopes", -laplacian(u), mesh, Neumann(u, 0))
    with pytest.raises(UnsupportedProblem, match="declare Dirichlet instead"):
        verify(slopes, WAVY)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"levels": 1}, "levels=1"),
        ({"cells": 0}, "cells=0"),
        ({"steps": 0.5}, "steps=0.5"),
        ({"halve": ()}, "halve=()"),
        ({"halve": ("k",)}, "give one or both of 'h', 'dt'"),
        ({"halve": ("dt",)}, "has no time"),
        ({"degrees": (0,)}, "degree=0"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(InvalidOption) as caught:
        verify(LAW, WAVY, **options)
    assert words in str(caught.value)


def test_the_first_level_has_no_rate():
    assert math.isnan(verify(LAW, WAVY, degrees=(1,), levels=2).of(1)[0].l2_rate)
