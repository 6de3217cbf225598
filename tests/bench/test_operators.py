"""The suite ``operators``: its goals, table and refusals; speed itself is not asserted."""

import io
import stat
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pdeml.bench import operators as suite
from pdeml.errors import MissingDependency, PdemlError

FIXTURE = Path(__file__).parents[1] / "surrogates" / "fixtures" / "neuraloperator.npz"
PEER = """
import json, sys
import numpy as np
print(json.dumps({{"neuraloperator": "2.0.0", "torch": "-"}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["action"] == "prepare":
        with np.load({fixture!r}) as file:
            own = {{k[3:]: file[k] for k in file if k.startswith("2d/")}}
        own["target"] = own["y"] = own["y"] + {error}
        np.savez(sys.argv[1] + "/peer.npz", **own)
        print(json.dumps({{"parameters": 1}}), flush=True)
    else:
        print(json.dumps({{"seconds": 1.0}}), flush=True)
"""
"""Answers as the worker does, with the weights of the fixture."""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """Makes a stand-in whose output is off by `error`, and one case."""

    def make(error):
        script = tmp_path / "worker.py"
        script.write_text(PEER.format(fixture=str(FIXTURE), error=error))
        monkeypatch.setattr(suite, "WORKER", script)
        monkeypatch.setattr(suite, "interpreter", lambda python, **options: sys.executable)
        monkeypatch.setattr(suite, "describe_machine", dict)
        case = suite.Case("fixture", (8, 6), 6, (20, 27), 2)
        monkeypatch.setattr(suite, "CASES", (case,))

    return make


def test_a_case_is_run_on_both_sides(peer):
    peer(0.0)
    result = suite.run(repeats=1)
    (row,) = result["cases"]
    assert row["difference"] < 1e-6
    for kind in ("inference", "training"):
        times = row[kind]
        assert times["peer_s"] == 1.0 and times["ratio"] == 1.0 / times["pdeml_s"]
    text = io.StringIO()
    Console(file=text, width=160).print(suite.table(result))
    assert "neuraloperator 2.0.0" in text.getvalue() and "training 2d" in text.getvalue()


def test_outputs_that_differ_are_not_compared(peer):
    peer(1e-3)
    with pytest.raises(PdemlError, match="differ by"):
        suite.run(repeats=1)


def test_goals_are_geometric_means_of_each_dimension():
    def row(points, ratio):
        return {"points": points, "training": {"ratio": ratio}, "inference": {"ratio": ratio}}

    goals = suite._goals([row((8,), 1.0), row((8,), 4.0), row((8, 8), 1.4)])
    assert goals["training_1d"]["value"] == pytest.approx(2.0) and goals["training_1d"]["met"]
    assert goals["training_2d"]["met"] and not goals["inference_2d"]["met"]


def test_an_interpreter_without_the_peer_is_refused(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    with pytest.raises(MissingDependency, match=r"neuraloperator==2\.0\.0"):
        suite.run(peer_python=str(python))
