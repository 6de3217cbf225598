"""Mean and standard deviation of channels, taken from training data and kept with the model.

z = (u − μ) / σ,      u = μ + σ z,      a change Δu of one step in units of its own σ_Δ
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pdeml.errors import InvalidDataset, InvalidFile, InvalidOption

if TYPE_CHECKING:
    from pdeml.data.dataset import Dataset

KINDS = ("channel", "scalar", "none")
SAME = 1e-6  # relative; statistics of equal data differ by rounding alone
LISTED = 10  # bad samples that a message names


class Normalisation(nn.Module):
    """Affine map of each channel to mean 0 and standard deviation 1; its numbers are buffers.

    Parameters
    ----------
    channels : their names, C of them.
    mean, std : of each channel, physical units.
    delta_std : of the change over one step of the surrogate.
    kind : how they were taken: ``"channel"``, ``"scalar"`` (one pair for all channels) or
        ``"none"`` (0 and 1).

    Notes
    -----
    Means do not depend on the grid, so that a model can be used on others. Frames have their
    channel axis before `dims` space axes.
    """

    mean: Tensor
    std: Tensor
    delta_std: Tensor

    def __init__(
        self, channels: tuple[str, ...], mean: Any, std: Any, delta_std: Any, kind: str = "channel"
    ):
        super().__init__()
        self.channels, self.kind = tuple(channels), kind
        for name, values in (("mean", mean), ("std", std), ("delta_std", delta_std)):
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float64))

    def encode(self, frames: Tensor, dims: int) -> Tensor:
        """Physical values (…, C, *space) → normalised ones, in the dtype of the frames."""
        mean, std = (self._shaped(v, frames, dims) for v in (self.mean, self.std))
        return (frames - mean) / std

    def decode(self, frames: Tensor, dims: int) -> Tensor:
        """Normalised values (…, C, *space) → physical ones."""
        mean, std = (self._shaped(v, frames, dims) for v in (self.mean, self.std))
        return frames * std + mean

    def change(self, frames: Tensor, dims: int) -> Tensor:
        """Changes in units of their own deviation → in units of that of the values."""
        return frames * self._shaped(self.delta_std / self.std, frames, dims)

    @staticmethod
    def _shaped(values: Tensor, frames: Tensor, dims: int) -> Tensor:
        return values.to(frames.dtype).reshape(-1, *(1,) * dims)

    def select(self, channels: list[int]) -> Normalisation:
        """That of some channels."""
        mean, std, delta = (v[channels] for v in (self.mean, self.std, self.delta_std))
        names = tuple(self.channels[c] for c in channels)
        return Normalisation(names, mean, std, delta, self.kind)

    def to_dict(self) -> dict[str, Any]:
        """As plain data; floats keep all their digits."""
        numbers = {n: getattr(self, n).tolist() for n in ("mean", "std", "delta_std")}
        return {"channels": list(self.channels), "kind": self.kind, **numbers}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Normalisation:
        mean, std, delta = (data[n] for n in ("mean", "std", "delta_std"))
        return Normalisation(tuple(data["channels"]), mean, std, delta, data["kind"])

    def refuse_changed(self, saved: dict[str, Any], where: str) -> None:
        """Compare with what a run was started with.

        Raises
        ------
        InvalidFile
            They differ; the channel, both values and the mend are named.
        """
        if saved["channels"] != list(self.channels) or saved["kind"] != self.kind:
            raise InvalidFile(
                f"{where} was made with the {saved['kind']!r} normalisation of "
                f"{', '.join(saved['channels'])}; here it is {self.kind!r} of "
                f"{', '.join(self.channels)}. Give the data and options of that run."
            )
        for name in ("mean", "std", "delta_std"):
            for channel, here, there in zip(
                self.channels, getattr(self, name).tolist(), saved[name], strict=True
            ):
                if abs(here - there) > SAME * max(abs(here), abs(there)):
                    raise InvalidFile(
                        f"the normalisation has changed: {name} of {channel!r} is {here:.6g} in "
                        f"these data and {there:.6g} in {where}. Give the data of that run, or "
                        "train anew in another folder."
                    )


def fitted(dataset: Dataset, kind: str = "channel", stride: int = 1) -> Normalisation:
    """The normalisation of a training set, read sample by sample.

    Parameters
    ----------
    dataset : training samples alone, so that nothing of the test set leaks into the model.
    kind : ``"channel"``, ``"scalar"`` or ``"none"``.
    stride : frames of one step of the surrogate, for the deviation of changes.

    Raises
    ------
    InvalidDataset
        Values that are not finite, by file and sample; an empty set.
    InvalidOption
        An unknown kind.
    """
    if kind not in KINDS:
        raise InvalidOption(f"normalise={kind!r}: give one of {', '.join(KINDS)}.")
    if not len(dataset):
        raise InvalidDataset("there are no samples to take a mean of; give a set with some.")
    figures = list(dataset.statistics().values())
    mean, std = (_column(figures, name) for name in ("mean", "std"))
    if not torch.cat([mean, std]).isfinite().all():
        raise InvalidDataset(not_finite(dataset))
    delta = _column(figures, "delta_std")
    if stride > 1 and dataset.shape[1] > stride:
        thinned = dataset.select(times=slice(None, None, stride)).statistics()
        delta = _column(list(thinned.values()), "delta_std")
    delta = torch.where(delta.isfinite() & (delta > 0), delta, std)  # static, or one time
    if kind == "scalar":
        # all channels have as many values, so that their moments are averaged
        centre = mean.mean()
        spread = ((std.square() + (mean - centre).square()).mean()).sqrt()
        mean, std = centre.expand_as(mean), spread.expand_as(std)
        delta = delta.square().mean().sqrt().expand_as(delta)
    if kind == "none":
        mean, std, delta = torch.zeros_like(mean), torch.ones_like(std), torch.ones_like(delta)
    ones = torch.ones_like(std)
    std, delta = torch.where(std > 0, std, ones), torch.where(delta > 0, delta, ones)
    return Normalisation(dataset.channels, mean, std, delta, kind)


def _column(figures: Sequence[Mapping[str, float]], name: str) -> Tensor:
    return torch.tensor([f[name] for f in figures], dtype=torch.float64)


def not_finite(dataset: Dataset) -> str:
    """Which samples of a set hold NaN or infinity, as a sentence; empty where none does."""
    bad = [
        int(number)
        for row, number in enumerate(dataset.samples)
        if not dataset.read(row).isfinite().all()
    ]
    if not bad:
        return ""
    named = ", ".join(map(str, bad[:LISTED])) + (", …" if len(bad) > LISTED else "")
    place = next(iter(dataset.source.files()), "the data set")
    return (
        f"{place}: {len(bad)} of {len(dataset)} samples hold NaN or infinity: {named}. Leave them "
        "out with dataset.select(samples=…), or generate them again."
    )
