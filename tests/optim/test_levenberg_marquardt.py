"""Levenberg–Marquardt: its step against normal equations and lstsq, damping, and whole runs."""

import copy

import pytest
import torch

from pdeml.errors import DivergedError, InvalidOption
from pdeml.optim import LevenbergMarquardt
from tests.optim.losses import minimise, regression


def residuals_of(f, x):
    """closure(jacobian) of r = f(x) for one parameter vector x."""

    def closure(jacobian):
        J = torch.autograd.functional.jacobian(f, x.detach()) if jacobian else None
        return f(x), J

    return closure


def network_residuals(network, x, target):
    """closure(jacobian) for (network(x) − target)/√M, the Jacobian by torch.func."""
    names = [name for name, _ in network.named_parameters()]

    def residuals(parameters):
        output = torch.func.functional_call(network, parameters, (x,))
        return ((output - target) / len(x) ** 0.5)[:, 0]

    def closure(jacobian):
        parameters = dict(network.named_parameters())
        J = None
        if jacobian:
            blocks = torch.func.jacrev(residuals)(parameters)
            J = torch.cat([blocks[name].reshape(len(x), -1) for name in names], 1)
        return residuals(parameters), J

    return closure


def random_linear(rows, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return A, torch.randn(rows, generator=generator, dtype=torch.float64)


def test_last_layer_reaches_the_loss_of_lstsq_in_one_accepted_step():
    network, x, target = regression()
    last = network[-1]
    with torch.no_grad():
        network[0].weight.mul_(4)  # features far from collinear
        network[2].weight.mul_(3)
        features = network[:-1](x)
    A = torch.cat([features, torch.ones_like(x)], 1)
    minimum = (A @ torch.linalg.lstsq(A, target).solution - target).square().sum().item()

    def closure(jacobian):
        return (last(features) - target)[:, 0], A if jacobian else None

    optimizer = LevenbergMarquardt(last.parameters(), damping=1e-14)
    loss = optimizer.step(closure).item()
    assert optimizer.accepted
    assert loss <= minimum * (1 + 1e-10)


@pytest.mark.parametrize("rows, columns", [(30, 12), (12, 30), (20, 20)])
@pytest.mark.parametrize("form", ["auto", "dual"])
@pytest.mark.parametrize("geodesic", [False, True])
def test_step_solves_the_damped_normal_equations(geodesic, form, rows, columns):
    """Linear residuals have r″ = 0: the acceleration changes nothing."""
    A, b = random_linear(rows, columns)
    x = torch.nn.Parameter(torch.zeros(columns, dtype=torch.float64))
    optimizer = LevenbergMarquardt([x], damping=0.1, form=form, geodesic=geodesic)
    optimizer.step(residuals_of(lambda v: A @ v - b, x))
    damped = A.T @ A + 0.1 * torch.eye(columns, dtype=torch.float64)
    torch.testing.assert_close(x.detach(), torch.linalg.solve(damped, A.T @ b), rtol=0, atol=1e-12)


def test_primal_and_dual_agree():
    """Three steps of a network regression with more residuals than parameters."""
    ends = []
    for form in ("primal", "dual"):
        network, x, target = regression(points=150)
        optimizer = LevenbergMarquardt(network.parameters(), damping=1.0, form=form)
        for _ in range(3):
            loss = optimizer.step(network_residuals(network, x, target)).item()
        ends.append((loss, torch.nn.utils.parameters_to_vector(network.parameters())))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-10)
    torch.testing.assert_close(ends[0][1], ends[1][1], rtol=0, atol=1e-10)


def test_damping_falls_by_3_when_accepted_and_grows_by_4_when_rejected():
    """r = x³ − 1 from x = 0.2: the Gauss–Newton step to x ≈ 8 raises the loss."""
    x = torch.nn.Parameter(torch.tensor([0.2], dtype=torch.float64))
    calls = []
    inner = residuals_of(lambda v: v**3 - 1, x)

    def closure(jacobian):
        calls.append(jacobian)
        return inner(jacobian)

    optimizer = LevenbergMarquardt([x], damping=1e-3, geodesic=False)
    optimizer.step(closure)
    rejected = len(calls) - 2
    assert calls[0] and not any(calls[1:]) and rejected >= 1
    assert optimizer.damping == pytest.approx(1e-3 * 4**rejected / 3, rel=1e-14)
    assert minimise(optimizer, closure, 60) <= 1e-28


def test_rosenbrock_residuals():
    x = torch.nn.Parameter(torch.full((20,), -1.2, dtype=torch.float64))
    f = lambda v: torch.cat([10 * (v[1:] - v[:-1] ** 2), 1 - v[:-1]])  # noqa: E731
    assert minimise(LevenbergMarquardt([x]), residuals_of(f, x), 300) <= 1e-20
    assert (x - 1).abs().max() <= 1e-10


