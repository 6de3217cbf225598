"""Errors of predictions, with one exact definition each.

e = ŷ − y; ⟨·⟩ is the mean over the last `dims` (space) axes; leading axes (batch, time, channel)
are kept, unless it says otherwise.

References
----------
Takamoto et al. (2022), PDEBench, §3 and appendix B (RMSE … fRMSE).
Ohana et al. (2024), The Well, §4 (VRMSE, binned spectral error).
Koehler et al. (2024), APEBench, §3.3 (roll-out metrics).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pdeml.errors import InvalidOption
from pdeml.surrogates.losses import VARIANCE_FLOOR
from pdeml.surrogates.spectra import isotropic, power, seminorms, squared_wave_number

BANDS = {"low": (0, 4), "middle": (4, 12), "high": (12, None)}
"""Wave numbers |k| of the bands of fRMSE, upper ends excluded."""

THRESHOLD = 0.8  # of correlation
SPECTRAL_BINS = 3


def _axes(dims: int) -> tuple[int, ...]:
    return tuple(range(-dims, 0))


def rmse(prediction: Tensor, target: Tensor, dims: int) -> Tensor:
    """√⟨e²⟩."""
    return (prediction - target).square().mean(_axes(dims)).sqrt()


def nrmse(prediction: Tensor, target: Tensor, dims: int) -> Tensor:
    """√⟨e²⟩ / √⟨y²⟩; NaN where y vanishes, which has no relative error."""
    size = target.square().mean(_axes(dims)).sqrt()
    return torch.where(size > 0, rmse(prediction, target, dims) / size, torch.nan)


def vrmse(prediction: Tensor, target: Tensor, dims: int) -> Tensor:
    """√(⟨e²⟩ / (Var y + 1e-7)), Var with n − 1; predicting the mean gives √((n − 1)/n)."""
    variance = target.flatten(-dims).var(-1) + VARIANCE_FLOOR
    return ((prediction - target).square().mean(_axes(dims)) / variance).sqrt()


def h1(prediction: Tensor, target: Tensor, dims: int, periodic: bool = True) -> Tensor:
    """‖e‖_{H¹} / ‖y‖_{H¹}, ‖u‖² = ⟨u²⟩ + ⟨|∇u|²⟩ on the box scaled to 2π."""
    error, norm = (
        torch.stack(seminorms(v, dims, 1, periodic)).sum(0) for v in (prediction - target, target)
    )
    return (error / norm).sqrt()


def maximum(prediction: Tensor, target: Tensor, dims: int) -> Tensor:
    """max |e|."""
    return (prediction - target).abs().amax(_axes(dims))


def conserved_error(prediction: Tensor, target: Tensor, dims: int) -> Tensor:
    """⟨e⟩², whose root mean over the batch is cRMSE, the error of the total per point."""
    return (prediction - target).mean(_axes(dims)).square()


def boundary(prediction: Tensor, target: Tensor, dims: int) -> Tensor:
    """bRMSE: root mean square over the 2·dims faces of the grid, corners once per face."""
    square = (prediction - target).square()
    total, count = torch.zeros_like(square.sum(_axes(dims))), 0
    for axis in _axes(dims):
        for end in (0, -1):
            face = square.select(axis, end)
            total = total + (face.sum(_axes(dims - 1)) if dims > 1 else face)
            count += math.prod(square.shape[-dims:]) // square.shape[axis]
    return (total / count).sqrt()


def fourier(
    prediction: Tensor, target: Tensor, dims: int, *, compat: str | None = None
) -> dict[str, Tensor]:
    """fRMSE: the error in bands of wave numbers |k| < 4, 4 ≤ |k| < 12, |k| ≥ 12.

        default              √(Σ_{k in band} |ê_k|²): over all modes, and Σ bands² = RMSE²
        compat="pdebench"    the mean over shells n in the band of
                             √(mean over the batch Σ_{⌊|k|⌋ = n} |ê_k|²), forward norm, where in
                             two dimensions only 0 ≤ k_i < n_i/2 count

    Parameters
    ----------
    prediction, target : (B, …, *space).
    dims : space axes; PDEBench's has one or two.
    compat : None or ``"pdebench"``, whose first axis is averaged.

    Returns
    -------
    dict
        ``low``, ``middle``, ``high``; NaN where the grid has no such mode (an empty band).

    Raises
    ------
    InvalidOption
        Another `compat`, or PDEBench's in three dimensions.
    """
    error = prediction - target
    if compat == "pdebench":
        return _pdebench(error, dims)
    if compat is not None:
        raise InvalidOption(f'compat={compat!r}: give None or "pdebench".')
    modes = power(error, dims).flatten(-dims)
    radius = squared_wave_number(tuple(error.shape[-dims:]), error).sqrt().flatten()
    out = {}
    for name, (low, high) in BANDS.items():
        inside = (radius >= low) & (radius < (math.inf if high is None else high))
        chosen = modes[..., inside].sum(-1).sqrt()
        out[name] = chosen if bool(inside.any()) else torch.full_like(chosen, torch.nan)
    return out


def _pdebench(error: Tensor, dims: int) -> dict[str, Tensor]:
    shape = tuple(error.shape[-dims:])
    if dims == 1:
        shells = torch.fft.rfft(error, norm="forward").abs().square()
    elif dims == 2:
        halves = [n // 2 for n in shape]
        modes = torch.fft.fft2(error, norm="forward").abs().square()
        modes = modes[..., : halves[0], : halves[1]]
        k = [torch.arange(n, device=error.device, dtype=error.dtype) for n in halves]
        radius = (k[0][:, None].square() + k[1].square()).sqrt().floor().long().flatten()
        count = min(halves)
        inside = radius < count
        shells = modes.new_zeros(*modes.shape[:-2], count)
        shells = shells.index_add(-1, radius[inside], modes.flatten(-2)[..., inside])
    else:
        raise InvalidOption('compat="pdebench" is for one or two space dimensions.')
    roots = shells.mean(0).sqrt()
    return {name: roots[..., low:high].mean(-1) for name, (low, high) in BANDS.items()}


def spectral_bins(prediction: Tensor, target: Tensor, dims: int) -> Tensor:
    """Mean square error by wave number, (…, 3); the bins add up to ⟨e²⟩ (Plancherel).

    Edges are 0 and three logarithmically spaced radii from 2π/max n to π√d, in radians per point;
    the first bin holds what lies below its upper edge.
    """
    error, shape = prediction - target, tuple(prediction.shape[-dims:])
    edges = torch.logspace(
        math.log10(2 * math.pi / max(shape)),
        math.log10(math.pi * math.sqrt(dims)),
        SPECTRAL_BINS + 1,
        dtype=torch.float64,
    )
    square = error.new_zeros((), dtype=torch.float64)
    for axis, n in enumerate(shape):
        last = axis == dims - 1
        k = torch.fft.rfftfreq(n, dtype=torch.float64) if last else torch.fft.fftfreq(n).double()
        square = square + (2 * math.pi * k).square().reshape(-1, *(1,) * (dims - 1 - axis))
    place = torch.bucketize(square.sqrt().flatten(), edges[1:-1]).to(error.device)
    out = error.new_zeros(*error.shape[:-dims], SPECTRAL_BINS)
    return out.index_add(-1, place, power(error, dims).flatten(-dims))


def spectrum(values: Tensor, dims: int) -> Tensor:
    """Isotropic power spectrum, in shells of width 1 around integer |k|; its sum is ⟨u²⟩."""
    return isotropic(values, dims)


def correlation(prediction: Tensor, target: Tensor, dims: int, *, centred: bool = True) -> Tensor:
    """Pearson's r over space; without `centred` the cosine of the angle (APEBench)."""
    a, b = prediction.flatten(-dims), target.flatten(-dims)
    if centred:
        a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1)).sqrt()


