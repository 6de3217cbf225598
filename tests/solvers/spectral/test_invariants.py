"""What equations conserve, and flows with a closed form."""

import math

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.integrate import quad

from pdeml.solvers.spectral import Stepper
from tests.solvers.spectral.declarations import (
    KDV,
    TURN,
    box,
    declared_start,
    derivative,
    evolution,
    flow,
    grid_points,
    h,
    orders,
    periodic,
    random_values,
    relative,
    t,
    u,
    v,
    vorticity,
    w,
    x,
    y,
    z,
)

PI = sp.pi
SQUARE, CUBE = box(TURN, TURN), box(TURN, TURN, TURN)


def path_of(problem, n, end, steps, every=None, start=None):
    shape = (n,) * len(problem.space_coordinates)
    start = declared_start(problem, shape) if start is None else start
    stepper = Stepper(problem, n, end / steps)
    path = stepper.rollout(start, steps, every=every or steps)
    # what the truncated state starts from
    first = stepper.inverse_transform(stepper.transform(start))
    return stepper, torch.cat([first[:, None], path], 1)


def drift(figure):
    return ((figure - figure[0]).abs().max() / figure[0].abs()).item()


# ------------------------------------------------------------------------------------------- means


CAHN_HILLIARD = evolution(
    (u**3 - u - u.diff(x, 2) / 100).diff(x, 2),
    domain=box(TURN),
    initial={u: sp.Rational(1, 5) + sp.sin(x) / 2 + sp.cos(3 * x) / 9},
)
KELLER_SEGEL = periodic(
    [
        sp.Eq(u.diff(t), (u.diff(x) - 2 * u * v.diff(x)).diff(x)),
        sp.Eq(0, v.diff(x, 2) - v + u),
    ],
    (u, v),
    box(TURN),
    {u: 1 + sp.cos(x) / 2},
)
MEANS = {
    "kdv": (KDV, 128, 0.5, 400),
    "burgers": (
        evolution(
            u.diff(x, 2) / 50 - u * u.diff(x),
            domain=box(TURN),
            initial={u: sp.Rational(1, 3) + sp.sin(x)},
        ),
        128,
        1.0,
        200,
    ),
    "ks": (
        evolution(
            -u * u.diff(x) - u.diff(x, 2) - u.diff(x, 4),
            domain=box(32 * PI),
            initial={u: sp.Rational(1, 7) + sp.cos(x / 16)},
        ),
        128,
        20.0,
        200,
    ),
    "cahn_hilliard": (CAHN_HILLIARD, 64, 1.0, 200),
    "keller_segel": (KELLER_SEGEL, 64, 1.0, 200),
}


@pytest.mark.parametrize("name", MEANS)
def test_means_are_kept_to_round_off(name):
    problem, n, end, steps = MEANS[name]
    _, path = path_of(problem, n, end, steps, every=20)
    assert drift(path[0, :, 0].mean(-1)) < 1e-13
    assert relative(path[0, -1], path[0, 0]) > 1e-2  # something happened


def test_combustion_form_changes_its_mean():
    """u_t = −½ u_x² … is not in conservation form: d⟨u⟩/dt = −½ ⟨u_x²⟩, which is kept."""
    problem = evolution(
        -(u.diff(x) ** 2) / 2 - u.diff(x, 2) - u.diff(x, 4),
        domain=box(TURN),
        initial={u: sp.cos(x) + sp.sin(2 * x) / 3},
    )
    stepper = Stepper(problem, 64, 0.01)
    modes = stepper.transform(declared_start(problem, (64,)))
    rate = stepper.system.rate(modes, stepper.system.nonlinear(modes, 0.0))
    assert rate[0, 0, 0].real.item() == pytest.approx(-(1 / 2 + 4 / 18) / 2, rel=1e-13)


# -------------------------------------------------------------------------------------- invariants


def test_korteweg_de_vries_keeps_its_square():
    _, path = path_of(KDV, 128, 0.5, 400, every=40)
    assert drift(path[0, :, 0].square().mean(-1)) < 1e-8
    cubic = (
        2 * path[0, :, 0] ** 3
        + torch.as_tensor(derivative(path[0, :, 0].numpy(), (1,), (20,))).square()
    )
    assert drift(cubic.mean(-1)) < 1e-7  # the Hamiltonian u_x² + 2u³


