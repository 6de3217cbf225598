"""The benchmark of Gaussian streams compares the same loss and gradient."""

import io

import pytest
import torch
from rich.console import Console

from pdeml.bench import SUITES, pig_step


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_both_sides_have_the_same_loss_and_gradient(covariance):
    result = pig_step.run_case(covariance, torch.float64, repeats=1, n=10)
    assert result["loss_difference"] < 1e-12 and result["gradient_difference"] < 1e-9
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(pig_step.table({"cases": [result]}))
    assert f"{covariance} float64" in console.export_text()
    assert SUITES["pig-step"] == "pdeml.bench.pig_step"
