"""Weights of a spectral convolution: one complex matrix per mode, whole or as a small tensor.

Every complex array is stored as a real one with a last axis (re, im): optimizers, averages,
clipping and every backend of distributed training take it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pdeml.errors import InvalidOption


def _complex_normal(shape: Sequence[int], std: float) -> nn.Parameter:
    """Complex numbers of variance std², half of it in each part."""
    return nn.Parameter(torch.randn(*shape, 2) * (std / math.sqrt(2)))


class DenseWeight(nn.Module):
    """W_k, a matrix of every mode, stored as (m_1 … m_d, C_in, C_out, 2).

    Parameters
    ----------
    modes : (m_1 … m_d).
    channels : (C_in, C_out), or (C,) for one factor per channel.
    init : ``"normal"``: complex normal of deviation √(2/(C_in + C_out)); ``"uniform"``: both parts
        uniform on [0, 1/(C_in C_out)), as in 2020.
    """

    def __init__(self, modes: Sequence[int], channels: Sequence[int], *, init: str = "normal"):
        super().__init__()
        if init not in ("normal", "uniform"):
            raise InvalidOption(f"init={init!r} is not accepted. Give 'normal' or 'uniform'.")
        shape = (*modes, *channels)
        if init == "uniform":
            self.value = nn.Parameter(torch.rand(*shape, 2) / math.prod(channels))
        else:
            self.value = _complex_normal(shape, math.sqrt(2 / (channels[0] + channels[-1])))

    def forward(self) -> Tensor:
        """Complex, (m_1 … m_d, C_in, C_out)."""
        return torch.view_as_complex(self.value)


class TuckerWeight(nn.Module):
    """W = core ×_1 U_1 ×_2 U_2 …, a factor for every axis of the whole weight.

    Parameters
    ----------
    modes, channels : as of `DenseWeight`.
    rank : numbers that are stored over those of the whole weight, in (0, 1]; or the rank of every
        axis of the whole weight.

    References
    ----------
    Kossaifi, Kovachki, Azizzadenesheli, Anandkumar (2024), Multi-grid tensorized Fourier neural
    operator, TMLR, §3.
    """

    def __init__(
        self, modes: Sequence[int], channels: Sequence[int], *, rank: float | Sequence[int]
    ):
        super().__init__()
        shape = (*modes, *channels)
        ranks = tucker_ranks(shape, rank) if isinstance(rank, int | float) else tuple(rank)
        if len(ranks) != len(shape) or not all(
            1 <= r <= n for r, n in zip(ranks, shape, strict=True)
        ):
            raise InvalidOption(
                f"rank={rank!r} is not accepted: weights of shape {shape} need {len(shape)} ranks, "
                "each at most the size of its axis."
            )
        std = math.sqrt(2 / (channels[0] + channels[-1]))
        each = (std / math.sqrt(math.prod(ranks))) ** (1 / (len(shape) + 1))
        self.core = _complex_normal(ranks, each)
        self.factors = nn.ParameterList(
            _complex_normal((size, r), each) for size, r in zip(shape, ranks, strict=True)
        )

    def forward(self) -> Tensor:
        weight = torch.view_as_complex(self.core)
        for factor in self.factors:  # the first axis goes out, its product comes in last
            weight = torch.tensordot(weight, torch.view_as_complex(factor), ([0], [1]))
        return weight


class CPWeight(nn.Module):
    """W = Σ_r λ_r u_r ⊗ v_r ⊗ …, a sum of products of vectors.

    Parameters
    ----------
    modes, channels : as of `DenseWeight`.
    rank : numbers that are stored over those of the whole weight, in (0, 1].
    """

    def __init__(
        self, modes: Sequence[int], channels: Sequence[int], *, rank: float | Sequence[int]
    ):
        super().__init__()
        fraction = _accepted_fraction(rank)
        shape = (*modes, *channels)
        count = max(1, round(fraction * math.prod(shape) / (sum(shape) + 1)))
        std = math.sqrt(2 / (channels[0] + channels[-1]))
        each = (std / math.sqrt(count)) ** (1 / (len(shape) + 1))
        self.scale = _complex_normal((count,), each)
        self.factors = nn.ParameterList(_complex_normal((size, count), each) for size in shape)

    def forward(self) -> Tensor:
        first, *rest = (torch.view_as_complex(f) for f in self.factors)
        # (axes so far, r), times one vector more each time
        weight = first * torch.view_as_complex(self.scale)
        for factor in rest[:-1]:
            weight = (weight[..., None, :] * factor).view(*weight.shape[:-1], *factor.shape)
        return weight @ rest[-1].mT


def tucker_ranks(shape: Sequence[int], rank: float) -> tuple[int, ...]:
    """Ranks in proportion to the sizes, so that core and factors hold `rank` of all numbers."""
    total, low, high = _accepted_fraction(rank) * math.prod(shape), 0.0, 1.0
    for _ in range(60):
        c = (low + high) / 2
        held = c ** len(shape) * math.prod(shape) + c * sum(n * n for n in shape)
        low, high = (c, high) if held < total else (low, c)
    return tuple(max(1, round(low * n)) for n in shape)


def _accepted_fraction(rank: float | Sequence[int]) -> float:
    if not isinstance(rank, int | float) or not 0 < rank <= 1:
        raise InvalidOption(
            f"rank={rank!r} is not accepted. Give the fraction of the whole weight's numbers that "
            "are stored, in (0, 1]."
        )
    return float(rank)
