"""Flow around a cylinder (DFG benchmark 2D-1): drag, lift and pressure difference, by finite
elements; the published values are 5.57953523384, 0.010618948146 and 0.11752016697."""

import matplotlib.pyplot as plt
import torch

import pdeml

problem = pdeml.problems.cylinder_channel(reynolds=20)
flow = pdeml.solve(problem, "fem", h=0.41 / 32, reference=None)
print(flow.report)

mean, diameter = 0.2, 0.1
drag, lift = (2 * flow.flux(f, on="boundary") / (mean**2 * diameter) for f in ("u", "v"))
front, back = flow(torch.tensor([[0.15, 0.2], [0.25, 0.2]], dtype=torch.float64))[:, 2].tolist()
for name, value, known in (
    ("drag", drag, 5.57953523384),
    ("lift", lift, 0.010618948146),
    ("Δp", front - back, 0.11752016697),
):
    print(f"{name:5}{value:.6f}  known {known:.6f}  deviation {value / known - 1:+.2%}")

grid = flow.to_xarray(resolution=(880, 165))
speed = (grid["u"] ** 2 + grid["v"] ** 2) ** 0.5
figure, axes = plt.subplots(2, 1, figsize=(9, 4.2), sharex=True, layout="constrained")
for ax, values, label in zip(axes, (speed, grid["p"]), ("|u|", "p"), strict=True):
    image = ax.pcolormesh(grid["x"], grid["y"], values.T, rasterized=True)
    figure.colorbar(image, ax=ax, label=label)
    ax.set(ylabel="y", aspect="equal")
axes[1].set_xlabel("x")
axes[0].set_title(f"Re = 20: drag {drag:.4f}, lift {lift:.5f}, Δp {front - back:.5f}")
figure.savefig("cylinder.png", dpi=150)
