"""Levenberg–Marquardt method with geodesic acceleration, in primal and dual form."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from pdeml.errors import DivergedError, InvalidOption
from pdeml.optim.flat import FlatOptimizer, check_range

FORMS = ("auto", "primal", "dual")
PROBE = 0.1  # h: where along p the second derivative is measured
BEND = 0.75  # largest |a|/|p| of an accepted step
Closure = Callable[[bool], tuple[Tensor, Tensor | None]]


class LevenbergMarquardt(FlatOptimizer):
    """Damped Gauss–Newton steps for f(x) = ‖r(x)‖², r: ℝᴾ → ℝᴹ, J = ∂r/∂x (M, P), in float64.

        primal, M ≥ P:   p = −(JᵀJ + λI)⁻¹ Jᵀr
        dual,   M < P:   p = −Jᵀ(JJᵀ + λI)⁻¹ r      (the same step from an M × M system)

    both by Cholesky. Geodesic acceleration follows the curved valleys of network losses, for one
    more evaluation of r (a loss four decades lower after 100 steps on a small regression):

        a = −(JᵀJ + λI)⁻¹ Jᵀ r″,   r″ = (2/h)((r(x + hp) − r)/h − Jp),   x₊ = x + p + a/2

    A step that lowers f, with |a| ≤ 0.75 |p|, is taken and λ divided by ``decrease``; otherwise λ
    is multiplied by ``increase`` and the step computed anew from the same J, until one is taken.
    For the mean-square loss of a PINN, p is the damped energy natural gradient. Where no λ gives a
    decrease the optimizer is ``stalled``: the parameters stay, and further steps return at once
    until ``new_points`` is called or a parameter is changed from outside.

    Parameters
    ----------
    params : float64 parameters, one group.
    damping : λ at the start, default 1e-3.
    decrease, increase : factors on λ, defaults 3 and 4.
    form : ``"primal"``, ``"dual"`` or ``"auto"`` (primal when M ≥ P).
    geodesic : geodesic acceleration.
    max_trials : values of λ tried in one step.

    Raises
    ------
    InvalidOption : parameters that are not float64, options out of range; in ``step``: r or J of
        another shape or dtype, ``form="primal"`` with fewer residuals than parameters.

    Notes
    -----
    λ is kept at or above ε max diag(JᵀJ), ε = 2.2e-16: below, it is lost in the rounding of JᵀJ.

    References
    ----------
    Marquardt (1963), J. SIAM 11, 431–441. Nocedal, Wright (2006), Numerical Optimization, §10.3.
    Transtrum, Sethna (2012), arXiv:1201.5885 (geodesic acceleration).
    Müller, Zeinhofer (2023), Proc. ICML, PMLR 202 (energy natural gradients for PINNs).
    """

    def __init__(
        self,
        params: Iterable[Any],
        damping: float = 1e-3,
        *,
        decrease: float = 3.0,
        increase: float = 4.0,
        form: str = "auto",
        geodesic: bool = True,
        max_trials: int = 30,
    ) -> None:
        if form not in FORMS:
            raise InvalidOption(
                f"LevenbergMarquardt was given form={form!r}; accepted are {', '.join(FORMS)}."
            )
        check_range("damping", damping, 0.0)
        check_range("decrease", decrease, 1.0)
        check_range("increase", increase, 1.0)
        check_range("max_trials", max_trials, 0)
        options = {
            "decrease": decrease,
            "increase": increase,
            "form": form,
            "geodesic": geodesic,
            "max_trials": max_trials,
        }
        super().__init__(params, options)
        self._memory.update(damping=damping, accepted=0.0, stalled=0.0)

    @property
    def damping(self) -> float:
        """λ of the next step."""
        return float(self._memory["damping"])

    @property
    def accepted(self) -> bool:
        """True when the last step lowered the loss."""
        return bool(self._memory["accepted"])

    @property
    def stalled(self) -> bool:
        """True when no damping gives a step that lowers the loss."""
        return bool(self._memory["stalled"])

    def new_points(self) -> None:
        """Tell that the closure's data changed; the damping is kept."""
        self._memory["stalled"] = 0.0
        self._memory.pop("point", None)

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """Do one Levenberg–Marquardt step.

        Parameters
        ----------
        closure : ``closure(jacobian)`` returns the residuals (M,), weights folded in, and their
            Jacobian (M, P) in the order of the parameters, or None where ``jacobian`` is False.

        Returns
        -------
        Tensor : ‖r‖² at the new parameters, 0-d.

        Raises
        ------
        InvalidOption : see the class.
        DivergedError : r or J holds NaN or infinity before the step; nothing is changed.
        """
        memory = self._memory
        point = self._gather()
        if self.stalled and torch.equal(point, memory["point"]):
            return point.new_tensor(memory["loss"])
        residuals, J = self._linearise(closure)
        dual = self._dual(J)
        gram = J @ J.T if dual else J.T @ J
        loss = torch.dot(residuals, residuals).item()
        floor = torch.finfo(gram.dtype).eps * gram.diagonal().max().item()
        damping = max(self.damping, floor)
        memory.update(accepted=0.0, stalled=0.0)
        end = point
        try:
            for _ in range(self.options["max_trials"]):
                solve = self._solver(J, gram, damping, dual)
                change = self._change(closure, point, residuals, J, solve) if solve else None
                if change is not None:
                    new_residuals = self._residuals(closure, point + change)
                    new_loss = torch.dot(new_residuals, new_residuals).item()
                    if new_loss < loss:
                        end = point + change
                        memory.update(damping=damping / self.options["decrease"], accepted=1.0)
                        return point.new_tensor(new_loss)
                damping *= self.options["increase"]
        finally:  # after an interrupt in the closure too
            self._scatter(end)
        memory.update(stalled=1.0, point=point, loss=loss)
        return point.new_tensor(loss)

    @staticmethod
    def _solver(
        J: Tensor, gram: Tensor, damping: float, dual: bool
    ) -> Callable[[Tensor], Tensor] | None:
        """v (M,) -> (JᵀJ + λI)⁻¹Jᵀv (P,); None where rounding makes the matrix indefinite."""
        matrix = gram.clone()
        matrix.diagonal().add_(damping)
        factor, info = torch.linalg.cholesky_ex(matrix)
        if info.item() != 0:
            return None
        if dual:
            return lambda v: torch.mv(J.T, torch.cholesky_solve(v[:, None], factor)[:, 0])
        return lambda v: torch.cholesky_solve(torch.mv(J.T, v)[:, None], factor)[:, 0]

    def _change(
        self,
        closure: Closure,
        point: Tensor,
        residuals: Tensor,
        J: Tensor,
        solve: Callable[[Tensor], Tensor],
    ) -> Tensor | None:
        """p + a/2, shape (P,); None where the path bends too much."""
        p = -solve(residuals)
        if not self.options["geodesic"]:
            return p
        probe = self._residuals(closure, point + PROBE * p)
        a = -solve((2.0 / PROBE) * ((probe - residuals) / PROBE - torch.mv(J, p)))
        bent = torch.linalg.vector_norm(a) / torch.linalg.vector_norm(p)
        return p + 0.5 * a if bent.item() <= BEND else None

    def _residuals(self, closure: Closure, point: Tensor) -> Tensor:
        self._scatter(point)
        with torch.enable_grad():
            return closure(False)[0].detach().reshape(-1)

    def _linearise(self, closure: Closure) -> tuple[Tensor, Tensor]:
        """Checked residuals (M,) and Jacobian (M, P) at the current parameters."""
        with torch.enable_grad():
            residuals, J = closure(True)
        given = "no Jacobian" if J is None else f"{J.dtype} of shape {tuple(J.shape)}"
        if J is None or J.shape != (residuals.numel(), self.size) or J.dtype != torch.float64:
            raise InvalidOption(
                f"LevenbergMarquardt was given {given} with {residuals.numel()} residuals and"
                f" {self.size} parameters; the closure must return a torch.float64 Jacobian of"
                f" shape ({residuals.numel()}, {self.size}), a row for each residual."
            )
        residuals, J = residuals.detach().reshape(-1), J.detach()
        if not (torch.isfinite(residuals).all() and torch.isfinite(J).all()):
            raise DivergedError(
                "LevenbergMarquardt: residuals or Jacobian hold NaN or infinity before the step."
                " The parameters are unchanged: restore the last finite ones, or check the data in"
                " the closure."
            )
        return residuals, J

    def _dual(self, J: Tensor) -> bool:
        form, (residuals, parameters) = self.options["form"], J.shape
        if form == "primal" and residuals < parameters:
            raise InvalidOption(
                f"LevenbergMarquardt was given form='primal' with {residuals} residuals for"
                f" {parameters} parameters; it needs at least as many residuals as parameters"
                " (three times as many to generalise). Add points, or use form='auto' or 'dual'."
            )
        return form == "dual" or (form == "auto" and residuals < parameters)
