"""Progress on the screen: a bar in a terminal or a notebook, one line per record in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.training import Training

__all__ = ["Progress", "describe_record"]


class Progress(Callback):
    """A progress bar by ``tqdm``, and one line per record; where the output is not a terminal (a log file), the lines only.

    Args:
        seconds: least time between two readings of the loss for the bar, since each reading synchronizes a GPU.
    """

    part_of_run = False
    every_rank = False

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self._bar: Any = None
        self._next_loss = 0.0

    def on_batch_begin(self, trainer: Training) -> None:
        if self._bar is None:  # at the first batch of an epoch or of a resumed run
            from tqdm.auto import tqdm

            title, state = f"epoch {trainer.state.epoch + 1}/{trainer.n_epoch}", trainer.state
            self._bar = tqdm(total=state.n_batch, initial=state.batch, desc=title, unit="batch", leave=False, mininterval=0.2, disable=None)

    def on_batch_end(self, trainer: Training) -> None:
        self._bar.update()
        if not self._bar.disable and time.monotonic() > self._next_loss and trainer.state.loss is not None:
            self._bar.set_postfix(loss=f"{trainer.state.loss.item():.4f}")
            self._next_loss = time.monotonic() + self.seconds

    def on_record(self, trainer: Training) -> None:
        self._write(describe_record(trainer.history[-1]))

    def on_epoch_end(self, trainer: Training) -> None:
        self._close()

    def on_fit_end(self, trainer: Training) -> None:
        self._close()
        if trainer.state.stop_reason:
            self._write(f"stopped: {trainer.state.stop_reason}")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _write(self, line: str) -> None:
        from tqdm.auto import tqdm

        tqdm.write(line, file=sys.stderr)


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
