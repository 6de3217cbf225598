"""Limited-memory BFGS."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pdeml.optim.flat import check_range
from pdeml.optim.quasi_newton import QuasiNewton


class LBFGS(QuasiNewton):
    """Limited-memory BFGS with a strong Wolfe line search; one iteration per step.

    −H g by the two-loop recursion over the last m pairs (s_i, y_i), ρ_i = 1/(y_iᵀs_i):

        q = g;   newest to oldest:  α_i = ρ_i s_iᵀq,   q ← q − α_i y_i;
        r = γ q, γ = sᵀy/yᵀy of the newest pair;
        oldest to newest:           r ← r + (α_i − ρ_i y_iᵀr) s_i.

    For models too large for the dense matrix of ``SSBroyden``: 8 m n flops and 2 m n numbers.
    Unlike ``torch.optim.LBFGS``, one step is one iteration, the history outlives changes of the
    data (``new_points``), and an iteration that cannot lower the loss is reported by ``stalled``.

    Parameters
    ----------
    params : float32 or float64 parameters of one dtype, one group.
    history : number m of pairs, default 50.
    c1, c2 : constants of the strong Wolfe conditions.
    noise : relative round-off in the loss, see ``strong_wolfe``.
    max_evaluations : limit on the evaluations of one line search.

    Raises
    ------
    InvalidOption : parameters of another dtype, options out of range.

    References
    ----------
    Nocedal (1980), Math. Comp. 35, 773–782.
    Nocedal, Wright (2006), Numerical Optimization, algorithms 7.4 and 7.5.
    """

    def __init__(
        self,
        params: Iterable[Any],
        history: int = 50,
        *,
        c1: float = 1e-4,
        c2: float = 0.9,
        noise: float = 1e-6,
        max_evaluations: int = 20,
    ) -> None:
        check_range("history", history, 0)
        options = {
            "history": history,
            "c1": c1,
            "c2": c2,
            "noise": noise,
            "max_evaluations": max_evaluations,
        }
        super().__init__(params, options, (torch.float64, torch.float32))
        self._memory.update(
            steps=self._parameters[0].new_zeros((history, self.size)),
            changes=self._parameters[0].new_zeros((history, self.size)),
            rho=self._parameters[0].new_zeros(history),
        )
        self._restart()

    @property
    def _fresh(self) -> bool:
        return not self._memory["pairs"]

    def _restart(self) -> None:
        self._memory["pairs"] = 0.0

    def _rows(self) -> list[int]:
        """Rows of the ring buffers from the oldest pair to the newest."""
        pairs, history = int(self._memory["pairs"]), self.options["history"]
        return [k % history for k in range(max(0, pairs - history), pairs)]

    def _direction(self, gradient: Tensor) -> Tensor:
        rows = self._rows()
        if not rows:
            return -gradient
        memory = self._memory
        s, y, rho = (memory[name].unbind() for name in ("steps", "changes", "rho"))
        alpha: dict[int, Tensor] = {}
        q = gradient.clone()
        for i in reversed(rows):
            alpha[i] = rho[i] * torch.dot(s[i], q)
            q.addcmul_(alpha[i], y[i], value=-1)
        q.mul_(memory["scale"])
        for i in rows:
            q.addcmul_(alpha[i] - rho[i] * torch.dot(y[i], q), s[i])
        return q.neg_()

    def _update(self, s: Tensor, y: Tensor, gradient: Tensor, step: float) -> None:
        ys, yy = torch.stack((torch.dot(y, s), torch.dot(y, y))).tolist()
        if not ys > 0.0:
            return
        memory = self._memory
        row = int(memory["pairs"]) % self.options["history"]
        memory["steps"][row], memory["changes"][row], memory["rho"][row] = s, y, 1.0 / ys
        memory["scale"] = ys / yy
        memory["pairs"] += 1.0
