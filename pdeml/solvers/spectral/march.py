"""The loop over time steps: what is kept, what goes wrong, what is differentiated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pdeml.errors import DivergedError, InvalidOption
from pdeml.solvers.spectral.schemes import SCHEMES, Earlier, Scheme
from pdeml.solvers.spectral.system import SemilinearSystem

STEPS_BETWEEN_CHECKS = 50
GRAPH_STEPS = 50  # fewer steps are not worth the capture of a CUDA graph
DOUBLINGS = 24  # an adaptive step is at least the interval times 2⁻²⁴
FORCED_STEPS = 100  # so many of these may err by more than the tolerance,
LARGEST_FORCED_CHANGE = 0.01  # and change the state by no more, or they may step over a pole


class BlowUp(DivergedError):
    """States became NaN or infinite before `time`.

    Attributes
    ----------
    time : of the check that saw it.
    trajectories : which of the batch.
    """

    def __init__(self, time: float, message: str, trajectories: Sequence[int] = ()):
        super().__init__(message)
        self.time, self.trajectories = time, tuple(trajectories)


@dataclass(frozen=True)
class Segment:
    """A stretch of time with one step size; every `every`-th state is kept."""

    start: float
    end: float
    steps: int
    every: int = 1


@dataclass(frozen=True)
class Snapshot:
    """A kept state: Û and N̂, each (B, C, *modes), at `time`."""

    time: float
    modes: Tensor
    nonlinear: Tensor


@dataclass(frozen=True)
class Trajectory:
    """Kept states: times (F,), Û and Û_t, each (F, B, C, *modes)."""

    times: Tensor
    modes: Tensor
    rates: Tensor


class Steps:
    """One scheme on one system at one step size h.

    Raises
    ------
    InvalidOption
        e^{hL} overflows.
    """

    def __init__(self, system: SemilinearSystem, scheme: Scheme, step: float):
        system.check_step(step)
        self.system, self.scheme, self.size = system, scheme, step
        self.functions = SimpleNamespace(
            **{name: system.function(f, step) for name, f in scheme.functions.items()}
        )

    def advance(
        self, modes: Tensor, rhs: Tensor, time: float | Tensor, earlier: Earlier = ()
    ) -> Tensor:
        """U one step later, from U and ``system.rhs`` of U at `time`."""

        def stage(state: Tensor, fraction: float) -> Tensor:
            return self.system.rhs(state, time + fraction * self.size)

        return self.scheme.step(self.functions, modes, rhs, stage, earlier)


class StepCache:
    """`Steps` of one system by scheme and step size, made when they are first needed."""

    def __init__(self, system: SemilinearSystem):
        self.system = system
        self._made: dict[tuple[str, float], Steps] = {}

    def __call__(self, scheme: Scheme, step: float) -> Steps:
        key = (scheme.name, step)
        if key not in self._made:
            self._made[key] = Steps(self.system, scheme, step)
        return self._made[key]


def march(
    cache: StepCache,
    scheme: Scheme,
    modes: Tensor,
    plan: Sequence[Segment],
    *,
    graph: bool = True,
    checkpoint_every: int | None = None,
    on_check: Callable[[float, Tensor], Tensor] | None = None,
) -> Iterator[Snapshot]:
    """Advance a state through all segments; yields the first state and each that is kept.

    Parameters
    ----------
    modes : Û at the start of the first segment, (B, C, *modes of the system's grid).
    plan : consecutive segments.
    graph : replay each step as a CUDA graph where the device has such and no gradient is asked.
    checkpoint_every : recompute stretches of so many steps in the backward pass.
    on_check : (time, Û) -> Û, called every 50 steps and where a state is kept.
    """
    system = cache.system
    rhs = system.rhs(modes, plan[0].start)
    earlier: list[tuple[Tensor, Tensor]] = []
    before = math.nan
    yield Snapshot(plan[0].start, modes, system.resolved(rhs))
    for segment in plan:
        h = (segment.end - segment.start) / segment.steps
        if not math.isclose(h, before, rel_tol=1e-10):
            earlier = []  # a multi-step scheme starts anew
        before = h
        run = _Run(cache, scheme, h, graph and segment.steps >= GRAPH_STEPS, checkpoint_every)
        done = 0
        while done < segment.steps:
            stop = min(
                segment.steps,
                (done // segment.every + 1) * segment.every,
                done + (checkpoint_every or STEPS_BETWEEN_CHECKS),
            )
            begin = segment.start + done * h
            modes, rhs, earlier = run(modes, rhs, earlier, begin, stop - done)
            done = stop
            now = segment.end if done == segment.steps else segment.start + done * h
            if on_check is not None:
                modes = on_check(now, modes)
            if done % segment.every == 0 or done == segment.steps:
                yield Snapshot(now, modes, system.resolved(rhs))


class _Run:
    """Several steps of one size in a row: plainly, as a CUDA graph, or recomputed in backward."""

    def __init__(
        self,
        cache: StepCache,
        scheme: Scheme,
        h: float,
        graph: bool,
        checkpoint_every: int | None,
    ):
        self.cache, self.scheme, self.h = cache, scheme, h
        self.steps = cache(scheme, h)
        self.starting = cache(SCHEMES["etdrk4"], h) if scheme.history else self.steps
        self.checkpoint_every = checkpoint_every
        self._graph: _StepGraph | None = None
        self._want_graph = graph and cache.system.grid.device.type == "cuda" and not scheme.history

    def __call__(
        self,
        modes: Tensor,
        rhs: Tensor,
        earlier: list[tuple[Tensor, Tensor]],
        begin: float,
        count: int,
    ) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        grad = torch.is_grad_enabled() and (
            modes.requires_grad or rhs.requires_grad or self.cache.system.requires_grad
        )
        if self._want_graph and not grad:
            if self._graph is None:
                self._graph = _StepGraph(self.steps, modes, rhs)
            return (*self._graph(modes, rhs, begin, count), earlier)
        flat = [t for pair in earlier for t in pair]
        if grad and self.checkpoint_every:
            out = checkpoint(self._plain, begin, count, modes, rhs, *flat, use_reentrant=False)
        elif grad:
            out = self._plain(begin, count, modes, rhs, *flat)
        else:
            with torch.inference_mode():  # less work per call than no_grad
                out = self._plain(begin, count, modes, rhs, *flat)
            out = tuple(t.clone() for t in out)  # plain tensors again
        pairs = out[2:]
        return out[0], out[1], list(zip(pairs[::2], pairs[1::2], strict=True))

    def _plain(
        self, begin: float, count: int, modes: Tensor, rhs: Tensor, *flat: Tensor
    ) -> tuple[Tensor, ...]:
        earlier = list(zip(flat[::2], flat[1::2], strict=True))
        needed = self.scheme.history
        for i in range(count):
            time = begin + i * self.h
            steps = self.starting if len(earlier) < needed else self.steps
            new = steps.advance(modes, rhs, time, earlier)
            if needed:
                earlier = [(modes, rhs), *earlier][:needed]
            modes, rhs = new, self.cache.system.rhs(new, time + self.h)
        return (modes, rhs, *(t for pair in earlier for t in pair))


class _StepGraph:
    """One step as a CUDA graph over fixed buffers: one launch instead of some fifty."""

    def __init__(self, steps: Steps, modes: Tensor, rhs: Tensor):
        self.modes, self.rhs = modes.clone(), rhs.clone()
        self.time = torch.zeros((), dtype=steps.system.grid.dtype, device=modes.device)

        def body() -> None:
            new = steps.advance(self.modes, self.rhs, self.time)
            self.time += steps.size
            self.rhs.copy_(steps.system.rhs(new, self.time))
            self.modes.copy_(new)

        stream = torch.cuda.Stream(modes.device)
        stream.wait_stream(torch.cuda.current_stream(modes.device))
        with torch.cuda.stream(stream), torch.no_grad():
            for _ in range(3):  # plans and workspaces are made before the capture
                body()
        torch.cuda.current_stream(modes.device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self.graph):
            body()

    def __call__(
        self, modes: Tensor, rhs: Tensor, begin: float, count: int
    ) -> tuple[Tensor, Tensor]:
        self.modes.copy_(modes)
        self.rhs.copy_(rhs)
        self.time.fill_(begin)
        for _ in range(count):
            self.graph.replay()
        return self.modes.clone(), self.rhs.clone()


def integrate(
    cache: StepCache,
    scheme: Scheme,
    modes: Tensor,
    plan: Sequence[Segment],
    on_snapshot: Callable[[float], None] | None = None,
) -> Trajectory:
    """All kept states of `march` with their rates; calls `on_snapshot` with the time of each.

    Raises
    ------
    BlowUp
        A state has a NaN or infinite entry; the message says when, and how large the steps were.
    """
    guard = Guard(max((s.end - s.start) / s.steps for s in plan))
    times, states, rates = [], [], []
    for snapshot in march(cache, scheme, modes, plan, on_check=guard):
        times.append(snapshot.time)
        states.append(snapshot.modes)
        rates.append(cache.system.rate(snapshot.modes, snapshot.nonlinear))
        if on_snapshot is not None:
            on_snapshot(snapshot.time)
    instants = torch.tensor(times, dtype=torch.float64, device=modes.device)
    return Trajectory(instants, torch.stack(states), torch.stack(rates))


class Guard:
    """Looks for NaN and infinity in a batch of states.

    Parameters
    ----------
    step : size of the steps, for the message.
    policy : ``"raise"`` a `BlowUp`, or ``"mask"``: the trajectory is NaN from then on, and the
        others go on.
    first : number of the first trajectory, where a batch is advanced in parts.

    Attributes
    ----------
    broken : time of the check that saw it, by trajectory.
    step, accepted : size of the last adaptive step, and how many were accepted.
    """

    def __init__(self, step: float, policy: str = "raise", first: int = 0):
        self.step, self.policy, self.first, self.accepted = step, policy, first, 0
        self.broken: dict[int, float] = {}

    def __call__(self, now: float, modes: Tensor) -> Tensor:
        found = [i for i in not_finite(modes) if i + self.first not in self.broken]
        return self.exclude(now, modes, found) if found else modes

    def exclude(
        self, now: float, modes: Tensor, found: Sequence[int], why: str = "became NaN or infinite"
    ) -> Tensor:
        """Raise for these trajectories, or mask them; they are counted from those given."""
        numbers = [i + self.first for i in found]
        if self.policy == "raise":
            raise BlowUp(now, self._message(numbers, len(modes), now, why), numbers)
        self.broken |= dict.fromkeys(numbers, now)
        lost = torch.zeros(len(modes), dtype=torch.bool, device=modes.device)
        lost[list(found)] = True
        return modes.masked_fill(lost.reshape(-1, *[1] * (modes.dim() - 1)), math.nan)

    def _message(self, found: Sequence[int], batch: int, now: float, why: str) -> str:
        which = ""
        if batch > 1 or self.first:
            shown = ", ".join(map(str, found[:8])) + (", …" if len(found) > 8 else "")
            noun = "trajectory" if len(found) == 1 else f"{len(found)} trajectories"
            which = f" of {noun} {shown}"
        return (
            f"The state{which} {why} before t = {now:.6g} (steps of "
            f"{self.step:.3g}). Use a smaller dt or a higher resolution, unless the solution "
            "itself blows up."
        )


def not_finite(modes: Tensor) -> list[int]:
    """The trajectories of a batch that have a NaN or infinite entry."""
    with torch.no_grad():
        if torch.isfinite(torch.view_as_real(modes.sum())).all():
            return []
        finite = torch.isfinite(torch.view_as_real(modes.resolve_conj())).flatten(1).all(1)
    return torch.nonzero(~finite)[:, 0].tolist()


def uniform_plan(times: Sequence[float], dt: float) -> list[Segment]:
    """Segments between consecutive times, with steps of at most dt that hit them."""
    return [
        Segment(a, b, steps := max(1, math.ceil((b - a) / dt * (1 - 1e-9))), steps)
        for a, b in itertools.pairwise(times)
    ]


# -------------------------------------------------------------------------------- adaptive steps


def march_adaptively(
    cache: StepCache,
    scheme: Scheme,
    modes: Tensor,
    times: Sequence[float],
    guard: Guard,
    *,
    rtol: float,
    atol: float,
) -> Iterator[Snapshot]:
    """Steps of varying size from time to time; yields the state at each.

    Parameters
    ----------
    scheme : a one-step scheme of order p.
    guard : decides what becomes of trajectories for which no step is small enough.
    rtol, atol : a step is accepted where the estimated error of each trajectory is at most
        atol + rtol |û|, norms being root sums of squares over the modes.

    Notes
    -----
    Two steps of size h are compared with one of size 2h: the difference over 2^p − 1 estimates the
    error, and N(U) at the start is shared. Step sizes are the interval between two times over
    powers of two, so that few of them need functions of hL, and each time is met.

    Raises
    ------
    InvalidOption
        A multi-step scheme.
    BlowUp
        A state became NaN or infinite, or steps of the interval times 2⁻²⁴ were too large a hundred
        times (a jump in time costs a few).
    """
    if scheme.history:
        raise InvalidOption(
            f"scheme={scheme.name!r} has a fixed step: give dt, or a one-step scheme such as "
            "'etdrk4' for adaptive steps."
        )
    system = cache.system
    rhs = system.rhs(modes, times[0])
    yield Snapshot(times[0], modes, system.resolved(rhs))
    forced = 0
    pair = (times[-1] - times[0]) / 8  # length of two steps
    for begin, end in itertools.pairwise(times):
        span = end - begin
        level = min(DOUBLINGS, max(1, math.ceil(math.log2(2 * span / pair) - 1e-9)))
        done = 0  # in units of span · 2^−DOUBLINGS
        while done < 2**DOUBLINGS:
            # pairs of steps of span · 2^−level start at multiples of their length
            unit = 2 ** (DOUBLINGS - level + 1)
            h = span * 2.0**-level
            now = begin + span * done / 2**DOUBLINGS
            fine, coarse = cache(scheme, h), cache(scheme, 2 * h)
            half = fine.advance(modes, rhs, now)
            twice = fine.advance(half, system.rhs(half, now + h), now + h)
            once = coarse.advance(modes, rhs, now)
            errors = _errors(modes, twice, once, rtol, atol) / (2**scheme.order - 1)
            error = errors.max().item()
            guard.step = h
            if error > 1 and level < DOUBLINGS:
                level += 1
                continue
            if error > 1:  # a jump in time, or an approaching singularity
                forced += 1
                twice = guard(now, twice)
                lost = (errors > 1) & (_change(modes, twice) > LARGEST_FORCED_CHANGE)
                lost = (errors > 1) if forced > FORCED_STEPS else lost
                failed = torch.nonzero(lost)[:, 0].tolist()
                if failed:
                    why = f"cannot meet rtol={rtol:g}, atol={atol:g}"
                    twice = guard.exclude(now, twice, failed, why)
            done += unit
            guard.accepted += 2
            modes = twice
            now = end if done == 2**DOUBLINGS else now + 2 * h
            rhs = system.rhs(modes, now)
            pair = 2 * h
            if error * 2.0 ** (scheme.order + 2) < 1:
                pair *= 2
                if level > 1 and done % (2 * unit) == 0:
                    level -= 1
        yield Snapshot(end, modes, system.resolved(rhs))


def _errors(start: Tensor, one: Tensor, other: Tensor, rtol: float, atol: float) -> Tensor:
    """Difference of two states over their tolerance, per trajectory.

    Infinite where one is not finite, zero where the start is not: that trajectory is lost already.
    """

    with torch.no_grad():
        ratio = _norm(one - other) / (atol + rtol * _norm(one)).clamp(min=1e-300)
        ratio = torch.nan_to_num(ratio, nan=math.inf)
        return torch.where(torch.isfinite(_norm(start)), ratio, 0.0)


def _change(start: Tensor, end: Tensor) -> Tensor:
    """Relative change of each trajectory."""
    return _norm(end - start) / _norm(start).clamp(min=1e-300)


def _norm(modes: Tensor) -> Tensor:
    return modes.detach().abs().square().flatten(1).sum(1).sqrt()
