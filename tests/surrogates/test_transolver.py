"""Transolver against its sums, its number of parameters, and permuted meshes."""

import math

import pytest
import torch

from pdeml.errors import InvalidOption
from pdeml.surrogates.transolver import PhysicsAttention, Transolver

SMALL = {"width": 16, "heads": 2, "layers": 2, "slices": 5, "reference": 3}


def lively(model):
    """Weights large enough to tell slices and points apart: at the start all are nearly equal."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.double()


def test_number_of_parameters_of_the_darcy_setting():
    assert sum(p.numel() for p in Transolver().parameters()) == 2_826_945


def test_attention_is_its_sums():
    """One slice, one head and one point at a time."""
    attention = lively(PhysicsAttention(6, 2, 4, 0, False))
    x = torch.randn(2, 7, 6, dtype=torch.float64)
    heads = []
    for h, part in enumerate((slice(0, 3), slice(3, 6))):
        features = attention.to_slices(x)[..., part]
        values = attention.to_values(x)[..., part]
        logits = features @ attention.slice.weight.T + attention.slice.bias
        s = torch.exp(logits / attention.temperature[h, 0, 0])
        s = s / s.sum(-1, keepdim=True)
        z = [
            sum(s[:, n, g, None] * values[:, n] for n in range(7))
            / (s[:, :, g, None].sum(1) + 1e-5)
            for g in range(4)
        ]
        z = torch.stack(z, 1)
        q, k, v = (
            z @ layer.weight.T for layer in (attention.query, attention.key, attention.value)
        )
        a = torch.exp(torch.einsum("bgc,bhc->bgh", q, k) / math.sqrt(3))
        z = torch.einsum("bgh,bhc->bgc", a / a.sum(-1, keepdim=True), v)
        heads.append(torch.einsum("bng,bgc->bnc", s, z))
    expected = attention.out(torch.cat(heads, -1))
    torch.testing.assert_close(attention(x, (7,)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("reference", [0, 3])
def test_points_of_a_mesh_may_be_permuted(reference):
    model = lively(Transolver(2, 3, mesh=True, **{**SMALL, "reference": reference}))
    x, coords = torch.randn(2, 30, 2).double(), torch.rand(2, 30, 2).double()
    order = torch.randperm(30)
    y = model(x, coords=coords)
    assert y.shape == (2, 30, 3) and y.std(1).min() > 1e-2
    permuted = model(x[:, order], coords=coords[:, order])
    torch.testing.assert_close(permuted, y[:, order], rtol=0, atol=1e-12)
    mixed = model(x[:, order], coords=coords)
    assert (mixed - y[:, order]).abs().max() > 1e-3  # places matter


def test_coordinates_may_be_common_to_the_batch():
    model = lively(Transolver(1, 1, mesh=True, **SMALL))
    x, coords = torch.randn(3, 12, 1).double(), torch.rand(12, 2).double()
    y = model(x, coords=coords)
    torch.testing.assert_close(y, model(x, coords=coords.expand(3, -1, -1)), rtol=0, atol=1e-13)


@pytest.mark.parametrize("points", [(9,), (6, 7), (3, 4, 5)])
def test_grids(points):
    """A periodic one without positions commutes with shifts."""
    dims = len(points)
    model = lively(Transolver(1, 2, spatial_dims=dims, periodic=True, **SMALL))
    x = torch.randn(2, 1, *points, dtype=torch.float64)
    y = model(x)
    assert y.shape == (2, 2, *points)
    nowhere = torch.zeros(math.prod(points), dims, dtype=torch.float64)
    shifted = model(x.roll(2, -1), coords=nowhere)
    torch.testing.assert_close(shifted, model(x, coords=nowhere).roll(2, -1), rtol=0, atol=1e-12)
    assert (model(x.roll(2, -1)) - y.roll(2, -1)).abs().max() > 1e-3


def test_temperatures_are_clamped_on_grids_alone():
    for mesh in (True, False):
        model = lively(Transolver(1, 1, spatial_dims=1, mesh=mesh, **SMALL))
        x = torch.randn(1, 8, 1) if mesh else torch.randn(1, 1, 8)
        places = torch.rand(8, 1)
        out = []
        for value in (5.0, 9.0):
            for block in model.blocks:
                block.attention.temperature.data.fill_(value)
            out.append(model(x.double(), coords=places.double()))
        assert torch.equal(*out) is not mesh


def test_the_start_of_the_slices_may_stay_orthogonal():
    for orthogonal in (True, False):
        model = Transolver(width=32, heads=2, slices=8, layers=1, orthogonal=orthogonal)
        weight = model.blocks[0].attention.slice.weight
        error = (weight @ weight.T - torch.eye(8)).abs().max()
        assert bool(error < 1e-5) is orthogonal


def test_the_config_rebuilds_the_model():
    model = lively(Transolver(3, 1, mesh=True, **SMALL))
    rebuilt = Transolver(**model.config).double()
    rebuilt.load_state_dict(model.state_dict())
    x, coords, params = (torch.randn(s).double() for s in ((2, 9, 1), (9, 2), (2, 2)))
    joined = torch.cat([x, params[:, None].expand(2, 9, 2)], -1)
    y = rebuilt(x, coords=coords, params=params)
    assert torch.equal(y, model(joined, coords=coords))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Transolver(width=30), "no multiple"),
        (lambda: Transolver(slices=0), "positive"),
        (lambda: Transolver(mesh=True, **SMALL)(torch.randn(1, 9, 1)), "coords"),
        (lambda: Transolver(**SMALL)(torch.randn(1, 2, 6, 6)), "2 channels"),
        (lambda: Transolver(**SMALL)(torch.randn(1, 1, 6, 6), coords=torch.rand(9, 2)), "9 points"),
        (lambda: Transolver(**SMALL)(torch.randn(1, 1, 6, 6), coords=torch.rand(36, 3)), "2 coord"),
    ],
)
def test_what_is_not_accepted_is_said(call, message):
    with pytest.raises(InvalidOption, match=message):
        call()
