"""The hand-written reverse of dense networks side by side."""

import pytest
import torch

from pdeml.nn.networks import MLP
from pdeml.operators.branches import Branches, BranchesPass
from pdeml.operators.dense import Arena
from pdeml.operators.jets import Jet, Streams
from pdeml.solvers.objective import AutogradPass, Trial, network_pass

CASES = {
    "second order": (Streams(2, [(1, 0), (0, 1), (2, 0)]), []),
    "operator": (Streams(2, [(1, 0)], [((0, 1), (2, 0))]), [1.0, -0.3]),
    "third order": (Streams(2, [(2, 1)]), []),
}


@pytest.mark.parametrize("case", CASES)
def test_values_gradients_and_jacobian_are_those_of_nested_autograd(case):
    streams, coefficients = CASES[case]
    generator = torch.Generator().manual_seed(0)
    # unequal sizes: a block in the wrong place does not fit, or is wrong
    branches = Branches(
        [MLP(2, m, depth=d, width=k, generator=generator) for m, d, k in ((1, 2, 5), (2, 3, 4))]
    )
    points = torch.rand((9, 2), generator=generator, dtype=torch.float64)
    chosen = network_pass(Trial(branches), streams, points)
    assert isinstance(chosen, BranchesPass) and "hand-written" in chosen.engine
    nested = AutogradPass(branches, streams, on_points=True)
    features = Jet.coordinates(points, streams, coefficients).data
    with torch.no_grad():
        found, tape = chosen.forward(features, coefficients, Arena())
    expected, graph = nested.forward(points[None], coefficients, Arena())
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    adjoint = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    count = sum(p.numel() for p in branches.parameters())
    rows, wanted = torch.empty((2, len(points), count), dtype=torch.float64)
    with torch.no_grad():
        chosen.jacobian(adjoint, tape, rows)
    nested.jacobian(adjoint, graph, wanted)
    torch.testing.assert_close(rows, wanted, rtol=1e-11, atol=1e-11)
    gradients = [torch.ones_like(p) for p in branches.parameters()]
    with torch.no_grad():
        chosen.backward(adjoint, tape, gradients)
    flat = torch.cat([g.reshape(-1) for g in gradients])
    torch.testing.assert_close(flat, 1 + wanted.sum(0), rtol=1e-11, atol=1e-11)


def test_an_activation_without_derivatives_in_closed_form_is_left_to_automatic_ones():
    relu = Branches([MLP(2, 1, depth=1, width=3, activation="relu", generator=torch.Generator())])
    assert not BranchesPass.accepts(relu) and not BranchesPass.accepts(relu.networks[0])
