"""Time of loss and gradient of Gaussians: closed-form streams against nested autograd.

Helmholtz' operator on 4 channels of 400 Gaussians at 1000 points, as the published code computes it
(a dense array of all pairs, differentiated twice by autograd) and by `GaussianPass`. Weights and
points are the same; steps are interleaved, and the ratio is that of the medians.

References
----------
pig.md §2.2 and §5.6.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from pdeml import engine
from pdeml.bench.machine import describe_machine
from pdeml.nn.gaussians import GaussianField
from pdeml.operators.residual import Residual
from pdeml.progress import ProgressBar
from pdeml.solvers.objective import Objective, Term, Trial

GAUSSIANS, CHANNELS, POINTS = 400, 4, 1000
REPEATS = 5
GOAL = 3.5


def _closed_form(field: GaussianField, points: Tensor) -> Callable[[], tuple[float, list[Tensor]]]:
    x, y = sp.symbols("x y", real=True)
    u = sp.Function("u")(x, y)
    residual = Residual([u.diff(x, 2) + u.diff(y, 2) + u], [u], [x, y])
    objective = Objective(Trial(field), [Term("equation", residual, Trial(field), points)])

    def step() -> tuple[float, list[Tensor]]:
        loss = float(objective.loss_and_gradient())
        return loss, [p.grad.clone() for p in objective.parameters if p.grad is not None]

    return step


def _nested(field: GaussianField, points: Tensor) -> Callable[[], tuple[float, list[Tensor]]]:
    parameters = [p for p in field.parameters() if p.requires_grad]

    def step() -> tuple[float, list[Tensor]]:
        at = points.detach().requires_grad_(True)
        u = field(at)
        (slope,) = torch.autograd.grad(u.sum(), at, create_graph=True)
        residual = u[:, 0]
        for j in (0, 1):
            (bend,) = torch.autograd.grad(slope[:, j].sum(), at, create_graph=True)
            residual = residual + bend[:, j]
        loss = residual.square().mean()
        return float(loss.detach()), list(torch.autograd.grad(loss, parameters, allow_unused=True))

    return step


def run_case(
    covariance: str, dtype: torch.dtype, repeats: int = REPEATS, n: int = GAUSSIANS
) -> dict[str, Any]:
    """One case: how far the gradients differ, milliseconds of each side, and their ratio."""
    generator = engine.generator(0)
    field = GaussianField(
        2,
        1,
        n,
        channels=CHANNELS,
        box=[(-1, 1), (-1, 1)],
        covariance=covariance,
        sigma=0.1,
        generator=generator,
        dtype=dtype,
    )
    points = (2.0 * torch.rand((POINTS, 2), generator=generator, dtype=torch.float64) - 1.0).to(
        dtype
    )
    with torch.no_grad():  # equal widths would hide the rotation
        field.widths.add_(0.3 * torch.rand(field.widths.shape, generator=generator).to(dtype))
    sides = {"closed form": _closed_form(field, points), "nested": _nested(field, points)}
    (ours, mine), (theirs, other) = (step() for step in sides.values())
    gap = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(mine, other, strict=True))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, step in sides.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    fast, slow = (statistics.median(times[name]) for name in sides)
    return {
        "case": f"{covariance} {str(dtype).removeprefix('torch.')}",
        "gaussians": n,
        "channels": CHANNELS,
        "points": POINTS,
        "loss_difference": abs(ours - theirs) / abs(theirs),
        "gradient_difference": gap,
        "closed_form_ms": 1e3 * fast,
        "nested_ms": 1e3 * slow,
        "ratio": slow / fast,
        "best_ratio": min(times["nested"]) / min(times["closed form"]),
        "goal": GOAL,
    }


def run(progress: bool = False, threads: int = 1) -> dict[str, Any]:
    """Both covariances in both precisions, on one CPU thread."""
    before = torch.get_num_threads()
    cases = [(c, d) for c in ("diagonal", "full") for d in (torch.float32, torch.float64)]
    results = []
    torch.set_num_threads(threads)
    try:
        with ProgressBar("bench pig-step", progress) as bar:
            for i, (covariance, dtype) in enumerate(cases):
                bar.update(i / len(cases), {"case": covariance})
                results.append(run_case(covariance, dtype))
        machine = describe_machine()
    finally:
        torch.set_num_threads(before)
    return {
        "suite": "pig-step",
        "command": "pdeml bench pig-step --json",
        "repeats": REPEATS,
        "machine": machine,
        "cases": results,
    }


def table(result: dict[str, Any]) -> Any:
    """The result as a rich table."""
    from rich.table import Table

    out = Table(title="Loss and gradient, 4 × 400 Gaussians, 1000 points, median of interleaved")
    for name in ("case", "nested ms", "closed form ms", "ratio", "goal", "gradient difference"):
        out.add_column(name, justify="left" if name == "case" else "right")
    for c in result["cases"]:
        out.add_row(
            c["case"],
            f"{c['nested_ms']:.1f}",
            f"{c['closed_form_ms']:.1f}",
            f"{c['ratio']:.2f}",
            f"{c['goal']:.1f}",
            f"{c['gradient_difference']:.0e}",
        )
    return out
