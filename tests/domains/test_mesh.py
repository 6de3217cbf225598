"""Meshes as domains: measures, location, distance, normals, sampling, quadrature, saved form."""

import itertools
import json
import math

import numpy as np
import pytest
import sympy as sp
import torch
from scipy import stats

import pdeml
from pdeml.domains import Box, Disk, Interval, Mesh, Rectangle, Surface, Time, domain_from_dict
from pdeml.errors import InvalidFile, InvalidMesh, InvalidOption
from tests.domains.meshes import (
    annulus,
    boxes,
    delaunay,
    disk,
    seeded,
    spiky,
    symbols,
    winding_numbers,
    x,
    y,
    z,
)

t = sp.Symbol("t", real=True)
UNLIKELY = 0.0027  # the p-value of three standard errors


def around(domain, n, seed=0):
    lower, upper = torch.tensor(domain.bounds, dtype=torch.float64)
    u = torch.rand(n, domain.dim, generator=seeded(seed), dtype=torch.float64)
    return lower + (upper - lower) * (1.4 * u - 0.2)


def frame():
    """A box with a square tunnel through it, as a mesh; its surface has a handle."""
    box = Box((x, y, z), (0, 0, 0), (3, 3, 1))
    return Mesh.structured(box - Box((x, y, z), (1, 1, -1), (2, 2, 2)), (3, 3, 1))


def hull(mesh):
    """The boundary of a solid mesh as a surface, with the same parts."""
    used, numbered = np.unique(mesh.facets, return_inverse=True)
    parts = {name: np.flatnonzero(mesh.facet_parts == i) for i, name in enumerate(mesh.parts)}
    return Surface((x, y, z), mesh.vertices[used], numbered.reshape(mesh.facets.shape), parts)


DOMAINS = {
    "intervals": delaunay(1),
    "random triangles": delaunay(2),
    "graded triangles": delaunay(2, power=3.0),
    "random tetrahedra": delaunay(3),
    "quadrilaterals": boxes((5, 4), 0.3),
    "hexahedra": boxes((3, 2, 3), 0.25),
    "disk": disk(4, 2.0, (5.0, -3.0)),
    "annulus": annulus(),
    "frame": frame(),
    "spiky": spiky(),
    "frame's surface": hull(frame()),
}
every = pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)


# Where points are


def brute_force(mesh, points):
    """Smallest barycentric coordinate in every cell, shape (N, K), by solving with all corners."""
    corners = mesh.vertices[mesh.cells]
    system = np.concatenate([corners, np.ones((*corners.shape[:2], 1))], axis=2)
    right = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    inverse = np.linalg.inv(system)
    return np.einsum("nj,kji->nki", right, inverse).min(axis=2)


@pytest.mark.parametrize("dim, power", [(1, 1), (2, 1), (3, 1), (2, 3), (3, 2)])
def test_location_agrees_with_brute_force(dim, power):
    mesh = delaunay(dim, power=power)
    unit = torch.rand(3000, dim, generator=seeded(1), dtype=torch.float64)
    points = torch.cat([1.2 * unit - 0.1, unit**power])
    least = brute_force(mesh, points.numpy())
    cell, weights = mesh.locate(points)
    clear = abs(least.max(axis=1)) > 1e-9
    assert ((cell >= 0).numpy() == (least.max(axis=1) > 0))[clear].all()
    found = (cell >= 0).numpy()
    assert found.sum() > 500 and (~found).sum() > 100
    assert (least[found, cell.numpy()[found]] > -1e-9).all()
    corners = torch.tensor(mesh.vertices[mesh.cells])[cell[found]]
    again = (weights[found][..., None] * corners).sum(dim=1)
    assert torch.allclose(again, points[found], atol=1e-12)
    assert weights[~found].isnan().all()


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_no_point_falls_between_cells(dim, shift):
    """Vertices, and points of facets, belong to the mesh; far from the origin too."""
    mesh = delaunay(dim)
    mesh = Mesh(symbols(dim), mesh.vertices + shift, mesh.cells)
    corners = torch.tensor(mesh.vertices[mesh.cells])
    inside = brute_force(mesh, mesh.vertices).shape[0] - len(np.unique(mesh.facets))
    assert inside > 50 or dim == 1
    shares = torch.rand(len(corners), dim, generator=seeded(), dtype=torch.float64)
    shares = shares / shares.sum(dim=1, keepdim=True)
    for left_out in range(dim + 1):
        kept = [k for k in range(dim + 1) if k != left_out]
        points = (shares[..., None] * corners[:, kept]).sum(dim=1)
        # Rounded points of the boundary may be outside by the spacing of the numbers there.
        spacing = 4 * np.spacing(shift + 1)
        assert mesh.contains(points, tolerance=spacing).all()
        inner = mesh.signed_distance(points) < -1e-9
        assert (mesh.locate(points)[0][inner] >= 0).all()
    assert mesh.contains(torch.tensor(mesh.vertices)).all()


