"""Finite elements by DOLFINx: declarations with a weak form, on simplices or boxes.

The declaration is lowered by `pdeml.operators.weak`; PETSc solves the discrete equations, with one
process or, under ``mpiexec -n 2``, with several. DOLFINx is imported when the method is used.
"""

from pdeml.solvers.fem.convergence import Convergence, verify
from pdeml.solvers.fem.export import export
from pdeml.solvers.fem.field import FiniteElementField, OutsideWarning
from pdeml.solvers.fem.lowering import can_solve
from pdeml.solvers.fem.pictures import plot, render
from pdeml.solvers.fem.processes import together
from pdeml.solvers.fem.solver import field_from_config, solve

__all__ = [
    "Convergence",
    "FiniteElementField",
    "OutsideWarning",
    "can_solve",
    "export",
    "field_from_config",
    "plot",
    "render",
    "solve",
    "together",
    "verify",
]
