"""Reaction: Allen–Cahn, Fisher–KPP, FitzHugh–Nagumo and Klein–Gordon."""

from __future__ import annotations

import sympy as sp

from pdeml.domains import Interval, Rectangle, Time
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Neumann, Parameter, Periodic
from pdeml.problems.torus import T, axes, exact_number, laplacian, mean_of, periodic, periodic_box


def allen_cahn(diffusivity: float = 1e-4, reaction: float = 5.0) -> PDE:
    """Allen–Cahn equation with a stiff reaction, periodic in space.

        u_t = D u_xx + R (u − u³),   x ∈ [−1, 1],  t ∈ [0, 1],   u(x, 0) = x² cos πx

    Sharp interfaces form at |u| = 1 and move slowly; a network that loses them settles on a wrong
    steady state. The periodic extension of the initial value has a kink at x = ±1.
    Good values: D = 1e-4, R = 5 (the PINN benchmark); D = 1e-2 is easy. No closed form: reference
    by ``"spectral"``.

    References
    ----------
    Raissi, Perdikaris, Karniadakis (2019), J. Comput. Phys. 378, §3.2.
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    D, R = Parameter("D", diffusivity, positive=True), Parameter("R", reaction)
    return PDE(
        name="allen_cahn",
        equations=[sp.Eq(u.diff(t), D * u.diff(x, 2) + R * (u - u**3))],
        domain=Interval(x, -1, 1) * Time(t, 0, 1),
        conditions=[Initial(u, x**2 * sp.cos(sp.pi * x)), Periodic(u, x)],
        description="Allen–Cahn equation with a stiff reaction",
    )


def allen_cahn_waves(dim: int = 1, epsilon: float = 0.1) -> PDE:
    """Allen–Cahn equation from smooth waves, in a periodic box.

        u_t = ε² Δu + u − u³,   x ∈ [0, 2π]^d,  t ∈ [0, 5],
        u(x, 0) = 0.1 + 0.4 Π_i sin x_i + 0.3 Σ_i cos 3x_i / d

    Phases u ≈ ±1 form by t ≈ 3, with interfaces of width ~ε, which then move by their curvature
    (not at all, up to exp(−1/ε), for d = 1). Unlike `allen_cahn` everything is smooth.
    Good values: ε = 0.1; ε = 0.3 is easy. No closed form: reference by ``"spectral"``.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3.
    epsilon : ε > 0.

    References
    ----------
    Allen, Cahn (1979), Acta Metall. 27, 1085.
    """
    x = axes(dim)
    u, eps = Field("u", *x, T), Parameter("epsilon", epsilon, positive=True)
    start = sp.Rational(1, 10) + sp.Rational(2, 5) * sp.Mul(*(sp.sin(axis) for axis in x))
    start += sp.Rational(3, 10) * mean_of([sp.cos(3 * axis) for axis in x])
    return PDE(
        name="allen_cahn_waves",
        equations=[sp.Eq(u.diff(T), eps**2 * laplacian(u, x) + u - u**3)],
        domain=periodic_box(x, 2 * sp.pi) * Time(T, 0, 5),
        conditions=[Initial(u, start), *periodic([u], x)],
        description=f"Allen–Cahn equation from smooth waves in dimension {dim}",
    )


def fisher_kpp(dim: int = 1, diffusivity: float = 1e-3, growth: float = 5.0) -> PDE:
    """Fisher–KPP equation: a population that grows and spreads.

        u_t = D Δu + r u (1 − u),   x ∈ [0, 1]^d,  t ∈ [0, 2],
        u(x, 0) = exp(−20 Σ_i sin² πx_i)

    The state u = 1 invades u = 0 by fronts of speed 2√(rD) and width ~√(D/r) until it fills the
    box; 0 ≤ u ≤ 1 throughout. Negative values would run away.
    Good values: D = 1e-3, r = 5 (fronts meet at t ≈ 2); D = 1e-4 is sharp. No closed form in the
    box: reference by ``"spectral"``.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3.
    diffusivity : D > 0.
    growth : r.

    References
    ----------
    Fisher (1937), Ann. Eugenics 7, 355; Kolmogorov, Petrovsky, Piskunov (1937).
    """
    x = axes(dim)
    u = Field("u", *x, T)
    D, r = Parameter("D", diffusivity, positive=True), Parameter("r", growth)
    start = sp.exp(-20 * sp.Add(*(sp.sin(sp.pi * axis) ** 2 for axis in x)))
    return PDE(
        name="fisher_kpp",
        equations=[sp.Eq(u.diff(T), D * laplacian(u, x) + r * u * (1 - u))],
        domain=periodic_box(x) * Time(T, 0, 2),
        conditions=[Initial(u, start), *periodic([u], x)],
        description=f"Fisher–KPP equation in dimension {dim}",
    )


def klein_gordon(frequency: float = 5.0, cubic: float = 1.0) -> PDE:
    """Nonlinear Klein–Gordon equation with a manufactured source.

        u_tt − u_xx + γ u³ = f,   x ∈ [0, 1],  t ∈ [0, 1],
        u(x, 0) = x,   u_t(x, 0) = 0,   u(0, t) = 0,   u(1, t) = cos ωπt + t³

    The solution is u = x cos ωπt + (xt)³, and f is what makes it one.
    Good values: ω = 5, γ = 1 (the PINN benchmark); ω = 1 is easy.

    References
    ----------
    Wang, Teng, Perdikaris (2021), SIAM J. Sci. Comput. 43, A3055.
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    omega, gamma = Parameter("omega", frequency), Parameter("gamma", cubic)
    exact = x * sp.cos(omega * sp.pi * t) + (x * t) ** 3
    source = exact.diff(t, 2) - exact.diff(x, 2) + gamma * exact**3
    return PDE(
        name="klein_gordon",
        equations=[sp.Eq(u.diff(t, 2) - u.diff(x, 2) + gamma * u**3, source)],
        domain=Interval(x, 0, 1) * Time(t, 0, 1),
        conditions=[Initial(u, x), Initial(u.diff(t), 0), Dirichlet(u, exact)],
        exact={u: exact},
        description="Nonlinear Klein–Gordon equation with a manufactured source",
    )


