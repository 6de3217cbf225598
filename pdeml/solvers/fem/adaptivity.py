"""Refinement where the residual is largest: the estimator, Dörfler's marking, the loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pdeml.errors import DivergedError
from pdeml.operators.weak import WeakForm
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.curved import determinants, fit, strays
from pdeml.solvers.fem.mesh import Mesh, from_arrays, gathered_cells
from pdeml.solvers.fem.pieces import subdivided
from pdeml.solvers.fem.system import System
from pdeml.solvers.fem.verdict import dominated

if TYPE_CHECKING:
    from pdeml.solvers.fem.levels import Levels, Run

BULK = 0.5  # θ of Dörfler's marking: the marked cells hold this part of the squared estimate
TIE = 1e-6  # indicators that differ by less are taken for equal
SMALLEST = 0.1  # times tol² and the extent: size of cells that are not divided
COARSE = 3  # levels that may be too coarse for Newton's iteration
MOST_LEVELS = 60
TENSORS = ("quadrilateral", "hexahedron")  # cells that are divided all or not at all
OFTEN, SELDOM = 4.0, 1.2  # growth of the unknowns between two looks at the error


def can_adapt(form: WeakForm, cell: str | None = None) -> bool:
    """Whether cells can be divided one by one: both ends of a periodic axis must stay alike, and
    quadrilaterals and hexahedra would hang on their neighbours."""
    if cell in TENSORS:
        return False
    return not any(form.problem.periodic_axes(f) for f in form.problem.fields)


def indicators(system: System) -> tuple[np.ndarray, float]:
    """Squared residual indicators of the cells that this rank owns, and the squared flux norm.

        η_K² = h_K² ‖div F + r‖²_K + ½ Σ_e h_e ‖[F·n]‖²_e + Σ_{e ⊂ ∂Ω} h_e ‖F·n − g‖²_e

    g is the flux that the conditions give, where a field is not prescribed.
    """
    dolfinx, space = backend.load(), system.space
    ufl, handle, dim = dolfinx.ufl, space.mesh.handle, space.mesh.dim
    w = ufl.TestFunction(dolfinx.fem.functionspace(handle, ("DG", 0)))
    meta = {"quadrature_degree": system.forms.degree}
    dx, dS = (ufl.Measure(kind, domain=handle, metadata=meta) for kind in ("dx", "dS"))
    n = ufl.FacetNormal(handle)
    size = ufl.CellVolume(handle) ** (1 / dim)
    edge = ufl.FacetArea(handle) ** (1 / (dim - 1))
    total, norm = 0, 0
    for equation, terms in zip(system.form.equations, system.forms.boundary, strict=True):
        flux = ufl.as_vector([ufl.as_ufl(system.forms.translate(f)) for f in equation.flux])
        inside = system.forms.translate(equation.remainder)
        if any(f != 0 for f in equation.flux):
            inside = inside + ufl.div(flux)
            leap = ufl.jump(flux, n) ** 2
            total += 0.5 * ufl.avg(edge) * leap * (w("+") + w("-")) * dS
            norm += ufl.inner(flux, flux) * dx
        total += size**2 * inside**2 * w * dx
        for term, ds in terms:
            total += edge * (ufl.dot(flux, n) - system.forms.translate(term)) ** 2 * w * ds
    vector = dolfinx.fem.assemble_vector(dolfinx.fem.form(total))
    vector.scatter_reverse(dolfinx.dolfinx.la.InsertMode.add)
    owned = handle.topology.index_map(dim).size_local
    squared = dolfinx.fem.assemble_scalar(dolfinx.fem.form(norm))
    return vector.array[:owned].copy(), handle.comm.allreduce(squared)


def marked(indicator: np.ndarray, comm: object) -> np.ndarray:
    """Cells of this rank among the fewest that hold the part `BULK` of the sum of all ranks."""
    everything = np.concatenate(comm.allgather(indicator))  # type: ignore[attr-defined]
    ordered = np.sort(everything)[::-1]
    count = int(np.searchsorted(np.cumsum(ordered), BULK * ordered.sum())) + 1
    # cells that tie are all marked: round-off differs with the number of ranks
    least = (1 - TIE) * ordered[min(count, len(ordered)) - 1]
    return np.flatnonzero(indicator >= least).astype(np.int32)


def divided(mesh: Mesh, cells: np.ndarray) -> Mesh:
    """A mesh in which the edges of some cells are halved, and those that this makes necessary."""
    dolfinx, handle = backend.load(), mesh.handle
    handle.topology.create_entities(1)
    handle.topology.create_connectivity(mesh.dim, 1)
    edges = dolfinx.mesh.compute_incident_entities(handle.topology, cells, mesh.dim, 1)
    return Mesh(dolfinx.mesh.refine(handle, edges)[0])


def halved(mesh: Mesh) -> Mesh:
    """A mesh in which every edge is halved."""
    topology = mesh.handle.topology
    if mesh.cell in TENSORS:
        return from_arrays(*subdivided(*gathered_cells(mesh), 2))
    return divided(mesh, np.arange(topology.index_map(mesh.dim).size_local, dtype=np.int32))


def adapted(levels: Levels) -> tuple[Run, dict[str, float] | None, list[str]]:
    """Solve, estimate, mark and divide until the relative L2 error is below the tolerance.

    Residuals say which cells are divided. They bound the error of the flux, not of the solution, so
    the error itself is the difference to one degree more on the same mesh: computed where the
    last one found, carried on by N^(−(p+1)/d), is below the tolerance, and at least whenever the
    unknowns N are four times as many. Both are blind to what the polygon of the cells cuts off a
    round side: cells are divided there until that is below the tolerance too.

    Where the flux is not square integrable, residuals do not shrink with the cells. Those below
    tol²/10 of the extent are left as they are: no bounded solution has much of its norm there.
    """
    from pdeml.solvers.fem.levels import FIRST, UNKNOWNS

    plan, dim = levels.plan, levels.space.dim
    mesh = levels.mesh(levels.counts(levels.size(FIRST[dim])))
    comm, least = mesh.handle.comm, (SMALLEST * levels.tol**2 * levels.size(1)) ** dim
    sizes: list[int] = []
    estimates: list[float] = []
    known, error, end = 0, math.inf, ""
    run: Run | None = None
    compared: Run | None = None
    for level in range(MOST_LEVELS):
        try:
            run, solved = levels.run(mesh, (), 0, plan.degree), mesh
        except DivergedError:
            if run is not None:
                end = "as Newton's iteration failed on smaller cells"
                compared = levels.enriched(run, solved)
                error = comm.bcast(difference(run.system, compared.system))
                break
            if level + 1 == COARSE:
                raise
            mesh = halved(mesh)
            fit(mesh, levels.space)
            continue
        indicator, norm = indicators(run.system)
        total = comm.allreduce(float(indicator.sum()))
        sizes.append(run.unknowns)
        estimates.append(math.sqrt(total / norm) if norm else math.sqrt(total))
        growth = run.unknowns / known if known else math.inf
        expected = error * growth ** (-(plan.degree + 1) / dim)
        if levels.late():
            end = f"with time_limit={plan.time_limit:g} s"
        elif run.unknowns > UNKNOWNS[dim] / 2 or level + 1 == MOST_LEVELS:
            end = f"with {run.unknowns} unknowns"
        beside = strays(mesh, levels.space, levels.tol)
        rough = comm.allreduce(len(beside)) > 0
        enough = expected <= levels.tol and growth >= SELDOM and not rough
        if comm.bcast(bool(end) or growth >= OFTEN or enough):
            compared = levels.enriched(run, mesh)
            known, error = run.unknowns, comm.bcast(difference(run.system, compared.system))
            if end or (error <= levels.tol and not rough):
                break
        indicator[np.abs(determinants(mesh)[: len(indicator)]) < least] = 0.0
        mesh = divided(mesh, np.union1d(marked(indicator, comm), beside))
        fit(mesh, levels.space)
    assert run is not None and compared is not None
    run, found, notes = levels.against(run, compared)
    notes += dominated(found or {})
    notes.append(
        f"adaptive refinement, {len(sizes)} levels: relative residual estimate {estimates[-1]:.1e}"
        + (f", rate {rate(sizes, estimates, dim):.2f} in h" if len(sizes) > 2 else "")
    )
    if rough:
        notes.append("cells at round sides are too large for the tolerance")
    if error > levels.tol or rough:
        notes.append(f"tol={levels.tol:.1e} was not reached {end}")
    return run, found, notes


def difference(system: System, other: System) -> float:
    """Relative L2 difference of the states of two systems on one mesh, over the declared fields."""
    dolfinx, space = backend.load(), other.space
    ufl, comm = dolfinx.ufl, space.mesh.handle.comm
    dx = ufl.Measure("dx", metadata={"quadrature_degree": 2 * max(space.degrees)})

    def integral(integrand: object) -> float:
        found = dolfinx.fem.assemble_scalar(dolfinx.fem.form(integrand * dx))
        return float(comm.allreduce(found))

    squares = norms = 0.0
    for k in range(len(space.problem.fields)):
        a, b = system.states[k], other.states[k]
        one = dolfinx.fem.Constant(space.mesh.handle, dolfinx.PETSc.ScalarType(1.0))
        volume = integral(one)
        free = k in space.pinned
        means = [integral(f) / volume if free else 0.0 for f in (a - b, b)]
        squares += integral((a - b) ** 2) - volume * means[0] ** 2
        norms += integral(b**2) - volume * means[1] ** 2
    return math.sqrt(max(squares, 0.0) / norms) if norms > 0 else math.sqrt(max(squares, 0.0))


def rate(sizes: list[int], estimates: list[float], dim: int) -> float:
    """Order in h = N^(−1/d), fitted to the finer half of the levels."""
    half = len(sizes) // 2
    slope = np.polyfit(np.log(sizes[half:]), np.log(estimates[half:]), 1)[0]
    return float(-dim * slope)
