"""Shape of a loss around trained weights: extreme eigenpairs of its Hessian, and a plane of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeml import engine
from pdeml.errors import InvalidOption, UnsupportedProblem
from pdeml.operators.jets import Jet, nested_autograd, supports_jets
from pdeml.operators.pde import Periodic
from pdeml.solvers import lpinn
from pdeml.solvers.lpinn.flow import LagrangianField
from pdeml.solvers.objective import Objective, Term, Trial
from pdeml.solvers.requirements import condition_requirements, equation_requirement
from pdeml.solvers.solution import Solution

if TYPE_CHECKING:
    import matplotlib.figure

DIRECTIONS = ("hessian", "random")
LANCZOS_STEPS = 80
EIGENVALUE_TOLERANCE = 1e-6
"""Relative change of the wanted eigenvalues at which the Lanczos iteration ends."""

CONDITION_WEIGHT = 100.0
"""Of the conditions in the loss of a PINN (`pdeml.solvers.pinn.solve`)."""


@dataclass
class Landscape:
    """Loss on the plane θ + α v1 + β v2, and the curvature at θ.

    Attributes
    ----------
    alpha, beta : (n,) each.
    loss : (n, n), entry [i, j] at α_i, β_j.
    directions : v1 and v2, (2, parameters), unit vectors for "hessian".
    eigenvalues : largest two eigenvalues of the Hessian.
    largest, smallest : extreme eigenvalues.
    trace, trace_error : Hutchinson's estimate, with its standard error.
    parameters : number of weights.
    """

    alpha: Tensor
    beta: Tensor
    loss: Tensor
    directions: Tensor
    eigenvalues: Tensor
    largest: float
    smallest: float
    trace: float
    trace_error: float
    parameters: int

    def plot(self) -> matplotlib.figure.Figure:
        """Logarithm of the loss over the plane."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.2, 4.2), layout="constrained")
        axes = figure.subplots()
        values = self.loss.clamp(min=1e-300).log10().T
        picture = axes.contourf(self.alpha, self.beta, values, levels=30, cmap="viridis")
        axes.plot(0, 0, "w+", ms=10)
        axes.set(xlabel=r"$\alpha$ (along $v_1$)", ylabel=r"$\beta$ (along $v_2$)")
        axes.set_title(rf"$\lambda_{{max}}$ = {self.largest:.3g}", fontsize=10)
        figure.colorbar(picture, ax=axes, label=r"$\log_{10}$ loss")
        return figure


