"""Foreign layouts, written as they are documented with all axes of another size, and read back."""

import pickle
import shutil

import h5py
import numpy as np
import pytest
import scipy.io

import pdeml
from pdeml.errors import InvalidDataset, InvalidOption
from tests.data import foreign
from tests.data.foreign import LAYOUTS, N, T, X, Y, matlab_73, t, values, x


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Every layout once: (path, expected arrays) by name."""
    made = {}
    for number, (name, make) in enumerate(LAYOUTS.items()):
        (folder := tmp_path_factory.mktemp("foreign") / str(number)).mkdir()
        made[name] = make(folder)
    return made


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_axis_is_where_it_belongs(files, layout):
    path, expected = files[layout]
    ds = pickle.loads(pickle.dumps(pdeml.data.open(path)))
    assert ds.layout == layout.split(",")[0].replace(" Darcy", "")
    assert ds.fields == tuple(expected)
    for name, array in expected.items():
        read = ds.read(fields=name).numpy()
        assert read.dtype == array.dtype
        assert (
            ds.field(name).static == (array.shape[1] == 1 and ds.shape[1] > 1) or ds.shape[1] == 1
        )
        np.testing.assert_array_equal(read, np.broadcast_to(array, read.shape))
        assert read.shape[2:] == array.shape[2:] and read.shape[0] == array.shape[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_window_reads_what_it_is_asked(files, layout):
    """Sample 1 (or the only one), every second time from the second one."""
    path, expected = files[layout]
    ds = pdeml.data.open(path)
    sample = min(1, len(ds) - 1)
    for name, array in expected.items():
        whole = np.broadcast_to(array, (*array.shape[:1], ds.shape[1], *array.shape[2:]))
        read = ds.read(sample, slice(1, None, 2), name)[0].numpy()
        np.testing.assert_array_equal(read, whole[sample, 1::2])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_of_files_do_not_matter(files, tmp_path, layout):
    """A layout is told by content (PDEBench #24): the same file under a wrong name."""
    path, expected = files[layout]
    if path.is_dir() or path.suffix == ".json":
        target = shutil.copytree(path if path.is_dir() else path.parent, tmp_path / "wrong.mat")
    else:
        target = shutil.copy(path, tmp_path / "wrong.json")
    assert pdeml.data.open(target).fields == tuple(expected)


def test_coordinates_parameters_and_notes_of_pdebench(files):
    ds = pdeml.data.open(files["PDEBench A"][0])
    np.testing.assert_allclose(ds.times, t, rtol=1e-6)  # without the fifth entry
    np.testing.assert_allclose(ds.coords["x"], x, rtol=1e-6)
    assert ds.parameters["Nu"].tolist() == [float(np.float32(0.01))] * N
    assert "t-coordinate has 5 entries for 4 frames: cut" in ds.contents.notes
    assert pdeml.data.open(files["PDEBench C"][0]).parameters["eta"].tolist() == [0.1] * N
    assert "k: 0.005" in pdeml.data.open(files["PDEBench D"][0]).contents.attributes["config"]
    e = pdeml.data.open(files["PDEBench E"][0])
    np.testing.assert_array_equal(e.times, t)
    assert not e.parameters  # latestIndex is no parameter


@pytest.mark.parametrize(("samples", "tested"), [(20, 2), (25, 2)])
def test_pdebench_tests_on_its_own_tenth(tmp_path, samples, tested):
    """The first tenth in family A, the last one in family D, rounded as its loaders round."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tensor"] = np.arange(samples, dtype=np.float32)[:, None, None] * np.ones((1, T, X))
        file["x-coordinate"], file["t-coordinate"] = x, t
    train, test = pdeml.data.open(tmp_path / "a.h5", split="pdebench")
    assert test.read()[:, 0, 0, 0].tolist() == list(range(tested))
    assert train.read()[:, 0, 0, 0].tolist() == list(range(tested, samples))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for seed in range(samples):
            file[f"{seed:04d}/data"] = np.full((T, X, 1), seed, np.float32)
            file[f"{seed:04d}/grid/x"], file[f"{seed:04d}/grid/t"] = x, t
    train, test = pdeml.data.open(tmp_path / "d.h5", split="pdebench")
    assert test.read()[:, 0, 0, 0].tolist() == list(range(samples - tested, samples))
    assert len(train) == samples - tested
    half, _ = pdeml.data.open(tmp_path / "d.h5", split=(0.5, 0.5))
    assert len(half) == samples // 2
    with pytest.raises(InvalidOption, match="give fractions such as"):
        pdeml.data.open(tmp_path / "a.h5", split="other")


def test_times_that_differ_between_samples_are_all_kept(tmp_path):
    rows = np.stack([t, 2 * t, t, t, t])
    path, _ = foreign.pdebench_e(tmp_path)
    with h5py.File(path, "r+") as file:
        file["t"][...] = rows
    ds = pdeml.data.open(path)
    np.testing.assert_array_equal(ds.parameters["t"], rows)
    assert "times differ between samples" in ds.contents.notes[0]


def test_scalars_boundaries_and_parts_of_the_well(files):
    ds = pdeml.data.open(files["The Well"][0])
    np.testing.assert_array_equal(ds.parameters["nu"], np.arange(N) * 0.1)
    np.testing.assert_array_equal(ds.parameters["forcing"], np.tile(t, (N, 1)))
    assert ds.parameters["alpha"].tolist() == [0.5] * N
    assert [axis.periodic for axis in ds.axes] == [True, False]
    assert ds.axes[0].length == pytest.approx(7 / 6)  # of the period, not to the last point
    folder, expected = files["The Well (folder)"]
    train, valid, test = pdeml.data.open(folder, split="stored")
    assert (len(train), len(valid), len(test)) == (8, 1, 2)
    np.testing.assert_array_equal(test.read(fields="density"), expected["density"][-2:])
    assert train.parameters["alpha"].tolist() == [0.0] * 4 + [50.0] * 4
    assert pdeml.data.open(folder / "data").fields == train.fields  # a level deeper


def test_statistics_need_no_side_file(files):
    """The Well #41: there is no stats.yaml here."""
    path, expected = files["The Well (folder)"]
    figures = pdeml.data.open(path).statistics()["velocity_y"]
    assert figures["mean"] == pytest.approx(expected["velocity"][:, :, 1].mean(dtype=float))
    assert figures["std"] == pytest.approx(expected["velocity"][:, :, 1].std(dtype=float))


def test_mixed_resolutions_name_the_file(tmp_path):
    folder, _ = foreign.well_folder(tmp_path)
    with h5py.File(folder / "data/valid/flow_0.hdf5", "r+") as file:
        del file["dimensions/x"], file["t0_fields"], file["t1_fields"], file["t2_fields"]
        file["dimensions/x"] = np.arange(13.0)
        file["t0_fields/density"] = values(1, T, 13, Y)
        file["t0_fields"].attrs["field_names"] = ["density"]
        file["t0_fields/density"].attrs.update(sample_varying=True, time_varying=True)
    with pytest.raises(InvalidDataset, match=r"valid.flow_0.hdf5' differs from .* in its fields"):
        pdeml.data.open(folder)


def test_matlab_reverses_every_axis(tmp_path):
    """(3, 5, 7, 11) in MATLAB is (11, 7, 5, 3) in the file."""
    u = np.arange(3 * 5 * 7 * 11, dtype=np.float64).reshape(3, 5, 7, 11)
    path = matlab_73(tmp_path / "a.mat", a=u[..., 0], u=u)
    with h5py.File(path) as file:
        assert file["u"].shape == (11, 7, 5, 3) and file.userblock_size == 512
    ds = pdeml.data.open(path)
    assert ds.shape == (3, 11, 2, 5, 7)
    read = ds.read(2, 10, "u")[0, 0, 0]
    assert read[4, 6] == u[2, 4, 6, 10] and read[0, 6] == u[2, 0, 6, 10]
    again = pdeml.data.open(path, map={"w": "u", "axes": "n x y t"})  # as MATLAB shows them
    np.testing.assert_array_equal(again.read(), ds.read(fields="u"))
    assert "left out: names" in ds.contents.notes[0]


def test_big_endian_and_complex_matlab_variables(tmp_path):
    u = values(N, X, dtype=np.float64)
    scipy.io.savemat(tmp_path / "c.mat", {"a": u + 1j, "u": 2 * u})
    ds = pdeml.data.open(tmp_path / "c.mat")
    np.testing.assert_array_equal(ds.read(fields="a")[:, 0, 0], u + 1j)
    scipy.io.savemat(tmp_path / "s.mat", {"a": u.astype(np.complex64), "u": np.ones((N, X))})
    assert pdeml.data.open(tmp_path / "s.mat").field("a").dtype == np.complex64
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["tensor"] = values(N, T, X).astype(">f4")
    np.testing.assert_array_equal(
        pdeml.data.open(tmp_path / "b.h5").read()[:, :, 0], values(N, T, X)
    )


def test_which_axis_is_time_is_not_guessed(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"u": values(N, T, X, Y)})
    with pytest.raises(InvalidDataset, match=r"'u' \(5, 4, 7, 11\) .* cannot be told.*map="):
        pdeml.data.open(tmp_path / "a.mat")
    ds = pdeml.data.open(tmp_path / "a.mat", map={"u": "u", "axes": "n t x y"})
    assert ds.shape == (N, T, 1, X, Y)
    scipy.io.savemat(tmp_path / "b.mat", {"u": values(N, T, X, X)})
    assert pdeml.data.open(tmp_path / "b.mat").layout == "MNO"
    cube = values(N, X, X, X)
    scipy.io.savemat(tmp_path / "d.mat", {"a": values(N, X, X), "u": cube})  # FNO: time is last
    read = pdeml.data.open(tmp_path / "d.mat").read(1, 2, "u")[0, 0, 0]
    np.testing.assert_array_equal(read, cube[1, ..., 2])
    scipy.io.savemat(tmp_path / "c.mat", {"u": values(N, X, X, T)})
    assert pdeml.data.open(tmp_path / "c.mat").shape == (N, T, 1, X, X)


