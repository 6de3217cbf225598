"""Meshes that are none: what is wrong, and where."""

import math

import numpy as np
import pytest
import torch

from pdeml.domains import Box, Mesh, Rectangle, Surface
from pdeml.errors import InvalidMesh
from tests.domains.meshes import annulus, delaunay, seeded, spiky, symbols, x, y, z

SQUARE = [[0.0, 0], [1, 0], [1, 1], [0, 1]]
TWO = [[0, 1, 2], [0, 2, 3]]


def square(vertices=SQUARE, cells=TWO, **names):
    return Mesh((x, y), vertices, cells, **names)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_cells_are_turned_to_positive_volume(dim):
    mesh = delaunay(dim)
    generator = np.random.default_rng(1)
    mixed = np.stack([generator.permutation(cell) for cell in mesh.cells])
    again = Mesh(symbols(dim), mesh.vertices, mixed)
    corners = again.vertices[again.cells]
    assert (np.linalg.det(corners[:, 1:] - corners[:, :1]) > 0).all()
    assert again.volume == pytest.approx(mesh.volume, rel=1e-14)
    assert np.array_equal(np.sort(again.facets, axis=1), np.sort(mesh.facets, axis=1))
    flux = again.boundary_quadrature(degree=1)
    outwards = (flux.weights * (flux.points * flux.normals).sum(dim=1)).sum()
    assert float(outwards) == pytest.approx(dim * mesh.volume, rel=1e-12)


@pytest.mark.parametrize(
    "vertices, cells, message",
    [
        ([*SQUARE[:3], [0, math.nan]], TWO, r"vertex 3 is \(0, nan\); .* finite"),
        ([*SQUARE[:3], [0, math.inf]], TWO, r"vertex 3 is \(0, inf\)"),
        (SQUARE, [[0, 1, 2], [0, 2, 4]], r"cell 1 has .*\[0, 2, 4\].* from 0 to 3"),
        (SQUARE, [[0, 1, 2], [0, 2, -1]], r"cell 1 has .*\[0, 2, -1\]"),
        (SQUARE, [[0, 1, 2], [0, 2, 2]], r"cell 1 .* repeated"),
        ([*SQUARE, [5, 5]], TWO, r"1 vertices belong to no cell \(4\)"),
        ([*SQUARE, [0, 1]], [*TWO, [2, 3, 4]], r"vertices 3 and 4 are the same point \(0, 1\)"),
        ([*SQUARE, [0, 1 + 1e-14]], [*TWO, [2, 3, 4]], r"vertices 3 and 4 are the same"),
        ([[0, 0], [1, 0], [2, 0]], [[0, 1, 2]], r"cell 0 is degenerate.*\(2, 0\)"),
        ([*SQUARE, [2, 2]], [*TWO, [0, 2, 4]], r"cell 2 is degenerate"),
        ([*SQUARE, [0.5, 0.6]], [*TWO, [0, 2, 4]], r"\[0, 2\] belongs to 3 cells \(0, 1, 2\)"),
        ([*SQUARE[:3], [0.9, 0.5]], TWO, r"cells 0 and 1 lie on the same side.*folded"),
        (
            [*SQUARE, [3, 0], [4, 0], [3, 1]],
            [*TWO, [4, 5, 6]],
            r"2 pieces of 2, 1 cells .* smallest one has cell 2 at \(3\.3",
        ),
        ([*SQUARE, [2, 2], [1, 2]], [*TWO, [2, 4, 5]], "2 pieces"),  # joined by a corner
        (
            [*SQUARE, [2, 0], [1, 0.5]],
            [*TWO, [1, 4, 5], [4, 2, 5]],
            r"vertex 5 at \(1, 0\.5\) hangs on the facet with the vertices \[1, 2\]",
        ),
        (SQUARE, np.zeros((0, 3), dtype=int), "no cells"),
        (
            SQUARE,
            [[0, 1, 2, 3, 0]],
            r"cells of a Mesh .*\(…, 3\) or \(…, 4\), but its shape is \(1, 5\)",
        ),
        (SQUARE, [[0.0, 1.0, 2.0]], "array of integers"),
        (SQUARE, [[0, 1, 2], [0, 2]], "array of integers"),
        ([[0, 0, 0]], TWO, r"vertices of a Mesh .* shape is \(1, 3\)"),
        ([["a", "b"]], TWO, "array of numbers"),
        ([[1j, 0]], TWO, "array of numbers"),
    ],
)
def test_bad_meshes(vertices, cells, message):
    with pytest.raises(InvalidMesh, match=message):
        square(vertices, cells)


