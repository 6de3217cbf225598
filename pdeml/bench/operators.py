"""Neural operators: training step and inference of the FNO against neuraloperator's.

Both sides have the same weights and the same input, and must give the same output; float32, one
core, one thread. Runs take turns, a training step holds forward, backward and Adam, and the best of
each counts. The peer runs in an interpreter of its own (``--peer-python``).
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdeml.bench.machine import describe_machine
from pdeml.bench.peer import interpreter
from pdeml.bench.spectral import one_core
from pdeml.engine import keep_freed_memory
from pdeml.errors import PdemlError
from pdeml.progress import ProgressBar
from pdeml.surrogates.fno import FNO

REPEATS = 9
TRAINING, INFERENCE = 1.3, 1.5  # goals, of the geometric means over cases of each dimension
SAME_RESULT = 1e-6  # largest relative difference of both outputs, float32
WORKER = Path(__file__).with_name("operators_worker.py")


@dataclasses.dataclass(frozen=True)
class Case:
    """Modes as neuraloperator counts them, both signs on every axis."""

    name: str
    modes: tuple[int, ...]
    width: int
    points: tuple[int, ...]
    batch: int


CASES = (
    Case("1-D, 1024", (16,), 64, (1024,), 16),
    Case("1-D, 256", (32,), 32, (256,), 32),
    Case("2-D, 64²", (12, 12), 32, (64, 64), 8),
    Case("2-D, 128²", (16, 16), 32, (128, 128), 4),
    Case("3-D, 32³", (8, 8, 8), 20, (32, 32, 32), 2),
)


class _Peer:
    """neuraloperator in a subprocess, asked line by line."""

    def __init__(self, process: subprocess.Popen[str], log: Path):
        self._process, self._log = process, log
        self.versions = self._answer()

    def ask(self, action: str, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"action": action, **request}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says why
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": self._log.read_text()[-1500:].strip()}
        if "error" in answer:
            raise PdemlError(f"the peer answers: {answer['error']}")
        return answer


@contextmanager
def _peer(python: str, folder: Path) -> Iterator[_Peer]:
    log = folder / "log.txt"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [python, str(WORKER), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
        ) as process,
    ):
        try:
            yield _Peer(process, log)
        finally:
            process.kill()  # it holds nothing that must be written


def run_case(case: Case, peer: _Peer, folder: Path, repeats: int) -> dict[str, Any]:
    """Both sides of one case, taking turns.

    Raises
    ------
    PdemlError
        The peer fails, or the outputs differ by more than float32 explains.
    """
    request = dataclasses.asdict(case)
    del request["name"]
    parameters = peer.ask("prepare", **request)["parameters"]
    with np.load(folder / "peer.npz") as file:
        tensors = {name: torch.from_numpy(file[name]) for name in file}
    x, target, y = (tensors.pop(name) for name in ("x", "target", "y"))
    state = {name.removeprefix("state/"): value for name, value in tensors.items()}
    model = FNO.from_neuraloperator(state)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    with torch.no_grad():
        difference = float((model(x) - y).norm() / y.norm())
    if not difference <= SAME_RESULT:
        raise PdemlError(
            f"{case.name}: with equal weights the outputs differ by {difference:.1e}; nothing is "
            "compared."
        )

    def infer() -> float:
        begin = time.perf_counter()
        with torch.no_grad():
            model(x)
        return time.perf_counter() - begin

    def step() -> float:
        return _step(model, optimizer, x, target)

    inference = _alternating(lambda: peer.ask("inference")["seconds"], infer, repeats)
    training = _alternating(lambda: peer.ask("step")["seconds"], step, repeats)
    return {
        **dataclasses.asdict(case),
        "parameters": parameters,
        "difference": difference,
        "inference": inference,
        "training": training,
    }


def _step(model: FNO, optimizer: torch.optim.Optimizer, x: Tensor, target: Tensor) -> float:
    begin = time.perf_counter()
    optimizer.zero_grad()
    (model(x) - target).square().mean().backward()
    optimizer.step()
    return time.perf_counter() - begin


def _alternating(
    peer: Callable[[], float], own: Callable[[], float], repeats: int
) -> dict[str, float]:
    """Best seconds of both after a run for warm-up, and their ratio."""
    peer()
    own()
    rounds = [(peer(), own()) for _ in range(repeats)]
    best_peer, best_own = (min(series) for series in zip(*rounds, strict=True))
    return {"peer_s": best_peer, "pdeml_s": best_own, "ratio": best_peer / best_own}


def run(
    progress: bool = False, peer_python: str | None = None, repeats: int = REPEATS
) -> dict[str, Any]:
    """All cases against neuraloperator on one core.

    Parameters
    ----------
    progress : show which case runs.
    peer_python : an interpreter that has neuraloperator; default: that of the environment variable
        PDEML_BENCH_PYTHON, else the one that runs this.
    repeats : runs of each side, of which the best counts.

    Raises
    ------
    InvalidOption, MissingDependency
        The interpreter cannot be run, or has no such package.
    PdemlError
        The peer fails, or both sides give different results.
    """
    python = interpreter(
        peer_python,
        package="neuraloperator",
        module="neuralop",
        requirement="neuraloperator==2.0.0",
    )
    load = [os.getloadavg()[0]]
    with (
        tempfile.TemporaryDirectory(prefix="pdeml-bench-") as name,
        ProgressBar("bench operators", progress) as bar,
        one_core(),
    ):
        keep_freed_memory()
        folder, rows = Path(name), []
        with _peer(python, folder) as peer:
            for done, case in enumerate(CASES):
                bar.update(done / len(CASES), {"case": case.name})
                rows.append(run_case(case, peer, folder, repeats))
            versions = peer.versions
        machine = describe_machine()
    load.append(os.getloadavg()[0])
    return {
        "suite": "operators",
        "command": "pdeml bench operators --json --peer-python PYTHON",
        "machine": machine,
        "load": load,
        "peer": versions,
        "dtype": "float32",
        "seed": 1,
        "cases": rows,
        "goals": _goals(rows),
    }


def _goals(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Geometric means of the ratios of each number of dimensions."""
    goals = {}
    for dims in sorted({len(row["points"]) for row in rows}):
        for kind, least in (("training", TRAINING), ("inference", INFERENCE)):
            ratios = [row[kind]["ratio"] for row in rows if len(row["points"]) == dims]
            value = math.prod(ratios) ** (1 / len(ratios))
            name = f"{kind}_{dims}d"
            goals[name] = {"value": value, "at_least": least, "met": value >= least}
    return goals


def table(result: dict[str, Any]) -> Any:
    """The result as a rich table, with a line per goal."""
    from rich.console import Group
    from rich.table import Table

    peer = f"neuraloperator {result['peer']['neuraloperator']}"
    rows = Table(title="FNO, equal weights, one core, float32, best of runs that take turns")
    for name in ("case", "modes", "width", "batch", "what", peer, "pdeml", "ratio", "difference"):
        rows.add_column(name, justify="left" if name in ("case", "what") else "right")
    for row in result["cases"]:
        for kind in ("inference", "training"):
            times = row[kind]
            rows.add_row(
                row["name"],
                "×".join(map(str, row["modes"])),
                str(row["width"]),
                str(row["batch"]),
                "training step" if kind == "training" else kind,
                f"{1e3 * times['peer_s']:.1f} ms",
                f"{1e3 * times['pdeml_s']:.1f} ms",
                f"{times['ratio']:.2f}",
                f"{row['difference']:.0e}",
            )
    lines = [
        f"{name.replace('_', ' ')} {goal['value']:.2f} (goal ≥ {goal['at_least']:g}): "
        + ("met" if goal["met"] else "NOT met")
        for name, goal in result["goals"].items()
    ]
    return Group(rows, *lines)
