"""Families of the zoo whose samples are declared one by one, with what is stored beside them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pdeml import problems
from pdeml.data.single import Family, Sample
from pdeml.problems.porous import permeability


def darcy(
    coefficient: str = "threshold",
    seed: int = 0,
    sample: int = 0,
    modes: int = 8,
    source: float = 1.0,
    strength: float = 1.0,
) -> Sample:
    """`pdeml.problems.darcy` and its coefficient ``k``: pairs for operator learning.

    Parameters, raises: as of `pdeml.problems.darcy`.
    """
    problem = problems.darcy(coefficient, seed, sample, modes, source, strength)
    x, y = problem.space_coordinates
    return Sample(problem, {"k": permeability(x, y, coefficient, seed, sample, modes, strength)})


WITH_INPUTS: Mapping[str, Callable[..., Sample]] = MappingProxyType({"darcy": darcy})
"""Families whose inputs are stored, by the name of the problem."""


def family_of(name: str) -> Family | None:
    """The family of a name of the zoo; None where the name is that of one problem.

    A function of the zoo that takes ``seed`` and ``sample`` declares a family.
    """
    build = WITH_INPUTS.get(name) or problems.get(name)
    return build if {"seed", "sample"} <= inspect.signature(build).parameters.keys() else None
