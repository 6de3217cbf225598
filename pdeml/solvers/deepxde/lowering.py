"""From a declaration to ``dde.Model``: equations, conditions, network, points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy as sp
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.nn.networks import MLP, CoordinateEmbedding
from pdeml.operators.pde import PDE, Periodic
from pdeml.operators.residual import Residual
from pdeml.solvers import run
from pdeml.solvers.constraints import Constraints, build_constraints
from pdeml.solvers.deepxde.backend import quiet, same_random_states, session
from pdeml.solvers.deepxde.conditions import condition_of, data_conditions, periodic_conditions
from pdeml.solvers.deepxde.derivatives import Operator
from pdeml.solvers.deepxde.geometry import to_geometry
from pdeml.solvers.objective import Term, Trial
from pdeml.solvers.requirements import (
    Requirement,
    condition_requirements,
    data_requirement,
    equation_requirement,
)

LEARNING_RATE = 1e-3
"""Of Adam, in DeepXDE's examples."""


def can_solve(problem: PDE) -> str | None:
    """None, or the reason why DeepXDE cannot solve the problem."""
    return run.can_solve(problem)


@dataclass
class Loss:
    """One entry of DeepXDE's vector of losses, and the same loss of ours."""

    name: str
    ours: Callable[[Tensor], Tensor]
    """Points (n, d) of the entry -> residuals (n,)."""


