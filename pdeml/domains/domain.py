"""What every domain can do: membership, distance, normals, named parts, sampling, algebra."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple, Self

import sympy as sp
import torch
from torch import Tensor

from pdeml.domains.sampling import check_count, check_dtype, check_generator, check_method
from pdeml.domains.validation import shortened
from pdeml.errors import InvalidOption, InvalidProblem

Bounds = tuple[tuple[float, ...], tuple[float, ...]]


class BoundarySample(NamedTuple):
    """Points of a boundary.

    Attributes
    ----------
    points : shape (N, d); time last for a space–time domain.
    normals : outward unit normals in space, shape (N, d_space).
    parts : index of each point's part in ``domain.parts``, LongTensor of shape (N,).
    """

    points: Tensor
    normals: Tensor
    parts: Tensor


class Face(NamedTuple):
    """One named piece of the boundary: piece ``part`` of the boundary of primitive ``leaf``."""

    leaf: int
    part: int
    names: tuple[str, ...]
    log_area: float


class Domain(ABC):
    """A bounded set in the space of its coordinates.

    Domains are values: they do not change, compare equal when they describe the same set in the
    same way, and print as the Python that makes them. ``A | B``, ``A & B`` and ``A - B`` combine
    domains over the same coordinates, ``A * B`` multiplies boxes, and ``A * Time(t, 0, 1)`` adds
    time.

    Attributes
    ----------
    coordinates : the SymPy symbols, time last.
    bounds : lower and upper corner of a bounding box.
    """

    coordinates: tuple[sp.Symbol, ...]
    bounds: Bounds

    # What a kind of domain has to say about itself (points are float64 of shape (N, dim)).

    @property
    @abstractmethod
    def volume(self) -> float | None:
        """Measure of the domain; None where there is no closed form."""

    @property
    @abstractmethod
    def area(self) -> float | None:
        """Measure of the boundary (in 1-D: number of end points); None without a closed form.

        For space × time it is that of the lateral boundary, ∂Ω × [t0, t1].
        """

    @property
    @abstractmethod
    def _faces(self) -> tuple[Face, ...]:
        """The named pieces of the boundary, in the order of ``parts``."""

    @abstractmethod
    def _distance(self, points: Tensor) -> Tensor: ...

    @abstractmethod
    def _normals(self, points: Tensor) -> Tensor: ...

    @abstractmethod
    def _part_of(self, points: Tensor) -> Tensor: ...

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The domain as a JSON-able dictionary; `domain_from_dict` gives it back exactly."""

    @classmethod
    @abstractmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self: ...

    # Geometry

    @property
    def dim(self) -> int:
        """Number of coordinates, time included."""
        return len(self.coordinates)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of the boundary (for space × time: of the boundary in space)."""
        return tuple(face.names[0] for face in self._faces)

    def part_index(self, name: str) -> int:
        """Index in ``parts`` of a part; ``"x_min"`` and ``"left"`` name the same one.

        Raises
        ------
        InvalidOption
            If there is no such part; the message lists those that there are.
        """
        for index, face in enumerate(self._faces):
            if name in face.names:
                return index
        raise InvalidOption(
            f"{name!r} is no part of the boundary of {self!r}; its parts are "
            f"{', '.join(map(repr, self.parts))}."
        )

    def contains(self, points: Tensor, tolerance: float = 0.0) -> Tensor:
        """Which points lie in the closed domain, or within ``tolerance`` of it.

        Parameters
        ----------
        points : shape (N, dim).
        tolerance : in the unit of the coordinates.

        Returns
        -------
        BoolTensor, shape (N,)
        """
        return self._distance(self._checked(points)) <= tolerance

    def signed_distance(self, points: Tensor) -> Tensor:
        """Distance to the boundary, negative inside.

        Exact for primitives and space × time. For ``|``, ``&`` and ``-`` it is the minimum or
        maximum of the primitives' distances: its sign and zero set are right and its size is a
        lower bound of the distance. Where primitives only touch along a face it is zero there too;
        let them overlap where the distance itself matters.

        Parameters
        ----------
        points : shape (N, dim).

        Returns
        -------
        Tensor, shape (N,), differentiable, in the dtype of the points.
        """
        return self._distance(self._checked(points)).to(points.dtype)

    def normals(self, points: Tensor) -> Tensor:
        """Outward unit normals in space at points of the boundary.

        Off the boundary: that of the nearest piece of it, roughly.

        Parameters
        ----------
        points : shape (N, dim).

        Returns
        -------
        Tensor, shape (N, d_space)
        """
        return self._normals(self._checked(points)).to(points.dtype)

    def part_of(self, points: Tensor) -> Tensor:
        """Index in ``parts`` of the part that each point of the boundary lies on.

        Parameters
        ----------
        points : shape (N, dim).

        Returns
        -------
        LongTensor, shape (N,)
            −1 for a point of a piece that belongs to no listed part.
        """
        return self._part_of(self._checked(points))

    def _checked(self, points: Tensor) -> Tensor:
        if points.ndim != 2 or points.shape[1] != self.dim or not points.is_floating_point():
            names = ", ".join(map(str, self.coordinates))
            raise InvalidOption(
                f"points of shape {tuple(points.shape)} and {points.dtype} were given; floating-"
                f"point points of shape (N, {self.dim}), columns ({shortened(names)}), are needed."
            )
        return points.double()

    # Sampling

    def sample(
        self,
        n: int,
        generator: torch.Generator,
        method: str = "uniform",
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """``n`` points of the interior, uniform over its measure.

        Parameters
        ----------
        n : number of points.
        generator : source of all randomness; points are made on its device, in float64.
        method :
            ``"uniform"``, ``"sobol"``, ``"lhs"`` or ``"grid"``, see `unit_points`. The grid is
            Cartesian over the bounding box; cells whose centre is outside are left out. Balls and
            polygons are images of the unit cube under measure-preserving maps; ``| & -`` reject,
            which keeps low-discrepancy points evenly spread but not one per stratum.
        device : of the result; default the generator's.
        dtype : of the result.

        Returns
        -------
        Tensor, shape (n, dim)

        Raises
        ------
        InvalidOption
            If an argument is outside what is accepted.
        """
        self._check_request(n, generator, method, dtype)
        points, _ = self._draw(int(n), 0, method, generator)
        return points.to(device=device or generator.device, dtype=dtype)

    def sample_boundary(
        self,
        n: int,
        generator: torch.Generator,
        on: str | None = None,
        method: str = "uniform",
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> BoundarySample:
        """``n`` points of the boundary, uniform over its measure.

        Parameters
        ----------
        n : number of points.
        generator : source of all randomness.
        on : name of a part; default the whole boundary.
        method :
            ``"uniform"``, ``"sobol"``, ``"lhs"`` or ``"grid"``; in 2-D the last three are spread
            evenly along the arc length.
        device : of the result; default the generator's.
        dtype : of the points and normals.

        Returns
        -------
        BoundarySample
            For space × time, times are sampled together with the points.

        Raises
        ------
        InvalidOption
            If an argument is outside what is accepted.
        """
        self._check_request(n, generator, method, dtype)
        part = None if on is None else self.part_index(on)
        points, normals, parts, _ = self._draw_boundary(int(n), 0, part, method, generator)
        device = device or generator.device
        return BoundarySample(
            points.to(device=device, dtype=dtype),
            normals.to(device=device, dtype=dtype),
            parts.to(device),
        )

    @staticmethod
    def _check_request(n: int, generator: torch.Generator, method: str, dtype: torch.dtype) -> None:
        check_count(n)
        check_generator(generator)
        check_method(method)
        check_dtype(dtype)

    @abstractmethod
    def _draw(
        self, n: int, extra: int, method: str, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Points of the interior (n, dim), and ``extra`` unit columns sampled jointly with them."""

    @abstractmethod
    def _draw_boundary(
        self, n: int, extra: int, part: int | None, method: str, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points, normals, part indices, and ``extra`` unit columns sampled jointly with them."""

    # Algebra

    def __or__(self, other: Domain) -> Domain:
        from pdeml.domains.csg import Union

        return Union(self, other) if isinstance(other, Domain) else NotImplemented

    def __and__(self, other: Domain) -> Domain:
        from pdeml.domains.csg import Intersection

        return Intersection(self, other) if isinstance(other, Domain) else NotImplemented

    def __sub__(self, other: Domain) -> Domain:
        from pdeml.domains.csg import Difference

        return Difference(self, other) if isinstance(other, Domain) else NotImplemented

    def __mul__(self, other: Any) -> Domain:
        from pdeml.domains.spacetime import SpaceTime, Time

        if isinstance(other, Time):
            return SpaceTime(self, other)
        if isinstance(other, Domain):
            raise InvalidProblem(
                f"the product of {self!r} and {other!r} is not defined; only boxes can be "
                "multiplied with boxes, and one space with one Time."
            )
        return NotImplemented

    @property
    @abstractmethod
    def _key(self) -> tuple:
        """What decides equality."""

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Domain) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)
