"""The own layout: round trips, xarray, the limits of what can be stored, and what is refused."""

import json
import os
import warnings

import h5py
import numpy as np
import pytest
import torch
import xarray

import pdeml
from pdeml.data import Axis, FieldInfo, MeshArrays, Writer
from pdeml.errors import (
    DatasetLocked,
    DatasetMismatch,
    InvalidDataset,
    InvalidOption,
    OutputError,
)

# all sizes differ, so that no mistaken axis goes unseen
S, T, NX, NY = 5, 3, 8, 7
RNG = np.random.default_rng(0)
AXES = [
    Axis("x", np.arange(NX) / NX, "m", periodic=True, length=1.0),
    Axis("y", np.linspace(-1, 1, NY), periodic=False),
]
FIELDS = [
    FieldInfo("u", "f4", units="m s-1", long_name="velocity"),
    FieldInfo("flow", "f8", ("flow_x", "flow_y")),
    FieldInfo("h", "c16"),
    FieldInfo("k", "f4", static=True),
]
VALUES = {
    "u": RNG.normal(size=(S, T, 1, NX, NY)).astype("f4"),
    "flow": RNG.normal(size=(S, T, 2, NX, NY)),
    "h": RNG.normal(size=(S, T, 1, NX, NY)) + 1j * RNG.normal(size=(S, T, 1, NX, NY)),
    "k": RNG.normal(size=(S, 1, 1, NX, NY)).astype("f4"),
    "nu": RNG.uniform(size=S),
    "load": RNG.uniform(size=(S, 4)),
}
TIMES = np.array([0.0, 0.1, 0.2])


def describe(**changes):
    given = {
        "fields": FIELDS,
        "times": TIMES,
        "axes": AXES,
        "samples": S,
        "pde": pdeml.problems.burgers(),
        "parameters": {"nu": 0, "load": 4},
        "units": {"nu": "m2 s-1", "time": "s"},
        "seed": 7,
        "options": {"dt": 0.1, "scheme": "etdrk4"},
        "splits": {"train": [0, 1, 2], "test": [4, 3]},
    }
    return {**given, **changes}


def write(path, **changes):
    with Writer(path, **describe(**changes)) as writer:
        for ids in writer.pending(2):
            writer.commit(ids, **{name: v[ids] for name, v in VALUES.items()})
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "a.h5")


@pytest.fixture(params=[None, "gzip", "lzf"])
def any_file(request, tmp_path):
    return write(tmp_path / "a.h5", compression=request.param)


def test_round_trip_is_exact(any_file):
    ds = pdeml.data.open(any_file)
    assert ds.shape == (S, T, 5, NX, NY)
    assert ds.channels == ("u", "flow_x", "flow_y", "h", "k")
    for name in ("u", "flow", "h"):
        np.testing.assert_array_equal(ds.read(fields=name).numpy(), VALUES[name])
    static = np.broadcast_to(VALUES["k"], (S, T, 1, NX, NY))
    np.testing.assert_array_equal(ds.read(fields="k").numpy(), static)
    np.testing.assert_array_equal(ds.params["nu"], VALUES["nu"])
    np.testing.assert_array_equal(ds.params["load"], VALUES["load"])
    np.testing.assert_array_equal(ds.times, TIMES)
    for axis, expected in zip(ds.axes, AXES, strict=True):
        np.testing.assert_array_equal(axis.points, expected.points)
        assert (axis.name, axis.units, axis.periodic, axis.length) == (
            *(expected.name, expected.units, expected.periodic, expected.length),
        )
    assert [ds.field(f.name) for f in FIELDS] == [
        FieldInfo(f.name, f.dtype, f.components, f.units, f.long_name or f.name, f.static)
        for f in FIELDS
    ]
    assert repr(ds.problem) == repr(pdeml.problems.burgers())
    assert ds.contents.attributes["provenance"]["options"] == {"dt": 0.1, "scheme": "etdrk4"}
    assert ds.verify().ok and ds.verify().checked == S
    train, test = ds.split("stored")
    assert train.samples.tolist() == [0, 1, 2] and test.samples.tolist() == [3, 4]