@dataclass
class Bridge:
    """What in a ``dde.Model`` stands for what in the declaration.

    Attributes
    ----------
    problem : the declaration.
    trial : the trial solution; it shares the weights of ``model.net``.
    names : of DeepXDE's losses, in its order: equations first, then conditions and data.
    unknowns : ``dde.Variable`` of each unknown parameter; of a positive one, its logarithm.
    device, dtype : of the model.
    notes : what is built into the trial solution and what is not.
    """

    problem: PDE
    trial: Trial
    device: torch.device
    dtype: torch.dtype
    unknowns: dict[str, Tensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        return [loss.name for loss in self.losses]

    def session(self):
        """The session in which the model computes as it was made."""
        return session(self.dtype, self.device)

    def unknown_values(self) -> list[Tensor]:
        """Values of the unknown parameters, in the order of ``problem.unknowns``."""
        return [
            torch.exp(self.unknowns[p.name]) if p.is_positive else self.unknowns[p.name]
            for p in self.problem.unknowns
        ]

    def points(self, model: Any) -> dict[str, Tensor]:
        """The points of each loss, (n, d), as DeepXDE chose them from those that it was given.

        A periodic condition has the points at one end of the axis, then those at the other.
        """
        x = torch.as_tensor(model.data.train_x, dtype=self.dtype, device=self.device)
        *conditions, inside = x.split([*model.data.num_bcs, len(model.data.train_x_all)])
        equations = len(self.losses) - len(conditions)
        return dict(zip(self.names, [inside] * equations + conditions, strict=True))

    def compare(self, model: Any) -> dict[str, tuple[float, float]]:
        """Each loss as (pdeml's, DeepXDE's), unweighted, at the same points and weights."""
        with self.session():
            x, y, auxiliary = model.data.train_next_batch()
            weights, model.loss_weights = model.loss_weights, None
            try:
                theirs = model.outputs_losses_train(x, y, auxiliary)[1].detach()
            finally:
                model.loss_weights = weights
            points = self.points(model)
            ours = [float(loss.ours(points[loss.name]).square().mean()) for loss in self.losses]
        return dict(zip(self.names, zip(ours, theirs.tolist(), strict=True), strict=True))


@same_random_states()
def to_deepxde(
    problem: PDE,
    network: nn.Module | None = None,
    *,
    points: int = 2000,
    condition_points: int = 200,
    sampling: str = "sobol",
    constraints: str = "soft",
    data: tuple[Any, Any] | None = None,
    weights: Mapping[str, float] | None = None,
    depth: int = 3,
    width: int = 20,
    activation: str = "tanh",
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
) -> tuple[Any, Bridge]:
    """The problem as a compiled ``dde.Model`` (Adam, rate 1e-3), and what stands for what in it.

    Equations of any order go through ``dde.grad.jacobian`` and ``dde.grad.hessian``, chained above
    order two; conditions become DirichletBC, NeumannBC, RobinBC, PeriodicBC (value and first
    derivative), IC, OperatorBC (initial velocity, `Flux`, whatever holds an unknown parameter) and
    PointSetBC (data); unknown parameters become ``dde.Variable``.

    Parameters
    ----------
    problem : the declaration.
    network : maps embedded coordinates to fields; an `MLP` becomes a ``dde.nn.FNN`` that shares
        its weights, any other module is wrapped. Default: a new MLP.
    points, condition_points : inside, and per condition. All of them are given to DeepXDE as
        anchors, of which it finds those of each condition itself; its equation loss is the mean
        over all of them.
    sampling : a method of `Domain.sample`.
    constraints : "soft": conditions are losses, periodicity is built into the inputs (feature
        transform); "auto": what has a closed form is built in too (output transform); "penalty":
        all conditions are losses, PeriodicBC among them.
    data : (points (n, d), values (n, fields)) to be met in mean square.
    weights : of the losses by name, 1 where not given; see ``Bridge.names``.
    depth, width, activation : of the new network.
    seed : of points and weights.
    device, dtype : float64 on the CPU by default.

    Returns
    -------
    model : ``dde.Model``; train it inside ``bridge.session()``.
    bridge : names and points of the losses, the trial solution, the unknown parameters.

    Raises
    ------
    UnsupportedProblem, InvalidOption, InvalidDataset
        The message names the item and the mend.
    MissingDependency
        DeepXDE is not installed.

    Examples
    --------
    >>> model, bridge = to_deepxde(problem)  # doctest: +SKIP
    >>> with bridge.session():  # doctest: +SKIP
    ...     model.train(iterations=1000)
    """
    reason = can_solve(problem)
    if reason:
        raise UnsupportedProblem(f'"deepxde" cannot solve {problem.name!r}: {reason}.')
    run.check_counts(points=points, condition_points=condition_points, depth=depth, width=width)
    if problem.unknowns and data is None:
        raise InvalidOption(
            f"parameter {', '.join(p.name for p in problem.unknowns)} is unknown, but there are no "
            "data to identify it; give data=(points, values)."
        )
    place, precision = engine.resolve_device(device), engine.resolve_dtype(dtype)
    generator = engine.generator(seed)
    built = built_constraints(problem, constraints)
    if network is None:
        network = MLP(
            built.embedding.out_features,
            len(problem.fields),
            depth=depth,
            width=width,
            activation=activation,
            generator=generator,
            dtype=precision,
        )
    trial = Trial(network, built.embedding, built.base, built.factor).to(place, precision)
    requirements = requirements_of(problem, built, points, condition_points, data)
    drawn = [r.draw(r.count, generator, sampling)[0] for r in requirements if not r.fixed]
    for condition in built.soft:
        if isinstance(condition, Periodic):
            drawn.append(_seam(problem, condition, condition_points, generator, sampling))
    return lower(problem, trial, built, torch.cat(drawn), data, weights, place, precision)


def built_constraints(problem: PDE, mode: str) -> Constraints:
    """What is built into the trial solution; "penalty" builds in nothing, periodicity neither."""
    if mode not in ("auto", "soft", "penalty"):
        raise InvalidOption(f"constraints={mode!r}; accepted are 'auto', 'soft' and 'penalty'.")
    if mode == "penalty":
        return Constraints(CoordinateEmbedding(*problem.domain.bounds), soft=[*problem.conditions])
    return build_constraints(problem, mode)


def requirements_of(
    problem: PDE, built: Constraints, points: int, condition_points: int, data: Any
) -> list[Requirement]:
    """Loss terms: the equations, each soft condition but periodicity, the data."""
    plain = [c for c in built.soft if not isinstance(c, Periodic)]
    found = [
        equation_requirement(problem, points),
        *condition_requirements(problem, plain, condition_points, 1.0),
    ]
    return found if data is None else [*found, data_requirement(problem, data, 1.0)]


def _seam(
    problem: PDE, condition: Periodic, count: int, generator: torch.Generator, sampling: str
) -> Tensor:
    """Points at the lower end of a periodic axis."""
    return problem.domain.sample_boundary(
        count, generator, f"{condition.axis.name}_min", sampling
    ).points


def lower(
    problem: PDE,
    trial: Trial,
    built: Constraints,
    anchors: Tensor,
    data: tuple[Any, Any] | None,
    weights: Mapping[str, float] | None,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Any, Bridge]:
    """The model and its bridge, for a trial solution and all points of equations and conditions."""
    with session(dtype, device) as dde, quiet():
        bridge = Bridge(problem, trial, device, dtype, notes=list(built.notes))
        guesses, _ = run.unknown_parameters(problem, device, dtype)
        for parameter, guess in zip(problem.unknowns, guesses, strict=True):
            bridge.unknowns[parameter.name] = dde.Variable(guess.item(), dtype=dtype)
        geometry = to_geometry(dde, problem.domain)
        equation = equation_requirement(problem, 1).residual
        operator = Operator(dde, equation)

        def pde(x: Tensor, y: Tensor) -> list[Tensor]:
            return operator(x, y, bridge.unknown_values())

        conditions: list[Any] = []
        for k in range(equation.count):
            name = "equation" if equation.count == 1 else f"equation[{k}]"
            bridge.losses.append(Loss(name, _ours(bridge, equation, k)))
        plain = [c for c in built.soft if not isinstance(c, Periodic)]
        for condition, requirement in zip(
            plain, condition_requirements(problem, plain, 1, 1.0), strict=True
        ):
            conditions.append(condition_of(dde, geometry, bridge, condition, requirement.residual))
            bridge.losses.append(Loss(requirement.name, _ours(bridge, requirement.residual)))
        for condition in built.soft:
            if isinstance(condition, Periodic):
                for order, loss in periodic_conditions(dde, geometry, problem, condition):
                    conditions.append(loss)
                    bridge.losses.append(_periodic_loss(bridge, condition, order))
        if data is not None:
            term = data_requirement(problem, data, 1.0)
            points, values = term.draw(1, engine.generator(0), "uniform")
            for component, loss in enumerate(data_conditions(dde, points, values)):
                conditions.append(loss)
                name = "data" if len(values) == 1 else f"data[{component}]"
                bridge.losses.append(Loss(name, _misfit(bridge, component, values[component])))
        _make_distinct(bridge.losses)
        kind = dde.data.PDE if problem.time is None else dde.data.TimePDE
        points_data = kind(geometry, pde, conditions, anchors=anchors.cpu().numpy())
        model = dde.Model(points_data, _network(dde, trial))
        compile_model(model, bridge, "adam", weights)
    return model, bridge


def compile_model(
    model: Any, bridge: Bridge, optimizer: str, weights: Mapping[str, float] | None
) -> None:
    """``model.compile`` with the weights and the unknown parameters of a bridge."""
    weights = dict(weights or {})
    unknown = [name for name in weights if name not in bridge.names]
    if unknown:
        raise InvalidOption(
            f"weights names {unknown[0]!r}; the losses are {', '.join(bridge.names)}."
        )
    model.compile(
        optimizer,
        lr=LEARNING_RATE if optimizer == "adam" else None,
        loss_weights=[float(weights.get(name, 1.0)) for name in bridge.names],
        external_trainable_variables=list(bridge.unknowns.values()),
        verbose=0,
    )


def _make_distinct(losses: Sequence[Loss]) -> None:
    """Number losses of the same name."""
    names = [loss.name for loss in losses]
    for loss in losses:
        if names.count(loss.name) > 1:
            loss.name = f"{loss.name} ({sum(l.name.startswith(loss.name) for l in losses)})"


def _residuals(bridge: Bridge, residual: Residual, points: Tensor, extras: Any = ()) -> Tensor:
    term = Term("", residual, bridge.trial, points, extras)
    return term.residuals([v.detach() for v in bridge.unknown_values()])


def _ours(bridge: Bridge, residual: Residual, k: int = 0) -> Callable[[Tensor], Tensor]:
    """The k-th residual, by our own derivatives."""

    def residuals(points: Tensor) -> Tensor:
        extras: list[Tensor] = []
        if residual.extras:
            extras = list(bridge.problem.domain.normals(points).unbind(-1))
        return _residuals(bridge, residual, points, extras)[:, k]

    return residuals


def _misfit(bridge: Bridge, component: int, values: Tensor) -> Callable[[Tensor], Tensor]:
    def misfit(points: Tensor) -> Tensor:
        return bridge.trial(points)[:, component].detach() - values.to(points)

    return misfit


def _periodic_loss(bridge: Bridge, condition: Periodic, order: int) -> Loss:
    problem = bridge.problem
    quantity = sp.diff(condition.field, condition.axis, order)
    residual = Residual([quantity], problem.fields, problem.coordinates)

    def jump(points: Tensor) -> Tensor:
        low, high = points.chunk(2)
        return (_residuals(bridge, residual, low) - _residuals(bridge, residual, high))[:, 0]

    slope = f", derivative {order}" if order else ""
    return Loss(f"periodic {condition.field.func} in {condition.axis}{slope}", jump)


def _network(dde: Any, trial: Trial) -> Any:
    """The network of a trial solution as DeepXDE's, with the same weights."""
    net: Any
    if isinstance(trial.network, MLP):
        layers = trial.network.linears
        sizes = [layers[0].in_features, *(layer.out_features for layer in layers)]
        net = dde.nn.FNN(sizes, trial.network._function, "Glorot normal")
        net.linears = layers
    else:

        class Wrapped(dde.nn.NN):
            def __init__(self) -> None:
                super().__init__()
                self.network = trial.network

            def forward(self, inputs: Tensor) -> Tensor:
                return self._output_transform(inputs, self.network(self._input_transform(inputs)))

        net = Wrapped()

    def constrained(inputs: Tensor, outputs: Tensor) -> Tensor:
        if trial.factor is not None:
            outputs = trial.factor(inputs) * outputs
        return outputs if trial.base is None else trial.base(inputs) + outputs

    net.apply_feature_transform(trial.embedding)
    net.apply_output_transform(constrained)
    return net
