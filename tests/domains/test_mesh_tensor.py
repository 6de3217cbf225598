"""Meshes of quadrilaterals and hexahedra: measures, location, uniform points, checks, files."""

import itertools
import math

import h5py
import numpy as np
import pytest
import torch
from scipy import stats

from pdeml.domains import Box, Disk, Interval, Mesh, Rectangle, mesh_tensor
from pdeml.domains.mesh_facets import facets_of_cells
from pdeml.errors import InvalidMesh, InvalidOption
from pdeml.solvers.fem import backend
from tests.domains.meshes import boxes, seeded, symbols, x, y, z

UNLIKELY = 0.0027  # the p-value of three standard errors
SQUARE = [[0.0, 0], [1, 0], [1, 1], [0, 1]]
TRAPEZOID = [[0.0, 0], [1, 0], [1, 3], [0, 1]]
CUBE = [[*corner, height] for height in (0.0, 1.0) for corner in SQUARE]
FRUSTUM = [[*corner, 0.0] for corner in SQUARE] + [
    [0.4 + 0.2 * a, 0.4 + 0.2 * b, 1.0] for a, b in SQUARE
]


def warped(seed=0, counts=(2, 3, 2)):
    """Hexahedra all of whose faces are warped, those of the boundary too."""
    mesh = boxes(counts, 0.2, seed)
    moves = np.random.default_rng(seed).uniform(-0.06, 0.06, mesh.vertices.shape)
    return Mesh((x, y, z), mesh.vertices + moves, mesh.cells, mesh.named_facets)


def by_gauss(corners, function=lambda points: 1.0):
    """∫ over one trilinear cell, its map and its Jacobian written out corner by corner."""
    lattice = np.array(CUBE)
    roots, weights = np.polynomial.legendre.leggauss(8)
    total = 0.0
    for nodes in itertools.product(range(8), repeat=3):
        local = (1 + roots[list(nodes)]) / 2
        factors = np.where(lattice == 1, local, 1 - local)
        slopes = np.stack(
            [(2 * lattice[:, i] - 1) * np.delete(factors, i, axis=1).prod(axis=1) for i in range(3)]
        )
        place = factors.prod(axis=1) @ corners
        measure = np.linalg.det(slopes @ corners) * weights[list(nodes)].prod() / 8
        total += measure * function(place)
    return total


# Measures and integrals


def test_areas_are_those_of_the_polygons():
    mesh = boxes((5, 4), 0.3)
    a = mesh.vertices[mesh.cells]
    b = np.roll(a, -1, axis=1)
    area = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(axis=1) / 2
    assert mesh.cell == "quadrilateral"
    assert np.allclose(mesh.cell_volumes, area, rtol=1e-13)
    assert mesh.volume == pytest.approx(2.0, rel=1e-14)
    assert mesh.area == pytest.approx(6.0, rel=1e-14)


def test_a_warped_boundary_encloses_the_volume_of_the_cells():
    """Four triangles about the middle of a face and its bilinear surface: the same volume, and the
    same area vector ½ (c − a) × (d − b)."""
    mesh = warped()
    expected = [by_gauss(corners) for corners in mesh.vertices[mesh.cells]]
    assert np.allclose(mesh.cell_volumes, expected, rtol=1e-13)
    rule = mesh.boundary_quadrature(degree=1)
    outwards = (rule.weights * (rule.points * rule.normals).sum(dim=1)).sum()
    assert float(outwards) == pytest.approx(3 * mesh.volume, rel=1e-13)
    for name in mesh.parts:
        corners = mesh.vertices[mesh.facets_of(name)]
        across = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]).sum(axis=0)
        rule = mesh.boundary_quadrature(name)
        found = (rule.weights[:, None] * rule.normals).sum(dim=0)
        assert np.allclose(found, across / 2, atol=1e-14)
    assert float(rule.weights.sum()) > np.linalg.norm(across / 2)


