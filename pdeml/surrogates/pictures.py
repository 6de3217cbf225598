"""Pictures of an evaluation: a roll-out beside the truth, errors over time, spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdeml import plots
from pdeml.surrogates.metrics import THRESHOLD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pdeml.data.dataset import Dataset
    from pdeml.surrogates.evaluation import Evaluation

LARGEST = 1e3  # of relative errors that are drawn


def rollout_figure(result: Evaluation, data: Dataset, channels: list[str], name: str) -> Figure:
    """Prediction, truth and error of the first sample; of three space axes the middle plane.

    Parameters
    ----------
    result : with a roll-out on a full grid.
    data : whose axes they are.
    channels : of the prediction.
    name : of the model.
    """
    import xarray

    axes = data.axes[:2]
    times = np.concatenate([[0.0], result.times.numpy()])
    coords = {"time": ("time", times, {"axis": "T", "long_name": "t"})}
    for axis in axes:
        coords[axis.name] = (axis.name, axis.points, {"units": axis.units, "long_name": axis.name})
    pair = []
    for values, method in ((result.prediction, name), (result.truth, "data")):
        planes = values.numpy()
        if len(data.axes) > 2:
            planes = planes[..., planes.shape[-1] // 2]
        variables = {
            channel: (("time", *(a.name for a in axes)), planes[:, c], {"long_name": channel})
            for c, channel in enumerate(channels)
        }
        pair.append(xarray.Dataset(variables, coords, {"method": method}))
    return plots.figure(*pair)


def errors_figure(result: Evaluation) -> Figure:
    """nRMSE and correlation over time, with persistence, and the error of what may be conserved."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.8), layout="constrained")
    times, curves = result.times.numpy(), result.rollout
    error, correlation, kept = figure.subplots(1, 3)
    for key, style, label in (("nrmse", "-", "surrogate"), ("persistence", "k--", "persistence")):
        values = curves[key].numpy()
        error.semilogy(times, np.where(values < LARGEST, values, np.nan), style, label=label)
    error.set(title="error of the roll-out", xlabel="t", ylabel="nRMSE")
    correlation.plot(times, curves["correlation"].numpy())
    correlation.axhline(THRESHOLD, color="0.5", linestyle=":", label=f"r = {THRESHOLD}")
    correlation.set(title="correlation with the data", xlabel="t", ylabel="r", ylim=(-0.05, 1.05))
    for key, label in (("mean_error", "mean ⟨u⟩"), ("energy_error", "energy ½⟨u²⟩")):
        values = curves[key].numpy()
        kept.semilogy(times, np.where(values > 0, values, np.nan), label=label)
    kept.set(title="error of conserved quantities", xlabel="t", ylabel="absolute error")
    for axes in (error, correlation, kept):
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def spectrum_figure(result: Evaluation, name: str) -> Figure:
    """Power over wave numbers at the final time, of data and prediction, by channel."""
    from matplotlib.figure import Figure

    count = len(result.spectra)
    figure = Figure(figsize=(6.5 * min(count, 2), 4.2 * -(-count // 2)), layout="constrained")
    panels = figure.subplots(-(-count // 2), min(count, 2), squeeze=False).ravel()
    for axes, (channel, (truth, prediction)) in zip(panels, result.spectra.items(), strict=False):
        k = np.arange(1, len(truth))
        axes.loglog(k, truth.numpy()[1:], "k--", label="data")
        axes.loglog(k, prediction.numpy()[1:], label=name)
        top = float(truth[1:].max())
        axes.set(
            title=f"{channel} at t = {float(result.times[-1]):.4g}",
            xlabel="wave number |k|",
            ylabel="power",
            ylim=(max(top * 1e-16, float(truth[1:].min()) / 100, 1e-30), 10 * top),
        )
        axes.grid(alpha=0.3)
        axes.legend()
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure
