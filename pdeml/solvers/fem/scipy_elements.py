"""Lagrange elements of degree 1 and 2 on simplices as plain arrays, for `scipy_newton`."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from pdeml.domains.mesh import Mesh
from pdeml.domains.mesh_facets import facets_of_cells
from pdeml.domains.mesh_simplex import simplex_rule


class Rule(NamedTuple):
    """Quadrature over K cells or facets with Q points each.

    Attributes
    ----------
    dofs : nodes of the cells, (K, n).
    basis : shape functions and their slopes, (K, Q, n, 1 + d).
    points, normals : (K, Q, d).
    weights : (K, Q).
    """

    dofs: np.ndarray
    basis: np.ndarray
    points: np.ndarray
    normals: np.ndarray
    weights: np.ndarray


class Elements:
    """Continuous functions of degree 1 or 2: one node per vertex, and for P2 one per edge.

    Attributes
    ----------
    places : nodes of the reference cell in barycentric coordinates λ, (n, d + 1).
    nodes, dofs : coordinates (N, d); nodes of each cell (C, n).
    """

    def __init__(self, mesh: Mesh, degree: int):
        self.mesh, self.degree, self.dim = mesh, degree, mesh.dim
        self.places, self.nodes, self.dofs = np.eye(self.dim + 1), mesh.vertices, mesh.cells
        self.pairs = np.array(list(itertools.combinations(range(self.dim + 1), 2)))
        if degree == 2:
            edges = np.sort(mesh.cells[:, self.pairs], axis=2)
            unique, number = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
            self.places = np.concatenate([self.places, self.places[self.pairs].mean(axis=1)])
            self.nodes = np.concatenate([self.nodes, mesh.vertices[unique].mean(axis=1)])
            number = len(mesh.vertices) + number.reshape(edges.shape[:2])
            self.dofs = np.concatenate([self.dofs, number], axis=1)
        corners = mesh.vertices[mesh.cells]
        inner = np.linalg.inv(corners[:, 1:] - corners[:, :1]).transpose(0, 2, 1)
        # ∇λ, (C, d + 1, d)
        self.gradients = np.concatenate([-inner.sum(axis=1, keepdims=True), inner], axis=1)
        self.facets = facets_of_cells(mesh.vertices, mesh.cells)
        across = mesh.cells[self.facets.owners] == self.facets.opposite[:, None]
        self.across = across.argmax(axis=1)  # the local vertex that a facet does not have

    def _basis(self, weights: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        """Shape functions and slopes (K, Q, n, 1 + d) at λ (K or 1, Q, d + 1)."""
        eye, (i, j) = np.eye(self.dim + 1), self.pairs.T
        values, slopes = weights, np.broadcast_to(eye, (*weights.shape, self.dim + 1))
        if self.degree == 2:
            # λ_i (2 λ_i − 1) and 4 λ_i λ_j
            edges = 4 * (weights[..., i, None] * eye[j] + weights[..., j, None] * eye[i])
            slopes = np.concatenate([(4 * weights - 1)[..., None] * eye, edges], axis=-2)
            edges = 4 * weights[..., i] * weights[..., j]
            values = np.concatenate([weights * (2 * weights - 1), edges], axis=-1)
        moved = slopes @ gradients[:, None]
        return np.concatenate([np.broadcast_to(values, moved.shape[:-1])[..., None], moved], -1)

    def over_cells(self, degree: int) -> Rule:
        """Quadrature over all cells."""
        weights, shares = simplex_rule(self.dim, degree)
        points = weights @ self.mesh.vertices[self.mesh.cells]
        return Rule(
            self.dofs,
            self._basis(weights[None], self.gradients),
            points,
            np.zeros_like(points),
            np.outer(self.mesh.cell_volumes, shares),
        )

    def over_facets(self, which: np.ndarray, degree: int) -> Rule:
        """Quadrature over some facets of the boundary."""
        flat, shares = simplex_rule(self.dim - 1, degree)
        table = np.stack([np.insert(flat, o, 0.0, axis=1) for o in range(self.dim + 1)])
        owners, across = self.facets.owners[which], self.across[which]
        weights, gradients = table[across], self.gradients[owners]
        inward = gradients[np.arange(len(owners)), across]
        steepness = np.linalg.norm(inward, axis=1)  # d · volume / area
        points = weights @ self.mesh.vertices[self.mesh.cells[owners]]
        normals = np.broadcast_to((-inward / steepness[:, None])[:, None], points.shape)
        areas = self.dim * self.mesh.cell_volumes[owners] * steepness
        return Rule(
            self.dofs[owners],
            self._basis(weights, gradients),
            points,
            normals,
            np.outer(areas, shares),
        )

    def on_facets(self, which: np.ndarray) -> np.ndarray:
        """Nodes on some facets of the boundary."""
        on = self.places[:, self.across[which]].T == 0
        return np.unique(self.dofs[self.facets.owners[which]][on])
