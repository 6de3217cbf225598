"""Methods that solve one instance of a declared problem."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import nn

from pdeml.errors import (
    DivergedError,
    InvalidFile,
    InvalidOption,
    UnsupportedProblem,
)
from pdeml.operators.pde import PDE
from pdeml.solvers import storage
from pdeml.solvers.report import Estimate, Report
from pdeml.solvers.solution import Solution
from pdeml.solvers.spectral.ensemble import Ensemble

__all__ = ["METHODS", "Ensemble", "Estimate", "Report", "Solution", "can_solve", "load", "solve"]

METHODS: dict[str, str] = {
    "exact": "pdeml.solvers.exact",
    "spectral": "pdeml.solvers.spectral",
    "chebyshev": "pdeml.solvers.chebyshev",
    "fem": "pdeml.solvers.fem",
    "pinn": "pdeml.solvers.pinn",
    "lpinn": "pdeml.solvers.lpinn",
    "pig": "pdeml.solvers.pig",
    "deepxde": "pdeml.solvers.deepxde",
}
"""Module of each method; it is imported when the method is used."""

REFERENCES = ("exact", "spectral", "chebyshev", "fem")  # in the order of trust
WRONG = 0.05  # a relative error above this is no solution, whatever the residual says


def _method(name: Any) -> ModuleType:
    if name not in METHODS:
        raise InvalidOption(f"There is no method {name!r}. Methods: {', '.join(METHODS)}.")
    return importlib.import_module(METHODS[name])


def can_solve(problem: Any, method: str) -> str | None:
    """Why a method cannot solve a problem, in one sentence, or None where it can."""
    return _method(method).can_solve(problem)


def accepted_options(method: str) -> dict[str, Any]:
    """Options of a method with their defaults, from its signature."""
    parameters = inspect.signature(_method(method).solve).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def solve(
    problem: Any,
    method: str = "pinn",
    *,
    reference: str | Solution | None = "auto",
    parameters: Mapping[Any, Any] | None = None,
    progress: Any = False,
    **options: Any,
) -> Solution | Ensemble:
    """Solve a declared problem, and say how large the error is.

    Parameters
    ----------
    problem : a `pdeml.PDE`.
    method : a key of ``METHODS``.
    reference : what ``report.error`` is measured against: ``"auto"`` (the closed form if one is
        declared, else ``"spectral"`` if the problem is periodic, else ``"chebyshev"`` on a box of
        one or two dimensions, else ``"fem"`` where DOLFINx is installed, else unknown),
        ``"exact"``, ``"spectral"``, ``"chebyshev"``, ``"fem"``, a `Solution`, or None for no
        comparison.
    parameters : values that replace those of the declaration, by name or `Parameter`; a tensor (B,)
        solves a family, where the method can.
    progress : passed on to methods that show progress.
    **options : of the method; see ``pdeml.solvers.accepted_options(method)``.

    Returns
    -------
    Solution, or Ensemble where a batch of initial values or parameters was given

    Raises
    ------
    InvalidOption
        The method or an option does not exist; the message lists those that do.
    UnsupportedProblem
        The method cannot lower the problem; the message names the term and other methods.
    """
    if isinstance(getattr(problem, "opaque", None), str):
        raise UnsupportedProblem(f"{method!r} needs the equation: {problem.opaque}")
    if not isinstance(problem, PDE):
        raise InvalidOption(
            f"problem={problem!r:.60} is no pdeml.PDE; declare one, or take one of the zoo: "
            "pdeml.problems.burgers()."
        )
    module = _method(method)
    accepted = accepted_options(method)
    unknown = [name for name in options if name not in accepted]
    if unknown:
        raise InvalidOption(
            f"{method!r} has no option {unknown[0]!r}. Options: {', '.join(accepted) or 'none'}."
        )
    if isinstance(reference, str) and reference not in ("auto", *REFERENCES):
        raise InvalidOption(
            f"reference={reference!r}: give 'auto', {', '.join(map(repr, REFERENCES))}, a Solution "
            "or None."
        )
    if any(
        isinstance(v, torch.Tensor) and (v.dim() or v.requires_grad)
        for v in (parameters or {}).values()
    ):
        if "parameters" not in accepted:
            raise InvalidOption(
                f"{method!r} solves one problem at a time, but parameters= holds a batch. Give "
                'numbers, or use "spectral".'
            )
        options["parameters"] = parameters
    elif parameters:
        problem = problem.with_parameters(parameters)
    if "progress" in accepted:
        options["progress"] = progress
    solution = module.solve(problem, **options)
    if isinstance(solution, Ensemble):
        return solution
    effective = {**accepted, **options, **solution.options}
    effective.pop("progress", None)
    solution.options = effective
    if reference is not None:
        _measure(solution, reference)
    return solution


def _measure(solution: Solution, reference: str | Solution) -> None:
    """Fill the error of a report; a reference that fails leaves a note, and the error as it was."""
    report, problem = solution.report, solution.problem
    if isinstance(reference, Solution):
        report.error, report.reference = solution.error(reference), reference.method
        return
    if problem.unknowns or (problem.unknown_fields and problem.exact is None):
        report.notes.append("error unknown: the true values of what is unknown are not given")
        return
    if solution.options.get("initial") is not None:
        if report.error is not None:
            return
        report.notes.append(
            "initial= replaces the declared initial value that a reference would use"
        )
        return
    names = REFERENCES if reference == "auto" else (reference,)
    for name in names:
        if name == solution.method:
            return
        reason = can_solve(problem, name)
        if reason is not None:
            if reference != "auto":
                raise UnsupportedProblem(f"reference={name!r} is not possible: {reason}")
            continue
        try:
            other = _method(name).solve(problem)
        except DivergedError as failure:
            report.notes.append(f"the reference {name!r} diverged: {failure}")
            continue
        if other.report.converged is False:
            report.notes.append(f"the reference {name!r} did not converge, so it is none")
            continue
        report.error, report.reference = solution.error(other), name
        worst = max(v for key, v in report.error.items() if key.startswith("l2_relative"))
        if report.converged and worst > WRONG:
            report.converged = False
            report.notes.append(f"not converged: the error against {name!r} is {worst:.1%}.")
        return


def load(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Solution:
    """Read a solution that ``solution.save`` wrote; its values are those that were saved.

    Raises
    ------
    InvalidFile
        The file is damaged, foreign or hostile.
    """

    def empty(method: str, problem: Any, config: Any) -> nn.Module:
        if method not in METHODS:
            raise InvalidFile(f"{str(path)!r} was made by {method!r}, which this version has not.")
        return _method(method).field_from_config(problem, config)

    return storage.read(path, empty).to(device)
