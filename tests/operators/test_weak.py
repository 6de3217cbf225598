"""The weak form against the strong form it comes from, and what has none."""

import numpy as np
import pytest
import sympy as sp

from pdeml import problems
from pdeml.domains import Interval, Rectangle, Time
from pdeml.errors import InvalidFile, InvalidProblem, UnsupportedProblem
from pdeml.operators.conditions import Dirichlet, Initial, Neumann, Periodic, Robin
from pdeml.operators.fields import Field, Parameter
from pdeml.operators.pde import PDE
from pdeml.operators.vector import div, grad
from pdeml.operators.weak import slope

x, y, t = sp.symbols("x y t", real=True)
u, v, p = (Field(name, x, y) for name in "uvp")
SQUARE = Rectangle((x, y), (0, 0), (1, 1))
SMOOTH = {
    u: sp.sin(2 * x) * sp.cos(y) + x * y**2 / 2 + 1,
    v: sp.exp(x / 2) * sp.sin(y + 1),
    p: sp.cos(x * y),
}
POINT = {x: 0.37, y: 0.81, t: 0.23}


def laplacian(f):
    return f.diff(x, 2) + f.diff(y, 2)


def square(*equations, conditions=None, **options):
    held = sorted({f for e in equations for f in e.atoms(sp.core.function.AppliedUndef)}, key=str)
    conditions = [Dirichlet(f, 0) for f in held] if conditions is None else conditions
    return PDE("square", list(equations), SQUARE, conditions, **options)


def at_point(expression, functions, point=POINT):
    """A number: the expression with smooth functions as its fields."""
    return complex(expression.subs(functions).doit().subs(point).evalf())


def same(form, functions, point=POINT):
    """Whether div F + r is the residual, for every equation, with the fields replaced."""
    problem = form.problem
    coordinates = problem.space_coordinates
    found = [
        sum(f.subs(functions).doit().diff(c) for f, c in zip(e.flux, coordinates, strict=True))
        + e.remainder.subs(functions).doit()
        for e in form.equations
    ]
    left = sorted((at_point(e, {}, point) for e in found), key=lambda z: z.real)
    right = sorted((at_point(r, functions, point) for r in problem.residuals), key=lambda z: z.real)
    return np.allclose(left, right, rtol=1e-9, atol=1e-9)


