"""DeepONet against DeepXDE, its sums, and functions that it must represent."""

import math

import pytest
import torch

from pdeml.errors import InvalidOption
from pdeml.solvers.deepxde import session
from pdeml.surrogates.deeponet import DeepONet


def lively(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.double()


@pytest.mark.parametrize("aligned", [True, False])
def test_arrays_of_deepxde_give_its_output(aligned):
    """[m, 40, 40] and [d, 40, 40], ReLU, Glorot normal: the antiderivative example."""
    with session() as dde:
        kind = dde.nn.pytorch.DeepONetCartesianProd if aligned else dde.nn.pytorch.DeepONet
        peer = kind([100, 40, 40], [1, 40, 40], "relu", "Glorot normal").double()
    for shift in peer.b if isinstance(peer.b, torch.nn.ParameterList) else [peer.b]:
        shift.data.fill_(0.3)
    model = DeepONet(100).double()
    pairs = zip([model.branch[0][1], model.trunk[0][0]], [peer.branch, peer.trunk], strict=True)
    for ours, theirs in pairs:
        for layer, other in zip(ours[::2], theirs.linears, strict=True):
            layer.load_state_dict(other.state_dict())
    model.bias.data.fill_(0.3)
    sensors = torch.randn(5, 100, dtype=torch.float64)
    points = torch.rand(7, 1).double() if aligned else torch.rand(5, 1).double()
    y = peer((sensors, points))
    if aligned:
        ours = model.evaluate(sensors, points)[:, 0]
    else:
        ours = model.evaluate(sensors, points[:, None])[:, 0]
    torch.testing.assert_close(ours, y.reshape(ours.shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize("outputs", ["independent", "split_both", "split_branch", "split_trunk"])
@pytest.mark.parametrize("branch", ["mlp", "cnn"])
def test_aligned_points_are_unaligned_ones_that_are_equal(outputs, branch):
    model = lively(DeepONet((6, 5), 2, 3, outputs=outputs, branch=branch, width=8, basis=4))
    x, points = torch.randn(4, 2, 6, 5).double(), torch.rand(9, 2).double()
    y = model(x, coords=points)
    assert y.shape == (4, 9, 3) and y.std((0, 1)).min() > 1e-3
    assert (y[..., 0] - y[..., 1]).abs().max() > 1e-3
    own = points.repeat(4, 1, 1)
    torch.testing.assert_close(model(x, coords=own), y, rtol=0, atol=1e-13)
    own[2, 3] = 0.9
    changed = (model(x, coords=own) - y).abs().amax(-1) > 1e-9
    assert changed.nonzero().tolist() == [[2, 3]]
    expanded = points.expand(4, -1, -1)  # one set: the trunk runs once
    torch.testing.assert_close(model(x, coords=expanded), y, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "outputs, branches, functions",
    [("independent", 6, 6), ("split_both", 6, 6), ("split_branch", 6, 2), ("split_trunk", 2, 6)],
)
def test_components_share_what_the_strategy_says(outputs, branches, functions):
    """Coefficients and functions by hand: component c takes its own or the common ones."""
    model = lively(DeepONet(5, 1, 3, outputs=outputs, basis=2))
    x, points = torch.randn(4, 1, 5).double(), torch.rand(7, 1).double()
    b = torch.cat([net(x) for net in model.branch], -1)
    t = torch.cat([net(points) for net in model.trunk], -1)
    assert (b.shape[-1], t.shape[-1]) == (branches, functions)
    for c in range(3):
        own_b = b[:, 2 * c : 2 * c + 2] if branches == 6 else b
        own_t = t[:, 2 * c : 2 * c + 2] if functions == 6 else t
        expected = own_b @ own_t.T + model.bias[c]
        torch.testing.assert_close(model(x, coords=points)[..., c], expected, rtol=0, atol=1e-13)
    assert len(model.branch) == (3 if outputs == "independent" else 1)


def test_without_points_it_answers_on_its_grid():
    model = lively(DeepONet((4, 6), 1, 2))
    x = torch.randn(3, 1, 4, 6).double()
    first, second = torch.arange(4).double() / 4, torch.arange(6).double() / 6
    points = torch.cartesian_prod(first, second)
    expected = model(x, coords=points).mT.unflatten(2, (4, 6))
    torch.testing.assert_close(model(x), expected, rtol=0, atol=0)


def test_a_mesh():
    model = lively(DeepONet(11, 2, 3, spatial_dims=2, mesh=True))
    x, nodes = torch.randn(2, 11, 2).double(), torch.rand(11, 2).double()
    y = model(x, coords=nodes)
    flat = model.evaluate(x.mT, nodes).mT
    assert y.shape == (2, 11, 3)
    torch.testing.assert_close(y, flat, rtol=0, atol=0)
    with pytest.raises(InvalidOption, match="needs coords"):
        model(x)


def test_periodic_features_make_the_output_periodic():
    model = lively(DeepONet(8, features="periodic", harmonics=3))
    x = torch.randn(1, 1, 8).double()
    points = torch.tensor([[0.0], [1.0], [0.3], [1.3]], dtype=torch.float64, requires_grad=True)
    y = model(x, coords=points)[0, :, 0]
    (slope,) = torch.autograd.grad(y.sum(), points)
    torch.testing.assert_close(y[::2], y[1::2], rtol=0, atol=1e-12)
    torch.testing.assert_close(slope[::2], slope[1::2], rtol=0, atol=1e-10)
    assert slope.abs().max() > 1e-3


def test_pod_modes_span_the_training_outputs():
    """Outputs of rank 3 + a mean: three modes and the right coefficients give each of them."""
    torch.manual_seed(0)
    model = DeepONet((4, 5), 1, 2, basis=3, pod=True).double()
    x = torch.randn(1, 1, 4, 5, dtype=torch.float64)
    with pytest.raises(InvalidOption, match="fit_pod"):
        model(x)
    factors, shapes = torch.randn(30, 3).double(), torch.randn(3, 2, 4, 5).double()
    outputs = torch.einsum("sk,kcxy->scxy", factors, shapes) + torch.randn(2, 4, 5).double()
    model.fit_pod(outputs)
    modes, mean = model.pod_modes, model.pod_mean
    for c in range(2):
        gram = modes[:, c].T @ modes[:, c] / 20
        torch.testing.assert_close(gram, torch.eye(3).double(), rtol=0, atol=1e-12)
    rest = outputs.flatten(2) - mean
    coefficients = torch.einsum("scq,qcp->scp", rest, modes) / 20
    again = torch.einsum("scp,qcp->scq", coefficients, modes)
    torch.testing.assert_close(again, rest, rtol=0, atol=1e-11)
    assert coefficients.square().mean(0)[0].diff().max() < 0  # the leading mode first
    y = model(x)
    expected = torch.einsum("cp,qcp->cq", model.branch[0](x)[0].view(2, 3), modes) + mean
    torch.testing.assert_close(y[0].flatten(1), expected, rtol=0, atol=1e-13)
    loaded = DeepONet(**model.config).double()
    loaded.load_state_dict(model.state_dict())
    assert torch.equal(loaded(x), y)
    with pytest.raises(InvalidOption, match="more samples"):
        model.fit_pod(outputs[:3])


@pytest.mark.parametrize("features", ["plain", "fourier"])
def test_the_config_rebuilds_the_model(features):
    model = lively(DeepONet((4, 6), 3, 2, features=features, branch="cnn", width=6, basis=5))
    rebuilt = DeepONet(**model.config).double()
    rebuilt.load_state_dict(model.state_dict())
    x, params = torch.randn(2, 1, 4, 6).double(), torch.randn(2, 2).double()
    joined = torch.cat([x, params[..., None, None].expand(2, 2, 4, 6)], 1)
    assert torch.equal(rebuilt(x, params=params), model(joined))


def test_an_antiderivative_is_learned():
    """The linear map u ↦ ∫₀^y u on fields of three modes, from 200 samples."""
    torch.manual_seed(0)
    s = torch.arange(16).double() / 16
    k = torch.arange(1, 4).double()
    a = torch.randn(200, 3).double()
    u, v = (
        (a @ torch.cos(2 * math.pi * k[:, None] * s))[:, None],
        (a / (2 * math.pi * k)) @ torch.sin(2 * math.pi * k[:, None] * s),
    )
    model = DeepONet(16, layers=0, features="periodic", basis=12, harmonics=3).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = (model(u[:160])[:, 0] - v[:160]).square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert (model(u[160:])[:, 0] - v[160:]).norm() < 0.02 * v[160:].norm()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: DeepONet(8, branch="gru"), "'mlp', 'cnn'"),
        (lambda: DeepONet(8, outputs="joint"), "'independent'"),
        (lambda: DeepONet(8, features="sine"), "'plain'"),
        (lambda: DeepONet((8, 8), spatial_dims=3), "do not fit"),
        (lambda: DeepONet((8, 8), mesh=True), "number of nodes"),
        (lambda: DeepONet(8, mesh=True, branch="cnn"), "grid"),
        (lambda: DeepONet(8, basis=0), "positive"),
        (lambda: DeepONet(8)(torch.randn(1, 1, 9)), "built for"),
        (lambda: DeepONet(8)(torch.randn(1, 2, 8)), "2 channels"),
        (lambda: DeepONet(8)(torch.randn(1, 1, 8), coords=torch.rand(4, 2)), "accepted are"),
        (lambda: DeepONet(8).fit_pod(torch.randn(50, 1, 8)), "pod=True"),
    ],
)
def test_what_is_not_accepted_is_said(call, message):
    with pytest.raises(InvalidOption, match=message):
        call()
