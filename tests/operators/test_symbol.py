"""L u + N is exactly the declared right-hand side, and what has no splitting is named."""

import math

import pytest
import sympy as sp
import torch

from pdeml import problems
from pdeml.errors import InvalidProblem, UnsupportedProblem
from pdeml.operators.pde import PDE, Field, Initial, Parameter, Periodic
from pdeml.operators.symbol import multiplier, split
from pdeml.solvers.spectral import can_solve
from pdeml.solvers.spectral.grid import FourierGrid
from pdeml.solvers.spectral.system import SemilinearSystem
from tests.solvers.spectral.declarations import (
    KDV,
    TURN,
    box,
    equation_errors,
    evolution,
    flow,
    h,
    half,
    laplacian,
    periodic,
    psi,
    random_values,
    t,
    u,
    v,
    vorticity,
    w,
    x,
    y,
    z,
)

nu = Parameter("nu", 0.3, positive=True)
c = Parameter("c", 1.7)
SQUARE = box(TURN, 2 * TURN)
CUBE = box(TURN, TURN, 2 * TURN, lower=(0, -1, 1))
a, b = Field("a", x, y, t), Field("b", x, y, t)
g = Field("g", x, y, z, t)
k = Field("k", x, t, dtype=complex)
i = sp.I


def grid_of(problem, shape):
    lower, upper = problem.domain.space.bounds
    lengths = [end - start for start, end in zip(lower, upper, strict=True)]
    real = all(f.is_real for f in problem.fields)
    return lower, lengths, [shape] * len(lower), real


def system_of(problem, points, **options):
    lower, lengths, shape, real = grid_of(problem, points)
    return SemilinearSystem(
        split(problem), problem.values, lower, lengths, shape, real=real, **options
    )


def curl_form():
    """Vorticity with two viscous laws, Ekman drag, topography and a force in space and time."""
    ground = sp.cos(x) * sp.sin(y / 2)
    left = w.diff(t) + psi.diff(y) * (w + ground).diff(x) - psi.diff(x) * (w + ground).diff(y)
    right = nu * laplacian(w) - w / 9 - laplacian(laplacian(w)) / 50 + sp.sin(x + 3 * t)
    return periodic([left - right, laplacian(psi) + w], (w, psi), SQUARE)


