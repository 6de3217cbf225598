"""`pdeml bench accuracy`: arrays for peers, rows that are kept, ratios and picture."""

import json

import pytest
import torch

import pdeml
from pdeml.bench import accuracy
from pdeml.bench.accuracy_cases import CASES, DEEPXDE, PROBE, arrays, case, evaluation_points
from pdeml.errors import InvalidOption


@pytest.mark.parametrize("name", ["wave", "klein_gordon", "helmholtz", "poisson_5d", "burgers"])
def test_condition_arrays_hold_the_exact_solution(name):
    problem = case(name).problem()
    exact, found = pdeml.solve(problem, "exact"), arrays(problem, seed=3)
    for term in {"initial", "dirichlet"} & set(found):
        points = torch.tensor(found[term])
        torch.testing.assert_close(
            exact.values_at(points), torch.tensor(found[f"{term}_values"]), rtol=0, atol=1e-12
        )


def test_probe_and_source_are_residuals_of_the_wave_equation():
    found = arrays(case("wave").problem(), seed=0)
    x, t = torch.tensor(found["inside"]).unbind(-1)
    field = torch.sin(PROBE[0] * x + PROBE[1] * t)
    expected = (-(PROBE[1] ** 2) + 4 * PROBE[0] ** 2) * field
    torch.testing.assert_close(torch.tensor(found["probe"])[:, 0], expected)
    assert not found["source"].any()


def test_source_is_the_residual_of_zero():
    found = arrays(case("helmholtz").problem(), seed=0)
    x, y = torch.tensor(found["inside"]).unbind(-1)
    q = (1 - 17 * torch.pi**2) * torch.sin(torch.pi * x) * torch.sin(4 * torch.pi * y)
    torch.testing.assert_close(torch.tensor(found["source"])[:, 0], -q)


def test_periods_are_those_of_periodic_axes():
    assert arrays(case("burgers").problem(), 0)["periods"].tolist() == [2.0, 0.0]
    assert arrays(case("wave").problem(), 0)["periods"].tolist() == [0.0, 0.0]


def test_a_row_is_the_error_of_what_the_worker_solves_and_is_kept(tmp_path):
    chosen = case("poisson_5d")
    row = accuracy._finished(chosen, "pinn", 2.0, 0, tmp_path, {})
    problem = chosen.problem()
    solution = pdeml.solve(
        problem, "pinn", seed=0, max_iterations=1, reference=None, **chosen.methods["pinn"]
    )
    points = evaluation_points(problem)
    truth = pdeml.solve(problem, "exact").values_at(points)
    untrained = (solution.values_at(points) - truth).norm() / truth.norm()
    assert row["package"] == "pdeml pinn" and row["seconds"] >= 2.0
    assert row["error"] < 0.1 * float(untrained)
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps({**row, "error": 7.0}))
    assert accuracy._finished(chosen, "pinn", 2.0, 0, tmp_path, {})["error"] == 7.0


def _row(problem, package, error, budget=60.0):
    return {"problem": problem, "package": package, "error": error, "budget": budget}


def test_ratio_is_best_peer_over_the_advised_method():
    rows = [
        _row("convection", "pdeml lpinn", 1e-6),
        _row("convection", "pdeml pinn", 1e-9),
        _row("convection", "jinns", 1e-4),
        _row("convection", "pina", 1e-3),
        _row("convection", "jinns", 1e-8, budget=10.0),
        _row("wave", "pdeml pinn", 1e-2),
        _row("wave", "jinns", None),
        _row("wave", next(iter(DEEPXDE)), 5e-3),
    ]
    found = accuracy._ratios(rows, 60.0)
    assert found["best_peer_over_pdeml"] == pytest.approx({"convection": 100.0, "wave": 0.5})
    assert found["median"] == pytest.approx(50.25)


def test_table_and_figure_hold_every_problem():
    rows = [_row(c.name, "pdeml pinn", 1e-3, b) for c in CASES for b in (10.0, 60.0)]
    result = {"budgets": [10.0, 60.0], "rows": rows, "ratios": accuracy._ratios(rows, 60.0)}
    assert accuracy.table(result).row_count == len(CASES)
    titles = [ax.get_title() for ax in accuracy.figure(result).axes]
    assert titles == [c.name.replace("_", " ") for c in CASES]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"only": "burgers,heart"}, "no problem heart"), ({"peer_python": "pinna=/x"}, "NAME=PATH")],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InvalidOption, match=message):
        accuracy.run(**options)
