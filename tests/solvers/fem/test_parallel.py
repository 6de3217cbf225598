"""Two and three processes give what one gives, one speaks, and an error on one ends all."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import pdeml
from pdeml.solvers import fem
from pdeml.solvers.fem import backend
from tests.solvers.fem import parallel_case
from tests.solvers.fem.parallel_case import fem_mpi

SECONDS = 120  # by then a run hangs
PDEML = (sys.executable, "-c", "from pdeml.cli import main; main()")

DECLARED = "import os\nfrom pdeml import problems\nproblem = problems.heat(1)\n"
FAILS_ALONE = DECLARED + "if os.environ.get('PMI_RANK') == '1': raise ValueError('only here')\n"
DISTURBED = (
    DECLARED
    + """
import signal, time
from pdeml.solvers.fem.system import System
kept = System.solve
def solve(self, at, *stage):
    {what}
    kept(self, at, *stage)
System.solve = solve
"""
)


def started(count, *command, folder=None):
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.exists() else shutil.which("mpiexec")
    return subprocess.Popen(
        [launcher, "-n", str(count), *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=folder,
    )  # fmt: skip


def ended(run):
    """Exit code, standard output and error; a run that hangs is ended, and the test with it."""
    try:
        out, error = run.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
        raise
    return run.returncode, out, error


def check_alike(gaps):
    """Goals of a row, all relative: values 1e-12, norms 1e-9, the error estimate 1e-6."""
    assert gaps["values"] <= 1e-12 and gaps["norms"] <= 1e-9, gaps
    assert gaps.get("estimate", 0) <= 1e-6, gaps


@pytest.fixture(scope="module")
def alone():
    return parallel_case.rows(backend.load().MPI.COMM_SELF)


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_give_the_same_solutions(alone, count):
    """The cases hold periodic and pinned fields, adaptive cells, dropped states, and a process
    without a cell. What fails on one process inside of a solve fails on all."""
    code, out, error = ended(started(count, sys.executable, parallel_case.__file__))
    assert code == 0, error[-2000:]
    found = json.loads(out)  # one object: one process prints
    assert found["ranks"] == count and len(found["rows"]) == len(alone) > 8
    for one, several in zip(alone, found["rows"], strict=True):
        check_alike(fem_mpi.compared(one, several))
    assert alone[-1]["frames"] < 20  # of 33 states
    sentence = "initial= returned values that are complex, NaN or infinite."
    assert found["failures"] == count * [[sentence, sentence]]


@pytest.mark.slow
def test_the_zoo_does_not_depend_on_the_number_of_processes():
    names = [problem.name for problem, _ in fem_mpi.zoo()]
    assert len(names) > 35
    found = {count: fem_mpi.rows_of(count, names, seconds=1800) for count in (1, 2, 3)}
    for one, *others in zip(*found.values(), strict=True):
        for several in others:
            gaps = fem_mpi.compared(one, several)
            # its pressure at the start is a difference of velocities over a step of 6e-6
            loose = 10 if one["name"] == "abc_flow" else 1
            check_alike({**gaps, "values": gaps["values"] / loose})


def test_the_command_speaks_and_writes_once(tmp_path):
    options = ("--method", "fem", "--option", "h=0.25", "--out", "run", "--json")
    code, out, error = ended(started(2, *PDEML, "solve", "poisson", *options, folder=tmp_path))
    assert code == 0, error
    assert json.loads(out)["report"]["reference"] == "exact"
    assert error.count("solving by fem") == 1
    names = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert names == ["figure.png", "report.json", "solution.h5"]
    shared = pdeml.load(tmp_path / "run" / "solution.h5")
    alone = pdeml.solve(shared.problem, "fem", reference=None, h=0.25)
    points = torch.rand((64, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (shared(points) - alone(points)).abs().max() < 1e-12


@pytest.mark.parametrize(
    "words, expected",
    [
        (("solve", "poisson", "--method", "fem", "--option", "degree=0"), "degree=0: give 1, 2"),
        (("compare", "poisson", "--methods", "exact,fem"), "compare runs in one process"),
    ],
)
def test_an_error_of_all_is_printed_once(tmp_path, words, expected):
    code, out, error = ended(started(2, *PDEML, *words, "--quiet", folder=tmp_path))
    assert (code, out, error.count("InvalidOption")) == (2, "", 1)
    assert expected in error and "Abort" not in error and "on process" not in error


def test_a_file_that_fails_on_one_process_ends_all(tmp_path):
    (tmp_path / "mine.py").write_text(FAILS_ALONE)
    code, _, error = ended(started(2, *PDEML, "solve", "mine.py", "-m", "fem", folder=tmp_path))
    assert code == 2 and error.count("only here") == 1
    assert "(on process 1 of 2)" in error and "Abort" not in error


ALONE = "if os.environ.get('PMI_RANK') == '1': "


@pytest.mark.parametrize(
    "what, words",
    [
        (ALONE + "raise RuntimeError('in the solver')", "in the solver (on process 1 of 2)"),
        (ALONE + "os.kill(os.getpid(), signal.SIGKILL)", "KILLED BY SIGNAL: 9"),
    ],
)
def test_a_process_that_fails_in_the_solver_ends_all(tmp_path, what, words):
    (tmp_path / "mine.py").write_text(DISTURBED.format(what=what))
    options = ("--method", "fem", "--option", "h=0.25", "--dt", "0.25")
    code, out, error = ended(started(2, *PDEML, "solve", "mine.py", *options, folder=tmp_path))
    assert code not in (0, None)
    assert (out + error).count(words) == 1 or "EXIT CODE: 9" in out + error


def test_ctrl_c_ends_all_with_one_sentence(tmp_path):
    what = "open('running', 'w').close(); time.sleep(0.05)"
    (tmp_path / "mine.py").write_text(DISTURBED.format(what=what))
    options = ("--method", "fem", "--option", "h=0.25", "--dt", "0.001")
    run = started(2, *PDEML, "solve", "mine.py", *options, folder=tmp_path)
    limit = time.monotonic() + SECONDS
    while not (tmp_path / "running").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    code, _, error = ended(run)
    assert code == 1 and error.count("Interrupted: stopped by Ctrl-C") == 1


def test_together_without_a_launcher_changes_nothing():
    with pytest.raises(ValueError, match="mine"), fem.together():
        raise ValueError("mine")
