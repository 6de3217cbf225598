"""Steady problems: Helmholtz and Poisson."""

from __future__ import annotations

import sympy as sp

from pdeml.domains import Rectangle
from pdeml.operators.pde import PDE, Dirichlet, Field, Parameter
from pdeml.problems.cube import unit_axes, unit_box


def helmholtz(a1: int = 1, a2: int = 4, wave_number: float = 1.0) -> PDE:
    """Helmholtz equation with a manufactured source.

        Δu + k² u = q,   (x, y) ∈ [−1, 1]²,   u = 0 on the boundary,
        q = (k² − π²(a₁² + a₂²)) sin(a₁πx) sin(a₂πy)

    The solution is u = sin(a₁πx) sin(a₂πy) for whole a₁, a₂; the gradients of the source and of the
    boundary terms differ in size by (a₂π)².
    Good values: k = 1 with (a₁, a₂) = (1, 4) (the PINN benchmark); (6, 6) needs a network for high
    frequencies. The problem is singular where k² = π²(m² + n²)/4 for whole m, n ≥ 1.

    References
    ----------
    Wang, Teng, Perdikaris (2021), SIAM J. Sci. Comput. 43, A3055.
    """
    x, y = sp.symbols("x y", real=True)
    u = Field("u", x, y)
    m, n = Parameter("a1", a1, integer=True), Parameter("a2", a2, integer=True)
    k = Parameter("k", wave_number)
    exact = sp.sin(m * sp.pi * x) * sp.sin(n * sp.pi * y)
    source = (k**2 - sp.pi**2 * (m**2 + n**2)) * exact
    return PDE(
        name="helmholtz",
        equations=[sp.Eq(u.diff(x, 2) + u.diff(y, 2) + k**2 * u, source)],
        domain=Rectangle((x, y), (-1, -1), (1, 1)),
        conditions=[Dirichlet(u, 0)],
        exact={u: exact},
        description="Helmholtz equation with a manufactured source",
    )


def poisson(dim: int = 2) -> PDE:
    """Poisson equation in the unit cube of any dimension.

        −Δu = (π²/4) Σ_i sin(πx_i/2),   x ∈ [0, 1]^d,   u = Σ_i sin(πx_i/2) on the boundary

    The solution is u = Σ_i sin(πx_i/2): smooth, yet out of reach of grids for d ≳ 5.
    Good values: d = 2, 5, 10 (the PINN benchmarks).

    Parameters
    ----------
    dim : number of dimensions d ≥ 1; the axes are x, y, z up to three, else x1, x2 …

    References
    ----------
    Hao et al. (2024), PINNacle, NeurIPS 37 (Poisson-Nd).
    """
    x = unit_axes(dim)
    u = Field("u", *x)
    exact = sp.Add(*(sp.sin(sp.pi * c / 2) for c in x))
    return PDE(
        name="poisson",
        equations=[sp.Eq(-sp.Add(*(u.diff(c, 2) for c in x)), sp.pi**2 / 4 * exact)],
        domain=unit_box(x),
        conditions=[Dirichlet(u, exact)],
        exact={u: exact},
        description=f"Poisson equation in the unit cube of dimension {dim}",
    )
