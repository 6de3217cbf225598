"""One time step of a declared problem as a torch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.errors import InvalidDataset, InvalidOption
from pdeml.solvers.options import checked_resolution, checked_step
from pdeml.solvers.spectral.lowering import (
    checked_dtype,
    checked_stretch,
    lowered,
    numbers,
    real_fields,
    warn_of_stiff_terms,
)
from pdeml.solvers.spectral.march import BlowUp, Guard, Segment, StepCache, march
from pdeml.solvers.spectral.schemes import FULL, find_scheme
from pdeml.solvers.spectral.system import SemilinearSystem


class Stepper(nn.Module):
    """One step of size dt of a semilinear periodic problem, batched and differentiable.

        U(t) -> U(t + dt),   U_t = L U + N(U, t)

    Parameters
    ----------
    problem : a `pdeml.PDE` on a periodic box of one to three space coordinates.
    resolution : points per space axis, an integer or one per axis.
    dt : step size.
    scheme : ``"etdrk4"`` (default), ``"etdrk3"``, ``"etdrk2"``, ``"etd1"``, ``"ifrk4"``,
        ``"cnab2"``, ``"sbdf2"``, ``"sbdf3"``, ``"cn_euler"``.
    dealias : ``"auto"`` (by the degree of the products), ``"2/3"``, ``"1/2"``, ``"3/2-pad"``, None.
    mode : ``"galerkin"`` drops the modes that are not de-aliased, ``"full"`` lets them evolve
        linearly.
    parameters : values that replace those of the declaration, by name or `Parameter`; a tensor (B,)
        gives each trajectory its own. Where one requires gradients, `transform` (and with it the
        module itself and `rollout`) evaluates the functions of dt L anew.
    device, dtype : ``"float64"`` or ``"float32"``; functions of dt L are computed in float64.

    Attributes
    ----------
    channels : names of the evolved variables, the channels of a state, in their order. An equation
        of second order in time has ``u`` and ``u_t``; a field without a time derivative (stream
        function, pressure) is not part of the state (see `fields`).

    Raises
    ------
    UnsupportedProblem
        A term or condition cannot be lowered; the message names it.
    InvalidOption
        An option is not accepted, or e^{dt L} overflows.

    Notes
    -----
    Values have shape (B, C, *resolution); modes û with u = Σ û_k e^{ikx} have shape
    (B, C, *kept modes) and are what `transform` gives. Calling the module transforms there and
    back; many steps are cheaper by `hat` or `rollout`, which stay in Fourier space.

    Examples
    --------
    >>> step = pdeml.Stepper(pdeml.problems.kuramoto_sivashinsky(), 256, dt=0.25)
    >>> u = step(u)
    """

    def __init__(
        self,
        problem: Any,
        resolution: int | Sequence[int],
        dt: float,
        *,
        scheme: str = "etdrk4",
        dealias: str | None = "auto",
        mode: str = "galerkin",
        parameters: Mapping[Any, float | Tensor] | None = None,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype = "float64",
    ):
        super().__init__()
        self.scheme = find_scheme(scheme)
        problem, self._values = numbers(problem, parameters)
        self.problem, self.split = problem, lowered(problem)
        warn_of_stiff_terms(self.split)
        self.dt = checked_step(dt)
        self.resolution = checked_resolution(resolution, len(problem.space_coordinates))
        self._options: dict[str, Any] = {"dealias": dealias, "mode": mode}
        self._build(engine.resolve_device(device), checked_dtype(dtype))

    def _build(self, device: torch.device, dtype: torch.dtype) -> None:
        self.system = self._system(device, dtype)
        self.steps = StepCache(self.system)
        self.steps(self.scheme, self.dt)  # errors of the step are found now
        self._paired: StepCache | None = None

    def _system(
        self, device: torch.device, dtype: torch.dtype, paired: bool = False
    ) -> SemilinearSystem:
        lower, upper = self.problem.domain.space.bounds
        return SemilinearSystem(
            self.split,
            {p: v.to(device) if isinstance(v, Tensor) else v for p, v in self._values.items()},
            lower,
            [b - a for a, b in zip(lower, upper, strict=True)],
            self.resolution,
            real=real_fields(self.problem),
            device=device,
            dtype=dtype,
            paired=paired,
            **self._options,
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Stepper:
        # .to(), .cuda(), .float() …: what depends on dt L is made anew from float64
        super()._apply(fn, recurse)
        grid = self.system.grid
        moved = fn(torch.zeros(0, dtype=grid.dtype, device=grid.device))
        if (moved.device, moved.dtype) != (grid.device, grid.dtype):
            self._build(moved.device, checked_dtype(moved.dtype))
        return self

    @property
    def paired(self) -> StepCache:
        """The steps of two real trajectories in one complex state, where the system is pairable."""
        if self._paired is None:
            grid = self.system.grid
            self._paired = StepCache(self._system(grid.device, grid.dtype, paired=True))
        return self._paired

    def extra_repr(self) -> str:
        points = "×".join(map(str, self.resolution))
        return f"{self.problem.name}, {points} points, dt={self.dt:g}, {self.scheme.name}"

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(
            s.func.__name__ if s in self.split.fields else f"{s.expr.func.__name__}_{'t' * n}"
            for s in self.split.state
            for n in [0 if s in self.split.fields else int(s.variable_count[0][1])]
        )

    # ------------------------------------------------------------------------------- transforms

    def transform(self, values: Tensor) -> Tensor:
        """Modes (B, C, *kept modes) of values (B, C, *resolution).

        Raises
        ------
        InvalidOption, InvalidDataset
            Another shape, or complex values of a real problem; NaN or infinite values.
        """
        if self.system.requires_grad and torch.is_grad_enabled():
            # parameters may have changed, and a graph can be differentiated once
            self._build(self.system.grid.device, self.system.grid.dtype)
        grid = self.system.grid
        expected = (len(self.split.state), *self.resolution)
        if values.dim() != grid.dim + 2 or tuple(values.shape[1:]) != expected:
            raise InvalidOption(
                f"values has shape {tuple(values.shape)}; give (B, "
                f"{', '.join(map(str, expected))}): channels {', '.join(self.channels)} on "
                f"{'×'.join(map(str, self.resolution))} points, the right end left out."
            )
        if values.is_complex() and grid.real:
            raise InvalidOption(
                f"values is complex, but the fields of {self.problem.name!r} are real. Give "
                "a real tensor."
            )
        families = {len(v) for v in self._values.values() if isinstance(v, Tensor) and v.dim()}
        if families:
            (batch,) = families
            if len(values) not in (1, batch):
                raise InvalidOption(
                    f"values holds {len(values)} trajectories, but parameters= are {batch}; give "
                    "as many, or one."
                )
            values = values.expand(batch, *values.shape[1:])
        if not torch.isfinite(values.detach().abs().sum()):
            raise InvalidDataset("values has NaN or infinite entries; give finite ones.")
        kind = grid.dtype if grid.real else grid.dtype.to_complex()
        modes, _ = self.system.admissible(grid.forward(values.to(grid.device, kind)))
        return modes

    def inverse_transform(self, modes: Tensor) -> Tensor:
        """Values (B, C, *resolution) of modes."""
        return self.system.grid.inverse(modes)

    def fields(self, modes: Tensor, time: float | None = None) -> Tensor:
        """Values (B, m, *resolution) of all declared fields, in the order of the declaration."""
        return self.system.grid.inverse(self.system.fields(modes, self._start(time)))

    # ------------------------------------------------------------------------------- steps

    def _start(self, time: float | None) -> float:
        return self.problem.domain.time.start if time is None else time

    def forward(self, values: Tensor, time: float | None = None) -> Tensor:
        """Values one step later.

        Parameters
        ----------
        values : (B, C, *resolution).
        time : of the values, where the problem depends on it; the declared start by default.
        """
        return self.inverse_transform(self.hat(self.transform(values), time))

    def hat(self, modes: Tensor, time: float | None = None) -> Tensor:
        """Modes one step later; see `transform`.

        A multi-step scheme has no earlier steps here: it takes its starting step, by ETDRK4. Use
        `rollout` for it.
        """
        start = self._start(time)
        scheme = find_scheme("etdrk4") if self.scheme.history else self.scheme
        return self.steps(scheme, self.dt).advance(modes, self.system.rhs(modes, start), start)

    def rollout(
        self,
        values: Tensor,
        steps: int,
        *,
        every: int = 1,
        time: float | None = None,
        checkpoint_every: int | None = None,
        graph: bool = True,
    ) -> Tensor:
        """Values after every `every`-th of a number of steps.

        Parameters
        ----------
        values : (B, C, *resolution) at the start.
        steps : a multiple of `every`.
        checkpoint_every : recompute stretches of so many steps in the backward pass, instead of
            keeping them in memory.
        graph : replay steps as a CUDA graph, on CUDA and where no gradient is asked.

        Returns
        -------
        Tensor (B, steps / every, C, *resolution)

        Raises
        ------
        BlowUp
            A state became NaN or infinite; `trajectories` says which.
        """
        for name, number in (("steps", steps), ("every", every)):
            if not isinstance(number, int) or number < 1:
                raise InvalidOption(f"{name}={number!r}: give a positive integer.")
        if steps % every:
            raise InvalidOption(f"steps={steps} is no multiple of every={every}.")
        start = self._start(time)
        plan = [Segment(start, start + steps * self.dt, steps, every)]
        modes = self.transform(values)
        chunk = len(modes)
        plain = not any(isinstance(v, Tensor) for v in self._values.values())
        if plain and not modes.requires_grad and modes.device.type == "cpu":
            chunk = min(chunk, self.system.cached_batch)
        parts, first, stretch = [], 0, checked_stretch(checkpoint_every)
        for part in modes.split(chunk):
            even = len(part) - len(part) % 2
            if self.system.pairable and even and not (part.requires_grad or self.scheme.history):
                try:
                    parts.append(self._paired_rollout(part[:even], plan))
                    part, first = part[even:], first + even
                except BlowUp:
                    pass  # again, one by one, to tell which
            if not len(part):
                continue
            path = march(
                self.steps,
                self.scheme,
                part,
                plan,
                on_check=Guard(self.dt, first=first),
                checkpoint_every=stretch,
                graph=graph,
            )
            next(path)  # the start
            parts.append(torch.stack([self.inverse_transform(s.modes) for s in path], 1))
            first += len(part)
        return torch.cat(parts)

    def _paired_rollout(self, modes: Tensor, plan: Sequence[Segment]) -> Tensor:
        """`rollout` of an even number of real trajectories, two of them in one complex state."""
        system = self.paired.system
        values = self.inverse_transform(modes)
        pairs = system.grid.forward(torch.complex(values[::2], values[1::2]))
        kept = system.grid.within(self.system.grid.kept or ())
        path = march(self.paired, self.scheme, pairs * kept, plan, on_check=Guard(self.dt))
        next(path)  # the start
        both = torch.stack([system.grid.inverse(s.modes) for s in path], 1)
        return torch.stack([both.real, both.imag], 1).flatten(0, 1)

    def propagator(self, dt: float | None = None) -> Tensor:
        """e^{dt L}: (C, *kept modes), or (C, C, *kept modes) where L couples the channels.

        Parameters
        ----------
        dt : the step by default. A batch of parameters adds a first axis.
        """
        return self.system.function(FULL, self.dt if dt is None else checked_step(dt)).values
