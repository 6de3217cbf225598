"""One step as a module: batches, families, gradients, precision, and what is refused."""

import copy
import math

import pytest
import sympy as sp
import torch
from torch import nn

from pdeml.errors import InvalidDataset, InvalidOption, InvalidProblem, UnsupportedProblem
from pdeml.operators.pde import PDE, Dirichlet, Initial, Parameter, Periodic
from pdeml.solvers.spectral import BlowUp, Stepper
from tests.solvers.spectral.declarations import (
    KDV,
    KS,
    TURN,
    box,
    declared_start,
    evolution,
    flow,
    grid_points,
    h,
    half,
    orders,
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
force = Parameter("f", 0.5)
BURGERS = evolution(nu * u.diff(x, 2) - u * u.diff(x) + force * sp.sin(2 * x), domain=box(TURN))
SQUARE = box(TURN, TURN)


def start(n=32, batch=1, problem=BURGERS, count=1):
    dim = len(problem.space_coordinates)
    return random_values(problem, (n,) * dim, count, 4, batch=batch)


# ------------------------------------------------------------------------------------------ batches


@pytest.mark.parametrize(
    "problem, n, count, dt",
    [
        (KS, 64, 1, 0.1),
        (vorticity(SQUARE, 0, nu=sp.Rational(1, 50), beta=2), 32, 1, 0.05),
        (flow((x, y), sp.Rational(1, 50), SQUARE), 32, 2, 0.05),
        (periodic([u.diff(t, 2) - u.diff(x, 2) + u**3], (u,)), 32, 2, 0.1),
    ],
    ids=["ks", "vorticity", "flow", "klein_gordon"],
)
def test_a_batch_is_its_members(problem, n, count, dt):
    stepper = Stepper(problem, n, dt)
    values = start(n, 37, problem, count)
    together = stepper.rollout(values, 20, every=10)
    for i in (0, 17, 36):
        alone = stepper.rollout(values[i : i + 1], 20, every=10)
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("scheme", ["etdrk4", "cnab2"])
def test_a_family_of_parameters_is_separate_solves(scheme):
    values = start(batch=3)
    family = torch.tensor([0.05, 0.2, 1.0], dtype=torch.float64)
    forces = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)
    together = Stepper(BURGERS, 32, 0.02, scheme=scheme, parameters={nu: family, "f": forces})
    found = together.rollout(values, 25, every=25)
    for i in range(3):
        single = {"nu": family[i].item(), "f": forces[i].item()}
        alone = Stepper(BURGERS, 32, 0.02, scheme=scheme, parameters=single)
        expected = alone.rollout(values[i : i + 1], 25, every=25)
        torch.testing.assert_close(found[i : i + 1], expected, atol=1e-12, rtol=0)
    assert relative(found[0], found[1]) > 0.1


def test_one_state_may_meet_a_family():
    family = torch.tensor([0.05, 0.2, 1.0], dtype=torch.float64)
    stepper = Stepper(BURGERS, 32, 0.02, parameters={nu: family})
    one = start()
    torch.testing.assert_close(stepper(one), stepper(one.expand(3, -1, -1)), atol=0, rtol=0)
    with pytest.raises(InvalidOption, match=r"values holds 2 trajectories.*parameters= are 3"):
        stepper(start(batch=2))


# ----------------------------------------------------------------------------- ways to make a step


