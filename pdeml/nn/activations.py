"""Elementwise functions with all their derivatives, as Taylor-mode differentiation needs them.

Every entry of `DERIVATIVES` maps a name to a function ``(z, order) -> [f(z), f'(z), …,
f^(order)(z)]``
that works for any order, because the recurrences below do (pinn.md §2.2 lists the first four).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

DerivativeTable = Callable[[Tensor, int], list[Tensor]]


@cache
def _ratio_polynomials(order: int, slope: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    """Coefficients of R_1 … R_order with f^(n) = f'·R_n(f), where f' = p(f), p given by `slope`.

    From f^(n+1) = f'·(R_n'(f) p(f) + R_n(f) p'(f)). Lowest power first.
    """

    def product(a: list[float], b: tuple[float, ...] | list[float]) -> list[float]:
        out = [0.0] * (len(a) + len(b) - 1)
        for i, left in enumerate(a):
            for j, right in enumerate(b):
                out[i + j] += left * right
        return out

    def derivative(a: list[float] | tuple[float, ...]) -> list[float]:
        return [i * c for i, c in enumerate(a)][1:] or [0.0]

    rows = [[1.0]]
    for _ in range(order - 1):
        left = product(derivative(rows[-1]), slope)
        right = product(rows[-1], derivative(slope))
        size = max(len(left), len(right))
        left += [0.0] * (size - len(left))
        right += [0.0] * (size - len(right))
        rows.append([a + b for a, b in zip(left, right, strict=True)])
    return tuple(tuple(row) for row in rows)


def _polynomial(coefficients: tuple[float, ...], h: Tensor) -> Tensor | float:
    """Horner's scheme; trailing zeros are dropped so that no operation is wasted."""
    significant = list(coefficients)
    while len(significant) > 1 and significant[-1] == 0.0:
        significant.pop()
    value: Tensor | float = significant[-1]
    for c in reversed(significant[:-1]):
        value = value * h
        if c:
            value = value + c
    return value


def _autonomous(value: Tensor, order: int, slope: tuple[float, ...]) -> list[Tensor]:
    """Derivatives of a function with f' = p(f): tanh, sigmoid, tan."""
    out = [value]
    if order:
        first = torch.as_tensor(_polynomial(slope, value))
        out.append(first)
        out.extend(first * _polynomial(row, value) for row in _ratio_polynomials(order, slope)[1:])
    return out


def tanh(z: Tensor, order: int) -> list[Tensor]:
    return _autonomous(torch.tanh(z), order, (1.0, 0.0, -1.0))


def fast_tanh(z: Tensor, out: Tensor) -> Tensor:
    """tanh z = 2 σ(2z) − 1 into `out`: σ costs a quarter of ``torch.tanh`` on CPUs.

    The absolute error is a unit in the last place of 1, that of the sums which z comes from.
    """
    torch.mul(z, 2.0, out=out)
    torch.sigmoid(out, out=out)
    return torch.add(out.new_tensor(-1.0), out, alpha=2.0, out=out)


def tanh_into(
    z: Tensor, order: int, empty: Callable[[Tensor], Tensor], value: Tensor
) -> list[Tensor]:
    """`tanh` for order ≥ 1 without fresh memory: f goes to `value`, the rest to buffers of `empty`.

    With h = tanh z the derivatives are f^(n) = (1 − h²)·S_n(h²), times h for even n.
    """
    h = fast_tanh(z, value)
    square = torch.mul(h, h, out=empty(h))
    first = torch.sub(h.new_ones(()), square, out=empty(h))
    odd = torch.mul(h, first, out=empty(h)) if order > 1 else first
    out = [h, first]
    for n, row in enumerate(_ratio_polynomials(order, (1.0, 0.0, -1.0))[1:], start=2):
        even_powers = [c for i, c in enumerate(row) if i % 2 == (n - 1) % 2]
        while even_powers[-1] == 0.0:
            even_powers.pop()
        base = odd if n % 2 == 0 else first
        if len(even_powers) == 1:
            out.append(torch.mul(base, even_powers[0], out=empty(h)))
            continue
        total = torch.add(
            h.new_tensor(even_powers[-2]), square, alpha=even_powers[-1], out=empty(h)
        )
        for c in reversed(even_powers[:-2]):
            torch.addcmul(h.new_tensor(c), total, square, out=total)
        out.append(total.mul_(base))
    return out


