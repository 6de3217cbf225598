"""Runs in processes of their own that are killed: forked, since importing torch takes seconds."""

import multiprocessing
import os
import signal
import time
import traceback
from pathlib import Path

import numpy as np
import torch

from pdeml.data import Axis, Writer

SAMPLES, TIMES, POINTS = 200, 8, 2**12
ROOT_SEED = 11
X = np.arange(POINTS) / POINTS


def solution(seed):
    """Values (T, n) and a parameter: functions of the seed alone."""
    rng = np.random.Generator(np.random.Philox(int(seed)))
    return rng.standard_normal((TIMES, POINTS)), rng.uniform()


def writer(path, samples=SAMPLES, **options):
    return Writer(
        path,
        fields={"u": "f4"},
        times=np.arange(TIMES),
        axes=[Axis("x", X, periodic=True, length=1.0)],
        samples=samples,
        parameters=["nu"],
        seed=ROOT_SEED,
        **options,
    )


def work(path, log, batch=5, **options):
    """Compute what is missing; the log gets the numbers of each commit after it has returned."""
    with writer(path, **options) as w:
        for ids in w.pending(batch):
            solved = [solution(seed) for seed in w.seeds(ids)]
            w.commit(ids, u=np.stack([u for u, _ in solved]), nu=np.array([nu for _, nu in solved]))
            _note(log, ids)


def _note(log, ids):
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, (" ".join(map(str, ids)) + "\n").encode())
    os.close(descriptor)


def noted(log):
    """Numbers of all commits that returned, in their order."""
    return [int(word) for word in Path(log).read_text().split()] if Path(log).exists() else []


def start(function, *arguments, **options):
    """A forked process that runs a function; its exit code is that of an interpreter."""

    def body():
        # OpenMP's threads do not survive a fork
        torch.set_num_threads(1)
        try:
            function(*arguments, **options)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    return process


def kill_after(process, seconds, number=signal.SIGKILL):
    """Send a signal after some time; True if it met the process alive."""
    time.sleep(seconds)
    alive = process.is_alive()
    if alive:
        os.kill(process.pid, number)
    process.join(30)
    return alive