def test_rollout_forward_and_hat_agree():
    stepper = Stepper(KS, 64, 0.1)
    values = start(64, 2, KS)
    path = stepper.rollout(values, 12, every=3)
    assert path.shape == (2, 4, 1, 64)
    modes, state = stepper.transform(values), values
    for i in range(12):
        modes, state = stepper.hat(modes), stepper(state)
        if i % 3 == 2:
            inverse = stepper.inverse_transform(modes)
            torch.testing.assert_close(path[:, i // 3], inverse, atol=1e-13, rtol=0)
            torch.testing.assert_close(path[:, i // 3], state, atol=1e-12, rtol=0)


def test_a_rollout_may_be_cut_in_two():
    """Time goes on: the force depends on it."""
    problem = evolution(u.diff(x, 2) / 9 - u**2 / 2 + sp.cos(3 * t) * sp.sin(x), domain=box(TURN))
    stepper = Stepper(problem, 32, 0.05)
    values = start(problem=problem)
    whole = stepper.rollout(values, 20, every=10, time=0.3)
    second = stepper.rollout(whole[:, 0], 10, every=10, time=0.3 + 0.5)
    torch.testing.assert_close(second[:, 0], whole[:, 1], atol=1e-13, rtol=0)
    assert relative(stepper.rollout(values, 20, every=20)[:, 0], whole[:, 1]) > 1e-2
    shifted = PDE("later", problem.equations, box(TURN, end=2), [Initial(u, 0), Periodic(u, x)])
    torch.testing.assert_close(
        Stepper(shifted, 32, 0.05)(values), stepper(values, time=0.0), atol=0, rtol=0
    )


def test_multistep_schemes_start_with_a_one_step_scheme():
    values = start()
    step = Stepper(BURGERS, 32, 0.02, scheme="cnab2")
    plain = Stepper(BURGERS, 32, 0.02)
    torch.testing.assert_close(step(values), plain(values), atol=0, rtol=0)
    two = step.rollout(values, 2)
    torch.testing.assert_close(two[:, 0], plain(values), atol=1e-14, rtol=0)
    assert 1e-9 < relative(two[:, 1], plain.rollout(values, 2)[:, 1]) < 1e-3


def test_the_propagator_is_the_exponential():
    stepper = Stepper(KDV, 64, 1e-3)
    k = TURN / 20 * torch.arange(stepper.system.grid.modes[0], dtype=torch.float64)
    expected = torch.exp(1j * k**3 * 1e-3)
    torch.testing.assert_close(stepper.propagator()[0], expected)
    torch.testing.assert_close(stepper.propagator(0.5)[0], torch.exp(0.5j * k**3))
    waves = periodic([u.diff(t, 2) - 4 * u.diff(x, 2)], (u,))
    step = Stepper(waves, 16, 0.3)
    assert step.propagator().shape == (2, 2, 9)
    (xs,) = grid_points(waves, (16,))
    standing = torch.stack([torch.cos(3 * xs), 0 * xs])[None]
    modes = step.transform(standing)
    moved = (step.propagator(1.7) * modes.unsqueeze(1)).sum(2)
    found = step.inverse_transform(moved)[0]
    torch.testing.assert_close(found[0], math.cos(6 * 1.7) * torch.cos(3 * xs))
    torch.testing.assert_close(found[1], -6 * math.sin(6 * 1.7) * torch.cos(3 * xs))
    torch.testing.assert_close(step.hat(modes), (step.propagator() * modes.unsqueeze(1)).sum(2))
    family = Stepper(BURGERS, 32, 0.1, parameters={nu: torch.tensor([0.1, 0.3])})
    assert family.propagator().shape == (2, 1, 11)
    with pytest.raises(InvalidOption, match="dt=-1"):
        stepper.propagator(-1)


def test_channels_are_named_and_ordered():
    assert Stepper(KS, 16, 0.1).channels == ("u",)
    mixed = periodic([u.diff(t, 2) - u.diff(x, 2) + v, v.diff(t) - u.diff(t)], (u, v))
    assert Stepper(mixed, 16, 0.1).channels == ("u", "v", "u_t")
    assert Stepper(vorticity(SQUARE, 0), 16, 0.1).channels == ("w",)


def test_all_fields_of_a_state():
    problem = vorticity(SQUARE, 0)
    stepper = Stepper(problem, 16, 0.1)
    a, b = grid_points(problem, (16, 16))
    omega = (5 * torch.sin(a + 2 * b))[None, None]
    fields = stepper.fields(stepper.transform(omega))
    torch.testing.assert_close(fields[:, :1], omega, atol=1e-14, rtol=0)
    torch.testing.assert_close(fields[:, 1:], omega / 5, atol=1e-14, rtol=0)


# ---------------------------------------------------------------------------------------- gradients


def quotient(function, value, eps):
    return (function(value + eps) - function(value - eps)) / (2 * eps)


def energy(values, steps=10, parameters=None, problem=BURGERS, n=32, scheme="etdrk4", **options):
    stepper = Stepper(problem, n, 0.05, scheme=scheme, parameters=parameters)
    return stepper.rollout(values, steps, every=steps, **options).square().sum()


@pytest.mark.parametrize("scheme", ["etdrk4", "etdrk2", "ifrk4", "sbdf3"])
def test_gradient_in_the_initial_value(scheme):
    values = start(batch=2).requires_grad_()
    (gradient,) = torch.autograd.grad(energy(values, scheme=scheme), values)
    direction = start(batch=2, count=1).flip(-1)
    with torch.no_grad():
        expected = quotient(
            lambda e: energy(values + e * direction, scheme=scheme), 0.0, 1e-5
        ).item()
    assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["nu", "f"])
@pytest.mark.parametrize("family", [False, True])
@pytest.mark.parametrize("needs", [False, True], ids=["u0 fixed", "u0 too"])
def test_gradient_in_a_parameter(name, family, needs):
    """Through L (ν) and through a steady force (f), with and without a gradient in the state."""
    base = torch.tensor([0.2, 0.3] if family else 0.2, dtype=torch.float64)
    values = start(batch=2).requires_grad_(needs)
    leaf = base.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(values, parameters={name: leaf}), leaf)
    values = values.detach()
    if not family:
        expected = quotient(lambda p: energy(values, parameters={name: p}), base, 1e-5)
        assert gradient.item() == pytest.approx(expected.item(), rel=1e-6)
        return
    for i in range(2):
        expected = quotient(
            lambda p, i=i: energy(values[i : i + 1], parameters={name: p}), base[i], 1e-5
        )
        assert gradient[i].item() == pytest.approx(expected.item(), rel=1e-6)


c = Parameter("c", 1.0)
COUPLED = {
    "wave": (periodic([u.diff(t, 2) - c**2 * u.diff(x, 2)], (u,)), 2),
    "klein_gordon": (periodic([u.diff(t, 2) - c**2 * u.diff(x, 2) + c * u**3], (u,)), 2),
    "cross_diffusion": (
        evolution(
            u.diff(x, 2) + c * v.diff(x, 2) - u**2 * v,
            v.diff(x, 2) / 3 + u.diff(x, 2) / 5 + u * v,
            fields=(u, v),
        ),
        2,
    ),
    "beta_plane": (vorticity(SQUARE, 0, nu=half, beta=c), 1),
    "moving_force": (evolution(u.diff(x, 2) - u**2 + c * sp.sin(x + t)), 1),
}


@pytest.mark.parametrize("name", COUPLED)
def test_gradient_in_a_parameter_of_a_coupled_symbol(name):
    problem, count = COUPLED[name]
    n = 16
    values = start(n, 1, problem, count)
    at = torch.tensor(1.3, dtype=torch.float64)
    leaf = at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(values, 4, {c: leaf}, problem, n), leaf)
    expected = quotient(lambda p: energy(values, 4, {c: p}, problem, n), at, 1e-5)
    assert gradient.item() == pytest.approx(expected.item(), rel=1e-6)


def test_gradcheck_of_one_step():
    stepper = Stepper(BURGERS, 16, 0.1)
    values = start(16).requires_grad_()
    assert torch.autograd.gradcheck(stepper, values)
    complex_case = evolution(
        (1 + 2 * sp.I) * h.diff(x, 2) + h - sp.Abs(h) ** 2 * h, fields=(h,), domain=box(TURN)
    )
    step = Stepper(complex_case, 8, 0.1)
    values = random_values(complex_case, (8,), 1, 3).requires_grad_()
    assert torch.autograd.gradcheck(step, values)


def test_gradients_after_a_rollout_without():
    """What was prepared without gradients must serve with them, also for a multi-step scheme."""
    values = start()
    for scheme in ("cnab2", "etdrk4"):
        stepper = Stepper(BURGERS, 32, 0.05, scheme=scheme)
        plain = stepper.rollout(values, 10, every=10)
        leaf = values.clone().requires_grad_()
        path = stepper.rollout(leaf, 10, every=10)
        torch.testing.assert_close(path.detach(), plain, atol=1e-15, rtol=0)
        (gradient,) = torch.autograd.grad(path.square().sum(), leaf)
        assert torch.isfinite(gradient).all() and gradient.abs().max() > 0.1
        assert not plain.is_inference()


@pytest.mark.parametrize("scheme", ["etdrk4", "cnab2"])
def test_checkpoints_give_the_same_gradients_with_fewer_tensors_kept(scheme):
    values = start()

    def run(every, *leaves):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda s: kept.append(s) or s, lambda s: s):
            viscosity = {nu: leaves[1]} if len(leaves) > 1 else None
            loss = energy(leaves[0], 40, viscosity, scheme=scheme, checkpoint_every=every)
        return torch.autograd.grad(loss, leaves), len(kept)

    leaf = values.clone().requires_grad_()
    ((first,), many), ((second,), few) = run(None, leaf), run(8, leaf)
    torch.testing.assert_close(first, second, atol=1e-13, rtol=1e-13)
    assert few < many / 4
    slope = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(
        run(None, leaf, slope)[0], run(7, leaf, slope)[0], atol=1e-12, rtol=1e-12
    )


