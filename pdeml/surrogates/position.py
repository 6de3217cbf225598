"""Where a run stands: counters that its checkpoint holds beside weights and generators."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Position:
    """Counters of a run.

    Attributes
    ----------
    epoch, batch : the batch that comes next.
    step : updates made or skipped so far.
    loss_sum, loss_count : over the windows of this epoch.
    skipped, in_row : batches without a finite gradient, in all and since the last good one.
    bad : (sample, start) of the windows of those in a row.
    best, best_epoch : smallest validation error, and its epoch.
    seconds : of training, earlier parts of the run included.
    history : one record per epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    skipped: int = 0
    in_row: int = 0
    bad: list[list[int]] = field(default_factory=list)
    best: float = math.inf
    best_epoch: int = -1
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """Mean loss of this epoch so far."""
        return self.loss_sum / self.loss_count if self.loss_count else math.nan

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