def test_xarray_opens_it_as_it_is(any_file):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_dataset(any_file, engine="h5netcdf") as found:
            found.load()
    assert found["u"].dims == ("sample", "time", "x", "y")
    assert found["flow"].dims == ("sample", "time", "component_flow", "x", "y")
    assert found["k"].dims == ("sample", "x", "y")
    assert found["load"].dims == ("sample", "entry_load")
    np.testing.assert_array_equal(found["u"], VALUES["u"][:, :, 0])
    np.testing.assert_array_equal(found["h_re"] + 1j * found["h_im"], VALUES["h"][:, :, 0])
    np.testing.assert_array_equal(found.coords["x"], AXES[0].points)
    assert found["u"].attrs["units"] == "m s-1" and found["x"].attrs["axis"] == "X"
    assert found["time"].attrs["axis"] == "T"
    assert found.attrs["Conventions"] == "CF-1.11" and found.attrs["complete"] == 1


def test_only_types_that_every_netcdf_reader_has(file):
    """No bool (an enum in HDF5), compound, reference or variable-length data, apart from scales."""
    with h5py.File(file) as found:
        datasets = []
        found.visititems(lambda n, d: datasets.append(d) if isinstance(d, h5py.Dataset) else None)
        for item in [found, *datasets]:
            for name, value in item.attrs.items():
                if name not in ("DIMENSION_LIST", "REFERENCE_LIST"):
                    assert np.asarray(value).dtype.kind in "iufSOU", name
                    assert not isinstance(value, np.bool_)
        for data in datasets:
            assert data.dtype.kind in "iufS" and data.dtype.names is None
        for name in ("u", "flow", "h_re", "k"):
            assert all(len(dim) == 1 for dim in found[name].dims)
            assert found[name].chunks is None and found[name].id.get_offset() % 8 == 0


def test_seeds_and_checksums_are_those_of_the_specification(file):
    import hashlib
    import struct
    import zlib

    with h5py.File(file) as found:
        for i in range(S):
            digest = hashlib.blake2b(struct.pack("<QQ", 7, i), digest_size=8).digest()
            assert found["seed"][i] == int.from_bytes(digest, "little")
            assert found["crc32_u"][i] == zlib.crc32(VALUES["u"][i].astype("<f4").tobytes())
            real = np.ascontiguousarray(VALUES["h"][i].real)
            assert found["crc32_h_re"][i] == zlib.crc32(real.tobytes())


def test_statistics_are_stored(file):
    with h5py.File(file) as found:
        figures = {name: found["stats"][name][1] for name in found["stats"]}
    values = VALUES["flow"][:, :, 0]
    delta = np.diff(values, axis=1)
    expected = {
        "mean": values.mean(),
        "std": values.std(),
        "min": values.min(),
        "max": values.max(),
        "delta_mean": delta.mean(),
        "delta_std": delta.std(),
    }
    assert figures == pytest.approx(expected, rel=1e-12)


def test_statistics_do_not_cancel(tmp_path):
    """Mean 1e8 and deviation 1: squares alone would leave no digit."""
    values = 1e8 + RNG.normal(size=(4, 2, 50))
    with Writer(
        tmp_path / "a.h5", fields={"u": "f8"}, times=[0, 1], axes={"x": np.arange(50)}, samples=4
    ) as w:
        w.commit(range(4), u=values)
    assert pdeml.data.open(tmp_path / "a.h5").statistics()["u"]["std"] == pytest.approx(
        values.std(), rel=1e-7
    )


