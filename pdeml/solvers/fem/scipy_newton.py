"""Finite elements by NumPy and SciPy alone, for machines without DOLFINx and as a check of it.

P1 and P2 on simplices, steady problems, one process. The weak form is the one that DOLFINx gets,
but it is lowered in another way: to torch programs with exact symbolic derivatives, integrated over
all cells at once. With the values q of all fields and of their slopes,

    R_i = ∫ Σ_s c_s(x, q) B_s φ_i dx + ∫_∂Ω (F·n)(x, q) φ_i ds,     B_0 φ = φ,  B_s φ = ∂φ/∂x_s,
    J_ij = ∂R_i/∂u_j = ∫ Σ_st ∂c_s/∂q_t B_s φ_i B_t φ_j dx + …,      c_0 = r,  c_s = −F_s.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
import torch
from scipy import sparse
from scipy.sparse.linalg import splu

from pdeml.domains import Box
from pdeml.domains.mesh import Mesh
from pdeml.errors import DivergedError, InvalidOption, UnsupportedProblem
from pdeml.operators.conditions import BOUNDARY, Dirichlet, Periodic
from pdeml.operators.expressions import Program, evaluate
from pdeml.operators.printing import text
from pdeml.operators.weak import WeakForm, slope
from pdeml.solvers.fem.field import FiniteElementField, filled
from pdeml.solvers.fem.lowering import holds, holds_slope
from pdeml.solvers.fem.mesh import space_of
from pdeml.solvers.fem.plan import Plan
from pdeml.solvers.fem.scipy_elements import Elements, Rule
from pdeml.solvers.report import Report
from pdeml.solvers.solution import Solution

CELLS = {1: 128, 2: 32, 3: 8}  # along the longest axis where no h is given
QUADRATURE = 10  # highest degree, as with DOLFINx
RELATIVE, ABSOLUTE, MOST = 1e-10, 1e-11, 30  # of Newton's iteration, as with DOLFINx
SHORTEST = 2.0**-12  # part of a Newton step that the line search tries
TOUCHING = 1e-8  # of the diameter: so far outside of the mesh a point is taken for one of its rim


class Solved(NamedTuple):
    """A solution of one mesh."""

    field: FiniteElementField
    config: dict[str, Any]
    iterations: int
    taken: int = 0  # steps in time


def solved(form: WeakForm, plan: Plan) -> tuple[Solved, dict[str, float] | None, list[str]]:
    """Solve, and estimate the error from cells twice and four times as large (on a given mesh:
    from the other degree), as `pdeml.solvers.fem.levels` does.

    Raises
    ------
    UnsupportedProblem, InvalidOption
        The problem or an option needs DOLFINx; the message names what does.
    DivergedError
        Newton's iteration failed.
    """
    _check(form, plan)
    problem, space = form.problem, space_of(form.problem)
    if plan.mesh is not None:
        meshes = [(plan.mesh, plan.degree), (plan.mesh, 3 - plan.degree)]
    else:
        lower, upper = (np.array(corner) for corner in space.bounds)
        h = (upper - lower).max() / CELLS[space.dim] if plan.h is None else plan.h
        counts = np.maximum(1, np.ceil((upper - lower) / h * (1 - 1e-9))).astype(int)
        meshes = [
            (Mesh.structured(space, [int(max(1, n // 2**k)) for n in counts]), plan.degree)
            for k in range(3)
        ]
    runs = []
    for mesh, degree in meshes:
        regular = isinstance(space, Box) and plan.mesh is None
        system = System(form, Elements(mesh, degree))
        iterations = system.solve(plan.initial)
        field, config = system.field(_counts(mesh) if regular else None)
        runs.append(Solved(field, config, iterations))
    first, second, *rest = (
        Solution(problem, "fem", r.field, config=r.config, report=Report("fem")) for r in runs
    )
    error, notes = first.error(second), [f"{len(meshes[0][0].cells)} cells, degree {plan.degree}"]
    if rest:
        before, now = second.error(rest[0])["l2_relative"], error["l2_relative"]
        rate = math.log2(before / now) if before > 0 and now > 0 else math.inf
        error = {k: v / (2 ** min(max(rate, 0.5), plan.degree + 1) - 1) for k, v in error.items()}
    against = "three levels" if rest else f"degree {3 - plan.degree}"
    notes.append(f"self-convergence: l2_relative {error['l2_relative']:.1e} from {against}")
    return runs[0], error, notes


def _check(form: WeakForm, plan: Plan) -> None:
    problem, needs = form.problem, None
    if problem.time is not None:
        needs = f"{problem.name!r} evolves in {problem.time}"
    elif form.pressures:
        needs = f"{form.pressures[0].func.__name__} enforces a constraint (Taylor–Hood elements)"
    elif any(isinstance(c, Periodic) for c in problem.conditions):
        needs = "Periodic is declared"
    elif free := [f for f in form.fields if not form.fixes_constant(f)]:
        needs = f"nothing fixes the constant of {free[0].func.__name__}"
    if needs is not None:
        raise UnsupportedProblem(
            f'"fem" with backend="scipy" solves steady problems whose fields are fixed by their '
            f'conditions, but {needs}. Use backend="dolfinx".'
        )
    cell = plan.cell if plan.mesh is None else plan.mesh.cell
    if cell in ("quadrilateral", "hexahedron"):
        raise InvalidOption(
            f'backend="scipy" takes intervals, triangles or tetrahedra; the cells are {cell!r}: '
            'leave cell= out, give a mesh of simplices, or use backend="dolfinx".'
        )
    unknown = {"tol": plan.tol, "petsc_options": plan.petsc_options or None}
    if plan.degree > 2:
        unknown["degree"] = plan.degree
    for name, value in unknown.items():
        if value is not None:
            raise InvalidOption(
                f'{name}={value!r}: backend="scipy" takes degree 1 or 2, h, mesh and initial. '
                f'Leave {name} out, or use backend="dolfinx".'
            )


def _counts(mesh: Mesh) -> list[int]:
    """Cells per axis of the structured mesh of a box."""
    return [len(np.unique(column)) - 1 for column in mesh.vertices.T]


class Integral:
    """∫ Σ_s c_s B_s φ_i for the test functions of one equation, and its derivatives."""

    def __init__(self, system: System, row: int, rule: Rule, coefficients: Sequence[sp.Expr]):
        self.row, self.rule, self.total = row, rule, len(system.elements.nodes)
        names = {q: sp.Dummy() for q in system.unknowns}
        plain = [c.xreplace(names) for c in coefficients]
        width = rule.basis.shape[-1]
        partials = {
            (s, *divmod(t, width)): found
            for s, c in enumerate(plain)
            for t, name in enumerate(names.values())
            if (found := c.diff(name)) != 0
        }
        self.tests = [s for s, c in enumerate(plain) if c != 0]
        self.partials = list(partials)
        problem = system.form.problem
        arguments = [*problem.space_coordinates, *system.normal, *problem.values, *names.values()]
        self.values = Program([plain[s] for s in self.tests], arguments)
        self.slopes = Program(list(partials.values()), arguments)
        places = np.concatenate([rule.points, rule.normals], axis=2)
        self.known = [*torch.from_numpy(places).unbind(2), *problem.values.values()]

    def _evaluated(self, program: Program, states: np.ndarray) -> list[np.ndarray]:
        """Coefficients times weights (K, Q), at states (fields, N)."""
        local = states[:, self.rule.dofs]
        q = np.einsum("kqns,fkn->fskq", self.rule.basis, local, optimize=True)
        found = program(*self.known, *torch.from_numpy(q).flatten(0, 1))
        return [np.asarray(c) * self.rule.weights for c in found]

    def residual(self, states: np.ndarray) -> np.ndarray:
        """R at all nodes, (N,)."""
        local = np.zeros(self.rule.dofs.shape)
        for s, c in zip(self.tests, self._evaluated(self.values, states), strict=True):
            local += np.einsum("kqn,kq->kn", self.rule.basis[..., s], c)
        return np.bincount(self.rule.dofs.ravel(), local.ravel(), self.total)

    def jacobian(self, states: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Entries of J, with their rows and columns in the nodes of all fields."""
        basis, dofs = self.rule.basis, self.rule.dofs
        blocks: dict[int, np.ndarray] = {}
        found = self._evaluated(self.slopes, states)
        for (s, field, t), c in zip(self.partials, found, strict=True):
            left = (basis[..., s] * c[:, :, None]).transpose(0, 2, 1)
            blocks[field] = blocks.get(field, 0.0) + left @ basis[..., t]
        rows, columns = np.broadcast_arrays(dofs[:, :, None], dofs[:, None])
        return [
            (b.ravel(), (rows + self.row * self.total).ravel(), (columns + f * self.total).ravel())
            for f, b in blocks.items()
        ]


