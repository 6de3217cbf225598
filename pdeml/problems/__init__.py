"""Ready declarations: each function makes a `PDE` and says in its docstring what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pdeml.errors import InvalidOption
from pdeml.operators.pde import PDE
from pdeml.problems.difficulty import (
    apebench_burgers,
    apebench_fisher,
    apebench_kdv,
    apebench_kuramoto_sivashinsky,
    from_difficulty,
)
from pdeml.problems.dispersive import (
    kdv,
    kdv_burgers,
    kdv_soliton,
    kdv_two_solitons,
    nonlinear_schroedinger,
    schroedinger_soliton,
)
from pdeml.problems.elliptic import (
    helmholtz,
    nonlinear_diffusion,
    poisson,
    poisson_lshape,
)
from pdeml.problems.flows import cylinder_channel, lid_driven_cavity
from pdeml.problems.fluids import (
    abc_flow,
    navier_stokes,
    navier_stokes_vorticity,
    rossby_wave,
    stokes,
    taylor_green_vortex,
)
from pdeml.problems.linear import (
    advection,
    diffusion,
    dispersion,
    periodic_wave,
)
from pdeml.problems.patterns import (
    cahn_hilliard,
    complex_ginzburg_landau,
    gray_scott,
    kuramoto_sivashinsky,
    kuramoto_sivashinsky_velocity,
    swift_hohenberg,
)
from pdeml.problems.porous import darcy
from pdeml.problems.reaction import (
    allen_cahn,
    allen_cahn_waves,
    fisher_kpp,
    fitzhugh_nagumo,
    klein_gordon,
)
from pdeml.problems.solids import linear_elasticity, plate_with_hole
from pdeml.problems.transport import (
    burgers,
    burgers_gaussian,
    convection,
    convection_diffusion,
    heat,
    vector_burgers,
    wave,
)

__all__ = [
    "abc_flow",
    "advection",
    "allen_cahn",
    "allen_cahn_waves",
    "apebench_burgers",
    "apebench_fisher",
    "apebench_kdv",
    "apebench_kuramoto_sivashinsky",
    "burgers",
    "burgers_gaussian",
    "cahn_hilliard",
    "complex_ginzburg_landau",
    "convection",
    "convection_diffusion",
    "cylinder_channel",
    "darcy",
    "diffusion",
    "dispersion",
    "fisher_kpp",
    "fitzhugh_nagumo",
    "from_difficulty",
    "get",
    "gray_scott",
    "heat",
    "helmholtz",
    "kdv",
    "kdv_burgers",
    "kdv_soliton",
    "kdv_two_solitons",
    "klein_gordon",
    "kuramoto_sivashinsky",
    "kuramoto_sivashinsky_velocity",
    "lid_driven_cavity",
    "linear_elasticity",
    "names",
    "navier_stokes",
    "navier_stokes_vorticity",
    "nonlinear_diffusion",
    "nonlinear_schroedinger",
    "periodic_wave",
    "plate_with_hole",
    "poisson",
    "poisson_lshape",
    "rossby_wave",
    "schroedinger_soliton",
    "stokes",
    "swift_hohenberg",
    "taylor_green_vortex",
    "vector_burgers",
    "wave",
]

_ZOO: Mapping[str, Callable[..., PDE]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            burgers,
            burgers_gaussian,
            vector_burgers,
            allen_cahn,
            allen_cahn_waves,
            fisher_kpp,
            fitzhugh_nagumo,
            klein_gordon,
            heat,
            diffusion,
            advection,
            convection,
            convection_diffusion,
            wave,
            periodic_wave,
            dispersion,
            kdv,
            kdv_burgers,
            kdv_soliton,
            kdv_two_solitons,
            nonlinear_schroedinger,
            schroedinger_soliton,
            kuramoto_sivashinsky,
            kuramoto_sivashinsky_velocity,
            swift_hohenberg,
            cahn_hilliard,
            gray_scott,
            complex_ginzburg_landau,
            navier_stokes_vorticity,
            taylor_green_vortex,
            rossby_wave,
            navier_stokes,
            abc_flow,
            helmholtz,
            poisson,
            poisson_lshape,
            nonlinear_diffusion,
            darcy,
            stokes,
            lid_driven_cavity,
            cylinder_channel,
            linear_elasticity,
            plate_with_hole,
            apebench_burgers,
            apebench_kdv,
            apebench_kuramoto_sivashinsky,
            apebench_fisher,
        )
    }
)


def names() -> tuple[str, ...]:
    """The names that `get` takes."""
    return tuple(_ZOO)


def get(name: str) -> Callable[..., PDE]:
    """The function that makes the problem of a name: ``get("burgers")(nu=0.1)``.

    Its docstring describes the problem; every argument has a default.

    Raises
    ------
    InvalidOption
        For an unknown name; the message lists those that there are.
    """
    if name not in _ZOO:
        raise InvalidOption(f"there is no problem {name!r}; known are: {', '.join(names())}.")
    return _ZOO[name]
