"""Declarations: what is accepted, what is found in them, what is refused and how it is said."""

import copy
import math
import pickle

import pytest
import sympy as sp

from pdeml.domains import Disk, Interval, Rectangle, Time
from pdeml.errors import InvalidOption, InvalidProblem
from pdeml.operators.fields import Parameter
from pdeml.operators.pde import (
    PDE,
    Dirichlet,
    Field,
    Initial,
    Neumann,
    Periodic,
    Robin,
    field_dtype,
)

x, y, t = sp.symbols("x y t", real=True)
u, v, w, p = (Field(name, x, t) for name in "uvwp")
U, V, P = (Field(name, x, y, t) for name in "UVP")
S, Q = Field("S", x, y), Field("Q", x, y)
k = Parameter("k", 0.5, positive=True)
LINE = Interval(x, -1, 1) * Time(t, 0, 1)
SQUARE = Rectangle((x, y), (0, 0), (1, 1))
FILM = SQUARE * Time(t, 0, 1)
HEAT = sp.Eq(u.diff(t), k * u.diff(x, 2))
START = Initial(u, sp.sin(sp.pi * x))


def heat(**changes):
    arguments = {
        "name": "heat",
        "equations": [HEAT],
        "domain": LINE,
        "conditions": [START, Dirichlet(u, 0)],
    }
    return PDE(**{**arguments, **changes})


def flow(equations=None, conditions=None, **options):
    def momentum(a, c):
        convection = U * a.diff(x) + V * a.diff(y)
        return sp.Eq(a.diff(t) + convection, -P.diff(c) + k * (a.diff(x, 2) + a.diff(y, 2)))

    return PDE(
        "flow",
        equations or [momentum(U, x), momentum(V, y), sp.Eq(U.diff(x) + V.diff(y), 0)],
        FILM,
        conditions or [Initial(U, 0), Initial(V, 0), Dirichlet(U, 0), Dirichlet(V, 0)],
        **options,
    )


# Fields and parameters


def test_a_field_behaves_as_a_sympy_function_of_its_number_type():
    assert sp.diff(u**2, x) == 2 * u * u.diff(x)
    assert sp.sqrt(u**2) == sp.Abs(u) and sp.conjugate(u) == u
    A = Field("A", x, t, dtype=complex)
    assert sp.conjugate(A) != A
    assert (field_dtype(u), field_dtype(A)) == (float, complex)
    assert Field("u", x, t) == u and Field("u", x, t, dtype=complex) != u


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Field("", x), "name of a field is ''"),
        (lambda: Field("u" * 201, x), "at most 200"),
        (lambda: Field("u\n", x), "printable"),
        (lambda: Field("u"), "given: none"),
        (lambda: Field("u", x, x), "given: x, x"),
        (lambda: Field("u", k), "coordinates are plain"),
        (lambda: Field("u", "x"), "coordinate 'x'"),
        (lambda: Field("u", x, dtype=int), "dtype"),
        (lambda: Parameter("a", math.nan), "value of parameter a is nan"),
        (lambda: Parameter("a", math.inf), "value of parameter a is inf"),
        (lambda: Parameter("a", "0.1"), "value of parameter a is '0.1'"),
        (lambda: Parameter("a", 1j), "finite real"),
        (lambda: Parameter("a", k), "finite real"),
        (lambda: Parameter("a", 10**400), "finite real"),
        (lambda: Parameter("a", 0, positive=True), "a is 0; only positive"),
        (lambda: Parameter("a", -2.0, positive=True), "a is -2; only positive"),
        (lambda: Parameter("a", 0.5, integer=True), "a is 0.5; only integers"),
        (lambda: Parameter("a", 3, range=(0, 2)), "a is 3; accepted are values from 0 to 2"),
        (lambda: Parameter("a", 3, range=(2, 2)), "lower end must be less"),
        (lambda: Parameter("a", 3, range=(math.nan, 2)), "lower end of the range of parameter a"),
        (lambda: Parameter("a", 3, range=5), r"give \(low, high\)"),
        (lambda: Parameter("a", 3, range=(0, 4), positive=True), "start above 0"),
        (lambda: Parameter("", 3), "name of a parameter"),
    ],
)
def test_a_field_or_parameter_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(InvalidProblem, match=message):
        make()


