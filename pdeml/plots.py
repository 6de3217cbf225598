"""Pictures of labelled grids (xarray): lines, maps, snapshots, errors, animations; and of meshes.

Nothing here knows about equations; a coordinate with attribute ``axis = "T"`` is time. Figures are
made without pyplot, so they belong to whoever asked for them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pdeml.errors import InvalidOption, MissingDependency

if TYPE_CHECKING:
    import xarray
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SNAPSHOTS = 5
MAP_SNAPSHOTS = 4
FRAMES = 48
FRAMES_PER_SECOND = 15
DECADES = 6  # of an error map below its maximum
SMALLEST_ERROR = 1e-17


def _time(array: xarray.DataArray) -> str | None:
    for name in array.dims:
        if array.coords[name].attrs.get("axis") == "T":
            return str(name)
    return None


def _label(array: xarray.DataArray) -> str:
    units = array.attrs.get("units", "1")
    name = array.attrs.get("long_name", str(array.name))
    return name if units in ("1", "") else f"{name} [{units}]"


def _real(array: xarray.DataArray) -> xarray.DataArray:
    """Complex values by their modulus, labelled as such."""
    if not np.iscomplexobj(array.values):
        return array
    modulus = abs(array)
    modulus.attrs = {**array.attrs, "long_name": f"|{array.attrs.get('long_name', array.name)}|"}
    return modulus


def _range(*arrays: xarray.DataArray | None) -> dict[str, Any]:
    return colours(*(a.values for a in arrays if a is not None))


def colours(*arrays: np.ndarray) -> dict[str, Any]:
    """Colour map and limits common to arrays: symmetric about zero where both signs occur."""
    values = np.concatenate([a.ravel() for a in arrays])
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    if low < 0 < high and min(-low, high) > 0.2 * (high - low):
        top = max(-low, high)
        return {"cmap": "RdBu_r", "vmin": -top, "vmax": top}
    return {"cmap": "viridis", "vmin": low, "vmax": high if high > low else low + 1}


def _limits(*arrays: xarray.DataArray | None) -> tuple[float, float]:
    colours = [a.values[np.isfinite(a.values)] for a in arrays if a is not None]
    low, high = min(c.min() for c in colours), max(c.max() for c in colours)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _edges(centres: np.ndarray) -> np.ndarray:
    """Ends of the cells around points."""
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([2 * centres[:1] - middle[:1], middle, 2 * centres[-1:] - middle[-1:]])


def _map(
    axes: Axes, array: xarray.DataArray, horizontal: str, vertical: str, title: str, **style: Any
) -> None:
    plane = array.transpose(vertical, horizontal)
    x, y = plane.coords[horizontal], plane.coords[vertical]
    image = axes.pcolorfast(_edges(x.values), _edges(y.values), plane.values, **style)
    axes.set(xlabel=_label(x), ylabel=_label(y), title=title)
    if _time(array) is None:
        axes.set_aspect("equal")
    axes.figure.colorbar(image, ax=axes, label=_label(array))


def _difference(array: xarray.DataArray, reference: xarray.DataArray) -> xarray.DataArray:
    """|array − reference|, of complex values too."""
    gap = array.copy(data=abs(array.values - reference.transpose(*array.dims).values))
    gap.attrs = {"long_name": "absolute error", "units": array.attrs.get("units", "1")}
    return gap


def _error_style(gap: xarray.DataArray) -> tuple[xarray.DataArray, dict[str, Any]]:
    clipped, style = error_colours(gap.values)
    return gap.copy(data=clipped), style


def error_colours(gap: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Errors clipped to the decades shown, and their logarithmic colours."""
    from matplotlib.colors import LogNorm

    finite = gap[np.isfinite(gap)]
    top = max(float(finite.max()) if finite.size else 0.0, SMALLEST_ERROR)
    floor = max(top * 10.0**-DECADES, SMALLEST_ERROR / 10)
    return gap.clip(min=floor), {"cmap": "magma", "norm": LogNorm(vmin=floor, vmax=top)}


