"""Flow in a lid-driven cavity by finite elements, beside the centre lines of Ghia et al. (1982)."""

import matplotlib.pyplot as plt
import numpy as np
import torch

import pdeml

# J. Comput. Phys. 48, 387, tables I and II, Re = 400: heights, u(0.5, y); places, v(x, 0.5)
HEIGHTS = [0, 0.0547, 0.1016, 0.1719, 0.2813, 0.4531, 0.5, 0.6172, 0.7344, 0.8516, 0.9531, 1]
U = [0, -0.08186, -0.14612, -0.24299, -0.32726, -0.17119, -0.11477, 0.02135, 0.16256, 0.29093]
PLACES = [0, 0.0625, 0.0938, 0.1563, 0.2266, 0.2344, 0.5, 0.8047, 0.8594, 0.9453, 0.9688, 1]
V = [0, 0.18360, 0.22965, 0.28124, 0.30203, 0.30174, 0.05186, -0.38598, -0.44993, -0.22847]
ghia = {"u": (HEIGHTS, [*U, 0.55892, 1]), "v": (PLACES, [*V, -0.12146, 0])}

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
