"""``pdeml doctor``: whether this machine is ready."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import typer

from pdeml import engine
from pdeml.bench.machine import describe_machine
from pdeml.cli import flags
from pdeml.cli.output import clean_exit, console, print_json, table
from pdeml.errors import MissingDependency
from pdeml.solvers.fem import backend

PYTHON = (3, 12)
TORCH = (2, 11)
ROUNDING = 1e-12
"""Largest accepted rounding error of the float64 checks; float32 gives 1e-6."""

CORE = ("numpy", "scipy", "sympy", "h5py", "xarray", "matplotlib", "typer", "rich")
OPTIONAL = {
    "deepxde": ("deepxde", "pip install 'deepxde>=1.15'", "bench against DeepXDE"),
    "dolfinx": ("dolfinx", "pip install 'pdeml[fem]' (Linux x86-64)", "finite elements"),
    "lightning": ("lightning", "pip install 'lightning>=2.5'", "training of surrogates"),
}
"""Module -> (distribution, how to install it, what for)."""


@dataclass
class Check:
    """One line of the doctor's report; `ok` is None for what is only told."""

    name: str
    found: str
    ok: bool | None = None
    mend: str = ""


def doctor(json: flags.Json = False) -> None:
    """Check Python, torch, float64, CUDA, packages and the folder. Exit code 0: ready; 1: not."""
    with clean_exit(json):
        checks = list(examine())
        ready = all(check.ok is not False for check in checks)
        if json:
            print_json({"ready": ready, "checks": [asdict(check) for check in checks]})
        else:
            words = {True: "ok", False: "FAILS", None: ""}
            rows = [(c.name, c.found, words[c.ok], c.mend) for c in checks]
            console().print(table(("check", "found", "state", "how to mend"), rows))
        if not ready:
            raise typer.Exit(1)


def examine() -> Iterator[Check]:
    """All checks, one after the other."""
    yield _at_least("python", platform.python_version(), PYTHON, "install Python 3.12 or newer")
    yield _at_least("torch", torch.__version__, TORCH, "pip install 'torch>=2.11'")
    machine = describe_machine()
    yield Check("processor", f"{machine['processor']}, {machine['cores']} cores")
    asked = os.environ.get("OMP_NUM_THREADS")
    yield Check(
        "threads", f"{torch.get_num_threads()}" + (f" (OMP_NUM_THREADS={asked})" if asked else "")
    )
    yield Check("BLAS", _blas())
    yield _float64(torch.device("cpu"))
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Check("CUDA", f"{torch.version.cuda}: {', '.join(names)}", True)
        yield _float64(torch.device("cuda"))
    else:
        yield Check("CUDA", "no device; everything runs on the CPU")
    for name in CORE:
        found = importlib.util.find_spec(name) is not None
        mend = "" if found else f"pip install {name}"
        yield Check(name, _version(name) if found else "missing", found, mend)
    for module, (distribution, command, purpose) in OPTIONAL.items():
        if importlib.util.find_spec(module) is not None:
            if module == "dolfinx":
                yield _finite_elements()
                continue
            yield Check(f"{module} (optional)", _version(distribution), True)
        else:
            yield Check(f"{module} (optional)", f"missing: {purpose}", mend=command)
    yield _writable(Path.cwd())


def _at_least(name: str, version: str, least: tuple[int, int], mend: str) -> Check:
    found = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    ok = found >= least
    return Check(name, version, ok, "" if ok else mend)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "installed, version unknown"


def _finite_elements() -> Check:
    """Versions of DOLFINx, PETSc and MPI, which are loaded for it."""
    name, command = "dolfinx (optional)", OPTIONAL["dolfinx"][1]
    try:
        modules = backend.load()
    except MissingDependency as error:
        return Check(name, str(error), False, command)
    petsc = ".".join(map(str, modules.PETSc.Sys.getVersion()))
    library = re.search(r"\D*[\d.]+\w*", modules.MPI.Get_library_version().split("\n")[0])
    mpi = "MPI" if library is None else " ".join(library.group(0).split())
    found = f"DOLFINx {modules.dolfinx.__version__}, PETSc {petsc}, {mpi}"
    return Check(name, found, True)


def _blas() -> str:
    found = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return found.group(1) if found else "unknown"


def rounding_error(device: torch.device, dtype: torch.dtype = torch.float64) -> float:
    """Largest error of an orthogonal factor and of a Fourier round trip."""
    size = 96
    matrix = torch.randn(size, size, generator=engine.generator(0), dtype=dtype).to(device)
    q = torch.linalg.qr(matrix).Q
    identity = torch.eye(size, dtype=dtype, device=device)
    return max(
        float((q.T @ q - identity).abs().max()),
        float((torch.fft.irfft(torch.fft.rfft(matrix), n=size) - matrix).abs().max()),
    )


def _float64(device: torch.device) -> Check:
    error = rounding_error(device)
    ok = error < ROUNDING
    mend = "" if ok else f"{sys.executable} -m pip install --force-reinstall torch"
    return Check(f"float64 on {device}", f"rounding error {error:.0e}", ok, mend)


def _writable(folder: Path) -> Check:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".pdeml-"):
            pass
    except OSError as error:
        reason = f"{folder}: {error.strerror}"
        return Check(
            "writable folder", reason, False, "change to a folder of your own, or use --out"
        )
    return Check("writable folder", str(folder), True)
