"""From every layout to every other: equal values, coordinates, parameters; what is lost is said."""

import h5py
import numpy as np
import pytest
import scipy.io
import torch
import xarray

import pdeml
from pdeml.data import Axis, FieldInfo, MeshArrays, Writer
from pdeml.errors import InvalidDataset, InvalidOption
from tests.data.foreign import LAYOUTS, values

ENDINGS = {
    "pdeml": "out.h5",
    "pdebench": "out.hdf5",
    "well": "out.hdf5",
    "mat": "out.mat",
    "apebench": "out.json",
    "deepxde": "out.npz",
}
S, T, SPACE = 3, 5, {1: (7,), 2: (7, 11), 3: (7, 11, 2)}
TIMES = np.array([0.0, 0.1, 0.3, 0.4, 0.9])


def own(folder, dim=2, fields=None, splits=None, mesh=None, samples=S, dtype="f4", parameters=True):
    """A data set with a vector, a static field, units, periods, and parameters of each kind."""
    components = tuple(f"v_{a}" for a in "xyz"[:dim]) if dim > 1 else ("v",)
    vector = FieldInfo("v", dtype, components, units="m/s")
    static = FieldInfo("k", dtype, long_name="conductivity", static=True)
    fields = fields or [FieldInfo("u", dtype, units="K"), vector, static]
    space = SPACE[dim] if mesh is None else (len(mesh.coords),)
    axes = [
        Axis(
            name, np.arange(n) * 0.25 + 1, "m", periodic=k == 0, length=0.25 * n if k == 0 else None
        )
        for k, (name, n) in enumerate(zip("xyz", space, strict=False))
    ]
    axes = axes if mesh is None else [Axis("node", np.arange(space[0], dtype=float))]
    path = folder / "own.h5"
    with Writer(
        path, fields=fields, times=TIMES, axes=axes, samples=samples, splits=splits, mesh=mesh,
        parameters={"nu": 0, "p": 2, "rho": 0} if parameters else {},
        units={"nu": "Pa s", "time": "s"}, title="a title", durability="process",
    ) as writer:  # fmt: skip
        for ids in writer.pending(batch=2):
            arrays = {}
            for k, field in enumerate(fields):
                shape = (1 if field.static else T, len(field.components), *space)
                samples_of = [values(*shape, seed=100 * k + i) for i in ids]
                arrays[field.name] = np.stack(samples_of).astype(field.dtype)
            own = {"nu": ids * 0.3, "p": np.stack([ids, -ids], 1), "rho": 2.0} if parameters else {}
            writer.commit(ids, **arrays, **own)
    return path


def equal(one, other, fields=None):
    """Values, times, points of two data sets."""
    for name in fields or one.fields:
        a, b = one.read(fields=name), other.read(fields=name)
        assert a.dtype == b.dtype and a.shape == b.shape
        assert (a == b).all(), name
    assert (one.times == other.times).all()
    for a, b in zip(one.axes, other.axes, strict=True):
        np.testing.assert_array_equal(a.points, b.points)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize(
    ("to", "options"),
    [*((to, {}) for to in ENDINGS), ("mat", {"version": "5"}), ("pdeml", {"compression": "gzip"})],
)
def test_there_and_back(tmp_path, to, options, dim):
    """Own layout → export → own layout, with names, units, periods and parameters."""
    first = pdeml.data.open(own(tmp_path, dim))
    (there := tmp_path / "there").mkdir(), (back := tmp_path / "back").mkdir()
    lost = pdeml.data.convert(first.source.path, there / ENDINGS[to], to, **options)
    second = pdeml.data.open(there / ENDINGS[to])
    pdeml.data.convert(there / ENDINGS[to], back / "own.h5")
    for other in (second, pdeml.data.open(back / "own.h5")):
        equal(first, other)
        assert sorted(other.channels) == sorted(first.channels)
        assert other.field("u").units == "K" and other.field("v").units == "m/s"
        assert [(a.name, a.units, a.periodic) for a in other.axes] == [
            (a.name, a.units, a.periodic) for a in first.axes
        ]
        assert other.axes[0].length == first.axes[0].length
        assert (
            other.contents.units["time"] == "s" and other.contents.attributes["title"] == "a title"
        )
        expected = dict(first.parameters)
        if to == "well":
            expected |= {"p_0": expected["p"][:, 0], "p_1": expected.pop("p")[:, 1]}
            assert any("'p' of 2 numbers is written as p_0" in text for text in lost)
        assert set(other.parameters) == set(expected)
        for name, column in expected.items():
            np.testing.assert_array_equal(other.parameters[name], column)
    assert to == "pdeml" or any("checksums" in text for text in lost)


