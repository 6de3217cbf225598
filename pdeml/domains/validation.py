"""Checks of what domains are declared with, and how they print it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp

from pdeml.errors import InvalidFile, InvalidProblem


def number(value: Any, what: str) -> float:
    """A finite float from a Python, NumPy or SymPy number.

    Raises
    ------
    InvalidProblem
        If it is none; the message names ``what``.
    """
    try:
        result = float("nan") if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = float("nan")
    if not math.isfinite(result):
        raise InvalidProblem(f"{what} is {value!r}; a finite number is needed.")
    return result


def numbers(values: Any, count: int, what: str) -> tuple[float, ...]:
    """``count`` finite floats.

    Raises
    ------
    InvalidProblem
        If there are not as many or one is not finite.
    """
    try:
        entries = list(values)
    except TypeError:
        entries = [values]
    if len(entries) != count:
        raise InvalidProblem(f"{what} has {len(entries)} entries; one per coordinate, {count}.")
    return tuple(number(value, f"{what}[{index}]") for index, value in enumerate(entries))


def symbols_of(coordinates: Any, kind: str, count: int | None = None) -> tuple[sp.Symbol, ...]:
    """Distinct SymPy symbols, ``count`` of them where it is given.

    Raises
    ------
    InvalidProblem
        If they are anything else.
    """
    entries = (coordinates,) if isinstance(coordinates, sp.Symbol) else coordinates
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise InvalidProblem(
            f"{kind}: {coordinates!r} are no coordinates; give SymPy symbols, "
            'for instance sp.symbols("x y", real=True).'
        )
    for entry in entries:
        if not isinstance(entry, sp.Symbol):
            raise InvalidProblem(
                f"{kind}: the coordinate {entry!r} is no SymPy symbol; give for instance "
                'sp.Symbol("x", real=True).'
            )
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise InvalidProblem(f"{kind}: the coordinates {names} repeat a name; each needs its own.")
    if count is not None and len(names) != count:
        raise InvalidProblem(f"{kind} needs {count} coordinates, {len(names)} were given: {names}.")
    return tuple(entries)


def looked_up(names: Any, symbols: Mapping[str, sp.Symbol]) -> tuple[sp.Symbol, ...]:
    """The symbols of a saved domain.

    Raises
    ------
    InvalidFile
        If a name is unknown.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidFile(f"a saved domain names its coordinates by {names!r}, not by a list.")
    for name in names:
        if name not in symbols:
            raise InvalidFile(
                f"a saved domain has the coordinate {name!r}; known are {', '.join(symbols)}."
            )
    return tuple(symbols[name] for name in names)


def shown(value: float) -> str:
    """A float as short as it can be without loss."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def shown_all(values: Sequence[Any]) -> str:
    """A tuple as it prints; long ones with dots."""
    texts = [shown(value) if isinstance(value, float) else str(value) for value in values]
    if len(texts) > 6:
        texts = [*texts[:2], "…", texts[-1]]
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"


def shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:40]} … {text[-10:]}"
