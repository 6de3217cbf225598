"""Batches by `solve`: shapes, families, lost and interrupted runs, error estimates, labels."""

import math

import matplotlib.figure
import numpy as np
import pytest
import sympy as sp
import torch

import pdeml
from pdeml.errors import InvalidDataset, InvalidOption, InvalidProblem
from pdeml.operators.pde import Parameter
from pdeml.solvers.spectral import BlowUp, Stepper, ensemble
from pdeml.solvers.spectral.system import SemilinearSystem
from tests.solvers.spectral.declarations import (
    TURN,
    box,
    evolution,
    flow,
    grid_points,
    h,
    half,
    periodic,
    random_values,
    relative,
    t,
    u,
    v,
    vorticity,
    x,
    y,
)

nu = Parameter("nu", 0.1, positive=True)
a = Parameter("a", 1.0)
BURGERS = evolution(nu * u.diff(x, 2) - u * u.diff(x), domain=box(TURN), initial={u: a * sp.sin(x)})
PLANE = vorticity(box(TURN, 4 * sp.pi), sp.sin(x) + sp.cos(x + y / 2), nu=half / 10)


def solve(problem, **options):
    return pdeml.solve(problem, "spectral", **options)


def starts(batch, n=32, problem=BURGERS, count=1):
    dim = len(problem.space_coordinates)
    return random_values(problem, (n,) * dim, count, 4, batch=batch)


# ---------------------------------------------------------------------------------- what comes back


def test_values_at_the_times_are_those_of_a_stepper():
    initial = starts(3)
    found = solve(BURGERS, initial=initial, dt=0.02, times=[0.1, 0.5, 1.0])
    assert len(found) == 3 and found.values.shape == (3, 3, 1, 32)
    assert found.times.tolist() == [0.1, 0.5, 1.0]
    step = Stepper(BURGERS, 32, 0.02)
    path = step.rollout(initial, 50, every=1)
    for i, count in enumerate((5, 25, 50)):
        torch.testing.assert_close(found.values[:, i], path[:, count - 1], atol=1e-12, rtol=0)
    assert found.report.iterations == 50 and found.report.engine == "ETDRK4"


def test_the_start_is_kept_where_it_is_asked_for():
    initial = starts(2)
    found = solve(BURGERS, initial=initial, dt=0.1, times=[0, 1])
    torch.testing.assert_close(found.values[:, 0], initial, atol=1e-14, rtol=0)
    only = solve(BURGERS, initial=initial, dt=0.1, times=[0.0])
    torch.testing.assert_close(only.values[:, 0], initial, atol=1e-14, rtol=0)
    assert only.values.shape == (2, 1, 1, 32)


def test_times_are_those_of_the_declaration_by_default():
    found = solve(BURGERS, initial=starts(2, 16), dt=0.1)
    assert found.values.shape[1] == 101
    torch.testing.assert_close(found.times, torch.linspace(0, 1, 101, dtype=torch.float64))


def test_adaptive_and_fixed_steps_agree():
    initial = starts(4)
    adaptive = solve(BURGERS, initial=initial, times=[0.3, 1.0], rtol=1e-9)
    fixed = solve(BURGERS, initial=initial, times=[0.3, 1.0], dt=1 / 500)
    assert relative(adaptive.values, fixed.values) < 1e-7
    loose = solve(BURGERS, initial=initial, times=[0.3, 1.0], rtol=1e-3)
    assert 1e-8 < relative(loose.values, fixed.values) < 1e-2
    assert loose.report.iterations < adaptive.report.iterations


def test_an_absolute_tolerance_lets_small_states_go():
    initial = starts(2) / 10
    exact = solve(BURGERS, initial=initial, times=[1.0], rtol=1e-12)
    loose = solve(BURGERS, initial=initial, times=[1.0], rtol=1e-12, atol=1e-3)
    assert loose.report.iterations < exact.report.iterations
    assert (loose.values - exact.values).abs().max() < 1e-3


