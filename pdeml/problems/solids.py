"""Solids: linear elasticity, and a plate with a hole."""

from __future__ import annotations

import sympy as sp

from pdeml.domains import Disk, Rectangle
from pdeml.errors import InvalidOption
from pdeml.operators.pde import PDE, Condition, Dirichlet, Field, Flux, Parameter
from pdeml.operators.vector import div
from pdeml.problems.torus import exact_number

LOADS = ("kirsch", "grips")


def linear_elasticity(lame: float = 1.0, shear: float = 1.0) -> PDE:
    """Static elasticity of a square plate, plane strain, with a manufactured load.

        (λ + μ) ∇(∇·u) + μ Δu + f = 0,   (x, y) ∈ [0, 1]²,   u = 0 on the boundary

    The displacement is u = sin πx sin πy, v = x(1 − x) sin πy, and f is what makes it one.
    Good values: λ = μ = 1; λ ≫ μ is nearly incompressible, where elements of degree 1 lock.

    Parameters
    ----------
    lame : λ, Lamé's first parameter.
    shear : μ > 0.

    References
    ----------
    Braess (2007), Finite elements, Cambridge, §VI.3.
    """
    x, y = sp.symbols("x y", real=True)
    u, v = Field("u", x, y), Field("v", x, y)
    first, second = Parameter("lambda", lame), Parameter("mu", shear, positive=True)
    exact = {u: sp.sin(sp.pi * x) * sp.sin(sp.pi * y), v: x * (1 - x) * sp.sin(sp.pi * y)}

    def force(a: sp.Expr, b: sp.Expr) -> list[sp.Expr]:
        return [
            (first + second) * (a.diff(x, c) + b.diff(y, c))
            + second * (w.diff(x, 2) + w.diff(y, 2))
            for w, c in ((a, x), (b, y))
        ]

    return PDE(
        name="linear_elasticity",
        equations=[sp.Eq(*pair) for pair in zip(force(u, v), force(*exact.values()), strict=True)],
        domain=Rectangle((x, y), (0, 0), (1, 1)),
        conditions=[Dirichlet(u, 0), Dirichlet(v, 0)],
        exact=exact,
        description="Static elasticity of a square plate with a manufactured load",
    )


def plate_with_hole(
    load: str = "kirsch",
    radius: float = 0.25,
    half_length: float = 1.0,
    tension: float = 1.0,
    lame: float = 1.0,
    shear: float = 1.0,
) -> PDE:
    """Stress concentration at a round hole: static elasticity, plane strain, no volume load.

        div σ = 0,   σ = λ (∇·u) I + μ (∇u + ∇uᵀ),   [−L, L] × [−1, 1] without the disk of radius a
        about 0,   σ·n = 0 on the hole (part ``"boundary"``)

    ``"kirsch"`` cuts the plate out of an infinite one under the tension S along x: on the outer
    sides the displacement is Kirsch's, which is the exact solution,

        8μ u/(S a) = (κ+1) ρ c₁ + 2/ρ ((1+κ) c₁ + c₃) − 2/ρ³ c₃,
        8μ v/(S a) = (κ−3) ρ s₁ + 2/ρ ((1−κ) s₁ + s₃) − 2/ρ³ s₃,

    with ρ = r/a, c_k = cos kθ, s_k = sin kθ, κ = (λ+3μ)/(λ+μ). The largest stress is σ_xx = 3S, at
    (0, ±a). ``"grips"`` holds a finite plate between stiff grips without friction that are moved
    apart, u = ±δ at x = ±L with δ = (λ+2μ) S L/(4μ (λ+μ)), which is the tension S for a plate
    without hole; top and bottom are free. The force is ``solution.flux("u", on="right")``.
    Good values: a = 1/4; L = 3 with ``"grips"`` is a long strip, where the largest stress is 3.24
    times the mean tension (Pilkey's fit to Howland's series).

    Parameters
    ----------
    load : ``"kirsch"`` or ``"grips"``.
    radius : a, between 0 and 1.
    half_length : L > a.
    tension : S.
    lame, shear : λ, μ > 0. Plane stress is plane strain with 2λμ/(λ + 2μ) in place of λ.

    Raises
    ------
    InvalidOption
        For another load.
    InvalidProblem
        The hole is larger than the plate.

    References
    ----------
    Kirsch (1898), Z. Ver. Dtsch. Ing. 42, 797; Howland (1930), Phil. Trans. R. Soc. A 229, 49;
    Timoshenko, Goodier (1970), Theory of elasticity, §35.
    """
    if load not in LOADS:
        raise InvalidOption(f"load={load!r}; give one of {', '.join(map(repr, LOADS))}.")
    x, y = sp.symbols("x y", real=True)
    u, v = Field("u", x, y), Field("v", x, y)
    first, second = Parameter("lambda", lame), Parameter("mu", shear, positive=True)
    S, a = Parameter("S", tension), exact_number("radius", radius)
    length = exact_number("half_length", half_length)
    dilation = first * (u.diff(x) + v.diff(y))
    sliding = second * (u.diff(y) + v.diff(x))
    stress = (
        (dilation + 2 * second * u.diff(x), sliding),
        (sliding, dilation + 2 * second * v.diff(y)),
    )
    exact = None
    if load == "kirsch":
        exact = dict(zip((u, v), _kirsch(x, y, a, S, first, second), strict=True))
        outer: list[Condition] = [
            Dirichlet(f, exact[f], on=part)
            for f in (u, v)
            for part in ("left", "right", "bottom", "top")
        ]
    else:
        stretch = (first + 2 * second) * S * length / (4 * second * (first + second))
        outer = [Dirichlet(u, -stretch, on="left"), Dirichlet(u, stretch, on="right")]
        outer += [Flux(u, 0, on=part) for part in ("bottom", "top")]
        outer += [Flux(v, 0, on=part) for part in ("left", "right", "bottom", "top")]
    return PDE(
        name="plate_with_hole",
        equations=[sp.Eq(div(row, x, y), 0) for row in stress],
        domain=Rectangle((x, y), (-length, -1), (length, 1)) - Disk((x, y), (0, 0), a),
        conditions=[*outer, Flux(u, 0, on="boundary"), Flux(v, 0, on="boundary")],
        exact=exact,
        description="Plate with a round hole under tension",
        fields=[u, v],
    )


def _kirsch(
    x: sp.Symbol, y: sp.Symbol, a: sp.Expr, tension: sp.Expr, first: sp.Expr, second: sp.Expr
) -> tuple[sp.Expr, sp.Expr]:
    """Displacement of an infinite plate with a hole of radius a under tension along x."""
    kappa = (first + 3 * second) / (first + second)
    r = sp.sqrt(x**2 + y**2)
    c1, s1 = x / r, y / r
    c3, s3 = x * (x**2 - 3 * y**2) / r**3, y * (3 * x**2 - y**2) / r**3
    along = (kappa + 1) * r / a * c1 + 2 * a / r * ((1 + kappa) * c1 + c3) - 2 * a**3 / r**3 * c3
    across = (kappa - 3) * r / a * s1 + 2 * a / r * ((1 - kappa) * s1 + s3) - 2 * a**3 / r**3 * s3
    scale = tension * a / (8 * second)
    return scale * along, scale * across
