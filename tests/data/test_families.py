"""Samples that are declared one by one: stored with their inputs, failing alone, by many."""

import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import sympy as sp
import torch
from typer.testing import CliRunner

import pdeml
from pdeml.cli import app
from pdeml.data import Sample, generate, pools, single
from pdeml.data.failures import failures
from pdeml.data.families import darcy
from pdeml.data.five_point import darcy_pressure
from pdeml.errors import DatasetMismatch, InvalidOption, MissingDependency, UnsupportedProblem
from pdeml.probability import darcy_field, fno_darcy
from tests.data import pool_work

SECONDS = 120  # by then a run hangs


@pytest.fixture
def here(monkeypatch):
    """Samples are solved in this process: others take seconds to start."""
    monkeypatch.setattr(single, "in_processes", lambda work, tasks, *_: map(work, tasks))


def rods(seed, sample, strength=1.0):
    """−(k u')' = f_i with k = 1 + x/2 and its source as input."""
    x = sp.Symbol("x", real=True)
    u, a = pdeml.Field("u", x), pdeml.Parameter("a", 1.0)
    source = a * strength * sp.sin((sample + 1) * sp.pi * x)
    problem = pdeml.PDE(
        "rods",
        [sp.Eq(-((1 + x / 2) * u.diff(x)).diff(x), source)],
        pdeml.Interval(x, 0, 1),
        [pdeml.Dirichlet(u, 0)],
    )
    return Sample(problem, {"f": source})


ROD = {"resolution": 17, "method": "chebyshev", "durability": "process"}


def rod_solution(source_of, points):
    """By integrating twice: k u' = c − F, on a fine grid."""
    x = np.linspace(0, 1, 20001)
    step = x[1]
    source = source_of(x)

    def integral(values):
        return np.concatenate([[0], np.cumsum((values[1:] + values[:-1]) * step / 2)])

    flux, inverse = integral(source), 1 / (1 + x / 2)
    part, whole = integral(flux * inverse), integral(inverse)
    return np.interp(points, x, whole * part[-1] / whole[-1] - part)


def test_each_sample_has_its_own_declaration_parameters_and_inputs(tmp_path, here):
    ds = generate(rods, 3, tmp_path / "a.h5", vary={"a": (1.0, 5.0)}, **ROD)
    assert ds.fields == ("f", "u") and ds.field("f").static
    points, a = ds.axes[0].points, ds.params["a"].numpy()
    assert len(set(a)) == 3
    for i in range(3):
        source = a[i] * np.sin((i + 1) * np.pi * points)
        np.testing.assert_allclose(ds.read(i, fields="f")[0, 0, 0], source, atol=1e-6)
        exact = rod_solution(lambda x, i=i: a[i] * np.sin((i + 1) * np.pi * x), points)
        np.testing.assert_allclose(ds.read(i, fields="u")[0, 0, 0], exact, atol=1e-6)
    assert pdeml.data.verify(tmp_path / "a.h5").ok


def test_darcy_pairs_solve_another_discretization(tmp_path, here):
    """k is the exponential of the cosine series, and the five-point scheme gives u from it."""
    family = functools.partial(darcy, coefficient="lognormal", strength=2.0, modes=5)
    ds = generate(family, 2, tmp_path / "a.h5", seed=4, resolution=65, options={"h": 1 / 16})
    k, u = (ds.read(fields=name)[:, 0].double() for name in ds.fields)
    assert k.shape == u.shape == (2, 1, 65, 65)
    for i in range(2):
        # the grid of 5 points per axis holds the 5 cosines of g
        g = darcy_field((5, 5), values=None, seed=4, first=i, samples=1)[0, 0]
        m = torch.arange(5).double()
        transform = torch.linalg.inv(torch.cos(torch.pi * m[:, None] * m / 4))
        waves = torch.cos(torch.pi * torch.linspace(0, 1, 65).double()[:, None] * m)
        full = waves @ transform @ g @ transform.T @ waves.T
        full -= (transform @ g @ transform.T)[0, 0]
        torch.testing.assert_close(k[i, 0], torch.exp(2 * full), rtol=2e-6, atol=0)
    other = darcy_pressure(k)
    assert ((other - u).norm() / u.norm()).item() < 2e-3
    assert (k[0] - k[1]).abs().max() > 0.5 and ds.problem == pdeml.problems.darcy(
        "lognormal", seed=4, sample=0, modes=5, strength=2.0
    )