def test_all_fields_come_in_the_order_of_the_declaration():
    initial = starts(2, 32, PLANE)
    found = solve(PLANE, initial=initial, dt=0.05, times=[1.0])
    assert found.values.shape == (2, 1, 2, 32, 32)
    step = Stepper(PLANE, 32, 0.05)
    end = step.rollout(initial, 20, every=20)[:, 0]
    expected = step.fields(step.transform(end))
    torch.testing.assert_close(found.values[:, 0], expected, atol=1e-12, rtol=0)
    problem = flow((x, y), half / 10, box(TURN, TURN))
    found = solve(problem, initial=starts(2, 16, problem, 2), dt=0.05, times=[0.5])
    assert found.values.shape == (2, 1, 3, 16, 16)
    assert found.values[:, :, 2].abs().max() > 1e-3


def test_second_order_in_time_starts_from_value_and_rate():
    waves = periodic([u.diff(t, 2) - 4 * u.diff(x, 2)], (u,), box(TURN, end=2))
    (xs,) = grid_points(waves, (16,))
    initial = torch.stack([torch.sin(xs), 0 * xs]).expand(3, 2, 16)
    found = solve(waves, initial=initial, dt=1.0, times=[1.3])
    assert found.values.shape == (3, 1, 1, 16)
    expected = math.cos(2.6) * torch.sin(xs)
    torch.testing.assert_close(found.values[1, 0, 0], expected, atol=1e-13, rtol=0)


def test_complex_fields():
    problem = periodic(
        [sp.Eq(sp.I * h.diff(t) + h.diff(x, 2) / 2 + sp.Abs(h) ** 2 * h, 0)], (h,), box(TURN)
    )
    found = solve(problem, initial=starts(2, 32, problem), dt=0.01, times=[1.0])
    assert found.values.dtype == torch.complex128
    mass = found.values.abs().square().mean(-1).flatten()
    begin = starts(2, 32, problem).abs().square().mean(-1).flatten()
    torch.testing.assert_close(mass, begin, atol=0, rtol=1e-6)
    # a real start of a complex field is accepted
    assert solve(problem, initial=torch.ones(2, 1, 16), dt=0.1, times=[1.0]).values.is_complex()


def test_a_grid_of_another_size():
    """Values on 16 points are a trigonometric sum, which 48 points hold exactly, and back."""
    initial = starts(3, 16)
    found = solve(BURGERS, initial=initial, resolution=48, dt=0.01, times=[0, 1])
    assert found.values.shape == (3, 2, 1, 48)
    torch.testing.assert_close(found.values[:, 0, :, ::3], initial, atol=1e-13, rtol=0)
    fine = solve(BURGERS, initial=starts(3, 48), dt=0.01, times=[0, 1])
    torch.testing.assert_close(found.values, fine.values, atol=1e-12, rtol=0)
    coarse = solve(BURGERS, initial=starts(3, 48), resolution=16, dt=0.01, times=[0])
    torch.testing.assert_close(coarse.values[:, 0], initial, atol=1e-13, rtol=0)


# ----------------------------------------------------------------------------------------- families


def test_a_family_of_parameters_with_a_declared_start_that_depends_on_one():
    sizes = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    viscosities = torch.tensor([0.05, 0.1, 0.4], dtype=torch.float64)
    family = {a: sizes, "nu": viscosities}
    found = solve(BURGERS, parameters=family, resolution=64, dt=0.01, times=[0, 1])
    (xs,) = grid_points(BURGERS, (64,))
    torch.testing.assert_close(
        found.values[:, 0, 0], sizes[:, None] * torch.sin(xs), atol=1e-14, rtol=0
    )
    assert set(found.parameters) == {"a", "nu"} and found.parameters["nu"] is viscosities
    for i in range(3):
        one = {"a": sizes[i].item(), "nu": viscosities[i].item()}
        alone = Stepper(BURGERS, 64, 0.01, parameters=one)
        end = alone.rollout((sizes[i] * torch.sin(xs))[None, None], 100, every=100)[0, 0]
        torch.testing.assert_close(found.values[i, 1], end, atol=1e-12, rtol=0)


