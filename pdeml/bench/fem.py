"""Finite elements against DOLFINx written by hand, and against scikit-fem.

What is compared: the same work on the same mesh, once each — a solve without the coarser levels
from which pdeml estimates its error; what a user waits for, with them, is a row of its own. Both
sides start from nothing but compiled forms in the cache: mesh, spaces, forms, start, Newton's
iteration or time steps, and the solution as an array (for pdeml: as its torch field). Runs of both
sides alternate on one core with one thread, and the best of each counts.

References
----------
fem_reference.md §4.1, §4.3, §6; Gustafsson, McBain (2020), JOSS 5, 2369 (scikit-fem).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
import torch

from pdeml.bench import fem_handwritten
from pdeml.bench import peer as peers
from pdeml.bench.machine import describe_machine
from pdeml.bench.spectral import one_core
from pdeml.domains import Interval, Time
from pdeml.errors import PdemlError
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial
from pdeml.progress import ProgressBar
from pdeml.solvers.fem import backend, solve
from pdeml.solvers.fem.levels import Levels, Run
from pdeml.solvers.fem.lowering import lower
from pdeml.solvers.fem.mesh import mesh_of, space_of
from pdeml.solvers.fem.output import field_of
from pdeml.solvers.fem.plan import Plan
from pdeml.solvers.fem.space import Space
from pdeml.solvers.fem.steady import solve_steady
from pdeml.solvers.fem.system import System, taken
from pdeml.solvers.fem.trajectory import Trajectory

REPEATS = 5
OVERHEAD, ASSEMBLY, LOCATION = 1.1, 5.0, 20.0  # goals
DEGREE, QUADRATURE = 2, 8
END = 0.5
WORKER = Path(__file__).with_name("skfem_worker.py")


def quasi_linear() -> PDE:
    """−∇·((1 + u²) ∇u) + u³ = f with u = sin πx cos(πy/2) + 1 on the unit square."""
    x, y = sp.symbols("x y", real=True)
    u = Field("u", x, y)
    exact = sp.sin(sp.pi * x) * sp.cos(sp.pi * y / 2) + 1

    def operator(w: sp.Expr) -> sp.Expr:
        return -sp.Add(*(((1 + w**2) * w.diff(c)).diff(c) for c in (x, y))) + w**3

    return PDE(
        name="quasi_linear",
        equations=[sp.Eq(operator(u), operator(exact).doit())],
        domain=Interval(x, 0, 1) * Interval(y, 0, 1),
        conditions=[Dirichlet(u, exact)],
    )


def heat(speed: int = 0) -> PDE:
    """u_t = Δu + f with u = e^{−t} sin π(x − ct) cos πy on the unit square, t ≤ 1/2.

    At rest, f is a place times an instant, which is assembled once; a moving one is in every step.
    """
    x, y, t = sp.symbols("x y t", real=True)
    u = Field("u", x, y, t)
    height, phase = sp.exp(-t) * sp.cos(sp.pi * y), sp.pi * (x - speed * t)
    exact = height * sp.sin(phase)
    source = (2 * sp.pi**2 - 1) * exact - speed * sp.pi * height * sp.cos(phase)
    return PDE(
        name="heat",
        equations=[sp.Eq(u.diff(t), u.diff(x, 2) + u.diff(y, 2) + source)],
        domain=Interval(x, 0, 1) * Interval(y, 0, 1) * Time(t, 0, END),
        conditions=[Initial(u, exact.subs(t, 0)), Dirichlet(u, exact)],
    )


def alternating(sides: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The best seconds of each side, after one run of each for warm-up."""
    best = dict.fromkeys(sides, math.inf)
    for turn in range(repeats + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def _one_solve(problem: PDE, n: int, parts: dict[str, float]) -> System:
    """The steps of ``solve`` on one mesh; the best seconds of each are kept in `parts`."""
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        parts[name] = min(parts.get(name, math.inf), now - clock)
        clock = now

    form = lower(problem)
    lap("lowering")
    space = Space(form, mesh_of(space_of(problem), (n, n)), DEGREE)
    lap("mesh and space")
    system = System(space)
    lap("forms")
    solve_steady(system)
    lap("Newton")
    value = taken(system.states, space)[None]
    field_of(space, Trajectory(np.zeros(1), value, np.zeros_like(value)), 1e-6)
    lap("torch field")
    return system


def run_solve(n: int = 64, repeats: int = REPEATS) -> dict[str, Any]:
    """The quasi-linear problem, once on one mesh; and with the error estimate, as it is called."""
    problem, parts = quasi_linear(), dict[str, float]()
    made: dict[str, Any] = {}
    sp.core.cache.clear_cache()
    start = time.perf_counter()
    lower(problem)
    first = time.perf_counter() - start  # later ones find SymPy's cache warm

    def ours() -> None:
        made["ours"] = _one_solve(problem, n, parts)

    def theirs() -> None:
        made["theirs"] = fem_handwritten.quasi_linear(n, DEGREE)

    def called() -> None:
        solve(problem, degree=DEGREE, h=1 / n)

    best = alternating({"pdeml": ours, "by hand": theirs, "with estimate": called}, repeats)
    u, steps, error = made["theirs"]
    values = taken(made["ours"].states, made["ours"].space)
    return {
        "row": f"quasi-linear, P{DEGREE}, n = {n}: one solve",
        "pdeml_s": best["pdeml"],
        "peer_s": best["by hand"],
        "ratio": best["pdeml"] / best["by hand"],
        "with_estimate_s": best["with estimate"],
        "with_estimate_ratio": best["with estimate"] / best["by hand"],
        "parts_s": parts,
        "first_lowering_s": first,
        "newton_steps": [made["ours"].iterations, steps],
        "peer_l2_error": error,
        # both number the nodes of the same mesh alike
        "difference": float(np.abs(values - u.x.array).max()),
    }


def run_heat(
    n: int = 48, steps: int = 200, repeats: int = REPEATS, speed: int = 0
) -> dict[str, Any]:
    """Steps of BDF2 with factors that are kept, and all states."""
    problem = heat(speed)
    made: dict[str, Any] = {}

    def ours() -> None:
        form = lower(problem)
        levels = Levels(form, Plan(DEGREE))
        mesh = mesh_of(space_of(problem), (n, n))
        made["ours"] = levels.run(mesh, (n, n), steps, DEGREE)

    def theirs() -> None:
        made["theirs"] = fem_handwritten.heat(n, steps, END, DEGREE, speed)

    best = alternating({"pdeml": ours, "by hand": theirs}, repeats)
    run: Run = made["ours"]
    u, _, error = made["theirs"]
    return {
        "row": f"heat, P{DEGREE}, n = {n}: {steps} steps of BDF2" + ", moving load" * bool(speed),
        "pdeml_s": best["pdeml"],
        "peer_s": best["by hand"],
        "ratio": best["pdeml"] / best["by hand"],
        "peer_l2_error": error,
        "difference": float(np.abs(taken(run.system.states, run.system.space) - u.x.array).max()),
    }


def interpreter(python: str | None = None) -> str:
    """The interpreter that has scikit-fem; see `pdeml.bench.peer.interpreter`."""
    return peers.interpreter(
        python, package="scikit-fem", module="skfem", requirement="scikit-fem>=12"
    )


def run_assembly(python: str, n: int = 64, repeats: int = REPEATS) -> dict[str, Any]:
    """Jacobian and residual of the quasi-linear problem at one state, against scikit-fem."""
    dolfinx, problem = backend.load(), quasi_linear()
    space = Space(lower(problem), mesh_of(space_of(problem), (n, n)), DEGREE)
    system = System(space)
    x, y = space.nodes(0).T
    system.set_states(x**2 - x * y / 2 + 1)
    residual, jacobian = (
        dolfinx.fem.form(f) for f in (system.forms.residuals[0], system.forms.jacobian[0][0])
    )
    matrix = dolfinx.petsc.create_matrix(jacobian)
    vector = dolfinx.fem.assemble_vector(residual)

    def assemble() -> None:
        matrix.zeroEntries()
        dolfinx.petsc.assemble_matrix(matrix, jacobian)
        matrix.assemble()
        vector.array[:] = 0.0
        dolfinx.fem.assemble_vector(vector.array, residual)

    mine, theirs = math.inf, math.inf
    peer: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="pdeml-bench-") as folder:
        path = Path(folder) / "mesh.npz"
        geometry = space.mesh.handle.geometry
        triangles = geometry.dofmaps[0].T.astype(np.int64)
        np.savez(path, points=geometry.x[:, :2].T, triangles=triangles, quadrature=QUADRATURE)
        for _ in range(3):
            mine = min(mine, alternating({"pdeml": assemble}, repeats)["pdeml"])
            done = subprocess.run(
                [python, str(WORKER), str(path), str(repeats)],
                capture_output=True,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
            )
            if done.returncode:
                raise PdemlError(f"scikit-fem failed: {done.stderr[-2000:].strip()}")
            peer = json.loads(done.stdout)
            theirs = min(theirs, peer["seconds"])
    norms = {"jacobian_norm": matrix.norm(), "residual_norm": float(np.linalg.norm(vector.array))}
    return {
        "row": f"Newton assembly, P{DEGREE}, n = {n}, quadrature degree {QUADRATURE}",
        "peer": f"scikit-fem {peer['skfem']}",
        "pdeml_s": mine,
        "peer_s": theirs,
        "ratio": theirs / mine,
        "difference": max(abs(1 - peer[name] / norm) for name, norm in norms.items()),
    }


