"""Several processes under ``mpiexec``: who speaks, and how an error on one of them ends all."""

from __future__ import annotations

import functools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pdeml.errors import PdemlError
from pdeml.solvers.fem import backend

RANKS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
"""Variables in which launchers (MPICH's, PMIx, Open MPI's) tell a process its number."""

GRACE = 4.0  # seconds a process that failed waits for the others to fail too
PAUSE = 0.01  # seconds between looks at whether all have arrived: waiting takes no processor

_alone: ContextVar[bool] = ContextVar("_alone", default=False)


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
    comm = communicator()
    return comm if comm.size > 1 else None


def communicator() -> Any:
    """The processes that a mesh is divided between: all, or this one inside of `alone`."""
    mpi = backend.load().MPI
    return mpi.COMM_SELF if _alone.get() else mpi.COMM_WORLD


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process solves by itself (MPI.COMM_SELF), whatever the others do meanwhile."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def first() -> bool:
    """Whether this process is the one that prints and writes: number 0 of all."""
    comm = world()
    return comm is None or comm.rank == 0


def of_first[Made](comm: Any, make: Callable[[], Made]) -> Made:
    """What the first process makes, on all of them; if it fails there, it fails on all.

    Numbers that a decision rests on come from one process: rounding differs between processors,
    and processes that decide differently wait for each other forever.
    """
    if comm.size == 1:
        return make()
    made, failure = None, None
    if comm.rank == 0:
        try:
            made = make()
        except Exception as error:
            failure = error
    made, sent = comm.bcast((made, None if failure is None else _portable(failure)))
    if sent is not None:
        raise failure or sent
    return made  # type: ignore[return-value]


@contextmanager
def alike(comm: Any) -> Iterator[None]:
    """Statements without communication: if one process fails, all do, with the first's error."""
    if comm.size == 1:
        yield
        return
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    _raise_first(comm, failure)


@functools.cache
def _meetings() -> tuple[Any, Any]:
    """Communicators apart from the solver's, whose messages are then not mixed up: one for the ends
    of blocks, one for errors inside."""
    world = backend.load().MPI.COMM_WORLD
    return world.Dup(), world.Dup()


def end_if_alone(error: Exception) -> None:
    """After an error in a call that all processes are in: if some of them do not have it, they
    wait for this one inside the call, and all that helps is to end the job. Within `together`."""
    if world() is None or not _meetings.cache_info().currsize:
        return
    if not _all_arrived(_meetings()[1], True):
        _end_all(_described(error))


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
    comm, failure = _meetings()[0], None
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
    _raise_first(comm, failure)


def _raise_first(comm: Any, failure: Exception | None) -> None:
    """Raise on all processes the error of the first that has one."""
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
