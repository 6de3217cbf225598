"""The loop over batches: a function of seed, data and options, that can stop and go on anywhere."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeml.errors import DivergedError, InvalidFile, OutOfMemory
from pdeml.progress import ProgressBar
from pdeml.surrogates import checkpoints, model_file, random_state
from pdeml.surrogates.checkpoints import Log
from pdeml.surrogates.identity import refuse_other_data
from pdeml.surrogates.options import Options
from pdeml.surrogates.position import Position
from pdeml.surrogates.processes import gathered, largest, summed
from pdeml.surrogates.sampling import BatchOrder, loader
from pdeml.surrogates.stopping import StopRequest, catching, obey
from pdeml.surrogates.surrogate import Surrogate
from pdeml.surrogates.update import Update

if TYPE_CHECKING:
    from pdeml.data.windows import Windows

BAD_IN_ROW = 10
NAMED = 24  # windows of bad batches that a message lists
OUT_OF_TIME = 1  # below the numbers of the signals that are caught
BEST, MODEL = "best.h5", "model.h5"


class Trainer:
    """One run: epochs, validation, checkpoints, and what ends it.

    Parameters
    ----------
    surrogate, train, valid : what is trained, and the windows it sees; `valid` may be None.
    options : decide the result.
    folder : of checkpoints, models and log.
    fabric : processes and devices.
    workers, block : of data loading.
    save_every : steps between checkpoints within an epoch; each epoch ends with one.
    keep : newest checkpoints that are kept.
    max_time : seconds, after which the run saves and ends.
    progress : show a bar, or a line per epoch where standard error is no terminal.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        train: Windows,
        valid: Windows | None,
        options: Options,
        folder: Path,
        fabric: Any,
        *,
        workers: int = 0,
        block: int | None = None,
        save_every: int | None = None,
        keep: int = 2,
        max_time: float | None = None,
        progress: bool = True,
    ):
        self.surrogate, self.options, self.folder, self.fabric = surrogate, options, folder, fabric
        share = {"rank": fabric.global_rank, "world": fabric.world_size}
        pin = fabric.device.type == "cuda"
        self._train_set = train.dataset
        self.order = BatchOrder(
            train, options.batch, shuffle=True, seed=options.seed, block=block, **share
        )
        self._loader = loader(train, self.order, workers, pin)
        self._valid_order = None
        if valid is not None:
            batch = min(options.batch, len(valid))
            self._valid_order = BatchOrder(valid, batch, shuffle=False, **share)
            self._valid_loader = loader(valid, self._valid_order, workers, pin)
        self.steps = options.epochs * self.order.batches
        self.update = Update(surrogate, options, fabric, self.steps)
        self.position = Position()
        self._save_every, self._keep, self._max_time = save_every, keep, max_time
        self._progress = progress
        self._first = fabric.global_rank == 0
        self._log: Log | None = None
        self._began = time.perf_counter()

    # ---------------------------------------------------------------------------- running

    def run(self) -> str:
        """Train to the end; returns why it ended: ``epochs``, ``patience`` or ``max_time``.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            Ctrl-C (exit code 130), SIGTERM (143); the batch is finished and saved before.
        DivergedError
            Ten batches in a row without a finite gradient.
        OutOfMemory
            A batch does not fit; the state before it is saved.
        """
        self._began = time.perf_counter() - self.position.seconds
        if self._first:
            self._log = Log(self.folder / checkpoints.LOG, self.position.step)
        bar = ProgressBar(self.folder.name or "train", self._progress and self._first)
        with catching() as request, bar:
            reason = self._epochs(request, bar)
        obey(reason)
        with self.update.averaged():
            self._write_model(MODEL)
        if reason == OUT_OF_TIME:
            return "max_time"
        return "patience" if self._is_stale() else "epochs"

    def _epochs(self, request: StopRequest, bar: ProgressBar) -> int:
        """All epochs; the signal (or `OUT_OF_TIME`) that ended them early, else 0."""
        while self.position.epoch < self.options.epochs and not self._is_stale():
            reason = self._epoch(request, bar)
            if reason:
                told = "max_time" if reason == OUT_OF_TIME else signal.Signals(reason).name
                self._note({"event": "stopped", "reason": told})
                return reason
        return 0

    def _epoch(self, request: StopRequest, bar: ProgressBar) -> int:
        """The rest of an epoch, saved at its end or where it stops."""
        position, order = self.position, self.order
        order.epoch, order.start = position.epoch, position.batch
        self.surrogate.train()
        begin, seen, rate, reason = time.perf_counter(), 0, 0.0, 0
        for number, batch in zip(range(order.start, order.batches), self._loader, strict=True):
            with self._memory_guard():
                self._step(batch, number)
            seen += order.size(number)
            rate = seen / (time.perf_counter() - begin)
            position.seconds = time.perf_counter() - self._began
            bar.update(position.step / self.steps, self._figures(rate))
            late = self._max_time is not None and position.seconds > self._max_time
            reason = largest(self.fabric, request.number or (OUT_OF_TIME if late else 0))
            if position.batch == order.batches:
                break
            if reason or (self._save_every and position.step % self._save_every == 0):
                self.save()
            if reason:
                return reason
        self._end_epoch(rate)
        return reason

    def _end_epoch(self, rate: float) -> None:
        """Validate, move the schedule, record, save."""
        position = self.position
        position.loss_sum, count = summed(self.fabric, position.loss_sum, position.loss_count)
        position.loss_count = int(count)
        with self.update.averaged():
            error = self._validated()
            better = error < position.best * (1 - self.options.min_delta)
            if better:
                position.best, position.best_epoch = error, position.epoch
            record = {
                "epoch": position.epoch + 1,
                "loss": position.loss,
                "nrmse": error,
                "lr": self.update.optimizer.param_groups[0]["lr"],
                "samples_per_second": rate,
                "seconds": position.seconds,
                "skipped": position.skipped,
            }
            position.history.append(record)
            if better:
                self._write_model(BEST)
        self.update.schedule.after_epoch(position.loss if math.isnan(error) else error)
        self._note(record)
        position.epoch += 1
        position.batch, position.loss_sum, position.loss_count = 0, 0.0, 0
        self.save()
        if self._progress and self._first:
            announce(record, self.options.epochs)

    def _is_stale(self) -> bool:
        position, patience = self.position, self.options.patience
        since = position.epoch - 1 - position.best_epoch
        return patience is not None and position.best_epoch >= 0 and since >= patience

    def _figures(self, rate: float) -> dict[str, float | int | str]:
        position = self.position
        figures: dict[str, float | int | str] = {
            "epoch": f"{min(position.epoch + 1, self.options.epochs)}/{self.options.epochs}",
            "loss": position.loss,
        }
        if position.history and math.isfinite(position.history[-1]["nrmse"]):
            figures["nRMSE"] = position.history[-1]["nrmse"]
        return {**figures, "samples/s": round(rate)}

    # ---------------------------------------------------------------------------- batches

    def _step(self, batch: dict[str, Tensor], number: int) -> None:
        """One update and its count."""
        position, own = self.position, self.order.share(number)
        loss, moved = self.update(batch, position.step, own, self.order.size(number))
        position.batch += 1
        position.step += 1
        if moved:
            position.loss_sum += loss
            position.loss_count += own
            position.in_row, position.bad = 0, []
            return
        position.skipped += 1
        position.in_row += 1
        windows = torch.stack([batch["sample"], batch["start"]], 1)[:own].tolist()
        position.bad += windows
        self._note({"event": "skipped", "windows": windows, "epoch": position.epoch + 1})
        if position.in_row >= BAD_IN_ROW:
            raise DivergedError(self._divergence())

    def _divergence(self) -> str:
        position, kept = self.position, checkpoints.checkpoints(self.folder)
        named = ", ".join(f"{s} from {t}" for s, t in position.bad[:NAMED])
        more = ", …" if len(position.bad) > NAMED else ""
        where = f"The last checkpoint is {str(kept[0])!r}" if kept else "There is no checkpoint yet"
        return (
            f"{BAD_IN_ROW} batches in a row gave no finite gradient (epoch {position.epoch + 1}, "
            f"step {position.step}); their windows (sample from frame): {named}{more}. {where}. "
            "Lower lr, give clip=1.0, or look at these samples with `pdeml verify`."
        )

    @contextlib.contextmanager
    def _memory_guard(self) -> Iterator[None]:
        """Turn an exhausted GPU into advice; the batch is not counted, and the state is saved."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            self.update.optimizer.zero_grad()
            if self.fabric.device.type == "cuda":
                torch.cuda.empty_cache()
            if not self.update.updating and self.fabric.world_size == 1:
                self.save()  # half an update is no state, and other processes may still wait
            kept = checkpoints.checkpoints(self.folder)
            where = f"is kept in {str(kept[0])!r}" if kept else "has no checkpoint yet"
            options = self.options
            raise OutOfMemory(
                f"a batch of {options.batch} windows in {options.accumulate} pieces does not fit "
                f"into the memory of {self.fabric.device}. The run {where}: resume it with "
                f"accumulate={2 * options.accumulate} (same result, less memory), or start anew "
                "with a smaller batch, precision='bf16', fewer steps or a narrower model."
            ) from error

    def _validated(self) -> float:
        """Mean nRMSE of validation windows over all processes; NaN where there are none."""
        if self._valid_order is None:
            return math.nan
        self.surrogate.eval()
        total, count = 0.0, 0.0
        for number, batch in enumerate(self._valid_loader):
            own = self._valid_order.share(number)
            if own:
                frames, parameters = self.update.windows(batch)
                told = None if parameters is None else parameters[:own]
                # not through the processes' wrapper: shares differ in size
                sums = self.update.objective.module.relative_errors(frames[:own], told)
                total, count = total + float(sums[0]), count + float(sums[1])
        total, count = summed(self.fabric, total, count)
        return total / count if count else math.nan

    # ---------------------------------------------------------------------------- state

    def save(self) -> None:
        """Write a checkpoint; all processes take part, the first one writes."""
        states = gathered(self.fabric, random_state.captured())
        position = self.position
        if self.fabric.world_size > 1:
            loss, count = summed(self.fabric, position.loss_sum, position.loss_count)
            position.loss_sum = loss if self._first else 0.0
            position.loss_count = int(count) if self._first else 0
        if self._first:
            state = {
                **self.update.state_dict(),
                "position": position.to_dict(),
                "random": states,
                "options": self.options.to_dict(),
                "model": model_file.description(self.surrogate),
            }
            checkpoints.write(self.folder, position.step, state, self._keep)
        self.fabric.barrier()

    def restore(self, path: Path, state: dict[str, Any]) -> None:
        """Take the place of a run that was saved.

        Raises
        ------
        InvalidFile
            It is of another model, of other data, or of another normalisation; told which.
        """
        where, saved = repr(str(path)), state["model"]
        own = model_file.description(self.surrogate)
        for name in ("model", "config"):
            if own[name] != saved[name]:
                raise InvalidFile(
                    f"{where} is of another architecture: its {name} is {saved[name]}, here it is "
                    f"{own[name]}. Give the model of that run, or train anew in another folder."
                )
        self.surrogate.normalisation.refuse_changed(saved["normalisation"], where)
        refuse_other_data(saved["data"], self._train_set, where)
        self.update.load_state_dict(state, where)
        self.position = Position(**state["position"])
        if not self._first:
            self.position.loss_sum, self.position.loss_count = 0.0, 0  # the first one has it all
        rank = self.fabric.global_rank
        if rank < len(state["random"]):
            random_state.restore(state["random"][rank])

    def _write_model(self, name: str) -> None:
        """The model for use, written by the first process."""
        if self._first:
            last = self.position.history[-1] if self.position.history else {}
            training = {"options": self.options.to_dict(), "last": last}
            model_file.save(self.surrogate, self.folder / name, training)
        self.fabric.barrier()

    def _note(self, record: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.add({"step": self.position.step, **record})


def announce(record: dict[str, Any], epochs: int) -> None:
    """One line per epoch on standard error, where no bar shows it."""
    if not sys.stderr.isatty():
        error = "" if math.isnan(record["nrmse"]) else f"  nRMSE {record['nrmse']:.3e}"
        print(
            f"epoch {record['epoch']}/{epochs}  loss {record['loss']:.3e}{error}  "
            f"{record['samples_per_second']:.0f} samples/s",
            file=sys.stderr,
        )