def test_points_that_are_not_finite_are_nowhere():
    mesh = disk(3)
    points = torch.tensor([[math.nan, 0], [math.inf, 0], [0, -math.inf], [0.1, 0]]).double()
    assert mesh.contains(points).tolist() == [False, False, False, True]
    assert mesh.locate(points)[0][:3].tolist() == [-1, -1, -1]
    assert mesh.signed_distance(points)[:3].isfinite().sum() == 0
    none = points[:0]
    assert mesh.contains(none).shape == mesh.signed_distance(none).shape == (0,)


def test_a_tolerance_widens_the_domain():
    mesh = Mesh.structured(Rectangle((x, y), (0, 0), (1, 1)), 4)
    points = torch.tensor([[1.05, 0.5], [1.15, 0.5], [1.08, 1.08]], dtype=torch.float64)
    assert mesh.contains(points).tolist() == [False, False, False]
    assert mesh.contains(points, tolerance=0.1).tolist() == [True, False, False]


@pytest.mark.parametrize("surface", [spiky(), spiky(300, 1), hull(frame())], ids=repr)
def test_membership_of_a_surface_agrees_with_winding_numbers(surface):
    points = around(surface, 4000, 2)
    # Near edges and corners the sum of the normals there decides: many points there.
    corners = torch.tensor(surface.vertices)
    near = corners + 0.02 * torch.randn(corners.shape, generator=seeded(3), dtype=torch.float64)
    points = torch.cat([points, near])
    expected = winding_numbers(points.numpy(), surface)
    assert np.allclose(expected, expected.round(), atol=1e-6)
    assert (surface.contains(points).numpy() == (expected > 0.5)).all()


# Distance


@every
def test_signed_distance_agrees_with_sampled_boundary(domain):
    """|∇d| = 1, p − d ∇d is on the boundary, and no boundary point is nearer."""
    points = around(domain, 300).requires_grad_()
    distance = domain.signed_distance(points)
    (gradient,) = torch.autograd.grad(distance.sum(), points)
    assert torch.allclose(gradient.norm(dim=1), torch.ones(300, dtype=torch.float64), atol=1e-9)
    foot = points - distance[:, None] * gradient
    assert domain.signed_distance(foot).abs().max() < 1e-11
    boundary = domain.sample_boundary(2000, seeded(1)).points
    assert (torch.cdist(points, boundary).amin(dim=1) > distance.abs() - 1e-11).all()
    assert ((distance < 0) == domain.contains(points)).all()


