"""Solve fast convection along its characteristics, where a network over (x, t) fails."""

import torch
from matplotlib.figure import Figure

import pdeml
from pdeml.solvers import lpinn

problem = pdeml.problems.convection_diffusion(speed=50, diffusivity=0.01)
exact = pdeml.solve(problem, "exact")
solution = pdeml.solve(problem, "lpinn", max_iterations=300, progress=True)
eulerian = pdeml.solve(problem, "pinn", max_iterations=1000, points=1000, progress=True)
print(solution.report)
print(f"along characteristics: relative L2 error {solution.error(exact)['l2_relative']:.1e}")
print(f"over (x, t):           relative L2 error {eulerian.error(exact)['l2_relative']:.1e}")

figure = Figure(figsize=(10, 3.4), layout="constrained")
left, right = figure.subplots(1, 2)
x = torch.linspace(0, 2 * torch.pi, 401, dtype=torch.float64)
end = torch.stack([x, torch.ones_like(x)], -1)
left.plot(x, exact.values_at(end), "k", lw=3, alpha=0.3, label="exact")
left.plot(x, solution.values_at(end), "C0", label="lpinn")
left.plot(x, eulerian.values_at(end), "C3--", label="pinn")
left.set(xlabel="x", ylabel="u(x, t = 1)")
left.legend(frameon=False)
labels, times = torch.linspace(0, 6, 13)[:, None], torch.linspace(0, 1, 51)
positions, _ = lpinn.characteristics(solution, labels, times)
right.plot(positions[..., 0], times, "C0", lw=0.8)
right.set(xlabel="X(ξ, t), not wrapped", ylabel="t", title="characteristics")
figure.savefig("convection_lpinn.png", dpi=120)
