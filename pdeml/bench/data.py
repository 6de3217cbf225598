"""Writing, reading and loading data sets: against plain system calls, h5py, The Well's loader.

Both sides of each row run in one process, taking turns, and the best of several runs counts;
The Well's loader runs in an interpreter of its own (``--peer-python``), its passes between ours.
Files are in the page cache, so that software is measured and not a disk, but for the writer, which
is also measured with every commit forced to the disk.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pdeml import data
from pdeml.bench.machine import describe_machine
from pdeml.bench.spectral import one_core
from pdeml.data import Axis
from pdeml.errors import PdemlError
from pdeml.progress import ProgressBar

REPEATS = 5
SAMPLES, FRAMES, POINTS, BATCH = 1024, 200, 512, 64  # Kuramoto–Sivashinsky, 419 MB
GRID = 128  # of windows of two frames
READS = 400
WRITER, WINDOW, MICROSECONDS, LOADER, WELL = 0.8, 4.0, 20.0, 1.5, 8.0  # goals
WELL_FILE = {"samples": 16, "frames": 21, "points": 64}


def _seconds(run: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def _best(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Best seconds of each, taking turns."""
    rounds = [{name: _seconds(run) for name, run in runs.items()} for _ in range(repeats)]
    return {name: min(r[name] for r in rounds) for name in runs}


# --------------------------------------------------------------------------------------- writing


Write = Callable[[int], None]
"""Writes a batch of samples, from one on."""


