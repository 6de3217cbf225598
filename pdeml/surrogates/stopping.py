"""SIGTERM and Ctrl-C wait for the end of the batch; a second one ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """The signal that was received, 0 while there was none."""

    number: int = 0


def obey(number: int) -> None:
    """End as a signal asks: KeyboardInterrupt (exit code 130), SystemExit(143); else go on."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if number == signal.SIGTERM:
        raise SystemExit(128 + number)


@contextlib.contextmanager
def catching() -> Iterator[StopRequest]:
    """Inside, the first signal is kept for later. Only the main thread of a process can do so."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def caught(number: int, frame: FrameType | None) -> None:
        if request.number:
            os._exit(128 + number)
        request.number = number

    former = {n: signal.signal(n, caught) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
