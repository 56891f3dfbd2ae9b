"""Click-through-rate models: one binary label a row."""

from __future__ import annotations

from torch import nn

from torch_rechub.basic.metric import MetricSpec
from torch_rechub.engine.row_objective import RowObjective
from torch_rechub.trainers.trainer import Trainer

__all__ = ["CTRTrainer"]


class CTRTrainer(Trainer):
    """Trains a model of one probability a row with the binary cross-entropy; a validation measures AUC, which decides, and log loss.

    ``nn.BCELoss``, the criterion, is computed from logits where the model's predictions carry them. ``nn.BCEWithLogitsLoss`` gets logits;
    any other criterion that is assigned to ``trainer.criterion`` gets the model's predictions. The arguments are those of
    :class:`~torch_rechub.trainers.trainer.Trainer`.

    Example:
        >>> import torch
        >>> from torch_rechub.basic.features import SparseFeature
        >>> from torch_rechub.data import DataGenerator
        >>> from torch_rechub.models.ranking import DeepFM
        >>> columns = {"user": torch.arange(64) % 8, "item": torch.arange(64) % 5}
        >>> labels = (columns["user"] == columns["item"]).float()
        >>> train_dl, val_dl, _ = DataGenerator(columns, labels).generate_dataloader(split_ratio=(0.5, 0.25), batch_size=8, seed=0)
        >>> features = [SparseFeature("user", 8, 4), SparseFeature("item", 5, 4)]
        >>> model = DeepFM(features, features, {"dims": [8]})
        >>> trainer = CTRTrainer(model, n_epoch=2, model_path=None, progress=False)
        >>> history = trainer.fit(train_dl, val_dl)
        >>> len(history), trainer.predict(model, val_dl).shape
        (2, (16,))
    """

    default_metrics: tuple[MetricSpec, ...] = ("auc", "logloss")

    def make_objective(self, model: nn.Module) -> RowObjective:
        """The binary cross-entropy of probabilities."""
        return RowObjective(model, nn.BCELoss(), self.regularization, self.loss_mode)
