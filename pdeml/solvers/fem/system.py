"""The discrete equations of one instant, and Newton's iteration by PETSc."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pdeml.errors import DivergedError
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.forms import Forms
from pdeml.solvers.fem.linear import LinearOperator
from pdeml.solvers.fem.processes import end_if_alone
from pdeml.solvers.fem.space import Space

DIRECT = {1: 2**31, 2: 200_000, 3: 30_000}  # unknowns up to which a factorisation is the faster
WORKSPACE = 200  # more percent for MUMPS than it expects: pivots of saddle points need them
RELATIVE, ABSOLUTE, MOST = 1e-10, 1e-11, 30  # of Newton's iteration

_numbers = itertools.count()
"""PETSc options are found by a prefix, which must be unique in the process."""


class System:
    """R(t, u, u', u'') = 0 for the nodes of all fields.

    A field with a derivative in time stands for ``u' = (u − base)/τ``, one of second order also
    for ``u'' = (u' − velocity)/τ``: every implicit scheme solves this for its own base and τ.

    Parameters
    ----------
    space : nodes and constraints.
    petsc_options : replace those that are chosen by size.

    Attributes
    ----------
    forms : the equations as UFL.
    operator : the matrices of linear equations with constant coefficients, else None.
    states : DOLFINx functions, one per field.
    iterations : Newton iterations so far.
    """

    def __init__(self, space: Space, petsc_options: Mapping[str, Any] | None = None):
        self.space, self.problem, self.form = space, space.problem, space.form
        dolfinx = self._dolfinx = backend.load()
        forms = self.forms = Forms(space)
        self.states, self.time, self.load = forms.levels[0], forms.time, forms.load
        jacobian = self._jacobian = dolfinx.fem.form(forms.jacobian)
        self.operator: LinearOperator | None = None
        self._reduced: Any = None
        if self.form.is_linear and self.form.is_autonomous:
            self.operator = LinearOperator(forms, jacobian)
        else:
            self._matrix = dolfinx.petsc.create_matrix(jacobian)
        self.iterations = 0
        self._weights: dict[int, np.ndarray] = {}
        self._prescribed = np.zeros(space.offsets[-1])
        self._step, self._base, self._velocity = 1.0, *2 * [self._prescribed]
        self._reused_step: float | None = None
        self._largest = 0.0  # residual that an iteration began with
        self._solver = self._make_solver(dict(petsc_options or {}))

    @cached_property
    def _residuals(self) -> list[Any]:
        return [self._dolfinx.fem.form(f) for f in self.forms.residuals]

    def weights(self, field: int) -> np.ndarray:
        """Integrals of the shape functions of a field, owned nodes."""
        if field not in self._weights:
            dolfinx = self._dolfinx
            v = dolfinx.ufl.TestFunction(self.space.spaces[field])
            vector = dolfinx.fem.assemble_vector(dolfinx.fem.form(v * dolfinx.ufl.dx))
            vector.scatter_reverse(dolfinx.dolfinx.la.InsertMode.add)
            self._weights[field] = vector.array[: self.space.owned[field]].copy()
        return self._weights[field]

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
        snes.setConvergenceHistory(MOST + 1, reset=True)
        self._unknown = y.duplicate()
        return snes

    def __del__(self) -> None:
        held = ("_solver", "_matrix", "_reduced", "_full", "_work", "_unknown")
        for thing in [getattr(self, name, None) for name in (*held, "operator")]:
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

    def set_states(self, values: np.ndarray) -> None:
        """Owned nodes of all fields in a row, to the functions, ghosts too."""
        put(self.states, values, self.space)

    def residual(self) -> np.ndarray:
        """The residuals of the functions, without constraints, owned nodes in a row."""
        rows = []
        fem, la = self._dolfinx.fem, self._dolfinx.dolfinx.la
        for form, owned in zip(self._residuals, self.space.owned, strict=True):
            vector = fem.assemble_vector(form)
            vector.scatter_reverse(la.InsertMode.add)
            rows.append(vector.array[:owned])
        return np.concatenate(rows)

    def _spread(self, y: Any) -> list[np.ndarray]:
        """u, u', u'' from free nodes, owned nodes of all fields in a row."""
        self.space.prolongation.mult(y, self._full)
        levels = [self._full.array_r + self._prescribed]
        for base in (self._base, self._velocity)[: self.forms.order]:
            levels.append((levels[-1] - base) / self._step)
        return levels

    def _set(self, levels: Sequence[np.ndarray]) -> None:
        for functions, values in zip(self.forms.levels, levels, strict=True):
            put(functions, values, self.space)

    def _function(self, y: Any, out: Any) -> None:
        levels = self._spread(y)
        if self.operator is not None:
            self.operator.residual(levels, self._work)
        else:
            self._set(levels)
            self._work.array[:] = self.residual()
        self.space.prolongation.multTranspose(self._work, out)

    def _assemble_matrix(self) -> None:
        shares = [self._step**-n for n in range(self.forms.order + 1)]
        if self.operator is not None:
            self._matrix = self.operator.combined(shares)
        else:
            for share, value in zip(self.forms.shares, shares, strict=True):
                share.value = value
            self._matrix.zeroEntries()
            self._dolfinx.petsc.assemble_matrix(self._matrix, self._jacobian)
            self._matrix.assemble()
        if self._reduced is None:
            self._reduced = self._matrix.ptap(self.space.prolongation)
        else:
            self._matrix.ptap(self.space.prolongation, result=self._reduced)

    def _set_matrix(self, y: Any) -> None:
        if self.operator is not None:
            if self._reused_step == self._step:
                return
            self._reused_step = self._step
        else:
            self._set(self._spread(y))
        self._assemble_matrix()

    def solve(
        self,
        time: float | None,
        step: float = 1.0,
        base: np.ndarray | None = None,
        velocity: np.ndarray | None = None,
    ) -> None:
        """Solve for the states at a time, from their current values.

        Parameters
        ----------
        step, base, velocity : τ, and what u' and u'' are made of; owned nodes of all fields in a
            row, 0 by default.

        Raises
        ------
        DivergedError
            Newton's iteration or the linear solver failed; the message says why.
        """
        self.time.value = 0.0 if time is None else time
        nothing = np.zeros(self.space.offsets[-1])
        self._step = step
        self._base = nothing if base is None else base
        self._velocity = nothing if velocity is None else velocity
        self._prescribed = float(self.load.value) * self.space.values(time)
        self.space.restrict(taken(self.states, self.space), self._unknown)
        try:
            self._solver.solve(None, self._unknown)
        except self._dolfinx.PETSc.Error as error:
            # such as a factorisation of a singular matrix; PETSc leaves the vector locked
            self._unknown = self._unknown.duplicate()
            failure = DivergedError(
                f'"fem": the linear solver of {self.problem.name!r} failed: '
                f"{str(error).splitlines()[-1].strip()}."
            )
            end_if_alone(failure)
            raise failure from error
        self.iterations += self._solver.getIterationNumber()
        self._set(self._spread(self._unknown))
        reason = self._solver.getConvergedReason()
        norm = self._solver.getFunctionNorm()
        self._largest = max(self._largest, *self._solver.getConvergenceHistory()[0][:1], 0.0)
        # from a near start the residual is small, and 1e-10 of it can be below what rounding leaves
        near = not self.form.is_linear and (
            norm <= RELATIVE * self._largest or self._at_rounding(reason)
        )
        if not (reason > 0 or near) or not np.isfinite(norm):
            where = "" if time is None else f" at {self.problem.time} = {time:.6g}"
            raise DivergedError(
                f'"fem": Newton\'s iteration of {self.problem.name!r} failed{where} after '
                f"{self._solver.getIterationNumber()} iterations with the residual {norm:.2e} "
                f"({self._reason(reason)}). Refine by h= or dt=, or start nearer by initial=."
            )

    def _at_rounding(self, reason: int) -> bool:
        """Whether Newton's steps ended because ‖R‖ ≤ ε ‖J‖ ‖u‖: no solver in floating point does
        better, where pressures of a singular corner are 10⁷ times the others."""
        PETSc = self._dolfinx.PETSc
        if reason != PETSc.SNES.ConvergedReason.DIVERGED_LINE_SEARCH:
            return False
        largest = PETSc.NormType.NORM_INFINITY
        size = self._reduced.norm(largest) * self._unknown.norm(largest)
        rest: float = self._solver.getFunction()[0].norm(largest)
        return rest <= np.finfo(float).eps * size

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
