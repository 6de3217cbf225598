"""Samples one by one, each in a process of its own: problems that are not periodic."""

from __future__ import annotations

import functools
import json
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import sympy as sp
import torch

from pdeml import solvers
from pdeml.data.batches import RESOLUTION
from pdeml.data.drawing import RECIPE, drawn_parameters
from pdeml.data.pools import Pool, in_processes, in_ranks
from pdeml.data.source import Axis, FieldInfo, MeshArrays
from pdeml.data.writer import Writer
from pdeml.domains import Box, Mesh, SpaceTime
from pdeml.errors import InvalidOption, MissingDependency, PdemlError, UnsupportedProblem
from pdeml.operators.expressions import evaluate
from pdeml.operators.fields import as_expression
from pdeml.operators.pde import PDE, Parameter
from pdeml.solvers.fem.processes import alone
from pdeml.solvers.options import checked_resolution, checked_step

COMPARED = 8  # declarations of a family that a run which continues must have in common


@dataclass(frozen=True)
class Sample:
    """One sample of a family: its problem, and what a surrogate is given to predict the solution.

    Attributes
    ----------
    problem : a `pdeml.PDE`.
    inputs : expressions of the space coordinates by name, such as ``{"k": k}`` of a coefficient,
        stored as fields without time beside the solution.
    """

    problem: PDE
    inputs: Mapping[str, sp.Expr] = field(default_factory=dict)


Family = Callable[..., PDE | Sample]
"""Declares a sample from the keywords ``seed`` (the root) and ``sample`` (its number)."""


def declared(family: Family, seed: int, number: int) -> Sample:
    """A sample of a family."""
    made = family(seed=seed, sample=number)
    return Sample(made) if isinstance(made, PDE) else made


