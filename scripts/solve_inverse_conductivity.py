"""Find an unknown conductivity a(x, y) from noisy values of the pressure by a PINN."""

import sympy as sp
import torch

import pdeml

x, y = sp.symbols("x y", real=True)
u, a = pdeml.Field("u", x, y), pdeml.Field("a", x, y)
truth = {
    u: x + sp.exp(x / 2) * sp.sin(sp.pi * y / 2),
    a: 1 + sp.sin(sp.pi * x) * sp.cos(sp.pi * y) / 2,
}


def outflow(a, u):
    return -(a * u.diff(x)).diff(x) - (a * u.diff(y)).diff(y)


darcy = pdeml.PDE(
    "darcy",
    [sp.Eq(outflow(a, u), outflow(truth[a], truth[u]))],
    pdeml.Rectangle((x, y), (0, 0), (1, 1)),
    [pdeml.Dirichlet(a, truth[a])],  # a is known on the boundary, u where it is measured
    truth,
    unknowns=[a],
)
exact = pdeml.solve(darcy, "exact")
generator = torch.Generator().manual_seed(0)
points = darcy.domain.sample(400, generator)
noise = 0.005 * torch.randn(400, generator=generator, dtype=torch.float64)
data = (points, exact(points)[:, darcy.fields.index(u)] + noise)

options = {"recipe": "gauss_newton", "width": 20, "points": 800, "max_iterations": 80}
solution = pdeml.solve(darcy, "pinn", data=data, progress=True, **options)
print(solution.report)
print(f"relative L2 error of a {solution.error(exact)['l2_relative[a]']:.1e}")
solution.plot(reference=exact).savefig("inverse_conductivity.png", dpi=120)
