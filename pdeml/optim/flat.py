"""Parameters of a model as one flat vector: what the second-order optimizers share."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pdeml.errors import InvalidOption


class FlatOptimizer(torch.optim.Optimizer):
    """A torch optimizer whose unknown is the vector of all parameters in their given order.

    Everything that a resumed run needs is in ``state`` (tensors and floats), so that
    ``state_dict`` / ``load_state_dict`` continue bit for bit.

    Parameters
    ----------
    params : real parameters of one dtype on one device, in one group.
    defaults : options of the method.
    dtypes : accepted dtypes.

    Raises
    ------
    InvalidOption : several parameter groups, mixed or not accepted dtypes, several devices.
    """

    def __init__(
        self,
        params: Iterable[Any],
        defaults: dict[str, Any],
        dtypes: tuple[torch.dtype, ...] = (torch.float64,),
    ) -> None:
        super().__init__(params, defaults)
        name = type(self).__name__
        if len(self.param_groups) != 1:
            raise InvalidOption(
                f"{name} was given {len(self.param_groups)} parameter groups; it takes one, because"
                " its curvature couples all parameters. Pass a single list of parameters."
            )
        given = {parameter.dtype for parameter in self._parameters}
        if len(given) > 1 or not given <= set(dtypes):
            accepted = " or ".join(map(str, dtypes))
            found = ", ".join(sorted(map(str, given)))
            raise InvalidOption(
                f"{name} was given parameters of dtype {found}; it takes {accepted}, one for all"
                " parameters, because its steps come from small differences of the loss and"
                " its gradient. Convert the model with model.double(), or use torch.optim.Adam."
            )
        if len({parameter.device for parameter in self._parameters}) > 1:
            raise InvalidOption(
                f"{name} was given parameters on several devices; move the model to one device."
            )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a copy of a ``state_dict``; NumPy arrays from a file are accepted."""
        state = {
            index: {name: _plain(value) for name, value in entries.items()}
            for index, entries in state_dict["state"].items()
        }
        super().load_state_dict({**state_dict, "state": state})

    @property
    def options(self) -> dict[str, Any]:
        """Options of the method, under their argument names."""
        return self.param_groups[0]

    @property
    def size(self) -> int:
        """Number n of scalar parameters."""
        return sum(parameter.numel() for parameter in self._parameters)

    @property
    def _parameters(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    @property
    def _memory(self) -> dict[str, Any]:
        return self.state[self._parameters[0]]

    def _gather(self) -> Tensor:
        """Copy of the parameters, shape (n,)."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self._parameters])

    def _gather_gradient(self) -> Tensor:
        """Copy of the gradients, shape (n,); a parameter without gradient counts as zero."""
        return torch.cat(
            [
                (torch.zeros_like(p) if p.grad is None else p.grad.detach()).reshape(-1)
                for p in self._parameters
            ]
        )

    def _scatter(self, point: Tensor) -> None:
        """Write the vector (n,) into the parameters."""
        pieces = torch.split(point, [parameter.numel() for parameter in self._parameters])
        torch._foreach_copy_(
            [parameter.detach() for parameter in self._parameters],
            [
                piece.view_as(parameter)
                for piece, parameter in zip(pieces, self._parameters, strict=True)
            ],
        )


def _plain(value: Any) -> Tensor | float:
    """A copy as a tensor, or a float where there are no axes."""
    axes = getattr(value, "ndim", 0)
    return torch.as_tensor(value).clone() if axes else float(value)


def check_range(
    name: str, value: float, lower: float, upper: float = math.inf, closed: bool = False
) -> None:
    """Raise InvalidOption unless lower < value < upper; value = lower is accepted if closed."""
    if not (lower < value < upper or (closed and value == lower)):
        bracket = "[" if closed else "("
        raise InvalidOption(
            f"{name}={value} was given; accepted are numbers in {bracket}{lower:g}, {upper:g})."
        )
