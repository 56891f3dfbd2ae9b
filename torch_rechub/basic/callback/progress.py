"""Progress on the screen: a bar in a terminal or a notebook, one line per record in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.training import Training
from torch_rechub.kernels import announce_compilation

__all__ = ["Progress", "describe_record"]


@named_arguments
class Progress(Callback):
    """Progress bars by ``tqdm`` for the epoch and for each validation, and one line per record; in a log file the lines only.

    At its end a run has a line with the best validation, whose weights are restored. A line says when kernels are compiled, which takes a
    few seconds at the first start after an installation.

    Args:
        seconds: least time between two readings of the loss for the bar, since each reading synchronizes a GPU.
    """

    part_of_run = False
    every_rank = False

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self._bar: Any = None
        self._validation_bar: Any = None
        self._next_loss = 0.0

    def on_fit_begin(self, trainer: Training) -> None:
        announce_compilation(self._write)

    def on_batch_begin(self, trainer: Training) -> None:
        if self._bar is None:  # at the first batch of an epoch or of a resumed run
            state = trainer.state
            self._bar = _new_bar(f"epoch {state.epoch + 1}/{trainer.n_epoch}", state.n_batch, state.batch)

    def on_batch_end(self, trainer: Training) -> None:
        self._bar.update()
        if not self._bar.disable and time.monotonic() > self._next_loss and trainer.state.loss is not None:
            self._bar.set_postfix(loss=f"{trainer.state.loss.item():.4f}")
            self._next_loss = time.monotonic() + self.seconds

    def on_validation_begin(self, trainer: Training) -> None:
        self._validation_bar = _new_bar("validation", trainer.state.n_validation_batch)

    def on_validation_batch_end(self, trainer: Training) -> None:
        if self._validation_bar is not None:
            self._validation_bar.update()

    def on_validation_end(self, trainer: Training) -> None:
        self._validation_bar = _closed(self._validation_bar)

    def on_record(self, trainer: Training) -> None:
        self._write(describe_record(trainer.history[-1]))

    def on_epoch_end(self, trainer: Training) -> None:
        self._bar = _closed(self._bar)

    def on_fit_end(self, trainer: Training) -> None:
        announce_compilation(None)
        self._bar, self._validation_bar = _closed(self._bar), _closed(self._validation_bar)
        if trainer.state.stop_reason:
            self._write(f"stopped: {trainer.state.stop_reason}")
        best = trainer.history.best
        if best is not None:
            value = f": {trainer.monitor} {_shown(best[trainer.monitor])}" if trainer.monitor in best else ""
            self._write(f"best at step {best['step']}, epoch {best['epoch']}{value}; weights restored")

    def _write(self, line: str) -> None:
        from tqdm.auto import tqdm

        tqdm.write(line, file=sys.stderr)


def _new_bar(title: str, n_batch: int | None, n_done: int = 0) -> Any:
    """A bar of batches, which shows nothing where the output is not a terminal."""
    from tqdm.auto import tqdm

    return tqdm(total=n_batch, initial=n_done, desc=title, unit="batch", leave=False, mininterval=0.2, disable=None)


def _closed(bar: Any) -> None:
    if bar is not None:
        bar.close()


def describe_record(record: dict[str, Any]) -> str:
    """One record of the history as a line.

    Example:
        >>> describe_record({"epoch": 1, "step": 40, "loss": 0.51, "lr": 1e-3, "auc": 0.71, "is_best": True})
        'epoch 1  step 40  loss 0.5100  auc 0.7100  lr 0.001  (best so far)'
    """
    plain = {"epoch", "step", "rows", "seconds", "loss", "lr", "is_best", "trial_counter", "verdict"}
    metrics = "".join(f"  {name} {_shown(value)}" for name, value in record.items() if name not in plain)
    mark = "  (best so far)" if record.get("is_best") else ""
    return f"epoch {record['epoch']}  step {record['step']}  loss {record['loss']:.4f}{metrics}  lr {record['lr']:.3g}{mark}"


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
