"""The declaration: what every method compiles from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import Boolean, BooleanAtom

from pdeml.domains import Box, Domain, SpaceTime, domain_from_dict
from pdeml.errors import InvalidFile, InvalidOption, InvalidProblem
from pdeml.operators.conditions import (
    BOUNDARY,
    Condition,
    Dirichlet,
    Initial,
    Neumann,
    Periodic,
    Robin,
)
from pdeml.operators.fields import (
    MAX_NAME,
    Field,
    Parameter,
    as_expression,
    check_name,
    field_dtype,
    is_field,
)
from pdeml.operators.posedness import (
    check_conditions,
    check_counts,
    check_names,
    check_real,
    check_symbols,
)
from pdeml.operators.printing import latex, latex_number, latex_text, text
from pdeml.operators.serialization import decode, encode

__all__ = [
    "PDE",
    "Condition",
    "Dirichlet",
    "Field",
    "Initial",
    "Neumann",
    "Parameter",
    "Periodic",
    "Robin",
    "field_dtype",
    "pde_from_json",
]

FORMAT = "pdeml.pde"
VERSION = 1
MAX_TEXT = 2**24
"""Longest accepted JSON text, in characters."""


@dataclass(frozen=True, init=False, eq=False, repr=False)
class PDE:
    """A partial differential equation, or a system, over a domain with its conditions.

    Parameters
    ----------
    name : for reports and files.
    equations : ``sp.Eq(left, right)``, or expressions that vanish; as many as there are fields. Any order
        in space, up to second order in time; equations without time derivatives (constraints) may stand
        beside evolution equations.
    domain : where, with the coordinates (time last): ``Interval(x, -1, 1) * Time(t, 0, 1)``.
    conditions : `Initial`, `Dirichlet`, `Neumann`, `Robin`, `Periodic`.
    exact : ``{field: expression}`` of coordinates and parameters for every field, where it is known.
    description : one sentence.
    fields : the order of the fields; by name where it is not given.
    unknowns : parameters (or their names) that are to be identified from data; a parameter without a value
        is unknown too. Data complete such a problem, so missing conditions are accepted.

    Attributes
    ----------
    equations : tuple of ``sp.Eq``, derivatives carried out so that they apply to fields only.
    residuals : tuple of left minus right.
    fields : tuple of applied functions, the columns of a solution.
    conditions, exact, description : as given, numbers made SymPy numbers.
    parameters : tuple of `Parameter`, sorted by name; `values` holds those that have a value.
    unknowns : tuple of `Parameter`.
    coordinates, space_coordinates, time : symbols; time is None for a steady problem.

    Raises
    ------
    InvalidProblem
        For a declaration that is not well formed; the message names the item and the mend.

    Examples
    --------
    >>> import sympy as sp
    >>> from pdeml.domains import Interval, Time
    >>> x, t = sp.symbols("x t", real=True)
    >>> u, nu = Field("u", x, t), Parameter("nu", 0.01)
    >>> PDE(
    ...     "heat",
    ...     [sp.Eq(u.diff(t), nu * u.diff(x, 2))],
    ...     Interval(x, 0, 1) * Time(t, 0, 1),
    ...     [Initial(u, sp.sin(sp.pi * x)), Dirichlet(u, 0)],
    ... )
    heat
      equation    u_t = nu*u_xx
      domain      Interval(x, 0, 1) * Time(t, 0, 1)
      conditions  Initial(u, sin(pi*x))
                  Dirichlet(u, 0)
      parameter   nu = 0.01
    """

    name: str
    equations: tuple[sp.Eq, ...]
    domain: Domain
    conditions: tuple[Condition, ...]
    exact: dict[Any, sp.Expr] | None
    description: str
    fields: tuple[Any, ...]
    parameters: tuple[Parameter, ...]
    unknowns: tuple[Parameter, ...]

    def __init__(
        self,
        name: str,
        equations: Sequence[sp.Basic] | sp.Basic,
        domain: Domain,
        conditions: Sequence[Condition] | Condition = (),
        exact: Mapping[Any, Any] | None = None,
        description: str = "",
        *,
        fields: Sequence[Any] | None = None,
        unknowns: Iterable[str | Parameter] = (),
    ) -> None:
        check_name(name, "problem")
        if not isinstance(description, str):
            raise InvalidProblem(f"the description of {name!r} is {description!r}; give text.")
        if not isinstance(domain, Domain):
            raise InvalidProblem(
                f"the domain of {name!r} is {domain!r}; give a domain of pdeml, such as "
                "Interval(x, 0, 1) or Interval(x, 0, 1) * Time(t, 0, 1)."
            )
        self._set(name=name, domain=domain, description=description)
        self._set(equations=self._checked_equations(equations))
        self._set(fields=self._ordered_fields(fields))
        self._set(conditions=self._checked_conditions(conditions))
        self._set(exact=self._checked_exact(exact))
        held = [p for e in self._expressions for p in e.atoms(Parameter)]
        self._set(parameters=tuple(sorted(set(held), key=lambda p: p.name)))
        check_names(self.coordinates, self.fields, self.parameters, name)
        check_counts(self.residuals, self.fields, name)
        named = {self.find_parameter(p) for p in unknowns}
        self._set(
            unknowns=tuple(p for p in self.parameters if p in named or p.value is None)
        )
        check_conditions(
            self.conditions, self.fields, domain, self._orders, name, bool(self.unknowns)
        )
        for expression in self._expressions:
            # what is accepted is what can be saved: one table, one set of limits
            encode(expression)

    def _set(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def _checked_equations(self, given: Any) -> tuple[sp.Eq, ...]:
        given = [given] if isinstance(given, sp.Basic | bool) else list(given)
        if not given:
            raise InvalidProblem(f"problem {self.name!r} has no equation; give sp.Eq(left, right).")
        equations = []
        for i, equation in enumerate(given):
            where = f"equation {i + 1} of problem {self.name!r}"
            if isinstance(equation, bool | BooleanAtom):
                raise InvalidProblem(
                    f"{where} is {equation} for every field: SymPy found both sides to be "
                    f"{'equal' if equation else 'different'}. State it with a field."
                )
            if isinstance(equation, sp.Eq):
                sides = equation.args
            else:
                sides = (equation, sp.Integer(0))
            if not all(isinstance(side, sp.Expr) for side in sides):
                raise InvalidProblem(
                    f"{where} is {equation!r}; give sp.Eq(left, right) or an expression that vanishes."
                )
            left, right = (_differentiated(side) for side in sides)
            equation = sp.Eq(left, right, evaluate=False)
            check_symbols(equation, where, self.coordinates)
            held = sorted((left - right).atoms(AppliedUndef), key=str)
            if not held:
                raise InvalidProblem(f"{where} holds no field: {text(equation)}.")
            check_real(left - right, where, held)
            equations.append(equation)
        return tuple(equations)

    def _ordered_fields(self, given: Sequence[Any] | None) -> tuple[Any, ...]:
        held = {f for r in self.residuals for f in r.atoms(AppliedUndef)}
        by_name = sorted(held, key=lambda f: (f.func.__name__, str(f.is_real)))
        names = [f.func.__name__ for f in by_name]
        if len(set(names)) < len(names):
            raise InvalidProblem(
                f"problem {self.name!r} holds two fields of one name, real and complex: "
                f"{', '.join(names)}. Rename one."
            )
        if given is None:
            return tuple(by_name)
        for field in given:
            if field not in held:
                raise InvalidProblem(
                    f"problem {self.name!r} is given the field {text(field)}, which is in no equation; "
                    f"the equations hold {', '.join(names)}."
                )
        if len(given) != len(held):
            raise InvalidProblem(
                f"problem {self.name!r} is given {len(given)} fields in fields=; the equations hold "
                f"{', '.join(names)}. Name each once."
            )
        return tuple(given)

    def _checked_conditions(self, given: Any) -> tuple[Condition, ...]:
        given = (given,) if isinstance(given, Condition) else tuple(given)
        for condition in given:
            if not isinstance(condition, Condition):
                raise InvalidProblem(
                    f"problem {self.name!r} has the condition {condition!r}; give Initial, Dirichlet, "
                    "Neumann, Robin or Periodic."
                )
        return tuple(condition.map(_differentiated) for condition in given)

    def _checked_exact(self, given: Mapping[Any, Any] | None) -> dict[Any, sp.Expr] | None:
        if given is None:
            return None
        names = ", ".join(f.func.__name__ for f in self.fields)
        if not isinstance(given, Mapping) or set(given) != set(self.fields):
            raise InvalidProblem(
                f"the exact solution of {self.name!r} is given for "
                f"{', '.join(map(text, given)) if isinstance(given, Mapping) else type(given).__name__}; "
                f"give {{field: expression}} for each of {names}."
            )
        exact = {}
        for field in self.fields:
            where = f"the exact solution {field.func.__name__} of problem {self.name!r}"
            value = _differentiated(as_expression(given[field], where))
            if value.atoms(AppliedUndef):
                raise InvalidProblem(f"{where} holds a field; give it in coordinates and parameters.")
            check_symbols(value, where, self.coordinates)
            check_real(value, where, [field])
            exact[field] = value
        return exact

    @property
    def _expressions(self) -> list[sp.Basic]:
        """Every expression of the declaration."""
        found: list[sp.Basic] = [side for e in self.equations for side in e.args]
        for condition in self.conditions:
            found.extend(condition.expressions)
            on = getattr(condition, "on", None)
            found.extend([on] if isinstance(on, Boolean) else [])
        return [*found, *(self.exact or {}).values()]

    @cached_property
    def residuals(self) -> tuple[sp.Expr, ...]:
        """Left minus right of each equation."""
        return tuple(e.lhs - e.rhs for e in self.equations)

    @cached_property
    def _orders(self) -> dict[Any, dict[sp.Symbol, int]]:
        orders = {f: dict.fromkeys(self.coordinates, 0) for f in self.fields}
        for derivative in set().union(*(r.atoms(sp.Derivative) for r in self.residuals)):
            for symbol, count in derivative.variable_count:
                highest = orders[derivative.expr]
                highest[symbol] = max(highest[symbol], int(count))
        return orders

    @property
    def coordinates(self) -> tuple[sp.Symbol, ...]:
        """The coordinates of the domain, time last."""
        return self.domain.coordinates

    @property
    def time(self) -> sp.Symbol | None:
        """The time coordinate; None for a steady problem."""
        return self.domain.time.symbol if isinstance(self.domain, SpaceTime) else None

    @property
    def space_coordinates(self) -> tuple[sp.Symbol, ...]:
        """The coordinates without time."""
        return tuple(c for c in self.coordinates if c != self.time)

    @property
    def values(self) -> dict[Parameter, float]:
        """The value of each parameter that has one (for unknowns, the initial guess)."""
        return {p: p.value for p in self.parameters if p.value is not None}

    def periodic_axes(self, field: Any) -> tuple[sp.Symbol, ...]:
        """The coordinates along which a field is periodic, in the order of the coordinates."""
        axes = {c.axis for c in self.conditions if isinstance(c, Periodic) and c.field == field}
        return tuple(c for c in self.coordinates if c in axes)

    def time_order(self, field: Any) -> int:
        """Highest order of a time derivative of a field; 0 for a constraint variable."""
        return self._orders[field][self.time] if self.time is not None else 0

    def order(self, field: Any) -> int:
        """Highest order of a derivative of a field in space, mixed ones counted in full."""
        found = [0]
        for residual in self.residuals:
            for derivative in residual.atoms(sp.Derivative):
                if derivative.expr == field:
                    counts = derivative.variable_count
                    found.append(sum(int(n) for c, n in counts if c != self.time))
        return max(found)

    # Parameters

    def find_parameter(self, name: str | Parameter) -> Parameter:
        """The parameter of a name.

        Raises
        ------
        InvalidOption
            If there is none; the message lists those that there are.
        """
        wanted = name.name if isinstance(name, Parameter) else name
        for parameter in self.parameters:
            if parameter.name == wanted:
                return parameter
        accepted = ", ".join(p.name for p in self.parameters) or "none"
        raise InvalidOption(
            f"problem {self.name!r} has no parameter {wanted!r}; its parameters are: {accepted}."
        )

    def with_parameters(
        self, values: Mapping[str | Parameter, Any] | None = None, **named: Any
    ) -> PDE:
        """The same problem with other values of parameters; they are known then.

        Parameters
        ----------
        values : by parameter or name.
        **named : by name.

        Raises
        ------
        InvalidOption
            For a parameter that the problem does not have.
        InvalidProblem
            For a value that the parameter does not accept.
        """
        new = self._new_parameters({**(values or {}), **named})
        unknowns = [p.name for p in self.unknowns if p not in new]
        return self._rebuilt(new, unknowns, self.exact)

    def with_unknown(
        self, guesses: Mapping[str | Parameter, Any] | None = None, **named: Any
    ) -> PDE:
        """The inverse problem: parameters become unknown, with an initial guess (None for no guess).

        An exact solution that depends on one of them is dropped, as its true value is not known.

        Parameters
        ----------
        guesses : by parameter or name.
        **named : by name.

        Raises
        ------
        InvalidOption
            For a parameter that the problem does not have.
        InvalidProblem
            For a guess that the parameter does not accept.
        """
        new = self._new_parameters({**(guesses or {}), **named})
        unknowns = [p.name for p in (*self.unknowns, *new)]
        exact = self.exact
        if exact and any(e.has(p) for e in exact.values() for p in new):
            exact = None
        return self._rebuilt(new, unknowns, exact)

    def _new_parameters(self, values: Mapping[Any, Any]) -> dict[Parameter, Parameter]:
        found = {self.find_parameter(key): value for key, value in values.items()}
        return {old: old.with_value(value) for old, value in found.items()}

    def _rebuilt(
        self,
        new: Mapping[Parameter, Parameter],
        unknowns: Sequence[str],
        exact: Mapping[Any, sp.Expr] | None,
    ) -> PDE:
        def replaced(e: sp.Basic) -> sp.Basic:
            return e.xreplace(dict(new))

        lost = {p.name for p in self.parameters} if exact is not self.exact else set()
        equations = [
            sp.Eq(*(replaced(side) for side in e.args), evaluate=False) for e in self.equations
        ]
        conditions = [c.map(replaced) for c in self.conditions]
        held = {p.name for e in equations for p in e.atoms(Parameter)}
        held |= {p.name for c in conditions for e in c.expressions for p in e.atoms(Parameter)}
        return PDE(
            self.name,
            equations,
            self.domain,
            conditions,
            exact and {f: replaced(e) for f, e in exact.items()},
            self.description,
            fields=self.fields,
            unknowns=[n for n in unknowns if n in held or n not in lost],
        )

    # Text, LaTeX, JSON

    def __repr__(self) -> str:
        rows = [
            ("equation", [f"{text(e.lhs)} = {text(e.rhs)}" for e in self.equations]),
            ("domain", [repr(self.domain)]),
            ("condition", [repr(c) for c in self.conditions]),
            ("parameter", [f"{p} = {p.value:.6g}" for p in self.values if p not in self.unknowns]),
            ("unknown", [_guess(p) for p in self.unknowns]),
            ("exact", [f"{f.func.__name__} = {text(e)}" for f, e in (self.exact or {}).items()]),
        ]
        lines = [self.name]
        for head, entries in rows:
            head += "s" if len(entries) > 1 and head not in ("domain", "exact") else ""
            lines += [f"  {head if i == 0 else '':<12}{e}" for i, e in enumerate(entries)]
        return "\n".join(lines)

    def latex(self) -> str:
        """Equations, domain, conditions and parameter values, as LaTeX in mathematics mode."""
        rows = [f"{latex(e.lhs)} &= {latex(e.rhs)}" for e in self.equations]
        rows.append("&" + self._latex_domain())
        for condition in self.conditions:
            if isinstance(condition, Initial) and isinstance(self.domain, SpaceTime):
                start = latex_number(self.domain.time.start)
                rows.append("&" + condition.latex(start, latex(self.domain.time.symbol)))
            else:
                rows.append("&" + condition.latex())
        for parameter in self.parameters:
            value = parameter.value
            shown = r"\text{unknown}" if value is None else latex_number(value)
            guess = r" \text{ (guess)}" if value is not None and parameter in self.unknowns else ""
            rows.append(f"{latex(parameter)} &= {shown}{guess}")
        return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"

    def _latex_domain(self) -> str:
        space = self.domain.space if isinstance(self.domain, SpaceTime) else self.domain
        parts = []
        if isinstance(space, Box):
            boxed = list(zip(space.coordinates, *space.bounds, strict=True))
        else:
            names = ", ".join(latex(c) for c in space.coordinates)
            parts.append(rf"\left({names}\right) \in {latex_text(repr(space))}")
            boxed = []
        if isinstance(self.domain, SpaceTime):
            time = self.domain.time
            boxed.append((time.symbol, time.start, time.end))
        parts += [
            rf"{latex(c)} \in \left[{latex_number(a)}, {latex_number(b)}\right]" for c, a, b in boxed
        ]
        return r",\quad ".join(parts)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    @property
    def _key(self) -> tuple[Any, ...]:
        exact = None if self.exact is None else tuple(self.exact[f] for f in self.fields)
        return (
            *(self.name, self.description, self.equations, self.fields, self.domain),
            *(self.conditions, exact, self.unknowns),
        )

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, PDE) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def to_dict(self) -> dict[str, Any]:
        """The declaration as a JSON-able dictionary; `from_dict` gives it back exactly."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "description": self.description,
            "coordinates": [
                {"name": c.name, "assumptions": dict(c.assumptions0)} for c in self.coordinates
            ],
            "parameters": [
                {
                    "name": p.name,
                    "value": p.value,
                    "range": None if p.range is None else list(p.range),
                    "positive": bool(p.is_positive),
                    "integer": bool(p.is_integer),
                }
                for p in self.parameters
            ],
            "unknowns": [p.name for p in self.unknowns],
            "fields": [
                {"name": f.func.__name__, "dtype": field_dtype(f).__name__} for f in self.fields
            ],
            "domain": self.domain.to_dict(),
            "equations": [[encode(side) for side in e.args] for e in self.equations],
            "conditions": [_condition_to_dict(c) for c in self.conditions],
            "exact": self.exact and {f.func.__name__: encode(e) for f, e in self.exact.items()},
        }

    def to_json(self, indent: int | None = None) -> str:
        """The declaration as JSON text; `from_json` gives back an equal problem."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The declaration that `to_json` wrote. Nothing in the text is run or parsed as code.

        Raises
        ------
        InvalidFile
            If the text does not describe a valid problem.
        """
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise InvalidFile(
                f"a saved problem must be JSON text of at most {MAX_TEXT} characters; given is "
                f"{type(text).__name__} of length {len(text)}."
            )
        try:
            data = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidFile(f"a saved problem is not valid JSON: {error}") from None
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """The declaration that `to_dict` wrote.

        Raises
        ------
        InvalidFile
            If it does not describe a valid problem.
        """
        form, version = (data.get(k) if isinstance(data, dict) else None for k in ("format", "version"))
        if form != FORMAT or version != VERSION:
            raise InvalidFile(
                f"this is no saved problem: its format is {form!r}, version {version!r}; expected are "
                f"{FORMAT!r}, {VERSION}."
            )
        try:
            return cls(**_read(data))
        except (InvalidProblem, InvalidOption) as error:
            raise InvalidFile(f"a saved problem is not valid: {error}") from error


