"""De-aliasing, state modes, constraints: what N̂ keeps and what it leaves out."""

import math

import pytest
import sympy as sp
import torch

from pdeml.errors import InvalidOption
from pdeml.operators.pde import Field, Parameter
from pdeml.operators.symbol import split
from pdeml.solvers.spectral import Stepper
from pdeml.solvers.spectral.system import SemilinearSystem
from tests.solvers.spectral.declarations import (
    KDV,
    KS,
    TURN,
    box,
    declared_start,
    evolution,
    flow,
    grid_points,
    half,
    laplacian,
    periodic,
    psi,
    random_values,
    relative,
    t,
    u,
    v,
    vorticity,
    w,
    x,
    y,
)

LINE = box(TURN)
SQUARE = box(TURN, TURN)


def system_of(problem, shape, **options):
    lower, upper = problem.domain.space.bounds
    lengths = [b - a for a, b in zip(lower, upper, strict=True)]
    real = all(f.is_real for f in problem.fields)
    return SemilinearSystem(
        split(problem), problem.values, lower, lengths, shape, real=real, **options
    )


def product_modes(problem, n, wave, **options):
    """N̂ of cos(wave x) on n points of [0, 2π)."""
    system = system_of(problem, [n], **options)
    (xs,) = grid_points(problem, (n,))
    return system, system.nonlinear(system.grid.forward(torch.cos(wave * xs))[None, None], 0.0)[
        0, 0
    ]


def test_the_two_thirds_rule_is_strict():
    """48 points keep |k| < 16: with 16 itself, 16 + 16 would fold onto −16."""
    system, modes = product_modes(evolution(u**2), 48, 15)
    assert system.grid.modes == (16,)
    expected = torch.zeros_like(modes)
    expected[0] = 0.5  # cos² 15x = ½ + ½ cos 30x, and 30 is not kept
    torch.testing.assert_close(modes, expected, atol=1e-15, rtol=0)
    assert system_of(evolution(u**2), [47]).grid.modes == (16,)
    assert system_of(evolution(u**2), [49]).grid.modes == (17,)


def test_without_dealiasing_products_fold():
    _, modes = product_modes(evolution(u**2), 48, 15, dealias=None)
    assert modes[18].real.item() == pytest.approx(1 / 4)  # 48 − 30, half of ½ cos 30x
    assert len(modes) == 25


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
def test_the_rule_follows_the_degree(degree):
    n = 60
    problem = evolution(u.diff(x, 2) + u**degree)
    system = system_of(problem, [n])
    kept = math.ceil(n / (degree + 1))
    assert system.grid.modes == (kept,)
    # the product of the highest kept modes is exact on the modes kept
    values = random_values(problem, (n,), 1, kept - 1, mean=0.2)
    found = system.nonlinear(system.grid.forward(values), 0.0)
    fine = system_of(problem, [n * degree], dealias=None)
    padded = fine.grid.resample(system.grid.forward(values), system.grid)
    expected = system.grid.resample(fine.nonlinear(padded, 0.0), fine.grid)
    torch.testing.assert_close(found, expected, atol=1e-14, rtol=0)


def test_the_two_thirds_rule_aliases_a_cubic_term():
    problem = evolution(u**3)
    _, coarse = product_modes(problem, 48, 15, dealias="2/3")
    assert coarse.abs().max() > 0.1 and coarse[3].abs() > 0.1  # 45 folds onto 3
    system, right = product_modes(problem, 48, 11, dealias="1/2")
    assert system.grid.modes == (12,) and right[3].abs() < 1e-14
    assert right[11].real.item() == pytest.approx(3 / 8)


def test_a_coefficient_in_space_counts_as_a_factor():
    problem = evolution(sp.sin(x) * u * u.diff(x))
    assert system_of(problem, [64]).grid.modes == (16,)
    assert system_of(evolution(sp.sin(x) * u.diff(x)), [64]).grid.modes == (22,)


def test_what_is_no_polynomial_is_dealiased_like_a_quadratic():
    assert system_of(evolution(u.diff(x, 2) + sp.sin(u)), [60]).grid.modes == (20,)


