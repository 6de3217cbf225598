"""The declaration: what every method compiles from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import Boolean, BooleanAtom

from pdeml.domains import Box, Domain, SpaceTime
from pdeml.errors import InvalidFile, InvalidOption, InvalidProblem
from pdeml.operators.conditions import (
    Condition,
    Dirichlet,
    Flux,
    Initial,
    Neumann,
    Periodic,
    Robin,
)
from pdeml.operators.fields import (
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
from pdeml.operators.saved import parse_json, read_declaration, write_declaration
from pdeml.operators.serialization import encode, is_divergence
from pdeml.operators.weak import WeakForm, weak_form

__all__ = [
    "PDE",
    "Condition",
    "Dirichlet",
    "Field",
    "Flux",
    "Initial",
    "Neumann",
    "Parameter",
    "Periodic",
    "Robin",
    "field_dtype",
    "pde_from_json",
]


@dataclass(frozen=True, init=False, eq=False, repr=False)
class PDE:
    """A partial differential equation, or a system, over a domain with its conditions.

    Parameters
    ----------
    name : for reports and files.
    equations : ``sp.Eq(left, right)``, or expressions that vanish; as many as there are fields. Any
        order in space, up to second order in time; equations without time derivatives (constraints)
        may stand beside evolution equations.
    domain : where, with the coordinates (time last): ``Interval(x, -1, 1) * Time(t, 0, 1)``.
    conditions : `Initial`, `Dirichlet`, `Neumann`, `Flux`, `Robin`, `Periodic`.
    exact : ``{field: expression}`` of coordinates and parameters for every field, where it is
        known.
    description : one sentence.
    fields : the order of the fields; by name where it is not given.
    unknowns : parameters (or their names) that are to be identified from data; a parameter without
        a value is unknown too. Fields (of all coordinates or of some) may stand among them: they
        need no equation of their own. Data complete such a problem, so missing conditions are
        accepted.

    Attributes
    ----------
    equations : tuple of ``sp.Eq``, derivatives carried out so that they apply to fields only.
    declared : the equations with the divergences of `pdeml.div` as they were given.
    residuals : tuple of left minus right.
    fields : tuple of applied functions, the columns of a solution.
    conditions, exact, description : as given, numbers made SymPy numbers.
    parameters : tuple of `Parameter`, sorted by name; `values` holds those that have a value.
    unknowns : tuple of `Parameter`.
    unknown_fields : tuple of fields without an equation, to be identified from data.
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
    declared: tuple[sp.Eq, ...]
    domain: Domain
    conditions: tuple[Condition, ...]
    exact: dict[Any, sp.Expr] | None
    description: str
    fields: tuple[Any, ...]
    parameters: tuple[Parameter, ...]
    unknowns: tuple[Parameter, ...]
    unknown_fields: tuple[Any, ...]

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
        unknowns: Iterable[Any] = (),
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
        unknowns = tuple(unknowns)
        self._set(unknown_fields=tuple(f for f in unknowns if is_field(f)))
        equations, declared = self._checked_equations(equations)
        self._set(equations=equations, declared=declared)
        self._set(fields=self._ordered_fields(fields))
        self._set(conditions=self._checked_conditions(conditions))
        self._set(exact=self._checked_exact(exact))
        held = [p for _, e in self._expressions for p in e.atoms(Parameter)]
        self._set(parameters=tuple(sorted(set(held), key=lambda p: p.name)))
        check_names(self.coordinates, self.fields, self.parameters, name)
        for field in self.unknown_fields:
            if field not in self.fields:
                raise InvalidProblem(
                    f"problem {name!r} is given the unknown field {text(field)}, which is in no "
                    "equation."
                )
        known = [f for f in self.fields if f not in self.unknown_fields]
        check_counts(self.residuals, known, name)
        named = {self.find_parameter(p) for p in unknowns if p not in self.unknown_fields}
        self._set(unknowns=tuple(p for p in self.parameters if p in named or p.value is None))
        inverse = bool(self.unknowns or self.unknown_fields)
        check_conditions(self.conditions, self.fields, domain, self._orders, name, inverse)
        for where, expression in self._expressions:
            # what is accepted is what can be saved: one table, one set of limits
            encode(expression, where)

    def _set(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def _checked_equations(self, given: Any) -> tuple[tuple[sp.Eq, ...], tuple[sp.Eq, ...]]:
        if isinstance(given, sp.Basic | bool) or not isinstance(given, Iterable):
            given = [given]
        given = list(given)
        if not given:
            raise InvalidProblem(f"problem {self.name!r} has no equation; give sp.Eq(left, right).")
        equations, declared = [], []
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
                    f"{where} is {equation!r}; give sp.Eq(left, right) or an expression that "
                    "vanishes."
                )
            declared.append(sp.Eq(*map(_with_divergences, sides), evaluate=False))
            left, right = (_differentiated(side) for side in sides)
            equation = sp.Eq(left, right, evaluate=False)
            check_symbols(equation, where, self.coordinates, partial=self.unknown_fields)
            for derivative in equation.atoms(sp.Derivative):
                if not isinstance(derivative.expr, AppliedUndef):
                    raise InvalidProblem(
                        f"{where} holds {text(derivative)}, which SymPy cannot differentiate; "
                        "write the derivative out."
                    )
            held = sorted((left - right).atoms(AppliedUndef), key=str)
            if not held:
                raise InvalidProblem(f"{where} holds no field: {text(equation)}.")
            check_real(left - right, where, held)
            equations.append(equation)
        return tuple(equations), tuple(declared)

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
                    f"problem {self.name!r} is given the field {text(field)}, which is in no "
                    f"equation; the equations hold {', '.join(names)}."
                )
        if len(given) != len(held):
            raise InvalidProblem(
                f"problem {self.name!r} is given {len(given)} fields in fields=; the equations "
                f"hold {', '.join(names)}. Name each once."
            )
        return tuple(given)

    def _checked_conditions(self, given: Any) -> tuple[Condition, ...]:
        if isinstance(given, Condition) or not isinstance(given, Iterable):
            given = (given,)
        given = tuple(given)
        for condition in given:
            if not isinstance(condition, Condition):
                raise InvalidProblem(
                    f"problem {self.name!r} has the condition {condition!r}; give Initial, "
                    "Dirichlet, Neumann, Flux, Robin or Periodic."
                )
        return tuple(condition.map(_differentiated) for condition in given)

    def _checked_exact(self, given: Mapping[Any, Any] | None) -> dict[Any, sp.Expr] | None:
        if given is None:
            return None
        names = ", ".join(f.func.__name__ for f in self.fields)
        if not isinstance(given, Mapping) or set(given) != set(self.fields):
            shown = map(text, given) if isinstance(given, Mapping) else [type(given).__name__]
            raise InvalidProblem(
                f"the exact solution of {self.name!r} is given for {', '.join(shown)}; "
                f"give {{field: expression}} for each of {names}."
            )
        exact = {}
        for field in self.fields:
            where = f"the exact solution {field.func.__name__} of problem {self.name!r}"
            value = _differentiated(as_expression(given[field], where))
            if value.atoms(AppliedUndef):
                raise InvalidProblem(
                    f"{where} holds a field; give it in coordinates and parameters."
                )
            check_symbols(value, where, self.coordinates)
            check_real(value, where, [field])
            exact[field] = value
        return exact

    @property
    def _expressions(self) -> Iterator[tuple[str, sp.Basic]]:
        """Every expression of the declaration, and what it is."""
        for i, equation in enumerate(self.declared):
            for side in equation.args:
                yield f"equation {i + 1} of problem {self.name!r}", side
        for condition in self.conditions:
            on = getattr(condition, "on", None)
            for expression in (*condition.expressions, *([on] if isinstance(on, Boolean) else [])):
                yield f"{condition!r} of problem {self.name!r}", expression
        for field, expression in (self.exact or {}).items():
            yield f"the exact solution {field.func.__name__} of problem {self.name!r}", expression

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

    def weak_form(self) -> WeakForm:
        """The weak form: flux, remainder and boundary terms of each equation; print it.

        Raises
        ------
        UnsupportedProblem
            A term has none; the message names it.
        """
        return weak_form(self)

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
        self, values: Mapping[str | Parameter, Any] | None = None, /, **named: Any
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
        unknowns = [*(p.name for p in self.unknowns if p not in new), *self.unknown_fields]
        return self._rebuilt(new, unknowns, self.exact)

    def with_unknown(
        self, guesses: Mapping[str | Parameter, Any] | None = None, /, **named: Any
    ) -> PDE:
        """The inverse problem: parameters become unknown, with an initial guess (or None).

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
        unknowns = [*(p.name for p in (*self.unknowns, *new)), *self.unknown_fields]
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
        unknowns: Sequence[Any],
        exact: Mapping[Any, sp.Expr] | None,
    ) -> PDE:
        def replaced(e: sp.Basic) -> sp.Basic:
            return e.xreplace(dict(new))

        equations = [
            sp.Eq(*(replaced(side) for side in e.args), evaluate=False) for e in self.declared
        ]
        return PDE(
            self.name,
            equations,
            self.domain,
            [c.map(replaced) for c in self.conditions],
            exact and {f: replaced(e) for f, e in exact.items()},
            self.description,
            fields=self.fields,
            unknowns=unknowns,
        )

    # Text, LaTeX, JSON

    def __repr__(self) -> str:
        rows = [
            ("equation", [f"{text(e.lhs)} = {text(e.rhs)}" for e in self.equations]),
            ("domain", [repr(self.domain)]),
            ("condition", [repr(c) for c in self.conditions]),
            ("parameter", [f"{p} = {p.value:.6g}" for p in self.values if p not in self.unknowns]),
            ("unknown", [*map(_guess, self.unknowns), *map(text, self.unknown_fields)]),
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
            rf"{latex(c)} \in \left[{latex_number(a)}, {latex_number(b)}\right]"
            for c, a, b in boxed
        ]
        return r",\quad ".join(parts)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    @property
    def _key(self) -> tuple[Any, ...]:
        exact = None if self.exact is None else tuple(self.exact[f] for f in self.fields)
        return (
            *(self.name, self.description, self.declared, self.fields, self.domain),
            *(self.conditions, exact, self.unknowns, self.unknown_fields),
        )

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, PDE) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def to_dict(self) -> dict[str, Any]:
        """The declaration as a JSON-able dictionary; `from_dict` gives it back exactly."""
        return write_declaration(self)

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
        return cls.from_dict(parse_json(text))

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """The declaration that `to_dict` wrote.

        Raises
        ------
        InvalidFile
            If it does not describe a valid problem.
        """
        try:
            return cls(**read_declaration(data))
        except (InvalidProblem, InvalidOption, RecursionError, TypeError) as error:
            # TypeError: SymPy compares what damage made no number
            raise InvalidFile(f"a saved problem is not valid: {error}") from error


def pde_from_json(text: str) -> PDE:
    """The declaration that `PDE.to_json` wrote; see `PDE.from_json`."""
    return PDE.from_json(text)


def _differentiated(expression: sp.Expr) -> sp.Expr:
    """Derivatives carried out until they apply to fields only; the rest is left as it is."""
    if all(isinstance(d.expr, AppliedUndef) for d in expression.atoms(sp.Derivative)):
        return expression
    return expression.doit()


def _with_divergences(expression: sp.Expr) -> sp.Expr:
    """Derivatives carried out, but for first ones of a flux of fields and their derivatives."""
    kept = {
        d: sp.Dummy()
        for d in expression.atoms(sp.Derivative)
        if not isinstance(d.expr, AppliedUndef) and is_divergence(d)
    }
    return _differentiated(expression.xreplace(kept)).xreplace({s: d for d, s in kept.items()})


def _guess(parameter: Parameter) -> str:
    shown = "no guess" if parameter.value is None else f"guess {parameter.value:.6g}"
    return f"{parameter} ({shown})"