def _lines(
    panels: Any, array: xarray.DataArray, reference: xarray.DataArray | None, names: tuple[str, str]
) -> None:
    axis = array.coords[array.dims[0]]
    shown = _real(array)
    panels[0].plot(axis.values, shown.values, label=names[0])
    panels[0].set(xlabel=_label(axis), ylabel=_label(shown))
    if reference is not None:
        panels[0].plot(axis.values, _real(reference).values, "k--", label=names[1])
        panels[1].semilogy(
            axis.values, np.maximum(_difference(array, reference).values, SMALLEST_ERROR), "C3"
        )
        panels[1].set(xlabel=_label(axis), ylabel="absolute error")
    panels[0].legend()


def _snapshots(
    axes: Axes, array: xarray.DataArray, reference: xarray.DataArray | None, names: tuple[str, str]
) -> None:
    from matplotlib import colormaps

    time = _time(array)
    shown = _real(array)
    (space,) = (d for d in array.dims if d != time)
    x = array.coords[space]
    picks = np.linspace(0, array.sizes[time] - 1, SNAPSHOTS).round().astype(int)
    colours = colormaps["viridis"](np.linspace(0, 0.9, SNAPSHOTS))
    for pick, colour in zip(picks, colours, strict=True):
        instant = float(array.coords[time][pick])
        axes.plot(
            x.values, shown.isel({time: pick}).values, color=colour, label=f"{time} = {instant:.3g}"
        )
        if reference is not None:
            last = pick == picks[-1]
            axes.plot(
                x.values,
                _real(reference).isel({time: pick}).values,
                "k--",
                linewidth=0.9,
                label=names[1] if last else None,
            )
    axes.set(xlabel=_label(x), ylabel=_label(shown), title="snapshots")
    axes.legend(fontsize="small")


def _panels(parent: Any, rows: int, columns: int) -> Any:
    return parent.subplots(rows, columns, squeeze=False)


def _rows(array: xarray.DataArray, compared: bool) -> int:
    """Rows of panels that one field takes."""
    if _time(array) is None or array.ndim == 1:
        return 1
    if array.ndim == 2:
        return 2 if compared else 1
    return 3 if compared else 1


def _draw(
    parent: Any, array: xarray.DataArray, reference: xarray.DataArray | None, names: tuple[str, str]
) -> None:
    time = _time(array)
    rows = _rows(array, reference is not None)
    if array.ndim == 1:
        _lines(_panels(parent, rows, 1 if reference is None else 2)[0], array, reference, names)
        return
    shown = _real(array)
    other = None if reference is None else _real(reference)
    style = _range(shown, other)
    if array.ndim == 2:
        horizontal = time or str(array.dims[0])
        vertical = next(str(d) for d in array.dims if d != horizontal)
        if time is not None and reference is not None:
            # the snapshots have a row of their own
            upper, lower = parent.subfigures(2, 1)
            panels = _panels(upper, 1, 3)[0]
            below = lower.subplots()
        else:
            panels = _panels(parent, 1, 3 if reference is not None else 1 + (time is not None))[0]
            below = panels[-1]
        _map(panels[0], shown, horizontal, vertical, names[0], **style)
        if reference is not None and other is not None:
            _map(panels[1], other, horizontal, vertical, names[1], **style)
            gap, colours = _error_style(_difference(array, reference))
            _map(panels[2], gap, horizontal, vertical, "absolute error", **colours)
        if time is not None:
            _snapshots(below, array, reference, names)
        return
    if array.ndim != 3 or time is None:
        raise InvalidOption(
            f"A picture takes at most two space axes, {array.dims} are given; select a slice."
        )
    x, y = (str(d) for d in array.dims if d != time)
    panels = _panels(parent, rows, MAP_SNAPSHOTS)
    if reference is not None:
        gap, colours = _error_style(_difference(array, reference))
    for column, pick in enumerate(np.linspace(0, array.sizes[time] - 1, MAP_SNAPSHOTS).round()):
        at = {time: int(pick)}
        title = f"{time} = {float(array.coords[time][int(pick)]):.3g}"
        _map(panels[0, column], shown.isel(at), x, y, f"{names[0]}, {title}", **style)
        if reference is not None and other is not None:
            _map(panels[1, column], other.isel(at), x, y, f"reference, {title}", **style)
            _map(panels[2, column], gap.isel(at), x, y, f"error, {title}", **colours)


