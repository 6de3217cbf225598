"""Training: what each option does, and what wrong input is told."""

import json
import math
import sys
from itertools import chain

import numpy as np
import pytest
import torch

from pdeml import surrogates
from pdeml.data import Axis, Writer
from pdeml.data import open as open_dataset
from pdeml.errors import (
    DatasetMismatch,
    DivergedError,
    InvalidDataset,
    InvalidFile,
    InvalidOption,
    MissingDependency,
    OutOfMemory,
)
from pdeml.surrogates import checkpoints, model_file
from pdeml.surrogates.averaging import Average
from pdeml.surrogates.losses import LOSSES, RelativeLp, mean_square
from pdeml.surrogates.models import in_double
from pdeml.surrogates.normalisation import Normalisation, fitted
from pdeml.surrogates.objective import Objective
from pdeml.surrogates.sampling import BatchOrder
from pdeml.surrogates.schedules import Schedule
from pdeml.surrogates.surrogate import surrogate_for, task_of
from pdeml.surrogates.training import train
from pdeml.surrogates.update import Update
from tests.surrogates import small
from tests.surrogates.small import SmallConv

QUICK = {"device": "cpu", "progress": False, "epochs": 2, "batch": 9}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weights(run):
    return torch.cat(
        [torch.view_as_real(p).flatten() if p.is_complex() else p.flatten()
         for p in run.surrogate.model.parameters()]
    )  # fmt: skip


def quick(data, out, **options):
    return train(small.NAME, *data, out=out, **{**QUICK, **options})


# -------------------------------------------------------------------------- one step by hand


class Doubling(torch.nn.Module):
    """z ↦ a z with one weight, so that every mode has a closed form."""

    in_channels = out_channels = spatial_dims = 1
    any_resolution = True
    config: dict = {}  # noqa: RUF012

    def __init__(self, a=2.0):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(a, dtype=torch.float64))

    def forward(self, x, *, coords=None, params=None, t=None):
        return self.a * x


@pytest.fixture(scope="module")
def plain(data):
    """Objective of a mode for frames in normalised units: u_k = c_k times a profile."""

    def build(mode, model=None, **task):
        chosen = task_of(data[0], history=1, stride=1, parameters=(), **{"delta": False, **task})
        ones = Normalisation(("u",), [0.0], [1.0], [0.5])
        surrogate = surrogate_for(model or Doubling(), data[0], chosen, ones)
        return Objective(surrogate, mean_square, mode)

    return build


VALUES = torch.tensor([1.0, 3.0, 5.0, 7.0], dtype=torch.float64)
FRAMES = VALUES.reshape(1, 4, 1, 1).repeat(1, 1, 1, 8)


@pytest.mark.parametrize(
    "mode, loss, gradient",
    [
        # predictions a, a², a³ = 2, 4, 8 of 3, 5, 7: errors −1, −1, 1; d/da a^n = n a^(n−1)
        ("unroll", 3 / 3, 2 * (-1 * 1 - 1 * 4 + 1 * 12) / 3),
        ("recurrent", 3, 2 * (-1 * 1 - 1 * 4 + 1 * 12)),
        ("pushforward", 1, 2 * 1 * 4),  # only through the last a: d(a · 4)/da = 4
    ],
)
def test_modes_have_the_loss_and_gradient_of_their_definition(plain, mode, loss, gradient):
    objective = plain(mode)
    value = objective(FRAMES, None, None)
    value.sum().backward()
    assert value.item() == pytest.approx(loss)
    assert objective.surrogate.model.a.grad.item() == pytest.approx(gradient)


def test_noise_is_added_to_the_inputs_alone(plain):
    noise = torch.full((1, 1, 1, 8), 0.25, dtype=torch.float64)
    value = plain("one_step")(FRAMES[:, :2], None, noise)
    assert value.item() == pytest.approx((2 * 1.25 - 3) ** 2)


