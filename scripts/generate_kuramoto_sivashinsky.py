"""Generate chaotic trajectories: 1024 of the Kuramoto–Sivashinsky equation, 200 frames each.

The set-up of the Markov neural operator, of which the first 50 time units are forgotten. Killed, it
is continued by starting it again. 420 MB; a minute on one core. The number of samples may be given.
"""

import math
import sys

import numpy as np

import pdeml
from pdeml import data

problem = pdeml.problems.kuramoto_sivashinsky(length=64 * math.pi, duration=250)
dataset = data.generate(
    problem,
    samples=int(sys.argv[1]) if len(sys.argv) > 1 else 1024,
    out="kuramoto_sivashinsky_large.h5",
    seed=0,
    resolution=512,
    times=np.arange(51, 251),
    dt=0.25,
    split=(0.8, 0.1, 0.1),
    progress=True,
)
print(dataset)
print(dataset.select(samples=slice(0, 16)).statistics()["u"])
