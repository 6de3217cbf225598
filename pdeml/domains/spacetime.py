"""Time, and space × time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import sympy as sp
import torch
from torch import Tensor

from pdeml.domains.domain import Bounds, Domain, Face
from pdeml.domains.space import Primitive
from pdeml.domains.validation import looked_up, number, shown, symbols_of
from pdeml.errors import InvalidFile, InvalidProblem


class Time:
    """The time interval start ≤ t ≤ end; multiply a domain in space by it.

    Parameters
    ----------
    symbol : the SymPy symbol of time.
    start, end : finite numbers, start < end.

    Raises
    ------
    InvalidProblem
        If start < end does not hold or an end is not finite.

    Examples
    --------
    >>> import sympy as sp
    >>> from pdeml.domains import Interval
    >>> x, t = sp.symbols("x t", real=True)
    >>> Interval(x, -1, 1) * Time(t, 0, 1)
    Interval(x, -1, 1) * Time(t, 0, 1)
    """

    def __init__(self, symbol: sp.Symbol, start: float, end: float) -> None:
        (self.symbol,) = symbols_of(symbol, "Time", count=1)
        self.start, self.end = number(start, "Time: start"), number(end, "Time: end")
        if not self.start < self.end:
            raise InvalidProblem(
                f"Time: {symbol} runs from {shown(self.start)} to {shown(self.end)}; "
                "it must end after it starts."
            )
        number(self.end - self.start, "Time: end − start")

    @property
    def duration(self) -> float:
        """end − start."""
        return self.end - self.start

    def __mul__(self, other: Any) -> SpaceTime:
        return SpaceTime(other, self) if isinstance(other, Domain) else NotImplemented

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Time) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple:
        return "time", self.symbol, self.start, self.end

    def __repr__(self) -> str:
        return f"Time({self.symbol}, {shown(self.start)}, {shown(self.end)})"

    def to_dict(self) -> dict[str, Any]:
        """The interval as a JSON-able dictionary."""
        return {
            "type": "Time",
            "coordinates": [self.symbol.name],
            "start": self.start,
            "end": self.end,
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        coordinates = looked_up(data["coordinates"], symbols)
        if len(coordinates) != 1:
            raise InvalidFile("a saved Time has more or fewer than one coordinate.")
        return cls(coordinates[0], data["start"], data["end"])


class SpaceTime(Domain):
    """Space × time: the points (x, t) with x in the space and t in the time interval.

    Its boundary, normals and parts are those of the space, at all times; start and end are no
    boundary parts.

    Parameters
    ----------
    space : a domain without time.
    time : the time interval.

    Raises
    ------
    InvalidProblem
        If the space has time already or has a coordinate of the same name.
    """

    def __init__(self, space: Domain, time: Time) -> None:
        if isinstance(space, SpaceTime):
            raise InvalidProblem(f"{space!r} has time already; multiply by one Time only.")
        self.space, self.time = space, time
        self.coordinates = symbols_of((*space.coordinates, time.symbol), "SpaceTime")
        lower, upper = space.bounds
        self.bounds: Bounds = (*lower, time.start), (*upper, time.end)

    @property
    def volume(self) -> float | None:
        return None if self.space.volume is None else self.space.volume * self.time.duration

    @property
    def area(self) -> float | None:
        return None if self.space.area is None else self.space.area * self.time.duration

    def sample_initial(
        self,
        n: int,
        generator: torch.Generator,
        method: str = "uniform",
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """``n`` points (x, t0) at the start of time; see `Domain.sample` for the arguments.

        Returns
        -------
        Tensor, shape (n, dim)
        """
        points = self.space.sample(n, generator, method, device, dtype)
        return torch.cat([points, torch.full_like(points[:, :1], self.time.start)], dim=1)

    @property
    def _faces(self) -> tuple[Face, ...]:
        return self.space._faces

    def _distance(self, points: Tensor) -> Tensor:
        t = points[:, -1]
        in_time = torch.maximum(self.time.start - t, t - self.time.end)
        both = torch.stack([self.space._distance(points[:, :-1]), in_time])
        outside = torch.linalg.vector_norm(both.clamp(min=0), dim=0)
        return outside + both.amax(dim=0).clamp(max=0)

    def _normals(self, points: Tensor) -> Tensor:
        return self.space._normals(points[:, :-1])

    def _part_of(self, points: Tensor) -> Tensor:
        return self.space._part_of(points[:, :-1])

    def _with_time(self, points: Tensor, unit: Tensor) -> Tensor:
        times = (self.time.start + self.time.duration * unit).clamp(max=self.time.end)
        return torch.cat([points, times], dim=1)

    def _draw(
        self, n: int, extra: int, method: str, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        points, columns = self.space._draw(n, extra + 1, method, generator)
        return self._with_time(points, columns[:, :1]), columns[:, 1:]

    def _draw_boundary(
        self, n: int, extra: int, part: int | None, method: str, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        points, normals, parts, columns = self.space._draw_boundary(
            n, extra + 1, part, method, generator
        )
        return self._with_time(points, columns[:, :1]), normals, parts, columns[:, 1:]

    @property
    def _key(self) -> tuple:
        return "spacetime", self.space._key, self.time._key

    def __repr__(self) -> str:
        alone = isinstance(self.space, Primitive)
        return f"{self.space!r} * {self.time!r}" if alone else f"({self.space!r}) * {self.time!r}"

    def to_dict(self) -> dict[str, Any]:
        return {"type": "SpaceTime", "space": self.space.to_dict(), "time": self.time.to_dict()}

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        from pdeml.domains.serialization import domain_from_dict

        return cls(domain_from_dict(data["space"], symbols), Time._from_dict(data["time"], symbols))
