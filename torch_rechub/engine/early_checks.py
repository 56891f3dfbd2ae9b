"""Checks before the first step of what is needed later: a second walk over the data, the first validation, the first save.

``fit`` calls :func:`check_validation` before anything of a run is changed, and :func:`check_run` after ``on_fit_begin``, where a callback
may prepare its state. No check runs the model or draws a number that the run would draw.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from torch_rechub.arguments import closest
from torch_rechub.basic.batch import column_names
from torch_rechub.basic.metric.kept_rows import KeptRows
from torch_rechub.data.protocol import Loader
from torch_rechub.data.unchanged import unchanged
from torch_rechub.engine.distributed import Ranks
from torch_rechub.engine.inputs import features_of
from torch_rechub.engine.objective import Labelled, Objective
from torch_rechub.engine.run import Run
from torch_rechub.engine.scorer import RowScorer, check_task
from torch_rechub.engine.trial import try_metric
from torch_rechub.storage import split_tree

__all__ = ["check_run", "check_validation", "follow_labels"]

logger = logging.getLogger(__name__)


def check_run(run: Run) -> None:
    """Check that the data can be walked as often as the run walks them, and that its state can be saved where it will be.

    Raises:
        TypeError, ValueError: naming the data, or what cannot be saved, and the remedy.
    """
    trainer = run.trainer
    _check_walks(run.train, run.val, trainer.n_epoch, trainer.validation_times.val_every)
    if trainer.writes_saves:
        _check_state(run)


def _check_walks(train: Loader, val: Loader | None, n_epoch: int, val_every: float | None) -> None:
    """Refuse an iterator as data that are walked several times.

    Args:
        train: walked once an epoch.
        val: walked once an epoch, and more often where ``val_every`` is given.
        n_epoch: epochs at most.
        val_every: as the trainer's.

    Raises:
        ValueError: naming the data and the remedy.
    """
    for name, loader, several in (("training", train, n_epoch > 1), ("validation", val, n_epoch > 1 or val_every is not None)):
        if several and getattr(loader, "walks_once", False):
            times = f"n_epoch={n_epoch}" + ("" if n_epoch > 1 else f" and val_every={val_every}")
            raise ValueError(
                f"In the {name} data: {loader!r} is used up by one walk, and {times} walks it several times. An iterator can be walked "
                "once only: give a list or a loader, whose iter() begins anew, or train one epoch with one validation."
            )


def check_validation(trainer: Any, val: Loader | None) -> None:
    """Check what the first validation will read: features and labels as far as they are known, the metrics, and what callbacks need.

    Args:
        trainer: whose objective, scorer and callbacks are checked.
        val: our own loaders are known whole; of any other loader the first batch is.

    Raises:
        TypeError, ValueError: naming the metric or the callback, the row and the remedy.
    """
    if val is None:
        return
    kept = trainer.callbacks.rows_to_keep(begun=False)
    scorer = None if trainer.overrides_evaluate and kept is None else trainer.make_scorer(kept)
    objective: Objective = trainer.objective
    try:
        batch = _sample(val)
        if batch is not None and not getattr(val, "checks_all_rows", False):
            objective.check_batch(batch, features_of(objective.model))
        labelled = {} if batch is None else objective.labelled(batch)
        if follow_labels(trainer, labelled, trainer.ranks) and scorer is not None:
            scorer = trainer.make_scorer(kept)
        if isinstance(scorer, RowScorer):
            metrics = {} if trainer.overrides_evaluate else scorer.by_task
            n_row = val.n_row() if labelled and hasattr(val, "n_row") else None  # type: ignore[attr-defined]
            _check_metrics(metrics, kept, labelled, n_row, trainer.ranks.is_first)
            if batch is not None and not labelled and trainer.ranks.is_first:
                _warn_of_columns(metrics, kept, batch, type(objective).__name__)
        elif batch is not None and hasattr(scorer, "check"):
            _check_by_scorer(scorer, val, batch)
    except (TypeError, ValueError) as error:
        raise type(error)(f"In the validation data: {error}") from error.__cause__
    if kept is not None and labelled:
        trainer.callbacks.check_predictions(kept.state_dict())


def follow_labels(trainer: Any, labelled: Mapping[str, Labelled], ranks: Ranks) -> bool:
    """Under a criterion that is no binary cross-entropy, measure by default what the labels have: see ``Scoring.follow_labels``.

    Args:
        trainer: whose metrics are chosen.
        labelled: rows of the data that are measured.
        ranks: the processes that measure them, of which the first decides.

    Returns:
        Whether the metrics changed, which the log says.
    """
    trainer.scoring.follow_predictions(getattr(trainer.objective, "predictions", "probability"))
    rows = next(iter(labelled.values()), None)
    if getattr(trainer.objective, "binary_labels", True) or trainer.overrides_evaluate or rows is None or rows.y is None:
        return False
    y, before = rows.y, trainer.scoring.metrics
    binary = ranks.from_first(lambda: bool(((y == 0) | (y == 1)).all()))
    aside = trainer.scoring.follow_labels(binary, "mae" if isinstance(trainer.criterion, nn.L1Loss) else "rmse")
    if [metric.name for metric in trainer.scoring.metrics] == [metric.name for metric in before]:
        return False
    if not aside:
        return True
    stopper = trainer.early_stopper
    given = stopper.given_mode if stopper.monitor is None else None
    best = "largest" if trainer.direction(None, given) == "max" else "smallest"
    remedy = "; EarlyStopper(patience, 'min') and mode='min' take the smallest" if best == "largest" else ""
    logger.warning(
        "the labels are not all 0 and 1, so AUC and log loss are not measured: %r is monitored, and its %s value is best%s",
        trainer.monitor,
        best,
        remedy,
    )
    return True


def _check_state(run: Run) -> None:
    """Collect everything that a save of the run holds, without writing it.

    Raises:
        TypeError: naming what cannot be saved.
    """
    for callback in run.trainer.callbacks:
        if callback.part_of_run:
            try:
                json.dumps(split_tree(callback.state_dict())[0])
            except Exception as error:
                name = type(callback).__name__
                raise TypeError(
                    f"The state of the callback {name} cannot be saved: {name}.state_dict() gave {type(error).__name__}: {error} "
                    "Leave out what a resumed run does not need, or do not ask for saves (resume=, Checkpoint)."
                ) from error
    json.dumps(split_tree(run.state_dict())[0])


def _sample(loader: Loader) -> Any:
    """What is known of the rows: see ``sample`` of our loaders; of a loader of the user's with the protocol's members, the first batch."""
    sample = getattr(loader, "sample", None)
    if sample is not None:
        return sample()
    with unchanged(loader):
        return next(iter(loader.in_order()), None)


def _check_by_scorer(scorer: Any, val: Loader, batch: Any) -> None:
    """Show a scorer all batches of our own loaders, and the first one of any other; what it holds and the random states do not change."""
    with unchanged(scorer, val):
        scorer.check(val.in_order() if getattr(val, "checks_all_rows", False) else [batch])


def _warn_of_columns(metrics: Any, kept: KeptRows | None, batch: Any, objective: str) -> None:
    """Say which columns that metrics and callbacks read are in no part of the batch, where only ``judge`` knows what it gives."""
    names = column_names(batch)
    reading = [(metric.name, column) for of_task in metrics.values() for metric in of_task for column in getattr(metric, "columns", ())]
    reading += [("a callback", column) for column in (kept.columns if kept is not None else ())]
    for reader, column in reading if names else ():
        if column not in names:
            close = closest(column, sorted(names))
            message = (
                "%s reads the column %r, which is in no part of the first batch of the validation data.%s If %s.judge does not give it, "
                "the first validation ends the run"
            )
            logger.warning(message, reader, column, f" Did you mean {close[0]!r}?" if close else "", objective)


def _check_metrics(metrics: Any, kept: KeptRows | None, labelled: dict[str, Labelled], n_row: int | None, is_first: bool) -> None:
    """Check columns and labels of each metric, then compute it from made-up predictions."""
    for i, (task, of_task) in enumerate(metrics.items() or [(None, ())]):
        if task is not None and labelled:
            check_task(task, labelled)
        rows = next(iter(labelled.values()), None) if task is None else labelled.get(task)
        rows = None if rows is None or rows.y is None or not len(rows.y) else rows
        for metric in of_task:
            if rows is not None and rows.y is not None:
                metric.check(rows.y, rows.weight, rows.columns)
            if is_first:
                try_metric(metric, rows, None if rows is None else n_row)  # a judge that is not known may leave out rows
        if kept is not None and i == 0 and rows is not None and rows.y is not None:
            kept.check(rows.y, rows.weight, rows.columns)
            _keep_one_row(kept, rows)


def _keep_one_row(kept: KeptRows, rows: Labelled) -> None:
    """A row as callbacks will get it."""
    assert rows.y is not None
    y = rows.y[:1]
    columns = None if not kept.columns else {name: rows.columns[name][:1] for name in kept.columns}
    kept.update(y, y * 0.0, None if rows.weight is None else rows.weight[:1], columns)
