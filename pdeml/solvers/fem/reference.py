"""Reference cells: their corners and facets, and quadrature over both."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pdeml.domains.mesh_facets import HEXAHEDRON_SIDES, QUADRILATERAL_SIDES
from pdeml.domains.mesh_kinds import Kind
from pdeml.domains.mesh_simplex import simplex_rule
from pdeml.domains.mesh_tensor import AROUND, corner_weights, tensor_rule


class Reference(NamedTuple):
    """The unit simplex, or the unit square or cube.

    Attributes
    ----------
    corners : (k, d), those of a simplex 0 and the unit vectors.
    facets : numbers of the corners of each facet.
    normals : outward, as long as the facet's measure over that of `facet_rule`, (F, d): a facet of
        x(ξ) has the normal |det J| Σ_i N_i ∂ξ_i/∂x times its measure.
    """

    corners: Tensor
    facets: tuple[tuple[int, ...], ...]
    normals: Tensor

    @property
    def _simplex(self) -> bool:
        return len(self.corners) == self.corners.shape[1] + 1

    def rule(self, degree: int) -> tuple[Tensor, Tensor]:
        """Local coordinates (Q, d) and weights (Q,), which sum to the measure of the cell."""
        dim = self.corners.shape[1]
        if not self._simplex:
            nodes, shares = tensor_rule(dim, degree)
            return torch.from_numpy(nodes), torch.from_numpy(shares)
        weights, shares = simplex_rule(dim, degree)
        return torch.from_numpy(weights[:, 1:].copy()), torch.from_numpy(
            shares / math.factorial(dim)
        )

    def facet_rule(self, facet: int, degree: int) -> tuple[Tensor, Tensor]:
        """Local coordinates (Q, d) on a facet, and weights (Q,) of sum one."""
        dim = self.corners.shape[1] - 1
        if self._simplex:
            weights, shares = map(torch.from_numpy, simplex_rule(dim, degree))
        else:
            nodes, shares = map(torch.from_numpy, tensor_rule(dim, degree))
            weights = corner_weights(nodes)
        return weights @ self.corners[list(self.facets[facet])], shares


def reference_of(kind: Kind) -> Reference:
    """The reference cell of a kind of cells."""
    dim = kind.dim
    if kind.corners == dim + 1:
        corners = np.concatenate([np.zeros((1, dim)), np.eye(dim)])
        facets = tuple(itertools.combinations(range(dim + 1), dim))[::-1]
        normals = np.concatenate([np.ones((1, dim)), -np.eye(dim)]) / math.factorial(dim - 1)
    else:
        lattice = np.array(list(itertools.product((0.0, 1.0), repeat=dim)))[:, ::-1]
        corners = lattice[list(AROUND[dim])]
        sides = QUADRILATERAL_SIDES if dim == 2 else HEXAHEDRON_SIDES
        facets = tuple(side for side, _ in sides)
        normals = np.stack([2 * corners[list(side)].mean(axis=0) - 1 for side in facets])
    return Reference(torch.from_numpy(corners.copy()), facets, torch.from_numpy(normals))
