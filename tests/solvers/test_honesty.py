"""Wrong solutions with a small loss, each reported as not converged for its own reason."""

import math

import sympy as sp
import torch

from pdeml import engine, problems
from pdeml.domains import Interval, Rectangle, Time
from pdeml.nn.networks import MLP
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Neumann, Periodic
from pdeml.solvers import pinn
from pdeml.solvers.level import pinned_point
from pdeml.solvers.objective import Trial
from pdeml.solvers.run import Run
from pdeml.solvers.schedule import Schedule

x, y, t = sp.symbols("x y t", real=True)
u = Field("u", x, t)
pi = math.pi


class Known(torch.nn.Module):
    """A known function in place of a network, with a scale and a shift to be trained."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
        self.shift = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, points):
        return self.function(points) * self.scale + self.shift


def judged(problem, function, **options):
    """The report of a run that ends with the known function."""
    return judged_module(problem, Known(function), **options)


def judged_module(problem, module, points=200, **options):
    """The report of a run of one step that has no length."""
    given = dict.fromkeys(
        "dtype time_limit max_iterations weights optimizer adam_steps cycle sampling patience "
        "data initial".split()
    )
    still = Schedule(optimizer=None, adam_rate=1e-14, max_iterations=1, sampling="uniform")
    run = Run(
        problem,
        "pinn",
        still,
        seed=0,
        device="cpu",
        points=points,
        condition_points=50,
        condition_weight=1.0,
        constraints="soft",
        **{**given, **options},
    )
    shown = {"checkpoint": None, "resume": False, "progress": False}
    return run.train(Trial(module), {}, {}, **shown).report


def column(p, i):
    return p[..., i : i + 1]


def reasons(report):
    assert report.converged is False
    return " ".join(note for note in report.notes if note.startswith("not converged"))


def heat(*more, rate=1, initial=None, exact=None):
    return PDE(
        "heat",
        [sp.Eq(u.diff(t), rate * u.diff(x, 2))],
        Interval(x, 0, 1) * Time(t, 0, 0.1),
        [Initial(u, sp.sin(sp.pi * x) if initial is None else initial), *more],
        exact=exact,
    )


def decaying(p):
    return torch.sin(pi * column(p, 0)) * torch.exp(-(pi**2) * column(p, 1))


def test_a_right_solution_is_not_doubted():
    exact = {u: sp.sin(sp.pi * x) * sp.exp(-(sp.pi**2) * t)}
    assert judged(heat(Dirichlet(u, 0), exact=exact), decaying).converged


def test_convection_on_few_points():
    """c = 50: the points are fitted, a small loss with an error of order one."""
    solution = pinn.solve(
        problems.convection(50.0),
        points=25,
        depth=2,
        width=10,
        sampling="sobol",
        adam_steps=50,
        cycle=400,
        max_iterations=400,
    )
    assert min(solution.history["loss"]) < 1e-2 * solution.report.losses["equation"]
    assert "of the equation's terms" in reasons(solution.report)


def test_points_that_were_fitted():
    """A change that is flat at the training points: only fresh points show it."""
    at = PDE(
        "decay",
        [sp.Eq(u.diff(t), -u)],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(u, 1)],
    )
    trained = at.domain.sample(8, engine.generator(0), "uniform")[:, 1]

    def fitted(p):
        distance = (column(p, 1) - trained).prod(-1, keepdim=True)
        return torch.exp(-column(p, 1)) + 30 * distance**2

    report = judged(at, fitted, points=8)
    assert report.residual_train < 1e-12
    assert "the points were fitted" in reasons(report)


def test_ripples_of_a_small_amplitude():
    problem = problems.convection(1.0)

    def rippled(p):
        phase = column(p, 0) - column(p, 1)
        return torch.sin(phase) + 1e-3 * torch.sin(400 * pi * column(p, 1)) * column(p, 1)

    assert "residual integrated over time" in reasons(judged(problem, rippled))


def test_a_trivial_steady_solution():
    w = Field("w", x)
    problem = PDE(
        "steady_allen_cahn",
        [sp.Eq(w.diff(x, 2), -20 * (w - w**3))],
        Interval(x, 0, 1),
        [Dirichlet(w, 0)],
    )
    assert "zero, which solves" in reasons(judged(problem, lambda p: 0 * p))


def test_a_front_that_no_sample_sees():
    """u_t + u u_x = ν u_xx: constant states on both sides of a jump have no residual on points."""
    problem = PDE(
        "front",
        [sp.Eq(u.diff(t) + u * u.diff(x), u.diff(x, 2) / 100)],
        Interval(x, -1, 1) * Time(t, 0, 1),
        [Initial(u, -sp.tanh(50 * x)), Dirichlet(u, 1, on="left"), Dirichlet(u, -1, on="right")],
    )
    right = judged(problem, lambda p: -torch.tanh(50 * column(p, 0)))
    assert right.converged

    # at the start right, then at once with the front elsewhere, as thin as a rounding error
    def jumped(p):
        jump = torch.tanh(1e9 * (column(p, 1) - 1e-7)) * 0.5 + 0.5
        moved = torch.tanh(1e9 * (column(p, 0) - 0.30001))
        return -torch.tanh(50 * column(p, 0)) * (1 - jump) - moved * jump

    report = judged(problem, jumped)
    assert report.residual_fresh < 1e-2
    assert "between samples" in reasons(report)


def test_a_wrong_sign_at_a_corner():
    w = Field("w", x, y)
    problem = PDE(
        "corner",
        [sp.Eq(w.diff(x, 2) + w.diff(y, 2), 0)],
        Rectangle((x, y), (0, 0), (1, 1)),
        [Dirichlet(w, x * y)],
    )
    assert judged(problem, lambda p: column(p, 0) * column(p, 1)).converged

    # harmonic, and 1 − 2ε at the corner in place of 1: the singularity is just outside
    def dipped(p):
        a, b = column(p, 0) - 1.02, column(p, 1) - 1.02
        return column(p, 0) * column(p, 1) - 1.6e-3 * a * b / (a * a + b * b) ** 2

    report = judged(problem, dipped)
    assert report.residual_fresh < 1e-10
    assert "dirichlet w" in reasons(report)


def test_zero_in_place_of_the_initial_value():
    report = judged(heat(Dirichlet(u, 0)), lambda p: 0 * column(p, 0))
    assert report.residual_fresh == 0
    assert "condition 'initial u' is violated" in reasons(report)


def test_another_equilibrium_of_allen_cahn():
    """The initial value is met, and left at once for an equilibrium that solves the equation."""
    problem = PDE(
        "allen_cahn",
        [sp.Eq(u.diff(t), u.diff(x, 2) / 10_000 + 5 * (u - u**3))],
        Interval(x, -1, 1) * Time(t, 0, 1),
        [Initial(u, sp.cos(sp.pi * x) / 2), Periodic(u, x)],
    )
    for width, word in ((1e-2, "integrated over time"), (1e-9, "between samples")):

        def stuck(p, width=width):
            left = torch.exp(-column(p, 1) / width)
            return torch.cos(pi * column(p, 0)) / 2 * left + (1 - left)

        assert word in reasons(judged(problem, stuck))


def test_a_neumann_problem_up_to_a_function():
    """Diffusion along x alone: a function of y may be added, of which a mean fixes one value."""
    w = Field("w", x, y)
    problem = PDE(
        "layers",
        [sp.Eq(w.diff(x, 2), -(sp.pi**2) * sp.cos(sp.pi * x))],
        Rectangle((x, y), (0, 0), (1, 1)),
        [Neumann(w, 0, on="left"), Neumann(w, 0, on="right")],
    )
    network = MLP(2, 1, depth=1, width=8, generator=engine.generator(0))

    class Layers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, p):
            return torch.cos(pi * column(p, 0)) + self.network(torch.cat([column(p, 1)] * 2, -1))

    report = judged_module(problem, Layers())
    assert report.residual_fresh < 1e-10
    assert "do not determine" in reasons(report)


def test_a_neumann_problem_up_to_a_constant():
    """The declaration leaves the constant open, which is no doubt about the solution."""
    w = Field("w", x, y)
    problem = PDE(
        "neumann",
        [sp.Eq(w.diff(x, 2) + w.diff(y, 2), -2 * sp.pi**2 * sp.cos(sp.pi * x) * sp.cos(sp.pi * y))],
        Rectangle((x, y), (0, 0), (1, 1)),
        [Neumann(w, 0)],
    )
    pin = float(torch.cos(pi * pinned_point(problem)).prod())
    report = judged(
        problem, lambda p: torch.cos(pi * column(p, 0)) * torch.cos(pi * column(p, 1)) - pin
    )
    assert report.converged, report.notes


def test_right_early_and_wrong_late():
    def late(p):
        wrong = torch.nn.functional.softplus(400 * (column(p, 1) - 0.09)) / 40
        return decaying(p) + wrong * column(p, 0) * (1 - column(p, 0))

    assert "of the equation's terms" in reasons(judged(heat(Dirichlet(u, 0)), late))


def test_a_wave_that_drifts_away():
    """Second order in time: a small acceleration for a long time is a large error."""
    problem = PDE(
        "string",
        [sp.Eq(u.diff(t, 2), u.diff(x, 2))],
        Interval(x, 0, 1) * Time(t, 0, 20),
        [Initial(u, sp.sin(sp.pi * x)), Initial(u.diff(t), 0), Dirichlet(u, 0)],
    )

    def drifting(p):
        wave = torch.cos(pi * column(p, 1)) + 4e-3 * column(p, 1) * torch.sin(pi * column(p, 1))
        return torch.sin(pi * column(p, 0)) * wave

    report = judged(problem, drifting)
    # the terms are of size 10, the error at the end is 0.08
    assert report.residual_fresh < 2e-2
    assert "integrated over time" in reasons(report)


def test_one_wrong_component_of_a_system():
    v = Field("v", x, t)
    problem = PDE(
        "pair",
        [sp.Eq(u.diff(t), -u), sp.Eq(v.diff(t), -1000 * v + 1000 * sp.cos(t) - sp.sin(t))],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(u, 1 + x), Initial(v, 1)],
    )

    def pair(p):
        wrong = (1 + column(p, 0)) * (1 - 0.2 * column(p, 1))
        return torch.cat([wrong, torch.cos(column(p, 1))], -1)

    assert "of the equation's terms" in reasons(judged(problem, pair))


def test_a_resonance_hides_an_error():
    """Δu + k²u with k² beside an eigenvalue: a residual of 1e-4 of the terms, an error of 1/3."""
    w = Field("w", x)
    k2 = (sp.pi * sp.Rational(10_001, 10_000)) ** 2
    exact = sp.sin(sp.pi * x) + sp.sin(2 * sp.pi * x)
    problem = PDE(
        "resonance",
        [sp.Eq(w.diff(x, 2) + k2 * w, sp.expand(exact.diff(x, 2) + k2 * exact))],
        Interval(x, 0, 1),
        [Dirichlet(w, 0)],
    )

    class Modes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.amplitudes = torch.nn.Parameter(torch.tensor([1.5, 1.0], dtype=torch.float64))

        def forward(self, p):
            waves = torch.cat([torch.sin(pi * p), torch.sin(2 * pi * p)], -1)
            return (waves * self.amplitudes) @ torch.ones(2, 1, dtype=torch.float64)

    report = judged_module(problem, Modes())
    assert report.residual_fresh < 1e-2
    assert "least-squares step" in reasons(report)


def test_a_wrong_closed_form():
    wrong = {u: sp.sin(sp.pi * x) * sp.exp(-(sp.pi**2) * t / 2)}
    report = judged(heat(Dirichlet(u, 0), exact=wrong), decaying)
    assert "exact= misses the equation" in reasons(report)
    shifted = {u: sp.sin(sp.pi * x) * sp.exp(-(sp.pi**2) * t) + 1}
    report = judged(heat(Dirichlet(u, 0), exact=shifted), decaying)
    assert "exact= misses condition" in reasons(report)


def test_an_initial_value_given_as_a_function_is_the_one_that_is_judged():
    problem = heat(Dirichlet(u, 0), initial=0)
    given = judged(problem, decaying, initial=lambda p: torch.sin(pi * p[:, :1]))
    assert given.converged
    assert "condition 'initial'" in reasons(judged(problem, decaying, initial=lambda p: p[:, :1]))
