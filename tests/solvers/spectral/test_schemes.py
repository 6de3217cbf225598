"""Orders of convergence where they can fail: complex symbols, stiff symbols, time in N."""

import math

import pytest
import sympy as sp
import torch

from pdeml.errors import InvalidOption
from pdeml.solvers.spectral import SCHEMES, Stepper
from pdeml.solvers.spectral.functions import Analytic
from tests.solvers.spectral.declarations import (
    KDV,
    KS,
    TURN,
    box,
    declared_start,
    evolution,
    orders,
    relative,
    t,
    u,
    v,
    vorticity,
    x,
    y,
)


def after(problem, n, end, steps, scheme="etdrk4", **options):
    """The state at the end, after so many steps on n points per axis."""
    shape = (n,) * len(problem.space_coordinates)
    stepper = Stepper(problem, n, end / steps, scheme=scheme, **options)
    return stepper.rollout(declared_start(problem, shape), steps, every=steps)[:, 0]


def errors(problem, n, end, counts, fine, scheme="etdrk4"):
    return [relative(after(problem, n, end, steps, scheme), fine) for steps in counts]


@pytest.fixture(scope="module")
def kdv_fine():
    return after(KDV, 128, 0.5, 4000)


@pytest.fixture(scope="module")
def ks_fine():
    return after(KS, 128, 5.0, 4000)


# spectral_reference.md, acceptance 1
TABLE = {50: 1e-4, 100: 8e-6, 200: 3e-7, 400: 2e-8, 800: 1e-9}


def test_etdrk4_keeps_fourth_order_for_a_complex_symbol(kdv_fine):
    """KdV has an imaginary symbol: the real part of the contour mean would make it first order."""
    found = errors(KDV, 128, 0.5, TABLE, kdv_fine)
    for error, bound in zip(found, TABLE.values(), strict=True):
        assert error < bound
    assert all(3.8 < order < 4.2 for order in orders(found)[-2:])


def test_the_order_test_sees_a_real_contour_mean(kdv_fine, monkeypatch):
    good = Analytic.at

    def halved(self, symbol):
        values = good(self, symbol)
        return values.real + 0j if self.removable else values

    monkeypatch.setattr(Analytic, "at", halved)
    found = errors(KDV, 128, 0.5, TABLE, kdv_fine)
    assert found[0] > 1e-2 and all(order < 1.5 for order in orders(found))


KDV_ORDERS = {
    "etdrk4": 4,
    "etdrk3": 3,
    "etdrk2": 2,
    "etd1": 1,
    "ifrk4": 4,
    "cn_euler": 1,
    "cnab2": 2,
    "sbdf2": 2,
}


@pytest.mark.parametrize("scheme", KDV_ORDERS)
def test_orders_for_an_imaginary_symbol(scheme, kdv_fine):
    assert SCHEMES[scheme].order == KDV_ORDERS[scheme]
    counts = (1600, 3200) if scheme == "ifrk4" else (400, 800)
    (order,) = orders(errors(KDV, 128, 0.5, counts, kdv_fine, scheme))
    # half a percent of noise per order; the error of IFRK4 has yet to settle
    assert abs(order - KDV_ORDERS[scheme]) < (0.2 if scheme == "ifrk4" else 0.1)


def test_sbdf3_for_an_imaginary_symbol(kdv_fine):
    """Not stable for long on the imaginary axis, but of third order before."""
    found = errors(KDV, 128, 0.5, (100, 200, 400), kdv_fine, "sbdf3")
    assert all(2.9 < order < 3.1 for order in orders(found))


KS_ORDERS = {
    "etdrk4": (4, (50, 100)),
    "etdrk3": (3, (50, 100)),
    "etdrk2": (2, (100, 200)),
    "etd1": (1, (400, 800)),
    "ifrk4": (4, (200, 400)),
    "cn_euler": (1, (800, 1600)),
    "cnab2": (2, (200, 400)),
    "sbdf2": (2, (200, 400)),
    "sbdf3": (3, (200, 400)),
}


@pytest.mark.parametrize("scheme", KS_ORDERS)
def test_orders_for_a_stiff_symbol(scheme, ks_fine):
    expected, counts = KS_ORDERS[scheme]
    (order,) = orders(errors(KS, 128, 5.0, counts, ks_fine, scheme))
    assert abs(order - expected) < (0.2 if expected > 2 else 0.1)


def test_multistep_schemes_start_with_enough_accuracy(ks_fine):
    """A first-order start would leave an error of h² at once, and spoil the third order."""
    few = errors(KS, 128, 5.0, (100, 200), ks_fine, "sbdf3")
    assert orders(few)[0] > 2.7 and few[1] < 1e-3


BETA_PLANE = vorticity(
    box(TURN, TURN),
    2 * sp.sin(x + 2 * y) + 3 * sp.cos(3 * x - y) + sp.sin(2 * x) * sp.cos(3 * y),
    nu=sp.Rational(4, 100),
    beta=8,
    drag=sp.Rational(5, 100),
)


