"""The unit cube of any dimension, and the names of its axes."""

from __future__ import annotations

import sympy as sp

from pdeml.domains import Box, Interval, Rectangle
from pdeml.errors import InvalidOption

MAX_DIM = 1000


def unit_axes(dim: int) -> tuple[sp.Symbol, ...]:
    """Symbols x, or x, y, or x, y, z, or x1 … xd.

    Raises
    ------
    InvalidOption
        If the dimension is not a whole number from 1 to 1000.
    """
    if isinstance(dim, bool) or not isinstance(dim, int) or not 1 <= dim <= MAX_DIM:
        raise InvalidOption(f"dim is {dim!r}; give a whole number from 1 to {MAX_DIM}.")
    names = list("xyz"[:dim]) if dim <= 3 else [f"x{i + 1}" for i in range(dim)]
    return tuple(sp.Symbol(name, real=True) for name in names)


def unit_box(axes: tuple[sp.Symbol, ...]) -> Box:
    """[0, 1]^d as the most specific kind of box."""
    if len(axes) == 1:
        return Interval(axes[0], 0, 1)
    kind = Rectangle if len(axes) == 2 else Box
    return kind(axes, (0,) * len(axes), (1,) * len(axes))
