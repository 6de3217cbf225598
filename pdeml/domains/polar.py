"""Domains inside one smooth closed curve: ellipses and star shapes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import sympy as sp
import torch
from torch import Tensor

from pdeml.domains.domain import Bounds
from pdeml.domains.geometry import Box
from pdeml.domains.space import Mapped, Primitive
from pdeml.domains.validation import looked_up, number, numbers, shown, shown_all, symbols_of
from pdeml.errors import InvalidProblem

KNOTS = 2048
"""Points of the curve from which lengths are tabulated and the nearest point is sought."""

NEWTON = 8
"""Newton steps from the nearest knot to the nearest point."""

PAIRS = 2**21
"""Point–knot pairs in memory at a time."""


class Curved(Primitive):
    """What is inside a smooth closed curve c(s), 0 ≤ s ≤ 2π, run counter-clockwise.

    Its boundary is the single part ``"boundary"``. Distances are exact: the nearest knot, then
    Newton's method for (p − c(s))·c'(s) = 0.
    """

    _surface_dim = 1

    @abstractmethod
    def _curve(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c, c' and c'' at the parameters s, each of shape (N, 2)."""

    @abstractmethod
    def _encloses(self, points: Tensor) -> Tensor:
        """Which points are inside."""

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters, points, and arc lengths up to each parameter; the end is included."""
        s = torch.linspace(0.0, 2.0 * math.pi, KNOTS + 1, dtype=torch.float64)
        points, slope, _ = self._curve(s)
        middle = self._curve((s[1:] + s[:-1]) / 2)[1]
        speed, between = slope.norm(dim=1), middle.norm(dim=1)
        pieces = (speed[1:] + 4 * between + speed[:-1]) * (2.0 * math.pi / KNOTS / 6)  # Simpson
        return s, points, torch.cat([pieces.new_zeros(1), pieces.cumsum(0)])

    @property
    def area(self) -> float:
        return float(self._table[2][-1])

    @property
    def _log_volume(self) -> float:
        return math.log(self.volume)

    @property
    @abstractmethod
    def volume(self) -> float: ...

    @property
    def _pieces(self) -> tuple[tuple[tuple[str, ...], float], ...]:
        return ((("boundary",), math.log(self.area)),)

    @property
    def _covers(self) -> tuple[Mapped, ...]:
        return (Box(self.coordinates, *self.bounds),)

    def _inside(self, points: Tensor, cover: Tensor) -> Tensor:
        return self._encloses(points)

    def _foot(self, points: Tensor) -> Tensor:
        """Parameter of the nearest point of the curve."""
        s, knots, _ = (part.to(points.device) for part in self._table)
        nearest = [
            torch.cdist(chunk, knots[:-1]).argmin(dim=1)
            for chunk in points.detach().split(PAIRS // KNOTS)
        ]
        found = s[torch.cat(nearest)] if nearest else points.new_empty(0)
        start, step = found, 2.0 * math.pi / KNOTS
        for _ in range(NEWTON):
            c, slope, bend = self._curve(found)
            gap = points.detach() - c
            value = (gap * slope).sum(-1)
            change = (gap * bend).sum(-1) - (slope * slope).sum(-1)
            # near a centre of curvature the step is not defined; the knot is then good enough
            move = torch.where(change < 0, -value / change, 0.0)
            found = torch.minimum(torch.maximum(found + move, start - step), start + step)
        return found

    def _distance(self, points: Tensor) -> Tensor:
        foot = self._curve(self._foot(points))[0]
        distance = torch.linalg.vector_norm(points - foot, dim=1)
        return torch.where(self._encloses(points), -distance, distance)

    def _part_of(self, points: Tensor) -> Tensor:
        return torch.zeros(len(points), dtype=torch.long, device=points.device)

    def _normals(self, points: Tensor) -> Tensor:
        return self._outward(self._foot(points))

    def _outward(self, s: Tensor) -> Tensor:
        slope = self._curve(s)[1]
        normal = torch.stack([slope[:, 1], -slope[:, 0]], dim=1)
        return normal / torch.linalg.vector_norm(normal, dim=1, keepdim=True)

    def _surface(self, part: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        s, _, lengths = (part_.to(u.device) for part_ in self._table)
        target = u[:, 0] * lengths[-1]
        right = torch.searchsorted(lengths, target.contiguous(), right=True).clamp(1, KNOTS)
        share = (target - lengths[right - 1]) / (lengths[right] - lengths[right - 1])
        at = s[right - 1] + share * (s[right] - s[right - 1])
        return self._curve(at)[0], self._outward(at)

    def _turned(self, offset: Tensor, angle: float) -> Tensor:
        cosine, sine = math.cos(angle), math.sin(angle)
        x, y = offset.unbind(-1)
        return torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)

    def _centred(self, like: Tensor) -> Tensor:
        return torch.tensor(self.centre, dtype=torch.float64, device=like.device)

    centre: tuple[float, ...]


class Ellipse(Curved):
    """An ellipse with the semi-axes a ≥ b, the long one at an angle from the first coordinate.

    Parameters
    ----------
    coordinates : two SymPy symbols.
    centre : two finite numbers.
    semiaxes : a and b, a ≥ b > 0.
    angle : counter-clockwise, in radians.

    Raises
    ------
    InvalidProblem
        If an argument is not as above.
    """

    def __init__(
        self,
        coordinates: Sequence[sp.Symbol],
        centre: Sequence[float],
        semiaxes: Sequence[float],
        angle: float = 0.0,
    ) -> None:
        self.coordinates = symbols_of(coordinates, "Ellipse", count=2)
        self.centre = numbers(centre, 2, "Ellipse: centre")
        self.semiaxes = numbers(semiaxes, 2, "Ellipse: semiaxes")
        self.angle = number(angle, "Ellipse: angle")
        a, b = self.semiaxes
        if not a >= b > 0:
            raise InvalidProblem(
                f"Ellipse: the semi-axes are {shown_all(self.semiaxes)}; a ≥ b > 0 is needed."
            )
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        half = (math.hypot(a * cosine, b * sine), math.hypot(a * sine, b * cosine))
        self.bounds: Bounds = (
            tuple(c - h for c, h in zip(self.centre, half, strict=True)),
            tuple(c + h for c, h in zip(self.centre, half, strict=True)),
        )

    @property
    def is_round(self) -> bool:
        """Whether it is a disk."""
        return self.semiaxes[0] == self.semiaxes[1]

    @property
    def volume(self) -> float:
        return math.pi * self.semiaxes[0] * self.semiaxes[1]

    def _curve(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, b = self.semiaxes
        offset = self._turned(torch.stack([a * s.cos(), b * s.sin()], dim=-1), self.angle)
        slope = self._turned(torch.stack([-a * s.sin(), b * s.cos()], dim=-1), self.angle)
        return self._centred(s) + offset, slope, -offset

    def _encloses(self, points: Tensor) -> Tensor:
        offset = self._turned(points - self._centred(points), -self.angle)
        scale = torch.tensor(self.semiaxes, dtype=torch.float64, device=points.device)
        return (offset / scale).square().sum(-1) <= 1.0

    @property
    def _key(self) -> tuple:
        return "ellipse", self.coordinates, self.centre, self.semiaxes, self.angle

    def __repr__(self) -> str:
        return (
            f"Ellipse({shown_all(self.coordinates)}, {shown_all(self.centre)}, "
            f"{shown_all(self.semiaxes)}, {shown(self.angle)})"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "Ellipse",
            "coordinates": [symbol.name for symbol in self.coordinates],
            "centre": list(self.centre),
            "semiaxes": list(self.semiaxes),
            "angle": self.angle,
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        coordinates = looked_up(data["coordinates"], symbols)
        return cls(coordinates, data["centre"], data["semiaxes"], data["angle"])


class StarShaped(Curved):
    """What is seen from a centre up to the radius r(θ) = r₀ + Σ a_i cos iθ + b_i sin iθ.

    Parameters
    ----------
    coordinates : two SymPy symbols.
    centre : two finite numbers.
    radius : r₀.
    cosines, sines : a_1 … and b_1 …, equally many.

    Raises
    ------
    InvalidProblem
        If an argument is not as above, or r is not positive for every θ.

    References
    ----------
    Hiptmair, Scarabosio, Schillings, Schwab (2018), Adv. Comput. Math. 44, 1475.
    """

    def __init__(
        self,
        coordinates: Sequence[sp.Symbol],
        centre: Sequence[float],
        radius: float,
        cosines: Sequence[float],
        sines: Sequence[float],
    ) -> None:
        self.coordinates = symbols_of(coordinates, "StarShaped", count=2)
        self.centre = numbers(centre, 2, "StarShaped: centre")
        self.radius = number(radius, "StarShaped: radius")
        self.cosines = numbers(cosines, len(list(cosines)), "StarShaped: cosines")
        self.sines = numbers(sines, len(self.cosines), "StarShaped: sines")
        s = torch.linspace(0.0, 2.0 * math.pi, KNOTS + 1, dtype=torch.float64)
        r = self._radius(s)[0]
        if float(r.min()) <= 0:
            raise InvalidProblem(
                f"StarShaped: the radius falls to {shown(float(r.min()))}; it must stay > 0."
            )
        points, tangent, _ = self._curve(s)
        # between two knots the curve leaves their hull by less than half a step
        margin = float(tangent.norm(dim=1).max()) * math.pi / KNOTS
        self.bounds: Bounds = (
            tuple((points.amin(0) - margin).tolist()),
            tuple((points.amax(0) + margin).tolist()),
        )

    def _radius(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """r, r' and r''."""
        r, slope, bend = torch.full_like(s, self.radius), torch.zeros_like(s), torch.zeros_like(s)
        for i, (a, b) in enumerate(zip(self.cosines, self.sines, strict=True), start=1):
            cosine, sine = (i * s).cos(), (i * s).sin()
            r = r + a * cosine + b * sine
            slope = slope + i * (b * cosine - a * sine)
            bend = bend - i * i * (a * cosine + b * sine)
        return r, slope, bend

    @property
    def volume(self) -> float:
        squares = math.fsum(c * c for c in (*self.cosines, *self.sines))
        return math.pi * (self.radius**2 + squares / 2)

    def _curve(self, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r, slope, bend = (part[:, None] for part in self._radius(s))
        along = torch.stack([s.cos(), s.sin()], dim=-1)
        across = torch.stack([-s.sin(), s.cos()], dim=-1)
        return (
            self._centred(s) + r * along,
            slope * along + r * across,
            (bend - r) * along + 2.0 * slope * across,
        )

    def _encloses(self, points: Tensor) -> Tensor:
        x, y = (points - self._centred(points)).unbind(-1)
        return torch.hypot(x, y) <= self._radius(torch.atan2(y, x))[0]

    @property
    def _key(self) -> tuple:
        return "star", self.coordinates, self.centre, self.radius, self.cosines, self.sines

    def __repr__(self) -> str:
        return (
            f"StarShaped({shown_all(self.coordinates)}, {shown_all(self.centre)}, "
            f"{shown(self.radius)}, {shown_all(self.cosines)}, {shown_all(self.sines)})"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "StarShaped",
            "coordinates": [symbol.name for symbol in self.coordinates],
            "centre": list(self.centre),
            "radius": self.radius,
            "cosines": list(self.cosines),
            "sines": list(self.sines),
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        coordinates = looked_up(data["coordinates"], symbols)
        return cls(coordinates, data["centre"], data["radius"], data["cosines"], data["sines"])
