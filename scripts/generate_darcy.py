"""Generate the Darcy data of the Fourier neural operator: coefficient → pressure, on 421² points.

Coefficients 12 and 3 where a Gaussian field is positive and negative, source 1, the five-point
scheme. Killed, it is continued by starting it again. 1.5 GB, a quarter of an hour on one core. The
number of samples may be given: 1024. Finite elements that follow each sample are in
``pdeml generate darcy``.
"""

import sys

import numpy as np
import torch

from pdeml import data, probability
from pdeml.data.five_point import darcy_pressure

POINTS = 421

line = np.linspace(0, 1, POINTS)
fields = [data.FieldInfo(name, "float32", static=True) for name in ("k", "u")]
with data.Writer(
    "darcy.h5",
    fields=fields,
    times=[0],
    axes={"x": line, "y": line},
    samples=int(sys.argv[1]) if len(sys.argv) > 1 else 1024,
    seed=0,
    options={"coefficient": "fno_darcy", "scheme": "five points", "source": 1},
) as writer:
    for ids in writer.pending(batch=8):
        k = torch.cat([probability.fno_darcy(POINTS, seed=0, first=int(i), samples=1) for i in ids])
        writer.commit(ids, k=k[:, 0], u=darcy_pressure(k)[:, 0])
        print(f"{writer.finished} of {len(writer.numbers)}", end="\r")
dataset = data.open("darcy.h5")
print(dataset)
coefficient, pressure = (dataset.read(0, fields=name)[0, 0, 0] for name in dataset.fields)
print(f"u at the centre {pressure[POINTS // 2, POINTS // 2]:.6f}")