def test_a_parameter_that_is_trained_is_seen():
    """An optimiser changes the tensor in place; the next step must use its new value."""
    leaf = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    stepper = Stepper(BURGERS, 32, 0.05, parameters={nu: leaf})
    values = start()
    target = Stepper(BURGERS, 32, 0.05, parameters={nu: 0.35}).rollout(values, 5, every=5)
    optimiser = torch.optim.LBFGS([leaf], lr=1, max_iter=12, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = 1e4 * (stepper.rollout(values, 5, every=5) - target).square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert leaf.item() == pytest.approx(0.35, abs=1e-5)


# ---------------------------------------------------------------------------- precision, modules


def test_single_precision_kuramoto_sivashinsky():
    values = declared_start(KS, (128,))
    exact = Stepper(KS, 128, 0.05).rollout(values, 100, every=100)
    single = Stepper(KS, 128, 0.05, dtype="float32").rollout(values.float(), 100, every=100)
    assert single.dtype == torch.float32
    assert relative(single.double(), exact) < 5e-5


def test_moving_to_another_precision_makes_the_functions_anew():
    """Rounded to float32 and back, φ functions would keep an error of 1e-7."""
    values = start()
    stepper = Stepper(BURGERS, 32, 0.05)
    expected = stepper(values)
    there = stepper.to(torch.float32)
    assert there is stepper and stepper(values.float()).dtype == torch.float32
    assert stepper.propagator().dtype == torch.complex64
    assert relative(stepper(values.float()).double(), expected) < 1e-6
    torch.testing.assert_close(stepper.double()(values), expected, atol=0, rtol=0)
    with pytest.raises(InvalidOption, match="float64"):
        stepper.half()


def test_inside_another_module():
    class Corrected(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = Stepper(BURGERS, 32, 0.05)
            self.gain = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

        def forward(self, values):
            return (1 + self.gain) * self.step(values)

    model = Corrected()
    values = start()
    model(values).square().sum().backward()
    assert model.gain.grad is not None and list(model.state_dict()) == ["gain"]
    single = copy.deepcopy(model).float()
    assert single(values.float()).dtype == torch.float32
    assert model(values).dtype == torch.float64
    model.load_state_dict(Corrected().state_dict())


def test_copies_are_independent():
    values = start()
    stepper = Stepper(BURGERS, 32, 0.05)
    twin = copy.deepcopy(stepper).float()
    assert stepper(values).dtype == torch.float64 and twin(values.float()).dtype == torch.float32
    leaf = torch.tensor(0.2, dtype=torch.float64)
    family = Stepper(BURGERS, 32, 0.05, parameters={nu: leaf})
    torch.testing.assert_close(copy.deepcopy(family)(values), family(values), atol=0, rtol=0)


def test_the_description_says_what_it_is():
    shown = repr(Stepper(vorticity(SQUARE, 0, name="flow"), (16, 32), 0.25, scheme="cnab2"))
    assert "flow" in shown and "16×32 points" in shown and "dt=0.25" in shown and "cnab2" in shown


# ------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "values, word",
    [
        (torch.zeros(1, 1, 31), r"shape \(1, 1, 31\).*\(B, 1, 32\).*channels u.*32 points"),
        (torch.zeros(1, 2, 32), r"shape \(1, 2, 32\)"),
        (torch.zeros(1, 32), r"shape \(1, 32\)"),
        (torch.zeros(32), r"shape \(32,\)"),
        (torch.zeros(1, 1, 32, dtype=torch.complex128), "complex.*are real"),
    ],
    ids=["points", "channels", "batch", "vector", "complex"],
)
def test_values_of_another_kind_are_named(values, word):
    stepper = Stepper(BURGERS, 32, 0.1)
    for call in (stepper, stepper.transform, lambda q: stepper.rollout(q, 2)):
        with pytest.raises(InvalidOption, match=word):
            call(values)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite(bad):
    values = start(batch=2)
    values[1, 0, 3] = bad
    with pytest.raises(InvalidDataset, match="values has NaN or infinite entries"):
        Stepper(BURGERS, 32, 0.1)(values)


@pytest.mark.parametrize("dt", [0, -0.1, math.nan, math.inf, "0.1", True, None])
def test_bad_steps_are_named(dt):
    with pytest.raises(InvalidOption, match=r"dt=.*positive"):
        Stepper(BURGERS, 32, dt)


@pytest.mark.parametrize("resolution", [3, 0, -8, 16.0, (16, 16), (), "16", True, None])
def test_bad_resolutions_are_named(resolution):
    with pytest.raises(InvalidOption, match=r"resolution=.*at least 4"):
        Stepper(BURGERS, resolution, 0.1)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"scheme": "rk4"}, "scheme='rk4'.*etdrk4"),
        ({"scheme": None}, "scheme=None"),
        ({"dealias": "none"}, "dealias='none'"),
        ({"mode": None}, "mode=None"),
        ({"dtype": "bfloat16"}, "dtype|bfloat16"),
        ({"dtype": "float16"}, "dtype|float16"),
        ({"parameters": {"mu": 1.0}}, "mu"),
        ({"parameters": {"nu": torch.zeros(2, 2)}}, r"nu.*shape \(2, 2\)"),
        ({"parameters": {"nu": torch.tensor([1, 2])}}, "nu.*int64"),
        ({"parameters": {"nu": torch.tensor([1.0, math.nan])}}, "nu.*finite"),
        ({"parameters": {"nu": torch.ones(2), "f": torch.ones(3)}}, "batches of 2, 3"),
        ({"parameters": {"nu": torch.zeros(0)}}, "nu"),
    ],
    ids=str,
)
def test_bad_options_are_named(options, word):
    with pytest.raises(InvalidOption, match=word):
        Stepper(BURGERS, 32, 0.1, **options)


