"""Convective form of a declared problem, and the same problem along its characteristics.

    w_t + f·∇w = g Δw + s          f, g, s functions of x, t and w alone

becomes, with labels ξ = X(ξ, 0), W(ξ, t) = w(X(ξ, t), t) and F = ∂X/∂ξ,

    X_t = f(X, t, W),      W_t = g Δ_x W + s(X, t, W),      ∂/∂x_i = Σ_a (F⁻¹)_ai ∂/∂ξ_a

References
----------
Mojgani, Balajewicz, Hassanzadeh (2023), Comput. Methods Appl. Mech. Eng. 404, 115810, §3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
import torch
from sympy.core.function import AppliedUndef
from torch import Tensor

from pdeml.domains import Box, SpaceTime
from pdeml.errors import UnsupportedProblem
from pdeml.operators.expressions import evaluate
from pdeml.operators.fields import field_dtype
from pdeml.operators.pde import PDE, Initial
from pdeml.operators.printing import text

PROBES = 512
"""Random points at which periodicity and sign of coefficients are checked."""


@dataclass(frozen=True)
class ConvectiveForm:
    """w_t + f·∇w = g Δw + s of a declared problem.

    Attributes
    ----------
    problem : the declaration.
    f : velocity, one expression per space axis; the same for all fields.
    g : diffusivity, one expression per field.
    s : source, one expression per field.
    initial : declared initial value, one expression per field.
    """

    problem: PDE
    f: tuple[sp.Expr, ...]
    g: tuple[sp.Expr, ...]
    s: tuple[sp.Expr, ...]
    initial: tuple[sp.Expr, ...]

    @property
    def follows_state(self) -> bool:
        """Whether the velocity depends on the fields: only then characteristics can cross."""
        return any(v.has(*self.problem.fields) for v in self.f)

    @property
    def rigid(self) -> bool:
        """Whether F = 1 at all times: the velocity depends on time alone."""
        moving = {*self.problem.space_coordinates, *self.problem.fields}
        return not any(v.has(*moving) for v in self.f)


def convective_form(problem: PDE) -> ConvectiveForm:
    """Velocity f, diffusivity g and source s of every equation, as SymPy expressions.

        w_t + f(x, t, w)·∇w = g(x, t, w) Δw + s(x, t, w)

    Conservative terms are expanded, (w²/2)_x = w w_x and (g w_x)_x = g w_xx + g_x w_x, and an
    equation may be multiplied by a factor. Systems share one velocity.

    Parameters
    ----------
    problem : a `pdeml.PDE`, periodic in every space axis.

    Returns
    -------
    ConvectiveForm

    Raises
    ------
    UnsupportedProblem
        The problem is not of this form; the message names the term and the methods that can.

    References
    ----------
    Mojgani, Balajewicz, Hassanzadeh (2023), Comput. Methods Appl. Mech. Eng. 404, 115810, eq. 7–12.

    Examples
    --------
    >>> form = convective_form(pdeml.problems.burgers())
    >>> form.f, form.g, form.s
    ((u(x, t),), (nu,), (0,))
    """
    _check_domain(problem)
    rows = dict(_row(problem, residual) for residual in problem.residuals)
    missing = [f for f in problem.fields if f not in rows]
    if missing:
        raise _refusal(problem, f"there is no equation with {text(missing[0].diff(problem.time))}")
    velocities = [rows[f][0] for f in problem.fields]
    for field, velocity in zip(problem.fields, velocities, strict=True):
        differs = any(sp.simplify(a - b) != 0 for a, b in zip(velocity, velocities[0], strict=True))
        if differs:
            raise _refusal(
                problem,
                f"{problem.fields[0].func} travels with {_vector(velocities[0])}, but {field.func} "
                f"with {_vector(velocity)}, and labels have one velocity",
            )
    if all(v == 0 for v in velocities[0]):
        raise _refusal(problem, "there is no convective term, so labels would not move")
    form = ConvectiveForm(
        problem,
        velocities[0],
        tuple(rows[f][1] for f in problem.fields),
        tuple(rows[f][2] for f in problem.fields),
        _initial_values(problem),
    )
    _check_coefficients(form)
    return form


def _refusal(problem: PDE, reason: str, methods: str = '"pinn" or "spectral"') -> Exception:
    return UnsupportedProblem(
        f'"lpinn" needs w_t + f·∇w = g Δw + s, but in {problem.name!r} {reason}. Use {methods}.'
    )


def _vector(components: Sequence[sp.Expr]) -> str:
    shown = ", ".join(text(c) for c in components)
    return shown if len(components) == 1 else f"({shown})"


def _check_domain(problem: PDE) -> None:
    if not isinstance(problem.domain, SpaceTime):
        raise _refusal(problem, "there is no time", '"pinn" or "fem"')
    unknown = [p.name for p in problem.unknowns]
    if unknown:
        raise _refusal(problem, f"the parameter {unknown[0]!r} is unknown", '"pinn"')
    for field in problem.fields:
        if field_dtype(field) is complex:
            raise _refusal(problem, f"{field.func} is complex, and labels are real", '"spectral"')
        axes = problem.periodic_axes(field)
        if not isinstance(problem.domain.space, Box) or axes != problem.space_coordinates:
            raise _refusal(
                problem,
                f"{field.func} is not periodic in every space axis: labels would enter and leave "
                "through the boundary",
                '"pinn", "fem" or "chebyshev", or declare Periodic on every axis',
            )


def _row(
    problem: PDE, residual: sp.Expr
) -> tuple[AppliedUndef, tuple[tuple[sp.Expr, ...], sp.Expr, sp.Expr]]:
    """The field that an equation advances, with its velocity, diffusivity and source."""
    time, space = problem.time, problem.space_coordinates
    expanded = sp.expand(residual.doit())
    symbols = {
        d: sp.Dummy(f"d{i}")
        for i, d in enumerate(sorted(expanded.atoms(sp.Derivative), key=sp.default_sort_key))
    }
    back = {symbol: d for d, symbol in symbols.items()}
    plain = expanded.xreplace(symbols)
    rates = [d for d in symbols if d.variables == (time,)]
    if len(rates) != 1:
        raise _refusal(
            problem,
            f"{text(expanded)} = 0 holds {len(rates)} first derivatives in time, not one",
        )
    (rate,) = rates
    field = rate.expr
    slope = _coefficient(problem, plain, symbols, rate)
    velocity = dict.fromkeys(space, sp.Integer(0))
    diffusion = dict.fromkeys(space, sp.Integer(0))
    for derivative in symbols:
        if derivative == rate:
            continue
        coefficient = _coefficient(problem, plain, symbols, derivative)
        axes = set(derivative.variables)
        shown = text(coefficient.xreplace(back) * derivative)
        if derivative.expr != field:
            raise _refusal(
                problem, f"the equation of {field.func} is coupled to another field by {shown}"
            )
        if time in axes or len(derivative.variables) > 2:
            raise _refusal(problem, f"{shown} is of a higher order")
        if len(axes) > 1:
            raise _refusal(problem, f"{shown} is no part of a Laplacian")
        target = velocity if len(derivative.variables) == 1 else diffusion
        target[derivative.variables[0]] = coefficient / slope
    rest = plain.xreplace(dict.fromkeys(symbols.values(), sp.Integer(0)))
    g = -diffusion[space[0]]
    if any(sp.simplify(g + c) != 0 for c in diffusion.values()):
        shown = " + ".join(text(-c * field.diff(x, 2)) for x, c in diffusion.items())
        raise _refusal(problem, f"the diffusion {shown} is not the same along all axes")
    f = tuple(sp.expand(velocity[x]) for x in space)
    return field, (f, sp.expand(g), sp.expand(-rest / slope))


def _coefficient(
    problem: PDE, plain: sp.Expr, symbols: Mapping[sp.Basic, sp.Symbol], derivative: sp.Basic
) -> sp.Expr:
    """Coefficient of a derivative in which the equation is linear."""
    back = {symbol: d for d, symbol in symbols.items()}
    coefficient = sp.diff(plain, symbols[derivative])
    if coefficient.free_symbols & {*back}:
        term = next(
            term
            for term in sp.Add.make_args(plain)
            if sp.diff(term, symbols[derivative]).free_symbols & {*back}
        )
        raise _refusal(problem, f"{text(term.xreplace(back))} is not linear in the derivatives")
    return coefficient


def _initial_values(problem: PDE) -> tuple[sp.Expr, ...]:
    declared = {c.field: c.value for c in problem.conditions if isinstance(c, Initial)}
    return tuple(declared[f] for f in problem.fields)


def _check_coefficients(form: ConvectiveForm) -> None:
    """Coefficients continue periodically, and no diffusivity is negative."""
    problem = form.problem
    lower, upper = problem.domain.bounds
    points = problem.domain.sample(PROBES, torch.Generator().manual_seed(0))
    start = points.clone()
    start[:, -1] = lower[-1]
    coordinates, values = problem.coordinates, problem.values
    state = evaluate(form.initial, coordinates, start, values)
    arguments = torch.cat([points, state], -1)
    names = (*coordinates, *problem.fields)

    def at(expressions: Sequence[sp.Expr], shift: Tensor) -> Tensor:
        return evaluate(expressions, names, arguments + shift, values)

    unmoved = arguments.new_zeros(arguments.shape[1])
    for axis, x in enumerate(problem.space_coordinates):
        shift = unmoved.clone()
        shift[axis] = upper[axis] - lower[axis]
        for what, expressions in (
            ("velocity", form.f),
            ("diffusivity", form.g),
            ("source", form.s),
        ):
            here, there = at(expressions, unmoved), at(expressions, shift)
            # the coefficients are read at X, which leaves the box
            if not torch.allclose(here, there, rtol=1e-9, atol=1e-9 * float(1 + here.abs().max())):
                raise _refusal(
                    problem,
                    f"the {what} {_vector(expressions)} does not continue with the period of {x}",
                )
    negative = at(form.g, unmoved).amin(0)
    for field, g, lowest in zip(problem.fields, form.g, negative.tolist(), strict=True):
        if not lowest >= 0.0:
            raise _refusal(
                problem,
                f"the diffusivity {text(g)} of {field.func} takes the value {lowest:.3g}: it must "
                "not be negative",
                "a positive diffusivity: no method solves a problem that is ill-posed",
            )


# --------------------------------------------------------------------------- along characteristics


@dataclass(frozen=True)
class LabelFrame:
    """Derivatives in space by derivatives in labels, x = X(ξ, t) = ξ + Y(ξ, t).

    Parameters
    ----------
    labels : symbols ξ.
    displacement : Y, one applied function of the labels and time per axis.

    Notes
    -----
    Every expression stays as it is built, in terms of the adjugate and the determinant: expanded, a
    Laplacian in two dimensions has hundreds of terms.
    """

    labels: tuple[sp.Symbol, ...]
    displacement: tuple[Any, ...]

    @property
    def gradient(self) -> sp.Matrix:
        """F = ∂X/∂ξ."""
        d = len(self.labels)
        return sp.Matrix(
            d, d, lambda i, a: sp.Integer(i == a) + self.displacement[i].diff(self.labels[a])
        )

    @property
    def jacobian(self) -> sp.Expr:
        """J = det F, the volume of a label."""
        return self.gradient.det(method="berkowitz")

    def derivative(self, expression: sp.Expr, axis: int) -> sp.Expr:
        """∂/∂x_i = Σ_a (F⁻¹)_ai ∂/∂ξ_a."""
        adjugate = self.gradient.adjugate()
        slopes = (
            adjugate[a, axis] * sp.diff(expression, label) for a, label in enumerate(self.labels)
        )
        return sp.Add(*slopes) / self.jacobian

    def laplacian(self, expression: sp.Expr) -> sp.Expr:
        """Δ_x W = Σ_i ∂²W/∂x_i², exact: W_ξξ/J² − W_ξ J_ξ/J³ in one dimension.

        By the identity of Piola it equals (1/J) ∇_ξ·(J F⁻¹F⁻ᵀ ∇_ξ W).
        """
        return sp.Add(
            *(self.derivative(self.derivative(expression, i), i) for i in range(len(self.labels)))
        )
