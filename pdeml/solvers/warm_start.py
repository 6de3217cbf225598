"""The initial value as the first guess for all times, in the last layer of a network.

    minimise over W:  Σ_i |B(x_i, t_i) W φ(x_i, t_i) + g(x_i, t_i) − u0(x_i)|²

References
----------
Wang, Li, Chen, Perdikaris (2024), J. Mach. Learn. Res. 25, §4.2 (physics-informed initialisation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pdeml.nn.networks import PirateNet
from pdeml.operators.expressions import evaluate
from pdeml.operators.pde import PDE, Initial
from pdeml.solvers.constraints import Constraints, time_of
from pdeml.solvers.objective import Trial

POINTS_PER_FEATURE = 8


def start_from_initial_value(
    trial: Trial,
    problem: PDE,
    built: Constraints,
    initial: Callable[[Tensor], Tensor] | Any,
    generator: torch.Generator,
) -> None:
    """Fit the last layer of a PirateNet, in place, for fields whose initial value is a loss term.

    Parameters
    ----------
    built : tells which initial values are loss terms.
    initial : a function (n, d) -> (n, fields) that replaces the declared values; else ignored.
    generator : of the points.
    """
    network = trial.network
    starts = {c.field: c.value for c in built.soft if isinstance(c, Initial) and c.order == 0}
    if not isinstance(network, PirateNet) or not starts:
        return
    weight = network.last.weight
    assert isinstance(weight, Tensor)
    count = POINTS_PER_FEATURE * weight.shape[1]
    points = problem.domain.sample(count, generator, "uniform")
    first = points.clone()
    first[:, -1] = time_of(problem).start
    at = points.to(weight)
    with torch.no_grad():
        if callable(initial):
            wanted = torch.as_tensor(initial(first)).reshape(count, -1)
        else:
            values = [starts.get(f, 0) for f in problem.fields]
            wanted = evaluate(values, problem.coordinates, first, problem.values)
        wanted = wanted.to(weight)
        if trial.base is not None:
            wanted = wanted - trial.base(at)
        features = network.hidden(trial.embedding(at))
        factor = torch.ones_like(wanted) if trial.factor is None else trial.factor(at)
        for k, field in enumerate(problem.fields):
            if field in starts:
                system = (factor[:, k : k + 1] * features).double()
                found = torch.linalg.lstsq(system, wanted[:, k : k + 1].double()).solution
                weight[k] = found[:, 0].to(weight)