# name -> (problem, highest mode of the state, its mean)
EVOLUTIONS = {
    "burgers": (evolution(nu * u.diff(x, 2) - u * u.diff(x)), 5, 0.3),
    "kdv": (evolution(-u.diff(x, 3) / 3 + 6 * u**2 * u.diff(x)), 5, 0.1),
    "combustion": (evolution(-u.diff(x, 2) - u.diff(x, 4) - u.diff(x) ** 2 / 2), 5, 0.1),
    "reaction": (evolution(nu * u.diff(x, 2) + 5 * (u - u**3) + 2), 5, 0.1),
    "quintic": (evolution(nu * u.diff(x, 2) - u**5 + c * u**2 * u.diff(x) ** 2), 3, 0.2),
    "porous": (evolution((u * u.diff(x)).diff(x)), 5, 2.0),
    "cahn_hilliard": (evolution((u**3 - u - nu * u.diff(x, 2)).diff(x, 2)), 5, 0.1),
    "thin_film": (evolution(-((u**3 * u.diff(x, 3)).diff(x))), 3, 2.0),
    "bbm_like": (evolution(u.diff(x) * u.diff(x, 2) + u * u.diff(x, 3)), 5, 0.1),
    "variable": (
        evolution(sp.sin(x) * u.diff(x) + sp.exp(-t) * u + sp.cos(x) * t + t**2 * u.diff(x, 2)),
        5,
        0.1,
    ),
    "moving_product": (evolution(u.diff(x, 2) + sp.cos(x - 2 * t) * u**2 + sp.sin(x)), 5, 0.1),
    "sine": (evolution(u.diff(x, 2) + sp.sin(u)), 5, 0.1),
    "saturating": (evolution(nu * u.diff(x, 2) + u / (1 + u**2) - c * sp.tanh(u)), 5, 0.1),
    "root": (evolution(u.diff(x, 2) * sp.sqrt(u) + sp.Abs(u)), 3, 3.0),
    "parameters": (evolution(nu**2 * u.diff(x, 2) + c * nu * u * u.diff(x) + c), 5, 0.1),
    "cross": (
        evolution(
            nu * u.diff(x, 2) + v.diff(x) - u * v**2,
            2 * v.diff(x, 2) - v + u * v**2 + c * u.diff(x, 3),
            fields=(u, v),
        ),
        5,
        0.5,
    ),
    "implied": (
        periodic(
            [
                sp.Eq(u.diff(t) + v.diff(t), u.diff(x, 2)),
                sp.Eq(c * u.diff(t) - 2 * v.diff(t), v * u),
            ],
            (u, v),
        ),
        5,
        0.5,
    ),
    "keller_segel_relaxed": (
        evolution(
            (u.diff(x) - 2 * u * v.diff(x)).diff(x),
            v.diff(x, 2) - v + u,
            fields=(u, v),
        ),
        5,
        1.0,
    ),
    "schroedinger": (
        periodic(
            [sp.Eq(i * h.diff(t), -h.diff(x, 2) / 2 - sp.Abs(h) ** 2 * h + sp.conjugate(h))], (h,)
        ),
        4,
        0.1,
    ),
    "ginzburg_landau": (
        evolution(h + (1 + 2 * i) * h.diff(x, 2) - (1 - i) * sp.Abs(h) ** 2 * h, fields=(h,)),
        4,
        0.1,
    ),
    "derivative_schroedinger": (
        evolution(
            i * h.diff(x, 2) - (sp.Abs(h) ** 2 * h).diff(x) + sp.conjugate(h.diff(x)) * h,
            fields=(h,),
        ),
        4,
        0.1,
    ),
    "complex_pair": (
        evolution(
            i * h.diff(x, 2) + i * (sp.Abs(h) ** 2 + sp.Abs(k) ** 2) * h,
            i * k.diff(x, 2) + i * sp.Abs(h) ** 2 * k + h,
            fields=(h, k),
        ),
        4,
        0.1,
    ),
    "complex_root": (evolution(i * h.diff(x, 2) + i * sp.Abs(h) * h, fields=(h,)), 4, 0.1),
    "plane": (
        evolution(
            w.diff(x, 2) + 2 * w.diff(y, 2) + w.diff(x, y) / 2 + w * w.diff(y) + w.diff(x, 3),
            fields=(w,),
            domain=SQUARE,
        ),
        4,
        0.1,
    ),
    "vector_burgers": (
        evolution(
            nu * laplacian(a) - a * a.diff(x) - b * a.diff(y),
            nu * laplacian(b) - a * b.diff(x) - b * b.diff(y),
            fields=(a, b),
            domain=SQUARE,
        ),
        4,
        0.1,
    ),
    "zakharov_kuznetsov": (
        evolution(-w * w.diff(x) - laplacian(w).diff(x), fields=(w,), domain=SQUARE),
        4,
        0.1,
    ),
    "combustion_plane": (
        evolution(
            -laplacian(w) - laplacian(laplacian(w)) - (w.diff(x) ** 2 + w.diff(y) ** 2) / 2,
            fields=(w,),
            domain=SQUARE,
        ),
        4,
        0.1,
    ),
    "space": (
        evolution(
            nu * laplacian(g) - g * g.diff(z) + g.diff(x, y, z) + g - g**3 / 9 + sp.cos(y),
            fields=(g,),
            domain=CUBE,
        ),
        2,
        0.1,
    ),
}
CONSTRAINED = {
    "vorticity": (vorticity(SQUARE, 0, nu=nu, beta=c, drag=half, force=sp.sin(x)), 4, 0.0),
    "vorticity_more": (curl_form(), 4, 0.0),
    "keller_segel": (
        periodic(
            [
                sp.Eq(u.diff(t), (u.diff(x) - 2 * u * v.diff(x)).diff(x)),
                sp.Eq(0, v.diff(x, 2) - v + u),
            ],
            (u, v),
        ),
        5,
        1.0,
    ),
    "poisson_drift": (
        periodic(
            [sp.Eq(u.diff(t), u.diff(x, 2) + (u * v.diff(x)).diff(x)), v.diff(x, 2) + u], (u, v)
        ),
        5,
        0.0,
    ),
    "two_coupled_constraints": (
        periodic(
            [
                sp.Eq(w.diff(t), a * w.diff(x) + b.diff(y) * w + laplacian(w)),
                sp.Eq(laplacian(a) - a + b.diff(x), w),
                sp.Eq(laplacian(b) - 2 * b + c * a, w.diff(y)),
            ],
            (w, a, b),
            SQUARE,
        ),
        3,
        0.4,
    ),
    "biot_savart": (
        periodic(
            [
                sp.Eq(w.diff(t) + a * w.diff(x) + b * w.diff(y), nu * laplacian(w)),
                sp.Eq(laplacian(a), -w.diff(y)),
                sp.Eq(laplacian(b), w.diff(x)),
            ],
            (w, a, b),
            SQUARE,
        ),
        4,
        0.0,
    ),
    "algebraic": (
        periodic([sp.Eq(u.diff(t), v.diff(x) * u), sp.Eq(2 * v, u.diff(x, 2) + u)], (u, v)),
        5,
        0.2,
    ),
    "flow_plane": (flow((x, y), nu, SQUARE), 4, 0.2),
    "two_viscosities": (
        periodic(
            [
                sp.Eq(a.diff(t), -psi.diff(x) + nu * laplacian(a) - a * a.diff(x)),
                sp.Eq(b.diff(t), -psi.diff(y) + laplacian(b)),
                a.diff(x) + b.diff(y),
            ],
            (a, b, psi),
            SQUARE,
        ),
        4,
        0.2,
    ),
    "flow_space": (flow((x, y, z), nu, CUBE, force=[sp.sin(z), 0, sp.cos(x - t)]), 2, 0.2),
    "boussinesq": (
        periodic(
            [
                sp.Eq(a.diff(t) + a * a.diff(x) + b * a.diff(y), -psi.diff(x) + nu * laplacian(a)),
                sp.Eq(
                    b.diff(t) + a * b.diff(x) + b * b.diff(y),
                    -psi.diff(y) + laplacian(b) / 5 + c * w,
                ),
                sp.Eq(w.diff(t) + a * w.diff(x) + b * w.diff(y), laplacian(w) / 2 + b),
                a.diff(x) + b.diff(y),
            ],
            (a, b, w, psi),
            SQUARE,
        ),
        4,
        0.2,
    ),
    "rotating_flow": (
        periodic(
            [
                sp.Eq(a.diff(t), -psi.diff(x) + c * b + nu * laplacian(a)),
                sp.Eq(b.diff(t), -psi.diff(y) - c * a + laplacian(b) - a * b.diff(x)),
                a.diff(x) + b.diff(y),
            ],
            (a, b, psi),
            SQUARE,
        ),
        4,
        0.2,
    ),
}
SECOND_ORDER = {
    "klein_gordon": (periodic([u.diff(t, 2) - u.diff(x, 2) + u - u**3], (u,)), 5, 0.1),
    "sine_gordon": (periodic([u.diff(t, 2) - u.diff(x, 2) + sp.sin(u)], (u,)), 5, 0.1),
    "telegraph": (
        periodic([u.diff(t, 2) + 3 * u.diff(t) + nu * u.diff(t, x, x) - u.diff(x, 2)], (u,)),
        5,
        0.1,
    ),
    "van_der_pol": (
        periodic([u.diff(t, 2) - (1 - u**2) * u.diff(t) + u - u.diff(x, 2)], (u,)),
        5,
        0.1,
    ),
    "beam": (
        periodic(
            [
                u.diff(t, 2) + c * u.diff(x, 4) - u.diff(t) * u.diff(x),
            ],
            (u,),
        ),
        5,
        0.1,
    ),
    "mixed_orders": (
        periodic(
            [
                sp.Eq(u.diff(t, 2), c**2 * u.diff(x, 2) - v.diff(x) + u * v),
                sp.Eq(v.diff(t), v.diff(x, 2) + u.diff(t, x) + u.diff(t) * v),
            ],
            (u, v),
        ),
        5,
        0.1,
    ),
    "waves_in_the_plane": (
        periodic([w.diff(t, 2) - laplacian(w) + w.diff(x, y) - sp.cos(x + t)], (w,), SQUARE),
        4,
        0.1,
    ),
    "zakharov": (
        periodic(
            [
                sp.Eq(i * h.diff(t) + h.diff(x, 2), k * h),
                sp.Eq(k.diff(t, 2) - k.diff(x, 2), (h * sp.conjugate(h)).diff(x, 2)),
            ],
            (h, k),
        ),
        4,
        0.1,
    ),
}
CASES = {**EVOLUTIONS, **CONSTRAINED, **SECOND_ORDER}
POINTS = {1: 64, 2: 32, 3: 16}


