"""A background thread that runs one function at a time."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

__all__ = ["Background"]


class Background:
    """Runs functions in a background thread, one after another. An exception of a function is raised by the next call of a method.

    Example:
        >>> done = []
        >>> background = Background()
        >>> background.run(lambda: done.append(1))
        >>> background.join()
        >>> done
        [1]
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def run(self, function: Callable[[], None]) -> None:
        """Wait for the previous function, then start this one.

        Raises:
            BaseException: the exception of the previous function; then this one is not started.
        """
        self.join()

        context = contextvars.copy_context()  # so that what the run has logged once is not logged again

        def run_and_store_error() -> None:
            try:
                context.run(function)
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(
            target=run_and_store_error, name="torch_rechub save"
        )  # not a daemon thread: Python waits for it at exit
        self._thread.start()

    def join(self) -> None:
        """Wait for the function, and raise its exception, if any."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error
