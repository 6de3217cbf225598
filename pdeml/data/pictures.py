"""A look at some samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdeml import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pdeml.data.dataset import Dataset

SAMPLES = 3
PANELS = 6  # fields times samples
FINEST = 512  # points per axis that are drawn


def samples_figure(dataset: Dataset) -> Figure:
    """Some samples, spread over the set, each channel in a row: maps, snapshots, or a mesh.

    Of three space axes the middle plane of the last is drawn.
    """
    count = max(1, min(SAMPLES, PANELS // len(dataset.channels), len(dataset)))
    chosen = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int))
    if dataset.mesh is not None:
        return _mesh_figure(dataset, chosen)
    view = dataset.select(chosen)
    labelled = view.to_xarray()
    last = [a.name for a in view.axes][2:]
    thinned = {a.name: slice(None, None, -(-len(a.points) // FINEST)) for a in view.axes[:2]}
    labelled = labelled.isel({name: len(labelled[name]) // 2 for name in last}).isel(thinned)
    variables = {}
    for row, sample in enumerate(view.samples):
        own = ", ".join(
            f"{n} = {float(v[row]):.3g}" for n, v in view.parameters.items() if v.dim() == 1
        )
        for name in view.fields:
            array = labelled[name].isel(sample=row, drop=True)
            component = f"component_{name}"
            pieces = [array]
            if component in array.dims:
                pieces = [
                    array.isel({component: i}, drop=True) for i in range(array.sizes[component])
                ]
            for piece, channel in zip(pieces, view.field(name).components, strict=True):
                where = f"sample {sample}" + (f", {own}" if own else "")
                piece.attrs["long_name"] = _literal(f"{channel} ({where})")
                piece.attrs["units"] = _literal(piece.attrs["units"])
                variables[f"{channel} {row}"] = piece.squeeze("time", drop=True) if (
                    "time" in piece.dims and piece.sizes["time"] == 1
                ) else piece  # fmt: skip
    import xarray

    title = _literal(dataset.contents.attributes.get("title") or dataset.layout)
    return plots.figure(xarray.Dataset(variables, attrs={"problem": title, "method": "data"}))


def _literal(text: str) -> str:
    """Text of a file as it is: dollars would be read as mathematics, and may be no valid one."""
    return str(text).replace("$", r"\$")


def _mesh_figure(dataset: Dataset, chosen: np.ndarray) -> Figure:
    from matplotlib.figure import Figure

    mesh = dataset.mesh
    assert mesh is not None
    values = dataset.read(chosen, times=-1)[:, 0]
    rows, columns = values.shape[:2]
    figure = Figure(figsize=(5 * columns, 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    figure.suptitle(_literal(dataset.contents.attributes.get("title") or dataset.layout))
    labels = []
    for info in map(dataset.field, dataset.fields):
        bars = "|" if values.is_complex() else ""  # the modulus is drawn
        units = "" if info.units in ("1", "") else f" [{info.units}]"
        labels += [_literal(f"{bars}{component}{bars}{units}") for component in info.components]
    values = values.abs() if values.is_complex() else values
    for row, sample in enumerate(chosen):
        for column, channel in enumerate(labels):
            axes, shown = panels[row, column], values[row, column].numpy()
            if mesh.coords.shape[1] == 1:
                order = np.argsort(mesh.coords[:, 0])
                axes.plot(mesh.coords[order, 0], shown[order])
                axes.set(xlabel="x", ylabel=channel)
            else:
                # of a solid, its vertices seen along z
                style = plots.colours(shown)
                if mesh.cells.shape[1] == 3 and mesh.coords.shape[1] == 2:
                    style["shading"] = "gouraud"
                    image = axes.tripcolor(*mesh.coords.T, mesh.cells, shown, **style)
                else:
                    image = axes.scatter(*mesh.coords[:, :2].T, c=shown, s=4, **style)
                figure.colorbar(image, ax=axes, label=channel)
                axes.set(xlabel="x", ylabel="y", aspect="equal")
            axes.set_title(f"sample {dataset.samples[sample]}, time = {float(dataset.times[-1]):g}")
    return figure
