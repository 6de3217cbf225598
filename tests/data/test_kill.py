"""Runs that are killed lose no finished sample, compute none twice, and end in the same file."""

import errno
import os
import random
import resource
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import pdeml
from pdeml.data import merge, preallocated
from pdeml.data.merging import parts_folder
from pdeml.data.seeds import sample_seeds
from pdeml.errors import InvalidDataset, OutputError
from tests.data import killed

TIMINGS = ("wall_time",)
KILLS = 20


def content(path):
    """Everything in a file but how long it took and when."""
    with h5py.File(path, "r") as file:
        names = []
        file.visititems(lambda n, x: names.append(n) if isinstance(x, h5py.Dataset) else None)
        arrays = {n: file[n][()] for n in names if n not in TIMINGS}
        return arrays, {k: v for k, v in file.attrs.items() if k != "created"}


def assert_same(path, reference):
    arrays, attributes = content(path)
    expected, others = content(reference)
    assert arrays.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(arrays[name], values, err_msg=name)
    assert attributes == others


def status(path):
    with h5py.File(path, "r") as file:
        return file["status"][()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    killed.work(folder / "a.h5", folder / "log", durability="process")
    return folder / "a.h5"


def run_and_kill(path, log, rng, longest, **options):
    """Start until it ends by itself, killing at random; returns how often it was killed."""
    kills = 0
    while True:
        before = set(killed.noted(log))
        process = killed.start(killed.work, path, log, **options)
        # kills that come later and later reach every phase, and the run ends in the end
        hit = killed.kill_after(process, rng.uniform(0, longest * (1 + kills / 10)))
        after = killed.noted(log)
        assert len(after) == len(set(after)), "a sample was computed again after it was reported"
        assert before <= set(after)
        if path.exists():
            finished = set(np.flatnonzero(status(path) == 1).tolist())
            assert set(after) <= finished, "a sample that was reported is lost"
        if not hit:
            assert process.exitcode == 0
            return kills
        kills += 1


def test_twenty_kills_in_the_middle_of_writing(tmp_path, uninterrupted):
    """Kills at random instants; writing takes most of the time, so that they hit commits."""
    rng, kills, run = random.Random(0), 0, 0
    while kills < KILLS:
        path, log = tmp_path / f"{run}.h5", tmp_path / f"{run}.log"
        kills += run_and_kill(path, log, rng, 0.15, durability="process")
        assert set(killed.noted(log)) <= set(range(killed.SAMPLES))
        assert_same(path, uninterrupted)
        assert pdeml.data.verify(path).ok
        assert not path.with_name(f"{path.name}.lock").exists()
        path.unlink()
        run += 1


def test_a_torn_sample_is_never_called_finished(tmp_path):
    """The process dies after each single write of a commit in turn: status comes last."""

    def dying(path, log, calls):
        count, write = 0, os.pwrite

        def counted(*arguments):
            nonlocal count
            count += 1
            if count > calls:
                os._exit(9)
            return write(*arguments)

        os.pwrite = counted
        killed.work(path, log, samples=1, durability="process")

    calls = 0
    while True:
        path, log = tmp_path / f"{calls}.h5", tmp_path / f"{calls}.log"
        process = killed.start(dying, path, log, calls)
        process.join(30)
        if process.exitcode == 0:
            break
        if path.exists():  # the first write is that of the lock
            check = pdeml.data.verify(path)
            assert check.ok and check.checked == (status(path) == 1).sum()
            with killed.writer(path, samples=1, verify="none") as w:
                todo = [int(i) for ids in w.pending() for i in ids]
            assert todo + np.flatnonzero(status(path) == 1).tolist() == [0]
        calls += 1
    assert calls > 6


def test_two_readers_see_whole_samples_while_a_run_writes(tmp_path):
    path, log, samples = tmp_path / "a.h5", tmp_path / "log", 60

    def watch():
        seen = 0
        while seen < samples:
            if not path.exists():
                continue
            ds = pdeml.data.open(path)
            assert len(ds) >= seen, "a finished sample is gone"
            seen = len(ds)
            for row in {0, seen - 1} if seen else ():
                number = int(ds.samples[row])
                expected, nu = killed.solution(
                    sample_seeds(killed.ROOT_SEED, np.array([number]))[0]
                )
                np.testing.assert_array_equal(ds.read(row)[0, :, 0], expected.astype("f4"))
                assert float(ds.params["nu"][row]) == nu

    readers = [killed.start(watch) for _ in range(2)]
    writer = killed.start(killed.work, path, log, samples=samples, durability="process", batch=2)
    for process in (writer, *readers):
        process.join(60)
        assert process.exitcode == 0


def test_samples_are_on_the_disk_before_they_are_called_finished(tmp_path, monkeypatch):
    """What no kill can show, a loss of power would: values, sync, status, sync, in each commit."""
    calls = []
    write, sync = os.pwrite, os.fdatasync

    def written(descriptor, data, place):
        calls.append((place, len(data)))
        return write(descriptor, data, place)

    def synced(descriptor):
        calls.append("sync")
        return sync(descriptor)

    with killed.writer(tmp_path / "a.h5", samples=2) as w:
        with h5py.File(tmp_path / "a.h5", "r", locking=False) as file:
            marks, values = (file[name].id.get_offset() for name in ("status", "u"))
        monkeypatch.setattr(os, "pwrite", written)
        monkeypatch.setattr(os, "fdatasync", synced)
        w.commit(1, u=killed.solution(1)[0], nu=1.0)
        monkeypatch.undo()
    assert calls[-3:] == ["sync", (marks + 1, 1), "sync"] and calls.count("sync") == 2
    size = 4 * killed.TIMES * killed.POINTS
    assert (values + size, size) in calls[:-3] and len(calls) == 3 + 1 + 5


def test_kills_while_the_file_is_made(tmp_path):
    """There is no half-made file: none, or one that opens."""
    rng, made = random.Random(1), 0
    for attempt in range(6):
        path = tmp_path / f"{attempt}.h5"
        process = killed.start(lambda path: killed.writer(path, samples=2000).close(), path)
        killed.kill_after(process, rng.uniform(0, 0.04))
        if path.exists():
            made += 1
            assert pdeml.data.open(path).contents.samples == 2000
        killed.writer(path, samples=2000).close()  # what is left behind does not stand in the way
        assert (status(path) == 0).all()
        path.unlink()


@pytest.mark.parametrize("step", ["create", "replace", "rmtree"])
def test_kill_in_finalize(tmp_path, step):
    """A merge that dies at any step is done again, from the parts or from the finished file."""
    path, log = tmp_path / "a.h5", tmp_path / "log"
    killed.work(tmp_path / "b.h5", log, samples=12)
    whole = tmp_path / "b.h5"
    with killed.writer(path, samples=12, compression="gzip") as w:
        for ids in w.pending(5):
            solved = [killed.solution(seed) for seed in w.seeds(ids)]
            if ids[-1] == 11:
                last = (ids, solved)
                break
            w.commit(ids, u=np.stack([u for u, _ in solved]), nu=[nu for _, nu in solved])
        ids, solved = last
        w.commit(ids, u=np.stack([u for u, _ in solved]), nu=[nu for _, nu in solved])

        def dying_merge():
            from pdeml.data import merging

            home, name = {
                "create": (merging, "write_chunked"),
                "replace": (os, "replace"),
                "rmtree": (merging.shutil, "rmtree"),
            }[step]
            original = getattr(home, name)

            def last_act(*arguments, **options):
                if step == "create":
                    Path(arguments[0]).write_bytes(b"half")
                elif step == "replace":
                    original(*arguments, **options)
                os._exit(9)

            setattr(home, name, last_act)
            w.finalize()

        process = killed.start(dying_merge)
        process.join(60)
        assert process.exitcode == 9
        w.finalize()
    assert not parts_folder(path).exists()
    arrays, _ = content(path)
    expected, _ = content(whole)
    for name in ("u", "nu", "seed", "crc32_u", "status", "stats/std"):
        np.testing.assert_array_equal(arrays[name], expected[name])
    assert pdeml.data.verify(path).checked == 12


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_signals_wait_for_the_commit(tmp_path, number, code):
    """The signal comes inside of a commit: it is completed, the run ends, the lock is gone."""
    path, log = tmp_path / "a.h5", tmp_path / "log"

    def signalled():
        write = preallocated.Preallocated.write

        def slow(self, *arguments, **options):
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            return write(self, *arguments, **options)

        preallocated.Preallocated.write = slow
        try:
            killed.work(path, log)
        except KeyboardInterrupt:
            os._exit(1)

    process = killed.start(signalled)
    process.join(30)
    assert process.exitcode == code
    assert (status(path)[:5] == 1).all() and (status(path)[5:] == 0).all()
    assert pdeml.data.open(path).contents.attributes["n_finished"] == 5
    assert not path.with_name("a.h5.lock").exists()


def test_full_disk_in_the_middle_keeps_what_is_finished(tmp_path, monkeypatch):
    path, log = tmp_path / "a.h5", tmp_path / "log"
    write, written = os.pwrite, 0

    def full(descriptor, data, offset):
        nonlocal written
        written += len(data)
        if written > 3_000_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OutputError, match=r"\d+ bytes are needed"):
        killed.work(path, log)
    monkeypatch.undo()
    finished = np.flatnonzero(status(path) == 1).tolist()
    assert finished == sorted(killed.noted(log)) and 0 < len(finished) < killed.SAMPLES
    killed.work(path, log)
    assert sorted(killed.noted(log)) == list(range(killed.SAMPLES))
    assert pdeml.data.verify(path).checked == killed.SAMPLES