class System:
    """The discrete equations of all fields, their nodes in a row, field after field.

    Attributes
    ----------
    unknowns : of each field, itself and its slopes.
    fixed, prescribed : whether a Dirichlet condition holds at a node, and its value.
    """

    def __init__(self, form: WeakForm, elements: Elements):
        self.form, self.elements, problem = form, elements, form.problem
        x, count = problem.space_coordinates, len(elements.nodes)
        self.normal = sp.symbols([f"n_{c}" for c in x], real=True, cls=sp.Dummy)
        self.unknowns = [q for f in form.fields for q in (f, *(f.diff(c) for c in x))]
        degree = min(2 * elements.degree + 4, QUADRATURE)
        cells = elements.over_cells(degree)
        self.integrals = [
            Integral(self, k, cells, [e.remainder, *(-f for f in e.flux)])
            for k, e in enumerate(form.equations)
        ]
        conditions = [c for c in problem.conditions if isinstance(c, BOUNDARY)]
        middles = torch.from_numpy(elements.mesh.vertices[elements.facets.outer].mean(axis=1))
        held = np.array([holds(problem, c, middles) for c in conditions])
        self.fixed = np.zeros((len(form.fields), count), dtype=bool)
        self.prescribed = np.zeros(self.fixed.shape)
        for c, where in zip(conditions, held, strict=True):
            if isinstance(c, Dirichlet):
                k, nodes = form.fields.index(c.field), elements.on_facets(np.flatnonzero(where))
                at = torch.from_numpy(elements.nodes[nodes])
                self.fixed[k, nodes] = True
                self.prescribed[k, nodes] = evaluate([c.value], x, at, problem.values)[:, 0]
        for pattern in np.unique(held, axis=1).T:
            facets = np.flatnonzero((held == pattern[:, None]).all(axis=0))
            active = [c for c, on in zip(conditions, pattern, strict=True) if on]
            self._add_boundary(elements.over_facets(facets, degree), active)

    def _add_boundary(self, rule: Rule, active: Sequence[Any]) -> None:
        """F·n on facets with the same conditions, for every equation whose field is free there."""
        for k, equation in enumerate(self.form.equations):
            if any(isinstance(c, Dirichlet) and c.field == equation.field for c in active):
                continue
            slopes = {
                c.field: slope(c)
                for c in active
                if not isinstance(c, Dirichlet)
                and holds_slope(equation, c.field, self.form.problem)
            }
            own = holds_slope(equation, equation.field, self.form.problem)
            if own and equation.field not in slopes and equation.field in self.form.problem.fields:
                raise UnsupportedProblem(
                    f'"fem" needs a condition for {text(equation.field)} on the whole boundary, '
                    "but a part of it has none. Add Dirichlet, Neumann or Robin there."
                )
            term = self.form.boundary_term(equation, slopes, self.normal)
            if term != 0:
                self.integrals.append(Integral(self, k, rule, [term]))

    def residual(self, states: np.ndarray) -> np.ndarray:
        """R of states (fields, N), without conditions, (fields, N)."""
        total = np.zeros_like(states)
        for integral in self.integrals:
            total[integral.row] += integral.residual(states)
        return total

    def jacobian(self, states: np.ndarray) -> Any:
        """J of states (fields, N), without conditions, as a sparse matrix."""
        parts = [part for i in self.integrals for part in i.jacobian(states)]
        data, rows, columns = map(np.concatenate, zip(*parts, strict=True))
        return sparse.coo_matrix((data, (rows, columns)), (states.size, states.size)).tocsc()

    @cached_property
    def _harmonic(self) -> np.ndarray:
        """Harmonic functions with the prescribed values: where Newton's iteration starts."""
        rule = self.elements.over_cells(2 * self.elements.degree)
        slopes = rule.basis[..., 1:]
        local = np.einsum("kqis,kqjs,kq->kij", slopes, slopes, rule.weights, optimize=True)
        rows, columns = np.broadcast_arrays(rule.dofs[:, :, None], rule.dofs[:, None])
        entries = (local.ravel(), (rows.ravel(), columns.ravel()))
        matrix = sparse.coo_matrix(entries, (len(self.elements.nodes),) * 2).tocsc()
        out = self.prescribed.copy()
        for values, fixed in zip(out, self.fixed, strict=True):
            if fixed.any() and not fixed.all():
                right = -(matrix @ values)[~fixed]
                values[~fixed] = splu(matrix[~fixed][:, ~fixed]).solve(right)
        return out

    def solve(self, initial: Any = None) -> int:
        """Newton's iteration with a line search, from the harmonic extension of the boundary
        values or from the initial ones; the number of its steps.

        Raises
        ------
        DivergedError
            It did not converge, or the matrix is singular.
        """
        self.states = self._harmonic.copy()
        if initial is not None:
            given = initial(self.elements.nodes).T
            self.states[: len(given)] = np.where(self.fixed[: len(given)], self.states, given)
        free = ~self.fixed.ravel()
        residual = self.residual(self.states).ravel()[free]
        first = norm = float(np.linalg.norm(residual))
        for count in range(MOST):
            if norm <= max(ABSOLUTE, RELATIVE * first):
                return count
            try:
                matrix = self.jacobian(self.states)[free][:, free]
                step = -splu(matrix, permc_spec="MMD_AT_PLUS_A").solve(residual)
            except RuntimeError:
                break  # singular
            part, states = 1.0, self.states.ravel()
            while part >= SHORTEST:
                moved = states.copy()
                moved[free] += part * step
                tried = moved.reshape(self.states.shape)
                residual = self.residual(tried).ravel()[free]
                if (found := float(np.linalg.norm(residual))) < (1 - 1e-4 * part) * norm:
                    break
                part /= 2
            else:
                if norm <= 1e3 * max(ABSOLUTE, RELATIVE * first):
                    return count  # round-off
                break
            self.states, norm = tried, found
        raise DivergedError(
            f'"fem" with backend="scipy": Newton\'s iteration of {self.form.problem.name!r} failed '
            f"with the residual {norm:.2e}. Refine by h=, start nearer by initial=, or use "
            'backend="dolfinx", which continues from smaller data.'
        )

    def field(self, counts: list[int] | None) -> tuple[FiniteElementField, dict[str, Any]]:
        """The declared fields as a torch module, and its config."""
        e, declared = self.elements, len(self.form.problem.fields)
        p, (vertices, cells) = str(e.degree), (e.mesh.vertices, e.mesh.cells)
        state = {"points": vertices, "corners": cells, f"reference_{p}": e.places[:, 1:]}
        state |= {f"dofs_{p}": e.dofs, f"values_{p}": self.states[None, :declared]}
        diameter = float(np.linalg.norm(np.ptp(vertices, axis=0)))
        config = {
            "dim": e.dim,
            "vertices": len(vertices),
            "cells": len(cells),
            "degrees": [e.degree] * declared,
            "nodes": {p: len(e.nodes)},
            "frames": 0,
            "counts": counts,
            "snap": TOUCHING * diameter,
        }
        return filled(config, state), config
