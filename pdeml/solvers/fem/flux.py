"""Fluxes through the boundary from the weak residual, more accurate than from gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pdeml.domains.mesh_kinds import kind_of
from pdeml.errors import InvalidOption
from pdeml.operators.weak import WeakEquation
from pdeml.solvers.fem.field import FiniteElementField
from pdeml.solvers.fem.forms import QUADRATURE
from pdeml.solvers.fem.reference import reference_of
from pdeml.solvers.functionals import at_time, evaluated, lies_on

if TYPE_CHECKING:
    from pdeml.solvers.solution import Solution

ON_FACET = 1e-9  # a node that far from a facet of the reference cell is on it


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
    quadrature = min(2 * max(lift.field.degrees) + 4, QUADRATURE)  # the solver's
    local, weights = lift.reference.rule(quadrature)
    here = lift.at(lift.touched(np.arange(len(lift.dofs))), local)
    places = at_time(here.places.flatten(0, 1), time)
    values = evaluated(solution, equation.expressions, places).unflatten(0, here.w.shape)
    density = (values[..., :-1] * here.slope).sum(-1) - values[..., -1] * here.w
    total = float((weights * here.volume * density).sum())
    # what is left of w beyond Γ
    for k, normal in enumerate(lift.reference.normals):
        cells = lift.touched(lift.outer[(lift.facet == k) & ~lift.chosen])
        if len(cells):
            local, shares = lift.reference.facet_rule(k, quadrature)
            here = lift.at(cells, local)
            places = at_time(here.places.flatten(0, 1), time)
            values = evaluated(solution, equation.flux, places).unflatten(0, here.w.shape)
            area = here.volume[..., None] * torch.einsum("i,cqid->cqd", normal, here.inverse)
            total -= float((shares * (values * area).sum(-1) * here.w).sum())
    return total


class _Here(NamedTuple):
    """At Q local coordinates of C cells: x (C, Q, d), |det J|, ∂ξ_i/∂x (C, Q, i, d), w and ∇w."""

    places: Tensor
    volume: Tensor
    inverse: Tensor
    w: Tensor
    slope: Tensor


class _Lift:
    """w, the function that is 1 at all nodes on Γ and 0 at all others, on the cells of a mesh.

    Attributes
    ----------
    outer, facet, chosen : of each facet of the boundary, its cell, which facet of that it is, and
        whether it is on Γ.
    """

    def __init__(self, solution: Solution, equation: WeakEquation, on: Any):
        field = solution.field
        assert isinstance(field, FiniteElementField)
        self.field: FiniteElementField = field
        self.degree = field.degrees[solution.problem.fields.index(equation.field)]
        numbers = field.corners.cpu()
        corners = field.points.cpu()[numbers]
        self.cells = field.kind(corners)
        self.reference = reference_of(kind_of(field.dim, numbers.shape[1]))
        self.places = getattr(field, f"reference_{self.degree}").cpu()
        self.dofs = getattr(field, f"dofs_{self.degree}").cpu().numpy()
        facets = self.reference.facets
        self.outer, self.facet = boundary_facets(numbers.numpy(), facets)
        middles = torch.stack([corners[:, list(own)].mean(1) for own in facets], 1)
        middles = middles[self.outer, self.facet]
        self.chosen = lies_on(solution.problem, on, middles).numpy()
        if not self.chosen.any():
            raise InvalidOption(f"on={on}: no facet of the mesh is there.")
        nodes = np.zeros(self.dofs.max() + 1)
        for k, (own, normal) in enumerate(zip(facets, self.reference.normals, strict=True)):
            cells = self.outer[self.chosen & (self.facet == k)]
            height = (self.places - self.reference.corners[own[0]]) @ normal
            nodes[self.dofs[cells][:, height.abs().numpy() < ON_FACET]] = 1.0
        self.nodes = nodes

    def touched(self, cells: np.ndarray) -> np.ndarray:
        """Those of some cells in which w is not 0."""
        return cells[self.nodes[self.dofs[cells]].any(axis=1)]

    def at(self, cells: np.ndarray, local: Tensor) -> _Here:
        """The map of cells (C,), and w, at local coordinates (Q, d)."""
        pair = local.repeat(len(cells), 1), torch.from_numpy(cells).repeat_interleave(len(local))
        shape = len(cells), len(local)
        j = self.cells.slopes(*pair).unflatten(0, shape)
        inverse = torch.linalg.inv(j).transpose(2, 3)
        free = local.clone().requires_grad_()
        shapes = self.cells.shape_functions(free, self.places, self.degree)
        change = [torch.autograd.grad(s.sum(), free, retain_graph=True)[0] for s in shapes.T]
        own = torch.from_numpy(self.nodes[self.dofs[cells]])
        slope = torch.einsum("nqi,cn,cqid->cqd", torch.stack(change), own, inverse)
        places = self.cells.places(*pair).unflatten(0, shape)
        return _Here(places, torch.linalg.det(j).abs(), inverse, own @ shapes.detach().T, slope)


def boundary_facets(
    corners: np.ndarray, facets: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Facets that only one cell has, from the vertex numbers of all cells (C, k).

    Returns
    -------
    (F,) their cells, and (F,) which of the facets of that cell they are.
    """
    rows = np.stack([np.sort(corners[:, list(own)], axis=1) for own in facets], axis=1)
    _, first, counts = np.unique(
        rows.reshape(-1, rows.shape[2]), axis=0, return_index=True, return_counts=True
    )
    outer = np.sort(first[counts == 1])
    return outer // len(facets), outer % len(facets)
