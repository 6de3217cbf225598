"""DeepXDE without its side effects: no file, no message, no global state that stays changed."""

from __future__ import annotations

import io
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import torch

from pdeml import engine
from pdeml.errors import InvalidOption, MissingDependency


@contextmanager
def session(
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
    seed: int | None = None,
) -> Iterator[Any]:
    """DeepXDE on its torch back end, in one precision; what is global is as before afterwards.

    Put back are torch's default dtype and device, the random states of torch, NumPy and Python,
    DeepXDE's precision and optimizer options, and the environment variable DDE_BACKEND.

    Parameters
    ----------
    dtype : float64 by default.
    device : of the tensors that DeepXDE makes.
    seed : of DeepXDE's own draws (weights); None goes on from the present random states.

    Yields
    ------
    module
        ``deepxde``.

    Raises
    ------
    MissingDependency
        DeepXDE is not installed; the message holds the pip command.
    InvalidOption
        DeepXDE was imported before, on another back end.

    Notes
    -----
    Without DDE_BACKEND, DeepXDE asks and writes a file into the home folder; on import it makes
    CUDA, where there is one, the default device of the whole program. Both are prevented here.
    """
    precision, place = engine.resolve_dtype(dtype), engine.resolve_device(device)
    with ExitStack() as stack:
        _keep_torch(stack)
        dde = _imported()
        _keep_settings(stack, dde)
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002, DeepXDE draws from the global state
            torch.manual_seed(seed)
        real = dde.config.real
        real.set_float64() if precision == torch.float64 else real.set_float32()
        torch.set_default_dtype(precision)
        torch.set_default_device(None if place.type == "cpu" else place)
        yield dde


@contextmanager
def same_random_states() -> Iterator[None]:
    """The global random states of torch, NumPy and Python are the same afterwards.

    A layer of torch draws its first weights from the global state even where they are replaced.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what DeepXDE prints and warns of beside its results."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _keep_torch(stack: ExitStack) -> None:
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    stack.callback(torch.set_default_dtype, dtype)
    # a default device intercepts every torch call: none is set where the CPU was it
    stack.callback(torch.set_default_device, None if device.type == "cpu" else device)
    stack.enter_context(same_random_states())


def _imported() -> Any:
    chosen = os.environ.get("DDE_BACKEND")
    os.environ["DDE_BACKEND"] = "pytorch"
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            import deepxde
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"this needs DeepXDE, and {error.name} is not installed: pip install 'deepxde>=1.15'"
        ) from error
    finally:
        if chosen is None:
            del os.environ["DDE_BACKEND"]
        else:
            os.environ["DDE_BACKEND"] = chosen
    name = deepxde.backend.backend_name
    if name != "pytorch":
        raise InvalidOption(
            f"DeepXDE was imported on its back end {name!r} before; pdeml needs 'pytorch': set the "
            "environment variable DDE_BACKEND=pytorch, or let pdeml import it first."
        )
    return deepxde


def _keep_settings(stack: ExitStack, dde: Any) -> None:
    """Put back DeepXDE's own settings at the end."""
    real = dde.config.real
    stack.callback(_restore, vars(real), dict(vars(real)))
    options = sys.modules["deepxde.optimizers.config"]
    for table in (options.LBFGS_options, options.NNCG_options):
        stack.callback(_restore, table, dict(table))


def _restore(table: dict[str, Any], before: dict[str, Any]) -> None:
    table.clear()
    table.update(before)
