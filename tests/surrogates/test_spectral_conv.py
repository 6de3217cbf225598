"""Spectral convolutions against sums over modes, exact flows and other forms of their weights."""

import itertools
import math
import warnings

import pytest
import torch

from pdeml.errors import InvalidOption
from pdeml.surrogates import truncated_fourier
from pdeml.surrogates.spectral_conv import FactorizedSpectralConv, SpectralConv
from pdeml.surrogates.spectral_weights import CPWeight, TuckerWeight


@pytest.fixture(params=["matrices", "fast transforms"])
def transforms(request, monkeypatch):
    way = request.param == "matrices"
    monkeypatch.setattr(truncated_fourier, "matrices_pay", lambda points, kept: way)


def layer(c_in, c_out, n_modes, **options):
    torch.manual_seed(1)
    return SpectralConv(c_in, c_out, n_modes, **options).double()


def by_definition(conv, x):
    """The sum over wave numbers, one at a time, in complex128."""
    points, modes = x.shape[2:], conv.n_modes
    weight = conv.weight().detach()
    grid = torch.meshgrid(*(torch.arange(n).double() / n for n in points), indexing="ij")
    y = torch.zeros(x.shape[0], conv.out_channels, *points, dtype=torch.float64)
    numbers = [range(-(m // 2), math.ceil(m / 2)) for m in modes[:-1]] + [range(modes[-1] // 2 + 1)]
    for *leading, last in itertools.product(*numbers):
        if 2 * last > points[-1] or any(
            not -(n // 2) <= q < math.ceil(n / 2) for q, n in zip(leading, points[:-1], strict=True)
        ):
            continue
        k = (*leading, last)
        phase = sum(q * g for q, g in zip(k, grid, strict=True))
        wave = torch.exp(2j * math.pi * phase)
        mode = (x * wave.conj()).flatten(2).mean(-1)
        index = (*(q + m // 2 for q, m in zip(leading, modes[:-1], strict=True)), last)
        out = mode @ weight[index]
        factor = 1 if last == 0 or 2 * last == points[-1] else 2
        y += factor * (out[(..., *(None,) * len(points))] * wave).real
    return y


@pytest.mark.parametrize(
    "n_modes, points",
    [
        (8, (20,)),
        (7, (15,)),
        (16, (16,)),  # to the Nyquist mode
        ((6, 6), (10, 12)),
        ((5, 8), (9, 8)),
        ((8, 8), (8, 8)),
        ((4, 5, 6), (7, 6, 9)),
    ],
)
def test_the_layer_is_the_sum_over_its_modes(transforms, n_modes, points):
    conv, x = layer(3, 2, n_modes), torch.randn(2, 3, *points, dtype=torch.float64)
    torch.testing.assert_close(conv(x), by_definition(conv, x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_modes, points", [((12, 9), (7, 9)), ((12, 12), (6, 8)), ((16,), (9,))])
def test_a_grid_with_fewer_points_uses_the_modes_that_it_has(transforms, n_modes, points):
    conv, x = layer(2, 2, n_modes), torch.randn(2, 2, *points, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"fewer than"):
        y = conv(x)
    torch.testing.assert_close(y, by_definition(conv, x), rtol=0, atol=1e-13)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conv(x)


def test_the_bias_is_a_constant(transforms):
    conv, x = layer(2, 3, (7, 6), bias=True), torch.randn(2, 2, 9, 8, dtype=torch.float64)
    without = conv(x)
    conv.bias.data = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    added = (conv(x) - without).permute(0, 2, 3, 1)
    torch.testing.assert_close(added, conv.bias.expand(2, 9, 8, 3), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_identity_weights_keep_a_band_limited_field(transforms, dims):
    conv = layer(2, 2, (8,) * dims)
    with torch.no_grad():
        conv.weight.value.zero_()[..., 0] = torch.eye(2)
    x = band_limited((12, 10, 9)[:dims], 3)
    torch.testing.assert_close(conv(x), x, rtol=0, atol=1e-12)


def band_limited(points, highest):
    """Two channels with wave numbers up to `highest`, the same field on every grid."""
    generator = torch.Generator().manual_seed(3)
    axes = [torch.arange(n, dtype=torch.float64) / n for n in points]
    grid = torch.meshgrid(*axes, indexing="ij")
    field = torch.zeros(1, 2, *points, dtype=torch.float64)
    for _ in range(8):
        k = torch.randint(-highest, highest + 1, (len(points),), generator=generator)
        shift = torch.rand(2, generator=generator, dtype=torch.float64)
        phase = sum(int(q) * g for q, g in zip(k, grid, strict=True))
        field[0] += torch.stack([torch.cos(2 * math.pi * (phase + s)) for s in shift])
    return field


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_finer_grid_gives_the_same_field(dims):
    """The coarse grid takes matrices, the fine one fast transforms for the fine case of 1-D."""
    conv = layer(2, 3, (9,) * dims)
    coarse, fine = ((16,), (18, 11), (9, 11, 13))[dims - 1], ((4096,), (54, 33), (27, 22, 26))
    every = tuple(slice(None, None, f // c) for c, f in zip(coarse, fine[dims - 1], strict=True))
    y, z = conv(band_limited(coarse, 4)), conv(band_limited(fine[dims - 1], 4))
    torch.testing.assert_close(y, z[(..., *every)], rtol=0, atol=1e-12)


def test_heat_flow_is_learned_exactly():
    """u_t = ν u_xx multiplies mode k by exp(−ν (2πk)² t): least squares in the weights."""
    x = torch.randn(40, 1, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    k = torch.fft.rfftfreq(32, 1 / 32)
    spectrum = torch.fft.rfft(x) * (k <= 7)
    fields = torch.fft.irfft(spectrum, n=32)
    target = torch.fft.irfft(spectrum * torch.exp(-0.01 * (2 * math.pi * k) ** 2 * 0.5), n=32)
    conv = layer(1, 1, 14)
    optimizer = torch.optim.LBFGS(conv.parameters(), lr=1, max_iter=60, tolerance_grad=1e-14,
                                  tolerance_change=0, line_search_fn="strong_wolfe")  # fmt: skip

    def loss():
        optimizer.zero_grad()
        value = (conv(fields) - target).square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert (conv(fields) - target).norm() / target.norm() < 1e-6
    fine = 3 * torch.cos(2 * math.pi * 5 * torch.arange(101, dtype=torch.float64) / 101)
    exact = fine * math.exp(-0.005 * (10 * math.pi) ** 2)
    torch.testing.assert_close(conv(fine[None, None])[0, 0], exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_modes, points", [(6, (6,)), ((3, 4), (4, 5))])
def test_gradients(transforms, n_modes, points):
    conv = layer(2, 2, n_modes, bias=True)
    x = torch.randn(1, 2, *points, dtype=torch.float64, requires_grad=True)
    names, values = zip(*conv.named_parameters(), strict=True)

    def call(x, *values):
        return torch.func.functional_call(conv, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(call, (x, *values))


def test_the_norm_of_both_transforms_cancels():
    """Weights learned with the transforms of 2020 (1 there, 1/n back) are the same weights."""
    conv, x = layer(2, 3, 15), torch.randn(2, 2, 32, dtype=torch.float64)
    modes = torch.zeros(2, 3, 17, dtype=torch.complex128)
    modes[..., :8] = torch.einsum("bik,kio->bok", torch.fft.rfft(x)[..., :8], conv.weight())
    torch.testing.assert_close(conv(x), torch.fft.irfft(modes, n=32), rtol=0, atol=1e-13)


def test_small_tensors_are_the_weights_that_they_stand_for():
    torch.manual_seed(0)
    tucker = TuckerWeight((5, 4), (6, 7), rank=(2, 3, 4, 5)).double()
    core, *u = (torch.view_as_complex(p.detach()) for p in (tucker.core, *tucker.factors))
    expected = torch.einsum("abcd,ia,jb,kc,ld->ijkl", core, *u)
    torch.testing.assert_close(tucker(), expected, rtol=1e-12, atol=1e-14)
    cp = CPWeight((5, 4), (6, 7), rank=0.2).double()
    scale, *u = (torch.view_as_complex(p.detach()) for p in (cp.scale, *cp.factors))
    torch.testing.assert_close(cp(), torch.einsum("r,ir,jr,kr,lr->ijkl", scale, *u))


@pytest.mark.parametrize("kind, within", [("tucker", 0.15), ("cp", 0.02)])
def test_a_rank_is_the_fraction_of_numbers_that_is_stored(kind, within):
    dense = sum(p.numel() for p in SpectralConv(32, 32, (16, 16)).parameters())
    low = SpectralConv(32, 32, (16, 16), factorization=kind, rank=0.1)
    assert sum(p.numel() for p in low.parameters()) == pytest.approx(0.1 * dense, rel=within)
    scale = low.weight().abs().square().mean().sqrt()
    assert 0.25 < scale / math.sqrt(2 / 64) < 4  # starts as large as dense weights


def test_separable_weights_are_diagonal_ones():
    low, full = layer(3, 3, (6, 6), separable=True), layer(3, 3, (6, 6))
    with torch.no_grad():
        full.weight.value.copy_(torch.view_as_real(torch.diag_embed(low.weight())))
    x = torch.randn(2, 3, 12, 11, dtype=torch.float64)
    torch.testing.assert_close(low(x), full(x), rtol=0, atol=1e-13)


def test_factorized_weights_act_along_each_axis_alone():
    torch.manual_seed(0)
    conv = FactorizedSpectralConv(2, 3, (6, 4, 5)).double()
    x = torch.randn(2, 2, 8, 7, 6, dtype=torch.float64)
    expected = 0
    for axis, single in enumerate(conv.axes, 2):
        modes = torch.fft.rfft(x, dim=axis, norm="forward").movedim(axis, 1)
        weight = single.weight().detach()
        kept = torch.einsum("bkixy,kio->bkoxy", modes[:, : len(weight)], weight)
        kept = kept.movedim(1, axis)
        expected = expected + torch.fft.irfft(kept, n=x.shape[axis], dim=axis, norm="forward")
    torch.testing.assert_close(conv(x), expected, rtol=0, atol=1e-13)


def test_autocast_leaves_the_modes_in_float32():
    conv = SpectralConv(2, 2, (6, 6))
    x = torch.randn(1, 2, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
        rounded = conv(x.bfloat16())
    assert y.dtype == rounded.dtype == torch.float32
    torch.testing.assert_close(y, conv(x), rtol=0, atol=0)
    torch.testing.assert_close(rounded, conv(x.bfloat16().float()), rtol=0, atol=0)


def test_lower_precision_of_products_does_not_reach_the_modes(monkeypatch):
    conv, x = SpectralConv(2, 2, (6, 6)), torch.randn(1, 2, 12, 12)
    exact = conv.double()(x.double())
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    monkeypatch.setattr(truncated_fourier, "_low_modes_by_matrices", None)
    monkeypatch.setattr(truncated_fourier, "_from_low_modes_by_matrices", None)
    torch.testing.assert_close(conv.float()(x).double(), exact, rtol=0, atol=1e-6)


def test_training_after_inference_mode():
    """Matrices that are kept from an inference run must serve a training run."""
    truncated_fourier._stored.cache_clear()
    conv, x = SpectralConv(2, 2, (6, 6)), torch.randn(1, 2, 12, 12)
    with torch.inference_mode():
        conv(x)
    conv(x.requires_grad_()).square().sum().backward()
    assert x.grad.norm() > 0


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: SpectralConv(2, 2, (4, 4, 4, 4)), "1 to 3"),
        (lambda: SpectralConv(2, 2, 0), "positive"),
        (lambda: SpectralConv(2, 3, 4, separable=True), "separable"),
        (lambda: SpectralConv(2, 2, 4, factorization="tt"), "'tucker' or 'cp'"),
        (lambda: SpectralConv(2, 2, 4, factorization="cp", rank=1.5), "fraction"),
        (lambda: SpectralConv(2, 2, 4, factorization="tucker", rank=(9, 2, 2)), "ranks"),
        (lambda: SpectralConv(2, 2, 4, init="zeros"), "'normal' or 'uniform'"),
        (lambda: SpectralConv(2, 2, 4)(torch.randn(1, 3, 8)), "3 channels"),
        (lambda: SpectralConv(2, 2, 4)(torch.randn(1, 2, 8, 8)), "2 axes"),
        (lambda: SpectralConv(2, 2, 4)(torch.randn(1, 2, 8).double()), "double"),
        (lambda: SpectralConv(2, 2, 4).bfloat16()(torch.randn(1, 2, 8)), "float32 or float64"),
    ],
)
def test_what_is_not_accepted_is_said(build, message):
    with pytest.raises(InvalidOption, match=message):
        build()
