"""The discrete equations of one instant: UFL forms, and Newton's iteration by PETSc."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef

from pdeml.errors import DivergedError, UnsupportedProblem
from pdeml.operators.conditions import Dirichlet, Neumann, Robin
from pdeml.operators.printing import text
from pdeml.operators.weak import WeakEquation, slope
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.expressions import Translator
from pdeml.solvers.fem.lowering import holds_slope, on_periodic_face
from pdeml.solvers.fem.space import Space

QUADRATURE = 10  # highest degree of quadrature: SymPy expressions that are no polynomials have none
DIRECT = {1: 2**31, 2: 200_000, 3: 30_000}  # unknowns up to which a factorisation is the faster
WORKSPACE = 200  # more percent for MUMPS than it expects: pivots of saddle points need them
RELATIVE, ABSOLUTE, MOST = 1e-10, 1e-11, 30  # of Newton's iteration

_numbers = itertools.count()
"""PETSc options are found by a prefix, which must be unique in the process."""


class System:
    """R(t, u, u', u'') = 0 for the nodes of all fields.

    A field with a derivative in time stands for ``rate = (u − base)/τ``, one of second order also
    for ``(rate − velocity)/τ``: every implicit scheme solves this for its own base and τ.

    Parameters
    ----------
    space : nodes and constraints.
    petsc_options : replace those that are chosen by size.

    Attributes
    ----------
    states, bases, velocities : DOLFINx functions, one per field.
    iterations : Newton iterations so far.
    """

    def __init__(self, space: Space, petsc_options: Mapping[str, Any] | None = None):
        self.space, self.problem, self.form = space, space.problem, space.form
        dolfinx = self._dolfinx = backend.load()
        handle, fem = space.mesh.handle, dolfinx.fem
        self.states = [fem.Function(v) for v in space.spaces]
        self.bases = [fem.Function(v) for v in space.spaces]
        self.velocities = [fem.Function(v) for v in space.spaces]
        scalar = dolfinx.PETSc.ScalarType
        self.time, self.step, self.load = (
            fem.Constant(handle, scalar(value)) for value in (0.0, 1.0, 1.0)
        )
        self.degree = min(2 * max(space.degrees) + 4, QUADRATURE)
        self.translate = Translator(self._leaves())
        self.residuals = self._residuals()
        self._compile()
        self.iterations = 0
        self._weights: dict[int, np.ndarray] = {}
        self._prescribed = np.zeros(space.offsets[-1])
        self._reused_step: float | None = None
        self._solver = self._make_solver(dict(petsc_options or {}))

    # ------------------------------------------------------------------------------- the forms

    def _leaves(self) -> dict[sp.Basic, Any]:
        dolfinx, problem = self._dolfinx, self.problem
        ufl, handle = dolfinx.ufl, self.space.mesh.handle
        x = ufl.SpatialCoordinate(handle)
        leaves: dict[sp.Basic, Any] = {c: x[i] for i, c in enumerate(problem.space_coordinates)}
        if problem.time is not None:
            leaves[problem.time] = self.time
        for p, value in problem.values.items():
            leaves[p] = dolfinx.fem.Constant(handle, dolfinx.PETSc.ScalarType(value))
        for k, field in enumerate(self.form.fields):
            u = self.states[k]
            kinds: list[tuple[sp.Expr, Any]] = [(field, u)]
            if problem.time is not None:
                rate = (u - self.bases[k]) / self.step
                second = (rate - self.velocities[k]) / self.step
                kinds += [(field.diff(problem.time), rate), (field.diff(problem.time, 2), second)]
            for expression, value in kinds:
                leaves[expression] = value
                for i, c in enumerate(problem.space_coordinates):
                    leaves[expression.diff(c)] = ufl.grad(value)[i]
        return leaves

    def _residuals(self) -> list[Any]:
        ufl, handle = self._dolfinx.ufl, self.space.mesh.handle
        meta = {"quadrature_degree": self.degree}
        dx = ufl.Measure("dx", domain=handle, metadata=meta)
        forms = []
        self.boundary: list[list[tuple[sp.Expr, Any]]] = []
        boundary = self._boundary_groups()
        for k, equation in enumerate(self.form.equations):
            v = ufl.TestFunction(self.space.spaces[k])
            total = sp.Integer(0)
            form: Any = None
            held, source = _split_source(equation.remainder)
            inner: list[Any] = []
            for i, flux in enumerate(equation.flux):
                if flux != total:
                    inner.append(-self.translate(flux) * v.dx(i))
            if held != total:
                inner.append(self.translate(held) * v)
            if source != total:
                inner.append(self.load * self.translate(source) * v)
            for part in inner:
                form = part * dx if form is None else form + part * dx
            self.boundary.append(boundary(equation))
            for term, ds in self.boundary[-1]:
                form = form + self.translate(term) * v * ds
            forms.append(form)
        return forms

    def _boundary_groups(self) -> Any:
        """A function: equation → pairs (F·n, measure of the facets where it holds)."""
        space, comm = self.space, self.space.mesh.handle.comm
        ufl, dim = self._dolfinx.ufl, self.space.mesh.dim
        conditions = [
            c for c in self.problem.conditions if isinstance(c, Dirichlet | Neumann | Robin)
        ]
        held = [space.holds(c) for c in conditions]
        joined = on_periodic_face(self.problem, self.form.fields[0], space.middles)
        rows = [
            (bool(joined[n]), *(i for i, h in enumerate(held) if h[n]))
            for n in range(len(space.facets))
        ]
        # all ranks number the groups alike
        groups = sorted(set().union(*comm.allgather(set(rows))))
        marks = np.array([groups.index(r) for r in rows], dtype=np.int32)
        tags = self._dolfinx.mesh.meshtags(space.mesh.handle, dim - 1, space.facets, marks)
        measure = ufl.Measure(
            "ds",
            domain=space.mesh.handle,
            subdomain_data=tags,
            metadata={"quadrature_degree": self.degree},
        )
        normal = ufl.FacetNormal(space.mesh.handle)
        symbols = sp.symbols([f"n_{i}" for i in range(dim)], real=True, cls=sp.Dummy)
        self.translate = Translator(
            {**self._leaves(), **{s: normal[i] for i, s in enumerate(symbols)}}
        )

        def terms(equation: WeakEquation) -> list[tuple[sp.Expr, Any]]:
            found: dict[sp.Expr, list[int]] = {}
            for mark, (is_joined, *own) in enumerate(groups):
                active = [conditions[i] for i in own]
                if is_joined or any(
                    isinstance(c, Dirichlet) and c.field == equation.field for c in active
                ):
                    continue
                slopes = {
                    c.field: slope(c)
                    for c in active
                    if not isinstance(c, Dirichlet)
                    if holds_slope(equation, c.field, self.problem)
                }
                self._check_given(equation, slopes, groups, mark, conditions)
                term = self.form.boundary_term(equation, slopes, symbols)
                if term != 0:
                    found.setdefault(term, []).append(mark)
            return [(term, measure(tuple(marks))) for term, marks in found.items()]

        return terms

    def _check_given(
        self,
        equation: WeakEquation,
        slopes: Mapping[AppliedUndef, sp.Expr],
        groups: Sequence[Any],
        mark: int,
        conditions: Sequence[Any],
    ) -> None:
        """A field whose slope is integrated over the boundary has a condition there."""
        problem = self.problem
        own = (
            [equation.field]
            if holds_slope(equation, equation.field, problem)
            else [f for f in self.form.fields if holds_slope(equation, f, problem)]
        )
        for field in own:
            if field not in slopes and field in problem.fields:
                raise UnsupportedProblem(
                    f'"fem" needs a condition for {text(field)} on the whole boundary, but a part '
                    f"of it has none{_where(groups[mark], conditions)}. Add Dirichlet, Neumann or "
                    "Robin there."
                )

    def _compile(self) -> None:
        dolfinx, fem = self._dolfinx, self._dolfinx.fem
        self._forms = [fem.form(f) for f in self.residuals]
        trials = [dolfinx.ufl.TrialFunction(v) for v in self.space.spaces]
        self.jacobian: list[list[Any]] = []
        for form in self.residuals:
            row = []
            for u, du in zip(self.states, trials, strict=True):
                part = dolfinx.ufl.algorithms.expand_derivatives(
                    dolfinx.ufl.derivative(form, u, du)
                )
                row.append(None if part.empty() else part)
            self.jacobian.append(row)
        self._jacobian = fem.form(self.jacobian)
        self._matrix = dolfinx.petsc.create_matrix(self._jacobian)
        self._reduced: Any = None

    def weights(self, field: int) -> np.ndarray:
        """Integrals of the shape functions of a field, owned nodes."""
        if field not in self._weights:
            dolfinx = self._dolfinx
            v = dolfinx.ufl.TestFunction(self.space.spaces[field])
            vector = dolfinx.fem.assemble_vector(dolfinx.fem.form(v * dolfinx.ufl.dx))
            vector.scatter_reverse(dolfinx.dolfinx.la.InsertMode.add)
            self._weights[field] = vector.array[: self.space.owned[field]].copy()
        return self._weights[field]

    # ------------------------------------------------------------------------------- the solver

    def _make_solver(self, given: Mapping[str, Any]) -> Any:
        PETSc, matrix = self._dolfinx.PETSc, self.space.prolongation
        snes = PETSc.SNES().create(self.space.mesh.handle.comm)
        y, self._full, self._work = (
            matrix.createVecRight(),
            matrix.createVecLeft(),
            matrix.createVecLeft(),
        )
        # PETSc's references are not seen by Python's collector: a strong one would keep all this
        me = weakref.ref(self)
        snes.setFunction(lambda _, y, out: me()._function(y, out), y)  # type: ignore[union-attr]
        self._assemble_matrix()
        snes.setJacobian(
            lambda _, y, *matrices: me()._set_matrix(y),  # type: ignore[union-attr]
            self._reduced,
            self._reduced,
        )
        prefix = f"pdeml_fem_{next(_numbers)}_"
        snes.setOptionsPrefix(prefix)
        options = PETSc.Options()
        chosen = {**self._defaults(matrix.getSize()[1]), **given}
        for name, value in chosen.items():
            options[prefix + name] = value
        snes.setFromOptions()
        # MUMPS reads its options when it first factors: they stay until the system goes
        self._options = [prefix + name for name in chosen]
        self._unknown = y.duplicate()
        return snes

    def __del__(self) -> None:
        held = ("_solver", "_matrix", "_reduced", "_full", "_work", "_unknown")
        for thing in [getattr(self, name, None) for name in held]:
            if thing is not None:
                thing.destroy()
        for name in getattr(self, "_options", []):
            self._dolfinx.PETSc.Options().delValue(name)

    def _defaults(self, size: int) -> dict[str, Any]:
        chosen: dict[str, Any] = {"snes_type": "ksponly"}
        if not self.form.is_linear:
            chosen = {
                "snes_type": "newtonls",
                "snes_linesearch_type": "bt",
                "snes_rtol": RELATIVE,
                "snes_atol": ABSOLUTE,
                "snes_stol": 1e-9,
                "snes_max_it": MOST,
            }
        dim, comm = self.space.mesh.dim, self.space.mesh.handle.comm
        if size <= DIRECT[dim] or self.form.pressures:
            chosen |= {"ksp_type": "preonly", "pc_type": "lu"}
            if dim == 1 and comm.size == 1 and len(self.form.fields) == 1:
                return {**chosen, "pc_factor_mat_solver_type": "petsc"}
            mumps = {"pc_factor_mat_solver_type": "mumps", "mat_mumps_icntl_14": WORKSPACE}
            return {**chosen, **mumps}
        return {
            **chosen,
            "ksp_type": "gmres",
            "ksp_rtol": 1e-10,
            "ksp_max_it": 1000,
            "pc_type": "gamg",
        }

    def _spread(self, y: Any) -> None:
        """States from free nodes."""
        self.space.prolongation.mult(y, self._full)
        self.set_states(self._full.array_r + self._prescribed)

    def set_states(self, values: np.ndarray) -> None:
        """Owned nodes of all fields in a row, to the functions, ghosts too."""
        put(self.states, values, self.space)

    def residual(self) -> np.ndarray:
        """The residuals at the current states, without constraints, owned nodes in a row."""
        rows = []
        fem, la = self._dolfinx.fem, self._dolfinx.dolfinx.la
        for form, owned in zip(self._forms, self.space.owned, strict=True):
            vector = fem.assemble_vector(form)
            vector.scatter_reverse(la.InsertMode.add)
            rows.append(vector.array[:owned])
        return np.concatenate(rows)

    def _function(self, y: Any, out: Any) -> None:
        self._spread(y)
        self._work.array[:] = self.residual()
        self.space.prolongation.multTranspose(self._work, out)

    def _assemble_matrix(self) -> None:
        self._matrix.zeroEntries()
        self._dolfinx.petsc.assemble_matrix(self._matrix, self._jacobian)
        self._matrix.assemble()
        if self._reduced is None:
            self._reduced = self._matrix.ptap(self.space.prolongation)
        else:
            self._matrix.ptap(self.space.prolongation, result=self._reduced)

    def _set_matrix(self, y: Any) -> None:
        reusable = self.form.is_linear and self.form.is_autonomous
        if reusable and self._reused_step == float(self.step.value):
            return
        self._spread(y)
        self._assemble_matrix()
        self._reused_step = float(self.step.value)

    def solve(self, time: float | None, step: float = 1.0) -> None:
        """Solve for the states at a time, from their current values.

        Raises
        ------
        DivergedError
            Newton's iteration or the linear solver failed; the message says why.
        """
        self.time.value = 0.0 if time is None else time
        self.step.value = step
        self._prescribed = float(self.load.value) * self.space.values(time)
        y = self.space.restricted([u.x.array for u in self.states])
        y.copy(self._unknown)
        y.destroy()
        self._solver.solve(None, self._unknown)
        self.iterations += self._solver.getIterationNumber()
        self._spread(self._unknown)
        reason = self._solver.getConvergedReason()
        norm = self._solver.getFunctionNorm()
        if reason <= 0 or not np.isfinite(norm):
            where = "" if time is None else f" at {self.problem.time} = {time:.6g}"
            raise DivergedError(
                f'"fem": Newton\'s iteration of {self.problem.name!r} failed{where} after '
                f"{self._solver.getIterationNumber()} iterations with the residual {norm:.2e} "
                f"({self._reason(reason)}). Refine by h= or dt=, or start nearer by initial=."
            )

    def _reason(self, reason: int) -> str:
        kinds = self._dolfinx.PETSc.SNES.ConvergedReason
        names = {v: n for n, v in vars(kinds).items() if isinstance(v, int)}
        linear = self._solver.getKSP().getConvergedReason()
        return f"{names.get(reason, reason)}, linear solver {linear}"


def put(functions: Sequence[Any], values: np.ndarray, space: Space) -> None:
    """Owned nodes of all fields in a row, to functions, ghosts too."""
    for k, f in enumerate(functions):
        f.x.array[: space.owned[k]] = values[space.offsets[k] : space.offsets[k + 1]]
        f.x.scatter_forward()


def taken(functions: Sequence[Any], space: Space) -> np.ndarray:
    """Owned nodes of all fields in a row."""
    return np.concatenate([f.x.array[:n] for f, n in zip(functions, space.owned, strict=True)])


def _split_source(remainder: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Terms with fields, and those without: the load."""
    held: list[sp.Expr] = []
    free: list[sp.Expr] = []
    for term in sp.Add.make_args(remainder):
        (held if term.atoms(AppliedUndef) else free).append(term)
    return sp.Add(*held), sp.Add(*free)


def _where(group: Sequence[Any], conditions: Sequence[Any]) -> str:
    named = [repr(conditions[i]) for i in group[1:]]
    return f" (there holds {', '.join(named)})" if named else ""
