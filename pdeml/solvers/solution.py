"""What every method returns: a callable, differentiable, comparable, storable solution."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.errors import InvalidOption
from pdeml.nn.gaussians import GaussianField, Gaussians
from pdeml.operators import jets
from pdeml.solvers.grids import grid_axes, grid_points, is_box
from pdeml.solvers.report import Estimate, Report

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray

BLOCK = 2**16  # points per evaluation, bounds memory
PICTURE = {1: 401, 2: 201, 3: 65}


class Solution:
    """A solution of a declared problem, whatever method made it.

    Parameters
    ----------
    problem : the `pdeml.PDE`.
    method : name of the method, a key of ``pdeml.solvers.METHODS``.
    field : differentiable module, points (N, d) → values (N, m) in the order of ``problem.fields``.
    config : JSON data from which the method rebuilds an empty `field`.
    report, history, options : what happened, per-iteration series, and the options of the run.
    parameters : identified parameters by name (inverse problems).
    """

    def __init__(
        self,
        problem: Any,
        method: str,
        field: nn.Module,
        *,
        config: Mapping[str, Any],
        report: Report,
        history: Mapping[str, Sequence[float]] | None = None,
        options: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Estimate] | None = None,
    ):
        self.problem, self.method, self.field = problem, method, field
        self.config, self.report = dict(config), report
        self.history = {name: list(series) for name, series in (history or {}).items()}
        self.options, self.parameters = dict(options or {}), dict(parameters or {})

    def __repr__(self) -> str:
        names = ", ".join(str(f) for f in self.problem.fields)
        error = self.report.error
        shown = f", l2_relative {error['l2_relative']:.1e}" if error else ""
        return f"Solution({names} of {self.problem.name!r} by {self.method!r}{shown})"

    @property
    def dtype(self) -> torch.dtype:
        """Real dtype of points and values."""
        return engine.resolve_dtype(self.report.dtype)

    @property
    def device(self) -> torch.device:
        for tensor in (*self.field.parameters(), *self.field.buffers()):
            return tensor.device
        return torch.device(self.report.device)

    def to(self, device: str | torch.device) -> Solution:
        """Move to another device, in place."""
        target = engine.resolve_device(device)
        self.field.to(target)
        self.report.device = str(target)
        return self

    # ------------------------------------------------------------------------------- values

    def _points(self, points: Any) -> Tensor:
        points = torch.as_tensor(points, dtype=self.dtype, device=self.device)
        names = [c.name for c in self.problem.coordinates]
        if points.dim() != 2 or points.shape[1] != len(names):
            raise InvalidOption(
                f"Points have shape {tuple(points.shape)}; give (N, {len(names)}) with columns "
                f"{', '.join(names)}."
            )
        return points

    def __call__(self, points: Tensor) -> Tensor:
        """Values at points.

        Parameters
        ----------
        points : (N, d), columns in the order of ``problem.coordinates``; may require gradients.

        Returns
        -------
        (N, m) on ``self.device``.
        """
        return self.field(self._points(points))

    def derivative(self, field: Any, *coordinates: Any) -> Callable[[Tensor], Tensor]:
        """A partial derivative of one field, as a function of points.

        Parameters
        ----------
        field : an entry of ``problem.fields``, or its name.
        *coordinates : as for SymPy's ``diff``: ``x``, or ``x, x``, or ``x, 2``, or ``x, 2, t``.

        Returns
        -------
        callable
            points (N, d) → (N, 1).

        Raises
        ------
        InvalidOption
            The field or a coordinate is not one of the problem.
        """
        column = self._column(field)
        names = [c.name for c in self.problem.coordinates]
        counts = [0] * len(names)
        previous = None
        for item in coordinates:
            if isinstance(item, int | sp.Integer) and previous is not None and item >= 0:
                counts[previous] += int(item) - 1
                previous = None
                continue
            name = getattr(item, "name", item)
            if name not in names:
                raise InvalidOption(
                    f"{item!r} is not a coordinate of {self.problem.name!r}: "
                    f"{', '.join(names)}; an order follows its coordinate, as in (x, 2)."
                )
            previous = names.index(name)
            counts[previous] += 1
        index = tuple(counts)

        def at(points: Tensor) -> Tensor:
            points = self._points(points)
            if not self._complex:
                return jets.derivatives(self.field, points, [index])[0][:, column : column + 1]
            parts = jets.derivatives(_RealPairs(self.field), points, [index])[0]
            return torch.view_as_complex(parts.reshape(points.shape[0], -1, 2))[:, column, None]

        return at

    def _column(self, field: Any) -> int:
        names = [f.func.__name__ for f in self.problem.fields]
        if field in self.problem.fields:
            return self.problem.fields.index(field)
        if field in names:
            return names.index(field)
        raise InvalidOption(
            f"{field!r} is not a field of {self.problem.name!r}: {', '.join(names)}."
        )

    @property
    def _complex(self) -> bool:
        return any(not f.is_real for f in self.problem.fields)

    def values_at(self, points: Tensor) -> Tensor:
        """Values at many points, in blocks, without gradients, in float64 on the CPU."""
        with torch.no_grad():
            parts = [self(block) for block in points.split(BLOCK)]
        out = torch.cat(parts).cpu()
        return out.to(torch.complex128 if out.is_complex() else torch.float64)

    # ------------------------------------------------------------------------------- functionals

    def evaluate(self, expression: Any, points: Tensor) -> Tensor:
        """An expression of coordinates, parameters, fields and their derivatives at points.

        Parameters
        ----------
        expression : SymPy expression, such as ``u.diff(x)**2 + u``.
        points : (N, d), columns in the order of ``problem.coordinates``.

        Returns
        -------
        (N,) in float64 on the CPU.

        Raises
        ------
        InvalidOption
            The expression holds something else.
        """
        from pdeml.solvers import functionals

        return functionals.evaluated(self, [expression], self._points(points))[:, 0]

    def integral(
        self, expression: Any, on: Any = None, *, boundary: bool = False, **options: Any
    ) -> float:
        """Integral of an expression of the fields; see `pdeml.solvers.functionals.integral`."""
        from pdeml.solvers import functionals

        return functionals.integral(self, expression, on, boundary=boundary, **options)

    def flux(self, field: Any, on: Any = None, *, time: float | None = None) -> float:
        """Flux of a field's equation through the boundary; see `pdeml.solvers.functionals.flux`.

        Drag, lift, reaction forces, heat flow.
        """
        from pdeml.solvers import functionals

        return functionals.flux(self, field, on, time=time)

    @property
    def gaussians(self) -> Gaussians:
        """Means, covariances and weights of a solution by "pig", in units of the coordinates.

        Raises
        ------
        InvalidOption
            The solution is none of Gaussians.
        """
        network = getattr(self.field, "network", None)
        if not isinstance(network, GaussianField):
            raise InvalidOption(
                f'A solution by "{self.method}" has no Gaussians; solve the problem by "pig".'
            )
        return network.gaussians()

    # ------------------------------------------------------------------------------- comparison

    def error(
        self, other: Solution, resolution: int | Sequence[int] | None = None
    ) -> dict[str, float]:
        """Relative L2 and maximum difference to another solution of the same fields.

        Parameters
        ----------
        other : the reference; norms are relative to it.
        resolution : points per coordinate (an int, or one per coordinate); default 1025, 257², 65³.

        Returns
        -------
        dict
            ``l2_relative``, ``linf``, and ``l2_relative[u]``, ``linf[u]`` per field where there are
            several.

        Notes
        -----
        Boxes of up to three coordinates (time counts) use the trapezoidal rule on a grid that holds
        the boundary; everything else 2¹⁶ scrambled Sobol points (then `resolution` must be left
        out). Fields that the declaration determines up to a constant, such as pressures, are
        compared without their means over space.
        """
        from pdeml.solvers import comparison

        if not isinstance(other, Solution):
            raise InvalidOption(f"{other!r:.60} is no Solution to compare with.")
        return comparison.difference(self, other, resolution)

    def to_xarray(self, resolution: int | Sequence[int] | None = None) -> xarray.Dataset:
        """Values on a grid over the bounding box, NaN outside the domain.

        Parameters
        ----------
        resolution : points per coordinate (an int, or one per coordinate, time last); default 401,
            201², 65³; more than three coordinates need it.

        Returns
        -------
        xarray.Dataset
            One variable per field, dimensions time (if any) first, then space.
        """
        import xarray

        domain = self.problem.domain
        axes = grid_axes(domain, resolution, PICTURE)
        points = grid_points(axes)
        inside = torch.ones(len(points), dtype=torch.bool)
        if not is_box(domain):
            inside = domain.contains(points, tolerance=1e-9)
        known = self.values_at(points[inside]).numpy()
        values = np.full((len(points), known.shape[1]), np.nan, dtype=known.dtype)
        values[inside.numpy()] = known
        names = [c.name for c in self.problem.coordinates]
        shape = [len(axis) for axis in axes]
        order = names
        if self.problem.time is not None:
            order = [names[-1], *names[:-1]]
        coordinates = {}
        for name, axis in zip(names, axes, strict=True):
            time = self.problem.time is not None and name == self.problem.time.name
            attributes = {"long_name": name, "units": "1", "axis": "T" if time else "X"}
            coordinates[name] = (name, axis.numpy(), attributes)
        variables = {
            f.func.__name__: xarray.DataArray(
                values[:, i].reshape(shape),
                dims=names,
                attrs={"long_name": f.func.__name__, "units": "1"},
            ).transpose(*order)
            for i, f in enumerate(self.problem.fields)
        }
        attributes = {"problem": self.problem.name, "method": self.method}
        return xarray.Dataset(variables, coordinates, attributes)

    # ------------------------------------------------------------------------------- pictures

    def plot(self, reference: Solution | None = None) -> matplotlib.figure.Figure:
        """Draw every field; with a reference, that too and the logarithm of the difference.

        One coordinate gives lines, two a colour map (space–time with snapshots), more a slice
        through the centre of the box. A solution by "fem" in a plane domain that is no box is drawn
        on its triangles.
        """
        from pdeml import plots
        from pdeml.solvers import fem

        round_or_cut = len(self.problem.space_coordinates) == 2 and not is_box(self.problem.domain)
        if round_or_cut and isinstance(self.field, fem.FiniteElementField):
            return fem.plot(self, reference)
        pair = self._pictures(reference)
        return plots.figure(*pair)

    def plot_gaussians(self, axes: Any = None) -> matplotlib.figure.Figure:
        """Draw the Gaussians of a solution by "pig" over its first field.

        An ellipse is the curve of one standard deviation; its opacity is the weight. Of more than
        two coordinates a slice through the centre of the box is drawn, with the Gaussians that
        reach it.

        Parameters
        ----------
        axes : a matplotlib axes to draw in; a new figure by default.
        """
        from pdeml.solvers import gaussian_picture

        return gaussian_picture.draw(self, axes)

    def animate(
        self, path: str | os.PathLike[str] | None = None, reference: Solution | None = None
    ) -> Any:
        """Animate the fields in time.

        Parameters
        ----------
        path : where to write (``.gif``, or ``.mp4`` where ffmpeg is installed), or None.
        reference : drawn beside it.

        Returns
        -------
        matplotlib.animation.FuncAnimation

        Raises
        ------
        InvalidOption
            The problem has no time, or `path` another ending.
        MissingDependency
            MP4 without ffmpeg.
        """
        from pdeml import plots

        if self.problem.time is None:
            raise InvalidOption(f"{self.problem.name!r} has no time to animate; use plot().")
        writer = None if path is None else plots.movie_writer(path)
        animation = plots.animation(*self._pictures(reference))
        if path is not None:
            with tempfile.TemporaryDirectory() as folder:
                scratch = Path(folder) / ("animation" + Path(path).suffix)
                animation.save(scratch, writer=writer)
                engine.write_bytes(path, scratch.read_bytes())
        return animation

    def _pictures(self, reference: Solution | None) -> tuple[Any, Any]:
        """The fields (and the reference's) on one grid of at most two space axes."""
        resolution: list[int] = []
        space = len(self.problem.space_coordinates)
        for axis in range(self.problem.domain.dim):
            if space <= 2:
                resolution.append(PICTURE[min(self.problem.domain.dim, 3)])
            elif axis < 2 or axis == space:
                resolution.append(PICTURE[3])
            else:
                resolution.append(1)
        own = self.to_xarray(resolution).squeeze(drop=True)
        if reference is None:
            return own, None
        return own, reference.to_xarray(resolution).squeeze(drop=True)

    # ------------------------------------------------------------------------------- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one HDF5 file, whole or not at all; `pdeml.load` reads it.

        A solution by "fem" is written for ParaView where the path ends in ``.xdmf``, ``.pvd``,
        ``.bp`` or ``.vtkhdf``; see `pdeml.solvers.fem.export`.

        Raises
        ------
        OutputError
            The file cannot be written; an older file of that name is unchanged.
        """
        from pdeml.solvers import storage

        if Path(path).suffix.lower() in (".xdmf", ".pvd", ".bp", ".vtkhdf"):
            from pdeml.solvers.fem.export import export

            export(self, path)
            return
        storage.write(self, path)


class _RealPairs(nn.Module):
    """Complex values as real pairs, which autograd can differentiate one by one."""

    def __init__(self, field: nn.Module):
        super().__init__()
        self.inner = field

    def forward(self, points: Tensor) -> Tensor:
        return torch.view_as_real(self.inner(points).contiguous()).flatten(1)