def test_too_little_space_is_found_before_the_first_sample(tmp_path):
    """The limit on file sizes stands for a small disk: nothing is left behind."""
    path = tmp_path / "a.h5"

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
        try:
            killed.writer(path)
        except OutputError as error:
            assert "bytes are needed" in str(error)
            os._exit(7)

    process = killed.start(limited)
    process.join(30)
    assert process.exitcode == 7
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []


def test_merging_shards_gives_the_file_of_one_run(tmp_path, uninterrupted):
    path = tmp_path / "a.h5"
    for i in (2, 0, 1):
        killed.work(path, tmp_path / f"log{i}", shard=(i, 3))
    assert len(pdeml.data.open(parts_folder(path))) == killed.SAMPLES
    merge(path)
    assert not parts_folder(path).exists()
    assert_same(path, uninterrupted)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_merging_refuses_a_damaged_share(tmp_path, compression):
    """The sample is named, the shares stay, and nothing takes the place of the file."""
    path = tmp_path / "a.h5"
    for i in (0, 1):
        killed.work(path, tmp_path / "log", samples=10, shard=(i, 2), durability="process")
    share = sorted(parts_folder(path).glob("*.h5"))[1]
    with h5py.File(share) as file:
        place = file["u"].id.get_offset() + 3 * file["u"].nbytes // 5
    data = bytearray(share.read_bytes())
    data[place] ^= 16
    share.write_bytes(data)
    with pytest.raises(InvalidDataset, match=r"sample 8 of 'u' .* is damaged"):
        merge(path, compression=compression)
    assert not path.exists() and len(list(parts_folder(path).glob("*.h5"))) == 2
