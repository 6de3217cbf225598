"""What `pdeml bench accuracy` solves: eight declarations, and the same as arrays for a peer.

A peer that has no way to read a declaration gets its residual by hand (in the worker), and points
and values of the conditions from here, so that all packages train on the same points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
import torch
from torch import Tensor

import pdeml
from pdeml import engine
from pdeml.operators.expressions import evaluate
from pdeml.operators.pde import PDE, Periodic
from pdeml.solvers.requirements import condition_requirements

INSIDE, ON_CONDITION, EVALUATED = 2500, 200, 20_000
"""Points of the peers' residual and of each of their conditions (DeepXDE's examples), and points of
the error."""


@dataclass(frozen=True)
class Case:
    """One problem.

    Attributes
    ----------
    problem : makes the declaration.
    methods : pdeml's methods with their options; the first is the one that its docs advise.
    width : of the peers' networks, three hidden layers of tanh.
    reference : method of the reference solution.
    """

    name: str
    problem: Callable[[], PDE]
    methods: Mapping[str, Mapping[str, Any]]
    width: int = 20
    reference: str = "exact"


DEEPXDE = {"deepxde adam+lbfgs": "adam+lbfgs", "deepxde adam+nncg": "adam+nncg"}
"""Rows by DeepXDE, and the optimizers of each."""

PROBE = (1.0, 1.5, 0.5, 2.0, 0.75)
"""Rates of the field on which residuals are compared."""

GAUSS_NEWTON = {"recipe": "gauss_newton", "depth": 2, "width": 32, "points": 5000}

CASES = [
    Case("burgers", pdeml.problems.burgers, {"pinn": {}}),
    Case(
        "allen_cahn",
        pdeml.problems.allen_cahn,
        {"pinn": {"width": 30}},
        width=30,
        reference="spectral",
    ),
    Case("convection", pdeml.problems.convection, {"lpinn": {}, "pinn": {}}),
    Case("kdv", pdeml.problems.kdv, {"pinn": {"width": 30}}, width=30, reference="spectral"),
    Case("helmholtz", pdeml.problems.helmholtz, {"pig": {}, "pinn": GAUSS_NEWTON}, width=30),
    Case("wave", pdeml.problems.wave, {"pinn": {}}, width=30),
    Case("klein_gordon", pdeml.problems.klein_gordon, {"pinn": {}}, width=30),
    Case(
        "poisson_5d",
        lambda: pdeml.problems.poisson(dim=5),
        {"pinn": {"recipe": "gauss_newton", "constraints": "soft"}},
        width=30,
    ),
]


def case(name: str) -> Case:
    """The case of that name."""
    return next(c for c in CASES if c.name == name)


def evaluation_points(problem: PDE) -> Tensor:
    """Points at which every package is asked for its solution, (EVALUATED, d)."""
    return problem.domain.sample(EVALUATED, engine.generator(987))


def arrays(problem: PDE, seed: int) -> dict[str, np.ndarray]:
    """Points and values of all terms of a problem with one field.

    Returns
    -------
    dict
        ``inside`` (n, d); ``source`` and ``probe`` (n, 1), the residuals there of u = 0 and of
        u = sin(rates · x), by which a peer's worker checks its own residual; ``dirichlet``,
        ``initial`` and ``velocity`` (m, d) with their values (m, 1) under ``…_values``, where the
        problem has such conditions; ``periods`` (d,), 0 for axes that have none; ``evaluation``
        (k, d).
    """
    generator = engine.generator(seed)
    (unknown,) = problem.fields
    names = problem.coordinates

    def at(expression: Any, points: Tensor) -> Tensor:
        return evaluate([expression], names, points, problem.values)

    inside = problem.domain.sample(INSIDE, generator, "sobol")
    wave = sp.sin(sum(rate * s for rate, s in zip(PROBE, names, strict=False)))
    out = {"inside": inside, "rates": torch.tensor(PROBE[: len(names)], dtype=torch.float64)}
    for key, field in (("source", sp.Integer(0)), ("probe", wave)):
        out[key] = at(problem.residuals[0].subs({unknown: field}).doit(), inside)
    conditions = [c for c in problem.conditions if not isinstance(c, Periodic)]
    terms = condition_requirements(problem, conditions, ON_CONDITION, 1.0)
    for condition, term in zip(conditions, terms, strict=True):
        points, _ = term.draw(term.count, generator, "sobol")
        name = "velocity" if getattr(condition, "order", 0) else type(condition).__name__.lower()
        for key, value in ((name, points), (f"{name}_values", at(condition.value, points))):
            out[key] = torch.cat([out[key], value]) if key in out else value
    lower, upper = problem.domain.bounds
    periodic = problem.periodic_axes(unknown)
    lengths = [b - a if s in periodic else 0.0 for a, b, s in zip(lower, upper, names, strict=True)]
    out["periods"] = torch.tensor(lengths, dtype=torch.float64)
    out["evaluation"] = evaluation_points(problem)
    return {name: value.numpy() for name, value in out.items()}
