"""PIG: least-squares start, training, refinement, files, resuming, bad options."""

import math

import matplotlib
import pytest
import sympy as sp
import torch

import pdeml
from pdeml import engine, problems, solvers
from pdeml.domains import Interval, Rectangle, Time
from pdeml.errors import DivergedError, InvalidOption, UnsupportedProblem
from pdeml.operators.jets import Streams
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Periodic
from pdeml.problems.gaussian_benchmarks import (
    flow_mixing,
    klein_gordon_plane,
    quadratic_diffusion,
)
from pdeml.solvers import pig
from pdeml.solvers.constraints import ExpressionField, build_constraints
from pdeml.solvers.gaussian_fit import fit_linear
from pdeml.solvers.objective import Term, Trial, network_pass
from pdeml.solvers.requirements import condition_requirements, equation_requirement

x, y, t = sp.symbols("x y t", real=True)
SMALL = {"points": 400, "condition_points": 200}


def two_bumps():
    """Poisson with a solution that is two Gaussians, as the spec's check 4."""
    u, r = Field("u", x, y), sp.Rational
    one = -(((x - r(3, 10)) / r(8, 100)) ** 2 + ((y + r(1, 5)) / r(1, 5)) ** 2) / 2
    two = -(((x + r(45, 100)) / r(1, 4)) ** 2 + ((y - r(4, 10)) / r(1, 10)) ** 2) / 2
    exact = sp.exp(one) - r(7, 10) * sp.exp(two)
    return PDE(
        "bumps",
        [sp.Eq(u.diff(x, 2) + u.diff(y, 2), exact.diff(x, 2) + exact.diff(y, 2))],
        Rectangle((x, y), (-1, -1), (1, 1)),
        [Dirichlet(u, exact)],
        exact={u: exact},
    )


BUMPS = {
    "recipe": "least_squares",
    "n_gaussians": 24,
    "weights": {"equation": 8.0**-4, "dirichlet u": 1.0},
    "reference": "exact",
}


def error_of(problem, **options):
    return pdeml.solve(problem, "pig", **options).report.error["l2_relative"]


def test_least_squares_of_helmholtz():
    """The default of a linear problem: no training, the width chosen by the residual."""
    solution = pdeml.solve(problems.helmholtz(1, 2), "pig", n_gaussians=150)
    assert solution.report.error["l2_relative"] < 1e-4
    assert solution.report.converged and solution.report.iterations == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_least_squares_of_helmholtz_at_the_published_size(seed):
    options = {"n_gaussians": 800, "sigma": 0.3, "points": 3000, "condition_points": 1500}
    assert error_of(problems.helmholtz(), seed=seed, **options) <= 5e-6


def test_a_solution_that_is_one_of_the_gaussians_is_found():
    u = Field("u", x, y)
    trial = pig._trial(
        two_bumps(),
        build_constraints(two_bumps(), "soft"),
        {
            "n_gaussians": 40,
            "channels": 1,
            "hidden": 0,
            "covariance": "diagonal",
            "sigma_param": "log",
        },
        0.3,
        engine.generator(0),
    )
    centre = trial.network.gaussians().means[0, 7].tolist()
    exact = sp.exp(
        -((x - sp.Float(centre[0], 17)) ** 2 + (y - sp.Float(centre[1], 17)) ** 2)
        / 2
        / sp.Rational(9, 100)
    )
    problem = PDE(
        "one",
        [sp.Eq(u.diff(x, 2) + u.diff(y, 2), exact.diff(x, 2) + exact.diff(y, 2))],
        Rectangle((x, y), (-1, -1), (1, 1)),
        [Dirichlet(u, exact)],
        exact={u: exact},
    )
    assert error_of(problem, n_gaussians=40, sigma=0.3, **SMALL) < 1e-12


