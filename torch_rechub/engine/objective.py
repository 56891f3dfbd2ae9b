"""What a task optimizes: the module that the training loop runs, and that ``torch.compile`` wraps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.batch import check_features, move_to
from torch_rechub.basic.loss_func import RegularizationLoss
from torch_rechub.data.protocol import Loader

__all__ = ["Judged", "Labelled", "Loss", "Objective", "Size", "divide"]

ObjectiveT = TypeVar("ObjectiveT", bound="Objective")
Size = int | float | Tensor  #: what the mean of a term runs over: rows, a sum of weights, tokens


class Loss(NamedTuple):
    """The loss of one batch, as its part of the loss of an optimizer step."""

    value: Tensor  # (), what is differentiated
    terms: Mapping[str, Tensor]  # each term's part of its mean, ()
    penalty: Tensor | None = None  # (), added to the value; no gradient balancer sees it


class Labelled(NamedTuple):
    """What is known of the rows of a batch without the model, for one task."""

    y: Tensor | None  # labels (B,)
    weight: Tensor | None = None  # weights of the rows (B,)
    columns: Any = None  # the columns of the rows, for metrics such as GAUC


class Judged(NamedTuple):
    """What metrics read of one batch, for one task."""

    y: Tensor | None  # labels (B,)
    prediction: Tensor  # (B,)
    weight: Tensor | None = None  # weights of the rows (B,)
    columns: Mapping[str, Tensor] | None = None  # the columns of the rows, for metrics such as GAUC


@named_arguments
class Objective(nn.Module):
    """The model with everything that its training needs besides: criterion, extra losses, and what is learned with them.

    A task is a subclass. The training loop calls its members in this order for every optimizer step: :meth:`sizes` of each batch, whose
    sums over the step's batches and all processes are the totals; :meth:`to_device` and :meth:`forward` of each batch;
    :meth:`balance` where it is defined; the optimizer; :meth:`after_step`. All parameters of the objective are optimized, saved, resumed
    and kept with the best weights. ``model.pth`` holds the model's only.

    Args:
        model: what is trained, and what predicts.
        regularization: a penalty that is added to the loss of every optimizer step once.

    Attributes:
        balance: None for one backward pass per batch. Otherwise a function ``balance(gradients, losses)`` of ``gradients[term][name]``,
            each term's gradient of the shared parameters (those that at least two terms reach), and of ``losses[term]``, both already
            summed over the step's batches and all processes. It returns ``{name: gradient}``. The gradient of an embedding table in row
            mode has the rows of the step only, the same rows for all terms. It may also set ``.grad`` of the objective's own parameters.
    """

    balance: ClassVar[Callable[..., Mapping[str, Tensor]] | None] = None

    def __init__(self, model: nn.Module, regularization: RegularizationLoss | None = None) -> None:
        super().__init__()
        self.model = model
        self.set_regularization(regularization)

    def sizes(self, batch: Any) -> dict[str, Size]:
        """What each term's mean runs over in this batch, from labels and weights alone: called before any forward pass.

        The loop adds the entry ``"batches"``, which is 1 for each batch. The recorded training loss is averaged over steps by the total
        of the term; where there are several terms, by the number of rows.
        """
        return {"loss": self.n_row(batch)}

    def forward(self, batch: Any, totals: Mapping[str, Size]) -> Loss:
        """The batch's part of the step's loss.

        Each term's sum over the rows of the batch is divided by its total over the whole step (:func:`divide`), so that values and
        gradients of all batches and processes add up to those of one large batch. A term of total 0 is 0.

        Args:
            batch: what the loader gave, on the device.
            totals: the sums of :meth:`sizes` over the batches and processes of the step.
        """
        raise NotImplementedError

    def set_regularization(self, regularization: Any) -> None:
        """Use another penalty: a function of the model, None for none."""
        if hasattr(self, "regularization"):
            del self.regularization  # a module and a function are stored in different places
        self.regularization = regularization if getattr(regularization, "active", True) else None

    def penalty(self, totals: Mapping[str, Size]) -> Tensor | None:
        """The batch's part of the regularization, None without one."""
        penalty = None if self.regularization is None else self.regularization(self.model)
        return divide(penalty, totals["batches"]) if isinstance(penalty, Tensor) else None

    def to_device(self, batch: Any, device: torch.device) -> Any:
        """The batch on ``device``."""
        return move_to(batch, device)

    def n_row(self, batch: Any) -> int:
        """Number of rows of a batch."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Called after the optimizer has changed the weights."""

    def epoch_end(self, terms: Mapping[str, float]) -> None:
        """Called at the end of an epoch with each term's mean over the epoch."""

    def settings(self) -> dict[str, Any]:
        """Plain values that belong to the identity of a run, compared before it is resumed."""
        return {}

    def judge(self, batch: Any) -> dict[str, Judged]:
        """What the metrics of a validation read, by task; one task alone may have any name."""
        raise NotImplementedError(f"{type(self).__name__} has no method judge(batch), which a validation of rows needs.")

    def labelled(self, batch: Any) -> dict[str, Labelled]:
        """What :meth:`judge` gives besides predictions, without the model: the metrics are checked on it before the first step.

        Empty where only :meth:`judge` knows it; then labels and columns are checked by the first validation.
        """
        return {}

    def check_batch(self, batch: Any, features: Sequence[Any]) -> None:
        """Check the first batch of validation data before the first step.

        By default, where the batch is a mapping of columns or begins with one, the columns of those of the model's features that are
        there: a validation of users alone needs no columns of items.

        Args:
            batch: as the loader yields it.
            features: what the model reads, where that is known.

        Raises:
            TypeError, ValueError: naming what must hold, the row and the remedy.
        """
        x: Any = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if isinstance(x, Mapping):
            check_features(x, tuple(feature for feature in features if feature.name in x))

    def predict(self, batch: Any) -> Tensor:
        """The predictions of a batch, one entry a row."""
        raise NotImplementedError(f"{type(self).__name__} has no method predict(batch).")

    def encode(self, batch: Any, side: str) -> Tensor:
        """The vectors of a batch of users or items, ``side`` "user" or "item": ``(B, D)``, or ``(B, K, D)`` for K vectors a user."""
        raise NotImplementedError(f"{type(self).__name__} has no method encode(batch, side), which a ranking of the catalogue needs.")

    def check(self, loader: Loader, features: Sequence[Any]) -> None:
        """Check a loader's values before the first step, as far as they are known.

        Raises:
            ValueError: naming what must hold, the row and the remedy.
        """
        loader.check(features, binary_labels=False)

    def for_model(self: ObjectiveT, model: nn.Module) -> ObjectiveT:
        """The same objective around another model; all else is shared."""
        other = copy.copy(self)
        other.__dict__["_modules"] = {**self._modules, "model": model}
        return other

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """What is learned besides the model, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if not name.startswith("model.")}

    def own_tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers besides the model's, by name."""
        own_buffers = {name: buffer for name, buffer in self.named_buffers() if not name.startswith("model.")}
        return {**{name: parameter.detach() for name, parameter in self.own_parameters().items()}, **own_buffers}


def divide(total_loss: Tensor, size: Size) -> Tensor:
    """A sum over rows divided by its total over the step; 0 where the total is 0.

    Example:
        >>> divide(torch.tensor(6.0), 4), divide(torch.tensor(0.0), 0)
        (tensor(1.5000), tensor(0.))
    """
    if isinstance(size, Tensor):
        size = size.to(total_loss.device, total_loss.dtype)
        return total_loss / size.clamp(min=torch.finfo(size.dtype).tiny)
    return total_loss if size == 1 else total_loss / (size or 1)