def test_a_family_is_known_by_what_it_declares(tmp_path, here):
    """Not by its name: the same run continues, another strength or function does not."""
    path = tmp_path / "a.h5"
    generate(rods, 3, path, **ROD)
    stored = pdeml.data.open(path).contents.attributes["provenance"]["options"]["family"]
    assert stored["name"] == "rods"
    generate(rods, 3, path, **ROD)

    def altered(seed, sample):
        made = rods(seed, sample, strength=1.0 if sample < 2 else 2.0)
        return Sample(made.problem, rods(seed, sample).inputs)

    altered.__qualname__ = "rods"
    with pytest.raises(DatasetMismatch, match="option 'family'"):
        generate(altered, 3, path, **ROD)
    with pytest.raises(DatasetMismatch, match="family"):
        generate(functools.partial(rods, strength=1.0), 3, path, **ROD)


def failing(errors):
    """A work that raises for some samples."""

    def work(task):
        if task.number in errors:
            return single.Result(task.number, error=errors[task.number])
        return single.solved(task)

    return work


def test_a_sample_that_fails_does_not_end_the_run(tmp_path, monkeypatch):
    """Of any error: its message is kept, the others are solved, it may be tried again."""
    errors = {1: UnsupportedProblem("no such term"), 2: RuntimeError("LinAlgError: singular")}
    work = failing(errors)
    monkeypatch.setattr(single, "in_processes", lambda _, tasks, *__: map(work, tasks))
    with pytest.warns(UserWarning, match="sample 2 failed: LinAlgError: singular"):
        ds = generate(rods, 4, tmp_path / "a.h5", **ROD)
    assert ds.samples.tolist() == [0, 3]
    assert failures(ds) == {1: "no such term", 2: "LinAlgError: singular"}
    errors.clear()
    assert len(generate(rods, 4, tmp_path / "a.h5", **ROD)) == 2
    again = generate(rods, 4, tmp_path / "a.h5", retry_failed=True, **ROD)
    assert len(again) == 4 and failures(again) == {}


@pytest.mark.parametrize(
    "errors, expected",
    [
        ({0: InvalidOption("degree=0")}, InvalidOption),  # of the call: every sample has it
        ({3: MissingDependency("no DOLFINx")}, MissingDependency),
    ],
)
def test_errors_that_all_samples_have_end_the_run(tmp_path, monkeypatch, errors, expected):
    monkeypatch.setattr(single, "in_processes", lambda _, t, *__: map(failing(errors), t))
    with pytest.raises(expected):
        generate(rods, 4, tmp_path / "a.h5", **ROD)
    with h5py.File(tmp_path / "a.h5") as file:
        assert 2 not in file["status"][()]


def test_errors_of_foreign_libraries_are_results(monkeypatch):
    def explode(*_, **__):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(single.solvers, "solve", explode)
    task = single.Task(5, rods(0, 0).problem.to_json(), {}, "fem", np.zeros((1, 1)), np.array([]))
    result = single.solved(task)
    assert result.number == 5 and str(result.error) == "ZeroDivisionError: by zero"
    assert "in explode" in result.error.__notes__[0]


def test_samples_must_have_the_same_domain_and_inputs(tmp_path, here):
    def other(seed, sample):
        made = rods(seed, sample)
        return made if sample == 0 else Sample(made.problem, {})

    with pytest.raises(InvalidOption, match="sample 1 has the inputs"):
        generate(other, 2, tmp_path / "a.h5", **ROD)
    with pytest.raises(InvalidOption, match="keep=8"):
        generate(rods, 2, tmp_path / "b.h5", keep=8, **ROD)


def test_a_dead_process_loses_its_task_alone():
    """And tasks are made as they are needed, not all at once."""
    made = []

    def tasks():
        for number in range(8):
            made.append(number)
            yield number

    results = pools.in_processes(pool_work.square, tasks(), 2, lambda task: (task, None, 0))
    first = next(results)
    assert len(made) <= 2 * pools.AHEAD + 1
    found = sorted([first, *results])
    assert [value for _, value, _ in found] == [0, 1, 4, None, 16, 25, 36, 49]
    assert os.getpid() not in {process for *_, process in found}


def test_a_killed_run_leaves_no_process(tmp_path):
    """SIGKILL gives it no time to end those that solve for it."""
    note = tmp_path / "number"
    code = (
        "import sys; from pdeml.data import pools; from tests.data import pool_work\n"
        "if __name__ == '__main__': "
        "list(pools.in_processes(pool_work.wait, iter(sys.argv[1:]), 1, str))"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, script, note], env={**os.environ, "PYTHONPATH": str(root)}
    )
    while not note.exists() or not note.read_text():
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    for _ in range(200):
        if not Path(f"/proc/{note.read_text()}").exists():
            return
        time.sleep(0.05)
    pytest.fail("the process goes on without its parent")


