"""Points of the unit cube by four methods, rejection, and residual-adaptive selection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from pdeml.errors import InvalidOption

METHODS = ("uniform", "sobol", "lhs", "grid")

# Rejection gives up after this many trials without one hit; a method that needs all trials at once
# (sobol, lhs, grid) never asks for more numbers than NUMBERS_LIMIT (256 MiB of float64).
TRIALS_WITHOUT_HIT = 2**18
NUMBERS_LIMIT = 2**25


def check_count(n: int) -> int:
    """``n`` as a positive int.

    Raises
    ------
    InvalidOption
        If ``n`` is not an integer or is below one.
    """
    if isinstance(n, bool) or not isinstance(n, Integral):
        raise InvalidOption(f"n = {n!r} is no number of points; give a positive integer.")
    if n < 1:
        raise InvalidOption(f"n = {n} points were asked for; give a positive integer.")
    return int(n)


def check_method(method: str) -> str:
    """``method`` if it is one of `METHODS`.

    Raises
    ------
    InvalidOption
        If it is not; the message lists those that are.
    """
    if method not in METHODS:
        raise InvalidOption(
            f"{method!r} is no sampling method; use one of {', '.join(map(repr, METHODS))}."
        )
    return method


def check_generator(generator: torch.Generator) -> torch.Generator:
    """``generator`` if it is a torch.Generator.

    Raises
    ------
    InvalidOption
        If it is anything else.
    """
    if not isinstance(generator, torch.Generator):
        raise InvalidOption(
            f"generator = {generator!r} is no torch.Generator; "
            "give for instance torch.Generator().manual_seed(0)."
        )
    return generator


def check_dtype(dtype: torch.dtype) -> torch.dtype:
    """``dtype`` if it is a real floating-point type.

    Raises
    ------
    InvalidOption
        If it is anything else.
    """
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InvalidOption(
            f"dtype = {dtype!r} cannot hold points; use torch.float64 or torch.float32."
        )
    return dtype


def unit_points(
    n: int,
    d: int,
    method: str,
    generator: torch.Generator,
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """``n`` points of the unit cube [0, 1]^d.

    Parameters
    ----------
    n : number of points, at least 1.
    d : dimension; 0 gives a tensor without columns.
    method :
        ``"uniform"``: independent points.
        ``"sobol"``: a Sobol sequence, scrambled by a seed drawn from the generator; powers of two
        are balanced best; d ≤ 21201.
        ``"lhs"``: Latin hypercube: in every coordinate, each of the n strata [i/n, (i+1)/n) holds
        one point.
        ``"grid"``: the cell centres of a regular grid whose counts per axis differ by one at most;
        where no such grid has n cells, n of the cells of the next larger one, drawn at random.
    generator : source of all randomness; same seed and device of the generator → same points.
    device : of the result; default the generator's.
    dtype : of the result.

    Returns
    -------
    Tensor, shape (n, d)

    Raises
    ------
    InvalidOption
        If an argument is outside what is accepted, or a grid would have one point on some axis.

    References
    ----------
    Joe, Kuo (2008), SIAM J. Sci. Comput. 30, 2635 (Sobol directions);
    McKay, Beckman, Conover (1979), Technometrics 21, 239 (Latin hypercubes).
    """
    n, method = check_count(n), check_method(method)
    check_generator(generator)
    check_dtype(dtype)
    if isinstance(d, bool) or not isinstance(d, Integral) or d < 0:
        raise InvalidOption(f"d = {d!r} is no dimension; give a non-negative integer.")
    if d == 0:
        points = torch.empty(n, 0, dtype=torch.float64, device=generator.device)
    elif method == "uniform":
        points = _random((n, d), generator)
    elif method == "sobol":
        points = _sobol(n, d, generator)
    elif method == "lhs":
        strata = _random((n, d), generator).argsort(dim=0)
        points = (strata + _random((n, d), generator)) / n
    else:
        points = _grid(n, d, generator)
    return points.to(device=device or generator.device, dtype=dtype)


def _random(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)


def _sobol(n: int, d: int, generator: torch.Generator) -> Tensor:
    if d > SobolEngine.MAXDIM:
        raise InvalidOption(
            f"Sobol points have at most {SobolEngine.MAXDIM} coordinates, {d} were asked for; "
            'use "lhs" or "uniform".'
        )
    draw = torch.randint(2**31, (), generator=generator, device=generator.device)
    points = SobolEngine(d, scramble=True, seed=int(draw)).draw(n, dtype=torch.float64)
    # The sequence has 30 bits: centring each value in its cell keeps 0 and 1 out.
    return (points + 2.0 ** -(SobolEngine.MAXBIT + 1)).to(generator.device)


def grid_counts(n: int, d: int) -> list[int]:
    """Points per axis of the smallest near-cubic grid of at least ``n`` points in ``d`` axes.

    Raises
    ------
    InvalidOption
        If n points cannot give two points to each of more than four axes.
    """
    if 2**d > max(n, 16):
        raise InvalidOption(
            f"a grid of {n} points has a single point on some of its {d} axes; "
            f'take at least 2^{d} points, or use "sobol" or "lhs".'
        )
    fewest = int(n ** (1 / d))
    while fewest**d > n:
        fewest -= 1
    while (fewest + 1) ** d <= n:
        fewest += 1
    counts = [fewest] * d
    for axis in range(d):
        if math.prod(counts) >= n:
            break
        counts[axis] += 1
    return counts


def _grid(n: int, d: int, generator: torch.Generator) -> Tensor:
    counts = grid_counts(n, d)
    cells = torch.arange(math.prod(counts), device=generator.device)
    cells = thin(cells, n, generator)
    columns = []
    for count in reversed(counts):
        columns.append(((cells % count).double() + 0.5) / count)
        cells = cells // count
    return torch.stack(columns[::-1], dim=1)


def thin(rows: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """``n`` of the rows, drawn at random without repetition, in their old order."""
    if len(rows) == n:
        return rows
    chosen = torch.randperm(len(rows), generator=generator, device=generator.device)[:n]
    return rows[chosen.sort().values.to(rows.device)]


def shares(log_weights: Sequence[float], device: torch.device) -> Tensor:
    """Weights that sum to one from their logarithms (volumes in d = 100 leave the float range)."""
    return torch.tensor(log_weights, dtype=torch.float64, device=device).softmax(0)


def select(u: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Split a unit coordinate by weights: which piece it falls in, and where in that piece.

    Both results together keep the measure and the order of ``u``, so stratified coordinates stay
    stratified.

    Parameters
    ----------
    u : shape (N,), in [0, 1].
    weights : shape (K,), positive, of sum one.

    Returns
    -------
    index : LongTensor, shape (N,).
    inner : shape (N,), in [0, 1].
    """
    ends = weights.cumsum(0)
    index = torch.searchsorted(ends, u.contiguous(), right=True).clamp(max=len(weights) - 1)
    inner = (u - (ends - weights)[index]) / weights[index]
    return index, inner.clamp(0.0, 1.0)


