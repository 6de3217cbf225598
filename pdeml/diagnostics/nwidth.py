"""Kolmogorov n-width by snapshots: how many modes a solution needs.

Every linear method (and a network with few neurons) represents u(·, t) in one space for all times.
A wave that travels needs many modes, the same wave along its characteristics a single one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeml.errors import InvalidOption
from pdeml.solvers.constraints import time_of
from pdeml.solvers.lpinn.crossing import label_grid
from pdeml.solvers.lpinn.flow import LagrangianField
from pdeml.solvers.solution import Solution

if TYPE_CHECKING:
    import matplotlib.figure

POINTS = {1: 256, 2: 64, 3: 24}
"""Points per space axis of the snapshots of a solution, by dimension."""

TIMES = 100


@dataclass
class NWidth:
    """Singular values of snapshots, and how many of them reach a tolerance.

    Attributes
    ----------
    tolerance : relative error in the Frobenius norm.
    modes : number of modes that reach it, by name of what was decomposed.
    singular_values : in falling order, by the same names.
    """

    tolerance: float
    modes: dict[str, int] = field(default_factory=dict)
    singular_values: dict[str, Tensor] = field(default_factory=dict)

    def __str__(self) -> str:
        width = max(map(len, self.modes))
        return "\n".join(f"{name:<{width}}  {n} modes" for name, n in self.modes.items())

    def plot(self) -> matplotlib.figure.Figure:
        """Singular values relative to the first, over their number."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        for name, values in self.singular_values.items():
            if float(values[0]) > 0:
                shown = (values / values[0]).clamp(min=1e-17)
                axes.semilogy(range(1, len(shown) + 1), shown, ".-", ms=4, lw=1, label=name)
        axes.axhline(self.tolerance, color="0.6", lw=0.8, ls=":")
        axes.set(xlabel="mode n", ylabel=r"$\sigma_n/\sigma_1$", xlim=(0, 80), ylim=(1e-16, 2))
        axes.legend(frameon=False)
        return figure


def modes_needed(singular_values: Tensor, tolerance: float) -> int:
    """n = min r with Σ_{i ≤ r} σ_i² ≥ (1 − tol²) Σ σ_i²."""
    energy = singular_values.to(torch.float64).square()
    if float(energy.sum()) == 0.0:
        return 0
    # what is left out, summed from the smallest: no cancellation
    left = energy.flip(0).cumsum(0).flip(0)
    within = left <= tolerance**2 * energy.sum()
    return int(within.to(torch.int).argmax()) if bool(within.any()) else len(energy)


def nwidth(
    source: Solution | Tensor | Any,
    tol: float = 1e-4,
    *,
    mean: str = "none",
    points: int | None = None,
    times: int = TIMES,
) -> NWidth:
    """Modes that a solution needs, from the singular values of its snapshots.

        A = (a(x_i, t_j))_ij = Σ_k σ_k φ_k ψ_kᵀ,
        n(tol) = min r with Σ_{i ≤ r} σ_i² ≥ (1 − tol²) Σ_i σ_i²

    Parameters
    ----------
    source : a solution in time on a box, or snapshots A (points, times), a tensor or an array.
    tol : relative error.
    mean : "none", or "removed": the mean over all entries is taken out first (a constant flow would
        hide everything else).
    points, times : of the snapshots of a solution: per space axis (256, 64, 24), and 100 from start
        to end; upper faces are left out.

    Returns
    -------
    NWidth
        By field name; for a solution by "lpinn" also along characteristics, ``"w along X"``, with
        ``"X"`` and ``"X - label"``. Snapshots are called ``"snapshots"``.

    Raises
    ------
    InvalidOption
        For snapshots that are no finite matrix, a steady solution, or options out of range.

    References
    ----------
    Mojgani, Balajewicz, Hassanzadeh (2023), Comput. Methods Appl. Mech. Eng. 404, 115810, §2.
    """
    if not (isinstance(tol, int | float) and 0 < tol < 1):
        raise InvalidOption(f"tol={tol!r}; give a relative error between 0 and 1.")
    if mean not in ("none", "removed"):
        raise InvalidOption(f"mean={mean!r}; accepted are 'none' and 'removed'.")
    found = NWidth(float(tol))
    for name, matrix in _snapshots(source, points, times).items():
        matrix = matrix - matrix.mean() if mean == "removed" else matrix
        values = torch.linalg.svdvals(matrix)
        found.singular_values[name] = values
        found.modes[name] = modes_needed(values, tol)
    return found


def _snapshots(source: Any, points: int | None, times: int) -> dict[str, Tensor]:
    """Matrices (space, time) by name."""
    if not isinstance(source, Solution):
        try:
            matrix = torch.as_tensor(source, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidOption(
                f"{source!r:.60} is neither a Solution nor a matrix of snapshots (points, times)."
            ) from error
        if matrix.dim() != 2 or not matrix.numel() or not bool(torch.isfinite(matrix).all()):
            raise InvalidOption(
                f"snapshots of shape {tuple(matrix.shape)}; give a finite matrix (points, times)."
            )
        return {"snapshots": matrix}
    problem = source.problem
    if problem.time is None:
        raise InvalidOption(f"{problem.name!r} is steady: it has no snapshots in time.")
    lower, upper = problem.domain.bounds
    d = len(lower) - 1
    count = POINTS.get(d, 12) if points is None else points
    grid = label_grid(lower[:-1], upper[:-1], count)
    instants = torch.linspace(*_span(problem), times, dtype=torch.float64)
    columns = [
        source.values_at(torch.cat([grid, torch.full_like(grid[:, :1], t)], -1))
        for t in instants.tolist()
    ]
    values = torch.stack(columns, 1)
    names = [f.func.__name__ for f in problem.fields]
    found = {name: values[..., k] for k, name in enumerate(names)}
    if isinstance(source.field, LagrangianField):
        at = grid.to(device=source.device, dtype=source.dtype)
        positions, states = source.field.characteristics(at, instants.to(at))
        found |= {f"{n} along X": states[..., k].T.cpu() for k, n in enumerate(names)}
        path = positions.permute(2, 1, 0).reshape(-1, times).cpu()
        still = grid.T.reshape(-1, 1)
        found |= {"X": path, "X - label": path - still}
    return found


def _span(problem: Any) -> tuple[float, float]:
    time = time_of(problem)
    return time.start, time.end
