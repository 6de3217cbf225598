"""The trained map back in the Eulerian frame: w(x, t) = W(ξ, t) where X(ξ, t) = x.

Newton's method finds the label. Its derivatives come from a few more steps with the Jacobian held
fixed, taken on the numbers with their derivatives: each step makes one more order of the Taylor
series of ξ(x, t) right, so w_x = W_ξ/J, w_xx … need no formula of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pdeml.errors import DivergedError
from pdeml.operators.jets import Jet, Streams, order_of, streams_of
from pdeml.solvers.lpinn.crossing import label_grid
from pdeml.solvers.objective import Trial

TOLERANCE = 1e-13
"""Largest |X(ξ, t) − x| of an inversion, relative to the period."""

ACCEPTED = 1e-11
NEWTON_STEPS = 60
AUTOGRAD_ORDER = 4
"""Derivatives that automatic differentiation may take through a value."""

BLOCK = 1 << 15


class FourierSeries(nn.Module):
    """Trigonometric interpolation on a periodic box, on tensors and jets: (N, d + 1) -> (N, m).

        u(x) = Σ_k a_k cos(κ_k·(x − x0)) + b_k sin(κ_k·(x − x0))

    Parameters
    ----------
    modes, columns : number of wave vectors and of functions; the coefficients are buffers.
    """

    def __init__(self, lower: Sequence[float], modes: int, columns: int):
        super().__init__()
        self.lower = tuple(lower)
        self.wave: Tensor
        self.cosine: Tensor
        self.sine: Tensor
        shape = {"wave": (len(self.lower), modes), "cosine": (modes, columns)}
        for name in ("wave", "cosine", "sine"):
            size = shape.get(name, (modes, columns))
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))

    @classmethod
    def of(cls, values: Tensor, lower: Sequence[float], upper: Sequence[float]) -> FourierSeries:
        """The interpolant of values (n, …, n, m) on the uniform grid without upper faces.

        Modes below round-off are left out.
        """
        d, columns = values.dim() - 1, values.shape[-1]
        axes = tuple(range(d))
        count = values.shape[0]
        spectrum = torch.fft.fftn(values.to(torch.float64), dim=axes) / count**d
        index = torch.fft.fftfreq(count, 1.0 / count, dtype=torch.float64)
        waves = torch.stack(torch.meshgrid(*([index] * d), indexing="ij"), -1).reshape(-1, d)
        spectrum = spectrum.reshape(-1, columns)
        # of k and −k one is kept: the first non-zero component is positive
        sign = torch.zeros(len(waves), dtype=torch.float64)
        for axis in range(d):
            sign = torch.where(sign == 0, waves[:, axis].sign(), sign)
        nyquist = (waves.abs() == count // 2).any(-1) & (count % 2 == 0)
        size = spectrum.abs().amax(-1)
        kept = (sign >= 0) & ~nyquist & (size > 1e-16 * size.max())
        waves, spectrum, sign = waves[kept], spectrum[kept], sign[kept]
        factor = torch.where(sign == 0, 1.0, 2.0)[:, None]
        period = torch.tensor(upper, dtype=torch.float64) - torch.tensor(lower)
        series = cls(lower, len(waves), columns)
        series.wave.copy_((2.0 * torch.pi * waves / period).T)
        series.cosine.copy_(factor * spectrum.real)
        series.sine.copy_(-factor * spectrum.imag)
        return series

    def forward(self, x):
        phase: Any = 0.0
        for axis, origin in enumerate(self.lower):
            phase = (x[..., axis : axis + 1] - origin) * self.wave[axis] + phase
        return torch.cos(phase) @ self.cosine + torch.sin(phase) @ self.sine


class LabelWindow(nn.Module):
    """X(ξ, t) and W(ξ, t) in one window of time.

    Parameters
    ----------
    trial : (ξ, t) -> displacements Y and fields W.
    drift : c̄ of X = ξ + c̄ (t − t0) + Y, per axis.
    lower, upper : of the periodic box.
    labelled : t0, when labels are positions: the start of this window or of an earlier one.
    start, end : of the window.
    """

    def __init__(
        self,
        trial: Trial,
        drift: Sequence[float],
        lower: Sequence[float],
        upper: Sequence[float],
        labelled: float,
        start: float,
        end: float,
    ):
        super().__init__()
        self.trial, self.labelled, self.start, self.end = trial, labelled, start, end
        self.dim = len(drift)
        self.drift: Tensor
        self.lower: Tensor
        self.period: Tensor
        self.register_buffer("drift", torch.tensor(drift, dtype=torch.float64))
        self.register_buffer("lower", torch.tensor(lower, dtype=torch.float64))
        period = torch.tensor(upper, dtype=torch.float64) - torch.tensor(lower, dtype=torch.float64)
        self.register_buffer("period", period)

    def forward(self, points):
        """X, then W, at (ξ, t), on tensors and jets: (N, d + 1) -> (N, d + m)."""
        out = self.trial(points)
        d = self.dim
        elapsed = points[..., d : d + 1] - self.labelled
        position = points[..., :d] + elapsed * self.drift + out[..., :d]
        return torch.cat([position, out[..., d:]], -1)

    def gradient(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """X and F = ∂X/∂ξ at (ξ, t): (N, d) and (N, d, d)."""
        d = self.dim
        units = [tuple(int(i == a) for i in range(d + 1)) for a in range(d)]
        streams = Streams(d + 1, units)
        found = []
        with torch.no_grad():
            for block in points.split(BLOCK):
                data = streams_of(self, block, streams)
                found.append(data[..., :d])
        data = torch.cat(found, 1)
        slopes = [data[streams.position(unit)] for unit in units]
        return data[0], torch.stack(slopes, -1)

    def wrapped(self, x: Tensor) -> Tensor:
        """The copy of x inside the periodic box."""
        return x - torch.floor((x - self.lower) / self.period) * self.period

    def labels(self, points: Tensor) -> Tensor:
        """ξ with X(ξ, t) = x for points (x, t), inside the box: (N, d).

        Raises
        ------
        DivergedError
            Where no label is found: characteristics have crossed.
        """
        with torch.no_grad():
            found = [self._labels(block) for block in points.split(BLOCK)]
        return torch.cat(found) if found else points[:, : self.dim]

    def _defect(self, labels: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """X − x modulo the period, and F."""
        d = self.dim
        position, F = self.gradient(torch.cat([labels, points[:, d:]], -1))
        defect = position - points[:, :d]
        return defect - torch.round(defect / self.period) * self.period, F

    def _labels(self, points: Tensor) -> Tensor:
        d = self.dim
        elapsed = points[:, d:] - self.labelled
        labels = self.wrapped(points[:, :d] - elapsed * self.drift)
        labels = self._bracketed(labels, points) if d == 1 else self._damped(labels, points)
        defect, _ = self._defect(labels, points)
        worst = float((defect / self.period).abs().max()) if len(points) else 0.0
        if not worst <= ACCEPTED:
            where = int((defect / self.period).abs().amax(-1).nan_to_num(nan=1e9).argmax())
            raise DivergedError(
                f"no label is found for the point {points[where].tolist()}: |X − x| stays at "
                f"{float(defect[where].abs().max()):.1e}. Characteristics have crossed there; "
                "train longer, or use windows=."
            )
        return self.wrapped(labels)

    def _bracketed(self, start: Tensor, points: Tensor) -> Tensor:
        """Newton's method in one dimension, kept inside a bracket: X grows with ξ."""
        grid = torch.linspace(0.0, 1.0, 257, dtype=start.dtype, device=start.device)
        labels = self.lower + grid[:, None] * self.period
        times = torch.linspace(self.start, self.end, 17, dtype=start.dtype, device=start.device)
        table = torch.cartesian_prod(labels[:, 0], times)
        reach = 1.5 * self.trial(table)[:, :1].abs().max() + 1e-3 * self.period
        low, high = start - reach, start + reach
        labels = start.clone()
        active = torch.arange(len(start), device=start.device)
        for _ in range(NEWTON_STEPS):
            here, at = labels[active], points[active]
            # not modulo the period: the sign tells on which side the root lies
            position, F = self.gradient(torch.cat([here, at[:, 1:]], -1))
            origin = at[:, :1] - (at[:, 1:] - self.labelled) * self.drift
            defect = position - at[:, :1] + (origin - start[active])
            J = F[:, :, 0]
            high[active] = torch.where(defect > 0, here, high[active])
            low[active] = torch.where(defect > 0, low[active], here)
            step = here - defect / J
            inside = (step >= low[active]) & (step <= high[active])
            middle = 0.5 * (low[active] + high[active])
            labels[active] = torch.where(inside, step, middle)
            active = active[(defect.abs() > TOLERANCE * self.period)[:, 0]]
            if not len(active):
                break
        return labels

    def _damped(self, start: Tensor, points: Tensor) -> Tensor:
        """Newton's method with halved steps; what does not converge starts from a near label."""
        labels = self._newton(start, points)
        defect, _ = self._defect(labels, points)
        lost = ~((defect / self.period).abs().amax(-1) <= ACCEPTED)
        if lost.any():
            labels[lost] = self._newton(self._nearest(points[lost]), points[lost])
        return labels

    def _newton(self, labels: Tensor, points: Tensor) -> Tensor:
        labels = labels.clone()
        active = torch.arange(len(labels), device=labels.device)
        defect, F = self._defect(labels, points)
        for _ in range(NEWTON_STEPS):
            size = (defect / self.period).norm(dim=-1)
            going = ~(size <= TOLERANCE)
            active, defect, F, size = active[going], defect[going], F[going], size[going]
            if not len(active):
                break
            step = torch.linalg.solve(F, defect[..., None])[..., 0]
            scale = torch.ones_like(size)
            old = labels[active]
            for _ in range(8):
                labels[active] = old - scale[:, None] * step
                new, slope = self._defect(labels[active], points[active])
                worse = (new / self.period).norm(dim=-1) > size
                if not worse.any():
                    break
                scale = torch.where(worse, 0.5 * scale, scale)
            stuck = worse & (size < ACCEPTED)
            labels[active[stuck]] = old[stuck]
            defect, F = new, slope
            active, defect, F = active[~stuck], defect[~stuck], F[~stuck]
        return labels

    def _nearest(self, points: Tensor) -> Tensor:
        """The label of a coarse grid whose position is nearest, per point."""
        d = self.dim
        upper = self.lower + self.period
        grid = label_grid(self.lower.tolist(), upper.tolist(), 32).to(points)
        found = []
        for point in points:
            table = torch.cat([grid, point[d:].expand(len(grid), 1)], -1)
            defect = self(table)[:, :d] - point[:d]
            defect = defect - torch.round(defect / self.period) * self.period
            found.append(grid[(defect / self.period).norm(dim=-1).argmin()])
        return torch.stack(found)

    def eulerian(self, points):
        """w(x, t) on tensors and jets: (N, d + 1) -> (N, m)."""
        d = self.dim
        value = points.value if isinstance(points, Jet) else points.detach()
        labels = self.labels(value)
        order = _order(points)
        if not order:
            return self(torch.cat([labels, value[:, d:]], -1))[..., d:]
        defect, F = self._defect(labels, value)
        inverse = torch.linalg.inv(F)
        # whole periods between X and x, which the derivatives do not see
        here = self.gradient(torch.cat([labels, value[:, d:]], -1))[0]
        target = points[..., :d] + (here - defect - value[:, :d])
        time = points[..., d : d + 1]
        xi: Any = points[..., :d] * 0.0 + labels
        for _ in range(order):
            defect = self(torch.cat([xi, time], -1))[..., :d] - target
            columns = [
                sum(
                    (defect[..., j : j + 1] * inverse[:, i, j : j + 1] for j in range(d)),
                    start=defect[..., :1] * 0.0,
                )
                for i in range(d)
            ]
            xi = xi - torch.cat(columns, -1)
        return self(torch.cat([xi, time], -1))[..., d:]


