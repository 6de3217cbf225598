"""DeepXDE on the same declarations: problems, geometries and models from one package to the other.

    declaration → dde.Model     `to_deepxde`, and ``pdeml.solve(problem, "deepxde")``
    dde.Model → residual, field `from_deepxde`
    dde.geometry → Domain       `from_deepxde_geometry`

DeepXDE is imported when it is used, on its torch back end. Work with its objects inside `session`:
DeepXDE keeps its precision in global state, which a session sets and puts back.

References
----------
Lu, Meng, Mao, Karniadakis (2021), SIAM Review 63, 208–228.
"""

from pdeml.solvers.deepxde.backend import session
from pdeml.solvers.deepxde.foreign import from_deepxde_geometry
from pdeml.solvers.deepxde.lowering import Bridge, can_solve, to_deepxde
from pdeml.solvers.deepxde.opaque import OpaqueProblem, from_deepxde
from pdeml.solvers.deepxde.solver import field_from_config, solve

__all__ = [
    "Bridge",
    "OpaqueProblem",
    "can_solve",
    "field_from_config",
    "from_deepxde",
    "from_deepxde_geometry",
    "session",
    "solve",
    "to_deepxde",
]
