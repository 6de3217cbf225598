"""Devices, dtypes, generators, and files that are whole or not there at all.

A state file is an HDF5 file behind a 512-byte user block. The block holds the SHA-256 digest of
every byte after it, so that a damaged file is refused before the HDF5 library parses one byte of
it; `h5dump` and h5py still open the file. A crafted file with a right digest is refused by
structure.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import torch
from torch import Tensor

from pdeml.errors import InvalidFile, InvalidOption, OutputError

FORMAT = "pdeml-state"
VERSION = 1
BLOCK_BYTES = 512  # the smallest user block that HDF5 allows
MAX_OBJECTS = 10_000
MAX_FILE_BYTES = 16 * 2**30
MAX_META_BYTES = 256 * 2**20
CHUNK_BYTES = 2**20  # datasets up to this size are one chunk
KINDS = "biufc"  # bool, signed, unsigned, float, complex

# What h5py and NumPy raise on broken input.
READ_ERRORS = (
    OSError,
    RuntimeError,
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
)


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Torch device of a name; ``"auto"`` is CUDA if there, else the CPU.

    Parameters
    ----------
    device : ``"auto"``, a name (``"cpu"``, ``"cuda"``, ``"cuda:1"``, …) or a ``torch.device``.

    Raises
    ------
    InvalidOption
        The name is unknown, or names a CUDA device that this machine does not have.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidOption(
            f"device={device!r} is not a torch device. Use 'auto', 'cpu', 'cuda' or 'cuda:N'."
        ) from error
    if resolved.type == "cuda":
        count = torch.cuda.device_count()
        if not torch.cuda.is_available() or (resolved.index or 0) >= count:
            raise InvalidOption(
                f"device={str(device)!r} is asked, but torch sees {count} CUDA device(s). "
                "Use device='auto' or 'cpu', or install a CUDA build of torch."
            )
    return resolved


def resolve_dtype(
    dtype: str | torch.dtype | None, default: torch.dtype = torch.float64
) -> torch.dtype:
    """Torch dtype of a name such as ``"float32"``; ``None`` gives `default`.

    Raises
    ------
    InvalidOption
        The name is not a floating-point or complex dtype of torch.
    """
    if dtype is None:
        return default
    resolved = getattr(torch, dtype.removeprefix("torch."), None) if type(dtype) is str else dtype
    if not isinstance(resolved, torch.dtype) or not (
        resolved.is_floating_point or resolved.is_complex
    ):
        raise InvalidOption(
            f"dtype={dtype!r} is not accepted. Use 'float64', 'float32', 'float16', 'bfloat16', "
            "'complex128' or 'complex64'."
        )
    return resolved


def generator(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator on `device` that starts from `seed`, an integer in [0, 2⁶³).

    Raises
    ------
    InvalidOption
        The seed is not such an integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InvalidOption(f"seed={seed!r} is not an integer between 0 and 2**63 - 1.")
    return torch.Generator(device=device).manual_seed(seed)


@functools.cache
def keep_freed_memory() -> None:
    """Let the C library keep up to 64 MB of freed memory for the next tensors, once per process.

    glibc gives freed blocks of more than 128 kB back to the system until it has freed a larger one;
    a loop over tensors of a megabyte then faults every page in again at every step, which makes it
    up to five times slower. One untouched block of 31 MB raises the limit; it costs nothing.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all: temporary name beside it, fsync, rename, fsync the folder.

    Raises
    ------
    OutputError
        The folder or disk refuses; the message names the path. An older file is unchanged.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    created = replaced = False
    descriptor = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        created = True
        view = memoryview(data)
        while len(view):
            view = view[os.write(descriptor, view[: 2**26]) :]
        os.fsync(descriptor)
        opened, descriptor = descriptor, None
        os.close(opened)
        os.replace(temporary, target)
        replaced = True
        if os.name == "posix":
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        state = "The new file is in place" if replaced else "What was there before is unchanged"
        raise OutputError(
            f"Cannot write {str(path)!r}: {error.strerror or error}. {state}. "
            "Free some space, or give a path in a folder that you may write to."
        ) from error
    finally:
        if descriptor is not None:
            os.close(descriptor)
        if created and not replaced:
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8) whole or not at all.

    Raises
    ------
    OutputError
        The folder or disk refuses; the message names the path. An older file is unchanged.
    """
    write_bytes(path, text.encode("utf-8"))


def _as_array(name: str, value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        if value.dtype == torch.bfloat16:
            raise InvalidOption(f"Array {name!r} is bfloat16, which HDF5 has not: cast to float32.")
        value = value.numpy()
    array = np.asarray(value)
    if array.dtype.kind not in KINDS:
        raise InvalidOption(
            f"Array {name!r} has dtype {array.dtype}; a state holds bool, integer, real or complex "
            "arrays alone."
        )
    return array


def _block(digest: str) -> bytes:
    text = f"{FORMAT} {VERSION}\nsha256 {digest}\n"
    return text.encode("ascii").ljust(BLOCK_BYTES, b"\0")


def _link_name(name: str) -> str:
    quoted = quote(name, safe=" ")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def write_state(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray | Tensor],
    meta: Mapping[str, Any],
    kind: str,
) -> None:
    """Write one state (named arrays and JSON metadata) to one HDF5 file, whole or not at all.

    Layout: a user block with the digest, dataset ``state`` (JSON text of format, version, kind and
    metadata) and one dataset per array in group ``arrays`` (names percent-encoded), newest format,
    Fletcher-32 where a shape allows it.

    Parameters
    ----------
    path : the file; missing folders are made.
    arrays : bool, integer, real or complex arrays or tensors; dtype and shape are kept.
    meta : anything JSON can hold (NaN and infinity too).
    kind : what the state is, for instance ``"solution"``; `read_state` must be given the same.

    Raises
    ------
    OutputError
        The file cannot be written; an older file of that name is unchanged.
    InvalidOption
        An array or the metadata cannot be stored.
    """
    import h5py

    try:
        text = json.dumps(
            {"format": FORMAT, "version": VERSION, "kind": kind, "meta": dict(meta)}
        ).encode("ascii")
    except (TypeError, ValueError) as error:
        raise InvalidOption(f"The metadata of a state must be JSON data: {error}.") from error
    with h5py.File(
        "state.h5",
        "w",
        driver="core",
        backing_store=False,
        libver="latest",
        userblock_size=BLOCK_BYTES,
    ) as file:
        file.create_dataset("state", data=np.bytes_(text))
        group = file.create_group("arrays")
        for name in sorted(arrays):
            array = _as_array(name, arrays[name])
            layout: dict[str, Any] = {}
            if array.ndim and array.size:
                layout["chunks"] = array.shape if array.nbytes <= CHUNK_BYTES else True
                layout["fletcher32"] = True
            group.create_dataset(_link_name(name), data=array, **layout)
        file.flush()
        image = file.id.get_file_image()  # without the user block
    write_bytes(path, _block(hashlib.sha256(image).hexdigest()) + image)


def read_state(
    path: str | os.PathLike[str], kind: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_state` wrote: arrays by name, and the metadata.

    The digest is verified before HDF5 sees the file, the structure before any array is read:
    no soft, external or user-defined links, external storage, virtual data sets, references,
    attributes, filters other than Fletcher-32, nested groups, more than 10,000 objects, or data
    sets that declare more than the file stores.

    Raises
    ------
    InvalidFile
        The file is damaged, foreign, hostile or of another kind.
    FileNotFoundError, PermissionError
        The file cannot be opened at all.
    """
    import h5py

    size = os.stat(path).st_size
    if size > MAX_FILE_BYTES:
        raise InvalidFile(
            f"{str(path)!r} has {size} bytes; a state may have {MAX_FILE_BYTES} at most."
        )
    data = Path(path).read_bytes()
    block, image = data[:BLOCK_BYTES], memoryview(data)[BLOCK_BYTES:]
    if not block.startswith(f"{FORMAT} ".encode("ascii")):
        raise InvalidFile(f"{str(path)!r} is not a pdeml state file. Give a file that pdeml saved.")
    if block != _block(hashlib.sha256(image).hexdigest()):
        raise InvalidFile(
            f"{str(path)!r} is damaged or of another version: its digest (format {VERSION}) does "
            "not match its content. Use another copy, or the version of pdeml that wrote it."
        )
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return _read_checked(file, len(data), str(path), kind)
    except InvalidFile:
        raise
    except READ_ERRORS as error:
        raise InvalidFile(f"{str(path)!r} is not a readable state: {error}") from error


