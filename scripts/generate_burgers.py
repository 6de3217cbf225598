"""Generate the Burgers data of the Fourier neural operator ("R10"): u(·, 0) → u(·, 1), ν = 0.1.

1200 starts drawn from N(0, 625 (−d²/dx² + 25)^(−2)) on the unit interval, at 1024 points, which
hold the solutions to 1e-12 (the published files have 8192). Killed, it is continued by starting it
again. 10 MB; under a minute on one core. The number of samples may be given: 1200.
"""

import sys

import pdeml
from pdeml import data

dataset = data.generate(
    pdeml.problems.vector_burgers(dim=1, nu=0.1),
    samples=int(sys.argv[1]) if len(sys.argv) > 1 else 1200,
    out="burgers_r10.h5",
    seed=0,
    initial="fno_burgers",
    resolution=1024,
    times=[0, 1],
    split=(1000 / 1200, 100 / 1200, 100 / 1200),
    progress=True,
)
print(dataset)
train, valid, test = dataset.split("stored")
coarse = train.downsample(8)  # 128 points, without aliases
batch = next(iter(coarse.windows(t_in=1, t_out=1).loader(batch=20, seed=0)))
print({name: tuple(value.shape) for name, value in batch.items()})
