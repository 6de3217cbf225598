"""Darcy flow on a square by the five-point scheme: the form of the published operator data."""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import dstn, idstn
from torch import Tensor

from pdeml.errors import DivergedError, InvalidOption

TOLERANCE = 1e-12  # of the residual, relative to the source
MOST_ITERATIONS = 2000  # the number grows with the root of the contrast; at 4 there are 25


def darcy_pressure(coefficient: Tensor, source: float = 1.0) -> Tensor:
    """Solutions of Darcy's equation for coefficients at the points of a square grid.

        −div(k ∇u) = f   on (0, 1)²,   u = 0 on the boundary

    k at the middle between two points is the mean of its values there. Second order in 1/(n − 1)
    for a smooth k, first for one that jumps; `pdeml.solve` with ``"fem"`` is more exact.

    Parameters
    ----------
    coefficient : k > 0, (B, 1, n, n) at the points i/(n − 1), as `pdeml.probability.fno_darcy`
        draws it.
    source : f.

    Returns
    -------
    Tensor (B, 1, n, n) in float64.

    Raises
    ------
    InvalidOption
        Another shape, fewer than 3 points, or values that are not positive and finite.
    DivergedError
        The contrast of a coefficient is too large.

    Notes
    -----
    Conjugate gradients preconditioned by the scheme for k = 1, which a sine transform inverts: the
    condition number is the contrast of k, on every grid.

    References
    ----------
    Li et al. (2021), Fourier neural operator for parametric PDEs, ICLR, §5.2 and A.3.2.
    """
    k = coefficient.detach().cpu().double().numpy()
    if k.ndim != 4 or k.shape[1] != 1 or k.shape[2] != k.shape[3] or k.shape[2] < 3:
        raise InvalidOption(
            f"coefficient has shape {tuple(coefficient.shape)}; give (B, 1, n, n) with n ≥ 3."
        )
    if not (np.isfinite(k).all() and (k > 0).all()):
        raise InvalidOption("the coefficient must be positive and finite everywhere.")
    out = np.zeros_like(k)
    for row, values in enumerate(k[:, 0]):
        out[row, 0, 1:-1, 1:-1] = _inner(values, float(source))
    return torch.from_numpy(out)


def _inner(k: np.ndarray, source: float) -> np.ndarray:
    """Values (n − 2, n − 2) at the inner points."""
    n = len(k)
    squared = float(n - 1) ** 2
    down = squared * (k[1:, 1:-1] + k[:-1, 1:-1]) / 2  # between rows
    right = squared * (k[1:-1, 1:] + k[1:-1, :-1]) / 2
    diagonal = down[1:] + down[:-1] + right[:, 1:] + right[:, :-1]
    angle = np.pi * np.arange(1, n - 1) / (2 * (n - 1))
    one = 4 * squared * np.sin(angle) ** 2  # eigenvalues of the second difference
    eigenvalues = one[:, None] + one

    def applied(u: np.ndarray) -> np.ndarray:
        v = diagonal * u
        v[1:] -= down[1:-1] * u[:-1]
        v[:-1] -= down[1:-1] * u[1:]
        v[:, 1:] -= right[:, 1:-1] * u[:, :-1]
        v[:, :-1] -= right[:, 1:-1] * u[:, 1:]
        return v

    def inverted(v: np.ndarray) -> np.ndarray:
        modes: np.ndarray = dstn(v, type=1) / eigenvalues
        return idstn(modes, type=1)

    residual = np.full_like(diagonal, source)
    u, goal = np.zeros_like(residual), TOLERANCE * np.linalg.norm(residual)
    direction, product = np.zeros_like(residual), 1.0
    for _ in range(MOST_ITERATIONS):
        if np.linalg.norm(residual) <= goal:
            return u
        better = inverted(residual)
        before, product = product, float(np.vdot(residual, better))
        direction = better + (product / before) * direction
        image = applied(direction)
        step = product / float(np.vdot(direction, image))
        u += step * direction
        residual -= step * image
    raise DivergedError(
        f"{MOST_ITERATIONS} iterations do not solve the scheme: the contrast of the coefficient is "
        f"{k.max() / k.min():.1e}. Solve that problem with 'fem'."
    )