def test_delta_adds_the_output_in_units_of_the_change(plain):
    """z₁ = z₀ + (σ_Δ/σ) M(z₀) = 1 + 0.5 · 2."""
    value = plain("one_step", delta=True)(FRAMES[:, :2], None, None)
    assert value.item() == pytest.approx((2 - 3) ** 2)
    rolled = plain("one_step", delta=True).surrogate.rollout(FRAMES[:, :1], 3)
    assert rolled[0, :, 0, 0].tolist() == pytest.approx([2, 4, 8])


def test_relative_errors_are_summed_and_counted_over_samples_steps_and_channels(plain):
    total, count = plain("unroll").relative_errors(FRAMES.repeat(2, 1, 1, 1), None)
    assert count.item() == 6
    assert total.item() == pytest.approx(2 * (1 / 3 + 1 / 5 + 1 / 7))
    vanishing = FRAMES.clone()
    vanishing[:, 2] = 0  # no relative error there: left out, not infinite
    total, count = plain("unroll").relative_errors(vanishing, None)
    assert (total.item(), count.item()) == (pytest.approx(1 / 3 + 1 / 7), 2)


def test_history_and_stride_choose_the_frames(data):
    windows = data[0].windows(3, 1, stride=2)
    frames = windows[0]["input"]
    torch.testing.assert_close(frames, data[0].read(0, times=[0, 2, 4])[0])
    task = task_of(data[0], history=3, stride=2, delta=False, parameters=("c",))
    assert task.in_channels == 4 and task.step == pytest.approx(0.2)
    surrogate = surrogate_for(SmallConv(4, 1), data[0], task, fitted(data[0]))
    z = torch.arange(3.0).reshape(1, 3, 1, 1).repeat(1, 1, 1, 8)
    moved = surrogate.advanced(z, torch.full((1, 1, 8), 9.0))
    assert moved[0, :, 0, 0].tolist() == [1, 2, 9]


def test_a_run_of_one_batch_is_one_step_of_gradient_descent(data, tmp_path):
    """w ← w − lr ∇ (1/B) Σ ℓ, by autograd here and by the engine."""
    options = {"optimizer": "sgd", "schedule": "constant", "lr": 0.05, "precision": "float64"}
    run = quick(data, tmp_path, **options, epochs=1, batch=63, parameters="c")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SmallConv(2, 1)
    in_double(model)
    surrogate = surrogate_for(model, data[0], run.surrogate.task, fitted(data[0]))
    windows = data[0].windows(1, 1)
    batch = windows.__getitems__(range(63))
    frames = torch.cat([batch["input"], batch["target"]], 1).double()
    objective = Objective(surrogate, RelativeLp(2.0), "one_step")
    objective(frames, batch["c"][:, None], None).mean().backward()
    expected = {n: p.detach() - 0.05 * p.grad for n, p in model.named_parameters()}
    for name, value in run.surrogate.model.named_parameters():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pieces", [2, 4])
def test_pieces_of_a_batch_give_the_same_weights(data, tmp_path, pieces):
    """63 windows in batches of 10: neither the last batch nor the pieces are of equal size."""
    options = {"batch": 10, "precision": "float64", "noise": 0.1}
    whole = quick(data, tmp_path / "whole", **options)
    split = quick(data, tmp_path / "split", **options, accumulate=pieces)
    torch.testing.assert_close(weights(split), weights(whole), rtol=1e-8, atol=1e-10)


def test_clipping_bounds_the_step(data, tmp_path):
    options = {"optimizer": "sgd", "schedule": "constant", "lr": 1.0, "epochs": 1, "batch": 63}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = torch.cat([
            torch.view_as_real(p).flatten() if p.is_complex() else p.flatten()
            for p in SmallConv(1, 1).parameters()
        ])  # fmt: skip
    run = quick(data, tmp_path, **options, clip=1e-3)
    assert (weights(run) - before).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_the_moving_average_is_that_of_the_weights():
    model = Doubling(1.0)
    average = Average(model, 0.5)
    e = 1.0
    for n, w in enumerate((2.0, 5.0, -1.0), 1):
        model.a.data.fill_(w)
        average.update(model)
        d = min(0.5, (1 + n) / (10 + n))
        e = d * e + (1 - d) * w
        with average.swapped(model):
            assert model.a.item() == pytest.approx(e)
        assert model.a.item() == w


