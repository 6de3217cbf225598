"""Steady problems: Helmholtz, Poisson, and diffusion that depends on its solution."""

from __future__ import annotations

import sympy as sp

from pdeml.domains import Rectangle
from pdeml.operators.pde import PDE, Dirichlet, Field, Parameter
from pdeml.operators.vector import div, grad
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


def poisson_lshape() -> PDE:
    """Laplace's equation on an L-shape: a solution with a singular corner.

        Δu = 0,   (x, y) ∈ [−1, 1]² − [0, 1] × [−1, 0],   u = r^{2/3} sin(2θ/3) on the boundary

    The boundary values are those of the solution itself; θ runs from 0 on the positive x axis to
    3π/2. The gradient is infinite at the corner, so that equal cells converge with order 4/3 at
    best, whatever their degree; cells that shrink towards it restore the full order (``tol=`` of
    "fem").
    Good values: none are needed.

    References
    ----------
    Strang, Fix (1973), An analysis of the finite element method, §8.1.
    """
    x, y = sp.symbols("x y", real=True)
    u = Field("u", x, y)
    # the cut of atan2 lies in the missing quadrant
    theta = sp.atan2(-x - y, y - x) + 3 * sp.pi / 4
    exact = (x**2 + y**2) ** sp.Rational(1, 3) * sp.sin(2 * theta / 3)
    return PDE(
        name="poisson_lshape",
        equations=[sp.Eq(u.diff(x, 2) + u.diff(y, 2), 0)],
        # cut beyond the square: a side common to both would belong to neither
        domain=Rectangle((x, y), (-1, -1), (1, 1)) - Rectangle((x, y), (0, -2), (2, 0)),
        conditions=[Dirichlet(u, exact)],
        exact={u: exact},
        description="Laplace's equation on an L-shape with a singular corner",
    )


def nonlinear_diffusion(reaction: float = 1.0) -> PDE:
    """Diffusion that depends on its solution, with a manufactured source.

        −div((1 + u²) ∇u) + R u³ = f,   (x, y) ∈ [0, 1]²,   u = sin πx cos(πy/2) + 1 on the boundary

    The boundary values are those of the solution itself, and f is what makes it one. Newton's
    iteration needs about five steps from the harmonic extension of the boundary values.
    Good values: R = 1.

    Parameters
    ----------
    reaction : R ≥ 0.

    References
    ----------
    Langtangen, Logg (2017), Solving PDEs in Python, §3.2 (the nonlinear Poisson equation).
    """
    x, y = sp.symbols("x y", real=True)
    u, R = Field("u", x, y), Parameter("R", reaction)
    exact = sp.sin(sp.pi * x) * sp.cos(sp.pi * y / 2) + 1
    flux = [(1 + exact**2) * exact.diff(c) for c in (x, y)]
    source = R * exact**3 - sp.Add(*(f.diff(c) for f, c in zip(flux, (x, y), strict=True)))
    return PDE(
        name="nonlinear_diffusion",
        equations=[sp.Eq(-div((1 + u**2) * grad(u)) + R * u**3, source)],
        domain=Rectangle((x, y), (0, 0), (1, 1)),
        conditions=[Dirichlet(u, exact)],
        exact={u: exact},
        description="Diffusion that depends on its solution, with a manufactured source",
    )
