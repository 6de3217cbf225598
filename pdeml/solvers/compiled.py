"""Loss and gradient as one graph: compiled on the CPU, captured and replayed on CUDA.

The hand-written reverse is plain torch code, so that `torch.compile` takes the whole step, forward
and reverse, without a break; on CUDA a step of small networks is bound by the launches of its
kernels, which a CUDA graph replaces by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pdeml.operators.dense import Arena
from pdeml.solvers.objective import Objective, Term, Trial

BACKEND = "inductor"
"""Of `torch.compile`."""


class FreshArena(Arena):
    """New memory for every buffer: the compiler plans its reuse itself."""

    def empty(self, like: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        return like.new_empty(tuple(like.shape if shape is None else shape))

    def reset(self) -> None:
        pass


class CompiledObjective(Objective):
    """An objective whose loss and gradient are compiled; parameters as for `Objective`.

    New points of the same number, new weights of points and new unknown parameters need no new
    compilation; a new weight of a term does.
    """

    def __init__(
        self,
        trial: Trial,
        terms: Sequence[Term],
        unknowns: Sequence[nn.Parameter] = (),
        positive: Sequence[bool] = (),
    ):
        super().__init__(trial, terms, unknowns, positive)
        self._compiled = torch.compile(
            self._means_and_gradients, fullgraph=True, dynamic=False, backend=BACKEND
        )

    def _means_and_gradients(
        self, values: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        gradients = [torch.zeros_like(p) for p in self.network_parameters]
        sensitivities = [torch.zeros_like(v) for v in values]
        arena = FreshArena()
        means = [t.accumulate(values, gradients, sensitivities, arena) for t in self.terms]
        return means, gradients, sensitivities

    def _accumulated(self, values: list[Tensor]) -> list[Tensor]:
        means, *found = self._compiled(values)
        for parameter, gradient in zip(self.parameters, [*found[0], *found[1]], strict=True):
            assert parameter.grad is not None
            parameter.grad.copy_(gradient)
        return means


class CapturedObjective(Objective):
    """An objective whose loss and gradient are one CUDA graph; parameters as for `Objective`.

    The graph reads fixed memory: points that a term was bound to since are copied there. It is
    captured anew when a term changes its weight, its number of points or what it holds.
    """

    def __init__(
        self,
        trial: Trial,
        terms: Sequence[Term],
        unknowns: Sequence[nn.Parameter] = (),
        positive: Sequence[bool] = (),
    ):
        super().__init__(trial, terms, unknowns, positive)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._key: Any = None
        self._held: list[dict[str, Any]] = []

    def _accumulated(self, values: list[Tensor]) -> list[Tensor]:
        key = [
            (term.weight, [(name, _shapes(held)) for name, held in _bound(term).items()])
            for term in self.terms
        ]
        if self._graph is None or key != self._key:
            self._capture(values)
            self._key = key
        for term, held in zip(self.terms, self._held, strict=True):
            for name, value in _bound(term).items():
                _refill(held[name], value)
                setattr(term, name, held[name])
        for held_value, value in zip(self._values, values, strict=True):
            held_value.copy_(value)
        assert self._graph is not None
        self._graph.replay()
        return self._graph_means

    def _capture(self, values: list[Tensor]) -> None:
        self.arena = Arena()
        self._values = [v.clone() for v in values]
        self._held = [_bound(term) for term in self.terms]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                super()._accumulated(self._values)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            for parameter in self.parameters:
                assert parameter.grad is not None
                parameter.grad.zero_()
            self._graph_means = super()._accumulated(self._values)


BOUND = ("points", "extras", "coefficients", "features", "lift", "transfer", "emphasis", "squares")
"""What a term holds of its points."""


def _bound(term: Term) -> dict[str, Any]:
    return {name: getattr(term, name) for name in BOUND}


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return [_shapes(v) for v in value] if isinstance(value, list) else value


def _refill(held: Any, value: Any) -> None:
    """Copy tensors into those that are held."""
    if isinstance(held, list):
        for h, v in zip(held, value, strict=True):
            _refill(h, v)
    elif isinstance(held, Tensor) and held is not value:
        held.copy_(value)
