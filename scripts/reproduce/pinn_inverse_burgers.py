"""Identify λ1, λ2 in u_t + λ1 u u_x = λ2 u_xx from 2000 values, clean and with 1 % noise.

The data alone determine the solution: no initial or boundary value is declared to the solver.
"""

import math

import sympy as sp
import torch
from reproduction import arguments, reproduce

import pdeml

args = arguments(__doc__, time_limit=150)

x, t = sp.symbols("x t", real=True)
u = pdeml.Field("u", x, t)
l1 = pdeml.Parameter("lambda1", 0.5)
l2 = pdeml.Parameter("lambda2", 0.05, positive=True)
inverse = pdeml.PDE(
    name="inverse_burgers",
    equations=[sp.Eq(u.diff(t) + l1 * u * u.diff(x), l2 * u.diff(x, 2))],
    domain=pdeml.Interval(x, -1, 1) * pdeml.Time(t, 0, 1),
    unknowns=[l1, l2],
)
truth = {"lambda1": 1.0, "lambda2": 0.01 / math.pi}


def run(seed):
    exact = pdeml.solve(pdeml.problems.burgers(), "exact")
    generator = torch.Generator().manual_seed(1000 + seed)
    points = inverse.domain.sample(2000, generator)
    clean = exact(points).detach()
    found = {}
    for name, noise in (("clean", 0.0), ("noisy", 0.01)):
        draw = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        solution = pdeml.solve(
            inverse,
            "pinn",
            data=(points, clean + noise * clean.std() * draw),
            seed=seed,
            device=args.device,
            time_limit=args.time_limit,
        )
        for parameter, estimate in solution.parameters.items():
            value = truth[parameter]
            found[f"{parameter}_{name}"] = estimate.value
            found[f"{parameter}_{name}_standard_error"] = estimate.standard_error
            found[f"{parameter}_{name}_relative_error"] = abs(estimate.value - value) / value
        found[f"l2_relative_{name}"] = solution.error(exact)["l2_relative"]
    return found


reproduce(args, "λ2 within 0.5 % (clean) and 3 % (1 % noise)", run)
