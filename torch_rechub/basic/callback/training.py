"""What a callback may read of a trainer and request from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from torch_rechub.basic.callback.history import History
from torch_rechub.basic.callback.state import TrainerState
from torch_rechub.basic.metric import Metric
from torch_rechub.types import FilePath

__all__ = ["Training"]


class Training(Protocol):
    """The argument of every hook. :class:`torch_rechub.trainers.Trainer` has these members; callbacks know it by them alone."""

    @property
    def model(self) -> nn.Module:
        """The model, on ``device``."""
        ...

    @property
    def state(self) -> TrainerState:
        """The facts of the run."""
        ...

    @property
    def history(self) -> History:
        """One record per validation, or per epoch where there is no validation."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the run."""
        ...

    @property
    def callbacks(self) -> Sequence[Any]:
        """All callbacks, in the order in which they run."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the model is trained."""
        ...

    @property
    def model_path(self) -> FilePath | None:
        """The folder of ``model.pth``; None where nothing is written."""
        ...

    @property
    def output_folder(self) -> FilePath | None:
        """``model_path`` in the one process that writes, None in all others."""
        ...

    @property
    def n_epoch(self) -> int:
        """Epochs at most."""
        ...

    @property
    def validates(self) -> bool:
        """Whether the run has validation data."""
        ...

    @property
    def steps_per_epoch(self) -> int | None:
        """Optimizer steps of an epoch; None where the training loader has no length."""
        ...

    @property
    def total_steps(self) -> int | None:
        """Optimizer steps of the whole run; None where the training loader has no length."""
        ...

    @property
    def monitor(self) -> str:
        """The name of the metric that decides."""
        ...

    def metric(self, name: str | None = None) -> Metric:
        """The metric called ``name``; the monitored one by default."""
        ...

    def direction(self, monitor: str | None = None, given: Literal["max", "min"] | None = None) -> Literal["max", "min"]:
        """Where a metric's best lies; the monitored one by default."""
        ...

    def request_stop(self, reason: str) -> None:
        """Ask the loop to end training after the present optimizer step."""
        ...

    def request_pause(self, reason: str, then: BaseException | None = None) -> None:
        """Ask the loop to end where the run can be resumed, and raise ``then`` when it is saved."""
        ...

    def request_validation(self) -> None:
        """Ask for a validation after the present optimizer step."""
        ...

    def request_save(self, reason: str = "requested") -> None:
        """Ask for a save to resume from."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Everything that is trained: the model's parameters, and those of the objective (task weights, a criterion's own)."""
        ...

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The buffers of the model and of the objective."""
        ...

    def weights(self) -> dict[str, Any]:
        """The model's ``state_dict``, with plain keys also where the model is compiled."""
        ...

    def load_weights(self, weights: Mapping[str, Any]) -> None:
        """Load a ``state_dict`` into the model."""
        ...

    def extra_weights(self) -> dict[str, Tensor]:
        """What is trained besides the model, by name."""
        ...

    def load_extra_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load what :meth:`extra_weights` gave."""
        ...

    def loss_sums(self) -> dict[str, Tensor]:
        """The running sums of the mean training loss, which may be changed in place."""
        ...

    def clip_gradients(self, max_norm: float | None = None, max_value: float | None = None) -> None:
        """Clip the gradients of all parameters, row gradients of tables included."""
        ...

    def scale_rate(self, factor: float) -> None:
        """Multiply the learning rate, and all rates that the schedule computes from, by ``factor``."""
        ...

    def settle_tables(self) -> None:
        """Bring all rows of all embedding tables up to date."""
        ...

    def detach_tables(self) -> None:
        """Bring all rows up to date and end the row mode of all tables until the next optimizer step."""
        ...

    def run_state(self) -> dict[str, Any]:
        """Everything that the run needs to be resumed, as a tree of tensors and plain values."""
        ...

    def settings(self) -> dict[str, Any]:
        """The settings that a logger records."""
        ...

    def report(self, path: FilePath, test: Iterable[Any] | None = None) -> Path:
        """Write the run as one HTML file."""
        ...
