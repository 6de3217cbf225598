"""Expressions and problems as JSON: exact both ways, and closed to everything else."""

import copy
import json
import math
import random

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeml import problems
from pdeml.domains import Disk, Interval, Rectangle, Time
from pdeml.errors import InvalidFile, InvalidProblem, PdemlError
from pdeml.operators import saved, serialization
from pdeml.operators.conditions import Dirichlet, Initial, Neumann, Periodic, Robin
from pdeml.operators.fields import Field, Parameter
from pdeml.operators.pde import PDE, pde_from_json
from pdeml.operators.serialization import decode, encode
from pdeml.operators.special import BurgersSine

x, t = sp.symbols("x t", real=True)
z = sp.Symbol("z")
u = Field("u", x, t)
A = Field("A", x, t, dtype=complex)
k, n = Parameter("k", 0.5, positive=True), Parameter("n", 3, integer=True)
NAMES = {"x": x, "t": t, "z": z, "u": u, "A": A, "k": k, "n": n}


def through_json(expression):
    return decode(json.loads(json.dumps(encode(expression), allow_nan=False)), NAMES)


# Exact both ways

numbers = st.one_of(
    st.integers(-(10**30), 10**30).map(sp.Integer),
    st.fractions(max_denominator=10**9).map(lambda q: sp.Rational(q.numerator, q.denominator)),
    st.floats(allow_nan=False, allow_infinity=False, width=64).map(sp.Float),
    st.builds(
        lambda p, q, digits: sp.Float(sp.Rational(p, q), digits),
        *(st.integers(-(10**6), 10**6), st.integers(1, 10**6), st.integers(1, 60)),
    ),
    st.sampled_from([sp.pi, sp.E, sp.I, sp.EulerGamma, sp.GoldenRatio]),
)
atoms = st.one_of(
    numbers,
    st.sampled_from([x, t, z, u, A, k, n]),
    st.sampled_from([u.diff(x), u.diff(x, 2), u.diff(x, t), A.diff(t), u.diff(x, 3, t, 2)]),
)
functions = [
    *(sp.sin, sp.cos, sp.tan, sp.exp, sp.log, sp.sqrt, sp.tanh, sp.sinh, sp.cosh, sp.Abs, sp.sign),
    *(sp.erf, sp.erfc, sp.conjugate, sp.re, sp.im, sp.asin, sp.atan, sp.floor),
]
small = st.sampled_from([-3, -2, -1, 2, 3, sp.Rational(1, 3), sp.Rational(-5, 2), sp.Float("1.7")])
RELATIONS = [sp.Lt, sp.Le, sp.Gt, sp.Ge]


@st.composite
def conditions(draw):
    """A relation of reals, or a combination of such, that SymPy does not decide."""
    relations = [
        draw(st.sampled_from(RELATIONS))(draw(st.sampled_from([x, t, x * t, u, k])), bound)
        for bound in draw(st.lists(st.integers(-5, 5), min_size=1, max_size=3))
    ]
    relations.append(sp.Eq(x, draw(st.integers(-9, 9))))
    combined = draw(st.sampled_from([sp.And, sp.Or]))(*relations)
    return draw(st.sampled_from([combined, sp.Not(combined), relations[0], sp.Ne(x, t)]))


def compound(children):
    return st.one_of(
        st.lists(children, min_size=2, max_size=4).map(lambda a: sp.Add(*a)),
        st.lists(children, min_size=2, max_size=4).map(lambda a: sp.Mul(*a)),
        st.builds(lambda b, e: b**e, children, small),
        st.builds(lambda f, a: f(a), st.sampled_from(functions), children),
        st.builds(sp.atan2, st.sampled_from([x, t, k * x]), st.sampled_from([t, x + 1, n])),
        st.builds(
            lambda f, a: f(*a), st.sampled_from([sp.Max, sp.Min]), st.permutations([x, t, k, n])
        ),
        st.builds(
            lambda a, b, c: sp.Piecewise((a, c), (b, True)), children, children, conditions()
        ),
        st.builds(lambda a, c: sp.Piecewise((a, c)), children, conditions()),
        st.builds(sp.Heaviside, st.sampled_from([x, t - k, x * n]), st.sampled_from([0, 1, x])),
        st.builds(lambda a: BurgersSine(a, t, k), st.sampled_from([x, 2 * x, x + n])),
    )