@pytest.mark.parametrize(
    "box",
    [Interval(x, -1, 2), Rectangle((x, y), (0, 0), (2, 1)), Box((x, y, z), (0,) * 3, (1, 2, 3))],
)
def test_distance_normals_and_parts_are_those_of_the_box(box):
    mesh = Mesh.structured(box, 3)
    points = around(box, 2000)
    expected = box.signed_distance(points)
    assert torch.allclose(mesh.signed_distance(points), expected, atol=1e-14)
    assert (mesh.contains(points) == box.contains(points)).all()
    edge = box.sample_boundary(500, seeded(4))
    assert mesh.parts == box.parts
    assert torch.equal(mesh.part_of(edge.points), edge.parts)
    assert torch.allclose(mesh.normals(edge.points), edge.normals, atol=1e-15)
    assert mesh.bounds == box.bounds
    assert mesh.volume == pytest.approx(box.volume, rel=1e-14)
    assert mesh.area == pytest.approx(box.area, rel=1e-14)
    for name in ("left", "right"):
        assert mesh.part_index(name) == box.part_index(name)


def test_distance_has_a_gradient_on_the_boundary_and_second_derivatives():
    mesh = Mesh.structured(Rectangle((x, y), (0, 0), (1, 1)), 2)
    points = torch.tensor([[1.0, 0.3], [0.3, 1.0], [0.0, 0.8]], dtype=torch.float64)
    points.requires_grad_()
    distance = mesh.signed_distance(points)
    (gradient,) = torch.autograd.grad(distance.sum(), points)
    assert torch.equal(gradient, torch.tensor([[1.0, 0], [0, 1], [-1, 0]], dtype=torch.float64))
    corner = torch.tensor([[2.0, 1.5], [-0.7, -0.2]], dtype=torch.float64)
    assert torch.autograd.gradgradcheck(mesh.signed_distance, corner.requires_grad_())


def test_distance_converges_to_that_of_a_disk_with_order_two():
    """The polygon of 6 n sides differs from the circle by 1 − cos(π / 6n)."""
    circle = Disk((x, y), (0.5, 0.5), 2.0)
    points = around(circle, 2000)
    errors = []
    for rings in (4, 8, 16):
        mesh = disk(rings, 2.0, (0.5, 0.5))
        gap = mesh.signed_distance(points) - circle.signed_distance(points)
        errors.append(float(gap.abs().max()))
        assert errors[-1] == pytest.approx(2 * (1 - math.cos(math.pi / (6 * rings))), rel=0.05)
        assert gap.min() > -1e-12  # the polygon is inside the circle
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (abs(orders - 2) < 0.1).all()


# Measures and integrals


@every
def test_weights_sum_to_the_measures_and_normals_to_zero(domain):
    """Sampled forces need surface areas that sum to the true one: all agree to rounding."""
    for degree in (0, 1, 3):
        rule = domain.boundary_quadrature(degree=degree)
        assert (rule.weights > 0).all()
        assert float(rule.weights.sum()) == pytest.approx(domain.area, rel=1e-12)
        flux = (rule.weights[:, None] * rule.normals).sum(dim=0)
        assert flux.abs().max() < 1e-12 * domain.area
        # ∮ x·n dS = d |Ω|
        outwards = (rule.weights * (rule.points * rule.normals).sum(dim=1)).sum()
        expected = domain.dim * domain.volume
        assert float(outwards) == pytest.approx(expected, rel=1e-12 if degree else 1)
    assert torch.allclose(rule.normals.norm(dim=1), torch.ones(len(rule.weights)).double())
    by_part = [domain.boundary_quadrature(name).weights.sum() for name in domain.parts]
    assert float(sum(by_part)) == pytest.approx(domain.area, rel=1e-12)
    for index, name in enumerate(domain.parts):
        assert (domain.boundary_quadrature(name).parts == index).all()


def test_each_closed_surface_has_normals_that_sum_to_zero():
    ring = annulus()
    for name, size in (("outside", 1.0), ("hole", 0.4)):
        points, normals, weights, _ = ring.boundary_quadrature(name, 1)
        assert (weights[:, None] * normals).sum(dim=0).abs().max() < 1e-14
        side = 2 * size * math.sin(math.pi / 24)
        assert float(weights.sum()) == pytest.approx(24 * side, rel=1e-13)
        # Out of the ring: away from the centre outside, towards it at the hole.
        assert ((points * normals).sum(dim=1).sign() == (1 if name == "outside" else -1)).all()


