"""Steps that are held near the solution before them."""

import dataclasses

import pytest
import sympy as sp
import torch

from pdeml import engine, problems
from pdeml.domains import Interval, Time
from pdeml.errors import InvalidOption
from pdeml.nn.networks import MLP
from pdeml.operators.dense import Arena
from pdeml.operators.pde import PDE, Dirichlet, Field, Initial
from pdeml.solvers import pinn, pseudo_time
from pdeml.solvers.objective import Term, Trial
from pdeml.solvers.pseudo_time import PseudoTimeTerm, shrinkage
from pdeml.solvers.requirements import equation_requirement
from pdeml.solvers.schedule import Schedule
from tests.solvers.test_collocation import training

x, t = sp.symbols("x t", real=True)


def made(problem):
    generator = engine.generator(0)
    fields = len(problem.fields)
    trial = Trial(MLP(problem.domain.dim, fields, depth=1, width=7, generator=generator))
    residual = equation_requirement(problem, 1).residual
    points = problem.domain.sample(40, generator)
    return PseudoTimeTerm("e", residual, trial, points, problem=problem)


def test_residual_and_weight_are_those_of_the_definition():
    problem = problems.lid_driven_cavity()
    term = made(problem)
    before = [p.detach().clone() for p in term.network.parameters]
    plain = Term("e", term.plain, term.trial, term.points)
    u0, r0 = term.trial(term.points).detach(), plain.residuals()
    with torch.no_grad():
        for p in term.network.parameters:
            p.mul_(1.1)
    u1, r1 = term.trial(term.points).detach(), plain.residuals()
    term.pull(before, [])
    expected = ((r1 - r0).norm(dim=0) / (u1 - u0).norm(dim=0)).clamp(1e-2, 100)
    assert torch.allclose(term.rates, expected, rtol=1e-12)
    # u, v and p with the equations of momentum and continuity, all of sign +1
    held = Term.residuals(term)
    assert torch.allclose(held, r1 + expected * (u1 - u0), rtol=1e-12, atol=1e-12)
    assert torch.allclose(term.residuals(), r1, rtol=1e-12)
    gradients = [torch.zeros_like(p) for p in term.network.parameters]
    loss = term.accumulate([], gradients, [], Arena())
    assert torch.allclose(loss, held.square().mean(0), rtol=1e-12)
    step = 1e-6
    with torch.no_grad():
        for p, g in zip(term.network.parameters, gradients, strict=True):
            p.sub_(step * g)
    change = Term.residuals(term).square().mean(0).sum() - loss.sum()
    slope = -sum(float(g.square().sum()) for g in gradients)
    assert float(change) / step == pytest.approx(slope, rel=1e-3)
    # weights follow an exponential mean from the second step on
    term.pull(before, [])
    again = (term.probe.residuals([])[:, :3] - r0).norm(dim=0)
    again = again / (term.trial(term.points).detach() - u0).norm(dim=0)
    assert torch.allclose(term.rates, (0.9 * expected + 0.1 * again).clamp(1e-2, 100), rtol=1e-9)


def test_signs_are_those_that_smooth():
    u, v, p = (Field(name, x) for name in "uvp")
    line, ends = Interval(x, 0, 1), [Dirichlet(f, 0) for f in (u,)]

    def signs(equations, fields, domain=line, conditions=ends):
        problem = PDE("p", equations, domain, conditions, fields=fields)
        return pseudo_time._signs(problem, _own(problem))

    def _own(problem):
        order = pseudo_time.matched(problem)
        return sorted(range(len(order)), key=order.__getitem__)

    assert signs([u.diff(x, 2) + u], [u]) == [-1]
    assert signs([-u.diff(x, 2) + u], [u]) == [1]
    four = [Dirichlet(u, 0), *[Dirichlet(v, 0)]]
    assert signs([u.diff(x, 2) - v, -v.diff(x, 2) + u], [u, v], conditions=four) == [-1, 1]
    w = Field("w", x, t)
    heat = [Initial(w, 0), Dirichlet(w, 0)]
    assert signs([w.diff(t) - w.diff(x, 2)], [w], line * Time(t, 0, 1), heat) == [1]
    assert signs([w.diff(x, 2) - w.diff(t)], [w], line * Time(t, 0, 1), heat) == [-1]
    for flip in (1, -1):
        stokes = [-u.diff(x, 2) + p.diff(x), flip * u.diff(x)]
        assert signs(stokes, [u, p]) == [1, flip]


def test_shrinkage_is_half_a_cosine_over_decades():
    assert shrinkage(1.0, 1e-2) == 1.0 and shrinkage(1.0, 0.5) == 1.0
    assert shrinkage(1.0, 1e-4) == pytest.approx(0.55)
    assert shrinkage(1.0, 1e-6) == pytest.approx(0.1) and shrinkage(1.0, 1e-9) == pytest.approx(0.1)


def test_an_unstable_equilibrium_is_left():
    """−u'' = 20 (u − u³): training alone falls back to u = 0, which time would leave."""
    u = Field("u", x)
    problem = PDE(
        "pitchfork", [-u.diff(x, 2) - 20 * (u - u**3)], Interval(x, 0, 1), [Dirichlet(u, 0)]
    )
    sizes = {}
    for held in (False, True):
        schedule = Schedule(
            optimizer=None, adam_rate=1e-2, sampling="uniform", redraw=1, pseudo_time=held
        )
        run = training(problem, schedule, 32)
        with torch.no_grad():
            run.objective.parameters[-2].mul_(0.1)
        for _ in range(120):
            run._step()
            run._resample()
        sizes[held] = float(run.trial(run.terms[0].points).detach().abs().max())
    assert sizes[True] > 0.7 and sizes[False] < 0.02, sizes


def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path):
    schedule = Schedule(adam_steps=20, cycle=10, redraw=1, pseudo_time=True, max_iterations=26)
    problem, path = problems.burgers(nu=0.1), tmp_path / "c.h5"
    whole = training(problem, schedule, 60)
    whole.run()
    for stop in (1, 13):
        part = dataclasses.replace(schedule, max_iterations=stop)
        training(problem, part, 60, checkpoint=path, identity="a").run()
        second = training(problem, schedule, 60, checkpoint=path, identity="a")
        second.resume()
        second.run()
        for a, b in zip(whole._parameters(), second._parameters(), strict=True):
            assert torch.equal(a, b), stop


def test_options():
    with pytest.raises(InvalidOption, match="adam_steps"):
        pinn.solve(
            problems.burgers(), recipe="gauss_newton", optimizer="lbfgs", pseudo_time=True,
            max_iterations=2,
        )  # fmt: skip
    solution = pinn.solve(
        problems.burgers(nu=0.1), optimizer="soap", pseudo_time=True, points=50, max_iterations=20,
        cycle=10,
    )  # fmt: skip
    assert solution.report.iterations == 20
