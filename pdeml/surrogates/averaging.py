"""Exponential moving average of weights: e ← d e + (1 − d) w after every step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Average:
    """The moving average of a model's parameters and buffers.

    Parameters
    ----------
    model : whose.
    decay : d; the first steps use min(d, (1 + n)/(10 + n)) so that the start is forgotten.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.values = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step; integer buffers (counts) are copied."""
        self.steps += 1
        rate = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in model.state_dict().items():
            if value.is_floating_point() or value.is_complex():
                self.values[name].lerp_(value, rate)
            else:
                self.values[name].copy_(value)

    @contextlib.contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model has the averaged weights."""
        own = {k: v.detach().clone() for k, v in model.state_dict().items()}
        model.load_state_dict(self.values)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def state_dict(self) -> dict[str, Tensor | int]:
        return {"steps": self.steps, **{f"weights/{k}": v for k, v in self.values.items()}}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        self.steps = int(state["steps"])
        for name, value in self.values.items():
            value.copy_(torch.as_tensor(state[f"weights/{name}"]))
