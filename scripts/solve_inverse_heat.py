"""Find an unknown diffusivity from noisy temperatures by a PINN, with its standard error."""

import matplotlib.pyplot as plt
import sympy as sp
import torch

import pdeml

x, t = sp.symbols("x t", real=True)
u = pdeml.Field("u", x, t)
kappa = pdeml.Parameter("kappa", 0.3, positive=True)
truth = 0.1

rod = pdeml.PDE(
    "rod",
    [sp.Eq(u.diff(t), kappa * u.diff(x, 2))],
    pdeml.Interval(x, 0, 1) * pdeml.Time(t, 0, 1),
    [pdeml.Initial(u, sp.sin(sp.pi * x)), pdeml.Dirichlet(u, 0)],
    unknowns=["kappa"],
)
generator = torch.Generator().manual_seed(0)
points = rod.domain.sample(200, generator)
exact = torch.sin(torch.pi * points[:, 0]) * torch.exp(-truth * torch.pi**2 * points[:, 1])
noise = 0.02 * torch.randn(200, generator=generator, dtype=torch.float64)
data = (points, exact + noise)

options = {"data": data, "points": 1000, "depth": 2, "max_iterations": 600, "adam_steps": 200}
solution = pdeml.solve(rod, "pinn", cycle=200, progress=True, **options)
found = solution.parameters["kappa"]
print(f"diffusivity {found.value:.4f} ± {found.standard_error:.4f}, true {truth}")

figure = solution.plot()
axes = figure.axes[0]
axes.scatter(points[:, 1], points[:, 0], s=6, c="k")
axes.set_title(f"κ = {found.value:.4f} ± {found.standard_error:.4f} (true {truth}), data as dots")
figure.savefig("inverse_heat.png", dpi=120)
plt.close(figure)
