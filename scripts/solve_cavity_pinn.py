"""Flow in a lid-driven cavity by a PINN at Re = 100, with its pressure, against finite elements."""

import pdeml

problem = pdeml.problems.lid_driven_cavity(reynolds=100, lid="sine")
reference = pdeml.solve(problem, "fem", h=1 / 32, reference=None)
solution = pdeml.solve(
    problem,
    "pinn",
    recipe="gauss_newton",  # Levenberg–Marquardt: far fewer steps than first-order training
    depth=2,
    width=20,
    points=1500,
    sampling="rad",  # the pressure is singular in the upper corners
    time_limit=60,
    reference=reference,
    progress=True,
)
print(solution.report)

error = solution.error(reference)
for name in ("u", "v", "p"):
    print(f"relative L2 error of {name} against FEM {error[f'l2_relative[{name}]']:.1e}")
solution.plot(reference=reference).savefig("cavity_pinn.png", dpi=120)
