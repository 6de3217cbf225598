"""Generate turbulent vorticity fields: 1200 starts of the Navier–Stokes equations, ν = 1e-4.

The set-up of the Fourier neural operator: forced on the unit torus, 256² points in the run, 64²
kept for training by truncation of the Fourier series. Killed, it is continued by starting it again.
9.8 GB; give ``device="cuda"`` where there is one.
"""

import pdeml
from pdeml import data

problem = pdeml.problems.navier_stokes_vorticity(nu=1e-4, duration=30)
dataset = data.generate(
    problem,
    samples=1200,
    out="navier_stokes_large.h5",
    seed=0,
    resolution=256,
    frames=31,
    dt=5e-3,
    split=(1000 / 1200, 100 / 1200, 100 / 1200),
    progress=True,
)
print(dataset)
data.convert(dataset.downsample(4), "navier_stokes_64.h5")
