"""Time of a Fourier step against exponax, same equations, same modes, same initial values.

Runs of both packages alternate on one core with one thread, and the best of five counts: load on
the machine falls on both. exponax runs in a process of its own (`pdeml.bench.peer`), compiled,
without its compilation time, and in the faster of its two ways of stepping a batch. Both keep the
modes |k| < n/3 alone, so that their results must agree to round-off; the difference is part of the
result. The transforms of a step are measured alone as well: they are the limit of a pseudo-spectral
step.

References
----------
spectral_reference.md §5.6; Koehler, Niedermayr, Westermann, Thuerey (2024), APEBench, NeurIPS
(exponax).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pdeml.bench.machine import describe_machine
from pdeml.bench.peer import Peer, interpreter
from pdeml.bench.spectral_cases import (
    CASES,
    CUDA_CASES,
    GRAPH_CASE,
    Case,
    initial_values,
    korteweg_de_vries,
    peer_arguments,
)
from pdeml.errors import PdemlError
from pdeml.progress import ProgressBar
from pdeml.solvers.spectral import Stepper

REPEATS = 5
GEOMETRIC_MEAN, SMALLEST, KDV = 1.0, 0.8, 100.0  # goals: at least these ratios
SAME_RESULT = 1e-8  # largest relative difference of both packages, float64
KDV_TOLERANCE = 5e-5
ROUNDS = 10  # of the transforms alone, which are short


@contextmanager
def one_core() -> Iterator[None]:
    """This thread, and processes that it starts, on one core, with one thread of torch."""
    threads = torch.get_num_threads()
    pinned = hasattr(os, "sched_setaffinity")
    cores = os.sched_getaffinity(0) if pinned else set()
    torch.set_num_threads(1)
    if pinned:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        if pinned:
            os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)


def _seconds(run: Callable[[], Any], device: torch.device | str) -> float:
    start = time.perf_counter()
    run()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


class _Transforms(TorchDispatchMode):
    """Records the Fourier transforms that run inside, with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name().startswith("aten::_fft_"):
            self.calls.append(lambda: func(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def transform_seconds(stepper: Stepper, values: Tensor, repeats: int) -> tuple[int, float]:
    """Number of transforms of one step, and the seconds that they alone take."""
    paired = stepper.system.pairable and len(values) > 1  # as in `Stepper.rollout`
    cache = stepper.paired if paired else stepper.steps
    system = cache.system
    batch = len(values) // 2 if paired else len(values)
    modes = torch.randn(
        (batch, len(stepper.channels), *system.grid.modes),
        dtype=system.complex_dtype,
        device=values.device,
        generator=torch.Generator(values.device).manual_seed(0),
    )
    with torch.no_grad(), _Transforms() as transforms:
        cache(stepper.scheme, stepper.dt).advance(modes, system.rhs(modes, 0.0), 0.0)

    def replay() -> None:
        for _ in range(ROUNDS):
            for call in transforms.calls:
                call()

    replay()
    best = min(_seconds(replay, values.device) for _ in range(repeats))
    return len(transforms.calls), best / ROUNDS


def _alternating(ours: Callable[[], float], peer: Callable[[], float], repeats: int) -> list[float]:
    """The best seconds of each, runs of both taking turns."""
    pairs = [(ours(), peer()) for _ in range(repeats)]
    return [min(series) for series in zip(*pairs, strict=True)]


def run_case(case: Case, python: str | None, repeats: int = REPEATS) -> dict[str, Any]:
    """One case: microseconds per step of each package, their ratio, the difference of results.

    Parameters
    ----------
    python : the interpreter of the peer; None measures pdeml alone.
    """
    initial = initial_values(case)
    values = initial.to(device=case.device, dtype=case.dtype)
    name = str(case.dtype).removeprefix("torch.")
    stepper = Stepper(
        case.problem(), resolution=case.resolution, dt=case.dt, device=case.device, dtype=name
    )

    @torch.no_grad()
    def final() -> Tensor:
        return stepper.rollout(values, case.steps, every=case.steps)[:, -1]

    def ours() -> float:
        return _seconds(final, case.device)

    result: dict[str, Any] = {
        "case": case.name,
        "dtype": name,
        "device": case.device,
        "steps": case.steps,
        "counted": case.counted,
    }
    own = final().double().cpu()
    if python is None:
        mine = min(ours() for _ in range(repeats))
    else:
        sign = -1 if case.mirrored else 1
        with Peer(python, case.dtype, case.device) as peer:
            variant = peer.prepare(case.stepper, peer_arguments(case), case.steps, sign * initial)
            mine, theirs = _alternating(ours, peer.seconds, repeats)
            other = sign * peer.final().double()
            result |= {"peer": peer.versions, "exponax_variant": variant}
        result |= {
            "exponax_us": 1e6 * theirs / case.steps,
            "ratio": theirs / mine,
            "difference": float((own - other).abs().max() / other.abs().max()),
        }
    count, seconds = transform_seconds(stepper, values, repeats)
    step = mine / case.steps
    return result | {
        "pdeml_us": 1e6 * step,
        "trajectory_steps_per_second": case.batch / step,
        "transforms": count,
        "transforms_us": 1e6 * seconds,
        "transforms_fraction": seconds / step,
    }


def smallest_steps(error: Callable[[int], float], tolerance: float) -> tuple[int, float]:
    """The first of 25, 50, 100, … steps with an error within the tolerance, and that error."""
    steps = 25
    while steps <= 25 * 2**14:
        reached = error(steps)
        if reached <= tolerance:
            return steps, reached
        steps *= 2
    raise PdemlError(f"{steps // 2} steps still have an error of {reached:.1e} > {tolerance:g}.")


def run_kdv(
    python: str,
    tolerance: float = KDV_TOLERANCE,
    repeats: int = REPEATS,
    reference_steps: int = 20_000,
) -> dict[str, Any]:
    """Time to one error on Korteweg–de Vries, against each order that exponax has.

    The reference is taken by the integrating-factor scheme, which shares no coefficients with
    either side.
    """
    n, end = 128, 0.5
    problem = korteweg_de_vries()
    x = 20 * torch.arange(n, dtype=torch.float64) / n
    initial = (torch.exp(torch.sin(math.pi * x / 10)) - 1)[None, None]

    def runner(steps: int, scheme: str = "etdrk4") -> Callable[[], Tensor]:
        stepper = Stepper(problem, resolution=n, dt=end / steps, scheme=scheme)
        return torch.no_grad()(lambda: stepper.rollout(initial, steps, every=steps)[:, -1])

    reference = runner(reference_steps, "ifrk4")()

    def distance(values: Tensor) -> float:
        return float((values - reference).norm() / reference.norm())

    steps, reached = smallest_steps(lambda m: distance(runner(m)()), tolerance)
    final = runner(steps)
    result: dict[str, Any] = {
        "tolerance": tolerance,
        "pdeml": {"steps": steps, "error": reached, "seconds": math.inf},
        "exponax": [],
    }
    with Peer(python) as peer:
        for order in (1, 2, 3, 4):

            def error(steps: int, order: int = order) -> float:
                case = Case(
                    name="Korteweg–de Vries",
                    problem=korteweg_de_vries,
                    resolution=(n,),
                    batch=1,
                    dt=end / steps,
                    steps=steps,
                    stepper="KortewegDeVries",
                    # without the hyper-viscosity of its default
                    arguments={"convection_scale": -6.0, "hyper_diffusivity": 0.0},
                )
                arguments = peer_arguments(case, order)
                peer.prepare(case.stepper, arguments, steps, initial)
                return distance(peer.final())

            steps, reached = smallest_steps(error, tolerance)
            mine, theirs = _alternating(lambda: _seconds(final, "cpu"), peer.seconds, repeats)
            result["pdeml"]["seconds"] = min(mine, result["pdeml"]["seconds"])
            result["exponax"].append(
                {"order": order, "steps": steps, "error": reached, "seconds": theirs}
            )
    for row in result["exponax"]:
        row["ratio"] = row["seconds"] / result["pdeml"]["seconds"]
    return result


def run_graph(case: Case, repeats: int = REPEATS) -> dict[str, Any]:
    """A step on CUDA launched kernel by kernel, and replayed as one graph."""
    values = initial_values(case).to(device=case.device, dtype=case.dtype)
    stepper = Stepper(
        case.problem(), resolution=case.resolution, dt=case.dt, device=case.device, dtype="float32"
    )

    @torch.no_grad()
    def best(graph: bool) -> float:
        def final() -> Tensor:
            return stepper.rollout(values, case.steps, every=case.steps, graph=graph)

        final()
        return min(_seconds(final, case.device) for _ in range(repeats))

    eager, replayed = best(graph=False), best(graph=True)
    return {
        "case": case.name,
        "eager_us": 1e6 * eager / case.steps,
        "graph_us": 1e6 * replayed / case.steps,
        "ratio": eager / replayed,
    }


def geometric_mean(ratios: list[float]) -> float:
    """exp of the mean logarithm."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def verdict(cases: list[dict[str, Any]], kdv: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each goal with its value, its limit and whether it is met."""
    counted = [c for c in cases if c["counted"]]
    ratios = [c["ratio"] for c in counted]
    same_scheme = next(row["ratio"] for row in kdv["exponax"] if row["order"] == 4)
    at_least = {
        "geometric_mean": (geometric_mean(ratios), GEOMETRIC_MEAN),
        "smallest_ratio": (min(ratios), SMALLEST),
        "kdv_ratio": (same_scheme, KDV),
    }
    goals = {
        name: {"value": value, "at_least": goal, "met": value >= goal}
        for name, (value, goal) in at_least.items()
    }
    gaps = [c["difference"] for c in counted]
    goals["difference"] = {
        "value": max(gaps),
        "at_most": SAME_RESULT,
        "met": all(gap <= SAME_RESULT for gap in gaps),  # not so for NaN
    }
    return goals


def run(
    progress: bool = False, peer_python: str | None = None, repeats: int = REPEATS
) -> dict[str, Any]:
    """All cases on one core, then those on CUDA where there is one.

    Parameters
    ----------
    peer_python : an interpreter that has exponax; default as in `pdeml.bench.peer.interpreter`.

    Raises
    ------
    MissingDependency
        There is no exponax.
    """
    python = interpreter(peer_python)
    cuda_cases = CUDA_CASES if torch.cuda.is_available() else []
    total = len(CASES) + 1 + len(cuda_cases)
    notes: list[str] = []
    with ProgressBar("bench spectral", progress) as bar:
        with one_core():
            results = []
            for i, case in enumerate(CASES):
                bar.update(i / total, {"case": f"{case.name} {case.dtype}"})
                results.append(run_case(case, python, repeats))
            bar.update(len(CASES) / total, {"case": "Korteweg–de Vries to one error"})
            kdv = run_kdv(python, repeats=repeats)
            machine = describe_machine()
        for i, case in enumerate(cuda_cases):
            bar.update((len(CASES) + 1 + i) / total, {"case": f"{case.name} {case.device}"})
            try:
                results.append(run_case(case, python, repeats))
            except PdemlError as error:
                notes.append(f"{case.name} on CUDA without the peer: {error}")
                results.append(run_case(case, None, repeats))
        graph = run_graph(GRAPH_CASE, repeats) if cuda_cases else None
    return {
        "suite": "spectral",
        "command": "pdeml bench spectral --json" + (" --peer-python PYTHON" * bool(peer_python)),
        "repeats": repeats,
        "machine": machine,
        "cases": results,
        "kdv": kdv,
        "graph": graph,
        "goals": verdict(results, kdv),
        "notes": notes,
    }


def table(result: dict[str, Any]) -> Any:
    """The result as rich tables, with a line per goal."""
    from rich.console import Group
    from rich.table import Table

    steps = Table(title="One ETDRK4 step of a batch, best of alternating runs")
    for name in (
        "case",
        "dtype",
        "device",
        "exponax µs",
        "pdeml µs",
        "ratio",
        "trajectories × steps / s",
        "transforms",
        "difference",
    ):
        steps.add_column(name, justify="left" if name in ("case", "dtype", "device") else "right")
    for c in result["cases"]:
        compared = "ratio" in c
        steps.add_row(
            c["case"] + (" *" if c["counted"] else ""),
            c["dtype"],
            c["device"],
            f"{c['exponax_us']:.0f}" if compared else "–",
            f"{c['pdeml_us']:.0f}",
            f"{c['ratio']:.2f}" if compared else "–",
            f"{c['trajectory_steps_per_second']:.3g}",
            f"{c['transforms_fraction']:.0%}",
            f"{c['difference']:.0e}" if compared else "–",
        )
    kdv = result["kdv"]
    to_error = Table(title=f"Korteweg–de Vries, time to a relative error of {kdv['tolerance']:g}")
    for name in ("scheme", "steps", "error", "ms", "ratio"):
        to_error.add_column(name, justify="left" if name == "scheme" else "right")
    rows = [{"scheme": "pdeml ETDRK4", "ratio": 1.0, **kdv["pdeml"]}]
    rows += [{"scheme": f"exponax ETDRK{r['order']}", **r} for r in kdv["exponax"]]
    for r in rows:
        to_error.add_row(
            r["scheme"],
            str(r["steps"]),
            f"{r['error']:.1e}",
            f"{1e3 * r['seconds']:.1f}",
            f"{r['ratio']:.0f}",
        )
    lines = []
    for name, goal in result["goals"].items():
        relation = f"≥ {goal['at_least']:g}" if "at_least" in goal else f"≤ {goal['at_most']:g}"
        met = "met" if goal["met"] else "NOT met"
        lines.append(f"{name.replace('_', ' ')} {goal['value']:.3g} (goal {relation}): {met}")
    if result["graph"] is not None:
        g = result["graph"]
        lines.append(
            f"CUDA graph, {g['case']}: {g['eager_us']:.0f} µs → {g['graph_us']:.0f} µs, "
            f"{g['ratio']:.1f} times faster"
        )
    return Group(steps, to_error, "* counts for the goals", *lines, *result["notes"])
