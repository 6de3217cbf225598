"""Which cell of a mesh holds a point."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pdeml.domains import mesh_tensor
from pdeml.domains.mesh_tree import CHUNK, BoxTree

# A point is in a cell if no local coordinate is beyond its ends by more than rounding.
ROUNDING = 64 * np.finfo(np.float64).eps


class Simplices:
    """Barycentric coordinates in simplices.

        λ_i = g_i · (x − v_0) for i = 1 … d,    λ_0 = 1 − Σ_i λ_i;    x is inside if all λ_i ≥ 0

    Parameters
    ----------
    corners : of each cell, shape (K, d + 1, d), of positive volume.
    """

    def __init__(self, corners: np.ndarray) -> None:
        gradients = np.linalg.inv((corners[:, 1:] - corners[:, :1]).swapaxes(1, 2))
        every = np.concatenate([-gradients.sum(axis=1, keepdims=True), gradients], axis=1)
        sizes = np.ptp(corners, axis=1).max(axis=1)
        # Rounding moves a coordinate by more in a thin cell, where its gradient is large.
        slack = ROUNDING * np.linalg.norm(every, axis=2) * sizes[:, None]
        self.arrays = tuple(map(torch.tensor, (corners[:, 0], gradients, slack)))

    @staticmethod
    def weights(points: Tensor, arrays: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Weights of the corners (N, d + 1), and which points are inside, given those of pairs."""
        origins, gradients, slack = arrays
        inner = (gradients * (points - origins)[:, None]).sum(dim=2)
        inner = torch.cat([1 - inner.sum(dim=1, keepdim=True), inner], dim=1)
        return inner, (inner >= -slack).all(dim=1)


class Tensors:
    """Multilinear shape functions in quadrilaterals or hexahedra.

        x is inside if 0 ≤ ξ_i ≤ 1 for the ξ that Newton's iteration finds

    Parameters
    ----------
    corners : of each cell, shape (K, 2^d, d), of positive Jacobian.
    """

    def __init__(self, corners: np.ndarray) -> None:
        held, dim = torch.tensor(corners), corners.shape[2]
        c = mesh_tensor.coefficients(held)
        steepest = torch.zeros(len(held), dim, dtype=torch.float64)
        for corner in itertools.product((0.0, 1.0), repeat=dim):
            local = torch.tensor(corner, dtype=torch.float64).expand(len(held), dim)
            rows, determinant = mesh_tensor.cofactors(mesh_tensor.slopes(local, c))
            steepest = torch.maximum(steepest, rows.norm(dim=2) / determinant[:, None])
        sizes = (held.amax(dim=1) - held.amin(dim=1)).amax(dim=1, keepdim=True)
        self.arrays = (c, ROUNDING * steepest * sizes)

    @staticmethod
    def weights(points: Tensor, arrays: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Weights of the corners (N, 2^d), and which points are inside, given those of pairs."""
        c, slack = arrays
        local = mesh_tensor.inverted(points, c)
        inside = ((local >= -slack) & (local <= 1 + slack)).all(dim=1)
        return mesh_tensor.corner_weights(local), inside


class Locator:
    """Cells by the points in them.

    Parameters
    ----------
    corners : of each cell, shape (K, k, d).
    """

    def __init__(self, corners: np.ndarray) -> None:
        kind = Simplices if corners.shape[1] == corners.shape[2] + 1 else Tensors
        self.tree, self.cells, self.corners = BoxTree(corners), kind(corners), corners.shape[1]

    def locate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The cell that holds each point, and the weights of its corners; see `Mesh.locate`."""
        device = points.device
        tree = self.tree.to(device)
        arrays = [each.to(device) for each in self.cells.arrays]
        cell = torch.full((len(points),), -1, device=device)
        weights = points.new_full((len(points), self.corners), torch.nan)
        for start in range(0, len(points), CHUNK):
            chunk = points[start : start + CHUNK]
            point, item = tree.pairs(chunk)
            inner, inside = self.cells.weights(chunk[point], [each[item] for each in arrays])
            hits = inside.nonzero()[:, 0]
            found = start + point[hits]
            # Pairs are ordered by points: the first of each is kept.
            fresh = torch.ones_like(found, dtype=torch.bool)
            fresh[1:] = found[1:] != found[:-1]
            cell[found[fresh]] = item[hits[fresh]]
            weights[found[fresh]] = inner[hits[fresh]]
        return cell, weights
