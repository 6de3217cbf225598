"""Steady problems of the zoo by finite elements, against closed forms and published numbers."""

import math

import numpy as np
import pytest
import sympy as sp
import torch

import pdeml
from pdeml import problems
from pdeml.domains.mesh import Mesh
from pdeml.errors import InvalidOption
from pdeml.operators.expressions import evaluate
from pdeml.probability import darcy_field
from pdeml.problems.ghia import ghia_centre_lines
from pdeml.solvers.functionals import evaluated, mesh_of


def solve(problem, **options):
    return pdeml.solve(problem, "fem", reference=None, **options)


def at(*points):
    return torch.tensor(points, dtype=torch.float64)


# ------------------------------------------------------------------------- against closed forms


@pytest.mark.parametrize(
    "problem, options, bound",
    [
        (problems.poisson(1), {"h": 1 / 64}, 1e-6),
        (problems.poisson(2), {"h": 1 / 32}, 1e-6),
        (problems.poisson(3), {"h": 1 / 8}, 5e-5),
        (problems.poisson_lshape(), {"tol": 1e-3}, 5e-4),
        (problems.nonlinear_diffusion(), {"h": 1 / 32}, 5e-6),
        (problems.helmholtz(), {"h": 1 / 32, "degree": 3}, 5e-5),
        (problems.stokes(), {"h": 1 / 32}, 5e-4),
        (problems.linear_elasticity(), {"h": 1 / 32}, 3e-5),
        (problems.plate_with_hole(), {"h": 1 / 16}, 2e-4),
        (problems.plate_with_hole(lame=0.5, shear=2.0, radius=0.4), {"h": 1 / 16}, 4e-4),
    ],
    ids=lambda v: getattr(v, "name", None),
)
def test_the_error_against_the_closed_form(problem, options, bound):
    solution = solve(problem, **options)
    assert solution.error(pdeml.solve(problem, "exact"))["l2_relative"] < bound


# ------------------------------------------------------------------------- a cavity with a lid


def deviations(flow, reynolds):
    """Largest differences of u and v to Ghia et al. on the centre lines."""
    known = ghia_centre_lines(reynolds)
    (heights, u), (places, v) = known["u"], known["v"]
    on_line = flow(at(*((0.5, y) for y in heights)))[:, 0].numpy() - u
    across = flow(at(*((x, 0.5) for x in places)))[:, 1].numpy() - v
    return np.abs(on_line).max(), np.abs(across).max()


def test_the_table_of_ghia_has_three_flows():
    assert [len(v) for pair in ghia_centre_lines(400).values() for v in pair] == [15, 15, 14, 14]
    assert np.isfinite(ghia_centre_lines(400)["v"][1]).all()
    with pytest.raises(InvalidOption, match="100, 400, 1000"):
        ghia_centre_lines(3200)


@pytest.mark.parametrize(
    "reynolds, cells, bounds",
    [
        (100, 32, (0.006, 0.010)),
        pytest.param(400, 48, (0.004, 0.007), marks=pytest.mark.slow),
    ],
)
def test_the_centre_lines_of_ghia(reynolds, cells, bounds):
    """Multigrid of second order on 129² points: good to 1 %, v near the right wall to 2 %."""
    flow = solve(problems.lid_driven_cavity(reynolds), h=1 / cells)
    u, v = deviations(flow, reynolds)
    assert u < bounds[0] and v < bounds[1]


def extremes(flow):
    """Least u on the vertical centre line, largest and least v on the horizontal one: places too"""
    line = torch.linspace(0, 1, 20001, dtype=torch.float64)
    half = torch.full_like(line, 0.5)
    u = flow(torch.stack([half, line], 1))[:, 0]
    v = flow(torch.stack([line, half], 1))[:, 1]
    found = ((u, u.argmin()), (v, v.argmax()), (v, v.argmin()))
    return [x for values, i in found for x in (values[i].item(), line[i].item())]


@pytest.mark.slow
def test_the_extremes_of_botella_and_peyret():
    """A spectral solution at Re = 1000 that subtracts the corner singularity; seven digits."""
    flow = solve(problems.lid_driven_cavity(1000), h=1 / 64)
    u, v = deviations(flow, 1000)
    assert u < 0.008 and v < 0.020
    known = (-0.3885698, 0.1717, 0.3769447, 0.1578, -0.5270771, 0.9092)
    assert extremes(flow) == pytest.approx(known, rel=2e-3)


