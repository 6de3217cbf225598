"""DOLFINx, imported here and nowhere else, when the method is used."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from types import SimpleNamespace
from typing import Any

from pdeml.errors import MissingDependency

MISSING = (
    "FEM needs DOLFINx: pip install dolfinx-solver-real (Linux x86-64, Python >= 3.12) or "
    'conda install -c conda-forge fenics-dolfinx; without it, backend="scipy" solves steady '
    "problems with elements of degree 1 and 2"
)


def available() -> bool:
    """Whether DOLFINx with PETSc is installed; nothing is imported."""
    return all(importlib.util.find_spec(name) for name in ("dolfinx", "petsc4py", "ufl"))


@functools.cache
def load() -> Any:
    """The modules of DOLFINx as attributes: ``dolfinx, fem, petsc, mesh, io, ufl, basix, MPI …``.

    Raises
    ------
    MissingDependency
        DOLFINx is not installed, or cannot be loaded; the message says how to install it.
    """
    if not os.path.isdir("/sys/class/infiniband"):
        # without InfiniBand, other RDMA devices of a host can kill MPI at its start
        os.environ.setdefault("UCX_TLS", "self,sm,tcp")
    if int(os.environ.get("MPI_LOCALNRANKS", 1)) > (os.cpu_count() or 1):
        # MPICH waits by spinning; with more ranks than cores it must give the others theirs
        os.environ.setdefault("MPIR_CVAR_ENABLE_HEAVY_YIELD", "1")
        os.environ.setdefault("MPIR_CVAR_POLLS_BEFORE_YIELD", "10")
    try:
        if importlib.util.find_spec("dolfinx_solver"):
            importlib.import_module("dolfinx_solver")  # loads MPI, so it comes first
        names = {
            "dolfinx": "dolfinx",
            "fem": "dolfinx.fem",
            "petsc": "dolfinx.fem.petsc",
            "mesh": "dolfinx.mesh",
            "io": "dolfinx.io",
            "ufl": "ufl",
            "basix": "basix.ufl",
        }
        modules = {key: importlib.import_module(name) for key, name in names.items()}
        mpi, petsc4py = (importlib.import_module(n) for n in ("mpi4py.MPI", "petsc4py.PETSc"))
    except ImportError as error:
        raise MissingDependency(f"{MISSING} ({error})") from error
    return SimpleNamespace(**modules, MPI=mpi, PETSc=petsc4py)
