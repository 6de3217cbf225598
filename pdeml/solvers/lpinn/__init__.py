"""Lagrangian physics-informed neural networks: the problem along its characteristics."""

from pdeml.operators.convective import ConvectiveForm, convective_form
from pdeml.solvers.lpinn.crossing import Crossing, inviscid_crossing
from pdeml.solvers.lpinn.flow import LagrangianField
from pdeml.solvers.lpinn.solver import (
    can_solve,
    characteristics,
    field_from_config,
    objective_of,
    solve,
)
from pdeml.solvers.lpinn.strategies import compare_strategies
from pdeml.solvers.lpinn.system import LabelClosureWarning

__all__ = [
    "ConvectiveForm",
    "Crossing",
    "LabelClosureWarning",
    "LagrangianField",
    "can_solve",
    "characteristics",
    "compare_strategies",
    "convective_form",
    "field_from_config",
    "inviscid_crossing",
    "objective_of",
    "solve",
]