def test_one_start_for_a_family_and_a_function_of_points():
    family = {"nu": torch.tensor([0.1, 0.3], dtype=torch.float64)}
    (xs,) = grid_points(BURGERS, (32,))
    by_values = solve(BURGERS, parameters=family, initial=torch.sin(xs), dt=0.1, times=[1.0])
    by_points = solve(
        BURGERS, parameters=family, initial=torch.sin, resolution=32, dt=0.1, times=[1.0]
    )
    declared = solve(BURGERS, parameters=family, resolution=32, dt=0.1, times=[1.0])
    torch.testing.assert_close(by_values.values, declared.values, atol=1e-14, rtol=0)
    torch.testing.assert_close(by_points.values, declared.values, atol=1e-14, rtol=0)
    assert by_values.values.shape == (2, 1, 1, 32)


def test_a_batch_of_one():
    one = solve(BURGERS, parameters={"nu": torch.tensor([0.1])}, resolution=32, dt=0.1, times=[1.0])
    assert one.values.shape == (1, 1, 1, 32)


def test_chunks_change_nothing(monkeypatch):
    initial = starts(7)
    family = {"nu": torch.linspace(0.05, 0.5, 7, dtype=torch.float64)}
    options = {"initial": initial, "parameters": family, "dt": 0.05, "times": [0.5, 1.0]}
    whole = solve(BURGERS, **options)
    seen = []
    build = ensemble.EnsembleRun._built

    def counted(self, lower, lengths, shape, rows):
        seen.append(rows)
        return build(self, lower, lengths, shape, rows)

    monkeypatch.setattr(ensemble.EnsembleRun, "_built", counted)
    monkeypatch.setattr(ensemble, "CHUNK_ENTRIES", 3 * 32)
    parts = solve(BURGERS, **options)
    torch.testing.assert_close(parts.values, whole.values, atol=1e-13, rtol=0)
    assert seen[:3] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    # what a chunk loses is numbered in the whole batch
    growth = evolution(u**2, domain=box(TURN))
    initial = torch.zeros(7, 1, 32, dtype=torch.float64)
    initial[4] = 3.0
    found = solve(growth, initial=initial, dt=0.05, times=[0.5, 1.0], on_blowup="mask")
    assert set(found.lost) == {4}


# ------------------------------------------------------------------------------------ what is said


