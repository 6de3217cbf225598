"""Runs that are killed, stopped or shared by processes end in the weights of one that is not."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from multiprocessing import Value

import pytest
import torch

from pdeml.errors import InvalidFile, InvalidOption
from pdeml.surrogates import checkpoints, load
from pdeml.surrogates.training import train
from pdeml.surrogates.update import Update
from tests.data.killed import start
from tests.surrogates import small

# everything that has a state: dropout, noise, momentum, average, cycle, best, pieces
STATEFUL = {
    "parameters": "c",
    "mode": "pushforward",
    "steps": 2,
    "noise": 0.01,
    "epochs": 6,
    "batch": 5,
    "accumulate": 2,
    "lr": 1e-2,
    "clip": 1.0,
    "ema": 0.9,
}
DROPOUT = {"width": 6, "dropout": 0.2}


def work(data, out, done=None, **options):
    """Train; `done` counts the steps of this process."""
    step = Update.__call__

    def counted(self, *given):
        result = step(self, *given)
        if done is not None:
            done.value += 1
        return result

    Update.__call__ = counted
    train(small.NAME, *data, out=out, device="cpu", progress=False, **{**STATEFUL, **options})


def finish(process):
    process.join(60)
    assert process.exitcode == 0


def state(folder):
    return checkpoints.newest(folder)[1]


def rates(folder):
    """Learning rate, loss and error of each epoch, as they were logged."""
    records = [json.loads(line) for line in (folder / checkpoints.LOG).read_text().splitlines()]
    return [(r["step"], r["lr"], r["loss"], r["nrmse"]) for r in records if "lr" in r]


def assert_same(a, b):
    """Equal bit by bit, whatever the nesting."""
    if isinstance(b, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(b, dict):
        assert a.keys() == b.keys()
        for name in b:
            assert_same(a[name], b[name])
    elif isinstance(b, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b or (a != a and b != b)


def assert_same_run(folder, reference):
    a, b = state(folder), state(reference)
    for name in ("weights", "average", "optimizer", "schedule", "random"):
        assert_same(a[name], b[name])
    assert rates(folder) == rates(reference)
    for name in ("best.h5", "model.h5"):
        one, two = load(folder / name), load(reference / name)
        assert_same(one.model.state_dict(), two.model.state_dict())


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finish(start(work, data, folder, model_options=DROPOUT))
    return folder


def test_a_run_killed_at_random_steps_ends_in_the_same_weights(data, uninterrupted, tmp_path):
    rng, kills, resume = random.Random(7), 0, False
    while True:
        done = Value("i", 0)
        process = start(
            work, data, tmp_path, done, resume=resume, save_every=3, model_options=DROPOUT
        )
        wanted = rng.randint(4, 12)
        while process.is_alive() and done.value < wanted:
            time.sleep(0.001)
        if process.is_alive() and kills < 5:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += process.exitcode == -signal.SIGKILL
            resume = True
            continue
        finish(process)
        break
    assert kills >= 3
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_after_the_batch_and_the_run_goes_on_exactly(
    number, data, uninterrupted, tmp_path
):
    def stopped(done):
        try:
            work(data, tmp_path, done, model_options=DROPOUT)
        except KeyboardInterrupt:
            os._exit(130)

    done = Value("i", 0)
    process = start(stopped, done)
    while process.is_alive() and done.value < 14:
        time.sleep(0.001)
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 128 + number
    assert state(tmp_path)["position"]["step"] >= 14
    assert not (tmp_path / "model.h5").exists()
    finish(start(work, data, tmp_path, resume=True))
    assert_same_run(tmp_path, uninterrupted)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(data, uninterrupted, tmp_path):
    finish(start(work, data, tmp_path, keep=3, model_options=DROPOUT))
    newest, before, *_ = checkpoints.checkpoints(tmp_path)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(bytes(content))
    assert checkpoints.newest(tmp_path)[0] == before
    finish(start(work, data, tmp_path, resume=True))
    assert_same_run(tmp_path, uninterrupted)


def processes(work, count):
    """Run a function in `count` processes with what torchrun tells them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def one(rank):
        os.environ |= {
            **{"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"},
            **{"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            "TORCHELASTIC_RUN_ID": "test",
        }
        work()

    running = [start(one, rank) for rank in range(count)]
    for process in running:
        finish(process)


SHARED = {"mode": "unroll", "steps": 2, "noise": 0.02, "precision": "float64", "save_every": 4}


def test_two_processes_follow_one_at_the_same_global_batch(data, tmp_path):
    """54 windows in batches of 13: a last batch of 2, and shares of 7 and 6 before."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    finish(start(work, data, alone, **SHARED | {"batch": 13}))
    processes(lambda: work(data, shared, **SHARED | {"batch": 13}), 2)
    one, two = rates(alone), rates(shared)
    assert [r[:2] for r in one] == [r[:2] for r in two]
    torch.testing.assert_close(torch.tensor(two), torch.tensor(one), rtol=1e-6, atol=0)
    for name, value in state(alone)["weights"].items():
        torch.testing.assert_close(state(shared)["weights"][name], value, rtol=1e-6, atol=1e-9)


def test_a_last_batch_smaller_than_the_number_of_processes_does_not_hang(data, tmp_path):
    """54 windows in batches of 53: in the last one a process has none."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    options = {**SHARED, "batch": 53, "epochs": 3}
    finish(start(work, data, alone, **options))
    processes(lambda: work(data, shared, **options), 2)
    for name, value in state(alone)["weights"].items():
        torch.testing.assert_close(state(shared)["weights"][name], value, rtol=1e-6, atol=1e-9)


SCRIPT = """
import sys
from pdeml import data, surrogates
from tests.surrogates import small
surrogates.MODELS[small.NAME] = small.HOME
train, valid = data.open(sys.argv[1]).split((0.75, 0.25))
surrogates.train(small.NAME, train, valid, out=sys.argv[2], device="cpu", progress=False,
                 precision="float64", epochs=2, batch=13)
"""


@pytest.mark.slow
def test_torchrun_itself(tmp_path):
    small.waves(tmp_path / "waves.h5")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    for count in (1, 2):
        launched = subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc-per-node", str(count)),
                *(script, tmp_path / "waves.h5", tmp_path / str(count)),
            ],
            env={**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        try:
            assert launched.wait(120) == 0
        finally:
            if launched.poll() is None:
                os.killpg(launched.pid, signal.SIGKILL)
    one, two = rates(tmp_path / "1"), rates(tmp_path / "2")
    torch.testing.assert_close(torch.tensor(two), torch.tensor(one), rtol=1e-6, atol=0)


def test_resuming_names_what_does_not_fit(data, uninterrupted, tmp_path):
    def refused(match, *sets, model=small.NAME, kind=InvalidFile, out=uninterrupted, **options):
        with pytest.raises(kind, match=match):
            train(model, *(sets or data), out=out, resume=True, device="cpu", **options)

    refused(r"lr=0.5 is given, but .* was started with 0.01", lr=0.5)
    refused(r"epochs=9 .* The schedule 'onecycle' is laid out for its epochs", epochs=9)
    refused("config is .*'width': 6.* here it is .*'width': 7", model_options={"width": 7})
    refused("no checkpoint", kind=InvalidOption, out=tmp_path)
    others = small.waves(tmp_path / "scaled.h5", scale=2.0).split((0.75, 0.25))
    refused("normalisation has changed: std of 'u'", *others)
    moved = small.waves(tmp_path / "same.h5").split((0.75, 0.25))[0].select(slice(0, 9))
    flipped = moved.select(list(range(8, -1, -1)))
    refused("their content differs", flipped)