def fitzhugh_nagumo(
    activator: float = 1e-3,
    inhibitor: float = 5e-3,
    threshold: float = 5e-3,
    duration: float = 5.0,
) -> PDE:
    """FitzHugh–Nagumo equations in a square with impermeable walls: reaction and diffusion.

        u_t = D_u Δu + u − u³ − k − v,   v_t = D_v Δv + u − v,   (x, y) ∈ [−1, 1]²,  t ∈ [0, 5],
        ∂u/∂n = ∂v/∂n = 0 on the walls,
        u = ½ cos πx cos 2πy − ¼ cos ½π(x+1) + ¼ cos 3π(y+1)/2,   v = 0 at t = 0

    The activator u grows into phases u ≈ ±1 with fronts of width ~√D_u; the inhibitor v follows and
    pushes them back. The start meets the walls' conditions, so that the solution is smooth.
    Good values: D_u = 1e-3, D_v = 5e-3, k = 5e-3 (the data of PDEBench, which start from noise);
    ten times the diffusivities are easy. No closed form; reflected at the walls x = 1 and y = 1 the
    solution is periodic on [−1, 3]², where ``"spectral"`` solves the same equations from the same
    formula of the start.

    Parameters
    ----------
    activator, inhibitor : D_u, D_v > 0.
    threshold : k.
    duration : end of time.

    References
    ----------
    FitzHugh (1961), Biophys. J. 1, 445; Takamoto et al. (2022), PDEBench, NeurIPS 35
    (diffusion–reaction in two dimensions).
    """
    x, y = axes(2)
    u, v = Field("u", x, y, T), Field("v", x, y, T)
    first = Parameter("D_u", activator, positive=True)
    second = Parameter("D_v", inhibitor, positive=True)
    k = Parameter("k", threshold)
    start = sp.cos(sp.pi * x) * sp.cos(2 * sp.pi * y) / 2
    start += (sp.cos(3 * sp.pi * (y + 1) / 2) - sp.cos(sp.pi * (x + 1) / 2)) / 4
    return PDE(
        name="fitzhugh_nagumo",
        equations=[
            sp.Eq(u.diff(T), first * laplacian(u, (x, y)) + u - u**3 - k - v),
            sp.Eq(v.diff(T), second * laplacian(v, (x, y)) + u - v),
        ],
        domain=Rectangle((x, y), (-1, -1), (1, 1)) * Time(T, 0, exact_number("duration", duration)),
        conditions=[Initial(u, start), Initial(v, 0), Neumann(u, 0), Neumann(v, 0)],
        description="FitzHugh–Nagumo reaction and diffusion between impermeable walls",
    )
