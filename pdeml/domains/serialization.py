"""Domains from their saved form."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import sympy as sp

from pdeml.domains.cloud import PointCloud
from pdeml.domains.csg import Difference, Intersection, Union
from pdeml.domains.domain import Domain
from pdeml.domains.geometry import Ball, Box, Disk, Interval, Rectangle
from pdeml.domains.mesh import Mesh
from pdeml.domains.mesh_surface import Surface
from pdeml.domains.polar import Ellipse, StarShaped
from pdeml.domains.polygon import Polygon
from pdeml.domains.spacetime import SpaceTime
from pdeml.errors import InvalidFile, InvalidMesh, InvalidProblem

KINDS: Mapping[str, type[Domain]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            Interval,
            Rectangle,
            Box,
            Disk,
            Ball,
            Polygon,
            Ellipse,
            StarShaped,
            PointCloud,
            Mesh,
            Surface,
            Union,
            Intersection,
            Difference,
            SpaceTime,
        )
    }
)


def domain_from_dict(data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]) -> Domain:
    """The domain that `Domain.to_dict` described, exactly.

    Parameters
    ----------
    data : what ``to_dict`` gave, also after a way through JSON.
    symbols : the SymPy symbol of each coordinate's name.

    Returns
    -------
    Domain

    Raises
    ------
    InvalidFile
        If the data do not describe a domain, or a coordinate is unknown.
    """
    kind = data.get("type") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidFile(f"a saved domain is of type {kind!r}; known are {', '.join(KINDS)}.")
    try:
        return KINDS[kind]._from_dict(data, symbols)
    except InvalidFile:
        raise
    except KeyError as error:
        raise InvalidFile(f"a saved {kind} has no entry {error}.") from None
    except (InvalidProblem, InvalidMesh, TypeError, AttributeError, RecursionError) as error:
        raise InvalidFile(f"a saved {kind} does not describe a domain: {error}") from error