def _names(data: xarray.Dataset, reference: xarray.Dataset | None) -> tuple[str, str]:
    own = data.attrs.get("method", "solution")
    other = "reference" if reference is None else reference.attrs.get("method", "reference")
    return own, f"{other} (reference)" if own == other else other


def figure(data: xarray.Dataset, reference: xarray.Dataset | None = None) -> Figure:
    """Draw every variable of a data set, with a reference beside it and the error.

    Parameters
    ----------
    data, reference : the same variables on the same grid: one or two axes of which one may be time,
        or two space axes and time. Complex values are drawn by their modulus.

    Returns
    -------
    Figure
        One block of panels per variable; axes carry names and units, maps a colour bar. Errors are
        logarithmic.

    Raises
    ------
    InvalidOption
        More axes than a picture can show.
    """
    from matplotlib.figure import Figure

    names = _names(data, reference)
    arrays = list(data.data_vars.values())
    rows = [_rows(a, reference is not None) for a in arrays]
    width = 13 if reference is not None or arrays[0].ndim > 1 else 6
    if arrays[0].ndim == 2 and _time(arrays[0]) is None and reference is None:
        width = 6
    drawing = Figure(figsize=(width, 3.6 * sum(rows)), layout="constrained")
    title = data.attrs.get("problem")
    if title:
        drawing.suptitle(title.replace("_", " "))
    blocks: Any = drawing.subfigures(len(arrays), 1, height_ratios=rows, squeeze=False)
    for block, array in zip(blocks[:, 0], arrays, strict=True):
        _draw(block, array, None if reference is None else reference[array.name], names)
    return drawing


def animation(data: xarray.Dataset, reference: xarray.Dataset | None = None) -> FuncAnimation:
    """Animate every variable in time: lines over one space axis, maps over two.

    Raises
    ------
    InvalidOption
        There is no time axis.
    """
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

    arrays = [_real(a) for a in data.data_vars.values()]
    others = [None if reference is None else _real(reference[a.name]) for a in arrays]
    time = _time(arrays[0])
    if time is None or arrays[0].ndim < 2:
        raise InvalidOption(f"An animation needs time and space, {arrays[0].dims} are given.")
    names = _names(data, reference)
    flat = arrays[0].ndim == 2
    columns = 1 if flat or reference is None else 2
    drawing = Figure(figsize=(6 * columns, 3.8 * len(arrays)), dpi=80, layout="constrained")
    panels = _panels(drawing, len(arrays), columns)
    picks = np.unique(np.linspace(0, arrays[0].sizes[time] - 1, FRAMES).round().astype(int))
    updates: list[tuple[Any, xarray.DataArray]] = []
    for row, array, other in zip(panels, arrays, others, strict=True):
        space = [str(d) for d in array.dims if d != time]
        if flat:
            x = array.coords[space[0]]
            for values, dash, name in zip((array, other), ("-", "k--"), names, strict=True):
                if values is not None:
                    (line,) = row[0].plot(x.values, values.isel({time: 0}).values, dash, label=name)
                    updates.append((line, values))
            low, high = _limits(array, other)
            row[0].set(xlabel=_label(x), ylabel=_label(array), ylim=(low, high))
            row[0].legend(loc="upper right")
            continue
        style = _range(array, other)
        for axes, values, name in zip(row, (array, other), names, strict=False):
            if values is None:
                continue
            plane = values.isel({time: 0})
            _map(axes, plane, space[0], space[1], name, **style)
            updates.append((axes.images[0], values.transpose(time, space[1], space[0])))
    instants = arrays[0].coords[time].values
    drawing.suptitle(f"{time} = {instants[0]:.3f}")
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")  # the layout is found once, not for every frame

    def show(frame: int) -> list[Any]:
        pick = picks[frame]
        drawing.suptitle(f"{time} = {instants[pick]:.3f}")
        for artist, values in updates:
            now = values.isel({time: pick}).values
            if flat:
                artist.set_ydata(now)
            else:
                artist.set_data(now)
        return [artist for artist, _ in updates]

    return FuncAnimation(
        drawing, show, frames=len(picks), interval=1000 / FRAMES_PER_SECOND, blit=False
    )


