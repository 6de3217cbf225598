"""Refinement where the residual is largest: the estimator, Dörfler's marking, the loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pdeml.operators.weak import WeakForm
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.mesh import Mesh
from pdeml.solvers.fem.system import System

if TYPE_CHECKING:
    from pdeml.solvers.fem.levels import Levels, Run

BULK = 0.5  # θ of Dörfler's marking: the marked cells hold this part of the squared estimate
MOST_LEVELS = 60


def can_adapt(form: WeakForm) -> bool:
    """Whether cells can be divided one by one: both ends of a periodic axis must stay alike."""
    return not any(form.problem.periodic_axes(f) for f in form.problem.fields)


def indicators(system: System) -> tuple[np.ndarray, float]:
    """Squared residual indicators of the cells that this rank owns, and the squared flux norm.

        η_K² = h_K² ‖div F + r‖²_K + ½ Σ_e h_e ‖[F·n]‖²_e + Σ_{e ⊂ ∂Ω} h_e ‖F·n − g‖²_e

    g is the flux that the conditions give, where a field is not prescribed.
    """
    dolfinx, space = backend.load(), system.space
    ufl, handle, dim = dolfinx.ufl, space.mesh.handle, space.mesh.dim
    w = ufl.TestFunction(dolfinx.fem.functionspace(handle, ("DG", 0)))
    meta = {"quadrature_degree": system.degree}
    dx, dS = (ufl.Measure(kind, domain=handle, metadata=meta) for kind in ("dx", "dS"))
    n = ufl.FacetNormal(handle)
    size = ufl.CellVolume(handle) ** (1 / dim)
    edge = ufl.FacetArea(handle) ** (1 / (dim - 1))
    total, norm = 0, 0
    for equation, terms in zip(system.form.equations, system.boundary, strict=True):
        flux = ufl.as_vector([ufl.as_ufl(system.translate(f)) for f in equation.flux])
        inside = system.translate(equation.remainder)
        if any(f != 0 for f in equation.flux):
            inside = inside + ufl.div(flux)
            leap = ufl.jump(flux, n) ** 2
            total += 0.5 * ufl.avg(edge) * leap * (w("+") + w("-")) * dS
            norm += ufl.inner(flux, flux) * dx
        total += size**2 * inside**2 * w * dx
        for term, ds in terms:
            total += edge * (ufl.dot(flux, n) - system.translate(term)) ** 2 * w * ds
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
    return np.flatnonzero(indicator >= ordered[min(count, len(ordered)) - 1]).astype(np.int32)


def divided(mesh: Mesh, cells: np.ndarray) -> Mesh:
    """A mesh in which the edges of some cells are halved, and those that this makes necessary."""
    dolfinx, handle = backend.load(), mesh.handle
    handle.topology.create_entities(1)
    handle.topology.create_connectivity(mesh.dim, 1)
    edges = dolfinx.mesh.compute_incident_entities(handle.topology, cells, mesh.dim, 1)
    return Mesh(dolfinx.mesh.refine(handle, edges)[0])


def adapted(levels: Levels) -> tuple[Run, dict[str, float] | None, list[str]]:
    """Solve, estimate, mark and divide until the relative estimate is below the tolerance.

    The error that is reported is the difference to one degree more on the last mesh.
    """
    from pdeml.solvers.fem.levels import FIRST, UNKNOWNS

    plan, dim = levels.plan, levels.space.dim
    mesh = levels.mesh(levels.counts(levels.size(FIRST[dim])))
    sizes: list[int] = []
    estimates: list[float] = []
    for _ in range(MOST_LEVELS):
        run = levels.run(mesh, (), 0, plan.degree)
        indicator, norm = indicators(run.system)
        total = mesh.handle.comm.allreduce(float(indicator.sum()))
        sizes.append(run.unknowns)
        estimates.append(math.sqrt(total / norm) if norm else math.sqrt(total))
        if estimates[-1] <= levels.tol or run.unknowns > UNKNOWNS[dim] / 2:
            break
        mesh = divided(mesh, marked(indicator, mesh.handle.comm))
    run, error, notes = levels.against_other_degree(run, mesh, 0)
    notes.append(
        f"adaptive refinement, {len(sizes)} levels: relative residual estimate {estimates[-1]:.1e}"
        + (f", rate {rate(sizes, estimates, dim):.2f} in h" if len(sizes) > 2 else "")
    )
    if estimates[-1] > levels.tol:
        notes.append(f"tol={levels.tol:.1e} was not reached with {run.unknowns} unknowns")
    return run, error, notes


def rate(sizes: list[int], estimates: list[float], dim: int) -> float:
    """Order in h = N^(−1/d), fitted to the finer half of the levels."""
    half = len(sizes) // 2
    slope = np.polyfit(np.log(sizes[half:]), np.log(estimates[half:]), 1)[0]
    return float(-dim * slope)