@pytest.mark.parametrize("name", CASES)
def test_linear_part_and_nonlinearity_sum_to_the_declaration(name):
    """Every declared equation holds with the rates found, evaluated without the code under test."""
    problem, highest, mean = CASES[name]
    assert can_solve(problem) is None
    dim = len(problem.space_coordinates)
    system = system_of(problem, POINTS[dim], dealias=None)
    count = len(system.split.state)
    values = random_values(problem, (POINTS[dim],) * dim, count, highest, mean=mean)
    errors, _ = equation_errors(problem, system, values, time=0.7)
    # round-off in the derivatives; a missing or wrong term is of order one
    assert max(errors) < 1e-9


POLYNOMIAL = ["kdv", "porous", "cross", "schroedinger", "vorticity_more", "flow_space", "beam"]


@pytest.mark.parametrize("name", POLYNOMIAL)
@pytest.mark.parametrize(
    "options",
    [{}, {"dealias": "3/2-pad"}, {"mode": "full"}, {"mode": "full", "dealias": "1/2"}],
    ids=["auto", "pad", "full", "full half"],
)
def test_dealiased_products_of_resolved_states_are_exact_too(name, options):
    problem, highest, mean = CASES[name]
    dim = len(problem.space_coordinates)
    points = 2 * POINTS[dim] if dim < 3 else POINTS[dim]
    highest = min(highest, 1) if dim == 3 else highest
    system = system_of(problem, points, **options)
    values = random_values(problem, (points,) * dim, len(system.split.state), highest, mean=mean)
    errors, _ = equation_errors(problem, system, values, time=0.7)
    assert max(errors) < 1e-9