def test_apebench_has_a_periodic_grid_and_its_parts(files, tmp_path):
    path, _ = files["APEBench"]
    train, test = pdeml.data.open(path, split="stored")
    assert (len(train), len(test)) == (5, 3)
    np.testing.assert_array_equal(train.times, 0.25 * np.arange(T))
    np.testing.assert_allclose(train.coords["x"], 2.0 * np.arange(X) / X)
    assert train.axes[0].periodic and train.axes[0].length == pytest.approx(2.0)
    one = pdeml.data.open(path.with_name("ape_test.npy"))
    np.testing.assert_array_equal(one.read(), test.read())
    shutil.copytree(path.parent, tmp_path / "longer")
    np.save(tmp_path / "longer/ape_test.npy", values(3, 2 * T, 2, X, Y))
    longer = pdeml.data.open(tmp_path / "longer/ape.json")
    assert longer.shape[1] == T and "the first 4 of all are read" in longer.contents.notes[0]
    assert pdeml.data.open(tmp_path / "longer/ape_test.npy").shape[1] == 2 * T


def test_objects_are_read_only_where_the_user_allows_it(tmp_path):
    path, expected = foreign.deepxde_aligned(tmp_path)
    with pytest.raises(InvalidDataset, match=r"can run any code .* allow_pickle=True"):
        pdeml.data.open(path)
    ds = pdeml.data.open(path, allow_pickle=True)
    np.testing.assert_array_equal(ds.read(), expected["y"])
    np.testing.assert_array_equal(ds.parameters["branch"], values(N, 3))
    np.testing.assert_allclose(ds.coords["x"], x, rtol=1e-6)