def test_saved_and_validated_weights_are_the_averaged_ones(data, tmp_path):
    run = quick(data, tmp_path, ema=0.99)
    saved = surrogates.load(tmp_path / "model.h5").model.state_dict()
    state = checkpoints.newest(tmp_path)[1]
    for name, value in saved.items():
        assert torch.equal(value, state["average"][f"weights/{name}"])
        assert not torch.equal(value, state["weights"][name])
        assert torch.equal(value, run.surrogate.model.state_dict()[name])


@pytest.mark.parametrize(
    "name, options, expected",
    [
        ("constant", {}, [1.0] * 6),
        ("cosine", {}, [(1 + math.cos(math.pi * n / 6)) / 2 for n in range(6)]),
        ("step", {"every": 2, "factor": 0.1}, [1, 1, 0.1, 0.1, 0.01, 0.01]),
        ("plateau", {"patience": 1, "factor": 0.5}, [1, 1, 1, 0.5, 0.5, 0.25]),
    ],
)
def test_schedules(name, options, expected):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, seen = Schedule(name, optimizer, 1.0, 6, options), []
    for _ in range(6):  # epochs of one step with an error that never improves
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.after_step()
        schedule.after_epoch(1.0)
    assert seen == pytest.approx(expected)


def test_one_cycle_rises_to_lr_and_ends_near_zero():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule, seen = Schedule("onecycle", optimizer, 0.5, 100, {}), []
    for _ in range(100):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.after_step()
    assert max(seen) == pytest.approx(0.5) and 25 < seen.index(max(seen)) < 35
    assert seen[-1] < 1e-3 * 0.5


# -------------------------------------------------------------------------- the order of windows


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_each_global_batch_and_a_position_is_two_integers(data, world):
    windows = data[0].windows()
    alone = BatchOrder(windows, 10, shuffle=True, seed=3)
    shares = [
        BatchOrder(windows, 10, shuffle=True, seed=3, rank=r, world=world) for r in range(world)
    ]
    for epoch in (0, 2):
        for order in (alone, *shares):
            order.epoch, order.start = epoch, 0
        batches = list(alone)
        assert sorted(chain(*batches)) == list(range(63))
        for number, parts in enumerate(zip(*shares, strict=True)):
            own = [rows[: s.share(number)] for rows, s in zip(parts, shares, strict=True)]
            assert sorted(chain(*own)) == sorted(batches[number])
        alone.start = 4
        assert list(alone) == batches[4:]
    alone.epoch, alone.start = 1, 0
    assert list(alone) != batches


def test_each_epoch_sees_every_window_once_in_an_order_of_its_own(data, tmp_path, monkeypatch):
    step, seen = Update.__call__, []

    def noted(self, batch, *given):
        seen.extend(zip(batch["sample"].tolist(), batch["start"].tolist(), strict=True))
        return step(self, batch, *given)

    monkeypatch.setattr(Update, "__call__", noted)
    quick(data, tmp_path)
    first, second = seen[:63], seen[63:]
    assert len(set(first)) == 63 and set(first) == set(second)
    assert first != second


# -------------------------------------------------------------------------- precision


def test_bf16_runs_the_model_in_bf16_and_keeps_weights_losses_and_targets_in_float32(
    data, tmp_path, monkeypatch
):
    seen = []

    class Spy(RelativeLp):
        def __call__(self, prediction, target):
            seen.append((prediction.dtype, target.dtype))
            return super().__call__(prediction, target)

    with monkeypatch.context() as patch:
        patch.setitem(LOSSES, "rel_l2", lambda periodic: Spy(2.0))
        low = quick(data, tmp_path / "low", precision="bf16")
    full = quick(data, tmp_path / "full")
    assert set(seen) == {(torch.float32, torch.float32)}
    assert all(p.dtype in (torch.float32, torch.complex64) for p in low.surrogate.parameters())
    gap = (weights(low) - weights(full)).norm() / weights(full).norm()
    assert 1e-7 < gap < 3e-2