def test_the_report_says_how_far_a_finer_run_is():
    initial = 2 * starts(3)
    # limited by both, by the grid, and by the steps
    for dt, n in ((0.1, 32), (0.01, 32), (0.05, 12), (0.2, 64)):
        found = solve(BURGERS, initial=starts(3, n) * 2, dt=dt, times=[0.5, 1.0])
        exact = solve(BURGERS, initial=initial[:1], resolution=96, dt=0.002, times=[0.5, 1.0])
        points = torch.fft.irfft(torch.fft.rfft(exact.values)[..., : n // 2], n=n) * n / 96
        true = relative(found.values[:1], points)
        said = found.report.error["l2_relative"]
        assert 0.3 * true < said < 3 * true
        assert found.report.converged == (said < 1e-3)
    assert found.report.reference == "self-convergence"
    assert any("trajectory 0 against 96 points and half the step" in n for n in found.report.notes)


def test_labels():
    family = {"nu": torch.tensor([0.1, 0.3], dtype=torch.float64)}
    data = solve(PLANE, initial=starts(2, 16, PLANE), dt=0.1, times=[0.5, 1.0]).to_xarray()
    assert data["w"].dims == ("sample", "t", "x", "y") and set(data.data_vars) == {"w", "psi"}
    np.testing.assert_allclose(data["x"], np.arange(16) * TURN / 16)
    np.testing.assert_allclose(data["y"], np.arange(16) * 2 * TURN / 16)
    np.testing.assert_allclose(data["t"], [0.5, 1.0])
    found = solve(BURGERS, parameters=family, resolution=16, dt=0.1, times=[1.0])
    data = found.to_xarray()
    assert data["nu"].dims == ("sample",) and data["nu"].values.tolist() == [0.1, 0.3]
    np.testing.assert_allclose(data["u"].sel(sample=1)[0], found.values[1, 0, 0])
    assert data.attrs["method"] == "spectral"


@pytest.mark.parametrize("problem, n", [(BURGERS, 16), (PLANE, 16)], ids=["line", "plane"])
def test_pictures(problem, n):
    found = solve(problem, initial=starts(2, n, problem), dt=0.1, times=[0, 0.5, 1.0])
    assert isinstance(found.plot(), matplotlib.figure.Figure)
    assert isinstance(found.plot(sample=1), matplotlib.figure.Figure)


def interrupting(monkeypatch, after):
    """A KeyboardInterrupt at the first right-hand side later than `after`."""
    plain = SemilinearSystem.rhs

    def rhs(self, modes, time):
        if float(time) > after:
            raise KeyboardInterrupt
        return plain(self, modes, time)

    monkeypatch.setattr(SemilinearSystem, "rhs", rhs)


@pytest.mark.parametrize("options", [{"dt": 0.02}, {"rtol": 1e-6}], ids=["fixed", "adaptive"])
def test_an_interrupt_keeps_what_is_done(monkeypatch, options):
    initial = starts(2)
    times = [0.2, 0.4, 0.6, 0.8, 1.0]
    whole = solve(BURGERS, initial=initial, times=times, **options)
    interrupting(monkeypatch, 0.65)
    found = solve(BURGERS, initial=initial, times=times, **options)
    assert found.report.interrupted and found.values.shape == whole.values.shape
    torch.testing.assert_close(found.values[:, :3], whole.values[:, :3], atol=1e-14, rtol=0)
    assert torch.isnan(found.values[:, 3:]).all()
    assert any("interrupted" in note for note in found.report.notes)
    assert found.report.converged is None and found.report.error is None


def test_an_interrupt_before_anything_is_done_goes_on(monkeypatch):
    interrupting(monkeypatch, -1.0)
    with pytest.raises(KeyboardInterrupt):
        solve(BURGERS, initial=starts(2), dt=0.1, times=[1.0])


# ---------------------------------------------------------------------------------------- gradients


def test_gradients_reach_starts_and_parameters():
    initial = starts(2).requires_grad_()
    family = torch.tensor([0.1, 0.3], dtype=torch.float64, requires_grad=True)

    def loss(initial, family):
        found = solve(BURGERS, initial=initial, parameters={nu: family}, dt=0.05, times=[0.5, 1.0])
        return found.values.square().sum()

    first, second = torch.autograd.grad(loss(initial, family), [initial, family])
    direction = starts(2).flip(-1)
    eps = 1e-5
    with torch.no_grad():
        along = (
            loss(initial + eps * direction, family) - loss(initial - eps * direction, family)
        ) / (2 * eps)
        slope = (loss(initial, family + eps) - loss(initial, family - eps)) / (2 * eps)
    assert (first * direction).sum().item() == pytest.approx(along.item(), rel=1e-6)
    assert second.sum().item() == pytest.approx(slope.item(), rel=1e-6)


def test_gradients_reach_a_parameter_that_all_share():
    initial = starts(2)

    def loss(value):
        options = {"initial": initial, "parameters": {nu: value}, "dt": 0.05, "times": [1.0]}
        return pdeml.solvers.spectral.solve(BURGERS, **options).values.square().sum()

    at = torch.tensor(0.2, dtype=torch.float64)
    leaf = at.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf), leaf)
    expected = (loss(at + 1e-5) - loss(at - 1e-5)) / 2e-5
    assert slope.item() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(InvalidOption, match="fixed step: give dt"):
        pdeml.solvers.spectral.solve(BURGERS, initial=initial, parameters={nu: leaf})
    (again,) = torch.autograd.grad(
        solve(BURGERS, initial=initial, parameters={nu: leaf}, dt=0.05, times=[1.0])
        .values.square()
        .sum(),
        leaf,
    )
    assert again.item() == slope.item()


def test_gradients_need_a_fixed_step():
    initial = starts(2).requires_grad_()
    with pytest.raises(InvalidOption, match="fixed step: give dt"):
        solve(BURGERS, initial=initial, times=[1.0])
    with torch.no_grad():
        assert torch.isfinite(solve(BURGERS, initial=initial, times=[1.0]).values).all()


def test_checkpoints_of_a_batch():
    initial = starts(2).requires_grad_()
    found = [
        torch.autograd.grad(
            solve(BURGERS, initial=initial, dt=0.02, times=[1.0], checkpoint_every=every)
            .values.square()
            .sum(),
            initial,
        )[0]
        for every in (None, 7)
    ]
    torch.testing.assert_close(*found, atol=1e-13, rtol=1e-13)