def test_a_smooth_lid_gives_a_smooth_flow():
    """No singular corner: every field converges, and the solution is told from the uniform lid."""
    flow = solve(problems.lid_driven_cavity(100, lid="sine"), h=1 / 32)
    assert flow.report.converged and flow.report.error["l2_relative"] < 1e-2
    # nothing flows through the walls, and the mean of the pressure is zero
    u, v, p = flow.problem.fields
    assert flow.integral([u, v]) == pytest.approx(0, abs=1e-12)
    assert flow.integral(p) == pytest.approx(0, abs=1e-12)
    assert flow(at((0.5, 1.0)))[0, 0].item() == pytest.approx(1)


def test_the_corners_of_the_lid_are_walls():
    flow = solve(problems.lid_driven_cavity(10), h=1 / 8)
    corners = flow(at((0.0, 1.0), (1.0, 1.0), (1 / 8, 1.0)))[:, 0]
    assert corners.tolist() == [0, 0, 1]


# ------------------------------------------------------------------------- a cylinder in a channel


def forces(flow):
    """Drag, lift, pressure difference of the DFG benchmark 2D-1."""
    front, back = flow(at((0.15, 0.2), (0.25, 0.2)))[:, 2].tolist()
    return (*(500 * flow.flux(f, on="boundary") for f in ("u", "v")), front - back)


KNOWN = (5.57953523384, 0.010618948146, 0.11752016697)


def test_drag_and_lift_of_a_cylinder():
    flow = solve(problems.cylinder_channel(), h=0.41 / 24)
    drag, lift, difference = forces(flow)
    assert drag == pytest.approx(KNOWN[0], rel=2e-3)
    assert lift == pytest.approx(KNOWN[1], rel=1e-2)
    assert difference == pytest.approx(KNOWN[2], rel=1e-2)
    # what flows in flows out: the mean velocity is 0.2
    u = flow.problem.fields[0]
    assert flow.integral(u, on="left") == pytest.approx(0.2 * 0.41, rel=1e-9)
    assert flow.integral(u, on="right") == pytest.approx(0.2 * 0.41, rel=1e-6)
    # the stress of the surface alone gives the lift ten times as badly
    plain = 500 * flow.integral(flow.problem.weak_form().equations[1].flux, on="boundary")
    assert abs(plain - KNOWN[1]) > 5 * abs(lift - KNOWN[1])


@pytest.mark.slow
def test_forces_converge_with_the_cells():
    gaps = np.array(
        [
            np.abs(np.array(forces(solve(problems.cylinder_channel(), h=0.41 / n))) / KNOWN - 1)
            for n in (16, 32)
        ]
    )
    assert (np.log2(gaps[0] / gaps[1])[[0, 2]] > 1.5).all() and (gaps[1] < 4e-3).all()


@pytest.mark.slow
def test_the_mesh_that_is_shipped_gives_the_drag():
    problem = problems.cylinder_channel()
    mesh = Mesh.read("meshes/channel_cylinder.xdmf", problem.coordinates)
    names = {"inlet": "left", "outlet": "right", "cylinder": "boundary"}
    flow = solve(problem, mesh=walls_apart(mesh.renamed(names)), degree=2)
    drag, lift, difference = forces(flow)
    assert drag == pytest.approx(KNOWN[0], rel=5e-3)
    assert lift == pytest.approx(KNOWN[1], rel=1e-2)
    assert difference == pytest.approx(KNOWN[2], rel=1e-2)


def walls_apart(mesh):
    """The part "walls" as "bottom" and "top"."""
    facets = mesh.named_facets
    walls = facets.pop("walls")
    high = mesh.vertices[walls].mean(1)[:, 1] > 0.2
    return Mesh(
        mesh.coordinates,
        mesh.vertices,
        mesh.cells,
        {**facets, "bottom": walls[~high], "top": walls[high]},
    )


# ------------------------------------------------------------------------- a plate with a hole


def stresses(problem):
    """σ_xx, σ_xy, σ_yy of the declaration, and of its closed form."""
    (xx, xy), (_, yy) = (e.flux for e in problem.weak_form().equations)
    parts = (xx, xy, yy)
    return parts, tuple(s.subs(problem.exact).doit() for s in parts) if problem.exact else None


