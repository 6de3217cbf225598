"""Data sets from a declaration: drawn, solved in batches, written as they are done."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdeml import engine, problems, solvers
from pdeml.data.batches import LARGEST_BATCH, Batched
from pdeml.data.chunked import parts_folder
from pdeml.data.dataset import Dataset
from pdeml.data.drawing import Ranges, checked_ranges, without_idle
from pdeml.data.families import family_of
from pdeml.data.opening import open as open_dataset
from pdeml.data.running import Run
from pdeml.data.single import Family, OneByOne, declared
from pdeml.domains import SpaceTime
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.pde import PDE
from pdeml.solvers.fem.processes import world
from pdeml.solvers.options import checked_times

FRAMES = 51


def generate(
    problem: PDE | str | Family,
    samples: int,
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    times: Sequence[float] | None = None,
    frames: int | None = None,
    resolution: int | Sequence[int] | None = None,
    vary: Ranges | None = None,
    keep: int | Sequence[int] | None = None,
    initial: str | Mapping[str, Any] | Callable[[np.ndarray], Tensor] = "random",
    method: str | None = None,
    dt: float | None = None,
    batch: int | None = None,
    device: str | torch.device = "auto",
    dtype: str = "float32",
    deterministic: bool = False,
    options: Mapping[str, Any] | None = None,
    split: Sequence[float] | None = None,
    resume: bool | str = "auto",
    retry_failed: bool = False,
    shard: tuple[int, int] | None = None,
    workers: int | None = None,
    durability: str = "power",
    compression: str | None = None,
    command: str | None = None,
    progress: bool = False,
) -> Dataset:
    """Make a data set of solutions of a declared problem; an interrupted run goes on.

    Sample i has the seed BLAKE2b(seed, i). From it come its parameters and its initial value, so
    that they do not depend on the number of samples, on the batch, on shards or on interruptions.

    Parameters
    ----------
    problem : a `pdeml.PDE`, the name of one of the zoo, or a family: a function of the keywords
        ``seed`` (the root) and ``sample`` (0, 1, …) that declares each sample, for random
        coefficients, sources and walls. It gives a `pdeml.PDE`, or a `Sample` with the inputs that
        are stored beside the solution. All samples have the same fields, inputs and domain; the
        declaration of sample 0 is kept with the data. The name ``"darcy"`` is such a family, with
        its coefficient ``k`` as input.
    samples : how many.
    out : path of the HDF5 file (`pdeml.data.layout`).
    seed : root of the seeds, in [0, 2⁶³).
    times, frames : instants that are kept, or how many from the start to the end of the declared
        interval (default 51).
    resolution : points per axis (default 256, 64², 32³): of the run by the spectral method, of the
        grid that values are kept on by others, whose cells are an option (``h``).
    keep : points per axis that are stored of a run by the spectral method, divisors of
        `resolution`: the Fourier series is truncated. All by default.
    vary : ``{"nu": (low, high)}``, uniform, or ``(low, high, "log")``: parameters that are drawn.
        By default those that declare a range and on which the samples depend.
    initial : ``"random"``: the field of the published data for Burgers, Kuramoto–Sivashinsky and
        the vorticity equation; random patches for `fisher_kpp` and `gray_scott`; the declared value
        at randomly displaced points where that keeps one sign; else a Gaussian field with its mean
        and deviation (see `pdeml.data.drawing.RandomInitial`). Or ``"declared"``, the name of a
        field of `pdeml.probability` or a table of it with options, or a function of seeds (B,)
        uint64 → Tensor (B, C, *n). Problems that are not periodic start as declared.
    method : ``"spectral"`` where the problem is periodic (batches, any device), else ``"fem"`` (a
        process per sample), or another method of `pdeml.solve`.
    dt : largest step of the spectral method; by default for an error of about 1e-6, found from the
        first samples of the seed.
    batch : samples solved and committed together (default: up to 64, 256 MB).
    device : of the spectral method.
    dtype : that values are stored in, ``"float32"`` or ``"float64"``; they are computed in float64.
    deterministic : solve in blocks of 16 whole samples, whatever `samples`, `batch` and `shard`
        are: sample i has the same bits always. Otherwise it has them in every run with the same
        batch, and up to rounding (which chaos amplifies) in others.
    options : of the method (``scheme``, ``degree``, …).
    split : fractions of train, valid, test, stored with the data.
    resume : ``"auto"`` continues a file that is there, True demands one, False refuses one.
    retry_failed : solve samples again that had failed.
    shard : (i, n): this run makes the i-th of n shares; the last to end merges them.
    workers : processes of this machine where there is one per sample (default: one per core).
    durability, compression : see `Writer`.
    command : kept as provenance.
    progress : say what will be written and how long it takes, and show a bar.

    Returns
    -------
    Dataset
        Of the finished samples. A sample that blows up or that the method cannot solve is marked as
        failed, with its message, and the others go on; ``dataset.info()["samples"]`` counts them.

    Raises
    ------
    UnsupportedProblem
        No method can solve the problem.
    InvalidOption, DatasetMismatch, DatasetLocked, OutputError
        See `Writer`.

    Notes
    -----
    Under ``mpiexec -n N`` a periodic problem is divided into N shards, which the first process
    merges. Of other problems the first process writes what the others solve, one sample each
    (``mpi4py.futures``); a dead process then ends all, and the same command continues.
    """
    family: Family | None = None
    if isinstance(problem, str):
        family = family_of(problem)
        problem = problems.get(problem)() if family is None else family
    if not isinstance(problem, PDE):
        family = problem
        problem = declared(family, seed, 0).problem
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise InvalidOption(f"samples={samples!r}: give a positive integer.")
    if dtype not in ("float32", "float64"):
        raise InvalidOption(f"dtype={dtype!r}: give 'float32' or 'float64'.")
    ranges = checked_ranges(problem, vary)
    chosen = _method(problem, method)
    if chosen == "spectral":
        ranges = without_idle(problem, ranges, initial, vary is not None)
    _check_varied(problem, chosen, family, ranges, samples, initial, keep)
    ranks = world()
    if ranks is not None and shard is not None:
        raise InvalidOption("shard= is for runs without mpiexec, which divides the samples itself.")
    if ranks is not None and batch is None:
        batch = min(LARGEST_BATCH, -(-samples // ranks.size))  # a block for each
    plan = (Batched if chosen == "spectral" else OneByOne)(
        problem,
        ranges,
        seed=seed,
        samples=samples,
        method=chosen,
        times=_times(problem, times, frames),
        resolution=resolution,
        keep=keep,
        initial=initial,
        dt=dt,
        batch=batch,
        device=engine.resolve_device(device),
        dtype=dtype,
        deterministic=deterministic,
        options=dict(options or {}),
        workers=workers,
        family=family,
    )
    run = Run(
        problem,
        Path(out),
        plan,
        retry_failed,
        progress,
        {
            "samples": samples,
            "parameters": sorted(ranges),
            "seed": seed,
            "options": {"vary": {n: list(r) for n, r in ranges.items()}, **plan.identity},
            "splits": None if split is None else _splits(samples, split, seed),
            "resume": resume,
            "durability": durability,
            "compression": compression,
            "command": command,
        },
    )
    if ranks is not None:
        run.divided(ranks)
    elif shard is not None:
        run.share(shard)
    else:
        run.write()
    target = run.target
    return open_dataset(target if target.exists() else parts_folder(target))


def _check_varied(
    problem: PDE,
    method: str,
    family: Family | None,
    ranges: Mapping[str, Any],
    samples: int,
    initial: Any,
    keep: Any,
) -> None:
    """Refuse a family that cannot be solved in batches, and samples that are all the same."""
    if family is not None and method == "spectral":
        raise UnsupportedProblem(
            f"the samples of {problem.name!r} are declared one by one; 'spectral' solves batches "
            "of one declaration: draw parameters by vary=, or give method='fem'."
        )
    if keep is not None and method != "spectral":
        raise InvalidOption(
            f"keep={keep!r} truncates Fourier series of the spectral method; {method!r} keeps "
            "values at the points of resolution=."
        )
    fixed = not ranges and family is None
    if samples > 1 and fixed and (method != "spectral" or initial == "declared"):
        raise InvalidOption(
            f"nothing would differ between the samples of {problem.name!r}: draw a parameter by "
            f"vary={{name: (low, high)}} ({', '.join(p.name for p in problem.parameters) or 'none'}"
            "), or start from random fields where the problem is periodic."
        )


def _method(problem: PDE, method: str | None) -> str:
    if method is not None:
        reason = solvers.can_solve(problem, method)
        if reason is not None:
            raise UnsupportedProblem(f"{method!r} cannot solve {problem.name!r}: {reason}")
        return method
    reasons = []
    for name in ("spectral", "fem", "chebyshev"):
        reason = solvers.can_solve(problem, name)
        if reason is None:
            return name
        reasons.append(f"{name!r}: {reason}")
    raise UnsupportedProblem(
        f"no reference method can generate {problem.name!r}: " + " ".join(reasons)
    )


def _times(problem: PDE, times: Sequence[float] | None, frames: int | None) -> np.ndarray:
    if not isinstance(problem.domain, SpaceTime):
        if times is not None or frames is not None:
            raise InvalidOption(f"{problem.name!r} is steady: leave times and frames out.")
        return np.array([0.0])
    if times is not None and frames is not None:
        raise InvalidOption("give times or frames, not both.")
    if times is not None:
        return np.array(checked_times(problem, times))
    count = FRAMES if frames is None else frames
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise InvalidOption(f"frames={frames!r}: give an integer of at least 2.")
    clock = problem.domain.time
    return np.linspace(clock.start, clock.end, count)


def _splits(samples: int, parts: Sequence[float], seed: int) -> dict[str, np.ndarray]:
    if len(parts) not in (2, 3) or min(parts) < 0 or not 0 < sum(parts) <= 1 + 1e-9:
        raise InvalidOption(
            f"split={parts!r}: give two or three fractions with a sum of at most 1."
        )
    order = torch.randperm(samples, generator=engine.generator(seed)).numpy()
    ends = [round(f * samples) for f in np.cumsum([0.0, *parts])]
    names = ("train", "valid", "test") if len(parts) == 3 else ("train", "test")
    return {
        n: np.sort(order[a:b]) for n, (a, b) in zip(names, itertools.pairwise(ends), strict=True)
    }
