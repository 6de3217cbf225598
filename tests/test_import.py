"""What importing pdeml loads, which floor imports which, and what no source may use."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pdeml

ROOT = Path(pdeml.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))

HEAVY = (
    *("deepxde", "lightning", "dolfinx", "petsc4py", "mpi4py", "gmsh", "gymnasium", "pandas"),
    *("matplotlib", "xarray", "h5py", "torch._dynamo", "torch._inductor", "typer"),
)

FLOORS = {
    **dict.fromkeys(("errors", "engine", "hdf5", "isolation", "progress", "plots", "special"), 1),
    **dict.fromkeys(("domains", "nn", "optim", "probability"), 2),
    "operators": 3,
    **dict.fromkeys(("solvers", "problems"), 4),
    **dict.fromkeys(("data", "diagnostics", "report"), 5),
    **dict.fromkeys(("surrogates", "bench"), 6),
    **dict.fromkeys(("cli", "__main__"), 7),
}
"""Floor of each part of the house."""

FACE = 4
"""The package itself re-exports names up to this floor."""


def loaded_by(code: str) -> set[str]:
    """Modules that are loaded after a fresh interpreter ran the code."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


def test_importing_pdeml_loads_nothing_heavy():
    modules = loaded_by("import pdeml\npdeml.__version__")
    assert not modules & {*HEAVY, "torch", "sympy", "scipy", "numpy"}


def test_the_public_names_load_only_what_declaring_needs():
    modules = loaded_by("from pdeml import *\nsolve, PDE, problems.burgers(), load")
    assert {"torch", "sympy"} <= modules
    assert not modules & set(HEAVY)


def test_every_public_name_is_there_and_listed():
    for name in pdeml.__all__:
        assert getattr(pdeml, name) is not None
        assert name in dir(pdeml)
    with pytest.raises(AttributeError, match=r"pdeml.*PINN"):
        pdeml.PINN  # noqa: B018


def imported(path: Path) -> set[str]:
    """Parts of pdeml that a source imports, functions included ("" is the package itself)."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            if node.module == "pdeml":
                names = [f"pdeml.{a.name}" for a in node.names if a.name != "__version__"]
            else:
                names = [node.module or ""]
        found |= {[*name.split("."), ""][1] for name in names if name.split(".")[0] == "pdeml"}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_from_its_own_and_lower_floors_only(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    own = FACE if part == "__init__" else FLOORS[part]
    above = {p for p in imported(path) if (FLOORS[p] if p else FACE) > own}
    assert not above, f"{path} (floor {own}) imports from above: {sorted(above)}"


FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "sympify", "parse_expr", "S", "compile"}
FORBIDDEN_ATTRIBUTES = {"sympify", "parse_expr", "lambdify", "popen"}
FORBIDDEN_NAMES = FORBIDDEN_ATTRIBUTES | {"system"}
FORBIDDEN_KEYWORDS = {("weights_only", False), ("shell", True), ("allow_pickle", True)}


def offences(source: str) -> list[str]:
    """Ways of running code from data that a source uses."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [a.name for a in names if a.name.split(".")[0] in FORBIDDEN_MODULES]
            case ast.ImportFrom(module=module, names=names):
                found += [module] if (module or "").split(".")[0] in FORBIDDEN_MODULES else []
                found += [a.name for a in names if a.name in FORBIDDEN_NAMES]
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                found.append(name)
            case ast.Attribute(attr=name) if name in FORBIDDEN_ATTRIBUTES:
                found.append(name)
            case ast.Attribute(value=ast.Name(id="os"), attr="system"):
                found.append("os.system")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr="load")):
                found.append("yaml.load")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load"), keywords=ks):
                if "weights_only" not in {k.arg for k in ks}:
                    found.append("torch.load without weights_only=True")
            case _:
                pass
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            if (node.arg, node.value.value) in FORBIDDEN_KEYWORDS:
                found.append(f"{node.arg}={node.value.value}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_source_runs_code_from_data(path):
    assert offences(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "import sympy as sp\nsp.sympify('x')",
        "from sympy.parsing.sympy_parser import parse_expr",
        "torch.load(p, weights_only=False)",
        "torch.load(p)",
        "yaml.load(f)",
        "subprocess.run(c, shell=True)",
        "os.system(c)",
        "from os import system",
    ],
)
def test_the_check_itself_sees_each_offence(source):
    assert offences(source)
