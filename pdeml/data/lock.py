"""One writer for a file: a lock that dies with its process."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
from pathlib import Path

from pdeml.errors import DatasetLocked, OutputError


class Lock:
    """``NAME.lock`` beside a file, held by flock(2); it names the process that holds it.

    The kernel drops the lock when the process ends in whatever way, so that a lock file which is
    left behind does no harm. Where the file system has no locks, the process that the file names
    decides: it is stale if that process is gone.

    Raises
    ------
    DatasetLocked
        Another process writes; the message names it.
    OutputError
        The lock file cannot be written.
    """

    def __init__(self, target: Path):
        self.path = target.with_name(f"{target.name}.lock")
        while True:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise OutputError(
                    f"cannot write {str(self.path)!r}: {error.strerror}. Give a path in a folder "
                    "that exists and that you may write to."
                ) from error
            self._acquire(target)
            if self._is_current():
                break
            os.close(self._descriptor)  # its last holder removed it meanwhile
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)

    def _acquire(self, target: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            held = True
        except OSError:
            held = False  # no locks on this file system
        holder = self._holder()
        if held or _lives(holder):
            os.close(self._descriptor)
            raise DatasetLocked(
                f"{str(target)!r} is being written by process {holder.get('pid', 'unknown')} on "
                f"{holder.get('host', 'unknown')} since {holder.get('since', 'unknown')}. Wait for "
                f"it, or stop it; {self.path.name!r} goes with it."
            )

    def _holder(self) -> dict[str, object]:
        try:
            found = json.loads(os.pread(self._descriptor, 4096, 0))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _is_current(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        return False

    def release(self) -> None:
        """Remove the lock file and let others in."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _lives(holder: dict[str, object]) -> bool:
    pid, host = holder.get("pid"), holder.get("host")
    if not isinstance(pid, int):
        return False
    if host != socket.gethostname():
        return True  # cannot be seen from here
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
