"""Fluxes through the boundary from the weak residual, more accurate than from gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pdeml.domains.mesh_simplex import simplex_rule
from pdeml.errors import InvalidOption
from pdeml.operators.weak import WeakEquation
from pdeml.solvers.fem.field import FiniteElementField, shape_functions
from pdeml.solvers.fem.forms import QUADRATURE
from pdeml.solvers.functionals import at_time, evaluated, lies_on

if TYPE_CHECKING:
    from pdeml.solvers.solution import Solution

ON_FACET = 1e-9  # a barycentric coordinate that small is 0


def consistent_flux(
    solution: Solution, equation: WeakEquation, on: Any, time: float | None
) -> float:
    """∫_Γ F·n ds of an equation div F + r = 0 by its weak residual.

        ∫_Γ F·n ds = ∫_Ω (F·∇w − r w) dx − ∫_{∂Ω∖Γ} F·n w ds

    w is the sum of the shape functions of all nodes on Γ. It reaches over the edge of Γ by one
    facet, where the flux of the computed gradient is subtracted.

    Parameters
    ----------
    solution : by "fem".
    equation : of its weak form.
    on : part Γ of the boundary; None for all of it.
    time : the instant, None without time.

    Raises
    ------
    InvalidOption
        No facet is on Γ.
    """
    lift = _Lift(solution, equation, on)
    field = lift.field
    quadrature = min(2 * max(field.degrees) + 4, QUADRATURE)  # the solver's
    rule, shares = (torch.from_numpy(a) for a in simplex_rule(field.dim, quadrature))
    cells = lift.touched(np.arange(len(lift.dofs)))
    places = at_time(lift.places(cells, rule).flatten(0, 1), time)
    values = evaluated(solution, equation.expressions, places).unflatten(0, (len(cells), -1))
    w, slope = lift.at(cells, rule)
    density = (values[..., :-1] * slope).sum(-1) - values[..., -1] * w
    total = float((lift.volumes(cells)[:, None] * shares * density).sum())
    # what is left of w beyond Γ
    rule, shares = (torch.from_numpy(a) for a in simplex_rule(field.dim - 1, quadrature))
    for k in range(field.dim + 1):
        cells = lift.touched(lift.outer[(lift.opposite == k) & ~lift.chosen])
        if len(cells):
            inner = torch.cat([rule[:, :k], torch.zeros_like(rule[:, :1]), rule[:, k:]], dim=1)
            places = at_time(lift.places(cells, inner).flatten(0, 1), time)
            values = evaluated(solution, equation.flux, places).unflatten(0, (len(cells), -1))
            # −∇λ_k is normal to the facet, and as long as its measure by d times the volume
            area = -lift.slopes(cells)[:, k] * field.dim * lift.volumes(cells)[:, None]
            flow = (values * area[:, None]).sum(-1)
            total -= float((shares * flow * lift.at(cells, inner)[0]).sum())
    return total


class _Lift:
    """w, the function that is 1 at all nodes on Γ and 0 at all others, on the cells of a mesh.

    Attributes
    ----------
    outer, opposite, chosen : of each facet of the boundary, its cell, the corner that is not on it,
        and whether it is on Γ.
    """

    def __init__(self, solution: Solution, equation: WeakEquation, on: Any):
        field = solution.field
        assert isinstance(field, FiniteElementField)
        self.field: FiniteElementField = field
        self.degree = field.degrees[solution.problem.fields.index(equation.field)]
        self.corners = field.points.cpu()[field.corners.cpu()]
        self.reference = getattr(field, f"reference_{self.degree}").cpu()
        self.dofs = getattr(field, f"dofs_{self.degree}").cpu().numpy()
        self.outer, self.opposite = boundary_facets(field.corners.cpu().numpy())
        rows = torch.arange(len(self.outer))
        others = self.corners[self.outer].sum(1) - self.corners[self.outer][rows, self.opposite]
        self.chosen = lies_on(solution.problem, on, others / field.dim).numpy()
        if not self.chosen.any():
            raise InvalidOption(f"on={on}: no facet of the mesh is there.")
        weights = _barycentric(self.reference)
        nodes = np.zeros(self.dofs.max() + 1)
        for k in range(field.dim + 1):
            cells = self.outer[self.chosen & (self.opposite == k)]
            nodes[self.dofs[cells][:, weights[:, k].numpy() < ON_FACET]] = 1.0
        self.nodes = nodes

    def touched(self, cells: np.ndarray) -> np.ndarray:
        """Those of some cells in which w is not 0."""
        return cells[self.nodes[self.dofs[cells]].any(axis=1)]

    def places(self, cells: np.ndarray, rule: Tensor) -> Tensor:
        """Points (C, Q, d) with the barycentric coordinates of a rule (Q, d + 1)."""
        return torch.einsum("qk,ckd->cqd", rule, self.corners[cells])

    def volumes(self, cells: np.ndarray) -> Tensor:
        edges = self.corners[cells][:, 1:] - self.corners[cells][:, :1]
        return torch.linalg.det(edges).abs() / math.factorial(self.field.dim)

    def slopes(self, cells: np.ndarray) -> Tensor:
        """∇λ of each barycentric coordinate, (C, d + 1, d)."""
        edges = self.corners[cells][:, 1:] - self.corners[cells][:, :1]
        inner = torch.linalg.inv(edges.transpose(1, 2))
        return torch.cat([-inner.sum(1, keepdim=True), inner], dim=1)

    def at(self, cells: np.ndarray, rule: Tensor) -> tuple[Tensor, Tensor]:
        """w (C, Q) and its gradient (C, Q, d) at the points of a rule."""
        local = rule[:, 1:].clone().requires_grad_()
        shapes = shape_functions(local, self.reference, self.degree)
        change = [torch.autograd.grad(s.sum(), local, retain_graph=True)[0] for s in shapes.T]
        own = torch.from_numpy(self.nodes[self.dofs[cells]])
        slope = torch.einsum("nqi,cn,cid->cqd", torch.stack(change), own, self.slopes(cells)[:, 1:])
        return own @ shapes.detach().T, slope


def boundary_facets(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Facets that only one cell has, from the vertex numbers of all cells (C, d + 1).

    Returns
    -------
    (F,) their cells, and (F,) which corner of that cell is not on the facet.
    """
    size = corners.shape[1]
    rows = np.stack([np.sort(np.delete(corners, k, axis=1), axis=1) for k in range(size)], axis=1)
    _, first, counts = np.unique(
        rows.reshape(-1, size - 1), axis=0, return_index=True, return_counts=True
    )
    outer = np.sort(first[counts == 1])
    return outer // size, outer % size


def _barycentric(local: Tensor) -> Tensor:
    return torch.cat([1 - local.sum(1, keepdim=True), local], dim=1)
