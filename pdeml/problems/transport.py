"""Transport and diffusion: Burgers, convection, convection–diffusion, heat, waves."""

from __future__ import annotations

import math

import sympy as sp

from pdeml.domains import Interval, Time
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial, Parameter, Periodic
from pdeml.operators.special import BurgersSine
from pdeml.problems.cube import unit_axes, unit_box
from pdeml.problems.torus import T, advected, axes, laplacian, periodic, periodic_box, velocity


def burgers(nu: float = 0.01 / math.pi) -> PDE:
    """Viscous Burgers equation from a sine, periodic in space.

        u_t + u u_x = ν u_xx,   x ∈ [−1, 1],  t ∈ [0, 1],   u(x, 0) = −sin πx

    The wave steepens and forms a shock of width ~ν at x = 0 at t = 1/π, then decays. Odd symmetry
    makes u(±1, t) = 0 too, so that it equals the usual problem with Dirichlet conditions.
    Good values: ν = 0.01/π (the PINN benchmark); ν = 0.1 is smooth. Exact solution by the Cole–Hopf
    integral.

    References
    ----------
    Basdevant et al. (1986), Computers & Fluids 14; Raissi, Perdikaris, Karniadakis (2019),
    J. Comput. Phys. 378.
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    viscosity = Parameter("nu", nu, positive=True)
    return PDE(
        name="burgers",
        equations=[sp.Eq(u.diff(t) + u * u.diff(x), viscosity * u.diff(x, 2))],
        domain=Interval(x, -1, 1) * Time(t, 0, 1),
        conditions=[Initial(u, -sp.sin(sp.pi * x)), Periodic(u, x)],
        exact={u: BurgersSine(x, t, viscosity)},
        description="Viscous Burgers equation from a sine",
    )


def burgers_gaussian(nu: float = 0.03) -> PDE:
    """Viscous Burgers equation from a bump, periodic in space.

        u_t + ½ (u²)_x = ν u_xx,   x ∈ [−π, π],  t ∈ [0, 1],   u(x, 0) = exp(−10 sin²(x/2))

    The bump leans to the right into a front of width ~ν. Its mean 0.183540812609 is conserved.
    Good values: ν = 0.03 (Kassam and Trefethen); ν = 0.1 is smooth. Reference by ``"spectral"``.

    References
    ----------
    Kassam, Trefethen (2005), SIAM J. Sci. Comput. 26, 1214.
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    viscosity = Parameter("nu", nu, positive=True)
    return PDE(
        name="burgers_gaussian",
        equations=[sp.Eq(u.diff(t) + (u**2 / 2).diff(x), viscosity * u.diff(x, 2))],
        domain=Interval(x, -sp.pi, sp.pi) * Time(t, 0, 1),
        conditions=[Initial(u, sp.exp(-10 * sp.sin(x / 2) ** 2)), Periodic(u, x)],
        description="Viscous Burgers equation from a bump",
    )


def vector_burgers(dim: int = 2, nu: float = 0.1, amplitude: float = 0.5) -> PDE:
    """Viscous Burgers equation for a velocity with one component per dimension.

        u_t + (u·∇)u = ν Δu,   x ∈ [0, 1]^d,  t ∈ [0, 1]

    The start is such that the solution is known (Cole–Hopf): with the heat solution
    φ = 1 + a e^{−4π²dνt} Π_i cos 2πx_i it is u = −2ν ∇φ/φ, a pattern of sinks, sharper towards
    a = 1. For d = 1 and ν = 0.1 the equation is that of the Fourier neural operator's data, whose
    starts `pdeml.probability.fno_burgers` draws.
    Good values: a = 0.5 (smooth), 0.9 (narrow sinks); ν = 0.1, 0.01 (scales time and velocity).

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3; components u, v, w.
    nu : ν > 0.
    amplitude : a, between −0.99 and 0.99.

    References
    ----------
    Cole (1951), Q. Appl. Math. 9, 225; Hopf (1950), Commun. Pure Appl. Math. 3, 201.
    """
    x = axes(dim)
    u = velocity(x)
    viscosity = Parameter("nu", nu, positive=True)
    a = Parameter("a", amplitude, range=(-0.99, 0.99))
    decay = sp.exp(-4 * sp.pi**2 * dim * viscosity * T)
    phi = 1 + a * decay * sp.Mul(*(sp.cos(2 * sp.pi * axis) for axis in x))
    exact = {ui: -2 * viscosity * phi.diff(axis) / phi for ui, axis in zip(u, x, strict=True)}
    return PDE(
        name="vector_burgers",
        equations=[
            sp.Eq(ui.diff(T) + advected(u, ui, x), viscosity * laplacian(ui, x)) for ui in u
        ],
        domain=periodic_box(x) * Time(T, 0, 1),
        conditions=[*(Initial(ui, exact[ui].subs(T, 0)) for ui in u), *periodic(u, x)],
        exact=exact,
        description=f"Viscous Burgers equation in dimension {dim}, a potential flow",
        fields=u,
    )


