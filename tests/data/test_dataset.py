"""Views, windows and loaders: what is read is what was written, in any process."""

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import pdeml
from pdeml.data import Axis, FieldInfo, Writer, handles
from pdeml.data.concatenated import concatenate
from pdeml.errors import InvalidOption

S, T, N, M = 6, 11, 8, 12
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(S, T, 3, N, M)).astype("f4")
NU = np.arange(S) / 10


def written(path, compression=None):
    with Writer(
        path,
        fields=[FieldInfo("u", "f4"), FieldInfo("v", "f4", ("v_x", "v_y"))],
        times=np.arange(T) / 10,
        axes=[
            Axis("x", np.arange(N) / N, periodic=True, length=1.0),
            Axis("y", np.arange(M) / M, periodic=True, length=1.0),
        ],
        samples=S,
        parameters=["nu"],
        compression=compression,
    ) as writer:
        writer.commit(range(S), u=VALUES[:, :, 0], v=VALUES[:, :, 1:], nu=NU)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return written(tmp_path_factory.mktemp("data") / "a.h5")


@pytest.fixture(scope="module", params=[None, "lzf"])
def ds(request, tmp_path_factory):
    return pdeml.data.open(written(tmp_path_factory.mktemp("data") / "a.h5", request.param))


@pytest.mark.parametrize("samples", [None, 2, -1, slice(1, 6, 2), [4, 0, 4], torch.tensor([3, 1])])
@pytest.mark.parametrize("times", [None, 0, -1, slice(2, None, 3), [9, 1, 1], [3, 5, 7]])
def test_read_is_numpy_indexing(ds, samples, times):
    def index(i, n):
        return np.atleast_1d(np.arange(n)[slice(None) if i is None else i])

    expected = VALUES[index(samples, S)][:, index(times, T)]
    np.testing.assert_array_equal(ds.read(samples, times), expected)
    np.testing.assert_array_equal(ds.read(samples, times, "v"), expected[:, :, 1:])


def test_views_of_views(ds):
    view = ds.select([5, 3, 1], slice(1, None, 2), ["v"]).select([2, 0], slice(1, 4, 2))
    np.testing.assert_array_equal(view.read(), VALUES[[1, 5]][:, [3, 7]][:, :, 1:])
    assert view.shape == (2, 2, 2, N, M) and view.channels == ("v_x", "v_y")
    assert view.times.tolist() == pytest.approx([0.3, 0.7])
    assert view.params["nu"].tolist() == NU[[1, 5]].tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda ds: ds.read(S),
        lambda ds: ds.read(times=-T - 1),
        lambda ds: ds.read(fields="w"),
        lambda ds: ds.read(0.5),
        lambda ds: ds.select(times=slice(None, None, -1)),
        lambda ds: ds.select(times=slice(T, None)),
        lambda ds: ds.split((0.9, 0.2)),
        lambda ds: ds.split("stored"),
        lambda ds: ds.downsample(3),
        lambda ds: ds.downsample(2, "linear"),
        lambda ds: ds.windows(8, 5),
        lambda ds: ds.windows(0),
    ],
)
def test_bad_arguments(ds, wrong):
    with pytest.raises(InvalidOption):
        wrong(ds)


def test_split_is_a_partition_that_the_seed_fixes(ds):
    parts = ds.split((0.5, 0.3, 0.2), seed=3)
    assert sorted(i for p in parts for i in p.samples) == list(range(S))
    assert [len(p) for p in parts] == [3, 2, 1]
    again = ds.split((0.5, 0.3, 0.2), seed=3)
    assert all((a.samples == b.samples).all() for a, b in zip(parts, again, strict=True))


def test_to_xarray_has_labels(ds):
    labelled = ds.to_xarray()
    assert labelled["u"].dims == ("sample", "time", "x", "y")
    assert labelled["v"].dims == ("sample", "time", "component_v", "x", "y")
    np.testing.assert_array_equal(labelled["v"].sel(component_v="v_y"), VALUES[:, :, 2])
    assert labelled["nu"].dims == ("sample",)


# --------------------------------------------------------------------------------- down-sampling


def wave(n, points=64):
    x = np.arange(points) / points
    return np.cos(2 * np.pi * n * x + 0.3)


def periodic(tmp_path, values):
    with Writer(
        tmp_path / "w.h5",
        fields={"u": "c16" if np.iscomplexobj(values) else "f8"},
        times=[0.0],
        axes=[Axis("x", np.arange(64) / 64, periodic=True, length=1.0)],
        samples=1,
    ) as writer:
        writer.commit(0, u=values[None])
    return pdeml.data.open(tmp_path / "w.h5")