def test_buoyancy_of_a_surface_is_the_weight_of_what_it_displaces():
    """∮ z n dS = |Ω| e_z, and ∮ z (r × n) dS = ∫ r × e_z: what forces and torques need."""
    surface = spiky(parts=False)
    points, normals, weights, _ = surface.boundary_quadrature(degree=2)
    force = (weights * points[:, 2])[:, None] * normals
    assert torch.allclose(
        force.sum(dim=0), torch.tensor([0, 0, surface.volume]).double(), atol=1e-14
    )
    centre = (weights[:, None] * points.square() / 2 * normals).sum(dim=0)
    torque = torch.linalg.cross(points, force).sum(dim=0)
    expected = torch.stack([centre[1], -centre[0], torch.zeros(())])
    assert torch.allclose(torque, expected, atol=1e-14)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("degree", [0, 1, 2, 5, 8])
def test_quadrature_is_exact_up_to_its_degree(dim, degree):
    """∫ over the unit simplex of x^a y^b z^c = a! b! c! / (a + b + c + d)!."""
    vertices = np.concatenate([np.zeros((1, dim)), np.eye(dim)])
    mesh = Mesh(symbols(dim), vertices, [range(dim + 1)])
    points, weights = mesh.quadrature(degree)
    assert (weights > 0).all() and (points > 0).all()
    for powers in itertools.product(range(degree + 1), repeat=dim):
        if sum(powers) > degree:
            continue
        found = float((weights * (points ** torch.tensor(powers)).prod(dim=1)).sum())
        exact = math.prod(map(math.factorial, powers)) / math.factorial(sum(powers) + dim)
        assert found == pytest.approx(exact, rel=1e-12)


def test_quadrature_of_regions():
    mesh = disk(4)
    left = np.flatnonzero(mesh.vertices[mesh.cells].mean(axis=1)[:, 0] < 0)
    mesh = Mesh((x, y), mesh.vertices, mesh.cells, regions={"left": left})
    _, weights = mesh.quadrature(3)
    assert float(weights.sum()) == pytest.approx(mesh.volume, rel=1e-13)
    points, weights = mesh.quadrature(2, "left")
    assert float(weights.sum()) == pytest.approx(mesh.cell_volumes[left].sum(), rel=1e-13)
    assert (torch.isin(mesh.locate(points)[0], torch.tensor(left))).all()
    with pytest.raises(InvalidOption, match=r"'right' is no region .* are 'left'"):
        mesh.quadrature(2, "right")
    for degree in (-1, 41, 1.5, True):
        with pytest.raises(InvalidOption, match="from 0 to 40"):
            mesh.boundary_quadrature(degree=degree)


# Sampling


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("method", ["uniform", "sobol", "lhs"])
def test_cells_are_hit_in_proportion_to_their_volumes(dim, method):
    mesh = delaunay(dim, 30, power=3.0)
    points = mesh.sample(8192, seeded(5), method)
    cell, weights = mesh.locate(points)
    assert (cell >= 0).all()
    expected = 8192 * mesh.cell_volumes / mesh.volume
    counts = np.bincount(cell, minlength=len(mesh.cells))
    large = expected > 8
    assert (
        stats.chisquare(
            np.append(counts[large], counts[~large].sum()),
            np.append(expected[large], expected[~large].sum() + 1e-300),
        ).pvalue
        > UNLIKELY
    )
    # In every cell a barycentric coordinate has the law Beta(1, d).
    for column in weights.T:
        law = stats.beta(1, dim)
        assert stats.kstest(column.numpy(), law.cdf).pvalue > UNLIKELY


