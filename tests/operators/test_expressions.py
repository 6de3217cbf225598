"""SymPy to torch."""

import math

import pytest
import sympy as sp
import torch

from pdeml.errors import UnsupportedProblem
from pdeml.operators.expressions import Program, evaluate
from pdeml.operators.jets import Jet, Streams

x, t, nu = sp.symbols("x t nu", real=True)
POINTS = (
    torch.rand((50, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
)

EXPRESSIONS = [
    sp.sin(sp.pi * x) * sp.exp(-nu * t) + 3,
    sp.Rational(1, 3) * x**5 - x**-2 + sp.sqrt(2 + t),
    sp.Piecewise((x, x < sp.Rational(1, 2)), (1 - x * t, t > 0), (7, True)),
    sp.Max(x, t, sp.Rational(1, 10)) + sp.Min(x, -t) + abs(x * t) + sp.sign(t),
    sp.tanh(x) / sp.cosh(t) + sp.atan2(x, t) + sp.erf(t) + sp.log(2 + x),
    sp.Heaviside(x) * sp.cos(t) ** 3 + sp.tan(x) + sp.sinh(t),
    sp.E**x + 2**t + nu**2,
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_program_equals_sympy(expression):
    found = evaluate([expression], (x, t), POINTS, {nu: 0.7})[:, 0]
    for value, (a, b) in zip(found, POINTS.tolist(), strict=True):
        expected = float(sp.N(expression.subs({x: a, t: b, nu: 0.7}), 20))
        assert abs(float(value) - expected) <= 1e-13 * max(1, abs(expected))


def test_constants_and_numbers_become_columns():
    found = evaluate([sp.Integer(3), sp.pi / 2, x], (x, t), POINTS)
    assert torch.equal(found[:, 0], torch.full((50,), 3.0, dtype=torch.float64))
    assert (found[:, 1] == math.pi / 2).all() and torch.equal(found[:, 2], POINTS[:, 0])


def test_complex_expressions_keep_their_imaginary_part():
    found = evaluate([sp.exp(sp.I * x), x], (x, t), POINTS)
    assert (found[:, 0] - torch.exp(1j * POINTS[:, 0])).abs().max() < 1e-15


def test_relations_select_points():
    (inside,) = Program([(x < 0) & (t >= 0)], [x, t])(*POINTS.unbind(-1))
    assert torch.equal(inside, (POINTS[:, 0] < 0) & (POINTS[:, 1] >= 0))


def test_float32_stays_float32():
    (value,) = Program([sp.sin(nu) * x + sp.pi], [x, nu])(POINTS[:, 0].float(), 0.3)
    assert value.dtype == torch.float32


def test_program_runs_on_jets():
    program = Program([sp.sin(x * t) * sp.exp(t) + x**3], [x, t])
    streams = Streams(2, [(2, 1)])
    jet = Jet.coordinates(POINTS, streams)
    (out,) = program(jet[..., 0:1], jet[..., 1:2])
    for i, (a, b) in enumerate(streams.indices):
        expected = evaluate([sp.diff(sp.sin(x * t) * sp.exp(t) + x**3, x, a, t, b)], (x, t), POINTS)
        assert (out.data[i] - expected).abs().max() < 1e-12


def test_what_has_no_torch_form_is_named():
    with pytest.raises(UnsupportedProblem, match="zeta"):
        Program([sp.zeta(x)], [x])
    with pytest.raises(UnsupportedProblem, match="nu"):
        Program([nu * x], [x])
