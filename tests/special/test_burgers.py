"""The Cole–Hopf solution against independent high-precision values and against its own equation."""

import math

import mpmath
import pytest
import torch

from pdeml.errors import InvalidOption
from pdeml.special.burgers import burgers_sine

NU = 0.01 / math.pi
TIMES = (1e-8, 1e-3, 0.2, 0.35, 1.0, 3.0)
PLACES = (-1.0, -0.7, -0.2, -0.01, 0.0, 1e-3, 0.05, 0.5, 0.99, 3.3)


def column(values):
    return torch.tensor(values, dtype=torch.float64)


def series(x, t, nu):
    """Cole–Hopf by its Fourier–Bessel series, with as many digits as its cancellation eats.

    θ = I₀(k) + 2 Σ (−1)ⁿ Iₙ(k) e^{−n²π²νt} cos nπx,  k = 1/2πν,  u = −2ν θ_x / θ
    """
    k = 1 / (2 * math.pi * nu)
    with mpmath.workdps(30 + int(k)):
        x, t, nu = (mpmath.mpf(v) for v in (x, t, nu))
        k = 1 / (2 * mpmath.pi * nu)
        size = mpmath.besseli(0, k)
        theta, slope, n = size, mpmath.mpf(0), 1
        while True:
            term = (
                2 * (-1) ** n * mpmath.besseli(n, k) * mpmath.exp(-((n * mpmath.pi) ** 2) * nu * t)
            )
            theta += term * mpmath.cos(n * mpmath.pi * x)
            slope -= term * n * mpmath.pi * mpmath.sin(n * mpmath.pi * x)
            if abs(term) * n < size * mpmath.mpf(10) ** (2 - mpmath.mp.dps):
                return float(-2 * nu * slope / theta)
            n += 1


def integral(x, t, nu):
    """Cole–Hopf by adaptive panels with 30 digits."""
    with mpmath.workdps(30):
        x, t, nu = (mpmath.mpf(v) for v in (x, t, nu))

        def exponent(y):
            return -mpmath.cos(mpmath.pi * y) / (2 * mpmath.pi * nu) - (x - y) ** 2 / (4 * nu * t)

        panels = [x + mpmath.mpf(i) / 32 for i in range(-56, 57)]
        # mpmath stops at an absolute error: bring the largest value to about 1
        largest = max(exponent(y) for y in panels)

        def weight(y):
            return mpmath.exp(exponent(y) - largest)

        below = mpmath.quad(weight, panels)
        above = mpmath.quad(lambda y: mpmath.sin(mpmath.pi * y) * weight(y), panels)
        return float(-above / below)


@pytest.mark.parametrize("nu", [NU, 0.1, 1.0, 20.0])
def test_it_equals_the_fourier_bessel_series_in_high_precision(nu):
    times = TIMES if nu != NU else TIMES[2:]
    points = [(x, t) for t in times for x in PLACES]
    got = burgers_sine(*column(points).T, nu)
    expected = column([series(x, t, nu) for x, t in points])
    assert (got - expected).abs().max() < 5e-15


def test_it_equals_an_adaptive_quadrature_in_high_precision_for_small_viscosity():
    """ν = 0.001/π: Gauss–Hermite nodes would miss the mass of the integrand here."""
    points = [(0.02, 1.0), (-0.4, 0.6), (0.9, 0.3)]
    got = burgers_sine(*column(points).T, NU / 10)
    expected = column([integral(x, t, NU / 10) for x, t in points])
    assert (got - expected).abs().max() < 1e-13


@pytest.mark.parametrize("nu", [NU, 0.05, 2.0])
def test_autograd_derivatives_satisfy_the_equation(nu):
    generator = torch.Generator().manual_seed(0)
    draw = torch.rand((400, 2), generator=generator, dtype=torch.float64)
    x = (2 * draw[:, 0] - 1).requires_grad_()
    t = (0.01 + draw[:, 1]).requires_grad_()
    u = burgers_sine(x, t, nu)
    u_x, u_t = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
    (u_xx,) = torch.autograd.grad(u_x.sum(), x)
    scale = 1 + (nu * u_xx).abs().max()
    assert (u_t + u * u_x - nu * u_xx).abs().max() < 1e-11 * scale
    assert u_x.abs().max() > 1  # the check is not of zeros


def test_autograd_derivatives_equal_finite_differences():
    x, t, nu = column([0.03, -0.6]), column([0.4, 0.9]), column(NU)
    assert torch.autograd.gradcheck(
        burgers_sine, tuple(v.requires_grad_() for v in (x, t, nu)), eps=1e-7, atol=1e-4, rtol=1e-5
    )


def test_at_the_start_it_is_the_sine_with_the_right_derivatives():
    x = torch.linspace(-1, 1, 41, dtype=torch.float64).requires_grad_()
    t = torch.zeros(41, dtype=torch.float64).requires_grad_()
    u = burgers_sine(x, t, NU)
    u_x, u_t = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
    (u_xx,) = torch.autograd.grad(u_x.sum(), x)
    assert torch.equal(u, -torch.sin(math.pi * x))
    assert (u_t + u * u_x - NU * u_xx).abs().max() < 1e-13
    near = burgers_sine(x.detach(), torch.full_like(x, 1e-12).detach(), NU)
    assert (near - u).abs().max() < 1e-11


def test_symmetry_period_and_walls():
    x = torch.linspace(0, 1, 33, dtype=torch.float64)
    t = torch.full_like(x, 0.7)
    u = burgers_sine(x, t, NU)
    assert (burgers_sine(-x, t, NU) + u).abs().max() < 1e-14
    assert (burgers_sine(x + 2, t, NU) - u).abs().max() < 1e-12
    assert abs(u[-1]) < 1e-14


def test_chunks_do_not_change_values(monkeypatch):
    x = torch.linspace(-1, 1, 301, dtype=torch.float64)
    whole = burgers_sine(x, column(0.5), NU)
    monkeypatch.setattr("pdeml.special.burgers._ENTRIES", 1000)
    assert torch.equal(burgers_sine(x, column(0.5), NU), whole)


def test_shapes_and_dtypes_follow_the_inputs():
    x, t = torch.linspace(-1, 1, 5)[:, None], torch.linspace(0, 1, 3)
    u = burgers_sine(x, t, NU)
    assert u.shape == (5, 3) and u.dtype == torch.float32
    exact = burgers_sine(x.double(), t.double(), torch.tensor(NU, dtype=torch.float64))
    assert (u - exact).abs().max() < 1e-7
    assert burgers_sine(x[:0], t, NU).shape == (0, 3)
    assert burgers_sine(column(0.5), column(-0.1), NU).isnan()


@pytest.mark.parametrize("nu", [0.0, -1.0, math.nan, math.inf, 1e-13])
def test_a_viscosity_that_cannot_be_served_is_refused(nu):
    with pytest.raises(InvalidOption, match="nu"):
        burgers_sine(column(0.5), column(0.5), nu)