def test_float64_stays_exact(tmp_path):
    first = pdeml.data.open(own(tmp_path, 1, dtype="f8"))
    for to, name in ENDINGS.items():
        (folder := tmp_path / to).mkdir()
        pdeml.data.convert(first, folder / name, to)
        equal(first, pdeml.data.open(folder / name))


def test_complex_fields_become_two_where_the_layout_has_none(tmp_path):
    first = pdeml.data.open(own(tmp_path, 1, [FieldInfo("A", "c8")], parameters=False))
    for to, name in ENDINGS.items():
        (folder := tmp_path / to).mkdir()
        lost = pdeml.data.convert(first, folder / name, to)
        ds = pdeml.data.open(folder / name)
        if to in ("pdebench", "well"):
            assert any("'A' is written as A_re, A_im" in text for text in lost)
            read = ds.read(fields="A_re") + 1j * ds.read(fields="A_im")
            assert (read == first.read()).all()
        else:
            equal(first, ds)


@pytest.mark.parametrize("to", ENDINGS)
def test_the_split_and_the_declaration_go_along(tmp_path, to):
    splits = {"train": [0, 2, 4], "valid": [1], "test": [3, 5]}
    path = own(tmp_path, 1, splits=splits, samples=6, parameters=False)
    first = pdeml.data.open(path)
    lost = pdeml.data.convert(path, tmp_path / ENDINGS[to], to)
    other = pdeml.data.open(tmp_path / ENDINGS[to])
    parts, stored = first.split("stored"), other.split("stored")
    if to == "apebench":
        assert "samples for validation are in train" in lost
        assert (stored[1].read() == parts[2].read()).all() and len(stored[0]) == 4
    else:
        for part, again in zip(parts, stored, strict=True):
            assert (part.read() == again.read()).all()


def test_a_folder_of_the_well_has_the_parts(tmp_path):
    splits = {"train": [0, 2, 4], "valid": [1], "test": [3]}
    first = pdeml.data.open(own(tmp_path, 2, splits=splits, samples=6))
    lost = pdeml.data.convert(first, tmp_path / "ks", "well")
    assert sorted(p.parent.name for p in (tmp_path / "ks").rglob("*.hdf5")) == [
        "test",
        "train",
        "valid",
    ]
    train, valid, test = pdeml.data.open(tmp_path / "ks", split="stored")
    assert (train.read(fields="u") == first.read([0, 2, 4, 5], fields="u")).all()
    assert (test.read(fields="v") == first.read([3], fields="v")).all() and len(valid) == 1
    assert any("1 samples are in no part of the stored split: in train" in text for text in lost)
    figures = (tmp_path / "ks/stats.yaml").read_text()
    assert f"  u: {first.statistics()['u']['mean']:.17e}\n" in figures


@pytest.mark.parametrize(
    ("dim", "fields", "layout", "names"),
    [
        (1, ["u"], "PDEBench A", {"tensor", "x-coordinate", "t-coordinate"}),
        (2, ["nu!", "sol!"], "PDEBench B", {"nu", "tensor", "x-coordinate", "y-coordinate"}),
        (1, ["Vx", "density", "pressure"], "PDEBench C", {"Vx", "density", "pressure"}),
        (3, ["omega_x", "omega_y", "omega_z"], "PDEBench F", {"omega_x", "omega_y", "omega_z"}),
        (2, ["u", "w"], "PDEBench D", {"0000", "0001", "0002"}),
    ],
)
def test_pdebench_gets_the_family_that_fits(tmp_path, dim, fields, layout, names):
    infos = [FieldInfo(n.rstrip("!"), "f4", static="!" in n) for n in fields]
    first = pdeml.data.open(own(tmp_path, dim, infos, parameters=False))
    pdeml.data.convert(first, tmp_path / "out.h5", "pdebench")
    with h5py.File(tmp_path / "out.h5") as file:
        assert set(file) >= names
        if layout == "PDEBench D":
            assert set(file) == names  # its loader takes every group for a sample
            read = file["0001/data"][...]
            np.testing.assert_array_equal(read[..., 1], first.read(1, fields="w")[0, :, 0])
        if layout == "PDEBench B":
            assert file["tensor"].shape == (S, 1, *SPACE[2])
    ds = pdeml.data.open(tmp_path / "out.h5")
    assert ds.layout == layout and set(ds.fields) == set(first.fields)
    equal(first, ds) if layout != "PDEBench B" else None


