"""FNO against neuraloperator 2.0.0 and the formulas of 2020, on many grids."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pdeml.errors import InvalidFile, InvalidOption
from pdeml.surrogates import fno
from pdeml.surrogates.fno import FNO

FIXTURE = Path(__file__).with_name("fixtures") / "neuraloperator.npz"
PEER_OPTIONS = {"no grid": {"grid": False}, "padded": {"domain_padding": 0.25}}


def peer(name):
    """Weights, input and output of a model of the peer."""
    with np.load(FIXTURE) as file:
        parts = {k.removeprefix(f"{name}/"): file[k] for k in file if k.startswith(f"{name}/")}
    tensors = {k: torch.from_numpy(v) for k, v in parts.items()}
    state = {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
    return state, tensors["x"], tensors["y"]


@pytest.mark.parametrize("name", ["1d", "2d", "3d", "small grid", "no grid", "padded", "tucker"])
@pytest.mark.filterwarnings("ignore:a grid of")
def test_weights_of_neuraloperator_give_its_output(name):
    state, x, y = peer(name)
    model = FNO.from_neuraloperator(state, **PEER_OPTIONS.get(name, {}))
    assert (model(x) - y).norm() <= 1e-6 * y.norm()
    rebuilt = FNO(**model.config)
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(rebuilt(x), model(x))


def complex_once(model):
    """Numbers, a complex one counted once: its two parts are the last axis of a weight."""
    return sum(
        p.numel() // (2 if name.endswith("weight.value") else 1)
        for name, p in model.named_parameters()
    )


def test_numbers_of_parameters():
    assert complex_once(FNO((12, 12))) == 357_217
    assert complex_once(FNO.original(16, 64)) == 287_425
    assert sum(p.numel() for p in FNO.original(16, 64).parameters()) == 549_569


def test_the_form_of_2020_is_its_formula():
    """Transforms with 1 and 1/n, wave numbers 0 … 3 and −4 … 3, as the published scripts do."""
    torch.manual_seed(0)
    model = FNO.original(4, 6, spatial_dims=2, layers=3).double()
    for block in model.blocks:
        block.convolution.bias.data.uniform_(-1, 1)
    x = torch.randn(2, 1, 10, 9, dtype=torch.float64)
    axes = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float64) / n for n in (10, 9)), indexing="ij"
    )
    grid = torch.stack(axes).expand(2, 2, 10, 9)

    def pointwise(layer, z):
        return torch.einsum("oi,bi...->bo...", layer.weight, z) + layer.bias[:, None, None]

    y = pointwise(model.lifting, torch.cat([x, grid], 1))
    for number, block in enumerate(model.blocks):
        weight = block.convolution.weight().permute(2, 3, 0, 1)  # (in, out, k_1, k_2)
        modes, out = torch.fft.rfft2(y), torch.zeros(2, 6, 10, 5, dtype=torch.complex128)
        for low, part in ((slice(4), slice(4, 8)), (slice(-4, None), slice(4))):
            kept = modes[:, :, low, :4]
            out[:, :, low, :4] = torch.einsum("bixy,ioxy->boxy", kept, weight[:, :, part])
        skip = torch.einsum("oi,bi...->bo...", block.skip.weight, y)
        bias = block.convolution.bias[:, None, None]
        y = torch.fft.irfft2(out, s=(10, 9)) + skip + bias
        y = F.gelu(y) if number < 2 else y
    first, second = model.projection.first, model.projection.second
    y = pointwise(second, F.gelu(pointwise(first, y)))
    assert len(first.bias) == 128
    torch.testing.assert_close(model(x), y, rtol=0, atol=1e-12)
    assert block.convolution.weight.value.min() >= 0
    assert block.convolution.weight.value.max() < 1 / 36


@pytest.mark.parametrize("convolution", ["dense", "tucker", "separable", "factorized"])
def test_without_the_grid_shifts_commute(convolution):
    torch.manual_seed(0)
    model = FNO((6, 8), grid=False, width=8, convolution=convolution).double()
    x = torch.randn(2, 1, 15, 12, dtype=torch.float64)
    shifted = model(x.roll((4, -5), (2, 3)))
    torch.testing.assert_close(shifted, model(x).roll((4, -5), (2, 3)), rtol=0, atol=1e-12)
    told = FNO((6, 8), width=8).double()
    assert (told(x.roll(4, 2)) - told(x).roll(4, 2)).abs().max() > 1e-3


def test_finer_grids_converge_to_one_function():
    """Only the nonlinear functions, sampled too coarsely, tell the grids apart."""
    torch.manual_seed(0)
    model = FNO(12, grid=False, width=8, in_channels=1).double()

    def on(n):
        s = torch.arange(n, dtype=torch.float64) / n
        return model((torch.sin(2 * math.pi * s) + torch.cos(6 * math.pi * s))[None, None])

    fine = on(2048)
    errors = [(on(n) - fine[..., :: 2048 // n]).abs().max() for n in (32, 64, 128)]
    assert errors[2] < 1e-8 and errors[0] > 100 * errors[1] > 1e3 * errors[2]


@pytest.mark.parametrize("points", [(31,), (17, 30), (9, 11, 14)])
def test_any_grid_in_both_precisions(points):
    torch.manual_seed(0)
    model = FNO(4, spatial_dims=len(points), width=6, in_channels=2)
    x = torch.randn(2, 2, *points)
    single = model(x)
    double = model.double()(x.double())
    assert double.dtype == torch.float64 and double.shape == (2, 1, *points)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-5)


def test_padding_keeps_ends_apart():
    """With a kernel shorter than the padding the right end cannot see the left one."""
    model = FNO(15, grid=False, width=4, layers=1, padding=0.5).double()
    kernel = torch.exp(-((torch.arange(48, dtype=torch.float64) - 24) ** 2) / 18).roll(-24)
    with torch.no_grad():  # a smooth kernel of ±10 points on the padded grid of 48
        weight = torch.fft.rfft(kernel).real[:8, None, None, None] * torch.eye(4)[:, :, None]
        model.blocks[0].convolution.weight.value.zero_()[..., :1] = weight
    x = torch.randn(1, 1, 32, dtype=torch.float64)
    other = x.clone()
    other[..., :4] += 1
    change = (model(x) - model(other)).abs()[0, 0]
    assert change[:4].min() > 1e-3 and change[-4:].max() < 0.05 * change[:4].min()
    points = FNO(15, grid=False, width=4, layers=1, padding=16).double()
    points.load_state_dict(model.state_dict())
    assert torch.equal(points(x), model(x))


def test_parameters_and_time_are_constant_channels():
    torch.manual_seed(0)
    model = FNO((4, 4), in_channels=4, width=6)
    x, params, t = torch.randn(2, 1, 9, 8), torch.randn(2, 2), torch.rand(2)
    joined = torch.cat([x, *(c[:, None, None, None].expand(2, 1, 9, 8) for c in (*params.T, t))], 1)
    assert torch.equal(model(x, params=params, t=t), model(joined))
    with pytest.raises(InvalidOption, match=r"3 channels.*in_channels=4"):
        model(x, params=params)
    with pytest.raises(InvalidOption, match="space axes"):
        model(x[0])


@pytest.mark.parametrize("form", ["standard", "original"])
def test_inference_in_pieces_is_the_same_map(form, monkeypatch):
    monkeypatch.setattr(fno, "ROW_NUMBERS", 100)  # pieces of a few points, the last one shorter
    torch.manual_seed(0)
    model, x = FNO((4, 4), 2, 3, width=6, form=form).double(), torch.randn(2, 2, 7, 9).double()
    with torch.no_grad():
        y = model(x)
    torch.testing.assert_close(y, model(x), rtol=0, atol=1e-13)


def test_autocast_stays_close():
    torch.manual_seed(0)
    model, x = FNO((8, 8), width=16), torch.randn(2, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
        y.sum().backward()
    assert (y.float() - model(x)).norm() < 0.05 * model(x).norm()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_state_of_another_model_is_refused():
    state, *_ = peer("2d")
    with pytest.raises(InvalidFile, match=r"norm\.0\.weight"):
        FNO.from_neuraloperator({**state, "fno_blocks.norm.0.weight": torch.ones(8)})
    with pytest.raises(InvalidFile, match="no spectral layers"):
        FNO.from_neuraloperator({})
    wide = {**state, "projection.fcs.0.bias": torch.ones(24)}
    with pytest.raises(InvalidFile, match="hidden widths 24"):
        FNO.from_neuraloperator(wide)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_modes": (4, 4), "spatial_dims": 3}, "3 space dimensions"),
        ({"form": "2021"}, "'standard', 'original'"),
        ({"convolution": "sparse"}, "'dense'"),
        ({"padding": -1}, "negative"),
        ({"padding": (1, 2)}, "1 space dimensions"),
    ],
)
def test_what_is_not_accepted_is_said(options, message):
    with pytest.raises(InvalidOption, match=message):
        FNO(**options)
