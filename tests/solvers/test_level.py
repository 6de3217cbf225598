"""Fields that a declaration determines up to a constant: pressures, potentials."""

import sympy as sp
import torch

import pdeml
from pdeml import engine, problems
from pdeml.domains import Disk, Interval, Rectangle, Time
from pdeml.operators.pde import PDE, Dirichlet, Field, Flux, Initial, Neumann, Periodic, Robin
from pdeml.operators.posedness import free_constants
from pdeml.solvers import pinn
from pdeml.solvers.level import Level, Levelled

x, y, t = sp.symbols("x y t", real=True)


def kovasznay(reynolds=20):
    """Flow behind a grid; p is declared with a mean that is not 0."""
    u, v, p = (Field(name, x, y) for name in "uvp")
    half = sp.Rational(reynolds, 2)
    rate = half - sp.sqrt(half**2 + 4 * sp.pi**2)
    exact = {
        u: 1 - sp.exp(rate * x) * sp.cos(2 * sp.pi * y),
        v: rate / (2 * sp.pi) * sp.exp(rate * x) * sp.sin(2 * sp.pi * y),
        p: 7 - sp.exp(2 * rate * x) / 2,
    }
    momentum = [
        u * w.diff(x) + v * w.diff(y) + p.diff(c) - (w.diff(x, 2) + w.diff(y, 2)) / reynolds
        for w, c in ((u, x), (v, y))
    ]
    return PDE(
        "kovasznay",
        [*momentum, u.diff(x) + v.diff(y)],
        Rectangle((x, y), (-0.5, -0.5), (1, 1.5)),
        [Dirichlet(u, exact[u]), Dirichlet(v, exact[v])],
        exact,
        fields=[u, v, p],
    )


def names(problem):
    return [f.func.__name__ for f in free_constants(problem)]


def test_which_constants_are_free():
    u = Field("u", x, y)
    poisson, box = [u.diff(x, 2) + u.diff(y, 2)], Rectangle((x, y), (0, 0), (1, 1))
    assert names(PDE("p", poisson, box, [Neumann(u, 0)])) == ["u"]
    assert names(PDE("p", poisson, box, [Robin(u, 0, 1, 0)])) == ["u"]
    assert names(PDE("p", poisson, box, [Robin(u, 1, 1, 0)])) == []
    assert names(PDE("p", [poisson[0] + u.diff(x) * u], box, [Neumann(u, 0)])) == []
    w = Field("w", x, t)
    line = Interval(x, 0, 1) * Time(t, 0, 1)
    assert names(PDE("h", [w.diff(t) - w.diff(x, 2)], line, [Initial(w, x), Neumann(w, 0)])) == []
    assert names(problems.cylinder_channel()) == []  # the outflow holds p
    assert names(problems.lid_driven_cavity()) == ["p"]
    assert names(problems.navier_stokes(dim=3)) == ["p"]
    assert names(problems.taylor_green_vortex()) == ["psi"]


def test_kovasznay_flow_with_its_pressure():
    problem = kovasznay()
    solution = pdeml.solve(
        problem, "pinn", recipe="gauss_newton", width=32, points=600, max_iterations=50
    )
    error = solution.report.error
    assert all(error[f"l2_relative[{name}]"] < 1e-2 for name in "uvp")
    assert solution.report.converged
    assert any("p up to a constant" in note for note in solution.report.notes)
    points = problem.domain.sample(2**13, engine.generator(5), "sobol")
    assert abs(float(solution.values_at(points)[:, 2].mean())) < 1e-4


def test_a_level_in_time_takes_out_the_mean_at_every_instant(tmp_path):
    """Trained or not, the pressure has the mean 0, and keeps it in a file; velocities are left."""
    problem = problems.navier_stokes(dim=2, duration=1.0)
    solution = pinn.solve(problem, points=100, max_iterations=20, adam_steps=10, cycle=10)
    solution.save(tmp_path / "flow.h5")
    axis = (torch.arange(24, dtype=torch.float64) + 0.5) / 24 * 2 * torch.pi
    space = torch.cartesian_prod(axis, axis)
    for time in (0.0, 0.37, 1.0):
        points = torch.cat([space, torch.full_like(space[:, :1], time)], -1)
        for one in (solution, pdeml.load(tmp_path / "flow.h5")):
            assert abs(float(one.values_at(points)[:, 2].mean())) < 1e-9
    bare = solution.field.network(solution.field.embedding(points))
    factor, lift = solution.field.factor(points), solution.field.base.lift(points)
    assert torch.equal(solution(points)[:, :2], (lift + factor * bare)[:, :2])


