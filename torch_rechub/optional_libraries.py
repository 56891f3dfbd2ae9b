"""Libraries that are not installed with the package: they are imported where they are needed, and one error tells how to install them."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["import_library", "missing_library"]


def import_library(module: str, caller: str, library: str | None = None, instead: str = "") -> Any:
    """Import a module of an optional library.

    Args:
        module: the module's full name.
        caller: what needs it, as the user wrote it.
        library: the name by which pip installs it; None is the first part of ``module``.
        instead: a sentence on what works without the library.

    Raises:
        ImportError: naming the caller and the command that installs the library, when the import fails.

    Example:
        >>> import_library("json", "a report").dumps([1])
        '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_library(caller, library or module.partition(".")[0], instead, cause=error) from error


def missing_library(caller: str, library: str, instead: str = "", cause: ImportError | None = None) -> ImportError:
    """The error of a library that is not installed. The command names the library itself: our name on PyPI is that of another package.

    Example:
        >>> missing_library("history.to_frame()", "pandas", "list(history) gives plain dicts.")
        ImportError('history.to_frame() needs pandas. Install it with: pip install pandas. list(history) gives plain dicts.')
    """
    sentences = [f"{caller} needs {library}. Install it with: pip install {library}.", instead, f"({cause})" if cause else ""]
    return ImportError(" ".join(filter(None, sentences)))