@every
@pytest.mark.parametrize("method", ["uniform", "sobol", "lhs", "grid"])
def test_interior_moments_agree_with_the_boundary_integral(domain, method):
    """∫ x_i = ∮ x_i² n_i / 2 and ∫ |x|² = ∮ |x|² x·n / (d + 2), within three standard errors."""
    n = 4000
    points = domain.sample(n, seeded(6), method)
    assert domain.contains(points, tolerance=1e-14).all()
    rule = domain.boundary_quadrature(degree=4)
    first = (rule.weights[:, None] * rule.points.square() * rule.normals).sum(dim=0) / 2
    across = (rule.points * rule.normals).sum(dim=1)
    second = (rule.weights * rule.points.square().sum(dim=1) * across).sum() / (domain.dim + 2)
    expected = torch.cat([first, second[None]]) / domain.volume
    values = torch.cat([points, points.square().sum(dim=1, keepdim=True)], dim=1)
    error = (values.mean(dim=0) - expected).abs()
    # A grid is a Riemann sum: as good as random points, but with its own error.
    assert (error < (4 if method == "grid" else 3) * values.std(dim=0) / n**0.5).all()


@every
@pytest.mark.parametrize("method", ["uniform", "sobol", "lhs", "grid"])
def test_facets_are_hit_in_proportion_to_their_areas(domain, method):
    """Samples of a tessellation must not weigh its small and large triangles alike."""
    n = 8192
    points, normals, parts = domain.sample_boundary(n, seeded(7), method=method)
    facet = domain._nearest(points)
    assert domain.signed_distance(points).abs().max() < 1e-13
    expected = n * domain._measures / domain.area
    counts = np.bincount(facet, minlength=len(domain.facets))
    large = expected > 8
    spread = 3.9 * expected[large] ** 0.5  # one in 10⁴, of some hundred facets
    assert (abs(counts[large] - expected[large]) < spread + 1).all()
    assert domain.dim > 1 or torch.equal(torch.tensor(domain.facet_parts)[facet], parts)
    assert torch.allclose(normals.norm(dim=1), torch.ones(n).double(), atol=1e-14)
    size = max(high - low for low, high in zip(*domain.bounds, strict=True))
    small = 1e-9 * size
    middle = domain.boundary_quadrature(degree=0)
    assert (domain.signed_distance(middle.points + small * middle.normals) > 0).all()
    assert (domain.signed_distance(middle.points - small * middle.normals) < 0).all()


def test_points_of_a_triangle_are_uniform_on_the_boundary_of_a_solid():
    vertices = np.concatenate([np.zeros((1, 3)), np.diag([1.0, 2.0, 3.0])])
    sides = {"slope": [[1, 2, 3]], "floor": [[0, 1, 2]]}
    mesh = Mesh((x, y, z), vertices, [[0, 1, 2, 3]], sides)
    assert mesh.parts == ("slope", "floor", "untagged")
    points = mesh.sample_boundary(4000, seeded(), on="slope").points
    for column in (points / torch.tensor([1.0, 2.0, 3.0])).T:
        assert stats.kstest(column.numpy(), stats.beta(1, 2).cdf).pvalue > UNLIKELY
    assert (mesh.sample_boundary(100, seeded(), on="floor").points[:, 2] == 0).all()


def test_boundaries_in_the_plane_are_evenly_covered_along_their_length():
    mesh = Mesh.structured(Rectangle((x, y), (0, 0), (3, 1)), (5, 4))
    for method in ("sobol", "lhs", "grid"):
        points, _, parts = mesh.sample_boundary(64, seeded(), method=method)
        assert torch.bincount(parts).tolist() == [8, 8, 24, 24]
        for part, axis in enumerate((1, 1, 0, 0)):
            along = points[parts == part, axis] / (1 if axis else 3)
            strata = (along * len(along)).floor().long().clamp(max=len(along) - 1)
            assert strata.sort().values.tolist() == list(range(len(along)))


def test_low_discrepancy_survives_the_division_into_cells():
    mesh = disk(12)
    exact = mesh.quadrature(2)
    exact = float((exact[1] * exact[0].square().sum(dim=1)).sum()) / mesh.volume

    def error(method):
        values = [mesh.sample(512, seeded(s), method).square().sum(1).mean() for s in range(30)]
        return float((torch.stack(values) - exact).square().mean().sqrt())

    assert error("sobol") < 0.4 * error("uniform")


