"""Batched Fourier solver of semilinear periodic problems, the reference of every other method."""

from __future__ import annotations

from pdeml.solvers.spectral.accuracy import Convergence, convergence, suggest_dt
from pdeml.solvers.spectral.ensemble import Ensemble
from pdeml.solvers.spectral.lowering import can_solve
from pdeml.solvers.spectral.march import BlowUp
from pdeml.solvers.spectral.schemes import SCHEMES
from pdeml.solvers.spectral.solver import field_from_config, solve
from pdeml.solvers.spectral.stepper import Stepper

__all__ = [
    "SCHEMES",
    "BlowUp",
    "Convergence",
    "Ensemble",
    "Stepper",
    "can_solve",
    "convergence",
    "field_from_config",
    "solve",
    "suggest_dt",
]
