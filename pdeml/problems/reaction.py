"""Reaction: Allen–Cahn and Klein–Gordon."""

from __future__ import annotations

import sympy as sp

from pdeml.domains import Interval, Time
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Parameter, Periodic


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
