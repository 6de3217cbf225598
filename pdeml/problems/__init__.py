"""Ready declarations: each function makes a `PDE` and says in its docstring what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pdeml.errors import InvalidOption
from pdeml.operators.pde import PDE
from pdeml.problems.dispersive import kdv
from pdeml.problems.elliptic import helmholtz, poisson
from pdeml.problems.reaction import allen_cahn, klein_gordon
from pdeml.problems.transport import burgers, convection, convection_diffusion, heat, wave

__all__ = [
    "allen_cahn",
    "burgers",
    "convection",
    "convection_diffusion",
    "get",
    "heat",
    "helmholtz",
    "kdv",
    "klein_gordon",
    "names",
    "poisson",
    "wave",
]

_ZOO: Mapping[str, Callable[..., PDE]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            burgers,
            allen_cahn,
            heat,
            convection,
            convection_diffusion,
            wave,
            klein_gordon,
            kdv,
            helmholtz,
            poisson,
        )
    }
)


def names() -> tuple[str, ...]:
    """The names that `get` takes."""
    return tuple(_ZOO)


def get(name: str) -> Callable[..., PDE]:
    """The function that makes the problem of a name: ``get("burgers")(nu=0.1)``.

    Its docstring describes the problem; every argument has a default.

    Raises
    ------
    InvalidOption
        For an unknown name; the message lists those that there are.
    """
    if name not in _ZOO:
        raise InvalidOption(f"there is no problem {name!r}; known are: {', '.join(names())}.")
    return _ZOO[name]
