"""Functions of hL: forty digits for numbers, matrices that are stiff, defective or nearly so."""

import math

import mpmath
import pytest
import torch

from pdeml.solvers.spectral.functions import Analytic, Diagonal, Matrix
from pdeml.solvers.spectral.schemes import F1, F2, F3, FULL, HALF, PHI1, PHI2, SCHEMES, Q

C = torch.complex128


def exact(name, r):
    """The functions from their definitions, with the digits of the mpmath context."""
    e = mpmath.exp(r)
    return {
        "full": lambda: e,
        "half": lambda: mpmath.exp(r / 2),
        "phi1": lambda: (e - 1) / r,
        "phi2": lambda: (e - 1 - r) / r**2,
        "q": lambda: (mpmath.exp(r / 2) - 1) / r,
        "f1": lambda: (-4 - r + e * (4 - 3 * r + r**2)) / r**3,
        "f2": lambda: 2 * (2 + r + e * (r - 2)) / r**3,
        "f3": lambda: (-4 - 3 * r - r**2 + e * (4 - r)) / r**3,
    }[name]()


FUNCTIONS = {
    "full": FULL,
    "half": HALF,
    "phi1": PHI1,
    "phi2": PHI2,
    "q": Q,
    "f1": F1,
    "f2": F2,
    "f3": F3,
}
# limits at z = 0, and the first Taylor coefficient
AT_ZERO = {
    "full": (1, 1),
    "half": (1, 1 / 2),
    "phi1": (1, 1 / 2),
    "phi2": (1 / 2, 1 / 6),
    "q": (1 / 2, 1 / 8),
    "f1": (1 / 6, 1 / 6),
    "f2": (1 / 3, 1 / 6),
    "f3": (1 / 6, 0),
}
REMOVABLE = ["phi1", "phi2", "q", "f1", "f2", "f3"]


@pytest.mark.parametrize("turn", [-1, 1, 1j, complex(-0.6, 0.8)], ids=str)
@pytest.mark.parametrize("name", REMOVABLE)
def test_numbers_against_sixty_digits(name, turn):
    sizes = [10.0**p for p in range(-9, 2 if turn == 1 else 5)] + [0.3, 1.4999, 1.5001, 3.0]
    found = FUNCTIONS[name].at(torch.tensor([turn * s for s in sizes], dtype=C))
    with mpmath.workdps(60):
        for i, size in enumerate(sizes):
            expected = complex(exact(name, mpmath.mpc(turn * size)))
            assert abs(found[i].item() - expected) < 2e-13 * abs(expected)


@pytest.mark.parametrize("name", REMOVABLE)
def test_no_number_is_unlucky(name):
    """A contour around z may pass 0, where the formula cancels."""
    angles = torch.arange(0, 64, 0.5, dtype=torch.float64) * math.pi / 32
    radii = torch.tensor([0.5, 1 - 1e-9, 1.0, 1.01, 2.0, 3.0, 3 + 1e-7], dtype=torch.float64)
    z = torch.polar(radii[:, None].expand(-1, len(angles)), angles.expand(len(radii), -1))
    z = z.flatten()
    found = FUNCTIONS[name].at(z)
    with mpmath.workdps(40):
        expected = torch.tensor([complex(exact(name, mpmath.mpc(r.item()))) for r in z], dtype=C)
    assert ((found - expected).abs() / expected.abs()).max() < 2e-12


