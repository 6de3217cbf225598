"""Solve Helmholtz's equation by Chebyshev collocation and watch the error fall with the points."""

import pdeml

problem = pdeml.problems.helmholtz(a1=1, a2=4)
exact = pdeml.solve(problem, "exact")

for resolution in (16, 24, 32, 40):
    coarse = pdeml.solve(problem, "chebyshev", resolution=resolution, reference=exact)
    error = coarse.report.error["l2_relative"]
    print(f"{resolution}×{resolution} points: relative L2 error {error:.1e}")

solution = pdeml.solve(problem, "chebyshev")
print(solution.report)
solution.plot(reference=exact).savefig("helmholtz_chebyshev.png", dpi=120)