def _read_checked(
    file: Any, size: int, path: str, kind: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    import h5py

    def refuse(what: str) -> InvalidFile:
        return InvalidFile(
            f"{path!r} is refused: {what}, which no state of pdeml has. "
            "Use a file from a source you trust."
        )

    def check_link(group: Any, name: bytes, expected: int) -> None:
        shown = name.decode("utf-8", "replace")[:80]
        if group.id.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            raise refuse(f"{shown!r} is a soft, external or user-defined link")
        if h5py.h5o.get_info(group.id, name).type != expected:
            raise refuse(f"object {shown!r} is of an unexpected type")

    def check_attributes(thing: Any) -> None:
        if h5py.h5a.get_num_attrs(thing.id):
            raise refuse(f"object {thing.name!r} has attributes")

    def check_dataset(dataset: Any, kinds: str) -> int:
        check_attributes(dataset)
        shown = str(dataset.name)[:80]
        properties = dataset.id.get_create_plist()
        if properties.get_layout() == h5py.h5d.VIRTUAL:
            raise refuse(f"{shown!r} is a virtual data set")
        if properties.get_external_count():
            raise refuse(f"{shown!r} uses external storage")
        for i in range(properties.get_nfilters()):
            if properties.get_filter(i)[0] != h5py.h5z.FILTER_FLETCHER32:
                raise refuse(f"{shown!r} uses a filter other than Fletcher-32")
        allowed: tuple[Any, ...] = (
            h5py.h5t.INTEGER,
            h5py.h5t.FLOAT,
            h5py.h5t.ENUM,
            h5py.h5t.COMPOUND,
        )
        if "S" in kinds:
            allowed = (h5py.h5t.STRING,)
        elif hasattr(h5py.h5t, "COMPLEX"):
            allowed += (h5py.h5t.COMPLEX,)
        kind_of_type = dataset.id.get_type()
        if kind_of_type.get_class() not in allowed or dataset.dtype.kind not in kinds:
            raise refuse(f"{shown!r} holds values of type {dataset.dtype} (references, objects, …)")
        if dataset.shape is None:
            raise refuse(f"{shown!r} is an empty data space")
        declared = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
        if declared > size or (declared > dataset.id.get_storage_size()):
            raise refuse(f"{shown!r} declares {declared} bytes, more than the file stores")
        return declared

    root = file["/"]
    check_attributes(root)
    if len(root) != 2 or sorted(root) != ["arrays", "state"]:
        raise refuse("the top level holds other things than 'arrays' and 'state'")
    check_link(root, b"state", h5py.h5o.TYPE_DATASET)
    check_link(root, b"arrays", h5py.h5o.TYPE_GROUP)
    state, group = root["state"], root["arrays"]
    check_attributes(group)
    if check_dataset(state, "S") > MAX_META_BYTES or state.shape != ():
        raise refuse("the metadata is too long or not one text")
    if len(group) > MAX_OBJECTS:
        raise refuse(f"it holds {len(group)} objects (at most {MAX_OBJECTS})")
    total = 0
    for name in group:
        check_link(group, name.encode("utf-8"), h5py.h5o.TYPE_DATASET)
        total += check_dataset(group[name], KINDS)
    if total > size:
        raise refuse(f"its data sets declare {total} bytes in a file of {size}")

    content = json.loads(bytes(state[()]))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise refuse("its metadata is of another format")
    if content.get("version") != VERSION:
        raise InvalidFile(f"{path!r} has format version {content.get('version')!r}, not {VERSION}.")
    if content.get("kind") != kind:
        raise InvalidFile(
            f"{path!r} holds a {content.get('kind')!r}, but a {kind!r} is expected here."
        )
    meta = content.get("meta")
    if not isinstance(meta, dict):
        raise refuse("its metadata is not a table")
    return {unquote(name): np.asarray(group[name][()]) for name in group}, meta