def test_a_solid_with_hanging_vertices_and_one_with_a_fold():
    """A tetrahedron beside two that share its face between them."""
    vertices = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [0.5, 0.5, 0]]
    cells = [[0, 1, 2, 3], [0, 1, 5, 4], [0, 5, 2, 4]]
    with pytest.raises(InvalidMesh, match=r"vertex 5 at \(0\.5, 0\.5, 0\) hangs .* \[0, 2, 1\]"):
        Mesh((x, y, z), vertices, cells)
    vertices[4] = [0.1, 0.1, 0.4]
    with pytest.raises(InvalidMesh, match="folded"):
        Mesh((x, y, z), vertices[:5], [[0, 1, 2, 3], [0, 1, 2, 4]])


def test_a_slit_of_two_layers_of_vertices_is_refused():
    grid = Mesh.structured(Rectangle((x, y), (0, 0), (2, 2)), 2)
    middle = int(np.flatnonzero((grid.vertices == [2, 1]).all(axis=1))[0])
    above = (grid.vertices[grid.cells].mean(axis=1)[:, 1] > 1) & (grid.cells == middle).any(axis=1)
    cells = grid.cells.copy()
    cells[above] = np.where(cells[above] == middle, len(grid.vertices), cells[above])
    vertices = np.concatenate([grid.vertices, grid.vertices[[middle]]])
    with pytest.raises(InvalidMesh, match="same point"):
        Mesh((x, y), vertices, cells)
    vertices[-1] += [0, 1e-3]
    assert Mesh((x, y), vertices, cells).volume < 4


@pytest.mark.parametrize(
    "names, message",
    [
        ({"parts": {"side": [[0, 5]]}}, r"'side' has a facet .*\[0, 5\], which is no facet"),
        ({"parts": {"side": [[1, 3]]}}, r"\[1, 3\], which is no facet .*from 0 to 3"),
        ({"parts": {"side": []}}, r"facets of 'side' must be"),
        ({"parts": {"side": np.zeros((0, 2), dtype=int)}}, "'side' has no facets"),
        ({"parts": {"a": [[0, 1]], "b": [[1, 0]]}}, r"\[0, 1\] belongs to 'a' and to 'b'"),
        ({"parts": {"a": [[0, 1], [0, 2]]}}, r"'a' has 1 facets on the boundary and 1 inside"),
        ({"parts": {"untagged": [[0, 1]]}}, "called 'untagged'; name all"),
        ({"parts": {'a"b': [[0, 1]]}}, "quotation"),
        ({"parts": {" a": [[0, 1]]}}, "space"),
        ({"parts": {"(none)": [[0, 1]]}}, "kept"),
        ({"parts": {"a\nb": [[0, 1]]}}, "printable"),
        ({"parts": {"": [[0, 1]]}}, "printable"),
        ({"parts": {3: [[0, 1]]}}, "printable"),
        ({"regions": {"a": [2]}}, "'a' has cell 2; .* from 0 to 1"),
        ({"regions": {"a": [-1]}}, "'a' has cell -1"),
        ({"regions": {"a": [0], "b": [0, 1]}}, "cell 0 belongs to 'a' and to 'b'"),
        ({"regions": {"a": np.zeros(0, dtype=int)}}, "'a' has no cells"),
    ],
)
def test_names_that_fit_nothing(names, message):
    with pytest.raises(InvalidMesh, match=message):
        square(**names)


