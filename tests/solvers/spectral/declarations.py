"""Declarations that several tests share, and an evaluation of them that shares no code."""

import itertools
import math

import numpy as np
import sympy as sp
import torch

from pdeml.domains import Box, Interval, Rectangle, Time
from pdeml.operators.pde import PDE, Field, Initial, Periodic

x, y, z, t = sp.symbols("x y z t", real=True)
u, v = Field("u", x, t), Field("v", x, t)
h = Field("h", x, t, dtype=complex)
w, psi = Field("w", x, y, t), Field("psi", x, y, t)
half = sp.Rational(1, 2)
TURN = 2 * math.pi


def box(*lengths, end=1, lower=None):
    """Box × time, from `lower` (zeros by default)."""
    lower = lower or (0,) * len(lengths)
    upper = tuple(a + s for a, s in zip(lower, lengths, strict=True))
    axes = (x, y, z)[: len(lengths)]
    if len(axes) == 1:
        return Interval(x, lower[0], upper[0]) * Time(t, 0, end)
    return (Rectangle if len(axes) == 2 else Box)(axes, lower, upper) * Time(t, 0, end)


def time_order(equations, field):
    """Highest time derivative of a field."""
    found = set().union(*(e.atoms(sp.Derivative) for e in equations))
    counts = [dict(d.variable_count).get(t, 0) for d in found if d.expr == field]
    return max(map(int, counts), default=0)


def periodic(equations, fields, domain=None, initial=None, **more):
    """A problem with every field periodic along every axis; initial values are zero by default."""
    domain = box(TURN) if domain is None else domain
    equations, initial = list(equations), dict(initial or {})
    variables = [f.diff(t, n) if n else f for f in fields for n in range(time_order(equations, f))]
    conditions = [Initial(f, initial.get(f, 0)) for f in variables]
    conditions += [Periodic(f, axis) for f in fields for axis in domain.space.coordinates]
    return PDE(more.pop("name", "case"), equations, domain, conditions, fields=fields, **more)


def evolution(*right, fields=(u,), domain=None, initial=None, **more):
    """f_t = right for each field."""
    equations = [sp.Eq(f.diff(t), r) for f, r in zip(fields, right, strict=True)]
    return periodic(equations, fields, domain, initial, **more)


def laplacian(f):
    return sum(f.diff(axis, 2) for axis in (x, y, z) if axis in f.free_symbols)


def vorticity(domain, initial, nu=0, beta=0, drag=0, force=0, **more):
    """ω_t + u·∇ω + βv = νΔω − μω + f with Δψ = −ω, u = ψ_y, v = −ψ_x."""
    left = w.diff(t) + psi.diff(y) * w.diff(x) - psi.diff(x) * w.diff(y)
    right = nu * laplacian(w) - drag * w + force + beta * psi.diff(x)
    equations = [sp.Eq(left, right), sp.Eq(laplacian(psi), -w)]
    return periodic(equations, (w, psi), domain, {w: initial}, **more)


def flow(axes, nu, domain, initial=None, force=None, **more):
    """Incompressible Navier–Stokes equations in velocity and pressure."""
    velocity = [Field(name, *axes, t) for name in ("u", "v", "q")[: len(axes)]]
    p = Field("p", *axes, t)
    equations = [
        sp.Eq(
            a.diff(t) + sum(b * a.diff(c) for b, c in zip(velocity, axes, strict=True)),
            -p.diff(axis) + nu * laplacian(a) + f,
        )
        for a, axis, f in zip(velocity, axes, force or [0] * len(axes), strict=True)
    ]
    equations.append(sp.Eq(sum(a.diff(c) for a, c in zip(velocity, axes, strict=True)), 0))
    start = dict(zip(velocity, initial or [0] * len(axes), strict=True))
    return periodic(equations, (*velocity, p), domain, start, **more)


KDV = evolution(
    6 * u * u.diff(x) - u.diff(x, 3),
    domain=box(20, end=half),
    initial={u: sp.exp(sp.sin(sp.pi * x / 10)) - 1},
)
KS = evolution(
    -((u**2).diff(x)) / 2 - u.diff(x, 2) - u.diff(x, 4),
    domain=box(32 * sp.pi, end=20),
    initial={u: sp.cos(x / 16) * (1 + sp.sin(x / 16))},
)


def grid_points(problem, shape):
    """Points of a periodic grid per axis, in float64, shaped to broadcast."""
    lower, upper = problem.domain.space.bounds
    return [
        (a + (b - a) / n * torch.arange(n, dtype=torch.float64)).reshape(
            [-1 if i == axis else 1 for i in range(len(shape))]
        )
        for axis, (a, b, n) in enumerate(zip(lower, upper, shape, strict=True))
    ]


def sampled(problem, shape, expressions):
    """Expressions of the space coordinates on the grid, (1, C, *shape)."""
    points = [p.numpy() for p in grid_points(problem, shape)]
    columns = []
    for expression in expressions:
        value = sp.lambdify(problem.space_coordinates, sp.sympify(expression), "numpy")(*points)
        columns.append(torch.as_tensor(np.broadcast_to(value, shape).copy()))
    return torch.stack(columns)[None]


