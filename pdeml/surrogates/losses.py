"""Losses of surrogates: one number per sample, whose mean over the global batch is descended.

All take prediction and target (B, C, *space) in normalised units, so that channels of different
size weigh alike. The mean, not the sum, is over the batch: the learning rate does not depend on
its size.

References
----------
Li et al. (2021), Fourier neural operator for parametric PDEs, §5 (relative L2).
Li et al. (2022), Learning dissipative dynamics in chaotic systems, §3 (Sobolev norms).
Ohana et al. (2024), The Well, §4 (VRMSE).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeml.errors import InvalidOption
from pdeml.surrogates.spectra import seminorms

VARIANCE_FLOOR = 1e-7  # of The Well

Loss = Callable[[Tensor, Tensor], Tensor]
"""(prediction, target) → (B,)."""


@dataclass(frozen=True)
class RelativeLp:
    """‖ŷ − y‖_p / ‖y‖_p over channels and space."""

    p: float = 2.0

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        error = torch.linalg.vector_norm((prediction - target).flatten(1), self.p, dim=1)
        return error / _positive(torch.linalg.vector_norm(target.flatten(1), self.p, dim=1))


@dataclass(frozen=True)
class Sobolev:
    """Relative error in H^k, ‖ŷ − y‖_{H^k} / ‖y‖_{H^k} with ‖u‖²_{H^k} = Σ_{j ≤ k} |u|_j².

    Parameters
    ----------
    order : k.
    periodic : derivatives are spectral, else second-order differences.
    grouped : the mean over j of the relative errors of |·|_j instead, so that each order of
        derivative weighs alike: (1/(k+1)) Σ_j |ŷ − y|_j / |y|_j.
    """

    order: int = 1
    periodic: bool = True
    grouped: bool = False

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        dims = prediction.dim() - 2
        error, norm = (
            torch.stack([s.sum(1) for s in seminorms(v, dims, self.order, self.periodic)])
            for v in (prediction - target, target)
        )
        if self.grouped:
            return (_root(error) / _positive(norm.sqrt())).mean(0)
        return _root(error.sum(0)) / _positive(norm.sum(0).sqrt())


def mean_square(prediction: Tensor, target: Tensor) -> Tensor:
    """⟨(ŷ − y)²⟩ over channels and space."""
    return (prediction - target).square().flatten(1).mean(1)


def variance_scaled(prediction: Tensor, target: Tensor) -> Tensor:
    """√(⟨e²⟩ / (Var y + 1e-7)) per channel, then the mean over channels (VRMSE)."""
    error = (prediction - target).square().flatten(2).mean(2)
    return _root(error / (target.flatten(2).var(2) + VARIANCE_FLOOR)).mean(1)


def _positive(norm: Tensor) -> Tensor:
    return norm.clamp_min(torch.finfo(norm.dtype).tiny ** 0.5)


def _root(square: Tensor) -> Tensor:
    """The square root, with derivative 0 instead of NaN where the error vanishes."""
    return torch.where(square > 0, square, 1).sqrt() * (square > 0)


LOSSES: dict[str, Callable[[bool], Loss]] = {
    "rel_l2": lambda periodic: RelativeLp(2.0),
    "rel_l1": lambda periodic: RelativeLp(1.0),
    "mse": lambda periodic: mean_square,
    "vrmse": lambda periodic: variance_scaled,
    "h1": lambda periodic: Sobolev(1, periodic),
    "h2": lambda periodic: Sobolev(2, periodic),
    "grouped_h1": lambda periodic: Sobolev(1, periodic, grouped=True),
    "grouped_h2": lambda periodic: Sobolev(2, periodic, grouped=True),
}
"""Losses by name, built for a periodic grid or another."""


def loss_named(name: str, periodic: bool) -> Loss:
    """The loss of a name.

    Raises
    ------
    InvalidOption
        There is none; those that there are are listed.
    """
    if name not in LOSSES:
        raise InvalidOption(f"loss={name!r}: give one of {', '.join(LOSSES)}.")
    return LOSSES[name](periodic)
