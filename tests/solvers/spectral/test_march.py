"""The loop over steps: plans, adaptive steps, and trajectories that are lost."""

import math

import pytest
import sympy as sp
import torch

import pdeml
from pdeml.errors import DivergedError, InvalidOption
from pdeml.solvers.spectral import BlowUp, Stepper
from pdeml.solvers.spectral.march import (
    Guard,
    Segment,
    StepCache,
    integrate,
    march,
    march_adaptively,
    not_finite,
    uniform_plan,
)
from pdeml.solvers.spectral.schemes import SCHEMES
from tests.solvers.spectral.declarations import (
    KDV,
    TURN,
    box,
    declared_start,
    evolution,
    random_values,
    relative,
    t,
    u,
    v,
    x,
)

BURGERS = evolution(
    sp.Rational(3, 100) * u.diff(x, 2) - u * u.diff(x),
    domain=box(TURN, lower=(-math.pi,)),
    initial={u: sp.exp(-10 * sp.sin(x / 2) ** 2)},
)
bump = sp.exp(-((10 * x - sp.Rational(25, 2)) ** 2))
GRAY_SCOTT = evolution(
    u.diff(x, 2) / 2000 - u * v**2 + sp.Rational(4, 100) * (1 - u),
    v.diff(x, 2) / 4000 + u * v**2 - v / 10,
    fields=(u, v),
    domain=box(sp.Rational(5, 2), end=50),
    initial={u: 1 - bump / 2, v: bump / 4},
)


def test_plans_hit_every_time_with_steps_of_at_most_dt():
    plan = uniform_plan([0.0, 0.1, 0.25, 1.0], 0.03)
    assert [(s.start, s.end) for s in plan] == [(0.0, 0.1), (0.1, 0.25), (0.25, 1.0)]
    assert [s.steps for s in plan] == [4, 5, 25]
    assert all(s.every == s.steps for s in plan)
    # an interval that is a whole number of steps gets no additional one by round-off
    assert [s.steps for s in uniform_plan([0.0, 0.3, 0.7], 0.1)] == [3, 4]


def system_of(problem, n, dt=0.1, **options):
    return Stepper(problem, n, dt, **options).system


def test_kept_states_are_every_so_many_and_the_last():
    system = system_of(KDV, 32)
    modes = system.grid.forward(declared_start(KDV, (32,)))
    path = integrate(StepCache(system), SCHEMES["etdrk4"], modes, [Segment(0.0, 0.5, 50, 20)])
    torch.testing.assert_close(path.times, torch.tensor([0, 0.2, 0.4, 0.5], dtype=torch.float64))
    rate = system.rate(path.modes[2], system.nonlinear(path.modes[2], 0.4))
    torch.testing.assert_close(path.rates[2], rate)


def test_a_change_of_step_starts_a_multistep_scheme_anew():
    """The history of other steps would leave an error of first order."""
    scheme = SCHEMES["sbdf3"]
    system = system_of(BURGERS, 64)
    modes = system.grid.forward(declared_start(BURGERS, (64,)))
    plan = [Segment(0.0, 0.4, 160, 160), Segment(0.4, 0.6, 160, 160)]
    found = [s.modes for s in march(StepCache(system), scheme, modes, plan)][-1]
    fine = [Segment(0.0, 0.6, 600, 600)]
    exact = [s.modes for s in march(StepCache(system), SCHEMES["etdrk4"], modes, fine)][-1]
    assert relative(found, exact) < 1e-6


# -------------------------------------------------------------------------------------- adaptive


def adaptive(problem, n, times, rtol, scheme="etdrk4", batch=1, policy="raise", start=None):
    system = system_of(problem, n, 1e-3)
    begin = declared_start(problem, (n,)) if start is None else start
    modes = system.grid.forward(begin)
    guard = Guard(0.0, policy)
    path = march_adaptively(
        StepCache(system), SCHEMES[scheme], modes, times, guard, rtol=rtol, atol=0.0
    )
    return system, list(path), guard