def test_float64_reaches_through_model_file_and_rollout(data, tmp_path):
    run = quick(data, tmp_path, precision="float64")
    loaded = surrogates.load(tmp_path)
    assert loaded.model.weight.dtype == torch.complex128
    start = data[1].read(times=slice(0, 1)).double()
    torch.testing.assert_close(
        loaded.rollout(start, 3), run.surrogate.rollout(start, 3), rtol=1e-12, atol=0
    )


# -------------------------------------------------------------------------- ends of a run


def test_early_stopping_keeps_the_best_model(data, tmp_path):
    run = quick(
        data, tmp_path, epochs=30, patience=3, lr=0.5, schedule="constant", optimizer="adam"
    )
    assert run.ended == "patience" and len(run.history) < 30
    errors = [r["nrmse"] for r in run.history]
    assert run.best == min(errors) and len(errors) - 1 - errors.index(min(errors)) == 3
    record = surrogates.load(tmp_path).training_record
    assert record["last"]["nrmse"] == run.best


def test_max_time_ends_and_a_resume_goes_on(data, tmp_path):
    run = quick(data, tmp_path, epochs=100, max_time=0.05)
    assert run.ended == "max_time" and len(run.history) < 100
    step = checkpoints.newest(tmp_path)[1]["position"]["step"]
    again = train(small.NAME, *data, out=tmp_path, resume=True, max_time=0.1, device="cpu",
                  progress=False)  # fmt: skip
    assert again.ended == "max_time"
    assert checkpoints.newest(tmp_path)[1]["position"]["step"] > step


def test_more_epochs_may_follow_where_the_schedule_does_not_count_them(data, tmp_path):
    options = {"schedule": "step", "schedule_options": {"every": 2}}
    straight = quick(data, tmp_path / "a", **options, epochs=4)
    quick(data, tmp_path / "b", **options, epochs=2)
    longer = train(small.NAME, *data, out=tmp_path / "b", resume=True, epochs=4, device="cpu",
                   progress=False)  # fmt: skip
    assert torch.equal(weights(longer), weights(straight))


def test_the_log_has_one_record_per_epoch(data, tmp_path):
    run = quick(data, tmp_path, epochs=3)
    records = [json.loads(line) for line in (tmp_path / checkpoints.LOG).read_text().splitlines()]
    assert [r["epoch"] for r in records] == [1, 2, 3]
    assert [r["nrmse"] for r in records] == [r["nrmse"] for r in run.history]
    assert len(checkpoints.checkpoints(tmp_path)) == 2


def test_a_resumed_log_has_no_lines_beyond_its_checkpoint_and_none_cut_off(tmp_path):
    path = tmp_path / checkpoints.LOG
    log = checkpoints.Log(path, 0)
    for step in (10, 20, 30):
        log.add({"step": step, "nrmse": math.nan})
    with path.open("a") as file:
        file.write('{"step": 4')
    checkpoints.Log(path, 20).add({"step": 25})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [r["step"] for r in records] == [10, 20, 25]
    assert records[0]["nrmse"] is None
    checkpoints.Log(path, 0)
    assert path.read_text() == ""


# -------------------------------------------------------------------------- NaN and memory


def poisoned(monkeypatch, bad_steps):
    """The gradients of some steps are NaN."""
    step = Update.__call__

    def poison(self, batch, number, own, total):
        if number in bad_steps:
            batch = {**batch, "target": batch["target"] * torch.nan}
        return step(self, batch, number, own, total)

    monkeypatch.setattr(Update, "__call__", poison)


