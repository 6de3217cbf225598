"""Networks for collocation methods: plain modules that run on tensors and on jets alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pdeml.errors import InvalidOption
from pdeml.nn.activations import FUNCTIONS


def activation_function(name: str):
    """The elementwise function of that name; `InvalidOption` lists the accepted names."""
    if name not in FUNCTIONS:
        raise InvalidOption(
            f"activation {name!r} is not known; accepted are {', '.join(sorted(FUNCTIONS))}."
        )
    return FUNCTIONS[name]


def glorot_normal_(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Normal entries of variance 2/(fan_in + fan_out), drawn on the CPU from the generator."""
    fan_out, fan_in = weight.shape
    with torch.no_grad():
        draw = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        weight.copy_(draw * math.sqrt(2.0 / (fan_in + fan_out)))
    return weight


class FactorizedLinear(nn.Module):
    """Random weight factorisation: W = exp(g)·V row by row, both trained.

    Parameters
    ----------
    mean, deviation : of g at the start; V is such that W is Glorot normal.

    References
    ----------
    Wang, Wang, Seidman, Perdikaris (2022), arXiv:2210.01274.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        generator: torch.Generator,
        mean: float = 1.0,
        deviation: float = 0.1,
        dtype: torch.dtype = torch.float64,
        bias: bool = True,
    ):
        super().__init__()
        weight = glorot_normal_(torch.empty(out_features, in_features, dtype=dtype), generator)
        scale = torch.randn((out_features, 1), generator=generator, dtype=torch.float64)
        self.log_scale = nn.Parameter((mean + deviation * scale).to(dtype))
        self.direction = nn.Parameter(weight / torch.exp(self.log_scale.detach()))
        self.bias = nn.Parameter(torch.zeros(out_features, dtype=dtype)) if bias else None

    def forward(self, x):
        return nn.functional.linear(x, torch.exp(self.log_scale) * self.direction, self.bias)


def dense_layer(
    in_features: int,
    out_features: int,
    generator: torch.Generator,
    dtype: torch.dtype,
    bias: bool = True,
    factorized: bool = False,
) -> nn.Linear | FactorizedLinear:
    """A linear layer with Glorot-normal weights, factorised or not, and zero bias."""
    if factorized:
        return FactorizedLinear(
            in_features, out_features, generator=generator, dtype=dtype, bias=bias
        )
    layer = nn.Linear(in_features, out_features, bias=bias, dtype=dtype)
    glorot_normal_(layer.weight, generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class MLP(nn.Module):
    """Dense network N(x) = W_D φ(… φ(W_0 x + b_0) …) + b_D.

    Parameters
    ----------
    in_features, out_features : widths of input and output.
    depth : number of hidden layers.
    width : neurons per hidden layer.
    activation : name in `pdeml.nn.activations.FUNCTIONS`.
    factorized : W = exp(g)·V in every layer, see `FactorizedLinear`.
    generator : of the initial weights (Glorot normal; zero biases).
    dtype : float64 by default.

    References
    ----------
    Glorot, Bengio (2010), AISTATS 9.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        depth: int = 3,
        width: int = 20,
        activation: str = "tanh",
        factorized: bool = False,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        if depth < 1 or width < 1:
            raise InvalidOption(
                f"depth={depth}, width={width}: a network needs at least one hidden layer of one "
                "neuron; give positive integers."
            )
        self.activation = activation
        self.factorized = factorized
        self._function = activation_function(activation)
        sizes = [in_features, *([width] * depth), out_features]
        self.linears = nn.ModuleList(
            dense_layer(a, b, generator, dtype, factorized=factorized)
            for a, b in itertools.pairwise(sizes)
        )

    def forward(self, x):
        for layer in self.linears[:-1]:
            x = self._function(layer(x))
        return self.linears[-1](x)