@pytest.mark.parametrize(
    "value", [-0.1, torch.tensor([0.1, -0.1]), torch.tensor([-0.1, 0.1, 0.2]), torch.tensor(0.0)]
)
def test_every_member_of_a_family_keeps_the_sign_of_its_parameter(value):
    with pytest.raises((InvalidProblem, InvalidOption), match="nu"):
        Stepper(BURGERS, 32, 0.1, parameters={"nu": value})


def test_other_boundaries_are_refused():
    domain = box(TURN)
    walls = PDE("heat", [u.diff(t) - u.diff(x, 2)], domain, [Initial(u, 0), Dirichlet(u, 0)])
    with pytest.raises(UnsupportedProblem, match=r"periodic.*Dirichlet\(u, 0\)"):
        Stepper(walls, 32, 0.1)


def test_rollouts_need_whole_counts():
    stepper = Stepper(BURGERS, 32, 0.1)
    for count, every, word in ((0, 1, "steps=0"), (2.0, 1, "steps=2.0"), (5, 2, "no multiple")):
        with pytest.raises(InvalidOption, match=word):
            stepper.rollout(start(), count, every=every)
    with pytest.raises(InvalidOption, match="every=0"):
        stepper.rollout(start(), 4, every=0)
    for count in (0, -1, 2.5):
        with pytest.raises(InvalidOption, match="checkpoint_every"):
            stepper.rollout(start(), 4, checkpoint_every=count)


def test_a_rollout_that_blows_up_says_which_and_when():
    problem = evolution(u.diff(x, 2) + u**2, domain=box(TURN))
    values = torch.stack([torch.full((1, 16), s, dtype=torch.float64) for s in (-1.0, 4.0, 0.1)])
    with pytest.raises(BlowUp, match=r"trajectory 1.*before t =") as caught:
        Stepper(problem, 16, 0.05).rollout(values, 100)
    assert caught.value.trajectories == (1,) and 0.2 <= caught.value.time <= 3


def test_order_of_a_step_as_a_module():
    """`forward` alone, without the march: the same fourth order."""
    values = declared_start(KDV, (64,))

    def end(count):
        stepper, state = Stepper(KDV, 64, 0.05 / count), values
        for _ in range(count):
            state = stepper(state)
        return state

    fine = end(160)
    found = [relative(end(count), fine) for count in (10, 20)]
    assert 3.6 < orders(found)[0] < 4.4
