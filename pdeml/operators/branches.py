"""Dense networks side by side, and the hand-written reverse of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from pdeml.operators.dense import Arena, DensePass, Tape, chunk_size
from pdeml.operators.jets import Coefficient, Streams


class Branches(nn.Module):
    """Networks that share nothing but their inputs; outputs stand beside each other.

    Parameters
    ----------
    networks : dense networks.
    inputs : columns of the inputs that each sees; all by default.
    """

    def __init__(
        self, networks: Sequence[nn.Module], inputs: Sequence[Sequence[int] | None] | None = None
    ):
        super().__init__()
        self.networks: Any = nn.ModuleList(networks)
        self.inputs = [None if i is None else list(i) for i in inputs or [None] * len(networks)]

    def forward(self, x):
        pairs = zip(self.networks, self.inputs, strict=True)
        return torch.cat([network(x if i is None else x[..., i]) for network, i in pairs], -1)


class BranchesPass:
    """Forward and reverse of `Branches` on streams: those of each network, block by block.

    Parameters
    ----------
    branches : their parameters are read at every call.
    streams : what travels.
    """

    engine = "Taylor mode, hand-written reverse"

    def __init__(self, branches: Branches, streams: Streams):
        self.streams = streams
        self.passes = [DensePass(network, streams) for network in branches.networks]
        self.inputs = branches.inputs
        self.parameters = [p for branch in self.passes for p in branch.parameters]
        self.columns = [branch.parameters[-1].numel() for branch in self.passes]
        self.counts = [len(branch.parameters) for branch in self.passes]

    @staticmethod
    def accepts(network: nn.Module) -> TypeGuard[Branches]:
        return isinstance(network, Branches) and all(map(DensePass.accepts, network.networks))

    def chunk(self, points: Tensor) -> int | None:
        """Points that are taken at once; None for all of them."""
        width = max(p.shape[0] for p in self.parameters)
        return chunk_size(len(self.streams), width, points.element_size(), points.device)

    def forward(
        self, features: Tensor, coefficients: Sequence[Coefficient], arena: Arena
    ) -> tuple[Tensor, list[Tape]]:
        """Streams of all outputs, (streams, n, m), of streams of the input, (streams, n, k)."""
        done = [
            branch.forward(features if i is None else features[..., i], coefficients, arena)
            for branch, i in zip(self.passes, self.inputs, strict=True)
        ]
        return torch.cat([out for out, _ in done], -1), [tape for _, tape in done]

    def backward(self, adjoint: Tensor, tape: list[Tape], gradients: Sequence[Tensor]) -> None:
        """Add the gradient of Σ adjoint·output to `gradients` (one per parameter, in order)."""
        first = 0
        parts = adjoint.split(self.columns, -1)
        for branch, own, part, count in zip(self.passes, tape, parts, self.counts, strict=True):
            branch.backward(part.contiguous(), own, gradients[first : first + count])
            first += count

    def jacobian(self, adjoint: Tensor, tape: list[Tape], rows: Tensor) -> None:
        """Write ∂(Σ_s adjoint_s·output_s)/∂parameters per point into `rows`, (n, parameters)."""
        sizes = [sum(p.numel() for p in branch.parameters) for branch in self.passes]
        parts, blocks = adjoint.split(self.columns, -1), rows.split(sizes, -1)
        for branch, own, part, block in zip(self.passes, tape, parts, blocks, strict=True):
            branch.jacobian(part.contiguous(), own, block)