@dataclass(frozen=True)
class Task:
    """One sample: everything that its process needs, as plain data.

    Attributes
    ----------
    problem : JSON of the declaration.
    parameters : values of this sample.
    method, options : of `pdeml.solve`.
    points : (P, d) in space; times (T,), empty for a steady problem.
    """

    number: int
    problem: str
    parameters: Mapping[str, float]
    method: str
    points: np.ndarray
    times: np.ndarray
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Of a sample: values (T, m, P), or None and the error; seconds that it took."""

    number: int
    values: np.ndarray | None = None
    error: Exception | None = None
    wall_time: float = 0.0


def solved(task: Task) -> Result:
    """Solve one sample in this process."""
    torch.set_num_threads(1)  # there is a process for each core
    try:
        problem = PDE.from_json(task.problem).with_parameters(dict(task.parameters))
        with alone():
            solution = solvers.solve(problem, task.method, reference=None, **task.options)
        assert isinstance(solution, solvers.Solution)
        values = _frames(solution, task)
    except PdemlError as error:
        return Result(task.number, error=error)
    except Exception as error:
        # foreign errors may not survive the way back; their text and trace do
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note(traceback.format_exc())
        return Result(task.number, error=told)
    return Result(task.number, values, None, solution.report.wall_time)


def _frames(solution: solvers.Solution, task: Task) -> np.ndarray:
    points = torch.from_numpy(task.points)
    frames = []
    for time in task.times.tolist() or [None]:
        at = points
        if time is not None:
            at = torch.cat([points, torch.full((len(points), 1), time, dtype=points.dtype)], 1)
        frames.append(solution.values_at(at).T.numpy())
    return np.stack(frames)


def died(task: Task) -> Result:
    """Of a task whose process is gone."""
    return Result(
        task.number, error=RuntimeError("its process died; too little memory is the usual case")
    )


class OneByOne:
    """How a problem with walls is generated: each sample in a process of its own.

    Attributes: as of `pdeml.data.batches.Batched`, and
    executor : of ``mpi4py.futures``, with the number of its processes; None solves in processes of
        this machine.
    """

    batch = 1
    executor: tuple[Pool, int] | None = None

    def __init__(
        self,
        problem: PDE,
        ranges: Mapping[str, tuple[float, float, str]],
        *,
        seed: int,
        samples: int,
        method: str,
        times: np.ndarray,
        resolution: Any,
        initial: Any,
        dt: float | None,
        dtype: str,
        options: dict[str, Any],
        workers: int | None,
        family: Family | None,
        **_: Any,
    ):
        if initial not in ("random", "declared"):
            raise InvalidOption(
                f"initial={initial!r:.60} is for periodic problems; {problem.name!r} is solved by "
                f"{method!r} from its declared value. Vary a parameter of it instead."
            )
        self._problem, self._ranges, self._method = problem, ranges, method
        self._family, self._seed = family, seed
        self._workers, self._steady = workers, problem.time is None
        self.times = times
        if dt is not None:
            options = {**options, "dt": checked_step(dt)}
        self._options = options
        self.mesh, self.axes, self._points = _grid(problem, resolution)
        kind = np.dtype(dtype)
        self._inputs = list(self._sample(0).inputs)
        self.fields = [FieldInfo(name, kind, static=True) for name in self._inputs]
        self._solved = [FieldInfo(f.func.__name__, kind) for f in problem.fields]
        self.fields += self._solved
        self.identity: dict[str, Any] = {"method": method, "recipe": RECIPE, **options}
        if family is not None:
            self.identity["family"] = self._named(samples)

    def run(self, writer: Writer, retry_failed: bool) -> Iterator[None]:
        """Solve in processes and commit what comes; order does not matter."""
        todo = [int(i) for ids in writer.pending(1, retry_failed) for i in ids]
        drawn = drawn_parameters(self._ranges, writer.seeds(todo) if todo else np.array([]))
        given: dict[int, dict[str, Any]] = {}  # what is stored with the solution

        def tasks() -> Iterator[Task]:
            for row, number in enumerate(todo):
                own = {name: float(values[row]) for name, values in drawn.items()}
                task, inputs = self._task(number, own)
                given[number] = {**own, **inputs}
                yield task

        if self.executor is None:
            results = in_processes(solved, tasks(), self._workers, died)
        else:
            results = in_ranks(*self.executor, solved, tasks())
        for result in results:
            own, frames = given.pop(result.number), result.values
            if frames is None or not np.isfinite(frames).all():
                self._fail(writer, result)
            else:
                shape = (1, len(self.times), *(len(a.points) for a in self.axes))
                for channel, info in enumerate(self._solved):
                    own[info.name] = frames[:, channel].reshape(shape)
                writer.commit(result.number, wall_time=result.wall_time, **own)
            yield

    def _fail(self, writer: Writer, result: Result) -> None:
        """Say why a sample failed and go on, unless it is the call that is wrong."""
        error = result.error
        misused = isinstance(error, InvalidOption) and not writer.finished
        if misused or isinstance(error, MissingDependency):
            assert error is not None
            raise error
        text = "the solution has NaN or infinite values" if error is None else str(error)
        if error is not None and not isinstance(error, PdemlError):
            trace = "\n".join(getattr(error, "__notes__", []))
            warnings.warn(f"sample {result.number} failed: {text}\n{trace}", stacklevel=2)
        writer.fail(result.number, text)

    def _task(self, number: int, parameters: dict[str, float]) -> tuple[Task, dict[str, Any]]:
        """A sample to solve, and its inputs (1, *n)."""
        sample = self._sample(number)
        problem, first = sample.problem, self._problem
        if problem.fields != first.fields or problem.domain.to_dict() != first.domain.to_dict():
            raise InvalidOption(
                f"sample {number} has other fields or another domain than sample 0; a data set has "
                "those of all its samples in common."
            )
        if list(sample.inputs) != self._inputs:
            raise InvalidOption(
                f"sample {number} has the inputs {list(sample.inputs)}, sample 0 has "
                f"{self._inputs}; give all samples the same."
            )
        task = Task(
            number,
            problem.to_json(),
            parameters,
            self._method,
            self._points,
            np.array([]) if self._steady else self.times,
            self._options,
        )
        return task, self._evaluated(sample, parameters)

    def _sample(self, number: int) -> Sample:
        if self._family is None:
            return Sample(self._problem)
        return declared(self._family, self._seed, number)

    def _evaluated(self, sample: Sample, parameters: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Values (1, *n) of each input at the points."""
        if not sample.inputs:
            return {}
        problem = sample.problem.with_parameters(dict(parameters))
        values = {p.name: v for p, v in problem.values.items()}
        expressions = [as_expression(e, f"input {n}") for n, e in sample.inputs.items()]
        symbols = {s: values[s.name] for e in expressions for s in e.atoms(Parameter)}
        points = torch.from_numpy(self._points)
        found = evaluate(expressions, problem.space_coordinates, points, symbols)
        shape = (1, *(len(a.points) for a in self.axes))
        return {n: v.numpy().reshape(shape) for n, v in zip(sample.inputs, found.T, strict=True)}

    def _named(self, samples: int) -> dict[str, Any]:
        """What tells a family from another: its name, arguments and first declarations."""
        family: Any = self._family
        arguments: Mapping[str, Any] = {}
        if isinstance(family, functools.partial):
            family, arguments = family.func, family.keywords
        seen = blake2b(digest_size=16)
        for number in range(min(samples, COMPARED)):
            sample = self._sample(number)
            seen.update(sample.problem.to_json().encode())
            seen.update(json.dumps({n: sp.srepr(e) for n, e in sample.inputs.items()}).encode())
        return {
            "name": getattr(family, "__qualname__", type(family).__qualname__),
            "arguments": dict(arguments),
            "declarations": seen.hexdigest(),
        }


def _grid(problem: PDE, resolution: Any) -> tuple[MeshArrays | None, list[Axis], np.ndarray]:
    """Mesh, axes and points (P, d) that values are kept at: vertices, or a grid with its ends."""
    domain = problem.domain
    space = domain.space if isinstance(domain, SpaceTime) else domain
    if isinstance(space, Mesh):
        mesh = MeshArrays(space.vertices, space.cells)
        return mesh, [Axis("node", np.arange(len(space.vertices), dtype=float))], space.vertices
    if not isinstance(space, Box):
        raise UnsupportedProblem(
            f"{problem.name!r} has the domain {space!r:.60}, which is neither a box nor a mesh: "
            "declare it on a pdeml.Mesh, whose vertices then hold the values."
        )
    dim = len(problem.space_coordinates)
    shape = checked_resolution(RESOLUTION[dim] if resolution is None else resolution, dim)
    axes = [
        Axis(c.name, np.linspace(a, b, n), periodic=False)
        for c, a, b, n in zip(problem.space_coordinates, *space.bounds, shape, strict=True)
    ]
    points = np.stack(np.meshgrid(*(a.points for a in axes), indexing="ij"), -1)
    return None, axes, points.reshape(-1, dim)
