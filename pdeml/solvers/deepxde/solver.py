"""Training by DeepXDE: its documented recipe, on the points and in the words of pdeml."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.errors import DivergedError, InvalidOption, UnsupportedProblem
from pdeml.nn.networks import MLP
from pdeml.operators.pde import PDE, Periodic
from pdeml.progress import ProgressBar
from pdeml.solvers import run
from pdeml.solvers.collocation import Training
from pdeml.solvers.deepxde.backend import quiet, same_random_states, session
from pdeml.solvers.deepxde.lowering import (
    Bridge,
    built_constraints,
    can_solve,
    compile_model,
    lower,
    requirements_of,
)
from pdeml.solvers.honesty import examine
from pdeml.solvers.level import take_means_out
from pdeml.solvers.objective import Trial
from pdeml.solvers.options import checked_time_limit
from pdeml.solvers.requirements import condition_requirements
from pdeml.solvers.schedule import Schedule
from pdeml.solvers.solution import Estimate, Report, Solution

STAGES = {"adam": "adam", "lbfgs": "L-BFGS", "nncg": "NNCG"}
"""Optimizers, and what DeepXDE calls them."""

STEPS = {"lbfgs": 15_000, "nncg": 1000}
"""Largest number of iterations of the later stages."""

LBFGS_STRIDE = 50
"""Iterations of L-BFGS between two looks at the clock."""

CG_STEPS = 100
"""Of NNCG, products with the Hessian per iteration; DeepXDE's 1000 outlast any time limit."""

CHECK = 1000
"""Iterations between two records of the loss on fresh points."""

ADAM_SHARE = 0.5
"""Of a time limit, where another optimizer follows."""


@same_random_states()
def solve(
    problem: PDE,
    *,
    optimizer: str = "adam+lbfgs",
    adam_steps: int = 15_000,
    max_iterations: int | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    points: int = 2500,
    condition_points: int = 200,
    sampling: str = "sobol",
    constraints: str = "soft",
    depth: int = 3,
    width: int = 20,
    activation: str = "tanh",
    weights: Mapping[str, float] | None = None,
    data: tuple[Tensor, Tensor] | None = None,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    progress: bool = False,
) -> Solution:
    """Solve a declared problem by DeepXDE: a PINN with nested automatic differentiation.

    Parameters
    ----------
    problem : the declaration; see `to_deepxde` for how it is lowered.
    optimizer : stages joined by "+": "adam" (rate 1e-3), "lbfgs" (at most 15 000 iterations),
        "nncg" (Nyström–Newton–CG, at most 1000, of 100 CG steps each); Adam then L-BFGS is
        DeepXDE's own recipe.
    adam_steps : iterations of Adam.
    max_iterations : of all stages together.
    time_limit : seconds; where another stage follows, Adam ends after half of them. It is looked
        at after each iteration of Adam and NNCG and after 50 of L-BFGS.
    seed : of points and weights.
    points, condition_points : inside, and per condition; fixed for the whole run.
    sampling : a method of `Domain.sample`.
    constraints : "soft", or "auto" (closed forms are built into the trial solution).
    depth, width, activation : of the network.
    weights : of the losses by name, 1 by default.
    data : (points (n, d), values (n, fields)) to be met in mean square.
    device, dtype : float64 on the CPU by default; L-BFGS in float32 often ends in NaN or early.
    progress : show a bar.

    Returns
    -------
    Solution
        Its field is a module of pdeml with the trained weights: it is saved, loaded and evaluated
        without DeepXDE. It is judged on fresh points, as for "pinn".

    Raises
    ------
    MissingDependency
        DeepXDE is not installed.
    UnsupportedProblem, InvalidOption, InvalidDataset
        The message names the item and the mend.
    DivergedError
        The loss became NaN or infinite.

    References
    ----------
    Lu, Meng, Mao, Karniadakis (2021), SIAM Review 63, 208–228; Rathore, Lei, Frangella, Lu, Udell
    (2024), ICML 41 (NNCG).
    """
    stages = _stages(problem, optimizer, adam_steps, max_iterations)
    if time_limit is not None:
        time_limit = checked_time_limit(time_limit)
    reason = can_solve(problem)
    if reason:
        raise UnsupportedProblem(f'"deepxde" cannot solve {problem.name!r}: {reason}.')
    if constraints not in ("auto", "soft"):
        raise InvalidOption(f"constraints={constraints!r}; accepted are 'auto' and 'soft'.")
    run.check_counts(points=points, condition_points=condition_points, depth=depth, width=width)
    if problem.unknowns and data is None:
        raise InvalidOption(
            f"parameter {', '.join(p.name for p in problem.unknowns)} is unknown, but there are no "
            "data to identify it; give data=(points, values)."
        )
    place, precision = engine.resolve_device(device), engine.resolve_dtype(dtype)
    config = {
        "depth": depth,
        "width": width,
        "activation": activation,
        "constraints": constraints,
        "dtype": str(precision).removeprefix("torch."),
    }
    generator = engine.generator(seed)
    trial = _trial(problem, config, generator).to(place, precision)
    built = built_constraints(problem, constraints)
    requirements = requirements_of(problem, built, points, condition_points, data)
    unknowns, positive = run.unknown_parameters(problem, place, precision)
    # draws the points, and judges the result; DeepXDE does the training
    training = Training(
        trial,
        requirements,
        Schedule(optimizer=None, sampling=sampling),
        generator=generator,
        device=place,
        dtype=precision,
        unknowns=unknowns,
        positive=positive,
    )
    anchors = torch.cat(
        [t.points for t, r in zip(training.terms, requirements, strict=True) if not r.fixed]
    )
    model, bridge = lower(problem, trial, built, anchors, data, weights, place, precision)
    watch = _Watch(problem, training, bridge, time_limit, sum(n for _, n in stages))
    # NNCG draws its sketches from the global state
    with (
        session(precision, place, seed) as dde,
        ProgressBar(f"{problem.name} · deepxde", progress) as bar,
    ):
        version = dde.__version__
        watch.train(dde, model, stages, weights, bar)
    for parameter, name in zip(unknowns, bridge.unknowns, strict=True):
        parameter.data.copy_(bridge.unknowns[name].detach())
    report = _report(problem, training, bridge, watch, f"DeepXDE {version}, PyTorch")
    take_means_out(trial, problem)
    return Solution(
        problem,
        "deepxde",
        trial,
        config=config,
        report=report,
        history=watch.history,
        options={
            "optimizer": optimizer,
            "seed": seed,
            "weights": dict(weights or {}),
        },
        parameters={
            p.name: Estimate(float(v))
            for p, v in zip(problem.unknowns, bridge.unknown_values(), strict=True)
        },
    )


