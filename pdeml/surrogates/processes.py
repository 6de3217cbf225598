"""One process or several under torchrun: devices and sums over them, by Lightning Fabric.

Fabric places tensors, starts the process group (gloo on CPU, NCCL on CUDA) and wraps the model in
DistributedDataParallel. The loop over batches is pdeml's own: Lightning's checkpoints hold neither
random states nor the place within an epoch, and a run must go on from both.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch

from pdeml import engine
from pdeml.errors import InvalidOption, MissingDependency


def fabric_for(device: str | torch.device) -> Any:
    """Fabric on a device, or on those of all processes of torchrun, launched.

    Raises
    ------
    MissingDependency
        Lightning is not installed.
    InvalidOption
        There are fewer CUDA devices than processes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies
            from lightning.fabric import Fabric
    except ImportError as error:
        raise MissingDependency(
            "training a surrogate needs Lightning, which is not installed: "
            "pip install 'pdeml[train]'."
        ) from error
    target = engine.resolve_device(device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    chosen: Any = 1 if target.type == "cpu" else [target.index or 0]
    if world > 1:
        chosen = local
        if target.type == "cuda" and torch.cuda.device_count() < local:
            raise InvalidOption(
                f"torchrun started {local} processes here and there are "
                f"{torch.cuda.device_count()} CUDA devices; start as many, or give device='cpu'."
            )
    fabric = Fabric(
        accelerator=target.type,
        devices=chosen,
        num_nodes=max(world // local, 1),
        strategy="ddp" if world > 1 else "auto",
    )
    fabric.launch()
    return fabric


def summed(fabric: Any, *values: float) -> list[float]:
    """Sums over all processes, in float64."""
    if fabric.world_size == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=fabric.device)
    return fabric.all_reduce(total, reduce_op="sum").tolist()


def largest(fabric: Any, value: int) -> int:
    """The largest of a number over all processes, so that they take the same decision."""
    if fabric.world_size == 1:
        return value
    total = torch.tensor(value, device=fabric.device)
    return int(fabric.all_reduce(total, reduce_op="max"))


def gathered(fabric: Any, state: dict[str, Any]) -> list[dict[str, Any]]:
    """The states of all processes, in the order of their ranks."""
    if fabric.world_size == 1:
        return [state]
    states: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(states, state)
    return states
