"""Constructive solid geometry: union, intersection and difference of domains."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import sympy as sp
import torch
from torch import Tensor

from pdeml.domains.domain import Bounds, Domain, Face
from pdeml.domains.geometry import Box
from pdeml.domains.sampling import unit_points
from pdeml.domains.space import Mapped, Primitive, Space
from pdeml.errors import InvalidOption, InvalidProblem

ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()

# Boundaries nearer than this, relative to the extent, are one and the same surface.
COINCIDENT = 1e-10

# A part is listed if one of so many evenly spread points of it is on the region's boundary: for
# curves and surfaces, and for the many faces of a high-dimensional box.
PROBES, PROBES_HIGH = 2**12, 2**10


class Region(Space):
    """What `Union`, `Intersection` and `Difference` have in common.

    Children of the same kind are flattened: ``A | B | C`` has three. A part of the boundary has
    its child's name, with ``"first."``, ``"second."`` … before it where several children have a
    part of that name. Parts that the operation removes are not listed.

    Notes
    -----
    A point p on the boundary of one primitive, with normal n, is on the boundary of the region if
    and only if p + εn and p − εn lie on different sides for all small ε > 0. For primitives away
    from p the side is the sign of their distance; for those whose boundary passes through p too it
    is the sign of their normal's product with ±n. No ε is chosen, and faces that coincide (an
    L-shape from two rectangles, a hole flush with the rim) come out right: hidden if they face
    each other, counted once if they face the same way.
    """

    symbol: ClassVar[str]

    def __init__(self, *children: Domain) -> None:
        kind = type(self).__name__
        if len(children) < 2:
            raise InvalidProblem(f"{kind} combines at least two domains; {len(children)} given.")
        spaces: list[Space] = []
        for child in children:
            if not isinstance(child, Space):
                raise InvalidProblem(
                    f"{kind} combines domains in space, not {child!r}; combine first, then "
                    "multiply by Time."
                )
            if child.coordinates != children[0].coordinates:
                raise InvalidProblem(_mismatch(kind, children[0], child))
            spaces.append(child)
        self.children = self._flattened(spaces)
        self.coordinates = children[0].coordinates
        self.bounds = self._hull()
        self._check_not_empty()

    @classmethod
    @abstractmethod
    def _flattened(cls, children: Sequence[Space]) -> tuple[Space, ...]: ...

    @abstractmethod
    def _hull(self) -> Bounds: ...

    def _check_not_empty(self) -> None:
        generator = torch.Generator().manual_seed(0)
        try:
            self._draw(1, 0, "uniform", generator)
        except InvalidOption as error:
            raise InvalidProblem(
                f"{error} The region is empty, or too small a part of the domains it is made of."
            ) from None

    @property
    def volume(self) -> None:
        return None

    @property
    def area(self) -> None:
        return None

    def _sign(self, child: int) -> float:
        """−1 for a child that is taken away."""
        return 1.0

    @cached_property
    def _leaves(self) -> tuple[tuple[Primitive, float], ...]:
        return tuple(
            (leaf, sign * self._sign(index))
            for index, child in enumerate(self.children)
            for leaf, sign in child._leaves
        )

    @cached_property
    def _tolerance(self) -> float:
        corners = [abs(value) for corner in self.bounds for value in corner]
        extent = max(high - low for low, high in zip(*self.bounds, strict=True))
        return COINCIDENT * extent + 64 * torch.finfo(torch.float64).eps * max(corners)

    def _distance(self, points: Tensor) -> Tensor:
        return self._evaluate(iter([leaf._distance(points) for leaf, _ in self._leaves]))

    def _owner(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For points on boundaries of leaves: leaf, its outward normal there, is it visible.

        Where several leaves share a piece of the boundary, the first one owns it.
        """
        distances = torch.stack([leaf._distance(points) for leaf, _ in self._leaves])
        normals = torch.stack([leaf._normals(points) for leaf, _ in self._leaves])
        gaps = distances.abs()
        here = gaps <= gaps.min(dim=0).values + self._tolerance
        visible = []
        for index, (_, sign) in enumerate(self._leaves):
            slope = sign * (normals * normals[index]).sum(dim=-1)
            ahead, behind = (
                self._evaluate(iter(torch.where(here, side * slope, distances)))
                for side in (1.0, -1.0)
            )
            visible.append(here[index] & (ahead > 0) & (behind < 0))
        seen = torch.stack(visible)
        owner = torch.where(seen.any(dim=0), seen.int().argmax(dim=0), gaps.argmin(dim=0))
        signs = torch.tensor(
            [sign for _, sign in self._leaves], dtype=torch.float64, device=points.device
        )
        rows = torch.arange(len(points), device=points.device)
        return owner, signs[owner, None] * normals[owner, rows], seen.any(dim=0)

    def _visible(self, points: Tensor, leaf: Tensor) -> Tensor:
        owner, _, visible = self._owner(points)
        return visible & (owner == leaf)

    def _normals(self, points: Tensor) -> Tensor:
        return self._owner(points)[1]

    def _part_of(self, points: Tensor) -> Tensor:
        owner = self._owner(points)[0]
        parts = torch.full_like(owner, -1)
        pieces = torch.stack([leaf._part_of(points) for leaf, _ in self._leaves])
        piece = pieces[owner, torch.arange(len(points), device=points.device)]
        for index, face in enumerate(self._faces):
            parts[(owner == face.leaf) & (piece == face.part)] = index
        return parts

    def _inside(self, points: Tensor, cover: Tensor) -> Tensor:
        keep = self._distance(points) < 0
        # Where covers overlap, only points drawn from the first of them count.
        for index, earlier in enumerate(self._covers[:-1]):
            keep &= (cover <= index) | (earlier._distance(points) > 0)
        return keep

    @cached_property
    def _faces(self) -> tuple[Face, ...]:
        named: list[list[Face]] = []
        first_leaf = 0
        for child in self.children:
            named.append([face._replace(leaf=face.leaf + first_leaf) for face in child._faces])
            first_leaf += len(child._leaves)
        uses = Counter(face.names[0] for faces in named for face in faces)
        repeated = {name for name, count in uses.items() if count > 1}
        faces = _prefixed(named, repeated)
        if len({face.names[0] for face in faces}) < len(faces):
            faces = _prefixed(named, set(uses))
        generator = torch.Generator().manual_seed(0)
        probes = [
            unit_points(
                PROBES if leaf._surface_dim <= 2 else PROBES_HIGH,
                leaf._surface_dim,
                "sobol",
                generator,
            )
            for leaf, _ in self._leaves
        ]
        return tuple(face for face in faces if self._shows(face, probes[face.leaf]))

    def _shows(self, face: Face, probes: Tensor) -> bool:
        """Whether the face appears on the boundary of the region."""
        # Most faces show at once; only hidden ones need all probes.
        for u in probes.split([64, len(probes) - 64]):
            part = torch.full((len(u),), face.part)
            points, _ = self._leaves[face.leaf][0]._surface(part, u)
            if bool(self._visible(points, torch.full_like(part, face.leaf)).any()):
                return True
        return False

    @property
    def _key(self) -> tuple:
        return self.symbol, *(child._key for child in self.children)

    def __repr__(self) -> str:
        texts = [
            f"({child!r})" if isinstance(child, Region) else repr(child) for child in self.children
        ]
        return f" {self.symbol} ".join(texts)

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": type(self).__name__,
            "children": [child.to_dict() for child in self.children],
        }

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Self:
        from pdeml.domains.serialization import domain_from_dict

        return cls(*[domain_from_dict(child, symbols) for child in data["children"]])


