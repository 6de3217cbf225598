"""What every method returns: a callable, differentiable, comparable, storable solution."""

from __future__ import annotations

import math
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.domains import Box, SpaceTime
from pdeml.errors import InvalidFile, InvalidOption
from pdeml.operators import jets

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray

GRID = {1: 1025, 2: 257, 3: 65}  # points per axis of the common grid, by number of coordinates
SAMPLE = 2**16  # scrambled Sobol points where there is no grid
BLOCK = 2**16  # points per evaluation, bounds memory
PROBES = 16  # predictions that a saved file carries and that loading recomputes
PICTURE = {1: 401, 2: 201, 3: 65}


@dataclass(frozen=True)
class Estimate:
    """An unknown parameter that was identified, with its standard error where there is one."""

    value: float
    standard_error: float | None = None

    def __str__(self) -> str:
        if self.standard_error is None:
            return f"{self.value:.6g}"
        return f"{self.value:.6g} ± {self.standard_error:.1g}"


@dataclass
class Report:
    """What a run says about itself. A small loss is not a small error: `error` is the error.

    Attributes
    ----------
    method : name of the method.
    converged : False where the method knows that it failed, None where it cannot tell.
    losses : training loss per term.
    residual_train, residual_fresh : RMS residual on the training points and on fresh points.
    fresh_points : number of the latter, on which nothing was trained.
    violations : largest violation per condition.
    min_causal_gate : smallest weight of causal training; near 1 when all times are trained.
    dtype, device, engine : what computed it.
    wall_time : in seconds.
    iterations : optimizer iterations or time steps.
    parameters_count : trained numbers, or stored coefficients.
    error : relative L2 and maximum error against `reference`, None where unknown.
    reference : ``"exact"``, ``"spectral"``, ``"self-convergence"`` (the same method, coarser),
        ``"unknown"``, or the name of the method that was given; None for the reference itself.
    notes : anything that a reader must know, one sentence each.
    """

    method: str
    converged: bool | None = None
    losses: dict[str, float] = field(default_factory=dict)
    residual_train: float | None = None
    residual_fresh: float | None = None
    fresh_points: int = 0
    violations: dict[str, float] = field(default_factory=dict)
    min_causal_gate: float | None = None
    dtype: str = "float64"
    device: str = "cpu"
    engine: str = ""
    wall_time: float = 0.0
    iterations: int = 0
    parameters_count: int = 0
    error: dict[str, float] | None = None
    reference: str | None = "unknown"
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[tuple[str, str]]:
        """Label and text of everything that is known, in the order of a table."""
        verdict = {True: "yes", False: "NO", None: "not judged"}[self.converged]
        rows = [("method", self.method), ("converged", verdict)]
        if self.error is not None:
            against = f" (against {self.reference})"
            for name, value in self.error.items():
                rows.append((f"error {name}", f"{value:.2e}{against}"))
        elif self.reference == "unknown":
            rows.append(("error", "unknown: no reference for this problem"))
        rows += [(f"loss {name}", f"{value:.2e}") for name, value in self.losses.items()]
        if self.residual_train is not None:
            rows.append(("residual, training points", f"{self.residual_train:.2e} (RMS)"))
        if self.residual_fresh is not None:
            label = f"residual, {self.fresh_points} fresh points"
            rows.append((label, f"{self.residual_fresh:.2e} (RMS)"))
        rows += [(f"violation {name}", f"{value:.2e}") for name, value in self.violations.items()]
        if self.min_causal_gate is not None:
            rows.append(("smallest causal gate", f"{self.min_causal_gate:.3f}"))
        rows += [
            ("iterations", str(self.iterations)),
            ("parameters", str(self.parameters_count)),
            ("wall time", f"{self.wall_time:.1f} s"),
            ("computed", ", ".join(p for p in (self.dtype, self.device, self.engine) if p)),
        ]
        return rows + [("note", note) for note in self.notes]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        known = {f.name for f in fields(cls)}
        unknown = set(data) - known
        if unknown or "method" not in data:
            raise InvalidFile(f"A report cannot hold {sorted(unknown)} or lacks its method.")
        return cls(**data)


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

    def _evaluate(self, points: Tensor) -> Tensor:
        """Values at many points without gradients, in float64 on the CPU."""
        with torch.no_grad():
            parts = [self(block) for block in points.split(BLOCK)]
        out = torch.cat(parts).cpu()
        return out.to(torch.complex128 if out.is_complex() else torch.float64)

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
        out).
        """
        if [str(f) for f in other.problem.fields] != [str(f) for f in self.problem.fields]:
            raise InvalidOption(
                f"Cannot compare fields {self.problem.fields} with {other.problem.fields}; both "
                "solutions need the same fields over the same coordinates."
            )
        domain = self.problem.domain
        if _is_box(domain) and domain.dim in GRID:
            axes = _axes(domain, resolution, GRID)
            points = _mesh(axes)
            weights = _mesh([_trapezoid(axis) for axis in axes]).prod(dim=1)
        elif resolution is not None:
            raise InvalidOption(
                "resolution= is accepted for boxes of at most three coordinates; this domain is "
                f"compared on {SAMPLE} Sobol points."
            )
        else:
            points = domain.sample(SAMPLE, engine.generator(0), method="sobol")
            weights = torch.full((SAMPLE,), 1.0 / SAMPLE, dtype=torch.float64)
        ours, theirs = self._evaluate(points), other._evaluate(points)
        difference = (ours - theirs).abs()
        squares = (weights[:, None] * difference**2).sum(0)
        norms = (weights[:, None] * theirs.abs() ** 2).sum(0)
        result = {
            "l2_relative": _ratio(squares.sum().item(), norms.sum().item()),
            "linf": difference.max().item(),
        }
        if difference.shape[1] > 1:
            for i, f in enumerate(self.problem.fields):
                name = f.func.__name__
                result[f"l2_relative[{name}]"] = _ratio(squares[i].item(), norms[i].item())
                result[f"linf[{name}]"] = difference[:, i].max().item()
        return result

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
        axes = _axes(domain, resolution, PICTURE)
        points = _mesh(axes)
        values = self._evaluate(points).numpy()
        if not _is_box(domain):
            values[~domain.contains(points, tolerance=1e-9).numpy()] = np.nan
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
        through the centre of the box.
        """
        from pdeml import plots

        pair = self._pictures(reference)
        return plots.figure(*pair)

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

        Raises
        ------
        OutputError
            The file cannot be written; an older file of that name is unchanged.
        """
        from pdeml import __version__

        arrays: dict[str, Any] = {f"field.{n}": v for n, v in self.field.state_dict().items()}
        options = {n: _storable(v, f"option.{n}", arrays) for n, v in self.options.items()}
        probes = self.problem.domain.sample(PROBES, engine.generator(0))
        arrays["probe.points"] = probes
        arrays["probe.values"] = self._evaluate(probes)
        for name, series in self.history.items():
            arrays[f"history.{name}"] = np.asarray(series, dtype=np.float64)
        meta = {
            "problem": self.problem.to_json(),
            "method": self.method,
            "config": self.config,
            "report": self.report.to_dict(),
            "options": options,
            "parameters": {n: [e.value, e.standard_error] for n, e in self.parameters.items()},
            "versions": {
                "pdeml": __version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "sympy": sp.__version__,
                "python": platform.python_version(),
            },
        }
        engine.write_state(path, arrays, meta, kind="solution")


def restore(
    path: str | os.PathLike[str], field_from_config: Callable[[str, Any, Any], nn.Module]
) -> Solution:
    """Read a saved solution; `field_from_config(method, problem, config)` makes the empty field.

    Raises
    ------
    InvalidFile
        The file is damaged, foreign or hostile, or its values are not those that were saved.
    """
    from pdeml.operators.pde import pde_from_json

    arrays, meta = engine.read_state(path, kind="solution")
    try:
        problem = pde_from_json(meta["problem"])
        module = field_from_config(meta["method"], problem, meta["config"])
        state = {
            name.removeprefix("field."): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith("field.")
        }
        module.load_state_dict(state, strict=True)
        history = {
            name.removeprefix("history."): array.tolist()
            for name, array in arrays.items()
            if name.startswith("history.")
        }
        report = Report.from_dict({**meta["report"], "device": "cpu"})
        options = {name: _restored(value, arrays) for name, value in meta["options"].items()}
        estimates = {n: Estimate(*pair) for n, pair in meta["parameters"].items()}
        solution = Solution(
            problem,
            meta["method"],
            module,
            config=meta["config"],
            report=report,
            history=history,
            options=options,
            parameters=estimates,
        )
        expected = torch.from_numpy(arrays["probe.values"])
        found = solution._evaluate(torch.from_numpy(arrays["probe.points"]))
    except (KeyError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise InvalidFile(
            f"{str(path)!r} does not hold a complete solution ({type(error).__name__}: {error})."
        ) from error
    # another machine may round differently, a mixed-up state is off by far more
    precision = 1e-3 if solution.dtype != torch.float64 else 1e-8
    scale = expected.abs().nan_to_num().max().item()
    if not torch.allclose(found, expected, rtol=precision, atol=precision * scale, equal_nan=True):
        raise InvalidFile(
            f"{str(path)!r} does not reproduce the values that were saved with it; use another "
            "copy."
        )
    return solution


class _RealPairs(nn.Module):
    """Complex values as real pairs, which autograd can differentiate one by one."""

    def __init__(self, field: nn.Module):
        super().__init__()
        self.inner = field

    def forward(self, points: Tensor) -> Tensor:
        return torch.view_as_real(self.inner(points).contiguous()).flatten(1)


def _ratio(square: float, norm: float) -> float:
    if norm == 0:
        return 0.0 if square == 0 else math.inf
    return math.sqrt(square / norm)


def _is_box(domain: Any) -> bool:
    return isinstance(domain.space if isinstance(domain, SpaceTime) else domain, Box)


def _axes(
    domain: Any, resolution: int | Sequence[int] | None, defaults: Mapping[int, int]
) -> list[Tensor]:
    """Grid points per coordinate over the bounding box, ends included; one point is the centre."""
    if resolution is None:
        if domain.dim not in defaults:
            raise InvalidOption(
                f"A grid over {domain.dim} coordinates needs resolution=, points per coordinate."
            )
        resolution = defaults[domain.dim]
    if isinstance(resolution, Sequence):
        counts = list(resolution)
    else:
        counts = [resolution] * domain.dim
    if len(counts) != domain.dim or any(not isinstance(n, int) or n < 1 for n in counts):
        names = ", ".join(c.name for c in domain.coordinates)
        raise InvalidOption(
            f"resolution={resolution!r}: give a positive integer, or one per coordinate ({names})."
        )
    lower, upper = domain.bounds
    return [
        torch.linspace(a, b, n, dtype=torch.float64)
        if n > 1
        else torch.tensor([(a + b) / 2], dtype=torch.float64)
        for a, b, n in zip(lower, upper, counts, strict=True)
    ]


def _mesh(axes: Sequence[Tensor]) -> Tensor:
    return torch.stack([g.flatten() for g in torch.meshgrid(*axes, indexing="ij")], dim=1)


def _trapezoid(axis: Tensor) -> Tensor:
    weights = torch.ones_like(axis)
    if len(axis) > 1:
        weights[0] = weights[-1] = 0.5
    return weights / weights.sum()


def _storable(value: Any, name: str, arrays: dict[str, Any]) -> Any:
    """An option as JSON data; arrays are stored beside it, other objects as their text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor | np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, list | tuple):
        return {"list": [_storable(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]}
    if isinstance(value, Mapping):
        return {"table": {str(k): _storable(v, f"{name}.{k}", arrays) for k, v in value.items()}}
    return {"text": getattr(value, "__qualname__", str(value))}


def _restored(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return torch.from_numpy(arrays[content])
    if kind == "list":
        return [_restored(v, arrays) for v in content]
    if kind == "table":
        return {k: _restored(v, arrays) for k, v in content.items()}
    return content
