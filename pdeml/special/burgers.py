"""Viscous Burgers from a sine, by the Cole–Hopf integral."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pdeml.errors import InvalidOption

_DIGITS = 42.0
"""−log of the relative size of what the quadrature leaves out (e⁻⁴² = 6e-19, below float64)."""

_EARLIEST = 1e-290
"""Times below are treated as the start: the square of η would underflow."""

_ENTRIES = 2**20
"""Entries of the (points, nodes) matrices of one chunk: 8 MiB each in float64."""


def burgers_sine(x: Tensor, t: Tensor, nu: Tensor | float) -> Tensor:
    """Exact solution of u_t + u u_x = ν u_xx with u(x, 0) = −sin πx, of period 2 in x.

        u(x, t) = −∫ sin(πy) f(y) e^{−η²/4νt} dη / ∫ f(y) e^{−η²/4νt} dη,
        y = x − η,   f(y) = exp(−cos(πy) / 2πν)

    Parameters
    ----------
    x, t : coordinates, any shapes that broadcast together; t ≥ 0.
    nu : viscosity ν > 0, a number or a tensor that broadcasts too.

    Returns
    -------
    Tensor
        u in the broadcast shape and the dtype of the inputs; computed in float64. NaN where t < 0.

    Raises
    ------
    InvalidOption
        If ν is not a positive finite number.

    Notes
    -----
    The integrand is entire and decays like a Gaussian, so the trapezoidal rule converges
    exponentially. The half-width R(t) leaves out e⁻⁴² of the mass; the step keeps the aliasing
    error, bounded by the growth of the integrand at a distance b from the real axis, below e⁻⁴²
    too. The number of nodes grows like 1/√ν (105 for ν = 0.01/π, t ≤ 1). Gauss–Hermite nodes
    instead cluster at η = 0 and miss the mass for small ν. Exponents are shifted by their maximum,
    so nothing overflows; their rounding limits the accuracy to about 1e-17/ν for small ν.
    Derivatives in x, t and ν, by autograd or in forward mode, are those of the integral. At t = 0
    the expansion −sin πx + t (νπ² sin πx − π sin πx cos πx) gives u, its x-derivatives and u_t.
    Times below 1e-290 (the square of η would underflow) are treated like t = 0.

    References
    ----------
    Cole (1951), Quart. Appl. Math. 9; Basdevant et al. (1986), Computers & Fluids 14.
    """
    dtype = torch.result_type(x, t)
    if isinstance(nu, Tensor):
        dtype = torch.promote_types(dtype, nu.dtype) if nu.dim() else dtype
    device = x.device if x.dim() else t.device
    numbers = (torch.as_tensor(v, dtype=torch.float64, device=device) for v in (x, t, nu))
    x, t, viscosity = torch.broadcast_tensors(*numbers)
    if not bool(((viscosity > 0) & torch.isfinite(viscosity)).all()):
        raise InvalidOption("the viscosity nu of burgers_sine must be positive and finite.")
    shape = x.shape
    x, t, viscosity = x.reshape(-1), t.reshape(-1), viscosity.reshape(-1)
    if not x.numel():
        return x.reshape(shape).to(dtype)

    started = t > _EARLIEST
    # the other branch needs finite numbers too, else its zero gradient becomes 0 · inf = NaN
    time = torch.where(started, t, torch.ones_like(t))
    half_width, nodes = _window(time.detach(), viscosity.detach())
    chunks = (v.split(max(1, _ENTRIES // nodes)) for v in (x, time, viscosity, half_width))
    later = torch.cat([_quadrature(*p, nodes=nodes) for p in zip(*chunks, strict=True)])
    sine, cosine = torch.sin(math.pi * x), torch.cos(math.pi * x)
    slope = viscosity * math.pi**2 * sine - math.pi * sine * cosine
    u = torch.where(started, later, t * slope - sine)
    return torch.where(t >= 0, u, torch.nan).reshape(shape).to(dtype)


def _window(t: Tensor, nu: Tensor) -> tuple[Tensor, int]:
    """Half-width R of the integration per point and the number of nodes that serves all points.

    The exponent is −G/2ν with G = η²/2t + cos(πy)/π, where cos(πy)/π varies by at most 2/π and with
    a slope of at most 1. Beyond either bound G exceeds its minimum by 2ν · 42.
    """
    depth = 2 * nu * _DIGITS
    half_width = torch.minimum(
        torch.sqrt(2 * t * (2 / math.pi + depth)), t + torch.sqrt(t * t + 2 * t * depth)
    )
    # step 2πb / (42 + growth at Im η = b), the best over b
    scale = torch.sqrt(nu * t.clamp(max=1) / (1 + nu)).unsqueeze(-1)
    b = scale * torch.logspace(-2, 1.5, 48, dtype=t.dtype, device=t.device)
    t, nu = t.unsqueeze(-1), nu.unsqueeze(-1)
    growth = b * b / (4 * nu * t) + torch.sinh(math.pi * b / 2) ** 2 / (math.pi * nu)
    step = (2 * math.pi * b / (_DIGITS + growth)).amax(-1)
    nodes = 1 + int(torch.ceil(2 * half_width / step).max().clamp(min=16))
    if nodes > _ENTRIES:
        raise InvalidOption(
            f"burgers_sine would need {nodes} quadrature nodes for nu = {float(nu.min()):.1e}; "
            "it serves nu of about 1e-10 and more."
        )
    return half_width, nodes


def _quadrature(x: Tensor, t: Tensor, nu: Tensor, half_width: Tensor, *, nodes: int) -> Tensor:
    """Ratio of the two integrals at (n,) points with the trapezoidal rule."""
    unit = torch.linspace(-1, 1, nodes, dtype=x.dtype, device=x.device)
    eta = half_width.unsqueeze(-1) * unit
    half_angle = (math.pi / 2) * (x.unsqueeze(-1) - eta)
    sine, cosine = torch.sin(half_angle), torch.cos(half_angle)
    # −cos πy = 1 − 2 cos²(πy/2); the constant cancels in the ratio
    nu_column = nu.unsqueeze(-1)
    exponent = -(eta * eta) / (4 * t.unsqueeze(-1) * nu_column) - cosine * cosine / (
        math.pi * nu_column
    )
    weight = torch.exp(exponent - exponent.detach().amax(-1, keepdim=True))
    return -(2 * sine * cosine * weight).sum(-1) / weight.sum(-1)