def test_incompressible_rates_have_no_divergence():
    problem, _, mean = CASES["flow_space"]
    system = system_of(problem, 16)
    modes = system.grid.forward(random_values(problem, (16,) * 3, 3, 2, mean=mean))
    fixed, change = system.admissible(modes)
    assert change > 0.1  # the random state was not solenoidal
    rates = system.rate(fixed, system.nonlinear(fixed, 0.3))
    for field in (fixed, rates):
        factors = [system.grid.factor(tuple(int(j == n) for j in range(3))) for n in range(3)]
        divergence = sum(f * field[0, n] for n, f in enumerate(factors))
        assert divergence.abs().max() < 1e-14 * field.abs().max() * 16
    assert system.admissible(fixed)[1] < 1e-15


# ---------------------------------------------------------------------------------- what goes where


def test_linear_terms_go_to_the_symbol():
    parts = split(CASES["burgers"][0])
    assert parts.linear == {(0, 0): {(2,): nu}}
    assert list(parts.outer.items()) == [((0, 0), {(1,): -half})]  # conservation form
    parts = split(KDV)
    assert parts.linear == {(0, 0): {(3,): -1}} and parts.degree == 2
    parts = split(CASES["cross"][0])
    assert set(parts.linear) == {(0, 0), (0, 1), (1, 1), (1, 0)}
    assert parts.linear[1, 0] == {(3,): c}
    assert not split(evolution(3 * u.diff(x) + u)).products


