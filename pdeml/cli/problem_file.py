"""A user's own declaration: a Python file that makes a PDE at module level."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pdeml.errors import InvalidProblem
from pdeml.operators.pde import PDE

PREFERRED = "problem"
"""The name that is taken where a file holds several problems."""


def read_problem(path: Path) -> PDE:
    """Run a Python file and take the PDE that it makes.

    Parameters
    ----------
    path : of the file; modules beside it can be imported, as when Python runs it.

    Raises
    ------
    InvalidProblem
        If there is no such file, it raises, it holds no PDE at module level, or several of which
        none is named ``problem``.
    """
    if not path.is_file():
        raise InvalidProblem(f"there is no file {str(path)!r}; give the path of a Python file.")
    return _pick(vars(_run(path)), path)


def _pick(names: dict[str, object], path: Path) -> PDE:
    found = {name: value for name, value in names.items() if isinstance(value, PDE)}
    if len({id(value) for value in found.values()}) == 1:
        return next(iter(found.values()))
    if PREFERRED in found:
        return found[PREFERRED]
    if found:
        raise InvalidProblem(
            f"{str(path)!r} holds several problems ({', '.join(found)}); name the one to solve "
            f"{PREFERRED!r}."
        )
    raise InvalidProblem(
        f"{str(path)!r} holds no pdeml.PDE at module level; add a line such as "
        f"{PREFERRED} = pdeml.PDE(...)."
    )


def _run(path: Path) -> ModuleType:
    name = f"pdeml_problem_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise InvalidProblem(f"{str(path)!r} is no Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        with _beside(path.resolve().parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the file is the user's: it may raise anything
        del sys.modules[name]
        text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
        raise InvalidProblem(
            f"{str(path)!r} raised {type(error).__name__}{_line(error, path)}: "
            f"{text.rstrip('.') or 'no message'}. Mend the file; it must run by itself."
        ) from error
    return module


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Modules in a folder can be imported."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _line(error: BaseException, path: Path) -> str:
    """Where in the file the error arose."""
    resolved = str(path.resolve())
    if isinstance(error, SyntaxError) and error.filename == resolved:
        return f" in line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == resolved
    ]
    return f" in line {lines[-1]}" if lines else ""
