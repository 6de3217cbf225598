"""Reference cells: local coordinates of points, and Lagrange's shape functions in them."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from pdeml.domains import mesh_tensor

STRAIGHT = 1e-13  # of its largest edge: by so much at most is a cell that counts as straight bent


class Simplices:
    """Intervals, triangles or tetrahedra: affine images of the unit simplex.

        x = v_0 + Σ_i ξ_i (v_i − v_0),   ξ_i ≥ 0,   Σ_i ξ_i ≤ 1

    Shape functions of degree p are the polynomials of degree p.

    Parameters
    ----------
    corners : of each cell, (C, d + 1, d).
    """

    def __init__(self, corners: Tensor):
        self.origins = corners[:, 0]
        self.edges = corners[:, 1:] - self.origins[:, None]
        self.inverses = torch.linalg.inv(self.edges.transpose(1, 2))

    @staticmethod
    def size(dim: int, degree: int) -> int:
        """Number of nodes of a cell."""
        return math.comb(degree + dim, dim)

    def local(self, points: Tensor, cells: Tensor) -> Tensor:
        """ξ (N, d) of points (N, d) in the cells of these numbers (N,)."""
        return (self.inverses[cells] * (points - self.origins[cells])[:, None]).sum(2)

    def places(self, local: Tensor, cells: Tensor) -> Tensor:
        """x (N, d) of local coordinates (N, d)."""
        return self.origins[cells] + (local[:, :, None] * self.edges[cells]).sum(1)

    def slopes(self, local: Tensor, cells: Tensor) -> Tensor:
        """∂x/∂ξ_i (N, i, d) at local coordinates (N, d)."""
        return self.edges[cells]

    @staticmethod
    def inside(local: Tensor, slack: float) -> Tensor:
        """Which local coordinates (N, d) are in the reference cell, or out of it by little."""
        return (local >= -slack).all(1) & (local.sum(1) <= 1 + slack)

    @staticmethod
    def clamped(local: Tensor) -> Tensor:
        """Local coordinates moved into the reference cell."""
        weights = torch.cat([1 - local.sum(1, keepdim=True), local], dim=1).clamp(min=0)
        return (weights / weights.sum(1, keepdim=True))[:, 1:]

    @staticmethod
    def shape_functions(local: Tensor, reference: Tensor, degree: int) -> Tensor:
        """Lagrange shape functions (N, n) of the nodes `reference` (n, d) at local coordinates."""
        return _powers(local, degree) @ torch.linalg.inv(_powers(reference, degree))


class Tensors:
    """Quadrilaterals or hexahedra: multilinear images of the unit square or cube.

    Shape functions of degree p are the polynomials of degree p in each local coordinate, products
    of those of an interval: their nodes form a grid.

    Parameters
    ----------
    corners : of each cell, (C, 2^d, d), as `pdeml.Mesh` has them.
    """

    def __init__(self, corners: Tensor):
        c = self.coefficients = mesh_tensor.coefficients(corners)
        linear = [2**axis for axis in range(corners.shape[2])]
        twists = [k for k in range(1, c.shape[1]) if k not in linear]
        # x = c_0 + Σ_i ξ_i c_i in boxes and other parallelepipeds: no iteration is needed
        self.inverses: Tensor | None = None
        if not bool(
            (c[:, twists].abs().amax((1, 2)) > STRAIGHT * c[:, 1:].abs().amax((1, 2))).any()
        ):
            self.inverses = torch.linalg.inv(c[:, linear].transpose(1, 2))

    @staticmethod
    def size(dim: int, degree: int) -> int:
        """Number of nodes of a cell."""
        return (degree + 1) ** dim

    def local(self, points: Tensor, cells: Tensor) -> Tensor:
        """ξ (N, d) of points (N, d) in the cells of these numbers (N,)."""
        c = self.coefficients[cells]
        if self.inverses is None:
            return mesh_tensor.inverted(points, c)
        return (self.inverses[cells] * (points - c[:, 0])[:, None]).sum(2)

    def places(self, local: Tensor, cells: Tensor) -> Tensor:
        """x (N, d) of local coordinates (N, d)."""
        return mesh_tensor.placed(local, self.coefficients[cells])

    def slopes(self, local: Tensor, cells: Tensor) -> Tensor:
        """∂x/∂ξ_i (N, i, d) at local coordinates (N, d)."""
        return mesh_tensor.slopes(local, self.coefficients[cells])

    @staticmethod
    def inside(local: Tensor, slack: float) -> Tensor:
        """Which local coordinates (N, d) are in the reference cell, or out of it by little."""
        return ((local >= -slack) & (local <= 1 + slack)).all(1)

    @staticmethod
    def clamped(local: Tensor) -> Tensor:
        """Local coordinates moved into the reference cell."""
        return local.nan_to_num(0.5).clamp(0, 1)

    @staticmethod
    def shape_functions(local: Tensor, reference: Tensor, degree: int) -> Tensor:
        """Lagrange shape functions (N, n) of the nodes `reference` (n, d) at local coordinates."""
        found = torch.ones((len(local), len(reference)), dtype=local.dtype, device=local.device)
        for column, places in zip(local.split(1, dim=1), reference.unbind(1), strict=True):
            # the same coordinate of two nodes differs by rounding
            rounded, which = torch.unique(places.round(decimals=9), return_inverse=True)
            nodes = torch.zeros_like(rounded).scatter_(0, which, places)
            found = found * Simplices.shape_functions(column, nodes[:, None], degree)[:, which]
        return found


def _powers(points: Tensor, degree: int) -> Tensor:
    """Monomials up to a degree, (N, n), the first of them 1."""
    dim = points.shape[1]
    exponents = [e for e in itertools.product(range(degree + 1), repeat=dim) if sum(e) <= degree]
    columns = []
    for exponent in exponents:
        column = torch.ones_like(points[:, 0])
        for axis, power in enumerate(exponent):
            for _ in range(power):
                column = column * points[:, axis]
        columns.append(column)
    return torch.stack(columns, dim=1)
