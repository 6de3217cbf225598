"""Kolmogorov n-width of snapshots: published table, and solutions along characteristics."""

import math

import pytest
import torch

import pdeml
from pdeml import problems
from pdeml.diagnostics import modes_needed, nwidth
from pdeml.errors import InvalidOption
from pdeml.special.burgers import burgers_sine

TWO_PI = 2 * math.pi
X = TWO_PI * torch.arange(256, dtype=torch.float64)[:, None] / 256
T = torch.linspace(0, 1, 100, dtype=torch.float64)[None, :]
SPEEDS = (0.5, 1, 2, 5, 10, 30, 50)


@pytest.mark.parametrize(
    "width, modes",
    [(0.2, [7, 10, 17, 36, 41, 41, 41]), (math.pi / 4, [4, 5, 7, 11, 11, 11, 11])],
)
def test_bumps_that_travel_need_more_modes_the_faster_they_are(width, modes):
    def bump(x):
        return torch.exp(-(((x - math.pi) / width) ** 2) / 2)

    moving = [nwidth(bump(torch.remainder(X - c * T, TWO_PI))).modes for c in SPEEDS]
    assert [m["snapshots"] for m in moving] == modes
    # along characteristics: W does not change, X = ξ + ct
    assert nwidth(bump(X) + 0 * T).modes["snapshots"] == 1
    assert {nwidth(X + c * T).modes["snapshots"] for c in SPEEDS} == {2}


def test_a_sine_has_two_modes_at_every_speed_and_so_proves_nothing():
    assert {nwidth(torch.sin(X - c * T)).modes["snapshots"] for c in SPEEDS} == {2}


@pytest.mark.parametrize("c, modes", [(0, 7), (5, 34), (30, 46), (50, 47)])
def test_burgers_waves_without_their_mean(c, modes):
    z = torch.remainder(X - c * T, TWO_PI) / math.pi - 1
    values = c + burgers_sine(z, T / math.pi, 0.01 / math.pi)
    assert nwidth(values, mean="removed").modes["snapshots"] == modes


def test_burgers_along_its_characteristics_needs_few():
    """W 4, X − ξ 3 modes: positions by Runge–Kutta along the exact velocity."""

    def speed(position, s):
        z = torch.remainder(position, TWO_PI) / math.pi - 1
        return burgers_sine(z, torch.as_tensor(s / math.pi), 0.01 / math.pi)

    paths, position, parts = [X[:, 0]], X[:, 0], 2
    h = 1 / 99 / parts
    for step in range(99 * parts):
        s = step * h
        a = speed(position, s)
        b = speed(position + h / 2 * a, s + h / 2)
        c = speed(position + h / 2 * b, s + h / 2)
        d = speed(position + h * c, s + h)
        position = position + h / 6 * (a + 2 * b + 2 * c + d)
        if (step + 1) % parts == 0:
            paths.append(position)
    path = torch.stack(paths, 1)
    states = torch.stack([speed(p, s) for p, s in zip(paths, T[0].tolist(), strict=True)], 1)
    assert nwidth(states).modes["snapshots"] == 4
    assert nwidth(path - X).modes["snapshots"] == 3


def test_solutions_in_both_frames():
    problem = problems.convection_diffusion(speed=7)
    options = {"max_iterations": 80, "depth": 1, "width": 6, "points": 200, "cycle": 80}
    solution = pdeml.solve(problem, "lpinn", reference=None, **options)
    found = nwidth(solution, tol=1e-3)
    assert found.modes == {"u": 2, "u along X": 1, "X": 2, "X - label": 1}
    reference = nwidth(pdeml.solve(problem, "exact"))
    torch.testing.assert_close(
        found.singular_values["u"][:2], reference.singular_values["u"][:2], rtol=1e-4, atol=0
    )
    assert "modes" in str(found)
    assert found.plot().axes[0].get_xlabel() == "mode n"


def test_the_smallest_number_within_the_tolerance():
    values = torch.tensor([10.0, 1.0, 0.1, 0.0])
    assert modes_needed(values, 0.5) == 1
    assert modes_needed(values, 0.05) == 2
    assert modes_needed(values, 1e-8) == 3
    assert modes_needed(torch.zeros(3), 0.1) == 0


@pytest.mark.parametrize(
    "source, options, message",
    [
        (torch.zeros(3), {}, r"snapshots of shape \(3,\)"),
        (torch.tensor([[1.0, math.nan]]), {}, "finite matrix"),
        ("text", {}, "neither a Solution nor a matrix"),
        (torch.ones(2, 2), {"tol": 0}, "tol=0"),
        (torch.ones(2, 2), {"mean": "row"}, "mean='row'"),
    ],
)
def test_bad_input_is_named(source, options, message):
    with pytest.raises(InvalidOption, match=message):
        nwidth(source, **options)


def test_a_steady_solution_has_no_snapshots():
    steady = pdeml.solve(problems.poisson(dim=2), "exact")
    with pytest.raises(InvalidOption, match="is steady"):
        nwidth(steady)