def test_training_beats_freezing():
    """Frozen fits stay above one half, whatever the width; trained, the bumps are found."""
    frozen = [error_of(two_bumps(), sigma=s, seed=2, **BUMPS, **SMALL) for s in (0.3, 0.6)]
    assert min(frozen) > 0.5
    trained = error_of(two_bumps(), sigma=0.3, seed=2, max_iterations=60, **BUMPS, **SMALL)
    assert trained < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_training_beats_freezing_at_the_published_size(seed):
    options = {**BUMPS, "seed": seed, "points": 2000, "condition_points": 1000}
    frozen = [error_of(two_bumps(), sigma=s, **options) for s in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8)]
    assert min(frozen) > 0.5
    assert error_of(two_bumps(), sigma=0.4, max_iterations=300, **options) <= 1e-3


@pytest.mark.slow
def test_reduced_helmholtz_by_levenberg_marquardt():
    """Median over three seeds, final weights; time counts on 2 cores."""
    options = {"recipe": "trained", "sigma": 0.25, "time_limit": 300, "condition_points": 1748}
    errors = sorted(error_of(problems.helmholtz(), seed=s, **options) for s in range(3))
    assert errors[1] <= 5e-4


def test_network_of_gaussians_learns_a_nonlinear_problem():
    """The default of a nonlinear problem: channels, MLP, Levenberg–Marquardt."""
    solution = pdeml.solve(
        problems.nonlinear_diffusion(),
        "pig",
        n_gaussians=8,
        channels=2,
        hidden=8,
        max_iterations=30,
        points=500,
        condition_points=250,
    )
    assert solution.report.error["l2_relative"] < 2e-3


def test_newton_linearisations_solve_a_nonlinear_problem(monkeypatch):
    """Four steps give what eight do: quadratic convergence; one linearisation does not."""
    errors = []
    for steps in (1, 4, 8):
        monkeypatch.setattr(pig, "LINEARISATIONS", steps)
        options = {"recipe": "least_squares", "n_gaussians": 80, "sigma": 0.6, **SMALL}
        errors.append(error_of(problems.nonlinear_diffusion(), **options))
    assert errors[0] > 0.1 and errors[1] < 3e-4
    assert errors[1] == pytest.approx(errors[2], rel=0.1)


def test_system_shares_its_gaussians():
    """Rotation w = i ω w as two real equations: u = cos 2t, v = sin 2t."""
    u, v = Field("u", x, t), Field("v", x, t)
    exact = {u: sp.cos(2 * t + x), v: sp.sin(2 * t + x)}
    problem = PDE(
        "turn",
        [sp.Eq(u.diff(t), -2 * v + u.diff(x) + v), sp.Eq(v.diff(t), 2 * v.diff(x))],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [
            *(Initial(f, e.subs(t, 0)) for f, e in exact.items()),
            *(Dirichlet(f, e, on="right") for f, e in exact.items()),
        ],
        exact=exact,
    )
    solution = pdeml.solve(problem, "pig", n_gaussians=60, **SMALL)
    assert solution.gaussians.weights.shape == (1, 60, 2)
    assert solution.report.error["l2_relative[u]"] < 1e-5
    assert solution.report.error["l2_relative[v]"] < 1e-5


def test_periodic_axis_is_a_circle():
    u = Field("u", x, t)
    problem = PDE(
        "travel",
        [sp.Eq(u.diff(t), -u.diff(x))],
        Interval(x, 0, 3) * Time(t, 0, 1),
        [Initial(u, sp.sin(2 * sp.pi * x / 3)), Periodic(u, x)],
        exact={u: sp.sin(2 * sp.pi * (x - t) / 3)},
    )
    solution = pdeml.solve(problem, "pig", n_gaussians=80, **SMALL)
    assert solution.report.error["l2_relative"] < 1e-3
    ends = torch.tensor([[0.0, 0.5], [3.0, 0.5]], dtype=torch.float64)
    assert abs(float(solution(ends).diff(dim=0))) < 1e-12


def test_hard_constraints_and_unequal_boxes():
    """u = B·N with the lift of the boundary values; the fast pass stays in use."""
    solution = pdeml.solve(
        problems.helmholtz(1, 1), "pig", n_gaussians=60, constraints="auto", **SMALL
    )
    assert solution.report.violations["dirichlet u"] < 1e-14
    assert solution.report.error["l2_relative"] < 1e-5
    assert solution.report.engine.startswith("Gaussians in closed form")


