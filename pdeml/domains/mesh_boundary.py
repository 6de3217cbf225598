"""Domains whose boundary is made of facets: distance, normals, named parts, quadrature."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pdeml.domains.mesh_simplex import blend, gaps, nearest_weights, simplex_rule, simplex_weights
from pdeml.domains.mesh_tree import CHUNK, BoxTree, spatial_order
from pdeml.domains.space import Primitive


class BoundaryQuadrature(NamedTuple):
    """Integration over a boundary: ∫_Γ g·n dS ≈ Σ_q w_q g(x_q)·n_q.

    Attributes
    ----------
    points : shape (Q, d).
    normals : outward unit normals, shape (Q, d).
    weights : shape (Q,); their sum is the measure of what was asked for.
    parts : index of each point's part in ``domain.parts``, LongTensor of shape (Q,).
    """

    points: Tensor
    normals: Tensor
    weights: Tensor
    parts: Tensor


class Faceted(Primitive):
    """What `Mesh` and `Surface` have in common: everything that depends on the boundary alone.

    On the boundary of a solid, the sampling method ``"grid"`` is ``"sobol"``.

    Attributes
    ----------
    vertices : shape (V, d).
    facets :
        Vertices of each boundary facet, shape (F, k), ordered so that the right-hand rule (in 2-D:
        the right of the direction of travel) points outwards.
    facet_parts : index of each facet's part in ``parts``, shape (F,).
    """

    vertices: np.ndarray
    facets: np.ndarray
    facet_parts: np.ndarray
    _names: tuple[str, ...]

    @property
    def _irregular(self) -> bool:  # type: ignore[override]
        return self.dim == 3

    @abstractmethod
    def _encloses(self, points: Tensor, piece: Tensor, weights: Tensor) -> Tensor:
        """Which points are inside, given the nearest piece and the nearest point's weights."""

    @cached_property
    def _skin(self) -> tuple[np.ndarray, np.ndarray]:
        """The boundary as pieces that are simplices: corners (S, d, d), the facet of each (S,).

        A facet of four corners is four triangles about its middle. Where it is warped, they and the
        bilinear surface bound the same volume.
        """
        corners, number = self.vertices[self.facets], np.arange(len(self.facets))
        if corners.shape[1] == self.dim:
            return corners, number
        middle = np.broadcast_to(corners.mean(axis=1, keepdims=True), corners.shape)
        pieces = np.stack([corners, np.roll(corners, -1, axis=1), middle], axis=2)
        return pieces.reshape(-1, 3, 3), number.repeat(4)

    @cached_property
    def _skin_parts(self) -> np.ndarray:
        return self.facet_parts[self._skin[1]]

    @cached_property
    def _area_vectors(self) -> np.ndarray:
        """Outward normal of each piece times its measure, shape (S, d)."""
        corners, _ = self._skin
        edges = corners[:, 1:] - corners[:, :1]
        if self.dim == 2:
            return np.stack([edges[:, 0, 1], -edges[:, 0, 0]], axis=1)
        return np.cross(edges[:, 0], edges[:, 1]) / 2

    @cached_property
    def _measures(self) -> np.ndarray:
        return np.linalg.norm(self._area_vectors, axis=1)

    @cached_property
    def _unit_normals(self) -> np.ndarray:
        return self._area_vectors / self._measures[:, None]

    @property
    def area(self) -> float:
        return math.fsum(self._measures)

    def facets_of(self, part: str) -> np.ndarray:
        """Vertices of the facets of a part of the boundary, shape (F, k).

        Raises
        ------
        InvalidOption
            If there is no such part.
        """
        return self.facets[self.facet_parts == self.part_index(part)]

    @property
    def _pieces(self) -> tuple[tuple[tuple[str, ...], float], ...]:
        return tuple(
            ((name,), math.log(math.fsum(self._measures[self._skin_parts == part])))
            for part, name in enumerate(self._names)
        )

    @property
    def _surface_dim(self) -> int:  # type: ignore[override]
        # A part of one point needs no coordinate, one of several points a coordinate to choose by.
        return len(self.facets) > len(self._names) if self.dim == 1 else self.dim - 1

    # Distance

    @cached_property
    def _facet_tree(self) -> BoxTree:
        return BoxTree(self._skin[0])

    def _corners_of(self, piece: Tensor) -> Tensor:
        return torch.tensor(self._skin[0], device=piece.device)[piece]

    def _nearest(self, points: Tensor) -> Tensor:
        """Index of the piece nearest to each point."""
        tree = self._facet_tree.to(points.device)
        corners = torch.tensor(self._skin[0], device=points.device)
        # Points that are not finite have no nearest piece; any will do.
        points = torch.where(points.isfinite().all(dim=1, keepdim=True), points, corners[0, 0])
        nearest = []
        for chunk in points.detach().split(CHUNK):

            def gap(point: Tensor, item: Tensor, chunk: Tensor = chunk) -> Tensor:
                return gaps(chunk[point], corners[item])

            nearest.append(tree.nearest(chunk, gap))
        return torch.cat(nearest) if nearest else points.new_empty(0, dtype=torch.long)

    def _distance(self, points: Tensor) -> Tensor:
        piece = self._nearest(points)
        corners = self._corners_of(piece)
        weights = nearest_weights(points, corners)
        away = torch.linalg.vector_norm(points - blend(weights, corners), dim=1)
        # Beside the middle of a piece, the height over its plane is the distance, with its sign
        # and with a gradient on the boundary too.
        height = ((points - corners[:, 0]) * self._normals_of(piece)).sum(dim=1)
        edge = (weights <= 0).any(dim=1)
        rows = edge.nonzero()[:, 0]
        inside = self._encloses(points[rows].detach(), piece[rows], weights[rows].detach())
        sign = torch.ones_like(away)
        sign[rows] = torch.where(inside, -1.0, 1.0).double()
        return torch.where(edge, sign * away, height)

    def _normals_of(self, piece: Tensor) -> Tensor:
        return torch.tensor(self._unit_normals, device=piece.device)[piece]

    def _normals(self, points: Tensor) -> Tensor:
        return self._normals_of(self._nearest(points))

    def _part_of(self, points: Tensor) -> Tensor:
        return torch.tensor(self._skin_parts, device=points.device)[self._nearest(points)]

    # Sampling and quadrature

    @cached_property
    def _facet_order(self) -> np.ndarray:
        """Pieces by part; in 2-D along the boundary, in 3-D neighbours together."""
        if self.dim == 2:
            order = _along(self.facets)
        else:
            order = spatial_order(self._skin[0].mean(axis=1))
        return order[np.argsort(self._skin_parts[order], kind="stable")]

    def _surface(self, part: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        device, order = u.device, self._facet_order
        measures = torch.tensor(self._measures[order], device=device)
        ends = measures.cumsum(0)
        counts = np.bincount(self._skin_parts, minlength=len(self._names))
        last = torch.tensor(counts, device=device).cumsum(0) - 1
        first = last + 1 - torch.tensor(counts, device=device)
        starts = ends - measures
        low, high = starts[first[part]], ends[last[part]]
        along = u[:, 0] if u.shape[1] else torch.full_like(low, 0.5)
        target = low + along * (high - low)
        place = torch.searchsorted(ends, target, right=True)
        place = torch.minimum(torch.maximum(place, first[part]), last[part])
        inner = ((target - starts[place]) / measures[place]).clamp(0, 1)
        piece = torch.tensor(order, device=device)[place]
        weights = simplex_weights(torch.cat([inner[:, None], u[:, 1:]], dim=1)[:, : self.dim - 1])
        points = blend(weights, self._corners_of(piece))
        return points, self._normals_of(piece)

    def boundary_quadrature(self, on: str | None = None, degree: int = 2) -> BoundaryQuadrature:
        """Points and weights that integrate over the boundary or a part of it.

        Parameters
        ----------
        on : name of a part; default the whole boundary.
        degree : polynomials up to this degree are integrated exactly on every facet.

        Returns
        -------
        BoundaryQuadrature
            In float64; the weights are positive and their sum is the measure of the facets.

        Raises
        ------
        InvalidOption
            If there is no such part, or the degree is no integer from 0 to 40.
        """
        rule, shares = simplex_rule(self.dim - 1, degree)
        corners, owners = self._skin
        every = np.arange(len(owners))
        chosen = every if on is None else every[self._skin_parts == self.part_index(on)]
        points = np.einsum("qk,fkd->fqd", rule, corners[chosen])
        count = len(shares)
        return BoundaryQuadrature(
            torch.tensor(points.reshape(-1, self.dim)),
            torch.tensor(self._unit_normals[chosen].repeat(count, axis=0)),
            torch.tensor(np.outer(self._measures[chosen], shares).ravel()),
            torch.tensor(self._skin_parts[chosen].repeat(count)),
        )


def _along(facets: np.ndarray) -> np.ndarray:
    """Edges of closed chains in the order of travel, one chain after the other."""
    following: dict[int, list[int]] = {}
    for edge, start in enumerate(facets[:, 0].tolist()):
        following.setdefault(start, []).append(edge)
    ends, order = facets[:, 1].tolist(), []
    for start in facets[:, 0].tolist():
        while following[start]:
            edge = following[start].pop()
            order.append(edge)
            start = ends[edge]
    return np.array(order)