def command(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


WORDS = [
    *("generate", "darcy", "--samples", 2, "--resolution", 9, "--option", "h=0.25"),
    *("--set", "modes=4"),
]


def test_command_of_a_family(tmp_path, here, monkeypatch):
    path = tmp_path / "a.h5"
    done = command(*WORDS, "--set", "coefficient=lognormal", "--set", "strength=2", "--out", path)
    assert done.exit_code == 0, done.output
    named = pdeml.data.open(path).contents.attributes["provenance"]["options"]["family"]
    assert named["arguments"] == {
        "coefficient": "lognormal", "modes": 4, "strength": 2.0,
    }  # fmt: skip
    for wrong, message in (("mode=8", "has no argument 'mode'"), ("modes=many", "modes is 8")):
        refused = command(*WORDS, "--set", wrong, "--out", tmp_path / "b.h5")
        assert refused.exit_code == 2 and message in refused.stderr
    work = failing({1: UnsupportedProblem("not this one")})
    monkeypatch.setattr(single, "in_processes", lambda _, tasks, *__: map(work, tasks))
    partly = command(*WORDS, "--out", tmp_path / "c.h5")
    assert partly.exit_code == 3
    assert "1 failed" in partly.stderr and "sample 1 failed: not this one" in partly.stderr


def mpiexec(count, folder, *words):
    launcher = Path(sys.executable).with_name("mpiexec")
    code = "import sys; sys.argv[0] = 'pdeml'; from pdeml.cli import main; main()"
    return subprocess.run(
        [launcher, "-n", str(count), sys.executable, "-c", code, *map(str, words)],
        cwd=folder, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_mpiexec_solves_each_sample_in_one_process(tmp_path, here):
    """The same bits as without."""
    run = mpiexec(2, tmp_path, *WORDS, "--out", "m.h5")
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("2 of 2 samples finished") == 1
    family = functools.partial(darcy, modes=4)
    alone = generate(family, 2, tmp_path / "a.h5", resolution=9, options={"h": 0.25})
    assert torch.equal(pdeml.data.open(tmp_path / "m.h5").read(), alone.read())


@pytest.mark.slow
def test_an_error_of_the_first_process_ends_all(tmp_path):
    (tmp_path / "m.h5").write_bytes(b"something")
    run = mpiexec(2, tmp_path, *WORDS, "--out", "m.h5")
    assert run.returncode == 2 and run.stderr.count("is there already") == 1


@pytest.mark.slow
def test_mpiexec_divides_batches(tmp_path):
    words = [
        *("generate", "burgers", "--samples", 40, "--frames", 3, "--resolution", 32),
        *("--dt", 0.02, "--deterministic", "--out", "m.h5"),
    ]
    run = mpiexec(2, tmp_path, *words)
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("40 of 40 samples finished") == 1
    options = {"frames": 3, "resolution": 32, "dt": 0.02, "deterministic": True}
    whole = generate("burgers", 40, tmp_path / "a.h5", **options)
    assert torch.equal(pdeml.data.open(tmp_path / "m.h5").read(), whole.read())
    assert not (tmp_path / "m.parts").exists()
    again = mpiexec(2, tmp_path, *words, "--resume")
    assert again.returncode == 0, again.stderr


# ------------------------------------------------------------------------------ five-point scheme


def test_five_points_of_a_constant_coefficient():
    """u(½, ½) of −Δu = 1, the value of the double sine series, with second order."""
    m = np.arange(1, 400, 2)
    i, j = np.meshgrid(m, m)
    exact = (
        16 / np.pi**4 * (np.sin(i * np.pi / 2) * np.sin(j * np.pi / 2) / (i * j * (i**2 + j**2)))
    ).sum()
    assert exact == pytest.approx(0.0736713533, abs=1e-8)
    errors = [
        darcy_pressure(torch.ones(1, 1, n, n))[0, 0, n // 2, n // 2].item() - 0.0736713533
        for n in (21, 41, 81)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.02)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.02)


def test_five_points_solve_their_equations():
    """Each equation with the means of the coefficient, written point by point."""
    k = fno_darcy(15, samples=2, seed=3).double()
    u = darcy_pressure(k, source=2.0)[:, 0].numpy()
    k = k[:, 0].numpy()
    for i in range(1, 14):
        for j in range(1, 14):
            total = 0.0
            for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                mean = (k[:, i, j] + k[:, i + di, j + dj]) / 2
                total = total + mean * (u[:, i, j] - u[:, i + di, j + dj]) * 14**2
            np.testing.assert_allclose(total, 2.0, rtol=1e-9)
    assert (u[:, 0] == 0).all() and (u[:, :, -1] == 0).all()


@pytest.mark.parametrize(
    "k, message",
    [
        (torch.ones(1, 5, 5), "has shape"),
        (torch.ones(1, 1, 5, 4), "has shape"),
        (torch.zeros(1, 1, 5, 5), "positive"),
        (torch.full((1, 1, 5, 5), torch.nan), "positive"),
    ],
)
def test_bad_coefficients(k, message):
    with pytest.raises(InvalidOption, match=message):
        darcy_pressure(k)
