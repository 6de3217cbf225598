"""Finite elements: the options, the levels of refinement, and the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import scipy
import torch
from torch import Tensor

from pdeml import engine
from pdeml.errors import InvalidOption
from pdeml.progress import ProgressBar
from pdeml.solvers.fem import scipy_newton
from pdeml.solvers.fem.backend import load
from pdeml.solvers.fem.field import FiniteElementField
from pdeml.solvers.fem.levels import Levels, Run
from pdeml.solvers.fem.lowering import lower
from pdeml.solvers.fem.plan import plan_of
from pdeml.solvers.fem.processes import communicator
from pdeml.solvers.report import Report
from pdeml.solvers.solution import Solution

BACKENDS = ("dolfinx", "scipy")
GOAL = 1e-2  # of the estimated relative error, beyond which a solution is no reference
ROUNDING = 1.05  # of tol: integrals over cells and sums over a grid give other norms


def solve(
    problem: Any,
    *,
    degree: int = 2,
    h: float | None = None,
    dt: float | None = None,
    times: Sequence[float] | None = None,
    scheme: str | None = None,
    theta: float = 0.5,
    tol: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    mesh: Any = None,
    cell: str | None = None,
    initial: Callable[[Tensor], Tensor] | None = None,
    backend: str = "dolfinx",
    petsc_options: Mapping[str, Any] | None = None,
    time_limit: float | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    progress: bool = False,
) -> Solution:
    """Solve a problem by continuous finite elements (DOLFINx and PETSc).

    Parameters
    ----------
    problem : a `pdeml.PDE` with a weak form (see ``problem.weak_form()``) of real fields in one to
        three space coordinates; steady, or of first or second order in time.
    degree : of the elements, 1 to 4; pressures of incompressible problems have one less, so that
        those need 2 at least (Taylor–Hood).
    h : size of the cells along the axes; default: halved until the estimated error is below `tol`,
        or the work of a few seconds is done.
    dt : step size; default: halved together with h. With `rtol`, the largest step.
    times : instants at which states are stored exactly; steps are shortened to hit them.
    scheme : ``"bdf2"`` (default for a first order in time), ``"sdirk4"``, of order 4 (default for a
        second), or ``"theta"``.
    theta : of the θ scheme: 1/2 is Crank–Nicolson (Newmark's method for a second order in time), 1
        backward Euler.
    tol : relative error to aim at; default 1e-6, in time 1e-4. A steady problem in the plane or in
        space is then refined where its residual is largest, and at round sides, which cells follow.
    rtol, atol : steps follow the local error, atol + rtol ‖u‖ in the root mean square of each field
        (``"sdirk4"`` with its embedded formula), on cells of size `h` or of a default size; default
        1e-4 and 0 where one of them is given.
    mesh : a `pdeml.domains.mesh.Mesh` of the domain, or the path of one (.xdmf, .msh).
    cell : ``"quadrilateral"`` or ``"hexahedron"``, for domains that a regular grid divides; default
        simplices. Shape functions are then of `degree` in each local coordinate. These cells cannot
        be divided one by one: with `tol`, all are halved.
    initial : replaces the declared initial values (for a steady problem: where Newton's iteration
        starts): a function of points (N, d) → (N, C). Velocities stay as they are declared.
    backend : ``"dolfinx"``, or ``"scipy"``, which needs SciPy alone: steady problems, degree 1
        or 2, one process.
    petsc_options : options of PETSc's SNES and KSP in place of the chosen ones, such as
        ``{"ksp_type": "cg", "pc_type": "gamg"}``.
    time_limit : seconds after which nothing is refined further; the report says so.
    device : where the solution is evaluated (the solver runs on the CPU).
    dtype : of points and values, ``"float64"`` (default) or ``"float32"``.
    progress : show a bar.

    Returns
    -------
    Solution
        Piecewise polynomials in space; in time, the polynomial of degree 7 through values and rates
        of stored states. ``report.error`` is estimated from coarser levels, see Notes.
        ``report.converged`` says whether the estimate of all fields together is below `tol` (1e-2
        without). A field outside of L2, such as the pressure of a lid that moves up to its corners,
        keeps it False, however small the errors of the others: ``report.error`` has each field's
        own, from its own rate, and a note names the field that is to blame.

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
    if backend not in BACKENDS:
        raise InvalidOption(f"backend={backend!r}: give 'dolfinx' or 'scipy'.")
    if backend == "dolfinx":
        load()
    form = lower(problem)
    target, kind = engine.resolve_device(device), engine.resolve_dtype(dtype)
    if kind not in (torch.float64, torch.float32):
        raise InvalidOption(f"dtype={dtype!r}: \"fem\" returns 'float64' or 'float32'.")
    plan = plan_of(
        problem,
        form,
        degree=degree,
        h=h,
        dt=dt,
        scheme=scheme,
        theta=theta,
        tol=tol,
        rtol=rtol,
        atol=atol,
        times=times,
        mesh=mesh,
        cell=cell,
        initial=initial,
        petsc_options=petsc_options,
        time_limit=time_limit,
    )
    run: Run | scipy_newton.Solved
    if backend == "scipy":
        run, estimate, notes = scipy_newton.solved(form, plan)
        engine_name = f"SciPy {scipy.__version__}"
    else:
        shown = progress and communicator().rank == 0
        with ProgressBar(f"fem {problem.name}", shown) as bar:
            run, estimate, notes = Levels(form, plan, bar.update).solved()
        engine_name = f"DOLFINx {load().dolfinx.__version__}"
    run.field.to(target)
    goal = GOAL if tol is None else min(GOAL, ROUNDING * tol)
    missed = any("was not reached" in note for note in notes)
    if tol is not None and (estimate is None or estimate["l2_relative"] > ROUNDING * tol):
        if not missed:
            notes.append(f"tol={tol:.1e} was not reached")
    if run.field.family == "Q" and tol is not None and problem.time is None and mesh is None:
        notes.append("all cells were halved; simplices (cell= left out) are divided one by one")
    converged = estimate is not None and estimate["l2_relative"] <= goal and not missed
    if estimate is not None and not converged and tol is None:
        notes.append(
            f"not converged: the estimated error {estimate['l2_relative']:.1e} is above "
            f"{goal:.0e}; give a smaller h, a higher degree, or tol="
        )
    report = Report(
        method="fem",
        converged=converged,
        dtype=str(kind).removeprefix("torch."),
        device=str(target),
        engine=f"{engine_name}, {run.field.family}{degree}",
        wall_time=time.perf_counter() - clock,
        iterations=run.taken or run.iterations,
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
        "times": times,
        "scheme": plan.scheme,
        "theta": theta,
        "tol": tol,
        "rtol": rtol,
        "atol": atol,
        "mesh": None if mesh is None else str(mesh),
        "cell": cell,
        "initial": initial,
        "backend": backend,
        "petsc_options": dict(petsc_options or {}),
        "device": str(target),
        "dtype": report.dtype,
    }
    return Solution(problem, "fem", run.field, config=run.config, report=report, options=options)


def field_from_config(problem: Any, config: Mapping[str, Any]) -> FiniteElementField:
    """An empty field of the shape of a saved one; DOLFINx is not needed."""
    return FiniteElementField(**config)
