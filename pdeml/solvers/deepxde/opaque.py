"""A model of DeepXDE whose equation is a Python function: what can be asked without knowing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.domains import Domain
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.nn.activations import FUNCTIONS
from pdeml.nn.networks import MLP
from pdeml.solvers.deepxde.backend import same_random_states, session
from pdeml.solvers.deepxde.foreign import from_deepxde_geometry
from pdeml.solvers.objective import Trial


@dataclass
class OpaqueProblem:
    """What pdeml knows of a ``dde.Model``: domain, field, and a residual that can be evaluated.

    The equation is a Python function of DeepXDE's tensors. It has values, but no terms: methods
    that compile the equation (finite elements, spectral, PINN …) cannot take it.

    Attributes
    ----------
    domain : of the geometry.
    solution : the network as a differentiable field, points (N, d) -> (N, fields). An `Trial` over
        an `MLP` with the model's own weights where the model is an FNN of one known activation
        without transforms: derivatives then come from jets. Else the network of DeepXDE itself.
    has_jets : which of the two it is.
    conditions : DeepXDE's conditions, as they are.
    model : the model.
    opaque : why methods refuse it.
    """

    domain: Domain
    solution: nn.Module
    has_jets: bool
    conditions: Sequence[Any]
    model: Any
    dtype: torch.dtype

    @property
    def opaque(self) -> str:
        """Why a method that compiles equations cannot take this problem."""
        return (
            "the equation of a model of DeepXDE is a Python function, whose terms are not known; "
            "declare it as a pdeml.PDE, or ask .residual(points), .losses() and .solution(points)."
        )

    def residual(self, points: Any) -> Tensor:
        """Residuals of the model's ``pde`` at points.

        Parameters
        ----------
        points : (N, d), time last.

        Returns
        -------
        (N, equations), without gradients.
        """
        dim = len(self.domain.coordinates)
        given = torch.as_tensor(points)
        if given.dim() != 2 or given.shape[1] != dim:
            raise InvalidOption(f"points have shape {tuple(given.shape)}; give (N, {dim}).")
        weights = next(self.model.net.parameters())
        with session(self.dtype, weights.device) as dde:
            dde.grad.clear()
            x = given.to(device=weights.device, dtype=self.dtype).detach().requires_grad_()
            found = self.model.data.pde(x, self.model.net(x))
            dde.grad.clear()
        columns = found if isinstance(found, list | tuple) else [found]
        return torch.cat([c.detach().reshape(len(given), -1) for c in columns], dim=1)

    def losses(self) -> list[float]:
        """DeepXDE's losses at its training points: equations first, then conditions."""
        if self.model.outputs_losses_train is None:
            raise InvalidOption("the model is not compiled; call model.compile(…) first.")
        device = next(self.model.net.parameters()).device
        with session(self.dtype, device):
            batch = self.model.data.train_next_batch()
            return self.model.outputs_losses_train(*batch)[1].detach().tolist()


@same_random_states()
def from_deepxde(model: Any, coordinates: Sequence[sp.Symbol] | None = None) -> OpaqueProblem:
    """Take over a ``dde.Model`` of a differential equation: geometry, conditions, network.

    Parameters
    ----------
    model : with ``dde.data.PDE`` or ``TimePDE`` as data and a network of the torch back end.
    coordinates : symbols for the domain; see `from_deepxde_geometry`.

    Returns
    -------
    OpaqueProblem

    Raises
    ------
    UnsupportedProblem
        For other data (operators, functions), auxiliary variables, or a foreign back end.
    MissingDependency
        DeepXDE is not installed.
    """
    with session() as dde:
        if not isinstance(model, dde.Model):
            raise InvalidOption(f"{model!r:.60} is no dde.Model.")
        if not isinstance(model.data, dde.data.PDE) or not isinstance(model.net, nn.Module):
            raise UnsupportedProblem(
                f"the model holds {type(model.data).__name__} and {type(model.net).__name__}; "
                "a dde.data.PDE or TimePDE and a network of the torch back end can be taken over."
            )
        if model.data.auxiliary_var_fn is not None:
            raise UnsupportedProblem(
                "the model has auxiliary variables; write them into the pde function."
            )
        network = _same_network(dde, model.net)
    precision = next(model.net.parameters()).dtype
    return OpaqueProblem(
        domain=from_deepxde_geometry(model.data.geom, coordinates),
        solution=model.net if network is None else Trial(network),
        has_jets=network is not None,
        conditions=list(model.data.bcs),
        model=model,
        dtype=precision,
    )


def _same_network(dde: Any, net: Any) -> MLP | None:
    """An MLP that shares the weights of an FNN; None where a piece has no counterpart."""
    if type(net) is not dde.nn.FNN or net._input_transform or net._output_transform:
        return None
    layers, width = net.linears, net.linears[0].out_features
    name = _activation(net.activation)
    if name is None or len(layers) < 2 or any(l.out_features != width for l in layers[:-1]):
        return None
    network = MLP(
        layers[0].in_features,
        layers[-1].out_features,
        depth=len(layers) - 1,
        width=width,
        activation=name,
        generator=engine.generator(0),
        dtype=layers[0].weight.dtype,
    )
    network.linears = layers
    return network


def _activation(function: Any) -> str | None:
    """The name of an activation: that of a function with the same values."""
    if not callable(function):
        return None
    probe = torch.linspace(-3.0, 3.0, 97, dtype=torch.float64)
    with torch.no_grad():
        values = function(probe)
        for name, ours in FUNCTIONS.items():
            if torch.allclose(values, ours(probe), rtol=0.0, atol=1e-14):
                return name
    return None
