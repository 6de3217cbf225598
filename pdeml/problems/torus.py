"""Periodic boxes of one to three dimensions, and the vector calculus that is written on them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import sympy as sp

from pdeml.domains import Box, Interval, Rectangle
from pdeml.errors import InvalidOption
from pdeml.operators.pde import Field, Periodic
from pdeml.problems.cube import unit_axes

MAX_DIM = 3
MAX_DENOMINATOR = 1000  # of a multiple of π that is taken for exact

T = sp.Symbol("t", real=True)


def axes(dim: int, least: int = 1) -> tuple[sp.Symbol, ...]:
    """Symbols x, or x, y, or x, y, z.

    Raises
    ------
    InvalidOption
        If the dimension is not a whole number from `least` to 3.
    """
    if isinstance(dim, bool) or not isinstance(dim, int) or not least <= dim <= MAX_DIM:
        raise InvalidOption(f"dim is {dim!r}; give a whole number from {least} to {MAX_DIM}.")
    return unit_axes(dim)


def exact_number(name: str, value: Any) -> sp.Expr:
    """A positive number as SymPy sees it best: a whole number, a multiple of π, or a decimal.

    Raises
    ------
    InvalidOption
        If it is not a positive finite number; the message gives the name.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool | str) or not (math.isfinite(number) and number > 0):
        raise InvalidOption(f"{name} is {value!r}; give a positive finite number.")
    if number.is_integer():
        return sp.Integer(int(number))
    turns = Fraction(number / math.pi).limit_denominator(MAX_DENOMINATOR)
    if math.isclose(float(turns) * math.pi, number, rel_tol=1e-15):
        return sp.Rational(turns.numerator, turns.denominator) * sp.pi
    return sp.Float(number)


def periodic_box(x: Sequence[sp.Symbol], length: Any = 1, start: Any = 0) -> Box:
    """[start, start + length]^d as the most specific kind of box."""
    if len(x) == 1:
        return Interval(x[0], start, start + length)
    kind = Rectangle if len(x) == 2 else Box
    return kind(tuple(x), (start,) * len(x), (start + length,) * len(x))


def velocity(x: Sequence[sp.Symbol]) -> tuple[Any, ...]:
    """Fields u, or u, v, or u, v, w: one per axis."""
    return tuple(Field(name, *x, T) for name in "uvw"[: len(x)])


def periodic(fields: Sequence[Any], x: Sequence[sp.Symbol]) -> list[Periodic]:
    """Every field periodic along every axis."""
    return [Periodic(field, axis) for field, axis in itertools.product(fields, x)]


def laplacian(u: Any, x: Sequence[sp.Symbol], power: int = 1) -> sp.Expr:
    """Δu = Σ_i ∂²u/∂x_i², or Δ applied `power` times."""
    for _ in range(power):
        u = sp.Add(*(u.diff(axis, 2) for axis in x))
    return u


def advected(u: Sequence[Any], scalar: Any, x: Sequence[sp.Symbol]) -> sp.Expr:
    """(u·∇) scalar = Σ_i u_i ∂scalar/∂x_i."""
    return sp.Add(*(ui * scalar.diff(axis) for ui, axis in zip(u, x, strict=True)))


def squared_gradient(u: Any, x: Sequence[sp.Symbol]) -> sp.Expr:
    """|∇u|² = Σ_i (∂u/∂x_i)²."""
    return sp.Add(*(u.diff(axis) ** 2 for axis in x))


def divergence(u: Sequence[Any], x: Sequence[sp.Symbol]) -> sp.Expr:
    """∇·u = Σ_i ∂u_i/∂x_i."""
    return sp.Add(*(ui.diff(axis) for ui, axis in zip(u, x, strict=True)))


def mean_of(terms: Sequence[sp.Expr]) -> sp.Expr:
    """Σ_i terms_i / d."""
    return sp.Add(*terms) / len(terms)
