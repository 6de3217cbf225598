"""Model files: weights, configuration, normalisation, grid and identity of the data in one.

The file is a state of `pdeml.engine`: plain arrays and JSON under a digest. Loading runs no code;
the class of the model is looked up in `pdeml.surrogates.MODELS`.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from pdeml import __version__, engine
from pdeml.engine import read_state, write_state
from pdeml.errors import InvalidFile
from pdeml.surrogates.models import config_of, in_double, name_of, rebuilt
from pdeml.surrogates.normalisation import Normalisation
from pdeml.surrogates.surrogate import Surrogate, Task

KIND = "pdeml surrogate"


def save(
    surrogate: Surrogate, path: str | os.PathLike[str], training: dict[str, Any] | None = None
) -> None:
    """Write a surrogate whole or not at all.

    Parameters
    ----------
    surrogate : what is written.
    path : of the file, ``model.h5`` by custom.
    training : what is told of its training: options, epoch, validation error; JSON data.

    Raises
    ------
    OutputError
        The file cannot be written.
    InvalidOption
        The model is no public one, or its configuration is no JSON data.
    """
    arrays = {f"weights/{k}": v for k, v in surrogate.model.state_dict().items()}
    if surrogate.coords is not None:
        arrays["coords"] = surrogate.coords
    meta = {
        **description(surrogate),
        "training": training or {},
        "versions": {"pdeml": __version__, "torch": torch.__version__},
    }
    write_state(path, arrays, meta, KIND)


def description(surrogate: Surrogate) -> dict[str, Any]:
    """What rebuilds a surrogate but for its weights, as JSON data."""
    return {
        "model": name_of(surrogate.model),
        "config": config_of(surrogate.model),
        "normalisation": surrogate.normalisation.to_dict(),
        "task": surrogate.task.to_dict(),
        "data": surrogate.data,
    }


def load(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Surrogate:
    """Read a surrogate; neither the training script nor any code in the file is run.

    Parameters
    ----------
    path : a model file, or the folder of a run: its best model on validation data, else the last.
    device : where the weights go.

    Returns
    -------
    Surrogate
        In evaluation mode; attribute `training_record` tells how it was trained.

    Raises
    ------
    InvalidFile
        There is no such file, or no model in the folder; or it is damaged, hostile, of another
        kind, or of a model that this version lacks.
    """
    place = found(path)
    arrays, meta = read_state(place, KIND)
    shown = repr(os.fspath(place))
    try:
        model = rebuilt(meta["model"], meta["config"], shown)
        surrogate = Surrogate(
            model,
            Normalisation.from_dict(meta["normalisation"]),
            Task.from_dict(meta["task"]),
            meta["data"],
            torch.from_numpy(arrays["coords"]) if "coords" in arrays else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InvalidFile):
            raise
        raise InvalidFile(f"{shown} does not describe a surrogate: {error}") from error
    weights = {
        name.removeprefix("weights/"): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith("weights/")
    }
    load_weights(model, weights, shown)
    surrogate.training_record = meta.get("training", {})
    return surrogate.to(engine.resolve_device(device)).eval()


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor], where: str) -> None:
    """Weights into a model, in their own dtype.

    Raises
    ------
    InvalidFile
        They are of another architecture; the first difference is named.
    """
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in weights or weights[name].shape != tensor.shape:
            found = f"of shape {tuple(weights[name].shape)}" if name in weights else "missing"
            raise InvalidFile(
                f"{where} is of another architecture: {name!r} is {found}, the model has shape "
                f"{tuple(tensor.shape)}."
            )
    extra = [name for name in weights if name not in own]
    if extra:
        raise InvalidFile(f"{where} is of another architecture: the model has no {extra[0]!r}.")
    if any(t.dtype == torch.float64 for t in weights.values()):
        in_double(model)
    model.load_state_dict(weights)


def found(path: str | os.PathLike[str]) -> str:
    """The model file of a path: itself, or the best (else the last) of a run's folder."""
    if not os.path.exists(path):
        raise InvalidFile(f"there is no file or folder {os.fspath(path)!r}; give that of a run.")
    if not os.path.isdir(path):
        return os.fspath(path)
    for name in ("best.h5", "model.h5"):
        if os.path.isfile(os.path.join(path, name)):
            return os.path.join(path, name)
    raise InvalidFile(
        f"there is no model in {os.fspath(path)!r} (best.h5 or model.h5): train one there."
    )