class Union(Region):
    """``A | B``: the points of any of the domains.

    Parameters
    ----------
    *children : two or more domains in space, over the same coordinates.

    Raises
    ------
    InvalidProblem
        If the coordinates differ or a child has time.
    """

    symbol = "|"

    @classmethod
    def _flattened(cls, children: Sequence[Space]) -> tuple[Space, ...]:
        return _spliced(children, cls)

    def _hull(self) -> Bounds:
        lowers, uppers = zip(*(child.bounds for child in self.children), strict=True)
        lower = tuple(map(min, zip(*lowers, strict=True)))
        return lower, tuple(map(max, zip(*uppers, strict=True)))

    def _evaluate(self, values: Iterator[Tensor]) -> Tensor:
        return _stacked(self.children, values).amin(dim=0)

    @cached_property
    def _covers(self) -> tuple[Mapped, ...]:
        return tuple(cover for child in self.children for cover in child._covers)


class Intersection(Region):
    """``A & B``: the points of all of the domains.

    Parameters
    ----------
    *children : two or more domains in space, over the same coordinates.

    Raises
    ------
    InvalidProblem
        If the coordinates differ, a child has time, or the domains have no interior in common.
    """

    symbol = "&"

    @classmethod
    def _flattened(cls, children: Sequence[Space]) -> tuple[Space, ...]:
        return _spliced(children, cls)

    def _hull(self) -> Bounds:
        lowers, uppers = zip(*(child.bounds for child in self.children), strict=True)
        lower = tuple(map(max, zip(*lowers, strict=True)))
        upper = tuple(map(min, zip(*uppers, strict=True)))
        for symbol, low, high in zip(self.coordinates, lower, upper, strict=True):
            if low >= high:
                raise InvalidProblem(
                    f"{self!r} is empty: the domains do not overlap along {symbol}."
                )
        return lower, upper

    def _evaluate(self, values: Iterator[Tensor]) -> Tensor:
        return _stacked(self.children, values).amax(dim=0)

    @cached_property
    def _covers(self) -> tuple[Mapped, ...]:
        # The bounding box is by far the smallest cover of a thin lens.
        box = Box(self.coordinates, *self.bounds)
        return min([*(child._covers for child in self.children), (box,)], key=_total_volume)