@pytest.mark.parametrize("counts", [(4, 3), (3, 2, 2)])
@pytest.mark.parametrize("degree", [0, 1, 2, 5])
def test_quadrature_is_exact_on_crooked_cells(counts, degree):
    """The cells fill a box: ∫ x^a y^b z^c over it, for a + b + c up to the degree."""
    mesh, dim = boxes(counts, 0.25), len(counts)
    points, weights = mesh.quadrature(degree)
    assert (weights > 0).all()
    assert float(weights.sum()) == pytest.approx(mesh.volume, rel=1e-14)
    for powers in itertools.product(range(degree + 1), repeat=dim):
        if sum(powers) <= degree:
            found = float((weights * (points ** torch.tensor(powers)).prod(dim=1)).sum())
            sides = zip((2.0, 1.0, 1.5), powers, strict=False)
            exact = math.prod(side ** (p + 1) / (p + 1) for side, p in sides)
            assert found == pytest.approx(exact, rel=1e-12)


# Where points are


@pytest.mark.parametrize(
    "mesh", [boxes((5, 4), 0.33), boxes((2, 3, 2), 0.3)], ids=["plane", "solid"]
)
@pytest.mark.parametrize("shift", [0.0, 1e5])
def test_location_inverts_the_map(mesh, shift):
    """At random local coordinates, in the middle of cells, on facets, edges and corners."""
    mesh = Mesh(mesh.coordinates, mesh.vertices + shift, mesh.cells)
    dim, count = mesh.dim, 100
    local = torch.rand(len(mesh.cells), count, dim, generator=seeded(), dtype=torch.float64)
    local[:, 50:] = local[:, 50:].mul(3).sub(1).clamp(0, 1)
    weights = mesh_tensor.corner_weights(local.reshape(-1, dim)).reshape(len(mesh.cells), count, -1)
    corners = torch.tensor(mesh.vertices[mesh.cells])
    points = torch.einsum("cqk,ckd->cqd", weights, corners).reshape(-1, dim)
    cell, found = mesh.locate(points)
    inner = ((local > 0) & (local < 1)).all(dim=2).ravel()
    own = torch.arange(len(mesh.cells)).repeat_interleave(count)
    assert int(inner.sum()) > 500 and torch.equal(cell[inner], own[inner])
    # A rounded point of the boundary may be outside of it by as much.
    outside = cell < 0
    assert mesh.contains(points[outside], tolerance=8 * np.spacing(shift + 2)).all()
    assert int(outside.sum()) < (len(points) // 4 if shift else len(points) // 8)
    again = torch.einsum("nk,nkd->nd", found[~outside], corners[cell[~outside]])
    assert torch.allclose(again, points[~outside], atol=1e-13 * (1 + shift), rtol=0)
    assert (found[~outside] > -1e-9).all()


def test_no_point_is_in_two_cells_or_in_none():
    """Against half-planes: a convex quadrilateral is where all of its edges are to the right."""
    mesh = boxes((7, 5), 0.33, 3)
    points = torch.rand(20_000, 2, generator=seeded(1), dtype=torch.float64) * 1.2 - 0.1
    points[:, 0] *= 2
    corners = torch.tensor(mesh.vertices[mesh.cells])
    steps = corners.roll(-1, dims=1) - corners
    offset = points[:, None, None] - corners
    left = steps[..., 0] * offset[..., 1] - steps[..., 1] * offset[..., 0]
    held = left.amin(dim=2) > 0
    cell, _ = mesh.locate(points)
    assert torch.equal(held.sum(dim=1), (cell >= 0).long())
    assert torch.equal(held.int().argmax(dim=1)[cell >= 0], cell[cell >= 0])
    assert 10_000 < int((cell >= 0).sum()) < 19_000


def test_newtons_iteration_finds_points_in_cells_that_are_nearly_folded():
    """Random cells, stretched and turned, with Jacobians down to 1e-3 of the mean."""
    generator = np.random.default_rng(0)
    for dim, size in ((2, 0.47), (3, 0.29)):
        lattice = np.array(SQUARE if dim == 2 else CUBE)
        corners = lattice + generator.uniform(-size, size, (20_000, *lattice.shape))
        densities = mesh_tensor.densities(corners)
        good = (densities.flatten(1).amin(dim=1) > 2e-3).numpy()
        corners = torch.tensor(corners[good] @ generator.normal(size=(good.sum(), dim, dim)))
        assert len(corners) > 10_000 and float(densities[good].min()) < 4e-3
        local = torch.rand(len(corners), dim, generator=seeded(), dtype=torch.float64)
        local[::3, 0] = 0.0
        c = mesh_tensor.coefficients(corners)
        found = mesh_tensor.inverted(mesh_tensor.placed(local, c), c)
        assert (found - local).abs().max() < 1e-8


def test_derivatives_of_local_coordinates():
    """Up to the third, by automatic differentiation, against ∂ξ/∂x of a map with a closed form."""
    c = mesh_tensor.coefficients(torch.tensor([TRAPEZOID], dtype=torch.float64))
    point = torch.tensor([[0.3, 0.7]], dtype=torch.float64, requires_grad=True)
    # x = ξ, y = η (1 + 2 ξ), so that η = y / (1 + 2 x)
    value = mesh_tensor.inverted(point, c)[0, 1]
    expected = point[0, 1] / (1 + 2 * point[0, 0])
    for axes in ((0, 0, 0), (0, 1, 0), (1, 0, 0)):
        one, other = value, expected
        for axis in axes:
            (one,) = torch.autograd.grad(one, point, create_graph=True)
            (other,) = torch.autograd.grad(other, point, create_graph=True)
            one, other = one[0, axis], other[0, axis]
            assert one.item() == pytest.approx(other.item(), rel=1e-10)


# Sampling


@pytest.mark.parametrize("method", ["uniform", "sobol", "lhs"])
def test_points_are_uniform_in_a_cell_whose_jacobian_varies(method):
    """The width of the trapezoid is 1 + 2 x, the section of the frustum (1 − 0.8 z)²."""
    flat = Mesh((x, y), TRAPEZOID, [[0, 1, 2, 3]]).sample(4096, seeded(1), method)
    wide = 1 + 2 * flat[:, 0]
    assert stats.kstest(flat[:, 0].numpy(), lambda v: (v + v**2) / 2).pvalue > UNLIKELY
    assert stats.kstest((flat[:, 1] / wide).numpy(), "uniform").pvalue > UNLIKELY
    solid = Mesh((x, y, z), FRUSTUM, [range(8)]).sample(4096, seeded(2), method)
    left = 1 - 0.8 * solid[:, 2]
    share = 1 - 0.2**3
    assert stats.kstest(solid[:, 2].numpy(), lambda v: (1 - (1 - 0.8 * v) ** 3) / share).pvalue > (
        UNLIKELY
    )
    for axis in (0, 1):
        across = (solid[:, axis] - 0.5) / left + 0.5
        assert stats.kstest(across.numpy(), "uniform").pvalue > UNLIKELY


def test_moments_of_warped_cells():
    """Sobol points against Gauss's rule in a map that is written out."""
    mesh = warped(1)
    corners = mesh.vertices[mesh.cells]
    for function in (lambda p: p, lambda p: p**2):
        expected = sum(by_gauss(own, function) for own in corners) / mesh.volume
        found = function(mesh.sample(2**13, seeded(), "sobol")).mean(dim=0)
        assert np.allclose(found, expected, atol=2e-3)


# Checks


def test_either_orientation_is_turned():
    for cells in ([[0, 1, 2, 3]], [[0, 3, 2, 1]], [[2, 1, 0, 3]]):
        mesh = Mesh((x, y), SQUARE, cells)
        assert mesh.volume == pytest.approx(1.0)
        normals = mesh.normals(torch.tensor([[1.0, 0.5]], dtype=torch.float64))
        assert normals.tolist() == [[1.0, 0.0]]
    for cells in ([range(8)], [[4, 5, 6, 7, 0, 1, 2, 3]], [[0, 3, 2, 1, 4, 7, 6, 5]]):
        mesh = Mesh((x, y, z), CUBE, cells)
        assert mesh.volume == pytest.approx(1.0)
        above = torch.tensor([[0.3, 0.6, 1.5]], dtype=torch.float64)
        assert mesh.signed_distance(above).tolist() == pytest.approx([0.5])


@pytest.mark.parametrize(
    "vertices, cells, message",
    [
        (SQUARE, [[0, 1, 3, 2]], "cell 0 is folded: .*Corners go around it"),
        (SQUARE, [[0, 2, 1, 3]], "cell 0 is folded"),
        ([[0, 0], [1, 0], [0.2, 0.2], [0, 1]], [[0, 1, 2, 3]], "folded.*must be convex"),
        ([[0, 0], [1, 0], [0.5, 0.5], [0, 1]], [[0, 1, 2, 3]], "folded"),
        ([[0, 0], [1, 0], [2, 0], [3, 0]], [[0, 1, 2, 3]], "degenerate"),
        (SQUARE, [[0, 1, 1, 3]], r"\[0, 1, 1, 3\]; a vertex is repeated"),
        (SQUARE, [[0, 1, 2, 3], [0, 1, 2, 3]], "cells 0 and 1 lie on the same side"),
        (SQUARE, [[0, 1, 2, 3], [3, 2, 1, 0]], "cells 0 and 1 lie on the same side"),
        ([*SQUARE, [0.9, 2], [0.1, 2]], [[0, 1, 2, 3], [3, 2, 4, 5], [2, 3, 5, 4]], "belongs to 3"),
        ([*SQUARE, [math.nan, 0], [2, 0]], [[0, 1, 2, 3], [1, 5, 4, 2]], "finite"),
        ([*SQUARE, [2, 0], [2, 0.5], [1, 0.5]], [[0, 1, 2, 3], [1, 4, 5, 6]], "hangs"),
        ([*SQUARE, [2, 1], [2, 2], [1, 2]], [[0, 1, 2, 3], [2, 4, 5, 6]], "2 pieces"),
        (SQUARE, [[0, 1, 2]] * 2 + [[0, 1, 2, 3]], "array of integers"),
    ],
)
def test_bad_quadrilaterals(vertices, cells, message):
    with pytest.raises(InvalidMesh, match=message):
        Mesh((x, y), vertices, cells)


# Positive at the corners and at the middles of edges, faces and the cell, yet not between them.
SLIGHTLY_FOLDED = [
    [-0.75, -0.5, 0.25], [0.5, 0.25, -0.75], [1.75, 0.75, 0.5], [0.5, 0.5, -0.5],
    [-0.25, 0.0, 1.25], [1.0, -0.75, 0.5], [0.75, 1.5, 1.0], [-0.25, 0.75, 0.5],
]  # fmt: skip
# Its Jacobian is at least 0.2, but a Bernstein coefficient of it is −1.4.
CROOKED = [
    [0.75, 0.25, -0.75], [0.75, -0.25, 0.0], [1.75, 0.5, -0.5], [0.75, 1.5, 0.25],
    [0.5, -0.5, 1.25], [1.25, 0.0, 1.75], [0.25, 1.5, 1.0], [-0.5, 0.5, 1.5],
]  # fmt: skip


def test_the_jacobian_is_checked_in_the_whole_cell():
    for corners, positive in ((SLIGHTLY_FOLDED, False), (CROOKED, True)):
        held = torch.tensor([corners], dtype=torch.float64)
        local = torch.rand(100_000, 3, generator=seeded(), dtype=torch.float64)
        assert bool((mesh_tensor.jacobians(local, held) > 0).all()) is positive
        assert (mesh_tensor.densities(held.numpy()) > 0).all()
    with pytest.raises(InvalidMesh, match="folded"):
        Mesh((x, y, z), SLIGHTLY_FOLDED, [range(8)])
    assert Mesh((x, y, z), CROOKED, [range(8)]).volume == pytest.approx(by_gauss(CROOKED))


def test_bad_hexahedra():
    pushed = [*CUBE[:6], [0.1, 0.1, 0.1], CUBE[7]]
    with pytest.raises(InvalidMesh, match=r"folded.*pushed in"):
        Mesh((x, y, z), pushed, [range(8)])
    with pytest.raises(InvalidMesh, match=r"folded.*around the bottom"):
        Mesh((x, y, z), CUBE, [[0, 1, 3, 2, 4, 5, 7, 6]])
    half = boxes((1, 1, 1))
    hung = np.concatenate([half.vertices, [[2.0, 0.5, 0], [2, 0.5, 1.5], [3, 0, 0], [3, 0.5, 0]]])
    hung = np.concatenate([hung, [[3, 0, 1.5], [3, 0.5, 1.5]]])
    number = {tuple(v): k for k, v in enumerate(hung.tolist())}
    low = [(2.0, 0.0), (3.0, 0.0), (3.0, 0.5), (2.0, 0.5)]
    cell = [number[*corner, height] for height in (0.0, 1.5) for corner in low]
    with pytest.raises(InvalidMesh, match="hangs on the facet"):
        Mesh((x, y, z), hung, [half.cells[0], cell])
    with pytest.raises(InvalidMesh, match=r"\(…, 4\) or \(…, 8\), but its shape is \(1, 6\)"):
        Mesh((x, y, z), CUBE, [range(6)])
    with pytest.raises(InvalidMesh, match="facets of 'top' must be"):
        Mesh((x, y, z), CUBE, [range(8)], {"top": [[4, 5, 6]]})


def test_neighbours_that_go_around_their_face_differently():
    """What is an edge of the face to one cell is a diagonal of it to the other."""
    vertices = np.random.default_rng(0).random((12, 3))
    cells = np.array([range(8), [4, 6, 5, 7, 8, 9, 10, 11]])
    with pytest.raises(InvalidMesh, match="go around the corners in different orders"):
        facets_of_cells(vertices, cells)
    alike = np.array([range(8), [4, 5, 6, 7, 8, 9, 10, 11]])
    found = facets_of_cells(vertices, alike)
    assert found.inner.tolist() == [[4, 5, 6, 7]] and len(found.outer) == 10


# Ways to get a mesh


@pytest.mark.parametrize(
    "domain, n",
    [
        (Rectangle((x, y), (-1, 0), (1, 3)), (3, 4)),
        (Box((x, y, z), (0, -1, 0), (1, 1, 3)), (2, 1, 3)),
        (Rectangle((x, y), (0, 0), (2, 2)) - Rectangle((x, y), (1, 1), (3, 3)), 4),
    ],
)
def test_boxes_of_a_grid(domain, n):
    cell = "quadrilateral" if domain.dim == 2 else "hexahedron"
    mesh = Mesh.structured(domain, n, cell)
    simplices = Mesh.structured(domain, n)
    assert (mesh.cell, simplices.cell) == (cell, ("triangle", "tetrahedron")[domain.dim - 2])
    assert len(simplices.cells) == math.factorial(domain.dim) * len(mesh.cells)
    assert np.array_equal(mesh.vertices, simplices.vertices)
    assert mesh.volume == pytest.approx(simplices.volume, rel=1e-14)
    assert mesh.parts == simplices.parts
    edge = simplices.sample_boundary(300, seeded())
    assert torch.equal(mesh.part_of(edge.points), edge.parts)
    assert torch.allclose(mesh.normals(edge.points), edge.normals, atol=1e-15)
    points = torch.rand(500, domain.dim, generator=seeded(1), dtype=torch.float64) * 6 - 1.5
    assert torch.allclose(mesh.signed_distance(points), simplices.signed_distance(points))


def test_rings_about_a_hole_are_quadrilaterals():
    plate = Rectangle((x, y), (-1, -1), (1, 1)) - Disk((x, y), (0, 0), 0.25)
    mesh, halves = (Mesh.structured(plate, 8, cell) for cell in ("quadrilateral", "triangle"))
    assert mesh.volume == pytest.approx(halves.volume, rel=1e-14)
    assert 2 * len(mesh.cells) == len(halves.cells)
    assert mesh.parts == halves.parts == plate.parts


def test_cells_that_are_not_there():
    for domain, cell, words in (
        (Rectangle((x, y), (0, 0), (1, 1)), "hexahedron", "'triangle' or 'quadrilateral'"),
        (Box((x, y, z), (0, 0, 0), (1, 1, 1)), "quadrilateral", "'tetrahedron' or 'hexahedron'"),
        (Interval(x, 0, 1), "quad", "'interval'"),
    ):
        with pytest.raises(InvalidOption, match=words):
            Mesh.structured(domain, 2, cell)


# Files


def named(mesh):
    """A mesh with two regions and an interface between them."""
    left = np.flatnonzero(mesh.vertices[mesh.cells].mean(axis=1)[:, 0] < 1.0)
    right = np.setdiff1d(np.arange(len(mesh.cells)), left)
    width = mesh.facets.shape[1]
    between = np.intersect1d(mesh.cells[left], mesh.cells[right])
    held = np.isin(mesh.cells[left], between)
    across = held.sum(axis=1) == width
    facets = mesh.cells[left][across][held[across]].reshape(-1, width)
    regions = {"glass": left, "air": right[1:]}
    facets = {**mesh.named_facets, "between": facets}
    return Mesh(mesh.coordinates, mesh.vertices, mesh.cells, facets, regions)


MESHES = {"quadrilaterals": named(boxes((4, 3), 0.3)), "hexahedra": named(boxes((2, 2, 3), 0.2))}
both = pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)