@contextlib.contextmanager
def _system_calls(path: Path, values: np.ndarray, sync: bool) -> Iterator[Write]:
    """Values, then a mark, by pwrite(2) to a file whose space is reserved."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.posix_fallocate(descriptor, 0, SAMPLES * values[0].nbytes)
    os.fsync(descriptor)

    def write(first: int) -> None:
        for part in (memoryview(values).cast("B"), bytes(BATCH)):
            os.pwrite(descriptor, part, first * values[0].nbytes)
            if sync:
                os.fdatasync(descriptor)

    yield write
    os.close(descriptor)
    path.unlink()


@contextlib.contextmanager
def _h5py(path: Path, values: np.ndarray, sync: bool) -> Iterator[Write]:
    """Values, then a mark, by h5py to contiguous data sets that have been written before."""
    import h5py

    with h5py.File(path, "w") as file:
        fields = file.create_dataset("u", data=np.zeros((SAMPLES, *values.shape[1:]), "f4"))
        marks = file.create_dataset("status", data=np.zeros(SAMPLES, "u1"))
        file.flush()
        descriptor = os.open(path, os.O_RDWR)
        os.fsync(descriptor)

        def write(first: int) -> None:
            for target, part in ((fields, values), (marks, np.ones(BATCH, "u1"))):
                target[first : first + BATCH] = part
                file.flush()
                if sync:
                    os.fdatasync(descriptor)

        yield write
    os.close(descriptor)
    path.unlink()


@contextlib.contextmanager
def _commits(path: Path, values: np.ndarray, sync: bool) -> Iterator[Write]:
    with data.Writer(
        path,
        fields={"u": "f4"},
        times=np.arange(FRAMES),
        axes={"x": np.arange(POINTS)},
        samples=SAMPLES,
        durability="power" if sync else "process",
    ) as writer:
        yield lambda first: writer.commit(np.arange(first, first + BATCH), u=values)
    path.unlink()


def run_writer(folder: Path, durability: str, repeats: int = 3) -> dict[str, Any]:
    """Commits of a batch against pwrite(2) and against h5py, synced as often, of the same bytes.

    The plain sides write the values and a mark alone: no checksums, no test for NaN. With
    durability ``"power"`` they sync as a commit does, after the values and after the mark. All take
    turns at every commit.
    """
    values = np.random.default_rng(0).standard_normal((BATCH, FRAMES, POINTS), dtype=np.float32)
    rounds = []
    for _ in range(repeats):
        with contextlib.ExitStack() as stack:
            sides = [
                stack.enter_context(side(folder / side.__name__, values, durability == "power"))
                for side in (_system_calls, _h5py, _commits)
            ]
            rounds.append(
                [
                    [_seconds(functools.partial(write, first)) for write in sides]
                    for first in range(0, SAMPLES, BATCH)
                ]
            )
    # the best of each commit, as another load on the machine comes and goes within a run
    plain, h5py_best, own = np.array(rounds).min(0).sum(0).tolist()
    megabytes = SAMPLES * values[0].nbytes / 1e6
    return {
        "durability": durability,
        "megabytes": megabytes,
        "plain_mb_s": megabytes / plain,
        "h5py_mb_s": megabytes / h5py_best,
        "pdeml_mb_s": megabytes / own,
        "ratio": plain / own,
        "ratio_h5py": h5py_best / own,
    }


# --------------------------------------------------------------------------------------- reading


def run_windows(folder: Path, repeats: int = REPEATS) -> dict[str, Any]:
    """Random windows of two frames: memory map, and h5py on chunks with the file kept open."""
    import h5py

    values = np.random.default_rng(0).standard_normal((64, 21, GRID, GRID), dtype=np.float32)
    path, chunked = folder / "windows.h5", folder / "chunked.h5"
    axis = np.arange(GRID) / GRID
    with data.Writer(
        path,
        fields={"u": "f4"},
        times=np.arange(21),
        axes=[Axis("x", axis, periodic=True, length=1.0), Axis("y", axis, periodic=True, length=1)],
        samples=64,
        durability="process",
    ) as writer:
        writer.commit(range(64), u=values)
    with h5py.File(chunked, "w") as file:
        file.create_dataset("u", data=values, chunks=(1, 4, GRID, GRID))
    rng = np.random.default_rng(1)
    places = [(int(rng.integers(64)), int(rng.integers(19))) for _ in range(READS)]
    source = data.open(path).source
    out = np.empty((2, 1, GRID, GRID), np.float32)
    loader = data.open(path).windows(t_in=1, t_out=1).loader(batch=32, seed=0)
    windows = 64 * 20

    with h5py.File(chunked, "r") as file:
        chunks = file["u"]

        def by_h5py() -> None:
            for sample, start in places:
                out[:, 0] = chunks[sample, start : start + 2]

        def by_map() -> None:
            for sample, start in places:
                out[:] = source.window("u", sample, slice(start, start + 2, 1))

        def epoch() -> None:
            for _ in loader:
                pass

        best = _best({"h5py": by_h5py, "map": by_map, "epoch": epoch}, repeats)
    return {
        "h5py_us": 1e6 * best["h5py"] / READS,
        "map_us": 1e6 * best["map"] / READS,
        "ratio": best["h5py"] / best["map"],
        "loader_gb_s": windows * out.nbytes / 1e9 / best["epoch"],
    }


def run_well(folder: Path, python: str, repeats: int = REPEATS) -> dict[str, Any]:
    """Windows of 4 + 1 frames of a Well file by The Well's data set and by ours, with equal values.

    Raises
    ------
    PdemlError
        The peer fails, or both sides read different values.
    """
    n, frames, samples = (WELL_FILE[k] for k in ("points", "frames", "samples"))
    rng = np.random.default_rng(0)
    own = folder / "own.h5"
    axis = np.arange(n) / n
    single = np.dtype("f4")
    fields = [
        data.FieldInfo("density", single),
        data.FieldInfo("flow", single, ("flow_x", "flow_y")),
    ]
    with data.Writer(
        own,
        fields=fields,
        times=np.arange(float(frames)),
        axes=[Axis(a, axis, periodic=True, length=1.0) for a in "xy"],
        samples=samples,
        durability="process",
    ) as writer:
        writer.commit(
            range(samples),
            density=rng.standard_normal((samples, frames, n, n), dtype=np.float32),
            flow=rng.standard_normal((samples, frames, 2, n, n), dtype=np.float32),
        )
    well = folder / "well"
    data.convert(own, well, to="well")
    (path,) = (p for p in well.rglob("*.hdf5")) if well.is_dir() else (well,)
    windows = data.open(path).windows(t_in=4, t_out=1)
    chosen = rng.permutation(len(windows))[:200].tolist()
    (folder / "indices.json").write_text(json.dumps(chosen))
    output = folder / "peer.npz"
    seconds: dict[str, list[float]] = {"peer": [], "pdeml": [], "batched": []}
    answer: dict[str, Any] = {}
    for _ in range(repeats):
        worker = Path(__file__).with_name("data_worker.py")
        words = [python, str(worker), str(path.parent), "4", "1", "2", str(folder / "indices.json")]
        done = subprocess.run(
            [*words, str(output)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"},
        )
        if done.returncode:
            raise PdemlError(f"the peer answers: {done.stderr.strip()[-1500:]}")
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        seconds["peer"].append(min(answer["seconds"]))
        for _ in range(3):
            seconds["pdeml"].append(_seconds(lambda: [_as_well(windows[i]) for i in chosen]))
            seconds["batched"].append(
                _seconds(
                    lambda: [windows.__getitems__(chosen[k : k + 32]) for k in range(0, 200, 32)]
                )
            )
    peer = np.load(output)
    ours = [_as_well(windows[i]) for i in chosen[:8]]
    same = all(
        np.array_equal(peer["input"][k], item["input_fields"].numpy())
        and np.array_equal(peer["output"][k], item["output_fields"].numpy())
        for k, item in enumerate(ours)
    )
    if not same or answer["length"] != len(windows):
        raise PdemlError("The Well's loader and ours give different windows of one file.")
    best = {name: min(series) for name, series in seconds.items()}
    return {
        "the_well": answer["the_well"],
        "peer_us": 1e6 * best["peer"] / len(chosen),
        "pdeml_us": 1e6 * best["pdeml"] / len(chosen),
        "batched_us": 1e6 * best["batched"] / len(chosen),
        "ratio": best["peer"] / best["pdeml"],
        "ratio_batched": best["peer"] / best["batched"],
    }


def _as_well(item: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A window with channels last and the names of The Well."""
    return {
        "input_fields": item["input"].movedim(1, -1),
        "output_fields": item["target"].movedim(1, -1),
    }