def sigmoid(z: Tensor, order: int) -> list[Tensor]:
    return _autonomous(torch.sigmoid(z), order, (0.0, 1.0, -1.0))


def tan(z: Tensor, order: int) -> list[Tensor]:
    return _autonomous(torch.tan(z), order, (1.0, 0.0, 1.0))


def _cyclic(first: Tensor, second: Tensor, order: int) -> list[Tensor]:
    cycle = [first, second, -first, -second]
    return [cycle[n % 4] for n in range(order + 1)]


def sin(z: Tensor, order: int) -> list[Tensor]:
    return _cyclic(torch.sin(z), torch.cos(z), order)


def cos(z: Tensor, order: int) -> list[Tensor]:
    return _cyclic(torch.cos(z), -torch.sin(z), order)


def sinh(z: Tensor, order: int) -> list[Tensor]:
    pair = (torch.sinh(z), torch.cosh(z))
    return [pair[n % 2] for n in range(order + 1)]


def cosh(z: Tensor, order: int) -> list[Tensor]:
    pair = (torch.cosh(z), torch.sinh(z))
    return [pair[n % 2] for n in range(order + 1)]


def exp(z: Tensor, order: int) -> list[Tensor]:
    value = torch.exp(z)
    return [value] * (order + 1)


def _times_argument(z: Tensor, derivatives: list[Tensor]) -> list[Tensor]:
    """Derivatives of z·g(z) from those of g: n g^(n−1) + z g^(n)."""
    out = [z * derivatives[0]]
    for n in range(1, len(derivatives)):
        out.append(n * derivatives[n - 1] + z * derivatives[n])
    return out


def swish(z: Tensor, order: int) -> list[Tensor]:
    return _times_argument(z, sigmoid(z, order))


def softplus(z: Tensor, order: int) -> list[Tensor]:
    value = nn.functional.softplus(z)
    return [value, *sigmoid(z, order - 1)] if order else [value]


def gaussian(z: Tensor, order: int) -> list[Tensor]:
    """exp(−z²): f^(n+1) = −2 z f^(n) − 2 n f^(n−1)."""
    out = [torch.exp(-z * z)]
    for n in range(order):
        out.append(-2 * z * out[n] - (2 * n * out[n - 1] if n else 0.0))
    return out


def erf(z: Tensor, order: int) -> list[Tensor]:
    value = torch.erf(z)
    if not order:
        return [value]
    return [value, *(2 / math.sqrt(math.pi) * g for g in gaussian(z, order - 1))]


def gelu(z: Tensor, order: int) -> list[Tensor]:
    """z Φ(z) with the exact normal distribution function Φ."""
    scale = 1 / math.sqrt(2)
    normal = [0.5 * scale**n * g for n, g in enumerate(erf(z * scale, order))]
    normal[0] = normal[0] + 0.5
    return _times_argument(z, normal)


def log(z: Tensor, order: int) -> list[Tensor]:
    out = [torch.log(z)]
    if order:
        out.extend(power(z, order - 1, -1.0))
    return out


def power(z: Tensor, order: int, exponent: float) -> list[Tensor]:
    """z^p: falling factorials times z^(p−n); exact zero beyond a non-negative integer exponent."""
    out, factor = [], 1.0
    for n in range(order + 1):
        if factor == 0.0:
            out.append(torch.zeros_like(z))
            continue
        remaining = exponent - n
        out.append(factor * (torch.ones_like(z) if remaining == 0 else z**remaining))
        factor *= remaining
    return out


DERIVATIVES: dict[str, DerivativeTable] = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "tan": tan,
    "sin": sin,
    "cos": cos,
    "sinh": sinh,
    "cosh": cosh,
    "exp": exp,
    "swish": swish,
    "silu": swish,
    "softplus": softplus,
    "gaussian": gaussian,
    "erf": erf,
    "gelu": gelu,
    "log": log,
}

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "swish": nn.functional.silu,
    "gaussian": lambda z: torch.exp(-(z * z)),
    "softplus": nn.functional.softplus,
    "gelu": nn.functional.gelu,
    "relu": torch.relu,
}
"""Activations that a network may be built with."""
