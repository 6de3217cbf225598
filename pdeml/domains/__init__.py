"""Domains: where a PDE is posed, their boundary, and points in them."""

from pdeml.domains.cloud import PointCloud
from pdeml.domains.csg import Difference, Intersection, Region, Union
from pdeml.domains.domain import BoundarySample, Domain
from pdeml.domains.geometry import Ball, Box, Disk, Interval, Rectangle
from pdeml.domains.mesh import Mesh
from pdeml.domains.mesh_surface import Surface
from pdeml.domains.polar import Ellipse, StarShaped
from pdeml.domains.polygon import Polygon
from pdeml.domains.sampling import METHODS, residual_adaptive, unit_points
from pdeml.domains.serialization import domain_from_dict
from pdeml.domains.spacetime import SpaceTime, Time

__all__ = [
    "METHODS",
    "Ball",
    "BoundarySample",
    "Box",
    "Difference",
    "Disk",
    "Domain",
    "Ellipse",
    "Intersection",
    "Interval",
    "Mesh",
    "PointCloud",
    "Polygon",
    "Rectangle",
    "Region",
    "SpaceTime",
    "StarShaped",
    "Surface",
    "Time",
    "Union",
    "domain_from_dict",
    "residual_adaptive",
    "unit_points",
]
