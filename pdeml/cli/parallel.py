"""The command under ``mpiexec``: one process speaks, one thread each, and what runs in parallel."""

from __future__ import annotations

import os
import sys

import torch

from pdeml.errors import InvalidOption
from pdeml.solvers.fem.processes import RANKS, told_rank, world

PARALLEL = ("fem",)
"""Methods whose work is divided between processes."""


def prepare_process() -> None:
    """Silence all processes but the first; leave a core to each."""
    if not any(name in os.environ for name in RANKS):
        return
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"  # of libraries that are loaded later
        torch.set_num_threads(1)
    if told_rank():
        # errors that only this process has go to sys.__stderr__
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")


def refuse_processes(what: str, mend: str) -> None:
    """Raise `InvalidOption` where there are several processes.

    Parameters
    ----------
    what : that runs in one process alone, the start of the sentence.
    mend : what to do, its end.
    """
    comm = world()
    if comm is not None:
        raise InvalidOption(
            f"{what} runs in one process, but mpiexec has started {comm.size}; {mend}."
        )
