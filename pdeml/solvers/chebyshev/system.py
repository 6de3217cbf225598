"""The rows of a lowered problem on a grid: residuals and Jacobians of G(t, Z, Z') = 0."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from pdeml.solvers.chebyshev.grid import Grid
from pdeml.solvers.chebyshev.lowering import Entry, FaceRow, Lowered, Row

PRECISE = 1e-13  # a correction below this, relative to the solution, is round-off
ACCEPTED = 1e-8  # corrections that stagnate below this are round-off of a badly conditioned matrix
SINGULAR = 3e-15  # smallest singular value of a matrix with scaled rows that is regular


@dataclass(frozen=True)
class Block:
    """One row expression, evaluated at some nodes, in the rows of as many nodes of a component."""

    component: int
    nodes: Tensor
    places: Tensor
    row: Row


class Factor:
    """LU factors of a square matrix whose rows are scaled to one."""

    def __init__(self, matrix: Tensor):
        scale = matrix.abs().amax(1)
        self.scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        self.lu, self.pivots = torch.linalg.lu_factor_ex(matrix / self.scale[:, None])[:2]

    def solve(self, right: Tensor) -> Tensor:
        """The solution for one right-hand side (n,)."""
        return torch.linalg.lu_solve(self.lu, self.pivots, (right / self.scale)[:, None])[:, 0]

    def smallest(self) -> float:
        """Estimate of the smallest singular value of the scaled matrix, by inverse iteration."""
        n = self.lu.shape[0]
        x = torch.ones(n, dtype=self.lu.dtype, device=self.lu.device)
        x = x + torch.arange(n, dtype=torch.float64, device=x.device).sin()
        size = 0.0
        for _ in range(3):
            x = (x / x.norm())[:, None]
            x = torch.linalg.lu_solve(self.lu, self.pivots, x, adjoint=True)
            x = x / x.norm()
            x = torch.linalg.lu_solve(self.lu, self.pivots, x)[:, 0]
            size = x.norm().item()
        return 1 / size if 0 < size < float("inf") else 0.0


class System:
    """Rows of a lowered problem on a grid.

    The state Z is (n,), component after component, each with the values at all nodes.

    Attributes
    ----------
    size : n.
    differential : (n,), whether the row of an unknown holds rates; the others are algebraic.
    constant : whether no partial derivative depends on the state or on time.
    """

    def __init__(self, lowered: Lowered, grid: Grid):
        self.lowered, self.grid = lowered, grid
        self.count = len(lowered.components)
        self.size = self.count * grid.size
        self.zero = (0,) * grid.dim
        self.replaced: list[tuple[int, Tensor]] = []
        blocks = []
        for component, equation in enumerate(lowered.equations):
            faces = self._face_blocks(component)
            blocks += faces
            free = torch.ones(grid.size, dtype=torch.bool, device=grid.device)
            for block in faces:
                free[block.places] = False
            rest = free.nonzero()[:, 0]
            blocks.append(Block(component, rest, rest, lowered.row(equation)))
        self.blocks = [b for b in blocks if len(b.nodes)]
        self.constant = all(b.row.constant for b in self.blocks)
        self.algebraic_constant = all(b.row.constant for b in self.blocks if not b.row.is_rate)
        self.differential = torch.zeros(self.size, dtype=torch.bool, device=grid.device)
        for block in self.blocks:
            if block.row.is_rate:
                self.differential[self._rows(block)] = True

    def _rows(self, block: Block) -> Tensor:
        return block.component * self.grid.size + block.places

    def _face_blocks(self, component: int) -> list[Block]:
        """Rows of conditions: nodes of faces, where faces meet the values, else the sum of both."""
        own = [f for f in self.lowered.faces if f.component == component]
        claims: dict[tuple[int, int], list[FaceRow]] = {}
        depths: dict[tuple[int, int], int] = {}
        for face in sorted(own, key=lambda f: not f.fixes_value):
            # a second condition at an end of an interval takes the row of the next node
            depth = depths.get((face.axis, face.side), 0)
            depths[face.axis, face.side] = depth + 1
            nodes, places = (self.grid.layer(face.axis, face.side, d) for d in (0, depth))
            for pair in zip(nodes.tolist(), places.tolist(), strict=True):
                claims.setdefault(pair, []).append(face)
        groups: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for pair, faces in claims.items():
            values = [f for f in faces if f.fixes_value]
            key = tuple(own.index(f) for f in (values or faces))
            groups.setdefault(key, []).append(pair)
        blocks = []
        for chosen, pairs in groups.items():
            expression = sp.Add(*(own[k].expression for k in chosen))
            nodes, places = torch.tensor(pairs, device=self.grid.device).T
            blocks.append(Block(component, nodes, places, self.lowered.row(expression)))
        return blocks

    def corner_mismatch(self, times: Sequence[float]) -> float:
        """Largest difference of two values that are prescribed at one corner."""
        worst = 0.0
        pairs = itertools.combinations(self.lowered.faces, 2)
        for a, b in pairs:
            if a.component != b.component or a.axis == b.axis:
                continue
            if not (a.fixes_value and b.fixes_value):
                continue
            difference = self.lowered.row(a.expression - b.expression)
            nodes = self.grid.layer(a.axis, a.side)
            corner = nodes[torch.isin(nodes, self.grid.layer(b.axis, b.side))]
            for time in times:
                found = difference.value([], self._coordinates(corner, instant(time)))
                worst = max(worst, abs(float(found)))
        return worst

    def _coordinates(self, nodes: Tensor, times: Tensor) -> list[Tensor]:
        """Columns (k,) of space, and (S, 1) of time where there is one."""
        columns = list(self.grid.points[nodes].unbind(1))
        if self.lowered.problem.time is not None:
            columns.append(times.to(columns[0])[:, None])
        return columns

    def _reader(self, state: Tensor, rate: Tensor) -> Any:
        """Entry → its values at all nodes (S, nodes), each computed once."""
        parts = [a.reshape(a.shape[0], self.count, self.grid.size) for a in (state, rate)]
        known: dict[Entry, Tensor] = {}

        def read(entry: Entry) -> Tensor:
            if entry not in known:
                values = parts[entry.rate][:, entry.component]
                known[entry] = self.grid.derivative(values, entry.index)
            return known[entry]

        return read

    def _given(self, block: Block, times: Tensor, read: Any) -> tuple[list[Tensor], list[Tensor]]:
        """Entries and coordinates at the nodes of a block."""
        entries = [read(e)[:, block.nodes] for e in block.row.entries]
        return entries, self._coordinates(block.nodes, times)

    def _column(self, value: Any, block: Block) -> Tensor:
        found = torch.as_tensor(value, dtype=torch.float64, device=self.grid.device)
        return found.expand(*found.shape[:-1], len(block.nodes)) if found.dim() else found

    def residual(self, times: Tensor, state: Tensor, rate: Tensor) -> Tensor:
        """G at S times: states and rates (S, n) → (S, n)."""
        read = self._reader(state, rate)
        out = torch.empty_like(state)
        for block in self.blocks:
            value = block.row.value(*self._given(block, times, read))
            out[:, self._rows(block)] = self._column(value, block)
        return out

    def jacobians(self, time: float, state: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        """∂G/∂Z and ∂G/∂Z' at one time, each (n, n)."""
        read = self._reader(state[None], rate[None])
        n = self.grid.size
        by_state = state.new_zeros((self.size, self.size))
        by_rate = torch.zeros_like(by_state)
        for block in self.blocks:
            partials, _ = block.row.partials(*self._given(block, instant(time), read))
            rows = self._rows(block)
            for entry, partial in zip(block.row.entries, partials, strict=True):
                target = by_rate if entry.rate else by_state
                slope = self._column(partial, block).reshape(-1).expand(len(block.nodes))
                start = entry.component * n
                if entry.index == self.zero:
                    target[rows, start + block.nodes] += slope
                else:
                    matrix = self.grid.matrix(entry.index)[block.nodes]
                    target[rows, start : start + n] += slope[:, None] * matrix
        return by_state, by_rate

    def time_partial(self, time: float, state: Tensor, rate: Tensor) -> Tensor:
        """∂G/∂t at fixed Z and Z', (n,)."""
        read = self._reader(state[None], rate[None])
        out = torch.empty_like(state)
        for block in self.blocks:
            _, explicit = block.row.partials(*self._given(block, instant(time), read))
            out[self._rows(block)] = self._column(explicit, block).reshape(-1)
        return out

    def misfit(self, time: float, state: Tensor) -> float:
        """How far a state (n,) is from satisfying its conditions, relative to their terms."""
        read = self._reader(state[None], torch.zeros_like(state)[None])
        evolving = self.differential.reshape(self.count, -1).any(1)
        worst = 0.0
        for block in self.blocks:
            if block.row.is_rate or not evolving[block.component]:
                continue
            given = self._given(block, instant(time), read)
            defect = self._column(block.row.value(*given), block).abs().max().item()
            size = max(
                self._column(partial, block).abs().max().item() * read(entry).abs().max().item()
                for entry, partial in zip(
                    block.row.entries, block.row.partials(*given)[0], strict=True
                )
            )
            worst = max(worst, defect / max(size, defect, 1e-300))
        return worst

    def scales(self, state: Tensor) -> Tensor:
        """Size of every unknown (n,): the largest of its component in states (S, n)."""
        size = state.abs().reshape(-1, self.count, self.grid.size).amax((0, 2))
        size = size.clamp(min=max(1e-8 * size.max().item(), 1e-300))
        return size.repeat_interleave(self.grid.size)


def instant(time: float) -> Tensor:
    """One time as a tensor (1,) that keeps its digits."""
    return torch.tensor([time], dtype=torch.float64)
