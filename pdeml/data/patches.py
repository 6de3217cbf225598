"""Random patches of one state in another: where reactions start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from pdeml.probability.philox import sample_keys, uniform

PATCHES = 2**62 + 2  # stream of a sample's seed; drawing takes those before it
MOST = {1: 4, 2: 8, 3: 12}  # patches, at least one
NUMBERS = 6  # that a patch is made of: height, radius, edge, centre
IMAGE = 0.5  # of a period: beyond it another image is nearer


@dataclass(frozen=True)
class Patches:
    """Patches of a reacting problem.

        v = rest + (seeded − rest) φ,     φ(x) = 1 − Π_j (1 − h_j p(|x − c_j|)) ∈ [0, 1],
        p(r) = ½ (1 − tanh((r² − R_j²) / (2 R_j δ_j)))

    for a number of patches from 1 to 4, 8, 12 in one, two, three dimensions, with uniform centres
    c_j, radii R_j, widths δ_j of the edge, heights h_j. Lengths are in box lengths, distances are
    to the nearest image.

    Attributes
    ----------
    rest, seeded : states, a value for each variable.
    radius, edge, height : (lowest, highest).
    """

    rest: tuple[float, ...]
    seeded: tuple[float, ...]
    radius: tuple[float, float]
    edge: tuple[float, float] = (0.02, 0.04)
    height: tuple[float, float] = (0.8, 1.0)

    def __call__(self, points: Tensor, bounds: Sequence[Sequence[float]], seed: int) -> Tensor:
        """Values (C, P) at points (P, d) of a periodic box."""
        low, high = (torch.as_tensor(b, dtype=points.dtype) for b in bounds)
        places = (points - low) / (high - low)
        dim = points.shape[1]
        shares = _shares(seed)
        count = 1 + int(shares[0, 0] * MOST[dim])
        outside = torch.ones(len(points), dtype=points.dtype)
        for number in shares[1 : count + 1]:
            height, radius, edge = (
                a + (b - a) * share
                for (a, b), share in zip(
                    (self.height, self.radius, self.edge), number, strict=False
                )
            )
            away = (places - number[3 : 3 + dim] + IMAGE) % 1.0 - IMAGE
            inside = (1 - torch.tanh((away.square().sum(1) - radius**2) / (2 * radius * edge))) / 2
            outside = outside * (1 - height * inside)
        rest, seeded = torch.tensor([self.rest, self.seeded], dtype=points.dtype)[..., None]
        return rest + (seeded - rest) * (1 - outside)


def _shares(seed: int) -> Tensor:
    """Independent numbers in (0, 1), a row for the count and one for each patch."""
    rows, columns = np.indices((1 + max(MOST.values()), NUMBERS))
    found = uniform(sample_keys(seed, PATCHES, 1), [columns.ravel(), rows.ravel()])[0]
    return torch.from_numpy(found.reshape(rows.shape))


REACTING: Mapping[str, Patches] = MappingProxyType(
    {
        # a population in an empty box: every patch grows into fronts
        "fisher_kpp": Patches((0.0,), (1.0,), radius=(0.02, 0.15), height=(0.2, 1.0)),
        # Pearson's trigger, u = 1/2 and v = 1/4 in u = 1, v = 0; smaller ones die out
        "gray_scott": Patches((1.0, 0.0), (0.5, 0.25), radius=(0.03, 0.1)),
    }
)
"""Problems that start from patches, by name.

References: Fisher (1937), Ann. Eugenics 7, 355; Pearson (1993), Science 261, 189.
"""