# ------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "options, word",
    [
        ({"initial": torch.zeros(2, 2, 32)}, r"initial= has shape \(2, 2, 32\).*\(B, 1, n\)"),
        ({"initial": torch.zeros(2, 1, 3)}, r"initial= has shape \(2, 1, 3\)"),
        ({"initial": torch.zeros(2, 1, 32, dtype=torch.complex128)}, "initial= is complex"),
        ({"initial": torch.zeros(2, 1, 32), "on_blowup": "ignore"}, "on_blowup='ignore'.*'mask'"),
        ({"initial": torch.zeros(2, 1, 32), "times": [0.5, 1.5]}, r"times holds 1\.5.*\[0, 1\]"),
        ({"initial": torch.zeros(2, 1, 32), "times": [math.nan]}, "times holds nan"),
        ({"initial": torch.zeros(2, 1, 32), "dt": -1}, "dt=-1"),
        ({"initial": torch.zeros(2, 1, 32), "rtol": 0}, "rtol=0"),
        ({"initial": torch.zeros(2, 1, 32), "atol": -1.0}, r"atol=-1\.0"),
        ({"initial": torch.zeros(2, 1, 32), "atol": math.nan}, "atol=nan"),
        ({"initial": torch.zeros(2, 1, 32), "scheme": "euler"}, "scheme='euler'"),
        ({"initial": torch.zeros(2, 1, 32), "scheme": "cnab2"}, "scheme='cnab2'.*give dt"),
        ({"initial": torch.zeros(2, 1, 32), "dealias": "no"}, "dealias='no'"),
        ({"initial": torch.zeros(2, 1, 32), "mode": "no"}, "mode='no'"),
        ({"initial": torch.zeros(2, 1, 32), "checkpoint_every": 0}, "checkpoint_every=0"),
        ({"parameters": {"nu": torch.tensor([0.1, 0.2])}}, "give resolution="),
        (
            {"parameters": {"nu": torch.tensor([0.1, 0.2])}, "initial": torch.zeros(3, 1, 32)},
            r"initial= has shape \(3, 1, 32\) and parameters= a batch of 2",
        ),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else None,
)
def test_bad_options_are_named(options, word):
    with pytest.raises(InvalidOption, match=word):
        solve(BURGERS, **options)


@pytest.mark.parametrize(
    "option", [{"rtol": 1e-3}, {"atol": 1e-3}, {"on_blowup": "mask"}, {"checkpoint_every": 5}]
)
def test_options_of_batches_are_no_options_of_one(option):
    (name,) = option
    with pytest.raises(InvalidOption, match=f"{name}=.*is for batches"):
        solve(BURGERS, **option)


def test_values_that_are_not_finite():
    initial = starts(2)
    initial[1, 0, 5] = math.nan
    with pytest.raises(InvalidDataset, match="NaN"):
        solve(BURGERS, initial=initial, dt=0.1)


def test_every_member_of_a_family_is_checked():
    family = torch.tensor([0.1, -0.1, 0.2], dtype=torch.float64)
    with pytest.raises((InvalidProblem, InvalidOption), match="nu"):
        solve(BURGERS, parameters={"nu": family}, resolution=32, dt=0.1)


def test_a_mean_without_stream_function():
    with pytest.raises(InvalidOption, match=r"mean.*psi"):
        solve(PLANE, initial=starts(2, 16, PLANE) + 1, dt=0.1)


def test_a_step_that_overflows():
    backward = evolution(-u.diff(x, 2) + v, v.diff(x, 2), fields=(u, v), domain=box(TURN))
    with pytest.raises(InvalidOption, match="overflows"):
        solve(backward, initial=torch.zeros(2, 2, 256), dt=0.5, times=[1.0])


def test_a_blow_up_of_a_batch_stops_it():
    growth = evolution(u**2, domain=box(TURN, end=3))
    initial = torch.stack([torch.full((1, 16), s) for s in (0.1, 1.0)])
    with pytest.raises(BlowUp, match=r"trajectory 1"):
        solve(growth, initial=initial, rtol=1e-6)
