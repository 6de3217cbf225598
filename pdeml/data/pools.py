"""Processes that solve samples: those of one machine, or those of ``mpiexec``."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

AHEAD = 2  # tasks per process that are made and sent before their turn
LAUNCHED = ("PMI", "PMIX_", "OMPI_", "HYDRA", "MPI_LOCAL")
"""Beginnings of the variables by which a launcher tells a process that it is one of several."""

Task = Any
Work = Callable[[Task], Any]
Died = Callable[[Task], Any]


class Pool(Protocol):
    """Of ``concurrent.futures`` or ``mpi4py.futures``."""

    def submit(self, work: Work, task: Task, /) -> Future[Any]: ...


def in_processes(work: Work, tasks: Iterator[Task], workers: int | None, died: Died) -> Iterator:
    """Results of tasks as they come, each computed in one of `workers` spawned processes.

    Parameters
    ----------
    work : a function of a module, from one task to its result.
    tasks : made as they are needed.
    workers : how many processes; one per core by default.
    died : makes the result of a task whose process ended, as one without memory does. The others
        go on.
    """
    count = max(1, workers or os.cpu_count() or 1)
    suspects: list[Task] = []  # a dead process takes those that were waiting with it
    while True:
        try:
            with _pool(count) as pool:
                yield from _results(pool, work, tasks, AHEAD * count, suspects)
            return
        except BrokenProcessPool:
            pass
        for task in suspects:
            try:
                with _pool(1) as pool:
                    yield pool.submit(work, task).result()
            except BrokenProcessPool:
                yield died(task)
        suspects.clear()


def in_ranks(executor: Pool, ranks: int, work: Work, tasks: Iterator[Task]) -> Iterator:
    """Results of tasks as they come, computed by the other processes of ``mpiexec``.

    Parameters
    ----------
    executor : of ``mpi4py.futures.MPICommExecutor``.
    ranks : how many others there are.
    """
    yield from _results(executor, work, tasks, AHEAD * ranks, [])


def _results(
    pool: Pool, work: Work, tasks: Iterator[Task], ahead: int, lost: list[Task]
) -> Iterator:
    """Results as they come; `lost` holds the tasks under way when a process has died."""
    flying: dict[Future[Any], Task] = {}
    try:
        while True:
            for task in islice(tasks, ahead - len(flying)):
                lost.append(task)  # until it is under way
                flying[pool.submit(work, task)] = task
                lost.pop()
            if not flying:
                return
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                del flying[future]
                yield result
    except BrokenProcessPool:
        lost.extend(flying.values())
        raise
    finally:
        for future in flying:
            future.cancel()


@contextmanager
def _pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes end with this one, however it ends."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=_by_itself
    )
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()  # PETSc has much to say of other signals
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _by_itself() -> None:
    """In a new process: it ends with its parent or by Ctrl-C, and MPI looks for no launcher."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name in [n for n in os.environ if n.startswith(LAUNCHED)]:
        del os.environ[name]


def _end_with_parent() -> None:
    """End this process when its parent is gone: killed, it cannot tell its children."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
