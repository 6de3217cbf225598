"""Models by the name under which files and the command line know them."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pdeml.errors import InvalidFile, InvalidOption
from pdeml.surrogates import MODELS


def model_class(name: str) -> type[nn.Module]:
    """The class of a name of `pdeml.surrogates.MODELS`.

    Raises
    ------
    InvalidOption
        There is none; those that there are are listed.
    """
    if name not in MODELS:
        raise InvalidOption(f"there is no model {name!r}; give one of {', '.join(MODELS)}.")
    home, kind = MODELS[name]
    return getattr(importlib.import_module(home), kind)


def name_of(model: nn.Module) -> str:
    """The name of a model's class.

    Raises
    ------
    InvalidOption
        The class is not a public one, so that a file of it could not be read.
    """
    for name, (home, kind) in MODELS.items():
        if (type(model).__module__, type(model).__qualname__) == (home, kind):
            return name
    raise InvalidOption(
        f"{type(model).__qualname__} is none of the public models ({', '.join(MODELS)}), so that "
        "its file could not be read without running code from it. Add the class to "
        "pdeml.surrogates.MODELS under a name: MODELS['mine'] = ('my_module', 'MyModel')."
    )


def config_of(model: nn.Module) -> dict[str, Any]:
    """The constructor's arguments, as JSON data."""
    config = getattr(model, "config", None)
    try:
        return json.loads(json.dumps(dict(config)))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"{type(model).__qualname__}.config must hold the constructor's arguments as JSON "
            f"data: {error}."
        ) from error


def in_double(model: nn.Module) -> None:
    """Real weights and buffers to float64, complex ones to complex128, in place."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_complex():
            tensor.data = tensor.data.to(torch.complex128)
        elif tensor.is_floating_point():
            tensor.data = tensor.data.double()


def rebuilt(name: str, config: Mapping[str, Any], where: str) -> nn.Module:
    """The model that a file describes.

    Raises
    ------
    InvalidFile
        No model of this version accepts the description.
    """
    try:
        return model_class(name)(**config)
    except (TypeError, ValueError, AttributeError, ImportError) as error:
        raise InvalidFile(
            f"{where} holds a model {name!r} that cannot be built here: {error}"
        ) from error


def built(name: str, facts: Mapping[str, Any], given: Mapping[str, Any]) -> nn.Module:
    """A model for data.

    Parameters
    ----------
    name : of `pdeml.surrogates.MODELS`.
    facts : arguments that the data fix, those of them that the model has: ``in_channels``,
        ``out_channels``, ``spatial_dims``, ``points``, ``periodic``, ``mesh``.
    given : further arguments.

    Raises
    ------
    InvalidOption
        An argument that the model does not have or accept; those that it has are listed.
    """
    kind = model_class(name)
    accepted = inspect.signature(kind).parameters
    for argument in given:
        if argument not in accepted:
            raise InvalidOption(
                f"model {name!r} has no argument {argument!r}; it has {', '.join(accepted)}."
            )
    try:
        return kind(**{k: v for k, v in facts.items() if k in accepted} | dict(given))
    except TypeError as error:
        raise InvalidOption(f"model {name!r} cannot be built: {error}.") from error
