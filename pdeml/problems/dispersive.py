"""Dispersive waves: Korteweg–de Vries."""

from __future__ import annotations

import sympy as sp

from pdeml.domains import Interval, Time
from pdeml.operators.pde import PDE, Field, Initial, Parameter, Periodic


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