def test_the_stress_field_of_kirsch():
    """Second order for the whole stress field, and for the factor 3 at the hole."""
    problem = problems.plate_with_hole()
    parts, exact = stresses(problem)
    gaps, factors = [], []
    for n in (16, 32):
        plate = solve(problem, h=2 / n)
        points, weights = mesh_of(plate).quadrature(6)
        found, wanted = (evaluated(plate, s, points) for s in (parts, exact))
        square = [(weights @ s**2).sum() for s in (found - wanted, wanted)]
        gaps.append(math.sqrt(square[0] / square[1]))
        factors.append(evaluated(plate, [parts[0]], at((0, 0.25), (0, -0.25))))
    assert gaps[1] < 2.5e-3 and math.log2(gaps[0] / gaps[1]) > 1.7
    assert (factors[1] - 3).abs().max() < 8e-3
    assert ((factors[0] - 3) / (factors[1] - 3)).min() > 3
    # nothing pulls at the hole, and the pull on both sides is the same
    assert plate.flux("u", on="boundary") == pytest.approx(0, abs=1e-12)
    x, y = problem.coordinates
    pull = float(sp.Integral(exact[0].subs({x: 1, **problem.values}), (y, -1, 1)).evalf(8))
    for side, sign in (("left", -1), ("right", 1)):
        assert plate.flux("u", on=side) == pytest.approx(sign * pull, rel=1e-3)


def test_a_long_strip_has_the_known_concentration():
    """Pilkey's fit (chart 4.1) to Howland's series: 0.284 + 2/b − 0.6 b + 1.32 b², b = 1 − d/W."""
    problem = problems.plate_with_hole("grips", half_length=3)
    plate = solve(problem, h=1 / 16)
    force = plate.flux("u", on="right")
    assert plate.flux("u", on="left") == pytest.approx(-force, rel=1e-9)
    (xx, *_), _ = stresses(problem)
    b = 1 - 0.25
    known = 0.284 + 2 / b - 0.6 * b + 1.32 * b**2
    largest = plate.evaluate(xx, at((0, 0.25))).item()
    assert largest / (force / 2) == pytest.approx(known, rel=5e-3)
    # far from the hole the strip is under uniform tension
    assert plate.evaluate(xx, at((2.5, 0.3))).item() == pytest.approx(force / 2, rel=2e-3)


# ------------------------------------------------------------------------- random ground


def ground(problem, points):
    """k at points, from −k ∇u, the flux of the declaration."""
    (u,), x = problem.fields, problem.coordinates[0]
    k = -problem.weak_form().equations[0].flux[0].xreplace({u.diff(x): sp.Integer(1)})
    return evaluate([k], problem.coordinates, points, problem.values)[:, 0]


@pytest.mark.parametrize("modes, bound", [(10, 1e-12), (6, 0.3)])
def test_the_ground_is_the_random_field_that_is_drawn(modes, bound):
    """With M modes the series is the field itself on a grid of M points."""
    line = torch.linspace(0, 1, 10, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    drawn = darcy_field((10, 10), values=None, seed=5, first=3)[0, 0].flatten()
    soft = problems.darcy("lognormal", seed=5, sample=3, modes=modes, strength=2.0)
    found = ground(soft, grid).log() / 2
    assert 1e-3 * (modes < 10) <= (found - drawn).norm() / drawn.norm() < bound
    hard = ground(problems.darcy(seed=5, sample=3, modes=modes), grid)
    assert (hard == torch.where(found >= 0, 12.0, 3.0)).double().mean() > 0.995


def test_smooth_ground_keeps_the_order():
    problem = problems.darcy("lognormal", seed=1, modes=6, strength=2.0)
    fine = solve(problem, h=1 / 32, degree=3)
    gaps = [solve(problem, h=1 / n, degree=1).error(fine)["l2_relative"] for n in (16, 32)]
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(2, abs=0.1)
    # what rains on the square flows out of it
    assert fine.flux("u") == pytest.approx(1, rel=1e-9)


def test_two_phases_converge_to_the_solution_on_fine_cells():
    """Cells that do not follow the jumps: order 1 or a little more, whatever the degree."""
    problem = problems.darcy(seed=1, modes=5)
    fine = solve(problem, h=1 / 64)
    gaps = [solve(problem, h=1 / n).error(fine)["l2_relative"] for n in (8, 16)]
    assert gaps[1] < 1.5e-2 and gaps[1] < 0.6 * gaps[0]
    inside = fine.integral(problem.fields[0])
    # between the square with the one and with the other phase, where ∫u = 0.0351443/k
    assert 0.0351443 / 12 < inside < 0.0351443 / 3
