"""Fields that are another module in every window of time, on tensors and on jets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pdeml.nn.networks import CoordinateEmbedding
from pdeml.operators.jets import Jet
from pdeml.operators.pde import PDE, Initial
from pdeml.solvers.constraints import Constraints, time_of
from pdeml.solvers.level import Level, Levelled


def by_time(points: Any, starts: Sequence[float], pieces: Sequence[Callable[[Any], Any]]) -> Any:
    """Values of the piece whose window holds the time (last column) of a point.

    Parameters
    ----------
    points : (N, d), or a jet.
    starts : of every piece but the first, ascending; a start belongs to the later piece.
    pieces : one function per window, (n, d) -> (n, m).
    """
    if len(pieces) == 1:
        return pieces[0](points)
    value = points.value if isinstance(points, Jet) else points
    time = value[:, -1].detach().contiguous()
    which = torch.bucketize(time, torch.tensor(starts).to(time), right=True)
    order, parts = [], []
    for number, piece in enumerate(pieces):
        chosen = (which == number).nonzero()[:, 0]
        if not len(chosen):
            continue
        order.append(chosen)
        if isinstance(points, Jet):
            own = [c[chosen] if isinstance(c, Tensor) else c for c in points.coefficients]
            parts.append(piece(Jet(points.data[:, chosen], points.streams, own)).data)
        else:
            parts.append(piece(points[chosen]))
    back = torch.argsort(torch.cat(order))
    if isinstance(points, Jet):
        return points.new(torch.cat(parts, 1)[:, back])
    return torch.cat(parts)[back]


class PiecewiseField(nn.Module):
    """One trial solution per window of time.

    Parameters
    ----------
    windows : trial solutions, in order.
    starts : times at which all but the first begin.
    """

    def __init__(self, windows: Sequence[nn.Module], starts: Sequence[float]):
        super().__init__()
        self.windows = nn.ModuleList(windows)
        self.starts = list(starts)

    def forward(self, points):
        return by_time(points, self.starts, list(self.windows))


class Continued(nn.Module):
    """Lift of a window that starts where the one before ended.

        g_k(x, t) = g(x, t) + u_{k−1}(x, t_k) − g(x, t_k)

    It is u_{k−1} at t_k, and has the boundary values that are built into g.

    Parameters
    ----------
    before : u_{k−1}; not a part of this module: it is trained and stored by itself.
    lift : g of the whole problem; None for g = 0.
    start : t_k.
    """

    def __init__(self, before: nn.Module, lift: nn.Module | None, start: float):
        super().__init__()
        self._before = (before,)
        self.lift = lift
        self.start = start

    def forward(self, x):
        at_start = torch.cat([x[..., :-1], x[..., -1:] * 0.0 + self.start], -1)
        value = self._before[0](at_start)
        return value if self.lift is None else value + self.lift(x) - self.lift(at_start)


class Progress(nn.Module):
    """Factor of a window: that of the whole problem, counted from the start of the window.

        B_k(x, t) = B(x, t_0 + τ T),  times τ for fields whose start B leaves open,
        τ = (t − t_k)/(t_{k+1} − t_k)

    Parameters
    ----------
    factor : B = (t − t_0)/T Π(x) per field, or Π(x); None for 1.
    open_start : fields whose start B leaves open.
    whole, window : (start, end) of all time and of the window.
    """

    def __init__(
        self,
        factor: nn.Module | None,
        open_start: Sequence[bool],
        whole: tuple[float, float],
        window: tuple[float, float],
    ):
        super().__init__()
        self.factor, self.open_start = factor, tuple(open_start)
        self.whole, self.window = whole, window

    def forward(self, x):
        tau = (x[..., -1:] - self.window[0]) * (1.0 / (self.window[1] - self.window[0]))
        own = torch.cat([tau if o else tau * 0.0 + 1.0 for o in self.open_start], -1)
        if self.factor is None:
            return own
        moved = tau * (self.whole[1] - self.whole[0]) + self.whole[0]
        return own * self.factor(torch.cat([x[..., :-1], moved], -1))


@dataclass(frozen=True)
class Before:
    """Where a window of time starts: the problem over all time, and the trial of the last window.

    The state at the start is built in: u = g_k + B_k N with `Continued` and `Progress`.
    """

    whole: PDE
    trial: nn.Module

    def constraints(self, built: Constraints, window: PDE) -> Constraints:
        """Constraints of a window from those of the whole problem."""
        own, all_time = time_of(window), time_of(self.whole)
        starts = {c.field for c in built.soft if isinstance(c, Initial)}
        lower, upper = window.domain.bounds
        if isinstance(built.base, Levelled):
            continued = Continued(self.trial, built.base.lift, own.start)
            base: nn.Module = Levelled(continued, Level(window))
        else:
            base = Continued(self.trial, built.base, own.start)
        return Constraints(
            CoordinateEmbedding(
                lower,
                upper,
                periodic=sorted(built.embedding.periodic),
                harmonics=built.embedding.harmonics,
            ),
            base,
            Progress(
                built.factor,
                [f in starts for f in self.whole.fields],
                (all_time.start, all_time.end),
                (own.start, own.end),
            ),
            [c for c in built.soft if not isinstance(c, Initial)],
            built.notes,
        )
