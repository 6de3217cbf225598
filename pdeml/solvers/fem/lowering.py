"""What the method can solve: the weak form, the domain, and conditions on all of its boundary."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import torch
from sympy.core.function import AppliedUndef
from torch import Tensor

from pdeml.domains import Box
from pdeml.domains.mesh import Mesh
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.conditions import BOUNDARY
from pdeml.operators.expressions import Program
from pdeml.operators.pde import PDE
from pdeml.operators.weak import WeakEquation, WeakForm, weak_form
from pdeml.solvers.fem import backend
from pdeml.solvers.fem.mesh import space_of
from pdeml.solvers.options import check_parameters

PROBES = 512  # points of the boundary at which conditions are looked for
ON_FACE = 1e-9  # distance from a face, relative to the box, that still is on it


def can_solve(problem: PDE) -> str | None:
    """Why "fem" cannot lower the problem, or None where it can."""
    if not backend.available():
        return backend.MISSING
    try:
        lower(problem)
    except UnsupportedProblem as reason:
        return str(reason)
    return None


def lower(problem: PDE) -> WeakForm:
    """The weak form of a problem that this method can solve.

    Raises
    ------
    UnsupportedProblem
        A term, the domain or a parameter stands against it; the message names it.
    """
    others = '"exact" or "pinn"' if problem.exact is not None else '"pinn"'
    space = space_of(problem)
    if space.dim > 3:
        raise UnsupportedProblem(
            f'"fem" needs one to three space coordinates; {problem.name!r} has {space.dim}. Use '
            f"{others}."
        )
    check_parameters(problem, "fem")
    try:
        form = weak_form(problem)
    except UnsupportedProblem as reason:
        raise UnsupportedProblem(f'"fem": {reason}') from None
    for equation in form.equations:
        field = equation.field
        if field in form.pressures or any(f != 0 for f in equation.flux):
            continue
        moved = [c for c in problem.space_coordinates if equation.remainder.has(field.diff(c))]
        if [c for c in moved if c not in problem.periodic_axes(field)]:
            raise UnsupportedProblem(
                f'"fem" needs second derivatives of {field.func.__name__}: its equation only '
                f"transports it along {moved[0]}, for which these elements are unstable. Use "
                f"{others}, or add diffusion."
            )
    _check_covered(form)
    if not isinstance(space, Box | Mesh) and importlib.util.find_spec("gmsh") is None:
        try:
            Mesh.structured(space, 2)
        except InvalidOption:
            raise UnsupportedProblem(
                f'"fem" needs a mesh of {space!r}: install gmsh (pip install gmsh), or declare the '
                f"problem on a pdeml.domains.mesh.Mesh. Else use {others}."
            ) from None
    return form


def _check_covered(form: WeakForm) -> None:
    """Every field with second derivatives has a condition wherever the boundary has a point.

    Points are drawn, so no mesh is needed; what they miss is found when the forms are made.
    """
    problem, space = form.problem, space_of(form.problem)
    sample = space.sample_boundary(PROBES, torch.Generator().manual_seed(0), method="sobol")
    held = [
        (c.field, holds(problem, c, sample.points))
        for c in problem.conditions
        if isinstance(c, BOUNDARY)
    ]
    for equation in form.equations:
        field = equation.field
        if field not in problem.fields or not holds_slope(equation, field, problem):
            continue
        bare = ~on_periodic_face(problem, field, sample.points)
        for other, where in held:
            if other == field:
                bare &= ~where
        if bare.any():
            part = space.parts[int(sample.parts[torch.from_numpy(bare)][0])]
            raise UnsupportedProblem(
                f'"fem" needs a condition for {field.func.__name__} on the whole boundary, but '
                f"there is none on {part!r}, or on a part of it. Add Dirichlet, Neumann or Robin "
                "there."
            )


def holds_slope(equation: WeakEquation, field: AppliedUndef, problem: PDE) -> bool:
    """Whether the flux of an equation holds a first derivative of a field."""
    return any(f.has(field.diff(c)) for f in equation.flux for c in problem.space_coordinates)


def holds(problem: PDE, condition: Any, points: Tensor) -> np.ndarray:
    """At which points (n, d) of the boundary a condition holds, (n,) of bool.

    Raises
    ------
    UnsupportedProblem
        The part of the boundary moves in time.
    """
    space, on = space_of(problem), condition.on
    joined = on_periodic_face(problem, condition.field, points)
    if on is None:
        return ~joined
    if isinstance(on, str):
        return (space.part_of(points).numpy() == space.part_index(on)) & ~joined
    if problem.time in on.free_symbols:
        raise UnsupportedProblem(
            f'"fem" needs conditions that hold on a fixed part of the boundary, but {condition} '
            'holds on one that moves. Use "pinn".'
        )
    program = Program([on], problem.space_coordinates)
    found = torch.as_tensor(program(*points.unbind(-1))[0]).expand(len(points))
    return found.numpy() & ~joined


def periodic_axes(problem: PDE, field: AppliedUndef) -> list[int]:
    """Numbers of the axes along which a field is periodic; auxiliary fields follow the first."""
    axes = problem.periodic_axes(field if field in problem.fields else problem.fields[0])
    return [problem.space_coordinates.index(c) for c in axes]


def on_face(problem: PDE, points: np.ndarray, axis: int, side: int) -> np.ndarray:
    """Which points lie on the lower (0) or upper (1) end of an axis."""
    lower, upper = space_of(problem).bounds
    gap: np.ndarray = np.abs(points[:, axis] - (lower, upper)[side][axis])
    return gap < ON_FACE * (upper[axis] - lower[axis])


def on_periodic_face(problem: PDE, field: AppliedUndef, points: Tensor) -> np.ndarray:
    """Which points lie on faces that a periodic axis joins."""
    found = np.zeros(len(points), dtype=bool)
    for axis in periodic_axes(problem, field):
        for side in (0, 1):
            found |= on_face(problem, points.numpy(), axis, side)
    return found
