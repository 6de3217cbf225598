"""DeepXDE on pdeml's declarations: equal losses, unchanged globals, geometries both ways."""

import math
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import sympy as sp
import torch
from scipy.special import ellipe

import pdeml
from pdeml import problems, solvers
from pdeml.domains import Ellipse, PointCloud, StarShaped, domain_from_dict
from pdeml.errors import InvalidOption, MissingDependency, UnsupportedProblem
from pdeml.nn.networks import ModifiedMLP
from pdeml.operators.expressions import evaluate
from pdeml.solvers import deepxde
from pdeml.solvers.deepxde.geometry import to_geometry
from pdeml.solvers.objective import Term
from pdeml.solvers.requirements import equation_requirement

x, y, z, t = sp.symbols("x y z t", real=True)
FEW = {"points": 80, "condition_points": 25}
SHORT = {"points": 200, "condition_points": 40, "reference": None}


@pytest.fixture(scope="module")
def dde():
    with deepxde.session() as module:
        pass
    return module


def worst(problem, **options):
    """Largest relative difference of any loss, and the model."""
    model, bridge = deepxde.to_deepxde(problem, **FEW, **options)
    pairs = bridge.compare(model)
    assert len(pairs) == len(model.data.bcs) + len(problem.equations)
    for name, points in bridge.points(model).items():
        assert len(points) >= FEW["condition_points"] or "data" in name
    # losses of an untrained network are far from zero, so that agreement means something
    assert all(theirs > 1e-12 for _, theirs in pairs.values()), pairs
    return max(abs(a - b) / b for a, b in pairs.values()), model


def kinds(model):
    return [type(condition).__name__ for condition in model.data.bcs]


# Losses


@pytest.mark.parametrize(
    ("problem", "constraints", "expected"),
    [
        (problems.burgers(), "soft", ["IC"]),
        (problems.klein_gordon(), "soft", ["IC", "OperatorBC", "DirichletBC"]),
        (problems.klein_gordon(), "auto", []),
        (problems.helmholtz(), "soft", ["DirichletBC"]),
        (problems.gray_scott(), "penalty", ["IC"] * 2 + ["PeriodicBC"] * 4),
        (problems.stokes(), "soft", ["DirichletBC"] * 2),
        (problems.kdv(), "penalty", ["IC", "PeriodicBC", "PeriodicBC"]),
        (problems.kuramoto_sivashinsky(), "soft", ["IC"]),
        (problems.poisson(dim=4), "soft", ["DirichletBC"]),
    ],
    ids=lambda value: value.name if isinstance(value, pdeml.PDE) else None,
)
def test_losses_agree_for_the_same_weights_and_points(problem, constraints, expected):
    difference, model = worst(problem, constraints=constraints)
    assert difference < 1e-12
    assert kinds(model) == expected


U = pdeml.Field("u", x, y, t)
C = pdeml.Parameter("c", 2.0)


def heat(space, *conditions, rate=C):
    """With a mixed derivative and a variable coefficient."""
    equation = sp.Eq(U.diff(t), rate * (U.diff(x, 2) + U.diff(y, 2)) + sp.sin(x * y) * U.diff(x, y))
    return pdeml.PDE(
        "heat", [equation], space * pdeml.Time(t, 0.5, 2), [pdeml.Initial(U, x * y), *conditions]
    )


DISK = pdeml.Disk((x, y), (0.3, -0.2), 1.5)
TRIANGLE = pdeml.Polygon((x, y), [(0, 0), (2, 0), (0.3, 1.7)])
PENTAGON = pdeml.Polygon((x, y), [(0, 0), (2, 0), (2.5, 1), (1, 0.5), (0.3, 1.7)])
PLATE = pdeml.Rectangle((x, y), (0, 0), (2, 1)) - pdeml.Disk((x, y), (1, 0.5), 0.3)
STAR = StarShaped((x, y), (0, 1), 2, [0.1, 0.2], [0, -0.3])
ELLIPSE = Ellipse((x, y), (0, 1), (2, 1), 0.3)
RING = ELLIPSE - StarShaped((x, y), (0, 1), 0.5, [0.1], [0.0])


