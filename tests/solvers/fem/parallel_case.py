"""Run by every rank: solves problems, measures them, and prints rows on rank 0."""

import functools
import json
import math
import sys
from pathlib import Path

import sympy as sp
import torch

import pdeml
from pdeml import problems
from pdeml.domains import Box, Interval, Mesh, Rectangle, Time
from pdeml.errors import InvalidOption
from pdeml.operators.conditions import Dirichlet, Initial, Neumann, Periodic
from pdeml.operators.fields import Field
from pdeml.operators.pde import PDE
from pdeml.solvers.fem import backend, march
from pdeml.solvers.fem.trajectory import Record

sys.path.append(str(Path(__file__).parents[3] / "scripts" / "reproduce"))
import fem_mpi

x, y, z, t = sp.symbols("x y z t", real=True)


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
        {"h": 1 / 4, "dt": 1 / 8},
    )
    yield problems.taylor_green_vortex(), {"h": math.pi / 3, "dt": 1 / 2}
    yield problems.heat(1), {"h": 1 / 2, "dt": 1 / 2, "scheme": "sdirk4"}  # two cells
    yield problems.poisson(2), {"tol": 5e-3, "degree": 1}
    yield problems.poisson(2), {"h": 1 / 4, "degree": 3, "cell": "quadrilateral"}
    cube = Mesh.structured(Box((x, y, z), (0, 0, 0), (1, 1, 1)), 2, "hexahedron")
    bent = cube.vertices + 0.1 * cube.vertices[:, ::-1] ** 2
    f = Field("u", x, y, z)
    left = sum(f.diff(c, 2) for c in (x, y, z))
    mesh = Mesh(cube.coordinates, bent, cube.cells, cube.named_facets)
    yield PDE("hexahedra", sp.Eq(left, 1), mesh, [Dirichlet(f, x * z)]), {"degree": 2}


def failures(comm):
    """What fails on one rank alone inside of a solve fails on all, with the same sentence."""

    def only_here(points):
        values = torch.zeros(len(points), 1, dtype=torch.float64)
        return values * math.nan if comm.rank == comm.size - 1 else values

    texts = []
    for problem in (problems.heat(1), problems.nonlinear_diffusion()):
        try:
            pdeml.solve(problem, "fem", reference=None, h=1 / 4, initial=only_here)
        except InvalidOption as error:
            texts.append(str(error))
    return texts


def rows(comm):
    found = [fem_mpi.measured(problem, options, comm) for problem, options in cases()]
    # states are dropped, by ranks with different numbers of nodes
    march.Record = functools.partial(Record, held=100)
    found.append(fem_mpi.measured(problems.heat(1), {"h": 1 / 3, "dt": 1 / 32}, comm))
    march.Record = Record
    return found


def main():
    comm = backend.load().MPI.COMM_WORLD
    found, texts = rows(comm), comm.gather(failures(comm))
    if comm.rank == 0:
        print(json.dumps({"ranks": comm.size, "rows": found, "failures": texts}))


if __name__ == "__main__":
    main()
