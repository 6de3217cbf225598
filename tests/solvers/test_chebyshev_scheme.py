"""Parts of Chebyshev collocation: matrices, quadrature, expansions, Radau's orders, the field."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch

from pdeml.domains import Interval, Rectangle, Time
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Neumann, Robin
from pdeml.solvers.chebyshev.axis import (
    Axis,
    chebyshev_matrices,
    chebyshev_points,
    chebyshev_values,
    clenshaw_curtis,
    fourier_matrix,
)
from pdeml.solvers.chebyshev.field import ChebyshevField
from pdeml.solvers.chebyshev.grid import Grid
from pdeml.solvers.chebyshev.layers import layer_of
from pdeml.solvers.chebyshev.lowering import initial_expressions, lower
from pdeml.solvers.chebyshev.radau import Integrator, tableau
from pdeml.solvers.chebyshev.system import Factor, System

x, y, t = sp.symbols("x y t", real=True)


def largest(tensor):
    return tensor.abs().max().item()


# ------------------------------------------------------------------------------- one axis


def test_points_increase_and_are_antisymmetric_to_the_last_bit():
    s = chebyshev_points(33)
    assert torch.equal(s, -s.flip(0)) and s[0] == -1 and (s.diff() > 0).all()
    torch.testing.assert_close(s, -torch.cos(math.pi * torch.arange(33).double() / 32))


@pytest.mark.parametrize("size, errors", [(16, (2e-13, 1e-11, 1e-9, 1e-7)), (48, (1e-12, 3e-9))])
def test_matrices_differentiate(size, errors):
    s = chebyshev_points(size)
    matrices = chebyshev_matrices(size, len(errors))
    for k, error in enumerate(errors, start=1):
        assert largest(matrices[k] @ torch.exp(s) - torch.exp(s)) < error
        assert largest(matrices[k] @ torch.sin(s) - torch.sin(s + k * math.pi / 2)) < error
        # the diagonal is the negative sum of its row, up to the rounding of that sum
        assert (matrices[k].sum(1).abs() <= 1e-13 * matrices[k].abs().sum(1)).all()


def test_entries_have_all_their_digits():
    """Differences of cosines lose digits near an end; products of sines with the flip do not."""
    n = 63
    found = chebyshev_matrices(n + 1, 1)[1]
    with mpmath.workdps(40):
        s = [-mpmath.cos(mpmath.pi * j / n) for j in range(n + 1)]
        end = [2, *[1] * (n - 1), 2]
        for i, j in itertools.product((0, 1, 31, n - 1, n), (0, 2, 30, n - 2, n)):
            if i != j:
                exact = float(end[i] * (-1) ** (i + j) / (end[j] * (s[i] - s[j])))
                assert found[i, j].item() == pytest.approx(exact, rel=3e-15)
    assert found[-1, -1].item() == pytest.approx((2 * n**2 + 1) / 6, rel=1e-12)


def test_dirichlet_eigenvalues_of_the_second_derivative():
    """−(kπ/2)² to round-off for k up to about 2/π of the points (Weideman, Trefethen 1988)."""
    n = 49
    inner = chebyshev_matrices(n, 2)[2][1:-1, 1:-1].numpy()
    found = np.sort(np.linalg.eigvals(inner).real)[::-1]
    exact = -((np.arange(1, n - 1) * math.pi / 2) ** 2)
    error = np.abs(found / exact - 1)
    assert error[:17].max() < 1e-10
    assert error[: int(2 / math.pi * n) - 4].max() < 1e-2 < error[int(2 / math.pi * n) + 6]
    assert found.max() < 0


def test_neumann_eigenvalues_of_the_second_derivative():
    n = 49
    first, second = chebyshev_matrices(n, 2)[1:]
    ends, inner = [0, n - 1], list(range(1, n - 1))
    lift = torch.linalg.solve(first[ends][:, ends], -first[ends][:, inner])
    reduced = second[inner][:, inner] + second[inner][:, ends] @ lift
    found = np.sort(np.linalg.eigvals(reduced.numpy()).real)[::-1]
    assert abs(found[0]) < 1e-9
    exact = -((np.arange(1, 16) * math.pi / 2) ** 2)
    assert np.abs(found[1:16] / exact - 1).max() < 1e-10


def test_quadrature_is_exact_for_polynomials():
    for size in (5, 8, 17):
        s, weights = chebyshev_points(size), clenshaw_curtis(size)
        for degree in range(size):
            exact = (1 - (-1) ** (degree + 1)) / (degree + 1)
            assert (weights @ s**degree).item() == pytest.approx(exact, abs=1e-14)


@pytest.mark.parametrize("size", [7, 8, 33])
def test_fourier_matrices_differentiate(size):
    theta = 2 * math.pi * torch.arange(size).double() / size
    for k in range(1, 5):
        exact = 2**k * torch.sin(2 * theta + k * math.pi / 2)
        assert largest(fourier_matrix(size, k) @ torch.sin(2 * theta) - exact) < 1e-10


def test_chebyshev_polynomials_by_doubling():
    s = torch.cat([chebyshev_points(41), 2 * torch.rand(500, dtype=torch.float64) - 1])
    exact = torch.cos(torch.arange(300) * torch.acos(s)[:, None])
    assert largest(chebyshev_values(s, 300) - exact) < 1e-10
    for size in (1, 2, 3, 4):
        assert chebyshev_values(s, size).shape == (len(s), size)


AXES = {
    "plain": Axis(-1, 2, 40),
    "crowded": Axis(-1, 2, 100, layers=((0.3, 0.05),)),
    "periodic, odd": Axis(-1, 2, 41, periodic=True),
    "periodic, even": Axis(-1, 2, 40, periodic=True),
}


@pytest.mark.parametrize("axis", AXES.values(), ids=AXES)
def test_an_axis_interpolates_differentiates_and_integrates(axis):
    wave = 2 * math.pi / 3

    def f(points):
        return torch.exp(torch.sin(wave * points))

    nodes = axis.nodes
    value, slope = f(nodes), wave * torch.cos(wave * nodes) * f(nodes)
    bend = wave**2 * (torch.cos(wave * nodes) ** 2 - torch.sin(wave * nodes)) * f(nodes)
    assert largest(axis.matrix(1) @ value - slope) < 1e-8
    assert largest(axis.matrix(2) @ value - bend) < 1e-5
    assert largest(axis.matrix(3) @ value - axis.matrix(1) @ bend) < 1e-2
    points = torch.linspace(-1, 2, 301, dtype=torch.float64)
    assert largest(axis.basis(points) @ (axis.transform @ value) - f(points)) < 1e-11
    mean = 1.2660658777520082  # the modified Bessel function I0(1)
    assert (axis.weights @ value).item() == pytest.approx(3 * mean, rel=1e-11)
    again = Axis.from_dict(axis.to_dict())
    assert again == axis and torch.equal(again.nodes, nodes)


def test_points_crowd_at_a_layer_and_resolve_it():
    plain, crowded = (Axis(-1, 1, 96, layers=layers) for layers in ((), ((0.2, 0.01),)))
    errors = []
    points = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    for axis in (plain, crowded):
        found = axis.basis(points) @ (axis.transform @ torch.tanh((axis.nodes - 0.2) / 0.01))
        errors.append(largest(found - torch.tanh((points - 0.2) / 0.01)))
    assert errors[0] > 0.1 and errors[1] < 1e-5
    fine = Grid([Axis(-1, 1, 400)])
    profile = torch.tanh((fine.points[:, 0] - 0.2) / 0.02)[None, None]
    centre, width = layer_of(fine, profile)
    assert centre == pytest.approx(0.2, abs=0.01) and width == pytest.approx(0.02, rel=0.05)
    moving = torch.stack([torch.tanh((fine.points[:, 0] - c) / 0.02) for c in (-0.5, 0.5)])
    assert layer_of(fine, moving[:, None]) is None
    assert layer_of(fine, torch.sin(fine.points[:, 0])[None, None]) is None


def test_a_grid_in_the_plane():
    grid = Grid([Axis(0, 1, 14), Axis(-1, 2, 18)])
    a, b = grid.points.T
    values = torch.exp(a) * torch.sin(b)
    assert largest(grid.derivative(values, (2, 1)) - torch.exp(a) * torch.cos(b)) < 1e-8
    matrix = grid.matrix((2, 1))
    torch.testing.assert_close(matrix @ values, grid.derivative(values, (2, 1)), atol=1e-8, rtol=0)
    exact = (math.e - 1) * (math.cos(-1) - math.cos(2))
    assert (grid.weights @ values).item() == pytest.approx(exact, rel=1e-12)
    assert (a[grid.layer(0, 1)] == 1).all() and (b[grid.layer(1, 0)] == -1).all()
    other = Grid([Axis(0, 1, 20), Axis(-1, 2, 25)])
    p, q = other.points.T
    assert largest(other.resample(values, grid) - torch.exp(p) * torch.sin(q)) < 1e-12
    assert max(grid.tails(values[None, None])) < 1e-12
    rough = grid.tails((a - 0.4).abs()[None, None])
    assert rough[0] > 1e-3 and rough[1] < 1e-12


# ------------------------------------------------------------------------------- in time


def test_the_radau_tableau_is_that_of_the_book():
    """Hairer, Wanner (1996), table IV.5.6, three stages."""
    root = math.sqrt(6)
    expected = torch.tensor(
        [
            [(88 - 7 * root) / 360, (296 - 169 * root) / 1800, (-2 + 3 * root) / 225],
            [(296 + 169 * root) / 1800, (88 + 7 * root) / 360, (-2 - 3 * root) / 225],
            [(16 - root) / 36, (16 + root) / 36, 1 / 9],
        ],
        dtype=torch.float64,
    )
    found = tableau(3)
    torch.testing.assert_close(torch.linalg.inv(found.inverse), expected, atol=1e-14, rtol=0)
    values = torch.tensor(found.eigenvalues, dtype=torch.complex128)
    rebuilt = found.vectors * values @ found.dual
    torch.testing.assert_close(rebuilt.real, found.inverse, atol=1e-12, rtol=0)


u, U = Field("u", x, t), Field("u", x)
STRING = PDE(
    "string",
    [sp.Eq(u.diff(t, 2), u.diff(x, 2))],
    Interval(x, 0, 1) * Time(t, 0, 2),
    [Initial(u, sp.sin(3 * sp.pi * x)), Initial(u.diff(t), 0), Dirichlet(u, 0)],
)
PENDULUM = PDE(
    "moving wall, not linear",
    [
        sp.Eq(
            u.diff(t) + u**3 - u.diff(x, 2),
            (x * sp.cos(4 * t)).diff(t) + (x * sp.cos(4 * t)) ** 3,
        )
    ],
    Interval(x, 0, 1) * Time(t, 0, 2),
    [Initial(u, x), Dirichlet(u, x * sp.cos(4 * t))],
)


@pytest.mark.parametrize(
    "problem, exact, steps, stages, order",
    [
        (STRING, sp.sin(3 * sp.pi * x) * sp.cos(3 * sp.pi * t), (16, 24, 36), 2, 3),
        (STRING, sp.sin(3 * sp.pi * x) * sp.cos(3 * sp.pi * t), (12, 16, 24), 3, 5),
        (STRING, sp.sin(3 * sp.pi * x) * sp.cos(3 * sp.pi * t), (8, 12, 16), 5, 9),
        (PENDULUM, x * sp.cos(4 * t), (8, 12, 16), 2, 3),
        (PENDULUM, x * sp.cos(4 * t), (4, 6, 8), 3, 4),
        (PENDULUM, x * sp.cos(4 * t), (3, 4, 6), 5, 6),
    ],
    ids=["string-2", "string-3", "string-5", "wall-2", "wall-3", "wall-5"],
)
def test_radau_keeps_its_order(problem, exact, steps, stages, order):
    """2s − 1, or s + 1 at least where a condition that moves meets a stiff equation."""
    lowered = lower(problem)
    grid = Grid([Axis(0, 1, 24)])
    system = System(lowered, grid)
    columns = [sp.lambdify(x, e) for e in initial_expressions(lowered)]
    nodes = grid.points[:, 0].numpy()
    start = torch.from_numpy(np.concatenate([c(nodes) + 0 * nodes for c in columns]))
    end = torch.from_numpy(sp.lambdify((x, t), exact)(nodes, 2.0))
    errors = []
    for count in steps:
        path = Integrator(system, stages).run([(0.0, 2.0, count)], start)
        errors.append(largest(path.states[-1, : grid.size] - end))
        # rates are those of the solution at both kinds of nodes
        slope = sp.lambdify((x, t), exact.diff(t))(nodes, 2.0)
        assert largest(path.rates[-1, : grid.size] - torch.from_numpy(slope)) < 500 * errors[-1]
    found = [
        math.log(a / b) / math.log(n / m)
        for (a, b), (m, n) in zip(
            itertools.pairwise(errors), itertools.pairwise(steps), strict=True
        )
    ]
    assert all(order - 0.6 < o < order + 2.5 for o in found[-1:]), (found, errors)


def test_jacobians_are_the_derivatives_of_the_residual():
    v = Field("v", x, t)
    problem = PDE(
        "coupled",
        [
            sp.Eq(u.diff(t, 2) * (1 + v**2), (u * v).diff(x, 2) - sp.sin(u.diff(t)) * t),
            sp.Eq(v.diff(t) - v.diff(x, 2, t), sp.exp(u) * v.diff(x)),
        ],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [
            *(Initial(u, 1), Initial(u.diff(t), 0), Initial(v, 0)),
            *(Dirichlet(u, t**2, on="left"), Robin(u, 2, x + t**2, sp.sin(t), on="right")),
            Neumann(v, sp.cos(3 * t)),
        ],
    )
    system = System(lower(problem), Grid([Axis(0, 1, 6)]))
    generator = torch.Generator().manual_seed(0)
    state, rate, dz, dr = torch.randn(4, system.size, generator=generator, dtype=torch.float64)
    step, at = 1e-6, torch.tensor([0.3], dtype=torch.float64)

    def residual(eps, time=0.0):
        moved = (state + eps * dz)[None], (rate + eps * dr)[None]
        return system.residual(at + time, *moved)[0]

    by_state, by_rate = system.jacobians(at.item(), state, rate)
    slope = (residual(step) - residual(-step)) / (2 * step)
    torch.testing.assert_close(by_state @ dz + by_rate @ dr, slope, atol=1e-4, rtol=1e-6)
    partial = (residual(0.0, step) - residual(0.0, -step)) / (2 * step)
    found = system.time_partial(at.item(), state, rate)
    torch.testing.assert_close(found, partial, atol=1e-7, rtol=1e-6)
    assert not system.constant
    # the ends of u, of its velocity and of v are algebraic
    expected = torch.ones(3, 6, dtype=torch.bool)
    expected[:, [0, -1]] = False
    assert torch.equal(system.differential.reshape(3, 6), expected)


def test_conditions_start_and_move_on_at_their_time_to_the_last_digit():
    walls = [Dirichlet(u, sp.exp(t) * sp.sin(x + 1)), Initial(u, sp.exp(0.1) * sp.sin(x + 1))]
    equation = sp.Eq(u.diff(t), u.diff(x, 2) + 2 * sp.exp(t) * sp.sin(x + 1))
    problem = PDE("walls", [equation], Interval(x, 0, 1) * Time(t, 0.1, 1.1), walls)
    grid = Grid([Axis(0, 1, 20)])
    start = math.exp(0.1) * torch.sin(grid.points[:, 0] + 1)
    path = Integrator(System(lower(problem), grid)).run([(0.1, 1.1, 30)], start)
    assert path.times[-1] == 1.1
    expected = torch.exp(path.times)[:, None] * torch.sin(grid.points[:, 0] + 1)
    assert largest(path.states - expected) < 1e-12
    assert largest(path.rates - expected) < 1e-10
    # on the walls rates are those of the conditions, however long the steps
    path = Integrator(System(lower(problem), grid)).run([(0.1, 1.1, 2)], start)
    expected = torch.exp(path.times)[:, None] * torch.sin(grid.points[:, 0] + 1)
    assert largest((path.rates - expected)[:, [0, -1]]) < 1e-12


def test_the_smallest_singular_value_is_found():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(40, 40, generator=generator, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix)
    for small in (1e-3, 1e-9):
        values[-1] = small
        changed = left @ torch.diag(values) @ right
        scaled = changed / changed.abs().amax(1, keepdim=True)
        exact = torch.linalg.svdvals(scaled)[-1].item()
        assert Factor(changed).smallest() == pytest.approx(exact, rel=0.3)
    assert Factor(torch.ones(5, 5, dtype=torch.float64)).smallest() < 1e-15


# ------------------------------------------------------------------------------- the field


def test_a_field_is_its_expansion_and_its_hermite_polynomial():
    grid = Grid([Axis(0, 1, 16), Axis(0, 2, 15, periodic=True)])
    times = torch.tensor([0.0, 0.2, 0.5, 0.6, 1.0], dtype=torch.float64)
    a, b = grid.points.T
    space = torch.exp(a) * torch.cos(math.pi * b)
    values = (times[:, None] ** 7 * space)[:, None]
    rates = (7 * times[:, None] ** 6 * space)[:, None]
    field = ChebyshevField(axes=[ax.to_dict() for ax in grid.axes], channels=1, frames=5)
    state = {"times": times, "values": values, "rates": rates}
    state |= {n: grid.coefficients(state[n]) for n in ("values", "rates")}
    field.load_state_dict(state)
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points[:4, 0], points[:4, 2] = torch.tensor([0.0, 1.0, 0.5, 1.0]), torch.tensor([0, 1, 0.2, 0])
    p, q, s = points.T
    exact = (torch.exp(p) * torch.cos(math.pi * q) * s**7)[:, None]
    torch.testing.assert_close(field(points), exact, atol=1e-12, rtol=0)
    assert field(points.float()).dtype == torch.float32
    assert field(points[:0]).shape == (0, 1)


def test_a_steady_field_in_the_plane():
    grid = Grid([Axis(0, 1, 16), Axis(0, 2, 20)])
    a, b = grid.points.T
    values = torch.stack([torch.exp(a) * torch.sin(b), a * b])
    field = ChebyshevField(axes=[ax.to_dict() for ax in grid.axes], channels=2)
    field.load_state_dict({"coefficients": grid.coefficients(values)})
    p, q = (points := torch.rand(50, 2, dtype=torch.float64)).T
    exact = torch.stack([torch.exp(p) * torch.sin(q), p * q], dim=1)
    torch.testing.assert_close(field(points), exact, atol=1e-12, rtol=0)


def test_rows_at_corners_and_of_second_conditions():
    w = Field("w", x, y)
    box = Rectangle((x, y), (0, 0), (1, 1))
    conditions = [Dirichlet(w, 1, on="left"), *(Neumann(w, 2, on=s) for s in ("right", "top"))]
    conditions.append(Dirichlet(w, 3, on="bottom"))
    problem = PDE("corners", [w.diff(x, 2) + w.diff(y, 2)], box, conditions)
    system = System(lower(problem), Grid([Axis(0, 1, 5), Axis(0, 1, 5)]))
    zero = torch.zeros(1, system.size, dtype=torch.float64)
    found = -system.residual(torch.zeros(1), zero, zero).reshape(5, 5)
    # left and bottom meet in the sum of two rows, whose solution is their mean
    assert found[0].tolist() == [4, 1, 1, 1, 1] and found[1:, 0].tolist() == [3, 3, 3, 3]
    # a value beats a slope, two slopes add up
    assert found[-1].tolist() == [3, 2, 2, 2, 4] and found[1:-1, -1].tolist() == [2, 2, 2]
    assert system.corner_mismatch([0.0]) == 2
    clamped = PDE("clamped", [U.diff(x, 4)], Interval(x, 0, 1), [Dirichlet(U, 5), Neumann(U, 7)])
    system = System(lower(clamped), Grid([Axis(0, 1, 8)]))
    line = torch.zeros(1, 8, dtype=torch.float64)
    assert (-system.residual(torch.zeros(1), line, line))[0, [0, 1, -2, -1]].tolist() == [
        5,
        7,
        7,
        5,
    ]
    slope = system.jacobians(0.0, line[0], line[0])[0][[1, -2]]
    first = Axis(0, 1, 8).matrix(1)
    torch.testing.assert_close(slope, torch.stack([-first[0], first[-1]]))
