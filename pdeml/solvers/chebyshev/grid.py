"""Tensor-product collocation grids in one and two dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pdeml.solvers.chebyshev.axis import Axis

Index = tuple[int, ...]
"""Order of a derivative along each axis."""


class Grid:
    """The nodes of a box, last axis fastest, and what is linear on them.

    Parameters
    ----------
    axes : one per space coordinate.
    device : of the matrices.
    """

    def __init__(self, axes: Sequence[Axis], device: torch.device | str = "cpu"):
        self.axes = tuple(axes)
        self.device = torch.device(device)
        self.shape = tuple(axis.size for axis in axes)
        mesh = torch.meshgrid(*(axis.nodes for axis in axes), indexing="ij")
        self.points = torch.stack([m.flatten() for m in mesh], dim=1).to(self.device)
        self.size = self.points.shape[0]
        self._matrices: dict[Index, Tensor] = {}
        self._factors: dict[tuple[int, int], Tensor] = {}

    @property
    def dim(self) -> int:
        return len(self.axes)

    def _factor(self, axis: int, order: int) -> Tensor:
        if (axis, order) not in self._factors:
            self._factors[axis, order] = self.axes[axis].matrix(order).to(self.device)
        return self._factors[axis, order]

    def derivative(self, values: Tensor, index: Index) -> Tensor:
        """A partial derivative of nodal values (…, size)."""
        out = values.reshape(-1, *self.shape)
        for axis, order in enumerate(index):
            if order:
                out = _along(out, self._factor(axis, order), axis)
        return out.reshape(values.shape)

    def matrix(self, index: Index) -> Tensor:
        """The same as a matrix (size, size)."""
        if index not in self._matrices:
            out = self._factor(0, index[0])
            for axis in range(1, self.dim):
                out = torch.kron(out, self._factor(axis, index[axis]))
            self._matrices[index] = out
        return self._matrices[index]

    def layer(self, axis: int, side: int, depth: int = 0) -> Tensor:
        """Numbers of the nodes at some depth below a face (side 0: lower, 1: upper end)."""
        numbers = torch.arange(self.size, device=self.device).reshape(self.shape)
        return numbers.select(axis, self.shape[axis] - 1 - depth if side else depth).flatten()

    @property
    def weights(self) -> Tensor:
        """Quadrature weights (size,)."""
        out = self.axes[0].weights
        for axis in self.axes[1:]:
            out = torch.kron(out, axis.weights)
        return out.to(self.device)

    def coefficients(self, values: Tensor) -> Tensor:
        """Nodal values (…, size) → coefficients (…, *shape) of the basis functions of the axes."""
        out = values.reshape(-1, *self.shape)
        for axis, a in enumerate(self.axes):
            out = _along(out, a.transform.to(self.device), axis)
        return out.reshape(*values.shape[:-1], *self.shape)

    def resample(self, values: Tensor, other: Grid) -> Tensor:
        """Values (…, other.size) on another grid of the same box, interpolated to this one."""
        out = other.coefficients(values).reshape(-1, *other.shape)
        for axis, (mine, theirs) in enumerate(zip(self.axes, other.axes, strict=True)):
            out = _along(out, theirs.basis(mine.nodes).to(self.device), axis)
        return out.reshape(*values.shape[:-1], self.size)

    def tails(self, values: Tensor) -> list[float]:
        """Largest of the last tenth of the coefficients per axis, relative to the field's largest.

        Parameters
        ----------
        values : (F, m, size), states of m fields.
        """
        spectrum = self.coefficients(values).abs()
        whole = spectrum.transpose(0, 1).flatten(1).amax(1).clamp(min=1e-300)
        spectrum = spectrum / whole.reshape(1, -1, *[1] * self.dim)
        found = []
        for axis, n in enumerate(self.shape):
            count = max(2, n // 10)
            found.append(spectrum.narrow(axis + 2, n - count, count).max().item())
        return found


def _along(values: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """A matrix applied along one axis of (batch, *shape)."""
    if axis == values.dim() - 2:
        return values @ matrix.T
    return torch.matmul(matrix, values)  # the first of two axes
