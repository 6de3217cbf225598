"""Finite-element functions in torch: at any point, on any device."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pdeml.domains.mesh_kinds import cells_of
from pdeml.domains.mesh_tree import BoxTree
from pdeml.solvers.fem.cells import Simplices, Tensors
from pdeml.solvers.hermite import STENCIL, hermite_weights, stencil_start

CHUNK = 2**15  # points of one pass, bounds memory
SLACK = 1e-9  # a local coordinate that far out of the reference cell still counts as inside


class OutsideWarning(UserWarning):
    """Points outside of the mesh were asked for; their values are NaN."""


class FiniteElementField(nn.Module):
    """Continuous piecewise polynomials on the cells of a mesh, in time by frames.

        u(x, t) = Σ_i u_i(t) φ_i(ξ(x)),   φ_i the Lagrange shape functions of degree 1 to 4

    ξ(x) are local coordinates, found by Newton's iteration in quadrilaterals and hexahedra.

    In time, the polynomial of degree 7 through values and rates at four frames. The arguments are
    JSON data: they rebuild an empty module of the same shape; DOLFINx is not needed. Sums are in
    float64 whatever the dtype of the points, which the result takes. Differentiable in the points
    inside cells.

    Parameters
    ----------
    dim : number of space coordinates d.
    vertices, cells : their numbers V and C.
    degrees : polynomial degree of each field; fields of one degree share their nodes.
    nodes : number of nodes N of each degree, by degree as text.
    frames : number of stored states F; 0 for a steady field.
    counts : cells per axis of a structured mesh of a box, None for another mesh.
    snap : distance outside of the mesh up to which the nearest cell is continued; beyond it NaN.
    cell : kind of the cells, ``"quadrilateral"`` or ``"hexahedron"``; default simplices.

    Attributes
    ----------
    points, corners : vertices (V, d); vertex numbers of each cell (C, k), as `pdeml.Mesh` has them.
    reference_p, dofs_p : nodes of the reference cell (n, d); node numbers of each cell (C, n).
    values_p, rates_p : (F or 1, fields of degree p, N); rates where there are frames.
    """

    points: Tensor
    corners: Tensor
    times: Tensor
    table: Tensor

    def __init__(
        self,
        *,
        dim: int,
        vertices: int,
        cells: int,
        degrees: Sequence[int],
        nodes: Mapping[str, int],
        frames: int = 0,
        counts: Sequence[int] | None = None,
        snap: float = 0.0,
        cell: str | None = None,
    ):
        super().__init__()
        kind = next((k for k in cells_of(dim) if k.name == cell), cells_of(dim)[0])
        self.cell, self.kind = kind.name, Simplices if kind.corners == dim + 1 else Tensors
        self.dim, self.degrees, self.frames, self.snap = dim, tuple(degrees), frames, snap
        self.counts = None if counts is None else tuple(counts)
        whole = torch.int64
        self.register_buffer("points", torch.zeros((vertices, dim), dtype=torch.float64))
        self.register_buffer("corners", torch.zeros((cells, kind.corners), dtype=whole))
        if frames:
            self.register_buffer("times", torch.zeros(frames, dtype=torch.float64))
        for p in sorted(set(self.degrees)):
            size = self.kind.size(dim, p)
            shape = (max(frames, 1), self.degrees.count(p), nodes[str(p)])
            self.register_buffer(f"reference_{p}", torch.zeros((size, dim), dtype=torch.float64))
            self.register_buffer(f"dofs_{p}", torch.zeros((cells, size), dtype=whole))
            for name in ("values", "rates")[: 2 if frames else 1]:
                self.register_buffer(f"{name}_{p}", torch.zeros(shape, dtype=torch.float64))
        self._mesh: dict[str, Any] = {}  # derived from the buffers when first needed
        self._last: tuple[Tensor, Tensor] | None = None

    @property
    def family(self) -> str:
        """P where the elements are on simplices, Q on quadrilaterals and hexahedra."""
        return "P" if self.kind is Simplices else "Q"

    # ------------------------------------------------------------------------------- the mesh

    def _geometry(self) -> dict[str, Any]:
        """The cells, and what finds them."""
        device = self.points.device
        if self._mesh.get("device") != device:
            corners = self.points[self.corners]
            self._mesh = {"device": device, "cells": self.kind(corners)}
            if self.counts is None:
                self._mesh["tree"] = BoxTree(corners.cpu().numpy()).to(device)
            else:
                self._mesh["table"] = self._table(corners.mean(1))
        return self._mesh

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        """Axes whose order tells the cells of a box apart."""
        if self.kind is Tensors:
            return []
        return list(itertools.combinations(range(self.dim), 2))

    def _slots(self, points: Tensor) -> Tensor:
        """Number of the box of a structured mesh and of the cell in it, from coordinates.

        The simplices of a box are told apart by the order of the coordinates within it.
        """
        assert self.counts is not None
        lower, upper = self.points.amin(0), self.points.amax(0)
        counts = torch.tensor(self.counts, device=points.device)
        scaled = (points - lower) / (upper - lower) * counts
        box = torch.minimum(scaled.floor().long().clamp(min=0), counts - 1)
        inside = scaled - box
        slot = box[:, 0]
        for axis in range(1, self.dim):
            slot = slot * self.counts[axis] + box[:, axis]
        for i, j in self._pairs:
            slot = 2 * slot + (inside[:, i] >= inside[:, j])
        return slot

    def _table(self, centres: Tensor) -> Tensor:
        """The cell of every slot."""
        assert self.counts is not None
        size = math.prod(self.counts) * 2 ** len(self._pairs)
        table = torch.zeros(size, dtype=torch.int64, device=centres.device)
        table[self._slots(centres)] = torch.arange(len(centres), device=centres.device)
        return table

    def cells_of(self, points: Tensor) -> Tensor:
        """The cell of each point (N, d) → (N,), −1 where there is none.

        The last set of points is remembered: collocation points are located once.
        """
        points = points.detach()
        if self._last is not None:
            known, cells = self._last
            if known.device == points.device and torch.equal(known, points):
                return cells
        geometry = self._geometry()
        if self.counts is None:
            cells = self._searched(points, geometry)
        else:
            cells = geometry["table"][self._slots(points)]
            lower, upper = self.points.amin(0), self.points.amax(0)
            beyond = torch.maximum(lower - points, points - upper).amax(1)
            # NaN is outside too
            cells = torch.where(beyond <= self.snap, cells, -1)
        self._last = (points, cells)
        return cells

    def _searched(self, points: Tensor, geometry: Mapping[str, Any]) -> Tensor:
        """Cells of any mesh, by the tree of their bounding boxes."""
        known, tree = geometry["cells"], geometry["tree"]
        cells = torch.full((len(points),), -1, device=points.device)
        for start in range(0, len(points), CHUNK):
            chunk = points[start : start + CHUNK]
            point, item = tree.pairs(chunk, self.snap)
            hits = torch.nonzero(known.inside(known.local(chunk[point], item), SLACK))[:, 0]
            cells[start + point[hits]] = item[hits]
        lost = torch.nonzero((cells < 0) & torch.isfinite(points).all(1))[:, 0]
        if len(lost):
            rest = points[lost]

            def gap(point: Tensor, item: Tensor) -> Tensor:
                foot = known.places(known.clamped(known.local(rest[point], item)), item)
                return torch.linalg.vector_norm(foot - rest[point], dim=1)

            nearest = tree.nearest(rest, gap)
            near = gap(torch.arange(len(rest), device=rest.device), nearest) <= self.snap
            cells[lost[near]] = nearest[near]
        return cells

    # ------------------------------------------------------------------------------- values

    def forward(self, points: Tensor) -> Tensor:
        """(N, d) → (N, m)."""
        exact = points.to(torch.float64)
        cells = self.cells_of(exact[:, : self.dim].contiguous())
        outside = int((cells < 0).sum())
        if outside:
            warnings.warn(
                f"{outside} of {len(points)} points lie outside of the mesh; their values are NaN.",
                OutsideWarning,
                stacklevel=2,
            )
        parts = [
            self._values(p, c) for p, c in zip(exact.split(CHUNK), cells.split(CHUNK), strict=True)
        ]
        return torch.cat(parts).to(points.dtype)

    def _values(self, points: Tensor, cells: Tensor) -> Tensor:
        known, held = self._geometry()["cells"], cells.clamp(min=0)
        local = known.local(points[:, : self.dim], held)
        frames, steps = self._frames(points)
        columns: list[Tensor] = [points] * len(self.degrees)
        for p in sorted(set(self.degrees)):
            shapes = known.shape_functions(local, getattr(self, f"reference_{p}"), p)
            dofs = getattr(self, f"dofs_{p}")[held]
            found = self._sums(getattr(self, f"values_{p}"), dofs, shapes, frames, steps, 0)
            if self.frames:
                found = found + self._sums(
                    getattr(self, f"rates_{p}"), dofs, shapes, frames, steps, 1
                )
            for k, column in zip(
                [i for i, q in enumerate(self.degrees) if q == p], found.unbind(1), strict=True
            ):
                columns[k] = column
        out = torch.stack(columns, dim=1)
        return torch.where(cells[:, None] < 0, torch.nan, out)

    def _frames(self, points: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Numbers of the frames of each point (N, q), and weights of their values and rates."""
        if not self.frames:
            zeros = torch.zeros((len(points), 1), dtype=torch.int64, device=points.device)
            return zeros, [torch.ones_like(zeros, dtype=torch.float64)]
        count = min(STENCIL, self.frames)
        first = stencil_start(self.times, points[:, -1].detach().contiguous())
        frames = first[:, None] + torch.arange(count, device=first.device)
        return frames, hermite_weights(self.times[frames], points[:, -1])

    @staticmethod
    def _sums(
        data: Tensor,
        dofs: Tensor,
        shapes: Tensor,
        frames: Tensor,
        steps: Sequence[Tensor],
        which: int,
    ) -> Tensor:
        """Σ over frames and nodes, (N, fields), of data (F, fields, nodes)."""
        total = shapes.new_zeros((len(shapes), data.shape[1]))
        for q in range(frames.shape[1]):
            # fields come last when numbers and slices are mixed: (N, n, fields)
            picked = data.permute(0, 2, 1)[frames[:, q, None], dofs]
            total = total + steps[which][:, q, None] * (shapes[:, :, None] * picked).sum(1)
        return total


def filled(config: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> FiniteElementField:
    """A field from its config and arrays."""
    field = FiniteElementField(**config)
    field.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    return field