def test_a_parameter_keeps_its_value_through_the_expression_cache_of_sympy():
    """SymPy returns cached products of equal factors: equal names must not be equal parameters."""
    values = []
    for value in (0.1, 0.2, 0.1):
        (held,) = (Parameter("nu", value) * u.diff(x, 2)).atoms(Parameter)
        values.append(held.value)
    assert values == [0.1, 0.2, 0.1]
    assert Parameter("nu", 0.1) == Parameter("nu", 0.1) != Parameter("nu", 0.2)
    assert Parameter("nu", 0.1) != sp.Symbol("nu", real=True)


def test_a_parameter_has_assumptions_and_survives_copies():
    nu = Parameter("nu", sp.pi / 100, range=(0.001, 1), positive=True)
    assert nu.value == pytest.approx(math.pi / 100) and nu.range == (0.001, 1.0)
    assert nu.is_positive and sp.sqrt(nu**2) == nu
    for copied in (copy.deepcopy(nu), pickle.loads(pickle.dumps(nu))):
        assert copied == nu and copied.value == nu.value and copied.range == nu.range
    assert nu.with_value(0.5).value == 0.5 and nu.with_value(0.5).range == nu.range
    assert sp.sin(sp.pi * Parameter("n", 3, integer=True)) == 0


def test_products_of_parameters_of_one_name_are_ordered_without_error():
    a, b, c = Parameter("a", 1), Parameter("a", None), Parameter("a", 1, range=(0, 2))
    assert len((a + b + c).args) == 3


# What a declaration knows of itself


def test_a_scalar_problem_knows_its_parts():
    problem = heat(exact={u: sp.exp(-k * sp.pi**2 * t) * sp.sin(sp.pi * x)})
    assert problem.fields == (u,)
    assert problem.parameters == (k,) and problem.values == {k: 0.5} and problem.unknowns == ()
    assert problem.coordinates == (x, t)
    assert problem.time == t and problem.space_coordinates == (x,)
    assert problem.residuals == (u.diff(t) - k * u.diff(x, 2),)
    assert (problem.order(u), problem.time_order(u)) == (2, 1)
    assert problem.periodic_axes(u) == ()
    assert problem.find_parameter("k") is problem.parameters[0]


def test_an_incompressible_flow_needs_no_initial_pressure():
    problem = flow()
    assert problem.fields == (P, U, V)
    assert [problem.time_order(f) for f in problem.fields] == [0, 1, 1]
    assert [problem.order(f) for f in problem.fields] == [1, 2, 2]
    assert flow(fields=[U, V, P]).fields == (U, V, P)


def test_order_counts_mixed_derivatives_in_space_and_leaves_time_out():
    equation = S.diff(x, 2, y, 2) + S.diff(x, 3)
    plate = [Dirichlet(S, 0), Neumann(S, 0)]
    assert PDE("plate", [equation], SQUARE, plate).order(S) == 4
    bbm = sp.Eq(u.diff(t) + u * u.diff(x) - u.diff(x, 2, t), 0)
    problem = PDE("bbm", [bbm], LINE, [START, Periodic(u, x)])
    assert (problem.order(u), problem.time_order(u)) == (2, 1)


def test_derivatives_are_carried_out_until_they_apply_to_fields():
    flux = sp.Derivative(u**2 / 2, x)
    problem = PDE(
        "burgers",
        [sp.Eq(u.diff(t) + flux, sp.Derivative(k * u.diff(x), x))],
        LINE,
        [Initial(u, sp.Derivative(x**3, x)), Dirichlet(u, 0)],
    )
    assert problem.residuals == (u.diff(t) + u * u.diff(x) - k * u.diff(x, 2),)
    assert problem.conditions[0].value == 3 * x**2


def test_an_expression_is_an_equation_that_vanishes_and_one_needs_no_list():
    steady = PDE("laplace", S.diff(x, 2) + S.diff(y, 2), SQUARE, Dirichlet(S, 1.5))
    assert steady.equations == (sp.Eq(S.diff(x, 2) + S.diff(y, 2), 0),)
    assert steady.time is None and steady.time_order(S) == 0
    assert steady.conditions == (Dirichlet(S, sp.Float(1.5)),)


def test_first_order_equations_may_leave_the_outflow_free():
    PDE("advection", u.diff(t) + u.diff(x), LINE, [START, Dirichlet(u, 0, on="left")])


EDGE = sp.Rational(1, 2)


