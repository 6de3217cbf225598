"""The hand-written reverse of dense networks."""

import pytest
import torch

from pdeml.nn.networks import MLP
from pdeml.operators.dense import Arena, DensePass, DenseStreams, chunk_size
from pdeml.operators.jets import Jet, Streams

CASES = {
    "burgers": (Streams(2, [(1, 0)], [((0, 1), (2, 0))]), [1.0, -0.3]),
    "varying": (
        Streams(2, [], [((0, 1), (1, 1), (2, 0))]),
        [1.0, -0.3, torch.linspace(0.1, 1, 7, dtype=torch.float64)[:, None]],
    ),
    "fourth order": (Streams(2, [(1, 0)], [((0, 1), (2, 0), (4, 0))]), [1.0, 0.4, 0.05]),
    "mixed": (Streams(2, [(2, 1), (0, 2)]), []),
    "value": (Streams(2, []), []),
}


def make(activation="tanh", depth=3, outputs=2):
    generator = torch.Generator().manual_seed(0)
    network = MLP(2, outputs, depth=depth, width=6, activation=activation, generator=generator)
    with torch.no_grad():
        for layer in network.linears:
            layer.bias.copy_(torch.linspace(-0.3, 0.4, len(layer.bias)))
    points = torch.rand((7, 2), generator=generator, dtype=torch.float64)
    return network, points


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("activation", ["tanh", "sin", "swish"])
def test_values_gradients_and_jacobian_equal_automatic_differentiation(case, activation):
    streams, coefficients = CASES[case]
    network, points = make(activation)
    dense = DensePass(network, streams)
    features = Jet.coordinates(points, streams, coefficients)
    expected = network(features).data
    found = DenseStreams.apply(dense, features.data, coefficients, *dense.parameters)
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).double()
    right = torch.autograd.grad((expected * weights).sum(), dense.parameters)
    left = torch.autograd.grad((found * weights).sum(), dense.parameters)
    for a, b in zip(left, right, strict=True):
        assert (a - b).abs().max() <= 1e-12 * b.abs().max()

    rows = torch.empty((7, sum(p.numel() for p in dense.parameters)), dtype=torch.float64)
    _, tape = dense.forward(features.data, coefficients, Arena())
    dense.jacobian(weights, tape, rows)
    flat = torch.cat([g.flatten() for g in right])
    assert (rows.sum(0) - flat).abs().max() <= 1e-12 * flat.abs().max()
    single = torch.zeros_like(weights)
    single[:, 3] = weights[:, 3]
    found = torch.autograd.grad(
        (network(features).data * single).sum(), dense.parameters, materialize_grads=True
    )
    row = torch.cat([g.flatten() for g in found])
    assert (rows[3] - row).abs().max() <= 1e-12 * row.abs().max()


@pytest.mark.parametrize("case", ["burgers", "fourth order", "mixed"])
def test_custom_backward_passes_gradcheck(case):
    streams, coefficients = CASES[case]
    network, points = make(depth=2, outputs=1)
    dense = DensePass(network, streams)
    features = Jet.coordinates(points, streams, coefficients).data

    def function(*parameters):
        return DenseStreams.apply(dense, features, coefficients, *parameters)

    assert torch.autograd.gradcheck(function, tuple(dense.parameters), rtol=1e-6, atol=1e-7)


def test_arena_hands_out_each_buffer_once_until_reset():
    arena, like = Arena(), torch.zeros(3, 2)
    first, second = arena.empty(like), arena.empty(like)
    assert first.data_ptr() != second.data_ptr()
    arena.reset()
    assert arena.empty(like).data_ptr() == first.data_ptr()
    assert arena.empty(like, (2, 2)).shape == (2, 2)


def test_chunks_fit_the_cache_on_cpu_and_are_one_on_cuda():
    size = chunk_size(3, 64, 8, torch.device("cpu"))
    assert size is not None and 3 * size * 64 * 8 <= 800_000
    assert chunk_size(3, 64, 8, torch.device("cuda")) is None
