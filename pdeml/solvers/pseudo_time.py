"""Pseudo-time: every step of a first-order optimizer is held near the solution before it.

    r̃_k = r_k(u_θ) + s_k w_k (u_θ − u_θ'),   θ' the weights one step earlier,
    w_k ← 0.9 w_k + 0.1 ‖r_k(u_θ) − r_k(u_θ')‖ / ‖u_θ − u_θ'‖,   10⁻² ≤ w_k ≤ 100

An implicit step of length 1/w_k of  u_τ = −s_k r_k,  which leaves equilibria that are unstable, and
reaches steady flow at Reynolds numbers where plain training settles on spurious ones. The sign s_k
is that for which the highest derivatives of the field smooth; for a constraint, that for which its
field is a pressure (artificial compressibility).

References
----------
pinn.md §2.5; Kelley, Keyes (1998), SIAM J. Numer. Anal. 35, 508 (pseudo-transient continuation);
Chorin (1967), J. Comput. Phys. 2, 12 (artificial compressibility).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from pdeml.operators.matching import matched
from pdeml.operators.pde import PDE
from pdeml.operators.residual import Residual, multi_index
from pdeml.solvers.objective import Term, Trial

MEMORY = 0.9
LEAST, MOST = 1e-2, 100.0
SHRINK_FROM, SHRINK_TO, SHRUNK = 2.0, 6.0, 0.1
"""Decades of the loss over which the weight falls to a tenth, by half a cosine."""


class PseudoTimeTerm(Term):
    """The equations of a problem with a pull towards the solution of the step before.

    Parameters
    ----------
    problem : whose equations `residual` holds.
    other parameters : see `Term`.

    Attributes
    ----------
    rates : w, one per equation.
    """

    def __init__(
        self,
        name: str,
        residual: Residual,
        trial: Trial,
        points: Tensor,
        extras: Sequence[Tensor] = (),
        weight: float = 1.0,
        *,
        problem: PDE,
    ):
        self.plain = residual
        order = matched(problem)
        own = sorted(range(len(order)), key=order.__getitem__)  # equation → field
        fields = [problem.fields[f] for f in own]
        rates, before = ([sp.Dummy() for _ in own] for _ in range(2))
        signs = _signs(problem, own)
        made = functools.partial(
            Residual,
            fields=residual.fields,
            coordinates=residual.coordinates,
            values=residual.values,
            unknowns=residual.unknowns,
        )
        self.probe = Term(name, made([*residual.expressions, *fields]), trial, points)
        rows = zip(residual.expressions, signs, rates, fields, before, strict=True)
        pulled = made([e + s * w * (f - b) for e, s, w, f, b in rows], extras=[*rates, *before])
        self.rates = points.new_zeros(len(own))
        self.first_loss = math.nan
        super().__init__(name, pulled, trial, points, extras, weight)

    def bind(self, points: Tensor, extras: Sequence[Tensor] = ()) -> None:
        """Move to another set of points; nothing pulls until `pull`."""
        self.probe.bind(points)
        zero = points.new_zeros(len(points))
        super().bind(points, [zero] * (2 * self.plain.count))

    def residuals(self, unknowns: Sequence[Tensor] = ()) -> Tensor:
        """(n, equations) of the equations alone, without gradients."""
        return self.probe.residuals(unknowns)[:, : self.plain.count]

    def pull(self, previous: Sequence[Tensor], unknowns: Sequence[Tensor]) -> None:
        """Hold the next step near the solution that the network's weights `previous` gave."""
        count = self.plain.count
        parameters = self.network.parameters
        here = self.probe.residuals(unknowns)
        kept = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p, value in zip(parameters, previous, strict=True):
                p.copy_(value)
            there = self.probe.residuals(unknowns)
            for p, value in zip(parameters, kept, strict=True):
                p.copy_(value)
        moved = (here - there).norm(dim=0)
        found = torch.where(moved[count:] > 0, moved[:count] / moved[count:], self.rates)
        started = bool(self.rates.any())
        rates = MEMORY * self.rates + (1 - MEMORY) * found if started else found
        self.rates = rates.clamp(LEAST, MOST)
        loss = float(here[:, :count].square().mean())
        if not math.isfinite(self.first_loss):
            self.first_loss = loss
        used = self.rates * shrinkage(self.first_loss, loss)
        n = len(self.points)
        self.extras = [w.expand(n).contiguous() for w in used]
        self.extras += list(there[:, count:].T.contiguous())

    def memory(self) -> dict[str, Any]:
        return {"rates": self.rates, "first_loss": self.first_loss, "extras": list(self.extras)}

    def recall(self, memory: dict[str, Any]) -> None:
        self.rates, self.first_loss = memory["rates"], memory["first_loss"]
        self.extras = list(memory["extras"])


def shrinkage(first: float, now: float) -> float:
    """Factor of the weight: 1 until the loss fell by two decades, a tenth from six on."""
    if not (first > 0 and now > 0):
        return 1.0
    part = (math.log10(first / now) - SHRINK_FROM) / (SHRINK_TO - SHRINK_FROM)
    return SHRUNK + (1 - SHRUNK) * 0.5 * (1 + math.cos(math.pi * min(max(part, 0.0), 1.0)))


def _signs(problem: PDE, own: Sequence[int]) -> list[int]:
    """s_k of every equation, whose field is number ``own[k]``."""
    slopes = [_slopes(problem, residual) for residual in problem.residuals]
    signs: list[int] = []
    for k, f in enumerate(own):
        held = {index: c for (g, index), c in slopes[k].items() if g == f}
        rate = next((c for index, c in held.items() if problem.time and index[-1]), None)
        highest = max(held, key=sum, default=None)
        if rate is not None:
            signs.append(1 if rate > 0 else -1)
        elif highest is not None and sum(highest) % 2 == 0 and held[highest]:
            # (iκ)^order c must have a positive real part for u_τ = −s r to decay
            signs.append(1 if held[highest] * (-1) ** (sum(highest) // 2) > 0 else -1)
        else:
            signs.append(0)
    for k, f in enumerate(own):
        if signs[k] == 0:
            signs[k] = _pressure_sign(slopes, own, signs, k, f)
    return signs


def _pressure_sign(
    slopes: Sequence[dict[Any, float]], own: Sequence[int], signs: Sequence[int], k: int, f: int
) -> int:
    """Waves of p_τ = −s_k D u, u_τ = −s_u G p travel where s_k s_u D G < 0 for D G = c d ∂²."""
    for j, g in enumerate(own):
        for (field, index), c in slopes[k].items():
            d = slopes[j].get((f, index), 0.0)
            if field == g and signs[j] and sum(index) == 1 and c * d:
                return signs[j] * (1 if c * d > 0 else -1)
    return 1


def _slopes(problem: PDE, residual: sp.Expr) -> dict[tuple[int, tuple[int, ...]], float]:
    """Constant coefficients of the derivatives in an equation, by (field, multi-index)."""
    expanded, found = sp.expand(residual.doit()), {}
    for derivative in expanded.atoms(sp.Derivative):
        c = expanded.coeff(derivative).subs(problem.values)
        if c.is_number and c.is_real:
            key = (
                problem.fields.index(derivative.expr),
                multi_index(derivative, problem.coordinates),
            )
            found[key] = float(c)
    return found
