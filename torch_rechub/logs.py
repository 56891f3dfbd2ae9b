"""Warnings that are logged once in a run, however often their cause is met in it."""

from __future__ import annotations

import logging
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["once_per_run", "warn_once"]

_said: ContextVar[set[Hashable] | None] = ContextVar("warnings of the present run", default=None)


@contextmanager
def once_per_run() -> Generator[None, None, None]:
    """Within the block each cause is logged once by :func:`warn_once`. A run within a run, and a run in another thread, has its own."""
    token = _said.set(set())
    try:
        yield
    finally:
        _said.reset(token)


def warn_once(logger: logging.Logger, cause: Hashable, message: str, *args: object) -> None:
    """Log a warning, unless the present run has logged one of the same cause. Outside of a run it is always logged.

    Args:
        logger: that logs it.
        cause: what stays equal while the cause does, such as the name of a metric: numbers in the message may change.
        message: as for ``logger.warning``.
        args: likewise.

    Example:
        >>> logger, seen = logging.getLogger("doctest"), []
        >>> logger.addFilter(lambda record: seen.append(record.getMessage()))
        >>> with once_per_run():
        ...     for n_nan in (3, 4):
        ...         warn_once(logger, ("nan", "auc"), "%s: %d scores are NaN", "auc", n_nan)
        >>> seen
        ['auc: 3 scores are NaN']
    """
    said = _said.get()
    if said is not None:
        if (logger.name, cause) in said:
            return
        said.add((logger.name, cause))
    logger.warning(message, *args, stacklevel=2)
