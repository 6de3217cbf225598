"""Run by every rank: solves problems and prints norms, errors and values, on rank 0."""

import json
import math
import sys

import sympy as sp

import pdeml
from pdeml import problems
from pdeml.domains import Interval, Rectangle, Time
from pdeml.errors import DivergedError
from pdeml.operators.conditions import Dirichlet, Initial, Neumann, Periodic
from pdeml.operators.fields import Field
from pdeml.operators.pde import PDE
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.mesh import space_of

CELLS, STEPS = {1: 12, 2: 6, 3: 2}, 4  # of a problem of the zoo

x, y, t = sp.symbols("x y t", real=True)


def cases():
    u, v, p = (Field(name, x, y) for name in "uvp")
    square = Rectangle((x, y), (0, 0), (1, 1))
    exact = sp.sin(sp.pi * x) * sp.cos(sp.pi * y / 2) + 1
    flux = sum(((1 + exact**2) * exact.diff(c)).diff(c) for c in (x, y))
    left = sum(((1 + u**2) * u.diff(c)).diff(c) for c in (x, y))
    yield (
        PDE(
            "quasi_linear",
            sp.Eq(left, flux),
            square,
            [Dirichlet(u, exact, on=x < 1), Neumann(u, exact.diff(x), on="right")],
        ),
        {"h": 1 / 4},
    )
    yield (
        PDE(
            "stokes",
            [
                p.diff(x) - u.diff(x, 2) - u.diff(y, 2) - y,
                p.diff(y) - v.diff(x, 2) - v.diff(y, 2) + x**2,
                u.diff(x) + v.diff(y),
            ],
            square,
            [Dirichlet(u, 0), Dirichlet(v, 0)],
        ),
        {"h": 1 / 8},
    )
    w = Field("u", x, t)
    yield (
        PDE(
            "periodic",
            sp.Eq(w.diff(t) + w * w.diff(x), w.diff(x, 2) / 20),
            Interval(x, 0, 1) * Time(t, 0, 0.5),
            [Initial(w, sp.sin(2 * sp.pi * x) + 1), Periodic(w, x)],
        ),
        {"h": 1 / 8, "dt": 1 / 8},
    )
    yield problems.taylor_green_vortex(), {"h": math.pi / 3, "dt": 1 / 2}
    yield problems.heat(1), {"h": 1 / 2, "dt": 1 / 2, "scheme": "sdirk4"}  # two cells
    yield problems.poisson(2), {"tol": 1e-3, "degree": 1}


def zoo():
    """Every problem of the zoo that the method can solve, on few cells with few steps."""
    for name in problems.names():
        problem = problems.get(name)()
        if pdeml.solvers.can_solve(problem, "fem") is not None:
            continue
        lower, upper = space_of(problem).bounds
        options = {"h": max(b - a for a, b in zip(lower, upper, strict=True)) / CELLS[len(lower)]}
        if problem.time is not None:
            options["dt"] = (problem.domain.time.end - problem.domain.time.start) / STEPS
        yield problem, options


def measured(problem, options, comm):
    """Norms of the nodes, the estimated error, and values at 64 points; or how it failed."""
    try:
        solution = pdeml.solve(problem, "fem", reference=None, **options)
    except DivergedError as error:
        return {"name": problem.name, "failed": type(error).__name__}
    points = problem.domain.sample(64, pdeml.engine.generator(1), method="sobol")
    values = solution.values_at(points)
    everywhere = comm.allgather(values.numpy().tobytes())
    assert len(set(everywhere)) == 1, "ranks hold different fields"
    state = solution.field.state_dict()
    error = solution.report.error
    return {
        "name": problem.name,
        "values": values.flatten().tolist(),
        "norms": [v.norm().item() for k, v in state.items() if k.startswith("values")],
        "error": None if error is None else error["l2_relative"],
    }


def main():
    comm = backend.load().MPI.COMM_WORLD
    chosen = zoo() if "zoo" in sys.argv else cases()
    rows = [measured(problem, options, comm) for problem, options in chosen]
    if comm.rank == 0:
        print(json.dumps({"ranks": comm.size, "rows": rows}))


if __name__ == "__main__":
    main()
