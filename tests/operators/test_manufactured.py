"""Problems with a known solution: the residual of every equation and condition vanishes on it."""

import pytest
import sympy as sp

import pdeml
from pdeml.domains import Rectangle, Time
from pdeml.errors import InvalidOption
from pdeml.operators.conditions import Dirichlet, Flux, Initial, Neumann, Robin
from pdeml.operators.fields import Field, Parameter
from pdeml.operators.manufactured import manufactured
from pdeml.operators.pde import PDE
from pdeml.operators.vector import div, grad

x, y, t = sp.symbols("x y t", real=True)
SQUARE = Rectangle((x, y), (0, 0), (1, 1))


def test_every_equation_and_condition_holds_for_the_solution():
    u, k = Field("u", x, y, t), Parameter("k", 2.0)
    exact = sp.exp(-k * t) * sp.sin(x) * y**2
    problem = PDE(
        "heated",
        sp.Eq(u.diff(t), div((1 + u**2) * grad(u, x, y), x, y) - k * u),
        SQUARE * Time(t, 1, 2),
        [
            Initial(u, 0),
            Dirichlet(u, 5, on="left"),
            Neumann(u, 0, on="right"),
            Robin(u, x, 3, 0, on="bottom"),
            Flux(u, 0, on="top"),
        ],
    )
    made = manufactured(problem, exact)
    (residual,) = made.residuals
    assert sp.simplify(residual.subs(u, exact).doit()) == 0
    start, left, right, bottom, top = made.conditions
    assert sp.simplify(start.value - exact.subs(t, 1)) == 0 and left.value == exact
    assert sp.simplify(right.value - exact.diff(x)) == 0 and right.on == "right"
    assert sp.simplify(bottom.value - (x * exact - 3 * exact.diff(y))) == 0
    # as declared, u_t − div(…) = 0: the flux is that of the left-hand side
    assert sp.simplify(top.value + (1 + exact**2) * exact.diff(y)) == 0
    assert made.exact == {u: exact} and made.values == problem.values
    assert "Derivative((u(x, y, t)**2 + 1)" in str(made.declared)


def test_a_second_method_can_use_it():
    w = Field("w", x, y)
    problem = PDE("any", w.diff(x, 2) + w.diff(y, 2) + w**3, SQUARE, Dirichlet(w, 0))
    made = manufactured(problem, {"w": sp.sin(2 * x) * sp.cos(y)})
    exact = pdeml.solve(made, "exact")
    assert pdeml.solve(made, "chebyshev", reference=None).error(exact)["l2_relative"] < 1e-9


def test_what_is_missing_is_named():
    u = Field("u", x, y)
    problem = PDE("one", u.diff(x, 2) + u.diff(y, 2), SQUARE, Dirichlet(u, 0))
    with pytest.raises(InvalidOption, match=r"given for .v.; give an expression for each of u"):
        manufactured(problem, {"v": x})