def test_batches_without_a_finite_gradient_are_skipped_and_counted(data, tmp_path, monkeypatch):
    poisoned(monkeypatch, {1, 2, 5})
    run = quick(data, tmp_path)
    assert run.skipped == 3 and weights(run).isfinite().all()
    assert math.isfinite(run.history[-1]["loss"])
    text = (tmp_path / checkpoints.LOG).read_text()
    assert text.count('"event": "skipped"') == 3


def test_a_skipped_batch_moves_nothing(data, tmp_path, monkeypatch):
    poisoned(monkeypatch, set(range(9)))
    run = quick(data, tmp_path, epochs=1, batch=7)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = SmallConv(1, 1)
    for a, b in zip(run.surrogate.model.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b)


def test_ten_bad_batches_in_a_row_end_the_run_with_their_windows(data, tmp_path, monkeypatch):
    poisoned(monkeypatch, set(range(8, 30)))
    with pytest.raises(DivergedError, match=r"10 batches in a row .*sample from frame\): \d+ from"):
        quick(data, tmp_path, epochs=4)
    state = checkpoints.newest(tmp_path)[1]
    assert all(torch.as_tensor(v).isfinite().all() for v in state["weights"].values())


def test_an_exhausted_gpu_keeps_the_run_and_says_what_to_do(data, tmp_path, monkeypatch):
    straight = quick(data, tmp_path / "straight")
    forward, calls = SmallConv.forward, []

    def full(self, x, **told):
        calls.append(len(x))
        if self.training and len(calls) > 12 and len(x) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, x, **told)

    monkeypatch.setattr(SmallConv, "forward", full)
    folder = tmp_path / "run"
    with pytest.raises(OutOfMemory, match=r"batch of 9 windows.*checkpoint-\d+.*accumulate=2"):
        quick(data, folder)
    assert checkpoints.newest(folder)[1]["position"]["step"] > 7
    again = train(small.NAME, *data, out=folder, resume=True, accumulate=2, device="cpu",
                  progress=False)  # fmt: skip
    torch.testing.assert_close(weights(again), weights(straight), rtol=1e-4, atol=1e-6)


# -------------------------------------------------------------------------- wrong input


def test_wrong_options_are_named(data, tmp_path):
    for match, options in {
        "loss='l3'": {"loss": "l3"},
        "mode='two_step'": {"mode": "two_step"},
        "steps of at least 2": {"mode": "unroll"},
        "no option 'learning_rate'": {"learning_rate": 1.0},
        r"batch=1000: the data give 63 windows \(9 samples × 7 starts\)": {"batch": 1000},
        "batch=0": {"batch": 0},
        "lr=-1": {"lr": -1.0},
        "lr=nan": {"lr": math.nan},
        "ema=1": {"ema": 1.0},
        "epochs=True": {"epochs": True},
        "keep=0": {"keep": 0},
        "save_every=0": {"save_every": 0},
        "max_time=-1": {"max_time": -1},
        "'nu' is no number per sample .* they have c": {"parameters": ["nu"]},
        "schedule='step' does not accept": {"schedule": "step", "schedule_options": {"gamma": 1}},
        "spans 9 times, and there are 8": {"mode": "unroll", "steps": 8},
        "there is no model 'fmo'": {"model": "fmo"},
        "no argument 'breadth'": {"model_options": {"breadth": 3}},
        "in_channels=1": {"model": SmallConv(3, 1)},
        "out_channels=1": {"model": SmallConv(1, 2)},
        "2 space dimensions, the data have 1": {"model": SmallConv(1, 1, spatial_dims=2)},
        "none of the public models": {"model": Doubling()},
    }.items():
        given = {**QUICK, **options}
        with pytest.raises(InvalidOption, match=match):
            train(given.pop("model", small.NAME), *data, out=tmp_path / "x", **given)
    assert not list(tmp_path.rglob("*.h5"))


