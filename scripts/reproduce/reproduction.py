"""What the reproduction scripts share: arguments, and results with what makes them comparable."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pdeml.bench.machine import describe_machine
from pdeml.engine import write_text


def arguments(
    description: str, time_limit: float | None = None, seeds: tuple[int, ...] = (0,)
) -> argparse.Namespace:
    """Parse --seed, --device, --time-limit (where runs have one), --threads, --json and --out."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, nargs="+", default=list(seeds), help="one run per seed")
    parser.add_argument("--device", default="cpu")
    if time_limit is not None:
        parser.add_argument(
            "--time-limit", type=float, default=time_limit, help="seconds per training"
        )
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, default=None, help="write the result to this JSON file")
    parsed = parser.parse_args()
    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    return parsed


def reproduce(
    args: argparse.Namespace, goal: str, run: Callable[[int], dict[str, Any]]
) -> dict[str, Any]:
    """Run once per seed; print the figures, or JSON; write the file that was asked for."""
    runs = []
    for seed in args.seed:
        start = time.perf_counter()
        figures = run(seed)
        runs.append({"seed": seed, **figures, "total_seconds": time.perf_counter() - start})
        if not args.json:
            text = ", ".join(f"{k} {_shown(v)}" for k, v in runs[-1].items())
            print(text, flush=True)
    result = {
        "command": _command(),
        "goal": goal,
        "device": args.device,
        "time_limit": getattr(args, "time_limit", None),
        "load_average": os.getloadavg()[0],
        "machine": describe_machine(),
        "runs": runs,
    }
    if args.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    if args.out is not None:
        write_text(args.out, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return result


def _command() -> str:
    """What to type to run this again; where the result was written does not belong to it."""
    words = [f"scripts/reproduce/{Path(sys.argv[0]).name}", *sys.argv[1:]]
    if "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    return " ".join(["python", *words])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"({', '.join(f'{k} {_shown(v)}' for k, v in value.items() if k != 'runs')})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
