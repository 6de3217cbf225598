"""Solve viscous Burgers with a PINN and compare with the exact solution."""

import pdeml

problem = pdeml.problems.burgers()
solution = pdeml.solve(problem, "pinn", time_limit=120, seed=0, progress=True)
exact = pdeml.solve(problem, "exact")

print(solution.report)
print(f"relative L2 error {solution.error(exact)['l2_relative']:.1e}")
solution.plot(reference=exact).savefig("burgers.png", dpi=120)
