"""The benchmark compares like with like, tells when it does not, and needs its peer."""

import dataclasses
import io
import os
import subprocess
import sys

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from pdeml.bench import peer, spectral
from pdeml.bench.peer import Peer, interpreter
from pdeml.bench.spectral_cases import CASES, ks, ns, peer_arguments
from pdeml.cli import app
from pdeml.errors import InvalidOption, MissingDependency, PdemlError

FAKE_EXPONAX = '''
"""The names of exponax that the worker uses, with integrating-factor schemes in NumPy."""
import numpy as np
from types import SimpleNamespace

class Stepper:
    def __init__(self, extent, n, dt, fraction, symbol, convection, substeps):
        number = np.arange(n // 2 + 1)
        k = 2 * np.pi * number / extent
        self.n, self.h, self.substeps = n, dt / substeps, substeps
        self.kept = number <= fraction * (n // 2) - 1
        self.half = np.exp(self.h / 2 * symbol(k))
        self.outer = -0.5j * convection * k * self.kept

    def nonlinear(self, v):
        return self.outer * np.fft.rfft(np.fft.irfft(v * self.kept, self.n) ** 2)

    def runge_kutta(self, v):
        E, h, N = self.half, self.h, self.nonlinear
        a = N(v); b = N(E * (v + h / 2 * a)); c = N(E * v + h / 2 * b); d = N(E * E * v + h * E * c)
        return E * E * v + h / 6 * (E * E * a + 2 * E * (b + c) + d)

    def euler(self, v):
        return self.half**2 * (v + self.h * self.nonlinear(v))

    def __call__(self, u):
        v = np.fft.rfft(u)
        for _ in range(self.substeps):
            v = self.step(v)
        return np.fft.irfft(v, self.n).astype(u.dtype)

def ks(num_spatial_dims, domain_extent, num_points, dt, order, dealiasing_fraction, conservative,
       second_order_scale=1.0):
    assert (num_spatial_dims, order, conservative) == (1, 4, True)
    symbol = lambda k: second_order_scale * k**2 - k**4
    stepper = Stepper(domain_extent, num_points, dt, dealiasing_fraction, symbol, 1, 4)
    stepper.step = stepper.runge_kutta
    return stepper

def kdv(num_spatial_dims, domain_extent, num_points, dt, order, dealiasing_fraction, conservative,
        convection_scale, hyper_diffusivity):
    symbol = lambda k: 1j * k**3
    stepper = Stepper(domain_extent, num_points, dt, dealiasing_fraction, symbol,
                      convection_scale, 1)
    stepper.step = stepper.euler
    return stepper

stepper = SimpleNamespace(KuramotoSivashinskyConservative=ks, KortewegDeVries=kdv)

def RepeatedStepper(stepper, steps):
    def run(u):
        for _ in range(steps):
            u = stepper(u)
        return u
    return run
'''

FAKE_JAX = """
import numpy
from types import SimpleNamespace

def jit(f):
    return f

def vmap(f):
    return lambda batch: numpy.stack([f(u) for u in batch])

def block_until_ready(value):
    return value

def devices():
    return ["fake:0"]

lax = SimpleNamespace(map=lambda f, batch: vmap(f)(batch))
print("a hint on standard output")
"""

SMALL = dataclasses.replace(ks(64, 3), dt=0.02, steps=10)


