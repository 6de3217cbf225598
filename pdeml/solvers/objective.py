"""Least-squares objective of collocation methods: Σ_k w_k mean r_k², its gradient and its Jacobian.

A term is a residual bound to a set of points. Everything that depends on the points alone (embedded
coordinates, hard-constraint lifts, operator coefficients) is evaluated once per set; a step then
runs the network on chunks of points and pulls the exact adjoint of the residuals straight back
through it.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pdeml.nn.gaussians import GaussianField
from pdeml.operators.branches import BranchesPass
from pdeml.operators.dense import Arena, DensePass, chunk_size
from pdeml.operators.gaussians import GaussianPass
from pdeml.operators.jets import Coefficient, Jet, Streams, nested_autograd, supports_jets
from pdeml.operators.residual import Residual

logger = logging.getLogger(__name__)


BIND_POINTS = 4096
"""Points per block when everything that depends on points alone is evaluated."""


class Trial(nn.Module):
    """Trial solution u(x) = g(x) + B(x)·N(e(x)).

    Parameters
    ----------
    network : N, maps embedded coordinates to one column per field.
    embedding : e, coordinates to network inputs; identity where None.
    base, factor : g and B, (N, d) -> (N, m); no hard constraint where None.
    """

    def __init__(
        self,
        network: nn.Module,
        embedding: nn.Module | None = None,
        base: nn.Module | None = None,
        factor: nn.Module | None = None,
    ):
        super().__init__()
        self.network = network
        self.embedding = embedding or nn.Identity()
        self.base = base
        self.factor = factor

    def forward(self, points):
        out = self.network(self.embedding(points))
        if self.factor is not None:
            out = self.factor(points) * out
        return out if self.base is None else self.base(points) + out


class NetworkPass(Protocol):
    """Streams of the network on one chunk, and the way back."""

    engine: str
    parameters: list[nn.Parameter]

    def chunk(self, points: Tensor) -> int | None:
        """Points that are taken at once; None for all of them."""
        ...

    def forward(
        self, features: Tensor, coefficients: Sequence[Coefficient], arena: Arena
    ) -> tuple[Tensor, Any]: ...

    def backward(self, adjoint: Tensor, tape: Any, gradients: Sequence[Tensor]) -> None: ...

    def jacobian(self, adjoint: Tensor, tape: Any, rows: Tensor) -> None: ...


def _narrow_chunk(parameters: Sequence[Tensor], streams: Streams, points: Tensor) -> int | None:
    """As many points as keep the streams of the widest layer in the cache."""
    width = max((p.shape[0] for p in parameters if p.dim() == 2), default=1)
    return chunk_size(len(streams), width, points.element_size(), points.device)


class AutogradPass:
    """The same interface for any module: jets where it allows them, nested autograd otherwise."""

    def __init__(self, module: nn.Module, streams: Streams, on_points: bool):
        self.module = module
        self.streams = streams
        self.on_points = on_points
        self.engine = "nested autograd" if on_points else "jets with autograd reverse"
        self.parameters = [p for p in module.parameters() if p.requires_grad]

    def chunk(self, points: Tensor) -> int | None:
        return _narrow_chunk(self.parameters, self.streams, points)

    def forward(
        self, features: Tensor, coefficients: Sequence[Coefficient], arena: Arena
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            if self.on_points:
                out = nested_autograd(self.module, features[0], self.streams, coefficients)
            else:
                out = self.module(Jet(features, self.streams, coefficients)).data
        return out.detach(), out

    def backward(self, adjoint: Tensor, tape: Tensor, gradients: Sequence[Tensor]) -> None:
        found = torch.autograd.grad(tape, self.parameters, adjoint, allow_unused=True)
        for total, gradient in zip(gradients, found, strict=True):
            if gradient is not None:
                total.add_(gradient)

    def jacobian(self, adjoint: Tensor, tape: Tensor, rows: Tensor) -> None:
        for i in range(rows.shape[0]):
            selected = torch.zeros_like(adjoint)
            selected[:, i] = adjoint[:, i]
            found = torch.autograd.grad(
                tape, self.parameters, selected, retain_graph=True, materialize_grads=True
            )
            rows[i] = torch.cat([g.reshape(-1) for g in found])


class _DenseNetworkPass(DensePass):
    engine = "Taylor mode, hand-written reverse"

    def chunk(self, points: Tensor) -> int | None:
        return _narrow_chunk(self.parameters, self.streams, points)


def network_pass(trial: Trial, streams: Streams, points: Tensor) -> NetworkPass:
    """The fastest pass that the trial's network allows; which one is logged."""
    if DensePass.accepts(trial.network):
        return _DenseNetworkPass(trial.network, streams)
    if BranchesPass.accepts(trial.network):
        return BranchesPass(trial.network, streams)
    if isinstance(trial.network, GaussianField) and isinstance(trial.embedding, nn.Identity):
        return GaussianPass(trial.network, streams)
    jets = supports_jets(trial, points, streams)
    chosen = AutogradPass(trial.network if jets else trial, streams, on_points=not jets)
    logger.info("%s: %s", type(trial.network).__name__, chosen.engine)
    return chosen


