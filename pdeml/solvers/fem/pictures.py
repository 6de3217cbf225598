"""Pictures of finite-element solutions on their own cells: holes stay blank, rims are sharp."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pdeml import engine
from pdeml.domains.mesh_kinds import kind_of
from pdeml.errors import InvalidOption, MissingDependency
from pdeml.solvers.fem.export import values_at
from pdeml.solvers.fem.field import FiniteElementField
from pdeml.solvers.fem.pieces import pieces, triangles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SNAPSHOTS = 4
PIXELS = (900, 700)


def plot(solution: Any, reference: Any = None, *, mesh: bool = False) -> Figure:
    """Draw every field of a plane solution by "fem" on the cells it was computed on.

    Parameters
    ----------
    solution : made by "fem", with two space coordinates.
    reference : drawn beside it with the error; of the same fields.
    mesh : draw the edges of the cells too.

    Returns
    -------
    Figure
        A row of panels per field: the field, or four instants of it; with a reference the field,
        the reference and the error, at the end of the time if there is one. Cells of degree p are
        divided into p² for it.

    Raises
    ------
    InvalidOption
        The solution is of another method, or has another number of space coordinates.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure
    from matplotlib.tri import Triangulation

    from pdeml import plots

    field = solution.field
    if not isinstance(field, FiniteElementField) or field.dim != 2:
        raise InvalidOption(
            'fem.plot takes a solution by "fem" with two space coordinates; use solution.plot().'
        )
    points, corners = pieces(field, max(field.degrees))
    drawn = Triangulation(points[:, 0], points[:, 1], triangles(corners))
    vertices, cells = pieces(field, 1)
    instants = [float(field.times[-1])] if field.frames else [0.0]
    if field.frames and reference is None:
        first, last = float(field.times[0]), instants[0]
        instants = np.linspace(first, last, SNAPSHOTS).tolist()
    names = [f.func.__name__ for f in solution.problem.fields]
    panels = [(solution.method, values_at(solution, points, t), t) for t in instants]
    if reference is not None:
        other = values_at(reference, points, instants[0])
        panels += [(reference.method, other, instants[0])]
    errors = None if reference is None else np.abs(panels[0][1] - panels[1][1])
    columns = len(panels) + (errors is not None)
    width, height = np.ptp(points, axis=0)
    tall = float(np.clip(4.0 * height / width, 1.2, 5.0)) + 0.7
    drawing = Figure(figsize=(5.2 * columns, tall * len(names)), layout="constrained")
    drawing.suptitle(solution.problem.name.replace("_", " "))
    axes = drawing.subplots(len(names), columns, squeeze=False)
    clock = None if solution.problem.time is None else solution.problem.time.name
    labels = [c.name for c in solution.problem.space_coordinates]
    for k, name in enumerate(names):
        style = plots.colours(*(values[:, k] for _, values, _ in panels))
        shown = [(title, values[:, k], t, name, style) for title, values, t in panels]
        if errors is not None:
            clipped, style = plots.error_colours(errors[:, k])
            shown.append(("absolute error", clipped, instants[0], "absolute error", style))
        for panel, (title, values, t, label, colours) in zip(axes[k], shown, strict=True):
            image = panel.tripcolor(drawn, values, shading="gouraud", **colours)
            if mesh:
                style = {"edgecolor": "k", "linewidth": 0.25, "alpha": 0.6}
                panel.add_collection(PolyCollection(vertices[cells], facecolor="none", **style))
            when = "" if clock is None else f", {clock} = {t:.3g}"
            panel.set(xlabel=labels[0], ylabel=labels[1], title=title + when, aspect="equal")
            drawing.colorbar(image, ax=panel, label=label)
    return drawing


def render(
    solution: Any,
    path: str | os.PathLike[str],
    field: Any = None,
    *,
    time: float | None = None,
    mesh: bool = False,
) -> None:
    """Write a picture (PNG) of one field in a solid, by pyvista, off screen.

    Three planes through the middle are drawn, and the edges of the solid.

    Parameters
    ----------
    solution : made by "fem", with three space coordinates.
    path : ends in ``.png``.
    field : an entry of ``problem.fields`` or its name; default the first.
    time : instant; default the last.
    mesh : draw the edges of the cells too.

    Raises
    ------
    MissingDependency
        pyvista is not installed.
    InvalidOption
        Another method, ending, field or number of coordinates.
    """
    found = solution.field
    if not isinstance(found, FiniteElementField) or found.dim != 3:
        raise InvalidOption(
            'fem.render takes a solution by "fem" with three space coordinates; use '
            "solution.plot()."
        )
    if Path(path).suffix.lower() != ".png":
        raise InvalidOption(f"{str(path)!r}: the name of a picture ends in .png.")
    column = 0 if field is None else solution._column(field)
    try:
        import pyvista
    except ImportError as error:
        raise MissingDependency(
            f"pictures of solids need pyvista: pip install pyvista ({error})"
        ) from error
    points, corners = pieces(found, max(found.degrees))
    instant = (float(found.times[-1]) if time is None else time) if found.frames else 0.0
    name = solution.problem.fields[column].func.__name__
    grid = pyvista.UnstructuredGrid({kind_of(3, corners.shape[1]).vtk: corners}, points)
    grid.point_data[name] = values_at(solution, points, instant)[:, column]
    plotter = pyvista.Plotter(off_screen=True, window_size=PIXELS)
    bar = {"title": name, "vertical": True, "position_x": 0.88, "position_y": 0.15, "height": 0.7}
    style = {"scalars": name, "show_edges": mesh, "lighting": False, "scalar_bar_args": bar}
    plotter.add_mesh(grid.slice_orthogonal(), **style)
    rim = grid.extract_surface().extract_feature_edges(30, manifold_edges=False)
    plotter.add_mesh(rim, color="black")
    labels = [c.name for c in solution.problem.space_coordinates]
    plotter.show_bounds(
        xtitle=labels[0], ytitle=labels[1], ztitle=labels[2], location="outer", font_size=9
    )
    title = solution.problem.name.replace("_", " ")
    if found.frames:
        title += f", {solution.problem.time} = {instant:.3g}"
    plotter.add_text(title, font_size=10)
    plotter.camera_position = "iso"
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "picture.png"
        plotter.screenshot(scratch)
        plotter.close()
        engine.write_bytes(path, scratch.read_bytes())