def is_finite(expression):
    return not expression.has(sp.nan, sp.oo, -sp.oo, sp.zoo)


expressions = st.recursive(atoms, compound, max_leaves=12).filter(is_finite)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(expressions)
def test_an_expression_comes_back_equal(expression):
    try:
        encode(expression)
    except InvalidProblem as error:
        # SymPy may rewrite a function to another class, or build numbers beyond the limits
        assert any(s in str(error) for s in ("is not accepted", "exponent", "bits", "digits"))
        return
    again = through_json(expression)
    assert again == expression and hash(again) == hash(expression)
    assert sp.srepr(again) == sp.srepr(expression)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(conditions())
def test_a_relation_comes_back_equal(condition):
    again = through_json(condition)
    assert again == condition and type(again) is type(condition)


@pytest.mark.parametrize(
    "value",
    [
        sp.Float("0.1", 50),
        sp.Float(2) ** -1074,
        sp.Float("-1.7976931348623157e308"),
        sp.Float(0),
        sp.Float(0, 40),
        sp.Rational(-(10**40) + 1, 3**50),
        sp.Integer(-(7**300)),
        sp.Rational(1, 2),
    ],
)
def test_a_number_keeps_its_digits_and_precision(value):
    again = through_json(value)
    assert again == value and type(again) is type(value)
    assert again._prec == value._prec if value.is_Float else again.p == value.p
    assert encode(again) == encode(value)


def test_what_was_left_unevaluated_stays_so():
    lazy = sp.Add(x, sp.Mul(2, 3, evaluate=False), sp.sin(0, evaluate=False), evaluate=False)
    again = through_json(lazy)
    assert sp.srepr(again) == sp.srepr(lazy)


def test_problems_of_every_kind_come_back_equal():
    y = sp.Symbol("y", real=True)
    plain, odd = sp.Symbol("r"), sp.Symbol("s", integer=True, nonnegative=True)
    S, a, W = Field("S", x, y), Field("a", x, y), Field("W", x, y, t)
    E = Field("E", plain, odd, dtype=complex)
    disk = Disk((x, y), (0.1, 0), 1) - Disk((x, y), (0.1, 0), 0.3)
    box = Rectangle((x, y), (0, 0), (1, math.pi))
    cases = [
        PDE(
            "wave with everything",
            [sp.Eq(W.diff(t, 2), k**2 * (W.diff(x, 2) + W.diff(y, 2)) + sp.Max(x, y) * n)],
            box * Time(t, 0, 2),
            [
                *(Initial(W, sp.Heaviside(x - y)), Initial(W.diff(t), 0.1), Periodic(W, x)),
                Robin(W, 1, k, sp.sin(t), on="bottom"),
                Neumann(
                    W, 0, on=sp.Eq(y, sp.Float(math.pi)) & ((x < 0.5) | (t > sp.Rational(1, 3)))
                ),
            ],
            description="naïve ∂²",
        ),
        PDE("ring", S.diff(x, 2) + S.diff(y, 2), disk, [Dirichlet(S, sp.Abs(x))], exact={S: x}),
        PDE(
            "plain symbols",
            [E.diff(plain, 2) + E.diff(odd, 2) + sp.I * E],
            Rectangle((plain, odd), (0, 0), (1, 1)),
            [Dirichlet(E, sp.I)],
        ),
        problems.burgers().with_unknown(nu=0.02),
        problems.klein_gordon().with_unknown(gamma=None),
        PDE(
            "order of fields",
            [S - a, a.diff(x, 2) - S],
            box,
            Dirichlet(a, 0),
            fields=[S, a],
        ),
    ]
    for problem in cases:
        again = pde_from_json(problem.to_json(indent=1))
        assert again == problem and hash(again) == hash(problem)
        assert again.coordinates == problem.coordinates and again.fields == problem.fields
        assert again.values == problem.values and again.unknowns == problem.unknowns
        assert again.to_dict() == problem.to_dict()
        assert repr(again) == repr(problem) and again.latex() == problem.latex()


def test_a_parameter_keeps_range_sign_and_exact_value():
    value = math.nextafter(0.1, 1)
    ranged = Parameter("d", value, range=(0.05, 0.2), positive=True)
    problem = PDE("p", ranged * Field("f", x).diff(x) - 1, Interval(x, 0, 1))
    (again,) = PDE.from_json(problem.to_json()).parameters
    assert (again.value, again.range, again.is_positive) == (value, (0.05, 0.2), True)


