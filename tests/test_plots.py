"""Pictures: the values given are drawn and labelled, errors logarithmic, animations move."""

import numpy as np
import pytest
import xarray
from PIL import Image

from pdeml import plots
from pdeml.errors import InvalidOption, MissingDependency

X = np.linspace(-1, 1, 21)
Y = np.linspace(0, 2, 11)
T = np.linspace(0, 3, 16)
AXES = {
    "t": ("t", T, {"axis": "T", "long_name": "t", "units": "s"}),
    "x": ("x", X, {"long_name": "x", "units": "m"}),
    "y": ("y", Y, {"long_name": "y", "units": "1"}),
}


def data(dims, method="pinn", shift=0.0, dtype=float, names=("u",)):
    grids = np.meshgrid(*(AXES[d][1] for d in dims), indexing="ij")
    values = sum((i + 1) * np.sin(2 * g) for i, g in enumerate(grids)) + shift
    values = values * (1j if dtype is complex else 1)
    variables = {n: (dims, values, {"long_name": n, "units": "1"}) for n in names}
    return xarray.Dataset(
        variables, {d: AXES[d] for d in dims}, {"problem": "a_problem", "method": method}
    )


def titled(figure):
    return {axes.get_title(): axes for axes in figure.get_axes() if axes.get_title()}


def test_space_time_maps_show_the_values_with_time_to_the_right():
    given = data(("t", "x"))
    figure = plots.figure(given, data(("t", "x"), method="exact", shift=1e-3))
    panels = titled(figure)
    assert set(panels) == {"pinn", "exact", "absolute error", "snapshots"}
    (image,) = panels["pinn"].images
    np.testing.assert_allclose(image.get_array(), given["u"].values.T)
    assert (panels["pinn"].get_xlabel(), panels["pinn"].get_ylabel()) == ("t [s]", "x [m]")
    assert panels["pinn"].images[0].get_clim() == panels["exact"].images[0].get_clim()
    (error,) = panels["absolute error"].images
    np.testing.assert_allclose(error.get_array(), 1e-3)
    assert type(error.norm).__name__ == "LogNorm" and error.norm.vmax == pytest.approx(1e-3)
    bars = [axes.get_ylabel() for axes in figure.get_axes() if axes.get_label() == "<colorbar>"]
    assert bars == ["u", "u", "absolute error"]
    assert figure.get_suptitle() == "a problem"


def test_snapshots_are_rows_of_the_map():
    given = data(("t", "x"))
    axes = titled(plots.figure(given))["snapshots"]
    assert len(axes.lines) == plots.SNAPSHOTS
    np.testing.assert_allclose(axes.lines[0].get_ydata(), given["u"].isel(t=0))
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), given["u"].isel(t=-1))
    assert [text.get_text() for text in axes.get_legend().get_texts()][-1] == "t = 3"


def test_lines_with_an_error_panel():
    figure = plots.figure(data(("x",)), data(("x",), method="exact", shift=1e-5))
    line, error = figure.get_axes()
    np.testing.assert_allclose(error.lines[0].get_ydata(), 1e-5)
    assert error.get_yscale() == "log" and error.get_ylabel() == "absolute error"
    assert [t.get_text() for t in line.get_legend().get_texts()] == ["pinn", "exact"]


def test_planes_and_moving_planes():
    given = data(("x", "y"))
    (axes, _) = plots.figure(given).get_axes()
    np.testing.assert_allclose(axes.images[0].get_array(), given["u"].values.T)
    assert axes.images[0].get_extent() == pytest.approx([-1.05, 1.05, -0.1, 2.1])
    moving = data(("t", "x", "y"))
    figure = plots.figure(moving, data(("t", "x", "y"), method="exact", shift=0.1))
    assert len(titled(figure)) == 3 * plots.MAP_SNAPSHOTS
    last = titled(figure)["pinn, t = 3"]
    np.testing.assert_allclose(last.images[0].get_array(), moving["u"].isel(t=-1).values.T)
    with pytest.raises(InvalidOption, match="two space axes"):
        plots.figure(data(("t", "x", "y")).expand_dims(z=2))


