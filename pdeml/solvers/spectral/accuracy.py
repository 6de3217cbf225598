"""How the error of a scheme depends on its step, and which step a tolerance needs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeml.errors import DivergedError, InvalidOption
from pdeml.solvers.options import checked_step
from pdeml.solvers.spectral.stepper import Stepper

if TYPE_CHECKING:
    import matplotlib.figure

REFERENCE_STEPS = 8  # the reference takes so many steps where the finest run takes one
STABLE = 2.0  # h times the rate of N; fourth-order schemes stay stable up to about 2.8


@dataclass(frozen=True)
class Convergence:
    """Relative L2 errors at the end, by step size.

    Attributes
    ----------
    scheme : its name.
    steps : step sizes, decreasing.
    errors : relative L2 difference to the reference, infinite where a run diverged.
    orders : log(e_i / e_{i+1}) / log(h_i / h_{i+1}), one fewer.
    """

    scheme: str
    steps: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def orders(self) -> tuple[float, ...]:
        pairs = zip(itertools.pairwise(self.errors), itertools.pairwise(self.steps), strict=True)
        return tuple(
            math.log(a / b) / math.log(h / k) if 0 < b <= a < math.inf else math.nan
            for (a, b), (h, k) in pairs
        )

    def __str__(self) -> str:
        lines = [f"{self.scheme:>12}  relative error   order"]
        for h, error, order in zip(self.steps, self.errors, ("", *self.orders), strict=True):
            shown = order if isinstance(order, str) else f"{order:8.2f}"
            lines.append(f"{h:12.4g}  {error:14.3e}{shown}")
        return "\n".join(lines)

    def plot(self) -> matplotlib.figure.Figure:
        """Error over step size, with a line of the scheme's order."""
        from matplotlib.figure import Figure

        from pdeml.solvers.spectral.schemes import find_scheme

        order = find_scheme(self.scheme).order
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = figure.subplots()
        axes.loglog(self.steps, self.errors, "o-", label=self.scheme)
        last = self.errors[-1]
        slope = [last * (h / self.steps[-1]) ** order for h in self.steps]
        axes.loglog(self.steps, slope, "k:", label=f"order {order}")
        axes.set_xlabel("step size")
        axes.set_ylabel("relative L2 error")
        axes.grid(alpha=0.3)
        axes.legend()
        return figure


def convergence(
    problem: Any,
    initial: Tensor,
    dts: Sequence[float],
    *,
    end: float | None = None,
    scheme: str = "etdrk4",
    reference: Tensor | None = None,
    **options: Any,
) -> Convergence:
    """Measure the order of a scheme on a problem.

    Parameters
    ----------
    problem : a `pdeml.PDE` on a periodic box.
    initial : (B, C, *n) on the grid of all runs.
    dts : step sizes; each is shortened to divide the time interval.
    end : the last time; that of the declaration by default.
    reference : values at the end; by default those of ETDRK4 with an eighth of the finest step.
    **options : of `Stepper`.

    Raises
    ------
    InvalidOption
        No step size, or one that is not positive.
    """
    if not dts:
        raise InvalidOption("dts is empty; give the step sizes to compare.")
    clock = problem.domain.time
    span = (clock.end if end is None else end) - clock.start
    counts = sorted({max(1, round(span / checked_step(h))) for h in dts})

    def final(name: str, count: int) -> Tensor:
        step = Stepper(problem, initial.shape[2:], span / count, scheme=name, **options)
        return step.rollout(initial, count, every=count)[:, 0]

    if reference is None:
        reference = final("etdrk4", REFERENCE_STEPS * counts[-1])
    errors = []
    for count in counts:
        try:
            gap = (final(scheme, count) - reference).norm() / reference.norm()
            errors.append(gap.item())
        except DivergedError:
            errors.append(math.inf)
    return Convergence(scheme, tuple(span / n for n in counts), tuple(errors))


def suggest_dt(
    problem: Any,
    initial: Tensor,
    *,
    tol: float = 1e-6,
    scheme: str = "etdrk4",
    parameters: Mapping[Any, float | Tensor] | None = None,
    **options: Any,
) -> float:
    """A step size with an error of about `tol` at the end of the declared time interval.

    Parameters
    ----------
    problem : a `pdeml.PDE` on a periodic box.
    initial : (B, C, *n) on the grid of the run.
    tol : relative error at the end, if local errors add up and the solution stays as it starts.
    **options : of `Stepper`.

    Notes
    -----
    Two steps of h against one of 2h give the local error, which is ~h^{p+1}. The step is not longer
    than 2 / (max |u| k_max) where N has a first derivative outside or inside (transport), for
    stability.
    """
    clock = problem.domain.time
    span = clock.end - clock.start
    shape = initial.shape[2:]
    h = span / 100
    for _ in range(4):
        fine = Stepper(problem, shape, h, scheme=scheme, parameters=parameters, **options)
        coarse = Stepper(problem, shape, 2 * h, scheme=scheme, parameters=parameters, **options)
        order = fine.scheme.order
        with torch.no_grad():
            modes = fine.transform(initial)
            h_stable = STABLE / max(_rate(fine, modes), 1e-300)
            twice, once = fine.hat(fine.hat(modes)), coarse.hat(modes)
            local = ((twice - once).norm() / twice.norm().clamp(min=1e-300)).item()
        if not math.isfinite(local):
            h = min(h / 4, h_stable)
            continue
        per_unit = local / (2**order - 1) / (2 * h) * span
        factor = (tol / max(per_unit, 1e-300)) ** (1 / order)
        h = min(h * min(max(factor, 0.1), 10.0), h_stable, span)
        if 0.8 < factor < 1.25 or h == h_stable:
            break
    return h


def _rate(step: Stepper, modes: Tensor) -> float:
    """max |u| k_max of transport terms, 0 without any."""
    split, grid = step.split, step.system.grid
    orders = [sum(i) for terms in split.outer.values() for i in terms]
    orders += [sum(u.index) for u in split.unknowns.values()]
    if max(orders, default=0) == 0:
        return 0.0
    speed = grid.inverse(modes).abs().amax().item()
    highest = max(
        2 * math.pi / length * k.abs().max().item()
        for length, k in zip(grid.lengths, grid.numbers, strict=True)
    )
    return speed * highest
