"""Physics-informed neural network: a dense network as trial solution.

    minimise  Σ_k w_k mean r_k(x)²   over the weights of   u(x) = g(x) + B(x) N(e(x))

References
----------
Lagaris, Likas, Fotiadis (1998), IEEE Trans. Neural Netw. 9, 987–1000 (trial solutions);
Raissi, Perdikaris, Karniadakis (2019), J. Comput. Phys. 378, 686–707;
Urbán, Stefanou, Pons (2025), J. Comput. Phys. 523, 113656 (self-scaled quasi-Newton training).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy as sp
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.nn.networks import MLP, ModifiedMLP, PirateNet
from pdeml.operators.branches import Branches
from pdeml.operators.pde import PDE
from pdeml.solvers import run as runs
from pdeml.solvers.constraints import Constraints
from pdeml.solvers.objective import Trial
from pdeml.solvers.piecewise import Before
from pdeml.solvers.requirements import equation_requirement
from pdeml.solvers.run import Run, built_constraints, check_counts, with_initial
from pdeml.solvers.schedule import Schedule
from pdeml.solvers.solution import Solution
from pdeml.solvers.stages import (
    continuation_stages,
    empty_windows,
    solve_by_continuation,
    solve_in_windows,
)
from pdeml.solvers.warm_start import start_from_initial_value

__all__ = ["can_solve", "channels", "field_from_config", "solve"]

RECIPES: dict[str, dict[str, Any]] = {
    "compact": {"schedule": Schedule(), "depth": 3, "points": 5000},
    "gauss_newton": {
        "schedule": Schedule(
            optimizer="levenberg_marquardt",
            adam_steps=0,
            cycle=25,
            sampling="uniform",
            max_iterations=300,
            patience=10,
        ),
        "depth": 1,
        "width": 64,
        "points": 2000,
    },
    "sota_gpu": {
        "schedule": Schedule(
            optimizer=None,
            first="soap",
            adam_rate=1e-3,
            adam_betas=(0.9, 0.999),
            warmup=2000,
            decay=0.9,
            redraw=1,
            cycle=1000,
            sampling="uniform",
            weighting="grad_norm",
            max_iterations=100_000,
            patience=100,
        ),
        "network": "pirate",
        "depth": 3,
        "width": 256,
        "points": 4096,
    },
}
"""Schedules and sizes by name (pinn.md §2.8)."""

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "modified_mlp": ModifiedMLP,
    "pirate": PirateNet,
}


def can_solve(problem: PDE) -> str | None:
    """None, or the reason why the method cannot solve the problem."""
    return runs.can_solve(problem, unknown_fields=True)


def solve(
    problem: PDE,
    *,
    recipe: str = "compact",
    seed: int = 0,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    time_limit: float | None = None,
    max_iterations: int | None = None,
    network: str | nn.Module | None = None,
    depth: int | None = None,
    width: int | None = None,
    activation: str = "tanh",
    factorized: bool | None = None,
    harmonics: int = 1,
    points: int | None = None,
    condition_points: int = 500,
    constraints: str = "auto",
    weights: Mapping[str, float] | None = None,
    weighting: str | None = None,
    attention: str | None = None,
    causal_tolerance: float | None = None,
    pseudo_time: bool = False,
    sampled: int | None = None,
    compiled: bool = False,
    optimizer: str | None = None,
    adam_steps: int | None = None,
    cycle: int | None = None,
    sampling: str | None = None,
    patience: int | None = None,
    data: tuple[Tensor, Tensor] | None = None,
    initial: Callable[[Tensor], Tensor] | sp.Expr | None = None,
    windows: int = 1,
    transfer: bool = False,
    continuation: Mapping[str, Sequence[float]] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Solution:
    """Solve a declared problem, or identify its unknown parameters, by a PINN.

    Parameters
    ----------
    problem : the declaration.
    recipe : "compact" (Adam, then self-scaled Broyden in cycles with residual-adaptive points),
        "gauss_newton" (Levenberg–Marquardt on a shallow network: linear and elliptic problems) or
        "sota_gpu" (a PirateNet by SOAP on points drawn anew at every step, terms balanced by their
        gradients; in float32 it is made for a GPU; causal attention is added in time).
    seed : of weights and points.
    device, dtype : float64 on the CPU by default; the second-order methods need float64.
    time_limit : seconds of training.
    max_iterations : 10 000 (compact), 300 (gauss_newton) or 100 000 (sota_gpu); no limit where a
        time limit is given.
        Without one, 3 (10) cycles without a 5 % smaller validation loss end the run, with one 25.
    network : "mlp" (default), "modified_mlp", "pirate" (default of sota_gpu), or a module that maps
        embedded coordinates to fields.
    depth, width, activation : of the network: 3×20 (two coordinates) or 3×30 tanh, 1×64 for
        gauss_newton, three blocks of 256 for sota_gpu.
    factorized : random weight factorisation W = exp(g)·V of every layer; default of sota_gpu alone.
        A PirateNet starts from the initial value at all times, where that is a loss term.
    harmonics : inputs per periodic axis.
    points, condition_points : collocation points inside (5000, 2000 or 4096) and per soft condition
        (500).
    constraints : "auto" builds conditions into the trial solution where a closed form exists,
        "soft" makes all but periodicity loss terms.
    weights : of loss terms by name ("equation" 1, conditions and data 100).
    weighting : "fixed"; or terms are balanced every cycle by their gradients ("grad_norm") or the
        diagonals of their tangent kernels ("ntk").
    attention : factors of the squared residuals of the equations: "rba" (residual-based) or
        "causal" (early times first); none by default.
    causal_tolerance : ε of the causal gates (1; 0.1 for KdV, 0.01 for fast transport).
    pseudo_time : hold every step of "adam" or "soap" near the solution before it, on fresh points:
        for steady flow at large Reynolds numbers and against spurious equilibria.
    sampled : for d ≥ 50: this many terms of every linear operator (directions of a Laplacian) are
        drawn at each step, without bias; trained by "adam" or "soap" alone.
    compiled : take loss and gradient as one graph, by `torch.compile` on the CPU (minutes of
        compilation for a few per cent of speed) and as a CUDA graph on CUDA, where small networks
        are bound by the launch of kernels.
    optimizer : "ssbroyden", "lbfgs" or "levenberg_marquardt" instead of the recipe's; "adam" or
        "soap" for that alone.
    adam_steps, cycle, sampling, patience : as in `pdeml.solvers.schedule.Schedule`.
    data : (points (n, d), values (n, fields)) to be met in mean square; without the columns of
        unknown fields, which are found by a network of their own each.
    initial : replaces the declared initial value: an expression or a function (N, d) -> (N,
        fields).
    windows : equal parts of the time that are trained one after another, for problems of first
        order in time; the end of one is built into the next. `max_iterations` counts per window,
        `time_limit` is shared.
    transfer : start a window from the weights of the one before; by default from new ones.
    continuation : values of parameters, such as ``{"Re": [100, 400, 1000]}``: the network is
        trained for one after another, and the last is solved. `max_iterations` counts per value,
        `time_limit` is shared.
    checkpoint : state file, written every 30 s and at the end; `resume` continues from it (neither
        with windows nor with continuation).
    progress : show a bar.

    Returns
    -------
    Solution
        With the weights of smallest residual on fresh points, `report` and `history`; `parameters`
        holds the estimates of unknown parameters with Gauss–Newton standard errors.

    Raises
    ------
    InvalidOption, UnsupportedProblem, InvalidDataset
        For options, problems and data that do not fit; the message names the mend.
    DivergedError
        When the loss becomes NaN or infinite; `checkpoint` keeps the last finite state.
    """
    if recipe not in RECIPES:
        raise InvalidOption(f"recipe={recipe!r}; accepted are {', '.join(RECIPES)}.")
    check_counts(windows=windows)
    stages = [problem] if continuation is None else continuation_stages(problem, continuation)
    _check_stages(problem, windows, len(stages), continuation, data, checkpoint, resume)
    chosen = RECIPES[recipe].get("network", "mlp") if network is None else network
    config = {
        "network": chosen if isinstance(chosen, str) else "custom",
        "depth": RECIPES[recipe]["depth"] if depth is None else depth,
        "width": _default_width(recipe, problem) if width is None else width,
        "activation": activation,
        "factorized": recipe == "sota_gpu" if factorized is None else factorized,
    }
    options = {"recipe": recipe, "points": points}
    if windows > 1:
        options |= {"windows": windows, "transfer": transfer}

    def make_run(part: PDE, before: Before | None, seconds: float | None) -> Run:
        run = Run(
            part,
            "pinn",
            RECIPES[recipe]["schedule"],
            seed=seed,
            device=device,
            dtype=dtype,
            time_limit=seconds,
            max_iterations=max_iterations,
            points=RECIPES[recipe]["points"] if points is None else points,
            condition_points=condition_points,
            condition_weight=100.0,
            constraints=constraints,
            harmonics=harmonics,
            weights=weights,
            optimizer=optimizer,
            adam_steps=adam_steps,
            cycle=cycle,
            sampling=sampling,
            patience=patience,
            data=data,
            initial=initial,
            weighting=weighting,
            attention=_attention(recipe, part, attention),
            causal_tolerance=causal_tolerance,
            pseudo_time=pseudo_time or None,
            sampled=sampled,
            compiled=compiled,
            before=before,
        )
        _check_activation(run.problem, activation)
        return run

    def make_trial(run: Run) -> Trial:
        own = copy.deepcopy(chosen) if windows > 1 and isinstance(chosen, nn.Module) else chosen
        model = _network(own, config, run.constraints, run.problem, run.generator, run.dtype)
        trial = _trial(model, run.constraints).to(device=run.device, dtype=run.dtype)
        start_from_initial_value(trial, run.problem, run.constraints, initial, run.generator)
        return trial

    if windows > 1:
        return solve_in_windows(
            with_initial(problem, initial),
            windows,
            make_run,
            make_trial,
            transfer=transfer,
            time_limit=time_limit,
            config=config,
            options=options,
            progress=progress,
        )
    if continuation is not None:
        return solve_by_continuation(
            stages,
            make_run,
            make_trial,
            time_limit=time_limit,
            config=config,
            options=options,
            progress=progress,
        )
    run = make_run(problem, None, time_limit)
    return run.train(
        make_trial(run),
        config,
        options,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
    )


def _check_stages(
    problem: PDE,
    windows: int,
    stages: int,
    continuation: Any,
    data: Any,
    checkpoint: Any,
    resume: bool,
) -> None:
    """InvalidOption for what windows and continuation cannot be combined with."""
    if windows == 1 and continuation is None:
        return
    name = "windows" if windows > 1 else "continuation"
    if windows > 1 and continuation is not None:
        raise InvalidOption("windows= and continuation= cannot be combined; drop one of them.")
    if checkpoint is not None or resume:
        raise InvalidOption(
            f"checkpoint= keeps the state of one training, but {name}= trains "
            f"{windows if windows > 1 else stages}; drop one of them."
        )
    if problem.unknowns or problem.unknown_fields or data is not None:
        raise InvalidOption(
            f"{name}= solves forward problems; drop it to fit data or unknown parameters."
        )


def field_from_config(problem: PDE, config: Mapping[str, Any]) -> nn.Module:
    """The trial solution with untrained weights, to load a saved state into."""
    if config["network"] == "custom":
        raise InvalidOption(
            "this solution was trained with a network of your own, which a file cannot rebuild; "
            "keep its class and load the weights into it."
        )
    precision = engine.resolve_dtype(config["dtype"])
    generator = engine.generator(0)

    def rebuilt(part: PDE, before: Before | None) -> Trial:
        built = built_constraints(before.whole if before else part, config)
        own = before.constraints(built, part) if before else built
        network = _network(config["network"], config, own, part, generator, precision)
        return _trial(network, own)

    if "windows" in config:
        return empty_windows(problem, config, rebuilt).to(precision)
    return rebuilt(problem, None).to(precision)


def _trial(network: nn.Module, built: Constraints) -> Trial:
    return Trial(network, built.embedding, built.base, built.factor)


def channels(problem: PDE) -> list[str]:
    """The derivative streams that the equations of a problem need, in words (pinn.md §2.1)."""
    return equation_requirement(problem, 1).residual.describe()


def _attention(recipe: str, problem: PDE, given: str | None) -> str | None:
    if recipe == "sota_gpu" and problem.time is not None and given is None:
        return "causal"
    return given


def _default_width(recipe: str, problem: PDE) -> int:
    if "width" in RECIPES[recipe]:
        return int(RECIPES[recipe]["width"])
    return 20 if len(problem.coordinates) == 2 and len(problem.fields) == 1 else 30


def _check_activation(problem: PDE, activation: str) -> None:
    order = equation_requirement(problem, 1).residual.highest_order
    if activation == "relu" and order > 1:
        raise UnsupportedProblem(
            f"activation 'relu' has no second derivative, but {problem.name!r} has derivatives of "
            f"order {order}; use tanh, sin or swish."
        )


def _network(
    network: str | nn.Module,
    config: Mapping[str, Any],
    built: Constraints,
    problem: PDE,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> nn.Module:
    if isinstance(network, nn.Module):
        return network
    if network not in NETWORKS:
        raise InvalidOption(
            f"network={network!r}; accepted are {', '.join(NETWORKS)} or a torch module."
        )
    size = {"blocks" if network == "pirate" else "depth": config["depth"]}

    def made(inputs: int, outputs: int) -> nn.Module:
        return NETWORKS[network](
            inputs,
            outputs,
            width=config["width"],
            activation=config["activation"],
            factorized=config.get("factorized", False),
            generator=generator,
            dtype=dtype,
            **size,
        )

    if not problem.unknown_fields:
        return made(built.embedding.out_features, len(problem.fields))
    # a network for each field: what is sought does not share its features with what is measured
    own = [_inputs(built, problem, f) for f in problem.fields]
    return Branches([made(len(columns), 1) for columns in own], own)


def _inputs(built: Constraints, problem: PDE, field: Any) -> list[int]:
    """Columns of the embedding that hold the coordinates of a field."""
    columns: list[int] = []
    first = 0
    for axis, coordinate in enumerate(problem.coordinates):
        periodic = axis in built.embedding.periodic
        width = 2 * built.embedding.harmonics if periodic else 1
        if coordinate in field.args:
            columns += range(first, first + width)
        first += width
    return columns
