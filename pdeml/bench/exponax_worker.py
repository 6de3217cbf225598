"""Runs exponax on request: one JSON object per line on standard input, one per line as answer.

A program of its own, so that JAX is started with one thread and the precision of the case, and so
that it may run in another environment than pdeml's. It needs exponax and nothing of pdeml.

    (started)                                  -> {"exponax": version, "jax": version, "device": …}
    {"action": "prepare", "stepper": name, "arguments": {…}, "steps": n, "initial": "u.npy"}
                                               -> {"variant": …}     compiled, warm
    {"action": "run"}                          -> {"seconds": s}     n steps of the whole batch
    {"action": "save", "path": "u.npy"}        -> {}                 the state after these steps

A request that fails is answered by {"error": text}. The end of standard input ends the program.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from typing import Any

WARM_UP = 2


class Runs:
    """What was prepared last: its compiled function, its initial state, its last result."""

    def __init__(self) -> None:
        import exponax
        import jax

        self.exponax, self.jax = exponax, jax
        self.function: Any = None
        self.initial: Any = None
        self.final: Any = None

    def hello(self) -> dict[str, Any]:
        from importlib.metadata import version

        device = self.jax.devices()[0]
        return {"exponax": version("exponax"), "jax": version("jax"), "device": str(device)}

    def seconds(self) -> float:
        start = time.perf_counter()
        self.final = self.jax.block_until_ready(self.function(self.initial))
        return time.perf_counter() - start

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Compile the two ways of stepping a batch that exponax has, and keep the faster one.

        Both stay in Fourier space for all steps. ``vmap`` advances the batch together, ``map`` one
        trajectory after the other, which keeps large grids in the cache.
        """
        import numpy as np

        stepper = getattr(self.exponax.stepper, request["stepper"])(**request["arguments"])
        repeated = self.exponax.RepeatedStepper(stepper, request["steps"])
        self.initial = self.jax.numpy.asarray(np.load(request["initial"]))
        variants = {"vmap": self.jax.jit(self.jax.vmap(repeated))}
        if len(self.initial) > 1:
            variants["map"] = self.jax.jit(lambda u: self.jax.lax.map(repeated, u))
        times = {}
        for name, function in variants.items():
            self.function = function
            times[name] = min(self.seconds() for _ in range(1 + WARM_UP))
        best = min(times, key=lambda name: times[name])
        self.function = variants[best]
        return {"variant": best}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        action = request["action"]
        if action == "prepare":
            return self.prepare(request)
        if action == "run":
            return {"seconds": self.seconds()}
        if action == "save":
            np.save(request["path"], np.asarray(self.final))
            return {}
        raise ValueError(f"unknown action {action!r}")


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # exponax prints hints; answers stay clean

    def reply(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        runs = Runs()
        reply(runs.hello())
    except Exception as error:  # whatever stops JAX from starting is for the other side to tell
        traceback.print_exc()
        reply({"error": f"{type(error).__name__}: {error}"})
        return
    for line in sys.stdin:
        try:
            reply(runs.answer(json.loads(line)))
        except Exception as error:  # the other side raises it; the trace goes to standard error
            traceback.print_exc()
            reply({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
