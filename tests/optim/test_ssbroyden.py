"""The update of SSBroyden against its definition and SciPy, and whole runs."""

import copy
import math

import mpmath
import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeml.errors import DivergedError, InvalidOption
from pdeml.optim import SSBroyden
from pdeml.optim.ssbroyden import VARIANTS, broyden_update_, self_scaling
from tests.optim.losses import (
    closure_of,
    ill_conditioned,
    mean_square,
    minimise,
    regression,
    rosenbrock,
)


def random_update(n, seed, spread):
    """J with singular values over 2·spread decades, g, α, s = −αJJᵀg and y with yᵀs > 0."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    left, right = torch.linalg.qr(draw(n, n)).Q, torch.linalg.qr(draw(n, n)).Q
    values = 10 ** (spread * (2 * torch.rand(n, generator=generator, dtype=torch.float64) - 1))
    J = left * values @ right
    gradient, step = draw(n), 10 ** draw(()).item()
    curvature = draw(n, n)
    s = -step * J @ (J.T @ gradient)
    y = (curvature @ curvature.T / n + 0.1 * torch.eye(n, dtype=torch.float64)) @ s
    return J, gradient, step, s, y


def updated(J, gradient, step, s, y, variant):
    new = J.clone()
    broyden_update_(new, s, y, -step * J.T @ gradient, (y @ s).item(), variant)
    return new @ new.T


def definition(H, gradient, step, s, y, variant):
    """H₊ by the formula of the paper, dense and without rearrangement."""
    n, Hy, ys = len(s), H @ y, (y @ s).item()
    yHy = (y @ Hy).item()
    h, b = yHy / ys, -step * (s @ gradient).item() / ys
    a = b * h - 1
    theta, tau = 0.0, 1.0
    if variant == "ssbfgs":
        tau = min(1.0, 1 / b)
    elif variant == "ssbroyden":
        theta, tau = (float(value) for value in theta_and_tau(b, h, n))
    phi = (1 - theta) / (1 + theta * a)
    v = s / ys - Hy / yHy
    kept = H - torch.outer(Hy, Hy) / yHy + phi * yHy * torch.outer(v, v)
    return kept / tau + torch.outer(s, s) / ys


def theta_and_tau(b, h, n):
    """θ and τ of Urbán, Stefanou, Pons (2025), eq. 13–23, for floats or mpmath numbers."""
    sqrt = mpmath.sqrt if isinstance(b, mpmath.mpf) else math.sqrt
    a = b * h - 1
    rho = min(1, h * (1 - sqrt(abs(a) / (1 + a))))
    theta = max((rho - 1) / a, min(1 / rho, (1 - b) / b))
    sigma = 1 + theta * a
    sigma_n = abs(sigma) ** (1 / (b * 0 + 1 - n))
    rho_k = min(1, 1 / b)
    tau = min(rho_k * sigma_n, sigma) if theta <= 0 else rho_k * min(sigma_n, 1 / theta)
    return theta, tau


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(1, 30),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from(VARIANTS),
)
def test_secant_equation_and_positive_definiteness(n, seed, spread, variant):
    J, gradient, step, s, y = random_update(n, seed, spread)
    new = updated(J, gradient, step, s, y, variant)
    scale = torch.linalg.matrix_norm(new, 2) * torch.linalg.vector_norm(y)
    assert torch.linalg.vector_norm(new @ y - s) <= 1e-12 * scale
    assert torch.linalg.eigvalsh(new)[0] > 0


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(2, 30),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from(VARIANTS),
)
def test_factored_update_equals_the_definition(n, seed, spread, variant):
    J, gradient, step, s, y = random_update(n, seed, spread)
    new = updated(J, gradient, step, s, y, variant)
    expected = definition(J @ J.T, gradient, step, s, y, variant)
    assert (new - expected).abs().max() <= 1e-10 * expected.abs().max()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 20), st.integers(0, 10_000))
def test_bfgs_equals_the_product_form_of_scipy(n, seed):
    """(I − ρsyᵀ) H (I − ρysᵀ) + ρssᵀ, the formula of scipy.optimize's BFGS."""
    J, gradient, step, s, y = random_update(n, seed, 0.5)
    new = updated(J, gradient, step, s, y, "bfgs")
    H, rho, eye = J @ J.T, 1 / (y @ s), torch.eye(n, dtype=torch.float64)
    left = eye - rho * torch.outer(s, y)
    expected = left @ H @ left.T + rho * torch.outer(s, s)
    assert (new - expected).abs().max() <= 1e-12 * max(expected.abs().max(), H.abs().max())


