"""The loss terms of a training on their current points: drawing, attention, validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pdeml import engine
from pdeml.domains import residual_adaptive
from pdeml.operators.residual import Residual
from pdeml.solvers.balancing import attention, causal_gates, slice_losses, spread
from pdeml.solvers.objective import Term, Trial
from pdeml.solvers.pseudo_time import PseudoTimeTerm
from pdeml.solvers.requirements import Requirement
from pdeml.solvers.sampled import SampledTerm
from pdeml.solvers.schedule import Schedule

VALIDATION_POINTS = 20_000
"""Fresh points on which a run is judged (pinn.md §2.9)."""

STREAM_BYTES = 2**27
"""Most memory of the streams of one set of points: in 100 dimensions, fewer points are judged."""


def affordable(residual: Residual, count: int) -> int:
    """Number of points, at most `count`, whose embedded coordinates and streams are kept."""
    width = len(residual.streams) * len(residual.coordinates) * 8
    return min(count, max(256, STREAM_BYTES // width))


class Batch:
    """Terms bound to points, and what weights these points.

    Parameters
    ----------
    trial, requirements, schedule, generator, device, dtype : of the training.

    Attributes
    ----------
    terms, fresh_terms : one per requirement; the latter on points that are never trained on.
    gates : causal gates of the time slices, per term.
    """

    def __init__(
        self,
        trial: Trial,
        requirements: Sequence[Requirement],
        schedule: Schedule,
        generator: torch.Generator,
        device: torch.device,
        dtype: torch.dtype,
    ):
        self.trial, self.schedule, self.generator = trial, schedule, generator
        self.requirements = list(requirements)
        self.device, self.dtype = device, dtype
        self.terms = [self._trained(r) for r in self.requirements]
        # a fixed stream of its own, so that validation never shares a point with training
        fresh = engine.generator(generator.initial_seed() ^ 0x5EED)
        self.fresh_terms = [
            self._term(r, r.count if r.fixed else affordable(r.residual, VALIDATION_POINTS), fresh)
            for r in self.requirements
        ]
        self.gates = [torch.ones(schedule.time_slices) for _ in self.terms]

    @property
    def _method(self) -> str:
        return "uniform" if self.schedule.sampling == "rad" else self.schedule.sampling

    def _term(self, requirement: Requirement, count: int, generator: torch.Generator) -> Term:
        points, extras = self.to_run(*requirement.draw(count, generator, self._method))
        return Term(
            requirement.name, requirement.residual, self.trial, points, extras, requirement.weight
        )

    def _trained(self, requirement: Requirement) -> Term:
        if not requirement.adaptive:
            return self._term(requirement, requirement.count, self.generator)
        given = (requirement.name, requirement.residual, self.trial)
        points, extras = self.to_run(
            *requirement.draw(requirement.count, self.generator, self._method)
        )
        if self.schedule.sampled is not None:
            return SampledTerm(
                *given,
                points,
                extras,
                requirement.weight,
                directions=self.schedule.sampled,
                generator=self.generator,
            )
        if self.schedule.pseudo_time and requirement.problem is not None:
            return PseudoTimeTerm(
                *given, points, extras, requirement.weight, problem=requirement.problem
            )
        return Term(*given, points, extras, requirement.weight)

    def to_run(self, points: Tensor, extras: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Points and extra values on the device and in the dtype of the run."""

        def place(tensor: Tensor) -> Tensor:
            return tensor.to(device=self.device, dtype=self.dtype)

        return place(points), [place(e) for e in extras]

    def attend(self, values: Sequence[Tensor], evaluate: bool = False) -> None:
        """Weight the points of the equations by their residuals at the last evaluation, or now.

        Parameters
        ----------
        values : of the unknown parameters.
        """
        scheme = self.schedule.attention
        for k, (term, requirement) in enumerate(zip(self.terms, self.requirements, strict=True)):
            if scheme is None or not requirement.adaptive:
                continue
            if evaluate:
                term.squares = term.residuals(values).square()
            if scheme == "rba":
                term.emphasis = attention(term.squares, term.emphasis)
            else:
                losses = slice_losses(term.points[:, -1], term.squares, len(self.gates[k]))
                self.gates[k] = causal_gates(losses, self.schedule.causal_tolerance)
                term.emphasis = spread(term.points[:, -1], self.gates[k])

    def least_gate(self) -> float | None:
        """The smallest causal gate, None where points are not gated."""
        if self.schedule.attention != "causal":
            return None
        return min(float(gates.min()) for gates in self.gates)

    def resample(self, values: Sequence[Tensor], *, adaptive: bool, keep_gates: bool) -> None:
        """Draw new points for every term that is not data.

        Parameters
        ----------
        values : of the unknown parameters.
        adaptive : draw the points of the equations by residual.
        keep_gates : causal gates belong to slices of time, and outlive the points of one step.
        """
        for term, requirement in zip(self.terms, self.requirements, strict=True):
            if requirement.fixed:
                continue
            pool = requirement.count * (4 if requirement.adaptive and adaptive else 1)
            points, extras = self.to_run(*requirement.draw(pool, self.generator, self._method))
            if pool > requirement.count:
                candidate = Term(term.name, requirement.residual, self.trial, points, extras)
                size = candidate.residuals(values).norm(dim=-1)
                chosen = residual_adaptive(points, size, requirement.count, self.generator)
                points, extras = points[chosen], [e[chosen] for e in extras]
            term.bind(points, extras)
        if self.schedule.attention == "causal" and keep_gates:
            for term, requirement, gates in zip(
                self.terms, self.requirements, self.gates, strict=True
            ):
                if requirement.adaptive:
                    term.emphasis = spread(term.points[:, -1], gates)
        else:
            self.attend(values, evaluate=True)

    def state(self) -> dict[str, Any]:
        """Everything that the terms depend on."""
        return {
            "points": [[term.points, list(term.extras)] for term in self.terms],
            "weights": torch.tensor([term.weight for term in self.terms], dtype=torch.float64),
            "emphases": [[] if t.emphasis is None else [t.emphasis] for t in self.terms],
            "memories": [term.memory() for term in self.terms],
            "gates": self.gates,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        after = self.generator.get_state()
        for term, (points, extras), memory in zip(
            self.terms, state["points"], state["memories"], strict=True
        ):
            term.bind(points, extras)
            term.recall(memory)
        self.generator.set_state(after)
        for term, weight, emphasis in zip(
            self.terms, state["weights"].tolist(), state["emphases"], strict=True
        ):
            term.weight, term.emphasis = weight, emphasis[0] if emphasis else None
        self.gates = list(state["gates"])
