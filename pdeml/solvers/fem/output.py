"""From DOLFINx to what is kept: a torch field of all ranks, and files for ParaView."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pdeml.domains import Box
from pdeml.errors import InvalidOption, OutputError
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.field import FiniteElementField, filled
from pdeml.solvers.fem.march import Trajectory
from pdeml.solvers.fem.mesh import from_arrays, gathered, space_of
from pdeml.solvers.fem.space import Space
from pdeml.solvers.hermite import thinned

TOUCHING = 1e-8  # of the diameter: so far outside of the mesh a point is taken for one of its rim


def field_of(
    space: Space, path: Trajectory, tol: float
) -> tuple[FiniteElementField, dict[str, Any], float]:
    """The field of stored states, its config, and the error of interpolation in time.

    Fields that split a fourth order are left out. Every rank gets the whole field.
    """
    problem, mesh = space.problem, space.mesh
    degrees = space.degrees[: len(problem.fields)]
    gather = mesh.handle.comm.allgather
    blocks: dict[str, list[np.ndarray]] = {}
    for name, data in (("values", path.values), ("rates", path.rates)):
        for k in range(len(degrees)):
            part = data[:, space.offsets[k] : space.offsets[k + 1]]
            blocks.setdefault(name, []).append(np.concatenate(gather(part), axis=1))
    times, between = torch.from_numpy(path.times), 0.0
    if len(path.times) > 1:
        sizes = np.cumsum([0, *(b.shape[1] for b in blocks["values"])])
        values, rates = (
            torch.from_numpy(np.concatenate(blocks[n], axis=1)) for n in ("values", "rates")
        )
        times, values, rates, between = thinned(times, values, rates, tol)
        for name, kept in (("values", values.numpy()), ("rates", rates.numpy())):
            blocks[name] = [kept[:, a:b] for a, b in itertools.pairwise(sizes)]
    frames = len(times) if problem.time is not None else 0
    state: dict[str, np.ndarray] = {"times": times.numpy()} if frames else {}
    nodes: dict[str, int] = {}
    for p in sorted({*degrees}):
        members = [k for k, q in enumerate(degrees) if q == p]
        v = space.spaces[members[0]]
        found = gathered(mesh, v)
        state[f"reference_{p}"] = v.element.basix_element.points
        state[f"dofs_{p}"] = found["dofs"]
        for name in ("values", "rates")[: 2 if frames else 1]:
            state[f"{name}_{p}"] = np.stack([blocks[name][k] for k in members], axis=1)
        nodes[str(p)] = v.dofmap.index_map.size_global
    state |= {"points": found["points"], "corners": found["corners"]}
    config: dict[str, Any] = {
        "dim": mesh.dim,
        "vertices": len(found["points"]),
        "cells": len(found["corners"]),
        "degrees": degrees,
        "nodes": nodes,
        "frames": frames,
        "counts": None if mesh.counts is None else list(mesh.counts),
        "snap": _snap(space, found),
    }
    return filled(config, state), config, between


def _snap(space: Space, found: dict[str, np.ndarray]) -> float:
    """How far outside of the mesh its field is continued: round sides bulge out of their edges."""
    corners = found["points"][found["corners"]]
    lower, upper = found["points"].min(0), found["points"].max(0)
    touching = TOUCHING * float(np.linalg.norm(upper - lower))
    domain = space_of(space.problem)
    if isinstance(domain, Box):
        return touching
    middles = torch.from_numpy(corners[:, :1].mean(1))
    if domain.dim > 1 and not bool(domain.contains(middles, touching).all()):
        return touching
    gap = domain.signed_distance(space.middles).abs().max().item() if len(space.middles) else 0.0
    widest = space.mesh.handle.comm.allreduce(gap, op=backend.load().MPI.MAX)
    # the sagitta of an arc is largest at the middle of its chord
    return max(touching, 2.0 * widest)


def write_xdmf(
    solution: Any, path: str | os.PathLike[str], times: Sequence[float] | None = None
) -> None:
    """Write a solution by "fem" for ParaView: ``name.xdmf`` with ``name.h5`` beside it.

    Parameters
    ----------
    solution : made by "fem", or loaded from a file.
    path : ends in ``.xdmf``.
    times : instants; by default those of the stored states.

    Raises
    ------
    InvalidOption
        The solution is of another method, or the path has another ending.
    OutputError
        A file of either name is there: XDMF would overwrite data of that name.
    MissingDependency
        DOLFINx is not installed.

    Notes
    -----
    ParaView draws vertex values: higher degrees are sampled at the vertices.
    """
    target = Path(path)
    if not isinstance(solution.field, FiniteElementField):
        raise InvalidOption(f'write_xdmf takes a solution by "fem", not by {solution.method!r}.')
    if target.suffix != ".xdmf":
        raise InvalidOption(f"{str(path)!r}: the name of an XDMF file ends in .xdmf.")
    for there in (target, target.with_suffix(".h5")):
        if there.exists():
            raise OutputError(f"{str(there)!r} is there already; remove it, or take another name.")
    dolfinx, field = backend.load(), solution.field
    mesh = from_arrays(field.points.cpu().numpy(), field.corners.cpu().numpy())
    v = dolfinx.fem.functionspace(mesh.handle, ("Lagrange", 1))
    points = torch.from_numpy(v.tabulate_dof_coordinates()[:, : mesh.dim].copy())
    instants = [0.0] if not field.frames else (field.times.tolist() if times is None else times)
    with dolfinx.io.XDMFFile(mesh.handle.comm, str(target), "w") as file:
        file.write_mesh(mesh.handle)
        for instant in instants:
            at = points
            if field.frames:
                at = torch.cat([points, torch.full((len(points), 1), float(instant)).to(at)], dim=1)
            values = solution.values_at(at.to(solution.dtype)).numpy()
            for k, f in enumerate(solution.problem.fields):
                function = dolfinx.fem.Function(v, name=f.func.__name__)
                function.x.array[:] = values[:, k]
                file.write_function(function, float(instant))
