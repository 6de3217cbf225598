"""Run by every rank: solves three problems and prints errors and values, on rank 0."""

import json
import sys

import sympy as sp
import torch

import pdeml
from pdeml import problems
from pdeml.domains import Interval, Rectangle, Time
from pdeml.operators.conditions import Dirichlet, Initial, Neumann, Periodic
from pdeml.operators.fields import Field
from pdeml.operators.pde import PDE
from pdeml.solvers.fem import backend

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
        {"h": 1 / 6},
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
        {"h": 1 / 12, "dt": 1 / 16},
    )
    yield problems.poisson(2), {"tol": 0.15, "degree": 1}


def main():
    comm = backend.load().MPI.COMM_WORLD
    rows = []
    for problem, options in cases():
        solution = pdeml.solve(problem, "fem", reference=None, **options)
        lower, upper = (torch.tensor(b, dtype=torch.float64) for b in problem.domain.bounds)
        sobol = torch.quasirandom.SobolEngine(len(lower), scramble=True, seed=1)
        values = solution.values_at(lower + (upper - lower) * sobol.draw(64).double())
        everywhere = comm.allgather(values.numpy().tobytes())
        assert len(set(everywhere)) == 1, "ranks hold different fields"
        rows.append(
            {
                "name": problem.name,
                "values": values.flatten().tolist(),
                "error": solution.report.error["l2_relative"],
            }
        )
    if comm.rank == 0:
        print(json.dumps({"ranks": comm.size, "rows": rows}))


if __name__ == "__main__":
    sys.exit(main())