def test_spectral_downsampling_drops_what_striding_aliases(tmp_path):
    """Wave 13 on 16 points looks like wave 3; truncation removes it and keeps waves below 8."""
    ds = periodic(tmp_path, wave(3) + wave(13))
    kept, aliased = wave(3)[::4], wave(3)[::4] + wave(13)[::4]
    np.testing.assert_allclose(ds.downsample(4).read().flatten(), kept, atol=1e-14)
    np.testing.assert_allclose(ds.downsample(4, "stride").read().flatten(), aliased, atol=1e-14)
    means = (wave(3) + wave(13)).reshape(16, 4).mean(1)
    mean = ds.downsample(4, "mean")
    np.testing.assert_allclose(mean.read().flatten(), means, atol=1e-14)
    assert mean.axes[0].points[0] == pytest.approx(1.5 / 64)


def test_spectral_downsampling_of_complex_values(tmp_path):
    x = np.arange(64) / 64
    values = np.exp(2j * np.pi * 5 * x) + 2 * np.exp(-2j * np.pi * 7 * x)
    ds = periodic(tmp_path, values + np.exp(2j * np.pi * 20 * x))
    np.testing.assert_allclose(ds.downsample(4).read().flatten(), values[::4], atol=1e-14)


def test_downsampling_reaches_windows(ds):
    small = ds.downsample((2, 3), "stride")
    assert small.shape[3:] == (4, 4)
    batch = small.windows(2, 1).__getitems__([5])
    np.testing.assert_array_equal(batch["input"][0], VALUES[0, 5:7][:, :, ::2, ::3])


# --------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("t_in, t_out, stride, horizon, hop", [
    (1, 1, 1, 1, 1), (3, 2, 1, 1, 1), (2, 2, 2, 1, 3), (2, 3, 1, 2, 1), (1, 2, 2, 3, 2),
    (4, 0, 2, 1, 1), (1, 0, 1, 1, 1), (1, 1, 3, 2, 1),
])  # fmt: skip
@pytest.mark.parametrize("where", ["file", "memory"])
def test_windows_are_slices_of_time(ds, t_in, t_out, stride, horizon, hop, where):
    view = ds.select(slice(1, None)) if where == "file" else ds.select(slice(1, None)).cached()
    windows = view.windows(t_in, t_out, stride=stride, horizon=horizon, hop=hop)
    frames = [
        k * stride for k in (*range(t_in), *range(t_in - 1 + horizon, t_in - 1 + horizon + t_out))
    ]
    starts = range(0, T - frames[-1], hop)
    assert len(windows) == (S - 1) * len(starts)
    index = np.random.default_rng(1).permutation(len(windows))[:20].tolist()
    batch = windows.__getitems__(index)
    for row, i in enumerate(index):
        sample, start = 1 + i // len(starts), starts[i % len(starts)]
        both = torch.cat([batch["input"][row], batch["target"][row]])
        np.testing.assert_array_equal(both, VALUES[sample, [start + f for f in frames]])
        assert batch["start"][row] == start and batch["nu"][row] == NU[sample]
        if where == "file":
            assert batch["sample"][row] == sample
    assert torch.equal(windows[index[0]]["input"], batch["input"][0])


def test_windows_of_a_view_with_a_stride_in_time(ds):
    batch = ds.select(times=slice(1, None, 2)).windows(2, 1).__getitems__([1])
    np.testing.assert_array_equal(batch["input"][0], VALUES[0, [3, 5]])
    np.testing.assert_array_equal(batch["target"][0], VALUES[0, [7]])


@pytest.mark.parametrize("block", [None, 2])
def test_an_epoch_holds_every_window_once_and_the_next_is_another(ds, block):
    windows = ds.windows(2, 1)
    loader = windows.loader(batch=7, seed=5, block=block)

    def epoch():
        return [
            (int(a), int(b))
            for batch in loader
            for a, b in zip(batch["sample"], batch["start"], strict=True)
        ]

    first, second = epoch(), epoch()
    everything = [(s, t) for s in range(S) for t in range(T - 2)]
    assert sorted(first) == sorted(second) == everything
    assert first != second and first != everything
    if block:
        assert {s for s, _ in first[: 2 * (T - 2)]} == {s for s, _ in first[:1]} | {
            next(s for s, _ in first if s != first[0][0])
        }
    again = windows.loader(batch=7, seed=5, block=block)
    again.sampler.epoch = 1
    resumed = [int(t) for batch in again for t in batch["start"]]
    assert resumed == [t for _, t in second]


