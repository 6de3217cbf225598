"""A problem by one of pdeml's methods, DeepXDE among them: worker CASE ROW SECONDS SEED OUT.npz."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

import pdeml
from pdeml.bench.accuracy_cases import DEEPXDE, case, evaluation_points
from pdeml.solvers.solution import Solution


def main(name: str, row: str, seconds: float, seed: int, out: Path) -> None:
    """Train for `seconds` on one thread and write the values at the evaluation points."""
    torch.set_num_threads(1)
    chosen = case(name)
    method, options = row, dict(chosen.methods.get(row, {}))
    if row in DEEPXDE:
        method, options = "deepxde", {"optimizer": DEEPXDE[row], "width": chosen.width}
    problem = chosen.problem()
    start = time.perf_counter()
    solution = pdeml.solve(
        problem, method, seed=seed, time_limit=seconds, reference=None, **options
    )
    assert isinstance(solution, Solution)  # one problem, no batch
    report = {
        "seconds": time.perf_counter() - start,
        "training_seconds": solution.report.wall_time,
        "iterations": solution.report.iterations,
        "converged": solution.report.converged,
        "version": version(method),
    }
    values = solution.values_at(evaluation_points(problem)).cpu().numpy()
    np.savez(out, values=values, report=json.dumps(report))


def version(method: str) -> str:
    """Of the package that trained."""
    if method != "deepxde":
        return pdeml.__version__
    from importlib.metadata import version as installed

    return installed("deepxde")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
