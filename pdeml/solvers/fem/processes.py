"""Several processes under ``mpiexec``: who speaks, and how an error on one of them ends all."""

from __future__ import annotations

import functools
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pdeml.errors import PdemlError
from pdeml.solvers.fem import backend

RANKS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
"""Variables in which launchers (MPICH's, PMIx, Open MPI's) tell a process its number."""

GRACE = 4.0  # seconds a process that failed waits for the others to fail too
PAUSE = 0.01  # seconds between looks at whether all have arrived: waiting takes no processor


def told_rank() -> int:
    """Number of this process as its launcher says, 0 without one; MPI is not loaded."""
    for name in RANKS:
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    return 0


def world() -> Any | None:
    """MPI's communicator of all processes, or None where there is one; then MPI is not loaded.

    Raises
    ------
    MissingDependency
        There is a launcher, but no DOLFINx, which brings MPI.
    """
    if not any(name in os.environ for name in RANKS):
        return None
    comm = backend.load().MPI.COMM_WORLD
    return comm if comm.size > 1 else None


def first() -> bool:
    """Whether this process is the one that prints and writes: number 0 of all."""
    comm = world()
    return comm is None or comm.rank == 0


@functools.cache
def _meeting() -> Any:
    """A communicator apart from the solver's, whose messages are then not mixed up."""
    return backend.load().MPI.COMM_WORLD.Dup()


@contextmanager
def together() -> Iterator[None]:
    """Statements that all processes run: if one of them fails, all do, with the same error.

    At the end of the block all processes meet. If all arrive, every process raises the error of the
    first that failed, with a note of its number where others did not fail. If one fails while the
    others wait for it inside MPI, it prints its error and ends the whole job (`MPI_Abort`), as does
    Ctrl-C. With one process nothing changes.

    Examples
    --------
    A script for ``mpiexec -n 4 python script.py``::

        with pdeml.solvers.fem.together():
            solution = pdeml.solve(problem, "fem")
            solution.save("run.xdmf")
    """
    if world() is None:
        yield
        return
    comm, failure = _meeting(), None
    try:
        yield
    except KeyboardInterrupt:
        if comm.rank:  # all are interrupted: the first one says so
            time.sleep(GRACE)
        _end_all("Interrupted: stopped by Ctrl-C.")
    except Exception as error:
        failure = error
    if not _all_arrived(comm, failure is not None):
        assert failure is not None
        _end_all(_described(failure))
    failures = comm.allgather(None if failure is None else _portable(failure))
    failed = [rank for rank, error in enumerate(failures) if error is not None]
    if not failed:
        return
    raised = failures[failed[0]] if comm.rank != failed[0] or failure is None else failure
    if len(failed) < comm.size:
        raised.add_note(f"on process {failed[0]} of {comm.size}")
    raise raised


def _all_arrived(comm: Any, failed: bool) -> bool:
    """Wait for all processes; one that failed does not wait for long, the first the shortest."""
    request = comm.Ibarrier()
    limit = time.monotonic() + GRACE + comm.rank / 4
    while not request.Test():
        if failed and time.monotonic() > limit:
            return False
        time.sleep(PAUSE)
    return True


def _portable(error: Exception) -> Exception:
    """An error that can be sent to other processes: a foreign one by its text."""
    if isinstance(error, PdemlError):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _described(error: Exception) -> str:
    if isinstance(error, PdemlError):
        return f"{type(error).__name__}: {error}"
    return "".join(traceback.format_exception(error)).rstrip()


def _end_all(text: str) -> None:
    comm = backend.load().MPI.COMM_WORLD
    # the command line silences all processes but the first
    stream = sys.__stderr__ or sys.stderr
    print(f"{text} (on process {comm.rank} of {comm.size})", file=stream, flush=True)
    comm.Abort(1)