# Closed to everything else


def integer(value):
    return {"f": "Integer", "a": [str(value)]}


def symbol(name):
    return {"f": "Symbol", "a": [name]}


def nested(depth, head="sin"):
    tree = symbol("x")
    for _ in range(depth):
        tree = {"f": head, "a": [tree]}
    return tree


def tower(head, height):
    tree = integer(9)
    for _ in range(height):
        tree = (
            {"f": "Pow", "a": [tree, integer(999)]} if head == "Pow" else {"f": head, "a": [tree]}
        )
    return tree


HOSTILE_TREES = {
    "text": "__import__('os').system('true')",
    "number": 3,
    "nothing": None,
    "list": [integer(1)],
    "extra key": {"f": "pi", "a": [], "b": 1},
    "no head": {"a": []},
    "head of another type": {"f": ["Add"], "a": []},
    "unknown head": {"f": "Lambda", "a": [symbol("x"), symbol("x")]},
    "python name as head": {"f": "__class__", "a": []},
    "class of sympy that is not in the table": {"f": "Integral", "a": [symbol("x")]},
    "arguments that are no list": {"f": "sin", "a": "x"},
    "too few arguments": {"f": "sin", "a": []},
    "too many arguments": {"f": "sin", "a": [symbol("x"), symbol("x")]},
    "constant with arguments": {"f": "pi", "a": [integer(1)]},
    "undeclared symbol": symbol("y"),
    "parameter as symbol": symbol("k"),
    "symbol as parameter": {"f": "Parameter", "a": ["x"]},
    "long name": symbol("x" * 201),
    "name that is no text": symbol(3),
    "integer as code": {"f": "Integer", "a": ["1 + 1"]},
    "integer as number": {"f": "Integer", "a": [1]},
    "integer with odd digits": {"f": "Integer", "a": ["١٢"]},
    "long integer": {"f": "Integer", "a": ["9" * 5000]},
    "division by zero": {"f": "Rational", "a": ["1", "0"]},
    "fraction not in lowest terms": {"f": "Rational", "a": ["2", "4"]},
    "float as text": {"f": "Float", "a": ["0.1", 0, 53]},
    "float with huge exponent": {"f": "Float", "a": ["1", 10**12, 53]},
    "float with huge precision": {"f": "Float", "a": ["1", 0, 10**9]},
    "float with no precision": {"f": "Float", "a": ["1", 0, True]},
    "float not normalised": {"f": "Float", "a": ["2", 0, 53]},
    "relation in a sum": {"f": "Add", "a": [{"f": "LessThan", "a": [integer(1), symbol("x")]}] * 2},
    "number in a conjunction": {"f": "And", "a": [symbol("x"), symbol("t")]},
    "piecewise without condition": {"f": "Piecewise", "a": [symbol("x")]},
    "piecewise of numbers": {"f": "Piecewise", "a": [symbol("x"), symbol("t")]},
    "derivative of a number": {"f": "Derivative", "a": [symbol("x"), ["x", 1]]},
    "derivative along a parameter": {
        "f": "Derivative",
        "a": [{"f": "Field", "a": ["u"]}, ["k", 1]],
    },
    "derivative along no coordinate": {
        "f": "Derivative",
        "a": [{"f": "Field", "a": ["u"]}, ["z", 1]],
    },
    "derivative of huge order": {
        "f": "Derivative",
        "a": [{"f": "Field", "a": ["u"]}, ["x", 10**9]],
    },
    "derivative of negative order": {
        "f": "Derivative",
        "a": [{"f": "Field", "a": ["u"]}, ["x", -1]],
    },
    "derivative of fractional order": {
        "f": "Derivative",
        "a": [{"f": "Field", "a": ["u"]}, ["x", 0.5]],
    },
    "depth": nested(201),
    "nodes": {"f": "Add", "a": [symbol("x")] * 100_001},
    "huge power": {"f": "Pow", "a": [integer(2), integer(10**9)]},
    "huge negative power": {"f": "Pow", "a": [integer(2), integer(-(10**9))]},
    "huge power of a symbol": {"f": "Pow", "a": [symbol("x"), integer(10**9)]},
    "huge power in disguise": {
        "f": "Pow",
        "a": [symbol("x"), {"f": "Mul", "a": [integer(10**5), integer(10**5)]}],
    },
    "maximum of imaginary numbers": {"f": "Max", "a": [{"f": "I"}, integer(1)]},
    "order of imaginary numbers": {"f": "LessThan", "a": [{"f": "I"}, integer(1)]},
    "error function of a huge number": {"f": "erfc", "a": [{"f": "Float", "a": ["1", 1000, 53]}]},
    "tower of powers": tower("Pow", 5),
    "tower of exponentials": tower("exp", 4),
    "tower over a cancellation": {
        "f": "exp",
        "a": [
            {
                "f": "exp",
                "a": [
                    {
                        "f": "Pow",
                        "a": [{"f": "Add", "a": [tower("sin", 1), integer(-1)]}, integer(-1)],
                    }
                ],
            }
        ],
    },
}


