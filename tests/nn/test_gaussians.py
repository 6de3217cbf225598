"""The Gaussian field: derivatives, symmetries of its shapes, pruning, splitting, bad arguments."""

import itertools
import math

import pytest
import torch

from pdeml import engine
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.nn.gaussians import GaussianField, low_discrepancy
from pdeml.operators.dense import Arena
from pdeml.operators.gaussians import GaussianPass, gaussian_streams
from pdeml.operators.jets import Jet, Streams, nested_autograd


def field(dim=2, out=1, n=5, *, noise=0.2, box=None, **options):
    generator = engine.generator(1)
    made = GaussianField(
        dim, out, n, box=box or [(-1, 2)] * dim, sigma=0.5, generator=generator, **options
    )
    with torch.no_grad():
        for parameter in made.parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise * draw)
    return made


def cloud(n, dim, lower=-1.0, upper=2.0):
    draw = torch.rand((n, dim), generator=engine.generator(7), dtype=torch.float64)
    return lower + (upper - lower) * draw


CASES = [
    {"dim": 1, "channels": 2, "hidden": 8},
    {"dim": 2, "channels": 3, "hidden": 16},
    {"dim": 2, "channels": 3, "hidden": 16, "covariance": "full", "out": 2},
    {"dim": 2, "channels": 2, "hidden": None, "sigma_param": "raw", "covariance": "full"},
    {"dim": 3, "channels": 2, "hidden": None, "covariance": "full", "out": 2},
    {"dim": 4, "channels": 1, "hidden": 5, "covariance": "cholesky"},
    {"dim": 2, "channels": 2, "hidden": 6, "periodic": (0,)},
    {"dim": 2, "channels": 1, "hidden": None, "periodic": (0,), "covariance": "cholesky"},
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_streams_gradients_and_jacobian_against_nested_autograd(options):
    """Every partial derivative up to order 4 (3 beyond the plane) and a merged operator."""
    made = field(**options)
    dim = options["dim"]
    order = 4 if dim < 3 else 3
    indices = [i for i in itertools.product(range(order + 1), repeat=dim) if sum(i) <= order]
    laplacian = tuple(tuple(2 * (a == j) for a in range(dim)) for j in range(dim))
    streams = Streams(dim, indices, [laplacian])
    points = cloud(6, dim)
    coefficients = [0.5] * (dim - 1) + [cloud(6, 1)]
    ours = gaussian_streams(made, points, streams, coefficients)
    expected = nested_autograd(made, points, streams, coefficients)
    scale = expected.abs().amax((1, 2), keepdim=True)
    assert ((ours - expected).abs() / scale).max() < 1e-11
    jets = made(Jet.coordinates(points, streams, coefficients)).data
    assert ((jets - expected).abs() / scale).max() < 1e-11

    adjoint = torch.randn(ours.shape, generator=engine.generator(2), dtype=torch.float64)
    trained = [p for p in made.parameters() if p.requires_grad]
    found = torch.autograd.grad((ours * adjoint).sum(), trained)
    wanted = torch.autograd.grad((expected * adjoint).sum(), trained)
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() < 1e-9 * b.abs().max()

    reverse, arena = GaussianPass(made, streams), Arena()
    features = Jet.coordinates(points, streams, coefficients).data
    _, tape = reverse.forward(features, coefficients, arena)
    rows = torch.empty(len(points), sum(p.numel() for p in trained), dtype=torch.float64)
    reverse.jacobian(adjoint, tape, rows)
    one = torch.zeros_like(adjoint)
    one[:, 2] = adjoint[:, 2]
    row = torch.autograd.grad(
        (nested_autograd(made, points, streams, coefficients) * one).sum(), trained
    )
    flat = torch.cat([g.flatten() for g in row])
    assert (rows[2] - flat).abs().max() < 1e-9 * flat.abs().max()


def test_gradcheck_of_full_covariance():
    """Against finite differences, a check that does not share autograd's rules."""
    made = field(n=3, channels=2, hidden=4, covariance="full")
    points, streams = cloud(4, 2), Streams(2, [(2, 0), (1, 1), (0, 2)])
    names = [n for n, p in made.named_parameters() if p.requires_grad]

    def function(*values):
        parameters = dict(made.named_parameters())
        with torch.no_grad():
            for name, value in zip(names, values, strict=True):
                parameters[name].copy_(value)
        made_pass = GaussianPass(made, streams)
        features = Jet.coordinates(points, streams).data
        from pdeml.operators.gaussians import _GaussianStreams

        return _GaussianStreams.apply(made_pass, features, (), *values)

    start = [p.detach().clone().requires_grad_(True) for p in made.parameters() if p.requires_grad]
    assert torch.autograd.gradcheck(function, start, eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dim, other", [(2, "full"), (3, "full"), (2, "cholesky"), (4, "cholesky")])
def test_full_covariance_without_rotation_is_the_diagonal_one(dim, other):
    plain = field(dim, hidden=None)
    turned = field(dim, hidden=None, covariance=other, noise=0.0)
    with torch.no_grad():
        for name in ("means", "widths", "weights"):
            getattr(turned, name).copy_(getattr(plain, name))
    points = cloud(50, dim)
    assert (plain(points) - turned(points)).abs().max() < 1e-14


def rotation(dim):
    matrix = torch.randn(dim, dim, generator=engine.generator(3), dtype=torch.float64)
    q, _ = torch.linalg.qr(matrix)
    q[:, 0] *= torch.sign(torch.linalg.det(q))
    return q


@pytest.mark.parametrize("dim", [2, 3])
def test_rotating_points_and_gaussians_together_changes_nothing(dim):
    made = field(dim, box=[(-1, 1)] * dim, covariance="full", hidden=7, channels=2)
    points = cloud(40, dim, -1.0, 1.0)
    before = made(points)
    q = rotation(dim)
    with torch.no_grad():
        made.means.copy_(made.means @ q.T)
        if dim == 2:
            angle = torch.atan2(q[1, 0], q[0, 0])
            c, s = torch.cos(angle), torch.sin(angle)
            r1, r2 = made.shape.unbind(-1)
            made.shape.copy_(torch.stack([c * r1 - s * r2, s * r1 + c * r2], -1))
        else:
            w = 0.5 * torch.sqrt(1 + q.trace())
            axis = torch.stack([q[2, 1] - q[1, 2], q[0, 2] - q[2, 0], q[1, 0] - q[0, 1]]) / (4 * w)
            real, vector = made.shape[..., :1], made.shape[..., 1:]
            product = w * vector + real * axis + torch.cross(axis.expand_as(vector), vector, dim=-1)
            made.shape.copy_(
                torch.cat([w * real - (axis * vector).sum(-1, keepdim=True), product], -1)
            )
    assert (made(points @ q.T) - before).abs().max() < 1e-12
    with torch.no_grad():
        made.shape.mul_(3.0)
    assert (made(points @ q.T) - before).abs().max() < 1e-12


def test_periodic_axis_repeats():
    made = field(periodic=(0,), hidden=4, channels=2, covariance="cholesky")
    points = cloud(20, 2)
    shifted = points + torch.tensor([3.0, 0.0], dtype=torch.float64)
    assert (made(points) - made(shifted)).abs().max() < 1e-13


@pytest.mark.parametrize("covariance", ["diagonal", "full", "cholesky"])
@pytest.mark.parametrize("sigma_param", ["log", "raw"])
def test_split_keeps_the_function(covariance, sigma_param):
    made = field(channels=2, hidden=6, covariance=covariance, sigma_param=sigma_param)
    points = cloud(60, 2)
    before, widths = made(points), made.gaussians().covariances
    residual = points[:, 0].clone()
    assert made.split(points, residual, 4) == 4
    assert made.n == 9 and (made(points) - before).abs().max() < 1e-14
    added = made.means[:, 5:].flatten(0, 1)
    top = made.embedding(points[residual.topk(8).indices])
    assert (torch.cdist(added, top).min(-1).values < 1e-12).all()
    gap = torch.cdist(made.means[0, 5:6], made.means[0, :5])[0]
    half = made.gaussians().covariances[0, 5] - widths[0, gap.argmin()] / 4
    assert half.abs().max() < 1e-12


def test_prune_removes_what_has_no_effect():
    made = field(channels=2, hidden=6, n=8, box=[(-1, 1)] * 2)
    with torch.no_grad():
        made.weights[:, 2] = 1e-9
        made.means[:, 5] = 40.0
        made.weights[0, 3] = 0.0  # a partner in the other channel keeps its place
    points = cloud(60, 2, -1.0, 1.0)
    before = made(points)
    assert made.prune(1e-6) == 2 and made.n == 6
    assert (made(points) - before).abs().max() <= 1e-5 * before.abs().max()
    assert made.prune(1e-6) == 0


def test_centres_fill_the_square_more_evenly_than_random_ones():
    """Every one of the 64 cells holds 8 ± 3 of 512 points; random counts differ by 10 and more."""
    points = low_discrepancy(512, 2, engine.generator(0))
    cells = (points * 8).long()
    counts = torch.bincount(cells[:, 0] * 8 + cells[:, 1], minlength=64)
    assert counts.min() >= 5 and counts.max() <= 11


def test_gaussians_and_diagnostics_are_in_the_units_of_the_coordinates():
    made = field(n=2, box=[(0.0, 4.0), (-3.0, -1.0)], hidden=None, covariance="full", noise=0.0)
    with torch.no_grad():
        made.means[0] = torch.tensor([[0.0, 0.5], [5.0, 0.0]])
        made.widths[0] = torch.tensor([[0.2, 0.1], [0.2, 0.1]]).log()
        made.shape[0] = torch.tensor([0.0, 1.0])  # a quarter turn
    found = made.gaussians()
    assert torch.allclose(found.means[0, 0], torch.tensor([2.0, -1.5]).double())
    expected = torch.diag(torch.tensor([(0.1 * 2) ** 2, 0.2**2], dtype=torch.float64))
    assert torch.allclose(found.covariances[0, 0], expected, rtol=1e-6, atol=1e-12)
    figures = made.diagnostics()
    assert figures["outside"] == 1 and figures["overlap"] == 0.0
    assert figures["gram_condition"] == pytest.approx(1.0)
    assert figures["smallest_width"] == pytest.approx(0.1)
    assert figures["largest_width"] == pytest.approx(0.2)


def test_offender_names_the_gaussian():
    made = field(channels=2, sigma_param="raw", hidden=4)
    assert made.offender() == ""
    with torch.no_grad():
        made.widths[1, 3, 0] = 0.0
    assert "Gaussian 3 of channel 1" in made.offender()


@pytest.mark.parametrize(
    "options, word",
    [
        ({"n": 0}, "n=0"),
        ({"n": -3}, "n=-3"),
        ({"channels": 0}, "channels"),
        ({"hidden": 0}, "hidden"),
        ({"box": None}, "box"),
        ({"box": [(-1, 1), (2, 2)]}, "box"),
        ({"box": [(-1, 1)]}, "box"),
        ({"box": [(-1, 1), (0, math.nan)]}, "box"),
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": -1}, "sigma"),
        ({"covariance": "spherical"}, "covariance"),
        ({"sigma_param": "square"}, "sigma_param"),
    ],
)
def test_bad_arguments_are_named(options, word):
    good = {"n": 5, "box": [(-1, 1)] * 2, "generator": engine.generator(0)}
    with pytest.raises(InvalidOption, match=word):
        GaussianField(2, 1, **{**good, **options})


def test_full_covariance_beyond_three_dimensions_offers_cholesky():
    with pytest.raises(UnsupportedProblem, match="cholesky"):
        field(4, covariance="full")
