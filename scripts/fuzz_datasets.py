"""Read mutants of data sets of every layout: each is refused or read, without crash, hang, escape.

python scripts/fuzz_datasets.py [mutants=100000] [seed=0]
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the makers of files are in tests/

from pdeml.errors import InvalidDataset
from pdeml.isolation import Isolation
from tests.data.fuzzing import SECONDS, SEEDS, fuzz

BATCH = 200
count, seed = (int(v) for v in (sys.argv[1:] + ["100000", "0"][len(sys.argv) - 1 :])[:2])
totals = dict.fromkeys(("refused", "same", "other", "stopped", "failed"), 0)
clock, slowest = time.perf_counter(), 0.0


def run(isolation, layout, folder, first, last):
    """One batch; mutant by mutant where it was stopped, which tells the one that did it."""
    try:
        return [isolation.call(fuzz, layout, folder, seed, first, last)]
    except InvalidDataset as error:
        if last - first == 1:
            print(f"STOPPED {layout}, mutant {first}: {error}", flush=True)
            return [{"stopped": 1, "failures": [], "slowest": 0.0}]
        return [r for k in range(first, last) for r in run(isolation, layout, folder, k, k + 1)]


with TemporaryDirectory() as folder, Isolation(time_limit=6 * SECONDS, memory_limit=2**30) as box:
    for layout in SEEDS:
        each = -(-count // len(SEEDS))
        for first in range(0, each, BATCH):
            for found in run(box, layout, folder, first, min(first + BATCH, each)):
                for name in totals:
                    totals[name] += found.get(name, 0)
                totals["failed"] += len(found["failures"])
                slowest = max(slowest, found["slowest"])
                for failure in found["failures"]:
                    print("FAILED", *failure, flush=True)
        print(f"{layout}: {totals} after {time.perf_counter() - clock:.0f} s", flush=True)
print(f"{sum(totals.values())} mutants, seed {seed}: {totals}, slowest {slowest:.2f} s")
sys.exit(totals["failed"] > 0)
