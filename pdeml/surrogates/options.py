"""Options of a training run that decide its result; they are saved with it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pdeml.errors import InvalidFile, InvalidOption
from pdeml.surrogates.losses import LOSSES
from pdeml.surrogates.normalisation import KINDS
from pdeml.surrogates.schedules import SCHEDULES, kind_named

MODES = ("one_step", "unroll", "pushforward", "recurrent")
PRECISIONS = ("float32", "float64", "bf16")
OPTIMIZERS = ("adamw", "adam", "sgd")
ANY_RESUME = ("accumulate",)
"""Options that may change from one part of a run to the next: they change rounding alone."""


@dataclass(frozen=True)
class Options:
    """What is minimised, over what, and how.

    Attributes
    ----------
    loss : a name of `pdeml.surrogates.losses.LOSSES`.
    mode : ``"one_step"``; ``"unroll"`` (mean loss of `steps` steps on the model's own predictions,
        gradients through all); ``"pushforward"`` (loss of the last of `steps`, gradient through it
        alone, so that it learns from its own errors); ``"recurrent"`` (sum of the losses of
        `steps`, of all frames where it is 0, gradients through all, as FNO-2D).
    steps : of a training window.
    history : frames that go in.
    stride : frames of the data per step.
    delta : the model gives the change over a step.
    noise : deviation of Gaussian noise on the inputs, in units of that of the data.
    parameters : names of parameters of the data that the model is told.
    inputs, targets : channels of a map without time, a(x) → u(x); all channels in time by default.
    normalise : ``"channel"``, ``"scalar"`` or ``"none"``.
    optimizer : ``"adamw"``, ``"adam"`` or ``"sgd"`` (momentum 0.9).
    lr, weight_decay : of it.
    schedule, schedule_options : see `pdeml.surrogates.schedules.SCHEDULES`.
    epochs : passes over the windows.
    batch : windows per step, over all processes.
    accumulate : pieces that a batch is split into to save memory; the result is the same.
    clip : largest norm of the gradient.
    ema : decay of an average of the weights, which is then validated and saved.
    precision : ``"float32"``, ``"float64"``, or ``"bf16"`` (autocast; Fourier layers, losses and
        normalisation in float32).
    seed : of weights, order and noise.
    patience, min_delta : stop after so many epochs without an improvement of the validation error
        by more than this part of it.
    """

    loss: str = "rel_l2"
    mode: str = "one_step"
    steps: int = 1
    history: int = 1
    stride: int = 1
    delta: bool = False
    noise: float = 0.0
    parameters: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    normalise: str = "channel"
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "onecycle"
    schedule_options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 50
    batch: int = 32
    accumulate: int = 1
    clip: float | None = None
    ema: float | None = None
    precision: str = "float32"
    seed: int = 0
    patience: int | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        for name in ("parameters", "inputs", "targets"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        for name, accepted in (
            *(("loss", LOSSES), ("mode", MODES), ("normalise", KINDS), ("schedule", SCHEDULES)),
            *(("optimizer", OPTIMIZERS), ("precision", PRECISIONS)),
        ):
            if getattr(self, name) not in accepted:
                raise InvalidOption(
                    f"{name}={getattr(self, name)!r}: give one of {', '.join(accepted)}."
                )
        for name, least in (
            *(("steps", 0), ("history", 1), ("stride", 1), ("epochs", 1), ("batch", 1)),
            *(("accumulate", 1), ("seed", 0), ("patience", 1)),
        ):
            self._refuse_unless_integer(name, least)
        for name, low, high in (
            *(("noise", 0.0, math.inf), ("lr", 0.0, math.inf), ("weight_decay", 0.0, math.inf)),
            *(("clip", 0.0, math.inf), ("ema", 0.0, 1.0), ("min_delta", 0.0, 1.0)),
        ):
            self._refuse_unless_between(name, low, high)
        if self.mode == "one_step" and self.steps != 1:
            raise InvalidOption(
                f"steps={self.steps} with mode='one_step': give mode='unroll', 'pushforward' or "
                "'recurrent', or steps=1."
            )
        if self.mode in ("unroll", "pushforward") and self.steps < 2:
            raise InvalidOption(f"mode={self.mode!r} needs steps of at least 2, not {self.steps}.")
        if self.inputs and self.mode != "one_step":
            raise InvalidOption(f"inputs= is a map without time: mode={self.mode!r} is not for it.")

    def _refuse_unless_integer(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if value is None and name == "patience":
            return
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidOption(f"{name}={value!r}: give an integer of at least {least}.")

    def _refuse_unless_between(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if value is None and name in ("clip", "ema"):
            return
        real = isinstance(value, int | float) and not isinstance(value, bool)
        zero = name in ("noise", "weight_decay", "min_delta", "ema")  # the others must not vanish
        if not real or not (low < value < high or (zero and value == low)):
            raise InvalidOption(f"{name}={value!r}: give a number between {low:g} and {high:g}.")

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        data = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in data.items()}


def options_of(given: Mapping[str, Any]) -> Options:
    """Options from keywords.

    Raises
    ------
    InvalidOption
        An unknown name, or a value that is not accepted.
    """
    known = [f.name for f in dataclasses.fields(Options)]
    for name in given:
        if name not in known:
            raise InvalidOption(f"training has no option {name!r}; it has {', '.join(known)}.")
    return Options(**given)


def resumed(saved: Mapping[str, Any], given: Mapping[str, Any], where: str) -> Options:
    """The options of a run that continues: those saved, if those given agree.

    More epochs are accepted where the schedule does not depend on their number.

    Raises
    ------
    InvalidFile
        An option differs; it is named with both values.
    """
    asked = options_of(given).to_dict()
    merged = dict(saved)
    for name in given:
        if asked[name] == saved.get(name) or name in ANY_RESUME:
            merged[name] = asked[name]
            continue
        prolonged = name == "epochs" and asked[name] > saved[name]
        if prolonged and not kind_named(saved["schedule"]).fixed_length:
            merged[name] = asked[name]
            continue
        told = (
            f" The schedule {saved['schedule']!r} is laid out for its epochs." if prolonged else ""
        )
        raise InvalidFile(
            f"{name}={asked[name]!r} is given, but {where} was started with "
            f"{saved.get(name)!r}.{told} Leave it out to resume, or train anew in another folder."
        )
    return options_of(merged)