class Term:
    """Residuals bound to points.

    Parameters
    ----------
    name : shown in losses and reports.
    residual : what is to vanish.
    trial : the trial solution.
    points : (n, d).
    extras : values per point of the residual's extra symbols, each (n,).
    weight : w of this term.

    Attributes
    ----------
    emphasis : factors γ of the squared residuals, (n,), or None: the term is w mean γ r².
    squares : r² at the last evaluation of loss and gradient, (n, equations).
    """

    def __init__(
        self,
        name: str,
        residual: Residual,
        trial: Trial,
        points: Tensor,
        extras: Sequence[Tensor] = (),
        weight: float = 1.0,
    ):
        self.name = name
        self.residual = residual
        self.trial = trial
        self.weight = weight
        self.network = network_pass(trial, residual.streams, points)
        self.bind(points, extras)

    def bind(self, points: Tensor, extras: Sequence[Tensor] = ()) -> None:
        """Move to another set of points; all that depends on points alone is evaluated here."""
        residual, trial = self.residual, self.trial
        streams = residual.streams
        self.points = points
        self.extras = list(extras)
        self.emphasis: Tensor | None = None
        self.squares = points.new_zeros((len(points), residual.count))
        self.coefficients = residual.coefficients(points)
        on_points = isinstance(self.network, AutogradPass) and self.network.on_points
        features, lifts, transfers = [], [], []
        with torch.no_grad():
            # in blocks: a lift may be a series of hundreds of terms per point
            for start in range(0, len(points), BIND_POINTS):
                part = slice(start, start + BIND_POINTS)
                x = Jet.coordinates(points[part], streams, self._coefficients(part))
                if on_points:
                    # the whole trial is differentiated, its constraint included
                    features.append(x.data)
                    continue
                features.append(trial.embedding(x).data)
                if trial.base is not None:
                    lifts.append(trial.base(x).data[residual.rows])
                if trial.factor is not None:
                    transfers.append(_transfer(trial.factor(x), residual.rows))
        self.features = torch.cat(features, 1)
        self.lift = torch.cat(lifts, 1) if lifts else None
        self.transfer = torch.cat(transfers, 2) if transfers else None

    def _coefficients(self, part: slice) -> list[Coefficient]:
        return [c[part] if isinstance(c, Tensor) else c for c in self.coefficients]

    @property
    def engine(self) -> str:
        return self.network.engine

    def memory(self) -> dict[str, Any]:
        """What a term needs beside its points and weights to go on; for checkpoints."""
        return {}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from `memory`."""

    def _chunks(self) -> list[tuple[slice, list[Coefficient]]]:
        n = self.points.shape[0]
        size = self.network.chunk(self.points)
        count = 1 if size is None else math.ceil(n / size)
        bounds = [round(i * n / count) for i in range(count + 1)]
        parts = [slice(a, b) for a, b in itertools.pairwise(bounds)]
        return [(part, self._coefficients(part)) for part in parts]

    def _fields(self, streams: Tensor, part: slice) -> Tensor:
        """Streams of the trial solution that the residual reads, from those of the network."""
        if self.transfer is not None:
            u = (self.transfer[:, :, part] * streams).sum(1)
        else:
            u = streams[self.residual.rows]
        return u if self.lift is None else self.lift[:, part] + u

    def _pull(self, adjoint: Tensor, part: slice) -> Tensor:
        """Adjoint of the network's streams from that of the rows."""
        if self.transfer is not None:
            return (self.transfer[:, :, part] * adjoint[:, None]).sum(0)
        out = adjoint.new_zeros((len(self.residual.streams), *adjoint.shape[1:]))
        out[self.residual.rows] = adjoint
        return out

    def residuals(self, unknowns: Sequence[Tensor] = ()) -> Tensor:
        """(n, equations), without gradients."""
        arena = Arena()
        found = []
        with torch.no_grad():
            for part, coefficients in self._chunks():
                arena.reset()
                features = self.features[:, part].contiguous()
                streams, _ = self.network.forward(features, coefficients, arena)
                u = self._fields(streams, part)
                extras = [e[part] for e in self.extras]
                found.append(self.residual(u, self.points[part], unknowns, extras))
        return torch.cat(found)

    def _sweep(
        self, unknowns: Sequence[Tensor], arena: Arena
    ) -> Iterator[tuple[slice, Tensor, Any, Any, Any, Any]]:
        """Chunk by chunk: where, streams, residuals, their partials and sensitivities, the tape."""
        for part, coefficients in self._chunks():
            arena.reset()
            features = self.features[:, part].contiguous()
            streams, tape = self.network.forward(features, coefficients, arena)
            u = self._fields(streams, part)
            residuals, partials, sensitivities = self.residual.with_partials(
                u, self.points[part], unknowns, [e[part] for e in self.extras]
            )
            yield part, u, residuals, partials, sensitivities, tape

    def accumulate(
        self,
        unknowns: Sequence[Tensor],
        gradients: Sequence[Tensor],
        unknown_gradients: Sequence[Tensor],
        arena: Arena,
    ) -> Tensor:
        """Mean of γ r², (equations,); adds the gradient of weight·Σ means."""
        n = self.points.shape[0]
        total = self.points.new_zeros(self.residual.count)
        scale = 2.0 * self.weight / n
        with torch.no_grad():
            for part, u, residuals, partials, sensitivities, tape in self._sweep(unknowns, arena):
                adjoint = torch.zeros_like(u)
                for k, r in enumerate(residuals):
                    self.squares[part, k] = r * r
                    held = r if self.emphasis is None else self.emphasis[part] * r
                    total[k] += held.dot(r)
                    self._seed(adjoint, partials[k], scale * held)
                    for gradient, s in zip(unknown_gradients, sensitivities[k], strict=True):
                        gradient += scale * (held * s).sum()
                self.network.backward(self._pull(adjoint, part), tape, gradients)
        return total / n

    def pull_back(
        self,
        vectors: Tensor,
        unknowns: Sequence[Tensor],
        gradients: Sequence[Tensor],
        arena: Arena,
    ) -> None:
        """Add Jᵀv to `gradients`, J = ∂r/∂θ without weights, for v (n, equations)."""
        with torch.no_grad():
            for part, u, residuals, partials, _, tape in self._sweep(unknowns, arena):
                adjoint = torch.zeros_like(u)
                for k in range(len(residuals)):
                    self._seed(adjoint, partials[k], vectors[part, k])
                self.network.backward(self._pull(adjoint, part), tape, gradients)

    def _seed(self, adjoint: Tensor, partials: Sequence[Any], scale: Any) -> None:
        rows = self.residual.rows
        for (stream, field), partial in zip(self.residual.entries, partials, strict=True):
            if isinstance(partial, Tensor) or partial != 0:
                adjoint[rows.index(stream), :, field] += partial * scale

    def jacobian(self, unknowns: Sequence[Tensor], rows: Tensor | None, parameters: int) -> Tensor:
        """Weighted residuals √(wγ/n)·r, (n·equations,), by point; fills their Jacobian `rows`."""
        n, k_all = self.points.shape[0], self.residual.count
        scale = math.sqrt(self.weight / n)
        scales = None if self.emphasis is None else scale * self.emphasis.sqrt()
        found = self.points.new_empty((n, k_all))
        with torch.no_grad():
            for part, u, residuals, partials, sensitivities, tape in self._sweep(unknowns, Arena()):
                held = scale if scales is None else scales[part]
                for k, r in enumerate(residuals):
                    self.squares[part, k] = r * r
                    found[part, k] = held * r
                    if rows is None:
                        continue
                    adjoint = torch.zeros_like(u)
                    self._seed(adjoint, partials[k], held)
                    target = rows.view(n, k_all, -1)[part, k]
                    self.network.jacobian(self._pull(adjoint, part), tape, target[:, :parameters])
                    for j, s in enumerate(sensitivities[k]):
                        target[:, parameters + j] = held * s
        return found.reshape(-1)


