"""A domain of which only points are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import sympy as sp
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from pdeml.domains.domain import Bounds, Domain, Face
from pdeml.domains.sampling import thin
from pdeml.domains.validation import looked_up, symbols_of
from pdeml.errors import InvalidOption, InvalidProblem


class PointCloud(Domain):
    """Points inside, and points of the boundary with their normals where they are given.

    Samples are points of the cloud, in random order; where more are asked for than there are, each
    is given as often as the others, give or take one. `contains` holds for the points themselves,
    `signed_distance` is the distance to the nearest of them (of either kind).

    Parameters
    ----------
    coordinates : SymPy symbols.
    points : inside, shape (N, d).
    boundary : shape (M, d), or None.
    normals : outward unit normals at `boundary`, or None.

    Raises
    ------
    InvalidProblem
        If shapes disagree or a number is not finite.
    """

    def __init__(
        self,
        coordinates: Sequence[sp.Symbol],
        points: Any,
        boundary: Any = None,
        normals: Any = None,
    ) -> None:
        self.coordinates = symbols_of(coordinates, "PointCloud")
        self._points = _array(points, self.dim, "points")
        self._edge = None if boundary is None else _array(boundary, self.dim, "boundary")
        self._outward = None if normals is None else _array(normals, self.dim, "normals")
        if self._outward is not None and (
            self._edge is None or len(self._outward) != len(self._edge)
        ):
            raise InvalidProblem("PointCloud: give one normal for each point of the boundary.")
        everything = self._points if self._edge is None else torch.cat([self._points, self._edge])
        self.bounds: Bounds = (
            tuple(everything.amin(0).tolist()),
            tuple(everything.amax(0).tolist()),
        )
        self._tree = cKDTree(everything.numpy())

    @property
    def volume(self) -> None:
        return None

    @property
    def area(self) -> None:
        return None

    @property
    def _faces(self) -> tuple[Face, ...]:
        return () if self._edge is None else (Face(0, 0, ("boundary",), 0.0),)

    def _distance(self, points: Tensor) -> Tensor:
        gap, _ = self._tree.query(points.detach().cpu().numpy())
        return torch.as_tensor(gap, device=points.device)

    def _boundary(self) -> Tensor:
        if self._edge is None:
            raise InvalidOption(
                f"{self!r} has no points on the boundary; make it with boundary_points."
            )
        return self._edge

    def _normals(self, points: Tensor) -> Tensor:
        edge = self._boundary()
        if self._outward is None:
            raise InvalidOption(
                f"{self!r} has no normals; make it with boundary_normals for Neumann and Robin."
            )
        _, nearest = cKDTree(edge.numpy()).query(points.detach().cpu().numpy())
        return self._outward[torch.as_tensor(nearest)].to(points.device)

    def _part_of(self, points: Tensor) -> Tensor:
        return torch.zeros(len(points), dtype=torch.long, device=points.device)

    def _draw(
        self, n: int, extra: int, method: str, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        chosen = self._points[_repeated(len(self._points), n, generator)]
        return chosen.to(generator.device), _unit(n, extra, generator)

    def _draw_boundary(
        self, n: int, extra: int, part: int | None, method: str, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = _repeated(len(self._boundary()), n, generator)
        points = self._boundary()[rows].to(generator.device)
        # where no normal is known, a condition that needs one must not find a wrong one
        normals = torch.full_like(points, torch.nan)
        if self._outward is not None:
            normals = self._outward[rows].to(generator.device)
        return points, normals, self._part_of(points), _unit(n, extra, generator)

    @property
    def _key(self) -> tuple:
        def content(tensor: Tensor | None) -> bytes:
            return b"" if tensor is None else tensor.numpy().tobytes()

        return "cloud", self.coordinates, *map(content, (self._points, self._edge, self._outward))

    def __repr__(self) -> str:
        edge = 0 if self._edge is None else len(self._edge)
        names = ", ".join(map(str, self.coordinates))
        return f"PointCloud(({names}), {len(self._points)} points, {edge} on the boundary)"

    def to_dict(self) -> dict[str, Any]:
        def listed(tensor: Tensor | None) -> Any:
            return None if tensor is None else tensor.tolist()

        return {
            "type": "PointCloud",
            "coordinates": [symbol.name for symbol in self.coordinates],
            "points": self._points.tolist(),
            "boundary": listed(self._edge),
            "normals": listed(self._outward),
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        coordinates = looked_up(data["coordinates"], symbols)
        return cls(coordinates, data["points"], data["boundary"], data["normals"])


def _array(values: Any, dim: int, what: str) -> Tensor:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != dim or not len(array) or not np.isfinite(array).all():
        raise InvalidProblem(
            f"PointCloud: {what} have shape {array.shape}; finite numbers of shape (N, {dim}), "
            "N ≥ 1, are needed."
        )
    return torch.from_numpy(array)


def _repeated(count: int, n: int, generator: torch.Generator) -> Tensor:
    """n row numbers below `count`: all of them equally often, the rest at random."""
    rows = torch.arange(count)
    whole = rows.repeat(n // count)
    rest = thin(rows, n % count, generator) if n % count else rows[:0]
    found = torch.cat([whole, rest])
    return found[torch.randperm(n, generator=generator, device=generator.device).to(found.device)]


def _unit(n: int, extra: int, generator: torch.Generator) -> Tensor:
    return torch.rand((n, extra), generator=generator, dtype=torch.float64, device=generator.device)
