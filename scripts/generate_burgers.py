"""Generate the Burgers data of operator learning: 1200 starts at 8192 points, several viscosities.

The initial values are those of the Fourier neural operator ("R10"); viscosities are drawn from
0.001 … 0.1, so that one set serves operators of the viscosity too. Killed, it is continued by
starting it again. About 0.4 GB.
"""

from pdeml import data

dataset = data.generate(
    "burgers",
    samples=1200,
    out="burgers_large.h5",
    seed=0,
    vary={"nu": (0.001, 0.1, "log")},
    resolution=8192,
    frames=11,
    dt=2e-4,
    split=(1000 / 1200, 100 / 1200, 100 / 1200),
    progress=True,
)
print(dataset)
train, valid, test = dataset.split("stored")
coarse = train.downsample(16)  # 512 points, without aliases
batch = next(iter(coarse.windows(t_in=1, t_out=10).loader(batch=20, seed=0)))
print({name: tuple(value.shape) for name, value in batch.items()})
print(dataset.problem)  # the declaration is kept with the data
