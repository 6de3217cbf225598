"""Steady problems: damped Newton iteration on the collocation equations."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pdeml.errors import DivergedError
from pdeml.solvers.chebyshev.system import (
    ACCEPTED,
    PRECISE,
    SINGULAR,
    Block,
    Factor,
    System,
    instant,
)

ITERATIONS = 60
RELAXATIONS = 300  # steps in pseudo-time
FIRST_CHANGE = 0.1  # of the solution, per step in pseudo-time
RELAXED = 1e8  # ratio of the longest to the first step in pseudo-time
SMALLEST_STEP = 2.0**-12
CONSTANT = 1e-13  # a row of the Jacobian whose entries cancel to this ignores constants
INCOMPATIBLE = 1e-7  # of the largest source: what a pure Neumann problem may leave over


@dataclass
class Steady:
    """What Newton's iteration found.

    Attributes
    ----------
    state : (n,).
    converged : whether the corrections have become round-off.
    singular : whether the linearized problem has no unique solution.
    corrections : relative size of each.
    notes : what was fixed and what went wrong.
    """

    state: Tensor
    converged: bool = False
    singular: bool = False
    corrections: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Bordered:
    """The steady equations, with the mean fixed of each field that only enters by derivatives.

        F(Z) + Σ_f λ_f 1_f = 0,     mean of f = its mean at the start

    λ is the constant that the source lacks: zero where the data are compatible.
    """

    def __init__(self, system: System, start: Tensor):
        self.rows = system
        self.time = instant(0.0)
        n = system.grid.size
        jacobian = self._jacobian(start)
        total = jacobian.abs().sum(1)
        self.free = []
        for component in range(system.count):
            part = jacobian[:, component * n : (component + 1) * n].sum(1).abs()
            if (part <= CONSTANT * total).all():
                self.free.append(component)
        weights = system.grid.weights / system.grid.weights.sum()
        k = len(self.free)
        self.column = start.new_zeros((system.size, k))
        self.means = start.new_zeros((k, system.size))
        for j, component in enumerate(self.free):
            self.column[component * n + self.equation(component).places, j] = 1.0
            self.means[j, component * n : (component + 1) * n] = weights
        mean = self.means @ start
        # round-off of a mean is no mean
        self.source = self._source(start)
        self.target = torch.where(mean.abs() > PRECISE * start.abs().max(), mean, 0.0)

    def _jacobian(self, state: Tensor) -> Tensor:
        return self.rows.jacobians(0.0, state, torch.zeros_like(state))[0]

    def _source(self, state: Tensor) -> float:
        """Largest entry of F(0): the data; at least tiny, so that one can divide by it."""
        zero = torch.zeros_like(state)[None]
        found = self.rows.residual(self.time, zero, zero).abs().max().item()
        return max(found, 1e-300) if math.isfinite(found) else 1.0

    def residual(self, state: Tensor, extra: Tensor) -> Tensor:
        system = self.rows
        raw = system.residual(self.time, state[None], torch.zeros_like(state)[None])[0]
        return torch.cat([raw + self.column @ extra, self.means @ state - self.target])

    @property
    def nothing(self) -> Tensor:
        """λ = 0."""
        return self.column.new_zeros(len(self.free))

    def equation(self, component: int) -> Block:
        """The rows of a component at which its equation holds."""
        return next(b for b in reversed(self.rows.blocks) if b.component == component)

    def matrix(self, state: Tensor) -> Tensor:
        """The Jacobian in Z and λ."""
        k = len(self.free)
        lower = torch.cat([self.means, self.means.new_zeros((k, k))], dim=1)
        upper = torch.cat([self._jacobian(state), self.column], dim=1)
        return torch.cat([upper, lower])

    def scales(self, state: Tensor, extra: Tensor, step: Tensor) -> Tensor:
        """Size of every unknown of Z and λ, for relative corrections."""
        n = len(state)
        found = self.rows.scales(torch.stack([state, step[:n]]))
        multipliers = extra.abs() + step[n:].abs()
        # with incompatible data the solution may vanish, and only λ be left
        return torch.cat([found + multipliers.sum(), multipliers + self.source])


def solve_steady(system: System, start: Tensor) -> Steady:
    """Newton's iteration; where it fails, again after a relaxation in pseudo-time.

    Parameters
    ----------
    system : rows F(Z) = 0.
    start : (n,).

    Raises
    ------
    DivergedError
        The equations cannot be evaluated at the start.
    """
    bordered = Bordered(system, start)
    if not torch.isfinite(bordered.residual(start, bordered.nothing)).all():
        raise DivergedError(
            "The equations are not finite at the start of Newton's iteration; give initial= "
            "(values or a function of points) at which they are."
        )
    result, extra = _newton(bordered, start)
    if not result.converged and not result.singular:
        again, lift = _newton(bordered, _relaxed(bordered, start))
        if again.converged:
            result, extra = again, lift
    _judge(result, bordered, extra)
    return result


def _newton(bordered: Bordered, start: Tensor) -> tuple[Steady, Tensor]:
    """Newton's iteration, damped by the natural monotonicity test; also the multipliers λ.

    References
    ----------
    Deuflhard (2011), Newton Methods for Nonlinear Problems, §3.3.
    """
    n = len(start)
    state, extra = start, bordered.nothing
    result = Steady(start)
    right = bordered.residual(state, extra)
    for _ in range(ITERATIONS):
        factor = Factor(bordered.matrix(state))
        step = factor.solve(-right)
        if not torch.isfinite(step).all():
            break
        scale = bordered.scales(state, extra, step)
        size = _size(step, scale)
        damping = 1.0
        while True:
            trial, lift = state + damping * step[:n], extra + damping * step[n:]
            right = bordered.residual(trial, lift)
            simplified = factor.solve(-right)
            after = _size(simplified, scale)
            better = after <= (1 - damping / 4) * size
            if better or size <= ACCEPTED or damping <= SMALLEST_STEP:
                break
            damping /= 2
        result.corrections.append(size)
        if not better:
            # the corrections of a badly conditioned matrix end in round-off
            result.converged = size <= ACCEPTED
            break
        state, extra = trial, lift
        if damping == 1.0 and after <= PRECISE:
            # what the same factors still correct is round-off of theirs
            state, extra = state + simplified[:n], extra + simplified[n:]
            result.converged = True
            break
    result.state, result.singular = state, not factor.smallest() >= SINGULAR
    return result, extra


def _relaxed(bordered: Bordered, start: Tensor) -> Tensor:
    """Implicit Euler steps of ± Z' = F(Z), ever longer, towards a stable steady state.

    The sign is that for which the highest derivatives smooth.

    References
    ----------
    Kelley, Keyes (1998), SIAM J. Numer. Anal. 35, 508 (pseudo-transient continuation).
    """
    system, n = bordered.rows, len(start)
    inside = torch.zeros(n + len(bordered.free), dtype=torch.float64, device=start.device)
    for component in range(system.count):
        inside[component * system.grid.size + bordered.equation(component).places] = 1.0
    state, extra = start, bordered.nothing
    sign = torch.where(bordered.matrix(state).diagonal() > 0, 1.0, -1.0)
    right = bordered.residual(state, extra)
    size = max(start.abs().max().item(), 1e-3)
    shift = right[:n][inside[:n] > 0].abs().max().item() / (FIRST_CHANGE * size) + 1e-300
    goal = shift / RELAXED
    for _ in range(RELAXATIONS):
        matrix = bordered.matrix(state)
        step = Factor(matrix + torch.diag(shift * sign * inside)).solve(-right)
        change = _size(step, bordered.scales(state, extra, step))
        if change > 1:
            shift *= 4
            continue
        state, extra = state + step[:n], extra + step[n:]
        right = bordered.residual(state, extra)
        if not torch.isfinite(right).all():
            return start
        shift *= 0.5 if change < FIRST_CHANGE else 1.0
        if shift < goal:
            break
    return state


def _size(step: Tensor, scale: Tensor) -> float:
    """Largest entry of a correction, relative to the scales; inf for NaN."""
    found = (step.abs() / scale).max().item()
    return found if math.isfinite(found) else math.inf


def _judge(result: Steady, bordered: Bordered, extra: Tensor) -> None:
    """Note what was fixed and what went wrong."""
    names = [bordered.rows.lowered.problem.fields[c].func.__name__ for c in bordered.free]
    for name, mean in zip(names, bordered.target.tolist(), strict=True):
        result.notes.append(
            f"the conditions determine {name} up to a constant: its mean is fixed at {mean:.6g}"
        )
    if not result.converged and not result.singular:
        last = result.corrections[-1] if result.corrections else math.inf
        result.notes.append(
            f"not converged: Newton's iteration stopped with relative corrections of {last:.1e}; "
            "give initial= nearer to a solution"
        )
    if result.singular:
        result.converged = False
        result.notes.append(
            "not converged: the linearized problem is singular, so its solution is not unique or "
            "does not exist; check the conditions, or move a parameter off the eigenvalue"
        )
    for name, missing in zip(names, extra.tolist(), strict=True):
        if abs(missing) > INCOMPATIBLE * bordered.source:
            result.converged = False
            result.notes.append(
                f"not converged: the data of {name} are incompatible, sources and boundary fluxes "
                f"do not balance; {missing:.3g} was added to its equation to make a solution exist"
            )


def lifted(system: System) -> Tensor:
    """Harmonic functions with the linear conditions at zero state: where Newton's iteration starts.

    A component whose conditions leave it undetermined starts at zero.
    """
    grid, n = system.grid, system.grid.size
    state = torch.zeros(system.size, dtype=torch.float64, device=grid.device)
    twos = [tuple(2 * int(a == axis) for a in range(grid.dim)) for axis in range(grid.dim)]
    laplacian = torch.stack([grid.matrix(index) for index in twos]).sum(0)
    jacobian = system.jacobians(0.0, state, state)[0]
    residual = system.residual(instant(0.0), state[None], state[None])[0]
    for component in range(system.count):
        own = slice(component * n, (component + 1) * n)
        matrix, right = laplacian.clone(), state.new_zeros(n)
        faces = [b for b in system.blocks if b.component == component][:-1]
        for block in faces:
            rows = component * n + block.places
            matrix[block.places] = jacobian[rows, own]
            right[block.places] = -residual[rows]
        factor = Factor(matrix)
        if faces and factor.smallest() > SINGULAR:
            state[own] = factor.solve(right)
    return state
