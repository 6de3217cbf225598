"""Networks: initialisation and the identities that their formulas promise."""

import math

import pytest
import torch

from pdeml.errors import InvalidOption
from pdeml.nn.networks import (
    MLP,
    CoordinateEmbedding,
    FactorizedLinear,
    FourierFeatures,
    PirateNet,
    glorot_normal_,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_glorot_normal_has_the_variance_of_its_fans():
    weight = glorot_normal_(torch.empty(300, 500, dtype=torch.float64), generator())
    assert weight.std() == pytest.approx(math.sqrt(2 / 800), rel=0.01)


def test_same_seed_same_weights_other_seed_other_weights():
    a, b, c = (MLP(2, 1, generator=generator(s)) for s in (3, 3, 4))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.linears[0].weight, c.linears[0].weight)


def test_mlp_is_the_composition_of_its_layers():
    net = MLP(2, 3, depth=2, width=5, activation="sin", generator=generator())
    points = torch.rand((4, 2), generator=generator(), dtype=torch.float64)
    (w0, b0), (w1, b1), (w2, b2) = ((layer.weight, layer.bias) for layer in net.linears)
    hidden = torch.sin(torch.sin(points @ w0.T + b0) @ w1.T + b1)
    assert torch.allclose(net(points), hidden @ w2.T + b2, atol=1e-15)


def test_factorised_layer_starts_as_glorot_normal_layer():
    layer = FactorizedLinear(300, 200, generator=generator())
    weight = torch.exp(layer.log_scale) * layer.direction
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 500), rel=0.02)
    assert layer.log_scale.mean().item() == pytest.approx(1.0, abs=0.05)


def test_pirate_net_starts_linear_in_its_features():
    """α = 0: every block is the identity, so the output is the last layer on the features."""
    net = PirateNet(2, 1, width=16, generator=generator())
    points = torch.rand((5, 2), generator=generator(), dtype=torch.float64)
    assert torch.allclose(net(points), net.last(net.features(points)), atol=1e-15)


def test_embedding_maps_the_box_to_the_unit_cube_and_closes_periodic_axes():
    embedding = CoordinateEmbedding([-1, 2], [3, 6], periodic=[0], harmonics=2)
    ends = torch.tensor([[-1.0, 2.0], [3.0, 6.0], [0.0, 4.0]], dtype=torch.float64)
    out = embedding(ends)
    assert out.shape == (3, embedding.out_features)
    assert torch.allclose(out[0, :4], out[1, :4], atol=1e-14)
    assert out[:, 4].tolist() == [-1.0, 1.0, 0.0]
    phase = 2 * math.pi * (ends[2, 0] - 1) / 4
    assert out[2, 2] == pytest.approx(math.cos(2 * phase))


def test_fourier_features_have_the_asked_scale():
    features = FourierFeatures(3, 4000, scale=2.5, generator=generator())
    assert features.matrix.std() == pytest.approx(2.5, rel=0.02)


@pytest.mark.parametrize(
    "arguments, word",
    [({"activation": "step"}, "tanh"), ({"depth": 0}, "depth"), ({"width": 0}, "width")],
)
def test_bad_sizes_and_names_are_refused(arguments, word):
    with pytest.raises(InvalidOption, match=word):
        MLP(2, 1, generator=generator(), **arguments)
