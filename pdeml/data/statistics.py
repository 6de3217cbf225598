"""Mean, standard deviation and extremes of each channel, and of its change from frame to frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pdeml.data.layout import STATISTICS

if TYPE_CHECKING:
    from pdeml.data.dataset import Dataset


def statistics(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Statistics of all values of a view, by channel, in float64; NaN of an empty one.

    Returns
    -------
    dict
        Channel → mean, std, min, max, delta_mean, delta_std (the last two of u(t_{n+1}) − u(t_n);
        NaN where there is one time). Of complex values, those of the modulus.

    Notes
    -----
    Means and squares of samples are combined by the pairwise update of Chan, Golub and LeVeque
    (1983), so that a large mean does not cancel.
    """
    out = {}
    for name in dataset.fields:
        info = dataset.field(name)
        values, deltas = (
            [_Moments() for _ in info.components],
            [_Moments() for _ in info.components],
        )
        for sample in range(len(dataset)):
            window = dataset.read(sample, fields=name)[0].numpy()
            if np.iscomplexobj(window):
                window = abs(window)
            for channel, _ in enumerate(info.components):
                frames = window[:, channel].astype(np.float64)
                values[channel].add(frames)
                if not info.static and len(frames) > 1:
                    deltas[channel].add(np.diff(frames, axis=0))
        for component, v, d in zip(info.components, values, deltas, strict=True):
            figures = (v.mean, v.std, v.low, v.high, d.mean, d.std)
            out[component] = dict(zip(STATISTICS, figures, strict=True))
    return out


class _Moments:
    def __init__(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._low, self._high = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        mean, total = float(values.mean()), self._count + values.size
        gap = mean - self._mean
        self._squares += float(((values - mean) ** 2).sum())
        self._squares += gap**2 * self._count * values.size / total
        self._mean += gap * values.size / total
        self._count = total
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))

    @property
    def mean(self) -> float:
        return self._mean if self._count else np.nan

    @property
    def std(self) -> float:
        return float(np.sqrt(self._squares / self._count)) if self._count else np.nan

    @property
    def low(self) -> float:
        return self._low if self._count else np.nan

    @property
    def high(self) -> float:
        return self._high if self._count else np.nan


def stored_statistics(path: Path) -> dict[str, list[float]]:
    """The statistics of a file of the own layout, by the names that it keeps them under."""
    from pdeml.data.dataset import Dataset
    from pdeml.data.handles import release
    from pdeml.data.readers.native import Native

    release(path)
    figures = statistics(Dataset(Native.at(path))).values()
    release(path)
    return {f"stats/{name}": [f[name] for f in figures] for name in STATISTICS}