@both
@pytest.mark.parametrize("ending", ["xdmf", "msh"])
def test_a_file_gives_the_same_mesh_back(tmp_path, mesh, ending):
    mesh.write(tmp_path / f"a.{ending}")
    again = Mesh.read(tmp_path / f"a.{ending}", mesh.coordinates)
    assert again == mesh and np.array_equal(again.cells, mesh.cells)
    assert again.regions == ("glass", "air") and again.cell == mesh.cell
    # The four corners of an interface are in an order that goes around.
    corners = again.vertices[again.interfaces["between"]]
    assert len(corners) == {2: 3, 3: 6}[mesh.dim]
    if mesh.dim == 3:
        sides = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
        across = np.linalg.norm(corners[:, 2] - corners[:, 0], axis=1)
        assert (across > sides.max(axis=1)).all()


@both
def test_dolfinx_reads_what_is_written(tmp_path, mesh):
    """The volume, and the area vector of each part by its tag."""
    dolfinx = backend.load()
    mesh.write(tmp_path / "a.xdmf")
    dim, comm = mesh.dim, dolfinx.MPI.COMM_SELF
    with dolfinx.io.XDMFFile(comm, str(tmp_path / "a.xdmf"), "r") as file:
        handle = file.read_mesh(name="mesh")
        handle.topology.create_connectivity(dim - 1, dim)
        tags = file.read_meshtags(handle, "facet_tags")
    ufl, fem = dolfinx.ufl, dolfinx.fem
    one = fem.Constant(handle, 1.0)
    volume = fem.assemble_scalar(fem.form(one * ufl.dx(metadata={"quadrature_degree": 4})))
    assert volume == pytest.approx(mesh.volume, rel=1e-13)
    ds = ufl.Measure("ds", domain=handle, subdomain_data=tags)
    normal = ufl.FacetNormal(handle)
    for tag, name in enumerate(mesh.parts, 1):
        rule = mesh.boundary_quadrature(name)
        expected = (rule.weights[:, None] * rule.normals).sum(dim=0)
        found = [fem.assemble_scalar(fem.form(normal[i] * ds(tag))) for i in range(dim)]
        assert np.allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("dim", [2, 3])
