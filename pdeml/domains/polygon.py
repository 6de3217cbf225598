"""Simple polygons, convex or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import sympy as sp
import torch
from torch import Tensor

from pdeml.domains.domain import Bounds
from pdeml.domains.sampling import select
from pdeml.domains.space import Mapped
from pdeml.domains.validation import looked_up, numbers, shown_all, symbols_of
from pdeml.errors import InvalidProblem

# Edges nearer than this, relative to the polygon's extent, count as touching.
TOUCHING = 1e-12

# Point–edge pairs that a distance query holds in memory at a time.
PAIRS = 2**17


class Polygon(Mapped):
    """A simple polygon: a closed chain of edges that does not meet itself.

    The boundary part ``"edge{i}"`` runs from vertex i to vertex i + 1, in the given order.

    Parameters
    ----------
    coordinates : two SymPy symbols.
    vertices : at least three points (x, y), in either orientation; the first is not repeated.

    Raises
    ------
    InvalidProblem
        If there are too few vertices, one is not finite or repeated, or the boundary crosses or
        touches itself; the message names the vertex or the edges.

    Notes
    -----
    Sampling uses a triangulation by ear clipping (Meisters 1975, Amer. Math. Monthly 82, 648).

    Examples
    --------
    >>> import sympy as sp
    >>> Polygon(sp.symbols("x y"), [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]).area
    8.0
    """

    _unit_dim, _surface_dim = 2, 1

    def __init__(
        self, coordinates: Sequence[sp.Symbol], vertices: Sequence[Sequence[float]]
    ) -> None:
        self.coordinates = symbols_of(coordinates, "Polygon", count=2)
        try:
            corners = list(vertices)
        except TypeError:
            raise InvalidProblem(
                f"Polygon: {vertices!r} are no vertices; give a list of (x, y)."
            ) from None
        if len(corners) < 3:
            raise InvalidProblem(f"Polygon: {len(corners)} vertices were given; it needs three.")
        self.vertices = tuple(
            numbers(corner, 2, f"Polygon: vertex {index}") for index, corner in enumerate(corners)
        )
        lower, upper = self._corners.min(axis=0), self._corners.max(axis=0)
        self.bounds: Bounds = (tuple(lower.tolist()), tuple(upper.tolist()))
        _check_simple(self._corners)

    @property
    def _corners(self) -> np.ndarray:
        return np.array(self.vertices)

    @cached_property
    def _signed_area(self) -> float:
        """Positive for a counter-clockwise polygon (shoelace formula)."""
        x, y = (self._corners - self._corners[0]).T
        return 0.5 * math.fsum(x * np.roll(y, -1)) - 0.5 * math.fsum(np.roll(x, -1) * y)

    @property
    def volume(self) -> float:
        return abs(self._signed_area)

    @property
    def area(self) -> float:
        return math.fsum(self._lengths)

    @cached_property
    def _lengths(self) -> tuple[float, ...]:
        steps = np.roll(self._corners, -1, axis=0) - self._corners
        return tuple(np.hypot(*steps.T).tolist())

    @property
    def _log_volume(self) -> float:
        return math.log(self.volume)

    @property
    def _pieces(self) -> tuple[tuple[tuple[str, ...], float], ...]:
        return tuple(
            ((f"edge{index}",), math.log(length)) for index, length in enumerate(self._lengths)
        )

    def _edges(self, like: Tensor) -> tuple[Tensor, Tensor]:
        start = torch.tensor(self.vertices, dtype=torch.float64, device=like.device)
        return start, start.roll(-1, 0)

    def _nearest(self, points: Tensor) -> Tensor:
        """Index of the edge nearest to each point."""
        start, end = self._edges(points)
        (ax, ay), (sx, sy) = start.T, (end - start).T
        scale = 1 / (sx * sx + sy * sy)
        nearest = []
        # By components, in pieces that stay in the cache: several times faster than (…, 2) arrays.
        for chunk in points.detach().split(max(1, PAIRS // len(start))):
            dx, dy = chunk[:, :1] - ax, chunk[:, 1:] - ay
            along = ((dx * sx + dy * sy) * scale).clamp_(0, 1)
            dx, dy = dx - along * sx, dy - along * sy
            nearest.append((dx * dx + dy * dy).argmin(dim=1))
        return torch.cat(nearest) if nearest else points.new_empty(0, dtype=torch.long)

    def _encloses(self, points: Tensor) -> Tensor:
        """Whether a ray to the right crosses the boundary an odd number of times."""
        (ax, ay), (bx, by) = (corner.T for corner in self._edges(points))
        # Level edges span no height, so their slope is never used.
        slope = torch.where(by == ay, 0.0, (bx - ax) / (by - ay))
        inside = []
        for chunk in points.detach().split(max(1, PAIRS // len(ax))):
            x, y = chunk[:, :1], chunk[:, 1:]
            spans = (ay > y) != (by > y)
            crossing = ax + (y - ay) * slope
            inside.append((spans & (x < crossing)).sum(dim=1) % 2 == 1)
        return torch.cat(inside) if inside else points.new_empty(0, dtype=torch.bool)

    def _distance(self, points: Tensor) -> Tensor:
        start, end = self._edges(points)
        edge = self._nearest(points)
        step = (end - start)[edge]
        offset = points - start[edge]
        along = ((offset * step).sum(-1) / (step * step).sum(-1)).clamp(0, 1)
        distance = torch.linalg.vector_norm(offset - along[:, None] * step, dim=1)
        return torch.where(self._encloses(points), -distance, distance)

    def _part_of(self, points: Tensor) -> Tensor:
        return self._nearest(points)

    def _normals(self, points: Tensor) -> Tensor:
        return self._edge_normals(points)[self._nearest(points)]

    def _edge_normals(self, like: Tensor) -> Tensor:
        start, end = self._edges(like)
        step = (end - start) * math.copysign(1, self._signed_area)
        outward = torch.stack([step[:, 1], -step[:, 0]], dim=1)
        return outward / torch.linalg.vector_norm(outward, dim=1, keepdim=True)

    @cached_property
    def _triangles(self) -> np.ndarray:
        """Vertices of a triangulation, shape (K, 3, 2)."""
        corners = self._corners if self._signed_area > 0 else self._corners[::-1]
        triangles = corners[_clip_ears(corners)]
        steps = triangles[:, 1:] - triangles[:, :1]
        covered = 0.5 * _cross(steps[:, 0], steps[:, 1]).sum()
        if abs(covered - self.volume) > 1e-9 * self.volume:
            raise InvalidProblem(
                f"{self!r} is too thin to be divided into triangles; move its vertices apart."
            )
        return triangles

    def _from_unit(self, u: Tensor) -> Tensor:
        triangles = torch.tensor(self._triangles, device=u.device)
        first, second = (triangles[:, 1:] - triangles[:, :1]).unbind(1)
        areas = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).abs()
        index, inner = select(u[:, 0], areas / areas.sum())
        # The square root makes equal strips of u equal areas, from the apex to the far side.
        near = inner.sqrt()
        weights = torch.stack([1 - near, near * (1 - u[:, 1]), near * u[:, 1]], dim=1)
        return (weights[..., None] * triangles[index]).sum(dim=1)

    def _surface(self, part: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        start, end = self._edges(u)
        return start[part] + u * (end - start)[part], self._edge_normals(u)[part]

    @property
    def _key(self) -> tuple:
        return "polygon", self.coordinates, self.vertices

    def __repr__(self) -> str:
        corners = [shown_all(corner) for corner in self.vertices]
        return f"Polygon({shown_all(self.coordinates)}, {shown_all(corners)})"

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "Polygon",
            "coordinates": [symbol.name for symbol in self.coordinates],
            "vertices": [list(corner) for corner in self.vertices],
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        return cls(looked_up(data["coordinates"], symbols), data["vertices"])


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _check_simple(corners: np.ndarray) -> None:
    """Refuse vertices whose closed chain of edges meets itself."""
    count = len(corners)
    extent = np.ptp(corners, axis=0).max()
    following = np.roll(corners, -1, axis=0)
    step = following - corners
    length = np.hypot(*step.T)
    for index in np.flatnonzero(length <= TOUCHING * extent):
        after = (index + 1) % count
        raise InvalidProblem(
            f"Polygon: the vertices {index} and {after} are the same point "
            f"{shown_all(corners[index].tolist())}; leave one out (the first vertex is not "
            "repeated at the end)."
        )
    unit = step / length[:, None]
    turned = np.roll(unit, -1, axis=0)
    back = (np.abs(_cross(unit, turned)) <= TOUCHING) & ((unit * turned).sum(-1) < 0)
    for index in np.flatnonzero(back):
        raise InvalidProblem(
            f"Polygon: the edges {index} and {(index + 1) % count} lie on each other; the "
            "boundary must enclose an area."
        )
    first, second = np.triu_indices(count, 2)
    apart = (second + 1) % count != first
    first, second = first[apart], second[apart]
    crossing = np.ones(len(first), dtype=bool)
    touching = np.zeros(len(first), dtype=bool)
    for one, two in ((first, second), (second, first)):
        sides = [_cross(step[one], ends[two] - corners[one]) for ends in (corners, following)]
        crossing &= np.sign(sides[0]) * np.sign(sides[1]) < 0
        for ends in (corners, following):
            offset = ends[two] - corners[one]
            along = ((offset * unit[one]).sum(-1)).clip(0, length[one])
            gap = np.hypot(*(offset - along[:, None] * unit[one]).T)
            touching |= gap <= TOUCHING * extent
    for pair in np.flatnonzero(crossing | touching):
        raise InvalidProblem(
            f"Polygon: the edges {first[pair]} and {second[pair]} meet; the boundary must not "
            "cross or touch itself (order the vertices along it)."
        )


def _clip_ears(corners: np.ndarray) -> np.ndarray:
    """Triangles of a counter-clockwise simple polygon, as indices of shape (K, 3)."""
    left = np.arange(len(corners))
    triangles = []
    start = 0
    while len(left) > 3:
        for turn in range(len(left)):
            at = (start + turn) % len(left)
            ear = left[[at - 1, at, (at + 1) % len(left)]]
            others = np.setdiff1d(left, ear, assume_unique=True)
            if _is_ear(corners[ear], corners[others]):
                break
        else:
            # Only rounding leaves no ear: what is left has no area that sampling could see.
            break
        triangles.append(ear)
        left = np.delete(left, at)
        # Going on from the next vertex keeps the triangles fatter than a fan.
        start = at
    return np.array([*triangles, left[:3]])


def _is_ear(triangle: np.ndarray, others: np.ndarray) -> bool:
    sides = np.roll(triangle, -1, axis=0) - triangle
    if _cross(sides[0], sides[1]) <= 0:
        return False
    within = _cross(sides, others[:, None] - triangle) >= 0
    return not within.all(axis=1).any()
