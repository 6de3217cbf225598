"""Generate the Navier–Stokes data of the Fourier neural operator: vorticity at unit times.

Forced flow on the unit torus from random starts, ν = 1e-3 up to t = 50 (or 1e-4 up to 30, 1e-5 up
to 20), solved on 256² points, of which the Fourier series is kept on 64². The first ten frames are
the input. Killed, it is continued by starting it again. 1 GB; give ``device="cuda"`` where there is
one, as a sample takes minutes on one core. The number of samples may be given: 1200.
"""

import sys

import numpy as np

import pdeml
from pdeml import data

NU, END = 1e-3, 50

dataset = data.generate(
    pdeml.problems.navier_stokes_vorticity(nu=NU, duration=END),
    samples=int(sys.argv[1]) if len(sys.argv) > 1 else 1200,
    out="navier_stokes.h5",
    seed=0,
    initial="fno_navier_stokes",
    resolution=256,
    keep=64,
    times=np.arange(1, END + 1),
    dt=5e-3,
    split=(1000 / 1200, 100 / 1200, 100 / 1200),
    progress=True,
)
print(dataset)
window = dataset.windows(t_in=10, t_out=END - 10)[0]
print({name: tuple(value.shape) for name, value in window.items()})
