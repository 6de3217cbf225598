"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from pdeml.errors import InvalidOption
from pdeml.optim.flat import check_range


class SOAP(torch.optim.Optimizer):
    """Adam on gradients rotated to the eigenbases of their running second moments.

    For a weight W (m, n) with gradient G:

        L ← β L + (1 − β) G Gᵀ,   R ← β R + (1 − β) Gᵀ G,   L ≈ Q_L Λ_L Q_Lᵀ,   R ≈ Q_R Λ_R Q_Rᵀ,
        G' = Q_Lᵀ G Q_R,   W ← W − lr · Q_L Adam(G') Q_Rᵀ.

    Every f steps the bases follow L and R by one power iteration and a QR factorisation; their
    columns, and Adam's second moment with them, are ordered by eigenvalue, and the first moment is
    carried into the new basis. Vectors, and axes longer than `max_dim`, are not rotated: without
    any rotation this is Adam. The first step makes the bases and moves nothing.

    Parameters
    ----------
    params : real parameters, float32 or float64.
    lr : step size.
    betas : of Adam's two moments.
    shampoo_beta : β; default ``betas[1]``.
    eps : added to the root of the second moment.
    precondition_frequency : f.
    max_dim : longest axis that is rotated; an axis costs max_dim² numbers and max_dim³ work.

    Raises
    ------
    InvalidOption : an option out of range.

    References
    ----------
    Vyas et al. (2024), arXiv:2409.11321, algorithm 3; Wang et al. (2025), arXiv:2502.00604 (SOAP
    for physics-informed networks, lr = 1e-3, f = 2).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        shampoo_beta: float | None = None,
        eps: float = 1e-8,
        precondition_frequency: int = 2,
        max_dim: int = 10_000,
    ) -> None:
        check_range("lr", lr, 0)
        for position, beta in enumerate(betas):
            check_range(f"betas[{position}]", beta, 0, 1, closed=True)
        decay = betas[1] if shampoo_beta is None else shampoo_beta
        check_range("shampoo_beta", decay, 0, 1, closed=True)
        check_range("eps", eps, 0, closed=True)
        if isinstance(precondition_frequency, bool) or not (
            isinstance(precondition_frequency, int) and precondition_frequency >= 1
        ):
            raise InvalidOption(
                f"precondition_frequency={precondition_frequency!r}; give a positive integer."
            )
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "shampoo_beta": decay,
            "eps": eps,
            "precondition_frequency": precondition_frequency,
            "max_dim": max_dim,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step; `closure` evaluates loss and gradients where it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if not self.state[parameter]:
                    self._begin(parameter, group)
                else:
                    self._move(parameter, group)
        return loss

    def _begin(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        state["step"] = 0
        state["first"] = torch.zeros_like(parameter)
        state["second"] = torch.zeros_like(parameter)
        for axis in _rotated(parameter, group):
            moment = (1.0 - group["shampoo_beta"]) * _gram(gradient, axis)
            state[f"moment_{axis}"] = moment
            # eigh orders eigenvalues upwards
            state[f"basis_{axis}"] = torch.linalg.eigh(moment)[1].flip(1).contiguous()

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        axes = _rotated(parameter, group)
        first, second = state["first"], state["second"]
        beta1, beta2 = group["betas"]
        state["step"] += 1
        count = int(state["step"])
        rotated = _turn(gradient, {a: state[f"basis_{a}"].T for a in axes})
        first.lerp_(rotated, 1.0 - beta1)
        second.mul_(beta2).addcmul_(rotated, rotated, value=1.0 - beta2)
        scale = second.sqrt().div_((1.0 - beta2**count) ** 0.5).add_(group["eps"])
        direction = _turn(first / scale, {a: state[f"basis_{a}"] for a in axes})
        parameter.add_(direction, alpha=-group["lr"] / (1.0 - beta1**count))
        for axis in axes:
            state[f"moment_{axis}"].lerp_(_gram(gradient, axis), 1.0 - group["shampoo_beta"])
        if axes and count % group["precondition_frequency"] == 0:
            self._follow(state, axes)

    def _follow(self, state: dict[str, Any], axes: tuple[int, ...]) -> None:
        """Bases one power iteration closer to the eigenvectors of the moments."""
        changes = {}
        for axis in axes:
            moment, basis = state[f"moment_{axis}"], state[f"basis_{axis}"]
            image = moment @ basis
            order = (basis * image).sum(0).argsort(descending=True)
            state["second"] = state["second"].index_select(axis, order)
            # contiguous, as it is after a file: the layout decides on the last bits of products
            found = torch.linalg.qr(image[:, order])[0].contiguous()
            changes[axis] = found.T @ basis
            state[f"basis_{axis}"] = found
        state["first"] = _turn(state["first"], changes)


def _rotated(parameter: Tensor, group: dict[str, Any]) -> tuple[int, ...]:
    """Axes of a parameter that are rotated."""
    if parameter.dim() != 2:
        return ()
    return tuple(a for a, n in enumerate(parameter.shape) if 1 < n <= group["max_dim"])


def _gram(gradient: Tensor, axis: int) -> Tensor:
    return gradient @ gradient.T if axis == 0 else gradient.T @ gradient


def _turn(matrix: Tensor, turns: dict[int, Tensor]) -> Tensor:
    """T_0 A T_1ᵀ for the turns T that are given per axis."""
    if 0 in turns:
        matrix = turns[0] @ matrix
    return matrix @ turns[1].T if 1 in turns else matrix