def test_acceleration_is_half_the_second_order_term_of_the_path():
    """r = x + x²/2 − 1 at x = 0, λ → 0: J = 1, p = 1, r″ = p², a = −1, too bent for one step, and
    from r = −0.1: p = 0.1, a = −0.01, so x₊ = 0.095, the root 0.09545 to third order."""
    x = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = LevenbergMarquardt([x], damping=1e-12)
    optimizer.step(residuals_of(lambda v: v + v**2 / 2 - 0.1, x))
    assert x.item() == pytest.approx(0.095, rel=1e-9)
    x.data.zero_()
    optimizer = LevenbergMarquardt([x], damping=1e-12)
    optimizer.step(residuals_of(lambda v: v + v**2 / 2 - 1, x))
    assert optimizer.damping > 1e-3


def test_network_regression_with_and_without_acceleration():
    losses = {}
    for geodesic in (True, False):
        network, x, target = regression(points=150)
        optimizer = LevenbergMarquardt(network.parameters(), geodesic=geodesic)
        losses[geodesic] = minimise(optimizer, network_residuals(network, x, target), 100)
    assert losses[True] <= 1e-11
    assert losses[True] < 1e-2 * losses[False]


def test_more_parameters_than_residuals_take_the_dual_form():
    """Interpolation of 20 values by 97 parameters; primal by force is refused."""
    network, x, target = regression(points=20)
    closure = network_residuals(network, x, target)
    with pytest.raises(InvalidOption, match=r"primal.*20 residuals.*97"):
        LevenbergMarquardt(network.parameters(), form="primal").step(closure)
    assert minimise(LevenbergMarquardt(network.parameters()), closure, 100) <= 1e-11


def test_stall_keeps_the_parameters_and_ends_with_new_points():
    A, b = random_linear(30, 5)
    x = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimizer = LevenbergMarquardt([x])
    data = [b]
    closure = residuals_of(lambda v: A @ v - data[0], x)
    loss = minimise(optimizer, closure, 200)
    assert optimizer.stalled and not optimizer.accepted
    end = x.detach().clone()
    assert optimizer.step(lambda jacobian: pytest.fail("stalled")).item() == loss
    assert torch.equal(x.detach(), end)
    data[0] = 2 * b
    optimizer.new_points()
    optimizer.step(closure)
    assert optimizer.accepted and not optimizer.stalled


def test_resumed_run_is_bit_identical():
    network, x, target = regression(points=150)
    optimizer = LevenbergMarquardt(network.parameters())
    minimise(optimizer, network_residuals(network, x, target), 10)
    weights, state = copy.deepcopy(network.state_dict()), copy.deepcopy(optimizer.state_dict())
    assert {type(v) for v in state["state"][0].values()} <= {torch.Tensor, float}
    minimise(optimizer, network_residuals(network, x, target), 10)

    other, _, _ = regression(seed=5)
    resumed = LevenbergMarquardt(other.parameters(), damping=7.0)
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    minimise(resumed, network_residuals(other, x, target), 10)
    for first, second in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)
    assert resumed.damping == optimizer.damping


def test_interrupt_leaves_the_last_iterate():
    x = torch.nn.Parameter(torch.full((4,), -1.2, dtype=torch.float64))
    inner, calls = residuals_of(lambda v: v**3 - 1, x), []

    def closure(jacobian):
        calls.append(jacobian)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return inner(jacobian)

    with pytest.raises(KeyboardInterrupt):
        LevenbergMarquardt([x]).step(closure)
    assert torch.equal(x.detach(), torch.full((4,), -1.2, dtype=torch.float64))


def test_nan_trial_is_rejected_and_the_step_shortened():
    """√x has no value left of 0; the undamped step from 0.01 goes there."""
    x = torch.nn.Parameter(torch.tensor([4.0], dtype=torch.float64))
    closure = residuals_of(lambda v: torch.sqrt(v) - 0.1, x)
    optimizer = LevenbergMarquardt([x], damping=1e-10)
    assert minimise(optimizer, closure, 60) <= 1e-28


def test_nan_before_the_step_raises_and_changes_nothing():
    x = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    with pytest.raises(DivergedError, match="NaN"):
        LevenbergMarquardt([x]).step(residuals_of(lambda v: v * torch.nan, x))
    assert torch.equal(x.detach(), torch.zeros(2, dtype=torch.float64))


def test_float32_is_refused_by_name():
    with pytest.raises(InvalidOption, match=r"torch\.float32.*torch\.float64"):
        LevenbergMarquardt(torch.nn.Linear(2, 2).parameters())


@pytest.mark.parametrize("J", [None, torch.zeros(3, 4).double(), torch.zeros(3, 2)], ids=str)
def test_jacobian_of_wrong_shape_or_dtype_is_refused(J):
    x = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = LevenbergMarquardt([x])
    with pytest.raises(InvalidOption, match=r"Jacobian of shape \(3, 2\)"):
        optimizer.step(lambda jacobian: (torch.zeros(3, dtype=torch.float64), J))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"form": "qr"}, "auto, primal, dual"),
        ({"damping": 0.0}, "damping"),
        ({"decrease": 1.0}, "decrease"),
        ({"increase": 0.5}, "increase"),
        ({"max_trials": 0}, "max_trials"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidOption, match=message):
        LevenbergMarquardt([torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))], **options)