@pytest.mark.parametrize("name", FUNCTIONS)
def test_limits_at_zero_and_gradients(name):
    value, slope = AT_ZERO[name]
    z = torch.zeros(2, dtype=C, requires_grad=True)
    found = FUNCTIONS[name].at(z)
    torch.testing.assert_close(found.detach(), torch.full((2,), value, dtype=C), atol=1e-14, rtol=0)
    (gradient,) = torch.autograd.grad(found.real.sum(), z)
    expected = torch.full((2,), slope, dtype=C)
    torch.testing.assert_close(gradient, expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("name", ["phi1", "f3"])
def test_gradients_of_numbers(name):
    z = torch.tensor([-3.0, 0.2 + 1j, -40.0, 1e-6j, 2j], dtype=C, requires_grad=True)
    assert torch.autograd.gradcheck(FUNCTIONS[name].at, z, atol=1e-6)


# ----------------------------------------------------------------------------------------- matrices


def by_eigenvalues(name, matrix):
    """f(A) with ninety digits; exact for what is diagonalizable by more than 1e-60."""
    with mpmath.workdps(90):
        a = mpmath.matrix(matrix.tolist())
        values, vectors = mpmath.eig(a)
        middle = mpmath.diag([exact(name, r) for r in values])
        result = vectors * middle * vectors**-1
        return torch.tensor([[complex(z) for z in row] for row in result.tolist()], dtype=C)


def random(seed, size=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, size, size, generator=generator, dtype=torch.float64)


def stiff(scales, seed=0):
    """Eigenvalues `scales` and moderately skew eigenvectors."""
    vectors = torch.eye(len(scales), dtype=C) + torch.complex(*random(seed, len(scales))) / 4
    return vectors @ torch.diag(torch.tensor(scales, dtype=C)) @ torch.linalg.inv(vectors)


MATRICES = {
    "random": (torch.complex(*random(1)), 1e-12),
    "real, unstable": (3 * random(2)[0] + 0j, 1e-12),
    "stiff": (stiff([-1e4, -1.0, 0.5]), 1e-11),
    "very stiff": (stiff([-1e7, -3e3, -1e-3]), 1e-8),
    "oscillating": (stiff([300j, -300j, -1.0]), 1e-11),
    "symmetric": (-(random(3)[0] @ random(3)[0].T) + 0j, 1e-12),
    "small": (1e-6 * torch.complex(*random(4)), 1e-12),
    "nearly defective": (torch.tensor([[-1, 1, 0], [1e-9, -1, 2], [0, 0, -5]], dtype=C), 1e-10),
    "nearer": (torch.tensor([[-1, 1, 0], [1e-14, -1, 2], [0, 0, -5]], dtype=C), 1e-10),
    "near the threshold": (torch.tensor([[-1, 1, 0], [1e-11, -1, 2], [0, 0, -5]], dtype=C), 1e-9),
    "stiff and nearly defective": (
        torch.tensor([[-50, 40, 0], [1e-9, -50, 3], [0, 0, -4000]], dtype=C),
        1e-9,
    ),
}


@pytest.mark.parametrize("name", ["full", "phi1", "phi2", "q", "f1", "f2", "f3"])
@pytest.mark.parametrize("kind", MATRICES)
def test_matrices_against_ninety_digits(kind, name):
    matrix, bound = MATRICES[kind]
    found = FUNCTIONS[name].of_matrix(matrix[None])[0]
    expected = by_eigenvalues(name, matrix)
    assert torch.linalg.norm(found - expected) < bound * torch.linalg.norm(expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jordan_blocks(name):
    """u_tt = 0 at k = 0: [[0, h], [0, 0]] has f = [[f(0), h f'(0)], [0, f(0)]]."""
    value, slope = AT_ZERO[name]
    for size in (0.1, 1.0, 2.0, 37.0):
        block = torch.tensor([[[0, size], [0, 0]]], dtype=C)
        found = FUNCTIONS[name].of_matrix(block)[0]
        expected = torch.tensor([[value, size * slope], [0, value]], dtype=C)
        torch.testing.assert_close(found, expected, atol=1e-13 * max(1, size**2), rtol=0)
    triple = torch.diag(torch.ones(2, dtype=C), 1) - 2 * torch.eye(3, dtype=C)
    found = FULL.of_matrix(triple[None])[0]
    expected = math.exp(-2) * torch.tensor([[1, 1, 0.5], [0, 1, 1], [0, 0, 1]], dtype=C)
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=0)


def test_waves_of_every_length():
    """e^{hA} of [[0, 1], [−ω², 0]]: entries that differ by 10⁸ are all accurate relatively."""
    omega = 10.0 ** torch.arange(-3, 5, dtype=torch.float64)
    h = 0.37
    blocks = torch.zeros(len(omega), 2, 2, dtype=C)
    blocks[:, 0, 1], blocks[:, 1, 0] = h, -h * omega**2
    found = FULL.of_matrix(blocks)
    cos, sin = torch.cos(h * omega) + 0j, torch.sin(h * omega) + 0j
    rows = torch.stack([cos, sin / omega, -omega * sin, cos], -1).reshape(-1, 2, 2)
    weights = torch.stack([1 + 0 * omega, omega, 1 / omega, 1 + 0 * omega], -1).reshape(-1, 2, 2)
    assert ((found - rows) * weights).abs().max() < 2e-12 * 1e3  # ωh = 3700 itself has 1e-12


def test_matrices_of_one_batch_do_not_disturb_each_other():
    """Defective and well-conditioned ones take different ways."""
    parts = [MATRICES[k][0] for k in ("random", "nearer", "stiff")]
    together = F1.of_matrix(torch.stack(parts).reshape(3, 1, 3, 3))[:, 0]
    for matrix, found in zip(parts, together, strict=True):
        torch.testing.assert_close(found, F1.of_matrix(matrix[None])[0], atol=1e-15, rtol=1e-12)


@pytest.mark.parametrize("kind", ["zero", "identity", "jordan", "random", "complex", "stiff"])
@pytest.mark.parametrize("name", ["full", "f1"])
def test_gradients_of_matrices_where_eigenvalues_coincide(name, kind):
    """The derivative of eigenvectors does not exist there, that of f(A) does."""
    matrix = {
        "zero": torch.zeros(2, 2),
        "identity": -0.7 * torch.eye(2),
        "jordan": torch.tensor([[0.0, 0.5], [0.0, 0.0]]),
        "random": random(5, 2)[0],
        "complex": torch.complex(*random(6, 2)),
        "stiff": torch.tensor([[-300.0, 20.0], [3.0, -0.1]]),
    }[kind].to(C)
    matrix = matrix[None].clone().requires_grad_()
    function = FUNCTIONS[name].of_matrix
    assert torch.autograd.gradcheck(function, matrix, atol=2e-6, rtol=1e-5, fast_mode=True)


# -------------------------------------------------------------------------------------- multipliers


def test_multipliers_are_products_at_each_mode():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.complex(*torch.randn(2, *shape, generator=generator, dtype=torch.float64))

    values, modes, start = draw(2, 2, 5, 3), draw(4, 2, 5, 3), draw(4, 2, 5, 3)
    expected = torch.einsum("ijkl,bjkl->bikl", values, modes)
    matrix = Matrix(values, 2)
    torch.testing.assert_close(matrix @ modes, expected)
    torch.testing.assert_close(matrix.plus(start, modes), start + expected)
    batch = draw(4, 2, 2, 5, 3)
    expected = torch.einsum("bijkl,bjkl->bikl", batch, modes)
    torch.testing.assert_close(Matrix(batch, 2) @ modes, expected)
    own = draw(4, 2, 5, 3)
    torch.testing.assert_close(Diagonal(own) @ modes, own * modes)
    torch.testing.assert_close(Diagonal(own).plus(start, modes), start + own * modes)


def test_every_scheme_has_entire_functions():
    """A formula with a pole at 0 that is not marked as removable would give NaN for constants."""
    for scheme in SCHEMES.values():
        for name, analytic in scheme.functions.items():
            assert isinstance(analytic, Analytic)
            zero = analytic.at(torch.zeros(1, dtype=C))
            assert torch.isfinite(zero.real).all(), (scheme.name, name)
