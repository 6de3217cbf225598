"""Solutions: values, derivatives, comparison, files, and what makes and reads them."""

import errno
import hashlib
import json
import math
import os

import h5py
import numpy as np
import pytest
import sympy as sp
import torch
from torch import nn

from pdeml import engine, problems, solvers
from pdeml.domains import Disk, Interval, Rectangle, Time
from pdeml.errors import InvalidFile, InvalidOption, OutputError, UnsupportedProblem
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Periodic
from pdeml.solvers import Estimate, Report, Solution, exact, spectral

x, y, t = sp.symbols("x y t", real=True)


class Formula(nn.Module):
    """Any torch function of points as a field."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, points):
        return self.function(points)


def solution_of(problem, function, **more):
    report = more.pop("report", Report("formula"))
    return Solution(problem, "formula", Formula(function), config={}, report=report, **more)


@pytest.fixture(scope="module")
def burgers():
    problem = problems.burgers(nu=0.1)
    return solvers.solve(problem, "spectral", resolution=96, dt=1 / 200)


# --------------------------------------------------------------------------------------- values


def test_derivatives_follow_the_notation_of_sympy():
    problem = problems.heat(dim=2)
    fx, fy, ft = problem.coordinates
    solution = solution_of(
        problem, lambda p: (p[:, :1] ** 3) * (p[:, 1:2] ** 2) * torch.exp(p[:, 2:])
    )
    points = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b, e = points[:, :1], points[:, 1:2], torch.exp(points[:, 2:])
    (f,) = problem.fields
    cases = {
        (): a**3 * b**2 * e,
        (fx,): 3 * a**2 * b**2 * e,
        (fx, fx): 6 * a * b**2 * e,
        (fx, 2): 6 * a * b**2 * e,
        (fx, 2, fy, ft, 2): 12 * a * b * e,
        (fx, 0): a**3 * b**2 * e,
        ("x", "y") if fx.name == "x" else (fx, fy): 6 * a**2 * b * e,
    }
    for coordinates, expected in cases.items():
        torch.testing.assert_close(solution.derivative(f, *coordinates)(points), expected)
    torch.testing.assert_close(solution.derivative("u", fx)(points), 3 * a**2 * b**2 * e)
    for wrong in (("q",), (2,), (fx, -1), (fx, 2, 2)):
        with pytest.raises(InvalidOption, match="not a coordinate"):
            solution.derivative(f, *wrong)
    with pytest.raises(InvalidOption, match=r"'q' is not a field.*u"):
        solution.derivative("q", fx)


def test_points_of_a_wrong_shape_are_named(burgers):
    for bad in (torch.zeros(3), torch.zeros(3, 3)):
        with pytest.raises(InvalidOption, match=r"\(N, 2\).*x, t"):
            burgers(bad)


# ----------------------------------------------------------------------------------- comparison


def test_errors_are_norms_over_the_domain():
    problem = problems.heat(dim=1)
    (a, b), (c, d) = zip(*problem.domain.bounds, strict=True)
    zero = solution_of(problem, lambda p: 0 * p[:, :1])
    truth = solution_of(problem, lambda p: torch.sin(math.pi * (p[:, :1] - a) / (b - a)))
    half = solution_of(problem, lambda p: truth.field(p) + 0.5 * (p[:, 1:] - c) / (d - c))
    assert truth.error(truth) == {"l2_relative": 0, "linf": 0}
    assert zero.error(truth)["l2_relative"] == pytest.approx(1)
    # ∫∫ (s/2)² / ∫∫ sin² = (1/12) / (1/2)
    found = half.error(truth)
    assert found["l2_relative"] == pytest.approx(math.sqrt(1 / 6), rel=1e-4)
    assert found["linf"] == pytest.approx(0.5)
    assert truth.error(zero)["l2_relative"] == math.inf
    assert half.error(truth, resolution=(5, 7))["linf"] == pytest.approx(0.5)


def test_errors_per_field_and_outside_of_boxes():
    u, v = Field("u", x, y), Field("v", x, y)
    equations = [sp.Eq(f.diff(x, 2) + f.diff(y, 2), 0) for f in (u, v)]
    disk = PDE("pair", equations, Disk((x, y), (0, 0), 2), [Dirichlet(u, 0), Dirichlet(v, 0)])
    ones = solution_of(disk, lambda p: torch.ones_like(p))
    off = solution_of(disk, lambda p: torch.stack([1 + 0 * p[:, 0], 1 + p[:, 0]], dim=1))
    found = off.error(ones)
    assert found["l2_relative[u]"] == 0 and found["linf[u]"] == 0
    assert found["l2_relative[v]"] == pytest.approx(1.0, abs=0.01)  # mean x² over radius 2 is 1
    assert found["l2_relative"] == pytest.approx(math.sqrt(0.5), abs=0.01)
    assert found["linf"] == pytest.approx(2, abs=0.05)
    with pytest.raises(InvalidOption, match="resolution"):
        off.error(ones, resolution=10)
    data = off.to_xarray(21)
    assert np.isnan(data["v"].values[0, 0]) and data["v"].sel(x=1, y=1, method="nearest") == 2
    with pytest.raises(InvalidOption, match="same fields"):
        off.error(solution_of(problems.heat(), lambda p: p[:, :1]))


def test_grids_are_labelled(burgers):
    data = burgers.to_xarray((33, 5))
    assert data["u"].dims == ("t", "x") and data["u"].shape == (5, 33)
    value = burgers(torch.tensor([[0.5, 0.25]], dtype=torch.float64)).item()
    assert float(data["u"].sel(x=0.5, t=0.25)) == pytest.approx(value, abs=1e-14)
    assert data["t"].attrs["axis"] == "T" and data["x"].attrs["units"] == "1"
    for wrong in (0, (3,), (3, 4, 5), 2.5):
        with pytest.raises(InvalidOption, match=r"resolution=.*x, t"):
            burgers.to_xarray(wrong)


# ---------------------------------------------------------------------------------------- report


def test_the_report_reads_well_and_survives_json():
    report = Report(
        "pinn",
        converged=False,
        losses={"residual": 1e-9},
        residual_train=1e-5,
        residual_fresh=2e-3,
        fresh_points=20000,
        violations={"Initial(u)": 0.1},
        min_causal_gate=0.25,
        error={"l2_relative": 0.5, "linf": 0.7},
        reference="exact",
        notes=["stopped at the time limit"],
    )
    text = str(report)
    for part in ("NO", "5.00e-01 (against exact)", "20000 fresh", "0.250", "time limit"):
        assert part in text
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert "unknown: no reference" in str(Report("pinn"))
    assert str(Estimate(0.5, 0.01)) == "0.5 ± 0.01"
    with pytest.raises(InvalidFile):
        Report.from_dict({"method": "pinn", "lies": 1})


# ----------------------------------------------------------------------------------------- files


def test_a_saved_solution_returns_bit_for_bit(burgers, tmp_path):
    burgers.history = {"loss": [1.0, 0.1, 1e-300], "empty": []}
    burgers.parameters = {"nu": Estimate(0.1, 0.001)}
    burgers.save(tmp_path / "run.h5")
    loaded = solvers.load(tmp_path / "run.h5")
    points = burgers.problem.domain.sample(500, torch.Generator().manual_seed(0))
    assert torch.equal(loaded(points), burgers(points))
    assert loaded.problem == burgers.problem and loaded.method == "spectral"
    assert loaded.report == burgers.report
    assert loaded.history == burgers.history
    assert loaded.parameters == burgers.parameters
    assert loaded.options == burgers.options and loaded.options["resolution"] == 96
    loaded.save(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "run.h5").read_bytes()
    _, meta = engine.read_state(tmp_path / "run.h5", "solution")
    assert {"pdeml", "torch", "numpy", "sympy", "python"} <= set(meta["versions"])


def test_every_kind_of_option_is_kept(tmp_path):
    values = -torch.sin(math.pi * (-1 + 2 * torch.arange(64, dtype=torch.float64) / 64))
    problem = problems.burgers(nu=0.1)
    solution = spectral.solve(problem, initial=values, times=[0.5], resolution=64, dt=0.01)
    solution.options["extra"] = {"a": (1, None), "b": torch.float32}
    solution.save(tmp_path / "run.h5")
    options = solvers.load(tmp_path / "run.h5").options
    assert torch.equal(options["initial"], values) and options["times"] == [0.5]
    assert options["extra"] == {"a": [1, None], "b": "torch.float32"}


def test_linear_exact_and_complex_solutions_return(tmp_path):
    h = Field("h", x, t, dtype=complex)
    wave = PDE(
        "free",
        [sp.Eq(sp.I * h.diff(t) + h.diff(x, 2) / 2, 0)],
        Interval(x, 0, 2 * sp.pi) * Time(t, 0, 1),
        [Initial(h, sp.exp(sp.I * x)), Periodic(h, x)],
    )
    made = [
        spectral.solve(problems.allen_cahn(), resolution=256, dt=1 / 64),
        spectral.solve(problems.convection()),
        spectral.solve(wave),
        exact.solve(problems.poisson(dim=3)),
    ]
    for number, solution in enumerate(made):
        solution.save(tmp_path / f"{number}.h5")
        loaded = solvers.load(tmp_path / f"{number}.h5")
        points = solution.problem.domain.sample(64, torch.Generator().manual_seed(0))
        assert torch.equal(loaded(points), solution(points))


def test_bit_flips_never_load_silently_wrong(burgers, tmp_path):
    path = tmp_path / "run.h5"
    burgers.save(path)
    original = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, 8 * len(original), size=200):
        broken = bytearray(original)
        broken[position // 8] ^= 1 << (position % 8)
        path.write_bytes(broken)
        with pytest.raises(InvalidFile):
            solvers.load(path)


def tampered(burgers, tmp_path, change):
    """A file with a right digest whose content was edited."""
    path = tmp_path / "run.h5"
    burgers.save(path)
    arrays, meta = engine.read_state(path, "solution")
    change(arrays, meta)
    engine.write_state(path, arrays, meta, "solution")
    return path


def drop(name):
    return lambda arrays, meta: arrays.pop(name)


def put(name, value):
    return lambda arrays, meta: meta.update({name: value})


def wrong_weights(arrays, meta):
    arrays["field.frames.values"] = arrays["field.frames.values"] * 1.001


def wrong_shape(arrays, meta):
    arrays["field.frames.values"] = arrays["field.frames.values"][1:]


def other_problem(arrays, meta):
    meta["problem"] = meta["problem"].replace("Interval", "__import__('os')")


@pytest.mark.parametrize(
    "change",
    [
        drop("field.frames.values"),
        drop("probe.values"),
        wrong_weights,
        wrong_shape,
        other_problem,
        put("method", "os.system"),
        put("method", "../pinn"),
        put("config", {"lower": [0]}),
        put("report", {"method": "spectral", "x": 1}),
        put("problem", "{}"),
        put("problem", "__import__('os').system('true')"),
        put("options", {"a": {"array": "nothing"}}),
        put("options", 3),
    ],
)
def test_edited_files_are_refused(burgers, tmp_path, change):
    with pytest.raises(InvalidFile):
        solvers.load(tampered(burgers, tmp_path, change))


def test_a_hostile_link_inside_a_solution_is_refused(burgers, tmp_path):
    path = tmp_path / "run.h5"
    burgers.save(path)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = np.arange(4.0)
    with h5py.File(path, "r+", libver="latest") as file:
        del file["arrays/probe.values"]
        file["arrays/probe.values"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/data")
    image = path.read_bytes()[engine.BLOCK_BYTES :]
    path.write_bytes(engine._block(hashlib.sha256(image).hexdigest()) + image)
    with pytest.raises(InvalidFile, match="link"):
        solvers.load(path)


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_a_full_disk_keeps_the_old_solution(burgers, tmp_path, monkeypatch, name):
    path = tmp_path / "run.h5"
    burgers.save(path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, name, full)
        with pytest.raises(OutputError, match=r"run\.h5.*No space left"):
            burgers.save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.h5"]
    solvers.load(path)


# --------------------------------------------------------------------------------- entry points


def test_the_error_is_measured_against_the_best_reference(burgers):
    assert burgers.report.reference == "exact" and burgers.report.error["l2_relative"] < 1e-6
    kept = solvers.solve(problems.burgers(nu=0.1), "spectral", reference=None, dt=0.01)
    assert kept.report.reference == "self-convergence"
    against = solvers.solve(
        problems.burgers(nu=0.1), "spectral", resolution=32, dt=0.01, reference=burgers
    )
    assert against.report.reference == "spectral"
    assert against.report.error == against.error(burgers)
    truth = solvers.solve(problems.poisson(), "exact")
    assert truth.report.error is None and truth.report.reference is None


def test_a_reference_that_is_not_possible():
    with pytest.raises(UnsupportedProblem, match="Dirichlet"):
        solvers.solve(problems.heat(), "exact", reference="spectral")
    with pytest.raises(InvalidOption, match="reference='fdm'"):
        solvers.solve(problems.heat(), "exact", reference="fdm")


def test_unknown_methods_and_options_are_listed():
    with pytest.raises(InvalidOption, match=r"'magic'.*exact, spectral"):
        solvers.solve(problems.heat(), "magic")
    with pytest.raises(InvalidOption, match=r"no option 'speed'.*resolution, dt, times"):
        solvers.solve(problems.burgers(), "spectral", speed=3)
    assert set(solvers.accepted_options("exact")) == {"device", "dtype"}


def test_parameters_replace_those_of_the_declaration():
    point = torch.tensor([[0.4, 0.2]], dtype=torch.float64)
    found = solvers.solve(problems.convection(), "exact", parameters={"c": 2.0})
    assert found(point).item() == pytest.approx(math.sin(0.4 - 2 * 0.2), abs=1e-14)


def test_figures_and_animations(burgers, tmp_path):
    coarse = spectral.solve(burgers.problem, resolution=16, dt=0.05)
    figure = coarse.plot(reference=burgers)
    titles = {axes.get_title() for axes in figure.get_axes()}
    assert {"spectral", "spectral (reference)", "absolute error", "snapshots"} <= titles
    with pytest.raises(InvalidOption, match="has no time"):
        exact.solve(problems.poisson()).animate()
    with pytest.raises(InvalidOption, match=r"\.gif or \.mp4"):
        coarse.animate(tmp_path / "a.avi")
    assert os.listdir(tmp_path) == []


def test_many_coordinates_need_a_resolution_but_can_be_compared_and_drawn():
    problem = problems.poisson(dim=5)
    truth = exact.solve(problem)
    assert truth.error(truth)["linf"] == 0
    with pytest.raises(InvalidOption, match="resolution"):
        truth.to_xarray()
    assert truth.plot().get_axes()[0].get_xlabel() == problem.coordinates[0].name


def test_square_without_time_is_drawn():
    u = Field("u", x, y)
    problem = PDE(
        "square",
        [sp.Eq(u.diff(x, 2) + u.diff(y, 2), 0)],
        Rectangle((x, y), (0, 0), (1, 1)),
        [Dirichlet(u, x * y)],
        exact={u: x * y},
    )
    axes = exact.solve(problem).plot().get_axes()[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


def test_a_large_error_against_a_reference_is_never_converged():
    """A small residual does not help where the closed form says that the solution is wrong."""
    right = solvers.solve(problems.convection(speed=1.0), "exact")
    wrong = solvers.solve(problems.convection(speed=1.2), "exact")
    wrong.problem, wrong.method, wrong.report.converged = right.problem, "pinn", True
    solvers._measure(wrong, "auto")
    assert wrong.report.error["l2_relative"] > 0.05
    assert wrong.report.converged is False
    assert "not converged" in wrong.report.notes[-1]


def test_solutions_of_different_domains_are_not_compared():
    u = Field("u", x, t)
    short = PDE(
        "short",
        [sp.Eq(u.diff(t), 0)],
        Interval(x, 0, 1) * Time(t, 0, 1),
        [Initial(u, x)],
        exact={u: x},
    )
    solution = solvers.solve(short, "exact")
    with pytest.raises(InvalidOption, match="outside its domain"):
        solvers.solve(problems.burgers(), "exact").error(solution)
    with pytest.raises(InvalidOption, match="no Solution"):
        solution.error(3)


def test_a_name_in_place_of_a_problem_is_named():
    with pytest.raises(InvalidOption, match=r"pdeml\.problems\.burgers"):
        solvers.solve("burgers", "pinn")


def test_a_reference_that_did_not_converge_is_none(monkeypatch):
    """The next method is asked, and a note says why."""
    problem = problems.heat(1)
    kept, wrong = exact.solve, []

    def failed(problem, **options):
        solution = kept(problem, **options)
        solution.report.converged = False
        wrong.append(solution)
        return solution

    monkeypatch.setattr(exact, "solve", failed)
    solution = solvers.solve(problem, "fem", h=1 / 4, dt=1 / 4, reference="exact")
    assert wrong and solution.report.reference == "self-convergence"
    assert "the reference 'exact' did not converge, so it is none" in solution.report.notes