def test_schroedinger_keeps_its_mass_and_energy():
    equation = sp.Eq(sp.I * h.diff(t) + h.diff(x, 2) / 2 + sp.Abs(h) ** 2 * h, 0)
    problem = periodic([equation], (h,), box(10, lower=(-5,)), {h: 2 / sp.cosh(x)})
    _, path = path_of(problem, 256, 1.0, 2000, every=400)
    values = path[0, :, 0]
    assert drift(values.abs().square().mean(-1)) < 1e-8
    slope = torch.as_tensor(derivative(values.numpy(), (1,), (10,)))
    energy = slope.abs().square() - values.abs() ** 4
    assert drift(energy.mean(-1)) < 1e-6


def test_inviscid_flow_keeps_energy_and_enstrophy():
    """Galerkin truncation conserves both exactly; only the time steps do not."""
    problem = vorticity(SQUARE, 0)
    start = 3 * random_values(problem, (32, 32), 1, 4)
    stepper, path = path_of(problem, 32, 1.0, 1000, every=100, start=start)
    fields = stepper.fields(stepper.transform(path[0]))
    omega, stream = fields.unbind(1)
    assert drift((omega**2).mean((-1, -2))) < 1e-10
    assert drift((omega * stream).mean((-1, -2))) < 1e-10
    assert relative(path[0, -1], path[0, 0]) > 0.2
    aliased = Stepper(problem, 32, 1e-3, dealias=None)
    rough = 3 * random_values(problem, (32, 32), 1, 10)
    folded = aliased.rollout(rough, 100, every=100)[0]
    kept = Stepper(problem, 32, 1e-3).rollout(rough, 100, every=100)[0]
    first = Stepper(problem, 32, 1e-3)
    begin = first.inverse_transform(first.transform(rough))
    assert abs((folded**2).mean() / (rough**2).mean() - 1) > 1e-7
    assert abs((kept**2).mean() / (begin**2).mean() - 1) < 1e-10


def test_viscous_vorticity_decays_at_its_rate():
    """d⟨ω²⟩/dt = −2ν⟨|∇ω|²⟩, by a difference of two states around the middle one."""
    problem = vorticity(SQUARE, 0, nu=sp.Rational(1, 50))
    start = 3 * random_values(problem, (48, 48), 1, 4)
    _, path = path_of(problem, 48, 0.04, 40, every=10, start=start)
    square = (path[0, :, 0] ** 2).mean((-1, -2))
    middle = path[0, 2, 0].numpy()
    slope = (square[0] - 8 * square[1] + 8 * square[3] - square[4]) / 0.12
    lengths = (TURN, TURN)
    gradient = derivative(middle, (1, 0), lengths) ** 2 + derivative(middle, (0, 1), lengths) ** 2
    assert slope.item() == pytest.approx(-2 / 50 * gradient.mean(), rel=1e-7)


def test_klein_gordon_keeps_its_energy():
    problem = periodic([u.diff(t, 2) - u.diff(x, 2) + u**3], (u,))
    (xs,) = grid_points(problem, (64,))
    start = torch.stack([2 * torch.sin(xs), torch.cos(2 * xs)])[None]
    _, path = path_of(problem, 64, 2.0, 400, every=40, start=start)
    value, rate = path[0].unbind(1)
    slope = torch.as_tensor(derivative(value.numpy(), (1,), (TURN,)))
    energy = rate**2 / 2 + slope**2 / 2 + value**4 / 4
    assert drift(energy.mean(-1)) < 1e-8
    assert relative(value[-1], value[0]) > 0.5


def test_allen_cahn_decreases_its_energy():
    problem = evolution(u.diff(x, 2) / 50 + u - u**3, domain=box(TURN))
    start = random_values(problem, (64,), 1, 8, batch=5)
    _, path = path_of(problem, 64, 4.0, 80, every=4, start=start)
    slope = torch.as_tensor(derivative(path[:, :, 0].numpy(), (1,), (TURN,)))
    energy = (slope**2 / 100 + (1 - path[:, :, 0] ** 2) ** 2 / 4).mean(-1)
    assert (energy.diff(dim=1) < 1e-12).all()


# ---------------------------------------------------------------------------------- exact solutions


def cole_hopf(x0, time, nu):
    """u = −2ν θ_x/θ with θ the heat flow of exp(−∫u₀/2ν), for u₀ = sin x."""
    bottom = quad(
        lambda s: math.exp(math.cos(x0 - s) / (2 * nu) - s**2 / (4 * nu * time)), -9, 9, limit=400
    )[0]
    top = quad(
        lambda s: math.sin(x0 - s) * math.exp(math.cos(x0 - s) / (2 * nu) - s**2 / (4 * nu * time)),
        -9,
        9,
        limit=400,
    )[0]
    return top / bottom


