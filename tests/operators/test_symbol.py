"""L u + N is exactly the declared right-hand side, and what has no splitting is named."""

import math

import pytest
import sympy as sp
import torch

from pdeml.domains import Interval, Rectangle, Time
from pdeml.errors import UnsupportedProblem
from pdeml.operators.pde import PDE, Field, Initial, Parameter, Periodic
from pdeml.operators.symbol import derivative_factor, split
from pdeml.solvers.etdrk4 import FourierGrid, Stepper

x, y, t = sp.symbols("x y t", real=True)
u, v = Field("u", x, t), Field("v", x, t)
w = Field("w", x, y, t)
h = Field("h", x, t, dtype=complex)
LINE = Interval(x, 0, 2 * math.pi) * Time(t, 0, 1)
SQUARE = Rectangle((x, y), (0, 0), (2 * math.pi, 4 * math.pi)) * Time(t, 0, 1)
nu = Parameter("nu", 0.3, positive=True)


def declared(*equations, fields=(u,), domain=LINE):
    conditions = [Initial(f, 0) for f in fields]
    conditions += [Periodic(f, axis) for f in fields for axis in domain.space.coordinates]
    return PDE("case", equations, domain, conditions)


def rates(*right, fields=(u,), domain=LINE):
    return declared(
        *(sp.Eq(f.diff(t), r) for f, r in zip(fields, right, strict=True)),
        fields=fields,
        domain=domain,
    )