def test_what_dolfinx_writes_is_read(tmp_path, dim):
    dolfinx = backend.load()
    comm, kinds = dolfinx.MPI.COMM_SELF, dolfinx.mesh.CellType
    create = dolfinx.mesh.create_rectangle if dim == 2 else dolfinx.mesh.create_box
    kind = kinds.quadrilateral if dim == 2 else kinds.hexahedron
    handle = create(comm, [[0.0] * dim, [2.0, 1.0, 1.0][:dim]], [3, 2, 2][:dim], kind)
    moves = np.random.default_rng(0).uniform(-0.08, 0.08, (len(handle.geometry.x), dim))
    handle.geometry.x[:, :dim] += moves
    for other in (dim, 0):
        handle.topology.create_connectivity(dim - 1, other)
    facets = dolfinx.mesh.locate_entities_boundary(handle, dim - 1, lambda p: p[0] < 0.1)
    tags = dolfinx.mesh.meshtags(handle, dim - 1, np.sort(facets), np.full(len(facets), 7, "i4"))
    with dolfinx.io.XDMFFile(comm, str(tmp_path / "a.xdmf"), "w") as file:
        file.write_mesh(handle)
        file.write_meshtags(tags, handle.geometry)
    mesh = Mesh.read(tmp_path / "a.xdmf", symbols(dim))
    form = dolfinx.fem.form(
        dolfinx.fem.Constant(handle, 1.0) * dolfinx.ufl.dx(metadata={"quadrature_degree": 4})
    )
    assert mesh.volume == pytest.approx(dolfinx.fem.assemble_scalar(form), rel=1e-13)
    assert (mesh.cell, len(mesh.facets_of("7"))) == (kind.name, len(facets))
    assert (mesh.vertices[mesh.facets_of("7")][..., 0] < 0.1).all()


