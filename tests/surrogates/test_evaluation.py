"""Evaluation against values worked out from the data, and the two commands."""

import json
import os
import signal
import time
import xml.etree.ElementTree as ET
from multiprocessing import Value
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pdeml
from pdeml import surrogates
from pdeml.cli import app
from pdeml.data import Axis, MeshArrays, Writer
from pdeml.data import open as open_dataset
from pdeml.errors import InvalidDataset, InvalidOption
from pdeml.surrogates import metrics
from pdeml.surrogates.normalisation import fitted
from pdeml.surrogates.surrogate import surrogate_for, task_of
from pdeml.surrogates.update import Update
from tests.data.killed import start
from tests.surrogates import small

PNG = b"\x89PNG"


class Shift(torch.nn.Module):
    """u(x) ↦ factor · u(x − shift grid points)."""

    in_channels = out_channels = spatial_dims = 1
    any_resolution = True
    config: dict = {}  # noqa: RUF012

    def __init__(self, shift, factor=1.0):
        super().__init__()
        self.shift, self.factor = shift, factor
        self.unused = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x, *, coords=None, params=None, t=None):
        return self.factor * x.roll(self.shift, -1)


@pytest.fixture(scope="module")
def travelling(tmp_path_factory):
    """u_n = 1 + sin(k (x − 2 n h)), k = 1, 2: two grid points h per frame; mean, energy kept."""
    points, path = 32, tmp_path_factory.mktemp("travel") / "t.h5"
    x = 2 * np.pi * np.arange(points) / points
    times = 0.1 * np.arange(9)
    phase = x - 2 * 2 * np.pi / points * np.arange(9)[:, None]
    with Writer(
        path, fields={"u": "f8"}, times=times, samples=2, durability="process",
        axes=[Axis("x", x, periodic=True, length=2 * np.pi)],
    ) as writer:  # fmt: skip
        writer.commit(np.arange(2), u=np.stack([1 + np.sin(k * phase) for k in (1, 2)]))
    return open_dataset(path)


def measured(dataset, model, **options):
    task = task_of(dataset, history=1, stride=1, delta=False, parameters=())
    surrogate = surrogate_for(model, dataset, task, fitted(dataset, "none"))
    return surrogates.evaluate(surrogate, dataset, device="cpu", **options)


def test_a_perfect_surrogate_has_no_error_and_a_censored_correlation_time(travelling):
    result = measured(travelling, Shift(2))
    for name, value in result.one_step.items():
        assert value == pytest.approx(0, abs=1e-12), name
    assert result.rollout["nrmse"].max() < 1e-12
    assert result.correlation_time == pytest.approx(0.8) and result.censored == 1.0
    assert "≥ 0.8 (100% never fell)" in dict(result.rows()).values()
    torch.testing.assert_close(result.prediction, result.truth, rtol=0, atol=1e-12)
    (truth, prediction) = result.spectra["u"]
    assert truth[1].item() == pytest.approx(0.25) and truth[2].item() == pytest.approx(0.25)
    torch.testing.assert_close(prediction, truth, rtol=0, atol=1e-12)


def test_a_slow_surrogate_has_the_phase_error_of_its_speed(travelling):
    """One point per frame instead of two: at step n the waves are n h k apart, r = cos(n h k)."""
    result = measured(travelling, Shift(1))
    h, n = 2 * np.pi / 32, np.arange(1, 9)
    # ⟨(sin a − sin b)²⟩ = 2 sin²((a − b)/2) and ⟨y²⟩ = 3/2
    errors = np.stack([2 * abs(np.sin(n * h * k / 2)) / np.sqrt(3) for k in (1, 2)])
    np.testing.assert_allclose(result.rollout["nrmse"], errors.mean(0), rtol=1e-10)
    r = np.stack([np.cos(n * h * k) for k in (1, 2)])
    np.testing.assert_allclose(result.rollout["correlation"], r.mean(0), rtol=1e-10)
    assert result.one_step["nrmse"] == pytest.approx(errors[:, 0].mean())
    assert result.one_step["crmse"] == pytest.approx(0, abs=1e-12)
    # with persistence the same waves are two points apart
    still = np.mean([2 * np.sin(2 * h * k / 2) / np.sqrt(3) for k in (1, 2)])
    assert result.persistence == pytest.approx(still)
    times, _ = metrics.correlation_time(torch.from_numpy(r), 0.1 * torch.from_numpy(n))
    assert result.correlation_time == pytest.approx(times.mean().item())
    assert result.summary["gmean100"] == pytest.approx(np.exp(np.log(errors.mean(0)).mean()))


