"""The kinds of cells that a mesh can have, and what file formats call them."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A shape of cells or facets.

    Attributes
    ----------
    name : as DOLFINx has it.
    dim : of the shape.
    corners : their number. Those of a quadrilateral go around; those of a hexahedron go around its
        bottom, then likewise around its top. XDMF, VTK and gmsh number them so.
    xdmf, gmsh, vtk : what these formats call it.
    """

    name: str
    dim: int
    corners: int
    xdmf: str
    gmsh: int
    vtk: int


POINT = Kind("point", 0, 1, "PolyVertex", 15, 1)
INTERVAL = Kind("interval", 1, 2, "PolyLine", 1, 3)
TRIANGLE = Kind("triangle", 2, 3, "Triangle", 2, 5)
QUADRILATERAL = Kind("quadrilateral", 2, 4, "Quadrilateral", 3, 9)
TETRAHEDRON = Kind("tetrahedron", 3, 4, "Tetrahedron", 4, 10)
HEXAHEDRON = Kind("hexahedron", 3, 8, "Hexahedron", 5, 12)

KINDS = (POINT, INTERVAL, TRIANGLE, QUADRILATERAL, TETRAHEDRON, HEXAHEDRON)

FACET = {
    INTERVAL: POINT,
    TRIANGLE: INTERVAL,
    QUADRILATERAL: INTERVAL,
    TETRAHEDRON: TRIANGLE,
    HEXAHEDRON: QUADRILATERAL,
}
"""The kind of the facets of each kind of cells."""


def cells_of(dim: int) -> tuple[Kind, ...]:
    """The kinds of cells of a dimension, simplices first."""
    return tuple(kind for kind in KINDS if kind.dim == dim)


def kind_of(dim: int, corners: int) -> Kind:
    """The kind of a dimension with so many corners."""
    return next(kind for kind in cells_of(dim) if kind.corners == corners)
