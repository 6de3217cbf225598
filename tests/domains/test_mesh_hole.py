"""Regular meshes of a box with a round hole."""

import math

import pytest
import sympy as sp
import torch

from pdeml.domains import Disk, Rectangle
from pdeml.domains.mesh import Mesh
from pdeml.errors import InvalidOption

x, y = sp.symbols("x y", real=True)
PLATE = Rectangle((x, y), (-1, -1), (1, 1)) - Disk((x, y), (0, 0), 0.25)
CHANNEL = Rectangle((x, y), (0, 0), (2.2, 0.41)) - Disk((x, y), (0.2, 0.2), 0.05)


@pytest.mark.parametrize(
    "domain, radius, sides, counts",
    [(PLATE, 0.25, 8.0, (16, 16)), (CHANNEL, 0.05, 5.22, (86, 16))],
)
def test_the_mesh_is_the_domain_to_second_order(domain, radius, sides, counts):
    """`Mesh` refuses gaps and overlaps itself; area and circumference are those of a polygon."""
    lower, upper = domain.bounds
    box = math.prod(b - a for a, b in zip(lower, upper, strict=True))
    gaps = []
    for factor in (1, 2):
        mesh = Mesh.structured(domain, [factor * n for n in counts])
        gaps.append(mesh.volume - (box - math.pi * radius**2))
        assert mesh.parts == domain.parts
        rim = mesh.vertices[mesh.facets_of("boundary")]
        centre = domain.children[1].centre
        assert torch.tensor(rim - centre).norm(dim=-1).sub(radius).abs().max() < 1e-14
        edges = len(rim)
        polygon = edges * radius**2 * math.sin(2 * math.pi / edges) / 2
        assert mesh.volume == pytest.approx(box - polygon, rel=1e-12)
        assert mesh.area == pytest.approx(
            sides + 2 * edges * radius * math.sin(math.pi / edges), rel=1e-12
        )
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.4)


def test_no_cell_is_flat():
    for domain, n in ((PLATE, 2), (PLATE, 16), (CHANNEL, (43, 8)), (CHANNEL, (172, 32))):
        mesh = Mesh.structured(domain, n)
        corners = torch.tensor(mesh.vertices[mesh.cells])
        longest = (corners - corners.roll(1, dims=1)).norm(dim=-1).amax(1)
        assert (2 * torch.tensor(mesh.cell_volumes) / longest**2).min() > 0.1


def test_a_hole_that_touches_or_leaves_the_box_is_refused():
    box = Rectangle((x, y), (0, 0), (1, 1))
    near = box - Disk((x, y), (0.25, 0.5), 0.2499)
    with pytest.raises(InvalidOption, match="too near for a regular grid"):
        Mesh.structured(near, 8)
    for beyond in (box - Disk((x, y), (0.1, 0.5), 0.2), box - Disk((x, y), (2, 0.5), 1.2)):
        with pytest.raises(InvalidOption, match="round or oblique"):
            Mesh.structured(beyond, 8)