def allocate(n: int, weights: Tensor) -> list[int]:
    """``n`` points divided among pieces in proportion to their weights (largest remainders)."""
    wanted = weights * n
    counts = wanted.floor().long()
    missing = n - int(counts.sum())
    counts[(wanted - counts).argsort(descending=True, stable=True)[:missing]] += 1
    return counts.tolist()


Proposal = Callable[[int], tuple[Tensor, tuple[Tensor, ...]]]


def reject(
    n: int, method: str, generator: torch.Generator, propose: Proposal, where: str
) -> tuple[Tensor, ...]:
    """Rejection sampling: ``n`` of the proposed rows that are kept.

    Uniform trials are accumulated. The other methods spread their trials over the whole cube, so
    a set that was too small is drawn anew in the size that the hit rate asks for.

    Parameters
    ----------
    propose : from a number m to (keep (≥ m,), rows: tensors of the same length).
    where : what is sampled, for the error.

    Raises
    ------
    InvalidOption
        If nothing is hit, or too rarely for this method.
    """
    kept: list[tuple[Tensor, ...]] = []
    found = tried = 0
    size = n
    while True:
        keep, rows = propose(size)
        hits = int(keep.sum())
        if method != "uniform":
            kept, found, tried = [], 0, 0
        if hits < len(keep):
            rows = tuple(row[keep] for row in rows)
        kept.append(rows)
        found, tried = found + hits, tried + len(keep)
        if found >= n:
            break
        if found == 0 and tried >= TRIALS_WITHOUT_HIT:
            mend = "." if method == "uniform" else f', too few for "{method}"; use "uniform".'
            raise InvalidOption(f"{where}: none of {tried} trial points lies there{mend}")
        if method == "uniform":
            wanted = math.ceil(1.1 * (n - found) * tried / max(found, 1)) + 16
            size = min(wanted, max(n, 2**16))
            continue
        # A rate from few hits is not to be trusted with a large step.
        size = math.ceil(1.02 * n * tried / max(found, 1)) + 1
        size = min(size, 8 * tried) if found < 16 else size
        if size * rows[0].shape[1] > NUMBERS_LIMIT:
            raise InvalidOption(
                f'{where}: {found} of {tried} trial points lie there, too few for "{method}" '
                f'to give {n} points; use "uniform" or ask for fewer.'
            )
    columns = [
        torch.cat(column) if len(column) > 1 else column[0] for column in zip(*kept, strict=True)
    ]
    if method in ("uniform", "sobol"):
        return tuple(column[:n] for column in columns)
    chosen = thin(torch.arange(found, device=columns[0].device), n, generator)
    return tuple(column[chosen] for column in columns)


