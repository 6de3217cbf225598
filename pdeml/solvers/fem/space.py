"""Function spaces on a mesh, and what the conditions fix in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp
import torch
from sympy.core.function import AppliedUndef

from pdeml.domains import Box
from pdeml.errors import UnsupportedProblem
from pdeml.operators.conditions import Dirichlet
from pdeml.operators.expressions import Program, as_columns, evaluate
from pdeml.operators.pde import PDE
from pdeml.operators.weak import WeakForm
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.expressions import separated
from pdeml.solvers.fem.lowering import holds, on_face, on_periodic_face, periodic_axes
from pdeml.solvers.fem.mesh import Mesh, space_of
from pdeml.solvers.fem.processes import alike

ROUNDED = -48  # binary digits of the extent of the domain that coordinates of nodes keep


@dataclass(frozen=True)
class Prescribed:
    """Values that a Dirichlet condition gives to nodes of a field."""

    field: int
    nodes: np.ndarray
    values: Callable[[float | None], np.ndarray]


class Space:
    """One space of continuous piecewise polynomials per field, and its constraints.

    Parameters
    ----------
    form : the weak form.
    mesh : of its domain.
    degree : of all fields but pressures, which have one less (Taylor–Hood).

    Attributes
    ----------
    spaces : DOLFINx function spaces, one per field; fields of one degree share theirs.
    prescribed : nodes and conditions of fixed values.
    pinned : fields of which one node is fixed, as only their derivatives matter.

    Notes
    -----
    The solver's unknowns are the *free* nodes y: all nodes x = P y + g, where P has a one per node,
    in the column of the node itself or of its partner across a periodic axis, and no entry where a
    value is prescribed. Newton's iteration is that of Pᵀ R(P y + g) = 0.
    """

    def __init__(self, form: WeakForm, mesh: Mesh, degree: int):
        self.form, self.mesh, self.problem = form, mesh, form.problem
        self.degrees = [degree - (f in form.pressures) for f in form.fields]
        fem = backend.load().fem
        made = {p: fem.functionspace(mesh.handle, ("Lagrange", p)) for p in sorted({*self.degrees})}
        self.spaces = [made[p] for p in self.degrees]
        self.owned = [v.dofmap.index_map.size_local for v in self.spaces]
        self.offsets = np.concatenate([[0], np.cumsum(self.owned)]).astype(int)
        self.prescribed = self._prescribed()
        self.pinned = [
            k
            for k, f in enumerate(form.fields)
            if not form.fixes_constant(f) and not self._evolves(f)
        ]

    def _evolves(self, field: AppliedUndef) -> bool:
        return field in self.problem.fields and self.problem.time_order(field) > 0

    # ------------------------------------------------------------------------------- the boundary

    @cached_property
    def facets(self) -> np.ndarray:
        """Facets of the boundary that this rank owns."""
        handle, dim = self.mesh.handle, self.mesh.dim
        for pair in ((dim - 1, dim), (dim - 1, 0)):
            handle.topology.create_connectivity(*pair)
        return np.sort(backend.load().mesh.exterior_facet_indices(handle.topology))

    @cached_property
    def middles(self) -> torch.Tensor:
        """Middles of these facets, (n, d)."""
        mesh, dim = backend.load().mesh, self.mesh.dim
        found = mesh.compute_midpoints(self.mesh.handle, dim - 1, self.facets)[:, :dim]
        return torch.from_numpy(np.ascontiguousarray(found))

    def holds(self, condition: Any) -> np.ndarray:
        """On which of the facets a condition holds, (n,) of bool."""
        source = self.mesh.source
        if source is None or not isinstance(condition.on, str):
            return holds(self.problem, condition, self.middles)
        joined = on_periodic_face(self.problem, condition.field, self.middles)
        return (self._parts == source.part_index(condition.on)) & ~joined

    @cached_property
    def _parts(self) -> np.ndarray:
        """Number of the named part of the mesh that each facet belongs to."""
        return self.mesh.parts_of(self.facets)

    # ------------------------------------------------------------------------------- nodes

    def nodes(self, field: int) -> np.ndarray:
        """Coordinates of the nodes of a field, those of ghosts after the owned ones.

        Rounded: a node of several cells differs by rounding with the cell that it is taken from,
        and on which side of a jump it lies, or how far from a singular point, must not.
        """
        found: np.ndarray = self.spaces[field].tabulate_dof_coordinates()[:, : self.mesh.dim]
        unit = 2.0 ** (math.frexp(math.dist(*space_of(self.problem).bounds))[1] + ROUNDED)
        return np.round(found / unit) * unit

    def _nodes_on(self, field: int, which: np.ndarray) -> np.ndarray:
        locate = backend.load().fem.locate_dofs_topological
        found: np.ndarray = locate(self.spaces[field], self.mesh.dim - 1, self.facets[which])
        return found

    def _prescribed(self) -> list[Prescribed]:
        found = []
        for c in self.problem.conditions:
            if isinstance(c, Dirichlet):
                k = self.form.fields.index(c.field)
                nodes = self._nodes_on(k, self.holds(c))
                nodes = nodes[nodes < self.owned[k]]
                found.append(Prescribed(k, nodes, self.values_of(c.value, self.nodes(k)[nodes])))
        return found

    def values(self, time: float | None) -> np.ndarray:
        """g: prescribed values at a time, 0 elsewhere; owned nodes of all fields in a row."""
        out = np.zeros(self.offsets[-1])
        for p in self.prescribed:
            out[self.offsets[p.field] + p.nodes] = p.values(time)
        return out

    def values_of(
        self, expression: sp.Expr, points: np.ndarray
    ) -> Callable[[float | None], np.ndarray]:
        """A function: time → values (n,) of an expression of coordinates and parameters at points
        (n, d). It is compiled once, and what does not depend on time is evaluated once."""
        problem = self.problem
        columns = torch.from_numpy(np.ascontiguousarray(points))
        still, factor = separated(expression, problem)
        if problem.time not in still.free_symbols:
            fixed = evaluate([still], problem.space_coordinates, columns, problem.values)
            shape, factors = fixed[:, 0].numpy(), time_program([factor], problem)
            return lambda time: shape * factors(time)[0]
        program = Program([expression], [*problem.coordinates, *problem.values])
        known = columns.unbind(-1), problem.values.values()

        def values(time: float | None) -> np.ndarray:
            assert time is not None  # the expression depends on it
            now = columns.new_full((len(columns),), time)
            return as_columns(program(*known[0], now, *known[1]), columns)[:, 0].numpy()

        return values

    @property
    def size(self) -> int:
        """Number of nodes of all fields, of all ranks."""
        return sum(v.dofmap.index_map.size_global for v in self.spaces)

    def given(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """A function of points (n, d) → (n, fields) at the owned nodes of all fields in a row;
        auxiliary fields are 0. It is a user's: if it fails on one rank, it fails on all."""
        out = np.zeros(self.offsets[-1])
        with alike(self.mesh.handle.comm):
            for k in range(len(self.problem.fields)):
                nodes = self.nodes(k)[: self.owned[k]]
                out[self.offsets[k] : self.offsets[k + 1]] = function(nodes)[:, k]
        return out

    def evaluated(self, expression: Any, points: np.ndarray, time: float | None) -> np.ndarray:
        """An expression of coordinates and parameters at points (n, d)."""
        return self.values_of(expression, points)(time)

    # ------------------------------------------------------------------------------- constraints

    @cached_property
    def prolongation(self) -> Any:
        """P as a PETSc matrix: all owned nodes by free nodes."""
        dolfinx = backend.load()
        PETSc, comm = dolfinx.PETSc, self.mesh.handle.comm
        total = int(self.offsets[-1])
        fixed = np.zeros(total, dtype=bool)
        for p in self.prescribed:
            fixed[self.offsets[p.field] + p.nodes] = True
        slaves = [self._slaves(k) for k in range(len(self.spaces))]
        for k in self.pinned:
            # the first node, of the first rank that has one, that follows no other
            own = np.flatnonzero(~slaves[k])
            first = min((r for r, n in enumerate(comm.allgather(len(own))) if n), default=0)
            if comm.rank == first:
                fixed[self.offsets[k] + own[0]] = True
        follows = np.concatenate(slaves) if slaves else np.zeros(0, dtype=bool)
        free = ~fixed & ~follows
        count = int(free.sum())
        start = comm.exscan(count) or 0
        column = np.full(total, -1, dtype=np.int64)
        column[free] = start + np.arange(count)
        for k in range(len(self.spaces)):
            part = slice(self.offsets[k], self.offsets[k + 1])
            column[part] = self._joined(k, column[part], follows[part])
        column[fixed] = -1
        held = column >= 0
        rows = np.concatenate([[0], np.cumsum(held)]).astype(PETSc.IntType)
        matrix = PETSc.Mat().createAIJ(
            ((total, PETSc.DETERMINE), (count, PETSc.DETERMINE)),
            csr=(rows, column[held].astype(PETSc.IntType), np.ones(int(held.sum()))),
            comm=comm,
        )
        matrix.assemble()
        return matrix

    def _slaves(self, field: int) -> np.ndarray:
        """Owned nodes of a field at the upper end of a periodic axis."""
        nodes = self.nodes(field)[: self.owned[field]]
        found = np.zeros(len(nodes), dtype=bool)
        for axis in periodic_axes(self.problem, self.form.fields[field]):
            found |= on_face(self.problem, nodes, axis, 1)
        return found

    def _joined(self, field: int, column: np.ndarray, follows: np.ndarray) -> np.ndarray:
        """Columns of a field's nodes, those at an upper end with the column of their partner."""
        from scipy.spatial import cKDTree

        axes = periodic_axes(self.problem, self.form.fields[field])
        if not axes:
            return column
        space = space_of(self.problem)
        if not isinstance(space, Box):
            raise UnsupportedProblem(f'"fem" needs a box for Periodic conditions, not {space!r}.')
        nodes = self.nodes(field)[: self.owned[field]]
        low = np.zeros(len(nodes), dtype=bool)
        for axis in axes:
            low |= on_face(self.problem, nodes, axis, 0)
        low &= ~follows
        gather = self.mesh.handle.comm.allgather
        places = np.concatenate(gather(nodes[low]))
        partners = np.concatenate(gather(column[low]))
        wanted = nodes[follows].copy()
        for axis in axes:
            at_end = on_face(self.problem, wanted, axis, 1)
            wanted[at_end, axis] = space.bounds[0][axis]
        gap, which = cKDTree(places).query(wanted) if len(wanted) else (np.zeros(0), np.zeros(0))
        size = self.spaces[field].dofmap.index_map.size_global
        apart = len(wanted) > 0 and gap.max() > 1e-6 * math.dist(*space.bounds) / size
        if self.mesh.handle.comm.allreduce(bool(apart), op=backend.load().MPI.LOR):
            raise UnsupportedProblem(
                '"fem" needs a mesh that is the same at both ends of a periodic axis; the one '
                "given is not. Leave mesh= out."
            )
        column = column.copy()
        column[follows] = partners[which.astype(int)]
        return column

    def restrict(self, values: np.ndarray, out: Any) -> None:
        """The free nodes of a state (owned nodes of all fields in a row) into a PETSc vector."""
        full = self.prolongation.createVecLeft()
        full.array[:] = values
        self.prolongation.multTranspose(full, out)
        # a node and its partners were added up
        out.array[:] /= self._partners
        full.destroy()

    @cached_property
    def _partners(self) -> np.ndarray:
        """How many nodes each free node stands for."""
        full, y = self.prolongation.createVecs()[::-1]
        full.set(1.0)
        self.prolongation.multTranspose(full, y)
        found: np.ndarray = y.array_r.copy()
        for v in (full, y):
            v.destroy()
        return found


def time_program(factors: Sequence[sp.Expr], problem: PDE) -> Callable[[float | None], list[float]]:
    """A function: time → values of expressions of time and parameters."""
    if all(f == 1 for f in factors):
        return lambda _: [1.0] * len(factors)
    program = Program(factors, [problem.time, *problem.values])

    def values(time: float | None) -> list[float]:
        # functions of torch take no numbers
        now = torch.tensor(time, dtype=torch.float64)
        return [float(v) for v in program(now, *problem.values.values())]

    return values