class FourierFeatures(nn.Module):
    """γ(x) = [cos(B x), sin(B x)] with fixed B ~ N(0, scale²).

    References
    ----------
    Tancik et al. (2020), NeurIPS 33; Wang, Wang, Perdikaris (2021), CMAME 384.
    """

    def __init__(
        self,
        in_features: int,
        frequencies: int = 128,
        *,
        scale: float = 1.0,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        draw = torch.randn((frequencies, in_features), generator=generator, dtype=torch.float64)
        self.matrix: torch.Tensor
        self.register_buffer("matrix", (scale * draw).to(dtype))
        self.out_features = 2 * frequencies

    def forward(self, x):
        phase = nn.functional.linear(x, self.matrix)
        return torch.cat([torch.cos(phase), torch.sin(phase)], -1)


class ModifiedMLP(nn.Module):
    """Dense network with two gates, U = φ(W_u x) and V = φ(W_v x).

        h ← φ(W h + b),    h ← h⊙U + (1 − h)⊙V

    References
    ----------
    Wang, Teng, Perdikaris (2021), SIAM J. Sci. Comput. 43, eq. 2.31–2.35.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        depth: int = 3,
        width: int = 20,
        activation: str = "tanh",
        factorized: bool = False,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self._function = activation_function(activation)
        sizes = [in_features, *([width] * depth)]
        pairs = [*itertools.pairwise(sizes), (width, out_features)]
        self.gates = nn.ModuleList(
            dense_layer(in_features, width, generator, dtype, factorized=factorized)
            for _ in range(2)
        )
        self.linears = nn.ModuleList(
            dense_layer(a, b, generator, dtype, factorized=factorized) for a, b in pairs
        )

    def forward(self, x):
        u, v = (self._function(gate(x)) for gate in self.gates)
        for layer in self.linears[:-1]:
            h = self._function(layer(x))
            x = h * u + (1.0 - h) * v
        return self.linears[-1](x)


class PirateBlock(nn.Module):
    """Residual block that starts as the identity: x ← α k(x) + (1 − α) x, α = 0 at the start."""

    def __init__(
        self,
        width: int,
        activation: str,
        generator: torch.Generator,
        dtype: torch.dtype,
        factorized: bool = False,
    ):
        super().__init__()
        self._function = activation_function(activation)
        self.linears = nn.ModuleList(
            dense_layer(width, width, generator, dtype, factorized=factorized) for _ in range(3)
        )
        self.alpha = nn.Parameter(torch.zeros((), dtype=dtype))

    def forward(self, x, u, v):
        h = x
        for layer in self.linears[:-1]:
            f = self._function(layer(h))
            h = f * u + (1.0 - f) * v
        k = self._function(self.linears[-1](h))
        return self.alpha * k + (1.0 - self.alpha) * x


class PirateNet(nn.Module):
    """Physics-informed residual adaptive network over Fourier features.

    References
    ----------
    Wang, Li, Chen, Perdikaris (2024), J. Mach. Learn. Res. 25, eq. 4.1–4.8.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        blocks: int = 3,
        width: int = 256,
        activation: str = "tanh",
        scale: float = 1.0,
        factorized: bool = False,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        if width % 2:
            raise InvalidOption(f"width={width}: a PirateNet needs an even width.")
        self._function = activation_function(activation)
        self.features = FourierFeatures(
            in_features, width // 2, scale=scale, generator=generator, dtype=dtype
        )
        self.gates = nn.ModuleList(
            dense_layer(width, width, generator, dtype, factorized=factorized) for _ in range(2)
        )
        self.blocks = nn.ModuleList(
            PirateBlock(width, activation, generator, dtype, factorized) for _ in range(blocks)
        )
        self.last = dense_layer(width, out_features, generator, dtype, bias=False)

    def hidden(self, x):
        """What the last layer combines linearly, (…, width)."""
        x = self.features(x)
        u, v = (self._function(gate(x)) for gate in self.gates)
        for block in self.blocks:
            x = block(x, u, v)
        return x

    def forward(self, x):
        return self.last(self.hidden(x))


class CoordinateEmbedding(nn.Module):
    """Coordinates to network inputs: affine to [−1, 1], or harmonics on periodic axes.

        periodic axis of period P:  x → cos(2πk x/P), sin(2πk x/P),  k = 1 … harmonics

    so that the value and every derivative of what follows agree at both ends.

    Parameters
    ----------
    lower, upper : bounds per coordinate.
    periodic : positions of periodic coordinates.
    harmonics : per periodic axis.
    """

    def __init__(
        self,
        lower: Sequence[float],
        upper: Sequence[float],
        *,
        periodic: Sequence[int] = (),
        harmonics: int = 1,
    ):
        super().__init__()
        if harmonics < 1:
            raise InvalidOption(f"harmonics={harmonics}; a periodic axis needs at least one.")
        self.lower, self.upper = tuple(lower), tuple(upper)
        self.periodic = frozenset(periodic)
        self.harmonics = harmonics
        self.out_features = len(self.lower) + len(self.periodic) * (2 * harmonics - 1)

    def forward(self, x):
        if not self.periodic:
            lower, upper = (
                torch.tensor(b, dtype=x.dtype, device=x.device) for b in (self.lower, self.upper)
            )
            return (x - 0.5 * (lower + upper)) * (2.0 / (upper - lower))
        columns = []
        for axis, (a, b) in enumerate(zip(self.lower, self.upper, strict=True)):
            column = x[..., axis : axis + 1]
            if axis not in self.periodic:
                columns.append((column - 0.5 * (a + b)) * (2.0 / (b - a)))
                continue
            for k in range(1, self.harmonics + 1):
                # the period's middle is the origin: reflections about it stay visible to the
                # network
                phase = (column - 0.5 * (a + b)) * (2.0 * math.pi * k / (b - a))
                columns.extend((torch.cos(phase), torch.sin(phase)))
        return torch.cat(columns, -1)