def residual_adaptive(
    pool: Tensor,
    residual: Tensor,
    n: int,
    generator: torch.Generator,
    power: float = 1.0,
    constant: float = 1.0,
) -> Tensor:
    """Residual-based adaptive distribution (RAD): which ``n`` points of a pool to train on.

        p_i ∝ |r_i|^k / mean_j |r_j|^k + c,     without replacement, one after the other

    Parameters
    ----------
    pool : the candidate points, shape (M, d); four to five times n are usual.
    residual : of each candidate, shape (M,), real or complex.
    n : number of points, at most M.
    generator : source of randomness.
    power : k ≥ 0; 1 is usual, 2 sharpens.
    constant : c ≥ 0; 1 is usual, 0 leaves out points without residual.

    Returns
    -------
    LongTensor, shape (n,)
        Distinct indices into the pool, on the pool's device.

    Raises
    ------
    InvalidOption
        If shapes disagree, the residual is not finite, n exceeds the number of candidates with
        positive probability, or k or c is negative.

    Notes
    -----
    Drawn as an exponential race: the n smallest E_i / p_i, E_i ~ Exp(1), have the law of n draws
    without replacement, for a pool of any size. A residual that is zero everywhere tells nothing:
    the draw is then uniform.

    References
    ----------
    Wu, Zhu, Tan, Kartha, Lu (2023), Comput. Methods Appl. Mech. Eng. 403, 115671, eq. 2;
    Efraimidis, Spirakis (2006), Inf. Process. Lett. 97, 181.
    """
    n = check_count(n)
    check_generator(generator)
    if pool.ndim != 2 or residual.shape != pool.shape[:1]:
        raise InvalidOption(
            f"a pool of shape {tuple(pool.shape)} and a residual of shape "
            f"{tuple(residual.shape)} were given; (M, d) and (M,) are needed."
        )
    if n > len(pool):
        raise InvalidOption(f"{n} points cannot be chosen from a pool of {len(pool)}.")
    for name, value in (("power", power), ("constant", constant)):
        if not (math.isfinite(value) and value >= 0):
            raise InvalidOption(f"{name} = {value!r}; give a finite number ≥ 0.")
    size = residual.detach().abs().double()
    if not bool(size.isfinite().all()):
        where = int((~size.isfinite()).nonzero()[0])
        raise InvalidOption(f"the residual is not finite at point {where} of the pool.")

    largest = size.max()
    if largest > 0:
        # Scaled by its maximum so that no power overflows; the ratio to the mean is unchanged.
        weight = (size / largest) ** power
        weight = weight / weight.mean() + constant
    else:
        weight = torch.ones_like(size)
    possible = int((weight > 0).sum())
    if possible < n:
        raise InvalidOption(
            f"only {possible} points of the pool have a residual, {n} were asked for; "
            "give constant > 0 or ask for fewer."
        )
    waiting = -torch.log1p(-_random((len(pool),), generator)).to(size.device) / weight
    return waiting.topk(n, largest=False, sorted=True).indices
