"""Read mutants of data sets of every layout: each is refused or read, without crash, hang, escape.

python scripts/fuzz_datasets.py [--mutants 100000] [--seeds 0 1 …] [--out FILE.json] [--minutes 5]

Each layout is done for each seed; what is done is kept in FILE, and the same command goes on there.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the makers of files are in tests/

from pdeml.bench.machine import describe_machine
from pdeml.errors import InvalidDataset
from pdeml.isolation import Isolation
from tests.data.fuzzing import SECONDS, SEEDS, fuzz

BATCH, MEMORY = 200, 2**30
COUNTS = ("refused", "same", "other", "stopped")

flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
flags.add_argument("--mutants", type=int, default=100_000, help="of all seeds together")
flags.add_argument("--seeds", type=int, nargs="+", default=[0])
flags.add_argument("--out", type=Path, help="JSON of what is done")
flags.add_argument("--minutes", type=float, default=float("inf"), help="stop after these")
args = flags.parse_args()
each = -(-args.mutants // (len(args.seeds) * len(SEEDS)))
described = {"mutants_per_layout_and_seed": each, "seeds": args.seeds}


def run(isolation, layout, folder, seed, first, last):
    """One batch; mutant by mutant where it was stopped, which tells the one that did it."""
    try:
        return [isolation.call(fuzz, layout, folder, seed, first, last)]
    except InvalidDataset as error:
        if last - first == 1:
            return [{"stopped": 1, "failures": [], "stops": [[layout, first, str(error)]]}]
        return [
            r for k in range(first, last) for r in run(isolation, layout, folder, seed, k, k + 1)
        ]


def layout_done(isolation, layout, folder, seed):
    row = {"layout": layout, "seed": seed, **dict.fromkeys(COUNTS, 0), "failures": [], "stops": []}
    row |= {"slowest_seconds": 0.0, "peak_bytes": 0}
    for first in range(0, each, BATCH):
        for found in run(isolation, layout, folder, seed, first, min(first + BATCH, each)):
            for name in COUNTS:
                row[name] += found.get(name, 0)
            row["failures"] += found["failures"]
            row["stops"] += found.get("stops", [])
            row["slowest_seconds"] = max(row["slowest_seconds"], found.get("slowest", 0.0))
            row["peak_bytes"] = max(row["peak_bytes"], found.get("peak", 0))
    return row


def summary(rows):
    total = {name: sum(row[name] for row in rows) for name in COUNTS}
    total["failed"] = sum(len(row["failures"]) for row in rows)
    return {
        "mutants": sum(total.values()),
        **total,
        "slowest_seconds": max(row["slowest_seconds"] for row in rows),
        "peak_bytes": max(row["peak_bytes"] for row in rows),
    }


rows, clock = [], time.perf_counter()
if args.out and args.out.exists():
    kept = json.loads(args.out.read_text())
    rows = kept["rows"] if kept["run"] == described else []
done = {(row["layout"], row["seed"]) for row in rows}
todo = [(layout, seed) for seed in args.seeds for layout in SEEDS if (layout, seed) not in done]
with TemporaryDirectory() as folder, Isolation(time_limit=6 * SECONDS, memory_limit=MEMORY) as box:
    for layout, seed in todo:
        if time.perf_counter() - clock > 60 * args.minutes:
            break
        rows.append(layout_done(box, layout, folder, seed))
        for fault in rows[-1]["failures"] + rows[-1]["stops"]:
            print("FAILED", "seed", seed, *fault, flush=True)
        print(f"seed {seed}, {layout}: {summary(rows[-1:])}", flush=True)
        if args.out:
            whole = {
                "command": "python scripts/fuzz_datasets.py --mutants "
                f"{args.mutants} --seeds {' '.join(map(str, args.seeds))} --out {args.out}",
                "machine": describe_machine(),
                "run": described,
                "complete": len(rows) == len(args.seeds) * len(SEEDS),
                "summary": summary(rows),
                "rows": rows,
            }
            args.out.write_text(json.dumps(whole, indent=1) + "\n")
print(summary(rows))
sys.exit(summary(rows)["failed"] + summary(rows)["stopped"] > 0)