def test_scattered_points_are_a_mesh(files):
    ds = pdeml.data.open(files["DeepXDE scattered solution"][0])
    assert ds.channels == ("U_star_0", "U_star_1", "p_star") and ds.axes[0].name == "node"
    np.testing.assert_array_equal(ds.mesh.coords, values(Y, 2, seed=3).astype(float))


MAP = {"u": "results/u", "v": "results/v", "axes": {"u": "n t 1 x y", "v": "y x c n"}}


def mapped(folder):
    u, v = values(N, T, 1, X, Y), values(Y, X, 2, N)
    with h5py.File(folder / "own.h5", "w") as file:
        file["results/u"], file["results/v"], file["grid/x"], file["clock"] = u, v, x, t
        file["nu"] = np.arange(N) * 0.5
    return folder / "own.h5", u, v


def test_a_map_says_what_is_what(tmp_path):
    path, u, v = mapped(tmp_path)
    named = {**MAP, "x": "grid/x", "t": "clock", "parameters": {"nu": "nu"}}
    ds = pdeml.data.open(path, map=named)
    np.testing.assert_array_equal(ds.read(fields="u"), u)
    np.testing.assert_array_equal(ds.read(times=0, fields="v")[:, 0], v.transpose(3, 2, 1, 0))
    assert ds.channels == ("u", "v_0", "v_1") and ds.parameters["nu"].tolist() == [
        0,
        0.5,
        1,
        1.5,
        2,
    ]
    np.testing.assert_array_equal(ds.coords["x"], x)
    np.testing.assert_array_equal(ds.times, t)
    assert "no coordinate of y" in ds.contents.notes[0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"u": "u"},
            InvalidDataset,
            r"no array 'u'. It holds: clock \(4,\) float64; grid/x \(7,\)",
        ),
        ({"axes": "n t x"}, InvalidDataset, r"'results/u' has the shape .* map= names 3 axes"),
        (
            {"axes": {"u": "n x 1 t y", "v": MAP["axes"]["v"]}},
            InvalidDataset,
            "on the axis 'x', but",
        ),
        ({"axes": {"u": "n t c x y"}}, InvalidOption, "no axes for 'v'"),
        ({"axes": "n n x"}, InvalidOption, "different names"),
        ({"axes": None}, InvalidOption, "needs the names of axes"),
        ({"axes": {"u": "n t u v w", "v": "a b c n"}}, InvalidOption, "at most 3"),
        ({"x": "clock"}, InvalidDataset, "on the axis 'x', but the coordinate of x has 4"),
        ({"parameters": {"nu": "clock"}}, InvalidDataset, "one row for each of 5 samples"),
    ],
)
def test_a_wrong_map_is_explained(tmp_path, change, error, message):
    path, _, _ = mapped(tmp_path)
    with pytest.raises(error, match=message):
        pdeml.data.open(path, map={**MAP, **change})


