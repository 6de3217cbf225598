"""The suite ``data``: rows, goals and table on small files; speed itself is not asserted."""

import io

import numpy as np
import pytest
from rich.console import Console

from pdeml.bench import data as suite


@pytest.fixture
def small(monkeypatch):
    for name, value in {"SAMPLES": 4, "FRAMES": 3, "POINTS": 16, "BATCH": 2, "READS": 3}.items():
        monkeypatch.setattr(suite, name, value)
    monkeypatch.setattr(suite, "GRID", 8)


def test_all_rows_without_a_peer(small, monkeypatch):
    monkeypatch.setattr(suite, "describe_machine", dict)
    result = suite.run()
    assert [w["durability"] for w in result["writers"]] == ["process", "power"]
    assert all(w["megabytes"] == 4 * 3 * 16 * 4 / 1e6 for w in result["writers"])
    assert result["well"] is None and "well_ratio" not in result["goals"]
    text = io.StringIO()
    Console(file=text, width=160).print(suite.table(result))
    assert "window of 2×8²" in text.getvalue() and "writer ratio" in text.getvalue()


@pytest.mark.parametrize("ratio, met", [(0.81, True), (0.79, False), (np.nan, False)])
def test_goals_are_judged(ratio, met):
    writers = [{"ratio": 1.0}, {"ratio": ratio}]
    windows = {"ratio": 5.0, "map_us": 21.0, "loader_gb_s": 2.0}
    goals = suite._goals(writers, windows, {"ratio": 9.0})
    assert goals["writer_ratio"]["met"] is met
    assert goals["well_ratio"]["met"] and not goals["window_us"]["met"]