def test_burgers_against_cole_hopf():
    nu = 0.05
    problem = evolution(
        sp.Rational(1, 20) * u.diff(x, 2) - u * u.diff(x),
        domain=box(TURN),
        initial={u: sp.sin(x)},
    )
    _, path = path_of(problem, 384, 1.0, 800)
    for i in (17, 96, 180, 200):
        expected = cole_hopf(TURN * i / 384, 1.0, nu)
        assert path[0, -1, 0, i].item() == pytest.approx(expected, abs=1e-10)


def test_a_soliton_travels_unchanged():
    """u_t + 6uu_x + u_xxx = 0: ½c sech²(½√c (x − ct)), in a box that is wide enough."""
    speed = 4
    wave = 2 / sp.cosh(x - speed * t) ** 2
    problem = evolution(
        -6 * u * u.diff(x) - u.diff(x, 3),
        domain=box(40, lower=(-20,)),
        initial={u: wave.subs(t, 0)},
    )
    _, path = path_of(problem, 384, 1.0, 1000)
    (xs,) = grid_points(problem, (384,))
    expected = 2 / torch.cosh(xs - 4) ** 2
    torch.testing.assert_close(path[0, -1, 0], expected, atol=2e-8, rtol=0)


def test_a_schroedinger_soliton():
    """h = sech(x) e^{it/2} in a box that is wide enough for 1e-8."""
    equation = sp.Eq(sp.I * h.diff(t) + h.diff(x, 2) / 2 + sp.Abs(h) ** 2 * h, 0)
    problem = periodic([equation], (h,), box(40, lower=(-20,)), {h: 1 / sp.cosh(x)})
    _, path = path_of(problem, 512, 1.0, 400)
    (xs,) = grid_points(problem, (512,))
    expected = torch.polar(1 / torch.cosh(xs), torch.full_like(xs, 0.5))
    torch.testing.assert_close(path[0, -1, 0], expected, atol=2e-8, rtol=0)


def test_a_plane_wave_of_ginzburg_landau():
    """A = √(1 − q²) e^{i(qx − ωt)}, ω = c₂ + (c₁ − c₂) q²: a limit cycle, in phase too."""
    c1, c2, q = 2.0, -0.5, 0.5
    problem = evolution(
        h + (1 + 2 * sp.I) * h.diff(x, 2) - (1 - sp.I / 2) * sp.Abs(h) ** 2 * h,
        fields=(h,),
        domain=box(4 * PI),
    )
    (xs,) = grid_points(problem, (32,))
    size, omega = math.sqrt(1 - q**2), c2 + (c1 - c2) * q**2
    start = torch.polar(torch.full_like(xs, size), q * xs)[None, None]
    _, path = path_of(problem, 32, 2.0, 800, start=start)
    expected = start * complex(math.cos(2 * omega), -math.sin(2 * omega))
    torch.testing.assert_close(path[:, -1], expected, atol=1e-9, rtol=0)


def test_taylor_green_flow_in_velocity_and_pressure():
    """Closed form, the pressure at every time included."""
    nu = sp.Rational(1, 10)
    problem = flow((x, y), nu, SQUARE)
    a, b = grid_points(problem, (16, 16))
    start = torch.stack([torch.sin(a) * torch.cos(b), -torch.cos(a) * torch.sin(b)])[None]
    stepper = Stepper(problem, 16, 0.25)
    for count in (1, 4):
        state = stepper.rollout(start, count, every=count)[:, 0]
        time = 0.25 * count
        torch.testing.assert_close(state, math.exp(-0.2 * time) * start, atol=1e-13, rtol=0)
        pressure = stepper.fields(stepper.transform(state), time)[0, 2]
        expected = math.exp(-0.4 * time) / 4 * (torch.cos(2 * a) + torch.cos(2 * b))
        torch.testing.assert_close(pressure, expected, atol=1e-13, rtol=0)


def test_a_moving_taylor_green_flow_is_of_fourth_order():
    """In a frame that moves by (1, ½) the nonlinear terms no longer vanish."""
    problem = flow((x, y), sp.Rational(1, 10), SQUARE)
    a, b = grid_points(problem, (24, 24))

    def exact(time):
        c, d = a - time, b - time / 2
        vortex = torch.stack([torch.sin(c) * torch.cos(d), -torch.cos(c) * torch.sin(d)])
        return torch.tensor([1, 0.5]).reshape(2, 1, 1) + math.exp(-0.2 * time) * vortex

    found = []
    for steps in (10, 20, 40):
        stepper = Stepper(problem, 24, 1 / steps)
        end = stepper.rollout(exact(0.0)[None], steps, every=steps)[0, 0]
        found.append(relative(end, exact(1.0)))
    assert all(3.8 < order < 4.2 for order in orders(found)) and found[-1] < 1e-7