def run_location(n: int = 64, points: int = 100_000, repeats: int = REPEATS) -> dict[str, Any]:
    """The cells of scattered points: by arithmetic, and by DOLFINx's tree of boxes."""
    from dolfinx import geometry

    problem = quasi_linear()
    run = Levels(lower(problem), Plan(DEGREE)).run(
        mesh_of(space_of(problem), (n, n)), (n, n), 0, DEGREE
    )
    handle, state = run.system.space.mesh.handle, run.system.states[0]
    where = torch.rand((points, 2), generator=torch.Generator().manual_seed(0)).double()
    padded = np.pad(where.numpy(), ((0, 0), (0, 1)))
    tree = geometry.bb_tree(handle, 2)
    moved = [where, where.clone()]  # the last set is remembered: it must not be the same
    moved[1][0] = moved[1][1]
    made: dict[str, Any] = {}

    def ours() -> None:
        run.field.cells_of(moved[0])
        moved.reverse()

    def theirs() -> None:
        candidates = geometry.compute_collisions_points(tree, padded)
        colliding = geometry.compute_colliding_cells(handle, candidates, padded)
        made["cells"] = colliding.array[colliding.offsets[:-1]]

    def value() -> None:
        made["ours"] = run.field(moved[0])
        moved.reverse()

    def peer_value() -> None:
        theirs()
        made["theirs"] = state.eval(padded, made["cells"])

    best = alternating(
        {"locate": ours, "peer locate": theirs, "value": value, "peer value": peer_value}, repeats
    )
    return {
        "row": f"locate {points} points, n = {n}",
        "pdeml_s": best["locate"],
        "peer_s": best["peer locate"],
        "ratio": best["peer locate"] / best["locate"],
        "values_pdeml_s": best["value"],
        "values_peer_s": best["peer value"],
        "values_ratio": best["peer value"] / best["value"],
        # DOLFINx takes the cell beside where a point is within 1e-8 of their common facet
        "difference": float(np.abs(run.field(where).numpy() - made["theirs"]).max()),
    }