def test_a_force_needs_no_dealiasing():
    """Its modes up to n/2 are exact, and are all kept."""
    problem = evolution(u.diff(x, 2) + sp.sin(13 * x), domain=LINE)
    system = system_of(problem, [32])
    nothing = torch.zeros((1, 1, *system.grid.modes), dtype=torch.complex128)
    assert system.nonlinear(nothing, 0.0)[0, 0, 13].imag.item() == pytest.approx(-half)


@pytest.mark.parametrize(
    "problem, shape, wide",
    [
        (KDV, (32,), (64,)),
        (evolution(-u + u**3, domain=LINE), (32,), (80,)),
        (evolution(sp.cos(x) * u**2, domain=LINE), (32,), (80,)),
        (vorticity(SQUARE, 0, nu=half), (16, 12), (32, 30)),
        (vorticity(SQUARE, 0, nu=half), (15, 11), (32, 30)),
    ],
    ids=["kdv", "cubic", "variable", "vorticity", "vorticity, odd"],
)
def test_padding_is_a_galerkin_system_of_all_modes(problem, shape, wide):
    """Products on 3/2 (or more) of the points equal those of a larger, truncated grid."""
    padded = system_of(problem, shape, dealias="3/2-pad")
    large = system_of(problem, wide)
    highest = (min(shape) - 1) // 2
    values = random_values(problem, shape, 1, highest)
    modes = padded.grid.forward(values)
    same = large.grid.resample(modes, padded.grid)
    assert same.abs().square().sum() == pytest.approx(modes.abs().square().sum().item())
    found = padded.nonlinear(modes, 0.3)
    expected = padded.grid.resample(large.nonlinear(same, 0.3), large.grid)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert found.abs().max() > 1e-2


def test_full_mode_lets_the_other_modes_evolve_linearly():
    problem = evolution(u.diff(x, 2) / 50 - u.diff(x) - u * u.diff(x), domain=LINE)
    full, galerkin = (Stepper(problem, 48, 0.05, mode=m) for m in ("full", "galerkin"))
    values = random_values(problem, (48,), 1, 23)
    start = full.transform(values)
    assert start.shape[-1] == 25 and galerkin.transform(values).shape[-1] == 16
    moved = start
    for _ in range(4):
        moved = full.hat(moved)
    symbol = full.system.symbol[0, 0]
    linear = start * torch.exp(0.2 * symbol)
    torch.testing.assert_close(moved[..., 16:], linear[..., 16:], atol=1e-15, rtol=1e-12)
    assert relative(moved[..., :16], linear[..., :16]) > 1e-3
    # the retained modes are those of the Galerkin system
    inside = galerkin.transform(values)
    for _ in range(4):
        inside = galerkin.hat(inside)
    torch.testing.assert_close(moved[..., :16], inside, atol=1e-14, rtol=0)


def test_galerkin_states_have_no_other_modes():
    stepper = Stepper(KS, 64, 0.1)
    values = random_values(KS, (64,), 1, 31)
    ends = stepper.rollout(values, 5)
    spectrum = torch.fft.rfft(ends).abs()
    assert spectrum[..., 22:].max() < 1e-12 * spectrum.max()


@pytest.mark.parametrize("shape", [(16, 40), (17, 32), (15, 21)])
def test_anisotropic_grids_on_a_box_that_is_no_square(shape):
    """The same flow on [0, 2π) × [1, 1 + 4π), on grids that differ, with one answer."""
    problem = vorticity(
        box(TURN, 4 * sp.pi, lower=(0, 1), end=half),
        sp.sin(x + (y - 1) / 2) + sp.cos(2 * x - (y - 1)) / 2,
        nu=sp.Rational(1, 5),
        beta=3,
    )
    reference = Stepper(problem, (64, 64), 0.025)
    start = declared_start(problem, (64, 64))
    expected = reference.transform(reference.rollout(start, 20, every=20)[:, 0])
    stepper = Stepper(problem, shape, 0.025)
    found = stepper.transform(stepper.rollout(declared_start(problem, shape), 20, every=20)[:, 0])
    common = stepper.system.grid.resample(expected, reference.system.grid)
    assert relative(found, common) < 3e-4  # what 5 modes per axis leave out
    finer = Stepper(problem, tuple(2 * n for n in shape), 0.025)
    found = finer.transform(
        finer.rollout(declared_start(problem, finer.resolution), 20, every=20)[:, 0]
    )
    common = finer.system.grid.resample(expected, reference.system.grid)
    assert relative(found, common) < 1e-8


