"""Incompressible flow: vorticity and stream function, velocity and pressure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from pdeml.domains import Rectangle, Time
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Parameter
from pdeml.problems.torus import (
    T,
    advected,
    axes,
    divergence,
    exact_number,
    laplacian,
    periodic,
    periodic_box,
    velocity,
)


def _vorticity_equations(
    omega: Any, psi: Any, x: Sequence[sp.Symbol], nu: Any, beta: Any = 0, drag: Any = 0
) -> tuple[sp.Expr, sp.Eq]:
    """ω_t + u·∇ω + βv − νΔω + μω with u = ψ_y, v = −ψ_x, and Δψ = −ω."""
    flow = psi.diff(x[1]), -psi.diff(x[0])
    left = omega.diff(T) + advected(flow, omega, x) + beta * flow[1]
    return left - nu * laplacian(omega, x) + drag * omega, sp.Eq(laplacian(psi, x), -omega)


def navier_stokes_vorticity(
    nu: float = 1e-3,
    beta: float = 0.0,
    drag: float = 0.0,
    forcing: float = 0.1,
    duration: float = 5.0,
) -> PDE:
    """Two-dimensional Navier–Stokes equations for the vorticity, forced, on the unit torus.

        ω_t + u·∇ω + β v = ν Δω − μ ω + f (sin 2π(x+y) + cos 2π(x+y)),   Δψ = −ω,
        u = ψ_y,   v = −ψ_x,   x, y ∈ [0, 1],  t ∈ [0, 5],
        ω(x, y, 0) = sin 2π(x+2y) + cos 2π(3x−y) + ½ sin 2π(2x+3y)

    ω = v_x − u_y. Vortices of one sign merge while enstrophy cascades to small scales; with β > 0
    (rotation that varies with y) they stretch into zonal jets. Without force, viscosity and drag
    energy and enstrophy are conserved.
    Good values: ν = 1e-3 (smooth), 1e-4, 1e-5 (turbulent) with f = 0.1, β = μ = 0 (the data of the
    Fourier neural operator, whose starts `pdeml.probability.fno_navier_stokes` draws; t up to 50,
    30 and 20). No closed form: reference by ``"spectral"``.

    Parameters
    ----------
    nu : ν > 0.
    beta : β, change of the Coriolis parameter with y.
    drag : μ ≥ 0, linear friction.
    forcing : f, amplitude of the force.
    duration : end of time.

    References
    ----------
    Li et al. (2021), Fourier neural operator for parametric PDEs, ICLR, §5.3; Vallis (2017),
    Atmospheric and oceanic fluid dynamics, Cambridge (β-plane).
    """
    x, y = axes(2)
    omega, psi = Field("omega", x, y, T), Field("psi", x, y, T)
    viscosity = Parameter("nu", nu, positive=True)
    b, mu, f = (
        Parameter(name, value) for name, value in (("beta", beta), ("mu", drag), ("f", forcing))
    )
    left, poisson = _vorticity_equations(omega, psi, (x, y), viscosity, b, mu)
    turn = 2 * sp.pi
    start = sp.sin(turn * (x + 2 * y)) + sp.cos(turn * (3 * x - y))
    start += sp.sin(turn * (2 * x + 3 * y)) / 2
    force = f * (sp.sin(turn * (x + y)) + sp.cos(turn * (x + y)))
    return PDE(
        name="navier_stokes_vorticity",
        equations=[sp.Eq(left, force), poisson],
        domain=periodic_box((x, y)) * Time(T, 0, exact_number("duration", duration)),
        conditions=[Initial(omega, start), *periodic([omega, psi], (x, y))],
        description="Two-dimensional Navier–Stokes equations for vorticity and stream function",
        fields=(omega, psi),
    )


def taylor_green_vortex(nu: float = 0.01) -> PDE:
    """Decaying array of vortices, an exact solution of the Navier–Stokes equations in the plane.

        ω_t + u·∇ω = ν Δω,   Δψ = −ω,   u = ψ_y,   v = −ψ_x,   x, y ∈ [0, 2π],  t ∈ [0, 1],
        ω = 2 e^{−2νt} sin x sin y,   ψ = e^{−2νt} sin x sin y

    The nonlinear term vanishes, so that any stepper with exact diffusion is exact: a test of signs
    and of the Poisson equation, not of the order. Good values: ν = 0.01; any.

    Parameters
    ----------
    nu : ν > 0.

    References
    ----------
    Taylor, Green (1937), Proc. R. Soc. A 158, 499.
    """
    x, y = axes(2)
    omega, psi = Field("omega", x, y, T), Field("psi", x, y, T)
    viscosity = Parameter("nu", nu, positive=True)
    left, poisson = _vorticity_equations(omega, psi, (x, y), viscosity)
    stream = sp.exp(-2 * viscosity * T) * sp.sin(x) * sp.sin(y)
    return PDE(
        name="taylor_green_vortex",
        equations=[sp.Eq(left, 0), poisson],
        domain=periodic_box((x, y), 2 * sp.pi) * Time(T, 0, 1),
        conditions=[Initial(omega, 2 * stream.subs(T, 0)), *periodic([omega, psi], (x, y))],
        exact={omega: 2 * stream, psi: stream},
        description="Taylor–Green vortices in the plane, vorticity and stream function",
        fields=(omega, psi),
    )


def rossby_wave(beta: float = 8.0, nu: float = 0.01, drag: float = 0.05) -> PDE:
    """Rossby waves on the β-plane, an exact solution of the full vorticity equation.

        ω_t + u·∇ω + β v = ν Δω − μ ω,   Δψ = −ω,   u = ψ_y,   v = −ψ_x,
        x, y ∈ [0, 2π],  t ∈ [0, 1],
        ψ = e^{−(5ν+μ)t} (cos(ξ + 2y) + ½ sin(2ξ − y)),   ξ = x + βt/5,   ω = 5ψ

    Both waves have |k|² = 5, so that the nonlinear term vanishes and the pattern drifts westward as
    one. The linear symbol is complex. Good values: β = 8, ν = 0.01, μ = 0.05.

    Parameters
    ----------
    beta : β.
    nu : ν > 0.
    drag : μ.

    References
    ----------
    Vallis (2017), Atmospheric and oceanic fluid dynamics, Cambridge (Rossby waves).
    """
    x, y = axes(2)
    omega, psi = Field("omega", x, y, T), Field("psi", x, y, T)
    viscosity = Parameter("nu", nu, positive=True)
    b, mu = Parameter("beta", beta), Parameter("mu", drag)
    left, poisson = _vorticity_equations(omega, psi, (x, y), viscosity, b, mu)
    xi = x + b * T / 5
    stream = sp.exp(-(5 * viscosity + mu) * T)
    stream *= sp.cos(xi + 2 * y) + sp.sin(2 * xi - y) / 2
    return PDE(
        name="rossby_wave",
        equations=[sp.Eq(left, 0), poisson],
        domain=periodic_box((x, y), 2 * sp.pi) * Time(T, 0, 1),
        conditions=[Initial(omega, 5 * stream.subs(T, 0)), *periodic([omega, psi], (x, y))],
        exact={omega: 5 * stream, psi: stream},
        description="Rossby waves on the β-plane, vorticity and stream function",
        fields=(omega, psi),
    )


def _momentum(u: Sequence[Any], p: Any, x: Sequence[sp.Symbol], viscosity: Any) -> list[sp.Eq]:
    """u_t + (u·∇)u = −∇p + νΔu for each component, and ∇·u = 0."""
    balance = [
        sp.Eq(ui.diff(T) + advected(u, ui, x), -p.diff(axis) + viscosity * laplacian(ui, x))
        for ui, axis in zip(u, x, strict=True)
    ]
    return [*balance, sp.Eq(divergence(u, x), 0)]


def navier_stokes(dim: int = 3, nu: float = 0.01, duration: float = 2.0) -> PDE:
    """Incompressible Navier–Stokes equations for velocity and pressure: Taylor–Green vortices.

        u_t + (u·∇)u = −∇p + ν Δu,   ∇·u = 0,   x ∈ [0, 2π]^d,  t ∈ [0, 2],
        d = 3:  u = sin x cos y cos z,   v = −cos x sin y cos z,   w = 0   at t = 0
        d = 2:  u = e^{−2νt} sin x cos y,   v = −e^{−2νt} cos x sin y,
                p = ¼ e^{−4νt} (cos 2x + cos 2y)

    In the plane the vortices decay as they are. In space they stretch each other into ever smaller
    ones: the standard passage to turbulence, with the strongest dissipation at t ≈ 9 for ν = 1/1600
    (give ``duration=20``). The pressure has mean zero.
    Good values: ν = 0.01 (laminar), 1/100 … 1/1600. No closed form for d = 3: reference by
    ``"spectral"``.

    Parameters
    ----------
    dim : number of space dimensions d, 2 or 3.
    nu : ν > 0, the inverse Reynolds number.
    duration : end of time.

    References
    ----------
    Taylor, Green (1937), Proc. R. Soc. A 158, 499; Brachet et al. (1983), J. Fluid Mech. 130, 411.
    """
    x = axes(dim, least=2)
    u, p = velocity(x), Field("p", *x, T)
    viscosity = Parameter("nu", nu, positive=True)
    height = sp.cos(x[2]) if dim == 3 else sp.Integer(1)
    start = [sp.sin(x[0]) * sp.cos(x[1]) * height, -sp.cos(x[0]) * sp.sin(x[1]) * height]
    start += [sp.Integer(0)] * (dim - 2)
    exact = None
    if dim == 2:
        decay = sp.exp(-2 * viscosity * T)
        exact = {ui: decay * value for ui, value in zip(u, start, strict=True)}
        exact[p] = decay**2 * (sp.cos(2 * x[0]) + sp.cos(2 * x[1])) / 4
    return PDE(
        name="navier_stokes",
        equations=_momentum(u, p, x, viscosity),
        domain=periodic_box(x, 2 * sp.pi) * Time(T, 0, exact_number("duration", duration)),
        conditions=[
            *(Initial(ui, value) for ui, value in zip(u, start, strict=True)),
            *periodic([*u, p], x),
        ],
        exact=exact,
        description=f"Taylor–Green vortices in dimension {dim}, velocity and pressure",
        fields=(*u, p),
    )


def abc_flow(nu: float = 0.1, a: float = 1.0, b: float = 1.0, c: float = 1.0) -> PDE:
    """Arnold–Beltrami–Childress flow, an exact three-dimensional Navier–Stokes solution.

        u_t + (u·∇)u = −∇p + ν Δu,   ∇·u = 0,   x, y, z ∈ [0, 2π],  t ∈ [0, 1],
        u = e^{−νt} (a sin z + c cos y),   v = e^{−νt} (b sin x + a cos z),
        w = e^{−νt} (c sin y + b cos x),   p = ½ e^{−2νt} (a² + b² + c²) − ½|u|²

    The vorticity equals the velocity, so that the flow decays with its shape while the nonlinear
    term, not zero here, is all pressure. Particle paths are chaotic; the flow itself is unstable
    for small ν.
    Good values: a = b = c = 1, ν = 0.1.

    Parameters
    ----------
    nu : ν > 0.
    a, b, c : amplitudes.

    References
    ----------
    Dombre et al. (1986), J. Fluid Mech. 167, 353.
    """
    x, y, z = axes(3)
    u, p = velocity((x, y, z)), Field("p", x, y, z, T)
    viscosity = Parameter("nu", nu, positive=True)
    A, B, C = Parameter("a", a), Parameter("b", b), Parameter("c", c)
    shape = (
        A * sp.sin(z) + C * sp.cos(y),
        B * sp.sin(x) + A * sp.cos(z),
        C * sp.sin(y) + B * sp.cos(x),
    )
    decay = sp.exp(-viscosity * T)
    exact = {ui: decay * value for ui, value in zip(u, shape, strict=True)}
    exact[p] = decay**2 * (A**2 + B**2 + C**2 - sp.Add(*(value**2 for value in shape))) / 2
    return PDE(
        name="abc_flow",
        equations=_momentum(u, p, (x, y, z), viscosity),
        domain=periodic_box((x, y, z), 2 * sp.pi) * Time(T, 0, 1),
        conditions=[
            *(Initial(ui, value) for ui, value in zip(u, shape, strict=True)),
            *periodic([*u, p], (x, y, z)),
        ],
        exact=exact,
        description="Arnold–Beltrami–Childress flow, velocity and pressure",
        fields=(*u, p),
    )


def stokes(nu: float = 1.0) -> PDE:
    """Stokes flow in a closed box, with a manufactured load.

        −ν Δu + ∇p = f,   ∇·u = 0,   (x, y) ∈ [0, 1]²,   u = 0 on the boundary

    The flow is that of the stream function ψ = x²(1 − x)² y²(1 − y)², u = ψ_y, v = −ψ_x, with the
    pressure p = x³ − 1/4, which is fixed up to a constant only (its mean is 0). The equations have
    no rate of p: a method needs spaces for u and p that fit together (Taylor–Hood elements).
    Good values: ν = 1; small ν let the pressure dominate.

    Parameters
    ----------
    nu : ν > 0.

    References
    ----------
    Elman, Silvester, Wathen (2014), Finite elements and fast iterative solvers, Oxford, §3.
    """
    x, y = sp.symbols("x y", real=True)
    u, v, p = (Field(name, x, y) for name in "uvp")
    viscosity = Parameter("nu", nu, positive=True)
    psi = x**2 * (1 - x) ** 2 * y**2 * (1 - y) ** 2
    exact = {u: psi.diff(y), v: -psi.diff(x), p: x**3 - sp.Rational(1, 4)}

    def load(w: sp.Expr, pressure: sp.Expr, c: sp.Symbol) -> sp.Expr:
        return pressure.diff(c) - viscosity * (w.diff(x, 2) + w.diff(y, 2))

    return PDE(
        name="stokes",
        equations=[
            *(sp.Eq(load(w, p, c), load(exact[w], exact[p], c)) for w, c in ((u, x), (v, y))),
            sp.Eq(u.diff(x) + v.diff(y), 0),
        ],
        domain=Rectangle((x, y), (0, 0), (1, 1)),
        conditions=[Dirichlet(u, 0), Dirichlet(v, 0)],
        exact=exact,
        description="Stokes flow in a closed box with a manufactured load",
        fields=[u, v, p],
    )