def convection(speed: float = 30.0) -> PDE:
    """Linear convection of a sine, periodic in space.

        u_t + c u_x = 0,   x ∈ [0, 2π],  t ∈ [0, 1],   u(x, 0) = sin x

    The profile travels unchanged: u = sin(x − ct). Small losses hide wrong solutions here: for
    c ≳ 20 a network with x and t as inputs tends to satisfy the equation almost everywhere and yet
    lose the initial value with time.
    Good values: c = 30, 50 (a plain PINN fails); c = 1 is easy.

    References
    ----------
    Krishnapriyan et al. (2021), NeurIPS 34; Mojgani, Balajewicz, Hassanzadeh (2023), Comput.
    Methods Appl. Mech. Eng. 404, 115810.
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    c = Parameter("c", speed)
    return PDE(
        name="convection",
        equations=[sp.Eq(u.diff(t) + c * u.diff(x), 0)],
        domain=Interval(x, 0, 2 * sp.pi) * Time(t, 0, 1),
        conditions=[Initial(u, sp.sin(x)), Periodic(u, x)],
        exact={u: sp.sin(x - c * t)},
        description="Linear convection of a sine",
    )


def convection_diffusion(speed: float = 30.0, diffusivity: float = 0.01) -> PDE:
    """Linear convection and diffusion of a sine, periodic in space.

        u_t + c u_x = D u_xx,   x ∈ [0, 2π],  t ∈ [0, 1],   u(x, 0) = sin x

    The profile travels with speed c and decays: u = e^{−Dt} sin(x − ct).
    Good values: c = 30 … 50 with D = 0.01 (convection dominates); c = 1, D = 0.1 is easy.

    References
    ----------
    Mojgani, Balajewicz, Hassanzadeh (2023), Comput. Methods Appl. Mech. Eng. 404, 115810.
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    c, D = Parameter("c", speed), Parameter("D", diffusivity, positive=True)
    return PDE(
        name="convection_diffusion",
        equations=[sp.Eq(u.diff(t) + c * u.diff(x), D * u.diff(x, 2))],
        domain=Interval(x, 0, 2 * sp.pi) * Time(t, 0, 1),
        conditions=[Initial(u, sp.sin(x)), Periodic(u, x)],
        exact={u: sp.exp(-D * t) * sp.sin(x - c * t)},
        description="Linear convection and diffusion of a sine",
    )


def heat(dim: int = 1, diffusivity: float = 0.1) -> PDE:
    """Heat equation in the unit cube with cold walls.

        u_t = D Δu,   x ∈ [0, 1]^d,  t ∈ [0, 1],   u = 0 on the boundary,   u(x, 0) = Π_i sin πx_i

    The lowest mode decays: u = e^{−Dπ²dt} Π_i sin πx_i.
    Good values: D = 0.1 with d = 1 … 3; the decay rate D π² d grows with the dimension.

    Parameters
    ----------
    dim : number of space dimensions d ≥ 1.
    diffusivity : D > 0.

    References
    ----------
    Evans (2010), Partial Differential Equations, §4.1 (separation of variables).
    """
    x, t = unit_axes(dim), sp.Symbol("t", real=True)
    u = Field("u", *x, t)
    D = Parameter("D", diffusivity, positive=True)
    mode = sp.Mul(*(sp.sin(sp.pi * c) for c in x))
    return PDE(
        name="heat",
        equations=[sp.Eq(u.diff(t), D * sp.Add(*(u.diff(c, 2) for c in x)))],
        domain=unit_box(x) * Time(t, 0, 1),
        conditions=[Initial(u, mode), Dirichlet(u, 0)],
        exact={u: sp.exp(-D * sp.pi**2 * dim * t) * mode},
        description=f"Heat equation in the unit cube of dimension {dim}",
    )


def wave(speed: float = 2.0) -> PDE:
    """Wave equation of a string with fixed ends, two standing waves.

        u_tt = c² u_xx,   x ∈ [0, 1],  t ∈ [0, 1],   u(0, t) = u(1, t) = 0,
        u(x, 0) = sin πx + ½ sin 4πx,   u_t(x, 0) = 0

    The solution is u = sin πx cos cπt + ½ sin 4πx cos 4cπt; the fast mode is what networks miss.
    Good values: c = 2 (the PINN benchmark); c = 1 is easier.

    References
    ----------
    Wang, Yu, Perdikaris (2022), J. Comput. Phys. 449, 110768.
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    c = Parameter("c", speed, positive=True)
    exact = sp.sin(sp.pi * x) * sp.cos(c * sp.pi * t)
    exact += sp.sin(4 * sp.pi * x) * sp.cos(4 * c * sp.pi * t) / 2
    return PDE(
        name="wave",
        equations=[sp.Eq(u.diff(t, 2), c**2 * u.diff(x, 2))],
        domain=Interval(x, 0, 1) * Time(t, 0, 1),
        conditions=[Initial(u, exact.subs(t, 0)), Initial(u.diff(t), 0), Dirichlet(u, 0)],
        exact={u: exact},
        description="Wave equation of a string, two standing waves",
    )
