"""Burgers at equal wall time: pdeml's compact PINN and DeepXDE's stock recipe, one after the other.

DeepXDE 1.15 as in its own Burgers example, in float64: 3×20 tanh, 2540 points inside, 80 on the
boundary, 160 at the start, Adam (1e-3) for 15 000 iterations, then L-BFGS for the rest of the time.
"""

import math
import time

import numpy as np
import torch
from reproduction import arguments, reproduce

import pdeml
from pdeml.bench.pinn_step import deepxde

args = arguments(__doc__, time_limit=300)
problem = pdeml.problems.burgers()
exact = pdeml.solve(problem, "exact")


def stock_deepxde(seed, seconds):
    """Relative L2 error on the common grid, wall time, iterations."""
    with deepxde(torch.float64, torch.device(args.device)) as dde:
        dde.config.set_random_seed(seed)
        domain = dde.geometry.GeometryXTime(
            dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 1)
        )

        def equation(x, y):
            u_x = dde.grad.jacobian(y, x, i=0, j=0)
            u_t = dde.grad.jacobian(y, x, i=0, j=1)
            return u_t + y * u_x - 0.01 / math.pi * dde.grad.hessian(y, x, i=0, j=0)

        boundary = dde.icbc.DirichletBC(domain, lambda x: 0, lambda _, on: on)
        initial = dde.icbc.IC(domain, lambda x: -np.sin(np.pi * x[:, 0:1]), lambda _, on: on)
        data = dde.data.TimePDE(
            domain, equation, [boundary, initial], num_domain=2540, num_boundary=80, num_initial=160
        )
        model = dde.Model(data, dde.nn.FNN([2, 20, 20, 20, 1], "tanh", "Glorot normal"))
        start = time.perf_counter()

        class Deadline(dde.callbacks.Callback):
            def on_epoch_end(self):
                if time.perf_counter() - start > seconds:
                    self.model.stop_training = True

        model.compile("adam", lr=1e-3)
        model.train(iterations=15_000, callbacks=[Deadline()], display_every=1_000_000)
        if time.perf_counter() - start < seconds:
            dde.optimizers.config.set_LBFGS_options(maxiter=1_000_000)
            model.compile("L-BFGS")
            model.train(callbacks=[Deadline()], display_every=1_000_000)
        elapsed = time.perf_counter() - start

        class Network(torch.nn.Module):
            def forward(self, points):
                return model.net(points)

        with torch.no_grad():
            grid = torch.cartesian_prod(
                torch.linspace(-1, 1, 257, dtype=torch.float64),
                torch.linspace(0, 1, 257, dtype=torch.float64),
            )
            values, truth = Network()(grid), exact(grid)
        return {
            "deepxde_l2_relative": float((values - truth).norm() / truth.norm()),
            "deepxde_seconds": elapsed,
            "deepxde_iterations": model.train_state.epoch,
            "deepxde": dde.__version__,
        }


def run(seed):
    solution = pdeml.solve(
        problem, "pinn", seed=seed, device=args.device, time_limit=args.time_limit
    )
    found = {
        "pdeml_l2_relative": solution.error(exact)["l2_relative"],
        "pdeml_seconds": solution.report.wall_time,
        **stock_deepxde(seed, args.time_limit),
    }
    return {**found, "ratio": found["deepxde_l2_relative"] / found["pdeml_l2_relative"]}


reproduce(args, "error at least 100 times lower than DeepXDE's at equal wall time", run)
