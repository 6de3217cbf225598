"""Which equation is whose."""

import sympy as sp

from pdeml.domains import Rectangle, Time
from pdeml.operators.conditions import Dirichlet, Initial
from pdeml.operators.fields import Field
from pdeml.operators.matching import matched
from pdeml.operators.pde import PDE

x, y, t = sp.symbols("x y t", real=True)
SQUARE = Rectangle((x, y), (0, 0), (1, 1))


def test_the_highest_derivatives_decide():
    u, v, p = (Field(name, x, y) for name in "uvp")
    equations = [
        u.diff(x) + v.diff(y),
        v.diff(x, 2) + v.diff(y, 2) - p.diff(y),
        u.diff(x, 2) + u.diff(y, 2) - p.diff(x),
    ]
    walls = [Dirichlet(u, 0), Dirichlet(v, 0)]
    flow = PDE("flow", equations, SQUARE, walls, fields=[u, v, p])
    assert matched(flow) == [2, 1, 0]
    # where conditions replace equations, a field takes one that holds it
    assert matched(flow, absent=-1e6)[2] != 0


def test_the_highest_rate_of_a_field_makes_an_equation_its_own():
    """The first equation holds a rate of u too, but a lower one than the second."""
    u, v = Field("u", x, y, t), Field("v", x, y, t)
    equations = [
        v.diff(t) + u.diff(x, t) - v.diff(x, 2),
        u.diff(t, 2) - u.diff(x, 2) - u.diff(y, 2) + v.diff(x),
    ]
    conditions = [
        *(Initial(f, 0) for f in (u, u.diff(t), v)),
        *(Dirichlet(f, 0) for f in (u, v)),
    ]
    problem = PDE("thermoelastic", equations, SQUARE * Time(t, 0, 1), conditions, fields=[u, v])
    assert matched(problem) == [1, 0]
