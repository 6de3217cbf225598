"""Files that are whole or not there: round trips, bit flips, hostile structures, failing writes."""

import errno
import hashlib
import os

import h5py
import numpy as np
import pytest
import torch

from pdeml import engine
from pdeml.engine import read_state, write_state, write_text
from pdeml.errors import InvalidFile, InvalidOption, OutputError

ARRAYS = {
    "net.0.weight": torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4),
    "net.0.bias": np.float32([1.5, -2.5, np.nan]),
    "flags": np.array([True, False]),
    "count": np.int64(-7),
    "scalar": torch.tensor(0.1),
    "half": np.float16([0.5]),
    "modes": np.array([1 + 2j, 3 - 4j]),
    "modes32": np.array([[1 + 2j]], dtype=np.complex64),
    "rng": torch.get_rng_state(),
    "empty": np.zeros((0, 3)),
    "a/b c.%": np.uint8([1, 2]),
    ".": np.arange(3),
}
META = {"history": [1.0, 1e-300, 0.1, float("inf")], "name": "Allen–Cahn", "none": None}


def saved(path):
    write_state(path, ARRAYS, META, "solution")
    return path


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_state_returns_bit_for_bit(tmp_path):
    arrays, meta = read_state(saved(tmp_path / "run.h5"), "solution")
    assert meta == META
    assert arrays.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        expected = value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        assert same(arrays[name], expected), name


def test_state_is_plain_hdf5_and_reproducible(tmp_path):
    first, second = saved(tmp_path / "a.h5"), saved(tmp_path / "b.h5")
    assert first.read_bytes() == second.read_bytes()
    with h5py.File(first, "r") as file:
        assert file["arrays/net.0.weight"].fletcher32
        np.testing.assert_array_equal(file["arrays/net.0.weight"][()], ARRAYS["net.0.weight"])


def test_no_bit_flip_loads_silently_wrong(tmp_path):
    path = saved(tmp_path / "run.h5")
    original = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, 8 * len(original), size=200):
        broken = bytearray(original)
        broken[position // 8] ^= 1 << (position % 8)
        path.write_bytes(broken)
        with pytest.raises(InvalidFile):
            read_state(path, "solution")


@pytest.mark.parametrize("length", [0, 10, 511, 512, 600, -1])
def test_truncated_file_is_refused(tmp_path, length):
    path = saved(tmp_path / "run.h5")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InvalidFile):
        read_state(path, "solution")


def test_other_kind_and_foreign_files_are_refused(tmp_path):
    path = saved(tmp_path / "run.h5")
    with pytest.raises(InvalidFile, match=r"'solution'.*'checkpoint'"):
        read_state(path, "checkpoint")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["a"] = 1
    with pytest.raises(InvalidFile, match="not a pdeml state"):
        read_state(tmp_path / "foreign.h5", "solution")
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "nothing.h5", "solution")


def external_link(file, tmp_path):
    file["arrays/x"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/data")


def soft_link(file, tmp_path):
    file["arrays/x"] = h5py.SoftLink("/state")


def external_storage(file, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(64))
    file.create_dataset("arrays/x", (8,), "f8", external=[(str(tmp_path / "secret"), 0, 64)])


def virtual(file, tmp_path):
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "data", shape=(4,))
    file.create_virtual_dataset("arrays/x", layout)


def object_reference(file, tmp_path):
    file["arrays/x"] = np.array([file["state"].ref], dtype=h5py.ref_dtype)


def variable_length(file, tmp_path):
    file.create_dataset(
        "arrays/x", data=np.array(["a", "b"], dtype=object), dtype=h5py.string_dtype()
    )


def compound(file, tmp_path):
    file["arrays/x"] = np.zeros(3, dtype=[("a", "f8"), ("b", "i4")])


def nested_group(file, tmp_path):
    file["arrays/x/y"] = 1.0


def loop(file, tmp_path):
    file["arrays/x"] = file["arrays"]


def attribute(file, tmp_path):
    file["arrays"].attrs["x"] = 1


def stranger(file, tmp_path):
    file["more"] = 1


def compressed(file, tmp_path):
    file.create_dataset("arrays/x", data=np.zeros(10), compression="gzip")


def unallocated(file, tmp_path):
    file.create_dataset("arrays/x", (2**40,), "f8", chunks=(1024,))


def bomb(file, tmp_path):
    file.create_dataset("arrays/x", (2**40,), "u1", chunks=(2**20,), compression="gzip")[:10] = 1


def no_state(file, tmp_path):
    del file["state"]


def bad_text(file, tmp_path):
    del file["state"]
    file["state"] = np.bytes_(b"[" * 100_000)