def test_irregular_mesh(tmp_path):
    coords, cells = RNG.normal(size=(6, 2)), np.array([[0, 1, 2], [3, 4, 5]])
    with Writer(
        tmp_path / "m.h5",
        fields={"u": "f8"},
        times=[0.0],
        axes={"node": np.arange(6.0)},
        samples=2,
        mesh=MeshArrays(coords, cells),
    ) as w:
        w.commit([0, 1], u=np.arange(12.0).reshape(2, 1, 6))
    ds = pdeml.data.open(tmp_path / "m.h5")
    np.testing.assert_array_equal(ds.mesh.coords, coords)
    np.testing.assert_array_equal(ds.mesh.cells, cells)
    assert ds.read(1).flatten().tolist() == [6, 7, 8, 9, 10, 11]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_dataset(tmp_path / "m.h5", engine="h5netcdf") as found:
            assert found["u"].dims == ("sample", "time", "node")
            assert {"node_x", "node_y"} <= set(found["u"].coords)
            topology = found["mesh"].attrs
    assert topology["cf_role"] == "mesh_topology" and topology["topology_dimension"] == 2
    assert topology["face_node_connectivity"] == "cells"


def test_append_without_a_known_number(tmp_path):
    path = tmp_path / "a.h5"
    given = describe(samples=None, splits=None)
    for stop in (2, 5):
        with Writer(path, **given) as w:
            for ids in w.pending(1):
                if ids[0] == stop:
                    break
                w.commit(ids, **{n: v[ids] for n, v in VALUES.items()})
        parts = pdeml.data.open(tmp_path / "a.parts")
        np.testing.assert_array_equal(parts.read(fields="u"), VALUES["u"][:stop])
    with Writer(path, **given) as w:
        w.finalize()
    ds = pdeml.data.open(path)
    np.testing.assert_array_equal(ds.read(fields="flow"), VALUES["flow"])
    assert ds.verify().ok and not (tmp_path / "a.parts").exists()


@pytest.mark.parametrize(
    "change, named",
    [
        ({"samples": S + 1}, "number of samples"),
        ({"seed": 8}, "seed"),
        ({"options": {"dt": 0.2, "scheme": "etdrk4"}}, "'dt'"),
        ({"options": {"dt": 0.1, "scheme": "etdrk4", "more": 1}}, "'more'"),
        ({"times": [0.0, 0.1, 0.3]}, "times"),
        ({"axes": [AXES[0], Axis("y", np.linspace(-1, 2, NY), periodic=False)]}, "axis 'y'"),
        ({"pde": pdeml.problems.burgers(nu=0.1)}, "problem"),
        ({"fields": [FieldInfo("u", "f8"), *FIELDS[1:]]}, "fields"),
        ({"parameters": {"nu": 0, "load": 3}}, "parameters"),
    ],
)
def test_a_run_with_other_options_is_refused_by_name(file, change, named):
    before = file.read_bytes()
    with pytest.raises(DatasetMismatch, match=named):
        Writer(file, **describe(**change))
    assert file.read_bytes() == before


def test_a_file_that_was_read_here_can_be_opened_for_writing(file, tmp_path):
    """HDF5 allows one way of opening a file per process: no handle is left open."""
    path = tmp_path / "a.h5"
    path.write_bytes(file.read_bytes())
    pdeml.data.open(path).read()
    with h5py.File(path, "r+") as found:
        found.attrs["note"] = "mine"


def test_resume_modes(file, tmp_path):
    with pytest.raises(InvalidOption, match="already"):
        Writer(file, **describe(resume=False))
    with pytest.raises(InvalidOption, match="no "):
        Writer(tmp_path / "none.h5", **describe(resume=True))
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(InvalidDataset, match="no readable HDF5"):
        Writer(tmp_path / "text.h5", **describe())


def test_damage_of_a_finished_sample_is_found_at_resume(tmp_path):
    path = write(tmp_path / "a.h5")
    flip(path, "u", 2)
    with pytest.warns(UserWarning, match="wrong checksums"):
        writer = Writer(path, **describe(verify="all"))
    with writer:
        assert [i for ids in writer.pending() for i in ids] == [2]
        writer.commit(2, **{n: v[[2]] for n, v in VALUES.items()})
    assert pdeml.data.verify(path).ok


def flip(path, name, sample, byte=5):
    with h5py.File(path) as file:
        data = file[name]
        place = data.id.get_offset() + sample * data.nbytes // len(data) + byte
    with open(path, "rb+") as file:
        file.seek(place)
        old = file.read(1)
        file.seek(place)
        file.write(bytes([old[0] ^ 64]))


