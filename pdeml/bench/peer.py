"""A peer package in a process of its own, driven line by line: `pdeml.bench.exponax_worker`."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pdeml.errors import InvalidOption, MissingDependency, PdemlError

VARIABLE = "PDEML_BENCH_PYTHON"
WORKER = Path(__file__).with_name("exponax_worker.py")


def interpreter(
    python: str | None = None,
    *,
    package: str = "exponax",
    module: str = "exponax",
    requirement: str = "exponax==0.2.0",
) -> str:
    """The interpreter that has a peer package.

    Parameters
    ----------
    python : the one to use; default: that of the environment variable PDEML_BENCH_PYTHON, else the
        one that runs this.
    package, module, requirement : its name, that of its module, and what pip is told.

    Raises
    ------
    InvalidOption
        The interpreter cannot be run.
    MissingDependency
        It has no such package; the message holds the pip command.
    """
    given = python or os.environ.get(VARIABLE) or None
    if given is None:
        found = importlib.util.find_spec(module) is not None
    else:
        look = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
        try:
            found = subprocess.run([given, "-c", look], capture_output=True).returncode == 0
        except OSError as error:
            raise InvalidOption(
                f"{given!r} cannot be run ({error.strerror}); give the path of a Python "
                f"interpreter to --peer-python or in {VARIABLE}."
            ) from error
    if not found:
        raise MissingDependency(
            f"this benchmark compares with {package}, which {given or sys.executable} has not: "
            f"pip install '{requirement}', or name an interpreter that has it by --peer-python "
            f"or in {VARIABLE}"
        )
    return given or sys.executable


class Peer:
    """exponax in a subprocess with one thread; a context manager.

    Parameters
    ----------
    python : its interpreter.
    dtype : float32 or float64 for everything that it computes.
    device : ``"cpu"`` or ``"cuda"``.

    Attributes
    ----------
    versions : of exponax and jax, and JAX's name of the device.

    Raises
    ------
    PdemlError
        The peer answers with an error, or ends; the message holds its own.
    """

    def __init__(self, python: str, dtype: torch.dtype = torch.float64, device: str = "cpu"):
        self._dtype = dtype
        self._folder = tempfile.TemporaryDirectory(prefix="pdeml-bench-")
        self._log = open(self._path("log.txt"), "w+")
        environment = {
            **os.environ,
            "JAX_PLATFORMS": device,
            "JAX_ENABLE_X64": str(int(dtype == torch.float64)),
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # the device is shared with pdeml
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
            "PYTHONSAFEPATH": "1",  # the worker's folder is not for imports
        }
        self._process = subprocess.Popen(
            [python, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
        )
        try:
            self.versions = self._answer()
        except PdemlError:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()  # it holds nothing that must be written
        self._process.communicate()
        self._log.close()
        self._folder.cleanup()

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / name

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise PdemlError(f"the process of the peer ended: {self._log.read()[-2000:].strip()}")
        content = json.loads(line)
        if "error" in content:
            raise PdemlError(f"the peer answers: {content['error']}")
        return content

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says why
        return self._answer()

    def prepare(self, stepper: str, arguments: dict[str, Any], steps: int, initial: Tensor) -> str:
        """Compile `steps` steps of a batch and run them for warm-up.

        Parameters
        ----------
        stepper, arguments : a class of ``exponax.stepper`` and its arguments.
        steps : of one run.
        initial : (batch, channel, *space).

        Returns
        -------
        str
            The faster way of stepping the batch, which the next runs take: vmap or map.
        """
        path = self._path("initial.npy")
        np.save(path, initial.to(self._dtype).cpu().numpy())
        request = {"stepper": stepper, "arguments": arguments, "steps": steps}
        return str(self._ask(action="prepare", initial=str(path), **request)["variant"])

    def seconds(self) -> float:
        """Time of one run of what was prepared, measured on its side."""
        return float(self._ask(action="run")["seconds"])

    def final(self) -> Tensor:
        """The state after the last run, (batch, channel, *space)."""
        path = self._path("final.npy")
        self._ask(action="save", path=str(path))
        return torch.from_numpy(np.load(path))