def test_a_box_that_does_not_start_at_zero_shifts_nothing():
    """x enters N: on [−1, 1) the point 0 is not at x = 0."""
    problem = evolution(sp.cos(sp.pi * x) * u, domain=box(2, lower=(-1,)))
    system = system_of(problem, [16])
    ones = torch.zeros((1, 1, *system.grid.modes), dtype=torch.complex128)
    ones[..., 0] = 1
    values = system.grid.inverse(system.nonlinear(ones, 0.0))[0, 0]
    (xs,) = grid_points(problem, (16,))
    torch.testing.assert_close(values, torch.cos(math.pi * xs), atol=1e-15, rtol=0)


# -------------------------------------------------------------------------------------- constraints


def test_stream_functions_are_recovered():
    problem = vorticity(SQUARE, 0)
    system = system_of(problem, (16, 16))
    stream = random_values(problem, (16, 16), 1, 3)
    modes = system.grid.forward(stream)
    laplace = system.grid.factor((2, 0)) + system.grid.factor((0, 2))
    found = system.fields(-laplace * modes, 0.0)
    torch.testing.assert_close(found[:, 1:], modes, atol=1e-15, rtol=0)


def test_a_mean_that_has_no_stream_function_is_refused():
    problem = vorticity(SQUARE, 0)
    stepper = Stepper(problem, 16, 0.1)
    values = random_values(problem, (16, 16), 1, 3, mean=0.5)
    with pytest.raises(InvalidOption, match=r"mean.*psi\(x, y, t\).*Subtract the mean"):
        stepper(values)
    round_off = values - 0.5 + 1e-13
    assert torch.isfinite(stepper(round_off)).all()
    # a constraint that has a solution for the mean does not mind
    helmholtz = periodic([sp.Eq(u.diff(t), v), sp.Eq(v.diff(x, 2) - v, u)], (u, v))
    assert torch.isfinite(Stepper(helmholtz, 16, 0.1)(torch.ones(1, 1, 16))).all()


def test_batches_are_refused_for_one_bad_mean():
    stepper = Stepper(vorticity(SQUARE, 0), 16, 0.1)
    values = random_values(vorticity(SQUARE, 0), (16, 16), 1, 3, batch=3)
    values[1] += 1e-3
    with pytest.raises(InvalidOption, match="mean"):
        stepper(values)


def test_velocities_are_made_solenoidal():
    """Leray projection: what is a gradient goes, what is solenoidal stays; the mean too."""
    problem = flow((x, y), half, SQUARE)
    stepper = Stepper(problem, 32, 0.1)
    a, b = grid_points(problem, (32, 32))
    stream = torch.sin(a + 2 * b)
    solenoidal = torch.stack([2 * torch.cos(a + 2 * b), -torch.cos(a + 2 * b)]) + 0.7
    gradient = torch.stack([torch.cos(a - b), -torch.cos(a - b)])
    del stream
    found = stepper.inverse_transform(stepper.transform((solenoidal + gradient)[None]))
    torch.testing.assert_close(found[0], solenoidal, atol=1e-14, rtol=0)


def test_two_coupled_constraints_are_solved_together():
    """a_xx − a + b = u, b_xx − 2b + a = 0 for u = cos x: −2a + b = 1, a − 3b = 0."""
    first, second = Field("a", x, t), Field("b", x, t)
    problem = periodic(
        [
            sp.Eq(u.diff(t), first - u + 0 * second),
            sp.Eq(first.diff(x, 2) - first + second, u),
            sp.Eq(second.diff(x, 2) - 2 * second + first, 0),
        ],
        (u, first, second),
    )
    system = system_of(problem, [16])
    (xs,) = grid_points(problem, (16,))
    fields = system.grid.inverse(
        system.fields(system.grid.forward(torch.cos(xs))[None, None], 0.0)
    )[0]
    torch.testing.assert_close(fields[1], -3 / 5 * torch.cos(xs), atol=1e-14, rtol=0)
    torch.testing.assert_close(fields[2], -1 / 5 * torch.cos(xs), atol=1e-14, rtol=0)
    assert system.symbol[0, 0, 1].item() == pytest.approx(-1 - 3 / 5)


