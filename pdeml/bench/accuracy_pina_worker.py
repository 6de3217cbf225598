"""A problem by PINA, in its own interpreter: worker CASE ARRAYS.npz SECONDS SEED OUT.npz.

PINA's documented way: `PINN` with a tanh feed-forward network, Adam (1e-3), then L-BFGS for the
rest of the time; periodic axes by its periodic embedding, conditions as loss terms. Float64.
"""

import importlib.metadata
import json
import sys
import time
import warnings
from typing import ClassVar

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from pina import Condition, LabelTensor, Trainer
from pina.domain import CartesianDomain
from pina.equation import Equation
from pina.model import FeedForward
from pina.model.block import PeriodicBoundaryEmbedding
from pina.operator import grad, laplacian
from pina.optim import TorchOptimizer
from pina.problem import SpatialProblem
from pina.solver import PhysicsInformedSingleModelSolver

warnings.filterwarnings("ignore")
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

ADAM_STEPS, ADAM_SHARE = 15_000, 0.5
VERSION = importlib.metadata.version("pina-mathlab")

CASE, GIVEN, SECONDS, SEED, OUT = sys.argv[1:]
ARRAYS = dict(np.load(GIVEN))
LABELS = ["x", "t"] if ARRAYS["inside"].shape[1] == 2 else [f"x{i}" for i in range(5)]
if CASE == "helmholtz":
    LABELS = ["x", "y"]


def second(u, points, label):
    """∂²u/∂label²."""
    return laplacian(u, points, components=["u"], d=[label])


def first(u, points, label):
    """∂u/∂label."""
    return grad(u, points, components=["u"], d=[label])


def burgers(points, u):
    return first(u, points, "t") + u * first(u, points, "x") - 0.01 / np.pi * second(u, points, "x")


def allen_cahn(points, u):
    return first(u, points, "t") - 1e-4 * second(u, points, "x") - 5 * (u - u**3)


def convection(points, u):
    return first(u, points, "t") + 30 * first(u, points, "x")


def kdv(points, u):
    u_x = first(u, points, "x")
    u_xx = grad(u_x, points, components=u_x.labels, d=["x"])
    u_xxx = grad(u_xx, points, components=u_xx.labels, d=["x"])
    return first(u, points, "t") + u * u_x + 0.022**2 * u_xxx


def helmholtz(points, u):
    return laplacian(u, points, components=["u"], d=["x", "y"]) + u


def wave(points, u):
    return second(u, points, "t") - 4 * second(u, points, "x")


def klein_gordon(points, u):
    return second(u, points, "t") - second(u, points, "x") + u**3


def poisson_5d(points, u):
    return -laplacian(u, points, components=["u"], d=LABELS)


OPERATOR = globals()[CASE]


def labelled(name):
    return LabelTensor(torch.tensor(ARRAYS[name]), LABELS)


def residual(points, u):
    found = OPERATOR(points, u.extract(["u"]))
    return found.as_subclass(torch.Tensor) + torch.tensor(ARRAYS["source"])


def check():
    """The residual written here is that of the declaration."""
    points = labelled("inside").requires_grad_()
    rates = torch.tensor(ARRAYS["rates"])
    wave = torch.sin(points.as_subclass(torch.Tensor) @ rates[:, None])
    found = residual(points, LabelTensor(wave, ["u"])).detach().numpy()
    np.testing.assert_allclose(found, ARRAYS["probe"], rtol=1e-9, atol=1e-9)


def velocity(points, u):
    found = first(u.extract(["u"]), points, "t").as_subclass(torch.Tensor)
    return found - torch.tensor(ARRAYS["velocity_values"])


def conditions():
    found = {"inside": Condition(input=labelled("inside"), equation=Equation(residual))}
    for name in ("initial", "dirichlet"):
        if name in ARRAYS:
            target = LabelTensor(torch.tensor(ARRAYS[f"{name}_values"]), ["u"])
            found[name] = Condition(input=labelled(name), target=target)
    if "velocity" in ARRAYS:
        found["velocity"] = Condition(input=labelled("velocity"), equation=Equation(velocity))
    return found


class Declared(SpatialProblem):
    output_variables: ClassVar = ["u"]
    spatial_domain = CartesianDomain({label: [0, 1] for label in LABELS})  # points are given
    conditions = conditions()


class Network(torch.nn.Module):
    """Periodic axes embedded, the others as they are."""

    def __init__(self, width):
        super().__init__()
        period = float(ARRAYS["periods"][0])
        self.embedding = PeriodicBoundaryEmbedding(1, periods=period) if period else None
        inputs = len(LABELS) + (2 if period else 0)
        self.net = FeedForward(inputs, 1, inner_size=width, n_layers=3, func=torch.nn.Tanh)

    def forward(self, x):
        x = x.as_subclass(torch.Tensor)
        if self.embedding is not None:
            x = torch.cat([self.embedding(x[:, :1]), x[:, 1:]], -1)
        return self.net(x)


class Deadline(Callback):
    """Ends the training when its time is over; L-BFGS is asked at every evaluation too."""

    def __init__(self, end):
        self.end = end

    def on_train_batch_end(self, trainer, *_):
        if time.perf_counter() > self.end:
            trainer.should_stop = True


def train(network, optimizer, epochs, end):
    solver = PhysicsInformedSingleModelSolver(Declared(), network, optimizer=optimizer)
    trainer = Trainer(
        solver,
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[Deadline(end)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.train()
    return trainer.global_step


def main():
    check()
    torch.manual_seed(int(SEED))
    width = int(ARRAYS["width"])
    network = Network(width)
    start = time.perf_counter()
    seconds = float(SECONDS)
    steps = train(
        network, TorchOptimizer(torch.optim.Adam, lr=1e-3), ADAM_STEPS, start + ADAM_SHARE * seconds
    )
    steps += train(
        network,
        TorchOptimizer(
            torch.optim.LBFGS, max_iter=20, history_size=50, line_search_fn="strong_wolfe"
        ),
        1_000_000,
        start + seconds,
    )
    elapsed = time.perf_counter() - start
    with torch.no_grad():
        values = network(torch.tensor(ARRAYS["evaluation"]))
    np.savez(
        OUT,
        values=values.numpy(),
        report=json.dumps({"seconds": elapsed, "iterations": steps, "version": VERSION}),
    )


main()
