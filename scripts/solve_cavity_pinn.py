"""Flow in a lid-driven cavity by a PINN at Re = 100, against finite elements."""

import pdeml

problem = pdeml.problems.lid_driven_cavity(reynolds=100, lid="sine")
reference = pdeml.solve(problem, "fem", h=1 / 32, reference=None)
solution = pdeml.solve(
    problem,
    "pinn",
    continuation={"Re": [20, 100]},
    points=2000,
    adam_steps=300,
    time_limit=180,
    reference=reference,
    progress=True,
)
print(solution.report)

error = solution.error(reference)
for name in ("u", "v"):
    print(f"relative L2 error of {name} against FEM {error[f'l2_relative[{name}]']:.1e}")
solution.plot(reference=reference).savefig("cavity_pinn.png", dpi=120)