@pytest.mark.parametrize("name", HOSTILE_TREES)
def test_a_hostile_tree_is_refused(name):
    with pytest.raises(InvalidFile):
        decode(HOSTILE_TREES[name], NAMES)


def test_limits_leave_room_for_what_is_legitimate():
    assert decode(nested(199), NAMES) == decode(nested(199), NAMES)
    repr(decode(nested(199), NAMES)), sp.latex(decode(nested(199), NAMES))
    for kept in (
        x**1000,
        sp.exp(1000 * x),
        sp.exp(sp.Integer(200)),
        sp.exp(-1 / (1 + sp.pi)),
        x ** (sp.pi / 1000),
        sp.Float("1e-300") * x,
        sp.exp(sp.Float("1e-300")),
        sp.Add(*(sp.sin(i * x) for i in range(1, 500))),
    ):
        assert through_json(kept) == kept


def change(data, path, value):
    data = copy.deepcopy(data)
    entry = data
    for key in path[:-1]:
        entry = entry[key]
    if value is None:
        del entry[path[-1]]
    else:
        entry[path[-1]] = value
    return data


BURGERS = problems.burgers().to_dict()
WAVE = problems.wave().to_dict()
HOSTILE_PROBLEMS = {
    "another format": change(BURGERS, ["format"], "pickle"),
    "another version": change(BURGERS, ["version"], 99),
    "a list": [BURGERS],
    "long name": change(BURGERS, ["name"], "b" * 201),
    "no name": change(BURGERS, ["name"], None),
    "name of another type": change(BURGERS, ["name"], [1]),
    "long coordinate": change(BURGERS, ["coordinates", 0, "name"], "x" * 201),
    "unknown assumption": change(BURGERS, ["coordinates", 0, "assumptions"], {"__class__": True}),
    "assumption that is no truth value": change(
        BURGERS, ["coordinates", 0, "assumptions", "real"], "True"
    ),
    "contradicting assumptions": change(
        BURGERS, ["coordinates", 0, "assumptions"], {"positive": True, "negative": True}
    ),
    "coordinate that does not commute": change(
        BURGERS, ["coordinates", 0, "assumptions"], {"commutative": False}
    ),
    "coordinates in another order": change(BURGERS, ["coordinates"], BURGERS["coordinates"][::-1]),
    "parameter as text": change(BURGERS, ["parameters", 0, "value"], "0.1"),
    "parameter out of sign": change(BURGERS, ["parameters", 0, "value"], -1.0),
    "parameter as huge number": change(BURGERS, ["parameters", 0, "value"], 10**400),
    "parameter with odd range": change(BURGERS, ["parameters", 0, "range"], [1, 2, 3]),
    "parameter called like a field": change(BURGERS, ["parameters", 0, "name"], "u"),
    "unknown of another type": change(BURGERS, ["unknowns"], [{}]),
    "unknown that does not exist": change(BURGERS, ["unknowns"], ["mu"]),
    "field of another type": change(BURGERS, ["fields", 0, "dtype"], "object"),
    "no field": change(BURGERS, ["fields"], []),
    "no equation": change(BURGERS, ["equations"], []),
    "equation with one side": change(BURGERS, ["equations", 0], [integer(0)]),
    "equation of relations": change(
        BURGERS, ["equations", 0, 0], {"f": "LessThan", "a": [symbol("x"), integer(1)]}
    ),
    "condition of another kind": change(BURGERS, ["conditions", 0, "kind"], "PDE"),
    "condition for a symbol": change(BURGERS, ["conditions", 0, "field"], "x"),
    "condition without value": change(BURGERS, ["conditions", 0, "expressions"], []),
    "condition on a missing part": change(WAVE, ["conditions", 2, "on"], "top"),
    "condition on a number": change(WAVE, ["conditions", 2, "on"], 3),
    "initial condition of huge order": change(WAVE, ["conditions", 1, "order"], 10**9),
    "no initial velocity": change(WAVE, ["conditions", 1], None),
    "periodic along a parameter": change(BURGERS, ["conditions", 1, "axis"], "nu"),
    "exact for another field": change(BURGERS, ["exact"], {"v": integer(0)}),
    "domain of another kind": change(BURGERS, ["domain"], {"type": "os.system"}),
    "domain without end": change(BURGERS, ["domain", "time", "end"], None),
}


