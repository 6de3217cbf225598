"""The closed form as a solution: it satisfies the declared equations and conditions."""

import cmath

import pytest
import sympy as sp
import torch

from pdeml import problems
from pdeml.domains import Interval, Rectangle, Time
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.jets import Streams, derivatives, supports_jets
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Periodic
from pdeml.solvers import exact

x, y, t = sp.symbols("x y t", real=True)

CLOSED = [name for name in problems.names() if problems.get(name)().exact is not None]


def residual_of(problem, points):
    """The declared residuals of the exact field, each divided by its largest term."""
    solution = exact.solve(problem)
    atoms = sorted(set().union(*(r.atoms(sp.Derivative) for r in problem.residuals)), key=str)
    indices = [tuple(dict(a.variable_count).get(c, 0) for c in problem.coordinates) for a in atoms]
    indices = [tuple(int(k) for k in index) for index in indices]
    columns = derivatives(solution.field, points, [*indices, (0,) * points.shape[1]])
    stand_ins = {a: sp.Dummy() for a in atoms}
    fields = {f: sp.Dummy() for f in problem.fields}
    worst = 0.0
    for residual in problem.residuals:
        expression = residual.xreplace(stand_ins).xreplace(fields)
        symbols = [*problem.coordinates, *problem.values, *stand_ins.values(), *fields.values()]
        values = [p.numpy() for p in points.unbind(1)] + list(problem.values.values())
        values += [
            columns[i][:, problem.fields.index(a.expr)].detach().numpy()
            for i, a in enumerate(atoms)
        ]
        values += [columns[-1][:, i].detach().numpy() for i in range(len(fields))]
        terms = [abs(sp.lambdify(symbols, term)(*values)).max() for term in expression.args]
        # where every term vanishes (∇·u of the ABC flow) the residual is compared with 1
        scale = max(terms) or 1.0
        worst = max(worst, abs(sp.lambdify(symbols, expression)(*values)).max() / scale)
    return worst


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_satisfy_their_equations(name):
    problem = problems.get(name)()
    if name == "burgers":
        problem = problem.with_parameters(
            nu=0.05
        )  # round-off grows with the sharpness of the shock
    points = problem.domain.sample(100, torch.Generator().manual_seed(0))
    assert residual_of(problem, points) < 1e-9


def test_the_residual_check_sees_a_wrong_sign():
    right = problems.convection(speed=3.0)
    (f,), (xs, ts) = right.fields, right.coordinates
    wrong = PDE(
        "convection",
        [sp.Eq(f.diff(ts), 3 * f.diff(xs))],
        right.domain,
        right.conditions,
        exact={f: right.exact[f].subs(dict(right.values))},
    )
    points = right.domain.sample(100, torch.Generator().manual_seed(0))
    assert residual_of(wrong, points) > 0.1


def test_parameters_take_the_values_of_the_problem():
    point = torch.tensor([[0.4, 0.2]], dtype=torch.float64)
    for speed in (1.0, 7.0):
        problem = problems.convection().with_parameters(c=speed)
        found = exact.solve(problem)(point).item()
        expected = torch.sin(point[0, 0] - speed * point[0, 1]).item()
        assert found == pytest.approx(expected, abs=1e-14)


def test_several_fields_constants_and_jets():
    u, v = Field("u", x, y), Field("v", x, y)
    problem = PDE(
        "pair",
        [sp.Eq(u.diff(x, 2) + u.diff(y, 2), 0), sp.Eq(v.diff(x, 2) + v.diff(y, 2), 0)],
        Rectangle((x, y), (0, 0), (1, 1)),
        [Dirichlet(u, x**2 - y**2), Dirichlet(v, 3)],
        exact={u: x**2 - y**2, v: sp.Integer(3)},
    )
    solution = exact.solve(problem)
    points = torch.rand(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([points[:, 0] ** 2 - points[:, 1] ** 2, torch.full((7,), 3.0)], dim=1)
    torch.testing.assert_close(solution(points), expected)
    assert supports_jets(solution.field, points, Streams(2, [(2, 0)]))
    assert torch.equal(
        solution.derivative(u, x, 2)(points), torch.full((7, 1), 2.0, dtype=torch.float64)
    )
    assert exact.solve(problem, dtype="float32")(points).dtype == torch.float32


def test_refusals():
    with pytest.raises(UnsupportedProblem, match=r"allen_cahn.*no closed form"):
        exact.solve(problems.allen_cahn())
    with pytest.raises(UnsupportedProblem, match=r"'nu'.*unknown"):
        exact.solve(problems.burgers().with_unknown(nu=0.1))
    with pytest.raises(InvalidOption, match="toaster"):
        exact.solve(problems.heat(), device="toaster")


def test_complex_values():
    h = Field("h", x, t, dtype=complex)
    problem = PDE(
        "free",
        [sp.Eq(sp.I * h.diff(t) + h.diff(x, 2) / 2, 0)],
        Interval(x, 0, 2 * sp.pi) * Time(t, 0, 1),
        [Initial(h, sp.exp(sp.I * x)), Periodic(h, x)],
        exact={h: sp.exp(sp.I * (x - t / 2))},
    )
    solution = exact.solve(problem)
    points = torch.tensor([[0.3, 0.8]], dtype=torch.float64)
    expected = cmath.exp(1j * (0.3 - 0.4))
    assert abs(solution(points).item() - expected) < 1e-14
    slope = solution.derivative(h, x)(points).item()
    assert abs(slope - 1j * solution(points).item()) < 1e-13


def test_the_missing_quadrant_of_an_l_shape_has_no_values():
    """Not even on the sides of the square, which the part that is cut off reaches."""
    values = exact.solve(problems.poisson_lshape()).to_xarray(resolution=21)["u"]
    missing = (values.x > 1e-9) & (values.y < -1e-9)
    assert values.isnull().equals(missing.transpose(*values.dims))