@pytest.mark.parametrize("time", [0.0, 0.4])
def test_rates_of_all_fields_are_their_time_derivatives(time):
    """∂p/∂t and ∂ψ/∂t by a difference quotient along the solution."""
    plane = flow((x, y), sp.Rational(1, 9), SQUARE, force=[sp.sin(y) * sp.cos(2 * t), 0])
    for problem in (plane, vorticity(SQUARE, 0, nu=half, beta=2, force=sp.cos(x - t))):
        system = system_of(problem, (24, 24))
        count = len(system.split.state)
        modes, _ = system.admissible(
            system.grid.forward(random_values(problem, (24, 24), count, 3))
        )
        rate = system.rate(modes, system.nonlinear(modes, time))
        found = system.field_rates(modes, rate, time)
        eps = 1e-5
        slope = (
            system.fields(modes + eps * rate, time + eps)
            - system.fields(modes - eps * rate, time - eps)
        ) / (2 * eps)
        assert relative(found, slope) < 1e-8


# ----------------------------------------------------------------------------------------- families


def test_each_trajectory_has_its_own_parameters_in_symbol_and_products():
    nu, c = Parameter("nu", 1.0), Parameter("c", 1.0)
    problem = evolution(nu * u.diff(x, 2) - c * u * u.diff(x) + c * sp.sin(x) + nu, domain=LINE)
    nus = torch.tensor([0.1, 0.4, 2.0], dtype=torch.float64)
    cs = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    values = random_values(problem, (32,), 1, 4, batch=3)

    def rates(parameters, start):
        stepper = Stepper(problem, 32, 0.1, parameters=parameters)
        modes = stepper.transform(start)
        return stepper.system.rate(modes, stepper.system.nonlinear(modes, 0.0))

    together = rates({"nu": nus, c: cs}, values)
    for i in range(3):
        alone = rates({"nu": nus[i].item(), "c": cs[i].item()}, values[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-14, rtol=0)
    # one state for a family of parameters
    spread = rates({"nu": nus, c: cs}, values[:1])
    torch.testing.assert_close(spread[0], together[0], atol=1e-14, rtol=0)
    assert spread.shape == together.shape


def test_families_reach_constraints_and_matrices():
    k = Parameter("k", 1.0)
    problem = periodic(
        [sp.Eq(w.diff(t), laplacian(w) + k * psi.diff(x)), laplacian(psi) - k * psi + w],
        (w, psi),
        SQUARE,
    )
    family = torch.tensor([0.5, 2.0], dtype=torch.float64)
    values = random_values(problem, (16, 16), 1, 3, batch=2)
    together = Stepper(problem, 16, 0.1, parameters={k: family})(values)
    for i in range(2):
        alone = Stepper(problem, 16, 0.1, parameters={k: family[i].item()})(values[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-14, rtol=0)
    waves = periodic([u.diff(t, 2) - k * u.diff(x, 2) + u**3], (u,))
    values = random_values(waves, (16,), 2, 3, batch=2)
    together = Stepper(waves, 16, 0.1, parameters={k: family})(values)
    for i in range(2):
        alone = Stepper(waves, 16, 0.1, parameters={k: family[i].item()})(values[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-13, rtol=0)


# ----------------------------------------------------------------------------------------- refusals


def test_unknown_rules_and_modes_are_named():
    with pytest.raises(InvalidOption, match=r"dealias='3/4'.*'auto'.*'2/3'.*None"):
        Stepper(KS, 32, 0.1, dealias="3/4")
    with pytest.raises(InvalidOption, match=r"mode='all'.*'galerkin', 'full'"):
        Stepper(KS, 32, 0.1, mode="all")


def test_growth_that_overflows_names_the_step_that_does_not():
    backward = evolution(-u.diff(x, 2) + u**2, domain=box(1))
    with pytest.raises(InvalidOption, match=r"dt=0\.1 makes h·max Re L.*> 700.*overflows.*dt ≤"):
        Stepper(backward, 512, 0.1)
    assert Stepper(backward, 64, 1e-3).dt == 1e-3
    waves = periodic([u.diff(t, 2) + u.diff(x, 2) - u**2], (u,), box(1))
    with pytest.raises(InvalidOption, match="overflows"):
        Stepper(waves, 512, 1.0)
