"""Domains of pdeml as geometries of DeepXDE."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch

from pdeml.domains import Ball, Box, Difference, Domain, Intersection, Polygon, SpaceTime, Union
from pdeml.domains.polar import Ellipse, StarShaped

ON_BOUNDARY = 1e-10
"""Points nearer to the boundary than this, relative to the extent, are on it."""


def to_geometry(dde: Any, domain: Domain) -> Any:
    """The geometry of DeepXDE that describes a domain.

    Intervals, boxes, balls, polygons, ellipses, star shapes and their unions, intersections and
    differences become DeepXDE's own; any other domain (a mesh, a surface) is wrapped and answers
    DeepXDE's questions itself. Time becomes `GeometryXTime`, its coordinate last.
    """
    shapes = dde.geometry
    if isinstance(domain, SpaceTime):
        time = shapes.TimeDomain(domain.time.start, domain.time.end)
        return shapes.GeometryXTime(to_geometry(dde, domain.space), time)
    if isinstance(domain, Box):
        return _box(shapes, domain)
    if isinstance(domain, Ball):
        if domain.dim == 1:
            return shapes.Interval(domain.bounds[0][0], domain.bounds[1][0])
        kind = {2: shapes.Disk, 3: shapes.Sphere}.get(domain.dim, shapes.Hypersphere)
        return kind(list(domain.centre), domain.radius)
    if isinstance(domain, Polygon):
        return _answered(_polygon(shapes, domain), domain)
    if isinstance(domain, Ellipse):
        # DeepXDE turns clockwise
        made = shapes.Ellipse(list(domain.centre), *domain.semiaxes, -domain.angle)
        return _answered(made, domain)
    if isinstance(domain, StarShaped):
        made = shapes.StarShaped(
            list(domain.centre), domain.radius, list(domain.cosines), list(domain.sines)
        )
        return _answered(made, domain)
    for kind, combine in (
        (Union, shapes.csg.CSGUnion),
        (Intersection, shapes.csg.CSGIntersection),
        (Difference, shapes.csg.CSGDifference),
    ):
        if isinstance(domain, kind):
            return reduce(combine, [to_geometry(dde, child) for child in domain.children])
    return _wrapped(dde, domain)


def _box(shapes: Any, box: Box) -> Any:
    if box.dim == 1:
        return shapes.Interval(box.lower[0], box.upper[0])
    kind = {2: shapes.Rectangle, 3: shapes.Cuboid}.get(box.dim, shapes.Hypercube)
    return kind(list(box.lower), list(box.upper))


def _polygon(shapes: Any, polygon: Polygon) -> Any:
    corners = np.array(polygon.vertices)
    if len(corners) == 3:
        return shapes.Triangle(*map(list, corners))
    if shapes.Rectangle.is_valid(corners):
        return shapes.Rectangle(corners.min(axis=0), corners.max(axis=0))
    return shapes.Polygon(corners)


def _answered(geometry: Any, domain: Domain) -> Any:
    """The geometry, with the domain's own answers to what DeepXDE 1.15 gets wrong.

    Its polygons take cross products in 2-D, which NumPy 2.5 refuses; its ellipse has no normals and
    a wrong bounding box; its star shape takes one norm over all points for the boundary.
    """
    geometry.inside = lambda x: domain.contains(_asked(x)).numpy()
    geometry.on_boundary = lambda x: on_boundary(domain, x)
    geometry.boundary_normal = lambda x: domain.normals(_asked(x)).numpy()
    geometry.bbox = tuple(np.array(corner) for corner in domain.bounds)
    return geometry


def _asked(points: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(points, dtype=torch.float64, device="cpu")


def on_boundary(domain: Domain, points: np.ndarray) -> np.ndarray:
    """Which points lie on the boundary in space."""
    space = domain.space if isinstance(domain, SpaceTime) else domain
    lower, upper = (np.array(corner) for corner in space.bounds)
    distance = space.signed_distance(torch.as_tensor(points[:, : space.dim], dtype=torch.float64))
    return distance.abs().numpy() <= ON_BOUNDARY * (upper - lower).max()


def _wrapped(dde: Any, domain: Domain) -> Any:
    """A geometry that asks a domain."""

    def generator() -> torch.Generator:
        # DeepXDE draws from NumPy's global state
        return torch.Generator().manual_seed(int(np.random.randint(2**31)))  # noqa: NPY002

    class Wrapped(dde.geometry.geometry.Geometry):
        def __init__(self) -> None:
            lower, upper = (np.array(corner) for corner in domain.bounds)
            super().__init__(domain.dim, (lower, upper), float(np.linalg.norm(upper - lower)))

        def inside(self, x: np.ndarray) -> np.ndarray:
            return domain.contains(_asked(x)).numpy()

        def on_boundary(self, x: np.ndarray) -> np.ndarray:
            return on_boundary(domain, x)

        def boundary_normal(self, x: np.ndarray) -> np.ndarray:
            return domain.normals(_asked(x)).numpy()

        def random_points(self, n: int, random: str = "pseudo") -> np.ndarray:
            return domain.sample(n, generator()).numpy()

        def random_boundary_points(self, n: int, random: str = "pseudo") -> np.ndarray:
            return domain.sample_boundary(n, generator()).points.numpy()

    return Wrapped()
