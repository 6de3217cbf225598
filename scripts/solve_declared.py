"""Declare a problem in SymPy and solve it: Burgers between two walls, u = 0 on both."""

import sympy as sp

import pdeml

x, t = sp.symbols("x t", real=True)
u = pdeml.Field("u", x, t)
nu = pdeml.Parameter("nu", 0.01 / sp.pi)

problem = pdeml.PDE(
    name="burgers_walls",
    equations=[sp.Eq(u.diff(t) + u * u.diff(x), nu * u.diff(x, 2))],
    domain=pdeml.Interval(x, -1, 1) * pdeml.Time(t, 0, 1),
    conditions=[pdeml.Initial(u, -sp.sin(sp.pi * x)), pdeml.Dirichlet(u, 0)],
)

if __name__ == "__main__":
    solution = pdeml.solve(problem, "pinn", time_limit=60, seed=0, progress=True)
    exact = pdeml.solve(pdeml.problems.burgers(), "exact")
    print(solution.report)
    print(f"relative L2 error {solution.error(exact)['l2_relative']:.1e}")
    slope = solution.derivative(u, x)
    print("steepest slope at t = 0.5:", float(slope([[0.0, 0.5]])[0, 0]))
    solution.save("burgers_walls.h5")
