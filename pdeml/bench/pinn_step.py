"""Time of one training step (loss, gradient, Adam) against DeepXDE, same weights, same points.

Both sides start from identical weights and take the loss at identical points: the first losses must
agree to 1e-12 (float64). Steps are interleaved, so that load on the machine falls on both; the
ratio is that of the medians. On CUDA the whole step of pdeml is one CUDA graph.

References
----------
pinn.md §5.3; Lu, Meng, Mao, Karniadakis (2021), SIAM Review 63, 208–228 (DeepXDE).
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import sympy as sp
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.bench.machine import describe_machine
from pdeml.domains import Box
from pdeml.errors import MissingDependency
from pdeml.nn.networks import MLP
from pdeml.operators.dense import chunk_size
from pdeml.operators.residual import Residual
from pdeml.progress import ProgressBar
from pdeml.solvers.objective import Objective, Term, Trial

REPEATS = 15
DEPTH, WIDTH = 4, 64


@dataclass(frozen=True)
class Case:
    """One equation in both packages.

    Attributes
    ----------
    residual : pdeml's, from SymPy.
    peer : DeepXDE's, (dde, x, y) -> residual (n, 1), written with its own derivative functions.
    goal : smallest accepted ratio on one CPU thread.
    """

    name: str
    dim: int
    points: int
    dtype: torch.dtype
    residual: Callable[[], Residual]
    peer: Callable[[Any, Tensor, Tensor], Tensor]
    goal: float


NU = 0.01 / math.pi


def _burgers() -> Residual:
    x, t = sp.symbols("x t", real=True)
    u = sp.Function("u")(x, t)
    return Residual([u.diff(t) + u * u.diff(x) - NU * u.diff(x, 2)], [u], [x, t])


def _burgers_peer(dde: Any, x: Tensor, y: Tensor) -> Tensor:
    u_x = dde.grad.jacobian(y, x, i=0, j=0)
    u_t = dde.grad.jacobian(y, x, i=0, j=1)
    return u_t + y * u_x - NU * dde.grad.hessian(y, x, i=0, j=0)


def _kuramoto_sivashinsky() -> Residual:
    x, t = sp.symbols("x t", real=True)
    u = sp.Function("u")(x, t)
    equation = (
        u.diff(t)
        + 6.25 * u * u.diff(x)
        + sp.Rational(100, 256) * u.diff(x, 2)
        + sp.Rational(100, 65536) * u.diff(x, 4)
    )
    return Residual([equation], [u], [x, t])


def _kuramoto_sivashinsky_peer(dde: Any, x: Tensor, y: Tensor) -> Tensor:
    u_x = dde.grad.jacobian(y, x, i=0, j=0)
    u_t = dde.grad.jacobian(y, x, i=0, j=1)
    u_xx = dde.grad.hessian(y, x, i=0, j=0)
    u_xxxx = dde.grad.hessian(u_xx, x, i=0, j=0)
    return u_t + 6.25 * y * u_x + 100 / 256 * u_xx + 100 / 65536 * u_xxxx


def _poisson() -> Residual:
    xs = sp.symbols("x1:11", real=True)
    u = sp.Function("u")(*xs)
    return Residual([sum(u.diff(x, 2) for x in xs) + sum(sp.sin(x) for x in xs)], [u], xs)


def _poisson_peer(dde: Any, x: Tensor, y: Tensor) -> Tensor:
    laplacian = dde.grad.hessian(y, x, i=0, j=0)
    for i in range(1, x.shape[1]):
        laplacian = laplacian + dde.grad.hessian(y, x, i=i, j=i)
    return laplacian + torch.sin(x).sum(1, keepdim=True)


CASES = [
    *(
        Case(f"Burgers 10k {str(dtype)[6:]}", 2, 10_000, dtype, _burgers, _burgers_peer, 1.8)
        for dtype in (torch.float32, torch.float64)
    ),
    *(
        Case(
            f"Kuramoto–Sivashinsky 2k {str(dtype)[6:]}",
            2,
            2_000,
            dtype,
            _kuramoto_sivashinsky,
            _kuramoto_sivashinsky_peer,
            2.8,
        )
        for dtype in (torch.float32, torch.float64)
    ),
    *(
        Case(f"Poisson 10-D 2k {str(dtype)[6:]}", 10, 2_000, dtype, _poisson, _poisson_peer, 1.7)
        for dtype in (torch.float32, torch.float64)
    ),
]


@contextmanager
def deepxde(dtype: torch.dtype, device: torch.device) -> Iterator[Any]:
    """DeepXDE on its torch back end; torch's global defaults are as before afterwards.

    On import it makes CUDA the default device where there is one. A default device intercepts every
    torch call, which would slow both sides, so it is off unless `device` needs it.
    """
    default_dtype, default_device = torch.get_default_dtype(), torch.get_default_device()
    chosen = os.environ.get("DDE_BACKEND")
    os.environ["DDE_BACKEND"] = "pytorch"
    try:
        try:
            with redirect_stdout(sys.stderr):  # standard output is for the result
                import deepxde as dde

                dde.config.set_default_float(str(dtype).removeprefix("torch."))
        except ImportError as error:
            raise MissingDependency(
                "this benchmark compares with DeepXDE, which is not installed: "
                "pip install 'deepxde>=1.15'"
            ) from error
        torch.set_default_device(None if device.type == "cpu" else device)
        yield dde
    finally:
        torch.set_default_dtype(default_dtype)
        torch.set_default_device(None if default_device.type == "cpu" else default_device)
        if chosen is None:
            os.environ.pop("DDE_BACKEND", None)
        else:
            os.environ["DDE_BACKEND"] = chosen


def _our_step(case: Case, network: MLP, points: Tensor) -> Callable[[], Tensor]:
    trial = Trial(network)
    objective = Objective(trial, [Term("equation", case.residual(), trial, points)])
    on_gpu = points.is_cuda
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, capturable=on_gpu)

    def step() -> Tensor:
        loss = objective.loss_and_gradient()
        optimizer.step()
        return loss

    if not on_gpu:
        return step
    return _captured(step, network, optimizer)


def _captured(
    step: Callable[[], Tensor], network: nn.Module, optimizer: torch.optim.Optimizer
) -> Callable[[], Tensor]:
    """The step as one CUDA graph, from the weights and moments that it is given."""
    start = [p.detach().clone() for p in network.parameters()]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), start, strict=True):
            parameter.copy_(value)
        for state in optimizer.state.values():
            for entry in state.values():
                entry.zero_()

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay


def _peer_step(case: Case, dde: Any, network: MLP, points: Tensor) -> Callable[[], Tensor]:
    sizes = [case.dim, *([WIDTH] * DEPTH), 1]
    peer = dde.nn.FNN(sizes, "tanh", "Glorot normal").to(points.device)
    with torch.no_grad():
        for target, source in zip(peer.parameters(), network.parameters(), strict=True):
            target.copy_(source)
    optimizer = torch.optim.Adam(peer.parameters(), lr=1e-3)

    def step() -> Tensor:
        dde.grad.clear()
        x = points.detach().requires_grad_(True)
        loss = case.peer(dde, x, peer(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _seconds(step: Callable[[], Tensor], device: torch.device) -> float:
    start = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _matrix_floor(case: Case, network: MLP, device: torch.device) -> tuple[float, float]:
    """FLOPs of the matrix products of a step, and the seconds that these products alone take."""
    streams = len(case.residual().streams)
    size = chunk_size(streams, WIDTH, torch.empty(0, dtype=case.dtype).element_size(), device)
    rows = streams * min(size or case.points, case.points)
    left = torch.randn(rows, WIDTH, dtype=case.dtype, device=device)
    right = torch.randn(WIDTH, WIDTH, dtype=case.dtype, device=device)
    out = torch.empty_like(left)
    times = []
    for _ in range(30):
        times.append(_seconds(lambda: torch.mm(left, right, out=out), device))
    rate = 2.0 * rows * WIDTH * WIDTH / statistics.median(times)
    flops = 0.0
    matrices = [p for p in network.parameters() if p.dim() == 2]
    for i, weight in enumerate(matrices):
        products = 2 if i == 0 else 3  # the first layer needs no adjoint of its input
        flops += products * 2.0 * streams * case.points * weight.numel()
    return flops, flops / rate


def run_case(case: Case, device: torch.device, repeats: int = REPEATS) -> dict[str, Any]:
    """One case: losses of the first step, median seconds of each package, their ratio."""
    xs = sp.symbols(f"x1:{case.dim + 1}", real=True)
    generator = engine.generator(0)
    points = Box(xs, [0.0] * case.dim, [1.0] * case.dim).sample(case.points, generator)
    points = points.to(device=device, dtype=case.dtype)
    with deepxde(case.dtype, torch.device("cpu")) as dde:
        network = MLP(
            case.dim, 1, depth=DEPTH, width=WIDTH, generator=generator, dtype=case.dtype
        ).to(device)
        peer = _peer_step(case, dde, network, points)
        ours = _our_step(case, network, points)
        losses = float(ours()), float(peer())
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(repeats):
            times[0].append(_seconds(ours, device))
            times[1].append(_seconds(peer, device))
        version = dde.__version__
    flops, floor = _matrix_floor(case, network, device)
    mine, theirs = (statistics.median(series) for series in times)
    return {
        "case": case.name,
        "points": case.points,
        "network": f"{DEPTH}x{WIDTH} tanh",
        "streams": len(case.residual().streams),
        "loss_pdeml": losses[0],
        "loss_deepxde": losses[1],
        "loss_difference": abs(losses[0] - losses[1]) / abs(losses[1]),
        "pdeml_ms": 1e3 * mine,
        "deepxde_ms": 1e3 * theirs,
        "ratio": theirs / mine,
        "goal": case.goal,
        "matrix_gflop": flops / 1e9,
        "matrix_floor_ms": 1e3 * floor,
        "fraction_of_floor": floor / mine,
        "deepxde": version,
    }


def run(progress: bool = False, threads: int = 1) -> dict[str, Any]:
    """All cases on one CPU thread, and on CUDA where there is one."""
    before = torch.get_num_threads()
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda"))
    results = []
    torch.set_num_threads(threads)
    try:
        with ProgressBar("bench pinn-step", progress) as bar:
            for i, (device, case) in enumerate((d, c) for d in devices for c in CASES):
                bar.update(i / (len(devices) * len(CASES)), {"case": case.name})
                results.append({"device": str(device), **run_case(case, device)})
        machine = describe_machine()
    finally:
        torch.set_num_threads(before)
    return {
        "suite": "pinn-step",
        "command": "pdeml bench pinn-step --json",
        "repeats": REPEATS,
        "machine": machine,
        "cases": results,
    }


def table(result: dict[str, Any]) -> Any:
    """The result as a rich table."""
    from rich.table import Table

    out = Table(title="One step (loss, gradient, Adam), 4×64 tanh, median of interleaved steps")
    for name in (
        "case",
        "device",
        "streams",
        "DeepXDE ms",
        "pdeml ms",
        "ratio",
        "goal",
        "loss difference",
        "of matrix floor",
    ):
        out.add_column(name, justify="left" if name in ("case", "device") else "right")
    for c in result["cases"]:
        out.add_row(
            c["case"],
            c["device"],
            str(c["streams"]),
            f"{c['deepxde_ms']:.1f}",
            f"{c['pdeml_ms']:.1f}",
            f"{c['ratio']:.2f}",
            f"{c['goal']:.1f}",
            f"{c['loss_difference']:.0e}",
            f"{c['fraction_of_floor']:.0%}",
        )
    return out
