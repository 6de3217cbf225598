"""The options of `solve`, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pdeml.domains.mesh import Mesh as MeshDomain
from pdeml.domains.mesh_structured import checked_cell
from pdeml.errors import InvalidOption
from pdeml.operators.weak import WeakForm
from pdeml.solvers.fem.march import ORDERS
from pdeml.solvers.fem.mesh import space_of
from pdeml.solvers.fem.pace import Pace
from pdeml.solvers.fem.processes import of_first, world
from pdeml.solvers.options import (
    checked_step,
    checked_time_limit,
    checked_times,
    checked_tolerance,
)

DEGREES = (1, 2, 3, 4)
RTOL = 1e-4  # where only atol is given


@dataclass(frozen=True)
class Plan:
    """What the runs have in common.

    Attributes
    ----------
    degree, h, dt, scheme, theta, tol, petsc_options : as given to `solve`, or their defaults.
    mesh : the mesh of a file or of the declaration, None where meshes are made.
    cell : kind of the cells of meshes that are made, None for simplices.
    initial : function of points (n, d) → (n, fields), or None.
    times : instants at which states are stored exactly.
    pace : of adaptive steps, None for equal ones.
    time_limit : seconds after which nothing is refined further.
    """

    degree: int
    h: float | None = None
    dt: float | None = None
    scheme: str = "bdf2"
    theta: float = 0.5
    tol: float | None = None
    mesh: MeshDomain | None = None
    cell: str | None = None
    initial: Callable[[np.ndarray], np.ndarray] | None = None
    petsc_options: dict[str, Any] = field(default_factory=dict)
    times: Sequence[float] = ()
    pace: Pace | None = None
    time_limit: float = math.inf


def plan_of(
    problem: Any,
    form: WeakForm,
    *,
    degree: Any,
    h: Any,
    dt: Any,
    scheme: Any,
    theta: Any,
    tol: Any,
    rtol: Any,
    atol: Any,
    times: Any,
    mesh: Any,
    initial: Any,
    petsc_options: Mapping[str, Any] | None,
    time_limit: Any,
    cell: Any = None,
) -> Plan:
    """The options of `solve` as a plan.

    Raises
    ------
    InvalidOption
        An option is not accepted; the message says what is.
    InvalidMesh
        The file of the mesh cannot be used.
    """
    _check_degree(form, degree)
    if h is not None and not (isinstance(h, int | float) and 0 < h < math.inf):
        raise InvalidOption(f"h={h!r}: give a positive number.")
    step = None if dt is None else checked_step(dt)
    if tol is not None:
        tol = checked_tolerance("tol", tol, tol)
    if problem.time is None:
        evolving = {"dt": dt, "scheme": scheme, "rtol": rtol, "atol": atol, "times": times}
        for name, value in evolving.items():
            if value is not None:
                raise InvalidOption(
                    f"{name}={value!r}: {problem.name!r} has no time; leave {name} out."
                )
    elif scheme is not None and scheme not in ORDERS:
        raise InvalidOption(f"scheme={scheme!r}: give one of {', '.join(map(repr, ORDERS))}.")
    pace = None
    if rtol is not None or atol is not None:
        pace = _pace(rtol, atol, step, scheme, tol)
    if scheme is None:
        second = any(problem.time_order(f) == 2 for f in problem.fields)
        scheme = "sdirk4" if second or pace is not None else "bdf2"
    given = _given_mesh(problem, mesh)
    _check_cell(problem, given, cell)
    return Plan(
        degree=degree,
        h=h,
        dt=step,
        scheme=scheme,
        theta=theta,
        tol=tol,
        mesh=given,
        cell=cell,
        initial=None if initial is None else _checked_initial(problem, initial),
        petsc_options=dict(petsc_options or {}),
        times=() if times is None else _instants(problem, times),
        pace=pace,
        time_limit=math.inf if time_limit is None else checked_time_limit(time_limit),
    )


def _check_degree(form: WeakForm, degree: Any) -> None:
    if isinstance(degree, bool) or degree not in DEGREES:
        raise InvalidOption(f"degree={degree!r}: give 1, 2, 3 or 4.")
    if form.pressures and degree < 2:
        names = ", ".join(f.func.__name__ for f in form.pressures)
        raise InvalidOption(
            f"degree={degree}: {names} enforces a constraint and has one degree less than the "
            "other fields; give 2 or more."
        )


def _check_cell(problem: Any, mesh: MeshDomain | None, cell: Any) -> None:
    if cell is None:
        return
    checked_cell(len(problem.space_coordinates), cell)
    if mesh is not None and cell != mesh.cell:
        raise InvalidOption(
            f"cell={cell!r}: the cells of the mesh that is given are of kind {mesh.cell!r}; leave "
            "cell= out, or mesh=."
        )


def _pace(rtol: Any, atol: Any, dt: float | None, scheme: Any, tol: Any) -> Pace:
    if scheme not in (None, "sdirk4"):
        raise InvalidOption(
            f"scheme={scheme!r} has no embedded error estimate; with rtol= or atol= leave it out, "
            "or give 'sdirk4'."
        )
    if tol is not None:
        raise InvalidOption(
            f"tol={tol!r} halves cells and steps until the error is below it, rtol= adapts the "
            "steps on one mesh; give one of them."
        )
    if atol is not None and not (isinstance(atol, int | float) and 0 <= atol < math.inf):
        raise InvalidOption(f"atol={atol!r}: give an absolute error of at least 0.")
    return Pace(checked_tolerance("rtol", rtol, RTOL), float(atol or 0.0), dt)


def _instants(problem: Any, times: Any) -> list[float]:
    try:
        return checked_times(problem, times)
    except InvalidOption:
        raise
    except (TypeError, ValueError):
        raise InvalidOption(f"times={times!r}: give a sequence of instants.") from None


def _given_mesh(problem: Any, mesh: Any) -> MeshDomain | None:
    if mesh is None:
        space = space_of(problem)
        return space if isinstance(space, MeshDomain) else None
    if not isinstance(mesh, MeshDomain):
        mesh = _read(mesh, problem.space_coordinates)
    if mesh.dim != len(problem.space_coordinates):
        raise InvalidOption(
            f"mesh= has {mesh.dim} coordinates; {problem.name!r} has "
            f"{len(problem.space_coordinates)} in space."
        )
    lower, upper = (np.array(b) for b in space_of(problem).bounds)
    apart = max(
        float(np.abs(np.array(b) - a).max())
        for a, b in zip((lower, upper), mesh.bounds, strict=True)
    )
    if apart > 0.1 * float((upper - lower).max()):
        raise InvalidOption(
            f"mesh= spans {mesh.bounds}, but {problem.name!r} is declared on a domain that spans "
            f"{space_of(problem).bounds}; give a mesh of that domain."
        )
    for c in problem.conditions:
        on = getattr(c, "on", None)
        if isinstance(on, str) and on not in mesh.parts:
            raise InvalidOption(
                f"{c!r} holds on the part {on!r}, but the parts of mesh= are "
                f"{', '.join(map(repr, mesh.parts))}. Rename them by mesh.renamed({{old: new}})."
            )
    return mesh


def _read(path: Any, coordinates: Sequence[Any]) -> MeshDomain:
    """The mesh of a file, which the first process alone reads."""
    comm = world()

    def read() -> MeshDomain:
        return MeshDomain.read(path, coordinates)

    return read() if comm is None else of_first(comm, read)


def _checked_initial(problem: Any, initial: Any) -> Callable[[np.ndarray], np.ndarray]:
    if not callable(initial):
        raise InvalidOption(
            'initial= is given to "fem" as values; give a function of points (N, d) → (N, C), as '
            "the nodes of a mesh are on no grid."
        )

    def values(points: np.ndarray) -> np.ndarray:
        found = torch.as_tensor(initial(torch.from_numpy(np.ascontiguousarray(points)))).detach()
        found = found[:, None] if found.dim() == 1 else found
        if tuple(found.shape) != (len(points), len(problem.fields)):
            raise InvalidOption(
                f"initial= returned shape {tuple(found.shape)} for {len(points)} points; return "
                f"({len(points)}, {len(problem.fields)}), one column per field."
            )
        if found.is_complex() or not bool(torch.isfinite(found).all()):
            raise InvalidOption("initial= returned values that are complex, NaN or infinite.")
        array: np.ndarray = found.double().numpy()
        return array

    return values
