"""Dispersive waves: Korteweg–de Vries and the nonlinear Schrödinger equation."""

from __future__ import annotations

import sympy as sp

from pdeml.domains import Interval, Time
from pdeml.operators.pde import PDE, Field, Initial, Parameter, Periodic
from pdeml.problems.torus import T, axes, laplacian, periodic, periodic_box


def kdv(dispersion: float = 0.022) -> PDE:
    """Korteweg–de Vries equation from a cosine, periodic in space.

        u_t + u u_x + δ² u_xxx = 0,   x ∈ [−1, 1],  t ∈ [0, 1],   u(x, 0) = cos πx

    The wave steepens until dispersion breaks it, near t = 1/π, into a train of solitons that pass
    through each other. Mass ∫u and ∫u² are conserved.
    Good values: δ = 0.022 (Zabusky and Kruskal); δ = 0.1 is easy. No closed form for this start:
    reference by ``"spectral"``.

    References
    ----------
    Zabusky, Kruskal (1965), Phys. Rev. Lett. 15, 240, eq. 1.
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    delta = Parameter("delta", dispersion)
    return PDE(
        name="kdv",
        equations=[sp.Eq(u.diff(t) + u * u.diff(x) + delta**2 * u.diff(x, 3), 0)],
        domain=Interval(x, -1, 1) * Time(t, 0, 1),
        conditions=[Initial(u, sp.cos(sp.pi * x)), Periodic(u, x)],
        description="Korteweg–de Vries equation from a cosine",
    )


def kdv_burgers(a: float = -6.0, b: float = 1.0, nu: float = 0.0, zeta: float = 0.0) -> PDE:
    """Korteweg–de Vries equation with any coefficients, viscosity and hyper-viscosity.

        u_t + a u u_x + b u_xxx = ν u_xx − ζ u_xxxx,   x ∈ [0, 20],  t ∈ [0, ½],
        u(x, 0) = exp(sin 2πx/20) − 1

    With ν = ζ = 0 (the default) ∫u and ∫u² are conserved; a small ν > 0 makes shocks with an
    oscillating side. The linear symbol is imaginary: a time stepper that is right for diffusion
    only loses its order here.
    Good values: a = −6 or 6, b = 1 (inverse scattering), a = 1, b = 0.022² (`kdv`); ζ = 0.01 tames
    coarse runs. No closed form for this start: reference by ``"spectral"``.

    Parameters
    ----------
    a, b : coefficients of the nonlinear and the dispersive term.
    nu, zeta : ν, ζ ≥ 0.

    References
    ----------
    Korteweg, de Vries (1895), Phil. Mag. 39, 422; Su, Gardner (1969), J. Math. Phys. 10, 536 (ν).
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    A, B, viscosity, hyper = (
        Parameter(name, value) for name, value in (("a", a), ("b", b), ("nu", nu), ("zeta", zeta))
    )
    waves = A * u * u.diff(x) + B * u.diff(x, 3)
    return PDE(
        name="kdv_burgers",
        equations=[sp.Eq(u.diff(t) + waves, viscosity * u.diff(x, 2) - hyper * u.diff(x, 4))],
        domain=Interval(x, 0, 20) * Time(t, 0, sp.Rational(1, 2)),
        conditions=[Initial(u, sp.exp(sp.sin(sp.pi * x / 10)) - 1), Periodic(u, x)],
        description="Korteweg–de Vries–Burgers equation from a smooth bump",
    )


