"""The line search: Wolfe conditions, growth and shrinking of the step, round-off, NaN."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeml.optim.line_search import Trial, strong_wolfe

NOTHING = torch.empty(0)


def ray(f):
    """f(α) -> (φ, φ′), as an evaluate function that counts."""
    steps = []

    def evaluate(step):
        steps.append(step)
        return Trial(step, *f(step), NOTHING, NOTHING)

    return evaluate, evaluate(0.0), steps


def satisfies_strong_wolfe(trial, start, c1=1e-4, c2=0.9):
    decrease = trial.value <= start.value + c1 * trial.step * start.slope
    return decrease and abs(trial.slope) <= c2 * abs(start.slope)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    st.lists(st.floats(0.1, 20), min_size=3, max_size=3),
    st.floats(0.05, 5),
    st.floats(1e-3, 1e3),
    st.sampled_from([0.9, 0.5, 0.1]),
)
def test_strong_wolfe_holds_on_random_wavy_functions(weights, waves, bowl, first_step, c2):
    """φ = bowl α²/2 + Σ w sin(kα) − α (1 + Σ|w|k): bounded below, many local minima."""
    drop = 1 + sum(abs(w) * k for w, k in zip(weights, waves, strict=True))

    def f(step):
        terms = list(zip(weights, waves, strict=True))
        value = bowl * step**2 / 2 - drop * step + sum(w * math.sin(k * step) for w, k in terms)
        slope = bowl * step - drop + sum(w * k * math.cos(k * step) for w, k in terms)
        return value, slope

    evaluate, start, _ = ray(f)
    search = strong_wolfe(evaluate, start, first_step, c2=c2, max_evaluations=60)
    assert search.condition == "wolfe"
    assert satisfies_strong_wolfe(search.trial, start, c2=c2)


@pytest.mark.parametrize("c2", [0.9, 0.1])
@pytest.mark.parametrize("first_step", [1e-3, 0.1, 10.0, 1e3])
@pytest.mark.parametrize(
    "f",
    [
        lambda a: (-a / (a**2 + 2), (a**2 - 2) / (a**2 + 2) ** 2),
        lambda a: ((a + 0.004) ** 5 - 2 * (a + 0.004) ** 4, (5 * a + 0.02 - 8) * (a + 0.004) ** 3),
    ],
    ids=["more_thuente_1", "more_thuente_2"],
)
def test_hard_functions_of_more_and_thuente(f, first_step, c2):
    """Moré, Thuente (1994), functions 5.1 and 5.2, from far too short and far too long steps."""
    evaluate, start, steps = ray(f)
    search = strong_wolfe(evaluate, start, first_step, c2=c2, noise=0.0)
    assert search.condition == "wolfe"
    assert satisfies_strong_wolfe(search.trial, start, c2=c2)
    assert search.evaluations == len(steps) - 1


def test_a_good_first_step_costs_one_evaluation():
    evaluate, start, steps = ray(lambda a: ((a - 1.3) ** 2, 2 * (a - 1.3)))
    search = strong_wolfe(evaluate, start)
    assert steps == [0.0, 1.0]
    assert search.trial.step == 1.0


def test_cubic_finds_the_minimum_of_a_cubic_at_once():
    """From a bracket of a cubic the first interpolation is its exact minimum, here α = 0.5."""
    f = lambda a: (a**3 / 3 + a**2 / 4 - a / 2, a**2 + a / 2 - 1 / 2)  # noqa: E731
    evaluate, start, steps = ray(f)
    search = strong_wolfe(evaluate, start, 2.0, c2=1e-3)
    assert steps[1:] == [2.0, pytest.approx(0.5, abs=1e-15)]
    assert search.condition == "wolfe"


@pytest.mark.parametrize("bad", [(math.nan, math.nan), (math.inf, math.inf), (-math.inf, 0.0)])
def test_nan_and_infinity_shrink_the_step(bad):
    """Infeasible beyond α = 0.01, first step 1."""
    f = lambda a: ((a - 0.008) ** 2, 2 * (a - 0.008)) if a < 0.01 else bad  # noqa: E731
    evaluate, start, _ = ray(f)
    search = strong_wolfe(evaluate, start)
    assert search.condition == "wolfe"
    assert search.trial.step < 0.01


def test_nan_slope_with_a_finite_value_is_not_accepted():
    f = lambda a: ((a - 0.2) ** 2, 2 * (a - 0.2) if a < 0.5 else math.nan)  # noqa: E731
    evaluate, start, _ = ray(f)
    assert strong_wolfe(evaluate, start).trial.step < 0.5


@pytest.mark.parametrize("first_step", [1e-2, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(10))
def test_slopes_decide_where_values_are_only_noise(seed, first_step):
    """φ = 1 + noise of 1e-9 + 1e-12 (α−1)²: no value helps, slopes lead to α = 1."""
    generator = torch.Generator().manual_seed(seed)

    def f(step):
        noise = 1e-9 * torch.randn((), generator=generator).item()
        return 1 + noise + 1e-12 * (step - 1) ** 2, 2e-12 * (step - 1)

    evaluate, start, _ = ray(f)
    search = strong_wolfe(evaluate, start, first_step, c2=0.1)
    assert search.trial.step == pytest.approx(1.0, abs=0.1)
    assert search.evaluations <= 4  # the secant of linear slopes is exact


def test_without_decrease_the_search_fails():
    """A slope of the wrong sign: every step raises the loss."""
    evaluate, start, _ = ray(lambda a: (1 + a, -1.0))
    search = strong_wolfe(evaluate, start)
    assert search.trial is None
    assert search.condition == "failed"


def test_decrease_without_curvature_is_the_last_resort():
    """φ = −α has no point with a flatter slope; the lowest trial is returned."""
    evaluate, start, steps = ray(lambda a: (-a, -1.0))
    search = strong_wolfe(evaluate, start, max_evaluations=5)
    assert search.condition == "decrease"
    assert search.trial.step == max(steps)
