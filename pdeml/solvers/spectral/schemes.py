"""Time-stepping schemes for U_t = L U + N(U, t), with L a Fourier multiplier.

Each scheme is its functions of z = hL, evaluated once per step size, and one formula for the next
state. In the formulas ``k.q @ v`` applies the multiplier Q to v, and ``k.q.plus(a, v)`` is
a + Q v, and ``k.q.onto(a, v)`` the same where a is not needed again. n is N(U, t), which the step
before has computed.

References
----------
Cox, Matthews (2002), J. Comput. Phys. 176, 430–455 (ETD, ETDRK2, ETDRK3, ETDRK4: eq. 4, 22–29).
Kassam, Trefethen (2005), SIAM J. Sci. Comput. 26, 1214–1233 (contour means).
Lawson (1967), SIAM J. Numer. Anal. 4, 372–380 (integrating factor).
Ascher, Ruuth, Wetton (1995), SIAM J. Numer. Anal. 32, 797–823 (CNAB, SBDF2, SBDF3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from pdeml.errors import InvalidOption
from pdeml.solvers.spectral.functions import Analytic

Stage = Callable[[Tensor, float], Tensor]
"""N at a stage: of modes, and the fraction of the step at which it is."""

Earlier = Sequence[tuple[Tensor, Tensor]]
"""(U, N) of the steps before, the last one first."""


@dataclass(frozen=True)
class Scheme:
    """A time-stepping scheme.

    Attributes
    ----------
    order : of convergence.
    functions : of z = hL, by the name under which `step` uses them.
    step : (functions at this step size, U, N(U), Stage, earlier steps) -> next U.
    history : number of earlier steps that it needs; they are made by ETDRK4.
    evaluations : of N per step.
    """

    name: str
    order: int
    functions: Mapping[str, Analytic]
    step: Callable[[Any, Tensor, Tensor, Stage, Earlier], Tensor]
    history: int = 0
    evaluations: int = 1


FULL = Analytic(torch.exp)
HALF = Analytic(lambda z: torch.exp(z / 2))
ONE = Analytic(torch.ones_like, scaled=True)


def _phi(formula: Callable[[Tensor], Tensor]) -> Analytic:
    return Analytic(formula, removable=True, scaled=True)


PHI1 = _phi(lambda z: (torch.exp(z) - 1) / z)
PHI2 = _phi(lambda z: (torch.exp(z) - 1 - z) / z**2)
Q = _phi(lambda z: (torch.exp(z / 2) - 1) / z)
TWO_Q = _phi(lambda z: 2 * (torch.exp(z / 2) - 1) / z)
R = _phi(lambda z: (torch.exp(z / 2) - 1) ** 2 / z)  # (e^{z/2} − 1) Q
F1 = _phi(lambda z: (-4 - z + torch.exp(z) * (4 - 3 * z + z**2)) / z**3)
F2 = _phi(lambda z: (4 + 2 * z + torch.exp(z) * (2 * z - 4)) / z**3)
F3 = _phi(lambda z: (-4 - 3 * z - z**2 + torch.exp(z) * (4 - z)) / z**3)


def _etd1(k: Any, u: Tensor, n: Tensor, N: Stage, before: Earlier) -> Tensor:
    return k.phi1.plus(k.full @ u, n)


def _etdrk2(k: Any, u: Tensor, n: Tensor, N: Stage, before: Earlier) -> Tensor:
    a = k.phi1.plus(k.full @ u, n)
    return k.phi2.plus(a, N(a, 1) - n)


def _etdrk3(k: Any, u: Tensor, n: Tensor, N: Stage, before: Earlier) -> Tensor:
    a = k.q.plus(k.half @ u, n)
    na = N(a, 0.5)
    drift = k.full @ u
    b = k.phi1.plus(drift, 2 * na - n)
    nb = N(b, 1)
    return k.f3.plus(k.f2.plus(k.f1.plus(drift, n), 2 * na), nb)


def _etdrk4(k: Any, u: Tensor, n: Tensor, N: Stage, before: Earlier) -> Tensor:
    drift = k.half @ u
    a = k.q.plus(drift, n)
    na = N(a, 0.5)
    b = k.q.onto(drift, na)
    nb = N(b, 0.5)
    drift = k.full @ u
    c = k.two_q.onto(k.r.plus(drift, n), nb)  # = e^{z/2} a + Q (2 N(b) − n)
    nc = N(c, 1)
    return k.f3.onto(k.f2.onto(k.f1.onto(drift, n), na + nb), nc)


def _ifrk4(k: Any, u: Tensor, n: Tensor, N: Stage, before: Earlier) -> Tensor:
    drift = k.half @ u
    a = k.half_h.plus(drift, n)
    na = N(a, 0.5)
    b = k.identity_h.plus(drift, na / 2)
    nb = N(b, 0.5)
    drift = k.full @ u
    c = k.half_h.plus(drift, 2 * nb)
    nc = N(c, 1)
    middle = k.half_h.plus(k.full_h.plus(drift, n / 6), (na + nb) * (2 / 3))
    return k.identity_h.plus(middle, nc / 6)


def _cn_euler(k: Any, u: Tensor, n: Tensor, N: Stage, before: Earlier) -> Tensor:
    return k.solve_h.plus(k.crank @ u, n)


def _cnab2(k: Any, u: Tensor, n: Tensor, N: Stage, before: Earlier) -> Tensor:
    ((_, older),) = before
    return k.solve_h.plus(k.crank @ u, 1.5 * n - 0.5 * older)


def _sbdf2(k: Any, u: Tensor, n: Tensor, N: Stage, before: Earlier) -> Tensor:
    ((u1, n1),) = before
    return k.solve_h.plus(k.solve @ (4 * u - u1), 4 * n - 2 * n1)


def _sbdf3(k: Any, u: Tensor, n: Tensor, N: Stage, before: Earlier) -> Tensor:
    (u1, n1), (u2, n2) = before
    return k.solve_h.plus(k.solve @ (18 * u - 9 * u1 + 2 * u2), 18 * (n - n1) + 6 * n2)


def _solve(denominator: Callable[[Tensor], Tensor]) -> dict[str, Analytic]:
    """1 / denominator(z), and h times it."""
    return {
        "solve": Analytic(lambda z: 1 / denominator(z)),
        "solve_h": Analytic(lambda z: 1 / denominator(z), scaled=True),
    }


_CRANK_NICOLSON = {
    "crank": Analytic(lambda z: (1 + z / 2) / (1 - z / 2)),
    "solve_h": Analytic(lambda z: 1 / (1 - z / 2), scaled=True),
}

SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            Scheme(
                "etdrk4",
                4,
                {
                    **{"full": FULL, "half": HALF, "q": Q, "two_q": TWO_Q, "r": R},
                    **{"f1": F1, "f2": F2, "f3": F3},
                },
                _etdrk4,
                evaluations=4,
            ),
            Scheme(
                "etdrk3",
                3,
                {"full": FULL, "half": HALF, "q": Q, "phi1": PHI1, "f1": F1, "f2": F2, "f3": F3},
                _etdrk3,
                evaluations=3,
            ),
            Scheme("etdrk2", 2, {"full": FULL, "phi1": PHI1, "phi2": PHI2}, _etdrk2, evaluations=2),
            Scheme("etd1", 1, {"full": FULL, "phi1": PHI1}, _etd1),
            Scheme(
                "ifrk4",
                4,
                {
                    "full": FULL,
                    "half": HALF,
                    "full_h": Analytic(torch.exp, scaled=True),
                    "half_h": Analytic(lambda z: torch.exp(z / 2) / 2, scaled=True),
                    "identity_h": ONE,
                },
                _ifrk4,
                evaluations=4,
            ),
            Scheme("cn_euler", 1, _CRANK_NICOLSON, _cn_euler),
            Scheme("cnab2", 2, _CRANK_NICOLSON, _cnab2, history=1),
            Scheme("sbdf2", 2, _solve(lambda z: 3 - 2 * z), _sbdf2, history=1),
            Scheme("sbdf3", 3, _solve(lambda z: 11 - 6 * z), _sbdf3, history=2),
        )
    }
)
"""The schemes by name."""


def find_scheme(name: Any) -> Scheme:
    """The scheme of a name.

    Raises
    ------
    InvalidOption
        There is none; the message lists those that there are.
    """
    if name not in SCHEMES:
        raise InvalidOption(f"scheme={name!r} is unknown; give one of {', '.join(SCHEMES)}.")
    return SCHEMES[name]
