"""What collocation methods share: the training loop and its checkpoints.

A method (PINN, …) chooses a trial solution, requirements and a schedule; the loop minimises the
objective, draws new points (`pdeml.solvers.batch`), and keeps the weights with the smallest
residual on points that were never trained on.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from pdeml.errors import DivergedError, InvalidOption
from pdeml.optim import LevenbergMarquardt
from pdeml.optim.flat import FlatOptimizer
from pdeml.progress import ProgressBar
from pdeml.solvers.balancing import balance
from pdeml.solvers.batch import Batch
from pdeml.solvers.checkpoint import load_checkpoint, save_checkpoint
from pdeml.solvers.compiled import CapturedObjective, CompiledObjective
from pdeml.solvers.objective import Objective, Trial
from pdeml.solvers.pseudo_time import PseudoTimeTerm
from pdeml.solvers.requirements import Requirement
from pdeml.solvers.schedule import FIRST, OPTIMIZERS, Schedule

CHECKPOINT_SECONDS = 30.0


@dataclass
class Outcome:
    """What a training run ends with; the trial holds the best weights."""

    reason: str
    iterations: int
    wall_time: float
    losses: dict[str, float]
    history: dict[str, list[float]]
    interrupted: bool = False


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C sets a flag that is read between iterations; a second one stops on the spot."""
    raised = [False]

    def handler(number: int, frame: Any) -> None:
        if raised[0]:
            raise KeyboardInterrupt
        raised[0] = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield lambda: raised[0]
    finally:
        signal.signal(signal.SIGINT, previous)