@pytest.mark.parametrize("sample", range(S))
@pytest.mark.parametrize("name", ["u", "flow", "h_im", "k"])
def test_one_flipped_byte_names_the_sample(tmp_path, file, name, sample):
    path = tmp_path / "a.h5"
    path.write_bytes(file.read_bytes())
    flip(path, name, sample)
    found = pdeml.data.verify(path)
    assert list(found.bad) == [sample] and name in found.bad[sample]
    assert not found.ok and found.checked == S


def test_truncated_files_say_how_many_bytes(tmp_path, file):
    data = file.read_bytes()
    for size in (len(data) - 1, len(data) // 2, 3000):
        path = tmp_path / "cut.h5"
        path.write_bytes(data[:size])
        with pytest.raises(InvalidDataset, match=f"{size}.*{len(data)}"):
            pdeml.data.open(path)


def test_second_writer_is_locked_out(tmp_path):
    path = tmp_path / "a.h5"
    with Writer(path, **describe()):
        with pytest.raises(DatasetLocked, match=str(os.getpid())):
            Writer(path, **describe())
    Writer(path, **describe()).close()


def test_a_lock_that_was_left_behind_is_stale(tmp_path):
    path = tmp_path / "a.h5"
    holder = {"pid": 2**22 - 1, "host": "elsewhere", "since": "2020"}
    (tmp_path / "a.h5.lock").write_text(json.dumps(holder))
    Writer(path, **describe()).close()


def test_readers_see_finished_samples_alone(tmp_path):
    path = tmp_path / "a.h5"
    with Writer(path, **describe()) as writer:
        assert len(pdeml.data.open(path)) == 0
        writer.commit(3, **{n: v[[3]] for n, v in VALUES.items()})
        writer.fail(1, "blew up at t = 0.5")
        ds = pdeml.data.open(path)
        assert ds.samples.tolist() == [3]
        np.testing.assert_array_equal(ds.read(fields="u")[0], VALUES["u"][3])
        with xarray.open_dataset(path, engine="h5netcdf") as found:
            assert found["message"].values[1] == b"blew up at t = 0.5"
            assert np.isnan(found["u"].values[1]).all()
    assert [i for ids in Writer(path, **describe()).pending() for i in ids] == [0, 1, 2, 4]


def good(ids=(0,)):
    return {n: v[list(ids)] for n, v in VALUES.items()}


@pytest.mark.parametrize(
    "ids, change, message",
    [
        ([0], {"u": VALUES["u"][[0]][..., :-1]}, "shape"),
        ([0], {"u": VALUES["u"][[0]].transpose(0, 1, 2, 4, 3)}, "shape"),
        ([0], {"u": np.full((1, T, 1, NX, NY), np.nan)}, "NaN"),
        ([0], {"u": np.full((1, T, 1, NX, NY), 1e300)}, "infinite"),
        ([0], {"u": VALUES["u"][[0]] + 1j}, "dtype"),
        ([0], {"u": VALUES["u"][[0]].astype(str)}, "dtype"),
        ([0], {"nu": np.nan}, "finite"),
        ([0], {"load": np.ones((1, 3))}, "shape"),
        ([0], {"more": 1}, "exactly"),
        ([7], {}, "numbers of samples"),
        ([-1], {}, "numbers of samples"),
        ([0.5], {}, "numbers of samples"),
    ],
)
def test_bad_commits_write_nothing(tmp_path, ids, change, message):
    path = tmp_path / "a.h5"
    with Writer(path, **describe()) as writer:
        before = path.read_bytes()
        with pytest.raises(InvalidDataset, match=message):
            writer.commit(ids, **{**good(), **change})
        with pytest.raises(InvalidDataset):
            writer.commit([0, 0], **good([0, 0]))
        assert path.read_bytes() == before
        writer.commit([0], **good())
        with pytest.raises(InvalidDataset, match="finished already"):
            writer.commit([0], **good())


def test_commits_in_any_order_and_of_any_kind(tmp_path):
    path = tmp_path / "a.h5"
    with Writer(path, **describe()) as writer:
        order = [4, 0, 2]
        values = good(order)
        writer.commit(order, **{**values, "u": torch.from_numpy(values["u"][:, :, 0])})
        writer.commit(1, **{n: v[1] for n, v in VALUES.items()})
    ds = pdeml.data.open(path)
    assert ds.samples.tolist() == [0, 1, 2, 4]
    np.testing.assert_array_equal(ds.read(fields="u"), VALUES["u"][[0, 1, 2, 4]])
    np.testing.assert_array_equal(ds.params["nu"], VALUES["nu"][[0, 1, 2, 4]])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"fields": {}}, "needs a field"),
        ({"fields": {"u": "i4"}}, "dtype"),
        ({"fields": {"status": "f4"}}, "cannot name"),
        ({"fields": {"2u": "f4"}}, "cannot name"),
        ({"fields": {"nu": "f4"}}, "cannot name"),
        ({"times": [0.0, 0.0]}, "increase"),
        ({"axes": {"x": [1.0, 0.5]}}, "increase"),
        ({"samples": 0}, "samples"),
        ({"seed": -1}, "seed"),
        ({"compression": "zip"}, "compression"),
        ({"durability": "hope"}, "durability"),
        ({"shard": (3, 3)}, "shard"),
        ({"options": {"f": print}}, "option"),
    ],
)
def test_bad_descriptions(tmp_path, change, message):
    with pytest.raises(InvalidOption, match=message):
        Writer(tmp_path / "a.h5", **describe(**change))
    assert list(tmp_path.glob("*.h5")) == []


