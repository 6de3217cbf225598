"""Linear equations on a periodic box, each with its closed form: advection, diffusion, waves."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from pdeml.domains import Time
from pdeml.operators.pde import PDE, Field, Initial, Parameter
from pdeml.problems.torus import T, axes, laplacian, periodic, periodic_box

WAVES = (1, 1, 1), (3, 2, 1)
"""Two wave vectors, of which a problem in d dimensions takes the first d components."""


def advection(dim: int = 1, speed: float = 1.0) -> PDE:
    """Advection of a bump along the diagonal of a periodic box.

        u_t + c Σ_i ∂u/∂x_i = 0,   x ∈ [0, 1]^d,  t ∈ [0, 1],   u(x, 0) = exp(−10 Σ_i sin² πx_i)

    The bump travels unchanged, u(x, t) = u(x − ct, 0), and at c = 1 comes back at t = 1: every
    damping or dispersion of a method shows.
    Good values: c = 1; `convection` is the stiff case for networks.

    Parameters
    ----------
    dim : number of space dimensions, 1 to 3.
    speed : c, the same along each axis.

    References
    ----------
    LeVeque (2002), Finite volume methods for hyperbolic problems, Cambridge, ch. 2.
    """
    x = axes(dim)
    u, c = Field("u", *x, T), Parameter("c", speed)
    exact = sp.exp(-10 * sp.Add(*(sp.sin(sp.pi * (axis - c * T)) ** 2 for axis in x)))
    return PDE(
        name="advection",
        equations=[sp.Eq(u.diff(T) + c * sp.Add(*(u.diff(axis) for axis in x)), 0)],
        domain=periodic_box(x) * Time(T, 0, 1),
        conditions=[Initial(u, exact.subs(T, 0)), *periodic([u], x)],
        exact={u: exact},
        description=f"Advection of a bump in a periodic box of dimension {dim}",
    )


def diffusion(dim: int = 1, diffusivity: float = 0.01) -> PDE:
    """Diffusion in a periodic box.

        u_t = D Δu,   x ∈ [0, 1]^d,  t ∈ [0, 1],
        u(x, 0) = 1 + Π_i sin 2πx_i + ½ cos 4πx_1

    Each mode decays at its own rate, u = 1 + e^{−4π²dDt} Π_i sin 2πx_i + ½ e^{−16π²Dt} cos 4πx_1,
    and the mean stays. Good values: D = 0.01; `heat` is the problem with cold walls.

    Parameters
    ----------
    dim : number of space dimensions, 1 to 3.
    diffusivity : D > 0.

    References
    ----------
    Evans (2010), Partial Differential Equations, §2.3.
    """
    x = axes(dim)
    u, D = Field("u", *x, T), Parameter("D", diffusivity, positive=True)
    product = sp.Mul(*(sp.sin(2 * sp.pi * axis) for axis in x))
    exact = 1 + sp.exp(-4 * sp.pi**2 * dim * D * T) * product
    exact += sp.exp(-16 * sp.pi**2 * D * T) * sp.cos(4 * sp.pi * x[0]) / 2
    return PDE(
        name="diffusion",
        equations=[sp.Eq(u.diff(T), D * laplacian(u, x))],
        domain=periodic_box(x) * Time(T, 0, 1),
        conditions=[Initial(u, exact.subs(T, 0)), *periodic([u], x)],
        exact={u: exact},
        description=f"Diffusion in a periodic box of dimension {dim}",
    )


def dispersion(dim: int = 1, dispersivity: float = 1.0) -> PDE:
    """Linear dispersion of two waves (the linear part of Korteweg–de Vries).

        u_t + b Σ_i ∂³u/∂x_i³ = 0,   x ∈ [0, 2π]^d,  t ∈ [0, 1],
        u = cos(m·x + b Σ_i m_i³ t) + ½ sin(n·x + b Σ_i n_i³ t),   m = (1, 1, 1), n = (3, 2, 1)

    Waves travel to the left, short ones faster; nothing decays.
    Good values: b = 1.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3; the first d entries of m and n are used.
    dispersivity : b.

    References
    ----------
    Whitham (1974), Linear and nonlinear waves, Wiley, ch. 11.
    """
    x = axes(dim)
    u, b = Field("u", *x, T), Parameter("b", dispersivity)
    phase, other = (_dot(m, x) + b * T * sum(k**3 for k in m[:dim]) for m in WAVES)
    exact = sp.cos(phase) + sp.sin(other) / 2
    return PDE(
        name="dispersion",
        equations=[sp.Eq(u.diff(T) + b * sp.Add(*(u.diff(axis, 3) for axis in x)), 0)],
        domain=periodic_box(x, 2 * sp.pi) * Time(T, 0, 1),
        conditions=[Initial(u, exact.subs(T, 0)), *periodic([u], x)],
        exact={u: exact},
        description=f"Linear dispersion in a periodic box of dimension {dim}",
    )


def periodic_wave(dim: int = 1, speed: float = 1.0) -> PDE:
    """Wave equation in a periodic box: a standing and a travelling wave.

        u_tt = c² Δu,   x ∈ [0, 2π]^d,  t ∈ [0, 1],
        u = sin(m·x) cos(c|m|t) + ½ cos(n·x − c|n|t),   m = (1, 1, 1), n = (3, 2, 1)

    The energy ½∫(u_t² + c²|∇u|²) is conserved; in two and three dimensions the frequencies have no
    common period. Good values: c = 1; `wave` is the string with fixed ends.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3; the first d entries of m and n are used.
    speed : c > 0.

    References
    ----------
    Evans (2010), Partial Differential Equations, §2.4.
    """
    x = axes(dim)
    u, c = Field("u", *x, T), Parameter("c", speed, positive=True)
    size = [sp.sqrt(sum(k**2 for k in m[:dim])) for m in WAVES]
    exact = sp.sin(_dot(WAVES[0], x)) * sp.cos(c * size[0] * T)
    exact += sp.cos(_dot(WAVES[1], x) - c * size[1] * T) / 2
    return PDE(
        name="periodic_wave",
        equations=[sp.Eq(u.diff(T, 2), c**2 * laplacian(u, x))],
        domain=periodic_box(x, 2 * sp.pi) * Time(T, 0, 1),
        conditions=[
            Initial(u, exact.subs(T, 0)),
            Initial(u.diff(T), exact.diff(T).subs(T, 0)),
            *periodic([u], x),
        ],
        exact={u: exact},
        description=f"Standing and travelling waves in a periodic box of dimension {dim}",
    )


def _dot(wave: Sequence[int], x: Sequence[sp.Symbol]) -> sp.Expr:
    return sp.Add(*(k * axis for k, axis in zip(wave, x, strict=False)))
