"""Declarations by difficulty, the dimensionless numbers of APEBench, and four of its scenarios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import sympy as sp

from pdeml.domains import Time
from pdeml.errors import InvalidOption
from pdeml.operators.pde import PDE, Field, Initial, Parameter
from pdeml.problems.torus import T, axes, exact_number, periodic, periodic_box, squared_gradient

MAX_ORDER = 8  # of the linear terms


def from_difficulty(
    linear: Sequence[float],
    nonlinear: Sequence[float] = (0.0, 0.0, 0.0),
    *,
    points: int = 160,
    dim: int = 1,
    maximum: float = 1.0,
    steps: int = 50,
    initial: Any = None,
    name: str = "from_difficulty",
    description: str = "",
) -> PDE:
    """A scalar equation from difficulties: what one step does on a grid, whatever the units.

        u_t = Σ_j α_j Σ_i ∂_i^j u + β₀ u² + ½ β₁ Σ_i ∂_i u² + ½ β₂ |∇u|²,   x ∈ [0, 1]^d,
        γ₀ = α₀,   γ_j = α_j N^j 2^{j−1} d,   δ₀ = β₀,   δ₁ = β₁ M N d,   δ₂ = β₂ M N² d

    Time is counted in steps: an equation with coefficients a_j and b_j on a box of length L with
    time step Δt becomes this one with α_j = a_j Δt/L^j and β_j = b_j Δt/L^j. γ₁ is the
    Courant number, γ₂ the diffusion number of an explicit scheme, and so on; all terms stand on
    the right, so that advection to the right has γ₁ < 0 and Burgers δ₁ < 0.
    Good values: one to twenty; see `apebench_burgers`, `apebench_kdv`,
    `apebench_kuramoto_sivashinsky`, `apebench_fisher`.

    Parameters
    ----------
    linear : γ₀, γ₁, γ₂ …, at most up to γ₈.
    nonlinear : δ₀, δ₁, δ₂.
    points : N per axis, on which the coefficients depend, but not the equation's form.
    dim : d, 1 to 3.
    maximum : M > 0, largest |u| of the initial values.
    steps : end of time, in steps.
    initial : initial value, an expression of x, y, z (real symbols); M Π_i sin 2πx_i by default.
    name, description : of the problem.

    Returns
    -------
    PDE
        With a parameter alpha_j, beta_j for each number that is not zero.

    Raises
    ------
    InvalidOption
        For numbers that are not finite, all zero or too many, N < 4, M ≤ 0, steps < 1.

    Notes
    -----
    Fourth derivatives are Σ_i ∂_i⁴, not Δ², as in APEBench. APEBench removes the mean of ½|∇u|²
    (δ₂); here the mean of u drifts, without effect on the rest where γ₀ = δ₀ = δ₁ = 0.
    exponax 0.2.0, which steps APEBench, multiplies α₀ by d for d > 1.

    References
    ----------
    Koehler, Niedermayr, Westermann, Thuerey (2024), APEBench, NeurIPS 37; the definitions of δ as
    in exponax 0.2.0.
    """
    x = axes(dim)
    gammas, deltas = _numbers("linear", linear, MAX_ORDER + 1), _numbers("nonlinear", nonlinear, 3)
    if not any((*gammas, *deltas)):
        raise InvalidOption("linear and nonlinear are all zero; give at least one difficulty.")
    for what, value, least in (("points", points, 4), ("steps", steps, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidOption(f"{what}={value!r}; give a whole number of at least {least}.")
    largest = exact_number("maximum", maximum)
    alphas = [
        gamma / (points**j * 2 ** (j - 1) * dim) if j else gamma for j, gamma in enumerate(gammas)
    ]
    betas = [
        delta / (float(largest) * points**j * dim) if j else delta for j, delta in enumerate(deltas)
    ]
    u = Field("u", *x, T)
    derivatives = (u, *(sp.Add(*(u.diff(axis, j) for axis in x)) for j in range(1, len(alphas))))
    squares = u**2, sp.Add(*((u**2).diff(axis) for axis in x)) / 2, squared_gradient(u, x) / 2
    right = [
        Parameter(f"{letter}_{j}", value) * term
        for letter, values, terms in (("alpha", alphas, derivatives), ("beta", betas, squares))
        for j, (value, term) in enumerate(zip(values, terms, strict=False))
        if value
    ]
    if initial is None:
        initial = largest * sp.Mul(*(sp.sin(2 * sp.pi * axis) for axis in x))
    return PDE(
        name=name,
        equations=[sp.Eq(u.diff(T), sp.Add(*right))],
        domain=periodic_box(x) * Time(T, 0, steps),
        conditions=[Initial(u, initial), *periodic([u], x)],
        description=description or f"Equation of given difficulties on {points} points per axis",
    )


def _numbers(name: str, given: Sequence[float], most: int) -> list[float]:
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else None
    if values is None or len(values) > most or not all(map(_is_finite, values)):
        raise InvalidOption(f"{name}={given!r}; give up to {most} finite numbers.")
    return [float(value) for value in values]


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def apebench_burgers(points: int = 160, dim: int = 1, steps: int = 50) -> PDE:
    """Burgers equation of APEBench, by difficulties.

        γ₂ = 1.5,   δ₁ = −1.5:   u_t + ½ b Σ_i ∂_i u² = ν Δu

    One component in every dimension (`vector_burgers` has d).
    Good values: N = 160, 50 steps to train on and 200 to test (the benchmark, with starts by
    `pdeml.probability.truncated_fourier` with 5 modes and ``max_one=True``).

    Parameters
    ----------
    points, dim, steps : as for `from_difficulty`.

    References
    ----------
    Koehler, Niedermayr, Westermann, Thuerey (2024), APEBench, NeurIPS 37.
    """
    return from_difficulty(
        (0.0, 0.0, 1.5),
        (0.0, -1.5, 0.0),
        points=points,
        dim=dim,
        steps=steps,
        name="apebench_burgers",
        description="Burgers equation of APEBench",
    )


def apebench_kdv(points: int = 160, dim: int = 1, steps: int = 50) -> PDE:
    """Korteweg–de Vries equation of APEBench, with hyper-viscosity, by difficulties.

        γ₃ = −14,   γ₄ = −9,   δ₁ = −2:   u_t + ½ b Σ_i ∂_i u² + c Σ_i ∂_i³ u = −ζ Σ_i ∂_i⁴ u

    Good values: as for `apebench_burgers`.

    Parameters
    ----------
    points, dim, steps : as for `from_difficulty`.

    References
    ----------
    Koehler, Niedermayr, Westermann, Thuerey (2024), APEBench, NeurIPS 37.
    """
    return from_difficulty(
        (0.0, 0.0, 0.0, -14.0, -9.0),
        (0.0, -2.0, 0.0),
        points=points,
        dim=dim,
        steps=steps,
        name="apebench_kdv",
        description="Korteweg–de Vries equation of APEBench",
    )


def apebench_kuramoto_sivashinsky(points: int = 160, dim: int = 1, steps: int = 50) -> PDE:
    """Kuramoto–Sivashinsky equation of APEBench, by difficulties.

        γ₂ = −1.2,   γ₄ = −15,   δ₂ = −6:   u_t + ½ b |∇u|² + c Δu + ζ Σ_i ∂_i⁴ u = 0

    The mean of u drifts (`from_difficulty`, Notes); APEBench keeps it at zero and drops the first
    500 steps. Good values: as for `apebench_burgers`, with 550 and 700 steps.

    Parameters
    ----------
    points, dim, steps : as for `from_difficulty`.

    References
    ----------
    Koehler, Niedermayr, Westermann, Thuerey (2024), APEBench, NeurIPS 37.
    """
    return from_difficulty(
        (0.0, 0.0, -1.2, 0.0, -15.0),
        (0.0, 0.0, -6.0),
        points=points,
        dim=dim,
        steps=steps,
        name="apebench_kuramoto_sivashinsky",
        description="Kuramoto–Sivashinsky equation of APEBench",
    )


def apebench_fisher(points: int = 160, dim: int = 1, steps: int = 50) -> PDE:
    """Fisher–KPP equation of APEBench, by difficulties.

        γ₀ = 0.02,   γ₂ = 0.2,   δ₀ = −0.02:   u_t = D Δu + r u (1 − u)

    from ½(1 − Π_i cos 2πx_i), between 0 and 1 as the benchmark's starts are.
    Good values: as for `apebench_burgers`.

    Parameters
    ----------
    points, dim, steps : as for `from_difficulty`.

    References
    ----------
    Koehler, Niedermayr, Westermann, Thuerey (2024), APEBench, NeurIPS 37.
    """
    return from_difficulty(
        (0.02, 0.0, 0.2),
        (-0.02, 0.0, 0.0),
        points=points,
        dim=dim,
        steps=steps,
        initial=(1 - sp.Mul(*(sp.cos(2 * sp.pi * axis) for axis in axes(dim)))) / 2,
        name="apebench_fisher",
        description="Fisher–KPP equation of APEBench",
    )
