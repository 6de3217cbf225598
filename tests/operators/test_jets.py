"""Taylor mode against nested reverse mode and closed forms (pinn.md §5.1)."""

import itertools
import math

import pytest
import sympy as sp
import torch
from torch import nn

from pdeml.errors import UnsupportedProblem
from pdeml.nn.activations import DERIVATIVES
from pdeml.nn.networks import (
    MLP,
    CoordinateEmbedding,
    FactorizedLinear,
    FourierFeatures,
    ModifiedMLP,
    PirateNet,
)
from pdeml.operators.jets import (
    Jet,
    Streams,
    derivatives,
    nested_autograd,
    streams_of,
    supports_jets,
)

# u, first to fourth order along x, mixed second and third, and two merged operators
STREAMS = Streams(2, [(4, 0), (0, 2), (1, 1), (2, 1)], [((0, 1), (2, 0), (4, 0)), ((1, 1), (0, 2))])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(n=9, d=2, seed=1):
    return torch.rand((n, d), generator=generator(seed), dtype=torch.float64) * 2 - 1


def coefficients(n=9):
    varying = torch.rand((n, 1), generator=generator(2), dtype=torch.float64)
    return [0.3, varying, -0.2, 1.5 * varying, 0.7]


class Factorized(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.first = FactorizedLinear(2, 8, generator=generator())
        self.inner = MLP(8, 2, depth=1, width=8, activation=activation, generator=generator())

    def forward(self, x):
        return self.inner(torch.sin(self.first(x)))


def networks(activation):
    pirate = PirateNet(2, 2, width=8, activation=activation, generator=generator())
    for block in pirate.blocks:
        nn.init.constant_(block.alpha, 0.4)
    return {
        "mlp": MLP(2, 2, width=8, activation=activation, generator=generator()),
        "modified": ModifiedMLP(2, 2, width=8, activation=activation, generator=generator()),
        "pirate": pirate,
        "factorized": Factorized(activation),
        "embedded": nn.Sequential(
            CoordinateEmbedding([-1, 0], [1, 2], periodic=[0], harmonics=2),
            FourierFeatures(5, 6, generator=generator()),
            MLP(12, 2, width=8, activation=activation, generator=generator()),
        ),
    }


@pytest.mark.parametrize("activation", ["tanh", "sin", "swish", "gaussian", "sigmoid", "gelu"])
def test_jets_equal_nested_autograd_in_values_and_parameter_gradients(activation):
    for name, network in networks(activation).items():
        parameters = list(network.parameters())
        jets = streams_of(network, points(), STREAMS, coefficients())
        assert supports_jets(network, points(), STREAMS)
        nested = nested_autograd(network, points(), STREAMS, coefficients())
        scale = nested.abs().amax((1, 2), keepdim=True)
        assert ((jets - nested).abs() / scale).max() <= 1e-12, name
        weights = torch.randn(jets.shape, generator=generator(3), dtype=torch.float64)
        left = torch.autograd.grad((jets * weights).sum(), parameters, materialize_grads=True)
        right = torch.autograd.grad((nested * weights).sum(), parameters, materialize_grads=True)
        size = max(float(g.abs().max()) for g in right)
        for a, b in zip(left, right, strict=True):
            assert (a - b).abs().max() <= 1e-10 * size, name


@pytest.mark.parametrize("name", sorted(set(DERIVATIVES) - {"silu"}))
def test_elementwise_derivatives_equal_sympy_up_to_sixth_order(name):
    """The recurrences hold for any order, not only for the four that are tabulated in the spec."""
    z = sp.Symbol("z")
    closed = {
        "sigmoid": 1 / (1 + sp.exp(-z)),
        "swish": z / (1 + sp.exp(-z)),
        "softplus": sp.log(1 + sp.exp(z)),
        "gaussian": sp.exp(-(z**2)),
        "gelu": z * (1 + sp.erf(z / sp.sqrt(2))) / 2,
    }
    expression = closed.get(name) or getattr(sp, name)(z)
    argument = torch.tensor([0.37, 0.9], dtype=torch.float64)
    table = DERIVATIVES[name](argument, 6)
    for order, values in enumerate(table):
        for value, at in zip(values, argument, strict=True):
            expected = float(sp.N(expression.diff(z, order).subs(z, sp.Float(float(at), 30)), 25))
            assert abs(float(value) - expected) <= 1e-12 * max(1.0, abs(expected)), order


def test_derivatives_up_to_sixth_order_and_mixed_equal_closed_forms():
    """u = sin(a x + b y) exp(c x): every partial derivative is known in closed form."""

    class Wave(nn.Module):
        def forward(self, x):
            return torch.sin(1.3 * x[..., 0:1] - 0.7 * x[..., 1:2]) * torch.exp(0.4 * x[..., 0:1])

    x, y = sp.symbols("x y")
    u = sp.sin(sp.Rational(13, 10) * x - sp.Rational(7, 10) * y) * sp.exp(sp.Rational(2, 5) * x)
    indices = [i for i in itertools.product(range(7), repeat=2) if sum(i) <= 6]
    at = points(5)
    found = derivatives(Wave(), at, indices)[:, :, 0]
    for index, row in zip(indices, found, strict=True):
        function = sp.lambdify((x, y), u.diff(x, index[0], y, index[1]))
        expected = torch.tensor([function(*map(float, p)) for p in at], dtype=torch.float64)
        assert (row - expected).abs().max() <= 1e-12 * expected.abs().max(), index


def test_number_of_streams():
    """pinn.md §2.1: Burgers 3, d-dimensional Laplacian d + 2, Kuramoto–Sivashinsky 5."""
    laplacian = tuple(tuple(2 * (i == j) for i in range(10)) for j in range(10))
    assert len(Streams(2, [(1, 0)], [((0, 1), (2, 0))])) == 3
    assert len(Streams(10, [], [laplacian])) == 12
    assert len(Streams(2, [(1, 0)], [((0, 1), (2, 0), (4, 0))])) == 5
    assert len(Streams(2, [(2, 1)])) == 6


def test_merged_operator_is_the_sum_of_its_terms():
    network = MLP(2, 1, width=6, generator=generator())
    operator = ((0, 1), (2, 0), (3, 0), (2, 2))
    c = [0.5, torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None], 2.0, -0.1]
    merged = streams_of(network, points(), Streams(2, [], [operator]), c)[-1]
    separate = derivatives(network, points(), operator)
    assert (merged - sum(a * b for a, b in zip(c, separate, strict=True))).abs().max() < 1e-12


