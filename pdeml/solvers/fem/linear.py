"""Linear equations with constant coefficients: matrices that are assembled once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy as sp

from pdeml.solvers.fem import backend
from pdeml.solvers.fem.forms import Forms
from pdeml.solvers.fem.space import time_program


class LinearOperator:
    """R(t, u, u', u'') = A_0 u + A_1 u' + A_2 u'' + f(t).

    All is assembled once: of the load, a form for each factor that depends on time alone. Only what
    depends on time in other ways is assembled for every t.

    Parameters
    ----------
    forms : affine in u, u', u''; of what depends on time, only f.
    compiled : their Jacobian.
    """

    def __init__(self, forms: Forms, compiled: Any):
        dolfinx, space = backend.load(), forms.space
        self._fem, self._insert = dolfinx.fem, dolfinx.dolfinx.la.InsertMode.add
        self._same = dolfinx.PETSc.Mat.Structure.SAME_NONZERO_PATTERN
        self.matrices = []
        for row in np.eye(forms.order + 1):
            for share, value in zip(forms.shares, row, strict=True):
                share.value = value
            matrix = dolfinx.petsc.create_matrix(compiled)
            dolfinx.petsc.assemble_matrix(matrix, compiled)
            matrix.assemble()
            self.matrices.append(matrix)
        self._sum = self.matrices[0].copy() if forms.order else self.matrices[0]
        self._vector = self._sum.createVecRight()
        self._time = forms.time
        self._load, self._loaded = np.zeros(space.offsets[-1]), math.nan
        factors: list[sp.Expr] = []
        self._products: list[tuple[slice, np.ndarray]] = []  # of these factors
        self._moving: list[tuple[slice, Any]] = []
        for k, loads in enumerate(forms.loads()):
            part = slice(space.offsets[k], space.offsets[k + 1])
            for factor, form in loads.items():
                compiled_load = dolfinx.fem.form(form)
                if any(c is forms.time for c in form.constants()):
                    self._moving.append((part, compiled_load))
                else:
                    factors.append(factor)
                    self._products.append((part, self._assembled(compiled_load, part)))
        self._program = time_program(factors, forms.problem)

    def _assembled(self, form: Any, part: slice) -> np.ndarray:
        vector = self._fem.assemble_vector(form)
        vector.scatter_reverse(self._insert)
        found: np.ndarray = vector.array[: part.stop - part.start]
        return found

    def load(self) -> np.ndarray:
        """f at the time that the forms have; owned nodes of all fields in a row."""
        time = float(self._time.value)
        if time == self._loaded:  # PETSc asks for the residual more than once in a step
            return self._load
        self._loaded, self._load[:] = time, 0.0
        factors = self._program(time)
        for factor, (part, values) in zip(factors, self._products, strict=True):
            self._load[part] += factor * values
        for part, form in self._moving:
            self._load[part] += self._assembled(form, part)
        return self._load

    def residual(self, levels: Sequence[np.ndarray], out: Any) -> None:
        """R of u, u', u'' (owned nodes of all fields in a row) into a PETSc vector."""
        out.array[:] = self.load()
        for matrix, values in zip(self.matrices, levels, strict=True):
            self._vector.array[:] = values
            matrix.multAdd(self._vector, out, out)

    def combined(self, shares: Sequence[float]) -> Any:
        """A_0 + Σ s_i A_i for i > 0; the matrix stays, its entries change."""
        first, *others = self.matrices
        if others:
            first.copy(self._sum, structure=self._same)
        for share, matrix in zip(shares[1:], others, strict=True):
            self._sum.axpy(share, matrix, structure=self._same)
        return self._sum

    def destroy(self) -> None:
        for thing in (*self.matrices, self._sum, self._vector):
            thing.destroy()