def declared_start(problem, shape):
    """The declared initial state on a grid, fields in their order (first order in time only)."""
    found = {c.field: c.value for c in problem.conditions if isinstance(c, Initial)}
    values = [found[f].subs(problem.values) for f in problem.fields if f in found]
    return sampled(problem, shape, values)


def random_values(problem, shape, count, highest, seed=0, mean=0.0, batch=1):
    """Random values (batch, count, *shape) of modes up to `highest`, of size one, and a mean."""
    real = all(f.is_real for f in problem.fields)
    generator = np.random.default_rng(seed)
    values = np.zeros((batch, count, *shape), dtype=float if real else complex)
    angles = [np.arange(n) * TURN / n for n in shape]
    mesh = np.meshgrid(*angles, indexing="ij")
    span = range(-highest, highest + 1)
    for k in itertools.product(*[span] * len(shape)):
        if not any(k):
            continue
        wave = np.exp(1j * sum(a * b for a, b in zip(k, mesh, strict=True)))
        size = (2 * highest + 1) ** (-len(shape) / 2) / (1 + sum(a * a for a in k))
        draw = generator.normal(size=(2, batch, count)) * size
        term = (draw[0] + 1j * draw[1])[(...,) + (None,) * len(shape)] * wave
        values += term.real if real else term
    return torch.as_tensor(values / np.abs(values).max() + mean)


# -------------------------------------------------------------------------- independent evaluation


def derivative(values, orders, lengths):
    """∂^orders of values on a periodic grid, by the whole complex transform of numpy."""
    modes = np.fft.fftn(values, axes=range(-len(orders), 0))
    for axis, (order, length) in enumerate(zip(orders, lengths, strict=True)):
        n = values.shape[axis - len(orders)]
        k = np.fft.fftfreq(n, 1 / n) * TURN / length
        shape = [-1 if i == axis else 1 for i in range(len(orders))]
        modes = modes * (1j * k.reshape(shape)) ** order
    result = np.fft.ifftn(modes, axes=range(-len(orders), 0))
    return result if np.iscomplexobj(values) else result.real


def evaluated(problem, expression, known, time):
    """An expression of fields and their derivatives on the grid.

    Parameters
    ----------
    known : (field, order in time) -> values on the grid.

    Returns
    -------
    The values, and the size of the largest derivative that went in.
    """
    lower, upper = problem.domain.space.bounds
    lengths = [b - a for a, b in zip(lower, upper, strict=True)]
    shape = next(iter(known.values())).shape
    arrays, stand_in = {}, {}
    for node in expression.atoms(sp.Derivative) | set(problem.fields):
        counts = dict(node.variable_count) if isinstance(node, sp.Derivative) else {}
        field = node.expr if counts else node
        key = (field, int(counts.get(t, 0)))
        if key not in known:
            continue
        symbol = sp.Dummy()
        stand_in[node] = symbol
        orders = [int(counts.get(c, 0)) for c in problem.space_coordinates]
        arrays[symbol] = derivative(known[key], orders, lengths)
    # derivatives before the fields inside them
    changed = expression.xreplace({k: s for k, s in stand_in.items() if k.args and k in stand_in})
    numbers = {**problem.values, problem.time: time}
    points = [p.numpy() for p in grid_points(problem, shape)]
    function = sp.lambdify([*problem.space_coordinates, *arrays], changed.subs(numbers), "numpy")
    size = max(np.abs(a).max() for a in arrays.values())
    return np.broadcast_to(function(*points, *arrays.values()), shape), size


def equation_errors(problem, system, values, time):
    """How much each declared equation is violated by L U + N, relative to its derivatives.

    Parameters
    ----------
    values : the state on the grid, (1, C, *shape).
    """
    grid, split = system.grid, system.split
    modes = grid.forward(values.to(grid.dtype if grid.real else system.complex_dtype))
    modes, _ = system.admissible(modes)
    rates = system.rate(modes, system.nonlinear(modes, time))
    state, moved = (grid.inverse(m)[0].numpy() for m in (modes, rates))
    known = {
        (f, 0): column.numpy()
        for f, column in zip(
            problem.fields, grid.inverse(system.fields(modes, time))[0], strict=True
        )
    }
    for variable, value, rate in zip(split.state, state, moved, strict=True):
        order = 0 if variable in problem.fields else int(variable.variable_count[0][1])
        field = variable.expr if order else variable
        if order:
            np.testing.assert_allclose(known[field, order], value, atol=1e-12)
        known[field, order], known[field, order + 1] = value, rate
    errors = []
    for residual in problem.residuals:
        left, size = evaluated(problem, residual, known, time)
        errors.append(np.abs(left).max() / size)
    return errors, modes


def orders(errors):
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


def relative(found, expected):
    return ((found - expected).abs().square().sum() / expected.abs().square().sum()).sqrt().item()
