"""The zoo by finite elements on one, two and three processes: how far the solutions differ.

Every process solves every problem on few cells with few steps; rows hold the largest differences
to one process. ``mpiexec`` starts once for a chunk of problems and a number of processes; a file
that is there is continued.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import pdeml
from pdeml import problems, solvers
from pdeml.bench.machine import describe_machine
from pdeml.engine import write_text
from pdeml.errors import DivergedError
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.mesh import space_of

CELLS, STEPS = {1: 24, 2: 8, 3: 4}, {1: 16, 2: 8, 3: 4}  # by dimension, along the longest axis
FINER = {"cahn_hilliard": (24, 64), "kuramoto_sivashinsky_velocity": (20, 64)}  # too coarse else
POINTS = 256
LEAST = {"values": 0.0, "norms": 0.0, "estimate": 1e-7}  # smaller estimates can be rounding alone
SECONDS = 300  # by then a chunk hangs


def zoo(names=None):
    """Problems that the method can solve, each with options for few cells and steps."""
    for name in names or problems.names():
        problem = problems.get(name)()
        if solvers.can_solve(problem, "fem") is not None:
            continue
        lower, upper = space_of(problem).bounds
        cells, steps = FINER.get(name, (CELLS[len(lower)], STEPS[len(lower)]))
        options = {"h": max(b - a for a, b in zip(lower, upper, strict=True)) / cells}
        if problem.time is not None:
            options["dt"] = (problem.domain.time.end - problem.domain.time.start) / steps
        yield problem, options


def measured(problem, options, comm):
    """Norms of the nodes, the estimated error, and values at points; or how it failed."""
    clock = time.perf_counter()
    try:
        solution = pdeml.solve(problem, "fem", reference=None, **options)
    except DivergedError as error:
        return {"name": problem.name, "failed": type(error).__name__}
    points = problem.domain.sample(POINTS, pdeml.engine.generator(1), method="sobol")
    values = solution.values_at(points)
    state = solution.field.state_dict()
    error = solution.report.error
    row = {
        "name": problem.name,
        "values": values.flatten().tolist(),
        "norms": [v.norm(dim=-1).norm(dim=0).tolist() for k, v in state.items() if "values" in k],
        "frames": solution.field.frames,
        "unknowns": sum(v.shape[1] * v.shape[2] for k, v in state.items() if "values" in k),
        "estimate": None if error is None else error["l2_relative"],
    }
    row["norms"] = [n for degree in row["norms"] for n in degree]
    held = comm.allgather(json.dumps([row, solution.report.notes]))
    assert len(set(held)) == 1, f"{problem.name}: processes hold different fields"
    return {**row, "seconds": time.perf_counter() - clock}


def work(names):
    """What each process runs: the rows of some problems, printed by the first."""
    comm = backend.load().MPI.COMM_WORLD
    for problem, options in zoo(names):
        row = measured(problem, options, comm)
        if comm.rank == 0:
            print(json.dumps(row), flush=True)


def rows_of(count, names, seconds=SECONDS):
    """Rows of some problems, solved by so many processes."""
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.exists() else shutil.which("mpiexec")
    command = [launcher, "-n", str(count), sys.executable, __file__, "--worker", "--names", *names]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-4000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def compared(alone, shared):
    """Differences of a row to that of one process, relative to the largest value, norm, estimate.

    Raises
    ------
    ValueError
        One of them failed, or they do not have the same frames, nodes and levels.
    """
    same = ("name", "failed", "frames", "unknowns")
    found = [[row.get(key) for key in same] for row in (alone, shared)]
    if found[0] != found[1] or (alone["estimate"] is None) != (shared["estimate"] is None):
        raise ValueError(f"not the same run: {found[0]} and {found[1]}")
    gaps = {}
    for key in ("values", "norms", "estimate"):
        if alone[key] is not None:
            one, other = (np.array(row[key], dtype=float) for row in (alone, shared))
            gaps[key] = float(np.abs(other - one).max() / max(np.abs(one).max(), LEAST[key]))
    return gaps


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", nargs="+", default=None, help="problems (default: all)")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--chunk", type=int, default=10, help="problems per start of mpiexec")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write, or to continue")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.names)
        return
    kept = json.loads(args.out.read_text()) if args.out is not None and args.out.exists() else {}
    table, seconds = kept.get("problems", {}), kept.get("seconds", {})
    names = [name for name in args.names or problems.names() if name not in table]
    names = [name for name in names if solvers.can_solve(problems.get(name)(), "fem") is None]
    for start in range(0, len(names), args.chunk):
        chunk = names[start : start + args.chunk]
        found = {count: rows_of(count, chunk) for count in (1, *args.processes)}
        for count, rows in found.items():
            spent = sum(row["seconds"] for row in rows)
            seconds[str(count)] = seconds.get(str(count), 0.0) + spent
        for n, name in enumerate(chunk):
            alone = found[1][n]
            table[name] = {key: alone[key] for key in ("unknowns", "frames")} | {
                str(count): compared(alone, found[count][n]) for count in args.processes
            }
            print(name, json.dumps(table[name]), flush=True)
        if args.out is not None:
            write_text(args.out, json.dumps(described(table, seconds), indent=2) + "\n")


def described(table, seconds):
    """The result with what makes it comparable."""
    return {
        "command": "python scripts/reproduce/fem_mpi.py",
        "goal": "norms within 1e-9, values within 1e-12, relative to the largest of one process",
        "cells": CELLS,
        "steps": STEPS,
        "finer": FINER,
        "points": POINTS,
        "seed": 1,
        "machine": {**describe_machine(), "dolfinx": backend.load().dolfinx.__version__},
        "seconds": seconds,
        "problems": table,
    }


if __name__ == "__main__":
    main()