@pytest.mark.parametrize(
    ("problem", "expected", "shape"),
    [
        (heat(DISK, pdeml.Robin(U, C + x, 1, sp.cos(y * t))), "RobinBC", "Disk"),
        (heat(DISK, pdeml.Robin(U, 1, C, sp.cos(y * t))), "OperatorBC", "Disk"),
        (heat(TRIANGLE, pdeml.Neumann(U, x + t)), "NeumannBC", "Triangle"),
        (heat(PENTAGON, pdeml.Neumann(U, x + t, on="edge1")), "NeumannBC", "Polygon"),
        (heat(PENTAGON, pdeml.Dirichlet(U, t, on=x < sp.Rational(1, 2))), "DirichletBC", "Polygon"),
        (heat(PLATE, pdeml.Neumann(U, x + t)), "NeumannBC", "CSGDifference"),
        (heat(STAR, pdeml.Robin(U, C, 1, x + t)), "RobinBC", "StarShaped"),
        (heat(ELLIPSE, pdeml.Neumann(U, x + t)), "NeumannBC", "Ellipse"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_boundary_conditions_agree_on_every_shape(problem, expected, shape):
    difference, model = worst(problem)
    assert difference < 1e-12
    assert kinds(model) == ["IC", expected]
    assert type(model.data.geom.geometry).__name__ == shape


def test_mixed_derivatives_of_high_order_agree():
    u = pdeml.Field("u", x, y)
    plate = sum(math.comb(2, k) * u.diff(x, 4 - 2 * k, y, 2 * k) for k in range(3))
    problem = pdeml.PDE(
        "plate",
        [sp.Eq(plate + u.diff(x, 2, y, 3) + u.diff(x, y, 2), x)],
        pdeml.Disk((x, y), (0, 0), 1),
        [pdeml.Dirichlet(u, 0), pdeml.Neumann(u, 0)],
    )
    assert worst(problem)[0] < 1e-12


def test_losses_of_the_exact_solution_vanish(dde):
    """Independent of our own derivatives: DeepXDE's losses at a solution that is known."""
    problem = problems.klein_gordon()
    model, bridge = deepxde.to_deepxde(problem, **FEW)
    exact = [problem.exact[f] for f in problem.fields]
    model.net.apply_output_transform(
        lambda p, out: evaluate(exact, problem.coordinates, p, problem.values) + 0.0 * out
    )
    pairs = bridge.compare(model)
    assert max(theirs for _, theirs in pairs.values()) < 1e-20


def test_points_of_conditions_lie_where_the_condition_holds():
    problem = heat(PENTAGON, pdeml.Neumann(U, x + t, on="edge1"), pdeml.Dirichlet(U, 0, on="edge0"))
    model, bridge = deepxde.to_deepxde(problem, **FEW)
    points = bridge.points(model)
    edge = points["neumann u on edge1"]
    offset = edge[:, :2] - torch.tensor([2.0, 0.0])
    assert float((offset[:, 0] - 0.5 * offset[:, 1]).abs().max()) < 1e-12
    assert bool((points["initial u"][:, 2] == 0.5).all())
    assert bool((points["dirichlet u on edge0"][:, 1] == 0).all())
    assert len(points["equation"]) == FEW["points"] + 3 * FEW["condition_points"]


def inverse(**parameter):
    k = pdeml.Parameter("k", **parameter)
    return heat(pdeml.Rectangle((x, y), (0, 0), (1, 1)), pdeml.Dirichlet(U, k), rate=k)


@pytest.mark.parametrize("positive", [True, None])
def test_unknown_parameters_and_data(positive):
    generator = torch.Generator().manual_seed(0)
    where = 0.5 + 0.5 * torch.rand(20, 3, generator=generator, dtype=torch.float64)
    data = where, where.sum(1, keepdim=True)
    given = inverse(value=1.5, positive=positive)
    problem = pdeml.PDE(given.name, given.equations, given.domain, given.conditions, unknowns=["k"])
    difference, model = worst(problem, data=data)
    assert difference < 1e-12
    assert kinds(model) == ["IC", "OperatorBC", "PointSetBC"]
    assert len(model.external_trainable_variables) == 1


def test_any_module_is_a_network():
    generator = torch.Generator().manual_seed(0)
    network = ModifiedMLP(2, 1, width=8, generator=generator)
    difference, _ = worst(problems.helmholtz(), network=network)
    assert difference < 1e-12


# Global state


SILENT = """
import os, sys, random
import numpy, torch
torch.manual_seed(7); numpy.random.seed(3); random.seed(5)
def state():
    return (torch.get_default_dtype(), torch.get_default_device(), torch.initial_seed(),
            torch.get_rng_state().tolist(), str(numpy.random.get_state()), random.getstate(),
            os.environ.get("DDE_BACKEND"), torch.utils._device.CURRENT_DEVICE)
import pdeml, pdeml.solvers
problem = pdeml.problems.heat()
before = state()
pdeml.solve(problem, "deepxde", points=50, condition_points=10, adam_steps=3, max_iterations=5,
            reference=None)
import deepxde
assert deepxde.config.default_float() == "float32", deepxde.config.default_float()
after = state()
assert after == before, [k for k, pair in enumerate(zip(after, before)) if pair[0] != pair[1]]
"""


def test_no_file_no_message_no_global_change(tmp_path):
    home, cache = tmp_path / "home", tmp_path / "matplotlib"
    home.mkdir()
    # matplotlib, which DeepXDE imports, keeps a list of fonts of its own
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DDE", "XDG"))}
    done = subprocess.run(
        [sys.executable, "-c", SILENT],
        env={**environment, "HOME": str(home), "MPLCONFIGDIR": str(cache)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
    assert list(home.iterdir()) == []
    assert {p.name for p in tmp_path.iterdir()} <= {"home", "matplotlib"}


def test_globals_come_back_after_an_error(dde):
    states = torch.get_rng_state(), random.getstate()
    torch.set_default_dtype(torch.float32)
    with pytest.raises(ZeroDivisionError), deepxde.session(seed=4):
        assert torch.get_default_dtype() == torch.float64
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
        sys.modules["deepxde.optimizers.config"].LBFGS_options["maxiter"] = 1
        raise ZeroDivisionError
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert dde.config.default_float() == "float32"
    assert sys.modules["deepxde.optimizers.config"].LBFGS_options["maxiter"] == 15000


def test_missing_deepxde_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepxde", None)
    with pytest.raises(MissingDependency, match=r"pip install 'deepxde>=1\.15'"):
        pdeml.solve(problems.heat(), "deepxde")


# Training


def test_heat_is_solved_saved_and_loaded_without_deepxde(tmp_path):
    solution = pdeml.solve(
        problems.heat(),
        "deepxde",
        adam_steps=150,
        max_iterations=350,
        **SHORT | {"reference": "exact"},
    )
    assert solution.report.error["l2_relative"] < 1e-2
    assert solution.report.iterations == 350
    assert set(solution.report.losses) == {"equation", "initial u", "dirichlet u"}
    assert solution.report.residual_fresh > 0
    solution.save(tmp_path / "heat.h5")
    script = (
        "import sys, pdeml, torch; s = pdeml.load('heat.h5');"
        "print(s(torch.tensor([[0.3, 0.4]]))[0, 0].item()); assert 'deepxde' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    expected = solution(torch.tensor([[0.3, 0.4]]))[0, 0].item()
    assert math.isclose(float(done.stdout), expected, rel_tol=1e-9)


def test_same_seed_gives_the_same_weights():
    options = {"adam_steps": 5, "max_iterations": 8, **SHORT}
    runs = [pdeml.solve(problems.heat(), "deepxde", seed=s, **options) for s in (1, 1, 2)]
    values = [run(torch.tensor([[0.3, 0.4]])).item() for run in runs]
    assert values[0] == values[1] != values[2]


def test_nncg_lowers_the_loss_of_adam_and_is_seeded():
    options = {"adam_steps": 300, "depth": 2, "seed": 2, "points": 60, "condition_points": 20}
    totals = []
    for optimizer, most, elsewhere in (
        ("adam", 300, 0),
        ("adam+nncg", 303, 1),
        ("adam+nncg", 303, 2),
    ):
        with torch.random.fork_rng():
            torch.manual_seed(elsewhere)
            solution = pdeml.solve(
                problems.heat(),
                "deepxde",
                optimizer=optimizer,
                max_iterations=most,
                reference=None,
                **options,
            )
        assert solution.report.iterations == most
        totals.append(sum(solution.report.losses.values()))
    assert totals[1] < 0.5 * totals[0]
    assert totals[2] == totals[1]


def test_a_short_run_is_not_called_converged():
    solution = pdeml.solve(problems.burgers(), "deepxde", adam_steps=5, max_iterations=5, **SHORT)
    assert solution.report.converged is False
    assert any("not converged" in note for note in solution.report.notes)


def test_time_limit_ends_every_stage():
    solution = pdeml.solve(problems.heat(), "deepxde", time_limit=1.0, **SHORT)
    assert "time limit of 1 s" in " ".join(solution.report.notes)
    assert 0 < solution.report.iterations < 15_000


def test_ctrl_c_keeps_the_weights_of_the_last_whole_iteration(monkeypatch):
    options = {"optimizer": "adam", "adam_steps": 50, **SHORT}
    expected = pdeml.solve(problems.heat(), "deepxde", max_iterations=4, **options)
    step, count = torch.optim.Adam.step, iter(range(100))

    def interrupted(self, closure=None):
        step(self, closure)
        if next(count) == 4:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(torch.optim.Adam, "step", interrupted)
    solution = pdeml.solve(problems.heat(), "deepxde", **options)
    assert solution.report.interrupted
    assert solution.report.converged is False
    assert solution.report.iterations == 4
    points = torch.tensor([[0.3, 0.4], [0.7, 0.1]])
    assert torch.equal(solution(points), expected(points))


def test_weights_scale_the_losses_that_are_trained():
    model, bridge = deepxde.to_deepxde(problems.heat(), weights={"initial u": 7.0}, **FEW)
    plain = [theirs for _, theirs in bridge.compare(model).values()]
    with bridge.session():
        trained = model.outputs_losses_train(*model.data.train_next_batch())[1].tolist()
    assert trained == pytest.approx([plain[0], 7 * plain[1], plain[2]], rel=1e-12)


def test_divergence_is_an_error(monkeypatch):
    monkeypatch.setattr("pdeml.solvers.deepxde.lowering.LEARNING_RATE", math.inf)
    with pytest.raises(pdeml.errors.DivergedError, match="iteration 1"):
        pdeml.solve(problems.heat(), "deepxde", adam_steps=5, max_iterations=5, **SHORT)


def test_a_coefficient_is_identified():
    """u_t = k u_xx with data of k = 0.1, from the guess 0.3."""
    u, k = pdeml.Field("u", x, t), pdeml.Parameter("k", 0.3, positive=True)
    problem = pdeml.PDE(
        "inverse",
        [sp.Eq(u.diff(t), k * u.diff(x, 2))],
        pdeml.Interval(x, 0, 1) * pdeml.Time(t, 0, 1),
        [pdeml.Initial(u, sp.sin(sp.pi * x)), pdeml.Dirichlet(u, 0)],
        unknowns=["k"],
    )
    where = problem.domain.sample(60, torch.Generator().manual_seed(0))
    values = torch.sin(math.pi * where[:, 0]) * torch.exp(-0.1 * math.pi**2 * where[:, 1])
    solution = pdeml.solve(
        problem,
        "deepxde",
        data=(where, values),
        adam_steps=100,
        max_iterations=400,
        constraints="auto",
        weights={"data": 10.0},
        **SHORT,
    )
    assert solution.parameters["k"].value == pytest.approx(0.1, rel=0.02)


# Geometries


def shapes(dde):
    g = dde.geometry
    return {
        "interval": g.Interval(-1, 2),
        "rectangle": g.Rectangle([0, 0], [1, 2]),
        "cuboid": g.Cuboid([0, 0, 0], [1, 2, 3]),
        "hypercube": g.Hypercube([0] * 4, [1] * 4),
        "disk": g.Disk([0, 1], 2),
        "sphere": g.Sphere([0, 0, 1], 2),
        "hypersphere": g.Hypersphere([0] * 5, 2),
        "ellipse": g.Ellipse([0, 1], 2, 1, 0.4),
        "star": g.StarShaped([0, 1], 2, [0.1, 0.2], [0, -0.3]),
        "difference": g.Rectangle([0, 0], [2, 1]) - g.Disk([1, 0.5], 0.3),
        "union": g.Disk([0, 0], 1) | g.Disk([1, 0], 0.8),
        "intersection": g.Rectangle([0, 0], [2, 1]) & g.Disk([1, 0.5], 0.7),
        "nested": (g.Rectangle([0, 0], [2, 1]) | g.Disk([2, 0.5], 0.4)) - g.Disk([1, 0.5], 0.3),
    }


SHAPES = [
    *("interval", "rectangle", "cuboid", "hypercube", "disk", "sphere", "hypersphere"),
    *("ellipse", "star", "difference", "union", "intersection", "nested"),
]


@pytest.mark.parametrize("name", SHAPES)
def test_geometries_agree_with_deepxde_on_1000_points(dde, name):
    with deepxde.session():
        geometry = shapes(dde)[name]
        domain = deepxde.from_deepxde_geometry(geometry)
    generator = torch.Generator().manual_seed(2)
    lower, upper = (torch.tensor(b, dtype=torch.float64) for b in domain.bounds)
    box = lower + (upper - lower) * (
        1.4 * torch.rand(1000, domain.dim, generator=generator, dtype=torch.float64) - 0.2
    )
    inside = domain.contains(box)
    assert 20 < int(inside.sum()) < 980
    assert np.array_equal(inside.numpy(), geometry.inside(box.numpy()))
    drawn = domain.sample(1000, generator)
    assert geometry.inside(drawn.numpy()).all()
    points, normals, _ = domain.sample_boundary(1000, generator)
    if name != "ellipse":  # DeepXDE's has none
        assert np.abs(geometry.boundary_normal(points.numpy()) - normals.numpy()).max() < 1e-12
    if name != "star":  # DeepXDE's star takes one norm over all points
        assert geometry.on_boundary(points.numpy()).all()
    assert float(domain.signed_distance(points).abs().max()) < 1e-12
    symbols = {c.name: c for c in domain.coordinates}
    assert domain_from_dict(domain.to_dict(), symbols) == domain


@pytest.mark.parametrize(
    "domain",
    [
        PLATE,
        ELLIPSE,
        STAR,
        PENTAGON,
        TRIANGLE,
        RING,
    ],
    ids=str,
)
def test_domains_survive_the_round_trip(dde, domain):
    with deepxde.session():
        geometry = to_geometry(dde, domain)
        back = deepxde.from_deepxde_geometry(geometry, (x, y))
    generator = torch.Generator().manual_seed(3)
    drawn = domain.sample(500, generator)
    points, normals, _ = domain.sample_boundary(500, generator)
    assert bool(back.contains(drawn).all())
    assert geometry.inside(drawn.numpy()).all()
    assert float(back.signed_distance(points).abs().max()) < 1e-12
    assert float((back.normals(points) - normals).abs().max()) < 1e-7
    assert np.abs(geometry.boundary_normal(points.numpy()) - normals.numpy()).max() < 1e-7


@pytest.mark.parametrize("domain", [ELLIPSE, STAR], ids=["ellipse", "star"])
def test_curved_domains_measure_and_sample_evenly(domain):
    generator = torch.Generator().manual_seed(0)
    points, normals, _ = domain.sample_boundary(100_000, generator, method="sobol")
    centre = torch.tensor(domain.centre, dtype=torch.float64)
    # divergence theorem: ∮ x·n ds = 2 |Ω|, ∮ n ds = 0, for points even in arc length
    flux = ((points - centre) * normals).sum(1).mean() * domain.area
    assert float(flux) == pytest.approx(2 * domain.volume, rel=1e-4)
    assert float(normals.mean(0).abs().max()) < 1e-3
    # a step along the normal is the distance
    moved = points + 0.05 * normals
    assert torch.allclose(domain.signed_distance(moved), torch.full((100_000,), 0.05).double())
    inside = points - 0.05 * normals
    assert torch.allclose(domain.signed_distance(inside), torch.full((100_000,), -0.05).double())
    drawn = domain.sample(2000, generator).requires_grad_()
    (slope,) = torch.autograd.grad(domain.signed_distance(drawn).sum(), drawn)
    assert torch.allclose(slope.norm(dim=1), torch.ones(2000, dtype=torch.float64), atol=1e-9)


def test_ellipse_length_is_the_elliptic_integral():
    assert ELLIPSE.area == pytest.approx(4 * 2 * ellipe(1 - 0.25), rel=1e-12)


def test_time_and_point_clouds(dde):
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    inner, edge, normals = rng.random((50, 2)), rng.random((30, 2)), rng.random((30, 2))
    with deepxde.session():
        timed = dde.geometry.GeometryXTime(
            dde.geometry.Disk([0, 0], 1), dde.geometry.TimeDomain(1, 3)
        )
        domain = deepxde.from_deepxde_geometry(timed)
        cloud = deepxde.from_deepxde_geometry(dde.geometry.PointCloud(inner, edge, normals))
        bare = deepxde.from_deepxde_geometry(dde.geometry.PointCloud(inner))
        with pytest.raises(InvalidOption, match="has 3 of them, time last"):
            deepxde.from_deepxde_geometry(timed, (x, y))
    assert domain == pdeml.Disk((x, y), (0, 0), 1) * pdeml.Time(t, 1, 3)
    assert isinstance(cloud, PointCloud)
    drawn = cloud.sample(120, generator)
    assert bool(cloud.contains(drawn).all())
    assert torch.unique(drawn, dim=0, return_counts=True)[1].tolist().count(2) == 30
    points, outward, _ = cloud.sample_boundary(30, generator)
    order = [int(np.abs(edge - p.numpy()).sum(1).argmin()) for p in points]
    assert sorted(order) == list(range(30))
    assert np.array_equal(outward.numpy(), normals[order])
    assert np.array_equal(cloud.normals(points).numpy(), normals[order])
    with pytest.raises(InvalidOption, match="no points on the boundary"):
        bare.sample_boundary(3, generator)
    symbols = {c.name: c for c in cloud.coordinates}
    assert domain_from_dict(cloud.to_dict(), symbols) == cloud


def test_what_is_no_geometry_is_refused(dde):
    with pytest.raises(UnsupportedProblem, match="no geometry of DeepXDE"):
        deepxde.from_deepxde_geometry("disk")


def test_a_mesh_answers_for_itself(dde):
    """DeepXDE has no meshes: the geometry asks the domain, also when DeepXDE samples it."""
    mesh = pdeml.Mesh.structured(pdeml.Rectangle((x, y), (0, 0), (1, 2)), 4)
    difference, model = worst(heat(mesh, pdeml.Robin(U, C, 1, x + t)))
    assert difference < 1e-12
    assert kinds(model) == ["IC", "RobinBC"]
    geometry = model.data.geom.geometry
    with deepxde.session(seed=0):
        assert geometry.inside(geometry.random_points(50)).all()
        assert geometry.on_boundary(geometry.random_boundary_points(50)).all()
    assert geometry.inside(np.array([[0.5, 1.0], [0.5, 2.5]])).tolist() == [True, False]


# Models


def burgers_model(dde, sizes=(2, 20, 20, 20, 1), activation="tanh"):
    geometry = dde.geometry.GeometryXTime(
        dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 1)
    )

    def pde(p, u):
        u_x, u_t = (dde.grad.jacobian(u, p, i=0, j=j) for j in (0, 1))
        return u_t + u * u_x - 0.01 * dde.grad.hessian(u, p, i=0, j=0)

    walls = dde.icbc.DirichletBC(geometry, lambda p: 0, lambda _, on: on)
    data = dde.data.TimePDE(geometry, pde, [walls], num_domain=50, num_boundary=10)
    model = dde.Model(data, dde.nn.FNN(list(sizes), activation, "Glorot normal"))
    model.compile("adam", lr=1e-3, verbose=0)
    return model


@pytest.mark.parametrize("activation", ["tanh", "sin", "swish", "relu"])
def test_a_model_keeps_weights_residual_and_losses(activation):
    with deepxde.session(seed=3) as dde:
        model = burgers_model(dde, activation=activation)
    taken = deepxde.from_deepxde(model)
    points = taken.domain.sample(40, torch.Generator().manual_seed(0))
    assert taken.domain == pdeml.Interval(x, -1, 1) * pdeml.Time(t, 0, 1)
    assert taken.has_jets
    assert torch.allclose(taken.solution(points), model.net(points), rtol=0, atol=1e-15)
    equation = equation_requirement(problems.burgers(nu=0.01), 1).residual
    if activation != "relu":
        ours = Term("", equation, taken.solution, points).residuals()
        assert torch.allclose(taken.residual(points), ours, rtol=1e-12, atol=1e-13)
    walls, inside = model.data.num_bcs[0], torch.as_tensor(model.data.train_x_all)
    expected = [
        float(taken.residual(inside).square().mean()),
        float(model.net(torch.as_tensor(model.data.train_x[:walls])).square().mean()),
    ]
    assert taken.losses() == pytest.approx(expected, rel=1e-12)


def test_unknown_pieces_leave_the_network_as_it_is():
    with deepxde.session(seed=3) as dde:
        model = burgers_model(dde)
        model.net.apply_output_transform(lambda p, u: p[:, :1] * u)
        uneven = burgers_model(dde, sizes=(2, 8, 6, 1))
    for one in (model, uneven):
        taken = deepxde.from_deepxde(one)
        assert not taken.has_jets
        assert taken.solution is one.net


@pytest.mark.parametrize("method", ["fem", "spectral", "pinn"])
def test_methods_refuse_an_opaque_equation(method):
    with deepxde.session(seed=3) as dde:
        taken = deepxde.from_deepxde(burgers_model(dde))
    with pytest.raises(UnsupportedProblem, match=f"'{method}' needs the equation"):
        pdeml.solve(taken, method)


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "sgd"}, "adam, lbfgs, nncg"),
        ({"constraints": "hard"}, "'auto' and 'soft'"),
        ({"points": 0}, "points=0"),
        ({"time_limit": -1}, "time_limit=-1"),
        ({"weights": {"wall": 2.0}}, "equation, initial u, dirichlet u"),
        ({"activation": "cube"}, "'cube' is not known"),
        ({"adam_steps": 2.5}, "adam_steps=2.5"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InvalidOption, match=message):
        pdeml.solve(problems.heat(), "deepxde", **options)


def test_what_deepxde_cannot_do_is_named():
    assert "complex" in solvers.can_solve(problems.nonlinear_schroedinger(), "deepxde")
    with pytest.raises(UnsupportedProblem, match="complex"):
        deepxde.to_deepxde(problems.nonlinear_schroedinger())
    with pytest.raises(InvalidOption, match="k is unknown"):
        deepxde.to_deepxde(inverse(value=None))
    with pytest.raises(UnsupportedProblem, match="NNCG"):
        pdeml.solve(inverse(value=None), "deepxde", optimizer="adam+nncg", data=(0, 0))
