"""Solve the two-dimensional Navier–Stokes equations: vortices that merge, as an animation."""

import numpy as np

import pdeml
from pdeml import plots
from pdeml.probability import fno_navier_stokes

problem = pdeml.problems.navier_stokes_vorticity(nu=1e-4, forcing=0, duration=12)
start = 10 * fno_navier_stokes((128, 128), samples=1, seed=0)
times = np.linspace(0, 12, plots.FRAMES)
run = pdeml.solve(problem, "spectral", initial=start, dt=0.02, times=times, progress=True)
print(run.report)

vorticity = run.to_xarray()[["omega"]].isel(sample=0)
enstrophy = (vorticity["omega"] ** 2).mean(("x", "y")) / 2
print(f"enstrophy {float(enstrophy[0]):.3f} → {float(enstrophy[-1]):.3f}")
path = "navier_stokes_vorticity.gif"
plots.animation(vorticity).save(path, writer=plots.movie_writer(path))
