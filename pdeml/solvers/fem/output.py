"""From DOLFINx to what is kept: a torch field of all ranks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from pdeml.domains import Box
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.field import FiniteElementField, filled
from pdeml.solvers.fem.mesh import gathered, space_of
from pdeml.solvers.fem.processes import of_first
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.trajectory import Trajectory
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
    declared = space.spaces[: len(degrees)]
    sizes = np.cumsum([0, *(v.dofmap.index_map.size_global for v in declared)])
    rows = [_of_all_ranks(space, data, len(degrees)) for data in (path.values, path.rates)]

    def kept() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
        times, (values, rates) = torch.from_numpy(path.times), map(torch.from_numpy, rows)
        return thinned(times, values, rates, tol) if len(times) > 1 else (times, values, rates, 0.0)

    times, values, rates, between = of_first(mesh.handle.comm, kept)
    blocks = {
        name: [kept.numpy()[:, a:b] for a, b in itertools.pairwise(sizes)]
        for name, kept in (("values", values), ("rates", rates))
    }
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
        "cell": mesh.cell,
    }
    return filled(config, state), config, between


def _of_all_ranks(space: Space, data: np.ndarray, fields: int) -> np.ndarray:
    """Numbers (F, own nodes of all fields) as (F, nodes of the first fields), field by field, on
    the first rank; (0, 0) on others."""
    comm = space.mesh.handle.comm
    if comm.size == 1:
        return data[:, : space.offsets[fields]]
    parts = [data[:, a:b] for a, b in itertools.pairwise(space.offsets[: fields + 1])]
    pieces = [p for part in parts for p in comm.gather(part) or ()]
    return np.concatenate(pieces, axis=1) if pieces else np.zeros((0, 0))


def _snap(space: Space, found: dict[str, np.ndarray]) -> float:
    """How far outside of the mesh its field is continued: round sides bulge out of their edges."""
    corners = found["points"][found["corners"]]
    lower, upper = found["points"].min(0), found["points"].max(0)
    touching = TOUCHING * float(np.linalg.norm(upper - lower))
    domain = space_of(space.problem)
    if isinstance(domain, Box):
        return touching
    gap = domain.signed_distance(space.middles).abs().max().item() if len(space.middles) else 0.0
    widest = space.mesh.handle.comm.allreduce(gap, op=backend.load().MPI.MAX)
    middles = torch.from_numpy(corners[:, :1].mean(1))
    if domain.dim > 1 and not bool(domain.contains(middles, touching).all()):
        return touching
    # the sagitta of an arc is largest at the middle of its chord
    return max(touching, 2.0 * widest)
