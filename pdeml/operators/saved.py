"""A declaration as a JSON-able dictionary, and the arguments of `PDE` back from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import sympy as sp
from sympy.logic.boolalg import Boolean

from pdeml.domains import Domain, SpaceTime, domain_from_dict
from pdeml.errors import InvalidFile
from pdeml.operators.conditions import BOUNDARY, Condition, Initial, Periodic
from pdeml.operators.fields import (
    MAX_NAME,
    Field,
    Parameter,
    check_name,
    field_dtype,
    is_field,
)
from pdeml.operators.serialization import decode, encode

if TYPE_CHECKING:
    from pdeml.operators.pde import PDE

FORMAT = "pdeml.pde"
VERSION = 1
MAX_TEXT = 2**24
"""Longest accepted JSON text, in characters."""


def write_declaration(problem: PDE) -> dict[str, Any]:
    """What `read_declaration` takes."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": problem.name,
        "description": problem.description,
        "coordinates": [
            {"name": c.name, "assumptions": dict(c.assumptions0)} for c in problem.coordinates
        ],
        "parameters": [
            {
                "name": p.name,
                "value": p.value,
                "range": None if p.range is None else list(p.range),
                "positive": bool(p.is_positive),
                "integer": bool(p.is_integer),
            }
            for p in problem.parameters
        ],
        "unknowns": [p.name for p in problem.unknowns],
        "unknown_fields": [
            {"name": f.func.__name__, "coordinates": [c.name for c in f.args]}
            for f in problem.unknown_fields
        ],
        "fields": [
            {"name": f.func.__name__, "dtype": field_dtype(f).__name__} for f in problem.fields
        ],
        "domain": problem.domain.to_dict(),
        "equations": [[encode(side) for side in e.args] for e in problem.declared],
        "conditions": [_condition_to_dict(c) for c in problem.conditions],
        "exact": problem.exact and {f.func.__name__: encode(e) for f, e in problem.exact.items()},
    }