def test_several_fields_complex_values_and_holes():
    figure = plots.figure(data(("t", "x"), names=("u", "v")))
    bars = [axes.get_ylabel() for axes in figure.get_axes() if axes.get_label() == "<colorbar>"]
    assert bars == ["u", "v"]
    given = data(("t", "x"), dtype=complex)
    image = titled(plots.figure(given))["pinn"].images[0]
    np.testing.assert_allclose(image.get_array(), abs(given["u"].values.T))
    holes = data(("x", "y"))
    holes["u"][0, 0] = np.nan
    plots.figure(holes, holes).draw_without_rendering()


def test_colours_are_symmetric_about_zero_when_both_signs_matter():
    image = titled(plots.figure(data(("t", "x"))))["pinn"].images[0]
    low, high = image.get_clim()
    assert low == -high and image.get_cmap().name == "RdBu_r"
    image = titled(plots.figure(data(("t", "x"), shift=10.0)))["pinn"].images[0]
    assert image.get_cmap().name == "viridis" and image.get_clim()[0] > 0


def test_an_animation_moves_and_is_a_gif(tmp_path):
    given = data(("t", "x"))
    animation = plots.animation(given, data(("t", "x"), method="exact", shift=0.2))
    path = tmp_path / "a.gif"
    animation.save(path, writer=plots.movie_writer(path))
    with Image.open(path) as picture:
        assert picture.n_frames == len(T)
        first = np.asarray(picture.convert("L"), dtype=float)
        picture.seek(picture.n_frames // 2)
        assert np.abs(np.asarray(picture.convert("L"), dtype=float) - first).max() > 50
    (axes,) = animation._fig.get_axes()
    np.testing.assert_allclose(axes.lines[0].get_ydata(), given["u"].isel(t=-1))
    np.testing.assert_allclose(axes.lines[1].get_ydata(), given["u"].isel(t=-1) + 0.2)


def test_what_cannot_be_animated(monkeypatch):
    from matplotlib.animation import FFMpegWriter

    with pytest.raises(InvalidOption, match="time and space"):
        plots.animation(data(("x", "y")))
    with pytest.raises(InvalidOption, match=r"\.gif or \.mp4"):
        plots.movie_writer("a.avi")
    monkeypatch.setattr(FFMpegWriter, "isAvailable", lambda: False)
    with pytest.raises(MissingDependency, match="ffmpeg"):
        plots.movie_writer("a.mp4")


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_meshes_show_their_parts_and_regions():
    vertices = np.array([[0.0, 0], [1, 0], [1, 2], [0, 2]])
    cells = np.array([[0, 1, 2], [0, 2, 3]])
    parts = {"wall": np.array([[0, 1], [1, 2]]), "inlet": np.array([[3, 0]])}
    figure = plots.mesh_figure(vertices, cells, parts, {"steel": np.array([1])}, ("x", "y"))
    (axes,) = figure.get_axes()
    assert sorted(legend(figure)) == ["inlet", "steel", "wall"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")
    lines = {line.get_label(): line for line in axes.lines}
    xy = lines["wall"].get_xydata()
    np.testing.assert_array_equal(xy[~np.isnan(xy[:, 0])], vertices[[0, 1, 1, 2]])
    assert lines["wall"].get_color() is not lines["inlet"].get_color()
    (patch,) = (c for c in axes.collections if c.get_label() == "steel")
    np.testing.assert_array_equal(patch.get_paths()[0].vertices[:3], vertices[[0, 2, 3]])


def test_meshes_of_intervals_and_solids():
    ends = {"left": np.array([[0]]), "right": np.array([[2]])}
    line = np.array([[0.0], [1.0], [3.0]])
    cells = np.array([[0, 1], [1, 2]])
    figure = plots.mesh_figure(line, cells, ends, {"thin": np.array([0])}, ("x",))
    assert sorted(legend(figure)) == ["left", "right", "thin"]
    corners = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    sides = {"floor": np.array([[0, 2, 1]]), "rest": np.array([[0, 1, 3], [1, 2, 3], [0, 3, 2]])}
    figure = plots.mesh_figure(corners, np.arange(4)[None], sides, {}, "xyz")
    figure.draw_without_rendering()
    assert sorted(legend(figure)) == ["floor", "rest"]
    (axes,) = figure.get_axes()
    assert len(axes.collections) == 2
    assert axes.get_zlabel() == "z" and axes.get_xlim()[0] <= 0 < 1 <= axes.get_xlim()[1]
