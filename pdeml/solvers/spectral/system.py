"""A split declaration on a grid: L and N of Û_t = L Û + N̂(Û, t)."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from pdeml import engine
from pdeml.errors import InvalidOption
from pdeml.operators.conservation import Index
from pdeml.operators.expressions import Program
from pdeml.operators.symbol import Split, Values, multiplier
from pdeml.solvers.spectral.functions import Analytic, Diagonal, Matrix, Multiplier
from pdeml.solvers.spectral.grid import FourierGrid

LARGEST_EXPONENT = 700.0  # e^709 overflows in float64
CACHED_VALUES = 2**17  # 1 MB in float64: 128² points of two fields run 4 % faster by 4 than by 8,
# and 25 % faster than by 16
DEALIASING = ("auto", "1/2", "2/3", "3/2-pad", None)
MODES = ("galerkin", "full")
VANISHES = {torch.float64: 1e-9, torch.float32: 1e-5}  # relative size of a mean that is round-off


class SemilinearSystem:
    """Modes of the evolved variables, their Fourier multiplier L and the nonlinearity N.

    States have shape (B, C, *modes) in ``grid``, C counting ``split.state``.

    Parameters
    ----------
    split : the declared right-hand side.
    values : numbers for the parameters, or tensors (B,), one per trajectory.
    lower, lengths, shape, real, device, dtype : of the grid.
    dealias : which modes the products keep: of n, those with index < n/3 (``"2/3"``), < n/4
        (``"1/2"``), all, with products on (d + 1)n/2 points (``"3/2-pad"``), all (None), or
        (``"auto"``) < n/(d + 1), for products of d factors.
    mode : ``"galerkin"`` keeps a state of the de-aliased modes alone, an exact Galerkin system;
        ``"full"`` lets the other modes evolve linearly.
    linear_only : leave out N, for a grid so fine that only L is wanted on it.
    paired : the states are u + iv of two real trajectories u and v, over all modes of the grid
        (those that are not kept must be zero). A complex transform is cheaper than two real ones,
        and the products of both are taken as they lie in memory. Needs `pairable`.
    """

    def __init__(
        self,
        split: Split,
        values: Values,
        lower: Sequence[float],
        lengths: Sequence[float],
        shape: Sequence[int],
        *,
        real: bool = True,
        dealias: str | None = "auto",
        mode: str = "galerkin",
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
        linear_only: bool = False,
        paired: bool = False,
    ):
        if dealias not in DEALIASING:
            raise InvalidOption(f"dealias={dealias!r}: give one of {DEALIASING}.")
        if mode not in MODES:
            raise InvalidOption(f"mode={mode!r}: give one of {MODES}.")
        self.split, self.values, self.dealias, self.mode = split, values, dealias, mode

        def grid(points: Sequence[int], kept: Sequence[float] | None) -> FourierGrid:
            return FourierGrid(lower, lengths, points, real and not paired, kept, device, dtype)

        keep = self.products_keep(dealias)
        bounds = [n * keep for n in shape] if keep < 0.5 else None
        whole = [n / 2 for n in shape]  # all but the Nyquist mode
        # where the products live: points, and the modes that they keep
        if dealias == "3/2-pad":
            padded = [math.ceil((split.factors + 1) / 2 * n) for n in shape]
            self.points, self.grid = grid(padded, whole), grid(shape, whole)
        else:
            compact = mode == "galerkin" and not paired
            self.grid = self.points = grid(shape, bounds if compact else None)
        self.complex_dtype, self.paired = dtype.to_complex(), paired
        self._mask = None
        if self.grid.kept is None and bounds is not None:
            self._mask = self.grid.within(bounds)
        self._linear_only = linear_only
        if self.grid.device.type == "cpu":
            engine.keep_freed_memory()
        self._assemble()

    def products_keep(self, dealias: str | None) -> float:
        """Part of the points of an axis that is the bound of the modes that products keep."""
        kept = {"2/3": 1 / 3, "1/2": 1 / 4, None: 1 / 2, "3/2-pad": 1 / 2}
        return kept.get(dealias, 1 / (self.split.factors + 1))

    def _assemble(self) -> None:
        split, grid, dim = self.split, self.grid, self.grid.dim
        states, auxiliaries = len(split.state), len(split.auxiliary)

        def matrix(operator: dict, rows: int, columns: int) -> Tensor:
            return multiplier(operator, (rows, columns), grid.factor, dim, self.values)

        symbol = matrix(split.linear, states, states)
        outer = matrix(split.outer, states, len(split.products)) if split.products else None
        if outer is not None and self._mask is not None:
            outer = outer * self._mask
        self._solve: Tensor | None = None  # q̂ = solve Û, where a constraint holds q
        self._pressure: Tensor | None = None  # q̂ = pressure (L Û + N̂), where it holds U alone
        self._projection: Matrix | None = None
        if split.projected:
            # B U_t = 0 gives B C q = −B (L U + N)
            coupling = matrix(split.coupling, states, auxiliaries)
            source = matrix(split.source, auxiliaries, states)
            pressure = -_product(_inverse(_product(source, coupling, dim), dim), source, dim)
            projection = _product(coupling, pressure, dim)
            projection = projection + _identity(states, projection, dim)
            self._pressure, self._projection = pressure, self._matrix(projection)
            self._free = self._matrix(symbol)
            self._forced = None if outer is None else self._matrix(outer)
            entries = [split.linear.get((i, i)) for i in range(states)]
            if set(split.linear) - {(i, i) for i in range(states)} or any(
                e != entries[0] for e in entries
            ):  # otherwise L commutes with the projection
                symbol = _product(projection, symbol, dim)
            outer = None if outer is None else _product(projection, outer, dim)
        elif auxiliaries:
            coupling = matrix(split.coupling, states, auxiliaries)
            source = matrix(split.source, auxiliaries, states)
            constraint = matrix(split.constraint, auxiliaries, auxiliaries)
            self._solve = _product(_inverse(constraint, dim), source, dim)
            self._unsolved = self._matrix(source - _product(constraint, self._solve, dim))
            symbol = symbol + _product(coupling, self._solve, dim)
        off = symbol * (1 - _identity(states, symbol, dim))
        self.diagonal = not bool(off.detach().abs().max() > 0)
        self.symbol = symbol
        self.linear: Multiplier = (
            Diagonal(_diagonal(symbol, dim).to(self.complex_dtype))
            if self.diagonal
            else self._matrix(symbol)
        )
        if not self._linear_only:
            self._lay_out(outer)

    def _matrix(self, values: Tensor) -> Matrix:
        return Matrix(values.to(self.complex_dtype), self.grid.dim)

    def _lay_out(self, outer: Tensor | None) -> None:
        """What `rhs` needs: factors of the unknowns, the program, operators outside."""
        split, grid, dim = self.split, self.grid, self.grid.dim
        states = len(split.state)
        # products that are the same at all times are transformed once (a pressure needs them anew)
        moving = [
            i
            for i, g in enumerate(split.products)
            if split.projected or g.free_symbols & {split.time, *split.unknowns}
        ]
        steady = [i for i in range(len(split.products)) if i not in moving]
        entries = list(split.unknowns.items())
        sources = sorted({(u.variable, u.index) for _, u in entries})
        self._columns = [(sources.index((u.variable, u.index)), u.conjugate) for _, u in entries]
        self._lay_out_sources(sources)
        self._program = Program(
            [split.products[i] for i in moving],
            [*split.space, split.time, *(s for s, _ in entries), *self.values],
        )
        self._numbers = [
            v.to(grid.dtype).reshape(v.shape + (1,) * (dim + 1)) if isinstance(v, Tensor) else v
            for v in self.values.values()
        ]
        # then every product has the shape and dtype of the fields
        real = grid.real or self.paired
        self._uniform = real and not any(isinstance(v, Tensor) for v in self._numbers)
        self._uniform = self._uniform and all(
            split.products[i].free_symbols & set(split.unknowns) for i in moving
        )
        self._coordinates = [p.unsqueeze(-1) if self.paired else p for p in self.points.points]
        scale = 1 / math.prod(self.points.shape)  # the transforms of products are not normalised
        self._outer: Tensor | None = None
        self._rows: list[list[tuple[int, Tensor]]] = []
        self._static: Tensor | None = None
        if outer is not None and moving:
            at = torch.tensor(moving, device=outer.device)
            chosen = (scale * outer.index_select(-dim - 1, at)).to(self.complex_dtype)
            off = (chosen * (1 - _identity(states, chosen, dim))) if len(moving) == states else None
            if off is not None and not off.detach().abs().max() > 0:
                self._outer = _diagonal(chosen, dim)
            self._rows = [
                [
                    (p, chosen.select(-dim - 2, i).narrow(-dim - 1, p, 1))
                    for p, j in enumerate(moving)
                    if (i, j) in split.outer or split.projected
                ]
                for i in range(states)
            ]
        if split.projected and self._forced is not None:
            self._forced = self._matrix(scale * self._forced.values)
        if outer is not None and steady:
            forcing = Program([split.products[i] for i in steady], [*split.space, *self.values])
            values = self._joined(forcing(*self.points.points, *self._numbers))
            modes = self.points.forward(values).unsqueeze(-dim - 2)
            chosen = outer.index_select(-dim - 1, torch.tensor(steady, device=outer.device))
            modes = modes * (1 + 1j) if self.paired else modes  # both trajectories have it
            # (B or 1, C, *modes)
            self._static = (chosen.to(self.complex_dtype) * modes).sum(-dim - 1)

    def _lay_out_sources(self, sources: Sequence[tuple[int, Index]]) -> None:
        """Each factor D^α of a product is a combination of state variables, usually of one."""
        split, grid, dim = self.split, self.grid, self.grid.dim
        states = len(split.state)
        self._picked: list[int] | None = None
        self._factors: Tensor | None = None
        if not sources:
            return
        rows = []
        for variable, index in sources:
            factor = grid.factor(index)
            if self._mask is not None and not self.paired:
                factor = factor * self._mask
            if variable < states:
                nothing = torch.zeros_like(factor)
                row = torch.stack([factor if j == variable else nothing for j in range(states)])
            else:
                assert self._solve is not None
                row = self._solve.select(-dim - 2, variable - states) * factor
            rows.append(row)
        batch = torch.broadcast_shapes(*(r.shape for r in rows))
        table = torch.stack([r.expand(batch) for r in rows], -dim - 2)
        used = (table.detach().abs() > 0).flatten(-dim).any(-1)
        used = used.reshape(-1, *used.shape[-2:]).any(0)
        if (used.sum(1) == 1).all():
            self._picked = used.to(torch.int8).argmax(1).tolist()
            table = torch.stack(
                [table.select(-dim - 2, i).select(-dim - 1, j) for i, j in enumerate(self._picked)],
                -dim - 1,
            )
            whole = self._mask is None or self.paired
            if whole and all(v < states and not any(i) for v, i in sources):
                return
        self._factors = table.to(self.complex_dtype)

    def _joined(self, outputs: Sequence[float | complex | Tensor]) -> Tensor:
        """(B or 1, P, *points) of what a program returned, numbers included."""
        points = self.points
        dtype = points.dtype if points.real else self.complex_dtype
        tensors = [
            (g if isinstance(g, Tensor) else torch.tensor(g, dtype=dtype)).to(points.device, dtype)
            for g in outputs
        ]
        shape = torch.broadcast_shapes((1, 1, *points.shape), *(g.shape for g in tensors))
        return torch.cat([g.expand(shape) for g in tensors], 1)

    # ------------------------------------------------------------------------------- evaluation

    @property
    def requires_grad(self) -> bool:
        """Whether a parameter requires gradients, which come through the functions of L."""
        return any(isinstance(v, Tensor) and v.requires_grad for v in self.values.values())

    @property
    def pairable(self) -> bool:
        """Whether two trajectories can be one complex state, and gain by it.

        In one dimension the transforms take 0.8 of the time; in two, skipping the lines without
        kept modes gains as much for real states.
        """
        compact = self.grid.kept is not None and self.points is self.grid
        one = self.grid.real and self.grid.dim == 1 and self.grid.device.type == "cpu"
        return compact and one and bool(self._rows) and self._uniform and not self.requires_grad

    @property
    def cached_batch(self) -> int:
        """Trajectories whose values fit the caches of a processor core; a large batch is cut so."""
        fields = max(len(self._columns), len(self._rows), 1)
        return max(1, CACHED_VALUES // (fields * math.prod(self.points.shape)))

    @property
    def folds(self) -> bool:
        """Whether N̂ is one multiplier per variable times `rhs`, which steps take into account."""
        return self.diagonal and self._outer is not None and self._static is None

    @property
    def outer(self) -> Tensor:
        """The multiplier with N̂ = outer · rhs where the system `folds`."""
        assert self._outer is not None
        return self._outer

    def nonlinear(self, modes: Tensor, time: float | Tensor) -> Tensor:
        """N̂ of states (B, C, *modes)."""
        return self.resolved(self.rhs(modes, time))

    def rhs(self, modes: Tensor, time: float | Tensor) -> Tensor:
        """N̂, or the modes of its products without the multiplier where the system `folds`."""
        if not self._rows:
            nothing = torch.zeros_like(modes)
            return nothing if self._static is None else nothing + self._static
        terms = self._terms(modes, time)
        if self._outer is None:
            total = self._combined(terms)
        else:
            joined = terms[0] if len(terms) == 1 else torch.cat(terms, 1)
            if self.folds:
                return joined
            total = joined * self._outer
        if self._static is not None:
            total = total + self._static
        return total if total.shape == modes.shape else total.expand(modes.shape)

    def resolved(self, rhs: Tensor) -> Tensor:
        """N̂ of what `rhs` returned."""
        return self.outer * rhs if self.folds else rhs

    def _combined(self, terms: Sequence[Tensor]) -> Tensor:
        """Σ_p K_p terms_p for each variable."""
        products = [p for t in terms for p in t.split(1, dim=1)]
        sums = []
        for row in self._rows:
            if not row:
                sums.append(torch.zeros_like(products[0]))
                continue
            (p, multiplier), *others = row
            total = multiplier * products[p]
            for p, multiplier in others:
                total = torch.addcmul(total, multiplier, products[p])
            sums.append(total)
        return sums[0] if len(sums) == 1 else torch.cat(sums, 1)

    def _terms(self, modes: Tensor, time: float | Tensor) -> list[Tensor]:
        """Modes of the products, not normalised, each (B or 1, some products, *modes)."""
        dim = self.grid.dim
        columns: list[Tensor] = []
        if self._columns:
            chosen = modes
            if self._picked is None:
                assert self._factors is not None
                chosen = (self._factors * modes.unsqueeze(-dim - 2)).sum(-dim - 1)
            else:
                count = modes.shape[-dim - 1]
                if count > 1 and self._picked != list(range(count)):
                    chosen = modes[:, self._picked]
                if self._factors is not None:
                    chosen = self._factors * chosen
            values = self.points.inverse(chosen)
            if self.paired:
                values = torch.view_as_real(values)
            physical = [values] if values.shape[1] == 1 else values.split(1, dim=1)
            columns = [physical[i].conj() if c else physical[i] for i, c in self._columns]
        outputs = list(self._program(*self._coordinates, time, *columns, *self._numbers))
        if not self._uniform:
            outputs = [self._joined(outputs)]
        elif dim == 1 and len(outputs) > 1:  # one call of the transform instead of several
            outputs = [torch.cat(outputs, 1)]
        if self.paired:
            outputs = [torch.view_as_complex(values) for values in outputs]
        return [self.points.forward(values, norm="backward") for values in outputs]

    def rate(self, modes: Tensor, nonlinear: Tensor) -> Tensor:
        """Û_t = L Û + N̂."""
        return self.linear.plus(nonlinear, modes)

    def function(self, analytic: Analytic, step: float | Tensor) -> Multiplier:
        """f(hL) for the state; for `rhs`, h f(hL), times `outer` where the system folds."""
        dim = self.grid.dim
        z = step * self.symbol
        if self.diagonal:
            values = analytic.at(_diagonal(z, dim))
        else:
            last = z.movedim((-dim - 2, -dim - 1), (-2, -1))
            values = analytic.of_matrix(last).movedim((-2, -1), (-dim - 2, -dim - 1))
        if analytic.scaled:
            values = step * values
        values = values.to(self.complex_dtype)
        if analytic.scaled and self.folds:
            values = values * self.outer
        return Diagonal(values) if self.diagonal else Matrix(values, dim)

    def check_step(self, step: float) -> None:
        """InvalidOption where e^{hL} would overflow."""
        fastest = self.abscissa.max().item()
        growth = step * fastest
        if growth > LARGEST_EXPONENT:
            raise InvalidOption(
                f"dt={step:g} makes h·max Re L = {growth:.3g} > 700, and e^{growth:.3g} overflows. "
                f"Use dt ≤ {LARGEST_EXPONENT / fastest:.2g}, or check the sign of L."
            )

    @functools.cached_property
    def abscissa(self) -> Tensor:
        """Largest real part of the eigenvalues of L at each mode, (*modes) or (B, *modes)."""
        dim = self.grid.dim
        if self.diagonal:
            return _diagonal(self.symbol.detach(), dim).real.amax(-dim - 1)
        last = self.symbol.detach().movedim((-dim - 2, -dim - 1), (-2, -1))
        return torch.linalg.eigvals(last).real.amax(-1)

    @property
    def flows(self) -> bool:
        """Whether e^{tL} is a number per mode of each field, and the state is all fields."""
        return self.diagonal and self.split.fields == self.split.state

    # ------------------------------------------------------------------------------- all fields

    def admissible(self, modes: Tensor) -> tuple[Tensor, float]:
        """The state made to satisfy its constraints, and the relative size of the change.

        Raises
        ------
        InvalidOption
            A constraint such as Δψ = −ω has no periodic solution: the mean of ω does not vanish.
        """
        if not self.split.auxiliary:
            return modes, 0.0

        def largest(values: Tensor) -> Tensor:
            return values.detach().abs().flatten(1).amax(1)

        size = largest(modes).clamp(min=1e-300)
        if self._projection is not None:
            fixed = self._projection @ modes
            return fixed, (largest(fixed - modes) / size).max().item()
        share = (largest(self._unsolved @ modes) / size).max().item()
        if share > VANISHES[self.grid.dtype]:
            names = ", ".join(str(f) for f in self.split.auxiliary)
            raise InvalidOption(
                f"The initial value has a mean ({share:.1e} of its largest mode) for which the "
                f"constraint has no periodic solution {names}. Subtract the mean."
            )
        return modes, 0.0

    def fields(self, modes: Tensor, time: float | Tensor) -> Tensor:
        """Modes (B, m, *modes) of all declared fields, in the order of the declaration."""
        split, dim = self.split, self.grid.dim
        held = dict(zip(split.state, modes.unbind(-dim - 1), strict=True))
        if split.auxiliary:
            solved = (
                self._pressure_modes(modes, time)
                if self._solve is None
                else self._matrix(self._solve) @ modes
            )
            held |= dict(zip(split.auxiliary, solved.unbind(-dim - 1), strict=True))
        return torch.stack([held[f] for f in split.fields], -dim - 1)

    def _pressure_modes(self, modes: Tensor, time: float | Tensor) -> Tensor:
        assert self._pressure is not None
        rate = self._free @ modes
        if self._forced is not None:
            rate = rate + self._forced @ torch.cat(self._terms(modes, time), 1)
        return self._matrix(self._pressure) @ rate

    def field_rates(self, modes: Tensor, rates: Tensor, time: float) -> Tensor:
        """∂/∂t of `fields` along a solution with Û_t = rates."""
        if self._pressure is None:
            return self.fields(rates, time)
        at = torch.as_tensor(time, dtype=self.grid.dtype, device=modes.device)
        with warnings.catch_warnings():
            # forward mode loads rules that torch itself still scripts
            warnings.simplefilter("ignore", FutureWarning)
            both = torch.func.jvp(self.fields, (modes, at), (rates, torch.ones_like(at)))
        return both[1]


def _identity(size: int, like: Tensor, dim: int) -> Tensor:
    eye = torch.eye(size, dtype=torch.float64, device=like.device)
    return eye.reshape(size, size, *[1] * dim)


def _diagonal(matrix: Tensor, dim: int) -> Tensor:
    return torch.diagonal(matrix, dim1=-dim - 2, dim2=-dim - 1).movedim(-1, -dim - 1)


def _product(left: Tensor, right: Tensor, dim: int) -> Tensor:
    """Matrix product of multipliers (…, i, j, *modes) and (…, j, l, *modes)."""
    return (left.unsqueeze(-dim - 1) * right.unsqueeze(-dim - 3)).sum(-dim - 2)


def _inverse(matrix: Tensor, dim: int) -> Tensor:
    """Inverse at each wave vector; zero where the matrix is singular (the mean of ψ is zero)."""
    last = matrix.movedim((-dim - 2, -dim - 1), (-2, -1))
    if last.shape[-1] == 1:
        safe = torch.where(last == 0, 1.0, last)
        inverse = torch.where(last == 0, 0.0, 1 / safe)
    else:
        inverse = torch.linalg.pinv(last, rtol=1e-13)
    return inverse.movedim((-2, -1), (-dim - 2, -dim - 1))