def test_long_declarations_are_kept(tmp_path):
    """Attributes of an object are limited to 64 KiB; the declaration is then a data set."""
    path = write(tmp_path / "a.h5", options={"dt": 0.1, "table": list(range(20_000))})
    ds = pdeml.data.open(path)
    assert ds.contents.attributes["provenance"]["options"]["table"][-1] == 19_999
    with xarray.open_dataset(path, engine="h5netcdf") as found:
        assert found["u"].dims == ("sample", "time", "x", "y")


def test_a_sparse_file_of_fifty_gigabytes_opens_lazily(tmp_path, monkeypatch):
    """Nothing of the values is read; the blocks are not reserved here, to spare the disk."""
    import resource

    monkeypatch.setattr(os, "posix_fallocate", lambda *_: None)
    monkeypatch.setattr("shutil.disk_usage", lambda _: _Space())
    path = tmp_path / "big.h5"
    with Writer(
        path,
        fields={"u": "f4"},
        times=[0.0],
        axes={"x": np.arange(1024), "y": np.arange(1024)},
        samples=12_500,
        resume=False,
    ) as writer:
        writer.commit(12_499, u=np.ones((1, 1024, 1024), "f4"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert path.stat().st_size > 50e9
    ds = pdeml.data.open(path)
    assert ds.read(0)[0, 0, 0, 5, 6] == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


class _Space:
    free = 2**60


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        Writer(tmp_path / "file" / "a.h5", **describe())


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"hello", "no known layout"),
    ],
)
def test_files_that_are_no_data(tmp_path, content, message):
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(InvalidDataset, match=message):
        pdeml.data.open(tmp_path / "a.h5")


def test_unknown_hdf5_is_listed_and_missing_files_are_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["results/speed"] = np.zeros((2, 3))
    with pytest.raises(InvalidDataset, match=r"results/speed \(2, 3\) float64.*map="):
        pdeml.data.open(tmp_path / "a.h5")
    with pytest.raises(InvalidDataset, match="there is no"):
        pdeml.data.open(tmp_path / "none.h5")


def test_newer_versions_and_incomplete_files_are_refused(tmp_path, file):
    path = tmp_path / "a.h5"
    path.write_bytes(file.read_bytes())
    with h5py.File(path, "r+") as found:
        found.attrs["pdeml_version"] = np.int32(2)
    with pytest.raises(InvalidDataset, match="Upgrade"):
        pdeml.data.open(path)
    with h5py.File(path, "r+") as found:
        found.attrs["pdeml_version"] = np.int32(1)
        del found["time"]
    with pytest.raises(InvalidDataset, match="time"):
        pdeml.data.open(path)
