"""Lagrangian PINN: the map, its inversion, training, windows, refusals."""

import math

import pytest
import sympy as sp
import torch

import pdeml
from pdeml import engine, problems
from pdeml.domains import Interval, Rectangle, Time
from pdeml.errors import DivergedError, InvalidOption, UnsupportedProblem
from pdeml.operators.convective import convective_form
from pdeml.operators.pde import PDE, Field, Initial, Parameter, Periodic
from pdeml.solvers import lpinn
from pdeml.solvers.constraints import ExpressionField
from pdeml.solvers.lpinn import jacobian
from pdeml.solvers.lpinn import windows as module
from pdeml.solvers.lpinn.flow import FourierSeries, LabelWindow, LagrangianField
from pdeml.solvers.lpinn.system import LabelSystem
from pdeml.solvers.objective import Term, Trial
from pdeml.special.burgers import burgers_sine

x, y, t = sp.symbols("x y t", real=True)
w = Field("w", x, t)
q = Field("q", x, y, t)
TWO_PI = 2 * math.pi
SMALL = {"depth": 2, "width": 8, "points": 300, "cycle": 60}


def burgers(c=0, nu=0.01, duration=1):
    viscosity = Parameter("nu", nu, positive=True)
    return PDE(
        "burgers",
        [sp.Eq(w.diff(t) + (w**2 / 2).diff(x), viscosity * w.diff(x, 2))],
        Interval(x, 0, 2 * sp.pi) * Time(t, 0, duration),
        [Initial(w, c + sp.sin(x)), Periodic(w, x)],
    )


def cole_hopf(points, c, nu):
    """w = c + v(x − ct, t) from sin x, by the integral for −sin πz on [−1, 1]."""
    z = torch.remainder(points[:, 0] - c * points[:, 1], TWO_PI) / math.pi - 1
    return c + burgers_sine(z, points[:, 1] / math.pi, nu / math.pi)


def uniform(times, n=400):
    grid = TWO_PI / n * torch.arange(n, dtype=torch.float64)
    return torch.cat([torch.stack([grid, torch.full_like(grid, s)], -1) for s in times])


def burgers_error(solution, c=0.0, nu=0.01, times=(0.25, 0.5, 0.75, 1.0)):
    """Relative to the wave without its mean, on a uniform grid."""
    points = uniform(times)
    exact = cole_hopf(points, c, nu)
    return float((solution.values_at(points)[:, 0] - exact).norm() / (exact - c).norm())


def analytic_window(displacement, field, coordinates, drift, end=1.0):
    """A window whose map and field are given in closed form."""
    trial = Closed(ExpressionField([*displacement, field], coordinates, {}))
    d = len(displacement)
    return LabelWindow(trial, drift, [0.0] * d, [TWO_PI] * d, 0.0, 0.0, end)


class Closed(torch.nn.Module):
    def __init__(self, expression):
        super().__init__()
        self.expression = expression

    def forward(self, points):
        return self.expression(points)


WAVY = analytic_window([0.9 * t * sp.sin(x)], sp.cos(2 * x) + t * sp.sin(x), (x, t), [50.0])
SWIRL = analytic_window(
    [t * sp.sin(y) * 0.8, 0.5 * t * sp.sin(x) * sp.cos(y)],
    sp.cos(x - y) + t * sp.sin(x),
    (x, y, t),
    [3.0, -1.0],
)


# ------------------------------------------------------------------------------- back to the frame


@pytest.mark.parametrize("window", [WAVY, SWIRL], ids=["line", "plane"])
def test_labels_of_positions_round_trip(window):
    d = window.dim
    draw = torch.rand((4000, d + 1), generator=engine.generator(0), dtype=torch.float64)
    points = draw * torch.tensor([3 * TWO_PI] * d + [1.0]) - torch.tensor([TWO_PI] * d + [0.0])
    labels = window.labels(points)
    assert bool(((labels >= 0) & (labels <= TWO_PI)).all())
    position = window(torch.cat([labels, points[:, d:]], -1))[:, :d]
    defect = position - points[:, :d]
    assert float((defect - TWO_PI * torch.round(defect / TWO_PI)).abs().max()) <= 1e-11
    # the map moves labels by much more than a period's small part
    assert float((labels - window.wrapped(points[:, :d])).abs().max()) > 1.0


