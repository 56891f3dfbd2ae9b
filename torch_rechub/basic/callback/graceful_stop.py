"""Signals: a run that is asked to stop finishes its step, saves, and ends with a status that tells why."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.training import Training
from torch_rechub.storage import absolute
from torch_rechub.types import FilePath

__all__ = ["GracefulStop"]

logger = logging.getLogger(__name__)
NOTICE_STATUS = 75  # EX_TEMPFAIL of sysexits.h: a temporary failure


@named_arguments
class GracefulStop(Callback):
    """Handles SIGINT (Ctrl-C), SIGTERM, and the notice file that some clusters write.

    The run finishes the present step, or ends a validation or a wait for data at once. It saves, where saves were requested, restores the
    best weights, and then ends as the signal would have: SIGINT raises KeyboardInterrupt, SIGTERM raises SystemExit(143), a notice
    raises SystemExit(75). A second signal ends the run at once. The previous handlers are restored afterwards; a handler that the user
    installed is not replaced. The callback is built in, and acts in the main thread only, where Python runs signal handlers.

    Args:
        notice_file: stop when this file exists; tested between batches, once a second.
    """

    part_of_run = False

    def __init__(self, notice_file: FilePath | None = None) -> None:
        self.notice_file = None if notice_file is None else absolute(notice_file, "notice_file")
        self._handlers: dict[int, Any] = {}
        self._signal: int | None = None
        self._next_test = 0.0

    def on_fit_begin(self, trainer: Training) -> None:
        self._signal = None
        if threading.current_thread() is not threading.main_thread():
            return

        process = os.getpid()

        def handle(number: int, frame: FrameType | None) -> None:
            if os.getpid() == process:  # worker processes of a loader inherit the handler; they end with the loader
                self._handle(trainer, number)

        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if handler in {signal.default_int_handler, signal.SIG_DFL}:
                self._handlers[number] = handler
                signal.signal(number, handle)

    def _handle(self, trainer: Training, number: int) -> None:
        error = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        if self._signal is not None:
            self._restore_handlers()
            raise error
        self._signal = number
        self._ignore_child_signals()
        logger.warning("%s: finishing the step and saving; a second signal ends the run at once", signal.Signals(number).name)
        trainer.request_pause(f"stopped by {signal.Signals(number).name}", then=error)

    def _ignore_child_signals(self) -> None:
        """A signal sent to all processes ends a loader's workers as well; without this, torch's handler raises within the step."""
        number = getattr(signal, "SIGCHLD", None)  # not everywhere
        handler = None if number is None else signal.getsignal(number)
        if number is not None and handler is not None:
            self._handlers[number] = handler
            signal.signal(number, signal.SIG_DFL)

    def on_batch_end(self, trainer: Training) -> None:
        self._test_notice(trainer)

    def on_validation_batch_end(self, trainer: Training) -> None:
        self._test_notice(trainer)

    def _test_notice(self, trainer: Training) -> None:
        if self.notice_file is not None and time.monotonic() > self._next_test:
            self._next_test = time.monotonic() + 1.0
            if self.notice_file.exists():
                trainer.request_pause(f"notice by {self.notice_file}", then=SystemExit(NOTICE_STATUS))

    def on_fit_end(self, trainer: Training) -> None:
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        while self._handlers:  # read again each time: a signal that arrives meanwhile adds to it
            number, handler = list(self._handlers.items())[-1]
            signal.signal(number, handler)
            self._handlers.pop(number, None)
