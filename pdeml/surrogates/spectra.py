"""Power of periodic fields over their Fourier modes, and norms of their derivatives.

    Σ_k |û_k|² = ⟨u²⟩      (Plancherel; û with the forward norm, the mean over points)

Wave numbers are integers: x is scaled to a period of 2π on each axis.
"""

from __future__ import annotations

import torch
from torch import Tensor


def wave_numbers(shape: tuple[int, ...], like: Tensor) -> list[Tensor]:
    """Integer wave numbers of each axis of a real transform, shaped to broadcast."""
    dims = len(shape)
    options = {"device": like.device, "dtype": like.dtype}
    numbers = [torch.fft.fftfreq(n, 1 / n, **options) for n in shape[:-1]]
    numbers.append(torch.fft.rfftfreq(shape[-1], 1 / shape[-1], **options))
    return [k.reshape(*(-1 if i == j else 1 for j in range(dims))) for i, k in enumerate(numbers)]


def squared_wave_number(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """|k|² of each mode of a real transform."""
    square = wave_numbers(shape, like)[0].square()
    for number in wave_numbers(shape, like)[1:]:
        square = square + number.square()
    return square


def power(values: Tensor, dims: int) -> Tensor:
    """|û_k|² of the last `dims` axes, (…, *modes); their sum is the mean square.

    Modes of a real transform stand for their conjugates too and count twice.
    """
    axes = tuple(range(-dims, 0))
    last = values.shape[-1]
    modes = torch.fft.rfftn(values, dim=axes, norm="forward").abs().square()
    weight = torch.full((last // 2 + 1,), 2.0, device=values.device, dtype=values.dtype)
    weight[0] = 1
    if last % 2 == 0:
        weight[-1] = 1
    return modes * weight


def seminorms(values: Tensor, dims: int, order: int, periodic: bool) -> list[Tensor]:
    """Mean squares of the derivatives of order 0 … `order` over the last `dims` axes.

        |u|_j² = Σ_α ⟨(D^α u)²⟩ over all j-tuples α of axes

    Spectral on periodic boxes, by second-order differences elsewhere (the box again of length 2π).
    """
    axes = tuple(range(-dims, 0))
    if periodic:
        modes = power(values, dims)
        square = squared_wave_number(tuple(values.shape[-dims:]), values)
        return [(modes * square**j).sum(axes) for j in range(order + 1)]
    out, derivatives = [values.square().mean(axes)], [values]
    for _ in range(order):
        derivatives = [
            torch.gradient(d, spacing=2 * torch.pi / (d.shape[a] - 1), dim=a, edge_order=2)[0]
            for d in derivatives
            for a in axes
        ]
        out.append(torch.stack([d.square().mean(axes) for d in derivatives]).sum(0))
    return out


def isotropic(values: Tensor, dims: int) -> Tensor:
    """Power in shells |k| ∈ [n − ½, n + ½), (…, shells); their sum is the mean square."""
    shape = tuple(values.shape[-dims:])
    radius = squared_wave_number(shape, values).sqrt()
    shell = (radius + 0.5).floor().long().flatten()
    out = values.new_zeros(*values.shape[:-dims], int(shell.max()) + 1)
    return out.index_add(-1, shell, power(values, dims).flatten(-dims))
