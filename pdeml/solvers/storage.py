"""Solutions as files: everything that makes one, and predictions to verify it by."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp
import torch
from torch import Tensor, nn

from pdeml import engine
from pdeml.errors import InvalidFile
from pdeml.operators.pde import pde_from_json
from pdeml.solvers.report import Estimate, Report
from pdeml.solvers.solution import Solution

PROBES = 16  # predictions that a file carries and that reading recomputes


def write(solution: Solution, path: str | os.PathLike[str]) -> None:
    """Write a solution to one HDF5 file, whole or not at all.

    Raises
    ------
    OutputError
        The file cannot be written; an older file of that name is unchanged.
    """
    from pdeml import __version__

    arrays: dict[str, Any] = {f"field.{n}": v for n, v in solution.field.state_dict().items()}
    options = {n: _storable(v, f"option.{n}", arrays) for n, v in solution.options.items()}
    probes = solution.problem.domain.sample(PROBES, engine.generator(0))
    arrays["probe.points"] = probes
    arrays["probe.values"] = solution.values_at(probes)
    for name, series in solution.history.items():
        arrays[f"history.{name}"] = np.asarray(series, dtype=np.float64)
    meta = {
        "problem": solution.problem.to_json(),
        "method": solution.method,
        "config": solution.config,
        "report": solution.report.to_dict(),
        "options": options,
        "parameters": {n: [e.value, e.standard_error] for n, e in solution.parameters.items()},
        "versions": {
            "pdeml": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "sympy": sp.__version__,
            "python": platform.python_version(),
        },
    }
    engine.write_state(path, arrays, meta, kind="solution")


def read(
    path: str | os.PathLike[str], field_from_config: Callable[[str, Any, Any], nn.Module]
) -> Solution:
    """Read a saved solution; `field_from_config(method, problem, config)` makes the empty field.

    Raises
    ------
    InvalidFile
        The file is damaged, foreign or hostile, or its values are not those that were saved.
    """
    arrays, meta = engine.read_state(path, kind="solution")
    try:
        problem = pde_from_json(meta["problem"])
        module = field_from_config(meta["method"], problem, meta["config"])
        state = {
            name.removeprefix("field."): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith("field.")
        }
        module.load_state_dict(state, strict=True)
        history = {
            name.removeprefix("history."): array.tolist()
            for name, array in arrays.items()
            if name.startswith("history.")
        }
        report = Report.from_dict({**meta["report"], "device": "cpu"})
        options = {name: _restored(value, arrays) for name, value in meta["options"].items()}
        estimates = {n: Estimate(*pair) for n, pair in meta["parameters"].items()}
        solution = Solution(
            problem,
            meta["method"],
            module,
            config=meta["config"],
            report=report,
            history=history,
            options=options,
            parameters=estimates,
        )
        expected = torch.from_numpy(arrays["probe.values"])
        found = solution.values_at(torch.from_numpy(arrays["probe.points"]))
    except (KeyError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise InvalidFile(
            f"{str(path)!r} does not hold a complete solution ({type(error).__name__}: {error})."
        ) from error
    # another machine may round differently, a mixed-up state is off by far more
    precision = 1e-3 if solution.dtype != torch.float64 else 1e-8
    scale = expected.abs().nan_to_num().max().item()
    if not torch.allclose(found, expected, rtol=precision, atol=precision * scale, equal_nan=True):
        raise InvalidFile(
            f"{str(path)!r} does not reproduce the values that were saved with it; use another "
            "copy."
        )
    return solution


def _storable(value: Any, name: str, arrays: dict[str, Any]) -> Any:
    """An option as JSON data; arrays are stored beside it, other objects as their text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor | np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, list | tuple):
        return {"list": [_storable(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]}
    if isinstance(value, Mapping):
        return {"table": {str(k): _storable(v, f"{name}.{k}", arrays) for k, v in value.items()}}
    return {"text": getattr(value, "__qualname__", str(value))}


def _restored(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return torch.from_numpy(arrays[content])
    if kind == "list":
        return [_restored(v, arrays) for v in content]
    if kind == "table":
        return {k: _restored(v, arrays) for k, v in content.items()}
    return content
