"""Analytic functions of h L(k), for numbers L(k) and for small matrices.

Functions such as φ₁(z) = (e^z − 1)/z lose all digits near z = 0. By Cauchy's theorem the mean over
a circle around z gives the value at z, and on a circle that stays away from 0 the formula is
accurate.

References
----------
Kassam, Trefethen (2005), SIAM J. Sci. Comput. 26, 1214–1233.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CONTOUR_POINTS = 32  # of a circle of radius 3: 3³²/32! = 7e-21
CONTOUR_RADIUS = 3.0  # around z with |z| < 1.5; it passes 0 at a distance of 1.5 or more
NEAR = 1.5  # beyond, the formula itself is accurate
WELL_CONDITIONED = 1e6  # of the eigenvectors; they cost about as much accuracy


@dataclass(frozen=True)
class Analytic:
    """A function of z = hL.

    Attributes
    ----------
    formula : the function, elementwise on complex tensors.
    removable : whether the formula has a removable singularity at z = 0 (then it must be entire).
    scaled : whether the scheme uses h times the function.
    """

    formula: Callable[[Tensor], Tensor]
    removable: bool = False
    scaled: bool = False

    def at(self, z: Tensor) -> Tensor:
        """Values at complex numbers z.

        Notes
        -----
        The mean is complex: taking its real part for a complex symbol (KdV, advection) silently
        makes every scheme first order.
        """
        if not self.removable:
            return self.formula(z)
        near = z.detach().abs() < NEAR
        close = z[near]
        total = torch.zeros_like(close)
        for j in range(CONTOUR_POINTS):
            total = total + self.formula(close + CONTOUR_RADIUS * _on_circle(j))
        far = self.formula(torch.where(near, NEAR, z))
        return far.index_put((near,), total / CONTOUR_POINTS)

    def of_matrix(self, matrix: Tensor) -> Tensor:
        """Values at complex matrices (…, C, C).

        Notes
        -----
        By eigenvectors where they are well conditioned. Where they are not (u_tt = 0: a Jordan
        block), the mean-value theorem is used once more: s ↦ f(A + s D) with a fixed diagonal D of
        distinct entries is analytic, and its mean over |s| = 1 is f(A); for s ≠ 0 the eigenvectors
        are well conditioned.
        """
        size = matrix.shape[-1]
        flat, scale = _balanced(matrix.reshape(-1, size, size))
        result = _MatrixFunction.apply(flat, self)
        result = result * scale[:, :, None] / scale[:, None, :]
        return result.reshape(matrix.shape)

    def _of_matrices(self, flat: Tensor) -> Tensor:
        size = flat.shape[-1]
        _, vectors = torch.linalg.eig(flat)
        singular = torch.linalg.svdvals(vectors)
        good = singular[:, 0] < WELL_CONDITIONED * singular[:, -1]
        result = torch.empty_like(flat)
        result[good] = self._by_eigenvectors(flat[good])
        if not good.all():
            spread = torch.linspace(-1, 1, size, dtype=torch.float64, device=flat.device)
            shifts = torch.diag(spread.to(flat.dtype))
            hard = flat[~good]
            mean = torch.zeros_like(hard)
            for j in range(CONTOUR_POINTS):
                mean = mean + self._by_eigenvectors(hard + _on_circle(j) * shifts)
            result[~good] = mean / CONTOUR_POINTS
        return result

    def _by_eigenvectors(self, matrix: Tensor) -> Tensor:
        values, vectors = torch.linalg.eig(matrix)
        scaled = vectors * self.at(values)[..., None, :]
        return torch.linalg.solve(vectors, scaled, left=False)


class _MatrixFunction(torch.autograd.Function):
    """f(A), differentiable where eigenvalues coincide, unlike their eigenvectors.

    The derivative in direction E is the upper right block of f([[A, E], [0, A]]), and its adjoint
    the same with Aᴴ, as f(z̄) is the conjugate of f(z) (Higham 2008, Functions of matrices, §3.2).
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, analytic: Analytic) -> Tensor:
        ctx.save_for_backward(matrix)
        ctx.analytic = analytic
        return analytic._of_matrices(matrix)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (matrix,) = ctx.saved_tensors
        size = gradient.detach().abs().amax((-2, -1), keepdim=True).clamp(min=1e-300)
        adjoint = matrix.mH
        upper = torch.cat([adjoint, gradient / size], -1)
        lower = torch.cat([torch.zeros_like(adjoint), adjoint], -1)
        value = ctx.analytic._of_matrices(torch.cat([upper, lower], -2))
        n = matrix.shape[-1]
        return value[:, :n, n:] * size, None


def _balanced(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(D⁻¹ A D, diagonal of D) with rows and columns of similar size, D of powers of two.

    In u_tt = c² u_xx the entries 1 and c²k² differ so much that round-off in one would swamp the
    other (Parlett, Reinsch 1969). Entries below one, over which f hardly varies, are left as they
    are: undoing the scale would only enlarge their round-off.
    """
    size = matrix.shape[-1]
    scale = torch.ones(matrix.shape[:-1], dtype=torch.float64, device=matrix.device)
    off = matrix.detach().abs() * (1 - torch.eye(size, device=matrix.device))
    for i in [*range(size)] * 3:
        weighted = off * scale[:, None, :] / scale[:, :, None]
        row, column = (weighted.sum(d)[:, i].clamp(min=1) for d in (-1, -2))
        ratio = row / column
        scale[:, i] *= torch.exp2(torch.round(torch.log2(ratio) / 2))
    return matrix * scale[:, None, :] / scale[:, :, None], scale


def _on_circle(j: int) -> complex:
    angle = 2 * math.pi * (j + 0.5) / CONTOUR_POINTS
    return complex(math.cos(angle), math.sin(angle))


class Diagonal:
    """A multiplier that acts on each variable alone: values (C, *modes) or (B, C, *modes)."""

    def __init__(self, values: Tensor):
        self.values = values

    def __matmul__(self, modes: Tensor) -> Tensor:
        return self.values * modes

    def plus(self, start: Tensor, modes: Tensor) -> Tensor:
        """start + self @ modes."""
        return torch.addcmul(start, self.values, modes)

    def onto(self, start: Tensor, modes: Tensor) -> Tensor:
        """start + self @ modes, written over `start` where no gradient needs it."""
        if start.requires_grad or modes.requires_grad or self.values.requires_grad:
            return self.plus(start, modes)
        return start.addcmul_(self.values, modes)


class Matrix:
    """A multiplier that couples the variables: values (C, C, *modes) or (B, C, C, *modes)."""

    def __init__(self, values: Tensor, dim: int):
        self.values, self._columns = values, -dim - 1

    def __matmul__(self, modes: Tensor) -> Tensor:
        return (self.values * modes.unsqueeze(self._columns - 1)).sum(self._columns)

    def plus(self, start: Tensor, modes: Tensor) -> Tensor:
        """start + self @ modes."""
        return start + self @ modes

    onto = plus


Multiplier = Diagonal | Matrix
