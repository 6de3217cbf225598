"""Surrogates: models that map fields to fields, trained on data sets.

run = pdeml.train("fno", "datasets/burgers.h5", out="runs/burgers", parameters=("nu",))
surrogate = pdeml.surrogates.load("runs/burgers/model.h5")
result = pdeml.evaluate("runs/burgers", "datasets/burgers.h5")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdeml.surrogates.evaluation import Evaluation, evaluate
    from pdeml.surrogates.model_file import load, save
    from pdeml.surrogates.surrogate import Surrogate
    from pdeml.surrogates.training import Run, train

__all__ = ["MODELS", "Evaluation", "Run", "Surrogate", "evaluate", "load", "save", "train"]

MODELS: dict[str, tuple[str, str]] = {
    "fno": ("pdeml.surrogates.fno", "FNO"),
    "unet": ("pdeml.surrogates.unet", "UNet"),
    "deeponet": ("pdeml.surrogates.deeponet", "DeepONet"),
    "transolver": ("pdeml.surrogates.transolver", "Transolver"),
}
"""Public models by name: module and class. A model file holds the name, never a path of code."""

_HOMES = {
    "pdeml.surrogates.evaluation": ("Evaluation", "evaluate"),
    "pdeml.surrogates.model_file": ("load", "save"),
    "pdeml.surrogates.surrogate": ("Surrogate",),
    "pdeml.surrogates.training": ("Run", "train"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    for home, kind in MODELS.values():
        if name == kind:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'pdeml.surrogates' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *(kind for _, kind in MODELS.values())})
