"""What "spectral" accepts: the problem, its parameters, its options."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pdeml import engine
from pdeml.domains import Box
from pdeml.errors import InvalidOption, StiffExplicitTermWarning, UnsupportedProblem
from pdeml.operators.pde import Initial, Parameter, Periodic
from pdeml.operators.symbol import Split, split
from pdeml.solvers.options import check_parameters

MAX_DIM = 3
MAX_VARIABLES = 8  # functions of L are computed for matrices of this size at most


def can_solve(problem: Any) -> str | None:
    """Why "spectral" cannot lower the problem, or None where it can."""
    try:
        lowered(problem)
    except UnsupportedProblem as reason:
        return str(reason)
    return None


def _others(problem: Any) -> str:
    """Methods for walls and other shapes."""
    space = problem.domain.space if problem.time is not None else problem.domain
    names = ["exact"] if problem.exact is not None else []
    names += ["chebyshev"] if isinstance(space, Box) and space.dim <= 2 else []
    *first, last = (f'"{name}"' for name in (*names, "fem", "pinn"))
    return f"{', '.join(first)} or {last}"


def lowered(problem: Any) -> Split:
    """The split right-hand side.

    Raises
    ------
    UnsupportedProblem
        A term or condition has no lowering; the message names it.
    """
    if problem.time is None:
        raise UnsupportedProblem(
            f'"spectral" advances in time, but {problem.name!r} has no time. '
            f"Use {_others(problem)}."
        )
    space = problem.domain.space
    if not isinstance(space, Box) or space.dim > MAX_DIM:
        raise UnsupportedProblem(
            f'"spectral" needs a periodic box of one to three space coordinates, but '
            f"{problem.name!r} is declared on {space!r}. Use {_others(problem)}."
        )
    coordinate = space.coordinates[0].name
    for condition in problem.conditions:
        if not isinstance(condition, Initial | Periodic):
            raise UnsupportedProblem(
                f'"spectral" needs every boundary periodic, but {condition} is declared. '
                f"Use {_others(problem)}, or declare Periodic(u, {coordinate})."
            )
    for field in problem.fields:
        for axis in problem.space_coordinates:
            if axis not in problem.periodic_axes(field):
                raise UnsupportedProblem(
                    f'"spectral" needs every boundary periodic, but {field} is not in {axis}. '
                    f"Use {_others(problem)}, or declare "
                    f"Periodic({field.func.__name__}, {axis})."
                )
    check_parameters(problem, "spectral")
    right = split(problem)
    if len(right.state) > MAX_VARIABLES:
        raise UnsupportedProblem(
            f'"spectral" takes at most {MAX_VARIABLES} evolved variables, but {problem.name!r} has '
            f'{len(right.state)}. Use "pinn".'
        )
    return right


def real_fields(problem: Any) -> bool:
    """Whether the half spectrum suffices; one complex field makes the whole state complex."""
    return all(f.is_real for f in problem.fields)


def numbers(
    problem: Any, parameters: Mapping[Any, Any] | None
) -> tuple[Any, dict[Parameter, float | Tensor]]:
    """The problem with new values of parameters, and the value of each; tensors stay tensors.

    Raises
    ------
    InvalidOption
        A parameter does not exist, or a tensor is no number or batch (B,) of real numbers.
    """
    families: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for key, value in (parameters or {}).items():
        name = problem.find_parameter(key).name
        if not isinstance(value, Tensor):
            plain[name] = value
            continue
        real = value.is_floating_point() and value.numel() > 0
        if value.dim() > 1 or not real or not torch.isfinite(value).all():
            raise InvalidOption(
                f"parameters={{{name!r}: …}} has shape {tuple(value.shape)} and dtype "
                f"{value.dtype}; give finite real numbers, one per trajectory: a tensor (B,)."
            )
        families[name] = value
    sizes = {len(v) for v in families.values() if v.dim()}
    if len(sizes) > 1:
        raise InvalidOption(
            f"parameters= gives batches of {', '.join(map(str, sorted(sizes)))}; give one size."
        )
    # the declaration holds the first member, so that its checks (positive, …) see a number
    samples = {name: float(v.detach().reshape(-1)[0]) for name, v in families.items()}
    for name, value in families.items():
        for extreme in (value.detach().min().item(), value.detach().max().item()):
            problem = problem.with_parameters({name: extreme})
    if plain or samples:
        problem = problem.with_parameters({**plain, **samples})
    values = {p: families.get(p.name, v) for p, v in problem.values.items()}
    return problem, values


def warn_of_stiff_terms(right: Split) -> None:
    """`StiffExplicitTermWarning` for linear terms of high order with a variable coefficient."""
    for term in right.variable:
        warnings.warn(
            f"the term {term} has a variable coefficient and is stepped explicitly: stability may "
            "need steps of the order of the squared distance of points, or smaller",
            StiffExplicitTermWarning,
            stacklevel=3,
        )


def checked_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """float64 or float32; InvalidOption for another dtype."""
    kind = engine.resolve_dtype(dtype)
    if kind not in (torch.float64, torch.float32):
        raise InvalidOption(f"dtype={dtype!r}: \"spectral\" runs in 'float64' or 'float32'.")
    return kind


def checked_stretch(checkpoint_every: Any) -> int | None:
    """Steps between checkpoints of a gradient; InvalidOption unless a positive integer or None."""
    whole = isinstance(checkpoint_every, int) and not isinstance(checkpoint_every, bool)
    if checkpoint_every is not None and not (whole and checkpoint_every > 0):
        raise InvalidOption(
            f"checkpoint_every={checkpoint_every!r}: give a positive number of steps, or None."
        )
    return checkpoint_every
