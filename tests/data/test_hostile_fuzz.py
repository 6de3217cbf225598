"""Mutants of files of every layout: a refusal or data, never a crash, a hang or another file."""

import pytest

from pdeml.errors import InvalidDataset
from pdeml.isolation import Isolation
from tests.data.fuzzing import SECONDS, SEEDS, fuzz

MUTANTS = {name: 40 if "folder" in name else 80 for name in SEEDS}  # folders are slow
LIMITS = {"time_limit": 120.0, "memory_limit": 2**30, "error": InvalidDataset}


@pytest.fixture(scope="module")
def isolation():
    with Isolation(**LIMITS) as isolation:
        yield isolation


@pytest.mark.parametrize("layout", SEEDS)
def test_mutants_are_read_or_refused(isolation, tmp_path, layout):
    count = MUTANTS[layout]
    found = isolation.call(fuzz, layout, str(tmp_path), 0, 0, count)
    assert found["failures"] == []
    assert found["refused"] + found["same"] + found["other"] == count
    # mutants that are all refused at the first byte would test nothing
    assert found["refused"] >= 5
    if "compressed" not in layout:  # every byte of these is under a checksum
        assert found["same"] + found["other"] >= 1
    assert found["slowest"] < SECONDS


def test_there_are_enough_of_them():
    assert sum(MUTANTS.values()) >= 2000