def movie_writer(path: str | os.PathLike[str]) -> Any:
    """What writes an animation to a path: ``.gif`` (pillow) or ``.mp4`` (ffmpeg).

    Raises
    ------
    InvalidOption
        Another ending.
    MissingDependency
        MP4 is asked, but the program ffmpeg is not installed.
    """
    from matplotlib.animation import FFMpegWriter, PillowWriter

    suffix = Path(path).suffix.lower()
    if suffix == ".gif":
        return PillowWriter(fps=FRAMES_PER_SECOND)
    if suffix != ".mp4":
        raise InvalidOption(f"{str(path)!r}: an animation is written as .gif or .mp4.")
    if not FFMpegWriter.isAvailable():
        raise MissingDependency(
            f"{str(path)!r} needs the program ffmpeg, which is not installed. "
            "Install it with your system's package manager, or give a path that ends in .gif."
        )
    return FFMpegWriter(fps=FRAMES_PER_SECOND)


def mesh_figure(
    vertices: np.ndarray,
    cells: np.ndarray,
    parts: Mapping[str, np.ndarray],
    regions: Mapping[str, np.ndarray],
    coordinates: Sequence[str],
) -> Figure:
    """Draw a mesh: its edges, its regions shaded, the parts of its boundary in colours.

    Parameters
    ----------
    vertices : shape (V, d), d = 1, 2 or 3.
    cells : vertices of the cells, shape (K, k).
    parts : vertices of the boundary facets of each part, shape (F, m).
    regions : cells of each region.
    coordinates : names of the axes.

    Returns
    -------
    Figure
        With a legend of parts and regions; of a solid, the boundary is drawn.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    dim = vertices.shape[1]
    drawing = Figure(figsize=(8, 2) if dim == 1 else (8, 6), layout="constrained")
    axes: Any = drawing.add_subplot(projection="3d" if dim == 3 else None)
    colours = colormaps["tab10"](np.arange(len(parts)) % 10)
    _mesh_cells(axes, vertices, cells, regions)
    for (name, facets), colour in zip(parts.items(), colours, strict=True):
        corners = vertices[facets]
        if dim == 1:
            axes.plot(corners[:, 0, 0], np.zeros(len(facets)), "o", color=colour, label=name)
        elif dim == 2:
            broken = np.pad(corners, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan)
            axes.plot(*broken.reshape(-1, 2).T, color=colour, linewidth=2.5, label=name)
        else:
            style = {"edgecolor": "0.3", "linewidth": 0.3, "label": name}
            axes.add_collection3d(Poly3DCollection(corners, facecolor=colour, **style))
    axes.set(**{f"{axis}label": name for axis, name in zip("xyz", coordinates, strict=False)})
    axes.set_title(f"{len(vertices)} vertices, {len(cells)} cells")
    if dim == 1:
        axes.set_yticks([])
    elif dim == 3:
        lower, upper = vertices.min(axis=0), vertices.max(axis=0)
        axes.set(xlim=(lower[0], upper[0]), ylim=(lower[1], upper[1]), zlim=(lower[2], upper[2]))
        axes.set_aspect("equal")
    else:
        axes.set_aspect("equal")
    drawing.legend(loc="outside right upper")
    return drawing


def _mesh_cells(
    axes: Any, vertices: np.ndarray, cells: np.ndarray, regions: Mapping[str, np.ndarray]
) -> None:
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection, PolyCollection

    shades = colormaps["Pastel2"](np.arange(len(regions)) % 8)
    for (name, chosen), shade in zip(regions.items(), shades, strict=True):
        corners = vertices[cells[chosen]]
        if vertices.shape[1] == 1:
            lines = [*np.pad(corners, ((0, 0), (0, 0), (0, 1)))]
            axes.add_collection(LineCollection(lines, color=shade, linewidth=6, label=name))
        elif vertices.shape[1] == 2:
            axes.add_collection(PolyCollection(corners, facecolor=shade, label=name))
    if vertices.shape[1] == 1:
        axes.plot(vertices[:, 0], np.zeros(len(vertices)), "|", color="0.6")
    elif vertices.shape[1] == 2:
        edges = PolyCollection(vertices[cells], facecolor="none", edgecolor="0.6", linewidth=0.4)
        axes.add_collection(edges)
