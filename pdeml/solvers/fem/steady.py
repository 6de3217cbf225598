"""Steady problems: a start that satisfies the conditions, and continuation where Newton fails."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pdeml.errors import DivergedError, InvalidProblem
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.system import System, taken

FIRST_LOAD = 1 / 5  # part of sources and boundary values that continuation starts with
GROWTH = 1.5  # of the next increment of the load
SMALLEST = FIRST_LOAD / 2**5  # increment that is tried
MOST_LOADS = 60
INCOMPATIBLE = 1e-3  # of the sources, that a problem without fixed values must balance


def solve_steady(
    system: System, given: Callable[[np.ndarray], np.ndarray] | None = None
) -> list[str]:
    """Solve for the states of a system; what had to be done for it is returned as notes.

    Newton's iteration starts from the harmonic extension of the boundary values (from `given`
    where it is). Where it fails, sources and boundary values are raised from nothing: by a fifth
    first, by more where that went well, by half as much from the last state that was reached
    where it failed.

    Raises
    ------
    DivergedError
        All of that failed; the message is that of the last attempt.
    InvalidProblem
        Nothing fixes the constant of a field, and its data are out of balance.
    """
    space = system.space
    if given is None:
        start = np.zeros(space.offsets[-1]) if system.form.is_linear else harmonic(space)
    else:
        start = space.given(given)
    system.set_states(start)
    try:
        system.solve(None)
        _check_balance(system)
        return []
    except DivergedError as failure:
        last = failure
        if system.form.is_linear:
            raise
    return _continued(system, last)


def _continued(system: System, last: DivergedError) -> list[str]:
    """Solve by continuation in the load; `last` is the failure that made it necessary."""
    reached, step, state = 0.0, FIRST_LOAD, np.zeros(system.space.offsets[-1])
    solved = 0
    try:
        for _ in range(MOST_LOADS):
            load = 1.0 if reached + step > 1 - 1e-9 else reached + step
            system.load.value = load
            system.set_states(state)
            try:
                system.solve(None)
            except DivergedError as failure:
                last, step = failure, step / 2
                if step < SMALLEST:
                    break
                continue
            solved += 1
            if load == 1.0:
                return [f"Newton's iteration needed continuation in {solved} steps"]
            reached, state = load, taken(system.states, system.space)
            step *= GROWTH
    finally:
        system.load.value = 1.0
    raise DivergedError(
        f"{last} Continuation reached {reached:.0%} of the sources and boundary values."
    )


def _check_balance(system: System) -> None:
    """A problem that fixes its fields only up to a constant has a solution for balanced data."""
    space = system.space
    for k in space.pinned:
        part = slice(space.offsets[k], space.offsets[k + 1])
        residual = system.residual()[part]
        comm = space.mesh.handle.comm
        excess = comm.allreduce(float(residual.sum()))
        states = taken(system.states, space)
        system.set_states(0 * states)
        load = comm.allreduce(float(np.abs(system.residual()[part]).sum()))
        system.set_states(states)
        if abs(excess) > INCOMPATIBLE * load and load:
            name = space.form.fields[k].func.__name__
            raise InvalidProblem(
                f'"fem": {space.problem.name!r} has no solution: nothing fixes the constant of '
                f"{name}, and sources and boundary values are out of balance by "
                f"{abs(excess) / load:.1%}. Balance them, or declare a value of the field on a "
                "part of the boundary."
            )


def harmonic(space: Space) -> np.ndarray:
    """Harmonic functions with the prescribed values, owned nodes of all fields in a row."""
    fixed = space.values(None)
    if not space.mesh.handle.comm.allreduce(float(np.abs(fixed).sum())):
        return fixed
    dolfinx = backend.load()
    ufl, PETSc = dolfinx.ufl, dolfinx.PETSc
    rows = []
    for k, v in enumerate(space.spaces):
        a = ufl.inner(ufl.grad(ufl.TrialFunction(v)), ufl.grad(ufl.TestFunction(v))) * ufl.dx
        rows.append([a if i == k else None for i in range(len(space.spaces))])
    form = dolfinx.fem.form(rows)
    matrix = dolfinx.petsc.create_matrix(form)
    dolfinx.petsc.assemble_matrix(matrix, form)
    matrix.assemble()
    prolongation = space.prolongation
    reduced = matrix.ptap(prolongation)
    g, image = prolongation.createVecLeft(), prolongation.createVecLeft()
    g.array[:] = -fixed
    matrix.mult(g, image)
    right, y = prolongation.createVecRight(), prolongation.createVecRight()
    prolongation.multTranspose(image, right)
    solver = PETSc.KSP().create(space.mesh.handle.comm)
    solver.setOperators(reduced)
    solver.setType("cg")
    # fields without any fixed value: their part of the matrix is singular, and 0 solves it
    solver.getPC().setType("gamg" if reduced.getSize()[0] > 20_000 else "jacobi")
    solver.setTolerances(rtol=1e-6, max_it=2000)
    solver.solve(right, y)
    prolongation.mult(y, image)
    found: np.ndarray = image.array_r + fixed
    for thing in (matrix, reduced, g, image, right, y, solver):
        thing.destroy()
    finite = bool(np.isfinite(found).all())
    return found if space.mesh.handle.comm.allreduce(finite, op=dolfinx.MPI.LAND) else fixed