def test_velocity_and_vorticity_are_the_same_flow():
    velocity = flow((x, y), sp.Rational(1, 40), SQUARE)
    curl = vorticity(SQUARE, 0, nu=sp.Rational(1, 40))
    n = 48
    omega = 3 * random_values(curl, (n, n), 1, 4)
    step = Stepper(curl, n, 0.02)
    stream = step.fields(step.transform(omega))[0, 1].numpy()
    lengths = (TURN, TURN)
    start = np.stack([derivative(stream, (0, 1), lengths), -derivative(stream, (1, 0), lengths)])
    first = step.rollout(omega, 25, every=25)[0, 0, 0]
    u2, v2 = Stepper(velocity, n, 0.02).rollout(torch.as_tensor(start)[None], 25, every=25)[0, 0]
    second = derivative(v2.numpy(), (1, 0), lengths) - derivative(u2.numpy(), (0, 1), lengths)
    assert relative(torch.as_tensor(second), first) < 1e-6
    assert relative(first, omega[0, 0]) > 0.1


def curl(velocity):
    def d(component, axis):
        return derivative(velocity[component], tuple(int(i == axis) for i in range(3)), (TURN,) * 3)

    return np.stack([d(2, 1) - d(1, 2), d(0, 2) - d(2, 0), d(1, 0) - d(0, 1)])


def test_beltrami_flow_decays_as_it_is():
    """ABC flow: ω = u, so that u × ω = 0 and u = e^{−νt} ABC, with p = −½|u|² up to its mean."""
    nu = sp.Rational(1, 5)
    problem = flow((x, y, z), nu, CUBE)
    a, b, c = grid_points(problem, (16, 16, 16))
    shape = (16, 16, 16)
    start = torch.stack(
        [
            (1.0 * torch.sin(c) + 0.5 * torch.cos(b)).expand(shape),
            (0.7 * torch.sin(a) + 1.0 * torch.cos(c)).expand(shape),
            (0.5 * torch.sin(b) + 0.7 * torch.cos(a)).expand(shape),
        ]
    )[None]
    np.testing.assert_allclose(curl(start[0].numpy()), start[0].numpy(), atol=1e-12)
    stepper = Stepper(problem, 16, 0.5)
    end = stepper.rollout(start, 2, every=2)[:, 0]
    torch.testing.assert_close(end, math.exp(-0.2) * start, atol=1e-12, rtol=0)
    pressure = stepper.fields(stepper.transform(end), 1.0)[0, 3]
    expected = -(end[0] ** 2).sum(0) / 2
    torch.testing.assert_close(pressure, expected - expected.mean(), atol=1e-12, rtol=0)


def test_taylor_green_in_space():
    """Divergence stays zero and −dE/dt = 2ν · enstrophy while vortices stretch."""
    nu = sp.Rational(1, 20)
    problem = flow((x, y, z), nu, CUBE)
    n = 24
    a, b, c = grid_points(problem, (n, n, n))
    start = torch.stack(
        [
            torch.sin(a) * torch.cos(b) * torch.cos(c),
            -torch.cos(a) * torch.sin(b) * torch.cos(c),
            torch.zeros(n, n, n, dtype=torch.float64),
        ]
    )[None]
    stepper = Stepper(problem, n, 0.05)
    path = stepper.rollout(start, 24, every=1)[0]
    energy = (path**2).sum(1).mean((-1, -2, -3)) / 2
    middle = 19
    slope = energy[middle - 2] - 8 * energy[middle - 1] + 8 * energy[middle + 1]
    slope = (slope - energy[middle + 2]) / (12 * 0.05)
    vortices = curl(path[middle].numpy())
    enstrophy = (vortices**2).sum(0).mean() / 2
    assert slope.item() == pytest.approx(-2 / 20 * enstrophy, rel=1e-5)
    assert (path[-1, 2] ** 2).mean() > 1e-4  # a third component has grown
    last = path[-1].numpy()
    divergence = sum(
        derivative(last[i], tuple(int(i == j) for j in range(3)), (TURN,) * 3) for i in range(3)
    )
    assert np.abs(divergence).max() < 1e-12


# ------------------------------------------------------------------------------------------- waves