def field_from_config(problem: PDE, config: Mapping[str, Any]) -> nn.Module:
    """The trial solution with untrained weights, to load a saved state into."""
    precision = engine.resolve_dtype(config["dtype"])
    return _trial(problem, config, engine.generator(0)).to(precision)


def _trial(problem: PDE, config: Mapping[str, Any], generator: torch.Generator) -> Trial:
    built = built_constraints(problem, config["constraints"])
    network = MLP(
        built.embedding.out_features,
        len(problem.fields),
        depth=config["depth"],
        width=config["width"],
        activation=config["activation"],
        generator=generator,
        dtype=engine.resolve_dtype(config["dtype"]),
    )
    return Trial(network, built.embedding, built.base, built.factor)


def _stages(
    problem: PDE, optimizer: Any, adam_steps: Any, max_iterations: Any
) -> list[tuple[str, int]]:
    names = optimizer.split("+") if isinstance(optimizer, str) else []
    if not names or any(name not in STAGES for name in names):
        raise InvalidOption(
            f"optimizer={optimizer!r}; join {', '.join(STAGES)} by '+', such as 'adam+lbfgs'."
        )
    run.check_counts(adam_steps=adam_steps, max_iterations=max_iterations)
    if "nncg" in names and problem.unknowns:
        raise UnsupportedProblem(
            "DeepXDE's NNCG trains no parameter beside the network, but "
            f"{problem.unknowns[0].name} is unknown; use optimizer='adam+lbfgs', or \"pinn\"."
        )
    left = math.inf if max_iterations is None else max_iterations
    stages = []
    for name in names:
        count = int(min({"adam": adam_steps, **STEPS}[name], left))
        left -= count
        if count:
            stages.append((name, count))
    return stages


