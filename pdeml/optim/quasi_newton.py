"""One iteration of a line-search quasi-Newton method; the methods differ in H and its update."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from pdeml.errors import DivergedError
from pdeml.optim.flat import FlatOptimizer, check_range
from pdeml.optim.line_search import Search, Trial, strong_wolfe

PATIENCE = 100  # iterations without a new lowest loss that count as stalled
MEASURABLE = 1e-15  # relative decrease that counts as a new lowest loss


class QuasiNewton(FlatOptimizer, ABC):
    """Iteration x₊ = x + α p with p = −H g, a strong Wolfe step α and H ≈ (∇²f)⁻¹.

    One call of ``step`` is one iteration. Loss and gradient at the new point are kept, so that an
    iteration costs one evaluation of the closure when the first trial of α is accepted.

    Where p is no descent direction, or no step along p lowers the loss, H has lost its positive
    definiteness or its meaning to round-off: the iteration is repeated along −g, and H starts again
    from there. When that fails as well, or a hundred iterations bring no new lowest loss, the
    optimizer is ``stalled``: parameters and H stay as they are, and further steps return at once
    until ``new_points`` is called or a parameter is changed from outside.

    Parameters
    ----------
    params : parameters of the model, one group.
    options : options of the method, with ``c1, c2, noise, max_evaluations`` of ``strong_wolfe``.
    dtypes : accepted dtypes.
    """

    def __init__(
        self, params: Iterable[Any], options: dict[str, Any], dtypes: tuple[torch.dtype, ...]
    ) -> None:
        check_range("c1", options["c1"], 0.0, 0.5)
        check_range("c2", options["c2"], options["c1"], 1.0)
        check_range("noise", options["noise"], 0.0, 1.0, closed=True)
        check_range("max_evaluations", options["max_evaluations"], 0)
        super().__init__(params, options, dtypes)

    @property
    def stalled(self) -> bool:
        """True when the loss cannot be lowered any more: it is at its round-off floor."""
        return bool(self._memory.get("stalled", 0.0))

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the closure so far."""
        return int(self._memory.get("evaluations", 0.0))

    @property
    def restarts(self) -> int:
        """How often H was given up for a step along −g."""
        return int(self._memory.get("restarts", 0.0))

    def new_points(self) -> None:
        """Tell that the closure's data changed: loss and gradient are evaluated again."""
        for key in ("point", "gradient", "loss", "decrease"):
            self._memory.pop(key, None)
        self._memory["stalled"] = 0.0

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:  # type: ignore[override]
        """Do one quasi-Newton iteration.

        Parameters
        ----------
        closure : sets the gradients (``zero_grad``, ``backward``) and returns the loss, 0-d.

        Returns
        -------
        Tensor : loss at the new parameters, 0-d.

        Raises
        ------
        DivergedError : loss or gradient is NaN or infinite before the step; nothing is changed.
        """
        memory = self._memory
        point = self._gather()
        if "loss" not in memory or not torch.equal(point, memory["point"]):
            self.new_points()
            loss, gradient, squared = self._evaluate(closure)
            if not (math.isfinite(loss) and math.isfinite(squared)):
                raise DivergedError(
                    f"{type(self).__name__}: before the step the loss is {loss} and the squared"
                    f" gradient norm {squared}; both must be finite. The parameters are unchanged:"
                    " restore the last finite ones, or check the data in the closure."
                )
            memory.update(point=point, gradient=gradient, loss=loss, lowest=loss, idle=0.0)
        if not self.stalled:
            try:
                self._iterate(closure)
            finally:  # after an interrupt in the line search too
                self._scatter(memory["point"])
        return point.new_tensor(memory["loss"])

    def _iterate(self, closure: Callable[[], Tensor]) -> None:
        memory = self._memory
        gradient = memory["gradient"]
        search = self._search(closure, self._direction(gradient), self._fresh)
        if search.trial is None and not self._fresh:
            search = self._search(closure, -gradient, True)
            if search.trial is not None:
                self._restart()
                memory["restarts"] = memory.get("restarts", 0.0) + 1.0
        new = search.trial
        if new is None:
            memory["stalled"] = 1.0
            return
        s, y = new.point - memory["point"], new.gradient - gradient
        self._update(s, y, gradient, new.step)
        memory["decrease"] = memory["loss"] - new.value
        memory.update(point=new.point, gradient=new.gradient, loss=new.value)
        if new.value < memory["lowest"] - MEASURABLE * abs(memory["lowest"]):
            memory.update(lowest=new.value, idle=0.0)
        else:
            memory["idle"] += 1.0
            memory["stalled"] = float(memory["idle"] >= PATIENCE)

    def _search(self, closure: Callable[[], Tensor], direction: Tensor, steepest: bool) -> Search:
        """Line search from the current point; fails at once unless the direction descends.

        First trial: the unit step, but no more than would repeat the decrease of the last iteration
        if φ were quadratic, α = 1.01 · 2 (f₋ − f)/|φ′(0)| (Nocedal & Wright, eq. 3.60). Self-scaled
        updates enlarge H, and the unit step along −H g is about twice too long.
        """
        memory = self._memory
        point, gradient = memory["point"], memory["gradient"]
        slope, length = torch.stack(
            (torch.dot(direction, gradient), torch.linalg.vector_norm(gradient))
        ).tolist()
        if not slope < 0.0:
            return Search(None, "failed", 0)
        first_step = min(1.0, 1.0 / length) if steepest else 1.0
        if not steepest and memory.get("decrease", 0.0) > 0.0:
            first_step = min(1.0, 2.02 * memory["decrease"] / -slope)

        def evaluate(step: float) -> Trial:
            trial = torch.add(point, direction, alpha=step)
            self._scatter(trial)
            value, new_gradient, new_slope = self._evaluate(closure, direction)
            return Trial(step, value, new_slope, trial, new_gradient)

        return strong_wolfe(
            evaluate,
            Trial(0.0, memory["loss"], slope, point, gradient),
            first_step,
            **{name: self.options[name] for name in ("c1", "c2", "noise", "max_evaluations")},
        )

    def _evaluate(
        self, closure: Callable[[], Tensor], direction: Tensor | None = None
    ) -> tuple[float, Tensor, float]:
        """Loss, gradient (n,) and its product with the direction (with itself if None)."""
        with torch.enable_grad():
            loss = closure()
        gradient = self._gather_gradient()
        product = torch.dot(gradient, gradient if direction is None else direction)
        value, slope = torch.stack((loss.detach().reshape(()).to(product), product)).tolist()
        self._memory["evaluations"] = self._memory.get("evaluations", 0.0) + 1.0
        return value, gradient, slope

    @property
    @abstractmethod
    def _fresh(self) -> bool:
        """True while H is the identity."""

    @abstractmethod
    def _restart(self) -> None:
        """Set H to the identity."""

    @abstractmethod
    def _direction(self, gradient: Tensor) -> Tensor:
        """−H g, shape (n,)."""

    @abstractmethod
    def _update(self, s: Tensor, y: Tensor, gradient: Tensor, step: float) -> None:
        """Update H by s = x₊ − x and y = g₊ − g, where s = −α H g with the old gradient g."""