def parse_json(text: Any) -> Any:
    """JSON text of bounded length and depth, without NaN and infinity."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise InvalidFile(
            f"a saved problem must be JSON text of at most {MAX_TEXT} characters; given is a "
            f"{type(text).__name__}{f' of {len(text)}' if isinstance(text, str) else ''}."
        )
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidFile(f"a saved problem is not valid JSON: {error}") from None


def _condition_to_dict(condition: Condition) -> dict[str, Any]:
    data: dict[str, Any] = {
        "kind": type(condition).__name__,
        "field": condition.field.func.__name__,
        "expressions": [encode(e) for e in condition.expressions],
    }
    if isinstance(condition, Initial):
        data["order"] = condition.order
    elif isinstance(condition, Periodic):
        data["axis"] = condition.axis.name
    else:
        data["on"] = encode(condition.on) if isinstance(condition.on, Boolean) else condition.on
    return data


_KINDS: Mapping[str, type] = MappingProxyType(
    {kind.__name__: kind for kind in (Initial, *BOUNDARY, Periodic)}
)
_EXPRESSIONS: Mapping[str, int] = MappingProxyType(
    {"Initial": 1, "Dirichlet": 1, "Neumann": 1, "Flux": 1, "Robin": 3, "Periodic": 0}
)
_ASSUMPTIONS = frozenset(
    "algebraic antihermitian commutative complex composite even extended_negative "
    "extended_nonnegative extended_nonpositive extended_nonzero extended_positive extended_real "
    "finite hermitian imaginary infinite integer irrational negative noninteger nonnegative "
    "nonpositive nonzero odd positive prime rational real transcendental zero".split()
)


def _entry(data: Mapping[str, Any], key: str, kind: Any) -> Any:
    value = data.get(key) if isinstance(data, dict) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidFile(f"a saved problem has no valid entry {key!r}.")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not finite")


def read_declaration(data: Any) -> dict[str, Any]:
    """The arguments of `PDE` that gave a dictionary written by `write_declaration`.

    Raises
    ------
    InvalidFile
        For a dictionary of another form.
    InvalidProblem
        For parts that are not valid.
    """
    form, version = (data.get(k) if isinstance(data, dict) else None for k in ("format", "version"))
    if form != FORMAT or version != VERSION:
        raise InvalidFile(f"this is no saved problem of the format {FORMAT}, version {VERSION}.")
    coordinates = [_read_coordinate(c) for c in _entry(data, "coordinates", list)]
    symbols = {c.name: c for c in coordinates}
    parameters = [_read_parameter(p) for p in _entry(data, "parameters", list)]
    partial = _read_unknown_fields(data, symbols)
    fields = [
        _read_field(f, partial.get(_entry(f, "name", str), coordinates))
        for f in _entry(data, "fields", list)
    ]
    names: dict[str, sp.Basic] = dict(symbols)
    names |= {p.name: p for p in parameters} | {f.func.__name__: f for f in fields}
    if len(names) < len(coordinates) + len(parameters) + len(fields):
        raise InvalidFile("a saved problem uses one name for two things.")
    domain = domain_from_dict(_entry(data, "domain", dict), symbols)
    if domain.coordinates != tuple(coordinates):
        raise InvalidFile("a saved problem has other coordinates than its domain.")
    equations = []
    for sides in _entry(data, "equations", list):
        if not isinstance(sides, list) or len(sides) != 2:
            raise InvalidFile("a saved problem has an equation that is no [left, right].")
        left, right = (_read_number(side, names) for side in sides)
        equations.append(sp.Eq(left, right, evaluate=False))
    unknowns = _entry(data, "unknowns", list)
    if not all(isinstance(name, str) for name in unknowns):
        raise InvalidFile("a saved problem has unknowns that are no names.")
    exact = data.get("exact")
    if exact is not None:
        if not isinstance(exact, dict) or exact.keys() != {f.func.__name__ for f in fields}:
            raise InvalidFile("a saved problem has an exact solution that is not one per field.")
        exact = {names[name]: _read_number(tree, names) for name, tree in exact.items()}
    return {
        "name": _entry(data, "name", str),
        "equations": equations,
        "domain": domain,
        "conditions": [_read_condition(c, names, domain) for c in _entry(data, "conditions", list)],
        "exact": exact,
        "description": _entry(data, "description", str),
        "fields": fields,
        "unknowns": [*unknowns, *(f for f in fields if f.func.__name__ in partial)],
    }


def _read_number(tree: Any, names: Mapping[str, sp.Basic]) -> sp.Expr:
    value = decode(tree, names)
    if not isinstance(value, sp.Expr):
        raise InvalidFile("a saved problem has a relation where a number belongs.")
    return value


def _read_coordinate(data: Any) -> sp.Symbol:
    name = check_name(_entry(data, "name", str), "coordinate")
    assumptions = _entry(data, "assumptions", dict)
    valid = all(type(v) is bool for v in assumptions.values())
    if not assumptions.keys() <= _ASSUMPTIONS or not valid:
        raise InvalidFile(f"the saved coordinate {name!r} has unknown assumptions.")
    try:
        symbol = sp.Symbol(name, **assumptions)
    except ValueError as error:
        raise InvalidFile(f"the saved coordinate {name!r} contradicts itself: {error}") from error
    if not symbol.is_commutative:
        raise InvalidFile(f"the saved coordinate {name!r} does not commute.")
    return symbol


def _read_parameter(data: Any) -> Parameter:
    name = _entry(data, "name", str)
    value, span = data.get("value"), data.get("range")
    if isinstance(value, str | list | dict) or not isinstance(span, list | None):
        raise InvalidFile(f"the saved parameter {name[:MAX_NAME]!r} has no number as its value.")
    signs = [_entry(data, key, bool) for key in ("positive", "integer")]
    return Parameter(name, value, None if span is None else tuple(span), *signs)


def _read_unknown_fields(
    data: Mapping[str, Any], symbols: Mapping[str, sp.Symbol]
) -> dict[str, list[sp.Symbol]]:
    """The coordinates of each field without an equation; older files have none."""
    found = {}
    for entry in _entry(data, "unknown_fields", list) if "unknown_fields" in data else []:
        names = _entry(entry, "coordinates", list)
        if not all(isinstance(name, str) and name in symbols for name in names):
            raise InvalidFile("a saved unknown field is over coordinates that do not exist.")
        found[_entry(entry, "name", str)] = [symbols[name] for name in names]
    return found


def _read_field(data: Any, coordinates: Sequence[sp.Symbol]) -> Any:
    dtype = {"float": float, "complex": complex}.get(_entry(data, "dtype", str))
    if dtype is None:
        raise InvalidFile("a saved field is neither float nor complex.")
    return Field(_entry(data, "name", str), *coordinates, dtype=dtype)


def _read_condition(data: Any, names: Mapping[str, sp.Basic], domain: Domain) -> Condition:
    kind = _entry(data, "kind", str)
    field = names.get(_entry(data, "field", str))
    if kind not in _KINDS or not is_field(field):
        raise InvalidFile("a saved condition is of an unknown kind or for an unknown field.")
    trees = _entry(data, "expressions", list)
    if len(trees) != _EXPRESSIONS[kind]:
        raise InvalidFile(f"a saved {kind} has {len(trees)} expressions.")
    expressions = [_read_number(tree, names) for tree in trees]
    if kind == "Initial":
        order = _entry(data, "order", int)
        if not isinstance(domain, SpaceTime) or not 0 <= order <= 8:
            raise InvalidFile("a saved Initial has no valid order, or stands in a steady problem.")
        time = domain.time.symbol
        return Initial(sp.Derivative(field, (time, order)) if order else field, *expressions)
    if kind == "Periodic":
        return Periodic(field, names.get(_entry(data, "axis", str)))
    on = data.get("on")
    if isinstance(on, dict):
        on = decode(on, names)
    condition: Condition = _KINDS[kind](field, *expressions, on)
    return condition