def test_a_run_is_not_overwritten_by_mistake(data, tmp_path):
    quick(data, tmp_path)
    with pytest.raises(InvalidOption, match=r"holds a run .*resume=True .*overwrite=True"):
        quick(data, tmp_path)
    run = quick(data, tmp_path, overwrite=True, epochs=1)
    assert len(run.history) == 1 and len(checkpoints.checkpoints(tmp_path)) == 1


@pytest.mark.parametrize("part", ["train", "valid"])
def test_nan_in_the_data_is_reported_by_file_and_sample(data, tmp_path, part):
    bad = small.waves(tmp_path / "bad.h5")
    with (tmp_path / "bad.h5").open("r+b") as file:
        content = file.read()
        place = content.find(bad.read(5).numpy().tobytes())
        file.seek(place + 400)
        file.write(np.float32(np.nan).tobytes())
    bad = open_dataset(tmp_path / "bad.h5").select([4, 5, 6])
    sets = (bad, data[1]) if part == "train" else (data[0], bad)
    with pytest.raises(InvalidDataset, match=r"bad.h5: 1 of 3 samples hold NaN or infinity: 5\."):
        quick(sets, tmp_path / "run")


def test_an_empty_set_is_refused(data, tmp_path):
    with pytest.raises(InvalidDataset, match="no training samples"):
        quick((data[0].select([]), None), tmp_path)
    writer = Writer(
        tmp_path / "empty.h5", fields={"u": "f4"}, times=np.arange(3.0),
        axes=[Axis("x", np.arange(8.0))], samples=4,
    )  # fmt: skip
    with writer:
        pass
    with pytest.raises(InvalidDataset, match="4 are declared, none is finished"):
        train(small.NAME, tmp_path / "empty.h5", out=tmp_path / "run", **QUICK)


def test_without_lightning_the_extra_is_named(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    with pytest.raises(MissingDependency, match=r"pip install 'pdeml\[train\]'"):
        quick(data, tmp_path)


# -------------------------------------------------------------------------- model files


def test_a_model_file_gives_the_same_predictions_and_knows_its_data(data, tmp_path):
    run = quick(data, tmp_path, parameters="c")
    loaded = surrogates.load(tmp_path / "model.h5")
    start, c = data[1].read(times=slice(0, 1)), data[1].parameters["c"][:, None]
    assert torch.equal(loaded(start, c), run.surrogate(start, c))
    assert torch.equal(loaded.rollout(start, 1, c)[:, 0], loaded(start, c))
    assert loaded.data["grid"]["axes"][0]["length"] == pytest.approx(2 * math.pi)
    assert loaded.normalisation.to_dict() == run.surrogate.normalisation.to_dict()
    with pytest.raises(InvalidOption, match="must be told c"):
        loaded(start)
    with pytest.raises(InvalidOption, match=r"accepted is \(batch, 1 frames, 1 channels"):
        loaded(start[:, 0], c)


def test_data_that_do_not_fit_are_named(data, tmp_path):
    quick(data, tmp_path / "run")
    loaded = surrogates.load(tmp_path / "run")

    def other(name, match, step=0.1, length=2 * np.pi, periodic=True, field="u"):
        times = step * np.arange(8)
        x = np.arange(16) / 16 * length
        with Writer(
            tmp_path / f"{name}.h5", fields={field: "f4"}, times=times, samples=1,
            axes=[Axis("x", x, periodic=periodic, length=length if periodic else None)],
            durability="process",
        ) as writer:  # fmt: skip
            writer.commit(np.array([0]), **{field: np.ones((1, len(times), 16))})
        with pytest.raises(DatasetMismatch, match=match):
            surrogates.evaluate(loaded, tmp_path / f"{name}.h5", device="cpu")

    other("step", r"the time of 1 frames is 0.2 .* and 0.1", step=0.2)
    other("box", r"the length of x is 3\.0.* and 6\.28", length=3.0)
    other("ends", r"'periodic' of an axis is False .* and True", periodic=False)
    other("field", r"the list of channels is \['v'\] .* and \['u'\]", field="v")
    loaded.model.any_resolution = False
    other("points", "points of x is 16 in the data and 32")


def test_a_model_file_is_refused_where_it_does_not_fit(data, tmp_path):
    quick(data, tmp_path)
    path = tmp_path / "model.h5"
    arrays, meta = model_file.read_state(path, model_file.KIND)

    def refused(match, change, arrays=arrays):
        model_file.write_state(path, arrays, {**meta, **change}, model_file.KIND)
        with pytest.raises(InvalidFile, match=match):
            surrogates.load(path)

    refused("there is no model 'os.system'", {"model": "os.system"})
    refused("cannot be built here", {"config": {"in_channels": 1, "command": "ls"}})
    refused("another architecture: 'weight' is", {"config": {**meta["config"], "width": 9}})
    refused("does not describe a surrogate", {"task": {}})
    without = {k: v for k, v in arrays.items() if k != "weights/weight"}
    refused("'weight' is missing", {}, without)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InvalidFile, match="damaged"):
        surrogates.load(path)
    with pytest.raises(InvalidFile, match="there is no model in"):
        surrogates.load(tmp_path.parent)