def crowd(file, tmp_path):
    for i in range(engine.MAX_OBJECTS + 1):
        file["arrays"].create_dataset(str(i), data=0)


HOSTILE = [
    external_link,
    soft_link,
    external_storage,
    virtual,
    object_reference,
    variable_length,
    compound,
    nested_group,
    loop,
    attribute,
    stranger,
    compressed,
    unallocated,
    bomb,
    no_state,
    bad_text,
    crowd,
]


def crafted(path, tmp_path, attack):
    """A file with a right digest and one forbidden structure."""
    write_state(path, {"w": np.arange(3.0)}, {}, "solution")
    with h5py.File(path, "r+", libver="latest") as file:
        attack(file, tmp_path)
    image = path.read_bytes()[engine.BLOCK_BYTES :]
    path.write_bytes(engine._block(hashlib.sha256(image).hexdigest()) + image)
    return path


def test_crafting_alone_is_accepted(tmp_path):
    path = crafted(tmp_path / "ok.h5", tmp_path, lambda file, folder: None)
    assert read_state(path, "solution")[0]["w"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("attack", HOSTILE, ids=lambda f: f.__name__)
def test_hostile_structure_is_refused(tmp_path, attack):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = np.arange(4.0)
    path = crafted(tmp_path / "bad.h5", tmp_path, attack)
    with pytest.raises(InvalidFile):
        read_state(path, "solution")


def failing(name, failure, after=0):
    real, calls = getattr(os, name), []

    def call(*args, **kwargs):
        calls.append(1)
        if len(calls) > after:
            raise OSError(failure, os.strerror(failure))
        return real(*args, **kwargs)

    return call


@pytest.mark.parametrize("name", ["open", "write", "fsync", "close", "replace"])
@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("after", [0, 1])
def test_a_failing_write_leaves_the_old_or_the_new_state(
    tmp_path, monkeypatch, name, failure, after
):
    path = tmp_path / "run.h5"
    write_state(path, {"w": np.zeros(3)}, {"step": 1}, "solution")
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing(name, failure, after))
        try:
            write_state(path, {"w": np.ones(3)}, {"step": 2}, "solution")
            wrote = True
        except OutputError as error:
            assert "run.h5" in str(error)
            assert os.strerror(failure) in str(error)
            wrote = False
    arrays, meta = read_state(path, "solution")
    assert arrays["w"].tolist() == [meta["step"] - 1] * 3
    if wrote or (
        after == 1 and name in ("open", "fsync", "close")
    ):  # only the folder's sync failed
        assert meta["step"] == 2
    else:
        assert meta["step"] == 1
    assert os.listdir(tmp_path) == ["run.h5"]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:100]))
    arrays, _ = read_state(saved(tmp_path / "run.h5"), "solution")
    assert same(arrays["net.0.weight"], ARRAYS["net.0.weight"].numpy())


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file/run"):
        write_state(tmp_path / "file" / "run.h5", {}, {}, "solution")
    with pytest.raises(OutputError):
        write_text(tmp_path, "a folder is there")
    assert (tmp_path / "file").read_text() == "x"
    write_text(tmp_path / "new" / "a.txt", "ν = 1")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "ν = 1"


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(InvalidOption, match="'w'"):
        write_state(tmp_path / "a.h5", {"w": np.array(["text"])}, {}, "solution")
    with pytest.raises(InvalidOption, match=r"'w'.*bfloat16"):
        write_state(tmp_path / "a.h5", {"w": torch.zeros(1, dtype=torch.bfloat16)}, {}, "solution")
    with pytest.raises(InvalidOption, match="JSON"):
        write_state(tmp_path / "a.h5", {}, {"f": object()}, "solution")
    assert os.listdir(tmp_path) == []


def test_devices_dtypes_and_generators():
    assert engine.resolve_device("cpu") == torch.device("cpu")
    assert engine.resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InvalidOption, match="'toaster'"):
        engine.resolve_device("toaster")
    with pytest.raises(InvalidOption, match="cuda:99"):
        engine.resolve_device("cuda:99")
    assert engine.resolve_dtype(None) == torch.float64
    assert engine.resolve_dtype("float32") == torch.float32
    assert engine.resolve_dtype(torch.complex64) == torch.complex64
    for bad in ("int32", "nn", "float31", 3):
        with pytest.raises(InvalidOption, match="dtype"):
            engine.resolve_dtype(bad)
    draws = [torch.rand(3, generator=engine.generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    for bad in (-1, 2**63, 1.5, True):
        with pytest.raises(InvalidOption, match="seed"):
            engine.generator(bad)
