"""Flow through porous ground: Darcy's law with random coefficients."""

from __future__ import annotations

import numpy as np
import scipy.fft
import sympy as sp

from pdeml.domains import Rectangle
from pdeml.errors import InvalidOption
from pdeml.operators.pde import PDE, Dirichlet, Field, Parameter
from pdeml.operators.vector import div, grad
from pdeml.probability import darcy_field

MODES = (4, 32)  # per axis
COEFFICIENTS = ("threshold", "lognormal")


def darcy(
    coefficient: str = "threshold",
    seed: int = 0,
    sample: int = 0,
    modes: int = 8,
    source: float = 1.0,
    strength: float = 1.0,
) -> PDE:
    """Darcy flow through random ground.

        −div(k(x, y) ∇u) = f,   (x, y) ∈ [0, 1]²,   u = 0 on the boundary,
        k = 12 where g ≥ 0, else 3   ("threshold"),     k = e^{sg}   ("lognormal"),
        g = Σ_{m,n < M} g_mn cos πmx cos πny ~ N(0, 9 (−Δ + 9)^(−2)),   M modes per axis

    g is the cosine (Karhunen–Loève) series of the field that `pdeml.probability.fno_darcy` draws
    for the same seed and sample, cut off after M modes: its mean is zero and so is its normal
    derivative at the walls. The threshold is the two-phase coefficient of the neural-operator data:
    k jumps along curves, where the gradient of u does, so that cells which do not follow them
    converge with order ~1. With ``"lognormal"`` k is smooth.
    Good values: M = 8 keeps 98.7 % of the variance of g, 16 keep 99.7 %; the data have M = 421.
    The standard deviation of g is 0.29: s = 1 gives contrasts of about 5, s = 3 of 100. No closed
    form: reference by ``"fem"``.

    Parameters
    ----------
    coefficient : ``"threshold"`` or ``"lognormal"``.
    seed, sample : of the random field, as in `pdeml.probability.darcy_field`.
    modes : M, from 4 to 32; the terms of k grow with M².
    source : f.
    strength : s, of the log-normal coefficient.

    Raises
    ------
    InvalidOption
        For another coefficient or number of modes.

    References
    ----------
    Li et al. (2021), Fourier neural operator for parametric PDEs, ICLR, §5.2; Lord, Powell,
    Shardlow (2014), Introduction to computational stochastic PDEs, Cambridge, §9.
    """
    x, y = sp.symbols("x y", real=True)
    u, f = Field("u", x, y), Parameter("f", source)
    k = permeability(x, y, coefficient, seed, sample, modes, strength)
    return PDE(
        name="darcy",
        equations=[sp.Eq(-div(k * grad(u)), f)],
        domain=Rectangle((x, y), (0, 0), (1, 1)),
        conditions=[Dirichlet(u, 0)],
        description="Darcy flow through random ground",
    )


def permeability(
    x: sp.Symbol,
    y: sp.Symbol,
    coefficient: str,
    seed: int,
    sample: int,
    modes: int,
    strength: float,
) -> sp.Expr:
    """k(x, y) of `darcy`, whose arguments these are."""
    if coefficient not in COEFFICIENTS:
        raise InvalidOption(
            f"coefficient={coefficient!r}; give one of {', '.join(map(repr, COEFFICIENTS))}."
        )
    least, most = MODES
    if isinstance(modes, bool) or not isinstance(modes, int) or not least <= modes <= most:
        raise InvalidOption(f"modes={modes!r}; give a whole number from {least} to {most}.")
    g = _series(x, y, _amplitudes(seed, sample, modes))
    if coefficient == "lognormal":
        return sp.exp(Parameter("s", strength) * g)
    return sp.Piecewise((12, g >= 0), (3, True))


def _amplitudes(seed: int, sample: int, modes: int) -> np.ndarray:
    """g_mn, (M, M): the grid of M points per axis holds M cosines exactly."""
    values = darcy_field((modes, modes), values=None, seed=seed, first=sample, samples=1)[0, 0]
    found: np.ndarray = scipy.fft.dctn(values.double().numpy(), type=1) / (modes - 1) ** 2
    for ends in ([0, -1], (slice(None), [0, -1])):
        found[ends] /= 2  # a cosine series counts its first and last term half
    found[0, 0] = 0.0  # but for rounding it is: the mean of the field
    return found


def _series(x: sp.Symbol, y: sp.Symbol, amplitudes: np.ndarray) -> sp.Expr:
    """Σ_m cos πmx Σ_n g_mn cos πny."""
    rows = [
        sp.Add(*(sp.Float(a) * sp.cos(sp.pi * n * y) for n, a in enumerate(row) if a))
        for row in amplitudes
    ]
    return sp.Add(*(row * sp.cos(sp.pi * m * x) for m, row in enumerate(rows)))