def test_refinement_adds_where_the_residual_is_and_resumes_bit_for_bit(tmp_path):
    options = {
        **BUMPS,
        **SMALL,
        "sigma": 0.4,
        "seed": 1,
        "cycle": 4,
        "refine_every": 2,
        "refine_by": 3,
    }
    whole = pdeml.solve(two_bumps(), "pig", max_iterations=20, **options)
    assert whole.gaussians.means.shape[1] > 24
    assert whole.config["n_gaussians"] == whole.gaussians.means.shape[1]
    path = tmp_path / "state.h5"
    pdeml.solve(two_bumps(), "pig", max_iterations=11, checkpoint=path, **options)
    rest = pdeml.solve(
        two_bumps(), "pig", max_iterations=20, checkpoint=path, resume=True, **options
    )
    for a, b in zip(whole.field.parameters(), rest.field.parameters(), strict=True):
        assert torch.equal(a, b)

    file = tmp_path / "run.h5"
    whole.save(file)
    loaded = pdeml.load(file)
    points = whole.problem.domain.sample(200, engine.generator(0))
    assert torch.equal(loaded(points), whole(points))
    assert torch.equal(loaded.gaussians.covariances, whole.gaussians.covariances)


def test_nan_names_the_gaussian(monkeypatch):
    """Raw widths that reach 0 make NaN; the message says where, and the best state is kept."""

    def poisoned(training):
        with torch.no_grad():
            training.trial.network.widths[0, 5, 1] = 0.0
        return False

    monkeypatch.setattr(pig, "_refinement", lambda *_: poisoned)
    options = {**BUMPS, **SMALL, "sigma": 0.4, "sigma_param": "raw"}
    with pytest.raises(DivergedError, match="Gaussian 5 of channel 0"):
        pdeml.solve(two_bumps(), "pig", cycle=3, refine_every=1, max_iterations=9, **options)


@pytest.mark.parametrize("optimizer", ["ssbroyden", "lbfgs", "adam"])
def test_other_optimizers_lower_the_error(optimizer):
    options = {**BUMPS, **SMALL, "sigma": 0.3, "seed": 2}
    start = error_of(two_bumps(), **options)
    steps = {"max_iterations": 30, "adam_steps": 30 if optimizer == "adam" else 0}
    assert error_of(two_bumps(), optimizer=optimizer, **steps, **options) < 0.9 * start


def test_same_seed_same_weights():
    runs = [
        pdeml.solve(two_bumps(), "pig", seed=s, sigma=0.3, max_iterations=3, **BUMPS, **SMALL)
        for s in (4, 4, 5)
    ]
    a, b, c = (torch.cat([p.flatten() for p in r.field.parameters()]) for r in runs)
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("size", [(2, 64), (3, 300)])
def test_chunks_do_not_change_the_result(size, monkeypatch):
    problem = problems.helmholtz(1, 1)
    solution = pdeml.solve(problem, "pig", n_gaussians=30, **SMALL)
    residual = equation_requirement(problem, 1).residual
    points = problem.domain.sample(301, engine.generator(5))
    term = Term("equation", residual, solution.field, points)
    whole = term.residuals()
    monkeypatch.setattr("pdeml.operators.gaussians.PAIRS", 30 * size[1])
    assert (
        Term("equation", residual, solution.field, points).residuals() - whole
    ).abs().max() < 1e-9


def test_pictures_show_the_gaussians(tmp_path):
    matplotlib.use("Agg")
    for problem, n in (
        (problems.helmholtz(1, 1), 20),
        (problems.poisson(dim=1), 8),
        (problems.poisson(dim=3), 30),
    ):
        figure = pdeml.solve(problem, "pig", n_gaussians=n, **SMALL).plot_gaussians()
        axes = figure.axes[0]
        assert f"of {n} Gaussians" in axes.get_title()
        drawn = len(axes.patches) if len(problem.coordinates) > 1 else len(axes.lines) - 1
        assert 0 < drawn <= n
    with pytest.raises(InvalidOption, match="pig"):
        _ = pdeml.solve(problems.helmholtz(1, 1), "exact").gaussians


