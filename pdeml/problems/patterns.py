"""Patterns and chaos: Kuramoto–Sivashinsky, Swift–Hohenberg, Cahn–Hilliard and others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import sympy as sp

from pdeml.domains import Time
from pdeml.operators.pde import PDE, Field, Initial, Parameter
from pdeml.problems.torus import (
    T,
    axes,
    exact_number,
    laplacian,
    mean_of,
    periodic,
    periodic_box,
    squared_gradient,
    velocity,
)


def _front(x: Sequence[sp.Symbol], k: sp.Expr) -> sp.Expr:
    """Σ_i cos kx_i (1 + sin kx_{i+1}) / d."""
    return mean_of(
        [
            sp.cos(k * axis) * (1 + sp.sin(k * beside))
            for axis, beside in zip(x, (*x[1:], x[0]), strict=True)
        ]
    )


def kuramoto_sivashinsky(dim: int = 1, length: float = 32 * math.pi, duration: float = 60.0) -> PDE:
    """Kuramoto–Sivashinsky equation: chaos from a long-wave instability.

        d = 1:  u_t + u u_x + u_xx + u_xxxx = 0,   u(x, 0) = cos kx (1 + sin kx)
        d > 1:  u_t + ½|∇u|² + Δu + Δ²u = 0,   u(x, 0) = Σ_i cos kx_i (1 + sin kx_{i+1}) / d
        x ∈ [0, L]^d,  t ∈ [0, 60],   k = 2π/L   (x_{d+1} = x_1)

    Waves 2√2 π long grow fastest; after t ≈ 50 cells are born and merge for ever. Trajectories part
    like e^{0.09 t} (L ≈ 100), so that beyond t ≈ 100 only statistics can be compared.
    For d > 1 u is the height of a front, whose mean sinks: d⟨u⟩/dt = −½⟨|∇u|²⟩. Nothing depends on
    the mean, so that it may be taken off a solution, and `kuramoto_sivashinsky_velocity` declares
    the same dynamics without it. In one dimension u is the slope of that front and its mean stays.
    Good values: L = 32π (Kassam and Trefethen, t ≤ 150), 64π (the Markov neural operator), 22
    (smallest chaos); L = 12π … 20π for d = 3. No closed form: reference by ``"spectral"``.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3.
    length : L > 0.
    duration : end of time.

    References
    ----------
    Kuramoto, Tsuzuki (1976), Prog. Theor. Phys. 55, 356; Sivashinsky (1977), Acta Astronaut. 4,
    1177; Kassam, Trefethen (2005), SIAM J. Sci. Comput. 26, 1214.
    """
    x, L = axes(dim), exact_number("length", length)
    u, k = Field("u", *x, T), 2 * sp.pi / L
    steepening = u * u.diff(x[0]) if dim == 1 else squared_gradient(u, x) / 2
    start = _front(x, k)
    return PDE(
        name="kuramoto_sivashinsky",
        equations=[sp.Eq(u.diff(T) + steepening + laplacian(u, x) + laplacian(u, x, 2), 0)],
        domain=periodic_box(x, L) * Time(T, 0, exact_number("duration", duration)),
        conditions=[Initial(u, start), *periodic([u], x)],
        description=f"Kuramoto–Sivashinsky equation in dimension {dim}",
    )


def kuramoto_sivashinsky_velocity(
    dim: int = 2, length: float = 32 * math.pi, duration: float = 60.0
) -> PDE:
    """Kuramoto–Sivashinsky equation for the slope of the front, without its sinking mean.

        v_t + ½∇|v|² + Δv + Δ²v = 0,   v = ∇φ,   x ∈ [0, L]^d,  t ∈ [0, 60],
        φ(x, 0) = Σ_i cos kx_i (1 + sin kx_{i+1}) / d,   k = 2π/L   (x_{d+1} = x_1)

    The gradient of ``kuramoto_sivashinsky(dim)`` for d > 1, exactly: v stays a gradient with mean
    zero, and φ, found from Δφ = ∇·v, is the height with its zero mode removed. For d = 1 it is the
    usual equation from another start.
    Good values, references: as for `kuramoto_sivashinsky`.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3, and of components.
    length : L > 0.
    duration : end of time.

    References
    ----------
    Kalogirou, Keaveny, Papageorgiou (2015), Proc. R. Soc. A 471, 20140932 (two dimensions).
    """
    x, L = axes(dim), exact_number("length", length)
    v, k = velocity(x), 2 * sp.pi / L
    height = _front(x, k)
    pressure = sp.Add(*(vi**2 for vi in v)) / 2
    return PDE(
        name="kuramoto_sivashinsky_velocity",
        equations=[
            sp.Eq(vi.diff(T) + pressure.diff(axis) + laplacian(vi, x) + laplacian(vi, x, 2), 0)
            for vi, axis in zip(v, x, strict=True)
        ],
        domain=periodic_box(x, L) * Time(T, 0, exact_number("duration", duration)),
        conditions=[
            *(Initial(vi, height.diff(axis)) for vi, axis in zip(v, x, strict=True)),
            *periodic(v, x),
        ],
        description=f"Kuramoto–Sivashinsky equation for the slope in dimension {dim}",
        fields=v,
    )


def swift_hohenberg(
    dim: int = 1, growth: float = 0.7, quadratic: float = 1.0, duration: float = 10.0
) -> PDE:
    """Swift–Hohenberg equation: stripes and hexagons of one wave length.

        u_t = r u − (1 + Δ)² u + g u² − u³,   x ∈ [0, 10π]^d,  t ∈ [0, 10],
        u(x, 0) = 0.1 Π_i cos x_i + 0.05 Σ_i sin(3x_i/5) / d

    Waves of length 2π grow at rate r and saturate; the quadratic term prefers hexagons to stripes.
    The energy that it descends makes every run end in a steady pattern.
    Good values: r = 0.7, g = 1 (hexagons); r = 0.2, g = 0 (stripes). No closed form: reference by
    ``"spectral"``.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3.
    growth : r.
    quadratic : g.
    duration : end of time.

    References
    ----------
    Swift, Hohenberg (1977), Phys. Rev. A 15, 319.
    """
    x = axes(dim)
    u = Field("u", *x, T)
    r, g = Parameter("r", growth), Parameter("g", quadratic)
    start = sp.Mul(*(sp.cos(axis) for axis in x)) / 10
    start += mean_of([sp.sin(3 * axis / 5) for axis in x]) / 20
    linear = r * u - u - 2 * laplacian(u, x) - laplacian(u, x, 2)
    return PDE(
        name="swift_hohenberg",
        equations=[sp.Eq(u.diff(T), linear + g * u**2 - u**3)],
        domain=periodic_box(x, 10 * sp.pi) * Time(T, 0, exact_number("duration", duration)),
        conditions=[Initial(u, start), *periodic([u], x)],
        description=f"Swift–Hohenberg equation in dimension {dim}",
    )


def cahn_hilliard(dim: int = 1, gamma: float = 0.01, duration: float = 1.0) -> PDE:
    """Cahn–Hilliard equation: a mixture separates and its parts coarsen.

        u_t = Δ(u³ − u − γ Δu),   x ∈ [0, 2π]^d,  t ∈ [0, 1],
        u(x, 0) = 0.1 Π_i cos 2x_i + 0.05 Σ_i sin 5x_i / d

    Waves with |k|² = 1/(2γ) grow fastest, at rate 1/(4γ), to phases u ≈ ±1 with interfaces of width
    ~√(2γ), which then coarsen ever more slowly. ∫u is conserved, the energy ∫(¼(u² − 1)² + ½γ|∇u|²)
    falls.
    Good values: γ = 0.01; γ = 0.05 is smooth. No closed form: reference by ``"spectral"``.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3.
    gamma : γ > 0, squared width of the interfaces (up to a factor).
    duration : end of time.

    References
    ----------
    Cahn, Hilliard (1958), J. Chem. Phys. 28, 258.
    """
    x = axes(dim)
    u, width = Field("u", *x, T), Parameter("gamma", gamma, positive=True)
    start = sp.Mul(*(sp.cos(2 * axis) for axis in x)) / 10
    start += mean_of([sp.sin(5 * axis) for axis in x]) / 20
    return PDE(
        name="cahn_hilliard",
        equations=[
            sp.Eq(u.diff(T), laplacian(u**3, x) - laplacian(u, x) - width * laplacian(u, x, 2))
        ],
        domain=periodic_box(x, 2 * sp.pi) * Time(T, 0, exact_number("duration", duration)),
        conditions=[Initial(u, start), *periodic([u], x)],
        description=f"Cahn–Hilliard equation in dimension {dim}",
    )


def gray_scott(
    dim: int = 1,
    feed: float = 0.04,
    kill: float = 0.06,
    diffusivity_u: float = 5e-4,
    diffusivity_v: float = 2.5e-4,
    duration: float = 50.0,
) -> PDE:
    """Gray–Scott reaction and diffusion: spots that divide, stripes, waves.

        u_t = D_u Δu − u v² + F (1 − u),   v_t = D_v Δv + u v² − (F + k) v,
        x ∈ [0, 2.5]^d,  t ∈ [0, 50],
        u(x, 0) = 1 − w/2,   v(x, 0) = w/4,   w = exp(−Σ_i ((x_i − 1.25)/0.1)²)

    u is fed and eaten by v, which dies at rate F + k; u = 1, v = 0 is stable, and the bump in the
    middle is large enough to leave it. Patterns need t of the order of 1000.
    Good values: F = 0.04, k = 0.06 with D_u = 2e-5, D_v = 1e-5 (Pearson, whose map of (F, k) shows
    the other patterns). No closed form: reference by ``"spectral"``.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3.
    feed, kill : F and k.
    diffusivity_u, diffusivity_v : D_u, D_v > 0.
    duration : end of time.

    References
    ----------
    Pearson (1993), Science 261, 189.
    """
    x = axes(dim)
    u, v = Field("u", *x, T), Field("v", *x, T)
    F, k = Parameter("F", feed), Parameter("k", kill)
    D_u, D_v = (
        Parameter("D_u", diffusivity_u, positive=True),
        Parameter("D_v", diffusivity_v, positive=True),
    )
    middle = sp.Rational(5, 4)
    bump = sp.exp(-100 * sp.Add(*((axis - middle) ** 2 for axis in x)))
    return PDE(
        name="gray_scott",
        equations=[
            sp.Eq(u.diff(T), D_u * laplacian(u, x) - u * v**2 + F * (1 - u)),
            sp.Eq(v.diff(T), D_v * laplacian(v, x) + u * v**2 - (F + k) * v),
        ],
        domain=periodic_box(x, 2 * middle) * Time(T, 0, exact_number("duration", duration)),
        conditions=[Initial(u, 1 - bump / 2), Initial(v, bump / 4), *periodic([u, v], x)],
        description=f"Gray–Scott reaction and diffusion in dimension {dim}",
        fields=(u, v),
    )


def complex_ginzburg_landau(
    dim: int = 1,
    c1: float = 2.0,
    c2: float = -1.0,
    length: float = 32 * math.pi,
    duration: float = 20.0,
) -> PDE:
    """Complex Ginzburg–Landau equation: oscillations near their onset, waves and defects.

        A_t = A + (1 + i c₁) ΔA − (1 + i c₂) |A|² A,   x ∈ [0, L]^d,  t ∈ [0, 20],
        A(x, 0) = ½ Π_i cos kx_i + (i/2) Σ_i sin 2kx_i / d,   k = 2π/L

    A is complex. Plane waves A = √(1−q²) exp(i(qx − (c₂ + (c₁−c₂)q²)t)) are solutions; all are
    unstable where 1 + c₁c₂ < 0, and phases or defects become chaotic.
    Good values: c₁ = 2, c₂ = −1 (chaos), c₁ = 0, c₂ = 1 (spirals for d = 2), c₁ = c₂ = 0 (|A| tends
    to 1). No closed form: reference by ``"spectral"``.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3.
    c1, c2 : linear and nonlinear dispersion.
    length : L > 0.
    duration : end of time.

    References
    ----------
    Aranson, Kramer (2002), Rev. Mod. Phys. 74, 99.
    """
    x, L = axes(dim), exact_number("length", length)
    A, k = Field("A", *x, T, dtype=complex), 2 * sp.pi / L
    first, second = Parameter("c1", c1), Parameter("c2", c2)
    start = sp.Mul(*(sp.cos(k * axis) for axis in x)) / 2
    start += sp.I * mean_of([sp.sin(2 * k * axis) for axis in x]) / 2
    spreading = (1 + sp.I * first) * laplacian(A, x)
    saturation = (1 + sp.I * second) * A**2 * sp.conjugate(A)
    return PDE(
        name="complex_ginzburg_landau",
        equations=[sp.Eq(A.diff(T), A + spreading - saturation)],
        domain=periodic_box(x, L) * Time(T, 0, exact_number("duration", duration)),
        conditions=[Initial(A, start), *periodic([A], x)],
        description=f"Complex Ginzburg–Landau equation in dimension {dim}",
    )