def _order(points: Any) -> int:
    """Derivatives that are wanted of a value."""
    if isinstance(points, Jet):
        streams = points.streams
        return max(order_of(a) for s in range(len(streams)) for a, _ in streams.terms(s))
    return AUTOGRAD_ORDER if torch.is_grad_enabled() and points.requires_grad else 0


class LagrangianField(nn.Module):
    """Eulerian field of windows in time, (N, d + 1) -> (N, m), on tensors and jets."""

    def __init__(self, windows: Sequence[LabelWindow]):
        super().__init__()
        self.windows: Any = nn.ModuleList(windows)

    def forward(self, points):
        if len(self.windows) == 1:
            return self.windows[0].eulerian(points)
        value = points.value if isinstance(points, Jet) else points
        time = value[:, -1].detach().contiguous()
        starts = torch.tensor([w.start for w in self.windows[1:]], dtype=time.dtype)
        which = torch.bucketize(time, starts.to(time.device), right=True)
        order, parts = [], []
        for number, window in enumerate(self.windows):
            chosen = (which == number).nonzero()[:, 0]
            if not len(chosen):
                continue
            order.append(chosen)
            if isinstance(points, Jet):
                own = [c[chosen] if isinstance(c, Tensor) else c for c in points.coefficients]
                part = Jet(points.data[:, chosen], points.streams, own)
                parts.append(window.eulerian(part).data)
            else:
                parts.append(window.eulerian(points[chosen]))
        back = torch.argsort(torch.cat(order))
        if isinstance(points, Jet):
            return points.new(torch.cat(parts, 1)[:, back])
        return torch.cat(parts)[back]

    def characteristics(self, labels: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Positions and fields of labels at times: (times, labels, d) and (times, labels, m).

        Labels are positions at the start; a later window that was labelled anew is entered at the
        position that the window before ends with.
        """
        with torch.no_grad():
            positions, states = [], []
            for time in times.tolist():
                here = labels
                for number, window in enumerate(self.windows):
                    last = number + 1 == len(self.windows) or time < window.end
                    at = torch.full_like(here[:, :1], min(time, window.end))
                    out = window(torch.cat([window.wrapped(here), at], -1))
                    turns = torch.floor((here - window.lower) / window.period) * window.period
                    position = out[:, : window.dim] + turns
                    if last:
                        break
                    following = self.windows[number + 1]
                    if following.labelled == following.start:
                        here = position
                positions.append(position)
                states.append(out[:, window.dim :])
            return torch.stack(positions), torch.stack(states)
