"""Two processes give what one gives."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CASE = Path(__file__).with_name("parallel_case.py")


def launcher():
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def printed(*command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_two_processes_give_the_same_solution_and_one_prints():
    one = json.loads(printed(sys.executable, str(CASE)))
    two = json.loads(printed(launcher(), "-n", "2", sys.executable, str(CASE)))
    assert (one["ranks"], two["ranks"]) == (1, 2)
    for alone, shared in zip(one["rows"], two["rows"], strict=True):
        # adaptive meshes are divided differently where cells tie, and ranks break ties
        exactly = alone["name"] != "poisson"
        tolerance = 1e-9 if exactly else 1e-3
        assert np.allclose(alone["values"], shared["values"], rtol=tolerance, atol=tolerance)
        assert shared["error"] == pytest.approx(alone["error"], rel=1e-6 if exactly else 0.5)
