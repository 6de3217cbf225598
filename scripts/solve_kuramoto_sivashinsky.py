"""Solve the Kuramoto–Sivashinsky equation: chaos in space and time, and its energy spectrum.

Trajectories part like e^{0.09 t}, so the report says rightly that none is converged at t = 200;
the mean spectrum is.
"""

import math

import numpy as np
from matplotlib.figure import Figure

import pdeml
from pdeml.probability import mno_kuramoto_sivashinsky

length = 64 * math.pi
problem = pdeml.problems.kuramoto_sivashinsky(length=length, duration=200)
start = mno_kuramoto_sivashinsky(512, samples=32, seed=0)  # (trajectory, channel, point)
runs = pdeml.solve(problem, "spectral", initial=start, dt=0.25, times=range(201))
print(runs.report)

u = runs.to_xarray()["u"]
modes = np.fft.rfft(u.sel(t=slice(100, None)), norm="forward")  # the start is forgotten by then
energy = (abs(modes) ** 2).mean((0, 1))
kept = slice(1, 512 // 3)
wave = 2 * math.pi / length * np.arange(len(energy))

figure = Figure(figsize=(13, 4.5), layout="constrained")
left, right = figure.subplots(1, 2, width_ratios=[2, 1])
u[0].plot.imshow(x="t", y="x", ax=left, cmap="RdBu_r")
right.loglog(wave[kept], energy[kept])
right.axvline(math.sqrt(0.5), color="gray", linestyle="--", label="fastest growing wave")
right.set(xlabel="wave number", ylabel="mean energy", title="32 trajectories, t ≥ 100")
right.legend()
figure.savefig("kuramoto_sivashinsky.png", dpi=120)
