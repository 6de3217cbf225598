"""Finite elements: the options, the levels of refinement, and the report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdeml import engine
from pdeml.domains.mesh import Mesh as MeshDomain
from pdeml.errors import InvalidOption
from pdeml.operators.weak import WeakForm
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.field import FiniteElementField
from pdeml.solvers.fem.levels import Levels, Plan
from pdeml.solvers.fem.lowering import lower
from pdeml.solvers.fem.march import ORDERS
from pdeml.solvers.fem.mesh import space_of
from pdeml.solvers.report import Report
from pdeml.solvers.solution import Solution

DEGREES = (1, 2, 3, 4)
GOAL = 1e-2  # of the estimated relative error, beyond which a solution is no reference


def solve(
    problem: Any,
    *,
    degree: int = 2,
    h: float | None = None,
    dt: float | None = None,
    scheme: str | None = None,
    theta: float = 0.5,
    tol: float | None = None,
    mesh: Any = None,
    initial: Callable[[Tensor], Tensor] | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
) -> Solution:
    """Solve a problem by continuous finite elements on simplices (DOLFINx and PETSc).

    Parameters
    ----------
    problem : a `pdeml.PDE` with a weak form (see ``problem.weak_form()``) of real fields in one to
        three space coordinates; steady, or of first or second order in time.
    degree : of the elements, 1 to 4; pressures of incompressible problems have one less, so that
        those need 2 at least (Taylor–Hood).
    h : size of the cells along the axes; default: halved until the estimated error is below `tol`,
        or the work of a few seconds is done.
    dt : step size; default: halved together with h.
    scheme : ``"bdf2"`` (default for a first order in time), ``"sdirk4"``, of order 4 (default for a
        second), or ``"theta"``.
    theta : of the θ scheme: 1/2 is Crank–Nicolson (Newmark's method for a second order in time), 1
        backward Euler.
    tol : relative error to aim at; default 1e-6, in time 1e-4. A steady problem in the plane or in
        space is then refined where its residual is largest.
    mesh : a `pdeml.domains.mesh.Mesh` of the domain, or the path of one (.xdmf, .msh).
    initial : replaces the declared initial values (for a steady problem: where Newton's iteration
        starts): a function of points (N, d) → (N, C). Velocities stay as they are declared.
    petsc_options : options of PETSc's SNES and KSP in place of the chosen ones, such as
        ``{"ksp_type": "cg", "pc_type": "gamg"}``.
    device : where the solution is evaluated (the solver runs on the CPU).
    dtype : of points and values, ``"float64"`` (default) or ``"float32"``.

    Returns
    -------
    Solution
        Piecewise polynomials in space; in time, the polynomial of degree 7 through values and rates
        of stored states. ``report.error`` is estimated from coarser levels, see Notes.

    Raises
    ------
    MissingDependency
        DOLFINx is not installed.
    UnsupportedProblem
        A term or condition cannot be lowered; the message names it.
    DivergedError
        Newton's iteration failed, also by continuation; the message says why.
    InvalidOption, InvalidMesh
        An option is not accepted; the mesh cannot be used.

    Notes
    -----
    With solutions on cells of size h, 2h, 4h (and steps likewise), the observed rate is
    q = log₂(‖u_2h − u_4h‖/‖u_h − u_2h‖) and the estimate ‖u_h − u_2h‖/(2^q − 1). On a given mesh it
    is the difference to one degree more. Integrals use quadrature of degree min(2p + 4, 10).

    References
    ----------
    Baratta et al. (2023), DOLFINx, doi:10.5281/zenodo.10447666; Elman, Silvester, Wathen (2014),
    Finite elements and fast iterative solvers, §3 (Taylor–Hood); Dörfler (1996), SIAM J. Numer.
    Anal. 33, 1106.
    """
    clock = time.perf_counter()
    backend.load()
    form = lower(problem)
    target, kind = engine.resolve_device(device), engine.resolve_dtype(dtype)
    if kind not in (torch.float64, torch.float32):
        raise InvalidOption(f"dtype={dtype!r}: \"fem\" returns 'float64' or 'float32'.")
    _check_options(problem, form, degree, h, dt, scheme, tol)
    if scheme is None:
        second = any(problem.time_order(f) == 2 for f in problem.fields)
        scheme = "sdirk4" if second else "bdf2"
    plan = Plan(
        degree=degree,
        h=h,
        dt=dt,
        scheme=scheme,
        theta=theta,
        tol=tol,
        mesh=_given_mesh(problem, mesh),
        initial=None if initial is None else _checked_initial(problem, initial),
        petsc_options=dict(petsc_options or {}),
    )
    run, estimate, notes = Levels(form, plan).solved()
    run.field.to(target)
    report = Report(
        method="fem",
        converged=estimate is not None and estimate["l2_relative"] <= GOAL,
        dtype=str(kind).removeprefix("torch."),
        device=str(target),
        engine=f"DOLFINx {backend.load().dolfinx.__version__}, P{degree}",
        wall_time=time.perf_counter() - clock,
        iterations=run.steps or run.iterations,
        parameters_count=sum(
            b.numel() for n, b in run.field.named_buffers() if n.startswith(("values", "rates"))
        ),
        error=estimate,
        reference="self-convergence" if estimate is not None else "unknown",
        notes=notes,
    )
    options = {
        "degree": degree,
        "h": h,
        "dt": dt,
        "scheme": scheme,
        "theta": theta,
        "tol": tol,
        "mesh": None if mesh is None else str(mesh),
        "initial": initial,
        "petsc_options": dict(petsc_options or {}),
        "device": str(target),
        "dtype": report.dtype,
    }
    return Solution(problem, "fem", run.field, config=run.config, report=report, options=options)


def field_from_config(problem: Any, config: Mapping[str, Any]) -> FiniteElementField:
    """An empty field of the shape of a saved one; DOLFINx is not needed."""
    return FiniteElementField(**config)


def _check_options(
    problem: Any, form: WeakForm, degree: Any, h: Any, dt: Any, scheme: Any, tol: Any
) -> None:
    if isinstance(degree, bool) or degree not in DEGREES:
        raise InvalidOption(f"degree={degree!r}: give 1, 2, 3 or 4.")
    if form.pressures and degree < 2:
        names = ", ".join(f.func.__name__ for f in form.pressures)
        raise InvalidOption(
            f"degree={degree}: {names} enforces a constraint and has one degree less than the "
            "other fields; give 2 or more."
        )
    for name, value in (("h", h), ("dt", dt), ("tol", tol)):
        if value is not None and not (isinstance(value, int | float) and 0 < value < math.inf):
            raise InvalidOption(f"{name}={value!r}: give a positive number.")
    if problem.time is None:
        for name, value in (("dt", dt), ("scheme", scheme)):
            if value is not None:
                raise InvalidOption(
                    f"{name}={value!r}: {problem.name!r} has no time; leave {name} out."
                )
    elif scheme is not None and scheme not in ORDERS:
        raise InvalidOption(f"scheme={scheme!r}: give one of {', '.join(map(repr, ORDERS))}.")
    if tol is not None and tol >= 1:
        raise InvalidOption(f"tol={tol!r}: give a relative error between 0 and 1.")


def _given_mesh(problem: Any, mesh: Any) -> MeshDomain | None:
    if mesh is None:
        space = space_of(problem)
        return space if isinstance(space, MeshDomain) else None
    if not isinstance(mesh, MeshDomain):
        mesh = MeshDomain.read(mesh, problem.space_coordinates)
    if mesh.dim != len(problem.space_coordinates):
        raise InvalidOption(
            f"mesh= has {mesh.dim} coordinates; {problem.name!r} has "
            f"{len(problem.space_coordinates)} in space."
        )
    lower, upper = (np.array(b) for b in space_of(problem).bounds)
    apart = max(
        float(np.abs(np.array(b) - a).max())
        for a, b in zip((lower, upper), mesh.bounds, strict=True)
    )
    if apart > 0.1 * float((upper - lower).max()):
        raise InvalidOption(
            f"mesh= spans {mesh.bounds}, but {problem.name!r} is declared on a domain that spans "
            f"{space_of(problem).bounds}; give a mesh of that domain."
        )
    return mesh


def _checked_initial(problem: Any, initial: Any) -> Callable[[np.ndarray], np.ndarray]:
    if not callable(initial):
        raise InvalidOption(
            'initial= is given to "fem" as values; give a function of points (N, d) → (N, C), as '
            "the nodes of a mesh are on no grid."
        )

    def values(points: np.ndarray) -> np.ndarray:
        found = torch.as_tensor(initial(torch.from_numpy(np.ascontiguousarray(points)))).detach()
        found = found[:, None] if found.dim() == 1 else found
        if tuple(found.shape) != (len(points), len(problem.fields)):
            raise InvalidOption(
                f"initial= returned shape {tuple(found.shape)} for {len(points)} points; return "
                f"({len(points)}, {len(problem.fields)}), one column per field."
            )
        if found.is_complex() or not bool(torch.isfinite(found).all()):
            raise InvalidOption("initial= returned values that are complex, NaN or infinite.")
        array: np.ndarray = found.double().numpy()
        return array

    return values
