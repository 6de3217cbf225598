"""The Gaussians of a solution as ellipses over its field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import matplotlib.figure

    from pdeml.solvers.solution import Solution

REACH = 2.0
"""Standard deviations within which a Gaussian is said to reach a slice."""

FAINT, STRONG = 0.08, 0.9


def draw(solution: Solution, axes: Any = None) -> matplotlib.figure.Figure:
    """See `Solution.plot_gaussians`."""
    from matplotlib.figure import Figure

    if axes is None:
        axes = Figure(figsize=(7, 6), layout="constrained").add_subplot()
    found = solution.gaussians
    d = found.means.shape[-1]
    means = found.means.reshape(-1, d).cpu().numpy()
    covariances = found.covariances.reshape(-1, d, d).cpu().numpy()
    weights = found.weights.reshape(len(means), -1)[:, 0].cpu().numpy()
    names = [c.name for c in solution.problem.coordinates]
    bounds = np.array(solution.problem.domain.bounds)
    middle = bounds.mean(axis=0)
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    distance = np.abs(means[:, 2:] - middle[2:]) / np.sqrt(variances[:, 2:])
    shown = (distance < REACH).all(axis=1)
    opacity = FAINT + (STRONG - FAINT) * np.abs(weights) / max(np.abs(weights).max(), 1e-300)
    name = str(solution.problem.fields[0].func)
    if d == 1:
        _curves(axes, solution, means[:, 0], np.sqrt(variances[:, 0]), weights, name)
    else:
        _ellipses(axes, solution, means[shown], covariances[shown], weights[shown], opacity[shown])
        axes.set(xlabel=names[0], ylabel=names[1], xlim=bounds[:, 0], ylim=bounds[:, 1])
    where = "".join(f", {n} = {m:.3g}" for n, m in zip(names[2:], middle[2:], strict=True))
    axes.set_title(f"{name}{where}: {int(shown.sum())} of {len(means)} Gaussians")
    return axes.figure


def _curves(
    axes: Any, solution: Solution, means: Any, deviations: Any, weights: Any, name: str
) -> None:
    data = solution.to_xarray()
    (coordinate,) = data.dims
    x = data[coordinate].to_numpy()
    z = (x[:, None] - means) / deviations
    axes.plot(x, weights * np.exp(-0.5 * z**2), color="0.7", linewidth=0.7)
    axes.plot(x, data[name].to_numpy(), color="C0", linewidth=2)
    axes.set(xlabel=coordinate, ylabel=name)


def _ellipses(
    axes: Any, solution: Solution, means: Any, covariances: Any, weights: Any, opacity: Any
) -> None:
    from matplotlib.patches import Ellipse

    names = [c.name for c in solution.problem.coordinates]
    data = solution.to_xarray([121, 121] + [1] * (len(names) - 2)).squeeze(drop=True)
    field = data[str(solution.problem.fields[0].func)].transpose(names[1], names[0])
    limit = float(np.nanmax(np.abs(field))) or 1.0
    picture = axes.pcolormesh(
        field[names[0]], field[names[1]], field, cmap="RdBu_r", vmin=-limit, vmax=limit
    )
    axes.figure.colorbar(picture, ax=axes, label=str(solution.problem.fields[0].func))
    values, directions = np.linalg.eigh(covariances[:, :2, :2])
    for i, mean in enumerate(means):
        angle = np.degrees(np.arctan2(directions[i, 1, 1], directions[i, 0, 1]))
        axes.add_patch(
            Ellipse(
                mean[:2],
                2 * np.sqrt(values[i, 1]),
                2 * np.sqrt(values[i, 0]),
                angle=angle,
                fill=False,
                edgecolor="k",
                linestyle="-" if weights[i] >= 0 else "--",
                linewidth=1.0,
                alpha=float(opacity[i]),
            )
        )
