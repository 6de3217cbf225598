"""Solve Helmholtz's equation by Gaussians: fitted on fixed centres, then few that move."""

import pdeml

problem = pdeml.problems.helmholtz(a1=1, a2=2)
exact = pdeml.solve(problem, "exact")

fixed = pdeml.solve(problem, "pig", n_gaussians=400, reference=exact)
print(f"400 fixed Gaussians: relative L2 error {fixed.report.error['l2_relative']:.1e}")

few = {"recipe": "least_squares", "n_gaussians": 24, "sigma": 0.35, "reference": exact, "seed": 0}
points = {"points": 800, "condition_points": 400}
start = pdeml.solve(problem, "pig", **few, **points)
moved = pdeml.solve(problem, "pig", **few, **points, max_iterations=75, progress=True)
for name, solution in (("fixed", start), ("moved", moved)):
    print(f"24 {name} Gaussians: relative L2 error {solution.report.error['l2_relative']:.1e}")

print(moved.report)
moved.plot_gaussians().savefig("helmholtz_pig_gaussians.png", dpi=120)
moved.plot(reference=exact).savefig("helmholtz_pig.png", dpi=120)
