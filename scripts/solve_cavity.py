"""Flow in a lid-driven cavity by finite elements, beside the centre lines of Ghia et al. (1982)."""

import matplotlib.pyplot as plt
import numpy as np
import torch

import pdeml
from pdeml.problems.ghia import ghia_centre_lines

ghia = ghia_centre_lines(400)
flow = pdeml.solve(pdeml.problems.lid_driven_cavity(reynolds=400), "fem", h=1 / 64, reference=None)
print(flow.report)

line = torch.linspace(0, 1, 401, dtype=torch.float64)
half = torch.full_like(line, 0.5)
u, v = flow(torch.stack([half, line], 1))[:, 0], flow(torch.stack([line, half], 1))[:, 1]
for name, values in (("u", u), ("v", v)):
    gap = np.abs(np.interp(ghia[name][0], line, values) - ghia[name][1]).max()
    print(f"largest deviation of {name} from Ghia et al.: {gap:.4f}")

grid = flow.to_xarray(resolution=201).transpose("y", "x")
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
image = left.pcolormesh(grid.x, grid.y, np.hypot(grid.u, grid.v), rasterized=True)
figure.colorbar(image, ax=left, label="|u|")
left.streamplot(grid.x.data, grid.y.data, grid.u.data, grid.v.data, color="w", linewidth=0.6)
left.set(xlabel="x", ylabel="y", xlim=(0, 1), ylim=(0, 1), aspect="equal", title="Re = 400")
for values, name, label in ((u, "u", "u(0.5, y)"), (v, "v", "v(x, 0.5)")):
    (curve,) = right.plot(line, values, label=label)
    right.plot(*ghia[name], "o", color=curve.get_color(), mfc="none", label="Ghia et al.")
right.set(xlabel="y or x", ylabel="velocity")
right.legend()
figure.savefig("cavity.png", dpi=150)