CASES = {
    "burgers": (rates(nu * u.diff(x, 2) - u * u.diff(x)), {u: sp.sin(x) + sp.cos(2 * x)}),
    "kdv": (rates(-u.diff(x, 3) / 3 + 6 * u**2 * u.diff(x)), {u: sp.sin(x) + sp.cos(2 * x) / 2}),
    "kuramoto": (rates(-u.diff(x, 2) - u.diff(x, 4) - u.diff(x) ** 2 / 2), {u: sp.sin(3 * x)}),
    "reaction": (rates(nu * u.diff(x, 2) + 5 * (u - u**3) + 2), {u: sp.cos(x) + sp.sin(2 * x)}),
    "porous": (rates((u * u.diff(x)).diff(x)), {u: 2 + sp.sin(x)}),
    "variable": (rates(sp.sin(x) * u.diff(x) + sp.exp(-t) * u + sp.cos(x) * t), {u: sp.cos(2 * x)}),
    "sine": (rates(u.diff(x, 2) + sp.sin(u)), {u: sp.cos(x)}),
    "system": (
        rates(
            nu * u.diff(x, 2) + v.diff(x) - u * v**2,
            2 * v.diff(x, 2) - v + u * v**2,
            fields=(u, v),
        ),
        {u: sp.sin(x), v: 1 + sp.cos(2 * x)},
    ),
    "implied": (
        declared(
            sp.Eq(u.diff(t) + v.diff(t), u.diff(x, 2)),
            sp.Eq(u.diff(t) - 2 * v.diff(t), v * u),
            fields=(u, v),
        ),
        {u: sp.sin(x), v: 1 + sp.cos(2 * x)},
    ),
    "plane": (
        rates(
            w.diff(x, 2) + 2 * w.diff(y, 2) + w.diff(x, y) / 2 + w * w.diff(y) + w.diff(x, 3),
            fields=(w,),
            domain=SQUARE,
        ),
        {w: sp.sin(x) * sp.cos(y / 2) + sp.cos(y)},
    ),
    "schroedinger": (
        declared(
            sp.Eq(sp.I * h.diff(t), -h.diff(x, 2) / 2 - sp.Abs(h) ** 2 * h + sp.conjugate(h)),
            fields=(h,),
        ),
        {h: sp.exp(sp.I * x) + sp.Rational(1, 2) * sp.exp(-2 * sp.I * x)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_linear_part_and_nonlinearity_sum_to_the_declaration(name):
    problem, state = CASES[name]
    domain = problem.domain
    lower, upper = domain.space.bounds
    lengths = [b - a for a, b in zip(lower, upper, strict=True)]
    real = all(f.is_real for f in problem.fields)
    grid = FourierGrid(lower, lengths, [64] * len(lower), real)
    stepper = Stepper(split(problem), problem.values, grid)
    time = 0.7

    def sampled(expression):
        numbers = {**problem.values, t: time}
        function = sp.lambdify(problem.space_coordinates, expression.subs(numbers), "numpy")
        points = [p.expand(grid.shape).numpy() for p in grid.points]
        dtype = torch.float64 if real else torch.complex128
        return torch.as_tensor(function(*points) + 0 * points[0]).to(dtype)

    values = torch.stack([sampled(state[f]) for f in problem.fields])[None]
    modes = grid.forward(values)
    found = grid.inverse(stepper.rate(modes, stepper.nonlinear(modes, time)))[0]
    # the declared equations, with the time derivatives found, must vanish
    for residual in problem.residuals:
        known = residual.subs({f.diff(t): sp.Symbol(f"r{i}") for i, f in enumerate(problem.fields)})
        known = known.subs(state).doit()
        total = sampled(known.subs({sp.Symbol(f"r{i}"): 0 for i in range(len(found))}))
        for i in range(len(found)):
            mass = complex(sp.N(sp.diff(known, sp.Symbol(f"r{i}"))))
            total = total + (mass if mass.imag else mass.real) * found[i]
        assert total.abs().max() < 1e-8  # round-off times k⁴ ≤ 10⁶


def test_what_goes_where():
    parts = split(CASES["burgers"][0])
    assert parts.symbol == ({(2,): nu},)
    assert list(parts.fluxes[0]) == [(1,)]  # conservation form: one transform in, one out
    assert parts.degree == 2 and not parts.linear and not parts.stiff

    assert split(rates(3 * u.diff(x) + u)).linear
    assert split(CASES["reaction"][0]).degree == 3
    assert split(CASES["variable"][0]).degree == 2
    assert split(CASES["sine"][0]).degree is None
    assert split(rates(u.diff(x, 2) + sp.sin(x))).degree == 0
    assert split(CASES["schroedinger"][0]).degree == 3
    assert split(CASES["porous"][0]).stiff


def test_derivative_factor_is_exactly_real_or_imaginary():
    k = torch.arange(-5.0, 6.0, dtype=torch.float64)
    for order in range(7):
        factor = derivative_factor([k], (order,))
        torch.testing.assert_close(factor, (1j * k.to(torch.complex128)) ** order)
        assert not (factor.imag if order % 2 == 0 else factor.real).any()


def test_refusals_name_the_term():
    second = PDE(
        "wave",
        [sp.Eq(u.diff(t, 2), u.diff(x, 2))],
        LINE,
        [Initial(u, 0), Initial(u.diff(t), 0), Periodic(u, x)],
    )
    with pytest.raises(UnsupportedProblem, match=r"Derivative\(u\(x, t\), \(t, 2\)\)"):
        split(second)
    with pytest.raises(
        UnsupportedProblem, match=r"Derivative\(u\(x, t\), t, \(x, 2\)\)|\(x, 2\), t"
    ):
        split(declared(sp.Eq(u.diff(t) - u.diff(t, x, x), u)))
    with pytest.raises(UnsupportedProblem, match=r"multiplied by u\(x, t\)"):
        split(declared(sp.Eq(u * u.diff(t), u.diff(x, 2))))
    constrained = PDE(
        "constraint",
        [sp.Eq(u.diff(t), v), sp.Eq(v.diff(x, 2), u)],
        LINE,
        [Initial(u, 0), Periodic(u, x), Periodic(v, x)],
    )
    with pytest.raises(UnsupportedProblem, match=r"v\(x, t\) has no time derivative"):
        split(constrained)
