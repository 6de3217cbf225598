"""neuraloperator's FNO in a process of its own: ``python operators_worker.py FOLDER``.

Runs with an interpreter that has neuraloperator and needs nothing of pdeml. Reads one JSON object a
line and answers with one: ``prepare`` (builds a model, writes its weights, an input and its output
to FOLDER/peer.npz), ``inference`` and ``step`` (seconds of one run).
"""

from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main(folder: str) -> None:
    warnings.simplefilter("ignore")
    import numpy as np
    import torch
    from neuralop.models import FNO

    torch.set_num_threads(1)
    torch.empty(31 * 2**20, dtype=torch.uint8)  # keep freed memory, as on the other side
    print(json.dumps({"neuraloperator": version("neuraloperator"), "torch": torch.__version__}))
    sys.stdout.flush()
    model: Any = None
    x: Any = None
    target: Any = None
    optimizer: Any = None

    def prepare(modes: list[int], width: int, points: list[int], batch: int) -> dict[str, Any]:
        nonlocal model, x, target, optimizer
        torch.manual_seed(1)
        model = FNO(tuple(modes), in_channels=1, out_channels=1, hidden_channels=width)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        x, target = torch.randn(2, batch, 1, *points).unbind(0)
        with torch.no_grad():
            y = model(x)
        tensors = {k: v for k, v in model.state_dict().items() if isinstance(v, torch.Tensor)}
        arrays: dict[str, Any] = {f"state/{k}": v.numpy() for k, v in tensors.items()}
        path = Path(folder) / "peer.npz"
        np.savez(path, x=x.numpy(), target=target.numpy(), y=y.numpy(), **arrays)
        return {"parameters": sum(p.numel() for p in model.parameters())}

    def inference() -> dict[str, Any]:
        begin = time.perf_counter()
        with torch.no_grad():
            model(x)
        return {"seconds": time.perf_counter() - begin}

    def step() -> dict[str, Any]:
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss = (model(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        return {"seconds": time.perf_counter() - begin, "loss": loss.item()}

    actions: dict[str, Any] = {"prepare": prepare, "inference": inference, "step": step}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = actions[request.pop("action")](**request)
        except Exception as error:  # the other side raises it; the trace goes to standard error
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer))
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
