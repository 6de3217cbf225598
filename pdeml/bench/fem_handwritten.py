"""What a user of DOLFINx writes by hand for the problems of `pdeml.bench.fem`.

Of pdeml, the import of DOLFINx alone; same meshes, elements, quadrature, start, tolerances and
linear solvers as pdeml takes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pdeml.solvers.fem import backend

MUMPS = {
    "ksp_type": "preonly",
    "pc_type": "lu",
    "pc_factor_mat_solver_type": "mumps",
    "mat_mumps_icntl_14": 200,
}
NEWTON = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "bt",
    "snes_rtol": 1e-10,
    "snes_atol": 1e-11,
    "snes_max_it": 30,
}


def unit_square(n: int) -> Any:
    """n² squares of two triangles each."""
    dolfinx = backend.load()
    return dolfinx.mesh.create_unit_square(dolfinx.MPI.COMM_WORLD, n, n)


def _boundary_dofs(v: Any) -> np.ndarray:
    dolfinx, domain = backend.load(), v.mesh
    domain.topology.create_connectivity(1, 2)
    facets = dolfinx.mesh.exterior_facet_indices(domain.topology)
    found: np.ndarray = dolfinx.fem.locate_dofs_topological(v, 1, facets)
    return found


def quasi_linear(n: int, degree: int = 2) -> tuple[Any, int, float]:
    """−∇·((1 + u²) ∇u) + u³ = f with u = sin πx cos(πy/2) + 1 on the unit square.

    Returns
    -------
    The solution, the number of Newton steps, the L2 norm of the error.
    """
    dolfinx, domain = backend.load(), unit_square(n)
    fem, petsc, ufl = dolfinx.fem, dolfinx.petsc, dolfinx.ufl
    v = fem.functionspace(domain, ("Lagrange", degree))
    x = ufl.SpatialCoordinate(domain)
    exact = ufl.sin(ufl.pi * x[0]) * ufl.cos(ufl.pi * x[1] / 2) + 1
    source = -ufl.div((1 + exact**2) * ufl.grad(exact)) + exact**3
    dx = ufl.Measure("dx", domain, metadata={"quadrature_degree": 2 * degree + 4})
    u, test, trial = fem.Function(v), ufl.TestFunction(v), ufl.TrialFunction(v)
    residual = (1 + u**2) * ufl.inner(ufl.grad(u), ufl.grad(test)) * dx
    residual += (u**3 - source) * test * dx
    dofs, boundary = _boundary_dofs(v), fem.Function(v)
    places = v.tabulate_dof_coordinates()[dofs]
    boundary.x.array[dofs] = np.sin(np.pi * places[:, 0]) * np.cos(np.pi * places[:, 1] / 2) + 1
    fixed = [fem.dirichletbc(boundary, dofs)]
    lifted = petsc.LinearProblem(
        ufl.inner(ufl.grad(trial), ufl.grad(test)) * dx,
        fem.Constant(domain, 0.0) * test * dx,
        bcs=fixed,
        petsc_options_prefix="bench_lift_",
        petsc_options={"ksp_type": "cg", "pc_type": "jacobi", "ksp_rtol": 1e-6},
    )
    u.x.array[:] = lifted.solve().x.array
    problem = petsc.NonlinearProblem(
        residual,
        u,
        bcs=fixed,
        petsc_options_prefix="bench_newton_",
        petsc_options={**NEWTON, **MUMPS},
    )
    problem.solve()
    assert problem.solver.getConvergedReason() > 0
    square = fem.assemble_scalar(fem.form((u - exact) ** 2 * ufl.dx(domain)))
    return u, problem.solver.getIterationNumber(), float(np.sqrt(square))


def heat(
    n: int, steps: int, end: float, degree: int = 2, speed: int = 0
) -> tuple[Any, np.ndarray, float]:
    """u_t = Δu + f with u = e^{−t} sin π(x − ct) cos πy on the unit square, by BDF2.

    The first step is backward Euler; both matrices are factored once.

    Returns
    -------
    The last state, all states (steps + 1, N), the L2 norm of the last error.
    """
    dolfinx, domain = backend.load(), unit_square(n)
    fem, petsc, ufl, PETSc = dolfinx.fem, dolfinx.petsc, dolfinx.ufl, dolfinx.PETSc
    v = fem.functionspace(domain, ("Lagrange", degree))
    x, time = ufl.SpatialCoordinate(domain), fem.Constant(domain, 0.0)
    tau = fem.Constant(domain, 1.0)
    phase, height = ufl.pi * (x[0] - speed * time), ufl.exp(-time) * ufl.cos(ufl.pi * x[1])
    exact = height * ufl.sin(phase)
    source = (2 * ufl.pi**2 - 1) * exact - speed * ufl.pi * height * ufl.cos(phase)
    dx = ufl.Measure("dx", domain, metadata={"quadrature_degree": 2 * degree + 4})
    trial, test, base = ufl.TrialFunction(v), ufl.TestFunction(v), fem.Function(v)
    a = fem.form((trial * test + tau * ufl.inner(ufl.grad(trial), ufl.grad(test))) * dx)
    right = fem.form((base + tau * source) * test * dx)
    places, dofs, boundary = v.tabulate_dof_coordinates(), _boundary_dofs(v), fem.Function(v)

    def values(at: np.ndarray, t: float) -> np.ndarray:
        found: np.ndarray = np.sin(np.pi * (at[:, 0] - speed * t)) * np.cos(np.pi * at[:, 1])
        return np.exp(-t) * found

    fixed = [fem.dirichletbc(boundary, dofs)]
    matrix, vector = petsc.create_matrix(a), petsc.create_vector(v)
    solver = PETSc.KSP().create(domain.comm)
    solver.setOperators(matrix)
    solver.setOptionsPrefix("bench_heat_")
    options = PETSc.Options()
    for name, value in MUMPS.items():
        options["bench_heat_" + name] = value
    solver.setFromOptions()
    now, dt = fem.Function(v), end / steps
    now.x.array[:] = values(places, 0.0)
    states = [now.x.array.copy()]
    for step in range(steps):
        time.value = (step + 1) * dt
        boundary.x.array[dofs] = values(places[dofs], float(time.value))
        if step == 0:
            base.x.array[:] = states[-1]
        else:
            base.x.array[:] = (4 * states[-1] - states[-2]) / 3
        if step < 2:
            tau.value = dt if step == 0 else 2 * dt / 3
            matrix.zeroEntries()
            petsc.assemble_matrix(matrix, a, bcs=fixed)
            matrix.assemble()
        with vector.localForm() as local:
            local.set(0.0)
        petsc.assemble_vector(vector, right)
        petsc.apply_lifting(vector, [a], [fixed])
        petsc.set_bc(vector, fixed)
        solver.solve(vector, now.x.petsc_vec)
        states.append(now.x.array.copy())
    square = fem.assemble_scalar(fem.form((now - exact) ** 2 * ufl.dx(domain)))
    return now, np.stack(states), float(np.sqrt(square))
