"""The members of a trainer that callbacks read and call: the :class:`Training` protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from torch_rechub.basic.callback import Callback, Checkpoint, EarlyStopper, LearningRate
from torch_rechub.basic.callback.early_stopping import WeightedMonitor
from torch_rechub.basic.callback.history import History
from torch_rechub.basic.callback.state import TrainerState
from torch_rechub.basic.layers import EmbeddingTable
from torch_rechub.basic.metric import Metric
from torch_rechub.engine.callback_list import CallbackList
from torch_rechub.engine.distributed import Ranks
from torch_rechub.engine.extra_state import load_plain_weights, plain_names, plain_weights
from torch_rechub.engine.facts import settings_of, write_report
from torch_rechub.engine.objective import Objective
from torch_rechub.engine.optimizers import detach_tables
from torch_rechub.engine.run import Run
from torch_rechub.engine.scoring import Scoring
from torch_rechub.optim import clip_grad_norm_, clip_grad_value_
from torch_rechub.storage import absolute_as_given, as_folder
from torch_rechub.types import FilePath

__all__ = ["CallbackFace"]

CallbackT = TypeVar("CallbackT", bound=Callback)


class CallbackFace:
    """Facts and requests of the present run (before the first ``fit``, of an empty one), and access to model and optimizer."""

    n_epoch: int
    accumulate: int
    clip_norm: float | None
    device: torch.device
    loss_mode: bool
    ranks: Ranks
    scoring: Scoring
    _objective: Objective
    _optimizer: torch.optim.Optimizer
    _callbacks: CallbackList
    _run: Run
    _model_path: FilePath | None

    @property
    def objective(self) -> Objective:
        """What is optimized: the model, the criterion, and what is learned besides the model."""
        return self._objective

    @property
    def model(self) -> nn.Module:
        """The model. Another one may be assigned before ``fit``."""
        return self._objective.model

    @model.setter
    def model(self, model: nn.Module) -> None:
        self._refuse_within_fit("trainer.model was assigned")
        self._objective.model = model.to(self.device)

    @property
    def criterion(self) -> Any:
        """The loss of the task. Another one may be assigned before ``fit``; its parameters are learned."""
        return getattr(self._objective, "criterion", None)

    @criterion.setter
    def criterion(self, criterion: Any) -> None:
        self._refuse_within_fit("trainer.criterion was assigned")
        if not callable(criterion) or isinstance(criterion, type):
            remedy = f"Make one: {criterion.__name__}()." if isinstance(criterion, type) else "Give torch.nn.BCELoss(), for example."
            raise TypeError(f"trainer.criterion must be a loss: a module or function of (prediction, label); got {criterion!r}. {remedy}")
        if hasattr(self._objective, "criterion"):
            del self._objective.criterion  # a module and a function are stored in different places
        loss: Any = criterion.to(self.device) if isinstance(criterion, nn.Module) else criterion
        self._objective.criterion = loss

    def _refuse_within_fit(self, what: str) -> None:
        if self.state.phase != "idle":
            raise RuntimeError(f"{what} within a fit of the same trainer. Wait until it returns, or make another trainer.")

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the next or present run. Options that are set on it (``param_groups``) are kept."""
        return self._optimizer

    @property
    def callbacks(self) -> CallbackList:
        """All callbacks, in the order in which they run."""
        return self._callbacks

    @property
    def state(self) -> TrainerState:
        """The facts of the present or latest run."""
        return self._run.state

    @property
    def history(self) -> History:
        """The history of the present or latest run."""
        return self._run.history

    @property
    def validates(self) -> bool:
        """Whether the present or latest run has validation data."""
        return self._run.has_validation

    @property
    def resumed(self) -> bool:
        """Whether the present or latest run was resumed."""
        return self._run.resumed

    @property
    def steps_per_epoch(self) -> int | None:
        """Optimizer steps of an epoch; None where the training loader has no length."""
        return self._run.steps_per_epoch

    @property
    def total_steps(self) -> int | None:
        """Optimizer steps of the whole run; None where the training loader has no length."""
        return self._run.total_steps

    @property
    def model_path(self) -> FilePath | None:
        """The folder of ``model.pth``, as an absolute path; None where nothing is written. Another one may be assigned before ``fit``."""
        return self._model_path

    @model_path.setter
    def model_path(self, path: FilePath | None) -> None:
        self._model_path = None if path is None else as_folder(absolute_as_given(path, "model_path"), "model_path")

    @property
    def output_folder(self) -> FilePath | None:
        """``model_path`` in the one process that writes, None in all others."""
        return self.model_path if self.ranks.is_first else None

    @property
    def writes_saves(self) -> bool:
        """Whether saves to resume from are written."""
        checkpoint = self.callback(Checkpoint)
        return checkpoint is not None and checkpoint.wanted and self.model_path is not None

    @property
    def monitor(self) -> str:
        """The name of the metric that decides."""
        return self.scoring.monitor

    @property
    def evaluate_fn(self) -> Callable[..., Any]:
        """A function of two 1-D arrays ``(y_true, y_pred)``. One that is assigned is recorded under its name, and decides."""
        return self.scoring.function

    @evaluate_fn.setter
    def evaluate_fn(self, function: Callable[..., Any]) -> None:
        self.scoring.function = function

    def callback(self, kind: type[CallbackT]) -> CallbackT | None:
        """The last callback of a class, which is the one in the built-in's position."""
        return next((callback for callback in reversed(self._callbacks) if isinstance(callback, kind)), None)

    def metric(self, name: str | None = None) -> Metric:
        """The metric called ``name``; the monitored one by default."""
        return self.scoring.metric(name)

    def direction(self, monitor: str | None = None, given: Literal["max", "min"] | None = None) -> Literal["max", "min"]:
        """Where a metric's best lies; the monitored one by default.

        Where an assigned function is monitored, the trainer's ``mode`` says so, or that of the early stopper which monitors it.
        """
        return self.scoring.direction(monitor, given or self._mode_of_stopper(monitor))

    def expected_direction(self, monitor: str | None = None) -> Literal["max", "min"]:
        """The direction of a metric at ``fit``: before, a function of the given mode may still be assigned."""
        return self.scoring.expected_direction(monitor, self._mode_of_stopper(monitor))

    def _mode_of_stopper(self, monitor: str | None) -> Literal["max", "min"] | None:
        """The mode that the early stopper was given, where it monitors the same metric."""
        stopper = self.callback(EarlyStopper)
        if stopper is None or isinstance(stopper.monitor, WeightedMonitor):
            return None
        return stopper.given_mode if (stopper.monitor or self.monitor) == (monitor or self.monitor) else None

    def request_stop(self, reason: str) -> None:
        """End training after the present optimizer step; the first reason is kept."""
        self._run.requests.stop(reason)

    def request_pause(self, reason: str, then: BaseException | None = None) -> None:
        """End where the run can be resumed by ``fit(resume=...)``, and raise ``then`` when it is saved.

        The present step is finished; a wait for data or a validation is left at once and repeated when the run is resumed.
        """
        self._run.request_pause(reason, then)

    def request_validation(self) -> None:
        """Validate after the present optimizer step."""
        self._run.requests.validation()

    def request_save(self, reason: str = "requested") -> None:
        """Write a save to resume from after the present optimizer step, where saves are written at all."""
        self._run.requests.save(reason)

    def run_state(self) -> dict[str, Any]:
        """The save of the present run."""
        return self._run.state_dict()

    def loss_sums(self) -> dict[str, Tensor]:
        """The running sums of the mean training loss, which may be changed in place."""
        return self._run.mean_loss.all_sums()

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Everything that is trained, by its name in the objective."""
        yield from plain_names(self._objective.named_parameters()).items()

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The buffers of the model and of the objective."""
        yield from plain_names(self._objective.named_buffers()).items()

    def weights(self) -> dict[str, Any]:
        """The model's ``state_dict``, with plain keys also where the model is compiled."""
        return plain_weights(self.model)

    def load_weights(self, weights: Mapping[str, Any]) -> None:
        """Load a ``state_dict`` into the model."""
        load_plain_weights(self.model, weights)

    def extra_weights(self) -> dict[str, Tensor]:
        """What is trained besides the model, by name."""
        return self._objective.own_tensors()

    @torch.no_grad()
    def load_extra_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load what :meth:`extra_weights` gave."""
        for name, tensor in self._objective.own_tensors().items():
            tensor.copy_(weights[name])

    def clip_gradients(self, max_norm: float | None = None, max_value: float | None = None) -> None:
        """Clip each number of the gradients, then the 2-norm of all of them; row gradients as well."""
        if max_value is not None:
            clip_grad_value_(self._objective.parameters(), max_value)
        if max_norm is not None:
            clip_grad_norm_(self._objective.parameters(), max_norm)

    def scale_rate(self, factor: float) -> None:
        """Multiply the learning rate, and all rates that the schedule computes from, by ``factor``."""
        for group in self._optimizer.param_groups:
            group["lr"] *= factor
        schedule = self.callback(LearningRate)
        if schedule is not None:
            schedule.scale(factor)

    def settle_tables(self) -> None:
        """Bring all rows of all embedding tables up to date."""
        for module in self._objective.modules():
            if isinstance(module, EmbeddingTable):
                module.settle()

    def detach_tables(self) -> None:
        """Bring all rows up to date and end the row mode of all tables until the next optimizer step."""
        detach_tables(self._optimizer)

    def settings(self) -> dict[str, Any]:
        """The settings that a logger records."""
        return settings_of(self)

    def data_facts(self) -> dict[str, dict[str, Any]]:
        """Rows, batch size, mean label and shuffle seed of the latest run's "train" and "validation" data, where they are known."""
        return self._run.data_facts

    def report(self, path: FilePath, test: Iterable[Any] | None = None) -> Path:
        """Write the latest run as one HTML file: curves, decisions, data, model, settings, environment, how it ended.

        Args:
            path: the file; its folder is created.
            test: a loader that is measured by the trainer's metrics for the page; None leaves the test metrics out.

        Returns:
            The file's path.
        """
        return write_report(self, path, test)