# --------------------------------------------------------------------------------------- the suite


def run(progress: bool = False, peer_python: str | None = None) -> dict[str, Any]:
    """Reading on one core, writing on all: checksums have threads of their own.

    Parameters
    ----------
    peer_python : an interpreter that has the_well; without one that row is left out.
    """
    with (
        tempfile.TemporaryDirectory(prefix="pdeml-bench-") as name,
        ProgressBar("bench data", progress) as bar,
    ):
        folder = Path(name)
        load = [os.getloadavg()[0]]
        well = None
        with one_core():
            bar.update(0.0, {"row": "windows"})
            windows = run_windows(folder)
            if peer_python is not None:
                bar.update(0.2, {"row": "The Well"})
                well = run_well(folder, peer_python)
        bar.update(0.4, {"row": "writer, kept by the kernel"})
        writers = [run_writer(folder, "process")]
        bar.update(0.6, {"row": "writer, on the disk"})
        writers.append(run_writer(folder, "power"))
        machine = describe_machine()
        load.append(os.getloadavg()[0])
    return {
        "suite": "data",
        "command": "pdeml bench data --json" + (" --peer-python PYTHON" * bool(peer_python)),
        "machine": machine,
        "load": load,
        "writers": writers,
        "windows": windows,
        "well": well,
        "goals": _goals(writers, windows, well),
    }


def _goals(
    writers: list[dict[str, Any]], windows: dict[str, Any], well: dict[str, Any] | None
) -> dict[str, dict[str, Any]]:
    least = {
        "writer_ratio": (writers[-1]["ratio"], WRITER),
        "window_ratio": (windows["ratio"], WINDOW),
        "loader_gb_s": (windows["loader_gb_s"], LOADER),
    }
    if well is not None:
        least["well_ratio"] = (well["ratio"], WELL)
    goals: dict[str, dict[str, Any]] = {
        name: {"value": value, "at_least": goal, "met": value >= goal}
        for name, (value, goal) in least.items()
    }
    window = windows["map_us"]
    goals["window_us"] = {"value": window, "at_most": MICROSECONDS, "met": window <= MICROSECONDS}
    return goals


def table(result: dict[str, Any]) -> Any:
    """The result as rich tables, with a line per goal."""
    from rich.console import Group
    from rich.table import Table

    rows = Table(title="Data sets, reading on one core, best of runs that take turns")
    for name in ("what", "peer", "peer's", "pdeml", "ratio"):
        rows.add_column(name, justify="left" if name in ("what", "peer") else "right")
    for w in result["writers"]:
        sync = " + fdatasync" if w["durability"] == "power" else ""
        for peer, key, ratio in (("pwrite", "plain", "ratio"), ("h5py", "h5py", "ratio_h5py")):
            rows.add_row(
                f"write {w['megabytes']:.0f} MB, durability {w['durability']}",
                peer + sync,
                f"{w[f'{key}_mb_s']:.0f} MB/s",
                f"{w['pdeml_mb_s']:.0f} MB/s",
                f"{w[ratio]:.2f}",
            )
    w = result["windows"]
    rows.add_row(
        f"window of 2×{GRID}²",
        "h5py, chunks",
        f"{w['h5py_us']:.1f} µs",
        f"{w['map_us']:.1f} µs",
        f"{w['ratio']:.1f}",
    )
    rows.add_row("loader, batches of 32", "–", "–", f"{w['loader_gb_s']:.2f} GB/s", "–")
    if result["well"] is not None:
        v = result["well"]
        peer = f"the_well {v['the_well'] or ''}"
        for kind, key, ratio in (
            ("one by one", "pdeml_us", "ratio"),
            ("batches of 32", "batched_us", "ratio_batched"),
        ):
            times = f"{v['peer_us']:.0f} µs", f"{v[key]:.1f} µs", f"{v[ratio]:.1f}"
            rows.add_row(f"window of a Well file, {kind}", peer, *times)
    lines = []
    for name, goal in result["goals"].items():
        relation = f"≥ {goal['at_least']:g}" if "at_least" in goal else f"≤ {goal['at_most']:g}"
        met = "met" if goal["met"] else "NOT met"
        lines.append(f"{name.replace('_', ' ')} {goal['value']:.3g} (goal {relation}): {met}")
    return Group(rows, *lines)