def correlation_time(
    r: Tensor, times: Tensor, threshold: float = THRESHOLD
) -> tuple[Tensor, Tensor]:
    """First time at which a correlation falls below a threshold, by linear interpolation.

    Parameters
    ----------
    r : (…, T); NaN counts as below.
    times : (T,), increasing.

    Returns
    -------
    time (…), and whether it is censored: r never fell, and the time is the last one.
    """
    r, times = r.nan_to_num(-1.0), times.to(r)
    below = r < threshold
    censored = ~below.any(-1)
    first = below.to(torch.uint8).argmax(-1)
    before = (first - 1).clamp_min(0)
    r0, r1 = (r.gather(-1, i[..., None])[..., 0] for i in (before, first))
    fraction = torch.where(first > 0, (r0 - threshold) / (r0 - r1).clamp_min(1e-300), 0)
    time = times[before] + fraction.clamp(0, 1) * (times[first] - times[before])
    return torch.where(censored, times[-1], time), censored


def conserved(values: Tensor, dims: int) -> dict[str, Tensor]:
    """Quantities that many equations keep: the mean ⟨u⟩ (mass) and ½⟨u²⟩ (energy, momentum)."""
    return {"mean": values.mean(_axes(dims)), "energy": values.square().mean(_axes(dims)) / 2}


def wasserstein(prediction: Tensor, target: Tensor) -> float:
    """W₁ distance of the distributions of all values: ∫ |F − G|; equal numbers of both."""
    a, b = prediction.flatten().sort().values, target.flatten().sort().values
    if len(a) != len(b):
        raise InvalidOption(f"{len(a)} and {len(b)} values are given; give as many of both.")
    return float((a - b).abs().mean())


def geometric_mean(errors: Tensor, steps: int = 100) -> Tensor:
    """exp ⟨log error⟩ over the first `steps` of the last (time) axis (GMean100 of APEBench)."""
    return errors[..., :steps].log().mean(-1).exp()
