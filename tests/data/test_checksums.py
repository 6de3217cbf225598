"""Checksums by several threads are those of one, each at its sample."""

import zlib

import numpy as np
import pytest

from pdeml.data import checksums


@pytest.mark.parametrize("helpers", [1, 3])
@pytest.mark.parametrize("piece", [1, 40_000, 2**30])
def test_each_sample_has_its_own(monkeypatch, helpers, piece):
    """Pieces of one sample, of several, and of all; the caller takes what nobody has begun."""
    monkeypatch.setattr(checksums, "HELPERS", helpers)
    monkeypatch.setattr(checksums, "PIECE_BYTES", piece)
    rng = np.random.default_rng(0)
    arrays = {"u": rng.normal(size=(23, 5, 300)), "k": rng.normal(size=(7, 2)).astype("f4")}
    with checksums.begun(arrays) as finished:
        found = finished()
    for name, array in arrays.items():
        assert found[name].tolist() == [zlib.crc32(sample.tobytes()) for sample in array]
        assert found[name].dtype == np.uint32
