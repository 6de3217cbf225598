"""Strong Wolfe line search with cubic interpolation, safe at the round-off floor of the loss."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

EXPANSION = (2.0, 10.0)  # bounds on the growth of the step while no bracket is known
MARGIN = 0.1  # a new trial keeps this share of the bracket from both of its ends
SHRINKAGE = 0.66  # two trials that leave more of the bracket than this are followed by a bisection
BACKOFF = 0.25  # where to go between the best step and one with a NaN or infinite loss


@dataclass(frozen=True, eq=False)
class Trial:
    """The loss along a ray x + α p at one step length α.

    Attributes
    ----------
    step : α.
    value : φ(α) = f(x + α p).
    slope : φ′(α) = pᵀ∇f(x + α p).
    point : x + α p, shape (n,).
    gradient : ∇f(x + α p), shape (n,).
    """

    step: float
    value: float
    slope: float
    point: Tensor
    gradient: Tensor

    @property
    def finite(self) -> bool:
        return math.isfinite(self.value) and math.isfinite(self.slope)


@dataclass(frozen=True, eq=False)
class Search:
    """What a line search ended with.

    Attributes
    ----------
    trial : the accepted trial, None where no step lowers the loss.
    condition : ``"wolfe"``, ``"approximate"`` (Wolfe within the noise), ``"decrease"`` (the loss
        fell, but the curvature condition was not met in the evaluations allowed) or ``"failed"``.
    evaluations : number of trials.
    """

    trial: Trial | None
    condition: str
    evaluations: int


def strong_wolfe(
    evaluate: Callable[[float], Trial],
    start: Trial,
    first_step: float = 1.0,
    *,
    c1: float = 1e-4,
    c2: float = 0.9,
    noise: float = 1e-6,
    max_evaluations: int = 20,
) -> Search:
    """Find a step α along a descent direction that satisfies the strong Wolfe conditions

        φ(α) ≤ φ(0) + c1 α φ′(0),        |φ′(α)| ≤ c2 |φ′(0)|.

    The first trial is taken as it is when it satisfies them, which a quasi-Newton step does nearly
    always. Otherwise the bracket of Nocedal & Wright (algorithms 3.5 and 3.6, in one loop): grow
    the step until a minimum is bracketed, then take the minimum of the cubic through the ends,
    kept away from the ends, or their middle where the bracket shrinks too slowly. A trial with NaN
    or infinity bounds the step from above.

    Parameters
    ----------
    evaluate : step length -> trial.
    start : the trial at α = 0; its slope must be negative.
    first_step : first α.
    c1, c2 : constants of the two conditions, 0 < c1 < c2 < 1.
    noise : relative round-off in φ. Values that differ by less than noise · |φ(0)| are taken as
        equal: the bracket is then updated from the slopes alone, and a step with such a value is
        accepted when the curvature condition holds (the approximate Wolfe conditions, which slopes
        still decide when differences of φ have no correct digit left).
    max_evaluations : trials before the best step so far is taken.

    References
    ----------
    Nocedal, Wright (2006), Numerical Optimization, §3.5.
    Hager, Zhang (2005), SIAM J. Optim. 16, 170–192, eq. (4.1) and §4.
    """
    tolerance = noise * abs(start.value)
    low, high = start, None
    step, width_before, width = first_step, math.inf, math.inf
    for evaluation in range(1, max_evaluations + 1):
        trial = evaluate(step)
        flat = trial.finite and abs(trial.slope) <= c2 * abs(start.slope)
        decrease = trial.value <= start.value + c1 * step * start.slope
        if flat and decrease:
            return Search(trial, "wolfe", evaluation)
        if flat and abs(trial.value - start.value) <= tolerance:
            return Search(trial, "approximate", evaluation)

        ahead = 1.0 if high is None else math.copysign(1.0, high.step - low.step)
        too_high = not (trial.finite and decrease and trial.value < low.value)
        if too_high and trial.finite and trial.value <= min(start.value, low.value) + tolerance:
            too_high = trial.slope * ahead > 0.0  # drowned in round-off: the slope decides
        if too_high:
            high = trial
        else:
            if trial.slope * ahead >= 0.0:
                high = low
            low, previous = trial, low

        if high is None:
            growth = _cubic_minimum(previous, low, tolerance) / low.step
            if not growth > 1.0:  # φ is concave so far
                growth = EXPANSION[1]
            step = low.step * min(EXPANSION[1], max(EXPANSION[0], growth))
            continue
        width_before, width = width, abs(high.step - low.step)
        if not high.finite:
            step = low.step + BACKOFF * (high.step - low.step)
        elif width > SHRINKAGE * width_before:
            step = 0.5 * (low.step + high.step)
        else:
            step = _cubic_minimum(low, high, tolerance)
            left, right = sorted((low.step, high.step))
            step = min(right - MARGIN * width, max(left + MARGIN * width, step))
    if low.value < start.value:
        return Search(low, "decrease", max_evaluations)
    return Search(None, "failed", max_evaluations)


def _cubic_minimum(a: Trial, b: Trial, tolerance: float) -> float:
    """Minimum of the cubic with the values and slopes of a and b (Nocedal & Wright, eq. 3.59).

    Where the values differ by no more than the tolerance: zero of the secant of the slopes. Without
    a minimum the result lies far beyond b, and the caller's bounds decide.
    """
    if abs(a.value - b.value) <= tolerance:
        bend = b.slope - a.slope
        ratio = b.slope / bend if bend != 0.0 else -math.inf
    else:
        d1 = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.step - b.step)
        d2 = math.sqrt(max(d1 * d1 - a.slope * b.slope, 0.0))
        d2 = math.copysign(d2, b.step - a.step)
        bend = b.slope - a.slope + 2.0 * d2
        ratio = (b.slope + d2 - d1) / bend if bend != 0.0 else -math.inf
    return b.step - (b.step - a.step) * ratio
