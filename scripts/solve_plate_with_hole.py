"""A plate with a hole is pulled apart: von Mises stress and stress concentration."""

import matplotlib.pyplot as plt
import sympy as sp
import torch

import pdeml

problem = pdeml.problems.plate_with_hole("grips")
mesh = pdeml.Mesh.read("meshes/plate_with_hole.xdmf", problem.coordinates)
mesh = mesh.renamed({"hole": "boundary"})  # as the problem calls it
plate = pdeml.solve(problem, "fem", mesh=mesh, reference=None)
print(plate.report)

(xx, xy), (_, yy) = (equation.flux for equation in problem.weak_form().equations)
poisson = sp.Rational(1, 4)  # λ/(2(λ + μ)) with λ = μ = 1
zz = poisson * (xx + yy)  # plane strain
mises = sp.sqrt(((xx - yy) ** 2 + (yy - zz) ** 2 + (zz - xx) ** 2) / 2 + 3 * xy**2)

force, width = plate.flux("u", on="right"), 2
top = torch.tensor([[0.0, 0.25]], dtype=torch.float64)
largest = plate.evaluate(xx, top).item()
print(f"force {force:.4f}, of which on the other side {plate.flux('u', on='left'):.4f}")
print(f"σ_xx at the hole: {largest / (force / width):.3f} times the mean stress")

vertices, cells = torch.from_numpy(mesh.vertices.copy()), mesh.cells
stress = plate.evaluate(mises, vertices[torch.from_numpy(cells.copy())].mean(1))
figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
image = ax.tripcolor(*mesh.vertices.T, cells, facecolors=stress.numpy(), rasterized=True)
figure.colorbar(image, ax=ax, label="von Mises stress / tension")
ax.set(xlabel="x", ylabel="y", aspect="equal")
figure.savefig("plate_with_hole.png", dpi=150)