class Difference(Region):
    """``A - B``: the points of the first domain that are in none of the others.

    The normals on the boundary of what is taken away point into it.

    Parameters
    ----------
    *children : two or more domains in space, over the same coordinates; the first is kept.

    Raises
    ------
    InvalidProblem
        If the coordinates differ, a child has time, or nothing is left.
    """

    symbol = "-"

    @classmethod
    def _flattened(cls, children: Sequence[Space]) -> tuple[Space, ...]:
        return (*_spliced(children[:1], cls), *children[1:])

    def _hull(self) -> Bounds:
        return self.children[0].bounds

    def _sign(self, child: int) -> float:
        return 1.0 if child == 0 else -1.0

    def _evaluate(self, values: Iterator[Tensor]) -> Tensor:
        distances = _stacked(self.children, values)
        return torch.cat([distances[:1], -distances[1:]]).amax(dim=0)

    @property
    def _covers(self) -> tuple[Mapped, ...]:
        return self.children[0]._covers


def _spliced(children: Sequence[Space], kind: type[Region]) -> tuple[Space, ...]:
    return tuple(
        grandchild
        for child in children
        for grandchild in (child.children if isinstance(child, kind) else (child,))
    )


def _stacked(children: Sequence[Space], values: Iterator[Tensor]) -> Tensor:
    return torch.stack([child._evaluate(values) for child in children])


def _total_volume(covers: Sequence[Mapped]) -> float:
    """Logarithm of the summed volume."""
    logs = [cover._log_volume for cover in covers]
    return max(logs) + math.log(math.fsum(math.exp(value - max(logs)) for value in logs))


def _prefixed(named: Sequence[Sequence[Face]], repeated: set[str]) -> list[Face]:
    faces = []
    for index, group in enumerate(named):
        ordinal = ORDINALS[index] if index < len(ORDINALS) else f"{index + 1}th"
        for face in group:
            if face.names[0] in repeated:
                face = face._replace(names=tuple(f"{ordinal}.{name}" for name in face.names))
            faces.append(face)
    return faces


def _mismatch(kind: str, one: Domain, other: Domain) -> str:
    names = [[symbol.name for symbol in domain.coordinates] for domain in (one, other)]
    reason = (
        f"the coordinates {', '.join(names[0])} and {', '.join(names[1])} differ"
        if names[0] != names[1]
        else f"the coordinates {', '.join(names[0])} have the same names but different assumptions"
    )
    return f"{kind}: {reason}; make both domains from the same symbols, in the same order."
