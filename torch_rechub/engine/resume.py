"""Which save a run is resumed from, and the folder that it has for itself."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch_rechub.storage import FolderLock, FolderMark, SaveFolder, expand, make_folder
from torch_rechub.types import FilePath

__all__ = ["find_save", "lock_folder", "validate_resume"]

logger = logging.getLogger(__name__)


@contextmanager
def lock_folder(model_path: FilePath | None, saves: bool) -> Generator[FolderLock | None, None, None]:
    """Keep other live runs out of the folder of the saves; warn of one that writes only its best weights beside ours.

    Folders that are created here, and are empty at the end since the run could not begin, are removed.

    Args:
        model_path: the folder; None where nothing is written.
        saves: whether this run writes saves to resume from.

    Raises:
        FolderInUseError: naming the process whose run saves there.
    """
    if model_path is None:
        yield None
        return
    folder = expand(model_path)
    new = [place for place in (folder / "best", folder / "resume", folder, *folder.parents) if not place.exists()]
    make_folder(folder)
    lock, mark = FolderLock(folder / "resume"), FolderMark(folder)
    try:
        if saves:
            lock.acquire()
        if not mark.acquire():
            logger.warning(
                "another live run has the model_path %s: both write model.pth, and the file of the one that writes last remains. Give "
                "each run a model_path of its own.",
                folder,
            )
        yield lock if saves else None
    finally:
        mark.release()
        lock.release()
        with contextlib.suppress(OSError):  # not empty
            for place in new:
                if place.exists():
                    place.rmdir()


def validate_resume(resume: Any, accept: Any = ()) -> None:
    """What ``fit`` is given as ``resume`` and ``accept``, before anything begins.

    Raises:
        ValueError: when ``resume`` is neither None nor "auto" nor a folder; when there is nothing to resume that may differ.
        TypeError: when ``accept`` is no list of texts.
    """
    _validate_accept(accept, resume)
    if resume is None or isinstance(resume, str | os.PathLike):
        return
    remedy = " fit takes two loaders; measure a third one by trainer.evaluate(loader)." if hasattr(resume, "__iter__") else ""
    remedy = " resume='auto' resumes where there is a save." if resume is True else remedy
    raise ValueError(f"resume must be None, 'auto' or a folder; got {resume!r}.{remedy}")


def _validate_accept(accept: Any, resume: Any) -> None:
    """The names of settings that may differ from those of the saved run.

    Raises:
        TypeError: when it is no list of texts.
        ValueError: when there is nothing to resume.
    """
    if isinstance(accept, str) or not isinstance(accept, Sequence) or not all(isinstance(name, str) for name in accept):
        raise TypeError(f"accept must be a list of names of settings, such as ['lr of the optimizer']; got {accept!r}.")
    if accept and resume is None:
        raise ValueError(f"accept={accept!r} needs resume=: it names what may differ from the run that is resumed.")


def find_save(resume: Any, model_path: FilePath | None, use: Callable[[Any], None] | None = None) -> Any:
    """The newest good save that ``fit(resume=...)`` asks for, or None where a run is to start anew.

    Args:
        resume: None, "auto", or a folder.
        model_path: the trainer's folder, where "auto" looks.
        use: called with the state; raises UnexpectedContentError where it cannot be used, and the save before it is tried.

    Raises:
        FileNotFoundError: when a folder was named and holds no save.
        ValueError: when ``resume`` is something else, or no save is good.
    """
    if resume is None:
        return None
    if isinstance(resume, str) and resume == "auto":
        if model_path is None:
            raise ValueError("resume='auto' looks for a save under model_path, and model_path is None. Give the trainer a folder.")
        return SaveFolder(Path(model_path) / "resume").newest(use)
    validate_resume(resume)
    given = expand(resume)
    for folder in (given, given / "resume"):
        if SaveFolder(folder).names():
            return SaveFolder(folder).newest(use)
    if str(resume).lower() == "auto":
        raise FileNotFoundError(f"resume={str(resume)!r} names a folder, and there is no save in it. Did you mean 'auto'?")
    if given.is_file():
        raise FileNotFoundError(
            f"resume={str(resume)!r} is a file: saves to resume from lie in a folder, model_path/resume. Weights are loaded by "
            "trainer.model.load_state_dict(torch.load(path))."
        )
    raise FileNotFoundError(f"resume={str(resume)!r}: there is no save in this folder. resume='auto' starts anew where there is none.")