def test_second_order_in_time_becomes_a_system_of_first_order():
    parts = split(CASES["telegraph"][0])
    assert parts.state == (u, u.diff(t)) and not parts.products
    assert parts.linear == {
        (0, 1): {(0,): 1},
        (1, 0): {(2,): 1},
        (1, 1): {(0,): -3, (2,): -nu},
    }
    parts = split(CASES["mixed_orders"][0])
    assert parts.state == (u, v, u.diff(t))


def test_constraints_go_to_their_operators():
    parts = split(CASES["vorticity"][0])
    assert parts.state == (w,) and parts.auxiliary == (psi,)
    assert parts.constraint == {(0, 0): {(2, 0): 1, (0, 2): 1}}
    assert parts.source == {(0, 0): {(0, 0): -1}}
    assert parts.coupling == {(0, 0): {(1, 0): c}} and not parts.projected
    parts = split(CASES["flow_plane"][0])
    assert parts.projected and not parts.constraint
    assert len(parts.coupling) == 2 and len(parts.source) == 2


@pytest.mark.parametrize(
    "name, degree, factors",
    [
        ("burgers", 2, 2),
        ("reaction", 3, 3),
        ("quintic", 5, 5),
        ("thin_film", 4, 4),
        ("cross", 3, 3),
        ("schroedinger", 3, 3),
        ("derivative_schroedinger", 3, 3),
        ("variable", 2, 2),  # sin(x) u_x: the coefficient is a factor like a field
        ("moving_product", 3, 3),
        ("sine", None, 2),
        ("saturating", None, 2),
        ("root", None, 2),
        ("complex_root", None, 2),
        ("vorticity", 2, 2),
        ("flow_space", 2, 2),
        ("telegraph", 0, 1),
        ("van_der_pol", 3, 3),
    ],
)
def test_degree_of_the_products(name, degree, factors):
    parts = split(CASES[name][0])
    assert parts.degree == degree and parts.factors == factors


def test_forcing_alone_needs_no_dealiasing():
    assert split(evolution(u.diff(x, 2) + sp.sin(x))).degree == 0
    assert split(evolution(u.diff(x, 2) + sp.sin(x) * t)).degree == 0


def test_explicit_high_derivatives_are_listed_as_declared():
    assert split(CASES["burgers"][0]).stiff == ()
    assert any("(x, 2)" in term for term in split(CASES["porous"][0]).stiff)
    assert split(CASES["variable"][0]).stiff == (str(t**2 * u.diff(x, 2)),)
    assert len(split(CASES["thin_film"][0]).stiff) >= 1


def test_multipliers_are_sums_of_powers_of_ik():
    grid = FourierGrid([0, 0], [TURN, 4 * math.pi], [8, 6], real=False)
    table = {(0, 1): {(2, 1): c, (0, 0): sp.Integer(3)}}
    found = multiplier(table, (1, 2), grid.factor, 2, {c: 2.0})
    p, q = grid.numbers
    q = torch.where(2 * q.abs() == 6, 0.0, q) / 2
    assert not found[0, 0].abs().any()
    torch.testing.assert_close(found[0, 1], 2 * (1j * p) ** 2 * (1j * q) + 3)
    family = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    batch = multiplier(table, (1, 2), grid.factor, 2, {c: family})
    assert batch.shape == (2, 1, 2, 8, 6)
    torch.testing.assert_close(2 * (batch[0, 0, 1] - 3), found[0, 1] - 3)
    (slope,) = torch.autograd.grad(batch[:, 0, 1, 1, 1].imag.sum(), family)
    torch.testing.assert_close(slope, torch.full((2,), -0.5, dtype=torch.float64))


def test_splitting_is_done_once_per_declaration():
    assert split(CASES["burgers"][0]) is split(CASES["burgers"][0])


# ---------------------------------------------------------------------------------------- refusals


