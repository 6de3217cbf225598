"""``pdeml problems`` and ``pdeml methods``: what there is."""

from __future__ import annotations

import inspect
from typing import Any

from pdeml import problems as zoo
from pdeml import solvers
from pdeml.cli import flags
from pdeml.cli.arguments import module_of, typed_options
from pdeml.cli.output import clean_exit, console, print_json, table
from pdeml.operators.printing import text
from pdeml.solvers import METHODS, REFERENCES


def problems(json: flags.Json = False) -> None:
    """List the problems that have a name."""
    with clean_exit(json):
        entries = [_describe_problem(name) for name in zoo.names()]
        if json:
            print_json({"problems": entries})
            return
        rows = [
            (
                e["name"],
                "\n".join(e["equations"]),
                ", ".join(f"{n}={v:g}" for n, v in e["parameters"].items()),
                ", ".join(e["methods"]),
                e["reference"],
            )
            for e in entries
        ]
        headers = ("name", "equation", "parameters", "methods", "reference")
        console().print(table(headers, rows))


def _describe_problem(name: str) -> dict[str, Any]:
    problem = zoo.get(name)()
    able = [method for method in METHODS if solvers.can_solve(problem, method) is None]
    return {
        "name": name,
        "equations": [f"{text(e.lhs)} = {text(e.rhs)}" for e in problem.equations],
        "parameters": {p.name: v for p, v in problem.values.items()},
        "methods": able,
        "reference": next((method for method in REFERENCES if method in able), "unknown"),
    }


def methods(json: flags.Json = False) -> None:
    """List the methods with their options."""
    with clean_exit(json):
        entries = [_describe_method(name) for name in METHODS]
        if json:
            print_json({"methods": entries})
            return
        rows = [
            (e["name"], e["what"], ", ".join(f"{n}={v}" for n, v in e["options"].items()))
            for e in entries
        ]
        console().print(table(("name", "what it does", "options and defaults"), rows))


def _describe_method(name: str) -> dict[str, Any]:
    lines = (inspect.getdoc(module_of(name)) or "").split("\n\n")[0]
    defaults = {option: default for option, (_, _, default) in typed_options(name).items()}
    return {"name": name, "what": " ".join(lines.split()), "options": defaults}
