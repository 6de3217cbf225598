"""Ctrl-C and SIGTERM wait until a commit is done, and then end the run in order."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Deferred:
    """Inside, a signal is remembered; outside of `held` parts it raises at once.

    SIGINT becomes KeyboardInterrupt, SIGTERM SystemExit(143), so that ``with`` blocks close their
    files. Only the main thread of a process can catch signals; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self._former: dict[int, Any] = {}
        self._depth = 0
        self._pending: int | None = None

    def install(self) -> None:
        """Catch signals from now on."""
        if threading.current_thread() is threading.main_thread():
            for number in CAUGHT:
                self._former[number] = signal.signal(number, self._caught)

    def remove(self) -> None:
        """Give the signals back to whoever had them."""
        for number, former in self._former.items():
            signal.signal(number, former)
        self._former.clear()

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self._pending = number
        if not self._depth:
            self._raise()

    def _raise(self) -> None:
        number, self._pending = self._pending, None
        if number == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        if number is not None:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if not self._depth and error is None:
            self._raise()