P_LAPLACIAN = -sum(((1 + u.diff(x) ** 2 + u.diff(y) ** 2) * u.diff(c)).diff(c) for c in (x, y))
EQUATIONS = {
    "Poisson": [-laplacian(u) - x],
    "quasi-linear": [-((1 + u**2) * u.diff(x)).diff(x) - ((1 + u**2) * u.diff(y)).diff(y) + u**3],
    "p-Laplacian": [P_LAPLACIAN],
    "anisotropic": [
        -u.diff(x, 2)
        - sp.Rational(3, 5) * u.diff(x, y)
        - (2 + sp.sin(x)) * u.diff(y, 2)
        + u * u.diff(x)
    ],
    "gradient in the coefficient": [(1 + u.diff(x) ** 3) * u.diff(x, 2) + u.diff(y, 2)],
    "elasticity": [
        3 * (u.diff(x, 2) + v.diff(x, y)) + 2 * laplacian(u),
        3 * (u.diff(x, y) + v.diff(y, 2)) + 2 * laplacian(v) + x,
    ],
    "cross diffusion": [
        ((1 + v) * u.diff(x)).diff(x) + (u * v.diff(x)).diff(x) + u.diff(y, 2),
        laplacian(v) - u,
    ],
    "Stokes": [
        -laplacian(u) + p.diff(x),
        -laplacian(v) + p.diff(y) - x,
        u.diff(x) + v.diff(y),
    ],
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_divergence_of_the_flux_and_remainder_are_the_residual(name):
    form = square(*EQUATIONS[name]).weak_form()
    assert same(form, SMOOTH)
    second = [d for e in form.equations for x_ in e.expressions for d in x_.atoms(sp.Derivative)]
    assert max((d.derivative_count for d in second), default=0) <= 1


ZOO = [
    n
    for n in problems.names()
    if n not in ("apebench_kdv", "complex_ginzburg_landau", "dispersion", "kuramoto_sivashinsky")
    and not n.startswith(
        ("kdv", "nonlinear", "schroed", "swift", "cahn", "apebench_kura", "kuramo")
    )
]


@pytest.mark.parametrize("name", ZOO)
def test_zoo_problems_keep_their_residual(name):
    problem = problems.get(name)()
    axes = problem.coordinates
    wave = sum((k + 1) * c / 3 for k, c in enumerate(axes))
    smooth = {f: sp.sin(wave + k) + 2 for k, f in enumerate(problem.fields)}
    point = {c: 0.1 + 0.17 * k for k, c in enumerate(axes)}
    point |= {q: value for q, value in problem.values.items()}
    assert same(problem.weak_form(), smooth, point)


def test_sign_of_flux_and_remainder():
    (equation,) = square(-laplacian(u) - x).weak_form().equations
    assert equation.flux == (-u.diff(x), -u.diff(y)) and equation.remainder == -x


def test_the_flux_of_a_gradient_law_is_that_law():
    (equation,) = square(P_LAPLACIAN).weak_form().equations
    law = 1 + u.diff(x) ** 2 + u.diff(y) ** 2
    for found, c in zip(equation.flux, (x, y), strict=True):
        assert sp.expand(found + law * u.diff(c)) == 0
    assert equation.remainder == 0


@pytest.mark.parametrize(
    "equation, term",
    [
        (u.diff(x, 2) * u.diff(y, 2) - u.diff(x, y) ** 2, "u_x"),
        (sp.exp(u.diff(x, 2)) + u.diff(y, 2), "u_xx"),
        (laplacian(u) + u.diff(x, 3), "u_xxx"),
        ((1 + u.diff(x) ** 2) * u.diff(y, 2) + u.diff(x, 2), "u_yy"),
        (u.diff(x, 4) + u.diff(y, 2), "u_xxxx"),
        (laplacian(u) / sp.sqrt(1 + u.diff(x) ** 2 + u.diff(y) ** 2), "u_"),
    ],
)
def test_what_has_no_weak_form_is_named(equation, term):
    problem = square(equation, conditions=[Dirichlet(u, 0), Neumann(u, 0)])
    with pytest.raises(UnsupportedProblem, match=term):
        problem.weak_form()


def test_complex_fields_are_refused():
    A = Field("A", x, y, dtype=complex)
    with pytest.raises(UnsupportedProblem, match="A is complex"):
        square(laplacian(A), conditions=[Dirichlet(A, 0)]).weak_form()


def test_fourth_order_is_split_by_the_laplacian():
    plate = u.diff(x, 4) + 2 * u.diff(x, 2, y, 2) + u.diff(y, 4) - laplacian(u) + u**3
    form = square(plate, conditions=[Dirichlet(u, 0), Neumann(u, 1)]).weak_form()
    w = form.fields[1]
    main, auxiliary = form.equations
    assert (main.field, auxiliary.field) == (u, w)
    assert main.flux == tuple(sp.expand(w.diff(c) - u.diff(c)) for c in (x, y))
    assert main.remainder == u**3
    # tested with the Laplacian's own function, which is free where the slope of u is given
    assert auxiliary.flux == (u.diff(x), u.diff(y)) and auxiliary.remainder == -w


def test_two_fields_of_fourth_order_are_both_split():
    bilaplacian = [laplacian(laplacian(f)).expand() for f in (u, v)]
    plates = [Dirichlet(f, 0) for f in (u, v)] + [Neumann(f, 0) for f in (u, v)]
    form = square(bilaplacian[0] - v, bilaplacian[1] + u, conditions=plates).weak_form()
    first, second = form.fields[2:]
    assert form.equations[0].flux == (first.diff(x), first.diff(y))
    assert form.equations[1].flux == (second.diff(x), second.diff(y))


def test_pressures_are_found_and_float():
    form = square(*EQUATIONS["Stokes"], conditions=[Dirichlet(u, 0), Dirichlet(v, 0)]).weak_form()
    assert form.pressures == (p,)
    assert [e.field for e in form.equations] == list(form.fields)
    assert [form.fixes_constant(f) for f in form.fields] == [False, True, True]


@pytest.mark.parametrize(
    "equation, conditions, fixed",
    [
        (laplacian(u), [Neumann(u, 0)], False),
        (laplacian(u), [Robin(u, 1, 1, 0)], True),
        (laplacian(u), [Robin(u, 0, 1, 0)], False),
        (laplacian(u), [Neumann(u, 0, on="left"), Dirichlet(u, 0, on=x > 0)], True),
        (laplacian(u) + u, [Neumann(u, 0)], True),
        (laplacian(u) + u * u.diff(x), [Neumann(u, 0)], True),
    ],
)
def test_what_fixes_the_constant(equation, conditions, fixed):
    assert square(equation, conditions=conditions).weak_form().fixes_constant(u) is fixed


@pytest.mark.parametrize(
    "build, linear, autonomous",
    [
        (lambda w, k: w.diff(t) - k * w.diff(x, 2) + sp.sin(t), True, True),
        (lambda w, k: w.diff(t) - (1 + t) * w.diff(x, 2), True, False),
        (lambda w, k: w.diff(t) - w.diff(x, 2) + w**2, False, True),
        (lambda w, k: (1 + w) * w.diff(t) - w.diff(x, 2), False, True),
    ],
)
def test_linear_and_autonomous(build, linear, autonomous):
    w, k = Field("w", x, t), Parameter("k", 2.0)
    line = Interval(x, 0, 1) * Time(t, 0, 1)
    form = PDE("line", build(w, k), line, [Initial(w, 0), Dirichlet(w, t)]).weak_form()
    assert (form.is_linear, form.is_autonomous) == (linear, autonomous)


@pytest.mark.parametrize("name", ["quasi-linear", "anisotropic", "p-Laplacian", "elasticity"])
def test_the_boundary_term_is_the_flux_through_the_boundary(name):
    """With the slope of the solution itself, the term must be F·n, whatever the material."""
    form = square(*EQUATIONS[name]).weak_form()
    angle = 0.7
    normal = sp.symbols("n_x n_y", real=True)
    values = {normal[0]: np.cos(angle), normal[1]: np.sin(angle)}
    slopes = {
        f: sum(SMOOTH[f].diff(c) * n for c, n in zip((x, y), normal, strict=True))
        for f in form.fields
    }
    for equation in form.equations:
        term = form.boundary_term(equation, slopes, normal)
        flux = sum(f * n for f, n in zip(equation.flux, normal, strict=True))
        point = {**POINT, **values}
        assert np.isclose(at_point(term, SMOOTH, point), at_point(flux, SMOOTH, point), rtol=1e-9)
        # and it does not read the normal slope from the fields: they may be anything there
        bent = {f: SMOOTH[f] + 0 * f for f in form.fields}
        for f in form.fields:
            along = (x - POINT[x]) * np.cos(angle) + (y - POINT[y]) * np.sin(angle)
            bent[f] = SMOOTH[f] + 5 * along
        slopes_held = {f: at_point(s, {}, point).real for f, s in slopes.items()}
        term = form.boundary_term(equation, slopes_held, normal)
        assert np.isclose(at_point(term, bent, point), at_point(flux, SMOOTH, point), rtol=1e-9)


def test_slope_of_a_robin_condition():
    assert slope(Robin(u, 2, 4, x)) == (x - 2 * u) / 4
    assert slope(Neumann(u, x)) == x


def test_it_prints_flux_remainder_and_boundary_terms():
    conditions = [
        Dirichlet(u, y, on="left"),
        Neumann(u, 3, on="right"),
        Robin(u, 1, 2, 0, on="top"),
    ]
    shown = str(
        square(
            -laplacian(u) + u**3 - x, conditions=[*conditions, Neumann(u, 0, on="bottom")]
        ).weak_form()
    )
    for line in (
        "F = (-u_x, -u_y)",
        "r = -x + u**3",
        "u = y, v = 0 on 'left'",
        "F·n = -3 on 'right'",
        "F·n = u/2 on 'top'",
    ):
        assert line in shown


# ------------------------------------------------------------------------------------- div and grad


def flux_problem():
    law = grad(u) / sp.sqrt(1 + grad(u).dot(grad(u)))
    return square(sp.Eq(-2 * div(law) + div([u * u, 0]), u + x))


def test_a_declared_flux_is_taken_as_it_stands():
    (equation,) = flux_problem().weak_form().equations
    root = sp.sqrt(1 + u.diff(x) ** 2 + u.diff(y) ** 2)
    assert equation.flux == (u**2 - 2 * u.diff(x) / root, -2 * u.diff(y) / root)
    assert equation.remainder == -u - x
    assert same(flux_problem().weak_form(), SMOOTH)


def test_other_methods_see_the_derivatives_carried_out():
    problem = square(sp.Eq(div((1 + u**2) * grad(u)), x))
    assert problem.residuals[0].equals(
        (1 + u**2) * laplacian(u) + 2 * u * (u.diff(x) ** 2 + u.diff(y) ** 2) - x
    )
    assert all(d.expr == u for d in problem.residuals[0].atoms(sp.Derivative))


def test_a_declared_flux_survives_json_and_new_parameters():
    k = Parameter("k", 2.0)
    problem = square(sp.Eq(div(k * grad(u) / (1 + u.diff(x) ** 2)), x))
    again = PDE.from_json(problem.to_json())
    assert again == problem and again.declared == problem.declared
    assert again.weak_form().equations == problem.weak_form().equations
    other = problem.with_parameters(k=3.0)
    assert other.declared[0].atoms(sp.Derivative) and other.find_parameter("k").value == 3.0
    assert other.weak_form().equations[0].flux[1].atoms(Parameter) == {other.find_parameter("k")}


def test_a_varying_factor_before_a_divergence_is_multiplied_in():
    problem = square(sp.Eq(x * div(grad(u)), 1))
    assert same(problem.weak_form(), SMOOTH)
    assert problem.weak_form().equations[0].flux == (x * u.diff(x), x * u.diff(y))


def test_space_coordinates_of_a_field_in_time():
    w = Field("w", x, y, t)
    assert grad(w, x, y) == sp.Matrix([w.diff(x), w.diff(y)])
    assert div(grad(w, x, y)).doit() == w.diff(x, 2) + w.diff(y, 2)


@pytest.mark.parametrize(
    "wrong", [lambda: grad(x), lambda: grad(u, t), lambda: div([1, 2]), lambda: div([u], x, y)]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(InvalidProblem, match=r"grad|div"):
        wrong()


def test_hostile_derivatives_of_expressions_are_refused():
    """Nested derivatives of products grow without bound when they are carried out."""
    data = square(sp.Eq(div(u * grad(u)), x)).to_dict()
    for _ in range(3):
        tree = data["equations"][0][0]
        data["equations"][0][0] = {"f": "Derivative", "a": [tree, ["x", 1]]}
    with pytest.raises(InvalidFile):
        PDE.from_dict(data)


def test_periodic_fourth_order_in_time():
    w = Field("w", x, t)
    line = Interval(x, 0, 1) * Time(t, 0, 1)
    equation = w.diff(t) + w.diff(x, 4) + w.diff(x, 2) + w * w.diff(x)
    form = PDE("ks", equation, line, [Initial(w, 0), Periodic(w, x)]).weak_form()
    assert form.equations[0].flux == (form.fields[1].diff(x) + w.diff(x),)
    assert form.equations[0].remainder == w * w.diff(x) + w.diff(t)