def landscape(
    target: Solution | Objective,
    directions: str = "hessian",
    *,
    span: float | None = None,
    n: int = 41,
    points: int = 1000,
    samples: int = 20,
    seed: int = 0,
) -> Landscape:
    """Loss around trained weights, on a plane and by the eigenvalues of its Hessian.

    Parameters
    ----------
    target : a solution by "pinn" or "lpinn", whose loss is taken on fresh points, or an objective.
    directions : "hessian" (the two leading eigenvectors) or "random" (each neuron's weights scaled
        to the norm of the trained ones).
    span : largest |α| and |β|; default 1 for "random", and for "hessian" such that the quadratic
        part of the loss grows by 1 along the steeper direction.
    n : points per axis of the plane, odd to hold θ itself.
    points : collocation points of a solution's loss.
    samples : of Hutchinson's estimate of the trace.
    seed : of points, starts and directions.

    Returns
    -------
    Landscape

    Raises
    ------
    InvalidOption, UnsupportedProblem
        For options out of range, and for solutions that were not trained.

    References
    ----------
    Li et al. (2018), NeurIPS 31 (filter-normalised directions); Yao et al. (2020), IEEE Big Data
    (Hessians of networks); Krishnapriyan et al. (2021), NeurIPS 34 (of PINNs).
    """
    if directions not in DIRECTIONS:
        raise InvalidOption(f"directions={directions!r}; accepted are {', '.join(DIRECTIONS)}.")
    for name, value in (("n", n), ("points", points), ("samples", samples)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 2:
            raise InvalidOption(f"{name}={value!r}; give an integer of at least 2.")
    if span is not None and not (isinstance(span, int | float) and span > 0):
        raise InvalidOption(f"span={span!r}; give a positive number.")
    objective = target if isinstance(target, Objective) else objective_of(target, points, seed)
    generator = engine.generator(seed)
    loss, theta = differentiable_loss(objective)
    product = hessian_product(loss, theta)
    values, vectors = extreme_eigenpairs(product, theta, generator)
    trace, error = hutchinson(product, theta, generator, samples)
    if directions == "hessian":
        plane = vectors[:2]
        if span is None:
            span = (2.0 / max(abs(float(values[0])), 1e-300)) ** 0.5
    else:
        plane = _filter_normalised(objective, theta, generator)
        span = 1.0 if span is None else span
    axis = torch.linspace(-span, span, n, dtype=theta.dtype)
    with torch.no_grad():
        surface = [
            [float(loss(theta + a * plane[0] + b * plane[1])) for b in axis.tolist()]
            for a in axis.tolist()
        ]
    return Landscape(
        axis,
        axis,
        torch.tensor(surface, dtype=torch.float64),
        plane.cpu(),
        values[:2].cpu(),
        float(values[0]),
        float(values[-1]),
        trace,
        error,
        len(theta),
    )


def objective_of(solution: Solution, points: int = 1000, seed: int = 0) -> Objective:
    """The loss that a solution was trained on, on fresh points.

    Raises
    ------
    UnsupportedProblem
        The solution was not trained by "pinn" or "lpinn".
    """
    if isinstance(solution.field, LagrangianField):
        return lpinn.objective_of(solution, points, seed)
    if not isinstance(solution.field, Trial):
        raise UnsupportedProblem(
            f"a solution by {solution.method!r} has no loss: landscapes are of "
            '"pinn", "lpinn", or an Objective.'
        )
    problem, trial = solution.problem, solution.field
    conditions = [c for c in problem.conditions if not isinstance(c, Periodic)]
    weights = solution.options.get("weights") or {}
    requirements = [equation_requirement(problem, points)]
    requirements += condition_requirements(problem, conditions, points, CONDITION_WEIGHT)
    generator = engine.generator(seed)
    like = torch.empty((), device=solution.device, dtype=solution.dtype)
    terms = []
    for requirement in requirements:
        drawn, extras = requirement.draw(points, generator, "uniform")
        weight = weights.get(requirement.name, requirement.weight)
        term = Term(
            requirement.name,
            requirement.residual,
            trial,
            drawn.to(like),
            [e.to(like) for e in extras],
            weight,
        )
        terms.append(term)
    return Objective(trial, terms)


def differentiable_loss(objective: Objective) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The loss as a function of all weights in one vector, differentiable twice, and θ itself."""
    network = objective.trial.network
    named = {name: p.detach() for name, p in network.named_parameters()}
    theta = torch.cat([p.reshape(-1) for p in named.values()])
    values = objective.unknown_values()

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([p.numel() for p in named.values()])
        weights = {
            name: part.view_as(p) for (name, p), part in zip(named.items(), parts, strict=True)
        }

        def run(x: Any) -> Any:
            return torch.func.functional_call(network, weights, (x,))

        total = vector.new_zeros(())
        for term in objective.terms:
            total = total + term.weight * _mean_square(objective.trial, term, run, values)
        return total

    return loss, theta


def _mean_square(
    trial: Trial, term: Term, run: Callable[[Any], Any], unknowns: Sequence[Any]
) -> Tensor:
    """Σ over equations of the mean square residual, with the network run by `run`."""
    streams, points = term.residual.streams, term.points
    if supports_jets(trial, points, streams):
        x = Jet.coordinates(points, streams, term.coefficients)
        out = run(trial.embedding(x))
        if trial.factor is not None:
            out = trial.factor(x) * out
        if trial.base is not None:
            out = trial.base(x) + out
        data = out.data
    else:

        def whole(x: Tensor) -> Tensor:
            out = run(trial.embedding(x))
            out = out if trial.factor is None else trial.factor(x) * out
            return out if trial.base is None else trial.base(x) + out

        data = nested_autograd(whole, points, streams, term.coefficients)
    residuals = term.residual(data[term.residual.rows], points, unknowns, term.extras)
    return residuals.square().mean(0).sum()


def hessian_product(loss: Callable[[Tensor], Tensor], theta: Tensor) -> Callable[[Tensor], Tensor]:
    """v -> H v by differentiating the gradient; the graph of the gradient is built once."""
    point = theta.detach().requires_grad_(True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(point), point, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(gradient, point, vector, retain_graph=True)
        return found

    return product


def extreme_eigenpairs(
    product: Callable[[Tensor], Tensor],
    like: Tensor,
    generator: torch.Generator,
    steps: int = LANCZOS_STEPS,
) -> tuple[Tensor, Tensor]:
    """Largest two and smallest eigenvalue (3,) with eigenvectors (3, n), by Lanczos iteration.

    The basis is orthogonalised in full at every step, so that no eigenvalue appears twice.
    """
    size = len(like)
    start = torch.randn(size, generator=generator, dtype=torch.float64).to(like)
    basis = [start / start.norm()]
    diagonal: list[float] = []
    off: list[float] = []
    known = None
    for step in range(min(steps, size)):
        vector = product(basis[-1])
        diagonal.append(float(vector.dot(basis[-1])))
        matrix = torch.stack(basis)
        for _ in range(2):
            vector = vector - matrix.T @ (matrix @ vector)
        norm = float(vector.norm())
        values, small = _tridiagonal(diagonal, off)
        wanted = torch.stack([values[-1], values[-2] if len(values) > 1 else values[-1], values[0]])
        scale = float(values.abs().max())
        done = known is not None and float((wanted - known).abs().max()) <= (
            EIGENVALUE_TOLERANCE * scale
        )
        known = wanted
        if (done and step > 8) or norm <= 1e-14 * max(scale, 1e-300):
            break
        off.append(norm)
        basis.append(vector / norm)
    values, small = _tridiagonal(diagonal, off[: len(diagonal) - 1])
    chosen = [len(values) - 1, max(len(values) - 2, 0), 0]
    matrix = torch.stack(basis[: len(diagonal)])
    vectors = small[:, chosen].T.to(matrix) @ matrix
    return values[chosen], vectors


def _tridiagonal(diagonal: Sequence[float], off: Sequence[float]) -> tuple[Tensor, Tensor]:
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if off:
        side = torch.tensor(off[: len(diagonal) - 1], dtype=torch.float64)
        matrix = matrix + torch.diag(side, 1) + torch.diag(side, -1)
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def hutchinson(
    product: Callable[[Tensor], Tensor], like: Tensor, generator: torch.Generator, samples: int
) -> tuple[float, float]:
    """Estimate of the trace, mean of zᵀ H z over random signs z, and its standard error."""
    found = []
    for _ in range(samples):
        signs = torch.randint(0, 2, (len(like),), generator=generator).to(like) * 2.0 - 1.0
        found.append(float(signs.dot(product(signs))))
    values = torch.tensor(found, dtype=torch.float64)
    return float(values.mean()), float(values.std() / samples**0.5)


def _filter_normalised(objective: Objective, theta: Tensor, generator: torch.Generator) -> Tensor:
    """Two random directions; the weights into each neuron have the norm of the trained ones."""
    rows = []
    for _ in range(2):
        parts = []
        for p in objective.trial.network.parameters():
            draw = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
            if p.dim() > 1:
                own = p.detach().flatten(1).norm(dim=1)
                draw = draw * (own / draw.flatten(1).norm(dim=1)).view(-1, *[1] * (p.dim() - 1))
            else:
                draw = draw * p.detach().norm() / draw.norm()
            parts.append(draw.reshape(-1))
        rows.append(torch.cat(parts))
    return torch.stack(rows).to(theta)