def refused(problem, *words):
    with pytest.raises(UnsupportedProblem) as caught:
        split(problem)
    for word in words:
        assert word in str(caught.value)
    assert can_solve(problem) == str(caught.value)


def test_time_derivatives_that_cannot_be_solved_for_are_named():
    benjamin = periodic([sp.Eq(u.diff(t) - u.diff(t, x, x), u)], (u,))
    refused(benjamin, "mixes", str(u.diff(t, x, x)), '"pinn"')
    refused(periodic([sp.Eq(u * u.diff(t), u.diff(x, 2))], (u,)), "multiplied by u(x, t)")
    refused(
        periodic([sp.Eq((2 + sp.cos(x)) * u.diff(t), u.diff(x, 2))], (u,)), "multiplied by cos(x)"
    )
    twice = [sp.Eq(u.diff(t) + v.diff(t), u), sp.Eq(2 * u.diff(t) + 2 * v.diff(t), v)]
    refused(periodic(twice, (u, v)), "not independent")
    squared = periodic([sp.Eq(u.diff(t) ** 2, u.diff(x, 2))], (u,))
    refused(squared, "multiplied by")


def test_constraints_that_have_no_solution_are_named():
    nonlinear = periodic([sp.Eq(u.diff(t), v), sp.Eq(v.diff(x, 2) + v * u, u)], (u, v))
    refused(nonlinear, "linear with constant coefficients", "u(x, t)*v(x, t)")
    varying = periodic([sp.Eq(u.diff(t), v), sp.Eq(v.diff(x, 2) + sp.cos(x) * v, u)], (u, v))
    refused(varying, "v(x, t)*cos(x)")
    forced = periodic([sp.Eq(u.diff(t), v), sp.Eq(v.diff(x, 2), u + sp.sin(x))], (u, v))
    refused(forced, "sin(x)")
    undetermined = periodic(
        [
            sp.Eq(w.diff(t), a + b),
            sp.Eq(laplacian(a) + laplacian(b), w),
            sp.Eq(2 * laplacian(a) + 2 * laplacian(b), w.diff(x)),
        ],
        (w, a, b),
        SQUARE,
    )
    refused(undetermined, "determine a(x, y, t), b(x, y, t)")


def test_a_pressure_is_no_factor():
    equations = [
        sp.Eq(a.diff(t), -psi.diff(x) + psi * a + laplacian(a)),
        sp.Eq(b.diff(t), -psi.diff(y) + laplacian(b)),
        a.diff(x) + b.diff(y),
    ]
    refused(periodic(equations, (a, b, psi), SQUARE), "psi(x, y, t)", "pressure", "product")


def test_counts_of_equations_are_named():
    # two constraints on one velocity, and no equation for the second
    equations = [sp.Eq(a.diff(t) + psi, 0), sp.Eq(b.diff(x) + a, 0), sp.Eq(a.diff(y) + b, 0)]
    reason = can_solve(periodic(equations, (a, b, psi), SQUARE))
    assert reason is not None and "psi" in reason


def test_derivatives_inside_unknown_functions_are_named():
    with pytest.raises((UnsupportedProblem, InvalidProblem), match=r"Derivative|differentiate"):
        split(evolution(sp.floor(u).diff(x)))


def test_more_than_eight_variables_are_refused():
    fields = tuple(Field(f"f{n}", x, t) for n in range(9))
    problem = evolution(*(f.diff(x, 2) for f in fields), fields=fields)
    assert "at most 8" in can_solve(problem) and "9" in can_solve(problem)
    smaller = evolution(*(f.diff(x, 2) for f in fields[:8]), fields=fields[:8])
    assert can_solve(smaller) is None


def test_steady_problems_have_no_splitting():
    with pytest.raises(UnsupportedProblem, match="no time"):
        split(problems.poisson())


def test_boundary_conditions_are_not_looked_at():
    left = PDE("a", KDV.equations, KDV.domain, [Initial(u, 0), Periodic(u, x)])
    assert split(left).linear == split(KDV).linear
