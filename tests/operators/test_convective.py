"""Convective forms of declarations, and derivatives in space by labels."""

import pytest
import sympy as sp
import torch

from pdeml import engine, problems
from pdeml.domains import Interval, Rectangle, Time
from pdeml.errors import UnsupportedProblem
from pdeml.operators.convective import LabelFrame, convective_form
from pdeml.operators.expressions import evaluate
from pdeml.operators.jets import streams_of
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Parameter, Periodic
from pdeml.operators.residual import Residual
from pdeml.solvers.constraints import ExpressionField

x, y, t = sp.symbols("x y t", real=True)
w, v = Field("w", x, t), Field("v", x, t)
q = Field("q", x, y, t)
nu = Parameter("nu", 0.1, positive=True)
LINE = Interval(x, 0, 2 * sp.pi) * Time(t, 0, 1)
PLANE = Rectangle((x, y), (0, 0), (2 * sp.pi, 2 * sp.pi)) * Time(t, 0, 1)


def declared(*equations, domain=LINE):
    fields = sorted({f for e in equations for f in e.atoms(sp.Function) if f in (w, v, q)}, key=str)
    space = domain.space.coordinates
    conditions = [
        c for f in fields for c in (Initial(f, sp.sin(x)), *(Periodic(f, a) for a in space))
    ]
    return PDE("case", list(equations), domain, conditions)


@pytest.mark.parametrize(
    "equation, f, g, s",
    [
        (w.diff(t) + (w**2 / 2).diff(x) - nu * w.diff(x, 2), w, nu, 0),
        (w.diff(t) + (2 + sp.sin(x)) * w.diff(x), 2 + sp.sin(x), 0, 0),
        # the slope of a variable diffusivity is a velocity
        (
            w.diff(t) + w.diff(x) - ((2 + sp.cos(x)) * w.diff(x)).diff(x),
            1 + sp.sin(x),
            2 + sp.cos(x),
            0,
        ),
        (w.diff(t) + 3 * w.diff(x) - w * (1 - w) - sp.cos(t), 3, 0, w * (1 - w) + sp.cos(t)),
        # a conservative flux of a variable speed leaves a source
        (w.diff(t) + (sp.cos(x) * w).diff(x), sp.cos(x), 0, sp.sin(x) * w),
        (2 * (1 + w**2) * (w.diff(t) + w.diff(x)) - 4 * w.diff(x, 2), 1, 2 / (1 + w**2), 0),
    ],
)
def test_velocity_diffusivity_and_source_of_one_equation(equation, f, g, s):
    form = convective_form(declared(equation))
    for found, wanted in zip((*form.f, *form.g, *form.s), (f, g, s), strict=True):
        assert sp.simplify(found - wanted) == 0


def test_a_system_with_one_speed_and_a_plane():
    form = convective_form(
        declared(
            w.diff(t) + v * w.diff(x) - nu * w.diff(x, 2) - v,
            v.diff(t) + (v**2 / 2).diff(x) + w,
        )
    )
    assert form.problem.fields == (v, w)
    assert form.f == (v,) and form.g == (0, nu) and form.s == (-w, v)
    assert form.follows_state and not form.rigid
    swirl = (sp.sin(y), sp.cos(x) / 2)
    laplacian = q.diff(x, 2) + q.diff(y, 2)
    form = convective_form(
        declared(
            q.diff(t) + swirl[0] * q.diff(x) + swirl[1] * q.diff(y) - nu * laplacian, domain=PLANE
        )
    )
    assert form.f == swirl and form.g == (nu,) and form.s == (0,)
    assert not form.follows_state and not form.rigid
    assert convective_form(problems.convection()).rigid


@pytest.mark.parametrize(
    "equations, message",
    [
        ([w.diff(t) + w.diff(x) + w.diff(x, 3)], "w_xxx is of a higher order"),
        ([w.diff(t) + w.diff(x) + w.diff(x) ** 2], r"w_x\*\*2 is not linear"),
        ([w.diff(t) + w * w.diff(x) - w.diff(x, 2) ** 3], r"w_xx\*\*3 is not linear"),
        ([w.diff(t) + w.diff(x) * w.diff(x, 2)], "not linear in the derivatives"),
        ([w.diff(t) + w.diff(x) + nu * w.diff(x, 2)], "takes the value -0.1"),
        ([w.diff(t) + w.diff(x) - sp.sin(x) * w.diff(x, 2)], "must not be negative"),
        ([w.diff(t) - w.diff(x, 2)], "no convective term"),
        ([w.diff(t) + x * w.diff(x)], "velocity x does not continue with the period of x"),
        ([w.diff(t) + w.diff(x) - x], "source x does not continue"),
        (
            [w.diff(t) + 2 * w.diff(x), v.diff(t) - 2 * v.diff(x) + w],
            "v travels with -2, but w with 2",
        ),
        ([w.diff(t) + v.diff(x), v.diff(t) + w.diff(x)], "coupled to another field by"),
    ],
)
def test_other_forms_are_refused_with_the_term(equations, message):
    with pytest.raises(UnsupportedProblem, match=message) as refusal:
        convective_form(declared(*equations))
    assert "Use " in str(refusal.value)


