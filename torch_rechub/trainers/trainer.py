"""The common trainer: what belongs to many runs of one model, and the methods that callbacks and users call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.callback import Callback, Checkpoint, EarlyStopper, GracefulStop, LearningRate, MetricLog, Progress, Report
from torch_rechub.basic.callback.history import History
from torch_rechub.basic.callback.schedules import Interval
from torch_rechub.basic.loss_func import RegularizationLoss
from torch_rechub.basic.metric import MetricSpec
from torch_rechub.data import Loader, as_loader
from torch_rechub.engine.alignment import align_ranks, shared_loaders
from torch_rechub.engine.callback_list import CallbackList, with_built_ins
from torch_rechub.engine.describe import describe, summary
from torch_rechub.engine.device import resolve_device
from torch_rechub.engine.distributed import join_ranks
from torch_rechub.engine.early_checks import check_run
from torch_rechub.engine.extra_state import check_extra_state
from torch_rechub.engine.identity import identity_of
from torch_rechub.engine.inputs import compile_options, refuse_lazy, refuse_own_epochs, validate_arguments, validate_loaders, validate_parts
from torch_rechub.engine.objective import Objective
from torch_rechub.engine.optimizers import OptimizerRecipe, detach_tables
from torch_rechub.engine.preparation import check_inputs
from torch_rechub.engine.resume import find_save, lock_folder, validate_resume
from torch_rechub.engine.run import Run
from torch_rechub.engine.scoring import Direction, MetricSpecs, Scoring
from torch_rechub.engine.validation import Paused
from torch_rechub.engine.validation_times import ValidationTimes
from torch_rechub.logs import once_per_run
from torch_rechub.trainers.assigned_face import AssignedFace
from torch_rechub.trainers.callback_face import CallbackFace
from torch_rechub.trainers.evaluation_face import EvaluationFace
from torch_rechub.trainers.export_face import ExportFace
from torch_rechub.trainers.optimizer_face import OptimizerFace
from torch_rechub.types import FilePath

__all__ = ["Trainer"]

logger = logging.getLogger(__name__)


@named_arguments
class Trainer(CallbackFace, AssignedFace, EvaluationFace, ExportFace, OptimizerFace):
    """Trains a model. A subclass for a task defines its objective and its default metrics; everything else is the same for all tasks.

    A run is ``fit > epoch > batch``, with the fixed phases train, validate, decide, save. Whatever happens around them is a callback.
    After ``fit`` the model holds the best weights that a validation measured, however the run ended, and is in evaluation mode.

    Args:
        model: maps features to predictions; moved to ``device``.
        optimizer_fn: a function of ``(parameters, **optimizer_params)``, such as a class of ``torch.optim``.
        optimizer_params: None is ``{"lr": 1e-3}``, without weight decay.
        regularization_params: ``embedding_l1``, ``embedding_l2``, ``dense_l1``, ``dense_l2``, ... of ``RegularizationLoss``.
        scheduler_fn: a scheduler of ``torch.optim.lr_scheduler``, or any function of the optimizer; see ``LearningRate``.
        scheduler_params: its further arguments.
        n_epoch: epochs at most.
        earlystop_patience: stop at this many validations in a row without improvement; None never stops early.
        device: "cpu", "cuda:0", ...; "auto" is the best that is available.
        gpus: kept for users of the existing package; at most one entry.
        loss_mode: False where the model returns ``(prediction, extra loss)``.
        model_path: the folder of ``model.pth``, created before training; a relative path is below the present working folder; None writes
            nothing.
        model_logger: one logger or a list, see :mod:`torch_rechub.basic.tracking`.
        metrics: what a validation measures: names, classes or instances of :mod:`torch_rechub.basic.metric`; a mapping of task to such a
            list; or a scorer, such as :class:`~torch_rechub.engine.CatalogueScorer`.
        monitor: the metric that decides; the first one by default.
        mode: the direction of an assigned ``evaluate_fn``: "max" (default) or "min".
        val_every: validate within the epoch as well: a fraction of it, or a number of optimizer steps. Patience counts validations.
        clip_norm: largest 2-norm of all gradients of a step together.
        accumulate: batches of one optimizer step.
        callbacks: added to the built-in ones; an instance of a built-in class takes the built-in's position.
        scheduler_interval: "step", "validation" or "epoch", in place of the scheduler's own interval.
        precision: "bf16" runs forward passes in bfloat16 (``torch.autocast``), in training, validation and prediction; weights and
            optimizer stay float32.
        compile: whether ``torch.compile`` compiles the objective; a mapping gives its arguments. Results agree to rounding where nothing
            is drawn; a compiled dropout draws other numbers.
        progress: show a bar, and one line per validation.

    Raises:
        TypeError, ValueError: when an argument cannot be used.
    """

    #: What a validation measures where ``metrics`` is not given.
    default_metrics: tuple[MetricSpec, ...] = ()

    def __init__(
        self,
        model: nn.Module,
        optimizer_fn: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_params: Mapping[str, Any] | None = None,
        regularization_params: Mapping[str, Any] | None = None,
        scheduler_fn: Callable[..., Any] | None = None,
        scheduler_params: Mapping[str, Any] | None = None,
        n_epoch: int = 10,
        earlystop_patience: int | None = 10,
        device: str | torch.device = "cpu",
        gpus: Sequence[int] | None = None,
        loss_mode: bool = True,
        model_path: FilePath | None = "./",
        model_logger: Any = None,
        *,
        metrics: MetricSpecs | None = None,
        monitor: str | None = None,
        mode: Direction | None = None,
        val_every: float | None = None,
        clip_norm: float | None = None,
        accumulate: int = 1,
        callbacks: Sequence[Callback] = (),
        scheduler_interval: Interval | Literal["check"] | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
        compile: bool | Mapping[str, Any] = False,
        progress: bool = True,
    ) -> None:
        validate_arguments(model, n_epoch, accumulate, clip_norm, gpus, precision, loss_mode, progress)
        validate_parts(optimizer_fn, optimizer_params, scheduler_fn, scheduler_params, regularization_params, callbacks)
        self.ranks = join_ranks()
        self.device = resolve_device(self.ranks.device_for(device))
        self.n_epoch, self.accumulate, self.clip_norm = n_epoch, accumulate, clip_norm
        self.loss_mode, self.model_path, self.precision = loss_mode, model_path, precision
        self.validation_times = ValidationTimes(val_every)
        self.regularization, self.gpus = RegularizationLoss(**(regularization_params or {})), list(gpus or ())
        self._objective = self.make_objective(model).to(self.device)
        self.compile_options = compile_options(compile)
        self._compiled: nn.Module | None = None
        self.scoring = Scoring(self.default_metrics if metrics is None else metrics, monitor, mode, listed=metrics is not None)
        self._built_in_checkpoint = Checkpoint()
        built_in: dict[type[Callback], Callback | None] = {
            EarlyStopper: EarlyStopper(earlystop_patience),
            LearningRate: None if scheduler_fn is None else LearningRate(scheduler_fn, scheduler_params, interval=scheduler_interval),
            Checkpoint: self._built_in_checkpoint,
            MetricLog: None if model_logger is None else MetricLog(model_logger),
            Progress: Progress() if progress else None,
            Report: None,  # after all others have decided and saved
            GracefulStop: GracefulStop(),
        }
        self._callbacks = CallbackList(with_built_ins(list(callbacks), built_in), self, self.ranks.is_first)
        self.optimizer_fn = optimizer_fn
        self.optimizer_params = dict({"lr": 1e-3} if optimizer_params is None else optimizer_params)
        schedule = self.callback(LearningRate)
        self._recipe = OptimizerRecipe(optimizer_fn, self.optimizer_params, grouped=schedule is not None and bool(schedule.parts))
        self._optimizer = self._new_optimizer()
        self._run = Run(self, self._optimizer, as_loader([]))
        self._n_epoch_walked = 0  # of the training data, by all runs
        self._latest_run_ended = self._optimizer_used = False

    def make_objective(self, model: nn.Module) -> Objective:
        """What the task optimizes: its one seam. The objective holds the model, the criterion, and what is learned besides the model."""
        raise NotImplementedError

    @named_arguments
    def fit(
        self,
        train_dataloader: Iterable[Any] | Loader,
        val_dataloader: Iterable[Any] | Loader | None = None,
        resume: Literal["auto"] | FilePath | None = None,
        *,
        accept: Sequence[str] = (),
    ) -> History:
        """Train from the weights that the model has, with a new optimizer, schedule, stopper and history; or resume a run.

        Args:
            train_dataloader: yields ``(x, y)`` or ``(x, y, weight)``, or what the objective takes.
            val_dataloader: likewise; None trains ``n_epoch`` epochs and keeps the last weights.
            resume: "auto" resumes from the newest good save under ``model_path``, starts anew where there is none, and returns at once
                where the run had ended; a folder names another place, which must hold a save. The run ends with the same bits as one that
                was never interrupted. Where the latest run of this trainer has ended, "auto" trains anew.
            accept: names of settings, as the error of a refused resume gives them, that may differ from those of the saved run: the run
                goes on with the present ones, and saves and report say so.

        Returns:
            The history: one record per validation, or per epoch where there is no validation.

        Raises:
            ValueError: naming the feature, the row and the remedy, before the first step, when the data cannot be trained on; or
                naming each difference, when the saved run is another one.
            RuntimeError: within another ``fit`` of this trainer, or where another live run saves into ``model_path``.
            OSError: naming what blocks a file of the run, before the first step.
        """
        self._refuse_within_fit("fit was called")
        refuse_own_epochs(type(self), Trainer)
        validate_resume(resume, accept)
        train = as_loader(train_dataloader)
        val = None if val_dataloader is None else as_loader(val_dataloader, "validation")
        with once_per_run(), self.ranks.end_together(), shared_loaders(self.ranks, train, val):
            self._fit(train, val, resume, accept)
        if self._run.requests.current.then is not None:
            raise self._run.requests.current.then
        return self.history

    def _fit(self, train: Loader, val: Loader | None, resume: Any, accept: Sequence[str]) -> None:
        run = self._begin(train, val, resume)
        with ExitStack() as held:  # until the last file is written
            try:
                run.lock = held.enter_context(lock_folder(self.output_folder, self.writes_saves))
                self._callbacks.begin()
                check_run(run)
                self._load(run, resume, accept)
                run.loop()
            except Paused as pause:
                run.fail(pause.with_traceback(None))  # whose frames refer to the loader
                run.save()
            except BaseException as error:
                run.fail(error)
                raise
            finally:
                self._end(run)

    def _load(self, run: Run, resume: Any, accept: Sequence[str]) -> None:
        """Load the newest good save, if one is asked for and there is one; the first process decides which."""
        load = partial(run.load_state_dict, accept=accept)
        saved = self.ranks.from_first(lambda: None if self._starts_anew(resume) else find_save(resume, self.model_path, load))
        if saved is not None and not self.ranks.is_first:
            run.load_state_dict(saved, accept)

    def _begin(self, train: Loader, val: Loader | None, resume: Any) -> Run:
        check_inputs(self, train, val)
        if not self.ranks.is_single:
            align_ranks(self, train, val)
        self._prepare_optimizer(new=self._optimizer_used)
        self._run = run = Run(self, self._optimizer, train, val, self._n_epoch_walked)
        checkpoint = self.callback(Checkpoint)
        assert checkpoint is not None
        checkpoint.want_saves(checkpoint is not self._built_in_checkpoint or resume is not None)
        if self.writes_saves:
            refuse_lazy(self.objective, "A save to resume from")
            check_extra_state(self.objective)
        run.begin(identity_of(self, train, val) if self.writes_saves or resume is not None else {})
        return run

    def _end(self, run: Run) -> None:
        try:
            run.end()
        finally:
            self._n_epoch_walked = run.first_epoch + run.n_begun
            self._latest_run_ended = run.state.failure is None and not run.state.paused
            self._recipe.remember(self._optimizer)
        if run.history.best is None and run.state.step:
            measured = f"no validation had a finite {self.monitor}" if len(run.history) else "there was no validation"
            logger.warning("%s: the model keeps its last weights", measured if self.validates else "there was no validation data")

    @named_arguments
    def train_one_epoch(self, data_loader: Iterable[Any], log_interval: int = 10) -> float:
        """One epoch with the trainer's optimizer and no validation; returns the mean loss over rows.

        Args:
            data_loader: yields ``(x, y)`` or ``(x, y, weight)``.
            log_interval: kept for users of the existing package; the progress bar does not need it.
        """
        self._refuse_within_fit("train_one_epoch was called")
        train, latest = as_loader(data_loader), self._run
        validate_loaders(self.objective, train, None)
        with self.ranks.end_together(), shared_loaders(self.ranks, train):
            if not self.ranks.is_single:
                align_ranks(self, train, None)
            self._prepare_optimizer(new=False)
            self._run = run = Run(self, self._optimizer, train, None, self._n_epoch_walked)
            run.begin({})
            try:
                run.train_batches()
            finally:
                detach_tables(self._optimizer)
                self._run = latest
        if not run.state.batch:
            raise ValueError("The loader yields no batch: there is nothing to train on.")
        self._n_epoch_walked += 1
        return run.mean_loss.take()["loss"]

    def __repr__(self) -> str:
        return summary(self)

    def describe(self) -> str:
        """The loop as an outline, with every callback in its position."""
        return describe(self)

    def forward_module(self) -> nn.Module:
        """The objective, or its compiled form."""
        if self.compile_options is None:
            return self._objective
        if self._compiled is None:
            self._compiled = torch.compile(self._objective, **self.compile_options)  # type: ignore[assignment]
        return self._compiled  # type: ignore[return-value]

    def _starts_anew(self, resume: Any) -> bool:
        """Whether a resume is not looked for, since the latest run of this trainer has ended."""
        again = isinstance(resume, str) and resume == "auto" and self._latest_run_ended
        if again:
            logger.info("the latest run of this trainer has ended: resume='auto' trains anew")
        return again