def test_a_part_of_several_points_in_one_dimension():
    """Two end points of one name: each is hit half of the time."""
    mesh = Mesh((x,), [[0.0], [1.0], [3.0]], [[0, 1], [1, 2]], {"ends": [[0], [2]]})
    points, normals, parts = mesh.sample_boundary(1000, seeded(), on="ends")
    left = points[:, 0] == 0
    assert abs(int(left.sum()) - 500) < 3 * 250**0.5
    assert ((points[:, 0] == 3) | left).all()
    assert (normals[:, 0] == torch.where(left, -1.0, 1.0)).all()
    assert (parts == 0).all() and mesh.area == 2.0


def test_space_time_and_combination_with_other_domains():
    slab = disk(6) * Time(t, 0, 2)
    points = slab.sample(500, seeded(), "sobol")
    assert slab.contains(points, tolerance=1e-14).all()
    assert slab.volume == pytest.approx(2 * disk(6).volume)
    points, normals, _ = slab.sample_boundary(500, seeded())
    assert slab.space.signed_distance(points[:, :-1]).abs().max() < 1e-14
    assert normals.shape == (500, 2) and 0 < points[:, 2].min() < 0.1
    cut = Mesh.structured(Rectangle((x, y), (-2, -2), (2, 2)), 4) - disk(6)
    assert cut.parts == ("left", "right", "bottom", "top", "boundary")
    points, normals, _ = cut.sample_boundary(500, seeded(), on="boundary")
    assert ((points * normals).sum(dim=1) < 0).all()
    inside = cut.sample(4000, seeded())
    assert not disk(6).contains(inside).any()
    hits = cut.contains(around(cut, 20_000)).double().mean()
    share = (16 - disk(6).volume) / (5.6**2)
    assert abs(float(hits) - share) < 3 * (share * (1 - share) / 20_000) ** 0.5
    notched = spiky() & Box((x, y, z), (0, -2, -2), (2, 2, 2))
    assert (notched.sample(500, seeded())[:, 0] > 0).all()


def test_float32_and_the_same_points_for_the_same_seed():
    mesh = disk(5)
    points = mesh.sample(100, seeded(), dtype=torch.float32)
    assert points.dtype == torch.float32
    assert mesh.signed_distance(points).dtype == torch.float32
    assert torch.equal(mesh.sample(50, seeded(3), "sobol"), mesh.sample(50, seeded(3), "sobol"))


# Declarations


def test_conditions_find_the_parts_and_a_declaration_is_saved_exactly():
    ring = annulus()
    u = pdeml.Field("u", x, y, t)
    problem = pdeml.PDE(
        name="ring",
        equations=[sp.Eq(u.diff(t), u.diff(x, 2) + u.diff(y, 2))],
        domain=ring * Time(t, 0, 1),
        conditions=[
            pdeml.Initial(u, 0),
            pdeml.Dirichlet(u, 1, on="hole"),
            pdeml.Neumann(u, 0, on="outside"),
        ],
    )
    again = pdeml.PDE.from_json(problem.to_json())
    assert again == problem and again.domain.space == ring
    assert np.array_equal(again.domain.space.cells, ring.cells)
    with pytest.raises(pdeml.errors.PdemlError, match=r"'holes'.*'outside', 'hole'"):
        pdeml.PDE(
            name="ring",
            equations=problem.equations,
            domain=problem.domain,
            conditions=[pdeml.Initial(u, 0), pdeml.Dirichlet(u, 1, on="holes")],
        )


def saved():
    mesh = disk(2)
    regions = {"left": np.flatnonzero(mesh.vertices[mesh.cells].mean(axis=1)[:, 0] < 0)}
    inner = mesh.cells[0, :2]
    assert not (np.sort(mesh.facets, axis=1) == np.sort(inner)).all(axis=1).any()
    parts = {"rim": mesh.facets[:5], "cut": [inner]}
    return Mesh((x, y), mesh.vertices * math.pi, mesh.cells, parts, regions)


