"""Finite elements by DOLFINx: declarations with a weak form, on simplices.

The declaration is lowered by `pdeml.operators.weak`; PETSc solves the discrete equations, with one
process or, under ``mpiexec -n 2``, with several. DOLFINx is imported when the method is used.
"""

from pdeml.solvers.fem.field import FiniteElementField, OutsideWarning
from pdeml.solvers.fem.lowering import can_solve
from pdeml.solvers.fem.output import write_xdmf
from pdeml.solvers.fem.solver import field_from_config, solve

__all__ = [
    "FiniteElementField",
    "OutsideWarning",
    "can_solve",
    "field_from_config",
    "solve",
    "write_xdmf",
]
