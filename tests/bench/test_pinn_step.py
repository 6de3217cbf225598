"""The benchmark compares like with like, and leaves torch as it was."""

import dataclasses
import io

import pytest
import torch
from rich.console import Console

from pdeml.bench import SUITES, pinn_step
from pdeml.bench.machine import describe_machine


@pytest.mark.parametrize("case", [c for c in pinn_step.CASES if c.dtype == torch.float64])
def test_losses_of_both_packages_agree_for_identical_weights_and_points(case, capsys):
    before = torch.get_default_dtype(), torch.get_default_device()
    small = dataclasses.replace(case, points=200)
    result = pinn_step.run_case(small, torch.device("cpu"), repeats=2)
    assert result["loss_difference"] <= 1e-12
    assert result["ratio"] == pytest.approx(result["deepxde_ms"] / result["pdeml_ms"])
    assert 0 < result["fraction_of_floor"]
    assert (torch.get_default_dtype(), torch.get_default_device()) == before
    assert capsys.readouterr().out == ""  # --json prints the result alone


def test_steps_stay_together_over_several_iterations():
    """The gradients agree too: after five Adam steps the losses are still the same."""
    case = dataclasses.replace(pinn_step.CASES[1], points=100)
    points = torch.rand((100, 2), generator=torch.Generator().manual_seed(0)).double()
    with pinn_step.deepxde(torch.float64, torch.device("cpu")) as dde:
        network = pinn_step.MLP(2, 1, depth=4, width=64, generator=torch.Generator().manual_seed(1))
        peer = pinn_step._peer_step(case, dde, network, points)
        ours = pinn_step._our_step(case, network, points)
        pairs = [(float(ours()), float(peer())) for _ in range(5)]
    assert all(a == pytest.approx(b, rel=1e-10) for a, b in pairs)
    assert pairs[-1][0] < pairs[0][0]


def test_table_shows_every_case():
    result = pinn_step.run_case(
        dataclasses.replace(pinn_step.CASES[0], points=64), torch.device("cpu"), repeats=1
    )
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(pinn_step.table({"cases": [{"device": "cpu", **result}]}))
    assert "Burgers" in console.export_text()


def test_machine_is_described():
    found = describe_machine()
    assert found["processor"] and found["torch"] == torch.__version__
    assert {"pinn-step", "spectral"} <= set(SUITES)