@pytest.mark.parametrize("problem", [klein_gordon_plane(), flow_mixing()], ids=lambda p: p.name)
def test_declared_solutions_solve_their_problems(problem):
    """Equation and every condition of the closed form, by nested autograd."""
    exact = Trial(
        ExpressionField(list(problem.exact.values()), problem.coordinates, problem.values)
    )
    required = [
        equation_requirement(problem, 300),
        *condition_requirements(problem, problem.conditions, 300, 1.0),
    ]
    assert len(required) == len(problem.conditions) + 1
    for requirement in required:
        points, extras = requirement.draw(300, engine.generator(0), "uniform")
        term = Term(requirement.name, requirement.residual, exact, points, extras)
        assert term.residuals().abs().max() < 1e-9


def test_quadratic_diffusion_conserves_its_mass_until_the_sides_see_it():
    problem = quadratic_diffusion()
    start = next(c.value for c in problem.conditions if isinstance(c, Initial))
    value = start.subs({x: sp.Rational(3, 10), y: sp.Rational(1, 5)}).evalf()
    assert float(value) == pytest.approx(
        0.25 + 0.4 * math.exp(-15 * 0.73) + 0.3 * math.exp(-20 * 0.58)
    )
    assert float(start.subs({x: -1, y: sp.Rational(-1, 10)}).evalf()) == pytest.approx(
        9.4e-3, rel=0.01
    )


@pytest.mark.parametrize(
    "options, word",
    [
        ({"n_gaussians": 0}, "n_gaussians"),
        ({"n_gaussians": -5}, "n_gaussians"),
        ({"channels": 0}, "channels"),
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": -0.3}, "sigma"),
        ({"covariance": "round"}, "covariance"),
        ({"recipe": "best"}, "least_squares"),
        ({"init": "zeros"}, "lstsq"),
        ({"hidden": 16}, "hidden=0"),
        ({"hidden": -1}, "hidden"),
        ({"refine_every": 0}, "refine_every"),
        ({"refine_by": 0}, "refine_by"),
        ({"constraints": "hard"}, "soft"),
        ({"optimizer": "sgd"}, "ssbroyden"),
        ({"dtype": "float32", "optimizer": "adam"}, "float64"),
        ({"weights": {"boundary": 1.0}}, "equation"),
        ({"resume": True}, "checkpoint"),
    ],
)
def test_bad_options_are_named(options, word):
    with pytest.raises((InvalidOption, UnsupportedProblem), match=word):
        pig.solve(
            problems.helmholtz(1, 1), **{"n_gaussians": 20, "max_iterations": 1, **SMALL, **options}
        )


def test_a_nonlinear_problem_needs_linearisations():
    problem = problems.nonlinear_diffusion()
    run_options = {
        "n_gaussians": 10,
        "channels": 1,
        "hidden": 0,
        "covariance": "diagonal",
        "sigma_param": "log",
    }
    trial = pig._trial(
        problem, build_constraints(problem, "soft"), run_options, 0.5, engine.generator(0)
    )
    with pytest.raises(InvalidOption, match="linearisations"):
        fit_linear(trial, [equation_requirement(problem, 50)], engine.generator(0))


def test_rotations_beyond_space_and_complex_fields_are_refused():
    with pytest.raises(UnsupportedProblem, match="cholesky"):
        pig.solve(problems.poisson(dim=4), covariance="full", n_gaussians=20)
    assert "complex" in solvers.can_solve(problems.nonlinear_schroedinger(), "pig")


def test_a_network_behind_an_embedding_takes_the_general_path():
    """GaussianPass reads plain points: another embedding must not be ignored."""
    trial = pig._trial(
        problems.helmholtz(1, 1),
        build_constraints(problems.helmholtz(1, 1), "soft"),
        {
            "n_gaussians": 5,
            "channels": 1,
            "hidden": 0,
            "covariance": "diagonal",
            "sigma_param": "log",
        },
        0.5,
        engine.generator(0),
    )
    streams = Streams(2, [(2, 0)])
    points = torch.rand(4, 2, dtype=torch.float64)
    assert network_pass(trial, streams, points).engine.startswith("Gaussians")
    other = Trial(trial.network, torch.nn.Tanh())
    assert network_pass(other, streams, points).engine.startswith("jets")