def test_matlab_and_scipy_see_time_last(tmp_path):
    first = pdeml.data.open(own(tmp_path, 2))
    pdeml.data.convert(first, tmp_path / "a.mat", "mat", version="5")
    pdeml.data.convert(first, tmp_path / "b.mat", "mat")
    content = scipy.io.loadmat(tmp_path / "a.mat")
    u, v = (first.read(fields=n).numpy() for n in "uv")
    np.testing.assert_array_equal(content["u"], np.moveaxis(u[:, :, 0], 1, -1))
    np.testing.assert_array_equal(content["v"], np.moveaxis(v, 1, -1))
    assert content["u"].dtype == np.float32 and content["k"].shape == (S, 7, 11)
    np.testing.assert_array_equal(content["t"], TIMES[None])
    with h5py.File(tmp_path / "b.mat") as file:
        assert file["u"].shape == (T, 11, 7, S) and file["u"].attrs["MATLAB_class"] == b"single"
        np.testing.assert_array_equal(file["u"][...].T, content["u"])
    assert (tmp_path / "b.mat").read_bytes()[:128].endswith(b"\0\x02IM")


def test_deepxde_gets_functions_points_and_values(tmp_path):
    first = pdeml.data.open(own(tmp_path, 2, [FieldInfo("u", "f4"), FieldInfo("w", "f4")]))
    pdeml.data.convert(first, tmp_path / "a.npz", "deepxde")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as content:
        branch, trunk, y = (content[n] for n in ("X_train0", "X_train1", "y_train"))
    assert y.shape == (S, T * 77, 2) and branch.shape == (S, 2 * 77)
    place = (3 * 7 + 4) * 11 + 9  # third time, fourth x, ninth y
    assert trunk[place].tolist() == [TIMES[3], first.axes[0].points[4], first.axes[1].points[9]]
    assert y[2, place, 1] == first.read(2, 3, "w")[0, 0, 0, 4, 9]


def test_apebench_loads_without_us(tmp_path):
    first = pdeml.data.open(own(tmp_path, 2))
    pdeml.data.convert(first, tmp_path / "a.json", "apebench")
    array = np.load(tmp_path / "a_train.npy")
    np.testing.assert_array_equal(array, first.read())
    assert not (tmp_path / "a_test.npy").exists()


