"""L-BFGS: its two-loop recursion against dense BFGS, and whole runs."""

import copy

import pytest
import torch

from pdeml.errors import DivergedError, InvalidOption
from pdeml.optim import LBFGS
from tests.optim.losses import (
    closure_of,
    ill_conditioned,
    mean_square,
    minimise,
    regression,
    rosenbrock,
)


@pytest.mark.parametrize("history", [1, 3, 50])
def test_two_loops_equal_dense_bfgs_over_the_last_pairs(history):
    """H = BFGS updates of γI by the last m pairs, oldest first; the step is parallel to −H g."""
    x = torch.nn.Parameter(torch.linspace(-1.0, 1.5, 6, dtype=torch.float64))
    optimizer = LBFGS([x], history=history)
    closure, pairs = closure_of(rosenbrock, x), []
    for _ in range(12):
        before = x.detach().clone()
        closure()
        gradient = x.grad.clone()
        eye = torch.eye(6, dtype=torch.float64)
        H = eye.clone()
        if pairs:
            s, y = pairs[-1]
            H *= (y @ s) / (y @ y)
        for s, y in pairs[-history:]:
            left = eye - torch.outer(s, y) / (y @ s)
            H = left @ H @ left.T + torch.outer(s, s) / (y @ s)
        optimizer.step(closure)
        p, s = -H @ gradient, x.detach() - before
        torch.testing.assert_close(s, (s @ p) / (p @ p) * p, rtol=1e-8, atol=1e-12)
        closure()
        pairs.append((s, x.grad - gradient))


@pytest.mark.parametrize("n", [2, 40])
def test_rosenbrock(n):
    x = torch.nn.Parameter(torch.full((n,), -1.2, dtype=torch.float64))
    assert minimise(LBFGS([x]), closure_of(rosenbrock, x), 600) <= 1e-20
    assert (x - 1).abs().max() <= 1e-10


def test_ill_conditioned_least_squares():
    A, b = ill_conditioned(60, 30, 1e3, seed=0)
    x = torch.nn.Parameter(torch.zeros(30, dtype=torch.float64))
    optimizer = LBFGS([x])
    assert minimise(optimizer, closure_of(lambda v: (A @ v - b).square().sum(), x), 1500) <= 1e-16
    assert optimizer.evaluations <= 1.1 * 1500


def test_float32_reaches_the_floor_of_its_precision():
    x = torch.nn.Parameter(torch.full((10,), -1.2))
    assert minimise(LBFGS([x]), closure_of(rosenbrock, x), 400) <= 1e-9
    assert x.dtype == torch.float32


def test_network_regression():
    network, x, target = regression()
    optimizer = LBFGS(network.parameters())
    assert minimise(optimizer, mean_square(network, x, target), 600) <= 1e-6
    assert optimizer.evaluations <= 1.15 * 600


def test_resumed_run_is_bit_identical():
    """Sixty iterations fill and wrap the history before the state is saved."""
    network, x, target = regression()
    optimizer = LBFGS(network.parameters())
    minimise(optimizer, mean_square(network, x, target), 60)
    weights, state = copy.deepcopy(network.state_dict()), copy.deepcopy(optimizer.state_dict())
    assert {type(v) for v in state["state"][0].values()} <= {torch.Tensor, float}
    minimise(optimizer, mean_square(network, x, target), 60)

    other, _, _ = regression(seed=5)
    resumed = LBFGS(other.parameters())
    other.load_state_dict(weights)
    resumed.load_state_dict(state)
    minimise(resumed, mean_square(other, x, target), 60)
    for first, second in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)


def test_new_points_keeps_the_history():
    A, b = ill_conditioned(60, 30, 1e2, seed=0)
    losses = []
    for fresh in (False, True):
        x = torch.nn.Parameter(torch.zeros(30, dtype=torch.float64))
        optimizer = LBFGS([x])
        minimise(optimizer, closure_of(lambda v: (A @ v - b).square().sum(), x), 300)
        if fresh:
            optimizer = LBFGS([x])
        else:
            optimizer.new_points()
        closure = closure_of(lambda v: (A @ v - 2 * b).square().sum(), x)
        losses.append(minimise(optimizer, closure, 15))
    assert losses[0] < 0.9 * losses[1]


def test_nan_before_the_step_raises():
    x = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    with pytest.raises(DivergedError, match="LBFGS"):
        LBFGS([x]).step(closure_of(lambda v: v.sum() * torch.nan, x))


@pytest.mark.parametrize(
    "dtypes",
    [(torch.float16, torch.float16), (torch.complex128,), (torch.float32, torch.float64)],
    ids=str,
)
def test_other_and_mixed_dtypes_are_refused(dtypes):
    params = [torch.nn.Parameter(torch.zeros(2, dtype=dtype)) for dtype in dtypes]
    with pytest.raises(InvalidOption, match=r"torch\.float64 or torch\.float32"):
        LBFGS(params)


def test_empty_history_is_refused():
    with pytest.raises(InvalidOption, match="history"):
        LBFGS([torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))], history=0)
