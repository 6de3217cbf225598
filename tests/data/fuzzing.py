"""Mutants of valid data sets: refused, or read without a crash; run in a process with limits.

A mutant may be read as other data where the layout has no checksum; where it has one,
`pdeml.data.verify` must name the sample.
"""

import os
import re
import shutil
import time
import warnings
from pathlib import Path

import h5py
import numpy as np

import pdeml
import pdeml.data.contained  # all that is needed, before the memory of the process is limited
from pdeml.data.handles import release
from pdeml.errors import InvalidDataset
from tests.data.foreign import LAYOUTS, values

SECONDS = 10.0  # of one mutant
TOKENS = (b"0", b"-1", b"1e999", b"NaN", b"9" * 400, b"null", b"[]", b'"x"', b"-Infinity", b"{}")
NUMBER = re.compile(rb"-?\d+(\.\d+)?(e-?\d+)?")
WORDS = (0, 1, 2**7, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


def own(folder, name="own.h5", **options):
    """A file of pdeml."""
    u = values(4, 3, 1, 7)
    with pdeml.data.Writer(
        folder / name, fields={"u": "f4"}, times=np.arange(3.0), axes={"x": np.arange(7.0)},
        samples=4, parameters=("nu",), durability="process", **options,
    ) as writer:  # fmt: skip
        for ids in writer.pending(batch=4):
            writer.commit(ids, u=u[ids], nu=ids * 0.5)
    return folder / name, {"u": u}


def own_compressed(folder):
    return own(folder, compression="gzip")


def exported(to, ending):
    def make(folder):
        _, expected = own(folder, "source.h5")
        pdeml.data.convert(folder / "source.h5", folder / f"out{ending}", to)
        (folder / "source.h5").unlink()
        return folder / f"out{ending}", expected

    return make


SEEDS = {
    **LAYOUTS,
    "pdeml": own,
    "pdeml, gzip": own_compressed,
    "export to PDEBench": exported("pdebench", ".h5"),
    "export to The Well": exported("well", ".hdf5"),
    "export to MATLAB": exported("mat", ".mat"),
    "export to APEBench": exported("apebench", ".json"),
    "export to DeepXDE": exported("deepxde", ".npz"),
}


def structure(path):
    """Places of a file that are no values of contiguous data sets: there mutants do the most."""
    size = path.stat().st_size
    mask = np.ones(size, bool)
    if h5py.is_hdf5(path):
        with h5py.File(path) as file:

            def visit(_, item):
                place = item.id.get_offset() if isinstance(item, h5py.Dataset) else None
                if place is not None and item.nbytes > 64:
                    mask[place : place + item.nbytes] = False

            file.visititems(visit)
    return np.flatnonzero(mask)


def mutant(data, places, generator):
    """Bytes or bits changed, a slice lost, doubled or cleared, the end cut off, numbers replaced;
    one to three of these."""
    for _ in range(generator.integers(1, 4)):
        if len(data) > 8:
            data = _once(bytearray(data), places, generator)
    return data


def _once(data, places, generator):
    within = places[places < len(data)]
    inside = len(within) and generator.random() < 0.8
    start = int(generator.choice(within) if inside else generator.integers(len(data)))
    kind = int(generator.integers(8))
    if kind == 0:
        for place in (start + generator.integers(0, 64, 4)).tolist():
            data[place % len(data)] = int(generator.integers(256))
    elif kind == 1:
        data[start] ^= 1 << int(generator.integers(8))
    elif kind == 2:
        del data[start : start + int(generator.integers(1, 40))]
    elif kind == 3:
        data[start:start] = data[start : start + 40]
    elif kind == 4 and generator.random() < 0.3:
        del data[start:]
    elif kind == 5:
        data[start : start + 16] = bytes(len(data[start : start + 16]))
    elif kind == 6 and data[:1] == b"{" and (found := list(NUMBER.finditer(data))):
        match = found[generator.integers(len(found))]
        data[match.start() : match.end()] = TOKENS[generator.integers(len(TOKENS))]
    else:
        size = int(generator.choice([1, 2, 4, 8]))
        word = WORDS[generator.integers(len(WORDS))].to_bytes(8, "little")[:size]
        data[start : start + size] = word
    return bytes(data)


def read(path):
    """Everything that a data set gives, by field."""
    ds = pdeml.data.open(path)
    for _ in (ds.times, ds.coords, ds.parameters, ds.contents.notes, repr(ds), ds.info()):
        pass
    if ds.nbytes > 2**26:  # a mutant may declare up to what it stores, times 1100
        return {name: ds.read(0, 0, name).numpy() for name in ds.fields}, ds
    return {name: ds.read(fields=name).numpy() for name in ds.fields}, ds


def same(one, other):
    return set(one) == set(other) and all(
        one[n].shape == other[n].shape and one[n].tobytes() == other[n].tobytes() for n in one
    )


def fuzz(layout, folder, seed, first, last):
    """Mutants `first` … `last` − 1 of one layout, each a function of the seed and its number."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    folder = Path(folder) / "mutants"
    shutil.rmtree(folder, ignore_errors=True)
    (valid := folder / "valid").mkdir(parents=True)
    path, _ = SEEDS[layout](valid)
    original, _ = read(path)
    files = sorted(p for p in valid.rglob("*") if p.is_file())
    places = [structure(p) for p in files]
    contents = [p.read_bytes() for p in files]
    open_before = _open_files()
    counts = dict.fromkeys(("refused", "same", "other"), 0)
    failures, slowest = [], 0.0
    for number in range(first, last):
        generator = np.random.default_rng([seed, number])
        chosen = int(generator.integers(len(files)))
        data = mutant(contents[chosen], places[chosen], generator)
        # a name of its own for each: nothing that is kept by name can stand for it
        copy = folder / f"m{number}"
        shutil.copytree(valid, copy, copy_function=os.link)
        changed = copy / files[chosen].relative_to(valid)
        changed.unlink()
        changed.write_bytes(data)
        clock = time.perf_counter()
        try:
            outcome = _outcome(copy / path.relative_to(valid), original)
        except InvalidDataset:
            outcome = "refused"
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        slowest = max(slowest, time.perf_counter() - clock)
        escaped = {p for p in _open_files() - open_before if not p.startswith(str(folder))}
        if escaped:
            outcome = f"opened {sorted(escaped)}"
        if outcome in counts:
            counts[outcome] += 1
        else:
            failures.append([layout, number, outcome])
        for file in copy.rglob("*"):
            release(file)
        shutil.rmtree(copy)
    return {**counts, "failures": failures, "slowest": slowest, "peak": peak_bytes()}


def _outcome(path, original):
    arrays, ds = read(path)
    if same(arrays, original):
        return "same"
    if ds.contents.checksums and ds.fields == tuple(original):
        whole = pdeml.data.verify(path)
        if whole.ok and len(ds) == len(next(iter(original.values()))):
            return "wrong data that verify accepts"
    return "other"


def _open_files():
    """Regular files that this process has open."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/")):
            found.add(target)
    return found


def peak_bytes():
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
