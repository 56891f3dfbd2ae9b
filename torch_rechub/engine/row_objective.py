"""One label and one prediction a row: click-through rates, and regression by another criterion."""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.batch import Parts, check_features, check_labels, split_batch
from torch_rechub.basic.loss_func import RegularizationLoss, logits_of, prediction_loss, takes_logits
from torch_rechub.data.protocol import Loader
from torch_rechub.engine.extra_state import plain_model
from torch_rechub.engine.objective import Judged, Labelled, Loss, Objective, Size, divide
from torch_rechub.torch_private import disable_compile

__all__ = ["RowObjective"]

logger = logging.getLogger(__name__)


@named_arguments
class RowObjective(Objective):
    """The mean of a criterion over rows, weighted where rows are.

    Args:
        model: maps features to ``(B,)`` or ``(B, 1)``; with ``loss_mode=False`` to ``(prediction, extra loss)``.
        criterion: a loss of ``(prediction, y)``; see :func:`~torch_rechub.basic.loss_func.prediction_loss`. Its parameters are learned.
        regularization: a penalty on the weights.
        loss_mode: False where the model returns an extra loss, the mean over the batch's rows, beside its prediction. A model whose
            prediction carries its further loss (``AuxiliaryLossModel``) trains alike with True and False.
    """

    def __init__(self, model: nn.Module, criterion: Any, regularization: RegularizationLoss | None = None, loss_mode: bool = True) -> None:
        super().__init__(model, regularization)
        self.criterion = criterion
        self.loss_mode = loss_mode
        self._within_unit: tuple[weakref.ref[nn.Module], bool] | None = None  # a model; whether its predictions lie within [0, 1]

    @property
    def binary_labels(self) -> bool:
        """Whether labels outside [0, 1] are an error: under a binary cross-entropy."""
        return isinstance(self.criterion, nn.BCELoss) or takes_logits(self.criterion) or self.criterion is F.binary_cross_entropy

    @property
    def predictions(self) -> Literal["probability", "logit", "any"]:
        """What the model predicts, as far as its criterion and its class tell it."""
        if takes_logits(self.criterion):
            return "any" if getattr(plain_model(self.model), "predicts_probabilities", False) else "logit"
        return "probability" if self.binary_labels else "any"

    def sizes(self, batch: Any) -> dict[str, Size]:
        """The number of rows, or the sum of their weights."""
        _, y, weight = split_batch(batch)
        return {"loss": weight.sum() if weight is not None else 0 if y is None else len(y)}

    def forward(self, batch: Any, totals: Mapping[str, Size]) -> Loss:
        """The weighted mean of the criterion, and the extra loss of the model."""
        x, y, weight = split_batch(batch)
        if y is None:
            raise ValueError("Training needs labels: the loader must yield (x, y) or (x, y, weight); got x alone.")
        check_labels(y, weight, binary=self.binary_labels)  # before the forward pass changes buffers
        prediction, extra = self._output(x)
        if takes_logits(self.criterion) and logits_of(prediction) is None:
            prediction = self._as_logits(prediction)
        with torch.autocast(y.device.type, enabled=False):
            loss = prediction_loss(self.criterion, prediction, y, weight, totals["loss"])
            if extra is not None:
                loss = loss + _part(extra, self.sizes(batch)["loss"], totals["loss"])
        penalty = self.penalty(totals)
        return Loss(loss if penalty is None else loss + penalty, {"loss": loss}, penalty)

    def to_device(self, batch: Any, device: torch.device) -> Parts:
        """The parts of the batch on ``device``."""
        return split_batch(batch).to(device)

    def n_row(self, batch: Any) -> int:
        """Number of labels."""
        y = split_batch(batch).y
        return 0 if y is None else len(y)

    def judge(self, batch: Any) -> dict[str, Judged]:
        """Labels, predictions, weights and columns of the rows."""
        x, y, weight = split_batch(batch)
        return {"label": Judged(y, self._prediction(x), weight, x)}

    def labelled(self, batch: Any) -> dict[str, Labelled]:
        """Labels, weights and columns of the rows; empty for a subclass with a :meth:`judge` of its own, which may choose rows."""
        x, y, weight = split_batch(batch)
        return {"label": Labelled(y, weight, x)} if type(self).judge is RowObjective.judge else {}

    def check_batch(self, batch: Any, features: Sequence[Any]) -> None:
        """Check features, labels and weights of a batch."""
        x, y, weight = split_batch(batch)
        if y is None:
            raise ValueError("Evaluation needs labels: the loader must yield (x, y) or (x, y, weight); got x alone.")
        if features:
            check_features(x, features)
        check_labels(y, weight, self.binary_labels)
        rows = {"labels": len(y)} | ({} if weight is None else {"weights": len(weight)})
        rows |= {f"x[{feature.name!r}]": len(x[feature.name]) for feature in features}
        if len(set(rows.values())) > 1:
            raise ValueError(f"All parts of a batch must have as many rows; got {rows}. Give each row its features and its label.")

    def predict(self, batch: Any) -> Tensor:
        """Predictions ``(B,)``, float32 or wider."""
        prediction = self._prediction(split_batch(batch).x)
        return prediction.float() if prediction.element_size() < 4 else prediction

    def check(self, loader: Loader, features: Sequence[Any]) -> None:
        """Check the criterion and the signature of the model, then features and labels of a loader.

        Raises:
            TypeError: when the criterion takes several scores a row, or ``forward`` does not take the features alone.
        """
        self._check_parts()
        loader.check(features, self.binary_labels)

    def _check_parts(self) -> None:
        if type(self).forward is not RowObjective.forward or type(self)._output is not RowObjective._output:
            return
        if isinstance(self.criterion, nn.CrossEntropyLoss | nn.NLLLoss | nn.MultiMarginLoss):
            name = type(self.criterion).__name__
            raise TypeError(f"{name} takes one score a class, and the model gives one number a row. Use nn.BCELoss() for two classes.")
        model = plain_model(self.model)
        try:
            signature = inspect.signature(model.forward)
        except (TypeError, ValueError):  # a compiled function without a signature
            return
        try:
            signature.bind(None)
        except TypeError as error:
            raise TypeError(
                f"{type(model).__name__}.forward must take the features alone, forward(self, x), where x[name] is a column: {error}."
            ) from None

    def settings(self) -> dict[str, Any]:
        """Whether the model returns an extra loss."""
        return {"loss_mode": self.loss_mode}

    @disable_compile
    def _as_logits(self, prediction: Tensor) -> Tensor:
        """A prediction without logits, for a criterion of logits.

        Our models give probabilities, also where a hook or a subclass replaced them; a subclass whose ``forward`` returns logits shows it
        by a value outside [0, 1]. The first batch of eight rows decides. A user's own module returns logits; a warning is logged where
        they look like probabilities.
        """
        model = plain_model(self.model)
        ours = getattr(model, "predicts_probabilities", False)
        known, within = self._within_unit, True
        if known is not None and known[0]() is model:
            within = known[1]
        else:
            within = bool(((prediction >= 0) & (prediction <= 1)).all())
            if not within or prediction.numel() >= 8:
                self._within_unit = (weakref.ref(model), within)
                if within and not ours:
                    logger.warning(
                        "%s is the loss of logits, and all predictions of the first batch lie within [0, 1]: if the model returns "
                        "probabilities, use nn.BCELoss",
                        getattr(self.criterion, "__name__", type(self.criterion).__name__),
                    )
        return torch.logit(prediction.float(), eps=torch.finfo(torch.float32).eps) if ours and within else prediction

    def _output(self, x: Any) -> tuple[Tensor, Any]:
        """The model's prediction, and its extra loss or None.

        Raises:
            TypeError: when ``loss_mode`` does not fit what the model returns.
        """
        output: Any = self.model(x)
        is_pair = isinstance(output, tuple | list) and len(output) == 2
        adds_a_loss = getattr(plain_model(self.model), "has_auxiliary_loss", False)
        if isinstance(output, Tensor) and (self.loss_mode or adds_a_loss):
            return output, None
        if not self.loss_mode and is_pair:
            return output[0], output[1]
        model = type(plain_model(self.model)).__name__
        if not self.loss_mode:
            raise TypeError(f"loss_mode=False: {model} must return (prediction, extra loss); got {_kind_of(output)}. Leave loss_mode out.")
        remedy = "Return the prediction alone, a tensor (B,)"
        if is_pair:
            remedy += "; or make the trainer with loss_mode=False, which adds the second entry to the loss"
        raise TypeError(f"{model} must return one tensor of predictions; got {_kind_of(output)}. {remedy}.")

    def _prediction(self, x: Any) -> Tensor:
        """The model's prediction ``(B,)`` without an extra loss."""
        prediction, _ = self._output(x)
        if prediction.dim() == 0:  # a model that squeezes a batch of one row
            return prediction.reshape(1)
        return prediction.squeeze(1) if prediction.dim() == 2 and prediction.shape[1] == 1 else prediction


def _part(mean: Tensor, size: Size, total: Size) -> Tensor:
    """A batch's mean as its part of the mean over the step."""
    if not isinstance(size, Tensor) and not isinstance(total, Tensor) and size == total:
        return mean
    return divide(mean * (size.to(mean.device, mean.dtype) if isinstance(size, Tensor) else size), total)


def _kind_of(output: Any) -> str:
    return f"a {type(output).__name__} of {len(output)}" if isinstance(output, tuple | list | dict) else type(output).__name__
