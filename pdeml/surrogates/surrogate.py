"""A trained model with all that it needs to be used: normalisation, step, grid, data identity.

One step maps the last `history` frames to the next one, `stride` frames of the data later:

    z_{n+1} = M(z_n, …, z_{n−h+1}; λ)        or, with ``delta``,  z_{n+1} = z_n + (σ_Δ/σ) M(…)

with z = (u − μ)/σ. Without time (``map``) it takes input channels to target channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pdeml.errors import InvalidOption
from pdeml.surrogates.identity import identity_of, refuse_mismatch, time_step
from pdeml.surrogates.normalisation import Normalisation

if TYPE_CHECKING:
    from pdeml.data.dataset import Dataset


@dataclass(frozen=True)
class Task:
    """Which map is learned.

    Attributes
    ----------
    channels : of the data, in their order.
    inputs, targets : places of the channels that go in and come out; a target that is an input too
        is carried on in roll-outs, an input that is no target (a coefficient) stays as it is.
    history : frames that go in.
    stride : frames of the data from one step to the next.
    delta : the model gives the change, not the value.
    evolution : maps in time; False maps input to target channels of the same frame.
    parameters : names of the parameters that the model is told, in their order.
    parameter_mean, parameter_std : of them, over the training samples.
    step : time of a step.
    """

    channels: tuple[str, ...]
    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    history: int = 1
    stride: int = 1
    delta: bool = False
    evolution: bool = True
    parameters: tuple[str, ...] = ()
    parameter_mean: tuple[float, ...] = ()
    parameter_std: tuple[float, ...] = ()
    step: float | None = None

    @property
    def in_channels(self) -> int:
        """Of the model: frames, and parameters, which it gets apart from them."""
        return self.history * len(self.inputs) + len(self.parameters)

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Task:
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
        }
        return Task(**fields)


def task_of(
    dataset: Dataset,
    *,
    history: int,
    stride: int,
    delta: bool,
    parameters: Sequence[str],
    inputs: Sequence[str] = (),
    targets: Sequence[str] = (),
) -> Task:
    """The task that a training set and options declare.

    Raises
    ------
    InvalidOption
        A channel or parameter that the data do not have, or that does not fit.
    """
    channels = dataset.channels
    for name in (*inputs, *targets):
        if name not in channels:
            raise InvalidOption(
                f"there is no channel {name!r} in the data; there are {', '.join(channels)}."
            )
    static = {c for f in map(dataset.field, dataset.fields) if f.static for c in f.components}
    evolution = not inputs
    if evolution:
        inputs = channels
        targets = targets or [c for c in channels if c not in static] or channels
    elif not targets:
        targets = [c for c in channels if c not in inputs]
    if not evolution and (not targets or history > 1 or delta):
        raise InvalidOption(
            f"inputs={tuple(inputs)!r} asks for a map between channels of one frame: give targets= "
            "of other channels, history=1 and delta=False."
        )
    known = dataset.parameters
    numbers = [n for n, v in known.items() if v.dim() == 1]
    columns = []
    for name in parameters:
        if name not in numbers:
            raise InvalidOption(
                f"parameters={tuple(parameters)!r}: {name!r} is no number per sample of these "
                f"data; they have {', '.join(numbers) or 'none'}."
            )
        columns.append(known[name].double())
    spread = [float(c.std(correction=0)) or 1.0 for c in columns]
    return Task(
        channels,
        tuple(channels.index(c) for c in inputs),
        tuple(channels.index(c) for c in targets),
        history,
        stride,
        delta,
        evolution,
        tuple(parameters),
        tuple(float(c.mean()) for c in columns),
        tuple(spread),
        time_step(dataset, stride) if evolution else None,
    )


class Surrogate(nn.Module):
    """A model and everything that makes its numbers physical.

    Parameters
    ----------
    model : ``forward(x, *, coords, params, t)`` with ``in_channels`` (those of x and numbers of
        params together), ``out_channels``, ``spatial_dims``, ``any_resolution`` and ``config``.
    normalisation : of the channels of the data.
    task : which map it is.
    data : `identity_of` the training set.
    coords : (N, d) nodes of a mesh, mapped to [0, 1]; None on full grids.

    Attributes
    ----------
    dims : space axes of a frame.
    training_record : how it was trained, where it was read from a file: options, last record.

    Raises
    ------
    InvalidOption
        The channels or dimensions of the model do not fit the task.
    """

    coords: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        normalisation: Normalisation,
        task: Task,
        data: dict[str, Any],
        coords: Tensor | None = None,
    ):
        super().__init__()
        self.model, self.normalisation, self.task, self.data = model, normalisation, task, data
        self.target_normalisation = normalisation.select(list(task.targets))
        self.register_buffer("coords", coords, persistent=False)
        self.dims = len(data["grid"]["axes"])
        self.training_record: dict[str, Any] = {}
        self._refuse_misfit()

    def _refuse_misfit(self) -> None:
        task, model = self.task, self.model
        if _count(model, "in_channels") != task.in_channels:
            raise InvalidOption(
                f"the model takes {model.in_channels} channels; the data give {task.history} "
                f"frames × {len(task.inputs)} channels + {len(task.parameters)} parameters: build "
                f"it with in_channels={task.in_channels}."
            )
        if _count(model, "out_channels") != len(task.targets):
            raise InvalidOption(
                f"the model gives {model.out_channels} channels, and {len(task.targets)} are to be "
                f"predicted; build it with out_channels={len(task.targets)}."
            )
        dims = self.dims if self.coords is None else int(self.coords.shape[1])
        if _count(model, "spatial_dims") != dims:
            raise InvalidOption(
                f"the model works in {model.spatial_dims} space dimensions, the data have {dims}."
            )

    @property
    def any_resolution(self) -> bool:
        """Whether other grids than the one of training are accepted."""
        return bool(getattr(self.model, "any_resolution", False))

    def refuse_mismatch(self, dataset: Dataset) -> None:
        """Raise `DatasetMismatch` where data do not fit, with what differs and both values."""
        refuse_mismatch(
            self.data,
            dataset,
            step=self.task.step,
            stride=self.task.stride,
            any_resolution=self.any_resolution,
            parameters=self.task.parameters,
        )

    def standardised(self, parameters: Tensor | None) -> Tensor | None:
        """Parameters (B, P) less their mean over their deviation, as the model is told them."""
        if not self.task.parameters:
            return None
        if parameters is None or parameters.shape[1:] != (len(self.task.parameters),):
            raise InvalidOption(
                f"this surrogate must be told {', '.join(self.task.parameters)}: give parameters "
                f"of shape (B, {len(self.task.parameters)})."
            )
        mean, std = (
            torch.tensor(v, dtype=torch.float64, device=parameters.device)
            for v in (self.task.parameter_mean, self.task.parameter_std)
        )
        return (parameters.double() - mean) / std

    def step(self, frames: Tensor, parameters: Tensor | None) -> Tensor:
        """One step in normalised units: frames (B, H, C, *space), parameters (B, P) standardised.

        Returns
        -------
        Tensor (B, targets, *space)
        """
        task = self.task
        x = frames[:, :, list(task.inputs)].flatten(1, 2)
        told: dict[str, Any] = {}
        if parameters is not None:
            told["params"] = parameters.to(x.dtype)
        if self.coords is not None:
            # irregular: channels last, with the place of every node
            told["coords"] = self.coords.to(x.dtype).expand(len(x), -1, -1)
            y = self.model(x.transpose(1, 2), **told).transpose(1, 2)
        else:
            y = self.model(x, **told)
        y = y.to(frames.dtype)
        if not task.delta:
            return y
        return frames[:, -1, list(task.targets)] + self.target_normalisation.change(y, self.dims)

    def advanced(self, frames: Tensor, prediction: Tensor) -> Tensor:
        """The window (B, H, C, *space) one step later: the oldest frame out, the prediction in."""
        newest = frames[:, -1].clone()
        newest[:, list(self.task.targets)] = prediction
        return torch.cat([frames[:, 1:], newest[:, None]], 1)

    def forward(self, frames: Tensor, parameters: Tensor | None = None) -> Tensor:
        """One step in physical units.

        Parameters
        ----------
        frames : (B, H, C, *space), H the history.
        parameters : (B, P), where the task names some.

        Returns
        -------
        Tensor (B, targets, *space)
        """
        self._refuse_shape(frames)
        z = self.normalisation.encode(frames, self.dims)
        y = self.step(z, self.standardised(parameters))
        return self.target_normalisation.decode(y, self.dims)

    def _refuse_shape(self, frames: Tensor) -> None:
        wanted = (self.task.history, len(self.task.channels))
        if frames.dim() != 3 + self.dims or tuple(frames.shape[1:3]) != wanted:
            raise InvalidOption(
                f"frames of shape {tuple(frames.shape)} are given; accepted is (batch, "
                f"{wanted[0]} frames, {wanted[1]} channels, *{self.dims} space axes)."
            )

    @torch.no_grad()
    def rollout(
        self, frames: Tensor, steps: int, parameters: Tensor | None = None, *, every: int = 1
    ) -> Tensor:
        """Feed the model its own predictions.

        Parameters
        ----------
        frames : (B, H, C, *space) in physical units.
        steps : how many.
        parameters : (B, P), where the task names some.
        every : keep each `every`-th step.

        Returns
        -------
        Tensor (B, steps // every, targets, *space)
            Physical units; what is not finite stays so.

        Raises
        ------
        InvalidOption
            The shape does not fit, or the surrogate is no map in time.
        """
        self._refuse_shape(frames)
        if not self.task.evolution:
            raise InvalidOption("this surrogate maps between channels of one frame: no roll-out.")
        told = self.standardised(parameters)
        window, out = self.normalisation.encode(frames, self.dims), []
        for n in range(1, steps + 1):
            prediction = self.step(window, told)
            window = self.advanced(window, prediction)
            if n % every == 0:
                out.append(self.target_normalisation.decode(prediction, self.dims))
        if not out:
            return frames.new_empty(len(frames), 0, len(self.task.targets), *frames.shape[3:])
        return torch.stack(out, 1)


def surrogate_for(
    model: nn.Module, dataset: Dataset, task: Task, normal: Normalisation
) -> Surrogate:
    """A model on its training data."""
    return Surrogate(model, normal, task, identity_of(dataset), node_coords(dataset))


def node_coords(dataset: Dataset) -> Tensor | None:
    """Nodes of a mesh, (N, d), mapped to [0, 1] on each axis."""
    if dataset.mesh is None:
        return None
    nodes = torch.as_tensor(dataset.mesh.coords, dtype=torch.float64)
    low, high = nodes.amin(0), nodes.amax(0)
    return (nodes - low) / torch.where(high > low, high - low, 1)


def parameters_of(task: Task, batch: Mapping[str, Tensor]) -> Tensor | None:
    """Parameters (B, P) of a batch of windows."""
    return torch.stack([batch[n].double() for n in task.parameters], 1) if task.parameters else None


def _count(model: nn.Module, name: str) -> int:
    value = getattr(model, name, None)
    if not isinstance(value, int):
        raise InvalidOption(
            f"the model {type(model).__name__} has no integer attribute {name!r}; surrogates have "
            "in_channels, out_channels, spatial_dims, any_resolution and config."
        )
    return value
