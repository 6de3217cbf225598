"""PIG against classical collocation with fixed Gaussians: one row per problem.

Both sides use the same centres, points and condition weights. "fixed" solves for the weights alone,
by least squares; "trained" starts from fewer Gaussians and moves them (with an MLP: 4 channels).
The error is that of the final state on a uniform grid, against the closed form or another method.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import pdeml
from pdeml.bench.machine import describe_machine
from pdeml.engine import write_text
from pdeml.errors import PdemlError
from pdeml.problems.flows import lid_driven_cavity
from pdeml.problems.gaussian_benchmarks import (
    flow_mixing,
    klein_gordon_plane,
    quadratic_diffusion,
)

NEWTON = {"recipe": "least_squares"}
FAILED = 0.1
"""A larger relative error is no solution."""

NETWORK = {"recipe": "trained", "n_gaussians": 50, "channels": 4}
QUICK = {"n_gaussians": 25, "points": 1800, "condition_points": 900}
"""Half the Gaussians and points: a step of Levenberg–Marquardt costs an eighth."""


@dataclass(frozen=True)
class Row:
    """A problem, the published PIG error, the options of both sides, and the reference."""

    name: str
    problem: Callable[[], Any]
    published: str
    fixed: dict[str, Any]
    trained: dict[str, Any]
    reference: str
    fields: tuple[str, ...] = ()


ROWS = [
    Row(
        "Helmholtz (1, 4)",
        lambda: pdeml.problems.helmholtz(1, 4),
        "2.2e-5",
        {**NEWTON, "n_gaussians": 800, "sigma": 0.3},
        {**NETWORK, "sigma": 0.25},
        "exact",
    ),
    Row(
        "Helmholtz (10, 10)",
        lambda: pdeml.problems.helmholtz(10, 10),
        "7.1e-3",
        {**NEWTON, "n_gaussians": 2000, "sigma": 0.13},
        NETWORK,
        "exact",
    ),
    Row(
        "flow mixing",
        flow_mixing,
        "2.7e-4",
        {**NEWTON, "n_gaussians": 700, "sigma": 0.3},
        NETWORK,
        "exact",
    ),
    Row(
        "Klein–Gordon",
        klein_gordon_plane,
        "2e-3",
        {**NEWTON, "n_gaussians": 700, "sigma": 0.5},
        NETWORK,
        "exact",
    ),
    Row(
        "nonlinear diffusion",
        quadratic_diffusion,
        "1.4e-3",
        {**NEWTON, "n_gaussians": 600, "sigma": 0.4},
        NETWORK,
        "chebyshev",
    ),
    Row(
        "Allen–Cahn",
        pdeml.problems.allen_cahn,
        "6e-5",
        {**NEWTON, "n_gaussians": 800, "sigma": 0.2},
        NETWORK,
        "spectral",
    ),
    Row(
        "cavity, sine lid",
        lambda: lid_driven_cavity(100.0, "sine"),
        "4.0e-4",
        {**NEWTON, "n_gaussians": 250, "sigma": 0.35},
        NETWORK,
        "fem",
        ("u", "v"),
    ),
]


def side(row: Row, options: dict[str, Any], reference: Any, seed: int) -> dict[str, Any]:
    """One solution: its error, size and time; a failure is a result too."""
    start = time.perf_counter()
    try:
        solution = pdeml.solve(row.problem(), "pig", seed=seed, reference=None, **options)
    except PdemlError as error:
        return {"failed": str(error), "seconds": time.perf_counter() - start}
    error = solution.error(reference)
    names = [f"l2_relative[{name}]" for name in row.fields] or ["l2_relative"]
    return {
        "error": max(error[name] for name in names),
        "seconds": time.perf_counter() - start,
        "parameters": solution.report.parameters_count,
        "iterations": solution.report.iterations,
        "converged": solution.report.converged,
        "options": options,
    }


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--quick", action="store_true", help="30 s of training per row, on a CPU")
parser.add_argument("--seconds", type=float, default=None, help="of training per row")
parser.add_argument("--rows", type=int, nargs="+", default=list(range(len(ROWS))))
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=None, help="write the result to this JSON file")
args = parser.parse_args()
seconds = args.seconds or (30.0 if args.quick else 600.0)

result: dict[str, Any] = {
    "command": "python scripts/reproduce/pig_table.py" + (" --quick" if args.quick else ""),
    "training_seconds": seconds,
    "seed": args.seed,
    "threads": torch.get_num_threads(),
    "load_average": os.getloadavg()[0],
    "machine": describe_machine(),
    "rows": [],
}
print(f"{'problem':22}{'published':>11}{'fixed':>11}{'trained':>11}   verdict")
for row in (ROWS[i] for i in args.rows):
    reference = pdeml.solve(row.problem(), row.reference, reference=None)
    fixed = side(row, row.fixed, reference, args.seed)
    size = {**row.trained, **(QUICK if args.quick else {})}
    trained = side(row, {**size, "time_limit": seconds}, reference, args.seed)
    both = [s.get("error", math.inf) for s in (fixed, trained)]
    verdict = "training adds" if both[1] < both[0] else "training adds nothing"
    verdict = "neither solves it" if min(both) > FAILED else verdict
    result["rows"].append(
        {
            "problem": row.name,
            "published": row.published,
            "reference": row.reference,
            "fixed": fixed,
            "trained": trained,
            "verdict": verdict,
        }
    )
    print(
        f"{row.name:22}{row.published:>11}{both[0]:>11.1e}{both[1]:>11.1e}   {verdict}", flush=True
    )
    if args.out is not None:  # after every row: a later one may be interrupted
        write_text(args.out, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
