"""Solids: linear elasticity."""

from __future__ import annotations

import sympy as sp

from pdeml.domains import Rectangle
from pdeml.operators.pde import PDE, Dirichlet, Field, Parameter


def linear_elasticity(lame: float = 1.0, shear: float = 1.0) -> PDE:
    """Static elasticity of a square plate, plane strain, with a manufactured load.

        (λ + μ) ∇(∇·u) + μ Δu + f = 0,   (x, y) ∈ [0, 1]²,   u = 0 on the boundary

    The displacement is u = sin πx sin πy, v = x(1 − x) sin πy, and f is what makes it one.
    Good values: λ = μ = 1; λ ≫ μ is nearly incompressible, where elements of degree 1 lock.

    Parameters
    ----------
    lame : λ, Lamé's first parameter.
    shear : μ > 0.

    References
    ----------
    Braess (2007), Finite elements, Cambridge, §VI.3.
    """
    x, y = sp.symbols("x y", real=True)
    u, v = Field("u", x, y), Field("v", x, y)
    first, second = Parameter("lambda", lame), Parameter("mu", shear, positive=True)
    exact = {u: sp.sin(sp.pi * x) * sp.sin(sp.pi * y), v: x * (1 - x) * sp.sin(sp.pi * y)}

    def force(a: sp.Expr, b: sp.Expr) -> list[sp.Expr]:
        return [
            (first + second) * (a.diff(x, c) + b.diff(y, c))
            + second * (w.diff(x, 2) + w.diff(y, 2))
            for w, c in ((a, x), (b, y))
        ]

    return PDE(
        name="linear_elasticity",
        equations=[sp.Eq(*pair) for pair in zip(force(u, v), force(*exact.values()), strict=True)],
        domain=Rectangle((x, y), (0, 0), (1, 1)),
        conditions=[Dirichlet(u, 0), Dirichlet(v, 0)],
        exact=exact,
        description="Static elasticity of a square plate with a manufactured load",
    )
