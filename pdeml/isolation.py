"""Functions in a process of their own, with limits of time and memory.

Libraries that parse files may hang or crash on damaged or hostile ones, and no check beforehand
prevents all of it. Only another process can be stopped, and can die alone.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from pdeml import errors
from pdeml.errors import InvalidDataset, InvalidOption, PdemlError

START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pdeml import isolation; isolation.serve(int(sys.argv[2]))"
)
# Importing torch on a busy machine is not what is limited.
START_SECONDS = 300.0

Result = dict[str, Any]


def run_isolated(
    function: Callable[..., Result],
    *arguments: Any,
    time_limit: float = 60.0,
    memory_limit: int = 2**31,
    error: type[PdemlError] = InvalidDataset,
) -> Result:
    """The result of a function that another process has called.

    It costs the start of an interpreter and the imports of the function's module, up to a few
    seconds; keep an `Isolation` for several calls.

    Parameters
    ----------
    function : of a module that the other process can import.
    arguments : JSON data, such as the path of a file as text.
    time_limit : seconds that the call may take, once its module is imported.
    memory_limit : bytes that the call may allocate (enforced on Linux alone).
    error : raised if the process exceeds its limits or dies.

    Returns
    -------
    A table of NumPy arrays and JSON data: what the function must return.

    Raises
    ------
    error
        If the call exceeds a limit, kills its process, or raises what is no error of pdeml.
    PdemlError
        What the function itself has raised.
    InvalidOption
        If the function or an argument cannot be sent.
    """
    with Isolation(time_limit=time_limit, memory_limit=memory_limit, error=error) as isolation:
        return isolation.call(function, *arguments)


class Isolation:
    """A process for several calls, which is started again after one that killed it.

    Parameters and errors are those of `run_isolated`. Use it in a ``with`` statement: the process
    ends there.
    """

    def __init__(
        self,
        *,
        time_limit: float = 60.0,
        memory_limit: int = 2**31,
        error: type[PdemlError] = InvalidDataset,
    ) -> None:
        if not time_limit > 0 or not memory_limit > 0:
            raise InvalidOption(
                f"time_limit={time_limit!r} and memory_limit={memory_limit!r} must be positive."
            )
        self.time_limit, self.memory_limit, self.error = time_limit, int(memory_limit), error
        self._process: subprocess.Popen[bytes] | None = None
        self._modules: set[str] = set()  # that the process has imported

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """The result of a function; see `run_isolated`."""
        module, name = function.__module__, function.__qualname__
        if module == "__main__" or not name.isidentifier():
            raise InvalidOption(
                f"{module}.{name} cannot be called by another process; give a function of a module."
            )
        with tempfile.TemporaryDirectory(prefix="pdeml-") as folder:
            file = str(Path(folder) / "arrays.npz")
            try:
                request = json.dumps([module, name, arguments, file])
            except (TypeError, ValueError) as failure:
                raise InvalidOption(
                    f"The arguments of an isolated function must be JSON data: {failure}."
                ) from None
            shown = f"{name}({', '.join(map(repr, arguments)):.200})"
            reply = self._answer(module, request.encode("ascii"), shown)
            if "error" in reply:
                known = getattr(errors, reply["error"], None)
                found = (known or self.error)(reply["message"])
                if known is None and "trace" in reply:
                    # a fault that nobody foresaw: where it is must not be lost
                    found.add_note(reply["trace"])
                raise found
            result: Result = reply["values"]
            if reply["arrays"]:
                with np.load(file, allow_pickle=False) as arrays:
                    result |= {key: arrays[key] for key in reply["arrays"]}
            return result

    def _answer(self, module: str, request: bytes, shown: str) -> dict[str, Any]:
        if self._process is None:
            self._start()
        if module not in self._modules:
            if not self._line(START_SECONDS, json.dumps([module]).encode("ascii")):
                code = self._stop()
                raise self.error(f"no process could import {module} (it ended with code {code}).")
            self._modules.add(module)
        if not (line := self._line(self.time_limit, request)):
            expired = self._process is not None and self._process.poll() is None
            code = self._stop()
            if expired:
                why = f"it took more than {self.time_limit:g} s"
            else:
                why = f"its process died with code {code}"
            raise self.error(f"{shown} was stopped: {why}. The data are damaged or hostile.")
        return json.loads(line)

    def _line(self, seconds: float, request: bytes) -> bytes:
        """What the process answers within a time, or nothing."""
        process, lines = self._process, list[bytes]()
        assert process is not None and process.stdin is not None and process.stdout is not None
        answers = process.stdout
        reading = threading.Thread(target=lambda: lines.append(answers.readline()))
        reading.daemon = True
        reading.start()
        try:
            process.stdin.write(request + b"\n")
            process.stdin.flush()
        except OSError:
            pass  # it has died: the other pipe ends
        reading.join(seconds)
        if lines and not lines[0].endswith(b"\n"):
            process.wait()
            return b""
        return lines[0] if lines else b""

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, json.dumps(sys.path), str(self.memory_limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def _stop(self) -> int | None:
        process, self._process = self._process, None
        self._modules.clear()
        if process is None:
            return None
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass  # a request that nobody has read
        return code


def serve(memory_limit: int) -> None:
    """Answer the requests that arrive at the standard input, one a line, until it ends.

    ``[module]`` is imported, without limits; ``[module, name, arguments, file]`` is a call, whose
    arrays go to the file.
    """
    # what libraries print must not be taken for an answer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        request, reply = json.loads(line), {}
        if len(request) == 1:
            _limit_memory(None)
            importlib.import_module(request[0])
            _limit_memory(memory_limit)
        else:
            reply = _called(*request)
        answers.write(json.dumps(reply).encode("ascii") + b"\n")
        answers.flush()


def _limit_memory(more: int | None) -> None:
    """Let this process allocate so many bytes more than it has now; None: as many as it can."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):  # Windows has no such limit, and macOS does not enforce it
        return
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = most if more is None else pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _called(module: str, name: str, arguments: list[Any], file: str) -> dict[str, Any]:
    try:
        result = getattr(importlib.import_module(module), name)(*arguments)
        arrays = {key: value for key, value in result.items() if isinstance(value, np.ndarray)}
        if arrays:
            np.savez(file, allow_pickle=False, **arrays)
        values = {key: value for key, value in result.items() if key not in arrays}
        return {"arrays": list(arrays), "values": json.loads(json.dumps(values))}
    except MemoryError:
        return {"error": "", "message": f"{name} needs more memory than it may have."}
    except Exception as failure:  # whatever it is, the caller learns it
        kind = type(failure).__name__ if isinstance(failure, PdemlError) else ""
        message = str(failure) if kind else f"{name} failed: {type(failure).__name__}: {failure}"
        return {"error": kind, "message": message, "trace": traceback.format_exc()}
