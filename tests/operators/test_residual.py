"""Compilation of residuals to streams."""

import pytest
import sympy as sp
import torch
from torch import nn

from pdeml import problems
from pdeml.errors import UnsupportedProblem
from pdeml.operators.expressions import evaluate
from pdeml.operators.residual import Residual
from pdeml.solvers.objective import Term, Trial
from pdeml.solvers.requirements import equation_requirement

x, y, t = sp.symbols("x y t", real=True)
u = sp.Function("u")(x, t)
nu, a, b, g = sp.symbols("nu a b g")


@pytest.mark.parametrize(
    "expression, values, count, words",
    [
        (u.diff(t) + u * u.diff(x) - nu * u.diff(x, 2), {nu: 1.0}, 3, "-nu*u_xx + u_t"),
        (
            u.diff(t) + a * u * u.diff(x) + b * u.diff(x, 2) + g * u.diff(x, 4),
            {a: 1.0, b: 1.0, g: 1.0},
            5,
            "b*u_xx + g*u_xxxx + u_t",
        ),
        (u.diff(t) + 50 * u.diff(x), {}, 2, "u_t + 50*u_x"),
        (u.diff(x, 2) - u, {}, 3, "u_xx"),
        # the derivative in the coefficient has to stay a stream of its own
        (u.diff(x) * u.diff(x, 2) - u.diff(t), {}, 4, "u_xx"),
    ],
)
def test_number_of_streams(expression, values, count, words):
    residual = Residual([expression], [u], [x, t], values=values)
    assert len(residual.streams) == count
    assert words in residual.describe()


def test_laplacian_in_ten_dimensions_needs_twelve_streams():
    xs = sp.symbols("x1:11")
    v = sp.Function("v")(*xs)
    assert len(Residual([sum(v.diff(c, 2) for c in xs)], [v], xs).streams) == 12


def test_navier_stokes_shares_one_merged_operator():
    """u_t − νΔu and v_t − νΔv are one stream, for all fields."""
    fields = [sp.Function(n)(x, y, t) for n in "uvp"]
    u, v, p = fields

    def momentum(w, direction):
        laplacian = w.diff(x, 2) + w.diff(y, 2)
        return w.diff(t) + u * w.diff(x) + v * w.diff(y) + p.diff(direction) - nu * laplacian

    system = [momentum(u, x), momentum(v, y), u.diff(x) + v.diff(y)]
    assert len(Residual(system, fields, [x, y, t], values={nu: 0.1}).streams) == 4


def test_proportional_operators_share_a_stream_with_their_factor():
    """Both equations hold u_t − νΔu of their field, the second one −3 times."""
    v, w = sp.Function("v")(x, t), sp.Function("w")(x, t)
    first = v.diff(t) - nu * v.diff(x, 2) + w * v.diff(x)
    second = -3 * w.diff(t) + 3 * nu * w.diff(x, 2) + v
    residual = Residual([first, second], [v, w], [x, t], values={nu: 0.3})
    assert len(residual.streams.operators) == 1
    field = Polynomial([v, w], (x, t))
    points = torch.rand((50, 2), generator=torch.Generator().manual_seed(3)).double()
    found = Term("equation", residual, Trial(field), points).residuals()
    values = dict(zip((v, w), field.expressions, strict=True))
    expected = evaluate([e.subs(values).doit() for e in (first, second)], (x, t), points, {nu: 0.3})
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_unknown_parameters_stay_outside_merged_operators():
    equation = u.diff(t) + a * u * u.diff(x) - nu * u.diff(x, 2)
    residual = Residual([equation], [u], [x, t], unknowns=[a, nu])
    assert len(residual.streams) == 4 and not residual.streams.operators


def test_derivative_of_another_field_is_named():
    w = sp.Function("w")(x, t)
    with pytest.raises(UnsupportedProblem, match="w"):
        Residual([u.diff(t) + w.diff(x)], [u], [x, t])


class Polynomial(nn.Module):
    """A random polynomial of the coordinates per field, on tensors and on jets."""

    def __init__(self, fields, coordinates, degree=5):
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.expressions = []
        for _ in fields:
            total = sp.Integer(0)
            for _ in range(6):
                powers = torch.randint(0, degree, (len(coordinates),), generator=generator).tolist()
                c = sp.Rational(int(torch.randint(-9, 10, (1,), generator=generator)), 7)
                total += c * sp.prod(s**k for s, k in zip(coordinates, powers, strict=True))
            self.expressions.append(total + coordinates[0] ** 4 * coordinates[-1] ** 2)
        self.coordinates = coordinates
        self.dummy = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, points):
        columns = []
        for expression in self.expressions:
            total = 0.0
            for term in sp.Add.make_args(sp.expand(expression)):
                product = 1.0
                for base, exponent in term.as_powers_dict().items():
                    if base in self.coordinates:
                        i = self.coordinates.index(base)
                        column = points[..., i : i + 1]
                        for _ in range(int(exponent)):
                            product = column * product
                coefficient = float(term.as_coeff_Mul()[0])
                total = product * coefficient + total
            columns.append(total)
        return torch.cat(columns, -1)


REAL = [n for n in problems.names() if all(f.is_real for f in problems.get(n)().fields)]
"""Collocation refuses complex fields."""


@pytest.mark.parametrize("name", REAL)
def test_zoo_residuals_equal_direct_sympy_evaluation_on_a_polynomial_field(name):
    problem = problems.get(name)()
    field = Polynomial(problem.fields, problem.coordinates)
    residual = equation_requirement(problem, 1).residual
    points = problem.domain.sample(200, torch.Generator().manual_seed(3))
    found = Term("equation", residual, Trial(field), points).residuals()
    substituted = [
        r.subs(dict(zip(problem.fields, field.expressions, strict=True))).doit()
        for r in problem.residuals
    ]
    expected = evaluate(substituted, problem.coordinates, points, problem.values)
    assert (found - expected).abs().max() <= 1e-12 * max(1.0, float(expected.abs().max()))


def test_sampled_directions_are_unbiased_and_cheap():
    """E over the draw of the sampled residual is the residual; d = 100 takes 12 streams."""
    xs = sp.symbols("x1:101", real=True)
    v = sp.Function("v")(*xs)
    residual = Residual(
        [sum((i + 1) * v.diff(c, 2) for i, c in enumerate(xs)) + v * v.diff(xs[3]) - xs[0]], [v], xs
    )
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn((100, 1), generator=generator, dtype=torch.float64) / 10

    class Ridge(nn.Module):
        def forward(self, points):
            return torch.sin(points @ weights)

    points = torch.rand((5, 100), generator=generator, dtype=torch.float64)
    full = Term("full", residual, Trial(Ridge()), points).residuals()
    draws = []
    for _ in range(300):
        part = residual.sampled(10, generator)
        assert len(part.streams) <= 13  # value, own derivative, ten directions, the operator
        draws.append(Term("part", part, Trial(Ridge()), points).residuals())
    stacked = torch.stack(draws)
    error = stacked.std(0) / 300**0.5
    assert ((stacked.mean(0) - full).abs() < 4 * error).all()
    assert torch.equal(
        Term("all", residual.sampled(100, generator), Trial(Ridge()), points).residuals(), full
    )
