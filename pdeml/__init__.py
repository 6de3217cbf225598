"""pdeml: declare a partial differential equation once, solve it by every method.

import pdeml

solution = pdeml.solve(pdeml.problems.burgers(), "pinn")
print(solution.report)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pdeml import errors, problems
    from pdeml.domains import Ball, Box, Disk, Interval, Mesh, Polygon, Rectangle, Surface, Time
    from pdeml.operators.pde import (
        PDE,
        Dirichlet,
        Field,
        Flux,
        Initial,
        Neumann,
        Parameter,
        Periodic,
        Robin,
    )
    from pdeml.operators.special import BurgersSine
    from pdeml.operators.vector import div, grad
    from pdeml.solvers import Ensemble, Solution, load, solve
    from pdeml.solvers.spectral import Stepper

__all__ = [
    "PDE",
    "Ball",
    "Box",
    "BurgersSine",
    "Dirichlet",
    "Disk",
    "Ensemble",
    "Field",
    "Flux",
    "Initial",
    "Interval",
    "Mesh",
    "Neumann",
    "Parameter",
    "Periodic",
    "Polygon",
    "Rectangle",
    "Robin",
    "Solution",
    "Stepper",
    "Surface",
    "Time",
    "__version__",
    "data",
    "div",
    "errors",
    "evaluate",
    "grad",
    "load",
    "problems",
    "solve",
    "surrogates",
    "train",
]

# torch and sympy take two seconds: they are loaded when the first of these names is used
_HOMES = {
    "pdeml.domains": (
        *("Ball", "Box", "Disk", "Interval", "Mesh", "Polygon", "Rectangle", "Surface", "Time"),
    ),
    "pdeml.operators.pde": (
        *("PDE", "Dirichlet", "Field", "Flux", "Initial"),
        *("Neumann", "Parameter", "Periodic", "Robin"),
    ),
    "pdeml.operators.special": ("BurgersSine",),
    "pdeml.operators.vector": ("div", "grad"),
    "pdeml.solvers": ("Ensemble", "Solution", "load", "solve"),
    "pdeml.solvers.spectral": ("Stepper",),
    "pdeml.surrogates.evaluation": ("evaluate",),
    "pdeml.surrogates.training": ("train",),
}


def __getattr__(name: str) -> Any:
    if name in ("data", "errors", "problems", "surrogates"):
        return importlib.import_module(f"pdeml.{name}")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'pdeml' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
