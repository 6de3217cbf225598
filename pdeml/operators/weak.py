"""From a declaration to its weak form: flux, remainder and boundary terms, all in SymPy.

Every equation is written R = div F + r = 0 with F and r free of second derivatives, and tested:

    −∫ F·∇v dx + ∫ r v dx + ∫_∂Ω (F·n) v ds = 0   for every v that vanishes where u is prescribed.

Derivatives in time are unknowns like any other here; what stands for them is the solver's business.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sympy as sp
from sympy.core.function import AppliedUndef

from pdeml.errors import UnsupportedProblem
from pdeml.operators.conditions import BOUNDARY, Dirichlet, Flux, Robin
from pdeml.operators.divergence import divergence_form, order_in_space, refused
from pdeml.operators.matching import matched
from pdeml.operators.printing import text

if TYPE_CHECKING:
    from pdeml.operators.pde import PDE


@dataclass(frozen=True)
class WeakEquation:
    """One equation R = div F + r = 0, and the field whose test function multiplies it.

    Attributes
    ----------
    field : its values are prescribed strongly, in place of this equation, where they are given.
    flux : F, one expression per space coordinate, in the fields and their first derivatives.
    remainder : r.
    """

    field: AppliedUndef
    flux: tuple[sp.Expr, ...]
    remainder: sp.Expr

    @property
    def expressions(self) -> tuple[sp.Expr, ...]:
        return (*self.flux, self.remainder)


@dataclass(frozen=True)
class WeakForm:
    """The weak form of a problem; it prints itself.

    Attributes
    ----------
    problem : the declaration.
    fields : of the declaration, then auxiliary ones (Laplacians that split a fourth order).
    equations : one per field, in the order of the fields.
    pressures : fields that enforce a constraint: no equation holds their second derivatives, and
        that which is left for them does not hold them at all.
    """

    problem: PDE
    fields: tuple[AppliedUndef, ...]
    equations: tuple[WeakEquation, ...]
    pressures: tuple[AppliedUndef, ...]

    @cached_property
    def unknowns(self) -> tuple[sp.Basic, ...]:
        """Fields and derivatives that the equations hold."""
        found: set[sp.Basic] = set()
        for equation in self.equations:
            for e in equation.expressions:
                found |= e.atoms(AppliedUndef, sp.Derivative)
        return tuple(sorted(found, key=sp.default_sort_key))

    @cached_property
    def _partials(self) -> list[sp.Expr]:
        """Derivatives of every flux and remainder, and of every slope, by the unknowns."""
        names = {u: sp.Dummy() for u in self.unknowns}
        partials = []
        for equation in self.equations:
            for e in equation.expressions:
                plain = e.xreplace(names)
                partials += [plain.diff(s) for s in names.values() if plain.has(s)]
        back = {s: u for u, s in names.items()}
        return [p.xreplace(back) for p in partials]

    @cached_property
    def is_linear(self) -> bool:
        """Whether the equations are affine in the fields."""
        return not any(p.has(*self.fields) for p in self._partials)

    @cached_property
    def is_autonomous(self) -> bool:
        """Whether no coefficient of the fields, nor of a Robin condition, depends on time."""
        time = self.problem.time
        robin = [e for c in self.problem.conditions if isinstance(c, Robin) for e in (c.a, c.b)]
        return time is None or not any(
            time in e.xreplace({f: sp.Dummy() for f in self.unknowns}).free_symbols
            for e in (*self._partials, *robin)
        )

    def fixes_constant(self, field: AppliedUndef) -> bool:
        """Whether a constant cannot be added to a field without changing the equations."""
        bare = [u for u in self.unknowns if u == field or _is_rate(u, self.problem.time)]
        bare = [u for u in bare if u == field or u.expr == field]
        masks = {u: sp.Dummy() for u in self.unknowns if u not in bare}
        for equation in self.equations:
            if any(e.xreplace(masks).has(field) for e in equation.expressions):
                return True
        return any(
            isinstance(c, Dirichlet | Robin)
            and c.field == field
            and not (isinstance(c, Robin) and c.a == 0)
            for c in self.problem.conditions
        )

    def boundary_term(
        self,
        equation: WeakEquation,
        slopes: Mapping[AppliedUndef, sp.Expr],
        normal: Sequence[sp.Symbol],
    ) -> sp.Expr:
        """F·n where the normal derivatives of some fields are known.

        Each known ∂u/∂n = g replaces the normal part of the gradient, ∇u → ∇u + (g − ∇u·n) n; for
        F = a ∇u that is F·n = a g. Where a `Flux` condition gives F·n itself, it is taken as it is.

        Parameters
        ----------
        equation : of this form.
        slopes : field → g.
        normal : symbols of the components of the outward normal.
        """
        own = slopes.get(equation.field)
        if isinstance(own, _Outflow):
            return own.args[0]
        x = self.problem.space_coordinates
        flux, done = list(equation.flux), sp.Integer(0)
        for field, slope in slopes.items():
            if isinstance(slope, _Outflow):
                continue
            gradient = [field.diff(c) for c in x]
            names = {p: sp.Dummy() for p in gradient}
            plain = [f.xreplace(names) for f in flux]
            factor = plain[0].diff(names[gradient[0]])
            isotropic = not factor.has(*names.values()) and all(
                f.diff(names[p]) == (factor if i == j else 0)
                for i, f in enumerate(plain)
                for j, p in enumerate(gradient)
            )
            if isotropic:
                done += factor.xreplace({s: p for p, s in names.items()}) * slope
                replaced: dict[sp.Basic, sp.Expr] = {s: sp.Integer(0) for s in names.values()}
            else:
                along = sp.Add(*(p * n for p, n in zip(gradient, normal, strict=True)))
                replaced = {
                    names[p]: p + (slope - along) * n for p, n in zip(gradient, normal, strict=True)
                }
            flux = [f.xreplace(replaced) for f in plain]
        return done + sp.Add(*(f * n for f, n in zip(flux, normal, strict=True)))

    def __str__(self) -> str:
        normal = sp.symbols([f"n_{c}" for c in self.problem.space_coordinates])
        lines = []
        for i, equation in enumerate(self.equations):
            name = equation.field.func.__name__
            head = f"equation {i + 1}, tested with v_{name}:"
            lines += [head, "  −∫ F·∇v dx + ∫ r v dx + ∫ (F·n) v ds = 0"]
            lines.append(f"  F = ({', '.join(text(f) for f in equation.flux)})")
            lines.append(f"  r = {text(equation.remainder)}")
            lines += [f"  {row}" for row in self._boundary_rows(equation, normal)]
        return "\n".join(lines)

    __repr__ = __str__

    def _boundary_rows(self, equation: WeakEquation, normal: Sequence[sp.Symbol]) -> list[str]:
        rows = []
        for c in self.problem.conditions:
            if not isinstance(c, BOUNDARY):
                continue
            place = "on the boundary" if c.on is None else f"on {text(c.on)}"
            if isinstance(c, Dirichlet) and c.field == equation.field:
                name = c.field.func.__name__
                rows.append(f"{name} = {text(c.value)}, v = 0 {place}")
            elif isinstance(c, Flux) and c.field != equation.field:
                continue
            elif not isinstance(c, Dirichlet) and any(f.has(c.field) for f in equation.flux):
                term = self.boundary_term(equation, {c.field: slope(c)}, normal)
                rows.append(f"F·n = {text(term)} {place}, where v does not vanish")
        return rows


class _Outflow(sp.Function):
    """Stands for a slope where F·n itself is known."""

    nargs = 1


def slope(condition: Any) -> sp.Expr:
    """∂u/∂n of a Neumann or Robin condition, (value − a u)/b of the latter.

    For a `Flux` condition, what tells `WeakForm.boundary_term` that its value is F·n.
    """
    if isinstance(condition, Flux):
        return _Outflow(condition.value)
    if isinstance(condition, Robin):
        return (condition.value - condition.a * condition.field) / condition.b
    return condition.value


def weak_form(problem: PDE) -> WeakForm:
    """Lower a problem to flux, remainder and boundary terms.

    Parameters
    ----------
    problem : real fields; second derivatives enter linearly, with coefficients that derive from a
        flux; a fourth order only by the Laplacian of the Laplacian (Δ²u, split by v = Δu).

    Returns
    -------
    WeakForm

    Raises
    ------
    UnsupportedProblem
        For anything else; the message names the term.

    Notes
    -----
    With c_ij = ∂R/∂u_ij (half of it for i ≠ j), the flux is F_i = Σ_j ∫_0^1 c_ij(x, u, s∇u) u_j ds;
    it exists where ∂c_ij/∂u_k = ∂c_ik/∂u_j. A flux declared by `pdeml.div` is taken as it stands.
    """
    for field in problem.fields:
        if not field.is_real:
            raise UnsupportedProblem(
                f"a weak form needs real fields, but {text(field)} is complex; declare its real "
                "and imaginary parts as two fields."
            )
    fields, residuals = _split_fourth_order(problem)
    parts = [divergence_form(problem, fields, r) for r in residuals]
    order = matched(problem, fields, residuals)
    equations = tuple(WeakEquation(f, *parts[order[i]]) for i, f in enumerate(fields))
    _check_fluxes(problem, equations)
    pressures = tuple(
        e.field
        for e in equations
        if not any(x.has(e.field) for x in e.expressions)
        and not any(
            d.expr == e.field and order_in_space(problem, d) > 1
            for r in residuals
            for d in r.atoms(sp.Derivative)
        )
    )
    return WeakForm(problem, fields, equations, pressures)


def _check_fluxes(problem: PDE, equations: Sequence[WeakEquation]) -> None:
    """A flux that is prescribed is there, and holds slopes of the field it is prescribed for."""
    fluxes = {e.field: e.flux for e in equations}
    for condition in problem.conditions:
        if isinstance(condition, Flux):
            slopes = [condition.field.diff(c) for c in problem.space_coordinates]
            if not any(f.has(*slopes) for f in fluxes[condition.field]):
                raise UnsupportedProblem(
                    f"{condition!r} has no weak form: the flux of the equation of "
                    f"{text(condition.field)} holds none of its derivatives. Declare the flux by "
                    "pdeml.div, or use Dirichlet."
                )


def _is_rate(expression: sp.Basic, time: sp.Symbol | None) -> bool:
    return isinstance(expression, sp.Derivative) and set(expression.variables) == {time}


def _split_fourth_order(problem: PDE) -> tuple[tuple[AppliedUndef, ...], list[sp.Expr]]:
    """Fields and residuals of order two: Δ²u becomes Δv with the further equation Δu − v = 0."""
    x = problem.space_coordinates
    residuals, fields = list(problem.residuals), list(problem.fields)
    for field in problem.fields:
        fourth = {
            field.diff(a, 2, b, 2): (1 if a == b else 2)
            for a, b in itertools.combinations_with_replacement(x, 2)
        }
        if not any(r.has(*fourth) for r in problem.residuals):
            continue
        name = f"laplacian_{field.func.__name__}"
        auxiliary = sp.Function(name, real=True)(*problem.coordinates)
        for k, residual in enumerate(residuals):
            names = {d: sp.Dummy() for d in fourth}
            plain = residual.xreplace(names)
            factors = [plain.diff(names[d]) / weight for d, weight in fourth.items()]
            if any(sp.expand(f - factors[0]) != 0 for f in factors):
                held = next(d for d in fourth if residual.has(d))
                raise refused(
                    held,
                    f"the fourth order of {text(field)} is not a multiple of the Laplacian of its "
                    "Laplacian, the only one that is split.",
                    problem,
                )
            rest = plain.xreplace({s: sp.Integer(0) for s in names.values()})
            residuals[k] = rest + factors[0] * sp.Add(*(auxiliary.diff(c, 2) for c in x))
        residuals.append(sp.Add(*(field.diff(c, 2) for c in x)) - auxiliary)
        fields.append(auxiliary)
    if len(fields) == len(problem.fields):
        # nothing to split: divergences stay as they were declared
        residuals = [e.lhs - e.rhs for e in problem.declared]
    return tuple(fields), residuals
