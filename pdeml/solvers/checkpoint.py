"""Nested states of a run (optimizer, generators, points) as one flat, digest-protected file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pdeml.engine import read_state, write_state
from pdeml.errors import InvalidFile

KIND = "pdeml checkpoint"


def pack(tree: Any, arrays: dict[str, Tensor], prefix: str = "") -> Any:
    """The tree with every tensor replaced by a reference into `arrays`; plain types only."""
    if isinstance(tree, Tensor):
        arrays[prefix] = tree.detach().cpu()
        return {"tensor": prefix}
    if isinstance(tree, Mapping):
        return {"items": [[k, pack(v, arrays, f"{prefix}/{k}")] for k, v in tree.items()]}
    if isinstance(tree, list | tuple):
        return {"list": [pack(v, arrays, f"{prefix}/{i}") for i, v in enumerate(tree)]}
    if tree is None or isinstance(tree, str | bool | int | float):
        return {"value": tree}
    raise TypeError(f"a checkpoint holds tensors and plain values, not {type(tree).__name__}")


def unpack(node: Any, arrays: Mapping[str, Any], device: torch.device) -> Any:
    """Inverse of `pack`."""
    match node:
        case {"tensor": name}:
            tensor = torch.from_numpy(arrays[name].copy())
            return tensor if tensor.dtype == torch.uint8 else tensor.to(device)
        case {"items": items}:
            return {k: unpack(v, arrays, device) for k, v in items}
        case {"list": items}:
            return [unpack(v, arrays, device) for v in items]
        case {"value": value}:
            return value
    raise InvalidFile("the checkpoint holds a node of unknown form; it was not written by pdeml.")


def save_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any], identity: str) -> None:
    """Write the state atomically. `identity` names the problem and options it belongs to."""
    arrays: dict[str, Tensor] = {}
    tree = pack(state, arrays)
    write_state(path, arrays, {"tree": tree, "identity": identity}, KIND)


def load_checkpoint(
    path: str | os.PathLike[str], identity: str, device: torch.device
) -> dict[str, Any]:
    """Read a state back; `InvalidFile` where it belongs to another problem or other options."""
    arrays, meta = read_state(path, KIND)
    if meta["identity"] != identity:
        raise InvalidFile(
            f"{os.fspath(path)} belongs to another problem or other options; resume with those it "
            "was started with, or start anew without resume."
        )
    return unpack(meta["tree"], arrays, device)