def test_an_unknown_file_lists_what_it_holds(tmp_path):
    path, _, _ = mapped(tmp_path)
    with pytest.raises(InvalidDataset, match=r"results/v \(11, 7, 2, 5\) float32.*map="):
        pdeml.data.open(path)
    np.savez(tmp_path / "own.npz", field=values(N, X))
    with pytest.raises(InvalidDataset, match=r"field \(5, 7\) float32"):
        pdeml.data.open(tmp_path / "own.npz")
    np.save(tmp_path / "own.npy", values(N, X))
    with pytest.raises(InvalidDataset, match=r"array \(5, 7\)"):
        pdeml.data.open(tmp_path / "own.npy")
    assert pdeml.data.open(tmp_path / "own.npy", map={"u": "array", "axes": "n x"}).shape[0] == N


def without(name):
    def change(file):
        del file[name]

    return change


def resized(name, shape):
    def change(file):
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = np.zeros(shape, np.float32)
        file[name].attrs.update(attributes)

    return change


def attribute(name, key, value=None):
    def change(file):
        if value is None:
            del file[name].attrs[key]
        else:
            file[name].attrs[key] = value

    return change


BROKEN = {
    "C without velocity": (
        "PDEBench C",
        without("Vx"),
        "looks like PDEBench C, but .*'Vx' is missing",
    ),
    "C of two shapes": (
        "PDEBench C",
        resized("Vy", (N, T, X, 12, 3)),
        "'Vy' .* 12 entries on .* 'y'",
    ),
    "x too short": (
        "PDEBench A",
        resized("x-coordinate", (6,)),
        "axis 'x', but the coordinate of x",
    ),
    "t too long": ("PDEBench A", resized("t-coordinate", (9,)), "axis 't', but the times has 9"),
    "tensor without samples": (
        "PDEBench A",
        resized("tensor", (0, T, X)),
        "axis 'n' has no entries",
    ),
    "D without data": ("PDEBench D", without("0003/data"), "the group '0003' .* has no 'data'"),
    "D of two shapes": (
        "PDEBench D",
        resized("0002/data", (T, X, 9, 2)),
        "'0002/data' .* 9 entries",
    ),
    "E with odd times": (
        "PDEBench E",
        resized("t", (N, 9)),
        r"'t' .* \(5, 9\); expected is \(5, 4\)",
    ),
    "E without components": (
        "PDEBench E",
        resized("velocity", (N, T, X, Y)),
        "PDEBench E has sample",
    ),
    "no dimensions": ("The Well", without("dimensions"), "group 'dimensions' is missing; it holds"),
    "no field names": (
        "The Well",
        attribute("t1_fields", "field_names"),
        "no attribute 'field_names'",
    ),
    "no such field": (
        "The Well",
        without("t1_fields/velocity"),
        "'velocity' is missing in '/t1_fields'",
    ),
    "no trajectories": (
        "The Well",
        attribute("/", "n_trajectories"),
        "needs the attribute 'n_traj",
    ),
    "no flag": (
        "The Well",
        attribute("t0_fields/density", "time_varying"),
        "no attribute 'time_var",
    ),
    "wrong flag": (
        "The Well",
        attribute("t0_fields/density", "time_varying", False),
        r"shape \(5, 4, 7, 11\); its attributes say the axes n, x, y",
    ),
    "vector of three": ("The Well", resized("t1_fields/velocity", (N, T, X, Y, 3)), "1 more of 2"),
    "scalar of another size": ("The Well", resized("scalars/nu", (9,)), r"'/scalars/nu' .* \(9,\)"),
    "coefficient of another grid": (
        "FNO, MATLAB 7.3",
        resized("a", (9, X, N)),
        "which axis of 'u'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_missing_or_wrong_is_named(files, tmp_path, case):
    layout, change, message = BROKEN[case]
    path = shutil.copy(files[layout][0], tmp_path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InvalidDataset, match=message):
        pdeml.data.open(path)


@pytest.mark.parametrize(("name", "axes"), [("usol", "x, t"), ("u", "t, x")])
def test_square_solutions_follow_the_examples_of_deepxde(tmp_path, name, axes):
    square = values(T, T, dtype=np.float64)
    np.savez(tmp_path / "a.npz", x=t, t=t, **{name: square})
    ds = pdeml.data.open(tmp_path / "a.npz")
    np.testing.assert_array_equal(ds.read()[0, :, 0], square.T if name == "usol" else square)
    assert "have 4 entries each" in ds.contents.notes[0]


def test_many_groups_are_read_where_the_user_says_so(tmp_path):
    """PDEBench's diffusion–sorption file has a group for each of 10,000 samples."""
    path, _ = foreign.pdebench_d(tmp_path)
    with pytest.raises(InvalidDataset, match="more than 10 objects"):
        pdeml.data.open(path, max_objects=10)
    assert len(pdeml.data.open(path, max_objects=30)) == N


def test_unmatched_arrays_of_deepxde_are_named(tmp_path):
    content = {"x": x[None], "t": t[None], "u": values(Y, X)}
    scipy.io.savemat(tmp_path / "a.mat", content)
    with pytest.raises(InvalidDataset, match=r"'u' .* \(11, 7\), but x has 7 and t has 4 entries"):
        pdeml.data.open(tmp_path / "a.mat")
    np.savez(tmp_path / "b.npz", X_train0=values(N, 3), X_train1=values(X, 2), y_train=values(N, Y))
    with pytest.raises(InvalidDataset, match=r"5 functions and 7 points; expected is \(5, 7\)"):
        pdeml.data.open(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", X_train0=values(N, 3), X_train1=values(X, 2))
    with pytest.raises(InvalidDataset, match=r"'y_train' .* is missing"):
        pdeml.data.open(tmp_path / "c.npz")
    (tmp_path / "d.json").write_text('{"name": "d", "info": {}}')
    with pytest.raises(InvalidDataset, match=r"d_train.npy and d_test.npy are not beside it"):
        pdeml.data.open(tmp_path / "d.json")
