"""One run that generates data: in one process, as a share, or divided by ``mpiexec``."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdeml.data.batches import Batched
from pdeml.data.chunked import parts_folder
from pdeml.data.layout import value_bytes
from pdeml.data.merging import merge
from pdeml.data.opening import open as open_dataset
from pdeml.data.readers.native import part_files
from pdeml.data.single import OneByOne
from pdeml.data.writer import Writer
from pdeml.errors import DatasetLocked
from pdeml.operators.pde import PDE
from pdeml.progress import ProgressBar
from pdeml.solvers.fem.processes import together

SETTLED = 5.0  # seconds after the first samples, for an estimate of the time that is left
PATIENCE = 0.5  # seconds between looks at a merge that another run does


@dataclass(frozen=True)
class Run:
    """Solve and write what a plan says; `stored` are options of the writer."""

    problem: PDE
    target: Path
    plan: Batched | OneByOne
    retry_failed: bool
    progress: bool
    stored: Mapping[str, Any]

    def write(self, shard: tuple[int, int] | None = None) -> None:
        """Write all samples, or one share of them."""
        plan = self.plan
        with Writer(
            self.target,
            fields=plan.fields,
            times=plan.times,
            axes=plan.axes,
            mesh=plan.mesh,
            pde=self.problem,
            shard=shard,
            block=plan.batch,
            **self.stored,
        ) as writer:
            title = f"generate {self.problem.name}"
            size = value_bytes(writer.header)
            self._say(f"{title}: {len(writer.numbers)} samples, {size / 1e6:.4g} MB")
            first: tuple[float, int] | None = None
            said = False
            with ProgressBar(title, self.progress) as bar:
                for _ in plan.run(writer, self.retry_failed):
                    now, done = time.perf_counter(), int((writer.status != 0).sum())
                    counts = f"{writer.finished}/{len(writer.numbers)}"
                    bar.update(done / len(writer.numbers), {"samples": counts})
                    if first is None:
                        first = now, done  # what came before is the start of processes
                    elif not said and now - first[0] > SETTLED and done > first[1]:
                        each = (now - first[0]) / (done - first[1])
                        left = each * (len(writer.numbers) - done)
                        self._say(f"{each:.2g} s per sample, {left:.0f} s for the others")
                        said = True

    def _say(self, text: str) -> None:
        if self.progress:
            print(text, file=sys.stderr, flush=True)

    def share(self, shard: tuple[int, int]) -> None:
        """Write one share; the last of them to end merges all."""
        self.write(shard)
        while self._all_there(shard[1]):
            try:
                merge(self.target)
                return
            except DatasetLocked:  # the run of another share is at it
                time.sleep(PATIENCE)

    def _all_there(self, count: int) -> bool:
        """Whether all shares are complete, and not merged yet."""
        folder = parts_folder(self.target)
        if len(part_files(folder)) < count:
            return False
        status = open_dataset(folder).contents.status
        return (
            status is not None
            and len(status) == self.stored["samples"]
            and bool((status != 0).all())
        )

    def divided(self, ranks: Any) -> None:
        """Write with all processes of ``mpiexec``, which this is called by."""
        if isinstance(self.plan, OneByOne):
            from mpi4py.futures import MPICommExecutor

            executor: Any
            with together(), MPICommExecutor(ranks, root=0) as executor:
                if executor is not None:  # the others are inside of it until the end
                    self.plan.executor = executor, ranks.size - 1
                    self.write()
            return
        whole = ranks.bcast(self.target.exists())
        with together():
            if not whole:
                self.write((ranks.rank, ranks.size))
        with together():
            if ranks.rank == 0:
                self.write() if whole else merge(self.target)