def test_order_on_the_beta_plane():
    """A complex symbol in two dimensions, by way of the stream function: iβ kx/|k|²."""
    fine = after(BETA_PLANE, 64, 1.0, 800)
    found = errors(BETA_PLANE, 64, 1.0, (25, 50, 100, 200), fine)
    assert all(3.8 < order < 4.2 for order in orders(found))
    assert 3.9 < orders(found)[-1] < 4.1 and found[-1] < 1e-8


def test_the_beta_plane_sees_a_real_contour_mean(monkeypatch):
    fine = after(BETA_PLANE, 64, 1.0, 400)
    good = Analytic.at

    def halved(self, symbol):
        values = good(self, symbol)
        return values.real + 0j if self.removable else values

    monkeypatch.setattr(Analytic, "at", halved)
    found = errors(BETA_PLANE, 64, 1.0, (50, 100), fine)
    assert orders(found)[0] < 1.5


MOVED = evolution(
    u.diff(x, 2) / 2 + sp.cos(x) * u.diff(x) * sp.sin(3 * t) - u**2 * sp.exp(-t),
    domain=box(TURN),
    initial={u: sp.sin(x) + sp.cos(2 * x) / 2},
)


@pytest.fixture(scope="module")
def moved_fine():
    return after(MOVED, 48, 1.0, 1000)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_stages_are_taken_at_their_times(scheme, moved_fine):
    """Coefficients that vary in time: a stage at a wrong time lowers the order."""
    expected = SCHEMES[scheme].order
    counts = {1: (800, 1600), 2: (100, 200), 3: (100, 200), 4: (40, 80)}[expected]
    (order,) = orders(errors(MOVED, 48, 1.0, counts, moved_fine, scheme))
    assert abs(order - expected) < 0.15


SCHNAKENBERG = evolution(
    u.diff(x, 2) / 20 + v.diff(x, 2) / 50 + (sp.Rational(1, 10) - u + u**2 * v),
    v.diff(x, 2) - u.diff(x, 2) / 4 + v.diff(x) + (sp.Rational(9, 10) - u**2 * v),
    fields=(u, v),
    domain=box(TURN),
    initial={u: 1 + sp.cos(x) / 5 + sp.sin(3 * x) / 9, v: 1 - sp.sin(2 * x) / 4},
)


@pytest.fixture(scope="module")
def schnakenberg_fine():
    return after(SCHNAKENBERG, 48, 2.0, 1600)


@pytest.mark.parametrize("scheme", ["etdrk4", "etdrk3", "etdrk2", "ifrk4", "cnab2", "sbdf3"])
def test_orders_with_a_matrix_symbol(scheme, schnakenberg_fine):
    """Cross-diffusion and drift couple the species in L, which is a matrix at each mode."""
    expected = SCHEMES[scheme].order
    (order,) = orders(errors(SCHNAKENBERG, 48, 2.0, (160, 320), schnakenberg_fine, scheme))
    assert abs(order - expected) < 0.2


# IFRK4 and the implicit-explicit schemes do not keep steady states, ETD does
@pytest.mark.parametrize("scheme", ["etdrk4", "etdrk3", "etdrk2", "etd1"])
def test_exponential_schemes_keep_steady_states(scheme):
    """u = ½ sin x solves ½ u_xx + u − 4u³ + f = 0 for the f made so: a fixed point."""
    steady = sp.sin(x) / 2
    force = -(steady.diff(x, 2) / 2 + steady - 4 * steady**3)
    problem = evolution(
        u.diff(x, 2) / 2 + u - 4 * u**3 + sp.expand(force), domain=box(TURN), initial={u: steady}
    )
    start = declared_start(problem, (32,))
    end = after(problem, 32, 5.0, 10, scheme)
    torch.testing.assert_close(end, start, atol=1e-12, rtol=0)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_exact_where_the_equation_is_linear(scheme):
    """Exponential schemes are exact at any step; the others have their order."""
    problem = evolution(
        u.diff(x, 2) - 3 * u.diff(x) - u.diff(x, 3),
        domain=box(TURN),
        initial={u: sp.sin(x) + sp.cos(2 * x)},
    )
    xs = torch.arange(32, dtype=torch.float64) * TURN / 32
    exact = math.exp(-1) * torch.sin(xs - 3 + 1) + math.exp(-4) * torch.cos(2 * (xs - 3 + 4))
    exact = exact[None, None]
    if scheme.startswith(("etd", "ifrk")):
        assert relative(after(problem, 32, 1.0, 1, scheme), exact) < 1e-13
    else:
        found = [relative(after(problem, 32, 1.0, n, scheme), exact) for n in (200, 400)]
        assert abs(orders(found)[0] - max(2, SCHEMES[scheme].order)) < 0.1


def test_an_unknown_scheme_is_named():
    with pytest.raises(InvalidOption, match=r"scheme='rk4' is unknown.*etdrk4.*sbdf3"):
        Stepper(KS, 32, 0.1, scheme="rk4")
