"""What differs between samples: parameters from ranges, initial values from random fields."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdeml import probability
from pdeml.data.patches import REACTING, Patches
from pdeml.errors import InvalidOption
from pdeml.operators.expressions import evaluate
from pdeml.operators.pde import PDE, Initial, Parameter
from pdeml.probability.philox import sample_keys, uniform
from pdeml.solvers.spectral.lowering import lowered

RECIPE = 2
"""Version of how samples are drawn from their seeds. Whatever changes a drawn number raises it:
files of different recipes are different data sets, and one is not continued by the other."""

PARAMETERS = 2**62  # stream of a sample's seed that parameters are drawn from; fields take 0
SHIFTS = PARAMETERS + 1
GAMMA = {1: 3.0, 2: 3.5, 3: 4.0}  # smoothness of the default fields: about three derivatives
TAU = 5.0
DISPLACEMENT = 0.05  # standard deviation over the length of the box: it seldom folds

KNOWN: Mapping[tuple[str, int], Callable[..., Tensor]] = MappingProxyType(
    {
        ("burgers", 1): probability.fno_burgers,
        ("vector_burgers", 1): probability.fno_burgers,
        ("kuramoto_sivashinsky", 1): probability.mno_kuramoto_sivashinsky,
        ("navier_stokes_vorticity", 2): probability.fno_navier_stokes,
    }
)
"""Random fields of published data sets, by the name of the problem and its dimension."""

Ranges = Mapping[str, tuple[Any, ...]]


def checked_ranges(problem: PDE, vary: Ranges | None) -> dict[str, tuple[float, float, str]]:
    """(low, high, "linear" or "log") of each parameter that is drawn, by name.

    Parameters
    ----------
    vary : None takes the ranges of the declaration.

    Raises
    ------
    InvalidOption
        An unknown parameter, or a range that is none or is not accepted by the declaration.
    """
    if vary is None:
        return {p.name: (*p.range, "linear") for p in problem.parameters if p.range is not None}
    out = {}
    for key, given in vary.items():
        parameter = problem.find_parameter(key)
        try:
            low, high, *rest = given
            scale = rest[0] if rest else "linear"
            fits = float(low) < float(high) and scale in ("linear", "log") and len(rest) < 2
            fits = fits and math.isfinite(low) and math.isfinite(high)
            fits = fits and (scale == "linear" or low > 0)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise InvalidOption(
                f"vary {parameter.name}={given!r}: give (low, high), or (low, high, 'log') with "
                "0 < low < high."
            )
        for end in (low, high):
            parameter.with_value(float(end))  # refuses what the declaration does not accept
        out[parameter.name] = (float(low), float(high), scale)
    return out


def without_idle(
    problem: PDE, ranges: Mapping[str, Any], initial: Any, given: bool
) -> dict[str, Any]:
    """The ranges of parameters that a run depends on: not those of a replaced initial value alone.

    Parameters
    ----------
    initial : as of `RandomInitial`, or a function of seeds.
    given : they were asked for, not taken from the declaration.

    Raises
    ------
    InvalidOption
        One that was asked for is idle.
    """
    if not callable(initial) and RandomInitial.keeps_declared(problem, initial):
        return dict(ranges)
    acting = {p.name for equation in problem.equations for p in equation.atoms(Parameter)}
    idle = [name for name in ranges if name not in acting]
    if idle and given:
        raise InvalidOption(
            f"vary {idle[0]}: it stands in the initial value of {problem.name!r} alone, which "
            "initial= replaces. Start from initial='declared', or leave it out."
        )
    return {name: range_ for name, range_ in ranges.items() if name not in idle}


def drawn_parameters(
    ranges: Mapping[str, tuple[float, float, str]], seeds: np.ndarray
) -> dict[str, np.ndarray]:
    """Values (B,) of each parameter: functions of its seed and of the place of the name."""
    out = {}
    keys = [sample_keys(int(s) >> 1, PARAMETERS, 1) for s in seeds]
    for place, name in enumerate(sorted(ranges)):
        low, high, scale = ranges[name]
        shares = np.array([uniform(k, [np.array([place])])[0].item() for k in keys])
        if scale == "log":
            out[name] = low * (high / low) ** shares
        else:
            out[name] = low + (high - low) * shares
    return out


class RandomInitial:
    """Initial values of the evolved variables of a periodic problem, by the seed of the sample.

    Parameters
    ----------
    problem : a `pdeml.PDE` on a periodic box.
    shape : points per axis.
    field : ``"random"`` (see Notes), ``"declared"``, the name of a function of `pdeml.probability`,
        or a table with ``name`` and its options (``{"name": "power_law_field", "exponent": 4,
        "scale": 2}``; ``scale`` multiplies it).

    Raises
    ------
    InvalidOption
        There is no such field.

    Notes
    -----
    ``"random"`` is the first of these that applies:

    - Burgers and Kuramoto–Sivashinsky in one dimension and the vorticity equation: the field of
      the published data (`KNOWN`).
    - `fisher_kpp` and `gray_scott`: random patches of the invading state in the one at rest
      (`pdeml.data.patches`); ``scale`` multiplies their radii.
    - A real variable whose declared value keeps one sign, as densities do: all variables as
      declared, at displaced points,

          u(x, 0) = u₀(x + s + d(x)),

      with s uniform in the box and d_i a Gaussian field of standard deviation 0.05 box lengths.
      Bounds of the declared value hold, and so does what relates its variables.
    - Else a Gaussian field with the mean and the standard deviation of the declared value; it may
      leave the range of that.

    Gaussian fields are `probability.gaussian_random_field` with γ = 3, 3.5, 4 for d = 1, 2, 3 and
    τ = 5 unless the table says otherwise. A variable beside the first has its own stream.
    Velocities of equations of second order in time start as declared, but for the displacement;
    complex variables have independent real and imaginary parts.
    """

    def __init__(self, problem: PDE, shape: Sequence[int], field: str | Mapping[str, Any]):
        self._shape = tuple(shape)
        self._field = {"name": field} if isinstance(field, str) else dict(field)
        self._state = lowered(problem).state
        self._problem, self._points = problem, _grid(problem, self._shape)
        self._declared = self._declared_at(self._points, problem)
        name = self._field.get("name")
        known = [n for n in probability.__all__ if n != "Sampling"]
        if name not in ("random", "declared", *known):
            raise InvalidOption(
                f"initial={field!r}: give 'random', 'declared', or a field of pdeml.probability: "
                f"{', '.join(known)}."
            )
        options = {k: v for k, v in self._field.items() if k not in ("name", "scale")}
        self._draw: Callable[..., Tensor] | None = None
        if name == "random":
            self._draw = KNOWN.get((problem.name, len(self._shape)))
        elif name != "declared":
            self._draw = getattr(probability, name)
        self._options = options
        free = name == "random" and self._draw is None
        self._patches = REACTING.get(problem.name) if free else None
        self._displaced = free and self._patches is None and _keeps_sign(self._declared)

    @staticmethod
    def keeps_declared(problem: PDE, field: str | Mapping[str, Any]) -> bool:
        """Whether starts depend on the declared value, beyond its number of variables."""
        name = field if isinstance(field, str) else field.get("name")
        if name == "declared" or any(problem.time_order(f) > 1 for f in problem.fields):
            return True  # velocities start as declared
        if name != "random":
            return False
        known = (problem.name, len(problem.space_coordinates)) in KNOWN
        return not known and problem.name not in REACTING

    def __call__(
        self, seeds: np.ndarray, parameters: Mapping[str, np.ndarray] | None = None
    ) -> Tensor:
        """Values (B, C, *shape) in float64, one sample for each seed.

        Parameters
        ----------
        parameters : values (B,) of the samples, where they differ from those declared.
        """
        rows = []
        for row, seed in enumerate(seeds):
            own = {name: float(values[row]) for name, values in (parameters or {}).items()}
            problem = self._problem.with_parameters(own) if self._depends(own) else self._problem
            rows.append(self._one(int(seed) >> 1, problem))
        return torch.stack(rows)

    def _depends(self, names: Iterable[str]) -> bool:
        """Whether the declared value depends on one of these parameters."""
        given = [c.value for c in self._problem.conditions if isinstance(c, Initial)]
        return any(p.name in names for value in given for p in value.atoms(Parameter))

    def _one(self, seed: int, problem: PDE) -> Tensor:
        if self._patches is not None:
            return self._patched(self._patches, seed)
        if self._displaced:
            return self._moved(seed, problem)
        out = self._declared.clone()
        if problem is not self._problem:
            out = self._declared_at(self._points, problem)
        if self._field["name"] == "declared":
            return out
        declared = out.clone()
        stream = 0
        for channel, variable in enumerate(self._state):
            if variable.is_Derivative:
                continue  # a velocity starts as declared
            values = self._random(seed, stream, declared[channel])
            if out.is_complex():
                values = torch.complex(values, self._random(seed, stream + 1, declared[channel]))
            out[channel] = values
            stream += 2
        return out

    def _random(self, seed: int, stream: int, declared: Tensor) -> Tensor:
        n = self._shape[0] if len(self._shape) == 1 else self._shape
        scale = float(self._field.get("scale", 1.0))
        if self._draw is not None:
            field = self._draw(n, samples=1, seed=seed, first=stream, **self._options)
            return scale * field[0, 0]
        mean = declared.mean().real
        spread = (declared - declared.mean()).abs().square().mean().sqrt()
        return mean + scale * spread * self._standard(seed, stream)

    def _standard(self, seed: int, stream: int) -> Tensor:
        """A Gaussian field of mean 0 and standard deviation 1."""
        dim = len(self._shape)
        options: dict[str, Any] = {"gamma": GAMMA[dim], "tau": TAU, **self._options}
        field = probability.gaussian_random_field(
            self._shape, samples=1, seed=seed, first=stream, **options
        )[0, 0]
        return field / _deviation(dim, options["gamma"], options["tau"])

    def _patched(self, patches: Patches, seed: int) -> Tensor:
        domain: Any = self._problem.domain
        low, high = patches.radius
        scale = float(self._field.get("scale", 1.0))
        sized = dataclasses.replace(patches, radius=(scale * low, scale * high))
        return sized(self._points, domain.space.bounds, seed).reshape(-1, *self._shape)

    def _moved(self, seed: int, problem: PDE) -> Tensor:
        """The declared values at x + s + d(x), wrapped into the box."""
        domain: Any = self._problem.domain
        size = DISPLACEMENT * float(self._field.get("scale", 1.0))
        keys = sample_keys(seed, SHIFTS, 1)
        points = self._points.clone()
        for axis, (a, b) in enumerate(zip(*domain.space.bounds, strict=True)):
            shift = uniform(keys, [np.array([axis])])[0].item()
            moved = shift + size * self._standard(seed, axis).flatten()
            points[:, axis] = a + (points[:, axis] - a + (b - a) * moved) % (b - a)
        return self._declared_at(points, problem)

    def _declared_at(self, points: Tensor, problem: PDE) -> Tensor:
        """Declared values (C, *shape) at points (P, d)."""
        return _declared(problem, self._state, points).reshape(-1, *self._shape)


def _deviation(dim: int, gamma: float, tau: float) -> float:
    """Pointwise standard deviation of `gaussian_random_field` on the unit box, σ = τ^(γ − d/2)."""
    m = np.arange(-32, 33)
    squares = np.stack(np.meshgrid(*[m**2] * dim, indexing="ij")).sum(0)
    power = (4 * np.pi**2 * squares + tau**2) ** -gamma
    return math.sqrt(power.sum() - tau ** (-2 * gamma)) * tau ** (gamma - dim / 2)


def _keeps_sign(declared: Tensor) -> bool:
    """Whether a variable (C, *shape) is real, varies, and is never negative or never positive."""
    if declared.is_complex():
        return False
    least, most = declared.flatten(1).aminmax(dim=1)
    return bool(((least < most) & ((least >= 0) | (most <= 0))).any())


def _grid(problem: PDE, shape: tuple[int, ...]) -> Tensor:
    """Points (P, d) of a periodic grid."""
    domain: Any = problem.domain
    axes = [
        a + (b - a) * torch.arange(n, dtype=torch.float64) / n
        for a, b, n in zip(*domain.space.bounds, shape, strict=True)
    ]
    return torch.stack([p.flatten() for p in torch.meshgrid(*axes, indexing="ij")], 1)


def _declared(problem: PDE, state: Sequence[Any], points: Tensor) -> Tensor:
    """Declared initial values (C, P) at points, with the parameters of the problem."""
    given = {c.derivative: c.value for c in problem.conditions if isinstance(c, Initial)}
    expressions = [given[variable] for variable in state]
    values = evaluate(expressions, problem.space_coordinates, points, problem.values)
    real = all(f.is_real for f in problem.fields)
    return values.T.to(torch.float64 if real else torch.complex128)
