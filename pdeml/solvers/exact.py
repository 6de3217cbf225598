"""The closed form of a problem as a solution: the reference of all others."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.errors import UnsupportedProblem
from pdeml.operators.expressions import Program
from pdeml.solvers.report import Report
from pdeml.solvers.solution import Solution


class ExactField(nn.Module):
    """The declared closed form, (N, d) → (N, m); works on jets where its functions do.

    Parameters
    ----------
    problem : a `pdeml.PDE` with ``exact``.
    device : where values are computed.
    """

    def __init__(self, problem: Any, device: torch.device | str = "cpu"):
        super().__init__()
        self.coordinates = tuple(problem.coordinates)
        self.values = tuple(problem.values.values())
        self.program = Program(
            [problem.exact[f] for f in problem.fields], [*self.coordinates, *problem.values]
        )
        self.register_buffer("anchor", torch.zeros((), dtype=torch.float64, device=device), False)

    def forward(self, points: Tensor) -> Tensor:
        columns = [points[:, i : i + 1] for i in range(len(self.coordinates))]
        outputs = self.program(*columns, *self.values)
        # a constant takes the shape of the points
        return torch.cat([o + 0 * columns[0] for o in outputs], dim=-1)


def can_solve(problem: Any) -> str | None:
    """Why the problem has no exact solution here, or None where it has one."""
    unknown = [p.name for p in problem.parameters if problem.values.get(p) is None]
    unknown += [p.name for p in problem.unknowns if p.name not in unknown]
    if unknown:
        return (
            f"the parameter {unknown[0]!r} of {problem.name!r} is unknown. Give it a value with "
            f'with_parameters({unknown[0]}=…), or use "pinn".'
        )
    if problem.exact is None:
        return f'{problem.name!r} declares no closed form (exact=). Use "spectral" or "pinn".'
    missing = [str(f) for f in problem.fields if f not in problem.exact]
    if missing:
        return f'{problem.name!r} declares no closed form for {", ".join(missing)}. Use "pinn".'
    return None


def solve(
    problem: Any,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
) -> Solution:
    """The declared closed form, with the values of the parameters.

    Parameters
    ----------
    problem : a `pdeml.PDE` with ``exact``.
    device, dtype : of the values (default float64 on the CPU).

    Raises
    ------
    UnsupportedProblem
        No closed form is declared, or a parameter has no value.
    """
    reason = can_solve(problem)
    if reason is not None:
        raise UnsupportedProblem(f'"exact": {reason}')
    begin = time.perf_counter()
    target, kind = engine.resolve_device(device), engine.resolve_dtype(dtype)
    field = ExactField(problem, target)
    report = Report(
        method="exact",
        converged=True,
        dtype=str(kind).removeprefix("torch."),
        device=str(target),
        engine="closed form",
        wall_time=time.perf_counter() - begin,
        reference=None,
    )
    options = {"device": str(target), "dtype": report.dtype}
    return Solution(problem, "exact", field, config={}, report=report, options=options)


def field_from_config(problem: Any, config: Mapping[str, Any]) -> nn.Module:
    """The field of a saved solution: the closed form is in the problem itself."""
    reason = can_solve(problem)
    if reason is not None:
        raise UnsupportedProblem(f'"exact": {reason}')
    return ExactField(problem)