def _transfer(factor: Jet, rows: Sequence[int]) -> Tensor:
    """The linear map from the streams of N to the rows of B·N, per point: (rows, streams, n, m)."""
    count, n, width = factor.data.shape
    columns = []
    for stream in range(count):
        unit = factor.data.new_zeros((count, n, width))
        unit[stream] = 1.0
        columns.append((factor * factor.new(unit)).data[rows])
    return torch.stack(columns, dim=1)


class Objective:
    """Sum of weighted terms over the parameters of a trial solution and unknown scalars.

    Parameters
    ----------
    trial : the trial solution.
    terms : what is minimised.
    unknowns : trained scalars, 0-d parameters, in the order of the residuals' `unknowns`; an
    unknown
        whose entry in `positive` is True is the exponential of its parameter.
    """

    def __init__(
        self,
        trial: Trial,
        terms: Sequence[Term],
        unknowns: Sequence[nn.Parameter] = (),
        positive: Sequence[bool] = (),
    ):
        self.trial = trial
        self.terms = list(terms)
        self.unknowns = list(unknowns)
        self.positive = list(positive)
        self.network_parameters = [p for p in trial.network.parameters() if p.requires_grad]
        self.parameters = [*self.network_parameters, *self.unknowns]
        self.losses: dict[str, float] = {}
        self.arena = Arena()

    @property
    def count(self) -> int:
        return sum(p.numel() for p in self.parameters)

    def unknown_values(self) -> list[Tensor]:
        return [
            torch.exp(p.detach()) if positive else p.detach()
            for p, positive in zip(self.unknowns, self.positive, strict=True)
        ]

    def loss_and_gradient(self) -> Tensor:
        """Σ_k w_k Σ mean r²; leaves the gradient in ``.grad`` of every parameter."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad.zero_()
        values = self.unknown_values()
        means = self._accumulated(values)
        slopes = [p.grad for p in self.unknowns if p.grad is not None]
        for gradient, value, positive in zip(slopes, values, self.positive, strict=True):
            if positive:
                gradient.mul_(value)
        self._means = means
        return sum(
            (term.weight * mean.sum() for term, mean in zip(self.terms, means, strict=True)),
            start=self.parameters[0].new_zeros(()),
        )

    def _accumulated(self, values: list[Tensor]) -> list[Tensor]:
        """Mean squares of every term; adds the gradients, by the values of the unknowns as such."""
        gradients = [p.grad for p in self.network_parameters if p.grad is not None]
        unknown_gradients = [p.grad for p in self.unknowns if p.grad is not None]
        return [t.accumulate(values, gradients, unknown_gradients, self.arena) for t in self.terms]

    def term_losses(self) -> dict[str, float]:
        """Mean squares of the last evaluation, unweighted, one entry per equation of every term."""
        out = {}
        for term, mean in zip(self.terms, self._means, strict=True):
            for k, value in enumerate(mean.tolist()):
                out[term.name if len(mean) == 1 else f"{term.name}[{k}]"] = value
        return out

    def residual_and_jacobian(self, jacobian: bool) -> tuple[Tensor, Tensor | None]:
        """Stacked weighted residuals (M,), the loss is their squared norm; Jacobian (M, P)."""
        values = self.unknown_values()
        inside = sum(p.numel() for p in self.network_parameters)
        sizes = [term.points.shape[0] * term.residual.count for term in self.terms]
        matrix = self.parameters[0].new_empty((sum(sizes), self.count)) if jacobian else None
        found, start = [], 0
        for term, size in zip(self.terms, sizes, strict=True):
            rows = None if matrix is None else matrix[start : start + size]
            found.append(term.jacobian(values, rows, inside))
            start += size
        if matrix is not None:
            for j, (value, positive) in enumerate(zip(values, self.positive, strict=True)):
                if positive:
                    matrix[:, inside + j] *= value
        self._means = [
            r.detach().reshape(-1, t.residual.count).square().sum(0) / t.weight
            for r, t in zip(found, self.terms, strict=True)
        ]
        return torch.cat(found), matrix
