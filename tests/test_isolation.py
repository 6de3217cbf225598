"""What a function in a process of its own may do, and what stops it."""

import ctypes
import os
import time

import numpy as np
import pytest

from pdeml.errors import InvalidDataset, InvalidFile, InvalidMesh, InvalidOption
from pdeml.isolation import Isolation, run_isolated


def doubled(values, text):
    print("what is printed is no answer")
    os.write(1, b"{}\n")
    return {"values": 2.0 * np.array(values), "flags": np.array([True]), "text": text, "none": None}


def process():
    return {"id": os.getpid()}


def sleeping():
    time.sleep(60)
    return {}


def crashing():
    ctypes.string_at(0)
    return {}


def greedy(size):
    return {"size": len(bytearray(size))}


def refusing(kind):
    raise {"file": InvalidFile("a broken file"), "key": KeyError("a")}[kind]


def test_arrays_and_data_come_back():
    assert run_isolated(process)["id"] != os.getpid()
    result = run_isolated(doubled, [1.0, 2.0], "ü")
    assert result["values"].tolist() == [2.0, 4.0] and result["flags"].dtype == bool
    assert result["text"] == "ü" and result["none"] is None


def test_limits_stop_the_process_and_the_next_call_works():
    limits = {"time_limit": 1.0, "memory_limit": 2**28, "error": InvalidMesh}
    with Isolation(**limits) as isolation:
        first = isolation.call(process)
        assert isolation.call(process) == first
        assert isolation.call(greedy, 2**27) == {"size": 2**27}
        with pytest.raises(InvalidMesh, match="greedy needs more memory"):
            isolation.call(greedy, 2**29)
        with pytest.raises(InvalidMesh, match=r"sleeping\(\).*took more than 1 s"):
            isolation.call(sleeping)
        second = isolation.call(process)
        with pytest.raises(InvalidMesh, match=r"crashing\(\).*died with code -11"):
            isolation.call(crashing)
        third = isolation.call(process)
        assert len({d["id"] for d in (first, second, third)}) == 3
    with pytest.raises(ProcessLookupError):
        os.kill(third["id"], 0)


def test_errors_come_back_as_they_are():
    with Isolation() as isolation:
        with pytest.raises(InvalidFile, match=r"^a broken file$"):
            isolation.call(refusing, "file")
        with pytest.raises(InvalidDataset, match="refusing failed: KeyError: 'a'"):
            isolation.call(refusing, "key")


def test_what_cannot_be_sent():
    with pytest.raises(InvalidOption, match="a function of a module"):
        run_isolated(lambda: {})
    with pytest.raises(InvalidOption, match="JSON"):
        run_isolated(greedy, np.zeros(2))
    with pytest.raises(InvalidOption, match="positive"):
        run_isolated(process, time_limit=0)
