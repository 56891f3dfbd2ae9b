"""What a trainer is made of: model, loss, optimizer, schedule, metrics and callbacks, put together and not yet moving."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from torch import nn

from torch_rechub.basic.callback import Callback, Checkpoint, EarlyStopper, GracefulStop, LearningRate, MetricLog, Progress, Report
from torch_rechub.basic.callback.history import History
from torch_rechub.basic.callback.learning_rate import Interval
from torch_rechub.basic.callback.state import Requests, TrainerState
from torch_rechub.basic.layers import EmbeddingTable
from torch_rechub.basic.layers.parameters import split_parameters
from torch_rechub.basic.loss_func import RegularizationLoss
from torch_rechub.basic.metric import MetricSpec
from torch_rechub.engine.callback_list import CallbackList, with_built_ins
from torch_rechub.engine.check_times import CheckTimes
from torch_rechub.engine.describe import describe
from torch_rechub.engine.device import resolve_device
from torch_rechub.engine.distributed import join
from torch_rechub.engine.evaluation import measure, predict_scores
from torch_rechub.engine.facts import write_report
from torch_rechub.engine.gradients import Gradients
from torch_rechub.engine.inputs import check_arguments, check_parts
from torch_rechub.engine.mean_loss import MeanLoss
from torch_rechub.engine.replica import SharedGradients, replicate
from torch_rechub.engine.scoring import Direction, Scoring
from torch_rechub.engine.train_step import TrainStep
from torch_rechub.optim import RowOptimizer, clip_grad_norm_, clip_grad_value_, row_wise
from torch_rechub.types import FilePath

if TYPE_CHECKING:
    from torch_rechub.trainers.trainer import Trainer

__all__ = ["Assembly"]

NEVER = 2**62  # the patience of a stopper that keeps the best weights and never stops
CallbackT = TypeVar("CallbackT", bound=Callback)


class Assembly:
    """The parts of a :class:`~torch_rechub.trainers.trainer.Trainer`, whose docstring says what the arguments mean."""

    #: What a check measures unless ``metrics`` says otherwise.
    default_metrics: tuple[MetricSpec, ...] = ()
    #: Whether the task's own criterion wants labels in [0, 1].
    binary_labels: bool = False

    def __init__(
        self,
        model: nn.Module,
        optimizer_fn: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_params: Mapping[str, Any] | None = None,
        regularization_params: Mapping[str, float] | None = None,
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
        metrics: Sequence[MetricSpec] | None = None,
        monitor: str | None = None,
        mode: Direction | None = None,
        val_every: float | None = None,
        clip_norm: float | None = None,
        accumulate: int = 1,
        callbacks: Sequence[Callback] = (),
        scheduler_interval: Interval | None = None,
        progress: bool = True,
    ) -> None:
        check_arguments(model, n_epoch, accumulate, clip_norm, gpus)
        check_parts(optimizer_fn, scheduler_fn, scheduler_params, callbacks)
        self.ranks = join()
        self.device = resolve_device(self.ranks.place(device))
        self.model = model.to(self.device)
        self.n_epoch, self.accumulate, self.clip_norm = n_epoch, accumulate, clip_norm
        self.loss_mode, self.model_path = loss_mode, model_path
        self.check_times = CheckTimes(val_every)
        self.state, self.history = TrainerState(), History()
        self.requests = self.wishes = Requests()  # what the loop does, and what is asked of it here: the same, for one process
        self.other_ranks: list[Any] = []  # what each of them alone knows, for a save
        self.total_steps: int | None = None
        self.validates = self.resumed = False
        self.train_loader: Any = None
        self.fingerprint: dict[str, Any] = {}
        self.mean_loss = MeanLoss(self.device)
        self.criterion: Any = self.default_criterion()
        self._default_criterion = self.criterion
        self.regularization = RegularizationLoss(**(regularization_params or {}))
        self.scoring = Scoring(self.default_metrics if metrics is None else metrics, monitor, mode)
        self.built_in_checkpoint = checkpoint = Checkpoint()
        built_in = [
            EarlyStopper(NEVER if earlystop_patience is None else earlystop_patience),
            None if scheduler_fn is None else LearningRate(scheduler_fn, scheduler_params, interval=scheduler_interval),
            checkpoint,
            None if model_logger is None else MetricLog(model_logger),
            Progress() if progress else None,
            Report() if any(isinstance(callback, Report) for callback in callbacks) else None,  # after all others have decided and saved
            GracefulStop(),
        ]
        listed = with_built_ins(list(callbacks), [callback for callback in built_in if callback is not None])
        self.callbacks = CallbackList(listed, cast("Trainer", self), self.ranks.first)
        self.optimizer_fn = optimizer_fn
        self.optimizer_params = dict({"lr": 1e-3} if optimizer_params is None else optimizer_params)
        self.make_optimizer()

    def default_criterion(self) -> Any:
        """The task's loss, for readers of ``trainer.criterion``."""
        raise NotImplementedError

    def make_optimizer(self) -> None:
        """A new optimizer and, unless it must know the number of steps first, a new scheduler for it.

        Where torch's optimizer was asked for and ours does the same mathematics at the cost of the batch's rows, ours is made. It
        owns the model's tables only while the trainer trains, so that the model stays free for any other optimizer.
        """
        make = row_wise(self.optimizer_fn, self.optimizer_params) or self.optimizer_fn
        schedule = self.callback(LearningRate)
        grouped = schedule is not None and bool(schedule.parts)
        parameters = [group for group in split_parameters(self.model) if group["params"]] if grouped else self.model.parameters()
        self.optimizer = make(parameters, **self.optimizer_params)
        self.own_tables(False)
        self.used = False
        self.scheduler: Any = None
        if schedule is not None and not schedule.needs_length():
            self.scheduler = schedule.make(self.optimizer, self.scoring.expected_direction(schedule.monitor))

    def scale_rate(self, factor: float) -> None:
        """Multiply the learning rate, and all that the schedule has in front of it, by ``factor``."""
        for group in self.optimizer.param_groups:
            group["lr"] *= factor
        schedule = self.callback(LearningRate)
        if schedule is not None:
            schedule.scale(factor)

    def own_tables(self, own: bool) -> None:
        """Let a row-wise optimizer own the embedding tables, or bring all rows up to date and let them go."""
        if isinstance(self.optimizer, RowOptimizer):
            self.optimizer.attach() if own else self.optimizer.detach()

    def settle_tables(self) -> None:
        """Bring all rows of all embedding tables up to date."""
        for module in self.model.modules():
            if isinstance(module, EmbeddingTable):
                module.settle()

    def clip_gradients(self, max_norm: float | None = None, max_value: float | None = None) -> None:
        """Hold each number of the gradients, then the 2-norm of all of them, within bounds; row gradients as well."""
        if max_value is not None:
            clip_grad_value_(self.model.parameters(), max_value)
        if max_norm is not None:
            clip_grad_norm_(self.model.parameters(), max_norm)

    def train_step(self) -> nn.Module:
        """Model and losses in the module that the loop runs."""
        criterion = None if self.criterion is self._default_criterion else self.criterion
        step = TrainStep(self.model, criterion, self.regularization, self.loss_mode)
        return step if self.ranks.alone else replicate(step)

    def gradients(self, step: nn.Module) -> Gradients:
        """What gathers the gradients of ``step``: of all processes, where there are several."""
        if self.ranks.alone:
            return Gradients(self.model, self.accumulate, self.clip_norm)
        return SharedGradients(step, self.model, self.ranks, self.accumulate, self.clip_norm)

    @property
    def output_folder(self) -> FilePath | None:
        """``model_path`` in the one process that writes there, None in all others."""
        return self.model_path if self.ranks.first else None

    @property
    def wants_binary_labels(self) -> bool:
        """Whether labels outside [0, 1] are an error: only under the task's own criterion."""
        return self.binary_labels and self.criterion is self._default_criterion

    def callback(self, kind: type[CallbackT]) -> CallbackT | None:
        """The last callback of a class, which is the one in the built-in's place."""
        return next((own for own in reversed(self.callbacks.callbacks) if isinstance(own, kind)), None)

    @property
    def early_stopper(self) -> EarlyStopper:
        """The callback that keeps the best weights and decides on stopping."""
        found = self.callback(EarlyStopper)
        assert found is not None
        return found

    @property
    def evaluate_fn(self) -> Callable[..., Any]:
        """A function of two 1-D arrays ``(y_true, y_pred)``; assign one and it is recorded under its name, and decides."""
        return self.scoring.function

    @evaluate_fn.setter
    def evaluate_fn(self, function: Callable[..., Any]) -> None:
        self.scoring.function = function

    @property
    def monitor(self) -> str:
        """The name of the metric that decides."""
        return self.scoring.monitor

    def direction(self, monitor: str | None = None, given: Direction | None = None) -> Direction:
        """Where a metric's best lies, "max" or "min"; the monitored one by default."""
        return self.scoring.direction(monitor, given)

    def evaluate(self, model: nn.Module, data_loader: Iterable[Any]) -> float:
        """The monitored metric of ``model`` on a loader's rows; our loaders are read in stored order."""
        metric = self.scoring.of()
        return measure(model, data_loader, [metric], self.device, self.loss_mode)[metric.name]

    def measure(self, model: nn.Module, data_loader: Iterable[Any]) -> dict[str, float]:
        """Every metric of the trainer, by name, of ``model`` on a loader's rows."""
        return measure(model, data_loader, self.scoring.metrics, self.device, self.loss_mode)

    def predict(self, model: nn.Module, data_loader: Iterable[Any]) -> np.ndarray[Any, Any]:
        """The model's probability of each row, ``(N,)``, in the loader's row order (stored order for ours)."""
        return predict_scores(model, data_loader, self.device, self.loss_mode)

    def weights(self) -> dict[str, Any]:
        """The model's ``state_dict``."""
        return self.model.state_dict()

    def load_weights(self, weights: Mapping[str, Any]) -> None:
        """Put weights back into the model."""
        self.model.load_state_dict(weights)

    def describe(self) -> str:
        """The loop as an outline, with every callback in its place."""
        return describe(self)

    def report(self, path: FilePath) -> Path:
        """Write the latest run as one HTML file: curves, decisions, settings, environment, how it ended; returns the file's path."""
        return write_report(self, path)

    def settings(self) -> dict[str, Any]:
        """What a logger records of the run."""
        return {
            "model": type(self.model).__name__,
            "optimizer": type(self.optimizer).__name__,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "n_epoch": self.n_epoch,
            "earlystop_patience": None if self.early_stopper.patience == NEVER else self.early_stopper.patience,
            "monitor": self.monitor,
            "loss_mode": self.loss_mode,
            "accumulate": self.accumulate,
            "clip_norm": self.clip_norm,
            "device": str(self.device),
        }
