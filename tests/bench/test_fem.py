"""The benchmark of finite elements compares like with like: both sides find the same numbers."""

import io
import stat
import sys

import pytest
from rich.console import Console

from pdeml.bench import SUITES, fem
from pdeml.bench import peer as peers
from pdeml.errors import InvalidOption, MissingDependency, PdemlError


@pytest.fixture(scope="module")
def rows():
    return {
        "solve": fem.run_solve(n=8, repeats=1),
        "heat": fem.run_heat(n=8, steps=10, repeats=1),
        "moving heat": fem.run_heat(n=8, steps=10, repeats=1, speed=1),
        "location": fem.run_location(n=8, points=2000, repeats=1),
    }


def test_both_solve_the_same_equations(rows):
    found = rows["solve"]
    assert found["difference"] < 1e-12 and found["newton_steps"] == [5, 5]
    assert found["peer_l2_error"] == pytest.approx(2.6e-4, rel=0.05)
    assert found["ratio"] == pytest.approx(found["pdeml_s"] / found["peer_s"])
    assert len(found["parts_s"]) == 5 and min(found["parts_s"].values()) > 0


def test_both_take_the_same_steps(rows):
    """To round-off: the time of boundary values in single precision left 1e-9."""
    for name in ("heat", "moving heat"):
        assert rows[name]["difference"] < 1e-12 and rows[name]["peer_l2_error"] < 5e-3


def test_both_find_the_same_values(rows):
    """DOLFINx takes a cell beside the right one where a point is within 1e-8 of their facet."""
    assert rows["location"]["difference"] < 1e-7
    assert rows["location"]["values_ratio"] > 0


PEER = """#!{python}
import json, sys
import numpy as np
assert sys.argv[1:2] != ["-c"] or "skfem" in sys.argv[2]
if sys.argv[1] != "-c":
    data = np.load(sys.argv[2])
    assert data["points"].shape == (2, 81) and data["triangles"].shape == (3, 128)
    assert int(data["quadrature"]) == 8 and sys.argv[1].endswith("skfem_worker.py")
    print(json.dumps({{"skfem": "12", "seconds": 1.0, "jacobian_norm": {j}, "residual_norm": {r}}}))
"""


JACOBIAN, RESIDUAL = 230.19154242281917, 2.7439576141944624  # by scikit-fem 12.0.2


def test_the_assembly_is_that_of_scikit_fem(tmp_path):
    peer = tmp_path / "python"
    peer.write_text(PEER.format(python=sys.executable, j=JACOBIAN, r=RESIDUAL))
    peer.chmod(peer.stat().st_mode | stat.S_IEXEC)
    found = fem.run_assembly(fem.interpreter(str(peer)), n=8, repeats=1)
    assert found["difference"] < 1e-12
    assert found["ratio"] == pytest.approx(1.0 / found["pdeml_s"])


def test_a_peer_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv(peers.VARIABLE, raising=False)
    with pytest.raises(InvalidOption, match="cannot be run"):
        fem.interpreter(str(tmp_path / "none"))
    with pytest.raises(MissingDependency, match="pip install 'scikit-fem>=12'"):
        fem.interpreter(sys.executable)
    peer = tmp_path / "python"
    peer.write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    peer.chmod(0o755)
    with pytest.raises(PdemlError, match="scikit-fem failed: broken"):
        fem.run_assembly(str(peer), n=2, repeats=1)


def test_the_table_shows_every_row_and_goal(rows):
    made = {**rows, "assembly": {**rows["heat"], "row": "Newton assembly", "ratio": 4.0}}
    goals = fem.verdict(made)
    assert goals["assembly"] == {"value": 4.0, "at_least": 5.0, "met": False}
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(fem.table({"rows": made, "goals": goals}))
    text = console.export_text()
    assert "assembly 4 (goal ≥ 5): NOT met" in text and "with the error estimate" in text
    assert SUITES["fem"] == "pdeml.bench.fem"