@pytest.mark.parametrize(
    "somewhere, nowhere",
    [
        (y < EDGE, y < 0),
        (y <= 0, y <= -EDGE),
        (y > EDGE, y > 1),
        (y >= 1, y >= 1 + EDGE),
        (EDGE > y, 0 > y),
        (sp.Eq(y, 1), sp.Eq(y, -EDGE)),
        ((y < EDGE) & (x < EDGE), (y < EDGE) & (x < 0)),
        ((y < 0) | (x < EDGE), (y < 0) | (x < 0)),
        (~sp.Eq(x, 0), sp.Eq(x, 2)),
        (x + y < EDGE, sp.Eq(x, 2) & (x + y < EDGE)),
    ],
)
def test_a_relation_selects_a_part_if_it_can_hold_in_the_domain(somewhere, nowhere):
    laplace = S.diff(x, 2) + S.diff(y, 2)
    rest = Robin(S, 1, 1, 0)
    problem = PDE("laplace", laplace, SQUARE, [Dirichlet(S, 1, on=somewhere), rest])
    assert problem.conditions[0].on == somewhere
    with pytest.raises(InvalidProblem, match="holds nowhere"):
        PDE("laplace", laplace, SQUARE, [Dirichlet(S, 1, on=nowhere), rest])


@pytest.mark.parametrize("on", [x < EDGE, sp.Eq(x, -1), x < -sp.Rational(999, 1000)])
def test_a_relation_counts_only_for_the_ends_where_it_holds(on):
    heat = sp.Eq(u.diff(t), u.diff(x, 2))
    with pytest.raises(InvalidProblem, match="under-determined"):
        PDE("heat", [heat], LINE, [START, Dirichlet(u, 0, on=on)])
    PDE("heat", [heat], LINE, [START, Dirichlet(u, 0, on=on), Dirichlet(u, 0, on="right")])


def test_an_axis_may_be_periodic_while_another_has_walls():
    problem = PDE(
        "channel",
        [sp.Eq(U.diff(t), U.diff(x, 2) + U.diff(y, 2))],
        FILM,
        [Initial(U, 0), Periodic(U, x), Dirichlet(U, 0, on="bottom"), Neumann(U, 1, on="y_max")],
    )
    assert problem.periodic_axes(U) == (x,)


def test_conditions_hold_what_was_given():
    velocity = Initial(u.diff(t), 2)
    assert (velocity.field, velocity.order, velocity.value) == (u, 1, sp.Integer(2))
    assert (START.field, START.order) == (u, 0)
    robin = Robin(u, 1, k, sp.sin(t), on="left")
    assert (robin.a, robin.b, robin.value, robin.on) == (1, k, sp.sin(t), "left")
    assert Dirichlet(u, 0) == Dirichlet(u, 0) != Neumann(u, 0)
    assert Dirichlet(u, 0, on=x < 0) != Dirichlet(u, 0)


def test_text_and_latex_are_readable():
    problem = heat(conditions=[START, Dirichlet(u, 0, on="left"), Robin(u, 2, 1, k, on=x > 0)])
    assert repr(problem).splitlines() == [
        "heat",
        "  equation    u_t = k*u_xx",
        "  domain      Interval(x, -1, 1) * Time(t, 0, 1)",
        "  conditions  Initial(u, sin(pi*x))",
        "              Dirichlet(u, 0, on='left')",
        "              Robin(u, 2, 1, k, on=x > 0)",
        "  parameter   k = 0.5",
    ]
    shown = problem.latex()
    for piece in (
        r"\partial_{t} u &= k \partial_{x}^{2} u",
        r"x \in \left[-1, 1\right],\quad t \in \left[0, 1\right]",
        r"u\big|_{t = 0} = \sin{\left(\pi x \right)}",
        r"u = 0 \quad \text{on } \text{left}",
        r"2 u + \left(1\right) \partial_n u = k \quad \text{on } \partial\Omega \cap",
        "k &= 0.5",
    ):
        assert piece in shown
    assert problem._repr_latex_() == f"$\\displaystyle {shown}$"
    assert shown.count("{") == shown.count("}")