GMSH_HEXAHEDRON = """$MeshFormat
2.2 0 8
$EndMeshFormat
$PhysicalNames
1
2 4 "lid"
$EndPhysicalNames
$Nodes
8
1 0 0 0
2 1 0 0
3 1 1 0
4 0 1 0
5 0 0 1
6 1 0 1
7 1 1 1
8 0 1 1
$EndNodes
$Elements
2
1 3 2 4 1 5 6 7 8
2 5 2 0 1 1 2 3 4 5 6 7 8
$EndElements
"""


def test_gmshs_order_of_a_hexahedron(tmp_path):
    """Figure "Hexahedron" of gmsh's manual: around v = −1 … w = −1, then around w = 1."""
    (tmp_path / "a.msh").write_text(GMSH_HEXAHEDRON)
    mesh = Mesh.read(tmp_path / "a.msh", (x, y, z))
    assert mesh.volume == pytest.approx(1.0)
    assert (mesh.cell, mesh.parts) == ("hexahedron", ("lid", "untagged"))
    assert (mesh.vertices[mesh.facets_of("lid")][..., 2] == 1).all()


@both
def test_a_damaged_file_is_no_mesh(tmp_path, mesh):
    mesh.write(tmp_path / "a.xdmf")
    text = (tmp_path / "a.xdmf").read_text()
    lines = [line for line in text.splitlines() if "sha256" not in line]
    (tmp_path / "a.xdmf").write_text("\n".join(lines))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        cells = file["Mesh/mesh/topology"]
        cells[0] = np.roll(cells[0], 1)[[1, 0, *range(2, cells.shape[1])]]
    with pytest.raises(InvalidMesh, match=r"folded|is no facet|same side"):
        Mesh.read(tmp_path / "a.xdmf", mesh.coordinates)


@both
def test_pictures_show_the_cells(mesh):
    axes = mesh.plot().axes[0]
    found = [len(c.get_paths()) for c in axes.collections if hasattr(c, "get_paths")]
    if mesh.dim == 2:
        assert len(mesh.cells) in found
        assert all(len(path.vertices) == 5 for path in axes.collections[-1].get_paths())
    assert len(axes.get_legend_handles_labels()[1]) >= len(mesh.parts)
