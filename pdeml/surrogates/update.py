"""One update of the weights from a global batch, whoever holds which part of it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pdeml import engine
from pdeml.surrogates import model_file
from pdeml.surrogates.averaging import Average
from pdeml.surrogates.losses import loss_named
from pdeml.surrogates.objective import Objective
from pdeml.surrogates.options import Options
from pdeml.surrogates.schedules import Schedule
from pdeml.surrogates.surrogate import Surrogate, parameters_of

GOLDEN = 0x9E3779B97F4A7C15  # spreads seeds of neighbouring runs over the integers

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": lambda weights, **given: torch.optim.SGD(weights, momentum=0.9, **given),
}


class Update:
    """The weights with their average, optimizer and schedule, and the step that moves them.

        g = (1/B) ∇ Σ_b ℓ_b, clipped to norm `clip`; no step where g is not finite

    Parameters
    ----------
    surrogate, options, fabric : what is trained, how, and on which devices.
    steps : of the whole run.

    Attributes
    ----------
    objective : the loss, wrapped for several processes.
    optimizer, schedule, average : torch's, and the moving average of the weights or None.
    updating : the optimizer is at work, so that the weights are no state to save.
    """

    def __init__(self, surrogate: Surrogate, options: Options, fabric: Any, steps: int):
        self._surrogate, self._options, self._fabric = surrogate, options, fabric
        periodic = all(axis["periodic"] for axis in surrogate.data["grid"]["axes"])
        objective = Objective(
            surrogate, loss_named(options.loss, periodic), options.mode, options.precision == "bf16"
        )
        self._weights = [p for p in surrogate.parameters() if p.requires_grad]
        self.optimizer = OPTIMIZERS[options.optimizer](
            self._weights, lr=options.lr, weight_decay=options.weight_decay
        )
        self.objective, self._stepping = fabric.setup(objective, self.optimizer)
        self.schedule = Schedule(
            options.schedule, self.optimizer, options.lr, steps, options.schedule_options
        )
        # after the processes have agreed on the weights
        self.average = None if options.ema is None else Average(surrogate.model, options.ema)
        self.updating = False
        self._dtype = torch.float64 if options.precision == "float64" else torch.float32

    def windows(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Frames (B, H + k, C, *space) and parameters (B, P) of a batch, on the device."""
        device = self._fabric.device
        frames = torch.cat([batch["input"], batch["target"]], 1)
        parameters = parameters_of(self._surrogate.task, batch)
        return (
            frames.to(device, self._dtype, non_blocking=True),
            None if parameters is None else parameters.to(device),
        )

    def __call__(
        self, batch: dict[str, Tensor], step: int, own: int, total: int
    ) -> tuple[float, bool]:
        """One update, or none where the gradient is not finite.

        Parameters
        ----------
        batch : this process's windows.
        step : number of the update, which the noise is a function of.
        own, total : windows that count here (a process may be given one that does not), and those
            of all processes.

        Returns
        -------
        Sum of the losses of the own windows; whether the weights were moved.
        """
        frames, parameters = self.windows(batch)
        noise = self._noise(frames, step, total)
        rows = torch.arange(len(frames), device=frames.device)
        pieces = rows.tensor_split(min(self._options.accumulate, len(frames)))
        loss = torch.zeros((), dtype=torch.float64, device=frames.device)
        for i, piece in enumerate(pieces):
            waits = i < len(pieces) - 1
            with self._fabric.no_backward_sync(self.objective, enabled=waits):
                losses = self.objective(
                    frames[piece],
                    None if parameters is None else parameters[piece],
                    None if noise is None else noise[piece],
                )
                mine = losses * (piece < own)
                # processes average their gradients: this makes it the mean over the global batch
                self._fabric.backward(mine.sum() * (self._fabric.world_size / total))
            loss += mine.detach().sum()
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._options.clip or math.inf)
        # the only transfer of a step; the norm is the same in all processes
        value, size = torch.stack([loss, norm.double()]).tolist()
        moved = math.isfinite(size)
        if moved:
            self.updating = True
            self._stepping.step()
            self.updating = False
            if self.average is not None:
                self.average.update(self._surrogate.model)
        self.optimizer.zero_grad()
        self.schedule.after_step()
        return value, moved

    def _noise(self, frames: Tensor, step: int, total: int) -> Tensor | None:
        """Input noise: a function of seed, step and row, whichever process has the row."""
        if not self._options.noise:
            return None
        seed = (self._options.seed * GOLDEN + step) % 2**63
        shape = (total, self._surrogate.task.history, *frames.shape[2:])
        generator = engine.generator(seed, frames.device)
        drawn = torch.randn(shape, generator=generator, device=frames.device, dtype=frames.dtype)
        mine = drawn[self._fabric.global_rank :: self._fabric.world_size]
        return self._options.noise * (mine if len(mine) else drawn[:1])

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the model has its averaged weights, where there are some."""
        if self.average is None:
            return contextlib.nullcontext()
        return self.average.swapped(self._surrogate.model)

    def state_dict(self) -> dict[str, Any]:
        return {
            "weights": self._surrogate.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], where: str) -> None:
        """Inverse of `state_dict`; `InvalidFile` where it is of another architecture."""
        model_file.load_weights(self._surrogate.model, state["weights"], where)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