def test_iterates_equal_those_of_scipy_bfgs_on_a_quadratic():
    """Same first step and same rule for the first trial: the first ten iterates agree."""
    generator = torch.Generator().manual_seed(3)
    n = 6
    Q = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q
    A = Q * torch.linspace(1.0, 8.0, n, dtype=torch.float64) @ Q.T
    start = torch.ones(n, dtype=torch.float64)
    start /= torch.linalg.vector_norm(A @ start)  # gradient of norm 1: first trial 1 in both
    iterates = []
    scipy.optimize.minimize(
        lambda x: 0.5 * x @ A.numpy() @ x,
        start.numpy(),
        jac=lambda x: A.numpy() @ x,
        method="BFGS",
        callback=lambda x: iterates.append(x.copy()),
        options={"c1": 1e-4, "c2": 0.9, "gtol": 1e-14},
    )
    x = torch.nn.Parameter(start.clone())
    optimizer = SSBroyden([x], "bfgs", initial_scaling=False)
    closure = closure_of(lambda v: 0.5 * v @ A @ v, x)
    for expected in iterates[:10]:
        optimizer.step(closure)
        np.testing.assert_allclose(x.detach().numpy(), expected, rtol=0, atol=1e-10)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(1e-4, 1e4), st.floats(-6, 12), st.integers(2, 2000))
def test_scaling_keeps_its_digits_for_small_and_large_a(b, decades, n):
    """Against fifty digits; 1 − √(a/(1 + a)) would have lost all of them at a = 1e12."""
    a = 10**decades
    sigma, tau = self_scaling(a, b, n)
    with mpmath.workdps(50):
        exact = mpmath.mpf(b)
        theta, expected = theta_and_tau(exact, (1 + mpmath.mpf(a)) / exact, n)
        assert sigma == pytest.approx(float(1 + theta * a), rel=1e-8)
        assert tau == pytest.approx(float(expected), rel=1e-8)


def test_parallel_s_and_hy_scale_without_dividing_by_a():
    """y = s, H = I: a = 0; H₊ maps y to s."""
    s = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    new = updated(torch.eye(3, dtype=torch.float64), -s, 1.0, s, s.clone(), "ssbroyden")
    torch.testing.assert_close(new @ s, s, rtol=1e-14, atol=0)