def test_derivatives_of_the_eulerian_field_are_those_of_the_chain_rule():
    field = LagrangianField([WAVY])
    points = torch.rand((200, 2), generator=engine.generator(1), dtype=torch.float64) * 0.9
    labels = WAVY.labels(points)
    xi, s = labels[:, 0], points[:, 1]
    J = 1 + 0.9 * s * torch.cos(xi)
    J_xi = -0.9 * s * torch.sin(xi)
    slope = -2 * torch.sin(2 * xi) + s * torch.cos(xi)
    bend = -4 * torch.cos(2 * xi) - s * torch.sin(xi)
    exact = {
        (1, 0): slope / J,
        (2, 0): bend / J**2 - slope * J_xi / J**3,
        (0, 1): torch.sin(xi) - (50 + 0.9 * torch.sin(xi)) * slope / J,
    }
    found = pdeml.operators.jets.derivatives(field, points, list(exact))
    for row, wanted in zip(found, exact.values(), strict=True):
        torch.testing.assert_close(row[:, 0], wanted, rtol=1e-9, atol=1e-9)
    # automatic differentiation takes the same way
    tracked = points.clone().requires_grad_(True)
    (first,) = torch.autograd.grad(field(tracked).sum(), tracked, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), tracked)
    torch.testing.assert_close(first[:, 0], exact[1, 0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(first[:, 1], exact[0, 1], rtol=1e-9, atol=1e-8)
    torch.testing.assert_close(second[:, 0], exact[2, 0], rtol=1e-9, atol=1e-8)


def test_no_label_is_found_where_characteristics_have_crossed_in_a_plane():
    folded = analytic_window([3.0 * sp.sin(x) * t, 0 * y], x + 0 * y, (x, y, t), [0.0, 0.0])
    with pytest.raises(DivergedError, match="Characteristics have crossed"):
        # X = ξ + 3 sin ξ is continuous on the circle, but Newton's method meets its folds
        folded.labels(torch.tensor([[math.nan, 1.0, 1.0]], dtype=torch.float64))


def test_a_fourier_series_interpolates_with_its_derivatives():
    n = 48
    axis = TWO_PI / n * torch.arange(n, dtype=torch.float64)
    a, b = torch.meshgrid(axis, axis, indexing="ij")
    values = torch.exp(torch.sin(a) + torch.cos(a + 2 * b)) + 3
    series = FourierSeries.of(values[..., None], [0.0, 0.0], [TWO_PI, TWO_PI])
    points = torch.rand((50, 3), generator=engine.generator(2), dtype=torch.float64) * 6
    found = pdeml.operators.jets.derivatives(series, points, [(0, 0, 0), (1, 1, 0), (0, 0, 1)])
    p, r = points[:, 0], points[:, 0] + 2 * points[:, 1]
    e = torch.exp(torch.sin(p) + torch.cos(r))
    mixed = e * ((torch.cos(p) - torch.sin(r)) * -2 * torch.sin(r) - 2 * torch.cos(r))
    torch.testing.assert_close(found[0, :, 0], e + 3, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found[1, :, 0], mixed, rtol=1e-8, atol=1e-8)
    assert float(found[2].abs().max()) == 0.0


# ------------------------------------------------------------------------------- the equations


def label_solution(c, nu):
    """Closed form of the system with W_ξξ in place of the second derivative in space."""
    decay = sp.exp(-nu * t)
    return analytic_window(
        [sp.sin(x) * (1 - decay) / nu], c + sp.sin(x) * decay, (x, t), [float(c)]
    )


def test_label_closure_is_solved_by_a_solution_of_another_equation():
    """W = sin ξ e^{−νt}: it satisfies the published closure, and is 13.7 % off Burgers."""
    window = label_solution(2, 0.01)
    form = convective_form(burgers(c=2))
    points = form.problem.domain.sample(400, engine.generator(0))
    sizes = {}
    for closure in ("label", "exact"):
        residual = LabelSystem(form, closure, (2.0,), 0.0).loss()
        term = Term("equation", residual, Trial(window.trial), points)
        sizes[closure] = float(term.residuals().abs().max())
    assert sizes["label"] <= 1e-13
    assert sizes["exact"] > 0.1
    labels = TWO_PI / 1000 * torch.arange(1000, dtype=torch.float64)
    at = torch.stack([labels, torch.ones_like(labels)], -1)
    position, state = window(at).unbind(-1)
    exact = cole_hopf(torch.stack([position, at[:, 1]], -1), 2, 0.01)
    error = float((state - exact).norm() / (exact - 2).norm())
    assert error == pytest.approx(0.137, abs=0.005)


def test_the_exact_closure_vanishes_on_burgers_itself():
    """Characteristics of the Cole–Hopf solution, integrated, satisfy both equations."""
    nu = 0.2
    form = convective_form(burgers(nu=nu))
    labels = torch.linspace(0.3, 6.0, 9, dtype=torch.float64)
    h, steps, width = 1e-3, 500, 2e-3
    # positions of each label and two neighbours, by Runge–Kutta along the exact velocity
    X = torch.stack([labels - width, labels, labels + width])
    paths = [X]

    def speed(position, s):
        flat = torch.stack([position.reshape(-1), torch.full_like(position.reshape(-1), s)], -1)
        return cole_hopf(flat, 0, nu).view_as(position)

    for k in range(steps + 1):
        s = k * h
        a = speed(X, s)
        b = speed(X + h / 2 * a, s + h / 2)
        c = speed(X + h / 2 * b, s + h / 2)
        d = speed(X + h * c, s + h)
        X = X + h / 6 * (a + 2 * b + 2 * c + d)
        paths.append(X)
    s = (steps - 0) * h
    before, here, after = paths[-3], paths[-2], paths[-1]
    W = [speed(p, s + o) for p, o in ((before, -h), (here, 0.0), (after, h))]
    residual = LabelSystem(form, "exact", (0.0,), 0.0).loss()
    rows = {
        (0, 0): (here[1] - labels, W[1][1]),
        (1, 0): ((here[2] - here[0]) / (2 * width) - 1, (W[1][2] - W[1][0]) / (2 * width)),
        (0, 1): ((after - before)[1] / (2 * h), (W[2] - W[0])[1] / (2 * h)),
        (2, 0): (
            (here[2] - 2 * here[1] + here[0]) / width**2,
            (W[1][2] - 2 * W[1][1] + W[1][0]) / width**2,
        ),
    }
    streams = [residual.streams.indices[i] for i in residual.rows]
    u = torch.stack([torch.stack(rows[index], -1) for index in streams])
    points = torch.stack([labels, torch.full_like(labels, s)], -1)
    assert float(residual(u, points).abs().max()) < 2e-5


def test_label_closure_warns_where_it_is_wrong_alone():
    with pytest.warns(lpinn.LabelClosureWarning, match="another equation"):
        lpinn.solve(burgers(nu=0.1), closure="label", max_iterations=1, **SMALL)


# ------------------------------------------------------------------------------- training


def test_convection_is_exact_at_any_speed():
    problem = problems.convection(speed=50)
    solution = pdeml.solve(problem, "lpinn", max_iterations=50, **SMALL)
    assert solution.report.error["l2_relative"] < 1e-12
    assert solution.report.converged and solution.report.min_jacobian == pytest.approx(1.0)


def test_convection_diffusion_in_seconds():
    problem = problems.convection_diffusion(speed=50)
    solution = pdeml.solve(
        problem, "lpinn", max_iterations=300, depth=1, width=8, points=300, cycle=100
    )
    assert solution.report.error["l2_relative"] < 1e-6
    assert solution.report.converged
    jump = solution.values_at(torch.tensor([[0.0, 0.7], [TWO_PI, 0.7]], dtype=torch.float64))
    assert float((jump[0] - jump[1]).abs()) < 1e-13


def test_burgers_does_not_know_the_speed_of_its_frame():
    """Same seeds: the same losses, and the same wave on the moved grid. Without the shift: not."""
    options = {**SMALL, "cycle": 10, "max_iterations": 50}
    slow, fast = (lpinn.solve(burgers(c, nu=0.1), **options) for c in (0, 50))
    losses = torch.tensor([slow.history["loss"], fast.history["loss"]])
    assert losses.shape[1] >= 4
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0.0)
    points = uniform((0.3, 1.0), 50)
    moved = points + torch.tensor([50.0, 0.0]) * points[:, 1:]
    difference = fast.values_at(moved) - 50 - slow.values_at(points)
    assert float(difference.abs().max()) < 1e-6
    with pytest.raises(DivergedError, match="characteristics cross at t"):
        lpinn.solve(burgers(50, nu=0.1), mean_shift=False, **options)
    # hard constraints
    window = fast.field.windows[0]
    at = torch.rand((100, 2), generator=engine.generator(0), dtype=torch.float64)
    turn = torch.tensor([TWO_PI, 0.0], dtype=torch.float64)
    with torch.no_grad():
        period = window(at + turn) - window(at)
        assert float((period[:, 0] - TWO_PI).abs().max()) <= 1e-13
        assert float(period[:, 1].abs().max()) <= 1e-13
        at[:, 1] = 0.0
        start = window(at)
    assert torch.equal(start[:, 0], at[:, 0])
    assert torch.equal(start[:, 1], 50 + torch.sin(at[:, 0]))


def test_burgers_with_a_front():
    solution = lpinn.solve(burgers(nu=0.05), max_iterations=250, depth=2, width=12, points=500)
    assert burgers_error(solution, nu=0.05) < 2e-3
    assert solution.report.min_jacobian == pytest.approx(0.12012, rel=0.03)
    assert solution.report.violations["initial w"] < 1e-14


def test_windows_hand_over_the_state_with_old_and_new_labels(monkeypatch):
    solutions = {}
    for threshold in (0.02, 2.0):
        monkeypatch.setattr(module, "RELABEL_BELOW", threshold)
        solutions[threshold] = lpinn.solve(
            burgers(3, nu=0.2), windows=2, max_iterations=60, **SMALL
        )
    kept, renewed = (s.field.windows[1] for s in solutions.values())
    assert kept.labelled == 0.0 and renewed.labelled == 0.5
    for solution in solutions.values():
        points = uniform((0.5,), 100)
        with torch.no_grad():
            before, after = (window.eulerian(points) for window in solution.field.windows)
        assert float((before - after).abs().max()) < 1e-10
        assert burgers_error(solution, 3, 0.2) < 2e-2
        # curves run on through the change of labels
        labels = torch.linspace(0.1, 6.0, 7, dtype=torch.float64)[:, None]
        times = torch.tensor([0.0, 0.5 - 1e-9, 0.5 + 1e-9, 1.0], dtype=torch.float64)
        positions, states = lpinn.characteristics(solution, labels, times)
        torch.testing.assert_close(positions[0], labels)
        torch.testing.assert_close(positions[1], positions[2], rtol=0, atol=1e-7)
        for s, place, state in zip(times, positions, states, strict=True):
            at = torch.cat([place, torch.full_like(place, float(s))], -1)
            torch.testing.assert_close(solution(at), state, rtol=0, atol=1e-8)


def test_a_rotating_shear_in_a_plane_against_the_spectral_reference():
    D = Parameter("D", 0.05, positive=True)
    flow = (-sp.cos(x) * sp.sin(y), sp.sin(x) * sp.cos(y))
    problem = PDE(
        "swirl",
        [
            sp.Eq(
                q.diff(t) + flow[0] * q.diff(x) + flow[1] * q.diff(y),
                D * (q.diff(x, 2) + q.diff(y, 2)),
            )
        ],
        Rectangle((x, y), (0, 0), (2 * sp.pi, 2 * sp.pi)) * Time(t, 0, 0.5),
        [Initial(q, sp.sin(x) + sp.cos(y)), Periodic(q, x), Periodic(q, y)],
    )
    solution = pdeml.solve(
        problem, "lpinn", reference="spectral", max_iterations=60, depth=2, width=10, points=300
    )
    assert solution.report.error["l2_relative"] < 2e-2
    # an incompressible flow keeps volumes
    assert solution.report.min_jacobian == pytest.approx(1.0, abs=0.15)


def test_another_initial_value_as_expression_and_as_function():
    problem = problems.convection_diffusion(speed=3)
    bump = sp.exp(sp.cos(x))
    expression = lpinn.solve(problem, initial=bump, max_iterations=5, **SMALL)
    function = lpinn.solve(
        problem, initial=lambda p: torch.exp(torch.cos(p[:, :1])), max_iterations=5, **SMALL
    )
    points = uniform((0.0, 0.5), 30)
    difference = (expression.values_at(points) - function.values_at(points)).abs().max()
    assert float(difference) < 1e-8
    start = function.values_at(points[:30])[:, 0]
    torch.testing.assert_close(start, torch.exp(torch.cos(points[:30, 0])))
    with pytest.raises(InvalidOption, match="returned 2 columns"):
        lpinn.solve(problem, initial=lambda p: p, max_iterations=1, **SMALL)


# ------------------------------------------------------------------------------- files


def test_saved_windows_give_the_same_values(tmp_path):
    solution = lpinn.solve(burgers(2, nu=0.2), windows=2, max_iterations=20, **SMALL)
    solution.save(tmp_path / "run.h5")
    again = pdeml.load(tmp_path / "run.h5")
    points = uniform((0.0, 0.3, 0.8), 40)
    assert torch.equal(solution.values_at(points), again.values_at(points))
    assert again.report.min_jacobian == solution.report.min_jacobian
    derivative = again.derivative(w, x)(points)
    torch.testing.assert_close(derivative, solution.derivative(w, x)(points))


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    options = {**SMALL, "cycle": 10}
    whole = lpinn.solve(burgers(nu=0.2), max_iterations=30, **options)
    path = tmp_path / "state.h5"
    lpinn.solve(burgers(nu=0.2), max_iterations=20, checkpoint=path, **options)
    resumed = lpinn.solve(
        burgers(nu=0.2), max_iterations=30, checkpoint=path, resume=True, **options
    )
    points = uniform((0.5, 1.0), 40)
    assert torch.equal(whole.values_at(points), resumed.values_at(points))


# ------------------------------------------------------------------------------- refusals


def inviscid(duration, speed=w, source=0):
    return PDE(
        "inviscid",
        [sp.Eq(w.diff(t) + speed * w.diff(x), source)],
        Interval(x, 0, 2 * sp.pi) * Time(t, 0, duration),
        [Initial(w, sp.sin(x)), Periodic(w, x)],
    )


def test_without_diffusion_the_crossing_is_refused_where_it_is():
    with pytest.raises(UnsupportedProblem, match=r"cross at t ≈ 1 \(label 3.14"):
        lpinn.solve(inviscid(1.5))
    assert lpinn.can_solve(inviscid(0.95)) is None
    # damping moves the crossing to −log(1 − 1/2)·2 = 2 log 2, and past 1 it never comes
    crossing = lpinn.inviscid_crossing(convective_form(inviscid(2, source=-w / 2)))
    assert crossing is not None and crossing.time == pytest.approx(2 * math.log(2), abs=1e-4)
    assert lpinn.can_solve(inviscid(50, source=-1.01 * w)) is None
    # a velocity of position and time alone is a flow: it never crosses
    assert lpinn.can_solve(inviscid(20, speed=2 + sp.sin(x) * sp.cos(t))) is None


def test_characteristics_that_cross_while_training_end_it():
    window = analytic_window([1.25 * t * sp.sin(x)], sp.sin(x), (x, t), [0.0])
    with pytest.raises(DivergedError, match=r"cross at t ≈ 1 \(label 3.14"):
        jacobian.watching(window)(None)
    assert jacobian.watching(WAVY)(None) is False
    smallest, where = jacobian.smallest_jacobian(LagrangianField([WAVY]))
    assert smallest == pytest.approx(0.1, abs=1e-12)
    assert where.time == 1.0 and where.label[0] == pytest.approx(math.pi)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"closure": "chain"}, "closure='chain'; accepted are exact, label"),
        ({"windows": 0}, "windows=0"),
        ({"windows": 2, "checkpoint": "state.h5"}, "keeps the state of one window"),
        ({"dtype": "float32"}, "needs float64"),
        ({"points": -1}, "points=-1"),
        ({"initial": "sin(x)"}, "initial='sin"),
        ({"optimizer": "newton"}, "optimizer='newton'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InvalidOption, match=message):
        lpinn.solve(burgers(nu=0.1), **options)


def test_curves_are_of_this_method_alone():
    exact = pdeml.solve(problems.convection(), "exact")
    with pytest.raises(InvalidOption, match='only "lpinn"'):
        lpinn.characteristics(exact, torch.zeros(1, 1), torch.zeros(1))


def test_strategies_side_by_side():
    table = lpinn.compare_strategies(
        problems.convection(speed=30),
        seeds=1,
        time_limit=None,
        max_iterations=10,
        windows=2,
        stages=2,
    )
    errors = {a.strategy: a.error for a in table.attempts}
    assert list(errors) == ["pinn", "windows", "curriculum", "lpinn"]
    assert errors["lpinn"] < 1e-12
    assert all(errors[name] > 0.1 for name in ("pinn", "windows", "curriculum"))
    assert "lpinn" in str(table) and "exact" in str(table)
    with pytest.raises(InvalidOption, match="accepted are pinn, windows"):
        lpinn.compare_strategies(problems.convection(), ["xpinn"])
    with pytest.raises(InvalidOption, match="holds 0; name one"):
        lpinn.compare_strategies(burgers(), ["curriculum"])


@pytest.mark.slow
@pytest.mark.parametrize("c", [0, 50])
def test_burgers_with_viscosity_0_01(c):
    solution = lpinn.solve(burgers(c), max_iterations=2000)
    assert burgers_error(solution, c) < 1e-4
    assert solution.report.min_jacobian == pytest.approx(0.05454, rel=0.02)


@pytest.mark.slow
def test_training_the_label_closure_reaches_its_own_solution():
    with pytest.warns(lpinn.LabelClosureWarning):
        solution = lpinn.solve(burgers(), closure="label", max_iterations=1200)
    labels = (TWO_PI / 500 * torch.arange(500, dtype=torch.float64))[:, None]
    positions, states = lpinn.characteristics(solution, labels, torch.ones(1))
    closed = torch.sin(labels) * math.exp(-0.01)
    assert float((states[0] - closed).abs().max()) < 1e-4
    exact = cole_hopf(torch.cat([positions[0], torch.ones_like(labels)], -1), 0, 0.01)
    assert float((states[0, :, 0] - exact).norm() / exact.norm()) == pytest.approx(0.137, abs=5e-3)
