"""Learning rates over a run, by name; all are torch's and are saved with a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from pdeml.errors import InvalidOption


@dataclass(frozen=True)
class Kind:
    """A schedule: how it is built from (optimizer, lr, steps, epochs, **options), when it moves.

    Attributes
    ----------
    per_step : it moves at every step, else after every epoch.
    measured : it moves by the validation error.
    fixed_length : it needs the number of steps in advance, so that a run cannot be prolonged.
    """

    build: Callable[..., Any]
    per_step: bool = False
    measured: bool = False
    fixed_length: bool = False


def _one_cycle(optimizer: Optimizer, lr: float, steps: int, warmup: float = 0.3) -> Any:
    return lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2), pct_start=warmup)


def _cosine(optimizer: Optimizer, lr: float, steps: int, final: float = 0.0) -> Any:
    return lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1), eta_min=final * lr)


def _step(optimizer: Optimizer, lr: float, steps: int, every: int = 50, factor: float = 0.5) -> Any:
    return lr_scheduler.StepLR(optimizer, every, factor)


def _plateau(
    optimizer: Optimizer, lr: float, steps: int, patience: int = 5, factor: float = 0.5
) -> Any:
    return lr_scheduler.ReduceLROnPlateau(optimizer, patience=patience, factor=factor)


def _constant(optimizer: Optimizer, lr: float, steps: int) -> Any:
    return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)


SCHEDULES = {
    "onecycle": Kind(_one_cycle, per_step=True, fixed_length=True),
    "cosine": Kind(_cosine, per_step=True, fixed_length=True),
    "step": Kind(_step),
    "plateau": Kind(_plateau, measured=True),
    "constant": Kind(_constant),
}
"""``onecycle`` (warmup=0.3, part of the run), ``cosine`` (final=0, of lr), ``step`` (every=50
epochs, factor=0.5), ``plateau`` (patience=5 epochs, factor=0.5), ``constant``."""


class Schedule:
    """A learning-rate schedule that is told of every step and every epoch.

    Parameters
    ----------
    name : of `SCHEDULES`.
    optimizer, lr : whose rate, and its largest value.
    steps : of the whole run.
    options : of the schedule.

    Raises
    ------
    InvalidOption
        An unknown name or option.
    """

    def __init__(
        self, name: str, optimizer: Optimizer, lr: float, steps: int, options: Mapping[str, Any]
    ):
        self._kind = kind_named(name)
        try:
            self._torch = self._kind.build(optimizer, lr, steps, **options)
        except (TypeError, ValueError) as error:
            raise InvalidOption(
                f"schedule={name!r} does not accept {dict(options)!r}: {error}."
            ) from error

    def after_step(self) -> None:
        if self._kind.per_step:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the first batch of a run may have been skipped
                self._torch.step()

    def after_epoch(self, measure: float) -> None:
        """`measure` is the validation error, or the training loss where there is none."""
        if self._kind.measured:
            self._torch.step(measure)
        elif not self._kind.per_step:
            self._torch.step()

    def state_dict(self) -> dict[str, Any]:
        return self._torch.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._torch.load_state_dict(state)


def kind_named(name: str) -> Kind:
    """The schedule of a name.

    Raises
    ------
    InvalidOption
        There is none; those that there are are listed.
    """
    if name not in SCHEDULES:
        raise InvalidOption(f"schedule={name!r}: give one of {', '.join(SCHEDULES)}.")
    return SCHEDULES[name]