@pytest.mark.parametrize(
    "problem, n, end, steps",
    [(BURGERS, 128, 1.0, 2000), (KDV, 128, 0.5, 3200), (GRAY_SCOTT, 128, 50.0, 2000)],
    ids=["burgers", "kdv", "gray_scott"],
)
def test_the_error_follows_the_tolerance(problem, n, end, steps):
    """Local errors of rtol add up to a small multiple of it, never to much less."""
    stepper = Stepper(problem, n, end / steps)
    exact = stepper.rollout(declared_start(problem, (n,)), steps, every=steps)[:, 0]
    found = []
    for rtol in (1e-4, 1e-6, 1e-8):
        system, path, _ = adaptive(problem, n, [0.0, end], rtol)
        found.append(relative(system.grid.inverse(path[-1].modes), exact))
        assert 1e-3 * rtol < found[-1] < 60 * rtol
    assert found[0] > 5 * found[1] > 25 * found[2]


@pytest.mark.parametrize("scheme", ["etdrk2", "etdrk3", "ifrk4"])
def test_other_one_step_schemes_may_be_adaptive(scheme):
    stepper = Stepper(BURGERS, 64, 1 / 1000)
    exact = stepper.rollout(declared_start(BURGERS, (64,)), 1000, every=1000)[:, 0]
    system, path, _ = adaptive(BURGERS, 64, [0.0, 1.0], 1e-5, scheme)
    assert relative(system.grid.inverse(path[-1].modes), exact) < 5e-4


def test_times_are_met_exactly():
    times = [0.0, 1e-3, 0.1, 1 / 3, 0.9999, 1.0]
    _, path, _ = adaptive(BURGERS, 64, times, 1e-6)
    assert [s.time for s in path] == times
    stepper = Stepper(BURGERS, 64, 1 / 3000)
    exact = stepper.rollout(declared_start(BURGERS, (64,)), 1000, every=1000)[:, 0]
    modes = path[3].modes
    assert relative(stepper.inverse_transform(modes), exact) < 1e-5


def test_steps_follow_what_happens():
    """A force that switches on at t = ½ within 0.01: few steps before, short ones there."""
    switch = (1 + sp.tanh(100 * (t - sp.Rational(1, 2)))) / 2
    problem = evolution(
        u.diff(x, 2) - u + 30 * switch * sp.sin(x), domain=box(TURN), initial={u: sp.cos(x)}
    )
    system, path, _ = adaptive(problem, 16, [0.0, 1.0], 1e-7)
    fine = Stepper(problem, 16, 1 / 4000)
    exact = fine.rollout(declared_start(problem, (16,)), 4000, every=4000)[:, 0]
    assert relative(system.grid.inverse(path[-1].modes), exact) < 1e-5


def test_a_jump_in_time_is_no_blow_up():
    """The tolerance cannot be met at the jump, but every state is finite."""
    late = sp.Heaviside(t - sp.Rational(1, 3))
    problem = evolution(-u + 30 * late, domain=box(TURN), initial={u: 1})
    system, path, _ = adaptive(problem, 8, [0.0, 1.0], 1e-9)
    found = system.grid.inverse(path[-1].modes)[0, 0, 0].item()
    assert found == pytest.approx(math.exp(-1) + 30 * (1 - math.exp(-2 / 3)), rel=1e-6)


def test_multistep_schemes_have_a_fixed_step():
    for name in ("cnab2", "sbdf2", "sbdf3"):
        with pytest.raises(InvalidOption, match=rf"scheme='{name}' has a fixed step: give dt"):
            adaptive(BURGERS, 64, [0.0, 1.0], 1e-6, name)


# ------------------------------------------------------------------------------------ what is lost

GROWTH = evolution(u.diff(x, 2) / 10 + u**2, domain=box(TURN, end=2))


def levels(*values):
    return torch.stack([torch.full((1, 16), s, dtype=torch.float64) for s in values])


def test_an_adaptive_run_stops_where_the_solution_does():
    """u' = u² from 2 is 2/(1 − 2t): infinite at t = ½."""
    with pytest.raises(BlowUp) as caught:
        adaptive(GROWTH, 16, [0.0, 2.0], 1e-6, start=levels(2.0))
    assert caught.value.time == pytest.approx(0.5, abs=1e-3)
    assert isinstance(caught.value, DivergedError) and "before t = 0.5" in str(caught.value)


