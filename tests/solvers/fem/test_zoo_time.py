"""Problems of the zoo in time by finite elements, against other methods and invariants."""

import pytest
import torch

import pdeml
from pdeml import problems
from pdeml.operators.conditions import Initial, Periodic
from pdeml.operators.pde import PDE


def solve(problem, method="fem", **options):
    return pdeml.solve(problem, method, reference=None, **options)


def mirrored(problem):
    """The same equations on the box twice as large, where a reflected solution is periodic."""
    x, y, t = problem.coordinates
    box = pdeml.Rectangle((x, y), (-1, -1), (3, 3)) * pdeml.Time(t, 0, problem.domain.time.end)
    conditions = [c for c in problem.conditions if isinstance(c, Initial)]
    conditions += [Periodic(f, c) for f in problem.fields for c in (x, y)]
    return PDE("mirrored", problem.equations, box, conditions)


def test_impermeable_walls_are_mirrors():
    """FitzHugh–Nagumo with no flux, against ETDRK4 on the reflected torus."""
    problem = problems.fitzhugh_nagumo(activator=5e-3, inhibitor=2e-2, duration=1)
    solution = solve(problem, h=1 / 8, dt=0.1)
    reference = solve(mirrored(problem), "spectral", resolution=64, dt=0.02)
    points = problem.domain.sample(2000, torch.Generator().manual_seed(0))
    points[:500, 2] = 1.0
    found, expected = solution(points), reference(points)
    assert (found - expected).norm() < 6e-3 * expected.norm()
    # what is made by the reaction stays in the box
    u, v = problem.fields
    k = problem.find_parameter("k")
    for at in (0.3, 0.9):
        made = solution.integral(u - u**3 - k - v, time=at)
        assert solution.integral(u.diff(problem.time), time=at) == pytest.approx(made, abs=2e-3)
        assert abs(solution.flux("u", time=at)) < 2e-3


@pytest.mark.slow
def test_burgers_at_the_points_of_cole_and_hopf():
    """fem_reference.md §4.5: ν = 0.02, t = 1/2."""
    solution = solve(problems.burgers(nu=0.02), h=1 / 256, dt=1 / 512, degree=3)
    at = torch.tensor([[0.25, 0.5], [-0.3, 0.5]], dtype=torch.float64)
    known = [-0.82252964, 0.7809411748]
    assert solution(at)[:, 0].tolist() == pytest.approx(known, rel=2e-5)