def test_latex_of_numbers_fields_and_odd_names():
    z = sp.Symbol("z_1", real=True)
    a = Field("a_b", z)
    small = Parameter("eps", 2.5e-7)
    problem = PDE(
        "ode",
        small * a.diff(z, 2) - a.diff(z) ** 2,
        Interval(z, 0, 2 * sp.pi),
        [Dirichlet(a, 0, "z_1_min"), Neumann(a, 1, "right")],
    )
    shown = problem.latex()
    assert r"\left[0, 2 \pi\right]" in shown
    assert r"2.5 \cdot 10^{-7}" in shown
    assert r"\left(\partial_{z_{1}} a_{b}\right)^{2}" in shown
    assert r"\text{z\_1\_min}" in shown
    assert "diff(a_b, z_1)**2" in repr(problem)


# Parameters of a problem


def test_with_parameters_changes_values_everywhere():
    problem = heat(exact={u: sp.exp(-k * sp.pi**2 * t) * sp.sin(sp.pi * x)})
    changed = problem.with_parameters(k=2.0)
    (new,) = changed.parameters
    assert new.value == 2.0 and changed.values == {new: 2.0}
    assert changed.residuals[0].has(new) and changed.exact[u].has(new)
    assert not changed.residuals[0].has(k) and not changed.exact[u].has(k)
    assert problem.values == {k: 0.5}
    assert problem.with_parameters({k: 2.0}) == problem.with_parameters({"k": 2.0}) == changed
    assert changed.with_parameters(k=0.5) == problem != changed


def test_with_unknown_declares_an_inverse_problem_and_drops_a_stale_exact_solution():
    exact = {u: sp.exp(-k * sp.pi**2 * t) * sp.sin(sp.pi * x)}
    inverse = heat(exact=exact).with_unknown(k=1.0)
    assert [q.name for q in inverse.unknowns] == ["k"] and inverse.values[inverse.unknowns[0]] == 1
    assert inverse.exact is None
    assert heat(exact={u: x * t}).with_unknown(k=1.0).exact == {u: x * t}
    assert "guess" in repr(inverse)
    known = inverse.with_parameters(k=0.25)
    assert known.unknowns == () and known.values == {known.parameters[0]: 0.25}
    blank = heat().with_unknown(k=None)
    assert blank.unknowns == blank.parameters and blank.values == {}


def test_data_complete_a_problem_with_unknowns():
    """The classical identification problem has data in the interior and no conditions."""
    inverse = heat(conditions=(), unknowns=["k"])
    assert inverse.unknowns == (k,)
    with pytest.raises(InvalidProblem, match="no initial value for u"):
        inverse.with_parameters(k=0.1)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda q: q.with_parameters(kk=1.0), InvalidOption, "no parameter 'kk'.*are: k"),
        (lambda q: q.with_unknown(z=1.0), InvalidOption, "no parameter 'z'.*are: k"),
        (lambda q: q.with_parameters(k=-1.0), InvalidProblem, "k is -1; only positive"),
        (lambda q: q.with_parameters(k=math.nan), InvalidProblem, "k is nan"),
        (lambda q: q.find_parameter("x"), InvalidOption, "no parameter 'x'"),
    ],
)
def test_a_wrong_parameter_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(heat())


def test_a_problem_is_a_value():
    assert heat() == heat() and hash(heat()) == hash(heat())
    assert heat() != heat(name="other") and heat() != heat(description="other")
    assert heat() != heat(conditions=[START, Dirichlet(u, 1)])
    assert heat() != heat(domain=Interval(x, -1, 2) * Time(t, 0, 1))
    assert heat() != "heat"
    assert copy.deepcopy(heat()) == heat() and pickle.loads(pickle.dumps(heat())) == heat()
    with pytest.raises(AttributeError):
        heat().equations = ()


# What is refused

stranger = sp.Symbol("q")
complex_x = sp.Symbol("x")
short = Field("u", x)
A = Field("A", x, t, dtype=complex)
IS_WAVE = sp.Eq(u.diff(t, 2), u.diff(x, 2))

