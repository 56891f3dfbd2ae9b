"""A run that is asked to stop finishes its step, saves, and leaves with a status that says why."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from torch_rechub.basic.callback.base import Callback
from torch_rechub.types import FilePath

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["GracefulStop"]

logger = logging.getLogger(__name__)
NOTICE_STATUS = 75  # EX_TEMPFAIL of sysexits.h: try again later


class GracefulStop(Callback):
    """Answers SIGINT (Ctrl-C), SIGTERM, and a notice file as clusters write one.

    The run finishes the present step, or leaves the validation or the wait for data at once; saves, if it saves at all; puts the best
    weights back; and then leaves as the signal would have: SIGINT raises KeyboardInterrupt, SIGTERM raises SystemExit(143), a notice
    raises SystemExit(75). A second signal leaves at once. Handlers are put back afterwards; handlers of the user's own are left alone.
    It is on by default in the main thread, which is the only one that can take signals.

    Args:
        notice_file: stop when this file appears; looked for between batches, once a second.
    """

    part_of_run = False

    def __init__(self, notice_file: FilePath | None = None) -> None:
        self.notice_file = None if notice_file is None else Path(notice_file)
        self._former: dict[int, Any] = {}
        self._signal: int | None = None
        self._next_look = 0.0

    def on_fit_begin(self, trainer: Trainer) -> None:
        self._signal = None
        if threading.current_thread() is not threading.main_thread():
            return

        process = os.getpid()

        def handle(number: int, frame: FrameType | None) -> None:
            if os.getpid() == process:  # a loader's workers inherit it, and Ctrl-C reaches them as well: they are ended with the walk
                self._handle(trainer, number)

        for number in (signal.SIGINT, signal.SIGTERM):
            former = signal.getsignal(number)
            if former in {signal.default_int_handler, signal.SIG_DFL}:
                self._former[number] = former
                signal.signal(number, handle)

    def _handle(self, trainer: Trainer, number: int) -> None:
        leaving = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        if self._signal is not None:
            self._put_back()
            raise leaving
        self._signal = number
        self._spare_the_step()
        logger.warning("%s: finishing the step and saving; once more leaves at once", signal.Signals(number).name)
        trainer.request_pause(f"stopped by {signal.Signals(number).name}", then=leaving)

    def _spare_the_step(self) -> None:
        """A signal to all processes may end a loader's workers as well: let torch not raise that amid the step, by its own handler."""
        number = getattr(signal, "SIGCHLD", None)  # not everywhere
        former = None if number is None else signal.getsignal(number)
        if number is not None and former is not None:
            self._former[number] = former
            signal.signal(number, signal.SIG_DFL)

    def on_batch_end(self, trainer: Trainer) -> None:
        self._look(trainer)

    def on_validation_batch_end(self, trainer: Trainer) -> None:
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        if self.notice_file is not None and time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + 1.0
            if self.notice_file.exists():
                trainer.request_pause(f"notice by {self.notice_file}", then=SystemExit(NOTICE_STATUS))

    def on_fit_end(self, trainer: Trainer) -> None:
        self._put_back()

    def _put_back(self) -> None:
        while self._former:  # looked at anew each time: a signal that comes in between adds to it
            number, former = list(self._former.items())[-1]
            signal.signal(number, former)
            self._former.pop(number, None)
