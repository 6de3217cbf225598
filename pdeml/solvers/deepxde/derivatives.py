"""Expressions in fields and their derivatives on DeepXDE's tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from pdeml.operators.expressions import Program
from pdeml.operators.residual import Residual, multi_index


class Operator:
    """A residual as a function of DeepXDE's inputs and outputs.

    Parameters
    ----------
    dde : the module.
    residual : its expressions, parameters and extra symbols are taken; the derivatives come from
        DeepXDE.
    """

    def __init__(self, dde: Any, residual: Residual):
        self.dde = dde
        self.values = tuple(residual.values.values())
        found = set().union(*(e.atoms(sp.Derivative) for e in residual.expressions))
        self.derivatives = sorted(found, key=sp.default_sort_key)
        self.places = [
            (
                residual.fields.index(d.expr),
                tuple(
                    axis
                    for axis, count in enumerate(multi_index(d, residual.coordinates))
                    for _ in range(count)
                ),
            )
            for d in self.derivatives
        ]
        self.program = Program(
            residual.expressions,
            [
                *self.derivatives,
                *residual.fields,
                *residual.coordinates,
                *residual.values,
                *residual.unknowns,
                *residual.extras,
            ],
        )

    def __call__(
        self, x: Tensor, y: Tensor, unknowns: Sequence[Any] = (), extras: Sequence[Tensor] = ()
    ) -> list[Tensor]:
        """Residuals, one column (N, 1) each; `x` (N, d), `y` (N, fields), `extras` (N, 1)."""
        known: dict[tuple[int, tuple[int, ...]], Tensor] = {}
        derivatives = [self._derivative(x, y, *place, known) for place in self.places]
        columns = self.program(
            *derivatives,
            *(y[:, i : i + 1] for i in range(y.shape[1])),
            *(x[:, i : i + 1] for i in range(x.shape[1])),
            *self.values,
            *unknowns,
            *extras,
        )
        return [
            torch.as_tensor(column, dtype=x.dtype, device=x.device).expand(len(x), 1)
            for column in columns
        ]

    def _derivative(
        self,
        x: Tensor,
        y: Tensor,
        component: int,
        axes: tuple[int, ...],
        known: dict[tuple[int, tuple[int, ...]], Tensor],
    ) -> Tensor:
        """Two orders at a time, so that derivatives of one field share their inner ones."""
        key = component, axes
        if key in known:
            return known[key]
        grad = self.dde.grad
        *inner, last = axes
        if len(axes) == 1:
            known[key] = grad.jacobian(y, x, i=component, j=last)
        elif len(axes) == 2:
            known[key] = grad.hessian(y, x, component=component, i=inner[0], j=last)
        else:
            column = self._derivative(x, y, component, axes[:-2], known)
            known[key] = grad.hessian(column, x, component=0, i=axes[-2], j=last)
        return known[key]