def install(folder, monkeypatch, **modules):
    """Modules that the interpreter of the peer finds before all others."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
        record = folder / f"{name}-0.2.0.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.2.0\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.fixture
def python(tmp_path, monkeypatch):
    """An interpreter that has (a stand-in for) exponax."""
    install(tmp_path, monkeypatch, exponax=FAKE_EXPONAX, jax=FAKE_JAX)
    return interpreter(sys.executable)


def test_both_packages_solve_the_same_problem(python):
    """An independent scheme on the same modes reaches the same state, in either precision."""
    result = spectral.run_case(SMALL, python, repeats=2)
    assert result["difference"] < 1e-8
    assert result["ratio"] == pytest.approx(result["exponax_us"] / result["pdeml_us"])
    assert result["trajectory_steps_per_second"] == pytest.approx(3e6 / result["pdeml_us"])
    assert result["transforms"] == 8  # four evaluations, there and back
    assert 0 < result["transforms_us"]
    assert result["peer"] == {"exponax": "0.2.0", "jax": "0.2.0", "device": "fake:0"}
    single = spectral.run_case(dataclasses.replace(SMALL, dtype=torch.float32), python, repeats=1)
    assert 1e-8 < single["difference"] < 1e-4


def test_another_equation_is_seen(python):
    other = dataclasses.replace(SMALL, arguments={"second_order_scale": 1.1})
    assert spectral.run_case(other, python, repeats=1)["difference"] > 1e-4


def test_time_to_an_error_takes_the_smallest_steps_of_each(python):
    """The stand-in is of first order: it needs many more steps, and halving them is too few."""
    result = spectral.run_kdv(python, tolerance=2e-2, repeats=1, reference_steps=1000)
    assert result["pdeml"]["steps"] == 25
    assert [row["order"] for row in result["exponax"]] == [1, 2, 3, 4]
    for row in result["exponax"]:
        assert row["steps"] > 50
        assert 0.8e-2 < row["error"] <= 2e-2
        assert row["ratio"] == pytest.approx(row["seconds"] / result["pdeml"]["seconds"])


def test_smallest_steps_doubles_until_the_error_is_reached():
    assert spectral.smallest_steps(lambda n: 1 / n, 1e-3) == (1600, 1 / 1600)
    with pytest.raises(PdemlError, match="still have an error"):
        spectral.smallest_steps(lambda n: float("nan"), 1e-3)


def rows(*ratios, difference=1e-12):
    return [{"counted": True, "ratio": ratio, "difference": difference} for ratio in ratios] + [
        {"counted": False, "ratio": 0.01, "difference": 1.0},
        {"counted": False},
    ]


def kdv(ratio):
    return {"exponax": [{"order": 1, "ratio": 3.0}, {"order": 4, "ratio": ratio}]}


def test_goals():
    goals = spectral.verdict(rows(0.8, 1.0, 1.25), kdv(100.0))
    assert goals["geometric_mean"]["value"] == pytest.approx(1.0)
    assert goals["smallest_ratio"] == {"value": 0.8, "at_least": 0.8, "met": True}
    assert goals["kdv_ratio"] == {"value": 100.0, "at_least": 100.0, "met": True}
    assert goals["difference"]["met"]
    goals = spectral.verdict(rows(0.79, 4.0, 0.3, difference=2e-8), kdv(99.0))
    assert goals["geometric_mean"]["value"] == pytest.approx((0.79 * 4.0 * 0.3) ** (1 / 3))
    assert not any(goal["met"] for goal in goals.values())
    assert not spectral.verdict(rows(1, difference=float("nan")), kdv(1.0))["difference"]["met"]


@pytest.mark.parametrize("case", [c for c in CASES if c.counted])
def test_the_peer_keeps_the_modes_that_pdeml_keeps(case):
    """exponax keeps |k| ≤ fraction · n/2 − 1; the rule of pdeml is |k| < n/3."""
    n = case.resolution[0]
    fraction = peer_arguments(case)["dealiasing_fraction"]
    kept = [k for k in range(n // 2 + 1) if k <= fraction * (n // 2) - 1]
    assert kept == [k for k in range(n // 2 + 1) if 3 * k < n]


def test_initial_values_are_resolved_waves_without_mean():
    values = spectral.initial_values(ns(32, 2))
    assert values.shape == (2, 1, 32, 32)
    modes = torch.fft.fft2(values).abs()
    numbers = torch.fft.fftfreq(32, 1 / 32).abs()
    low = (numbers[:, None] <= 4) & (numbers <= 4)
    assert modes[..., ~low].max() < 1e-10 * modes.max()
    assert modes[..., 0, 0].max() < 1e-10 * modes.max()
    torch.testing.assert_close(values.std((-2, -1)), torch.full((2, 1), 5.0).double())


def test_one_core_is_given_back():
    cores = getattr(os, "sched_getaffinity", lambda process: {0})  # not on every system
    before = torch.get_num_threads(), cores(0)
    with spectral.one_core():
        assert (torch.get_num_threads(), len(cores(0))) == (1, 1)
    assert (torch.get_num_threads(), cores(0)) == before


def test_a_missing_peer_names_the_command(monkeypatch, capsys):
    monkeypatch.delenv(peer.VARIABLE, raising=False)
    monkeypatch.setattr(peer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'exponax==0\.2\.0'"):
        spectral.run()
    monkeypatch.setenv(peer.VARIABLE, "/no/such/python")
    with pytest.raises(InvalidOption, match=r"/no/such/python.*PDEML_BENCH_PYTHON"):
        interpreter()


def test_an_interpreter_without_the_peer(monkeypatch):
    failed = subprocess.CompletedProcess([], returncode=1)
    monkeypatch.setattr(peer.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(MissingDependency, match="/some/python has not"):
        interpreter("/some/python")


def test_a_peer_that_fails_says_why(tmp_path, monkeypatch, python):
    with Peer(python) as running:
        with pytest.raises(PdemlError, match="no attribute 'Burgers'"):
            running.prepare("Burgers", {}, 1, torch.zeros(1, 1, 4))
        assert (
            running.prepare(
                "KuramotoSivashinskyConservative", peer_arguments(SMALL), 1, torch.zeros(1, 1, 64)
            )
            == "vmap"
        )  # and it goes on
    for text, message in (
        ("raise RuntimeError('no such platform')", "RuntimeError: no such platform"),
        ("import os, sys; print('killed', file=sys.stderr, flush=True); os._exit(9)", "killed"),
    ):
        (tmp_path / "jax.py").write_text(text)
        with pytest.raises(PdemlError, match=message):
            Peer(python)


def test_table_shows_cases_errors_and_goals(python, monkeypatch):
    monkeypatch.setattr(spectral, "CASES", [dataclasses.replace(SMALL, counted=True)])
    monkeypatch.setattr(spectral, "CUDA_CASES", [])
    figures = {"steps": 100, "error": 4e-6, "seconds": 0.01}
    measured = {
        "tolerance": 5e-5,
        "pdeml": figures,
        "exponax": [{"order": 4, "ratio": 160.0, **figures}],
    }
    monkeypatch.setattr(spectral, "run_kdv", lambda python, repeats: measured)
    result = spectral.run(peer_python=python, repeats=1)
    assert result["command"] == "pdeml bench spectral --json --peer-python PYTHON"
    assert result["machine"]["threads"] == 1
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(spectral.table(result))
    text = console.export_text()
    for part in ("Kuramoto–Sivashinsky 64", "exponax ETDRK4", "kdv ratio 160 (goal ≥ 100): met"):
        assert part in text


def test_on_cuda_a_peer_that_cannot_run_there_is_noted(monkeypatch):
    """Measured alone then, and the step is compared with its own graph."""

    def run_case(case, python, repeats):
        if case.device == "cuda" and python is not None:
            raise PdemlError("no GPU for it")
        return {"counted": case.counted, "ratio": 1.0, "difference": 0.0, "peer": python}

    monkeypatch.setattr(spectral, "interpreter", lambda python: python)
    monkeypatch.setattr(spectral, "run_case", run_case)
    monkeypatch.setattr(spectral, "run_kdv", lambda python, repeats: kdv(100.0))
    monkeypatch.setattr(spectral, "describe_machine", dict)
    monkeypatch.setattr(spectral, "GRAPH_CASE", SMALL)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    result = spectral.run(peer_python="python", repeats=1)
    assert [c["peer"] for c in result["cases"]] == ["python"] * len(CASES) + [None, None]
    assert len(result["notes"]) == 2
    assert "without the peer: no GPU for it" in result["notes"][0]
    graph = result["graph"]
    assert graph["ratio"] == pytest.approx(graph["eager_us"] / graph["graph_us"])


def test_a_suite_without_an_interpreter_of_its_own_refuses_one():
    result = CliRunner().invoke(app, ["bench", "pinn-step", "--peer-python", "python"])
    assert result.exit_code == 2
    assert "--peer-python" in result.stderr