@pytest.mark.parametrize(
    "domain", [saved(), delaunay(1), delaunay(3, 30), spiky(), spiky(parts=False)], ids=repr
)
def test_the_saved_form_is_exact(domain):
    text = json.dumps(domain.to_dict(), allow_nan=False)
    names = {symbol.name: symbol for symbol in domain.coordinates}
    again = domain_from_dict(json.loads(text), names)
    assert again == domain and hash(again) == hash(domain) and repr(again) == repr(domain)
    assert again.parts == domain.parts
    assert again.vertices.tobytes() == domain.vertices.tobytes()
    assert np.array_equal(again.facets, domain.facets)
    if isinstance(domain, Mesh):
        assert again.regions == domain.regions
        assert again.interfaces.keys() == domain.interfaces.keys()
        assert np.array_equal(again.cell_regions, domain.cell_regions)


def test_meshes_that_differ_are_not_equal():
    mesh = saved()
    facets, cells = mesh.named_facets, mesh.named_cells
    moved = mesh.vertices.copy()
    moved[0, 0] = np.nextafter(moved[0, 0], 1)
    others = [
        Mesh((x, y), moved, mesh.cells, facets, cells),
        Mesh((x, y), mesh.vertices, mesh.cells, {**facets, "cut": [mesh.cells[1, 1:]]}, cells),
        Mesh((x, y), mesh.vertices, mesh.cells, facets),
        mesh.renamed({"rim": "edge"}),
        mesh.renamed({"left": "west"}),
        mesh.renamed({"cut": "slit"}),
        Mesh((y, x), mesh.vertices, mesh.cells, facets, cells),
    ]
    assert Mesh((x, y), mesh.vertices, mesh.cells, facets, cells) == mesh
    for other in others:
        assert other != mesh
    assert len({mesh, *others}) == len(others) + 1


def test_new_names_may_join_parts():
    mesh = Mesh.structured(Rectangle((x, y), (0, 0), (2, 1)), 2)
    mesh = mesh.renamed({"left": "inlet", "bottom": "walls", "top": "walls"})
    assert mesh.parts == ("inlet", "right", "walls")
    assert float(mesh.boundary_quadrature("walls").weights.sum()) == 4.0
    with pytest.raises(InvalidOption, match=r"'outlet' is no name .* 'inlet', 'right', 'walls'"):
        mesh.renamed({"outlet": "out"})


def damaged(change):
    data = json.loads(json.dumps(saved().to_dict()))
    change(data)
    return data


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("cells"),
        lambda data: data.update(vertices="AAAA"),
        lambda data: data.update(sha256="0" * 64),
        lambda data: data["vertices"].update(shape=[10**18, 2]),
        lambda data: data["vertices"].update(shape=[-1, -2]),
        lambda data: data["vertices"].update(shape=[19.0, 2]),
        lambda data: data["vertices"].update(data=data["vertices"]["data"][:-4] + "!!!!"),
        lambda data: data["cells"].update(data=data["cells"]["data"].replace("A", "B")),
        lambda data: data["facets"].append(data["facets"][0]),
        lambda data: data["facets"][0].append(1),
        lambda data: data.update(regions={"left": 1}),
        lambda data: data["regions"][0].__setitem__(0, 'a"b'),
        lambda data: data.update(coordinates=["x"]),
        lambda data: data.update(coordinates=["x", "q"]),
    ],
)
def test_damaged_saved_forms_are_refused(change):
    with pytest.raises(InvalidFile):
        domain_from_dict(damaged(change), {"x": x, "y": y})


def test_a_mesh_that_no_declaration_could_hold_is_not_saved_in_one():
    mesh = delaunay(1, 10)
    mesh.vertices = np.zeros((2 * 10**6, 1))
    with pytest.raises(InvalidMesh, match="16000000 bytes is too large"):
        mesh.to_dict()
