"""How an objective is minimised: which optimizer, how long, on which points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from pdeml.domains import METHODS
from pdeml.errors import InvalidOption
from pdeml.optim import LBFGS, SOAP, LevenbergMarquardt, SSBroyden
from pdeml.solvers.balancing import TERM_SIZES

PATIENCE_WITHIN_TIME_LIMIT = 25
"""Cycles without progress that end a run which has a time limit."""

FIRST: dict[str, Any] = {"adam": torch.optim.Adam, "soap": SOAP}
"""Optimizers of the first stage; alone, they work in every dtype."""

WEIGHTINGS = ("fixed", *TERM_SIZES)
ATTENTIONS = ("rba", "causal")

OPTIMIZERS: dict[str, Any] = {
    "ssbroyden": SSBroyden,
    "lbfgs": LBFGS,
    "levenberg_marquardt": LevenbergMarquardt,
}


@dataclass(frozen=True)
class Schedule:
    """How an objective is minimised.

    Attributes
    ----------
    optimizer : after Adam: "ssbroyden", "lbfgs", "levenberg_marquardt" or None.
    first : "adam" or "soap", of the first stage.
    adam_steps, adam_rate, adam_betas : of the first stage.
    warmup : steps in which its rate grows to `adam_rate`.
    decay, decay_steps : the rate falls by `decay` every `decay_steps` steps, continuously.
    redraw : steps of the first stage on one set of points; None for `cycle`.
    cycle : iterations on one set of points, and between validations.
    weighting : of the loss terms, every `cycle`: "fixed", "grad_norm" or "ntk".
    attention : factors of the squared residuals of the equations: None, "rba" or "causal".
    causal_tolerance, time_slices : ε and M of the causal gates.
    sampled : terms of every merged operator that are drawn at each step; None for all.
    pseudo_time : hold each step of the first stage near the solution before it.
    sampling : "rad", or a method of `Domain.sample`.
    max_iterations : in all; None means until the time limit.
    patience : cycles without a 5 % smaller validation loss after which the run ends.
    """

    optimizer: str | None = "ssbroyden"
    adam_steps: int = 1000
    adam_rate: float = 5e-3
    adam_betas: tuple[float, float] = (0.99, 0.999)
    first: str = "adam"
    warmup: int = 0
    decay: float = 1.0
    decay_steps: int = 2000
    redraw: int | None = None
    cycle: int = 500
    weighting: str = "fixed"
    attention: str | None = None
    causal_tolerance: float = 1.0
    time_slices: int = 32
    sampled: int | None = None
    pseudo_time: bool = False
    sampling: str = "rad"
    max_iterations: int | None = 10_000
    patience: int = 3

    def rate(self, step: int) -> float:
        """Step size of the first stage."""
        grown = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.adam_rate * grown * self.decay ** (step / self.decay_steps)


def adapted_schedule(base: Schedule, **changes: Any) -> Schedule:
    """A schedule with options of the user in place of its own; None keeps what there is.

    Raises
    ------
    InvalidOption
        For a value out of range, by name.
    """
    optimizer, time_limit = changes.pop("optimizer"), changes.pop("time_limit")
    if time_limit is not None and not (isinstance(time_limit, int | float) and time_limit > 0):
        raise InvalidOption(f"time_limit={time_limit!r}; give a positive number of seconds.")
    for name, least in (("max_iterations", 1), ("cycle", 1), ("patience", 1), ("adam_steps", 0)):
        value = changes[name]
        if value is not None and (not isinstance(value, int) or value < least):
            raise InvalidOption(f"{name}={value!r}; give an integer of at least {least}.")
    if changes["sampling"] not in (None, "rad", *METHODS):
        raise InvalidOption(
            f"sampling={changes['sampling']!r}; accepted are rad, {', '.join(METHODS)}."
        )
    for name, accepted in (("weighting", WEIGHTINGS), ("attention", ATTENTIONS)):
        if changes.get(name) is not None and changes[name] not in accepted:
            raise InvalidOption(f"{name}={changes[name]!r}; accepted are {', '.join(accepted)}.")
    tolerance = changes.get("causal_tolerance")
    if tolerance is not None and not (isinstance(tolerance, int | float) and tolerance > 0):
        raise InvalidOption(f"causal_tolerance={tolerance!r}; give a positive number.")
    given = {name: value for name, value in changes.items() if value is not None}
    if time_limit is not None:
        # time that was granted is used: the error still falls in cycles that gain less than 5 %
        given = {"max_iterations": None, "patience": PATIENCE_WITHIN_TIME_LIMIT, **given}
    if optimizer in FIRST:
        given |= {"optimizer": None, "first": optimizer}
    elif optimizer is not None:
        if optimizer not in OPTIMIZERS:
            raise InvalidOption(
                f"optimizer={optimizer!r}; accepted are {', '.join([*FIRST, *OPTIMIZERS])}."
            )
        given["optimizer"] = optimizer
    schedule = replace(base, **given)
    if schedule.sampled is not None:
        return _checked_sampled(schedule, optimizer)
    if schedule.pseudo_time:
        if optimizer not in (None, *FIRST) and not schedule.adam_steps:
            raise InvalidOption(
                f"pseudo_time=True holds the steps of 'adam' or 'soap', but optimizer={optimizer!r}"
                " takes all of them; give adam_steps=, or another optimizer."
            )
        return replace(schedule, redraw=1)
    return schedule


def _checked_sampled(schedule: Schedule, optimizer: str | None) -> Schedule:
    """First-order steps on points and directions that are drawn anew each time."""
    count = schedule.sampled
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise InvalidOption(f"sampled={count!r}; give a positive number of terms.")
    fitting = {
        "optimizer": (optimizer, optimizer in (None, *FIRST), "'adam' or 'soap'"),
        "weighting": (schedule.weighting, schedule.weighting != "ntk", "'fixed' or 'grad_norm'"),
        "attention": (schedule.attention, schedule.attention is None, "None"),
        "pseudo_time": (schedule.pseudo_time, not schedule.pseudo_time, "False"),
    }
    for name, (value, fits, accepted) in fitting.items():
        if not fits:
            raise InvalidOption(
                f"sampled= draws another part of the operator at every step, which {name}={value!r}"
                f" cannot follow; accepted is {accepted}."
            )
    return replace(schedule, optimizer=None, redraw=1)