@pytest.mark.parametrize("dt", [1e-3, 0.3, 7.0])
def test_waves_are_exact_at_any_step(dt):
    """Standing and travelling, and the mean, which moves like a free particle (a Jordan block)."""
    problem = periodic([u.diff(t, 2) - 4 * u.diff(x, 2)], (u,))
    (xs,) = grid_points(problem, (32,))

    def exact(s):
        travelling = torch.sin(3 * (xs - 2 * s))
        value = travelling + math.cos(10 * s) * torch.cos(5 * xs) + 1 + 2 * s
        rate = -6 * torch.cos(3 * (xs - 2 * s)) - 10 * math.sin(10 * s) * torch.cos(5 * xs) + 2
        return torch.stack([value, rate])[None]

    end = Stepper(problem, 32, dt).rollout(exact(0.0), 3, every=3)[:, 0]
    torch.testing.assert_close(end, exact(3 * dt), atol=2e-12 * max(1, 30 * dt), rtol=0)


def test_waves_in_the_plane_are_exact():
    problem = periodic([w.diff(t, 2) + w.diff(t) - w.diff(x, 2) - 2 * w.diff(y, 2)], (w,), SQUARE)
    a, b = grid_points(problem, (16, 16))
    stepper = Stepper(problem, 16, 0.9)
    # w_tt + w_t + 9w = 0 for e^{i(x + 2y)}
    root = math.sqrt(9 - 1 / 4)
    shape = torch.cos(a + 2 * b)

    def exact(s):
        decay = math.exp(-s / 2)
        value = decay * math.cos(root * s)
        rate = -value / 2 - root * decay * math.sin(root * s)
        return torch.stack([value * shape, rate * shape])[None]

    end = stepper.rollout(exact(0.0), 2, every=2)[:, 0]
    torch.testing.assert_close(end, exact(1.8), atol=1e-12, rtol=0)


def test_forced_waves_are_of_fourth_order():
    """w_tt = w_xx + f with w = sin(2t) cos x + t³/6: a solution by construction."""
    problem = periodic([u.diff(t, 2) - u.diff(x, 2) + 3 * sp.sin(2 * t) * sp.cos(x) - t], (u,))
    (xs,) = grid_points(problem, (16,))
    start = torch.stack([0 * xs, 2 * torch.cos(xs)])[None]
    expected = math.sin(2) * torch.cos(xs) + 1 / 6
    found = []
    for steps in (8, 16, 32):
        end = Stepper(problem, 16, 1 / steps).rollout(start, steps, every=steps)[0, 0, 0]
        found.append(relative(end, expected))
    assert all(3.7 < order < 4.3 for order in orders(found))


def test_a_breather_of_sine_gordon():
    """4 arctan(√(1−ω²)/ω · cos ωt · sech(√(1−ω²) x)): not a polynomial, second order in time."""
    problem = periodic([u.diff(t, 2) - u.diff(x, 2) + sp.sin(u)], (u,), box(60, lower=(-30,)))
    (xs,) = grid_points(problem, (256,))
    omega = 0.6
    b = 0.8

    def exact(s):
        profile = b / omega / torch.cosh(b * xs)
        value = 4 * torch.atan(profile * math.cos(omega * s))
        rate = -4 * omega * profile * math.sin(omega * s)
        return torch.stack([value, rate / (1 + (profile * math.cos(omega * s)) ** 2)])[None]

    end = Stepper(problem, 256, 0.01).rollout(exact(0.0), 300, every=300)[:, 0]
    torch.testing.assert_close(end[:, 0], exact(3.0)[:, 0], atol=1e-7, rtol=0)


def test_equations_of_both_orders_together():
    """u_tt = u_xx + v, v_t = v_xx with v = e^{−t} sin x: u = ½ (e^{−t} − cos t + sin t) sin x …"""
    problem = periodic([u.diff(t, 2) - u.diff(x, 2) - v, v.diff(t) - v.diff(x, 2)], (u, v))
    (xs,) = grid_points(problem, (16,))
    sine = torch.sin(xs)
    stepper = Stepper(problem, 16, 0.7)
    assert stepper.channels == ("u", "v", "u_t")
    start = torch.stack([0 * sine, sine, 0 * sine])[None]
    end = stepper.rollout(start, 2, every=2)[0, 0]
    s = 1.4
    value = (math.exp(-s) - math.cos(s) + math.sin(s)) / 2
    rate = (-math.exp(-s) + math.sin(s) + math.cos(s)) / 2
    expected = torch.stack([value * sine, math.exp(-s) * sine, rate * sine])
    torch.testing.assert_close(end, expected, atol=1e-13, rtol=0)