def kdv_soliton(speed: float = 4.0) -> PDE:
    """One soliton of the Korteweg–de Vries equation.

        u_t + 6 u u_x + u_xxx = 0,   x ∈ [−20, 20],  t ∈ [0, 1],
        u = (c/2) sech²(½√c (x − c(t − ½)))

    The wave keeps its shape: what the nonlinearity steepens, dispersion spreads. It belongs to the
    whole line; at the ends of the box it is below 1e-14 of its height for 4 ≤ c ≤ 16.
    Good values: c = 4 (height 2); c = 9 is narrower and faster.

    Parameters
    ----------
    speed : c > 0, also twice the height.

    References
    ----------
    Drazin, Johnson (1989), Solitons: an introduction, Cambridge, ch. 1.
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    c = Parameter("c", speed, positive=True)
    exact = c / (2 * sp.cosh(sp.sqrt(c) / 2 * (x - c * (t - sp.Rational(1, 2)))) ** 2)
    return PDE(
        name="kdv_soliton",
        equations=[sp.Eq(u.diff(t) + 6 * u * u.diff(x) + u.diff(x, 3), 0)],
        domain=Interval(x, -20, 20) * Time(t, 0, 1),
        conditions=[Initial(u, exact.subs(t, 0)), Periodic(u, x)],
        exact={u: exact},
        description="One soliton of the Korteweg–de Vries equation",
    )


def kdv_two_solitons(fast: float = 25.0, slow: float = 16.0) -> PDE:
    """Two solitons of the Korteweg–de Vries equation, the faster behind the slower.

        u_t + u u_x + u_xxx = 0,   x ∈ [−π, π],  t ∈ [0, 0.006],
        u(x, 0) = 3A² sech²(½A(x + 2)) + 3B² sech²(½B(x + 1))

    The first overtakes the second and both go on with their shapes, A² t and B² t further and
    shifted in phase. The dispersive term is stiff: explicit steppers need steps of the order of
    (Δx)³.
    Good values: A = 25, B = 16. The sum is no closed form of the interaction: reference by
    ``"spectral"`` (at least 384 points).

    Parameters
    ----------
    fast, slow : A and B.

    References
    ----------
    Trefethen (2000), Spectral methods in MATLAB, SIAM, program 27.
    """
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    A, B = Parameter("A", fast, positive=True), Parameter("B", slow, positive=True)
    start = 3 * A**2 / sp.cosh(A * (x + 2) / 2) ** 2 + 3 * B**2 / sp.cosh(B * (x + 1) / 2) ** 2
    return PDE(
        name="kdv_two_solitons",
        equations=[sp.Eq(u.diff(t) + u * u.diff(x) + u.diff(x, 3), 0)],
        domain=Interval(x, -sp.pi, sp.pi) * Time(t, 0, sp.Rational(6, 1000)),
        conditions=[Initial(u, start), Periodic(u, x)],
        description="Two solitons of the Korteweg–de Vries equation",
    )


def nonlinear_schroedinger(dim: int = 1, interaction: float = 1.0) -> PDE:
    """Cubic nonlinear Schrödinger equation, a complex field.

        i h_t + ½ Δh + κ |h|² h = 0,   x ∈ [−5, 5]^d,  t ∈ [0, π/2],
        h(x, 0) = 2 sech x for d = 1,   exp(−|x|²) for d > 1

    For d = 1 and κ = 1 the start is a bound state of two solitons, which breathes with period π/2
    (on the whole line: the ends of this box are seen at 1e-2). For d > 1 the start spreads. Mass
    ∫|h|² and energy ∫(½|∇h|² − ½κ|h|⁴) are conserved.
    Good values: κ = 1 (focusing), κ = −1 (defocusing). For d ≥ 2 and κ > 0 large starts blow up in
    finite time. No closed form in the box: reference by ``"spectral"``.

    Parameters
    ----------
    dim : number of space dimensions d, 1 to 3.
    interaction : κ.

    References
    ----------
    Raissi, Perdikaris, Karniadakis (2019), J. Comput. Phys. 378, §3.1.1.
    """
    x = axes(dim)
    h = Field("h", *x, T, dtype=complex)
    kappa = Parameter("kappa", interaction)
    start = 2 / sp.cosh(x[0]) if dim == 1 else sp.exp(-sp.Add(*(axis**2 for axis in x)))
    cubic = kappa * h**2 * sp.conjugate(h)
    return PDE(
        name="nonlinear_schroedinger",
        equations=[sp.Eq(sp.I * h.diff(T) + laplacian(h, x) / 2 + cubic, 0)],
        domain=periodic_box(x, 10, -5) * Time(T, 0, sp.pi / 2),
        conditions=[Initial(h, start), *periodic([h], x)],
        description=f"Cubic nonlinear Schrödinger equation in dimension {dim}",
    )


def schroedinger_soliton(height: float = 2.0, winding: int = 3) -> PDE:
    """One travelling soliton of the cubic Schrödinger equation, a complex field.

        i h_t + ½ h_xx + |h|² h = 0,   x ∈ [−20, 20],  t ∈ [0, 2],
        h = η sech(η(x − vt)) exp(i(vx + ½(η² − v²)t)),   v = πm/20

    The envelope keeps its shape while the phase turns. It belongs to the whole line; for η ≥ 2 and
    |v| ≤ 1 the ends of the box see less than 1e-14 of it, and v makes the phase fit the box.
    Good values: η = 2, m = 3; larger η is narrower and its phase faster.

    Parameters
    ----------
    height : η > 0, inverse width too.
    winding : m, turns of the phase along the box.

    References
    ----------
    Zakharov, Shabat (1972), Sov. Phys. JETP 34, 62.
    """
    x, t = sp.symbols("x t", real=True)
    h = Field("h", x, t, dtype=complex)
    eta, m = Parameter("eta", height, positive=True), Parameter("m", winding, integer=True)
    v = sp.pi * m / 20
    exact = eta / sp.cosh(eta * (x - v * t)) * sp.exp(sp.I * (v * x + (eta**2 - v**2) * t / 2))
    return PDE(
        name="schroedinger_soliton",
        equations=[sp.Eq(sp.I * h.diff(t) + h.diff(x, 2) / 2 + h**2 * sp.conjugate(h), 0)],
        domain=Interval(x, -20, 20) * Time(t, 0, 2),
        conditions=[Initial(h, exact.subs(t, 0)), Periodic(h, x)],
        exact={h: exact},
        description="One soliton of the cubic nonlinear Schrödinger equation",
    )