def pde_from_json(text: str) -> PDE:
    """The declaration that `PDE.to_json` wrote; see `PDE.from_json`."""
    return PDE.from_json(text)


def _differentiated(expression: sp.Expr) -> sp.Expr:
    """Derivatives carried out until they apply to fields only; the rest is left as it is."""
    if all(isinstance(d.expr, AppliedUndef) for d in expression.atoms(sp.Derivative)):
        return expression
    return expression.doit()


def _guess(parameter: Parameter) -> str:
    shown = "no guess" if parameter.value is None else f"guess {parameter.value:.6g}"
    return f"{parameter} ({shown})"


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
    {"Initial": 1, "Dirichlet": 1, "Neumann": 1, "Robin": 3, "Periodic": 0}
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


def _read(data: dict[str, Any]) -> dict[str, Any]:
    """The arguments of PDE from its saved form."""
    coordinates = [_read_coordinate(c) for c in _entry(data, "coordinates", list)]
    symbols = {c.name: c for c in coordinates}
    parameters = [_read_parameter(p) for p in _entry(data, "parameters", list)]
    fields = [_read_field(f, coordinates) for f in _entry(data, "fields", list)]
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
    exact = data.get("exact")
    if exact is not None:
        if not isinstance(exact, dict) or exact.keys() != {f.func.__name__ for f in fields}:
            raise InvalidFile("a saved problem has an exact solution that is not one per field.")
        exact = {names[name]: _read_number(tree, names) for name, tree in exact.items()}
    return {
        "name": _entry(data, "name", str),
        "equations": equations,
        "domain": domain,
        "conditions": [
            _read_condition(c, names, domain) for c in _entry(data, "conditions", list)
        ],
        "exact": exact,
        "description": _entry(data, "description", str),
        "fields": fields,
        "unknowns": _entry(data, "unknowns", list),
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
