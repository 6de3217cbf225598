"""Words of the command line as problems, parameter values and options of methods."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pdeml import problems
from pdeml.cli.problem_file import read_problem
from pdeml.errors import InvalidOption, InvalidProblem
from pdeml.operators.pde import PDE
from pdeml.solvers import METHODS

RESERVED = ("progress", "checkpoint", "resume")
"""Options of methods that the command sets itself."""

_WORDS = {"true": True, "false": False, "none": None, "null": None}


class _Misfit(Exception):
    """A value that is not of an option's type."""


def split_assignment(text: str, flag: str) -> tuple[str, str]:
    """``name=value`` as a pair."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip() or not value.strip():
        raise InvalidOption(f"{flag} {text!r}: give name=value, as in {flag} nu=0.003.")
    return name.strip(), value.strip()


def parse(text: str) -> Any:
    """A word as number, list (``1,2``), table (JSON), truth value, None, or else as it is."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    listed = f"[{text}]" if "," in text and text[0] not in "[{" else text
    try:
        return json.loads(listed, parse_constant=_refuse)
    except (ValueError, RecursionError):
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def find_problem(argument: str, settings: Sequence[str] = ()) -> PDE:
    """The zoo's problem of a name, or that of a Python file, with ``--set`` values.

    Raises
    ------
    InvalidProblem
        For a name or file that is none.
    InvalidOption
        For a parameter that the problem does not have; the message lists those that it has.
    """
    given = dict(_setting(text) for text in settings)
    declared: dict[str, Any] = {}
    if argument in problems.names():
        build = problems.get(argument)
        declared = _arguments(build)
        chosen = {n: _count(given.pop(n), declared, n) for n in declared if n in given}
        problem = build(**chosen)
    elif argument.endswith(".py") or Path(argument).exists():
        problem = read_problem(Path(argument))
    else:
        raise InvalidProblem(
            f"there is no problem {argument!r}; give one of {', '.join(problems.names())}, or the "
            "path of a Python file (.py) that declares one."
        )
    unknown = [name for name in given if name not in {p.name for p in problem.parameters}]
    if unknown:
        accepted = {**{p.name: p.value for p in problem.parameters}, **declared}
        accepted |= {p.name: p.value for p in problem.parameters}
        listed = ", ".join(f"{n}={v:.6g}" if v is not None else n for n, v in accepted.items())
        raise InvalidOption(
            f"problem {problem.name!r} has no parameter {unknown[0]!r}; --set accepts "
            f"{listed or 'nothing: it has no parameters'}."
        )
    return problem.with_parameters(given) if given else problem


def _setting(text: str) -> tuple[str, float]:
    name, word = split_assignment(text, "--set")
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidOption(f"--set {text!r}: the value must be a finite number.")
    return name, value


def _arguments(build: Any) -> dict[str, Any]:
    """Numeric arguments of a problem's function, with their defaults."""
    return {
        p.name: p.default
        for p in inspect.signature(build).parameters.values()
        if isinstance(p.default, int | float) and not isinstance(p.default, bool)
    }


def _count(value: float, declared: Mapping[str, Any], name: str) -> float:
    """The value as an integer where the argument is one (a dimension, a wave number)."""
    if not isinstance(declared[name], int):
        return value
    if not value.is_integer():
        raise InvalidOption(f"--set {name}={value:g}: {name} must be an integer.")
    return int(value)


def module_of(method: str) -> types.ModuleType:
    """The module of a method.

    Raises
    ------
    InvalidOption
        If there is no such method; those that there are are listed.
    """
    if method not in METHODS:
        raise InvalidOption(f"there is no method {method!r}; give one of {', '.join(METHODS)}.")
    return importlib.import_module(METHODS[method])


def typed_options(method: str) -> dict[str, tuple[Any, str, Any]]:
    """Options of a method that a command line can give: type, type as written, default."""
    solve = module_of(method).solve
    hints = typing.get_type_hints(solve)
    return {
        p.name: (hints[p.name], str(p.annotation), p.default)
        for p in inspect.signature(solve).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name not in RESERVED
    }


def method_options(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options checked against their types, so that no wrong word reaches a method.

    Raises
    ------
    InvalidOption
        For an option that the method does not have, or a value of another type.
    """
    accepted = typed_options(method)
    out = {}
    for name, value in given.items():
        if name not in accepted:
            raise InvalidOption(
                f"method {method!r} has no option {name!r}; its options are {', '.join(accepted)}."
            )
        hint, written, _ = accepted[name]
        try:
            out[name] = _fit(value, hint)
        except _Misfit:
            raise InvalidOption(
                f"option {name!r} of {method!r} is {value!r}; accepted is {written} (only numbers, "
                "words and lists of them can be given on the command line)."
            ) from None
    return out


def _fit(value: Any, hint: Any) -> Any:
    """The value as an instance of a type hint."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        for part in parts:
            try:
                return _fit(value, part)
            except _Misfit:
                continue
        raise _Misfit
    if hint in (None, type(None)) and value is None:
        return None
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint in (bool, str) and isinstance(value, hint):
        return value
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return tuple(_fit(v, parts[0]) for v in (value if isinstance(value, list) else [value]))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {_fit(k, parts[0]): _fit(v, parts[1]) for k, v in value.items()}
    raise _Misfit
