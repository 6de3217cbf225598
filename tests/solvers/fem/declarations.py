"""Manufactured problems and error norms that the tests of the finite elements share."""

import sympy as sp
import torch

from pdeml.domains import Rectangle, Time
from pdeml.domains.mesh import Mesh
from pdeml.operators.conditions import Dirichlet, Initial
from pdeml.operators.expressions import evaluate
from pdeml.operators.fields import Field
from pdeml.operators.pde import PDE

x, y, t = sp.symbols("x y t", real=True)
u, v, p = (Field(name, x, y) for name in "uvp")
SQUARE = Rectangle((x, y), (0, 0), (1, 1))
WAVY = sp.sin(sp.pi * x) * sp.cos(sp.pi * y / 2)


def laplacian(f):
    return f.diff(x, 2) + f.diff(y, 2)


def divergence(a, f):
    return (a * f.diff(x)).diff(x) + (a * f.diff(y)).diff(y)


def manufactured(operator, exact, conditions=None, name="manufactured"):
    """operator(u) = operator(exact) in the unit square."""
    conditions = [Dirichlet(u, exact)] if conditions is None else conditions
    equation = sp.Eq(operator(u), operator(exact).doit())
    return PDE(name, equation, SQUARE, conditions, exact={u: exact})


def quasi_linear(w):
    return -divergence(1 + w**2, w) + w**3


def anisotropic(w):
    mixed = -w.diff(x, 2) - sp.Rational(3, 5) * w.diff(x, y) - (2 + sp.sin(x)) * w.diff(y, 2)
    return mixed + w * w.diff(x)


def gradient_law(w):
    return -divergence(1 + w.diff(x) ** 2 + w.diff(y) ** 2, w)


def heat_with_source():
    """u_t = Δu + f with u = e^{−t} sin πx cos πy on [0, 1]² × [0, 1/2]."""
    w = Field("u", x, y, t)
    exact = sp.exp(-t) * sp.sin(sp.pi * x) * sp.cos(sp.pi * y)
    equation = sp.Eq(w.diff(t) - laplacian(w), exact.diff(t) - laplacian(exact))
    conditions = [Initial(w, exact.subs(t, 0)), Dirichlet(w, exact)]
    return PDE("heated", equation, SQUARE * Time(t, 0, 0.5), conditions, exact={w: exact})


def norms(solution, field, exact, cells, time=None):
    """L2 norm of the error and of its gradient, by quadrature on the cells of the mesh."""
    problem = solution.problem
    space = problem.space_coordinates
    domain = problem.domain.space if problem.time is not None else problem.domain
    degree = 2 * solution.options["degree"] + 4
    points, weights = Mesh.structured(domain, cells).quadrature(degree)
    at = points if time is None else torch.cat([points, torch.full((len(points), 1), time)], dim=1)
    expressions = [exact, *(exact.diff(c) for c in space)]
    wanted = evaluate(expressions, problem.coordinates, at, problem.values)
    column = problem.fields.index(field)
    value = solution(at)[:, column]
    slopes = [solution.derivative(field, c)(at)[:, 0] for c in space]
    square = [(a - b) ** 2 for a, b in zip([value, *slopes], wanted.unbind(1), strict=True)]
    return (
        (weights * square[0]).sum().sqrt().item(),
        (weights * sum(square[1:])).sum().sqrt().item(),
    )
