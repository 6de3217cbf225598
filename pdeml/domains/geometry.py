"""Boxes and balls in any dimension."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self

import sympy as sp
import torch
from torch import Tensor

from pdeml.domains.domain import Bounds, Domain
from pdeml.domains.space import Mapped
from pdeml.domains.validation import looked_up, number, numbers, shown, shown_all, symbols_of
from pdeml.errors import InvalidFile, InvalidProblem

SIDES = (("left", "right"), ("bottom", "top"), ("back", "front"))


class Box(Mapped):
    """An axis-parallel box in any dimension.

        Ω = {x : lower_i ≤ x_i ≤ upper_i}

    Its boundary parts are ``"left", "right"`` (first coordinate), ``"bottom", "top"`` (second),
    ``"back", "front"`` (third), and ``"{coordinate}_min", "{coordinate}_max"`` for the others;
    the latter names are accepted for the first three too.

    Parameters
    ----------
    coordinates : distinct SymPy symbols.
    lower, upper : corners, one finite number per coordinate, lower < upper.

    Raises
    ------
    InvalidProblem
        If the coordinates or the corners are not as above.

    Examples
    --------
    >>> import sympy as sp
    >>> Box(sp.symbols("x y z"), (0, 0, 0), (1, 2, 3)).volume
    6.0
    """

    def __init__(
        self, coordinates: Sequence[sp.Symbol], lower: Sequence[float], upper: Sequence[float]
    ) -> None:
        kind = type(self).__name__
        self.coordinates = symbols_of(coordinates, kind)
        count = len(self.coordinates)
        self.lower = numbers(lower, count, f"{kind}: lower")
        self.upper = numbers(upper, count, f"{kind}: upper")
        for symbol, low, high in zip(self.coordinates, self.lower, self.upper, strict=True):
            if not (low < high and math.isfinite(high - low)):
                raise InvalidProblem(
                    f"{kind}: the bounds of {symbol} are {shown(low)} and {shown(high)}; "
                    "the lower one must be smaller, and their difference finite."
                )
        self.bounds: Bounds = (self.lower, self.upper)
        self._unit_dim, self._surface_dim = count, count - 1

    @property
    def lengths(self) -> tuple[float, ...]:
        """Extent along each coordinate."""
        return tuple(high - low for low, high in zip(self.lower, self.upper, strict=True))

    @property
    def volume(self) -> float:
        return math.prod(self.lengths)

    @property
    def area(self) -> float:
        lengths = self.lengths
        return 2 * math.fsum(
            math.prod(lengths[:axis] + lengths[axis + 1 :]) for axis in range(self.dim)
        )

    @property
    def _log_volume(self) -> float:
        return math.fsum(map(math.log, self.lengths))

    @property
    def _pieces(self) -> tuple[tuple[tuple[str, ...], float], ...]:
        pieces = []
        for axis, (symbol, length) in enumerate(zip(self.coordinates, self.lengths, strict=True)):
            for side, suffix in enumerate(("min", "max")):
                names: tuple[str, ...] = (f"{symbol.name}_{suffix}",)
                if axis < len(SIDES):
                    names = (SIDES[axis][side], *names)
                pieces.append((names, self._log_volume - math.log(length)))
        return tuple(pieces)

    def _corners(self, like: Tensor) -> Tensor:
        return torch.tensor(self.bounds, dtype=torch.float64, device=like.device)

    def _excess(self, points: Tensor) -> Tensor:
        """How far points are beyond each face (negative: on its inner side), shape (N, d, 2)."""
        lower, upper = self._corners(points)
        return torch.stack([lower - points, points - upper], dim=-1)

    def _distance(self, points: Tensor) -> Tensor:
        excess = self._excess(points).amax(dim=-1)
        outside = torch.linalg.vector_norm(excess.clamp(min=0), dim=1)
        return outside + excess.amax(dim=1).clamp(max=0)

    def _part_of(self, points: Tensor) -> Tensor:
        return self._excess(points).flatten(1).argmax(dim=1)

    def _normals(self, points: Tensor) -> Tensor:
        return self._face_normals(self._part_of(points))

    def _face_normals(self, part: Tensor) -> Tensor:
        signs = (2 * (part % 2) - 1).double()
        normals = torch.zeros(len(part), self.dim, dtype=torch.float64, device=part.device)
        return normals.scatter_(1, (part // 2)[:, None], signs[:, None])

    def _from_unit(self, u: Tensor) -> Tensor:
        lower, upper = self._corners(u)
        return torch.minimum(lower + (upper - lower) * u, upper)

    def _surface(self, part: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        axis = part // 2
        # Each axis but the face's own takes the next unit coordinate.
        column = torch.arange(self.dim, device=u.device).expand(len(part), -1)
        column = column - (column > axis[:, None]).long()
        padded = torch.cat([u, u.new_zeros(len(u), 1)], dim=1)
        points = self._from_unit(padded.gather(1, column))
        points.scatter_(1, axis[:, None], self._corners(u).T.flatten()[part][:, None])
        return points, self._face_normals(part)

    def __mul__(self, other: Any) -> Domain:
        if not isinstance(other, Box):
            return super().__mul__(other)
        coordinates = self.coordinates + other.coordinates
        kind = Rectangle if len(coordinates) == 2 else Box
        return kind(coordinates, self.lower + other.lower, self.upper + other.upper)

    @property
    def _key(self) -> tuple:
        return "box", self.coordinates, self.lower, self.upper

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({shown_all(self.coordinates)}, "
            f"{shown_all(self.lower)}, {shown_all(self.upper)})"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": type(self).__name__,
            "coordinates": [symbol.name for symbol in self.coordinates],
            "lower": list(self.lower),
            "upper": list(self.upper),
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        return cls(looked_up(data["coordinates"], symbols), data["lower"], data["upper"])


class Interval(Box):
    """The interval a ≤ x ≤ b, with the boundary parts ``"left"`` and ``"right"``.

    Parameters
    ----------
    x : the coordinate.
    a, b : end points, a < b.

    Raises
    ------
    InvalidProblem
        If a < b does not hold, or an end point is not finite.

    Examples
    --------
    >>> import sympy as sp
    >>> Interval(sp.Symbol("x"), -1, 1)
    Interval(x, -1, 1)
    """

    def __init__(self, x: sp.Symbol, a: float, b: float) -> None:
        symbols_of(x, "Interval", count=1)
        super().__init__((x,), (a,), (b,))

    def __repr__(self) -> str:
        return f"Interval({self.coordinates[0]}, {shown(self.lower[0])}, {shown(self.upper[0])})"

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        coordinates = looked_up(data["coordinates"], symbols)
        if not len(coordinates) == len(data["lower"]) == len(data["upper"]) == 1:
            raise InvalidFile("a saved Interval has more or fewer than one coordinate.")
        return cls(coordinates[0], data["lower"][0], data["upper"][0])


class Rectangle(Box):
    """A rectangle, with the boundary parts ``"left", "right", "bottom", "top"``.

    Parameters
    ----------
    coordinates : two SymPy symbols.
    lower, upper : corners (x0, y0) and (x1, y1), lower < upper in each coordinate.

    Raises
    ------
    InvalidProblem
        If there are not two coordinates, or the corners are reversed or not finite.
    """

    def __init__(
        self, coordinates: Sequence[sp.Symbol], lower: Sequence[float], upper: Sequence[float]
    ) -> None:
        super().__init__(symbols_of(coordinates, "Rectangle", count=2), lower, upper)


class Ball(Mapped):
    """A ball in any dimension, with the single boundary part ``"boundary"``.

        Ω = {x : |x − centre| ≤ radius}

    Parameters
    ----------
    coordinates : distinct SymPy symbols.
    centre : one finite number per coordinate.
    radius : positive.

    Raises
    ------
    InvalidProblem
        If the coordinates, the centre or the radius are not as above.

    Notes
    -----
    Interior samples are r n with r = R u^{1/d} and n uniform on the sphere: by angles for d ≤ 3
    (cos θ uniform), by normalised Gaussians above.
    """

    def __init__(
        self, coordinates: Sequence[sp.Symbol], centre: Sequence[float], radius: float
    ) -> None:
        kind = type(self).__name__
        self.coordinates = symbols_of(coordinates, kind)
        count = len(self.coordinates)
        self.centre = numbers(centre, count, f"{kind}: centre")
        self.radius = number(radius, f"{kind}: radius")
        if self.radius <= 0:
            raise InvalidProblem(f"{kind}: the radius is {shown(self.radius)}; it must be > 0.")
        self.bounds: Bounds = (
            tuple(value - self.radius for value in self.centre),
            tuple(value + self.radius for value in self.centre),
        )
        for value, low, high in zip(self.centre, *self.bounds, strict=True):
            if not (low < value < high and math.isfinite(high - low)):
                raise InvalidProblem(
                    f"{kind}: the radius {shown(self.radius)} is lost in rounding beside the "
                    f"centre's {shown(value)}; shift or scale the coordinates."
                )
        # Angles need one coordinate fewer than the space has, Gaussian directions as many.
        self._surface_dim = max(count - 1, 1) if count <= 3 else count
        self._unit_dim = count if count <= 3 else count + 1

    @property
    def volume(self) -> float:
        return _exp(self._log_volume)

    @property
    def area(self) -> float:
        return _exp(self._pieces[0][1])

    @property
    def _log_volume(self) -> float:
        d = self.dim
        return d / 2 * math.log(math.pi) - math.lgamma(d / 2 + 1) + d * math.log(self.radius)

    @property
    def _pieces(self) -> tuple[tuple[tuple[str, ...], float], ...]:
        return ((("boundary",), self._log_volume + math.log(self.dim / self.radius)),)

    def _offset(self, points: Tensor) -> Tensor:
        return points - torch.tensor(self.centre, dtype=torch.float64, device=points.device)

    def _distance(self, points: Tensor) -> Tensor:
        return torch.linalg.vector_norm(self._offset(points), dim=1) - self.radius

    def _part_of(self, points: Tensor) -> Tensor:
        return torch.zeros(len(points), dtype=torch.long, device=points.device)

    def _normals(self, points: Tensor) -> Tensor:
        offset = self._offset(points)
        length = torch.linalg.vector_norm(offset, dim=1, keepdim=True)
        # The centre has no direction; any unit vector will do.
        first = torch.eye(1, self.dim, dtype=torch.float64, device=points.device)
        return torch.where(length > 0, offset / length, first)

    def _directions(self, u: Tensor) -> Tensor:
        """Uniform unit vectors from uniform points of [0, 1]^_surface_dim."""
        if self.dim == 1:
            return torch.where(u < 0.5, -1.0, 1.0).double()
        if self.dim == 2:
            angle = 2 * math.pi * u[:, 0]
            return torch.stack([angle.cos(), angle.sin()], dim=1)
        if self.dim == 3:
            height, angle = 1 - 2 * u[:, 0], 2 * math.pi * u[:, 1]
            across = 2 * (u[:, 0] * (1 - u[:, 0])).sqrt()
            return torch.stack([across * angle.cos(), across * angle.sin(), height], dim=1)
        smallest = torch.finfo(torch.float64).eps / 4
        gaussian = torch.special.ndtri(u.clamp(smallest, 1 - 2 * smallest))
        return gaussian / torch.linalg.vector_norm(gaussian, dim=1, keepdim=True)

    def _at(self, radius: Tensor | float, directions: Tensor) -> Tensor:
        centre = torch.tensor(self.centre, dtype=torch.float64, device=directions.device)
        return centre + radius * directions

    def _from_unit(self, u: Tensor) -> Tensor:
        if self.dim == 1:
            return self._at(self.radius, 2 * u - 1)
        radius = self.radius * u[:, :1] ** (1 / self.dim)
        return self._at(radius, self._directions(u[:, 1:]))

    def _surface(self, part: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        normals = self._directions(u)
        return self._at(self.radius, normals), normals

    @property
    def _key(self) -> tuple:
        return "ball", self.coordinates, self.centre, self.radius

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({shown_all(self.coordinates)}, {shown_all(self.centre)}, "
            f"{shown(self.radius)})"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": type(self).__name__,
            "coordinates": [symbol.name for symbol in self.coordinates],
            "centre": list(self.centre),
            "radius": self.radius,
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        return cls(looked_up(data["coordinates"], symbols), data["centre"], data["radius"])


def _exp(value: float) -> float:
    return math.exp(value) if value < math.log(sys.float_info.max) else math.inf


class Disk(Ball):
    """A disk, with the single boundary part ``"boundary"``.

    Parameters
    ----------
    coordinates : two SymPy symbols.
    centre : two finite numbers.
    radius : positive.

    Raises
    ------
    InvalidProblem
        If there are not two coordinates, or the centre or radius are not as above.
    """

    def __init__(
        self, coordinates: Sequence[sp.Symbol], centre: Sequence[float], radius: float
    ) -> None:
        super().__init__(symbols_of(coordinates, "Disk", count=2), centre, radius)