def test_points_of_a_mesh(tmp_path):
    coords, cells = values(7, 2, dtype=np.float64), np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6]])
    first = pdeml.data.open(
        own(tmp_path, 1, [FieldInfo("u", "f4")], mesh=MeshArrays(coords, cells))
    )
    lost = pdeml.data.convert(first, tmp_path / "a.npz", "deepxde")
    assert "the cells of the mesh are not written, its points are" in lost
    for version in ("5", "7.3"):
        pdeml.data.convert(first, tmp_path / f"{version}.mat", "mat", version=version)
        again = pdeml.data.open(tmp_path / f"{version}.mat")
        np.testing.assert_array_equal(again.mesh.cells, cells)
        np.testing.assert_array_equal(again.mesh.coords, coords)
        equal(first, again)
    np.testing.assert_array_equal(pdeml.data.open(tmp_path / "a.npz").mesh.coords, coords)
    equal(first, pdeml.data.open(tmp_path / "a.npz"))
    for to in ("pdebench", "well", "apebench"):
        with pytest.raises(InvalidDataset, match='"deepxde"'):
            pdeml.data.convert(first, tmp_path / to / ENDINGS[to], to)
        assert not (tmp_path / to / ENDINGS[to]).exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_foreign_layout_becomes_our_own(tmp_path, layout):
    path, expected = LAYOUTS[layout](tmp_path)
    lost = pdeml.data.convert(path, tmp_path / "own.h5")
    first, own = pdeml.data.open(path), pdeml.data.open(tmp_path / "own.h5")
    assert own.layout.startswith("pdeml") and set(own.fields) == set(expected)
    equal(first, own)
    for name, column in first.parameters.items():
        np.testing.assert_array_equal(own.parameters[name], column)
    assert pdeml.data.verify(tmp_path / "own.h5").ok
    assert not first.contents.notes or any("notes on the source" in text for text in lost)
    with xarray.open_dataset(tmp_path / "own.h5", engine="h5netcdf") as labelled:
        assert set(expected) <= set(labelled)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A file of each foreign layout and the same as our own, made once."""
    made = {}

    def pair(layout):
        if layout not in made:
            folder = tmp_path_factory.mktemp("pairs")
            path, _ = LAYOUTS[layout](folder)
            pdeml.data.convert(path, folder / "as_own.h5")
            made[layout] = path, folder / "as_own.h5"
        return made[layout]

    return pair


@pytest.mark.parametrize("to", [to for to in ENDINGS if to != "pdeml"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_foreign_layout_becomes_every_other(converted, tmp_path, layout, to):
    """Foreign → own → foreign: values, times, points and parameters of the first file, exactly."""
    path, own = converted(layout)
    first = pdeml.data.open(path)
    if first.mesh is not None and to in ("pdebench", "well", "apebench"):
        with pytest.raises(InvalidDataset, match='"deepxde"'):
            pdeml.data.convert(own, tmp_path / ENDINGS[to], to)
        assert not list(tmp_path.iterdir())
        return
    pdeml.data.convert(own, tmp_path / ENDINGS[to], to)
    other = pdeml.data.open(tmp_path / ENDINGS[to])
    assert set(other.fields) == set(first.fields)
    equal(first, other)
    for name, column in first.parameters.items():
        found = other.parameters
        if to == "well" and name not in found:  # has no vectors per sample
            found = {name: torch.stack([found[f"{name}_{i}"] for i in range(column.shape[1])], 1)}
        if to == "mat" and column.shape[1:] == (1,):  # MATLAB has no lists, but columns
            column = column[:, 0]
        np.testing.assert_array_equal(found[name], column)


def test_samples_with_nan_are_failed_ones(tmp_path):
    u = values(S, T, 7)
    u[1, 2, 3] = np.nan
    np.savez(tmp_path / "a.npz", u=u, **{"time": TIMES})
    named = {"my field": "u", "axes": "n t x"}
    lost = pdeml.data.convert(tmp_path / "a.npz", tmp_path / "a.h5", map=named)
    ds = pdeml.data.open(tmp_path / "a.h5")
    assert ds.contents.status.tolist() == [1, 2, 1] and ds.fields == ("my_field",)
    np.testing.assert_array_equal(ds.read()[:, :, 0], u[[0, 2]])
    assert "1 samples have NaN or infinite values and are marked as failed" in lost
    assert "'my field' is called 'my_field'" in lost


def test_a_view_is_written_as_it_is_seen(tmp_path):
    view = pdeml.data.open(own(tmp_path, 1)).select([2, 0], slice(1, None, 2), ["u"])
    for to in ("pdeml", "pdebench", "mat"):
        (folder := tmp_path / to).mkdir()
        lost = pdeml.data.convert(view, folder / ENDINGS[to], to)
        ds = pdeml.data.open(folder / ENDINGS[to])
        equal(view, ds)
        assert ds.parameters["nu"].tolist() == [0.6, 0.0]
        assert any("numbered anew" in text for text in lost)


@pytest.mark.parametrize(
    ("to", "name", "options", "error", "message"),
    [
        ("hdf", "a.h5", {}, InvalidOption, "to='hdf': give one of pdeml, pdebench"),
        ("mat", "a.mat", {"version": "6"}, InvalidOption, r"version='6': give '7.3' or '5'"),
        ("mat", "a.mat", {"compression": "gzip"}, InvalidOption, "to='mat' takes version"),
        ("apebench", "a.npy", {}, InvalidOption, r"give the name of the json file, NAME.json"),
        ("pdeml", "own.h5", {}, InvalidOption, "is there already"),
    ],
)
def test_what_cannot_be_written(tmp_path, to, name, options, error, message):
    path = own(tmp_path, 1)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        pdeml.data.convert(path, tmp_path / name, to, **options)
    assert sorted(tmp_path.iterdir()) == before
