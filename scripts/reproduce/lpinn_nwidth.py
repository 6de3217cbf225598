"""Modes that travelling waves need, in the Eulerian frame and along characteristics.

N = 256 points on [0, 2π), 100 times in [0, 1], tolerance 1e-4: Gaussian bumps, a sine (which proves
nothing), and viscous Burgers with ν = 0.01 from c + sin x without its mean.
"""

import math

import torch
from matplotlib.figure import Figure
from reproduction import arguments, reproduce

from pdeml.diagnostics import nwidth
from pdeml.special.burgers import burgers_sine

args = arguments(__doc__)
PICTURE = "docs/pictures/lpinn_nwidth.png"
SPEEDS = (0.5, 1, 2, 5, 10, 30, 50)
X = 2 * math.pi * torch.arange(256, dtype=torch.float64)[:, None] / 256
T = torch.linspace(0, 1, 100, dtype=torch.float64)[None, :]


def bump(x, width):
    return torch.exp(-(((torch.remainder(x, 2 * math.pi) - math.pi) / width) ** 2) / 2)


def burgers(c):
    z = torch.remainder(X - c * T, 2 * math.pi) / math.pi - 1
    return burgers_sine(z, T / math.pi, 0.01 / math.pi)


def run(seed):
    modes = {
        "sigma = 0.2": {c: nwidth(bump(X - c * T, 0.2)) for c in SPEEDS},
        "sigma = pi/4": {c: nwidth(bump(X - c * T, math.pi / 4)) for c in SPEEDS},
        "sine": {c: nwidth(torch.sin(X - c * T)) for c in SPEEDS},
        "Burgers": {c: nwidth(burgers(c), mean="removed") for c in (0, 5, 30, 50)},
        "sigma = 0.2 along X": {c: nwidth(bump(X, 0.2) + 0 * T) for c in SPEEDS},
        "X": {c: nwidth(X + c * T) for c in SPEEDS},
    }
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, name in zip(
        figure.subplots(1, 2, sharey=True), ("sigma = 0.2", "Burgers"), strict=True
    ):
        for c, found in modes[name].items():
            values = found.singular_values["snapshots"]
            axes.semilogy(range(1, 101), values / values[0], label=f"c = {c:g}", lw=1)
        axes.axhline(1e-4, color="0.6", lw=0.8, ls=":")
        title = "Gaussian, σ = 0.2" if name != "Burgers" else "Burgers, ν = 0.01"
        axes.set(title=title, xlabel="mode n", ylim=(1e-12, 2))
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel(r"$\sigma_n/\sigma_1$")
    figure.savefig(PICTURE, dpi=120)
    return {
        name: {f"{c:g}": found.modes["snapshots"] for c, found in row.items()}
        for name, row in modes.items()
    }


reproduce(args, "0.2: 7 10 17 36 41 41 41; π/4: 4 5 7 11 11 11 11; sine 2; Burgers 7 34 46 47", run)