@pytest.mark.parametrize("name", HOSTILE_PROBLEMS)
def test_a_hostile_problem_is_refused(name):
    with pytest.raises(InvalidFile):
        PDE.from_json(json.dumps(HOSTILE_PROBLEMS[name]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"format": "pdeml.pde", "version": NaN}',
        "1" * 5000,
        b"{}",
        None,
        json.dumps(BURGERS).replace('"value": 0.00', '"value": 1e999, "old": 0.00'),
        json.dumps(BURGERS).replace('"value": 0.003', '"value": Infinity, "old": 0.003'),
        json.dumps(BURGERS)[:-40],
    ],
    ids=range(12),
)
def test_text_that_is_no_saved_problem_is_refused(text):
    if isinstance(text, str) and text == json.dumps(BURGERS):
        pytest.fail("the text was not changed")
    with pytest.raises(InvalidFile):
        PDE.from_json(text)


def test_text_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(saved, "MAX_TEXT", 100)
    with pytest.raises(InvalidFile, match="at most 100 characters"):
        PDE.from_json(json.dumps(BURGERS))


def test_a_saved_problem_that_is_not_well_posed_is_refused_with_the_reason():
    with pytest.raises(InvalidFile, match="no initial velocity for u"):
        PDE.from_json(json.dumps(HOSTILE_PROBLEMS["no initial velocity"]))


def places(data, path=()):
    """Paths of every entry of a JSON tree."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def test_random_damage_gives_a_valid_problem_or_one_kind_of_error():
    """2000 seeded mutations of saved problems: nothing but InvalidFile leaks, nothing hangs."""
    generator = random.Random(0)
    originals = [problems.get(name)().to_dict() for name in problems.names()]
    spots = [list(places(data)) for data in originals]
    pool = [
        *(None, True, -1, 10**30, 0.5, "", "x", "nu", "Pow", "Float", [], {}, [[]], {"f": "pi"}),
        *(integer(-1), symbol("x"), {"f": "I"}, {"f": "true"}, nested(3, "exp"), "Derivative"),
        *({"f": "Pow", "a": [integer(0), integer(-1)]}, {"f": "log", "a": [integer(0)]}),
        {"f": "LessThan", "a": [{"f": "I"}, symbol("x")]},
    ]
    refused = 0
    for _ in range(2000):
        i = generator.randrange(len(originals))
        data = copy.deepcopy(originals[i])
        path = generator.choice(spots[i])
        entry = data
        for key in path[:-1]:
            entry = entry[key]
        entry[path[-1]] = copy.deepcopy(generator.choice(pool))
        try:
            PDE.from_json(json.dumps(data))
        except PdemlError as error:
            assert isinstance(error, InvalidFile), (path, entry[path[-1]])
            refused += 1
    assert refused > 1000


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.recursive(
        st.sampled_from(
            [symbol("x"), integer(0), integer(-2), {"f": "I"}, {"f": "true"}, {"f": "E"}]
        ),
        lambda children: st.builds(
            lambda head, arguments: {"f": head, "a": arguments},
            st.sampled_from([*serialization._HEADS, "Piecewise", "Derivative"]),
            st.lists(children, min_size=1, max_size=3),
        ),
        max_leaves=10,
    )
)
def test_any_tree_of_known_heads_is_decoded_or_refused(tree):
    try:
        expression = decode(tree, NAMES)
    except InvalidFile:
        return
    assert encode(expression) == json.loads(json.dumps(encode(expression)))


def test_the_table_holds_nothing_that_runs_text():
    kinds = [head.kind for head in serialization._HEADS.values()]
    assert all(issubclass(kind, sp.Basic) for kind in kinds)
    assert not {"Lambda", "Function", "Symbol", "Dummy", "Str"} & set(serialization._HEADS)