# -------------------------------------------------------------------------- normalisation


def two_fields(path):
    """Two fields of very different size; the second has a large mean."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal((5, 6, 16))
    p = 1e5 + 30 * rng.standard_normal((5, 6, 16))
    with Writer(
        path, fields={"u": "f8", "p": "f8"}, times=np.arange(6.0), samples=5,
        axes=[Axis("x", np.arange(16.0), periodic=True, length=16.0)], durability="process",
    ) as writer:  # fmt: skip
        writer.commit(np.arange(5), u=u, p=p)
    return open_dataset(path), np.stack([u, p], 2)


def test_normalisation_is_that_of_all_values_of_a_channel(tmp_path):
    dataset, values = two_fields(tmp_path / "two.h5")
    by_channel, scalar = fitted(dataset), fitted(dataset, "scalar")
    flat = values.transpose(2, 0, 1, 3).reshape(2, -1)
    np.testing.assert_allclose(by_channel.mean, flat.mean(1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_channel.std, flat.std(1), rtol=1e-9)
    np.testing.assert_allclose(scalar.mean, [values.mean()] * 2, rtol=1e-12)
    np.testing.assert_allclose(scalar.std, [values.std()] * 2, rtol=1e-9)
    np.testing.assert_allclose(
        fitted(dataset, stride=2).delta_std,
        (values[:, 2::2] - values[:, :-2:2]).transpose(2, 0, 1, 3).reshape(2, -1).std(1),
        rtol=1e-9,
    )
    frames = torch.from_numpy(values)
    z = by_channel.encode(frames, 1)
    assert z.mean((0, 1, 3)).abs().max() < 1e-9
    torch.testing.assert_close(z.std((0, 1, 3), correction=0), torch.ones(2).double())
    torch.testing.assert_close(by_channel.decode(z, 1), frames, rtol=1e-12, atol=0)
    again = Normalisation.from_dict(json.loads(json.dumps(by_channel.to_dict())))
    assert torch.equal(again.encode(frames, 1), z)


def test_a_map_between_channels_learns_from_inputs_to_targets(tmp_path):
    """p → u of one frame; the model sees p alone."""
    dataset, _ = two_fields(tmp_path / "two.h5")
    run = train(small.NAME, dataset, out=tmp_path / "run", inputs="p", targets="u",
                **{**QUICK, "precision": "float64"})  # fmt: skip
    frames = dataset.read(0, times=slice(0, 1))
    y = run.surrogate(frames)
    changed = frames.clone()
    changed[:, :, 0] = 7.0
    assert torch.equal(run.surrogate(changed), y)
    assert y.shape == (1, 1, 16)
    with pytest.raises(InvalidOption, match="no roll-out"):
        run.surrogate.rollout(frames, 2)
    result = surrogates.evaluate(run.surrogate, dataset, device="cpu")
    assert result.by_channel.keys() == {"u"} and len(result.times) == 0
