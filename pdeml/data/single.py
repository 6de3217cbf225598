"""Samples one by one, each in a process of its own: problems that are not periodic."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pdeml import solvers
from pdeml.data.batches import RESOLUTION
from pdeml.data.drawing import drawn_parameters
from pdeml.data.source import Axis, FieldInfo, MeshArrays
from pdeml.data.writer import Writer
from pdeml.domains import Box, Mesh, SpaceTime
from pdeml.errors import DivergedError, InvalidOption, PdemlError, UnsupportedProblem
from pdeml.operators.pde import PDE
from pdeml.solvers.options import checked_resolution, checked_step

Family = Callable[..., PDE]
"""Declares the problem of a sample from the keywords ``seed`` (the root) and ``sample``."""


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


def solved(task: Task) -> tuple[int, np.ndarray | None, str, float]:
    """Number, values (T, m, P) or None, why it failed, seconds."""
    torch.set_num_threads(1)  # there is a process for each core
    problem = PDE.from_json(task.problem).with_parameters(dict(task.parameters))
    try:
        solution = solvers.solve(problem, task.method, reference=None, **task.options)
    except DivergedError as error:
        return task.number, None, str(error), 0.0
    assert isinstance(solution, solvers.Solution)
    points = torch.from_numpy(task.points)
    frames = []
    for time in task.times.tolist() or [None]:
        at = points
        if time is not None:
            at = torch.cat([points, torch.full((len(points), 1), time, dtype=points.dtype)], 1)
        frames.append(solution.values_at(at).T.numpy())
    return task.number, np.stack(frames), "", solution.report.wall_time


def in_processes(
    tasks: list[Task], workers: int | None
) -> Iterator[tuple[int, np.ndarray | None, str, float]]:
    """Results of tasks as they come, each computed in one of `workers` spawned processes.

    A process that dies takes its sample with it, which is reported as failed; the others go on.
    """
    count = max(1, min(workers or os.cpu_count() or 1, len(tasks)))
    context = multiprocessing.get_context("spawn")
    waiting = list(tasks)
    while waiting:
        pool = ProcessPoolExecutor(count, mp_context=context)
        futures: dict[Future[Any], Task] = {pool.submit(solved, task): task for task in waiting}
        broken: list[Task] = []
        try:
            for future in as_completed(futures):
                task = futures[future]
                error = future.exception()
                if error is None:
                    yield future.result()
                elif isinstance(error, PdemlError):
                    raise error
                else:
                    broken.append(task)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        # a dead process breaks the whole pool: what is left is tried again, and one by one
        if broken and count == 1:
            yield broken[0].number, None, "its process died", 0.0
            broken = broken[1:]
        waiting, count = broken, 1


class OneByOne:
    """How a problem with walls is generated: each sample in a process of its own.

    Attributes: as of `pdeml.data.batches.Batched`.
    """

    batch = 1

    def __init__(
        self,
        problem: PDE,
        ranges: Mapping[str, tuple[float, float, str]],
        *,
        seed: int,
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
        if any(os.environ.get(v, "1") != "1" for v in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")):
            raise InvalidOption(
                "samples run in processes of their own: start without mpiexec and give workers=, "
                "or one shard per node."
            )
        self._problem, self._ranges, self._method = problem, ranges, method
        self._family, self._seed = family, seed
        self._workers, self._steady = workers, problem.time is None
        self.times = times
        if dt is not None:
            options = {**options, "dt": checked_step(dt)}
        self._options = options
        self.mesh, self.axes, self._points = _grid(problem, resolution)
        self.fields = [FieldInfo(f.func.__name__, np.dtype(dtype)) for f in problem.fields]
        self.identity = {"method": method, **options}
        if family is not None:
            self.identity["family"] = getattr(family, "__qualname__", type(family).__qualname__)

    def run(self, writer: Writer, retry_failed: bool) -> Iterator[None]:
        """Solve in processes and commit what comes; order does not matter."""
        todo = [int(i) for ids in writer.pending(1, retry_failed) for i in ids]
        values = drawn_parameters(self._ranges, writer.seeds(todo) if todo else np.array([]))
        own = {i: {n: float(v[row]) for n, v in values.items()} for row, i in enumerate(todo)}
        tasks = [
            Task(
                i,
                self._declared(i).to_json(),
                own[i],
                self._method,
                self._points,
                np.array([]) if self._steady else self.times,
                self._options,
            )
            for i in todo
        ]
        shape = tuple(len(a.points) for a in self.axes)
        for number, frames, why, seconds in in_processes(tasks, self._workers):
            if frames is None or not np.isfinite(frames).all():
                writer.fail(number, why or "the solution has NaN or infinite values")
            else:
                arrays = {
                    f.name: frames[:, c].reshape(1, len(self.times), *shape)
                    for c, f in enumerate(self.fields)
                }
                writer.commit(number, wall_time=seconds, **arrays, **own[number])
            yield

    def _declared(self, number: int) -> PDE:
        if self._family is None:
            return self._problem
        problem = self._family(seed=self._seed, sample=number)
        first = self._problem
        if problem.fields != first.fields or problem.domain.to_dict() != first.domain.to_dict():
            raise InvalidOption(
                f"sample {number} has other fields or another domain than sample 0; a data set has "
                "those of all its samples in common."
            )
        return problem


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
