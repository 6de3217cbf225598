"""Which cell of a mesh holds a point."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pdeml.domains.mesh_tree import CHUNK, BoxTree

# A point is in a cell if no barycentric coordinate is below zero by more than rounding.
ROUNDING = 64 * np.finfo(np.float64).eps


class Locator:
    """Cells by the points in them.

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
        self.tree = BoxTree(corners)
        self.origins, self.gradients, self.slack = map(
            torch.tensor, (corners[:, 0], gradients, slack)
        )

    def locate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The cell that holds each point, and its barycentric coordinates; see `Mesh.locate`."""
        device, dim = points.device, points.shape[1]
        tree = self.tree.to(device)
        origins, gradients, slack = (
            each.to(device) for each in (self.origins, self.gradients, self.slack)
        )
        cell = torch.full((len(points),), -1, device=device)
        weights = points.new_full((len(points), dim + 1), torch.nan)
        for start in range(0, len(points), CHUNK):
            chunk = points[start : start + CHUNK]
            point, item = tree.pairs(chunk)
            offset = chunk[point] - origins[item]
            inner = (gradients[item] * offset[:, None]).sum(dim=2)
            inner = torch.cat([1 - inner.sum(dim=1, keepdim=True), inner], dim=1)
            hits = (inner >= -slack[item]).all(dim=1).nonzero()[:, 0]
            found = start + point[hits]
            # Pairs are ordered by points: the first of each is kept.
            fresh = torch.ones_like(found, dtype=torch.bool)
            fresh[1:] = found[1:] != found[:-1]
            cell[found[fresh]] = item[hits[fresh]]
            weights[found[fresh]] = inner[hits[fresh]]
        return cell, weights
