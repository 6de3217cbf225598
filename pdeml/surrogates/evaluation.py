"""How good a surrogate is on data: errors of one step, of roll-outs, and against persistence."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeml.errors import DatasetMismatch, InvalidDataset, InvalidOption
from pdeml.surrogates import metrics, model_file
from pdeml.surrogates.normalisation import not_finite
from pdeml.surrogates.surrogate import Surrogate, Task, parameters_of

if TYPE_CHECKING:
    from pdeml.data.dataset import Dataset

BLOWN_UP = 1e2  # nRMSE beyond which a roll-out counts as lost


@dataclass
class Evaluation:
    """Errors of a surrogate on a data set.

    Attributes
    ----------
    one_step : metric → mean over samples, times and channels (of ``crmse`` the root mean square, of
        ``max`` the largest); ``spectral_low``, … are the bins of the mean square error.
    by_channel : nRMSE of one step by channel.
    persistence : nRMSE of "nothing changes" over one step, the bar that every model must pass.
    times : of the roll-out's steps, from its start.
    rollout : nRMSE(t), correlation(t), persistence(t), drift of conserved quantities(t): means over
        samples and channels.
    correlation_time : mean over samples and channels; `censored` is the part that never fell.
    summary : scalars of the roll-out: gmean100, blown_up, wasserstein.
    truth, prediction : first sample of the roll-out, (T, C, *space), its start in front.
    spectra : power spectra of truth and prediction at the final time, (shells,) by channel.
    samples, points : what was evaluated.
    identity : of the data.
    """

    one_step: dict[str, float]
    by_channel: dict[str, float]
    persistence: float
    times: Tensor
    rollout: dict[str, Tensor]
    correlation_time: float
    censored: float
    summary: dict[str, float]
    truth: Tensor
    prediction: Tensor
    spectra: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    samples: int = 0
    identity: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the fields, as plain data."""
        return {
            "one_step": self.one_step,
            "by_channel": self.by_channel,
            "persistence": self.persistence,
            "times": self.times.tolist(),
            "rollout": {k: v.tolist() for k, v in self.rollout.items()},
            "correlation_time": self.correlation_time,
            "censored": self.censored,
            **self.summary,
            "samples": self.samples,
            "data": self.identity,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Figures with their names, for a table."""
        out = [(_LABELS.get(k, k), _figure(v)) for k, v in self.one_step.items()]
        out.append(("nRMSE of persistence, one step", _figure(self.persistence)))
        if len(self.times):
            last = float(self.times[-1])
            out += [
                (f"nRMSE at t = {last:.4g}", _figure(float(self.rollout["nrmse"][-1]))),
                ("time of correlation > 0.8", self._correlation()),
                ("geometric mean of nRMSE, first 100 steps", _figure(self.summary["gmean100"])),
                ("W₁ of values at the final time", _figure(self.summary["wasserstein"])),
                ("roll-outs lost", f"{int(self.summary['blown_up'])} of {self.samples}"),
            ]
        return out

    def _correlation(self) -> str:
        told = f"{self.correlation_time:.4g}"
        return f"≥ {told} ({self.censored:.0%} never fell)" if self.censored else told


_LABELS = {
    "nrmse": "nRMSE, one step",
    "rmse": "RMSE",
    "vrmse": "VRMSE",
    "h1": "relative H¹ error",
    "max": "largest error",
    "crmse": "cRMSE (mean)",
    "brmse": "bRMSE (boundary)",
    "frmse_low": "fRMSE, |k| < 4",
    "frmse_middle": "fRMSE, 4 ≤ |k| < 12",
    "frmse_high": "fRMSE, |k| ≥ 12",
    "spectral_low": "MSE, low third of the spectrum",
    "spectral_middle": "MSE, middle third",
    "spectral_high": "MSE, high third",
}


def _figure(value: float) -> str:
    return "empty band" if math.isnan(value) else f"{value:.3e}"


class _Means:
    """Means of metrics over batches as (sum, count), so that a smaller last batch is exact."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, values: Tensor) -> None:
        known = values[~values.isnan()].double()
        self._sums[name] = self._sums.get(name, 0.0) + float(known.sum())
        self._counts[name] = self._counts.get(name, 0) + known.numel()

    def mean(self, name: str) -> float:
        return self._sums[name] / self._counts[name] if self._counts.get(name) else math.nan


@torch.no_grad()
def evaluate(
    surrogate: Surrogate | str | os.PathLike[str],
    data: Dataset | str | os.PathLike[str],
    *,
    steps: int | None = None,
    batch: int = 32,
    device: str | torch.device = "auto",
) -> Evaluation:
    """Measure a surrogate against data.

    Parameters
    ----------
    surrogate : trained, or a model file, or the folder of a run (its best model).
    data : test samples; of a path, the stored test split, else all samples.
    steps : of the roll-outs from the first frames of each sample; as many as the data have.
    batch : windows or samples at a time.
    device : ``"auto"``, ``"cpu"``, ``"cuda"``, …

    Returns
    -------
    Evaluation

    Raises
    ------
    DatasetMismatch
        The data do not fit the surrogate; what differs is named.
    InvalidDataset
        No samples, or values that are not finite.

    Notes
    -----
    A loss is no error: the figures are those of `pdeml.surrogates.metrics` in physical units, and
    "nothing changes" stands beside them.
    """
    from pdeml import engine
    from pdeml.data.opening import open as open_dataset

    target = engine.resolve_device(device)
    trained = surrogate if isinstance(surrogate, Surrogate) else model_file.load(surrogate)
    if isinstance(data, str | os.PathLike):
        data = held_out(open_dataset(data))
    _refuse(trained, data, batch)
    trained = trained.to(target).eval()
    one_step, by_channel, still = _one_step(trained, data, batch)
    result = Evaluation(
        one_step, by_channel, still, torch.empty(0), {}, math.nan, 0.0, {}, torch.empty(0),
        torch.empty(0), samples=len(data), identity=trained.data,
    )  # fmt: skip
    longest = (data.shape[1] - 1) // trained.task.stride + 1 - trained.task.history
    if steps is not None and not 1 <= steps <= longest:
        raise InvalidOption(f"steps={steps!r}: the data allow 1 to {longest}.")
    if trained.task.evolution:
        _roll_out(trained, data, steps or longest, batch, result)
    return result


def held_out(data: Dataset) -> Dataset:
    """The stored test split of a data set, all of it where none is stored."""
    return data.split("stored")[-1] if "test" in data.contents.splits else data


def _refuse(surrogate: Surrogate, data: Dataset, batch: int) -> None:
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InvalidOption(f"batch={batch!r}: give a positive integer.")
    if not len(data):
        raise InvalidDataset("there are no samples to evaluate on; give a set with finished ones.")
    surrogate.refuse_mismatch(data)
    needed = surrogate.task.history + int(surrogate.task.evolution)
    if data.shape[1] < (needed - 1) * surrogate.task.stride + 1:
        raise DatasetMismatch(
            f"the data have {data.shape[1]} times; the surrogate needs {needed} at a distance of "
            f"{surrogate.task.stride} frames."
        )
    fault = not_finite(data)
    if fault:
        raise InvalidDataset(fault)


def _one_step(
    surrogate: Surrogate, data: Dataset, batch: int
) -> tuple[dict[str, float], dict[str, float], float]:
    """Metrics over all windows of one step, nRMSE by channel, and nRMSE of persistence."""
    task, dims = surrogate.task, surrogate.dims
    windows = data.windows(task.history, int(task.evolution), stride=task.stride)
    device, means, largest = _place(surrogate), _Means(), 0.0
    targets, channels = list(task.targets), [task.channels[c] for c in task.targets]
    grid = all(axis["periodic"] for axis in surrogate.data["grid"]["axes"])
    regular = surrogate.coords is None
    for begin in range(0, len(windows), batch):
        chosen = windows.__getitems__(range(begin, min(begin + batch, len(windows))))
        frames = _real(chosen["input"], surrogate).to(device)
        told = parameters_of(task, chosen)
        y = surrogate(frames, None if told is None else told.to(device)).double()
        ahead = chosen["target"][:, 0] if task.evolution else chosen["input"][:, -1]
        truth = ahead[:, targets].to(device).double()
        relative = metrics.nrmse(y, truth, dims)
        means.add("nrmse", relative)
        for c, name in enumerate(channels):
            means.add(f"channel {name}", relative[:, c])
        means.add("rmse", metrics.rmse(y, truth, dims))
        means.add("vrmse", metrics.vrmse(y, truth, dims))
        means.add("crmse", metrics.conserved_error(y, truth, dims))
        largest = max(largest, float(metrics.maximum(y, truth, dims).max()))
        if regular:
            means.add("h1", metrics.h1(y, truth, dims, grid))
            means.add("brmse", metrics.boundary(y, truth, dims))
            for band, value in metrics.fourier(y, truth, dims).items():
                means.add(f"frmse_{band}", value)
            bins = metrics.spectral_bins(y, truth, dims)
            for place, band in enumerate(metrics.BANDS):
                means.add(f"spectral_{band}", bins[..., place])
        if task.evolution:
            before = frames[:, -1, targets].double()
            means.add("persistence", metrics.nrmse(before, truth, dims))
    names = ["nrmse", "rmse", "vrmse", "max", "crmse"]
    if regular:
        names[3:3] = ["h1"]
        names += ["brmse", *(f"frmse_{b}" for b in metrics.BANDS)]
        names += [f"spectral_{b}" for b in metrics.BANDS]
    figures = {n: largest if n == "max" else means.mean(n) for n in names}
    figures["crmse"] = math.sqrt(figures["crmse"])
    return (
        figures,
        {name: means.mean(f"channel {name}") for name in channels},
        means.mean("persistence"),
    )


def _roll_out(
    surrogate: Surrogate, data: Dataset, steps: int, batch: int, result: Evaluation
) -> None:
    """Fill in what follows the start of every sample for some steps."""
    task, dims, device = surrogate.task, surrogate.dims, _place(surrogate)
    targets, stride, history = list(task.targets), task.stride, task.history
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    fell, censored, distance = [], [], []
    lost = 0
    times = data.times[: (history + steps - 1) * stride + 1 : stride]
    times = times[history:] - times[history - 1]

    def add(name: str, values: Tensor) -> None:
        flat = values.movedim(1, 0).flatten(1)  # (T, samples × channels)
        known = flat.isfinite()
        sums[name] = sums.get(name, 0) + flat.where(known, 0).sum(1)
        counts[name] = counts.get(name, 0) + known.sum(1)

    for begin in range(0, len(data), batch):
        rows = range(begin, min(begin + batch, len(data)))
        span = slice(0, (history + steps - 1) * stride + 1, stride)
        frames = _real(data.read(list(rows), times=span), surrogate).to(device)
        chosen = {n: v[list(rows)] for n, v in data.parameters.items()}
        told = parameters_of(task, chosen)
        told = None if told is None else told.to(device)
        y = surrogate.rollout(frames[:, :history], steps, told).double()
        truth = frames[:, history:, targets].double()
        start = frames[:, history - 1 : history, targets].double()
        relative = metrics.nrmse(y, truth, dims)
        lost += int((~(relative < BLOWN_UP) & ~_vanishes(truth, dims)).flatten(1).any(1).sum())
        r = metrics.correlation(y, truth, dims)
        add("nrmse", relative)
        add("correlation", r)
        add("persistence", metrics.nrmse(start.expand_as(truth), truth, dims))
        kept = metrics.conserved(truth, dims)
        for name, value in metrics.conserved(y, dims).items():
            add(f"{name}_error", (value - kept[name]).abs())
        time, never = metrics.correlation_time(r.movedim(1, -1), times)
        fell.append(time.flatten())
        censored.append(never.flatten())
        distance.append(metrics.wasserstein(y[:, -1], truth[:, -1]) * len(rows))
        if begin == 0:
            result.truth = torch.cat([start[0], truth[0]]).cpu()
            result.prediction = torch.cat([start[0], y[0]]).cpu()
        if surrogate.coords is None:
            _add_spectra(result, task, dims, truth[:, -1], y[:, -1], len(data))
    result.times = times
    result.rollout = {name: (sums[name] / counts[name]).cpu() for name in sums}
    result.correlation_time = float(torch.cat(fell).mean())
    result.censored = float(torch.cat(censored).double().mean())
    result.summary = {
        "gmean100": float(metrics.geometric_mean(result.rollout["nrmse"])),
        "blown_up": float(lost),
        "wasserstein": sum(distance) / len(data),
    }


def _add_spectra(
    result: Evaluation, task: Task, dims: int, truth: Tensor, y: Tensor, samples: int
) -> None:
    """Add a batch's part of the mean spectra at the final time."""
    for place, channel in enumerate(task.targets):
        name = task.channels[channel]
        pair = tuple(metrics.spectrum(v[:, place], dims).sum(0).cpu() / samples for v in (truth, y))
        former = result.spectra.get(name)
        result.spectra[name] = (
            (pair[0], pair[1]) if former is None else (former[0] + pair[0], former[1] + pair[1])
        )


def _vanishes(truth: Tensor, dims: int) -> Tensor:
    return (truth == 0).flatten(-dims).all(-1)


def _place(surrogate: Surrogate) -> torch.device:
    return next(surrogate.model.parameters()).device


def _real(frames: Tensor, surrogate: Surrogate) -> Tensor:
    """In the dtype of the model's weights."""
    kind = next(p for p in surrogate.model.parameters()).dtype
    double = kind in (torch.float64, torch.complex128)
    return frames.to(torch.float64 if double else torch.float32)
