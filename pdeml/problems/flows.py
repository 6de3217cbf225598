"""Steady flow between walls, velocity and pressure: the benchmark cavity and the cylinder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp

from pdeml.domains import Disk, Rectangle
from pdeml.errors import InvalidOption
from pdeml.operators.pde import PDE, Dirichlet, Field, Flux, Parameter
from pdeml.operators.vector import div
from pdeml.problems.torus import advected, divergence, exact_number, laplacian

X, Y = sp.symbols("x y", real=True)
LIDS = {"uniform": sp.Integer(1), "sine": sp.sin(sp.pi * X)}
"""Velocity of the lid by name."""


def _fields() -> tuple[Any, Any, Any]:
    u, v, p = (Field(name, X, Y) for name in "uvp")
    return u, v, p


def _at_rest(fields: Sequence[Any], parts: Sequence[str]) -> list[Dirichlet]:
    return [Dirichlet(f, 0, on=part) for part in parts for f in fields]


def lid_driven_cavity(reynolds: float = 100.0, lid: str = "uniform") -> PDE:
    """Steady flow in a square cavity whose lid slides: the Navier–Stokes equations.

        (u·∇)u = −∇p + Δu/Re,   ∇·u = 0,   (x, y) ∈ [0, 1]²,
        (u, v) = (1, 0) on the lid y = 1, or (sin πx, 0);   (0, 0) on the other walls

    A vortex fills the cavity, with weaker ones in the lower corners; its centre wanders from
    (0.62, 0.74) at Re = 100 to (0.53, 0.57) at Re = 1000. The uniform lid is discontinuous at both
    upper corners, where pressure and vorticity are infinite: the corners themselves are taken as
    walls, so that nothing flows through them. That pressure is not square integrable: "fem" says so
    by name and gives the errors of u and v, which converge. It is fixed up to a constant only (its
    mean is 0).
    Good values: Re = 100, 400, 1000 with the uniform lid (Ghia et al. tabulate its centre lines,
    Botella & Peyret to seven digits at Re = 1000); Re = 100 with the sine lid is smooth. Newton's
    iteration reaches Re = 1000 from the flow at a smaller one.

    Parameters
    ----------
    reynolds : Re > 0, velocity of the lid times its length over the viscosity.
    lid : ``"uniform"``, or ``"sine"`` for sin πx, which is at rest at the corners.

    Raises
    ------
    InvalidOption
        For another lid.

    References
    ----------
    Ghia, Ghia, Shin (1982), J. Comput. Phys. 48, 387; Botella, Peyret (1998), Comput. Fluids 27,
    421.
    """
    if lid not in LIDS:
        raise InvalidOption(f"lid={lid!r}; give one of {', '.join(map(repr, LIDS))}.")
    u, v, p = _fields()
    number = Parameter("Re", reynolds, positive=True)
    momentum = [
        sp.Eq(advected((u, v), w, (X, Y)), -p.diff(c) + laplacian(w, (X, Y)) / number)
        for w, c in ((u, X), (v, Y))
    ]
    return PDE(
        name="lid_driven_cavity",
        equations=[*momentum, sp.Eq(divergence((u, v), (X, Y)), 0)],
        domain=Rectangle((X, Y), (0, 0), (1, 1)),
        conditions=[
            # the walls come last: what they share with the lid is theirs
            Dirichlet(u, LIDS[lid], on="top"),
            Dirichlet(v, 0, on="top"),
            *_at_rest((u, v), ("left", "right", "bottom")),
        ],
        description="Steady flow in a square cavity with a sliding lid",
        fields=[u, v, p],
    )


def cylinder_channel(reynolds: float = 20.0) -> PDE:
    """Steady flow around a cylinder in a channel (DFG benchmark 2D-1): Navier–Stokes equations.

        (u·∇)u = div(ν ∇u − p I),   ∇·u = 0,   [0, 2.2] × [0, 0.41] without the disk of radius 0.05
        about (0.2, 0.2),   u = 1.2 y (0.41 − y)/0.41², v = 0 at the inlet x = 0,
        ν ∂u/∂n − p n = 0 at the outlet x = 2.2,   u = v = 0 on walls and cylinder

    The mean velocity at the inlet is U = 0.2, the largest 0.3, D = 0.1 the diameter and Re = UD/ν.
    The cylinder is not quite in the middle, hence a small lift. The force on it is the flux of
    momentum through its surface, ``solution.flux("u", on="boundary")`` along x and of ``"v"`` along
    y; c = 2F/(U² D) = 500 F.
    Good values: Re = 20, for which drag 5.57953523384, lift 0.010618948146 and pressure difference
    0.11752016697 between (0.15, 0.2) and (0.25, 0.2) are known; steady flows are unstable beyond
    Re ≈ 50.

    Parameters
    ----------
    reynolds : Re > 0; ν = 0.02/Re.

    References
    ----------
    Schäfer, Turek (1996), Benchmark computations of laminar flow around a cylinder, Notes Numer.
    Fluid Mech. 52, 547; Nabh (1998), thesis, Heidelberg (the digits).
    """
    u, v, p = _fields()
    nu = Parameter("nu", 0.02 / float(exact_number("reynolds", reynolds)), positive=True)
    height = sp.Rational(41, 100)
    inflow = sp.Rational(6, 5) * Y * (height - Y) / height**2
    momentum = [
        sp.Eq(
            advected((u, v), w, (X, Y)), div([nu * w.diff(c) - p * int(c == along) for c in (X, Y)])
        )
        for w, along in ((u, X), (v, Y))
    ]
    return PDE(
        name="cylinder_channel",
        equations=[*momentum, sp.Eq(divergence((u, v), (X, Y)), 0)],
        domain=Rectangle((X, Y), (0, 0), (2.2, 0.41)) - Disk((X, Y), (0.2, 0.2), 0.05),
        conditions=[
            Dirichlet(u, inflow, on="left"),
            Dirichlet(v, 0, on="left"),
            Flux(u, 0, on="right"),
            Flux(v, 0, on="right"),
            *_at_rest((u, v), ("bottom", "top", "boundary")),
        ],
        description="Steady flow around a cylinder in a channel, velocity and pressure",
        fields=[u, v, p],
    )