REFUSED = {
    # symbols
    "unknown symbol": (
        lambda: heat(equations=[sp.Eq(u.diff(t), stranger * u.diff(x, 2))]),
        r'equation 1 .*unknown symbol q; the coordinates are x, t.*Parameter\("q", value\)',
    ),
    "unknown symbol in a condition": (
        lambda: heat(conditions=[START, Dirichlet(u, stranger)]),
        r"Dirichlet\(u, q\) .*unknown symbol q",
    ),
    "unknown symbol in the exact solution": (
        lambda: heat(exact={u: stranger}),
        "exact solution u .*unknown symbol q",
    ),
    "coordinate with other assumptions": (
        lambda: heat(conditions=[Initial(u, complex_x), Dirichlet(u, 0)]),
        "symbol x that is not the coordinate x of the domain: their assumptions differ",
    ),
    "field with other assumptions": (
        lambda: heat(equations=[Field("u", complex_x, t).diff(t)]),
        "assumptions differ",
    ),
    "initial value depends on time": (
        lambda: heat(conditions=[Initial(u, x * t), Dirichlet(u, 0)]),
        r"Initial\(u, t\*x\) .*depends on t; it may depend on x",
    ),
    # fields
    "field over other coordinates": (
        lambda: heat(equations=[HEAT, short.diff(x)]),
        r"equation 2 .*u\(x\), which is not declared over the domain's coordinates \(x, t\)",
    ),
    "field in another order of coordinates": (
        lambda: heat(equations=[Field("u", t, x).diff(t)]),
        r"u\(t, x\), which is not declared",
    ),
    "field at a shifted point": (
        lambda: heat(equations=[u.diff(t) - u.subs(x, x - 1)]),
        r"u\(x - 1, t\), which is not declared",
    ),
    "undeclared field": (
        lambda: heat(equations=[HEAT, sp.Function("g")(x, t).diff(x)]),
        r'undeclared field g\(x, t\); declare it by g = Field\("g", x, t\)',
    ),
    "condition for an unused field": (
        lambda: heat(conditions=[START, Dirichlet(v, 0)]),
        r"Dirichlet\(v, 0\) .*field v, which is in no equation; the fields are u",
    ),
    "unused field in fields": (lambda: heat(fields=[u, v]), "field v, which is in no equation"),
    "field missing in fields": (lambda: flow(fields=[U, V]), "given 2 fields.*P, U, V"),
    "field twice in fields": (lambda: flow(fields=[U, V, V]), "field"),
    "exact for another field": (lambda: heat(exact={v: 0}), "exact solution .* given for v"),
    "exact for some fields": (lambda: flow(exact={U: 0}), "for each of P, U, V"),
    "exact holds a field": (lambda: heat(exact={u: u}), "holds a field"),
    "value holds a field": (
        lambda: heat(conditions=[START, Neumann(u, -(u**4))]),
        "holds a field in its value",
    ),
    "one name for real and complex": (
        lambda: heat(equations=[u.diff(t), Field("u", x, t, dtype=complex).diff(t)]),
        "two fields of one name",
    ),
    "one name for field and parameter": (
        lambda: heat(equations=[sp.Eq(u.diff(t), Parameter("u", 1) * u.diff(x, 2))]),
        "a field and a parameter named u",
    ),
    "one name for coordinate and parameter": (
        lambda: heat(equations=[sp.Eq(u.diff(t), Parameter("x", 1) * u.diff(x, 2))]),
        "a coordinate and a parameter named x",
    ),
    "two parameters of one name": (
        lambda: heat(conditions=[Initial(u, Parameter("k", 0.7)), Dirichlet(u, 0)]),
        r"two different parameters named k \(values 0\.\d, 0\.\d\)",
    ),
    "imaginary unit beside a real field": (
        lambda: heat(equations=[sp.Eq(sp.I * u.diff(t), u.diff(x, 2))]),
        "imaginary unit, but u is declared real",
    ),
    "imaginary value of a real field": (
        lambda: heat(conditions=[Initial(u, sp.I), Dirichlet(u, 0)]),
        r"Initial\(u, I\) .*imaginary unit",
    ),
    # counts
    "no equation": (lambda: heat(equations=[]), "no equation"),
    "fewer equations than fields": (
        lambda: heat(equations=[sp.Eq(u.diff(t), v)]),
        r"under-determined: 1 equation for 2 fields \(u, v\)",
    ),
    "more equations than fields": (
        lambda: heat(equations=[HEAT, u.diff(x)]),
        r"over-determined: 2 equations for 1 field \(u\)",
    ),
    "the same equation twice": (
        lambda: heat(equations=[sp.Eq(u.diff(t), v), sp.Eq(v, u.diff(t))]),
        "equations 1 and 2 are the same",
    ),
    "two equations for one field, none for another": (
        lambda: PDE(
            "singular",
            [u.diff(t) - u.diff(x), u.diff(t) + u, v * w * u.diff(t) - 1],
            LINE,
            [START],
        ),
        "under-determined: no choice of one equation per field",
    ),
    "equation without a field": (
        lambda: heat(equations=[HEAT, sp.Eq(x, 1)]),
        "equation 2 .*holds no field",
    ),
    "equation that is always true": (
        lambda: heat(equations=[sp.Eq(u, u)]),
        "equation 1 .*is True for every field",
    ),
    "equation that is an inequality": (lambda: heat(equations=[u > 0]), "equation 1 .*give sp.Eq"),
    "equation that is text": (lambda: heat(equations="u_t = u_xx"), "equation 1 .*give sp.Eq"),
    "equation that is nothing": (lambda: heat(equations=None), "equation 1 .*give sp.Eq"),
    # time
    "no initial value": (
        lambda: heat(conditions=[Dirichlet(u, 0)]),
        r"no initial value for u, which has 1 time derivative; add Initial\(u, …\)",
    ),
    "no initial velocity": (
        lambda: heat(equations=[IS_WAVE]),
        r"no initial velocity for u, which has 2 time derivatives; add Initial\(u.diff\(t\), …\)",
    ),
    "initial velocity for first order": (
        lambda: heat(conditions=[START, Initial(u.diff(t), 0), Dirichlet(u, 0)]),
        r"Initial\(u_t, 0\) .*one too many: .* 1 time derivative\. .*: Initial\(u, …\)",
    ),
    "initial value of a constraint variable": (
        lambda: flow(
            conditions=[
                *(Initial(f, 0) for f in (U, V, P)),
                *(Dirichlet(f, 0) for f in (U, V)),
            ]
        ),
        r"Initial\(P, 0\) .*0 time derivatives.*accepted for it: none",
    ),
    "initial value of a steady problem": (
        lambda: PDE("steady", S.diff(x, 2), SQUARE, [Initial(S, 0), Dirichlet(S, 0)]),
        r"Initial\(S, 0\) .*of a steady problem",
    ),
    "initial slope in space": (
        lambda: heat(conditions=[START, Initial(u.diff(x), 0), Dirichlet(u, 0)]),
        "derivative along x; initial conditions are along the time t",
    ),
    "third order in time": (
        lambda: heat(equations=[sp.Eq(u.diff(t, 3), u.diff(x, 2))]),
        "u with 3 time derivatives; at most 2",
    ),
    # places
    "part that does not exist": (
        lambda: heat(conditions=[START, Dirichlet(u, 0, on="top")]),
        r"Dirichlet\(u, 0, on='top'\) .*part that does not exist.*'left', 'right'",
    ),
    "relation outside the domain": (
        lambda: heat(conditions=[START, Dirichlet(u, 0, on=x > 5)]),
        "part that does not exist: x > 5 holds nowhere",
    ),
    "relation inside an interval": (
        lambda: heat(conditions=[START, Dirichlet(u, 0, on=sp.Eq(x, 0))]),
        "part that does not exist",
    ),
    "relation that contradicts itself in a square": (
        lambda: PDE("p", S.diff(x, 2), SQUARE, Dirichlet(S, 0, on=(x > 0.5) & (y < -1))),
        "part that does not exist",
    ),
    "relation of a parameter": (
        lambda: heat(conditions=[START, Dirichlet(u, 0, on=x < k)]),
        "depends on the parameter k",
    ),
    "relation of an unknown symbol": (
        lambda: heat(conditions=[START, Dirichlet(u, 0, on=x < stranger)]),
        "unknown symbol q",
    ),
    "relation that is decided": (
        lambda: Dirichlet(u, 0, on=sp.Integer(1) < 0),
        "on=False: the relation is false at every point",
    ),
    "place that is a number": (lambda: Dirichlet(u, 0, on=3), "give a part's name"),
    # periodicity
    "periodic disk": (
        lambda: PDE("p", S.diff(x, 2), Disk((x, y), (0, 0), 1), Periodic(S, x)),
        r"Periodic\(S, x\) .*not along an axis of a box.*: none",
    ),
    "periodic time": (
        lambda: heat(conditions=[START, Periodic(u, t)]),
        r"Periodic\(u, t\) .*are: x",
    ),
    "periodic and Dirichlet": (
        lambda: heat(conditions=[START, Periodic(u, x), Dirichlet(u, 0)]),
        r"Periodic\(u, x\) together with Dirichlet\(u, 0\), which holds on the ends of x",
    ),
    "periodic and Dirichlet everywhere in a square": (
        lambda: PDE("p", S.diff(x, 2) + S.diff(y, 2), SQUARE, [Periodic(S, x), Dirichlet(S, 0)]),
        "Name other parts by on=: 'bottom', 'top'",
    ),
    "periodic and Neumann on a part": (
        lambda: PDE("p", S.diff(x, 2), SQUARE, [Periodic(S, x), Neumann(S, 0, on="x_max")]),
        r"together with Neumann\(S, 0, on='x_max'\)",
    ),
    "periodic and Dirichlet by a relation": (
        lambda: PDE("p", S.diff(x, 2), SQUARE, [Periodic(S, x), Dirichlet(S, 0, on=x + y < 0.5)]),
        "together with Dirichlet",
    ),
    # enough conditions, and not too many
    "no boundary condition": (
        lambda: heat(conditions=[START]),
        r"order 2 in x, which needs 2 conditions .*\('left' and 'right'\); 0 and 0",
    ),
    "one end without condition": (
        lambda: heat(conditions=[START, Dirichlet(u, 0, on="left")]),
        "needs 2 conditions .*1 and 0 are declared",
    ),
    "disk without condition": (
        lambda: PDE("p", S.diff(x, 2) + S.diff(y, 2), Disk((x, y), (0, 0), 1)),
        "no condition on the boundary",
    ),
    "system without condition on one end": (
        lambda: PDE(
            "p",
            [S.diff(x, 2) - Q, Q.diff(x, 2) - S],
            SQUARE,
            [Dirichlet(S, 0, on="left"), Dirichlet(Q, 0, on="left")],
        ),
        "needs a condition at each end",
    ),
    "the same condition twice": (
        lambda: heat(conditions=[START, Initial(u, 0), Dirichlet(u, 0)]),
        "same condition twice: Initial",
    ),
    "two values on one part": (
        lambda: heat(conditions=[START, Dirichlet(u, 0, "left"), Dirichlet(u, 1, "x_min")]),
        "same condition twice: Dirichlet",
    ),
    "whole boundary and a part of it": (
        lambda: heat(conditions=[START, Dirichlet(u, 0), Dirichlet(u, 1, "left")]),
        "same condition twice: Dirichlet",
    ),
    # kinds of argument
    "condition that is none": (lambda: heat(conditions=[START, u]), "give Initial, Dirichlet"),
    "condition for no field": (lambda: Dirichlet(u**2, 0), r"Dirichlet is given for u\*\*2"),
    "Robin of nothing": (lambda: Robin(u, 0, 0, 1), "a and b are both 0"),
    "value that is text": (lambda: Dirichlet(u, "sin(x)"), r"text is not parsed"),
    "value that is NaN": (lambda: Dirichlet(u, math.nan), "value of Dirichlet.*finite"),
    "value that is infinite": (
        lambda: heat(conditions=[START, Dirichlet(u, sp.oo)]),
        "oo is not finite",
    ),
    "domain that is time": (lambda: heat(domain=Time(t, 0, 1)), "give a domain of pdeml"),
    "name that is none": (lambda: heat(name=None), "name of a problem"),
    "integral": (
        lambda: heat(equations=[HEAT.lhs - HEAT.rhs + sp.Integral(u, (x, 0, 1))]),
        r"equation 1 .*\(Integral\) is not accepted; accepted are Add",
    ),
    "huge power": (lambda: heat(equations=[HEAT.lhs - u**100000]), "exponent beyond 1000"),
    "derivative that cannot be carried out": (
        lambda: heat(equations=[u.diff(t) - sp.Derivative(sp.floor(x), x)]),
        r"equation 1 .*diff\(floor\(x\), x\), which SymPy cannot differentiate",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_the_item_is_named(name):
    make, message = REFUSED[name]
    with pytest.raises(InvalidProblem, match=f"(?s){message}"):
        make()


def test_a_complex_problem_is_accepted():
    schroedinger = sp.I * A.diff(t) + A.diff(x, 2) / 2 + A * sp.conjugate(A) * A
    problem = PDE("nls", schroedinger, LINE, [Initial(A, sp.I * sp.cos(x)), Periodic(A, x)])
    assert field_dtype(problem.fields[0]) is complex
    assert PDE.from_json(problem.to_json()) == problem
