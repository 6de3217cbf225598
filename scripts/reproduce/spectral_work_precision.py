"""Error of exponential, integrating-factor and implicit–explicit schemes against step and time.

The four equations of Kassam and Trefethen (2005), §4, on periodic boxes; every scheme starts from
the same state on the same modes, and the reference is ETDRK4 with an eighth of the smallest step.
"""

import math
import time
from contextlib import suppress

import sympy as sp
import torch
from matplotlib.figure import Figure
from reproduction import arguments, reproduce

import pdeml
from pdeml.solvers.spectral import Stepper

SCHEMES = "etdrk4 etdrk3 etdrk2 ifrk4 cnab2 sbdf2 sbdf3 cn_euler".split()
PICTURE = "docs/pictures/spectral_work_precision.png"

x, t = sp.symbols("x t", real=True)
u = pdeml.Field("u", x, t)


def declare(name, right, start, box, end):
    return pdeml.PDE(
        name=name,
        equations=[sp.Eq(u.diff(t), right)],
        domain=pdeml.Interval(x, *box) * pdeml.Time(t, 0, end),
        conditions=[pdeml.Initial(u, start), pdeml.Periodic(u, x)],
    )


def soliton(size, place):
    return 3 * size**2 / sp.cosh(size * (x - place) / 2) ** 2


# problem, points, end, steps of the coarsest and of the finest run
CASES = {
    "Kuramoto–Sivashinsky": (
        declare(
            "kuramoto_sivashinsky",
            -u * u.diff(x) - u.diff(x, 2) - u.diff(x, 4),
            sp.cos(x / 16) * (1 + sp.sin(x / 16)),
            (0, 32 * sp.pi),
            30,
        ),
        *(128, 30.0, 2**4, 2**12),
    ),
    "Korteweg–de Vries": (
        declare(
            "korteweg_de_vries",
            -u * u.diff(x) - u.diff(x, 3),
            soliton(25, -2) + soliton(16, -1),
            (-sp.pi, sp.pi),
            sp.Rational(1, 1000),
        ),
        *(256, 1e-3, 2**5, 2**13),
    ),
    "Burgers": (
        declare(
            "burgers",
            -u * u.diff(x) + sp.Rational(3, 100) * u.diff(x, 2),
            sp.exp(-10 * sp.sin(x / 2) ** 2),
            (-sp.pi, sp.pi),
            1,
        ),
        *(256, 1.0, 2**4, 2**12),
    ),
    "Allen–Cahn": (
        declare(
            "allen_cahn",
            u.diff(x, 2) / 100 + u - u**3,
            0.4 * sp.sin(x) + 0.3 * sp.cos(3 * x) + 0.1,
            (0, 2 * sp.pi),
            5,
        ),
        *(128, 5.0, 2**3, 2**11),
    ),
}


def initial_state(problem, n):
    """The declared initial value on n points, (1, 1, n)."""
    (lower, _), (upper, _) = problem.domain.bounds
    points = lower + (upper - lower) * torch.arange(n, dtype=torch.float64) / n
    value = next(c.value for c in problem.conditions if isinstance(c, pdeml.Initial))
    return torch.from_numpy(sp.lambdify(x, value, "numpy")(points.numpy()))[None, None]


def final(case, scheme, steps):
    """Values at the end, and the seconds of all steps without those of the coefficients."""
    problem, n, end, *_ = case
    stepper = Stepper(problem, n, end / steps, scheme=scheme, device=args.device)
    state = initial_state(problem, n)
    stepper.rollout(state, 4, every=4)  # makes what the first steps of a multi-step scheme need
    times = []
    while len(times) < 3 and sum(times) < 0.2:  # a long run is measured once
        start = time.perf_counter()
        with torch.no_grad():
            values = stepper.rollout(state, steps, every=steps).cpu()
        times.append(time.perf_counter() - start)
    return values, min(times)


def measured_order(rows):
    """Slope between the two finest runs that are neither coarse (0.1) nor at round-off (1e-10)."""
    inside = [r for r in rows if 1e-10 < (r["error"] or 0) < 0.1]
    if len(inside) < 2:
        return None
    coarse, fine = inside[-2:]
    return math.log(coarse["error"] / fine["error"]) / math.log(fine["steps"] / coarse["steps"])


def run(seed):
    figures = {}
    for name, case in CASES.items():
        _, _, end, fewest, most = case
        reference, _ = final(case, "etdrk4", 8 * most)
        figures[name] = {}
        for scheme in SCHEMES:
            rows = []
            steps = fewest
            while steps <= most:
                row = {"steps": steps, "dt": end / steps, "error": None, "seconds": None}
                with suppress(pdeml.errors.DivergedError):  # too large a step for the scheme
                    values, seconds = final(case, scheme, steps)
                    error = float((values - reference).norm() / reference.norm())
                    if error < 1:
                        row |= {"error": error, "seconds": seconds}
                rows.append(row)
                steps *= 2
            figures[name][scheme] = {"order": measured_order(rows), "runs": rows}
    draw(figures)
    return figures


def draw(figures):
    """Two rows of panels: error against relative step size, and against wall time."""
    figure = Figure(figsize=(15, 7.5), layout="constrained")
    panels = figure.subplots(2, len(figures), sharey=True)
    for (above, below), (name, schemes) in zip(panels.T, figures.items(), strict=True):
        for number, (scheme, found) in enumerate(schemes.items()):
            style = {"color": f"C{number}", "marker": "osD^vPX*"[number], "markersize": 4}
            # a run that diverged is None, which breaks the line
            steps, seconds, errors = (
                [math.nan if r[key] is None else r[key] for r in found["runs"]]
                for key in ("steps", "seconds", "error")
            )
            above.loglog([1 / s for s in steps], errors, label=scheme, **style)
            below.loglog(seconds, errors, label=scheme, **style)
        above.set(title=name, xlabel="step size / time interval")
        below.set(xlabel="seconds (one thread)")
        for panel in (above, below):
            panel.set_ylim(3e-13, 3)
            panel.grid(alpha=0.3)
    for row in panels:
        row[0].set_ylabel("relative L2 error")
    panels[0, 0].legend(ncols=2, loc="lower right")
    figure.savefig(PICTURE, dpi=110)


args = arguments(__doc__)
torch.set_num_threads(1)
reproduce(
    args, "orders near 4, 3, 2, 4, 2, 2, 3, 1; none faster than ETDRK4 below an error of 1e-4", run
)