def test_a_damped_surrogate_loses_energy_and_mean(travelling):
    """Each step halves u: mean 1 → 2^−n, energy 3/4 → 3/4 · 4^−n; cRMSE = ½."""
    result = measured(travelling, Shift(2, 0.5))
    n = np.arange(1, 9)
    np.testing.assert_allclose(result.rollout["mean_error"], 1 - 0.5**n, rtol=1e-10)
    np.testing.assert_allclose(result.rollout["energy_error"], 0.75 * (1 - 0.25**n), rtol=1e-10)
    assert result.one_step["crmse"] == pytest.approx(0.5)
    assert result.one_step["nrmse"] == pytest.approx(0.5)
    h = 2 * np.pi / 32  # persistence does not know the model: two points per frame
    still = np.stack([2 * abs(np.sin(n * h * k)) / np.sqrt(3) for k in (1, 2)]).mean(0)
    np.testing.assert_allclose(result.rollout["persistence"], still, rtol=1e-10)
    # pearson's r does not see a factor
    np.testing.assert_allclose(result.rollout["correlation"], 1, rtol=1e-10)


def test_a_roll_out_that_blows_up_is_counted_and_does_not_hide_the_others(travelling):
    result = measured(travelling, Shift(2, 1e60))
    assert result.summary["blown_up"] == 2
    assert dict(result.rows())["roll-outs lost"] == "2 of 2"


@pytest.mark.parametrize("batch", [1, 3, 5, 32])
def test_figures_do_not_depend_on_the_batch(travelling, batch):
    """Sixteen windows: the last batch is smaller."""
    one, other = (measured(travelling, Shift(1, 0.9), batch=b) for b in (16, batch))
    for name, value in one.one_step.items():
        assert other.one_step[name] == pytest.approx(value, rel=1e-10, abs=1e-14, nan_ok=True)
    torch.testing.assert_close(other.rollout["nrmse"], one.rollout["nrmse"])
    torch.testing.assert_close(other.spectra["u"][1], one.spectra["u"][1])


def test_wrong_input_of_an_evaluation(travelling):
    with pytest.raises(InvalidOption, match="steps=9: the data allow 1 to 8"):
        measured(travelling, Shift(2), steps=9)
    with pytest.raises(InvalidOption, match="batch=0"):
        measured(travelling, Shift(2), batch=0)
    task = task_of(travelling, history=1, stride=1, delta=False, parameters=())
    perfect = surrogate_for(Shift(2), travelling, task, fitted(travelling))
    with pytest.raises(InvalidDataset, match="no samples to evaluate on"):
        surrogates.evaluate(perfect, travelling.select([]))
    with pytest.raises(InvalidDataset, match="no samples to take a mean of"):
        fitted(travelling.select([]))


def test_a_surrogate_on_a_mesh_gets_nodes_and_channels_last(tmp_path):
    rng = np.random.default_rng(0)
    nodes = 3 + 2 * rng.random((30, 2))
    cells = np.arange(30).reshape(10, 3)
    with Writer(
        tmp_path / "mesh.h5", fields={"u": "f4"}, times=np.arange(4.0), samples=6,
        axes=[Axis("node", np.arange(30.0))], mesh=MeshArrays(nodes, cells), durability="process",
    ) as writer:  # fmt: skip
        writer.commit(np.arange(6), u=rng.standard_normal((6, 4, 30)))
    run = pdeml.train(
        "transolver", open_dataset(tmp_path / "mesh.h5"), out=tmp_path / "run", epochs=1, batch=6,
        device="cpu", progress=False,
        model_options={"width": 16, "heads": 2, "layers": 1, "slices": 4},
    )  # fmt: skip
    coords = run.surrogate.coords
    assert coords.min() == 0 and coords.max() == 1 and coords.shape == (30, 2)
    loaded = surrogates.load(run.folder)
    frames = open_dataset(tmp_path / "mesh.h5").read(times=slice(0, 1))
    assert torch.equal(loaded(frames), run.surrogate(frames))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    loaded.coords = loaded.coords[order]
    torch.testing.assert_close(loaded(frames[..., order]), run.surrogate(frames)[..., order])
    result = pdeml.evaluate(run.surrogate, tmp_path / "mesh.h5", device="cpu")
    assert result.one_step["nrmse"] > 0 and "h1" not in result.one_step


