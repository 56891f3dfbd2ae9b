"""Click-through-rate models: one binary label a row."""

from __future__ import annotations

from typing import Any

from torch import nn

from torch_rechub.basic.metric import MetricSpec
from torch_rechub.trainers.trainer import Trainer

__all__ = ["CTRTrainer"]


class CTRTrainer(Trainer):
    """Trains a model of one probability a row with the binary cross-entropy; a check measures AUC, which decides, and log loss.

    The criterion reads as an ``nn.BCELoss`` and is computed from logits where the model gives them; one that is assigned to
    ``trainer.criterion`` gets probabilities. The arguments are those of :class:`~torch_rechub.trainers.trainer.Trainer`.

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
    binary_labels = True

    def default_criterion(self) -> Any:
        """Binary cross-entropy of probabilities."""
        return nn.BCELoss()
