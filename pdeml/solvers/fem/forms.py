"""The discrete equations as UFL: residuals of the weak form, and their derivatives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef

from pdeml.errors import UnsupportedProblem
from pdeml.operators.conditions import BOUNDARY, Dirichlet
from pdeml.operators.printing import text
from pdeml.operators.weak import WeakEquation, slope
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.expressions import Translator, separated
from pdeml.solvers.fem.lowering import holds_slope, on_periodic_face
from pdeml.solvers.fem.space import Space

QUADRATURE = 10  # highest degree of quadrature: SymPy expressions that are no polynomials have none


class Forms:
    """R(t, u, u', u'') of the weak form, one residual per field, and its derivatives.

        J = s_0 ∂R/∂u + s_1 ∂R/∂u' + s_2 ∂R/∂u''

    Parameters
    ----------
    space : nodes and constraints.

    Attributes
    ----------
    order : of the problem in time, 0 where it is steady.
    levels : for each order up to that, DOLFINx functions of all fields: u, u', u''.
    time, load, shares : constants; the factor of all sources is 1, and s as above.
    residuals : one form per field.
    jacobian : rows of J, None where a residual does not hold a field.
    boundary : per field, pairs of F·n and the measure of the facets where it is that.
    translate : from SymPy to UFL.
    degree : of quadrature.
    """

    def __init__(self, space: Space):
        self.space, self.problem, self.form = space, space.problem, space.form
        dolfinx = self._dolfinx = backend.load()
        problem, fem = space.problem, dolfinx.fem
        self.order = 0
        if problem.time is not None:
            self.order = max(problem.time_order(f) for f in problem.fields)
        self.levels = [[fem.Function(v) for v in space.spaces] for _ in range(self.order + 1)]
        scalar = dolfinx.PETSc.ScalarType
        self.time, self.load, *self.shares = (
            fem.Constant(space.mesh.handle, scalar(value))
            for value in (0.0, 1.0, *np.eye(self.order + 1)[0])
        )
        self.degree = min(2 * max(space.degrees) + 4, QUADRATURE)
        dim = space.mesh.dim
        self._normal = sp.symbols([f"n_{i}" for i in range(dim)], real=True, cls=sp.Dummy)
        self.translate = Translator(self._leaves())
        self.boundary: list[list[tuple[sp.Expr, Any]]] = []
        self._integrands = list(self._terms())
        self.residuals = [self._summed(terms) for terms in self._integrands]
        self.jacobian = self._jacobian()

    def _leaves(self) -> dict[sp.Basic, Any]:
        dolfinx, problem = self._dolfinx, self.problem
        ufl, handle = dolfinx.ufl, self.space.mesh.handle
        x, normal = ufl.SpatialCoordinate(handle), ufl.FacetNormal(handle)
        leaves: dict[sp.Basic, Any] = {c: x[i] for i, c in enumerate(problem.space_coordinates)}
        leaves |= {s: normal[i] for i, s in enumerate(self._normal)}
        if problem.time is not None:
            leaves[problem.time] = self.time
        for p, value in problem.values.items():
            leaves[p] = dolfinx.fem.Constant(handle, dolfinx.PETSc.ScalarType(value))
        for order, functions in enumerate(self.levels):
            for field, value in zip(self.form.fields, functions, strict=True):
                rate = field.diff(problem.time, order) if order else field
                leaves[rate] = value
                for i, c in enumerate(problem.space_coordinates):
                    leaves[rate.diff(c)] = ufl.grad(value)[i]
        return leaves

    def _terms(self) -> Iterator[list[tuple[sp.Expr, Any, Any]]]:
        """Per equation, the integrands: an expression, its test function, the measure."""
        ufl, boundary = self._dolfinx.ufl, self._boundary_groups()
        meta = {"quadrature_degree": self.degree}
        dx = ufl.Measure("dx", domain=self.space.mesh.handle, metadata=meta)
        for k, equation in enumerate(self.form.equations):
            v = ufl.TestFunction(self.space.spaces[k])
            held, source = _split_source(equation.remainder)
            terms = [(-flux, v.dx(i), dx) for i, flux in enumerate(equation.flux)]
            terms += [(held, v, dx), (source, self.load * v, dx)]
            self.boundary.append(boundary(equation))
            terms += [(term, v, ds) for term, ds in self.boundary[-1]]
            yield [term for term in terms if term[0] != 0]

    def _summed(self, terms: Sequence[tuple[sp.Expr, Any, Any]]) -> Any:
        return sum(self.translate(e) * v * measure for e, v, measure in terms)

    def _jacobian(self) -> list[list[Any]]:
        trials = [self._dolfinx.ufl.TrialFunction(v) for v in self.space.spaces]
        rows = []
        for form in self.residuals:
            row = []
            for k, du in enumerate(trials):
                total: Any = None
                for share, functions in zip(self.shares, self.levels, strict=True):
                    part = self._derivative(form, functions[k], du)
                    if part is not None:
                        # without time the share is 1
                        part = share * part if self.order else part
                        total = part if total is None else total + part
                row.append(total)
            rows.append(row)
        return rows

    def _derivative(self, form: Any, function: Any, direction: Any) -> Any:
        """A derivative of a form, None where it is 0."""
        ufl = self._dolfinx.ufl
        found = ufl.algorithms.expand_derivatives(ufl.derivative(form, function, direction))
        return None if found.empty() else found

    def loads(self) -> list[dict[sp.Expr, Any]]:
        """R of u = u' = u'' = 0, per field as Σ φ form with factors φ that depend on time alone.

        What is no such product is in the form of φ = 1.
        """
        found = []
        for terms in self._integrands:
            parts: dict[sp.Expr, list[tuple[sp.Expr, Any, Any]]] = {}
            for expression, v, measure in terms:
                nothing = dict.fromkeys(expression.atoms(AppliedUndef, sp.Derivative), sp.S.Zero)
                for term in sp.Add.make_args(expression.xreplace(nothing)):
                    if term != 0:
                        still, factor = separated(term, self.problem)
                        parts.setdefault(factor, []).append((still, v, measure))
            found.append({factor: self._summed(terms) for factor, terms in parts.items()})
        return found

    def _boundary_groups(self) -> Any:
        """A function: equation → pairs (F·n, measure of the facets where it holds)."""
        space, comm = self.space, self.space.mesh.handle.comm
        ufl, dim = self._dolfinx.ufl, self.space.mesh.dim
        conditions = [c for c in self.problem.conditions if isinstance(c, BOUNDARY)]
        held = [space.holds(c) for c in conditions]
        joined = on_periodic_face(self.problem, self.form.fields[0], space.middles)
        rows = [
            (bool(joined[n]), *(i for i, h in enumerate(held) if h[n]))
            for n in range(len(space.facets))
        ]
        # all ranks number the groups alike
        groups = sorted(set().union(*comm.allgather(set(rows))))
        marks = np.array([groups.index(r) for r in rows], dtype=np.int32)
        tags = self._dolfinx.mesh.meshtags(space.mesh.handle, dim - 1, space.facets, marks)
        measure = ufl.Measure(
            "ds",
            domain=space.mesh.handle,
            subdomain_data=tags,
            metadata={"quadrature_degree": self.degree},
        )

        def terms(equation: WeakEquation) -> list[tuple[sp.Expr, Any]]:
            found: dict[sp.Expr, list[int]] = {}
            for mark, (is_joined, *own) in enumerate(groups):
                active = [conditions[i] for i in own]
                if is_joined or any(
                    isinstance(c, Dirichlet) and c.field == equation.field for c in active
                ):
                    continue
                slopes = {
                    c.field: slope(c)
                    for c in active
                    if not isinstance(c, Dirichlet)
                    if holds_slope(equation, c.field, self.problem)
                }
                self._check_given(equation, slopes, groups, mark, conditions)
                term = self.form.boundary_term(equation, slopes, self._normal)
                if term != 0:
                    found.setdefault(term, []).append(mark)
            return [(term, measure(tuple(marks))) for term, marks in found.items()]

        return terms

    def _check_given(
        self,
        equation: WeakEquation,
        slopes: Mapping[AppliedUndef, sp.Expr],
        groups: Sequence[Any],
        mark: int,
        conditions: Sequence[Any],
    ) -> None:
        """A field whose slope is integrated over the boundary has a condition there."""
        problem = self.problem
        own = (
            [equation.field]
            if holds_slope(equation, equation.field, problem)
            else [f for f in self.form.fields if holds_slope(equation, f, problem)]
        )
        for field in own:
            if field not in slopes and field in problem.fields:
                raise UnsupportedProblem(
                    f'"fem" needs a condition for {text(field)} on the whole boundary, but a part '
                    f"of it has none{_where(groups[mark], conditions)}. Add Dirichlet, Neumann or "
                    "Robin there."
                )


def _split_source(remainder: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """Terms with fields, and those without: the load."""
    held: list[sp.Expr] = []
    free: list[sp.Expr] = []
    for term in sp.Add.make_args(remainder):
        (held if term.atoms(AppliedUndef) else free).append(term)
    return sp.Add(*held), sp.Add(*free)


def _where(group: Sequence[Any], conditions: Sequence[Any]) -> str:
    named = [repr(conditions[i]) for i in group[1:]]
    return f" (there holds {', '.join(named)})" if named else ""