def run(
    progress: bool = False, peer_python: str | None = None, repeats: int = REPEATS
) -> dict[str, Any]:
    """All rows on one core.

    Parameters
    ----------
    peer_python : an interpreter that has scikit-fem; see `interpreter`.

    Raises
    ------
    MissingDependency
        There is no DOLFINx, or no scikit-fem.
    """
    backend.load()
    python = interpreter(peer_python)
    rows: dict[str, Callable[[], dict[str, Any]]] = {
        "solve": lambda: run_solve(repeats=repeats),
        "heat": lambda: run_heat(repeats=repeats),
        "moving heat": lambda: run_heat(repeats=repeats, speed=1),
        "assembly": lambda: run_assembly(python, repeats=2 * repeats),
        "location": lambda: run_location(repeats=repeats),
    }
    found: dict[str, Any] = {}
    with ProgressBar("bench fem", progress) as bar, one_core():
        load = os.getloadavg()[0]
        for i, (name, row) in enumerate(rows.items()):
            bar.update(i / len(rows), {"row": name})
            found[name] = row()
        machine = {**describe_machine(), "dolfinx": backend.load().dolfinx.__version__}
    return {
        "suite": "fem",
        "command": "pdeml bench fem --json" + " --peer-python PYTHON" * bool(peer_python),
        "repeats": repeats,
        "machine": {**machine, "load": [load, os.getloadavg()[0]]},
        "rows": found,
        "goals": verdict(found),
    }


def verdict(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each goal with its value and whether it is met."""
    goals: dict[str, dict[str, Any]] = {}
    for name, most in (("solve", OVERHEAD), ("heat", OVERHEAD), ("moving heat", OVERHEAD)):
        value = rows[name]["ratio"]
        goals[name] = {"value": value, "at_most": most, "met": value <= most}
    for name, least in (("assembly", ASSEMBLY), ("location", LOCATION)):
        value = rows[name]["ratio"]
        goals[name] = {"value": value, "at_least": least, "met": value >= least}
    return goals


def table(result: dict[str, Any]) -> Any:
    """The result as a rich table, with a line per goal."""
    from rich.console import Group
    from rich.table import Table

    rows = Table(title="Finite elements, best of alternating runs on one core")
    for name in ("row", "pdeml ms", "peer ms", "ratio", "difference"):
        rows.add_column(name, justify="left" if name == "row" else "right")
    for row in result["rows"].values():
        numbers = (f"{1e3 * row['pdeml_s']:.1f}", f"{1e3 * row['peer_s']:.1f}")
        rows.add_row(row["row"], *numbers, f"{row['ratio']:.2f}", f"{row['difference']:.0e}")
    solved = result["rows"]["solve"]
    parts = ", ".join(f"{name} {1e3 * s:.0f}" for name, s in solved["parts_s"].items())
    lines = [
        f"one solve in parts (ms): {parts}; the first lowering of a process "
        f"{1e3 * solved['first_lowering_s']:.0f}",
        f"as a user calls it, with the error estimate: {1e3 * solved['with_estimate_s']:.0f} ms, "
        f"{solved['with_estimate_ratio']:.2f} times by hand",
    ]
    for name, goal in result["goals"].items():
        relation = f"≥ {goal['at_least']:g}" if "at_least" in goal else f"≤ {goal['at_most']:g}"
        met = "met" if goal["met"] else "NOT met"
        lines.append(f"{name} {goal['value']:.3g} (goal {relation}): {met}")
    return Group(rows, *lines)
