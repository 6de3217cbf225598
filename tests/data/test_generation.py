"""Generated data: right solutions, the same for every number, batch, shard and interruption."""

import json
import os
import signal
import sys
import time

import h5py
import numpy as np
import pytest
import sympy as sp
import torch
from typer.testing import CliRunner

import pdeml
from pdeml.cli import app
from pdeml.data import batches, contained, generate, inspection, merge, single
from pdeml.data.drawing import RandomInitial, checked_ranges, drawn_parameters
from pdeml.data.seeds import sample_seeds
from pdeml.errors import DatasetMismatch, InvalidOption, UnsupportedProblem
from tests.data import killed

SMALL = {"frames": 3, "resolution": 32, "dt": 0.02, "durability": "process"}
VARY = {"nu": (0.05, 0.5, "log")}
BATCH = 5


def make(path, samples=12, problem="burgers", **options):
    return generate(problem, samples, path, **{**SMALL, "vary": VARY, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make(tmp_path_factory.mktemp("data") / "a.h5", batch=BATCH)


def test_samples_are_solutions_from_their_seeds(whole):
    """Each sample against a solution by itself, adaptive and at more points."""
    problem = pdeml.problems.burgers()
    seeds = sample_seeds(0, range(12))
    nu = drawn_parameters(checked_ranges(problem, VARY), seeds)["nu"]
    start = RandomInitial(problem, (32,), "random")(seeds)
    np.testing.assert_array_equal(whole.params["nu"], nu)
    assert nu.min() > 0.05 and nu.max() < 0.5 and len(set(nu)) == 12
    for i in (0, 7, 11):
        # the modes that a product of two does not alias: |k| < n/3
        modes = torch.fft.rfft(start[i, 0])
        modes[11:] = 0
        run = pdeml.solve(
            problem,
            "spectral",
            initial=torch.fft.irfft(modes, 32)[None, None],
            parameters={"nu": float(nu[i])},
            times=[0, 0.5, 1],
            tol=1e-9,
            resolution=96,
        )
        got = whole.read(i)[0, :, 0].double()
        expected = run.values[0, :, 0, ::3]
        gap = (got - expected).norm(dim=1) / expected.norm(dim=1)
        assert gap[0] < 1e-7
        assert gap.max() < 2e-3  # 32 points resolve that much of the fronts


def test_initial_values_follow_the_published_covariance():
    field = RandomInitial(pdeml.problems.burgers(), (64,), "random")
    values = field(sample_seeds(1, range(400)))
    assert values.std().item() == pytest.approx(0.5936, rel=0.08)
    default = RandomInitial(pdeml.problems.kdv(), (64,), "random")(sample_seeds(1, range(400)))
    assert default.std().item() == pytest.approx(2**-0.5, rel=0.1)  # of cos πx
    complex_one = RandomInitial(pdeml.problems.nonlinear_schroedinger(), (32,), "random")
    value = complex_one(sample_seeds(0, [0]))
    assert value.is_complex() and (value.real - value.imag).abs().max() > 0.1
    scaled = RandomInitial(pdeml.problems.kdv(), (32,), {"name": "power_law_field", "scale": 2.0})
    plain = RandomInitial(pdeml.problems.kdv(), (32,), "power_law_field")
    torch.testing.assert_close(scaled(sample_seeds(0, [3])), 2 * plain(sample_seeds(0, [3])))


def test_uniform_and_log_uniform_ranges():
    problem = pdeml.problems.kdv_burgers()
    ranges = checked_ranges(problem, {"nu": (0.001, 1.0, "log"), "a": (-2.0, 4.0)})
    drawn = drawn_parameters(ranges, sample_seeds(0, range(2000)))
    assert np.median(drawn["nu"]) == pytest.approx(10**-1.5, rel=0.15)
    assert drawn["a"].mean() == pytest.approx(1.0, abs=0.12)
    assert abs(np.corrcoef(np.log(drawn["nu"]), drawn["a"])[0, 1]) < 0.07
    declared = pdeml.Parameter("c", 1.0, range=(0.5, 2.0))
    x, t = sp.symbols("x t", real=True)
    u = pdeml.Field("u", x, t)
    family = pdeml.PDE(
        "family",
        [sp.Eq(u.diff(t) + declared * u.diff(x), 0)],
        pdeml.Interval(x, 0, 1) * pdeml.Time(t, 0, 1),
        [pdeml.Initial(u, sp.sin(2 * sp.pi * x)), pdeml.Periodic(u, x)],
    )
    assert checked_ranges(family, None) == {"c": (0.5, 2.0, "linear")}
    with pytest.raises(Exception, match="accepted are values"):
        checked_ranges(family, {"c": (0.1, 1.0)})


@pytest.mark.parametrize("change", [{"samples": 7}, {"batch": 3}, {"shard": (1, 3)}, {"batch": 12}])
def test_a_sample_does_not_depend_on_the_others(tmp_path, whole, change):
    part = make(tmp_path / "b.h5", **{"batch": BATCH, **change})
    numbers = part.contents.attributes and part.samples
    if "shard" in change:
        with h5py.File(next((tmp_path / "b.parts").glob("*.h5"))) as file:
            numbers = file["sample"][()]
    np.testing.assert_array_equal(part.params["nu"], whole.params["nu"][numbers])
    np.testing.assert_array_equal(part.read(times=0), whole.read(numbers, times=0))
    gap = (part.read() - whole.read(numbers)).abs().max()
    assert gap <= 1.2e-7 * whole.read().abs().max()  # one unit of the stored float32


def test_stored_in_double_precision_it_is_the_same_to_1e_12(tmp_path):
    a = make(tmp_path / "a.h5", 6, dtype="float64", batch=6).read()
    b = make(tmp_path / "b.h5", 6, dtype="float64", batch=1).read()
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_deterministic_samples_have_the_same_bits(tmp_path):
    """A chaotic problem shows every rounding: blocks of 16 are solved whole, whatever is asked."""
    ks = pdeml.problems.kuramoto_sivashinsky(length=60, duration=15)
    options = {"problem": ks, "vary": {}, "dt": 0.25, "dtype": "float64", "deterministic": True}
    a = make(tmp_path / "a.h5", 21, **options).read()
    b = make(tmp_path / "b.h5", 18, batch=2, **options).read()
    assert torch.equal(a[:18], b)
    for i in (1, 0):
        c = make(tmp_path / "c.h5", 21, shard=(i, 2), **options).read()
    assert torch.equal(a, c)


def test_equal_runs_give_equal_files(tmp_path, whole):
    make(tmp_path / "b.h5", batch=BATCH)
    (first,) = whole.source.files()
    with h5py.File(first) as one, h5py.File(tmp_path / "b.h5") as other:
        for name in one:
            if isinstance(one[name], h5py.Dataset) and name != "wall_time":
                np.testing.assert_array_equal(one[name][()], other[name][()])


def test_killed_generation_continues(tmp_path, whole):
    path = tmp_path / "b.h5"

    def slowly():
        run = batches.SpectralBatch.__call__

        def slow(self, *arguments):
            time.sleep(0.2)
            return run(self, *arguments)

        batches.SpectralBatch.__call__ = slow
        make(path, batch=BATCH)

    process = killed.start(slowly)
    while not path.exists() or not _finished(path):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    kept = _finished(path)
    assert 0 < kept < 12
    before = pdeml.data.open(path).read()
    continued = make(path, batch=BATCH)
    assert torch.equal(continued.read()[:kept], before)
    assert torch.equal(continued.read(), whole.read())
    with pytest.raises(DatasetMismatch, match="vary"):
        make(path, batch=BATCH, vary={"nu": (0.05, 0.6, "log")})


def test_a_declaration_is_compared_by_its_meaning(tmp_path):
    """Its text may differ: that of another version of pdeml has other spaces or keys."""
    path = tmp_path / "a.h5"
    make(path, 2)
    with h5py.File(path, "r+") as file:
        stored = json.loads(file.attrs["pde"])
        stored["declaration"] = json.dumps(json.loads(stored["declaration"]), indent=1)
        file.attrs["pde"] = json.dumps(stored)
    make(path, 2)
    with pytest.raises(DatasetMismatch, match="problem"):
        make(path, 2, pdeml.problems.burgers(nu=0.7))


def _finished(path):
    with h5py.File(path) as file:
        return int((file["status"][()] == 1).sum())


def test_blow_up_fails_one_sample_and_spares_the_others(tmp_path):
    """Burgers backwards in diffusion: ν < 0 grows without bound."""
    x, t = sp.symbols("x t", real=True)
    u, nu = pdeml.Field("u", x, t), pdeml.Parameter("nu", 0.1)
    problem = pdeml.PDE(
        "backward",
        [sp.Eq(u.diff(t) + u * u.diff(x), nu * u.diff(x, 2))],
        pdeml.Interval(x, 0, 1) * pdeml.Time(t, 0, 1),
        [pdeml.Initial(u, sp.sin(2 * sp.pi * x)), pdeml.Periodic(u, x)],
    )
    ds = make(tmp_path / "a.h5", 8, problem, vary={"nu": (-0.5, 0.5)}, batch=8)
    status = ds.contents.status
    nu = drawn_parameters(checked_ranges(problem, {"nu": (-0.5, 0.5)}), sample_seeds(0, range(8)))
    np.testing.assert_array_equal(status == 2, nu["nu"] < 0)
    assert 0 < len(ds) < 8 and ds.read().isfinite().all()
    with h5py.File(tmp_path / "a.h5") as file:
        message = b"".join(file["message"][int(np.flatnonzero(status == 2)[0])]).decode()
    assert "NaN or infinite" in message


def test_times_that_are_not_uniform(tmp_path):
    uniform = make(tmp_path / "a.h5", 2, frames=6, dt=0.01, dtype="float64").read()
    chosen = make(
        tmp_path / "b.h5", 2, frames=None, times=[0.2, 0.4, 1.0], dt=0.01, dtype="float64"
    ).read()
    torch.testing.assert_close(chosen, uniform[:, [1, 2, 5]], rtol=0, atol=1e-10)


def test_problems_of_second_order_and_with_constraints(tmp_path):
    ds = make(tmp_path / "a.h5", 2, "periodic_wave", vary={})
    assert ds.channels == ("u", "u_t")
    ds = make(tmp_path / "b.h5", 2, "navier_stokes_vorticity", vary={}, resolution=16)
    assert ds.channels == ("omega",) and ds.shape == (2, 3, 1, 16, 16)
    assert [a.periodic for a in ds.axes] == [True, True]


def test_the_step_is_chosen_for_the_whole_family(tmp_path):
    ds = make(tmp_path / "a.h5", 2, dt=None, frames=2)
    step = ds.contents.attributes["provenance"]["options"]["dt"]
    assert 1e-4 < step < 0.1
    finer = make(tmp_path / "b.h5", 2, dt=step / 4, frames=2, dtype="float64").read()
    coarse = make(tmp_path / "c.h5", 2, dt=step, frames=2, dtype="float64").read()
    assert (finer - coarse).norm() / finer.norm() < 1e-5


@pytest.mark.parametrize(
    "spawned",
    [False, pytest.param(True, marks=pytest.mark.slow)],  # interpreters take seconds
)
def test_problems_with_walls_are_solved_one_by_one(tmp_path, monkeypatch, spawned):
    """u_t = κ u_xx with u = 0 at the ends: e^{−κπ²t} sin πx for each drawn κ."""
    if not spawned:
        monkeypatch.setattr(single, "in_processes", lambda work, tasks, *_: map(work, tasks))
    x, t = sp.symbols("x t", real=True)
    u, kappa = pdeml.Field("u", x, t), pdeml.Parameter("kappa", 0.1, range=(0.05, 0.2))
    problem = pdeml.PDE(
        "rod",
        [sp.Eq(u.diff(t), kappa * u.diff(x, 2))],
        pdeml.Interval(x, 0, 1) * pdeml.Time(t, 0, 1),
        [pdeml.Initial(u, sp.sin(sp.pi * x)), pdeml.Dirichlet(u, 0)],
    )
    ds = generate(problem, 2, tmp_path / "a.h5", frames=3, resolution=9, method="chebyshev")
    grid, times = ds.axes[0].points, ds.times.numpy()
    assert grid[-1] == 1 and ds.axes[0].periodic is False
    for i in range(2):
        decay = np.exp(-float(ds.params["kappa"][i]) * np.pi**2 * times)
        exact = decay[:, None] * np.sin(np.pi * grid)
        np.testing.assert_allclose(ds.read(i)[0, :, 0], exact, atol=2e-6)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"samples": 0}, InvalidOption, "samples"),
        ({"frames": 1}, InvalidOption, "frames"),
        ({"times": [0, 2]}, InvalidOption, "not both"),
        ({"vary": {"mu": (0, 1)}}, InvalidOption, "mu"),
        ({"vary": {"nu": (1, 0)}}, InvalidOption, "nu"),
        ({"initial": "noise"}, InvalidOption, "fno_burgers"),
        ({"initial": "declared", "vary": {}}, InvalidOption, "nothing would differ"),
        ({"dtype": "float16"}, InvalidOption, "dtype"),
        ({"split": (0.9, 0.9)}, InvalidOption, "split"),
        ({"method": "exact", "problem": "kdv", "vary": {}}, UnsupportedProblem, "exact"),
    ],
)
def test_bad_options(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        make(tmp_path / "a.h5", **change)
    assert not list(tmp_path.glob("*.h5"))


# --------------------------------------------------------------------------------------- commands


def command(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


COMMAND = [
    *("generate", "burgers", "--samples", 6, "--frames", 3, "--resolution", 32, "--dt", 0.02),
    *("--vary", "nu=0.05:0.5:log", "--durability", "process", "--quiet"),
]


def test_generate_inspect_verify(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in (contained, inspection):  # new interpreters take seconds; test_hostile has them
        monkeypatch.setattr(module, "run_isolated", lambda f, *arguments, **_: f(*arguments))
    monkeypatch.setattr(sys, "argv", ["pdeml", *map(str, COMMAND)])
    done = command(*COMMAND, "--out", "a.h5", "--json", "--split", "0.5,0.5")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["samples"]["finished"] == 6
    again = command(*COMMAND, "--out", "a.h5")
    assert again.exit_code == 2 and "already" in again.stderr
    assert command(*COMMAND, "--out", "a.h5", "--resume").exit_code == 0
    other = command(*COMMAND, "--seed", 1, "--out", "a.h5", "--resume")
    assert other.exit_code == 2 and "seed" in other.stderr

    shown = command("inspect", "a.h5")
    assert shown.exit_code == 0
    for text in ("pdeml-dataset 1", "6 × 3 × 1 × 32", "periodic, length 2", "train 3, test 3"):
        assert text in shown.stdout
    assert "nu" in shown.stdout and "pdeml generate burgers" in shown.stdout
    assert (tmp_path / "a.png").stat().st_size > 20_000
    details = json.loads(command("inspect", "a.h5", "--json", "--no-picture", "--quiet").stdout)
    assert details["axes"][0]["length"] == 2 and details["warnings"] == []

    good = command("verify", "a.h5", "--json")
    assert good.exit_code == 0 and json.loads(good.stdout)["checked"] == 6
    with h5py.File("a.h5") as file:
        place = file["u"].id.get_offset() + 4 * file["u"].nbytes // 6 + 11
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[place] ^= 1
    (tmp_path / "a.h5").write_bytes(data)
    bad = command("verify", "a.h5", "--json")
    assert bad.exit_code == 3 and list(json.loads(bad.stdout)["bad"]) == ["4"]
    (tmp_path / "a.h5").write_bytes(data[: len(data) // 2])
    cut = command("verify", "a.h5")
    assert cut.exit_code == 2 and str(len(data)) in cut.stderr
    assert command("verify", "none.h5").exit_code == 1


def test_shards_by_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in (0, 1):
        done = command(*COMMAND, "--batch", 2, "--shard", f"{i}/2", "--out", "s.h5")
        assert done.exit_code == 0, done.output
    command(*COMMAND, "--batch", 2, "--out", "w.h5")
    assert not (tmp_path / "s.parts").exists()
    assert torch.equal(pdeml.data.open("s.h5").read(), pdeml.data.open("w.h5").read())


@pytest.mark.parametrize("words", [("--vary", "nu=1"), ("--shard", "a/b"), ("--split", "x")])
def test_bad_words(tmp_path, words):
    done = command(*COMMAND, "--out", tmp_path / "a.h5", *words)
    assert done.exit_code == 2 and words[0] in done.stderr


def test_merge_refuses_what_is_missing(tmp_path):
    make(tmp_path / "a.h5", shard=(1, 2), batch=2)
    with pytest.raises(pdeml.errors.InvalidDataset, match="sample 0"):
        merge(tmp_path / "a.h5")
