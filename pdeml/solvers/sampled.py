"""Random parts of an operator in many dimensions, without bias.

    L = Σ_{j=1}^{J} c_j ∂^{α_j},   L_S = J/k Σ_{j ∈ S} c_j ∂^{α_j},   S: k of the J terms
    E_{S,T} mean_i r_S(x_i) r_T(x_i) = mean_i r(x_i)²   for independent S and T

A step costs k streams where the whole operator costs J. The square of one sampled residual would
not do: its mean is r² plus the variance of the draw, which the wrong solution makes small.

References
----------
Hu, Shukla, Karniadakis, Kawaguchi (2024), Neural Netw. 176, 106369 (stochastic dimension descent);
Shi, Hu, Lin, Kawaguchi (2024), NeurIPS 37 (stochastic Taylor derivative estimator).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pdeml.operators.dense import Arena
from pdeml.operators.residual import Residual
from pdeml.solvers.objective import Term, Trial


class SampledTerm(Term):
    """Residuals whose merged operators are drawn anew, twice, for every set of points.

    Parameters
    ----------
    directions : k.
    generator : of the draws.
    other parameters : see `Term`.
    """

    def __init__(
        self,
        name: str,
        residual: Residual,
        trial: Trial,
        points: Tensor,
        extras: Sequence[Tensor] = (),
        weight: float = 1.0,
        *,
        directions: int,
        generator: torch.Generator,
    ):
        self.name, self.residual, self.trial, self.weight = name, residual, trial, weight
        self.directions, self.generator = directions, generator
        self.bind(points, extras)

    def bind(self, points: Tensor, extras: Sequence[Tensor] = ()) -> None:
        """Move to another set of points, and draw."""
        self.points, self.extras = points, list(extras)
        self.emphasis = None
        self.before = self.generator.get_state()
        self.halves = [
            Term(
                self.name,
                self.residual.sampled(self.directions, self.generator),
                self.trial,
                points,
                extras,
            )
            for _ in range(2)
        ]
        self.network = self.halves[0].network

    def memory(self) -> dict[str, Any]:
        return {"before": self.before}

    def recall(self, memory: dict[str, Any]) -> None:
        """Draw as it was drawn when `memory` was taken."""
        after = self.generator.get_state()
        self.generator.set_state(memory["before"])
        self.bind(self.points, self.extras)
        self.generator.set_state(after)

    def residuals(self, unknowns: Sequence[Tensor] = ()) -> Tensor:
        """(n, equations) of the whole operator, without gradients."""
        return Term(self.name, self.residual, self.trial, self.points, self.extras).residuals(
            unknowns
        )

    def accumulate(
        self,
        unknowns: Sequence[Tensor],
        gradients: Sequence[Tensor],
        unknown_gradients: Sequence[Tensor],
        arena: Arena,
    ) -> Tensor:
        """Mean of r_S r_T, (equations,); adds the gradient of weight·Σ means."""
        first, second = self.halves
        r, s = first.residuals(unknowns), second.residuals(unknowns)
        scale = self.weight / len(self.points)
        first.pull_back(scale * s, unknowns, gradients, arena)
        second.pull_back(scale * r, unknowns, gradients, arena)
        return (r * s).mean(0)