# -------------------------------------------------------------------------- commands


def run(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a data set of a stored split, and a run on it by the command."""
    folder = tmp_path_factory.mktemp("commands")
    splits = {"train": range(8), "valid": range(8, 10), "test": range(10, 12)}
    small.waves(folder / "waves.h5", splits={k: np.array(v) for k, v in splits.items()})
    result = run(
        "train", small.NAME, "--data", folder / "waves.h5", "--out", folder / "run",
        *("--epochs", 3, "--batch", 8, "--lr", 0.01, "--model", "width=4", "--option", "ema=0.9"),
        *("--device", "cpu", "--json"),
    )  # fmt: skip
    return folder, json.loads(result.stdout)


def test_train_writes_models_log_and_checkpoints_and_tells_all_parameters(trained):
    folder, told = trained
    assert told["ended"] == "epochs" and told["best"] == pytest.approx(told["last"]["nrmse"], 1)
    names = {p.name for p in (folder / "run").iterdir()}
    assert {"best.h5", "model.h5", "log.jsonl", "checkpoint-000000021.h5"} <= names
    surrogate = surrogates.load(folder / "run")
    assert surrogate.task.parameters == ("c",) and surrogate.model.config["width"] == 4
    assert surrogate.training_record["options"]["ema"] == 0.9
    assert surrogate.data["samples"] == 8


def test_evaluate_measures_the_test_split_and_writes_a_report(trained):
    folder, _ = trained
    told = json.loads(
        run("evaluate", folder / "run", "--data", folder / "waves.h5", "--json").stdout
    )
    assert told["samples"] == 2
    test = open_dataset(folder / "waves.h5").split("stored")[-1]
    again = pdeml.evaluate(folder / "run", test)
    assert told["one_step"]["nrmse"] == pytest.approx(again.one_step["nrmse"])
    results = folder / "run" / "evaluation"
    for name in ("rollout.png", "errors.png", "spectrum.png"):
        assert (results / name).read_bytes().startswith(PNG)
    saved = json.loads((results / "evaluation.json").read_text())
    assert saved["rollout"]["nrmse"] == told["rollout"]["nrmse"]
    text = (results / "report.html").read_text()
    ET.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    assert text.count("data:image/png;base64,") == 3 and "<script" not in text
    assert f"{again.one_step['nrmse']:.3e}" in text and "nRMSE of persistence" in text


def test_commands_tell_what_is_wrong_in_one_sentence(trained, tmp_path):
    folder, _ = trained
    data = ("--data", folder / "waves.h5")
    for code, match, words in (
        (2, "there is no model 'fmo'", ("train", "fmo", *data, "--out", tmp_path / "a")),
        (2, "holds a run", ("train", small.NAME, *data, "--out", folder / "run")),
        (2, "lr=-1", ("train", small.NAME, *data, "--out", tmp_path / "a", "--lr", -1)),
        (
            2, "lr=0.5 is given, but",
            ("train", small.NAME, *data, "--out", folder / "run", "--resume", "--lr", 0.5),
        ),
        (2, "no checkpoint", ("train", small.NAME, *data, "--out", tmp_path / "b", "--resume")),
        (2, "no file or folder", ("evaluate", tmp_path / "none", *data)),
        (2, "no model in", ("evaluate", tmp_path, *data)),
        (2, "no argument 'depth'", (
            "train", small.NAME, *data, "--out", tmp_path / "a", "--model", "depth=2",
        )),
    ):  # fmt: skip
        *_, last = run(*words, code=code).stderr.strip().splitlines()
        assert match in last


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_exits_with_its_code_and_resumes(trained, tmp_path, number):
    folder, _ = trained
    words = [
        "train", small.NAME, "--data", str(folder / "waves.h5"), "--out", str(tmp_path),
        *("--epochs", "3", "--batch", "8", "--lr", "0.01", "--model", "width=4"),
        *("--option", "ema=0.9", "--device", "cpu"),
    ]  # fmt: skip
    done = Value("i", 0)

    def command():
        step = Update.__call__

        def counted(self, *given):
            result = step(self, *given)
            done.value += 1
            time.sleep(0.01)
            return result

        Update.__call__ = counted
        app(words)

    process = start(command)
    while process.is_alive() and done.value < 8:
        time.sleep(0.001)
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 128 + number
    run(*words, "--resume")
    one, two = (surrogates.load(Path(p) / "model.h5") for p in (tmp_path, folder / "run"))
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)  # another number of threads