def test_jet_arithmetic_follows_the_quotient_and_power_rules():
    class Rational(nn.Module):
        def forward(self, x):
            a, b = x[..., 0:1], x[..., 1:2]
            return torch.cat([(1.0 + a) ** 3 / (2.0 + b * a), 2.0 ** torch.tanh(b) - a / 3.0], -1)

    class Power(nn.Module):
        def forward(self, x):
            a, b = x[..., 0:1], x[..., 1:2]
            return torch.cat(
                [
                    (1.0 + a) ** 3 / (2.0 + b * a),
                    torch.exp(torch.tanh(b) * math.log(2.0)) - a / 3.0,
                ],
                -1,
            )

    at = points()
    taylor = streams_of(Rational(), at, STREAMS, coefficients())
    nested = nested_autograd(Power(), at, STREAMS, coefficients())
    assert (taylor - nested).abs().max() < 1e-11


def test_unknown_operations_fall_back_to_nested_autograd_and_say_so(caplog):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.atan(x[:, 0:1] * x[:, 1:2])

    with caplog.at_level("INFO", logger="pdeml.operators.jets"):
        value = derivatives(Odd(), points(), [(1, 1)])
    assert "nested autograd" in caplog.text and "atan" in caplog.text
    x, y = points().unbind(-1)
    expected = (1 - (x * y) ** 2) / (1 + (x * y) ** 2) ** 2
    assert (value[0, :, 0] - expected).abs().max() < 1e-13


def test_relu_is_refused_only_where_second_derivatives_are_needed():
    network = MLP(2, 1, activation="relu", generator=generator())
    first = derivatives(network, points(), [(1, 0)])
    nested = nested_autograd(network, points(), Streams(2, [(1, 0)]))
    assert (first[0] - nested[1]).abs().max() < 1e-14
    with pytest.raises(UnsupportedProblem, match="relu"):
        network(Jet.coordinates(points(), Streams(2, [(2, 0)])))


def test_periodic_embedding_makes_value_and_four_derivatives_agree_at_both_ends():
    network = nn.Sequential(
        CoordinateEmbedding([-1, 0], [1, 1], periodic=[0], harmonics=3),
        MLP(7, 1, generator=generator()),
    )
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    left, right = (torch.stack([torch.full_like(t, e), t], -1) for e in (-1.0, 1.0))
    indices = [(k, 0) for k in range(5)]
    a, b = derivatives(network, left, indices), derivatives(network, right, indices)
    assert ((a - b).abs().amax((1, 2)) <= 1e-12 * a.abs().amax((1, 2)).clamp(min=1)).all()
