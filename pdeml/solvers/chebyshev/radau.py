"""Radau IIA collocation in time for G(t, Z, Z') = 0, with algebraic rows among the others.

    G(t_n + c_i h, Z_i, Z'_i) = 0,     Z_i = z_n + h Σ_j a_ij Z'_j,     z_{n+1} = Z_s

Order 2s − 1, L-stable, and the conditions hold at every stage. Each step is a Newton iteration
with one Jacobian, whose s coupled systems are diagonalized: A⁻¹ = T Λ T⁻¹.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import roots_jacobi
from torch import Tensor

from pdeml.errors import UnsupportedProblem
from pdeml.solvers.chebyshev.system import ACCEPTED, PRECISE, SINGULAR, Factor, System, instant

STAGES = 5  # order 9; order 6 at least where time-dependent conditions meet a stiff equation
ITERATIONS = 15
SLOW = 7  # iterations from which a new Jacobian is worth its factors


class StepFailure(Exception):
    """Newton's iteration failed, or the state is not finite, in the step from `time`.

    `states` (F, n) are those until then.
    """

    def __init__(self, time: float, states: Tensor | None = None):
        super().__init__(f"step from t = {time:g}")
        self.time, self.states = time, states


@dataclass(frozen=True)
class Tableau:
    """Nodes c, A⁻¹ and its eigen-decomposition; conjugate pairs are kept once, with weight 2."""

    nodes: Tensor
    inverse: Tensor
    eigenvalues: list[complex]
    vectors: Tensor
    dual: Tensor


def tableau(stages: int = STAGES) -> Tableau:
    """Radau IIA with s stages (Hairer, Wanner 1996, Solving ODEs II, §IV.5)."""
    inner = (roots_jacobi(stages - 1, 1.0, 0.0)[0] + 1) / 2
    c = np.append(inner, 1.0)
    powers = np.arange(stages)
    # Σ_j a_ij c_j^k = c_i^{k+1} / (k + 1)
    vandermonde = c[:, None] ** powers
    integrals = c[:, None] ** (powers + 1) / (powers + 1)
    inverse = vandermonde @ np.linalg.inv(integrals)
    values, vectors = np.linalg.eig(inverse)
    dual = np.linalg.inv(vectors)
    kept = [k for k in range(stages) if values[k].imag >= 0]
    weight = np.array([1.0 if values[k].imag == 0 else 2.0 for k in kept])
    return Tableau(
        torch.from_numpy(c),
        torch.from_numpy(inverse),
        [complex(values[k]) for k in kept],
        torch.from_numpy(vectors[:, kept] * weight),
        torch.from_numpy(dual[kept]),
    )


@dataclass(frozen=True)
class Trajectory:
    """States and rates (F, n) at times (F,)."""

    times: Tensor
    states: Tensor
    rates: Tensor


class Integrator:
    """Steps of one system; factors are kept while they serve.

    Parameters
    ----------
    system : rows of G.
    stages : of the scheme.
    """

    def __init__(self, system: System, stages: int = STAGES):
        self.rows = system
        self.tableau = tableau(stages)
        device = system.grid.device
        self.inverse = self.tableau.inverse.to(device)
        self.vectors = self.tableau.vectors.to(device)
        self.dual = self.tableau.dual.to(device)
        self.jacobians: tuple[Tensor, Tensor] | None = None
        self.factors: list[Factor] = []
        self.factored_step = math.nan
        self.algebraic_factor: Factor | None = None

    def start(self, time: float, state: Tensor) -> tuple[Tensor, Tensor]:
        """A state that satisfies the algebraic rows, and its rate.

        Raises
        ------
        UnsupportedProblem
            The algebraic rows do not determine their unknowns (a constraint of higher index).
        """
        system = self.rows
        algebraic = ~system.differential
        rate = torch.zeros_like(state)
        for _ in range(ITERATIONS if algebraic.any() else 0):
            by_state = system.jacobians(time, state, rate)[0]
            right = system.residual(instant(time), state[None], rate[None])[0]
            factor = self._regular(by_state[algebraic][:, algebraic])
            step = torch.zeros_like(state)
            step[algebraic] = factor.solve(-right[algebraic])
            state = state + step
            if not torch.isfinite(state).all():
                raise StepFailure(time)
            scale = system.scales(state[None])
            if (step.abs() / scale).max() <= PRECISE * 100:
                break
        # the rates solve G = 0 where they enter, and the rows differentiated in time elsewhere
        by_state, by_rate = system.jacobians(time, state, rate)
        right = -system.residual(instant(time), state[None], rate[None])[0]
        right[algebraic] = -system.time_partial(time, state, rate)[algebraic]
        differential = system.differential[:, None]
        return state, self._regular(torch.where(differential, by_rate, by_state)).solve(right)

    def _regular(self, matrix: Tensor) -> Factor:
        factor = Factor(matrix)
        if not factor.smallest() > SINGULAR:
            problem = self.rows.lowered.problem
            raise UnsupportedProblem(
                f'"chebyshev" needs constraints and conditions that determine the fields without '
                f"rates at every instant, but those of {problem.name!r} do not (a constraint of "
                'higher index, such as incompressibility, or a missing condition). Use "pinn".'
            )
        return factor

    def _factorize(self, step: float, jacobians: tuple[Tensor, Tensor]) -> None:
        by_state, by_rate = jacobians
        self.factors = [
            Factor(by_state + (x.real if x.imag == 0 else x) / step * by_rate)
            for x in self.tableau.eigenvalues
        ]
        self.jacobians, self.factored_step = jacobians, step

    def _solve(self, residual: Tensor) -> Tensor:
        """Δ with (I ⊗ ∂G/∂Z + A⁻¹/h ⊗ ∂G/∂Z') Δ = residual, both (s, n)."""
        mixed = self.dual @ residual.to(self.dual.dtype)
        out = torch.zeros_like(residual)
        for k, factor in enumerate(self.factors):
            part = mixed[k] if factor.lu.is_complex() else mixed[k].real
            found = factor.solve(part)
            out += (self.vectors[:, k, None] * found).real
        return out

    def step(self, time: float, h: float, begin: Tensor, guess: Tensor) -> tuple[Tensor, Tensor]:
        """Stage values and stage rates (s, n) of one step; the last stage is its end."""
        fresh = False
        if self.jacobians is None or not (self.rows.constant or self.factors):
            self._refresh(time, h, begin, guess)
            fresh = True
        elif self.factored_step != h:
            self._factorize(h, self.jacobians)
        while True:
            found = self._newton(time, h, begin, guess)
            if found is not None:
                return found
            if fresh or self.rows.constant:
                raise StepFailure(time)
            self._refresh(time, h, begin, guess)
            fresh = True

    def _refresh(self, time: float, h: float, begin: Tensor, guess: Tensor) -> None:
        middle = guess.shape[0] // 2
        rate = (self.inverse @ (guess - begin))[middle] / h
        at = time + h * self.tableau.nodes[middle].item()
        self._factorize(h, self.rows.jacobians(at, guess[middle], rate))

    def _newton(
        self, time: float, h: float, begin: Tensor, stages: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        system = self.rows
        times = time + h * self.tableau.nodes
        before = math.inf
        for iteration in range(ITERATIONS):
            rates = self.inverse @ (stages - begin) / h
            change = self._solve(-system.residual(times, stages, rates))
            stages = stages + change
            scale = system.scales(torch.cat([stages, begin[None]]))
            size = (change.abs() / scale).max().item()
            if not math.isfinite(size):
                return None
            ratio = size / before if iteration else 0.0
            if size <= PRECISE or (0 < ratio < 0.5 and size * ratio <= PRECISE):
                break
            if ratio > 0.5 and size <= ACCEPTED:
                break
            if ratio > 2 and size > 1:
                return None
            before = size
        else:
            return None
        if iteration >= SLOW and not system.constant:
            self.factors = []
        return stages, self.inverse @ (stages - begin) / h

    def _end_rate(self, time: float, state: Tensor, rate: Tensor) -> Tensor:
        """The rate at the end of a step: algebraic unknowns by their rows differentiated in time.

        The last stage rate is exact for the others only.
        """
        algebraic = ~self.rows.differential
        if not algebraic.any():
            return rate
        if self.algebraic_factor is None or not self.rows.algebraic_constant:
            by_state = self.rows.jacobians(time, state, rate)[0][algebraic]
            self.algebraic_rows = by_state[:, ~algebraic]
            self.algebraic_factor = Factor(by_state[:, algebraic])
        right = -self.rows.time_partial(time, state, rate)[algebraic]
        right = right - self.algebraic_rows @ rate[~algebraic]
        rate = rate.clone()
        rate[algebraic] = self.algebraic_factor.solve(right)
        return rate

    def run(self, plan: Sequence[tuple[float, float, int]], state: Tensor) -> Trajectory:
        """Integrate over segments (begin, end, steps).

        Raises
        ------
        StepFailure
            A step has no solution.
        """
        state, rate = self.start(plan[0][0], state)
        times, states, rates = [plan[0][0]], [state], [rate]
        nodes = self.tableau.nodes.to(state)
        stages, last = None, math.nan
        for begin, end, count in plan:
            h = (end - begin) / count
            for k in range(count):
                time = begin + k * h
                if stages is None:
                    guess = state + h * nodes[:, None] * rate
                else:
                    guess = self._extrapolated(states[-2], stages, h / last)
                    if k == 0 and h > last:
                        guess = state + h * nodes[:, None] * rate
                try:
                    stages, stage_rates = self.step(time, h, state, guess)
                except StepFailure:
                    raise StepFailure(time, torch.stack(states)) from None
                last = h
                state = stages[-1]
                now = end if k == count - 1 else begin + (k + 1) * h
                rate = self._end_rate(now, state, stage_rates[-1])
                times.append(now)
                states.append(state)
                rates.append(rate)
        moments = torch.tensor(times, dtype=torch.float64)
        return Trajectory(moments, torch.stack(states), torch.stack(rates))

    def _extrapolated(self, begin: Tensor, stages: Tensor, ratio: float) -> Tensor:
        """The collocation polynomial of the last step at the stages of the next."""
        known = torch.cat([self.tableau.nodes.new_zeros(1), self.tableau.nodes])
        wanted = 1 + ratio * self.tableau.nodes
        gap = wanted[:, None] - known
        identity = torch.eye(len(known), dtype=torch.bool)
        span = (known[:, None] - known).masked_fill(identity, 1.0)
        weights = (gap[:, None, :] / span).masked_fill(identity, 1.0).prod(-1)
        return weights.to(stages) @ torch.cat([begin[None], stages])