@pytest.mark.parametrize("options", [{"dt": 0.01}, {"rtol": 1e-8}], ids=["fixed", "adaptive"])
def test_masked_trajectories_leave_the_others_alone(options):
    starts = random_values(GROWTH, (16,), 1, 3, batch=4) / 10
    starts[1] += 1.5
    starts[3] += 3.0
    common = {"times": [0.5, 1.0, 2.0], "on_blowup": "mask", **options}
    found = pdeml.solve(GROWTH, "spectral", initial=starts, **common)
    assert set(found.lost) == {1, 3}
    late = 0.5 if "dt" in options else 0.05  # a fixed step is checked every 50 steps
    assert 0.25 < found.lost[3] < 1 / 3 + late and 0.5 < found.lost[1] < 2 / 3 + late
    assert torch.isfinite(found.values[1, 0]).all() and torch.isnan(found.values[1, 1:]).all()
    assert torch.isnan(found.values[3]).all()
    for i in (0, 2):
        alone = pdeml.solve(GROWTH, "spectral", initial=starts[i : i + 1], **common)
        if "dt" in options:
            torch.testing.assert_close(found.values[i], alone.values[0], atol=1e-12, rtol=0)
        else:  # steps are chosen for all together
            torch.testing.assert_close(found.values[i], alone.values[0], atol=1e-6, rtol=0)
    assert any("2 of 4 trajectories" in note for note in found.report.notes)
    assert "2 lost" in repr(found)


def test_the_masked_part_does_not_slow_the_others():
    """Once lost, a trajectory has no say in the size of the steps."""
    starts = torch.cat([levels(3.0), random_values(GROWTH, (16,), 1, 3) / 10])
    system = system_of(GROWTH, 16)
    calls = []
    plain = system.rhs

    def counted(modes, time):
        calls.append(time if isinstance(time, float) else float(time))
        return plain(modes, time)

    system.rhs = counted
    path = march_adaptively(
        StepCache(system),
        SCHEMES["etdrk4"],
        system.grid.forward(starts),
        [0.0, 2.0],
        Guard(0.0, "mask"),
        rtol=1e-6,
        atol=0.0,
    )
    *_, last = path
    assert (
        not torch.isfinite(last.modes[0].abs()).all() and torch.isfinite(last.modes[1].abs()).all()
    )
    late = [s for s in calls if s > 1.0]
    assert len(late) < 400 < len(calls)


def test_a_fixed_step_names_trajectories_and_time():
    starts = torch.cat([levels(0.1, 3.0), levels(0.2)])
    with pytest.raises(BlowUp, match=r"trajectory 1 became NaN or infinite") as caught:
        pdeml.solve(GROWTH, "spectral", initial=starts, dt=0.01)
    assert caught.value.trajectories == (1,) and caught.value.time == pytest.approx(1 / 3, abs=0.5)


def test_not_finite_finds_what_a_sum_would_hide():
    modes = torch.zeros(5, 1, 4, dtype=torch.complex128)
    assert not_finite(modes) == []
    modes[1, 0, 2] = math.inf
    modes[3, 0, 0] = complex(0, math.nan)
    modes[4, 0, 0] = -math.inf
    assert not_finite(modes) == [1, 3, 4]
    modes = torch.full((1, 1, 2), 1e308 + 0j, dtype=torch.complex128)
    assert not_finite(modes) == []  # the sum overflows, the state does not


def test_a_guard_reports_each_trajectory_once():
    guard = Guard(0.1, "mask")
    modes = torch.zeros(3, 1, 4, dtype=torch.complex128)
    modes[2, 0, 1] = math.inf
    modes = guard(0.5, modes)
    assert guard.broken == {2: 0.5} and torch.isnan(modes[2].real).all()
    modes[0, 0, 0] = math.nan
    guard(0.7, modes)
    assert guard.broken == {2: 0.5, 0: 0.7}
