"""U-Net against its formula, its numbers of parameters, and grids that it does not divide."""

import pytest
import torch
import torch.nn.functional as F

from pdeml.errors import InvalidOption
from pdeml.surrogates.unet import ConvNeXtBlock, UNet


def test_numbers_of_parameters_are_those_of_pdebench():
    counts = [
        sum(p.numel() for p in model.parameters())
        for model in (UNet(spatial_dims=1), UNet(1), UNet(3))
    ]
    assert counts == [2_707_809, 7_762_465, 7_763_041]


def test_the_network_is_its_formula():
    """Written out with functions, for two levels in evaluation, with moved statistics."""
    torch.manual_seed(0)
    model = UNet(2, 3, width=4, levels=2).double()
    x = torch.randn(4, 2, 8, 12, dtype=torch.float64)
    for _ in range(3):
        model(3 * x + 1)  # training: moves the statistics of the norms
    model.eval()

    def stage(layers, z):
        for conv, norm in ((layers[0], layers[1]), (layers[3], layers[4])):
            z = F.conv2d(F.pad(z, (1, 1, 1, 1)), conv.weight)
            mean, var = (v[:, None, None] for v in (norm.running_mean, norm.running_var))
            z = (z - mean) / (var + 1e-5).sqrt()
            z = torch.tanh(z * norm.weight[:, None, None] + norm.bias[:, None, None])
        return z

    first = stage(model.down[0], x)
    second = stage(model.down[1], F.max_pool2d(first, 2))
    third = stage(model.down[2], F.max_pool2d(second, 2))
    for fine, up, merge in (
        (second, model.up[1], model.merge[1]),
        (first, model.up[0], model.merge[0]),
    ):
        wide = F.conv_transpose2d(third, up.weight, up.bias, stride=2)
        third = stage(merge, torch.cat([wide, fine], 1))
    y = F.conv2d(third, model.head.weight, model.head.bias)
    torch.testing.assert_close(model(x), y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("block", ["conv", "convnext"])
@pytest.mark.parametrize("dims", [1, 2])
def test_periodic_networks_commute_with_shifts_by_the_coarsest_cell(block, dims):
    torch.manual_seed(0)
    options = {"spatial_dims": dims, "width": 4, "levels": 2, "block": block}
    model = UNet(**options, periodic=True).double().eval()
    for name, p in model.named_parameters():
        if name.endswith("scale"):
            p.data.fill_(1.0)  # at its start a ConvNeXt block is the identity
    x = torch.randn(1, 1, *(16, 12)[:dims], dtype=torch.float64)
    axes = tuple(range(2, 2 + dims))
    shift = (4, -8)[:dims]
    expected = model(x).roll(shift, axes)
    torch.testing.assert_close(model(x.roll(shift, axes)), expected, rtol=0, atol=1e-12)
    walled = UNet(**options).double().eval()
    walled.load_state_dict(model.state_dict())
    assert (walled(x.roll(shift, axes)) - walled(x).roll(shift, axes)).abs().max() > 1e-3


@pytest.mark.parametrize("periodic", [True, False])
def test_other_grids_are_continued_and_cut(periodic):
    torch.manual_seed(0)
    model = UNet(width=4, levels=3, periodic=periodic, norm="group").double()
    x = torch.randn(1, 1, 13, 8, dtype=torch.float64)
    tail = x[:, :, :3] if periodic else x[:, :, -1:].expand(-1, -1, 3, -1)
    whole = torch.cat([x, tail], 2)
    torch.testing.assert_close(model(x), model(whole)[:, :, :13], rtol=0, atol=1e-13)
    assert model(torch.randn(1, 1, 3, 2, dtype=torch.float64)).shape == (1, 1, 3, 2)


def test_batch_norms_are_the_only_coupling_of_samples():
    torch.manual_seed(0)
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    for norm, coupled in (("batch", True), ("group", False), ("none", False)):
        model = UNet(width=8, levels=1, norm=norm).double()
        alone = (model(x)[:2] - model(x[:2])).abs().max()
        assert alone > 1e-3 if coupled else alone < 1e-12


def test_the_residual_form_adds_the_first_channels():
    torch.manual_seed(0)
    plain = UNet(3, 2, width=4, levels=1).eval()
    model = UNet(3, 2, width=4, levels=1, residual=True).eval()
    model.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(model(x), plain(x) + x[:, :2])


def test_a_convnext_block_is_its_formula():
    torch.manual_seed(0)
    block = ConvNeXtBlock(4, 2, periodic=False).double()
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    assert (block(x) - x).abs().max() < 1e-5
    block.scale.data.uniform_(0.5, 1.0)
    y = F.conv2d(x, block.depthwise.weight, block.depthwise.bias, padding=3, groups=4)
    y = (y - y.mean(1, keepdim=True)) / (y.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    y = torch.einsum("oi,bixy->boxy", block.first.weight, y) + block.first.bias[:, None, None]
    y = torch.einsum("oi,bixy->boxy", block.second.weight, F.gelu(y))
    y = block.scale[:, None, None] * (y + block.second.bias[:, None, None])
    torch.testing.assert_close(block(x), x + y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("points", [1, 2])
def test_a_convnext_block_on_fewer_points_than_its_stencil_pads(points):
    """A field of period n is one of period 6n."""
    torch.manual_seed(0)
    block = ConvNeXtBlock(4, 1, periodic=True).double()
    block.scale.data.fill_(1.0)
    x = torch.randn(1, 4, points, dtype=torch.float64)
    long = block(x.repeat(1, 1, 6))
    torch.testing.assert_close(block(x), long[..., :points], rtol=0, atol=1e-12)


@pytest.mark.parametrize("block", ["conv", "convnext"])
def test_the_config_rebuilds_the_model(block):
    model = UNet(2, 1, spatial_dims=1, width=4, levels=2, block=block, norm="none", residual=True)
    rebuilt = UNet(**model.config)
    rebuilt.load_state_dict(model.state_dict())
    x, t = torch.randn(2, 1, 9), torch.rand(2)
    assert torch.equal(rebuilt(x, t=t), model(torch.cat([x, t[:, None, None].expand(2, 1, 9)], 1)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"spatial_dims": 4}, "1 to 3 space"),
        ({"levels": 0}, "one level"),
        ({"block": "resnet"}, "'conv', 'convnext'"),
        ({"norm": "layer"}, "'batch', 'group', 'none'"),
        ({"activation": "sin"}, "'tanh'"),
        ({"out_channels": 2, "residual": True}, "in_channels ≥ out_channels"),
    ],
)
def test_what_is_not_accepted_is_said(options, message):
    with pytest.raises(InvalidOption, match=message):
        UNet(**options)
