"""Geometries of DeepXDE as domains of pdeml."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from pdeml.domains import Ball, Box, Disk, Domain, Interval, Polygon, Rectangle, Time
from pdeml.domains.cloud import PointCloud
from pdeml.domains.polar import Ellipse, StarShaped
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.solvers.deepxde.backend import session

NAMES = "x y z".split()


def from_deepxde_geometry(geometry: Any, coordinates: Sequence[sp.Symbol] | None = None) -> Domain:
    """The domain of pdeml that a ``dde.geometry`` describes.

    Interval, Rectangle, Cuboid, Hypercube, Disk, Sphere, Hypersphere, Ellipse, Triangle, Polygon,
    StarShaped, their unions, differences and intersections, and GeometryXTime keep their shape to
    the last digit; they answer, sample and are saved without DeepXDE, and finite elements can mesh
    those that are made of boxes, balls and polygons. A PointCloud keeps its points, and nothing
    between them is known: collocation methods alone can use it.

    Parameters
    ----------
    geometry : of DeepXDE.
    coordinates : SymPy symbols, time last; default x, y, z (x1, x2 … above three) and t.

    Returns
    -------
    Domain

    Raises
    ------
    InvalidOption
        For another number of coordinates than the geometry has.
    UnsupportedProblem
        For a geometry that is none of these.
    MissingDependency
        DeepXDE is not installed.
    """
    with session() as dde:
        timed = isinstance(geometry, dde.geometry.GeometryXTime)
        if not timed and not isinstance(geometry, dde.geometry.geometry.Geometry):
            raise UnsupportedProblem(
                f"{geometry!r:.60} is no geometry of DeepXDE; give a dde.geometry object."
            )
        symbols = _symbols(geometry.dim, timed, coordinates)
        if timed:
            time = geometry.timedomain
            space = _space(dde.geometry, geometry.geometry, symbols[:-1])
            return space * Time(symbols[-1], float(time.t0), float(time.t1))
        return _space(dde.geometry, geometry, symbols)


def _symbols(
    dim: int, timed: bool, coordinates: Sequence[sp.Symbol] | None
) -> tuple[sp.Symbol, ...]:
    if coordinates is None:
        count = dim - timed
        names = NAMES[:count] if count <= len(NAMES) else [f"x{i + 1}" for i in range(count)]
        return tuple(sp.Symbol(name, real=True) for name in [*names, *(["t"] * timed)])
    if len(coordinates) != dim:
        raise InvalidOption(
            f"coordinates={tuple(coordinates)}: the geometry has {dim} of them"
            + (", time last." if timed else ".")
        )
    return tuple(coordinates)


def _space(shapes: Any, geometry: Any, x: tuple[sp.Symbol, ...]) -> Domain:
    """By class, from the special to the general."""
    for kind, convert in _table(shapes).items():
        if isinstance(geometry, kind):
            return convert(geometry, x)
    raise UnsupportedProblem(
        f"the geometry {type(geometry).__name__} has no counterpart; accepted are "
        f"{', '.join(kind.__name__ for kind in _table(shapes))} and GeometryXTime."
    )


Convert = Callable[[Any, tuple[sp.Symbol, ...]], Domain]


def _table(shapes: Any) -> Mapping[type, Convert]:
    csg = shapes.csg
    return {
        shapes.Interval: lambda g, x: Interval(x[0], float(g.l), float(g.r)),
        shapes.Rectangle: lambda g, x: Rectangle(x, _floats(g.xmin), _floats(g.xmax)),
        shapes.Hypercube: lambda g, x: Box(x, _floats(g.xmin), _floats(g.xmax)),
        shapes.Disk: lambda g, x: Disk(x, _floats(g.center), float(g.radius)),
        shapes.Hypersphere: lambda g, x: Ball(x, _floats(g.center), float(g.radius)),
        # DeepXDE turns clockwise
        shapes.Ellipse: lambda g, x: Ellipse(
            x, _floats(g.center), (float(g.semimajor), float(g.semiminor)), -float(g.angle)
        ),
        shapes.StarShaped: lambda g, x: StarShaped(
            x,
            _floats(g.center),
            float(g.radius),
            _floats(g.coeffs_cos),
            _floats(g.coeffs_sin),
        ),
        shapes.Triangle: lambda g, x: Polygon(x, [_floats(v) for v in (g.x1, g.x2, g.x3)]),
        shapes.Polygon: lambda g, x: Polygon(x, [_floats(v) for v in g.vertices]),
        csg.CSGUnion: lambda g, x: _space(shapes, g.geom1, x) | _space(shapes, g.geom2, x),
        csg.CSGDifference: lambda g, x: _space(shapes, g.geom1, x) - _space(shapes, g.geom2, x),
        csg.CSGIntersection: lambda g, x: _space(shapes, g.geom1, x) & _space(shapes, g.geom2, x),
        shapes.PointCloud: lambda g, x: PointCloud(
            x, g.points, g.boundary_points, g.boundary_normals
        ),
    }


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(np.asarray(values, dtype=np.float64).tolist())
