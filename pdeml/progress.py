"""Progress of long work on a terminal: what is done, its figures, the time that remains."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressBar:
    """A bar with figures beside it; silent where the output is no terminal or `enabled` is False.

    Parameters
    ----------
    title : shown before the bar.
    enabled : False makes every call a no-op.
    console : standard error by default, so that standard output stays clean.
    """

    def __init__(self, title: str, enabled: bool = True, console: Console | None = None):
        console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not (enabled and console.is_terminal),
            refresh_per_second=4,
        )
        self._task = self._bar.add_task(title, total=1.0, figures="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, fraction: float, figures: dict[str, float | int | str]) -> None:
        """Set the fraction done, 0 … 1, and the figures shown."""
        text = "  ".join(
            f"{name} {value:.2e}" if isinstance(value, float) else f"{name} {value}"
            for name, value in figures.items()
        )
        self._bar.update(self._task, completed=min(fraction, 1.0), figures=text)
