"""Error after equal wall time, on eight problems: pdeml, DeepXDE, PINA, jinns, each by its recipe.

Every run is a process of its own on one CPU thread in float64, and trains for the same time; what
a package needs to import and to compile is not counted. All answers are compared at the same random
points with the exact solution or with pdeml's spectral reference. Peers train on the same points.

    error = ‖u − u_ref‖ / ‖u_ref‖

PINA and jinns live in interpreters of their own: ``--peer-python pina=PATH,jinns=PATH``; rows of a
package that is not there are left out, and the result says so. Finished rows are kept in the folder
``--out`` and not run again; the result and its figure are written there.

References
----------
pinn.md §4; Lu, Meng, Mao, Karniadakis (2021), SIAM Review 63 (DeepXDE); Coscia, Ivagnes, Demo,
Rozza (2023), JOSS 8 (PINA); Gangloff, Jouvin (2024), arXiv:2412.14132 (jinns).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pdeml
from pdeml.bench.accuracy_cases import CASES, DEEPXDE, Case, arrays, case, evaluation_points
from pdeml.bench.machine import describe_machine
from pdeml.engine import write_text
from pdeml.errors import InvalidOption, PdemlError
from pdeml.progress import ProgressBar
from pdeml.solvers.solution import Solution

PEERS = ("pina", "jinns")
"""Packages in interpreters of their own."""

GOAL = 10.0
"""Median ratio of the best peer's error to pdeml's."""

BUDGETS = (10.0, 60.0)
"""Seconds of training."""

SLACK = 240.0
"""Seconds beyond the budget after which a run is given up: imports, compilation, judgement."""


def run(
    progress: bool = False,
    peer_python: str | None = None,
    budgets: tuple[float, ...] = BUDGETS,
    only: str | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """All problems by all packages that are there.

    Parameters
    ----------
    progress : show a bar.
    peer_python : "pina=PATH,jinns=PATH".
    budgets : seconds of training; each is a run from the start.
    only : names of problems, separated by commas; default all.
    out : folder in which finished rows are kept, and accuracy.json and accuracy.png are written;
        default a temporary one.
    seed : of weights and points.

    Raises
    ------
    InvalidOption
        For an unknown problem or peer.
    """
    interpreters = _interpreters(peer_python)
    names = [c.name for c in CASES] if only is None else only.split(",")
    unknown = set(names) - {c.name for c in CASES}
    if unknown:
        raise InvalidOption(
            f"there is no problem {', '.join(sorted(unknown))} in this suite; give some of "
            f"{', '.join(c.name for c in CASES)}."
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(out or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        plan = [
            (case(name), row, budget)
            for name in names
            for budget in budgets
            for row in _rows(case(name), interpreters)
        ]
        rows = []
        with ProgressBar("bench accuracy", progress) as bar:
            for i, (chosen, row, budget) in enumerate(plan):
                bar.update(i / len(plan), {"case": f"{chosen.name} by {row}"})
                rows.append(_finished(chosen, row, budget, seed, folder, interpreters))
    result = {
        "suite": "accuracy",
        "command": "pdeml bench accuracy --peer-python pina=PATH,jinns=PATH --json",
        "budgets": list(budgets),
        "seed": seed,
        "left_out": [p for p in PEERS if p not in interpreters],
        "machine": describe_machine(),
        "rows": rows,
        "ratios": _ratios(rows, max(budgets)),
    }
    if out is not None:
        write_text(Path(out) / "accuracy.json", json.dumps(result, indent=2) + "\n")
        figure(result).savefig(Path(out) / "accuracy.png", dpi=120)
    return result


def _interpreters(given: str | None) -> dict[str, str]:
    found = {}
    for part in filter(None, (given or "").split(",")):
        name, _, path = part.partition("=")
        if name not in PEERS or not path:
            raise InvalidOption(
                f"--peer-python {given!r}: {part!r} is no NAME=PATH with a name out of "
                f"{', '.join(PEERS)}."
            )
        found[name] = path
    return found


def _rows(chosen: Case, interpreters: dict[str, str]) -> Iterator[str]:
    yield from chosen.methods
    yield from DEEPXDE
    yield from interpreters


def _finished(
    chosen: Case,
    row: str,
    budget: float,
    seed: int,
    folder: Path,
    interpreters: dict[str, str],
) -> dict[str, Any]:
    """The row from the folder, or run and put there."""
    slug = row.replace(" ", "_").replace("+", "_")
    path = folder / f"{chosen.name}-{slug}-{budget:g}s-seed{seed}.json"
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept
    found = {
        "problem": chosen.name,
        "package": row if row in DEEPXDE or row in PEERS else f"pdeml {row}",
        "budget": budget,
        **_run(chosen, row, budget, seed, interpreters),
    }
    write_text(path, json.dumps(found, indent=1) + "\n")
    return found


def _run(
    chosen: Case, row: str, budget: float, seed: int, interpreters: dict[str, str]
) -> dict[str, Any]:
    """One package on one problem, in a process of its own."""
    problem = chosen.problem()
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as temporary:
        answer = Path(temporary) / "answer.npz"
        if row in interpreters:
            data = Path(temporary) / "arrays.npz"
            np.savez(data, width=chosen.width, **arrays(problem, seed))  # type: ignore[arg-type]
            worker = [interpreters[row], str(here / f"accuracy_{row}_worker.py"), chosen.name]
            command = [*worker, str(data), str(budget), str(seed), str(answer)]
        else:
            worker = [sys.executable, "-m", "pdeml.bench.accuracy_worker", chosen.name, row]
            command = [*worker, str(budget), str(seed), str(answer)]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        }
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=budget + SLACK
            )
        except subprocess.TimeoutExpired:
            return {"error": None, "failure": f"no answer {SLACK:g} s after the end of its time"}
        except OSError as error:
            raise InvalidOption(f"{command[0]!r} cannot be run ({error.strerror}).") from error
        if not answer.exists():
            return {"error": None, "failure": done.stderr.strip()[-500:]}
        with np.load(answer) as content:
            values = torch.from_numpy(content["values"])
            report = json.loads(str(content["report"]))
    reference = pdeml.solve(problem, chosen.reference)
    assert isinstance(reference, Solution)  # one problem, no batch
    truth = reference.values_at(evaluation_points(problem)).cpu()
    distance = float((values - truth).norm() / truth.norm())
    return {"error": distance if np.isfinite(distance) else None, **report}


def _ratios(rows: list[dict[str, Any]], budget: float) -> dict[str, Any]:
    """Per problem, error of the best peer over that of the method that pdeml advises."""
    ratios: dict[str, float] = {}
    for chosen in CASES:
        mine = [r for r in rows if r["problem"] == chosen.name and r["budget"] == budget]
        advised = f"pdeml {next(iter(chosen.methods))}"
        own = [r["error"] for r in mine if r["package"] == advised and r["error"]]
        others = [r["error"] for r in mine if not r["package"].startswith("pdeml") and r["error"]]
        if own and others:
            ratios[chosen.name] = min(others) / own[0]
    median = statistics.median(ratios.values()) if ratios else None
    return {"goal": GOAL, "median": median, "best_peer_over_pdeml": ratios}


def table(result: dict[str, Any]) -> Any:
    """The result as a rich table: error after the longest budget."""
    from rich.table import Table

    budget = max(result["budgets"])
    packages = list(dict.fromkeys(r["package"] for r in result["rows"]))
    out = Table(title=f"Relative L2 error after {budget:g} s on one thread")
    out.add_column("problem")
    for package in packages:
        out.add_column(package, justify="right")
    out.add_column("best peer / pdeml", justify="right")
    ratios = result["ratios"]["best_peer_over_pdeml"]
    for name in dict.fromkeys(r["problem"] for r in result["rows"]):
        cells = []
        for package in packages:
            found = [
                r
                for r in result["rows"]
                if (r["problem"], r["package"], r["budget"]) == (name, package, budget)
            ]
            cells.append("" if not found else _shown(found[0]["error"]))
        ratio = f"{ratios[name]:.1f}" if name in ratios else ""
        out.add_row(name, *cells, ratio)
    median = result["ratios"]["median"]
    out.caption = f"median ratio {median:.1f}, goal {GOAL:g}" if median else None
    return out


def _shown(error: float | None) -> str:
    return "failed" if error is None else f"{error:.1e}"


def figure(result: dict[str, Any]) -> Any:
    """Error against seconds of training, a panel per problem, as a matplotlib figure."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(r["problem"] for r in result["rows"]))
    if not names:
        raise PdemlError("the result holds no row; nothing can be drawn.")
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    out = Figure(figsize=(3.2 * columns, 2.7 * lines), layout="constrained")
    axes = out.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    packages = list(dict.fromkeys(r["package"] for r in result["rows"]))
    for ax, name in zip(axes, names, strict=False):
        for i, package in enumerate(packages):
            points = [
                (r["budget"], r["error"])
                for r in result["rows"]
                if r["problem"] == name and r["package"] == package and r["error"]
            ]
            if points:
                style = "o-" if package.startswith("pdeml") else "s--"
                ax.loglog(*zip(*points, strict=True), style, color=f"C{i}", label=package, ms=4)
        ax.set_title(name.replace("_", " "), fontsize=10)
        ax.grid(alpha=0.3)
        ax.set_xticks(result["budgets"], [f"{b:g}" for b in result["budgets"]], minor=False)
        ax.minorticks_off()
    for ax in axes[len(names) :]:
        ax.set_visible(False)
    for ax in axes[::columns]:
        ax.set_ylabel("relative L2 error")
    for ax in axes[-columns:]:
        ax.set_xlabel("training / s")
    handles = {
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    out.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    return out
