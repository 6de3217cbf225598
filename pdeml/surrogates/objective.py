"""What a step of training minimises: losses of predictions over a window in time."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from pdeml.surrogates.losses import Loss
from pdeml.surrogates.surrogate import Surrogate


class Objective(nn.Module):
    """Loss of each sample of a batch of windows.

    With the window z_0 … z_{h−1} of normalised input frames, targets z_h … z_{h+k−1}, and the
    prediction ẑ_{i+1} from a window that holds the model's own ẑ_1 … ẑ_i:

        one_step, unroll   (1/k) Σ_i ℓ(ẑ_i, z_i)
        recurrent          Σ_i ℓ(ẑ_i, z_i)
        pushforward        ℓ(ẑ_k, z_k), without gradient through ẑ_1 … ẑ_{k−1}

    Parameters
    ----------
    surrogate : what is trained.
    loss : (prediction, target) → (B,).
    mode : see `pdeml.surrogates.options.Options`.
    bf16 : run the model under autocast.

    References
    ----------
    Brandstetter, Worrall, Welling (2022), Message passing neural PDE solvers, §3.1 (push-forward).
    """

    def __init__(self, surrogate: Surrogate, loss: Loss, mode: str, bf16: bool = False):
        super().__init__()
        self.surrogate, self.mode, self._bf16 = surrogate, mode, bf16
        self._loss = loss

    def forward(self, frames: Tensor, parameters: Tensor | None, noise: Tensor | None) -> Tensor:
        """Losses (B,).

        Parameters
        ----------
        frames : (B, H + k, C, *space), physical units; k = 0 in a map without time.
        parameters : (B, P), physical units.
        noise : (B, H, C, *space), added to the normalised inputs.
        """
        window, targets, told = self._encoded(frames, parameters)
        if noise is not None:
            window = window + noise
        steps, losses = targets.shape[1], []
        for i in range(steps):
            last = i == steps - 1
            blind = self.mode == "pushforward" and not last
            with torch.no_grad() if blind else contextlib.nullcontext():
                prediction = self._step(window, told)
                if not blind:
                    losses.append(self._loss(prediction, targets[:, i]))
                if not last:
                    window = self.surrogate.advanced(window, prediction)
        total = torch.stack(losses).sum(0)
        return total if self.mode == "recurrent" else total / len(losses)

    @torch.no_grad()
    def relative_errors(self, frames: Tensor, parameters: Tensor | None) -> tuple[Tensor, Tensor]:
        """Sum and number of nRMSE over samples, steps and channels, in physical units."""
        window, targets, told = self._encoded(frames, parameters)
        normal, dims = self.surrogate.target_normalisation, self.surrogate.dims
        total, count = torch.zeros(2, dtype=torch.float64, device=frames.device)
        for i in range(targets.shape[1]):
            prediction = self._step(window, told)
            truth = normal.decode(targets[:, i], dims)
            error = (normal.decode(prediction, dims) - truth).flatten(2).square().mean(2)
            size = truth.flatten(2).square().mean(2)
            there = size > 0  # of a field that vanishes there is no relative error
            total += (error / size.where(there, 1)).sqrt().where(there, 0).sum()
            count += there.sum()
            window = self.surrogate.advanced(window, prediction)
        return total, count

    def _encoded(
        self, frames: Tensor, parameters: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Input window, targets (B, k, targets, *space) and parameters, all normalised."""
        surrogate, task = self.surrogate, self.surrogate.task
        z = surrogate.normalisation.encode(frames, surrogate.dims)
        window = z[:, : task.history]
        ahead = z[:, task.history :] if task.evolution else z[:, -1:]
        return window, ahead[:, :, list(task.targets)], surrogate.standardised(parameters)

    def _step(self, window: Tensor, told: Tensor | None) -> Tensor:
        with torch.autocast(window.device.type, torch.bfloat16, enabled=self._bf16):
            return self.surrogate.step(window, told)
