"""SOAP against Adam, against Adam in the exact eigenbasis, and on an ill-conditioned problem."""

import pytest
import torch

from pdeml.errors import InvalidOption
from pdeml.optim import SOAP


def gradients(count, *shapes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def draw(shape):
        return torch.randn(shape, generator=generator, dtype=dtype)

    return [[draw(shape) for shape in shapes] for _ in range(count)]


def run(optimizer, parameters, sequence):
    for step in sequence:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    return [p.detach().clone() for p in parameters]


def zeros(*shapes, dtype=torch.float64):
    return [torch.nn.Parameter(torch.zeros(s, dtype=dtype)) for s in shapes]


def test_without_rotation_it_is_adam_after_the_first_step():
    shapes = ((4, 3), (3,), (2, 2))
    sequence = gradients(30, *shapes)
    ours, theirs = zeros(*shapes), zeros(*shapes)
    a = run(SOAP(ours, lr=1e-2, max_dim=1), ours, sequence)
    b = run(torch.optim.Adam(theirs, lr=1e-2), theirs, sequence[1:])
    assert all(torch.allclose(x, y, rtol=0, atol=1e-14) for x, y in zip(a, b, strict=True))


def test_while_the_bases_stand_it_is_adam_in_them():
    """G' = Qᵀ G Q with the eigenvectors of the first gradient's moments, by a plain formula."""
    sequence = gradients(12, (4, 4))
    ours, theirs = zeros((4, 4)), zeros((4, 4))
    (found,) = run(SOAP(ours, lr=1e-2, precondition_frequency=100), ours, sequence)
    start = sequence[0][0]
    left = torch.linalg.eigh(start @ start.T)[1].flip(1)
    right = torch.linalg.eigh(start.T @ start)[1].flip(1)
    turned = [[left.T @ g @ right] for (g,) in sequence[1:]]
    (moved,) = run(torch.optim.Adam(theirs, lr=1e-2), theirs, turned)
    assert torch.allclose(found, left @ moved @ right.T, rtol=0, atol=1e-11)


def test_bases_converge_to_the_eigenvectors_and_stay_orthogonal():
    generator = torch.Generator().manual_seed(3)
    scale = torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    (parameter,) = ours = zeros((4, 40))
    optimizer = SOAP(ours, precondition_frequency=1, shampoo_beta=0.999)
    for _ in range(400):
        noise = torch.randn(4, 40, generator=generator, dtype=torch.float64)
        parameter.grad = turn @ (scale[:, None] * noise)
        optimizer.step()
    basis = optimizer.state[parameter]["basis_0"]
    assert torch.allclose(basis.T @ basis, torch.eye(4).double(), atol=1e-12)
    assert torch.allclose((turn.T @ basis).abs(), torch.eye(4).double(), atol=0.1)


def test_the_first_moment_is_carried_into_new_bases():
    """With a β1 near one and gradients that end, the direction in W must not depend on f."""
    (parameter,) = ours = zeros((4, 4))
    optimizer = SOAP(ours, precondition_frequency=1, betas=(0.9, 0.99))
    for (gradient,) in gradients(6, (4, 4)):
        parameter.grad = gradient
        optimizer.step()
    state = optimizer.state[parameter]
    kept = state["basis_0"] @ state["first"] @ state["basis_1"].T
    plain = torch.zeros(4, 4, dtype=torch.float64)
    for (gradient,) in gradients(6, (4, 4))[1:]:
        plain = 0.9 * plain + 0.1 * gradient
    assert torch.allclose(kept, plain, atol=1e-14)


def test_both_moments_follow_when_eigenvalues_change_their_order():
    """Diagonal gradients have the axes for eigenvectors, in whatever order: it is Adam."""
    sizes = [(3.0, 1.0), *[(0.5, 0.1 * k) for k in range(1, 12)]]
    sequence = [[torch.diag(torch.tensor(s, dtype=torch.float64))] for s in sizes]
    ours, theirs = zeros((2, 2)), zeros((2, 2))
    options = {"shampoo_beta": 0.5, "precondition_frequency": 1}
    (a,) = run(SOAP(ours, **options), ours, sequence)
    (b,) = run(torch.optim.Adam(theirs), theirs, sequence[1:])
    assert torch.allclose(a, b, rtol=0, atol=1e-12)


def quadratic(optimizer_class, steps, **options):
    """½‖A (W − W*) B‖² with condition 1e4 in a turned basis; returns the last loss."""
    generator = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64))[0]
    a = turn @ torch.diag(torch.logspace(0, -2, 8, dtype=torch.float64)) @ turn.T
    target = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    (w,) = ours = zeros((8, 8))
    optimizer = optimizer_class(ours, **options)
    for _ in range(steps):
        residual = a @ (w.detach() - target) @ a
        w.grad = a @ residual @ a
        optimizer.step()
    return float((a @ (w.detach() - target) @ a).square().sum())


def test_it_beats_adam_where_the_curvature_is_turned():
    adam = quadratic(torch.optim.Adam, 400, lr=1e-2)
    assert quadratic(SOAP, 400, lr=1e-2, betas=(0.9, 0.99)) < 0.1 * adam


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_resumes_bit_for_bit(dtype):
    shapes = ((6, 4), (4,))
    sequence = gradients(20, *shapes, dtype=dtype)
    whole = zeros(*shapes, dtype=dtype)
    expected = run(SOAP(whole), whole, sequence)
    part = zeros(*shapes, dtype=dtype)
    first = SOAP(part)
    run(first, part, sequence[:9])
    again = [torch.nn.Parameter(p.detach().clone()) for p in part]
    second = SOAP(again)
    second.load_state_dict(first.state_dict())
    assert all(map(torch.equal, run(second, again, sequence[9:]), expected))


@pytest.mark.parametrize(
    "option",
    [{"lr": 0.0}, {"betas": (1.0, 0.9)}, {"precondition_frequency": 0}, {"shampoo_beta": -0.1}],
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(InvalidOption, match=next(iter(option))):
        SOAP(zeros((2, 2)), **option)
