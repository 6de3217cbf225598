"""Errors of the Lagrangian and the Eulerian PINN against the speed of convection, c = 0 … 70.

Convection and diffusion of a sine, and viscous Burgers from c + sin x, both with ν = 0.01: the
reference is the closed form (Cole–Hopf). Relative L2 error of the wave without its mean, on a
uniform grid at t = ¼, ½, ¾, 1. ``--quick`` takes five speeds and small networks.
"""

import argparse
import math
import sys

import sympy as sp
import torch
from matplotlib.figure import Figure
from reproduction import arguments, reproduce

import pdeml
from pdeml.errors import DivergedError
from pdeml.special.burgers import burgers_sine

flags = argparse.ArgumentParser(add_help=False)
flags.add_argument("--quick", action="store_true")
quick, rest = flags.parse_known_args()
command = list(sys.argv)
sys.argv = [sys.argv[0], *rest]
args = arguments(__doc__)
sys.argv = command
PICTURE = "docs/pictures/lpinn_convection.png"
NU = 0.01
SPEEDS = (0, 10, 30, 50, 70) if quick.quick else (0, 2, 5, 10, 20, 30, 40, 50, 60, 70)
small = {"depth": 2, "width": 12, "points": 600}
OPTIONS = {
    "lpinn": {**(small if quick.quick else {}), "max_iterations": 600 if quick.quick else 2000},
    "pinn": {
        **({"points": 800, "adam_steps": 300, "cycle": 200} if quick.quick else {}),
        "max_iterations": 900 if quick.quick else 4000,
    },
}

x, t = sp.symbols("x t", real=True)
w = pdeml.Field("w", x, t)
axis = 2 * math.pi * torch.arange(512, dtype=torch.float64) / 512
POINTS = torch.cat(
    [torch.stack([axis, torch.full_like(axis, s)], -1) for s in (0.25, 0.5, 0.75, 1)]
)


def burgers(c):
    return pdeml.PDE(
        "burgers_moving",
        [sp.Eq(w.diff(t) + w * w.diff(x), sp.Rational(1, 100) * w.diff(x, 2))],
        pdeml.Interval(x, 0, 2 * sp.pi) * pdeml.Time(t, 0, 1),
        [pdeml.Initial(w, c + sp.sin(x)), pdeml.Periodic(w, x)],
    )


def wave(c):
    """The Burgers wave without its mean; its place after wrapping is z = y/π − 1."""
    z = torch.remainder(POINTS[:, 0] - c * POINTS[:, 1], 2 * math.pi) / math.pi - 1
    return burgers_sine(z, POINTS[:, 1] / math.pi, NU / math.pi)


CASES = {
    "convection–diffusion": (
        lambda c: pdeml.problems.convection_diffusion(speed=c, diffusivity=NU),
        lambda c: torch.exp(-NU * POINTS[:, 1]) * torch.sin(POINTS[:, 0] - c * POINTS[:, 1]),
        lambda c: 0.0,
    ),
    "Burgers": (burgers, wave, float),
}


def one(name, method, c, seed):
    declare, exact, mean = CASES[name]
    try:
        solution = pdeml.solve(
            declare(c), method, seed=seed, device=args.device, reference=None, **OPTIONS[method]
        )
    except DivergedError as error:
        return {"error": None, "converged": False, "reason": str(error)}
    found = solution.values_at(POINTS)[:, 0] - mean(c)
    wanted = exact(c)
    figures = {
        "error": float((found - wanted).norm() / wanted.norm()),
        "converged": solution.report.converged,
        "loss": sum(solution.report.losses.values()),
        "iterations": solution.report.iterations,
        "seconds": solution.report.wall_time,
        "min_jacobian": solution.report.min_jacobian,
    }
    print(f"{name} c = {c} {method}: error {figures['error']:.1e}", file=sys.stderr, flush=True)
    return figures


def run(seed):
    table = {
        name: {method: {str(c): one(name, method, c, seed) for c in SPEEDS} for method in OPTIONS}
        for name in CASES
    }
    draw(table)
    return table


def draw(table):
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, (name, methods) in zip(
        figure.subplots(1, 2, sharey=True), table.items(), strict=True
    ):
        for (method, row), style in zip(methods.items(), ("C0o-", "C3s--"), strict=True):
            errors = [row[str(c)]["error"] or math.nan for c in SPEEDS]
            axes.semilogy(SPEEDS, errors, style, label=method)
        axes.set(title=f"{name}, ν = {NU}", xlabel="speed c", ylim=(1e-8, 3))
    figure.axes[0].set_ylabel("relative L2 error")
    figure.axes[0].legend(frameon=False)
    figure.savefig(PICTURE, dpi=120)


reproduce(args, "LPINN: errors do not depend on c; PINN: about 1 from c = 30 on", run)
