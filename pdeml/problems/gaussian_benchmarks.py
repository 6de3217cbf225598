"""Problems in two space dimensions and time on which mesh-like networks are compared."""

from __future__ import annotations

import sympy as sp

from pdeml.domains import Rectangle, Time
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Parameter

TINY = sp.Rational(1, 10**20)
"""Added to r²: the quotients by r then take their limits at the centre."""


def klein_gordon_plane(frequency: float = 2.0, duration: float = 10.0) -> PDE:
    """Klein–Gordon equation in the plane with a manufactured source.

        u_tt − u_xx − u_yy + u² = f,   (x, y) ∈ [−1, 1]²,  t ∈ [0, T],
        u = x + y,  u_t = k x y at t = 0,   u = (x + y) cos kt + x y sin kt on the sides

    The boundary values are those of the solution itself, f = u² − k²u. Without the initial velocity
    the problem has many solutions: published runs leave it out.
    Good values: k = 2, T = 10 (a benchmark of separable networks); T = 2 is easy.

    Parameters
    ----------
    frequency : k.
    duration : T.

    References
    ----------
    Cho et al. (2023), NeurIPS 36 (Separable PINN), (2+1)-d Klein–Gordon equation.
    """
    x, y, t = sp.symbols("x y t", real=True)
    u, k = Field("u", x, y, t), Parameter("k", frequency)
    exact = (x + y) * sp.cos(k * t) + x * y * sp.sin(k * t)
    wave = u.diff(t, 2) - u.diff(x, 2) - u.diff(y, 2)
    return PDE(
        name="klein_gordon_plane",
        equations=[sp.Eq(wave + u**2, exact**2 - k**2 * exact)],
        domain=Rectangle((x, y), (-1, -1), (1, 1)) * Time(t, 0, duration),
        conditions=[
            *(Initial(u, x + y), Initial(u.diff(t), k * x * y)),
            Dirichlet(u, exact),
        ],
        exact={u: exact},
        description="Klein–Gordon equation in the plane with a manufactured source",
    )


def flow_mixing(duration: float = 4.0) -> PDE:
    """Two fluids mixed by a vortex.

        u_t + a u_x + b u_y = 0,   (x, y) ∈ [−4, 4]²,  t ∈ [0, T],
        (a, b) = ω (−y, x),   ω = sech²r tanh r / (r v),   v = 0.385,
        u = −tanh(½(y cos ωt − x sin ωt))

    The front between the fluids is wound up into a spiral, whose arms are 0.4 apart at T = 4: no
    part of it ever becomes sharper by itself, but neighbouring arms do come closer. The values on
    the sides and at the start are those of the solution.
    Good values: T = 4 (the benchmark); T = 1 is a quarter of a turn.

    Parameters
    ----------
    duration : T.

    References
    ----------
    Tamamidis, Assanis (1993), J. Fluids Eng. 115, 735; Cho et al. (2023), NeurIPS 36.
    """
    x, y, t = sp.symbols("x y t", real=True)
    u = Field("u", x, y, t)
    r = sp.sqrt(x**2 + y**2 + TINY)
    omega = sp.tanh(r) / (r * sp.cosh(r) ** 2) / sp.Rational(385, 1000)
    exact = -sp.tanh((y * sp.cos(omega * t) - x * sp.sin(omega * t)) / 2)
    return PDE(
        name="flow_mixing",
        equations=[sp.Eq(u.diff(t) - omega * y * u.diff(x) + omega * x * u.diff(y), 0)],
        domain=Rectangle((x, y), (-4, -4), (4, 4)) * Time(t, 0, duration),
        conditions=[Initial(u, exact.subs(t, 0)), Dirichlet(u, exact)],
        exact={u: exact},
        description="Two fluids mixed by a vortex",
    )


def quadratic_diffusion(alpha: float = 0.05) -> PDE:
    """Diffusion in proportion to the density, of three bumps.

        u_t = (α/2) Δ(u²) = α(|∇u|² + u Δu),   (x, y) ∈ [−1, 1]²,  t ∈ [0, 1],
        u = ¼ e^{−10((x−.3)²+(y−.2)²)} + 0.4 e^{−15((x+.5)²+(y+.1)²)} + 0.3 e^{−20(x²+(y+.5)²)}
        at t = 0,   u = 0 on the sides

    Where u = 0 nothing diffuses: a bump keeps a finite support and a steep foot. The start is not 0
    on the sides (9.4e-3 near (−1, −0.1)), which leaves a jump there at t = 0, as published.
    Good values: α = 0.05. No closed form: reference by ``"fem"``.

    Parameters
    ----------
    alpha : α > 0.

    References
    ----------
    Vázquez (2007), The porous medium equation, Oxford, ch. 1 (m = 2); Cho et al. (2023), NeurIPS 36
    (these data).
    """
    x, y, t = sp.symbols("x y t", real=True)
    u, a = Field("u", x, y, t), Parameter("alpha", alpha, positive=True)

    def bump(height: float, rate: int, centre: tuple[float, float]) -> sp.Expr:
        squares = ((s - sp.nsimplify(c)) ** 2 for s, c in zip((x, y), centre, strict=True))
        return sp.nsimplify(height) * sp.exp(-rate * sp.Add(*squares))

    start = bump(0.25, 10, (0.3, 0.2)) + bump(0.4, 15, (-0.5, -0.1)) + bump(0.3, 20, (0, -0.5))
    square = a / 2 * u**2
    return PDE(
        name="quadratic_diffusion",
        equations=[sp.Eq(u.diff(t), square.diff(x, 2) + square.diff(y, 2))],
        domain=Rectangle((x, y), (-1, -1), (1, 1)) * Time(t, 0, 1),
        conditions=[Initial(u, start), Dirichlet(u, 0)],
        description="Diffusion in proportion to the density, of three bumps",
    )
