"""One piece of work at a time beside the main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Background"]


class Background:
    """Runs a function in a thread; the next one waits until it is done. What a function raises is raised at the next call.

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

    def run(self, work: Callable[[], None]) -> None:
        """Wait for the work before, then begin this one.

        Raises:
            BaseException: what the work before raised; this one is not begun then.
        """
        self.join()

        def carry_out() -> None:
            try:
                work()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=carry_out, name="torch_rechub save")  # no daemon: an exit waits for it
        self._thread.start()

    def join(self) -> None:
        """Wait for the work, and raise what it raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error
