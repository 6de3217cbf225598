"""Data sets from a declaration: drawn, solved in batches, written as they are done."""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdeml import engine, problems, solvers
from pdeml.data.batches import Batched
from pdeml.data.chunked import parts_folder
from pdeml.data.dataset import Dataset
from pdeml.data.drawing import Ranges, checked_ranges
from pdeml.data.merging import merge
from pdeml.data.opening import open as open_dataset
from pdeml.data.readers.native import part_files
from pdeml.data.single import Family, OneByOne
from pdeml.data.writer import Writer
from pdeml.domains import SpaceTime
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.pde import PDE
from pdeml.progress import ProgressBar
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
    problem : a `pdeml.PDE`, the name of one of the zoo, or a function (seed, sample) → PDE that
        declares each sample: for random coefficients, sources and walls. All samples have the same
        fields and domain; the declaration of sample 0 is kept with the data. Names of such
        functions of the zoo (``"darcy"``) do the same. Each sample has a process of its own.
    samples : how many.
    out : path of the HDF5 file (`pdeml.data.layout`).
    seed : root of the seeds, in [0, 2⁶³).
    times, frames : instants that are kept, or how many from the start to the end of the declared
        interval (default 51).
    resolution : points per axis (default 256, 64², 32³).
    vary : ``{"nu": (low, high)}``, uniform, or ``(low, high, "log")``: parameters that are drawn.
        By default those that declare a range.
    initial : ``"random"``: the field of the published data for Burgers, Kuramoto–Sivashinsky and
        the vorticity equation; the declared value at randomly displaced points where that keeps one
        sign (`fisher_kpp`, `gray_scott`); else a Gaussian field with its mean and deviation (see
        `pdeml.data.drawing.RandomInitial`). Or ``"declared"``, the name of a
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
    workers : processes where there is one per sample (default: one per core).
    durability, compression : see `Writer`.
    command : kept as provenance.
    progress : show a bar.

    Returns
    -------
    Dataset

    Raises
    ------
    UnsupportedProblem
        No method can solve the problem.
    InvalidOption, DatasetMismatch, DatasetLocked, OutputError
        See `Writer`.
    """
    family: Family | None = None
    if isinstance(problem, str):
        build = problems.get(problem)
        each = {"seed", "sample"} <= inspect.signature(build).parameters.keys()
        problem = build if each else build()
    if not isinstance(problem, PDE):
        family, problem = problem, problem(seed=seed, sample=0)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise InvalidOption(f"samples={samples!r}: give a positive integer.")
    if dtype not in ("float32", "float64"):
        raise InvalidOption(f"dtype={dtype!r}: give 'float32' or 'float64'.")
    ranges = checked_ranges(problem, vary)
    chosen = _method(problem, method)
    if family is not None and chosen == "spectral":
        raise UnsupportedProblem(
            f"the samples of {problem.name!r} are declared one by one; 'spectral' solves batches "
            "of one declaration: draw parameters by vary=, or give method='fem'."
        )
    if (
        samples > 1
        and not ranges
        and family is None
        and (chosen != "spectral" or initial == "declared")
    ):
        raise InvalidOption(
            f"nothing would differ between the samples of {problem.name!r}: draw a parameter by "
            f"vary={{name: (low, high)}} ({', '.join(p.name for p in problem.parameters) or 'none'}"
            "), or start from random fields where the problem is periodic."
        )
    plan = (Batched if chosen == "spectral" else OneByOne)(
        problem,
        ranges,
        seed=seed,
        samples=samples,
        method=chosen,
        times=_times(problem, times, frames),
        resolution=resolution,
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
    target = Path(out)
    with Writer(
        target,
        fields=plan.fields,
        times=plan.times,
        axes=plan.axes,
        mesh=plan.mesh,
        samples=samples,
        pde=problem,
        parameters=sorted(ranges),
        seed=seed,
        options={"vary": {n: list(r) for n, r in ranges.items()}, **plan.identity},
        splits=None if split is None else _splits(samples, split, seed),
        resume=resume,
        durability=durability,
        compression=compression,
        shard=shard,
        block=plan.batch,
        command=command,
    ) as writer:
        title = f"generate {problem.name}"
        with ProgressBar(title, progress) as bar:
            for _ in plan.run(writer, retry_failed):
                done = float((writer.status != 0).mean())
                bar.update(done, {"samples": f"{writer.finished}/{len(writer.numbers)}"})
    if shard is not None and _all_there(target, shard[1], samples):
        merge(target)
    return open_dataset(target if target.exists() else parts_folder(target))


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


def _all_there(target: Path, count: int, samples: int) -> bool:
    """Whether all shards are complete."""
    folder = parts_folder(target)
    if len(part_files(folder)) < count:
        return False
    status = open_dataset(folder).contents.status
    return status is not None and len(status) == samples and bool((status != 0).all())