@pytest.mark.parametrize("initial_scaling", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_step_of_the_optimizer_applies_the_update(variant, initial_scaling):
    """H after each step equals the update applied to H before it, with s, y, α, g of the step."""
    x = torch.nn.Parameter(torch.linspace(-1.0, 1.5, 5, dtype=torch.float64))
    optimizer = SSBroyden([x], variant, initial_scaling=initial_scaling)
    closure = closure_of(rosenbrock, x)
    for iteration in range(12):
        H, before = optimizer.inverse_hessian, x.detach().clone()
        closure()
        gradient = x.grad.clone()
        optimizer.step(closure)
        s = x.detach() - before
        closure()
        y = x.grad - gradient
        p = -H @ gradient
        step = ((s @ p) / (p @ p)).item()
        torch.testing.assert_close(s, step * p, rtol=1e-9, atol=1e-12)
        if iteration == 0 and initial_scaling:
            scale = ((y @ s) / (y @ y)).item()
            H, step = H * scale, step / scale
        expected = definition(H, gradient, step, s, y, variant)
        assert (optimizer.inverse_hessian - expected).abs().max() <= 1e-7 * expected.abs().max()
        error = torch.linalg.vector_norm(optimizer.inverse_hessian @ y - s)
        assert error <= 1e-12 * torch.linalg.matrix_norm(H) * torch.linalg.vector_norm(y)


@pytest.mark.parametrize("n", [2, 10, 40])
@pytest.mark.parametrize("variant", VARIANTS)
def test_rosenbrock(variant, n):
    x = torch.nn.Parameter(torch.full((n,), -1.2, dtype=torch.float64))
    optimizer = SSBroyden([x], variant)
    assert minimise(optimizer, closure_of(rosenbrock, x), 600) <= 1e-20
    assert (x - 1).abs().max() <= 1e-10
    assert optimizer.evaluations <= 1.5 * 600


@pytest.mark.parametrize("variant", VARIANTS)
def test_ill_conditioned_least_squares(variant):
    """Condition number 1e8 of the Hessian; the solution itself, not only the loss, to 1e-10."""
    A, b = ill_conditioned(60, 30, 1e4, seed=0)
    x = torch.nn.Parameter(torch.zeros(30, dtype=torch.float64))
    minimise(SSBroyden([x], variant), closure_of(lambda v: (A @ v - b).square().sum(), x), 1000)
    assert (x - 1).abs().max() <= 1e-10


@pytest.mark.parametrize("variant", VARIANTS)
def test_floor_of_the_loss_is_reached_and_reported(variant):
    """Least squares with a large minimum: 1e-14 relative above it, then `stalled`."""
    A, _ = ill_conditioned(60, 20, 1e3, seed=1)
    target = torch.randn(60, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    best = torch.linalg.lstsq(A, target[:, None]).solution[:, 0]
    minimum = (A @ best - target).square().sum().item()
    x = torch.nn.Parameter(torch.zeros(20, dtype=torch.float64))
    optimizer = SSBroyden([x], variant)
    loss = minimise(optimizer, closure_of(lambda v: (A @ v - target).square().sum(), x), 2000)
    assert optimizer.stalled
    assert loss <= minimum * (1 + 1e-13)
    evaluations = optimizer.evaluations
    assert optimizer.step(lambda: pytest.fail("a stalled optimizer evaluates nothing")) == loss
    assert optimizer.evaluations == evaluations


def test_network_regression_reaches_second_order_accuracy_cheaply():
    """97 parameters: 1500 iterations to 1e-15, below it H spans more digits than float64 has."""
    network, x, target = regression()
    optimizer = SSBroyden(network.parameters())
    loss = minimise(optimizer, mean_square(network, x, target), 1500)
    assert loss <= 1e-15
    assert optimizer.evaluations <= 1.3 * 1500
    assert optimizer.restarts == 0


def test_self_scaling_beats_bfgs_on_a_network():
    losses = {}
    for variant in VARIANTS:
        network, x, target = regression(seed=1)
        closure = mean_square(network, x, target)
        losses[variant] = minimise(SSBroyden(network.parameters(), variant), closure, 800)
    assert losses["ssbroyden"] < 0.1 * losses["bfgs"]


def test_resumed_run_is_bit_identical():
    network, x, target = regression()
    optimizer = SSBroyden(network.parameters())
    minimise(optimizer, mean_square(network, x, target), 60)
    weights, state = copy.deepcopy(network.state_dict()), copy.deepcopy(optimizer.state_dict())
    minimise(optimizer, mean_square(network, x, target), 60)

    other, _, _ = regression(seed=5)
    resumed = SSBroyden(other.parameters())
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    minimise(resumed, mean_square(other, x, target), 60)
    for first, second in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)
    assert torch.equal(optimizer.inverse_hessian, resumed.inverse_hessian)
    assert optimizer.evaluations == resumed.evaluations


def test_state_is_tensors_and_floats_and_loading_does_not_share_memory():
    network, x, target = regression()
    optimizer = SSBroyden(network.parameters())
    minimise(optimizer, mean_square(network, x, target), 5)
    state = optimizer.state_dict()
    assert {type(v) for v in state["state"][0].values()} <= {torch.Tensor, float}
    resumed = SSBroyden(copy.deepcopy(network).parameters())
    resumed.load_state_dict(state)
    before = resumed.inverse_hessian.clone()
    minimise(optimizer, mean_square(network, x, target), 5)
    assert torch.equal(resumed.inverse_hessian, before)


def test_state_may_come_back_from_a_file_as_numpy_arrays():
    network, x, target = regression()
    optimizer = SSBroyden(network.parameters())
    minimise(optimizer, mean_square(network, x, target), 10)
    state = copy.deepcopy(optimizer.state_dict())
    state["state"][0] = {key: np.asarray(value) for key, value in state["state"][0].items()}
    twin = copy.deepcopy(network)
    resumed = SSBroyden(twin.parameters())
    resumed.load_state_dict(state)
    losses = [
        minimise(optimizer, mean_square(network, x, target), 10),
        minimise(resumed, mean_square(twin, x, target), 10),
    ]
    assert losses[0] == losses[1]


def test_new_points_keeps_the_curvature():
    """After a change of data the kept H needs a fraction of the iterations of a fresh one."""
    A, b = ill_conditioned(60, 30, 1e3, seed=0)
    iterations = {}
    for kept in (True, False):
        x = torch.nn.Parameter(torch.zeros(30, dtype=torch.float64))
        optimizer = SSBroyden([x])
        closure = closure_of(lambda v: (A @ v - b).square().sum(), x)
        while optimizer.step(closure).item() > 1e-20:
            pass
        if kept:
            optimizer.new_points()
        else:
            optimizer = SSBroyden([x])
        closure = closure_of(lambda v: (A @ v - 2 * b).square().sum(), x)
        iterations[kept] = 1
        while optimizer.step(closure).item() > 1e-20:
            iterations[kept] += 1
    assert iterations[True] <= 0.5 * iterations[False]


@pytest.mark.parametrize("damage", [math.nan, 1e200])
def test_a_useless_h_restarts_and_still_converges(damage):
    x = torch.nn.Parameter(torch.full((4,), -1.2, dtype=torch.float64))
    optimizer = SSBroyden([x])
    closure = closure_of(rosenbrock, x)
    loss = minimise(optimizer, closure, 8)
    state = optimizer.state_dict()
    state["state"][0]["factor"] *= damage
    optimizer.load_state_dict(state)
    assert optimizer.step(closure).item() < loss
    assert optimizer.restarts == 1
    assert minimise(optimizer, closure, 200) <= 1e-20


def test_parameters_changed_from_outside_are_noticed():
    x = torch.nn.Parameter(torch.full((4,), -1.2, dtype=torch.float64))
    optimizer = SSBroyden([x])
    closure = closure_of(rosenbrock, x)
    minimise(optimizer, closure, 200)
    assert optimizer.stalled
    with torch.no_grad():
        x.fill_(1.5)
    start = rosenbrock(x).item()
    assert optimizer.step(closure).item() < start
    assert not optimizer.stalled


@pytest.mark.parametrize("interrupted", range(2, 9))
def test_interrupt_leaves_the_last_iterate_and_the_run_can_go_on(interrupted):
    """An exception in any evaluation, within a line search too."""
    x = torch.nn.Parameter(torch.full((4,), -1.2, dtype=torch.float64))
    optimizer, closure, calls = SSBroyden([x]), closure_of(rosenbrock, x), []

    def fragile():
        calls.append(x.detach().clone())
        if len(calls) == interrupted:
            raise KeyboardInterrupt
        return closure()

    loss = rosenbrock(x).item()
    with pytest.raises(KeyboardInterrupt):
        while True:
            loss = optimizer.step(fragile).item()
    assert rosenbrock(x).item() == loss
    assert minimise(optimizer, closure, 200) <= 1e-20


def test_infeasible_region_is_avoided():
    """f = x − log x has no value for x ≤ 0 and the first steps go there."""
    x = torch.nn.Parameter(torch.tensor([0.01, 30.0], dtype=torch.float64))
    optimizer = SSBroyden([x])
    minimise(optimizer, closure_of(lambda v: (v - torch.log(v)).sum(), x), 100)
    torch.testing.assert_close(x.detach(), torch.ones(2).double(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_nan_before_the_step_raises_and_changes_nothing(where):
    x = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    f = {"loss": lambda v: v.sum() + math.nan, "gradient": lambda v: v.sqrt().sum() * 0}[where]
    with pytest.raises(DivergedError, match="loss is"):
        SSBroyden([x]).step(closure_of(f, x))
    assert torch.equal(x.detach(), torch.zeros(3, dtype=torch.float64))


def test_float32_is_refused_by_name():
    with pytest.raises(InvalidOption, match=r"torch\.float32.*torch\.float64"):
        SSBroyden(torch.nn.Linear(2, 2).parameters())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "dfp"}, "ssbroyden, ssbfgs, bfgs"),
        ({"c1": 0.95}, "c1"),
        ({"c2": 1.0}, "c2"),
        ({"noise": -1.0}, "noise"),
        ({"max_evaluations": 0}, "max_evaluations"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidOption, match=message):
        SSBroyden([torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))], **options)


def test_parameter_groups_are_refused():
    x, y = (torch.nn.Parameter(torch.zeros(2, dtype=torch.float64)) for _ in range(2))
    with pytest.raises(InvalidOption, match="2 parameter groups"):
        SSBroyden([{"params": [x]}, {"params": [y]}])


def test_a_parameter_without_gradient_stays():
    x, unused = (torch.nn.Parameter(torch.full((3,), 2.0, dtype=torch.float64)) for _ in range(2))
    optimizer = SSBroyden([x, unused])
    minimise(optimizer, closure_of(rosenbrock, x), 100)
    assert (x - 1).abs().max() <= 1e-10
    assert torch.equal(unused.detach(), torch.full((3,), 2.0, dtype=torch.float64))
