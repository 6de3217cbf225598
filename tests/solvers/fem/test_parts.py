"""Named parts of a mesh: its own facets say where a condition holds, not the geometry."""

from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import torch

import pdeml
from pdeml.domains import Rectangle
from pdeml.domains.mesh import Mesh
from pdeml.errors import InvalidOption, InvalidProblem
from pdeml.operators.conditions import Dirichlet, Neumann
from pdeml.operators.pde import PDE
from pdeml.solvers.fem.mesh import mesh_of
from pdeml.solvers.fem.space import Space

from .declarations import laplacian, u, x, y

MESHES = Path(__file__).parents[3] / "meshes"
PLATE, CHANNEL = (
    Mesh.read(MESHES / f"{name}.xdmf", (x, y)) for name in ("plate_with_hole", "channel_cylinder")
)
SIDES = [Neumann(u, 0, on=name) for name in ("right", "top", "bottom")]
HEATED = [Dirichlet(u, 1, on="hole"), Dirichlet(u, 0, on="left"), *SIDES]


def solve(problem, **options):
    return pdeml.solve(problem, "fem", reference=None, **options)


@pytest.mark.parametrize("mesh", [PLATE, CHANNEL], ids=["plate", "channel"])
def test_facets_of_a_part_are_those_of_the_file(mesh):
    conditions = [Dirichlet(u, i, on=name) for i, name in enumerate(mesh.parts)]
    problem = PDE("parts", laplacian(u), mesh, conditions)
    space = Space(problem.weak_form(), mesh_of(mesh, ()), 1)
    for number, c in enumerate(conditions):
        assert space.holds(c).sum() == (mesh.facet_parts == number).sum()
        wanted = mesh.facets_of(c.on)
        middles = np.sort(mesh.vertices[wanted].mean(1).round(9).tolist(), axis=0)
        found = np.sort(space.middles.numpy()[space.holds(c)].round(9).tolist(), axis=0)
        assert np.allclose(found, middles, atol=1e-8)


def test_names_rule_not_places():
    """Left and right change names: the solution is mirrored, though the plate is where it was."""
    turned = PLATE.renamed({"left": "right", "right": "left"})
    points = PLATE.sample(200, torch.Generator().manual_seed(0)) * 0.95
    points = points[PLATE.contains(points) & PLATE.contains(points * torch.tensor([-1.0, 1.0]))]
    straight = solve(PDE("plate", laplacian(u), PLATE, HEATED))(points)
    problem = PDE("plate", laplacian(u), PLATE, HEATED)
    mirrored = solve(problem, mesh=turned)(points * torch.tensor([-1.0, 1.0]))
    # the mesh is not symmetric, so the values agree up to the error
    assert (straight - mirrored).abs().max() < 2e-3 and straight.std() > 0.1


def test_a_mesh_of_a_file_names_the_parts_of_a_box():
    problem = PDE(
        "box",
        laplacian(u),
        Rectangle((x, y), (0, 0), (1, 1)),
        [Dirichlet(u, 0, on="left"), Dirichlet(u, 1, on="right")]
        + [Neumann(u, 0, on=side) for side in ("top", "bottom")],
    )
    file = MESHES / "unit_square_16.xdmf"
    points = torch.tensor([[0.3, 0.4], [0.9, 0.2]], dtype=torch.float64)
    assert torch.allclose(solve(problem, mesh=file)(points), points[:, :1])
    swapped = Mesh.read(file, (x, y)).renamed({"left": "right", "right": "left"})
    assert torch.allclose(solve(problem, mesh=swapped)(points), 1 - points[:, :1])


def test_unknown_names_list_the_known_ones():
    with pytest.raises(InvalidProblem, match="'hole'"):
        PDE("plate", laplacian(u), PLATE, [Dirichlet(u, 1, on="rim")])
    with pytest.raises(
        InvalidOption, match=r"part 'hole'.*'left', 'right', 'bottom', 'top', 'rim'"
    ):
        solve(PDE("plate", laplacian(u), PLATE, HEATED), mesh=PLATE.renamed({"hole": "rim"}))


def test_relations_still_hold_by_place():
    problem = PDE(
        "relation", laplacian(u), PLATE, [Dirichlet(u, 2, on=sp.Lt(x**2 + y**2, 0.5)), *HEATED[1:]]
    )
    named = PDE("named", laplacian(u), PLATE, [Dirichlet(u, 2, on="hole"), *HEATED[1:]])
    points = torch.tensor([[0.5, 0.1], [-0.6, 0.7]], dtype=torch.float64)
    assert torch.allclose(solve(problem)(points), solve(named)(points))