def test_more_names_than_anyone_meant():
    mesh = annulus(600)
    facets = {str(i): facet[None] for i, facet in enumerate(mesh.facets)}
    with pytest.raises(InvalidMesh, match="1200 parts or regions"):
        Mesh((x, y), mesh.vertices, mesh.cells, facets)
    with pytest.raises(InvalidMesh, match="1001 parts or regions"):
        Mesh((x, y), mesh.vertices, mesh.cells, None, {str(i): [i] for i in range(1001)})


def test_names_are_kept_in_order_and_the_rest_is_named():
    assert square().parts == ("boundary",)
    mesh = square(parts={"top": [[3, 2]], "diagonal": [[2, 0]], "left": [[0, 3]]})
    assert mesh.parts == ("top", "left", "untagged")
    assert mesh.interfaces.keys() == {"diagonal"}
    assert mesh.interfaces["diagonal"].tolist() == [[0, 2]]
    assert np.sort(mesh.facets_of("top")).tolist() == [[2, 3]]
    assert len(mesh.facets_of("untagged")) == 2
    # Written twice, a facet is in the part once.
    assert len(square(parts={"top": [[3, 2], [2, 3]]}).facets_of("top")) == 1


def test_arrays_cannot_be_changed():
    mesh = square(regions={"a": [0]})
    for array in (mesh.vertices, mesh.cells, mesh.facet_parts, mesh.cell_regions):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def surface(change):
    good = spiky(12, parts=False)
    vertices, triangles = change(good.vertices.copy(), good.facets.copy())
    return Surface((x, y, z), vertices, triangles)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda v, t: (v, t[1:]), r"belongs to 1 triangles, not to 2 \(3 such edges\): .* closed"),
        (lambda v, t: (v, np.concatenate([t, t[:1]])), "belongs to 3 triangles"),
        (lambda v, t: (v, np.concatenate([t[:1, ::-1], t[1:]])), "turned in different directions"),
        (lambda v, t: (np.concatenate([v, v[:1]]), t), "belong to no cell"),
        (lambda v, t: (v * [1, 1, 0], t), "encloses no volume"),
        (lambda v, t: (v * math.nan, t), "finite"),
    ],
)
def test_bad_surfaces(change, message):
    with pytest.raises(InvalidMesh, match=message):
        surface(change)


def test_a_surface_turned_inside_out_is_turned_back():
    good = spiky(40)
    parts = {"upper": np.flatnonzero(good.facet_parts == 0)}
    turned = Surface((x, y, z), good.vertices, good.facets[:, ::-1], parts)
    assert turned.volume == pytest.approx(good.volume, rel=1e-14) and good.volume > 0
    points = good.sample(200, seeded())
    near = torch.tensor(good.vertices).repeat(20, 1)
    near = near + 0.05 * torch.randn(near.shape, generator=seeded(1), dtype=torch.float64)
    points = torch.cat([points, near])
    assert torch.equal(turned.contains(points), good.contains(points))
    assert (turned.normals(points) == good.normals(points)).all()


def test_a_cavity_bounds_the_solid_from_inside():
    outer = Mesh.structured(Box((x, y, z), (0, 0, 0), (3, 3, 3)), 3)
    inner = Mesh.structured(Box((x, y, z), (1, 1, 1), (2, 2, 2)), 1)
    vertices = np.concatenate([outer.vertices, inner.vertices])
    facets = np.concatenate([outer.facets, inner.facets[:, ::-1] + len(outer.vertices)])
    used, numbered = np.unique(facets, return_inverse=True)
    hollow = Surface((x, y, z), vertices[used], numbered.reshape(facets.shape))
    assert hollow.volume == pytest.approx(26) and hollow.area == pytest.approx(60)
    points = hollow.sample(500, seeded())
    assert not ((points > 1) & (points < 2)).all(dim=1).any()