def fingerprint(loader):
    return sorted(
        (int(s), int(t), float(u.double().sum()))
        for batch in loader
        for s, t, u in zip(batch["sample"], batch["start"], batch["input"], strict=True)
    )


@pytest.mark.parametrize(
    "method, workers",
    [
        ("fork", 2),
        ("fork", 4),
        ("spawn", 1),
        # a new interpreter takes seconds
        *(pytest.param("spawn", n, marks=pytest.mark.slow) for n in (2, 4)),
        *(pytest.param("forkserver", n, marks=pytest.mark.slow) for n in (2, 4)),
    ],
)
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_of_any_start_method_read_the_same(path, method, workers):
    """The data set is touched in the parent first: a forked handle would give wrong data."""
    windows = pdeml.data.open(path).windows(2, 1)
    expected = fingerprint(windows.loader(batch=5))
    loader = windows.loader(batch=5, workers=workers, start_method=method)
    assert fingerprint(loader) == expected


def test_forked_children_read_compressed_files(tmp_path):
    """HDF5 handles are not shared with children: all read at once, and all read the same."""
    ds = pdeml.data.open(written(tmp_path / "a.h5", "gzip"))
    expected = ds.read().double().sum().item()
    # one thread, as in a worker of a DataLoader: OpenMP's threads do not survive a fork
    single = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with multiprocessing.get_context("fork").Pool(4, **single) as pool:
        sums = pool.map(_total, [ds] * 16)
    assert sums == [expected] * 16


def _total(ds):
    return ds.read().double().sum().item()


def test_a_forked_child_starts_without_handles(tmp_path):
    """A handle that parent and child share has one place in the file for both."""
    path = written(tmp_path / "a.h5", "gzip")
    pdeml.data.open(path).read(0)
    assert str(path) in handles._opened
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_handles) == []


def _handles():
    return list(handles._opened)


def test_a_data_set_is_sent_as_paths(ds):
    text = pickle.dumps(ds)
    assert len(text) < 20_000
    assert torch.equal(pickle.loads(text).read(2), ds.read(2))


def resident(pids):
    """Bytes of memory, mapped files included, that processes have now."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def opened(pid, folder):
    """How many files of a folder a process has open."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return sum(os.path.realpath(link).startswith(str(folder)) for link in links)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("compression", [None, "lzf"])
@pytest.mark.parametrize(
    ("workers", "epochs"), [(0, 5), *(pytest.param(n, 20, marks=pytest.mark.slow) for n in (0, 2))]
)
def test_many_files_do_not_pile_up(tmp_path, compression, workers, epochs):
    """Epochs over 100 files of 1 MB: at most 64 stay open, and memory does not grow."""
    with Writer(
        tmp_path / "0.h5", fields={"u": "f4"}, times=np.arange(4), axes={"x": np.arange(2**14)},
        samples=4, durability="process", compression=compression,
    ) as writer:  # fmt: skip
        writer.commit(range(4), u=RNG.integers(0, 1000, size=(4, 4, 2**14)))
    one = (tmp_path / "0.h5").read_bytes()
    paths = [tmp_path / f"{i}.h5" for i in range(100)]
    for path in paths[1:]:
        path.write_bytes(one)
    source = concatenate([pdeml.data.open(path).source for path in paths])
    windows = pdeml.data.Dataset(source).windows(2, 2)
    loader = windows.loader(batch=16, workers=workers, start_method="fork", seed=0)

    def epoch():
        return sum(float(batch["input"].double().sum()) for batch in loader)

    sums = [epoch() for _ in range(2)]
    pids = [os.getpid(), *(p.pid for p in multiprocessing.active_children())][: 1 + workers]
    before = resident(pids)
    sums += [epoch() for _ in range(epochs - 2)]
    assert set(sums) == {sums[0]}
    assert resident(pids) - before < 50e6
    assert 0 < opened(pids[-1], tmp_path) <= 64 and opened(pids[0], tmp_path) <= 64


def test_cached_reads_no_file(path):
    ds = pdeml.data.open(path).select(fields=["u"]).cached()
    np.testing.assert_array_equal(ds.read(1, 2), VALUES[1:2, 2:3, :1])
    assert pdeml.data.open(path).cached(limit=1e-12).source is not ds.source


@pytest.mark.gpu
def test_cache_on_the_gpu_gathers_there(path):
    batch = pdeml.data.open(path).cached("cuda").windows(2, 1).__getitems__([3])
    assert batch["input"].is_cuda
    np.testing.assert_array_equal(batch["input"][0].cpu(), VALUES[0, 3:5])