def test_windows_keep_the_mean():
    problem = problems.navier_stokes(dim=2, duration=1.0)
    solution = pinn.solve(
        problem, windows=2, points=100, max_iterations=20, adam_steps=10, cycle=10
    )
    axis = (torch.arange(24, dtype=torch.float64) + 0.5) / 24 * 2 * torch.pi
    space = torch.cartesian_prod(axis, axis)
    for time in (0.2, 0.8):
        points = torch.cat([space, torch.full_like(space[:, :1], time)], -1)
        assert abs(float(solution.values_at(points)[:, 2].mean())) < 1e-8


def test_level_on_a_disk():
    u = Field("u", x, y)
    problem = PDE(
        "neumann", [u.diff(x, 2) + u.diff(y, 2) - 4], Disk((x, y), (0, 0), 1), [Neumann(u, 2)]
    )
    level = Level(problem)

    class Paraboloid(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.base = Levelled(None, level)

        def forward(self, points):
            return points.square().sum(-1, keepdim=True) + 3 + self.base(points)

    field = Paraboloid()
    level.set(field, problem)
    # ∫ r² over the unit disk is π/2
    assert abs(float(level.coefficients) + 3.5) < 1e-3


def test_comparison_leaves_out_what_is_not_determined():
    """Two pressures that differ by a function of time are the same solution."""
    problem = problems.navier_stokes(dim=2, duration=1.0)
    u, _, p = problem.fields
    shifted = PDE(
        problem.name,
        problem.equations,
        problem.domain,
        problem.conditions,
        {**problem.exact, p: problem.exact[p] + 5 * sp.cos(problem.time)},
        fields=problem.fields,
    )
    error = pdeml.solve(shifted, "exact").error(pdeml.solve(problem, "exact"), 17)
    assert error["linf"] < 1e-12
    moved = PDE(
        problem.name,
        problem.equations,
        problem.domain,
        problem.conditions,
        {**problem.exact, u: problem.exact[u] + 5},
        fields=problem.fields,
    )
    assert pdeml.solve(moved, "exact").error(pdeml.solve(problem, "exact"), 17)["linf"] > 4.9


def test_data_tell_the_constant():
    problem = kovasznay()
    points = problem.domain.sample(100, engine.generator(3))
    values = pdeml.solve(problem, "exact").values_at(points)
    solution = pinn.solve(
        problem,
        data=(points, values),
        recipe="gauss_newton",
        width=16,
        points=300,
        max_iterations=25,
    )
    assert abs(float(solution.values_at(points)[:, 2].mean() - values[:, 2].mean())) < 0.1


def test_a_flux_that_holds_the_pressure_fixes_it():
    flow = problems.cylinder_channel()
    assert any(isinstance(c, Flux) for c in flow.conditions)
    closed = [c for c in flow.conditions if not isinstance(c, Flux)]
    closed += [Dirichlet(f, 0, on="right") for f in flow.fields[:2]]
    assert names(PDE("closed", flow.equations, flow.domain, closed, fields=flow.fields)) == ["p"]


def test_periodic_flow_in_vorticity_and_stream_function():
    w = Field("w", x, y)
    torus = Rectangle((x, y), (0, 0), (1, 1))
    problem = PDE(
        "poisson",
        [w.diff(x, 2) + w.diff(y, 2) + sp.cos(2 * sp.pi * x)],
        torus,
        [Periodic(w, x), Periodic(w, y)],
        {w: sp.cos(2 * sp.pi * x) / (4 * sp.pi**2) + 11},
    )
    solution = pdeml.solve(
        problem, "pinn", recipe="gauss_newton", width=12, points=300, max_iterations=25
    )
    assert solution.report.error["l2_relative"] < 1e-3
    assert solution.report.converged
