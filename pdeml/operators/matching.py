"""Which equation of a system is whose: the one that holds the field's highest derivatives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef

from pdeml.operators.residual import multi_index

if TYPE_CHECKING:
    from pdeml.operators.pde import PDE

EVOLVES = 100.0  # more than any order in space: an equation of evolution is that of its field
ABSENT = -0.5  # a pressure takes the constraint, which does not hold it


def matched(
    problem: PDE,
    fields: Sequence[AppliedUndef] | None = None,
    residuals: Sequence[sp.Expr] | None = None,
    absent: float = ABSENT,
) -> list[int]:
    """The number of the equation of each field, each equation once.

    Parameters
    ----------
    problem : the declaration.
    fields, residuals : those of the problem by default; where a fourth order is split, with the
        auxiliary fields and their equations Δu − v = 0 after them.
    absent : score of an equation that does not hold the field. Methods that put the conditions of a
        field in place of its equation give a lower one: there a pressure cannot take the
        constraint.

    Notes
    -----
    The assignment maximizes the sum of 100 [the highest time derivative is held] + (order in
    space)².
    """
    # imported here: it takes a third of the time that the rest of the declaration does
    from scipy.optimize import linear_sum_assignment

    fields = problem.fields if fields is None else fields
    residuals = problem.residuals if residuals is None else residuals
    score = np.full((len(fields), len(residuals)), absent)
    auxiliary = len(fields) - len(problem.fields)
    # as declared: a fourth order that was split off still says whose equation it is
    whole = [*problem.residuals, *residuals[len(problem.residuals) :]]
    space = len(problem.space_coordinates)
    for (i, field), (j, residual) in itertools.product(enumerate(fields), enumerate(whole)):
        if not residual.has(field):
            continue
        if i >= len(problem.fields):
            # Δu − v = 0 is where the slopes of u enter, so v is free on the boundary
            score[i, j] = 1e4 * (j - len(residuals) + auxiliary == i - len(problem.fields))
            continue
        held = [
            multi_index(d, problem.coordinates)
            for d in residual.atoms(sp.Derivative)
            if d.expr == field
        ]
        order = problem.time_order(field)
        evolves = order > 0 and any(index[-1] == order for index in held)
        highest = max((sum(index[:space]) for index in held), default=0)
        score[i, j] = EVOLVES * evolves + highest**2
    return [int(j) for j in linear_sum_assignment(score, maximize=True)[1]]
