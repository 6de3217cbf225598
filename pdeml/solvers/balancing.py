"""Weights of loss terms and of points that follow the training.

Weights of terms follow an exponential mean, w ← 0.9 w + 0.1 ŵ; weights of points multiply squared
residuals. Both are constants while a gradient is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pdeml.solvers.objective import Objective

MEMORY = 0.9
FLOOR = 1e-5  # of the mean size: a term that vanishes gets no infinite weight
PROBES = 4
RBA_DECAY, RBA_RATE = 0.999, 0.01


def gradient_norms(objective: Objective, generator: torch.Generator) -> list[float]:
    """‖∇L_k‖ of every term without its weight.

    References
    ----------
    Wang, Teng, Perdikaris (2021), SIAM J. Sci. Comput. 43, A3055.
    """
    values, found = objective.unknown_values(), []
    for term in objective.terms:
        gradients = [torch.zeros_like(p) for p in objective.network_parameters]
        unused = [torch.zeros_like(p) for p in objective.unknowns]
        term.accumulate(values, gradients, unused, objective.arena)
        found.append(_norm(gradients) / term.weight)
    return found


def kernel_diagonals(objective: Objective, generator: torch.Generator) -> list[float]:
    """Mean diagonal (1/n) Σ_i ‖∂r_i/∂θ‖² of every term's tangent kernel.

    The trace of J Jᵀ is the mean of ‖Jᵀv‖² over random signs v (Hutchinson); four are drawn.

    References
    ----------
    Wang, Yu, Perdikaris (2022), J. Comput. Phys. 449, 110768.
    """
    values, found = objective.unknown_values(), []
    for term in objective.terms:
        total, shape = 0.0, (len(term.points), term.residual.count)
        for _ in range(PROBES):
            signs = torch.randint(0, 2, shape, generator=generator).to(term.points) * 2.0 - 1.0
            gradients = [torch.zeros_like(p) for p in objective.network_parameters]
            term.pull_back(signs, values, gradients, objective.arena)
            total += _norm(gradients) ** 2
        found.append(total / (PROBES * len(term.points)))
    return found


TERM_SIZES: dict[str, Callable[[Objective, torch.Generator], list[float]]] = {
    "grad_norm": gradient_norms,
    "ntk": kernel_diagonals,
}
"""What is to be of one size for all terms, by name."""


def balance(objective: Objective, scheme: str, generator: torch.Generator) -> None:
    """Move the weights of the terms towards ŵ_k = mean_j s_j / (s_k + 1e-5 mean_j s_j).

    Parameters
    ----------
    scheme : name of the sizes s, in `TERM_SIZES`.
    """
    sizes = TERM_SIZES[scheme](objective, generator)
    mean = sum(sizes) / len(sizes)
    if not mean > 0.0:
        return
    for term, size in zip(objective.terms, sizes, strict=True):
        term.weight = MEMORY * term.weight + (1.0 - MEMORY) * mean / (size + FLOOR * mean)


def attention(squares: Tensor, before: Tensor | None) -> Tensor:
    """Residual-based attention: λ ← 0.999 λ + 0.01 |r|/max|r|, as factors λ² of r².

    Parameters
    ----------
    squares : r², (n, equations).
    before : factors of the last call on these points, None for λ = 1.

    References
    ----------
    Anagnostopoulos et al. (2024), CMAME 421, 116805, eq. 9.
    """
    size = squares.sum(-1).sqrt()
    held = torch.ones_like(size) if before is None else before.sqrt()
    largest = size.max()
    if not bool(largest > 0):
        return held.square()
    return (RBA_DECAY * held + RBA_RATE * size / largest).square()


def causal_gates(losses: Tensor, tolerance: float) -> Tensor:
    """γ_i = min_k exp(−ε Σ_{j<i} l_jk), (M,), of the losses l (M, equations) of time slices.

    References
    ----------
    Wang, Sankaran, Perdikaris (2024), CMAME 421, 116813, eq. 3.5.
    """
    earlier = losses.cumsum(0) - losses
    return torch.exp(-tolerance * earlier).amin(-1)


def slice_losses(times: Tensor, squares: Tensor, slices: int) -> Tensor:
    """Mean squares (M, equations) of the points in M slices of equal count, in order of time.

    Parameters
    ----------
    times : of the points, (n,), n ≥ M.
    squares : r², (n, equations).
    """
    return torch.stack([squares[part].mean(0) for part in times.argsort().tensor_split(slices)])


def spread(times: Tensor, gates: Tensor) -> Tensor:
    """The gates (M,) of the slices as one factor per point, (n,)."""
    factors = torch.empty_like(times)
    for part, gate in zip(times.argsort().tensor_split(len(gates)), gates, strict=True):
        factors[part] = gate.to(factors)
    return factors


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(torch.stack([t.square().sum() for t in tensors]).sum().sqrt())
