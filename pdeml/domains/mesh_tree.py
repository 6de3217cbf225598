"""A balanced tree of bounding boxes: which simplices are near points, for all points at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from torch import Tensor

BRANCH = 4  # children per node
LEAF = 4  # at most so many items in a leaf
CHUNK = 2**14  # points in one pass: what a pass touches stays in the cache

# Boxes are wider than their items by so many units in the last place of their corners.
SLACK = 16 * np.finfo(np.float64).eps

Gap = Callable[[Tensor, Tensor], Tensor]


class BoxTree:
    """Bounding boxes of n items, split at the medians of their centres.

    All points descend together, one level at a time, as pairs (point, node); there is no loop over
    points. Unlike a grid of equal bins, the tree follows the items where a mesh is graded.

    Parameters
    ----------
    corners : of each item, shape (n, k, d).
    """

    def __init__(self, corners: np.ndarray) -> None:
        order, depth = _split(corners.mean(axis=1))
        lower, upper = corners.min(axis=1)[order], corners.max(axis=1)[order]
        slack = SLACK * np.maximum(np.abs(lower), np.abs(upper))
        # A point x is in a box if (x, −x) ≥ (lower, −upper).
        boxes = np.concatenate([lower - slack, -upper - slack], axis=1)
        self.items = torch.tensor(order)
        self.levels: list[Tensor] = []
        for level in range(1, depth + 2):
            count = BRANCH**level if level <= depth else len(order)
            sides = boxes.reshape(count, -1, boxes.shape[1]).min(axis=1)
            families = sides.reshape(BRANCH ** (level - 1), -1, boxes.shape[1]).swapaxes(1, 2)
            self.levels.append(torch.tensor(np.ascontiguousarray(families)))

    def to(self, device: torch.device) -> Self:
        """This tree on a device."""
        if self.items.device == device:
            return self
        moved = object.__new__(type(self))
        moved.items = self.items.to(device)
        moved.levels = [level.to(device) for level in self.levels]
        return moved

    def pairs(self, points: Tensor, margin: float = 0.0) -> tuple[Tensor, Tensor]:
        """Points and the items in whose boxes, widened by ``margin``, they are.

        Parameters
        ----------
        points : shape (N, d).

        Returns
        -------
        point, item : LongTensors of one length, points in ascending order.
        """
        sides = torch.cat([points + margin, margin - points], dim=1)
        return self._descend(sides, lambda point, boxes: _all(sides[point, :, None] >= boxes))

    def nearest(self, points: Tensor, gap: Gap) -> Tensor:
        """The item nearest to each point.

        Parameters
        ----------
        points : shape (N, d), finite.
        gap : distance of pairs, from indices of points and of items of one length.

        Returns
        -------
        LongTensor, shape (N,)
        """
        sides = torch.cat([points, -points], dim=1)

        def squares(point: Tensor, boxes: Tensor) -> Tensor:
            return (boxes - sides[point, :, None]).clamp_(min=0).square_().sum(dim=1)

        # The item at the end of the nearest boxes bounds the distance from above.
        every = torch.arange(len(points), device=points.device)
        node = torch.zeros_like(every)
        for families in self.levels:
            choice = squares(every, families[node]).argmin(dim=1)
            node = node * families.shape[2] + choice
        # The factor keeps rounding from dropping the box of the nearest item.
        bound = gap(every, self.items[node]).square() * (1 + 1e-9)
        point, item = self._descend(
            sides, lambda point, boxes: squares(point, boxes) <= bound[point, None]
        )
        gaps = gap(point, item)
        smallest = torch.full_like(bound, torch.inf).scatter_reduce(0, point, gaps, "amin")
        winners = (gaps == smallest[point]).nonzero()[:, 0]
        # Pairs are ordered by points: the first winner of each.
        return item[winners[torch.searchsorted(point[winners], every)]]

    def _descend(
        self, sides: Tensor, keep: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Pairs whose boxes are all kept, from the root to the items."""
        point = torch.arange(len(sides), device=sides.device)
        node = torch.zeros_like(point)
        for families in self.levels:
            row, child = keep(point, families[node]).nonzero().T
            point, node = point[row], node[row] * families.shape[2] + child
        return point, self.items[node]


def _all(conditions: Tensor) -> Tensor:
    """All of few conditions, shape (N, few, b) → (N, b): much faster than ``all(dim=1)``."""
    first, *others = conditions.unbind(1)
    for other in others:
        first = first & other
    return first


def _split(centres: np.ndarray) -> tuple[np.ndarray, int]:
    """Items in the order of the leaves, some twice to fill them, and the depth of the tree."""
    count, depth = len(centres), 0
    while LEAF * BRANCH**depth < count:
        depth += 1
    leaves = BRANCH**depth
    size = -(-count // leaves)
    order = np.arange(leaves * size) * count // (leaves * size)
    groups = 1
    while groups < leaves:
        inside = centres[order].reshape(groups, -1, centres.shape[1])
        axis = np.ptp(inside, axis=1).argmax(axis=1)
        along = np.take_along_axis(inside, axis[:, None, None], axis=2)[..., 0]
        moves = np.argsort(along, axis=1, kind="stable")
        order = np.take_along_axis(order.reshape(groups, -1), moves, axis=1).ravel()
        groups *= 2
    return order, depth


def spatial_order(centres: np.ndarray) -> np.ndarray:
    """A permutation that puts neighbours next to each other: the order of the tree's leaves."""
    order = _split(centres)[0]
    return order[np.sort(np.unique(order, return_index=True)[1])]