NARROW = 128
"""Up to this width, a second thread costs more in synchronisation than it computes."""


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Training:
    """Minimise the requirements over a trial solution.

    Parameters
    ----------
    trial : its network is trained, in place.
    requirements : loss terms.
    schedule : of the optimizers.
    generator : of all points.
    monitor : (points, values) of a reference, for the error shown on the way; may be None.
    time_limit : seconds; None for no limit.
    checkpoint : path of the state file, written every 30 s and at the end.
    identity : what the checkpoint belongs to.
    progress : show a bar.
    adapt : called after each cycle; may change the size of parameters in place, and returns whether
        it did: the optimizer then starts anew.
    compiled : take loss and gradient as one graph (`pdeml.solvers.compiled`).
    explain : says, after a divergence, which part of the trial solution is not finite.
    """

    def __init__(
        self,
        trial: Trial,
        requirements: Sequence[Requirement],
        schedule: Schedule,
        *,
        generator: torch.Generator,
        device: torch.device,
        dtype: torch.dtype,
        unknowns: Sequence[torch.nn.Parameter] = (),
        positive: Sequence[bool] = (),
        monitor: tuple[Tensor, Tensor] | None = None,
        time_limit: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        identity: str = "",
        progress: bool = False,
        title: str = "",
        adapt: Callable[[Training], bool] | None = None,
        explain: Callable[[], str] | None = None,
        compiled: bool = False,
    ):
        self.trial, self.schedule = trial, schedule
        self.requirements = list(requirements)
        self.generator = generator
        self.device, self.dtype = device, dtype
        self.monitor = monitor
        self.time_limit = time_limit
        self.checkpoint, self.identity = checkpoint, identity
        self.progress, self.title = progress, title
        self.adapt, self.explain = adapt, explain
        self.batch = Batch(trial, requirements, schedule, generator, device, dtype)
        self.terms, self.fresh_terms = self.batch.terms, self.batch.fresh_terms
        one_graph = CapturedObjective if device.type == "cuda" else CompiledObjective
        kind = one_graph if compiled else Objective
        self.objective = kind(trial, self.terms, unknowns, positive)
        self.iteration = 0
        self.elapsed = 0.0
        self.best_validation = math.inf
        self.reference_validation = math.inf
        self.stale = 0
        self.best = self._parameters()
        self.history: dict[str, list[float]] = {
            name: [] for name in ("iteration", "time", "loss", "validation", "error")
        }
        self.optimizer = self._optimizer()
        self.previous: list[Tensor] | None = None
        self.batch.attend(self.objective.unknown_values(), evaluate=True)

    def to_run(self, points: Tensor, extras: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Points and extra values on the device and in the dtype of the run."""
        return self.batch.to_run(points, extras)

    def least_gate(self) -> float | None:
        """The smallest causal gate, None where points are not gated."""
        return self.batch.least_gate()

    def _parameters(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.objective.parameters]

    def _restore(self, parameters: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for target, source in zip(self.objective.parameters, parameters, strict=True):
                if target.shape == source.shape:
                    target.copy_(source)
                else:
                    target.data, target.grad = source.clone(), None

    @property
    def _in_adam(self) -> bool:
        return self.iteration < self.schedule.adam_steps or self.schedule.optimizer is None

    def _optimizer(self) -> Any:
        parameters = self.objective.parameters
        if self._in_adam or self.schedule.optimizer is None:
            return FIRST[self.schedule.first](
                parameters, lr=self.schedule.rate(0), betas=self.schedule.adam_betas
            )
        return OPTIMIZERS[self.schedule.optimizer](parameters)

    def _step(self) -> float:
        takes_closures = isinstance(self.optimizer, FlatOptimizer)
        if isinstance(self.optimizer, LevenbergMarquardt):
            loss = self.optimizer.step(self.objective.residual_and_jacobian)
        elif takes_closures:
            loss = self.optimizer.step(self.objective.loss_and_gradient)
        else:
            self._march()
            loss = self.objective.loss_and_gradient()
            if torch.isfinite(loss):
                for group in self.optimizer.param_groups:
                    group["lr"] = self.schedule.rate(self.iteration)
                self.optimizer.step()
                self.batch.attend(self.objective.unknown_values())
        return float(loss)

    def _march(self) -> None:
        """Hold a step of pseudo-time near the solution before it."""
        if not self.schedule.pseudo_time:
            return
        now = [p.detach().clone() for p in self.objective.network_parameters]
        if self.previous is not None:
            for term in self.terms:
                if isinstance(term, PseudoTimeTerm):
                    term.pull(self.previous, self.objective.unknown_values())
        self.previous = now

    def validate(self) -> float:
        """Loss on fresh points; keeps the weights when it is the smallest so far."""
        values = self.objective.unknown_values()
        total = 0.0
        for term in self.fresh_terms:
            total += term.weight * float(term.residuals(values).square().mean(0).sum())
        if total < self.best_validation:
            self.best_validation = total
            self.best = self._parameters()
        return total

    def _error(self) -> float:
        if self.monitor is None:
            return math.nan
        points, values = self.monitor
        with torch.no_grad():
            return float((self.trial(points) - values).norm() / values.norm())

    def _resample(self) -> None:
        """Draw new points for every term that is not data; by residual where it is adaptive."""
        self.batch.resample(
            self.objective.unknown_values(),
            adaptive=self.schedule.sampling == "rad" and not self._in_adam,
            keep_gates=self._redraws,
        )
        if hasattr(self.optimizer, "new_points"):
            self.optimizer.new_points()

    @property
    def _redraws(self) -> bool:
        """Whether points are drawn within a cycle."""
        redraw = self.schedule.redraw
        return self._in_adam and redraw is not None and redraw < self.schedule.cycle

    def _record(self, loss: float, validation: float, error: float) -> None:
        row = (float(self.iteration), self.elapsed, loss, validation, error)
        for column, value in zip(self.history.values(), row, strict=True):
            column.append(value)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        return {
            "iteration": self.iteration,
            "elapsed": self.elapsed,
            "best_validation": self.best_validation,
            "reference_validation": self.reference_validation,
            "stale": self.stale,
            "parameters": self._parameters(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "previous": self.previous,
            "batch": self.batch.state(),
            "history": {
                name: torch.tensor(column, dtype=torch.float64)
                for name, column in self.history.items()
            },
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.iteration, self.elapsed = state["iteration"], state["elapsed"]
        self.best_validation, self.stale = state["best_validation"], state["stale"]
        self.reference_validation = state["reference_validation"]
        self._restore(state["parameters"])
        self.best = state["best"]
        self.generator.set_state(state["generator"])
        self.previous = state["previous"]
        self.batch.load(state["batch"])
        self.history = {name: column.tolist() for name, column in state["history"].items()}
        self.optimizer = self._optimizer()
        self.optimizer.load_state_dict(state["optimizer"])

    def resume(self) -> None:
        """Continue from the checkpoint file."""
        if self.checkpoint is None:
            raise InvalidOption("resume needs the path of a checkpoint; give checkpoint=PATH.")
        self.load(load_checkpoint(self.checkpoint, self.identity, self.device))

    def _save(self) -> None:
        if self.checkpoint is not None:
            save_checkpoint(self.checkpoint, self.state(), self.identity)

    def _fraction(self) -> float:
        fractions = [0.0]
        if self.time_limit:
            fractions.append(self.elapsed / self.time_limit)
        if self.schedule.max_iterations:
            fractions.append(self.iteration / self.schedule.max_iterations)
        return max(fractions)

    def run(self) -> Outcome:
        """Train until the schedule, the time limit, Ctrl-C or a plateau ends it.

        Raises
        ------
        DivergedError
            When the loss becomes NaN or infinite; the trial then holds the best finite weights, and
            the checkpoint keeps them.
        """
        start = time.perf_counter() - self.elapsed
        saved = time.perf_counter()
        reason, interrupted = "", False
        loss = validation = error = math.nan
        with (
            _interruptible() as stop,
            _threads(self._useful_threads()),
            ProgressBar(self.title, self.progress) as bar,
        ):
            while not reason:
                self.elapsed = time.perf_counter() - start
                if stop():
                    reason, interrupted = "interrupted", True
                elif self.time_limit is not None and self.elapsed >= self.time_limit:
                    reason = f"time limit of {self.time_limit:g} s"
                elif (
                    self.schedule.max_iterations is not None
                    and self.iteration >= self.schedule.max_iterations
                ):
                    reason = f"{self.schedule.max_iterations} iterations"
                if reason:
                    break
                try:
                    loss = self._step()
                except DivergedError as cause:
                    self._diverged(math.nan, cause)
                if not math.isfinite(loss):
                    self._diverged(loss)
                self.iteration += 1
                stalled = getattr(self.optimizer, "stalled", False)
                if self.iteration % self.schedule.cycle == 0 or stalled or self._stage_ends():
                    validation = self.validate()
                    error = self._error()
                    self.elapsed = time.perf_counter() - start
                    self._record(loss, validation, error)
                    reason = self._plateau(validation, stalled)
                    adapted = self.adapt is not None and not reason and self.adapt(self)
                    if self.schedule.weighting != "fixed":
                        balance(self.objective, self.schedule.weighting, self.generator)
                    if adapted or self._stage_ends():
                        self.optimizer = self._optimizer()
                    self._resample()
                else:
                    if self.iteration % 20 == 0:
                        self._record(loss, math.nan, math.nan)
                    if self._redraws and self.iteration % (self.schedule.redraw or 1) == 0:
                        self._resample()
                if self.checkpoint is not None and time.perf_counter() - saved > CHECKPOINT_SECONDS:
                    self.elapsed = time.perf_counter() - start
                    self._save()
                    saved = time.perf_counter()
                if self.iteration % 10 == 0:
                    self._show(bar, loss, validation, error)
            self.elapsed = time.perf_counter() - start
            # saved before the last judgement, so that a resumed run is the uninterrupted one
            self._save()
            self.validate()
            self._restore(self.best)
            for term in self.terms:
                if isinstance(term, PseudoTimeTerm):
                    term.bind(term.points)  # nothing pulls any more
            loss = float(self.objective.loss_and_gradient())
            self._record(loss, self.best_validation, self._error())
            self.elapsed = time.perf_counter() - start
        return Outcome(
            reason,
            self.iteration,
            self.elapsed,
            self.objective.term_losses(),
            self.history,
            interrupted,
        )

    def _useful_threads(self) -> int:
        """One thread for quasi-Newton on narrow networks, torch's own number otherwise."""
        widest = max((max(p.shape) for p in self.objective.parameters if p.dim()), default=1)
        narrow = self.device.type == "cpu" and widest <= NARROW
        jacobian = self.schedule.optimizer == "levenberg_marquardt"
        return 1 if narrow and not jacobian else torch.get_num_threads()

    def _stage_ends(self) -> bool:
        return self.schedule.optimizer is not None and self.iteration == self.schedule.adam_steps

    def _plateau(self, validation: float, stalled: bool) -> str:
        if self._in_adam:
            return ""
        if validation < 0.95 * self.reference_validation:
            self.reference_validation, self.stale = validation, 0
            return ""
        self.stale += 1
        if self.stale < self.schedule.patience:
            return ""
        what = "the optimizer stalled" if stalled else "no 5 % smaller validation loss"
        return f"{what} in {self.schedule.patience} cycles"

    def _diverged(self, loss: float, cause: DivergedError | None = None) -> NoReturn:
        explanation = self.explain() if self.explain is not None else ""
        culprit = f" {explanation}" if explanation else ""
        self._restore(self.best)
        self._save()
        kept = f" It is kept in {os.fspath(self.checkpoint)}." if self.checkpoint else ""
        raise DivergedError(
            f"the loss became {loss} at iteration {self.iteration}; the trial solution was set "
            f"back to the best finite state.{kept}{culprit} Try another seed or "
            "constraints='soft', or "
            "write the equation so that logarithms, roots and quotients stay in their range."
        ) from cause

    def _show(self, bar: ProgressBar, loss: float, validation: float, error: float) -> None:
        figures: dict[str, float | int | str] = {"it": self.iteration, "loss": loss}
        losses = self.objective.term_losses()
        if len(losses) > 1:
            figures.update({name: value for name, value in list(losses.items())[:4]})
        if math.isfinite(validation):
            figures["fresh"] = math.sqrt(validation)
        if math.isfinite(error):
            figures["error"] = error
        bar.update(self._fraction(), figures)