@dataclass
class _Watch:
    """What goes on while DeepXDE trains: the clock, the history, the last finite weights."""

    problem: PDE
    training: Training
    bridge: Bridge
    time_limit: float | None
    total: int
    reason: str = ""
    interrupted: bool = False
    iterations: int = 0
    elapsed: float = 0.0
    losses: dict[str, float] = field(default_factory=dict)
    history: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in ("iteration", "time", "loss", "validation")}
    )

    def __post_init__(self) -> None:
        self.parameters = [*self.training.trial.parameters(), *self.bridge.unknowns.values()]
        self._keep()

    def _keep(self) -> None:
        self.kept = [p.detach().clone() for p in self.parameters]

    def _restore(self) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, self.kept, strict=True):
                parameter.copy_(value)

    def train(
        self,
        dde: Any,
        model: Any,
        stages: list[tuple[str, int]],
        weights: Mapping[str, float] | None,
        bar: ProgressBar,
    ) -> None:
        """All stages, until they, the time limit or Ctrl-C end."""
        self.start = time.perf_counter()
        try:
            for k, (name, count) in enumerate(stages):
                last = k == len(stages) - 1
                share = 1.0 if last or name != "adam" else ADAM_SHARE
                self.until = math.inf if self.time_limit is None else share * self.time_limit
                self._stage(dde, model, name, count, weights, bar)
        except torch.linalg.LinAlgError as error:
            self._restore()
            raise DivergedError(
                "DeepXDE's NNCG could not factorise its sketch of the Hessian at iteration "
                f"{self.iterations}; the trial solution was set back to the weights before. Use "
                "optimizer='adam+lbfgs', or take more steps of Adam first."
            ) from error
        except KeyboardInterrupt:
            # the interrupted iteration may be half done
            self._restore()
            self.reason, self.interrupted = "interrupted", True
        self.elapsed = time.perf_counter() - self.start
        if not self.reason:
            over = self.time_limit is not None and self.elapsed >= self.time_limit
            self.reason = (
                f"time limit of {self.time_limit:g} s"
                if over
                else f"all stages ended ({', '.join(f'{n} {c}' for n, c in stages)} at most)"
            )
        self._judge(model)

    def _stage(
        self,
        dde: Any,
        model: Any,
        name: str,
        count: int,
        weights: Mapping[str, float] | None,
        bar: ProgressBar,
    ) -> None:
        options = sys.modules["deepxde.optimizers.config"]
        stride = min(LBFGS_STRIDE, count)
        # a sketch with nearly as many columns as the Hessian has is singular to rounding
        rank = min(options.NNCG_options["rank"], max(1, self.training.objective.count // 10))
        options.NNCG_options.update(cgmaxiter=CG_STEPS, rank=rank)
        options.LBFGS_options.update(
            maxiter=count, iter_per_step=stride, fun_per_step=math.ceil(1.25 * stride)
        )
        compile_model(model, self.bridge, STAGES[name], weights)
        watch = self

        class Clock(dde.callbacks.Callback):
            def on_epoch_end(self) -> None:
                watch._after(self.model, name, bar)

        with quiet():
            model.train(iterations=count, display_every=CHECK, callbacks=[Clock()], verbose=0)

    def _after(self, model: Any, name: str, bar: ProgressBar) -> None:
        """After an iteration (fifty of L-BFGS)."""
        now = time.perf_counter() - self.start
        done, self.iterations = self.iterations, model.train_state.step
        state = model.train_state.loss_train
        finite = all(bool(p.isfinite().all()) for p in self.parameters)
        if not finite or (state is not None and not all(map(math.isfinite, state))):
            self._restore()
            raise DivergedError(
                f"the loss of DeepXDE became NaN or infinite at iteration {self.iterations} "
                f"({name}); the trial solution was set back to its last finite weights. Try "
                "another seed, dtype='float64', constraints='soft', or method \"pinn\"."
            )
        self._keep()
        if self.iterations // CHECK > done // CHECK or name == "lbfgs":
            self._record(float(sum(state)), now)
        if now >= self.until:
            model.stop_training = True
        if self.iterations % 10 == 0 or name != "adam":
            fraction = now / self.time_limit if self.time_limit else self.iterations / self.total
            loss = float(sum(state)) if state is not None else math.nan
            bar.update(fraction, {"it": self.iterations, "loss": loss, "stage": name})

    def _record(self, loss: float, now: float) -> None:
        validation = self.training.validate() if len(self.history["loss"]) % 10 == 0 else math.nan
        row = (float(self.iterations), now, loss, validation)
        for column, value in zip(self.history.values(), row, strict=True):
            column.append(value)

    def _judge(self, model: Any) -> None:
        """Unweighted losses of the final weights, as DeepXDE computes them."""
        weights, model.loss_weights = model.loss_weights, None
        batch = model.data.train_next_batch()
        found = model.outputs_losses_train(*batch)[1].detach().tolist()
        model.loss_weights = weights
        self.losses = dict(zip(self.bridge.names, found, strict=True))


def _report(
    problem: PDE, training: Training, bridge: Bridge, watch: _Watch, engine_name: str
) -> Report:
    conditions = [c for c in problem.conditions if not isinstance(c, Periodic)]
    honesty = examine(problem, training, condition_requirements(problem, conditions, 1, 1.0))
    reasons = honesty.verdict()
    return Report(
        method="deepxde",
        converged=not reasons and not watch.interrupted,
        losses=watch.losses,
        residual_train=honesty.trained,
        residual_fresh=honesty.fresh,
        fresh_points=len(training.fresh_terms[0].points),
        violations=honesty.violations,
        dtype=str(training.dtype).removeprefix("torch."),
        device=str(training.device),
        engine=engine_name,
        wall_time=watch.elapsed,
        iterations=watch.iterations,
        parameters_count=training.objective.count,
        interrupted=watch.interrupted,
        notes=[
            *bridge.notes,
            f"stopped: {watch.reason}.",
            *(f"not converged: {reason}." for reason in reasons),
        ],
    )
