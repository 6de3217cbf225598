"""Orders of convergence on a manufactured solution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdeml.domains.mesh import Mesh
from pdeml.errors import InvalidOption
from pdeml.operators.manufactured import manufactured
from pdeml.operators.pde import PDE
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.adaptivity import halved
from pdeml.solvers.fem.levels import Levels, Run
from pdeml.solvers.fem.lowering import lower
from pdeml.solvers.fem.mesh import space_of
from pdeml.solvers.fem.plan import plan_of

CELLS = {1: 8, 2: 8, 3: 2}  # along the longest axis of the coarsest level
STEPS = 8  # of the coarsest level
HALVED = ("h", "dt")


@dataclass(frozen=True)
class Level:
    """Errors of one field on one level.

    Attributes
    ----------
    field, degree : name of the field, and the degree of the run.
    cells : their number.
    steps : in time, 0 for a steady problem.
    unknowns : of all fields.
    l2, h1 : norms of the error and of its gradient over the domain, at the end in time.
    l2_rate, h1_rate : log₂ of the ratio to the level before, NaN for the first.
    family : P on simplices, Q on quadrilaterals and hexahedra.
    """

    field: str
    degree: int
    cells: int
    steps: int
    unknowns: int
    l2: float
    h1: float
    l2_rate: float = math.nan
    h1_rate: float = math.nan
    family: str = "P"


@dataclass(frozen=True)
class Convergence:
    """Errors and observed orders; prints as a table.

    Attributes
    ----------
    problem : the manufactured problem.
    levels : by degree and field, from coarse to fine.
    """

    problem: PDE
    levels: tuple[Level, ...]

    def of(self, degree: int, field: Any = None) -> list[Level]:
        """Levels of one degree and field (by default the first), from coarse to fine."""
        field = self.problem.fields[0] if field is None else field
        name = field if isinstance(field, str) else field.func.__name__
        return [level for level in self.levels if (level.degree, level.field) == (degree, name)]

    def __str__(self) -> str:
        head = ("field", "degree", "cells", "steps", "unknowns", "L2", "rate", "H1", "rate")
        rows = [head]
        for v in self.levels:
            size = (
                v.field,
                f"{v.family}{v.degree}",
                str(v.cells),
                str(v.steps or "–"),
                str(v.unknowns),
            )
            found = (f"{v.l2:.4e}", _shown(v.l2_rate), f"{v.h1:.4e}", _shown(v.h1_rate))
            rows.append((*size, *found))
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join(f"{entry:>{w}}" for entry, w in zip(row, widths, strict=True)) for row in rows
        ]
        return "\n".join(lines)


def _shown(rate: float) -> str:
    return "" if math.isnan(rate) else f"{rate:.3f}"


def verify(
    problem: PDE,
    exact: Any,
    *,
    degrees: Sequence[int] = (1, 2),
    levels: int = 4,
    cells: int | None = None,
    cell: str | None = None,
    steps: int = STEPS,
    halve: Sequence[str] = HALVED,
    scheme: str | None = None,
    theta: float = 0.5,
) -> Convergence:
    """Solve for a manufactured solution on finer and finer levels, and observe the orders.

    Sources, boundary and initial values are made from `exact` for the operator and the conditions
    of the problem, see `pdeml.operators.manufactured.manufactured`.

    Parameters
    ----------
    problem : the declaration; what its sources and boundary values are does not matter.
    exact : expression of coordinates and parameters; for a system ``{field: expression}``.
    degrees : of the elements, from 1 to 4.
    levels : at least 2; cells are halved, and in time the steps too.
    cells : of the coarsest level along the longest axis; default 8, in space of three coordinates
        2. The mesh of a problem that is declared on one is the coarsest.
    cell : kind of the cells, as for `solve`.
    steps : of the coarsest level.
    halve : ``("h", "dt")``, or one of them, the other staying as `cells` or `steps` say.
    scheme, theta : as for `solve`.

    Returns
    -------
    Convergence
        Prints as a table; smooth solutions have rates of degree + 1 in L2 and degree in H1.

    Raises
    ------
    InvalidOption, UnsupportedProblem
        As `manufactured` and `solve` do.

    Notes
    -----
    The norms are integrals over the cells by quadrature of degree 2p + 6 against `exact` itself, at
    the end where there is time; pressures that are free up to a constant have mean zero on both
    sides.

    Examples
    --------
    >>> verify(problem, sp.sin(sp.pi * x) * sp.cos(sp.pi * y / 2) + 1)  # doctest: +SKIP
    """
    backend.load()
    for name, value, least in (("levels", levels, 2), ("steps", steps, 1), ("cells", cells, 1)):
        if value is not None and (not isinstance(value, int) or value < least):
            raise InvalidOption(f"{name}={value!r}: give an integer of at least {least}.")
    if not halve or not set(halve) <= set(HALVED):
        raise InvalidOption(f"halve={halve!r}: give one or both of {', '.join(map(repr, HALVED))}.")
    made = manufactured(problem, exact)
    if made.time is None and "h" not in halve:
        raise InvalidOption(f"halve={halve!r}: {problem.name!r} has no time; halve 'h'.")
    form = lower(made)
    own = isinstance(space_of(made), Mesh)
    if own and cells is not None:
        raise InvalidOption(f"cells={cells!r}: {problem.name!r} has its own mesh; leave cells out.")
    counts: tuple[int, ...] = ()
    dim = len(made.space_coordinates)
    first = CELLS[dim] if cells is None else cells
    names = (*"h dt tol rtol atol times mesh initial petsc_options time_limit".split(),)
    found: list[Level] = []
    for degree in degrees:
        options: dict[str, Any] = dict.fromkeys(names)
        options |= {"degree": degree, "cell": cell, "scheme": scheme, "theta": theta}
        runs = Levels(form, plan_of(made, form, **options))
        column: dict[str, Level] = {}
        mesh: Any = None
        for n in range(levels):
            if own:
                # the cells of a mesh that is declared are divided
                mesh = halved(mesh) if n and "h" in halve else runs.mesh(())
            else:
                counts = runs.counts(runs.size(first * (2**n if "h" in halve else 1)))
                mesh = runs.mesh(counts)
            count = 0 if made.time is None else steps * (2**n if "dt" in halve else 1)
            run = runs.run(mesh, counts, count, degree)
            for k, field in enumerate(made.fields):
                name = field.func.__name__
                l2, h1 = norms(run, k)
                rates = (math.nan, math.nan)
                if name in column:
                    rates = (_rate(column[name].l2, l2), _rate(column[name].h1, h1))
                size = (mesh.cells, count, run.unknowns)
                column[name] = Level(name, degree, *size, l2, h1, *rates, run.field.family)
                found.append(column[name])
    order = {f.func.__name__: k for k, f in enumerate(made.fields)}
    found.sort(key=lambda v: (v.degree, order[v.field]))
    return Convergence(made, tuple(found))


def _rate(coarse: float, fine: float) -> float:
    return math.log2(coarse / fine) if fine > 0 and coarse > 0 else math.nan


def norms(run: Run, field: int) -> tuple[float, float]:
    """L2 norms of the error of the states of a run, and of its gradient, in one field."""
    dolfinx, system = backend.load(), run.system
    ufl, problem, space = dolfinx.ufl, system.problem, system.space
    handle = space.mesh.handle
    assert problem.exact is not None
    wanted = problem.exact[problem.fields[field]]
    if problem.time is not None:
        wanted = wanted.subs(problem.time, float(system.forms.time.value))
    dx = ufl.Measure(
        "dx", domain=handle, metadata={"quadrature_degree": 2 * max(space.degrees) + 6}
    )

    def integral(integrand: Any) -> float:
        # a number has no mesh, a constant of it has
        one = dolfinx.fem.Constant(handle, dolfinx.PETSc.ScalarType(1.0))
        local = dolfinx.fem.assemble_scalar(dolfinx.fem.form(one * integrand * dx))
        return float(handle.comm.allreduce(local))

    error = system.states[field] - system.forms.translate(wanted)
    if field in space.pinned:
        error = error - integral(error) / integral(1.0)
    slopes = [
        system.states[field].dx(i) - system.forms.translate(wanted.diff(c))
        for i, c in enumerate(problem.space_coordinates)
    ]
    squares = integral(error**2), integral(sum(s**2 for s in slopes))
    l2, h1 = np.sqrt(squares)
    return float(l2), float(h1)