@pytest.mark.parametrize(
    "diffusion, message",
    [
        (q.diff(x, 2) + 2 * q.diff(y, 2), "not the same along all axes"),
        (q.diff(x, y), "no part of a Laplacian"),
    ],
)
def test_anisotropic_diffusion_is_refused(diffusion, message):
    with pytest.raises(UnsupportedProblem, match=message):
        convective_form(declared(q.diff(t) + q.diff(x) - diffusion, domain=PLANE))


def test_open_boundaries_time_and_unknown_parameters_are_refused():
    wall = PDE(
        "wall",
        [w.diff(t) + w.diff(x) - nu * w.diff(x, 2)],
        LINE,
        [Initial(w, 0), Dirichlet(w, 0)],
    )
    with pytest.raises(UnsupportedProblem, match="labels would enter and leave"):
        convective_form(wall)
    with pytest.raises(UnsupportedProblem, match="there is no time"):
        convective_form(problems.poisson())
    with pytest.raises(UnsupportedProblem, match="'nu' is unknown"):
        convective_form(problems.burgers().with_unknown(nu=0.1))


def test_second_derivative_by_labels_is_exact_on_a_line():
    path = sp.Rational(3, 10) * sp.sin(x) * t
    frame = LabelFrame((x,), (path,))
    field = sp.sin(2 * (x + path) + t)
    points = LINE.sample(500, engine.generator(0))
    found = evaluate([frame.laplacian(field), field.diff(x, 2)], (x, t), points)
    exact = evaluate([-4 * field], (x, t), points)
    assert float((found[:, :1] - exact).abs().max()) <= 1e-11
    # the label derivative is something else
    assert float((found[:, 1:] - exact).abs().max()) > 1


def test_laplacian_by_labels_is_exact_in_a_plane_and_through_the_streams():
    path = (
        sp.Rational(2, 5) * t * sp.sin(y) + t * sp.cos(x + y) / 8,
        sp.Rational(3, 10) * t * sp.sin(x) * sp.cos(y),
    )
    X, Y = x + path[0], y + path[1]
    field = sp.sin(2 * X - Y + t) + sp.cos(X + 3 * Y)
    wanted = -5 * sp.sin(2 * X - Y + t) - 10 * sp.cos(X + 3 * Y)
    slope = 2 * sp.cos(2 * X - Y + t) - sp.sin(X + 3 * Y)
    points = PLANE.sample(500, engine.generator(0))
    frame = LabelFrame((x, y), path)
    found = evaluate([frame.laplacian(field), frame.derivative(field, 0)], (x, y, t), points)
    exact = evaluate([wanted, slope], (x, y, t), points)
    assert float((found - exact).abs().max()) <= 1e-10
    J = evaluate([frame.jacobian], (x, y, t), points)
    assert float(J.min()) > 0.1 and float(J.max()) > 1.2
    # the same as solvers take it: unknown displacements, derivatives from the streams
    moved = (Field("a", x, y, t), Field("b", x, y, t))
    residual = Residual(
        [LabelFrame((x, y), moved).laplacian(q)], (*moved, q), (x, y, t), expand=False
    )
    module = ExpressionField([*path, field], (x, y, t), {})
    streams = streams_of(module, points, residual.streams)
    assert len(residual.streams) == 6
    found = residual(streams[residual.rows], points)
    assert float((found - exact[:, :1]).abs().max()) <= 1e-10


def test_an_unexpanded_residual_is_the_expanded_one():
    rational = (w.diff(t) + w * w.diff(x)) / (1 + w.diff(x) ** 2) - nu * w.diff(x, 2)
    module = ExpressionField([sp.sin(x - t) * sp.cos(t)], (x, t), {})
    points = LINE.sample(100, engine.generator(1))
    found = []
    for expand in (True, False):
        residual = Residual([rational], (w,), (x, t), values={nu: 0.1}, expand=expand)
        streams = streams_of(module, points, residual.streams, residual.coefficients(points))
        found.append(residual(streams[residual.rows], points))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)
