"""What `pdeml.bench.spectral` measures: equations, grids, steps and initial values.

Each case is declared in SymPy for pdeml and by the arguments of an exponax stepper for the peer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from pdeml import engine
from pdeml.domains import Interval, Time
from pdeml.operators.pde import PDE, Field, Initial, Periodic

VISCOSITY = 1e-3


def kuramoto_sivashinsky() -> PDE:
    """u_t + ½ (u²)_x + u_xx + u_xxxx = 0 on [0, 32π)."""
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    return PDE(
        name="kuramoto_sivashinsky",
        equations=[sp.Eq(u.diff(t) + u * u.diff(x) + u.diff(x, 2) + u.diff(x, 4), 0)],
        domain=Interval(x, 0, 32 * sp.pi) * Time(t, 0, 100),
        conditions=[Initial(u, sp.cos(x / 16) * (1 + sp.sin(x / 16))), Periodic(u, x)],
    )


def navier_stokes() -> PDE:
    """ω_t + ψ_y ω_x − ψ_x ω_y = ν Δω, Δψ = −ω on the unit square."""
    x, y, t = sp.symbols("x y t", real=True)
    omega, psi = Field("omega", x, y, t), Field("psi", x, y, t)

    def laplacian(f: sp.Expr) -> sp.Expr:
        return f.diff(x, 2) + f.diff(y, 2)

    advection = psi.diff(y) * omega.diff(x) - psi.diff(x) * omega.diff(y)
    return PDE(
        name="navier_stokes",
        equations=[
            sp.Eq(omega.diff(t) + advection, VISCOSITY * laplacian(omega)),
            sp.Eq(laplacian(psi), -omega),
        ],
        domain=Interval(x, 0, 1) * Interval(y, 0, 1) * Time(t, 0, 1),
        conditions=[
            Initial(omega, sp.sin(2 * sp.pi * (x + 2 * y)) + sp.cos(2 * sp.pi * (3 * x - y))),
            *(Periodic(f, s) for f in (omega, psi) for s in (x, y)),
        ],
    )


def korteweg_de_vries() -> PDE:
    """u_t − 6 u u_x + u_xxx = 0 on [0, 20), u(x, 0) = exp(sin(2πx/20)) − 1, t ≤ 1/2."""
    x, t = sp.symbols("x t", real=True)
    u = Field("u", x, t)
    return PDE(
        name="korteweg_de_vries",
        equations=[sp.Eq(u.diff(t) - 6 * u * u.diff(x) + u.diff(x, 3), 0)],
        domain=Interval(x, 0, 20) * Time(t, 0, sp.Rational(1, 2)),
        conditions=[Initial(u, sp.exp(sp.sin(sp.pi * x / 10)) - 1), Periodic(u, x)],
    )


@dataclass(frozen=True)
class Case:
    """One equation in both packages.

    Attributes
    ----------
    stepper, arguments : the class of ``exponax.stepper`` and what distinguishes it; box, points,
        step, order and modes follow from the other attributes.
    waves, size : largest wave number per axis and standard deviation of the initial values.
    mirrored : exponax's Δψ = +ω gives the mirrored flow: ω(t; ω₀) = −ω_exponax(t; −ω₀).
    counted : belongs to the geometric mean that has a goal.
    """

    name: str
    problem: Callable[[], PDE]
    resolution: tuple[int, ...]
    batch: int
    dt: float
    steps: int
    stepper: str
    arguments: dict[str, Any] = field(default_factory=dict)
    waves: int = 8
    size: float = 1.0
    mirrored: bool = False
    dtype: torch.dtype = torch.float64
    device: str = "cpu"
    counted: bool = False


def ks(n: int, batch: int, **options: Any) -> Case:
    """Kuramoto–Sivashinsky with n points."""
    return Case(
        name=f"Kuramoto–Sivashinsky {n}, batch {batch}",
        problem=kuramoto_sivashinsky,
        resolution=(n,),
        batch=batch,
        dt=0.1,
        steps=200,
        stepper="KuramotoSivashinskyConservative",
        **options,
    )


def ns(n: int, batch: int, **options: Any) -> Case:
    """Two-dimensional Navier–Stokes with n² points."""
    return Case(
        name=f"Navier–Stokes {n}², batch {batch}",
        problem=navier_stokes,
        resolution=(n, n),
        batch=batch,
        dt=0.005,
        steps=50,
        stepper="NavierStokesVorticity",
        arguments={"diffusivity": VISCOSITY},
        waves=4,
        size=5.0,
        mirrored=True,
        **options,
    )


SINGLE = {"dtype": torch.float32}
CASES = [
    ks(256, 64, counted=True),
    ns(64, 16, counted=True),
    ns(128, 8, counted=True),
    ks(256, 64, **SINGLE),
    ns(64, 16, **SINGLE),
    ns(128, 8, **SINGLE),
    ks(256, 1),
]
CUDA_CASES = [ks(512, 4096, device="cuda", **SINGLE), ns(256, 64, device="cuda", **SINGLE)]
GRAPH_CASE = ks(512, 1, device="cuda", **SINGLE)


def peer_arguments(case: Case, order: int = 4) -> dict[str, Any]:
    """Arguments of exponax's stepper for the same box, points, step and modes."""
    n = case.resolution[0]
    lower, upper = case.problem().domain.bounds
    largest = math.ceil(n / 3) - 1  # of the modes |k| < n/3
    arguments = {
        "num_spatial_dims": len(case.resolution),
        "domain_extent": float(upper[0] - lower[0]),
        "num_points": n,
        "dt": case.dt,
        "order": order,
        # exponax keeps |k| ≤ fraction · n/2 − 1, one mode less than the rule with its 2/3
        "dealiasing_fraction": (largest + 1.5) / (n // 2),
        **case.arguments,
    }
    if len(case.resolution) == 1:
        arguments["conservative"] = True  # two transforms instead of three
    return arguments


def initial_values(case: Case) -> Tensor:
    """Random sums of waves without mean, (batch, 1, *resolution) in float64."""
    axes = tuple(range(-len(case.resolution), 0))
    noise = torch.randn(
        (case.batch, 1, *case.resolution), generator=engine.generator(0), dtype=torch.float64
    )
    modes = torch.fft.rfftn(noise, dim=axes)
    for axis, n in zip(axes, case.resolution, strict=True):
        frequencies = torch.fft.rfftfreq if axis == -1 else torch.fft.fftfreq
        kept = frequencies(n, 1 / n).abs() < case.waves + 0.5
        modes = modes * kept.reshape([-1 if a == axis else 1 for a in axes])
    values = torch.fft.irfftn(modes, s=case.resolution, dim=axes)
    values = values - values.mean(axes, keepdim=True)
    return case.size * values / values.std(axes, keepdim=True)
