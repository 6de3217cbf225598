"""Domains in space: made of primitives, sampled by proposals from them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from pdeml.domains.domain import Domain, Face
from pdeml.domains.sampling import allocate, grid_counts, reject, select, shares, unit_points


class Space(Domain):
    """A domain without time: one primitive, or several combined.

    Interior points are proposed from primitives that cover the domain, boundary points from the
    boundaries of all its primitives, both in proportion to their measures; those that are not on
    the domain, or are there twice, are rejected.
    """

    @property
    @abstractmethod
    def _leaves(self) -> tuple[tuple[Primitive, float], ...]:
        """The primitives, and −1 for each whose normals point into this domain (else +1)."""

    @property
    @abstractmethod
    def _covers(self) -> tuple[Mapped, ...]:
        """Primitives whose union holds this domain: interior samples are proposed from them."""

    @abstractmethod
    def _evaluate(self, values: Iterator[Tensor]) -> Tensor:
        """Combine one value per leaf, negative inside that leaf, to one for this domain."""

    @abstractmethod
    def _inside(self, points: Tensor, cover: Tensor) -> Tensor:
        """Which points, drawn from the covers of these indices, to keep."""

    @abstractmethod
    def _visible(self, points: Tensor, leaf: Tensor) -> Tensor:
        """Which points, on the boundary of the leaves of these indices, are on this boundary."""

    def _draw(
        self, n: int, extra: int, method: str, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Points of the interior (n, dim), and ``extra`` unit columns sampled jointly with them."""
        covers, grid = self._covers, method == "grid"
        width = self.dim if grid else max(cover._unit_dim for cover in covers)
        lower, upper = torch.tensor(self.bounds, dtype=torch.float64, device=generator.device)
        weights = shares([cover._log_volume for cover in covers], generator.device)

        def propose(m: int) -> tuple[Tensor, tuple[Tensor, ...]]:
            if grid:
                # A whole grid: what is too many after the rejection is dropped there.
                m = math.prod(grid_counts(m, width + extra))
            u = unit_points(m, width + extra, method, generator)
            columns = u[:, width:]
            if grid:
                points = lower + (upper - lower) * u[:, :width]
                return self._distance(points) < 0, (points, columns)
            if len(covers) == 1:
                points = covers[0]._from_unit(u[:, :width])
                only = torch.zeros(m, dtype=torch.long, device=u.device)
                return self._inside(points, only), (points, columns)
            which, first = select(u[:, 0], weights)
            u = torch.cat([first[:, None], u[:, 1:]], dim=1)
            points = u.new_empty(m, self.dim)
            for index, cover in enumerate(covers):
                mine = which == index
                points[mine] = cover._from_unit(u[mine, : cover._unit_dim])
            return self._inside(points, which), (points, columns)

        points, columns = reject(n, method, generator, propose, f"the interior of {self!r}")
        return points, columns

    def _draw_boundary(
        self, n: int, extra: int, part: int | None, method: str, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points, normals, part indices, and ``extra`` unit columns sampled jointly with them."""
        device = generator.device
        leaves = self._leaves
        if method == "grid" and any(leaf._irregular for leaf, _ in leaves):
            method = "sobol"
        chosen = list(range(len(self._faces))) if part is None else [part]
        faces = [self._faces[index] for index in chosen]
        weights = shares([face.log_area for face in faces], device)
        face_index, face_leaf, face_part = (
            torch.tensor(column, device=device)
            for column in (chosen, [face.leaf for face in faces], [face.part for face in faces])
        )
        widths = [leaves[face.leaf][0]._surface_dim for face in faces]
        width = max(widths)

        def place(m: int) -> tuple[Tensor, Tensor, Tensor]:
            """Face of each of m points, its coordinates on that face, its extra columns."""
            if len(faces) == 1:
                u = unit_points(m, width + extra, method, generator)
                return torch.zeros(m, dtype=torch.long, device=device), u[:, :width], u[:, width:]
            if method != "grid":
                u = unit_points(m, max(width, 1) + extra, method, generator)
                which, first = select(u[:, 0], weights)
                u = torch.cat([first[:, None], u[:, 1:]], dim=1)
                return which, u[:, :width], u[:, max(width, 1) :]
            pieces = []
            for index, count in enumerate(allocate(m, weights)):
                if count:
                    u = unit_points(count, widths[index] + extra, method, generator)
                    padding = u.new_zeros(count, width - widths[index])
                    inner = torch.cat([u[:, : widths[index]], padding], dim=1)
                    which = torch.full((count,), index, device=device)
                    pieces.append((which, inner, u[:, widths[index] :]))
            which, inner, columns = map(torch.cat, zip(*pieces, strict=True))
            return which, inner, columns

        def propose(m: int) -> tuple[Tensor, tuple[Tensor, ...]]:
            which, inner, columns = place(m)
            leaf = face_leaf[which]
            points = torch.empty(m, self.dim, dtype=torch.float64, device=device)
            normals = torch.empty_like(points)
            for index in sorted({face.leaf for face in faces}):
                primitive, sign = leaves[index]
                mine = leaf == index
                points[mine], outward = primitive._surface(
                    face_part[which[mine]], inner[mine, : primitive._surface_dim]
                )
                normals[mine] = sign * outward
            keep = self._visible(points, leaf)
            return keep, (points, normals, face_index[which], columns)

        where = f"the boundary of {self!r}" if part is None else f"the part {self.parts[part]!r}"
        points, normals, parts, columns = reject(n, method, generator, propose, where)
        return points, normals, parts, columns


class Primitive(Space):
    """A domain with an exact distance, and a boundary that unit cubes map onto.

    Each part of the boundary is the image of [0, 1]^_surface_dim by a measure-preserving map.
    """

    _surface_dim: int
    # A boundary of many small facets, on which a grid of the unit cube would leave some out.
    _irregular = False

    @property
    @abstractmethod
    def _log_volume(self) -> float: ...

    @property
    @abstractmethod
    def _pieces(self) -> tuple[tuple[tuple[str, ...], float], ...]:
        """Names and logarithm of the measure of each part of the boundary."""

    @abstractmethod
    def _surface(self, part: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Points and outward normals of the parts of these indices, at unit coordinates u."""

    @property
    def _leaves(self) -> tuple[tuple[Primitive, float], ...]:
        return ((self, 1.0),)

    @cached_property
    def _faces(self) -> tuple[Face, ...]:
        return tuple(
            Face(0, part, names, log_area) for part, (names, log_area) in enumerate(self._pieces)
        )

    def _evaluate(self, values: Iterator[Tensor]) -> Tensor:
        return next(values)

    def _visible(self, points: Tensor, leaf: Tensor) -> Tensor:
        return torch.ones_like(leaf, dtype=torch.bool)


class Mapped(Primitive):
    """A primitive that is the image of [0, 1]^_unit_dim by a measure-preserving map."""

    _unit_dim: int

    @abstractmethod
    def _from_unit(self, u: Tensor) -> Tensor: ...

    @property
    def _covers(self) -> tuple[Mapped, ...]:
        return (self,)

    def _inside(self, points: Tensor, cover: Tensor) -> Tensor:
        return torch.ones_like(cover, dtype=torch.bool)
