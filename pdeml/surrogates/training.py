"""Train any surrogate on any data set, in runs that stop anywhere and go on exactly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pdeml.errors import InvalidDataset, InvalidOption
from pdeml.surrogates import checkpoints, models, random_state
from pdeml.surrogates.normalisation import fitted, not_finite
from pdeml.surrogates.options import Options, options_of, resumed
from pdeml.surrogates.processes import fabric_for
from pdeml.surrogates.surrogate import Surrogate, Task, surrogate_for, task_of
from pdeml.surrogates.trainer import BEST, MODEL, Trainer

if TYPE_CHECKING:
    from pdeml.data.dataset import Dataset
    from pdeml.data.windows import Windows

FRACTIONS = (0.8, 0.1, 0.1)
"""Train, valid, test of data sets that store no split."""


@dataclass
class Run:
    """A finished run.

    Attributes
    ----------
    surrogate : with its last weights (their average, where there is one), in evaluation mode.
    folder : with ``model.h5``, ``best.h5``, checkpoints and ``log.jsonl``.
    history : one record per epoch: loss, nrmse, lr, samples_per_second, seconds, skipped.
    ended : ``"epochs"``, ``"patience"`` or ``"max_time"``.
    best : smallest validation nRMSE; infinite without validation data.
    skipped : batches without a finite gradient.
    """

    surrogate: Surrogate
    folder: Path
    history: list[dict[str, Any]]
    ended: str
    best: float
    skipped: int


def train(
    model: str | nn.Module,
    data: str | os.PathLike[str] | Dataset,
    valid: Dataset | None = None,
    *,
    out: str | os.PathLike[str],
    model_options: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str | torch.device = "auto",
    workers: int = 0,
    block: int | None = None,
    save_every: int | None = None,
    keep: int = 2,
    max_time: float | None = None,
    compiled: bool = False,
    progress: bool = True,
    **options: Any,
) -> Run:
    """Train a surrogate.

    Minimises the mean over windows of ℓ(M(input), target) by steps of a global batch; see
    `pdeml.surrogates.options.Options` for what decides the result, and
    `pdeml.surrogates.objective.Objective` for the modes in time.

    Parameters
    ----------
    model : a name of `pdeml.surrogates.MODELS`, or a module with ``in_channels``, ``out_channels``,
        ``spatial_dims``, ``any_resolution``, ``config`` and
        ``forward(x, *, coords=None, params=None, t=None)``.
    data : training samples; of a path, the stored split (else 80 % of the samples, 10 % for
        validation, drawn with the seed).
    valid : validation samples; without them nothing is validated.
    out : folder of the run.
    model_options : of a model given by its name.
    resume : continue the run in the folder with the options that it was started with; those given
        must agree.
    overwrite : replace the run that is in the folder; without, it is refused.
    device : ``"auto"``, ``"cpu"``, ``"cuda"``, …; under torchrun, each process has one.
    workers, block : of data loading; see `pdeml.data.windows.Windows.loader`.
    save_every : steps between checkpoints; the end of each epoch saves too.
    keep : newest checkpoints that are kept.
    max_time : seconds of training, parts before a resume included.
    compiled : compile the model with torch.
    progress : show what happens.
    **options : of `pdeml.surrogates.options.Options`: loss, mode, lr, epochs, batch …

    Returns
    -------
    Run

    Raises
    ------
    InvalidOption
        An option, model or batch size that is not accepted.
    InvalidDataset
        No samples, or values that are not finite, by file and sample.
    InvalidFile
        The run in the folder does not fit what is given; what differs is named.
    DivergedError, OutOfMemory
        The run ended; its folder holds the last good state.
    MissingDependency
        Lightning is not installed.

    Notes
    -----
    Same seed, device and number of processes: the same weights. A run that was stopped, or killed
    at any moment, and resumed has the same weights on a CPU, bit by bit, as one that was not.
    p processes (``torchrun --nproc-per-node p``) share the global batch and follow one process up
    to rounding, for models without batch statistics.

    Examples
    --------
    >>> run = pdeml.train("fno", "datasets/burgers.h5", out="runs/burgers", parameters=("nu",))
    >>> run.surrogate.rollout(u0, steps=25, parameters=nu)
    """
    _refuse_settings(workers=workers, keep=keep, save_every=save_every, max_time=max_time)
    folder = Path(out)
    state, path = None, None
    if resume:
        path, state, _ = checkpoints.newest(folder)
        chosen = resumed(state["options"], options, repr(str(path)))
        if isinstance(model, str) and model == state["model"]["model"] and not model_options:
            model_options = state["model"]["config"]
    else:
        chosen = options_of(options)
    train_set, valid_set = _sets(data, valid, chosen.seed)
    fabric = fabric_for(device)
    with random_state.isolated(chosen.seed + fabric.global_rank):
        surrogate = _surrogate(model, model_options or {}, train_set, chosen)
        if compiled:
            surrogate.model.compile()
        trainer = Trainer(
            surrogate, _windows(train_set, chosen),
            None if valid_set is None else _windows(valid_set, chosen),
            chosen, folder, fabric, workers=workers, block=block, save_every=save_every, keep=keep,
            max_time=max_time, progress=progress,
        )  # fmt: skip
        if path is not None and state is not None:
            trainer.restore(path, state)
        elif fabric.global_rank == 0:
            _clear(folder, overwrite)
        fabric.barrier()
        ended = trainer.run()
        with trainer.update.averaged():
            weights = {k: v.detach().clone() for k, v in surrogate.model.state_dict().items()}
        surrogate.model.load_state_dict(weights)
    position = trainer.position
    return Run(surrogate.eval(), folder, position.history, ended, position.best, position.skipped)


def _refuse_settings(
    *, workers: int, keep: int, save_every: int | None, max_time: float | None
) -> None:
    """Raise `InvalidOption` for a setting of how a run is carried out that makes no sense."""
    for name, value, least in (
        *(("workers", workers, 0), ("keep", keep, 1)),
        ("save_every", 1 if save_every is None else save_every, 1),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidOption(f"{name}={value!r}: give an integer of at least {least}.")
    if max_time is not None and not max_time > 0:
        raise InvalidOption(f"max_time={max_time!r}: give a positive number of seconds.")


def _sets(
    data: str | os.PathLike[str] | Dataset, valid: Dataset | None, seed: int
) -> tuple[Dataset, Dataset | None]:
    """Training and validation samples, checked."""
    from pdeml.data.dataset import Dataset
    from pdeml.data.opening import open as open_dataset

    if not isinstance(data, Dataset):
        whole = open_dataset(data)
        parts = whole.split("stored") if whole.contents.splits else whole.split(FRACTIONS, seed)
        data = parts[0]
        if valid is None and len(parts) > 1 and len(parts[1]):
            valid = parts[1]
    if not len(data):
        place = next(iter(data.source.files()), "the data set")
        raise InvalidDataset(
            f"{place} gives no training samples: {data.contents.samples} are declared, none is "
            "finished and in this split. Generate some, or give another split."
        )
    if data.dtype.is_complex:
        raise InvalidDataset(
            "complex fields cannot be trained on: store real and imaginary parts as two fields."
        )
    if valid is not None:
        fault = not_finite(valid)
        if fault:
            raise InvalidDataset(fault)
    return data, valid if valid is not None and len(valid) else None


def _windows(dataset: Dataset, options: Options) -> Windows:
    if options.inputs:
        return dataset.windows(1, 0)
    steps = options.steps or (dataset.shape[1] - 1) // options.stride + 1 - options.history
    return dataset.windows(options.history, steps, stride=options.stride)


def _surrogate(
    model: str | nn.Module, given: Mapping[str, Any], dataset: Dataset, options: Options
) -> Surrogate:
    """The model with its task and the normalisation of the training samples."""
    task = task_of(
        dataset,
        history=options.history,
        stride=options.stride,
        delta=options.delta,
        parameters=options.parameters,
        inputs=options.inputs,
        targets=options.targets,
    )
    if isinstance(model, str):
        model = models.built(model, _facts(dataset, task), given)
    elif given:
        raise InvalidOption("model_options are for a model given by its name; this one is built.")
    models.name_of(model)  # a model that could not be loaded again is refused before it is trained
    models.config_of(model)
    if options.precision == "float64":
        models.in_double(model)
    normal = fitted(dataset, options.normalise, options.stride)
    return surrogate_for(model, dataset, task, normal)


def _facts(dataset: Dataset, task: Task) -> dict[str, Any]:
    """Arguments of a model that the data fix."""
    mesh = dataset.mesh
    return {
        "in_channels": task.in_channels,
        "out_channels": len(task.targets),
        "spatial_dims": len(dataset.axes) if mesh is None else int(mesh.coords.shape[1]),
        "points": [len(axis.points) for axis in dataset.axes],
        "periodic": all(bool(axis.periodic) for axis in dataset.axes),
        "mesh": mesh is not None,
    }


def _clear(folder: Path, overwrite: bool) -> None:
    """Remove an earlier run, so that a resume can never meet its checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    models_there = [p for p in (folder / BEST, folder / MODEL) if p.exists()]
    there = [*checkpoints.checkpoints(folder), *models_there]
    if there and not overwrite:
        raise InvalidOption(
            f"{str(folder)!r} holds a run ({there[0].name}): continue it with resume=True "
            "(--resume), replace it with overwrite=True (--overwrite), or name another folder."
        )
    for old in there:
        old.unlink()
